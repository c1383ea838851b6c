//! Plugins of this node: what runs, and another version in its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use twinhub_loader::Manifest;
use twinhub_trust::Verdict;

use super::Handle;
use crate::clock;
use crate::control::Told;
use crate::engine::upgrade::{Trial, UpgradeOrder, UpgradeWhat};
use crate::error::CommandError;
use crate::inbox::Job;
use crate::node::Staged;
use crate::versions::HeldBack;
use crate::view::{PluginView, TrialView, UpgradeView};

/// How long the version before stays at hand unless it is said otherwise.
pub const TRIAL: Duration = Duration::from_secs(600);
/// A trial is over after this, whatever is asked.
pub const TRIAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is to happen with a version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialEnd {
    /// The version before runs again.
    Rollback,
    /// The new one stays.
    Keep,
}

/// A plugin library that is in use.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) manifest: Manifest,
    pub(super) sha256: String,
    /// Where it came from.
    pub(super) path: PathBuf,
    verdict: Verdict,
    interfaces: Vec<String>,
}

impl Handle {
    /// Each plugin that interfaces use, with the code that runs. While a version is changed the first interface counts.
    pub(super) fn loaded(&self) -> Vec<Loaded> {
        let mut found: BTreeMap<&str, Loaded> = BTreeMap::new();
        for (_, port) in &self.0.ports {
            let setup = &port.setup;
            if let Some(known) = found.get_mut(setup.plugin.as_str()) {
                known.interfaces.push(setup.id.clone());
                continue;
            }
            let Some(code) = port.code() else { continue };
            let library = code.library;
            let loaded = Loaded {
                name: setup.plugin.clone(),
                manifest: library.manifest().clone(),
                sha256: library.sha256().to_string(),
                path: library.path().to_owned(),
                verdict: code.verdict,
                interfaces: vec![setup.id.clone()],
            };
            found.insert(&setup.plugin, loaded);
        }
        found.into_values().collect()
    }

    /// Every plugin library in use.
    pub fn plugins(&self) -> Vec<PluginView> {
        let trials: Vec<Trial> = self.group_states().flat_map(|group| group.trials).collect();
        let view = |plugin: Loaded| PluginView {
            id: plugin.manifest.id.clone(),
            version: plugin.manifest.version.clone(),
            vendor: plugin.manifest.vendor.clone(),
            abi: plugin.manifest.abi.max.clone(),
            sha256: plugin.sha256,
            trust: plugin.verdict.word().to_owned(),
            publisher: plugin.verdict.publisher().map(str::to_owned),
            interfaces: plugin.interfaces,
            manifest: serde_json::to_value(&plugin.manifest).unwrap_or_default(),
            trial: trials.iter().find(|trial| trial.plugin == plugin.name).map(trial_view),
            name: plugin.name,
        };
        self.loaded().into_iter().map(view).collect()
    }

    /// Looks at the file of a plugin that is where plugins are now: what an upgrade would bring. Nothing changes.
    ///
    /// # Errors
    /// As [`Handle::upgrade_plugin`].
    pub async fn check_upgrade(&self, plugin: &str) -> Result<UpgradeView, CommandError> {
        let from = self.loaded_one(plugin)?.manifest.version;
        let staged = self.stage(plugin).await?;
        let interfaces: Vec<String> =
            staged.groups.iter().flat_map(|(_, hosted)| hosted).map(|(id, _)| id.clone()).collect();
        let to = staged.groups.first().and_then(|(_, hosted)| hosted.first());
        let to = to.map(|(_, hosted)| hosted.library.manifest().version.clone()).unwrap_or_default();
        Ok(UpgradeView { from, to, interfaces })
    }

    async fn stage(&self, plugin: &str) -> Result<Staged, CommandError> {
        let running = self.loaded_one(plugin)?;
        let (handle, name) = (self.clone(), plugin.to_owned());
        let staged = tokio::task::spawn_blocking(move || {
            handle.0.staging.stage(&name, &running.manifest, &running.sha256)
        });
        staged.await.map_err(|error| CommandError::Internal { why: error.to_string() })?
    }

