//! Another version of a plugin in a pair that runs, through the command line.

use serde_json::Value;

use crate::site::Pair;

/// A second interface of the same plugin, in a process of its own.
const ALONE: &str = "[[interface]]\nid = \"alone\"\nplugin = \"sim\"\nhosting = \"isolated\"\nitems = \"sim1.csv\"\n\
                     settings = { interval_ms = 50 }\n";

#[test]
fn a_pair_changes_a_plugin_node_by_node_and_goes_back_and_no_counter_is_lost() {
    let mut pair = Pair::start_with_own_plugins("", ALONE);
    settled(&pair, "main", "backup");
    pair.wait("both count", |pair| count(pair, "main", "sim1") > 40 && count(pair, "main", "alone") > 40);
    let said = upgrade(&pair, &[]);
    assert!(said.len() == 2 && said.iter().all(|row| row[3].contains("runs this file")), "{said:?}");

    let said = upgrade(&pair, &["--trial", "soon", "--dry-run"]);
    assert!(said.iter().all(|row| row[2] == "failed" && row[3].contains("`soon` is no time")), "{said:?}");

    pair.install("0.2.0");
    let before = [count(&pair, "main", "sim1"), count(&pair, "main", "alone")];
    let said = upgrade(&pair, &[]);
    let what: Vec<[&str; 3]> = said.iter().map(|row| [&*row[0], &*row[1], &*row[2]]).collect();
    let wanted = [
        ["backup", "check", "done"],
        ["main", "check", "done"],
        ["backup", "upgrade", "done"],
        ["main", "switchover", "done"],
        ["main", "upgrade", "done"],
    ];
    assert_eq!(what, wanted, "{said:?}");
    assert_eq!((versions(&pair, "main"), versions(&pair, "backup")), (both("0.2.0"), both("0.2.0")));
    settled(&pair, "backup", "main");
    pair.wait("each knows what the other runs", |pair| agree(pair, "main") && agree(pair, "backup"));
    let skew = pair.json("main", &["events", "ls", "--code", "TH-TRUST-003"]).to_string();
    assert!(skew.contains("neighboring versions"), "{skew}");
    pair.wait("it counts on", |pair| goes_on(pair, "backup"));
    let after = [count(&pair, "backup", "sim1"), count(&pair, "backup", "alone")];
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    let notes = pair.table("main", &["status"]);
    assert!(notes.contains("plugin sim is on trial since its upgrade from 0.1.0 to 0.2.0"), "{notes}");

    let said = rows(&pair, &["plugin", "rollback", "sim"]);
    assert!(said.len() == 2 && said.iter().all(|row| row[2] == "done"), "{said:?}");
    assert_eq!((versions(&pair, "main"), versions(&pair, "backup")), (both("0.1.0"), both("0.1.0")));
    pair.wait("it counts on", |pair| goes_on(pair, "backup"));
    assert!(count(&pair, "backup", "sim1") > after[0]);
    let events = pair.json("backup", &["events", "ls", "--code", "TH-PLUGIN-007"]).to_string();
    assert!(events.contains("an operator took it back"), "{events}");

    // The refused file is still where plugins are.
    assert_eq!(pair.stop("main"), 0);
    pair.restart("main");
    settled(&pair, "backup", "main");
    assert_eq!(versions(&pair, "main"), both("0.1.0"));
    assert!(pair.log("main").contains("an upgrade was taken back"), "{}", pair.log("main"));

    // In place, where it acts, and for good.
    let said = upgrade(&pair, &["--in-place"]);
    let what: Vec<&str> = said.iter().map(|row| &*row[1]).collect();
    assert_eq!(what, ["check", "check", "upgrade", "upgrade"], "{said:?}");
    assert_eq!(pair.state("backup"), "active");
    let said = rows(&pair, &["plugin", "keep", "sim"]);
    assert!(said.len() == 2 && said.iter().all(|row| row[2] == "done"), "{said:?}");
    let refused = rows(&pair, &["plugin", "rollback", "sim"]);
    assert!(refused.iter().all(|row| row[2] == "failed"), "{refused:?}");
    assert_eq!(pair.stop("main"), 0);
    pair.restart("main");
    settled(&pair, "backup", "main");
    assert_eq!(versions(&pair, "main"), both("0.2.0"));
}

