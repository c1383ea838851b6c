//! Values of other interfaces to a module: what was missed, a picture, what comes; and what a takeover makes of it.

use twinhub_contract::role;
use twinhub_model::{Position, Record, Value};

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};
use crate::engine::values_in::COMPLETE_MAX;

/// A device, and a module that takes its values.
fn specs(module: &'static str) -> [Spec; 2] {
    [
        Spec::new("plc"),
        Spec { values_in: &["plc/in", "plc/out"], config: module, standby: role::COLD, ..Spec::new("sum") },
    ]
}

/// What the module was given, without the item that nothing drives.
fn given(bench: &Bench) -> Vec<String> {
    let calls = bench.calls();
    let given = calls.iter().filter_map(|call| call.strip_prefix("sum given 0="));
    given.map(str::to_owned).collect()
}

fn await_given(bench: &mut Bench, last: &str) {
    bench.wait(last, |bench| given(bench).last().is_some_and(|known| known == last));
}

/// How far it has come, as the journal says.
fn cursor(bench: &Bench) -> Option<Position> {
    let cursors = bench.records().into_iter().filter_map(|record| match record {
        Record::Delivered(delivered) => Some(delivered.through),
        Record::Dictionary(_)
        | Record::Samples(_)
        | Record::Intent(_)
        | Record::Result(_)
        | Record::Event(_)
        | Record::Part(_)
        | Record::Merged(_)
        | Record::Role(_) => None,
    });
    cursors.last()
}

#[test]
fn a_module_gets_a_picture_and_then_each_value_in_order() {
    let mut bench = Bench::new(0, &specs(""));
    let watched =
        bench.calls().into_iter().filter(|call| call.starts_with("sum watches")).collect::<Vec<_>>();
    assert!(
        watched.len() == 2 && watched[1].starts_with("sum watches 1 {") && watched[1].contains("plc/out")
    );
    bench.become_active(epoch(0, 1));
    await_given(&mut bench, "-1 snapshot");
    for value in [7, 7, 8, 9] {
        bench.publish(0, value);
    }
    await_given(&mut bench, "9");
    assert_eq!(given(&bench), ["-1 snapshot", "7", "7", "8", "9"]);
    bench.lose(epoch(0, 1));
    bench.become_active(epoch(0, 2));
    await_given(&mut bench, "9 snapshot");
}

#[test]
fn a_batch_that_is_refused_comes_again_and_none_is_left_out() {
    let mut bench = Bench::new(0, &specs(",\"takes\":\"again\""));
    bench.become_active(epoch(0, 1));
    await_given(&mut bench, "-1 snapshot");
    bench.publish(0, 1);
    bench.publish(0, 2);
    await_given(&mut bench, "2");
    assert_eq!(given(&bench)[1..], ["1", "2"]);
}

#[test]
fn what_the_node_before_had_not_dealt_with_comes_to_the_successor_first() {
    let (mut main, mut backup) = pair(&specs(""));
    await_given(&mut main, "-1 snapshot");
    let before = main.last();
    main.publish(0, 1);
    carry_until(&mut main, &mut backup, "the note of it", |_, backup| cursor(backup) > Some(before));
    assert_eq!(given(&backup), Vec::<String>::new(), "a standby is given nothing");
    // Its lease is lost: the module is given nothing more.
    main.gate.close();
    for value in [2, 3] {
        main.publish(0, value);
    }
    carry_until(&mut main, &mut backup, "the values", |main, backup| main.last() == backup.last());
    backup.become_active(epoch(1, 2));
    await_given(&mut backup, "3 snapshot");
    assert_eq!(given(&backup), ["2 replay", "3 replay", "3 snapshot"]);
    backup.publish(0, 4);
    await_given(&mut backup, "4");
}

/// A new revision of the configuration may bring interfaces in another order.
#[test]
fn how_far_a_module_is_does_not_depend_on_its_place_in_the_configuration() {
    let mut bench = Bench::new(0, &specs(""));
    bench.become_active(epoch(0, 1));
    await_given(&mut bench, "-1 snapshot");
    let before = bench.last();
    bench.publish(0, 1);
    bench.wait("the note of it", |bench| cursor(bench) > Some(before));
    bench.gate.close();
    bench.publish(0, 2);
    bench.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let [device, module] = specs("");
    let mut bench = bench.restarted(&[module, device]);
    bench.become_active(epoch(0, 2));
    await_given(&mut bench, "2 snapshot");
    assert_eq!(given(&bench), ["-1 snapshot", "1", "2 replay", "2 snapshot"]);
}

#[test]
fn what_is_counted_with_its_place_is_counted_once_over_any_number_of_takeovers() {
    let specs = specs(",\"counts\":true");
    let (mut active, mut standby) = pair(&specs);
    let mut published = 0;
    for turn in 2..8 {
        for _ in 0..20 {
            published += 1;
            active.publish(0, published);
        }
        carry_until(&mut active, &mut standby, "the values", |main, backup| main.last() == backup.last());
        // Whatever the module had come to: it dies now.
        let rank = standby.rank.0;
        standby.become_active(epoch(rank, turn));
        active.lose(epoch(active.rank.0, turn - 1));
        std::mem::swap(&mut active, &mut standby);
        follow(&mut active, &mut standby, epoch(rank, turn));
    }
    let count = Value::U64(u64::try_from(published).unwrap());
    active.wait("all are counted", |bench| bench.value(2) == count);
    active.turn();
    assert_eq!(active.value(2), count);
}

#[test]
fn a_module_that_completes_nothing_holds_up_nobody_and_is_replaced() {
    let mut bench = Bench::new(0, &specs(",\"takes\":\"held\""));
    bench.become_active(epoch(0, 1));
    await_given(&mut bench, "-1 snapshot");
    bench.publish(0, 1);
    bench.wait("the link goes on", |bench| bench.calls().contains(&"plc write 1=1".to_owned()));
    let later = crate::clock::now() + COMPLETE_MAX;
    bench.engine.give_values_in(later);
    bench.wait("another instance", |bench| {
        bench.calls().iter().filter(|call| call.starts_with("sum watches 0")).count() == 2
    });
    bench.wait("it is given them again", |bench| given(bench).len() > 1);
}
