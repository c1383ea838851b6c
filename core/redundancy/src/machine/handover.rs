//! Giving the role away in order: drain, transfer token, hand-back, better health, shutdown.

use std::fmt;
use std::time::Duration;

use twinhub_model::{Epoch, Moment, NodeRank, Position};

use super::Machine;
use crate::agenda::Timer;
use crate::epoch::is_of;
use crate::health::SCORE_MAX;
use crate::message::{Counted, Message, MoveCause, TransferToken};
use crate::output::Action;
use crate::policy::Failback;
use crate::reason::{Reason, millis};
use crate::setup::VoterId;
use crate::state::NodeState;

/// A planned end of acting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    to: Option<NodeRank>,
    cause: MoveCause,
    since: Moment,
    is_overdue: bool,
}

/// A token that was given and not yet used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handoff {
    pub(super) token: TransferToken,
    until: Moment,
}

/// Something that holds for a node since some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    node: NodeRank,
    at: Moment,
}

/// Why a node cannot take over; looked at with each heartbeat, put into words only when told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ineligible {
    NotInGroup { node: NodeRank, group: String },
    ThisNode { node: NodeRank },
    Observer { node: NodeRank },
    Shrunk { node: NodeRank },
    Silent { node: NodeRank, silent_ms: u64, limit: Duration },
    NoStandby { node: NodeRank, state: NodeState },
    OtherConfiguration { node: NodeRank },
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ineligible::NotInGroup { node, group } => write!(f, "node {node} is not in group {group}"),
            Ineligible::ThisNode { node } => write!(f, "node {node} is this node"),
            Ineligible::Observer { node } => write!(f, "node {node} is an observer"),
            Ineligible::Shrunk { node } => {
                write!(f, "node {node} is shrunk: it may act when it votes again")
            }
            Ineligible::Silent { node, silent_ms, limit } => {
                write!(f, "node {node} is silent for {silent_ms} ms, limit {} ms", limit.as_millis())
            }
            Ineligible::NoStandby { node, state } => write!(f, "node {node} is {state}, not standby"),
            Ineligible::OtherConfiguration { node } => write!(f, "node {node} has another configuration"),
        }
    }
}

impl Machine {
    /// Why `node` cannot take over now; `None` if it can.
    pub(super) fn ineligibility(&self, node: NodeRank, now: Moment) -> Option<Ineligible> {
        let Some(info) = self.setup.nodes.iter().find(|info| info.node == node) else {
            return Some(Ineligible::NotInGroup { node, group: self.setup.group.clone() });
        };
        if node == self.me {
            return Some(Ineligible::ThisNode { node });
        }
        if !info.votes {
            return Some(Ineligible::Observer { node });
        }
        if !self.is_member(VoterId::Node(node)) {
            return Some(Ineligible::Shrunk { node });
        }
        let view = self.peers.get(VoterId::Node(node))?;
        let heard = view.heard.unwrap_or(self.started);
        let limit = self.setup.timers.lease;
        let Some(heartbeat) = view.heartbeat.as_ref().filter(|_| now < heard + limit) else {
            return Some(Ineligible::Silent { node, silent_ms: millis(now, heard), limit });
        };
        if heartbeat.state != NodeState::Standby {
            return Some(Ineligible::NoStandby { node, state: heartbeat.state });
        }
        if heartbeat.config_hash != self.config_hash {
            return Some(Ineligible::OtherConfiguration { node });
        }
        None
    }

    /// The node that should take over: in order, and in no worse health than the others.
    pub(super) fn best_target(&self, now: Moment) -> Option<NodeRank> {
        let eligible = self.setup.nodes.iter().filter(|info| self.ineligibility(info.node, now).is_none());
        // The first of equals, as the list is in order.
        eligible.map(|info| info.node).reduce(|best, node| {
            if self.score_of(node) >= self.score_of(best).saturating_add(self.setup.timers.score_margin) {
                node
            } else {
                best
            }
        })
    }

    fn score_of(&self, node: NodeRank) -> u8 {
        let view = self.peers.get(VoterId::Node(node));
        view.and_then(|view| view.heartbeat.as_ref()).map_or(0, |heartbeat| heartbeat.score.min(SCORE_MAX))
    }

