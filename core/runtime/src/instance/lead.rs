//! The thread that leads one plugin instance through its life.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use twinhub_contract::role;
use twinhub_loader::{HostSink, Instance, Library, Role, Status, give_back_memory};
use twinhub_model::{Epoch, Moment};
use twinhub_trust::Verdict;

use super::change::{Spare, end};
use super::seat::Seat;
use super::{Port, Step, rows};
use crate::clock;
use crate::inbox::Job;
use crate::quarantine::Quarantine;

/// Loading, starting and taking items may take this long together.
const START_MAX: Duration = Duration::from_secs(10);
/// After this a call that should have returned within a millisecond is reported.
const CALL_WARN: Duration = Duration::from_millis(10);
/// Items handed to a plugin in one call: rows take many times the room while they are handed over.
const ITEMS_AT_ONCE: usize = 512;
/// A process that hosts an instance hands over what it has within this time.
const HUSH_MAX: Duration = Duration::from_millis(500);
/// Restarts of a faulted instance within [`RESTART_WINDOW`] before it stays down.
const RESTARTS_MAX: usize = 3;
/// See [`RESTARTS_MAX`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// The library of an interface, and what takes its place.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    /// Where its code runs.
    pub(crate) library: Arc<Library>,
    /// Why it may.
    pub(crate) verdict: Verdict,
    /// The same library in a process of its own, for the case that it faults too often in this one.
    pub(crate) refuge: Option<Arc<Library>>,
    /// Where it is noted that it did.
    pub(crate) quarantine: Arc<Quarantine>,
    /// What its instances get as settings.
    pub(crate) config_json: Arc<str>,
}

/// Leads one instance through its life.
pub(super) struct Lead {
    pub(super) port: Arc<Port>,
    /// What a new instance is made of.
    pub(super) hosted: Hosted,
    /// The instance in charge, for the engine.
    pub(super) instance: Arc<Mutex<Option<Arc<Instance>>>>,
    /// Where that one calls back to.
    pub(super) seat: Option<Arc<Seat>>,
    pub(super) spare: Option<Spare>,
    pub(super) wanted: (u32, Epoch),
    pub(super) restarts: Vec<Instant>,
}

