//! Getting, holding, losing and giving away the role.

use super::*;
use crate::message::MoveCause;

/// Walks the diagram of the module documentation, each arrow once.
#[test]
fn the_state_diagram_can_be_walked() {
    use NodeState::{
        Activating, Active, Candidate, Draining, Faulted, Isolated, Joining, Maintenance, Reconciling,
        Standby, Starting, Syncing,
    };

    let mut bench = Bench::new(A);
    let mut path = vec![bench.machine.state()];
    let mut step = |bench: &mut Bench, act: &dyn Fn(&mut Bench)| {
        bench.take();
        act(bench);
        let entered = bench.actions.iter().filter_map(|action| match action {
            Action::State { to, .. } => Some(*to),
            _ => None,
        });
        path.extend(entered);
    };
    step(&mut bench, &|b| b.input(Input::Loaded));
    step(&mut bench, &|b| b.beat(B, NodeState::Active, epoch_of(B, 1)));
    step(&mut bench, &|b| b.wait(1600));
    step(&mut bench, &|b| b.beat(B, NodeState::Active, epoch_of(B, 1)));
    step(&mut bench, &|b| b.input(Input::Synced { lag_records: 0, config_matches: true }));
    step(&mut bench, &|b| b.input(Input::Synced { lag_records: 9000, config_matches: true }));
    step(&mut bench, &|b| b.input(Input::Synced { lag_records: 1000, config_matches: true }));
    step(&mut bench, &|b| {
        b.wait(1700);
        b.win();
    });
    step(&mut bench, &|b| b.input(Input::GatesOpen));
    step(&mut bench, &|b| b.beat(B, NodeState::Standby, b.machine.epoch()));
    step(&mut bench, &|b| b.input(Input::Operator(Order::Switchover { to: Some(B) })));
    step(&mut bench, &|b| b.drained());
    step(&mut bench, &|b| {
        b.wait(3000);
        b.win();
    });
    step(&mut bench, &|b| b.input(Input::GatesOpen));
    step(&mut bench, &|b| b.wait(1350));
    step(&mut bench, &|b| b.input(Input::GatesClosed));
    step(&mut bench, &|b| b.beat(B, NodeState::Active, epoch_of(B, 9)));
    step(&mut bench, &|b| b.input(Input::Diverged { common: Position::START }));
    step(&mut bench, &|b| b.input(Input::MergeDone { set_aside: 2 }));
    step(&mut bench, &|b| b.input(Input::Operator(Order::Maintenance(true))));
    step(&mut bench, &|b| b.input(Input::Operator(Order::Maintenance(false))));
    step(&mut bench, &|b| b.input(Input::SelfCheckFailed { what: "disk full".to_owned() }));
    step(&mut bench, &|b| b.input(Input::Operator(Order::Resume)));

    let expected = [
        Starting,
        Joining,
        Syncing,
        Joining,
        Syncing,
        Standby,
        Syncing,
        Standby,
        Candidate,
        Activating,
        Active,
        Draining,
        Standby,
        Candidate,
        Activating,
        Active,
        Isolated,
        Syncing,
        Reconciling,
        Standby,
        Maintenance,
        Joining,
        Syncing,
        Faulted,
        Joining,
        Syncing,
    ];
    assert_eq!(path, expected);
    assert!(NodeState::ALL.iter().all(|state| path.contains(state)), "every state was visited");
}

#[test]
fn nothing_is_asked_before_the_own_promise_is_on_disk() {
    let mut bench = Bench::standby();
    bench.has_fast_disk = false;
    bench.wait(1600);
    bench.take();
    let (epoch, round) = (epoch_of(B, 2), bench.machine.rounds_asked);
    for granted in [true, true] {
        let reply = Message::PreVoteReply {
            epoch,
            round,
            granted,
            promised: Epoch::NONE,
            holder: None,
            remaining_ms: 0,
            members: None,
            asker: None,
        };
        bench.hear(VoterId::Witness, reply);
    }
    assert_eq!(bench.machine.state(), NodeState::Candidate);
    let is_campaign = |message: &Message| matches!(message, Message::Campaign { .. });
    assert_eq!(bench.sent(is_campaign), 0);
    let Some(Action::Persist { ticket, state }) =
        bench.actions.iter().find(|action| matches!(action, Action::Persist { .. })).cloned()
    else {
        panic!("the promise is handed out to be stored");
    };
    assert_eq!((state.promised, state.grant.map(|grant| grant.node)), (epoch, Some(B)));
    bench.input(Input::Persisted { ticket });
    assert_eq!(bench.sent(is_campaign), 2);
}

