//! Events of a real pair: whichever node is killed at whatever time, what it showed is there again, on both nodes, once,
//! and a reader goes on at the other node without a gap.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use twinhub_conformance::{Cluster, Error, Result, SitePlan, check};
use twinhub_peers::{Device, DeviceOptions, wait_for};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long after a value that raises an alarm a node is killed: before it is polled, while it is journaled, and after.
const PHASES_MS: [u64; 5] = [20, 80, 110, 160, 400];

#[test]
fn what_a_killed_node_showed_is_there_again_on_both_nodes_and_once() {
    check(|artifacts| {
        let device = Device::start(DeviceOptions::default())?;
        let plan = SitePlan::with_alarm(device.address(), "")?;
        let mut cluster = Cluster::start_pair(plan, artifacts, PATIENCE)?;
        let mut shown = BTreeSet::new();
        let mut cursor = read(&cluster, "main", "")?.1;
        let mut followed: Vec<String> = Vec::new();
        let (mut active, mut standby) = ("main", "backup");
        for (round, phase) in PHASES_MS.into_iter().enumerate() {
            // Over the limit and back in turns; each change is told.
            device.set_register(0, if round % 2 == 0 { 95 } else { 20 });
            std::thread::sleep(Duration::from_millis(phase));
            for node in ["main", "backup"] {
                shown.extend(keys(&read(&cluster, node, "")?.0));
            }
            // The active one, the standby, or both.
            let killed: &[&str] = match round % 3 {
                0 => &[active],
                1 => &[standby],
                _ => &[active, standby],
            };
            for node in killed {
                cluster.kill(node)?;
            }
            if killed == [active] {
                cluster.wait_state(standby, "active", PATIENCE)?;
                (active, standby) = (standby, active);
            }
            for node in killed {
                cluster.start(node)?;
            }
            cluster.wait_in_sync(PATIENCE)?;
            if cluster.state(active).as_deref() != Some("active") {
                (active, standby) = (standby, active);
            }
            wait_same(&cluster)?;
            let all = keys(&read(&cluster, standby, "")?.0);
            let lost: Vec<&String> = shown.difference(&all).collect();
            assert!(lost.is_empty(), "round {round}: shown before {killed:?} was killed, and gone: {lost:?}");
            // A reader that goes back and forth.
            let (rows, next) = read(&cluster, if round % 2 == 0 { "backup" } else { "main" }, &cursor)?;
            followed.extend(rows.iter().map(key));
            cursor = next;
        }

        // A supervisor that lives says what became of its process.
        cluster.kill_hub(active)?;
        cluster.wait_state(standby, "active", PATIENCE)?;
        cluster.wait_in_sync(PATIENCE)?;
        wait_same(&cluster)?;

        let (rows, _) = read(&cluster, "main", "")?;
        let told = alarms(&rows);
        let each: BTreeSet<&String> = told.iter().collect();
        assert_eq!(each.len(), told.len(), "told twice: {told:#?}");
        assert!(told.len() >= 3, "{told:#?}");
        let once: BTreeSet<&String> = followed.iter().collect();
        assert_eq!(once.len(), followed.len(), "a reader got some twice");
        let codes: BTreeSet<&str> = rows.iter().filter_map(|row| row["code"].as_str()).collect();
        let machine_and_process = ["TH-PEER-101", "TH-PEER-102", "TH-PEER-103"];
        for code in ["TH-ROLE-004", "TH-INTERFACE-101", "TH-ALARM-101"].iter().chain(&machine_and_process) {
            assert!(codes.contains(code), "{code} is missing: {codes:?}");
        }
        let nodes: BTreeSet<&str> = rows.iter().filter_map(|row| row["node"].as_str()).collect();
        assert_eq!(nodes, BTreeSet::from(["backup", "main"]));
        Ok(())
    });
}

/// What a node has behind a cursor, and the next one.
fn read(cluster: &Cluster, node: &str, cursor: &str) -> Result<(Vec<Value>, String)> {
    let page = cluster.rest(node)?.resource(&format!("/events?limit=10000&cursor={cursor}"))?;
    let rows = page["rows"].as_array().cloned().unwrap_or_default();
    Ok((rows, page["cursor"].as_str().unwrap_or_default().to_owned()))
}

fn key(row: &Value) -> String {
    row["key"].as_str().unwrap_or_default().to_owned()
}

fn keys(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(key).collect()
}

/// What alarms told: code and occurrence.
fn alarms(rows: &[Value]) -> Vec<String> {
    let of_alarms = rows.iter().filter(|row| row["alarm"].is_string());
    of_alarms.map(|row| format!("{} {}", row["code"], row["alarm"])).collect()
}

/// Waits until both nodes show the same list.
fn wait_same(cluster: &Cluster) -> Result<()> {
    let list = |node: &str| -> Result<Vec<String>> {
        let page = cluster.rest(node)?.resource("/events?limit=10000&order=newest")?;
        Ok(page["rows"].as_array().into_iter().flatten().map(key).collect())
    };
    let mut seen = (Vec::new(), Vec::new());
    let found = wait_for("the same events on both nodes", PATIENCE, || {
        seen = (list("main").unwrap_or_default(), list("backup").unwrap_or_default());
        (!seen.0.is_empty() && seen.0 == seen.1).then_some(())
    });
    found.map_err(|_| Error::State(format!("other events on the nodes: {seen:#?}\n{}", cluster.log_tails())))
}
