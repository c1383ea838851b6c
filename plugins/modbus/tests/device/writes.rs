//! Writing: function codes, order, limits, deadlines, doubt.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use twinhub_contract::code;
use twinhub_loader::{Role, ValueRef};
use twinhub_peers::{Device, DeviceOptions, Quirks, WRITE_FUNCTIONS};

use crate::rig::{Got, Rig, boottime_ns, item};

fn device() -> Device {
    Device::start(DeviceOptions::default()).unwrap()
}

/// Function code, address and values of each write that reached the device.
fn written(device: &Device) -> Vec<(u8, u16, Vec<u16>)> {
    let requests = device.log().requests().into_iter();
    let writes = requests.filter(|request| WRITE_FUNCTIONS.contains(&request.function));
    writes.map(|request| (request.function, request.address, request.values)).collect()
}

#[test]
fn each_function_code_writes_and_is_read_back() {
    let device = device();
    let items = [
        item(1, json!({"address": "co:1", "access": "rw", "poll": "1h"})),
        item(2, json!({"address": "hr:2", "access": "rw", "poll": "1h"})),
        item(3, json!({"address": "hr:3", "access": "rw", "poll": "1h", "type": "float32"})),
        item(4, json!({"address": "hr:9.4", "access": "rw", "poll": "1h"})),
        item(5, json!({"address": "co:5", "access": "rw", "poll": "1h", "write": "multiple"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.until("first values", |seen| seen.last.len() == 5);
    for (item, value, got) in [
        (1, ValueRef::Bool(true), Got::Bool(true)),
        (2, ValueRef::I64(77), Got::U64(77)),
        (3, ValueRef::F64(21.5), Got::F64(21.5)),
        (4, ValueRef::Bool(true), Got::Bool(true)),
        (5, ValueRef::U64(1), Got::Bool(true)),
    ] {
        assert_eq!(rig.written(&[(item, value)]), [code::OK]);
        rig.reads(item, &got);
    }
    let functions: Vec<u8> = written(&device).iter().map(|(function, ..)| *function).collect();
    assert_eq!(functions, [5, 6, 16, 22, 15]);
    assert_eq!(device.register(9), Some(0b1_0000));
}

#[test]
fn neighbors_share_a_request_and_one_register_keeps_its_order() {
    let device = device();
    let items: Vec<_> = (0..100)
        .map(|address| {
            item(address, json!({"address": format!("hr:{address}"), "access": "rw", "poll": "1h"}))
        })
        .collect();
    let rig = Rig::active(device.address(), &json!({}), &items);
    let batch: Vec<_> = (0..100).map(|address| (address, ValueRef::U64(u64::from(address) + 7))).collect();
    assert_eq!(rig.written(&batch), vec![code::OK; 100]);
    assert_eq!(written(&device).len(), 1);
    assert_eq!(device.register(99), Some(106));
    assert_eq!(
        rig.written(&[(5, ValueRef::U64(1)), (5, ValueRef::U64(2)), (5, ValueRef::U64(3))]),
        [code::OK; 3]
    );
    let values: Vec<_> = written(&device).into_iter().skip(1).map(|(_, _, values)| values).collect();
    assert_eq!(values, [[1], [2], [3]]);
}

#[test]
fn function_code_23_writes_and_reads_back_at_once() {
    let device = device();
    let items = [item(1, json!({"address": "hr:1", "access": "rw", "poll": "1h"}))];
    let rig = Rig::active(device.address(), &json!({"use_fc23": true}), &items);
    rig.reads(1, &Got::U64(0));
    let before = device.log().count();
    assert_eq!(rig.written(&[(1, ValueRef::U64(5))]), [code::OK]);
    rig.reads(1, &Got::U64(5));
    assert_eq!(device.log().count() - before, 1);
    device.set_quirks(Quirks { exceptions: BTreeMap::from([(23, 1)]), ..Quirks::default() });
    assert_eq!(rig.written(&[(1, ValueRef::U64(6))]), [code::OK]);
    rig.reads(1, &Got::U64(6));
}

#[test]
fn bits_are_written_by_reading_and_writing_only_if_that_is_configured() {
    let quirks = Quirks { exceptions: BTreeMap::from([(22, 1)]), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    device.set_register(1, 0xf000);
    let items = [item(1, json!({"address": "hr:1.0", "access": "rw"}))];
    let native = Rig::active(device.address(), &json!({}), &items);
    assert_eq!(native.written(&[(1, ValueRef::Bool(true))]), [code::UNSUPPORTED]);
    assert_eq!(device.register(1), Some(0xf000));
    for how in ["fallback", "read_modify_write"] {
        device.set_register(1, 0xf000);
        let rig = Rig::active(device.address(), &json!({"mask_write": how}), &items);
        assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
        assert_eq!(device.register(1), Some(0xf001));
        assert_eq!(rig.written(&[(1, ValueRef::Bool(false))]), [code::OK]);
        assert_eq!(device.register(1), Some(0xf000));
    }
}

#[test]
fn what_cannot_be_written_is_refused_without_a_request() {
    let device = device();
    let items = [
        item(1, json!({"address": "hr:1", "access": "rw", "type": "int16", "min": "5", "max": "30"})),
        item(2, json!({"address": "hr:2"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    let refused = [
        (1, ValueRef::F64(31.0)),
        (1, ValueRef::F64(f64::NAN)),
        (1, ValueRef::Str("21")),
        (1, ValueRef::Null),
        (2, ValueRef::U64(1)),
        (9, ValueRef::U64(1)),
    ];
    assert_eq!(rig.written(&refused), [code::INVALID; 6]);
    assert_eq!(rig.written(&[(1, ValueRef::F64(30.0))]), [code::OK]);
    assert_eq!(written(&device).len(), 1);
}

#[test]
fn a_write_whose_deadline_has_passed_is_not_sent() {
    let quirks = Quirks { delay: Duration::from_millis(300), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    let items = [
        item(1, json!({"address": "hr:1", "access": "w"})),
        item(2, json!({"address": "co:2", "access": "w"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    let slow = rig.write(&[(1, ValueRef::U64(1))]);
    // Waits behind the first one for longer than it may.
    let late = rig.write_until(&[(2, ValueRef::U64(1))], boottime_ns() + 50_000_000);
    assert_eq!(rig.results(&late), [code::EXPIRED]);
    assert_eq!(rig.results(&slow), [code::OK]);
    assert_eq!(written(&device), [(6, 1, vec![1])]);
}

#[test]
fn a_write_without_an_answer_is_in_doubt_and_sent_once() {
    let device = device();
    let items = [item(1, json!({"address": "hr:1", "access": "rw", "poll": "off"}))];
    let rig = Rig::active(device.address(), &json!({"timeout": "100ms"}), &items);
    device.set_quirks(Quirks { mute: true, ..Quirks::default() });
    assert_eq!(rig.written(&[(1, ValueRef::U64(1))]), [code::TIMEOUT]);
    device.set_quirks(Quirks::default());
    // Until its pause is over, the device counts as silent and nothing is sent to it.
    while rig.written(&[(1, ValueRef::U64(2))]) != [code::OK] {}
    assert_eq!(written(&device), [(6, 1, vec![1]), (6, 1, vec![2])]);
}

#[test]
fn a_busy_device_is_asked_again_and_a_refusal_is_reported() {
    let device = device();
    let items = [item(1, json!({"address": "hr:1", "access": "w"}))];
    let rig = Rig::active(device.address(), &json!({}), &items);
    for (exception, expected, attempts) in
        [(6, code::DEVICE, 2), (3, code::DEVICE, 1), (11, code::TIMEOUT, 1), (5, code::TIMEOUT, 1)]
    {
        device.set_quirks(Quirks { exceptions: BTreeMap::from([(6, exception)]), ..Quirks::default() });
        let before = written(&device).len();
        assert_eq!(rig.written(&[(1, ValueRef::U64(1))]), [expected], "exception {exception}");
        assert_eq!(written(&device).len() - before, attempts, "exception {exception}");
    }
}

#[test]
fn writes_do_not_wait_for_a_poll_to_end() {
    let quirks = Quirks { delay: Duration::from_millis(5), ..Quirks::default() };
    let device =
        Device::start(DeviceOptions { registers: 10_001, quirks, ..DeviceOptions::default() }).unwrap();
    let mut items: Vec<_> =
        (0..10_000).map(|address| item(address, json!({"address": format!("hr:{address}")}))).collect();
    items.push(item(10_000, json!({"address": "hr:10000", "access": "w"})));
    let rig = Rig::active(device.address(), &json!({"poll": "100ms"}), &items);
    rig.until("a poll is running", |seen| seen.good(500).is_some());
    assert_eq!(rig.written(&[(10_000, ValueRef::U64(1))]), [code::OK]);
    let requests = device.log().requests();
    let at = requests.iter().position(|request| request.function == 6).unwrap();
    assert!(at < 70, "the write came after {at} reads");
}

#[test]
fn an_offline_device_refuses_writes_at_once() {
    let device = device();
    let address = device.address();
    drop(device);
    let items = [item(1, json!({"address": "hr:1", "access": "rw"}))];
    let rig = Rig::active(address, &json!({"backoff_min": "10s", "backoff_max": "10s"}), &items);
    assert_eq!(rig.written(&[(1, ValueRef::U64(1))]), [code::DEVICE]);
    rig.role(Role::Cold);
}
