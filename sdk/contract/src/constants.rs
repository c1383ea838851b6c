//! The numbers of the contract. Each group is a module, so that a name reads as in the header:
//! `TWINHUB_E_AGAIN` is [`code::AGAIN`].

/// First word of an entry: `TWINHUB1` in ASCII, read as a big-endian number.
pub const MAGIC: u64 = 0x5457_494e_4855_4231;
/// Contract major version spoken by this crate.
pub const ABI_MAJOR: u32 = 1;
/// Contract minor version spoken by this crate.
pub const ABI_MINOR: u32 = 0;
/// Oldest major version a host still loads: its own and the one before, and there was none before 1.
pub const ABI_MAJOR_OLDEST: u32 = 1;
/// `major << 16 | minor`, the value of every `abi` field.
pub const ABI: u32 = ABI_MAJOR << 16 | ABI_MINOR;
/// The only symbol a plugin library exports.
pub const ENTRY_SYMBOL: &str = "twinhub_plugin_entry";
/// Section of an ELF library that holds the manifest.
pub const MANIFEST_SECTION: &str = ".twinhub_manifest";
/// Section of a Mach-O library that holds the manifest (segment `__DATA`).
pub const MANIFEST_SECTION_MACHO: &str = "__twinhub_man";
/// Section of a PE library that holds the manifest.
pub const MANIFEST_SECTION_PE: &str = ".hubman";
/// Longest string, byte string, array or JSON text of one value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most elements in one update or write batch.
pub const BATCH_COUNT_MAX: u32 = 65_536;
/// Largest element stride a receiver accepts, in bytes.
pub const STRIDE_MAX: u32 = 4_096;
/// Longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Longest `detail`, `cause` or log text a receiver keeps, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Longest state a snapshot may write, in bytes.
pub const STATE_BYTES_MAX: usize = 1 << 20;
/// Longest key of `twinhub.state-store/1`, in bytes.
pub const STORE_KEY_BYTES_MAX: usize = 128;
/// Longest value there, in bytes.
pub const STORE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most keys of one interface.
pub const STORE_KEYS_MAX: usize = 1_000;
/// Most bytes of one interface, keys and values together.
pub const STORE_BYTES_MAX: usize = 1 << 20;
/// Longest answer through `twinhub.answer/1`, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Questions of `twinhub.inquiry/1`; the header says what is asked and answered.
pub mod inquiry {
    /// Whether the device answers.
    pub const TEST: u32 = 1;
    /// What is in reach.
    pub const DISCOVER: u32 = 2;
    /// What went over the line.
    pub const MONITOR: u32 = 3;
}

/// Most nodes of one answer of `twinhub.browse/1`.
pub const BROWSE_NODES_MAX: u32 = 1_000;
/// Longest name of a stream of `twinhub.events/1`, in bytes.
pub const EVENT_STREAM_BYTES_MAX: usize = 64;
/// Longest id of an event, in bytes.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// Longest key of an event, in bytes.
pub const EVENT_KEY_BYTES_MAX: usize = 128;
/// Longest payload of an event, in bytes.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Most streams that a plugin gives, and most that it takes.
pub const EVENT_STREAMS_MAX: usize = 32;
/// "No time": used for `source_ns` and `deadline_ns`.
pub const TIME_NONE: i64 = i64::MIN;

/// Result codes. A negative number this list does not name means [`code::DEVICE`].
pub mod code {
    /// Done.
    pub const OK: i32 = 0;
    /// Accepted; `op_done` follows exactly once.
    pub const PENDING: i32 = 1;
    /// The plugin panicked; the instance is poisoned.
    pub const PANIC: i32 = -1;
    /// Nothing was taken, try again later.
    pub const AGAIN: i32 = -2;
    /// The epoch is not the current one.
    pub const STALE_EPOCH: i32 = -3;
    /// An argument breaks the contract.
    pub const INVALID: i32 = -4;
    /// The instance is stopped.
    pub const STOPPED: i32 = -5;
    /// Not offered by this side.
    pub const UNSUPPORTED: i32 = -6;
    /// Refused because the instance is not active. Nothing was sent.
    pub const NOT_ACTIVE: i32 = -7;
    /// The deadline passed. For a write: the outcome is unknown, it may have reached the device.
    pub const TIMEOUT: i32 = -8;
    /// The configuration is wrong.
    pub const CONFIG: i32 = -9;
    /// The device, peer or link is at fault.
    pub const DEVICE: i32 = -10;
    /// An exclusive resource is held by somebody else.
    pub const BUSY: i32 = -11;
    /// The state snapshot has a version this plugin cannot read.
    pub const STATE_VERSION: i32 = -12;
    /// For a write: the deadline passed before anything was sent.
    pub const EXPIRED: i32 = -13;
    /// There is nothing of this name.
    pub const NOT_FOUND: i32 = -14;
    /// A limit of what may be kept is reached. Nothing was taken.
    pub const FULL: i32 = -15;

