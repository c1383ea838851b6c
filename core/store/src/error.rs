//! What can go wrong between memory and disk.

use std::io;
use std::path::{Path, PathBuf};

use twinhub_model::{Epoch, Position};

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
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
    /// Another process has the folder or file.
    #[error(
        "{path} is in use by another process; stop that process or give this one another data folder \
         (two nodes cannot share one)"
    )]
    Locked {
        /// The folder or file.
        path: PathBuf,
    },
    /// The buffer is full because nothing can be written.
    #[error(
        "the journal in {dir} holds {bytes} bytes it could not write and takes no more; free disk space or \
         repair the disk"
    )]
    Full {
        /// The journal's folder.
        dir: PathBuf,
        /// Bytes waiting.
        bytes: usize,
    },
    /// A record above the limit.
    #[error("a record of {bytes} bytes is above the limit of {max}; publish smaller batches")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An append without an epoch of this node.
    #[error("this node does not write the journal in {dir}: it began no epoch")]
    NotWriter {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// An epoch that is not newer than the journal.
    #[error("epoch {got} is not newer than the journal's last record {last}")]
    OldEpoch {
        /// The epoch.
        got: Epoch,
        /// The journal's last record.
        last: Position,
    },
    /// A replicated record that does not follow the last one.
    #[error("record {got} does not follow the journal's last record {last}")]
    NotNext {
        /// The record.
        got: Position,
        /// The journal's last record.
        last: Position,
    },
    /// A file whose content is not what was written, with nothing to fall back to.
    #[error("{path} is damaged: {what}; {advice}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: &'static str,
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
    /// No dictionary with this hash is there.
    #[error("dictionary {hash:016x} is missing in {dir}; records that use it show handles, not names")]
    NoDictionary {
        /// The journal's folder.
        dir: PathBuf,
        /// The dictionary's hash.
        hash: u64,
    },
}

impl StoreError {
    /// Whether the cause is a lack of space, so that a later try may succeed once space is free.
    pub fn is_full(&self) -> bool {
        match self {
            StoreError::Io { source, .. } => is_space(source),
            StoreError::Full { .. } => true,
            StoreError::Locked { .. }
            | StoreError::TooLarge { .. }
            | StoreError::NotWriter { .. }
            | StoreError::OldEpoch { .. }
            | StoreError::NotNext { .. }
            | StoreError::Damaged { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::NoDictionary { .. } => false,
        }
    }
}

/// Wraps a system error with what was tried on which path.
pub(crate) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { operation, path, source }
}

fn is_space(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
        || error.kind() == io::ErrorKind::QuotaExceeded
        || error.kind() == io::ErrorKind::FileTooLarge
}

fn advice(error: &io::Error) -> &'static str {
    if is_space(error) {
        "free disk space, writing resumes by itself"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "give this user the right to write there"
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        "mount the file system writable"
    } else {
        "check the disk and the path"
    }
}
