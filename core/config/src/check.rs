//! Checks a document against a JSON Schema and says for each fault what may stand there.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value as Json;

use crate::describe::size_bytes;
use crate::diagnostic::{Diagnostic, Source, with_nearest};
use crate::duration::{DURATION_HELP, parse_duration};
use crate::items::{ALARM_COLUMNS, OWN_COLUMNS};
use crate::site::Interface;
use crate::tree::{Kind, Tree};

/// Columns of the interface's items that neither the hub nor its plugin knows.
pub fn check_columns(interface: &Interface, allowed: &BTreeSet<String>) -> Vec<Diagnostic> {
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for item in &interface.items {
        for (column, _) in &item.columns {
            if allowed.contains(&**column) || ALARM_COLUMNS.contains(&&**column) || !unknown.insert(column) {
                continue;
            }
            let names = || {
                OWN_COLUMNS.iter().chain(&ALARM_COLUMNS).copied().chain(allowed.iter().map(String::as_str))
            };
            let help = with_nearest(column, names(), |names| {
                format!("the columns of the plugin `{}` are: {names}", interface.plugin)
            });
            let diagnostic = Diagnostic::error(format!(
                "column `{column}` is unknown to the plugin `{}`",
                interface.plugin
            ))
            .help(help);
            let file = interface.origin.items_file.as_deref().unwrap_or("items");
            found.push(diagnostic.at_line(file, 1));
        }
    }
    found
}

/// Rows of the interface's items without a text that its plugin needs in each.
pub fn check_required(interface: &Interface, required: &[&str]) -> Vec<Diagnostic> {
    let file = interface.origin.items_file.as_deref().unwrap_or("items");
    let mut found = Vec::new();
    for column in required {
        let mut rows = interface.items.iter().filter(|item| item.column(column).is_empty());
        let Some(first) = rows.next() else { continue };
        let more = rows.count();
        let more = if more == 0 { String::new() } else { format!(", as have {more} more rows") };
        let message = format!("`{}` has no `{column}`{more}", first.key);
        let help =
            format!("the plugin `{}` needs it in each row: write it, or take the rows out", interface.plugin);
        found.push(Diagnostic::error(message).help(help).at_line(file, first.line));
    }
    found
}

/// Settings of the interface that its plugin's `config_schema` does not allow. A secret, `{ file = … }` or
/// `{ env = … }`, may stand for any text.
pub fn check_settings(interface: &Interface, schema: &Json) -> Vec<Diagnostic> {
    if let Some(place) = &interface.origin.settings {
        return Check { source: &place.source, root: schema, found: Vec::new(), secrets: true }
            .run(&place.tree, &format!("interface.{}.settings", interface.id));
    }
    // Without a place (no settings written, or changed since): the same check over a text made for it.
    let text = toml::to_string(&interface.settings).unwrap_or_default();
    let source = Source::new(&format!("settings of {}", interface.id), text);
    match Tree::parse(&source) {
        Ok(tree) => Check { source: &source, root: schema, found: Vec::new(), secrets: true }
            .run(&tree, &format!("interface.{}.settings", interface.id))
            .into_iter()
            .map(Diagnostic::without_place)
            .collect(),
        Err(found) => found,
    }
}

/// Everything in the document that the schema does not allow.
pub(crate) fn check_document(source: &Source, tree: &Tree, schema: &Json) -> Vec<Diagnostic> {
    Check { source, root: schema, found: Vec::new(), secrets: false }.run(tree, "")
}

struct Check<'a> {
    source: &'a Source,
    root: &'a Json,
    found: Vec<Diagnostic>,
    secrets: bool,
}

impl<'a> Check<'a> {
    fn run(mut self, tree: &Tree, path: &str) -> Vec<Diagnostic> {
        self.value(tree, self.root, path, tree.span.clone(), 0);
        self.found
    }

    fn error(&mut self, span: Range<usize>, message: String, label: &str, help: String) {
        self.found.push(Diagnostic::error(message).at(self.source, span, label).help(help));
    }

