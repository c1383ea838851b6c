//! Checks for a plugin's own tests.

use std::path::Path;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use crate::plugin::Plugin;

/// The JSON Schema (2020-12) of a plugin's configuration, as it belongs into `config_schema` of the manifest.
pub fn config_schema<P: Plugin>() -> Json {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<P::Config>().to_value()
}

/// Panics unless the manifest is valid and its `config_schema` is the schema of [`Plugin::Config`]. For tests.
///
/// # Panics
/// With what is wrong, and how to update the file.
pub fn check_manifest<P: Plugin>() {
    let manifest = twinhub_contract::Manifest::parse(P::MANIFEST.as_bytes());
    if let Err(error) = manifest {
        panic!("plugin.json: {error}");
    }
    let json: Json = serde_json::from_str(P::MANIFEST).expect("a manifest that parses is JSON");
    let expected = config_schema::<P>();
    assert!(
        json.get("config_schema") == Some(&expected),
        "config_schema in plugin.json is not the schema of the configuration type; \
         write it with TWINHUB_UPDATE=1 in a test that calls sync_manifest, expected:\n{expected:#}"
    );
}

/// As [`check_manifest`]; with the environment variable `TWINHUB_UPDATE=1` it first writes the schema into the file at
/// `path` (`concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json")`) instead of complaining.
///
/// # Panics
/// As [`check_manifest`], and if the file cannot be read or written.
pub fn sync_manifest<P: Plugin>(path: impl AsRef<Path>) {
    let path = path.as_ref();
    if std::env::var_os("TWINHUB_UPDATE").is_none_or(|value| value != "1") {
        return check_manifest::<P>();
    }
    let text = std::fs::read_to_string(path).expect("plugin.json can be read");
    let mut json: Json = serde_json::from_str(&text).expect("plugin.json is JSON");
    json["config_schema"] = config_schema::<P>();
    let mut updated = serde_json::to_string_pretty(&json).expect("JSON can be written");
    updated.push('\n');
    if updated != text {
        std::fs::write(path, &updated).expect("plugin.json can be written");
    }
    if let Err(error) = twinhub_contract::Manifest::parse(updated.as_bytes()) {
        panic!("plugin.json: {error}");
    }
}
