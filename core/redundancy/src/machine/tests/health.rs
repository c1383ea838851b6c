//! Moves for better health: who counts them, how long the next one waits, what an operator's word ends.

use super::*;
use crate::health::{InterfaceSight, Sight};
use crate::message::{Counted, MoveCause};
use crate::policy::Failback;

fn score_token(from: NodeRank, counter: u64, to: NodeRank) -> Message {
    let (epoch, cause) = (epoch_of(from, counter), MoveCause::Score { mine: 60, theirs: 100 });
    let token =
        TransferToken { epoch, from, to, position: Position::START, drained: true, cause, counted: None };
    Message::Transfer { token }
}

fn told(token: &Message, version: u64, moves: u8) -> Message {
    let Message::Transfer { token } = token else { panic!("{token:?} is no token") };
    let counted = Some(Counted { since: Hold { version, on: false }, moves });
    Message::Transfer { token: TransferToken { counted, ..*token } }
}

fn proven(bench: &Bench) -> Option<u8> {
    bench.actions.iter().rev().find_map(|action| match action {
        Action::Send { message: Message::Heartbeat(heartbeat), .. } => heartbeat.proven,
        _ => None,
    })
}

#[test]
fn a_process_that_has_not_looked_at_its_field_side_proves_nothing() {
    let mut bench = Bench::standby();
    assert_eq!(proven(&bench), Some(0));
    bench.input(Input::Health(Health::of([])));
    bench.wait(300);
    assert_eq!(proven(&bench), Some(100), "it has looked, and there is nothing to find");
}

#[test]
fn the_way_back_after_a_move_for_health_is_held_back_as_long_as_the_next_one() {
    let mut setup = pair_with_witness(NODE_B);
    setup.failback = Failback::Auto { hold_off: Duration::from_secs(5) };
    let mut bench = Bench::with(setup, StoredState::default());
    bench.input(Input::Loaded);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.input(Input::Synced { lag_records: 0, config_matches: true });
    bench.hear(NODE_A, score_token(A, 1, B));
    bench.grant_from(VoterId::Witness);
    bench.input(Input::GatesOpen);
    bench.wait_in_company(59_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active);
    bench.wait_in_company(2_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Draining);
}

#[test]
fn everyone_who_hears_of_a_move_for_health_counts_it_once() {
    let c = VoterId::Node(NodeRank(2));
    let mut bench = Bench::with(crate::setup::tests::group(c, 3, false), StoredState::default());
    bench.input(Input::Loaded);
    for _ in 0..3 {
        bench.hear(NODE_A, score_token(A, 1, B));
    }
    assert_eq!(bench.machine.flap_moves(), 1, "the token is told again until it is used");
    bench.hear(NODE_A, score_token(B, 2, A));
    assert_eq!(bench.machine.flap_moves(), 1, "nobody gives away what another holds");
    bench.hear(NODE_B, score_token(B, 2, A));
    bench.hear(NODE_A, score_token(A, 3, B));
    assert_eq!(bench.machine.flap_moves(), 3);
    let limit = |action: &Action| matches!(action, Action::Alarm { reason: Reason::FlapLimit { .. } });
    assert_eq!(bench.actions.iter().filter(|action| limit(action)).count(), 1);
}

#[test]
fn what_was_counted_is_stored_at_once() {
    let stored = |bench: &Bench| {
        bench.actions.iter().rev().find_map(|action| match action {
            Action::Persist { state, .. } => Some(state.flap_moves),
            _ => None,
        })
    };
    let mut giver = Bench::active();
    let (interface, cause) = ("plc1".to_owned(), "no answer".to_owned());
    let seen = InterfaceSight { interface, required: true, sight: Sight::Failed, disputed: false, cause };
    giver.input(Input::Health(Health::of([seen])));
    giver.wait_in_company(11_000, B, NodeState::Standby);
    assert_eq!((giver.machine.state(), stored(&giver)), (NodeState::Draining, Some(1)));
    let mut third = Bench::with(
        crate::setup::tests::group(VoterId::Node(NodeRank(2)), 3, false),
        StoredState { flap_moves: 1, ..StoredState::default() },
    );
    third.input(Input::Loaded);
    third.hear(NODE_A, score_token(A, 1, B));
    assert_eq!(stored(&third), Some(2));
}

