//! One group's records in order.
//!
//! ```text
//! append -> chunk in memory -> write -> file -> sync -> durable
//!                  `-- readers that follow closely      `-- readers that are behind
//! ```
//! Appending touches no file. What is appended stays in memory until it is durable, so a full disk or a
//! failed sync loses nothing: the next write begins where the disk was last known to be right.
//!
//! A folder holds `EPOCH-SEQ.journal` files (named after their first record), `HASH.dictionary` files they
//! refer to, and `journal.lock`. Set aside are `*.damaged` (the unfinished end of a file), never read again, and
//! `fork-*.journal` (records that the active node did not have), which [`Aside`] reads.

mod aside;
mod damage;
mod dictionary;
mod fork;
mod heal;
mod read;
mod recover;
mod scan;
mod segment;
mod tail;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhub_model::{Epoch, ItemId, ItemKey, Position, Record, Sample};
use twinhub_wire::{RECORD_BYTES_MAX, record};

use self::recover::note_epoch;
use self::segment::{ENTRY_HEADER_BYTES, Header, Segment, finish_entry, follows};
use self::tail::Tail;
use crate::error::io_error;
use crate::medium::{sync_dir, write_all_at};
use crate::{Disk, Medium, StoreError};

pub use self::aside::{Aside, AsideRead};
pub use self::damage::{Damage, Hole};
pub use self::fork::Fork;
pub use self::heal::{RangeRead, Scrub, Scrubbed};
pub use self::read::{Body, Entry, ReadEnd, Relation};
pub use self::recover::Recovery;

/// Where a journal is and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOptions {
    /// Its folder; created if missing.
    pub dir: PathBuf,
    /// A file of this length is followed by a new one.
    pub segment_bytes: u64,
    /// The oldest files are deleted above this total.
    pub retain_bytes: u64,
    /// So many files stay whatever their size.
    pub retain_segments_min: usize,
    /// Newest bytes kept in memory for readers.
    pub tail_bytes: usize,
    /// Most bytes that may wait to be written; then appends are refused.
    pub buffer_bytes_max: usize,
}

