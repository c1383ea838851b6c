//! Measured runs of whole processes. Here `cargo xtask bench takeover`: kill -9 at random moments, many times.

mod catch_up;
mod flat_out;
mod replication;
mod standby;
mod start;
mod words;
mod writes;

pub use catch_up::{CatchUpOptions, bench_catch_up};
pub use flat_out::{FlatOutOptions, bench_flat_out};
pub use replication::{ReplicationOptions, bench_replication};
pub use standby::{StandbyOptions, bench_standby};
pub use start::{StartOptions, bench_start};
pub use writes::{WriteOptions, bench_write};

use std::time::Duration;

use crate::artifacts::Artifacts;
use crate::error::{Error, Result};
use crate::field::DeviceKind;
use crate::profile::Profile;
use crate::scenario::{Outcome, Scenario};
use crate::stage::{Stage, StageOptions};
use crate::table::{milliseconds, percentile, table};

/// What is measured.
#[derive(Clone, Debug)]
pub struct TakeoverOptions {
    /// Kills per profile.
    pub rounds: u32,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// How the active node is killed.
    pub scenario: Scenario,
}

impl TakeoverOptions {
    /// Reads `--rounds N --profile P --scenario S`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options =
            Self { rounds: 20, profiles: vec![Profile::Normal, Profile::Lan], scenario: Scenario::Crash };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
            match word.as_str() {
                "--rounds" => {
                    options.rounds =
                        value.parse().map_err(|_| Error::Usage(format!("`{value}` is no number")))?;
                }
                "--profile" => options.profiles = vec![value.parse()?],
                "--scenario" => options.scenario = value.parse()?,
                _ => return Err(Error::unknown_option(word, "--rounds N, --profile P, --scenario S")),
            }
        }
        Ok(options)
    }
}

/// Runs it; false when a figure is off.
pub fn bench_takeover(options: &TakeoverOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let mut rows = Vec::new();
    let mut is_clean = true;
    let mut versions = None;
    for profile in &options.profiles {
        let site =
            StageOptions { profile: *profile, device: DeviceKind::Independent, nodes: 2, varied: None };
        let mut stage = Stage::start(site, &artifacts, say)?;
        versions.get_or_insert(stage.field().versions()?);
        let mut outcomes = Vec::new();
        for round in 1..=options.rounds {
            let outcome = options.scenario.run(&mut stage, CALM)?;
            let ms = outcome.figures.modbus.from_fault_ms;
            say(&format!(
                "{profile} {round}/{}: {} ms {}",
                options.rounds,
                milliseconds(ms),
                outcome.problems.join("; ")
            ));
            outcomes.push(outcome);
        }
        is_clean &= outcomes.iter().all(|outcome| outcome.problems.is_empty());
        if !is_clean {
            say(&format!("logs are kept in {}", stage.cluster_mut().keep_folder().display()));
        }
        rows.extend(rows_of(*profile, &outcomes));
    }
    let head =
        ["profile", "seen at", "n", "min", "p50", "p99", "max ms", "lost", "doubled", "two writers", "stray"];
    say(&format!(
        "\n{}, fault to first act of the backup\n{}",
        options.scenario.title(),
        table(&head, &rows)
    ));
    if let Some([(device, device_version), (broker, broker_version)]) = versions {
        say(&format!(
            "peers: {device} {device_version}, {broker} {broker_version}; load average {}",
            load_average()
        ));
    }
    say(&format!(
        "repeat: cargo xtask bench takeover --rounds {} --scenario {}",
        options.rounds, options.scenario
    ));
    Ok(is_clean)
}

fn rows_of(profile: Profile, outcomes: &[Outcome]) -> Vec<Vec<String>> {
    let sides = ["Modbus device", "MQTT broker"];
    sides
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let side = |outcome: &Outcome| {
                if index == 0 { outcome.figures.modbus.clone() } else { outcome.figures.mqtt.clone() }
            };
            let mut times: Vec<f64> =
                outcomes.iter().filter_map(|outcome| side(outcome).from_fault_ms).collect();
            times.sort_by(f64::total_cmp);
            let sum = |count: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>().to_string();
            let (lost, doubled) = if index == 0 {
                (sum(&|o| o.figures.commands_lost), sum(&|o| o.figures.commands_doubled))
            } else {
                (sum(&|o| o.figures.values_lost), sum(&|o| o.figures.values_doubled))
            };
            vec![
                profile.to_string(),
                name.to_owned(),
                times.len().to_string(),
                milliseconds(times.first().copied()),
                milliseconds(percentile(&times, 0.5)),
                milliseconds(percentile(&times, 0.99)),
                milliseconds(times.last().copied()),
                lost,
                doubled,
                sum(&|o| side(o).two_writers),
                sum(&|o| side(o).stray),
            ]
        })
        .collect()
}

/// How busy the machine was.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

const CALM: Duration = Duration::from_millis(1500);
