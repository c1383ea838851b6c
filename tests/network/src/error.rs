//! Why a fault could not be tried.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a fault could not be tried. That a figure is off is a verdict, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine does not allow what the test needs; the test is skipped with this text.
    #[error("{0}")]
    NotPermitted(String),
    /// A program of the system said no.
    #[error("{command}: {detail}")]
    Command {
        /// What was run.
        command: String,
        /// What it answered.
        detail: String,
    },
    /// A socket, file or namespace.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A peer, a port or a process.
    #[error(transparent)]
    Peer(#[from] twinhub_peers::Error),
    /// A node's REST interface, or what the product was built into.
    #[error(transparent)]
    Site(#[from] twinhub_conformance::Error),
    /// The pair is not where the test starts from.
    #[error("{0}")]
    State(String),
}

impl Error {
    /// Names what was attempted when the system said no.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
