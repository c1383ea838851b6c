//! One fault each, to a pair with its witness on machines of their own. The device that is polled and written is the
//! judge: the role is where it belongs, never two writers, nothing old after something new, and silence of who is not
//! active. How long it took is printed; it is asserted where a limit follows from the timers.

use std::thread;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::monotonic_ns;

use Machine::{Backup, Field, Main, Witness};

#[test]
fn the_backup_acts_when_the_host_of_the_main_dies() {
    check("host killed", |pair| {
        let at = pair.kill(Main)?;
        moved(pair, at)?;
        // The dead process is told from a dead network, or at least not taken for alive.
        pair.wait_unheard(Backup, Main, LIMIT)?;
        Ok(())
    });
}

#[test]
fn the_backup_acts_when_the_hub_process_of_the_main_dies() {
    check("hub killed", |pair| {
        let at = pair.kill_hub(Main)?;
        moved(pair, at)?;
        let log = pair.log_text(Backup);
        assert!(log.contains("its supervisor says that the process is dead"), "{log}");
        Ok(())
    });
}

#[test]
fn a_main_that_was_stopped_for_five_seconds_writes_nothing_when_it_wakes() {
    check("stopped 5 s", |pair| {
        let at = pair.freeze(Main)?;
        moved(pair, at)?;
        thread::sleep(FROZEN.saturating_sub(Duration::from_nanos(monotonic_ns() - at)));
        let woken = pair.thaw(Main)?;
        pair.wait_state(Main, "standby", LIMIT)?;
        pair.wait_writes(Backup, woken, LIMIT)?;
        assert_eq!(pair.verdict().writes_of(Main, woken), 0, "the woken main wrote");
        Ok(())
    });
}

#[test]
fn a_cut_between_main_and_backup_moves_nothing() {
    check("peer links cut", |pair| {
        pair.lab().cut(Main, Backup, Net::Lan)?;
        pair.lab().cut(Main, Backup, Net::Cable)?;
        stays(pair)
    });
}

#[test]
fn a_cut_in_one_direction_between_main_and_backup_moves_nothing() {
    check("peer links cut one way", |pair| {
        pair.lab().cut_one_way(Main, Backup, Net::Lan)?;
        pair.lab().cut_one_way(Main, Backup, Net::Cable)?;
        stays(pair)
    });
}

#[test]
fn a_cut_of_the_witness_moves_nothing() {
    check("witness cut", |pair| {
        pair.lab().cut(Main, Witness, Net::Lan)?;
        pair.lab().cut(Backup, Witness, Net::Lan)?;
        stays(pair)
    });
}

#[test]
fn a_dead_lan_path_moves_nothing_while_the_cable_is_alive_and_is_shown() {
    check("lan path cut", |pair| {
        pair.lab().cut(Main, Backup, Net::Lan)?;
        stays(pair)?;
        let cluster = pair.resource(Main, "/cluster")?.to_string();
        assert!(cluster.contains("\"up\":false"), "the dead path is not shown: {cluster}");
        Ok(())
    });
}

#[test]
fn a_main_cut_from_everybody_hands_over_and_writes_nothing_after() {
    check("main cut from all", |pair| {
        let at = monotonic_ns();
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut(Main, Backup, net)?;
        }
        pair.lab().cut(Main, Witness, Net::Lan)?;
        // Its field link is alive: only its lease keeps it from writing beside the backup.
        moved(pair, at)?;
        pair.lab().heal()?;
        pair.wait_in_sync(Backup)
    });
}

#[test]
fn a_main_whose_words_are_lost_but_who_hears_everybody_writes_nothing_after() {
    check("main cut one way", |pair| {
        let at = monotonic_ns();
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut_one_way(Main, Backup, net)?;
        }
        pair.lab().cut_one_way(Main, Witness, Net::Lan)?;
        moved(pair, at)?;
        pair.lab().heal()?;
        pair.wait_in_sync(Backup)
    });
}

#[test]
fn a_backup_without_field_and_peer_does_not_take_the_role() {
    check("backup cut from field and main", |pair| {
        pair.lab().cut(Backup, Field, Net::Field)?;
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut(Main, Backup, net)?;
        }
        stays(pair)
    });
}

#[test]
fn a_planned_switchover_leaves_one_writer() {
    check("planned", |pair| {
        let at = pair.switchover(Main, Backup)?;
        moved(pair, at)?;
        pair.wait_in_sync(Backup)
    });
}

#[test]
fn a_restarted_witness_moves_nothing() {
    check("witness restarted", |pair| {
        pair.kill(Witness)?;
        pair.run(Witness)?;
        stays(pair)
    });
}

#[test]
fn a_backup_that_starts_first_waits_for_nobody_and_two_never_act() {
    guarded("backup first", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        pair.run(Witness)?;
        pair.run(Backup)?;
        pair.wait_state(Backup, "active", LIMIT)?;
        pair.run(Main)?;
        pair.wait_in_sync(Backup)?;
        judge(&pair, 0);
        Ok(())
    });
}

/// The main has stopped and the backup writes; whatever the main still does is judged.
fn moved(pair: &Pair, at: u64) -> Result<()> {
    pair.wait_state(Backup, "active", LIMIT)?;
    pair.wait_writes(Backup, at, LIMIT)?;
    let verdict = pair.verdict();
    let (outputs, inputs) = (verdict.outage_of_outputs(at, Backup), verdict.outage_of_inputs(at, Backup));
    let doubled = verdict.doubled();
    print(&format!("outputs silent for {outputs:?}, inputs for {inputs:?}, written twice: {doubled}"));
    let limit = Profile::Normal.takeover_limit() + BUSY;
    assert_eq!(doubled, 0, "a value was written twice");
    assert!(outputs.is_some_and(|outage| outage < limit), "outputs silent for {outputs:?}, limit {limit:?}");
    let history = pair.resource(Backup, "/cluster/history")?.to_string();
    assert!(history.contains("\"to\":\"active\""), "history does not say who acts: {history}");
    judge(pair, 1);
    Ok(())
}

/// The main goes on, also for longer than any timer.
fn stays(pair: &Pair) -> Result<()> {
    let from = monotonic_ns();
    thread::sleep(Profile::Normal.lease() * 2);
    let until = monotonic_ns();
    assert_eq!(pair.state(Main).as_deref(), Some("active"), "{}", pair.logs());
    pair.wait_writes(Main, until, LIMIT)?;
    let verdict = pair.verdict();
    assert_eq!(verdict.requests_of(Backup, from, until), 0, "the standby spoke to the device");
    assert_eq!(verdict.writes_of(Backup, 0), 0, "the standby wrote");
    judge(pair, 0);
    Ok(())
}

/// What holds under every fault.
fn judge(pair: &Pair, changes: usize) {
    let verdict = pair.verdict();
    assert_eq!(verdict.changes_of_writer(), changes, "the writer changed: {verdict:?}\n{}", pair.logs());
    assert!(!verdict.has_old_after_new(), "an old value after a new one: {verdict:?}\n{}", pair.logs());
}

fn check(name: &str, fault: impl FnOnce(&mut Pair) -> Result<()>) {
    guarded(name, || {
        let mut pair = Pair::start(Profile::Normal)?;
        fault(&mut pair)?;
        let changes = pair.verdict().changes_of_writer();
        assert!(changes <= 1, "the writer changed {changes} times\n{}", pair.logs());
        Ok(())
    });
}

/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
const FROZEN: Duration = Duration::from_secs(5);
/// For a machine that builds at the same time.
const BUSY: Duration = Duration::from_secs(2);
