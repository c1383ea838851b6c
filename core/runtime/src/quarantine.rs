//! Libraries that faulted too often in this node's process: they run in processes of their own from then on.
//!
//! A library is named by the hash of its file, so a mended one is free. The file is `quarantine.json` in the state
//! directory; `twinhub interfaces ls` shows what runs in a process of its own. Who deletes an entry, or the file, and starts
//! the node again, ends it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use twinhub_loader::Sha256Hex;

use crate::clock;
use crate::remembered::Remembered;

/// What is in quarantine on this node.
#[derive(Debug)]
pub struct Quarantine {
    /// By hash.
    held: Remembered<Held>,
}

/// A library in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Short name of the plugin.
    pub plugin: String,
    /// Why.
    pub cause: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl Quarantine {
    /// What the file says.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        Self { held: Remembered::open(path, "the quarantine of plugins") }
    }

    /// Why this library is held.
    #[must_use]
    pub fn why(&self, sha256: &Sha256Hex) -> Option<Held> {
        self.held.get(sha256.as_str())
    }

    /// Holds nothing of this plugin any more; says how many of its libraries it held.
    pub(crate) fn release(&self, plugin: &str) -> usize {
        let held = self.held.all().into_iter().filter(|(_, held)| held.plugin == plugin);
        held.map(|(sha256, _)| self.held.remove_if(&sha256, |_| true)).count()
    }

    /// Holds it from here on, also after a restart.
    pub(crate) fn add(&self, sha256: &Sha256Hex, plugin: &str, cause: &str) {
        let since = clock::utc().to_string();
        let held = Held { plugin: plugin.to_owned(), cause: cause.to_owned(), since };
        self.held.insert(sha256.as_str(), held);
    }
}
