//! The host's table, made safe to call.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use twinhub_contract::extension::{
    self, Acceptance, Answer, Gate, HostEvents, Metrics, StateStore, Status, Table,
};
use twinhub_contract::{Batch, Host, Str, WriteResult, abi, code};

/// The host of one instance. Its extensions are looked up once.
#[derive(Debug)]
pub(crate) struct HostRef {
    host: *const Host,
    publish: unsafe extern "C" fn(*const Host, *const Batch) -> i32,
    write_done: unsafe extern "C" fn(*const Host, *const WriteResult, u32) -> i32,
    op_done: unsafe extern "C" fn(*const Host, u64, i32, Str),
    fault: unsafe extern "C" fn(*const Host, i32, Str),
    log: unsafe extern "C" fn(*const Host, u32, Str, Str, Str),
    lease_end: Option<unsafe extern "C" fn(*const Host, u64) -> i64>,
    state: Option<unsafe extern "C" fn(*const Host, u32, Str)>,
    count: Option<unsafe extern "C" fn(*const Host, Str, u64)>,
    get_extension: unsafe extern "C" fn(*const Host, *const c_char) -> Table,
    /// Looked up when it is asked for, because the hub does more for an instance that has it.
    acceptance: OnceLock<Option<Numbers>>,
    append: Option<unsafe extern "C" fn(*const Host, u64, *const u8, usize) -> i32>,
    /// The functions of `twinhub.state-store/1`.
    pub(crate) store: Option<StateStore>,
    /// The functions of `twinhub.events/1`.
    pub(crate) events: Option<HostEvents>,
}

/// The functions of [`Acceptance`].
#[derive(Clone, Copy, Debug)]
struct Numbers {
    taken: unsafe extern "C" fn(*const Host) -> u64,
    accepted: unsafe extern "C" fn(*const Host) -> u64,
}

// SAFETY: the contract declares every function of the host table callable from any thread.
unsafe impl Send for HostRef {}
// SAFETY: as above; the table itself is constant.
unsafe impl Sync for HostRef {}

impl HostRef {
    /// Takes over the host's table, `None` if it is not of this major version or lacks a function.
    ///
    /// # Safety
    /// `host` is NULL or points to a host table as the contract says, valid until `destroy` has returned.
    pub(crate) unsafe fn new(host: *const Host) -> Option<Self> {
        if host.is_null() {
            return None;
        }
        // SAFETY: not NULL; `size` and `abi` are the first members of every version.
        let (size, abi) = unsafe { ((*host).size, (*host).abi) };
        if (size as usize) < size_of::<Host>() || abi >> 16 != twinhub_contract::ABI_MAJOR {
            return None;
        }
        // SAFETY: at least as large as this version knows it.
        let table = unsafe { *host };
        let get_extension = table.get_extension?;
        let find = |id: &CStr| {
            // SAFETY: `host` is the table the function came from, `id` ends with NUL.
            unsafe { get_extension(host, id.as_ptr()) }
        };
        // SAFETY: the host answers an id with NULL or with the table of that id, which starts with its size.
        let (gate, status, metrics, store, answer, events) = unsafe {
            (
                find(extension::GATE).cast::<Gate>().as_ref(),
                find(extension::STATUS).cast::<Status>().as_ref(),
                find(extension::METRICS).cast::<Metrics>().as_ref(),
                find(extension::STATE_STORE).cast::<StateStore>().as_ref(),
                find(extension::ANSWER).cast::<Answer>().as_ref(),
                find(extension::EVENTS).cast::<HostEvents>().as_ref(),
            )
        };
        Some(Self {
            host,
            publish: table.publish?,
            write_done: table.write_done?,
            op_done: table.op_done?,
            fault: table.fault?,
            log: table.log?,
            lease_end: gate.filter(|t| t.size as usize >= size_of::<Gate>()).and_then(|t| t.lease_end),
            state: status.filter(|t| t.size as usize >= size_of::<Status>()).and_then(|t| t.state),
            count: metrics.filter(|t| t.size as usize >= size_of::<Metrics>()).and_then(|t| t.count),
            get_extension,
            acceptance: OnceLock::new(),
            append: answer.filter(|t| t.size as usize >= size_of::<Answer>()).and_then(|t| t.append),
            store: store.filter(|table| table.size as usize >= size_of::<StateStore>()).copied(),
            events: events.filter(|table| table.size as usize >= size_of::<HostEvents>()).copied(),
        })
    }

