//! What operators, health and service do to the role.

use super::*;
use crate::health::{Health, InterfaceSight, Sight};

#[test]
fn orders_that_cannot_be_done_say_why() {
    let mut bench = Bench::active();
    bench.input(Input::Operator(Order::Switchover { to: Some(A) }));
    assert_eq!(bench.refusal(), "node 0 is already active");
    bench.input(Input::Operator(Order::Switchover { to: Some(NodeRank(5)) }));
    assert_eq!(bench.refusal(), "node 5 is not in group site");
    bench.beat(B, NodeState::Syncing, bench.machine.epoch());
    bench.input(Input::Operator(Order::Switchover { to: None }));
    assert_eq!(bench.refusal(), "node 1 is syncing, not standby");
    bench.input(Input::Operator(Order::Maintenance(true)));
    assert_eq!(bench.refusal(), "node 1 is syncing, not standby");
    bench.input(Input::Operator(Order::Maintenance(false)));
    assert_eq!(bench.refusal(), "node 0 is not in maintenance");
    bench.input(Input::Operator(Order::Failover { force: true }));
    assert_eq!(bench.refusal(), "node 0 is already active");

    let mut bench = Bench::standby();
    bench.input(Input::Operator(Order::Failover { force: true }));
    assert_eq!(bench.refusal(), "node 0 is alive and active: use `switchover`");
    bench.wait(1600);
    bench.input(Input::Operator(Order::Switchover { to: None }));
    assert_eq!(bench.refusal(), "no active node is reachable: `failover` makes this node active");
}

#[test]
fn a_failover_without_majority_is_refused_and_with_force_it_is_done_and_marked() {
    let mut bench = Bench::standby();
    bench.wait(1600);
    bench.input(Input::Operator(Order::Failover { force: false }));
    bench.wait(600);
    assert!(bench.refusal().contains("`failover --force` acts without it"), "{}", bench.refusal());
    assert_eq!(bench.machine.state(), NodeState::Standby);
    bench.input(Input::Operator(Order::Failover { force: true }));
    bench.wait(600);
    assert_eq!(bench.machine.state(), NodeState::Activating);
    assert!(bench.machine.is_unquorate() && bench.machine.split_possible());
    bench.input(Input::GatesOpen);
    bench.wait(10_000);
    assert_eq!(bench.machine.state(), NodeState::Active, "it keeps the role alone");
    bench.grant_from(VoterId::Witness);
    assert!(!bench.machine.is_unquorate(), "a majority makes it an ordinary epoch");
    let regained = |action: &Action| matches!(action, Action::Quorum { quorate: true, .. });
    assert!(bench.actions.iter().any(regained));
}

#[test]
fn a_failed_step_gives_the_role_away_once() {
    let mut bench = Bench::standby();
    let token = TransferToken {
        epoch: epoch_of(A, 1),
        from: A,
        to: B,
        position: Position::START,
        drained: true,
        cause: crate::message::MoveCause::StepFailed,
        counted: None,
    };
    bench.hear(NODE_A, Message::Transfer { token });
    bench.grant_from(VoterId::Witness);
    bench.beat(A, NodeState::Standby, bench.machine.epoch());
    bench.input(Input::StepFailed { step: "plc1: connection refused".to_owned() });
    assert_eq!(bench.machine.state(), NodeState::Activating, "the other one failed before");
    let alarm = |action: &Action| matches!(action, Action::Alarm { reason: Reason::StepFailed { .. } });
    assert!(bench.actions.iter().any(alarm));

    let mut bench = Bench::new(A);
    bench.input(Input::Loaded);
    bench.beat(B, NodeState::Joining, Epoch::NONE);
    bench.win();
    bench.beat(B, NodeState::Standby, bench.machine.epoch());
    bench.input(Input::StepFailed { step: "plc1: connection refused".to_owned() });
    assert_eq!(bench.machine.state(), NodeState::Draining);
    bench.drained();
    assert_eq!(bench.token().map(|token| token.cause), Some(crate::message::MoveCause::StepFailed));
}

