//! A vote alone: what a witness is.

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank};

use crate::ballot::Ballot;
use crate::members::Members;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::setup::{Setup, VoterId};
use crate::stored::StoredState;

/// Promises and grants of a witness for one group.
///
/// A question is answered after the promise in the answer is on disk; until [`Voter::persisted`] says so,
/// the answer is held back.
#[derive(Debug)]
pub struct Voter {
    ballot: Ballot,
    outbox: Outbox,
    stored: StoredState,
    promise_ticket: u64,
    incarnation: Option<Incarnation>,
}

/// What a voter wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoterOutput {
    /// Put this on disk, then call [`Voter::persisted`].
    Persist {
        /// To answer with.
        ticket: u64,
        /// What to store.
        state: StoredState,
    },
    /// Send this.
    Reply {
        /// To whom.
        to: VoterId,
        /// What.
        message: Message,
    },
}

impl Voter {
    /// A voter as it was stored; the default for a first start.
    pub fn new(setup: &Setup, stored: StoredState, now: Moment) -> Voter {
        Voter {
            ballot: Ballot::new(setup, &stored, now),
            outbox: Outbox::default(),
            stored,
            promise_ticket: 0,
            incarnation: None,
        }
    }

    /// The same, telling which process it is: so the nodes see that it is back from a service.
    #[must_use]
    pub fn of_process(self, incarnation: Incarnation) -> Voter {
        Voter { incarnation: Some(incarnation), ..self }
    }

    /// Who votes in this group, as far as this voter knows.
    pub fn members(&self) -> &Members {
        self.ballot.members()
    }

    /// Takes a message of a node.
    pub fn handle(&mut self, from: VoterId, message: &Message, now: Moment) -> Vec<VoterOutput> {
        let mut outputs = Vec::new();
        if let Message::Resigned { node, epoch, incarnation } = *message {
            self.resigned(node, epoch, incarnation, now);
            return outputs;
        }
        if let Message::Heartbeat(heartbeat) = message {
            if let Some(node) = from.node() {
                self.ballot.greet(node, heartbeat.incarnation, now);
            }
            let status = Message::VoterStatus {
                promised: self.stored_promise(),
                holder: self.ballot.holder(now),
                members: self
                    .outbox
                    .is_durable(self.promise_ticket)
                    .then(|| self.ballot.members().told())
                    .flatten(),
                incarnation: self.incarnation,
            };
            outputs.push(VoterOutput::Reply { to: from, message: status });
            return outputs;
        }
        let Some(answer) = self.ballot.answer(from, message, now) else {
            return outputs;
        };
        if answer.changed {
            self.stored.promised = self.ballot.promised();
            self.stored.grant = self.ballot.grant();
            self.stored.members = self.ballot.members().told();
            self.promise_ticket = self.outbox.issue();
            outputs.push(VoterOutput::Persist { ticket: self.promise_ticket, state: self.stored.clone() });
        }
        if let Some((to, message)) = self.outbox.pass(self.promise_ticket, from, answer.reply) {
            outputs.push(VoterOutput::Reply { to, message });
        }
        outputs
    }

    /// The state with this ticket, and all before, are on disk.
    pub fn persisted(&mut self, ticket: u64) -> Vec<VoterOutput> {
        let free = self.outbox.release(ticket);
        free.into_iter().map(|(to, message)| VoterOutput::Reply { to, message }).collect()
    }

    /// The word that a process is dead and reaped, or that it stopped in this epoch: its grant is free.
    pub fn resigned(&mut self, node: NodeRank, epoch: Epoch, incarnation: Incarnation, now: Moment) -> bool {
        self.ballot.resign(node, epoch, incarnation, now)
    }

    /// Who holds a grant that still runs.
    pub fn holder(&self, now: Moment) -> Option<NodeRank> {
        self.ballot.holder(now)
    }

    /// The greatest epoch promised, on disk or about to be.
    pub fn promised(&self) -> Epoch {
        self.ballot.promised()
    }

