//! One group on one node.
//!
//! ```text
//!  Starting --loaded--> Joining --active found--> Syncing --caught up--> Standby
//!                        | ^                       |  ^                   |  ^ |
//!      nobody is active, | |  active lost          |  |  fell behind      |  | | active silent,
//!      votes asked for   | +-----------------------+  +-------------------+  | | or it handed over
//!                        v                                                   | v
//!                    Candidate <---------------------------------------------+-+
//!                        |  \--- lost ---> where it came from
//!                        | majority
//!                        v
//!                    Activating --gates open--> Active --handover--> Draining --token--> Standby
//!                        |                        |                     |
//!                        +------------------------+---------------------+
//!                        | lease ended, or a higher epoch was seen
//!                        v
//!                     Isolated --active found--> Syncing, or Reconciling --merged--> Standby
//!                        \------- votes asked for ---> Candidate
//!
//!  any but the lease holders --operator--> Maintenance --operator--> Joining
//!  any --self-check failed--> Faulted --operator resumes--> Joining
//! ```
//!
//! A node asks whether it would get votes (`PreVote`) without leaving its state and without raising an
//! epoch, so a node that is cut off changes nothing, neither for the others nor in the log. It becomes a
//! candidate when enough voters said that they would.

use std::collections::{BTreeMap, VecDeque};

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};

use crate::agenda::{Agenda, Timer};
use crate::ballot::Ballot;
use crate::health::Health;
use crate::input::{Input, Order};
use crate::members::Electorate;
use crate::message::{Heartbeat, Message, PathId};
use crate::outbox::Outbox;
use crate::output::{Action, Output};
use crate::peer::{PeerView, Peers};
use crate::reason::Reason;
use crate::setup::{Setup, VoterId};
use crate::state::NodeState;
use crate::stored::{Pins, StoredState};

mod candidacy;
mod election;
mod follow;
mod handover;
mod membership;
mod orders;
mod tenure;

use election::Election;
use handover::{Handoff, Since};
use membership::Membership;
use tenure::Tenure;

/// One group on one node: decides whether the node acts. See the module documentation for the
/// states and the crate's for the contract.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that may hold in any state")]
pub struct Machine {
    setup: Setup,
    me: NodeRank,
    incarnation: Incarnation,
    electorate: Electorate,
    membership: Membership,
    /// The latest time seen; an input with an earlier one is taken as if it came then.
    clock: Moment,
    started: Moment,

    state: NodeState,
    state_since: Moment,
    reason: Reason,

    ballot: Ballot,
    outbox: Outbox,
    promise_ticket: u64,
    pins: Pins,
    last_active: Epoch,
    clean_shutdown: bool,

    agenda: Agenda,
    outputs: Vec<Action>,
    /// How many of them were taken.
    outputs_taken: usize,
    sends_queued: usize,
    sends_dropped: u64,
    random: u64,
    heartbeats_sent: u64,
    rounds_asked: u64,

    peers: Peers,
    /// The node that is taken for active, and its epoch; the epoch stays when the node is gone.
    active: Option<NodeRank>,
    followed: Epoch,
    /// When `active` last changed.
    active_changed: Moment,
    /// Since when, while this node looks for an active one, every voting node is there and none is active.
    complete_since: Option<Moment>,
    /// The greatest epoch seen anywhere.
    highest: Epoch,
    position: Position,
    config_hash: u64,
    health: Health,
    evidence: Option<Evidence>,

    election: Election,
    /// No votes are asked for before this.
    ask_after: Moment,
    /// The node's own timer was late, so silence of others proves nothing before this.
    accuse_after: Moment,
    /// Why votes are asked for without waiting for silence.
    urgent: Option<Urgent>,

    tenure: Option<Tenure>,
    gates_closed: bool,
    /// Peers that were silent for a lease or longer and are heard again, with the time in milliseconds.
    returned: BTreeMap<VoterId, u64>,
    /// Records of the last tenure may be missing on, or conflict with, the active node.
    may_have_diverged: bool,
    handoff: Option<Handoff>,
    /// When the role moved although no operator ordered it, as far as this node knows.
    moves: VecDeque<Moment>,
    flap_alarmed: bool,
    /// The last epoch that was given away for better health and counted as a move.
    counted: Epoch,
    preferred: Option<Since>,
    better: Option<Since>,
    stopping: bool,
}

