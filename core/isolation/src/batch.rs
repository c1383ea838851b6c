//! Batches of values and of writes as words: what the contract hands over, with places in the place of pointers.
//!
//! Epoch; number of elements and length of what their pointers lead to; the elements, five words each; the bytes. A place
//! counts from the first byte. What is read here is copied already, so the other side cannot change it after the check.
//!
//! Most batches of values are *columns* instead, since what crosses from one processor to another costs more than the work:
//! all of them good, without flags of a later version, and numbered in turn. Behind the counts stand the first number and the
//! time of all, if they have one; then the heads, the payloads, the times if they differ, the bytes.

use std::ffi::c_void;

use twinhub_contract::constants::{BATCH_COUNT_MAX, VALUE_BYTES_MAX, kind};
use twinhub_contract::{Payload, Update, Value, ValueRef, Write, WriteResult, abi, quality};
use twinhub_loader::UpdateRef;

use crate::words::{as_bytes, high, low, pair, push_bytes};

/// Collects a message of values or writes.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    head: [u64; 4],
    epoch: u64,
    columns: Columns,
    elements: Vec<[u64; 5]>,
    bytes: Vec<u8>,
    tail: Vec<u64>,
}

/// Values that are alike, as long as they are.
#[derive(Debug, Default)]
struct Columns {
    heads: Vec<u64>,
    payloads: Vec<u64>,
    sources: Vec<u64>,
    /// Of the first one.
    seq: u32,
    /// From one to the next: 0 or 1.
    step: u32,
    has_one_source: bool,
}

impl Columns {
    fn clear(&mut self) {
        self.heads.clear();
        self.payloads.clear();
        self.sources.clear();
        self.has_one_source = true;
    }

    /// Takes a value that stands in line with those before.
    #[inline]
    fn push(&mut self, update: &UpdateRef<'_>, [first, second]: [u64; 2]) -> bool {
        let (words, len) = (low(first), high(first));
        let [kind, wire, elem, _] = words.to_le_bytes();
        let is_plain = update.status == quality::GOOD
            && u16::try_from(update.flags).is_ok()
            && kind < 16
            && elem < 16
            && (!has_bytes(kind) || u32::try_from(second).is_ok());
        if !is_plain || !self.is_next(update.seq) {
            return false;
        }
        #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
        let source = update.source_ns as u64;
        self.has_one_source &= self.sources.first().is_none_or(|first| *first == source);
        let words = u32::from(kind | elem << 4) | u32::from(wire) << 8 | update.flags << 16;
        self.heads.push(pair(update.item, words));
        self.payloads.push(if has_bytes(kind) { pair(low(second), len) } else { second });
        self.sources.push(source);
        true
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a batch is bounded")]
    fn is_next(&mut self, seq: u32) -> bool {
        match self.heads.len() {
            0 => self.seq = seq,
            1 => self.step = seq.wrapping_sub(self.seq),
            count => return seq == self.seq.wrapping_add(self.step * count as u32),
        }
        self.heads.is_empty() || self.step <= 1
    }

    /// As elements.
    fn spill(&mut self, elements: &mut Vec<[u64; 5]>) {
        let numbers = (0..).map(|at: u32| self.seq.wrapping_add(self.step.wrapping_mul(at)));
        for (((head, payload), source), seq) in
            self.heads.iter().zip(&self.payloads).zip(&self.sources).zip(numbers)
        {
            let (first, second, flags) = widen(*head, *payload);
            elements.push([pair(low(*head), quality::GOOD), *source, first, second, pair(flags, seq)]);
        }
        self.clear();
    }
}

const fn has_bytes(kind: u8) -> bool {
    matches!(kind, kind::STR | kind::BYTES | kind::ARRAY | kind::JSON)
}

/// The two words of a value and its flags, from a head and a payload of columns.
#[inline]
fn widen(head: u64, payload: u64) -> (u64, u64, u32) {
    let [kinds, wire, low_flags, high_flags] = high(head).to_le_bytes();
    let (kind, elem) = (kinds & 15, kinds >> 4);
    let words = u32::from_le_bytes([kind, wire, elem, 0]);
    let flags = u32::from_le_bytes([low_flags, high_flags, 0, 0]);
    if has_bytes(kind) {
        (pair(words, high(payload)), u64::from(low(payload)), flags)
    } else {
        (pair(words, 0), payload, flags)
    }
}

impl Packer {
    /// Begins anew; the room stays.
    pub(crate) fn begin(&mut self, epoch: u64) {
        self.columns.clear();
        self.elements.clear();
        self.bytes.clear();
        self.tail.clear();
        self.epoch = epoch;
    }

