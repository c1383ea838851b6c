//! One group's data plane: a single thread that owns the journal and everything derived from it.
//!
//! ```text
//! plugin -> port -> inbox -> [ engine: journal -> tracker, links, streams, replication, readers ] -> plugin
//! ```
//!
//! The engine is told what to be by the control thread ([`Job::Activate`], [`Job::Drain`], [`Job::Close`],
//! [`Job::Follow`]) and reports when it is so. It never decides who acts. While it acts it is the journal's
//! only writer; otherwise it appends what the active node sends.
//!
//! ```text
//! Standby -> Activating -> Active -> Draining -> Standby
//!                 \___________\________\_______-> Closing -> Standby
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use twinhub_model::{Epoch, ItemId, Moment, NodeRank, Outcome, Position, Record, Sample};
use twinhub_redundancy::Input;
use twinhub_store::{Journal, SyncTicket};

use crate::clock;
use crate::control::ControlSender;
use crate::documents::DocumentStore;
use crate::error::CommandError;
use crate::exchange::Exchange;
use crate::gate::Gate;
use crate::history::lines::Lines;
use crate::inbox::{Inbox, Job, ReadAnswer};
use crate::instance::Interface;
use crate::shared::{EngineCounters, Shared};
use crate::table::ItemTable;
use acceptance::Acceptance;
use commands::Commands;
use connections::Connections;
use deactivation::{Closing, Draining};
use deliveries::Desks;
use healing::Healing;
use health::HealthLook;
use journaling::spawn_syncer;
use merging::Merging;
use outputs::Carried;
use parts::plugins::StateKeeping;
use parts::stores::{Due, Owed};
use parts::{PartState, Parts};
use proposals::Proposals;
use quorum::Majority;
use replication::Replication;
use routes::Routes;
use steps::{Step, Timeline};
use streams::Stream;
use takeover::Activation;
use tracker::Tracker;
use upgrade::Upgrades;
use values_in::ValuesIn;
use watch::Watch;

pub(crate) mod acceptance;
pub(crate) mod alarm_events;
pub(crate) mod alarms;
pub(crate) mod commands;
pub(crate) mod connections;
pub(crate) mod deactivation;
pub(crate) mod deliveries;
pub(crate) mod effect;
pub(crate) mod events;
pub(crate) mod healing;
pub(crate) mod health;
pub(crate) mod inputs;
mod instances;
pub(crate) mod journaling;
pub(crate) mod merging;
pub(crate) mod outputs;
pub(crate) mod parts;
pub(crate) mod proposals;
pub(crate) mod quorum;
mod recovery;
pub(crate) mod replication;
pub(crate) mod routes;
pub(crate) mod source;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod takeover;
#[cfg(test)]
mod tests;
pub(crate) mod tracker;
pub(crate) mod translation;
pub(crate) mod upgrade;
pub(crate) mod values_in;
pub(crate) mod watch;

/// Journal bytes reach the disk at least this often.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);
/// Values that follow others are gathered this long: a lone value goes on at once, a flood in batches.
const GATHER: Duration = Duration::from_millis(2);
/// Counters are shown at most this often.
const VIEW_INTERVAL: Duration = Duration::from_millis(20);
/// The engine looks around at least this often.
const PATIENCE_MAX: Duration = Duration::from_millis(200);
/// Bytes of journal a reader gets at once.
const READ_BYTES: usize = 256 * 1024;
/// Room for samples that is kept from one batch to the next: those of the largest batch of the author's API.
pub(crate) const SCRATCH_SAMPLES_MAX: usize = 1024;

/// What an engine is made of.
#[derive(Debug)]
pub(crate) struct EngineSetup {
    pub(crate) group: String,
    pub(crate) me: NodeRank,
    pub(crate) table: Arc<ItemTable>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) routes: Routes,
    /// The events of its interfaces.
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) control: ControlSender,
    pub(crate) journal: Journal,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ring_window: Duration,
    /// How long outputs that cannot fence wait after an unclean takeover.
    pub(crate) guard: Duration,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) watches: Vec<Watch>,
    /// What keeps its state in this group's journal.
    pub(crate) parts: Vec<Box<dyn PartState>>,
    /// The documents of the cluster.
    pub(crate) documents: DocumentStore,
    /// Whether they are in this group's journal.
    pub(crate) has_documents: bool,
    /// Where those states are stored.
    pub(crate) states_dir: PathBuf,
    /// To the history, if it follows this group's journal.
    pub(crate) lines: Option<Arc<Lines>>,
}

