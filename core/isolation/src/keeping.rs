//! `twinhub.state-store/1` between the two processes.
//!
//! The child reads from a copy, since a plugin may read from anywhere, also from inside a call that holds up the lane. The
//! hub sends all of it when the instance is made and before each other role; in between nobody but this instance changes
//! it. What the instance changes goes down the lane of values, so it keeps its place among them.

use std::ffi::c_void;
use std::sync::OnceLock;

use twinhub_contract::constants::STORE_VALUE_BYTES_MAX;
use twinhub_contract::extension::{self, StateStore as Table};
use twinhub_contract::{Host, Str, Writer, code};
use twinhub_loader::StateStore;

use crate::lane::{Lane, Sent};
use crate::message::{Entry, Put, kind, pack};
use crate::proxy::HostTable;

/// The child's copy.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Once the hub said that there is one.
    copy: OnceLock<StateStore>,
}

impl Kept {
    /// What the hub has at first, if it keeps anything.
    pub(crate) fn begin(&self, entries: Option<Vec<Entry>>) {
        if let Some(entries) = entries {
            self.copy.get_or_init(StateStore::default);
            self.fill(entries);
        }
    }

    /// All that the hub has.
    pub(crate) fn fill(&self, entries: Vec<Entry>) {
        if let Some(copy) = self.copy.get() {
            copy.fill(entries.into_iter().map(|entry| (entry.key, entry.value.into())));
        }
    }

    pub(crate) fn store(&self) -> Option<&StateStore> {
        self.copy.get()
    }

    /// A change, on its way to the hub.
    pub(crate) fn put(&self, values: &Lane, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        let Some(copy) = self.copy.get() else { return code::UNSUPPORTED };
        let mut ticket = None;
        let answer = copy.change(key, value, |change| {
            let put = Put {
                epoch,
                key: change.key,
                is_forgotten: value.is_none(),
                value: value.unwrap_or_default().to_vec(),
            };
            let mut words = Vec::new();
            pack(&put, &mut words);
            ticket = Some(change.ticket);
            match values.try_send(kind::PUT, &[&words]) {
                Sent::Taken => code::OK,
                Sent::Full => code::AGAIN,
                Sent::Lost => code::STOPPED,
            }
        });
        if let Some(ticket) = ticket.filter(|_| answer == code::OK) {
            copy.settle(&ticket);
        }
        answer
    }
}

/// The hub's store, as its own table gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubStore {
    host: HostTable,
    table: Table,
}

impl HubStore {
    pub(crate) fn of(host: HostTable) -> Option<Self> {
        host.extension::<Table>(extension::STATE_STORE).map(|table| Self { host, table: *table })
    }

    /// All that is kept there.
    pub(crate) fn all(&self) -> Vec<Entry> {
        let (Some(get), Some(next)) = (self.table.get, self.table.next) else { return Vec::new() };
        let (mut entries, mut after) = (Vec::new(), String::new());
        loop {
            // SAFETY: a host's table lives for ever; the text and the writer live for the call.
            let key = read(|out| unsafe { next(self.host.0, Str::new(&after), out) });
            let Some(key) = key.and_then(|key| String::from_utf8(key).ok()) else { return entries };
            // SAFETY: as above.
            let value = read(|out| unsafe { get(self.host.0, Str::new(&key), out) });
            entries.extend(value.map(|value| Entry { key: key.clone(), value }));
            after = key;
        }
    }

    /// Hands a change over; gives the hub's answer.
    pub(crate) fn put(&self, put: &Put) -> i32 {
        let Put { epoch, key, is_forgotten, value } = put;
        let host: *const Host = self.host.0;
        // SAFETY: a host's table lives for ever; key and value live for the calls.
        unsafe {
            match (is_forgotten, self.table.put, self.table.remove) {
                (false, Some(put), _) => put(host, *epoch, Str::new(key), value.as_ptr(), value.len()),
                (true, _, Some(remove)) => remove(host, *epoch, Str::new(key)),
                (false, None, _) | (true, _, None) => code::UNSUPPORTED,
            }
        }
    }
}

fn read(call: impl FnOnce(*const Writer) -> i32) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    let out = Writer { ctx: (&raw mut bytes).cast(), write: Some(append) };
    (call(&raw const out) == code::OK).then_some(bytes)
}

/// Collects what the hub writes.
unsafe extern "C" fn append(ctx: *mut c_void, ptr: *const u8, len: usize) -> i32 {
    // SAFETY: `ctx` is the vector of `read`, which waits for the call.
    let Some(bytes) = (unsafe { ctx.cast::<Vec<u8>>().as_mut() }) else { return code::INVALID };
    if len > STORE_VALUE_BYTES_MAX - bytes.len() {
        return code::INVALID;
    }
    if len > 0 {
        // SAFETY: the hub writes bytes that are readable for the call.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(ptr, len) });
    }
    code::OK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::unpack;

    proptest! {
        #[test]
        fn a_change_comes_back_from_its_words(epoch: u64, key in ".{0,40}", value: Option<Vec<u8>>) {
            let is_forgotten = value.is_none();
            let put = Put { epoch, key, is_forgotten, value: value.unwrap_or_default() };
            let mut words = Vec::new();
            pack(&put, &mut words);
            prop_assert_eq!(unpack::<Put>(&words), Some(put));
        }

        #[test]
        fn words_of_a_hostile_child_are_refused_or_read(words: Vec<u64>) {
            _ = unpack::<Put>(&words);
        }
    }
}
