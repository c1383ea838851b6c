//! The order of actions when roles change: any other order fails.

use std::time::Duration;

use twinhub_contract::role;
use twinhub_model::{NodeRank, Position, Value};
use twinhub_redundancy::Input;

use super::bench::{Bench, Spec, carry, carry_until, epoch, pair};
use crate::clock;
use crate::engine::steps::Step;
use crate::inbox::Job;
use crate::instance::{Guard, Sequence};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_activation_claims_first_then_opens_class_by_class() {
    let class = |order| Sequence { order, ..Spec::new("").sequence };
    let specs = [
        Spec { sequence: class(4), ..Spec::new("mail") },
        Spec { sequence: class(0), ..Spec::new("plc") },
        Spec { sequence: class(1), ..Spec::new("logic") },
        Spec { sequence: Sequence { exclusive: true, ..class(4) }, ..Spec::new("pms") },
    ];
    let mut bench = Bench::new(0, &specs);
    bench.become_active(epoch(0, 1));
    bench.wait("nothing in doubt", |bench| bench.steps().contains(&Step::DoubtsSettled));
    assert_eq!(
        bench.steps(),
        [
            Step::EpochBegun,
            Step::DoubtsCollected,
            Step::ExclusiveClaimed,
            // Whoever is told to be active may publish at once, and that is no doubt.
            Step::InputsDoubted,
            Step::ClassOrdered,
            Step::RingReplayed,
            Step::ClassOrdered,
            Step::ClassOrdered,
            Step::GatesOpen,
            Step::DoubtsSettled,
        ]
    );
    let active: Vec<_> = bench.calls().into_iter().filter(|call| call.ends_with("active")).collect();
    assert_eq!(active, ["pms active", "plc active", "logic active", "mail active"]);
}

#[test]
fn an_interface_that_does_not_answer_holds_the_next_class_up_for_a_second_only() {
    let stuck = Spec { config: ",\"stuck\":3", required: false, ..Spec::new("stuck") };
    let next = Spec { sequence: Sequence { order: 1, ..Spec::new("").sequence }, ..Spec::new("next") };
    let mut bench = Bench::new(0, &[stuck, next]);
    bench.forget_calls();
    bench.activate(epoch(0, 1), false);
    let begun = clock::now();
    bench.wait("the next class", |bench| bench.calls().contains(&"next active".to_owned()));
    let took = clock::now().since(begun);
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    bench.publish(2, 7);
    bench.wait("its output", |bench| bench.calls().contains(&"next write 1=7".to_owned()));
}

#[test]
fn outputs_wait_for_the_guard_and_doubts_for_the_outputs() {
    let mut bench = Bench::new(0, &[Spec { guard: Guard::Whole, ..Spec::new("plc") }]);
    bench.activate(epoch(0, 1), false);
    bench.engine.guard_until = clock::now() + Duration::from_millis(200);
    bench.publish(0, 5);
    bench.wait("gates open", |bench| bench.said.contains(&Input::GatesOpen));
    assert!(!bench.steps().contains(&Step::DoubtsSettled));
    assert!(!bench.calls().iter().any(|call| call.contains("write")), "{:?}", bench.calls());
    bench.wait("the output after the guard", |bench| bench.calls().contains(&"plc write 1=5".to_owned()));
    assert!(clock::now() >= bench.engine.guard_until);
}

#[test]
fn a_role_is_given_away_when_the_named_node_has_everything() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    main.publish(0, 1);
    main.forget_calls();
    main.drain(epoch(0, 1), Some(NodeRank(1)), LONG);
    // Inputs still run, and are journaled; links carry nothing any more.
    main.publish(0, 2);
    assert_eq!(main.steps(), [Step::CommandsRefused, Step::OutputsDone]);
    assert!(main.said.is_empty(), "not before the other node has it: {:?}", main.said);
    carry_until(&mut main, &mut backup, "drained", |main, _| {
        main.said.iter().any(|input| matches!(input, Input::Drained { .. }))
    });
    assert_eq!(
        main.steps(),
        [
            Step::CommandsRefused,
            Step::OutputsDone,
            Step::TailStored,
            Step::InputsClosed,
            Step::EndStored,
            Step::LinksReleased,
            Step::Drained,
        ]
    );
    let position = drained(&main).unwrap();
    assert_eq!((position, backup.engine.journal.durable()), (main.last(), main.last()));
    assert_eq!(backup.journaled(0), [Value::I64(1), Value::I64(2)]);
    assert_eq!(main.calls(), ["plc warm"], "no output after the first: {:?}", main.calls());
    // A late input does not reach the journal.
    main.publish(0, 3);
    assert_eq!(main.last(), position);
}

