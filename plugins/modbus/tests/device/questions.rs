//! Questions: what a device has, and how the interface is.

use std::time::Duration;

use serde_json::{Value as Json, json};
use twinhub_contract::code;
use twinhub_loader::Role;
use twinhub_peers::{Device, DeviceOptions, Quirks, WRITE_FUNCTIONS};

use crate::interop::Pymodbus;
use crate::rig::{Got, Rig, item};

fn names(page: &Json) -> Vec<&str> {
    page["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect()
}

/// All pages below a node.
fn all(rig: &Rig, parent: &Json, limit: u32) -> Vec<Json> {
    let (mut cursor, mut nodes) = (String::new(), Vec::new());
    loop {
        let page = rig.browse(parent, &cursor, limit).unwrap();
        nodes.extend(page["nodes"].as_array().unwrap().iter().cloned());
        assert!(page["nodes"].as_array().unwrap().len() <= limit as usize);
        match page["cursor"].as_str() {
            // The rest of a table is empty, and long.
            Some(next) if next.parse::<u32>().unwrap() < 1_000 => next.clone_into(&mut cursor),
            _ => return nodes,
        }
    }
}

#[test]
fn what_pymodbus_has_is_found_table_by_table() {
    let device = Pymodbus::start();
    let rig =
        Rig::active(device.address, &json!({}), &[item(1, json!({"address": "hr:0", "type": "int16"}))]);
    rig.reads(1, &Got::I64(-1234));
    let top = rig.browse(&Json::Null, "", 100).unwrap();
    assert_eq!(names(&top), ["unit 1"]);
    let unit = rig.browse(&top["nodes"][0]["parent"], "", 100).unwrap();
    assert_eq!(names(&unit), ["co", "di", "ir", "hr"]);
    let registers = all(&rig, &unit["nodes"][2]["parent"], 60);
    let rows: Vec<&Json> = registers.iter().filter(|node| node["row"].is_object()).collect();
    assert_eq!(rows.len(), 100);
    assert_eq!(
        rows[99],
        &json!({
            "name": "ir99", "description": "4711",
            "row": {"path": "ir99", "address": "ir:99", "type": "uint16", "access": "r"},
        })
    );
    // The rows are items.
    let found: Vec<(u32, Json)> =
        rows.iter().zip(10..).map(|(node, handle)| item(handle, node["row"].clone())).collect();
    rig.items(&found).unwrap();
    rig.reads(109, &Got::U64(4711));
    let bits = all(&rig, &json!("1/di"), 1000);
    assert_eq!(bits.iter().filter(|node| node["description"] == "true").count(), 64);
}

/// Polls go on in their rhythm, and nothing is written.
#[test]
fn looking_disturbs_no_poll_and_writes_nothing() {
    let quirks = Quirks { delay: Duration::from_millis(5), ..Quirks::default() };
    let device = Device::start(DeviceOptions { quirks, ..DeviceOptions::default() }).unwrap();
    let rig =
        Rig::active(device.address(), &json!({"poll": "100ms"}), &[item(1, json!({"address": "hr:1"}))]);
    rig.more(1, 3);
    let page = rig.browse(&json!("1/hr"), "", 500).unwrap();
    assert_eq!(page["nodes"].as_array().unwrap().len(), 500);
    let all = device.log().requests();
    assert!(all.iter().all(|request| !WRITE_FUNCTIONS.contains(&request.function)), "it wrote");
    assert_eq!(rig.seen(|seen| seen.count("modbus.polls_missed")), 0);
    assert_eq!(rig.seen(|seen| seen.count("modbus.connections")), 1, "no second connection");
    // Where polls leave no time, they go first: a short pause is too short, and with four blocks there is none.
    let far = |number: u32| item(number, json!({"address": format!("hr:{}", number * 50)}));
    let items = [far(1), far(2), far(3), far(4)];
    for items in [&items[..1], &items[..]] {
        let busy = Rig::active(device.address(), &json!({"poll": "10ms"}), items);
        busy.more(1, 10);
        let refusal = busy.browse(&json!("1/hr"), "", 10).unwrap_err();
        assert!(refusal.contains("polling leaves no time"), "{refusal}");
    }
}

#[test]
fn units_are_sought_only_where_nothing_is_polled() {
    let device = Device::start(DeviceOptions { unit: 3, ..DeviceOptions::default() }).unwrap();
    let rig = Rig::active(device.address(), &json!({}), &[]);
    let top = rig.browse(&Json::Null, "", 100).unwrap();
    assert_eq!(names(&top), ["unit 1", "other units"]);
    let found = rig.browse(&top["nodes"][1]["parent"], "", 100).unwrap();
    assert_eq!(names(&found), ["unit 3"]);
    rig.items(&[item(1, json!({"address": "3/hr:1"}))]).unwrap();
    rig.reads(1, &Got::U64(0));
    assert_eq!(names(&rig.browse(&Json::Null, "", 100).unwrap()), ["unit 1", "unit 3"]);
    let refusal = rig.browse(&json!("units"), "", 100).unwrap_err();
    assert!(refusal.contains("an interface of its own"), "{refusal}");
}

#[test]
fn a_standby_that_does_not_read_does_not_look() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let rig = Rig::new(device.address(), &json!({}), &[item(1, json!({"address": "hr:1"}))]);
    for role in [Role::Cold, Role::Warm] {
        rig.role(role);
        let refusal = rig.browse(&json!(1), "", 10).unwrap_err();
        assert!(refusal.starts_with(&code::NOT_ACTIVE.to_string()), "{refusal}");
        assert_eq!(names(&rig.browse(&Json::Null, "", 10).unwrap()), ["unit 1"], "that needs no request");
    }
    assert_eq!(device.log().count(), 0);
    rig.role(Role::Hot);
    assert_eq!(names(&rig.browse(&json!(1), "", 10).unwrap()).len(), 4);
    // Nobody is left without an answer when the role goes.
    device.set_quirks(Quirks { delay: Duration::from_millis(200), ..Quirks::default() });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| rig.browse(&json!("1/hr"), "", 1000));
        let before = device.log().count();
        twinhub_peers::wait_until("a read", Duration::from_secs(10), || device.log().count() > before + 2)
            .unwrap();
        rig.role(Role::Warm);
        let refusal = asked.join().unwrap().unwrap_err();
        assert!(refusal.contains("does not read the device"), "{refusal}");
    });
}

