//! Another version of a plugin, while the node runs.
//!
//! ```text
//! Preparing -> for each interface: Settling -> Swapping -> on trial -> kept
//!     |                                |          |           | fault, or an operator's word
//!     +--> nothing has changed         +----------+-----------+--> swapped back
//! ```
//! All interfaces of the plugin change, one after the other, or none does. While one settles, what goes out to it waits and
//! what is under way comes to its end. The version before stays loaded and cold until the trial is over; a fault of the new
//! one within it brings the old one back by itself.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Moment, Severity};
use twinhub_trust::LibraryCode;

use super::{Engine, Phase};
use crate::clock;
use crate::control::Told;
use crate::instance::Hosted;
use crate::versions::Versions;

/// Instances of the other version are all there within this time.
const PREPARE_MAX: Duration = Duration::from_secs(60);
/// An order to an instance is answered within this time.
const SWAP_MAX: Duration = Duration::from_secs(30);
/// While something changes it is looked after this often.
const LOOK: Duration = Duration::from_millis(5);

/// What is asked about the plugin of some interfaces.
#[derive(Debug)]
pub(crate) struct UpgradeOrder {
    /// Its short name.
    pub(crate) plugin: String,
    /// What is told how it went.
    pub(crate) operation: u64,
    pub(crate) what: UpgradeWhat,
}

/// See [`UpgradeOrder`].
#[derive(Debug)]
pub(crate) enum UpgradeWhat {
    /// Run this.
    Change {
        /// By interface.
        hosted: Vec<(String, Hosted)>,
        /// How long the version before stays at hand.
        trial: Duration,
        /// Where it is noted what a restart loads.
        records: Arc<Versions>,
    },
    /// Run what ran before.
    Back,
    /// The trial is over.
    Keep,
}

/// What changes, and what is on trial.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    run: Option<Run>,
    trials: Vec<Trial>,
}

/// A version that may still be taken back.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) plugin: String,
    pub(crate) versions: FromTo,
    interfaces: Vec<usize>,
    pub(crate) until: Moment,
    records: Arc<Versions>,
}

/// From which version to which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FromTo {
    pub(crate) from: LibraryCode,
    pub(crate) to: LibraryCode,
}

impl fmt::Display for FromTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from.version, &self.to.version);
        if from == to {
            let short = |hash: &str| hash.chars().take(12).collect::<String>();
            return write!(f, "{from} ({} to {})", short(&self.from.sha256), short(&self.to.sha256));
        }
        write!(f, "{from} to {to}")
    }
}

#[derive(Debug)]
struct Run {
    plugin: String,
    operation: Option<u64>,
    goal: Goal,
    versions: FromTo,
    records: Arc<Versions>,
    trial: Duration,
    /// Interfaces that are still to change.
    left: VecDeque<usize>,
    /// Interfaces that have.
    changed: Vec<usize>,
    /// An interface that was just changing when it was decided that all change back.
    turning: Option<usize>,
    stage: Stage,
    until: Moment,
}

/// Where a run leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    /// To the other version.
    Change,
    /// To the one before: why.
    Back(String),
    /// To where it began: why.
    Undo(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Preparing(BTreeSet<usize>),
    Next,
    Settling(usize),
    Swapping(usize),
}

impl Engine {
    pub(crate) fn on_upgrade(&mut self, order: UpgradeOrder) {
        let UpgradeOrder { plugin, operation, what } = order;
        if let Some(run) = &self.upgrades.run {
            let text = format!("plugin `{}` is just being changed: try again when that is over", run.plugin);
            return self.end_upgrade(Some(operation), false, &text);
        }
        let trial = self.upgrades.trials.iter().position(|trial| trial.plugin == plugin);
        match (what, trial) {
            (UpgradeWhat::Change { .. }, Some(place)) => {
                let versions = &self.upgrades.trials[place].versions;
                let text = format!(
                    "plugin `{plugin}` is on trial since its upgrade from {versions}: keep that or take it back first"
                );
                self.end_upgrade(Some(operation), false, &text);
            }
            (UpgradeWhat::Change { hosted, trial, records }, None) => {
                self.begin_change(plugin, operation, &hosted, trial, records);
            }
            (UpgradeWhat::Back, Some(place)) => {
                let trial = self.upgrades.trials.remove(place);
                self.go_back(trial, Some(operation), "an operator took it back");
            }
            (UpgradeWhat::Keep, Some(place)) => {
                let trial = self.upgrades.trials.remove(place);
                let text = self.keep(&trial);
                self.end_upgrade(Some(operation), true, &text);
            }
            (UpgradeWhat::Back | UpgradeWhat::Keep, None) => {
                let text = format!(
                    "no upgrade of plugin `{plugin}` is on trial here: put the file of the version that you want where \
                     plugins are, and upgrade to it"
                );
                self.end_upgrade(Some(operation), false, &text);
            }
        }
    }

