//! `status`: who is active and how the nodes are.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::json;
use twinhub_runtime::view::{
    ClusterView, FloatingView, GroupView, HealthPartView, HistorianView, HistoryView, MergeProgress,
    NodeView, VotersView,
};

use crate::cli::{Global, StatusArgs};
use crate::client::Client;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, print, table};

/// Where the cluster is shown.
pub(super) const CLUSTER: &str = "/api/v1/cluster";

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
        parts.extend(older("witness", cluster, witness.protocol, &witness.version));
    }
    parts.extend(cluster.notes.iter().map(|note| plain(note)));
    let mut told = std::collections::BTreeSet::new();
    for node in cluster.groups.iter().flat_map(|group| &group.nodes) {
        if told.insert(&node.name) {
            parts.extend(older(&node.name, cluster, node.protocol, &node.version));
        }
    }
    parts.extend(cluster.groups.iter().map(group_text));
    parts.extend(cluster.history.as_ref().map(history_text));
    parts.extend(cluster.historian.as_ref().map(historian_text));
    parts.join("\n")
}

/// What the asked node keeps of values.
fn history_text(history: &HistoryView) -> String {
    let mut text = format!(
        "\nhistory: {} values of {} items, {} bytes, lag {}",
        history.rows, history.items, history.bytes, history.lag_records
    );
    if let Some(oldest) = &history.oldest {
        text.extend([", since ", oldest]);
    }
    if history.lost_records > 0 {
        text.extend(["\nhistory lacks ", &history.lost_records.to_string(), " records of the journal"]);
    }
    if history.gap_records > 0 {
        let records = history.gap_records.to_string();
        text.extend(["\nhistory: ", &records, " records are fetched from other nodes"]);
        if let Some(copy) = &history.copy {
            let (from, done) = (plain(&copy.from), copy.done_percent);
            let progress = format!(": {done:.1} % from {from}, {} values/s", copy.rows_per_second);
            text.push_str(&progress);
            if let (Some(rows), Some(seconds)) = (copy.remaining_rows, copy.eta_seconds) {
                let rest = format!(", about {rows} to go in {seconds} s");
                text.push_str(&rest);
            }
        }
    }
    if let Some(error) = &history.error {
        text.extend(["\nhistory: ", &plain(error)]);
    }
    text
}

/// What the asked node writes into the central database.
fn historian_text(historian: &HistorianView) -> String {
    let mut text = format!("\nhistorian: {} ", plain(&historian.database));
    text.push_str(match (historian.connected, historian.writes) {
        (true, true) => "connected",
        (true, false) => "connected, another node writes",
        (false, _) => "not connected",
    });
    let counts = format!(", {} values written, lag {}", historian.rows_written, historian.lag_rows);
    text.push_str(&counts);
    if historian.lag_rows > 0 {
        text.extend([" for ", &historian.lag_seconds.to_string(), " s"]);
    }
    for (rows, what) in [(historian.rows_refused, "refused"), (historian.rows_lost, "lost")] {
        if rows > 0 {
            text.extend([", ", &rows.to_string(), " ", what]);
        }
    }
    if historian.blocks_damaged > 0 {
        text.extend([", ", &historian.blocks_damaged.to_string(), " damaged blocks left out"]);
    }
    if let Some(error) = &historian.error {
        text.extend(["\nhistorian: ", &plain(error)]);
    }
    text
}

/// Says that a rolling upgrade is under way.
fn older(name: &str, cluster: &ClusterView, agreed: Option<u16>, version: &str) -> Option<String> {
    let agreed = agreed.filter(|agreed| *agreed < cluster.protocol)?;
    let (mine, version) = (cluster.protocol, plain(version));
    Some(format!(
        "{name} (twinhub {version}) speaks protocol {agreed}, {} {mine}: update {name}",
        cluster.node
    ))
}