#[test]
fn a_silent_or_odd_device_is_named_and_a_diagnosis_tells_of_it() {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let settings = json!({"timeout": "100ms", "retry_refused": "60s"});
    let items = [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "hr:60000"}))];
    let rig = Rig::active(device.address(), &settings, &items);
    rig.reads(1, &Got::U64(0));
    rig.until("address refused", |seen| seen.status(2).is_some());
    let diagnosis = rig.diagnosis();
    assert_eq!((&diagnosis["role"], &diagnosis["is_connected"]), (&json!("active"), &json!(true)));
    assert_eq!(diagnosis["units"]["1"]["exceptions"]["2"], 1, "{diagnosis:#}");
    assert_eq!(diagnosis["polls"][0]["items_refused"], 1);
    device.set_quirks(Quirks { mute: true, ..Quirks::default() });
    rig.until("a time-out", |seen| seen.state() == Some(4));
    let refusal = rig.browse(&json!("1/hr"), "", 10).unwrap_err();
    assert!(refusal.contains("unit 1 does not answer at present"), "{refusal}");
    let diagnosis = rig.diagnosis();
    assert!(
        diagnosis["units"]["1"]["trouble"].as_str().unwrap().contains("no answer within"),
        "{diagnosis:#}"
    );
    assert!(diagnosis["units"]["1"]["timeouts"].as_u64().unwrap() > 0);
    drop(device);
    rig.until("no connection", |seen| seen.states.last().is_some_and(|(_, cause)| cause.contains("refused")));
    // Between two attempts, or by the next one.
    let refusal = rig.browse(&json!("1/hr"), "", 10).unwrap_err();
    assert!(refusal.contains("connect") || refusal.contains("does not answer at present"), "{refusal}");
    for wrong in [json!({"unit": 1}), json!("1/xx"), json!(300)] {
        assert!(rig.browse(&wrong, "", 10).unwrap_err().contains("a parent is a unit"));
    }
    assert!(rig.browse(&json!(1), "x", 10).unwrap_err().contains("the cursor"));
}
