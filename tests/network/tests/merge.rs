//! Three nodes that hear nobody and are each told to act: what each of them wrote is on all of them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::wait_until;

use Machine::{Backup, Main, Third};

const ALL: [Machine; 3] = [Main, Backup, Third];

#[test]
fn what_three_isolated_nodes_wrote_is_on_all_of_them_also_if_one_dies_meanwhile() {
    guarded("three nodes: each alone, then merged", || {
        let mut site = start()?;
        for (one, other) in [(Main, Backup), (Main, Third), (Backup, Third)] {
            site.lab().cut(one, other, Net::Lan)?;
        }
        site.lab().cut(Main, Backup, Net::Cable)?;
        for machine in ALL {
            wait_until("nobody is heard", LIMIT, || {
                site.state(machine).is_some_and(|state| state != "standby" && state != "active")
                    || site
                        .status(machine)
                        .is_ok_and(|status| status.nodes.iter().filter(|node| node.reachable).count() <= 1)
            })
            .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))?;
        }
        for machine in ALL {
            forced(&site, machine)?;
        }
        thread::sleep(ALONE);
        let mut alone = BTreeMap::new();
        for machine in ALL {
            let state = site.state(machine);
            assert_eq!(state.as_deref(), Some("active"), "{} does not act\n{}", machine.word(), site.logs());
            alone.insert(machine.word(), rows(&site, machine)?);
        }
        let expected: BTreeSet<Row> = alone.values().flatten().cloned().collect();
        let epochs: BTreeSet<&str> = expected.iter().map(epoch_of).collect();
        assert!(epochs.len() >= 3, "each wrote in an epoch of its own: {epochs:?}");
        print(&format!("{} values, {epochs:?}", expected.len()));

        site.lab().heal()?;
        let active = settled(&site)?;
        // Whoever takes records in dies as soon as it has begun, and comes back.
        wait_until("a report", LIMIT, || site.resource(active, "/merges").is_ok_and(|list| !is_empty(&list)))
            .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))?;
        site.kill(active)?;
        site.run(active)?;
        let active = settled(&site)?;
        complete(&site, active)?;

        let mut found = BTreeMap::new();
        wait_until("the same history on all", LIMIT, || {
            for machine in ALL {
                let Ok(rows) = rows(&site, machine) else { return false };
                found.insert(machine.word(), rows);
            }
            found.values().all(|rows| expected.is_subset(rows))
        })
        .map_err(|error| {
            let lacks: Vec<_> = found
                .iter()
                .map(|(node, rows)| (node, expected.difference(rows).take(3).collect::<Vec<_>>()))
                .collect();
            Error::State(format!("{error}; missing {lacks:?}\n{}", site.logs()))
        })?;
        for (node, rows) in &found {
            let places: BTreeSet<_> = rows.iter().map(|row| (&row.time, &row.position)).collect();
            assert_eq!(places.len(), rows.len(), "a value is on {node} twice");
        }
        judge_reports(&site, &alone)?;
        Ok(())
    });
}

/// Reports are complete, the same on every node, and say of each node what it wrote alone.
fn judge_reports(site: &Pair, alone: &BTreeMap<&str, BTreeSet<Row>>) -> Result<()> {
    let reports = site.resource(Main, "/merges")?;
    for machine in [Backup, Third] {
        assert_eq!(site.resource(machine, "/merges")?, reports, "on {}", machine.word());
    }
    let mut merged: BTreeMap<String, u64> = BTreeMap::new();
    for report in reports.as_array().into_iter().flatten() {
        assert_eq!(report["state"], "complete", "{report}");
        assert!(report["counts"]["damaged"] == 0 && report["counts"]["gaps"] == 0, "{report}");
        assert!(report["files"].as_array().is_some_and(|files| !files.is_empty()), "{report}");
        let node = report["node"].as_str().unwrap_or_default().to_owned();
        *merged.entry(node).or_default() += report["counts"]["values"].as_u64().unwrap_or(0);
    }
    // Whoever acts after the heal keeps its own journal; what the two others wrote was set aside.
    assert!(merged.len() >= 2, "{reports}");
    for (node, values) in &merged {
        let wrote = alone.get(node.as_str()).map_or(0, BTreeSet::len) as u64;
        print(&format!("{node}: {values} values merged, {wrote} written until the heal"));
        assert!(*values > 0, "{reports}");
    }
    let shown = site.order(Main, &["merge", "ls"])?;
    assert_eq!(shown, reports, "the command line says the same");
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    time: String,
    position: String,
    value: String,
}

