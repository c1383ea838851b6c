//! Who votes, as interfaces show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who votes in a group.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct VotersView {
    /// How many vote.
    pub voting: u64,
    /// How many of them are a majority.
    pub needed: u64,
    /// How many the configuration names.
    pub configured: u64,
    /// Counts the changes.
    pub revision: u64,
    /// Whether a change is under way and does not count yet.
    pub changing: bool,
    /// Who does not vote although the configuration names it.
    pub shrunk: Vec<ShrunkView>,
}

/// A voter that was shrunk.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ShrunkView {
    /// The node, or `witness`.
    pub name: String,
    /// Why: `drained`, `stopped`, `in service` or `fenced by an operator`.
    pub ground: String,
    /// Whether it stays out until an operator orders otherwise.
    pub hold: bool,
    /// What it waits for before it votes again; only the active node knows.
    pub waits_for: Option<String>,
}
