//! What people can ask.

use serde_json::{Value as Json, json};
use twinhub_contract::code;
use twinhub_contract::constants::inquiry;
use twinhub_loader::{Role, ValueRef};
use twinhub_peers::{Knxd, KnxdOptions, Xknx};

use crate::rig::{Got, Rig, item};

fn row<'a>(page: &'a Json, name: &str) -> &'a Json {
    page["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap()
}

#[test]
fn groups_that_were_seen_are_rows_of_an_items_file_and_guesses_are_marked() {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[item(1, json!({"address": "1/2/1", "dpt": "9.001", "access": "rw"}))],
    );
    let top = rig.browse(&Json::Null, "", 100).unwrap();
    assert_eq!(row(&top, "groups")["parent"], "groups");
    device.write("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    device.write("1/2/2", &json!(1)).unwrap();
    device.write("1/2/3", &json!([1, 2])).unwrap();
    device.write("1/2/3", &json!([1, 3])).unwrap();
    rig.until_said("all of it", |diagnosis| diagnosis["telegrams"]["received"] == 4);
    let page = rig.browse(&json!("groups"), "", 100).unwrap();
    let known = row(&page, "1/2/1");
    assert_eq!(known["row"], json!({"address": "1/2/1", "path": "item1", "dpt": "9.001", "unit": "°C"}));
    let said = known["description"].as_str().unwrap();
    assert!(said.starts_with(&format!("21 from {}", device.address())) && !said.contains("guess"), "{said}");
    let guessed = row(&page, "1/2/3");
    assert_eq!(guessed["row"]["dpt"], "9");
    let said = guessed["description"].as_str().unwrap();
    assert!(said.contains("0x0103") && said.contains("2 times") && said.contains("guess"), "{said}");
    assert_eq!(row(&page, "1/2/2")["row"]["dpt"], "1.001");
    // Page by page.
    let first = rig.browse(&json!("groups"), "", 2).unwrap();
    let next = rig.browse(&json!("groups"), first["cursor"].as_str().unwrap(), 2).unwrap();
    assert_eq!(next["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(next["nodes"][0]["name"], "1/2/3");
    assert!(rig.browse(&json!("devices"), "", 2).unwrap_err().contains("groups"));
    assert!(rig.browse(&json!("groups"), "x", 2).is_err());
}

#[test]
fn the_bus_monitor_goes_on_behind_its_cursor() {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[item(1, json!({"address": "1/2/1", "dpt": "9.001", "access": "rw"}))],
    );
    device.write("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    rig.reads(1, &Got::F64(21.0));
    let page = rig.browse(&json!("telegrams"), "", 100).unwrap();
    let heard = &page["nodes"][0]["row"];
    assert_eq!(heard["source"], device.address());
    assert_eq!(
        (&heard["destination"], &heard["service"], &heard["value"], &heard["payload"], &heard["direction"]),
        (&json!("1/2/1"), &json!("write"), &json!("21"), &json!("0x0c1a"), &json!("heard"))
    );
    assert_eq!((&heard["path"], &heard["dpt"]), (&json!("item1"), &json!("9.001")));
    let said = page["nodes"][0]["description"].as_str().unwrap();
    assert!(said.ends_with(&format!("Z {} to 1/2/1: write 21", device.address())), "{said}");
    let cursor = page["cursor"].as_str().unwrap();
    assert_eq!(rig.browse(&json!("telegrams"), cursor, 100).unwrap()["nodes"], json!([]));
    assert_eq!(rig.written(&[(1, ValueRef::F64(1.0))]), [code::OK]);
    let page = rig.browse(&json!("telegrams"), cursor, 100).unwrap();
    let own = &page["nodes"][0]["row"];
    assert_eq!((&own["direction"], &own["value"]), (&json!("sent"), &json!("1")));
    let diagnosis = rig.diagnosis();
    assert_eq!(own["source"], diagnosis["connection"]["individual_address"]);
    assert_eq!(
        (&diagnosis["telegrams"]["sent"], &diagnosis["telegrams"]["received"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(diagnosis["queue"]["limit"], 500);
}

#[test]
fn whoever_puts_the_interface_into_service_is_answered() {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[item(1, json!({"address": "1/2/1", "dpt": "9.001", "access": "rw"}))],
    );
    let tested = rig.inquire(inquiry::TEST, &json!({})).unwrap();
    let steps = tested["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["name"], &steps[0]["outcome"]), (&json!("tunnel"), &json!("ok")), "{tested:#}");
    assert_eq!(steps[1]["outcome"], "ok", "{tested:#}");
    assert!(steps[1]["detail"].as_str().unwrap().contains("tunnelling"), "{tested:#}");

    device.write("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    rig.reads(1, &Got::F64(21.0));
    let seen = rig.inquire(inquiry::MONITOR, &json!({ "limit": 10 })).unwrap();
    let heard = &seen["messages"][0];
    assert_eq!(
        (&heard["direction"], &heard["from"], &heard["to"], &heard["name"], &heard["kind"]),
        (&json!("in"), &json!(device.address()), &json!("1/2/1"), &json!("item1"), &json!("write")),
        "{seen:#}"
    );
    assert_eq!((&heard["value"], &heard["raw"]), (&json!("21 \u{b0}C"), &json!("0c1a")), "{seen:#}");
    let after = json!({ "after": seen["last"] });
    assert_eq!(rig.inquire(inquiry::MONITOR, &after).unwrap()["messages"], json!([]));
    assert_eq!(rig.written(&[(1, ValueRef::F64(1.0))]), [code::OK]);
    let own = &rig.inquire(inquiry::MONITOR, &after).unwrap()["messages"][0];
    assert_eq!((&own["direction"], &own["value"]), (&json!("out"), &json!("1 \u{b0}C")));

    drop(gateway);
    rig.until_said("the gateway is gone", |diagnosis| diagnosis["connection"]["is_connected"] == false);
    let tested = rig.inquire(inquiry::TEST, &json!({})).unwrap();
    let outcomes: Vec<_> = tested["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed"], "{tested:#}");
    rig.role(Role::Cold);
    assert!(rig.inquire(inquiry::TEST, &json!({})).is_err(), "a cold node asks nobody");
}
