//! The host's side of one instance: the table a plugin gets, and what its functions do.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use twinhub_contract::constants::{BATCH_COUNT_MAX, TEXT_BYTES_MAX};
use twinhub_contract::extension::{self, Acceptance, Gate, Metrics, Status};
use twinhub_contract::{Batch, Host, Str, WriteResult, code};

use crate::batch::RawBatch;
use crate::ops::Ops;
use crate::sink::HostSink;

pub(crate) mod answer;
mod events;
mod store;

/// The host of one instance. `table` comes first: its address is what the plugin has. Never freed, because a plugin that
/// breaks the contract may call after its end; what it leads to is taken out then.
#[repr(C)]
pub(crate) struct HostCell {
    table: Host,
    /// What the table of a newer hub has behind it.
    _newer: [usize; 2],
    /// `None` after the instance is destroyed.
    sink: RwLock<Option<Arc<dyn HostSink>>>,
    pub(crate) ops: Ops,
    answers: answer::Answers,
    /// Number of the stop operation, 0 before it.
    stop_op: AtomicU64,
    is_stopped: AtomicBool,
    is_faulted: AtomicBool,
    is_closed: AtomicBool,
    /// While `create` runs: what the plugin says about its failure.
    creating: Mutex<Option<String>>,
}

// SAFETY: the table is constant, its context pointer unused, and everything else is behind atomics and locks.
unsafe impl Send for HostCell {}
// SAFETY: as above.
unsafe impl Sync for HostCell {}

impl std::fmt::Debug for HostCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostCell").field("ops", &self.ops).finish_non_exhaustive()
    }
}

impl HostCell {
    /// A host that lives as long as the process: about 300 bytes per instance ever made.
    pub(crate) fn leak(sink: Arc<dyn HostSink>) -> &'static Self {
        Self::leak_as(sink, SIZE_HOST, twinhub_contract::ABI)
    }

    /// A host of a hub with a later minor version of the contract: its table is larger.
    pub(crate) fn leak_newer(sink: Arc<dyn HostSink>) -> &'static Self {
        Self::leak_as(sink, SIZE_HOST + size(size_of::<[usize; 2]>()), twinhub_contract::ABI + 1)
    }

    fn leak_as(sink: Arc<dyn HostSink>, size: u32, abi: u32) -> &'static Self {
        Box::leak(Box::new(Self {
            _newer: [usize::MAX; 2],
            table: Host {
                size,
                abi,
                ctx: ptr::null_mut(),
                get_extension: Some(get_extension),
                publish: Some(publish),
                write_done: Some(write_done),
                op_done: Some(op_done),
                fault: Some(fault),
                log: Some(log),
            },
            sink: RwLock::new(Some(sink)),
            ops: Ops::default(),
            answers: answer::Answers::default(),
            stop_op: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            is_faulted: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            creating: Mutex::new(Some(String::new())),
        }))
    }

    pub(crate) fn table(&'static self) -> *const Host {
        ptr::from_ref(self).cast()
    }

    /// `create` has returned; what the plugin said about its failure.
    pub(crate) fn created(&self) -> String {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// The operation whose completion ends publishing.
    pub(crate) fn expect_stop(&self, op: u64) {
        self.stop_op.store(op, Ordering::SeqCst);
    }

    pub(crate) fn set_stopped(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_faulted(&self) -> bool {
        self.is_faulted.load(Ordering::SeqCst)
    }

    /// Marks the instance as unusable and tells the sink, once.
    pub(crate) fn fault(&self, code: i32, detail: &str) {
        if let Some(said) = &mut *self.creating.lock().unwrap_or_else(PoisonError::into_inner) {
            detail.clone_into(said);
            return;
        }
        if !self.is_faulted.swap(true, Ordering::SeqCst) {
            self.with_sink("fault", (), |sink| sink.fault(code, detail));
        }
    }

    pub(crate) fn count(&self, name: &str, add: u64) {
        self.with_sink("count", (), |sink| sink.count(name, add));
    }

    /// Lets go of the sink; operations still under way are completed as stopped.
    pub(crate) fn close(&self) {
        self.set_stopped();
        self.is_closed.store(true, Ordering::SeqCst);
        self.answers.clear();
        for op in self.ops.end_all() {
            self.with_sink("op_done", (), |sink| {
                sink.op_done(op, code::STOPPED, "the instance was destroyed");
            });
        }
        let sink = self.sink.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(sink);
    }

    /// Calls the sink; `otherwise` if it is gone or panics.
    #[inline]
    fn with_sink<T>(&self, call: &'static str, otherwise: T, body: impl FnOnce(&dyn HostSink) -> T) -> T {
        let sink = self.sink.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = &*sink else { return otherwise };
        catch_unwind(AssertUnwindSafe(|| body(&**sink))).unwrap_or_else(|panic| {
            // A payload whose destructor panics must not get out.
            std::mem::forget(panic);
            tracing::error!(call, "the hub panicked in a call of a plugin");
            otherwise
        })
    }
}

/// Finds the cell of a table.
///
/// # Safety
/// `host` is NULL or the table given to the plugin.
#[inline]
unsafe fn cell(host: *const Host) -> Option<&'static HostCell> {
    // SAFETY: tables are given out as the first member of a leaked cell.
    let cell = unsafe { host.cast::<HostCell>().as_ref() };
    if cell.is_some_and(|cell| cell.is_closed.load(Ordering::Relaxed)) {
        LATE_CALLS.fetch_add(1, Ordering::Relaxed);
    }
    cell
}