/// What the engine does for its group.
#[derive(Debug)]
pub(crate) enum Phase {
    Standby,
    Activating(Activation),
    Active { epoch: Epoch },
    Draining(Draining),
    Closing(Closing),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) group: String,
    me: NodeRank,
    table: Arc<ItemTable>,
    interfaces: Vec<Interface>,
    routes: Routes,
    gate: Arc<Gate>,
    inbox: Arc<Inbox>,
    control: ControlSender,
    journal: Journal,
    journal_ok: bool,
    shared: Arc<Shared>,
    phase: Phase,
    guard: Duration,
    guard_until: Moment,
    /// Whether a majority stands behind this node while it acts.
    majority: Majority,
    /// Interfaces whose instance is not there.
    down: BTreeSet<usize>,
    starting: BTreeSet<usize>,
    /// Interfaces that an operator restarts, and the operations of that.
    renewing: BTreeMap<usize, u64>,
    tracker: Tracker,
    parts: Parts,
    states: StateKeeping,
    owed: Owed,
    exchange: Arc<Exchange>,
    desks: Desks,
    proposals: Proposals,
    upgrades: Upgrades,
    commands: Commands,
    streams: BTreeMap<usize, Stream>,
    /// Cursors of streams that are not configured are forgotten then.
    absent_until: Moment,
    values_in: BTreeMap<usize, ValuesIn>,
    /// Of interfaces that want to know when their inputs are accepted.
    acceptance: Acceptance,
    replication: Replication,
    merging: Merging,
    lines: Option<Arc<Lines>>,
    recovering: Vec<takeover::Recovering>,
    timeline: Timeline,
    /// Where the standbys' disks stood when a command last waited in vain.
    unanswered_since: Option<Position>,
    counters: EngineCounters,
    health: HealthLook,
    connections: Connections,
    /// Room for samples and for what links carry of them, used again and again: it stays in the processor's cache.
    unpacked: Vec<Sample>,
    carried: Carried,
    healing: Healing,
    synced_at: Moment,
    sync_interval: Duration,
    sync_wanted: bool,
    /// Hash of this node's own dictionary.
    own_dictionary: u64,
    syncer: std::sync::mpsc::Sender<SyncTicket>,
    syncing: bool,
    viewed_at: Moment,
    /// The journal's end as the control thread knows it.
    told: Option<Position>,
}

