//! Routing over multicast, in a network of its own.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::inquiry;
use twinhub_loader::{Role, ValueRef};
use twinhub_peers::{Knxd, KnxdOptions, Xknx};

use crate::rig::{Got, Rig, item};

fn settings(port: u16, address: &str) -> serde_json::Value {
    let multicast = format!("224.0.23.12:{port}");
    json!({ "mode": "routing", "local_address": address, "interface": "10.99.0.1", "multicast": multicast })
}

fn items() -> [(u32, serde_json::Value); 2] {
    [
        item(1, json!({"address": "1/2/1", "dpt": "9.001", "access": "rw", "answer_reads": "true"})),
        item(2, json!({"address": "1/2/2", "dpt": "7.001", "read_on_init": "true"})),
    ]
}

#[test]
fn routing_talks_with_routers_and_devices_and_a_muted_node_only_listens() {
    isolated("routing", || {
        let options = KnxdOptions { is_router: true, ..KnxdOptions::default() };
        let router = Knxd::start(&options).unwrap();
        let port = router.address().port();
        let mut device =
            Xknx::routing(format!("224.0.23.12:{port}").parse().unwrap(), "10.99.0.1", "1.1.20").unwrap();
        let behind = Xknx::tunnel(router.address()).unwrap();
        device.answer("1/2/2", &json!([0, 7])).unwrap();

        let backup = Rig::new(&settings(port, "1.1.12"), &items());
        backup.become_hot();
        let main = Rig::active(&settings(port, "1.1.11"), &items());
        main.reads(2, &Got::I64(7));
        backup.reads(2, &Got::I64(7));

        assert_eq!(main.written(&[(1, ValueRef::F64(21.0))]), [code::OK]);
        device.hears("1/2/1", "write", 1).unwrap();
        behind.hears("1/2/1", "write", 1).unwrap();
        let of_main = |heard: &&twinhub_peers::Heard| heard.source == "1.1.11";
        assert_eq!(device.heard().iter().filter(of_main).count(), 2, "a read and a write");
        backup.reads(1, &Got::F64(21.0));

        device.burst("1/2/2", 100).unwrap();
        main.until("the burst", |seen| seen.good(2) == Some(&Got::I64(99)));
        backup.until("the burst", |seen| seen.good(2) == Some(&Got::I64(99)));
        let all: Vec<Got> = [7].into_iter().chain(0..100).map(Got::I64).collect();
        assert_eq!((main.values(2), backup.values(2)), (all.clone(), all));

        device.read("1/2/1").unwrap();
        device.hears("1/2/1", "response", 1).unwrap();
        assert!(device.heard().iter().all(|heard| heard.source != "1.1.12"), "the muted node spoke");

        main.role(Role::Cold);
        backup.become_active();
        assert_eq!(backup.written(&[(1, ValueRef::F64(1.0))]), [code::OK]);
        device.hears("1/2/1", "write", 2).unwrap();
        let of_backup =
            device.heard().into_iter().filter(|heard| heard.source == "1.1.12").collect::<Vec<_>>();
        assert_eq!(of_backup.len(), 1, "nothing is read again: {of_backup:?}");
        assert!(!main.values(1).contains(&Got::F64(1.0)), "a cold node hears nothing");
    });
}

#[test]
fn routers_that_ask_for_a_pause_get_one() {
    isolated("routing busy", || {
        let port = twinhub_peers::UdpPort::reserve().unwrap();
        let rig = Rig::active(&settings(port.number(), "1.1.11"), &items()[..1]);
        let router = std::net::UdpSocket::bind("10.99.0.1:0").unwrap();
        // ROUTING_BUSY: device state 0, 500 ms, control field 0.
        let busy = [6, 0x10, 5, 0x32, 0, 12, 6, 0, 1, 0xf4, 0, 0];
        router.send_to(&busy, ("224.0.23.12", port.number())).unwrap();
        rig.until_said("the pause", |diagnosis| diagnosis["connection"]["paused_by_router"] == true);
        let begun = std::time::Instant::now();
        assert_eq!(rig.written(&[(1, ValueRef::F64(21.0))]), [code::OK]);
        assert!(begun.elapsed().as_millis() >= 300, "{:?}", begun.elapsed());
        assert_eq!(rig.diagnosis()["connection"]["frames"]["busy"], 1);
    });
}

#[test]
fn gateways_in_reach_are_found_by_a_search() {
    isolated("search", || {
        let options = KnxdOptions { is_router: true, ..KnxdOptions::default() };
        let router = Knxd::start(&options).unwrap();
        let rig = Rig::active(&settings(router.address().port(), "1.1.11"), &items()[..1]);
        let found = rig.inquire(inquiry::DISCOVER, &json!({ "wait_ms": 1_000 })).unwrap();
        let found = found["found"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        let address = found[0]["address"].as_str().unwrap();
        assert!(address.ends_with(&format!(":{}", router.address().port())), "{found:?}");
        assert_eq!(found[0]["settings"]["gateway"], address);
        assert!(found[0]["detail"].as_str().unwrap().contains("routing"), "{found:?}");
        let tested = rig.inquire(inquiry::TEST, &json!({})).unwrap();
        assert_eq!(tested["steps"][0]["outcome"], "ok", "{tested:#}");
    });
}

/// Runs a test in a network namespace with multicast on its loopback; where the machine does not permit one, the test is
/// skipped and says so.
fn isolated(name: &str, test: impl FnOnce() + Send) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let namespace = Namespace(format!("twinhub-knx-{}-{number}", std::process::id()));
    if let Err(why) = namespace.make() {
        print(&format!("{name} skipped: network namespaces are needed, and this machine refuses: {why}"));
        return;
    }
    let file = File::open(format!("/run/netns/{}", namespace.0)).unwrap();
    let ran = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            // Threads, sockets and programs made from here on are in there, too.
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            test();
        });
        inside.join()
    });
    drop(namespace);
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

struct Namespace(String);

impl Namespace {
    fn make(&self) -> Result<(), String> {
        ip(&["netns", "add", &self.0])?;
        for words in [
            ["link", "set", "lo", "up", "multicast", "on"].as_slice(),
            &["addr", "add", "10.99.0.1/24", "brd", "10.99.0.255", "dev", "lo"],
            // knxd drops what comes from the address that its own telegrams have.
            &["addr", "add", "10.99.0.9/24", "dev", "lo"],
            &["route", "add", "224.0.0.0/4", "dev", "lo", "src", "10.99.0.9"],
        ] {
            ip(&[&["-n", &self.0], words].concat())?;
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(ip(&["netns", "del", &self.0]));
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[expect(clippy::print_stderr, reason = "the reason of a skip is for who reads the test's output")]
fn print(text: &str) {
    eprintln!("{text}");
}
