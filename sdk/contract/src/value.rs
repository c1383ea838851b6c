//! Values that came through a raw pointer, read without trusting them.

use std::ffi::c_void;

use crate::abi::{Payload, Value};
use crate::constants::{VALUE_BYTES_MAX, kind};

/// A checked, borrowed value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
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
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Nanoseconds since 1970 UTC.
    Time(i64),
    /// Packed elements in the byte order of the machine.
    Array {
        /// Kind of the elements: `BOOL` (1 byte), `I64`, `U64`, `F64` or `TIME` (8 bytes).
        elem: u8,
        /// The elements.
        bytes: &'a [u8],
    },
    /// JSON text; it is UTF-8, its grammar is not checked.
    Json(&'a str),
}

/// Why a value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The kind is not one of the contract.
    #[error("value kind {kind} is unknown")]
    Kind {
        /// As received.
        kind: u8,
    },
    /// A boolean is neither 0 nor 1.
    #[error("boolean has the value {got}, expected 0 or 1")]
    Bool {
        /// As received.
        got: u8,
    },
    /// NULL with a length.
    #[error("value of {len} bytes has a null pointer")]
    Null {
        /// As received.
        len: u32,
    },
    /// Longer than [`VALUE_BYTES_MAX`].
    #[error("value of {len} bytes is longer than {VALUE_BYTES_MAX}")]
    TooLong {
        /// As received.
        len: u32,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// The elements of an array have no fixed size, or the length is not a multiple of it.
    #[error("array of {len} bytes does not hold elements of kind {elem}")]
    Array {
        /// As received.
        elem: u16,
        /// As received.
        len: u32,
    },
}

impl Value {
    /// The null value.
    pub const NULL: Self = Self { kind: kind::NULL, wire: 0, elem: 0, len: 0, p: Payload { u: 0 } };

    /// Describes `value` without copying; strings and bytes stay borrowed although the type does not say so.
    /// Longer values than [`VALUE_BYTES_MAX`] are cut to `None`.
    #[inline]
    pub fn describe(value: ValueRef<'_>, wire: u8) -> Option<Self> {
        let (kind, elem, len, p) = match value {
            ValueRef::Null => (kind::NULL, 0, 0, Payload { u: 0 }),
            ValueRef::Bool(b) => (kind::BOOL, 0, 0, Payload { u: u64::from(u8::from(b)).to_le() }),
            ValueRef::I64(i) => (kind::I64, 0, 0, Payload { i }),
            ValueRef::U64(u) => (kind::U64, 0, 0, Payload { u }),
            ValueRef::F64(f) => (kind::F64, 0, 0, Payload { f }),
            ValueRef::Time(i) => (kind::TIME, 0, 0, Payload { i }),
            ValueRef::Str(s) => (kind::STR, 0, s.len(), Payload { ptr: s.as_ptr().cast::<c_void>() }),
            ValueRef::Bytes(b) => (kind::BYTES, 0, b.len(), Payload { ptr: b.as_ptr().cast::<c_void>() }),
            ValueRef::Json(s) => (kind::JSON, 0, s.len(), Payload { ptr: s.as_ptr().cast::<c_void>() }),
            ValueRef::Array { elem, bytes } => {
                (kind::ARRAY, u16::from(elem), bytes.len(), Payload { ptr: bytes.as_ptr().cast::<c_void>() })
            }
        };
        if len > VALUE_BYTES_MAX {
            return None;
        }
        let len = u32::try_from(len).ok()?;
        Some(Self { kind, wire, elem, len, p })
    }

    /// Checks kind, pointer, length and encoding, and borrows the content.
    ///
    /// # Errors
    /// A [`ValueError`] naming what breaks the contract.
    ///
    /// # Safety
    /// The payload is initialized, and for `STR`, `BYTES`, `ARRAY` and `JSON` with a pointer that is not NULL and
    /// a length up to [`VALUE_BYTES_MAX`], `len` bytes behind it are readable and unchanged for `'a`.
    #[expect(
        clippy::inline_always,
        reason = "what it gives is large: built in memory and copied from there it costs a fifth more"
    )]
    #[inline(always)]
    pub unsafe fn read<'a>(&self) -> Result<ValueRef<'a>, ValueError> {
        // SAFETY: the union is initialized by the caller's promise, and each field accepts any bit pattern.
        unsafe {
            Ok(match self.kind {
                kind::NULL => ValueRef::Null,
                kind::BOOL => match self.p.b {
                    0 => ValueRef::Bool(false),
                    1 => ValueRef::Bool(true),
                    got => return Err(ValueError::Bool { got }),
                },
                kind::I64 => ValueRef::I64(self.p.i),
                kind::U64 => ValueRef::U64(self.p.u),
                kind::F64 => ValueRef::F64(self.p.f),
                kind::TIME => ValueRef::Time(self.p.i),
                kind::STR => ValueRef::Str(self.text()?),
                kind::JSON => ValueRef::Json(self.text()?),
                kind::BYTES => ValueRef::Bytes(self.bytes()?),
                kind::ARRAY => {
                    let refused = ValueError::Array { elem: self.elem, len: self.len };
                    let elem = u8::try_from(self.elem).map_err(|_| refused)?;
                    let size = match elem {
                        kind::BOOL => 1,
                        kind::I64 | kind::U64 | kind::F64 | kind::TIME => 8,
                        _ => return Err(refused),
                    };
                    let bytes = self.bytes()?;
                    if bytes.len() % size != 0 {
                        return Err(refused);
                    }
                    ValueRef::Array { elem, bytes }
                }
                kind => return Err(ValueError::Kind { kind }),
            })
        }
    }

    /// # Safety
    /// As [`Value::read`].
    #[inline]
    unsafe fn text<'a>(&self) -> Result<&'a str, ValueError> {
        // SAFETY: passed on to the caller.
        let bytes = unsafe { self.bytes()? };
        std::str::from_utf8(bytes).map_err(|_| ValueError::Utf8)
    }

    /// # Safety
    /// As [`Value::read`].
    #[inline]
    unsafe fn bytes<'a>(&self) -> Result<&'a [u8], ValueError> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.len as usize > VALUE_BYTES_MAX {
            return Err(ValueError::TooLong { len: self.len });
        }
        // SAFETY: the union is initialized, and a pointer may have any bit pattern.
        let ptr = unsafe { self.p.ptr };
        if ptr.is_null() {
            return Err(ValueError::Null { len: self.len });
        }
        // SAFETY: not NULL, length bounded, readable by the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts(ptr.cast::<u8>(), self.len as usize) })
    }
}
