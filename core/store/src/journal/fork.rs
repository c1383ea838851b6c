//! Setting aside records that the active node does not have.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use twinhub_model::Position;

use super::recover::note_epoch;
use super::scan::{Scanner, Step};
use super::segment::{HEADER_BYTES, Header, Segment, before};
use super::{Journal, remove_quietly};
use crate::StoreError;
use crate::error::io_error;
use crate::medium::sync_dir;

/// Records that were set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Where they are; one file per file of the journal they stood in.
    pub files: Vec<PathBuf>,
    /// How many records.
    pub records: u64,
    /// The first one.
    pub first: Position,
    /// The last one.
    pub last: Position,
}

/// What stands behind the cut in one file.
#[derive(Debug)]
struct Cut {
    offset: u64,
    /// The last record before it.
    kept: Position,
    first: Position,
    records: u64,
}

impl Journal {
    /// Takes everything behind `position` out of the journal and keeps it in `fork-EPOCH-SEQ.journal` files.
    /// `None` if there is nothing behind it. A node that was writing stops to be the writer.
    ///
    /// # Errors
    /// [`StoreError::Io`]. Nothing is cut before its copy is safe; the call can be repeated.
    pub fn truncate_after(&mut self, position: Position) -> Result<Option<Fork>, StoreError> {
        if position >= self.last {
            return Ok(None);
        }
        self.sync()?;
        let position = self.last_through(position)?;
        let last = self.last;
        let mut fork = Fork { files: Vec::new(), records: 0, first: last, last };
        let from = self.segments.partition_point(|segment| segment.last <= position);
        let mut cuts = Vec::new();
        if let Err(error) = self.copy_behind(position, from, &mut fork, &mut cuts) {
            // Nothing is cut yet. The next try makes the copies again, on a disk that may be full.
            fork.files.iter().for_each(|path| remove_quietly(path));
            return Err(error);
        }
        self.current = None;
        // From the end, so that after a crash what is left is still without a gap.
        for offset in cuts.into_iter().rev() {
            let Some(segment) = self.segments.pop_back() else { break };
            if let Some(left) = cut_file(segment, offset, position)? {
                self.segments.push_back(left);
            }
        }
        let dir = &self.options.dir;
        sync_dir(dir).map_err(io_error("sync folder", dir))?;
        self.forget_after(position);
        Ok((fork.records > 0).then_some(fork))
    }

    /// The last record at or before `position`, or the place of a copy: another journal may have more of an epoch.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn last_through(&self, position: Position) -> Result<Position, StoreError> {
        let number = self.segments.partition_point(|segment| segment.last <= position);
        match self.segments.get(number) {
            Some(segment) => Ok(find_cut(segment, position)?.kept),
            None => Ok(self.last.min(position)),
        }
    }

    /// Copies what stands behind `position` in the files from `from` on; where each of them is to be cut.
    fn copy_behind(
        &self,
        position: Position,
        from: usize,
        fork: &mut Fork,
        cuts: &mut Vec<u64>,
    ) -> Result<(), StoreError> {
        for segment in self.segments.range(from..) {
            let cut = find_cut(segment, position)?;
            if cut.records > 0 {
                if fork.records == 0 {
                    fork.first = cut.first;
                }
                fork.records += cut.records;
                fork.files.push(self.copy_aside(segment, &cut, position, fork.files.len())?);
            }
            cuts.push(cut.offset);
        }
        Ok(())
    }

    fn copy_aside(
        &self,
        segment: &Segment,
        cut: &Cut,
        position: Position,
        number: usize,
    ) -> Result<PathBuf, StoreError> {
        let dir = &self.options.dir;
        let path = free_name(dir, position, number);
        let draft = path.with_extension("journal.new");
        let header = Header {
            first: cut.first,
            previous: if number == 0 { position } else { segment.header.previous },
            dictionary: segment.header.dictionary,
            // The files between were deleted for their age, or never came.
            is_restart: number == 0 && segment.header.previous > position,
        };
        let copy = || -> io::Result<()> {
            let mut source = File::open(&segment.path)?;
            source.seek(SeekFrom::Start(cut.offset))?;
            let mut target = File::create(&draft)?;
            target.write_all(&header.encode())?;
            io::copy(&mut source.take(segment.bytes - cut.offset), &mut target)?;
            target.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_dir(dir)
        };
        if let Err(error) = copy() {
            // With an error of the last step it is in place already.
            remove_quietly(&draft);
            remove_quietly(&path);
            return Err(io_error("set records aside in", &path)(error));
        }
        Ok(path)
    }

    fn forget_after(&mut self, position: Position) {
        self.tail.clear();
        self.generation += 1;
        self.writing = None;
        self.is_restart = false;
        self.last = self.segments.back().map_or(position, |segment| segment.last);
        self.durable = self.last;
        let last = self.last;
        self.holes.retain(|hole| hole.before <= last);
        self.must_roll = !self.segments.is_empty();
        self.epochs.retain(|epoch, _| *epoch <= self.last.epoch);
        if self.epochs.contains_key(&self.last.epoch) {
            self.epochs.insert(self.last.epoch, self.last.seq);
        } else {
            note_epoch(&mut self.epochs, self.last);
        }
    }
}

