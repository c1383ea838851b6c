//! The floating address as others see it: a client that asks it every millisecond, and the other machines of the LAN.

use std::net::IpAddr;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Machine, Net, Pair, Ping, Responder, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Client, Main, Witness};

#[test]
fn the_address_moves_when_the_host_of_the_main_dies() {
    check("floating: host killed", |pair, ping, responders| {
        responders[0].silence();
        let at = pair.kill(Main)?;
        let outage = moved(pair, ping, at)?;
        assert!(outage < Profile::Normal.takeover_limit() + BUSY, "{outage:?}");
        // Nobody is left there to remove it: the kernel has let it expire.
        wait_until("the address is off the main", LIMIT, || !has_address(pair, Main))?;
        Ok(())
    });
}

#[test]
fn the_address_is_off_a_machine_whose_hub_process_was_killed() {
    check("floating: hub killed", |pair, ping, _| {
        let at = pair.kill_hub(Main)?;
        let outage = moved(pair, ping, at)?;
        assert!(outage < Profile::Normal.lease(), "the word of the supervisor did not count: {outage:?}");
        assert!(!has_address(pair, Main), "the supervisor left the address");
        Ok(())
    });
}

#[test]
fn a_planned_switchover_takes_the_address_along() {
    check("floating: planned", |pair, ping, _| {
        let at = pair.switchover(Main, Backup)?;
        let outage = moved(pair, ping, at)?;
        assert!(outage < Duration::from_secs(1), "{outage:?}");
        assert!(!has_address(pair, Main), "two machines have the address");
        Ok(())
    });
}

#[test]
fn a_frozen_main_loses_the_address_and_does_not_take_it_back_when_it_wakes() {
    check("floating: stopped", |pair, ping, _| {
        let at = pair.freeze(Main)?;
        moved(pair, ping, at)?;
        // Its kernel runs on, and knows that nobody renews the address.
        wait_until("the address is off the frozen main", LIMIT, || !has_address(pair, Main))?;
        let woken = pair.thaw(Main)?;
        pair.wait_state(Main, "standby", LIMIT)?;
        ping.wait_answer(Backup, monotonic_ns(), LIMIT)?;
        assert_eq!(ping.answers_of(Main, woken), 0, "the woken main answered at the address");
        assert!(!has_address(pair, Main), "the woken main took the address");
        Ok(())
    });
}

#[test]
fn clients_that_heard_nothing_of_the_move_hear_of_it_when_the_network_heals() {
    check("floating: parted and healed", |pair, ping, _| {
        pair.lab().part(&[Main, Client])?;
        pair.lab().cut(Main, Backup, Net::Cable)?;
        pair.wait_state(Backup, "active", LIMIT)?;
        wait_until("each side has given up or taken the address", LIMIT, || {
            has_address(pair, Backup) && !has_address(pair, Main)
        })?;
        // Announcements of the takeover end before the client can hear them.
        std::thread::sleep(ANNOUNCED);
        let healed = monotonic_ns();
        pair.lab().join()?;
        pair.lab().heal()?;
        let answered = Duration::from_nanos(ping.wait_answer(Backup, healed, LIMIT)? - healed);
        print(&format!("the client reached the address {answered:?} after the network was whole"));
        // Without the announcement its kernel would first have to doubt the neighbor that it knows.
        assert!(answered < Duration::from_secs(3), "{answered:?}");
        Ok(())
    });
}

#[test]
fn an_address_that_another_host_has_is_not_taken() {
    guarded("floating: duplicate", || {
        let mut pair = Pair::prepare_with(Profile::Normal, FLOATING)?;
        pair.lab().call(Witness, &["ip", "address", "add", "10.77.0.50/24", "dev", Net::Lan.device()])?;
        for machine in [Witness, Main, Backup] {
            pair.run(machine)?;
        }
        pair.wait_in_sync(Main)?;
        wait_until("the duplicate is seen", LIMIT, || floating(&pair, Main).0 == "duplicate")?;
        assert!(!has_address(&pair, Main), "a second host took the address");
        let (_, error) = floating(&pair, Main);
        assert!(error.contains("10.77.0.50 is in use by"), "{error}");
        let events = pair.resource(Main, "/events")?.to_string();
        assert!(events.contains("TH-FLOATING-001"), "no event: {events}");
        pair.lab().call(Witness, &["ip", "address", "del", "10.77.0.50/24", "dev", Net::Lan.device()])?;
        wait_until("the address is taken once it is free", LIMIT, || has_address(&pair, Main))?;
        assert_eq!(floating(&pair, Main).0, "held");
        Ok(())
    });
}