#[test]
fn a_drain_that_hangs_is_cut_off_and_the_other_waits_the_guard_time() {
    let mut bench = Bench::active();
    bench.input(Input::Operator(Order::Switchover { to: None }));
    bench.take();
    bench.wait_in_company(2200, B, NodeState::Standby);
    let cut = |action: &Action| matches!(action, Action::CloseGates { abort_links: true, .. });
    assert!(bench.actions.iter().any(cut));
    assert_eq!(bench.token(), None, "no word is given before the gates are closed");
    bench.input(Input::GatesClosed);
    assert_eq!(bench.token().map(|token| token.drained), Some(false));
    assert_eq!(bench.machine.state(), NodeState::Standby);
}

#[test]
fn the_role_goes_back_after_the_hold_off_and_not_while_moves_are_held() {
    for is_paused in [false, true] {
        let mut bench = takeover_by_backup();
        if is_paused {
            bench.input(Input::Operator(Order::Pause));
        }
        bench.wait_in_company(59_000, A, NodeState::Standby);
        assert_eq!(bench.machine.state(), NodeState::Active);
        bench.wait_in_company(2_000, A, NodeState::Standby);
        let expected = if is_paused { NodeState::Active } else { NodeState::Draining };
        assert_eq!(bench.machine.state(), expected);
        bench.input(Input::Operator(Order::Resume));
        bench.wait_in_company(61_000, A, NodeState::Standby);
        assert_ne!(bench.machine.state(), NodeState::Active, "resumed");
    }
}

#[test]
fn a_preferred_node_that_comes_and_goes_starts_the_hold_off_anew() {
    let mut bench = takeover_by_backup();
    bench.wait_in_company(40_000, A, NodeState::Standby);
    bench.wait_in_company(1_000, A, NodeState::Syncing);
    bench.wait_in_company(40_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active);
}

#[test]
fn frequent_takeovers_stop_the_hand_back_until_an_operator_resumes() {
    let setup = pair_with_witness(NODE_B);
    let mut bench = Bench::with(setup, StoredState { flap_moves: 2, ..StoredState::default() });
    become_active_after_silence(&mut bench);
    let alarm =
        |action: &Action| matches!(action, Action::Alarm { reason: Reason::FlapLimit { moves: 3, .. } });
    assert!(bench.actions.iter().any(alarm));
    bench.wait_in_company(120_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active);
    bench.input(Input::Operator(Order::Resume));
    bench.wait_in_company(62_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Draining);
}

#[test]
fn a_paused_group_moves_nothing_and_every_node_knows() {
    let mut bench = Bench::standby();
    let mut heartbeat = bench.heartbeat(NodeState::Active, epoch_of(A, 1));
    heartbeat.hold = Hold { version: 3, on: true };
    bench.hear(NODE_A, Message::Heartbeat(heartbeat));
    assert!(bench.machine.is_paused());
    let stored = bench.actions.iter().rev().find_map(|action| match action {
        Action::Persist { state, .. } => Some(state.pins.hold),
        _ => None,
    });
    assert_eq!(stored, Some(Hold { version: 3, on: true }));
    bench.take();
    bench.wait(60_000);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 0);
}

#[test]
fn maintenance_survives_a_restart_and_hands_over_first() {
    let mut bench = Bench::active();
    bench.input(Input::Operator(Order::Maintenance(true)));
    assert_eq!(bench.machine.state(), NodeState::Draining);
    bench.drained();
    assert_eq!(bench.machine.state(), NodeState::Maintenance);
    let stored = bench.actions.iter().rev().find_map(|action| match action {
        Action::Persist { state, .. } => Some(state.clone()),
        _ => None,
    });
    let mut bench = Bench::with(pair_with_witness(NODE_A), stored.unwrap());
    bench.input(Input::Loaded);
    assert_eq!(bench.machine.state(), NodeState::Maintenance);
    bench.wait(60_000);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 0);
}

