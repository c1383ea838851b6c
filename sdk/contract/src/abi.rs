//! `#[repr(C)]` mirror of `twinhub_plugin.h`. Function pointers are options, because the other side may hand
//! over NULL. The contract text of each member stands in the header.

use std::ffi::{c_char, c_void};

/// `twinhub_str`: borrowed UTF-8 without a terminating NUL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Str {
    /// First byte; may be NULL if `len` is 0.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

impl Str {
    /// The empty string.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Borrows `text`; the caller keeps it alive for the call.
    pub const fn new(text: &str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// The text behind the pointer, `None` if it is longer than `len_max`, NULL with a length, or not UTF-8.
    ///
    /// # Safety
    /// If `ptr` is not NULL and `len <= len_max`, `len` bytes at `ptr` must be readable for `'a`.
    pub unsafe fn read<'a>(self, len_max: usize) -> Option<&'a str> {
        if self.len == 0 {
            return Some("");
        }
        if self.ptr.is_null() || self.len > len_max {
            return None;
        }
        // SAFETY: not NULL, length bounded, readable by the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr, self.len) };
        std::str::from_utf8(bytes).ok()
    }
}

/// `twinhub_payload`: eight bytes, read according to the kind.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Payload {
    /// Boolean.
    pub b: u8,
    /// Signed number or time.
    pub i: i64,
    /// Unsigned number.
    pub u: u64,
    /// Floating point number.
    pub f: f64,
    /// Bytes, length in the value.
    pub ptr: *const c_void,
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: all eight bytes are initialized by every constructor, and any bit pattern is a u64.
        write!(f, "{:#018x}", unsafe { self.u })
    }
}

/// `twinhub_value`: 16 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Value {
    /// One of [`crate::kind`].
    pub kind: u8,
    /// One of [`crate::wire`].
    pub wire: u8,
    /// Kind of the elements of an array.
    pub elem: u16,
    /// Length in bytes of what `p.ptr` points to.
    pub len: u32,
    /// The payload.
    pub p: Payload,
}

/// `twinhub_update`: one value of one item, 40 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Update {
    /// Handle.
    pub item: u32,
    /// OPC UA status code.
    pub status: u32,
    /// Nanoseconds since 1970 UTC, or `TIME_NONE`.
    pub source_ns: i64,
    /// The value.
    pub value: Value,
    /// Bits of [`crate::flag`].
    pub flags: u32,
    /// Counts up per instance, wraps; for gap detection.
    pub seq: u32,
}

/// `twinhub_batch`: updates.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Batch {
    /// Size of this struct as the sender knows it.
    pub size: u32,
    /// Distance between elements in bytes.
    pub stride: u32,
    /// Number of elements.
    pub count: u32,
    /// Reserved, 0.
    pub flags: u32,
    /// Epoch of the role the values were published in.
    pub epoch: u64,
    /// First element.
    pub items: *const Update,
}

/// `twinhub_write`: one write, 40 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Write {
    /// Answered in `write_done`.
    pub write_id: u64,
    /// Handle.
    pub item: u32,
    /// Bits of [`crate::flag`].
    pub flags: u32,
    /// `CLOCK_BOOTTIME` nanoseconds, or `TIME_NONE`.
    pub deadline_ns: i64,
    /// The value.
    pub value: Value,
}

/// `twinhub_write_batch`: writes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WriteBatch {
    /// Size of this struct as the sender knows it.
    pub size: u32,
    /// Distance between elements in bytes.
    pub stride: u32,
    /// Number of elements.
    pub count: u32,
    /// Reserved, 0.
    pub flags: u32,
    /// Epoch the writes were permitted in.
    pub epoch: u64,
    /// First element.
    pub items: *const Write,
}

/// `twinhub_write_result`: answer to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct WriteResult {
    /// The write.
    pub write_id: u64,
    /// One of [`crate::code`].
    pub code: i32,
    /// OPC UA status code of the item after the write.
    pub status: u32,
}

