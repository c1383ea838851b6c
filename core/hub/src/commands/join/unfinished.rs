//! A join that was begun: the welcome is kept until all of it is in place, since its code counts once.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twinhub_runtime::join::Welcome;
use twinhub_runtime::sha256_of;

use super::write;
use crate::exit::{Code, Failure};
use crate::paths::Paths;

/// See the module.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: PathBuf,
    kept: Option<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the code.
    code: String,
    welcome: Welcome,
    /// A version before this one did not keep it.
    #[serde(default)]
    heard: Heard,
}

/// When it came, on the clock that nobody sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    /// The kernel's name of its run; empty if that is not known.
    boot: String,
    /// Nanoseconds since it began.
    at: u64,
}

impl Heard {
    pub(super) fn now() -> Heard {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Heard { boot: boot.trim().to_owned(), at: twinhub_runtime::clock::now().0 }
    }

    /// How long it is ago; `None` if the machine was started anew since.
    pub(super) fn until(&self, now: &Heard) -> Option<Duration> {
        let is_same = !self.boot.is_empty() && self.boot == now.boot;
        is_same.then(|| Duration::from_nanos(now.at.saturating_sub(self.at)))
    }
}

impl Unfinished {
    /// What a join on this machine left. Bytes that are none count as nothing.
    pub(super) fn load(paths: &Paths) -> Unfinished {
        let file = paths.state.join("joining");
        let kept = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Unfinished { file, kept }
    }

    /// Whether a join was begun and not ended.
    pub(super) const fn is_there(&self) -> bool {
        self.kept.is_some()
    }

    /// The welcome that this code brought, and when.
    pub(super) fn welcome(&self, code: &str) -> Option<(Welcome, Heard)> {
        let kept = self.kept.as_ref().filter(|kept| kept.code == digest_of(code))?;
        Some((kept.welcome.clone(), kept.heard.clone()))
    }

    /// Keeps the welcome, before anything of it is written where it belongs.
    pub(super) fn keep(&self, code: &str, welcome: &Welcome, heard: Heard) -> Result<(), Failure> {
        let kept = Kept { code: digest_of(code), welcome: welcome.clone(), heard };
        let bytes = serde_json::to_vec(&kept).map_err(|error| Failure::of(Code::Internal, &error))?;
        write(&self.file, &bytes, 0o600)
    }

    /// All of it is in place.
    pub(super) fn end(self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let text = format!("cannot remove {}, which has keys in it: {error}", self.file.display());
                Err(Failure::new(Code::Error, text))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// However it was typed.
fn digest_of(code: &str) -> String {
    sha256_of(code.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_welcome_was_kept_is_known_until_the_machine_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = Unfinished { file: dir.path().join("joining"), kept: None };
        let heard = |boot: &str, at| Heard { boot: boot.to_owned(), at };
        unfinished.keep("CODE", &Welcome::default(), heard("one", 5)).unwrap();
        let kept = serde_json::from_slice(&std::fs::read(&unfinished.file).unwrap()).unwrap();
        let again = Unfinished { kept, ..unfinished };
        assert_eq!(again.welcome("OTHER"), None);
        let (_, kept) = again.welcome("CODE").unwrap();
        assert_eq!(kept.until(&heard("one", 12)), Some(Duration::from_nanos(7)));
        assert_eq!(kept.until(&heard("two", 12)), None);
        assert_eq!(Heard::default().until(&Heard::default()), None);
        let now = Heard::now();
        assert!(now.until(&Heard::now()).is_some_and(|passed| passed < Duration::from_secs(60)));
    }
}
