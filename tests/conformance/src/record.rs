//! Runs of all scenarios, printed and kept for the matrix.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::artifacts::Artifacts;
use crate::error::{Error, Result};
use crate::field::DeviceKind;
use crate::figures::Side;
use crate::profile::Profile;
use crate::scenario::{Outcome, Scenario};
use crate::stage::{Stage, StageOptions};
use crate::table::{milliseconds, table};

/// Collects outcomes of one stage.
#[derive(Debug)]
pub struct Recorder {
    profile: Profile,
    versions: [(String, String); 2],
    product: String,
    standby: [String; 2],
    outcomes: Vec<Outcome>,
}

impl Recorder {
    /// Notes what is being measured.
    pub fn new(stage: &Stage) -> Result<Self> {
        let (active, _) = stage.roles()?;
        let rest = stage.cluster().rest(&active)?;
        let interfaces = rest.resource("/interfaces")?;
        let mode = |id: &str| {
            let list =
                interfaces.as_array().or_else(|| interfaces.get("interfaces").and_then(Value::as_array));
            let found = list.and_then(|list| list.iter().find(|entry| entry["id"] == id));
            found.and_then(|entry| entry["standby"].as_str()).unwrap_or("unknown").to_owned()
        };
        Ok(Self {
            profile: stage.options().profile,
            versions: stage.field().versions()?,
            product: rest.cluster()?.version,
            standby: [mode("plc1"), mode("mqtt1")],
            outcomes: Vec::new(),
        })
    }

    /// Adds one.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// All figures as a table.
    pub fn table(&self) -> String {
        outcome_table(&self.outcomes)
    }

    /// Every problem, with its scenario.
    pub fn problems(&self) -> Vec<String> {
        let named = |outcome: &Outcome| {
            let scenario = outcome.scenario;
            outcome.problems.iter().map(|problem| format!("{scenario}: {problem}")).collect::<Vec<_>>()
        };
        self.outcomes.iter().flat_map(named).collect()
    }

    /// Writes one file per plugin.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let mut written = Vec::new();
        for (index, plugin) in ["modbus", "mqtt"].into_iter().enumerate() {
            let path = folder.join(format!("{plugin}-{}.json", self.profile));
            let mut text = serde_json::to_string_pretty(&self.result(index, plugin)).unwrap_or_default();
            text.push('\n');
            fs::write(&path, text).map_err(Error::file(&path))?;
            written.push(path);
        }
        Ok(written)
    }

    fn result(&self, index: usize, plugin: &str) -> Value {
        let side = |outcome: &Outcome| {
            if index == 0 { outcome.figures.modbus.clone() } else { outcome.figures.mqtt.clone() }
        };
        let scenarios: Vec<Value> =
            self.outcomes.iter().map(|outcome| scenario(outcome, &side(outcome))).collect();
        let passed = self.outcomes.iter().all(|outcome| outcome.problems.is_empty());
        let (peer, version) = &self.versions[index];
        json!({
            "schema": 1,
            "plugin": plugin,
            "product_version": self.product,
            "profile": self.profile.word(),
            "standby": self.standby[index],
            "peer": { "name": peer, "version": version },
            "date": date(SystemTime::now()),
            "scenarios": scenarios,
            "verdict": if passed { "pass" } else { "fail" },
            "command": format!("cargo xtask conformance --record --profile {}", self.profile),
        })
    }
}

