//! Checks a configuration against the part of JSON Schema (2020-12) that schemas of configuration types are made of.
//!
//! What this does not know is left to the configuration type: formats, patterns, conditions.

use serde_json::Value as Json;

/// Says where a value is not as the schema says.
///
/// # Errors
/// The place, as `a.b.0`, and what is expected there.
pub(crate) fn check(schema: &Json, value: &Json) -> Result<(), String> {
    at(schema, schema, value, "", DEPTH)
}

fn at(root: &Json, schema: &Json, value: &Json, place: &str, depth: usize) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    if schema == &Json::Bool(false) {
        return Err(wrong(place, "nothing is allowed here"));
    }
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
    if let Some(target) = target.and_then(|pointer| root.pointer(pointer)) {
        at(root, target, value, place, depth)?;
    }
    if let Some(kind) = schema.get("type") {
        let list = kind.as_array().map_or(std::slice::from_ref(kind), Vec::as_slice);
        let kinds: Vec<&str> = list.iter().filter_map(Json::as_str).collect();
        if !kinds.iter().any(|kind| is_kind(kind, value)) {
            return Err(wrong(place, &format!("expected {}, found {}", kinds.join(" or "), shown(value))));
        }
    }
    if let Some(expected) = schema.get("const").filter(|expected| *expected != value) {
        return Err(wrong(place, &format!("expected {expected}, found {}", shown(value))));
    }
    if let Some(words) = schema.get("enum").and_then(Json::as_array).filter(|words| !words.contains(value)) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        return Err(wrong(place, &format!("expected one of {}, found {}", words.join(", "), shown(value))));
    }
    number(schema, value, place)?;
    length(schema, value, place)?;
    members(root, schema, value, place, depth)?;
    for (elements, index) in value.as_array().into_iter().flatten().zip(0_usize..) {
        if let Some(inner) = schema.get("items") {
            at(root, inner, elements, &join(place, &index.to_string()), depth)?;
        }
    }
    for all in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
        at(root, all, value, place, depth)?;
    }
    for one_of in ["anyOf", "oneOf"] {
        let Some(choices) = schema.get(one_of).and_then(Json::as_array) else { continue };
        let tried: Vec<Result<(), String>> =
            choices.iter().map(|choice| at(root, choice, value, place, depth)).collect();
        if !tried.iter().any(Result::is_ok) {
            // The one that came furthest says most.
            let said = tried.into_iter().filter_map(Result::err).rev().max_by_key(|said| dots(said));
            return Err(said.unwrap_or_else(|| wrong(place, "nothing is allowed here")));
        }
    }
    Ok(())
}

fn number(schema: &Json, value: &Json, place: &str) -> Result<(), String> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    let limit = |name: &str| schema.get(name).and_then(Json::as_f64);
    let is_out = limit("minimum").is_some_and(|limit| number < limit)
        || limit("maximum").is_some_and(|limit| number > limit)
        || limit("exclusiveMinimum").is_some_and(|limit| number <= limit)
        || limit("exclusiveMaximum").is_some_and(|limit| number >= limit);
    if !is_out {
        return Ok(());
    }
    let words = [
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ];
    let limits: Vec<String> = words
        .iter()
        .filter_map(|(name, word)| schema.get(*name).map(|limit| format!("{word} {limit}")))
        .collect();
    Err(wrong(place, &format!("expected {}, found {value}", limits.join(" and "))))
}

fn length(schema: &Json, value: &Json, place: &str) -> Result<(), String> {
    let (names, found) = match value {
        Json::String(text) => (["minLength", "maxLength"], text.chars().count()),
        Json::Array(list) => (["minItems", "maxItems"], list.len()),
        Json::Object(map) => (["minProperties", "maxProperties"], map.len()),
        Json::Null | Json::Bool(_) | Json::Number(_) => return Ok(()),
    };
    let [least, most] = names.map(|name| schema.get(name).and_then(Json::as_u64));
    let found = found as u64;
    if least.is_some_and(|least| found < least) {
        return Err(wrong(place, &format!("expected a length of at least {}", least.unwrap_or_default())));
    }
    if most.is_some_and(|most| found > most) {
        return Err(wrong(place, &format!("expected a length of at most {}", most.unwrap_or_default())));
    }
    Ok(())
}

