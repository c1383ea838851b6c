//! Where an instance runs.

use schemars::JsonSchema;
use serde::Deserialize;

/// Where an instance runs; the host adds it to the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Placement {
    /// Name of this node.
    pub node: String,
    /// Name of the site.
    pub site: String,
    /// Id of the interface.
    pub interface: String,
    /// Id of the cluster.
    pub cluster: String,
}
