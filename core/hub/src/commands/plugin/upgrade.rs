//! `plugin upgrade`, `rollback` and `keep`: another version of a plugin, node by node.
//!
//! ```text
//! all nodes:     does the file fit? -> else nothing changes anywhere
//! each standby:  upgrade -> watched: as well as before? -> next
//! active node:   its roles go to an upgraded node -> upgrade -> watched: as well as before?
//! ```
//! What fails on one node is taken back on those before it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use twinhub_runtime::view::{ClusterView, GroupView, NodeView, UpgradeView};

use crate::cli::{Global, PluginTrialArgs, PluginUpgradeArgs};
use crate::client::{Client, escape};
use crate::commands::operation::{self, Accepted};
use crate::commands::status::CLUSTER;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, table};

/// What becomes of a version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Rollback,
    Keep,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            End::Rollback => "rollback",
            End::Keep => "keep",
        }
    }
}

/// What was done on one node.
#[derive(Debug, Serialize)]
struct Row {
    node: String,
    what: &'static str,
    state: String,
    detail: String,
}

impl Row {
    fn failed(&self) -> bool {
        self.state == "failed"
    }
}

struct Walk<'a> {
    client: Client,
    plugin: &'a str,
    /// As it was written; a node says whether it is a time.
    trial: Option<&'a str>,
    watch: Duration,
    timeout: Duration,
    rows: Vec<Row>,
}

/// How a node does that was upgraded.
enum Watched {
    Well,
    /// It runs the version before again, by itself.
    TakenBack,
    Worse(String),
}

pub(super) fn run(global: &Global, args: &PluginUpgradeArgs, answer: Answer) -> Outcome {
    let mut walk = Walk {
        client: Client::new(global)?,
        plugin: &args.plugin,
        trial: Some(&args.trial),
        watch: args.watch,
        timeout: args.timeout,
        rows: Vec::new(),
    };
    let cluster = walk.cluster()?;
    let nodes = match &args.node {
        Some(node) => vec![node.clone()],
        None => order(&cluster)?,
    };
    let Some(nodes) = walk.check(&nodes)? else {
        give(answer, &walk.rows)?;
        return Ok(Code::Error);
    };
    if args.dry_run {
        return give(answer, &walk.rows);
    }
    let stays = args.in_place || args.node.is_some();
    let mut changed: Vec<String> = Vec::new();
    let mut has_failed = false;
    for node in &nodes {
        if walk.upgrade(node, changed.first().filter(|_| !stays).map(String::as_str))? {
            changed.push(node.clone());
            continue;
        }
        has_failed = true;
        for before in &changed {
            walk.ordered(before, "rollback", &json!({ "node": before }));
        }
        break;
    }
    give(answer, &walk.rows)?;
    Ok(if has_failed { Code::Error } else { Code::Ok })
}

pub(super) fn end_trial(global: &Global, args: &PluginTrialArgs, end: End, answer: Answer) -> Outcome {
    let mut walk = Walk {
        client: Client::new(global)?,
        plugin: &args.plugin,
        trial: None,
        watch: Duration::ZERO,
        timeout: args.timeout,
        rows: Vec::new(),
    };
    let nodes = match &args.node {
        Some(node) => vec![node.clone()],
        None => order(&walk.cluster()?)?,
    };
    for node in &nodes {
        walk.order(node, end.word(), &json!({ "node": node }))?;
    }
    give(answer, &walk.rows)?;
    // A node that has nothing on trial is as it should be, if another one had.
    let has_failed = walk.rows.iter().all(Row::failed);
    Ok(if has_failed { Code::Error } else { Code::Ok })
}

fn give(answer: Answer, rows: &Vec<Row>) -> Outcome {
    answer.give(rows, |rows| {
        let cells = rows
            .iter()
            .map(|row| [row.node.clone(), row.what.to_owned(), row.state.clone(), plain(&row.detail)]);
        table(["node", "what", "result", "detail"], cells)
    })
}