#[test]
fn a_lease_counts_from_the_moment_it_was_asked_for() {
    let mut bench = Bench::active();
    bench.wait(500);
    let asked = bench.now;
    bench.take();
    bench.wait(1);
    // The renewal went out within the last half second; its answer comes late.
    bench.wait(300);
    bench.grant_from(VoterId::Witness);
    let end = bench.machine.lease_end().unwrap();
    assert!(end <= asked + bench.machine.setup().timers.hold(), "{end:?} {asked:?}");
}

#[test]
fn an_answer_that_is_too_late_gives_no_lease() {
    let mut bench = Bench::new(A);
    bench.input(Input::Loaded);
    bench.beat(B, NodeState::Joining, Epoch::NONE);
    bench.wait(1);
    let reply = Message::PreVoteReply {
        epoch: epoch_of(A, 1),
        round: bench.machine.rounds_asked,
        granted: true,
        promised: Epoch::NONE,
        holder: None,
        remaining_ms: 0,
        members: None,
        asker: None,
    };
    bench.hear(VoterId::Witness, reply);
    assert_eq!(bench.machine.state(), NodeState::Candidate);
    let first = bench.machine.rounds_asked;
    bench.wait(1400);
    bench.hear(VoterId::Witness, Message::Grant { epoch: epoch_of(A, 1), round: first, members: None });
    assert_eq!(bench.machine.state(), NodeState::Candidate, "1400 ms is longer than the lease it would give");
}

#[test]
fn a_higher_epoch_closes_the_gates_in_the_same_moment() {
    let mut bench = Bench::active();
    bench.take();
    let status =
        Message::VoterStatus { promised: epoch_of(B, 2), holder: Some(B), members: None, incarnation: None };
    bench.hear(VoterId::Witness, status);
    let actions = bench.take();
    let [Action::Lease { until, .. }, Action::CloseGates { abort_links: true, reason, .. }, ..] =
        actions.as_slice()
    else {
        panic!("first the lease, then the gates: {actions:?}");
    };
    assert_eq!(*until, bench.now);
    assert_eq!(reason.to_string(), "the witness knows epoch 2.1, higher than 1.0");
    assert_eq!(bench.machine.state(), NodeState::Isolated);
}

#[test]
fn a_lease_that_ended_while_the_process_slept_is_lost_whatever_comes_first() {
    let mut bench = Bench::active();
    bench.take();
    bench.now = bench.now + Duration::from_secs(5);
    bench.grant_from(VoterId::Witness);
    bench.beat(B, NodeState::Standby, bench.machine.epoch());
    assert_eq!(bench.machine.state(), NodeState::Isolated);
    let reason = bench.machine.last_reason().to_string();
    assert!(
        reason.starts_with("lease of epoch 1.0 ended 36") && reason.ends_with("2 needed in the last round"),
        "{reason}"
    );
}

#[test]
fn a_node_that_slept_until_the_other_one_may_act_does_not_act_on_alone() {
    for (slept_ms, state) in [(1700, NodeState::Active), (2200, NodeState::Isolated)] {
        let mut setup = crate::setup::tests::group(NODE_A, 2, false);
        setup.without_witness = crate::Policy::Availability;
        setup.timers.confirm = Duration::from_millis(500);
        let mut bench = Bench::with(setup, StoredState::default());
        bench.input(Input::Loaded);
        bench.wait(7000);
        bench.input(Input::GatesOpen);
        bench.take();
        assert_eq!(bench.machine.state(), NodeState::Active);
        let end = bench.machine.lease_end().unwrap();
        bench.now = end.before(Duration::from_millis(1350)) + Duration::from_millis(slept_ms);
        bench.input(Input::Tick);
        assert_eq!(bench.machine.state(), state, "{slept_ms} ms after it asked");
    }
}

#[test]
fn gates_that_are_not_confirmed_closed_end_the_process() {
    let mut bench = Bench::active();
    bench.wait(1350);
    assert_eq!(bench.machine.state(), NodeState::Isolated);
    bench.wait(149);
    assert!(!bench.actions.iter().any(|action| matches!(action, Action::Abort { .. })));
    bench.wait(1);
    assert!(bench.actions.iter().any(|action| matches!(action, Action::Abort { .. })));
}

