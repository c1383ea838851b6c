//! Writes on their way from a thread of the hub to the instance's thread.
//!
//! Mostly two bytes per write ([`Packed`]) instead of the fifty-six of a [`WriteEntry`], and what many writes have in
//! common stands there once.

use twinhub_contract::ValueRef;
use twinhub_contract::packed::{self, Form, Packed, Scalar};

use crate::request::{WriteEntry, WriteId};
use crate::time::Deadline;
use crate::value::{Epoch, Flags, Item, Value};

/// Writes of one call of the hub, in their order.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) epoch: Epoch,
    values: Packed,
    runs: Vec<Run>,
    /// Values that own memory, in the order of the writes that have them.
    kept: Vec<Value>,
}

/// Writes with neighboring numbers that have the rest in common.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: WriteId,
    deadline: Deadline,
    flags: Flags,
    count: u32,
}

impl Run {
    /// How far behind the first a number is.
    fn place(&self, id: WriteId) -> Option<usize> {
        let place = id.0.wrapping_sub(self.first.0);
        (place < u64::from(self.count)).then(|| usize::try_from(place).unwrap_or(usize::MAX))
    }

    fn ids(&self) -> impl Iterator<Item = WriteId> + use<> {
        let first = self.first.0;
        (0..u64::from(self.count)).map(move |place| WriteId(first.wrapping_add(place)))
    }
}

impl Writes {
    /// Room for `count` writes.
    pub(crate) fn with_capacity(epoch: Epoch, count: usize) -> Self {
        Self { epoch, values: Packed::with_capacity(count), runs: Vec::new(), kept: Vec::new() }
    }

    /// Puts a write behind the others.
    #[inline]
    pub(crate) fn push(&mut self, write: &WriteRef<'_>) {
        let WriteRef { id, item, value, deadline, flags } = *write;
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
        let scalar = match value {
            ValueRef::Null => Scalar::NULL,
            ValueRef::Bool(value) => Scalar::bool(value),
            ValueRef::I64(value) => Scalar::i64(value),
            ValueRef::U64(value) => Scalar::u64(value),
            ValueRef::F64(value) => Scalar::f64(value),
            ValueRef::Time(value) => Scalar::time(value),
            ValueRef::Str(_) | ValueRef::Bytes(_) | ValueRef::Json(_) | ValueRef::Array { .. } => {
                self.kept.push(Value::from_ref(value));
                Scalar::KEPT
            }
        };
        self.values.push(item.0, scalar);
    }

    /// Number of writes.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no write.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The latest time up to which one of them may be sent.
    pub(crate) fn deadline_max(&self) -> Deadline {
        self.runs.iter().map(|run| run.deadline).max().unwrap_or(Deadline::NONE)
    }

    /// Whether the deadline of one of them is over.
    pub(crate) fn has_expired(&self, now_ns: i64) -> bool {
        self.runs.iter().any(|run| run.deadline.boottime_ns().is_some_and(|at| at <= now_ns))
    }

    /// Their numbers, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = WriteId> {
        self.runs.iter().flat_map(Run::ids)
    }

    /// The places of a number, from those that stand at `hint` or behind it to those before.
    pub(crate) fn places(&self, id: WriteId, hint: Hint) -> impl Iterator<Item = (usize, Hint)> {
        let mut at = hint.before;
        let behind = self.runs.iter().enumerate().skip(hint.run).map(move |(run, of)| {
            let before = at;
            at += of.count as usize;
            (Hint { run, before }, of)
        });
        let mut at = 0;
        let ahead = self.runs.iter().enumerate().take(hint.run).map(move |(run, of)| {
            let before = at;
            at += of.count as usize;
            (Hint { run, before }, of)
        });
        behind.chain(ahead).filter_map(move |(hint, run)| Some((hint.before + run.place(id)?, hint)))
    }

    /// The writes, one after the other.
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_> {
        let none = Run { first: WriteId(0), deadline: Deadline::NONE, flags: Flags::NONE, count: 0 };
        Iter { values: self.values.iter(), runs: self.runs.iter(), run: none, kept: self.kept.iter() }
    }
}

