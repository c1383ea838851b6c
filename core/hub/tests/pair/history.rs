//! Values of the past, on both nodes, over a death of the main.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::site::Pair;

/// The simulator counts: within an epoch the history has each number once and none is missing, on both nodes, although
/// the main's machine dies in between and reads its journal again.
#[test]
fn both_nodes_have_every_value_once_after_the_main_died() {
    let mut pair = Pair::start_with_history();
    pair.wait("main active, backup in sync", |pair| {
        pair.state("main") == "active" && pair.json("main", &["status"])["groups"][0]["protected"] == true
    });
    for node in ["main", "backup"] {
        pair.wait("values in the history", |pair| trend(pair, node).len() > 40);
    }

    pair.kill("main");
    pair.wait("backup active", |pair| pair.state("backup") == "active");
    let taken_over = trend(&pair, "backup").len();
    pair.wait("values of the new epoch", |pair| trend(pair, "backup").len() > taken_over + 40);
    pair.restart("main");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    pair.json("main", &["switchover", "--to", "main"]);
    pair.wait("main active", |pair| pair.state("main") == "active");
    pair.wait("values of the third epoch", |pair| epochs(&trend(pair, "main")).len() >= 3);

    let told = trend(&pair, "main");
    let end = told.last().unwrap().clone();
    pair.wait("the backup to have them", |pair| trend(pair, "backup").contains(&end));
    let other = trend(&pair, "backup");
    for (node, rows) in [("main", &told), ("backup", &other)] {
        each_number_once(node, rows);
        let history = &pair.json(node, &["status"])["history"];
        assert_eq!(
            (&history["lost_records"], &history["error"]),
            (&Value::from(0), &Value::Null),
            "{history}"
        );
        assert!(history["items"] == 2 && history["rows"].as_u64() > Some(80), "{history}");
        let metrics = pair.metrics(node);
        assert!(metrics.contains(&format!("twinhub_history_rows_total{{node=\"{node}\"}} ")), "{metrics}");
    }
    // What only the dead main had is not on the backup; all else is on both.
    let until =
        |rows: &[Row]| rows.iter().take_while(|row| row.time <= end.time).cloned().collect::<BTreeSet<_>>();
    let (told, other) = (until(&told), until(&other));
    assert!(other.is_subset(&told), "{:#?}", other.difference(&told));
    let first_epoch = &told.first().unwrap().epoch.clone();
    assert!(told.difference(&other).all(|row| row.epoch == *first_epoch), "{:#?}", told.difference(&other));

    // The same through intervals, as a table and as CSV.
    let times = ["--from", "-1h", "--to", &end.time];
    let all = pair.json("main", &[&["trend", "sim1/count", "--aggregate"], &times[..]].concat());
    assert_eq!(all["rows"][0]["count"].as_u64(), Some(told.len() as u64 - 1), "{all}");
    let text = pair.table("main", &["trend", "sim1/count", "--limit", "3"]);
    assert!(text.contains("TIME") && text.lines().count() == 5 && text.contains("there is more"), "{text}");
    let csv = pair.table("backup", &["--output", "csv", "trend", "sim1/count"]);
    assert!(csv.starts_with("source_time,server_time,value,") && csv.lines().count() > other.len(), "{csv}");
    let cut = ["--output", "csv", "trend", "sim1/count", "--limit", "3"];
    for (args, is_cut) in [(&cut[..], true), (&cut[..4], false)] {
        let url = format!("http://127.0.0.1:{}", pair.web("main"));
        let output = pair.command().args(args).args(["--url", &url]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("there is more than --limit says"), is_cut, "{output:?}");
    }
    let refused = pair.ask("main", &["trend", "sim1/echo"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("historize"), "{refused:?}");
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) time: String,
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) value: i64,
}

pub(crate) fn trend(pair: &Pair, node: &str) -> Vec<Row> {
    trend_of(pair, node, "sim1/count")
}

pub(crate) fn trend_of(pair: &Pair, node: &str, item: &str) -> Vec<Row> {
    let answer = pair.json(node, &["trend", item, "--limit", "100000"]);
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|row| {
            let (epoch, seq) = row["position"].as_str().unwrap().split_once(':').unwrap();
            Row {
                time: row["source_time"].as_str().unwrap().to_owned(),
                epoch: epoch.to_owned(),
                seq: seq.parse().unwrap(),
                value: row["value"].as_i64().unwrap(),
            }
        })
        .collect()
}

pub(crate) fn epochs(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.epoch.as_str()).collect()
}