/// Calls an instance and waits for the end of what it begins.
pub(super) fn call(
    port: &Port,
    what: &str,
    deadline: Instant,
    call: impl FnOnce(u64) -> Result<Status, twinhub_loader::PluginError>,
) -> Result<(), String> {
    let op = port.next_op.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let status = call(op);
    let took = begun.elapsed();
    if took > CALL_WARN {
        tracing::warn!(
            interface = %port.setup.id,
            call = what,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "plugin call took longer than the contract's millisecond"
        );
    }
    match status {
        Ok(Status::Done) => Ok(()),
        Ok(Status::Pending) => port.wait_answer(op, deadline).map_err(|why| format!("{what}: {why}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// Starts a new instance and gives it its items; it is cold.
pub(super) fn equip(port: &Port, instance: &Instance) -> Result<(), String> {
    let setup = &port.setup;
    let deadline = Instant::now() + START_MAX;
    call(port, "start", deadline, |op| instance.start(op))?;
    for begin in (0..setup.items.len()).step_by(ITEMS_AT_ONCE) {
        let end = setup.items.len().min(begin + ITEMS_AT_ONCE);
        let specs = setup.items.specs(begin..end, &port.table, setup.base);
        call(port, "items", deadline, |op| instance.items(op, &specs, &[]))?;
    }
    for (first, items) in (0..).step_by(ITEMS_AT_ONCE).zip(setup.values_in.chunks(ITEMS_AT_ONCE)) {
        let specs = rows::watched(first, items, &port.table);
        call(port, "values_in", deadline, |op| instance.watch(op, &specs, &[]))?;
    }
    Ok(())
}

impl Lead {
    pub(super) fn new(port: Arc<Port>, hosted: Hosted, instance: Arc<Mutex<Option<Arc<Instance>>>>) -> Self {
        let wanted = (port.setup.standby_role, Epoch::NONE);
        Self { port, hosted, instance, seat: None, spare: None, wanted, restarts: Vec::new() }
    }

    pub(super) fn run(mut self, steps: &mpsc::Receiver<Step>) {
        let result = self.bring_up();
        // Not after a restart: everything that allocates waits meanwhile, and this node may be active then.
        give_back_memory();
        let interface = self.port.number;
        self.port.inbox.push(Job::Ready { interface, result });
        while let Ok(step) = steps.recv() {
            match step {
                Step::Role { role, epoch, deadline } => {
                    self.wanted = (role, epoch);
                    let result = self.move_to(role, epoch, deadline);
                    self.port.inbox.push(Job::RoleReached { interface, role, epoch, result });
                }
                Step::CloseInputs { epoch } => self.close_inputs(epoch),
                Step::AskState => self.take_state(),
                Step::GiveState { version, bytes } => self.give_state(version, &bytes),
                Step::Restart { fault } => self.restart(fault),
                Step::Renew => self.renew(),
                Step::Prepared { number, made } => self.take_spare(number, made),
                Step::Swap => {
                    let result = self.swap();
                    self.port.inbox.push(Job::Swapped { interface, result });
                }
                Step::Discard => self.discard(),
                Step::Stop => break,
            }
        }
        self.take_down();
        if let Some(spare) = self.spare.take() {
            spare.seat.close();
            end(&self.port, spare.instance);
        }
    }

    fn bring_up(&mut self) -> Result<(), String> {
        let port = Arc::clone(&self.port);
        let seat = Seat::new(&port, true);
        let sink: Arc<dyn HostSink> = Arc::clone(&seat) as Arc<dyn HostSink>;
        let library = &self.hosted.library;
        port.isolated.store(!library.is_here(), Ordering::Release);
        port.note_code(&self.hosted);
        let instance = library
            .create(&port.setup.id, &self.hosted.config_json, sink)
            .map_err(|error| error.to_string())?;
        let instance = Arc::new(instance);
        port.asking.turn_to(&instance);
        self.seat = Some(seat);
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&instance));
        equip(&port, &instance)?;
        let (role, epoch) = if port.setup.relevant { self.wanted } else { (role::ACTIVE, Epoch(1)) };
        self.move_to(role, epoch, clock::now() + START_MAX)
    }

    pub(super) fn move_to(&self, to: u32, epoch: Epoch, deadline: Moment) -> Result<(), String> {
        let Some(instance) = self.current() else { return Err("the plugin is not running".to_owned()) };
        if to == role::ACTIVE {
            self.port.turn_active(epoch);
        }
        let Some(wanted) = Role::from_raw(to) else { return Err(format!("there is no role {to}")) };
        let patience = deadline.since(clock::now()).max(Duration::from_millis(50));
        let result = call(&self.port, "set_role", Instant::now() + patience, |op| {
            instance.set_role(op, wanted, epoch.0, clock::contract_deadline(deadline))
        });
        if to != role::ACTIVE {
            self.port.epoch.store(epoch.0, Ordering::Release);
            self.port.role.store(to, Ordering::Release);
        }
        result
    }

    /// What the instance gave is heard, and no more. One that takes its place is not active either.
    fn close_inputs(&mut self, epoch: Epoch) {
        self.wanted = (self.port.setup.standby_role, epoch);
        if let Some(instance) = self.current() {
            self.hush(&instance);
        }
        self.port.close_inputs(epoch);
    }

    /// What an instance has given and the hub has not seen yet is heard, then nothing until its next role.
    pub(super) fn hush(&self, instance: &Instance) {
        let deadline = Instant::now() + HUSH_MAX;
        if let Err(why) = call(&self.port, "hush", deadline, |op| instance.hush(op)) {
            tracing::warn!(interface = %self.port.setup.id, why, "the last values of an instance may be missing");
        }
    }

    fn restart(&mut self, fault: Option<String>) {
        let interface = self.port.number;
        if let Some(cause) = fault
            && self.falls_back()
        {
            self.port.inbox.push(Job::FellBack { interface, cause });
            let (role, epoch) = self.wanted_role();
            let result = self.move_to(role, epoch, clock::now() + START_MAX);
            self.port.inbox.push(Job::Ready { interface, result });
            return;
        }
        let now = Instant::now();
        self.restarts.retain(|at| now.duration_since(*at) < RESTART_WINDOW);
        self.take_down();
        if self.restarts.len() >= RESTARTS_MAX && !self.take_refuge() {
            let cause =
                format!("faulted {} times in {} s: stays down", RESTARTS_MAX + 1, RESTART_WINDOW.as_secs());
            self.port.set_state(twinhub_contract::state::FAULT, &cause);
            self.port.inbox.push(Job::Ready { interface, result: Err(cause) });
            return;
        }
        self.restarts.push(now);
        let result = self.bring_up();
        self.port.inbox.push(Job::Ready { interface, result });
    }

    /// Another instance in place of this one, as often as somebody wants that.
    fn renew(&mut self) {
        self.restarts.clear();
        self.take_down();
        let result = self.bring_up();
        self.port.inbox.push(Job::Ready { interface: self.port.number, result });
    }

    fn take_state(&self) {
        let state = self.current().and_then(|instance| match instance.snapshot() {
            Ok(state) => Some(state),
            Err(error) => {
                tracing::debug!(interface = %self.port.setup.id, %error, "no state of the plugin");
                None
            }
        });
        self.port.inbox.push(Job::State { interface: self.port.number, state });
    }

    fn give_state(&self, version: u32, bytes: &[u8]) {
        let Some(instance) = self.current() else { return };
        if let Err(error) = instance.apply(version, bytes) {
            let cause = error.to_string();
            self.port.inbox.push(Job::StateRefused { interface: self.port.number, cause });
        }
    }

    /// From here on this library has no place in the hub's process, on this node: the next fault might end it.
    fn take_refuge(&mut self) -> bool {
        let Some(isolated) = self.hosted.refuge.take() else { return false };
        let (times, window_s) = (RESTARTS_MAX + 1, RESTART_WINDOW.as_secs());
        let cause = format!("faulted {times} times in {window_s} s");
        self.port.inbox.push(Job::Quarantined { interface: self.port.number, cause: cause.clone() });
        self.hosted.quarantine.add(isolated.sha256(), &self.port.setup.plugin, &cause);
        self.hosted.library = isolated;
        self.restarts.clear();
        true
    }

    pub(super) fn take_down(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.close();
        }
        let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(instance) = instance {
            end(&self.port, instance);
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Instance>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
