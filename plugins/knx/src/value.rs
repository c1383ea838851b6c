//! Values of the hub and of datapoint types.

use serde_json::{Map, Number, Value as Json};
use twinhub_knx_protocol::Dpt;
use twinhub_knx_protocol::dpt::{Fields, Scalar, Value as Datum};
use twinhub_plugin::Value;

/// What the hub gets: structures as JSON, all else as what it is.
pub(crate) fn to_hub(value: Datum) -> Value {
    match value {
        Datum::Bool(value) => Value::Bool(value),
        Datum::Integer(value) => Value::I64(value),
        Datum::Float(value) => Value::F64(value),
        Datum::Text(value) => Value::Str(value),
        Datum::Fields(fields) => Value::Json(json_of(&fields).to_string()),
    }
}

fn json_of(fields: &Fields) -> Json {
    let scalar = |value| match value {
        Scalar::Bool(value) => Json::Bool(value),
        Scalar::Integer(value) => Json::Number(value.into()),
        // Fields are made of bits, so they are finite.
        Scalar::Float(value) => Number::from_f64(value).map_or(Json::Null, Json::Number),
    };
    Json::Object(fields.iter().map(|(name, value)| (name.to_owned(), scalar(value))).collect::<Map<_, _>>())
}

/// A value as a person reads it.
pub(crate) fn text_of(value: &Datum) -> String {
    match value {
        Datum::Bool(value) => value.to_string(),
        Datum::Integer(value) => value.to_string(),
        Datum::Float(value) => value.to_string(),
        Datum::Text(value) => value.clone(),
        Datum::Fields(fields) => json_of(fields).to_string(),
    }
}

/// What kind of value a datapoint type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Bit,
    Number,
    Text,
    Structure,
}

impl Shape {
    pub(crate) fn of(dpt: &Dpt) -> Self {
        match dpt.id().main {
            1 => Self::Bit,
            4 | 16 | 24 | 28 => Self::Text,
            _ if dpt.field_names().is_empty() => Self::Number,
            _ => Self::Structure,
        }
    }
}

/// What a write of the hub says.
pub(crate) fn from_hub(value: &Value, shape: Shape) -> Result<Datum, String> {
    let is_bit = shape == Shape::Bit;
    Ok(match value {
        Value::Bool(value) if is_bit => Datum::Bool(*value),
        Value::Bool(value) => Datum::Integer(i64::from(*value)),
        // A bit is written as a number by sources that have no other type for it.
        Value::I64(0) | Value::U64(0) if is_bit => Datum::Bool(false),
        Value::I64(1) | Value::U64(1) if is_bit => Datum::Bool(true),
        Value::F64(value) if is_bit && *value == 0.0 => Datum::Bool(false),
        Value::F64(value) if is_bit && (*value - 1.0).abs() < f64::EPSILON => Datum::Bool(true),
        Value::I64(value) => Datum::Integer(*value),
        Value::U64(value) => {
            Datum::Integer(i64::try_from(*value).map_err(|_| format!("{value} is too large"))?)
        }
        Value::F64(value) => Datum::Float(*value),
        Value::Str(text) if shape == Shape::Structure => from_json(text)?,
        Value::Str(text) => Datum::Text(text.clone()),
        Value::Json(text) => from_json(text)?,
        Value::Null | Value::Bytes(_) | Value::Time(_) | Value::Array(_) => {
            return Err("neither a number nor a bool, a text or a JSON object".to_owned());
        }
    })
}

/// A JSON object of numbers and bools; any other JSON is the value it stands for.
fn from_json(text: &str) -> Result<Datum, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    Ok(match json {
        Json::Object(object) => {
            let mut fields = Fields::new();
            for (name, value) in object {
                match value {
                    Json::Bool(value) => fields.set(&name, value),
                    Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                        (Some(value), _) => fields.set(&name, value),
                        (None, Some(value)) => fields.set(&name, value),
                        (None, None) => return Err(format!("`{name}` is too large")),
                    },
                    // As a field that is not there: invalid, where the type can say so.
                    Json::Null => {}
                    Json::String(_) | Json::Array(_) | Json::Object(_) => {
                        return Err(format!("`{name}` is neither a number nor a bool"));
                    }
                }
            }
            Datum::Fields(fields)
        }
        Json::Bool(value) => Datum::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Datum::Integer(value),
            (None, Some(value)) => Datum::Float(value),
            (None, None) => return Err("the number is too large".to_owned()),
        },
        Json::String(text) => Datum::Text(text),
        Json::Null | Json::Array(_) => {
            return Err("neither an object nor a number, a bool or a text".to_owned());
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_knx_protocol::DptId;
    use twinhub_knx_protocol::dpt::definitions;

    use super::*;

    #[test]
    fn structures_are_json_objects() {
        let fields = Fields::new().with("red", 1).with("valid", true).with("x", 0.5);
        let value = to_hub(Datum::Fields(fields.clone()));
        assert_eq!(value, Value::Json(r#"{"red":1,"valid":true,"x":0.5}"#.to_owned()));
        assert_eq!(from_hub(&value, Shape::Structure), Ok(Datum::Fields(fields)));
    }

    #[test]
    fn a_bit_is_a_bool_or_zero_or_one() {
        for value in [Value::Bool(true), Value::I64(1), Value::U64(1), Value::F64(1.0)] {
            assert_eq!(from_hub(&value, Shape::Bit), Ok(Datum::Bool(true)), "{value:?}");
        }
        assert_eq!(from_hub(&Value::I64(2), Shape::Bit), Ok(Datum::Integer(2)), "which the type refuses");
        assert_eq!(from_hub(&Value::Bool(true), Shape::Number), Ok(Datum::Integer(1)));
        assert!(from_hub(&Value::Null, Shape::Bit).is_err());
        assert!(from_hub(&Value::Json(r#"{"a":"b"}"#.to_owned()), Shape::Structure).is_err());
    }

    proptest! {
        #[test]
        fn what_any_type_decodes_comes_back_from_the_hub(at: usize, bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let rows: Vec<_> = definitions().collect();
            let row = rows[at % rows.len()];
            let dpt = Dpt::find(DptId { main: row.main, sub: row.sub }).unwrap();
            if let Ok(datum) = dpt.decode(&bytes)
                && !matches!(datum, Datum::Float(value) if value.is_nan())
            {
                    prop_assert_eq!(from_hub(&to_hub(datum.clone()), Shape::of(&dpt)), Ok(datum));
            }
        }

        #[test]
        fn any_text_is_a_value_or_refused(text in ".{0,60}") {
            drop(from_hub(&Value::Json(text.clone()), Shape::Structure));
            drop(from_hub(&Value::Str(text), Shape::Structure));
        }
    }
}
