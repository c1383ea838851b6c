//! Registers to values and back: types, word and byte order, scale, limits.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "cutting raw words to the width of a type is what this module does; ranges are checked before"
)]

use std::str::FromStr;

use thiserror::Error;

use crate::address::Area;

/// A decoded or to-be-written value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    /// Bit.
    Bool(bool),
    /// Signed integer.
    I64(i64),
    /// Unsigned integer.
    U64(u64),
    /// Floating point, also every scaled number.
    F64(f64),
    /// Characters.
    Text(String),
}

/// How registers are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One bit: a coil, a discrete input, or a bit of a register.
    Bool,
    /// Signed, one register.
    Int16,
    /// Unsigned, one register.
    Uint16,
    /// Signed, two registers.
    Int32,
    /// Unsigned, two registers.
    Uint32,
    /// Signed, four registers.
    Int64,
    /// Unsigned, four registers.
    Uint64,
    /// IEEE 754 single precision, two registers.
    Float32,
    /// IEEE 754 double precision, four registers.
    Float64,
    /// Four binary coded decimal digits, one register.
    Bcd16,
    /// Eight binary coded decimal digits, two registers.
    Bcd32,
    /// Characters, two per register, first one in the high byte; the number is the size in bytes.
    Text(u16),
}

impl Kind {
    /// Registers taken.
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::Int16 | Self::Uint16 | Self::Bcd16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 | Self::Bcd32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
            Self::Text(bytes) => bytes.div_ceil(2),
        }
    }

    fn is_number(self) -> bool {
        match self {
            Self::Bool | Self::Text(_) => false,
            Self::Int16
            | Self::Uint16
            | Self::Int32
            | Self::Uint32
            | Self::Int64
            | Self::Uint64
            | Self::Float32
            | Self::Float64
            | Self::Bcd16
            | Self::Bcd32 => true,
        }
    }
}

impl FromStr for Kind {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        Ok(match text.as_str() {
            "bool" | "bit" => Self::Bool,
            "int16" | "i16" => Self::Int16,
            "uint16" | "u16" => Self::Uint16,
            "int32" | "i32" => Self::Int32,
            "uint32" | "u32" => Self::Uint32,
            "int64" | "i64" => Self::Int64,
            "uint64" | "u64" => Self::Uint64,
            "float32" | "f32" => Self::Float32,
            "float64" | "f64" => Self::Float64,
            "bcd16" => Self::Bcd16,
            "bcd32" => Self::Bcd32,
            _ => {
                let bytes = text
                    .strip_prefix("string(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|bytes| bytes.trim().parse::<u16>().ok())
                    .filter(|bytes| (1..=TEXT_BYTES_MAX).contains(bytes));
                return bytes.map(Self::Text).ok_or(CodecError::Kind(text));
            }
        })
    }
}

/// Word and byte order; `A` is the most significant byte, the letters stand in the order of transmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub enum Order {
    /// Most significant register and byte first, as the specification does it for single registers.
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    /// Least significant register first, most significant byte first.
    #[serde(rename = "CDAB")]
    Cdab,
    /// Most significant register first, bytes swapped.
    #[serde(rename = "BADC")]
    Badc,
    /// Least significant register and byte first.
    #[serde(rename = "DCBA")]
    Dcba,
}

impl Order {
    fn swaps_bytes(self) -> bool {
        match self {
            Self::Badc | Self::Dcba => true,
            Self::Abcd | Self::Cdab => false,
        }
    }

    fn swaps_words(self) -> bool {
        match self {
            Self::Cdab | Self::Dcba => true,
            Self::Abcd | Self::Badc => false,
        }
    }
}

impl FromStr for Order {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_uppercase().as_str() {
            "ABCD" | "AB" => Ok(Self::Abcd),
            "CDAB" => Ok(Self::Cdab),
            "BADC" | "BA" => Ok(Self::Badc),
            "DCBA" => Ok(Self::Dcba),
            _ => Err(CodecError::Order(text.trim().to_owned())),
        }
    }
}

