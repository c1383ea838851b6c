//! Who acts, and since when: numbers that fence.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A node's place in the ordered list; rank 0 is the *main*, the others are *backups*.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct NodeRank(#[n(0)] pub u8);

impl fmt::Display for NodeRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The fencing number of one period of being active: `counter << 8 | rank`. Two nodes can never own the
/// same epoch, also when one of them was promoted without a majority.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Epoch(#[n(0)] pub u64);

impl Epoch {
    /// Before anybody was ever active.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch with this counter that belongs to the node of this rank.
    pub const fn new(counter: u64, rank: NodeRank) -> Epoch {
        Epoch(counter << 8 | rank.0 as u64)
    }

    /// How many times a role was won before, over all nodes.
    pub const fn counter(self) -> u64 {
        self.0 >> 8
    }

    /// The node this epoch belongs to.
    pub const fn rank(self) -> NodeRank {
        NodeRank((self.0 & 0xff) as u8)
    }

    /// The smallest epoch of `rank` that is greater than this one.
    #[must_use]
    pub const fn next_for(self, rank: NodeRank) -> Epoch {
        Epoch::new(self.counter() + 1, rank)
    }
}

impl fmt::Display for Epoch {
    /// `counter.rank`, for example `17.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.counter(), self.rank())
    }
}

/// Counts the starts of one process; persisted before the first message is sent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Incarnation(#[n(0)] pub u64);

/// A place in a group's journal: records are numbered from 1 within the epoch that wrote them.
/// Ordered by epoch first, so the journal of a later active node continues an earlier one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
pub struct Position {
    /// The epoch whose owner wrote the record.
    #[n(0)]
    pub epoch: Epoch,
    /// The record's number within that epoch; 0 is before the first.
    #[n(1)]
    pub seq: u64,
}

impl Position {
    /// Before the first record of the first epoch.
    pub const START: Position = Position { epoch: Epoch::NONE, seq: 0 };

    /// The position `seq` of `epoch`.
    pub const fn new(epoch: Epoch, seq: u64) -> Position {
        Position { epoch, seq }
    }

    /// The next place in the same epoch.
    #[must_use]
    pub const fn next(self) -> Position {
        Position { epoch: self.epoch, seq: self.seq + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_one_owner() {
        let mine = Epoch::new(7, NodeRank(0)).next_for(NodeRank(0));
        let yours = Epoch::new(7, NodeRank(0)).next_for(NodeRank(1));
        assert_ne!(mine, yours);
        assert!(mine > Epoch::new(7, NodeRank(255)));
        assert_eq!((yours.counter(), yours.rank()), (8, NodeRank(1)));
    }

    #[test]
    fn a_later_epoch_continues_the_journal() {
        let old = Position::new(Epoch::new(1, NodeRank(0)), 900);
        let new = Position::new(Epoch::new(2, NodeRank(1)), 1);
        assert!(new > old && old.next() > old);
    }
}
