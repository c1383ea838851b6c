//! Giving another node the rows that it lacks, in portions.
//!
//! Rows go item by item, in the order of the hashes of their keys, and within an item by time, as they stand in files.
//! A portion follows from its [`Place`] alone, so that nothing is kept between two of them, and files may be joined
//! meanwhile. A file whose head says that it has nothing of the range is not read.

use std::sync::Arc;

use twinhub_model::{Epoch, Position, Timestamp};

use crate::block::{self, BLOCK_ROWS_MAX};
use crate::bytes::Broken;
use crate::file::{BlockFile, check_frame, hash_of, parts_of, put_frame};
use crate::gap::{self, Place};
use crate::merge::{Merge, Part};
use crate::query::after_id;
use crate::store::Damage;
use crate::{HistoryError, Reader, Row, RowId};

/// Rows looked at for one portion, at most; an item counts as [`ITEM_COST`] of them.
const LOOKED_AT_MAX: u64 = 256 * 1024;
const ITEM_COST: u64 = 64;
/// A block of a portion is closed above so many bytes of text.
const TEXT_BYTES: usize = 64 * 1024;
/// No portion is longer, whatever a row is like: it goes in one frame.
const PORTION_BYTES_MAX: usize = 1000 * 1024;
/// Behind every record.
const EVERYTHING: Position = Position::new(Epoch(u64::MAX), u64::MAX);
/// More rows than a portion has from any node.
const PORTION_ROWS_MAX: u64 = LOOKED_AT_MAX;

/// Records of a journal whose rows are wanted. From [`Position::START`] on these are all rows: a restored history has some of a
/// journal that is no more, whose places mean nothing in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The group.
    pub group: String,
    /// Behind this record …
    pub after: Position,
    /// … and up to this one.
    pub through: Position,
}

/// Some of the rows of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Portion {
    /// Blocks, for [`read_blocks`].
    pub blocks: Vec<u8>,
    /// Where the next portion goes on; `None` at the end.
    pub next: Option<Place>,
    /// How much of the way is behind, in thousandths.
    pub done_permille: u16,
}

/// What a store cannot give of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lack {
    /// Between these positions it may lack rows, too.
    pub ranges: Vec<(Position, Position)>,
    /// It has not read so far yet: a later question may be answered better.
    pub is_behind: bool,
}

impl Lack {
    /// Whether it lacks all records of a range.
    pub fn covers(&self, after: Position, through: Position) -> bool {
        gap::joined(self.ranges.clone()).iter().any(|range| range.0 <= after && range.1 >= through)
    }
}

impl Reader {
    /// What this store cannot give of a range.
    pub fn lack(&self, range: &Range) -> Lack {
        let state = self.shared.state();
        let cursor = state.cursors.get(&range.group).copied().unwrap_or(Position::START);
        let gaps = state.gaps.iter().filter(|gap| gap.group == range.group);
        let gaps = gaps.map(|gap| (gap.after, gap.through)).chain([(cursor, range.through)]);
        let damaged = state.files.iter().flat_map(|file| file.damaged_ranges());
        let damaged = damaged.filter(|(group, ..)| *group == range.group);
        let gaps = gaps.chain(damaged.map(|(_, after, through)| (after, through)));
        // What was deleted for room another node may have. Before every journal there is no place up to which it went.
        let dropped = state.dropped.get(&range.group).filter(|_| range.after > Position::START);
        let gaps = gaps.chain(dropped.map(|through| (Position::START, *through)));
        let ranges = gap::joined(gap::inside(gaps, range.after, range.through));
        Lack { ranges, is_behind: cursor > Position::START && cursor < range.through }
    }

    /// Rows of a range behind `from`, about `bytes` of them, of items that are `wanted`, and what this store lacked
    /// before it looked for them: what it takes in meanwhile may come too late for items that are behind.
    ///
    /// # Errors
    /// [`HistoryError::Io`] if a file cannot be read. What is damaged in one is left out, lacking, and reported.
    pub fn portion(
        &self,
        range: &Range,
        from: Option<&Place>,
        wanted: &dyn Fn(&str) -> bool,
        bytes: usize,
    ) -> Result<(Portion, Lack), HistoryError> {
        let mut lack = self.lack(range);
        let last = if range.after == Position::START { EVERYTHING } else { range.through };
        let (files, memory) = self.shared.all();
        let files: Vec<Arc<BlockFile>> = files
            .iter()
            .filter(|file| file.head.may_have(&range.group, range.after, last))
            .cloned()
            .collect();
        let mut making = Making {
            reader: self,
            files,
            memory,
            range,
            last,
            bytes: bytes.min(PORTION_BYTES_MAX / 2),
            looked_at: 0,
            portion: Portion::default(),
        };
        making.run(from, wanted)?;
        let portion = making.portion;
        lack.ranges.extend(self.lack(range).ranges);
        lack.ranges = gap::joined(lack.ranges);
        Ok((portion, lack))
    }
}

struct Making<'a> {
    reader: &'a Reader,
    files: Vec<Arc<BlockFile>>,
    /// Items with rows in memory, in order.
    memory: Vec<(u64, Arc<str>)>,
    range: &'a Range,
    /// Rows behind this record are not wanted.
    last: Position,
    bytes: usize,
    looked_at: u64,
    portion: Portion,
}

