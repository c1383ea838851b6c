//! Events: messages that interfaces give each other. Mirror of `twinhub.events/1` in the header.

use std::ffi::CStr;

use crate::abi::{Host, Plugin, Str};
use crate::constants::{
    EVENT_ID_BYTES_MAX, EVENT_KEY_BYTES_MAX, EVENT_PAYLOAD_BYTES_MAX, EVENT_STREAM_BYTES_MAX, TEXT_BYTES_MAX,
};

/// Id of [`HostEvents`] and of [`PluginEvents`].
pub const EVENTS: &CStr = c"twinhub.events/1";

/// Bits of [`Event::flags`].
pub mod event_flag {
    /// Whoever gives it wants to know when it is safe.
    pub const NEED_ACK: u32 = 1;
    /// It may have been delivered before, under the same id.
    pub const REDELIVERED: u32 = 1 << 1;
}

/// `twinhub_event`: one event, in either direction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    /// Size of this struct as the sender knows it.
    pub size: u32,
    /// Bits of [`event_flag`].
    pub flags: u32,
    /// Epoch of the role in which it is given, or delivered.
    pub epoch: u64,
    /// Chosen by the sender; names the event in the answer that comes later.
    pub number: u64,
    /// The interface that gave it; empty in what a plugin gives.
    pub source: Str,
    /// Its stream, as the manifest declares it.
    pub stream: Str,
    /// What tells it from all other events of its stream.
    pub event_id: Str,
    /// What it is about.
    pub key: Str,
    /// First byte of what it says; may be NULL if `payload_len` is 0.
    pub payload: *const u8,
    /// Length in bytes.
    pub payload_len: usize,
}

/// `twinhub_host_events`, offered by the host: takes events.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HostEvents {
    /// Size of this struct as the host knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Takes an event for whoever is linked to its stream.
    pub give: Option<unsafe extern "C" fn(host: *const Host, event: *const Event) -> i32>,
    /// Says what became of an event that was delivered and is not answered yet.
    pub acknowledge: Option<unsafe extern "C" fn(host: *const Host, number: u64, code: i32) -> i32>,
}

/// `twinhub_plugin_events`, offered by the plugin: gives and takes events.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PluginEvents {
    /// Size of this struct as the plugin knows it.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Says what became of an event that was given.
    pub taken: Option<unsafe extern "C" fn(plugin: *const Plugin, number: u64, code: i32)>,
    /// Brings an event.
    pub deliver: Option<unsafe extern "C" fn(plugin: *const Plugin, event: *const Event) -> i32>,
}

/// An event that keeps the contract's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Bits of [`event_flag`].
    pub flags: u32,
    /// See [`Event::epoch`].
    pub epoch: u64,
    /// See [`Event::number`].
    pub number: u64,
    /// See [`Event::source`].
    pub source: &'a str,
    /// See [`Event::stream`].
    pub stream: &'a str,
    /// See [`Event::event_id`]; empty if the hub is to make one.
    pub id: &'a str,
    /// See [`Event::key`].
    pub key: &'a str,
    /// What it says.
    pub payload: &'a [u8],
}

impl EventRef<'_> {
    /// As the other side reads it; what this borrows is alive for the call.
    pub const fn raw(&self) -> Event {
        Event {
            size: SIZE,
            flags: self.flags,
            epoch: self.epoch,
            number: self.number,
            source: Str::new(self.source),
            stream: Str::new(self.stream),
            event_id: Str::new(self.id),
            key: Str::new(self.key),
            payload: self.payload.as_ptr(),
            payload_len: self.payload.len(),
        }
    }

    /// Whether it keeps the limits of the contract.
    pub const fn is_within_limits(&self) -> bool {
        !self.stream.is_empty()
            && self.stream.len() <= EVENT_STREAM_BYTES_MAX
            && self.id.len() <= EVENT_ID_BYTES_MAX
            && self.key.len() <= EVENT_KEY_BYTES_MAX
            && self.payload.len() <= EVENT_PAYLOAD_BYTES_MAX
    }
}

impl Event {
    /// Reads an event that arrives through a raw pointer; `None` if it breaks the contract.
    ///
    /// # Safety
    /// `event` is NULL, or points to a size and as many bytes as that says; what these point to, within the limits of the
    /// contract, is readable for `'a`.
    pub unsafe fn read<'a>(event: *const Self) -> Option<EventRef<'a>> {
        if event.is_null() || !event.is_aligned() {
            return None;
        }
        // SAFETY: not NULL, aligned; the size stands first in every version.
        if (unsafe { *event.cast::<u32>() } as usize) < size_of::<Self>() {
            return None;
        }
        // SAFETY: at least as large as this version knows it.
        let raw = unsafe { *event };
        if raw.payload_len > EVENT_PAYLOAD_BYTES_MAX || (raw.payload_len > 0 && raw.payload.is_null()) {
            return None;
        }
        let payload = if raw.payload_len == 0 {
            &[][..]
        } else {
            // SAFETY: not NULL, length bounded, readable by the caller's promise.
            unsafe { std::slice::from_raw_parts(raw.payload, raw.payload_len) }
        };
        // SAFETY: readable by the caller's promise.
        let (source, stream, id, key) = unsafe {
            (
                raw.source.read(TEXT_BYTES_MAX)?,
                raw.stream.read(EVENT_STREAM_BYTES_MAX)?,
                raw.event_id.read(EVENT_ID_BYTES_MAX)?,
                raw.key.read(EVENT_KEY_BYTES_MAX)?,
            )
        };
        let read = EventRef {
            flags: raw.flags,
            epoch: raw.epoch,
            number: raw.number,
            source,
            stream,
            id,
            key,
            payload,
        };
        read.is_within_limits().then_some(read)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct")]
const SIZE: u32 = size_of::<Event>() as u32;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: EventRef<'static> = EventRef {
        flags: event_flag::NEED_ACK,
        epoch: 7,
        number: 3,
        source: "pms",
        stream: "guest",
        id: "4711",
        key: "room 12",
        payload: b"check-in",
    };

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let bare = EventRef { source: "", id: "", key: "", payload: b"", ..EVENT };
        for event in [EVENT, bare] {
            let raw = event.raw();
            // SAFETY: what it borrows is alive.
            assert_eq!(unsafe { Event::read(&raw const raw) }, Some(event));
        }
    }

    #[test]
    fn what_breaks_the_contract_is_not_read() {
        let long = "x".repeat(EVENT_ID_BYTES_MAX + 1);
        let bytes = vec![0; EVENT_PAYLOAD_BYTES_MAX + 1];
        let no_text = Str { ptr: [0xff_u8].as_ptr(), len: 1 };
        let good = EVENT.raw();
        let bad = [
            Event { size: good.size - 1, ..good },
            Event { stream: Str::EMPTY, ..good },
            Event { stream: Str::new(&long), ..good },
            Event { event_id: Str::new(&long), ..good },
            Event { key: Str::new(&long), ..good },
            Event { key: no_text, ..good },
            Event { event_id: Str { ptr: std::ptr::null(), len: 5 }, ..good },
            Event { payload: std::ptr::null(), ..good },
            Event { payload: bytes.as_ptr(), payload_len: bytes.len(), ..good },
        ];
        for event in bad {
            // SAFETY: what it points to is alive, and what cannot be read is not.
            assert_eq!(unsafe { Event::read(&raw const event) }, None, "{event:?}");
        }
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { Event::read(std::ptr::null()) }, None);
    }
}
