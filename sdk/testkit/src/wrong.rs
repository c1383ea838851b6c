//! Wrong configurations, made from a right one and the schema.

use serde_json::{Map, Value as Json, json};

/// Configurations that the schema does not allow, each with what is wrong, `most` at most.
pub(crate) fn wrong_configs(schema: &Json, right: &Json, most: usize) -> Result<Vec<(String, Json)>, String> {
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    let mut all: Vec<(String, Json)> =
        odd().into_iter().map(|(what, value)| (format!("the whole is {what}"), value)).collect();
    let mut places = Vec::new();
    collect(schema, schema, &mut Vec::new(), &mut places, DEPTH);
    for place in &places {
        let at = place.join(".");
        for (what, value) in odd() {
            all.extend(with(right, place, Some(value)).map(|config| (format!("{at} is {what}"), config)));
        }
        all.extend(with(right, place, None).map(|config| (format!("{at} is missing"), config)));
        let (last, before) =
            place.split_last().map_or((String::new(), &[][..]), |(last, it)| (last.clone(), it));
        let odd_name = [before, &[format!("{last}_unknown")]].concat();
        all.extend(
            with(right, &odd_name, Some(json!(1)))
                .map(|config| (format!("{} is unknown", odd_name.join(".")), config)),
        );
    }
    all.extend(
        with(right, &["unknown".to_owned()], Some(json!(1))).map(|it| ("an unknown name".to_owned(), it)),
    );
    all.retain(|(_, config)| !validator.is_valid(config));
    // Of many, some of each kind.
    let step = all.len().div_ceil(most.max(1)).max(1);
    Ok(all.into_iter().step_by(step).collect())
}

/// Values that hardly any place can take.
fn odd() -> Vec<(&'static str, Json)> {
    vec![
        ("null", Json::Null),
        ("true", json!(true)),
        ("0", json!(0)),
        ("-1", json!(-1)),
        ("1.5", json!(1.5)),
        ("1e300", json!(1e300)),
        ("2^64 - 1", json!(u64::MAX)),
        ("an empty text", json!("")),
        ("a text", json!("kit \u{1F4A5} \u{0}")),
        ("a long text", json!("k".repeat(70_000))),
        ("an empty list", json!([])),
        ("a list of texts", json!(["kit", ""])),
        ("an empty object", json!({})),
        ("an object", json!({"kit": {"kit": [1]}})),
    ]
}

/// Every named place of a schema, as far as it can be followed.
fn collect(root: &Json, schema: &Json, at: &mut Vec<String>, places: &mut Vec<Vec<String>>, depth: usize) {
    if depth == 0 {
        return;
    }
    let schema = followed(root, schema);
    let named = schema.get("properties").and_then(Json::as_object).cloned().unwrap_or_else(Map::new);
    for (name, inner) in &named {
        at.push(name.clone());
        places.push(at.clone());
        collect(root, inner, at, places, depth - 1);
        at.pop();
    }
    for one_of in ["anyOf", "oneOf", "allOf"] {
        for inner in schema.get(one_of).and_then(Json::as_array).into_iter().flatten() {
            collect(root, inner, at, places, depth - 1);
        }
    }
}

/// What a reference within the schema leads to.
fn followed<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The configuration with another value at a place, or without it.
fn with(right: &Json, place: &[String], value: Option<Json>) -> Option<Json> {
    let mut config = right.clone();
    let (last, before) = place.split_last()?;
    let mut inner = &mut config;
    for name in before {
        let object = inner.as_object_mut()?;
        inner = object.entry(name.clone()).or_insert_with(|| json!({}));
    }
    let object = inner.as_object_mut()?;
    match value {
        Some(value) => object.insert(last.clone(), value),
        None => Some(object.remove(last)?),
    };
    Some(config)
}

const DEPTH: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_wrong_and_says_how() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["host"],
            "properties": {
                "host": {"type": "string", "minLength": 1},
                "tls": {"anyOf": [{"$ref": "#/$defs/Tls"}, {"type": "null"}]},
                "poll_ms": {"type": "integer", "minimum": 1}
            },
            "$defs": {"Tls": {"type": "object", "additionalProperties": false, "properties": {"ca": {"type": "string"}}}}
        });
        let right = json!({"host": "plc"});
        let found = wrong_configs(&schema, &right, 1_000).unwrap();
        let names: Vec<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
        for name in
            ["host is missing", "host is an empty text", "poll_ms is 0", "tls.ca is 1.5", "an unknown name"]
        {
            assert!(names.contains(&name), "{name} is among {names:?}");
        }
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(found.iter().all(|(_, config)| !validator.is_valid(config)));
        assert!(wrong_configs(&schema, &right, 20).unwrap().len() <= 20);
    }

    #[test]
    fn a_schema_that_allows_everything_has_none() {
        assert_eq!(wrong_configs(&json!({}), &json!({}), 100), Ok(Vec::new()));
    }
}
