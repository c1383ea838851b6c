//! One stored value.

use std::cmp::Ordering;

use twinhub_model::{Epoch, Position, Quality, Sample, SampleFlags, Timestamp, Value};

/// A value as the history keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it was so, as the device says; when the hub received it if the device says nothing.
    pub source: Timestamp,
    /// When the hub received it.
    pub server: Timestamp,
    /// The value.
    pub value: Value,
    /// How far it can be trusted.
    pub quality: Quality,
    /// How it came about.
    pub flags: SampleFlags,
    /// The record of the journal it came with; its epoch names the node.
    pub position: Position,
    /// Which one it was of several values of this item in that record.
    pub place: u32,
}

/// What makes a row of an item the same row, on whatever way it came: values are joined as a set of these.
/// Ordered by time first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// When it was so.
    pub source: Timestamp,
    /// The record of the journal.
    pub position: Position,
    /// Its place among the item's values in that record.
    pub place: u32,
}

impl RowId {
    /// Behind every row.
    pub(crate) const LAST: RowId = RowId {
        source: Timestamp(i64::MAX),
        position: Position::new(Epoch(u64::MAX), u64::MAX),
        place: u32::MAX,
    };

    /// Before every row at or after `time`.
    pub const fn at(time: Timestamp) -> RowId {
        RowId { source: time, position: Position::START, place: 0 }
    }
}

impl Row {
    /// A sample that came with the record at `position`.
    pub fn of(sample: &Sample, position: Position, place: u32) -> Row {
        Row {
            source: sample.source.or(sample.server),
            server: sample.server.or(sample.source),
            value: sample.value.clone(),
            quality: sample.quality,
            flags: sample.flags,
            position,
            place,
        }
    }

    /// Its identity.
    pub const fn id(&self) -> RowId {
        RowId { source: self.source, position: self.position, place: self.place }
    }

    /// Whether answers have it: a twin stands under its place so that the row of the same place is not shown.
    pub const fn is_shown(&self) -> bool {
        !self.flags.contains(SampleFlags::TWIN)
    }

    /// Takes in what a row of the same place says.
    pub(crate) const fn join(&mut self, other: &Row) {
        self.flags = self.flags.with(other.flags.only(SampleFlags::TWIN));
    }

    /// The number that aggregates count with; `None` for what is bad, no number or not finite.
    pub fn number(&self) -> Option<f64> {
        self.value.as_f64().filter(|number| number.is_finite() && !self.quality.is_bad())
    }

    pub(crate) fn order(&self, other: &Row) -> Ordering {
        self.id().cmp(&other.id())
    }
}
