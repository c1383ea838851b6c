//! One row of the items file as this interface understands it.

use crate::config::Settings;
use crate::jsonpath::{self, Path};
use crate::packet::Qos;
use crate::payload::{Format, Kind};
use crate::topic::{self, Placeholders};

/// Why a row was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topic.
    #[error("item `{path}`, column {column}: {source}")]
    Topic {
        /// The item.
        path: String,
        /// The column.
        column: &'static str,
        /// What is wrong.
        #[source]
        source: topic::Error,
    },
    /// A JSON path.
    #[error("item `{path}`, column {column}: {source}")]
    Json {
        /// The item.
        path: String,
        /// The column.
        column: &'static str,
        /// What is wrong.
        #[source]
        source: jsonpath::Error,
    },
    /// Any other cell.
    #[error("item `{path}`, column {column}: `{cell}` is not possible; help: {help}")]
    Cell {
        /// The item.
        path: String,
        /// The column.
        column: &'static str,
        /// What was written.
        cell: String,
        /// What to write.
        help: &'static str,
    },
}

/// The cells of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    /// Path of the item.
    pub path: &'a str,
    /// `address`: topic or filter.
    pub address: &'a str,
    /// `type`.
    pub kind: &'a str,
    /// Whether the hub reads it.
    pub is_readable: bool,
    /// Whether the hub writes it.
    pub is_writable: bool,
    /// `qos`.
    pub qos: &'a str,
    /// `retain`.
    pub retain: &'a str,
    /// `json`.
    pub json: &'a str,
    /// `format`.
    pub format: &'a str,
    /// `key`.
    pub key: &'a str,
    /// `key_path`.
    pub key_path: &'a str,
    /// `command_topic`.
    pub command_topic: &'a str,
}

/// A row after validation.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Topic or filter that is read, if the item is readable.
    pub filter: Option<String>,
    /// Topic that is written, if the item is writable.
    pub topic: Option<String>,
    /// Type.
    pub kind: Kind,
    /// Payload format.
    pub format: Format,
    /// Place in a JSON payload.
    pub json: Option<Path>,
    /// Quality of service, both ways.
    pub qos: Qos,
    /// Whether written messages are kept.
    pub retain: bool,
    /// Which of the messages of a filter belong to the item.
    pub key: Option<String>,
    /// Where the key stands in the payload; in the topic otherwise.
    pub key_path: Option<Path>,
}

impl Spec {
    /// Checks a row.
    pub fn parse(row: &Row<'_>, settings: &Settings) -> Result<Self, Error> {
        let cell = |column, cell: &str, help| Error::Cell {
            path: row.path.to_owned(),
            column,
            cell: cell.to_owned(),
            help,
        };
        let topic_error = |column| move |source| Error::Topic { path: row.path.to_owned(), column, source };
        let json_error = |column| move |source| Error::Json { path: row.path.to_owned(), column, source };
        let values = Placeholders { placement: &settings.placement, path: Some(row.path) };
        let template = if row.address.is_empty() { &settings.topic } else { row.address };
        let address = topic::expand(template, &values).map_err(topic_error("address"))?;

        let filter = row.is_readable.then(|| address.clone());
        if let Some(filter) = &filter {
            topic::check_filter(filter).map_err(topic_error("address"))?;
        }
        let topic = match (row.is_writable, row.command_topic) {
            (false, _) => None,
            (true, "") => Some((address, "address")),
            (true, template) => {
                let column = "command_topic";
                Some((topic::expand(template, &values).map_err(topic_error(column))?, column))
            }
        };
        if let Some((topic, column)) = &topic {
            topic::check_name(topic).map_err(topic_error(column))?;
        }
        let qos = match row.qos {
            "" => Qos::from_number(settings.qos),
            text => text.parse().ok().and_then(Qos::from_number),
        };
        let qos = qos.ok_or_else(|| cell("qos", row.qos, "write 0, 1 or 2"))?;
        let retain = match row.retain.to_ascii_lowercase().as_str() {
            "" => settings.retain,
            "true" | "1" | "yes" => true,
            "false" | "0" | "no" => false,
            _ => return Err(cell("retain", row.retain, "write true or false")),
        };
        let kind = Kind::parse(row.kind);
        let format = match row.format {
            "" if !row.json.is_empty() => Format::Json,
            "" => kind.format(),
            text => Format::parse(text)
                .ok_or_else(|| cell("format", text, "write raw, number, bool, text or json"))?,
        };
        if !row.json.is_empty() && format != Format::Json {
            return Err(cell("format", row.format, "an item with a json path has format json"));
        }
        let json = match row.json {
            "" => None,
            text => Some(Path::parse(text).map_err(json_error("json"))?),
        };
        let key_path = match row.key_path {
            "" => None,
            text => Some(Path::parse(text).map_err(json_error("key_path"))?),
        };
        let key = (!row.key.is_empty()).then(|| row.key.to_owned());
        if key_path.is_some() && key.is_none() {
            return Err(cell("key", "", "key_path says where the key stands; write the key itself too"));
        }
        let is_wildcard = filter.as_deref().is_some_and(topic::is_wildcard);
        if key.is_some() && key_path.is_none() && !is_wildcard {
            return Err(cell(
                "key",
                row.key,
                "a key selects one of many topics; write + or # in address, or a key_path",
            ));
        }
        Ok(Self {
            filter,
            topic: topic.map(|(topic, _)| topic),
            kind,
            format,
            json,
            qos,
            retain,
            key,
            key_path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let text = r#"{"broker":"b","topic":"{site}/{path}","twinhub":{"node":"main","site":"s","interface":"m","cluster":"c"}}"#;
        let config: crate::config::Config = serde_json::from_str(text).unwrap();
        config.validate("m").unwrap()
    }

    fn row(address: &'static str) -> Row<'static> {
        Row { path: "p/1", address, kind: "f64", is_readable: true, ..Row::default() }
    }

    #[test]
    fn rows_get_defaults_from_settings_and_type() {
        let spec = Spec::parse(&Row { is_writable: true, ..row("") }, &settings()).unwrap();
        assert_eq!((spec.filter.as_deref(), spec.topic.as_deref()), (Some("s/p/1"), Some("s/p/1")));
        assert_eq!((spec.qos, spec.retain, spec.format), (Qos::AtLeastOnce, false, Format::Number));
        let spec = Spec::parse(
            &Row { json: "$.x", command_topic: "cmd/{path}", is_writable: true, ..row("a/+") },
            &settings(),
        )
        .unwrap();
        assert_eq!((spec.topic.as_deref(), spec.format), (Some("cmd/p/1"), Format::Json));
    }

    #[test]
    fn wrong_cells_name_item_and_column() {
        for (row, column) in [
            (row("a/#/b"), "address"),
            (Row { is_writable: true, ..row("a/+") }, "address"),
            (Row { qos: "3", ..row("a") }, "qos"),
            (Row { retain: "maybe", ..row("a") }, "retain"),
            (Row { format: "xml", ..row("a") }, "format"),
            (Row { format: "text", json: "x", ..row("a") }, "format"),
            (Row { json: "$[", ..row("a") }, "json"),
            (Row { key: "x", ..row("a") }, "key"),
            (Row { key_path: "$.id", ..row("a/+") }, "key"),
            (Row { command_topic: "{x}", is_writable: true, ..row("a") }, "command_topic"),
        ] {
            let error = Spec::parse(&row, &settings()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("item `p/1`, column {column}:")), "{error}");
        }
    }
}
