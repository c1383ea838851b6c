//! Items, values, quality and updates as an author sees them.

pub use twinhub_contract::Role;
use twinhub_contract::constants::{TIME_NONE, access, flag, quality, wire};
use twinhub_contract::{ValueRef, kind};

/// Handle of an item, given by the hub, valid until the item is removed or the instance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item(pub u32);

/// Fencing number of a role decision; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// State of the interface, shown to the operator and used for the health score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// Not running.
    Stopped,
    /// Building up the connection.
    Connecting,
    /// Working.
    Ok,
    /// Working in part.
    Degraded,
    /// Not working.
    Fault,
    /// Silent on purpose, because the instance is not active.
    Suppressed,
}

impl InterfaceState {
    /// The number of the contract.
    pub const fn raw(self) -> u32 {
        match self {
            Self::Stopped => 0,
            Self::Connecting => 1,
            Self::Ok => 2,
            Self::Degraded => 3,
            Self::Fault => 4,
            Self::Suppressed => 5,
        }
    }
}

/// Quality of a value: the bits of an OPC UA status code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quality(pub u32);

impl Quality {
    /// Good.
    pub const GOOD: Self = Self(quality::GOOD);
    /// Uncertain without a reason.
    pub const UNCERTAIN: Self = Self(quality::UNCERTAIN);
    /// The value is the last one before communication was lost.
    pub const UNCERTAIN_LAST_USABLE: Self = Self(quality::UNCERTAIN_LAST_USABLE);
    /// Bad without a reason.
    pub const BAD: Self = Self(quality::BAD);
    /// The connection broke, or an answer made no sense.
    pub const BAD_COMMUNICATION: Self = Self(quality::BAD_COMMUNICATION);
    /// What the device sent makes no value of the item's type.
    pub const BAD_DECODING: Self = Self(quality::BAD_DECODING);
    /// There is no connection.
    pub const BAD_NOT_CONNECTED: Self = Self(quality::BAD_NOT_CONNECTED);
    /// The device sends a number that is none.
    pub const BAD_SENSOR_FAILURE: Self = Self(quality::BAD_SENSOR_FAILURE);
    /// The connection is not there.
    pub const BAD_NO_COMMUNICATION: Self = Self(quality::BAD_NO_COMMUNICATION);
    /// No value yet.
    pub const BAD_WAITING_FOR_INITIAL_DATA: Self = Self(quality::BAD_WAITING_FOR_INITIAL_DATA);
    /// The address does not exist on the device.
    pub const BAD_ADDRESS_UNKNOWN: Self = Self(quality::BAD_ADDRESS_UNKNOWN);
    /// The configuration does not fit the device.
    pub const BAD_CONFIGURATION: Self = Self(quality::BAD_CONFIGURATION);
    /// The device failed.
    pub const BAD_DEVICE_FAILURE: Self = Self(quality::BAD_DEVICE_FAILURE);
    /// The value is outside the range of its type.
    pub const BAD_OUT_OF_RANGE: Self = Self(quality::BAD_OUT_OF_RANGE);
    /// The value cannot be converted.
    pub const BAD_TYPE_MISMATCH: Self = Self(quality::BAD_TYPE_MISMATCH);
    /// No answer in time.
    pub const BAD_TIMEOUT: Self = Self(quality::BAD_TIMEOUT);

    /// Whether the severity is good.
    pub const fn is_good(self) -> bool {
        quality::is_good(self.0)
    }

    /// Whether the severity is bad.
    pub const fn is_bad(self) -> bool {
        quality::is_bad(self.0)
    }
}

/// An owned value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// Boolean.
    Bool(bool),
    /// Signed number.
    I64(i64),
    /// Unsigned number.
    U64(u64),
    /// Floating point number.
    F64(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nanoseconds since 1970 UTC.
    Time(i64),
    /// JSON text.
    Json(String),
    /// Numbers of one type.
    Array(Array),
}

/// Numbers of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Booleans.
    Bool(Vec<bool>),
    /// Signed numbers.
    I64(Vec<i64>),
    /// Unsigned numbers.
    U64(Vec<u64>),
    /// Floating point numbers.
    F64(Vec<f64>),
    /// Nanoseconds since 1970 UTC.
    Time(Vec<i64>),
}

impl Array {
    fn elem(&self) -> u8 {
        match self {
            Self::Bool(_) => kind::BOOL,
            Self::I64(_) => kind::I64,
            Self::U64(_) => kind::U64,
            Self::F64(_) => kind::F64,
            Self::Time(_) => kind::TIME,
        }
    }

    fn bytes(&self) -> &[u8] {
        let (ptr, len) = match self {
            Self::Bool(v) => (v.as_ptr().cast::<u8>(), v.len()),
            Self::I64(v) | Self::Time(v) => (v.as_ptr().cast::<u8>(), size_of_val(v.as_slice())),
            Self::U64(v) => (v.as_ptr().cast::<u8>(), size_of_val(v.as_slice())),
            Self::F64(v) => (v.as_ptr().cast::<u8>(), size_of_val(v.as_slice())),
        };
        // SAFETY: `len` is the size in bytes of the vector's content, which has no padding, and `self` is borrowed.
        unsafe { std::slice::from_raw_parts(ptr, len) }
    }

