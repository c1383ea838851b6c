//! Rows on their way to somebody who follows the history, such as a central database.
//!
//! Who follows reads files ([`Reader::sealed`]), has what is in memory sealed, and takes what comes from then on. What is
//! not taken in time is dropped as a whole, and the way back leads through the files again.

use std::sync::Arc;

use twinhub_model::{Position, Timestamp};

use crate::file::BlockFile;
use crate::gap::Gap;
use crate::store::{Damage, State};
use crate::{HistoryError, Reader, Row};

/// Rows that the store took while somebody follows.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// No more bytes are kept; 0 if nobody follows.
    bytes_max: usize,
    bytes: usize,
    groups: Vec<Arc<str>>,
    /// The group in whose journal it is, by its place in `groups`, the item, and the row.
    rows: Vec<(u32, u32, Row)>,
}

impl Tail {
    pub(crate) const fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    pub(crate) fn push(&mut self, group: &str, slot: u32, row: Row) {
        if !self.is_on() {
            return;
        }
        self.bytes += size_of::<(u32, u32, Row)>() + row.value.text_bytes();
        let known = self.groups.iter().position(|known| **known == *group);
        let place = known.unwrap_or_else(|| {
            self.groups.push(Arc::from(group));
            self.groups.len() - 1
        });
        self.rows.push((u32::try_from(place).unwrap_or(u32::MAX), slot, row));
        if self.bytes > self.bytes_max {
            *self = Tail::default();
        }
    }
}

/// Rows of one item.
pub type ItemRows = (Arc<str>, Vec<Row>);

/// How far a group's journal is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The group.
    pub group: String,
    /// The name of its journal, so that a position is none of a journal that was there before; empty if it has none.
    pub life: String,
    /// The last record.
    pub at: Position,
}

/// What was taken since the last time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// Items and their rows, as they came.
    pub rows: Vec<(Arc<str>, Row)>,
    /// How far each group's journal is in these rows and all before, without what is missing.
    pub reached: Vec<Mark>,
}

/// A sealed file, for somebody who follows the history. It can be read to its end also if it is deleted meanwhile.
#[derive(Debug, Clone)]
pub struct SealedFile {
    reader: Reader,
    file: Arc<BlockFile>,
}

/// The rows of a sealed file, a block at a time.
#[derive(Debug)]
pub struct SealedRows {
    reader: Reader,
    file: Arc<BlockFile>,
    item: u64,
    /// Blocks of the present item that were handed out.
    block: usize,
    damaged: u64,
}

impl Reader {
    /// Keeps rows for [`Reader::take_tail`] from now on, as long as they are no more than about these bytes. One reader
    /// of a store can follow it. What was there before is in files as soon as [`Reader::is_sealed`] says so of the number
    /// that this returns.
    pub fn begin_tail(&self, bytes_max: usize) -> u64 {
        let mut state = self.shared.state();
        state.tail = Tail { bytes_max: bytes_max.max(1), ..Tail::default() };
        let is_gathered = state.pending.iter().any(|pending| pending.rows() > 0);
        state.freezes + u64::from(is_gathered)
    }

    /// Whether what was there before [`Reader::begin_tail`] is in files.
    pub fn is_sealed(&self, begun: u64) -> bool {
        self.shared.state().freezes_sealed >= begun
    }

    /// Keeps no rows any more.
    pub fn end_tail(&self) {
        self.shared.state().tail = Tail::default();
    }

    /// What came since the last time with the journals of the groups that are wanted, whatever group an item is in now; the
    /// rest is dropped. `None` if that was too much: begin again.
    pub fn take_tail(&self, is_wanted: &dyn Fn(&str) -> bool) -> Option<Taken> {
        let mut state = self.shared.state();
        if !state.tail.is_on() {
            return None;
        }
        state.tail.bytes = 0;
        let rows = std::mem::take(&mut state.tail.rows);
        let reached =
            state.cursors.iter().filter(|(group, _)| is_wanted(group)).map(|(group, cursor)| Mark {
                group: group.clone(),
                life: state.lives.get(group).cloned().unwrap_or_default(),
                at: without_gaps(*cursor, group, &state.gaps),
            });
        let reached = reached.collect();
        let wanted: Vec<bool> = state.tail.groups.iter().map(|group| is_wanted(group)).collect();
        let rows = rows.into_iter().filter(|(place, _, _)| wanted.get(*place as usize) == Some(&true));
        let rows = rows.filter_map(|(_, slot, row)| Some((state.key(slot)?, row))).collect();
        Some(Taken { rows, reached })
    }

