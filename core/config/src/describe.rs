//! Schema and reference of the configuration file, generated from [`crate::file`].

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::file::File;

/// JSON Schema (2020-12) of `twinhub.toml`.
pub fn schema() -> Json {
    cached().clone()
}

pub(crate) fn cached() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(File).to_value();
        close(&mut schema);
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".to_owned(), "twinhub.toml".into());
        }
        schema
    })
}

/// Unknown keys are errors in every table that names its keys. Formats and numbers that only mean something to
/// Rust are left out.
pub(crate) fn close(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            if map.get("properties").is_some_and(|keys| keys.get("type").is_none_or(|key| !key.is_string()))
                && !map.contains_key("additionalProperties")
            {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            let is_rust_number = |format: &Json| {
                matches!(format.as_str(), Some("uint32" | "uint64" | "int64" | "uint8" | "double" | "float"))
            };
            if map.get("format").is_some_and(is_rust_number) {
                map.remove("format");
            }
            map.remove("default");
            map.values_mut().for_each(close);
        }
        Json::Array(list) => list.iter_mut().for_each(close),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Reference of the configuration file in Markdown.
pub fn reference() -> String {
    let schema = cached();
    let mut out = String::from(
        "# Configuration reference\n\nGenerated from the types by `twinhub config schema --output markdown`. One file, \
         `twinhub.toml`, identical on every node;\nitems in CSV files beside it. Durations are texts with a unit \
         (`\"200ms\"`, `\"5s\"`, `\"1h30m\"`, `\"400d\"`), sizes too (`\"16MiB\"`).\nUnknown keys are errors.\n",
    );
    section(&mut out, schema, schema, "", 0);
    out.push_str(ITEMS);
    out
}

fn section(out: &mut String, root: &Json, table: &Json, path: &str, depth: usize) {
    let Some(keys) = table.get("properties").and_then(Json::as_object) else { return };
    let heading = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    write!(out, "\n## {heading}\n\n").expect(STRING);
    if let Some(text) = table.get("description").and_then(Json::as_str).filter(|_| depth > 0) {
        write!(out, "{}\n\n", text.replace('\n', " ")).expect(STRING);
    }
    out.push_str("| Key | Type | Required | Meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = table
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    for (name, value) in keys {
        let text = value.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ");
        let must = if required.contains(&name.as_str()) { "yes" } else { "" };
        writeln!(out, "| `{name}` | {} | {must} | {} |", type_text(root, value), text.replace('|', "\\|"))
            .expect(STRING);
    }
    for (name, value) in keys {
        let Some((below, suffix)) = inner_table(root, value) else { continue };
        let next = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if depth < 6 {
            section(out, root, below, &format!("{next}{suffix}"), depth + 1);
        }
    }
}

fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let reference = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn alternatives(schema: &Json) -> Vec<&Json> {
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
    list.map_or_else(|| vec![schema], |list| list.iter().collect())
}

/// The table that a key holds, itself, in a list or by name.
fn inner_table<'a>(root: &'a Json, schema: &'a Json) -> Option<(&'a Json, &'static str)> {
    alternatives(schema).into_iter().map(|schema| resolve(root, schema)).find_map(|schema| {
        if schema.get("properties").is_some() {
            return Some((schema, ""));
        }
        let inner = |key: &str| schema.get(key).map(|below| resolve(root, below));
        let is_table = |below: &&Json| below.get("properties").is_some();
        inner("items")
            .filter(is_table)
            .map(|below| (below, "[]"))
            .or_else(|| inner("additionalProperties").filter(is_table).map(|below| (below, ".NAME")))
    })
}

fn type_text(root: &Json, schema: &Json) -> String {
    let mut words: Vec<String> = Vec::new();
    for schema in alternatives(schema).into_iter().map(|schema| resolve(root, schema)) {
        if let Some(value) = schema.get("const").and_then(Json::as_str) {
            words.push(format!("`{value}`"));
            continue;
        }
        if schema.get("anyOf").is_some() || schema.get("oneOf").is_some() {
            words.push(type_text(root, schema));
            continue;
        }
        let names: Vec<&str> = match schema.get("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => vec!["any"],
        };
        for name in names.into_iter().filter(|name| *name != "null") {
            words.push(match (name, schema.get("format").and_then(Json::as_str)) {
                ("string", Some("time-span")) => "duration".to_owned(),
                ("string", Some("size")) => "size".to_owned(),
                ("string", _) => "text".to_owned(),
                ("object", _) => "table".to_owned(),
                ("array", _) => schema
                    .get("items")
                    .map_or_else(|| "list".to_owned(), |items| format!("list of {}", type_text(root, items))),
                ("boolean", _) => "bool".to_owned(),
                (name, _) => name.to_owned(),
            });
        }
    }
    words.dedup();
    words.join(", ")
}

/// Bytes of `64KiB`, `16MiB`, `2GiB`, `10GB` or `512B`.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

const ITEMS: &str = "
## Items files

CSV (RFC 4180) in UTF-8, separated by commas, with a header. Columns in any order; those of the plugin
(`twinhub plugin info NAME`) stand beside these:

| Column | Required | Meaning |
|---|---|---|
| `path` | yes | name within the interface; the item's key is `interface/path` |
| `address` | yes | where it is in the device, as the plugin writes it |
| `type` | yes | `bool`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `bcd16`, `bcd32`, `string`, `string(n)`, `bytes`, `time`, `json`, a `dpt…`, or empty: as the plugin decides |
| `access` | yes | `r`, `w` or `rw` |
| `unit` | | unit of measurement |
| `description` | | for people |
| `edge` | | `true`: every value counts as an event, also an equal one |
| `non_idempotent` | | `true`: a write moves a state and is never repeated |
| `historize` | | `yes`: its values are kept in the history, for `twinhub trend` and `/history` |
| `alarm_high_high`, `alarm_high`, `alarm_low`, `alarm_low_low` | | limits beyond which an alarm is raised, called `interface/path:high` and so on |
| `alarm_equals` | | a value that raises an alarm |
| `alarm_bad_quality` | | `true`: bad quality raises an alarm |
| `alarm_deadband`, `alarm_delay`, `alarm_priority`, `alarm_text`, `alarm_area` | | `deadband`, `delay_on`, `priority`, `text` and `area` of these alarms |
";

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
