//! What can go wrong around the product.

use std::path::PathBuf;
use std::time::Duration;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a peer could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket, file or process operation.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A condition that did not come true.
    #[error("{what}: not within {limit:?}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was awaited.
        limit: Duration,
    },
    /// A program that is not installed.
    #[error("{program} is not installed at {path}; help: run `cargo xtask setup`", path = path.display())]
    Missing {
        /// The program.
        program: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A child that ended before it was ready.
    #[error("{name} ended before it was ready: {detail}")]
    Ended {
        /// The child.
        name: String,
        /// Last lines of its log.
        detail: String,
    },
    /// Text or bytes that are not what they should be.
    #[error("{what}: {detail}")]
    Invalid {
        /// What was read.
        what: String,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// Names what was attempted when the system said no.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Names what was read and what is wrong with it.
    pub fn invalid(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), detail: detail.to_string() }
    }
}