    /// What of its health a node has proven.
    fn proven_of(&self, node: NodeRank) -> u8 {
        let view = self.peers.get(VoterId::Node(node));
        let proven = view.and_then(|view| view.heartbeat.as_ref()).and_then(|heartbeat| heartbeat.proven);
        proven.unwrap_or(0).min(SCORE_MAX)
    }

    pub(super) fn begin_drain(
        &mut self,
        to: Option<NodeRank>,
        cause: MoveCause,
        reason: Reason,
        now: Moment,
    ) {
        let timers = self.setup.timers;
        let Some(tenure) = &mut self.tenure else { return };
        let deadline = now + timers.drain;
        tenure.drain = Some(Drain { to, cause, since: now, is_overdue: false });
        let epoch = tenure.epoch;
        // A driver that is late gets the time of the margin before it is doubted.
        self.agenda.set(Timer::Drain, deadline + timers.margin);
        self.outputs.push(Action::Drain { epoch, to, deadline, reason: reason.clone() });
        self.enter(NodeState::Draining, reason, now);
        if matches!(cause, MoveCause::Score { .. }) {
            self.count_handover(epoch, now);
        }
    }

    pub(super) fn on_drained(&mut self, epoch: Epoch, position: Position, now: Moment) {
        let tenure = self.tenure.as_ref().filter(|tenure| tenure.epoch == epoch);
        if tenure.and_then(|tenure| tenure.drain).is_some_and(|drain| !drain.is_overdue) {
            self.position = self.position.max(position);
            self.finish_drain(position, true, now);
        }
    }

    pub(super) fn on_drain_timeout(&mut self, now: Moment) {
        let limit_ms = u64::try_from(self.setup.timers.drain.as_millis()).unwrap_or(u64::MAX);
        let Some(tenure) = &mut self.tenure else { return };
        let epoch = tenure.epoch;
        let Some(drain) = &mut tenure.drain else { return };
        drain.is_overdue = true;
        self.gates_closed = false;
        self.agenda.set(Timer::Watchdog, now + self.setup.timers.margin);
        let reason = Reason::DrainTimeout { limit_ms };
        self.outputs.push(Action::Lease { epoch, until: now });
        self.outputs.push(Action::CloseGates { epoch, reason, abort_links: true });
    }

    /// The gates of this epoch are closed for good: the role is given away.
    pub(super) fn finish_drain(&mut self, position: Position, drained: bool, now: Moment) {
        let Some(tenure) = self.tenure.take() else { return };
        self.drop_members_change();
        let Some(drain) = tenure.drain else { return };
        for timer in [Timer::Lease, Timer::Renew, Timer::Drain, Timer::Watchdog] {
            self.agenda.clear(timer);
        }
        self.gates_closed = true;
        self.may_have_diverged |= tenure.unquorate;
        self.followed = self.followed.max(tenure.epoch);
        self.active = None;
        self.active_changed = now;
        self.outputs.push(Action::Lease { epoch: tenure.epoch, until: now });
        let timers = self.setup.timers;
        // The target has the time of a lease; so do the grants that this node had.
        self.ask_after = now + timers.lease + timers.stagger;
        if let Some(to) = drain.to {
            self.forget_moves(now);
            let moves = u8::try_from(self.moves.len()).unwrap_or(u8::MAX);
            let token = TransferToken {
                epoch: tenure.epoch,
                from: self.me,
                to,
                position,
                drained,
                cause: drain.cause,
                counted: Some(Counted { since: self.pins.hold, moves }),
            };
            self.handoff = Some(Handoff { token, until: now + timers.lease });
            self.agenda.set(Timer::Handoff, now + timers.heartbeat);
            self.send_others(Message::Transfer { token });
        }
        let reason = if drained {
            Reason::Drained { position, took_ms: millis(now, drain.since) }
        } else {
            Reason::DrainTimeout { limit_ms: u64::try_from(timers.drain.as_millis()).unwrap_or(u64::MAX) }
        };
        let to = if self.pins.maintenance { NodeState::Maintenance } else { NodeState::Standby };
        self.enter(to, reason, now);
        if self.stopping && self.handoff.is_none() {
            self.depart(now);
        }
    }

