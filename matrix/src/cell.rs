//! The matrix itself: rows, cells and how a claim is judged.

use std::collections::BTreeMap;

use serde::Serialize;
use twinhub_contract::Manifest;
use twinhub_contract::manifest::{
    AckAfter, Capability, Delivery, Fence, Inactive, Mode, OnUnquorate, Order, Possible, Protocol, Recovery,
};

use crate::error::Contradiction;
use crate::kit::{Identity, Kit, KitReport};
use crate::result::{Fenced, Outcome, Peer, RunResult, Scenario, ScenarioName, TakeoverMs};
use crate::seed::{Section, Seed, SeedRow};

/// What a plugin declares, with the hash of its sources if they are at hand.
pub(crate) struct Declared {
    pub(crate) manifest: Manifest,
    pub(crate) source_hash: Option<String>,
    /// SHA-256 of the library, if it was read from one.
    pub(crate) sha256: Option<String>,
    /// Whether it is one to learn from.
    pub(crate) is_example: bool,
}

/// The whole matrix; the file `compatibility.json` is exactly this.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matrix {
    /// Form of this file.
    pub schema: u32,
    /// Version of the plugin contract.
    pub contract: String,
    /// Where the claims of the column *reference* come from.
    pub reference: String,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One interface or module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Short name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Its part of the matrix.
    pub section: Section,
    /// What an established product claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<SeedRow>,
    /// The plugin, if it is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Plugin>,
    /// What the kit found, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kit: Option<Kit>,
    /// The claim as a whole.
    pub claim: Cell,
    /// What was measured.
    pub measured: Vec<Line>,
}

/// What a plugin declares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields of the manifest, under their names")]
pub struct Plugin {
    pub id: String,
    pub vendor: String,
    pub version: String,
    pub protocols: Vec<Protocol>,
    pub relevant: bool,
    pub possible: Possible,
    pub why: String,
    pub modes: Vec<Mode>,
    pub default_standby: Mode,
    pub takeover_target_ms: BTreeMap<Mode, u64>,
    pub exclusive: Vec<String>,
    pub inactive: Inactive,
    pub fence: Fence,
    pub in_flight_max_ms: Option<u64>,
    pub recovery: Recovery,
    pub parallel_input: bool,
    pub delivery: Delivery,
    pub ack_after: AckAfter,
    pub on_unquorate: OnUnquorate,
    pub order: Order,
    pub loss_window: String,
    pub source_confidence: String,
    pub capabilities: Vec<Capability>,
}

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// In one word.
    pub state: State,
    /// Why, if the word does not say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What is known, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is no plugin.
    NotBuilt,
    /// The plugin says so; no run backs it.
    Declared,
    /// There is no run of this scenario.
    NotTested,
    /// Runs show it.
    Verified,
    /// There were runs, of another version or other sources.
    Stale,
    /// A run shows something else.
    Contradicted,
}

impl State {
    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            State::NotBuilt => "not built yet",
            State::Declared => "declared",
            State::NotTested => "not tested",
            State::Verified => "verified",
            State::Stale => "stale",
            State::Contradicted => "contradicted",
        }
    }
}

/// One result: a profile, a mode and a peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields of the result, under their names")]
pub struct Line {
    pub profile: String,
    pub standby: Mode,
    pub peer: Peer,
    pub date: String,
    pub machine: String,
    pub product_version: String,
    pub plugin_version: String,
    pub command: String,
    /// One for each scenario, also those that were not run.
    pub scenarios: BTreeMap<ScenarioName, ScenarioCell>,
}

/// One scenario of one result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioCell {
    /// What is known.
    #[serde(flatten)]
    pub cell: Cell,
    /// The figures, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Scenario>,
}

/// The word for one scenario of one run of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Id of the plugin.
    pub plugin: String,
    /// Who makes it.
    pub vendor: String,
    /// Profile, mode and peer.
    pub run: String,
    /// The scenario.
    pub scenario: ScenarioName,
    /// What is known.
    pub cell: Cell,
    /// The command that repeats it.
    pub command: String,
}