    /// Name of a code for people, as in the header without its prefix.
    pub fn name(code: i32) -> &'static str {
        match code {
            OK => "OK",
            PENDING => "PENDING",
            PANIC => "PANIC",
            AGAIN => "AGAIN",
            STALE_EPOCH => "STALE_EPOCH",
            INVALID => "INVALID",
            STOPPED => "STOPPED",
            UNSUPPORTED => "UNSUPPORTED",
            NOT_ACTIVE => "NOT_ACTIVE",
            TIMEOUT => "TIMEOUT",
            CONFIG => "CONFIG",
            BUSY => "BUSY",
            STATE_VERSION => "STATE_VERSION",
            EXPIRED => "EXPIRED",
            NOT_FOUND => "NOT_FOUND",
            FULL => "FULL",
            _ => "DEVICE",
        }
    }
}

/// What a value holds.
pub mod kind {
    /// No value.
    pub const NULL: u8 = 0;
    /// `p.b`, 0 or 1.
    pub const BOOL: u8 = 1;
    /// `p.i`.
    pub const I64: u8 = 2;
    /// `p.u`.
    pub const U64: u8 = 3;
    /// `p.f`.
    pub const F64: u8 = 4;
    /// `p.ptr`, `len` bytes of UTF-8.
    pub const STR: u8 = 5;
    /// `p.ptr`, `len` bytes.
    pub const BYTES: u8 = 6;
    /// `p.i`, nanoseconds since 1970 UTC.
    pub const TIME: u8 = 7;
    /// `p.ptr`, `len` bytes of packed elements of kind `elem`.
    pub const ARRAY: u8 = 8;
    /// `p.ptr`, `len` bytes of JSON text.
    pub const JSON: u8 = 9;
}

/// The type on the wire of the device, where it is narrower than the kind.
pub mod wire {
    /// Not stated.
    pub const NONE: u8 = 0;
    /// One bit.
    pub const BOOL: u8 = 1;
    /// Signed 8 bit.
    pub const I8: u8 = 2;
    /// Unsigned 8 bit.
    pub const U8: u8 = 3;
    /// Signed 16 bit.
    pub const I16: u8 = 4;
    /// Unsigned 16 bit.
    pub const U16: u8 = 5;
    /// Signed 32 bit.
    pub const I32: u8 = 6;
    /// Unsigned 32 bit.
    pub const U32: u8 = 7;
    /// Signed 64 bit.
    pub const I64: u8 = 8;
    /// Unsigned 64 bit.
    pub const U64: u8 = 9;
    /// IEEE 754 single.
    pub const F32: u8 = 10;
    /// IEEE 754 double.
    pub const F64: u8 = 11;
    /// Text.
    pub const STRING: u8 = 12;
    /// Opaque bytes.
    pub const BYTES: u8 = 13;
    /// Point in time.
    pub const TIME: u8 = 14;
    /// JSON text.
    pub const JSON: u8 = 15;
}

/// Roles of an instance, in rising order.
pub mod role {
    /// Nothing is open.
    pub const COLD: u32 = 0;
    /// The session is open, there is no traffic.
    pub const WARM: u32 = 1;
    /// Inputs run, outputs are silent, publishes are flagged as standby.
    pub const HOT: u32 = 2;
    /// Acting.
    pub const ACTIVE: u32 = 3;
}

/// Flags of an update or a write.
pub mod flag {
    /// Part of an initial picture, not a change.
    pub const SNAPSHOT: u32 = 1;
    /// Delivered again after a takeover.
    pub const REPLAY: u32 = 1 << 1;
    /// A substitute, not measured.
    pub const SUBSTITUTE: u32 = 1 << 2;
    /// Forced by an operator.
    pub const FORCED: u32 = 1 << 3;
    /// `source_ns` was made from a local time without zone.
    pub const LOCAL_TIME: u32 = 1 << 4;
    /// An event: must not be replaced by a later value of the same item.
    pub const EVENT: u32 = 1 << 5;
    /// Published while not active.
    pub const STANDBY: u32 = 1 << 6;
    /// What the sink shows of this interface's own outputs: the read-back image of a written item, by which a
    /// successor knows what the node before it had already delivered. Never a new value of the item.
    pub const MIRROR: u32 = 1 << 7;
    /// Only the quality is new: the host keeps the item's value, whatever value the update carries. For an interface
    /// that lost its connection, or has it back. Never carried along a link.
    pub const QUALITY_ONLY: u32 = 1 << 8;
}

