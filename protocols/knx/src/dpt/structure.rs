//! Structured types: bits of one number of up to 64, each with a name.

use super::number::{FLOAT16_INVALID, FLOAT16_MAX, FLOAT16_MIN, float16, raw_float16};
use super::{Dpt, Fields, Scalar};
use crate::{Error, Payload};

/// The fields of a type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// Octets; 0 is a small value.
    pub(super) octets: u8,
    /// The fields.
    pub(super) fields: &'static [Field],
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Its lowest bit; bit 0 is the lowest of the last octet.
    pub(super) shift: u8,
    /// How many bits it has.
    pub(super) width: u8,
    pub(super) coding: Coding,
    /// The bit that says whether the field is valid, and what it is then.
    pub(super) mark: Option<(u8, bool)>,
}

/// How the bits of a field are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Coding {
    /// One bit.
    Flag,
    /// A number without sign, within limits.
    Unsigned(i64, i64),
    /// A number with sign.
    Signed,
    /// A number without sign, counted from a base.
    From(i64),
    /// Two digits of a year: from 90 on of the last century (§3.12).
    Year90,
    /// Decimal digits of four bits each (§3.16).
    Digits,
    /// One of three bits is set: 0, 1 or 2 (§3.7).
    OneOfThree,
    /// A number that is multiplied and divided.
    Scaled(f64, f64),
    /// The float of §3.10.
    Float16,
}

pub(super) fn decode(layout: &Layout, dpt: &Dpt, bytes: &[u8]) -> Result<Fields, Error> {
    let expected = usize::from(layout.octets.max(1));
    if bytes.len() != expected {
        return Err(Error::DptLength { dpt: dpt.id, expected, got: bytes.len() });
    }
    let raw = bytes.iter().fold(0u64, |raw, byte| raw << 8 | u64::from(*byte));
    let mut fields = Fields::new();
    for field in layout.fields {
        let is_valid = field.mark.is_none_or(|(bit, valid)| (raw >> bit & 1 != 0) == valid);
        if is_valid {
            fields.set(field.name, field.decode(dpt, raw >> field.shift & field.mask())?);
        }
    }
    check(dpt, &fields)?;
    Ok(fields)
}

pub(super) fn encode(layout: &Layout, dpt: &Dpt, fields: &Fields) -> Result<Payload, Error> {
    if let Some((name, _)) =
        fields.iter().find(|(name, _)| layout.fields.iter().all(|field| field.name != *name))
    {
        return Err(Error::DptFieldUnknown { dpt: dpt.id, field: name.to_owned() });
    }
    check(dpt, fields)?;
    let mut raw = 0u64;
    for field in layout.fields {
        let missing = Error::DptFieldMissing { dpt: dpt.id, field: field.name };
        let Some((bit, valid)) = field.mark else {
            let value = fields.get(field.name).ok_or(missing)?;
            raw |= field.encode(dpt, value)? << field.shift;
            continue;
        };
        // Month and day share one mark, so either both are there or none.
        let shares = |other: &&Field| other.mark == field.mark && fields.get(other.name).is_some();
        let is_valid = layout.fields.iter().any(|other| shares(&other));
        if is_valid {
            let value = fields.get(field.name).ok_or(missing)?;
            raw |= field.encode(dpt, value)? << field.shift;
        }
        if is_valid == valid {
            raw |= 1 << bit;
        }
    }
    let bytes = raw.to_be_bytes();
    Ok(if layout.octets == 0 {
        Payload::Small(bytes[7])
    } else {
        Payload::Bytes(bytes[8 - usize::from(layout.octets)..].to_vec())
    })
}

/// §3.20: the hour 24 ends a day, and has no minutes.
fn check(dpt: &Dpt, fields: &Fields) -> Result<(), Error> {
    let past = ["minute", "second"]
        .into_iter()
        .find(|name| fields.get(name).and_then(Scalar::as_integer).is_some_and(|value| value > 0));
    match past {
        Some(field) if fields.get("hour") == Some(Scalar::Integer(24)) => {
            let value = fields.get(field).and_then(Scalar::as_float).unwrap_or_default();
            Err(Error::DptRange { dpt: dpt.id, field, value, min: 0.0, max: 0.0 })
        }
        Some(_) | None => Ok(()),
    }
}

