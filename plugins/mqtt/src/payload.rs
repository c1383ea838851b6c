//! Payload bytes of a message, and the values they stand for.

use serde::Deserialize;

/// One value, as the hub and the payload codecs share it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// Yes or no.
    Bool(bool),
    /// Whole number.
    I64(i64),
    /// Whole number above `i64::MAX`.
    U64(u64),
    /// Number.
    F64(f64),
    /// Text.
    Str(Box<str>),
    /// Bytes as they are.
    Bytes(Box<[u8]>),
    /// JSON text of an object or array.
    Json(Box<str>),
}

impl Value {
    /// The value of a JSON document; objects and arrays stay JSON.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Self::I64)
                .or_else(|| number.as_u64().map(Self::U64))
                .or_else(|| number.as_f64().map(Self::F64))
                .unwrap_or(Self::Null),
            serde_json::Value::String(text) => Self::Str(text.as_str().into()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Self::Json(json.to_string().into()),
        }
    }
}

/// How a payload is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Bytes as they are.
    Raw,
    /// A decimal number as text.
    Number,
    /// `true` or `false` as text; reads `1`, `0`, `on`, `off`, `yes`, `no` too.
    Bool,
    /// UTF-8 text.
    Text,
    /// A JSON document.
    Json,
}

impl Format {
    /// Reads the cell of an item.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "raw" => Self::Raw,
            "number" => Self::Number,
            "bool" => Self::Bool,
            "text" => Self::Text,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

/// What an item's `type` cell asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As the payload has it.
    Any,
    /// Yes or no.
    Bool,
    /// Whole number.
    Int {
        /// Its width: 8 to 64.
        bits: u8,
        /// Whether it can be negative.
        is_signed: bool,
    },
    /// Number.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// JSON text.
    Json,
}

impl Kind {
    /// Reads a `type` cell; unknown words mean any type, the hub has checked them already.
    pub fn parse(text: &str) -> Self {
        let signed = |bits| Self::Int { bits, is_signed: true };
        let unsigned = |bits| Self::Int { bits, is_signed: false };
        match text.to_ascii_lowercase().as_str() {
            "bool" | "boolean" => Self::Bool,
            "i8" | "int8" => signed(8),
            "u8" | "uint8" => unsigned(8),
            "i16" | "int16" => signed(16),
            "u16" | "uint16" => unsigned(16),
            "i32" | "int32" => signed(32),
            "u32" | "uint32" => unsigned(32),
            "i64" | "int64" | "int" => signed(64),
            "u64" | "uint64" => unsigned(64),
            "f32" | "f64" | "float32" | "float64" | "float" | "double" | "number" => Self::Float,
            "string" | "str" | "text" => Self::Text,
            "bytes" => Self::Bytes,
            "json" => Self::Json,
            _ => Self::Any,
        }
    }

    /// The payload format that suits the type when the item names none.
    pub fn format(self) -> Format {
        match self {
            Self::Any | Self::Text => Format::Text,
            Self::Bool => Format::Bool,
            Self::Int { .. } | Self::Float => Format::Number,
            Self::Bytes => Format::Raw,
            Self::Json => Format::Json,
        }
    }

    /// Whether a number is of this type already, as most values are. Nothing is said of other values.
    #[inline]
    pub fn is_of(self, value: &Value) -> bool {
        let (Self::Int { bits, is_signed }, Value::I64(number)) = (self, value) else { return false };
        let is_negative = is_signed && *number < 0;
        let width = u64::MAX >> (spare(bits) + u8::from(is_signed));
        u64::try_from(if is_negative { !*number } else { *number }).is_ok_and(|number| number <= width)
    }