    fn begin_change(
        &mut self,
        plugin: String,
        operation: u64,
        hosted: &[(String, Hosted)],
        trial: Duration,
        records: Arc<Versions>,
    ) {
        let number_of = |id: &str| self.interfaces.iter().position(|interface| interface.port.setup.id == id);
        let found: Vec<(usize, &Hosted)> =
            hosted.iter().filter_map(|(id, hosted)| Some((number_of(id)?, hosted))).collect();
        let Some(((first, to), from)) =
            found.first().and_then(|first| Some((*first, self.interfaces[first.0].port.code()?)))
        else {
            return self.end_upgrade(Some(operation), true, "no interface of this group uses it");
        };
        tracing::info!(plugin, first, interfaces = found.len(), "another version of a plugin is prepared");
        let versions = FromTo { from: code_of(&from.library), to: code_of(&to.library) };
        // Also code that only begins to run may end the process.
        records.try_out(&plugin, &versions.to, &versions.from);
        let numbers: Vec<usize> = found.iter().map(|(number, _)| *number).collect();
        for (number, hosted) in found {
            self.interfaces[number].prepare(hosted.clone());
        }
        self.upgrades.run = Some(Run {
            plugin,
            operation: Some(operation),
            goal: Goal::Change,
            versions,
            records,
            trial,
            left: numbers.iter().copied().collect(),
            changed: Vec::new(),
            turning: None,
            stage: Stage::Preparing(numbers.into_iter().collect()),
            until: clock::now() + PREPARE_MAX,
        });
    }

    fn go_back(&mut self, trial: Trial, operation: Option<u64>, why: &str) {
        let Trial { plugin, versions, interfaces, until: _, records } = trial;
        self.upgrades.run = Some(Run {
            plugin,
            operation,
            goal: Goal::Back(why.to_owned()),
            versions,
            records,
            trial: Duration::ZERO,
            left: interfaces.into(),
            changed: Vec::new(),
            turning: None,
            stage: Stage::Next,
            until: Moment::NEVER,
        });
    }

    pub(crate) fn on_prepared(&mut self, interface: usize, result: Result<(), String>) {
        let Some(run) = &mut self.upgrades.run else {
            // It came too late.
            return self.interfaces[interface].discard();
        };
        let Stage::Preparing(waiting) = &mut run.stage else { return self.interfaces[interface].discard() };
        if !waiting.remove(&interface) {
            return self.interfaces[interface].discard();
        }
        match result {
            Ok(()) if waiting.is_empty() => run.stage = Stage::Next,
            Ok(()) => {}
            Err(why) => {
                let id = self.interfaces[interface].port.setup.id.clone();
                self.undo_upgrade(&format!("interface `{id}`: {why}"));
            }
        }
    }

    /// Nothing has changed yet, or what has is changed back.
    fn undo_upgrade(&mut self, why: &str) {
        let Some(run) = &mut self.upgrades.run else { return };
        run.goal = Goal::Undo(why.to_owned());
        let mut never: Vec<usize> = run.left.drain(..).collect();
        run.left = std::mem::take(&mut run.changed).into();
        match run.stage {
            Stage::Swapping(number) => run.turning = Some(number),
            Stage::Settling(number) => {
                never.push(number);
                run.stage = Stage::Next;
            }
            Stage::Preparing(_) | Stage::Next => run.stage = Stage::Next,
        }
        for number in never {
            self.interfaces[number].discard();
        }
    }

    pub(crate) fn on_swapped(&mut self, interface: usize, result: Result<(), String>) {
        let is_awaited =
            self.upgrades.run.as_ref().is_some_and(|run| run.stage == Stage::Swapping(interface));
        if !is_awaited {
            return;
        }
        let id = self.interfaces[interface].port.setup.id.clone();
        match result {
            Ok(()) => {
                self.adopt_state(interface);
                if let Some(run) = &mut self.upgrades.run {
                    if run.turning.take().is_some() {
                        run.left.push_back(interface);
                    } else {
                        run.changed.push(interface);
                    }
                    run.stage = Stage::Next;
                }
                // One that was down has missed what was ordered.
                if self.down.remove(&interface) {
                    self.give_role(interface);
                }
            }
            Err(why) => self.swap_failed(&id, &why),
        }
        self.report_health(clock::now());
    }