/// Why a type, a value or a telegram was refused.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum CodecError {
    /// Unknown type name.
    #[error(
        "`{0}` is not a type; write bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16, bcd32 or string(n) with n from 1 to 250"
    )]
    Kind(String),
    /// Unknown order name.
    #[error("`{0}` is not a byte order; write ABCD, CDAB, BADC or DCBA")]
    Order(String),
    /// A type that does not fit the table or the bit.
    #[error("{place} holds {fits}, not {kind:?}")]
    Misfit {
        /// What the address names.
        place: &'static str,
        /// What can be there.
        fits: &'static str,
        /// What was asked.
        kind: Kind,
    },
    /// Scale or offset on something that is not a number, or without effect.
    #[error("{0}")]
    Scale(&'static str),
    /// Fewer registers than the type needs.
    #[error("{expected} registers are needed, {got} came")]
    Short {
        /// Needed.
        expected: u16,
        /// There.
        got: usize,
    },
    /// A digit of a BCD number is above 9.
    #[error("0x{0:x} is not binary coded decimal")]
    NotBcd(u64),
    /// The value does not fit the type or the limits of the item.
    #[error("{value} is outside {low} to {high}")]
    Range {
        /// Asked.
        value: f64,
        /// Lowest allowed.
        low: f64,
        /// Highest allowed.
        high: f64,
    },
    /// Too many characters.
    #[error("text of {bytes} bytes does not fit {limit}")]
    Long {
        /// Asked.
        bytes: usize,
        /// Allowed.
        limit: u16,
    },
    /// A value of the wrong type.
    #[error("a value of type {got} cannot be written to {kind:?}")]
    Type {
        /// What came.
        got: &'static str,
        /// What the item is.
        kind: Kind,
    },
}

/// The complete rule from registers to a value and back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Codec {
    kind: Kind,
    order: Order,
    bit: u8,
    scale: f64,
    offset: f64,
    scaled: bool,
    min: f64,
    max: f64,
}

/// A number that one register holds as it is, like most there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// From 0 to 65535.
    Unsigned,
    /// From -32768 to 32767.
    Signed,
}

/// What an item row says about its value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CodecSpec {
    /// `type`; without it the table decides.
    pub kind: Option<Kind>,
    /// `order` of the row.
    pub order: Option<Order>,
    /// `order` of the settings: for values of two and four registers whose row says nothing.
    pub order_default: Order,
    /// Bit of the address.
    pub bit: Option<u8>,
    /// Engineering value = register value × scale + offset.
    pub scale: Option<f64>,
    /// See `scale`.
    pub offset: Option<f64>,
    /// Lowest engineering value that may be written.
    pub min: Option<f64>,
    /// Highest engineering value that may be written.
    pub max: Option<f64>,
}

impl Codec {
    /// Checks that the pieces of an item row fit each other.
    pub(crate) fn new(area: Area, spec: &CodecSpec) -> Result<Self, CodecError> {
        let is_bit = area.is_bits() || spec.bit.is_some();
        let kind = spec.kind.unwrap_or(if is_bit { Kind::Bool } else { Kind::Uint16 });
        if is_bit && kind != Kind::Bool {
            let place = if spec.bit.is_some() { "a bit of a register" } else { "a coil or discrete input" };
            return Err(CodecError::Misfit { place, fits: "bool", kind });
        }
        let order = match (spec.order, kind) {
            (Some(Order::Cdab | Order::Dcba), Kind::Text(_)) => {
                return Err(CodecError::Scale(
                    "a text has no word order; write ABCD or BADC (bytes swapped)",
                ));
            }
            (Some(_), Kind::Bool) => {
                return Err(CodecError::Scale("a bool has no byte order; leave the column empty"));
            }
            (Some(order), _) => order,
            (None, Kind::Text(_)) => Order::Abcd,
            (None, _) if kind.registers() == 1 => Order::Abcd,
            (None, _) => spec.order_default,
        };
        let (scale, offset) = (spec.scale.unwrap_or(1.0), spec.offset.unwrap_or(0.0));
        let (min, max) = (spec.min.unwrap_or(f64::NEG_INFINITY), spec.max.unwrap_or(f64::INFINITY));
        let scaled =
            spec.scale.is_some_and(|scale| scale != 1.0) || spec.offset.is_some_and(|offset| offset != 0.0);
        if !scale.is_finite() || scale == 0.0 || !offset.is_finite() {
            return Err(CodecError::Scale("scale must be a number other than 0 and offset a number"));
        }
        if min.is_nan() || max.is_nan() || min > max {
            return Err(CodecError::Scale("min must not be above max"));
        }
        let limited = spec.min.is_some() || spec.max.is_some();
        if (scaled || limited) && !kind.is_number() {
            return Err(CodecError::Scale("scale, offset, min and max are for numbers only"));
        }
        Ok(Self { kind, order, bit: spec.bit.unwrap_or(0), scale, offset, scaled, min, max })
    }

