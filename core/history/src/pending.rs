//! Rows of one item that are not sealed yet, as they came, in few bytes.
//!
//! ```text
//! each: head u8 | source time, change of step | server - source, change | number in the epoch, change of step
//!       [epoch] [quality] [flags] [place] | value
//! head: bits 0-3 kind, 4 epoch, 5 quality, 6 flags differ from before, 7 place is not 0
//! ```

use twinhub_model::{Epoch, Position, Quality, SampleFlags, Timestamp, Value};

use crate::Row;
use crate::bytes::{Broken, Reader, put_i64, put_sized, put_u64};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const I64: u8 = 3;
const U64: u8 = 4;
const F64: u8 = 5;
const STR: u8 = 6;
const BYTES: u8 = 7;
const TIME: u8 = 8;
const JSON: u8 = 9;
/// A floating point number of hundredths, against the one before.
const HUNDREDTHS: u8 = 10;
const KIND: u8 = 0x0f;
const HAS_EPOCH: u8 = 1 << 4;
const HAS_QUALITY: u8 = 1 << 5;
const HAS_FLAGS: u8 = 1 << 6;
const HAS_PLACE: u8 = 1 << 7;
const HUNDREDTHS_MAX: f64 = 9e13;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    rows: u32,
    before: Before,
}

/// What the next row is told against.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    source: i64,
    step: i64,
    server: i64,
    seq: i64,
    seq_step: i64,
    epoch: u64,
    hundredths: i64,
    quality: u32,
    flags: u32,
}

impl Pending {
    /// Without rows, with room for as many bytes.
    pub(crate) fn like(other: &Pending) -> Pending {
        Pending { bytes: Vec::with_capacity(other.bytes.len()), ..Pending::default() }
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, row: &Row) {
        let out = &mut self.bytes;
        let before = &mut self.before;
        let at = out.len();
        out.push(0);
        let mut head = 0;
        let step = row.source.0.wrapping_sub(before.source);
        put_i64(out, step.wrapping_sub(before.step));
        (before.source, before.step) = (row.source.0, step);
        let server = row.server.0.wrapping_sub(row.source.0);
        put_i64(out, server.wrapping_sub(before.server));
        before.server = server;
        let seq = row.position.seq.cast_signed();
        let seq_step = seq.wrapping_sub(before.seq);
        put_i64(out, seq_step.wrapping_sub(before.seq_step));
        (before.seq, before.seq_step) = (seq, seq_step);
        if row.position.epoch.0 != before.epoch {
            head |= HAS_EPOCH;
            before.epoch = row.position.epoch.0;
            put_u64(out, before.epoch);
        }
        if row.quality.0 != before.quality {
            head |= HAS_QUALITY;
            before.quality = row.quality.0;
            put_u64(out, u64::from(before.quality));
        }
        if row.flags.0 != before.flags {
            head |= HAS_FLAGS;
            before.flags = row.flags.0;
            put_u64(out, u64::from(before.flags));
        }
        if row.place != 0 {
            head |= HAS_PLACE;
            put_u64(out, u64::from(row.place));
        }
        head |= put_value(out, &row.value, &mut before.hundredths);
        out[at] = head;
        self.rows = self.rows.saturating_add(1);
    }

    /// Adds all rows to `out`, in the order in which they came.
    ///
    /// # Errors
    /// [`Broken`] if memory is not what [`Pending::push`] wrote.
    pub(crate) fn read(&self, out: &mut Vec<Row>) -> Result<(), Broken> {
        read(&self.bytes, out)
    }
}

fn read(bytes: &[u8], out: &mut Vec<Row>) -> Result<(), Broken> {
    const WHAT: &str = "a row in memory";
    let mut reader = Reader::new(bytes);
    let mut before = Before::default();
    while !reader.is_empty() {
        let head = reader.u8(WHAT)?;
        before.step = before.step.wrapping_add(reader.i64(WHAT)?);
        before.source = before.source.wrapping_add(before.step);
        before.server = before.server.wrapping_add(reader.i64(WHAT)?);
        before.seq_step = before.seq_step.wrapping_add(reader.i64(WHAT)?);
        before.seq = before.seq.wrapping_add(before.seq_step);
        if head & HAS_EPOCH != 0 {
            before.epoch = reader.u64(WHAT)?;
        }
        if head & HAS_QUALITY != 0 {
            before.quality = reader.u32(WHAT)?;
        }
        if head & HAS_FLAGS != 0 {
            before.flags = reader.u32(WHAT)?;
        }
        let place = if head & HAS_PLACE == 0 { 0 } else { reader.u32(WHAT)? };
        let value = read_value(&mut reader, head & KIND, &mut before.hundredths)?;
        out.push(Row {
            source: Timestamp(before.source),
            server: Timestamp(before.source.wrapping_add(before.server)),
            value,
            quality: Quality(before.quality),
            flags: SampleFlags(before.flags),
            position: Position::new(Epoch(before.epoch), before.seq.cast_unsigned()),
            place,
        });
    }
    Ok(())
}

