//! The central database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A central `PostgreSQL` database that gets the values of all items with `historize`. While it is away they wait in the
/// history. The tables are made when they are missing. A user who may not make any needs, with tables that are there,
/// USAGE on the schema, SELECT on `format`, SELECT, INSERT, UPDATE on `items` and `progress`, SELECT, INSERT on `history`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Historian {
    /// Host name or address of the server, or the folder of its Unix socket.
    #[schemars(length(min = 1, max = 1000))]
    pub host: String,
    /// Port. Default 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Name of the database. Default `twinhub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,
    /// User. Default `twinhub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub user: Option<String>,
    /// The user's password: `{ file = "NAME" }`, relative to this file, or `{ env = "NAME" }`. It is read anew for each
    /// connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretPlace>,
    /// Whether the connection is encrypted. Default `required`.
    #[serde(default)]
    pub tls: Tls,
    /// PEM file of the authority that signed the server's certificate, relative to this file; with `tls = "required"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Schema of the tables. Default `twinhub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub schema: Option<String>,
    /// Which nodes write. Default `active`.
    #[serde(default)]
    pub write: Writers,
    /// Values are gathered for so long. Default `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// No more values are written at once. Default 5000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50_000))]
    pub batch: Option<u32>,
    /// An answer of the server is waited for no longer. Default `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// Where a secret stands.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct SecretPlace {
    /// A file that holds nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An environment variable of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Tls {
    /// Encrypted, with a server whose certificate `ca` signed.
    #[default]
    Required,
    /// In clear text.
    Off,
}

/// Which nodes write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Writers {
    /// Of each group the node that acts.
    #[default]
    Active,
    /// Every node: what one has written the others leave out, as far as they know. Nothing is there twice.
    All,
}