#[test]
fn an_address_of_ipv6_moves_and_a_duplicate_is_refused_by_the_kernel() {
    guarded("floating: IPv6", || {
        let mut pair = Pair::prepare_with(
            Profile::Normal,
            "floating = { address = \"fd77::50/64\", device = \"lan0\", announcements = 4, interval = \"200ms\" }",
        )?;
        pair.lab()
            .call(Client, &["ip", "address", "add", "fd77::5/64", "dev", Net::Lan.device(), "nodad"])?;
        pair.lab()
            .call(Witness, &["ip", "address", "add", "fd77::50/64", "dev", Net::Lan.device(), "nodad"])?;
        for machine in [Witness, Main, Backup] {
            pair.run(machine)?;
        }
        pair.wait_in_sync(Main)?;
        wait_until("the duplicate is seen", LIMIT, || floating(&pair, Main).0 == "duplicate")?;
        pair.lab().call(Witness, &["ip", "address", "del", "fd77::50/64", "dev", Net::Lan.device()])?;
        wait_until("the address is taken once it is free", LIMIT, || floating(&pair, Main).0 == "held")?;
        let responders = [Responder::start(pair.lab(), Main)?, Responder::start(pair.lab(), Backup)?];
        let address: IpAddr = [0xfd77, 0, 0, 0, 0, 0, 0, 0x50].into();
        let ping = Ping::start(pair.lab(), Client, address)?;
        ping.wait_answer(Main, monotonic_ns(), LIMIT)?;
        responders[0].silence();
        let at = pair.kill(Main)?;
        ping.wait_answer(Backup, at, LIMIT)?;
        print(&format!("IPv6 address silent for {:?}", ping.outage(at, Backup)));
        Ok(())
    });
}

/// The backup answers at the address, and goes on to.
fn moved(pair: &Pair, ping: &Ping, at: u64) -> Result<Duration> {
    let first = ping.wait_answer(Backup, at, LIMIT)?;
    pair.wait_state(Backup, "active", LIMIT)?;
    let outage = ping.outage(at, Backup).unwrap_or_default();
    print(&format!("address silent for {outage:?}"));
    ping.wait_answer(Backup, first + 500_000_000, LIMIT)?;
    assert_eq!(ping.answers_of(Main, first), 0, "the old node answered after the new one");
    assert_eq!(floating(pair, Backup).0, "held");
    Ok(outage)
}

fn check(name: &str, fault: impl FnOnce(&mut Pair, &Ping, &[Responder; 2]) -> Result<()>) {
    guarded(name, || {
        let mut pair = Pair::start_with(Profile::Normal, FLOATING)?;
        let responders = [Responder::start(pair.lab(), Main)?, Responder::start(pair.lab(), Backup)?];
        let ping = Ping::start(pair.lab(), Client, [10, 77, 0, 50].into())?;
        ping.wait_answer(Main, monotonic_ns(), LIMIT)?;
        assert!(has_address(&pair, Main) && !has_address(&pair, Backup), "the address is in the wrong place");
        fault(&mut pair, &ping, &responders)
    });
}

/// Whether the kernel of a machine has the address.
fn has_address(pair: &Pair, machine: Machine) -> bool {
    pair.addresses(machine, Net::Lan).contains("inet 10.77.0.50/24")
}

/// State and error, as the node shows them.
fn floating(pair: &Pair, machine: Machine) -> (String, String) {
    let cluster = pair.resource(machine, "/cluster").unwrap_or_default();
    let shown = &cluster["groups"][0]["floating"];
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("error"))
}

const FLOATING: &str = "floating = { address = \"10.77.0.50/24\", announcements = 4, interval = \"200ms\" }";
const ANNOUNCED: Duration = Duration::from_secs(1);
/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
/// For a machine that builds at the same time.
const BUSY: Duration = Duration::from_secs(2);
