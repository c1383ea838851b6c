//! Whether and when to want the role: vacancy, order of the candidates, acting without a majority.

use std::time::Duration;

use twinhub_model::{Epoch, Moment, NodeRank, Position};

use super::election::Election;
use super::{Machine, Urgent};
use crate::policy::Policy;
use crate::reason::{Reason, millis};
use crate::setup::{NodeInfo, VoterId};
use crate::state::NodeState;

impl Machine {
    /// When this node should ask for the role; `None` while it should not.
    pub(super) fn election_due(&self, now: Moment) -> Option<Moment> {
        self.election_earliest(now).map(|earliest| self.after_better_candidates(earliest, now))
    }

    /// The same for the first of the candidates.
    pub(super) fn election_earliest(&self, now: Moment) -> Option<Moment> {
        let Election::Idle = self.election else { return None };
        if !self.may_ask() {
            return None;
        }
        let timers = &self.setup.timers;
        let vacant = match (self.urgent, self.active) {
            (None, Some(active)) => {
                let heard = self.heard(VoterId::Node(active)).unwrap_or(self.started);
                heard + self.silence_limit()
            }
            // Everyone is there: no need to look for an active node any longer. The order of the nodes counts
            // from when the last one was seen ready.
            (None, None) if self.state == NodeState::Joining => {
                let complete = self.complete_since.filter(|_| self.sees_everyone(now));
                let patient = self.state_since + timers.start;
                complete.map_or(patient, |at| at.max(self.state_since).min(patient))
            }
            (Some(_), _) | (None, None) => self.state_since,
        };
        let free = match self.urgent {
            Some(Urgent::Operator { .. }) => Moment::ZERO,
            Some(Urgent::Resigned { .. }) | None => self.ballot.free_at(self.me),
        };
        let base = match self.urgent {
            Some(_) => vacant.max(free),
            None => vacant.max(free).max(self.accuse_after),
        };
        Some(base)
    }

    /// When it is this node's turn, if it is the first one's at `earliest`.
    pub(super) fn after_better_candidates(&self, earliest: Moment, now: Moment) -> Moment {
        let delay = match self.urgent {
            Some(Urgent::Operator { .. }) => Duration::ZERO,
            Some(Urgent::Resigned { .. }) | None => {
                let place = u32::try_from(self.place_among_candidates(now)).unwrap_or(u32::MAX);
                self.setup.timers.stagger.saturating_mul(place)
            }
        };
        (earliest + delay).max(self.ask_after)
    }

    /// After how much silence votes are asked for. The lease decides whether they are given: this only spares
    /// questions about an active node that is well.
    pub(super) fn silence_limit(&self) -> Duration {
        (self.setup.timers.heartbeat * HEARTBEATS_MISSED).min(self.setup.timers.lease)
    }

    fn may_ask(&self) -> bool {
        let is_able = match self.state {
            NodeState::Joining | NodeState::Standby => true,
            NodeState::Syncing => matches!(self.urgent, Some(Urgent::Operator { .. })),
            NodeState::Isolated => self.gates_closed,
            NodeState::Starting
            | NodeState::Candidate
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => false,
        };
        if !is_able || self.stopping {
            return false;
        }
        let votes = self.setup.nodes.iter().any(|info| info.node == self.me && info.votes);
        let is_ordered = matches!(self.urgent, Some(Urgent::Operator { .. }));
        // Who was shrunk is back only when the others say so.
        let votes = votes && (self.is_member(self.setup.me) || is_ordered);
        votes && (is_ordered || !self.pins.hold.on || self.was_last_active())
    }

    /// Whether nobody is known to have been active after this node.
    pub(super) fn was_last_active(&self) -> bool {
        let views = self.peers.values().filter_map(|view| view.heartbeat.as_ref());
        let newest = views.map(|heartbeat| heartbeat.position.epoch).max().unwrap_or(Epoch::NONE);
        // The journal may know of an epoch whose win the role file has missed.
        let newest = newest.max(self.position.epoch).max(self.followed).max(self.last_active);
        newest == Epoch::NONE || newest.rank() == self.me
    }

    /// Whether every voting node was heard just now, is ready to stand, and none follows an active one.
    pub(super) fn sees_everyone(&self, now: Moment) -> bool {
        let mut others = self.rivals();
        others.all(|info| {
            let Some(view) = self.peers.get(VoterId::Node(info.node)) else { return false };
            let is_fresh = view.heard.is_some_and(|heard| now < heard + self.setup.timers.lease);
            let is_ready = view.heartbeat.as_ref().is_some_and(|heartbeat| {
                heartbeat.state != NodeState::Starting
                    && heartbeat.active.is_none_or(|active| active == self.me)
            });
            is_fresh && is_ready
        })
    }

