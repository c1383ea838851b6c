//! The rules of one vote: what may be promised, to whom, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank};

use crate::epoch::is_of;
use crate::members::SharedMembers;
use crate::message::{Message, RefusalCause, TransferToken};
use crate::rule::Rule;
use crate::setup::{Setup, VoterId};
use crate::stored::{Grant, StoredState};

/// One voter's promise and grant.
#[derive(Debug, Clone)]
pub(crate) struct Ballot {
    promised: Epoch,
    grant: Option<Grant>,
    until: Moment,
    lease: Duration,
    electorate: Vec<NodeRank>,
    members: SharedMembers,
    over: BTreeMap<NodeRank, Over>,
}

/// What a node's processes asked up to here is over: the word of it came before the question.
#[derive(Debug, Clone, Copy)]
struct Over {
    process: Incarnation,
    epoch: Epoch,
    /// After this nothing of it is on its way any more; a machine that was set up anew counts its processes from one.
    until: Moment,
}

/// What a voter says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reply: Message,
    /// The promise or the grant changed: store it before the reply leaves.
    pub(crate) changed: bool,
}

impl Ballot {
    /// A ballot as it was stored. A stored grant counts as given now: its holder may have renewed it right
    /// before this voter stopped.
    pub(crate) fn new(setup: &Setup, stored: &StoredState, now: Moment) -> Ballot {
        let lease = setup.timers.lease;
        Ballot {
            promised: stored.promised,
            grant: stored.grant,
            until: if stored.grant.is_some() && Rule::FreshAfterRestart.holds() {
                now + lease
            } else {
                Moment::ZERO
            },
            lease,
            electorate: setup.nodes.iter().filter(|info| info.votes).map(|info| info.node).collect(),
            members: stored.members.clone().unwrap_or_default(),
            over: BTreeMap::new(),
        }
    }

    /// Who votes, as far as this voter knows.
    pub(crate) fn members(&self) -> &SharedMembers {
        &self.members
    }

    /// Takes a newer record; whoever comes with an older one is refused from here on.
    pub(crate) fn adopt(&mut self, members: SharedMembers) {
        assert!(members.stamp > self.members.stamp, "a voter never goes back to older voters");
        self.members = members;
    }

    pub(crate) fn promised(&self) -> Epoch {
        self.promised
    }

    pub(crate) fn grant(&self) -> Option<Grant> {
        self.grant
    }

    /// Who holds a grant that still runs.
    pub(crate) fn holder(&self, now: Moment) -> Option<NodeRank> {
        self.grant.filter(|_| now < self.until).map(|grant| grant.node)
    }

    /// When another than `node` may be granted.
    pub(crate) fn free_at(&self, node: NodeRank) -> Moment {
        match self.grant {
            Some(grant) if grant.node != node => self.until,
            Some(_) | None => Moment::ZERO,
        }
    }

    /// Answers a question of a node. Anything else, and any question of a stranger, has no answer.
    pub(crate) fn answer(&mut self, from: VoterId, message: &Message, now: Moment) -> Option<Answer> {
        let node = from.node().filter(|node| self.electorate.contains(node))?;
        match *message {
            Message::PreVote { epoch, round, ref members, asker } => {
                let incarnation = asker.unwrap_or(Incarnation(u64::MAX));
                let granted = is_of(epoch, node)
                    && epoch > self.promised
                    && !self.is_outdated(members.as_ref())
                    && !self.is_over(epoch, Grant { node, incarnation }, now)
                    && self.holder(now).is_none_or(|holder| holder == node);
                let reply = Message::PreVoteReply {
                    epoch,
                    round,
                    granted,
                    promised: self.promised,
                    holder: self.holder(now),
                    remaining_ms: self.remaining_ms(node, now),
                    members: self.members.told(),
                    asker,
                };
                Some(Answer { reply, changed: false })
            }
            Message::Campaign { epoch, round, incarnation, token, ref members } => {
                let asker = Grant { node, incarnation };
                let refusal = self.campaign_refusal(epoch, asker, token, now);
                Some(self.verdict(epoch, round, now, refusal, asker, members.as_ref()))
            }
            Message::Renew { epoch, round, incarnation, ref members } => {
                let asker = Grant { node, incarnation };
                let refusal = self.renewal_refusal(epoch, asker, now);
                Some(self.verdict(epoch, round, now, refusal, asker, members.as_ref()))
            }
            Message::Heartbeat(_)
            | Message::VoterStatus { .. }
            | Message::PreVoteReply { .. }
            | Message::Grant { .. }
            | Message::Refuse { .. }
            | Message::Transfer { .. }
            | Message::Resigned { .. }
            | Message::RequestSwitchover { .. }
            | Message::SwitchoverRefused { .. }
            | Message::Bye { .. }
            | Message::Leave { .. }
            | Message::RequestMembers { .. }
            | Message::MembersRefused { .. } => None,
        }
    }

