//! What a block says of its rows, so that aggregates need not read them.

use twinhub_model::Timestamp;

use crate::Row;
use crate::bytes::{Broken, Reader, put_f64, put_i64, put_u64};

/// What is known of rows that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// How many rows.
    pub rows: u64,
    /// Source time of the first.
    pub first: Timestamp,
    /// Source time of the last.
    pub last: Timestamp,
    /// Over the rows that are numbers and not bad; `None` without any.
    pub numbers: Option<Numbers>,
    /// The number that holds on behind the last row; `None` if that row is bad or no number.
    pub holds: Option<f64>,
    /// Whether a row is not shown: then only the rows themselves say what they come to.
    pub has_twins: bool,
}

/// What is known of the numbers among rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All added.
    pub sum: f64,
    /// The first and its time.
    pub first: (Timestamp, f64),
    /// The last and its time.
    pub last: (Timestamp, f64),
    /// Each times the seconds until the next row, from the first row to the last.
    pub area: f64,
    /// Those seconds.
    pub covered_seconds: f64,
}

impl Stats {
    /// Of rows in order; `None` of none.
    pub fn of(rows: &[Row]) -> Option<Stats> {
        let (first, rest) = rows.split_first()?;
        let mut stats = Stats::of_one(first);
        for row in rest {
            stats.add(row);
        }
        Some(stats)
    }

    /// Of a single row.
    pub fn of_one(row: &Row) -> Stats {
        let number = row.number();
        let numbers = number.map(|number| Numbers {
            count: 1,
            min: number,
            max: number,
            sum: number,
            first: (row.source, number),
            last: (row.source, number),
            area: 0.0,
            covered_seconds: 0.0,
        });
        let has_twins = !row.is_shown();
        Stats { rows: 1, first: row.source, last: row.source, numbers, holds: number, has_twins }
    }

    fn add(&mut self, row: &Row) {
        if let (Some(held), Some(numbers)) = (self.holds, &mut self.numbers) {
            let seconds = seconds_between(self.last, row.source);
            numbers.area += held * seconds;
            numbers.covered_seconds += seconds;
        }
        self.rows += 1;
        self.has_twins |= !row.is_shown();
        self.last = row.source;
        self.holds = row.number();
        let Some(number) = self.holds else { return };
        match &mut self.numbers {
            Some(numbers) => {
                numbers.count += 1;
                numbers.min = numbers.min.min(number);
                numbers.max = numbers.max.max(number);
                numbers.sum += number;
                numbers.last = (row.source, number);
            }
            none @ None => *none = Stats::of_one(row).numbers,
        }
    }

    /// With rows that follow.
    pub fn join(&mut self, next: &Stats) {
        if let (Some(held), Some(numbers)) = (self.holds, &mut self.numbers) {
            let seconds = seconds_between(self.last, next.first);
            numbers.area += held * seconds;
            numbers.covered_seconds += seconds;
        }
        self.rows += next.rows;
        self.has_twins |= next.has_twins;
        self.last = next.last;
        self.holds = next.holds;
        self.numbers = match (self.numbers, next.numbers) {
            (Some(one), Some(two)) => Some(Numbers {
                count: one.count + two.count,
                min: one.min.min(two.min),
                max: one.max.max(two.max),
                sum: one.sum + two.sum,
                first: one.first,
                last: two.last,
                area: one.area + two.area,
                covered_seconds: one.covered_seconds + two.covered_seconds,
            }),
            (one, two) => one.or(two),
        };
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.rows);
        put_i64(out, self.first.0);
        put_i64(out, self.last.0.wrapping_sub(self.first.0));
        let bits = u8::from(self.numbers.is_some()) | u8::from(self.holds.is_some()) << 1;
        out.push(bits | u8::from(self.has_twins) << 2);
        if let Some(held) = self.holds {
            put_f64(out, held);
        }
        let Some(numbers) = &self.numbers else { return };
        put_u64(out, numbers.count);
        for (time, number) in [numbers.first, numbers.last] {
            put_i64(out, time.0.wrapping_sub(self.first.0));
            put_f64(out, number);
        }
        for number in [numbers.min, numbers.max, numbers.sum, numbers.area, numbers.covered_seconds] {
            put_f64(out, number);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Stats, Broken> {
        const WHAT: &str = "what an index says of a block";
        let rows = reader.u64(WHAT)?;
        let first = reader.i64(WHAT)?;
        let last = first.wrapping_add(reader.i64(WHAT)?);
        let bits = reader.u8(WHAT)?;
        let holds = if bits & 2 == 0 { None } else { Some(reader.f64(WHAT)?) };
        let (first_time, last, has_twins) = (Timestamp(first), Timestamp(last), bits & 4 != 0);
        let mut stats = Stats { rows, first: first_time, last, numbers: None, holds, has_twins };
        if bits & 1 == 0 {
            return Ok(stats);
        }
        let count = reader.u64(WHAT)?;
        let mut end = || -> Result<(Timestamp, f64), Broken> {
            let time = first.wrapping_add(reader.i64(WHAT)?);
            Ok((Timestamp(time), reader.f64(WHAT)?))
        };
        let (first, last) = (end()?, end()?);
        let mut numbers = [0.0; 5];
        for number in &mut numbers {
            *number = reader.f64(WHAT)?;
        }
        let [min, max, sum, area, covered_seconds] = numbers;
        stats.numbers = Some(Numbers { count, min, max, sum, first, last, area, covered_seconds });
        Ok(stats)
    }
}

/// Seconds from one time to a later one; zero if it is not later.
#[expect(clippy::cast_precision_loss, reason = "a mean over time needs no nanoseconds")]
pub(crate) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    (to.0.saturating_sub(from.0)).max(0) as f64 / 1e9
}
