//! A join that was begun: the welcome is kept until all of it is in place, since its code counts once.

use std::io::ErrorKind;
use std::path::PathBuf;

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

    /// The welcome that this code brought.
    pub(super) fn welcome(&self, code: &str) -> Option<Welcome> {
        let kept = self.kept.as_ref().filter(|kept| kept.code == digest_of(code))?;
        Some(kept.welcome.clone())
    }

    /// Keeps the welcome, before anything of it is written where it belongs.
    pub(super) fn keep(&self, code: &str, welcome: &Welcome) -> Result<(), Failure> {
        let kept = Kept { code: digest_of(code), welcome: welcome.clone() };
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
