//! Two nodes and a witness in one process, with real connections, journals and plugin libraries.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod majority;
mod site;

use std::collections::BTreeMap;
use std::process::Command;

use twinhub_runtime::{Handle, Order, StreamFilter};

use site::{Pair, shutdown, start_node, wait};

/// The counter of the simulated interface as `node` knows it.
fn count(node: &Handle) -> u64 {
    node.item("sim1/count").and_then(|item| item.value.as_u64()).unwrap_or(0)
}

#[test]
fn the_main_becomes_active_and_the_backup_follows_every_value() {
    let pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    wait(|| count(&pair.main) > 3 && count(&pair.backup) > 3, "the counter on both nodes");
    let view = pair.backup.cluster();
    assert_eq!(view.groups[0].active.as_deref(), Some("main"));
    assert_eq!(pair.backup.interfaces()[0].role, "hot");
    pair.stop();
}

#[test]
fn a_switchover_moves_the_role_and_back() {
    let pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    let order = |node: &Handle, to: &str| {
        node.order(None, &Order::Switchover { to: Some(to.to_owned()) }, "test").unwrap()
    };
    order(&pair.main, "backup");
    wait(|| pair.backup.is_active() && pair.main.is_standby(), "backup active, main standby");
    let operation = order(&pair.main, "main");
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active again");
    wait(
        || pair.main.operation(operation).is_some_and(|operation| operation.state == "done"),
        "operation done",
    );
    let history = pair.main.history(100);
    assert!(history.iter().any(|change| change.to == "draining"), "{history:?}");
    pair.stop();
}

/// A pipe that nobody reads stands for a disk that takes nothing: who opens it to write stands still in the kernel.
#[test]
fn a_node_goes_on_to_vote_and_change_its_role_while_the_disk_takes_no_line_about_it() {
    let pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    let file = pair.dir.path().join("state/backup/history.jsonl");
    wait(|| std::fs::read_to_string(&file).is_ok_and(|text| text.contains("standby")), "the line before");
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    pair.main.order(None, &Order::Switchover { to: Some("backup".to_owned()) }, "test").unwrap();
    let state = |node: &Handle| {
        let view = node.cluster();
        view.groups[0].nodes.iter().find(|node| node.name == "backup").map(|node| node.state.clone())
    };
    for node in [&pair.backup, &pair.main] {
        wait(|| state(node).as_deref() == Some("activating"), "the backup says that it takes over");
    }
    // Whoever has both ends open makes nobody wait.
    let _pipe = std::fs::File::options().read(true).write(true).open(&file).unwrap();
    wait(|| pair.backup.is_active(), "backup active");
    let history = pair.backup.history(100);
    assert!(history.iter().any(|change| change.to == "activating"), "{history:?}");
    pair.stop();
}

#[test]
fn a_command_is_written_once_and_refused_on_the_standby() {
    let pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(pair.main.set("sim1/echo", 42.into(), "test")).unwrap();
    assert!(done.ok, "{done:?}");
    wait(|| pair.backup.item("sim1/echo").is_some_and(|item| item.value == 42), "the echo on the backup");
    let refused = runtime.block_on(pair.backup.set("sim1/echo", 43.into(), "test")).unwrap_err();
    assert_eq!(refused.code(), "TH-NODE-001");
    assert!(refused.to_string().contains("main"), "{refused}");
    assert_eq!(pair.main.item("sim1/echo").unwrap().value, 42);
    pair.stop();
}

#[test]
fn a_stream_goes_on_from_its_cursor_on_the_other_node() {
    let pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = StreamFilter { prefix: "sim1/count".to_owned() };
        let mut first = pair.main.subscribe(filter.clone(), None);
        let mut cursor = String::new();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let frame = first.next().await.unwrap();
            cursor = frame.cursor;
            seen.extend(frame.items.iter().filter_map(|item| item.value.as_u64()));
        }
        let mut second = pair.backup.subscribe(filter, pair.backup.cursor(&cursor));
        for _ in 0..3 {
            let frame = second.next().await.unwrap();
            seen.extend(frame.items.iter().filter_map(|item| item.value.as_u64()));
        }
        assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    });
    pair.stop();
}

#[test]
fn a_node_that_comes_back_finds_what_it_missed() {
    let mut pair = Pair::start();
    wait(|| pair.main.is_active() && pair.backup.is_standby(), "main active, backup standby");
    shutdown(&pair.backup);
    wait(|| count(&pair.main) > 10, "values go on");
    pair.backup = start_node(pair.dir.path(), "backup");
    wait(|| pair.backup.is_standby(), "the backup is a standby again");
    let ahead = count(&pair.main);
    wait(|| count(&pair.backup) >= ahead, "the backup has caught up");
    pair.stop();
}

#[test]
fn groups_share_the_load_and_move_by_themselves_or_together() {
    let pair = Pair::start_with(ENERGY);
    let active = |node: &Handle, group: usize| node.cluster().groups[group].active.clone();
    let acts =
        |node: &Handle| node.cluster().groups.iter().map(|group| group.state == "active").collect::<Vec<_>>();
    wait(
        || acts(&pair.main) == [true, false] && acts(&pair.backup) == [false, true],
        "one group on each node",
    );
    wait(|| pair.main.cluster().groups.iter().all(|group| group.protected), "both protected");

    // A stream carries the values of both groups, and its cursor goes on with both on the other node.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut seen = BTreeMap::<String, Vec<u64>>::new();
        let mut cursor = None;
        for node in [&pair.main, &pair.backup] {
            let mut stream = node.subscribe(StreamFilter::default(), cursor);
            let enough = seen.values().map(Vec::len).max().unwrap_or(0) + 5;
            loop {
                let frame = stream.next().await.unwrap();
                for item in frame.items.iter().filter(|item| item.key.ends_with("count")) {
                    seen.entry(item.key.clone()).or_default().extend(item.value.as_u64());
                }
                cursor = node.cursor(&frame.cursor);
                assert!(cursor.is_some(), "{}", frame.cursor);
                if seen.len() == 2 && seen.values().all(|counts| counts.len() >= enough) {
                    break;
                }
            }
        }
        for (key, counts) in seen {
            assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{key}: {counts:?}");
        }
    });

    // Both groups together: only the one that is elsewhere has to move.
    let to_main = Order::Switchover { to: Some("main".to_owned()) };
    let operation = pair.backup.order(None, &to_main, "test").unwrap();
    wait(|| acts(&pair.main) == [true, true], "both groups on the main");
    wait(
        || pair.backup.operation(operation).is_some_and(|operation| operation.state == "done"),
        "the order has ended",
    );
    let operation = pair.backup.order(None, &to_main, "test").unwrap();
    assert_eq!(pair.backup.operation(operation).unwrap().state, "done");

    // One group alone.
    wait(|| pair.main.cluster().groups.iter().all(|group| group.protected), "both protected again");
    pair.main.order(Some("site"), &Order::Switchover { to: None }, "test").unwrap();
    wait(
        || acts(&pair.backup) == [true, false] && acts(&pair.main) == [false, true],
        "the groups changed places",
    );
    assert_eq!(active(&pair.main, 0).as_deref(), Some("backup"));
    pair.stop();
}

/// A group that prefers the backup, so that the load is shared.
const ENERGY: &str = r#"
[[group]]
id = "energy"
nodes = ["backup", "main"]
[[interface]]
id = "sim2"
group = "energy"
plugin = "sim"
items = "items.csv"
settings = { interval_ms = 20, batch = 1 }
"#;