/// Build flags of an entry.
pub mod build {
    /// Panics unwind and are caught at every entry (also set by plugins in languages without panics).
    pub const UNWIND: u32 = 1;
    /// Built without optimization.
    pub const DEBUG: u32 = 1 << 1;
}

/// Access bits of an item.
pub mod access {
    /// The hub reads the item.
    pub const READ: u32 = 1;
    /// The hub may write the item.
    pub const WRITE: u32 = 2;
}

/// What an `items` call does.
pub mod items {
    /// Add the items of the call.
    pub const ADD: u32 = 1;
    /// Remove the items of the call; only `handle` counts.
    pub const REMOVE: u32 = 2;
}

/// Log levels.
pub mod level {
    /// An operator must act, or data was lost.
    pub const ERROR: u32 = 1;
    /// Surprising, still working.
    pub const WARN: u32 = 2;
    /// Changes of state.
    pub const INFO: u32 = 3;
    /// Decisions.
    pub const DEBUG: u32 = 4;
    /// Per telegram.
    pub const TRACE: u32 = 5;
}

/// Interface states reported through `twinhub.status/1`.
pub mod state {
    /// Not running.
    pub const STOPPED: u32 = 0;
    /// Building up the connection.
    pub const CONNECTING: u32 = 1;
    /// Working.
    pub const OK: u32 = 2;
    /// Working in part.
    pub const DEGRADED: u32 = 3;
    /// Not working.
    pub const FAULT: u32 = 4;
    /// Silent on purpose, because the instance is not active.
    pub const SUPPRESSED: u32 = 5;
}

/// Quality: OPC UA status codes (OPC 10000-6, annex A.2), the ones that plugins need most.
pub mod quality {
    /// Good.
    pub const GOOD: u32 = 0;
    /// Good, the value was overridden by an operator (`GoodLocalOverride`).
    pub const GOOD_LOCAL_OVERRIDE: u32 = 0x0096_0000;
    /// Uncertain without a reason.
    pub const UNCERTAIN: u32 = 0x4000_0000;
    /// The value is the last one before communication was lost (`UncertainNoCommunicationLastUsableValue`).
    pub const UNCERTAIN_LAST_USABLE: u32 = 0x408F_0000;
    /// A substitute (`UncertainSubstituteValue`).
    pub const UNCERTAIN_SUBSTITUTE: u32 = 0x4091_0000;
    /// Bad without a reason.
    pub const BAD: u32 = 0x8000_0000;
    /// The connection broke, or an answer made no sense (`BadCommunicationError`).
    pub const BAD_COMMUNICATION: u32 = 0x8005_0000;
    /// What the device sent makes no value of the item's type (`BadDecodingError`).
    pub const BAD_DECODING: u32 = 0x8007_0000;
    /// There is no connection (`BadNotConnected`).
    pub const BAD_NOT_CONNECTED: u32 = 0x808A_0000;
    /// The device sends a number that is none (`BadSensorFailure`).
    pub const BAD_SENSOR_FAILURE: u32 = 0x808C_0000;
    /// The connection is not there (`BadNoCommunication`).
    pub const BAD_NO_COMMUNICATION: u32 = 0x8031_0000;
    /// No value yet (`BadWaitingForInitialData`).
    pub const BAD_WAITING_FOR_INITIAL_DATA: u32 = 0x8032_0000;
    /// The address does not exist on the device (`BadNodeIdUnknown`).
    pub const BAD_ADDRESS_UNKNOWN: u32 = 0x8034_0000;
    /// Configuration does not fit the device (`BadConfigurationError`).
    pub const BAD_CONFIGURATION: u32 = 0x8089_0000;
    /// The device failed (`BadDeviceFailure`).
    pub const BAD_DEVICE_FAILURE: u32 = 0x808B_0000;
    /// The value is outside the range of its type (`BadOutOfRange`).
    pub const BAD_OUT_OF_RANGE: u32 = 0x803C_0000;
    /// The value cannot be converted (`BadTypeMismatch`).
    pub const BAD_TYPE_MISMATCH: u32 = 0x8074_0000;
    /// No answer in time (`BadTimeout`).
    pub const BAD_TIMEOUT: u32 = 0x800A_0000;

    /// Whether the severity bits say good.
    pub const fn is_good(status: u32) -> bool {
        status & 0xC000_0000 == 0
    }

    /// Whether the severity bits say bad.
    pub const fn is_bad(status: u32) -> bool {
        status & 0x8000_0000 != 0
    }
}
