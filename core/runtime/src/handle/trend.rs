//! What values were.

use std::sync::Arc;

use twinhub_history::{Bucket, HistoryError, ParquetRow, ParquetWriter, Query, Reader, Row, RowId};
use twinhub_model::{SampleFlags, Timestamp};

use super::Handle;
use crate::clock;
use crate::history::Shelf;
use crate::json::to_json;
use crate::stream::parse_position;
use crate::view::{BucketView, BucketsView, TrendRowView, TrendView};

/// What is asked of the history of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrendQuery {
    /// The item's key.
    pub item: String,
    /// From this time on …
    pub from: Timestamp,
    /// … and before this one.
    pub to: Timestamp,
    /// Where the part before ended.
    pub after: Option<TrendCursor>,
    /// Values at most.
    pub limit: usize,
}

/// Where a part of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrendCursor(RowId);

impl TrendCursor {
    /// Reads a cursor as an answer showed it.
    pub fn parse(text: &str) -> Option<TrendCursor> {
        let (time, rest) = text.split_once('@')?;
        let (position, place) = rest.rsplit_once('/')?;
        Some(TrendCursor(RowId {
            source: Timestamp(time.parse().ok()?),
            position: parse_position(position)?,
            place: place.parse().ok()?,
        }))
    }

    fn text(id: RowId) -> String {
        format!("{}@{}/{}", id.source.0, id.position, id.place)
    }
}

/// Values of an item as a Parquet file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrendFile {
    /// The file.
    pub bytes: Vec<u8>,
    /// Values in it.
    pub rows: usize,
    /// Where the next file begins; `None` at the end.
    pub next: Option<String>,
}

/// Bytes of text in the values of one answer: a value may have a million of them, and an answer a million values.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// What still goes into an answer.
#[derive(Debug)]
struct Room {
    rows: usize,
    text_bytes: usize,
    last: Option<RowId>,
}

impl Room {
    fn new(rows: usize) -> Room {
        Room { rows: rows.max(1), text_bytes: TEXT_BYTES_MAX, last: None }
    }

    /// Takes a row; where the next answer begins if this one is full.
    fn take(&mut self, row: &Row) -> Result<(), String> {
        if let Some(last) = self.last
            && (self.rows == 0 || self.text_bytes == 0)
        {
            return Err(TrendCursor::text(last));
        }
        self.rows -= 1;
        self.text_bytes = self.text_bytes.saturating_sub(row.value.text_bytes());
        self.last = Some(row.id());
        Ok(())
    }
}

/// Why the history gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrendError {
    /// No such item.
    #[error("there is no item `{key}`")]
    UnknownItem {
        /// The key.
        key: String,
    },
    /// Its values are not kept.
    #[error("the values of `{key}` are not kept: write `yes` into the column `historize` of its items file")]
    NotKept {
        /// The key.
        key: String,
    },
    /// There is no history on this node.
    #[error("the history of this node cannot be read: {cause}")]
    Closed {
        /// Why.
        cause: String,
    },
    /// A file cannot be read.
    #[error("the history cannot be read: {0}")]
    Read(#[source] HistoryError),
}

impl TrendError {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            TrendError::UnknownItem { .. } => "TH-ITEM-001",
            TrendError::NotKept { .. } => "TH-HISTORY-007",
            TrendError::Closed { .. } | TrendError::Read(_) => "TH-HISTORY-001",
        }
    }
}

impl Handle {
    /// The values of an item, in order of time; reads files, so it blocks.
    ///
    /// # Errors
    /// [`TrendError`] says why there are none.
    pub fn trend(&self, query: &TrendQuery) -> Result<TrendView, TrendError> {
        let mut rows = self
            .trend_reader(&query.item)?
            .rows(&Query {
                item: query.item.clone(),
                from: query.from,
                to: query.to,
                after: query.after.map(|cursor| cursor.0),
            })
            .map_err(TrendError::Read)?;
        let mut view = TrendView { item: query.item.clone(), ..TrendView::default() };
        let mut room = Room::new(query.limit);
        for row in rows.by_ref() {
            if let Err(next) = room.take(&row) {
                view.next = Some(next);
                break;
            }
            view.rows.push(self.trend_row(&row));
        }
        view.damaged = rows.damage() as u64;
        self.check_kept(query, view.rows.is_empty())?;
        Ok(view)
    }

