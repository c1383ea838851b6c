//! Ranges of records that damage took from this node's files, and putting them back.
//!
//! A hole is found when the journal is opened, or by a [`Scrub`] of files that are written no more. The records
//! come from another node; the file is written anew beside the damaged one, which is kept as `*.damaged`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use twinhub_model::Position;

use super::damage::{Damage, Hole};
use super::scan::{Scanner, Step};
use super::segment::{ENTRY_HEADER_BYTES, HEADER_BYTES, Header, Segment, before, finish_entry, follows};
use super::{Journal, dictionary};
use crate::error::io_error;
use crate::medium::{sync_dir, write_all_at};
use crate::{Medium, StoreError};

/// What a node has of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeRead {
    /// Hash of the dictionary that explains the records.
    pub dictionary: u64,
    /// Whether the records reach up to the end of the range.
    pub is_complete: bool,
}

impl Journal {
    /// What damage took and no other node gave back yet, oldest first.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// Gives the records behind `after` and before `before`, about `max_bytes` of them; `None` if this node lacks the
    /// next of them, too.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a file cannot be read.
    pub fn read_range(
        &self,
        after: Position,
        before: Position,
        max_bytes: usize,
        visit: &mut dyn FnMut(Position, &[u8]),
    ) -> Result<Option<RangeRead>, StoreError> {
        if self.relation(after) != super::Relation::Present || before > behind(self.last()) {
            return Ok(None);
        }
        let (mut last, mut is_complete, mut count) = (after, false, 0_usize);
        self.visit_after(after, max_bytes, &mut |position, body| {
            is_complete |= position >= before;
            if !is_complete {
                visit(position, body);
                (last, count) = (position, count + 1);
            }
        })?;
        is_complete |= follows(last, before);
        let dictionary = self.dictionary_after(after);
        Ok((is_complete || count > 0).then_some(RangeRead { dictionary, is_complete }))
    }

