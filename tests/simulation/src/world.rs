//! Everything together, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};
use twinhub_redundancy::{
    Action, Failback, Input, Machine, NodeInfo, NodeState, Order, Policy, Setup, StoredState, Timers, VoterId,
};

use crate::field::{Field, Finding, instant};
use crate::letters::{Letter, Letters};
use crate::moves::Moves;
use crate::net::{Net, Quality};
use crate::queue::Queue;
use crate::random::Random;
use crate::site::{Clock, Gate, Life, Site};
use crate::sites::Sites;
use crate::story::{Line, Story};

mod digest;
mod driver;
mod health;
mod mail;
mod plan;
mod scripts;
mod trouble;
mod voters;

pub use health::{INTERFACES, Seen};
pub use plan::{Faults, Plan, Sabotage};
pub use scripts::Script;

/// Everything together.
#[derive(Debug)]
pub struct World {
    /// What is simulated.
    pub plan: Plan,
    /// The timers of all sites.
    pub timers: Timers,
    /// True time in nanoseconds.
    pub now: u64,
    /// Its machines in the basement.
    pub sites: Sites,
    /// The network between them.
    pub net: Net,
    /// The plant.
    pub field: Field,
    /// How often each state was entered, for checks that rare things happen at all.
    pub entered: BTreeMap<NodeState, u64>,
    /// How often the role was won, by kind of reason.
    pub won: BTreeMap<&'static str, u64>,
    /// How often a node raised an alarm, by kind of reason.
    pub alarms: BTreeMap<&'static str, u64>,
    /// Moves of the role that no operator ordered and no death caused.
    pub moves: Moves,
    /// How many events were served.
    pub events: u64,
    /// All that the sites did, in one number: two runs of a seed have the same.
    pub digest: u64,
    /// Whether every node that could move the role hears of each move, also while there are faults.
    is_count_exact: bool,
    /// Operators force failovers, or did before everything healed.
    may_be_forced: bool,
    random: Random,
    queue: Queue<Event>,
    letters: Letters,
    /// What a node wants, while it is carried out; empty in between.
    actions: Vec<Action>,
    /// Nobody is frozen from then on.
    frozen_until: u64,
    /// Somebody's lease changed, or two had one: only then can there be two holders.
    is_lease_new: bool,
    story: Story,
    /// How many findings there were when the last one was told, and what happened before the first of each kind.
    told: (usize, BTreeMap<Finding, String>),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Wake { site: VoterId },
    Deliver { to: VoterId, from: VoterId, letter: Letter },
    Synced { site: VoterId, incarnation: Incarnation },
    Driver { site: VoterId, incarnation: Incarnation, step: Step },
    Write { site: VoterId },
    Send { site: VoterId, epoch: Epoch },
    Arrive { epoch: Epoch },
    Restart { site: VoterId },
    Space { site: VoterId },
    Chores { site: VoterId },
    Shrink { by: VoterId, voter: VoterId },
    EndOfService { site: VoterId },
    Kill { site: VoterId, incarnation: Incarnation },
    Flap { rank: u8, interface: usize, left: u8 },
    Trouble,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Loaded,
    GatesOpen { epoch: Epoch },
    GatesClosed,
    Drained { epoch: Epoch },
    Merged,
}

impl World {
    /// Runs the storm, heals everything, runs the calm, and checks that one node is active.
    pub fn run(plan: Plan, seed: u64) -> World {
        let mut world = World::new(plan, seed);
        let storm = world.lease() * u64::from(plan.storm_leases);
        world.push(world.now + 1, Event::Trouble);
        world.advance(storm);
        world.heal();
        world.converge();
        world
    }