    fn value(&mut self, tree: &Tree, schema: &'a Json, path: &str, key: Range<usize>, depth: usize) {
        let Some(schema) = resolve(self.root, schema) else { return };
        if depth > DEPTH_MAX || (self.secrets && is_secret(tree) && accepts(schema, "string")) {
            return;
        }
        let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
        if let Some(branches) = branches {
            self.branches(tree, branches, path, key, depth);
            return;
        }
        if let Some(words) = words(schema) {
            self.word(tree, &words, path);
            return;
        }
        let expected = types(schema);
        if !expected.is_empty() && !expected.iter().any(|name| is_type(tree, name)) {
            self.error(
                tree.span.clone(),
                format!("`{path}` is {}, not {}", tree.kind_text(), type_words(&expected)),
                "of the wrong type",
                type_help(schema, &expected),
            );
            return;
        }
        match &tree.kind {
            Kind::Table(_) => self.table(tree, schema, path, &key, depth),
            Kind::Array(values) => {
                self.length(tree, schema, path, values.len(), ["minItems", "maxItems"], "entries");
                if let Some(items) = schema.get("items") {
                    for (index, value) in values.iter().enumerate() {
                        self.value(value, items, &format!("{path}[{index}]"), value.span.clone(), depth + 1);
                    }
                }
            }
            Kind::Text(text) => {
                self.length(
                    tree,
                    schema,
                    path,
                    text.chars().count(),
                    ["minLength", "maxLength"],
                    "characters",
                );
                self.format(tree, schema, path, text);
            }
            #[expect(clippy::cast_precision_loss, reason = "limits of settings are small")]
            Kind::Integer(number) => self.range(tree, schema, path, *number as f64),
            Kind::Float(number) => self.range(tree, schema, path, *number),
            Kind::Bool(_) => {}
            Kind::Other(what) => self.error(
                tree.span.clone(),
                format!("`{path}` is {what}"),
                "not possible here",
                "write a text in double quotes, or a number".to_owned(),
            ),
        }
    }

    fn table(&mut self, tree: &Tree, schema: &'a Json, path: &str, key: &Range<usize>, depth: usize) {
        let Kind::Table(entries) = &tree.kind else { return };
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        for (name, entry) in entries {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (properties.and_then(|known| known.get(name)), others) {
                (Some(known), _) => self.value(&entry.value, known, &below, entry.key.clone(), depth + 1),
                (None, Some(Json::Bool(false))) => {
                    let names = properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
                    let help = with_nearest(name, names, |names| {
                        if names.is_empty() {
                            "there are no keys here".to_owned()
                        } else {
                            format!("the keys here are: {names}")
                        }
                    });
                    let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                    self.error(entry.key.clone(), format!("unknown key `{name}`{place}"), "not known", help);
                }
                (None, Some(others)) if others.is_object() => {
                    self.value(&entry.value, others, &below, entry.key.clone(), depth + 1);
                }
                (None, _) => {}
            }
        }
        for name in
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
        {
            if entries.contains_key(name) {
                continue;
            }
            let place = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            let about = properties
                .and_then(|known| known.get(name))
                .and_then(|known| known.get("description"))
                .and_then(Json::as_str)
                .map(|text| format!(": {}", text.replace('\n', " ")))
                .unwrap_or_default();
            let span = if path.is_empty() { 0..0 } else { key.clone() };
            self.error(span, format!("{place} has no `{name}`"), "here", format!("add `{name} = …`{about}"));
        }
    }

    fn branches(&mut self, tree: &Tree, branches: &'a [Json], path: &str, key: Range<usize>, depth: usize) {
        let resolved: Vec<&'a Json> =
            branches.iter().filter_map(|branch| resolve(self.root, branch)).collect();
        let fits = |branch: &&&'a Json| {
            let types = types(branch);
            types.is_empty() || types.iter().any(|name| is_type(tree, name))
        };
        let of_type: Vec<&'a Json> = resolved.iter().filter(fits).copied().collect();
        if of_type.is_empty() {
            let all: Vec<&str> = resolved.iter().flat_map(|branch| types(branch)).collect();
            let help = resolved.first().map(|first| type_help(first, &all)).unwrap_or_default();
            self.error(
                tree.span.clone(),
                format!("`{path}` is {}, not {}", tree.kind_text(), type_words(&all)),
                "of the wrong type",
                help,
            );
            return;
        }
        let all_words: Option<Vec<String>> = of_type
            .iter()
            .map(|branch| words(branch))
            .collect::<Option<Vec<_>>>()
            .map(|lists| lists.into_iter().flatten().collect());
        if let Some(words) = all_words {
            self.word(tree, &words, path);
            return;
        }
        let mut best: Option<Vec<Diagnostic>> = None;
        for branch in of_type {
            let mut check =
                Check { source: self.source, root: self.root, found: Vec::new(), secrets: self.secrets };
            check.value(tree, branch, path, key.clone(), depth + 1);
            if check.found.is_empty() {
                return;
            }
            if best.as_ref().is_none_or(|best| check.found.len() < best.len()) {
                best = Some(check.found);
            }
        }
        self.found.extend(best.unwrap_or_default());
    }

    fn word(&mut self, tree: &Tree, words: &[String], path: &str) {
        let text = match &tree.kind {
            Kind::Text(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Bool(value) => value.to_string(),
            Kind::Float(_) | Kind::Table(_) | Kind::Array(_) | Kind::Other(_) => String::new(),
        };
        if words.contains(&text) && !text.is_empty() {
            return;
        }
        let help =
            with_nearest(&text, words.iter().map(String::as_str), |words| format!("write one of {words}"));
        let message = format!("`{path}` is {}, which is none of its words", tree.kind_text());
        self.error(tree.span.clone(), message, "not known", help);
    }

    fn length(
        &mut self,
        tree: &Tree,
        schema: &'a Json,
        path: &str,
        length: usize,
        keys: [&str; 2],
        unit: &str,
    ) {
        let limit =
            |key: &str| schema.get(key).and_then(Json::as_u64).and_then(|at| usize::try_from(at).ok());
        let (min, max) = (limit(keys[0]), limit(keys[1]));
        if min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max) {
            let message = format!("`{path}` has {length} {unit}");
            let help = match (min, max) {
                (Some(min), Some(max)) if min == max => format!("write {min} {unit}"),
                (Some(min), Some(max)) => format!("write {min} to {max} {unit}"),
                (Some(min), None) => format!("write at least {min} {unit}"),
                (None, Some(max)) => format!("write at most {max} {unit}"),
                (None, None) => String::new(),
            };
            self.error(tree.span.clone(), message, "of the wrong length", help);
        }
    }

    fn range(&mut self, tree: &Tree, schema: &'a Json, path: &str, number: f64) {
        let limit = |key: &str| schema.get(key).and_then(Json::as_f64);
        let (min, max) = (limit("minimum"), limit("maximum"));
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let help = match (min, max) {
                (Some(min), Some(max)) if min.to_bits() == max.to_bits() => format!("write {min}"),
                (Some(min), Some(max)) => format!("write a number from {min} to {max}"),
                (Some(min), None) => format!("write a number from {min} on"),
                (None, Some(max)) => format!("write a number up to {max}"),
                (None, None) => String::new(),
            };
            self.error(tree.span.clone(), format!("`{path}` is {number}"), "out of range", help);
        }
    }

    fn format(&mut self, tree: &Tree, schema: &'a Json, path: &str, text: &str) {
        match schema.get("format").and_then(Json::as_str) {
            Some("time-span") if parse_duration(text).is_none() => self.error(
                tree.span.clone(),
                format!("`{path}` is \"{}\", which is no duration", text.escape_debug()),
                "no duration",
                DURATION_HELP.to_owned(),
            ),
            Some("size") if size_bytes(text).is_none() => self.error(
                tree.span.clone(),
                format!("`{path}` is \"{}\", which is no size", text.escape_debug()),
                "no size",
                "write a whole number with a unit as text, such as \"64KiB\", \"16MiB\" or \"2GiB\""
                    .to_owned(),
            ),
            _ => {}
        }
    }
}

