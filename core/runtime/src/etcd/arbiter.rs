//! One group's ballot in one key of etcd, as one node's adapter sees it. No socket and no clock in here.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Incarnation, Moment, NodeRank};
use twinhub_redundancy::{Grant, Message, SharedMembers, StoredState, Voter, VoterId, VoterOutput};

use crate::witness::{LEASE_MAX, voter_setup};

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Paper {
    #[n(0)]
    promised: Epoch,
    #[n(1)]
    grant: Option<Grant>,
    /// How long the grant lasts, from the holder's configuration.
    #[n(2)]
    lease_ms: u32,
    /// Makes every write unlike any other, also across a restored backup: the writer, its process, a count.
    #[n(3)]
    writer: (u8, u64, u64),
    /// Who votes, if that ever changed.
    #[n(4)]
    members: Option<SharedMembers>,
}

/// What must still be true when a write is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compare {
    /// The key does not exist.
    Absent,
    /// The key has this revision and this value.
    Same { revision: u64, value: Vec<u8> },
}

/// What to do with a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing can be said.
    Silent,
    /// The answer.
    Say(Message),
    /// Write this; then tell [`Arbiter::written`], or [`Arbiter::lost`] for anything but a clear yes.
    Write { compare: Compare, value: Vec<u8> },
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per group, and it is known nearly always")]
enum View {
    /// Nothing is known: read first.
    Unknown,
    Known {
        compare: Compare,
        voter: Voter,
    },
}

/// A voter whose disk is a key of etcd.
#[derive(Debug)]
pub(super) struct Arbiter {
    group: String,
    cluster: u64,
    me: NodeRank,
    incarnation: Incarnation,
    lease: Duration,
    view: View,
    /// The greatest promise ever seen: a key that lost it is not believed.
    floor: Epoch,
    /// The newest record of the voters ever seen: likewise.
    members: Option<SharedMembers>,
    /// The longest lease ever seen in the key.
    longest: Duration,
    /// Until when a key that is missing or went back may hide a grant.
    quiet_until: Moment,
    dead: BTreeMap<NodeRank, (Incarnation, Epoch)>,
    writes: u64,
    pending: Option<(Vec<u8>, Vec<Message>)>,
}

/// A value that no adapter wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key of group `{group}` holds no ballot ({detail}): delete it while every node is stopped")]
pub(super) struct Unreadable {
    group: String,
    detail: String,
}

impl Arbiter {
    pub(super) fn new(
        group: &str,
        cluster: u64,
        me: NodeRank,
        incarnation: Incarnation,
        lease: Duration,
    ) -> Arbiter {
        Arbiter {
            group: group.to_owned(),
            cluster,
            me,
            incarnation,
            lease,
            view: View::Unknown,
            floor: Epoch::NONE,
            members: None,
            longest: lease,
            quiet_until: Moment::ZERO,
            dead: BTreeMap::new(),
            writes: 0,
            pending: None,
        }
    }