impl Engine {
    pub(crate) fn new(setup: EngineSetup) -> Engine {
        let watched = setup.routes.iter().filter(|(_, route)| !route.way.stream).map(|(_, route)| route.from);
        let tracker = Tracker::new(watched.collect::<Vec<_>>());
        let streams = setup
            .routes
            .iter()
            .filter(|(_, route)| route.way.stream)
            .map(|(_, route)| (route.way.target, Stream::new()))
            .collect();
        let takes = |(number, interface): (usize, &Interface)| {
            let setup = &interface.port.setup;
            (!setup.values_in.is_empty()).then(|| (number, ValuesIn::new(&setup.id, &setup.values_in)))
        };
        let values_in = setup.interfaces.iter().enumerate().filter_map(takes).collect();
        let starting = (0..setup.interfaces.len()).collect();
        let own_dictionary = setup.journal.dictionary_after(setup.journal.last());
        let acceptance = Acceptance::new(&setup.interfaces);
        let syncer = spawn_syncer(Arc::clone(&setup.inbox));
        let (parts, troubles) = Parts::open(&setup.states_dir, setup.parts);
        let merging = Merging::new(setup.states_dir, &setup.journal);
        let mut engine = Engine {
            merging,
            replication: Replication::new(setup.me, setup.ring_window),
            group: setup.group,
            me: setup.me,
            table: setup.table,
            interfaces: setup.interfaces,
            routes: setup.routes,
            gate: setup.gate,
            inbox: setup.inbox,
            control: setup.control,
            journal: setup.journal,
            journal_ok: true,
            shared: setup.shared,
            phase: Phase::Standby,
            guard: setup.guard,
            guard_until: Moment::ZERO,
            majority: Majority::Behind,
            down: BTreeSet::new(),
            starting,
            renewing: BTreeMap::new(),
            tracker,
            parts,
            states: StateKeeping::default(),
            owed: Owed::new(),
            exchange: setup.exchange,
            desks: Desks::new(setup.ring_window),
            proposals: Proposals::new(setup.documents, setup.has_documents),
            upgrades: Upgrades::default(),
            commands: Commands::default(),
            streams,
            absent_until: Moment::NEVER,
            values_in,
            acceptance,
            lines: setup.lines,
            recovering: Vec::new(),
            timeline: Timeline::default(),
            unanswered_since: None,
            counters: EngineCounters::default(),
            healing: Healing::new(clock::now()),
            health: HealthLook::new(setup.watches, clock::now()),
            connections: Connections::default(),
            unpacked: Vec::new(),
            carried: Carried::new(),
            synced_at: clock::now(),
            sync_interval: setup.sync_interval.unwrap_or(SYNC_INTERVAL),
            sync_wanted: false,
            own_dictionary,
            syncer,
            syncing: false,
            viewed_at: Moment::ZERO,
            told: None,
        };
        engine.replication.lacks_copy = !troubles.is_empty();
        engine.recover();
        engine.report(troubles);
        engine
    }

