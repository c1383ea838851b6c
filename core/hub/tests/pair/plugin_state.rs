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

/// The instance is another one, here and in a process of its own; the role stays.
#[test]
fn a_restart_of_an_interface_loses_no_counter_and_moves_no_role() {
    let alone = "[[interface]]\nid = \"alone\"\nplugin = \"sim\"\nhosting = \"isolated\"\nitems = \"sim1.csv\"\n\
                 settings = { interval_ms = 50 }\n";
    let pair = Pair::start_with(alone);
    pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
    for interface in ["sim1", "alone"] {
        let key = format!("{interface}/count");
        pair.wait("it counts", |pair| count_of(pair, "main", &key) > 60);
        let before = count_of(&pair, "main", &key);
        let said = pair.json("backup", &["interfaces", "restart", interface, "--node", "main"]);
        assert_eq!((&said["node"], &said["state"]), (&"main".into(), &"done".into()), "{said}");
        pair.wait("it counts on", |pair| count_of(pair, "main", &key) > before + 5);
        assert!(count_of(&pair, "main", &key) < before + 10_000);
    }
    assert_eq!((pair.state("main"), pair.state("backup")), ("active".to_owned(), "standby".to_owned()));
    let said = pair.ask("main", &["interfaces", "restart", "sim2"]);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("no interface `sim2`"));
    let events = pair.json("main", &["events", "ls", "--code", "TH-INTERFACE-105"]).to_string();
    assert!(events.contains("interface `alone` is restarted by"), "{events}");
}

/// One that stays down after too many faults comes back when an operator wants it.
#[test]
fn a_restart_brings_an_interface_back_that_stays_down() {
    let alone = "[[interface]]\nid = \"alone\"\nplugin = \"sim\"\nhosting = \"isolated\"\nrequired = false\n\
                 items = \"sim1.csv\"\nsettings = { interval_ms = 50 }\n";
    let pair = Pair::start_with_items("bang,panic,int64,rw,,\n", alone);
    pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
    let cause = |pair: &Pair| {
        let list = pair.json("main", &["interfaces", "ls"]);
        let list = list.as_array().cloned().unwrap_or_default();
        let alone = list.into_iter().find(|one| one["id"] == "alone").unwrap_or_default();
        alone["fault_cause"].as_str().unwrap_or_default().to_owned()
    };
    pair.wait("it stays down", |pair| {
        pair.ask("main", &["items", "set", "alone/bang", "1"]);
        cause(pair).contains("stays down")
    });
    let said = pair.json("main", &["interfaces", "restart", "alone"]);
    assert_eq!(said["state"], "done", "{said}");
    let before = count_of(&pair, "main", "alone/count");
    pair.wait("it counts", |pair| count_of(pair, "main", "alone/count") > before);
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
    count_of(pair, node, "sim1/count")
}

fn count_of(pair: &Pair, node: &str, key: &str) -> i64 {
    pair.json(node, &["items", "get", key])[0]["value"].as_i64().unwrap_or(0)
}

fn good(pair: &Pair, node: &str) -> bool {
    pair.json(node, &["items", "get", "sim1/count"])[0]["quality"] == "good"
}
