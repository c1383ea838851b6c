//! What operators decided outlives the processes.

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
