//! The real library behind the C contract, with a hub of glass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use twinhub_contract::code;
use twinhub_contract::constants::{TIME_NONE, access};
use twinhub_loader::{
    HostSink, Instance, ItemSpec, Library, PluginError, PublishOutcome, RawBatch, Role, StateStore, Status,
    ValueRef, WriteReq, WriteResult,
};

/// A value that outlives its batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    Json(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    pub(crate) item: u32,
    pub(crate) status: u32,
    pub(crate) flags: u32,
    pub(crate) value: Got,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) updates: Vec<Update>,
    pub(crate) last: BTreeMap<u32, Update>,
    pub(crate) results: BTreeMap<u64, i32>,
    pub(crate) ops: BTreeMap<u64, (i32, String)>,
    pub(crate) states: Vec<(u32, String)>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) faults: Vec<String>,
    /// What questions were answered with.
    pub(crate) answers: BTreeMap<u64, Vec<u8>>,
}

impl Seen {
    pub(crate) fn good(&self, item: u32) -> Option<&Got> {
        self.last.get(&item).filter(|update| update.status == 0).map(|update| &update.value)
    }

    pub(crate) fn status(&self, item: u32) -> Option<u32> {
        self.last.get(&item).map(|update| update.status)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn state(&self) -> Option<u32> {
        self.states.last().map(|(state, _)| *state)
    }
}

#[derive(Debug)]
pub(crate) struct Hub {
    seen: Mutex<Seen>,
    changed: Condvar,
    lease_end: AtomicI64,
    store: Arc<StateStore>,
}

impl Hub {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

impl HostSink for Hub {
    fn publish(&self, _epoch: u64, updates: RawBatch<'_>) -> PublishOutcome {
        self.change(|seen| {
            for update in updates {
                let update = update.expect("a valid update");
                let value = match update.value {
                    ValueRef::Null => Got::Null,
                    ValueRef::Bool(value) => Got::Bool(value),
                    ValueRef::I64(value) => Got::I64(value),
                    ValueRef::U64(value) => Got::U64(value),
                    ValueRef::F64(value) => Got::F64(value),
                    ValueRef::Str(value) => Got::Str(value.to_owned()),
                    ValueRef::Json(value) => Got::Json(value.to_owned()),
                    other @ (ValueRef::Bytes(_) | ValueRef::Time(_) | ValueRef::Array { .. }) => {
                        panic!("unexpected value {other:?}")
                    }
                };
                let update = Update { item: update.item, status: update.status, flags: update.flags, value };
                seen.last.insert(update.item, update.clone());
                seen.updates.push(update);
            }
        });
        PublishOutcome::Taken
    }

    fn write_done(&self, results: &[WriteResult]) {
        self.change(|seen| {
            for result in results {
                assert_eq!(seen.results.insert(result.write_id, result.code), None, "answered twice");
            }
        });
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        self.change(|seen| drop(seen.ops.insert(op, (code, detail.to_owned()))));
    }

    fn answer(&self, op: u64, bytes: Vec<u8>) {
        self.change(|seen| drop(seen.answers.insert(op, bytes)));
    }

    fn fault(&self, _code: i32, detail: &str) {
        self.change(|seen| seen.faults.push(detail.to_owned()));
    }

    fn log(&self, _level: u32, _target: &str, _message: &str, _fields_json: &str) {}

    fn state(&self, state: u32, cause: &str) {
        self.change(|seen| seen.states.push((state, cause.to_owned())));
    }

    fn lease_end(&self, _epoch: u64) -> i64 {
        self.lease_end.load(Ordering::SeqCst)
    }

    fn store(&self) -> Option<&StateStore> {
        Some(&self.store)
    }

    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        if self.lease_end(epoch) <= boottime_ns() {
            return code::STALE_EPOCH;
        }
        let mut changes = Vec::new();
        let code = self.store.change(key, value, |change| {
            changes.push(change);
            code::OK
        });
        for change in changes {
            self.store.keep(&change.key, change.value).unwrap();
            self.store.settle(&change.ticket);
        }
        code
    }

    fn count(&self, name: &str, add: u64) {
        self.change(|seen| *seen.counts.entry(name.to_owned()).or_default() += add);
    }
}

pub(crate) struct Rig {
    instance: Option<Instance>,
    hub: Arc<Hub>,
    op: AtomicU64,
    write_id: AtomicU64,
    epoch: AtomicU64,
}

/// An item: handle and row.
pub(crate) fn item(handle: u32, row: Json) -> (u32, Json) {
    (handle, row)
}

impl Rig {
    /// `settings` are merged over fast timers.
    pub(crate) fn new(settings: &Json, items: &[(u32, Json)]) -> Self {
        Self::sharing(&Arc::default(), settings, items)
    }

