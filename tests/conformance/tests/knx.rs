//! A real pair on a KNX bus of knxd with a device of xknx: while the bus is as busy as it can be, a node is killed,
//! frozen, or moved, and what a device says is in the history once, each command on the bus once, from one node at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinhub_conformance::{Cluster, Error, Profile, Result, SitePlan, check};
use twinhub_peers::{Knxd, KnxdOptions, Xknx, wait_for};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Telegrams of the device in each round, as fast as a bus carries them: some fifty in a second.
const TELEGRAMS: usize = 200;
const PAUSE: Duration = Duration::from_millis(20);
/// After so many of them something happens to the active node.
const BEFORE: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Planned,
    Crash,
    Freeze,
}

#[test]
fn nothing_is_lost_or_doubled_on_a_busy_bus_when_the_active_node_changes() {
    check(|artifacts| {
        let gateway = Knxd::start(&KnxdOptions { slots: 8, ..KnxdOptions::default() })?;
        let mut device = Xknx::tunnel(gateway.address())?;
        let mut cluster = Cluster::start_pair(plan(&gateway)?, artifacts, PATIENCE)?;
        let (mut active, mut standby) = ("main", "backup");
        let mut next = 1_u16;
        for (round, fault) in [Fault::Planned, Fault::Crash, Fault::Freeze].into_iter().enumerate() {
            wait_hot(&cluster, active, standby)?;
            let heard_before = device.values(COMMAND, "write").len();
            device.stream(NUMBER, TELEGRAMS, PAUSE)?;
            let mut sent = Commands { next, ..Commands::default() };
            sent.while_below(&cluster, active, round * TELEGRAMS + BEFORE)?;
            match fault {
                Fault::Planned => drop(cluster.rest(active)?.switchover(standby)?),
                Fault::Crash => drop(cluster.kill(active)?),
                Fault::Freeze => drop(cluster.freeze(active)?),
            }
            let at_fault = history(&cluster, standby)?.len();
            assert!(at_fault < (round + 1) * TELEGRAMS, "{fault:?}: nothing was said behind the fault");
            cluster.wait_state(standby, "active", PATIENCE)?;
            sent.while_below(&cluster, standby, (round + 1) * TELEGRAMS)?;
            next = sent.next;

            device.hears(COMMAND, "write", heard_before + sent.done.len())?;
            if fault == Fault::Freeze {
                cluster.thaw(active)?;
            } else if fault == Fault::Crash {
                cluster.start(active)?;
            }
            cluster.wait_in_sync(PATIENCE)?;
            // Whatever the woken node still had, it had time to say it.
            sent.one_more(&cluster, standby)?;
            next = next.max(sent.next);
            device.hears(COMMAND, "write", heard_before + sent.done.len())?;
            judge(fault, &device, heard_before, &sent);

            let numbers = history(&cluster, standby)?;
            let expected: Vec<u64> = (0..=round).flat_map(|_| 0..TELEGRAMS as u64).collect();
            assert_eq!(numbers, expected, "{fault:?}: what the device said\n{}", cluster.log_tails());
            (active, standby) = (standby, active);
        }
        Ok(())
    });
}

/// Commands that were given while something else went on.
#[derive(Debug, Default)]
struct Commands {
    next: u16,
    /// The hub says that they are on the bus.
    done: Vec<u16>,
    /// What was said of the last one.
    last: String,
}

impl Commands {
    /// Gives commands to a node until the history has so many numbers.
    fn while_below(&mut self, cluster: &Cluster, node: &str, count: usize) -> Result<()> {
        let began = Instant::now();
        while history(cluster, node).map_or(0, |numbers| numbers.len()) < count {
            if began.elapsed() > PATIENCE {
                let numbers = history(cluster, node)?;
                let logs = cluster.log_tails();
                return Err(Error::State(format!(
                    "{} of {count} numbers: {numbers:?}\n{logs}",
                    numbers.len()
                )));
            }
            self.give(cluster, node);
        }
        Ok(())
    }