    /// Brings a value to this type.
    pub fn apply(self, value: Value) -> Result<Value, Error> {
        if value == Value::Null || self.is_of(&value) {
            return Ok(value);
        }
        match self {
            Self::Any => Ok(value),
            Self::Bool => match value {
                Value::Bool(_) => Ok(value),
                Value::I64(number) => Ok(Value::Bool(number != 0)),
                Value::U64(_) => Ok(Value::Bool(true)),
                Value::F64(number) => Ok(Value::Bool(number != 0.0)),
                Value::Str(text) => parse_bool(&text).map(Value::Bool).ok_or(Error::Type),
                Value::Null | Value::Bytes(_) | Value::Json(_) => Err(Error::Type),
            },
            Self::Int { bits, is_signed: true } => {
                let max = i64::MAX >> spare(bits);
                whole(&value, -max - 1, max.unsigned_abs())
            }
            Self::Int { bits, is_signed: false } => whole(&value, 0, u64::MAX >> spare(bits)),
            Self::Float => match number_of(&value)? {
                Value::I64(number) => Ok(Value::F64(int_to_float(number))),
                #[expect(clippy::cast_precision_loss, reason = "an item of type float accepts the rounding")]
                Value::U64(number) => Ok(Value::F64(number as f64)),
                other @ (Value::Null
                | Value::Bool(_)
                | Value::F64(_)
                | Value::Str(_)
                | Value::Bytes(_)
                | Value::Json(_)) => Ok(other),
            },
            Self::Text => match value {
                Value::Str(_) => Ok(value),
                Value::Json(text) => Ok(Value::Str(text)),
                Value::Bytes(_) => Err(Error::Type),
                Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => {
                    let mut text = Vec::new();
                    write_json(&value, &mut text)?;
                    Ok(Value::Str(String::from_utf8_lossy(&text).into()))
                }
            },
            Self::Bytes => match value {
                Value::Bytes(_) => Ok(value),
                Value::Str(text) | Value::Json(text) => Ok(Value::Bytes(text.into_boxed_bytes())),
                Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => {
                    Err(Error::Type)
                }
            },
            Self::Json => match value {
                Value::Json(_) => Ok(value),
                Value::Bytes(_) => Err(Error::Type),
                Value::Null
                | Value::Bool(_)
                | Value::I64(_)
                | Value::U64(_)
                | Value::F64(_)
                | Value::Str(_) => {
                    let mut text = Vec::new();
                    write_json(&value, &mut text)?;
                    Ok(Value::Json(String::from_utf8_lossy(&text).into()))
                }
            },
        }
    }
}

/// Why a payload and a value do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not of the format.
    #[error("the payload is not of the item's format")]
    Format,
    /// The value is not of the type.
    #[error("the value is not of the item's type")]
    Type,
    /// The value is outside the type's range.
    #[error("the value is outside the range of the item's type")]
    Range,
}

/// Reads a payload. A format of [`Format::Json`] gives the whole document; parts are read by
/// [`crate::jsonpath::Extractor`].
pub fn decode(format: Format, payload: &[u8]) -> Result<Value, Error> {
    match format {
        Format::Raw => Ok(Value::Bytes(payload.into())),
        Format::Text => {
            str::from_utf8(payload).map(|text| Value::Str(text.into())).map_err(|_| Error::Format)
        }
        Format::Number => {
            let text = str::from_utf8(payload.trim_ascii()).map_err(|_| Error::Format)?;
            parse_number(text).ok_or(Error::Format)
        }
        Format::Bool => {
            let text = str::from_utf8(payload.trim_ascii()).map_err(|_| Error::Format)?;
            parse_bool(text).map(Value::Bool).ok_or(Error::Format)
        }
        Format::Json => {
            let document: serde_json::Value = serde_json::from_slice(payload).map_err(|_| Error::Format)?;
            Ok(Value::from_json(&document))
        }
    }
}

