//! Runs of all scenarios, printed and kept for the matrix.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::Value;
use twinhub_contract::manifest::Mode;
use twinhub_matrix::{
    Fenced, Outcome as Verdict, Peer, RESULT_SCHEMA, RunResult, Scenario as Measured, ScenarioName,
    TakeoverMs, source_hash,
};

use crate::artifacts::Artifacts;
use crate::bench::load_average;
use crate::error::{Error, Result};
use crate::field::{COUNTER_INTERVAL, DeviceKind};
use crate::figures::{Figures, IN_FLIGHT, Side};
use crate::profile::Profile;
use crate::scenario::{Outcome, Scenario, Scene};
use crate::stage::{COMMAND_INTERVAL, POLL_INTERVAL, Stage, StageOptions, Varied};
use crate::table::{milliseconds, table};
use crate::tapped::run_tapped;

/// Collects outcomes of one stage.
#[derive(Debug)]
pub struct Recorder {
    profile: Profile,
    product: String,
    plugins: Vec<Subject>,
    /// If a mode is varied, only that plugin is recorded.
    varied: Option<Varied>,
    outcomes: Vec<Outcome>,
}

/// One plugin under test.
#[derive(Debug)]
struct Subject {
    name: &'static str,
    id: String,
    version: String,
    sha256: String,
    abi: String,
    standby: Mode,
    peer: Peer,
}

impl Ledger<Figures> for Recorder {
    fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    fn table(&self) -> String {
        outcome_table(&self.outcomes)
    }

    fn problems(&self) -> Vec<String> {
        problems_of(&self.outcomes)
    }

    fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let is_meant = |name: &str| self.varied.is_none_or(|varied| varied.plugin == name);
        for subject in self.plugins.iter().filter(|subject| is_meant(subject.name)) {
            let mode = self.varied.map(|varied| format!("-{}", varied.mode)).unwrap_or_default();
            let path = folder.join(format!("{}{mode}-{}.json", subject.name, self.profile));
            written.push(write_result(&self.result(subject)?, &path)?);
        }
        Ok(written)
    }
}

