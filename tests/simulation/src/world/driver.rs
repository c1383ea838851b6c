//! The part of the hub around the machine: disk, gates, interfaces, replication.

use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, Position};
use twinhub_redundancy::{Action, Input, Machine, NodeState, Reason, StoredState, Voter, VoterId};

use super::{Event, IN_FLIGHT_PERCENT, Sabotage, Step, World, nanos};
use crate::field::Finding;
use crate::site::{Gate, Life};
use crate::story::Line;

impl World {
    /// Starts a site's process from what is on its disk.
    pub(super) fn start(&mut self, id: VoterId) {
        let setup = self.setup(id);
        let sabotage = self.plan.sabotage;
        let seed = self.random.draw();
        let Some(site) = self.sites.get_mut(id) else { return };
        if site.is_alive() {
            return;
        }
        site.incarnation = Incarnation(site.incarnation.0 + 1);
        let mut stored = site.disk.clone();
        match sabotage {
            Sabotage::ForgettingVoter => stored = StoredState::default(),
            Sabotage::ForgettingVoters => stored.members = None,
            Sabotage::GrantAtOnce => stored.grant = None,
            Sabotage::None
            | Sabotage::NoMargin
            | Sabotage::NoGuard
            | Sabotage::LyingDisk
            | Sabotage::Boasting
            | Sabotage::Restless
            | Sabotage::FreezeBeforeSend
            | Sabotage::FreezeBeforeSendWithToken => {}
        }
        let shown = site.clock.at(self.now);
        site.gate = Gate::default();
        site.follows = None;
        site.wake = 0;
        site.position_told = Position::START;
        site.evidence_told = (true, 0);
        site.seen_told = None;
        site.unsynced.clear();
        site.refused = None;
        site.disk_busy_until = self.now;
        let incarnation = site.incarnation;
        site.life = match id {
            VoterId::Witness => {
                Life::Witness(Box::new(Voter::new(&setup, stored, shown).of_process(incarnation)))
            }
            VoterId::Node(_) => Life::Node(Box::new(Machine::new(setup, stored, incarnation, seed, shown))),
        };
        if let Some(node) = id.node() {
            self.moves.starts(node, self.now);
        }
        self.note(&format!("{id} starts, incarnation {}", incarnation.0));
        self.later(id, Duration::from_millis(50), Step::Loaded);
        self.input(id, Input::Tick);
    }

    /// Kills a site's process; what was on its way to the disk may or may not get there.
    pub(super) fn kill(&mut self, id: VoterId, why: &str) {
        self.note(&format!("{id} dies: {why}"));
        let Some(site) = self.sites.get_mut(id) else { return };
        let survives = usize::try_from(self.random.below(site.unsynced.len() as u64 + 1)).unwrap_or(0);
        if let Some((_, state)) = survives.checked_sub(1).and_then(|last| site.unsynced.get(last))
            && self.plan.sabotage != Sabotage::LyingDisk
        {
            site.disk = state.clone();
        }
        site.unsynced.clear();
        site.life = Life::Dead;
        site.gate = Gate::default();
    }

