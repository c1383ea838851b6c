//! Roles: `status`, `switchover`, `failover`, `pause`, `resume`, `resync`, and `interfaces`.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use twinhub_runtime::view::{ClusterView, GroupView, InterfaceView, OperationView};

use crate::cli::{FailoverArgs, Global, GroupArgs, StatusArgs, SwitchoverArgs};
use crate::client::Client;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, print, table};

pub(crate) fn status(global: &Global, args: &StatusArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    if !args.watch {
        let cluster: ClusterView = client.get(CLUSTER)?;
        return answer.give(&cluster, cluster_text);
    }
    let interval = Duration::try_from_secs_f64(args.interval.max(0.1))
        .map_err(|error| Failure::of(Code::Usage, &error))?;
    let clears = std::io::stdout().is_terminal() && !answer.is_json();
    loop {
        match client.get::<ClusterView>(CLUSTER) {
            Ok(cluster) => {
                if clears {
                    print("\u{1b}[H\u{1b}[2J")?;
                }
                answer.give_line(&cluster, |cluster| format!("{}\n", cluster_text(cluster)))?;
            }
            // The node may be starting again: this is what one watches for.
            Err(failure) if failure.code == Code::Unreachable => {
                let line = json!({ "error": failure.text });
                answer.give_line(&line, |_| failure.text.clone())?;
            }
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(interval);
    }
}

fn cluster_text(cluster: &ClusterView) -> String {
    let mut parts = vec![format!(
        "{} as seen by {} · twinhub {} · profile {} · configuration {}",
        plain(&cluster.site),
        cluster.node,
        cluster.version,
        cluster.profile,
        cluster.config_hash
    )];
    if let Some(witness) = &cluster.witness {
        let state = if witness.up { "up".to_owned() } else { down(witness.error.as_deref()) };
        parts.push(format!("witness {} {state}", witness.address));
    }
    parts.extend(cluster.groups.iter().map(group_text));
    parts.join("\n")
}

fn group_text(group: &GroupView) -> String {
    let mut notes = vec![if group.protected { "protected" } else { "not protected" }];
    if group.split_possible {
        notes.push("split possible");
    }
    if group.paused {
        notes.push("paused");
    }
    let nodes = group.nodes.iter().map(|node| {
        let is_active = group.active.as_deref() == Some(&node.name);
        [
            if is_active { format!("* {}", node.name) } else { format!("  {}", node.name) },
            node.rank.to_string(),
            node.state.clone(),
            if node.in_sync { "yes" } else { "no" }.to_owned(),
            node.lag_records.map_or("-".to_owned(), |lag| lag.to_string()),
            node.paths.iter().map(path_text).collect::<Vec<_>>().join(", "),
        ]
    });
    format!(
        "\ngroup {}: active {} · epoch {} · {}\nsince {}: {}\n{}",
        group.id,
        group.active.as_deref().unwrap_or("nobody"),
        group.epoch,
        notes.join(", "),
        group.since,
        plain(&group.reason),
        table(["  node", "rank", "state", "in sync", "lag", "paths"], nodes)
    )
}

fn path_text(path: &twinhub_runtime::view::PathView) -> String {
    match (path.up, path.rtt_us) {
        (true, Some(micros)) => format!("{} {}.{:03} ms", path.address, micros / 1000, micros % 1000),
        (true, None) => format!("{} up", path.address),
        (false, _) => format!("{} {}", path.address, down(path.error.as_deref())),
    }
    .trim()
    .to_owned()
}

fn down(error: Option<&str>) -> String {
    error.map_or("down".to_owned(), |error| format!("down ({})", plain(error)))
}

pub(crate) fn interfaces(global: &Global, answer: Answer) -> Outcome {
    let list: Vec<InterfaceView> = Client::new(global)?.get("/api/v1/interfaces")?;
    answer.give(&list, |list| {
        let rows = list.iter().map(|interface| {
            [
                interface.id.clone(),
                format!("{} {}", interface.plugin, interface.plugin_version),
                interface.group.clone(),
                interface.role.clone(),
                interface.state.clone(),
                interface.items.to_string(),
                interface.values.to_string(),
                interface.writes.to_string(),
                interface.suppressed.to_string(),
                interface.last_ok.clone(),
                interface.fault_cause.clone(),
            ]
        });
        let header = [
            "interface",
            "plugin",
            "group",
            "role",
            "state",
            "items",
            "values",
            "writes",
            "suppressed",
            "last ok",
            "cause",
        ];
        table(header, rows)
    })
}

#[derive(Debug, Deserialize)]
struct Accepted {
    operation: u64,
}

#[derive(Debug, Serialize)]
struct Moved {
    order: String,
    state: String,
    detail: String,
    active: Vec<ActiveIn>,
    took_ms: u64,
}

#[derive(Debug, Serialize)]
struct ActiveIn {
    group: String,
    node: Option<String>,
    epoch: String,
}

pub(crate) fn switchover(global: &Global, args: &SwitchoverArgs, answer: Answer) -> Outcome {
    let body = json!({ "group": args.group, "to": args.to });
    let goal = Goal { group: args.group.as_deref(), to: args.to.as_deref(), waits_for_move: true };
    follow(global, "switchover", &body, &goal, args.timeout, answer)
}

pub(crate) fn failover(global: &Global, args: &FailoverArgs, answer: Answer) -> Outcome {
    if !args.force {
        let text = "a failover makes the asked node active although the other may still act: `switchover` is the planned way; \
                    add --force if the other node is surely down";
        return Err(Failure::new(Code::Usage, text));
    }
    let body = json!({ "group": args.group, "force": args.force });
    let goal = Goal { group: args.group.as_deref(), to: None, waits_for_move: true };
    follow(global, "failover", &body, &goal, args.timeout, answer)
}

pub(crate) fn order(global: &Global, name: &str, args: &GroupArgs, answer: Answer) -> Outcome {
    let body = json!({ "group": args.group });
    let goal = Goal { group: args.group.as_deref(), to: None, waits_for_move: false };
    follow(global, name, &body, &goal, ORDER_TIME_MAX, answer)
}

struct Goal<'a> {
    group: Option<&'a str>,
    to: Option<&'a str>,
    waits_for_move: bool,
}