    fn swap_failed(&mut self, id: &str, why: &str) {
        let Some(run) = &mut self.upgrades.run else { return };
        run.stage = Stage::Next;
        if run.turning.take().is_some() {
            return;
        }
        match run.goal {
            Goal::Change => {
                self.undo_upgrade(&format!("interface `{id}`: {why}"));
            }
            Goal::Back(_) | Goal::Undo(_) => {
                // The newer one runs on there.
                let text =
                    format!("the plugin of interface `{id}` does not go back to the version before: {why}");
                self.event(Severity::Error, id, "TH-PLUGIN-007", &text);
            }
        }
    }

    /// The version on trial faulted at one interface: all go back.
    pub(crate) fn on_fell_back(&mut self, interface: usize, cause: &str) {
        self.forget_state(interface);
        let id = self.interfaces[interface].port.setup.id.clone();
        let why = format!("it faulted at interface `{id}`: {cause}");
        let is_on_trial = |trial: &Trial| trial.interfaces.contains(&interface);
        if let Some(place) = self.upgrades.trials.iter().position(is_on_trial)
            && self.upgrades.run.is_none()
        {
            let mut trial = self.upgrades.trials.remove(place);
            trial.interfaces.retain(|number| *number != interface);
            self.go_back(trial, None, &why);
            return;
        }
        if let Some(run) = self.upgrades.run.as_mut().filter(|run| run.changed.contains(&interface)) {
            run.changed.retain(|number| *number != interface);
            if run.goal == Goal::Change {
                self.undo_upgrade(&why);
            }
        }
        for trial in &mut self.upgrades.trials {
            trial.interfaces.retain(|number| *number != interface);
        }
    }

    pub(crate) fn advance_upgrade(&mut self, now: Moment) {
        while self.upgrade_step(now) {}
        if let Some(place) = self.upgrades.trials.iter().position(|trial| now >= trial.until)
            && self.upgrades.run.is_none()
        {
            let trial = self.upgrades.trials.remove(place);
            self.keep(&trial);
        }
    }

    fn upgrade_step(&mut self, now: Moment) -> bool {
        let Some(run) = &self.upgrades.run else { return false };
        let is_late = now >= run.until;
        match run.stage.clone() {
            Stage::Preparing(waiting) => {
                if is_late {
                    let number = waiting.first().copied().unwrap_or_default();
                    let id = self.interfaces[number].port.setup.id.clone();
                    let text =
                        format!("interface `{id}`: no instance of it within {} s", PREPARE_MAX.as_secs());
                    self.undo_upgrade(&text);
                }
                is_late
            }
            Stage::Next => self.next_interface(now),
            Stage::Settling(number) => {
                let is_idle = self.is_idle_to(number);
                if is_idle || is_late {
                    self.interfaces[number].swap();
                    self.set_stage(Stage::Swapping(number), now + SWAP_MAX);
                }
                is_idle || is_late
            }
            // The thread of the interface bounds what it does.
            Stage::Swapping(_) => false,
        }
    }

    fn next_interface(&mut self, now: Moment) -> bool {
        // A role that moves has its own order of what opens and closes.
        if !matches!(self.phase, Phase::Standby | Phase::Active { .. }) {
            return false;
        }
        let Some(run) = &mut self.upgrades.run else { return false };
        if let Some(number) = run.left.pop_front() {
            let patience = self.interfaces[number].port.setup.write_timeout;
            self.set_stage(Stage::Settling(number), now + patience);
            return true;
        }
        if let Some(run) = self.upgrades.run.take() {
            self.finish_upgrade(run, now);
        }
        false
    }

    fn set_stage(&mut self, stage: Stage, until: Moment) {
        if let Some(run) = &mut self.upgrades.run {
            (run.stage, run.until) = (stage, until);
        }
    }

