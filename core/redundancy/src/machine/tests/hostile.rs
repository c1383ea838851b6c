//! Whatever comes in, in whatever order, nothing panics and nothing grows.

use proptest::prelude::*;

use super::*;
use crate::health::{Health, InterfaceSight, Sight};
use crate::members::{Absence, Ground, Members, MembersChange, SharedMembers, Stamp};
use crate::message::{Counted, MoveCause, RefusalCause};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_inputs_in_any_order_are_survived(
        me in 0u8..2,
        inputs in proptest::collection::vec((any_input(), 0u64..800), 1..120),
    ) {
        let mut bench = Bench::new(NodeRank(me));
        for (input, wait) in inputs {
            bench.now = bench.now + Duration::from_millis(wait);
            bench.input(input);
            let mut ticks = 0;
            while let Output::Timeout(at) = bench.machine.poll_output(bench.now)
                && at <= bench.now
            {
                bench.input(Input::Tick);
                ticks += 1;
                prop_assert!(ticks < 10, "a timer that is due is served, and not due again at once");
            }
            bench.actions.clear();
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let message: Result<Message, _> = minicbor::decode(&bytes);
        if let Ok(message) = message {
            let mut bench = Bench::active();
            bench.hear(NODE_B, message);
        }
        let _state: Result<StoredState, _> = minicbor::decode(&bytes);
    }

    #[test]
    fn a_message_survives_its_encoding(message in any_message()) {
        let bytes = minicbor::to_vec(&message).unwrap();
        prop_assert_eq!(minicbor::decode::<Message>(&bytes).unwrap(), message);
        for cut in 0..bytes.len() {
            prop_assert!(minicbor::decode::<Message>(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn what_nobody_takes_is_bounded_and_counted() {
    let mut bench = Bench::new(A);
    for _ in 0..SENDS_MAX {
        bench.machine.handle_input(Input::PathUp { peer: NODE_B, path: PathId(0) }, bench.now);
    }
    assert!(bench.machine.outputs.len() <= SENDS_MAX);
    assert!(bench.machine.dropped_sends() >= SENDS_MAX as u64);
}

#[test]
fn a_peer_with_many_paths_costs_bounded_memory() {
    let mut bench = Bench::new(A);
    for path in 0..=u8::MAX {
        bench.input(Input::PathUp { peer: NODE_B, path: PathId(path) });
    }
    assert_eq!(bench.machine.peers()[&NODE_B].paths.len(), 8);
}

#[test]
fn a_clock_that_seems_to_go_back_is_held() {
    let mut bench = Bench::active();
    let end = bench.machine.lease_end();
    bench.machine.handle_input(Input::Tick, Moment::ZERO);
    assert_eq!(bench.machine.lease_end(), end);
}

/// A node of a later version may have more to store and say.
#[test]
fn unknown_fields_are_skipped() {
    let mut bytes = minicbor::to_vec(StoredState { promised: Epoch(513), ..StoredState::default() }).unwrap();
    assert_eq!(bytes[0], 0x88, "an array of eight: voters that never changed are not stored");
    bytes[0] = 0x8a;
    bytes.extend([0xf6, 0x07]);
    let state: StoredState = minicbor::decode(&bytes).unwrap();
    assert_eq!(state.promised, Epoch(513));
}

fn any_input() -> impl Strategy<Value = Input> {
    let from =
        prop_oneof![Just(NODE_A), Just(NODE_B), Just(VoterId::Witness), Just(VoterId::Node(NodeRank(9)))];
    let order = prop_oneof![
        Just(Order::Switchover { to: None }),
        (0u8..3).prop_map(|to| Order::Switchover { to: Some(NodeRank(to)) }),
        any::<bool>().prop_map(|force| Order::Failover { force }),
        any_change().prop_map(Order::Members),
        Just(Order::Pause),
        Just(Order::Resume),
        any::<bool>().prop_map(Order::Maintenance),
    ];
    prop_oneof![
        4 => Just(Input::Tick),
        12 => (from, any_message()).prop_map(|(from, message)| Input::Message { from, path: PathId(0), message }),
        1 => Just(Input::Loaded),
        1 => (0u64..9).prop_map(|ticket| Input::Persisted { ticket }),
        1 => (0u64..5000, any::<bool>())
            .prop_map(|(lag_records, config_matches)| Input::Synced { lag_records, config_matches }),
        1 => any_epoch().prop_map(|epoch| Input::Diverged { common: Position::new(epoch, 3) }),
        1 => any::<u64>().prop_map(|set_aside| Input::MergeDone { set_aside }),
        1 => Just(Input::GatesOpen),
        1 => Just(Input::GatesClosed),
        1 => any_epoch().prop_map(|epoch| Input::Drained { epoch, position: Position::START }),
        1 => Just(Input::StepFailed { step: "x".to_owned() }),
        1 => Just(Input::SelfCheckFailed { what: "x".to_owned() }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(score, known)| Input::Health(if known {
            Health::known(score)
        } else {
            Health::of([unknown_interface()])
        })),
        1 => any_epoch().prop_map(|epoch| Input::Resigned { node: epoch.rank(), epoch, incarnation: PROCESS }),
        2 => order.prop_map(Input::Operator),
        1 => Just(Input::Shutdown),
    ]
}

fn any_epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![
        8 => (0u64..6, 0u8..3).prop_map(|(counter, node)| Epoch::new(counter, NodeRank(node))),
        1 => any::<u64>().prop_map(Epoch),
    ]
}

fn unknown_interface() -> InterfaceSight {
    InterfaceSight {
        interface: "plc1".to_owned(),
        required: true,
        sight: Sight::Unknown,
        disputed: false,
        cause: String::new(),
    }
}

fn any_token() -> impl Strategy<Value = TransferToken> {
    let counted = (any::<u64>(), any::<bool>(), any::<u8>())
        .prop_map(|(version, on, moves)| Counted { since: Hold { version, on }, moves });
    let counted = proptest::option::of(counted);
    (any_epoch(), any::<bool>(), counted).prop_map(|(epoch, drained, counted)| TransferToken {
        epoch,
        from: epoch.rank(),
        to: NodeRank(u8::from(drained)),
        position: Position::START,
        drained,
        cause: MoveCause::Operator { by: A },
        counted,
    })
}

fn any_voter() -> impl Strategy<Value = VoterId> {
    prop_oneof![Just(NODE_A), Just(NODE_B), Just(VoterId::Witness), Just(VoterId::Node(NodeRank(9)))]
}

fn any_change() -> impl Strategy<Value = MembersChange> {
    (any_voter(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(voter, grows, fenced, hold)| {
        if grows { MembersChange::Grow { voter } } else { MembersChange::Shrink { voter, fenced, hold } }
    })
}

fn any_members() -> impl Strategy<Value = Option<SharedMembers>> {
    let absent = proptest::collection::vec((any_voter(), any::<bool>()), 0..4);
    let before = proptest::option::of(proptest::collection::vec(any_voter(), 0..3));
    let members =
        (any_epoch(), 0u64..8, absent, before).prop_map(|(epoch, revision, absent, before)| Members {
            stamp: Stamp { epoch, revision },
            absent: absent
                .into_iter()
                .map(|(voter, hold)| Absence { voter, ground: Ground::Fenced, hold, process: None })
                .collect(),
            before,
        });
    prop_oneof![3 => Just(None), 1 => members.prop_map(|members| Some(members.into()))]
}

fn any_message() -> impl Strategy<Value = Message> {
    let round = 0u64..6;
    let heartbeat =
        (any_epoch(), any_epoch(), 0usize..12, any::<u64>(), any::<u8>(), any::<bool>(), any_members())
            .prop_map(|(epoch, promised, state, sequence, score, unquorate, members)| {
                Message::Heartbeat(Heartbeat {
                    incarnation: Incarnation(sequence % 3),
                    sequence,
                    state: NodeState::ALL[state],
                    epoch,
                    promised,
                    position: Position::new(epoch, sequence),
                    config_hash: 1,
                    score,
                    proven: unquorate.then_some(score),
                    protected: unquorate.then_some(score > 50),
                    active: Some(epoch.rank()),
                    unquorate,
                    hold: Hold { version: sequence % 4, on: unquorate },
                    members,
                })
            });
    prop_oneof![
        4 => heartbeat,
        1 => (any_epoch(), any_members()).prop_map(|(promised, members)| Message::VoterStatus {
            promised, holder: None, members, incarnation: Some(PROCESS) }),
        2 => (any_epoch(), round.clone(), any_members()).prop_map(|(epoch, round, members)| Message::PreVote { epoch, round, members, asker: Some(PROCESS) }),
        2 => (any_epoch(), round.clone(), any::<bool>(), any::<u64>(), any_members()).prop_map(
            |(epoch, round, granted, remaining_ms, members)| Message::PreVoteReply {
                epoch, round, granted, promised: epoch, holder: None, remaining_ms, members, asker: Some(PROCESS),
            }
        ),
        3 => (any_epoch(), round.clone(), proptest::option::of(any_token()), any_members()).prop_map(|(epoch, round, token, members)| Message::Campaign {
            epoch, round, incarnation: PROCESS, token, members }),
        2 => (any_epoch(), round.clone(), any_members())
            .prop_map(|(epoch, round, members)| Message::Renew { epoch, round, incarnation: PROCESS, members }),
        3 => (any_epoch(), round.clone(), any_members()).prop_map(|(epoch, round, members)| Message::Grant {
            epoch, round, members: members.map(|members| members.stamp) }),
        2 => (any_epoch(), round, any::<u64>(), any_members()).prop_map(|(epoch, round, remaining_ms, members)| Message::Refuse {
            epoch, round, promised: epoch, cause: RefusalCause::Unknown, remaining_ms, members,
        }),
        2 => any_token().prop_map(|token| Message::Transfer { token }),
        1 => any_epoch().prop_map(|epoch| Message::Resigned { node: epoch.rank(), epoch, incarnation: PROCESS }),
        1 => Just(Message::RequestSwitchover { to: None, by: B }),
        1 => Just(Message::SwitchoverRefused { to: None, why: "no".to_owned() }),
        1 => Just(Message::Bye { incarnation: PROCESS }),
        1 => Just(Message::Leave { incarnation: PROCESS }),
        1 => any_change().prop_map(|change| Message::RequestMembers { change }),
        1 => any_change().prop_map(|change| Message::MembersRefused { change, why: "no".to_owned() }),
    ]
}
