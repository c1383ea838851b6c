//! What is wrong with a file, and which records are not here for it.

use std::path::PathBuf;

use twinhub_model::Position;

/// A place where a file is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// Records between two that are not here, though they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The record before the first missing one.
    pub after: Position,
    /// The record behind the last missing one.
    pub before: Position,
    /// The damaged file; `None` if it is gone.
    pub file: Option<PathBuf>,
    /// Whether nothing of the file is of use: its header is not readable.
    pub is_whole_file: bool,
}
