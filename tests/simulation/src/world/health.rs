//! The field side of every node: interfaces that fail, come back, flap, or are not seen.

use twinhub_model::NodeRank;
use twinhub_redundancy::{
    Health, Input, InterfaceSight, Machine, Message, MoveCause, NodeState, Reason, Sight, VoterId,
};

use super::{Event, World};
use crate::field::Finding;
use crate::moves::{Law, Move};

/// What a node sees of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How it is.
    pub sight: Sight,
    /// A probe from this node is answered although the interface fails.
    pub disputed: bool,
}

impl Seen {
    /// It works.
    pub const GOOD: Seen = Seen { sight: Sight::Good, disputed: false };
    /// It does not work.
    pub const FAILED: Seen = Seen { sight: Sight::Failed, disputed: false };
    /// Nothing is known.
    pub const UNKNOWN: Seen = Seen { sight: Sight::Unknown, disputed: false };
}

/// The interfaces of every node, and whether they are required; the last is a watched item.
pub const INTERFACES: [(&str, bool); 4] =
    [("plc1", true), ("mqtt1", true), ("bms1", false), ("monitor boiler", true)];

impl World {
    /// What a node sees of an interface from here on.
    pub fn see(&mut self, rank: u8, interface: usize, seen: Seen) {
        if let Some(site) = self.sites.get_mut(VoterId::Node(NodeRank(rank))) {
            site.seen[interface] = seen;
        }
    }

    /// Something happens on the field side.
    pub(super) fn trouble_health(&mut self) {
        let rank = self.any_rank();
        let interface = usize::try_from(self.random.below(INTERFACES.len() as u64)).unwrap_or(0);
        match self.random.below(10) {
            0..=2 => {
                let sights = [Sight::Failed, Sight::Failed, Sight::Degraded, Sight::Unknown];
                let sight = sights[usize::try_from(self.random.below(4)).unwrap_or(0)];
                let disputed = self.random.percent(20);
                self.note(&format!("-- node {rank} sees {} {sight:?}", INTERFACES[interface].0));
                self.see(rank, interface, Seen { sight, disputed });
            }
            3 => {
                self.note(&format!("-- every node sees {} fail", INTERFACES[interface].0));
                for rank in 0..self.plan.nodes {
                    self.see(rank, interface, Seen::FAILED);
                }
            }
            4 => {
                self.note(&format!("-- {} flaps on node {rank}", INTERFACES[interface].0));
                let left = u8::try_from(self.random.below(40)).unwrap_or(0);
                self.push(self.now + 1, Event::Flap { rank, interface, left });
            }
            5 => {
                self.note("-- a watched item trips where it is heard");
                for rank in 0..self.plan.nodes {
                    let is_heard = self.state(rank) == Some(NodeState::Active);
                    self.see(rank, INTERFACES.len() - 1, if is_heard { Seen::FAILED } else { Seen::UNKNOWN });
                }
            }
            6 => {
                self.note(&format!("-- node {rank} sees nothing of its field side"));
                for interface in 0..INTERFACES.len() {
                    self.see(rank, interface, Seen::UNKNOWN);
                }
            }
            7 | 8 => self.field_is_well(rank),
            _ => (0..self.plan.nodes).for_each(|rank| self.field_is_well(rank)),
        }
    }

    fn field_is_well(&mut self, rank: u8) {
        for interface in 0..INTERFACES.len() {
            self.see(rank, interface, Seen::GOOD);
        }
    }

    fn any_rank(&mut self) -> u8 {
        u8::try_from(self.random.below(u64::from(self.plan.nodes))).unwrap_or(0)
    }

    pub(super) fn on_flap(&mut self, rank: u8, interface: usize, left: u8) {
        if !self.plan.faults.health {
            return;
        }
        let seen = if left.is_multiple_of(2) { Seen::GOOD } else { Seen::FAILED };
        self.see(rank, interface, seen);
        if let Some(left) = left.checked_sub(1) {
            let pause = self.lease() / 8 + self.random.below(self.lease() * 4);
            self.push(self.now + pause, Event::Flap { rank, interface, left });
        }
    }

    /// After everything healed, every field side is seen and works.
    pub(super) fn heal_health(&mut self) {
        (0..self.plan.nodes).for_each(|rank| self.field_is_well(rank));
    }

    /// What a hub does all the time: look at the field side, and tell what has changed.
    pub(super) fn look_at_health(&mut self, id: VoterId) {
        let (Some(site), Some(node)) = (self.sites.get_mut(id), id.node()) else { return };
        if site.seen_told == Some(site.seen) {
            return;
        }
        site.seen_told = Some(site.seen);
        let sights = site.seen.iter().zip(INTERFACES).map(|(seen, (interface, required))| InterfaceSight {
            interface: interface.to_owned(),
            required,
            sight: seen.sight,
            disputed: seen.disputed,
            cause: String::new(),
        });
        let health = Health::of(sights);
        self.moves.told(node, &health, self.now);
        self.input(id, Input::Health(health));
    }

    /// Judges how often the role is given away for better health.
    pub(super) fn judge_given(&mut self, id: VoterId, message: &Message) {
        let Message::Transfer { token } = message else { return };
        let (MoveCause::Score { .. }, Some(from)) = (token.cause, id.node()) else { return };
        let law = Law { timers: self.plan.all_timers(), is_count_exact: self.is_count_exact };
        if let Some((finding, what)) = self.moves.given(from, &law) {
            let at = self.at();
            self.field.note(finding, format!("{at}: {what}"));
        }
    }

    /// Judges what gives the role away by itself.
    pub(super) fn judge_move(&mut self, id: VoterId, to: Option<NodeRank>, reason: &Reason) {
        let (Some(from), Some(to)) = (id.node(), to) else { return };
        let begun = Move { from, to, at: self.now };
        let law = Law { timers: self.plan.all_timers(), is_count_exact: self.is_count_exact };
        let mut found = if let Reason::BetterScore { mine, theirs, .. } = reason {
            self.moves.for_health(begun, (*mine, *theirs), &law)
        } else if let Reason::Failback { .. } = reason {
            self.moves.back(begun, &law)
        } else {
            return;
        };
        if !self.plan.hands_back && matches!(reason, Reason::Failback { .. }) {
            found.push((Finding::MoveForbidden, format!("node {from} gives the role back by itself")));
        }
        if self.sites.get(id).and_then(|site| site.machine()).is_some_and(Machine::is_paused) {
            found
                .push((Finding::MoveForbidden, format!("node {from} moves the role while moves are paused")));
        }
        for (finding, what) in found {
            let at = self.at();
            self.field.note(finding, format!("{at}: {what}"));
        }
    }
}