/// `twinhub_item`: one item given to a plugin.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Item {
    /// Handle, unique during the life of the instance.
    pub handle: u32,
    /// Bits of [`crate::access`].
    pub access: u32,
    /// JSON object made of the item's row.
    pub address_json: Str,
    /// One of [`crate::wire`].
    pub type_hint: u32,
    /// Group number, for the plugin's own use.
    pub group: u32,
}

/// `twinhub_writer`: where a callee writes a large result.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Writer {
    /// Of the caller.
    pub ctx: *mut c_void,
    /// Appends bytes; a code other than OK means stop.
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, ptr: *const u8, len: usize) -> i32>,
}

/// `twinhub_host`: what the host gives to one instance.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Host {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// Contract version of the host.
    pub abi: u32,
    /// Of the host.
    pub ctx: *mut c_void,
    /// Looks up an extension.
    pub get_extension: Option<unsafe extern "C" fn(host: *const Host, id: *const c_char) -> *const c_void>,
    /// Publishes values.
    pub publish: Option<unsafe extern "C" fn(host: *const Host, batch: *const Batch) -> i32>,
    /// Answers writes.
    pub write_done:
        Option<unsafe extern "C" fn(host: *const Host, results: *const WriteResult, n: u32) -> i32>,
    /// Completes a control call.
    pub op_done: Option<unsafe extern "C" fn(host: *const Host, op: u64, code: i32, detail: Str)>,
    /// Declares the instance unusable.
    pub fault: Option<unsafe extern "C" fn(host: *const Host, code: i32, detail: Str)>,
    /// Writes to the log.
    pub log:
        Option<unsafe extern "C" fn(host: *const Host, level: u32, target: Str, msg: Str, fields_json: Str)>,
}

/// `twinhub_plugin`: one instance.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Plugin {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// Contract version of the plugin.
    pub abi: u32,
    /// Of the plugin.
    pub ctx: *mut c_void,
    /// Looks up an extension.
    pub get_extension:
        Option<unsafe extern "C" fn(plugin: *const Plugin, id: *const c_char) -> *const c_void>,
    /// Starts.
    pub start: Option<unsafe extern "C" fn(plugin: *const Plugin, op: u64) -> i32>,
    /// Changes the role.
    pub set_role: Option<
        unsafe extern "C" fn(plugin: *const Plugin, op: u64, role: u32, epoch: u64, deadline_ns: i64) -> i32,
    >,
    /// Adds or removes items.
    pub items: Option<
        unsafe extern "C" fn(
            plugin: *const Plugin,
            op: u64,
            add_or_remove: u32,
            items: *const Item,
            n: u32,
            stride: u32,
        ) -> i32,
    >,
    /// Hands over writes.
    pub write: Option<unsafe extern "C" fn(plugin: *const Plugin, batch: *const WriteBatch) -> i32>,
    /// Stops.
    pub stop: Option<unsafe extern "C" fn(plugin: *const Plugin, op: u64) -> i32>,
    /// Destroys; blocks until the plugin's threads are gone.
    pub destroy: Option<unsafe extern "C" fn(plugin: *const Plugin)>,
}

/// `create` of an entry.
pub type CreateFn = unsafe extern "C" fn(
    host: *const Host,
    instance_id: Str,
    config_json: Str,
    out: *mut *const Plugin,
) -> i32;

/// `twinhub_entry`: the only exported symbol.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// [`crate::MAGIC`].
    pub magic: u64,
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// Contract version of the plugin.
    pub abi: u32,
    /// Bits of [`crate::build`].
    pub build_flags: u32,
    /// 0.
    pub reserved: u32,
    /// The same text as in the manifest section.
    pub manifest: Str,
    /// Makes an instance.
    pub create: Option<CreateFn>,
}

// SAFETY: an entry is constant data; its pointers lead to constant data and code of the same library.
unsafe impl Sync for Entry {}
