//! Who votes: taking voters out for a service, and taking them in again.
//!
//! Only a holder with a majority changes the record, one voter at a time. Its change counts when a majority of
//! the voters before and one of those after have the record on disk; until then every renewal needs both.

use std::collections::BTreeMap;
use std::fmt;

use twinhub_model::{Epoch, Incarnation, Moment};

use super::Machine;
use crate::input::Order;
use crate::members::{Absence, Electorate, Ground, Members, MembersChange, SharedMembers, Stamp};
use crate::message::Message;
use crate::output::Action;
use crate::reason::{Reason, millis};
use crate::rule::Rule;
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::voter_set::VoterSet;

/// What a machine knows about the record beside the record itself, which is the ballot's.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The record as far as it is on disk: what may be told.
    spoken: SharedMembers,
    /// The state that holds the newest record.
    ticket: u64,
    /// Who has the record with this stamp on disk.
    known_to: BTreeMap<VoterId, Stamp>,
    /// A change of this holder that does not count yet.
    running: Option<Running>,
    /// Since when an absent voter is ready to vote again.
    ready_since: BTreeMap<VoterId, Moment>,
    /// Absent voters that could not be taken in, and until when that is not tried again.
    paused: BTreeMap<VoterId, Moment>,
    /// This process stops, and waits at most until then to be let go.
    leaves_at: Option<Moment>,
    /// Absent voters that were silent since they are absent.
    were_away: VoterSet,
}

#[derive(Debug, Clone)]
struct Running {
    change: MembersChange,
    /// Who was absent before.
    was: Vec<Absence>,
    is_ordered: bool,
    since: Moment,
}

/// Why an absent voter cannot vote again yet; looked at with each heartbeat, put into words only when told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unready {
    Silent { voter: VoterId, silent_ms: u64 },
    NoStandby { voter: VoterId, state: NodeState },
    OtherConfiguration { voter: VoterId },
    NotStored { voter: VoterId, revision: u64 },
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::Silent { voter, silent_ms } => write!(f, "{voter} is silent for {silent_ms} ms"),
            Unready::NoStandby { voter, state } => write!(f, "{voter} is {state}, not standby"),
            Unready::OtherConfiguration { voter } => write!(f, "{voter} has another configuration"),
            Unready::NotStored { voter, revision } => {
                write!(f, "{voter} has not stored revision {revision} yet")
            }
        }
    }
}

impl Membership {
    pub(super) fn new(stored: Option<&SharedMembers>) -> Membership {
        Membership { spoken: stored.cloned().unwrap_or_default(), ..Membership::default() }
    }
}

impl Machine {
    /// Who votes in this group, as far as this node knows.
    pub fn members(&self) -> &Members {
        self.ballot.members()
    }