#[test]
fn a_version_that_faults_goes_by_itself_and_what_does_not_fit_changes_nothing() {
    let pair = Pair::start_with_own_plugins("bang,panic,int64,rw,,\n", "");
    settled(&pair, "main", "backup");
    std::fs::write(pair.dir.path().join("plugins/libtwinhub_sim.so"), b"no library").unwrap();
    let said = upgrade(&pair, &[]);
    let is_unfit = |row: &[String; 4]| row[2] == "failed" && row[3].contains("TH-PLUGIN-008");
    assert!(said.len() == 2 && said.iter().all(is_unfit), "{said:?}");

    pair.install("0.2.0");
    let said = upgrade(&pair, &["--in-place"]);
    assert!(said.iter().all(|row| row[2] == "done"), "{said:?}");
    pair.wait("it acts", |pair| goes_on_at(pair, "main", "sim1"));
    pair.ask("main", &["items", "set", "sim1/bang", "1"]);
    pair.wait("the version before is back", |pair| versions(pair, "main") == ["0.1.0"]);
    pair.wait("it counts on", |pair| goes_on_at(pair, "main", "sim1"));
    assert_eq!(
        (pair.state("main"), versions(&pair, "backup")),
        ("active".to_owned(), vec!["0.2.0".to_owned()])
    );
    let events = pair.json("main", &["events", "ls", "--code", "TH-PLUGIN-007"]).to_string();
    assert!(events.contains("it faulted at interface `sim1`"), "{events}");
}

#[test]
fn a_process_that_dies_within_the_trial_starts_with_the_version_before_and_one_that_stops_keeps_the_new_one()
{
    let mut pair = Pair::start_with_own_plugins("", "");
    settled(&pair, "main", "backup");
    pair.install("0.2.0");
    let on_backup = |pair: &Pair| upgrade(pair, &["--node", "backup"]);
    let said = on_backup(&pair);
    assert!(said.iter().all(|row| row[2] == "done"), "{said:?}");
    assert_eq!(versions(&pair, "backup"), ["0.2.0"]);

    pair.kill("backup");
    pair.restart("backup");
    settled(&pair, "main", "backup");
    assert_eq!(versions(&pair, "backup"), ["0.1.0"], "what ended the process may have been the new version");
    let notes = pair.table("backup", &["status"]);
    assert!(notes.contains("version 0.2.0 of plugin sim was taken back: 0.1.0 runs"), "{notes}");

    let said = on_backup(&pair);
    assert!(said.iter().all(|row| row[2] == "done"), "{said:?}");
    assert_eq!(pair.stop("backup"), 0);
    pair.restart("backup");
    settled(&pair, "main", "backup");
    assert_eq!(versions(&pair, "backup"), ["0.2.0"]);
    let notes = pair.table("backup", &["status"]);
    assert!(!notes.contains("taken back"), "{notes}");
}

fn settled(pair: &Pair, active: &str, standby: &str) {
    pair.wait("both act and stand by", |pair| {
        pair.state(active) == "active" && pair.state(standby) == "standby"
    });
}

fn upgrade(pair: &Pair, more: &[&str]) -> Vec<[String; 4]> {
    rows(pair, &[&["plugin", "upgrade", "sim", "--watch", "1"], more].concat())
}

/// Node, step, result and detail.
fn rows(pair: &Pair, args: &[&str]) -> Vec<[String; 4]> {
    let said = pair.ask("main", args);
    let list: Vec<Value> = serde_json::from_slice(&said.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", String::from_utf8_lossy(&said.stderr), pair.logs()));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    list.iter().map(|row| ["node", "what", "state", "detail"].map(|key| text(row, key))).collect()
}

fn both(version: &str) -> Vec<String> {
    vec![version.to_owned(); 2]
}

/// What each interface runs.
fn versions(pair: &Pair, node: &str) -> Vec<String> {
    let list = pair.json(node, &["interfaces", "ls"]);
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|one| one["plugin_version"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Whether a node knows of all that they run the same.
fn agree(pair: &Pair, node: &str) -> bool {
    let status = pair.json(node, &["status"]);
    let nodes = status["groups"][0]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.len() == 2 && nodes.iter().all(|node| node["plugins"] == "same")
}

fn count(pair: &Pair, node: &str, interface: &str) -> i64 {
    pair.json(node, &["items", "get", &format!("{interface}/count")])[0]["value"].as_i64().unwrap_or(0)
}

fn goes_on(pair: &Pair, node: &str) -> bool {
    ["sim1", "alone"].into_iter().all(|interface| goes_on_at(pair, node, interface))
}

fn goes_on_at(pair: &Pair, node: &str, interface: &str) -> bool {
    let before = count(pair, node, interface);
    (0..50).any(|_| count(pair, node, interface) > before)
}
