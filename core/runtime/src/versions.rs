//! Versions of plugins that are on trial or were taken back: a restart loads the version that ran before, as long as the
//! file of the other one is where plugins are.
//!
//! ```text
//! upgrade -> on trial -> kept, or the node stopped in order: forgotten
//!              |  \_ the process died: the next one loads the version before, which may not have killed it
//!              +--> taken back: refused, until another file is there or an operator upgrades to it
//! ```
//! The file is `plugin-versions.json` in the state directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use twinhub_trust::LibraryCode;

use crate::clock;
use crate::remembered::Remembered;

/// See the module.
#[derive(Debug)]
pub(crate) struct Versions {
    /// By short name of the plugin.
    held: Remembered<HeldBack>,
}

/// A version that a restart does not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldBack {
    /// SHA-256 of its library.
    pub(crate) refused: String,
    /// Its version.
    pub(crate) refused_version: String,
    /// SHA-256 of the library that is loaded instead, from the cache.
    pub(crate) runs: String,
    /// Its version.
    pub(crate) runs_version: String,
    /// Whether it is on trial only: then a node that stops in order keeps it.
    pub(crate) on_trial: bool,
    /// Since when, RFC 3339.
    pub(crate) since: String,
}

impl Versions {
    /// What the file says.
    pub(crate) fn open(path: PathBuf) -> Versions {
        Versions { held: Remembered::open(path, "the list of refused plugin versions") }
    }

    /// What runs instead, if the library with this hash is not to be loaded.
    pub(crate) fn instead_of(&self, plugin: &str, sha256: &str) -> Option<HeldBack> {
        self.held.get(plugin).filter(|held| held.refused == sha256)
    }

    /// All of them, with the short names of their plugins.
    pub(crate) fn all(&self) -> Vec<(String, HeldBack)> {
        self.held.all()
    }

    /// From here on a process that dies is followed by one with the version before.
    pub(crate) fn try_out(&self, plugin: &str, tried: &LibraryCode, runs: &LibraryCode) {
        self.hold(plugin, tried, runs, true);
    }

    /// A version was taken back.
    pub(crate) fn refuse(&self, plugin: &str, refused: &LibraryCode, runs: &LibraryCode) {
        self.hold(plugin, refused, runs, false);
    }

    fn hold(&self, plugin: &str, refused: &LibraryCode, runs: &LibraryCode, on_trial: bool) {
        let held = HeldBack {
            refused: refused.sha256.clone(),
            refused_version: refused.version.clone(),
            runs: runs.sha256.clone(),
            runs_version: runs.version.clone(),
            on_trial,
            since: clock::utc().to_string(),
        };
        self.held.insert(plugin, held);
    }

    /// The trial is over, and the version stays.
    pub(crate) fn keep(&self, plugin: &str) {
        self.held.remove_if(plugin, |held| held.on_trial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(version: &str) -> LibraryCode {
        let sha256 = format!("hash of {version}");
        LibraryCode { id: "org.example.any".to_owned(), version: version.to_owned(), sha256 }
    }

    #[test]
    fn what_was_taken_back_is_not_loaded_and_what_was_kept_is() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Versions::open(dir.path().join("plugin-versions.json"));
        let instead =
            |version: &str| open().instead_of("modbus", &code(version).sha256).map(|held| held.runs_version);
        let versions = open();
        versions.try_out("modbus", &code("0.2.0"), &code("0.1.0"));
        assert_eq!(instead("0.2.0").as_deref(), Some("0.1.0"), "its process died");
        assert_eq!((instead("0.3.0"), instead("0.1.0")), (None, None), "another file is free");
        versions.keep("modbus");
        assert_eq!(instead("0.2.0"), None);
        versions.refuse("modbus", &code("0.2.0"), &code("0.1.0"));
        versions.keep("modbus");
        assert_eq!(
            instead("0.2.0").as_deref(),
            Some("0.1.0"),
            "the end of a trial frees nothing that was refused"
        );
        assert_eq!(open().instead_of("mqtt", &code("0.2.0").sha256), None);
    }
}
