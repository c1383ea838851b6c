//! Values: notified, polled, by both when a device takes no subscription, and of a device that goes and comes.

use std::time::Duration;

use serde_json::json;
use twinhub_peers::{Bacpypes, BacpypesOptions};

use crate::rig::{Got, Rig, item};

#[test]
fn changes_are_notified_with_the_current_value_first() {
    let tick = Some(Duration::from_millis(200));
    let device = Bacpypes::start(&BacpypesOptions { tick, ..BacpypesOptions::default() }).unwrap();
    let items = [
        item(1, json!({"address": "1002/analog-input:1"})),
        item(2, json!({"address": "1002/bo:1"})),
        item(3, json!({"address": "1002/mv:1"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(2, &Got::Bool(false));
    rig.reads(3, &Got::U64(1));
    rig.more(1, 3);
    rig.until("five notifications", |seen| seen.count("bacnet.notifications") >= 5);
    let asked = device.requests().unwrap();
    assert_eq!(asked.iter().filter(|request| request.service == "SubscribeCOVRequest").count(), 3);
    let reads = asked.iter().filter(|request| request.object_identifier.as_deref() == Some("analog-input,1"));
    assert_eq!(reads.count(), 0, "what is notified is not read");
    let diagnosis = rig.diagnosis();
    // bacpypes3 takes a subscription to a multi-state value and then fails at it.
    assert_eq!(diagnosis["subscriptions"]["subscribed"], 2, "{diagnosis}");
    assert_eq!(diagnosis["subscriptions"]["polled"], 1, "{diagnosis}");
    assert!(diagnosis["subscriptions"]["made_after_takeover_ms"].is_u64(), "{diagnosis}");
}

#[test]
fn notifications_may_be_confirmed() {
    let tick = Some(Duration::from_millis(200));
    let device = Bacpypes::start(&BacpypesOptions { tick, ..BacpypesOptions::default() }).unwrap();
    let items = [item(1, json!({"address": "1002/ai:1"}))];
    let rig = Rig::active(device.address(), &json!({"cov_confirmed": true}), &items);
    rig.more(1, 3);
    assert_eq!(rig.seen(|seen| seen.count("bacnet.notifications_unasked")), 0);
}

#[test]
fn a_device_without_subscriptions_is_polled() {
    let options = BacpypesOptions {
        takes_cov: false,
        tick: Some(Duration::from_millis(100)),
        ..BacpypesOptions::default()
    };
    let device = Bacpypes::start(&options).unwrap();
    let items = [item(1, json!({"address": "1002/ai:1"})), item(2, json!({"address": "1002/av:1"}))];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(2, &Got::F64(5.0));
    rig.more(1, 3);
    let diagnosis = rig.diagnosis();
    assert_eq!(diagnosis["subscriptions"]["polled"], 2, "{diagnosis}");
    assert_ne!(diagnosis["subscriptions"]["refusals"], json!([]), "{diagnosis}");
}

#[test]
fn seven_hundred_objects_are_polled_with_few_requests_and_their_list_comes_whole() {
    let device = Bacpypes::start(&BacpypesOptions { objects: 696, ..BacpypesOptions::default() }).unwrap();
    let mut items: Vec<_> = (0..696)
        .map(|n| {
            item(n + 1, json!({"address": format!("1002/av:{}", 100 + n), "mode": "poll", "poll": "1h"}))
        })
        .collect();
    items.push(item(5000, json!({"address": "1002/device:1002/object-list", "poll": "1h"})));
    items.push(item(5001, json!({"address": "1002/device:1002/object-list[0]", "poll": "1h"})));
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(0.0));
    rig.reads(696, &Got::F64(695.0));
    let Got::U64(length) = rig.wait("the length", |seen| seen.good(5001).cloned()) else { panic!() };
    let Got::Json(list) = rig.wait("the list", |seen| seen.good(5000).cloned()) else { panic!() };
    let list: Vec<String> = serde_json::from_str(&list).unwrap();
    assert_eq!((list.len() as u64, length), (702, 702), "device, network port and four more beside the 696");
    let requests = device.requests().unwrap();
    let reads = requests.iter().filter(|request| request.service.starts_with("ReadProperty"));
    assert!(reads.count() < 80, "{} requests", requests.len());
}

#[test]
fn a_property_that_does_not_exist_is_bad_and_the_others_are_good() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1", "mode": "poll"})),
        item(2, json!({"address": "1002/av:77", "mode": "poll"})),
        item(3, json!({"address": "1002/av:1/units", "mode": "poll"})),
        item(4, json!({"address": "1002/av:1/object-name"})),
        item(5, json!({"address": "1002/av:1/priority-array[8]"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    rig.reads(3, &Got::U64(62));
    rig.reads(4, &Got::Str("setpoint".to_owned()));
    rig.reads(5, &Got::Null);
    rig.until("the missing object to be bad", |seen| seen.status(2).is_some_and(|status| status != 0));
}

#[test]
fn a_device_that_goes_and_comes_is_subscribed_to_again() {
    let mut device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1"})),
        item(2, json!({"address": "1002/device:1002/system-status"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    rig.reads(2, &Got::U64(0));
    device.kill().unwrap();
    rig.until("the items to be bad", |seen| {
        [1, 2].iter().all(|item| seen.status(*item).is_some_and(|s| s != 0))
    });
    rig.until("the interface to be at fault", |seen| seen.state() == Some(4));
    device.restart().unwrap();
    rig.reads(1, &Got::F64(5.0));
    rig.reads(2, &Got::U64(0));
    rig.until("the interface to be well", |seen| seen.state() == Some(2));
}

#[test]
fn a_priority_array_is_read_whole_and_a_change_of_one_property_is_asked_for() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1/priority-array"})),
        item(2, json!({"address": "1002/ai:1", "cov_increment": "0.5"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    let Got::Json(slots) = rig.wait("the array", |seen| seen.good(1).cloned()) else { panic!() };
    assert_eq!(slots, serde_json::to_string(&[(); 16]).unwrap());
    // By notification or, since bacpypes3 knows no subscription to a property, by polling.
    rig.reads(2, &Got::F64(20.0));
    let asked = device.requests().unwrap();
    assert!(asked.iter().any(|request| request.service == "SubscribeCOVPropertyRequest"), "{asked:?}");
}

#[test]
fn a_device_that_comes_later_is_asked_what_it_takes() {
    let mut device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    device.kill().unwrap();
    let items = [item(1, json!({"address": "1002/av:1"}))];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.until("the interface to be at fault", |seen| seen.state() == Some(4));
    device.restart().unwrap();
    rig.reads(1, &Got::F64(5.0));
    let diagnosis = rig.diagnosis();
    assert_eq!(diagnosis["devices"]["1002"]["max_apdu"], 1024, "{diagnosis}");
    assert_eq!(diagnosis["subscriptions"]["subscribed"], 1, "{diagnosis}");
}