/// The plugin was told that they are taken, and does not give them again.
#[test]
fn what_was_taken_before_the_inputs_were_closed_is_in_the_journal() {
    let spec = Spec { config: ",\"says\":\"7\",\"tells\":true,\"flags\":32", ..Spec::new("plc") };
    let (mut main, mut backup) = pair(&[spec]);
    let before = [&main, &backup].map(|bench| bench.journaled(0).len());
    main.forget_calls();
    main.drain(epoch(0, 1), Some(NodeRank(1)), LONG);
    let begun = clock::now();
    while drained(&main).is_none() {
        assert!(clock::now().since(begun) < LONG, "told {:?}", main.said);
        main.engine.interfaces[0].instance().unwrap().diagnose(1 << 40).unwrap();
        for message in main.sent() {
            backup.job(Job::Peer { peer: main.rank, message });
        }
        // The other node has everything, while this waits in the line.
        for message in backup.sent() {
            main.job(Job::Peer { peer: backup.rank, message });
        }
        main.turn();
        backup.turn();
    }
    let taken = main.calls().iter().filter(|call| *call == "plc taken").count();
    assert!(taken > 0 && main.calls().contains(&"plc refused".to_owned()), "{:?}", main.calls());
    let after = [&main, &backup].map(|bench| bench.journaled(0).len());
    assert_eq!(after, before.map(|count| count + taken));
}

#[test]
fn a_role_is_not_given_away_while_an_output_is_under_way() {
    let (mut main, mut backup) = pair(&[Spec { config: ",\"mute\":true", ..Spec::new("plc") }]);
    main.publish(0, 1);
    carry_until(&mut main, &mut backup, "the output", |main, _| {
        main.calls().contains(&"plc write 1=1".to_owned())
    });
    let deadline = main.drain(epoch(0, 1), Some(NodeRank(1)), Duration::from_millis(400));
    while clock::now() < deadline + Duration::from_millis(50) {
        carry(&mut main, &mut backup);
    }
    assert_eq!(drained(&main), None, "the output is in doubt");
    assert_eq!(main.steps()[..2], [Step::CommandsRefused, Step::OutputsInDoubt]);
    assert!(main.steps().contains(&Step::LinksReleased) && !main.steps().contains(&Step::Drained));
    // The control thread's time is over.
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
}

#[test]
fn a_role_given_away_without_the_last_records_says_so() {
    let (mut main, _backup) = pair(&[Spec::new("plc")]);
    main.publish(0, 1);
    let begun = clock::now();
    let deadline = main.drain(epoch(0, 1), Some(NodeRank(1)), Duration::from_millis(400));
    main.wait("drained", |bench| drained(bench).is_some());
    assert!(clock::now() >= begun + Duration::from_millis(300), "it waited for the other node");
    assert!(clock::now() < deadline + Duration::from_secs(5));
    let steps = [
        Step::CommandsRefused,
        Step::OutputsDone,
        Step::InputsClosed,
        Step::EndMissing,
        Step::LinksReleased,
        Step::Drained,
    ];
    assert_eq!(main.steps(), steps);
    let said = main.events().into_iter().find(|text| text.contains("handed over although backup has stored"));
    assert!(said.is_some(), "{:?}", main.events());
}

#[test]
fn another_nodes_copy_does_not_count_for_the_named_one() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    main.publish(0, 1);
    let deadline = main.drain(epoch(0, 1), Some(NodeRank(2)), Duration::from_millis(400));
    while clock::now() < deadline && drained(&main).is_none() {
        carry(&mut main, &mut backup);
    }
    assert!(main.steps().contains(&Step::EndMissing), "{:?}", main.steps());
    assert!(
        main.events().iter().any(|text| text.contains("although spare has stored")),
        "{:?}",
        main.events()
    );
}

