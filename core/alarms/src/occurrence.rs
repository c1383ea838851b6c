//! One time that an alarm was raised.

use crate::change::{Acknowledgment, Clear, Raise};
use crate::id::OccurrenceId;

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