impl Matrix {
    /// What is known of every scenario of every run.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for row in &self.rows {
            let Some(plugin) = &row.plugin else { continue };
            for line in &row.measured {
                let run = format!("{} {} {}", line.profile, line.standby, line.peer.name);
                verdicts.extend(line.scenarios.iter().map(|(scenario, found)| Verdict {
                    plugin: plugin.id.clone(),
                    vendor: plugin.vendor.clone(),
                    run: run.clone(),
                    scenario: *scenario,
                    cell: found.cell.clone(),
                    command: line.command.clone(),
                }));
            }
        }
        verdicts
    }

    /// What runs contradict of the product's own plugins.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let kits = self.rows.iter().filter_map(|row| {
            let (plugin, kit) = (row.plugin.as_ref()?, row.kit.as_ref()?);
            let is_ours = plugin.vendor == FIRST_PARTY && kit.cell.state == State::Contradicted;
            is_ours.then(|| Contradiction {
                plugin: plugin.id.clone(),
                run: "kit".to_owned(),
                reason: kit.cell.reasons.join("; "),
                command: format!("twinhub plugin test {}", row.id),
            })
        });
        self.verdicts()
            .into_iter()
            .filter(|verdict| verdict.vendor == FIRST_PARTY && verdict.cell.state == State::Contradicted)
            .map(|verdict| Contradiction {
                plugin: verdict.plugin,
                run: format!("{} {}", verdict.run, verdict.scenario.word()),
                reason: verdict.cell.reasons.join("; "),
                command: verdict.command,
            })
            .chain(kits)
            .collect()
    }

    /// The file `compatibility.json`.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("maps of the matrix have text keys");
        text.push('\n');
        text
    }
}

pub(crate) fn assemble(
    seed: Seed,
    declared: Vec<Declared>,
    results: Vec<RunResult>,
    mut kits: BTreeMap<String, KitReport>,
) -> Matrix {
    let mut by_plugin: BTreeMap<String, Vec<RunResult>> = BTreeMap::new();
    for result in results {
        by_plugin.entry(result.plugin.clone()).or_default().push(result);
    }
    let mut plugins: BTreeMap<String, Declared> =
        declared.into_iter().map(|declared| (declared.manifest.id.clone(), declared)).collect();
    let mut rows: Vec<Row> = Vec::new();
    for reference in seed.rows {
        let declared = reference.plugin.as_ref().and_then(|id| plugins.remove(id));
        rows.push(row(Some(reference), declared, &mut by_plugin, &mut kits));
    }
    for declared in std::mem::take(&mut plugins).into_values() {
        rows.push(row(None, Some(declared), &mut by_plugin, &mut kits));
    }
    // Sorting is stable: within a section the order of the seed stays, other plugins follow by id.
    rows.sort_by_key(|row| row.section);
    Matrix { schema: MATRIX_SCHEMA, contract: contract(), reference: seed.source, rows }
}

fn row(
    reference: Option<SeedRow>,
    declared: Option<Declared>,
    results: &mut BTreeMap<String, Vec<RunResult>>,
    kits: &mut BTreeMap<String, KitReport>,
) -> Row {
    let Some(Declared { manifest, source_hash, sha256, is_example }) = declared else {
        let (id, name, section) = reference.as_ref().map_or_else(
            || (String::new(), String::new(), Section::Field),
            |row| (row.id.clone(), row.name.clone(), row.section),
        );
        let claim = Cell { state: State::NotBuilt, reasons: Vec::new() };
        return Row { id, name, section, reference, plugin: None, kit: None, claim, measured: Vec::new() };
    };
    let measured: Vec<Line> = results
        .remove(&manifest.id)
        .unwrap_or_default()
        .into_iter()
        .map(|result| line(&manifest, source_hash.as_deref(), result))
        .collect();
    let kit = kits.remove(&manifest.id).map(|report| {
        let identity =
            Identity { manifest: &manifest, source_hash: source_hash.as_deref(), sha256: sha256.as_deref() };
        report.judged(&identity)
    });
    let section = reference.as_ref().map_or(
        match manifest.kind {
            _ if is_example => Section::Example,
            twinhub_contract::manifest::Kind::Interface => Section::Field,
            twinhub_contract::manifest::Kind::Module => Section::Module,
        },
        |row| row.section,
    );
    let short = manifest.id.rsplit('.').next().unwrap_or(&manifest.id).to_owned();
    Row {
        id: reference.as_ref().map_or(short, |row| row.id.clone()),
        name: reference.as_ref().map_or_else(|| manifest.name.clone(), |row| row.name.clone()),
        section,
        claim: claim(&manifest.mb.modes, &measured, kit.as_ref()),
        kit,
        reference,
        plugin: Some(plugin(manifest)),
        measured,
    }
}

