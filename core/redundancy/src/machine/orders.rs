//! What operators order.

use twinhub_model::{Moment, NodeRank};

use super::{Machine, Urgent};
use crate::input::Order;
use crate::message::{Message, MoveCause};
use crate::reason::{Reason, millis};
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::stored::Hold;

impl Machine {
    pub(super) fn on_order(&mut self, order: Order, now: Moment) {
        let done = match order {
            Order::Switchover { to } => self.order_switchover(to, now),
            Order::Failover { force } => self.order_failover(force, now),
            Order::Pause => {
                self.order_hold(true, now);
                Ok(())
            }
            Order::Resume => {
                self.order_hold(false, now);
                Ok(())
            }
            Order::Maintenance(true) => self.order_maintenance(now),
            Order::Maintenance(false) => self.order_end_of_maintenance(now),
            Order::Members(change) => self.order_members(change, now),
        };
        if let Err(why) = done {
            self.refuse(order, why);
        }
    }

    fn order_switchover(&mut self, to: Option<NodeRank>, now: Moment) -> Result<(), String> {
        if self.tenure.is_some() {
            return self.switch_over(to, self.me, now);
        }
        let Some(active) = self.active.filter(|active| self.is_fresh(*active, now)) else {
            return Err("no active node is reachable: `failover` makes this node active".to_owned());
        };
        if to == Some(active) {
            return Err(format!("node {active} is already active"));
        }
        let by = self.me;
        self.send(VoterId::Node(active), Message::RequestSwitchover { to, by });
        Ok(())
    }

    pub(super) fn on_switchover_request(
        &mut self,
        from: VoterId,
        to: Option<NodeRank>,
        by: NodeRank,
        now: Moment,
    ) {
        // Repeated on several paths; the first one counts.
        if self.state == NodeState::Draining || self.tenure.is_none() {
            return;
        }
        if let Err(why) = self.switch_over(to, by, now) {
            self.send(from, Message::SwitchoverRefused { to, why });
        }
    }

    fn switch_over(&mut self, to: Option<NodeRank>, by: NodeRank, now: Moment) -> Result<(), String> {
        if to == Some(self.me) {
            return Err(format!("node {} is already active", self.me));
        }
        if self.state != NodeState::Active {
            return Err(format!("node {} is {}, not yet active", self.me, self.state));
        }
        let to = match to {
            Some(to) => match self.ineligibility(to, now) {
                Some(why) => return Err(why.to_string()),
                None => to,
            },
            None => self.best_target(now).ok_or_else(|| self.why_nobody(now))?,
        };
        self.begin_drain(Some(to), MoveCause::Operator { by }, Reason::OperatorSwitchover { by, to }, now);
        Ok(())
    }

    fn why_nobody(&self, now: Moment) -> String {
        let others = self.setup.nodes.iter().filter(|info| info.node != self.me);
        let whys: Vec<String> =
            others.filter_map(|info| Some(self.ineligibility(info.node, now)?.to_string())).collect();
        if whys.is_empty() { "there is no other node".to_owned() } else { whys.join("; ") }
    }

    fn order_failover(&mut self, force: bool, now: Moment) -> Result<(), String> {
        if self.tenure.is_some() {
            return Err(format!("node {} is already {}", self.me, self.state));
        }
        match self.state {
            NodeState::Joining | NodeState::Syncing | NodeState::Standby | NodeState::Isolated => {}
            NodeState::Candidate => return Ok(()),
            NodeState::Starting
            | NodeState::Activating
            | NodeState::Active
            | NodeState::Draining
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => {
                return Err(format!("node {} is {} and cannot become active", self.me, self.state));
            }
        }
        if !self.setup.nodes.iter().any(|info| info.node == self.me && info.votes) {
            return Err(format!("node {} is an observer", self.me));
        }
        if !force && !self.is_member(self.setup.me) {
            return Err(format!(
                "node {} is shrunk: its vote does not count until the active node has taken it in again",
                self.me
            ));
        }
        if let Some(active) = self.active.filter(|active| self.is_fresh(*active, now)) {
            return Err(format!("node {active} is alive and active: use `switchover`"));
        }
        self.abandon_election(now);
        self.urgent = Some(Urgent::Operator { force });
        self.ask_after = now;
        Ok(())
    }

    fn order_hold(&mut self, on: bool, now: Moment) {
        if !on {
            self.clear_moves();
            self.pins.chosen = None;
            if self.state == NodeState::Faulted && self.gates_closed {
                self.enter(NodeState::Joining, Reason::Resumed { version: self.pins.hold.version }, now);
                self.follow(now);
            }
        }
        // Resuming is also for what no pause holds, and on every node: that is always news.
        if self.pins.hold.on != on || !on {
            self.pins.hold = Hold { version: self.pins.hold.version.saturating_add(1), on };
            self.tell_hold();
            self.beat(now);
        }
        self.persist();
    }

    fn order_maintenance(&mut self, now: Moment) -> Result<(), String> {
        match self.state {
            NodeState::Maintenance => Ok(()),
            NodeState::Active => {
                let to = self.best_target(now).ok_or_else(|| self.why_nobody(now))?;
                self.pins.maintenance = true;
                self.persist();
                let reason = Reason::MaintenanceOn { by_pin: false };
                self.begin_drain(Some(to), MoveCause::Maintenance, reason, now);
                Ok(())
            }
            NodeState::Activating | NodeState::Draining => {
                Err(format!("node {} is {}: order it again when that is done", self.me, self.state))
            }
            NodeState::Isolated if !self.gates_closed => {
                Err("outputs are not confirmed closed: order it again when they are".to_owned())
            }
            NodeState::Starting => {
                self.pins.maintenance = true;
                self.persist();
                Ok(())
            }
            NodeState::Joining
            | NodeState::Syncing
            | NodeState::Standby
            | NodeState::Candidate
            | NodeState::Isolated
            | NodeState::Reconciling
            | NodeState::Faulted => {
                self.abandon_election(now);
                self.pins.maintenance = true;
                self.persist();
                self.enter(NodeState::Maintenance, Reason::MaintenanceOn { by_pin: false }, now);
                Ok(())
            }
        }
    }

    fn order_end_of_maintenance(&mut self, now: Moment) -> Result<(), String> {
        if !self.pins.maintenance {
            return Err(format!("node {} is not in maintenance", self.me));
        }
        self.pins.maintenance = false;
        self.persist();
        if self.state == NodeState::Maintenance {
            self.enter(NodeState::Joining, Reason::MaintenanceOff, now);
            self.follow(now);
        }
        Ok(())
    }

    pub(super) fn is_fresh(&self, node: NodeRank, now: Moment) -> bool {
        let limit = self.setup.timers.lease.as_millis();
        self.heard(VoterId::Node(node)).is_some_and(|heard| u128::from(millis(now, heard)) < limit)
    }
}