    /// Frees the grant of a process that is known to be dead, or that said that it stopped in this epoch, and refuses what
    /// it asked until then and comes late. What such a process won later stays: it may have been resumed. The promise
    /// stays, too.
    pub(crate) fn resign(
        &mut self,
        node: NodeRank,
        epoch: Epoch,
        incarnation: Incarnation,
        now: Moment,
    ) -> bool {
        self.close(node, incarnation, epoch, now);
        let is_over = |grant: Grant| (grant.incarnation, self.promised) <= (incarnation, epoch);
        let is_of_dead = |grant| is_over(grant) || !Rule::WordOfThisProcess.holds();
        let frees = self.grant.is_some_and(|grant| grant.node == node && is_of_dead(grant));
        if frees {
            self.grant = None;
            self.until = Moment::ZERO;
        }
        frees
    }

    /// A process of this node is dead: whatever it asked for is over.
    pub(crate) fn bury(&mut self, node: NodeRank, process: Incarnation, now: Moment) {
        self.close(node, process, Epoch(u64::MAX), now);
    }

    /// This process of a node lives: those before it are dead.
    pub(crate) fn greet(&mut self, node: NodeRank, process: Incarnation, now: Moment) {
        let Some(last) = process.0.checked_sub(1).map(Incarnation) else { return };
        if self.over.get(&node).is_none_or(|over| over.process < last) {
            self.bury(node, last, now);
        }
    }

    fn close(&mut self, node: NodeRank, process: Incarnation, epoch: Epoch, now: Moment) {
        if !self.electorate.contains(&node) {
            return;
        }
        let until = now + self.lease * LATE_LEASES;
        let known = self.over.get(&node).filter(|over| now < over.until);
        if known.is_none_or(|over| (over.process, over.epoch) <= (process, epoch)) {
            self.over.insert(node, Over { process, epoch, until });
        }
    }

    fn is_over(&self, epoch: Epoch, asker: Grant, now: Moment) -> bool {
        let is_over =
            |over: &Over| now < over.until && (asker.incarnation, epoch) <= (over.process, over.epoch);
        self.over.get(&asker.node).is_some_and(is_over) && Rule::LivingAsker.holds()
    }

    /// Promises an epoch to its owner whatever was granted before: only for the own vote of a node that
    /// an operator or the policy of a pair without witness makes active without a majority.
    pub(crate) fn seize(&mut self, epoch: Epoch, asker: Grant, now: Moment) {
        assert!(epoch > self.promised, "a promise never goes back");
        self.promised = epoch;
        self.grant = Some(asker);
        self.until = now + self.lease;
    }

    fn campaign_refusal(
        &self,
        epoch: Epoch,
        asker: Grant,
        token: Option<TransferToken>,
        now: Moment,
    ) -> Option<RefusalCause> {
        if !is_of(epoch, asker.node) || self.is_over(epoch, asker, now) {
            return Some(RefusalCause::NotYours);
        }
        // The same question again, or late.
        if epoch == self.promised && self.grant == Some(asker) {
            return None;
        }
        // A token that was overtaken by a later epoch proves nothing: its bearer would act without the guard
        // time while writes of that epoch are on their way.
        let is_overtaken = token.is_some_and(|token| token.epoch < self.promised);
        if epoch <= self.promised || (is_overtaken && Rule::OvertakenToken.holds()) {
            return Some(RefusalCause::Promised);
        }
        match self.holder(now) {
            Some(holder)
                if holder != asker.node
                    && !self.is_released(holder, asker, token)
                    && Rule::OneGrant.holds() =>
            {
                Some(RefusalCause::Granted)
            }
            Some(_) | None => None,
        }
    }

    /// Whether the holder itself said that this candidate may follow.
    fn is_released(&self, holder: NodeRank, asker: Grant, token: Option<TransferToken>) -> bool {
        token.is_some_and(|token| {
            let is_of_the_grant = token.epoch == self.promised || !Rule::TokenOfTheGrant.holds();
            is_of_the_grant && token.from == holder && token.to == asker.node
        })
    }

