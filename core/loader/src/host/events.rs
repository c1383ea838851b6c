//! The host's side of `twinhub.events/1`.

use std::sync::atomic::Ordering;

use twinhub_contract::extension::HostEvents;
use twinhub_contract::{Event, Host, code};

use super::{HostCell, cell, size};

/// The table.
pub(super) static EVENTS: HostEvents = HostEvents {
    size: size(size_of::<HostEvents>()),
    reserved: 0,
    give: Some(give),
    acknowledge: Some(acknowledge),
};

/// Whether the instance may give and take events.
pub(super) fn is_offered(cell: &HostCell) -> bool {
    cell.with_sink("events", false, |sink| sink.has_events())
}

unsafe extern "C" fn give(host: *const Host, event: *const Event) -> i32 {
    // SAFETY: the plugin passes its table, and an event that is readable for the call.
    let (cell, event) = unsafe { (cell(host), Event::read(event)) };
    let Some(cell) = cell else { return code::INVALID };
    if cell.is_stopped.load(Ordering::SeqCst) {
        return code::STOPPED;
    }
    let answer =
        event.map_or(code::INVALID, |event| cell.with_sink("give", code::STOPPED, |sink| sink.give(&event)));
    if answer == code::INVALID {
        cell.count("events.refused", 1);
    }
    answer
}

unsafe extern "C" fn acknowledge(host: *const Host, number: u64, code: i32) -> i32 {
    // SAFETY: the plugin passes its table.
    let Some(cell) = (unsafe { cell(host) }) else { return code::INVALID };
    // "Pending" is no answer that ends anything, and no other positive number is defined.
    let code = if code > code::OK { code::INVALID } else { code };
    let answer = cell.with_sink("acknowledge", code::STOPPED, |sink| sink.acknowledge(number, code));
    if answer == code::NOT_FOUND {
        cell.count("events.unexpected", 1);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use twinhub_contract::{EventRef, Str, WriteResult};

    use super::*;
    use crate::{HostSink, PublishOutcome, RawBatch};

    /// Panics where it is given a stream of this name.
    #[derive(Default)]
    struct Noting {
        answers: Mutex<Vec<(u64, i32)>>,
    }

    impl HostSink for Noting {
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
        fn give(&self, event: &EventRef<'_>) -> i32 {
            assert_ne!(event.stream, "panic");
            code::PENDING
        }
        fn acknowledge(&self, number: u64, code: i32) -> i32 {
            self.answers.lock().unwrap().push((number, code));
            code::NOT_FOUND
        }
    }

    #[test]
    fn arguments_that_break_the_contract_are_refused() {
        let sink = Arc::new(Noting::default());
        let host = HostCell::leak(Arc::clone(&sink) as Arc<dyn HostSink>).table();
        let event = EventRef {
            flags: 0,
            epoch: 1,
            number: 1,
            source: "",
            stream: "guest",
            id: "1",
            key: "",
            payload: b"1",
        };
        let (good, panics) = (event.raw(), EventRef { stream: "panic", ..event }.raw());
        let bad = Event { stream: Str::EMPTY, ..good };
        // SAFETY: the table is leaked, the events live for the calls, and what cannot be read is not.
        unsafe {
            assert_eq!(give(host, &raw const good), code::PENDING);
            assert_eq!(give(host, &raw const bad), code::INVALID);
            assert_eq!(give(host, std::ptr::null()), code::INVALID);
            assert_eq!(give(std::ptr::null(), &raw const good), code::INVALID);
            assert_eq!(give(host, &raw const panics), code::STOPPED, "its panic stays in the hub");
            assert_eq!(acknowledge(host, 7, code::PENDING), code::NOT_FOUND);
            assert_eq!(acknowledge(std::ptr::null(), 7, code::OK), code::INVALID);
        }
        assert_eq!(*sink.answers.lock().unwrap(), [(7, code::INVALID)]);
    }
}