/// Where a number was found last: answers come in order nearly always.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint {
    run: usize,
    /// Writes before that run.
    before: usize,
}

/// One write, whose value stays where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteRef<'a> {
    /// To answer with.
    pub id: WriteId,
    /// The item.
    pub item: Item,
    /// What to write.
    pub value: ValueRef<'a>,
    /// Nothing may be sent after this point.
    pub deadline: Deadline,
    /// Bits.
    pub flags: Flags,
}

impl WriteRef<'_> {
    /// The write, as the owner of its value.
    pub fn to_entry(&self) -> WriteEntry {
        let WriteRef { id, item, value, deadline, flags } = *self;
        WriteEntry { id, item, value: Value::from_ref(value), deadline, flags }
    }
}

/// See [`Writes::iter`].
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    values: packed::Iter<'a>,
    runs: std::slice::Iter<'a, Run>,
    /// What is left of the present one.
    run: Run,
    kept: std::slice::Iter<'a, Value>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = WriteRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<WriteRef<'a>> {
        let (item, scalar) = self.values.next()?;
        if self.run.count == 0 {
            self.run = *self.runs.next()?;
        }
        let Run { first, deadline, flags, .. } = self.run;
        self.run.count -= 1;
        self.run.first = WriteId(first.0.wrapping_add(1));
        let Scalar { form, bits } = scalar;
        let value = match form {
            Form::Null => ValueRef::Null,
            Form::Bool => ValueRef::Bool(bits != 0),
            Form::I64 => ValueRef::I64(bits.cast_signed()),
            Form::U64 => ValueRef::U64(bits),
            Form::F64 => ValueRef::F64(f64::from_bits(bits)),
            Form::Time => ValueRef::Time(bits.cast_signed()),
            Form::Kept => self.kept.next().map_or(ValueRef::Null, Value::as_ref),
        };
        Some(WriteRef { id: first, item: Item(item), value, deadline, flags })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.values.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

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
            writes.push(&entry_ref(entry));
        }
        assert_eq!((writes.len(), writes.epoch), (entries.len(), Epoch(3)));
        assert_eq!(writes.deadline_max(), Deadline::NONE);
        assert!(writes.has_expired(900) && !writes.has_expired(899));
        let out: Vec<WriteEntry> = writes.iter().map(|write| write.to_entry()).collect();
        assert_eq!(out, entries);
        let ids: Vec<WriteId> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(writes.ids().collect::<Vec<_>>(), ids);
    }

    #[test]
    fn neighboring_writes_are_one_run() {
        let mut writes = Writes::with_capacity(Epoch(1), 500);
        for place in 0..500 {
            writes.push(&number(WriteId(place)));
        }
        assert_eq!(writes.runs.len(), 1);
    }

    #[test]
    fn a_number_is_found_from_wherever_the_last_one_was() {
        let mut writes = Writes::with_capacity(Epoch(1), 8);
        // Two runs, and a number that stands twice.
        for id in [5, 6, 7, 20, 6] {
            writes.push(&number(WriteId(id)));
        }
        let places = |id, hint| writes.places(WriteId(id), hint).map(|(place, _)| place).collect::<Vec<_>>();
        assert_eq!(places(6, Hint::default()), [1, 4]);
        let (_, hint) = writes.places(WriteId(20), Hint::default()).next().unwrap();
        assert_eq!(places(6, hint), [4, 1]);
        assert_eq!((places(7, hint), places(20, hint), places(8, hint)), (vec![2], vec![3], vec![]));
    }

    fn number(id: WriteId) -> WriteRef<'static> {
        let deadline = Deadline::from_boottime_ns(5);
        WriteRef { id, item: Item(1), value: ValueRef::U64(id.0), deadline, flags: Flags::NONE }
    }

    fn entry_ref(entry: &WriteEntry) -> WriteRef<'_> {
        let WriteEntry { id, item, value, deadline, flags } = entry;
        WriteRef { id: *id, item: *item, value: value.as_ref(), deadline: *deadline, flags: *flags }
    }
}
