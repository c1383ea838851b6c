//! What an instance keeps by key, and its successor has.

use std::ffi::c_void;
use std::sync::Arc;

use twinhub_contract::constants::STORE_VALUE_BYTES_MAX;
use twinhub_contract::{Str, Writer, code, extension};

use crate::error::{Code, Error, Result};
use crate::shared::Shared;

/// Small values by key that the other nodes get, too: tokens, marks, the last number of a sender. From
/// [`crate::Ctx::store`]. It belongs to the interface and outlives its instances.
///
/// What is put goes into the journal in the order in which the instance puts and publishes: wherever a value is that was
/// pushed after a [`Store::put`], what was put is there, too. Nothing is waited for, so what was put right before the role
/// was lost may be gone. A key has 1 to 128 bytes, a value up to 64 KiB, an interface up to 1,000 keys and 1 MiB.
///
/// ```no_run
/// # fn example(cx: &twinhub_plugin::Ctx) -> twinhub_plugin::Result<()> {
/// let Some(store) = cx.store() else { return Ok(()) };
/// let seen = store.get("last telegram")?;
/// store.put("last telegram", b"4711")?;
/// # drop(seen);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    table: extension::StateStore,
}

impl Store {
    pub(crate) fn new(shared: &Arc<Shared>) -> Option<Self> {
        shared.host.store.map(|table| Self { shared: Arc::clone(shared), table })
    }

    /// The value of a key. From the call of [`crate::Plugin::role`] with [`crate::Role::Active`] on it is what the node
    /// that acted before left; on a standby it is what this node knew at some moment before.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the key is empty or too long.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let get = self.table.get.ok_or_else(missing)?;
        // SAFETY: the function belongs to this host; the text and the writer live for the call.
        read(|out| unsafe { get(self.shared.host.table(), Str::new(key), out) })
    }

    /// All keys, in the order of their bytes.
    ///
    /// # Errors
    /// None that a hub of this contract gives.
    pub fn keys(&self) -> Result<Vec<String>> {
        let next = self.table.next.ok_or_else(missing)?;
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or("", String::as_str);
            // SAFETY: as in `get`.
            let found = read(|out| unsafe { next(self.shared.host.table(), Str::new(after), out) })?;
            let Some(key) = found else { return Ok(keys) };
            let key = String::from_utf8(key).map_err(|error| Error::invalid(error.to_string()))?;
            if key.as_str() <= after {
                return Err(Error::invalid("the hub gives keys out of order"));
            }
            keys.push(key);
        }
    }

    /// Keeps a value under a key.
    ///
    /// # Errors
    /// [`Code::StaleEpoch`] while the instance is not active, [`Code::Again`] if the hub has no room for more changes at
    /// present, [`Code::Full`] beyond the limits of an interface, [`Code::Invalid`] if the key or the value is too long,
    /// [`Code::Stopped`] after the end.
    pub fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        let put = self.table.put.ok_or_else(missing)?;
        let epoch = self.shared.epoch().0;
        // SAFETY: as in `get`; the bytes live for the call.
        let code =
            unsafe { put(self.shared.host.table(), epoch, Str::new(key), value.as_ptr(), value.len()) };
        said(code, key)
    }

    /// Forgets a key, also one that is not there.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn remove(&self, key: &str) -> Result<()> {
        let remove = self.table.remove.ok_or_else(missing)?;
        // SAFETY: as in `get`.
        said(unsafe { remove(self.shared.host.table(), self.shared.epoch().0, Str::new(key)) }, key)
    }
}

fn missing() -> Error {
    Error::unsupported("the hub lacks a function of its store")
}

fn said(code: i32, key: &str) -> Result<()> {
    let code = match code {
        code::OK => return Ok(()),
        code::AGAIN => Code::Again,
        code::STALE_EPOCH => Code::StaleEpoch,
        code::FULL => Code::Full,
        code::STOPPED => Code::Stopped,
        code::UNSUPPORTED => Code::Unsupported,
        _ => Code::Invalid,
    };
    Err(Error::new(code, format!("the hub does not keep `{key}`: {}", code::name(code.raw()))))
}

/// What the hub writes; `None` if it has nothing of that name.
fn read(call: impl FnOnce(*const Writer) -> i32) -> Result<Option<Vec<u8>>> {
    let mut bytes: Vec<u8> = Vec::new();
    let out = Writer { ctx: (&raw mut bytes).cast(), write: Some(append) };
    match call(&raw const out) {
        code::OK => Ok(Some(bytes)),
        code::NOT_FOUND => Ok(None),
        code => Err(Error::invalid(format!("the hub gives no value: {}", code::name(code)))),
    }
}

/// Collects what the hub writes.
unsafe extern "C" fn append(ctx: *mut c_void, ptr: *const u8, len: usize) -> i32 {
    // SAFETY: `ctx` is the vector of `read`, which waits for the call.
    let Some(bytes) = (unsafe { ctx.cast::<Vec<u8>>().as_mut() }) else { return code::INVALID };
    if len > STORE_VALUE_BYTES_MAX - bytes.len() || (len > 0 && ptr.is_null()) {
        return code::INVALID;
    }
    if len > 0 {
        // SAFETY: not NULL, bounded, readable for the call by the contract.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(ptr, len) });
    }
    code::OK
}
