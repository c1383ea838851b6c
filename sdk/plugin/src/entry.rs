//! The C side of an instance.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use twinhub_contract::constants::{BATCH_COUNT_MAX, STATE_BYTES_MAX, STRIDE_MAX, items};
use twinhub_contract::{Entry, Host, MAGIC, Str, abi, build, code, extension};

use crate::error::{Code, Error};
use crate::guard::{guarded_call, install_hook};
use crate::host::HostRef;
use crate::mailbox::Command;
use crate::parcel::{WriteRef, Writes};
use crate::plugin::Plugin;
use crate::request::WriteId;
use crate::shared::Shared;
use crate::time::Deadline;
use crate::value::{Access, Epoch, Flags, Item, ItemDef, Role, TypeHint};
use crate::{driver, events, logging, questions, schema, values_in};

/// Bytes of the manifest for its section.
pub const fn manifest_bytes<const N: usize>(manifest: &str) -> [u8; N] {
    let bytes = manifest.as_bytes();
    let mut copy = [0; N];
    let mut index = 0;
    while index < N {
        copy[index] = bytes[index];
        index += 1;
    }
    copy
}

/// The entry of a library.
pub const fn entry(manifest: &'static str, create: abi::CreateFn) -> Entry {
    let unwind = if cfg!(panic = "unwind") { build::UNWIND } else { 0 };
    let debug = if cfg!(debug_assertions) { build::DEBUG } else { 0 };
    Entry {
        magic: MAGIC,
        size: size_u32(size_of::<Entry>()),
        abi: twinhub_contract::ABI,
        build_flags: unwind | debug,
        reserved: 0,
        manifest: Str::new(manifest),
        create: Some(create),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const fn size_u32(size: usize) -> u32 {
    size as u32
}

/// One instance behind the C table. `plugin` comes first, so that its address is the address of the instance.
#[repr(C)]
pub(crate) struct Instance {
    plugin: abi::Plugin,
    state: extension::State,
    accepted: extension::Accepted,
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

/// `create` of the entry.
///
/// # Safety
/// As the contract says: `host` is valid until `destroy` has returned, the texts for the call, `out` for writing.
pub unsafe extern "C" fn create<P: Plugin>(
    host: *const Host,
    instance_id: Str,
    config_json: Str,
    out: *mut *const abi::Plugin,
) -> i32 {
    // SAFETY: passed on from the caller.
    let made = guarded_call(|| unsafe { make::<P>(host, instance_id, config_json) });
    match made {
        Ok(Ok(plugin)) if !out.is_null() => {
            // SAFETY: not NULL, valid for writing by the contract.
            unsafe { *out = plugin };
            code::OK
        }
        Ok(Ok(plugin)) => {
            // SAFETY: made a moment ago, and nobody else has it.
            unsafe { destroy(plugin) };
            code::INVALID
        }
        Ok(Err(code)) => code.raw(),
        Err(_) => code::PANIC,
    }
}

/// The configuration in a text; an empty one is that of an empty object. What the manifest's schema forbids is refused
/// before the plugin sees it: a derived type takes more than its schema tells, such as a list of its fields.
fn config_of<P: Plugin>(text: &str) -> Result<P::Config, String> {
    let text = if text.is_empty() { "{}" } else { text };
    let config: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let manifest: serde_json::Value = serde_json::from_str(P::MANIFEST).unwrap_or_default();
    if let Some(schema) = manifest.get("config_schema") {
        schema::check(schema, &config)?;
    }
    // Read from the text, for the line and column of what is wrong.
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Whether a manifest declares that values of a hot standby are published.
fn publishes_as_standby(manifest: &str) -> bool {
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap_or_default();
    manifest.pointer("/mb/inactive/publish").is_some_and(|publish| publish != "drop")
}

/// # Safety
/// As [`create`].
unsafe fn make<P: Plugin>(host: *const Host, id: Str, config: Str) -> Result<*const abi::Plugin, Code> {
    // SAFETY: by the contract the table is valid until `destroy` has returned.
    let host = unsafe { HostRef::new(host) }.ok_or(Code::Invalid)?;
    // SAFETY: the texts are valid for the call.
    let (id, config) = unsafe { (id.read(TEXT_MAX), config.read(CONFIG_MAX)) };
    let id = id.ok_or(Code::Invalid)?.to_owned();
    let config = config.ok_or(Code::Invalid)?;
    let config = config_of::<P>(config).map_err(|why| {
        host.fault(code::CONFIG, &format!("configuration: {why}"));
        Code::Config
    })?;
    install_hook();
    logging::install();
    let shared = Arc::new(Shared::new(host, id, publishes_as_standby(P::MANIFEST)));
    let on_thread = Arc::clone(&shared);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .on_thread_start(move || logging::enter(&on_thread))
        .build();
    let runtime = runtime.map_err(|error| refuse_create(&shared, &error))?;
    let for_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name(thread_name(&shared.instance))
        .spawn(move || {
            logging::enter(&for_thread);
            driver::run::<P>(&runtime, &for_thread, config);
            runtime.shutdown_timeout(BLOCKING_LIMIT);
        })
        .map_err(|error| refuse_create(&shared, &error))?;
    let instance = Box::new(Instance {
        plugin: abi::Plugin {
            size: size_u32(size_of::<abi::Plugin>()),
            abi: twinhub_contract::ABI,
            ctx: ptr::null_mut(),
            get_extension: Some(get_extension),
            start: Some(start),
            set_role: Some(set_role),
            items: Some(change_items),
            write: Some(write),
            stop: Some(stop),
            destroy: Some(destroy),
        },
        state: extension::State {
            size: size_u32(size_of::<extension::State>()),
            reserved: 0,
            snapshot: Some(snapshot),
            apply: Some(apply),
        },
        accepted: extension::Accepted {
            size: size_u32(size_of::<extension::Accepted>()),
            reserved: 0,
            accepted: Some(accepted),
        },
        shared,
        thread_id: thread.thread().id(),
        thread: Mutex::new(Some(thread)),
    });
    Ok(Box::into_raw(instance).cast_const().cast())
}

fn refuse_create(shared: &Shared, error: &std::io::Error) -> Code {
    shared.host.fault(code::AGAIN, &format!("no runtime or thread for the instance: {error}"));
    Code::Again
}

/// Linux keeps 15 bytes of a thread's name.
fn thread_name(instance: &str) -> String {
    let mut name = format!("tw-{instance}");
    name.retain(|c| c != '\0');
    let end = (0..=name.len().min(15)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.truncate(end);
    name
}

/// Finds the instance of a table, `None` for NULL or a table of another kind.
///
/// # Safety
/// `plugin` is NULL or was given out by [`create`] and not yet destroyed.
pub(crate) unsafe fn instance<'a>(plugin: *const abi::Plugin) -> Option<&'a Instance> {
    // SAFETY: tables are given out as the first member of an `Instance`.
    unsafe { plugin.cast::<Instance>().as_ref() }
}

/// Runs the body of an entry: nothing unwinds out, and a poisoned instance takes nothing.
///
/// # Safety
/// As [`instance`].
pub(crate) unsafe fn guarded_entry(
    plugin: *const abi::Plugin,
    body: impl FnOnce(&Instance) -> Result<i32, Code>,
) -> i32 {
    // SAFETY: passed on from the caller.
    let Some(instance) = (unsafe { instance(plugin) }) else { return code::INVALID };
    if instance.shared.is_poisoned() {
        return code::PANIC;
    }
    match guarded_call(|| body(instance)) {
        Ok(Ok(code)) => code,
        Ok(Err(code)) => code.raw(),
        Err(panic) => {
            instance.shared.poison(Code::Panic, &panic);
            code::PANIC
        }
    }
}

pub(crate) fn submit(instance: &Instance, command: Command) -> Result<i32, Code> {
    instance.shared.mailbox.send(command).map(|()| code::PENDING).map_err(|_| Code::Again)
}

unsafe extern "C" fn start(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance.
    unsafe { guarded_entry(plugin, |instance| submit(instance, Command::Start { op })) }
}

unsafe extern "C" fn stop(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance.
    unsafe {
        guarded_entry(plugin, |instance| {
            let shared = &instance.shared;
            shared.enter_role(Role::Cold, shared.epoch());
            submit(instance, Command::Stop { op })
        })
    }
}

unsafe extern "C" fn set_role(
    plugin: *const abi::Plugin,
    op: u64,
    role: u32,
    epoch: u64,
    deadline_ns: i64,
) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance.
    unsafe {
        guarded_entry(plugin, |instance| {
            let shared = &instance.shared;
            let to = Role::from_raw(role).ok_or(Code::Invalid)?;
            let epoch = Epoch(epoch);
            if epoch < shared.epoch() {
                return Err(Code::StaleEpoch);
            }
            if shared.is_stopped() {
                return Err(Code::Stopped);
            }
            let from = shared.role();
            // The gate follows at once, whatever the instance is busy with.
            shared.enter_role(to, epoch);
            let deadline = Deadline::from_boottime_ns(deadline_ns);
            submit(instance, Command::Role { op, from, to, epoch, deadline }).inspect_err(|_| {
                shared.fall_back(from, to, epoch);
            })
        })
    }
}

unsafe extern "C" fn change_items(
    plugin: *const abi::Plugin,
    op: u64,
    add_or_remove: u32,
    first: *const abi::Item,
    n: u32,
    stride: u32,
) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and `n` items of `stride` bytes are readable.
    unsafe {
        guarded_entry(plugin, |instance| {
            let (add, remove, refused) = read_items(add_or_remove, first, n, stride)?;
            submit(instance, Command::Items { op, add, remove, refused })
        })
    }
}

/// Items to add, items to remove, and why one of them is none.
type ItemChange = (Vec<ItemDef>, Vec<Item>, Option<String>);

/// # Safety
/// `n` items of `stride` bytes are readable for the call.
pub(crate) unsafe fn read_items(
    add_or_remove: u32,
    first: *const abi::Item,
    n: u32,
    stride: u32,
) -> Result<ItemChange, Code> {
    // SAFETY: passed on from the caller.
    let raw = unsafe { elements(first, n, stride, ITEMS_MAX) }?;
    let (mut add, mut remove, mut refused) = (Vec::new(), Vec::new(), None);
    match add_or_remove {
        items::REMOVE => remove.extend(raw.map(|item| Item(item.handle))),
        items::ADD => {
            for item in raw {
                // SAFETY: as above.
                match unsafe { item_def(&item) } {
                    Ok(def) => add.push(def),
                    Err(why) => refused = Some(why),
                }
            }
        }
        _ => return Err(Code::Invalid),
    }
    Ok((add, remove, refused))
}

/// # Safety
/// The item's text is readable.
unsafe fn item_def(raw: &abi::Item) -> Result<ItemDef, String> {
    let item = Item(raw.handle);
    // SAFETY: passed on from the caller.
    let text = unsafe { raw.address_json.read(TEXT_MAX) };
    let text = text.ok_or_else(|| format!("item {}: the address is not UTF-8 or too long", item.0))?;
    let address = if text.is_empty() { Ok(serde_json::Value::Null) } else { serde_json::from_str(text) };
    let address = address.map_err(|error| format!("item {}: the address is not JSON: {error}", item.0))?;
    let (access, type_hint) = (Access(raw.access), TypeHint::from_raw(raw.type_hint));
    Ok(ItemDef { item, access, address, type_hint, group: raw.group })
}

/// Copies the elements of a strided array, as this version knows them.
///
/// # Safety
/// `first` is NULL or leads to `n` elements, `stride` bytes apart, readable during the iteration.
pub(crate) unsafe fn elements<T: Copy>(
    first: *const T,
    n: u32,
    stride: u32,
    n_max: u32,
) -> Result<impl Iterator<Item = T>, Code> {
    let is_stride_good =
        stride as usize >= size_of::<T>() && stride <= STRIDE_MAX && stride.is_multiple_of(8);
    if n > n_max || (n > 0 && (first.is_null() || !first.is_aligned() || !is_stride_good)) {
        return Err(Code::Invalid);
    }
    Ok((0..n as usize).map(move |index| {
        // SAFETY: within the array by the caller's promise; the stride keeps the alignment.
        unsafe { *first.byte_add(index * stride as usize) }
    }))
}

unsafe extern "C" fn write(plugin: *const abi::Plugin, batch: *const abi::WriteBatch) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and the batch is readable for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let shared = &instance.shared;
            let size = batch.as_ref().map_or(0, |batch| batch.size as usize);
            if size < size_of::<abi::WriteBatch>() {
                return Err(Code::Invalid);
            }
            let batch = *batch;
            may_take(shared, batch.epoch)?;
            let raw = elements(batch.items, batch.count, batch.stride, BATCH_COUNT_MAX)?;
            let mut writes = Writes::with_capacity(Epoch(batch.epoch), batch.count as usize);
            for write in raw {
                writes.push(&write_ref(&write)?);
            }
            if writes.is_empty() {
                return Ok(code::OK);
            }
            shared.mailbox.send_writes(writes).map(|()| code::OK).map_err(|_| Code::Again)
        })
    }
}

