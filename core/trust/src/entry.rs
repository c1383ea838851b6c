//! One library of `plugins.lock`.

use std::ops::Range;

use crate::hosting::Hosting;

/// One library that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The id of its manifest.
    pub id: String,
    /// The version of its manifest.
    pub version: String,
    /// SHA-256 of its file, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Why it may run.
    pub grant: Grant,
    /// Where its instances run.
    pub hosting: Hosting,
    /// The line of the entry, from 1.
    pub line: u32,
    /// Where the value of `version` stands in the text.
    pub(crate) version_at: Range<usize>,
    /// Where the value of `sha256` stands in the text.
    pub(crate) sha256_at: Range<usize>,
}

/// Why a library may run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// If it has the signature of this publisher.
    SignedBy(String),
    /// As it is: its hash was allowed.
    Unsigned,
}