impl Field {
    const fn mask(&self) -> u64 {
        (1 << self.width) - 1
    }

    fn decode(&self, dpt: &Dpt, raw: u64) -> Result<Scalar, Error> {
        // Fields have at most 32 bits.
        let number = i64::try_from(raw).unwrap_or(i64::MAX);
        Ok(match self.coding {
            Coding::Flag => Scalar::Bool(raw != 0),
            Coding::Unsigned(min, max) => Scalar::Integer(self.within(dpt, number, min, max)?),
            Coding::Signed => {
                let sign = 1i64 << (self.width - 1);
                Scalar::Integer((number ^ sign) - sign)
            }
            Coding::From(base) => Scalar::Integer(number + base),
            Coding::Year90 => {
                let year = self.within(dpt, number, 0, 99)?;
                Scalar::Integer(year + if year >= 90 { 1900 } else { 2000 })
            }
            Coding::Digits => {
                let mut value = 0;
                for digit in (0..self.width / 4).rev() {
                    value = value * 10 + self.within(dpt, number >> (4 * digit) & 0x0f, 0, 9)?;
                }
                Scalar::Integer(value)
            }
            Coding::OneOfThree => match raw {
                0b001 => Scalar::Integer(0),
                0b010 => Scalar::Integer(1),
                0b100 => Scalar::Integer(2),
                _ => return Err(Error::Invalid { what: "a mode of one bit in three", got: raw as u32 }),
            },
            Coding::Scaled(factor, divisor) => Scalar::Float(number as f64 * factor / divisor),
            Coding::Float16 => {
                let raw = raw as u16;
                if raw == FLOAT16_INVALID {
                    return Err(Error::DptNoValue { dpt: dpt.id });
                }
                Scalar::Float(float16(raw))
            }
        })
    }

    fn encode(&self, dpt: &Dpt, value: Scalar) -> Result<u64, Error> {
        let wrong = |expected| Error::DptKind { dpt: dpt.id, field: self.name, expected, got: value.kind() };
        let integer = || value.as_integer().ok_or_else(|| wrong("a whole number"));
        let float = || value.as_float().ok_or_else(|| wrong("a number"));
        let max = self.mask() as i64;
        let raw = match self.coding {
            Coding::Flag => match value {
                Scalar::Bool(value) => i64::from(value),
                Scalar::Integer(_) | Scalar::Float(_) => return Err(wrong("true or false")),
            },
            Coding::Unsigned(min, max) => self.within(dpt, integer()?, min, max)?,
            Coding::Signed => {
                let sign = 1i64 << (self.width - 1);
                self.within(dpt, integer()?, -sign, sign - 1)? & max
            }
            Coding::From(base) => self.within(dpt, integer()?, base, base + max)? - base,
            Coding::Year90 => self.within(dpt, integer()?, 1990, 2089)? % 100,
            Coding::Digits => {
                let digits = self.width / 4;
                let value = self.within(dpt, integer()?, 0, 10i64.pow(u32::from(digits)) - 1)?;
                (0..digits)
                    .fold(0, |raw, digit| raw | (value / 10i64.pow(u32::from(digit)) % 10) << (4 * digit))
            }
            Coding::OneOfThree => 1 << self.within(dpt, integer()?, 0, 2)?,
            Coding::Scaled(factor, divisor) => {
                let value = self.within_float(dpt, float()?, 0.0, max as f64 * factor / divisor)?;
                ((value * divisor / factor).round() as i64).clamp(0, max)
            }
            Coding::Float16 => {
                i64::from(raw_float16(self.within_float(dpt, float()?, FLOAT16_MIN, FLOAT16_MAX)?))
            }
        };
        Ok(u64::try_from(raw).expect("each coding gives bits without sign"))
    }

    fn within(&self, dpt: &Dpt, value: i64, min: i64, max: i64) -> Result<i64, Error> {
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        let (value, min, max) = (value as f64, min as f64, max as f64);
        Err(Error::DptRange { dpt: dpt.id, field: self.name, value, min, max })
    }

    fn within_float(&self, dpt: &Dpt, value: f64, min: f64, max: f64) -> Result<f64, Error> {
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(Error::DptRange { dpt: dpt.id, field: self.name, value, min, max })
    }
}
