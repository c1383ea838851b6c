//! Who votes: the record of a group's voters, and what a majority is while it changes.
//!
//! The configuration names the voters. The record says who of them is *absent*: shrunk, for a service of its
//! machine, until it is back. A holder writes it, one change at a time, and a change counts once a majority of
//! the voters before and a majority of those after have it on disk; until then every vote needs both
//! majorities. A voter that has a record refuses whoever comes with an older one and shows its own, so that
//! nobody can win with a majority of voters that are not the voters any more.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::Serialize;
use twinhub_model::{Epoch, Incarnation};

use crate::epoch::is_sane;
use crate::rule::Rule;
use crate::setup::{Setup, VOTERS_MAX, VoterId};
use crate::voter_set::VoterSet;

/// Orders the records of a group: the one of the later holder is newer, and of one holder the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Stamp {
    /// In whose epoch it was written.
    #[n(0)]
    pub epoch: Epoch,
    /// Counts the records of a group.
    #[n(1)]
    pub revision: u64,
}

/// Who votes in a group. The default is a group whose voters never changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Members {
    /// Which record this is.
    #[n(0)]
    pub stamp: Stamp,
    /// Who does not vote, although the configuration names it.
    #[n(1)]
    pub absent: Vec<Absence>,
    /// Who did not vote before, while the change does not count yet.
    #[n(2)]
    pub before: Option<Vec<VoterId>>,
}

/// A record as it is kept and sent: it goes with most messages and hardly ever changes, so all of them share one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SharedMembers(Arc<Members>);

impl fmt::Debug for SharedMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<Members> for SharedMembers {
    fn from(members: Members) -> SharedMembers {
        SharedMembers(Arc::new(members))
    }
}

impl Deref for SharedMembers {
    type Target = Members;

    fn deref(&self) -> &Members {
        &self.0
    }
}

impl<C> Encode<C> for SharedMembers {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for SharedMembers {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<SharedMembers, minicbor::decode::Error> {
        Members::decode(decoder, context).map(SharedMembers::from)
    }
}

/// A voter that was shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
pub struct Absence {
    /// Who.
    #[n(0)]
    pub voter: VoterId,
    /// On what ground.
    #[n(1)]
    pub ground: Ground,
    /// It stays absent until an operator says otherwise, also when it is back.
    #[n(2)]
    pub hold: bool,
    /// Its process at that time, if known: a later one is back from the service.
    #[n(3)]
    pub process: Option<Incarnation>,
}

/// Why it is safe, and meant, that a voter does not vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// An operator drained it and keeps it in maintenance.
    #[n(0)]
    Drained,
    /// Its process ended in order, or its supervisor saw it end.
    #[n(1)]
    Stopped,
    /// A witness about to be serviced.
    #[n(2)]
    Serviced,
    /// It is silent, and an operator says that its machine is off.
    #[n(3)]
    Fenced,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ground::Drained => "drained",
            Ground::Stopped => "stopped",
            Ground::Serviced => "in service",
            Ground::Fenced => "fenced by an operator",
        })
    }
}

/// A change of who votes, as an operator orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MembersChange {
    /// It votes no more until it is back.
    #[n(0)]
    Shrink {
        /// Who.
        #[n(0)]
        voter: VoterId,
        /// It is silent, and its machine is surely off.
        #[n(1)]
        fenced: bool,
        /// It stays absent until [`MembersChange::Grow`].
        #[n(2)]
        hold: bool,
    },
    /// It votes again.
    #[n(1)]
    Grow {
        /// Who.
        #[n(0)]
        voter: VoterId,
    },
}

impl MembersChange {
    /// Whom it is about.
    pub const fn voter(self) -> VoterId {
        match self {
            MembersChange::Shrink { voter, .. } | MembersChange::Grow { voter } => voter,
        }
    }
}

impl fmt::Display for MembersChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembersChange::Shrink { voter, .. } => write!(f, "shrink {voter}"),
            MembersChange::Grow { voter } => write!(f, "grow {voter}"),
        }
    }
}

impl Members {
    /// Whether `voter` is absent.
    pub fn is_absent(&self, voter: VoterId) -> bool {
        self.absence(voter).is_some()
    }

