//! The hub's side: an instance with the table of the contract, whose calls go to a child.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use twinhub_contract::constants::{BATCH_COUNT_MAX, TEXT_BYTES_MAX};
use twinhub_contract::{ABI, Host, Item, Str, WriteBatch, abi, code};
use twinhub_loader::{HostSink, Lease, Maker, Manifest, ValueIn};

use crate::batch::Packer;
use crate::events::HubEvents;
use crate::keeping::HubStore;
use crate::lane::{Lane, MESSAGE_WORDS_MAX, Sent};
use crate::message::{ItemRow, Order, kind, pack};
use crate::offered::{Offers, get_extension};
use crate::process;
use crate::reader::{self, Acceptances};

/// The program that hosts a plugin: it has to call [`crate::run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProgram {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Default for HostProgram {
    /// This very program, also if its file was replaced since, with the command `plugin-host`.
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec!["plugin-host".to_owned()] }
    }
}

/// Makes instances of one library, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Isolated {
    program: HostProgram,
    library: PathBuf,
    needs: Vec<String>,
}

impl Isolated {
    /// Of the library at `library`, which nobody may change: a copy named by its content. `manifest` says what its
    /// processes may do.
    pub fn new(program: HostProgram, library: impl Into<PathBuf>, manifest: &Manifest) -> Self {
        let needs = manifest.hosting.needs.iter().map(ToString::to_string).collect();
        Self { program, library: library.into(), needs }
    }
}

// SAFETY: the table that `create` gives is valid until its `destroy`, which frees it last.
unsafe impl Maker for Isolated {
    unsafe fn create(
        &self,
        host: *const Host,
        sink: &dyn HostSink,
        id: &str,
        config: &str,
    ) -> Result<*const abi::Plugin, (i32, String)> {
        let (gate, leased) = match sink.lease() {
            Lease::Words(file) => (Some(file), true),
            Lease::Free => (None, false),
            // It never gets a permit.
            Lease::None => (None, true),
        };
        let refused = |error: std::io::Error| {
            let program = self.program.program.display();
            (code::STOPPED, format!("no process for the plugin: {program}: {error}"))
        };
        let (process, lanes) = process::spawn(&self.program, gate).map_err(refused)?;
        let remote = Arc::new(Remote::new(HostTable(host), process.handle().map_err(refused)?, lanes.down));
        let threads = reader::start(&remote, process, lanes.values, lanes.answers).map_err(refused)?;
        let library = self.library.to_string_lossy().into_owned();
        let order = Order::Create {
            library,
            id: id.to_owned(),
            config: config.to_owned(),
            leased,
            needs: self.needs.clone(),
            store: remote.store.map(|store| store.all()),
            has_events: remote.events.is_some(),
        };
        remote.order(&order);
        let proxy = Box::new(Proxy { table: TABLE, remote, threads: Mutex::new(Some(threads)) });
        match proxy.remote.wait_created() {
            Ok(()) => Ok(Box::into_raw(proxy).cast_const().cast()),
            Err(refusal) => {
                proxy.end();
                Err(refusal)
            }
        }
    }

    unsafe fn hush(&self, plugin: *const abi::Plugin, op: u64) -> i32 {
        // SAFETY: a table that `create` gave.
        unsafe { remote(plugin) }.control(op, &Order::Hush { op })
    }
}

/// The table that a plugin gets, here used in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostTable(pub(crate) *const Host);

// SAFETY: the functions of a host's table may be called from any thread, for as long as the process lives.
unsafe impl Send for HostTable {}
// SAFETY: as above.
unsafe impl Sync for HostTable {}

impl HostTable {
    pub(crate) fn op_done(self, op: u64, code: i32, detail: &str) {
        // SAFETY: a host's table lives for ever; the text lives for the call.
        if let Some(call) = unsafe { (*self.0).op_done } {
            // SAFETY: as above.
            unsafe { call(self.0, op, code, Str::new(detail)) };
        }
    }

    pub(crate) fn fault(self, code: i32, detail: &str) {
        // SAFETY: as in `op_done`.
        if let Some(call) = unsafe { (*self.0).fault } {
            // SAFETY: as above.
            unsafe { call(self.0, code, Str::new(detail)) };
        }
    }

    pub(crate) fn log(self, level: u32, target: &str, message: &str, fields: &str) {
        // SAFETY: as in `op_done`.
        if let Some(call) = unsafe { (*self.0).log } {
            // SAFETY: as above.
            unsafe { call(self.0, level, Str::new(target), Str::new(message), Str::new(fields)) };
        }
    }

