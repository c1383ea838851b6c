//! What operators decided outlives the processes.

use std::time::{Duration, Instant};

use crate::site::Pair;

/// A pause and a maintenance hold over a restart of every process, until an operator ends them.
#[test]
fn a_pause_and_a_maintenance_outlive_a_restart_of_all_processes() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    let is_paused = |pair: &Pair, node: &str| pair.json(node, &["status"])["groups"][0]["paused"] == true;
    assert_eq!(pair.ask("main", &["pause"]).status.code(), Some(0));
    pair.wait("both paused", |pair| is_paused(pair, "main") && is_paused(pair, "backup"));
    assert_eq!(pair.json("main", &["drain", "backup"])["state"], "done");

    for name in ["backup", "main"] {
        assert_eq!(pair.stop(name), 0, "{name}");
    }
    for name in ["main", "backup"] {
        pair.restart(name);
    }
    pair.wait("main active, backup in maintenance", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "maintenance"
    });
    assert!(is_paused(&pair, "main") && is_paused(&pair, "backup"));

    assert_eq!(pair.json("main", &["drain", "backup", "--end"])["state"], "done");
    assert_eq!(pair.ask("main", &["resume"]).status.code(), Some(0));
    pair.wait("neither is left", |pair| {
        pair.state("backup") == "standby" && !is_paused(pair, "main") && !is_paused(pair, "backup")
    });
}

/// What an operator moved to the backup stays there although the role would go back to the main by itself: over a restart
/// of the main, and over one of the backup while the main is away.
#[test]
fn a_role_that_an_operator_moved_does_not_go_back_by_itself_whoever_restarts() {
    let mut pair = Pair::start_with_failback();
    settled(&pair, "main", "backup");
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    settled(&pair, "backup", "main");
    stays(&pair, "backup");

    pair.kill("main");
    pair.restart("main");
    settled(&pair, "backup", "main");
    stays(&pair, "backup");

    pair.kill("main");
    let epoch = pair.counter("backup");
    pair.kill("backup");
    pair.restart("backup");
    pair.wait("the backup active in a new epoch", |pair| {
        pair.state("backup") == "active" && pair.counter("backup") > epoch
    });
    pair.restart("main");
    settled(&pair, "backup", "main");
    stays(&pair, "backup");

    // That the main would take it otherwise: the end of a pause ends what was decided before it.
    for order in ["pause", "resume"] {
        assert_eq!(pair.ask("backup", &[order]).status.code(), Some(0));
    }
    settled(&pair, "main", "backup");
    let history = pair.table("backup", &["history"]);
    assert!(history.contains("main") && history.to_lowercase().contains("preferred"), "{history}");
}

fn settled(pair: &Pair, active: &str, standby: &str) {
    pair.wait(&format!("{active} active, {standby} standby, in sync"), |pair| {
        let group = &pair.json(active, &["status"])["groups"][0];
        pair.state(active) == "active" && pair.state(standby) == "standby" && group["protected"] == true
    });
}

/// In its epoch, for several times `hold_back`.
fn stays(pair: &Pair, active: &str) {
    let epoch = pair.counter(active);
    let until = Instant::now() + Duration::from_secs(4);
    pair.wait("the time in which the role would go back", |pair| {
        assert_eq!((pair.state(active).as_str(), pair.counter(active)), ("active", epoch), "{}", pair.logs());
        Instant::now() > until
    });
}
