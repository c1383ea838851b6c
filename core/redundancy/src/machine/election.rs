//! Getting the role: pre-vote, campaign, win.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_model::{Epoch, Moment};

use super::tenure::{Rounds, Tenure};
use super::{Machine, Urgent};
use crate::agenda::Timer;
use crate::message::{Message, MoveCause, TransferToken};
use crate::output::Action;
use crate::reason::{Reason, millis};
use crate::rule::Rule;
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::stored::Grant;
use crate::voter_set::VoterSet;

/// How far an election of this node is.
#[derive(Debug)]
pub(super) enum Election {
    Idle,
    /// Voters were asked whether they would grant.
    Asking {
        epoch: Epoch,
        round: u64,
        yes: VoterSet,
        no: BTreeMap<VoterId, u64>,
        why: Reason,
        force: bool,
    },
    /// The own promise is on its way to the disk.
    Promising {
        ticket: u64,
        campaign: Campaign,
    },
    /// Voters were asked to grant.
    Campaigning {
        campaign: Campaign,
    },
}

/// What a candidate wants.
#[derive(Debug)]
pub(super) struct Campaign {
    epoch: Epoch,
    since: Moment,
    why: Reason,
    token: Option<TransferToken>,
    rounds: Rounds,
    refusals: BTreeMap<VoterId, u64>,
    origin: NodeState,
    /// The own vote is enough.
    alone: Option<Alone>,
}

/// On whose word a node becomes active without a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Policy,
    Operator,
}

impl Election {
    pub(super) fn is_campaign(&self) -> bool {
        match self {
            Election::Promising { .. } | Election::Campaigning { .. } => true,
            Election::Idle | Election::Asking { .. } => false,
        }
    }

    /// The epoch that is asked for.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Election::Idle => None,
            Election::Asking { epoch, .. } => Some(*epoch),
            Election::Promising { campaign, .. } | Election::Campaigning { campaign } => Some(campaign.epoch),
        }
    }

    fn campaign(&self) -> Option<&Campaign> {
        match self {
            Election::Promising { campaign, .. } | Election::Campaigning { campaign } => Some(campaign),
            Election::Idle | Election::Asking { .. } => None,
        }
    }
}

impl Machine {
    /// Asks the voters whether they would grant the role.
    pub(super) fn ask(&mut self, now: Moment) {
        // What came in at the same time may have changed what is due.
        if self.election_due(now).is_none_or(|due| due > now) {
            return;
        }
        let why = self.why(now);
        if self.is_sure_of_vacancy(now) {
            return self.campaign(None, None, why, now);
        }
        let epoch = self.highest.max(self.ballot.promised()).next_for(self.me);
        let force = matches!(self.urgent, Some(Urgent::Operator { force: true }));
        self.rounds_asked += 1;
        let round = self.rounds_asked;
        self.election =
            Election::Asking { epoch, round, yes: VoterSet::default(), no: BTreeMap::new(), why, force };
        self.agenda.set(Timer::Vote, now + self.setup.timers.renew);
        let asker = Some(self.incarnation);
        let message = Message::PreVote { epoch, round, members: self.told_members(), asker };
        self.ask_voters(&message);
        let members = self.ballot.members().told();
        let mine = Message::PreVote { epoch, round, members, asker };
        if let Some(answer) = self.ballot.answer(self.setup.me, &mine, now) {
            self.on_pre_vote_reply(self.setup.me, &answer.reply, now);
        }
    }

    /// Whether the first question is left out: nobody is disturbed by a campaign when who was active is proven not to be
    /// any more, and voters that were heard just now are a majority without it. Only once: what refuses a first time is
    /// asked before.
    fn is_sure_of_vacancy(&mut self, now: Moment) -> bool {
        let Some(Urgent::Resigned { node, is_news, .. }) = &mut self.urgent else { return false };
        let (gone, is_news) = (VoterId::Node(*node), std::mem::replace(is_news, false));
        let limit = self.silence_limit();
        let is_silent = |voter: VoterId| {
            let is_heard = self.heard(voter).is_some_and(|heard| now < heard + limit);
            voter == gone || (voter != self.setup.me && !is_heard)
        };
        is_news && !self.electorate.is_blocked(is_silent)
    }