    /// A table of the host's extensions.
    pub(crate) fn extension<T>(self, id: &CStr) -> Option<&'static T> {
        // SAFETY: as in `op_done`.
        let find = unsafe { (*self.0).get_extension }?;
        // SAFETY: as above; what it gives is NULL or a table of that id, constant for as long as the host lives.
        unsafe { find(self.0, id.as_ptr()).cast::<T>().as_ref() }
    }
}

/// What the calls, the readers and the watch of one child share.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) host: HostTable,
    pub(crate) handle: process::Handle,
    pub(crate) acceptances: Acceptances,
    pub(crate) store: Option<HubStore>,
    pub(crate) events: Option<HubEvents>,
    pub(crate) down: Lane,
    packer: Mutex<Packer>,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    created: Option<(i32, String)>,
    offers: Offers,
    /// Operations that are not answered, and how often each was called.
    pending: BTreeMap<u64, u32>,
    calls: u64,
    /// Answers of calls that wait: code, version, bytes.
    answers: HashMap<u64, Option<(i32, u32, Vec<u8>)>>,
    pong: u64,
    /// The role and the epoch last ordered, and when.
    ordered: Option<(u32, u64, Instant)>,
    /// It is to end, so its end is no fault.
    is_leaving: bool,
    /// Why it was killed.
    verdict: Option<String>,
    /// It has ended.
    has_ended: bool,
}