/// Within each epoch the numbers follow each other. An image that a change of role asks for repeats the last one.
pub(crate) fn each_number_once(node: &str, rows: &[Row]) {
    for epoch in epochs(rows) {
        let mut those: Vec<&Row> = rows.iter().filter(|row| row.epoch == epoch).collect();
        those.sort_by_key(|row| row.seq);
        for pair in those.windows(2) {
            assert!(pair[0].seq < pair[1].seq, "{node}: a record is there twice: {pair:?}");
            assert_eq!(pair[1].value, pair[0].value + 1, "{node}: {pair:?}");
        }
    }
}

/// Whether within each epoch no number is missing.
pub(crate) fn is_complete(rows: &[Row]) -> bool {
    epochs(rows).into_iter().all(|epoch| {
        let those: BTreeMap<u64, i64> =
            rows.iter().filter(|row| row.epoch == epoch).map(|row| (row.seq, row.value)).collect();
        those.values().zip(those.values().skip(1)).all(|(one, next)| one + 1 == *next)
    })
}

/// The backup is away until the main's journal has dropped what it lacks. What it missed comes from the main's history,
/// also if its process dies in the middle and begins anew, and both have the same in the end.
#[test]
fn what_a_node_missed_comes_from_the_other_ones_history() {
    let mut pair = Pair::start_with_history_and(
        "[journal]\nsegment = \"64KiB\"\nretain = \"128KiB\"\n[history]\nsync_rate = \"64KiB\"\n",
    );
    pair.wait("main active, backup in sync", |pair| {
        pair.state("main") == "active" && pair.json("main", &["status"])["groups"][0]["protected"] == true
    });
    pair.wait("values on the backup", |pair| trend(pair, "backup").len() > 10);
    let known = trend(&pair, "backup");
    pair.stop("backup");

    // Values with long texts fill the journal.
    let text = "x".repeat(4000);
    let fill = |pair: &Pair, from: u32, to: u32| {
        for number in from..to {
            let value = format!("\"{number} {text}\"");
            pair.ask("main", &["items", "set", "sim1/note", &value]);
        }
    };
    fill(&pair, 0, 120);
    pair.wait("the main's history has them", |pair| {
        pair.json("main", &["status"])["history"]["lag_records"] == 0 && notes(pair, "main").len() >= 119
    });
    pair.restart("backup");
    pair.wait("something is fetched", |pair| {
        let history = &pair.json("backup", &["status"])["history"];
        history["gap_records"].as_u64() > Some(0) && history["copied_rows"].as_u64() > Some(0)
    });
    pair.kill("backup");
    pair.restart("backup");
    pair.wait("nothing is missing", |pair| {
        let history = &pair.json("backup", &["status"])["history"];
        history["gap_records"] == 0
            && history["lag_records"] == 0
            && trend(pair, "backup").len() > known.len() + 40
    });
    let end = trend(&pair, "main").last().unwrap().clone();
    pair.wait("the backup to have the newest", |pair| trend(pair, "backup").contains(&end));
    let until = |rows: Vec<Row>| rows.into_iter().take_while(|row| row.time <= end.time).collect::<Vec<_>>();
    let (told, other) = (until(trend(&pair, "main")), until(trend(&pair, "backup")));
    assert_eq!(told, other, "the same values in the same order, each once");
    assert_eq!(notes(&pair, "main"), notes(&pair, "backup"));
    // The same as a file, whole or with where the next one begins.
    let file = pair.dir.path().join("count.parquet");
    let file_name = file.to_str().unwrap();
    let made = pair.json("backup", &["trend", "sim1/count", "--file", file_name]);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{made}");
    assert_eq!((&made["bytes"], &made["is_complete"]), (&bytes.len().into(), &true.into()), "{made}");
    let cut = pair.json("backup", &["trend", "sim1/count", "--file", file_name, "--limit", "5"]);
    assert!(cut["is_complete"] == false && cut["bytes"].as_u64() < made["bytes"].as_u64(), "{cut}");
    let refused = pair.ask("backup", &["trend", "sim1/none", "--file", file_name]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no item"), "{refused:?}");
    let events = pair.json("backup", &["events", "--limit", "1000"]);
    assert!(events.to_string().contains("came into the history from main"), "{events}");
    let metrics = pair.metrics("backup");
    let received = "twinhub_sync_records_total{node=\"backup\",part=\"history\",direction=\"received\"} ";
    let received = metrics.lines().find_map(|line| line.strip_prefix(received)).unwrap();
    assert!(received.parse::<u64>().unwrap() > 0, "{metrics}");
}

fn notes(pair: &Pair, node: &str) -> Vec<String> {
    let answer = pair.json(node, &["trend", "sim1/note", "--limit", "100000"]);
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| format!("{} {} {}", row["source_time"], row["position"], row["value"])).collect()
}
