//! One interface: a plugin instance, the thread that leads it through its life, and what it may call back.
//!
//! Control calls are made one after the other by the instance's own thread, which waits for each to finish;
//! a plugin that never answers holds up nobody else. Values come back on the plugin's threads through
//! [`Port`], which checks role, epoch and lease, stores into the item table and hands changes to the engine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use twinhub_config::OnUnquorate;
use twinhub_contract::{code, role};
use twinhub_loader::{HostSink, Instance, Lease, PublishOutcome, RawBatch, WriteResult};
use twinhub_model::{Epoch, Moment, Timestamp, Value};

use crate::clock;
use crate::error::StartError;
use crate::gate::Gate;
use crate::inbox::{Inbox, Job, Written, is_stream};
use crate::probe::Probed;
use crate::table::ItemTable;

mod accepting;
mod intake;
mod lead;
mod rows;
mod setup;
mod tallies;

pub(crate) use accepting::Accepting;
pub(crate) use lead::Hosted;
use lead::Lead;
pub(crate) use rows::Rows;
pub(crate) use setup::{Guard, Hears, InterfaceSetup, Moves, Sequence};
pub(crate) use tallies::Tallies;

/// A plugin gets this long to become active.
pub(crate) const ROLE_MAX: Duration = Duration::from_secs(5);

/// Counters of one interface, for views and metrics.
#[derive(Debug, Default)]
pub(crate) struct InterfaceCounters {
    pub(crate) values: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) writes_failed: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    pub(crate) fenced: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) faults: AtomicU64,
    /// Outputs refused because no majority stood behind this node.
    pub(crate) withheld: AtomicU64,
    /// Commands that went on though no standby had stored them.
    pub(crate) unprotected: AtomicU64,
    /// Batches of inputs that were accepted though no standby had stored them.
    pub(crate) unprotected_inputs: AtomicU64,
    /// Commands refused because no standby had stored them.
    pub(crate) unprotected_refused: AtomicU64,
}

/// What a plugin's callbacks and the views share.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) setup: InterfaceSetup,
    pub(crate) number: usize,
    pub(crate) counters: InterfaceCounters,
    gate: Arc<Gate>,
    table: Arc<ItemTable>,
    inbox: Arc<Inbox>,
    role: AtomicU32,
    epoch: AtomicU64,
    ready: AtomicBool,
    /// Whether it ever heard anything while it was not active. That never ends: an activation that fails leaves in the
    /// ring what it did not come to.
    heard: AtomicBool,
    /// How often it turned active after that, and to which of these times the engine has come: until then nothing is taken.
    turns: AtomicU64,
    begun: AtomicU64,
    /// Held by what is published, and alone by the turn to active: nothing that was heard before comes behind it.
    flow: RwLock<()>,
    /// Whether this node acts without a majority and the interface has to mind it.
    pub(crate) alone: AtomicBool,
    pub(crate) probed: Probed,
    /// Whether its plugin runs in a process of its own.
    pub(crate) isolated: AtomicBool,
    pub(crate) accepting: Accepting,
    pub(crate) tallies: Tallies,
    state: Mutex<PortState>,
    answered: Condvar,
    mirror: Mutex<HashMap<u32, Value>>,
}

#[derive(Debug)]
struct PortState {
    answers: HashMap<u64, (i32, String)>,
    state: u32,
    cause: String,
    last_ok: Timestamp,
}

/// Answers kept for operations nobody waits for any more.
const ANSWERS_MAX: usize = 64;

impl Port {
    pub(crate) fn new(
        setup: InterfaceSetup,
        number: usize,
        gate: Arc<Gate>,
        table: Arc<ItemTable>,
        inbox: Arc<Inbox>,
    ) -> Port {
        Port {
            setup,
            number,
            counters: InterfaceCounters::default(),
            gate,
            table,
            inbox,
            role: AtomicU32::new(role::COLD),
            epoch: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            flow: RwLock::new(()),
            alone: AtomicBool::new(false),
            probed: Probed::default(),
            isolated: AtomicBool::new(false),
            accepting: Accepting::default(),
            tallies: Tallies::default(),
            state: Mutex::new(PortState {
                answers: HashMap::new(),
                state: 0,
                cause: String::new(),
                last_ok: Timestamp::NONE,
            }),
            answered: Condvar::new(),
            mirror: Mutex::new(HashMap::new()),
        }
    }

    /// The role the host last ordered.
    pub(crate) fn role(&self) -> u32 {
        self.role.load(Ordering::Acquire)
    }

