//! Telegrams both ways through a tunnel of knxd, with xknx as the device on the other side.

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::quality;
use twinhub_loader::ValueRef;
use twinhub_peers::{Knxd, KnxdOptions, UdpRelay, Xknx};

use crate::rig::{Got, Rig, item};

fn gateway() -> Knxd {
    Knxd::start(&KnxdOptions::default()).unwrap()
}

fn settings(gateway: &Knxd) -> serde_json::Value {
    json!({ "gateway": gateway.address().to_string() })
}

#[test]
fn values_of_a_device_become_values_of_items() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &settings(&gateway),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "1.001"})),
            item(2, json!({"address": "1/514", "dpt": "9.001"})),
            item(3, json!({"address": "2563", "dpt": "16.001"})),
            item(4, json!({"address": "1/2/4", "dpt": "232.600"})),
            item(5, json!({"address": "1/2/9", "status": "1/2/5 1/2/6", "dpt": "5.001", "access": "rw"})),
        ],
    );
    device.write("1/2/1", &json!(1)).unwrap();
    device.write("1/2/2", &json!([0x0c, 0x1a])).unwrap();
    device.write("1/2/3", &json!([0x4b, 0x4e, 0x58, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).unwrap();
    device.write("1/2/4", &json!([255, 128, 0])).unwrap();
    rig.reads(1, &Got::Bool(true));
    rig.reads(2, &Got::F64(21.0));
    rig.reads(3, &Got::Str("KNX".to_owned()));
    rig.reads(4, &Got::Json(r#"{"blue":0,"green":128,"red":255}"#.to_owned()));
    device.write("1/2/9", &json!([0])).unwrap();
    device.write("1/2/5", &json!([255])).unwrap();
    rig.reads(5, &Got::F64(100.0));
    device.write("1/2/6", &json!([0])).unwrap();
    rig.reads(5, &Got::F64(0.0));
    assert_eq!(rig.values(5), [Got::F64(100.0), Got::F64(0.0)], "the command is not the state");
    // A telegram of another length than the type has.
    device.write("1/2/2", &json!([1])).unwrap();
    rig.until("a bad value", |seen| seen.status(2) == Some(quality::BAD_DECODING));
}

#[test]
fn a_write_is_done_when_the_bus_has_it() {
    let gateway = gateway();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &settings(&gateway),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "1.001", "access": "rw"})),
            item(2, json!({"address": "1/2/2", "dpt": "9.001", "access": "w"})),
            item(3, json!({"address": "1/2/4", "dpt": "232.600", "access": "w"})),
            item(4, json!({"address": "1/2/1", "dpt": "1.011", "access": "r"})),
            item(5, json!({"address": "1/2/5", "dpt": "1.001", "access": "rw", "status": "1/2/6"})),
        ],
    );
    let color = r#"{"red":1,"green":2,"blue":3}"#;
    let writes = [
        (1, ValueRef::Bool(true)),
        (2, ValueRef::F64(21.0)),
        (3, ValueRef::Json(color)),
        (5, ValueRef::I64(1)),
    ];
    assert_eq!(rig.written(&writes), [code::OK; 4]);
    for (group, value) in [
        ("1/2/1", json!(1)),
        ("1/2/2", json!([0x0c, 0x1a])),
        ("1/2/4", json!([1, 2, 3])),
        ("1/2/5", json!(1)),
    ] {
        device.hears(group, "write", 1).unwrap();
        assert_eq!(device.values(group, "write"), [value], "{group}");
    }
    rig.reads(1, &Got::Bool(true));
    rig.reads(4, &Got::Bool(true));
    assert_eq!(rig.values(5), [], "a state comes from its own group");
    let refused = [
        (1, ValueRef::I64(2)),
        (2, ValueRef::Bool(true)),
        (2, ValueRef::F64(1e9)),
        (3, ValueRef::Json(r#"{"red":1}"#)),
        (4, ValueRef::Bool(true)),
    ];
    let results = rig.written(&refused);
    assert_eq!(results[0], code::INVALID);
    assert_eq!(results[2..], [code::INVALID; 3]);
    assert_eq!(device.values("1/2/4", "write").len(), 1);
}

#[test]
fn a_burst_of_a_hundred_loses_no_telegram_in_either_direction() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &settings(&gateway),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "7.001"})),
            item(2, json!({"address": "1/2/2", "dpt": "7.001", "access": "w"})),
        ],
    );
    device.burst("1/2/1", 100).unwrap();
    let writes: Vec<_> = (0..100).map(|number| (2, ValueRef::U64(number))).collect();
    assert_eq!(rig.written(&writes), [code::OK; 100]);
    device.hears("1/2/2", "write", 100).unwrap();
    let sent: Vec<_> = (0..100).map(|number| json!([0, number])).collect();
    assert_eq!(device.values("1/2/2", "write"), sent, "all, once, in their order");
    rig.until("the last value", |seen| seen.good(1) == Some(&Got::I64(99)));
    assert_eq!(rig.values(1), (0..100).map(Got::I64).collect::<Vec<_>>());
}