impl Remote {
    fn new(host: HostTable, handle: process::Handle, down: Lane) -> Self {
        Self {
            host,
            handle,
            acceptances: Acceptances::default(),
            store: HubStore::of(host),
            events: HubEvents::of(host),
            down,
            packer: Mutex::default(),
            known: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, known: MutexGuard<'a, Known>, end: Instant) -> Option<MutexGuard<'a, Known>> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        Some(self.changed.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(crate) fn order(&self, order: &Order) -> bool {
        let mut words = Vec::new();
        pack(order, &mut words);
        self.down.send(kind::ORDER, &words) == Sent::Taken
    }

    pub(crate) fn created(&self, code: i32, detail: String, offers: Offers) {
        let mut known = self.known();
        known.offers = offers;
        known.created = Some((code, detail));
        drop(known);
        self.changed.notify_all();
    }

    fn wait_created(&self) -> Result<(), (i32, String)> {
        let end = Instant::now() + CREATE_MAX;
        let mut known = self.known();
        loop {
            match &known.created {
                Some((code::OK, _)) => return Ok(()),
                Some((code, detail)) => return Err((*code, detail.clone())),
                None if known.has_ended => {
                    let why = known.verdict.clone().unwrap_or_else(|| "its process ended".to_owned());
                    return Err((code::STOPPED, why));
                }
                None => {}
            }
            let limit_s = CREATE_MAX.as_secs();
            known = self.wait(known, end).ok_or_else(|| {
                (code::TIMEOUT, format!("the plugin's process did not make the instance within {limit_s} s"))
            })?;
        }
    }

    /// A control call that is answered later.
    pub(crate) fn control(&self, op: u64, order: &Order) -> i32 {
        let mut known = self.known();
        if known.has_ended {
            return code::STOPPED;
        }
        let mut is_new = false;
        if let Order::SetRole { role, epoch, .. } = order {
            is_new = known.ordered.is_none_or(|(last, at, _)| (last, at) != (*role, *epoch));
            known.ordered = Some((*role, *epoch, Instant::now()));
        }
        *known.pending.entry(op).or_insert(0) += 1;
        drop(known);
        if let Some(store) = self.store.filter(|_| is_new) {
            // Without it the role does not arrive either.
            self.order(&Order::Store { entries: store.all() });
        }
        if self.order(order) {
            return code::PENDING;
        }
        self.take_pending(op);
        code::STOPPED
    }

    /// Values of other interfaces' items; they are answered as a control call is.
    pub(crate) fn values(&self, op: u64, epoch: u64, values: &[ValueIn<'_>]) -> i32 {
        let mut packer = self.packer.lock().unwrap_or_else(PoisonError::into_inner);
        packer.begin(epoch);
        for value in values {
            packer.update(&value.update);
        }
        let mut head = vec![op, values.len() as u64];
        head.extend(values.iter().flat_map(|value| [value.place.0, value.place.1]));
        if packer.bytes() + size_of_val(&*head) > MESSAGE_WORDS_MAX * size_of::<u64>() {
            return code::INVALID;
        }
        // Before it is sent: the answer may come before this returns.
        *self.known().pending.entry(op).or_insert(0) += 1;
        let [first, second, third, fourth, fifth] = packer.finish();
        let parts = [&head, first, second, third, fourth, fifth];
        let answer = match self.down.try_send(kind::VALUES_IN, &parts) {
            Sent::Taken => return code::PENDING,
            Sent::Full => code::AGAIN,
            Sent::Lost => code::STOPPED,
        };
        self.take_pending(op);
        answer
    }

    fn take_pending(&self, op: u64) -> bool {
        let mut known = self.known();
        let Some(calls) = known.pending.get_mut(&op) else { return false };
        *calls -= 1;
        if *calls == 0 {
            known.pending.remove(&op);
        }
        true
    }

    /// The child answered a control call.
    pub(crate) fn op_done(&self, op: u64, code: i32, detail: &str) {
        // What was not asked is told, too: the host counts it.
        self.take_pending(op);
        self.host.op_done(op, code, detail);
    }

    /// Whether the hub may still be on its way to the epoch that it ordered a moment ago.
    pub(crate) fn is_new(&self, epoch: u64) -> bool {
        let ordered = self.known().ordered;
        ordered.is_some_and(|(_, last, at)| last == epoch && at.elapsed() < NEW)
    }

    pub(crate) fn call(&self, order: impl FnOnce(u64) -> Order) -> Option<(i32, u32, Vec<u8>)> {
        let end = Instant::now() + STATE_MAX;
        let mut known = self.known();
        known.calls += 1;
        let call = known.calls;
        known.answers.insert(call, None);
        drop(known);
        let is_sent = self.order(&order(call));
        let mut known = self.known();
        while is_sent && !known.has_ended && known.answers.get(&call).is_some_and(Option::is_none) {
            match self.wait(known, end) {
                Some(waited) => known = waited,
                None => return self.known().answers.remove(&call).flatten(),
            }
        }
        known.answers.remove(&call).flatten()
    }

    /// The child answered a call for its state.
    pub(crate) fn answered(&self, call: u64, answer: (i32, u32, Vec<u8>)) {
        if let Some(waiting) = self.known().answers.get_mut(&call) {
            *waiting = Some(answer);
        }
        self.changed.notify_all();
    }

    pub(crate) fn pong(&self, number: u64) {
        self.known().pong = number;
    }

    /// The last ping that was answered; `None` before there is an instance.
    pub(crate) fn last_pong(&self) -> Option<u64> {
        let known = self.known();
        known.created.as_ref().map(|_| known.pong)
    }

    /// Kills the child, for this reason.
    pub(crate) fn condemn(&self, why: &str) {
        let mut known = self.known();
        if known.verdict.is_none() {
            known.verdict = Some(why.to_owned());
        }
        drop(known);
        self.handle.kill();
    }

    /// Whether the plugin offers this.
    pub(crate) fn offers(&self, offer: Offers) -> bool {
        self.known().offers.has(offer)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.known().is_leaving
    }

    /// The child has ended and all it said is heard: the rest is answered, and the fault is told.
    pub(crate) fn ended(&self, how: &str) {
        self.down.close();
        let mut known = self.known();
        let why = known.verdict.clone().unwrap_or_else(|| how.to_owned());
        known.verdict = Some(why.clone());
        known.has_ended = true;
        let pending = std::mem::take(&mut known.pending);
        let is_fault = !known.is_leaving && known.created.as_ref().is_some_and(|(code, _)| *code == code::OK);
        drop(known);
        self.changed.notify_all();
        if is_fault {
            self.host.fault(code::STOPPED, &why);
        }
        for (op, calls) in pending {
            for _ in 0..calls {
                self.host.op_done(op, code::STOPPED, &why);
            }
        }
    }

    /// Tells the child how many of its batches are accepted.
    pub(crate) fn tell_accepted(&self, through: u64) {
        self.order(&Order::Accepted { through });
    }
}

/// What the loader has in its hands: the table comes first.
#[repr(C)]
struct Proxy {
    table: abi::Plugin,
    remote: Arc<Remote>,
    threads: Mutex<Option<reader::Threads>>,
}

impl Proxy {
    /// Ends the child and waits for it.
    fn end(&self) {
        self.remote.known().is_leaving = true;
        self.remote.order(&Order::Destroy);
        let end = Instant::now() + DESTROY_MAX;
        let mut known = self.remote.known();
        while !known.has_ended {
            let Some(waited) = self.remote.wait(known, end) else {
                self.remote.condemn("it did not end in time and was killed");
                break;
            };
            known = waited;
        }
        if let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() {
            threads.join();
        }
    }
}

/// The child behind a table.
///
/// # Safety
/// `plugin` is a table made here and not yet destroyed.
pub(crate) unsafe fn remote<'a>(plugin: *const abi::Plugin) -> &'a Remote {
    // SAFETY: the table is the first member of a proxy.
    unsafe { &(*plugin.cast::<Proxy>()).remote }
}

unsafe extern "C" fn start(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::Start { op })
}

unsafe extern "C" fn set_role(
    plugin: *const abi::Plugin,
    op: u64,
    role: u32,
    epoch: u64,
    deadline_ns: i64,
) -> i32 {
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::SetRole { op, role, epoch, deadline_ns })
}

unsafe extern "C" fn items(
    plugin: *const abi::Plugin,
    op: u64,
    add_or_remove: u32,
    items: *const Item,
    n: u32,
    stride: u32,
) -> i32 {
    // SAFETY: the loader passes the table it was given, and items that are readable for the call.
    unsafe {
        let Some(items) = rows(items, n, stride) else { return code::INVALID };
        remote(plugin).control(op, &Order::Items { op, add_or_remove, items })
    }
}

/// # Safety
/// `n` items with this stride are readable for the call.
pub(crate) unsafe fn rows(items: *const Item, n: u32, stride: u32) -> Option<Vec<ItemRow>> {
    let row = |at: usize| {
        // SAFETY: passed on from the caller.
        let item = unsafe { items.byte_add(at * stride as usize).read() };
        Some(ItemRow {
            handle: item.handle,
            access: item.access,
            // SAFETY: as above.
            address_json: unsafe { item.address_json.read(ADDRESS_BYTES_MAX) }?.to_owned(),
            type_hint: item.type_hint,
            group: item.group,
        })
    };
    (0..n as usize).map(row).collect()
}

unsafe extern "C" fn write(plugin: *const abi::Plugin, batch: *const WriteBatch) -> i32 {
    // SAFETY: the loader passes the table it was given, and a batch of this version that is readable for the call.
    let (remote, batch) = unsafe { (remote(plugin), &*batch) };
    if batch.count > BATCH_COUNT_MAX {
        return code::INVALID;
    }
    let mut packer = remote.packer.lock().unwrap_or_else(PoisonError::into_inner);
    packer.begin(batch.epoch);
    for at in 0..batch.count as usize {
        // SAFETY: as above.
        let write = unsafe { batch.items.byte_add(at * batch.stride as usize).read() };
        // SAFETY: as above.
        let Ok(value) = (unsafe { write.value.read() }) else { return code::INVALID };
        packer.write(&write, value);
    }
    if packer.bytes() > MESSAGE_WORDS_MAX * size_of::<u64>() {
        return code::INVALID;
    }
    match remote.down.try_send(kind::WRITES, &packer.finish()) {
        Sent::Taken => code::OK,
        Sent::Full => code::AGAIN,
        Sent::Lost => code::STOPPED,
    }
}

unsafe extern "C" fn stop(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::Stop { op })
}

unsafe extern "C" fn destroy(plugin: *const abi::Plugin) {
    // SAFETY: the loader passes the table it was given, for the last time.
    let proxy = unsafe { Box::from_raw(plugin.cast_mut().cast::<Proxy>()) };
    proxy.end();
}

const TABLE: abi::Plugin = abi::Plugin {
    size: size(size_of::<abi::Plugin>()),
    abi: ABI,
    ctx: std::ptr::null_mut(),
    get_extension: Some(get_extension),
    start: Some(start),
    set_role: Some(set_role),
    items: Some(items),
    write: Some(write),
    stop: Some(stop),
    destroy: Some(destroy),
};

#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
pub(crate) const fn size(size: usize) -> u32 {
    size as u32
}

/// Loading a library and making an instance may take this long.
const CREATE_MAX: Duration = Duration::from_secs(10);
/// As the loader allows for the calls that wait for the plugin's thread.
const STATE_MAX: Duration = Duration::from_secs(2);
/// A child that does not end by then is killed.
const DESTROY_MAX: Duration = Duration::from_millis(2_500);
/// The hub comes to an epoch within this time of its order.
const NEW: Duration = Duration::from_secs(1);
/// Longest row of an item.
const ADDRESS_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