/// Follows `$ref`.
fn resolve<'s>(root: &'s Json, mut schema: &'s Json) -> Option<&'s Json> {
    for _ in 0..DEPTH_MAX {
        match schema.get("$ref").and_then(Json::as_str) {
            Some(reference) => schema = root.pointer(reference.strip_prefix('#')?)?,
            None => return Some(schema),
        }
    }
    None
}

fn is_secret(tree: &Tree) -> bool {
    let Kind::Table(entries) = &tree.kind else { return false };
    entries.len() == 1
        && entries.iter().all(|(name, entry)| {
            matches!(name.as_str(), "file" | "env") && matches!(entry.value.kind, Kind::Text(_))
        })
}

fn accepts(schema: &Json, name: &str) -> bool {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
    types(schema).contains(&name)
        || branches.into_iter().flatten().any(|branch| types(branch).contains(&name))
}

/// The words a schema lists; `None` if it lists none.
fn words(schema: &Json) -> Option<Vec<String>> {
    let word = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(value) = schema.get("const") {
        return Some(vec![word(value)]);
    }
    let list = schema.get("enum")?.as_array()?;
    Some(list.iter().filter(|value| !value.is_null()).map(word).collect())
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => {
            names.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect()
        }
        _ => Vec::new(),
    }
}

fn is_type(tree: &Tree, name: &str) -> bool {
    match &tree.kind {
        Kind::Table(_) => name == "object",
        Kind::Array(_) => name == "array",
        Kind::Text(_) => name == "string",
        Kind::Integer(_) => name == "integer" || name == "number",
        Kind::Float(_) => name == "number",
        Kind::Bool(_) => name == "boolean",
        Kind::Other(_) => false,
    }
}

fn type_words(names: &[&str]) -> String {
    let word = |name: &&str| match *name {
        "object" => "a table",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "what the schema asks for",
    };
    let words: BTreeSet<&str> = names.iter().filter(|name| **name != "null").map(word).collect();
    words.into_iter().collect::<Vec<_>>().join(" or ")
}

fn type_help(schema: &Json, expected: &[&str]) -> String {
    if schema.get("format").and_then(Json::as_str) == Some("time-span") {
        return DURATION_HELP.to_owned();
    }
    match expected.first().copied() {
        Some("string") => "write the text in double quotes".to_owned(),
        Some("array") => "write a list in brackets: [ … ]".to_owned(),
        Some("object") => "write a table: { key = value }, or a section".to_owned(),
        Some("integer") => "write a whole number without quotes".to_owned(),
        Some("number") => "write a number without quotes".to_owned(),
        Some("boolean") => "write true or false without quotes".to_owned(),
        Some(_) | None => "look into the reference of the configuration".to_owned(),
    }
}

const DEPTH_MAX: usize = 64;