    #[inline]
    pub(crate) fn update(&mut self, update: &UpdateRef<'_>) {
        let value = self.value(&update.value, update.wire);
        if !self.elements.is_empty() || !self.columns.push(update, value) {
            self.update_apart(update, value);
        }
    }

    #[cold]
    fn update_apart(&mut self, update: &UpdateRef<'_>, [first, second]: [u64; 2]) {
        self.columns.spill(&mut self.elements);
        #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
        let source = update.source_ns as u64;
        let (item, tail) = (pair(update.item, update.status), pair(update.flags, update.seq));
        self.elements.push([item, source, first, second, tail]);
    }

    /// An update that breaks the contract: whoever reads it finds a kind that is none.
    pub(crate) fn bad(&mut self, item: u32) {
        self.columns.spill(&mut self.elements);
        self.elements.push([pair(item, 0), 0, pair(u32::from(u8::MAX), 0), 0, 0]);
    }

    pub(crate) fn write(&mut self, write: &Write, value: ValueRef<'_>) {
        let [first, second] = self.value(&value, write.value.wire);
        #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
        let deadline = write.deadline_ns as u64;
        self.elements.push([write.write_id, pair(write.item, write.flags), deadline, first, second]);
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a value is bounded, and so is what a batch holds of them"
    )]
    fn value(&mut self, value: &ValueRef<'_>, wire: u8) -> [u64; 2] {
        let first = |kind: u8, elem: u8, len: usize| {
            pair(u32::from(kind) | u32::from(wire) << 8 | u32::from(elem) << 16, len as u32)
        };
        // By reference: a copy reads what was just written in other pieces than it was written in, and waits for it.
        let (kind, elem, bytes) = match *value {
            ValueRef::Null => return [first(kind::NULL, 0, 0), 0],
            ValueRef::Bool(value) => return [first(kind::BOOL, 0, 0), u64::from(value)],
            #[expect(clippy::cast_sign_loss, reason = "the bits of a number")]
            ValueRef::I64(value) => return [first(kind::I64, 0, 0), value as u64],
            ValueRef::U64(value) => return [first(kind::U64, 0, 0), value],
            ValueRef::F64(value) => return [first(kind::F64, 0, 0), value.to_bits()],
            #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
            ValueRef::Time(value) => return [first(kind::TIME, 0, 0), value as u64],
            ValueRef::Str(text) => (kind::STR, 0, text.as_bytes()),
            ValueRef::Json(text) => (kind::JSON, 0, text.as_bytes()),
            ValueRef::Bytes(bytes) => (kind::BYTES, 0, bytes),
            ValueRef::Array { elem, bytes } => (kind::ARRAY, elem, bytes),
        };
        // Elements of an array are read as words by some.
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let place = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        [first(kind, elem, bytes.len()), place]
    }

    pub(crate) fn bytes(&self) -> usize {
        let columns = self.columns.heads.len() * 3 * size_of::<u64>();
        self.bytes.len() + size_of_val(&*self.elements) + columns
    }

    /// The message, in parts.
    #[expect(clippy::cast_possible_truncation, reason = "refused above the limit of a message, see `lane`")]
    pub(crate) fn finish(&mut self) -> [&[u64]; 5] {
        push_bytes(&mut self.tail, &self.bytes);
        let length = self.bytes.len() as u32;
        let columns = &self.columns;
        if columns.heads.is_empty() {
            self.head[..2].copy_from_slice(&[self.epoch, pair(self.elements.len() as u32, length)]);
            return [&self.head[..2], self.elements.as_flattened(), &[], &[], &self.tail];
        }
        let mut count = columns.heads.len() as u32 | COLUMNS;
        if columns.step == 1 && columns.heads.len() > 1 {
            count |= COUNTED;
        }
        let sources = if columns.has_one_source {
            count |= ONE_SOURCE;
            &[][..]
        } else {
            &columns.sources
        };
        let source = columns.sources.first().copied().unwrap_or(0);
        self.head = [self.epoch, pair(count, length), u64::from(columns.seq), source];
        [&self.head, &columns.heads, &columns.payloads, sources, &self.tail]
    }
}

/// Bits beside the number of elements: they stand in columns,
const COLUMNS: u32 = 1 << 31;
/// have one time,
const ONE_SOURCE: u32 = 1 << 30;
/// and are numbered in turn.
const COUNTED: u32 = 1 << 29;

