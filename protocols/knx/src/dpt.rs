//! Datapoint types: from the payload of a group telegram to a value, and back.
//!
//! A [`Dpt`] is found by its [`DptId`] in a table. A sub number that is not in the table is taken apart like its main
//! number alone, without unit and range: every sub number of a main one has the same format, except where the table says
//! otherwise. Values are [`Value`]s; structured types have named fields, which [`Dpt::field_names`] lists.
//!
//! # What is strict, and what is not
//! What is sent is checked against range and kind. What is received has to have the right length; a number outside the
//! range of its sub number is handed on all the same, since it is what the device says, and so is a value of an
//! enumeration that this table does not know. Fields that no value can have, such as a 25th hour, are errors.
//!
//! Reserved bits are sent as zeros and not looked at.
//!
//! Standard: `03_07_02` Datapoint Types v02.02.01, §3.1 (main number 1) to §3.20 (19), §3.21 (20), §6.6.1 (232.600),
//! §6.16 (249.600), §6.18 (251.600).

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "each cast is of a number whose limits are checked right before, or known from its bits"
)]
mod number;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "fields have at most 32 bits"
)]
mod structure;
mod table;
mod text;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "whole numbers above 2^53 are no floats of any datapoint type"
)]
mod value;

use std::fmt;
use std::str::FromStr;

pub use table::{Definition, definitions};
pub use value::{Fields, Scalar, Value};

use crate::cemi::PAYLOAD_BYTES_MAX;
use crate::{Error, Payload};
use table::Format;

/// The number of a datapoint type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DptId {
    /// The main number: the format.
    pub main: u16,
    /// The sub number: unit and range; none means any.
    pub sub: Option<u16>,
}

impl DptId {
    /// `main.sub`.
    pub const fn new(main: u16, sub: u16) -> DptId {
        DptId { main, sub: Some(sub) }
    }
}

impl fmt::Display for DptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            Some(sub) => write!(f, "{}.{sub:03}", self.main),
            None => write!(f, "{}", self.main),
        }
    }
}

impl FromStr for DptId {
    type Err = Error;

    /// `9.001`, `DPT 9.001`, `DPST-9-1`, and for a main number alone `9`, `DPT 9`, `DPT-9`, `9.*`, `9.xxx`.
    fn from_str(text: &str) -> Result<DptId, Error> {
        let wrong = || Error::DptText { text: text.to_owned() };
        let upper = text.trim().to_ascii_uppercase();
        let number = ["DPST", "DPT"].iter().find_map(|prefix| upper.strip_prefix(prefix)).unwrap_or(&upper);
        let number = number.trim_start_matches([' ', '-', '_']);
        let (main, sub) = match number.split_once(['.', '-']) {
            Some((main, sub)) => (main, Some(sub)),
            None => (number, None),
        };
        let read = |digits: &str| {
            let is_number =
                (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { digits.parse::<u16>().ok() } else { None }
        };
        let sub = match sub {
            None | Some("*" | "X" | "XX" | "XXX") => None,
            Some(digits) => Some(read(digits).ok_or_else(wrong)?),
        };
        Ok(DptId { main: read(main).ok_or_else(wrong)?, sub })
    }
}

/// A datapoint type that can be taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dpt {
    id: DptId,
    definition: &'static Definition,
}

impl Dpt {
    /// The type of this number.
    ///
    /// # Errors
    /// If the main number is not in the table.
    pub fn find(id: DptId) -> Result<Dpt, Error> {
        let definition = table::find(id).ok_or(Error::DptUnknown { dpt: id })?;
        Ok(Dpt { id, definition })
    }

    /// Its number as it was asked for.
    pub const fn id(&self) -> DptId {
        self.id
    }

