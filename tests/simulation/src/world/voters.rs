//! Voters that are taken out and in again.

use twinhub_model::NodeRank;
use twinhub_redundancy::{
    Machine, Members, MembersChange, Message, NodeState, Order, Reason, StoredState, VoterId,
};

use super::{Event, World, nanos};
use crate::field::Finding;
use crate::story::Line;

impl World {
    /// An operator changes who votes, or a witness stops in order.
    pub(super) fn trouble_voters(&mut self) {
        let rank = u8::try_from(self.random.below(u64::from(self.plan.nodes))).unwrap_or(0);
        let is_frozen =
            self.sites.get(VoterId::Node(NodeRank(rank))).is_some_and(|site| self.now < site.frozen_until);
        if is_frozen {
            return;
        }
        let voter = self.any_site();
        match self.random.below(10) {
            0..=5 => {
                let (fenced, hold) = (self.random.percent(30), self.random.percent(20));
                self.order(rank, Order::Members(MembersChange::Shrink { voter, fenced, hold }));
            }
            6 => self.order(rank, Order::Members(MembersChange::Grow { voter })),
            7 | 8 => self.service(voter),
            _ => self.stop_witness(),
        }
    }

    /// What the README tells to do: drain, shrink, stop, and come back after some leases.
    fn service(&mut self, voter: VoterId) {
        let Some(node) = voter.node() else { return self.stop_witness() };
        if self.state(node.0) != Some(NodeState::Standby) {
            return;
        }
        self.order(node.0, Order::Maintenance(true));
        for rank in 0..self.plan.nodes {
            if self.state(rank) == Some(NodeState::Active) {
                // The heartbeat with the new state is under way.
                let lease = self.lease();
                self.push(self.now + lease / 3, Event::Shrink { by: VoterId::Node(NodeRank(rank)), voter });
            }
        }
        let back = self.now + self.lease() * 2 + self.random.below(self.lease() * 8);
        self.push(back, Event::EndOfService { site: voter });
    }

    pub(super) fn on_shrink(&mut self, by: VoterId, voter: VoterId) {
        if let Some(node) = by.node() {
            self.order(node.0, Order::Members(MembersChange::Shrink { voter, fenced: false, hold: false }));
        }
    }

    pub(super) fn on_end_of_service(&mut self, site: VoterId) {
        if let Some(node) = site.node()
            && self.state(node.0) == Some(NodeState::Maintenance)
        {
            self.order(node.0, Order::Maintenance(false));
        }
    }

    /// The witness asks to be let go, stops a lease later whatever came of it, and is back after some more.
    fn stop_witness(&mut self) {
        let Some(site) = self.sites.get(VoterId::Witness).filter(|site| site.is_alive()) else { return };
        let incarnation = site.incarnation;
        self.note("-- the witness leaves");
        for rank in 0..self.plan.nodes {
            self.transmit(
                VoterId::Witness,
                VoterId::Node(NodeRank(rank)),
                &mut Message::Leave { incarnation },
            );
        }
        let gone = self.now + nanos(self.timers.lease);
        self.push(gone, Event::Kill { site: VoterId::Witness, incarnation });
        let back = gone + self.lease() + self.random.below(self.lease() * 6);
        self.push(back, Event::Restart { site: VoterId::Witness });
    }

    pub(super) fn on_kill(&mut self, id: VoterId, incarnation: twinhub_model::Incarnation) {
        if self.sites.get(id).is_some_and(|site| site.is_alive() && site.incarnation == incarnation) {
            self.kill(id, "stopped in order");
        }
    }

    pub(super) fn on_members(&mut self, id: VoterId, members: &Members, reason: &Reason) {
        *self.field.members.entry(reason.kind()).or_default() += 1;
        if matches!(reason, Reason::Shrunk { .. } | Reason::Grown { .. }) {
            self.field.voters.counts(members);
        }
        self.tell(Line::Said { id, what: "voters", reason: reason.clone() });
    }

    /// A node won with a majority.
    pub(super) fn check_winner(&mut self, id: VoterId) {
        let Some(members) = self.sites.get(id).and_then(|site| site.machine()).map(Machine::members) else {
            return;
        };
        if let Err(what) = self.field.voters.wins(members) {
            let at = self.at();
            self.field.note(Finding::VotersBroken, format!("{at}: {id} {what}"));
        }
    }

    /// A state reached a disk.
    pub(super) fn check_record(&mut self, id: VoterId, state: &StoredState) {
        let Some(new) = &state.members else { return };
        let old = self.sites.get(id).and_then(|site| site.disk.members.clone());
        if let Err(what) = self.field.voters.stores(old.as_deref(), new) {
            let at = self.at();
            self.field.note(Finding::VotersBroken, format!("{at}: {id} stored {what}"));
        }
    }

    /// After everything healed, an active node takes in whom operators left out.
    pub(super) fn grow_everyone(&mut self, rank: u8) {
        if self.state(rank) != Some(NodeState::Active) {
            return;
        }
        let absent = self.machine(rank).and_then(|machine| machine.members().absent.first().copied());
        if let Some(absence) = absent {
            self.order(rank, Order::Members(MembersChange::Grow { voter: absence.voter }));
        }
    }

    pub(super) fn everyone_votes(&self) -> bool {
        let nodes = (0..self.plan.nodes).filter_map(|rank| self.machine(rank));
        nodes.map(Machine::members).all(|members| members.absent.is_empty() && members.before.is_none())
    }
}
