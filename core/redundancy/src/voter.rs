//! todo
use crate::{Message, Setup, StoredState, VoterId};
use twinhub_model::Moment;

/// Promises and grants alone.
#[derive(Debug)]
pub struct Voter {
    stored: StoredState,
}
/// What a voter wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterOutput {
    /// Send this.
    Reply {
        /// To whom.
        to: VoterId,
        /// What.
        message: Message,
    },
    /// Put this on disk, then call [`Voter::persisted`].
    Persist {
        /// To answer with.
        ticket: u64,
        /// What to store.
        state: StoredState,
    },
}
#[expect(missing_docs, reason = "")]
impl Voter {
    pub fn new(_setup: &Setup, stored: StoredState, _now: Moment) -> Voter {
        Voter { stored }
    }
    pub fn handle(&mut self, _from: VoterId, _message: &Message, _now: Moment) -> Vec<VoterOutput> {
        vec![]
    }
    pub fn persisted(&mut self, _ticket: u64) -> Vec<VoterOutput> {
        vec![]
    }
    pub fn stored(&self) -> &StoredState {
        &self.stored
    }
}
