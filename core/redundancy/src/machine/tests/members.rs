//! Taking voters out and in again.

use super::*;
use crate::members::{Ground, Members, MembersChange};
use crate::message::RefusalCause;

const WITNESS: VoterId = VoterId::Witness;

#[test]
fn a_drained_backup_and_then_the_witness_are_shrunk_and_the_main_goes_on_alone() {
    let mut bench = shrunk_to_one();
    let epoch = bench.machine.epoch();
    let voters: Vec<VoterId> = bench.machine.voters().collect();
    assert_eq!((voters.as_slice(), bench.machine.counts()), ([NODE_A].as_slice(), (1, 3)));
    bench.wait(60_000);
    assert_eq!((bench.machine.state(), bench.machine.epoch()), (NodeState::Active, epoch));
    assert!(!bench.machine.is_protected() && !bench.machine.is_unquorate());
    let shrunk: Vec<String> = bench
        .machine
        .members()
        .absent
        .iter()
        .map(|absence| format!("{} {}", absence.voter, absence.ground))
        .collect();
    assert_eq!(shrunk, ["node 1 drained", "the witness in service"]);
}

#[test]
fn a_change_counts_only_when_both_majorities_have_it_on_disk() {
    let mut bench = Bench::active();
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: false });
    assert!(bench.machine.members().before.is_some());
    let old = bench.asked_of(WITNESS);
    assert_eq!(old.unwrap().revision, 1, "the record goes out as soon as it is on the own disk");
    // A grant by a voter that has not stored it is a vote, and no consent.
    bench.grant_without_members(WITNESS);
    assert!(bench.machine.members().before.is_some());
    bench.grant_from(WITNESS);
    assert_eq!(bench.machine.members().before, None);
    assert!(bench.said("shrunk node 1, drained: 2 of 3 voters, revision 2"), "{:?}", bench.actions);
}

#[test]
fn nothing_is_told_before_the_own_disk_has_it() {
    let mut bench = Bench::active();
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.has_fast_disk = false;
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: false });
    bench.wait(600);
    assert_eq!(bench.asked_of(WITNESS), None);
}

#[test]
fn only_who_left_in_order_or_was_fenced_is_shrunk() {
    let shrink = |voter, fenced| MembersChange::Shrink { voter, fenced, hold: false };
    let mut bench = Bench::active();
    bench.order(shrink(NODE_B, false));
    assert_eq!(bench.refusal(), "node 1 is standby: `twinhub drain` it first, or stop it");
    bench.order(shrink(NODE_A, false));
    assert_eq!(bench.refusal(), "node 0 is active: `switchover` first");
    bench.order(shrink(VoterId::Node(NodeRank(7)), false));
    assert_eq!(bench.refusal(), "node 7 has no vote in group site");
    bench.order(shrink(NODE_B, true));
    assert!(
        bench.refusal().contains("what is alive is drained or stopped, not fenced"),
        "{}",
        bench.refusal()
    );
    bench.order(MembersChange::Grow { voter: NODE_B });
    assert_eq!(bench.refusal(), "node 1 votes already");
    for _ in 0..20 {
        bench.wait(100);
        bench.grant_from(WITNESS);
    }
    bench.order(shrink(NODE_B, false));
    assert!(bench.refusal().contains("--fenced says that its machine is off"), "{}", bench.refusal());
    bench.order(shrink(NODE_B, true));
    bench.grant_from(WITNESS);
    assert_eq!(bench.machine.members().absence(NODE_B).unwrap().ground, Ground::Fenced);
    assert_eq!(bench.machine.members().before, None);
}

#[test]
fn a_shrunk_node_learns_it_and_neither_asks_nor_takes_over() {
    let members = without(&[NODE_B]);
    let mut bench = Bench::standby();
    let mut heartbeat = bench.heartbeat(NodeState::Active, epoch_of(A, 1));
    heartbeat.members = Some(members.clone().into());
    bench.hear(NODE_A, Message::Heartbeat(heartbeat));
    assert_eq!(bench.machine.members(), &members);
    bench.wait(30_000);
    assert_eq!(
        bench.sent(|message| matches!(message, Message::PreVote { .. } | Message::Campaign { .. })),
        0
    );
    bench.input(Input::Operator(Order::Failover { force: false }));
    assert!(bench.refusal().contains("is shrunk"), "{}", bench.refusal());
}

