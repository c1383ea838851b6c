//! Events as interfaces show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something an operator may want to read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number on this node; pass it as `after` to read on.
    pub id: u64,
    /// When, RFC 3339.
    pub at: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// What it is about.
    pub source: String,
    /// Stable code such as `TH-PLUGIN-FAULT`.
    pub code: String,
    /// What happened and what to do.
    pub text: String,
    /// Where it happened.
    #[serde(default)]
    pub node: String,
    /// In which group.
    #[serde(default)]
    pub group: String,
    /// Its name, the same on every node.
    #[serde(default)]
    pub key: String,
    /// The occurrence of an alarm that it tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
}

/// Events in the stream over WebSocket, for who subscribed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventsFrame {
    /// `events` or `alarms`.
    pub topic: String,
    /// Pass this as `from` to go on behind them, on this or another node.
    pub cursor: String,
    /// The events, in the order in which they came.
    pub events: Vec<EventView>,
    /// Events before these are gone: this client came, or read, too late for them. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
}

/// A part of the list of events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct EventsPage {
    /// The rows: in the order in which they came, or the newest first if asked for that.
    pub rows: Vec<EventView>,
    /// Pass this as `after` to read on, on this node; the same as before if there was nothing new.
    pub next: u64,
    /// Pass this as `cursor` to read on, on this or another node; absent at the end of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Events behind the `cursor` or `after` of the question are gone: it came too late for them. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
}
