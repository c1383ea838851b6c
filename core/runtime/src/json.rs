//! Values as JSON, for the API and the command line.

use twinhub_model::Value;

use crate::error::CommandError;

pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F64(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| value.to_string().into(), serde_json::Value::Number),
        Value::Str(value) => value.as_ref().into(),
        Value::Bytes(_) | Value::Time(_) => value.to_string().into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_ref().into()),
    }
}

/// A value as the API or command line gave it, in the type of the item list where that says one.
pub(crate) fn from_json(value: &serde_json::Value, type_name: &str) -> Result<Value, CommandError> {
    let bad = |what: &str| CommandError::BadValue { what: what.to_owned() };
    let numeric = type_name.starts_with("int")
        || type_name.starts_with("uint")
        || type_name.starts_with("float")
        || type_name.starts_with("bcd");
    match value {
        serde_json::Value::Null => {
            Err(bad("null is no value to write: give a number, true, false or a text"))
        }
        serde_json::Value::Bool(value) => Ok(Value::Bool(*value)),
        serde_json::Value::Number(number) => number
            .as_u64()
            .map(Value::U64)
            .or_else(|| number.as_i64().map(Value::I64))
            .or_else(|| number.as_f64().map(Value::F64))
            .ok_or_else(|| bad("the number is too large")),
        serde_json::Value::String(text) if numeric => {
            Err(bad(&format!("`{text}` is a text, the item's type is {type_name}: give a number")))
        }
        serde_json::Value::String(text) => Ok(Value::Str(text.as_str().into())),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Ok(Value::Json(value.to_string().into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_for_a_number_is_refused_with_the_type() {
        let error = from_json(&"12".into(), "uint16").unwrap_err().to_string();
        assert!(error.contains("uint16"), "{error}");
        assert_eq!(from_json(&12.into(), "uint16"), Ok(Value::U64(12)));
        assert_eq!(from_json(&serde_json::json!({"a": 1}), "json"), Ok(Value::Json("{\"a\":1}".into())));
    }
}
