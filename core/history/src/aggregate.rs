//! What values came to over intervals.

use twinhub_model::Timestamp;

use crate::query::Rows;
use crate::stats::seconds_between;
use crate::{Numbers, Stats};

/// What an item's values came to between two times. Rows that are bad or no number count only as rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// From this time on …
    pub start: Timestamp,
    /// … and before this one.
    pub end: Timestamp,
    /// Rows of any kind.
    pub rows: u64,
    /// The numbers among them; `None` without any.
    pub numbers: Option<Numbers>,
    /// The mean of what held over time: each number from its time until the next row, the one before the interval from
    /// its start. `None` if nothing held.
    pub time_weighted_mean: Option<f64>,
    /// The seconds in which a number held.
    pub covered_seconds: f64,
}

impl Bucket {
    /// The sum divided by the count.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2^53")]
    pub fn mean(&self) -> Option<f64> {
        self.numbers.map(|numbers| numbers.sum / numbers.count as f64)
    }
}

/// One bucket after the other. A block that lies in one bucket is not read: its index says what it comes to.
#[derive(Debug)]
pub struct Aggregates {
    rows: Rows,
    next: Timestamp,
    to: Timestamp,
    until: Timestamp,
    interval_ns: u64,
    held: Option<f64>,
    /// A row of a later bucket.
    ahead: Option<Stats>,
}

impl Aggregates {
    pub(crate) fn new(
        rows: Rows,
        from: Timestamp,
        to: Timestamp,
        interval_ns: u64,
        until: Timestamp,
        held: Option<f64>,
    ) -> Aggregates {
        Aggregates { rows, next: from, to, until, interval_ns: interval_ns.max(1), held, ahead: None }
    }

    /// Blocks that were left out because they are damaged.
    pub const fn damage(&self) -> usize {
        self.rows.damage()
    }

    /// What comes next and is before `end`.
    fn piece(&mut self, end: Timestamp) -> Option<Stats> {
        if let Some(ahead) = self.ahead {
            return if ahead.first < end { self.ahead.take() } else { None };
        }
        if let Some(whole) = self.rows.merge.next_whole(end) {
            return Some(whole);
        }
        if self.rows.merge.next_time()? >= end {
            return None;
        }
        let row = Stats::of_one(&self.rows.next()?);
        if row.first < end {
            return Some(row);
        }
        self.ahead = Some(row);
        None
    }
}

impl Iterator for Aggregates {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        let start = self.next;
        if start >= self.to {
            return None;
        }
        let step = i64::try_from(self.interval_ns).unwrap_or(i64::MAX);
        let end = Timestamp(start.0.saturating_add(step)).min(self.to);
        self.next = end;
        let mut all: Option<Stats> = None;
        while let Some(piece) = self.piece(end) {
            match &mut all {
                Some(all) => all.join(&piece),
                None => all = Some(piece),
            }
        }
        let filled = end.min(self.until);
        let (mut area, mut covered) = (0.0, 0.0);
        let mut hold = |value: Option<f64>, from: Timestamp, to: Timestamp| {
            if let Some(value) = value {
                let seconds = seconds_between(from, to);
                area += value * seconds;
                covered += seconds;
            }
        };
        hold(self.held, start, all.map_or(filled, |all| all.first));
        if let Some(all) = &all {
            hold(all.holds, all.last, filled);
            self.held = all.holds;
            if let Some(numbers) = &all.numbers {
                area += numbers.area;
                covered += numbers.covered_seconds;
            }
        }
        Some(Bucket {
            start,
            end,
            rows: all.map_or(0, |all| all.rows),
            numbers: all.and_then(|all| all.numbers),
            time_weighted_mean: (covered > 0.0).then(|| area / covered),
            covered_seconds: covered,
        })
    }
}