    /// Publishes updates whose pointers are valid for the call.
    pub(crate) fn publish(&self, epoch: u64, updates: &[abi::Update]) -> i32 {
        let Ok(count) = u32::try_from(updates.len()) else { return code::INVALID };
        let batch = Batch {
            size: SIZE_BATCH,
            stride: STRIDE_UPDATE,
            count,
            flags: 0,
            epoch,
            items: updates.as_ptr(),
        };
        // SAFETY: the batch and its elements live for the call; the host copies what it keeps.
        unsafe { (self.publish)(self.host, &raw const batch) }
    }

    pub(crate) fn write_done(&self, results: &[WriteResult]) {
        let Ok(n) = u32::try_from(results.len()) else { return };
        if n > 0 {
            // SAFETY: the results live for the call.
            unsafe { (self.write_done)(self.host, results.as_ptr(), n) };
        }
    }

    pub(crate) fn op_done(&self, op: u64, code: i32, detail: &str) {
        // SAFETY: the text lives for the call.
        unsafe { (self.op_done)(self.host, op, code, Str::new(detail)) }
    }

    /// Appends to the answer of a call.
    pub(crate) fn append(&self, op: u64, bytes: &[u8]) -> i32 {
        // SAFETY: the function belongs to this host; the bytes live for the call.
        self.append
            .map_or(code::UNSUPPORTED, |append| unsafe { append(self.host, op, bytes.as_ptr(), bytes.len()) })
    }

    pub(crate) fn fault(&self, code: i32, detail: &str) {
        // SAFETY: the text lives for the call.
        unsafe { (self.fault)(self.host, code, Str::new(detail)) }
    }

    pub(crate) fn log(&self, level: u32, target: &str, message: &str, fields_json: &str) {
        // SAFETY: the texts live for the call.
        unsafe { (self.log)(self.host, level, Str::new(target), Str::new(message), Str::new(fields_json)) }
    }

    /// Boot time until which effects of `epoch` are permitted; 0 or less if they are not. A host that has no gate
    /// permits nothing.
    pub(crate) fn lease_end(&self, epoch: u64) -> i64 {
        // SAFETY: the function belongs to this host.
        self.lease_end.map_or(0, |lease_end| unsafe { lease_end(self.host, epoch) })
    }

    pub(crate) fn state(&self, state: u32, cause: &str) {
        if let Some(report) = self.state {
            // SAFETY: the text lives for the call.
            unsafe { report(self.host, state, Str::new(cause)) }
        }
    }

    /// Whether the hub says when values are accepted. The first call decides.
    pub(crate) fn has_acceptance(&self) -> bool {
        self.acceptance.get_or_init(|| self.find_acceptance()).is_some()
    }

    fn find_acceptance(&self) -> Option<Numbers> {
        // SAFETY: the function belongs to this host, the id ends with NUL, and the host answers it with NULL or with the
        // table of that id, which starts with its size.
        let table = unsafe {
            (self.get_extension)(self.host, extension::ACCEPTANCE.as_ptr()).cast::<Acceptance>().as_ref()
        };
        let table = table.filter(|table| table.size as usize >= size_of::<Acceptance>())?;
        Some(Numbers { taken: table.taken?, accepted: table.accepted? })
    }

    /// How many batches the hub has taken; 0 without [`HostRef::has_acceptance`].
    pub(crate) fn taken(&self) -> u64 {
        // SAFETY: the function belongs to this host.
        self.acceptance.get().copied().flatten().map_or(0, |numbers| unsafe { (numbers.taken)(self.host) })
    }

    /// How many of them are accepted; 0 without [`HostRef::has_acceptance`].
    pub(crate) fn accepted(&self) -> u64 {
        // SAFETY: the function belongs to this host.
        self.acceptance.get().copied().flatten().map_or(0, |numbers| unsafe { (numbers.accepted)(self.host) })
    }

    /// The table that its functions are called with.
    pub(crate) const fn table(&self) -> *const Host {
        self.host
    }

    pub(crate) fn count(&self, name: &str, add: u64) {
        if let Some(count) = self.count {
            // SAFETY: the text lives for the call.
            unsafe { count(self.host, Str::new(name), add) }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const SIZE_BATCH: u32 = size_of::<Batch>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const STRIDE_UPDATE: u32 = size_of::<abi::Update>() as u32;