    /// Whether this node acts without a majority and the interface has to mind it.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// What it is held back to at present, and why.
    pub(crate) fn restriction(&self) -> Option<&'static str> {
        match self.setup.on_unquorate {
            OnUnquorate::ReadOnly if self.is_alone() => Some("read-only: no majority"),
            OnUnquorate::Off if self.is_alone() => Some("off: no majority"),
            OnUnquorate::Run | OnUnquorate::ReadOnly | OnUnquorate::Off => None,
        }
    }

    /// In whose process the plugin runs.
    pub(crate) fn hosting(&self) -> &'static str {
        if self.isolated.load(Ordering::Acquire) { "isolated" } else { "inproc" }
    }

    /// State code, cause, and when it was last ok.
    pub(crate) fn status(&self) -> (u32, String, Timestamp) {
        let state = self.lock();
        (state.state, state.cause.clone(), state.last_ok)
    }

    /// Takes what the sink was last seen to show of our own outputs.
    pub(crate) fn take_mirror(&self) -> HashMap<u32, Value> {
        std::mem::take(&mut self.mirror.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The engine has dealt with what was heard before this turn: what is published from here on is news.
    pub(crate) fn begin(&self, turn: u64) {
        self.begun.store(turn, Ordering::Release);
    }

    /// The role becomes active. What was heard before stands before [`Job::Turned`] in the engine's line, and nothing is
    /// taken until the engine has come to that: the item table takes values at once, and would get older ones behind
    /// newer ones.
    fn turn_active(&self, epoch: Epoch) {
        let alone = self.flow.write().unwrap_or_else(PoisonError::into_inner);
        if self.setup.relevant && self.heard.load(Ordering::Acquire) {
            let turn = self.turns.fetch_add(1, Ordering::AcqRel) + 1;
            self.inbox.push_later(Job::Turned { interface: self.number, turn });
        }
        self.epoch.store(epoch.0, Ordering::Release);
        self.role.store(role::ACTIVE, Ordering::Release);
        drop(alone);
    }

    /// Items of this interface, as table handles.
    pub(crate) fn item_range(&self) -> std::ops::Range<u32> {
        self.setup.base..self.setup.base + u32::try_from(self.setup.items.len()).unwrap_or(u32::MAX)
    }

    fn set_state(&self, state: u32, cause: &str) {
        let mut current = self.lock();
        if current.state != state || current.cause != cause {
            tracing::info!(
                interface = %self.setup.id,
                state = crate::words::interface_state(state),
                cause,
                "interface state"
            );
        }
        if state == twinhub_contract::state::OK {
            current.last_ok = clock::utc();
        }
        current.state = state;
        cause.clone_into(&mut current.cause);
    }

    fn lock(&self) -> MutexGuard<'_, PortState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_answer(&self, op: u64, deadline: Instant) -> Result<(), String> {
        let mut state = self.lock();
        loop {
            if let Some((code, detail)) = state.answers.remove(&op) {
                return if code == code::OK { Ok(()) } else { Err(explain(code, &detail)) };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("no answer in time".to_owned());
            }
            state = self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl HostSink for Port {
    fn publish(&self, epoch: u64, batch: RawBatch<'_>) -> PublishOutcome {
        if !self.ready.load(Ordering::Acquire) {
            return PublishOutcome::Stopped;
        }
        let count = batch.len();
        let _flow = self.flow.read().unwrap_or_else(PoisonError::into_inner);
        if epoch != self.epoch.load(Ordering::Acquire) {
            self.counters.fenced.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::StaleEpoch;
        }
        let server = clock::utc();
        let active = self.role() == role::ACTIVE;
        if active && self.setup.relevant && self.gate.permit(Epoch(epoch), clock::now()).is_none() {
            self.counters.fenced.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::StaleEpoch;
        }
        // Before the table takes the values: an equal one that is tried again would count as no change.
        let held = active && self.turns.load(Ordering::Acquire) != self.begun.load(Ordering::Acquire);
        if held || self.accepting.is_stalled() || !self.inbox.reserve(count) {
            self.counters.throttled.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::Again;
        }
        self.counters.values.fetch_add(count as u64, Ordering::Relaxed);
        let samples = self.samples(batch, server, active);
        if samples.is_empty() {
            self.inbox.push_reserved(count, None);
            return PublishOutcome::Taken;
        }
        let fresh = samples.len();
        let from = self.accepting.take().then_some(self.number);
        let job = if active {
            Job::Published { samples, from }
        } else {
            self.heard.store(true, Ordering::Release);
            Job::Received { samples, from }
        };
        self.inbox.push_reserved(count, Some((job, fresh)));
        PublishOutcome::Taken
    }

    fn use_acceptance(&self) -> bool {
        self.accepting.begin();
        true
    }

    fn taken(&self) -> u64 {
        self.accepting.taken()
    }

    fn accepted(&self) -> u64 {
        self.accepting.accepted()
    }

    fn write_done(&self, results: &[WriteResult]) {
        let results = Written::gather(results.iter().map(|result| (result.write_id, result.code)));
        if results.iter().all(|written| is_stream(written.id)) {
            self.inbox.push_later(Job::Written { results });
        } else {
            self.inbox.push(Job::Written { results });
        }
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        let mut state = self.lock();
        if state.answers.len() >= ANSWERS_MAX {
            state.answers.clear();
        }
        state.answers.insert(op, (code, detail.to_owned()));
        drop(state);
        self.answered.notify_all();
    }

    fn fault(&self, code: i32, detail: &str) {
        self.counters.faults.fetch_add(1, Ordering::Relaxed);
        self.ready.store(false, Ordering::Release);
        let cause = explain(code, detail);
        self.set_state(twinhub_contract::state::FAULT, &cause);
        self.inbox.push(Job::Faulted { interface: self.number, cause });
    }

    fn log(&self, level: u32, target: &str, message: &str, fields: &str) {
        let interface = self.setup.id.as_str();
        match level {
            0 | 1 => tracing::error!(interface, target, fields, "{message}"),
            2 => tracing::warn!(interface, target, fields, "{message}"),
            3 => tracing::info!(interface, target, fields, "{message}"),
            4 => tracing::debug!(interface, target, fields, "{message}"),
            _ => tracing::trace!(interface, target, fields, "{message}"),
        }
    }

    fn state(&self, state: u32, cause: &str) {
        self.set_state(state, cause);
    }

    fn lease_end(&self, epoch: u64) -> i64 {
        if epoch != self.epoch.load(Ordering::Acquire) || self.role() != role::ACTIVE {
            return 0;
        }
        if !self.setup.relevant {
            return i64::MAX;
        }
        self.gate.lease_end(Epoch(epoch)).map_or(0, clock::contract_deadline)
    }

    fn lease(&self) -> Lease<'_> {
        if !self.setup.relevant {
            return Lease::Free;
        }
        self.gate.file().map_or(Lease::None, Lease::Words)
    }

    fn count(&self, name: &str, add: u64) {
        // The name goes on with the reason.
        if name.split('.').next() == Some("suppressed") {
            self.counters.suppressed.fetch_add(add, Ordering::Relaxed);
        }
        self.tallies.add(name, add);
    }
}

/// What an instance's thread is asked to do.
#[derive(Debug)]
enum Step {
    Role { role: u32, epoch: Epoch, deadline: Moment },
    AskState,
    GiveState { version: u32, bytes: Arc<[u8]> },
    Restart,
    Stop,
}

/// A running interface as the engine holds it.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) port: Arc<Port>,
    instance: Arc<Mutex<Option<Arc<Instance>>>>,
    steps: mpsc::Sender<Step>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Interface {
    /// Starts the interface's thread, which loads and starts the plugin and reports [`Job::Ready`].
    pub(crate) fn spawn(port: Arc<Port>, hosted: Hosted) -> Result<Interface, StartError> {
        let (steps, receiver) = mpsc::channel();
        let instance = Arc::new(Mutex::new(None));
        let lead = Lead::new(Arc::clone(&port), hosted, Arc::clone(&instance));
        let name: String = format!("if-{}", port.setup.id).chars().take(15).collect();
        let thread = std::thread::Builder::new()
            .name(name)
            .stack_size(256 * 1024)
            .spawn(move || lead.run(&receiver))
            .map_err(|source| StartError::Thread { what: "an interface thread", source })?;
        Ok(Interface { port, instance, steps, thread: Some(thread) })
    }

    /// Orders a role; [`Job::RoleReached`] answers.
    pub(crate) fn set_role(&self, role: u32, epoch: Epoch, deadline: Moment) {
        // The thread ends only after `stop`.
        drop(self.steps.send(Step::Role { role, epoch, deadline }));
    }

    /// Closes the port at once: callbacks with the old epoch are refused from here on.
    pub(crate) fn close(&self) {
        self.port.role.store(self.port.setup.standby_role, Ordering::Release);
        self.port.epoch.store(0, Ordering::Release);
    }

    /// Asks for the plugin's state; [`Job::State`] answers.
    pub(crate) fn ask_state(&self) {
        drop(self.steps.send(Step::AskState));
    }

    /// Gives the plugin a state; only a refusal is answered, by [`Job::StateRefused`].
    pub(crate) fn give_state(&self, version: u32, bytes: Arc<[u8]>) {
        drop(self.steps.send(Step::GiveState { version, bytes }));
    }

    /// Makes a new instance in place of a faulted one.
    pub(crate) fn restart(&self) {
        drop(self.steps.send(Step::Restart));
    }

    /// The instance to write to, if there is one.
    pub(crate) fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the instance and waits for its thread.
    pub(crate) fn stop(&mut self) {
        drop(self.steps.send(Step::Stop));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            drop(thread.join());
        }
    }
}

/// One sentence for a contract code.
pub(crate) fn explain(code: i32, detail: &str) -> String {
    let word = crate::words::contract_code(code);
    if detail.is_empty() { word.to_owned() } else { format!("{word}: {detail}") }
}