impl JournalOptions {
    /// The defaults in this folder: files of 8 MiB, 256 MiB in all, 4 MiB in memory.
    pub fn new(dir: impl Into<PathBuf>) -> JournalOptions {
        JournalOptions {
            dir: dir.into(),
            segment_bytes: 8 * 1024 * 1024,
            retain_bytes: 256 * 1024 * 1024,
            retain_segments_min: 2,
            tail_bytes: 1024 * 1024,
            buffer_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// One group's records. One owner; the folder is locked against other processes.
#[derive(Debug)]
pub struct Journal {
    options: JournalOptions,
    medium: Arc<dyn Medium>,
    _lock: File,
    dictionary: u64,
    segments: VecDeque<Segment>,
    /// The greatest number of every epoch that is known.
    epochs: BTreeMap<Epoch, u64>,
    writing: Option<Epoch>,
    last: Position,
    durable: Position,
    tail: Tail,
    current: Option<CurrentFile>,
    /// The next record begins a new file.
    must_roll: bool,
    /// That file continues behind a snapshot.
    is_restart: bool,
    /// Ranges that damage took, oldest first.
    holes: Vec<Hole>,
    /// A follower needs what stands behind this.
    pin: Option<Position>,
    /// Changes when records are set aside or a sync failed, so that a sync from before is not believed.
    generation: u64,
}

#[derive(Debug)]
struct CurrentFile {
    file: Arc<File>,
    /// Opened a second time: the system tells each of them of an error that a sync found, so that a sync on
    /// another thread cannot hide it from the one here.
    sync_file: Arc<File>,
    first: Position,
}

impl Journal {
    /// Opens the journal, or creates it. Every file is read and checked once.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has the folder, [`StoreError::NewerFormat`], or
    /// [`StoreError::Io`]. Damage is no error; it is reported in [`Recovery`].
    pub fn open(
        options: JournalOptions,
        dictionary: Arc<[(ItemId, ItemKey)]>,
    ) -> Result<(Journal, Recovery), StoreError> {
        Journal::open_on(options, dictionary, Arc::new(Disk))
    }

    /// As [`Journal::open`], on another medium.
    ///
    /// # Errors
    /// As [`Journal::open`].
    #[expect(clippy::needless_pass_by_value, reason = "the dictionary is shared, a copy is a counter")]
    pub fn open_on(
        options: JournalOptions,
        dictionary: Arc<[(ItemId, ItemKey)]>,
        medium: Arc<dyn Medium>,
    ) -> Result<(Journal, Recovery), StoreError> {
        fs::create_dir_all(&options.dir).map_err(io_error("create folder", &options.dir))?;
        let lock = lock_dir(&options.dir)?;
        let found = recover::recover(&options.dir)?;
        let last = found.recovery.last;
        let mut journal = Journal {
            medium,
            _lock: lock,
            dictionary: 0,
            segments: found.segments,
            epochs: found.epochs,
            writing: None,
            last,
            durable: last,
            tail: Tail::default(),
            current: None,
            must_roll: false,
            is_restart: false,
            holes: found.holes,
            pin: None,
            generation: 0,
            options,
        };
        journal.set_dictionary(&dictionary)?;
        Ok((journal, found.recovery))
    }

    /// Takes another dictionary for the records appended from now on.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be written; the one before then stays.
    pub fn set_dictionary(&mut self, dictionary: &[(ItemId, ItemKey)]) -> Result<(), StoreError> {
        let mut record = Vec::new();
        record::encode_dictionary(dictionary, &mut record);
        self.set_dictionary_record(&record).map(drop)
    }

    /// As [`Journal::set_dictionary`], with an encoded record as it came from the active node; returns its
    /// hash.
    ///
    /// # Errors
    /// As [`Journal::set_dictionary`].
    pub fn set_dictionary_record(&mut self, record: &[u8]) -> Result<u64, StoreError> {
        let hash = dictionary::hash(record);
        if hash != self.dictionary {
            dictionary::save(&self.options.dir, &*self.medium, hash, record)?;
            self.dictionary = hash;
        }
        self.must_roll |= self.segments.back().is_some_and(|segment| segment.header.dictionary != hash);
        Ok(hash)
    }

    /// This node becomes the writer: the next record is number 1 of `epoch`.
    ///
    /// # Errors
    /// [`StoreError::OldEpoch`] unless `epoch` is newer than the last record.
    pub fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        if epoch <= self.last.epoch {
            return Err(StoreError::OldEpoch { got: epoch, last: self.last });
        }
        self.writing = Some(epoch);
        Ok(())
    }

    /// Adds a record at the next position of this node's epoch. It is in memory, not yet on disk.
    ///
    /// # Errors
    /// [`StoreError::NotWriter`], [`StoreError::TooLarge`], or [`StoreError::Full`] if too much waits to be
    /// written. The record is then not in the journal.
    pub fn append(&mut self, record: &Record) -> Result<Position, StoreError> {
        self.append_with(|out| record::encode(record, out))
    }

    /// As [`Journal::append`] for samples, without needing a shared slice.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_samples(
        &mut self,
        samples: impl IntoIterator<Item: Borrow<Sample>, IntoIter: ExactSizeIterator>,
    ) -> Result<Position, StoreError> {
        self.append_with(|out| record::encode_samples(samples, out))
    }

    /// Adds a record of the active node. It is in memory, not yet on disk.
    ///
    /// # Errors
    /// [`StoreError::NotNext`] unless it is the next of the same epoch or the first of a newer one, and as
    /// [`Journal::append`].
    pub fn append_encoded(&mut self, position: Position, body: &[u8]) -> Result<(), StoreError> {
        if !follows(self.last, position) {
            return Err(StoreError::NotNext { got: position, last: self.last });
        }
        self.put(position, |out| out.extend_from_slice(body))?;
        self.writing = None;
        Ok(())
    }

    /// Hands what was appended to the operating system, begins new files and deletes old ones as needed.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing is lost, the next call continues.
    pub fn write(&mut self) -> Result<(), StoreError> {
        while let Some(number) = self.tail.first_unwritten() {
            let segment = self.tail.chunks[number].segment;
            let file = self.file_of(segment)?;
            // Another file begins behind a sync, after which chunks before this one may be gone.
            let Some(number) = self.tail.first_unwritten() else { break };
            let chunk = &self.tail.chunks[number];
            let offset = chunk.offset + chunk.written as u64;
            let (done, result) = write_all_at(&*self.medium, &file, &chunk.bytes[chunk.written..], offset);
            self.tail.wrote(number, done);
            if let Err(error) = result {
                return Err(io_error("write", &self.path_of(segment))(error));
            }
        }
        if self.tail.unsynced() > UNSYNCED_BYTES_MAX {
            self.sync_current()?;
        }
        Ok(())
    }

    /// Writes, and returns when everything appended survives a power failure; blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing is lost, the next call writes again what the disk may have dropped.
    pub fn sync(&mut self) -> Result<Position, StoreError> {
        self.write()?;
        self.sync_current()?;
        Ok(self.durable)
    }

    /// Writes, and gives what another thread needs to sync while this journal is used further. `None` if
    /// everything is durable or an earlier ticket still runs.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub fn begin_sync(&mut self) -> Result<Option<SyncTicket>, StoreError> {
        self.write()?;
        if self.durable == self.last {
            return Ok(None);
        }
        let Some(current) = &self.current else { return Ok(None) };
        if Arc::strong_count(&current.sync_file) > 1 {
            return Ok(None);
        }
        Ok(Some(SyncTicket {
            file: Arc::clone(&current.sync_file),
            medium: Arc::clone(&self.medium),
            path: self.path_of(current.first),
            through: self.last,
            generation: self.generation,
        }))
    }