    pub(super) fn carry_out(&mut self, id: VoterId, action: &Action) {
        match *action {
            // Messages are taken out before.
            Action::Send { .. } | Action::SendOthers { .. } => {}
            Action::Persist { ticket, ref state } => self.store(id, ticket, state.clone()),
            Action::Lease { epoch, until } => {
                if let Some(site) = self.sites.get_mut(id) {
                    site.gate.epoch = epoch;
                    site.gate.until = until;
                }
                self.is_lease_new = true;
                self.digest(id, 32, until.0);
            }
            Action::Activate { epoch, guard_until, unquorate, ref reason, .. } => {
                *self.won.entry(reason.kind()).or_default() += 1;
                let Some(site) = self.sites.get_mut(id) else { return };
                site.gate.is_open = false;
                site.gate.guard_until = guard_until;
                site.position = Position::new(epoch, 0);
                site.follows = None;
                let incarnation = site.incarnation;
                if let Some(node) = id.node() {
                    self.moves.acts(node, Some(matches!(reason, Reason::BetterScore { .. })), self.now);
                    self.field.activated(epoch, node, incarnation, self.now);
                }
                if unquorate
                    && (self.plan.witness
                        || self.plan.policy == twinhub_redundancy::Policy::Manual
                        || self.plan.nodes > 2)
                    && !self.may_be_forced
                {
                    let at = self.at();
                    self.field.note(Finding::SelfPromotion, format!("{at}: {id} in {epoch}: {reason}"));
                }
                if !unquorate {
                    self.check_winner(id);
                }
                self.later(id, Duration::from_millis(20), Step::GatesOpen { epoch });
            }
            Action::Drain { epoch, to, ref reason, .. } => {
                self.judge_move(id, to, reason);
                self.shut(id);
                let in_flight = self.timers.guard * u32::try_from(IN_FLIGHT_PERCENT).unwrap_or(0) / 100;
                let is_stuck = self.plan.faults.orders && self.random.percent(10);
                let time = if is_stuck { self.timers.drain * 2 } else { in_flight };
                let at = self.now + nanos(time);
                let incarnation = self.incarnation(id);
                self.push(at, Event::Driver { site: id, incarnation, step: Step::Drained { epoch } });
            }
            Action::CloseGates { .. } => {
                self.shut(id);
                let is_stuck = self.plan.faults.freezes && self.random.percent(2);
                let most = if is_stuck { self.timers.margin * 3 } else { self.timers.margin / 4 };
                self.later(id, most, Step::GatesClosed);
            }
            Action::Standby { active, .. } => {
                if let Some(site) = self.sites.get_mut(id) {
                    site.follows = active;
                }
            }
            Action::Reconcile { active, .. } => {
                if let Some(site) = self.sites.get_mut(id) {
                    site.follows = Some(active);
                }
                self.later(id, Duration::from_millis(100), Step::Merged);
            }
            Action::State { from, to, ref reason } => {
                *self.entered.entry(to).or_default() += 1;
                if to == NodeState::Active
                    && let Some(node) = id.node()
                {
                    self.moves.acts(node, None, self.now);
                }
                self.digest(id, 33, to as u64);
                self.tell(Line::State { id, from, to, reason: reason.clone() });
            }
            Action::Quorum { epoch, quorate, ref reason, .. } => {
                self.note(&format!("{id} epoch {epoch} quorate {quorate}: {reason}"));
            }
            Action::Announce { epoch, ref reason } => {
                self.note(&format!("{id} epoch {epoch} announced: {reason}"));
            }
            Action::Members { ref members, ref reason } => self.on_members(id, members, reason),
            Action::Alarm { ref reason } => {
                *self.alarms.entry(reason.kind()).or_default() += 1;
                self.tell(Line::Said { id, what: "alarm", reason: reason.clone() });
            }
            Action::Refused { order, ref why } => self.note(&format!("{id} refuses {order}: {why}")),
            Action::Abort { ref reason } => {
                // Nobody hears any more what became of the process.
                if let Some(state) = self.sites.get(id).and_then(|site| site.machine()).map(Machine::state) {
                    *self.entered.entry(state).or_default() += 1;
                }
                let at = self.at();
                self.field.note(Finding::Aborted, format!("{at}: {id}: {reason}"));
                self.kill(id, "abort");
                let at = self.now + self.lease() / 2;
                self.push(at, Event::Restart { site: id });
            }
            Action::Stopped => {
                self.kill(id, "stopped in order");
                let at = self.now + self.lease();
                self.push(at, Event::Restart { site: id });
            }
        }
    }

    /// Puts a state on its way to the disk; syncs finish in order.
    pub(super) fn store(&mut self, id: VoterId, ticket: u64, state: StoredState) {
        let Some(site) = self.sites.get_mut(id) else { return };
        let time = nanos(self.random.up_to(site.sync_max));
        let lies = self.plan.sabotage == Sabotage::LyingDisk;
        site.disk_busy_until = site.disk_busy_until.max(self.now) + if lies { 0 } else { time };
        site.unsynced.push((ticket, state));
        let (at, incarnation) = (site.disk_busy_until, site.incarnation);
        self.push(at, Event::Synced { site: id, incarnation });
    }

    pub(super) fn on_synced(&mut self, id: VoterId, incarnation: Incarnation) {
        let lies = self.plan.sabotage == Sabotage::LyingDisk;
        let Some(site) = self.sites.get_mut(id) else { return };
        if site.incarnation != incarnation || site.unsynced.is_empty() {
            return;
        }
        let (ticket, state) = site.unsynced.remove(0);
        if site.is_full {
            return self.on_refused(id, ticket, state);
        }
        if !lies {
            self.check_record(id, &state);
            if let Some(site) = self.sites.get_mut(id) {
                site.disk = state;
            }
        }
        let Some(site) = self.sites.get_mut(id) else { return };
        if let Life::Witness(voter) = &mut site.life {
            let outputs = voter.persisted(ticket);
            self.carry_out_votes(id, outputs);
        } else {
            self.input(id, Input::Persisted { ticket });
        }
    }

    /// A node that can promise nothing stops; a witness orders it again.
    fn on_refused(&mut self, id: VoterId, ticket: u64, state: StoredState) {
        let Some(site) = self.sites.get_mut(id) else { return };
        if let Life::Witness(_) = site.life {
            let is_newest = site.unsynced.is_empty();
            site.refused = is_newest.then_some((ticket, state));
        } else {
            self.input(id, Input::SelfCheckFailed { what: "no space left on device".to_owned() });
        }
    }