/// Reads a message of values into `into`. The values point into `words`.
pub(crate) fn updates(words: &[u64], into: &mut Vec<Update>) -> Option<u64> {
    into.clear();
    if words.get(1).is_some_and(|counts| low(*counts) & COLUMNS != 0) {
        return columns(words, into);
    }
    let (epoch, elements, bytes) = frame(words)?;
    for [head, source, first, second, tail] in elements {
        #[expect(clippy::cast_possible_wrap, reason = "the bits of a time")]
        let source_ns = *source as i64;
        into.push(Update {
            item: low(*head),
            status: high(*head),
            source_ns,
            value: value(*first, *second, bytes)?,
            flags: low(*tail),
            seq: high(*tail),
        });
    }
    Some(epoch)
}

fn columns(words: &[u64], into: &mut Vec<Update>) -> Option<u64> {
    let ([epoch, counts, seq, source], rest) = words.split_first_chunk::<4>()?;
    let (counts, length) = (low(*counts), high(*counts) as usize);
    let count = counts & !(COLUMNS | ONE_SOURCE | COUNTED);
    if count > BATCH_COUNT_MAX {
        return None;
    }
    let (heads, rest) = rest.split_at_checked(count as usize)?;
    let (payloads, rest) = rest.split_at_checked(count as usize)?;
    let (sources, rest) = rest.split_at_checked(if counts & ONE_SOURCE == 0 { count as usize } else { 0 })?;
    let bytes = bytes_of(rest, length)?;
    let step = u32::from(counts & COUNTED != 0);
    let mut seq = low(*seq);
    for (at, (head, payload)) in heads.iter().zip(payloads).enumerate() {
        let (first, second, flags) = widen(*head, *payload);
        let source_ns = sources.get(at).unwrap_or(source).cast_signed();
        into.push(Update {
            item: low(*head),
            status: quality::GOOD,
            source_ns,
            value: value(first, second, bytes)?,
            flags,
            seq,
        });
        seq = seq.wrapping_add(step);
    }
    Some(*epoch)
}

/// Reads a message of writes into `into`. The values point into `words`.
pub(crate) fn writes(words: &[u64], into: &mut Vec<Write>) -> Option<u64> {
    into.clear();
    let (epoch, elements, bytes) = frame(words)?;
    for [write_id, head, deadline, first, second] in elements {
        #[expect(clippy::cast_possible_wrap, reason = "the bits of a time")]
        let deadline_ns = *deadline as i64;
        into.push(Write {
            write_id: *write_id,
            item: low(*head),
            flags: high(*head),
            deadline_ns,
            value: value(*first, *second, bytes)?,
        });
    }
    Some(epoch)
}

/// Answers to writes: number, then id and code and status of each.
pub(crate) fn pack_results(results: &[WriteResult], words: &mut Vec<u64>) {
    words.push(results.len() as u64);
    for result in results {
        words.push(result.write_id);
        words.push(pair(result.code.cast_unsigned(), result.status));
    }
}

/// Reads what [`pack_results`] wrote.
pub(crate) fn results(words: &[u64], into: &mut Vec<WriteResult>) -> Option<()> {
    into.clear();
    let (count, rest) = words.split_first()?;
    let (pairs, odd) = rest.as_chunks::<2>();
    if *count != pairs.len() as u64 || !odd.is_empty() {
        return None;
    }
    into.extend(pairs.iter().map(|[write_id, answer]| WriteResult {
        write_id: *write_id,
        code: low(*answer).cast_signed(),
        status: high(*answer),
    }));
    Some(())
}

type Frame<'a> = (u64, &'a [[u64; 5]], &'a [u8]);

fn frame(words: &[u64]) -> Option<Frame<'_>> {
    let ([epoch, counts], rest) = words.split_first_chunk::<2>()?;
    let (count, length) = (low(*counts), high(*counts) as usize);
    if count > BATCH_COUNT_MAX {
        return None;
    }
    let (elements, bytes) = rest.split_at_checked(count as usize * 5)?;
    Some((*epoch, elements.as_chunks::<5>().0, bytes_of(bytes, length)?))
}

fn bytes_of(words: &[u64], length: usize) -> Option<&[u8]> {
    let bytes = as_bytes(words);
    // No word more than the bytes need.
    (bytes.len() == length.next_multiple_of(8)).then(|| &bytes[..length])
}