#[test]
fn a_process_that_stops_hands_over_and_waits_until_the_other_has_the_role() {
    let mut bench = Bench::active();
    bench.input(Input::Shutdown);
    bench.drained();
    let stopped = |bench: &Bench| bench.actions.contains(&Action::Stopped);
    assert!(bench.token().is_some() && !stopped(&bench));
    bench.beat(B, NodeState::Activating, epoch_of(B, 2));
    assert!(stopped(&bench));
}

#[test]
fn a_process_that_stops_alone_frees_its_grant() {
    let mut bench = Bench::active();
    bench.beat(B, NodeState::Syncing, bench.machine.epoch());
    bench.take();
    bench.input(Input::Shutdown);
    assert_eq!(bench.machine.state(), NodeState::Draining);
    bench.drained();
    assert_eq!(bench.sent(|message| matches!(message, Message::Resigned { node: A, .. })), 2);
    assert!(bench.actions.contains(&Action::Stopped));
}

#[test]
fn a_much_healthier_node_gets_the_role_after_a_time() {
    let mut bench = Bench::active();
    bench.input(Input::Health(failing("plc1", Sight::Failed)));
    bench.wait_in_company(9_000, B, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active);
    bench.wait_in_company(2_000, B, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Draining);
    assert_eq!(
        bench.machine.last_reason().to_string(),
        "node 1 is in better health: 100 against 60, plc1 -40 (no answer)"
    );
}

#[test]
fn who_gets_the_role_for_its_health_says_what_it_lacks_itself() {
    for (health, part) in [
        (Health::default(), "nothing is lost here"),
        (failing("plc2", Sight::Degraded), "here plc2 -20 (no answer)"),
    ] {
        let mut bench = Bench::standby();
        let cause = crate::message::MoveCause::Score { mine: 60, theirs: health.least() };
        let expected = format!("node 1 is in better health: {} against 60, {part}", health.least());
        bench.input(Input::Health(health));
        let (epoch, position) = (epoch_of(A, 1), Position::START);
        let token = TransferToken { epoch, from: A, to: B, position, drained: true, cause, counted: None };
        bench.hear(NODE_A, Message::Transfer { token });
        bench.grant_from(VoterId::Witness);
        assert_eq!(bench.machine.last_reason().to_string(), expected);
    }
}

#[test]
fn no_role_moves_to_a_node_that_has_not_proven_to_be_better() {
    for (mine, disputed, proven) in [
        // The other node's field side is not known, or it does not say.
        (Sight::Failed, false, Some(60)),
        (Sight::Failed, false, None),
        // A probe from here is answered, so the trouble is not on this side.
        (Sight::Failed, true, Some(100)),
        (Sight::Unknown, false, Some(100)),
        // The difference is not worth a move.
        (Sight::Failed, false, Some(79)),
    ] {
        let mut bench = Bench::active();
        bench.proven = proven;
        let (interface, cause) = ("plc1".to_owned(), "no answer".to_owned());
        let seen = InterfaceSight { interface, required: true, sight: mine, disputed, cause };
        bench.input(Input::Health(Health::of([seen])));
        bench.wait_in_company(120_000, B, NodeState::Standby);
        assert_eq!(bench.machine.state(), NodeState::Active, "{mine:?} against {proven:?}");
    }
}

#[test]
fn health_must_be_worse_all_the_time_before_the_role_moves() {
    let mut bench = Bench::active();
    for _ in 0..10 {
        bench.input(Input::Health(failing("plc1", Sight::Failed)));
        bench.wait_in_company(9_000, B, NodeState::Standby);
        bench.input(Input::Health(Health::default()));
        bench.wait_in_company(500, B, NodeState::Standby);
    }
    assert_eq!(bench.machine.state(), NodeState::Active);
}