/// Whether the instance may be given what the hub means for the active one of an epoch.
pub(crate) fn may_take(shared: &Shared, epoch: u64) -> Result<(), Code> {
    if shared.is_stopped() {
        return Err(Code::Stopped);
    }
    if epoch != shared.epoch().0 {
        return Err(Code::StaleEpoch);
    }
    if shared.role() == Role::Active { Ok(()) } else { Err(Code::NotActive) }
}

/// # Safety
/// What the value points to is readable for `'a`.
#[inline]
unsafe fn write_ref<'a>(raw: &abi::Write) -> Result<WriteRef<'a>, Code> {
    // SAFETY: passed on from the caller.
    let value = unsafe { raw.value.read() }.map_err(|_| Code::Invalid)?;
    Ok(WriteRef {
        id: WriteId(raw.write_id),
        item: Item(raw.item),
        value,
        deadline: Deadline::from_boottime_ns(raw.deadline_ns),
        flags: Flags(raw.flags),
    })
}

unsafe extern "C" fn destroy(plugin: *const abi::Plugin) {
    // SAFETY: by the contract `plugin` is a live instance, and this is its last call.
    let Some(found) = (unsafe { instance(plugin) }) else { return };
    if std::thread::current().id() == found.thread_id {
        // Waiting for the own thread would never end: the instance is left alone.
        found.shared.poison(Code::Invalid, "destroy was called from the instance's own thread");
        return;
    }
    found.shared.set_stopped();
    // A closed mailbox means that the thread is on its way out.
    drop(found.shared.mailbox.send(Command::Destroy));
    let thread = found.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(thread) = thread {
        // The thread's body is guarded; there is no panic to report.
        drop(thread.join());
    }
    // SAFETY: made by `Box::into_raw` in `make`; the thread that shared it is gone.
    let owned = unsafe { Box::from_raw(plugin.cast_mut().cast::<Instance>()) };
    drop(guarded_call(|| drop(owned)));
}

