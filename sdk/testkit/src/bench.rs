//! Where one test tries the library: instances, and what they answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use twinhub_contract::constants::TIME_NONE;
use twinhub_contract::manifest::{Delivery, Hosting, Mode, State};
use twinhub_contract::{ValueRef, access, code};
use twinhub_isolation::{HostProgram, Isolated};
use twinhub_loader::{
    HostSink, Instance, ItemSpec, Library, Maker, Manifest, PluginError, Role, StateStore, Status, WriteReq,
    WriteResult,
};

use crate::child::{CACHE, STEP};
use crate::device::Device;
use crate::groups::{Stop, failed, skipped};
use crate::holdings::children;
use crate::host::{Declared, Recorder};
use crate::kit::Kit;

/// Where one test tries the library.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) kit: Kit,
    pub(crate) library: Library,
    /// Its device, if the kit has one.
    device: Option<Rc<Device>>,
    /// The folder of this test.
    dir: PathBuf,
    /// The file that says what is about to be done.
    steps: PathBuf,
    /// What its instances keep by key: those of one interface, on two nodes.
    kept: Arc<StateStore>,
    /// The hub's side of every instance ever made.
    hosts: RefCell<Vec<Arc<Recorder>>>,
    /// Durations of control calls, the plugin's part only.
    calls: RefCell<Vec<Duration>>,
}

/// An instance with the hub's side of it. Control calls wait for their end.
#[derive(Debug)]
pub(crate) struct Unit<'a> {
    bench: &'a Bench,
    pub(crate) instance: Arc<Instance>,
    pub(crate) host: Arc<Recorder>,
    /// The last operation, and the last epoch.
    op: Cell<u64>,
    epoch: Cell<u64>,
    write_id: Cell<u64>,
}

impl Bench {
    pub(crate) fn new(kit: Kit, library: Library, device: Option<Rc<Device>>, dir: PathBuf) -> Self {
        let steps = dir.join(STEP);
        let kept = Arc::default();
        Self { kit, library, device, dir, steps, kept, hosts: RefCell::default(), calls: RefCell::default() }
    }

    /// The same with instances in processes of their own, under what the plugin declares to need.
    pub(crate) fn apart(&self) -> Result<Self, Stop> {
        if !self.manifest().hosting.allowed.contains(&Hosting::Isolated) {
            return skipped("it declares that it runs in the hub's process only");
        }
        let maker = |copy: &Path, manifest: &Manifest| -> Arc<dyn Maker> {
            Arc::new(Isolated::new(HostProgram::default(), copy, manifest))
        };
        match Library::elsewhere(&self.kit.library, self.dir.join(CACHE), maker) {
            Ok(library) => Ok(self.with(library)),
            Err(error) => failed(error.to_string()),
        }
    }

    /// The version before: the one that the kit was given, or this one.
    pub(crate) fn before(&self) -> Result<Self, Stop> {
        let Some(path) = &self.kit.before else {
            return Ok(self.with(self.library.clone()));
        };
        match Library::open(path, self.dir.join(CACHE)) {
            Ok(library) if library.manifest().id == self.manifest().id => Ok(self.with(library)),
            Ok(library) => failed(format!(
                "the version before is plugin {}, and this is {}",
                library.manifest().id,
                self.manifest().id
            )),
            Err(error) => failed(error.to_string()),
        }
    }

    /// The same with another library.
    fn with(&self, library: Library) -> Self {
        Self::new(self.kit.clone(), library, self.device.clone(), self.dir.clone())
    }

    /// Its device.
    pub(crate) fn device(&self) -> Result<&Device, Stop> {
        self.device.as_deref().map_or_else(|| skipped("no device: name a simulator with --device"), Ok)
    }

