//! Inputs whose sender waits for an acknowledgment, and commands that no standby has stored.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;
use twinhub_config::{AckAfter, OnUnprotected};
use twinhub_model::{ItemId, Value};

use super::bench::{Bench, Spec, carry_until, epoch, pair};
use crate::clock;
use crate::engine::commands::PEER_WAIT_MAX;
use crate::error::CommandError;
use crate::inbox::{Command, Job};
use crate::view::WriteView;

#[test]
fn an_input_is_accepted_when_this_nodes_disk_has_it() {
    let mut bench = Bench::new(0, &[acknowledging(AckAfter::Local, OnUnprotected::Proceed)]);
    bench.become_active(epoch(0, 1));
    bench.forget_calls();
    bench.publish_acknowledged(0, 0, 7);
    bench.publish_acknowledged(0, 0, 8);
    let position = bench.last();
    bench.wait("the disk has it", |bench| bench.calls().contains(&"plc accepted 2".to_owned()));
    assert!(bench.engine.journal.durable() >= position);
}

#[test]
fn what_a_plugin_publishes_itself_is_counted_and_accepted() {
    let config = ",\"acknowledges\":true,\"says\":\"78\"";
    let spec = Spec { config, ..acknowledging(AckAfter::Local, OnUnprotected::Proceed) };
    let mut bench = Bench::new(0, &[spec]);
    bench.become_active(epoch(0, 1));
    // Two of its start, which only the ring heard, and two as the active one.
    bench.wait("all is accepted", |bench| bench.calls().contains(&"plc accepted 4".to_owned()));
    assert!(bench.calls().contains(&"plc published 4".to_owned()), "{:?}", bench.calls());
}

#[test]
fn an_input_is_accepted_when_the_standbys_disk_has_it() {
    let (mut main, mut backup) = pair(&[acknowledging(AckAfter::Peer, OnUnprotected::Refuse)]);
    main.publish_acknowledged(0, 0, 7);
    let position = main.last();
    carry_until(&mut main, &mut backup, "the standby has stored it", |main, _| {
        main.calls().contains(&"plc accepted 1".to_owned())
    });
    assert!(backup.engine.journal.durable() >= position);
    assert_eq!(unprotected(&main), 0);
}

#[test]
fn an_input_that_the_standby_does_not_store_in_time_goes_on_unprotected_and_is_counted() {
    let (mut main, mut backup) = pair(&[acknowledging(AckAfter::Peer, OnUnprotected::Proceed)]);
    let begun = clock::now();
    main.publish_acknowledged(0, 0, 7);
    main.wait("the time is over", |main| main.calls().contains(&"plc accepted 1".to_owned()));
    assert!(clock::now().since(begun) >= PEER_WAIT_MAX);
    assert_eq!(unprotected(&main), 1);
    assert!(
        main.events().iter().any(|text| text.contains("no standby has stored them")),
        "{:?}",
        main.events()
    );

    // The next does not wait again, and when the standby answers it is what counts.
    main.publish_acknowledged(0, 0, 8);
    main.wait("this disk has it", |main| main.calls().contains(&"plc accepted 2".to_owned()));
    assert_eq!(unprotected(&main), 2);
    carry_until(&mut main, &mut backup, "the standby is back", |main, backup| {
        main.last() == backup.engine.journal.durable() && main.engine.unanswered_since.is_none()
    });
    main.publish_acknowledged(0, 0, 9);
    carry_until(&mut main, &mut backup, "the standby has stored it", |main, _| {
        main.calls().contains(&"plc accepted 3".to_owned())
    });
    assert_eq!(unprotected(&main), 2);
    assert!(main.events().iter().any(|text| text.contains("stores the inputs of `plc` again")));
}

#[test]
fn an_input_that_may_not_be_unprotected_waits_for_the_standby() {
    let (mut main, mut backup) = pair(&[acknowledging(AckAfter::Peer, OnUnprotected::Refuse)]);
    main.publish_acknowledged(0, 0, 7);
    let late = clock::now() + PEER_WAIT_MAX * 2;
    main.wait("twice the time", |_| clock::now() > late);
    assert!(!main.calls().iter().any(|call| call.contains("accepted")), "{:?}", main.calls());
    carry_until(&mut main, &mut backup, "the standby is back", |main, _| {
        main.calls().contains(&"plc accepted 1".to_owned())
    });
    assert_eq!(unprotected(&main), 0);
}

#[test]
fn without_a_standby_an_input_goes_on_unprotected_when_this_disk_has_it() {
    let mut bench = Bench::new(0, &[acknowledging(AckAfter::Peer, OnUnprotected::Proceed)]);
    bench.become_active(epoch(0, 1));
    bench.publish_acknowledged(0, 0, 7);
    let position = bench.last();
    bench.wait("the disk has it", |bench| bench.calls().contains(&"plc accepted 1".to_owned()));
    assert!(bench.engine.journal.durable() >= position);
    assert_eq!(unprotected(&bench), 1);
}

