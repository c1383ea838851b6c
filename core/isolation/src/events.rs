//! `twinhub.events/1` between the two processes.
//!
//! What the instance gives goes down the lane of values, in its place among them. The child answers `PENDING`, and the hub
//! says later what became of it: if it were waited for here, an interface that has no room would hold up this one's values.
//! An event that the hub brings goes the way of writes, and so does not wait behind control calls; the answer comes down the
//! lane of values, behind what the instance published before it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use minicbor::{Decode, Encode};
use twinhub_contract::extension::{self, HostEvents, PluginEvents};
use twinhub_contract::{Event, EventRef, abi, code, event_flag, role};

use crate::lane::{Lane, Sent};
use crate::message::{Order, kind, pack};
use crate::proxy::{HostTable, remote, size};

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct EventRow {
    #[n(0)]
    pub(crate) flags: u32,
    #[n(1)]
    pub(crate) epoch: u64,
    #[n(2)]
    pub(crate) number: u64,
    #[n(3)]
    pub(crate) source: String,
    #[n(4)]
    pub(crate) stream: String,
    #[n(5)]
    pub(crate) id: String,
    #[n(6)]
    pub(crate) key: String,
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(crate) payload: Vec<u8>,
}

impl EventRow {
    fn of(event: &EventRef<'_>) -> EventRow {
        EventRow {
            flags: event.flags,
            epoch: event.epoch,
            number: event.number,
            source: event.source.to_owned(),
            stream: event.stream.to_owned(),
            id: event.id.to_owned(),
            key: event.key.to_owned(),
            payload: event.payload.to_vec(),
        }
    }

    fn event(&self) -> EventRef<'_> {
        EventRef {
            flags: self.flags,
            epoch: self.epoch,
            number: self.number,
            source: &self.source,
            stream: &self.stream,
            id: &self.id,
            key: &self.key,
            payload: &self.payload,
        }
    }

    fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        pack(self, &mut words);
        words
    }
}

/// The child's side.
#[derive(Debug, Default)]
pub(crate) struct Events {
    are_offered: AtomicBool,
    /// Numbers of events that were brought and are not answered.
    open: Mutex<BTreeSet<u64>>,
}

impl Events {
    pub(crate) fn begin(&self, are_offered: bool) {
        self.are_offered.store(are_offered, Ordering::Release);
    }

    pub(crate) fn are_offered(&self) -> bool {
        self.are_offered.load(Ordering::Acquire)
    }

    /// Calls the instance with what the hub brings, and answers unless the instance does so later.
    pub(crate) fn bring(&self, values: &Lane, row: &EventRow, call: impl FnOnce(&EventRef<'_>) -> i32) {
        // Before the call: it may be answered inside it.
        self.open().insert(row.number);
        let answer = call(&row.event());
        if answer != code::PENDING {
            self.acknowledge(values, row.number, answer);
        }
    }

    /// Answers, once for each that was brought.
    pub(crate) fn acknowledge(&self, values: &Lane, number: u64, code: i32) -> i32 {
        if !self.open().remove(&number) {
            return code::NOT_FOUND;
        }
        let code = u64::from(u32::from_ne_bytes(code.to_ne_bytes()));
        match values.send(kind::ACKNOWLEDGE, &[number, code]) {
            Sent::Taken => code::OK,
            // Without the answer the hub would wait for ever; with the end of the lane it does not.
            Sent::Full | Sent::Lost => code::STOPPED,
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what the instance gives on its way to the hub.
pub(crate) fn give(values: &Lane, role: u32, event: &EventRef<'_>) -> i32 {
    let may_be_held = role == role::HOT && !event.id.is_empty() && event.flags & event_flag::NEED_ACK == 0;
    if role != role::ACTIVE && !may_be_held {
        return code::NOT_ACTIVE;
    }
    match values.try_send(kind::GIVE, &[&EventRow::of(event).words()]) {
        Sent::Taken => code::PENDING,
        Sent::Full => code::AGAIN,
        Sent::Lost => code::STOPPED,
    }
}

/// What the hub takes, as its own table gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubEvents {
    host: HostTable,
    table: HostEvents,
}

impl HubEvents {
    pub(crate) fn of(host: HostTable) -> Option<Self> {
        host.extension::<HostEvents>(extension::EVENTS).map(|table| Self { host, table: *table })
    }

    /// Hands an event over; gives the hub's answer.
    pub(crate) fn give(&self, row: &EventRow) -> i32 {
        let event: Event = row.event().raw();
        // SAFETY: a host's table lives for ever; the event and what it points to live for the call.
        self.table.give.map_or(code::UNSUPPORTED, |give| unsafe { give(self.host.0, &raw const event) })
    }

    /// Says what became of one that was brought.
    pub(crate) fn acknowledge(&self, number: u64, code: i32) {
        if let Some(acknowledge) = self.table.acknowledge {
            // SAFETY: a host's table lives for ever. What the hub does not know it counts.
            unsafe { acknowledge(self.host.0, number, code) };
        }
    }
}

unsafe extern "C" fn taken(plugin: *const abi::Plugin, number: u64, code: i32) {
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.order(&Order::Taken { number, code });
}

unsafe extern "C" fn deliver(plugin: *const abi::Plugin, event: *const Event) -> i32 {
    // SAFETY: the loader passes the table it was given, and an event that is readable for the call.
    let (remote, event) = unsafe { (remote(plugin), Event::read(event)) };
    let Some(event) = event else { return code::INVALID };
    match remote.down.try_send(kind::DELIVER, &[&EventRow::of(&event).words()]) {
        Sent::Taken => code::PENDING,
        Sent::Full => code::AGAIN,
        Sent::Lost => code::STOPPED,
    }
}

/// The table of every instance whose plugin has one.
pub(crate) static EVENTS: PluginEvents = PluginEvents {
    size: size(size_of::<PluginEvents>()),
    reserved: 0,
    taken: Some(taken),
    deliver: Some(deliver),
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::unpack;

    proptest! {
        #[test]
        fn an_event_comes_back_from_its_words(
            numbers: (u32, u64, u64),
            texts in prop::array::uniform4(".{0,20}"),
            payload: Vec<u8>,
        ) {
            let ((flags, epoch, number), [source, stream, id, key]) = (numbers, texts);
            let row = EventRow { flags, epoch, number, source, stream, id, key, payload };
            prop_assert_eq!(unpack::<EventRow>(&row.words()), Some(row.clone()));
            prop_assert_eq!(EventRow::of(&row.event()), row);
        }

        #[test]
        fn words_of_a_hostile_child_are_refused_or_read(words: Vec<u64>) {
            _ = unpack::<EventRow>(&words);
        }
    }
}
