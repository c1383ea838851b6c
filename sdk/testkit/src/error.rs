//! What keeps the kit from running at all.

use std::path::PathBuf;

/// What keeps the kit from running at all; a plugin that fails is none of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration or list of items cannot be understood.
    #[error("{}: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The library is none that a hub would load.
    #[error(transparent)]
    Library(#[from] twinhub_loader::LoadError),
    /// No such test.
    #[error("there is no test `{name}`; the groups are {}", groups.join(", "))]
    NoTest {
        /// The name.
        name: String,
        /// What there is.
        groups: Vec<&'static str>,
    },
}

impl Error {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { what, path, source }
    }
}