    fn why(&self, now: Moment) -> Reason {
        match (self.urgent, self.active) {
            (Some(Urgent::Resigned { node, epoch, incarnation, .. }), _) => {
                Reason::Resigned { node, epoch, incarnation }
            }
            (Some(Urgent::Operator { .. }), _) => {
                Reason::OperatorFailover { silent_ms: millis(now, self.last_heard_of_voters()) }
            }
            (None, Some(peer)) => {
                let heard = self.heard(VoterId::Node(peer)).unwrap_or(self.started);
                let limit_ms = u64::try_from(self.silence_limit().as_millis()).unwrap_or(u64::MAX);
                Reason::PeerSilent { peer, silent_ms: millis(now, heard), limit_ms }
            }
            (None, None) if self.state == NodeState::Joining => Reason::FirstStart {
                waited_ms: millis(now, self.state_since),
                nodes_seen: self.nodes_seen(now),
                nodes: self.setup.nodes.len(),
            },
            (None, None) => {
                Reason::Rejoined { voters_seen: self.voters_seen(now), needed: self.electorate.needed() }
            }
        }
    }

    pub(super) fn on_pre_vote_reply(&mut self, from: VoterId, reply: &Message, now: Moment) {
        let Message::PreVoteReply { round: answered, granted, promised, remaining_ms, asker, .. } = *reply
        else {
            return;
        };
        self.note_epoch(from, promised, now);
        let dead = self.dead_voter();
        let Election::Asking { round, yes, no, why, .. } = &mut self.election else { return };
        // The process before this one may have asked with the same number.
        if answered != *round || asker.is_some_and(|asker| asker != self.incarnation) {
            return;
        }
        if granted {
            yes.insert(from);
            no.remove(&from);
        } else if !yes.contains(from) {
            no.insert(from, remaining_ms);
        }
        // A dead voter does not answer.
        let is_lost = |voter| no.contains_key(&voter) || (dead == Some(voter) && !yes.contains(voter));
        if self.electorate.wins(yes) {
            let why = why.clone();
            self.campaign(None, None, why, now);
        } else if self.electorate.is_blocked(is_lost) {
            self.give_up_asking(now);
        }
    }

    /// Not enough voters would grant: tries alone where that is allowed, or again later.
    fn give_up_asking(&mut self, now: Moment) {
        let Election::Asking { no, force, .. } = std::mem::replace(&mut self.election, Election::Idle) else {
            return;
        };
        self.agenda.clear(Timer::Vote);
        if force {
            self.urgent = None;
            // Who was shrunk has no vote that counts, also for itself.
            let (votes, needed) = self.electorate.tally(&VoterSet::from_iter([self.setup.me]));
            let why = Reason::ForcedFailover { votes, needed };
            return self.campaign(None, Some(Alone::Operator), why, now);
        }
        if let Some(why) = self.may_promote_itself(now) {
            return self.campaign(None, Some(Alone::Policy), why, now);
        }
        if let Some(Urgent::Operator { .. }) = self.urgent {
            self.urgent = None;
            let why = format!(
                "{} of {} votes: a majority is out of reach; `failover --force` acts without it",
                self.electorate.voters().iter().filter(|voter| !no.contains_key(voter)).count(),
                self.electorate.needed()
            );
            self.refuse(crate::input::Order::Failover { force: false }, why);
        }
        if self.dead_voter().is_some() {
            return self.ask_again_soon(now);
        }
        let longest = Duration::from_millis(no.values().copied().max().unwrap_or(0));
        let pause =
            if no.is_empty() { self.setup.timers.renew } else { longest.min(self.setup.timers.lease) };
        self.ask_again_after(pause, now);
    }

