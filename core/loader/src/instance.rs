//! A safe handle over one plugin instance.

use std::borrow::Borrow;
use std::ffi::{CStr, c_void};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use twinhub_contract::constants::{BATCH_COUNT_MAX, STATE_BYTES_MAX, items};
use twinhub_contract::extension::{self, Accepted, Flow, PluginEvents, State, ValuesIn};
use twinhub_contract::{Item, Role, Str, Value, ValueRef, Write, WriteBatch, Writer, abi, code};

use crate::error::PluginError;
use crate::host::HostCell;
use crate::maker::Maker;

mod asking;
mod events;
mod values_in;

pub use values_in::ValueIn;

/// One plugin instance.
///
/// Control calls (`start`, `set_role`, `items`, `stop`, `snapshot`, `apply`, `destroy`) of one instance must not overlap;
/// the caller serializes them, and waits for a pending one only as long as it wants to. `write` may overlap control
/// calls, but not itself. No lock may be held that the [`crate::HostSink`] needs.
///
/// Dropping an instance destroys it, which waits for its threads.
#[derive(Debug)]
pub struct Instance {
    pub(crate) plugin: *const abi::Plugin,
    pub(crate) calls: Calls,
    host: &'static HostCell,
    /// Who made it, if its code runs elsewhere.
    maker: Option<Arc<dyn Maker>>,
    /// The plugin's table, once it was looked for.
    accepted: OnceLock<Option<Accepted>>,
    /// As above.
    flow: OnceLock<Option<Flow>>,
    /// As above.
    values_in: OnceLock<Option<ValuesIn>>,
    /// As above.
    events: OnceLock<Option<PluginEvents>>,
    is_destroyed: bool,
}

// SAFETY: the contract lets the host call an instance from any thread, one control call at a time.
unsafe impl Send for Instance {}
// SAFETY: as above; `write` may overlap control calls.
unsafe impl Sync for Instance {}

pub(crate) type Plugin = *const abi::Plugin;

/// Adds or removes items.
type ChangeItems = unsafe extern "C" fn(Plugin, u64, u32, *const Item, u32, u32) -> i32;

/// The functions of an instance, all there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    get_extension: Option<unsafe extern "C" fn(Plugin, *const std::ffi::c_char) -> *const c_void>,
    start: unsafe extern "C" fn(Plugin, u64) -> i32,
    pub(crate) set_role: unsafe extern "C" fn(Plugin, u64, u32, u64, i64) -> i32,
    pub(crate) items: ChangeItems,
    pub(crate) write: unsafe extern "C" fn(Plugin, *const WriteBatch) -> i32,
    stop: unsafe extern "C" fn(Plugin, u64) -> i32,
    destroy: unsafe extern "C" fn(Plugin),
}

/// What a control call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Done,
    /// [`crate::HostSink::op_done`] follows, exactly once.
    Pending,
}

/// One item given to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSpec {
    /// Chosen by the host, dense, never reused during the life of the instance.
    pub handle: u32,
    /// Bits of [`twinhub_contract::access`].
    pub access: u32,
    /// JSON object made of the item's row.
    pub address_json: String,
    /// One of [`twinhub_contract::wire`].
    pub type_hint: u32,
    /// Group number, 0 for none.
    pub group: u32,
}

/// A value to write.
pub type ValueOut<'a> = ValueRef<'a>;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteReq<'a> {
    /// Comes back in [`crate::HostSink::write_done`].
    pub write_id: u64,
    /// Handle.
    pub item: u32,
    /// `CLOCK_BOOTTIME` nanoseconds after which nothing may be sent, or [`twinhub_contract::constants::TIME_NONE`].
    pub deadline_ns: i64,
    /// Bits of [`twinhub_contract::flag`].
    pub flags: u32,
    /// The value.
    pub value: ValueOut<'a>,
}

