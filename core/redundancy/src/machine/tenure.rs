//! Holding the role: rounds of renewals, the end of the lease, losing it.

use std::collections::VecDeque;

use twinhub_model::{Epoch, Moment};

use super::handover::Drain;
use super::{Evidence, Machine};
use crate::agenda::Timer;
use crate::members::Electorate;
use crate::message::{Message, MoveCause, RefusalCause, TransferToken};
use crate::output::Action;
use crate::policy::Policy;
use crate::reason::{Reason, millis};
use crate::rule::Rule;
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::voter_set::VoterSet;

/// A period of holding one epoch.
#[derive(Debug)]
pub(super) struct Tenure {
    pub(super) epoch: Epoch,
    pub(super) won: Moment,
    pub(super) lease_end: Moment,
    pub(super) rounds: Rounds,
    /// Who granted this epoch; the others are asked by a campaign, which they may not have seen.
    pub(super) granted: VoterSet,
    /// Shown to voters that have not granted yet.
    pub(super) token: Option<TransferToken>,
    /// Why it was handed over, if it was.
    pub(super) cause: Option<MoveCause>,
    /// The lease was last prolonged without a majority.
    pub(super) alone: bool,
    /// Another node may act at the same time.
    pub(super) unquorate: bool,
    /// An operator vouched for it.
    pub(super) forced: bool,
    pub(super) drain: Option<Drain>,
}

/// Questions that were sent, each with the moment from which its answers count.
#[derive(Debug, Default)]
pub(super) struct Rounds(VecDeque<Round>);

#[derive(Debug)]
struct Round {
    number: u64,
    sent: Moment,
    votes: VoterSet,
}

impl Rounds {
    pub(super) fn start(&mut self, number: u64, sent: Moment) {
        if self.0.len() == ROUNDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Round { number, sent, votes: VoterSet::default() });
    }

    /// Counts a vote; gives the moment the round was sent and its votes.
    pub(super) fn vote(&mut self, number: u64, voter: VoterId) -> Option<(Moment, &VoterSet)> {
        let round = self.0.iter_mut().find(|round| round.number == number)?;
        round.votes.insert(voter);
        Some((round.sent, &round.votes))
    }

    /// Everyone who voted in any round.
    pub(super) fn voters(&self) -> VoterSet {
        self.0.iter().fold(VoterSet::default(), |all, round| all.union(&round.votes))
    }

    /// The votes of the round that came nearest to a majority, and how many it needs.
    pub(super) fn tally(&self, electorate: &Electorate) -> (usize, usize) {
        let best = self.0.iter().map(|round| electorate.tally(&round.votes)).max_by_key(|(votes, _)| *votes);
        best.unwrap_or((0, electorate.needed()))
    }

    /// The votes of the newest round, and how many it needs.
    pub(super) fn tally_last(&self, electorate: &Electorate) -> (usize, usize) {
        self.0.back().map_or((0, electorate.needed()), |round| electorate.tally(&round.votes))
    }
}

impl Machine {
    /// Asks everyone to keep, or to give, the grant; the own vote answers at once.
    pub(super) fn renew(&mut self, now: Moment) {
        let Some(tenure) = &mut self.tenure else { return };
        self.rounds_asked += 1;
        let (epoch, round, token) = (tenure.epoch, self.rounds_asked, tenure.token);
        tenure.rounds.start(round, now);
        let granted = tenure.granted;
        self.agenda.set(Timer::Renew, now + self.setup.timers.renew);
        let incarnation = self.incarnation;
        // Who is absent is asked, too: it learns the record, and shows that it is back.
        let voters: VoterSet = self.setup.voters().collect();
        for voter in voters.iter() {
            let members =
                if voter == self.setup.me { self.ballot.members().told() } else { self.told_members() };
            let message = if granted.contains(voter) {
                Message::Renew { epoch, round, incarnation, members }
            } else {
                Message::Campaign { epoch, round, incarnation, token, members }
            };
            if voter != self.setup.me {
                self.send(voter, message);
            } else if let Some(answer) = self.ballot.answer(voter, &message, now) {
                self.on_vote(voter, &answer.reply, now);
            }
        }
    }

