//! What is on the wire in each role, and how roles change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::{flag, quality};
use twinhub_loader::{Role, StateStore, ValueRef};
use twinhub_peers::{Datagram, Knxd, KnxdOptions, UdpRelay, Xknx};

use crate::rig::{Got, Rig, boottime_ns, item};

/// Tunnelling requests of clients that carry `L_Data.req`.
fn requests(relay: &UdpRelay) -> Vec<Datagram> {
    let is_request = |datagram: &Datagram| {
        datagram.is_from_client
            && datagram.bytes.get(2..4) == Some(&[4, 0x20])
            && datagram.bytes.get(10) == Some(&0x11)
    };
    relay.log().into_iter().filter(is_request).collect()
}

fn bus() -> (Knxd, UdpRelay, serde_json::Value) {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    let relay = UdpRelay::start(gateway.address()).unwrap();
    let settings = json!({ "gateway": relay.address().to_string(), "nat": true });
    (gateway, relay, settings)
}

fn items() -> [(u32, serde_json::Value); 2] {
    [
        item(
            1,
            json!({"address": "1/2/1", "dpt": "9.001", "access": "rw", "read_on_init": "true", "answer_reads": "true"}),
        ),
        item(2, json!({"address": "1/2/2", "dpt": "7.001", "poll": "1s"})),
    ]
}

