//! Why a measurement could not be made.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a measurement could not be made. That a figure is off is not an error but a verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A peer, a port or a process.
    #[error(transparent)]
    Peer(#[from] twinhub_peers::Error),
    /// A program or library that should have been built.
    #[error("{path} is not built; help: run this through `cargo xtask`", path = path.display())]
    NotBuilt {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file.
    #[error("{path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A question to a node's REST interface.
    #[error("{url}: {detail}")]
    Rest {
        /// What was asked.
        url: String,
        /// What came back.
        detail: String,
    },
    /// The pair is not where the measurement starts from.
    #[error("{0}")]
    State(String),
    /// Wrong words on the command line.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// An option that there is not, with those that there are.
    #[must_use]
    pub fn unknown_option(word: &str, known: &str) -> Self {
        Self::Usage(format!("unknown option {word}; there are: {known}"))
    }

    /// Names the file.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The error and what caused it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
