//! Gateways come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::quality;
use twinhub_loader::{Role, StateStore, ValueRef};
use twinhub_peers::{Knxd, KnxdOptions, UdpRelay, Xknx};

use crate::rig::{Got, Rig, item};

fn light() -> [(u32, serde_json::Value); 1] {
    [item(1, json!({"address": "1/2/1", "dpt": "1.001", "access": "rw"}))]
}

#[test]
fn a_gateway_that_was_restarted_is_back_within_ten_seconds() {
    let mut gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let rig = Rig::active(&json!({ "gateway": gateway.address().to_string(), "heartbeat": "5s" }), &light());
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
    rig.reads(1, &Got::Bool(true));
    let begun = Instant::now();
    gateway.restart().unwrap();
    rig.until("the last value is uncertain", |seen| seen.status(1) == Some(quality::UNCERTAIN_LAST_USABLE));
    rig.connects();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.write("1/2/1", &json!(0)).unwrap();
    rig.reads(1, &Got::Bool(false));
    assert_eq!(rig.diagnosis()["connection"]["connections"], 2);
}

#[test]
fn a_write_waits_for_a_connection_and_not_for_ever() {
    let mut gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    gateway.kill().unwrap();
    let address = gateway.address().to_string();
    let rig =
        Rig::new(&json!({ "gateway": address, "connect_timeout": "200ms", "write_wait": "300ms" }), &light());
    rig.role(Role::Active);
    let begun = Instant::now();
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::DEVICE]);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    drop(rig);
    let rig =
        Rig::new(&json!({ "gateway": address, "connect_timeout": "200ms", "write_wait": "20s" }), &light());
    rig.role(Role::Active);
    let ids = rig.write(&[(1, ValueRef::Bool(true))]);
    gateway.restart().unwrap();
    assert_eq!(rig.results(&ids), [code::OK]);
}

#[test]
fn the_next_gateway_takes_over_when_the_first_is_away() {
    let mut first = Knxd::start(&KnxdOptions::default()).unwrap();
    let second = Knxd::start(&KnxdOptions { device: 100, ..KnxdOptions::default() }).unwrap();
    let device = Xknx::tunnel(second.address()).unwrap();
    let settings = json!({
        "gateway": first.address().to_string(), "fallback": [second.address().to_string()], "connect_timeout": "300ms",
    });
    let rig = Rig::active(&settings, &light());
    assert_eq!(rig.diagnosis()["connection"]["to"], first.address().to_string());
    first.kill().unwrap();
    rig.until_said("the second gateway", |diagnosis| {
        let connection = &diagnosis["connection"];
        connection["to"] == second.address().to_string() && connection["is_connected"] == true
    });
    rig.connects();
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
    device.hears("1/2/1", "write", 1).unwrap();
    assert!(rig.diagnosis()["connection"]["individual_address"].as_str().unwrap().starts_with("1.1.10"));
}

#[test]
fn a_gateway_without_a_free_slot_is_told_as_such() {
    let gateway = Knxd::start(&KnxdOptions { slots: 1, ..KnxdOptions::default() }).unwrap();
    let settings = json!({ "gateway": gateway.address().to_string() });
    let first = Rig::active(&settings, &light());
    let second = Rig::new(&settings, &light());
    second.role(Role::Hot);
    second.until("a fault that says why", |seen| {
        seen.states.last().is_some_and(|(state, cause)| *state == 4 && cause.contains("all slots are taken"))
    });
    // An orderly good-bye frees the slot at once.
    first.role(Role::Cold);
    second.connects();
}

#[test]
fn a_successor_frees_the_slot_of_the_node_that_died() {
    let gateway = Knxd::start(&KnxdOptions { slots: 1, ..KnxdOptions::default() }).unwrap();
    let relay = UdpRelay::start(gateway.address()).unwrap();
    let store: Arc<StateStore> = Arc::default();
    let settings = json!({ "gateway": relay.address().to_string(), "nat": true, "reclaim_slot": true });
    let main = Rig::sharing(&store, &settings, &light());
    main.become_active();
    // Dead as far as the gateway can tell.
    let dead: std::net::SocketAddr = relay.log()[0].client;
    relay.drop_if(move |datagram| datagram.client == dead);
    let mine = json!({ "gateway": relay.address().to_string(), "nat": true, "connect_timeout": "300ms" });
    let backup = Rig::sharing(&store, &mine, &light());
    backup.role(Role::Active);
    backup
        .until("no slot", |seen| seen.states.iter().any(|(_, cause)| cause.contains("all slots are taken")));
    drop(backup);
    let backup = Rig::sharing(&store, &settings, &light());
    let begun = Instant::now();
    backup.become_active();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(backup.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
    let reclaimed = &backup.diagnosis()["connection"]["reclaimed"];
    assert_eq!(reclaimed["answer"], "no error (0x00)", "{reclaimed}");
    main.lose();
}

#[test]
fn a_silent_gateway_is_given_up_after_three_heartbeats() {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let relay = UdpRelay::start(gateway.address()).unwrap();
    let rig = Rig::active(&json!({ "gateway": relay.address().to_string(), "nat": true }), &light());
    relay.cut(true);
    let begun = Instant::now();
    rig.until("a fault", |seen| {
        seen.states.last().is_some_and(|(state, cause)| *state == 4 && cause.contains("heartbeats failed"))
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    relay.cut(false);
    rig.connects();
}