#[test]
fn resuming_on_any_node_ends_the_limit_on_all() {
    let mut bench = Bench::standby();
    for counter in [1, 2, 3] {
        bench.hear(NODE_A, score_token(A, counter, B));
    }
    assert_eq!(bench.machine.flap_moves(), 3);
    let mut other = Bench::new(A);
    other.input(Input::Operator(Order::Resume));
    let hold = other.actions.iter().find_map(|action| match action {
        Action::Send { message: Message::Heartbeat(heartbeat), .. } => Some(heartbeat.hold),
        _ => None,
    });
    let mut heartbeat = bench.heartbeat(NodeState::Active, epoch_of(A, 1));
    heartbeat.hold = hold.expect("what an operator ordered is told");
    bench.hear(NODE_A, Message::Heartbeat(heartbeat));
    assert_eq!(bench.machine.flap_moves(), 0);
}

#[test]
fn who_gets_the_role_counts_what_the_giver_counted() {
    let mut bench = Bench::standby();
    bench.hear(NODE_A, told(&score_token(A, 1, B), 0, 2));
    assert_eq!(bench.machine.flap_moves(), 2, "one of them was not heard of");
    let limit = |action: &Action| matches!(action, Action::Alarm { reason: Reason::FlapLimit { .. } });
    assert!(!bench.actions.iter().any(limit));
    let mut bench = Bench::standby();
    bench.hear(NODE_A, told(&score_token(A, 1, B), 0, 200));
    assert_eq!(bench.machine.flap_moves(), 3, "no more than the limit");
    assert_eq!(bench.actions.iter().filter(|action| limit(action)).count(), 1);
    bench.wait(601_000);
    bench.hear(NODE_A, score_token(A, 9, B));
    assert_eq!(bench.machine.flap_moves(), 1, "they end like those that were seen");
}

#[test]
fn a_resume_that_is_heard_with_the_token_ends_only_what_was_counted_before() {
    let mut bench = Bench::standby();
    for counter in [1, 2] {
        bench.hear(NODE_A, told(&score_token(A, counter, B), 0, 0));
    }
    assert_eq!(bench.machine.flap_moves(), 2);
    bench.hear(NODE_A, told(&score_token(A, 3, B), 7, 1));
    assert_eq!(bench.machine.flap_moves(), 1, "the giver counted this one since it was resumed");
    let mut heartbeat = bench.heartbeat(NodeState::Standby, epoch_of(A, 3));
    heartbeat.hold = Hold { version: 7, on: false };
    bench.hear(NODE_A, Message::Heartbeat(heartbeat));
    assert_eq!(bench.machine.flap_moves(), 1, "what is already known ends nothing");
    bench.hear(NODE_A, told(&score_token(A, 4, B), 6, 3));
    assert_eq!(
        bench.machine.flap_moves(),
        2,
        "a giver that was not resumed yet counts what no longer counts"
    );
}

#[test]
fn a_token_tells_what_its_giver_counted() {
    let stored = StoredState { flap_moves: 2, ..StoredState::default() };
    let mut bench = Bench::with(pair_with_witness(NODE_A), stored);
    bench.input(Input::Loaded);
    bench.beat(B, NodeState::Joining, Epoch::NONE);
    bench.win();
    bench.input(Input::GatesOpen);
    bench.beat(B, NodeState::Standby, bench.machine.epoch());
    bench.input(Input::Operator(Order::Switchover { to: Some(B) }));
    bench.drained();
    let counted = bench.token().and_then(|token| token.counted);
    assert_eq!(counted, Some(Counted { since: Hold::default(), moves: 2 }));
}

#[test]
fn a_failing_interface_moves_nothing_before_the_other_node_has_looked() {
    let mut bench = Bench::active();
    bench.proven = Some(0);
    let (interface, cause) = ("plc1".to_owned(), "no answer".to_owned());
    let seen = InterfaceSight { interface, required: true, sight: Sight::Failed, disputed: false, cause };
    bench.input(Input::Health(Health::of([seen])));
    bench.wait_in_company(30_000, B, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active);
}