    /// The values of an item as a Parquet file; reads files, so it blocks.
    ///
    /// # Errors
    /// As [`Handle::trend`].
    pub fn trend_file(&self, query: &TrendQuery) -> Result<TrendFile, TrendError> {
        let asked = Query {
            item: query.item.clone(),
            from: query.from,
            to: query.to,
            after: query.after.map(|cursor| cursor.0),
        };
        let rows = self.trend_reader(&query.item)?.rows(&asked).map_err(TrendError::Read)?;
        let made = file_of(rows, query.limit, |row| ParquetRow {
            item: query.item.clone(),
            quality: row.quality.word().to_owned(),
            cause: row.quality.cause(),
            origin: self.0.shared.name_of(row.position.epoch.rank()),
            replayed: row.flags.contains(SampleFlags::REPLAY),
            row,
        });
        self.check_kept(query, made.rows == 0)?;
        Ok(made)
    }

    /// What the values of an item came to over intervals; reads files, so it blocks.
    ///
    /// # Errors
    /// As [`Handle::trend`].
    pub fn trend_buckets(&self, query: &TrendQuery, interval_ns: u64) -> Result<BucketsView, TrendError> {
        let reader = self.trend_reader(&query.item)?;
        let asked = Query::between(&query.item, query.from, query.to);
        let mut buckets = reader.aggregates(&asked, interval_ns, clock::utc()).map_err(TrendError::Read)?;
        let rows: Vec<BucketView> =
            buckets.by_ref().take(query.limit.max(1)).map(|bucket| bucket_view(&bucket)).collect();
        let damaged = buckets.damage() as u64;
        self.check_kept(query, rows.iter().all(|row| row.rows == 0))?;
        Ok(BucketsView { item: query.item.clone(), rows, damaged })
    }

    fn trend_reader(&self, item: &str) -> Result<&Reader, TrendError> {
        let shelf: &Arc<Shelf> = &self.0.shelf;
        shelf.reader().map_err(|cause| match cause {
            Some(cause) => TrendError::Closed { cause },
            None if self.0.table.find(item).is_some() => TrendError::NotKept { key: item.to_owned() },
            None => TrendError::UnknownItem { key: item.to_owned() },
        })
    }

    /// An item that is not kept any more, or is gone, still has the values of then; without any there is a reason.
    fn check_kept(&self, query: &TrendQuery, is_empty: bool) -> Result<(), TrendError> {
        let key = &query.item;
        if !is_empty || query.after.is_some() || self.0.shelf.is_historized(key) {
            return Ok(());
        }
        Err(match self.0.table.find(key) {
            Some(_) => TrendError::NotKept { key: key.clone() },
            None => TrendError::UnknownItem { key: key.clone() },
        })
    }

    fn trend_row(&self, row: &Row) -> TrendRowView {
        TrendRowView {
            source_time: full_time(row.source),
            server_time: full_time(row.server),
            value: to_json(&row.value),
            quality: row.quality.word().to_owned(),
            cause: row.quality.cause(),
            origin: self.0.shared.name_of(row.position.epoch.rank()),
            position: row.position.to_string(),
            replayed: row.flags.contains(SampleFlags::REPLAY),
        }
    }
}

fn file_of(
    rows: impl Iterator<Item = Row>,
    limit: usize,
    with_words: impl Fn(Row) -> ParquetRow,
) -> TrendFile {
    let (mut writer, mut room, mut made) = (ParquetWriter::new(), Room::new(limit), TrendFile::default());
    for row in rows {
        if let Err(next) = room.take(&row) {
            made.next = Some(next);
            break;
        }
        made.rows += 1;
        writer.push(with_words(row));
    }
    made.bytes = writer.finish();
    made
}