fn members(root: &Json, schema: &Json, value: &Json, place: &str, depth: usize) -> Result<(), String> {
    let Some(members) = value.as_object() else { return Ok(()) };
    let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
    for name in required.filter_map(Json::as_str) {
        if !members.contains_key(name) {
            return Err(wrong(place, &format!("missing field `{name}`")));
        }
    }
    let known = schema.get("properties").and_then(Json::as_object);
    for (name, member) in members {
        let inner = known.and_then(|known| known.get(name));
        let inner_place = join(place, name);
        if let Some(inner) = inner {
            at(root, inner, member, &inner_place, depth)?;
        } else if let Some(others) = schema.get("additionalProperties") {
            if others == &Json::Bool(false) {
                let names: Vec<String> =
                    known.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
                let what = format!("unknown field `{name}`, expected one of {}", names.join(", "));
                return Err(wrong(place, &what));
            }
            at(root, others, member, &inner_place, depth)?;
        }
    }
    Ok(())
}

fn is_kind(kind: &str, value: &Json) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn shown(value: &Json) -> String {
    if value.is_array() {
        "a list".to_owned()
    } else if value.is_object() {
        "a table".to_owned()
    } else {
        value.to_string().chars().take(SHOWN).collect()
    }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn wrong(place: &str, what: &str) -> String {
    if place.is_empty() { what.to_owned() } else { format!("`{place}`: {what}") }
}

fn dots(said: &str) -> usize {
    said.split('`').nth(1).map_or(0, |place| place.matches('.').count() + 1)
}

/// Deeper schemas refer to themselves.
const DEPTH: usize = 32;
const SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["host"],
            "properties": {
                "host": {"type": "string", "minLength": 1},
                "unit": {"type": "integer", "minimum": 0, "maximum": 255},
                "order": {"enum": ["abcd", "dcba"]},
                "tls": {"anyOf": [{"$ref": "#/$defs/Tls"}, {"type": "null"}]},
                "poll": {"type": "object", "additionalProperties": {"type": "string"}},
                "hosts": {"type": "array", "items": {"type": ["string", "null"]}}
            },
            "$defs": {"Tls": {"type": "object", "additionalProperties": false, "properties": {"ca": {"type": "string"}}}}
        });
        for (config, said) in [
            (json!([]), "expected object, found a list"),
            (json!({}), "missing field `host`"),
            (json!({"host": ""}), "`host`: expected a length of at least 1"),
            (json!({"host": "a", "unit": 256}), "`unit`: expected at least 0 and at most 255, found 256"),
            (json!({"host": "a", "unit": 1.5}), "`unit`: expected integer, found 1.5"),
            (json!({"host": "a", "order": "x"}), "`order`: expected one of \"abcd\", \"dcba\", found \"x\""),
            (json!({"host": "a", "tls": {"ca": 1}}), "`tls.ca`: expected string, found 1"),
            (json!({"host": "a", "tls": ["ca"]}), "`tls`: expected object, found a list"),
            (json!({"host": "a", "poll": {"fast": 1}}), "`poll.fast`: expected string, found 1"),
            (json!({"host": "a", "hosts": ["a", 1]}), "`hosts.1`: expected string or null, found 1"),
        ] {
            assert_eq!(check(&schema, &config), Err(said.to_owned()), "{config}");
        }
        let unknown = check(&schema, &json!({"host": "a", "port": 1})).unwrap_err();
        assert!(unknown.starts_with("unknown field `port`, expected one of `host`, "), "{unknown}");
        let right = json!({"host": "a", "unit": 1.0, "tls": null, "order": "dcba", "poll": {"fast": "1s"}, "hosts": [null]});
        assert_eq!(check(&schema, &right), Ok(()));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"$ref": "#"});
        assert_eq!(check(&schema, &json!({})), Ok(()));
    }
}