fn find_cut(segment: &Segment, position: Position) -> Result<Cut, StoreError> {
    let path = &segment.path;
    let file = File::open(path).map_err(io_error("open", path))?;
    let start = segment.seek(position);
    let mut scanner =
        Scanner::new(&file, start, segment.bytes, before(segment.header.first), SCAN_BLOCK_BYTES);
    let kept = segment.header.previous.min(position);
    let mut cut = Cut { offset: start, kept, first: segment.header.first, records: 0 };
    loop {
        match scanner.step().map_err(io_error("read", path))? {
            Step::Entry { position: at, offset, body } => {
                if at <= position {
                    cut.offset = offset + (super::ENTRY_HEADER_BYTES + body.len()) as u64;
                    cut.kept = at;
                    continue;
                }
                if cut.records == 0 {
                    cut.first = at;
                }
                cut.records += 1;
            }
            Step::Damage { .. } => {}
            Step::End => return Ok(cut),
        }
    }
}

/// Cuts the file at `offset`, or deletes it if nothing is left; returns what is left.
fn cut_file(mut segment: Segment, offset: u64, position: Position) -> Result<Option<Segment>, StoreError> {
    let path = &segment.path;
    if offset == HEADER_BYTES as u64 {
        fs::remove_file(path).map_err(io_error("remove", path))?;
        return Ok(None);
    }
    let file = OpenOptions::new().write(true).open(path).map_err(io_error("open", path))?;
    file.set_len(offset).and_then(|()| file.sync_all()).map_err(io_error("cut", path))?;
    segment.index.retain(|(_, at)| *at < offset);
    segment.bytes = offset;
    segment.last = last_in(&segment)?.min(position);
    Ok(Some(segment))
}

fn last_in(segment: &Segment) -> Result<Position, StoreError> {
    let path = &segment.path;
    let file = File::open(path).map_err(io_error("open", path))?;
    let (mut last, offset) =
        segment.index.last().copied().unwrap_or((segment.header.previous, HEADER_BYTES as u64));
    let mut scanner =
        Scanner::new(&file, offset, segment.bytes, before(segment.header.first), SCAN_BLOCK_BYTES);
    loop {
        match scanner.step().map_err(io_error("read", path))? {
            Step::Entry { position, .. } => last = position,
            Step::Damage { .. } => {}
            Step::End => return Ok(last),
        }
    }
}

/// A name that is not taken: an earlier try may have left its copy, which is kept.
fn free_name(dir: &Path, position: Position, number: usize) -> PathBuf {
    let stem = format!("fork-{}-{}", position.epoch, position.seq);
    let mut number = number;
    loop {
        let path = match number {
            0 => dir.join(format!("{stem}.journal")),
            _ => dir.join(format!("{stem}.{}.journal", number + 1)),
        };
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

const SCAN_BLOCK_BYTES: usize = 256 * 1024;
