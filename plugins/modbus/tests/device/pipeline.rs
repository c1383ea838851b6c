//! Several transactions under way: every value is that of its own register and of a time that does not go back, whether
//! the device answers in order, backwards, or only one at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use twinhub_peers::{Device, DeviceOptions, Pymodbus, PymodbusOptions, Quirks, Sent, Tap, Together};

use crate::rig::{Got, Rig, Seen, item};

/// Too far apart to share a request.
const BLOCKS: [u16; 8] = [0, 100, 200, 300, 400, 500, 600, 700];
/// In each block.
const OFFSETS: [u16; 3] = [0, 7, 19];
/// Answered with exception 4.
const FAILING: u16 = 450;
/// Behind the last register: answered with exception 2.
const ABSENT: u16 = 2000;
const TICK: Duration = Duration::from_millis(10);
/// Changes that each item must show.
const CHANGES: usize = 30;

#[test]
fn pymodbus_with_eight_requests_under_way_gives_each_item_its_own_value() {
    let device = pymodbus(Together::InOrder);
    keeps_up(device.address());
}

#[test]
fn pymodbus_that_answers_backwards_gives_each_item_its_own_value() {
    let device = pymodbus(Together::Backwards);
    keeps_up(device.address());
}

#[test]
fn pymodbus_as_it_is_takes_one_request_at_a_time_and_is_asked_so() {
    let device = pymodbus(Together::FirstOnly);
    slows_down(device.address());
}

#[test]
fn a_device_that_answers_backwards_gives_each_item_its_own_value() {
    while_changing(Together::Backwards, keeps_up);
}

#[test]
fn a_device_that_loses_what_comes_together_is_asked_one_at_a_time() {
    while_changing(Together::FirstOnly, slows_down);
}

/// No item that the device has is bad at any time, and requests are under way together.
fn keeps_up(device: SocketAddr) {
    let tap = Tap::modbus(device).unwrap();
    let rig = rig(&tap, "5s");
    changes(&rig);
    rig.seen(|seen| {
        let bad = seen.updates.iter().find(|update| {
            update.status != 0 && u16::try_from(update.item).is_ok_and(|address| offered().contains(&address))
        });
        assert_eq!(bad, None);
    });
    assert_eq!(in_flight_max(&tap, 0), 8);
}

/// After the first attempts every item is good, and one request is under way at a time.
fn slows_down(device: SocketAddr) {
    let tap = Tap::modbus(device).unwrap();
    let rig = rig(&tap, "300ms");
    changes(&rig);
    assert!(in_flight_max(&tap, 0) > 1, "several together were tried");
    let alone = tap.count();
    rig.more(u32::from(BLOCKS[7]), 10);
    assert_eq!(in_flight_max(&tap, alone), 1);
    assert!(rig.seen(|seen| offered().iter().all(|address| seen.good(u32::from(*address)).is_some())));
}

fn pymodbus(together: Together) -> Pymodbus {
    let options = PymodbusOptions {
        registers: 1000,
        changing: Some(TICK),
        failing: Some(FAILING),
        together,
        log_reads: false,
        ..PymodbusOptions::default()
    };
    Pymodbus::start(&options).unwrap()
}

/// The same with the device of this workspace, whose registers are set from outside.
fn while_changing(together: Together, story: impl FnOnce(SocketAddr)) {
    let quirks = Quirks { together, failing: Some((FAILING, 4)), ..Quirks::default() };
    let device = Device::start(DeviceOptions { registers: 1000, quirks, ..DeviceOptions::default() });
    let device = device.unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut tick: u16 = 0;
            while !stop.load(Ordering::SeqCst) {
                tick = tick.wrapping_add(1);
                for address in offered() {
                    device.set_register(address, address.wrapping_add(tick));
                }
                thread::sleep(TICK);
            }
        });
        let _stop = StopAtEnd(&stop);
        story(device.address());
    });
}

/// Also after a panic, for which the scope would wait.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Registers that the device has.
fn offered() -> Vec<u16> {
    BLOCKS.iter().flat_map(|block| OFFSETS.map(|offset| block + offset)).collect()
}

/// Each item's handle is its register.
fn rig(tap: &Tap, timeout: &str) -> Rig {
    let mut items: Vec<_> = offered()
        .into_iter()
        .chain([FAILING, ABSENT])
        .map(|address| item(address.into(), json!({"address": format!("hr:{address}")})))
        .collect();
    items.sort_by_key(|(handle, _)| *handle);
    Rig::active(tap.address(), &json!({"pipeline": 8, "timeout": timeout}), &items)
}

/// Waits until every item has changed often; no value is that of another register, or older than one before.
fn changes(rig: &Rig) {
    rig.until("changes of every item", |seen| {
        let ticks = ticks(seen);
        offered().iter().all(|address| ticks.get(address).is_some_and(|ticks| ticks.len() >= CHANGES))
    });
    rig.until("the refusals", |seen| {
        [FAILING, ABSENT]
            .iter()
            .all(|address| seen.status(u32::from(*address)).is_some_and(|status| status != 0))
    });
    rig.seen(|seen| {
        for (address, ticks) in ticks(seen) {
            assert!(ticks.is_sorted(), "register {address} went back: {ticks:?}");
            // The device is younger than 200 seconds: a value of another register looks older.
            assert!(ticks.iter().all(|tick| *tick < 20_000), "register {address}: {ticks:?}");
        }
        for address in [FAILING, ABSENT] {
            assert_eq!(seen.good(address.into()), None);
        }
    });
}

/// What each item has shown, less its own address: the ticks of the device.
fn ticks(seen: &Seen) -> BTreeMap<u16, Vec<u16>> {
    let mut ticks: BTreeMap<u16, Vec<u16>> = BTreeMap::new();
    for update in seen.updates.iter().filter(|update| update.status == 0) {
        let Got::U64(value) = update.value else { panic!("{update:?}") };
        let address = u16::try_from(update.item).unwrap();
        let tick = u16::try_from(value).unwrap().wrapping_sub(address);
        let shown = ticks.entry(address).or_default();
        if shown.last() != Some(&tick) {
            shown.push(tick);
        }
    }
    ticks
}

/// The most requests of one connection that were not answered yet, from an event on.
fn in_flight_max(tap: &Tap, from: usize) -> usize {
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut most = 0;
    for event in tap.events_from(from) {
        let open = open.entry(event.connection).or_default();
        match event.sent {
            Sent::Request(_) => *open += 1,
            Sent::Registers { .. } | Sent::Exception { .. } => *open = open.saturating_sub(1),
            Sent::Packet(_) | Sent::Delivered(_) => {}
        }
        most = most.max(*open);
    }
    most
}