/// `twinhub-measure conformance`.
pub fn run_conformance(words: &[String], say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut profile = Profile::Normal;
    let mut scenarios = Vec::new();
    let mut record = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")));
        match word.as_str() {
            "--record" => record = true,
            "--profile" => profile = value()?.parse()?,
            "--scenario" => scenarios.push(value()?.parse()?),
            _ => return Err(Error::Usage(format!("unknown option {word}"))),
        }
    }
    if record && !scenarios.is_empty() {
        return Err(Error::Usage("--record needs all scenarios; leave --scenario out".to_owned()));
    }
    if scenarios.is_empty() {
        scenarios = Scenario::ALL.to_vec();
    }
    let artifacts = Artifacts::beside_this_program()?;
    let options = StageOptions { profile, device: DeviceKind::Independent, nodes: 2 };
    let mut stage = Stage::start(options, &artifacts, say)?;
    let mut recorder = Recorder::new(&stage)?;
    for scenario in scenarios {
        say(scenario.title());
        let outcome = scenario.run(&mut stage, CALM)?;
        for problem in &outcome.problems {
            say(&format!("  {problem}"));
        }
        recorder.add(outcome);
    }
    say(&format!("\n{}", recorder.table()));
    let problems = recorder.problems();
    if !problems.is_empty() {
        say(&format!("logs are kept in {}", stage.cluster_mut().keep_folder().display()));
    }
    if record {
        for path in recorder.write(&results_folder())? {
            say(&format!("written: {}", path.display()));
        }
    }
    Ok(problems.is_empty())
}

/// One line per outcome.
pub(crate) fn outcome_table(outcomes: &[Outcome]) -> String {
    let head = [
        "what was done",
        "role",
        "takeover ms",
        "device ms",
        "broker ms",
        "resync s",
        "values",
        "lost",
        "doubled",
        "commands",
        "lost",
        "doubled",
        "two writers",
        "stray",
        "verdict",
    ];
    let rows: Vec<Vec<String>> = outcomes.iter().map(row).collect();
    table(&head, &rows)
}

fn row(outcome: &Outcome) -> Vec<String> {
    let figures = &outcome.figures;
    let first =
        [figures.modbus.from_fault_ms, figures.mqtt.from_fault_ms].into_iter().flatten().reduce(f64::min);
    let role = outcome
        .new
        .as_ref()
        .map_or_else(|| format!("{} stays", outcome.old), |new| format!("{} -> {new}", outcome.old));
    vec![
        outcome.scenario.title().to_owned(),
        role,
        milliseconds(first),
        milliseconds(figures.modbus.takeover_ms),
        milliseconds(figures.mqtt.takeover_ms),
        format!("{:.1}", outcome.resync.as_secs_f64()),
        figures.values_read.to_string(),
        figures.values_lost.to_string(),
        figures.values_doubled.to_string(),
        figures.commands.to_string(),
        figures.commands_lost.to_string(),
        figures.commands_doubled.to_string(),
        (figures.modbus.two_writers + figures.mqtt.two_writers).to_string(),
        (figures.modbus.stray + figures.mqtt.stray).to_string(),
        if outcome.problems.is_empty() { "pass" } else { "FAIL" }.to_owned(),
    ]
}

fn scenario(outcome: &Outcome, side: &Side) -> Value {
    let figures = &outcome.figures;
    json!({
        "scenario": outcome.scenario.word(),
        "takeover_ms": side.takeover_ms,
        "from_fault_ms": side.from_fault_ms,
        "values": figures.values_read,
        "values_lost": figures.values_lost,
        "values_doubled": figures.values_doubled,
        "values_died_with_node": figures.values_died_with_node,
        "commands": figures.commands,
        "commands_lost": figures.commands_lost,
        "commands_doubled": figures.commands_doubled,
        "two_writers": side.two_writers,
        "stray": side.stray,
        "problems": outcome.problems,
    })
}

fn results_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../matrix/results")
}

/// `2026-11-21`, in UTC.
fn date(now: SystemTime) -> String {
    let days = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    // Days to a date of the Gregorian calendar, counted in eras of 400 years that begin on March 1.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

const CALM: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_a_leap_day_are_right() {
        let day = |days: u64| date(UNIX_EPOCH + Duration::from_secs(days * 86_400));
        assert_eq!(
            [day(0), day(11_016), day(11_017), day(20_778)],
            ["1970-01-01", "2000-02-29", "2000-03-01", "2026-11-21"]
        );
    }
}
