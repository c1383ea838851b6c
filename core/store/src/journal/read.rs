//! Reading: the newest records from memory, older ones from files.

use std::fmt;
use std::fs::File;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use twinhub_model::{Epoch, ItemId, ItemKey, Position};

use super::scan::{Scanner, Step};
use super::segment::{HEADER_BYTES, before, follows};
use super::{Journal, dictionary};
use crate::StoreError;
use crate::error::io_error;

/// A record as it stands in the journal; decode it with `twinhub_wire::record::decode`. Entries of one read
/// share one piece of memory.
#[derive(Clone)]
pub struct Body {
    block: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body { start: 0, end: bytes.len(), block: Arc::new(bytes) }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

/// One record and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// Its bytes.
    pub body: Body,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// There is more.
    More,
    /// The last record was read.
    CaughtUp,
    /// The record behind the last one read is not there: retention removed it, it is damaged, or it came as
    /// a snapshot.
    Gap {
        /// Reading after this position gives the next record that is there.
        resume: Position,
    },
}

/// Where a position of another node stands against this journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is part of it, or directly before its first record.
    Present,
    /// It is older than what is still held, or before everything.
    TooOld,
    /// It is not of this history; up to `common` both are the same.
    Diverged {
        /// The last position that both have.
        common: Position,
    },
}

impl Journal {
    /// Adds records behind `after` to `out`: about `max_bytes` of them, and at least one if there is one.
    /// Stops where the dictionary changes.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a file cannot be read.
    pub fn read_after(
        &self,
        after: Position,
        max_bytes: usize,
        out: &mut Vec<Entry>,
    ) -> Result<ReadEnd, StoreError> {
        let mut block = Vec::new();
        let mut places = Vec::new();
        let end = self.visit_after(after, max_bytes, &mut |position, body| {
            let start = block.len();
            block.extend_from_slice(body);
            places.push((position, start, block.len()));
        })?;
        let block = Arc::new(block);
        out.extend(places.into_iter().map(|(position, start, end)| Entry {
            position,
            body: Body { block: Arc::clone(&block), start, end },
        }));
        Ok(end)
    }

    /// As [`Journal::read_after`], without copying: calls `visit` for each record.
    ///
    /// # Errors
    /// As [`Journal::read_after`].
    pub fn visit_after(
        &self,
        after: Position,
        max_bytes: usize,
        visit: &mut dyn FnMut(Position, &[u8]),
    ) -> Result<ReadEnd, StoreError> {
        let mut cursor = Cursor { at: after, budget: max_bytes, count: 0, dictionary: None, visit };
        loop {
            if cursor.at >= self.last {
                let is_ahead = cursor.at > self.last;
                return Ok(if is_ahead { ReadEnd::Gap { resume: self.last } } else { ReadEnd::CaughtUp });
            }
            let was_at = cursor.at;
            let in_memory = self.tail.chunks.front().is_some_and(|front| was_at >= front.previous);
            let flow = if in_memory { self.visit_memory(&mut cursor) } else { self.visit_file(&mut cursor)? };
            if let ControlFlow::Break(end) = flow {
                return Ok(end);
            }
            if in_memory && cursor.at == was_at {
                // What follows came as a snapshot and nothing was appended since.
                return Ok(cursor.gap(self.last));
            }
        }
    }

    /// Hash of the dictionary that explains the first record behind `after`, or the next one appended.
    pub fn dictionary_after(&self, after: Position) -> u64 {
        let number = self.segments.partition_point(|segment| segment.last <= after);
        self.segments.get(number).map_or(self.dictionary, |segment| segment.header.dictionary)
    }

    /// The dictionary with this hash.
    ///
    /// # Errors
    /// [`StoreError::NoDictionary`], [`StoreError::Damaged`] or [`StoreError::Io`].
    pub fn dictionary(&self, hash: u64) -> Result<Arc<[(ItemId, ItemKey)]>, StoreError> {
        dictionary::load(&self.options.dir, hash)
    }

    /// As [`Journal::dictionary`], the encoded record, as it is sent to another node.
    ///
    /// # Errors
    /// As [`Journal::dictionary`], but for a record that is no dictionary.
    pub fn dictionary_record(&self, hash: u64) -> Result<Vec<u8>, StoreError> {
        dictionary::load_record(&self.options.dir, hash)
    }

    /// Where the last position of another node stands against this journal.
    pub fn relation(&self, position: Position) -> Relation {
        let oldest = self.segments.front().map_or(self.last, |segment| segment.header.previous);
        if position == self.last || position == oldest {
            return Relation::Present;
        }
        if position < oldest {
            // Records may be gone from here whose epochs are known: who has others than these goes its own way.
            return match self.epochs.get(&position.epoch) {
                Some(last) if position.seq > *last => {
                    Relation::Diverged { common: Position::new(position.epoch, *last) }
                }
                Some(_) => Relation::TooOld,
                None => self
                    .last_before(position.epoch)
                    .map_or(Relation::TooOld, |common| Relation::Diverged { common }),
            };
        }
        match self.epochs.get(&position.epoch) {
            Some(last) if position.seq <= *last => Relation::Present,
            Some(last) => Relation::Diverged { common: Position::new(position.epoch, *last) },
            None => Relation::Diverged { common: self.last_before(position.epoch).unwrap_or(oldest) },
        }
    }