    /// The type.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the value is its register as it is.
    pub(crate) fn plain(&self) -> Option<Plain> {
        if self.scaled || self.order.swaps_bytes() {
            return None;
        }
        match self.kind {
            Kind::Uint16 => Some(Plain::Unsigned),
            Kind::Int16 => Some(Plain::Signed),
            Kind::Bool
            | Kind::Int32
            | Kind::Uint32
            | Kind::Int64
            | Kind::Uint64
            | Kind::Float32
            | Kind::Float64
            | Kind::Bcd16
            | Kind::Bcd32
            | Kind::Text(_) => None,
        }
    }

    /// The value in `words`, which start at the item's own register.
    ///
    /// Allocates for text only.
    pub(crate) fn decode(&self, words: &[u16]) -> Result<Datum, CodecError> {
        let count = self.kind.registers();
        let Some(words) = words.get(..usize::from(count)) else {
            return Err(CodecError::Short { expected: count, got: words.len() });
        };
        let raw = if matches!(self.kind, Kind::Text(_)) { 0 } else { self.gather(words) };
        let datum = match self.kind {
            Kind::Bool => return Ok(Datum::Bool(raw >> self.bit & 1 == 1)),
            Kind::Text(bytes) => return Ok(Datum::Text(self.text(words, bytes))),
            Kind::Int16 => Datum::I64(i64::from((raw as u16).cast_signed())),
            Kind::Int32 => Datum::I64(i64::from((raw as u32).cast_signed())),
            Kind::Int64 => Datum::I64(raw.cast_signed()),
            Kind::Uint16 | Kind::Uint32 | Kind::Uint64 => Datum::U64(raw),
            Kind::Float32 => Datum::F64(f64::from(f32::from_bits(raw as u32))),
            Kind::Float64 => Datum::F64(f64::from_bits(raw)),
            Kind::Bcd16 | Kind::Bcd32 => Datum::U64(from_bcd(raw).ok_or(CodecError::NotBcd(raw))?),
        };
        if !self.scaled {
            return Ok(datum);
        }
        let number = match datum {
            Datum::I64(value) => value as f64,
            Datum::U64(value) => value as f64,
            Datum::F64(value) => value,
            Datum::Bool(_) | Datum::Text(_) => return Ok(datum),
        };
        Ok(Datum::F64(number * self.scale + self.offset))
    }

    /// The bit of a register value that the item names; `None` if the item is not a bit of a register.
    pub(crate) fn bit_mask(&self) -> u16 {
        1 << self.bit
    }

    /// The state to be written to a coil or to a bit of a register.
    pub(crate) fn encode_bit(&self, datum: &Datum) -> Result<bool, CodecError> {
        match datum {
            Datum::Bool(value) => Ok(*value),
            Datum::I64(0) | Datum::U64(0) => Ok(false),
            Datum::I64(1) | Datum::U64(1) => Ok(true),
            Datum::F64(value) if *value == 0.0 => Ok(false),
            Datum::F64(value) if *value == 1.0 => Ok(true),
            Datum::I64(value) => Err(CodecError::Range { value: *value as f64, low: 0.0, high: 1.0 }),
            Datum::U64(value) => Err(CodecError::Range { value: *value as f64, low: 0.0, high: 1.0 }),
            Datum::F64(value) => Err(CodecError::Range { value: *value, low: 0.0, high: 1.0 }),
            Datum::Text(_) => Err(CodecError::Type { got: "text", kind: self.kind }),
        }
    }

    /// The registers to be written for a value.
    pub(crate) fn encode(&self, datum: &Datum) -> Result<Vec<u16>, CodecError> {
        let raw = match (self.kind, datum) {
            (Kind::Bool, _) => u64::from(self.encode_bit(datum)?) << self.bit,
            (Kind::Text(bytes), Datum::Text(text)) => return self.text_words(text, bytes),
            (Kind::Text(_), Datum::Bool(_) | Datum::I64(_) | Datum::U64(_) | Datum::F64(_)) => {
                return Err(CodecError::Type { got: "number", kind: self.kind });
            }
            (_, Datum::Text(_)) => return Err(CodecError::Type { got: "text", kind: self.kind }),
            (_, Datum::Bool(value)) => self.number(&Datum::U64(u64::from(*value)))?,
            (_, Datum::I64(_) | Datum::U64(_) | Datum::F64(_)) => self.number(datum)?,
        };
        Ok(self.scatter(raw))
    }

