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

/// An item of the simulation that keeps by key what is written: its successor publishes it, where an `echo` is only
/// remembered by the hub.
#[test]
fn what_is_kept_by_key_is_there_on_the_successor_after_a_kill_and_a_planned_move() {
    for hosting in ["inproc", "isolated"] {
        let mut pair = Pair::start_keeping(hosting);
        pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
        for value in [41, 42] {
            let said = pair.json("main", &["items", "set", "kept/memo", &value.to_string()]);
            assert_eq!(said["ok"], true, "{said}");
        }
        pair.wait("it is read back", |pair| memo(pair, "main") == (42, true));
        pair.wait("the other node has it", |pair| memo(pair, "backup").0 == 42);
        pair.kill("main");
        pair.wait("the backup acts", |pair| pair.state("backup") == "active");
        pair.wait("it knows", |pair| memo(pair, "backup") == (42, true));
        pair.json("backup", &["items", "set", "kept/memo", "43"]);
        pair.wait("it is read back", |pair| memo(pair, "backup") == (43, true));
        pair.restart("main");
        pair.wait("the main stands by", |pair| pair.state("main") == "standby");
        assert_eq!(pair.json("backup", &["switchover", "--to", "main"])["active"][0]["node"], "main");
        pair.wait("the main knows", |pair| memo(pair, "main") == (43, true));
    }
}

/// The value, and whether it is good.
fn memo(pair: &Pair, node: &str) -> (i64, bool) {
    let item = &pair.json(node, &["items", "get", "kept/memo"])[0];
    (item["value"].as_i64().unwrap_or(0), item["quality"] == "good")
}

fn count(pair: &Pair, node: &str) -> i64 {
    pair.json(node, &["items", "get", "sim1/count"])[0]["value"].as_i64().unwrap_or(0)
}

fn good(pair: &Pair, node: &str) -> bool {
    pair.json(node, &["items", "get", "sim1/count"])[0]["quality"] == "good"
}