fn group_text(group: &GroupView) -> String {
    let mut notes = vec![if group.protected { "protected" } else { "not protected" }.to_owned()];
    if group.split_possible {
        notes.push("split possible".to_owned());
    }
    if group.paused {
        notes.push("paused".to_owned());
    }
    let alarms = group.alarms;
    for (count, what) in [
        (alarms.active, "alarms active"),
        (alarms.unacknowledged, "not acknowledged"),
        (alarms.shelved + alarms.suppressed, "out of sight"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    let voters = voters_text(&group.voters);
    let nodes = group.nodes.iter().map(|node| {
        let is_active = group.active.as_deref() == Some(&node.name);
        [
            if is_active { format!("* {}", node.name) } else { format!("  {}", node.name) },
            node.rank.to_string(),
            if node.observer { format!("{}, observer", node.state) } else { node.state.clone() },
            if node.in_sync { "yes" } else { "no" }.to_owned(),
            node.lag_records.map_or("-".to_owned(), |lag| lag.to_string()),
            health_text(node),
            node.paths.iter().map(path_text).collect::<Vec<_>>().join(", "),
        ]
    });
    let lost: String = group
        .nodes
        .iter()
        .filter_map(|node| {
            Some(format!("\n{} is unreachable: {}", node.name, plain(node.unreachable.as_ref()?)))
        })
        .collect();
    let parts =
        group.nodes.iter().flat_map(|node| node.health.iter().map(move |part| part_text(&node.name, part)));
    let floating = group.floating.as_ref().map(floating_text).unwrap_or_default();
    let merge = group.merge.as_ref().map(merge_text).unwrap_or_default();
    let lost: String = lost + &parts.collect::<String>() + &floating + &merge;
    format!(
        "\ngroup {}: active {} · epoch {} · {}\nsince {}: {}{voters}\n{}{lost}",
        group.id,
        group.active.as_deref().unwrap_or("nobody"),
        group.epoch,
        notes.join(", "),
        group.since,
        plain(&group.reason),
        table(["  node", "rank", "state", "in sync", "lag", "health", "paths"], nodes)
    )
}

/// `60`, or `100, 60 proven` where part of the field side is not seen.
fn health_text(node: &NodeView) -> String {
    match (node.score, node.proven) {
        (None, _) => "-".to_owned(),
        (Some(score), Some(proven)) if proven < score => format!("{score}, {proven} proven"),
        (Some(score), _) => score.to_string(),
    }
}

/// How far the joining after a split is.
fn merge_text(merge: &MergeProgress) -> String {
    let MergeProgress { node, after, bytes, remaining_bytes, bytes_per_second } = merge;
    let start = format!("\nmerging what `{}` wrote alone after {after}", plain(node));
    match remaining_bytes.checked_div(*bytes_per_second) {
        Some(seconds) => format!(
            "{start}: {remaining_bytes} of {bytes} bytes remain, {bytes_per_second} bytes/s, about {seconds} s"
        ),
        None => format!("{start}: {bytes} bytes"),
    }
}

/// Where the floating address is, as the node that was asked sees it.
fn floating_text(floating: &FloatingView) -> String {
    let device = if floating.device.is_empty() { String::new() } else { format!(" on {}", floating.device) };
    let error = floating.error.as_ref().map(|error| format!(": {}", plain(error))).unwrap_or_default();
    format!("\nfloating address {}{device} {}{error}", floating.address, floating.state)
}

fn part_text(node: &str, part: &HealthPartView) -> String {
    let points = if part.points > 0 { format!("-{}", part.points) } else { "not proven".to_owned() };
    format!("\n{node} {} {points}: {}", part.interface, plain(&part.cause))
}

/// Who votes, where that is not everyone.
fn voters_text(voters: &VotersView) -> String {
    if voters.shrunk.is_empty() && !voters.changing {
        return String::new();
    }
    let shrunk: Vec<String> = voters
        .shrunk
        .iter()
        .map(|shrunk| {
            let hold = if shrunk.hold { ", held" } else { "" };
            format!("{} ({}{hold})", plain(&shrunk.name), shrunk.ground)
        })
        .collect();
    let changing = if voters.changing { ", changing" } else { "" };
    let waits: String = voters
        .shrunk
        .iter()
        .filter_map(|shrunk| {
            Some(format!("\n  {}: {}", plain(&shrunk.name), plain(shrunk.waits_for.as_ref()?)))
        })
        .collect();
    format!(
        "\nvoters: {} of {}{changing}, shrunk: {}{waits}",
        voters.voting,
        voters.configured,
        if shrunk.is_empty() { "nobody".to_owned() } else { shrunk.join(", ") }
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

#[cfg(test)]
mod tests {
    use twinhub_runtime::view::ShrunkView;

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
    fn a_node_of_the_version_before_is_named() {
        let mut cluster = cluster();
        cluster.protocol = 2;
        cluster.groups[0].nodes[0].protocol = Some(2);
        assert!(!cluster_text(&cluster).contains("speaks"));
        cluster.groups[0].nodes[1].protocol = Some(1);
        cluster.groups[0].nodes[1].version = "0.9.0".to_owned();
        let text = cluster_text(&cluster);
        assert!(text.contains("backup (twinhub 0.9.0) speaks protocol 1, main 2: update backup"), "{text}");
    }

    #[test]
    fn the_status_says_who_does_not_vote_and_what_it_waits_for() {
        let mut cluster = cluster();
        assert!(!cluster_text(&cluster).contains("voters:"));
        let shrunk = |name: &str, ground: &str, waits: Option<&str>| ShrunkView {
            name: name.to_owned(),
            ground: ground.to_owned(),
            hold: false,
            waits_for: waits.map(str::to_owned),
        };
        cluster.groups[0].voters = VotersView {
            voting: 1,
            needed: 1,
            configured: 3,
            revision: 4,
            changing: false,
            shrunk: vec![
                shrunk("backup", "drained", Some("backup is silent for 5000 ms")),
                shrunk("witness", "stopped", None),
            ],
        };
        let text = cluster_text(&cluster);
        let wanted = "voters: 1 of 3, shrunk: backup (drained), witness (stopped)\n  backup: backup is silent for 5000 ms\n";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn the_status_says_how_far_a_merge_is() {
        let mut cluster = cluster();
        cluster.groups[0].merge = Some(MergeProgress {
            node: "backup".to_owned(),
            after: "3.0:17".to_owned(),
            bytes: 1000,
            remaining_bytes: 600,
            bytes_per_second: 200,
        });
        let text = cluster_text(&cluster);
        let expected = "merging what `backup` wrote alone after 3.0:17: 600 of 1000 bytes remain, 200 bytes/s, about 3 s";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_status_counts_alarms_if_there_are_any() {
        let mut cluster = cluster();
        cluster.groups[0].alarms.active = 3;
        cluster.groups[0].alarms.unacknowledged = 2;
        let text = cluster_text(&cluster);
        assert!(text.contains("protected, 3 alarms active, 2 not acknowledged"), "{text}");
    }

    #[test]
    fn the_status_table_marks_the_active_node() {
        let text = cluster_text(&cluster());
        assert!(text.contains("group site: active main · epoch 3.0 · protected"), "{text}");
        assert!(text.contains("* main") && text.contains("  backup"), "{text}");
    }
}
