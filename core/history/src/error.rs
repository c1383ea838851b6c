//! What can go wrong between memory and disk.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The operating system refused.
    #[error("cannot {operation} {path}: {source}; {}", advice(source))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("{path} is in use by another process; stop that process or give this one another data folder")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file whose content is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file of a newer version.
    #[error("{path} has format {got}, this version reads up to {known}; install the newer version again")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        got: u16,
        /// The newest format that can be read.
        known: u16,
    },
}

impl HistoryError {
    /// Whether the cause is a lack of space, so that a later try may succeed once space is free.
    pub fn is_full(&self) -> bool {
        match self {
            HistoryError::Io { source, .. } => is_space(source),
            HistoryError::Locked { .. } | HistoryError::Damaged { .. } | HistoryError::NewerFormat { .. } => {
                false
            }
        }
    }
}

/// Wraps a system error with what was tried on which path.
pub(crate) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Io { operation, path, source }
}

fn is_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

fn advice(error: &io::Error) -> &'static str {
    if is_space(error) {
        "free disk space, writing resumes by itself"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "give this user the right to write there"
    } else {
        "check the disk and the path"
    }
}
