//! Libraries that faulted too often in this node's process: they run in processes of their own from then on.
//!
//! A library is named by the hash of its file, so a mended one is free. The file is `quarantine.json` in the state
//! directory; `twinhub interfaces ls` shows what runs in a process of its own. Who deletes an entry, or the file, and starts
//! the node again, ends it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use twinhub_loader::Sha256Hex;

use crate::clock;
use crate::whole_file::write_whole;

/// What is in quarantine on this node.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    held: Mutex<BTreeMap<String, Held>>,
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
    /// What the file says. One that cannot be read is said and holds nothing: it must not keep a node from starting.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let held = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %path.display(), %error, "the quarantine of plugins is damaged, delete it");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the quarantine of plugins cannot be read");
                BTreeMap::new()
            }
        };
        Self { path, held: Mutex::new(held) }
    }

    /// Why this library is held.
    #[must_use]
    pub fn why(&self, sha256: &Sha256Hex) -> Option<Held> {
        self.lock().get(sha256.as_str()).cloned()
    }

    /// Holds it from here on, also after a restart.
    pub(crate) fn add(&self, sha256: &Sha256Hex, plugin: &str, cause: &str) {
        let mut held = self.lock();
        let since = clock::utc().to_string();
        held.insert(sha256.to_string(), Held { plugin: plugin.to_owned(), cause: cause.to_owned(), since });
        let written = serde_json::to_vec_pretty(&*held)
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(&self.path, &bytes, None));
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "the quarantine is forgotten at the next start");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
