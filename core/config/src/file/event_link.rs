//! The form of links for events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of one interface go to another one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventLink {
    /// The interface that gives them.
    pub from: String,
    /// Its stream, one of those that its plugin declares.
    #[schemars(length(min = 1, max = 64))]
    pub stream: String,
    /// The interface that takes them, in the same group.
    pub to: String,
}