/// A value whose pointer leads into `bytes`; its kind and what it holds is checked by whoever reads it.
fn value(first: u64, second: u64, bytes: &[u8]) -> Option<Value> {
    let (words, len) = (low(first), high(first));
    let [kind, wire, elem, rest] = words.to_le_bytes();
    if rest != 0 {
        return None;
    }
    let p = if has_bytes(kind) {
        let length = len as usize;
        let place = usize::try_from(second).ok()?;
        if length > VALUE_BYTES_MAX || !place.is_multiple_of(8) {
            return None;
        }
        let held = bytes.get(place..place.checked_add(length)?)?;
        Payload { ptr: held.as_ptr().cast::<c_void>() }
    } else if kind == kind::BOOL {
        Payload { u: u64::from(low(second).to_le_bytes()[0]).to_le() }
    } else {
        Payload { u: second }
    };
    Some(abi::Value { kind, wire, elem: u16::from(elem), len, p })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Item, status, time, flags, seq, and which value.
    type Row = (u32, u32, i64, u32, u32, u8);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let few = |good: u32| prop_oneof![9 => Just(good), 1 => any::<u32>()];
        let one = (
            any::<u32>(),
            few(0),
            prop_oneof![4 => Just(7_i64), 1 => any::<i64>()],
            few(32),
            few(0),
            0..12_u8,
        );
        (proptest::collection::vec(one, 0..40), any::<u32>(), 0..3_u32).prop_map(|(mut rows, first, step)| {
            for (at, row) in (0..).zip(&mut rows) {
                row.4 = row.4.wrapping_add(first).wrapping_add(step.wrapping_mul(at));
            }
            rows
        })
    }

    fn value_of(which: u8) -> ValueRef<'static> {
        match which {
            0 => ValueRef::Null,
            1 => ValueRef::Bool(true),
            2 => ValueRef::I64(-5),
            3 => ValueRef::U64(u64::MAX),
            4 => ValueRef::Time(9),
            5 => ValueRef::Str("grün"),
            6 => ValueRef::Str(""),
            7 => ValueRef::Bytes(&[1, 2, 3]),
            8 => ValueRef::Json("{}"),
            9 => ValueRef::Array { elem: kind::BOOL, bytes: &[0, 1] },
            _ => ValueRef::F64(21.5),
        }
    }

    fn packed(rows: &[Row]) -> Vec<u64> {
        let mut packer = Packer::default();
        // What was there before is gone.
        packer.begin(1);
        packer.bad(7);
        packer.begin(77);
        for (item, status, source_ns, flags, seq, which) in rows.iter().copied() {
            let value = value_of(which);
            packer.update(&UpdateRef { item, status, source_ns, value, wire: which, flags, seq });
        }
        packer.finish().concat()
    }

    #[test]
    fn what_is_alike_stands_in_columns() {
        let row = |item: u32| (item, 0, 7, 32, 100 + item, 10);
        assert_eq!(packed(&[0, 1, 2, 3].map(row)).len(), 4 + 4 * 2);
        let mut rows = [0, 1, 2, 3].map(row);
        rows[2].2 = 8;
        assert_eq!(packed(&rows).len(), 4 + 4 * 3);
        rows[3].1 = 0x8000_0000;
        assert_eq!(packed(&rows).len(), 2 + 4 * 5);
    }

    proptest! {
        #[test]
        fn every_batch_is_read_as_it_was_packed(rows in rows()) {
            let words = packed(&rows);
            let mut read = Vec::new();
            prop_assert_eq!(updates(&words, &mut read), Some(77));
            let seen: Vec<Row> = read
                .iter()
                .map(|update| (update.item, update.status, update.source_ns, update.flags, update.seq, update.value.wire))
                .collect();
            prop_assert_eq!(&seen, &rows);
            for (update, row) in read.iter().zip(&rows) {
                // SAFETY: the values point into `words`.
                let value = unsafe { update.value.read() };
                prop_assert_eq!(value.unwrap(), value_of(row.5));
            }
        }

        #[test]
        fn whatever_the_other_side_says_is_read_or_refused(
            mut words in proptest::collection::vec(any::<u64>(), 0..60),
            count in 0..20_u32,
            bits in 0..8_u32,
            length in 0..100_u32,
            rows in rows(),
            (at, word) in any::<(prop::sample::Index, u64)>(),
        ) {
            if words.len() > 1 {
                words[1] = pair(count | bits << 29, length);
            }
            let mut changed = packed(&rows);
            let place = at.index(changed.len());
            changed[place] = word;
            for words in [words, changed] {
                let mut read = Vec::new();
                if updates(&words, &mut read).is_some() {
                    // SAFETY: what was checked points into `words`.
                    let good = read.iter().filter(|update| unsafe { update.value.read() }.is_ok());
                    prop_assert!(good.count() <= read.len());
                }
            }
        }
    }
}
