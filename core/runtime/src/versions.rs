//! Versions of plugins that were taken back: a restart loads the version that ran instead, as long as the file of the
//! refused one is where plugins are.
//!
//! The file is `plugin-versions.json` in the state directory. Another file in the place of the refused one, or an upgrade
//! that succeeds, ends it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::instance::Hosted;
use crate::whole_file::write_whole;

/// See the module.
#[derive(Debug)]
pub(crate) struct Versions {
    path: PathBuf,
    held: Mutex<BTreeMap<String, HeldBack>>,
}

/// A version that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldBack {
    /// SHA-256 of the library that is not loaded by itself.
    pub(crate) refused: String,
    /// SHA-256 of the one that is loaded instead, from the cache.
    pub(crate) runs: String,
    /// Its version.
    pub(crate) version: String,
    /// Since when, RFC 3339.
    pub(crate) since: String,
}

impl Versions {
    /// What the file says. One that cannot be read holds nothing back: it must not keep a node from starting.
    pub(crate) fn open(path: PathBuf) -> Versions {
        let held = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %path.display(), %error, "the list of refused plugin versions is damaged, delete it");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the list of refused plugin versions cannot be read");
                BTreeMap::new()
            }
        };
        Versions { path, held: Mutex::new(held) }
    }

    /// What runs instead, if the library with this hash was taken back.
    pub(crate) fn instead_of(&self, plugin: &str, sha256: &str) -> Option<HeldBack> {
        self.lock().get(plugin).filter(|held| held.refused == sha256).cloned()
    }

    /// The one that runs again is what is to be loaded in place of the refused one.
    pub(crate) fn hold(&self, plugin: &str, runs: &Hosted, refused: &Hosted) {
        let held = HeldBack {
            refused: refused.library.sha256().to_string(),
            runs: runs.library.sha256().to_string(),
            version: runs.library.manifest().version.clone(),
            since: clock::utc().to_string(),
        };
        if held.refused == held.runs {
            return;
        }
        let mut all = self.lock();
        all.insert(plugin.to_owned(), held);
        self.write(&all);
    }

    /// Nothing of this plugin is held back.
    pub(crate) fn release(&self, plugin: &str) {
        let mut all = self.lock();
        if all.remove(plugin).is_some() {
            self.write(&all);
        }
    }

    fn write(&self, all: &BTreeMap<String, HeldBack>) {
        let written = serde_json::to_vec_pretty(all)
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(&self.path, &bytes, None));
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "a refused plugin version is forgotten at the next start");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, HeldBack>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(refused: &str) -> HeldBack {
        let text = |text: &str| text.to_owned();
        HeldBack { refused: text(refused), runs: text("aa"), version: text("0.1.0"), since: text("now") }
    }

    #[test]
    fn what_was_taken_back_is_known_after_a_restart_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin-versions.json");
        let versions = Versions::open(path.clone());
        let mut all = versions.lock();
        all.insert("modbus".to_owned(), held("bb"));
        versions.write(&all);
        drop(all);
        let again = Versions::open(path.clone());
        assert_eq!(again.instead_of("modbus", "bb"), Some(held("bb")));
        assert_eq!(again.instead_of("modbus", "cc"), None, "another file is free");
        assert_eq!(again.instead_of("mqtt", "bb"), None);
        again.release("modbus");
        assert_eq!(Versions::open(path.clone()).instead_of("modbus", "bb"), None);
        std::fs::write(&path, b"{\"modbus\":").unwrap();
        assert_eq!(
            Versions::open(path).instead_of("modbus", "bb"),
            None,
            "a damaged list holds nothing back"
        );
    }
}