    /// Who does not answer any more, as its supervisor said.
    const fn dead_voter(&self) -> Option<VoterId> {
        match self.urgent {
            Some(Urgent::Resigned { node, .. }) => Some(VoterId::Node(node)),
            Some(Urgent::Operator { .. }) | None => None,
        }
    }

    /// The word of a death is on its way to every voter, and one that refuses has not heard it yet: it is asked again
    /// soon, not when its grant would end.
    fn ask_again_soon(&mut self, now: Moment) {
        self.ask_after =
            now + self.setup.timers.stagger / ASKS_PER_STAGGER + Duration::from_nanos(STEP_NANOS);
    }

    /// Waits, a little longer than told and differently on each node.
    fn ask_again_after(&mut self, pause: Duration, now: Moment) {
        let stagger = u64::try_from(self.setup.timers.stagger.as_nanos()).unwrap_or(u64::MAX);
        let extra = Duration::from_nanos(STEP_NANOS + self.random_below(stagger));
        self.ask_after = now + pause + extra;
        if let Some(at) = self.self_promotion_due() {
            // Silence counts to the millisecond, not to the next try.
            if at > now && at < self.ask_after {
                self.ask_after = at;
            }
        }
    }

    /// Promises itself a new epoch, stores that, and then asks the others.
    fn campaign(&mut self, token: Option<TransferToken>, alone: Option<Alone>, why: Reason, now: Moment) {
        let epoch = self.highest.max(self.ballot.promised()).next_for(self.me);
        let origin = self.state;
        let asker = Grant { node: self.me, incarnation: self.incarnation };
        if alone.is_some() {
            self.ballot.seize(epoch, asker, now);
        } else {
            let members = self.ballot.members().told();
            let question =
                Message::Campaign { epoch, round: 0, incarnation: self.incarnation, token, members };
            let answer = self.ballot.answer(self.setup.me, &question, now);
            if !answer.is_some_and(|answer| answer.changed) {
                self.election = Election::Idle;
                return self.ask_again_after(self.setup.timers.renew, now);
            }
        }
        self.highest = epoch;
        self.promise_ticket = self.persist();
        let campaign = Campaign {
            epoch,
            since: now,
            why: why.clone(),
            token,
            rounds: Rounds::default(),
            refusals: BTreeMap::new(),
            origin,
            alone,
        };
        self.election = Election::Promising { ticket: self.promise_ticket, campaign };
        // A disk may be slower than a lease is long: nothing counts yet, so it is waited for.
        self.agenda.set(Timer::Vote, now + self.setup.timers.start);
        self.enter(NodeState::Candidate, why, now);
    }

    /// The handed-over role is asked for without waiting for anybody's lease.
    pub(super) fn campaign_with_token(&mut self, token: TransferToken, now: Moment) {
        self.abandon_election(now);
        let me = self.me;
        let why = match token.cause {
            MoveCause::Operator { by } => Reason::OperatorSwitchover { by, to: me },
            MoveCause::Failback { stable_ms } => Reason::Failback { to: me, stable_ms },
            MoveCause::Score { mine, theirs } => {
                // What this node lacks; what the other one lacks is in its own reason.
                let lost = self.health.to_string();
                let why =
                    if lost.is_empty() { "nothing is lost here".to_owned() } else { format!("here {lost}") };
                Reason::BetterScore { to: me, mine, theirs, why }
            }
            MoveCause::StepFailed | MoveCause::Maintenance | MoveCause::Shutdown => {
                Reason::TransferReceived { from: token.from, epoch: token.epoch, drained: token.drained }
            }
        };
        self.campaign(Some(token), None, why, now);
    }

