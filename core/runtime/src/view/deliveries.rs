//! Events between interfaces, as interfaces of the hub show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event that one interface gave, for one that it is for. What it says is not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its name for `retry` and `drop`, the same on every node; empty for an event that is for nobody.
    pub id: String,
    /// The group.
    pub group: String,
    /// `waiting`, `dead` (it cannot be delivered) or `unlinked` (no link leads on from its stream).
    pub state: String,
    /// The interface that gave it.
    pub from: String,
    /// Its stream.
    pub stream: String,
    /// Its id in the stream, as the plugin gave it.
    pub event: String,
    /// The interface that it is for; empty if there is none.
    pub to: String,
    /// What it is about.
    pub key: String,
    /// How long what it says is.
    pub bytes: u64,
    /// When it was given, RFC 3339.
    pub given_at: String,
    /// Since when it is dead, RFC 3339.
    #[serde(default)]
    pub dead_at: Option<String>,
    /// Why it is dead.
    #[serde(default)]
    pub cause: String,
}

/// What an interface has to do with events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventCounts {
    /// Events that it gave on this node since start.
    pub given: u64,
    /// Events that it gave once more, which count once.
    pub doubled: u64,
    /// How often it was told to wait with an event, since somebody that it is for had no room.
    pub refused: u64,
    /// Events that it has done on this node since start.
    pub delivered: u64,
    /// Events that it was brought once more.
    pub redelivered: u64,
    /// Events that wait for it, the same on every node.
    pub waiting: u64,
    /// Events that cannot be delivered to it, the same on every node.
    pub dead: u64,
}
