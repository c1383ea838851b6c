//! Runs of plugins under taps, printed and kept for the matrix.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use twinhub_matrix::{
    Fenced, Outcome as Verdict, Peer, RESULT_SCHEMA, RunResult, Scenario as Measured, TakeoverMs, source_hash,
};
use twinhub_peers::Mosquitto;

use super::figures::{PartFigures, TappedFigures};
use super::{INTERVAL, Part, Subject, TappedStage, sources};
use crate::artifacts::Artifacts;
use crate::error::{Error, Result};
use crate::profile::Profile;
use crate::record::{
    Ledger, MEASURED, RunOptions, died_because, machine, play, problems_of, today, write_result,
};
use crate::scenario::{Outcome, Scenario, Scene as _};
use crate::table::{milliseconds, table};

/// Collects outcomes of one stage.
#[derive(Debug)]
pub struct TappedRecorder {
    profile: Profile,
    product: String,
    contract: String,
    peer: Peer,
    parts: Vec<Part>,
    /// Version and hash by plugin.
    libraries: BTreeMap<String, Library>,
    outcomes: Vec<Outcome<TappedFigures>>,
}

#[derive(Debug)]
struct Library {
    id: String,
    version: String,
    sha256: String,
}

impl Ledger<TappedFigures> for TappedRecorder {
    fn add(&mut self, outcome: Outcome<TappedFigures>) {
        self.outcomes.push(outcome);
    }

    fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self.outcomes.iter().flat_map(rows).collect();
        table(&HEAD, &rows)
    }

    fn problems(&self) -> Vec<String> {
        problems_of(&self.outcomes)
    }

    fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        self.parts
            .iter()
            .map(|part| {
                let name = format!("{}-{}-{}.json", part.subject.name, part.mode, self.profile);
                write_result(&self.result(part)?, &folder.join(name))
            })
            .collect()
    }
}

impl TappedRecorder {
    /// Notes what is being measured.
    pub fn new(stage: &TappedStage) -> Result<Self> {
        let active = stage.roles()?.active;
        let product = stage.cluster().rest(&active)?.cluster()?.version;
        let library = |tapped: &super::Tapped| {
            let (id, version) = (tapped.manifest.id.clone(), tapped.manifest.version.clone());
            (tapped.subject.plugin.clone(), Library { id, version, sha256: tapped.sha256.clone() })
        };
        Ok(Self {
            profile: stage.profile,
            product,
            contract: format!("{}.{}", twinhub_contract::ABI_MAJOR, twinhub_contract::ABI_MINOR),
            peer: Peer { name: "tap at the contract, mosquitto".to_owned(), version: Mosquitto::version()? },
            parts: stage.parts().to_vec(),
            libraries: stage.libraries.iter().map(library).collect(),
            outcomes: Vec::new(),
        })
    }

    fn result(&self, part: &Part) -> Result<RunResult> {
        let Some(library) = self.libraries.get(&part.subject.plugin) else {
            return Err(Error::State(format!("no library of {}", part.id)));
        };
        let hash = source_hash(&sources(&part.subject)).map_err(|error| Error::State(error.to_string()))?;
        let measured = |(name, scenario)| Some((name, self.measured(part, scenario)?));
        Ok(RunResult {
            schema: RESULT_SCHEMA,
            plugin: library.id.clone(),
            plugin_version: library.version.clone(),
            plugin_sha256: library.sha256.clone(),
            source_hash: hash,
            contract: self.contract.clone(),
            product_version: self.product.clone(),
            profile: self.profile.word().to_owned(),
            standby: part.mode,
            peer: self.peer.clone(),
            date: today(),
            machine: machine(),
            scenarios: MEASURED.into_iter().filter_map(measured).collect(),
            command: format!("cargo xtask conformance --record --of tapped --profile {}", self.profile),
        })
    }

