//! What an owner decides where no rule can: who acts without a majority, and whether the role goes back.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a pair without a witness does when the other node is silent. No rule can be both safe and
/// automatic there; the choice is the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A standby never promotes itself; an operator does. The active node stays active alone.
    Manual,
    /// A standby promotes itself if its reference hosts and most field probes answer; an active node
    /// that is alone and cannot say the same closes its gates.
    #[default]
    Evidence,
    /// A standby promotes itself on silence; the active node stays active alone.
    Availability,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::Manual => "manual",
            Policy::Evidence => "evidence",
            Policy::Availability => "availability",
        })
    }
}

/// Whether the role goes back to the preferred node when that is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failback {
    /// By a planned switchover, once the preferred node was a caught-up standby for this long.
    Auto {
        /// How long.
        hold_off: Duration,
    },
    /// Only by an operator.
    Manual,
}
