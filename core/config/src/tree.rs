//! A TOML document whose every key and value knows its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Number, Value as Json};
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Source};

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Table(BTreeMap<String, Entry>),
    Array(Vec<Tree>),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date or a number that is too large; no key takes one.
    Other(&'static str),
}

/// A key of a table with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Range<usize>,
    pub(crate) value: Tree,
}

/// A value and the file it is in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) source: Source,
    pub(crate) tree: Arc<Tree>,
}

/// One step down from a table or list.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Of a table.
    Key(&'a str),
    /// Of a list, from 0.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Step::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

impl Tree {
    /// Reads a document; finds all syntax errors.
    pub(crate) fn parse(source: &Source) -> Result<Tree, Vec<Diagnostic>> {
        let (table, errors) = DeTable::parse_recoverable(source.text());
        if errors.is_empty() {
            let span = table.span();
            return Ok(Tree { span, kind: table_kind(table.get_ref()) });
        }
        // After a fault of form the parser guesses, so what follows is noise; repeated keys stand for themselves.
        let is_repeated = |error: &&toml::de::Error| error.message().contains("duplicate key");
        let form = errors.iter().find(|error| !is_repeated(error));
        let repeated = errors.iter().filter(is_repeated);
        Err(form.into_iter().chain(repeated).map(|error| syntax(source, error)).collect())
    }

    /// What is at that path below this.
    pub(crate) fn get(&self, path: &[Step<'_>]) -> Option<&Tree> {
        path.iter().try_fold(self, |tree, step| match (&tree.kind, step) {
            (Kind::Table(entries), Step::Key(key)) => entries.get(*key).map(|entry| &entry.value),
            (Kind::Array(values), Step::Index(index)) => values.get(*index),
            _ => None,
        })
    }

    /// The place of what is at that path; of the deepest part of the path that exists otherwise.
    pub(crate) fn span_of(&self, path: &[Step<'_>]) -> Range<usize> {
        (0..=path.len())
            .rev()
            .find_map(|depth| self.get(&path[..depth]))
            .map_or_else(|| self.span.clone(), |tree| tree.span.clone())
    }

    /// The same as JSON, without what stands at these places. Numbers that JSON does not have become null.
    pub(crate) fn json_without(&self, left_out: &[Range<usize>]) -> Json {
        let is_kept = |tree: &Tree| !left_out.contains(&tree.span);
        match &self.kind {
            Kind::Table(entries) => Json::Object(
                entries
                    .iter()
                    .filter(|(_, entry)| is_kept(&entry.value))
                    .map(|(key, entry)| (key.clone(), entry.value.json_without(left_out)))
                    .collect(),
            ),
            // Entries of lists stay, since places of later ones are found by their number.
            Kind::Array(values) => {
                Json::Array(values.iter().map(|value| value.json_without(left_out)).collect())
            }
            Kind::Text(text) => Json::String(text.clone()),
            Kind::Integer(number) => Json::from(*number),
            Kind::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Kind::Bool(value) => Json::Bool(*value),
            Kind::Other(_) => Json::Null,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind_text(&self) -> String {
        match &self.kind {
            Kind::Table(_) => "a table".to_owned(),
            Kind::Array(_) => "a list".to_owned(),
            Kind::Text(text) if text.chars().count() <= 40 => format!("the text \"{}\"", text.escape_debug()),
            Kind::Text(_) => "a text".to_owned(),
            Kind::Integer(number) => format!("the number {number}"),
            Kind::Float(number) => format!("the number {number}"),
            Kind::Bool(value) => format!("{value}"),
            Kind::Other(what) => (*what).to_owned(),
        }
    }
}

fn table_kind(table: &DeTable<'_>) -> Kind {
    Kind::Table(
        table
            .iter()
            .map(|(key, value)| {
                (
                    key.get_ref().to_string(),
                    Entry { key: key.span(), value: tree(value.span(), value.get_ref()) },
                )
            })
            .collect(),
    )
}

fn tree(span: Range<usize>, value: &DeValue<'_>) -> Tree {
    let kind = match value {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or(Kind::Other("a number that is too large"), Kind::Integer),
        DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Kind::Float(number),
            _ => Kind::Other("a number that is not finite"),
        },
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(_) => Kind::Other("a date or time"),
        DeValue::Array(values) => {
            Kind::Array(values.iter().map(|value| tree(value.span(), value.get_ref())).collect())
        }
        DeValue::Table(table) => table_kind(table),
    };
    Tree { span, kind }
}

fn syntax(source: &Source, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().lines().collect::<Vec<_>>().join(": ");
    let found = Diagnostic::error(format!("this is no TOML: {message}"));
    let found = match error.span() {
        Some(span) => found.at(source, span, "here"),
        None => found.at(source, 0..0, ""),
    };
    if message.contains("duplicate key") {
        found.help("write each key once; tables that repeat are written [[interface]], with two brackets")
    } else {
        found.help(
            "write `key = value`; texts stand in double quotes, lists in [ ], tables in { } or under [name]",
        )
    }
}
