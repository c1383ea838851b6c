//! One time that an alarm was raised.

use std::fmt;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use twinhub_model::Timestamp;

use crate::bytes::{text, time};
use crate::change::{Acknowledgment, Clear, Raise};

/// An occurrence's name: the rule, and when the item came to be as it must not be. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct OccurrenceId {
    /// The time of the sample that began it.
    #[cbor(n(0), with = "time")]
    pub onset: Timestamp,
    /// The rule.
    #[cbor(n(1), with = "text")]
    pub rule: Arc<str>,
}

/// What is known of an occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occurrence {
    /// How it was raised; `None` while only what came of it is known.
    pub raise: Option<Raise>,
    /// How it ended.
    pub clear: Option<Clear>,
    /// Who took note of it.
    pub acknowledgment: Option<Acknowledgment>,
    /// Another occurrence that stands for this one, too: both sides of a split raised the same.
    pub joined: Option<OccurrenceId>,
}

/// How an occurrence stands, in the words of ISA-18.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Raised, and nobody took note.
    Unacknowledged,
    /// Raised, and somebody took note.
    Acknowledged,
    /// Over, and nobody took note.
    Returned,
    /// Over and done with.
    Normal,
}

impl OccurrenceId {
    /// From its text form, `rule@nanoseconds`.
    pub fn parse(text: &str) -> Option<OccurrenceId> {
        let (rule, onset) = text.rsplit_once('@')?;
        let onset = onset.parse().ok().map(Timestamp)?;
        (!rule.is_empty()).then(|| OccurrenceId { onset, rule: rule.into() })
    }
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.rule, self.onset.0)
    }
}

impl Occurrence {
    /// Whether the alarm is raised.
    pub const fn is_active(&self) -> bool {
        self.raise.is_some() && self.clear.is_none() && self.joined.is_none()
    }

    /// Whether somebody still has to take note of it.
    pub fn needs_ack(&self) -> bool {
        self.acknowledgment.is_none()
            && self.joined.is_none()
            && self.raise.as_ref().is_some_and(|raise| raise.needs_ack)
    }

    /// Whether an operator still has it before him.
    pub fn is_open(&self) -> bool {
        self.is_active() || self.needs_ack()
    }

    /// How it stands.
    pub fn state(&self) -> State {
        match (self.is_active(), self.needs_ack()) {
            (true, true) => State::Unacknowledged,
            (true, false) => State::Acknowledged,
            (false, true) => State::Returned,
            (false, false) => State::Normal,
        }
    }
}

impl State {
    /// `unacknowledged`, `acknowledged`, `returned` or `normal`.
    pub const fn word(self) -> &'static str {
        match self {
            State::Unacknowledged => "unacknowledged",
            State::Acknowledged => "acknowledged",
            State::Returned => "returned",
            State::Normal => "normal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occurrence_is_found_again_by_its_text() {
        let id = OccurrenceId { onset: Timestamp(1_763_744_635_123_456_789), rule: "plc1/a@b:high".into() };
        assert_eq!(OccurrenceId::parse(&id.to_string()), Some(id));
        for text in ["", "@", "a@", "@5", "a@5x", "boiler"] {
            assert_eq!(OccurrenceId::parse(text), None, "{text:?}");
        }
    }
}