/// Gives an order, waits for its end and says who is active and how long it took.
fn follow(
    global: &Global,
    name: &str,
    body: &serde_json::Value,
    goal: &Goal<'_>,
    timeout: Duration,
    answer: Answer,
) -> Outcome {
    let client = Client::new(global)?;
    let begun = Instant::now();
    let accepted: Accepted = client.send("POST", &format!("{CLUSTER}/{name}"), body)?;
    let path = format!("/api/v1/operations/{}", accepted.operation);
    let operation = loop {
        let operation: OperationView = client.get(&path)?;
        if operation.state != "running" {
            break operation;
        }
        if begun.elapsed() > timeout {
            let text = format!(
                "{name} is not finished after {} s and goes on; look with `twinhub status`",
                timeout.as_secs()
            );
            return Err(Failure::new(Code::NotActive, text));
        }
        std::thread::sleep(POLL);
    };
    let mut cluster: ClusterView = client.get(CLUSTER)?;
    while operation.state == "done"
        && goal.waits_for_move
        && !goal.is_reached(&cluster)
        && begun.elapsed() < timeout
    {
        std::thread::sleep(POLL);
        cluster = client.get(CLUSTER)?;
    }
    let is_reached = operation.state == "done" && (!goal.waits_for_move || goal.is_reached(&cluster));
    let moved = Moved {
        order: operation.order,
        state: operation.state,
        detail: operation.detail,
        active: goal
            .groups(&cluster)
            .map(|group| ActiveIn {
                group: group.id.clone(),
                node: group.active.clone(),
                epoch: group.epoch.clone(),
            })
            .collect(),
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    answer.give(&moved, |moved| {
        let active: Vec<String> = moved
            .active
            .iter()
            .map(|group| {
                let node = group.node.as_deref().unwrap_or("nobody");
                format!("group {}: {node} is active, epoch {}", group.group, group.epoch)
            })
            .collect();
        let detail =
            if moved.detail.is_empty() { String::new() } else { format!(": {}", plain(&moved.detail)) };
        format!("{name} {} in {} ms{detail}\n{}", moved.state, moved.took_ms, active.join("\n"))
    })?;
    Ok(if is_reached { Code::Ok } else { Code::NotActive })
}

impl Goal<'_> {
    fn groups<'a>(&'a self, cluster: &'a ClusterView) -> impl Iterator<Item = &'a GroupView> {
        cluster.groups.iter().filter(|group| self.group.is_none_or(|id| group.id == id))
    }

    fn is_reached(&self, cluster: &ClusterView) -> bool {
        self.groups(cluster).all(|group| match self.to {
            Some(to) => group.active.as_deref() == Some(to),
            None => group.active.is_some(),
        })
    }
}

const CLUSTER: &str = "/api/v1/cluster";
const POLL: Duration = Duration::from_millis(20);
const ORDER_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use twinhub_runtime::view::NodeView;

    use super::*;

    fn cluster() -> ClusterView {
        let node = |name: &str, rank, state: &str| NodeView {
            name: name.to_owned(),
            rank,
            state: state.to_owned(),
            in_sync: true,
            lag_records: Some(0),
            ..NodeView::default()
        };
        let group = GroupView {
            id: "site".to_owned(),
            epoch: "3.0".to_owned(),
            active: Some("main".to_owned()),
            protected: true,
            since: "2030-01-01T00:00:00Z".to_owned(),
            reason: "elected".to_owned(),
            nodes: vec![node("main", 0, "active"), node("backup", 1, "standby")],
            ..GroupView::default()
        };
        ClusterView {
            site: "Hotel".to_owned(),
            node: "main".to_owned(),
            groups: vec![group],
            ..ClusterView::default()
        }
    }

    #[test]
    fn the_status_table_marks_the_active_node() {
        let text = cluster_text(&cluster());
        assert!(text.contains("group site: active main · epoch 3.0 · protected"), "{text}");
        assert!(text.contains("* main") && text.contains("  backup"), "{text}");
    }

    #[test]
    fn a_switchover_is_over_when_the_named_node_is_active() {
        let to = |to| Goal { group: Some("site"), to, waits_for_move: true };
        assert!(!to(Some("backup")).is_reached(&cluster()));
        assert!(to(Some("main")).is_reached(&cluster()));
        assert!(to(None).is_reached(&cluster()));
    }
}