    /// Puts back what a hole took. `records` are all of it, as another node has them.
    ///
    /// # Errors
    /// [`StoreError::NotNext`] if they are not, [`StoreError::NoDictionary`] if their dictionary is not here,
    /// [`StoreError::Damaged`] if they are numbered otherwise than the rest of the file, and [`StoreError::Io`].
    /// The damaged file is then as it was.
    pub fn mend(
        &mut self,
        hole: &Hole,
        dictionary: u64,
        records: &[(Position, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let Some(place) = self.holes.iter().position(|known| known == hole) else { return Ok(()) };
        check(hole, records)?;
        dictionary::load(&self.options.dir, dictionary)?;
        self.sync()?;
        let number = match &hole.file {
            Some(file) => self.segments.iter().position(|segment| segment.path == *file),
            None => None,
        };
        match number {
            Some(number) => self.rewrite(number, hole, dictionary, records)?,
            None if hole.file.is_none() => self.restore(hole, dictionary, records)?,
            // Retention has removed the file since.
            None => {}
        }
        self.holes.remove(place);
        Ok(())
    }

    /// Writes a damaged file anew, with the records where they are missing.
    fn rewrite(
        &mut self,
        number: usize,
        hole: &Hole,
        dictionary: u64,
        records: &[(Position, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let segment = &self.segments[number];
        let path = segment.path.clone();
        let mut header = segment.header;
        if hole.is_whole_file {
            let first = records.first().map_or(header.first, |(position, _)| *position);
            header = Header { first, previous: hole.after, dictionary, is_restart: false };
        } else if header.dictionary != dictionary {
            return Err(StoreError::Damaged {
                path,
                what: "the other node numbers its items otherwise".to_owned(),
                advice: "records around the damage are readable; those in it are on the other node",
            });
        }
        let mut draft = Draft::new(header);
        let is_last = number + 1 == self.segments.len();
        if !hole.is_whole_file {
            draft.copy(segment, hole.after, records)?;
        }
        draft.add(hole.after, records);
        let made = draft.replace(&*self.medium, &path)?;
        self.segments[number] = made;
        if is_last {
            // The open file is the one that was replaced.
            self.current = None;
            self.tail.clear();
            self.generation += 1;
            self.must_roll = true;
        }
        Ok(())
    }

    /// Writes a file that is gone.
    fn restore(
        &mut self,
        hole: &Hole,
        dictionary: u64,
        records: &[(Position, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let Some((first, _)) = records.first() else { return Ok(()) };
        let header = Header { first: *first, previous: hole.after, dictionary, is_restart: false };
        let path = Segment::new(&self.options.dir, header).path;
        let mut draft = Draft::new(header);
        draft.add(hole.after, records);
        let made = draft.replace(&*self.medium, &path)?;
        let number = self.number_of(*first);
        match self.segments.get_mut(number) {
            // Only its header was left.
            Some(known) if known.path == path => *known = made,
            Some(_) | None => self.segments.insert(number, made),
        }
        Ok(())
    }

    /// What another thread needs to read a file that is written no more: the one behind `after`, or the oldest.
    pub fn scrub_after(&self, after: Position) -> Option<Scrub> {
        let closed = self.segments.len().saturating_sub(1);
        let candidates = || self.segments.iter().take(closed).filter(|segment| segment.is_created);
        let next =
            candidates().find(|segment| segment.header.first > after).or_else(|| candidates().next())?;
        let holes = self.holes.iter().filter(|hole| hole.file.as_ref() == Some(&next.path)).count();
        (holes == 0 && next.last <= self.durable).then(|| Scrub {
            path: next.path.clone(),
            header: next.header,
            last: next.last,
            bytes: next.bytes,
        })
    }

    /// Takes what a scrub found; gives it for the log.
    pub fn note_scrubbed(&mut self, scrubbed: Scrubbed) -> Vec<Damage> {
        let Some(number) = self.segments.iter().position(|segment| segment.path == scrubbed.path) else {
            return Vec::new();
        };
        // The file may have been cut or mended since.
        if scrubbed.holes.is_empty() || self.segments[number].bytes != scrubbed.bytes {
            return Vec::new();
        }
        if scrubbed.is_gone {
            self.segments.remove(number);
        }
        self.holes.extend(scrubbed.holes);
        self.holes.sort_by_key(|hole| hole.after);
        scrubbed.damage
    }

    /// Forgets holes that are older than everything that is kept.
    pub(super) fn forget_old_holes(&mut self) {
        let first = self.first();
        self.holes.retain(|hole| hole.before > first);
    }
}

/// A file to be read whole, on another thread.
#[derive(Debug)]
pub struct Scrub {
    path: PathBuf,
    header: Header,
    last: Position,
    bytes: u64,
}

/// What a scrub found, for [`Journal::note_scrubbed`].
#[derive(Debug)]
pub struct Scrubbed {
    path: PathBuf,
    first: Position,
    bytes: u64,
    holes: Vec<Hole>,
    damage: Vec<Damage>,
    is_gone: bool,
}

impl Scrubbed {
    /// The file's first record: the next scrub goes on behind it.
    pub const fn first(&self) -> Position {
        self.first
    }
}

impl Scrub {
    /// Reads the file and compares every record with its checksum.
    pub fn run(self) -> Scrubbed {
        let mut found = Scrubbed {
            path: self.path.clone(),
            first: self.header.first,
            bytes: self.bytes,
            holes: Vec::new(),
            damage: Vec::new(),
            is_gone: false,
        };
        match self.look(&mut found) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.is_gone = true;
                found.report(0, "the file is gone".to_owned());
                found.holes = vec![self.whole(None)];
            }
            // Another look will tell; a disk that cannot be read is reported by whoever needs the records.
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "the journal could not be checked");
            }
        }
        found
    }

    fn whole(&self, file: Option<PathBuf>) -> Hole {
        let is_whole_file = file.is_some();
        Hole { after: self.header.previous, before: behind(self.last), file, is_whole_file }
    }

    fn look(&self, found: &mut Scrubbed) -> io::Result<()> {
        let file = File::open(&self.path)?;
        let mut start = [0; HEADER_BYTES];
        let length = file.metadata()?.len();
        let read = crate::medium::read_at(&file, &mut start, 0)?;
        let header = Header::decode(&self.path, &start[..read]);
        if !matches!(header, Ok(Ok(header)) if header == self.header) {
            found.report(0, "the header is not what was written".to_owned());
            found.holes.push(self.whole(Some(self.path.clone())));
            return Ok(());
        }
        let end = self.bytes.min(length);
        let mut scanner =
            Scanner::new(&file, HEADER_BYTES as u64, end, before(self.header.first), BLOCK_BYTES);
        let mut last = self.header.previous;
        let mut is_behind_damage = false;
        let hole =
            |after, before| Hole { after, before, file: Some(self.path.clone()), is_whole_file: false };
        loop {
            match scanner.step()? {
                Step::Entry { position, .. } => {
                    if is_behind_damage || !follows(last, position) {
                        found.holes.push(hole(last, position));
                    }
                    (last, is_behind_damage) = (position, false);
                }
                Step::Damage { offset, what, resume } => {
                    found.report(offset, what.to_owned());
                    is_behind_damage = true;
                    if resume.is_none() {
                        break;
                    }
                }
                Step::End => break,
            }
        }
        if last < self.last {
            if !is_behind_damage {
                found.report(length, "the file ends early".to_owned());
            }
            found.holes.push(hole(last, behind(self.last)));
        }
        Ok(())
    }
}

impl Scrubbed {
    fn report(&mut self, offset: u64, what: String) {
        self.damage.push(Damage { file: self.path.clone(), offset, what });
    }
}

/// The place behind a record, whether something stands there or not.
const fn behind(position: Position) -> Position {
    Position::new(position.epoch, position.seq.saturating_add(1))
}

/// Whether the records are all that a hole took.
fn check(hole: &Hole, records: &[(Position, Vec<u8>)]) -> Result<(), StoreError> {
    let mut last = hole.after;
    for (position, _) in records {
        if !follows(last, *position) || *position >= hole.before {
            return Err(StoreError::NotNext { got: *position, last });
        }
        last = *position;
    }
    if follows(last, hole.before) { Ok(()) } else { Err(StoreError::NotNext { got: hole.before, last }) }
}

/// A file in the making.
struct Draft {
    header: Header,
    bytes: Vec<u8>,
    index: Segment,
    is_added: bool,
}

impl Draft {
    fn new(header: Header) -> Draft {
        Draft {
            header,
            bytes: header.encode().to_vec(),
            index: Segment::new(Path::new(""), header),
            is_added: false,
        }
    }

    fn put(&mut self, position: Position, body: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ENTRY_HEADER_BYTES]);
        self.bytes.extend_from_slice(body);
        finish_entry(&mut self.bytes[start..], position);
        self.index.note(position, start as u64, (ENTRY_HEADER_BYTES + body.len()) as u64);
    }