    /// As [`Rig::new`], with the store of a site.
    pub(crate) fn sharing(store: &Arc<StateStore>, settings: &Json, items: &[(u32, Json)]) -> Self {
        let mut config = json!({
            "backoff_min": "20ms", "backoff_max": "100ms", "heartbeat": "1s", "heartbeat_timeout": "500ms",
            "connect_timeout": "1s", "read_timeout": "1s", "read_rate": 50,
        });
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        let hub = Arc::new(Hub {
            seen: Mutex::default(),
            changed: Condvar::new(),
            lease_end: AtomicI64::new(i64::MAX),
            store: Arc::clone(store),
        });
        let sink: Arc<dyn HostSink> = Arc::<Hub>::clone(&hub);
        let instance = library().create("knx", &config.to_string(), sink).unwrap();
        let rig = Self {
            instance: Some(instance),
            hub,
            op: AtomicU64::new(0),
            write_id: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        };
        rig.control(Instance::start).unwrap();
        rig.items(items).unwrap();
        rig
    }

    /// As [`Rig::new`], active and connected.
    pub(crate) fn active(settings: &Json, items: &[(u32, Json)]) -> Self {
        let rig = Self::new(settings, items);
        rig.become_active();
        rig
    }

    pub(crate) fn become_active(&self) {
        self.role(Role::Active);
        self.connects();
    }

    /// Brings it into the hot standby, and waits for its connection.
    pub(crate) fn become_hot(&self) {
        self.role(Role::Hot);
        self.connects();
    }

    pub(crate) fn connects(&self) {
        self.until("a connection", |seen| matches!(seen.state(), Some(2 | 3)));
    }

    /// Kills it: nothing is said to the gateway.
    pub(crate) fn lose(mut self) {
        std::mem::forget(self.instance.take());
    }

    pub(crate) fn items(&self, items: &[(u32, Json)]) -> Result<(), String> {
        let specs: Vec<ItemSpec> = items
            .iter()
            .map(|(handle, row)| {
                let mut row = row.clone();
                row["path"] = format!("item{handle}").into();
                let access = match row["access"].as_str() {
                    Some("w") => access::WRITE,
                    Some("rw") => access::READ | access::WRITE,
                    _ => access::READ,
                };
                ItemSpec { handle: *handle, access, address_json: row.to_string(), type_hint: 0, group: 0 }
            })
            .collect();
        self.control(|instance, op| instance.items(op, &specs, &[]))
    }

    fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }

    /// What is below a node, or why nobody says.
    pub(crate) fn browse(&self, parent: &Json, cursor: &str, limit: u32) -> Result<Json, String> {
        let parent = if parent.is_null() { String::new() } else { parent.to_string() };
        self.ask(|instance, op| instance.browse(op, &parent, cursor, limit))
    }

    pub(crate) fn inquire(&self, question: u32, request: &Json) -> Result<Json, String> {
        self.ask(|instance, op| instance.inquire(op, question, &request.to_string()))
    }

    pub(crate) fn diagnosis(&self) -> Json {
        self.ask(Instance::diagnose).unwrap()
    }

    fn ask(&self, call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>) -> Result<Json, String> {
        let mut asked = 0;
        self.control(|instance, op| {
            asked = op;
            call(instance, op)
        })?;
        Ok(serde_json::from_slice(&self.seen(|seen| seen.answers[&asked].clone())).unwrap())
    }

