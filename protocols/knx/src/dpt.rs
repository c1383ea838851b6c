//! Datapoint types.

use std::fmt;

/// A datapoint type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DptId {
    /// Main number.
    pub main: u16,
    /// Sub number.
    pub sub: Option<u16>,
}

impl fmt::Display for DptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.main)
    }
}