    fn last_before(&self, epoch: Epoch) -> Option<Position> {
        let (epoch, seq) = self.epochs.range(..epoch).next_back()?;
        Some(Position::new(*epoch, *seq))
    }

    fn visit_memory(&self, cursor: &mut Cursor<'_>) -> ControlFlow<ReadEnd> {
        let chunks = &self.tail.chunks;
        let first = chunks.partition_point(|chunk| chunk.last() <= cursor.at);
        for chunk in chunks.range(first..) {
            let number = chunk.number_after(cursor.at);
            let prior = if number == 0 { chunk.previous } else { chunk.position(number - 1) };
            for number in number..chunk.len() {
                let is_next = number > 0 || prior == cursor.at;
                cursor.take(chunk.position(number), chunk.body(number), is_next, chunk.dictionary)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads on in the file that holds the next record, up to where the memory begins.
    fn visit_file(&self, cursor: &mut Cursor<'_>) -> Result<ControlFlow<ReadEnd>, StoreError> {
        let number = self.segments.partition_point(|segment| segment.last <= cursor.at);
        let Some(segment) = self.segments.get(number) else {
            return Ok(ControlFlow::Break(ReadEnd::Gap { resume: self.last }));
        };
        let path = &segment.path;
        let memory = self.tail.chunks.front().filter(|chunk| chunk.segment == segment.header.first);
        let end = memory.map_or(segment.bytes, |chunk| chunk.offset);
        let offset = segment.seek(cursor.at);
        let file = File::open(path).map_err(io_error("open", path))?;
        let block = cursor.budget.saturating_add(BLOCK_BYTES_MIN).min(BLOCK_BYTES_MAX);
        let mut scanner = Scanner::new(&file, offset, end, before(segment.header.first), block);
        let mut prior = (offset == HEADER_BYTES as u64).then_some(segment.header.previous);
        let mut is_behind_damage = false;
        loop {
            match scanner.step().map_err(io_error("read", path))? {
                Step::Entry { position, body, .. } => {
                    if position > cursor.at {
                        let is_next =
                            prior == Some(cursor.at) && !is_behind_damage && follows(cursor.at, position);
                        let flow = cursor.take(position, body, is_next, segment.header.dictionary);
                        if flow.is_break() {
                            return Ok(flow);
                        }
                    }
                    is_behind_damage = false;
                    prior = Some(position);
                }
                Step::Damage { .. } => is_behind_damage = true,
                Step::End => break,
            }
        }
        if memory.is_some() && prior == Some(cursor.at) && !is_behind_damage {
            return Ok(ControlFlow::Continue(()));
        }
        if memory.is_none() && cursor.at >= segment.last {
            return Ok(ControlFlow::Continue(()));
        }
        // The end of this file is damaged: go on behind it.
        let next = match memory {
            Some(chunk) => chunk.position(0),
            None => match self.segments.get(number + 1) {
                Some(segment) => segment.header.first,
                None => self.last.next(),
            },
        };
        Ok(ControlFlow::Break(cursor.gap(before(next))))
    }
}

struct Cursor<'v> {
    at: Position,
    budget: usize,
    count: usize,
    dictionary: Option<u64>,
    visit: &'v mut dyn FnMut(Position, &[u8]),
}

impl Cursor<'_> {
    /// What was handed out ends before a gap; a read that has nothing to hand out reports it.
    const fn gap(&self, resume: Position) -> ReadEnd {
        if self.count > 0 { ReadEnd::More } else { ReadEnd::Gap { resume } }
    }

    /// Hands out one record, or says why not.
    fn take(
        &mut self,
        position: Position,
        body: &[u8],
        is_next: bool,
        dictionary: u64,
    ) -> ControlFlow<ReadEnd> {
        let has_some = self.count > 0;
        if !is_next && position != self.at.next() {
            return ControlFlow::Break(self.gap(before(position)));
        }
        if has_some && (body.len() > self.budget || self.dictionary != Some(dictionary)) {
            return ControlFlow::Break(ReadEnd::More);
        }
        self.dictionary = Some(dictionary);
        self.budget = self.budget.saturating_sub(body.len());
        self.count += 1;
        self.at = position;
        (self.visit)(position, body);
        ControlFlow::Continue(())
    }
}

/// Read at once, at least; the distance of known places in a file.
const BLOCK_BYTES_MIN: usize = 64 * 1024;
/// Read at once, at most.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