    /// Everyone whose vote counts.
    pub fn voters(&self) -> impl Iterator<Item = VoterId> + '_ {
        self.electorate.voters().iter()
    }

    /// What is told of the voters.
    pub(super) fn told_members(&self) -> Option<SharedMembers> {
        self.membership.spoken.told()
    }

    /// Whether the own vote counts.
    pub(super) fn is_member(&self, voter: VoterId) -> bool {
        self.electorate.has(voter)
    }

    /// Whether two nodes vote and nobody can break a tie between them.
    pub(super) fn is_pair(&self) -> bool {
        let is_pair = self.setup.is_pair_without_witness() && self.electorate.everyone().len() == 2;
        is_pair || !Rule::NoSelfPromotion.holds()
    }

    /// Whether the voters that answer could carry on without this node: not those that told an older record, by which
    /// this node's vote may be needed.
    pub(super) fn could_go_on_without_me(&self, now: Moment) -> bool {
        let stamp = self.members().stamp;
        stamp == Stamp::default() || {
            let is_behind = |id| self.membership.known_to.get(&id).is_some_and(|known| *known != stamp);
            let others =
                self.answering(now).iter().filter(|id| *id != self.setup.me && !is_behind(*id)).collect();
            self.electorate.wins(&others)
        }
    }

    /// Whether those who would carry on without this holder have the present record on disk, or all that answer: only
    /// then is a change done, since who has an older one may need the vote of this node.
    pub fn is_record_known(&self) -> bool {
        let known = self.known();
        let mut others =
            self.answering(self.clock).iter().filter(|id| *id != self.setup.me && self.is_member(*id));
        self.quorate_epoch().is_none()
            || self.members().stamp == Stamp::default()
            || others.all(|id| known.contains(id))
            || self.electorate.wins(&known.iter().filter(|id| *id != self.setup.me).collect())
    }

    /// Takes a newer record from anybody, so that the next vote is asked for by it.
    pub(super) fn learn_members(&mut self, from: VoterId, told: &SharedMembers, now: Moment) {
        if told.stamp <= self.members().stamp || !told.is_believable() {
            return;
        }
        // Who wrote it won a later epoch.
        self.note_epoch(from, told.stamp.epoch, now);
        let was_member = self.is_member(self.setup.me);
        self.adopt_members(told.clone());
        let (voters, configured) = self.counts();
        let revision = told.stamp.revision;
        self.say_members(Reason::MembersLearned { revision, voters, configured, from });
        if self.election.epoch().is_some() {
            self.abandon_election(now);
        }
        if !was_member && self.is_member(self.setup.me) {
            self.ask_after = now;
        }
        self.go_on_leaving(now);
    }

    fn adopt_members(&mut self, members: SharedMembers) {
        self.ballot.adopt(members);
        self.electorate = Electorate::new(&self.setup, self.ballot.members());
        self.promise_ticket = self.persist();
        self.membership.ticket = self.promise_ticket;
        let absent: Vec<VoterId> = self.members().absent.iter().map(|absence| absence.voter).collect();
        self.membership.ready_since.retain(|voter, _| absent.contains(voter));
        self.membership.were_away =
            self.membership.were_away.iter().filter(|voter| absent.contains(voter)).collect();
        self.membership.paused.retain(|voter, _| absent.contains(voter));
    }

    /// The newest record may be on disk: from here on it is told, and the own disk counts.
    pub(super) fn on_members_stored(&mut self, now: Moment) {
        if self.membership.spoken == *self.ballot.members() || !self.outbox.is_durable(self.membership.ticket)
        {
            return;
        }
        self.membership.spoken = self.ballot.members().clone();
        self.membership.known_to.insert(self.setup.me, self.membership.spoken.stamp);
        if self.tenure.is_some() {
            self.renew(now);
        }
        self.beat(now);
        self.settle_members(now);
    }

    /// A new tenure: what others told a holder before does not count for it.
    pub(super) fn begin_counting_members(&mut self) {
        self.membership.running = None;
        self.membership.known_to = BTreeMap::from([(self.setup.me, self.membership.spoken.stamp)]);
    }

    /// A voter that grants this holder's epoch told which record it has on disk. Nobody else's word counts: who
    /// granted a later epoch before it had the record may have helped somebody to win without it.
    pub(super) fn on_members_known(&mut self, from: VoterId, stamp: Option<Stamp>, now: Moment) {
        let Some(stamp) = stamp else { return };
        if self.membership.known_to.insert(from, stamp) != Some(stamp) {
            self.settle_members(now);
        }
    }

    /// A change counts once enough voters have it on disk.
    fn settle_members(&mut self, now: Moment) {
        let Some(epoch) = self.quorate_epoch() else { return };
        let members = self.members();
        if members.before.is_none() || members.stamp.epoch != epoch || !self.electorate.wins(&self.known()) {
            return;
        }
        let settled = members.settled(epoch);
        self.adopt_members(settled.into());
        let (voters, configured) = self.counts();
        let revision = self.members().stamp.revision;
        let running = self.membership.running.take();
        let reason = match running.map(|running| (running.change.voter(), running.since)) {
            Some((voter, since)) => {
                let took_ms = millis(now, since);
                match self.members().absence(voter) {
                    Some(absence) => {
                        let ground = absence.ground;
                        Reason::Shrunk { voter, ground, revision, voters, configured, took_ms }
                    }
                    None => Reason::Grown { voter, revision, voters, configured, took_ms },
                }
            }
            // Begun by the holder before.
            None => Reason::MembersLearned { revision, voters, configured, from: self.setup.me },
        };
        self.say_members(reason);
        self.renew(now);
    }

    /// Who has the present record on disk.
    fn known(&self) -> VoterSet {
        let stamp = self.members().stamp;
        let known = self.membership.known_to.iter().filter(|(_, known)| **known == stamp);
        known.map(|(voter, _)| *voter).collect()
    }

    /// The epoch, if this node holds one with a majority behind it.
    fn quorate_epoch(&self) -> Option<Epoch> {
        self.tenure.as_ref().filter(|tenure| !tenure.alone && !tenure.unquorate).map(|tenure| tenure.epoch)
    }

    pub(super) fn order_members(&mut self, change: MembersChange, now: Moment) -> Result<(), String> {
        if self.tenure.is_some() {
            return self.change_members(change, true, now);
        }
        let Some(active) = self.active.filter(|active| self.is_fresh(*active, now)) else {
            return Err("no active node is reachable, and only an active node changes the voters".to_owned());
        };
        self.send(VoterId::Node(active), Message::RequestMembers { change });
        Ok(())
    }

    pub(super) fn on_members_request(&mut self, from: VoterId, change: MembersChange, now: Moment) {
        // Repeated on several paths; the first one counts.
        if self.tenure.is_none() || self.is_running(change) {
            return;
        }
        if let Err(why) = self.change_members(change, true, now) {
            self.send(from, Message::MembersRefused { change, why });
        }
    }

    fn is_running(&self, change: MembersChange) -> bool {
        self.membership.running.as_ref().is_some_and(|running| running.change == change)
    }

    fn change_members(&mut self, change: MembersChange, is_ordered: bool, now: Moment) -> Result<(), String> {
        let voter = change.voter();
        if self.state != NodeState::Active {
            return Err(format!("{} is {}, not yet active", self.setup.me, self.state));
        }
        if self.quorate_epoch().is_none() {
            return Err(format!("{} acts without a majority: voters change only with one", self.setup.me));
        }
        if !self.setup.voters().any(|known| known == voter) {
            return Err(format!("{voter} has no vote in group {}", self.setup.group));
        }
        if let Some(running) = &self.membership.running {
            return Err(format!("another change is under way: {}", running.change));
        }
        if self.members().before.is_some() {
            return Err("a change of the holder before is under way: order it again".to_owned());
        }
        let mut absent = self.members().absent.clone();
        match change {
            MembersChange::Shrink { hold, fenced, .. } => {
                if let Some(absence) = absent.iter_mut().find(|absence| absence.voter == voter) {
                    if absence.hold == hold {
                        return Err(format!("{voter} is shrunk already"));
                    }
                    absence.hold = hold;
                } else {
                    let (ground, process) = self.ground(voter, fenced, now)?;
                    absent.push(Absence { voter, ground, hold, process });
                }
            }
            MembersChange::Grow { .. } => {
                if !self.members().is_absent(voter) {
                    return Err(format!("{voter} votes already"));
                }
                self.unreadiness(voter, now).map_or(Ok(()), |unready| Err(unready.to_string()))?;
                absent.retain(|absence| absence.voter != voter);
            }
        }
        self.begin_change(change, absent, &self.answering(now), is_ordered, now)
    }

    /// A voter is about to stop, and waits a little for that: it is shrunk if its vote would be missed, and if
    /// those that stay are enough without it.
    pub(super) fn on_leave(&mut self, from: VoterId, process: Incarnation, now: Moment) {
        let mut staying = self.answering(now);
        staying.remove(from);
        let is_free = self.state == NodeState::Active
            && self.quorate_epoch().is_some()
            && self.membership.running.is_none()
            && self.members().before.is_none();
        if !is_free || !self.is_member(from) || self.electorate.wins(&staying) {
            return;
        }
        let mut absent = self.members().absent.clone();
        let ground = Ground::Stopped;
        absent.push(Absence { voter: from, ground, hold: false, process: Some(process) });
        let change = MembersChange::Shrink { voter: from, fenced: false, hold: false };
        if let Err(why) = self.begin_change(change, absent, &staying, false, now) {
            self.outputs.push(Action::Alarm { reason: Reason::MembersKept { voter: from, why } });
        }
    }

    /// This process stops, or stopped acting: it says so at once, or after it was let go if its vote may be missed.
    pub(super) fn depart(&mut self, now: Moment) {
        let members = self.members();
        let is_let_go = members.is_absent(self.setup.me) && members.before.is_none();
        let may_be_missed = !members.absent.is_empty() && !is_let_go;
        let has_holder = self.active.is_some_and(|active| self.is_fresh(active, now));
        let until = self.membership.leaves_at.unwrap_or(now + self.setup.timers.lease * 2);
        if self.stopping && may_be_missed && has_holder && now < until {
            self.membership.leaves_at = Some(until);
            self.send_others(Message::Leave { incarnation: self.incarnation });
        } else {
            self.membership.leaves_at = None;
            self.resign(now);
        }
    }

    /// What is asked again with each heartbeat, and looked at with each record.
    fn go_on_leaving(&mut self, now: Moment) {
        if self.membership.leaves_at.is_some() {
            self.depart(now);
        }
    }

    /// Writes the record of a change, if those who stay are a majority of the voters then.
    fn begin_change(
        &mut self,
        change: MembersChange,
        absent: Vec<Absence>,
        staying: &VoterSet,
        is_ordered: bool,
        now: Moment,
    ) -> Result<(), String> {
        let Some(epoch) = self.quorate_epoch() else { return Ok(()) };
        let next = self.members().changed(epoch, absent);
        let after = Electorate::new(&self.setup, &next.clone().settled_at_once());
        // A holder may itself be absent, by a change of the one before: with no other node left, nobody could campaign.
        if after.voters().iter().all(|voter| voter.node().is_none()) {
            return Err("no node would vote then, and only a node that votes can become active".to_owned());
        }
        if !after.wins(staying) {
            let (votes, needed) = after.tally(staying);
            return Err(format!("only {votes} of {needed} votes that are needed then answer"));
        }
        let was = self.members().absent.clone();
        self.membership.running =
            next.before.is_some().then_some(Running { change, was, is_ordered, since: now });
        self.adopt_members(next.into());
        Ok(())
    }

    /// On what ground `voter` may be shrunk, and which of its processes goes.
    fn ground(
        &self,
        voter: VoterId,
        fenced: bool,
        now: Moment,
    ) -> Result<(Ground, Option<Incarnation>), String> {
        if voter == self.setup.me {
            return Err(format!("{voter} is active: `switchover` first"));
        }
        let Some(view) = self.peers.get(voter) else { return Err(format!("{voter} is not known")) };
        let heard = view.heard.unwrap_or(self.started);
        let silent_ms = millis(now, heard);
        // By then a lease that it may have held has ended on every clock.
        let limit = self.setup.timers.lease + self.setup.timers.margin;
        if fenced {
            return if now < heard + limit {
                Err(format!(
                    "{voter} was heard {silent_ms} ms ago, limit {} ms: what is alive is drained or stopped, not fenced",
                    limit.as_millis()
                ))
            } else {
                Ok((Ground::Fenced, view.process))
            };
        }
        let is_fresh = now < heard + self.setup.timers.lease;
        match (voter, &view.heartbeat) {
            (VoterId::Node(_), Some(heartbeat)) if heartbeat.state == NodeState::Maintenance => {
                Ok((Ground::Drained, view.process))
            }
            (_, None) if view.dead.is_some_and(|dead| view.process.is_none_or(|process| process <= dead)) => {
                Ok((Ground::Stopped, view.dead))
            }
            (VoterId::Witness, _) if is_fresh => Ok((Ground::Serviced, view.process)),
            (VoterId::Node(_), Some(heartbeat)) if is_fresh => {
                Err(format!("{voter} is {}: `twinhub drain` it first, or stop it", heartbeat.state))
            }
            (VoterId::Node(_) | VoterId::Witness, _) => Err(format!(
                "{voter} is silent for {silent_ms} ms and did not leave in order: --fenced says that its machine is off"
            )),
        }
    }

    /// Why `voter` cannot vote again yet; `None` if it can.
    fn unreadiness(&self, voter: VoterId, now: Moment) -> Option<Unready> {
        if voter == self.setup.me {
            return None;
        }
        let view = self.peers.get(voter)?;
        let heard = view.heard.unwrap_or(self.started);
        if now >= heard + self.setup.timers.lease || (voter.node().is_some() && view.heartbeat.is_none()) {
            return Some(Unready::Silent { voter, silent_ms: millis(now, heard) });
        }
        if let Some(heartbeat) = &view.heartbeat {
            if heartbeat.state != NodeState::Standby {
                return Some(Unready::NoStandby { voter, state: heartbeat.state });
            }
            if heartbeat.config_hash != self.config_hash {
                return Some(Unready::OtherConfiguration { voter });
            }
        }
        let stamp = self.members().stamp;
        (self.membership.known_to.get(&voter) != Some(&stamp))
            .then_some(Unready::NotStored { voter, revision: stamp.revision })
    }

    /// What an absent voter waits for, in one sentence; only the holder knows.
    pub fn absence_waits_for(&self, absence: &Absence) -> Option<String> {
        self.quorate_epoch()?;
        let voter = absence.voter;
        if self.is_held(absence) {
            return Some(format!("held until an operator orders `grow` for {voter}"));
        }
        if let Some(why) = self.unreadiness(voter, self.clock) {
            return Some(why.to_string());
        }
        if let Some(until) = self.membership.paused.get(&voter).filter(|until| self.clock < **until) {
            let pause_ms = millis(*until, self.clock);
            return Some(format!("{voter} was too slow to store the change: tried again in {pause_ms} ms"));
        }
        if !self.is_back(absence) {
            return Some(format!("{voter} still runs: it is taken in when it has stopped and is back"));
        }
        let (voters, _) = self.counts();
        (voters % 2 == 1 && self.members().absent.len() > 1).then(|| {
            format!(
                "{voter} is ready and waits for one more: with {} voters the vote would depend on it, too",
                voters + 1
            )
        })
    }

    /// How many votes are needed.
    pub fn votes_needed(&self) -> usize {
        self.electorate.needed()
    }

    /// Whether an operator has to order that it votes again. Not for this holder: it acts, so its service is over.
    fn is_held(&self, absence: &Absence) -> bool {
        absence.hold && absence.voter != self.setup.me
    }

    /// Whether an absent voter is back from what it was shrunk for.
    fn is_back(&self, absence: &Absence) -> bool {
        if absence.voter.node().is_some() || self.membership.were_away.contains(absence.voter) {
            return true;
        }
        let process = self.peers.get(absence.voter).and_then(|view| view.process);
        process > absence.process && absence.process.is_some()
    }

    /// A holder looks whether an absent voter can vote again, and finishes or gives up what is under way.
    pub(super) fn tend_members(&mut self, now: Moment) {
        self.go_on_leaving(now);
        let Some(epoch) = self.quorate_epoch() else { return };
        if self.members().before.is_some() {
            if self.members().stamp.epoch != epoch {
                let renamed = self.members().renamed(epoch);
                self.adopt_members(renamed.into());
            }
            return;
        }
        if self.members().absent.is_empty() {
            return;
        }
        let absent = self.members().absent.clone();
        for absence in &absent {
            let voter = absence.voter;
            let heard = self.heard(voter).unwrap_or(self.started);
            if now >= heard + self.setup.timers.lease {
                self.membership.were_away.insert(voter);
            }
            let is_paused = self.membership.paused.get(&voter).is_some_and(|until| now < *until);
            let is_ready = self.is_back(absence) && self.unreadiness(voter, now).is_none();
            if !self.is_held(absence) && !is_paused && is_ready {
                self.membership.ready_since.entry(voter).or_insert(now);
            } else {
                self.membership.ready_since.remove(&voter);
            }
        }
        if self.state != NodeState::Active || self.stopping {
            return;
        }
        let settle = self.setup.timers.lease;
        let ready: Vec<VoterId> = self
            .membership
            .ready_since
            .iter()
            .filter(|(_, since)| now >= **since + settle)
            .map(|(id, _)| *id)
            .collect();
        // One more than an odd number of voters makes the vote depend on one more machine and gains nothing:
        // it is taken in with the next one, or if it is the last.
        let is_even = self.electorate.voters().len().is_multiple_of(2);
        if let Some(voter) = ready.first()
            && (is_even || ready.len() > 1 || absent.len() == 1)
            && let Err(why) = self.change_members(MembersChange::Grow { voter: *voter }, false, now)
        {
            self.outputs.push(Action::Alarm { reason: Reason::MembersKept { voter: *voter, why } });
        }
    }

    /// A change that takes too long is taken back, before it can cost the lease.
    pub(super) fn give_up_members(&mut self, now: Moment) {
        let Some(running) = &self.membership.running else { return };
        let timers = &self.setup.timers;
        let limit = match running.change {
            // Whoever comes in may be gone again, and until the change counts its vote is needed.
            MembersChange::Grow { .. } => timers.renew / 2,
            MembersChange::Shrink { .. } => timers.lease * 2,
        };
        let Some(epoch) = self.tenure.as_ref().map(|tenure| tenure.epoch) else { return };
        if now < running.since + limit {
            return;
        }
        let Some(running) = self.membership.running.take() else { return };
        let (votes, needed) = self.electorate.tally(&self.known());
        let voter = running.change.voter();
        // Everyone who votes by the record before, by the change or by this needs a majority of the voters before.
        let back = self.members().changed(epoch, running.was);
        self.adopt_members(back.settled_at_once().into());
        // Who was too slow is likely to be so again: not every lease has such a change in it.
        self.membership.paused.insert(voter, now + self.setup.timers.lease * PAUSE_LEASES);
        let why = format!(
            "{votes} of {needed} voters stored it in {} ms: one that did not may run an older version",
            millis(now, running.since)
        );
        if running.is_ordered {
            self.refuse(Order::Members(running.change), why.clone());
        }
        self.say_members(Reason::MembersKept { voter, why });
        self.renew(now);
    }

    /// The holder lost its role: what it began is finished by the next one.
    pub(super) fn drop_members_change(&mut self) {
        if let Some(running) = self.membership.running.take()
            && running.is_ordered
        {
            let why = "the role was lost before the change counted: look with `twinhub status`".to_owned();
            self.refuse(Order::Members(running.change), why);
        }
    }

    /// How many vote, and how many the configuration names.
    pub fn counts(&self) -> (usize, usize) {
        (self.electorate.voters().len(), self.setup.voters().count())
    }

    fn say_members(&mut self, reason: Reason) {
        self.outputs.push(Action::Members { members: self.members().clone(), reason });
    }

    /// The voters that answered within a lease, this node included.
    fn answering(&self, now: Moment) -> VoterSet {
        let lease = self.setup.timers.lease;
        let others = self.peers.keys().copied();
        let fresh = others.filter(|id| self.heard(*id).is_some_and(|heard| now < heard + lease));
        fresh.chain(std::iter::once(self.setup.me)).collect()
    }
}

/// How many leases a voter waits that could not be taken in.
const PAUSE_LEASES: u32 = 20;