    fn add(&mut self, after: Position, records: &[(Position, Vec<u8>)]) {
        if !std::mem::replace(&mut self.is_added, true) {
            for (position, body) in records {
                self.put(*position, body);
            }
        }
        // An epoch may end in the hole without a record behind it.
        self.index.last = self.index.last.max(after);
    }

    /// Takes the intact records of a damaged file, and the others behind `after`.
    fn copy(
        &mut self,
        segment: &Segment,
        after: Position,
        records: &[(Position, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let path = &segment.path;
        let file = File::open(path).map_err(io_error("open", path))?;
        let end = segment.bytes.min(file.metadata().map_err(io_error("read", path))?.len());
        let mut scanner =
            Scanner::new(&file, HEADER_BYTES as u64, end, before(segment.header.first), BLOCK_BYTES);
        loop {
            match scanner.step().map_err(io_error("read", path))? {
                Step::Entry { position, body, .. } => {
                    if position > after && !self.is_added {
                        self.add(after, records);
                    }
                    self.put(position, body);
                }
                Step::Damage { resume: None, .. } | Step::End => return Ok(()),
                Step::Damage { .. } => {}
            }
        }
    }

    /// Writes it to the disk in place of `path`, whose file is kept beside.
    fn replace(self, medium: &dyn Medium, path: &Path) -> Result<Segment, StoreError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let fresh = path.with_extension("journal.new");
        match fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("replace", &fresh)(error)),
        }
        let file = medium.create(&fresh).map_err(io_error("create", &fresh))?;
        write_all_at(medium, &file, &self.bytes, 0).1.map_err(io_error("write", &fresh))?;
        medium.sync(&file).map_err(io_error("sync", &fresh))?;
        if path.exists() {
            let aside = free_name(path);
            fs::hard_link(path, &aside).map_err(io_error("set aside", &aside))?;
        }
        fs::rename(&fresh, path).map_err(io_error("name", path))?;
        sync_dir(dir).map_err(io_error("sync folder", dir))?;
        Ok(Segment { path: path.to_owned(), header: self.header, is_created: true, ..self.index })
    }
}

/// A name for a damaged file that is not taken.
fn free_name(path: &Path) -> PathBuf {
    let mut number = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".damaged".to_owned() } else { format!(".{number}.damaged") });
        let aside = PathBuf::from(name);
        if !aside.exists() {
            return aside;
        }
        number += 1;
    }
}

const BLOCK_BYTES: usize = 256 * 1024;
