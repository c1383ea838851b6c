//! The floating address as interfaces show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An address that moves with the role of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FloatingView {
    /// The address with the length of its network.
    pub address: String,
    /// Network device on this node, once it is known.
    pub device: String,
    /// On this node: `released checking held duplicate fault`.
    pub state: String,
    /// What is wrong and what to do.
    pub error: Option<String>,
    /// How often another host claimed the address since start.
    pub conflicts: u64,
    /// How often this node took the address since start.
    pub taken: u64,
}
