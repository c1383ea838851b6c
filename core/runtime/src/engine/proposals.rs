//! Changes of documents: journaled by the active node of the first group, confirmed once a majority of the group's
//! nodes has them on disk.
//!
//! What grants something (a user, a token, a configuration) is not begun unless a majority is there, or whoever asked
//! said that it is to be done all the same. What takes something away, and a login, is never refused for that: it is
//! confirmed by as many nodes as there are.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_documents::{Documents, Entry};
use twinhub_model::{Moment, NodeRank, Part, Position};
use twinhub_redundancy::VoterId;
use twinhub_replica::SenderState;

use super::Engine;
use super::quorum::Majority;
use crate::clock;
use crate::documents::DocumentStore;
use crate::error::CommandError;
use crate::inbox::{Proposal, Recorded};

/// How long a majority may take.
const MAJORITY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a login or a revocation waits for other nodes.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Recorded, CommandError>>;

/// Changes that are under way.
#[derive(Debug)]
pub(crate) struct Proposals {
    documents: DocumentStore,
    /// Whether they are in this group's journal.
    are_here: bool,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    position: Position,
    majority: bool,
    until: Moment,
    reply: Reply,
}

impl Proposals {
    pub(crate) const fn new(documents: DocumentStore, are_here: bool) -> Proposals {
        Proposals { documents, are_here, waiting: VecDeque::new() }
    }
}

impl Proposals {
    pub(crate) const fn documents(&self) -> &DocumentStore {
        &self.documents
    }

    /// Whether documents are in this group's journal.
    pub(crate) const fn are_here(&self) -> bool {
        self.are_here
    }

    /// Whether a configuration with this hash is one of the site's revisions.
    pub(crate) fn know(&self, hash: u64) -> bool {
        self.documents.knows(hash)
    }
}

impl Engine {
    pub(crate) fn on_proposal(&mut self, proposal: Proposal) {
        let Proposal { entry, majority, reply } = proposal;
        match self.propose(&entry, majority) {
            Ok(position) => {
                let wait = if majority { MAJORITY_WAIT_MAX } else { OTHERS_WAIT_MAX };
                let until = clock::now() + wait;
                self.proposals.waiting.push_back(Waiting { position, majority, until, reply });
            }
            // Whoever asked may have gone.
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn propose(&mut self, entry: &Entry, majority: bool) -> Result<Position, CommandError> {
        if !self.proposals.are_here || !self.may_change_documents() {
            return Err(self.not_active());
        }
        if majority {
            let (have, needed) = self.holders(Engine::is_fed);
            if have < needed || self.majority == Majority::Missing {
                return Err(CommandError::NoMajority { have: have.min(needed.saturating_sub(1)), needed });
            }
        }
        if let Entry::Change(change) = entry {
            self.proposals.documents.read(|documents: &Documents| documents.check(change))?;
        }
        self.append_part(Part::DOCUMENTS, &entry.encode()).ok_or_else(|| CommandError::Internal {
            why: "the journal takes nothing: see the event log".to_owned(),
        })
    }

    /// While the role is handed over nothing new is begun.
    fn may_change_documents(&self) -> bool {
        self.is_acting()
    }

    /// Answers whoever waits for a change that is confirmed, or that waited long enough.
    pub(crate) fn confirm_proposals(&mut self, now: Moment) {
        while let Some(first) = self.proposals.waiting.front() {
            let position = first.position;
            let own = self.journal.durable() >= position;
            let (have, needed) = self.holders(|engine, peer| engine.durable_on(peer) >= position);
            let confirmed = own && have >= needed;
            let is_lost = !self.is_writer();
            let is_over =
                now >= first.until || is_lost || !first.majority && own && !self.has_standby_in_sync();
            if !confirmed && !is_over {
                return;
            }
            let Some(Waiting { majority, reply, .. }) = self.proposals.waiting.pop_front() else { return };
            let answer = if confirmed || !majority && !is_lost {
                Ok(Recorded { position, confirmed })
            } else {
                Err(CommandError::Unconfirmed { seconds: MAJORITY_WAIT_MAX.as_secs() })
            };
            // Whoever asked may have gone.
            drop(reply.send(answer));
        }
    }

    /// How many of the group's nodes fulfill this, with this one, and how many are a majority. Nodes that were taken
    /// out for service do not count.
    fn holders(&self, is_one: impl Fn(&Engine, NodeRank) -> bool) -> (usize, usize) {
        let status = self.shared.group(&self.group);
        let is_absent = |node: NodeRank| {
            status.voters.members.absent.iter().any(|absence| absence.voter == VoterId::Node(node))
        };
        let site = &self.shared.site;
        let names = site.group(&self.group).map_or(&[][..], |group| &group.nodes);
        let ranks = names.iter().filter_map(|name| site.node(name)).map(|node| NodeRank(node.rank));
        let counted: Vec<NodeRank> = ranks.filter(|node| *node == self.me || !is_absent(*node)).collect();
        let have = counted.iter().filter(|node| **node == self.me || is_one(self, **node)).count();
        (have, counted.len() / 2 + 1)
    }

    /// Whether this follower has everything and is being told more.
    fn is_fed(&self, peer: NodeRank) -> bool {
        self.replication.sender_state(peer) == Some(SenderState::Tail)
    }
}