#[test]
fn a_gateway_behind_a_translation_of_addresses_is_answered_to_where_frames_come_from() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let relay = UdpRelay::start(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": relay.address().to_string(), "nat": true }),
        &[item(1, json!({"address": "1/2/1", "dpt": "1.001", "access": "rw"}))],
    );
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
    device.hears("1/2/1", "write", 1).unwrap();
    device.write("1/2/1", &json!(0)).unwrap();
    rig.reads(1, &Got::Bool(false));
}

#[test]
fn a_write_without_confirmation_is_of_unknown_outcome_and_not_sent_again() {
    let gateway = gateway();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let relay = UdpRelay::start(gateway.address()).unwrap();
    // The gateway's acknowledgment passes, its confirmation (L_Data.con) does not.
    relay.drop_if(|datagram| {
        !datagram.is_from_client
            && datagram.bytes.get(2..4) == Some(&[4, 0x20])
            && datagram.bytes.get(10) == Some(&0x2e)
    });
    let rig = Rig::active(
        &json!({ "gateway": relay.address().to_string(), "nat": true, "confirmation_timeout": "300ms" }),
        &[item(1, json!({"address": "1/2/1", "dpt": "1.001", "access": "rw"}))],
    );
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::TIMEOUT]);
    device.hears("1/2/1", "write", 1).unwrap();
    rig.become_active();
    assert_eq!(device.values("1/2/1", "write").len(), 1);
}

#[test]
fn more_than_the_queue_holds_is_refused_and_counted_and_urgent_ones_go_first() {
    let gateway = gateway();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string(), "queue": 10, "rate": 20 }),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "7.001", "access": "w"})),
            item(2, json!({"address": "1/2/2", "dpt": "7.001", "access": "w", "priority": "urgent"})),
        ],
    );
    let mut writes: Vec<_> = (0..9).map(|number| (1, ValueRef::U64(number))).collect();
    writes.extend((0..4).map(|number| (2, ValueRef::U64(number))));
    let results = rig.written(&writes);
    assert_eq!(results[..10], [code::OK; 10]);
    assert_eq!(results[10..], [code::AGAIN; 3]);
    assert_eq!(rig.seen(|seen| seen.count("knx.queue_overflow")), 3);
    device.hears("1/2/1", "write", 9).unwrap();
    let groups: Vec<_> = device.heard().into_iter().map(|heard| heard.group).collect();
    assert_eq!(groups[0], "1/2/2", "{groups:?}");
}

#[test]
fn telegrams_keep_the_rate() {
    let gateway = gateway();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string(), "rate": 10 }),
        &[item(1, json!({"address": "1/2/1", "dpt": "7.001", "access": "w"}))],
    );
    let begun = std::time::Instant::now();
    let writes: Vec<_> = (0..6).map(|number| (1, ValueRef::U64(number))).collect();
    assert_eq!(rig.written(&writes), [code::OK; 6]);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn groups_outside_of_the_range_are_not_looked_at() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string(), "groups": ["1/0/0-1/7/255"] }),
        &[item(1, json!({"address": "1/2/1", "dpt": "1.001"}))],
    );
    let error = rig.items(&[item(2, json!({"address": "2/0/0", "dpt": "1.001"}))]).unwrap_err();
    assert!(error.contains("item2") && error.contains("2/0/0 is outside of `groups`"), "{error}");
    device.write("2/0/0", &json!(1)).unwrap();
    device.write("1/2/1", &json!(1)).unwrap();
    rig.reads(1, &Got::Bool(true));
    assert_eq!(rig.diagnosis()["telegrams"]["outside_of_groups"], 1);
    assert_eq!(rig.diagnosis()["bus"]["groups_seen"], 1);
}