    /// Takes the result of a sync; returns the durable position.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the sync failed; the bytes are written again by the next write.
    pub fn finish_sync(&mut self, outcome: SyncOutcome) -> Result<Position, StoreError> {
        if let Err(error) = outcome.result {
            self.forget_unsynced();
            return Err(error);
        }
        if outcome.generation == self.generation {
            self.note_durable(outcome.through);
        }
        Ok(self.durable)
    }

    /// The last record, written or not; [`Position::START`] if there is none.
    pub const fn last(&self) -> Position {
        self.last
    }

    /// The last record that survives a power failure.
    pub const fn durable(&self) -> Position {
        self.durable
    }

    /// The oldest record; [`Journal::last`] if there is none.
    pub fn first(&self) -> Position {
        self.segments.front().map_or(self.last, |segment| segment.header.first)
    }

    /// The epoch this node writes, if it began one.
    pub const fn writing(&self) -> Option<Epoch> {
        self.writing
    }

    /// Bytes appended and not yet written.
    pub const fn unwritten_bytes(&self) -> usize {
        self.tail.unwritten()
    }

    /// Bytes of all files, with what is not written yet.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Keeps files with records behind `at`, which a follower still needs, up to twice the size that is kept
    /// otherwise. A follower that is further behind finds a gap.
    pub const fn pin(&mut self, at: Position) {
        self.pin = Some(at);
    }

    /// Lets the journal continue behind `at`, whose image came as a snapshot. Older records stay until
    /// retention removes them; a reader that crosses the place is told of a gap.
    ///
    /// # Errors
    /// [`StoreError::NotNext`] if `at` is before the last record: set those aside first.
    pub fn restart_at(&mut self, at: Position) -> Result<(), StoreError> {
        if at < self.last {
            return Err(StoreError::NotNext { got: at, last: self.last });
        }
        self.writing = None;
        if at > self.last {
            self.must_roll = true;
            self.is_restart = true;
            self.last = at;
            note_epoch(&mut self.epochs, at);
        }
        Ok(())
    }

    fn append_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Position, StoreError> {
        let Some(epoch) = self.writing else {
            return Err(StoreError::NotWriter { dir: self.options.dir.clone() });
        };
        let position = if self.last.epoch == epoch { self.last.next() } else { Position::new(epoch, 1) };
        self.put(position, encode)?;
        Ok(position)
    }

    fn put(&mut self, position: Position, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        if self.tail.unwritten() >= self.options.buffer_bytes_max {
            return Err(StoreError::Full { dir: self.options.dir.clone(), bytes: self.tail.unwritten() });
        }
        let begins_file = self.must_roll
            || self.segments.back().is_none_or(|segment| segment.bytes >= self.options.segment_bytes);
        if begins_file {
            let header = Header {
                first: position,
                previous: self.last,
                dictionary: self.dictionary,
                is_restart: self.is_restart,
            };
            self.segments.push_back(Segment::new(&self.options.dir, header));
        }
        let segment = self.segments.back_mut().expect("one was added if there was none");
        let first = segment.header.first;
        if begins_file || !self.tail.is_open_for(position, first) {
            self.tail.begin(position, self.last, first, segment.bytes, segment.header.dictionary);
        }
        let (out, start) = self.tail.room();
        out.extend_from_slice(&[0; ENTRY_HEADER_BYTES]);
        encode(out);
        let bytes = out.len() - start - ENTRY_HEADER_BYTES;
        if bytes > RECORD_BYTES_MAX {
            self.tail.cancel(start);
            if begins_file {
                self.segments.pop_back();
            }
            return Err(StoreError::TooLarge { bytes, max: RECORD_BYTES_MAX });
        }
        finish_entry(&mut out[start..], position);
        let added = self.tail.commit(start);
        let offset = segment.bytes;
        segment.note(position, offset, added);
        self.last = position;
        self.must_roll = false;
        self.is_restart = false;
        match self.epochs.last_entry() {
            Some(mut entry) if *entry.key() == position.epoch => *entry.get_mut() = position.seq,
            Some(_) | None => note_epoch(&mut self.epochs, position),
        }
        self.tail.shrink(self.options.tail_bytes);
        Ok(())
    }

