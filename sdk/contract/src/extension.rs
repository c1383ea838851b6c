//! Extension tables. An extension is asked for by its id with `get_extension`; NULL means not offered. A changed
//! extension gets a new revision in its id, the old one stays.

use std::ffi::{CStr, c_void};

use crate::abi::{Host, Item, Plugin, Str, Update, Writer};

pub use crate::event::{EVENTS, HostEvents, PluginEvents};

/// Id of [`Gate`].
pub const GATE: &CStr = c"twinhub.gate/1";
/// Id of [`Status`].
pub const STATUS: &CStr = c"twinhub.status/1";
/// Id of [`State`].
pub const STATE: &CStr = c"twinhub.state/1";
/// Id of [`Acceptance`].
pub const ACCEPTANCE: &CStr = c"twinhub.acceptance/1";
/// Id of [`Accepted`].
pub const ACCEPTED: &CStr = c"twinhub.accepted/1";
/// Id of [`Metrics`].
pub const METRICS: &CStr = c"twinhub.metrics/1";
/// Id of [`Flow`].
pub const FLOW: &CStr = c"twinhub.flow/1";
/// Id of [`StateStore`].
pub const STATE_STORE: &CStr = c"twinhub.state-store/1";
/// Id of [`Answer`].
pub const ANSWER: &CStr = c"twinhub.answer/1";
/// Id of [`Browse`].
pub const BROWSE: &CStr = c"twinhub.browse/1";
/// Id of [`Diag`].
pub const DIAG: &CStr = c"twinhub.diag/1";
/// Id of [`Inquiry`].
pub const INQUIRY: &CStr = c"twinhub.inquiry/1";
/// Id of [`ValuesIn`].
pub const VALUES_IN: &CStr = c"twinhub.values-in/1";

/// `twinhub_gate`, offered by the host: until when effects are permitted.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Gate {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// `CLOCK_BOOTTIME` nanoseconds until which effects of `epoch` are permitted; 0 or less: not permitted.
    pub lease_end: Option<unsafe extern "C" fn(host: *const Host, epoch: u64) -> i64>,
}

/// `twinhub_status`, offered by the host: the state of the interface.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Status {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Reports one of [`crate::state`] and the cause in words.
    pub state: Option<unsafe extern "C" fn(host: *const Host, state: u32, cause: Str)>,
}

/// `twinhub_metrics`, offered by the host: counters by name.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Metrics {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Adds to a counter.
    pub count: Option<unsafe extern "C" fn(host: *const Host, name: Str, add: u64)>,
}

/// `twinhub_acceptance`, offered by the host: when published values may be acknowledged to whoever sent them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Acceptance {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// How many batches were taken.
    pub taken: Option<unsafe extern "C" fn(host: *const Host) -> u64>,
    /// How many of them are accepted, counted from the first.
    pub accepted: Option<unsafe extern "C" fn(host: *const Host) -> u64>,
}

/// `twinhub_accepted`, offered by the plugin: hears that more is accepted.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Accepted {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Takes a note of how many batches are accepted.
    pub accepted: Option<unsafe extern "C" fn(plugin: *const Plugin, through: u64)>,
}

/// `twinhub_flow`, offered by the plugin: hears that there is room.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Flow {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Takes a note that it is worth to try again.
    pub room: Option<unsafe extern "C" fn(plugin: *const Plugin)>,
}

/// `twinhub_state`, offered by the plugin: state that moves to the other node.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct State {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Writes the state and says its version.
    pub snapshot:
        Option<unsafe extern "C" fn(plugin: *const Plugin, version: *mut u32, out: *const Writer) -> i32>,
    /// Takes over a state.
    pub apply:
        Option<unsafe extern "C" fn(plugin: *const Plugin, version: u32, ptr: *const u8, len: usize) -> i32>,
}

/// `twinhub_state_store`, offered by the host: small values by key that the other nodes get, too.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StateStore {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Writes the value of a key.
    pub get: Option<unsafe extern "C" fn(host: *const Host, key: Str, out: *const Writer) -> i32>,
    /// Writes the key that follows.
    pub next: Option<unsafe extern "C" fn(host: *const Host, after: Str, out: *const Writer) -> i32>,
    /// Keeps bytes under a key.
    pub put: Option<
        unsafe extern "C" fn(host: *const Host, epoch: u64, key: Str, ptr: *const u8, len: usize) -> i32,
    >,
    /// Forgets a key.
    pub remove: Option<unsafe extern "C" fn(host: *const Host, epoch: u64, key: Str) -> i32>,
}

/// `twinhub_answer`, offered by the host: where calls that are asked for a text put it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Appends to the answer of a call.
    pub append: Option<unsafe extern "C" fn(host: *const Host, op: u64, ptr: *const u8, len: usize) -> i32>,
}

/// `twinhub_browse`, offered by the plugin: lists what can be addressed on its device.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Browse {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Lists what is directly below a node.
    pub browse: Option<
        unsafe extern "C" fn(
            plugin: *const Plugin,
            op: u64,
            parent_json: Str,
            cursor: Str,
            limit: u32,
        ) -> i32,
    >,
}

/// `twinhub_diag`, offered by the plugin: says how it is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Diag {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Says what helps to find a fault.
    pub diagnose: Option<unsafe extern "C" fn(plugin: *const Plugin, op: u64) -> i32>,
}

/// `twinhub_inquiry`, offered by the plugin: answers whoever puts its interface into service.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Inquiry {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Answers a question of [`inquiry`](crate::constants::inquiry).
    pub inquire:
        Option<unsafe extern "C" fn(plugin: *const Plugin, op: u64, question: u32, request_json: Str) -> i32>,
}

/// `twinhub_value_in`: one value of an item of another interface.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ValueIn {
    /// The value.
    pub update: Update,
    /// Its place in the journal: the epoch,
    pub place_epoch: u64,
    /// and the number there.
    pub place_seq: u64,
}

/// `twinhub_values`: values of items of other interfaces.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Values {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// Distance between elements in bytes.
    pub stride: u32,
    /// How many.
    pub count: u32,
    /// 0.
    pub flags: u32,
    /// Of the last role.
    pub epoch: u64,
    /// The values.
    pub items: *const ValueIn,
}

/// `twinhub_values_in`, offered by the plugin: takes values of items of other interfaces.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ValuesIn {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Adds or removes items of other interfaces.
    pub watch: Option<
        unsafe extern "C" fn(
            plugin: *const Plugin,
            op: u64,
            add_or_remove: u32,
            items: *const Item,
            n: u32,
            stride: u32,
        ) -> i32,
    >,
    /// Gives values.
    pub values: Option<unsafe extern "C" fn(plugin: *const Plugin, op: u64, batch: *const Values) -> i32>,
}

/// Any extension table, before its type is known.
pub type Table = *const c_void;