    fn number(&self, datum: &Datum) -> Result<u64, CodecError> {
        let (exact, value) = match datum {
            Datum::I64(value) => (Some(i128::from(*value)), *value as f64),
            Datum::U64(value) => (Some(i128::from(*value)), *value as f64),
            Datum::F64(value) => (None, *value),
            Datum::Bool(_) | Datum::Text(_) => return Err(CodecError::Type { got: "text", kind: self.kind }),
        };
        let unlimited = self.min == f64::NEG_INFINITY && self.max == f64::INFINITY;
        if !unlimited && !(self.min..=self.max).contains(&value) {
            return Err(CodecError::Range { value, low: self.min, high: self.max });
        }
        let exact = exact.filter(|_| !self.scaled);
        let device = if self.scaled { (value - self.offset) / self.scale } else { value };
        let (low, high): (i128, i128) = match self.kind {
            Kind::Float32 => {
                let single = device as f32;
                if device.is_finite() && !single.is_finite() {
                    return Err(CodecError::Range {
                        value,
                        low: f64::from(f32::MIN),
                        high: f64::from(f32::MAX),
                    });
                }
                return Ok(u64::from(single.to_bits()));
            }
            Kind::Float64 => return Ok(device.to_bits()),
            Kind::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Kind::Uint16 | Kind::Bool | Kind::Text(_) => (0, u16::MAX.into()),
            Kind::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Kind::Uint32 => (0, u32::MAX.into()),
            Kind::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Kind::Uint64 => (0, u64::MAX.into()),
            Kind::Bcd16 => (0, 9_999),
            Kind::Bcd32 => (0, 99_999_999),
        };
        let outside = CodecError::Range {
            value,
            low: low as f64 * self.scale + self.offset,
            high: high as f64 * self.scale + self.offset,
        };
        // A float beyond i128 saturates, NaN is caught first.
        if device.is_nan() {
            return Err(outside);
        }
        let whole = exact.unwrap_or_else(|| device.round() as i128);
        if !(low..=high).contains(&whole) {
            return Err(outside);
        }
        let raw = whole as u64;
        Ok(match self.kind {
            Kind::Bcd16 | Kind::Bcd32 => to_bcd(raw),
            Kind::Bool
            | Kind::Int16
            | Kind::Uint16
            | Kind::Int32
            | Kind::Uint32
            | Kind::Int64
            | Kind::Uint64
            | Kind::Float32
            | Kind::Float64
            | Kind::Text(_) => raw,
        })
    }

    fn gather(&self, words: &[u16]) -> u64 {
        let swap_bytes = self.order.swaps_bytes();
        let push =
            |raw: u64, word: &u16| raw << 16 | u64::from(if swap_bytes { word.swap_bytes() } else { *word });
        if self.order.swaps_words() { words.iter().rev().fold(0, push) } else { words.iter().fold(0, push) }
    }

    fn scatter(&self, raw: u64) -> Vec<u16> {
        let count = self.kind.registers();
        let mut words: Vec<u16> = (0..count).rev().map(|place| (raw >> (16 * place)) as u16).collect();
        if self.order.swaps_words() {
            words.reverse();
        }
        if self.order.swaps_bytes() {
            for word in &mut words {
                *word = word.swap_bytes();
            }
        }
        words
    }

    /// Bytes that are not UTF-8 are taken as Latin-1, which is what devices with umlauts send.
    fn text(&self, words: &[u16], size: u16) -> String {
        let swap = self.order.swaps_bytes();
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| if swap { word.to_le_bytes() } else { word.to_be_bytes() })
            .collect();
        bytes.truncate(usize::from(size));
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect())
    }

    fn text_words(&self, text: &str, size: u16) -> Result<Vec<u16>, CodecError> {
        let bytes = text.as_bytes();
        if bytes.len() > usize::from(size) {
            return Err(CodecError::Long { bytes: bytes.len(), limit: size });
        }
        let swap = self.order.swaps_bytes();
        let byte = |place: usize| bytes.get(place).copied().unwrap_or(0);
        Ok((0..usize::from(size.div_ceil(2)))
            .map(|word| {
                let pair = [byte(2 * word), byte(2 * word + 1)];
                if swap { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
            })
            .collect())
    }
}

fn from_bcd(raw: u64) -> Option<u64> {
    (0..8).rev().try_fold(0, |value, place| {
        let digit = raw >> (4 * place) & 0xf;
        (digit < 10).then_some(value * 10 + digit)
    })
}

fn to_bcd(value: u64) -> u64 {
    (0..8).fold((0, value), |(raw, rest), place| (raw | (rest % 10) << (4 * place), rest / 10)).0
}

/// 125 registers, the most that one request reads (specification V1.1b3, section 6.3).
const TEXT_BYTES_MAX: u16 = 250;

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