    fn renewal_refusal(&self, epoch: Epoch, asker: Grant, now: Moment) -> Option<RefusalCause> {
        if !is_of(epoch, asker.node) || self.is_over(epoch, asker, now) {
            Some(RefusalCause::NotYours)
        } else if epoch < self.promised {
            Some(RefusalCause::Promised)
        } else if (epoch > self.promised || self.grant != Some(asker)) && Rule::RenewalOfTheHolder.holds() {
            Some(RefusalCause::Unknown)
        } else {
            None
        }
    }

    /// Whether the asker takes others for voters than they are by a newer record. One that knows of no record, as
    /// one of the version before, takes those of the configuration: right as long as nobody is absent.
    fn is_outdated(&self, members: Option<&SharedMembers>) -> bool {
        let is_older = match members {
            Some(members) => members.stamp < self.members.stamp,
            None => !self.members.absent.is_empty() || self.members.before.is_some(),
        };
        is_older && Rule::VotersOfToday.holds()
    }

    fn verdict(
        &mut self,
        epoch: Epoch,
        round: u64,
        now: Moment,
        refusal: Option<RefusalCause>,
        asker: Grant,
        members: Option<&SharedMembers>,
    ) -> Answer {
        let outdated = self.is_outdated(members).then_some(RefusalCause::NotYours);
        if let Some(cause) = refusal.or(outdated) {
            let remaining_ms = self.remaining_ms(asker.node, now);
            let members = self.members.told();
            let reply =
                Message::Refuse { epoch, round, promised: self.promised, cause, remaining_ms, members };
            return Answer { reply, changed: false };
        }
        assert!(epoch >= self.promised, "a promise never goes back");
        let newer = members.filter(|members| {
            members.stamp > self.members.stamp && members.stamp.epoch <= epoch && members.is_believable()
        });
        let changed = self.promised != epoch || self.grant != Some(asker) || newer.is_some();
        self.promised = epoch;
        self.grant = Some(asker);
        self.until = now + self.lease;
        if let Some(members) = newer {
            self.members = members.clone();
        }
        let members = self.members.told().map(|members| members.stamp);
        Answer { reply: Message::Grant { epoch, round, members }, changed }
    }

    fn remaining_ms(&self, node: NodeRank, now: Moment) -> u64 {
        // Rounded up, so that asking again after it is not too early.
        u64::try_from(self.free_at(node).since(now).as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// For how many leases a question of a process that is over is still looked out for.
const LATE_LEASES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EPOCH_COUNTER_MAX;
    use crate::members::Members;
    use crate::setup::tests::pair_with_witness;

    const A: NodeRank = NodeRank(0);
    const B: NodeRank = NodeRank(1);

    fn ballot(stored: &StoredState) -> Ballot {
        Ballot::new(&pair_with_witness(VoterId::Witness), stored, Moment::ZERO)
    }

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn campaign(
        ballot: &mut Ballot,
        node: NodeRank,
        counter: u64,
        token: Option<TransferToken>,
        ms: u64,
    ) -> Answer {
        let epoch = Epoch::new(counter, node);
        let message =
            Message::Campaign { epoch, round: 1, incarnation: Incarnation(1), token, members: None };
        ballot.answer(VoterId::Node(node), &message, at(ms)).unwrap()
    }

    fn renew(ballot: &mut Ballot, node: NodeRank, counter: u64, incarnation: u64, ms: u64) -> bool {
        let message = Message::Renew {
            epoch: Epoch::new(counter, node),
            round: 1,
            incarnation: Incarnation(incarnation),
            members: None,
        };
        matches!(ballot.answer(VoterId::Node(node), &message, at(ms)).unwrap().reply, Message::Grant { .. })
    }

    fn is_granted(answer: &Answer) -> bool {
        matches!(answer.reply, Message::Grant { .. })
    }

    #[test]
    fn a_running_grant_keeps_others_out_until_it_ends() {
        let mut ballot = ballot(&StoredState::default());
        assert!(campaign(&mut ballot, A, 1, None, 0).changed);
        assert!(!is_granted(&campaign(&mut ballot, B, 2, None, 1499)));
        assert!(renew(&mut ballot, A, 1, 1, 1499));
        assert!(!is_granted(&campaign(&mut ballot, B, 2, None, 2998)));
        assert!(is_granted(&campaign(&mut ballot, B, 2, None, 2999)));
        assert!(!renew(&mut ballot, A, 1, 1, 2999));
    }

    #[test]
    fn a_promise_never_goes_back() {
        let mut ballot = ballot(&StoredState::default());
        assert!(is_granted(&campaign(&mut ballot, B, 5, None, 0)));
        assert!(!is_granted(&campaign(&mut ballot, A, 5, None, 9000)));
        assert!(is_granted(&campaign(&mut ballot, A, 6, None, 9000)));
        assert_eq!(ballot.promised(), Epoch::new(6, A));
    }

    #[test]
    fn the_same_question_twice_has_the_same_answer() {
        let mut ballot = ballot(&StoredState::default());
        assert!(campaign(&mut ballot, A, 1, None, 0).changed);
        let again = campaign(&mut ballot, A, 1, None, 10);
        assert!(is_granted(&again) && !again.changed);
    }

    #[test]
    fn a_stored_grant_is_fresh_after_a_restart() {
        let stored = StoredState {
            promised: Epoch::new(3, A),
            grant: Some(Grant { node: A, incarnation: Incarnation(1) }),
            ..StoredState::default()
        };
        let mut ballot = ballot(&stored);
        assert!(!is_granted(&campaign(&mut ballot, B, 4, None, 1499)));
        assert!(renew(&mut ballot, A, 3, 1, 1000));
        assert!(is_granted(&campaign(&mut ballot, B, 4, None, 2500)));
    }

    #[test]
    fn only_the_right_token_opens_a_running_grant() {
        let token = |epoch, from, to| TransferToken {
            epoch,
            from,
            to,
            position: twinhub_model::Position::START,
            drained: true,
            cause: crate::MoveCause::Shutdown,
            counted: None,
        };
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 3, None, 0);
        for wrong in
            [token(Epoch::new(2, A), A, B), token(Epoch::new(3, A), A, A), token(Epoch::new(3, A), B, B)]
        {
            assert!(!is_granted(&campaign(&mut ballot, B, 4, Some(wrong), 1)));
        }
        assert!(is_granted(&campaign(&mut ballot, B, 4, Some(token(Epoch::new(3, A), A, B)), 1)));
        assert!(!renew(&mut ballot, A, 3, 1, 2));
    }

    #[test]
    fn a_token_that_was_overtaken_is_refused_also_when_the_grant_has_ended() {
        let token = TransferToken {
            epoch: Epoch::new(1, A),
            from: A,
            to: B,
            position: twinhub_model::Position::START,
            drained: true,
            cause: crate::MoveCause::Shutdown,
            counted: None,
        };
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 1, None, 0);
        campaign(&mut ballot, A, 2, None, 1);
        assert!(!is_granted(&campaign(&mut ballot, B, 3, Some(token), 9000)));
        assert!(is_granted(&campaign(&mut ballot, B, 3, None, 9000)), "without it, the guard time applies");
    }