#[inline]
fn put_value(out: &mut Vec<u8>, value: &Value, hundredths: &mut i64) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(false) => FALSE,
        Value::Bool(true) => TRUE,
        Value::I64(value) => {
            put_i64(out, *value);
            I64
        }
        Value::U64(value) => {
            put_u64(out, *value);
            U64
        }
        Value::F64(value) => {
            if let Some(scaled) = in_hundredths(*value) {
                put_i64(out, scaled - *hundredths);
                *hundredths = scaled;
                return HUNDREDTHS;
            }
            out.extend_from_slice(&value.to_le_bytes());
            F64
        }
        Value::Str(text) => {
            put_sized(out, text.as_bytes());
            STR
        }
        Value::Bytes(bytes) => {
            put_sized(out, bytes);
            BYTES
        }
        Value::Time(value) => {
            put_i64(out, *value);
            TIME
        }
        Value::Json(text) => {
            put_sized(out, text.as_bytes());
            JSON
        }
    }
}

fn read_value(reader: &mut Reader<'_>, kind: u8, hundredths: &mut i64) -> Result<Value, Broken> {
    const WHAT: &str = "a value in memory";
    Ok(match kind {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        I64 => Value::I64(reader.i64(WHAT)?),
        U64 => Value::U64(reader.u64(WHAT)?),
        F64 => Value::F64(reader.f64(WHAT)?),
        STR => Value::Str(reader.text(WHAT)?.into()),
        BYTES => Value::Bytes(reader.sized(WHAT)?.into()),
        TIME => Value::Time(reader.i64(WHAT)?),
        JSON => Value::Json(reader.text(WHAT)?.into()),
        HUNDREDTHS => {
            *hundredths = hundredths.wrapping_add(reader.i64(WHAT)?);
            Value::F64(from_hundredths(*hundredths))
        }
        _ => return Err(Broken { what: WHAT }),
    })
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "whether it loses anything is checked")]
fn in_hundredths(value: f64) -> Option<i64> {
    let product = value * 100.0 + f64::copysign(0.5, value);
    let scaled = product as i64;
    let is_small = product.abs() < HUNDREDTHS_MAX;
    (is_small && from_hundredths(scaled).to_bits() == value.to_bits()).then_some(scaled)
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "writers stay far below 2^53; a hostile number only rounds")]
fn from_hundredths(scaled: i64) -> f64 {
    scaled as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{rows, same};

    proptest! {
        #[test]
        fn rows_in_memory_come_back(rows in rows(0..100)) {
            let mut pending = Pending::default();
            for row in &rows {
                pending.push(row);
            }
            let mut back = Vec::new();
            pending.read(&mut back).unwrap();
            prop_assert!(same(&back, &rows));
            prop_assert_eq!(pending.rows() as usize, rows.len());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes, &mut Vec::new()).ok();
        }
    }

    #[test]
    fn a_regular_sensor_takes_five_bytes_a_row() {
        let mut pending = Pending::default();
        for i in 0..1000_i32 {
            pending.push(&Row {
                source: Timestamp(1_700_000_000_000_000_000 + i64::from(i) * 10_000_000_000),
                server: Timestamp(1_700_000_000_000_000_000 + i64::from(i) * 10_000_000_000),
                value: Value::F64(f64::from(200 + i % 7) / 10.0),
                quality: Quality::GOOD,
                flags: SampleFlags::default(),
                position: Position::new(Epoch(256), u64::from(i.unsigned_abs()) * 10),
                place: 0,
            });
        }
        assert!(pending.bytes() < 5_100, "{}", pending.bytes());
    }
}