impl Instance {
    /// Takes over what `create` gave.
    ///
    /// # Safety
    /// If `code` is OK, `plugin` is NULL or a table that is valid until its `destroy` returns, and that `maker` gave if
    /// there is one.
    pub(crate) unsafe fn new(
        code: i32,
        detail: String,
        plugin: Plugin,
        host: &'static HostCell,
        maker: Option<Arc<dyn Maker>>,
    ) -> Result<Self, PluginError> {
        if code != code::OK {
            host.close();
            // A positive number is no answer that `create` may give.
            let code = if code > code::OK { code::INVALID } else { code };
            return Err(PluginError::new("create", code, detail));
        }
        // SAFETY: passed on from the caller.
        match unsafe { Calls::read(plugin) } {
            Ok(calls) => Ok(Self {
                plugin,
                calls,
                host,
                maker,
                accepted: OnceLock::new(),
                flow: OnceLock::new(),
                values_in: OnceLock::new(),
                events: OnceLock::new(),
                is_destroyed: false,
            }),
            Err(what) => {
                host.close();
                Err(PluginError::new("create", code::INVALID, what))
            }
        }
    }

    /// Begins to work in the current role.
    ///
    /// # Errors
    /// What the plugin answers; nothing has happened then.
    pub fn start(&self, op: u64) -> Result<Status, PluginError> {
        // SAFETY: the table is valid until `destroy`.
        self.control("start", op, 1, |calls, plugin| vec![unsafe { (calls.start)(plugin, op) }])
    }

    /// Changes the role in an epoch that does not fall. `deadline_ns` is `CLOCK_BOOTTIME` or `TIME_NONE`.
    ///
    /// # Errors
    /// What the plugin answers; the instance keeps the lower one of the two roles then.
    pub fn set_role(&self, op: u64, role: Role, epoch: u64, deadline_ns: i64) -> Result<Status, PluginError> {
        self.control("set_role", op, 1, |calls, plugin| {
            // SAFETY: the table is valid until `destroy`.
            vec![unsafe { (calls.set_role)(plugin, op, role.raw(), epoch, deadline_ns) }]
        })
    }

    /// From here until its next role nothing that the instance gives is taken where its code runs: it is told
    /// `STALE_EPOCH`. When this is done, all that was taken before has reached the [`crate::HostSink`]. Code in this
    /// process calls the sink itself, so there is nothing to do.
    ///
    /// # Errors
    /// `STOPPED` if there is no process any more.
    pub fn hush(&self, op: u64) -> Result<Status, PluginError> {
        let Some(maker) = &self.maker else { return Ok(Status::Done) };
        // SAFETY: the maker gave the table, which is valid until `destroy`.
        self.control("hush", op, 1, |_, plugin| vec![unsafe { maker.hush(plugin, op) }])
    }