    /// Runs a control call to its end.
    fn control(
        &self,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) -> Result<(), String> {
        let op = self.op.fetch_add(1, Ordering::SeqCst) + 1;
        match call(self.instance(), op) {
            Ok(Status::Done) => Ok(()),
            Ok(Status::Pending) => {
                let (code, detail) = self.wait("the call to end", |seen| seen.ops.get(&op).cloned());
                if code == 0 { Ok(()) } else { Err(format!("{code}: {detail}")) }
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn role(&self, role: Role) {
        self.role_within(role, Duration::from_secs(10)).unwrap();
    }

    pub(crate) fn role_within(&self, role: Role, limit: Duration) -> Result<(), String> {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let deadline = boottime_ns() + i64::try_from(limit.as_nanos()).unwrap();
        self.control(|instance, op| instance.set_role(op, role, epoch, deadline))
    }

    pub(crate) fn set_lease_end(&self, boottime_ns: i64) {
        self.hub.lease_end.store(boottime_ns, Ordering::SeqCst);
    }

    /// Hands over writes in one batch; returns their numbers.
    pub(crate) fn write(&self, writes: &[(u32, ValueRef<'_>)]) -> Vec<u64> {
        self.write_until(writes, TIME_NONE)
    }

    pub(crate) fn write_until(&self, writes: &[(u32, ValueRef<'_>)], deadline_ns: i64) -> Vec<u64> {
        let requests: Vec<WriteReq<'_>> = writes
            .iter()
            .map(|(item, value)| WriteReq {
                write_id: self.write_id.fetch_add(1, Ordering::SeqCst) + 1,
                item: *item,
                deadline_ns,
                flags: 0,
                value: *value,
            })
            .collect();
        self.instance().write(self.epoch.load(Ordering::SeqCst), &requests).unwrap();
        requests.iter().map(|request| request.write_id).collect()
    }

    /// Hands over writes that may be refused as a whole.
    pub(crate) fn try_write(&self, writes: &[(u32, ValueRef<'_>)]) -> Result<(), i32> {
        let requests: Vec<WriteReq<'_>> = writes
            .iter()
            .map(|(item, value)| WriteReq {
                write_id: 0,
                item: *item,
                deadline_ns: TIME_NONE,
                flags: 0,
                value: *value,
            })
            .collect();
        let epoch = self.epoch.load(Ordering::SeqCst);
        self.instance().write(epoch, &requests).map_err(|error| error.code)
    }

    /// Writes, and waits for the answers.
    pub(crate) fn written(&self, writes: &[(u32, ValueRef<'_>)]) -> Vec<i32> {
        let ids = self.write(writes);
        self.results(&ids)
    }

    pub(crate) fn results(&self, ids: &[u64]) -> Vec<i32> {
        self.wait("the writes to be answered", |seen| {
            ids.iter().map(|id| seen.results.get(id).copied()).collect::<Option<Vec<i32>>>()
        })
    }

    /// Waits for something to be seen.
    pub(crate) fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Seen) -> Option<T>) -> T {
        let limit = Instant::now() + Duration::from_secs(20);
        let mut seen = self.hub.seen.lock().unwrap();
        loop {
            if let Some(found) = ask(&seen) {
                return found;
            }
            let left = limit.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not within 20 s: {what}; states {:?}, counts {:?}, faults {:?}",
                seen.states,
                seen.counts,
                seen.faults
            );
            // The condition may depend on more than the hub.
            seen = self.hub.changed.wait_timeout(seen, left.min(Duration::from_millis(20))).unwrap().0;
        }
    }

    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Seen) -> bool) {
        self.wait(what, |seen| holds(seen).then_some(()));
    }

    /// Waits until the diagnosis says something.
    pub(crate) fn until_said(&self, what: &str, mut holds: impl FnMut(&Json) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let diagnosis = self.diagnosis();
            if holds(&diagnosis) {
                return;
            }
            assert!(Instant::now() < limit, "not within 20 s: {what}: {diagnosis:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn seen<T>(&self, ask: impl FnOnce(&Seen) -> T) -> T {
        ask(&self.hub.seen.lock().unwrap())
    }

    /// Waits until an item is good and has this value.
    pub(crate) fn reads(&self, item: u32, value: &Got) {
        self.wait(&format!("item {item} to be {value:?}"), |seen| {
            (seen.good(item) == Some(value)).then_some(())
        });
    }

    /// All good values of an item, in their order.
    pub(crate) fn values(&self, item: u32) -> Vec<Got> {
        self.seen(|seen| {
            let of_item = seen.updates.iter().filter(|update| update.item == item && update.status == 0);
            of_item.filter(|update| update.value != Got::Null).map(|update| update.value.clone()).collect()
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take()
            && !std::thread::panicking()
        {
            instance.destroy();
            assert_eq!(self.seen(|seen| seen.faults.clone()), Vec::<String>::new());
        }
    }
}

pub(crate) fn boottime_ns() -> i64 {
    twinhub_plugin::boottime_ns()
}

/// The library that cargo built beside this test.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<(TempDir, Library)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder: PathBuf = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let name = format!("{}twinhub_knx{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let cache = tempfile::tempdir().unwrap();
        let library = Library::open(folder.join(name), cache.path()).unwrap();
        (cache, library)
    });
    library
}
