//! Rows of one item from many places, in order and each once.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::sync::Arc;
use std::vec::IntoIter;

use twinhub_model::Timestamp;

use crate::file::{BlockFile, Entry};
use crate::{HistoryError, Row, RowId, Stats};

/// Where rows come from.
#[derive(Debug)]
pub(crate) enum Part {
    /// A block of a file.
    Block(Arc<BlockFile>, Entry),
    /// Rows in order.
    Rows(Vec<Row>, Stats),
}

impl Part {
    /// Rows in any order; `None` of none.
    pub(crate) fn of_rows(mut rows: Vec<Row>) -> Option<Part> {
        put_in_order(&mut rows);
        let stats = Stats::of(&rows)?;
        Some(Part::Rows(rows, stats))
    }

    pub(crate) const fn stats(&self) -> &Stats {
        match self {
            Part::Block(_, entry) => &entry.stats,
            Part::Rows(_, stats) => stats,
        }
    }

    pub(crate) fn load(self) -> Result<Vec<Row>, HistoryError> {
        match self {
            Part::Rows(rows, _) => Ok(rows),
            Part::Block(file, entry) => {
                let mut rows = Vec::new();
                file.read(&entry, &mut rows)?;
                Ok(rows)
            }
        }
    }
}

/// Sorts rows, and leaves each once.
pub(crate) fn put_in_order(rows: &mut Vec<Row>) {
    if rows.is_sorted_by(|one, two| one.order(two).is_lt()) {
        return;
    }
    rows.sort_by(Row::order);
    rows.dedup_by(|later, earlier| {
        let is_same = later.id() == earlier.id();
        if is_same {
            earlier.join(later);
        }
        is_same
    });
}

/// Joins parts as a set, with rows that are not shown. Only parts whose times overlap are in memory together.
#[derive(Debug)]
pub(crate) struct Merge {
    waiting: VecDeque<Part>,
    open: BinaryHeap<Run>,
    last: Option<RowId>,
    from: RowId,
    to: Timestamp,
    /// Parts that could not be read.
    failures: Vec<HistoryError>,
}

impl Merge {
    /// Rows from `from` on and before `to`.
    pub(crate) fn new(mut parts: Vec<Part>, from: RowId, to: Timestamp) -> Merge {
        parts.retain(|part| part.stats().last >= from.source && part.stats().first < to);
        parts.sort_by_key(|part| part.stats().first);
        Merge { waiting: parts.into(), open: BinaryHeap::new(), last: None, from, to, failures: Vec::new() }
    }

    /// The next part as a whole, if all its rows come next, none is left out, and all are before `end`.
    pub(crate) fn next_whole(&mut self, end: Timestamp) -> Option<Stats> {
        let stats = self.waiting.front()?.stats();
        let is_alone = self.open.is_empty()
            && self.waiting.get(1).is_none_or(|next| next.stats().first > stats.last)
            && self.last.is_none_or(|last| last.source < stats.first);
        if stats.has_twins {
            return None;
        }
        let is_inside = RowId::at(stats.first) >= self.from && stats.last < end && stats.last < self.to;
        if !is_alone || !is_inside {
            return None;
        }
        let stats = *stats;
        self.waiting.pop_front();
        self.last = Some(RowId { source: stats.last, ..RowId::at(stats.last) });
        Some(stats)
    }

    /// The time of the next row, as far as it is known without reading.
    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        let waiting = self.waiting.front().map(|part| part.stats().first);
        let open = self.open.peek().map(|run| run.next.source);
        match (waiting, open) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        }
    }

    pub(crate) fn take_failures(&mut self) -> Vec<HistoryError> {
        std::mem::take(&mut self.failures)
    }

    fn pop(&mut self) -> Option<Row> {
        let mut run = self.open.peek_mut()?;
        match run.rest.next() {
            Some(next) => Some(std::mem::replace(&mut run.next, next)),
            None => Some(PeekMut::pop(run).next),
        }
    }

    fn open_due(&mut self) {
        while let Some(part) = self.waiting.front() {
            if self.open.peek().is_some_and(|run| run.next.source < part.stats().first) {
                return;
            }
            let Some(part) = self.waiting.pop_front() else { return };
            match part.load() {
                Ok(rows) => {
                    let mut rest = rows.into_iter();
                    let from = self.from;
                    let next = rest.find(|row| row.id() >= from);
                    self.open.extend(next.map(|next| Run { next, rest }));
                }
                Err(error) => self.failures.push(error),
            }
        }
    }
}

impl Iterator for Merge {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            self.open_due();
            let mut row = self.pop()?;
            // All of its time are open.
            while self.open.peek().is_some_and(|run| run.next.id() == row.id())
                && let Some(same) = self.pop()
            {
                row.join(&same);
            }
            if row.source >= self.to {
                self.open.clear();
                self.waiting.clear();
                return None;
            }
            if self.last != Some(row.id()) {
                self.last = Some(row.id());
                return Some(row);
            }
        }
    }
}

/// Rows in order, the first of them in hand. The greatest run is the one whose row comes first.
#[derive(Debug)]
struct Run {
    next: Row,
    rest: IntoIter<Row>,
}

impl PartialEq for Run {
    fn eq(&self, other: &Run) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Run) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    fn cmp(&self, other: &Run) -> Ordering {
        other.next.order(&self.next)
    }
}