fn epoch_of(row: &Row) -> &str {
    row.position.split(':').next().unwrap_or_default()
}

/// Every value of the counter that a node's history has.
fn rows(site: &Pair, machine: Machine) -> Result<BTreeSet<Row>> {
    let (mut rows, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let answer =
            site.resource(machine, &format!("/history?item=plc1/counter&from=-1h&limit=1000{cursor}"))?;
        for row in answer["rows"].as_array().into_iter().flatten() {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            rows.insert(Row {
                time: text("source_time"),
                position: text("position"),
                value: row["value"].to_string(),
            });
        }
        match answer["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(rows),
        }
    }
}

/// Three nodes, the main active, and what the counter shows is kept.
fn start() -> Result<Pair> {
    let mut site = Pair::prepare_three(Profile::Normal)?;
    let items = "path,address,type,access,unit,description,poll,historize\n\
                 counter,hr:0,u16,r,,Counts up by itself,,yes\n\
                 echo,hr:20,u16,w,,Takes what was read,off,\n";
    fs::write(site.root().join("etc/twinhub/items/plc1.csv"), items)
        .map_err(|error| Error::State(error.to_string()))?;
    for machine in ALL {
        site.run(machine)?;
    }
    site.wait_in_sync(Main)?;
    wait_synced(&site, Main, Third)?;
    Ok(site)
}

/// An operator says that this one acts, though it hears nobody.
fn forced(site: &Pair, machine: Machine) -> Result<()> {
    let mut answer = String::new();
    wait_until("it acts alone", LIMIT, || {
        if site.state(machine).as_deref() == Some("active") {
            return true;
        }
        answer = format!("{:?}", site.order(machine, &["failover", "--force"]));
        false
    })
    .map_err(|error| Error::State(format!("{error}: {}: {answer}\n{}", machine.word(), site.logs())))
}

fn settled(site: &Pair) -> Result<Machine> {
    let mut active = None;
    wait_until("one acts and the others follow", LIMIT, || {
        let acting: Vec<Machine> =
            ALL.into_iter().filter(|machine| site.state(*machine).as_deref() == Some("active")).collect();
        let [one] = acting[..] else { return false };
        active = Some(one);
        ALL.into_iter().filter(|machine| *machine != one).all(|other| is_synced(site, one, other))
    })
    .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))?;
    active.ok_or_else(|| Error::State("nobody acts".to_owned()))
}

/// Waits until everything that was set aside is taken in.
fn complete(site: &Pair, active: Machine) -> Result<()> {
    let mut seen = Value::Null;
    wait_until("all reports complete", LIMIT, || {
        let Ok(list) = site.resource(active, "/merges") else { return false };
        seen = list;
        let reports = seen.as_array().cloned().unwrap_or_default();
        let nodes: BTreeSet<&str> = reports.iter().filter_map(|report| report["node"].as_str()).collect();
        nodes.len() >= 2 && reports.iter().all(|report| report["state"] == "complete")
    })
    .map_err(|error| Error::State(format!("{error}: {seen}\n{}", site.logs())))?;
    for machine in ALL {
        wait_until("the reports on every node", LIMIT, || {
            site.resource(machine, "/merges").is_ok_and(|list| list == seen)
        })
        .map_err(|error| Error::State(format!("{error}: {}\n{}", machine.word(), site.logs())))?;
    }
    Ok(())
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

fn is_synced(site: &Pair, active: Machine, other: Machine) -> bool {
    site.status(active).is_ok_and(|status| {
        status.node(other.word()).is_some_and(|node| node.state == "standby" && node.in_sync)
    })
}

fn wait_synced(site: &Pair, active: Machine, other: Machine) -> Result<()> {
    wait_until(&format!("{} in sync", other.word()), LIMIT, || is_synced(site, active, other))
        .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))
}

/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(30);
/// How long each acts alone.
const ALONE: Duration = Duration::from_secs(5);