    /// The elements of a [`ValueRef::Array`].
    pub fn from_bytes(elem: u8, bytes: &[u8]) -> Self {
        fn words<T>(bytes: &[u8], read: fn([u8; 8]) -> T) -> Vec<T> {
            bytes.as_chunks::<8>().0.iter().map(|word| read(*word)).collect()
        }
        match elem {
            kind::BOOL => Self::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
            kind::U64 => Self::U64(words(bytes, u64::from_ne_bytes)),
            kind::F64 => Self::F64(words(bytes, f64::from_ne_bytes)),
            kind::TIME => Self::Time(words(bytes, i64::from_ne_bytes)),
            _ => Self::I64(words(bytes, i64::from_ne_bytes)),
        }
    }
}

impl Value {
    pub(crate) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(v) => ValueRef::Bool(*v),
            Self::I64(v) => ValueRef::I64(*v),
            Self::U64(v) => ValueRef::U64(*v),
            Self::F64(v) => ValueRef::F64(*v),
            Self::Str(v) => ValueRef::Str(v),
            Self::Bytes(v) => ValueRef::Bytes(v),
            Self::Time(v) => ValueRef::Time(*v),
            Self::Json(v) => ValueRef::Json(v),
            Self::Array(v) => ValueRef::Array { elem: v.elem(), bytes: v.bytes() },
        }
    }

    #[inline]
    pub(crate) fn from_ref(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::I64(v) => Self::I64(v),
            ValueRef::U64(v) => Self::U64(v),
            ValueRef::F64(v) => Self::F64(v),
            ValueRef::Str(v) => Self::Str(v.to_owned()),
            ValueRef::Bytes(v) => Self::Bytes(v.to_vec()),
            ValueRef::Time(v) => Self::Time(v),
            ValueRef::Json(v) => Self::Json(v.to_owned()),
            ValueRef::Array { elem, bytes } => Self::Array(Array::from_bytes(elem, bytes)),
        }
    }

    /// The value as a floating point number, if it is a number or a boolean.
    #[expect(clippy::cast_precision_loss, reason = "devices that take a float lose the same digits")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(v) => Some(f64::from(u8::from(*v))),
            Self::I64(v) => Some(*v as f64),
            Self::U64(v) => Some(*v as f64),
            Self::F64(v) => Some(*v),
            Self::Null | Self::Str(_) | Self::Bytes(_) | Self::Time(_) | Self::Json(_) | Self::Array(_) => {
                None
            }
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident $via:expr;)*) => {
        $(impl From<$from> for Value {
            #[inline]
            fn from(value: $from) -> Self {
                #[allow(clippy::redundant_closure_call, reason = "the conversion is given per type")]
                Self::$variant(($via)(value))
            }
        })*
    };
}

value_from! {
    bool => Bool |v| v;
    i8 => I64 i64::from;
    i16 => I64 i64::from;
    i32 => I64 i64::from;
    i64 => I64 |v| v;
    u8 => U64 u64::from;
    u16 => U64 u64::from;
    u32 => U64 u64::from;
    u64 => U64 |v| v;
    f32 => F64 f64::from;
    f64 => F64 |v| v;
    String => Str |v| v;
    &str => Str str::to_owned;
    Vec<u8> => Bytes |v| v;
}

/// Bits of an update or a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Part of an initial picture, not a change.
    pub const SNAPSHOT: Self = Self(flag::SNAPSHOT);
    /// Delivered again after a takeover.
    pub const REPLAY: Self = Self(flag::REPLAY);
    /// A substitute, not measured.
    pub const SUBSTITUTE: Self = Self(flag::SUBSTITUTE);
    /// Forced by an operator.
    pub const FORCED: Self = Self(flag::FORCED);
    /// The source time was made from a local time without zone.
    pub const LOCAL_TIME: Self = Self(flag::LOCAL_TIME);
    /// Must not be replaced by a later value of the same item.
    pub const EVENT: Self = Self(flag::EVENT);
    /// Published while not active. Set by the SDK.
    pub const STANDBY: Self = Self(flag::STANDBY);
    /// What the sink shows of this interface's own outputs; never a new value of the item.
    pub const MIRROR: Self = Self(flag::MIRROR);
    /// Only the quality is new: the hub keeps the item's value.
    pub const QUALITY_ONLY: Self = Self(flag::QUALITY_ONLY);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One value of one item on its way to the hub.
///
/// ```
/// use twinhub_plugin::{Flags, Item, Quality, Update};
/// let update = Update::new(Item(3), 21.5).quality(Quality::UNCERTAIN).flags(Flags::EVENT);
/// assert_eq!(update.item, Item(3));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The item.
    pub item: Item,
    /// The value.
    pub value: Value,
    /// Its quality.
    pub quality: Quality,
    /// When it was measured: nanoseconds since 1970 UTC, or [`Update::NO_TIME`].
    pub source_ns: i64,
    /// Bits.
    pub flags: Flags,
}