    /// A world in which all processes start at about the same time.
    pub fn new(plan: Plan, seed: u64) -> World {
        let mut timers = plan.all_timers();
        match plan.sabotage {
            Sabotage::NoMargin => timers.margin = Duration::ZERO,
            Sabotage::NoGuard => timers.guard = Duration::ZERO,
            Sabotage::Restless => {
                timers.flap_moves = u8::MAX;
                timers.hold_back = Duration::ZERO;
                timers.score_hold = Duration::ZERO;
            }
            Sabotage::None
            | Sabotage::ForgettingVoter
            | Sabotage::ForgettingVoters
            | Sabotage::GrantAtOnce
            | Sabotage::LyingDisk
            | Sabotage::Boasting
            | Sabotage::FreezeBeforeSend
            | Sabotage::FreezeBeforeSendWithToken => {}
        }
        let mut random = Random::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x7477_696e);
        let ids = (0..plan.nodes).map(|rank| VoterId::Node(NodeRank(rank)));
        let sites =
            ids.chain(plan.witness.then_some(VoterId::Witness)).map(|id| new_site(id, &mut random)).collect();
        let mut world = World {
            plan,
            timers,
            now: 0,
            sites: Sites::new(sites),
            net: Net::default(),
            field: Field::default(),
            entered: BTreeMap::new(),
            won: BTreeMap::new(),
            alarms: BTreeMap::new(),
            moves: Moves::default(),
            is_count_exact: plan.nodes == 2 || plan.faults.lets_everyone_hear(),
            events: 0,
            digest: 0,
            may_be_forced: plan.faults.force,
            random,
            queue: Queue::new(nanos(timers.heartbeat)),
            letters: Letters::default(),
            actions: Vec::new(),
            frozen_until: 0,
            is_lease_new: false,
            story: Story::default(),
            told: (0, BTreeMap::new()),
        };
        for id in world.ids() {
            let at = world.random.below(world.lease() / 4);
            world.push(at, Event::Restart { site: id });
            let tick = world.random.below(world.lease() / 15);
            if id.node().is_some() {
                world.push(at + tick, Event::Chores { site: id });
            }
        }
        world
    }

    /// Lets this much true time go by.
    pub fn advance(&mut self, nanos: u64) {
        let end = self.now + nanos;
        while let Some((at, event)) = self.queue.pop_until(end) {
            self.now = self.now.max(at);
            self.events += 1;
            self.serve(event);
            if self.is_lease_new {
                self.observe();
            }
            if self.field.findings.len() != self.told.0 {
                self.keep_story();
            }
        }
        self.now = end;
        self.observe();
    }

    /// The same, in other words.
    pub fn pass(&mut self, time: Duration) {
        self.advance(nanos(time));
    }

    /// `L_v` in nanoseconds.
    pub fn lease(&self) -> u64 {
        nanos(self.timers.lease)
    }

    /// Everyone.
    pub fn ids(&self) -> Vec<VoterId> {
        self.sites.ids().collect()
    }

    /// A node's machine, if its process runs.
    pub fn machine(&self, rank: u8) -> Option<&Machine> {
        self.sites.get(VoterId::Node(NodeRank(rank)))?.machine()
    }

    /// A node's state, if its process runs.
    pub fn state(&self, rank: u8) -> Option<NodeState> {
        self.machine(rank).map(Machine::state)
    }

    /// The nodes that are in state active.
    pub fn active(&self) -> Vec<NodeRank> {
        let nodes = self
            .sites
            .iter()
            .filter(|site| site.machine().is_some_and(|machine| machine.state() == NodeState::Active));
        nodes.filter_map(|site| site.id.node()).collect()
    }

    /// Hands an order to a node.
    pub fn order(&mut self, rank: u8, order: Order) {
        if order == Order::Resume {
            self.moves.resumed();
        }
        self.note(&format!("operator on node {rank}: {order}"));
        self.input(VoterId::Node(NodeRank(rank)), Input::Operator(order));
    }

    #[cold]
    fn keep_story(&mut self) {
        for (finding, _) in &self.field.findings[self.told.0..] {
            self.told.1.entry(*finding).or_insert_with(|| self.story.last(STORY_LINES));
        }
        self.told.0 = self.field.findings.len();
    }

    /// What happened before the first of these findings, and at the end.
    pub fn story_of(&self, findings: &[Finding]) -> String {
        let kept = findings.iter().find_map(|finding| self.told.1.get(finding));
        let before = kept.map(|story| format!("{story}\n…\n")).unwrap_or_default();
        format!("{before}{}", self.story(if kept.is_some() { STORY_LINES / 4 } else { STORY_LINES }))
    }

    /// The last lines of what happened.
    pub fn story(&self, lines: usize) -> String {
        self.story.last(lines)
    }

    /// Heals everything, brings everyone back, withdraws all orders.
    pub fn heal(&mut self) {
        self.note("-- everything heals");
        self.plan.faults = Faults::NONE;
        self.net.heal();
        self.net.set_quality(Quality::GOOD);
        self.heal_health();
        for id in self.ids() {
            if let Some(site) = self.sites.get_mut(id) {
                site.sync_max = Duration::from_millis(1);
                site.evidence = true;
                site.is_full = false;
                site.disk_busy_until = site.disk_busy_until.min(self.now);
                site.frozen_until = site.frozen_until.min(self.now);
                let (waiting, incarnation) = (site.unsynced.len(), site.incarnation);
                // What a slow disk still has to do, which may be minutes of work, a healthy one does at once.
                let is_dead = !site.is_alive();
                for _ in 0..waiting {
                    self.push(self.now, Event::Synced { site: id, incarnation });
                }
                if is_dead {
                    self.push(self.now, Event::Restart { site: id });
                }
            }
        }
        for rank in 0..self.plan.nodes {
            self.order(rank, Order::Resume);
            if self.state(rank) == Some(NodeState::Maintenance) {
                self.order(rank, Order::Maintenance(false));
            }
        }
    }

    /// After the faults, exactly one node must be active and the others standby, within a bound.
    pub fn converge(&mut self) {
        let timers = self.timers;
        let bound = timers.start * 3 + timers.lease * 8 + timers.drain * 2;
        let step = self.lease() / 3;
        let end = self.now + nanos(bound);
        while self.now < end && !self.is_settled() {
            self.advance(step);
            for rank in 0..self.plan.nodes {
                let is_faulted = self.state(rank) == Some(NodeState::Faulted);
                if is_faulted || self.machine(rank).is_some_and(Machine::is_paused) {
                    self.order(rank, Order::Resume);
                }
                // The pin is stored: a node that came up after the order to leave is in maintenance again.
                if self.state(rank) == Some(NodeState::Maintenance) {
                    self.order(rank, Order::Maintenance(false));
                }
                self.grow_everyone(rank);
            }
        }
        if !self.is_settled() {
            let states: Vec<_> = (0..self.plan.nodes).map(|rank| self.state(rank)).collect();
            let what = format!("{}: states {states:?} {bound:?} after the last fault", self.at());
            self.field.note(Finding::NoConvergence, what);
        }
    }

    /// Whether exactly one node is active and all others are standby.
    pub fn is_settled(&self) -> bool {
        let standby =
            (0..self.plan.nodes).filter(|rank| self.state(*rank) == Some(NodeState::Standby)).count();
        self.active().len() == 1 && standby + 1 == usize::from(self.plan.nodes) && self.everyone_votes()
    }

    /// The true time, for messages.
    pub fn at(&self) -> String {
        instant(self.now)
    }

    fn note(&mut self, what: &str) {
        self.tell(Line::Text(what.to_owned()));
    }

    fn tell(&mut self, line: Line) {
        self.story.tell(self.now, line);
    }

    fn push(&mut self, at: u64, event: Event) {
        self.queue.push(at, event);
    }

    fn setup(&self, me: VoterId) -> Setup {
        let info = |rank| NodeInfo { node: NodeRank(rank), name: format!("n{rank}"), votes: true };
        Setup {
            group: "site".to_owned(),
            cluster: 1,
            me,
            nodes: (0..self.plan.nodes).map(info).collect(),
            witness: self.plan.witness,
            without_witness: self.plan.policy,
            timers: self.timers,
            failback: if self.plan.hands_back {
                Failback::Auto { hold_off: self.timers.lease * 10 }
            } else {
                Failback::Manual
            },
            lag_limit_records: 1000,
            config_hash: 1,
        }
    }

    fn serve(&mut self, event: Event) {
        // Hardly ever is anybody frozen, and then each event asks whether it is about that one.
        if self.now < self.frozen_until
            && let Some(site) = event.site().and_then(|id| self.sites.get(id))
            && self.now < site.frozen_until
        {
            let at = site.frozen_until;
            return self.push(at, event);
        }
        match event {
            Event::Wake { site } => {
                let is_due = self.sites.get(site).is_some_and(|found| found.wake <= self.now);
                if is_due {
                    self.input(site, Input::Tick);
                }
            }
            Event::Deliver { to, from, letter } => {
                self.deliver(to, from, letter);
                self.letters.discard(letter);
            }
            Event::Synced { site, incarnation } => self.on_synced(site, incarnation),
            Event::Driver { site, incarnation, step } => {
                if self.sites.get(site).is_some_and(|found| found.incarnation == incarnation) {
                    self.on_driver(site, step);
                }
            }
            Event::Write { site } => self.on_write(site),
            Event::Send { site, epoch } => self.on_send(site, epoch),
            Event::Arrive { epoch } => {
                let token = self.plan.sabotage == Sabotage::FreezeBeforeSendWithToken;
                self.field.write(epoch, token, self.now);
            }
            Event::Restart { site } => self.start(site),
            Event::Space { site } => self.on_space(site),
            Event::Chores { site } => self.on_chores(site),
            Event::Shrink { by, voter } => self.on_shrink(by, voter),
            Event::EndOfService { site } => self.on_end_of_service(site),
            Event::Kill { site, incarnation } => self.on_kill(site, incarnation),
            Event::Flap { rank, interface, left } => self.on_flap(rank, interface, left),
            Event::Trouble => self.on_trouble(),
        }
    }

    /// Hands an input to a node and carries out what it wants.
    fn input(&mut self, id: VoterId, input: Input) {
        let Some(site) = self.sites.get_mut(id) else { return };
        let shown = site.clock.at(self.now);
        let Life::Node(machine) = &mut site.life else { return };
        machine.handle_input(input, shown);
        self.carry_out_all(id, shown);
    }

    /// Carries out what a node wants at this time on its clock.
    fn carry_out_all(&mut self, id: VoterId, shown: Moment) {
        let Some(site) = self.sites.get_mut(id) else { return };
        let Life::Node(machine) = &mut site.life else { return };
        let wake = machine.take_outputs(&mut self.actions, shown);
        if !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for action in &mut actions {
                if let Action::SendOthers { message } = action {
                    self.transmit_others(id, message);
                    continue;
                }
                if let Action::Send { to, message } = action {
                    self.transmit(id, *to, message);
                    continue;
                }
                self.carry_out(id, action);
                // What an action does may have ended the process: nothing more comes of it.
                if self.sites.get(id).is_none_or(|site| !site.is_alive()) {
                    break;
                }
            }
            actions.clear();
            self.actions = actions;
        }
        let Some(site) = self.sites.get_mut(id).filter(|site| site.is_alive()) else { return };
        if site.wanted.0 != wake {
            site.wanted = (wake, site.clock.when(wake));
        }
        let wake = site.wanted.1.max(self.now + 1);
        if wake != u64::MAX && (wake < site.wake || site.wake <= self.now) {
            site.wake = wake;
            self.push(wake, Event::Wake { site: id });
        } else {
            site.wake = site.wake.min(wake);
        }
    }

    /// Looks at everything from outside.
    fn observe(&mut self) {
        let count = self.sites.iter().filter(|site| site.holds_lease(self.now)).count();
        self.is_lease_new = count > 1;
        if count < 2 {
            return;
        }
        let mut holders = Vec::new();
        for site in self.sites.iter() {
            if let Some(machine) = site.machine()
                && site.holds_lease(self.now)
            {
                holders.push((site.id, machine.is_unquorate(), machine.split_possible(), site.gate.epoch));
            }
        }
        if holders.len() < 2 {
            return;
        }
        let sure = holders.iter().filter(|(_, is_unquorate, ..)| !is_unquorate).count();
        let unmarked = holders.iter().filter(|(_, _, says, _)| !says).count();
        let what = format!("{}: {holders:?}", self.at());
        if sure > 1 {
            self.field.note(Finding::TwoHolders, what.clone());
        }
        if unmarked > 1 || (unmarked > 0 && !self.may_be_forced && self.plan.policy != Policy::Manual) {
            self.field.note(Finding::UnmarkedSplit, what);
        }
    }
}

