//! What goes wrong, and when.

use std::time::Duration;

use twinhub_model::NodeRank;
use twinhub_redundancy::{Input, Message, NodeState, Order, VoterId};

use super::{Event, Faults, Plan, World, nanos};
use crate::net::Quality;

impl World {
    /// A world without trouble in which everyone found a place.
    pub fn settled(plan: Plan, seed: u64) -> World {
        let mut world = World::new(Plan { faults: Faults::NONE, ..plan }, seed);
        world.converge();
        world
    }

    /// A world without trouble in which one node does not start.
    pub fn without(plan: Plan, seed: u64, rank: u8) -> World {
        let mut world = World::new(Plan { faults: Faults::NONE, ..plan }, seed);
        let site = VoterId::Node(NodeRank(rank));
        world.queue.retain(|event| !matches!(event, Event::Restart { site: id } if *id == site));
        world
    }

    /// A node loses its power.
    pub fn remove(&mut self, rank: u8) {
        self.kill(VoterId::Node(NodeRank(rank)), "power lost");
    }

    /// The witness loses its power.
    pub fn remove_witness(&mut self) {
        self.kill(VoterId::Witness, "power lost");
    }

    /// A node gets its power back.
    pub fn bring_back(&mut self, rank: u8) {
        self.push(self.now, Event::Restart { site: VoterId::Node(NodeRank(rank)) });
    }

    /// All disks take up to this long for a sync.
    pub fn slow_disks(&mut self, most: Duration) {
        for site in self.sites.iter_mut() {
            site.sync_max = most;
        }
    }

    /// A node loses its network.
    pub fn cut_off(&mut self, rank: u8) {
        let node = VoterId::Node(NodeRank(rank));
        for id in self.ids() {
            self.net.cut(node, id);
            self.net.cut(id, node);
        }
    }

    /// A node's reference hosts and field probes fall silent, and it has noticed.
    pub fn blind(&mut self, rank: u8) {
        if let Some(site) = self.sites.get_mut(VoterId::Node(NodeRank(rank))) {
            site.evidence = false;
        }
        self.advance(self.lease());
    }

    /// A node's reference hosts and field probes answer nothing any more, also not that they are silent: what it saw last
    /// counts until it is too old.
    pub fn hide_evidence(&mut self, rank: u8) {
        if let Some(site) = self.sites.get_mut(VoterId::Node(NodeRank(rank))) {
            site.evidence_told = (site.evidence, u64::MAX);
        }
    }

    /// A node's process does nothing for so long.
    pub fn freeze(&mut self, rank: u8, time: Duration) {
        self.freeze_until(VoterId::Node(NodeRank(rank)), self.now + nanos(time));
    }

    /// One piece of trouble, and the next one planned.
    pub(super) fn on_trouble(&mut self) {
        let lease = self.lease();
        let pause = lease / 4 + self.random.below(lease * 3);
        self.push(self.now + pause, Event::Trouble);
        let faults = self.plan.faults;
        // What a plan may leave out takes no share of the trouble there.
        let more = [
            (faults.voters, World::trouble_voters as fn(&mut World)),
            (faults.health, World::trouble_health),
            (faults.full_disks, World::trouble_full_disk),
        ];
        let mut more = more.into_iter().filter(|(is_on, _)| *is_on);
        let kinds = 8 + more.clone().count() as u64;
        match self.random.below(kinds) {
            0 if faults.noise => self.trouble_noise(),
            1 | 2 if faults.cuts => self.trouble_cuts(),
            3 if faults.crashes => self.trouble_crash(),
            4 if faults.freezes => self.trouble_freeze(),
            5 if faults.orders => self.trouble_order(),
            6 if faults.slow_disks => self.trouble_disk(),
            7 if faults.blindness => self.trouble_blindness(),
            kind @ 8.. => {
                if let Some((_, happen)) = usize::try_from(kind - 8).ok().and_then(|index| more.nth(index)) {
                    happen(self);
                }
            }
            _ => {}
        }
    }

    pub(super) fn any_site(&mut self) -> VoterId {
        let ids = self.ids();
        let index = self.random.below(ids.len() as u64);
        ids[usize::try_from(index).unwrap_or(0)]
    }

    fn trouble_noise(&mut self) {
        let lease = self.timers.lease;
        let quality = match self.random.below(3) {
            0 => Quality::GOOD,
            1 => Quality {
                loss_percent: self.random.below(40),
                duplicate_percent: self.random.below(30),
                delay_min: Duration::from_micros(100),
                delay_max: self.random.up_to(lease / 10) + Duration::from_millis(1),
            },
            _ => Quality {
                loss_percent: self.random.below(10),
                duplicate_percent: 10,
                delay_min: Duration::ZERO,
                delay_max: self.random.up_to(lease * 2) + Duration::from_millis(1),
            },
        };
        self.net.set_quality(quality);
        self.note(&format!("-- network {quality:?}"));
    }

