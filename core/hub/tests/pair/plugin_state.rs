//! What a plugin keeps goes on where the node before stood.

use crate::site::Pair;

/// The counters of the simulation are its state.
#[test]
fn a_counter_goes_on_after_a_planned_move_and_after_a_kill() {
    let mut pair = Pair::start();
    pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
    pair.wait("it counts", |pair| count(pair, "main") > 60);
    let before = count(&pair, "main");
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    pair.wait("it counts there", |pair| good(pair, "backup"));
    assert!(count(&pair, "backup") > before, "{} after {before}", count(&pair, "backup"));

    pair.wait("the main stands by", |pair| pair.state("main") == "standby");
    // Long enough for snapshots while it acts.
    let moved = count(&pair, "backup");
    pair.wait("it counts on", |pair| count(pair, "backup") > moved + 60);
    pair.kill("backup");
    pair.wait("the main acts", |pair| pair.state("main") == "active" && good(pair, "main"));
    assert!(count(&pair, "main") > moved, "{} after {moved}", count(&pair, "main"));
}

fn count(pair: &Pair, node: &str) -> i64 {
    pair.json(node, &["items", "get", "sim1/count"])[0]["value"].as_i64().unwrap_or(0)
}

fn good(pair: &Pair, node: &str) -> bool {
    pair.json(node, &["items", "get", "sim1/count"])[0]["quality"] == "good"
}