/// What the node sees of the world beside its peers.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    reference_ok: bool,
    field_ok_percent: u8,
    at: Moment,
    /// Since when, without a gap, it speaks for this node.
    good_since: Option<Moment>,
}

/// A cause to ask for votes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgent {
    /// Who was active is not any more; `is_news` until somebody was asked for that.
    Resigned {
        node: NodeRank,
        epoch: Epoch,
        incarnation: Incarnation,
        is_news: bool,
    },
    Operator {
        force: bool,
    },
}

impl Machine {
    /// A machine as it was stored. `incarnation` is greater than any this node used before, and on disk.
    ///
    /// # Panics
    /// If `setup.me` is not a node of the group: [`Setup::check`] tells before.
    #[expect(clippy::needless_pass_by_value, reason = "the machine takes over what was stored")]
    pub fn new(
        setup: Setup,
        stored: StoredState,
        incarnation: Incarnation,
        seed: u64,
        now: Moment,
    ) -> Machine {
        let me = setup.me.node().expect("a machine runs on a node");
        assert!(setup.order_of(me).is_some(), "a machine runs on a node of its group");
        let others = setup.nodes.iter().map(|info| VoterId::Node(info.node)).filter(|id| *id != setup.me);
        let peers = Peers::new(others.chain(setup.witness.then_some(VoterId::Witness)));
        let mut machine = Machine {
            me,
            incarnation,
            electorate: Electorate::new(&setup, &stored.members.clone().unwrap_or_default()),
            membership: Membership::new(stored.members.as_ref()),
            clock: now,
            started: now,
            state: NodeState::Starting,
            state_since: now,
            reason: Reason::Booted { incarnation },
            ballot: Ballot::new(&setup, &stored, now),
            outbox: Outbox::default(),
            promise_ticket: 0,
            pins: stored.pins,
            last_active: stored.last_active,
            clean_shutdown: false,
            agenda: Agenda::new(),
            outputs: Vec::new(),
            outputs_taken: 0,
            sends_queued: 0,
            sends_dropped: 0,
            random: seed ^ u64::from(me.0) << 32 ^ incarnation.0,
            heartbeats_sent: 0,
            rounds_asked: 0,
            peers,
            active: None,
            followed: Epoch::NONE,
            active_changed: now,
            complete_since: None,
            highest: stored
                .promised
                .max(stored.last_active)
                .max(stored.members.as_ref().map_or(Epoch::NONE, |members| members.stamp.epoch)),
            position: stored.position,
            config_hash: setup.config_hash,
            health: Health::unseen(),
            evidence: None,
            election: Election::Idle,
            ask_after: Moment::ZERO,
            accuse_after: Moment::ZERO,
            urgent: None,
            tenure: None,
            gates_closed: true,
            returned: BTreeMap::new(),
            may_have_diverged: false,
            handoff: None,
            moves: std::iter::repeat_n(now, usize::from(stored.flap_moves.min(setup.timers.flap_moves)))
                .collect(),
            flap_alarmed: false,
            counted: Epoch::NONE,
            preferred: None,
            better: None,
            stopping: false,
            setup,
        };
        machine.agenda.set(Timer::Heartbeat, now);
        machine
    }

