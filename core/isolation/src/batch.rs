//! Batches of values and of writes as words: what the contract hands over, with places in the place of pointers.
//!
//! Epoch; number of elements and length of what their pointers lead to; the elements, five words each; the bytes. A place
//! counts from the first byte. What is read here is copied already, so the other side cannot change it after the check.

use std::ffi::c_void;

use twinhub_contract::constants::{BATCH_COUNT_MAX, VALUE_BYTES_MAX, kind};
use twinhub_contract::{Payload, Update, Value, ValueRef, Write, WriteResult, abi};
use twinhub_loader::UpdateRef;

use crate::words::{as_bytes, high, low, pair, push_bytes};

/// Collects a message of values or writes.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    head: [u64; 2],
    elements: Vec<[u64; 5]>,
    bytes: Vec<u8>,
    tail: Vec<u64>,
}

impl Packer {
    /// Begins anew; the room stays.
    pub(crate) fn begin(&mut self, epoch: u64) {
        self.elements.clear();
        self.bytes.clear();
        self.tail.clear();
        self.head = [epoch, 0];
    }

    pub(crate) fn update(&mut self, update: &UpdateRef<'_>) {
        let [first, second] = self.value(update.value, update.wire);
        #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
        let source = update.source_ns as u64;
        let (item, tail) = (pair(update.item, update.status), pair(update.flags, update.seq));
        self.elements.push([item, source, first, second, tail]);
    }

    /// An update that breaks the contract: whoever reads it finds a kind that is none.
    pub(crate) fn bad(&mut self, item: u32) {
        self.elements.push([pair(item, 0), 0, pair(u32::from(u8::MAX), 0), 0, 0]);
    }

    pub(crate) fn write(&mut self, write: &Write, value: ValueRef<'_>) {
        let [first, second] = self.value(value, write.value.wire);
        #[expect(clippy::cast_sign_loss, reason = "the bits of a time")]
        let deadline = write.deadline_ns as u64;
        self.elements.push([write.write_id, pair(write.item, write.flags), deadline, first, second]);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a value is bounded, and so is what a batch holds of them"
    )]
    fn value(&mut self, value: ValueRef<'_>, wire: u8) -> [u64; 2] {
        let first = |kind: u8, elem: u8, len: usize| {
            pair(u32::from(kind) | u32::from(wire) << 8 | u32::from(elem) << 16, len as u32)
        };
        let (kind, elem, bytes) = match value {
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
        self.bytes.len() + size_of_val(&*self.elements)
    }

    /// The message, in parts.
    #[expect(clippy::cast_possible_truncation, reason = "refused above the limit of a message, see `lane`")]
    pub(crate) fn finish(&mut self) -> [&[u64]; 3] {
        self.head[1] = pair(self.elements.len() as u32, self.bytes.len() as u32);
        push_bytes(&mut self.tail, &self.bytes);
        [&self.head, self.elements.as_flattened(), &self.tail]
    }
}

/// Reads a message of values into `into`. The values point into `words`.
pub(crate) fn updates(words: &[u64], into: &mut Vec<Update>) -> Option<u64> {
    into.clear();
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
    let bytes = as_bytes(bytes);
    // No word more than the bytes need.
    if bytes.len() != length.next_multiple_of(8) {
        return None;
    }
    Some((*epoch, elements.as_chunks::<5>().0, &bytes[..length]))
}

/// A value whose pointer leads into `bytes`; its kind and what it holds is checked by whoever reads it.
fn value(first: u64, second: u64, bytes: &[u8]) -> Option<Value> {
    let (words, len) = (low(first), high(first));
    let [kind, wire, elem, rest] = words.to_le_bytes();
    if rest != 0 {
        return None;
    }
    let p = if matches!(kind, kind::STR | kind::BYTES | kind::ARRAY | kind::JSON) {
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