    /// Runs until [`Job::Stop`].
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        let mut values_at = Moment::ZERO;
        if self.starting.is_empty() {
            self.tell(Input::Loaded);
        }
        loop {
            let now = clock::now();
            let patience = self.next_due(now).since(now).min(PATIENCE_MAX);
            let gather = (values_at + GATHER).since(now);
            self.inbox.take(&mut jobs, patience, gather);
            if jobs.iter().any(|job| matches!(job, Job::Published { .. } | Job::Received { .. })) {
                values_at = clock::now();
            }
            for job in jobs.drain(..) {
                if let Some(done) = self.handle(job) {
                    self.stop();
                    // Whoever waited may have given up.
                    done.send(()).ok();
                    return;
                }
            }
            self.advance();
        }
    }

    fn handle(&mut self, job: Job) -> Option<std::sync::mpsc::SyncSender<()>> {
        match job {
            Job::Published { samples, from } => {
                let placed = self.on_published(&samples);
                self.note_batch(from, placed);
            }
            Job::Received { samples, from } => {
                let samples = self.unpack(&samples);
                let placed = self.on_received(&samples);
                self.unpacked = samples;
                self.note_batch(from, placed);
            }
            Job::Turned { interface, turn } => self.on_turned(interface, turn),
            Job::InputsClosed { interface, epoch } => self.on_inputs_closed(interface, epoch),
            Job::Written { results } => self.on_written(&results),
            Job::RoleReached { interface, role, epoch, result } => {
                self.on_role_reached(interface, role, epoch, &result);
            }
            Job::Ready { interface, result } => self.on_ready(interface, result),
            Job::Faulted { interface, cause } => self.on_faulted(interface, &cause),
            Job::Put { interface, change } => self.on_put(interface, change),
            Job::Given(gifted) => self.owe(Due::Given(gifted)),
            Job::Acknowledged { interface, number, code, life } => {
                self.on_acknowledged(interface, number, code, life);
            }
            Job::Delivery(order) => self.on_delivery_order(order),
            Job::State { interface, state } => self.on_state(interface, state),
            Job::StateRefused { interface, cause } => self.on_state_refused(interface, &cause),
            Job::Quarantined { interface, cause } => self.on_quarantined(interface, &cause),
            Job::Prepared { interface, result } => self.on_prepared(interface, result),
            Job::Swapped { interface, result } => self.on_swapped(interface, result),
            Job::FellBack { interface, cause } => self.on_fell_back(interface, &cause),
            Job::Upgrade(order) => self.on_upgrade(*order),
            Job::Activate { epoch, transfer, guard_until, unquorate, reason } => {
                self.on_activate(epoch, transfer, guard_until, unquorate, &reason);
            }
            Job::Quorum { epoch, quorate, reason } => self.on_quorum(epoch, quorate, &reason),
            Job::Drain { epoch, to, deadline, reason } => self.on_drain(epoch, to, deadline, &reason),
            Job::Close { epoch, reason, abort_links } => self.on_close(epoch, &reason, abort_links),
            Job::Announce { epoch } => self.on_announce(epoch),
            Job::Follow { active, epoch } => self.on_follow(active, epoch),
            Job::ValuesDone { interface, op, code } => self.on_values_done(interface, op, code),
            Job::Renew { interface, operation, by } => self.on_renew(interface, operation, &by),
            Job::Command(command) => self.on_command(command),
            Job::PeerUp { peer, link } => self.on_peer_up(peer, link),
            Job::PeerDown { peer, path } => self.on_peer_down(peer, path),
            Job::Peer { peer, message } => self.on_peer_message(peer, message),
            Job::Read { after, reply } => {
                let (entries, state) = self.read_journal(after, READ_BYTES);
                // A reader that went away needs no answer.
                drop(reply.send(ReadAnswer {
                    entries,
                    gap: state.resume.is_some_and(|resume| resume > after),
                    last: self.journal.last(),
                }));
            }
            Job::Journal(ask) => self.on_journal_ask(&ask),
            Job::Twins { number, twins } => self.on_twins(number, &twins),
            Job::Synced(outcome) => self.on_synced(outcome),
            Job::Scrubbed(scrubbed) => self.on_scrubbed(scrubbed),
            Job::Alarms(job) => self.on_alarm_job(*job),
            Job::Resync => self.on_resync(),
            Job::Note(note) => self.on_note(*note),
            Job::Vouch { to, word, done } => {
                // Who asked may have given up.
                done.send(self.vouch(to, word)).ok();
            }
            Job::Merges(ask) => self.on_merges_ask(ask),
            Job::Propose(proposal) => self.on_proposal(*proposal),
            Job::Stop { done } => return Some(done),
        }
        None
    }

    /// Everything that follows from the jobs just handled and from the time.
    fn advance(&mut self) {
        let now = clock::now();
        self.route_due(now);
        self.advance_takeover(now);
        self.catch_up_streams(now);
        self.journal_cursors(now, false);
        self.journal_taken(now, false);
        self.flush(now);
        self.give_values_in(now);
        self.advance_events(now);
        self.tend_states(now);
        self.advance_upgrade(now);
        self.advance_deliveries(now);
        self.pay_owed();
        self.store_parts(now);
        self.replicate(now);
        self.release_intents(now);
        self.confirm_proposals(now);
        self.accept(now);
        self.accept_events(now);
        self.interfaces.iter().for_each(Interface::tell_room);
        self.heal(now);
        self.merge(now);
        self.expire_writes(now);
        self.advance_drain(now);
        self.advance_alarms();
        self.look_at_health(now);
        self.publish_view(now);
    }

    fn next_due(&self, now: Moment) -> Moment {
        let unsynced = !self.syncing && self.journal.durable() < self.journal.last();
        let sync = unsynced.then(|| if self.sync_wanted { now } else { self.synced_at + self.sync_interval });
        [
            sync,
            self.outputs_due(),
            self.takeover_due(),
            self.replication.due(now),
            self.acceptance_due(),
            self.deliveries_due(),
            self.alarms_due(),
            self.merge_due(),
            self.upgrade_due(),
            self.values_in_due(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Moment::NEVER)
    }

    /// Takes a record of the journal into table and tracker.
    fn apply(&mut self, position: Position, record: &Record) {
        self.tracker.apply(position, record);
        match record {
            Record::Samples(samples) => {
                self.store_samples(samples);
                self.observe_alarms(samples);
            }
            Record::Event(event) => self.shared.events.take_record(&self.group, position, event),
            Record::Dictionary(_)
            | Record::Intent(_)
            | Record::Result(_)
            | Record::Delivered(_)
            | Record::Role(_) => {}
            Record::Part(record) => self.apply_part(position, record),
            Record::Merged(merged) => self.apply_merged(position, merged),
        }
    }

    fn stop(&mut self) {
        self.flush(clock::now());
        for interface in &mut self.interfaces {
            interface.stop();
        }
        if let Err(error) = self.journal.sync() {
            tracing::error!(%error, "the journal's end did not reach the disk");
        }
        self.parts.finish(self.journal.durable());
        self.end_trials();
    }

    /// Whether this node acts: activating or active.
    pub(crate) fn is_acting(&self) -> bool {
        matches!(self.phase, Phase::Activating(_) | Phase::Active { .. })
    }

    /// Whether this node hands over in order and still journals what its interfaces receive.
    fn takes_last_inputs(&self) -> bool {
        matches!(&self.phase, Phase::Draining(draining) if draining.takes_inputs())
    }

    /// A change of role begins.
    pub(crate) fn begin_steps(&mut self, now: Moment) {
        self.timeline.begin(now);
    }

    /// A step of a change of role is done.
    pub(crate) fn step(&mut self, step: Step) {
        tracing::debug!(group = %self.group, %step, "step");
        self.timeline.note(step, clock::now());
    }

    /// Whether this node may append records of its own.
    pub(crate) fn is_writer(&self) -> bool {
        matches!(self.phase, Phase::Activating(_) | Phase::Active { .. } | Phase::Draining(_))
    }

    pub(crate) fn acting_epoch(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Activating(activation) => Some(activation.epoch),
            Phase::Active { epoch } => Some(*epoch),
            Phase::Standby | Phase::Draining(_) | Phase::Closing(_) => None,
        }
    }

    fn last_epoch(&self) -> Epoch {
        self.journal.last().epoch
    }

    pub(crate) fn interface_of(&self, item: ItemId) -> Option<usize> {
        self.interfaces.iter().position(|interface| interface.port.item_range().contains(&item.0))
    }

    fn write_timeout_of(&self, item: ItemId) -> Duration {
        self.interface_of(item)
            .map_or(Duration::from_secs(5), |number| self.interfaces[number].port.setup.write_timeout)
    }

    fn not_active(&self) -> CommandError {
        self.shared.not_active(&self.group)
    }

    fn count_outcome(&mut self, item: ItemId, outcome: Outcome) {
        let Some(number) = self.interface_of(item) else { return };
        let port = &self.interfaces[number].port;
        let (word, good) = match outcome {
            Outcome::Done => ("done", true),
            Outcome::Confirmed => ("confirmed", true),
            Outcome::Refused(_) => ("refused", false),
            Outcome::InDoubt => ("in_doubt", false),
            Outcome::Fenced => ("fenced", false),
            Outcome::Superseded => ("superseded", false),
        };
        let counter = if good { &port.counters.writes } else { &port.counters.writes_failed };
        counter.fetch_add(1, Ordering::Relaxed);
        *self.counters.outcomes.entry((port.setup.id.clone(), word)).or_default() += 1;
    }

    pub(crate) fn tell(&self, input: Input) {
        self.control.engine(&self.group, input);
    }

    fn publish_view(&mut self, now: Moment) {
        if now < self.viewed_at + VIEW_INTERVAL {
            return;
        }
        self.viewed_at = now;
        let mine = self.journal.last();
        if self.told != Some(mine) {
            self.told = Some(mine);
            self.control.position(&self.group, mine);
        }
        self.counters.covered = self.streams.values().map(|stream| stream.covered).sum();
        self.counters.orphans = self.replication.orphans();
        self.shared.update_engine(
            &self.group,
            self.journal.last(),
            &self.counters,
            self.replication.peer_view(),
        );
    }
}