#[test]
fn a_node_that_closes_its_gates_in_time_lives_on() {
    let mut bench = Bench::active();
    bench.wait(1350);
    bench.input(Input::GatesClosed);
    bench.wait(5000);
    assert!(!bench.actions.iter().any(|action| matches!(action, Action::Abort { .. })));
}

#[test]
fn a_token_needs_no_lease_to_end_and_no_guard_time() {
    let mut bench = Bench::standby();
    bench.take();
    let token = TransferToken {
        epoch: epoch_of(A, 1),
        from: A,
        to: B,
        position: Position::new(epoch_of(A, 1), 40),
        drained: true,
        cause: MoveCause::Operator { by: A },
        counted: None,
    };
    bench.hear(NODE_A, Message::Transfer { token });
    bench.grant_from(VoterId::Witness);
    let actions = bench.take();
    let activate = actions.iter().find(|action| matches!(action, Action::Activate { .. }));
    let Some(Action::Activate { transfer, guard_until, continues_from, reason, .. }) = activate else {
        panic!("{actions:?}");
    };
    assert_eq!((*transfer, *guard_until, *continues_from), (true, bench.now, Some(token.position)));
    assert_eq!(reason.to_string(), "operator ordered a switchover to node 1 on node 0");
}

#[test]
fn a_token_of_another_or_for_another_is_nothing() {
    let token = TransferToken {
        epoch: epoch_of(A, 1),
        from: A,
        to: B,
        position: Position::START,
        drained: true,
        cause: MoveCause::Shutdown,
        counted: None,
    };
    let cases = [
        (VoterId::Witness, token),
        (NODE_A, TransferToken { to: A, ..token }),
        (NODE_A, TransferToken { epoch: Epoch::NONE, ..token }),
        (NODE_A, TransferToken { epoch: epoch_of(B, 1), ..token }),
    ];
    for (from, token) in cases {
        let mut bench = Bench::standby();
        bench.hear(from, Message::Transfer { token });
        assert_eq!(bench.machine.state(), NodeState::Standby, "{token:?} from {from}");
    }
}

#[test]
fn an_unplanned_takeover_waits_the_guard_time() {
    let mut bench = Bench::standby();
    bench.wait(1600);
    bench.take();
    bench.win_from_question();
    let actions = bench.take();
    let activate = actions.iter().find(|action| matches!(action, Action::Activate { .. }));
    let Some(Action::Activate { transfer: false, guard_until, reason, .. }) = activate else {
        panic!("{actions:?}");
    };
    assert_eq!(*guard_until, bench.now + Duration::from_millis(300));
    assert_eq!(reason.to_string(), "node 0 silent for 1500 ms, limit 750 ms");
}

#[test]
fn a_dead_process_is_replaced_without_waiting_for_its_silence() {
    let mut bench = Bench::standby();
    bench.take();
    bench.input(Input::Resigned { node: A, epoch: epoch_of(A, 1), incarnation: PROCESS });
    bench.wait(1);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 2);
    assert_eq!(bench.sent(|message| matches!(message, Message::Resigned { .. })), 2, "the others are told");
    bench.win_from_question();
    assert_eq!(bench.machine.last_reason().to_string(), "process 1 of node 0 is dead, it held epoch 1.0");
    // What the dead process sent last arrives late.
    bench.beats += 100;
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    assert_eq!(bench.machine.state(), NodeState::Activating);
}

/// The witness would not grant: A holds the role.
fn refusal_in(round: u64) -> Message {
    Message::PreVoteReply {
        epoch: epoch_of(B, 2),
        round,
        granted: false,
        promised: epoch_of(A, 1),
        holder: Some(A),
        remaining_ms: 1400,
        members: None,
        asker: None,
    }
}

