//! One telegram that two nodes heard and each journaled alone: it has two places.

use std::time::Duration;

use twinhub_model::{Epoch, Position, SampleFlags, Timestamp, Value};

use crate::{HistoryError, Query, Reader, Row, RowId, Rows};

/// A value of an item that another node journaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Telegram {
    /// When it was so, as for a row.
    pub source: Timestamp,
    /// The value.
    pub value: Value,
    /// Where it stood there.
    pub position: Position,
}

/// Whose telegrams these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The last record that both sides have.
    pub common: Position,
    /// Epochs of the other side: within one of them a telegram is journaled once.
    pub epochs: Vec<Epoch>,
}

impl Reader {
    /// Which telegrams of an item have a row of their own here that this side journaled behind the common record: an equal
    /// value whose time is no further away than `tolerance`. A row is the twin of one telegram at most, and the telegrams of
    /// the same fork that were found to be twins before keep theirs.
    ///
    /// # Errors
    /// As [`Reader::rows`].
    pub fn twins(
        &self,
        item: &str,
        heard: &[Telegram],
        fork: &Fork,
        tolerance: Duration,
    ) -> Result<Vec<bool>, HistoryError> {
        let reach = i64::try_from(tolerance.as_nanos()).unwrap_or(i64::MAX);
        let mut order: Vec<usize> = (0..heard.len()).collect();
        order.sort_by_key(|number| heard[*number].source);
        let mut found = vec![false; heard.len()];
        // What is far apart has nothing to do with each other, and what is between is not read.
        let is_near = |one: &usize, two: &usize| {
            heard[*two].source.0.saturating_sub(heard[*one].source.0) <= reach.saturating_mul(4)
        };
        for near in order.chunk_by(is_near) {
            self.twins_of(item, heard, near, fork, reach, &mut found)?;
        }
        Ok(found)
    }

    fn twins_of(
        &self,
        item: &str,
        heard: &[Telegram],
        near: &[usize],
        fork: &Fork,
        reach: i64,
        found: &mut [bool],
    ) -> Result<(), HistoryError> {
        let ([first, ..], [.., last]) = (near, near) else { return Ok(()) };
        let wide = reach.saturating_mul(2);
        let from = Timestamp(heard[*first].source.0.saturating_sub(wide));
        let to = Timestamp(heard[*last].source.0.saturating_add(wide).saturating_add(1));
        let query = Query::between(item, from, to);
        let mut rows = Rows::of(self, self.merge(&query, RowId::at(from))?);
        let mut ours: Vec<Option<Row>> = Vec::new();
        // Those that were found before come first.
        let mut theirs: Vec<(Position, u32, Timestamp, Value, Option<usize>)> = near
            .iter()
            .map(|number| {
                let Telegram { source, value, position } = &heard[*number];
                let place = u32::try_from(*number).unwrap_or(u32::MAX);
                (*position, place, *source, value.clone(), Some(*number))
            })
            .collect();
        while let Some(row) = rows.next_raw() {
            if row.position <= fork.common {
                continue;
            }
            if fork.epochs.contains(&row.position.epoch) {
                let is_asked = near.iter().any(|number| heard[*number].position == row.position);
                if !row.is_shown() && !is_asked {
                    theirs.push((row.position, row.place, row.source, row.value, None));
                }
            } else if row.is_shown() && is_telegram(&row) {
                ours.push(Some(row));
            }
        }
        theirs.sort_by_key(|(position, place, ..)| (*position, *place));
        for (_, _, source, value, number) in theirs {
            let twin = ours.iter_mut().find(|row| {
                row.as_ref().is_some_and(|row| {
                    row.source.0.abs_diff(source.0) <= reach.unsigned_abs() && row.value.is_same(&value)
                })
            });
            if twin.and_then(Option::take).is_some()
                && let Some(number) = number
            {
                found[number] = true;
            }
        }
        Ok(())
    }
}

fn is_telegram(row: &Row) -> bool {
    row.quality.is_good() && !row.flags.contains(SampleFlags::QUALITY_ONLY)
}