unsafe extern "C" fn get_extension(plugin: *const abi::Plugin, id: *const c_char) -> *const c_void {
    // SAFETY: by the contract `plugin` is a live instance.
    let Some(instance) = (unsafe { instance(plugin) }) else { return ptr::null() };
    if id.is_null() {
        return ptr::null();
    }
    // SAFETY: not NULL, and ends with NUL by the contract.
    let id = unsafe { CStr::from_ptr(id) };
    if id == extension::STATE {
        (&raw const instance.state).cast()
    } else if id == extension::ACCEPTED {
        (&raw const instance.accepted).cast()
    } else if id == extension::BROWSE {
        (&raw const questions::BROWSE).cast()
    } else if id == extension::FLOW {
        (&raw const questions::FLOW).cast()
    } else if id == extension::DIAG {
        (&raw const questions::DIAG).cast()
    } else if id == extension::INQUIRY {
        (&raw const questions::INQUIRY).cast()
    } else if id == extension::VALUES_IN {
        (&raw const values_in::VALUES_IN).cast()
    } else if id == extension::EVENTS {
        (&raw const events::EVENTS).cast()
    } else {
        ptr::null()
    }
}

unsafe extern "C" fn accepted(plugin: *const abi::Plugin, _through: u64) {
    // SAFETY: by the contract `plugin` is a live instance.
    if let Some(instance) = unsafe { instance(plugin) } {
        // The number is read where it is needed; a note is kept if nobody waits.
        instance.shared.accepted.notify_one();
    }
}

