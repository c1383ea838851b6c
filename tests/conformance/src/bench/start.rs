//! `cargo xtask bench start`: from the start of a backup to `standby`, and to having everything, while the main works.

use std::fs;
use std::time::{Duration, Instant};

use twinhub_peers::{Mosquitto, wait_for};

use super::{load_average, words::numbers};
use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::load::{Form, Load, READY_LIMIT};
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::{milliseconds, percentile, table};

/// What is measured.
#[derive(Clone, Debug)]
pub struct StartOptions {
    rounds: u64,
    items: u16,
}

impl StartOptions {
    /// Reads `--rounds N --items N`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let (mut rounds, mut items) = (10, 10_000);
        numbers(words, &mut [("--rounds", &mut rounds), ("--items", &mut items)])?;
        let items = u16::try_from(items)
            .map_err(|_| Error::Usage(format!("--items {items}: a device has at most 65535 registers")))?;
        Ok(Self { rounds, items })
    }
}

/// How the backup ended before.
#[derive(Clone, Copy, Debug)]
enum Before {
    Stopped,
    Killed,
    /// Its machine is new: no state at all.
    Nothing,
}

impl Before {
    const ALL: [Self; 3] = [Self::Stopped, Self::Killed, Self::Nothing];

    fn title(self) -> &'static str {
        match self {
            Self::Stopped => "stopped in order",
            Self::Killed => "killed (kill -9)",
            Self::Nothing => "without any state",
        }
    }
}

/// Runs it; false when a start took a second or longer.
pub fn bench_start(options: &StartOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let load = Load {
        registers: options.items,
        change_ms: 1000,
        poll_ms: 1000,
        pipeline: 8,
        form: Form::Blocks,
        setpoints: 0,
        standby: None,
    };
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (device, _device) = load.start_device(&artifacts, folder.path())?;
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = load.interfaces(device, broker.address());
    plan.items = load.items();
    let mut cluster = Cluster::start_pair(plan, &artifacts, READY_LIMIT)?;
    let mut rows = Vec::new();
    let mut is_fast = true;
    for before in Before::ALL {
        let mut times = [Vec::new(), Vec::new()];
        for round in 1..=options.rounds {
            let [standby, in_sync] = start_again(&mut cluster, before)?;
            say(&format!(
                "{} {round}/{}: standby after {standby:.0} ms, in sync after {in_sync:.0} ms",
                before.title(),
                options.rounds
            ));
            times[0].push(standby);
            times[1].push(in_sync);
        }
        for (what, mut times) in ["standby", "standby, in sync"].into_iter().zip(times) {
            times.sort_by(f64::total_cmp);
            is_fast &= times.last().is_some_and(|longest| *longest < LIMIT_MS);
            rows.push(vec![
                before.title().to_owned(),
                what.to_owned(),
                times.len().to_string(),
                milliseconds(times.first().copied()),
                milliseconds(percentile(&times, 0.5)),
                milliseconds(percentile(&times, 0.99)),
                milliseconds(times.last().copied()),
            ]);
        }
    }
    say(&format!(
        "\nfrom the start of the backup's process, {} interface items per side changing every second; load average {}\n{}",
        options.items,
        load_average(),
        table(&["before", "until", "n", "min", "p50", "p99", "max ms"], &rows)
    ));
    say("repeat: cargo xtask bench start");
    Ok(is_fast)
}

/// Ends the backup, starts it, and says how long it took until it was standby and until the main said that it has
/// everything, in milliseconds.
fn start_again(cluster: &mut Cluster, before: Before) -> Result<[f64; 2]> {
    match before {
        Before::Stopped => cluster.stop("backup", READY_LIMIT)?,
        Before::Killed => drop(cluster.kill("backup")?),
        Before::Nothing => {
            cluster.stop("backup", READY_LIMIT)?;
            let state = cluster.root().join("var/lib/twinhub/backup");
            fs::remove_dir_all(&state).map_err(Error::file(&state))?;
        }
    }
    // The main has seen the end: what it says afterwards is about the new process.
    wait_for("the main to miss the backup", READY_LIMIT, || {
        let status = cluster.status("main").ok()?;
        status.node("backup").is_some_and(|node| !node.in_sync && !node.reachable).then_some(())
    })?;
    let begin = Instant::now();
    cluster.start("backup")?;
    let standby = cluster.wait_state("backup", "standby", READY_LIMIT)?.duration_since(begin);
    let in_sync = wait_for("the backup to have everything", READY_LIMIT, || {
        let status = cluster.status("main").ok()?;
        status
            .node("backup")
            .is_some_and(|node| node.in_sync && node.state == "standby")
            .then(|| begin.elapsed())
    });
    let in_sync = in_sync.map_err(|error| Error::State(format!("{error}\n{}", cluster.log_tails())))?;
    Ok([standby, in_sync].map(|time: Duration| time.as_secs_f64() * 1000.0))
}

/// The goal.
const LIMIT_MS: f64 = 1000.0;
