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
use twinhub_loader::{Instance, Library, StateStore};
use twinhub_model::{Epoch, Moment, Timestamp, Value};
use twinhub_trust::Verdict;

use crate::clock;
use crate::error::StartError;
use crate::exchange::Exchange;
use crate::gate::Gate;
use crate::inbox::{Inbox, Job};
use crate::probe::Probed;
use crate::table::ItemTable;

mod accepting;
mod asking;
mod change;
mod flow;
mod giving;
mod intake;
mod lead;
mod rows;
mod seat;
mod setup;
mod tallies;

pub(crate) use accepting::Accepting;
pub(crate) use asking::{Answered, Asking, Kind as Question, Unasked};
use change::Spare;
use flow::Flow;
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
    /// Events that it gave.
    pub(crate) events_given: AtomicU64,
    /// Events that it gave once more.
    pub(crate) events_doubled: AtomicU64,
    /// Events that were not taken because somebody that they are for had no room.
    pub(crate) events_refused: AtomicU64,
    /// Events that it has done.
    pub(crate) events_delivered: AtomicU64,
    /// Events that it was brought once more.
    pub(crate) events_redelivered: AtomicU64,
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
    /// Whether it ever heard anything while it was not active. That never ends: an activation that fails leaves in the
    /// ring what it did not come to.
    heard: AtomicBool,
    /// How often it turned active after that, and to which of these times the engine has come: until then nothing is taken.
    turns: AtomicU64,
    begun: AtomicU64,
    /// Numbers the orders to make, or to end, an instance that is not in charge.
    preparing: AtomicU64,
    /// Held by what is published, and alone by the turn to active: nothing that was heard before comes behind it.
    flow: RwLock<()>,
    /// Whether this node acts without a majority and the interface has to mind it.
    pub(crate) alone: AtomicBool,
    pub(crate) probed: Probed,
    /// Whether its plugin runs in a process of its own.
    pub(crate) isolated: AtomicBool,
    pub(crate) accepting: Accepting,
    pub(crate) tallies: Tallies,
    pub(crate) asking: Asking,
    flow_control: Flow,
    /// What it keeps by key, as the journal has it and on its way there.
    pub(crate) store: Arc<StateStore>,
    /// The events of its group.
    pub(crate) exchange: Arc<Exchange>,
    /// Numbers its instances, and which of them is in charge.
    lives: AtomicU64,
    life: AtomicU64,
    state: Mutex<PortState>,
    answered: Condvar,
    mirror: Mutex<HashMap<u32, Value>>,
    /// Numbers the operations of its instances.
    next_op: AtomicU64,
    code: Mutex<Option<RunningCode>>,
}

/// The library that an interface has in charge.
#[derive(Debug, Clone)]
pub(crate) struct RunningCode {
    pub(crate) library: Arc<Library>,
    pub(crate) verdict: Verdict,
}

#[derive(Debug)]
struct PortState {
    answers: HashMap<u64, (i32, String)>,
    state: u32,
    cause: String,
    last_ok: Timestamp,
}

/// Tells batches of values from control calls.
pub(crate) const VALUES_BIT: u64 = 1 << 61;
/// Answers kept for operations nobody waits for any more.
const ANSWERS_MAX: usize = 64;

