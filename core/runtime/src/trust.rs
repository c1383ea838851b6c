//! Reads `plugins.lock` and signatures, so that `core/trust` can judge a library before its code is mapped.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use twinhub_config::{Diagnostic, Failure};
use twinhub_loader::{Inspection, Library, LoadError, Refused, inspect_checked};
use twinhub_model::{Event, Severity};
use twinhub_trust::{
    Candidate, LOCK_BYTES_MAX, LOCK_FILE, Lock, Refusal, SIGNATURE_BYTES_MAX, Verdict, judge,
};

use crate::clock;
use crate::node::PluginLibrary;
use crate::shared::Shared;

pub(crate) mod nodes;

/// What a site trusts.
#[derive(Debug)]
pub struct Trust {
    lock: Option<Lock>,
}

impl Trust {
    /// Reads `plugins.lock` in the directory of the configuration.
    ///
    /// # Errors
    /// If it is there and cannot be read, or is wrong: with everything that is wrong, and its line.
    pub fn open(config_dir: &Path) -> Result<Trust, Failure> {
        let path = lock_path(config_dir);
        let text = read_lock(&path)?;
        let lock = text.map(|text| Lock::parse(&text, &path.display().to_string())).transpose()?;
        Ok(Trust { lock })
    }

    /// `plugins.lock`, if the site has one.
    pub const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Whether a library may run; `bytes` are the ones that were inspected.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn judge(&self, inspection: &Inspection, bytes: &[u8]) -> Result<Verdict, Refusal> {
        let candidate = Candidate {
            path: &inspection.path,
            id: &inspection.manifest.id,
            version: &inspection.manifest.version,
            sha256: inspection.sha256.as_str(),
            bytes,
            signature: &read_signature,
        };
        judge(self.lock(), &candidate)
    }

    /// What the library at `path` is, and whether the hub would load it. None of its code runs.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn inspect(&self, path: &Path) -> Result<(Inspection, Verdict), LoadError> {
        inspect_checked(path, |inspection, bytes| self.check(inspection, bytes))
    }

    /// Tries whether the library at `path` can be loaded; one that may not run in the process of a hub is only looked at.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn try_out(&self, path: &Path, cache: &Path) -> Result<(), LoadError> {
        let (inspection, verdict) = self.inspect(path)?;
        let unwinds = inspection.entry.is_none_or(|entry| entry.unwinds());
        if !verdict.allows_inproc() || !unwinds {
            return Ok(());
        }
        Library::open_checked(path, cache, |inspection, bytes| self.check(inspection, bytes)).map(|_| ())
    }

    fn check(&self, inspection: &Inspection, bytes: &[u8]) -> Result<Verdict, Refused> {
        Ok(self.judge(inspection, bytes)?)
    }
}

/// Where `plugins.lock` is.
pub fn lock_path(config_dir: &Path) -> PathBuf {
    config_dir.join(LOCK_FILE)
}

/// The text of `plugins.lock`; `None` if the site has none.
///
/// # Errors
/// If it is there and cannot be read: a site that has one is never run without it.
pub fn read_lock(path: &Path) -> Result<Option<String>, Failure> {
    let name = path.display();
    let refuse = |message: String, help: &str| Failure::new(vec![Diagnostic::error(message).help(help)]);
    let bytes = match read_limited(path, LOCK_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => {
            let help =
                "see to it that the user of the hub can read it; only without the file nothing is checked";
            return Err(refuse(format!("cannot read {name}: {error}"), help));
        }
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| refuse(format!("{name} is not UTF-8"), "save the file with the encoding UTF-8"))
}

/// The content of a signature file, `None` if there is none.
pub fn read_signature(path: &Path) -> io::Result<Option<Vec<u8>>> {
    read_limited(path, SIGNATURE_BYTES_MAX)
}

/// The bytes of a file, `None` if there is none. A link that leads nowhere is an error.
fn read_limited(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let is_missing = || path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let limit = limit as u64;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Tells with which verdict each library was loaded: the log always, an event where something was checked.
pub(crate) fn tell<'a>(shared: &Shared, plugins: impl Iterator<Item = (&'a str, &'a PluginLibrary)>) {
    for (name, PluginLibrary { library, verdict }) in plugins {
        let (id, version) = (&library.manifest().id, &library.manifest().version);
        tracing::info!(plugin = name, id, version, sha256 = %library.sha256(), %verdict, "plugin loaded");
        if *verdict == Verdict::Unlocked {
            continue;
        }
        let event = Event {
            severity: Severity::Info,
            source: name.into(),
            code: "TH-TRUST-001".into(),
            text: format!("plugin {id} {version} was loaded: {verdict}").into(),
            at: clock::utc(),
        };
        shared.note_event(shared.first_group(), event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_site_without_the_file_goes_unchecked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Trust::open(dir.path()).unwrap().lock().is_none());
        let path = lock_path(dir.path());
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(Trust::open(dir.path()).is_err(), "a link that leads nowhere");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Trust::open(dir.path()).unwrap_err().to_string().contains("it is no file"));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, b"# \xff\n").unwrap();
        assert!(Trust::open(dir.path()).unwrap_err().to_string().contains("is not UTF-8"));
        std::fs::write(&path, vec![b'#'; LOCK_BYTES_MAX + 1]).unwrap();
        assert!(Trust::open(dir.path()).unwrap_err().to_string().contains("is larger than"));
        std::fs::write(&path, "# Nothing.\n").unwrap();
        assert!(Trust::open(dir.path()).unwrap().lock().is_some(), "an empty one trusts nothing");
    }
}
