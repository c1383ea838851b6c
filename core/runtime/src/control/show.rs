//! What the outside is shown of the machines: log, history, status, and the ends of orders.

use std::collections::BTreeMap;

use twinhub_model::{Event, Moment, NodeRank, Severity};
use twinhub_redundancy::{Machine, Members, MembersChange, Order, Reason, VoterId};

use super::{Control, ORDER_MAX};
use crate::clock;
use crate::inbox::{Job, Note};
use crate::shared::{PeerStatus, Shared, Voters};
use crate::view::RoleChangeView;

impl Control {
    pub(super) fn state_changed(&mut self, name: &str, from: &str, to: &str, reason: &Reason) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let epoch = group.machine.epoch();
        let reason = self.shared.say(reason);
        tracing::info!(group = name, node = %self.shared.node, %epoch, from, to, reason, "role");
        let now = clock::utc();
        let at = now.to_string();
        let event = Event {
            severity: Severity::Info,
            source: name.into(),
            code: "TH-ROLE-004".into(),
            text: format!("{}: {from} > {to}: {reason}", self.shared.node).into(),
            at: now,
        };
        let change = RoleChangeView {
            at: at.clone(),
            group: name.to_owned(),
            node: self.shared.node.clone(),
            epoch: epoch.to_string(),
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.clone(),
        };
        self.shared.roles.remember(change.clone());
        group.inbox.push(Job::Note(Box::new(Note { event, role: Some(change) })));
        self.shared.update_group(name, |status| {
            if to == "activating" {
                status.won_by.clone_from(&reason);
            }
            // Why this node acts is why it was elected, not that its gates are open.
            status.reason = if to == "active" { format!("{}; {reason}", status.won_by) } else { reason };
            status.since = at;
            if to == "active"
                && let Some(since) = status.activating_since.take()
            {
                status.takeover_seconds = Some(Shared::seconds_since(since));
            }
        });
    }

    /// Who votes has changed: log, event and history.
    pub(super) fn members_changed(&mut self, name: &str, reason: &Reason) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let (epoch, state) = (group.machine.epoch(), group.machine.state().name());
        let reason = self.shared.say(reason);
        tracing::warn!(group = name, node = %self.shared.node, %epoch, reason, "voters");
        let now = clock::utc();
        let event = Event {
            severity: Severity::Warning,
            source: name.into(),
            code: "TH-ROLE-003".into(),
            text: reason.as_str().into(),
            at: now,
        };
        let change = RoleChangeView {
            at: now.to_string(),
            group: name.to_owned(),
            node: self.shared.node.clone(),
            epoch: epoch.to_string(),
            from: state.to_owned(),
            to: state.to_owned(),
            reason,
        };
        self.shared.roles.remember(change.clone());
        group.inbox.push(Job::Note(Box::new(Note { event, role: Some(change) })));
    }

    /// Copies what the machine knows to where the views read it, and ends orders that are carried out.
    pub(super) fn show(&mut self, name: &str, now: Moment) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let machine = &group.machine;
        let state = machine.state();
        // One that is silent for longer than a lease acts no more, whether or not anybody follows it.
        let is_heard = |node: &NodeRank| {
            let heard = machine.peers().get(VoterId::Node(*node)).and_then(|peer| peer.heard);
            heard.is_some_and(|heard| now.since(heard) < machine.setup().timers.lease)
        };
        let active =
            if state.holds_lease() { Some(self.shared.rank) } else { machine.active().filter(is_heard) };
        let peers: BTreeMap<NodeRank, _> = machine
            .peers()
            .iter()
            .filter_map(|(voter, peer)| {
                let heartbeat = peer.heartbeat.as_ref();
                let is_dead =
                    heartbeat.is_some_and(|last| peer.dead.is_some_and(|dead| dead >= last.incarnation));
                let reachable = !is_dead
                    && peer.heard.is_some_and(|heard| now.since(heard) < machine.setup().timers.lease);
                let status = PeerStatus {
                    state: heartbeat.map(|heartbeat| heartbeat.state),
                    reachable,
                    position: heartbeat.map(|heartbeat| heartbeat.position).unwrap_or_default(),
                    score: heartbeat.map(|heartbeat| heartbeat.score),
                    proven: heartbeat.and_then(|heartbeat| heartbeat.proven),
                };
                voter.node().map(|node| (node, status))
            })
            .collect();
        let other = active.filter(|node| *node != self.shared.rank);
        let active_heard = other.and_then(|node| machine.peers().get(VoterId::Node(node))?.heard);
        let protected = if state.holds_lease() {
            machine.is_protected()
        } else {
            let heartbeat = active.and_then(|node| machine.peers().get(VoterId::Node(node)));
            let told = heartbeat.and_then(|peer| peer.heartbeat.as_ref());
            // One of the version before says only whether a majority stands behind it. Of two voters neither can
            // act without the other.
            let guess = !told.is_some_and(|heartbeat| heartbeat.unquorate)
                && (machine.members().absent.is_empty() || machine.counts().0 > 2);
            told.is_some_and(|heartbeat| heartbeat.protected.unwrap_or(guess))
        };
        let voters = voters(machine, &self.shared);
        self.shared.update_group(name, |status| {
            status.state = Some(state);
            status.epoch = machine.epoch();
            status.active = active;
            status.protected = protected;
            status.split_possible = machine.split_possible();
            status.voters = voters;
            status.paused = machine.is_paused();
            status.lease_end = machine.lease_end();
            status.peers = peers;
            if active_heard.is_some() {
                status.active_heard = active_heard;
            }
        });
        self.end_order(name, state, active, now);
    }

    fn end_order(
        &mut self,
        name: &str,
        state: twinhub_redundancy::NodeState,
        active: Option<NodeRank>,
        now: Moment,
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some((operation, order, begun)) = group.running_order else { return };
        let me = self.shared.rank;
        let done = match order {
            Order::Switchover { to: Some(to) } => {
                active == Some(to) && (to != me || state == twinhub_redundancy::NodeState::Active)
            }
            Order::Switchover { to: None } => active.is_some_and(|node| node != me),
            Order::Failover { .. } => active == Some(me) && state == twinhub_redundancy::NodeState::Active,
            Order::Pause => group.machine.is_paused(),
            Order::Resume => !group.machine.is_paused(),
            Order::Maintenance(on) => (state == twinhub_redundancy::NodeState::Maintenance) == on,
            Order::Members(change) => {
                is_settled(group.machine.members(), change) && group.machine.is_record_known()
            }
        };
        let took_ms = now.since(begun).as_millis();
        if done {
            group.running_order = None;
            let who = active.map_or_else(|| "no node".to_owned(), |node| self.shared.name_of(node));
            let detail = match order {
                Order::Members(_) => {
                    let (voters, configured) = group.machine.counts();
                    let revision = group.machine.members().stamp.revision;
                    format!("{voters} of {configured} voters, revision {revision}, after {took_ms} ms")
                }
                Order::Failover { .. } if group.machine.is_unquorate() => format!(
                    "`{who}` is active, after {took_ms} ms, without a majority: see to it that no other node acts \
                     until the status says `protected`"
                ),
                Order::Switchover { .. }
                | Order::Failover { .. }
                | Order::Pause
                | Order::Resume
                | Order::Maintenance(_) => format!("`{who}` is active, after {took_ms} ms"),
            };
            self.shared.end_operation(operation, name, true, &detail);
        } else if now.since(begun) > ORDER_MAX {
            group.running_order = None;
            self.shared.end_operation(
                operation,
                name,
                false,
                &format!("{order} has not ended after {took_ms} ms"),
            );
        }
    }
}

fn voters(machine: &Machine, shared: &Shared) -> Voters {
    let (voting, configured) = machine.counts();
    let members = machine.members().clone();
    let waits = members
        .absent
        .iter()
        .filter_map(|absence| Some((absence.voter, shared.say(&machine.absence_waits_for(absence)?))));
    let waits_for = waits.collect();
    Voters { voting, needed: machine.votes_needed(), configured, members, waits_for }
}

/// Whether a change of the voters counts, as far as this node knows.
fn is_settled(members: &Members, change: MembersChange) -> bool {
    members.before.is_none()
        && match change {
            MembersChange::Shrink { voter, hold, .. } => {
                members.absence(voter).is_some_and(|absence| absence.hold == hold)
            }
            MembersChange::Grow { voter } => !members.is_absent(voter),
        }
}