    /// Adds and removes items. Removing comes first; a handle is never used again.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn items(&self, op: u64, add: &[ItemSpec], remove: &[u32]) -> Result<Status, PluginError> {
        self.change_items("items", op, add, remove, self.calls.items)
    }

    fn change_items(
        &self,
        name: &'static str,
        op: u64,
        add: &[ItemSpec],
        remove: &[u32],
        change: ChangeItems,
    ) -> Result<Status, PluginError> {
        let blank = |handle| Item { handle, access: 0, address_json: Str::EMPTY, type_hint: 0, group: 0 };
        let removed: Vec<Item> = remove.iter().copied().map(blank).collect();
        let added: Vec<Item> = add
            .iter()
            .map(|spec| Item {
                handle: spec.handle,
                access: spec.access,
                address_json: Str::new(&spec.address_json),
                type_hint: spec.type_hint,
                group: spec.group,
            })
            .collect();
        let chunks: Vec<(u32, &[Item])> = removed
            .chunks(ITEMS_PER_CALL)
            .map(|chunk| (items::REMOVE, chunk))
            .chain(added.chunks(ITEMS_PER_CALL).map(|chunk| (items::ADD, chunk)))
            .collect();
        if chunks.is_empty() {
            return Ok(Status::Done);
        }
        self.control(name, op, count(chunks.len()), |_, plugin| {
            let call = |(what, chunk): &(u32, &[Item])| {
                // SAFETY: the table is valid until `destroy`; the items and their texts live for the call.
                unsafe { change(plugin, op, *what, chunk.as_ptr(), count(chunk.len()), STRIDE_ITEM) }
            };
            chunks.iter().map(call).collect()
        })
    }

    /// Hands over writes that the output gate let pass in `epoch`. All or nothing: after `Ok`, each is answered through
    /// [`crate::HostSink::write_done`]; after an error, none was taken or sent.
    ///
    /// # Errors
    /// `AGAIN`, `STALE_EPOCH`, `NOT_ACTIVE`, `STOPPED` or what else the plugin answers; `INVALID` if there are more than
    /// [`BATCH_COUNT_MAX`] writes or a value is too long.
    pub fn write<'a>(
        &self,
        epoch: u64,
        writes: impl IntoIterator<Item: Borrow<WriteReq<'a>>, IntoIter: ExactSizeIterator>,
    ) -> Result<(), PluginError> {
        let writes = writes.into_iter();
        if writes.len() == 0 {
            return Ok(());
        }
        if writes.len() > BATCH_COUNT_MAX as usize {
            return Err(PluginError::new(
                "write",
                code::INVALID,
                format!("{} writes in one batch", writes.len()),
            ));
        }
        let mut raw = Vec::with_capacity(writes.len());
        for write in writes {
            let WriteReq { write_id, item, flags, deadline_ns, value } = *write.borrow();
            let Some(value) = Value::describe(value, 0) else {
                return Err(PluginError::new("write", code::INVALID, "a value is longer than 1 MiB"));
            };
            raw.push(Write { write_id, item, flags, deadline_ns, value });
        }
        let batch = WriteBatch {
            size: SIZE_WRITE_BATCH,
            stride: STRIDE_WRITE,
            count: count(raw.len()),
            flags: 0,
            epoch,
            items: raw.as_ptr(),
        };
        let begun = Instant::now();
        // SAFETY: the table is valid until `destroy`; the batch and its values live for the call.
        let code = unsafe { (self.calls.write)(self.plugin, &raw const batch) };
        self.time("write", begun.elapsed());
        if code == code::OK { Ok(()) } else { Err(PluginError::new("write", negative(code), "")) }
    }

    /// Ends the work. When it is done, nothing of the plugin is in flight and it publishes no more.
    ///
    /// # Errors
    /// What the plugin answers; the instance is then to be destroyed.
    pub fn stop(&self, op: u64) -> Result<Status, PluginError> {
        self.host.expect_stop(op);
        // SAFETY: the table is valid until `destroy`.
        let stopped = self.control("stop", op, 1, |calls, plugin| vec![unsafe { (calls.stop)(plugin, op) }]);
        if stopped != Ok(Status::Pending) {
            self.host.set_stopped();
        }
        stopped
    }

    /// The state that the other node needs, with its version. Waits for the plugin, up to a second.
    ///
    /// # Errors
    /// `UNSUPPORTED` if the plugin has none, `INVALID` if it is larger than [`STATE_BYTES_MAX`].
    pub fn snapshot(&self) -> Result<(u32, Vec<u8>), PluginError> {
        let refused = |code| PluginError::new("snapshot", code, "");
        let snapshot = self.state().and_then(|state| state.snapshot).ok_or(refused(code::UNSUPPORTED))?;
        let (mut version, mut bytes) = (0, Vec::<u8>::new());
        let writer = Writer { ctx: (&raw mut bytes).cast(), write: Some(append) };
        let begun = Instant::now();
        // SAFETY: the table is valid until `destroy`; `version` and `writer` live for the call.
        let code = unsafe { snapshot(self.plugin, &raw mut version, &raw const writer) };
        self.time_up_to("snapshot", begun.elapsed(), STATE_CALL_WARN, STATE_CALL_FAULT);
        if code == code::OK { Ok((version, bytes)) } else { Err(refused(negative(code))) }
    }

    /// Gives the plugin a state of [`Instance::snapshot`], of this or the other node. Waits, up to a second.
    ///
    /// # Errors
    /// `STATE_VERSION` if the plugin cannot read it, `UNSUPPORTED` if it takes none.
    pub fn apply(&self, version: u32, bytes: &[u8]) -> Result<(), PluginError> {
        let refused = |code| PluginError::new("apply", code, "");
        if bytes.len() > STATE_BYTES_MAX {
            return Err(refused(code::INVALID));
        }
        let apply = self.state().and_then(|state| state.apply).ok_or(refused(code::UNSUPPORTED))?;
        let begun = Instant::now();
        // SAFETY: the table is valid until `destroy`; the bytes live for the call.
        let code = unsafe { apply(self.plugin, version, bytes.as_ptr(), bytes.len()) };
        self.time_up_to("apply", begun.elapsed(), STATE_CALL_WARN, STATE_CALL_FAULT);
        if code == code::OK { Ok(()) } else { Err(refused(negative(code))) }
    }

    /// Tells the plugin how many of its batches are accepted, if it wants to hear of it.
    pub fn accepted(&self, through: u64) {
        let accepted = *self.accepted.get_or_init(|| self.table::<Accepted>(extension::ACCEPTED));
        if let Some(accepted) = accepted.and_then(|table| table.accepted) {
            // SAFETY: the table is valid until `destroy`.
            unsafe { accepted(self.plugin, through) };
        }
    }

    /// Tells the plugin that there is room after [`crate::PublishOutcome::Again`], if it wants to hear of it.
    pub fn room(&self) {
        let flow = *self.flow.get_or_init(|| self.table::<Flow>(extension::FLOW));
        if let Some(room) = flow.and_then(|table| table.room) {
            // SAFETY: the table is valid until `destroy`.
            unsafe { room(self.plugin) };
        }
    }

    /// Whether the plugin offers an extension.
    pub fn has_extension(&self, id: &CStr) -> bool {
        !self.extension(id).is_null()
    }

    /// Whether the plugin has declared the instance unusable, or it broke the contract.
    pub fn is_faulted(&self) -> bool {
        self.host.is_faulted()
    }

    /// Frees the instance; waits until its threads are gone. Pending operations are completed as stopped.
    pub fn destroy(self) {
        drop(self);
    }

    pub(crate) fn control(
        &self,
        name: &'static str,
        op: u64,
        calls: u32,
        call: impl FnOnce(&Calls, Plugin) -> Vec<i32>,
    ) -> Result<Status, PluginError> {
        if !self.host.ops.begin(op, calls) {
            return Err(PluginError::new(
                name,
                code::INVALID,
                format!("operation {op} is under way already"),
            ));
        }
        let begun = Instant::now();
        let codes = call(&self.calls, self.plugin);
        self.time(name, begun.elapsed());
        for code in codes {
            if code != code::PENDING
                && self.host.ops.answer(op, negative(code), "").is_err()
                && code == code::OK
            {
                self.host.count("op_done.unexpected", 1);
            }
        }
        match self.host.ops.returned(op) {
            None => Ok(Status::Pending),
            Some(outcome) if outcome.code == code::OK => Ok(Status::Done),
            Some(outcome) => Err(PluginError::new(name, outcome.code, outcome.detail)),
        }
    }

    fn time(&self, name: &'static str, took: Duration) {
        self.time_up_to(name, took, CALL_WARN, CALL_FAULT);
    }

    fn time_up_to(&self, name: &'static str, took: Duration, warn: Duration, fault: Duration) {
        if took >= fault {
            let detail =
                format!("{name} took {} ms, the limit is {} ms", took.as_millis(), fault.as_millis());
            self.host.fault(code::TIMEOUT, &detail);
        } else if took >= warn {
            tracing::warn!(call = name, took_ms = took.as_millis(), "a plugin call took too long");
            self.host.count("call.slow", 1);
        }
    }

    fn extension(&self, id: &CStr) -> *const c_void {
        // SAFETY: the table is valid until `destroy`; `id` ends with NUL.
        self.calls.get_extension.map_or(std::ptr::null(), |get| unsafe { get(self.plugin, id.as_ptr()) })
    }

    fn state(&self) -> Option<State> {
        self.table::<State>(extension::STATE)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.is_destroyed, true) {
            // SAFETY: the table is valid, and this is the last call.
            unsafe { (self.calls.destroy)(self.plugin) };
            self.host.close();
        }
    }
}

