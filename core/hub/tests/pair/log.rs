//! What a stranger reads: the log alone says who was active when, and why.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::site::Pair;

/// A crash, a switchover, an isolation and a forced failover. Each node's log has the same changes with the same
/// reasons as `history` and `events`, and from the logs together follows who acted at any time.
#[test]
fn the_log_alone_tells_who_was_active_when_and_why() {
    let mut pair = Pair::start();
    let mut seen = Vec::new();
    settled(&pair, "main", "backup");
    seen.push((now(), Some("main")));

    pair.kill("main");
    pair.wait("backup active", |pair| pair.state("backup") == "active");
    seen.push((now(), Some("backup")));
    pair.restart("main");
    settled(&pair, "backup", "main");

    assert_eq!(pair.json("backup", &["switchover", "--to", "main"])["active"][0]["node"], "main");
    settled(&pair, "main", "backup");
    seen.push((now(), Some("main")));

    // Neither the backup nor the witness answers: the main closes its gates, and nobody acts.
    // The supervisor sleeps longest: it would kill a hub process that it finds stopped.
    let frozen = [pair.pid("backup"), pair.hub("backup"), pair.pid("witness")];
    let thawed = [pair.hub("backup"), pair.pid("backup"), pair.pid("witness")];
    loop {
        signal(&frozen, Signal::STOP);
        pair.wait("main without a role", |pair| {
            ["isolated", "standby"].contains(&pair.state("main").as_str())
        });
        if pair.state("main") == "isolated" {
            break;
        }
        // A machine that stalls for longer than a lease moves the role by itself.
        signal(&thawed, Signal::CONT);
        pair.wait("backup active", |pair| {
            pair.state("backup") == "active" && pair.state("main") == "standby"
        });
        pair.json("backup", &["switchover", "--to", "main"]);
        settled(&pair, "main", "backup");
    }
    seen.push((now(), None));
    signal(&thawed, Signal::CONT);
    pair.wait("one active, one standby", |pair| {
        let mut states = [pair.state("main"), pair.state("backup")];
        states.sort();
        states == ["active", "standby"]
    });
    pair.json("backup", &["switchover", "--to", "main"]);
    settled(&pair, "main", "backup");

    // An operator vouches for the rest.
    pair.kill("main");
    pair.kill("witness");
    let refused = pair.ask("backup", &["failover", "--force"]);
    assert_eq!(refused.status.code(), Some(3), "it was heard a moment ago: {refused:?}");
    pair.wait("main unreachable", |pair| {
        pair.json("backup", &["status"])["groups"][0]["nodes"][0]["state"] == "unreachable"
    });
    let refused = pair.ask("backup", &["failover"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let forced = pair.json("backup", &["failover", "--force"]);
    assert_eq!(forced["active"][0]["node"], "backup", "{forced}");
    let detail = forced["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("without a majority") && detail.contains("no other node acts"), "{forced}");
    pair.wait("backup active", |pair| pair.state("backup") == "active");
    seen.push((now(), Some("backup")));
    let status = pair.json("backup", &["status"]);
    assert_eq!(status["groups"][0]["protected"], false, "{status}");

    let mut changes = Vec::new();
    for node in ["main", "backup"] {
        let log = pair.log(node);
        assert!(!log.contains("node 0") && !log.contains("node 1"), "names, not ranks\n{log}");
        changes.extend(log.lines().filter_map(parse));
    }
    changes.sort();
    for (at, active) in seen {
        let told = active_at(&changes, &at);
        assert_eq!(told.map(|change| change.node.as_str()), active, "at {at}\n{changes:#?}");
    }
    let mut epochs: Vec<u64> = Vec::new();
    for change in changes.iter().filter(|change| change.to == "active") {
        let counter = change.epoch.split('.').next().unwrap().parse().unwrap();
        assert!(epochs.last().is_none_or(|last| *last < counter), "each had a later epoch\n{changes:#?}");
        epochs.push(counter);
    }
    for (node, said) in [
        ("backup", "main silent for"),
        ("main", "operator ordered a switchover to main on backup"),
        ("main", "votes of 2 needed in the last round"),
        ("backup", "operator forced a failover with 1 votes of 2 needed"),
    ] {
        let has = changes.iter().any(|change| change.node == node && change.reason.contains(said));
        assert!(has, "{node}: {said}\n{changes:#?}");
    }

    pair.restart("main");
    pair.wait("main to answer", |pair| !pair.state("main").is_empty());
    for node in ["main", "backup"] {
        pair.wait("log, history and events to say the same", |pair| {
            let logged: Vec<Change> = pair.log(node).lines().filter_map(parse).collect();
            let history = pair.json(node, &["history", "--limit", "1000"]);
            let history: Vec<Change> = rows(&history).iter().map(of_history).collect();
            let events = pair.json(node, &["events", "--limit", "1000"]);
            let own = |row: &&Value| row["code"] == "TH-ROLE-004" && row["node"] == node;
            let events: Vec<String> = rows(&events).iter().filter(own).map(text_of).collect();
            let without_time = |changes: &[Change]| {
                changes
                    .iter()
                    .map(|change| Change { at: String::new(), ..change.clone() })
                    .collect::<Vec<_>>()
            };
            let texts: Vec<String> = history.iter().map(Change::text).collect();
            // Events outlive a process as the history does.
            !events.is_empty() && texts == events && without_time(&logged) == without_time(&history)
        });
    }
}

/// A role change as a log shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at: String,
    node: String,
    epoch: String,
    from: String,
    to: String,
    reason: String,
}

impl Change {
    fn text(&self) -> String {
        format!("{}: {} > {}: {}", self.node, self.from, self.to, self.reason)
    }
}

fn parse(line: &str) -> Option<Change> {
    let (head, fields) = line.split_once(" role group=")?;
    let field = |name: &str| {
        let (_, rest) = fields.split_once(&format!(" {name}="))?;
        Some(match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?.to_owned(),
            None => rest.split(' ').next()?.to_owned(),
        })
    };
    Some(Change {
        at: head.split(' ').next()?.to_owned(),
        node: field("node")?,
        epoch: field("epoch")?,
        from: field("from")?,
        to: field("to")?,
        reason: field("reason")?,
    })
}

/// Who acted at a time: the last one that said that it is active, unless it said later that it is not.
fn active_at<'a>(changes: &'a [Change], at: &str) -> Option<&'a Change> {
    let before: Vec<&Change> = changes.iter().filter(|change| change.at.as_str() <= at).collect();
    let place = before.iter().rposition(|change| change.to == "active")?;
    let active = before[place];
    before[place + 1..].iter().all(|later| later.node != active.node).then_some(active)
}

fn of_history(row: &Value) -> Change {
    let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Change {
        at: field("at"),
        node: field("node"),
        epoch: field("epoch"),
        from: field("from"),
        to: field("to"),
        reason: field("reason"),
    }
}

fn rows(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text_of(row: &Value) -> String {
    row["text"].as_str().unwrap_or_default().to_owned()
}

fn settled(pair: &Pair, active: &str, standby: &str) {
    pair.wait(&format!("{active} active and protected, as seen by both"), |pair| {
        pair.state(active) == "active"
            && pair.state(standby) == "standby"
            && [active, standby].iter().all(|node| {
                pair.json(node, &["status"])["groups"][0]["protected"] == true
                    && pair
                        .metrics(node)
                        .contains(&format!("twinhub_protected{{node=\"{node}\",group=\"site\"}} 1"))
            })
    });
}

fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        kill_process(*process, signal).unwrap();
    }
}

/// As log lines show it: UTC with microseconds.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    twinhub_model::Timestamp(i64::try_from(now.as_nanos()).unwrap()).to_string()
}