#[test]
fn after_a_move_for_health_the_next_one_is_held_back_and_the_third_waits_for_an_operator() {
    let mut bench = Bench::standby();
    for round in 1..=2 {
        let epoch = epoch_of(A, round * 2 - 1);
        let cause = crate::message::MoveCause::Score { mine: 60, theirs: 100 };
        let token = TransferToken {
            epoch,
            from: A,
            to: B,
            position: Position::START,
            drained: true,
            cause,
            counted: None,
        };
        bench.input(Input::Health(Health::default()));
        bench.hear(NODE_A, Message::Transfer { token });
        bench.grant_from(VoterId::Witness);
        bench.input(Input::GatesOpen);
        assert_eq!(bench.machine.state(), NodeState::Active, "round {round}");
        assert_eq!(bench.machine.flap_moves(), usize::try_from(round * 2 - 1).unwrap());
        bench.input(Input::Health(failing("plc1", Sight::Failed)));
        bench.wait_in_company(59_000, A, NodeState::Standby);
        assert_eq!(bench.machine.state(), NodeState::Active, "held back in round {round}");
        bench.wait_in_company(1_500, A, NodeState::Standby);
        if round == 1 {
            assert_eq!(bench.machine.state(), NodeState::Draining);
            bench.drained();
            bench.beat(A, NodeState::Active, epoch_of(A, 3));
            bench.input(Input::Synced { lag_records: 0, config_matches: true });
            assert_eq!(bench.machine.state(), NodeState::Standby);
        }
    }
    bench.wait_in_company(300_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active, "three moves are enough");
    let limit = |action: &Action| matches!(action, Action::Alarm { reason: Reason::FlapLimit { .. } });
    assert!(bench.actions.iter().any(limit));
}

#[test]
fn a_node_that_gave_the_role_away_for_its_health_gets_it_back_when_it_has_proven_itself() {
    let mut bench = Bench::standby();
    let cause = crate::message::MoveCause::Score { mine: 60, theirs: 100 };
    let epoch = epoch_of(A, 1);
    let token = TransferToken {
        epoch,
        from: A,
        to: B,
        position: Position::START,
        drained: true,
        cause,
        counted: None,
    };
    bench.hear(NODE_A, Message::Transfer { token });
    bench.grant_from(VoterId::Witness);
    bench.input(Input::GatesOpen);
    bench.proven = Some(60);
    bench.wait_in_company(120_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Active, "its field side is not known");
    bench.proven = Some(100);
    bench.wait_in_company(62_000, A, NodeState::Standby);
    assert_eq!(bench.machine.state(), NodeState::Draining);
}