    /// One command that is carried out.
    fn one_more(&mut self, cluster: &Cluster, node: &str) -> Result<()> {
        let done = self.done.len();
        let given = wait_for("a command", PATIENCE, || {
            self.give(cluster, node);
            (self.done.len() > done).then_some(())
        });
        given.map_err(|error| {
            Error::State(format!("{error}; the last answer: {}\n{}", self.last, cluster.log_tails()))
        })
    }

    /// One that fails is not repeated: nobody may know what became of it.
    fn give(&mut self, cluster: &Cluster, node: &str) {
        let number = self.next;
        self.next += 1;
        let order = json!([{ "key": "knx1/command", "value": number }]);
        let answer = cluster.rest(node).and_then(|rest| rest.write_bulk(&order));
        self.last = match &answer {
            Ok(answer) => answer.to_string(),
            Err(error) => error.chain(),
        };
        if answer.is_ok_and(|answer| answer[0]["ok"] == true) {
            self.done.push(number);
        }
    }
}

/// Each command that was done was heard once, none twice, and the source changed at most once.
fn judge(fault: Fault, device: &Xknx, before: usize, sent: &Commands) {
    let heard = device.heard().into_iter().filter(|heard| heard.group == COMMAND && heard.service == "write");
    let heard: Vec<(u64, String)> =
        heard.skip(before).map(|heard| (number_of(&heard.value), heard.source)).collect();
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (number, _) in &heard {
        *times.entry(*number).or_default() += 1;
    }
    for number in &sent.done {
        assert_eq!(times.get(&u64::from(*number)), Some(&1), "{fault:?}: command {number} of {heard:?}");
    }
    assert!(times.values().all(|times| *times == 1), "{fault:?}: a command came twice: {heard:?}");
    let mut sources: Vec<&String> = heard.iter().map(|(_, source)| source).collect();
    sources.dedup();
    assert!(sources.len() <= 2, "{fault:?}: nodes spoke in turns: {sources:?}");
}

fn number_of(value: &Value) -> u64 {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).fold(0, |all, octet| all << 8 | octet)
}

/// The numbers of the device that a node has, the oldest first.
fn history(cluster: &Cluster, node: &str) -> Result<Vec<u64>> {
    let page = cluster.rest(node)?.resource("/history?item=knx1/number&limit=10000")?;
    Ok(page["rows"].as_array().into_iter().flatten().filter_map(|row| row["value"].as_u64()).collect())
}

/// Both nodes have a tunnel, the active one acts, and the standby has what it has.
fn wait_hot(cluster: &Cluster, active: &str, standby: &str) -> Result<()> {
    cluster.wait_state(active, "active", PATIENCE)?;
    cluster.wait_in_sync(PATIENCE)?;
    for node in [active, standby] {
        wait_for("a tunnel", PATIENCE, || {
            let diag = cluster.rest(node).and_then(|rest| rest.resource("/interfaces/knx1/diag")).ok()?;
            (diag["diag"]["connection"]["is_connected"] == true).then_some(())
        })?;
    }
    Ok(())
}

fn plan(gateway: &Knxd) -> Result<SitePlan> {
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = format!(
        "[[interface]]\nid = \"knx1\"\nplugin = \"knx\"\nitems = \"items/knx1.csv\"\n\
         settings = {{ gateway = \"{}\" }}\n",
        gateway.address()
    );
    let items = format!(
        "path,address,type,access,unit,description,dpt,historize\n\
         number,{NUMBER},uint16,r,,,7.001,true\ncommand,{COMMAND},uint16,rw,,,7.001,\n"
    );
    plan.items = vec![("knx1.csv".to_owned(), items)];
    Ok(plan)
}

/// What the device says.
const NUMBER: &str = "1/2/1";
/// What the hub says.
const COMMAND: &str = "1/2/2";
