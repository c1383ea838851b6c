//! Senders that give again what they have no receipt for: nothing is lost, and nothing is journaled twice.

use twinhub_config::AckAfter;
use twinhub_contract::role;
use twinhub_model::Value;
use twinhub_redundancy::Input;

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};
use crate::engine::steps::Step;
use crate::inbox::Job;
use crate::instance::Sequence;

#[test]
fn what_a_standby_is_given_again_after_it_is_in_sync_is_not_replayed() {
    let (mut main, mut backup) = restarted_standby();
    follow(&mut main, &mut backup, epoch(0, 1));
    main.publish(0, 4);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    // 2 and 3 had no receipt when it died, 4 came while it was away, 5 the main did not live to journal.
    for value in 2..=5 {
        backup.receive(0, value);
    }
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), values(&[1, 2, 3, 4, 5]));
}

#[test]
fn what_a_standby_is_given_again_before_it_is_in_sync_is_not_replayed() {
    let (mut main, mut backup) = restarted_standby();
    for value in 2..=5 {
        backup.receive(0, value);
    }
    follow(&mut main, &mut backup, epoch(0, 1));
    main.publish(0, 4);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), values(&[1, 2, 3, 4, 5]));
}

/// The journal goes on behind the copy, which has the value and not how it came about.
#[test]
fn what_came_with_a_copy_is_not_replayed() {
    let (mut main, mut backup) = restarted_standby();
    main.publish(0, 4);
    for value in 2..=5 {
        backup.receive(0, value);
    }
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!(backup.value(0), Value::I64(4));
    backup.become_active(epoch(1, 2));
    // 4 is here as the main has it: the journal goes on behind a copy without a gap.
    assert_eq!(backup.journaled(0), values(&[1, 2, 3, 4, 5]));
    assert_eq!(backup.value(0), Value::I64(5));
}

#[test]
fn what_a_standby_is_given_again_is_not_replayed_though_nothing_follows_it() {
    let (mut main, mut backup) = restarted_standby();
    follow(&mut main, &mut backup, epoch(0, 1));
    for value in 2..=3 {
        backup.receive(0, value);
    }
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), values(&[1, 2, 3]));
}

/// Its sender has the receipt: nobody else knows it.
#[test]
fn what_is_heard_while_no_node_acts_is_journaled_by_the_one_that_acts_next() {
    let mut bench = Bench::new(0, &[keeping()]);
    bench.receive(0, 1);
    bench.receive(0, 2);
    bench.become_active(epoch(0, 1));
    assert_eq!(bench.journaled(0), values(&[1, 2]));
    assert_eq!(bench.value(0), Value::I64(2));

    // All nodes were away: of what comes then, 2 is in the journal.
    bench.wait("its disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut bench = bench.restarted(&[keeping()]);
    bench.job(Job::Follow { active: None, epoch: epoch(0, 1) });
    for value in [2, 3, 4] {
        bench.receive(0, value);
    }
    bench.become_active(epoch(0, 2));
    assert_eq!(bench.journaled(0), values(&[1, 2, 3, 4]));
}

/// It journaled them itself, and their receipts were lost when its link broke.
#[test]
fn what_a_node_is_given_again_after_it_was_active_is_not_replayed() {
    let (mut main, mut backup) = pair(&[keeping()]);
    main.publish(0, 1);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    backup.receive(0, 1);
    let step_down = |bench: &mut Bench, epoch| {
        bench.lose(epoch);
        bench.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
        bench.said.clear();
    };
    step_down(&mut main, epoch(0, 1));
    carry_until(&mut main, &mut backup, "its last word", |main, backup| main.last() == backup.last());
    backup.become_active(epoch(1, 2));
    backup.publish(0, 2);
    backup.publish(0, 3);
    follow(&mut backup, &mut main, epoch(1, 2));
    step_down(&mut backup, epoch(1, 2));
    carry_until(&mut backup, &mut main, "its last word", |backup, main| main.last() == backup.last());
    main.become_active(epoch(0, 3));
    follow(&mut main, &mut backup, epoch(0, 3));
    // 4 is new, and only the backup hears it.
    for value in 2..=4 {
        backup.receive(0, value);
    }
    backup.become_active(epoch(1, 4));
    assert_eq!(backup.journaled(0), values(&[1, 2, 3, 4]));
    assert_eq!(backup.value(0), Value::I64(4));
}

#[test]
fn of_an_item_of_which_every_value_counts_an_equal_one_that_only_the_standby_heard_is_replayed() {
    let (mut main, mut backup) = pair(&[keeping()]);
    main.publish(0, 5);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    backup.receive_edge(0, 5);
    backup.receive_edge(0, 5);
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), values(&[5, 5]));
}

