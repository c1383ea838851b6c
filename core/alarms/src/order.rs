//! What an operator orders.

use std::sync::Arc;
use std::time::Duration;

use crate::id::OccurrenceId;

/// Nobody remembers for longer why an alarm is on the shelf.
pub const SHELVE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What an operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Take note.
    Acknowledge {
        /// Of what.
        target: Target,
        /// What they wrote.
        comment: String,
    },
    /// Put a rule out of sight for a time.
    Shelve {
        /// The rule.
        rule: String,
        /// For how long.
        span: Duration,
        /// Why.
        comment: String,
    },
    /// Take it off the shelf.
    Unshelve {
        /// The rule.
        rule: String,
    },
    /// Put a rule out of sight until further notice.
    Suppress {
        /// The rule.
        rule: String,
        /// Why.
        comment: String,
    },
    /// Bring it back.
    Unsuppress {
        /// The rule.
        rule: String,
    },
}

/// What is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything of a rule.
    Rule(String),
    /// One occurrence.
    Occurrence(OccurrenceId),
    /// Everything in sight.
    All,
}

impl Target {
    /// What this text names: an occurrence if it looks like one, else a rule.
    pub fn parse(text: &str) -> Target {
        OccurrenceId::parse(text).map_or_else(|| Target::Rule(text.to_owned()), Target::Occurrence)
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Occurrences that it acknowledged; empty if all were already, or it was about a rule.
    pub acknowledged: Vec<OccurrenceId>,
    /// Whether it changed anything. Repeating an order changes nothing and is no fault.
    pub is_change: bool,
}

/// Why an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No rule of this name is configured, and nothing is known of one.
    #[error("no alarm is called `{rule}`")]
    UnknownRule {
        /// The name.
        rule: Arc<str>,
    },
    /// The occurrence is not kept, or never was.
    #[error("no occurrence of an alarm is called `{id}`: it may be so old that it is not kept any more")]
    UnknownOccurrence {
        /// The name.
        id: OccurrenceId,
    },
    /// Too long, or no time at all.
    #[error("an alarm is shelved for a second up to {} days, not for {span:?}", SHELVE_MAX.as_secs() / 86_400)]
    Span {
        /// The time.
        span: Duration,
    },
    /// Only the node that acts takes orders.
    #[error("this node does not act")]
    NotActing,
}