impl Making<'_> {
    fn run(&mut self, from: Option<&Place>, wanted: &dyn Fn(&str) -> bool) -> Result<(), HistoryError> {
        let mut last = None;
        if let Some(place) = from {
            if !self.item(&place.item, Some(place.row))? {
                return Ok(());
            }
            last = Some((hash_of(&place.item), place.item.clone()));
        }
        while let Some((hash, key)) = self.item_after(last.as_ref())? {
            self.looked_at += ITEM_COST;
            if wanted(&key) && !self.item(&key, None)? {
                return Ok(());
            }
            if self.looked_at >= LOOKED_AT_MAX {
                self.stop(&key, RowId::LAST);
                return Ok(());
            }
            last = Some((hash, key));
        }
        self.portion.done_permille = 1000;
        Ok(())
    }

    fn stop(&mut self, key: &str, row: RowId) {
        // Hashes are spread evenly, so the hash tells how many of the items are behind.
        let share = (u128::from(hash_of(key)) * 1000) >> u64::BITS;
        self.portion.done_permille = u16::try_from(share).unwrap_or(1000);
        self.portion.next = Some(Place { item: key.to_owned(), row });
    }

    fn item_after(&self, last: Option<&(u64, String)>) -> Result<Option<(u64, String)>, HistoryError> {
        let last = last.map(|(hash, key)| (*hash, key.as_str()));
        let number = self.memory.partition_point(|(hash, key)| Some((*hash, &**key)) <= last);
        let mut best = self.memory.get(number).map(|(hash, key)| (*hash, (**key).to_owned()));
        for file in &self.files {
            match file.item_after(last) {
                Ok(found) => best = [best, found].into_iter().flatten().min(),
                Err(error @ HistoryError::Damaged { .. }) => self.reader.shared.report(Damage::of(&error)),
                Err(error) => return Err(error),
            }
        }
        Ok(best)
    }

    /// Adds the rows of an item; returns whether these are all.
    fn item(&mut self, key: &str, after: Option<RowId>) -> Result<bool, HistoryError> {
        let (_, memory) = self.reader.shared.look(key);
        let mut parts: Vec<Part> = Part::of_rows(memory).into_iter().collect();
        for file in &self.files {
            match file.entries(key) {
                Ok(entries) => {
                    parts.extend(entries.into_iter().map(|entry| Part::Block(Arc::clone(file), entry)));
                }
                Err(error @ HistoryError::Damaged { .. }) => self.reader.shared.report(Damage::of(&error)),
                Err(error) => return Err(error),
            }
        }
        let from = after.map_or(RowId::at(Timestamp(i64::MIN)), after_id);
        let mut merge = Merge::new(parts, from, Timestamp(i64::MAX));
        let is_all = self.rows(key, from, &mut merge);
        for error in merge.take_failures() {
            if !matches!(error, HistoryError::Damaged { .. }) {
                return Err(error);
            }
            self.reader.shared.report(Damage::of(&error));
        }
        Ok(is_all)
    }

    fn rows(&mut self, key: &str, from: RowId, merge: &mut Merge) -> bool {
        let mut gathered: Vec<Row> = Vec::new();
        // Up to here all rows are in blocks.
        let (mut done, mut last, mut text) = (from, from, 0);
        for row in merge {
            self.looked_at += 1;
            let is_inside = row.position > self.range.after && row.position <= self.last;
            // A long text goes alone: with those before it the block might fit no portion.
            if is_inside && !gathered.is_empty() && text + row.value.text_bytes() > TEXT_BYTES {
                let is_added = self.block(key, &gathered);
                if !is_added || self.portion.blocks.len() >= self.bytes {
                    self.stop(key, if is_added { last } else { done });
                    return false;
                }
                gathered.clear();
                (done, text) = (last, 0);
            }
            last = row.id();
            if is_inside {
                text += row.value.text_bytes();
                gathered.push(row);
            }
            let is_full = self.looked_at >= LOOKED_AT_MAX;
            if gathered.len() == BLOCK_ROWS_MAX || text >= TEXT_BYTES || is_full {
                if !self.block(key, &gathered) {
                    self.stop(key, done);
                    return false;
                }
                gathered.clear();
                (done, text) = (last, 0);
                if is_full || self.portion.blocks.len() >= self.bytes {
                    self.stop(key, last);
                    return false;
                }
            }
        }
        let is_added = self.block(key, &gathered);
        if !is_added || self.portion.blocks.len() >= self.bytes {
            self.stop(key, if is_added { last } else { done });
            return false;
        }
        true
    }

    /// Adds a block; false if it does not fit behind those that are there.
    fn block(&mut self, key: &str, rows: &[Row]) -> bool {
        let before = self.portion.blocks.len();
        put_frame(key, rows, &mut self.portion.blocks);
        if self.portion.blocks.len() <= PORTION_BYTES_MAX {
            return true;
        }
        self.portion.blocks.truncate(before);
        if before == 0 {
            tracing::warn!(item = key, rows = rows.len(), "values are too long for another node's history");
        }
        before == 0
    }
}

/// Hands out the rows of a portion's blocks, one item after the other; returns how many.
///
/// # Errors
/// [`Broken`] if the bytes are not what a node wrote; what was handed out before is sound.
pub fn read_blocks(mut bytes: &[u8], visit: &mut dyn FnMut(&str, Vec<Row>)) -> Result<u64, Broken> {
    const BROKEN: Broken = Broken { what: "a portion of the history" };
    let mut count = 0;
    while !bytes.is_empty() {
        let length = check_frame(bytes).ok_or(BROKEN)?;
        let (frame, rest) = bytes.split_at(length);
        let (key, columns) = parts_of(frame)?;
        let mut rows = Vec::new();
        block::decode(columns, &mut rows)?;
        count += rows.len() as u64;
        // A few bytes can say that there are thousands of equal rows.
        if count > PORTION_ROWS_MAX + BLOCK_ROWS_MAX as u64 {
            return Err(BROKEN);
        }
        visit(key, rows);
        bytes = rest;
    }
    Ok(count)
}
