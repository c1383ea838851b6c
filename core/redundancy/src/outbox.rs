//! Messages that wait for the disk.

use std::collections::VecDeque;

use crate::message::Message;
use crate::rule::Rule;
use crate::setup::VoterId;

/// Numbers the states to be stored and holds back the messages that depend on them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    issued: u64,
    durable: u64,
    held: VecDeque<(u64, VoterId, Message)>,
    dropped: u64,
}

impl Outbox {
    /// A number for the next state to be stored.
    pub(crate) fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }

    /// Whether the state with this number, and all before, are on disk.
    pub(crate) fn is_durable(&self, ticket: u64) -> bool {
        self.durable >= ticket || !Rule::DiskBeforeWord.holds()
    }

    /// Gives the message back if it may go out at once, keeps it otherwise.
    pub(crate) fn pass(&mut self, ticket: u64, to: VoterId, message: Message) -> Option<(VoterId, Message)> {
        if self.is_durable(ticket) {
            return Some((to, message));
        }
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
            self.dropped += 1;
        }
        self.held.push_back((ticket, to, message));
        None
    }

    /// Notes that states up to this number are on disk; gives the messages that may go out.
    pub(crate) fn release(&mut self, ticket: u64) -> Vec<(VoterId, Message)> {
        // A number that was never issued proves nothing.
        if ticket > self.issued || ticket <= self.durable {
            return Vec::new();
        }
        self.durable = ticket;
        let (free, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(needs, ..)| *needs <= ticket);
        self.held = held;
        let free: VecDeque<(u64, VoterId, Message)> = free;
        free.into_iter().map(|(_, to, message)| (to, message)).collect()
    }

    /// How many messages were given up because the disk is slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// A disk that is this far behind makes answers that are too old to count.
pub(crate) const HELD_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use twinhub_model::Epoch;

    use super::*;

    fn grant(round: u64) -> Message {
        Message::Grant { epoch: Epoch(256), round, members: None }
    }

    #[test]
    fn a_message_waits_for_its_state() {
        let mut outbox = Outbox::default();
        assert!(outbox.pass(0, VoterId::Witness, grant(1)).is_some());
        let (first, second) = (outbox.issue(), outbox.issue());
        assert!(outbox.pass(first, VoterId::Witness, grant(2)).is_none());
        assert!(outbox.pass(second, VoterId::Witness, grant(3)).is_none());
        assert_eq!(outbox.release(99), vec![]);
        assert_eq!(outbox.release(first), vec![(VoterId::Witness, grant(2))]);
        assert_eq!(outbox.release(second), vec![(VoterId::Witness, grant(3))]);
        assert!(outbox.pass(second, VoterId::Witness, grant(4)).is_some());
    }

    #[test]
    fn a_dead_disk_costs_bounded_memory_and_is_counted() {
        let mut outbox = Outbox::default();
        let ticket = outbox.issue();
        for round in 0..HELD_MAX as u64 + 3 {
            assert!(outbox.pass(ticket, VoterId::Witness, grant(round)).is_none());
        }
        assert_eq!(outbox.dropped(), 3);
        assert_eq!(outbox.release(ticket).len(), HELD_MAX);
    }
}