#[test]
fn what_came_too_late_for_the_journal_is_accepted_only_when_the_role_is_left() {
    let mut bench = Bench::new(0, &[acknowledging(AckAfter::Local, OnUnprotected::Proceed)]);
    bench.become_active(epoch(0, 1));
    bench.forget_calls();
    bench.lose(epoch(0, 1));
    let before = bench.last();
    bench.publish_acknowledged(0, 0, 7);
    assert_eq!(bench.last(), before);
    bench.wait("it is accepted", |bench| bench.calls().contains(&"plc accepted 1".to_owned()));
    let calls = bench.calls();
    assert_eq!(calls.first().map(String::as_str), Some("plc cold"), "{calls:?}");
    assert!(bench.said.contains(&twinhub_redundancy::Input::GatesClosed), "{:?}", bench.said);
}

#[test]
fn what_a_hot_interface_hears_between_two_active_nodes_is_replayed() {
    let specs = [Spec { standby: twinhub_contract::role::HOT, ..Spec::new("plc") }];
    let (_main, mut backup) = pair(&specs);
    backup.job(Job::Follow { active: None, epoch: epoch(0, 1) });
    backup.receive(0, 5);
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), [Value::I64(5)]);
}

#[test]
fn what_a_hot_interface_heard_is_journaled_though_the_word_that_it_is_active_overtook_it() {
    let mut bench = Bench::new(0, &[Spec { standby: twinhub_contract::role::HOT, ..Spec::new("plc") }]);
    bench.become_active(epoch(0, 1));
    bench.receive(0, 5);
    assert_eq!(bench.journaled(0), [Value::I64(5)]);
    assert_eq!(bench.value(0), Value::I64(5));
}

#[test]
fn a_command_that_may_not_be_unprotected_is_refused_without_a_standby() {
    let mut bench = Bench::new(0, &[acknowledging(AckAfter::None, OnUnprotected::Refuse)]);
    bench.become_active(epoch(0, 1));
    let mut answer = command(&mut bench, 5);
    let refused = answer.try_recv().unwrap().unwrap_err().to_string();
    assert!(refused.contains("on_unprotected"), "{refused}");
    assert_eq!(commands(&bench), (0, 1));
    assert!(!bench.calls().iter().any(|call| call.contains("write")));
}

#[test]
fn a_command_that_the_standby_does_not_store_in_time_is_refused_and_never_written() {
    let (mut main, mut backup) = pair(&[acknowledging(AckAfter::None, OnUnprotected::Refuse)]);
    let mut answer = command(&mut main, 5);
    main.wait("the time is over", |main| commands(main).1 == 1);
    assert!(matches!(answer.try_recv(), Ok(Err(CommandError::Refused { .. }))));
    carry_until(&mut main, &mut backup, "the standby is back", |main, backup| {
        main.last() == backup.engine.journal.durable() && main.engine.unanswered_since.is_none()
    });
    assert!(!main.calls().iter().any(|call| call.contains("write")), "{:?}", main.calls());
    assert_eq!(backup.engine.tracker.open().count(), 0, "it is settled on both nodes");

    let mut answer = command(&mut main, 6);
    carry_until(&mut main, &mut backup, "it is written", |main, _| {
        main.calls().contains(&"plc write 1=6".to_owned())
    });
    main.wait("it is answered", |main| !main.engine.commands.busy.contains_key(&ItemId(1)));
    assert!(matches!(answer.try_recv(), Ok(Ok(_))));
    assert_eq!(commands(&main), (0, 1));
}

#[test]
fn what_a_link_drives_waits_for_the_standby_where_it_may_not_be_unprotected() {
    let (mut main, mut backup) = pair(&[acknowledging(AckAfter::None, OnUnprotected::Refuse)]);
    main.publish(0, 4);
    let late = clock::now() + PEER_WAIT_MAX * 2;
    main.wait("twice the time", |_| clock::now() > late);
    assert!(!main.calls().iter().any(|call| call.contains("write")), "{:?}", main.calls());
    carry_until(&mut main, &mut backup, "it is written", |main, _| {
        main.calls().contains(&"plc write 1=4".to_owned())
    });
    assert_eq!(commands(&main), (0, 0));
}

#[test]
fn a_command_without_a_standby_goes_on_and_is_counted() {
    let mut bench = Bench::new(0, &[acknowledging(AckAfter::None, OnUnprotected::Proceed)]);
    bench.become_active(epoch(0, 1));
    let mut answer = command(&mut bench, 5);
    bench.wait("it is answered", |bench| !bench.engine.commands.busy.contains_key(&ItemId(1)));
    assert!(matches!(answer.try_recv(), Ok(Ok(_))));
    assert_eq!(commands(&bench), (1, 0));
}

fn acknowledging(ack_after: AckAfter, on_unprotected: OnUnprotected) -> Spec {
    Spec { ack_after, on_unprotected, config: ",\"acknowledges\":true", ..Spec::new("plc") }
}

/// Inputs that went on.
fn unprotected(bench: &Bench) -> u64 {
    read(&bench.engine.interfaces[0].port.counters.unprotected_inputs)
}

/// Commands that went on, and that were refused.
fn commands(bench: &Bench) -> (u64, u64) {
    let counters = &bench.engine.interfaces[0].port.counters;
    (read(&counters.unprotected), read(&counters.unprotected_refused))
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn command(bench: &mut Bench, value: i64) -> oneshot::Receiver<Result<WriteView, CommandError>> {
    let (reply, answer) = oneshot::channel();
    let origin = "test".to_owned();
    bench.job(Job::Command(Command { item: ItemId(1), value: Value::I64(value), origin, reply }));
    answer
}