unsafe extern "C" fn snapshot(plugin: *const abi::Plugin, version: *mut u32, out: *const abi::Writer) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, `version` and `out` are valid for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let (Some(version), Some(out)) = (version.as_mut(), out.as_ref()) else {
                return Err(Code::Invalid);
            };
            let append = out.write.ok_or(Code::Invalid)?;
            let (number, bytes) = ask(instance, |reply| Command::Snapshot { reply })?;
            if bytes.len() > STATE_BYTES_MAX {
                tracing::error!(bytes = bytes.len(), limit = STATE_BYTES_MAX, "state is too large to move");
                return Err(Code::Invalid);
            }
            *version = number;
            Ok(append(out.ctx, bytes.as_ptr(), bytes.len()))
        })
    }
}

unsafe extern "C" fn apply(plugin: *const abi::Plugin, version: u32, first: *const u8, len: usize) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and `len` bytes are readable.
    unsafe {
        guarded_entry(plugin, |instance| {
            if len > STATE_BYTES_MAX || (len > 0 && first.is_null()) {
                return Err(Code::Invalid);
            }
            let bytes = if len == 0 { Vec::new() } else { std::slice::from_raw_parts(first, len).to_vec() };
            ask(instance, |reply| Command::Apply { version, bytes, reply })?;
            Ok(code::OK)
        })
    }
}

/// Asks the instance's thread and waits a little: it is free between calls, which come one after the other.
fn ask<T>(
    instance: &Instance,
    command: impl FnOnce(std::sync::mpsc::SyncSender<Result<T, Error>>) -> Command,
) -> Result<T, Code> {
    if std::thread::current().id() == instance.thread_id {
        return Err(Code::Invalid);
    }
    let (reply, answer) = sync_channel(1);
    submit(instance, command(reply))?;
    match answer.recv_timeout(ASK_LIMIT) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.code()),
        Err(_) => Err(Code::Timeout),
    }
}

/// Longest instance name or address.
const TEXT_MAX: usize = 64 * 1024;
/// Longest configuration.
const CONFIG_MAX: usize = 16 * 1024 * 1024;
/// Most items of one call.
const ITEMS_MAX: u32 = 1 << 20;
/// Blocking threads of one instance.
const BLOCKING_THREADS_MAX: usize = 8;
/// How long the end of an instance waits for its blocking threads.
const BLOCKING_LIMIT: Duration = Duration::from_secs(1);
/// How long a snapshot may take; the host faults a call after one second.
const ASK_LIMIT: Duration = Duration::from_millis(900);