/// The worst of all cells; verified only if every scenario has a run that shows it, with the declared modes in which not
/// every one has. What the kit found red contradicts it.
fn claim(modes: &[Mode], measured: &[Line], kit: Option<&Kit>) -> Cell {
    if let Some(kit) = kit.filter(|kit| kit.cell.state == State::Contradicted) {
        let reasons = kit.cell.reasons.iter().map(|reason| format!("kit: {reason}")).collect();
        return Cell { state: State::Contradicted, reasons };
    }
    let cells = || measured.iter().flat_map(|line| &line.scenarios);
    let has = |state: State| cells().any(|(_, found)| found.cell.state == state);
    let state = if has(State::Contradicted) {
        State::Contradicted
    } else if has(State::Stale) {
        State::Stale
    } else {
        let is_shown = |name: &ScenarioName| {
            cells().any(|(scenario, found)| scenario == name && found.cell.state == State::Verified)
        };
        let missing: Vec<&str> =
            ScenarioName::ALL.iter().filter(|name| !is_shown(name)).map(|name| name.word()).collect();
        if missing.is_empty() {
            let is_shown_in = |mode: Mode, name: ScenarioName| {
                let mut lines = measured.iter().filter(|line| line.standby == mode);
                lines.any(|line| {
                    line.scenarios.get(&name).is_some_and(|found| found.cell.state == State::Verified)
                })
            };
            let unseen: Vec<String> = modes
                .iter()
                .filter(|mode| !ScenarioName::ALL.iter().all(|name| is_shown_in(**mode, *name)))
                .map(ToString::to_string)
                .collect();
            let reasons = if unseen.is_empty() {
                Vec::new()
            } else {
                vec![format!("runs are missing with standby {}", unseen.join(", "))]
            };
            return Cell { state: State::Verified, reasons };
        }
        let reasons = if missing.len() == ScenarioName::ALL.len() {
            vec!["no run".to_owned()]
        } else {
            vec![format!("no run of {}", missing.join(", "))]
        };
        return Cell { state: State::Declared, reasons };
    };
    let mut reasons: Vec<String> = cells()
        .filter(|(_, found)| found.cell.state == state)
        .flat_map(|(name, found)| {
            found.cell.reasons.iter().map(|reason| format!("{}: {reason}", name.word()))
        })
        .collect();
    reasons.dedup();
    Cell { state, reasons }
}

fn line(manifest: &Manifest, source_hash: Option<&str>, result: RunResult) -> Line {
    let stale = stale(manifest, source_hash, &result);
    let target = manifest.mb.takeover_target_ms.get(&result.standby).copied();
    let scenarios = ScenarioName::ALL
        .into_iter()
        .map(|name| {
            let Some(measured) = result.scenarios.get(&name) else {
                let cell = Cell { state: State::NotTested, reasons: Vec::new() };
                return (name, ScenarioCell { cell, measured: None });
            };
            let reasons = contradictions(name, measured, target, &result, manifest);
            let cell = if !stale.is_empty() {
                Cell { state: State::Stale, reasons: stale.clone() }
            } else if reasons.is_empty() {
                Cell { state: State::Verified, reasons }
            } else {
                Cell { state: State::Contradicted, reasons }
            };
            (name, ScenarioCell { cell, measured: Some(measured.clone()) })
        })
        .collect();
    Line {
        profile: result.profile,
        standby: result.standby,
        peer: result.peer,
        date: result.date,
        machine: result.machine,
        product_version: result.product_version,
        plugin_version: result.plugin_version,
        command: result.command,
        scenarios,
    }
}