    /// The own promise is on disk: now it may be told.
    pub(super) fn on_promise_stored(&mut self, now: Moment) {
        let Election::Promising { ticket, .. } = self.election else { return };
        if !self.outbox.is_durable(ticket) {
            return;
        }
        let Election::Promising { campaign, .. } = std::mem::replace(&mut self.election, Election::Idle)
        else {
            return;
        };
        if self.ballot.promised() != campaign.epoch {
            return self.end_campaign(&campaign, now);
        }
        if let Some(alone) = campaign.alone {
            return self.win(campaign, now, Some(alone), now);
        }
        self.election = Election::Campaigning { campaign };
        self.canvass(now);
    }

    /// Asks everyone else who votes by the configuration.
    fn ask_voters(&mut self, question: &Message) {
        let voters: VoterSet = self.setup.voters().filter(|voter| *voter != self.setup.me).collect();
        for voter in voters.iter() {
            self.send(voter, question.clone());
        }
    }

    /// One round of a campaign; answers count from here.
    fn canvass(&mut self, now: Moment) {
        self.rounds_asked += 1;
        let round = self.rounds_asked;
        let Election::Campaigning { campaign } = &mut self.election else { return };
        campaign.rounds.start(round, now);
        campaign.refusals.clear();
        let (epoch, token, incarnation) = (campaign.epoch, campaign.token, self.incarnation);
        self.agenda.set(Timer::Vote, now + self.setup.timers.renew);
        let message = Message::Campaign { epoch, round, incarnation, token, members: self.told_members() };
        self.ask_voters(&message);
        let members = self.ballot.members().told();
        let mine = Message::Campaign { epoch, round, incarnation, token, members };
        if let Some(answer) = self.ballot.answer(self.setup.me, &mine, now) {
            self.on_vote(self.setup.me, &answer.reply, now);
        }
    }

    pub(super) fn on_campaign_granted(&mut self, from: VoterId, epoch: Epoch, round: u64, now: Moment) {
        let hold = self.setup.timers.hold();
        let Election::Campaigning { campaign } = &mut self.election else { return };
        if campaign.epoch != epoch {
            return;
        }
        let Some((asked, votes)) = campaign.rounds.vote(round, from) else { return };
        let sent = if Rule::CountFromQuestion.holds() { asked } else { now };
        if !self.electorate.wins(votes) || sent + hold <= now {
            return;
        }
        let Election::Campaigning { campaign } = std::mem::replace(&mut self.election, Election::Idle) else {
            return;
        };
        self.win(campaign, sent, None, now);
    }

    pub(super) fn on_campaign_refused(
        &mut self,
        from: VoterId,
        epoch: Epoch,
        remaining_ms: u64,
        now: Moment,
    ) {
        let dead = self.dead_voter();
        let Election::Campaigning { campaign } = &mut self.election else { return };
        if campaign.epoch != epoch {
            return;
        }
        campaign.refusals.insert(from, remaining_ms);
        // A voter that heard of the token before its holder's last renewal was answered says no first.
        let refusals = &campaign.refusals;
        if self.electorate.is_blocked(|voter| refusals.contains_key(&voter) || dead == Some(voter)) {
            self.lose_campaign(now);
        }
    }

    pub(super) fn on_vote_timeout(&mut self, now: Moment) {
        match &self.election {
            Election::Idle => {}
            Election::Asking { .. } => self.give_up_asking(now),
            // The first answer of a voter with a slow disk is too late to count, the next one is not.
            Election::Campaigning { campaign } if now < campaign.since + self.setup.timers.start * 2 => {
                self.canvass(now);
            }
            Election::Promising { .. } | Election::Campaigning { .. } => self.lose_campaign(now),
        }
    }

    fn lose_campaign(&mut self, now: Moment) {
        let election = std::mem::replace(&mut self.election, Election::Idle);
        if let Some(campaign) = election.campaign() {
            self.end_campaign(campaign, now);
        }
    }