impl Recorder {
    /// Notes what is being measured.
    pub fn new(stage: &Stage) -> Result<Self> {
        let active = stage.roles()?.active;
        let rest = stage.cluster().rest(&active)?;
        let (interfaces, plugins) = (rest.resource("/interfaces")?, rest.resource("/plugins")?);
        let [device, broker] = stage.field().versions()?;
        let subject =
            |name: &'static str, interface: &str, (peer, version): (String, String)| -> Result<Subject> {
                let plugin = entry(&plugins, "plugins", "name", name)?;
                let view = entry(&interfaces, "interfaces", "id", interface)?;
                Ok(Subject {
                    name,
                    id: member(plugin, "id")?,
                    version: member(plugin, "version")?,
                    sha256: member(plugin, "sha256")?,
                    abi: member(plugin, "abi")?,
                    standby: member(view, "standby")?,
                    peer: Peer { name: peer, version },
                })
            };
        Ok(Self {
            profile: stage.options().profile,
            product: rest.cluster()?.version,
            plugins: vec![subject("modbus", "plc1", device)?, subject("mqtt", "mqtt1", broker)?],
            varied: stage.options().varied,
            outcomes: Vec::new(),
        })
    }

    fn result(&self, subject: &Subject) -> Result<RunResult> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(subject.name);
        let source_hash = source_hash(&sources).map_err(|error| Error::State(error.to_string()))?;
        let measured = |(name, scenario)| Some((name, self.measured(subject, scenario)?));
        let scenarios: BTreeMap<ScenarioName, Measured> = MEASURED.into_iter().filter_map(measured).collect();
        let of = self
            .varied
            .map_or_else(|| format!(" --of {PEERS}"), |varied| format!(" --of {}-modes", varied.plugin));
        Ok(RunResult {
            schema: RESULT_SCHEMA,
            plugin: subject.id.clone(),
            plugin_version: subject.version.clone(),
            plugin_sha256: subject.sha256.clone(),
            source_hash,
            contract: subject.abi.clone(),
            product_version: self.product.clone(),
            profile: self.profile.word().to_owned(),
            standby: subject.standby,
            peer: subject.peer.clone(),
            date: today(),
            machine: machine(),
            scenarios,
            command: format!("cargo xtask conformance --record{of} --profile {}", self.profile),
        })
    }

    /// All runs of one scenario as the matrix wants them; `None` if there was none.
    fn measured(&self, subject: &Subject, scenario: Scenario) -> Option<Measured> {
        let runs: Vec<&Outcome> =
            self.outcomes.iter().filter(|outcome| outcome.scenario == scenario).collect();
        let side = |outcome: &Outcome| side_of(subject, outcome);
        let times: Vec<f64> = runs.iter().filter_map(|outcome| side(outcome).takeover_ms).collect();
        let sum = |count: &dyn Fn(&Outcome) -> u64| runs.iter().map(|outcome| count(outcome)).sum::<u64>();
        let died = sum(&|outcome| outcome.figures.values_died_with_node);
        let stray = sum(&|outcome| side(outcome).stray);
        let detection = if scenario.moves() { self.profile.detection_limit() } else { Duration::ZERO };
        let passed = !runs.is_empty() && runs.iter().all(|outcome| outcome.problems.is_empty());
        let count = u32::try_from(runs.len()).ok().filter(|count| *count > 0)?;
        Some(Measured {
            runs: count,
            takeover_ms: if times.len() == runs.len() { TakeoverMs::of(times) } else { None },
            resolution_ms: scenario.moves().then(|| resolution_of(subject).as_secs_f64() * 1000.0),
            detection_ms_max: detection.as_secs_f64() * 1000.0,
            values_lost: sum(&|outcome| outcome.figures.values_lost) + died,
            values_lost_allowed: died,
            values_lost_because: if died > 0 { died_because("told to the node") } else { String::new() },
            values_doubled: sum(&|outcome| outcome.figures.values_doubled),
            commands_doubled: sum(&|outcome| outcome.figures.commands_doubled),
            writes_by_two_nodes: sum(&|outcome| side(outcome).two_writers),
            stray_packets: stray,
            fenced: (scenario == Scenario::Freeze).then_some(Fenced::Is(stray == 0)),
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            note: format!(
                "{} values, {} commands, {} of them lost, {} overtaken by a newer one while nobody was active",
                sum(&|outcome| outcome.figures.values_read),
                sum(&|outcome| outcome.figures.commands),
                sum(&|outcome| outcome.figures.commands_lost),
                sum(&|outcome| outcome.figures.commands_superseded)
            ),
        })
    }
}

fn side_of(subject: &Subject, outcome: &Outcome) -> Side {
    if subject.name == "modbus" { outcome.figures.modbus.clone() } else { outcome.figures.mqtt.clone() }
}

/// How far apart the actions are that an outsider sees: polls at the device, or commands where a standby polls, too;
/// changes at the broker.
fn resolution_of(subject: &Subject) -> Duration {
    match (subject.name, subject.standby) {
        ("modbus", Mode::Hot) => COMMAND_INTERVAL,
        ("modbus", Mode::Cold | Mode::Warm) => POLL_INTERVAL,
        _ => COUNTER_INTERVAL,
    }
}

pub(crate) fn died_because(what: &str) -> String {
    format!("{what} less than {} ms before it died, when nobody else could know them", IN_FLIGHT.as_millis())
}

pub(crate) fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{processors} processors, {}, load average {}", std::env::consts::ARCH, load_average())
}