    /// Whether the key must be read before anything can be said.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.view, View::Unknown)
    }

    /// The key as a linearizable read showed it, and when that answer had come. A key that has changed counts
    /// as renewed at that moment; one that has not still counts from the moment it was first seen.
    pub(super) fn observed(&mut self, entry: Option<(u64, Vec<u8>)>, now: Moment) -> Result<(), Unreadable> {
        let compare = match entry {
            None => Compare::Absent,
            Some((revision, value)) => Compare::Same { revision, value },
        };
        if let View::Known { compare: known, .. } = &self.view
            && *known == compare
        {
            return Ok(());
        }
        self.view = View::Unknown;
        let mut stored =
            StoredState { promised: self.floor, members: self.members.clone(), ..StoredState::default() };
        let mut went_back = true;
        if let Compare::Same { value, .. } = &compare {
            let paper: Paper = minicbor::decode(value)
                .map_err(|error| Unreadable { group: self.group.clone(), detail: error.to_string() })?;
            went_back = paper.promised < self.floor;
            self.longest = self.longest.max(Duration::from_millis(u64::from(paper.lease_ms)).min(LEASE_MAX));
            stored.promised = paper.promised.max(self.floor);
            stored.grant = paper.grant;
            stored.members = newer(stored.members, paper.members);
        }
        if went_back {
            self.quiet_until = self.quiet_until.max(now + self.longest);
        }
        self.floor = stored.promised;
        self.members.clone_from(&stored.members);
        let mut voter = Voter::new(&voter_setup(&self.group, self.cluster, self.longest), stored, now);
        for (node, (incarnation, epoch)) in &self.dead {
            voter.resigned(*node, *epoch, *incarnation, now);
        }
        self.view = View::Known { compare, voter };
        Ok(())
    }

    /// A question of this node's machine.
    pub(super) fn ask(&mut self, message: &Message, now: Moment) -> Step {
        let is_quiet = now < self.quiet_until;
        let View::Known { voter, .. } = &mut self.view else { return Step::Silent };
        if is_quiet && !matches!(message, Message::Heartbeat(_)) {
            return Step::Silent;
        }
        let mut replies = Vec::new();
        for output in voter.handle(VoterId::Node(self.me), message, now) {
            match output {
                // The answers are held back here until the key is written; if it is not, this voter is
                // given up with what it believes.
                VoterOutput::Persist { ticket, .. } => replies.extend(voter.persisted(ticket)),
                reply @ VoterOutput::Reply { .. } => replies.push(reply),
            }
        }
        let mut says: Vec<Message> = replies
            .into_iter()
            .filter_map(|output| match output {
                VoterOutput::Reply { message, .. } => Some(message),
                VoterOutput::Persist { .. } => None,
            })
            .collect();
        match says.pop() {
            None => Step::Silent,
            Some(grant @ Message::Grant { .. }) => self.write(vec![grant]),
            Some(message) => Step::Say(message),
        }
    }

    /// A process is dead and reaped, or says of itself that it stopped: its grant is free. The word about the
    /// own process is written, so that others need not wait.
    pub(super) fn resigned(
        &mut self,
        node: NodeRank,
        epoch: Epoch,
        incarnation: Incarnation,
        now: Moment,
    ) -> Step {
        let word = (incarnation, epoch);
        if node != self.me {
            let known = self.dead.entry(node).or_insert(word);
            *known = (*known).max(word);
        }
        let View::Known { voter, .. } = &mut self.view else { return Step::Silent };
        let promised = voter.stored().promised;
        let is_over = |grant: Grant| grant.node == node && (grant.incarnation, promised) <= word;
        let holds = voter.stored().grant.is_some_and(is_over);
        if !voter.resigned(node, epoch, incarnation, now) && !holds {
            return Step::Silent;
        }
        if node == self.me { self.release() } else { Step::Silent }
    }

    fn release(&mut self) -> Step {
        let View::Known { compare, voter } = &self.view else { return Step::Silent };
        let (compare, stored) = (compare.clone(), voter.stored().clone());
        let value = self.paper(stored.promised, None, stored.members);
        self.pending = Some((value.clone(), Vec::new()));
        Step::Write { compare, value }
    }

    fn write(&mut self, says: Vec<Message>) -> Step {
        let View::Known { compare, voter } = &self.view else { return Step::Silent };
        let (compare, stored) = (compare.clone(), voter.stored().clone());
        let value = self.paper(stored.promised, stored.grant, stored.members);
        self.pending = Some((value.clone(), says));
        Step::Write { compare, value }
    }

    fn paper(&mut self, promised: Epoch, grant: Option<Grant>, members: Option<SharedMembers>) -> Vec<u8> {
        self.writes += 1;
        let paper = Paper {
            promised,
            grant,
            lease_ms: u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX),
            writer: (self.me.0, self.incarnation.0, self.writes),
            members,
        };
        minicbor::to_vec(paper).expect("a vector takes every byte and the fields have no fallible encoder")
    }

    /// The write was carried out at this revision; gives what may be said now.
    pub(super) fn written(&mut self, at_revision: u64) -> Vec<Message> {
        let Some((written, says)) = self.pending.take() else { return Vec::new() };
        if let View::Known { compare, voter } = &mut self.view {
            *compare = Compare::Same { revision: at_revision, value: written };
            self.floor = self.floor.max(voter.promised());
            self.members = newer(self.members.take(), voter.stored().members.clone());
        }
        says
    }

    /// The write was refused, or nobody knows: everything believed is given up until the next read.
    pub(super) fn lost(&mut self) {
        self.pending = None;
        self.view = View::Unknown;
    }
}

fn newer(one: Option<SharedMembers>, other: Option<SharedMembers>) -> Option<SharedMembers> {
    let stamp = |members: &Option<SharedMembers>| members.as_ref().map(|members| members.stamp);
    if stamp(&other) > stamp(&one) { other } else { one }
}

#[cfg(test)]
mod tests;