    pub(super) fn on_driver(&mut self, id: VoterId, step: Step) {
        match step {
            Step::Loaded => self.input(id, Input::Loaded),
            Step::GatesOpen { epoch } => {
                let Some(site) = self.sites.get_mut(id) else { return };
                let is_current = site.machine().is_some_and(|machine| {
                    machine.state() == NodeState::Activating && machine.epoch() == epoch
                });
                if is_current {
                    site.gate.is_open = true;
                    if !std::mem::replace(&mut site.is_writing, true) {
                        self.push(self.now, Event::Write { site: id });
                    }
                    self.input(id, Input::GatesOpen);
                }
            }
            Step::GatesClosed => self.input(id, Input::GatesClosed),
            // Also what was drained in an earlier epoch may be told late.
            Step::Drained { epoch } => {
                let position = self.sites.get(id).map_or(Position::START, |site| site.position);
                self.input(id, Input::Drained { epoch, position });
            }
            Step::Merged => self.input(id, Input::MergeDone { set_aside: 0 }),
        }
    }

    /// What a hub does all the time: replicate, look at the world.
    pub(super) fn on_chores(&mut self, id: VoterId) {
        let again = self.now + nanos(self.timers.heartbeat);
        self.push(again, Event::Chores { site: id });
        let Some(site) = self.sites.get(id) else { return };
        if site.machine().is_none() {
            return;
        }
        self.look_at_health(id);
        let Some(site) = self.sites.get(id) else { return };
        let (evidence, follows) = (site.evidence, site.follows.map(VoterId::Node));
        if let Some(active) = follows
            && self.net.is_open(active, id)
            && self.net.is_open(id, active)
            && let Some(position) =
                self.sites.get(active).filter(|site| site.is_alive()).map(|site| site.position)
        {
            let mut is_copying = false;
            if let Some(site) = self.sites.get_mut(id) {
                site.position = position;
                let state = site.machine().map(Machine::state);
                is_copying = matches!(state, Some(NodeState::Syncing | NodeState::Reconciling));
            }
            // A standby that keeps up learns nothing new from it.
            if is_copying {
                self.input(id, Input::Synced { lag_records: 0, config_matches: true });
            }
        }
        let Some(site) = self.sites.get_mut(id) else { return };
        let (mine, is_moved) = (site.position, site.position_told != site.position);
        let (told, until) = site.evidence_told;
        let is_due = self.now >= until || evidence != told;
        site.position_told = mine;
        if is_due {
            let pause = nanos(self.timers.evidence_age) / 4;
            site.evidence_told = (evidence, self.now + pause);
        }
        if is_moved {
            self.input(id, Input::LogPosition { mine });
        }
        if is_due {
            let field_ok_percent = if evidence { 100 } else { 0 };
            self.input(id, Input::Evidence { reference_ok: evidence, field_ok_percent });
        }
    }

    /// The permit is taken.
    pub(super) fn on_write(&mut self, id: VoterId) {
        let Some(site) = self.sites.get_mut(id) else { return };
        site.is_writing = site.gate.is_open;
        if !site.is_writing {
            return;
        }
        let pause = nanos(self.random.up_to(self.timers.lease / 5)) + 1_000_000;
        self.push(self.now + pause, Event::Write { site: id });
        let Some(site) = self.sites.get_mut(id) else { return };
        let epoch = site.gate.epoch;
        if site.permits(epoch, self.now) {
            site.acted_until = self.now;
            site.position.seq += 1;
            let thinking = nanos(self.random.up_to(Duration::from_millis(5)));
            self.push(self.now + thinking, Event::Send { site: id, epoch });
            if self.skips_check() && self.random.percent(1) {
                let until = self.now + nanos(self.random.up_to(self.timers.lease * 4));
                self.freeze_until(id, until);
            }
        }
    }

    /// The permit is checked again right before the send; then the write is on its way.
    pub(super) fn on_send(&mut self, id: VoterId, epoch: Epoch) {
        let skips_check =
            matches!(self.plan.sabotage, Sabotage::FreezeBeforeSend | Sabotage::FreezeBeforeSendWithToken);
        let Some(site) = self.sites.get(id) else { return };
        if !(site.permits(epoch, self.now) || skips_check) {
            return;
        }
        let most = nanos(Timers::guard_of(self)) * IN_FLIGHT_PERCENT / 100;
        let at = self.now + self.random.below(most);
        self.push(at, Event::Arrive { epoch });
    }

    /// Whether nothing stands between a freeze and the send.
    fn skips_check(&self) -> bool {
        matches!(self.plan.sabotage, Sabotage::FreezeBeforeSend | Sabotage::FreezeBeforeSendWithToken)
    }

    fn shut(&mut self, id: VoterId) {
        if let Some(site) = self.sites.get_mut(id) {
            site.gate.is_open = false;
        }
    }

    fn incarnation(&self, id: VoterId) -> Incarnation {
        self.sites.get(id).map_or(Incarnation(0), |site| site.incarnation)
    }

    fn later(&mut self, id: VoterId, most: Duration, step: Step) {
        let at = self.now + 1 + nanos(self.random.up_to(most));
        let incarnation = self.incarnation(id);
        self.push(at, Event::Driver { site: id, incarnation, step });
    }
}

/// The guard time of the profile, also where the sabotage took it away: writes are slow either way.
struct Timers;

impl Timers {
    fn guard_of(world: &World) -> Duration {
        world.plan.all_timers().guard
    }
}