#[test]
fn a_hot_standby_hears_everything_and_never_asks_the_bus_for_anything() {
    let (gateway, relay, settings) = bus();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::new(&settings, &items());
    rig.become_hot();
    device.write("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    rig.reads(1, &Got::F64(21.0));
    assert!(rig.seen(|seen| seen.last[&1].flags) & flag::STANDBY != 0, "marked as of a standby");
    // A read that the active node would answer, its own first read and its cycle, and a write that comes too late.
    device.read("1/2/1").unwrap();
    let _refused = rig.try_write(&[(1, ValueRef::F64(1.0))]);
    device.burst("1/2/2", 100).unwrap();
    rig.until("the burst", |seen| seen.good(2) == Some(&Got::I64(99)));
    rig.until("heartbeats", |_| {
        let beats = |datagram: &&Datagram| datagram.bytes.get(2..4) == Some(&[2, 7]);
        relay.log().iter().filter(beats).count() >= 3
    });
    assert_eq!(requests(&relay), [], "a muted node asked the bus");
    assert_eq!(device.heard(), []);
    assert_eq!(rig.values(2), (0..100).map(Got::I64).collect::<Vec<_>>());
}

#[test]
fn a_hot_successor_reads_nothing_and_loses_and_doubles_no_telegram() {
    let (gateway, relay, settings) = bus();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.answer("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    let store: Arc<StateStore> = Arc::default();
    let direct = json!({ "gateway": gateway.address().to_string() });
    let items = [items()[0].clone(), item(2, json!({"address": "1/2/2", "dpt": "7.001"}))];
    let backup = Rig::sharing(&store, &settings, &items);
    backup.become_hot();
    let main = Rig::sharing(&store, &direct, &items);
    main.become_active();
    main.reads(1, &Got::F64(21.0));
    device.burst("1/2/2", 100).unwrap();
    main.until("half of the burst", |seen| seen.updates.len() > 50);
    main.role(Role::Hot);
    backup.become_active();
    backup.until("all of the burst", |seen| seen.good(2) == Some(&Got::I64(99)));
    assert_eq!(backup.values(2), (0..100).map(Got::I64).collect::<Vec<_>>());
    assert_eq!(requests(&relay), [], "a hot successor knows what the bus said");
    assert_eq!(backup.written(&[(1, ValueRef::F64(1.0))]), [code::OK]);
    assert_eq!(requests(&relay).len(), 1);
    device.hears("1/2/1", "write", 1).unwrap();
    // What the active node writes, the other one hears.
    main.reads(1, &Got::F64(1.0));
}

/// A node that starts is hot for a moment before it acts: nobody has read the bus for it.
#[test]
fn a_node_that_starts_reads_although_it_was_hot_and_the_site_had_read_before_it_was_stopped() {
    let (gateway, relay, settings) = bus();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.answer("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    let store: Arc<StateStore> = Arc::default();
    for reads in 1..=2 {
        let rig = Rig::sharing(&store, &settings, &items()[..1]);
        rig.become_hot();
        assert_eq!(requests(&relay).len(), reads - 1);
        rig.become_active();
        rig.reads(1, &Got::F64(21.0));
        rig.until_said("the first reads end", |diagnosis| diagnosis["reads"]["answered"] == 1);
        assert_eq!(requests(&relay).len(), reads);
    }
}

#[test]
fn a_hot_successor_goes_on_where_the_first_reads_of_the_node_before_ended() {
    let (gateway, relay, settings) = bus();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.answer("1/3/0", &json!([0x0c, 0x1a])).unwrap();
    let rows: Vec<_> = (0..8u32)
        .map(|number| {
            let address = format!("1/3/{number}");
            item(number, json!({"address": address, "dpt": "9.001", "read_on_init": "true"}))
        })
        .collect();
    let store: Arc<StateStore> = Arc::default();
    let backup = Rig::sharing(&store, &settings, &rows);
    backup.become_hot();
    let slow = json!({ "gateway": gateway.address().to_string(), "read_rate": 1 });
    let main = Rig::sharing(&store, &slow, &rows);
    main.become_active();
    backup.reads(0, &Got::F64(21.0));
    main.role(Role::Hot);
    backup.become_active();
    backup.until("the others are read", |_| requests(&relay).len() >= 7);
    backup.until("and bad", |seen| (1..8).all(|item| seen.status(item) == Some(quality::BAD_TIMEOUT)));
    assert_eq!(requests(&relay).len(), 7, "what was heard is not read again");
}

#[test]
fn a_cold_standby_has_no_tunnel_and_leaves_with_a_good_bye() {
    let (_gateway, relay, settings) = bus();
    let rig = Rig::new(&settings, &items());
    rig.role(Role::Cold);
    rig.until("suppressed", |_| true);
    assert_eq!(relay.log(), []);
    rig.become_active();
    rig.role(Role::Cold);
    rig.until("suppressed", |seen| seen.state() == Some(5));
    let log = relay.log();
    let is_of =
        |service: [u8; 2]| log.iter().filter(|datagram| datagram.bytes.get(2..4) == Some(&service)).count();
    assert_eq!((is_of([2, 9]), is_of([2, 10])), (1, 1), "a request to disconnect, and its answer");
    let before = relay.log().len();
    // Another node takes the slot, and nothing more comes from this one.
    let other = Rig::active(&settings, &items());
    let first: std::net::SocketAddr = log[0].client;
    assert!(relay.log()[before..].iter().all(|datagram| datagram.client != first));
    drop(other);
}

#[test]
fn a_node_whose_lease_has_ended_sends_nothing_and_does_not_connect() {
    let (gateway, relay, settings) = bus();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(&settings, &[item(1, json!({"address": "1/2/1", "dpt": "1.001", "access": "rw"}))]);
    rig.set_lease_end(boottime_ns());
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::NOT_ACTIVE]);
    assert_eq!(requests(&relay), []);
    let mut gateway = gateway;
    gateway.restart().unwrap();
    rig.until("the loss", |seen| seen.state() == Some(4));
    let connects = || relay.log().iter().filter(|datagram| datagram.bytes.get(2..4) == Some(&[2, 5])).count();
    let before = connects();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(connects(), before, "it would take the slot of its successor");
    rig.set_lease_end(i64::MAX);
    rig.connects();
    assert_eq!(rig.written(&[(1, ValueRef::Bool(true))]), [code::OK]);
    assert_eq!(device.heard(), []);
}

#[test]
fn a_telegram_under_way_when_the_role_is_lost_is_confirmed_or_in_doubt_and_what_waits_is_not_sent() {
    let (gateway, relay, settings) = bus();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(&settings, &[item(1, json!({"address": "1/2/1", "dpt": "7.001", "access": "w"}))]);
    // No confirmation comes any more.
    relay.drop_if(|datagram| !datagram.is_from_client && datagram.bytes.get(10) == Some(&0x2e));
    let ids = rig.write(&[(1, ValueRef::U64(1)), (1, ValueRef::U64(2))]);
    device.hears("1/2/1", "write", 1).unwrap();
    rig.role_within(Role::Hot, Duration::from_secs(1)).unwrap();
    assert_eq!(rig.results(&ids), [code::TIMEOUT, code::NOT_ACTIVE]);
    assert_eq!(device.values("1/2/1", "write").len(), 1);
}

#[test]
fn a_cold_successor_answers_reads_with_what_the_node_before_wrote() {
    let (gateway, _relay, settings) = bus();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let store: Arc<StateStore> = Arc::default();
    let main = Rig::sharing(&store, &settings, &items());
    main.become_active();
    assert_eq!(main.written(&[(1, ValueRef::F64(21.0))]), [code::OK]);
    main.role(Role::Cold);
    let backup = Rig::sharing(&store, &settings, &items());
    backup.become_active();
    device.read("1/2/1").unwrap();
    device.hears("1/2/1", "response", 1).unwrap();
    assert_eq!(device.values("1/2/1", "response"), [json!([0x0c, 0x1a])]);
}
