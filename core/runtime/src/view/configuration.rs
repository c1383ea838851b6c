//! Revisions of the configuration, and backups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The configuration and its revisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationView {
    /// The revision in force; none before the first one was applied.
    pub revision: Option<u64>,
    /// Its hash, hexadecimal.
    pub hash: Option<String>,
    /// Hash of what this node runs.
    pub running: String,
    /// What an operator has to do, if anything.
    pub notes: Vec<String>,
    /// Revisions that are kept, oldest first.
    pub revisions: Vec<RevisionView>,
    /// What nodes changed alone and is not in force.
    pub conflicts: Vec<RevisionView>,
}

/// One revision of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Its number.
    pub revision: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Who applied it.
    pub author: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub message: String,
    /// The revision whose files these are again.
    pub rolled_back_to: Option<u64>,
    /// Applied while no majority of the nodes had it on disk.
    pub alone: bool,
    /// The node that had it, of a conflict.
    pub node: Option<String>,
    /// Names and sizes of its files.
    pub files: Vec<FileView>,
}

/// A file of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Its path beside `twinhub.toml`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A configuration that was applied, or could be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedView {
    /// Its revision; that in force if nothing differs, none if it was only tried.
    pub revision: Option<u64>,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Whether anything differs from the revision in force.
    pub changed: bool,
    /// Whether a majority of the nodes has it on disk.
    pub confirmed: bool,
    /// Nodes that run another one until they are restarted.
    pub restart: Vec<String>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

/// What became of an order to take the configuration in without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadView {
    /// The node.
    pub node: String,
    /// Hash of what it runs now, hexadecimal.
    pub hash: String,
    /// Whether it runs what its next start would run.
    pub loaded: bool,
    /// What differed.
    pub differs: Vec<String>,
    /// What of it needs a restart; if there is anything, nothing was taken in.
    pub restart: Vec<String>,
}

/// A backup on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupView {
    /// Name of the file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was made, RFC 3339.
    pub at: String,
    /// The site.
    pub site: String,
    /// The node that made it.
    pub node: String,
    /// Version of the product that made it.
    pub version: String,
    /// Values of the past in it.
    #[serde(default)]
    pub history_rows: u64,
    /// Whether older values were left out for their size.
    #[serde(default)]
    pub history_is_cut: bool,
    /// Whether the newest values were left out, since the node could not bring them into files.
    #[serde(default)]
    pub history_is_behind: bool,
    /// Why it cannot be used.
    pub fault: Option<String>,
}