    /// The other nodes that vote.
    fn rivals(&self) -> impl Iterator<Item = &NodeInfo> {
        let others = self.setup.nodes.iter().filter(|info| info.node != self.me);
        others.filter(|info| self.is_member(VoterId::Node(info.node)))
    }

    /// How many other nodes should come first.
    fn place_among_candidates(&self, now: Moment) -> usize {
        let best = self
            .peers
            .values()
            .filter_map(|view| view.heartbeat.as_ref())
            .map(|heartbeat| heartbeat.position)
            .fold(self.position, std::cmp::Ord::max);
        let mine = self.key(self.me, self.state, self.health.score(), self.position, best);
        let others = self.rivals();
        others
            .filter(|info| Some(info.node) != self.active)
            .filter_map(|info| {
                let view = self.peers.get(VoterId::Node(info.node))?;
                let heartbeat = view.heartbeat.as_ref()?;
                let is_fresh = view.heard.is_some_and(|heard| now < heard + self.setup.timers.lease);
                let key = self.key(info.node, heartbeat.state, heartbeat.score, heartbeat.position, best);
                (is_fresh && key < mine && key.0 < NOT_A_CANDIDATE).then_some(())
            })
            .count()
    }

    /// Orders candidates: readiness, health, journal, configured order.
    fn key(
        &self,
        node: NodeRank,
        state: NodeState,
        score: u8,
        position: Position,
        best: Position,
    ) -> (u8, u8, u8, usize) {
        let readiness = match state {
            NodeState::Standby | NodeState::Candidate | NodeState::Isolated => 0,
            NodeState::Syncing | NodeState::Joining => 1,
            NodeState::Starting
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => NOT_A_CANDIDATE,
        };
        let journal = if position.epoch < best.epoch {
            2
        } else {
            u8::from(best.seq.saturating_sub(position.seq) > self.setup.lag_limit_records)
        };
        let order = self.setup.order_of(node).unwrap_or(usize::MAX);
        (readiness, (u8::MAX - score) / SCORE_TIER, journal, order)
    }

    /// When silence has lasted for long enough to act without a majority, in a pair without a witness.
    pub(super) fn self_promotion_due(&self) -> Option<Moment> {
        if !self.is_pair() {
            return None;
        }
        if let Some(Urgent::Resigned { .. }) = self.urgent {
            return Some(self.started);
        }
        let timers = &self.setup.timers;
        let silent = self.last_heard_of_voters() + timers.silence_alone(self.setup.without_witness);
        Some(match self.setup.without_witness {
            Policy::Manual | Policy::Availability => silent,
            Policy::Evidence => {
                let good_since = self.evidence.and_then(|seen| seen.good_since);
                good_since.map_or(silent, |since| silent.max(since + timers.evidence_lasts()))
            }
        })
    }

    pub(super) fn may_promote_itself(&self, now: Moment) -> Option<Reason> {
        let due = self.self_promotion_due().filter(|_| self.is_member(self.setup.me))?;
        let is_ready = match self.state {
            NodeState::Joining => now >= self.state_since + self.setup.timers.start,
            NodeState::Standby | NodeState::Isolated => true,
            NodeState::Starting
            | NodeState::Syncing
            | NodeState::Candidate
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => false,
        };
        let is_proven = matches!(self.urgent, Some(Urgent::Resigned { .. }));
        let is_allowed = match self.setup.without_witness {
            Policy::Manual => false,
            // A supervisor's word is proof, not silence.
            Policy::Evidence => is_proven || self.has_evidence(now).is_ok(),
            Policy::Availability => true,
        };
        let limit = self.setup.timers.silence_alone(self.setup.without_witness);
        (is_ready && is_allowed && now >= due && now >= self.ballot.free_at(self.me)).then(|| {
            Reason::Unquorate {
                policy: self.setup.without_witness,
                silent_ms: millis(now, self.last_heard_of_voters()),
                limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            }
        })
    }

    pub(super) fn nodes_seen(&self, now: Moment) -> usize {
        self.voters_heard(now).filter(|id| id.node().is_some()).count() + 1
    }

    pub(super) fn voters_seen(&self, now: Moment) -> usize {
        self.voters_heard(now).count() + 1
    }

    fn voters_heard(&self, now: Moment) -> impl Iterator<Item = VoterId> + '_ {
        let others = self.setup.voters().filter(|id| *id != self.setup.me);
        others.filter(move |id| self.heard(*id).is_some_and(|heard| now < heard + self.setup.timers.lease))
    }
}

/// Health differences below this do not decide who comes first.
const SCORE_TIER: u8 = 25;
/// Readiness of a node that does not stand.
const NOT_A_CANDIDATE: u8 = 9;
/// More than loss and a late timer explain.
const HEARTBEATS_MISSED: u32 = 3;
