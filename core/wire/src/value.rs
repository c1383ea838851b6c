//! A value as a four-bit tag and its bytes.

use twinhub_model::Value;

use crate::WireError;
use crate::varint::{Reader, put_i64, put_u64};

pub(crate) const TAG_MASK: u8 = 0x0f;

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
/// A floating point number that four bytes hold exactly.
const F64_AS_F32: u8 = 10;
/// A floating point number without a fraction.
const F64_WHOLE: u8 = 11;
/// A floating point number of hundredths, as most sensors deliver: 21.37 takes two bytes.
const F64_HUNDREDTHS: u8 = 12;

/// Above this, whole numbers are not exact in a double.
const WHOLE_MAX: u64 = 1 << 53;
/// Five bytes of varint; beyond, eight plain bytes are as good.
const HUNDREDTHS_MAX: u64 = 1 << 34;

/// Appends what follows the tag and returns the tag.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, value: &Value) -> u8 {
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
        Value::F64(value) => put_f64(out, *value),
        Value::Str(value) => {
            put_sized(out, value.as_bytes());
            STR
        }
        Value::Bytes(value) => {
            put_sized(out, value);
            BYTES
        }
        Value::Time(value) => {
            out.extend_from_slice(&value.to_le_bytes());
            TIME
        }
        Value::Json(value) => {
            put_sized(out, value.as_bytes());
            JSON
        }
    }
}

/// Reads what follows `tag`.
#[inline]
pub(crate) fn read(reader: &mut Reader<'_>, tag: u8) -> Result<Value, WireError> {
    Ok(match tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        I64 => Value::I64(reader.i64("an integer")?),
        U64 => Value::U64(reader.u64("an integer")?),
        F64 => Value::F64(f64::from_le_bytes(reader.array("a number")?)),
        STR => Value::Str(reader.text("a text")?.into()),
        BYTES => Value::Bytes(reader.sized("a byte string")?.into()),
        TIME => Value::Time(i64::from_le_bytes(reader.array("a time")?)),
        JSON => Value::Json(reader.text("a JSON text")?.into()),
        F64_AS_F32 => Value::F64(f64::from(f32::from_le_bytes(reader.array("a number")?))),
        F64_WHOLE => Value::F64(as_f64(reader.i64("a number")?)),
        F64_HUNDREDTHS => Value::F64(as_f64(reader.i64("a number")?) / 100.0),
        other => return Err(WireError::Invalid { what: "a value's kind", got: u64::from(other) }),
    })
}

/// A value on its own: tag, then bytes.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut out = vec![0];
    out[0] = put(&mut out, value);
    out
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Value, WireError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8("a value")?;
    let value = read(&mut reader, tag)?;
    reader.finish("a value")?;
    Ok(value)
}

/// The shortest form that gives back exactly the same bits.
#[inline]
fn put_f64(out: &mut Vec<u8>, value: f64) -> u8 {
    let bits = value.to_bits();
    let whole = truncate(value);
    if as_f64(whole).to_bits() == bits && whole.unsigned_abs() <= WHOLE_MAX {
        put_i64(out, whole);
        return F64_WHOLE;
    }
    let hundredths = truncate(value * 100.0 + f64::copysign(0.5, value));
    if hundredths.unsigned_abs() < HUNDREDTHS_MAX && (as_f64(hundredths) / 100.0).to_bits() == bits {
        put_i64(out, hundredths);
        return F64_HUNDREDTHS;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whether it loses anything is checked below")]
    let short = value as f32;
    if f64::from(short).to_bits() == bits {
        out.extend_from_slice(&short.to_le_bytes());
        return F64_AS_F32;
    }
    out.extend_from_slice(&value.to_le_bytes());
    F64
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the caller compares the result with the original")]
fn truncate(value: f64) -> i64 {
    value as i64
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "writers use it below 2^53; a hostile number only rounds")]
fn as_f64(value: i64) -> f64 {
    value as f64
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