    pub(super) fn on_handoff_timer(&mut self, now: Moment) {
        let Some(handoff) = self.handoff else { return };
        if now < handoff.until {
            self.send_others(Message::Transfer { token: handoff.token });
            self.agenda.set(Timer::Handoff, now + self.setup.timers.heartbeat);
            return;
        }
        self.handoff = None;
        if self.stopping {
            self.depart(now);
        }
    }

    pub(super) fn on_transfer(&mut self, from: VoterId, token: TransferToken, now: Moment) {
        let is_genuine = from == VoterId::Node(token.from) && is_of(token.epoch, token.from);
        if is_genuine {
            self.hear_of_move(&token, now);
        }
        let is_mine = is_genuine
            && token.to == self.me
            && self.is_member(self.setup.me)
            && token.epoch >= self.followed;
        let is_ready = match self.state {
            NodeState::Standby | NodeState::Syncing => !self.stopping,
            // A candidate has the same token already, or asked for the role by itself.
            NodeState::Candidate
            | NodeState::Starting
            | NodeState::Joining
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Isolated
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => false,
        };
        if is_mine && is_ready {
            self.campaign_with_token(token, now);
        }
    }

    /// An active node looks whether another one should have the role: the preferred one, or a healthier one.
    pub(super) fn look_for_a_better_node(&mut self, now: Moment) {
        let Some(tenure) = &self.tenure else { return };
        if self.state != NodeState::Active || self.pins.hold.on || self.stopping {
            self.preferred = None;
            self.better = None;
            return;
        }
        let is_chosen = self.pins.chosen == Some(tenure.epoch);
        self.forget_moves(now);
        if self.moves.len() >= usize::from(self.setup.timers.flap_moves) {
            self.preferred = None;
            self.better = None;
            return;
        }
        self.look_for_preferred(is_chosen, now);
        if self.state == NodeState::Active {
            self.look_for_healthier(now);
        }
    }

    fn look_for_preferred(&mut self, is_chosen: bool, now: Moment) {
        let Failback::Auto { hold_off } = self.setup.failback else { return };
        let before_me = self.setup.nodes.iter().take_while(|info| info.node != self.me);
        // A node that gave the role away for its health has to prove that it is well again.
        let must_prove = self.was_moved_for_health();
        let health = |node| if must_prove { self.proven_of(node) } else { self.score_of(node) };
        let wanted = before_me
            .map(|info| info.node)
            .find(|node| self.ineligibility(*node, now).is_none() && health(*node) >= self.health.score());
        let Some(to) = wanted.filter(|_| !is_chosen) else {
            self.preferred = None;
            return;
        };
        let since = hold(&mut self.preferred, to, now);
        if now >= (since + hold_off).max(self.rested_at()) {
            let stable_ms = millis(now, since);
            let (cause, reason) = (MoveCause::Failback { stable_ms }, Reason::Failback { to, stable_ms });
            self.begin_drain(Some(to), cause, reason, now);
        }
    }

    /// What the other node has proven must be above all that is possible here: a node whose field side nobody
    /// has seen, or that shares the trouble, gets no role for it.
    fn look_for_healthier(&mut self, now: Moment) {
        let timers = self.setup.timers;
        let mine = self.health.most();
        let eligible = self.setup.nodes.iter().map(|info| info.node);
        let proven = eligible
            .filter(|node| self.ineligibility(*node, now).is_none())
            .map(|node| (node, self.proven_of(node)))
            // The first of equals, as the list is in order.
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let enough = mine.saturating_add(timers.score_margin);
        let Some((to, theirs)) = proven.filter(|(_, theirs)| *theirs >= enough) else {
            self.better = None;
            return;
        };
        let due = (hold(&mut self.better, to, now) + timers.score_hold).max(self.rested_at());
        if now >= due {
            let why = self.health.to_string();
            let (cause, reason) =
                (MoveCause::Score { mine, theirs }, Reason::BetterScore { to, mine, theirs, why });
            self.begin_drain(Some(to), cause, reason, now);
        }
    }

    /// Before this, a role that was moved for better health moves neither on nor back.
    fn rested_at(&self) -> Moment {
        let rest = if self.was_moved_for_health() { self.setup.timers.hold_back } else { Duration::ZERO };
        self.state_since + rest
    }