    /// Rows that wait in the tail.
    pub fn tail_rows(&self) -> u64 {
        self.shared.state().tail.rows.len() as u64
    }

    /// The sealed files, in the order of their seals.
    pub fn sealed(&self) -> Vec<SealedFile> {
        let files = Arc::clone(&self.shared.state().files);
        files.iter().map(|file| SealedFile { reader: self.clone(), file: Arc::clone(file) }).collect()
    }
}

impl State {
    fn key(&self, slot: u32) -> Option<Arc<str>> {
        self.keys.get(slot as usize).cloned()
    }
}

impl SealedFile {
    /// Number of the last seal in it; files that were joined have the last one's.
    pub fn last_seal(&self) -> u64 {
        self.file.head.last
    }

    /// Number of the first seal in it.
    pub fn first_seal(&self) -> u64 {
        self.file.head.first
    }

    /// Rows in it, of all items.
    pub fn row_count(&self) -> u64 {
        self.file.summary.rows
    }

    /// When the hub received its oldest row; `None` if it has none.
    pub fn oldest(&self) -> Option<Timestamp> {
        Some(self.file.summary.server.min).filter(|_| self.file.summary.rows > 0)
    }

    /// Groups whose journals are, or were, followed.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.file.head.cursors.iter().map(|(group, _)| group.as_str())
    }

    /// How far a group's journal is in it and all before; `None` if that is not known.
    pub fn cursor(&self, group: &str) -> Option<Mark> {
        let head = &self.file.head;
        if head.cursors.is_empty() {
            return None;
        }
        let cursor = head.cursors.iter().find(|(known, _)| known == group);
        let life = head.lives.iter().find(|(known, _)| known == group);
        Some(Mark {
            group: group.to_owned(),
            life: life.map(|(_, life)| life.clone()).unwrap_or_default(),
            at: cursor.map_or(Position::START, |(_, at)| *at),
        })
    }

    /// As [`SealedFile::cursor`], but for what was missing when it was sealed, and what is missing now.
    pub fn reached(&self, group: &str) -> Option<Mark> {
        let mark = self.cursor(group)?;
        let then = without_gaps(mark.at, group, &self.file.head.gaps);
        let state = self.reader.shared.state();
        Some(Mark { at: without_gaps(then, group, &state.gaps), ..mark })
    }

    /// Its rows.
    pub fn rows(&self) -> SealedRows {
        SealedRows {
            reader: self.reader.clone(),
            file: Arc::clone(&self.file),
            item: 0,
            block: 0,
            damaged: 0,
        }
    }
}

impl SealedRows {
    /// Parts that were left out so far, because they are damaged.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The next rows of one item; `None` at the end. What is damaged is left out, counted and reported; it is missing from
    /// then on ([`crate::Gap`]), so that nothing is reached behind it until another node gave it, or none has it.
    ///
    /// # Errors
    /// [`HistoryError::Io`] if the file cannot be read.
    pub fn next_block(&mut self) -> Result<Option<ItemRows>, HistoryError> {
        while self.item < self.file.summary.items {
            let record = match self.file.record(self.item) {
                Ok(record) => record,
                Err(error) => {
                    self.leave_out(error)?;
                    (self.item, self.block) = (self.item + 1, 0);
                    continue;
                }
            };
            let Some(entry) = record.entries.get(self.block) else {
                (self.item, self.block) = (self.item + 1, 0);
                continue;
            };
            self.block += 1;
            let mut rows = Vec::new();
            match self.file.read(entry, &mut rows) {
                Ok(()) => return Ok(Some((Arc::from(record.key.as_str()), rows))),
                Err(error) => self.leave_out(error)?,
            }
        }
        Ok(None)
    }

    fn leave_out(&mut self, error: HistoryError) -> Result<(), HistoryError> {
        if !matches!(error, HistoryError::Damaged { .. }) {
            return Err(error);
        }
        self.damaged += 1;
        self.reader.shared.miss(&self.file);
        self.reader.shared.report(Damage::of(&error));
        Ok(())
    }
}

fn without_gaps(cursor: Position, group: &str, gaps: &[Gap]) -> Position {
    let gaps = gaps.iter().filter(|gap| gap.group == group);
    gaps.fold(cursor, |reached, gap| reached.min(gap.after))
}