    /// Processes that host instances.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let device = self.device.as_deref().map(Device::process);
        children().into_iter().filter(|process| Some(*process) != device).collect()
    }

    /// Faults that were told, and what breaks the contract.
    pub(crate) fn faults_and_violations(&self) -> (Vec<String>, Vec<String>) {
        let (mut faults, mut violations) = (Vec::new(), BTreeSet::new());
        for host in self.hosts.borrow().iter() {
            let record = host.record();
            faults.extend(record.faults.iter().cloned());
            violations.extend(record.violations.iter().cloned());
        }
        (faults, violations.into_iter().take(OFFENSES).collect())
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.library.manifest()
    }

    /// Says what is about to be done, for whoever finds this process dead.
    pub(crate) fn step(&self, what: &str) {
        // If it cannot be written, the verdict says less.
        std::fs::write(&self.steps, what).ok();
    }

    /// A hub's side for one more instance.
    pub(crate) fn host(&self) -> Arc<Recorder> {
        let mb = &self.manifest().mb;
        let declared = Declared { publish: mb.inactive.publish, standby: role_of(mb.default_standby) };
        let host = Arc::new(Recorder::new(declared, &self.manifest().events.gives, Arc::clone(&self.kept)));
        self.hosts.borrow_mut().push(Arc::clone(&host));
        host
    }

    /// Makes an instance with this configuration.
    pub(crate) fn create(&self, config: &str) -> Result<Unit<'_>, PluginError> {
        self.step("create");
        let host = self.host();
        let instance = self.library.create("kit", config, Arc::clone(&host) as Arc<dyn HostSink>)?;
        Ok(self.unit(instance, host))
    }

    pub(crate) fn unit(&self, instance: Instance, host: Arc<Recorder>) -> Unit<'_> {
        let start = Cell::new(0);
        let instance = Arc::new(instance);
        Unit { bench: self, instance, host, op: start.clone(), epoch: start.clone(), write_id: start }
    }

    /// What an instance on this node gets as its settings.
    pub(crate) fn config_text(&self, node: &str) -> String {
        self.kit.config_text(self.manifest(), node)
    }

    /// An instance with the items, cold and not started.
    pub(crate) fn cold(&self) -> Result<Unit<'_>, Stop> {
        self.cold_on(MAIN)
    }

    fn cold_on(&self, node: &str) -> Result<Unit<'_>, Stop> {
        let unit = self.create(&self.config_text(node)).or_else(|error| {
            let hint =
                if self.kit.config == serde_json::json!({}) { "; give it one with --settings" } else { "" };
            failed(format!("no instance without a configuration that it takes: {}{hint}", said(&error)))
        })?;
        let specs = self.kit.specs();
        unit.host.expect_items(specs.iter().map(|spec| spec.handle));
        unit.control("items(add)", |instance, op| instance.items(op, &specs, &[]))?.or_else(|error| {
            let hint = if self.kit.is_default_items() { "; give it some with --items" } else { "" };
            failed(format!("no instance without items that it takes: {}{hint}", said(&error)))
        })?;
        Ok(unit)
    }

    /// An instance with the items, started.
    pub(crate) fn started(&self) -> Result<Unit<'_>, Stop> {
        self.started_on(MAIN)
    }

    /// The same on the node of that name.
    pub(crate) fn started_on(&self, node: &str) -> Result<Unit<'_>, Stop> {
        let unit = self.cold_on(node)?;
        unit.done("start", twinhub_loader::Instance::start)?;
        Ok(unit)
    }

    /// An instance with the items, started and active.
    pub(crate) fn active(&self) -> Result<Unit<'_>, Stop> {
        let unit = self.started()?;
        unit.role(Role::Active)?;
        Ok(unit)
    }

    /// The roles that it may be given.
    pub(crate) fn roles(&self) -> Vec<Role> {
        let modes = self.manifest().mb.modes.iter().copied();
        let mut roles: Vec<Role> = modes.map(role_of).chain([Role::Cold, Role::Active]).collect();
        roles.sort_unstable_by_key(|role| role.raw());
        roles.dedup();
        roles
    }

    /// What no test has asked for, and what no plugin may do.
    pub(crate) fn offenses(&self) -> Vec<String> {
        let mut offenses = BTreeSet::new();
        for host in self.hosts.borrow().iter() {
            let record = host.record();
            offenses.extend(record.violations.iter().cloned());
            offenses.extend(record.faults.iter().map(|fault| format!("declared itself unusable: {fault}")));
        }
        if twinhub_loader::late_calls() > 0 {
            offenses.insert(format!("{} calls after destroy() had returned", twinhub_loader::late_calls()));
        }
        let more = offenses.len().saturating_sub(OFFENSES);
        let mut shown: Vec<String> = offenses.into_iter().take(OFFENSES).collect();
        shown.extend((more > 0).then(|| format!("and {more} more")));
        shown
    }

    /// How long control calls took, shortest first.
    pub(crate) fn call_times(&self) -> Vec<Duration> {
        let mut calls = self.calls.borrow().clone();
        calls.sort_unstable();
        calls
    }
}