    fn trouble_cuts(&mut self) {
        if self.random.percent(40) {
            self.note("-- network heals");
            return self.net.heal();
        }
        let (one, other) = (self.any_site(), self.any_site());
        match self.random.below(3) {
            0 => {
                self.note(&format!("-- cut {one} to {other}"));
                self.net.cut(one, other);
            }
            1 => {
                self.note(&format!("-- cut between {one} and {other}"));
                self.net.cut(one, other);
                self.net.cut(other, one);
            }
            _ => {
                self.note(&format!("-- cut {one} off"));
                for id in self.ids() {
                    self.net.cut(one, id);
                    self.net.cut(id, one);
                }
            }
        }
    }

    fn trouble_crash(&mut self) {
        let id = self.any_site();
        let Some(site) = self.sites.get(id).filter(|site| site.is_alive()) else { return };
        let (incarnation, epoch) = (site.incarnation, site.gate.epoch);
        self.kill(id, "killed");
        let lease = self.lease();
        let again =
            self.now + self.random.below(if self.random.clone().percent(50) { lease } else { lease * 4 });
        self.push(again, Event::Restart { site: id });
        if let Some(node) = id.node()
            && self.random.percent(50)
        {
            // The supervisor's word comes late or not at all, and not everywhere.
            for to in self.ids() {
                for delay in self.net.deliveries(id, to, &mut self.random).into_iter().flatten() {
                    let at = self.now + delay + self.random.below(lease / 2);
                    self.deliver_at(at, id, to, Message::Resigned { node, epoch, incarnation });
                }
            }
        }
    }

    /// A process does nothing until then.
    pub(super) fn freeze_until(&mut self, id: VoterId, until: u64) {
        if let Some(site) = self.sites.get_mut(id) {
            site.frozen_until = site.frozen_until.max(until);
        }
        self.frozen_until = self.frozen_until.max(until);
    }

    fn trouble_freeze(&mut self) {
        let id = self.any_site();
        let most = if self.random.percent(50) { self.timers.lease / 2 } else { self.timers.lease * 4 };
        let time = self.random.up_to(most);
        self.note(&format!("-- {id} freezes for {time:?}"));
        let until = self.now + nanos(time);
        self.freeze_until(id, until);
    }

    fn trouble_order(&mut self) {
        let rank = u8::try_from(self.random.below(u64::from(self.plan.nodes))).unwrap_or(0);
        let to = NodeRank(u8::try_from(self.random.below(u64::from(self.plan.nodes))).unwrap_or(0));
        let frozen =
            self.sites.get(VoterId::Node(NodeRank(rank))).is_some_and(|site| self.now < site.frozen_until);
        if frozen {
            return;
        }
        if self.plan.faults.force && self.random.percent(50) {
            return self.order(rank, Order::Failover { force: true });
        }
        match self.random.below(10) {
            0..=2 => self.order(rank, Order::Switchover { to: Some(to) }),
            3 => self.order(rank, Order::Switchover { to: None }),
            4 => self.order(rank, Order::Failover { force: false }),
            5 => self.order(rank, Order::Pause),
            6 => self.order(rank, Order::Resume),
            7 => self.order(rank, Order::Maintenance(true)),
            8 => self.order(rank, Order::Maintenance(false)),
            _ => self.input(VoterId::Node(NodeRank(rank)), Input::Shutdown),
        }
    }

    fn trouble_disk(&mut self) {
        let id = self.any_site();
        let most = if self.random.percent(60) { Duration::from_millis(2) } else { Duration::from_secs(2) };
        if let Some(site) = self.sites.get_mut(id) {
            site.sync_max = most;
        }
        self.note(&format!("-- {id} syncs within {most:?}"));
    }

    fn trouble_full_disk(&mut self) {
        let id = self.any_site();
        let Some(site) = self.sites.get_mut(id).filter(|site| !site.is_full) else { return };
        site.is_full = true;
        self.note(&format!("-- {id} has a full disk"));
        let at = self.now + self.random.below(self.lease() * 4);
        self.push(at, Event::Space { site: id });
    }

    /// Somebody made space and lets a node that stopped for it take part again.
    pub(super) fn on_space(&mut self, id: VoterId) {
        let Some(site) = self.sites.get_mut(id).filter(|site| site.is_full) else { return };
        site.is_full = false;
        self.note(&format!("-- {id} has space again"));
        if let Some(rank) = id.node().map(|NodeRank(rank)| rank)
            && self.state(rank) == Some(NodeState::Faulted)
        {
            self.order(rank, Order::Resume);
        }
    }

    fn trouble_blindness(&mut self) {
        let id = self.any_site();
        let sees = self.random.percent(50);
        if let Some(site) = self.sites.get_mut(id) {
            site.evidence = sees;
        }
        self.note(&format!("-- {id} sees the world: {sees}"));
    }
}
