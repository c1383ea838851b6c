//! What values were, as interfaces show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a node keeps of values, for items with `historize`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// Items whose values are kept.
    pub items: u64,
    /// Values that are kept.
    pub rows: u64,
    /// Of them, those in memory and journal that are in no file yet.
    pub pending_rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// When the hub received the oldest value in a file, RFC 3339.
    pub oldest: Option<String>,
    /// Values taken since start.
    pub rows_taken: u64,
    /// Journal records that are not in the history yet.
    pub lag_records: u64,
    /// Journal records that were gone before the history could read them and that no other node had, since start.
    pub lost_records: u64,
    /// Journal records whose values may be missing: they are fetched from other nodes.
    #[serde(default)]
    pub gap_records: u64,
    /// Values that came from other nodes since start.
    #[serde(default)]
    pub copied_rows: u64,
    /// How they come on, while some are fetched.
    #[serde(default)]
    pub copy: Option<HistoryCopyView>,
    /// Why values wait in memory and journal, or why none are kept.
    pub error: Option<String>,
}

/// How values that a node lacks come from another one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryCopyView {
    /// The node that gives them.
    pub from: String,
    /// The group.
    pub group: String,
    /// Values so far.
    pub rows: u64,
    /// Values per second.
    pub rows_per_second: u64,
    /// How much of the way is behind.
    pub done_percent: f64,
    /// About how many values are to come, once that can be told.
    pub remaining_rows: Option<u64>,
    /// About how long that takes.
    pub eta_seconds: Option<u64>,
}

/// A value of the past.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TrendRowView {
    /// The device's time, RFC 3339 with all digits that are known.
    pub source_time: String,
    /// When the hub received it.
    pub server_time: String,
    /// The value in its own type; bytes in hexadecimal.
    #[schema(value_type = Object)]
    pub value: serde_json::Value,
    /// `good`, `uncertain` or `bad`.
    pub quality: String,
    /// Why it is not good.
    pub cause: String,
    /// The node that was active then.
    pub origin: String,
    /// The record of the journal it came with, `epoch:seq`.
    pub position: String,
    /// Whether it was replayed from what a standby had received.
    pub replayed: bool,
}

/// Values of the past, in order of time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct TrendView {
    /// The item.
    pub item: String,
    /// The values.
    pub rows: Vec<TrendRowView>,
    /// Pass this as `cursor` to get the next part; absent at the end.
    pub next: Option<String>,
    /// Blocks that were left out because they are damaged.
    pub damaged: u64,
}

/// What values came to between two times.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BucketView {
    /// From this time on, RFC 3339 …
    pub start: String,
    /// … and before this one.
    pub end: String,
    /// Numbers that are not bad.
    pub count: u64,
    /// Values of any kind.
    pub rows: u64,
    /// The smallest number.
    pub min: Option<f64>,
    /// The greatest number.
    pub max: Option<f64>,
    /// The sum divided by the count.
    pub mean: Option<f64>,
    /// The mean of what held over time: each number until the next value, the one before `start` from there on.
    pub time_weighted_mean: Option<f64>,
    /// All numbers added.
    pub sum: Option<f64>,
    /// The first number.
    pub first: Option<f64>,
    /// The last number.
    pub last: Option<f64>,
    /// The part of the time in which a number held, 0 to 1.
    pub covered: f64,
}

/// What values came to over intervals.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BucketsView {
    /// The item.
    pub item: String,
    /// One for each interval.
    pub rows: Vec<BucketView>,
    /// Blocks that were left out because they are damaged.
    pub damaged: u64,
}

/// A column of intervals, and how it is filled.
pub type BucketColumn = (&'static str, fn(&BucketView) -> Option<f64>);

/// What can be asked of intervals.
#[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2^53")]
pub const BUCKET_COLUMNS: [BucketColumn; 8] = [
    ("count", |row| Some(row.count as f64)),
    ("min", |row| row.min),
    ("max", |row| row.max),
    ("mean", |row| row.mean),
    ("time_weighted_mean", |row| row.time_weighted_mean),
    ("sum", |row| row.sum),
    ("first", |row| row.first),
    ("last", |row| row.last),
];
