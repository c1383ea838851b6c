//! What a machine or a voter knows about its group before it starts.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;
use twinhub_model::NodeRank;

use crate::policy::{Failback, Policy};
use crate::rule::Rule;
use crate::timers::Timers;

/// One group on one node, or on a witness.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The group's name.
    pub group: String,
    /// The cluster's id; messages of another cluster never reach a machine.
    pub cluster: u64,
    /// Who this is.
    pub me: VoterId,
    /// The nodes in the order in which this group prefers them: the first is its main.
    pub nodes: Vec<NodeInfo>,
    /// Whether a witness votes.
    pub witness: bool,
    /// What to do in a pair without a witness when the other node is silent.
    pub without_witness: Policy,
    /// All times, resolved and checked with [`Timers::check`].
    pub timers: Timers,
    /// Whether the role goes back to the preferred node.
    pub failback: Failback,
    /// A standby that is further behind is no candidate while another is not.
    pub lag_limit_records: u64,
    /// Hash of the loaded configuration; [`crate::Input::Config`] changes it.
    pub config_hash: u64,
}

impl Setup {
    /// Everyone who votes, nodes first.
    pub fn voters(&self) -> impl Iterator<Item = VoterId> + '_ {
        let nodes = self.nodes.iter().filter(|info| info.votes).map(|info| VoterId::Node(info.node));
        nodes.chain(self.witness.then_some(VoterId::Witness))
    }

    /// How many votes win.
    pub fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Whether this is a pair in which nobody can break a tie.
    pub fn is_pair_without_witness(&self) -> bool {
        let is_pair = !self.witness && self.voters().count() == 2;
        is_pair || !Rule::NoSelfPromotion.holds()
    }

    /// The place of `node` in the group's order.
    pub fn order_of(&self, node: NodeRank) -> Option<usize> {
        self.nodes.iter().position(|info| info.node == node)
    }

    /// Whether this can work at all.
    ///
    /// # Errors
    /// [`SetupError`] names what is wrong.
    pub fn check(&self) -> Result<(), SetupError> {
        for (index, info) in self.nodes.iter().enumerate() {
            if self.nodes[..index].iter().any(|other| other.node == info.node) {
                return Err(SetupError::Twice { node: info.node });
            }
        }
        if let VoterId::Node(node) = self.me
            && self.order_of(node).is_none()
        {
            return Err(SetupError::NotInGroup { node, group: self.group.clone() });
        }
        let voters = self.voters().count();
        if voters == 0 || voters > VOTERS_MAX {
            return Err(SetupError::Voters { voters });
        }
        Ok(())
    }
}

/// Why a [`Setup`] cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The node that runs is not in the list.
    #[error("node {node} is not in the list of group `{group}`")]
    NotInGroup {
        /// The node.
        node: NodeRank,
        /// The group.
        group: String,
    },
    /// A node is listed twice.
    #[error("node {node} is listed twice")]
    Twice {
        /// The node.
        node: NodeRank,
    },
    /// None, or too many.
    #[error("a group has 1 to {VOTERS_MAX} voters, this one has {voters}: make the last nodes observers")]
    Voters {
        /// How many there are.
        voters: usize,
    },
}

/// A node of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its cluster-wide index.
    pub node: NodeRank,
    /// Its name, for people.
    pub name: String,
    /// Whether it votes and may become active; an observer does neither.
    pub votes: bool,
}

/// Someone who votes, or could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum VoterId {
    /// A node.
    #[n(0)]
    Node(#[n(0)] NodeRank),
    /// The witness.
    #[n(1)]
    Witness,
}

impl VoterId {
    /// The node, if it is one.
    pub const fn node(self) -> Option<NodeRank> {
        match self {
            VoterId::Node(node) => Some(node),
            VoterId::Witness => None,
        }
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VoterId::Node(node) => write!(f, "node {node}"),
            VoterId::Witness => f.write_str("the witness"),
        }
    }
}

impl Serialize for VoterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            VoterId::Node(node) => serializer.serialize_u8(node.0),
            VoterId::Witness => serializer.serialize_str("witness"),
        }
    }
}

/// More voters make every election slower and none safer.
pub const VOTERS_MAX: usize = 7;

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timers::Profile;

    pub(crate) fn pair_with_witness(me: VoterId) -> Setup {
        group(me, 2, true)
    }

    pub(crate) fn group(me: VoterId, nodes: u8, witness: bool) -> Setup {
        let info = |rank| NodeInfo { node: NodeRank(rank), name: format!("n{rank}"), votes: true };
        Setup {
            group: "site".to_owned(),
            cluster: 1,
            me,
            nodes: (0..nodes).map(info).collect(),
            witness,
            without_witness: Policy::Evidence,
            timers: Timers::of(Profile::Normal),
            failback: Failback::Auto { hold_off: Duration::from_secs(60) },
            lag_limit_records: 1000,
            config_hash: 1,
        }
    }

    #[test]
    fn majorities_are_more_than_half() {
        let me = VoterId::Node(NodeRank(0));
        for (nodes, witness, majority) in
            [(1, false, 1), (2, false, 2), (2, true, 2), (3, false, 2), (4, true, 3)]
        {
            assert_eq!(group(me, nodes, witness).majority(), majority);
        }
        assert!(group(me, 2, false).is_pair_without_witness());
        assert!(!group(me, 2, true).is_pair_without_witness());
    }

    #[test]
    fn a_group_that_cannot_work_is_refused() {
        let me = VoterId::Node(NodeRank(0));
        assert_eq!(group(me, 7, false).check(), Ok(()));
        assert_eq!(group(me, 7, true).check(), Err(SetupError::Voters { voters: 8 }));
        let other = VoterId::Node(NodeRank(9));
        assert!(matches!(group(other, 2, true).check(), Err(SetupError::NotInGroup { .. })));
        let mut twice = group(me, 2, true);
        twice.nodes[1].node = NodeRank(0);
        assert_eq!(twice.check(), Err(SetupError::Twice { node: NodeRank(0) }));
    }
}
