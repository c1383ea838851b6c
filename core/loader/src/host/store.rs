//! `twinhub.state-store/1`.

use twinhub_contract::constants::{STORE_KEY_BYTES_MAX, STORE_VALUE_BYTES_MAX};
use twinhub_contract::extension::StateStore;
use twinhub_contract::{Host, Str, Writer, code};

use super::{HostCell, cell, size};

/// The table.
pub(super) static STATE_STORE: StateStore = StateStore {
    size: size(size_of::<StateStore>()),
    reserved: 0,
    get: Some(get),
    next: Some(next),
    put: Some(put),
    remove: Some(remove),
};

/// Whether the instance has a store.
pub(super) fn is_offered(cell: &HostCell) -> bool {
    cell.with_sink("store", false, |sink| sink.store().is_some())
}

unsafe extern "C" fn get(host: *const Host, key: Str, out: *const Writer) -> i32 {
    // SAFETY: the plugin passes its table, and a text that is readable for the call.
    let (cell, key) = unsafe { (cell(host), key.read(STORE_KEY_BYTES_MAX)) };
    let (Some(cell), Some(key)) = (cell, key) else { return code::INVALID };
    if key.is_empty() {
        return code::INVALID;
    }
    let found = cell.with_sink("store", None, |sink| sink.store()?.get(key));
    // SAFETY: the plugin passes a writer that is valid for the call.
    found.map_or(code::NOT_FOUND, |value| unsafe { give(out, &value) })
}

unsafe extern "C" fn next(host: *const Host, after: Str, out: *const Writer) -> i32 {
    // SAFETY: as in `get`.
    let (cell, after) = unsafe { (cell(host), after.read(STORE_KEY_BYTES_MAX)) };
    let (Some(cell), Some(after)) = (cell, after) else { return code::INVALID };
    let found = cell.with_sink("store", None, |sink| sink.store()?.next(after));
    // SAFETY: as in `get`.
    found.map_or(code::NOT_FOUND, |key| unsafe { give(out, key.as_bytes()) })
}

/// Not while the hub holds a lock: the writer is the plugin's.
///
/// # Safety
/// `out` is NULL or a writer that is valid for the call.
unsafe fn give(out: *const Writer, bytes: &[u8]) -> i32 {
    // SAFETY: passed on from the caller.
    let Some(out) = (unsafe { out.as_ref() }) else { return code::INVALID };
    let Some(write) = out.write else { return code::INVALID };
    // SAFETY: the writer's own context, and bytes that live for the call.
    unsafe { write(out.ctx, bytes.as_ptr(), bytes.len()) }
}

unsafe extern "C" fn put(host: *const Host, epoch: u64, key: Str, ptr: *const u8, len: usize) -> i32 {
    if len > STORE_VALUE_BYTES_MAX || (len > 0 && ptr.is_null()) {
        return code::INVALID;
    }
    // SAFETY: bounded, not NULL, and readable for the call by the contract.
    let value = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(ptr, len) } };
    // SAFETY: passed on.
    unsafe { change(host, epoch, key, Some(value)) }
}

unsafe extern "C" fn remove(host: *const Host, epoch: u64, key: Str) -> i32 {
    // SAFETY: passed on.
    unsafe { change(host, epoch, key, None) }
}

/// # Safety
/// As [`get`].
unsafe fn change(host: *const Host, epoch: u64, key: Str, value: Option<&[u8]>) -> i32 {
    // SAFETY: passed on from the caller.
    let (cell, key) = unsafe { (cell(host), key.read(STORE_KEY_BYTES_MAX)) };
    let (Some(cell), Some(key)) = (cell, key) else { return code::INVALID };
    if cell.is_stopped.load(std::sync::atomic::Ordering::SeqCst) {
        return code::STOPPED;
    }
    let code = cell.with_sink("put", code::STOPPED, |sink| sink.put(epoch, key, value));
    if matches!(code, code::FULL | code::INVALID) {
        cell.count("store.refused", 1);
    }
    code
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::sync::Arc;

    use twinhub_contract::WriteResult;

    use super::*;
    use crate::{HostSink, PublishOutcome, RawBatch};

    /// Keeps nothing; panics where it is asked for what it keeps.
    struct Careless;

    impl HostSink for Careless {
        fn publish(&self, _: u64, _: RawBatch<'_>) -> PublishOutcome {
            PublishOutcome::Stopped
        }
        fn write_done(&self, _: &[WriteResult]) {}
        fn op_done(&self, _: u64, _: i32, _: &str) {}
        fn fault(&self, _: i32, _: &str) {}
        fn log(&self, _: u32, _: &str, _: &str, _: &str) {}
        fn state(&self, _: u32, _: &str) {}
        fn lease_end(&self, _: u64) -> i64 {
            0
        }
        fn count(&self, _: &str, _: u64) {}
        fn store(&self) -> Option<&crate::StateStore> {
            panic!("it has none")
        }
    }

    #[test]
    fn arguments_that_break_the_contract_are_refused() {
        let host = HostCell::leak(Arc::new(Careless)).table();
        let out = Writer { ctx: std::ptr::null_mut::<c_void>(), write: None };
        let broken = Str { ptr: std::ptr::null(), len: 5 };
        let no_text = Str { ptr: [0xff_u8].as_ptr(), len: 1 };
        let (long, key) = ("k".repeat(200), Str::new("k"));
        // SAFETY: the table is leaked, the texts live for the calls, and what cannot be read is not.
        unsafe {
            for bad in [broken, no_text, Str::new(&long), Str::EMPTY] {
                assert_eq!(get(host, bad, &raw const out), code::INVALID);
            }
            for bad in [broken, no_text, Str::new(&long)] {
                assert_eq!(next(host, bad, &raw const out), code::INVALID);
                assert_eq!(put(host, 1, bad, std::ptr::null(), 0), code::INVALID);
                assert_eq!(remove(host, 1, bad), code::INVALID);
            }
            assert_eq!(put(host, 1, key, std::ptr::null(), 7), code::INVALID);
            assert_eq!(put(host, 1, key, b"1".as_ptr(), usize::MAX), code::INVALID);
            assert_eq!(put(std::ptr::null(), 1, key, std::ptr::null(), 0), code::INVALID);
            assert_eq!(put(host, 1, key, std::ptr::null(), 0), code::UNSUPPORTED);
            assert_eq!(get(host, key, &raw const out), code::NOT_FOUND, "its panic stays in the hub");
            assert_eq!(give(&raw const out, b"1"), code::INVALID);
            assert_eq!(give(std::ptr::null(), b"1"), code::INVALID);
        }
    }
}
