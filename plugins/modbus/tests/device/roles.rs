//! Roles: what is on the wire in each, and how one is left.

use std::time::{Duration, Instant};

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::flag;
use twinhub_loader::{Role, ValueRef};
use twinhub_peers::{Device, DeviceOptions, Quirks, WRITE_FUNCTIONS, wait_until};

use crate::rig::{Got, Rig, boottime_ns, item};

const LIMIT: Duration = Duration::from_secs(20);

fn device() -> Device {
    Device::start(DeviceOptions::default()).unwrap()
}

fn items() -> [(u32, serde_json::Value); 2] {
    [item(1, json!({"address": "hr:1", "access": "rw"})), item(2, json!({"address": "co:2", "access": "rw"}))]
}

#[test]
fn a_cold_standby_holds_no_connection() {
    let device = device();
    let rig = Rig::new(device.address(), &json!({}), &items());
    rig.role(Role::Active);
    rig.reads(1, &Got::U64(0));
    rig.role(Role::Cold);
    wait_until("no session", LIMIT, || device.sessions() == 0).unwrap();
    rig.until("suppressed", |seen| seen.state() == Some(5));
    let requests = device.log().count();
    // Another node works for a while.
    let other = Rig::active(device.address(), &json!({}), &items());
    other.more(1, 20);
    let others = other.seen(|seen| seen.updates.len());
    assert!(others > 0);
    let peers: std::collections::BTreeSet<_> = device.log().requests()[usize::try_from(requests).unwrap()..]
        .iter()
        .map(|request| request.peer.clone())
        .collect();
    assert_eq!(peers.len(), 1);
}

#[test]
fn a_warm_standby_holds_a_connection_and_sends_nothing() {
    let device = device();
    let rig = Rig::new(device.address(), &json!({}), &items());
    rig.role(Role::Warm);
    rig.until("connected", |seen| seen.state() == Some(2));
    wait_until("a session", LIMIT, || device.sessions() == 1).unwrap();
    // It notices at once that the device has gone, and connects again.
    device.close_sessions();
    wait_until("a session", LIMIT, || device.sessions() == 1).unwrap();
    let other = Rig::active(device.address(), &json!({}), &items());
    other.more(1, 30);
    let peers: std::collections::BTreeSet<_> =
        device.log().requests().into_iter().map(|request| request.peer).collect();
    assert_eq!(peers.len(), 1, "the standby sent a request");
    // The takeover uses the connection that is there.
    let begun = Instant::now();
    rig.role(Role::Active);
    rig.reads(1, &Got::U64(0));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(device.sessions(), 2);
}

/// A standby that calls itself connecting for ever proves no health, and gets no role for it.
#[test]
fn a_warm_standby_whose_connection_stands_says_so_after_each_change_of_role() {
    let device = device();
    let rig = Rig::new(device.address(), &json!({}), &items());
    rig.role(Role::Warm);
    rig.until("connected", |seen| seen.state() == Some(2));
    for role in [Role::Warm, Role::Active, Role::Warm] {
        rig.role(role);
        rig.until("connected", |seen| seen.state() == Some(2));
    }
    assert_eq!(device.sessions(), 1);
}

#[test]
fn a_warm_standby_probes_only_if_that_is_configured() {
    let device = device();
    let settings = json!({"standby_probe": "1s", "standby_probe_register": "ir:7"});
    let rig = Rig::new(device.address(), &settings, &items());
    rig.role(Role::Warm);
    wait_until("two probes", LIMIT, || device.log().count() >= 2).unwrap();
    let is_probe = |request: &twinhub_peers::DeviceRequest| {
        (request.function, request.address, request.count) == (4, 7, 1)
    };
    assert!(device.log().requests().iter().all(is_probe));
    rig.until("path is good", |seen| seen.states.iter().any(|(_, cause)| cause.contains("answers")));
    device.set_quirks(Quirks { mute: true, ..Quirks::default() });
    rig.until("path is bad", |seen| seen.state() == Some(4));
}