impl Event {
    /// The site that has to do something for it.
    fn site(&self) -> Option<VoterId> {
        match self {
            Event::Wake { site }
            | Event::Synced { site, .. }
            | Event::Driver { site, .. }
            | Event::Write { site }
            | Event::Send { site, .. }
            | Event::EndOfService { site }
            | Event::Chores { site } => Some(*site),
            Event::Shrink { by, .. } => Some(*by),
            Event::Deliver { to, .. } => Some(*to),
            Event::Arrive { .. }
            | Event::Restart { .. }
            | Event::Space { .. }
            | Event::Kill { .. }
            | Event::Flap { .. }
            | Event::Trouble => None,
        }
    }
}

fn new_site(id: VoterId, random: &mut Random) -> Site {
    Site {
        id,
        clock: Clock {
            offset: random.below(3_600_000_000_000),
            rate_ppm: i64::try_from(random.below(3)).unwrap_or(0) * 10_000 - 10_000,
        },
        disk: StoredState::default(),
        unsynced: Vec::new(),
        disk_busy_until: 0,
        sync_max: Duration::from_millis(2),
        is_full: false,
        refused: None,
        life: Life::Dead,
        incarnation: Incarnation(0),
        frozen_until: 0,
        gate: Gate::default(),
        is_writing: false,
        follows: None,
        position: Position::START,
        position_told: Position::START,
        evidence: true,
        evidence_told: (true, 0),
        seen: [Seen::GOOD; INTERFACES.len()],
        seen_told: None,
        told: Epoch::NONE,
        wake: 0,
        wanted: (Moment::NEVER, u64::MAX),
        acted_until: 0,
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a write is on its way at most, of the guard time: the rest covers clocks that run differently.
pub(crate) const IN_FLIGHT_PERCENT: u64 = 98;

/// Lines of a story that are told of a failure.
const STORY_LINES: usize = 60;
