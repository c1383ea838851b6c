//! The declaration of a plugin: JSON in a section of the library that is read without running code.
//!
//! The manifest is the one place where a plugin says what it is and what main and backup mean for it. The hub, the
//! command line and the compatibility matrix use only this. Unknown fields are tolerated, so that a newer plugin can
//! declare more; what is known is checked, and [`Manifest::parse`] names everything that is wrong at once.

mod validation;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::constants::MANIFEST_BYTES_MAX;

pub use words::{
    AckAfter, Delivery, EventsIn, Exclusive, Fence, Hosting, Items, Kind, Listeners, Mode, Need, OnUnquorate,
    Order, Outputs, Possible, Publish, Reads, Recovery, State, Writes,
};

/// The declaration of a plugin, checked.
///
/// ```
/// use twinhub_contract::Manifest;
/// let error = Manifest::parse(br#"{"manifest": 1}"#).unwrap_err();
/// assert!(error.to_string().contains("missing field `id`"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the manifest: 1.
    pub manifest: u32,
    /// Global name of the plugin, reverse DNS: `org.twinhub.modbus`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// `major.minor.patch`.
    pub version: String,
    /// SPDX expression.
    pub license: String,
    /// One sentence on what it does.
    #[serde(default)]
    pub description: String,
    /// Contract versions it works with.
    pub abi: AbiRange,
    /// How it was built, where the build states it.
    #[serde(default)]
    pub build: Build,
    /// Interface to the outside, or module of the hub.
    pub kind: Kind,
    /// What it speaks. At least one for an interface.
    #[serde(default)]
    pub protocols: Vec<Protocol>,
    /// JSON Schema (2020-12) of an instance's configuration.
    pub config_schema: Json,
    /// JSON Schema (2020-12) of the plugin's own item columns; every property is a string.
    pub item_address_schema: Json,
    /// What main and backup mean for it.
    pub mb: MainBackup,
    /// The streams of events that it gives and takes (`twinhub.events/1`).
    #[serde(default, skip_serializing_if = "Events::are_none")]
    pub events: Events,
    /// What it can do; one row of the matrix each.
    pub capabilities: Vec<Capability>,
    /// Where it may run.
    pub hosting: HostingRules,
    /// Threads it uses.
    #[serde(default)]
    pub runtime: Runtime,
}

/// Oldest and newest contract version, as `major.minor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbiRange {
    /// Oldest.
    pub min: String,
    /// Newest.
    pub max: String,
}

/// How a library was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Target triple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Build profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A protocol and its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Name, as the standard writes it.
    pub name: String,
    /// Versions or profiles.
    #[serde(default)]
    pub versions: Vec<String>,
}

/// What main and backup mean for a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MainBackup {
    /// Whether only one of the nodes may act. `false`: the plugin runs on both, untouched by switches.
    pub relevant: bool,
    /// Whether it can run on a main and a backup.
    pub possible: Possible,
    /// Why, in one or two sentences. Required unless `possible` is `yes`.
    #[serde(default)]
    pub why: String,
    /// What it can be while standby.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// What it is while standby unless configured otherwise.
    pub default_standby: Mode,
    /// Goal for the time from the loss of the main to the first action, per mode.
    #[serde(default)]
    pub takeover_target_ms: BTreeMap<Mode, u64>,
    /// What two nodes cannot hold at once. Excludes the mode `hot`.
    #[serde(default)]
    pub exclusive: Vec<Exclusive>,
    /// What it does while not active.
    pub inactive: Inactive,
    /// State that moves to the other node.
    pub state: State,
    /// Version of that state. Required unless `state` is `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_schema: Option<u32>,
    /// Largest size of that state. Required unless `state` is `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes_max: Option<u64>,
    /// What the writes to it are.
    #[serde(default)]
    pub delivery: Delivery,
    /// What keeps a node that lost its lease from acting on the device.
    pub fence: Fence,
    /// Longest time from the check of a permit to the effect on the device. Required for the fence `bounded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max_ms: Option<u64>,
    /// How inputs that arrived during a takeover are recovered.
    pub recovery: Recovery,
    /// Whether the standby can receive the same inputs at the same time.
    pub parallel_input: bool,
    /// When an input is acknowledged to its sender.
    #[serde(default)]
    pub ack_after: AckAfter,
    /// What it does on a node that became active without a majority.
    #[serde(default)]
    pub on_unquorate: OnUnquorate,
    /// When its gate opens, relative to others.
    #[serde(default)]
    pub order: Order,
    /// What can be lost in a takeover, in words. Required if relevant.
    #[serde(default)]
    pub loss_window: String,
    /// Where the knowledge of the protocol comes from, and how far it is to be trusted.
    #[serde(default)]
    pub source_confidence: String,
}

