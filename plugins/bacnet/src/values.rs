//! Values of BACnet and of the hub.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use twinhub_bacnet_protocol::names::{ObjectType, PropertyIdentifier};
use twinhub_bacnet_protocol::services::PropertyReference;
use twinhub_bacnet_protocol::shapes::StatusFlags;
use twinhub_bacnet_protocol::value::{Date, Text, Time, Value as Wire};
use twinhub_plugin::{Quality, Value};

/// What is written to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Unsigned,
    Signed,
    Real,
    Double,
    Enumerated,
    Text,
}

impl Kind {
    /// What the column `type` may say.
    pub(crate) const WORDS: &'static str =
        "bool, boolean, unsigned, signed, real, double, enumerated or string";

    /// Reads the column `type`. A `bool` is what the object has for it: an enumeration in binary objects.
    pub(crate) fn parse(text: &str, object: ObjectType) -> Option<Self> {
        Some(match text {
            "bool" if is_binary(object) => Self::Enumerated,
            "bool" | "boolean" => Self::Boolean,
            "unsigned" | "uint8" | "uint16" | "uint32" | "uint64" => Self::Unsigned,
            "signed" | "int8" | "int16" | "int32" | "int64" => Self::Signed,
            "real" | "float32" => Self::Real,
            "double" | "float64" => Self::Double,
            "enumerated" => Self::Enumerated,
            "string" | "text" => Self::Text,
            _ => return None,
        })
    }