/// Appends a value as payload.
pub fn encode(format: Format, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match format {
        Format::Raw | Format::Text => match value {
            Value::Bytes(bytes) if format == Format::Raw => out.extend_from_slice(bytes),
            Value::Str(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
            Value::Null => {}
            Value::Bytes(_) => return Err(Error::Type),
            Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => return write_json(value, out),
        },
        Format::Number => match value {
            Value::Bool(value) => out.push(if *value { b'1' } else { b'0' }),
            Value::Null => return Err(Error::Type),
            Value::I64(_)
            | Value::U64(_)
            | Value::F64(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Json(_) => {
                return write_json(&number_of(value)?, out);
            }
        },
        Format::Bool => match Kind::Bool.apply(value.clone())? {
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Null
            | Value::I64(_)
            | Value::U64(_)
            | Value::F64(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Json(_) => return Err(Error::Type),
        },
        Format::Json => return write_json(value, out),
    }
    Ok(())
}

/// Appends a value as JSON. Infinite numbers have no JSON form and are refused.
#[inline]
pub fn write_json(value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::I64(number) => return serde_json::to_writer(out, number).map_err(|_| Error::Type),
        Value::U64(number) => return serde_json::to_writer(out, number).map_err(|_| Error::Type),
        Value::F64(number) if number.is_finite() => {
            return serde_json::to_writer(out, number).map_err(|_| Error::Type);
        }
        Value::F64(_) => return Err(Error::Range),
        Value::Str(text) => return serde_json::to_writer(out, text).map_err(|_| Error::Type),
        Value::Json(text) => {
            // A broken text from elsewhere must not break the object it is placed in.
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Error::Format)?;
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(_) => return Err(Error::Type),
    }
    Ok(())
}

fn parse_number(text: &str) -> Option<Value> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    if text.is_empty() || text.len() > NUMBER_BYTES_MAX || !is_decimal {
        return None;
    }
    if let Ok(number) = text.parse() {
        return Some(Value::I64(number));
    }
    if let Ok(number) = text.parse() {
        return Some(Value::U64(number));
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::F64)
}

fn parse_bool(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 8] = [
        ("true", true),
        ("1", true),
        ("on", true),
        ("yes", true),
        ("false", false),
        ("0", false),
        ("off", false),
        ("no", false),
    ];
    WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
}

fn number_of(value: &Value) -> Result<Value, Error> {
    match value {
        Value::I64(_) | Value::U64(_) => Ok(value.clone()),
        Value::F64(number) if number.is_finite() => Ok(value.clone()),
        Value::F64(_) => Err(Error::Range),
        Value::Bool(value) => Ok(Value::I64(i64::from(*value))),
        Value::Str(text) => parse_number(text.trim()).ok_or(Error::Type),
        Value::Null | Value::Bytes(_) | Value::Json(_) => Err(Error::Type),
    }
}

/// How many of 64 bits a whole number of this width does not use.
fn spare(bits: u8) -> u8 {
    64_u8.saturating_sub(bits).min(62)
}