#[test]
fn without_anybody_to_take_over_nobody_is_waited_for() {
    let mut main = Bench::new(0, &[Spec::new("plc")]);
    main.become_active(epoch(0, 1));
    main.drain(epoch(0, 1), None, LONG);
    main.wait("drained", |bench| drained(bench).is_some());
    assert!(main.steps().contains(&Step::EndStored));
}

#[test]
fn a_lost_lease_cuts_links_then_doubts_commands_then_says_that_it_is_closed() {
    let token = Sequence { cut_on_loss: false, ..Spec::new("").sequence };
    let specs = [
        Spec { config: ",\"mute\":true", ..Spec::new("plc") },
        Spec { sequence: token, standby: role::HOT, ..Spec::new("db") },
    ];
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 1));
    main.publish(0, 1);
    main.wait("the output", |bench| bench.calls().contains(&"plc write 1=1".to_owned()));
    main.forget_calls();
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    assert_eq!(main.steps(), [Step::GatesShut, Step::LinksAborted, Step::CommandsInDoubt, Step::Closed]);
    main.wait("the inactive role", |bench| bench.calls().contains(&"plc warm".to_owned()));
    let of = |id: &str| main.calls().into_iter().filter(|call| call.starts_with(id)).collect::<Vec<_>>();
    assert_eq!(of("plc"), ["plc cold", "plc warm"], "cut, then put into its inactive role");
    assert_eq!(of("db"), ["db hot"], "its sink compares epochs");
}

#[test]
fn a_link_that_is_not_cut_keeps_the_gates_from_being_called_closed() {
    let mut main = Bench::new(0, &[Spec { config: ",\"stuck\":0", ..Spec::new("plc") }]);
    main.become_active(epoch(0, 1));
    main.forget_calls();
    main.lose(epoch(0, 1));
    main.wait("the order to cut", |bench| bench.calls() == ["plc cold"]);
    let until = clock::now() + Duration::from_millis(300);
    main.wait("the watchdog would have ended the process", |_| clock::now() > until);
    assert_eq!(main.steps(), [Step::GatesShut]);
    assert!(!main.said.contains(&Input::GatesClosed));
}

fn drained(bench: &Bench) -> Option<Position> {
    bench
        .said
        .iter()
        .find_map(|input| if let Input::Drained { position, .. } = input { Some(*position) } else { None })
}

#[test]
fn a_node_that_kept_the_role_lets_those_announce_again_that_others_hear() {
    let specs = [Spec { resyncs: false, ..Spec::new("mqtt") }, Spec::new("plc")];
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 1));
    main.forget_calls();
    main.job(Job::Announce { epoch: epoch(0, 9) });
    main.job(Job::Announce { epoch: epoch(0, 1) });
    main.wait("the announcement", |bench| !bench.calls().is_empty());
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    main.job(Job::Announce { epoch: epoch(0, 1) });
    main.wait("the inactive role", |bench| bench.calls().contains(&"mqtt warm".to_owned()));
    let of_mqtt: Vec<_> = main.calls().into_iter().filter(|call| call.starts_with("mqtt")).collect();
    assert_eq!(of_mqtt, ["mqtt active", "mqtt cold", "mqtt warm"]);
    assert!(!main.calls().contains(&"plc active".to_owned()), "who polls has told nobody");
}

/// Neither node writes to its disk by itself here: what is waited for is asked for.
#[test]
fn what_comes_while_the_role_is_handed_over_reaches_the_other_disk_at_once() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    for bench in [&mut main, &mut backup] {
        bench.engine.sync_interval = Duration::from_secs(3600);
    }
    main.forget_calls();
    main.drain(epoch(0, 1), Some(backup.rank), LONG);
    main.publish(0, 5);
    carry_until(&mut main, &mut backup, "the handover", |main, _| {
        main.said.iter().any(|input| matches!(input, Input::Drained { .. }))
    });
    assert!(main.steps().contains(&Step::EndStored), "{:?}", main.steps());
    assert!(backup.engine.journal.durable() >= main.last());
    assert_eq!(backup.journaled(0), [Value::I64(5)]);
}