    fn end_campaign(&mut self, campaign: &Campaign, now: Moment) {
        self.agenda.clear(Timer::Vote);
        let (votes, needed) = campaign.rounds.tally(&self.electorate);
        let reason =
            Reason::VoteLost { epoch: campaign.epoch, votes, needed, waited_ms: millis(now, campaign.since) };
        self.enter(campaign.origin, reason, now);
        if self.dead_voter().is_some() {
            return self.ask_again_soon(now);
        }
        let longest = Duration::from_millis(campaign.refusals.values().copied().max().unwrap_or(0));
        self.ask_again_after(longest.min(self.setup.timers.lease).max(self.setup.timers.stagger), now);
    }

    /// Stops asking, without a result.
    pub(super) fn abandon_election(&mut self, now: Moment) {
        self.agenda.clear(Timer::Vote);
        let election = std::mem::replace(&mut self.election, Election::Idle);
        if let Some(campaign) = election.campaign() {
            self.end_campaign(campaign, now);
        }
    }

    /// Whether an operator moved the role here: with this token, or with an earlier one, and nobody else was active since.
    /// What cost this node the role in between, a restart above all, is no decision of an operator.
    fn is_chosen_by(&self, campaign: &Campaign) -> bool {
        match campaign.token {
            Some(token) => matches!(token.cause, MoveCause::Operator { .. }),
            None => self.pins.chosen == Some(self.last_active) && self.was_last_active(),
        }
    }

    /// The role is won: the lease counts from when the deciding round was sent.
    fn win(&mut self, campaign: Campaign, sent: Moment, alone: Option<Alone>, now: Moment) {
        assert!(self.gates_closed, "a node acts anew only after it stopped acting");
        let timers = self.setup.timers;
        let (epoch, lease_end) = (campaign.epoch, sent + timers.hold());
        let is_clean = campaign.token.is_some_and(|token| token.drained);
        let is_chosen = self.is_chosen_by(&campaign);
        self.agenda.clear(Timer::Vote);
        self.tenure = Some(Tenure {
            epoch,
            won: now,
            lease_end,
            granted: campaign.rounds.voters(),
            rounds: campaign.rounds,
            token: campaign.token,
            cause: campaign.token.map(|token| token.cause),
            alone: alone.is_some(),
            unquorate: alone.is_some(),
            forced: alone == Some(Alone::Operator),
            drain: None,
        });
        self.begin_counting_members();
        self.last_active = epoch;
        self.followed = epoch;
        self.active = None;
        self.urgent = None;
        self.handoff = None;
        self.may_have_diverged = false;
        self.preferred = None;
        self.better = None;
        self.pins.chosen = is_chosen.then_some(epoch);
        self.agenda.clear(Timer::Handoff);
        let is_first = matches!(campaign.why, Reason::FirstStart { .. });
        // What was handed over is counted by everyone who heard of it, this node included.
        if campaign.token.is_none() && !is_first {
            self.count_move(now);
        }
        self.persist();
        self.agenda.set(Timer::Lease, lease_end.before(self.lead()));
        self.outputs.push(Action::Lease { epoch, until: lease_end });
        self.outputs.push(Action::Activate {
            epoch,
            transfer: campaign.token.is_some(),
            guard_until: if is_clean || !Rule::Guard.holds() { now } else { now + timers.guard },
            unquorate: alone.is_some(),
            reason: campaign.why.clone(),
            continues_from: campaign.token.map(|token| token.position),
        });
        self.enter(NodeState::Activating, campaign.why, now);
        if alone.is_some() {
            self.renew(now);
        } else {
            self.agenda.set(Timer::Renew, sent + timers.renew);
        }
    }
}

/// Added to every wait, so that asking again is not too early.
const STEP_NANOS: u64 = 1_000_000;
/// How often per stagger time votes are asked for while a supervisor's word is on its way to the voters.
const ASKS_PER_STAGGER: u32 = 10;
