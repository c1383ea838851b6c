//! Numbers: `03_07_02` v02.02.01, §3.5 to §3.10 and §3.13 to §3.15.

use super::{Dpt, VALUE};
use crate::Error;

/// A whole number as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 8 bits without sign.
    U8,
    /// 16 bits without sign.
    U16,
    /// 32 bits without sign.
    U32,
    /// 8 bits with sign.
    V8,
    /// 16 bits with sign.
    V16,
    /// 32 bits with sign.
    V32,
    /// 64 bits with sign.
    V64,
}

impl Kind {
    const fn limits(self) -> (i64, i64) {
        match self {
            Kind::U8 => (0, 0xff),
            Kind::U16 => (0, 0xffff),
            Kind::U32 => (0, 0xffff_ffff),
            Kind::V8 => (-0x80, 0x7f),
            Kind::V16 => (-0x8000, 0x7fff),
            Kind::V32 => (-0x8000_0000, 0x7fff_ffff),
            Kind::V64 => (i64::MIN, i64::MAX),
        }
    }

    const fn octets(self) -> usize {
        match self {
            Kind::U8 | Kind::V8 => 1,
            Kind::U16 | Kind::V16 => 2,
            Kind::U32 | Kind::V32 => 4,
            Kind::V64 => 8,
        }
    }
}

pub(super) fn decode_integer(kind: Kind, dpt: &Dpt, bytes: &[u8]) -> Result<i64, Error> {
    Ok(match kind {
        Kind::U8 => i64::from(u8::from_be_bytes(dpt.octets(bytes)?)),
        Kind::U16 => i64::from(u16::from_be_bytes(dpt.octets(bytes)?)),
        Kind::U32 => i64::from(u32::from_be_bytes(dpt.octets(bytes)?)),
        Kind::V8 => i64::from(i8::from_be_bytes(dpt.octets(bytes)?)),
        Kind::V16 => i64::from(i16::from_be_bytes(dpt.octets(bytes)?)),
        Kind::V32 => i64::from(i32::from_be_bytes(dpt.octets(bytes)?)),
        Kind::V64 => i64::from_be_bytes(dpt.octets(bytes)?),
    })
}

pub(super) fn encode_integer(kind: Kind, dpt: &Dpt, value: i64) -> Result<Vec<u8>, Error> {
    dpt.check_range(value as f64)?;
    let (min, max) = kind.limits();
    if !(min..=max).contains(&value) {
        return Err(out_of_range(dpt, value as f64, min as f64, max as f64));
    }
    Ok(value.to_be_bytes()[8 - kind.octets()..].to_vec())
}

pub(super) fn decode_scaled(
    kind: Kind,
    (factor, divisor): (f64, f64),
    none: Option<i64>,
    dpt: &Dpt,
    bytes: &[u8],
) -> Result<f64, Error> {
    let raw = decode_integer(kind, dpt, bytes)?;
    if none == Some(raw) {
        return Err(Error::DptNoValue { dpt: dpt.id });
    }
    Ok(raw as f64 * factor / divisor)
}

pub(super) fn encode_scaled(
    kind: Kind,
    (factor, divisor): (f64, f64),
    none: Option<i64>,
    dpt: &Dpt,
    value: f64,
) -> Result<Vec<u8>, Error> {
    let (min, max) = kind.limits();
    let (min, max) = (min as f64, max as f64 - if none.is_some() { 1.0 } else { 0.0 });
    let (low, high) = (min * factor / divisor, max * factor / divisor);
    // Before it is rounded: what is outside is not to be rounded back in. NaN is in no range.
    if !(low..=high).contains(&value) {
        return Err(out_of_range(dpt, value, low, high));
    }
    dpt.check_range(value)?;
    let raw = (value * divisor / factor).round().clamp(min, max) as i64;
    Ok(raw.to_be_bytes()[8 - kind.octets()..].to_vec())
}

/// §3.10: `MEEEEMMM MMMMMMMM`, 0.01 · M · 2^E, where M has eleven bits and a sign in two's complement.
pub(super) fn decode_float16(dpt: &Dpt, bytes: &[u8]) -> Result<f64, Error> {
    let raw = u16::from_be_bytes(dpt.octets(bytes)?);
    if raw == FLOAT16_INVALID {
        return Err(Error::DptNoValue { dpt: dpt.id });
    }
    Ok(float16(raw))
}

pub(super) fn encode_float16(dpt: &Dpt, value: f64) -> Result<Vec<u8>, Error> {
    if !(FLOAT16_MIN..=FLOAT16_MAX).contains(&value) {
        return Err(out_of_range(dpt, value, FLOAT16_MIN, FLOAT16_MAX));
    }
    dpt.check_range(value)?;
    Ok(raw_float16(value).to_be_bytes().to_vec())
}

/// The number of these bits, also of those that mark an invalid one.
pub(super) fn float16(raw: u16) -> f64 {
    let exponent = i32::from(raw >> 11 & 0x0f);
    let mantissa = f64::from(raw & 0x07ff) - if raw & 0x8000 == 0 { 0.0 } else { 2048.0 };
    mantissa * 2f64.powi(exponent) / 100.0
}

/// The bits of a number within the limits, with the smallest exponent, so the best resolution, that can hold it.
pub(super) fn raw_float16(value: f64) -> u16 {
    let hundredths = value * 100.0;
    for exponent in 0..16u16 {
        let mantissa = (hundredths / f64::from(1u32 << exponent)).round();
        if (-2048.0..=2047.0).contains(&mantissa) {
            let sign = if mantissa < 0.0 { 0x8000 } else { 0 };
            let raw = sign | exponent << 11 | (mantissa as i16 as u16 & 0x07ff);
            // The caller keeps to the limits, of which the upper one has the mantissa 2046.
            return if raw == FLOAT16_INVALID { raw - 1 } else { raw };
        }
    }
    if value < 0.0 { 0xf800 } else { FLOAT16_INVALID - 1 }
}

pub(super) fn decode_float32(dpt: &Dpt, bytes: &[u8]) -> Result<f64, Error> {
    let value = f32::from_be_bytes(dpt.octets(bytes)?);
    // §3.15 is IEEE 754; what is no number is no value for anybody behind this.
    if value.is_finite() { Ok(f64::from(value)) } else { Err(Error::DptNoValue { dpt: dpt.id }) }
}

pub(super) fn encode_float32(dpt: &Dpt, value: f64) -> Result<Vec<u8>, Error> {
    let max = f64::from(f32::MAX);
    if !(-max..=max).contains(&value) {
        return Err(out_of_range(dpt, value, -max, max));
    }
    dpt.check_range(value)?;
    Ok((value as f32).to_be_bytes().to_vec())
}

const fn out_of_range(dpt: &Dpt, value: f64, min: f64, max: f64) -> Error {
    Error::DptRange { dpt: dpt.id, field: VALUE, value, min, max }
}

/// §3.10: marks invalid data.
pub(super) const FLOAT16_INVALID: u16 = 0x7fff;
/// §3.10: the range of the format.
pub(super) const FLOAT16_MIN: f64 = -671_088.64;
pub(super) const FLOAT16_MAX: f64 = 670_433.28;
