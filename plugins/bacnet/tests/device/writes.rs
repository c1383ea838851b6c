//! Writes: by priority, relinquished, refused, in doubt, in their order.

use serde_json::json;
use twinhub_loader::ValueRef;
use twinhub_peers::{Bacpypes, BacpypesOptions};

use crate::rig::{Got, Rig, item};

#[test]
fn a_command_takes_its_priority_and_gives_it_back() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "10"})),
        item(2, json!({"address": "1002/av:1", "access": "rw", "priority": "8"})),
        item(3, json!({"address": "1002/av:1/priority-array[8]"})),
        item(4, json!({"address": "1002/av:1/priority-array[10]"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    assert_eq!(rig.written(&[(1, ValueRef::F64(20.0))]), [0]);
    rig.reads(1, &Got::F64(20.0));
    assert_eq!(rig.written(&[(2, ValueRef::F64(18.0))]), [0]);
    rig.reads(1, &Got::F64(18.0));
    rig.reads(3, &Got::F64(18.0));
    rig.reads(4, &Got::F64(20.0));
    let commands = |rig: &Rig| rig.diagnosis()["commands"].clone();
    assert_eq!(commands(&rig), json!(["1002/analog-value:1@8", "1002/analog-value:1@10"]));
    assert_eq!(rig.written(&[(2, ValueRef::Null)]), [0]);
    rig.reads(1, &Got::F64(20.0));
    rig.reads(3, &Got::Null);
    assert_eq!(rig.written(&[(1, ValueRef::Null)]), [0]);
    rig.reads(1, &Got::F64(5.0));
    assert_eq!(commands(&rig), json!([]));
}

#[test]
fn writes_to_one_place_keep_their_order() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"}))];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    let values: Vec<(u32, ValueRef<'_>)> = (0..50).map(|n| (1, ValueRef::F64(f64::from(n)))).collect();
    assert_eq!(rig.written(&values), vec![0; 50]);
    rig.reads(1, &Got::F64(49.0));
}

#[test]
fn bool_and_whole_numbers_are_written_as_the_object_has_them() {
    let device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/bo:1", "access": "rw", "priority": "8"})),
        item(2, json!({"address": "1002/mv:1", "access": "rw"})),
        item(3, json!({"address": "1002/av:1/description", "access": "rw"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::Bool(false));
    rig.reads(2, &Got::U64(1));
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true)), (2, ValueRef::U64(3))]), [0, 0]);
    rig.reads(1, &Got::Bool(true));
    rig.reads(2, &Got::U64(3));
    let invalid = rig.written(&[(2, ValueRef::F64(-1.0)), (1, ValueRef::Str("on"))]);
    assert!(invalid.iter().all(|code| *code != 0), "{invalid:?}");
}

#[test]
fn what_the_device_refuses_and_what_is_not_there_is_told_apart_from_what_is_in_doubt() {
    use twinhub_contract::code;
    let mut device = Bacpypes::start(&BacpypesOptions::default()).unwrap();
    let items = [
        item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"})),
        item(2, json!({"address": "1002/av:77", "access": "w"})),
    ];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    assert_eq!(rig.written(&[(2, ValueRef::F64(1.0))]), [code::DEVICE]);
    device.kill().unwrap();
    assert_eq!(rig.written(&[(1, ValueRef::F64(1.0))]), [code::TIMEOUT], "it may have arrived");
    assert_eq!(rig.written(&[(1, ValueRef::F64(2.0))]), [code::DEVICE], "nothing was sent");
}