/// Why a result says nothing about the plugin as it is.
fn stale(manifest: &Manifest, source_hash: Option<&str>, result: &RunResult) -> Vec<String> {
    let mut reasons = Vec::new();
    if result.plugin_version != manifest.version {
        reasons
            .push(format!("measured with version {}, this is {}", result.plugin_version, manifest.version));
    } else if source_hash.is_some_and(|hash| hash != result.source_hash) {
        reasons.push("the plugin's sources have changed since".to_owned());
    }
    if result.contract != contract() {
        reasons.push(format!("measured with contract {}, this is {}", result.contract, contract()));
    }
    reasons
}

/// What the figures show that was not declared.
fn contradictions(
    name: ScenarioName,
    measured: &Scenario,
    target: Option<u64>,
    result: &RunResult,
    manifest: &Manifest,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut never = |count: u64, what: &str| {
        if count > 0 {
            found.push(format!("{count} {what}, declared is none"));
        }
    };
    never(measured.writes_by_two_nodes, "writes by two nodes");
    never(measured.stray_packets, "stray packets while inactive");
    never(measured.commands_doubled, "commands carried out twice");
    if measured.values_lost > measured.values_lost_allowed {
        let (lost, allowed) = (measured.values_lost, measured.values_lost_allowed);
        found.push(format!("{lost} values lost, the declared loss window allows {allowed}"));
    }
    if !manifest.mb.modes.contains(&result.standby) {
        found.push(format!("measured in mode {}, which is not declared", result.standby));
    }
    if matches!(measured.fenced, Some(Fenced::Is(false))) {
        found.push("the old node was not kept from acting".to_owned());
    }
    if let (Some(TakeoverMs { p99, .. }), Some(target)) = (&measured.takeover_ms, target) {
        #[expect(clippy::cast_precision_loss, reason = "targets are below a day")]
        let limit = measured.detection_ms_max + target as f64;
        let resolution = measured.resolution_ms.unwrap_or(0.0);
        let within =
            if resolution > 0.0 { format!(", up to {resolution:.0} ms too long") } else { String::new() };
        if *p99 - resolution > limit {
            found.push(format!(
                "takeover took {p99:.0} ms (p99{within}), declared are {limit:.0} ms: {:.0} ms for the protocol with \
                 profile {}, {target} ms for the plugin",
                measured.detection_ms_max, result.profile
            ));
        }
        if resolution > limit {
            found.push(format!(
                "measured to {resolution:.0} ms, which says nothing of the {limit:.0} ms that are declared"
            ));
        }
    }
    if measured.takeover_ms.is_none() && name != ScenarioName::Cut {
        found.push("no time of takeover was measured".to_owned());
    }
    if measured.verdict == Outcome::Fail && found.is_empty() {
        found.push(if measured.note.is_empty() {
            "the run failed".to_owned()
        } else {
            measured.note.clone()
        });
    }
    found
}

fn plugin(manifest: Manifest) -> Plugin {
    let mb = manifest.mb;
    Plugin {
        id: manifest.id,
        vendor: manifest.vendor,
        version: manifest.version,
        protocols: manifest.protocols,
        relevant: mb.relevant,
        possible: mb.possible,
        why: mb.why,
        modes: mb.modes,
        default_standby: mb.default_standby,
        takeover_target_ms: mb.takeover_target_ms,
        exclusive: mb.exclusive.iter().map(ToString::to_string).collect(),
        inactive: mb.inactive,
        fence: mb.fence,
        in_flight_max_ms: mb.in_flight_max_ms,
        recovery: mb.recovery,
        parallel_input: mb.parallel_input,
        delivery: mb.delivery,
        ack_after: mb.ack_after,
        on_unquorate: mb.on_unquorate,
        order: mb.order,
        loss_window: mb.loss_window,
        source_confidence: mb.source_confidence,
        capabilities: manifest.capabilities,
    }
}

pub(crate) fn contract() -> String {
    format!("{}.{}", twinhub_contract::ABI_MAJOR, twinhub_contract::ABI_MINOR)
}

const MATRIX_SCHEMA: u32 = 1;
/// Vendor of the plugins that are part of the product.
const FIRST_PARTY: &str = "Twinhub";
