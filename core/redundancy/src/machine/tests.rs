//! One machine on a bench: the tests play the other node, the witness, the disk and the driver.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one action it is about")]

use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};

use super::*;
use crate::message::{PathId, TransferToken};
use crate::setup::tests::pair_with_witness;
use crate::stored::Hold;

mod health;
mod hostile;
mod lonely;
mod members;
mod roles;
mod service;

const A: NodeRank = NodeRank(0);
const B: NodeRank = NodeRank(1);
const NODE_A: VoterId = VoterId::Node(A);
const NODE_B: VoterId = VoterId::Node(B);
const PROCESS: Incarnation = Incarnation(1);

/// A machine, and everything it wanted so far.
struct Bench {
    machine: Machine,
    now: Moment,
    actions: Vec<Action>,
    /// Whether states are stored as soon as they are handed out.
    has_fast_disk: bool,
    beats: u64,
    /// What the other node proves of its health.
    proven: Option<u8>,
}

impl Bench {
    fn new(me: NodeRank) -> Bench {
        Bench::with(pair_with_witness(VoterId::Node(me)), StoredState::default())
    }

    fn with(setup: Setup, stored: StoredState) -> Bench {
        // The clock's zero is long ago, as on any machine.
        let now = Moment::from_millis(1_000_000);
        let machine = Machine::new(setup, stored, PROCESS, 7, now);
        Bench { machine, now, actions: Vec::new(), has_fast_disk: true, beats: 0, proven: Some(100) }
    }

    /// Node A, active, with a standby at its side.
    fn active() -> Bench {
        let mut bench = Bench::new(A);
        bench.input(Input::Loaded);
        bench.beat(B, NodeState::Joining, Epoch::NONE);
        bench.win();
        bench.input(Input::GatesOpen);
        assert_eq!(bench.machine.state(), NodeState::Active);
        bench.beat(B, NodeState::Standby, bench.machine.epoch());
        bench
    }

    /// Node B, standby of node A in epoch 1.
    fn standby() -> Bench {
        let mut bench = Bench::new(B);
        bench.input(Input::Loaded);
        bench.beat(A, NodeState::Active, epoch_of(A, 1));
        bench.input(Input::Synced { lag_records: 0, config_matches: true });
        assert_eq!(bench.machine.state(), NodeState::Standby);
        let renewal = Message::Campaign {
            epoch: epoch_of(A, 1),
            round: 1,
            incarnation: PROCESS,
            token: None,
            members: None,
        };
        bench.hear(NODE_A, renewal);
        bench
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(input, self.now);
        loop {
            match self.machine.poll_output(self.now) {
                Output::Timeout(_) => return,
                Output::Action(action) => {
                    if let Action::Persist { ticket, .. } = action
                        && self.has_fast_disk
                    {
                        self.machine.handle_input(Input::Persisted { ticket }, self.now);
                    }
                    self.note(action);
                }
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            match self.machine.poll_output(self.now) {
                Output::Timeout(at) if at <= end => {
                    self.now = at.max(self.now);
                    self.input(Input::Tick);
                }
                Output::Timeout(_) => break,
                Output::Action(action) => self.note(action),
            }
        }
        self.now = end;
    }

    /// What goes to everyone is noted for each, so that a test looks for one kind of action only.
    fn note(&mut self, action: Action) {
        if let Action::SendOthers { message } = action {
            let others = self.machine.peers().keys();
            self.actions.extend(others.map(|to| Action::Send { to: *to, message: message.clone() }));
        } else {
            self.actions.push(action);
        }
    }

    /// As `wait`, while the other node says how it is and the witness grants what is asked.
    fn wait_in_company(&mut self, ms: u64, node: NodeRank, state: NodeState) {
        for _ in 0..ms / 100 {
            self.wait(100);
            self.beat(node, state, self.machine.epoch());
            self.grant_from(VoterId::Witness);
            self.grant_from(VoterId::Node(node));
        }
    }

    /// The drain of the present epoch is done.
    fn drained(&mut self) {
        self.input(Input::Drained { epoch: self.machine.epoch(), position: Position::START });
    }

    fn hear(&mut self, from: VoterId, message: Message) {
        self.input(Input::Message { from, path: PathId(0), message });
    }

    fn beat(&mut self, node: NodeRank, state: NodeState, epoch: Epoch) {
        let heartbeat = self.heartbeat(state, epoch);
        self.hear(VoterId::Node(node), Message::Heartbeat(heartbeat));
    }

    fn heartbeat(&mut self, state: NodeState, epoch: Epoch) -> Heartbeat {
        self.beats += 1;
        Heartbeat {
            incarnation: PROCESS,
            sequence: self.beats,
            state,
            epoch,
            promised: epoch,
            position: Position::START,
            config_hash: 1,
            score: 100,
            proven: self.proven,
            protected: Some(state == NodeState::Active),
            active: (epoch != Epoch::NONE).then_some(epoch.rank()),
            unquorate: false,
            hold: Hold::default(),
            members: None,
        }
    }

    /// The witness says yes to whatever was asked of it last.
    fn grant_from(&mut self, voter: VoterId) {
        let asked =
            self.actions.iter().rev().find_map(|action| match action {
                Action::Send {
                    to,
                    message:
                        Message::Campaign { epoch, round, members, .. }
                        | Message::Renew { epoch, round, members, .. },
                } if *to == voter => Some(Message::Grant {
                    epoch: *epoch,
                    round: *round,
                    members: members.as_ref().map(|members| members.stamp),
                }),
                _ => None,
            });
        if let Some(grant) = asked {
            self.hear(voter, grant);
        }
    }

    /// Waits for a question; the witness agrees to it and to the campaign.
    fn win(&mut self) {
        let mut waited = 0;
        while self.machine.election.epoch().is_none() {
            self.wait(1);
            waited += 1;
            assert!(waited < 10_000, "no votes are asked for");
        }
        self.win_from_question();
    }

    /// The witness agrees to the question that is open.
    fn win_from_question(&mut self) {
        let (epoch, round) =
            (self.machine.election.epoch().expect("a question is open"), self.machine.rounds_asked);
        let reply = Message::PreVoteReply {
            epoch,
            round,
            granted: true,
            promised: Epoch::NONE,
            holder: None,
            remaining_ms: 0,
            members: None,
            asker: None,
        };
        self.hear(VoterId::Witness, reply);
        self.grant_from(VoterId::Witness);
        assert_eq!(self.machine.state(), NodeState::Activating);
    }

    /// What it wanted since the last call, without heartbeats.
    fn take(&mut self) -> Vec<Action> {
        let all = std::mem::take(&mut self.actions);
        let is_heartbeat =
            |action: &Action| matches!(action, Action::Send { message: Message::Heartbeat(_), .. });
        all.into_iter().filter(|action| !is_heartbeat(action)).collect()
    }

    /// The sentence with which the last order was refused.
    fn refusal(&self) -> &str {
        let refused = self.actions.iter().rev().find_map(|action| match action {
            Action::Refused { why, .. } => Some(why.as_str()),
            _ => None,
        });
        refused.unwrap_or("")
    }

    fn sent(&self, is_wanted: impl Fn(&Message) -> bool) -> usize {
        let wanted = |action: &&Action| matches!(action, Action::Send { message, .. } if is_wanted(message));
        self.actions.iter().filter(wanted).count()
    }

    fn token(&self) -> Option<TransferToken> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Send { message: Message::Transfer { token }, .. } => Some(*token),
            _ => None,
        })
    }
}

fn epoch_of(node: NodeRank, counter: u64) -> Epoch {
    Epoch::new(counter, node)
}
