//! The form of `plugins.lock`: what may be written, and the source of its schema. These types decide nothing.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::hosting::Hosting;

/// Plugin libraries that this site trusts; the same file on every node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Who signs plugins.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub(crate) publisher: Vec<Publisher>,
    /// The libraries that may be loaded.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub(crate) plugin: Vec<Plugin>,
}

/// Who signs plugins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publisher {
    /// The name by which `plugin` tables refer to it.
    #[schemars(length(min = 1, max = 100))]
    pub(crate) name: String,
    /// Its public key: the second line of a file `minisign.pub`.
    #[schemars(length(min = 1, max = 100))]
    pub(crate) key: String,
}

/// One library.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plugin {
    /// The id of its manifest, as `twinhub plugin info` shows it.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) id: String,
    /// The version of its manifest.
    #[schemars(length(min = 1, max = 100))]
    pub(crate) version: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    #[schemars(length(min = 64, max = 64))]
    pub(crate) sha256: String,
    /// The publisher whose signature the library must have.
    pub(crate) publisher: Option<String>,
    /// Where its instances run; `auto` if left out.
    pub(crate) hosting: Option<Hosting>,
    /// Whether it may run without a signature, isolated.
    pub(crate) allow_unsigned: Option<bool>,
}

/// JSON Schema of `plugins.lock`.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(File)
}