    fn finish_upgrade(&mut self, run: Run, now: Moment) {
        let Run { plugin, operation, goal, versions, records, trial, changed, .. } = run;
        match goal {
            Goal::Change => {
                let until = now + trial;
                let on_trial =
                    Trial { plugin: plugin.clone(), versions, interfaces: changed, until, records };
                let text = format!(
                    "plugin `{plugin}` was upgraded from {}; for {} s the version before can come back",
                    on_trial.versions,
                    trial.as_secs()
                );
                self.change_code(&on_trial.versions.from, &on_trial.versions.to);
                self.event(Severity::Info, &plugin, "TH-PLUGIN-005", &text);
                if trial.is_zero() {
                    on_trial.records.keep(&plugin);
                    self.discard_all(&on_trial.interfaces);
                } else {
                    self.upgrades.trials.push(on_trial);
                }
                self.end_upgrade(operation, true, &text);
            }
            Goal::Back(why) => {
                records.refuse(&plugin, &versions.to, &versions.from);
                self.discard_all(&changed);
                let text = format!("the upgrade of plugin `{plugin}` from {versions} was taken back: {why}");
                self.change_code(&versions.to, &versions.from);
                self.event(Severity::Warning, &plugin, "TH-PLUGIN-007", &text);
                self.end_upgrade(operation, true, &text);
            }
            Goal::Undo(why) => {
                records.refuse(&plugin, &versions.to, &versions.from);
                self.discard_all(&changed);
                let text =
                    format!("plugin `{plugin}` was not upgraded from {versions}, what ran runs on: {why}");
                self.event(Severity::Error, &plugin, "TH-PLUGIN-007", &text);
                self.end_upgrade(operation, false, &text);
            }
        }
        self.show_trials();
    }

    fn change_code(&self, from: &LibraryCode, to: &LibraryCode) {
        self.shared.change_code(from, to);
        self.control.tell(Told::Plugins);
    }

    /// The node stops in order: what is on trial has done well so far, and stays.
    pub(crate) fn end_trials(&self) {
        for trial in &self.upgrades.trials {
            trial.records.keep(&trial.plugin);
        }
    }

    fn keep(&mut self, trial: &Trial) -> String {
        trial.records.keep(&trial.plugin);
        self.discard_all(&trial.interfaces);
        let text = format!("the upgrade of plugin `{}` from {} is kept", trial.plugin, trial.versions);
        self.event(Severity::Info, &trial.plugin, "TH-PLUGIN-006", &text);
        self.show_trials();
        text
    }

    fn discard_all(&self, interfaces: &[usize]) {
        for number in interfaces {
            self.interfaces[*number].discard();
        }
    }

    fn show_trials(&self) {
        let trials = self.upgrades.trials.clone();
        self.shared.update_group(&self.group, |status| status.trials = trials);
    }

    fn end_upgrade(&self, operation: Option<u64>, is_done: bool, text: &str) {
        if let Some(operation) = operation {
            self.shared.end_operation(operation, &self.group, is_done, text);
        }
    }

    /// How many plugins are on trial.
    #[cfg(test)]
    pub(crate) const fn upgrades_on_trial(&self) -> usize {
        self.upgrades.trials.len()
    }

    /// Whether nothing is under way to this interface.
    fn is_idle_to(&self, target: usize) -> bool {
        let range = self.interfaces[target].port.item_range();
        self.commands.sent.values().all(|sent| !range.contains(&sent.item.0))
            && self.streams.get(&target).is_none_or(super::Stream::is_idle)
            && self.values_in.get(&target).is_none_or(super::ValuesIn::is_idle)
    }

    /// Whether what goes out to this interface waits until its plugin is another one.
    pub(crate) fn is_changing(&self, target: usize) -> bool {
        self.upgrades.run.as_ref().is_some_and(
            |run| matches!(run.stage, Stage::Settling(number) | Stage::Swapping(number) if number == target),
        )
    }

    /// Whether another version is being prepared or put in place of this interface's.
    pub(crate) fn is_upgrading(&self, target: usize) -> bool {
        self.upgrades.run.as_ref().is_some_and(|run| run.left.contains(&target) || self.is_changing(target))
    }

    pub(crate) fn upgrade_due(&self) -> Option<Moment> {
        let trial = self.upgrades.trials.iter().map(|trial| trial.until).min();
        match &self.upgrades.run {
            Some(run) => match run.stage {
                Stage::Preparing(_) => Some(run.until),
                Stage::Next | Stage::Settling(_) => Some(clock::now() + LOOK),
                Stage::Swapping(_) => None,
            },
            None => trial,
        }
    }
}

fn code_of(library: &twinhub_loader::Library) -> LibraryCode {
    LibraryCode {
        id: library.manifest().id.clone(),
        version: library.manifest().version.clone(),
        sha256: library.sha256().to_string(),
    }
}
