//! Writes on their way from a thread of the hub to the instance's thread.
//!
//! Both threads touch every byte of it, mostly on different processors, and fetching a line of memory from another
//! processor costs more than all else that is done with a write here. Hence sixteen bytes per write instead of the
//! fifty-six of a [`WriteEntry`], and what many writes have in common stands there once.

use crate::request::{WriteEntry, WriteId};
use crate::time::Deadline;
use crate::value::{Epoch, Flags, Item, Value};

/// Writes of one call of the hub, in their order.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) epoch: Epoch,
    rows: Vec<Row>,
    runs: Vec<Run>,
    /// Values that own memory; their rows have the place in here as payload.
    kept: Vec<Value>,
}

/// One write.
#[derive(Clone, Copy, Debug)]
struct Row {
    item: u32,
    form: Form,
    payload: u64,
}

/// How a payload is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Null,
    Bool,
    I64,
    U64,
    F64,
    Time,
    Kept,
}

/// Writes with neighboring numbers that have the rest in common.
#[derive(Debug)]
struct Run {
    first: WriteId,
    deadline: Deadline,
    flags: Flags,
    count: u32,
}

impl Writes {
    /// Room for `count` writes.
    pub(crate) fn with_capacity(epoch: Epoch, count: usize) -> Self {
        Self { epoch, rows: Vec::with_capacity(count), runs: Vec::new(), kept: Vec::new() }
    }

    /// Puts a write behind the others.
    #[inline]
    pub(crate) fn push(&mut self, entry: WriteEntry) {
        let WriteEntry { id, item, value, deadline, flags } = entry;
        match self.runs.last_mut() {
            Some(run)
                if run.first.0.wrapping_add(u64::from(run.count)) == id.0
                    && run.deadline == deadline
                    && run.flags == flags =>
            {
                run.count += 1;
            }
            Some(_) | None => self.runs.push(Run { first: id, deadline, flags, count: 1 }),
        }
        let (form, payload) = match value {
            Value::Null => (Form::Null, 0),
            Value::Bool(value) => (Form::Bool, u64::from(value)),
            Value::I64(value) => (Form::I64, value.cast_unsigned()),
            Value::U64(value) => (Form::U64, value),
            Value::F64(value) => (Form::F64, value.to_bits()),
            Value::Time(value) => (Form::Time, value.cast_unsigned()),
            owned @ (Value::Str(_) | Value::Bytes(_) | Value::Json(_) | Value::Array(_)) => {
                self.kept.push(owned);
                (Form::Kept, 0)
            }
        };
        self.rows.push(Row { item: item.0, form, payload });
    }

    /// Number of writes.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no write.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The latest time up to which one of them may be sent.
    pub(crate) fn deadline_max(&self) -> Deadline {
        self.runs.iter().map(|run| run.deadline).max().unwrap_or(Deadline::NONE)
    }

    /// Whether the deadline of one of them is over.
    pub(crate) fn has_expired(&self, now_ns: i64) -> bool {
        self.runs.iter().any(|run| run.deadline.boottime_ns().is_some_and(|at| at <= now_ns))
    }

    /// The writes as an author sees them.
    pub(crate) fn into_entries(self) -> Vec<WriteEntry> {
        let mut entries = Vec::with_capacity(self.rows.len());
        let mut kept = self.kept.into_iter();
        let mut rows = self.rows.into_iter();
        for Run { first, deadline, flags, count } in self.runs {
            let ids = (0..u64::from(count)).map(|place| WriteId(first.0.wrapping_add(place)));
            for (id, Row { item, form, payload }) in ids.zip(&mut rows) {
                let value = match form {
                    Form::Null => Value::Null,
                    Form::Bool => Value::Bool(payload != 0),
                    Form::I64 => Value::I64(payload.cast_signed()),
                    Form::U64 => Value::U64(payload),
                    Form::F64 => Value::F64(f64::from_bits(payload)),
                    Form::Time => Value::Time(payload.cast_signed()),
                    Form::Kept => kept.next().unwrap_or_default(),
                };
                entries.push(WriteEntry { id, item: Item(item), value, deadline, flags });
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Array;

    #[test]
    fn writes_come_out_as_they_went_in() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::I64(-1),
            Value::Str("on".to_owned()),
            Value::U64(u64::MAX),
            Value::F64(-0.5),
            Value::Bytes(vec![1, 2]),
            Value::Time(i64::MIN),
            Value::Json("{}".to_owned()),
            Value::Array(Array::I64(vec![3])),
        ];
        let at = Deadline::from_boottime_ns;
        let mut entries = Vec::new();
        for (place, value) in (0_u64..).zip(values) {
            // Neighbors and a gap, one deadline and another, with and without bits.
            let id = WriteId(if place < 5 { place.wrapping_sub(3) } else { 7 * place });
            let deadline = if place < 3 { Deadline::NONE } else { at(900) };
            let flags = if place == 8 { Flags::FORCED } else { Flags::NONE };
            entries.push(WriteEntry { id, item: Item(9), value, deadline, flags });
        }
        entries[4].id = entries[3].id;
        let mut writes = Writes::with_capacity(Epoch(3), entries.len());
        for entry in &entries {
            writes.push(entry.clone());
        }
        assert_eq!((writes.len(), writes.epoch), (entries.len(), Epoch(3)));
        assert_eq!(writes.deadline_max(), Deadline::NONE);
        assert!(writes.has_expired(900) && !writes.has_expired(899));
        assert_eq!(writes.into_entries(), entries);
    }

    #[test]
    fn a_write_takes_sixteen_bytes() {
        assert_eq!(size_of::<Row>(), 16);
        let mut writes = Writes::with_capacity(Epoch(1), 500);
        for place in 0..500 {
            let (id, item) = (WriteId(place), Item(1));
            let (deadline, flags) = (Deadline::from_boottime_ns(5), Flags::NONE);
            writes.push(WriteEntry { id, item, value: Value::U64(place), deadline, flags });
        }
        assert_eq!((writes.runs.len(), writes.rows.capacity()), (1, 500));
    }
}