/// The member of a list in an answer whose `key` is `value`; the list may be wrapped in an object.
fn entry<'a>(answer: &'a Value, list: &str, key: &str, value: &str) -> Result<&'a Value> {
    let members = answer.as_array().or_else(|| answer.get(list).and_then(Value::as_array));
    let found = members.and_then(|members| members.iter().find(|member| member[key] == value));
    found.ok_or_else(|| Error::State(format!("no {value} in {list}: {answer}")))
}

fn member<T: DeserializeOwned>(object: &Value, key: &str) -> Result<T> {
    serde_json::from_value(object[key].clone())
        .map_err(|error| Error::State(format!("{key} of {object}: {error}")))
}

/// What `twinhub-measure conformance` is asked for.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Timers.
    pub profile: Profile,
    /// What is done.
    pub scenarios: Vec<Scenario>,
    /// How often each is done.
    pub runs: u32,
    /// Whether the figures are kept for the matrix.
    pub record: bool,
    /// Which stages: `peers`, `modbus-modes`, `mqtt-modes`, `tapped`.
    pub stages: Vec<String>,
}

impl RunOptions {
    /// Reads `--record --profile P --scenario S --runs N --of STAGE`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            profile: Profile::Normal,
            scenarios: Vec::new(),
            runs: 1,
            record: false,
            stages: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")));
            match word.as_str() {
                "--record" => (options.record, options.runs) = (true, options.runs.max(RECORDED_RUNS)),
                "--profile" => options.profile = value()?.parse()?,
                "--scenario" => options.scenarios.push(value()?.parse()?),
                "--runs" => {
                    options.runs =
                        value()?.parse().map_err(|_| Error::Usage("--runs takes a number".to_owned()))?;
                }
                "--of" => {
                    let stage = value()?;
                    if !STAGES.contains(&stage.as_str()) {
                        return Err(Error::Usage(format!(
                            "`{stage}` is no stage; write {}",
                            STAGES.join(" or ")
                        )));
                    }
                    options.stages.push(stage.clone());
                }
                _ => {
                    let known = "--record, --profile P, --scenario S, --runs N, --of STAGE";
                    return Err(Error::unknown_option(word, known));
                }
            }
        }
        if options.record && !options.scenarios.is_empty() {
            return Err(Error::Usage("--record needs all scenarios; leave --scenario out".to_owned()));
        }
        if options.scenarios.is_empty() {
            options.scenarios = Scenario::ALL.to_vec();
        }
        if options.stages.is_empty() {
            options.stages = STAGES.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

/// `twinhub-measure conformance`: modbus and mqtt with their peers in the modes that are their defaults, then each of them
/// in its others, then the plugins that have no peer.
pub fn run_conformance(words: &[String], say: &mut dyn FnMut(&str)) -> Result<bool> {
    let options = RunOptions::parse(words)?;
    let artifacts = Artifacts::beside_this_program()?;
    let mut is_good = true;
    for stage in &options.stages {
        is_good &= match stage.as_str() {
            PEERS => run_peers(&options, None, &artifacts, say)?,
            MODBUS_MODES => run_modes("modbus", [Mode::Cold, Mode::Hot], &options, &artifacts, say)?,
            MQTT_MODES => run_modes("mqtt", [Mode::Cold, Mode::Warm], &options, &artifacts, say)?,
            _ => run_tapped(&options, &artifacts, say)?,
        };
    }
    Ok(is_good)
}

/// Modes of a plugin that are not its default one, while the other plugin keeps its own.
fn run_modes(
    plugin: &'static str,
    modes: [Mode; 2],
    options: &RunOptions,
    artifacts: &Artifacts,
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    let mut is_good = true;
    for mode in modes {
        say(&format!("\n{plugin}, standby {mode}"));
        is_good &= run_peers(options, Some(Varied { plugin, mode }), artifacts, say)?;
    }
    Ok(is_good)
}

fn run_peers(
    options: &RunOptions,
    varied: Option<Varied>,
    artifacts: &Artifacts,
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    let plan = StageOptions { profile: options.profile, device: DeviceKind::Independent, nodes: 2, varied };
    let mut stage = Stage::start(plan, artifacts, say)?;
    let mut recorder = Recorder::new(&stage)?;
    play(&mut stage, &mut recorder, options, say)
}

/// Who collects what was seen on a stage.
pub(crate) trait Ledger<F> {
    /// Takes a note of one run.
    fn add(&mut self, outcome: Outcome<F>);

    /// All figures.
    fn table(&self) -> String;

    /// Every problem, with its scenario.
    fn problems(&self) -> Vec<String>;

    /// Writes what the matrix reads.
    fn write(&self, folder: &Path) -> Result<Vec<PathBuf>>;
}

/// Every problem, with its scenario.
pub(crate) fn problems_of<F>(outcomes: &[Outcome<F>]) -> Vec<String> {
    let named = |outcome: &Outcome<F>| {
        let scenario = outcome.scenario;
        outcome.problems.iter().map(|problem| format!("{scenario}: {problem}")).collect::<Vec<_>>()
    };
    outcomes.iter().flat_map(named).collect()
}

/// Plays the scenarios on a stage; false if a figure is off.
pub(crate) fn play<S: Scene>(
    stage: &mut S,
    ledger: &mut impl Ledger<S::Figures>,
    options: &RunOptions,
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    for scenario in &options.scenarios {
        for run in 1..=options.runs {
            say(&format!("{} ({run}/{})", scenario.title(), options.runs));
            let outcome = scenario.run(stage, CALM)?;
            for problem in &outcome.problems {
                say(&format!("  {problem}"));
            }
            ledger.add(outcome);
        }
    }
    say(&format!("\n{}", ledger.table()));
    let is_good = ledger.problems().is_empty();
    if !is_good {
        say(&format!("logs are kept in {}", stage.cluster_mut().keep_folder().display()));
    }
    if options.record {
        for path in ledger.write(&results_folder())? {
            say(&format!("written: {}", path.display()));
        }
    }
    Ok(is_good)
}

/// Writes a result, if the matrix can use it.
pub(crate) fn write_result(result: &RunResult, path: &Path) -> Result<PathBuf> {
    let problems = result.problems();
    if !problems.is_empty() {
        let problems = problems.join("; ");
        return Err(Error::State(format!("the result for {} is not usable: {problems}", result.plugin)));
    }
    let mut text = serde_json::to_string_pretty(result).map_err(|error| Error::State(error.to_string()))?;
    text.push('\n');
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    fs::write(path, text).map_err(Error::file(path))?;
    Ok(path.to_owned())
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
        "overtaken",
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
        figures.commands_superseded.to_string(),
        figures.commands_doubled.to_string(),
        (figures.modbus.two_writers + figures.mqtt.two_writers).to_string(),
        (figures.modbus.stray + figures.mqtt.stray).to_string(),
        if outcome.problems.is_empty() { "pass" } else { "FAIL" }.to_owned(),
    ]
}

pub(crate) fn results_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../matrix/results")
}

/// The date in UTC.
pub(crate) fn today() -> String {
    date(SystemTime::now())
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

pub(crate) const CALM: Duration = Duration::from_secs(2);
const PEERS: &str = "peers";
const MODBUS_MODES: &str = "modbus-modes";
const MQTT_MODES: &str = "mqtt-modes";
const TAPPED: &str = "tapped";
/// With independent peers; with them in other modes; at the contract.
const STAGES: [&str; 4] = [PEERS, MODBUS_MODES, MQTT_MODES, TAPPED];
/// What the matrix has a line for.
pub(crate) const MEASURED: [(ScenarioName, Scenario); 4] = [
    (ScenarioName::Crash, Scenario::Crash),
    (ScenarioName::Freeze, Scenario::Freeze),
    (ScenarioName::Cut, Scenario::Cut),
    (ScenarioName::Planned, Scenario::Planned),
];
/// Fewer say nothing about the spread.
const RECORDED_RUNS: u32 = 5;

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