    /// Brings the version of a plugin into service whose file is where plugins are now; the answer is an operation to
    /// watch. For `trial` the version before can come back.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub async fn upgrade_plugin(
        &self,
        plugin: &str,
        trial: Option<Duration>,
        by: &str,
    ) -> Result<u64, CommandError> {
        let Staged { groups, lock } = self.stage(plugin).await?;
        self.0.shared.change_lock(lock);
        self.0.control.tell(Told::Plugins);
        let names: Vec<String> = groups.iter().map(|(group, _)| group.clone()).collect();
        let shared = &self.0.shared;
        tracing::info!(plugin, by, "upgrade of a plugin");
        let operation = shared.begin_operation(format!("upgrade of plugin {plugin}"), &names);
        let trial = trial.unwrap_or(TRIAL).min(TRIAL_MAX);
        for (group, hosted) in groups {
            self.give_upgrade(
                &group,
                plugin,
                operation,
                UpgradeWhat::Change { hosted, trial, records: self.0.staging.versions() },
            );
        }
        Ok(operation)
    }

    /// Ends the trial of a version; the answer is an operation to watch.
    ///
    /// # Errors
    /// If no interface uses such a plugin.
    pub fn end_trial(&self, plugin: &str, end: TrialEnd, by: &str) -> Result<u64, CommandError> {
        self.loaded_one(plugin)?;
        let uses = |(group, port): &(String, _)| {
            let port: &std::sync::Arc<crate::instance::Port> = port;
            (port.setup.plugin == plugin).then(|| group.clone())
        };
        let mut groups: Vec<String> = self.0.ports.iter().filter_map(uses).collect();
        groups.sort();
        groups.dedup();
        tracing::info!(plugin, by, ?end, "end of a trial");
        let order = match end {
            TrialEnd::Rollback => format!("rollback of plugin {plugin}"),
            TrialEnd::Keep => format!("keeping of plugin {plugin}"),
        };
        let operation = self.0.shared.begin_operation(order, &groups);
        for group in groups {
            let what = match end {
                TrialEnd::Rollback => UpgradeWhat::Back,
                TrialEnd::Keep => UpgradeWhat::Keep,
            };
            self.give_upgrade(&group, plugin, operation, what);
        }
        Ok(operation)
    }

    /// Ends the quarantine of a plugin's libraries on this node, from the next start of the node on; says how many were held.
    ///
    /// # Errors
    /// If no interface uses such a plugin.
    pub fn release_plugin(&self, plugin: &str, by: &str) -> Result<usize, CommandError> {
        self.loaded_one(plugin)?;
        let released = self.0.staging.quarantine().release(plugin);
        tracing::info!(plugin, by, released, "end of a quarantine");
        Ok(released)
    }

    /// What an operator has to know of versions that were taken back.
    pub(super) fn refused_notes(&self) -> Vec<String> {
        let running = self.loaded();
        let held = self.0.staging.versions().all().into_iter().filter(|(plugin, held)| {
            let runs_it = |known: &Loaded| known.name == *plugin && known.sha256 == held.runs;
            running.iter().any(runs_it)
        });
        let note = |(plugin, HeldBack { refused_version, runs_version, .. })| {
            format!(
                "version {refused_version} of plugin {plugin} was taken back: {runs_version} runs, also after a restart, \
                 until another file is installed; `twinhub plugin upgrade {plugin}` tries it again"
            )
        };
        held.map(note).collect()
    }

    /// What an operator has to know of versions that may still be taken back.
    pub(super) fn trial_notes(&self) -> impl Iterator<Item = String> + '_ {
        self.group_states().flat_map(|group| group.trials).map(|trial| {
            let left = trial.until.since(clock::now()).as_secs();
            let Trial { plugin, versions, .. } = trial;
            format!(
                "plugin {plugin} is on trial since its upgrade from {versions}, for {left} s more; \
                 `twinhub plugin rollback {plugin}` takes it back"
            )
        })
    }

    fn give_upgrade(&self, group: &str, plugin: &str, operation: u64, what: UpgradeWhat) {
        if let Some(inbox) = self.0.inboxes.get(group) {
            let order = UpgradeOrder { plugin: plugin.to_owned(), operation, what };
            inbox.push(Job::Upgrade(Box::new(order)));
        }
    }

    fn loaded_one(&self, plugin: &str) -> Result<Loaded, CommandError> {
        let mut loaded = self.loaded();
        match loaded.iter().position(|known| known.name == plugin) {
            Some(place) => Ok(loaded.swap_remove(place)),
            None => Err(CommandError::UnknownPlugin {
                plugin: plugin.to_owned(),
                known: loaded.into_iter().map(|known| known.name).collect(),
            }),
        }
    }
}

fn trial_view(trial: &Trial) -> TrialView {
    TrialView {
        from: trial.versions.from.version.clone(),
        from_sha256: trial.versions.from.sha256.clone(),
        ends_in_s: trial.until.since(clock::now()).as_secs(),
    }
}
