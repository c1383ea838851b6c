//! Roles: a standby never writes nor subscribes, as the device itself sees it; a successor reads and subscribes at once.

use std::time::Duration;

use serde_json::json;
use twinhub_loader::{Role, ValueRef};
use twinhub_peers::{Bacpypes, BacpypesOptions, wait_until};

use crate::rig::{Got, Rig, item};

#[test]
fn a_warm_standby_asks_for_the_status_of_devices_and_for_nothing_else() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"}))];
    let rig = Rig::new(device.address(), &json!({"standby_probe": "1s"}), &items);
    rig.role(Role::Warm);
    wait_until("two probes", Duration::from_secs(20), || device.requests().unwrap().len() >= 2).unwrap();
    assert!(rig.try_write(&[(1, ValueRef::F64(1.0))]).is_err());
    rig.until("the standby to be well", |seen| seen.state() == Some(2));
    for request in device.requests().unwrap() {
        assert_eq!(request.service, "ReadPropertyRequest", "{request:?}");
        assert_eq!(request.property_identifier.as_deref(), Some("system-status"), "{request:?}");
    }
    assert_eq!(rig.seen(|seen| seen.updates.len()), 0, "a standby publishes nothing");
}

#[test]
fn a_cold_standby_sends_nothing() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [item(1, json!({"address": "1002/av:1"}))];
    let rig = Rig::new(device.address(), &json!({}), &items);
    rig.role(Role::Cold);
    assert_eq!(rig.diagnosis()["is_open"], false);
    rig.role(Role::Active);
    rig.reads(1, &Got::F64(5.0));
    rig.role(Role::Cold);
    let asked = device.requests().unwrap().len();
    rig.role(Role::Cold);
    assert_eq!(device.requests().unwrap().len(), asked);
}

#[test]
fn a_takeover_subscribes_and_the_successor_can_relinquish() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"}))];
    let main = Rig::active(device.address(), &json!({}), &items);
    let backup = main.beside(device.address(), &items);
    backup.role(Role::Warm);
    main.reads(1, &Got::F64(5.0));
    assert_eq!(main.written(&[(1, ValueRef::F64(30.0))]), [0]);
    main.reads(1, &Got::F64(30.0));
    main.role(Role::Warm);
    backup.role(Role::Active);
    backup.reads(1, &Got::F64(30.0));
    let commands = |rig: &Rig| rig.diagnosis()["commands"].clone();
    wait_until("the subscription", Duration::from_secs(20), || {
        backup.diagnosis()["subscriptions"]["subscribed"] == 1
    })
    .unwrap();
    assert_eq!(commands(&backup), json!(["1002/analog-value:1@8"]), "the successor knows what is commanded");
    assert_eq!(backup.written(&[(1, ValueRef::Null)]), [0]);
    backup.reads(1, &Got::F64(5.0));
    assert_eq!(commands(&backup), json!([]));
    let writes: Vec<String> = device
        .requests()
        .unwrap()
        .into_iter()
        .filter(|request| request.service == "WritePropertyRequest")
        .map(|request| request.from)
        .collect();
    assert!(writes.len() == 2 && writes[0] != writes[1], "{writes:?}");
}

#[test]
fn a_node_whose_lease_has_ended_sends_nothing() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"})),
        item(2, json!({"address": "1002/av:1/object-name"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    rig.more(2, 1);
    rig.set_lease_end(0);
    let asked = device.requests().unwrap().len();
    let results = rig.written(&[(1, ValueRef::F64(9.0))]);
    assert_ne!(results, [0]);
    rig.until("suppressed datagrams", |seen| seen.count("bacnet.suppressed") >= 3);
    let all = device.requests().unwrap();
    assert!(all[asked..].iter().all(|request| request.service != "WritePropertyRequest"), "{all:?}");
    assert!(all.len() <= asked + 1, "one read may have been under way");
}

/// What a takeover costs: three hundred subscriptions, paced, whose first notifications are the values.
#[test]
fn three_hundred_subscriptions_are_made_at_a_takeover_without_a_read_of_a_value() {
    let device = Bacpypes::start(&BacpypesOptions { objects: 300, ..BacpypesOptions::default() }).unwrap();
    let items: Vec<_> =
        (0..300).map(|n| item(n + 1, json!({"address": format!("1002/av:{}", 100 + n)}))).collect();
    let rig = Rig::new(device.address(), &json!({}), &items);
    rig.role(Role::Warm);
    rig.role(Role::Active);
    for n in [1, 150, 300] {
        rig.reads(n, &Got::F64(f64::from(n - 1)));
    }
    wait_until("all subscriptions", Duration::from_secs(20), || {
        rig.diagnosis()["subscriptions"]["made_after_takeover_ms"].is_u64()
    })
    .unwrap();
    let diagnosis = rig.diagnosis();
    assert_eq!(diagnosis["subscriptions"]["subscribed"], 300, "{diagnosis}");
    let requests = device.requests().unwrap();
    let subscriptions = requests.iter().filter(|request| request.service == "SubscribeCOVRequest");
    assert_eq!(subscriptions.count(), 300);
    let reads = requests.iter().filter(|request| request.service == "ReadPropertyMultipleRequest");
    assert!(reads.count() <= 2, "what the device takes, and nothing else: {requests:?}");
    let took_ms = diagnosis["subscriptions"]["made_after_takeover_ms"].as_u64().unwrap();
    assert!(took_ms < 15_000, "{took_ms} ms");
}
