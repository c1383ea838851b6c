//! What an item holds.

use std::fmt;
use std::sync::Arc;

/// The value of an item. Text and bytes are shared, so a copy is cheap.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value yet, or none any more.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A floating point number.
    F64(f64),
    /// Text.
    Str(Arc<str>),
    /// Bytes without a meaning to the hub.
    Bytes(Arc<[u8]>),
    /// A time in nanoseconds since 1970 UTC.
    Time(i64),
    /// A structure as JSON text.
    Json(Arc<str>),
}

impl Value {
    /// The value as a number, if it is one (`true` is 1).
    #[expect(
        clippy::cast_precision_loss,
        reason = "integers above 2^53 lose digits, as documented for links"
    )]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::I64(value) | Value::Time(value) => Some(*value as f64),
            Value::U64(value) => Some(*value as f64),
            Value::F64(value) => Some(*value),
            Value::Null | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => None,
        }
    }

    /// Whether the two are the same value, comparing floating point numbers by their bits, so that
    /// not-a-number equals itself and is no change.
    pub fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }

    /// Whether the two are equal for a device: numbers compare by value whatever their type.
    pub fn is_equivalent(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::I64(a), Value::I64(b)) | (Value::Time(a), Value::Time(b)) => a == b,
            (Value::U64(a), Value::U64(b)) => a == b,
            (a, b) => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => {
                    a.to_bits() == b.to_bits() || (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs())
                }
                _ => a.is_same(b),
            },
        }
    }

    /// Bytes of text or bytes in the value; 0 for everything that has a fixed size.
    pub fn text_bytes(&self) -> usize {
        match self {
            Value::Str(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Time(_) => {
                0
            }
        }
    }

    /// The name of the value's kind, as messages and the API use it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::I64(_) => "i64",
            Value::U64(_) => "u64",
            Value::F64(_) => "f64",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Time(_) => "time",
            Value::Json(_) => "json",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::U64(value) => write!(f, "{value}"),
            Value::F64(value) => write!(f, "{value}"),
            Value::Str(value) | Value::Json(value) => f.write_str(value),
            Value::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Time(value) => write!(f, "{}", crate::Timestamp(*value)),
        }
    }
}

/// How far a value can be trusted: the bits of an OPC UA `StatusCode` (OPC 10000-4, 7.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Quality(pub u32);

impl Quality {
    /// The value is as the device says.
    pub const GOOD: Quality = Quality(0);
    /// `UncertainLastUsableValue`: it was right once.
    pub const UNCERTAIN_LAST_USABLE: Quality = Quality(0x4090_0000);
    /// `UncertainInitialValue`: not read yet.
    pub const UNCERTAIN_INITIAL: Quality = Quality(0x4092_0000);
    /// `BadWaitingForInitialData`: nothing was ever received.
    pub const BAD_WAITING: Quality = Quality(0x8032_0000);
    /// `BadNotConnected`: the interface has no connection.
    pub const BAD_NOT_CONNECTED: Quality = Quality(0x808A_0000);
    /// `BadOutOfService`: the interface was taken out of service.
    pub const BAD_OUT_OF_SERVICE: Quality = Quality(0x808D_0000);

    /// Severity bits say good.
    pub const fn is_good(self) -> bool {
        self.0 >> 30 == 0
    }

    /// Severity bits say bad.
    pub const fn is_bad(self) -> bool {
        self.0 >> 30 >= 2
    }

    /// `good`, `uncertain` or `bad`.
    pub const fn word(self) -> &'static str {
        match self.0 >> 30 {
            0 => "good",
            1 => "uncertain",
            _ => "bad",
        }
    }

    /// The standard's name of the cause, without its severity, or its number.
    pub fn cause(self) -> String {
        let known = match self.0 & 0xFFFF_0000 {
            0x0000_0000 => "",
            0x0096_0000 => "local override",
            0x408F_0000 => "no communication, last usable value",
            0x4090_0000 => "last usable value",
            0x4091_0000 => "substitute value",
            0x4092_0000 => "initial value",
            0x8005_0000 => "communication error",
            0x8007_0000 => "decoding error",
            0x800A_0000 => "timeout",
            0x8031_0000 => "no communication",
            0x8032_0000 => "waiting for initial data",
            0x8034_0000 => "address unknown",
            0x803C_0000 => "out of range",
            0x8074_0000 => "type mismatch",
            0x8089_0000 => "configuration error",
            0x808A_0000 => "not connected",
            0x808B_0000 => "device failure",
            0x808C_0000 => "sensor failure",
            0x808D_0000 => "out of service",
            other => return format!("0x{other:08x}"),
        };
        known.to_owned()
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause();
        if cause.is_empty() { f.write_str(self.word()) } else { write!(f, "{} ({cause})", self.word()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_is_no_change() {
        assert!(Value::F64(f64::NAN).is_same(&Value::F64(f64::NAN)));
        assert!(!Value::F64(0.0).is_same(&Value::F64(-0.0)));
    }

    #[test]
    fn a_register_read_back_equals_the_number_written() {
        assert!(Value::U64(7).is_equivalent(&Value::F64(7.0)));
        assert!(Value::Bool(true).is_equivalent(&Value::I64(1)));
        assert!(!Value::U64(7).is_equivalent(&Value::F64(7.5)));
        assert!(!Value::Str("7".into()).is_equivalent(&Value::U64(7)));
    }

    #[test]
    fn quality_names_severity_and_cause() {
        assert_eq!(Quality::GOOD.to_string(), "good");
        assert_eq!(Quality::BAD_NOT_CONNECTED.to_string(), "bad (not connected)");
        assert_eq!(Quality(0x8099_0000).to_string(), "bad (0x80990000)");
    }
}
