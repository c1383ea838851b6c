//! Orders to the cluster: `switchover`, `drain`, `failover`, `pause`, `resume`, `resync`.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use twinhub_runtime::view::{ClusterView, GroupView};

use super::operation::{self, Accepted};
use super::status::CLUSTER;
use crate::cli::{DrainArgs, FailoverArgs, Global, GroupArgs, GrowArgs, ShrinkArgs, SwitchoverArgs};
use crate::client::Client;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain};

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
    let place = match (args.to_primary, args.to_next) {
        (true, _) => Some("primary"),
        (false, true) => Some("next"),
        (false, false) => None,
    };
    let body = json!({ "group": args.group, "to": args.to, "place": place });
    let goal = Goal { group: args.group.as_deref(), to: args.to.as_deref(), waits_for_move: true };
    follow(global, "switchover", &body, &goal, args.timeout, answer)
}

pub(crate) fn drain(global: &Global, args: &DrainArgs, answer: Answer) -> Outcome {
    let body = json!({ "group": args.group, "node": args.name, "end": args.end });
    let goal = Goal { group: args.group.as_deref(), to: None, waits_for_move: !args.end };
    follow(global, "drain", &body, &goal, args.timeout, answer)
}

pub(crate) fn shrink(global: &Global, args: &ShrinkArgs, answer: Answer) -> Outcome {
    let body = json!({ "group": args.group, "voter": args.name, "fenced": args.fenced, "hold": args.hold });
    let goal = Goal { group: args.group.as_deref(), to: None, waits_for_move: false };
    follow(global, "shrink", &body, &goal, ORDER_TIME_MAX, answer)
}

pub(crate) fn grow(global: &Global, args: &GrowArgs, answer: Answer) -> Outcome {
    let body = json!({ "group": args.group, "voter": args.name });
    let goal = Goal { group: args.group.as_deref(), to: None, waits_for_move: false };
    follow(global, "grow", &body, &goal, ORDER_TIME_MAX, answer)
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
    let operation = operation::wait(&client, &accepted, timeout)?;
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

const POLL: Duration = Duration::from_millis(20);
const ORDER_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterView {
        let group =
            GroupView { id: "site".to_owned(), active: Some("main".to_owned()), ..GroupView::default() };
        ClusterView { groups: vec![group], ..ClusterView::default() }
    }

    #[test]
    fn a_switchover_is_over_when_the_named_node_is_active() {
        let to = |to| Goal { group: Some("site"), to, waits_for_move: true };
        assert!(!to(Some("backup")).is_reached(&cluster()));
        assert!(to(Some("main")).is_reached(&cluster()));
        assert!(to(None).is_reached(&cluster()));
    }
}
