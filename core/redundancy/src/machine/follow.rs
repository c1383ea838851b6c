//! Listening: messages of the others, and following the active node.

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};

use super::{Machine, Urgent};
use crate::epoch::is_sane;
use crate::message::{Heartbeat, Message, PathId};
use crate::output::Action;
use crate::reason::{Reason, millis};
use crate::rule::Rule;
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::stored::Hold;

impl Machine {
    pub(super) fn on_message(&mut self, from: VoterId, path: PathId, message: &Message, now: Moment) {
        let Some(view) = self.peers.get_mut(from) else { return };
        let silent = view.heard.map(|heard| now.since(heard));
        view.heard = Some(now);
        if let Some(known) = view.path_mut(path) {
            known.heard = Some(now);
        }
        if let Some(silent) = silent.filter(|silent| *silent >= self.setup.timers.lease) {
            self.returned.insert(from, u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(members) = message.members() {
            self.learn_members(from, members, now);
        }
        match *message {
            Message::Heartbeat(ref heartbeat) => self.on_heartbeat(from, heartbeat, now),
            Message::VoterStatus { promised, incarnation, .. } => {
                if let Some(view) = self.peers.get_mut(from) {
                    view.process = view.process.max(incarnation);
                }
                self.note_promise(from, promised);
                self.note_epoch(from, promised, now);
            }
            Message::PreVote { .. } | Message::Campaign { .. } | Message::Renew { .. } => {
                self.on_question(from, message, now);
            }
            Message::PreVoteReply { .. } if self.is_voter(from) => {
                self.on_pre_vote_reply(from, message, now);
            }
            Message::Grant { .. } | Message::Refuse { .. } if self.is_voter(from) => {
                self.on_vote(from, message, now);
            }
            Message::PreVoteReply { .. } | Message::Grant { .. } | Message::Refuse { .. } => {}
            Message::Transfer { token } => self.on_transfer(from, token, now),
            Message::Resigned { node, epoch, incarnation } => {
                // A process that says so itself lives, and may be resumed.
                let is_dead = from != VoterId::Node(node);
                self.on_resigned(node, epoch, incarnation, is_dead, now);
            }
            Message::RequestSwitchover { to, by } => self.on_switchover_request(from, to, by, now),
            Message::SwitchoverRefused { to, ref why } => {
                self.refuse(crate::input::Order::Switchover { to }, why.clone());
            }
            Message::Bye { incarnation } => self.on_bye(from, incarnation, now),
            Message::Leave { incarnation } => self.on_leave(from, incarnation, now),
            Message::RequestMembers { change } => self.on_members_request(from, change, now),
            Message::MembersRefused { change, ref why } => {
                self.refuse(crate::input::Order::Members(change), why.clone());
            }
        }
    }

    pub(super) fn on_path(&mut self, peer: VoterId, path: PathId, connected: bool) {
        let Some(view) = self.peers.get_mut(peer) else { return };
        if let Some(known) = view.path_mut(path) {
            known.connected = connected;
        }
        if connected {
            // The other side should not have to wait for the next one to know who is active.
            self.beat(self.clock);
        }
    }

    fn on_question(&mut self, from: VoterId, message: &Message, now: Moment) {
        let Some(answer) = self.ballot.answer(from, message, now) else { return };
        if answer.changed {
            self.promise_ticket = self.persist();
            self.note_epoch(from, self.ballot.promised(), now);
        }
        if let Some((to, reply)) = self.outbox.pass(self.promise_ticket, from, answer.reply) {
            self.send(to, reply);
        }
    }

    /// Takes note of an epoch that somebody knows; a holder of a lower one stops at once.
    pub(super) fn note_epoch(&mut self, from: VoterId, seen: Epoch, now: Moment) {
        if !is_sane(seen) {
            return;
        }
        self.highest = self.highest.max(seen);
        if let Some(tenure) = &self.tenure
            && seen > tenure.epoch
            && Rule::HigherEpoch.holds()
        {
            let reason = Reason::HigherEpoch { mine: tenure.epoch, seen, from };
            self.lose_role(reason, now);
        }
    }

    fn note_promise(&mut self, from: VoterId, promised: Epoch) {
        if let Some(view) = self.peers.get_mut(from) {
            view.promised = view.promised.max(promised);
        }
    }

    fn on_heartbeat(&mut self, from: VoterId, heartbeat: &Heartbeat, now: Moment) {
        let Some(node) = from.node() else { return };
        let Some(view) = self.peers.get_mut(from) else { return };
        let age = (heartbeat.incarnation, heartbeat.sequence);
        let is_old = view.heartbeat.as_ref().is_some_and(|last| age <= (last.incarnation, last.sequence));
        let is_dead = view.dead.is_some_and(|dead| heartbeat.incarnation <= dead);
        if is_old || is_dead {
            return;
        }
        let (state, epoch, promised, hold) =
            (heartbeat.state, heartbeat.epoch, heartbeat.promised, heartbeat.hold);
        let is_new = view.heartbeat.as_ref().is_none_or(|last| last.incarnation < heartbeat.incarnation);
        view.process = view.process.max(Some(heartbeat.incarnation));
        view.promised = view.promised.max(promised);
        if is_new {
            self.ballot.greet(node, heartbeat.incarnation, now);
        }
        view.heartbeat = Some(heartbeat.clone());
        self.adopt_hold(hold);
        self.note_epoch(from, promised, now);
        self.note_epoch(from, epoch, now);
        if state.holds_lease() && epoch.rank() == node && is_sane(epoch) {
            if self.tenure.is_none() && epoch >= self.followed {
                self.on_active_seen(node, epoch, now);
            }
        } else if self.active == Some(node) {
            self.lose_active(now);
            self.follow(now);
        }
        if !self.returned.is_empty()
            && let Some(silent_ms) = self.returned.remove(&from).filter(|_| !is_new)
        {
            self.announce_again(node, silent_ms);
        }
        if is_new {
            // A process that has just come up should not have to wait for the next one.
            self.beat(now);
        }
    }

    /// A node that ran on unheard may have told the world that it acts. A process that was started anew has not.
    fn announce_again(&mut self, node: NodeRank, silent_ms: u64) {
        if let (NodeState::Active, Some(tenure)) = (self.state, &self.tenure) {
            let reason = Reason::Healed { node, silent_ms };
            self.outputs.push(Action::Announce { epoch: tenure.epoch, reason });
        }
    }

    fn on_active_seen(&mut self, node: NodeRank, epoch: Epoch, now: Moment) {
        if self.active == Some(node) && self.followed == epoch {
            return;
        }
        self.active = Some(node);
        self.followed = epoch;
        self.active_changed = now;
        self.urgent = None;
        if self.election.epoch().is_some_and(|mine| mine < epoch || !self.election.is_campaign()) {
            self.abandon_election(now);
        }
        if self.handoff.take_if(|handoff| handoff.token.epoch < epoch).is_some() && self.stopping {
            self.depart(now);
        }
        self.follow(now);
    }

    fn lose_active(&mut self, now: Moment) {
        self.active = None;
        self.active_changed = now;
    }

    /// Follows the active node as far as the state allows.
    pub(super) fn follow(&mut self, now: Moment) {
        let epoch = self.followed;
        match (self.state, self.active) {
            (NodeState::Joining | NodeState::Isolated, Some(active)) if self.gates_closed => {
                let reason = Reason::ActiveFound { active, epoch };
                if self.may_have_diverged {
                    self.enter(NodeState::Reconciling, reason, now);
                    self.outputs.push(Action::Reconcile { active, epoch });
                } else {
                    self.enter(NodeState::Syncing, reason, now);
                    self.outputs.push(Action::Standby { active: Some(active), epoch });
                }
            }
            (NodeState::Syncing | NodeState::Standby, active) => {
                self.outputs.push(Action::Standby { active, epoch });
            }
            (NodeState::Reconciling, Some(active)) => {
                self.outputs.push(Action::Reconcile { active, epoch });
            }
            (
                NodeState::Starting
                | NodeState::Joining
                | NodeState::Candidate
                | NodeState::Activating
                | NodeState::Active
                | NodeState::Draining
                | NodeState::Isolated
                | NodeState::Reconciling
                | NodeState::Maintenance
                | NodeState::Faulted,
                _,
            ) => {}
        }
    }

    /// When a node that is not complete stops to wait for its active one.
    pub(super) fn silence_due(&self) -> Option<Moment> {
        match self.state {
            NodeState::Syncing | NodeState::Reconciling => {
                let heard = self.active.and_then(|active| self.heard(VoterId::Node(active)));
                Some(heard.unwrap_or(self.active_changed).max(self.accuse_after) + self.setup.timers.lease)
            }
            NodeState::Starting
            | NodeState::Joining
            | NodeState::Standby
            | NodeState::Candidate
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Isolated
            | NodeState::Maintenance
            | NodeState::Faulted => None,
        }
    }

    pub(super) fn on_active_silent(&mut self, now: Moment) {
        // What came in at the same time may have changed what is due.
        if self.silence_due().is_none_or(|due| due > now) {
            return;
        }
        let heard = self.active.and_then(|active| self.heard(VoterId::Node(active)));
        let silent_ms = millis(now, heard.unwrap_or(self.active_changed));
        let active = self.active.unwrap_or(self.followed.rank());
        self.abandon_election(now);
        self.lose_active(now);
        self.enter(NodeState::Joining, Reason::ActiveLost { active, silent_ms }, now);
    }

    pub(super) fn on_synced(&mut self, lag_records: u64, config_matches: bool, now: Moment) {
        let limit_records = self.setup.lag_limit_records;
        let is_close = config_matches && lag_records <= limit_records;
        let is_far = !config_matches || lag_records > limit_records.saturating_mul(2);
        if self.state == NodeState::Reconciling && is_close {
            // A complete copy of the active node's journal has no fork any more.
            self.on_merge_done(0, now);
        } else if self.state == NodeState::Syncing && is_close {
            self.enter(NodeState::Standby, Reason::CaughtUp { lag_records, limit_records }, now);
        } else if self.state == NodeState::Standby && is_far && self.active.is_some() {
            self.abandon_election(now);
            let reason = Reason::FellBehind { lag_records, limit_records, config_matches };
            self.enter(NodeState::Syncing, reason, now);
        }
    }

    pub(super) fn on_diverged(&mut self, common: Position, now: Moment) {
        if self.tenure.is_some() {
            return;
        }
        self.may_have_diverged = true;
        if matches!(self.state, NodeState::Syncing | NodeState::Standby)
            && let Some(active) = self.active
        {
            self.abandon_election(now);
            self.enter(NodeState::Reconciling, Reason::Diverged { position: self.position, common }, now);
            self.outputs.push(Action::Reconcile { active, epoch: self.followed });
        }
    }

    pub(super) fn on_merge_done(&mut self, set_aside: u64, now: Moment) {
        self.may_have_diverged = false;
        if self.state == NodeState::Reconciling {
            self.enter(NodeState::Standby, Reason::Merged { position: self.position, set_aside }, now);
            self.outputs.push(Action::Standby { active: self.active, epoch: self.followed });
        }
    }

    /// A process is dead and reaped, or has stopped: what was granted to it is free, and nobody needs to wait for its
    /// silence. What it sent last may still be in flight, so the guard time applies.
    pub(super) fn on_resigned(
        &mut self,
        node: NodeRank,
        epoch: Epoch,
        incarnation: Incarnation,
        is_dead: bool,
        now: Moment,
    ) {
        if node == self.me && incarnation >= self.incarnation {
            return;
        }
        self.ballot.resign(node, epoch, incarnation, now);
        let was_active = self.active == Some(node);
        let Some(view) = self.peers.get_mut(VoterId::Node(node)) else { return };
        if is_dead {
            view.dead = view.dead.max(Some(incarnation));
            self.ballot.bury(node, incarnation, now);
        }
        let last = view.heartbeat.as_ref().map(|last| (last.incarnation, last.epoch));
        let is_word_old = |(process, last_epoch)| process > incarnation || (!is_dead && last_epoch > epoch);
        if last.is_some_and(is_word_old) {
            return;
        }
        if is_dead {
            view.heartbeat = None;
        }
        if was_active {
            if !self.election.is_campaign() {
                self.abandon_election(now);
            }
            let epoch = self.followed.max(epoch);
            self.urgent = Some(Urgent::Resigned { node, epoch, incarnation, is_news: true });
            self.ask_after = now;
            self.lose_active(now);
            self.follow(now);
        }
    }

    fn on_bye(&mut self, from: VoterId, incarnation: Incarnation, now: Moment) {
        let Some(view) = self.peers.get_mut(from) else { return };
        if view.heartbeat.as_ref().is_some_and(|last| last.incarnation <= incarnation) {
            view.heartbeat = None;
            view.dead = view.dead.max(Some(incarnation));
            if self.active == from.node() && self.active.is_some() {
                self.lose_active(now);
                self.follow(now);
            }
        }
    }

    pub(super) fn adopt_hold(&mut self, hold: Hold) {
        if hold > self.pins.hold {
            self.pins.hold = hold;
            if !hold.on {
                self.clear_moves();
                self.pins.chosen = None;
            }
            self.persist();
            self.tell_hold();
        }
    }

    pub(super) fn tell_hold(&mut self) {
        let Hold { version, on } = self.pins.hold;
        let reason = if on { Reason::Paused { version } } else { Reason::Resumed { version } };
        self.outputs.push(Action::Alarm { reason });
    }

    pub(super) fn heard(&self, id: VoterId) -> Option<Moment> {
        self.peers.get(id)?.heard
    }

    fn is_voter(&self, id: VoterId) -> bool {
        self.setup.voters().any(|voter| voter == id)
    }
}