impl Calls {
    /// # Safety
    /// As [`Instance::new`].
    unsafe fn read(plugin: Plugin) -> Result<Self, &'static str> {
        if plugin.is_null() || !plugin.is_aligned() {
            return Err("the plugin gave no instance");
        }
        // SAFETY: not NULL, aligned; these members stand first in every version.
        let (size, version) = unsafe { ((*plugin).size, (*plugin).abi) };
        let major = version >> 16;
        if (size as usize) < size_of::<abi::Plugin>() {
            return Err("the instance's table is smaller than that of contract version 1.0");
        }
        if !(twinhub_contract::ABI_MAJOR_OLDEST..=twinhub_contract::ABI_MAJOR).contains(&major) {
            return Err("the instance speaks another contract version than its library");
        }
        // SAFETY: at least as large as this version knows it.
        let table = unsafe { *plugin };
        let missing = "a function of the instance is missing";
        Ok(Self {
            get_extension: table.get_extension,
            start: table.start.ok_or(missing)?,
            set_role: table.set_role.ok_or(missing)?,
            items: table.items.ok_or(missing)?,
            write: table.write.ok_or(missing)?,
            stop: table.stop.ok_or(missing)?,
            destroy: table.destroy.ok_or(missing)?,
        })
    }
}

/// Collects a snapshot.
unsafe extern "C" fn append(ctx: *mut c_void, ptr: *const u8, len: usize) -> i32 {
    // SAFETY: `ctx` is the vector of `snapshot`, which waits for the call.
    let Some(bytes) = (unsafe { ctx.cast::<Vec<u8>>().as_mut() }) else { return code::INVALID };
    if len > STATE_BYTES_MAX - bytes.len() || (len > 0 && ptr.is_null()) {
        return code::INVALID;
    }
    if len > 0 {
        // SAFETY: not NULL, bounded, readable for the call by the contract.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(ptr, len) });
    }
    code::OK
}

/// A positive number other than "pending" is no answer.
pub(crate) fn negative(code: i32) -> i32 {
    if code > code::OK { code::INVALID } else { code }
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by the callers, or the size of a small struct")]
pub(crate) const fn count(count: usize) -> u32 {
    count as u32
}

const SIZE_WRITE_BATCH: u32 = count(size_of::<WriteBatch>());
const STRIDE_WRITE: u32 = count(size_of::<Write>());
const STRIDE_ITEM: u32 = count(size_of::<Item>());
/// Items handed over in one call, so that a call stays short.
const ITEMS_PER_CALL: usize = 4_096;
/// A call longer than this is logged.
const CALL_WARN: Duration = Duration::from_millis(10);
/// A call longer than this faults the instance.
const CALL_FAULT: Duration = Duration::from_secs(1);
/// As [`CALL_WARN`], for the calls that wait for the plugin's thread.
const STATE_CALL_WARN: Duration = Duration::from_millis(250);
/// As [`CALL_FAULT`], for the calls that wait for the plugin's thread.
const STATE_CALL_FAULT: Duration = Duration::from_secs(2);