/// What a plugin does while not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inactive {
    /// Reading from the device.
    pub reads: Reads,
    /// Values it has.
    pub publish: Publish,
    /// Writes from the hub.
    pub writes: Writes,
    /// What it sends by itself.
    pub outputs: Outputs,
    /// Events that arrive.
    #[serde(default)]
    pub events_in: EventsIn,
    /// Ports others connect to.
    #[serde(default)]
    pub listeners: Listeners,
    /// Its items.
    #[serde(default)]
    pub items: Items,
}

/// Streams of events, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Those that it gives.
    #[serde(default)]
    pub gives: Vec<String>,
    /// Those that it takes.
    #[serde(default)]
    pub takes: Vec<String>,
}

impl Events {
    /// Whether it neither gives nor takes any.
    pub fn are_none(&self) -> bool {
        self.gives.is_empty() && self.takes.is_empty()
    }
}

/// One thing a plugin can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Short name.
    pub name: String,
    /// What main and backup mean for it.
    #[serde(default)]
    pub mb: String,
    /// What it does while inactive.
    #[serde(default)]
    pub inactive: String,
    /// Known limits.
    #[serde(default)]
    pub limits: String,
}

/// Where a plugin may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostingRules {
    /// Possible places.
    pub allowed: Vec<Hosting>,
    /// The best one.
    pub recommended: Hosting,
    /// Why.
    #[serde(default)]
    pub reasons: String,
    /// What a sandbox has to leave open.
    #[serde(default)]
    pub needs: Vec<Need>,
}

/// Threads a plugin uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Runtime {
    /// One thread per instance.
    #[default]
    Dedicated,
    /// One thread for all instances of the library.
    Shared,
    /// Several threads per instance, written `multi(2)`.
    Multi(u16),
    /// No threads of its own.
    None,
}

impl TryFrom<String> for Runtime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "dedicated" => Ok(Self::Dedicated),
            "shared" => Ok(Self::Shared),
            "none" => Ok(Self::None),
            other => other
                .strip_prefix("multi(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|count| count.parse().ok())
                .filter(|count| *count > 0)
                .map(Self::Multi)
                .ok_or_else(|| format!("`{text}` is not dedicated, shared, multi(n) or none")),
        }
    }
}

impl From<Runtime> for String {
    fn from(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Dedicated => "dedicated".to_owned(),
            Runtime::Shared => "shared".to_owned(),
            Runtime::Multi(count) => format!("multi({count})"),
            Runtime::None => "none".to_owned(),
        }
    }
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Longer than [`MANIFEST_BYTES_MAX`].
    #[error("manifest of {bytes} bytes is longer than {MANIFEST_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, a field is missing, or a word is not one of those allowed.
    #[error("manifest cannot be read: {source}")]
    Json {
        /// What and where.
        #[from]
        source: serde_json::Error,
    },
    /// Fields contradict each other or make no sense.
    #[error("manifest of `{id}`: {}", problems.join("; "))]
    Invalid {
        /// Name of the plugin.
        id: String,
        /// Every problem found, each naming its field.
        problems: Vec<String>,
    },
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// A [`ManifestError`] that names what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        let problems = validation::problems(&manifest);
        if problems.is_empty() {
            Ok(manifest)
        } else {
            Err(ManifestError::Invalid { id: manifest.id, problems })
        }
    }

    /// Names of the plugin's own item columns, in alphabetical order.
    pub fn item_columns(&self) -> Vec<&str> {
        self.item_address_schema
            .get("properties")
            .and_then(Json::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    /// Those of them without which no row makes sense.
    pub fn required_item_columns(&self) -> Vec<&str> {
        let required = self.item_address_schema.get("required").and_then(Json::as_array);
        required.into_iter().flatten().filter_map(Json::as_str).collect()
    }
}

impl AbiRange {
    /// Oldest and newest as `(major, minor)`, `None` if not written `major.minor`.
    pub fn bounds(&self) -> Option<((u16, u16), (u16, u16))> {
        Some((version_pair(&self.min)?, version_pair(&self.max)?))
    }
}

fn version_pair(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