    /// What the standard has for a property of an object.
    pub(crate) fn of(object: ObjectType, reference: PropertyReference) -> Option<Self> {
        match reference.property {
            PropertyIdentifier::OBJECT_NAME | PropertyIdentifier::DESCRIPTION => Some(Self::Text),
            PropertyIdentifier::OUT_OF_SERVICE => Some(Self::Boolean),
            PropertyIdentifier::COV_INCREMENT => Some(Self::Real),
            PropertyIdentifier::PRESENT_VALUE | PropertyIdentifier::RELINQUISH_DEFAULT => {
                // Clause 12, Present_Value of each object type.
                match object.number() {
                    0..=2 => Some(Self::Real),
                    3..=5 => Some(Self::Enumerated),
                    13 | 14 | 19 | 48 => Some(Self::Unsigned),
                    40 => Some(Self::Text),
                    45 => Some(Self::Signed),
                    46 => Some(Self::Double),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What is written; null gives a priority back.
    ///
    /// # Errors
    /// Why the value does not fit.
    pub(crate) fn encode(self, value: &Value) -> Result<Wire, String> {
        let number = || value.as_f64().ok_or_else(|| "neither a number nor a bool".to_owned());
        if matches!(value, Value::Null) {
            return Ok(Wire::Null);
        }
        Ok(match self {
            Self::Boolean => Wire::Boolean(match value {
                Value::Bool(state) => *state,
                Value::Null
                | Value::I64(_)
                | Value::U64(_)
                | Value::F64(_)
                | Value::Str(_)
                | Value::Bytes(_)
                | Value::Time(_)
                | Value::Json(_)
                | Value::Array(_) => whole(number()?, 0.0, 1.0)? >= 0.5,
            }),
            Self::Unsigned => Wire::Unsigned(if let Value::U64(number) = value {
                *number
            } else {
                unsigned(whole(number()?, 0.0, EXACT_MAX)?)
            }),
            Self::Enumerated => {
                let number = unsigned(whole(number()?, 0.0, f64::from(u32::MAX))?);
                Wire::Enumerated(u32::try_from(number).unwrap_or(u32::MAX))
            }
            Self::Signed => Wire::Signed(if let Value::I64(number) = value {
                *number
            } else {
                signed(whole(number()?, -EXACT_MAX, EXACT_MAX)?)
            }),
            Self::Real => {
                let number = number()?;
                if number.is_finite() && number.abs() > f64::from(f32::MAX) {
                    return Err(format!("{number} is beyond a single precision number"));
                }
                #[expect(clippy::cast_possible_truncation, reason = "rounded to single precision")]
                Wire::Real(number as f32)
            }
            Self::Double => Wire::Double(number()?),
            Self::Text => match value {
                Value::Str(text) => Wire::Text(Text::new(text)),
                Value::Null
                | Value::Bool(_)
                | Value::I64(_)
                | Value::U64(_)
                | Value::F64(_)
                | Value::Bytes(_)
                | Value::Time(_)
                | Value::Json(_)
                | Value::Array(_) => return Err("not a text".to_owned()),
            },
        })
    }
}

/// What the hub gets of a property, with its quality.
pub(crate) fn decode(object: ObjectType, reference: PropertyReference, values: &[Wire]) -> (Value, Quality) {
    let [value] = values else {
        let all: Vec<Json> = values.iter().map(json_of).collect();
        return (Value::Json(Json::Array(all).to_string()), Quality::GOOD);
    };
    let is_state = is_binary(object)
        && matches!(
            reference.property,
            PropertyIdentifier::PRESENT_VALUE
                | PropertyIdentifier::RELINQUISH_DEFAULT
                | PropertyIdentifier::PRIORITY_ARRAY
        );
    let value = match value {
        Wire::Enumerated(state @ (0 | 1)) if is_state => Value::Bool(*state == 1),
        Wire::Real(number) if !number.is_finite() => return (Value::Null, Quality::BAD_SENSOR_FAILURE),
        Wire::Double(number) if !number.is_finite() => return (Value::Null, Quality::BAD_SENSOR_FAILURE),
        Wire::Real(number) => Value::F64(f64::from(*number)),
        Wire::Double(number) => Value::F64(*number),
        Wire::Null => Value::Null,
        Wire::Boolean(state) => Value::Bool(*state),
        Wire::Unsigned(number) => Value::U64(*number),
        Wire::Signed(number) => Value::I64(*number),
        Wire::Enumerated(number) => Value::U64(u64::from(*number)),
        Wire::Octets(bytes) => Value::Bytes(bytes.clone()),
        Wire::Text(text) => Value::Str(text.to_str().into_owned()),
        Wire::Date(date) => Value::Str(date_text(*date)),
        Wire::Time(time) => Value::Str(time_text(*time)),
        Wire::Object(object) => Value::Str(object.to_string()),
        Wire::Bits(_) | Wire::Context { .. } | Wire::List { .. } => match json_of(value) {
            Json::String(text) => Value::Str(text),
            other @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => {
                Value::Json(other.to_string())
            }
        },
    };
    (value, Quality::GOOD)
}

/// What the flags of an object say of its value.
pub(crate) fn quality(flags: StatusFlags) -> Quality {
    if flags.is_faulty { Quality::BAD_DEVICE_FAILURE } else { Quality::GOOD }
}

fn json_of(value: &Wire) -> Json {
    match value {
        Wire::Null => Json::Null,
        Wire::Boolean(state) => json!(state),
        Wire::Unsigned(number) => json!(number),
        Wire::Signed(number) => json!(number),
        Wire::Real(number) => json!(number),
        Wire::Double(number) => json!(number),
        Wire::Enumerated(number) => json!(number),
        Wire::Octets(bytes) | Wire::Context { bytes, .. } => json!(hex(bytes)),
        Wire::Text(text) => json!(text.to_str()),
        Wire::Bits(bits) => json!(bits.iter().map(|bit| if bit { '1' } else { '0' }).collect::<String>()),
        Wire::Date(date) => json!(date_text(*date)),
        Wire::Time(time) => json!(time_text(*time)),
        Wire::Object(object) => json!(object.to_string()),
        Wire::List { number, values } => {
            let values: Vec<Json> = values.iter().map(json_of).collect();
            json!({ number.to_string(): values })
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "a string has room");
        text
    })
}

/// `2026-11-23`, with `*` for any.
fn date_text(date: Date) -> String {
    let year = date.calendar_year().map_or_else(|| "*".to_owned(), |year| format!("{year:04}"));
    format!("{year}-{}-{}", two(date.month), two(date.day))
}

/// `06:30:00.00`, with `*` for any.
fn time_text(time: Time) -> String {
    format!("{}:{}:{}.{}", two(time.hour), two(time.minute), two(time.second), two(time.hundredths))
}

fn two(field: u8) -> String {
    if field == twinhub_bacnet_protocol::value::ANY { "*".to_owned() } else { format!("{field:02}") }
}

/// Whether its values are inactive and active.
pub(crate) fn is_binary(object: ObjectType) -> bool {
    matches!(object, ObjectType::BINARY_INPUT | ObjectType::BINARY_OUTPUT | ObjectType::BINARY_VALUE)
}

fn whole(number: f64, low: f64, high: f64) -> Result<f64, String> {
    if (low..=high).contains(&number) {
        Ok(number.round())
    } else {
        Err(format!("{number} is not from {low} to {high}"))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
fn unsigned(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn signed(number: f64) -> i64 {
    number as i64
}

/// 2^53: whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use twinhub_bacnet_protocol::value::BitString;

    use super::*;

    const PRESENT: PropertyReference = PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE);

    #[test]
    fn what_is_written_is_read_again() {
        for (object, value) in [
            (ObjectType::ANALOG_VALUE, Value::F64(21.5)),
            (ObjectType::BINARY_VALUE, Value::Bool(true)),
            (ObjectType::MULTI_STATE_VALUE, Value::U64(3)),
            (ObjectType::new(45), Value::I64(-7)),
            (ObjectType::new(46), Value::F64(1.0e300)),
            (ObjectType::new(40), Value::Str("grün".to_owned())),
            (ObjectType::ANALOG_VALUE, Value::Null),
        ] {
            let wire = Kind::of(object, PRESENT).unwrap().encode(&value).unwrap();
            assert_eq!(decode(object, PRESENT, &[wire]), (value, Quality::GOOD));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (kind, value) in [
            (Kind::Unsigned, Value::I64(-1)),
            (Kind::Enumerated, Value::F64(1.0e10)),
            (Kind::Real, Value::F64(1.0e39)),
            (Kind::Signed, Value::F64(f64::NAN)),
            (Kind::Boolean, Value::U64(2)),
            (Kind::Text, Value::U64(2)),
            (Kind::Real, Value::Str("warm".to_owned())),
        ] {
            assert!(kind.encode(&value).is_err(), "{kind:?} {value:?}");
        }
    }

    #[test]
    fn arrays_bits_and_patterns_are_shown() {
        let bits = Wire::Bits(BitString::from_bits(&[true, false]));
        assert_eq!(
            decode(ObjectType::LOOP, PRESENT, std::slice::from_ref(&bits)).0,
            Value::Str("10".to_owned())
        );
        let (all, _) = decode(ObjectType::LOOP, PRESENT, &[Wire::Null, bits, Wire::Date(Date::ANY)]);
        assert_eq!(all, Value::Json(r#"[null,"10","*-*-*"]"#.to_owned()));
        let nan = decode(ObjectType::ANALOG_INPUT, PRESENT, &[Wire::Real(f32::NAN)]);
        assert_eq!(nan, (Value::Null, Quality::BAD_SENSOR_FAILURE));
    }
}
