//! Questions: which devices, which objects.

use serde_json::{Value as Json, json};
use twinhub_loader::Role;
use twinhub_peers::{Bacpypes, BacpypesOptions};

use crate::rig::{Got, Rig, item};

#[test]
fn the_objects_of_a_device_are_listed_with_names_and_units_page_by_page() {
    let device = Bacpypes::start(&BacpypesOptions { objects: 250, ..BacpypesOptions::default() }).unwrap();
    let items = [item(1, json!({"address": "1002/av:1"}))];
    let rig = Rig::active(device.address(), &json!({}), &items);
    rig.reads(1, &Got::F64(5.0));
    let devices = rig.browse(&Json::Null, "", 100).unwrap();
    assert_eq!(devices["nodes"][0]["name"], "1002", "{devices}");
    let parent = &devices["nodes"][0]["parent"];
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rig.browse(parent, &cursor, 100).unwrap();
        names.extend(page["nodes"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(names.len(), 256, "device, network port and four more beside the 250");
    let setpoint = names.iter().find(|node| node["name"] == "setpoint").unwrap();
    assert_eq!(setpoint["row"], json!({"address": "1002/analog-value:1", "unit": "degrees-celsius"}));
    let pump = names.iter().find(|node| node["name"] == "pump").unwrap();
    assert_eq!(pump["row"]["type"], "bool");
    rig.role(Role::Warm);
    assert!(rig.browse(&Json::Null, "", 100).is_err(), "a standby does not ask");
}