/// How many calls instances of this process made after they were destroyed, which breaks the contract.
pub fn late_calls() -> u64 {
    LATE_CALLS.load(Ordering::SeqCst)
}

static LATE_CALLS: AtomicU64 = AtomicU64::new(0);

/// A text of a plugin, bounded, with bytes that are not UTF-8 replaced.
///
/// # Safety
/// The text is readable for the call.
unsafe fn text<'a>(text: Str) -> Cow<'a, str> {
    if text.len == 0 || text.ptr.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: not NULL, and readable by the contract; reading less than all of it is fine.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr, text.len.min(TEXT_BYTES_MAX)) };
    String::from_utf8_lossy(bytes)
}

unsafe extern "C" fn publish(host: *const Host, batch: *const Batch) -> i32 {
    // SAFETY: the plugin passes its table and a batch that is readable for the call.
    let (cell, batch) = unsafe { (cell(host), RawBatch::new(batch)) };
    let Some(cell) = cell else { return code::INVALID };
    if cell.is_stopped.load(Ordering::SeqCst) {
        return code::STOPPED;
    }
    let Some((epoch, batch)) = batch else {
        cell.count("publish.malformed", 1);
        return code::INVALID;
    };
    cell.with_sink("publish", code::STOPPED, |sink| sink.publish(epoch, batch).code())
}

unsafe extern "C" fn write_done(host: *const Host, results: *const WriteResult, n: u32) -> i32 {
    // SAFETY: the plugin passes its table.
    let Some(cell) = (unsafe { cell(host) }) else { return code::INVALID };
    if n == 0 {
        return code::OK;
    }
    if results.is_null() || !results.is_aligned() || n > BATCH_COUNT_MAX {
        cell.count("write_done.malformed", 1);
        return code::INVALID;
    }
    // SAFETY: not NULL, aligned, bounded, readable for the call by the contract.
    let results = unsafe { std::slice::from_raw_parts(results, n as usize) };
    cell.with_sink("write_done", code::STOPPED, |sink| {
        sink.write_done(results);
        code::OK
    })
}

unsafe extern "C" fn op_done(host: *const Host, op: u64, code: i32, detail: Str) {
    // SAFETY: the plugin passes its table, and a text that is readable for the call.
    let (Some(cell), detail) = (unsafe { cell(host) }, unsafe { text(detail) }) else { return };
    // OK and errors complete a call; "pending" does not, and no other positive number is defined.
    let code = if code > code::OK { code::INVALID } else { code };
    match cell.ops.answer(op, code, &detail) {
        Ok(Some(outcome)) => {
            if cell.stop_op.load(Ordering::SeqCst) == op {
                cell.set_stopped();
            }
            cell.end_answer(op, outcome.code);
            cell.with_sink("op_done", (), |sink| sink.op_done(op, outcome.code, &outcome.detail));
        }
        Ok(None) => {}
        Err(_) => cell.count("op_done.unexpected", 1),
    }
}

