//! Plugins in processes of their own, in a pair of real processes.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::site::Pair;

/// A second interface whose plugin has a process of its own.
const ALONE: &str = "[[interface]]\nid = \"alone\"\nplugin = \"sim\"\nhosting = \"isolated\"\nitems = \"sim1.csv\"\n\
                     settings = { interval_ms = 50 }\n";

#[test]
fn a_plugin_in_a_process_of_its_own_is_replaced_alone_and_ends_with_its_hub() {
    let mut pair = Pair::start_with(ALONE);
    pair.wait("both act and stand by", |pair| {
        pair.state("backup") == "standby" && counts(pair, "main", "alone")
    });
    assert_eq!(of(&pair, "main", "alone", "hosting"), "isolated");
    assert_eq!(of(&pair, "main", "sim1", "hosting"), "inproc");
    let hub = pair.hub("main");
    writes(&pair, "main", 7);

    for (signal, words) in [(Signal::ABORT, "SIGABRT"), (Signal::STOP, "did not answer")] {
        let before = hosted(hub);
        kill_process(before[0], signal).unwrap();
        pair.wait("another process", |_| !hosted(hub).is_empty() && hosted(hub) != before);
        pair.wait("it works again", |pair| {
            of(pair, "main", "alone", "state") == "ok" && counts(pair, "main", "alone")
        });
        let events = pair.json("main", &["events", "ls", "--code", "TH-PLUGIN-002"]).to_string();
        assert!(events.contains("alone") && events.contains(words), "{events}");
    }
    writes(&pair, "main", 8);
    assert_eq!((of(&pair, "main", "sim1", "faults"), pair.hub("main")), (Value::from(0), hub));
    assert_eq!(of(&pair, "main", "alone", "faults"), 2);

    let left = hosted(hub);
    pair.kill("main");
    pair.wait("none is left of the hub that died", |_| left.iter().all(|process| !is_there(*process)));
    pair.wait("the backup acts", |pair| pair.state("backup") == "active" && counts(pair, "backup", "alone"));
    writes(&pair, "backup", 9);
}

#[test]
fn a_plugin_that_falls_again_and_again_gives_the_role_to_the_other_node() {
    let pair = Pair::start_with(ALONE);
    pair.wait("both act and stand by", |pair| {
        pair.state("backup") == "standby" && counts(pair, "main", "alone")
    });
    let hub = pair.hub("main");
    for fall in 1..=4 {
        pair.wait("it runs", |pair| {
            !hosted(hub).is_empty() && of(pair, "main", "alone", "faults").as_u64() == Some(fall - 1)
        });
        kill_process(hosted(hub)[0], Signal::KILL).unwrap();
        pair.wait("it is noticed", |pair| of(pair, "main", "alone", "faults").as_u64() == Some(fall));
        if fall < 4 {
            pair.wait("it is back", |pair| of(pair, "main", "alone", "state") == "ok");
        }
    }
    pair.wait("it stays down", |pair| {
        of(pair, "main", "alone", "fault_cause").as_str().is_some_and(|cause| cause.contains("stays down"))
    });
    pair.wait("the backup acts", |pair| pair.state("backup") == "active" && counts(pair, "backup", "alone"));
}

#[test]
fn what_panics_too_often_in_the_process_of_the_hub_gets_one_of_its_own() {
    let mut pair = Pair::start_panicking();
    pair.wait("it acts", |pair| pair.state("main") == "active");
    for fall in 1..=4 {
        pair.wait("it runs", |pair| of(pair, "main", "sim1", "state") == "ok");
        pair.ask("main", &["items", "set", "sim1/bang", "1"]);
        pair.wait("it fell", |pair| of(pair, "main", "sim1", "faults").as_u64() == Some(fall));
    }
    pair.wait("it has a process of its own", |pair| {
        of(pair, "main", "sim1", "hosting") == "isolated" && counts(pair, "main", "sim1")
    });
    let events = pair.json("main", &["events", "ls", "--code", "TH-PLUGIN-003"]).to_string();
    assert!(events.contains("sim1") && events.contains("process of its own"), "{events}");
    assert_eq!(pair.stop("main"), 0);
    pair.restart("main");
    pair.wait("so it has after a restart", |pair| {
        of(pair, "main", "sim1", "hosting") == "isolated" && counts(pair, "main", "sim1")
    });

    // Until somebody ends it.
    let said = pair.json("main", &["plugin", "release", "sim"]);
    assert_eq!((&said["node"], &said["released"]), (&"main".into(), &1.into()));
    assert_eq!(pair.json("main", &["plugin", "release", "sim"])["released"], 0);
    assert_eq!(pair.stop("main"), 0);
    pair.restart("main");
    pair.wait("it acts again", |pair| counts(pair, "main", "sim1"));
    assert_eq!(of(&pair, "main", "sim1", "hosting"), "inproc");
}

fn writes(pair: &Pair, node: &str, value: u64) {
    let said = pair.json(node, &["items", "set", "alone/echo", &value.to_string()]);
    assert_eq!(said["ok"], true, "{said}");
}

/// A field of an interface.
fn of(pair: &Pair, node: &str, interface: &str, field: &str) -> Value {
    let list = pair.json(node, &["interfaces", "ls"]);
    let found = list.as_array().and_then(|list| list.iter().find(|one| one["id"] == interface));
    found.map(|one| one[field].clone()).unwrap_or_default()
}

/// Whether the counter of an interface goes on.
fn counts(pair: &Pair, node: &str, interface: &str) -> bool {
    let read = || pair.json(node, &["items", "get", &format!("{interface}/count")])[0]["value"].as_i64();
    let before = read();
    before.is_some() && (0..50).any(|_| read() > before)
}

/// Processes that host plugins for a hub.
fn hosted(hub: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", hub.as_raw_nonzero())).into_iter().flatten();
    let children = tasks
        .filter_map(Result::ok)
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let numbers: Vec<i32> = children
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect();
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}

fn is_there(process: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(['Z', 'X'])))
}