    /// How and why `voter` is absent, if it is.
    pub fn absence(&self, voter: VoterId) -> Option<&Absence> {
        self.absent.iter().find(|absence| absence.voter == voter)
    }

    /// Whether a holder can have written this. What is not, comes from a fault, and believing it would leave a
    /// group without voters or without a newer record.
    pub(crate) fn is_believable(&self) -> bool {
        let before = self.before.as_ref().map_or(0, Vec::len);
        is_sane(self.stamp.epoch)
            && self.stamp.revision <= REVISION_MAX
            && self.absent.len() < VOTERS_MAX
            && before < VOTERS_MAX
    }

    fn ids(&self) -> Vec<VoterId> {
        self.absent.iter().map(|absence| absence.voter).collect()
    }

    /// The next record: these are absent, and both majorities count if that is a change.
    pub(crate) fn changed(&self, epoch: Epoch, mut absent: Vec<Absence>) -> Members {
        absent.sort_unstable();
        let next = Members { stamp: self.stamp.next(epoch), absent, before: None };
        let before = self.ids();
        Members { before: (next.ids() != before).then_some(before), ..next }
    }

    /// The next record: the change counts.
    pub(crate) fn settled(&self, epoch: Epoch) -> Members {
        Members { stamp: self.stamp.next(epoch), absent: self.absent.clone(), before: None }
    }

    /// The same record, counting at once: only where every vote needs a majority of these voters anyway.
    pub(crate) fn settled_at_once(self) -> Members {
        Members { before: None, ..self }
    }

    /// The next record: the same in the name of another holder.
    pub(crate) fn renamed(&self, epoch: Epoch) -> Members {
        Members { stamp: self.stamp.next(epoch), ..self.clone() }
    }
}

impl SharedMembers {
    /// What is sent: nothing while the voters never changed.
    pub(crate) fn told(&self) -> Option<SharedMembers> {
        (self.stamp != Stamp::default()).then(|| self.clone())
    }
}

impl Stamp {
    fn next(self, epoch: Epoch) -> Stamp {
        Stamp { epoch, revision: self.revision + 1 }
    }
}

/// Who votes by one record, and who voted before while that does not count yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Electorate {
    voters: VoterSet,
    before: Option<VoterSet>,
}

impl Electorate {
    pub(crate) fn new(setup: &Setup, members: &Members) -> Electorate {
        let without = |absent: &[VoterId]| setup.voters().filter(|voter| !absent.contains(voter)).collect();
        Electorate { voters: without(&members.ids()), before: members.before.as_deref().map(without) }
    }

    /// Whether these votes are a majority, of both sets while the voters change.
    pub(crate) fn wins(&self, votes: &VoterSet) -> bool {
        self.sets().all(|set| set.in_common(votes) >= majority(set))
    }

    /// Whether no majority is left without these.
    pub(crate) fn is_blocked(&self, without: impl Fn(VoterId) -> bool) -> bool {
        self.sets().any(|set| set.iter().filter(|voter| !without(*voter)).count() < majority(set))
    }

    /// How many of these votes count, and how many are needed, in the set that is farther from its majority.
    pub(crate) fn tally(&self, votes: &VoterSet) -> (usize, usize) {
        let counted = self.sets().map(|set| (set.in_common(votes), majority(set)));
        counted.max_by_key(|(votes, needed)| needed.saturating_sub(*votes)).unwrap_or((0, 1))
    }

    /// How many votes are needed.
    pub(crate) fn needed(&self) -> usize {
        self.sets().map(majority).max().unwrap_or(1)
    }

    /// Who votes once the change counts.
    pub(crate) fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Whether its vote counts once the change does.
    pub(crate) fn has(&self, voter: VoterId) -> bool {
        self.voters.contains(voter)
    }

    /// Everyone whose vote counts for anything.
    pub(crate) fn everyone(&self) -> VoterSet {
        self.before.map_or(self.voters, |before| before.union(&self.voters))
    }

    fn sets(&self) -> impl Iterator<Item = &VoterSet> {
        std::iter::once(&self.voters).chain(&self.before)
    }
}

fn majority(set: &VoterSet) -> usize {
    if Rule::Majority.holds() { set.len() / 2 + 1 } else { set.len().div_ceil(2) }
}