unsafe extern "C" fn fault(host: *const Host, code: i32, detail: Str) {
    // SAFETY: the plugin passes its table, and a text that is readable for the call.
    if let (Some(cell), detail) = (unsafe { cell(host) }, unsafe { text(detail) }) {
        cell.fault(code, &detail);
    }
}

unsafe extern "C" fn log(host: *const Host, level: u32, target: Str, msg: Str, fields_json: Str) {
    // SAFETY: the plugin passes its table, and texts that are readable for the call.
    let (cell, target, msg, fields) = unsafe { (cell(host), text(target), text(msg), text(fields_json)) };
    if let Some(cell) = cell {
        cell.with_sink("log", (), |sink| sink.log(level, &target, &msg, &fields));
    }
}

unsafe extern "C" fn lease_end(host: *const Host, epoch: u64) -> i64 {
    // SAFETY: the plugin passes its table.
    let Some(cell) = (unsafe { cell(host) }) else { return 0 };
    if cell.is_stopped.load(Ordering::SeqCst) || cell.is_faulted() {
        return 0;
    }
    cell.with_sink("lease_end", 0, |sink| sink.lease_end(epoch))
}

unsafe extern "C" fn state(host: *const Host, state: u32, cause: Str) {
    // SAFETY: the plugin passes its table, and a text that is readable for the call.
    if let (Some(cell), cause) = (unsafe { cell(host) }, unsafe { text(cause) }) {
        cell.with_sink("state", (), |sink| sink.state(state, &cause));
    }
}

unsafe extern "C" fn count(host: *const Host, name: Str, add: u64) {
    // SAFETY: the plugin passes its table, and a text that is readable for the call.
    if let (Some(cell), name) = (unsafe { cell(host) }, unsafe { text(name) }) {
        cell.count(&name, add);
    }
}

unsafe extern "C" fn taken(host: *const Host) -> u64 {
    // SAFETY: the plugin passes its table.
    unsafe { cell(host) }.map_or(0, |cell| cell.with_sink("taken", 0, |sink| sink.taken()))
}

unsafe extern "C" fn accepted(host: *const Host) -> u64 {
    // SAFETY: the plugin passes its table.
    unsafe { cell(host) }.map_or(0, |cell| cell.with_sink("accepted", 0, |sink| sink.accepted()))
}

static GATE: Gate = Gate { size: size(size_of::<Gate>()), reserved: 0, lease_end: Some(lease_end) };
static STATUS: Status = Status { size: size(size_of::<Status>()), reserved: 0, state: Some(state) };
static METRICS: Metrics = Metrics { size: size(size_of::<Metrics>()), reserved: 0, count: Some(count) };

static ACCEPTANCE: Acceptance = Acceptance {
    size: size(size_of::<Acceptance>()),
    reserved: 0,
    taken: Some(taken),
    accepted: Some(accepted),
};

unsafe extern "C" fn get_extension(host: *const Host, id: *const c_char) -> *const c_void {
    if id.is_null() {
        return ptr::null();
    }
    // SAFETY: not NULL, and ends with NUL by the contract.
    let id = unsafe { CStr::from_ptr(id) };
    if id == extension::GATE {
        (&raw const GATE).cast()
    } else if id == extension::STATUS {
        (&raw const STATUS).cast()
    } else if id == extension::METRICS {
        (&raw const METRICS).cast()
    } else if id == extension::ACCEPTANCE {
        // SAFETY: the plugin passes its table.
        let is_offered = unsafe { cell(host) }
            .is_some_and(|cell| cell.with_sink("acceptance", false, |sink| sink.use_acceptance()));
        if is_offered { (&raw const ACCEPTANCE).cast() } else { ptr::null() }
    } else if id == extension::ANSWER {
        (&raw const answer::ANSWER).cast()
    } else if id == extension::STATE_STORE {
        // SAFETY: the plugin passes its table.
        let is_offered = unsafe { cell(host) }.is_some_and(store::is_offered);
        if is_offered { (&raw const store::STATE_STORE).cast() } else { ptr::null() }
    } else if id == extension::EVENTS {
        // SAFETY: the plugin passes its table.
        let is_offered = unsafe { cell(host) }.is_some_and(events::is_offered);
        if is_offered { (&raw const events::EVENTS).cast() } else { ptr::null() }
    } else {
        ptr::null()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const fn size(size: usize) -> u32 {
    size as u32
}

const SIZE_HOST: u32 = size(size_of::<Host>());