impl Unit<'_> {
    /// Makes a control call and waits for its end.
    pub(crate) fn control(
        &self,
        what: &str,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) -> Result<Result<(), PluginError>, Stop> {
        self.bench.step(what);
        let op = self.op.get() + 1;
        self.op.set(op);
        let begun = Clock::now();
        let called = call(&self.instance, op);
        self.bench.calls.borrow_mut().push(begun.elapsed());
        match called {
            Ok(Status::Done) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
            Ok(Status::Pending) => match self.host.wait(ANSWER, |record| record.ops.get(&op).cloned()) {
                Some((code::OK, _)) => Ok(Ok(())),
                Some((code, detail)) => Ok(Err(PluginError::new("op_done", code, detail))),
                None => {
                    failed(format!("{what} was accepted and not completed within {} s", ANSWER.as_secs()))
                }
            },
        }
    }

    /// Asks the instance something: what it answers, or why it does not.
    pub(crate) fn question(
        &self,
        what: &str,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) -> Result<Result<Vec<u8>, PluginError>, Stop> {
        let asked = self.control(what, call)?;
        let answer = self.host.record().answers.remove(&self.op.get());
        match (asked, answer) {
            (Ok(()), Some(answer)) => Ok(Ok(answer)),
            (Ok(()), None) => failed(format!("{what} ended well without an answer")),
            (Err(error), _) => Ok(Err(error)),
        }
    }

    /// Makes a control call that has to succeed.
    pub(crate) fn done(
        &self,
        what: &str,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) -> Result<(), Stop> {
        self.control(what, call)?.or_else(|error| failed(format!("{what}: {}", said(&error))))
    }

    pub(crate) fn add(&self, specs: &[ItemSpec]) -> Result<(), Stop> {
        self.host.expect_items(specs.iter().map(|spec| spec.handle));
        self.done("items(add)", |instance, op| instance.items(op, specs, &[]))
    }

    /// The next epoch, in this role.
    pub(crate) fn role(&self, role: Role) -> Result<(), Stop> {
        self.role_in(role, self.epoch.get() + 1)
    }

    pub(crate) fn role_in(&self, role: Role, epoch: u64) -> Result<(), Stop> {
        self.epoch.set(epoch);
        self.host.expect_role(role, epoch);
        let what = format!("set_role({})", name(role));
        self.done(&what, |instance, op| instance.set_role(op, role, epoch, TIME_NONE))
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.bench.manifest().mb.delivery
    }

    pub(crate) fn keeps(&self) -> State {
        self.bench.manifest().mb.state
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Items that can be written, with a value for each.
    pub(crate) fn writable(&self) -> Result<Vec<(u32, ValueRef<'static>)>, Stop> {
        let specs = self.bench.kit.specs();
        let writable: Vec<_> = specs
            .iter()
            .zip(&self.bench.kit.items)
            .filter(|(spec, _)| spec.access & access::WRITE != 0)
            .map(|(spec, row)| (spec.handle, sample(row.get("type").map_or("", String::as_str))))
            .collect();
        if writable.is_empty() { skipped("none of its items can be written") } else { Ok(writable) }
    }

    /// Hands over a write; its number.
    pub(crate) fn write(&self, epoch: u64, item: u32, value: ValueRef<'_>) -> Result<u64, PluginError> {
        self.write_until(epoch, item, value, TIME_NONE)
    }

    pub(crate) fn write_until(
        &self,
        epoch: u64,
        item: u32,
        value: ValueRef<'_>,
        deadline_ns: i64,
    ) -> Result<u64, PluginError> {
        let write_id = self.write_id();
        let write = WriteReq { write_id, item, deadline_ns, flags: 0, value };
        self.handed(write_id, || self.instance.write(epoch, [write]))
    }

    /// A number for a write.
    pub(crate) fn write_id(&self) -> u64 {
        self.write_id.set(self.write_id.get() + 1);
        self.write_id.get()
    }

    /// Hands over a write in whatever way.
    pub(crate) fn handed(
        &self,
        write_id: u64,
        hand: impl FnOnce() -> Result<(), PluginError>,
    ) -> Result<u64, PluginError> {
        self.bench.step("write");
        self.host.expect_write(write_id);
        hand().map(|()| write_id).inspect_err(|_| self.host.forget_write(write_id))
    }

    /// The answer to a write. A stream may keep it for as long as its device is absent: that is none.
    pub(crate) fn answer(&self, write_id: u64) -> Result<Option<WriteResult>, Stop> {
        self.bench.step("waiting for write_done");
        let is_stream = self.bench.manifest().mb.delivery == Delivery::Stream;
        let limit = if is_stream { STREAM_ANSWER } else { ANSWER };
        let answer = self.host.wait(limit, |record| {
            let answer = record.writes.get(&write_id).copied();
            (answer.is_some() || !record.faults.is_empty()).then_some(answer)
        });
        match answer {
            Some(Some(result)) => Ok(Some(result)),
            Some(None) => {
                let why = self.host.record().faults.join("; ");
                failed(format!("write {write_id} was taken and not answered: {why}"))
            }
            None if is_stream => Ok(None),
            None => {
                failed(format!("write {write_id} was taken and not answered within {} s", ANSWER.as_secs()))
            }
        }
    }

    /// Waits until every write is answered, those of a stream when it acts no more; then it acts again.
    pub(crate) fn all_answered(&self) -> Result<(), Stop> {
        if self.bench.manifest().mb.delivery == Delivery::Stream {
            self.role(Role::Cold)?;
        }
        self.bench.step("waiting for write_done");
        let none = self.host.wait(ANSWER, |record| record.asked.is_empty().then_some(()));
        if self.bench.manifest().mb.delivery == Delivery::Stream {
            self.role(Role::Active)?;
        }
        let left = self.host.record().asked.len();
        none.map_or_else(|| failed(format!("{left} writes were taken and never answered")), Ok)
    }

    pub(crate) fn stop(&self) -> Result<(), Stop> {
        self.done("stop", twinhub_loader::Instance::stop)
    }

    /// Destroys the instance; how long that took.
    pub(crate) fn destroy(self) -> Duration {
        self.bench.step("destroy");
        let begun = Clock::now();
        drop(self.instance);
        begun.elapsed()
    }

    /// Lets time pass in which the plugin may do what it likes.
    pub(crate) fn let_run(&self, time: Duration) {
        self.bench.step("letting it run");
        self.host.wait(time, |_| None::<()>);
    }
}