    /// All runs of one scenario as the matrix wants them; `None` if there was none.
    fn measured(&self, part: &Part, scenario: Scenario) -> Option<Measured> {
        let runs: Vec<&Outcome<TappedFigures>> =
            self.outcomes.iter().filter(|outcome| outcome.scenario == scenario).collect();
        let figures: Vec<&PartFigures> =
            runs.iter().filter_map(|outcome| outcome.figures.parts.get(&part.id)).collect();
        let sum = |count: fn(&PartFigures) -> u64| figures.iter().map(|figures| count(figures)).sum::<u64>();
        let times: Vec<f64> = figures.iter().filter_map(|figures| figures.takeover_ms).collect();
        let died = sum(|figures| figures.values_died_with_node);
        let detection = if scenario.moves() { self.profile.detection_limit() } else { Duration::ZERO };
        let mine = format!("{}: ", part.id);
        let passed = runs.iter().all(|outcome| is_clean(outcome, &mine));
        let stray = sum(PartFigures::stray);
        Some(Measured {
            runs: u32::try_from(runs.len()).ok().filter(|count| *count > 0)?,
            takeover_ms: if times.len() == runs.len() { TakeoverMs::of(times) } else { None },
            resolution_ms: scenario.moves().then(|| INTERVAL.as_secs_f64() * 1000.0),
            detection_ms_max: detection.as_secs_f64() * 1000.0,
            values_lost: sum(|figures| figures.values_lost) + died,
            values_lost_allowed: died,
            values_lost_because: if died > 0 { died_because("taken from the plugin") } else { String::new() },
            values_doubled: sum(|figures| figures.values_doubled),
            commands_doubled: sum(|figures| figures.commands.doubled),
            writes_by_two_nodes: sum(PartFigures::two_writers),
            stray_packets: stray,
            fenced: (scenario == Scenario::Freeze).then_some(Fenced::Is(stray == 0)),
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            note: format!(
                "{} values, {} commands, {} of them lost, {} overtaken by a newer one while nobody was active; \
                 {} acts of a plugin on a node that had lost its role were refused",
                sum(|figures| figures.values),
                sum(|figures| figures.commands.sent),
                sum(|figures| figures.commands.lost),
                sum(|figures| figures.commands.superseded),
                sum(|figures| figures.fenced)
            ),
        })
    }
}

/// Whether a run has no problem of this part, nor one of the pair as a whole.
fn is_clean(outcome: &Outcome<TappedFigures>, mine: &str) -> bool {
    let is_of_another = |problem: &String| {
        outcome.figures.parts.keys().any(|id| problem.starts_with(&format!("{id}: ")))
            && !problem.starts_with(mine)
    };
    outcome.problems.iter().all(is_of_another)
}

fn rows(outcome: &Outcome<TappedFigures>) -> Vec<Vec<String>> {
    let row = |(id, figures): (&String, &PartFigures)| {
        let is_good = is_clean(outcome, &format!("{id}: "));
        vec![
            outcome.scenario.title().to_owned(),
            id.clone(),
            milliseconds(figures.takeover_ms),
            milliseconds(figures.from_fault_ms),
            figures.values.to_string(),
            figures.values_lost.to_string(),
            figures.values_died_with_node.to_string(),
            figures.values_doubled.to_string(),
            figures.commands.sent.to_string(),
            figures.commands.lost.to_string(),
            figures.commands.superseded.to_string(),
            figures.commands.doubled.to_string(),
            figures.two_writers().to_string(),
            figures.stray().to_string(),
            figures.fenced.to_string(),
            if is_good { "pass" } else { "FAIL" }.to_owned(),
        ]
    };
    outcome.figures.parts.iter().map(row).collect()
}

/// Plays the scenarios with every plugin that needs nobody on the other side; false if a figure is off.
pub fn run_tapped(options: &RunOptions, artifacts: &Artifacts, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut stage = TappedStage::start(options.profile, &Subject::all(), artifacts, say)?;
    let mut recorder = TappedRecorder::new(&stage)?;
    play(&mut stage, &mut recorder, options, say)
}

const HEAD: [&str; 16] = [
    "what was done",
    "plugin and mode",
    "takeover ms",
    "from fault",
    "values",
    "lost",
    "died",
    "doubled",
    "commands",
    "lost",
    "overtaken",
    "doubled",
    "two writers",
    "stray",
    "fenced",
    "verdict",
];
