//! Devices that are looked for: by broadcast, and through a BBMD.
//!
//! The loopback interface has no broadcasts, and BACnet its own port, so these tests run in a network namespace. A machine
//! that gives none skips them and says so.

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::{Value as Json, json};
use twinhub_peers::{Bacpypes, BacpypesOptions};

use crate::rig::{Got, Rig, item};

const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

#[test]
fn a_device_is_found_by_who_is() {
    within_namespace("broadcast::a_device_is_found_by_who_is", || {
        let options = BacpypesOptions { subnet: Some((DEVICE, 24)), ..BacpypesOptions::default() };
        let device = Bacpypes::start(&options).unwrap();
        let settings = json!({"bind": "10.99.0.1:47808", "broadcast": "10.99.0.255:47808", "devices": {}});
        finds(&device, &settings);
    });
}

#[test]
fn a_device_is_found_through_a_bbmd() {
    within_namespace("broadcast::a_device_is_found_through_a_bbmd", || {
        let options =
            BacpypesOptions { subnet: Some((DEVICE, 24)), is_bbmd: true, ..BacpypesOptions::default() };
        let device = Bacpypes::start(&options).unwrap();
        // Broadcasts of its own would go where nobody is.
        let settings = json!({
            "bind": "10.99.0.1:47809", "broadcast": "10.99.0.1:9", "bbmd": "10.99.0.2:47808", "devices": {},
        });
        let rig = finds(&device, &settings);
        assert_eq!(rig.diagnosis()["bbmd"], "registered");
    });
}

fn finds(device: &Bacpypes, settings: &Json) -> Rig {
    let items = [item(1, json!({"address": "1002/av:1", "access": "rw", "priority": "8"}))];
    let rig = Rig::active(device.address(), settings, &items);
    rig.reads(1, &Got::F64(5.0));
    let diagnosis = rig.diagnosis();
    assert_eq!(diagnosis["devices"]["1002"]["peer"], "10.99.0.2:47808", "{diagnosis}");
    assert_eq!(diagnosis["devices"]["1002"]["max_apdu"], 1024, "as it said in its I-Am");
    assert_eq!(diagnosis["subscriptions"]["subscribed"], 1, "{diagnosis}");
    rig
}

/// Runs a test of this program once more in a network of its own.
#[expect(clippy::print_stdout, reason = "who runs the tests is to see what was not tried")]
fn within_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        for words in [
            "link set lo up",
            "link add field0 type veth peer name field1",
            "address add 10.99.0.1/24 broadcast 10.99.0.255 dev field0",
            "address add 10.99.0.2/24 broadcast 10.99.0.255 dev field0",
            "link set field1 up",
            "link set field0 up",
        ] {
            let status = Command::new("ip").args(words.split(' ')).status().unwrap();
            assert!(status.success(), "ip {words}");
        }
        return test();
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    let can =
        unshare().args(["ip", "link", "add", "field0", "type", "veth", "peer", "name", "field1"]).output();
    if let Some(why) = match can {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    } {
        println!("skipped: this machine gives no network namespace: {}", why.trim());
        return;
    }
    let program = std::env::current_exe().unwrap();
    let status =
        unshare().arg(program).args([name, "--exact", "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{name} failed in its namespace");
}

const INSIDE: &str = "TWINHUB_BACNET_NAMESPACE";