/// What an interface heard before it became active comes before what it says then: also into the item table, which takes
/// values at once.
#[test]
fn what_was_heard_before_a_takeover_does_not_come_behind_what_is_published_after_it() {
    let spec = Spec { config: ",\"says\":\"6\",\"tells\":true", ..keeping() };
    let (_main, mut backup) = pair(std::slice::from_ref(&spec));
    backup.forget_calls();
    backup.activate(epoch(1, 2), false);
    backup.await_call("plc again");
    backup.receive(0, 5);
    backup.wait("gates open", |bench| bench.said.contains(&Input::GatesOpen));
    assert_eq!(backup.journaled(0).last(), Some(&Value::I64(6)));
    assert!(backup.journaled(0).contains(&Value::I64(5)), "{:?}", backup.journaled(0));
    assert_eq!(backup.value(0), Value::I64(6));
}

/// An activation may end before it has come to what was heard: the next one waits for that as well.
#[test]
fn what_was_heard_before_an_activation_that_failed_comes_before_what_the_next_one_publishes() {
    let spec = Spec { config: ",\"says\":\"6\",\"tells\":true", ..keeping() };
    let mut bench = Bench::new(0, &[spec]);
    for counter in 1..=2 {
        bench.forget_calls();
        bench.activate(epoch(0, counter), false);
        bench.await_call("plc again");
        bench.lose(epoch(0, counter));
        bench.wait("closed", |bench| bench.said.contains(&Input::GatesClosed));
    }
}

/// The plugin says it as it becomes active, while the ring is replayed.
#[test]
fn a_new_quality_does_not_bring_back_the_value_from_before_a_replay() {
    let spec = Spec { config: ",\"says\":\"b4\",\"tells\":true", ..keeping() };
    let (_main, mut backup) = pair(std::slice::from_ref(&spec));
    assert_eq!(backup.value(0), Value::I64(4));
    backup.forget_calls();
    backup.activate(epoch(1, 2), false);
    backup.await_call("plc again");
    backup.receive(0, 5);
    backup.wait("gates open", |bench| bench.said.contains(&Input::GatesOpen));
    assert_eq!(backup.journaled(0), values(&[5, 5, 4]));
    assert_eq!(backup.value(0), Value::I64(4));
}

/// The claim of what only one node can hold may take a second. What is heard meanwhile has its place behind what was
/// heard before.
#[test]
fn what_is_heard_while_a_link_is_claimed_stands_behind_what_was_heard_before() {
    let claiming = Spec {
        sequence: Sequence { exclusive: true, ..Spec::new("").sequence },
        config: ",\"stuck\":3",
        required: false,
        ..Spec::new("pms")
    };
    let specs = [keeping(), claiming];
    let (_main, mut backup) = pair(&specs);
    backup.receive(0, 4);
    backup.activate(epoch(1, 2), false);
    backup.receive(0, 5);
    assert!(!backup.steps().contains(&Step::RingReplayed));
    backup.wait("the ring is replayed", |bench| bench.steps().contains(&Step::RingReplayed));
    assert_eq!(backup.journaled(0), values(&[4, 5]));
    assert_eq!(backup.value(0), Value::I64(5));
}

/// A pair that journaled 1, 2 and 3, and whose standby is a new process that follows nobody yet.
fn restarted_standby() -> (Bench, Bench) {
    let (mut main, mut backup) = pair(&[keeping()]);
    for value in 1..=3 {
        main.publish(0, value);
    }
    carry_until(&mut main, &mut backup, "the values", |main, backup| {
        main.last() == backup.last() && backup.engine.journal.durable() == backup.last()
    });
    (main, backup.restarted(&[keeping()]))
}

/// A hot interface whose sender waits for receipts.
fn keeping() -> Spec {
    Spec {
        standby: role::HOT,
        ack_after: AckAfter::Local,
        config: ",\"acknowledges\":true",
        ..Spec::new("plc")
    }
}

fn values(values: &[i64]) -> Vec<Value> {
    values.iter().map(|value| Value::I64(*value)).collect()
}