    /// Takes what happened. Drain [`Machine::poll_output`] after it.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        let now = self.begin_input(matches!(input, Input::Tick), now);
        self.on_input(input, now);
        self.end_input(now);
    }

    /// The same as [`Machine::handle_input`] with an [`Input::Message`], which stays the caller's.
    pub fn handle_message(&mut self, from: VoterId, path: PathId, message: &Message, now: Moment) {
        let now = self.begin_input(false, now);
        self.on_message(from, path, message, now);
        self.end_input(now);
    }

    /// What to do next; [`Output::Timeout`] when there is nothing more.
    pub fn poll_output(&mut self, now: Moment) -> Output {
        let Some(action) = self.outputs.get_mut(self.outputs_taken) else {
            self.outputs.clear();
            self.outputs_taken = 0;
            self.sends_queued = 0;
            return Output::Timeout(self.next_wake(now));
        };
        self.outputs_taken += 1;
        Output::Action(std::mem::replace(action, Action::Stopped))
    }

    /// All actions at once, in their order, in exchange for an empty `actions`, and when the next timer is due: what
    /// [`Machine::poll_output`] gives one by one.
    pub fn take_outputs(&mut self, actions: &mut Vec<Action>, now: Moment) -> Moment {
        if !self.outputs.is_empty() {
            actions.clear();
            std::mem::swap(&mut self.outputs, actions);
            actions.drain(..self.outputs_taken);
            self.outputs_taken = 0;
            self.sends_queued = 0;
        }
        self.next_wake(now)
    }

    /// The node's state.
    pub fn state(&self) -> NodeState {
        self.state
    }

    /// The epoch this node holds, or that of the active node it follows or followed last.
    pub fn epoch(&self) -> Epoch {
        self.tenure.as_ref().map_or(self.followed, |tenure| tenure.epoch)
    }

    /// Until when this node may act, if it holds a lease.
    pub fn lease_end(&self) -> Option<Moment> {
        self.tenure.as_ref().map(|tenure| tenure.lease_end)
    }

    /// Whether this node is active with a majority behind it, and another could take over at once.
    pub fn is_protected(&self) -> bool {
        self.state == NodeState::Active
            && self.tenure.as_ref().is_some_and(|tenure| !tenure.alone)
            && self.setup.nodes.iter().any(|info| self.ineligibility(info.node, self.clock).is_none())
            && self.could_go_on_without_me(self.clock)
    }

    /// Whether this node holds its epoch without a majority.
    pub fn is_unquorate(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.unquorate)
    }

    /// Whether two nodes may act at the same time, as far as this node can know.
    pub fn split_possible(&self) -> bool {
        let seen = |view: &PeerView| {
            view.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.unquorate)
                && view.heard.is_some_and(|heard| self.clock < heard + self.setup.timers.lease)
        };
        self.is_unquorate() || self.peers.values().any(seen)
    }

    /// Whether an operator paused automatic moves.
    pub fn is_paused(&self) -> bool {
        self.pins.hold.on
    }

    /// The node that is taken for active, this one included.
    pub fn active(&self) -> Option<NodeRank> {
        if self.tenure.is_some() { Some(self.me) } else { self.active }
    }

    /// Why the last change of state happened.
    pub fn last_reason(&self) -> &Reason {
        &self.reason
    }

    /// Since when the node is in its state.
    pub fn state_since(&self) -> Moment {
        self.state_since
    }

    /// What is known of the others.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What this machine knows about its group.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How many moves that no operator ordered count against the flap limit.
    pub fn flap_moves(&self) -> usize {
        self.moves.len()
    }

    /// How many messages were given up because nobody took them or the disk was slow.
    pub fn dropped_sends(&self) -> u64 {
        self.sends_dropped + self.outbox.dropped()
    }

    fn next_wake(&self, now: Moment) -> Moment {
        self.agenda.next().max(now.min(self.clock))
    }

    /// What comes before every input; gives the time that it counts for.
    fn begin_input(&mut self, is_tick: bool, now: Moment) -> Moment {
        let now = now.max(self.clock);
        self.note_lateness(is_tick, now);
        self.clock = now;
        // A lease that has ended is lost before anything else is looked at; a confirmation that the gates
        // are closed counts although the process was too late to see it in time.
        if self.agenda.is_due(Timer::Lease, now) {
            self.agenda.clear(Timer::Lease);
            self.on_timer(Timer::Lease, now);
        }
        now
    }

    /// What comes after every input.
    fn end_input(&mut self, now: Moment) {
        while let Some(timer) = self.agenda.take_due(now) {
            self.on_timer(timer, now);
        }
        self.plan(now);
        self.check();
    }

    fn on_input(&mut self, input: Input, now: Moment) {
        match input {
            Input::Tick => {}
            Input::Message { from, path, message } => self.on_message(from, path, &message, now),
            Input::PathUp { peer, path } => self.on_path(peer, path, true),
            Input::PathDown { peer, path } => self.on_path(peer, path, false),
            Input::Persisted { ticket } => self.on_persisted(ticket, now),
            Input::Loaded => self.on_loaded(now),
            Input::LogPosition { mine } => self.position = mine,
            Input::Config { hash } => self.config_hash = hash,
            Input::Synced { lag_records, config_matches } => self.on_synced(lag_records, config_matches, now),
            Input::Diverged { common } => self.on_diverged(common, now),
            Input::MergeDone { set_aside } => self.on_merge_done(set_aside, now),
            Input::GatesOpen => self.on_gates_open(now),
            Input::StepFailed { step } => self.on_step_failed(step, now),
            Input::GatesClosed => self.on_gates_closed(now),
            Input::Drained { epoch, position } => self.on_drained(epoch, position, now),
            Input::Health(health) => self.health = health,
            Input::Evidence { reference_ok, field_ok_percent } => {
                self.on_evidence(reference_ok, field_ok_percent, now);
            }
            Input::Operator(order) => self.on_order(order, now),
            Input::SelfCheckFailed { what } => self.on_self_check_failed(what, now),
            Input::Resigned { node, epoch, incarnation } => {
                self.on_resigned(node, epoch, incarnation, true, now);
                self.send_others(Message::Resigned { node, epoch, incarnation });
            }
            Input::Shutdown => self.on_shutdown(now),
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Moment) {
        match timer {
            Timer::Lease => self.on_lease_timer(now),
            Timer::Watchdog => self.on_watchdog(now),
            Timer::Drain => self.on_drain_timeout(now),
            Timer::Renew => self.on_renew_timer(now),
            Timer::Heartbeat => {
                self.beat(now);
                self.agenda.set(Timer::Heartbeat, now + self.setup.timers.heartbeat);
                self.look_for_a_better_node(now);
                self.tend_members(now);
            }
            Timer::Handoff => self.on_handoff_timer(now),
            Timer::Silence => self.on_active_silent(now),
            Timer::Vote => self.on_vote_timeout(now),
            Timer::Election => self.ask(now),
        }
    }

    /// Sets the timers that follow from the state as a whole.
    fn plan(&mut self, now: Moment) {
        // Only who looks for an active node asks for it, and counts from when it began to look at the earliest.
        let is_complete = self.state == NodeState::Joining && self.sees_everyone(now);
        self.complete_since = if is_complete { self.complete_since.or(Some(now)) } else { None };
        self.agenda.clear(Timer::Election);
        if let Some(earliest) = self.election_earliest(now) {
            // Whose turn it is among the candidates matters only if nothing else comes before.
            let at = if earliest > now.max(self.agenda.next()) {
                earliest
            } else {
                self.after_better_candidates(earliest, now).max(now)
            };
            self.agenda.set(Timer::Election, at);
        }
        match self.silence_due() {
            Some(at) => self.agenda.set(Timer::Silence, at.max(now + STEP)),
            None => self.agenda.clear(Timer::Silence),
        }
        // What is due at once is served at the next wake-up, so that one input does a bounded amount.
    }

    /// What must hold between two inputs; its violation could let two nodes act at once.
    fn check(&self) {
        assert_eq!(
            self.state.holds_lease(),
            self.tenure.is_some(),
            "a node in state {} holds a lease if and only if the state says so",
            self.state
        );
        if let Some(tenure) = &self.tenure {
            assert_eq!(tenure.epoch.rank(), self.me, "an epoch has one owner");
            assert!(self.ballot.promised() <= tenure.epoch, "a holder's own vote went to another");
        }
        if self.state == NodeState::Candidate {
            assert!(self.election.is_campaign(), "a candidate campaigns");
        }
    }

    /// A node whose own timer was late may not accuse others of silence: their messages may wait unread.
    fn note_lateness(&mut self, is_tick: bool, now: Moment) {
        if is_tick && self.agenda.next() + self.setup.timers.heartbeat < now {
            self.accuse_after = now + self.setup.timers.renew;
        }
    }

    fn on_persisted(&mut self, ticket: u64, now: Moment) {
        for (to, message) in self.outbox.release(ticket) {
            self.send(to, message);
        }
        self.on_members_stored(now);
        self.on_promise_stored(now);
    }

    fn on_loaded(&mut self, now: Moment) {
        if self.state != NodeState::Starting {
            return;
        }
        if self.pins.maintenance {
            self.enter(NodeState::Maintenance, Reason::MaintenanceOn { by_pin: true }, now);
        } else {
            self.enter(NodeState::Joining, Reason::Loaded, now);
            self.follow(now);
        }
    }

    /// Changes the state, says why, and tells everyone.
    fn enter(&mut self, to: NodeState, reason: Reason, now: Moment) {
        let from = self.state;
        if from == to {
            return;
        }
        self.state = to;
        self.state_since = now;
        self.reason = reason.clone();
        self.outputs.push(Action::State { from, to, reason });
        self.beat(now);
    }

    /// Tells everyone how this node is.
    fn beat(&mut self, _now: Moment) {
        self.heartbeats_sent += 1;
        let heartbeat = Heartbeat {
            incarnation: self.incarnation,
            sequence: self.heartbeats_sent,
            state: self.state,
            epoch: self.epoch(),
            promised: self.stored_promise(),
            position: self.position,
            config_hash: self.config_hash,
            score: self.health.score(),
            proven: Some(self.health.least()),
            protected: Some(self.is_protected()),
            active: self.active(),
            unquorate: self.is_unquorate(),
            hold: self.pins.hold,
            members: self.told_members(),
        };
        self.send_others(Message::Heartbeat(heartbeat));
    }

    /// A promise that is not on disk may be forgotten, so only its predecessors are told around.
    fn stored_promise(&self) -> Epoch {
        if self.outbox.is_durable(self.promise_ticket) { self.ballot.promised() } else { Epoch::NONE }
    }

    /// Stores everything that must survive; gives the ticket.
    fn persist(&mut self) -> u64 {
        let ticket = self.outbox.issue();
        let state = StoredState {
            promised: self.ballot.promised(),
            grant: self.ballot.grant(),
            last_active: self.last_active,
            pins: self.pins,
            clean_shutdown: self.clean_shutdown,
            position: self.position,
            config_hash: self.config_hash,
            flap_moves: u8::try_from(self.moves.len()).unwrap_or(u8::MAX),
            members: self.ballot.members().told(),
        };
        self.outputs.push(Action::Persist { ticket, state });
        ticket
    }

    fn send(&mut self, to: VoterId, message: Message) {
        if self.sends_queued == SENDS_MAX {
            self.sends_dropped += 1;
            return;
        }
        self.sends_queued += 1;
        self.outputs.push(Action::Send { to, message });
    }

    fn send_others(&mut self, message: Message) {
        let others = self.peers.len();
        if self.sends_queued + others > SENDS_MAX {
            self.sends_dropped += others as u64;
            return;
        }
        self.sends_queued += others;
        self.outputs.push(Action::SendOthers { message });
    }

    fn refuse(&mut self, order: Order, why: String) {
        self.outputs.push(Action::Refused { order, why });
    }

    /// A number below `bound`, from the seed (Steele, Lea, Flood, "Fast splittable pseudorandom number
    /// generators", 2014: `SplitMix64`).
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound.max(1)
    }
}

/// Messages that wait to be taken. A driver that keeps the contract takes them after each input.
pub(crate) const SENDS_MAX: usize = 1024;
/// The shortest time between two looks at the same thing.
const STEP: std::time::Duration = std::time::Duration::from_millis(1);

#[cfg(test)]
mod tests;