    /// What was last handed out to be stored.
    pub fn stored(&self) -> &StoredState {
        &self.stored
    }

    /// How many answers were given up because the disk is slow.
    pub fn dropped_answers(&self) -> u64 {
        self.outbox.dropped()
    }

    /// A promise that is not on disk may be forgotten, so it is not told to those who did not ask for it.
    fn stored_promise(&self) -> Epoch {
        if self.outbox.is_durable(self.promise_ticket) { self.ballot.promised() } else { Epoch::NONE }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::setup::tests::pair_with_witness;

    #[test]
    fn an_answer_waits_for_the_disk() {
        let mut voter =
            Voter::new(&pair_with_witness(VoterId::Witness), StoredState::default(), Moment::ZERO);
        let from = VoterId::Node(NodeRank(0));
        let epoch = Epoch::new(1, NodeRank(0));
        let ask = |round| Message::Campaign {
            epoch,
            round,
            incarnation: Incarnation(1),
            token: None,
            members: None,
        };
        let outputs = voter.handle(from, &ask(1), Moment::ZERO);
        let [VoterOutput::Persist { ticket, state }] = outputs.as_slice() else {
            panic!("the promise is stored before anything is said: {outputs:?}");
        };
        assert_eq!(state.promised, epoch);
        assert_eq!(voter.handle(from, &ask(2), Moment::ZERO), vec![], "no answer overtakes the disk");
        let answers = voter.persisted(*ticket);
        assert_eq!(answers.len(), 2);
        let renew = Message::Renew { epoch, round: 3, incarnation: Incarnation(1), members: None };
        assert_eq!(
            voter.handle(from, &renew, Moment::ZERO),
            vec![VoterOutput::Reply { to: from, message: Message::Grant { epoch, round: 3, members: None } }],
            "a renewal changes nothing that must be stored"
        );
    }

    proptest! {
        /// Whatever is asked, a promise in an answer is the greatest that was ever in one.
        #[test]
        fn promises_in_answers_never_go_back(
            questions in proptest::collection::vec((0u8..3, 0u64..6, 0u8..3, any::<bool>(), 0u64..900), 1..80),
        ) {
            let setup = pair_with_witness(VoterId::Witness);
            let mut voter = Voter::new(&setup, StoredState::default(), Moment::ZERO);
            let (mut now, mut told, mut disk) = (0, Epoch::NONE, StoredState::default());
            for (node, counter, kind, is_synced, wait) in questions {
                now += wait;
                let epoch = Epoch::new(counter, NodeRank(node));
                let incarnation = Incarnation(1);
                let question = match kind {
                    0 => Message::PreVote { epoch, round: 1, members: None, asker: Some(incarnation) },
                    1 => Message::Renew { epoch, round: 1, incarnation, members: None },
                    _ => Message::Campaign { epoch, round: 1, incarnation, token: None, members: None },
                };
                let mut outputs = voter.handle(VoterId::Node(NodeRank(node)), &question, Moment::from_millis(now));
                let mut answers = Vec::new();
                while let Some(output) = outputs.pop() {
                    match output {
                        VoterOutput::Persist { ticket, state } if is_synced => {
                            disk = state;
                            answers.extend(voter.persisted(ticket));
                        }
                        VoterOutput::Persist { .. } => {}
                        VoterOutput::Reply { .. } => answers.push(output),
                    }
                }
                for answer in answers {
                    if let VoterOutput::Reply { message: Message::Grant { epoch, .. }, .. } = answer {
                        prop_assert!(epoch >= told && disk.promised >= epoch);
                        told = told.max(epoch);
                    }
                }
                if !is_synced {
                    // It loses power before the disk was done, and comes back.
                    voter = Voter::new(&setup, disk.clone(), Moment::from_millis(now));
                    prop_assert!(voter.promised() >= told, "what was told is remembered");
                }
            }
        }
    }
}