impl Update {
    /// `source_ns` of a value whose source gave no time; the hub adds its receive time in any case.
    pub const NO_TIME: i64 = TIME_NONE;

    /// A good value without source time.
    #[inline]
    pub fn new(item: Item, value: impl Into<Value>) -> Self {
        Self {
            item,
            value: value.into(),
            quality: Quality::GOOD,
            source_ns: Self::NO_TIME,
            flags: Flags::NONE,
        }
    }

    /// No value, with a quality that says why.
    #[inline]
    pub fn bad(item: Item, quality: Quality) -> Self {
        Self { quality, ..Self::new(item, Value::Null) }
    }

    /// A new quality for the value that the hub has, for an interface that lost its connection or has it back. An
    /// item that never had a value stays as it is, and no link carries the update.
    ///
    /// ```
    /// use twinhub_plugin::{Flags, Item, Quality, Update};
    ///
    /// let lost = Update::requalify(Item(3), Quality::UNCERTAIN_LAST_USABLE);
    /// assert!(lost.flags.contains(Flags::QUALITY_ONLY));
    /// ```
    #[inline]
    pub fn requalify(item: Item, quality: Quality) -> Self {
        Self::bad(item, quality).flags(Flags::QUALITY_ONLY)
    }

    /// With a quality.
    #[must_use]
    #[inline]
    pub fn quality(mut self, quality: Quality) -> Self {
        self.quality = quality;
        self
    }

    /// With a source time, nanoseconds since 1970 UTC.
    #[must_use]
    #[inline]
    pub fn source_ns(mut self, source_ns: i64) -> Self {
        self.source_ns = source_ns;
        self
    }

    /// With more flags.
    #[must_use]
    #[inline]
    pub fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags | flags;
        self
    }
}

/// What the hub may do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub u32);

impl Access {
    /// Reading only.
    pub const READ: Self = Self(access::READ);
    /// Writing only.
    pub const WRITE: Self = Self(access::WRITE);
    /// Both.
    pub const READ_WRITE: Self = Self(access::READ | access::WRITE);

    /// Whether the hub reads the item.
    pub const fn is_readable(self) -> bool {
        self.0 & access::READ != 0
    }

    /// Whether the hub may write the item.
    pub const fn is_writable(self) -> bool {
        self.0 & access::WRITE != 0
    }
}

/// The type an item has on the device, where the configuration states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TypeHint {
    /// Not stated.
    #[default]
    None,
    /// One bit.
    Bool,
    /// Signed 8 bit.
    I8,
    /// Unsigned 8 bit.
    U8,
    /// Signed 16 bit.
    I16,
    /// Unsigned 16 bit.
    U16,
    /// Signed 32 bit.
    I32,
    /// Unsigned 32 bit.
    U32,
    /// Signed 64 bit.
    I64,
    /// Unsigned 64 bit.
    U64,
    /// IEEE 754 single.
    F32,
    /// IEEE 754 double.
    F64,
    /// Text.
    String,
    /// Opaque bytes.
    Bytes,
    /// Point in time.
    Time,
    /// JSON text.
    Json,
}

impl TypeHint {
    /// From the number of the contract; an unknown one means not stated.
    pub fn from_raw(raw: u32) -> Self {
        match u8::try_from(raw) {
            Ok(wire::BOOL) => Self::Bool,
            Ok(wire::I8) => Self::I8,
            Ok(wire::U8) => Self::U8,
            Ok(wire::I16) => Self::I16,
            Ok(wire::U16) => Self::U16,
            Ok(wire::I32) => Self::I32,
            Ok(wire::U32) => Self::U32,
            Ok(wire::I64) => Self::I64,
            Ok(wire::U64) => Self::U64,
            Ok(wire::F32) => Self::F32,
            Ok(wire::F64) => Self::F64,
            Ok(wire::STRING) => Self::String,
            Ok(wire::BYTES) => Self::Bytes,
            Ok(wire::TIME) => Self::Time,
            Ok(wire::JSON) => Self::Json,
            Ok(_) | Err(_) => Self::None,
        }
    }
}

/// One item given to the plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemDef {
    /// The handle.
    pub item: Item,
    /// What the hub may do with it.
    pub access: Access,
    /// The item's row: an object with `path`, `address`, `type`, `access`, `unit` and the plugin's own columns,
    /// all of them strings.
    pub address: serde_json::Value,
    /// The type on the device, where stated.
    pub type_hint: TypeHint,
    /// Group number.
    pub group: u32,
}

impl ItemDef {
    /// A column of the item's row, `None` if it is missing or empty.
    ///
    /// ```
    /// # use twinhub_plugin::{Access, Item, ItemDef, TypeHint};
    /// let item = ItemDef {
    ///     item: Item(0),
    ///     access: Access::READ,
    ///     address: serde_json::json!({"address": "40001", "scale": ""}),
    ///     type_hint: TypeHint::U16,
    ///     group: 0,
    /// };
    /// assert_eq!(item.column("address"), Some("40001"));
    /// assert_eq!(item.column("scale"), None);
    /// ```
    pub fn column(&self, name: &str) -> Option<&str> {
        self.address.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}