#[test]
fn who_kept_the_role_while_another_was_not_heard_announces_itself_again() {
    let announced = |bench: &Bench| {
        let reasons = bench.actions.iter().filter_map(|action| match action {
            Action::Announce { epoch, reason } if *epoch == bench.machine.epoch() => Some(reason.to_string()),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    let alone = |bench: &mut Bench, ms| {
        for _ in 0..ms / 100 {
            bench.wait(100);
            bench.grant_from(VoterId::Witness);
        }
    };
    let mut bench = Bench::active();
    alone(&mut bench, 1_000);
    bench.beat(B, NodeState::Standby, bench.machine.epoch());
    assert_eq!(announced(&bench), [""; 0], "silence shorter than a lease tells nobody anything");
    alone(&mut bench, 3_000);
    assert_eq!(bench.machine.state(), NodeState::Active);
    bench.beat(B, NodeState::Isolated, bench.machine.epoch());
    bench.beat(B, NodeState::Standby, bench.machine.epoch());
    let said = "node 1 is heard again after 3000 ms, it may have told others who acts";
    assert_eq!(announced(&bench), [said], "once");

    let mut bench = Bench::active();
    alone(&mut bench, 3_000);
    let mut heartbeat = bench.heartbeat(NodeState::Joining, Epoch::NONE);
    heartbeat.incarnation = Incarnation(2);
    bench.hear(NODE_B, Message::Heartbeat(heartbeat));
    assert_eq!(announced(&bench), [""; 0], "a new process has told nobody");

    let mut bench = Bench::standby();
    bench.wait(3_000);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    assert_eq!(announced(&bench), [""; 0], "a standby has nothing to announce");
}

fn failing(interface: &str, sight: Sight) -> Health {
    let (interface, cause) = (interface.to_owned(), "no answer".to_owned());
    Health::of([InterfaceSight { interface, required: true, sight, disputed: false, cause }])
}

#[test]
fn a_node_that_fails_its_self_check_stops_and_frees_its_grant() {
    let mut bench = Bench::active();
    bench.input(Input::SelfCheckFailed { what: "disk full".to_owned() });
    assert_eq!(bench.machine.state(), NodeState::Faulted);
    assert_eq!(bench.sent(|message| matches!(message, Message::Resigned { .. })), 0, "not before it stopped");
    bench.input(Input::GatesClosed);
    assert_eq!(bench.sent(|message| matches!(message, Message::Resigned { node: A, .. })), 2);
}

#[test]
fn a_process_that_says_that_it_stopped_is_heard_again_when_it_was_resumed() {
    let mut bench = Bench::standby();
    let word = |epoch| Message::Resigned { node: A, epoch, incarnation: PROCESS };
    bench.beat(A, NodeState::Faulted, epoch_of(A, 1));
    bench.hear(VoterId::Node(A), word(epoch_of(A, 1)));
    bench.beat(A, NodeState::Standby, epoch_of(A, 1));
    let state = |bench: &Bench| {
        let view = bench.machine.peers().get(VoterId::Node(A)).unwrap();
        view.heartbeat.as_ref().map(|heartbeat| heartbeat.state)
    };
    assert_eq!(state(&bench), Some(NodeState::Standby));
    bench.beat(A, NodeState::Active, epoch_of(A, 3));
    assert_eq!(bench.machine.active(), Some(A));
    bench.hear(VoterId::Node(A), word(epoch_of(A, 1)));
    assert_eq!(bench.machine.active(), Some(A), "a late copy says nothing about a later epoch");
    bench.hear(VoterId::Witness, word(epoch_of(A, 1)));
    bench.beat(A, NodeState::Active, epoch_of(A, 3));
    assert_eq!(state(&bench), None, "who says it of another had it from a supervisor");
}

#[test]
fn a_fork_ends_with_the_merge_or_with_a_complete_copy() {
    for end in [Input::MergeDone { set_aside: 0 }, Input::Synced { lag_records: 3, config_matches: true }] {
        let mut bench = Bench::standby();
        bench.input(Input::Diverged { common: Position::START });
        assert_eq!(bench.machine.state(), NodeState::Reconciling);
        assert!(bench.actions.contains(&Action::Reconcile { active: A, epoch: epoch_of(A, 1) }));
        bench.input(Input::Synced { lag_records: 5000, config_matches: true });
        assert_eq!(bench.machine.state(), NodeState::Reconciling);
        bench.input(end);
        assert_eq!(bench.machine.state(), NodeState::Standby);
    }
}

#[test]
fn an_observer_follows_and_never_asks() {
    let mut setup = pair_with_witness(NODE_B);
    setup.nodes[1].votes = false;
    let mut bench = Bench::with(setup, StoredState::default());
    bench.input(Input::Loaded);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.input(Input::Synced { lag_records: 0, config_matches: true });
    bench.wait(60_000);
    assert_eq!(bench.machine.state(), NodeState::Standby);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 0);
}

fn takeover_by_backup() -> Bench {
    let mut bench = Bench::new(B);
    become_active_after_silence(&mut bench);
    bench
}

fn become_active_after_silence(bench: &mut Bench) {
    bench.input(Input::Loaded);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.input(Input::Synced { lag_records: 0, config_matches: true });
    bench.wait(1700);
    bench.win();
    bench.input(Input::GatesOpen);
}

#[test]
fn a_paused_node_that_was_active_last_takes_its_own_role_again() {
    let own = Position::new(epoch_of(A, 7), 30);
    for (position, asks) in [(own, true), (Position::new(epoch_of(B, 8), 1), false)] {
        // The role file has missed the last win; the journal knows of it.
        let stored = StoredState {
            promised: epoch_of(A, 7),
            last_active: epoch_of(A, 6),
            pins: crate::stored::Pins { hold: Hold { version: 1, on: true }, ..Default::default() },
            position,
            ..StoredState::default()
        };
        let mut bench = Bench::with(pair_with_witness(NODE_A), stored);
        bench.input(Input::Loaded);
        bench.wait(6_000);
        assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })) > 0, asks, "{position}");
    }
}