#[test]
fn a_candidate_with_old_voters_learns_the_newer_ones_from_a_refusal() {
    let mut bench = Bench::standby();
    while bench.machine.election.epoch().is_none() {
        bench.wait(10);
    }
    let round = bench.machine.rounds_asked;
    let epoch = bench.machine.election.epoch().expect("the active node is silent");
    let reply = Message::PreVoteReply {
        epoch,
        round,
        granted: false,
        promised: epoch_of(A, 1),
        holder: None,
        remaining_ms: 0,
        members: Some(without(&[NODE_B]).into()),
        asker: None,
    };
    bench.hear(WITNESS, reply);
    assert!(bench.machine.members().is_absent(NODE_B));
    assert_eq!(bench.machine.election.epoch(), None, "it asks no more");
    assert!(bench.said("learned from the witness: 2 of 3 voters"), "{:?}", bench.actions);
    // Older news change nothing.
    let older = Message::Refuse {
        epoch,
        round,
        promised: Epoch::NONE,
        cause: RefusalCause::NotYours,
        remaining_ms: 0,
        members: Some(Members::default().into()),
    };
    bench.hear(WITNESS, older);
    assert!(bench.machine.members().is_absent(NODE_B));
}

#[test]
fn the_single_node_acts_again_by_itself_after_a_restart() {
    let stored = shrunk_to_one().stored();
    let mut bench = Bench::with(pair_with_witness(NODE_A), stored);
    bench.input(Input::Loaded);
    bench.wait(10_000);
    assert_eq!(bench.machine.state(), NodeState::Activating);
}

#[test]
fn both_come_back_together_one_after_the_other() {
    let mut bench = shrunk_to_one();
    bench.wait(5_000);
    // The backup alone would make the vote depend on it and win nothing.
    for _ in 0..30 {
        bench.company(NodeState::Standby, None);
    }
    assert_eq!(bench.machine.counts(), (1, 3));
    for _ in 0..40 {
        bench.company(NodeState::Standby, Some(2));
    }
    assert_eq!(bench.machine.counts(), (3, 3));
    assert_eq!(bench.machine.members().before, None);
    assert!(bench.machine.is_protected());
    assert!(bench.said("node 1 votes again: 2 of 3 voters"), "{:?}", bench.actions);
    assert!(bench.said("the witness votes again: 3 of 3 voters"));
}

#[test]
fn a_voter_that_leaves_in_order_is_shrunk_if_it_would_be_missed() {
    let leave = Message::Leave { incarnation: Incarnation(1) };
    let mut bench = Bench::active();
    bench.hear(WITNESS, leave.clone());
    assert_eq!(bench.machine.members(), &Members::default(), "the pair is the majority");
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: false });
    bench.grant_from(WITNESS);
    bench.hear(WITNESS, leave.clone());
    bench.hear(WITNESS, leave);
    bench.grant_from(WITNESS);
    assert_eq!(bench.machine.counts(), (1, 3));
    assert!(bench.said("shrunk the witness, stopped: 1 of 3 voters, revision 4"), "{:?}", bench.actions);
    bench.wait(10_000);
    assert_eq!(bench.machine.state(), NodeState::Active);
}

#[test]
fn a_node_whose_vote_may_be_missed_waits_to_be_let_go() {
    let stopped = |bench: &Bench| bench.actions.contains(&Action::Stopped);
    let leaves = |message: &Message| matches!(message, Message::Leave { .. });
    let tell = |bench: &mut Bench, members: Option<Members>| {
        let mut heartbeat = bench.heartbeat(NodeState::Active, epoch_of(A, 1));
        heartbeat.members = members.map(Into::into);
        bench.hear(NODE_A, Message::Heartbeat(heartbeat));
    };
    let mut bench = Bench::standby();
    bench.input(Input::Shutdown);
    assert!(stopped(&bench) && bench.sent(leaves) == 0, "nobody is shrunk: the vote is not missed");

    let mut bench = Bench::standby();
    tell(&mut bench, Some(without(&[WITNESS])));
    bench.input(Input::Shutdown);
    tell(&mut bench, None);
    assert!(!stopped(&bench) && bench.sent(leaves) > 0);
    let epoch = epoch_of(A, 1);
    let joint = without(&[WITNESS]).changed(epoch, without(&[NODE_B, WITNESS]).absent);
    tell(&mut bench, Some(joint.clone()));
    assert!(!stopped(&bench), "its own consent is needed until the change counts");
    tell(&mut bench, Some(joint.settled(epoch)));
    assert!(stopped(&bench));

    let mut bench = Bench::standby();
    tell(&mut bench, Some(without(&[WITNESS])));
    bench.input(Input::Shutdown);
    bench.wait(4_000);
    assert!(stopped(&bench), "nobody answers: it does not wait for ever");
}

