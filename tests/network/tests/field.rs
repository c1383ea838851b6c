//! The network of the field device is lost, and the peers hear each other, or the other way round. The device's log is
//! the judge: the role goes where the device can be reached, never to where nobody has seen it, never two writers.

use std::thread;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Field, Main};

#[test]
fn a_main_that_loses_the_field_alone_hands_over_to_a_backup_that_sees_it() {
    check("field cut at the main", |pair| {
        let at = monotonic_ns();
        pair.lab().cut(Main, Field, Net::Field)?;
        pair.wait_state(Backup, "active", HEALTH_LIMIT)?;
        pair.wait_writes(Backup, at, LIMIT)?;
        let outage = pair.verdict().outage_of_outputs(at, Backup);
        print(&format!(
            "outputs silent for {outage:?}, of which ten seconds prove that the backup is better"
        ));
        let history = pair.resource(Main, "/cluster/history")?.to_string();
        assert!(history.contains("plc1 -40"), "history does not say what was lost: {history}");
        // What the main's kernel may still hold for the device must not come out of it now.
        let healed = monotonic_ns();
        pair.lab().heal()?;
        pair.wait_in_sync(Backup)?;
        thread::sleep(Profile::Normal.lease() * 2);
        assert_eq!(
            pair.verdict().writes_of(Main, healed),
            0,
            "the main wrote after it had given the role away"
        );
        judge(pair, 1);
        Ok(())
    });
}

#[test]
fn a_backup_that_loses_the_field_takes_no_role_and_gets_none() {
    check("field cut at the backup", |pair| {
        pair.lab().cut(Backup, Field, Net::Field)?;
        wait_until("the main knows that the backup is blind", LIMIT, || {
            score(pair, Main, Backup) == Some(60)
        })
        .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
        stays(pair)?;
        assert_eq!(pair.verdict().writes_of(Main, 0), writes(pair), "the standby wrote");
        judge(pair, 0);
        Ok(())
    });
}

#[test]
fn a_device_that_nobody_reaches_moves_nothing() {
    check("field lost at both", nobody_reaches_it);
}

/// The idle connection of a warm standby does not pass for a proof for longer than a better node has to wait.
#[test]
fn a_device_that_nobody_reaches_moves_nothing_without_a_probe_either() {
    play("field lost at both, no probe", str::to_owned, nobody_reaches_it);
}

#[test]
fn a_main_without_field_and_peer_keeps_the_role_until_it_hears_who_is_better() {
    check("field and peer cut at the main", |pair| {
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut(Main, Backup, net)?;
        }
        pair.lab().cut(Main, Field, Net::Field)?;
        thread::sleep(SCORE_HOLD + Duration::from_secs(2));
        assert_eq!(
            pair.state(Main).as_deref(),
            Some("active"),
            "the witness alone moves no role: {}",
            pair.logs()
        );
        assert_eq!(pair.verdict().writes_of(Backup, 0), 0, "the standby wrote");
        // The peers hear each other again, the device stays out of the main's reach.
        let at = monotonic_ns();
        pair.lab().heal()?;
        pair.lab().cut(Main, Field, Net::Field)?;
        pair.wait_state(Backup, "active", HEALTH_LIMIT)?;
        pair.wait_writes(Backup, at, LIMIT)?;
        judge(pair, 1);
        Ok(())
    });
}

fn nobody_reaches_it(pair: &mut Pair) -> Result<()> {
    pair.lab().unplug(Field, Net::Field)?;
    let both = || score(pair, Main, Main) == Some(60) && score(pair, Main, Backup) == Some(60);
    wait_until("both know that they are blind", LIMIT, both)
        .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
    thread::sleep(SCORE_HOLD + Duration::from_secs(2));
    assert_eq!(pair.state(Main).as_deref(), Some("active"), "{}", pair.logs());
    let healed = monotonic_ns();
    pair.lab().plug(Field, Net::Field)?;
    pair.wait_writes(Main, healed, LIMIT)?;
    judge(pair, 0);
    Ok(())
}

/// The main goes on, for longer than a better node would have to wait.
fn stays(pair: &Pair) -> Result<()> {
    thread::sleep(SCORE_HOLD + Duration::from_secs(2));
    assert_eq!(pair.state(Main).as_deref(), Some("active"), "{}", pair.logs());
    pair.wait_writes(Main, monotonic_ns(), LIMIT)
}

/// All writes that the device has taken.
fn writes(pair: &Pair) -> usize {
    pair.verdict().writes_of(Main, 0) + pair.verdict().writes_of(Backup, 0)
}

/// A node's health, as another one knows it.
fn score(pair: &Pair, asked: Machine, of: Machine) -> Option<u64> {
    let cluster = pair.resource(asked, "/cluster").ok()?;
    let nodes = cluster["groups"][0]["nodes"].as_array()?;
    nodes.iter().find(|node| node["name"] == of.word())?["score"].as_u64()
}

/// What holds under every fault.
fn judge(pair: &Pair, changes: usize) {
    let verdict = pair.verdict();
    assert_eq!(verdict.changes_of_writer(), changes, "the writer changed\n{}", pair.logs());
    assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", pair.logs());
}

/// A standby proves by a probe that it sees the device; TCP alone would notice too late here that it does not.
fn check(name: &str, fault: impl FnOnce(&mut Pair) -> Result<()>) {
    let with_probe = |text: &str| {
        let text = text.replace("plugin = \"modbus\"", "probe = \"10.77.2.4:5020\"\nplugin = \"modbus\"");
        text.replace("timeout = \"500ms\"", "timeout = \"500ms\", keepalive = \"60s\"")
    };
    play(name, with_probe, fault);
}

fn play(name: &str, site: impl FnOnce(&str) -> String, fault: impl FnOnce(&mut Pair) -> Result<()>) {
    guarded(name, || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        pair.configure(site)?;
        for machine in [Machine::Witness, Main, Backup] {
            pair.run(machine)?;
        }
        pair.wait_in_sync(Main)?;
        fault(&mut pair)
    });
}

/// How long the other node must be better.
const SCORE_HOLD: Duration = Duration::from_secs(10);
/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
/// The same, and the time in which the other node must be better.
const HEALTH_LIMIT: Duration = Duration::from_secs(45);