/// A change each second for millions of years.
const REVISION_MAX: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_model::NodeRank;

    use super::*;
    use crate::setup::tests::group;

    const A: VoterId = VoterId::Node(NodeRank(0));
    const B: VoterId = VoterId::Node(NodeRank(1));
    const W: VoterId = VoterId::Witness;

    fn absent(voters: &[VoterId]) -> Vec<Absence> {
        let absence =
            |voter: &VoterId| Absence { voter: *voter, ground: Ground::Drained, hold: false, process: None };
        voters.iter().map(absence).collect()
    }

    #[test]
    fn a_change_needs_both_majorities_and_then_only_the_new_one() {
        let setup = group(W, 2, true);
        let epoch = Epoch::new(1, NodeRank(0));
        let wins = |members: &Members, votes: &[VoterId]| {
            Electorate::new(&setup, members).wins(&votes.iter().copied().collect())
        };
        let all = Members::default();
        assert!(wins(&all, &[A, W]) && wins(&all, &[B, W]) && !wins(&all, &[A]));
        let without_b = all.changed(epoch, absent(&[B])).settled(epoch);
        assert!(wins(&without_b, &[A, W]) && !wins(&without_b, &[B, W]) && !wins(&without_b, &[A, B]));
        let joint = without_b.changed(epoch, absent(&[B, W]));
        assert!(wins(&joint, &[A, W]) && !wins(&joint, &[A]), "the witness must agree that it goes");
        let alone = joint.settled(epoch);
        assert!(wins(&alone, &[A]) && !wins(&alone, &[B, W]));
        assert_eq!(alone.stamp.revision, 4);
        let electorate = Electorate::new(&setup, &joint);
        assert!(electorate.is_blocked(|voter| voter == W) && !electorate.is_blocked(|voter| voter == B));
        assert_eq!(electorate.tally(&VoterSet::from_iter([A])), (1, 2));
    }

    #[test]
    fn a_record_of_nobody_elects_nobody() {
        let setup = group(W, 1, true);
        let nobody = Members { absent: absent(&[A, W]), ..Members::default() };
        assert!(!Electorate::new(&setup, &nobody).wins(&VoterSet::from_iter([A, B, W])));
    }

    proptest! {
        /// Whatever one change is made to whatever voters: a majority before it, one while it does not count and
        /// one after it have a voter in common, pairwise.
        #[test]
        fn majorities_around_a_change_overlap(
            nodes in 1u8..8, witness: bool, gone in 0u8..128, voter in 0u8..8,
            one in 0u16..256, other in 0u16..256,
        ) {
            let witness = witness && nodes < 7;
            let setup = group(W, nodes, witness);
            let all: Vec<VoterId> = setup.voters().collect();
            let of = |bits: u16| all.iter().enumerate().filter(move |(place, _)| bits >> place & 1 == 1).map(|(_, id)| *id);
            let epoch = Epoch::new(1, NodeRank(0));
            let mut absences = absent(&of(u16::from(gone)).collect::<Vec<_>>());
            absences.truncate(all.len() - 1);
            let old = Members { absent: absences.clone(), ..Members::default() };
            let voter = all[usize::from(voter) % all.len()];
            if old.is_absent(voter) {
                absences.retain(|absence| absence.voter != voter);
            } else {
                absences.extend(absent(&[voter]));
            }
            let joint = old.changed(epoch, absences);
            let stages = [old, joint.clone(), joint.settled(epoch)];
            for (first, second) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (0, 2)] {
                let (first, second) = (Electorate::new(&setup, &stages[first]), Electorate::new(&setup, &stages[second]));
                let (one, other): (VoterSet, VoterSet) = (of(one).collect(), of(other).collect());
                if first.wins(&one) && second.wins(&other) {
                    prop_assert!(one.in_common(&other) > 0, "{one:?} {other:?}");
                }
            }
        }

        #[test]
        fn hostile_bytes_are_no_record_or_a_bounded_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(members) = minicbor::decode::<Members>(&bytes)
                && members.is_believable()
            {
                prop_assert!(members.absent.len() < VOTERS_MAX);
                let _ = Electorate::new(&group(W, 3, true), &members.settled(Epoch(1)));
            }
        }
    }
}