    pub(super) fn on_renew_timer(&mut self, now: Moment) {
        self.give_up_members(now);
        self.renew(now);
        if self.tenure.as_ref().is_some_and(|tenure| tenure.alone) {
            match self.may_hold_alone(now) {
                Ok(()) => self.hold_alone(now),
                Err(reason) => self.lose_role(reason, now),
            }
        }
    }

    /// An answer to a question of this node's epoch, as holder or as candidate.
    pub(super) fn on_vote(&mut self, from: VoterId, reply: &Message, now: Moment) {
        match *reply {
            Message::Grant { epoch, round, members } => {
                if self.tenure.as_ref().is_some_and(|tenure| tenure.epoch == epoch) {
                    self.on_granted(from, round, now);
                    if from != self.setup.me {
                        self.on_members_known(from, members, now);
                    }
                } else {
                    self.on_campaign_granted(from, epoch, round, now);
                }
            }
            Message::Refuse { epoch, promised, cause, remaining_ms, .. } => {
                self.note_epoch(from, promised, now);
                if let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.epoch == epoch) {
                    match cause {
                        RefusalCause::Unknown => {
                            tenure.granted.remove(from);
                        }
                        // The voter promised an epoch in between: it grants this one without the token.
                        RefusalCause::Promised => tenure.token = None,
                        RefusalCause::Granted | RefusalCause::NotYours => {}
                    }
                }
                self.on_campaign_refused(from, epoch, remaining_ms, now);
            }
            Message::Heartbeat(_)
            | Message::VoterStatus { .. }
            | Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::Campaign { .. }
            | Message::Renew { .. }
            | Message::Transfer { .. }
            | Message::Resigned { .. }
            | Message::RequestSwitchover { .. }
            | Message::SwitchoverRefused { .. }
            | Message::Bye { .. }
            | Message::Leave { .. }
            | Message::RequestMembers { .. }
            | Message::MembersRefused { .. } => {}
        }
    }

    fn on_granted(&mut self, from: VoterId, round: u64, now: Moment) {
        let hold = self.setup.timers.hold();
        let lead = self.lead();
        let Some(tenure) = &mut self.tenure else { return };
        tenure.granted.insert(from);
        let Some((sent, votes)) = tenure.rounds.vote(round, from) else { return };
        // The voters count from when they were asked, the holder from when it asked, which is earlier.
        let end = if Rule::CountFromQuestion.holds() { sent + hold } else { now + hold };
        let (has_majority, (votes, needed)) = (self.electorate.wins(votes), self.electorate.tally(votes));
        if !has_majority || end <= now || end < tenure.lease_end {
            return;
        }
        let was_unquorate = tenure.unquorate;
        tenure.lease_end = end;
        tenure.alone = false;
        tenure.unquorate = false;
        tenure.forced = false;
        let epoch = tenure.epoch;
        self.agenda.set(Timer::Lease, end.before(lead));
        self.outputs.push(Action::Lease { epoch, until: end });
        if was_unquorate {
            let reason = Reason::QuorumRegained { votes, needed };
            self.outputs.push(Action::Quorum { epoch, quorate: true, split_possible: false, reason });
            self.beat(now);
        }
    }

    /// The lease is about to end, or has ended.
    pub(super) fn on_lease_timer(&mut self, now: Moment) {
        let Some(tenure) = &self.tenure else { return };
        let (epoch, end) = (tenure.epoch, tenure.lease_end);
        let (votes, needed) = tenure.rounds.tally_last(&self.electorate);
        // The other node of a pair counts silence from after this lease was asked for: for a lease and `confirm`.
        let patience = self.setup.timers.lease.min(self.setup.timers.confirm);
        let refusal = match self.may_hold_alone(now) {
            Ok(()) if now <= end + patience => return self.hold_alone(now),
            // The process slept for so long that another node may have taken its silence for death.
            Ok(()) => Reason::LeaseLost { epoch, votes, needed, late_ms: millis(now, end) },
            Err(refusal) => refusal,
        };
        if now >= end {
            self.lose_role(refusal, now);
        } else {
            self.agenda.set(Timer::Lease, end);
        }
    }

    /// How much before its end a lease is looked at: a pair without a witness may have to prolong it alone,
    /// and outputs should not notice.
    pub(super) fn lead(&self) -> std::time::Duration {
        if self.is_pair() || self.tenure.as_ref().is_some_and(|tenure| tenure.forced) {
            self.setup.timers.heartbeat / 2
        } else {
            std::time::Duration::ZERO
        }
    }

    /// Whether this node may keep its role without a majority.
    pub(super) fn may_hold_alone(&self, now: Moment) -> Result<(), Reason> {
        let Some(tenure) = &self.tenure else { return Ok(()) };
        if tenure.forced {
            return Ok(());
        }
        if !self.is_pair() {
            let epoch = tenure.epoch;
            let (votes, needed) = tenure.rounds.tally_last(&self.electorate);
            let late_ms = millis(now, tenure.lease_end);
            return Err(Reason::LeaseLost { epoch, votes, needed, late_ms });
        }
        match self.setup.without_witness {
            // Nobody else can win without this node's own vote.
            Policy::Manual | Policy::Availability => Ok(()),
            Policy::Evidence => self.has_evidence(now),
        }
    }

    pub(super) fn on_evidence(&mut self, reference_ok: bool, field_ok_percent: u8, now: Moment) {
        let is_good = reference_ok && field_ok_percent >= FIELD_PERCENT_NEEDED;
        let age_max = self.setup.timers.evidence_age;
        let before = self.evidence.filter(|last| now < last.at + age_max).and_then(|last| last.good_since);
        let good_since = is_good.then(|| before.unwrap_or(now));
        self.evidence = Some(Evidence { reference_ok, field_ok_percent, at: now, good_since });
    }

    /// Whether what this node sees of the world speaks for it.
    pub(super) fn has_evidence(&self, now: Moment) -> Result<(), Reason> {
        let seen = self.evidence;
        let lost = |reference_ok, field_ok_percent, age_ms| Reason::EvidenceLost {
            reference_ok,
            field_ok_percent,
            needed_percent: FIELD_PERCENT_NEEDED,
            age_ms,
        };
        match seen {
            None => Err(lost(false, 0, millis(now, self.started))),
            Some(seen) if now < seen.at + self.setup.timers.evidence_age && seen.good_since.is_some() => {
                Ok(())
            }
            Some(seen) => Err(lost(seen.reference_ok, seen.field_ok_percent, millis(now, seen.at))),
        }
    }

    /// No lease that is prolonged alone outlives the evidence that it stands on, also in a process that sleeps: the other
    /// node counts on that.
    fn alone_until(&self) -> Moment {
        let is_forced = self.tenure.as_ref().is_some_and(|tenure| tenure.forced);
        if is_forced || self.setup.without_witness != Policy::Evidence {
            return Moment::NEVER;
        }
        self.evidence.map_or(Moment::NEVER, |seen| seen.at + self.setup.timers.evidence_age)
    }

    /// Prolongs the lease with the own vote only.
    pub(super) fn hold_alone(&mut self, now: Moment) {
        let end = (now + self.setup.timers.hold()).min(self.alone_until());
        let silent_ms = millis(now, self.last_heard_of_voters());
        let is_exclusive = self.is_pair()
            && self.setup.without_witness == Policy::Manual
            && self.tenure.as_ref().is_some_and(|tenure| !tenure.forced);
        let policy = self.setup.without_witness;
        let limit_ms = millis(Moment::ZERO + self.setup.timers.lease, Moment::ZERO);
        let Some(tenure) = &mut self.tenure else { return };
        // What a majority granted stays.
        let end = end.max(tenure.lease_end);
        tenure.lease_end = end;
        tenure.alone = true;
        let epoch = tenure.epoch;
        let is_new = !tenure.unquorate && !is_exclusive;
        tenure.unquorate |= !is_exclusive;
        let forced = tenure.forced;
        let (votes, needed) = tenure.rounds.tally_last(&self.electorate);
        let early = end.before(self.lead());
        // What cannot be prolonged is looked at when it ends, not again and again right before.
        self.agenda.set(Timer::Lease, if early > now { early } else { end });
        self.outputs.push(Action::Lease { epoch, until: end });
        if is_new {
            let reason = if forced {
                Reason::ForcedFailover { votes, needed }
            } else {
                Reason::Unquorate { policy, silent_ms, limit_ms }
            };
            self.outputs.push(Action::Quorum { epoch, quorate: false, split_possible: true, reason });
            self.beat(now);
        }
    }

    /// Stops acting at once: the lease ended, or another epoch began.
    pub(super) fn lose_role(&mut self, reason: Reason, now: Moment) {
        self.stop_acting(NodeState::Isolated, reason, now);
    }

    pub(super) fn stop_acting(&mut self, to: NodeState, reason: Reason, now: Moment) {
        let Some(tenure) = self.tenure.take() else { return };
        self.drop_members_change();
        self.may_have_diverged |= tenure.unquorate;
        self.gates_closed = false;
        self.followed = self.followed.max(tenure.epoch);
        for timer in [Timer::Lease, Timer::Renew, Timer::Drain] {
            self.agenda.clear(timer);
        }
        self.agenda.set(Timer::Watchdog, now + self.setup.timers.margin);
        self.outputs.push(Action::Lease { epoch: tenure.epoch, until: now });
        self.outputs.push(Action::CloseGates {
            epoch: tenure.epoch,
            reason: reason.clone(),
            abort_links: true,
        });
        self.enter(to, reason, now);
    }

    pub(super) fn on_gates_closed(&mut self, now: Moment) {
        if self.gates_closed {
            return;
        }
        self.gates_closed = true;
        self.agenda.clear(Timer::Watchdog);
        if self.tenure.as_ref().is_some_and(|tenure| tenure.drain.is_some()) {
            self.finish_drain(self.position, false, now);
        } else if self.state == NodeState::Faulted || self.stopping {
            self.depart(now);
        } else {
            self.follow(now);
        }
    }

    /// The driver did not say that the gates are closed: only ending the process makes sure.
    pub(super) fn on_watchdog(&mut self, now: Moment) {
        if self.gates_closed {
            return;
        }
        let reason = Reason::GatesNotClosed {
            limit_ms: millis(Moment::ZERO + self.setup.timers.margin, Moment::ZERO),
        };
        self.outputs.push(Action::Abort { reason: reason.clone() });
        self.tenure = None;
        self.enter(NodeState::Faulted, reason, now);
    }

    pub(super) fn on_gates_open(&mut self, now: Moment) {
        let Some(tenure) = &self.tenure else { return };
        if self.state != NodeState::Activating {
            return;
        }
        let reason = Reason::GatesOpened { epoch: tenure.epoch, took_ms: millis(now, tenure.won) };
        self.enter(NodeState::Active, reason, now);
    }

    pub(super) fn on_self_check_failed(&mut self, what: String, now: Moment) {
        if self.state == NodeState::Faulted {
            return;
        }
        let reason = Reason::SelfCheckFailed { what };
        self.abandon_election(now);
        if self.tenure.is_some() {
            self.stop_acting(NodeState::Faulted, reason, now);
        } else {
            self.enter(NodeState::Faulted, reason, now);
        }
    }

    /// Tells the voters that this process does not act any more.
    pub(super) fn resign(&mut self, now: Moment) {
        let (node, incarnation) = (self.me, self.incarnation);
        let promised = self.ballot.grant().filter(|grant| grant.node == node).map(|_| self.ballot.promised());
        let epoch = self.last_active.max(promised.unwrap_or(Epoch::NONE));
        self.ballot.resign(node, epoch, incarnation, now);
        self.send_others(Message::Resigned { node, epoch, incarnation });
        if self.stopping {
            self.send_others(Message::Bye { incarnation });
            self.outputs.push(Action::Stopped);
        }
    }

    /// When the last message of any voter came, or when this process started.
    pub(super) fn last_heard_of_voters(&self) -> Moment {
        let heard = self.setup.voters().filter_map(|id| self.peers.get(id)?.heard);
        heard.max().unwrap_or(self.started)
    }
}

/// More rounds than can be answered within a lease.
const ROUNDS_MAX: usize = 8;
/// The share of the field probes that must answer.
const FIELD_PERCENT_NEEDED: u8 = 50;