fn bucket_view(bucket: &Bucket) -> BucketView {
    let numbers = bucket.numbers;
    let seconds = Timestamp(bucket.end.0.saturating_sub(bucket.start.0)).0;
    #[expect(clippy::cast_precision_loss, reason = "a share of time needs no nanoseconds")]
    let seconds = seconds as f64 / 1e9;
    BucketView {
        start: full_time(bucket.start),
        end: full_time(bucket.end),
        count: numbers.map_or(0, |numbers| numbers.count),
        rows: bucket.rows,
        min: numbers.map(|numbers| numbers.min),
        max: numbers.map(|numbers| numbers.max),
        mean: bucket.mean(),
        time_weighted_mean: bucket.time_weighted_mean,
        sum: numbers.map(|numbers| numbers.sum),
        first: numbers.map(|numbers| numbers.first.1),
        last: numbers.map(|numbers| numbers.last.1),
        covered: if seconds > 0.0 { (bucket.covered_seconds / seconds).min(1.0) } else { 0.0 },
    }
}

/// RFC 3339; beyond milliseconds only if there is something.
fn full_time(time: Timestamp) -> String {
    let text = time.to_string();
    let below = time.0.rem_euclid(1_000_000);
    match text.strip_suffix('Z') {
        Some(text) if below != 0 && time.is_some() => format!("{text}{below:06}Z"),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use twinhub_model::{Epoch, NodeRank, Position, Quality, Value};

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_shown() {
        let position = Position::new(Epoch::new(17, NodeRank(1)), 905);
        let id = RowId { source: Timestamp(-5), position, place: 3 };
        assert_eq!(TrendCursor::parse(&TrendCursor::text(id)), Some(TrendCursor(id)));
        for text in ["", "1", "1@", "1@2.1:3", "x@2.1:3/0", "1@2.1:3/-1", "1@2:3/0"] {
            assert_eq!(TrendCursor::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_show_what_is_known_below_a_millisecond() {
        assert_eq!(full_time(Timestamp(1_500_000_000)), "1970-01-01T00:00:01.500Z");
        assert_eq!(full_time(Timestamp(1_500_000_001)), "1970-01-01T00:00:01.500000001Z");
        assert_eq!(full_time(Timestamp::NONE), "-");
    }

    fn row(seq: u64, text_bytes: usize) -> Row {
        Row {
            source: Timestamp(i64::try_from(seq).unwrap()),
            server: Timestamp(0),
            value: Value::Str("x".repeat(text_bytes).into()),
            quality: Quality::GOOD,
            flags: SampleFlags::default(),
            position: Position::new(Epoch(1), seq),
            place: 0,
        }
    }

    /// A million values of a million letters are asked for: what is read and held is bounded.
    #[test]
    fn a_file_of_long_texts_ends_early_and_says_where_it_goes_on() {
        let mut read = 0;
        let rows = (0..1_000_000).map(|seq| row(seq, 1_000_000)).inspect(|_| read += 1);
        let with_words = |row| ParquetRow {
            item: "plc/text".to_owned(),
            row,
            quality: "good".to_owned(),
            cause: String::new(),
            origin: "main".to_owned(),
            replayed: false,
        };
        let made = file_of(rows, 1_000_000, with_words);
        assert_eq!((made.rows, read), (34, 35));
        assert!(made.bytes.len() < 40_000_000, "{}", made.bytes.len());
        assert_eq!(made.next, Some(TrendCursor::text(row(33, 0).id())));
        // A value that is longer than all of that comes nevertheless.
        let made = file_of([row(1, TEXT_BYTES_MAX + 1), row(2, 1)].into_iter(), 9, with_words);
        assert_eq!((made.rows, made.next), (1, Some(TrendCursor::text(row(1, 0).id()))));
        let made = file_of((0..9).map(|seq| row(seq, 1)), 3, with_words);
        assert_eq!((made.rows, made.next), (3, Some(TrendCursor::text(row(2, 0).id()))));
        let made = file_of((0..3).map(|seq| row(seq, 1)), 3, with_words);
        assert_eq!((made.rows, made.next), (3, None));
    }
}
