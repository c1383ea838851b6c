//! Why a library may not run.

use std::path::PathBuf;

use crate::signature::SignatureFault;

/// A library may not run. The message is one sentence that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("plugin {} ({id} {version}) {why}", path.display())]
pub struct Refusal {
    /// The library.
    pub path: PathBuf,
    /// The id of its manifest.
    pub id: String,
    /// The version of its manifest.
    pub version: String,
    /// Why not.
    pub why: Box<Why>,
}

/// Why a library may not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// `plugins.lock` does not name the plugin.
    #[error("is not in {lock}; if it is to run, add it with `twinhub plugin lock`")]
    NoEntry {
        /// `plugins.lock`.
        lock: String,
    },
    /// `plugins.lock` names other content.
    #[error(
        "is not the file that {lock}:{line} names: its SHA-256 is {sha256}, not {expected}; install the file that was \
         locked, or, if this one is to run, take it over with `twinhub plugin lock --update`"
    )]
    OtherHash {
        /// `plugins.lock`.
        lock: String,
        /// The line of the entry.
        line: u32,
        /// The hash of the file.
        sha256: String,
        /// The hash in the entry.
        expected: String,
    },
    /// The entry with the hash says something else of the library than its manifest.
    #[error("is called {locked} at {lock}:{line}: correct the entry")]
    OtherName {
        /// `plugins.lock`.
        lock: String,
        /// The line of the entry.
        line: u32,
        /// Id and version in the entry.
        locked: String,
    },
    /// There is no signature.
    #[error(
        "is not signed: there is no {}; put the signature of publisher `{publisher}` there",
        signature.display()
    )]
    NoSignature {
        /// Where the signature was looked for.
        signature: PathBuf,
        /// Who should have signed it.
        publisher: String,
    },
    /// The signature cannot be read.
    #[error("has a signature {} that cannot be read: {source}", signature.display())]
    UnreadableSignature {
        /// The signature.
        signature: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The signature does not count.
    #[error(
        "is not signed by publisher `{publisher}`: its signature {} does not count, {fault}; get library and signature \
         from the publisher again",
        signature.display()
    )]
    BadSignature {
        /// The signature.
        signature: PathBuf,
        /// Who should have signed it.
        publisher: String,
        /// What is wrong.
        fault: SignatureFault,
    },
}
