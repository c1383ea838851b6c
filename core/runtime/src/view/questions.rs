//! What plugins say when they are asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
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