fn whole(value: &Value, min: i64, max: u64) -> Result<Value, Error> {
    match number_of(value)? {
        Value::I64(number) => {
            let fits = number >= min && (number < 0 || number.unsigned_abs() <= max);
            fits.then_some(Value::I64(number)).ok_or(Error::Range)
        }
        Value::U64(number) => (number <= max).then_some(Value::U64(number)).ok_or(Error::Range),
        Value::F64(number) => {
            if number.fract() != 0.0 {
                return Err(Error::Type);
            }
            if !(-LARGEST_EXACT..=LARGEST_EXACT).contains(&number) {
                return Err(Error::Range);
            }
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            whole(&Value::I64(number as i64), min, max)
        }
        Value::Null | Value::Bool(_) | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => Err(Error::Type),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an item of type float accepts the rounding")]
fn int_to_float(number: i64) -> f64 {
    number as f64
}

/// A number as text never needs more; longer text is not worth parsing.
const NUMBER_BYTES_MAX: usize = 64;
/// 2^53: up to here every whole number has an exact double.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [Format; 5] = [Format::Raw, Format::Number, Format::Bool, Format::Text, Format::Json];
    const TYPES: [&str; 10] = ["bool", "u8", "i16", "u64", "i64", "f64", "string", "bytes", "json", ""];

    fn text(format: Format, value: &Value) -> Result<String, Error> {
        let mut out = Vec::new();
        encode(format, value, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn payloads_are_read_by_format() {
        assert_eq!(decode(Format::Number, b" 21.50\n"), Ok(Value::F64(21.5)));
        assert_eq!(decode(Format::Number, b"-3"), Ok(Value::I64(-3)));
        assert_eq!(decode(Format::Number, b"18446744073709551615"), Ok(Value::U64(u64::MAX)));
        for bad in ["", "nan", "inf", "1e999", "0x10", "12abc", &"9".repeat(400)] {
            assert_eq!(decode(Format::Number, bad.as_bytes()), Err(Error::Format), "{bad}");
        }
        assert_eq!(decode(Format::Bool, b"ON"), Ok(Value::Bool(true)));
        assert_eq!(decode(Format::Bool, b"2"), Err(Error::Format));
        assert_eq!(decode(Format::Text, &[0xff]), Err(Error::Format));
        assert_eq!(decode(Format::Json, b"[1]"), Ok(Value::Json("[1]".into())));
        assert_eq!(decode(Format::Raw, &[0xff]), Ok(Value::Bytes([0xff].into())));
    }

    #[test]
    fn types_are_enforced() {
        assert_eq!(Kind::parse("u8").apply(Value::I64(256)), Err(Error::Range));
        assert_eq!(Kind::parse("u8").apply(Value::I64(-1)), Err(Error::Range));
        assert_eq!(Kind::parse("i16").apply(Value::F64(12.0)), Ok(Value::I64(12)));
        assert_eq!(Kind::parse("i16").apply(Value::F64(12.5)), Err(Error::Type));
        assert_eq!(Kind::parse("f64").apply(Value::I64(2)), Ok(Value::F64(2.0)));
        assert_eq!(Kind::parse("bool").apply(Value::Str("off".into())), Ok(Value::Bool(false)));
        assert_eq!(Kind::parse("string").apply(Value::F64(1.5)), Ok(Value::Str("1.5".into())));
    }

    #[test]
    fn values_without_a_json_form_are_refused() {
        assert_eq!(text(Format::Json, &Value::F64(f64::NAN)), Err(Error::Range));
        assert_eq!(text(Format::Number, &Value::F64(f64::INFINITY)), Err(Error::Range));
        assert_eq!(text(Format::Json, &Value::Json("{broken".into())), Err(Error::Format));
        assert_eq!(text(Format::Json, &Value::Str("a\"b".into())).unwrap(), r#""a\"b""#);
        assert_eq!(text(Format::Number, &Value::Bool(true)).unwrap(), "1");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..TYPES.len()) {
            for format in FORMATS {
                if let Ok(value) = decode(format, &bytes) {
                    let _unused = Kind::parse(TYPES[kind]).apply(value);
                }
            }
        }

        #[test]
        fn whole_numbers_keep_to_the_range_of_their_type(number in prop_oneof![any::<i64>(), -70_000_i64..70_000]) {
            for (name, min, max) in [
                ("i8", -0x80, 0x7f),
                ("u8", 0, 0xff),
                ("i16", -0x8000, 0x7fff),
                ("u16", 0, 0xffff),
                ("i32", -0x8000_0000, 0x7fff_ffff),
                ("u32", 0, 0xffff_ffff),
                ("i64", i64::MIN.into(), i64::MAX.into()),
                ("u64", 0_i128, u64::MAX.into()),
            ] {
                let expected = (min..=max).contains(&i128::from(number));
                let kind = Kind::parse(name);
                prop_assert_eq!(kind.apply(Value::I64(number)).is_ok(), expected, "{} {}", name, number);
                let text = kind.apply(Value::Str(number.to_string().into()));
                prop_assert_eq!(text.is_ok(), expected, "{} {}", name, number);
            }
        }

        #[test]
        fn numbers_survive_the_round_trip(number in any::<f64>(), whole in any::<i64>()) {
            prop_assume!(number.is_finite());
            for format in [Format::Number, Format::Json] {
                let back = decode(format, text(format, &Value::F64(number)).unwrap().as_bytes()).unwrap();
                prop_assert_eq!(Kind::Float.apply(back), Ok(Value::F64(number)));
                let back = decode(format, text(format, &Value::I64(whole)).unwrap().as_bytes()).unwrap();
                prop_assert_eq!(back, Value::I64(whole));
            }
        }

        #[test]
        fn text_survives_the_round_trip(value in "\\PC{0,60}") {
            let value = Value::Str(value.into());
            for format in [Format::Text, Format::Json] {
                prop_assert_eq!(&decode(format, text(format, &value).unwrap().as_bytes()).unwrap(), &value);
            }
        }
    }
}
