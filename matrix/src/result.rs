//! What a conformance run writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinhub_contract::manifest::Mode;

/// Version of the form of a result file.
pub const RESULT_SCHEMA: u32 = 1;

/// One file in `matrix/results`: what was measured for one plugin, profile, standby mode and peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// [`RESULT_SCHEMA`].
    pub schema: u32,
    /// Id of the plugin, `org.twinhub.modbus`.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// SHA-256 of the library that was measured; for the record, since it differs from one build machine to the next.
    pub plugin_sha256: String,
    /// [`crate::source_hash`] of the plugin's directory.
    pub source_hash: String,
    /// Version of the plugin contract, `1.0`.
    pub contract: String,
    /// Version of the product.
    pub product_version: String,
    /// Set of timers: `lan`, `fast`, `normal`, `wan`.
    pub profile: String,
    /// Mode of the standby.
    pub standby: Mode,
    /// What stood on the other side.
    pub peer: Peer,
    /// Day of the run, `2026-01-31`.
    pub date: String,
    /// Machine and its load, in words.
    pub machine: String,
    /// What was measured.
    pub scenarios: BTreeMap<ScenarioName, Scenario>,
    /// The command that repeats the run.
    pub command: String,
}

/// The other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Name of the product: `mosquitto`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What happens to the active node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioName {
    /// `kill -9`.
    Crash,
    /// SIGSTOP, and SIGCONT after the takeover.
    Freeze,
    /// The link between the nodes is cut.
    Cut,
    /// A switchover that an operator asks for.
    Planned,
}

impl ScenarioName {
    /// All of them.
    pub const ALL: [ScenarioName; 4] =
        [ScenarioName::Crash, ScenarioName::Freeze, ScenarioName::Cut, ScenarioName::Planned];

    /// As written.
    pub const fn word(self) -> &'static str {
        match self {
            ScenarioName::Crash => "crash",
            ScenarioName::Freeze => "freeze",
            ScenarioName::Cut => "cut",
            ScenarioName::Planned => "planned",
        }
    }
}

/// What was measured in one scenario, summed over its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// How often it was run.
    pub runs: u32,
    /// From the last action of the old active node to the first of the new one, seen from outside. None if nothing is
    /// taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover_ms: Option<TakeoverMs>,
    /// How much longer than the takeover the measured time may be, in milliseconds: an outsider sees a node act only when
    /// there is something to do, so the last action may lie that long before the fault. None in results of before it was
    /// recorded, which are judged as if it were 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_ms: Option<f64>,
    /// The longest time the redundancy protocol may need with this profile until a node may act; the plugin's declared
    /// target comes on top.
    pub detection_ms_max: f64,
    /// Values that never arrived.
    pub values_lost: u64,
    /// How many of them the declared loss window allows.
    #[serde(default)]
    pub values_lost_allowed: u64,
    /// Why that many, in words of the declaration. Required if it is not zero.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub values_lost_because: String,
    /// Values that arrived more than once.
    pub values_doubled: u64,
    /// Commands that were carried out more than once.
    pub commands_doubled: u64,
    /// Writes by a node while the other one was active.
    pub writes_by_two_nodes: u64,
    /// Packets of a node that was not active and that its declaration does not allow.
    pub stray_packets: u64,
    /// Whether the old node was kept from acting, or how many of its actions were stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<Fenced>,
    /// What the run itself says.
    pub verdict: Outcome,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Times of takeover in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeoverMs {
    /// Half are not longer.
    pub p50: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// One for each run, in the order of the runs.
    pub values: Vec<f64>,
}

impl TakeoverMs {
    /// The figures of these times; `None` if there are none or one is not finite.
    pub fn of(values: Vec<f64>) -> Option<TakeoverMs> {
        let mut sorted = values.clone();
        if sorted.is_empty() || sorted.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        // Nearest rank: the smallest value that at least this share of all is not greater than.
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        Some(TakeoverMs { p50: rank(50), p99: rank(99), max: rank(100), values })
    }
}

/// Whether or how often an old node was kept from acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fenced {
    /// Whether it was.
    Is(bool),
    /// How many of its actions were stopped.
    Count(u64),
}

/// What a run says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As declared.
    Pass,
    /// Not as declared.
    Fail,
}

impl RunResult {
    /// What is wrong with the file itself; nothing if it can be used.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.schema != RESULT_SCHEMA {
            found.push(format!("schema is {}, this version reads {RESULT_SCHEMA}", self.schema));
        }
        let required = [
            ("plugin", &self.plugin),
            ("plugin_version", &self.plugin_version),
            ("source_hash", &self.source_hash),
            ("contract", &self.contract),
            ("profile", &self.profile),
            ("peer.name", &self.peer.name),
            ("peer.version", &self.peer.version),
            ("command", &self.command),
        ];
        for (name, text) in required {
            if text.trim().is_empty() {
                found.push(format!("{name} is empty"));
            }
        }
        if !is_date(&self.date) {
            found.push(format!("date `{}` is not written year-month-day", self.date));
        }
        if self.scenarios.is_empty() {
            found.push("scenarios is empty".to_owned());
        }
        for (name, scenario) in &self.scenarios {
            scenario.problems(name.word(), &mut found);
        }
        found
    }
}

impl Scenario {
    fn problems(&self, name: &str, found: &mut Vec<String>) {
        if self.runs == 0 {
            found.push(format!("{name}: runs is 0"));
        }
        if !self.detection_ms_max.is_finite() || self.detection_ms_max < 0.0 {
            found.push(format!("{name}: detection_ms_max is no time"));
        }
        if self.resolution_ms.is_some_and(|resolution| !resolution.is_finite() || resolution < 0.0) {
            found.push(format!("{name}: resolution_ms is no time"));
        }
        if let Some(times) = &self.takeover_ms {
            if times.values.len() != self.runs as usize {
                found.push(format!("{name}: {} takeover times for {} runs", times.values.len(), self.runs));
            }
            if TakeoverMs::of(times.values.clone()).as_ref() != Some(times) {
                found.push(format!("{name}: p50, p99 or max of takeover_ms are not those of its values"));
            }
        }
        if self.values_lost_allowed > 0 && self.values_lost_because.trim().is_empty() {
            found.push(format!("{name}: values_lost_allowed without values_lost_because"));
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|number| range.contains(&number))
    };
    number(year, 4, 2000..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times = TakeoverMs::of((1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!((times.p50, times.p99, times.max), (100.0, 198.0, 200.0));
        let one = TakeoverMs::of(vec![7.5]).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (7.5, 7.5, 7.5));
        assert!(TakeoverMs::of(vec![]).is_none() && TakeoverMs::of(vec![f64::NAN]).is_none());
    }

    #[test]
    fn a_date_is_a_day() {
        assert!(is_date("2026-01-31"));
        for text in ["", "2026-13-01", "26-01-01", "2026-1-1", "2026-01-01T00:00", "yesterday"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
