//! What plugins say when they are asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinhub_model::Timestamp;
use utoipa::ToSchema;

/// What can be addressed on the device of an interface, directly below a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BrowseView {
    /// The nodes.
    pub nodes: Vec<BrowseNode>,
    /// What to ask for to read on, if there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Something on a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BrowseNode {
    /// Its name.
    pub name: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The columns of an items file that address it, if it can be addressed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub row: BTreeMap<String, String>,
    /// What to ask for to see what is below it, if there is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub parent: Option<serde_json::Value>,
}

/// How the instance of an interface is, in the words of its plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiagView {
    /// The interface.
    pub interface: String,
    /// The node whose instance it is.
    pub node: String,
    /// Connections, counters, last errors: what the plugin knows.
    #[schema(value_type = Object)]
    pub diag: serde_json::Map<String, serde_json::Value>,
}

/// Whether the device of an interface answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestView {
    /// The interface.
    #[serde(default)]
    pub interface: String,
    /// The node whose instance tried it.
    #[serde(default)]
    pub node: String,
    /// What was tried, in that order.
    pub steps: Vec<TestStepView>,
}

impl TestView {
    /// Whether nothing that was tried has failed.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != StepOutcome::Failed)
    }
}

/// One step of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestStepView {
    /// What was tried.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What was found, or what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
}

/// How a step of a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Well.
    Ok,
    /// Not well.
    Failed,
    /// It was not tried.
    Skipped,
}

impl StepOutcome {
    /// `ok`, `failed` or `skipped`.
    pub const fn word(self) -> &'static str {
        match self {
            StepOutcome::Ok => "ok",
            StepOutcome::Failed => "failed",
            StepOutcome::Skipped => "skipped",
        }
    }
}

/// What is in reach of an interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiscoverView {
    /// The devices.
    pub found: Vec<FoundView>,
}

/// A device in reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// Its address.
    pub address: String,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to write into the interface's settings to connect to it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// What went over the line of an interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MonitorView {
    /// Number of the last message there was: what to ask for next if `messages` is empty.
    pub last: u64,
    /// Messages, the oldest first. Numbers that are missing between two answers are of messages that are not kept any more.
    pub messages: Vec<MessageView>,
}

/// One message of a line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// Its number; they begin at 1 with each instance of the plugin.
    pub number: u64,
    /// When, RFC 3339.
    pub time: String,
    /// `in`, from the device, or `out`, to it.
    pub direction: String,
    /// The sender's address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The receiver's address, or what it is about: group address, topic, object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// What the configuration calls that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it does there: write, read, response.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The value with its unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The bytes of the value, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw: String,
}

/// What a plugin answers when it is asked for messages.
#[derive(Debug, Deserialize)]
pub(crate) struct Heard {
    last: u64,
    pub(crate) messages: Vec<HeardMessage>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HeardMessage {
    time_ns: i64,
    number: u64,
    direction: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    raw: String,
}

impl Heard {
    pub(crate) fn into_view(self) -> MonitorView {
        let message = |heard: HeardMessage| MessageView {
            number: heard.number,
            time: Timestamp(heard.time_ns).to_string(),
            direction: heard.direction,
            from: heard.from,
            to: heard.to,
            name: heard.name,
            kind: heard.kind,
            value: heard.value,
            raw: heard.raw,
        };
        MonitorView { last: self.last, messages: self.messages.into_iter().map(message).collect() }
    }
}
