//! Where the code of a plugin runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an interface's plugin runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Hosting {
    /// Plugins of this product in the hub's process, others in a process of their own.
    #[default]
    Auto,
    /// In the hub's process: a crash of it is a crash of the node.
    Inproc,
    /// In a process of its own: a crash of it is a fault of the interface.
    Isolated,
}