#[test]
fn a_hot_standby_reads_with_the_flag_and_never_writes() {
    let device = device();
    let rig = Rig::new(device.address(), &json!({}), &items());
    rig.set_lease_end(0);
    rig.role(Role::Hot);
    rig.more(1, 5);
    assert!(rig.seen(|seen| seen.updates.iter().all(|update| update.flags & flag::STANDBY != 0)));
    assert_eq!(rig.try_write(&[(1, ValueRef::U64(1)), (2, ValueRef::Bool(true))]), Err(code::NOT_ACTIVE));
    rig.set_lease_end(i64::MAX);
    rig.role(Role::Active);
    rig.until("no flag", |seen| seen.updates.last().is_some_and(|update| update.flags & flag::STANDBY == 0));
    assert!(device.log().requests().iter().all(|request| !WRITE_FUNCTIONS.contains(&request.function)));
}

#[test]
fn nothing_is_sent_once_the_lease_has_ended() {
    let device = device();
    let rig = Rig::active(device.address(), &json!({}), &items());
    rig.more(1, 3);
    rig.set_lease_end(boottime_ns());
    // A request that was permitted before may still arrive.
    rig.until("suppressed polls", |seen| seen.count("suppressed.lease_ended") >= 3);
    let requests = device.log().count();
    assert_eq!(rig.written(&[(1, ValueRef::U64(9))]), [code::NOT_ACTIVE]);
    rig.until("more of them", |seen| seen.count("suppressed.lease_ended") >= 20);
    assert_eq!(device.log().count(), requests);
    assert_eq!(device.register(1), Some(0));
    rig.set_lease_end(i64::MAX);
    rig.more(1, 3);
}

#[test]
fn a_role_is_left_in_time_although_the_device_is_silent() {
    let device = device();
    let rig = Rig::active(device.address(), &json!({"timeout": "30s"}), &items());
    rig.reads(1, &Got::U64(0));
    device.set_quirks(Quirks { mute: true, ..Quirks::default() });
    let requests = device.log().count();
    wait_until("a request in flight", LIMIT, || device.log().count() > requests).unwrap();
    let begun = Instant::now();
    rig.role_within(Role::Cold, Duration::from_millis(500)).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500));
    wait_until("no session", LIMIT, || device.sessions() == 0).unwrap();
}

#[test]
fn a_write_in_flight_is_in_doubt_when_the_role_is_lost_and_a_waiting_one_is_not_sent() {
    let device = device();
    let rig = Rig::active(device.address(), &json!({"timeout": "30s", "poll": "off"}), &items());
    device.set_quirks(Quirks { mute: true, ..Quirks::default() });
    // The coil cannot share a request with the register.
    let ids = rig.write(&[(1, ValueRef::U64(1)), (2, ValueRef::Bool(true))]);
    wait_until("a write in flight", LIMIT, || device.log().count() == 1).unwrap();
    rig.role_within(Role::Warm, Duration::from_millis(500)).unwrap();
    assert_eq!(rig.results(&ids), [code::TIMEOUT, code::NOT_ACTIVE]);
    let sent: Vec<u8> = device.log().requests().iter().map(|request| request.function).collect();
    assert_eq!(sent, [6]);
}

#[test]
fn each_change_of_role_in_any_order_keeps_the_promise_of_the_role() {
    let device = device();
    let rig = Rig::new(device.address(), &json!({}), &items());
    let roles = [Role::Cold, Role::Warm, Role::Hot, Role::Active];
    for from in roles {
        for to in roles {
            rig.role(from);
            rig.role(to);
            match to {
                Role::Cold => wait_until("no session", LIMIT, || device.sessions() == 0).unwrap(),
                Role::Warm => wait_until("a session", LIMIT, || device.sessions() == 1).unwrap(),
                Role::Hot | Role::Active => rig.more(1, 2),
            }
        }
    }
    wait_until("one session", LIMIT, || device.sessions() == 1).unwrap();
}
