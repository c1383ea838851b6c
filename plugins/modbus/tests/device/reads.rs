//! Reading: values, refusals, silent units, offline devices, overruns.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use twinhub_peers::{Device, DeviceOptions, Port, Quirks};

use crate::rig::{Got, Rig, item};

#[test]
fn values_of_a_block_arrive_together() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    for address in 0..500 {
        device.set_register(address, 1000 + address);
    }
    let items: Vec<_> =
        (0..500).map(|address| item(address, json!({"address": format!("hr:{address}")}))).collect();
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.until("all values", |seen| seen.last.len() == 500);
    for address in 0..500_u32 {
        assert_eq!(rig.seen(|seen| seen.good(address).cloned()), Some(Got::U64(1000 + u64::from(address))));
    }
    let first: Vec<_> =
        device.log().requests().into_iter().take(4).map(|request| (request.address, request.count)).collect();
    assert_eq!(first, [(0, 125), (125, 125), (250, 125), (375, 125)]);
}

#[test]
fn only_changes_are_published_if_asked_for() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let items = [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "hr:2"}))];
    let rig = Rig::active(device.address(), &json!({"publish": "changed"}), &items);
    rig.reads(1, &Got::U64(0));
    for value in 1..=5 {
        device.set_register(2, value);
        rig.reads(2, &Got::U64(value.into()));
    }
    assert_eq!(rig.seen(|seen| seen.updates.iter().filter(|update| update.item == 1).count()), 1);
}

#[test]
fn a_refused_register_is_isolated_and_the_others_stay_good() {
    isolation(1);
}

#[test]
fn a_refused_register_is_isolated_with_several_requests_under_way() {
    isolation(4);
}

fn isolation(pipeline: u8) {
    let device = Device::start(DeviceOptions { registers: 100, ..DeviceOptions::default() }).unwrap();
    let mut items: Vec<_> =
        (60..100).map(|address| item(address, json!({"address": format!("hr:{address}")}))).collect();
    items.push(item(101, json!({"address": "hr:101"})));
    items.push(item(200, json!({"address": "hr:99", "type": "uint32"})));
    let settings = json!({"pipeline": pipeline, "max_registers": 12});
    let rig = Rig::active(device.address(), &settings, &items);
    rig.until("refusals", |seen| {
        seen.status(101) == Some(0x8034_0000) && seen.status(200) == Some(0x8034_0000)
    });
    rig.until("the others", |seen| (60..100).all(|address| seen.good(address) == Some(&Got::U64(0))));
    rig.until("degraded", |seen| {
        seen.states.last().is_some_and(|(state, cause)| *state == 3 && cause.contains("2 items"))
    });
    let before = device.log().requests().len();
    rig.more(60, 3);
    let requests = device.log().requests().split_off(before);
    assert!(requests.iter().any(|request| request.address == 60), "{requests:?}");
    let mut ends = requests.iter().map(|request| u32::from(request.address) + u32::from(request.count));
    assert!(ends.all(|end| end <= 100), "refused registers are asked for at each poll: {requests:?}");
}

#[test]
fn refused_registers_come_back_when_the_device_has_them() {
    let quirks = Quirks { exceptions: BTreeMap::from([(4, 2)]), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    let items = [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "ir:2"}))];
    let rig = Rig::active(device.address(), &json!({"retry_refused": "1s"}), &items);
    rig.until("refusal", |seen| seen.status(2) == Some(0x8034_0000));
    device.set_quirks(Quirks::default());
    rig.reads(2, &Got::U64(0));
}