    /// The open file of this segment; finishes the one before and creates this one if needed.
    fn file_of(&mut self, first: Position) -> Result<Arc<File>, StoreError> {
        if let Some(current) = &self.current
            && current.first == first
        {
            return Ok(Arc::clone(&current.file));
        }
        self.sync_current()?;
        let number = self.number_of(first);
        let segment = &self.segments[number];
        let (path, is_created) = (segment.path.clone(), segment.is_created);
        let file = if is_created {
            OpenOptions::new().read(true).write(true).open(&path).map_err(io_error("open", &path))?
        } else {
            let header = segment.header.encode();
            self.create(&path, &header)?
        };
        self.segments[number].is_created = true;
        let file = Arc::new(file);
        let sync_file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(io_error("open", &path))?;
        self.current = Some(CurrentFile { file: Arc::clone(&file), sync_file: Arc::new(sync_file), first });
        self.retain();
        Ok(file)
    }

    fn create(&self, path: &Path, header: &[u8]) -> Result<File, StoreError> {
        let file = match self.medium.create(path) {
            Ok(file) => file,
            // Left over from a try that failed halfway.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path).map_err(io_error("replace", path))?;
                self.medium.create(path).map_err(io_error("create", path))?
            }
            Err(error) => return Err(io_error("create", path)(error)),
        };
        write_all_at(&*self.medium, &file, header, 0).1.map_err(io_error("write", path))?;
        sync_dir(&self.options.dir).map_err(io_error("sync folder", &self.options.dir))?;
        Ok(file)
    }

    /// Syncs the file being written, without writing first.
    fn sync_current(&mut self) -> Result<(), StoreError> {
        let Some(current) = &self.current else { return Ok(()) };
        let through = self.tail.last_written(self.durable);
        if through <= self.durable {
            return Ok(());
        }
        match self.medium.sync(&current.file) {
            Ok(()) => {
                self.note_durable(through);
                Ok(())
            }
            Err(error) => {
                let path = self.path_of(current.first);
                self.forget_unsynced();
                Err(io_error("sync", &path)(error))
            }
        }
    }

    /// After a failed sync; what other syncs say of the same bytes does not count any more.
    fn forget_unsynced(&mut self) {
        self.tail.forget_unsynced();
        self.generation += 1;
    }

    fn note_durable(&mut self, through: Position) {
        self.tail.mark_durable(through);
        self.durable = self.durable.max(through);
        self.tail.shrink(self.options.tail_bytes);
    }

    /// Deletes the oldest files above the limit.
    fn retain(&mut self) {
        let mut total = self.size_bytes();
        let keep = self.options.retain_segments_min.max(1);
        while total > self.options.retain_bytes
            && self.segments.len() > keep
            && self.segments.get(1).is_some_and(|next| next.is_created)
        {
            let is_pinned =
                self.pin.is_some_and(|pin| self.segments.front().is_some_and(|one| one.last > pin));
            if is_pinned && total <= self.options.retain_bytes.saturating_mul(2) {
                return;
            }
            let Some(oldest) = self.segments.pop_front() else { return };
            total -= oldest.bytes;
            remove_quietly(&oldest.path);
            let hash = oldest.header.dictionary;
            if hash != self.dictionary
                && self.segments.iter().all(|one| one.header.dictionary != hash)
                && !aside::needs(&self.options.dir, hash)
            {
                remove_quietly(&dictionary::path(&self.options.dir, hash));
            }
            self.forget_old_holes();
        }
    }

    fn number_of(&self, first: Position) -> usize {
        self.segments.partition_point(|segment| segment.header.first < first)
    }

    fn path_of(&self, first: Position) -> PathBuf {
        self.segments
            .get(self.number_of(first))
            .map_or_else(|| self.options.dir.clone(), |segment| segment.path.clone())
    }
}

/// What a sync on another thread needs.
#[derive(Debug)]
pub struct SyncTicket {
    file: Arc<File>,
    medium: Arc<dyn Medium>,
    path: PathBuf,
    through: Position,
    generation: u64,
}

impl SyncTicket {
    /// Blocks until the disk has it.
    pub fn run(self) -> SyncOutcome {
        let result = self.medium.sync(&self.file).map_err(io_error("sync", &self.path));
        SyncOutcome { result, through: self.through, generation: self.generation }
    }
}

/// The result of a sync, for [`Journal::finish_sync`].
#[derive(Debug)]
pub struct SyncOutcome {
    result: Result<(), StoreError>,
    through: Position,
    generation: u64,
}

fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("journal.lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

fn remove_quietly(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "an old file of the journal could not be deleted");
    }
}

/// Written bytes that no sync has covered; above this, a write waits for the disk, so that memory is bounded
/// and a power failure takes only so much.
const UNSYNCED_BYTES_MAX: usize = 8 * 1024 * 1024;