#[test]
fn who_is_held_comes_back_by_an_order_only() {
    let mut bench = Bench::active();
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: true });
    bench.grant_from(WITNESS);
    for _ in 0..40 {
        bench.company(NodeState::Standby, Some(1));
    }
    assert_eq!(bench.machine.counts(), (2, 3));
    bench.order(MembersChange::Grow { voter: NODE_B });
    bench.company(NodeState::Standby, Some(1));
    assert_eq!(bench.machine.counts(), (3, 3));
}

#[test]
fn a_group_that_grew_is_protected_when_the_others_know_of_it() {
    let mut bench = Bench::active();
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: true });
    bench.grant_from(WITNESS);
    for _ in 0..10 {
        bench.company(NodeState::Standby, Some(1));
    }
    bench.order(MembersChange::Grow { voter: NODE_B });
    bench.grant_from(WITNESS);
    assert_eq!((bench.machine.counts(), bench.machine.members().before.clone()), ((3, 3), None));
    // Both others have a record by which nobody acts without this node.
    assert!(!bench.machine.is_record_known() && !bench.machine.is_protected());
    bench.grant_from(NODE_B);
    assert!(!bench.machine.is_record_known() && !bench.machine.is_protected());
    bench.grant_from(WITNESS);
    assert!(bench.machine.is_record_known() && bench.machine.is_protected());
}

#[test]
fn a_voter_that_comes_in_and_goes_silent_costs_no_lease() {
    let mut bench = shrunk_to_one();
    bench.wait(5_000);
    for _ in 0..14 {
        bench.company(NodeState::Standby, Some(2));
    }
    let epoch = bench.machine.epoch();
    while bench.machine.members().before.is_none() {
        bench.beat(B, NodeState::Standby, epoch);
        bench.hear(WITNESS, status(Some(2)));
        bench.grant_from(NODE_B);
        bench.grant_from(WITNESS);
        bench.wait(10);
    }
    bench.wait(20_000);
    assert_eq!((bench.machine.state(), bench.machine.epoch()), (NodeState::Active, epoch));
    assert_eq!(bench.machine.counts(), (1, 3));
    assert!(bench.said("stays as it was"), "{:?}", bench.actions);
}

#[test]
fn a_voter_that_is_too_slow_is_not_tried_all_the_time() {
    let mut bench = shrunk_to_one();
    bench.wait(5_000);
    for _ in 0..400 {
        bench.wait(100);
        bench.beat(B, NodeState::Standby, bench.machine.epoch());
        bench.hear(WITNESS, status(Some(2)));
        for voter in [NODE_B, WITNESS] {
            if bench.machine.members().before.is_none() {
                bench.grant_from(voter);
            } else {
                bench.grant_without_members(voter);
            }
        }
    }
    let kept =
        |action: &&Action| matches!(action, Action::Members { reason: Reason::MembersKept { .. }, .. });
    let times = bench.actions.iter().filter(kept).count();
    assert!((2..=4).contains(&times), "two voters in forty seconds: {times}");
    assert_eq!((bench.machine.state(), bench.machine.counts()), (NodeState::Active, (1, 3)));
}

#[test]
fn the_next_holder_finishes_what_the_one_before_began() {
    let joint = Members::default().changed(epoch_of(B, 1), without(&[WITNESS]).absent);
    let mut bench = Bench::with(
        pair_with_witness(NODE_A),
        StoredState { members: Some(joint.into()), ..StoredState::default() },
    );
    bench.input(Input::Loaded);
    bench.beat(B, NodeState::Joining, Epoch::NONE);
    while bench.machine.election.epoch().is_none() {
        bench.wait(100);
        bench.beat(B, NodeState::Joining, Epoch::NONE);
    }
    for voter in [WITNESS, NODE_B] {
        assert_eq!(
            bench.machine.state(),
            NodeState::Joining,
            "the witness is no majority of the voters to come"
        );
        let (epoch, round) = (bench.machine.election.epoch().unwrap(), bench.machine.rounds_asked);
        let (granted, promised, holder, remaining_ms) = (true, Epoch::NONE, None, 0);
        let reply = Message::PreVoteReply {
            epoch,
            round,
            granted,
            promised,
            holder,
            remaining_ms,
            members: None,
            asker: None,
        };
        bench.hear(voter, reply);
    }
    bench.grant_from(WITNESS);
    assert_eq!(bench.machine.state(), NodeState::Candidate);
    bench.grant_from(NODE_B);
    bench.input(Input::GatesOpen);
    assert_eq!(bench.machine.state(), NodeState::Active);
    for _ in 0..20 {
        bench.company(NodeState::Standby, Some(1));
    }
    assert_eq!((bench.machine.members().before.clone(), bench.machine.counts()), (None, (2, 3)));
}