pub(crate) fn role_of(mode: Mode) -> Role {
    match mode {
        Mode::Cold => Role::Cold,
        Mode::Warm => Role::Warm,
        Mode::Hot => Role::Hot,
    }
}

/// A role as the contract names it.
pub(crate) fn name(role: Role) -> &'static str {
    match role {
        Role::Cold => "COLD",
        Role::Warm => "WARM",
        Role::Hot => "HOT",
        Role::Active => "ACTIVE",
    }
}

/// An error as it is told.
pub(crate) fn said(error: &PluginError) -> String {
    error.to_string()
}

/// A value that fits the type of an item.
fn sample(kind: &str) -> ValueRef<'static> {
    match kind {
        "bool" => ValueRef::Bool(true),
        "string" => ValueRef::Str("kit"),
        "bytes" => ValueRef::Bytes(b"kit"),
        "json" => ValueRef::Json("{\"kit\":1}"),
        "time" => ValueRef::Time(1_700_000_000_000_000_000),
        kind if kind.starts_with("uint") => ValueRef::U64(1),
        kind if kind.starts_with("int") => ValueRef::I64(1),
        _ => ValueRef::F64(1.0),
    }
}

/// Nodes of a pair.
pub(crate) const MAIN: &str = "main";
pub(crate) const BACKUP: &str = "backup";
/// How many kinds of offenses a verdict names.
const OFFENSES: usize = 3;
/// How long the answer to a write of a stream is waited for.
const STREAM_ANSWER: Duration = Duration::from_millis(200);
/// Longer than any answer takes on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