impl Walk<'_> {
    /// The nodes that have something to change; none if the file does not fit on one of them.
    fn check(&mut self, nodes: &[String]) -> Result<Option<Vec<String>>, Failure> {
        let (mut to_change, mut fits) = (Vec::new(), true);
        for node in nodes {
            let found = self.look(node);
            let (state, detail) = match found {
                Ok(found) => {
                    to_change.push(node.clone());
                    let interfaces = found.interfaces.join(", ");
                    ("done", format!("{} to {} at {interfaces}", found.from, found.to))
                }
                Err(failure) if failure.text.contains(SAME) => {
                    ("done", "it runs this file already".to_owned())
                }
                Err(failure) if failure.code == Code::Error => {
                    fits = false;
                    ("failed", failure.text)
                }
                Err(failure) => return Err(failure),
            };
            self.rows.push(Row { node: node.clone(), what: "check", state: state.to_owned(), detail });
        }
        Ok(fits.then_some(to_change))
    }

    /// What an upgrade of a node would change.
    fn look(&self, node: &str) -> Result<UpgradeView, Failure> {
        let path = format!("/api/v1/plugins/{}/upgrade", escape(self.plugin));
        self.client.send("POST", &path, &json!({ "node": node, "trial": self.trial, "dry_run": true }))
    }

    fn cluster(&self) -> Result<ClusterView, Failure> {
        self.client.get(CLUSTER)
    }

    /// Whether the node runs the new version and is as well as before; what does not is taken back there.
    fn upgrade(&mut self, node: &str, successor: Option<&str>) -> Result<bool, Failure> {
        if let Some(successor) = successor {
            let cluster = self.cluster()?;
            for group in cluster.groups.iter().filter(|group| group.active.as_deref() == Some(node)) {
                if !self.hand_over(&group.id, node, successor)? {
                    return Ok(false);
                }
            }
        }
        // Who no longer acts may see less of its devices than it did.
        let before = self.cluster()?;
        if !self.ordered(node, "upgrade", &json!({ "node": node, "trial": self.trial })) {
            return Ok(false);
        }
        let (detail, is_left) = match self.watch(&before, node)? {
            Watched::Well => return Ok(true),
            Watched::TakenBack => (format!("`{node}` took it back by itself, see `twinhub events ls`"), true),
            Watched::Worse(detail) => (detail, false),
        };
        self.rows.push(Row { node: node.to_owned(), what: "health", state: "failed".to_owned(), detail });
        if !is_left {
            self.ordered(node, "rollback", &json!({ "node": node }));
        }
        Ok(false)
    }

    fn hand_over(&mut self, group: &str, from: &str, to: &str) -> Result<bool, Failure> {
        let body = json!({ "group": group, "to": to });
        let accepted: Accepted = self.client.send("POST", &format!("{CLUSTER}/switchover"), &body)?;
        let operation = operation::wait(&self.client, &accepted, self.timeout)?;
        let begun = Instant::now();
        let mut is_there = false;
        while operation.state == "done" && !is_there && begun.elapsed() < self.timeout {
            let cluster = self.cluster()?;
            is_there = cluster.groups.iter().any(|known| {
                known.id == group && known.active.as_deref() == Some(to) && is_following(known, from)
            });
            if !is_there {
                std::thread::sleep(POLL);
            }
        }
        let state = if is_there { "done" } else { "failed" }.to_owned();
        let detail = format!("group {group} to {to}: {}", operation.detail);
        self.rows.push(Row { node: from.to_owned(), what: "switchover", state, detail });
        Ok(is_there)
    }

    /// How the node does. What it is not sure of yet, and was, is waited for: a connection that does not come up takes
    /// time to fail.
    fn watch(&self, before: &ClusterView, node: &str) -> Result<Watched, Failure> {
        let begun = Instant::now();
        loop {
            let elapsed = begun.elapsed();
            let now = self.cluster()?;
            let is_late = elapsed > self.watch + self.timeout;
            match compare(before, &now, node) {
                Some(worse) if is_late => {
                    return Ok(Watched::Worse(format!("{worse}, after {} s", elapsed.as_secs())));
                }
                None if is_late || (elapsed >= self.watch && is_as_sure(before, &now, node)) => break,
                Some(_) | None => std::thread::sleep(POLL),
            }
        }
        match self.look(node) {
            Ok(_) => Ok(Watched::TakenBack),
            Err(failure) if failure.text.contains(SAME) => Ok(Watched::Well),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the node did what was ordered; one that cannot be asked did not.
    fn ordered(&mut self, node: &str, what: &'static str, body: &serde_json::Value) -> bool {
        self.order(node, what, body).unwrap_or_else(|Failure { text: detail, .. }| {
            self.rows.push(Row { node: node.to_owned(), what, state: "failed".to_owned(), detail });
            false
        })
    }

    /// Whether the node did what was ordered.
    fn order(&mut self, node: &str, what: &'static str, body: &serde_json::Value) -> Result<bool, Failure> {
        let path = format!("/api/v1/plugins/{}/{what}", escape(self.plugin));
        let accepted: Accepted = self.client.send("POST", &path, body)?;
        let operation = operation::wait(&self.client, &accepted, self.timeout)?;
        let is_done = operation.state == "done";
        let (state, detail) = (operation.state, operation.detail);
        self.rows.push(Row { node: node.to_owned(), what, state, detail });
        Ok(is_done)
    }
}

/// All nodes: those that act in no group first, from the last of them on.
fn order(cluster: &ClusterView) -> Result<Vec<String>, Failure> {
    let mut nodes: Vec<&NodeView> = Vec::new();
    for node in cluster.groups.iter().flat_map(|group| &group.nodes) {
        if !nodes.iter().any(|known| known.name == node.name) {
            nodes.push(node);
        }
    }
    if let Some(lost) = nodes.iter().find(|node| !node.reachable) {
        let text = format!(
            "node `{}` is not reachable, and would go on with the version before when it is back: wait for it, or go node \
             by node with --node",
            lost.name
        );
        return Err(Failure::new(Code::Unreachable, text));
    }
    let acts = |node: &NodeView| {
        cluster.groups.iter().any(|group| group.active.as_deref() == Some(node.name.as_str()))
    };
    nodes.sort_by_key(|node| (acts(node), std::cmp::Reverse(node.rank)));
    Ok(nodes.into_iter().map(|node| node.name.clone()).collect())
}

fn is_following(group: &GroupView, node: &str) -> bool {
    group.nodes.iter().any(|known| known.name == node && known.in_sync)
}

fn node_in<'a>(cluster: &'a ClusterView, group: &str, node: &str) -> Option<&'a NodeView> {
    let group = cluster.groups.iter().find(|known| known.id == group)?;
    group.nodes.iter().find(|known| known.name == node)
}