    fn was_moved_for_health(&self) -> bool {
        let cause = self.tenure.as_ref().and_then(|tenure| tenure.cause);
        matches!(cause, Some(MoveCause::Score { .. }))
    }

    /// Counts, once, that the holder of this epoch gave it away for better health. Everyone who hears of it counts:
    /// of three nodes, the two that move the role between them are not always the same.
    fn count_handover(&mut self, epoch: Epoch, now: Moment) {
        if epoch > self.counted {
            self.counted = epoch;
            self.count_move(now);
            // A node that restarts in between must not begin to count anew.
            self.persist();
        }
    }

    /// The giver may have counted moves that this node did not hear of, or heard of before it heard that an operator
    /// resumed. What it knows of them is not when they were, so they count from now on.
    fn hear_of_move(&mut self, token: &TransferToken, now: Moment) {
        if let Some(counted) = token.counted {
            self.adopt_hold(counted.since);
        }
        if matches!(token.cause, MoveCause::Score { .. }) {
            self.count_handover(token.epoch, now);
        }
        let counted = token.counted.filter(|counted| counted.since == self.pins.hold);
        let moves = counted.map_or(0, |counted| counted.moves.min(self.setup.timers.flap_moves));
        self.forget_moves(now);
        if token.epoch >= self.followed && self.moves.len() < usize::from(moves) {
            while self.moves.len() < usize::from(moves) {
                self.count_move(now);
            }
            self.persist();
        }
    }

    /// An operator resumed: what was counted before counts no more.
    pub(super) fn clear_moves(&mut self) {
        self.moves.clear();
        self.flap_alarmed = false;
    }

    /// Counts a move that no operator ordered: a takeover that nobody handed over, or one for better health.
    /// The limit holds back what moves the role of a healthy node; a dead active node is always replaced, since
    /// nobody acting is worse than moving often.
    pub(super) fn count_move(&mut self, now: Moment) {
        self.forget_moves(now);
        let limit = self.setup.timers.flap_moves;
        self.moves.push_back(now);
        if self.moves.len() > usize::from(limit) {
            self.moves.pop_front();
        }
        if self.moves.len() >= usize::from(limit) && !self.flap_alarmed {
            self.flap_alarmed = true;
            let window_s = self.setup.timers.flap_window.as_secs();
            self.outputs.push(Action::Alarm { reason: Reason::FlapLimit { moves: limit, window_s } });
        }
    }

    fn forget_moves(&mut self, now: Moment) {
        let window: Duration = self.setup.timers.flap_window;
        while self.moves.front().is_some_and(|at| *at + window <= now) {
            self.moves.pop_front();
            self.flap_alarmed = false;
        }
    }

    pub(super) fn on_step_failed(&mut self, step: String, now: Moment) {
        let reason = Reason::StepFailed { step };
        let cause = self.tenure.as_ref().and_then(|tenure| tenure.cause);
        let was_given_away = cause == Some(MoveCause::StepFailed);
        let target =
            if self.state == NodeState::Activating && !was_given_away { self.best_target(now) } else { None };
        match target {
            Some(to) => self.begin_drain(Some(to), MoveCause::StepFailed, reason, now),
            // The other one could not do it either, or is not there: half a plant is better than none.
            None => self.outputs.push(Action::Alarm { reason }),
        }
    }

    pub(super) fn on_shutdown(&mut self, now: Moment) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.clean_shutdown = true;
        self.abandon_election(now);
        self.persist();
        match self.state {
            NodeState::Active => {
                let to = self.best_target(now);
                self.begin_drain(to, MoveCause::Shutdown, Reason::Shutdown, now);
            }
            NodeState::Draining => {}
            NodeState::Activating => self.lose_role(Reason::Shutdown, now),
            NodeState::Starting
            | NodeState::Joining
            | NodeState::Syncing
            | NodeState::Standby
            | NodeState::Candidate
            | NodeState::Isolated
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => {
                if self.gates_closed && self.handoff.is_none() {
                    self.depart(now);
                }
            }
        }
    }
}

/// Since when the same node is wanted.
fn hold(since: &mut Option<Since>, node: NodeRank, now: Moment) -> Moment {
    match since {
        Some(known) if known.node == node => known.at,
        Some(_) | None => {
            *since = Some(Since { node, at: now });
            now
        }
    }
}