#[test]
fn an_exception_makes_only_its_items_bad() {
    let quirks = Quirks { exceptions: BTreeMap::from([(4, 4), (2, 1)]), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    let items = [
        item(1, json!({"address": "hr:1"})),
        item(2, json!({"address": "ir:2"})),
        item(3, json!({"address": "di:3"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::U64(0));
    rig.until("device failure", |seen| seen.status(2) == Some(0x808B_0000));
    rig.until("illegal function", |seen| seen.status(3) == Some(0x8089_0000));
}

#[test]
fn a_silent_unit_behind_a_gateway_does_not_take_the_others_along() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let items = [item(1, json!({"address": "1/hr:1"})), item(2, json!({"address": "2/hr:1"}))];
    let rig = Rig::active(device.address(), &json!({"retries": 0}), &items);
    rig.reads(1, &Got::U64(0));
    rig.until("no communication", |seen| seen.status(2) == Some(0x8031_0000));
    rig.until("degraded", |seen| seen.state() == Some(3));
    rig.more(1, 20);
    let bad = rig.seen(|seen| seen.updates.iter().filter(|update| update.item == 2).count());
    assert_eq!(bad, 1, "a state is told once");
    let requests = device.log().requests();
    let silent = requests.iter().filter(|request| request.unit == 2).count();
    assert!(silent < requests.len() / 2, "{silent} of {} requests go to a silent unit", requests.len());
}

#[test]
fn an_offline_device_is_a_status_and_comes_back_by_itself() {
    let port = Port::reserve().unwrap();
    let address = port.address();
    let rig = Rig::active(address, &json!({}), &[item(1, json!({"address": "hr:1"}))]);
    rig.until("not connected", |seen| seen.status(1) == Some(0x808A_0000));
    rig.until("fault", |seen| seen.state() == Some(4));
    let number = port.number();
    drop(port);
    let device = Device::start(DeviceOptions { port: number, ..DeviceOptions::default() }).unwrap();
    rig.reads(1, &Got::U64(0));
    rig.until("ok", |seen| seen.state() == Some(2));
    assert_eq!(rig.seen(|seen| seen.states.iter().filter(|(state, _)| *state == 4).count()), 1);
    drop(device);
    rig.until("bad again", |seen| seen.good(1).is_none());
}

#[test]
fn a_connection_that_the_device_closed_while_idle_is_made_anew_without_a_bad_value() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let rig = Rig::active(device.address(), &json!({}), &[item(1, json!({"address": "hr:1"}))]);
    rig.reads(1, &Got::U64(0));
    for _ in 0..10 {
        device.close_sessions();
        rig.more(1, 2);
    }
    assert!(rig.seen(|seen| seen.updates.iter().all(|update| update.status == 0)));
    assert!(rig.seen(|seen| seen.count("modbus.requests")) > 0);
}

#[test]
fn cycles_that_a_slow_device_misses_are_counted_and_not_caught_up() {
    let quirks = Quirks { delay: Duration::from_millis(50), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    let items = [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "hr:2", "poll": "1h"}))];
    let rig = Rig::active(device.address(), &json!({"poll": "10ms", "max_gap": 0}), &items);
    rig.more(1, 5);
    // Each cycle of 50 ms passes over four that were due; they are told while the device is still slow.
    rig.until("missed cycles", |seen| seen.count("modbus.polls_missed") >= 15);
    device.set_quirks(Quirks::default());
    rig.more(1, 1);
    let (begun, requests) = (std::time::Instant::now(), device.log().count());
    rig.more(1, 10);
    let possible = begun.elapsed().as_millis() / 10 + 3;
    let sent = u128::from(device.log().count() - requests);
    assert!(sent <= possible, "{sent} requests where {possible} were due: missed cycles are caught up");
}

#[test]
fn poll_classes_are_read_at_their_own_pace() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "hr:1", "poll": "fast"})),
        item(2, json!({"address": "hr:2", "poll": "1h"})),
        item(3, json!({"address": "hr:3", "poll": "off"})),
    ];
    let rig = Rig::active(device.address(), &json!({"poll_classes": {"fast": "10ms"}}), &items);
    rig.more(1, 20);
    rig.reads(2, &Got::U64(0));
    let requests = device.log().requests();
    assert_eq!(requests.iter().filter(|request| request.address == 2).count(), 1);
    assert!(requests.iter().all(|request| request.count == 1 && request.address != 3), "classes were merged");
}

#[test]
fn a_row_that_makes_no_sense_is_bad_with_a_reason_and_the_rest_runs() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let rig = Rig::active(device.address(), &json!({}), &[item(1, json!({"address": "hr:1"}))]);
    let error =
        rig.items(&[item(2, json!({"address": "1"})), item(3, json!({"address": "hr:3"}))]).unwrap_err();
    assert!(error.contains("item `item2`: column `address`: `1` names no table"), "{error}");
    rig.until("bad configuration", |seen| seen.status(2) == Some(0x8089_0000));
    rig.reads(1, &Got::U64(0));
    rig.reads(3, &Got::U64(0));
}

#[test]
fn not_a_number_is_a_sensor_failure() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    device.set_register(0, 0x7fc0);
    let rig =
        Rig::active(device.address(), &json!({}), &[item(1, json!({"address": "hr:0", "type": "float32"}))]);
    rig.until("sensor failure", |seen| seen.status(1) == Some(0x808C_0000));
    device.set_register(0, 0x3f80);
    rig.reads(1, &Got::F64(1.0));
}
