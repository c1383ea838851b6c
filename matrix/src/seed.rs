//! The interfaces and modules the matrix has rows for, whether or not a plugin exists.

use serde::{Deserialize, Serialize};
use twinhub_contract::manifest::Possible;

/// The file `matrix/seed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Where the claims come from.
    pub source: String,
    /// The rows in the order of the matrix.
    pub rows: Vec<SeedRow>,
}

/// One interface or module with what an established product claims for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRow {
    /// Short name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Its part of the matrix.
    pub section: Section,
    /// Whether main and backup mean anything for it.
    pub relevant: bool,
    /// Whether that product can do it.
    pub possible: Possible,
    /// What it says about it, restated.
    #[serde(default)]
    pub note: String,
    /// Id of the plugin that is this row, built or planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
}

/// A part of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// What people use to look at it.
    Client,
    /// Interfaces to devices and systems.
    Field,
    /// Modules that work on values.
    Module,
    /// Plugins to learn from. They have no row in the seed.
    Example,
}

impl Section {
    /// All of them, in the order of a page.
    pub const ALL: [Section; 4] = [Section::Field, Section::Module, Section::Client, Section::Example];

    /// Heading.
    pub const fn title(self) -> &'static str {
        match self {
            Section::Client => "Clients",
            Section::Field => "Interfaces",
            Section::Module => "Modules",
            Section::Example => "Examples",
        }
    }
}