/// Whether the node has proven as much of its health as it had.
fn is_as_sure(before: &ClusterView, now: &ClusterView, node: &str) -> bool {
    let proven = |cluster, group| node_in(cluster, group, node).and_then(|node| node.proven);
    before.groups.iter().all(|group| proven(now, &group.id) >= proven(before, &group.id))
}

/// Why the node is not as well as it was.
fn compare(before: &ClusterView, now: &ClusterView, node: &str) -> Option<String> {
    before.groups.iter().find_map(|group| {
        let was = node_in(before, &group.id, node)?;
        let is = node_in(now, &group.id, node)?;
        if !is.reachable || (was.in_sync && !is.in_sync) {
            return Some(format!("group {}: it is {}", group.id, is.state));
        }
        let (was, is) = (was.score?, is.score?);
        (is < was).then(|| format!("group {}: its health is {is}, and was {was}", group.id))
    })
}

const POLL: Duration = Duration::from_millis(50);
/// The code of a file that runs already.
const SAME: &str = "TH-PLUGIN-009";

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, rank: u8, score: u8) -> NodeView {
        NodeView {
            name: name.to_owned(),
            rank,
            reachable: true,
            in_sync: true,
            score: Some(score),
            ..NodeView::default()
        }
    }

    fn cluster(nodes: Vec<NodeView>) -> ClusterView {
        let group = GroupView {
            id: "site".to_owned(),
            active: Some("main".to_owned()),
            nodes,
            ..GroupView::default()
        };
        ClusterView { groups: vec![group], ..ClusterView::default() }
    }

    #[test]
    fn who_does_not_act_comes_first_and_a_lost_node_stops_it() {
        let nodes = vec![node("main", 0, 100), node("backup", 1, 100), node("third", 2, 100)];
        assert_eq!(order(&cluster(nodes)).unwrap(), ["third", "backup", "main"]);
        let lost = NodeView { reachable: false, ..node("backup", 1, 100) };
        assert!(order(&cluster(vec![node("main", 0, 100), lost])).is_err());
    }

    #[test]
    fn a_node_is_compared_with_what_it_was() {
        let before = cluster(vec![node("main", 0, 100), node("backup", 1, 60)]);
        assert_eq!(compare(&before, &cluster(vec![node("backup", 1, 60)]), "backup"), None);
        assert_eq!(compare(&before, &cluster(vec![node("backup", 1, 100)]), "backup"), None);
        let worse = compare(&before, &cluster(vec![node("backup", 1, 50)]), "backup").unwrap();
        assert!(worse.contains("health is 50"), "{worse}");
        let behind = NodeView { in_sync: false, state: "syncing".to_owned(), ..node("backup", 1, 60) };
        assert!(compare(&before, &cluster(vec![behind]), "backup").unwrap().contains("syncing"));
        let knows = |proven| cluster(vec![NodeView { proven: Some(proven), ..node("backup", 1, 60) }]);
        assert!(
            is_as_sure(&knows(20), &knows(60), "backup") && !is_as_sure(&knows(60), &knows(20), "backup")
        );
    }
}