impl Port {
    pub(crate) fn new(
        setup: InterfaceSetup,
        number: usize,
        gate: Arc<Gate>,
        table: Arc<ItemTable>,
        inbox: Arc<Inbox>,
        store: Arc<StateStore>,
        exchange: Arc<Exchange>,
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
            heard: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            preparing: AtomicU64::new(0),
            flow: RwLock::new(()),
            alone: AtomicBool::new(false),
            probed: Probed::default(),
            isolated: AtomicBool::new(false),
            accepting: Accepting::default(),
            tallies: Tallies::default(),
            asking: Asking::default(),
            flow_control: Flow::default(),
            store,
            exchange,
            lives: AtomicU64::new(0),
            life: AtomicU64::new(0),
            state: Mutex::new(PortState {
                answers: HashMap::new(),
                state: 0,
                cause: String::new(),
                last_ok: Timestamp::NONE,
            }),
            answered: Condvar::new(),
            mirror: Mutex::new(HashMap::new()),
            next_op: AtomicU64::new(1),
            code: Mutex::default(),
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

    /// The library that it has in charge; `None` before its thread has begun.
    pub(crate) fn code(&self) -> Option<RunningCode> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_code(&self, hosted: &Hosted) {
        let code = RunningCode { library: Arc::clone(&hosted.library), verdict: hosted.verdict.clone() };
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
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

    /// Whether the engine has yet to deal with what was heard before the role became active.
    fn is_turning(&self) -> bool {
        self.turns.load(Ordering::Acquire) != self.begun.load(Ordering::Acquire)
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

    fn close(&self) {
        self.role.store(self.setup.standby_role, Ordering::Release);
        self.epoch.store(0, Ordering::Release);
    }

    /// The role ends in order. What was taken in this epoch stands before [`Job::InputsClosed`] in the engine's line.
    fn close_inputs(&self, epoch: Epoch) {
        let alone = self.flow.write().unwrap_or_else(PoisonError::into_inner);
        // The engine may have been out of patience, and be in another role meanwhile.
        if self.epoch.load(Ordering::Acquire) == epoch.0 {
            self.close();
        }
        self.inbox.push_later(Job::InputsClosed { interface: self.number, epoch });
        drop(alone);
    }

    /// A batch of values of other interfaces was completed. Into the lane of values: what was published before it comes first.
    pub(crate) fn complete_values(&self, op: u64, code: i32) {
        self.inbox.push_later(Job::ValuesDone { interface: self.number, op, code });
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

/// What an instance's thread is asked to do.
#[derive(Debug)]
enum Step {
    Role {
        role: u32,
        epoch: Epoch,
        deadline: Moment,
    },
    CloseInputs {
        epoch: Epoch,
    },
    AskState,
    GiveState {
        version: u32,
        bytes: Arc<[u8]>,
    },
    Restart {
        fault: Option<String>,
    },
    /// As an operator ordered.
    Renew,
    /// An instance of another version was made, or could not be. By the number of the order: there may be a later one, or
    /// none any more.
    Prepared {
        number: u64,
        made: Result<Box<Spare>, String>,
    },
    /// That one takes the place of the one in charge, or the other way round.
    Swap,
    /// What is not in charge ends.
    Discard,
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
        self.port.close();
    }

    /// Closes the port in order, behind what the instance gave until now; [`Job::InputsClosed`] answers.
    pub(crate) fn close_inputs(&self, epoch: Epoch) {
        drop(self.steps.send(Step::CloseInputs { epoch }));
    }

    /// Asks for the plugin's state; [`Job::State`] answers.
    pub(crate) fn ask_state(&self) {
        drop(self.steps.send(Step::AskState));
    }

    /// Gives the plugin a state; only a refusal is answered, by [`Job::StateRefused`].
    pub(crate) fn give_state(&self, version: u32, bytes: Arc<[u8]>) {
        drop(self.steps.send(Step::GiveState { version, bytes }));
    }

    /// Makes a new instance in place of this one. If that faulted, and its version is on trial, the one before is in charge
    /// again.
    pub(crate) fn restart(&self, fault: Option<&str>) {
        drop(self.steps.send(Step::Restart { fault: fault.map(str::to_owned) }));
    }

    /// Makes a new instance in place of this one, since an operator wants it: no fault is counted, and those before are
    /// forgotten.
    pub(crate) fn renew(&self) {
        drop(self.steps.send(Step::Renew));
    }

    /// Makes an instance of another version, which is not in charge; [`Job::Prepared`] answers.
    pub(crate) fn prepare(&self, hosted: Hosted) {
        let number = self.port.preparing.fetch_add(1, Ordering::AcqRel) + 1;
        change::prepare(&self.port, number, hosted, &self.steps);
    }

    /// That instance takes the place of the one in charge, or gives it back; [`Job::Swapped`] answers.
    pub(crate) fn swap(&self) {
        drop(self.steps.send(Step::Swap));
    }

    /// Ends the instance that is not in charge, also one that is still being made.
    pub(crate) fn discard(&self) {
        self.port.preparing.fetch_add(1, Ordering::AcqRel);
        drop(self.steps.send(Step::Discard));
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