    #[test]
    fn a_dead_process_frees_its_grant_but_not_that_of_its_successor() {
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 1, None, 0);
        let last = Epoch::new(1, A);
        assert!(
            !ballot.clone().resign(B, last, Incarnation(9), at(1))
                && !ballot.resign(A, last, Incarnation(0), at(1))
        );
        assert!(ballot.resign(A, last, Incarnation(1), at(1)));
        assert!(!renew(&mut ballot, A, 1, 1, 1), "a late renewal of the dead process does not count");
        assert!(is_granted(&campaign(&mut ballot, B, 2, None, 1)));
    }

    #[test]
    fn a_late_word_of_a_process_that_was_resumed_does_not_free_what_it_won_since() {
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 1, None, 0);
        let (stopped, process) = (Epoch::new(1, A), Incarnation(1));
        assert!(ballot.resign(A, stopped, process, at(1)));
        assert!(is_granted(&campaign(&mut ballot, A, 2, None, 1)));
        assert!(!ballot.resign(A, stopped, process, at(1)));
        assert!(!is_granted(&campaign(&mut ballot, B, 3, None, 2)));
        assert!(
            ballot.resign(A, stopped, Incarnation(2), at(1)),
            "the process is dead: another one was after it"
        );
    }

    /// Its question was on its way for longer than the word of its end.
    #[test]
    fn a_late_question_of_a_process_that_is_over_gets_no_vote() {
        type End = fn(&mut Ballot);
        let ends: [End; 4] = [
            |ballot| ballot.bury(A, Incarnation(1), at(0)),
            |ballot| ballot.greet(A, Incarnation(2), at(0)),
            |ballot| assert!(!ballot.resign(A, Epoch::new(1, A), Incarnation(1), at(0))),
            |ballot| {
                assert!(!ballot.resign(A, Epoch::new(9, A), Incarnation(1), at(0)));
                // An older word takes nothing back.
                assert!(!ballot.resign(A, Epoch::NONE, Incarnation(1), at(0)));
            },
        ];
        for end in ends {
            let mut ballot = ballot(&StoredState::default());
            end(&mut ballot);
            assert!(!is_granted(&campaign(&mut ballot, A, 1, None, 1)));
            assert!(is_granted(&campaign(&mut ballot, B, 2, None, 1)), "and so nobody waits for it");
        }
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 1, None, 0);
        ballot.greet(A, Incarnation(2), at(1));
        assert!(!renew(&mut ballot, A, 1, 1, 2), "a new process took its place");
    }

    #[test]
    fn who_was_resumed_and_who_was_set_up_anew_gets_votes_again() {
        let mut ballot = ballot(&StoredState::default());
        ballot.resign(A, Epoch::new(1, A), Incarnation(1), at(0));
        assert!(is_granted(&campaign(&mut ballot, A, 2, None, 1)), "it stopped in the epoch before");
        ballot.greet(A, Incarnation(8), at(1));
        assert!(!is_granted(&campaign(&mut ballot, A, 3, None, 2)));
        assert!(is_granted(&campaign(&mut ballot, A, 3, None, 6001)), "an empty disk counts from one");
        for stranger in 2..=255 {
            ballot.bury(NodeRank(stranger), Incarnation(1), at(0));
        }
        assert_eq!(ballot.over.len(), 1, "strangers cost no memory");
    }

    #[test]
    fn nobody_gets_an_epoch_of_another_or_beyond_counting() {
        let mut ballot = ballot(&StoredState::default());
        for epoch in [Epoch::new(1, A), Epoch(u64::MAX), Epoch::new(EPOCH_COUNTER_MAX + 1, B)] {
            let message = Message::Campaign {
                epoch,
                round: 1,
                incarnation: Incarnation(1),
                token: None,
                members: None,
            };
            assert!(!is_granted(&ballot.answer(VoterId::Node(B), &message, at(0)).unwrap()));
        }
        let stranger = VoterId::Node(NodeRank(7));
        let message =
            Message::PreVote { epoch: Epoch::new(1, NodeRank(7)), round: 1, members: None, asker: None };
        assert_eq!(ballot.answer(stranger, &message, at(0)), None);
        assert_eq!(ballot.answer(VoterId::Witness, &message, at(0)), None);
    }

    #[test]
    fn who_comes_with_older_voters_is_refused_and_shown_the_newer_ones() {
        let ask = |ballot: &mut Ballot, node, counter, members: Option<&SharedMembers>, ms| {
            let (epoch, members) = (Epoch::new(counter, node), members.cloned());
            let message =
                Message::Campaign { epoch, round: 1, incarnation: Incarnation(1), token: None, members };
            ballot.answer(VoterId::Node(node), &message, at(ms)).unwrap()
        };
        let absent = crate::members::Absence {
            voter: VoterId::Node(B),
            ground: crate::members::Ground::Stopped,
            hold: false,
            process: None,
        };
        let newer: SharedMembers = Members::default().changed(Epoch::new(1, A), vec![absent]).into();
        let mut ballot = ballot(&StoredState::default());
        let answer = ask(&mut ballot, A, 1, Some(&newer), 0);
        assert!(is_granted(&answer) && answer.changed, "a newer record is stored before the answer");
        assert_eq!(ballot.members(), &newer);
        let refused = ask(&mut ballot, B, 2, None, 9000);
        assert!(
            matches!(&refused.reply, Message::Refuse { members: Some(shown), .. } if *shown == newer),
            "{refused:?}"
        );
        let question = Message::PreVote { epoch: Epoch::new(2, B), round: 1, members: None, asker: None };
        let reply = ballot.answer(VoterId::Node(B), &question, at(9000)).unwrap().reply;
        assert!(
            matches!(&reply, Message::PreVoteReply { granted: false, members: Some(shown), .. } if *shown == newer)
        );
        assert!(is_granted(&ask(&mut ballot, B, 2, Some(&newer), 9000)));
    }

    #[test]
    fn a_refused_question_changes_no_voters_and_neither_does_a_record_from_the_future() {
        let mut ballot = ballot(&StoredState::default());
        campaign(&mut ballot, A, 1, None, 0);
        let newer: SharedMembers = Members::default().changed(Epoch::new(9, A), Vec::new()).into();
        let question = |node, counter| Message::Campaign {
            epoch: Epoch::new(counter, node),
            round: 1,
            incarnation: Incarnation(1),
            token: None,
            members: Some(newer.clone()),
        };
        assert!(!is_granted(&ballot.answer(VoterId::Node(B), &question(B, 10), at(1)).unwrap()));
        assert!(is_granted(&ballot.answer(VoterId::Node(A), &question(A, 2), at(1)).unwrap()));
        assert_eq!(ballot.members(), &SharedMembers::default());
    }
}
