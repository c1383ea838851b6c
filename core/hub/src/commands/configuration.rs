//! `config apply`, `diff`, `rollback`, `history`, `activate`: revisions of the configuration of a running site.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use twinhub_config::{Diagnostic, Files, MAIN_FILE, Severity};
use twinhub_runtime::view::{AppliedView, ClusterView, ConfigurationView, NodeView, ReloadView};

use super::check;
use super::status::CLUSTER;
use crate::cli::{ActivateArgs, ApplyArgs, DiffArgs, Global, RollbackArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, print, table};
use crate::paths::Paths;

mod diff;
mod show;

use show::FilesView;
pub(crate) use show::show;

const CONFIG: &str = "/api/v1/config";
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn apply(global: &Global, args: &ApplyArgs, answer: Answer) -> Outcome {
    let files = local_files(global, args.from.as_deref(), true)?;
    let client = Client::new(global)?;
    let body = json!({
        "files": texts(files)?,
        "message": args.message,
        "base": args.base,
        "dry_run": args.dry_run,
        "alone": args.alone,
    });
    let applied: AppliedView = client.send("POST", &format!("{CONFIG}?forward=1"), &body)?;
    say(answer, &applied, args.dry_run)
}

pub(crate) fn rollback(global: &Global, args: &RollbackArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let body = json!({ "revision": args.revision, "message": args.message, "alone": args.alone });
    let applied: AppliedView = client.send("POST", &format!("{CONFIG}/rollback?forward=1"), &body)?;
    say(answer, &applied, false)
}

fn say(answer: Answer, applied: &AppliedView, dry_run: bool) -> Outcome {
    answer.give(applied, |applied| {
        let mut lines = applied.warnings.clone();
        lines.push(match (applied.changed, dry_run, applied.revision) {
            (false, _, Some(revision)) => format!("nothing differs from revision {revision}"),
            (_, true, _) => format!("it can be applied: hash {}", applied.hash),
            (_, false, Some(revision)) => format!("revision {revision} is in force: hash {}", applied.hash),
            (_, false, None) => "nothing was applied".to_owned(),
        });
        if applied.changed && !dry_run && !applied.confirmed {
            lines.push("no majority of the nodes has it on disk yet".to_owned());
        }
        if !applied.restart.is_empty() && !dry_run {
            let nodes = applied.restart.join(", ");
            lines.push(format!(
                "until a restart these run another one: {nodes}; `twinhub config activate` restarts them"
            ));
        }
        lines.join("\n")
    })
}

pub(crate) fn history(global: &Global, answer: Answer) -> Outcome {
    let view: ConfigurationView = Client::new(global)?.get(CONFIG)?;
    answer.give(&view, |view| {
        let rows = view.revisions.iter().chain(&view.conflicts).map(|revision| {
            let mark = match (&revision.node, Some(revision.revision) == view.revision) {
                (Some(node), _) => format!("conflict of {node}"),
                (None, true) => "in force".to_owned(),
                (None, false) => String::new(),
            };
            let message = match revision.rolled_back_to {
                Some(earlier) => format!("as revision {earlier}; {}", revision.message),
                None => revision.message.clone(),
            };
            let message = message.trim_end_matches("; ").to_owned();
            [
                revision.revision.to_string(),
                revision.at.clone(),
                revision.author.clone(),
                revision.hash.clone(),
                mark,
                message,
            ]
        });
        let rows = table(["revision", "at", "by", "hash", "", "why"], rows);
        std::iter::once(rows).chain(view.notes.iter().cloned()).collect::<Vec<_>>().join("\n")
    })
}

#[derive(Debug, Serialize)]
struct FileDiff {
    file: String,
    /// `-` and `+` lines with some around them.
    text: String,
}

