//! What happened, put into words only when somebody reads it.

use std::collections::VecDeque;
use std::fmt;

use twinhub_redundancy::{NodeState, Reason, VoterId};

use crate::field::instant;

/// The last lines of what happened.
#[derive(Debug, Default)]
pub(crate) struct Story(VecDeque<(u64, Line)>);

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Line {
    /// In words.
    Text(String),
    /// A state that changed.
    State { id: VoterId, from: NodeState, to: NodeState, reason: Reason },
    /// Something else that a node said, with its reason.
    Said { id: VoterId, what: &'static str, reason: Reason },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Text(text) => f.write_str(text),
            Line::State { id, from, to, reason } => write!(f, "{id} {from} -> {to}: {reason}"),
            Line::Said { id, what, reason } => write!(f, "{id} {what}: {reason}"),
        }
    }
}

impl Story {
    pub(crate) fn tell(&mut self, now: u64, line: Line) {
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, line));
    }

    /// The last lines.
    pub(crate) fn last(&self, lines: usize) -> String {
        let skip = self.0.len().saturating_sub(lines);
        let lines = self.0.iter().skip(skip).map(|(at, line)| format!("{:>14} {line}", instant(*at)));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// More than anybody reads of a failure.
const LINES_MAX: usize = 2000;