/// The first question spares a campaign that would disturb somebody: nobody is there to be disturbed.
#[test]
fn a_dead_process_is_replaced_without_a_first_question_where_a_majority_was_just_heard() {
    let hears_witness = |bench: &mut Bench| {
        let refusal = refusal_in(0);
        bench.hear(VoterId::Witness, refusal);
        bench.take();
    };
    let mut bench = Bench::standby();
    hears_witness(&mut bench);
    bench.input(Input::Resigned { node: A, epoch: epoch_of(A, 1), incarnation: PROCESS });
    bench.wait(1);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 0);
    let word = bench.actions.iter().position(|action| {
        matches!(
            action,
            Action::Send { message: Message::Resigned { .. }, .. }
                | Action::SendOthers { message: Message::Resigned { .. } }
        )
    });
    let question = bench
        .actions
        .iter()
        .position(|action| matches!(action, Action::Send { message: Message::Campaign { .. }, .. }));
    assert!(word.is_some() && word < question, "the word comes first, so that the campaign is granted");
    bench.grant_from(VoterId::Witness);
    assert_eq!(bench.machine.state(), NodeState::Activating);
    // A voter that says no after all is asked before the next campaign.
    let mut bench = Bench::standby();
    hears_witness(&mut bench);
    bench.input(Input::Resigned { node: A, epoch: epoch_of(A, 1), incarnation: PROCESS });
    bench.wait(1);
    bench.take();
    let refusal = Message::Refuse {
        epoch: bench.machine.election.epoch().expect("a campaign"),
        round: bench.machine.rounds_asked,
        promised: epoch_of(A, 1),
        cause: crate::message::RefusalCause::Unknown,
        remaining_ms: 10,
        members: None,
    };
    bench.hear(VoterId::Witness, refusal);
    assert_eq!(bench.machine.state(), NodeState::Standby);
    bench.take();
    bench.win();
    // A majority that is not heard is asked before, too.
    let mut bench = Bench::standby();
    hears_witness(&mut bench);
    bench.wait(2_000);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.take();
    bench.input(Input::Resigned { node: A, epoch: epoch_of(A, 1), incarnation: PROCESS });
    bench.wait(1);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 2);
}

#[test]
fn a_voter_that_has_not_heard_yet_of_a_dead_process_is_asked_again_at_once() {
    let mut bench = Bench::standby();
    bench.input(Input::Resigned { node: A, epoch: epoch_of(A, 1), incarnation: PROCESS });
    bench.wait(1);
    bench.take();
    for _ in 0..3 {
        let refusal = refusal_in(bench.machine.rounds_asked);
        bench.hear(VoterId::Witness, refusal);
        bench.take();
        bench.wait(15);
        assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 2);
        bench.take();
    }
    bench.win_from_question();
}

#[test]
fn an_answer_to_the_process_before_does_not_count() {
    let mut bench = Bench::standby();
    bench.wait(1600);
    let (epoch, round) = (bench.machine.election.epoch().unwrap(), bench.machine.rounds_asked);
    let asked = |message: &Message| matches!(message, Message::PreVote { asker: Some(PROCESS), .. });
    assert!(bench.sent(asked) > 0);
    for (asker, state) in [
        (Some(Incarnation(0)), NodeState::Standby),
        (Some(Incarnation(2)), NodeState::Standby),
        (Some(PROCESS), NodeState::Candidate),
    ] {
        let reply = Message::PreVoteReply {
            epoch,
            round,
            granted: true,
            promised: Epoch::NONE,
            holder: None,
            remaining_ms: 0,
            members: None,
            asker,
        };
        bench.hear(VoterId::Witness, reply);
        assert_eq!(bench.machine.state(), state, "{asker:?}");
    }
}

#[test]
fn a_node_whose_own_timer_was_late_does_not_accuse_the_other() {
    let mut bench = Bench::standby();
    bench.take();
    bench.now = bench.now + Duration::from_secs(3);
    bench.input(Input::Tick);
    bench.input(Input::Tick);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), 0);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.wait(700);
    assert_eq!(
        bench.sent(|message| matches!(message, Message::PreVote { .. })),
        0,
        "its heartbeat was waiting"
    );
}

#[test]
fn a_refused_question_is_asked_again_when_the_grant_in_the_way_ends() {
    let mut bench = Bench::standby();
    bench.wait(1600);
    bench.take();
    let refusal = Message::PreVoteReply {
        epoch: epoch_of(B, 2),
        round: bench.machine.rounds_asked,
        granted: false,
        promised: epoch_of(A, 1),
        holder: Some(A),
        remaining_ms: 540,
        members: None,
        asker: None,
    };
    bench.hear(VoterId::Witness, refusal);
    // The other voter is dead; its answer is not waited for longer than a renewal takes.
    bench.wait(500);
    bench.take();
    assert_eq!(bench.machine.state(), NodeState::Standby, "asking changes nothing");
    let before = bench.sent(|message| matches!(message, Message::PreVote { .. }));
    bench.wait(400);
    assert_eq!(bench.sent(|message| matches!(message, Message::PreVote { .. })), before);
    bench.wait(350);
    assert!(bench.sent(|message| matches!(message, Message::PreVote { .. })) > before);
}
