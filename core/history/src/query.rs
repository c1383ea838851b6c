//! Reading while others write.

use std::sync::Arc;

use twinhub_model::{Epoch, Position, Timestamp};

use crate::merge::{Merge, Part, put_in_order};
use crate::store::{Damage, Shared};
use crate::{Aggregates, HistoryError, Row, RowId};

/// Reads a store from any thread.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

/// What is asked of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The item's key.
    pub item: String,
    /// From this time on …
    pub from: Timestamp,
    /// … and before this one.
    pub to: Timestamp,
    /// Only rows behind this one: where the answer before ended.
    pub after: Option<RowId>,
}

impl Query {
    /// Everything of an item.
    pub fn all(item: impl Into<String>) -> Query {
        Query { item: item.into(), from: Timestamp(i64::MIN), to: Timestamp(i64::MAX), after: None }
    }

    /// Between two times.
    pub fn between(item: impl Into<String>, from: Timestamp, to: Timestamp) -> Query {
        Query { item: item.into(), from, to, after: None }
    }
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Rows in files.
    pub sealed_rows: u64,
    /// Rows that are in memory and in the journal.
    pub pending_rows: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Bytes in memory.
    pub pending_bytes: u64,
    /// Files.
    pub files: u64,
    /// Server time of the oldest row in a file.
    pub oldest: Option<Timestamp>,
}

impl Reader {
    /// The rows of an item, in order of time.
    ///
    /// # Errors
    /// [`HistoryError`] if a file cannot be read at all. What is damaged in one is left out, and reported by
    /// [`Rows::damage`] and by the store.
    pub fn rows(&self, query: &Query) -> Result<Rows, HistoryError> {
        let from = match query.after {
            Some(after) => after_id(after).max(RowId::at(query.from)),
            None => RowId::at(query.from),
        };
        Ok(Rows::of(self, self.merge(query, from)?))
    }

    /// What an item's values came to in each of the intervals that `from` to `to` is cut into. Time behind `until` has
    /// no value yet.
    ///
    /// # Errors
    /// As [`Reader::rows`].
    pub fn aggregates(
        &self,
        query: &Query,
        interval_ns: u64,
        until: Timestamp,
    ) -> Result<Aggregates, HistoryError> {
        let held = self.last_before(&query.item, query.from)?.and_then(|row| row.number());
        let rows = self.rows(query)?;
        Ok(Aggregates::new(rows, query.from, query.to, interval_ns, until, held))
    }

    /// The last row of an item before a time.
    ///
    /// # Errors
    /// As [`Reader::rows`].
    pub fn last_before(&self, item: &str, time: Timestamp) -> Result<Option<Row>, HistoryError> {
        let mut parts = self.parts(item, |range| range.0 < time)?;
        parts.retain(|part| part.stats().first < time);
        parts.sort_by_key(|part| std::cmp::Reverse(part.stats().last));
        let mut found: Vec<Row> = Vec::new();
        for part in parts {
            let best = found.iter().rev().find(|row| row.is_shown());
            if best.is_some_and(|best| part.stats().last < best.source) {
                break;
            }
            match part.load() {
                Ok(rows) => {
                    found.extend(rows.into_iter().filter(|row| row.source < time));
                    // None is dropped: what comes next may hide the last of them.
                    put_in_order(&mut found);
                }
                Err(error) => self.shared.report(Damage::of(&error)),
            }
        }
        Ok(found.into_iter().rfind(Row::is_shown))
    }

    /// How much there is.
    pub fn totals(&self) -> Totals {
        let state = self.shared.state();
        let pending = state.pending.iter().chain(state.frozen.iter().flat_map(|frozen| &frozen.slots));
        let (mut pending_rows, mut pending_bytes) = (0, 0);
        for slot in pending {
            pending_rows += u64::from(slot.rows());
            pending_bytes += slot.bytes() as u64;
        }
        Totals {
            sealed_rows: state.files.iter().map(|file| file.summary.rows).sum(),
            pending_rows,
            bytes: state.files.iter().map(|file| file.bytes).sum(),
            pending_bytes,
            files: state.files.len() as u64,
            oldest: state
                .files
                .iter()
                .filter(|file| file.summary.rows > 0)
                .map(|file| file.summary.server.min)
                .min(),
        }
    }

    pub(crate) fn merge(&self, query: &Query, from: RowId) -> Result<Merge, HistoryError> {
        let parts = self.parts(&query.item, |range| range.0 < query.to && range.1 >= from.source)?;
        Ok(Merge::new(parts, from, query.to))
    }

    /// Blocks and rows in memory of an item, from files whose times are wanted.
    fn parts(
        &self,
        item: &str,
        wanted: impl Fn((Timestamp, Timestamp)) -> bool,
    ) -> Result<Vec<Part>, HistoryError> {
        let (files, memory) = self.shared.look(item);
        let mut parts: Vec<Part> = Part::of_rows(memory).into_iter().collect();
        for file in files.iter().filter(|file| wanted((file.summary.source.min, file.summary.source.max))) {
            match file.entries(item) {
                Ok(entries) => {
                    parts.extend(entries.into_iter().map(|entry| Part::Block(Arc::clone(file), entry)));
                }
                Err(error @ HistoryError::Damaged { .. }) => self.shared.report(Damage::of(&error)),
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }
}

/// Rows of one item, in order of time. Memory holds the blocks that overlap, not the whole answer.
#[derive(Debug)]
pub struct Rows {
    pub(crate) merge: Merge,
    shared: Arc<Shared>,
    damage: usize,
}

impl Rows {
    /// Blocks that were left out because they are damaged.
    pub const fn damage(&self) -> usize {
        self.damage
    }

    /// The next row, also one that is not shown.
    pub(crate) fn next_raw(&mut self) -> Option<Row> {
        let row = self.merge.next();
        self.note_failures();
        row
    }

    pub(crate) fn of(reader: &Reader, merge: Merge) -> Rows {
        Rows { merge, shared: Arc::clone(&reader.shared), damage: 0 }
    }

    pub(crate) fn note_failures(&mut self) {
        for error in self.merge.take_failures() {
            self.damage += 1;
            self.shared.report(Damage::of(&error));
        }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let row = self.next_raw()?;
            if row.is_shown() {
                return Some(row);
            }
        }
    }
}

/// The smallest identity behind this one.
pub(crate) fn after_id(id: RowId) -> RowId {
    if let Some(place) = id.place.checked_add(1) {
        return RowId { place, ..id };
    }
    let position = match id.position.seq.checked_add(1) {
        Some(seq) => Position::new(id.position.epoch, seq),
        None => Position::new(Epoch(id.position.epoch.0.saturating_add(1)), 0),
    };
    RowId { position, place: 0, ..id }
}