    /// Its row of the table; that of the main number, if there is none for the sub number.
    pub const fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// The names of its fields, if it is structured.
    pub fn field_names(&self) -> Vec<&'static str> {
        match &self.definition.format {
            Format::Fields(layout) => layout.fields.iter().map(|field| field.name).collect(),
            Format::Bit
            | Format::Action
            | Format::Character(_)
            | Format::Integer(_)
            | Format::Scaled { .. }
            | Format::Float16
            | Format::Float32
            | Format::Enumeration
            | Format::Scene
            | Format::Text14(_)
            | Format::Latin1
            | Format::Utf8 => Vec::new(),
        }
    }

    /// Reads the octets of a payload; a small one is one octet ([`Payload::as_bytes`]).
    ///
    /// # Errors
    /// If the length is wrong, the bits make no value, or the sender marks it as invalid.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, Error> {
        match &self.definition.format {
            Format::Bit => Ok(Value::Bool(self.octet(bytes)? & 1 != 0)),
            Format::Action => Ok(Value::Integer(i64::from(self.octet(bytes)? & 0b11))),
            Format::Enumeration => Ok(Value::Integer(i64::from(self.octet(bytes)?))),
            // Two reserved bits.
            Format::Scene => Ok(Value::Integer(i64::from(self.octet(bytes)? & 0x3f))),
            Format::Integer(kind) => number::decode_integer(*kind, self, bytes).map(Value::Integer),
            Format::Scaled { kind, factor, divisor, none } => {
                number::decode_scaled(*kind, (*factor, *divisor), *none, self, bytes).map(Value::Float)
            }
            Format::Float16 => number::decode_float16(self, bytes).map(Value::Float),
            Format::Float32 => number::decode_float32(self, bytes).map(Value::Float),
            Format::Character(_) => text::decode_character(self, bytes).map(Value::Text),
            Format::Text14(_) => text::decode_fixed(self, bytes).map(Value::Text),
            Format::Latin1 => Ok(Value::Text(text::decode_latin1(bytes))),
            Format::Utf8 => text::decode_utf8(self, bytes).map(Value::Text),
            Format::Fields(layout) => structure::decode(layout, self, bytes).map(Value::Fields),
        }
    }

    /// The payload of a value.
    ///
    /// # Errors
    /// If the value is of another kind, out of range, or lacks a field.
    pub fn encode(&self, value: &Value) -> Result<Payload, Error> {
        match &self.definition.format {
            Format::Bit => match value {
                Value::Bool(value) => Ok(Payload::Small(u8::from(*value))),
                Value::Integer(_) | Value::Float(_) | Value::Text(_) | Value::Fields(_) => {
                    Err(self.kind("true or false", value.kind()))
                }
            },
            Format::Action => Ok(Payload::Small(self.small_number(value, 3)?)),
            Format::Enumeration => Ok(Payload::Bytes(vec![self.small_number(value, 255)?])),
            Format::Scene => Ok(Payload::Bytes(vec![self.small_number(value, 63)?])),
            Format::Integer(kind) => {
                let value = self.integer(value)?;
                number::encode_integer(*kind, self, value).map(Payload::Bytes)
            }
            Format::Scaled { kind, factor, divisor, none } => {
                let value = self.float(value)?;
                number::encode_scaled(*kind, (*factor, *divisor), *none, self, value).map(Payload::Bytes)
            }
            Format::Float16 => number::encode_float16(self, self.float(value)?).map(Payload::Bytes),
            Format::Float32 => number::encode_float32(self, self.float(value)?).map(Payload::Bytes),
            Format::Character(is_ascii) => {
                text::encode_character(self, *is_ascii, self.text(value)?).map(Payload::Bytes)
            }
            Format::Text14(is_ascii) => {
                text::encode_fixed(self, *is_ascii, self.text(value)?).map(Payload::Bytes)
            }
            Format::Latin1 => text::encode_latin1(self, self.text(value)?).map(Payload::Bytes),
            Format::Utf8 => text::encode_utf8(self, self.text(value)?).map(Payload::Bytes),
            Format::Fields(layout) => match value {
                Value::Fields(fields) => structure::encode(layout, self, fields),
                Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
                    Err(self.kind("named fields", value.kind()))
                }
            },
        }
    }

    /// Refuses a number outside of the range of the type.
    fn check_range(&self, value: f64) -> Result<(), Error> {
        match self.definition.range {
            Some((min, max)) if !(min..=max).contains(&value) => {
                Err(Error::DptRange { dpt: self.id, field: VALUE, value, min, max })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn small_number(&self, value: &Value, max: u8) -> Result<u8, Error> {
        let integer = self.integer(value)?;
        let number = value.as_float().unwrap_or_default();
        self.check_range(number)?;
        u8::try_from(integer).ok().filter(|integer| *integer <= max).ok_or(Error::DptRange {
            dpt: self.id,
            field: VALUE,
            value: number,
            min: 0.0,
            max: f64::from(max),
        })
    }

    fn octet(&self, bytes: &[u8]) -> Result<u8, Error> {
        self.octets::<1>(bytes).map(|[octet]| octet)
    }

    fn octets<const N: usize>(&self, bytes: &[u8]) -> Result<[u8; N], Error> {
        bytes.try_into().map_err(|_| Error::DptLength { dpt: self.id, expected: N, got: bytes.len() })
    }

    fn integer(&self, value: &Value) -> Result<i64, Error> {
        value.as_integer().ok_or_else(|| self.kind("a whole number", value.kind()))
    }

    fn float(&self, value: &Value) -> Result<f64, Error> {
        value.as_float().ok_or_else(|| self.kind("a number", value.kind()))
    }

    fn text<'a>(&self, value: &'a Value) -> Result<&'a str, Error> {
        match value {
            Value::Text(text) => Ok(text),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Fields(_) => {
                Err(self.kind("a text", value.kind()))
            }
        }
    }

    const fn kind(&self, expected: &'static str, got: &'static str) -> Error {
        Error::DptKind { dpt: self.id, field: VALUE, expected, got }
    }
}

/// What the only part of an unstructured value is called in errors.
const VALUE: &str = "the value";
/// The longest text: one octet of the payload is its end.
const TEXT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 1;

#[cfg(test)]
mod tests;