pub(crate) fn diff(global: &Global, args: &DiffArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let of_revision = |number: u64| -> Result<BTreeMap<String, String>, Failure> {
        client.get::<FilesView>(&format!("{CONFIG}/revisions/{number}")).map(|found| found.files)
    };
    let in_force = || -> Result<u64, Failure> {
        let view: ConfigurationView = client.get(CONFIG)?;
        let none =
            || Failure::new(Code::Error, "no revision was applied yet: `twinhub config apply` does it");
        view.revision.ok_or_else(none)
    };
    let (from, to) = match (args.a, args.b) {
        (Some(a), Some(b)) => (of_revision(a)?, of_revision(b)?),
        (Some(a), None) => (of_revision(a)?, of_revision(in_force()?)?),
        (None, _) => (of_revision(in_force()?)?, texts(local_files(global, None, false)?)?),
    };
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let text = |files: &BTreeMap<String, String>, name: &str| files.get(name).cloned().unwrap_or_default();
    let diffs: Vec<FileDiff> = names
        .into_iter()
        .map(|name| (name, text(&from, name), text(&to, name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| FileDiff { file: name.clone(), text: diff::lines(&old, &new) })
        .collect();
    answer.give(&diffs, |diffs| {
        if diffs.is_empty() {
            return "nothing differs".to_owned();
        }
        let shown = diffs.iter().map(|diff| format!("--- {0}\n+++ {0}\n{1}", diff.file, diff.text));
        shown.collect::<Vec<_>>().join("\n")
    })
}

/// The configuration that the command line names, checked with the plugins of this machine if it has them.
fn local_files(global: &Global, from: Option<&Path>, checked: bool) -> Result<Files, Failure> {
    let paths = Paths::of(global);
    let file = match from {
        Some(path) if path.is_dir() => path.join(MAIN_FILE),
        Some(path) => path.to_owned(),
        None => paths.config.clone(),
    };
    let (files, loaded) =
        Files::read(&file).map_err(|failure| Failure::new(Code::Configuration, failure.render()))?;
    if checked {
        let paths = Paths { config: file, ..paths };
        let found = check::check_plugins(&loaded.site, &paths);
        let errors: Vec<String> =
            found.iter().filter(|found| found.severity == Severity::Error).map(Diagnostic::render).collect();
        if !errors.is_empty() {
            return Err(Failure::new(Code::Configuration, errors.join("\n\n")));
        }
    }
    Ok(files)
}

fn texts(files: Files) -> Result<BTreeMap<String, String>, Failure> {
    let text = |(name, bytes): (String, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(Failure::new(Code::Configuration, format!("{name} is not UTF-8"))),
    };
    files.0.into_iter().map(text).collect()
}

/// Restarts every node that runs another configuration than the one in force: standbys first, then, after a planned
/// switchover, the one that was active.
pub(crate) fn activate(global: &Global, args: &ActivateArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let view: ConfigurationView = client.get(CONFIG)?;
    let Some(hash) = view.hash else {
        return Err(Failure::new(Code::Error, "no revision was applied yet: `twinhub config apply` does it"));
    };
    let site = Activation { client, hash, timeout: args.timeout, shows: !answer.is_json() };
    let (mut restarted, mut reloaded) = (Vec::new(), Vec::new());
    while let Some(node) = site.next_node()? {
        if !reloaded.contains(&node.name) && site.reload(&node)? {
            reloaded.push(node.name);
            continue;
        }
        if restarted.contains(&node.name) {
            let text =
                format!("{} runs another configuration also after its restart: see its log", node.name);
            return Err(Failure::new(Code::NotActive, text));
        }
        site.restart(&node)?;
        restarted.push(node.name);
    }
    let report = json!({ "hash": site.hash, "restarted": restarted, "reloaded": reloaded });
    answer.give(&report, |_| {
        let done = [("restarted", &restarted), ("took it in without a restart:", &reloaded)];
        let done = done.into_iter().filter(|(_, names)| !names.is_empty());
        let done: Vec<String> = done.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
        match done.len() {
            0 => "every node runs the configuration in force".to_owned(),
            _ => format!("{}: every node runs the configuration in force", done.join("; ")),
        }
    })
}

struct Activation {
    client: Client,
    hash: String,
    timeout: Duration,
    shows: bool,
}

impl Activation {
    /// The next node to restart; one that acts comes last.
    fn next_node(&self) -> Result<Option<NodeView>, Failure> {
        let cluster: ClusterView = self.client.get(CLUSTER)?;
        let mut waiting: Vec<NodeView> = Vec::new();
        for node in cluster.groups.iter().flat_map(|group| &group.nodes) {
            let differs = node.reachable && node.config_hash != self.hash;
            if differs && !waiting.iter().any(|other| other.name == node.name) {
                waiting.push(node.clone());
            }
        }
        waiting.sort_by_key(|node| is_active(&cluster, &node.name));
        Ok(waiting.into_iter().next())
    }

    /// Whether the node could take it in as it runs.
    fn reload(&self, node: &NodeView) -> Result<bool, Failure> {
        let name = &node.name;
        let path = format!("/api/v1/nodes/{}/reload", escape(name));
        let Ok(view) = self.client.ask::<ReloadView>("POST", &path) else {
            // A node of the version before does not know how.
            return Ok(false);
        };
        if !view.loaded {
            self.say(&format!("{name} needs a restart: {}", view.restart.join(", ")))?;
            return Ok(false);
        }
        self.say(&format!("{name} takes in {}", view.differs.join(", ")))?;
        // The others hear of it with its next heartbeat.
        self.wait(&format!("{name} is not known to run it"), |cluster| {
            let nodes = cluster.groups.iter().flat_map(|group| &group.nodes);
            nodes.filter(|node| node.name == *name).all(|node| node.config_hash == self.hash)
        })?;
        Ok(true)
    }

    fn restart(&self, node: &NodeView) -> Result<(), Failure> {
        let name = &node.name;
        let cluster: ClusterView = self.client.get(CLUSTER)?;
        let others = cluster.groups.iter().flat_map(|group| &group.nodes);
        let can_move = others.into_iter().any(|other| other.name != *name && other.state == "standby");
        if is_active(&cluster, name) && can_move {
            self.say(&format!("{name} gives its role away"))?;
            for group in cluster.groups.iter().filter(|group| group.active.as_deref() == Some(name)) {
                let body = json!({ "group": group.id });
                self.client.send::<Value>("POST", &format!("{CLUSTER}/switchover"), &body)?;
            }
            self.wait(&format!("{name} is active still"), |cluster| !is_active(cluster, name))?;
        }
        self.say(&format!("{name} is restarted"))?;
        let path = format!("/api/v1/nodes/{}/restart", escape(name));
        self.client.ask::<Value>("POST", &path)?;
        self.wait(&format!("{name} is not back in sync"), |cluster| {
            cluster.groups.iter().all(|group| {
                let mut of_group = group.nodes.iter().filter(|node| node.name == *name);
                of_group.all(|node| node.reachable && node.in_sync && node.config_hash == self.hash)
            })
        })
    }

    fn wait(&self, what: &str, is_so: impl Fn(&ClusterView) -> bool) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match self.client.get::<ClusterView>(CLUSTER) {
                Ok(cluster) if is_so(&cluster) => return Ok(()),
                Ok(_) => {}
                // The node that is asked may be the one that is restarted.
                Err(failure) if failure.code == Code::Unreachable => {}
                Err(failure) => return Err(failure),
            }
            if begun.elapsed() > self.timeout {
                let text = format!("{what} after {} s: look with `twinhub status`", self.timeout.as_secs());
                return Err(Failure::new(Code::NotActive, text));
            }
            std::thread::sleep(POLL);
        }
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.shows { print(text).map(drop) } else { Ok(()) }
    }
}

fn is_active(cluster: &ClusterView, name: &str) -> bool {
    cluster.groups.iter().any(|group| group.active.as_deref() == Some(name))
}