/// Node A was shrunk by the holder before, in its maintenance, and learns it when it acts already.
fn active_and_shrunk() -> Bench {
    let mut bench = Bench::active();
    let mut record = without(&[NODE_A]);
    record.absent[0].hold = true;
    let mut heartbeat = bench.heartbeat(NodeState::Maintenance, bench.machine.epoch());
    heartbeat.members = Some(record.into());
    bench.hear(NODE_B, Message::Heartbeat(heartbeat));
    assert_eq!((bench.machine.state(), bench.machine.counts()), (NodeState::Active, (2, 3)));
    bench
}

#[test]
fn the_last_node_that_votes_is_not_shrunk() {
    let mut bench = active_and_shrunk();
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: false });
    assert!(bench.refusal().contains("no node would vote then"), "{}", bench.refusal());
    bench.hear(NODE_B, Message::Leave { incarnation: Incarnation(1) });
    assert_eq!(bench.machine.counts(), (2, 3));
}

#[test]
fn a_node_that_acts_votes_again_whatever_it_was_shrunk_for() {
    let mut bench = active_and_shrunk();
    for _ in 0..30 {
        bench.company(NodeState::Standby, Some(1));
    }
    assert_eq!((bench.machine.state(), bench.machine.counts()), (NodeState::Active, (3, 3)));
}

fn status(incarnation: Option<u64>) -> Message {
    Message::VoterStatus {
        promised: Epoch::NONE,
        holder: None,
        members: None,
        incarnation: incarnation.map(Incarnation),
    }
}

fn without(voters: &[VoterId]) -> Members {
    let absence = |voter: &VoterId| crate::members::Absence {
        voter: *voter,
        ground: Ground::Drained,
        hold: false,
        process: None,
    };
    let epoch = epoch_of(A, 1);
    Members::default().changed(epoch, voters.iter().map(absence).collect()).settled(epoch)
}

/// Node A, active, the only voter left.
fn shrunk_to_one() -> Bench {
    let mut bench = Bench::active();
    bench.hear(WITNESS, status(Some(1)));
    bench.beat(B, NodeState::Maintenance, bench.machine.epoch());
    bench.order(MembersChange::Shrink { voter: NODE_B, fenced: false, hold: false });
    bench.grant_from(WITNESS);
    bench.order(MembersChange::Shrink { voter: WITNESS, fenced: false, hold: false });
    bench.grant_from(WITNESS);
    assert_eq!((bench.machine.counts(), bench.machine.members().before.clone()), ((1, 3), None));
    bench
}

impl Bench {
    fn order(&mut self, change: MembersChange) {
        self.input(Input::Operator(Order::Members(change)));
    }

    fn said(&self, text: &str) -> bool {
        let says = |action: &Action| matches!(action, Action::Members { reason, .. } if reason.to_string().contains(text));
        self.actions.iter().any(says)
    }

    fn stored(&self) -> StoredState {
        let state = self.actions.iter().rev().find_map(|action| match action {
            Action::Persist { state, .. } => Some(state.clone()),
            _ => None,
        });
        state.unwrap()
    }

    /// With which record a voter was asked last.
    fn asked_of(&self, voter: VoterId) -> Option<crate::members::Stamp> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Send {
                to,
                message: Message::Renew { members, .. } | Message::Campaign { members, .. },
            } if *to == voter => members.as_ref().map(|members| members.stamp),
            _ => None,
        })
    }

    fn grant_without_members(&mut self, voter: VoterId) {
        let round = self.machine.rounds_asked;
        let epoch = self.machine.epoch();
        self.hear(voter, Message::Grant { epoch, round, members: None });
    }

    /// A tenth of a second in which the other node says how it is, and whoever is there grants.
    fn company(&mut self, state: NodeState, witness: Option<u64>) {
        self.wait(100);
        self.beat(B, state, self.machine.epoch());
        self.grant_from(NODE_B);
        if witness.is_some() {
            self.hear(WITNESS, status(witness));
            self.grant_from(WITNESS);
        }
    }
}
