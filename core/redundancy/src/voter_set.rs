//! A set of voters that needs no memory of its own.

use twinhub_model::NodeRank;

use crate::setup::VoterId;

/// Some of the nodes and perhaps the witness: one bit for each that there can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VoterSet {
    nodes: [u64; 4],
    witness: bool,
}

impl VoterSet {
    pub(crate) fn insert(&mut self, voter: VoterId) {
        match voter {
            VoterId::Node(node) => self.nodes[word(node)] |= bit(node),
            VoterId::Witness => self.witness = true,
        }
    }

    pub(crate) fn remove(&mut self, voter: VoterId) {
        match voter {
            VoterId::Node(node) => self.nodes[word(node)] &= !bit(node),
            VoterId::Witness => self.witness = false,
        }
    }

    pub(crate) fn contains(&self, voter: VoterId) -> bool {
        match voter {
            VoterId::Node(node) => self.nodes[word(node)] & bit(node) != 0,
            VoterId::Witness => self.witness,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.iter().map(|word| count(*word)).sum::<usize>() + usize::from(self.witness)
    }

    /// How many are in both.
    pub(crate) fn in_common(&self, other: &VoterSet) -> usize {
        let both = self.nodes.iter().zip(&other.nodes).map(|(one, other)| count(one & other));
        both.sum::<usize>() + usize::from(self.witness && other.witness)
    }

    /// Those in one of them, or in both.
    pub(crate) fn union(&self, other: &VoterSet) -> VoterSet {
        let mut all = *self;
        for (word, others) in all.nodes.iter_mut().zip(&other.nodes) {
            *word |= others;
        }
        all.witness |= other.witness;
        all
    }

    /// The nodes by rank, then the witness.
    pub(crate) fn iter(&self) -> impl Iterator<Item = VoterId> + 'static {
        let (mut nodes, witness) = (self.nodes, self.witness);
        let nodes = std::iter::from_fn(move || {
            let place = nodes.iter().position(|word| *word != 0)?;
            let low = nodes[place].trailing_zeros();
            nodes[place] &= nodes[place] - 1;
            let rank = u8::try_from(place * 64 + low as usize).expect("four words have 256 bits");
            Some(VoterId::Node(NodeRank(rank)))
        });
        nodes.chain(witness.then_some(VoterId::Witness))
    }
}

impl FromIterator<VoterId> for VoterSet {
    fn from_iter<I: IntoIterator<Item = VoterId>>(voters: I) -> VoterSet {
        let mut set = VoterSet::default();
        voters.into_iter().for_each(|voter| set.insert(voter));
        set
    }
}

/// All but the first word are empty unless a cluster has more nodes than anybody runs.
fn count(word: u64) -> usize {
    if word == 0 { 0 } else { word.count_ones() as usize }
}

fn word(node: NodeRank) -> usize {
    usize::from(node.0 >> 6)
}

fn bit(node: NodeRank) -> u64 {
    1 << (node.0 & 63)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn voters() -> impl Strategy<Value = Vec<VoterId>> {
        let voter = (0u16..257)
            .prop_map(|id| u8::try_from(id).map_or(VoterId::Witness, |rank| VoterId::Node(NodeRank(rank))));
        prop::collection::vec(voter, 0..40)
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_put_in_and_not_taken_out(one in voters(), other in voters(), gone in voters()) {
            let (mut set, others): (VoterSet, VoterSet) =
                (one.iter().copied().collect(), other.iter().copied().collect());
            let (mut known, known_others): (BTreeSet<_>, BTreeSet<_>) =
                (one.into_iter().collect(), other.into_iter().collect());
            for voter in gone {
                set.remove(voter);
                known.remove(&voter);
                prop_assert!(!set.contains(voter));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), known.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len(), known.len());
            prop_assert!(known.iter().all(|voter| set.contains(*voter)));
            prop_assert_eq!(set.in_common(&others), known.intersection(&known_others).count());
            let union = set.union(&others).iter().collect::<Vec<_>>();
            prop_assert_eq!(union, known.union(&known_others).copied().collect::<Vec<_>>());
        }
    }
}
