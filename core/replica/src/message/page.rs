//! What is said with records that were set aside.

use super::{raw_u64, unreadable};
use crate::ReplicaError;

/// Names of files in an offer; whoever has more names the first ones.
pub const OFFERED_FILES_MAX: usize = 100;

/// What is known of a part of records that were set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Nothing follows.
    pub is_complete: bool,
    /// Records are missing before the first one.
    pub is_behind_gap: bool,
    /// Bytes that follow, about.
    pub remaining_bytes: u64,
    /// Damaged places in this part.
    pub damaged: u64,
    /// Values and commands in this part whose items the active node does not have.
    pub unknown: u64,
}

impl Page {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_complete) | u8::from(self.is_behind_gap) << 1);
        for number in [self.remaining_bytes, self.damaged, self.unknown] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// What stands at the beginning of the bytes, and the rest.
    pub(super) fn read(bytes: &[u8]) -> Result<(Page, &[u8]), ReplicaError> {
        let [flags @ 0..=3, rest @ ..] = bytes else {
            return Err(unreadable("it does not say whether it is complete"));
        };
        let (remaining_bytes, rest) = raw_u64(rest)?;
        let (damaged, rest) = raw_u64(rest)?;
        let (unknown, rest) = raw_u64(rest)?;
        let (is_complete, is_behind_gap) = (flags & 1 != 0, flags & 2 != 0);
        Ok((Page { is_complete, is_behind_gap, remaining_bytes, damaged, unknown }, rest))
    }
}
