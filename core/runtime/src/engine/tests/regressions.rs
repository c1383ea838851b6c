//! Faults that were found once, at the level where they can be seen.

use twinhub_contract::role;
use twinhub_model::{ItemId, Outcome, Quality, Record, SampleFlags, Timestamp, Value};
use twinhub_redundancy::Input;

use crate::clock;

use super::bench::{Bench, Spec, carry_until, epoch, follow, hot, pair};

#[test]
fn what_only_the_standby_heard_is_replayed_and_what_both_heard_is_not() {
    let (mut main, mut backup) = pair(&[hot()]);
    main.publish(0, 1);
    backup.receive(0, 1);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    backup.receive(0, 2);
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), [Value::I64(1), Value::I64(2)]);
}

/// A light was switched on and off while nobody acted: it is off, and both are known.
#[test]
fn what_went_and_came_back_while_nobody_acted_ends_where_it_is() {
    let (mut main, mut backup) = pair(&[hot()]);
    main.publish(0, 1);
    backup.receive(0, 1);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    backup.receive(0, 2);
    backup.receive(0, 1);
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.journaled(0), [Value::I64(1), Value::I64(2), Value::I64(1)]);
    assert_eq!(backup.value(0), Value::I64(1));
}

/// A broker delivers what it kept for a session as soon as the node is back, before the node has the journal:
/// the active node dealt with it long ago.
#[test]
fn a_backlog_that_comes_before_the_journal_is_not_replayed_as_new() {
    let mut main = Bench::new(0, &[hot()]);
    main.become_active(epoch(0, 1));
    for value in 1..=3 {
        main.publish(0, value);
    }
    let mut backup = Bench::new(1, &[hot()]);
    backup.receive(0, 1);
    backup.receive(0, 2);
    follow(&mut main, &mut backup, epoch(0, 1));
    // The last of the backlog comes after the copy.
    backup.receive(0, 3);
    backup.become_active(epoch(1, 2));
    assert_eq!(backup.value(0), Value::I64(3));
    let replayed: Vec<_> = backup.journaled(0);
    assert_eq!(replayed, [Value::Null; 0], "nothing of it is new");
    assert_eq!(backup.calls().iter().filter(|call| call.contains("write 1=1")).count(), 0);
}

/// The result of the older command was lost with the main; its value must not come back behind the newer one.
#[test]
fn a_command_in_doubt_is_not_written_again_behind_a_newer_one() {
    let (mut main, mut backup) = pair(&[Spec { config: ",\"mute\":true", ..Spec::new("plc") }]);
    main.publish(0, 10);
    carry_until(&mut main, &mut backup, "the first command", |main, backup| {
        main.calls().contains(&"plc write 1=10".to_owned()) && main.last() == backup.last()
    });
    // The device obeyed and the answer was lost: the backup has the intent without a result.
    assert!(!backup.records().iter().any(|record| matches!(record, Record::Result(_))));

    // The backup takes over; a newer value drives the item before the one in doubt is settled.
    backup.forget_calls();
    backup.activate(epoch(1, 2), false);
    backup.publish(0, 20);
    backup.wait("the newer command", |bench| bench.calls().contains(&"plc write 1=20".to_owned()));
    backup.wait("nothing in doubt", |bench| bench.engine.recovering.is_empty());
    backup.turn();
    let written: Vec<_> = backup.calls().into_iter().filter(|call| call.contains("write")).collect();
    assert_eq!(written, ["plc write 1=20"], "the older one is not written again");
    let superseded = backup
        .records()
        .into_iter()
        .filter(|record| matches!(record, Record::Result(result) if result.outcome == Outcome::Superseded));
    assert_eq!(superseded.count(), 1, "{:?}", backup.records());
}

/// The clock of the lost main was an hour ahead: what the backup copied from it is no reading of the device after the
/// takeover, and a reading with an earlier time is one.
#[test]
fn a_command_in_doubt_waits_for_a_reading_whatever_the_clocks_say() {
    let (mut main, mut backup) = pair(&[Spec { config: ",\"mute\":true", ..hot() }]);
    main.publish(1, 5);
    main.publish(0, 10);
    carry_until(&mut main, &mut backup, "the command", |main, backup| {
        main.calls().contains(&"mqtt write 1=10".to_owned()) && main.last() == backup.last()
    });
    let (good, now) = (Quality::GOOD, clock::utc());
    let ahead = Timestamp(now.0 + 3_600_000_000_000);
    backup.engine.table.store(ItemId(1), &Value::I64(5), good, now, ahead, SampleFlags::default());
    backup.forget_calls();
    backup.become_active(epoch(1, 2));
    for _ in 0..20 {
        backup.turn();
    }
    assert!(!backup.engine.recovering.is_empty(), "settled by what the main had read");
    // The device had obeyed.
    backup.publish(1, 10);
    backup.wait("nothing in doubt", |bench| bench.engine.recovering.is_empty());
    let written: Vec<_> = backup.calls().into_iter().filter(|call| call.contains("write")).collect();
    assert_eq!(written, [""; 0], "it was written twice");
    let confirmed =
        |record: &Record| matches!(record, Record::Result(result) if result.outcome == Outcome::Confirmed);
    assert!(backup.records().iter().any(confirmed), "{:?}", backup.records());
}

#[test]
fn a_driving_value_drives_once_after_a_takeover_without_an_answer() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    main.publish(0, 10);
    carry_until(&mut main, &mut backup, "the result", |main, backup| {
        main.records().iter().any(|record| matches!(record, Record::Result(_)))
            && main.last() == backup.last()
    });
    backup.forget_calls();
    backup.become_active(epoch(1, 2));
    backup.publish(0, 10);
    backup.turn();
    assert!(!backup.calls().iter().any(|call| call.contains("write")), "{:?}", backup.calls());
    backup.publish(0, 11);
    backup.wait("the next value", |bench| bench.calls().contains(&"plc write 1=11".to_owned()));
}

/// What the lost main had written alone is set aside, reported with its numbers, and does not come back.
#[test]
fn a_node_whose_journal_forked_says_so_and_when_it_agrees_again() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    main.publish(0, 1);
    main.publish(1, 5);
    carry_until(&mut main, &mut backup, "the values", |main, backup| main.last() == backup.last());
    let common = main.last();
    // The main writes on alone, and loses its lease.
    main.publish(0, 66);
    main.publish(1, 67);
    main.wait("its own records", |bench| bench.last() > common);
    let own = main.last();
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    backup.become_active(epoch(1, 2));
    backup.publish(0, 2);
    follow(&mut backup, &mut main, epoch(1, 2));
    let about_forks: Vec<_> = main
        .said
        .iter()
        .filter(|input| {
            matches!(input, Input::Diverged { .. } | Input::MergeDone { .. } | Input::Synced { .. })
        })
        .cloned()
        .collect();
    let set_aside = own.seq - common.seq;
    assert!(set_aside >= 1);
    let expected = [
        Input::Diverged { common },
        Input::MergeDone { set_aside },
        Input::Synced { lag_records: 0, config_matches: true },
    ];
    assert_eq!(about_forks, expected);
    assert_eq!((main.value(0), main.value(1)), (Value::I64(2), Value::I64(5)), "as on the active node");
    assert_eq!(main.engine.tracker.open().count(), 0, "a command of its own is none any more");
    let text = format!("{set_aside} records after {common} up to {own} were written on this node only");
    assert!(main.events().iter().any(|event| event.starts_with(&text)), "{:?}", main.events());
}

#[test]
fn a_replay_gives_all_to_the_history_and_the_newest_to_links_but_all_where_every_one_counts() {
    let (mut main, mut backup) = pair(&[hot(), Spec { standby: role::HOT, ..Spec::new("door") }]);
    // The main heard the second value of each and not the first; what follows it heard no more.
    main.publish(0, 2);
    main.publish(2, 2);
    backup.receive(0, 1);
    backup.receive(0, 2);
    backup.receive_edge(2, 1);
    backup.receive_edge(2, 2);
    carry_until(&mut main, &mut backup, "the values", |main, backup| {
        main.calls().len() >= 6 && main.last() == backup.last()
    });
    for value in [3, 4] {
        backup.receive(0, value);
        backup.receive_edge(2, value);
    }
    backup.receive_edge(2, 4);
    backup.forget_calls();
    backup.become_active(epoch(1, 2));
    backup.wait("the last output", |bench| {
        bench.calls().iter().filter(|call| call.ends_with("write 1=4")).count() >= 2
    });
    let values = |values: &[i64]| values.iter().map(|value| Value::I64(*value)).collect::<Vec<_>>();
    assert_eq!(backup.journaled(0), values(&[2, 1, 3, 4]), "all are in the history");
    assert_eq!(backup.journaled(2), values(&[2, 1, 3, 4, 4]));
    assert_eq!((backup.value(0), backup.value(2)), (Value::I64(4), Value::I64(4)));
    let driven = |id: &str| {
        let prefix = format!("{id} write 1=");
        backup
            .calls()
            .iter()
            .filter_map(|call| call.strip_prefix(&prefix)?.parse().ok())
            .collect::<Vec<i64>>()
    };
    assert_eq!(driven("mqtt"), [4], "an older value drives nothing");
    let doors = driven("door");
    assert!(!doors.contains(&1) && doors.last() == Some(&4), "no state is set back: {doors:?}");
}

/// A copy lives in memory. A standby that restarts behind it has a journal that goes on where the copy ended, and
/// fetches it again before it says that it is in sync.
#[test]
fn a_standby_that_restarts_behind_a_full_copy_fetches_it_again() {
    let specs = [Spec::new("plc"), Spec::new("door")];
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 1));
    main.publish(0, 7);
    main.wait("the value before the copy", |bench| bench.value(0) == Value::I64(7));
    let mut backup = Bench::new(1, &specs);
    follow(&mut main, &mut backup, epoch(0, 1));
    main.publish(2, 9);
    carry_until(&mut main, &mut backup, "the value after the copy", |main, backup| {
        main.value(2) == Value::I64(9) && main.last() == backup.last()
    });
    assert_eq!((backup.value(0), backup.value(2)), (Value::I64(7), Value::I64(9)));
    backup.wait("its disk", |bench| bench.engine.journal.durable() == bench.last());

    let mut backup = backup.restarted(&specs);
    assert_eq!((backup.value(0), backup.value(2)), (Value::Null, Value::I64(9)), "the copy was in memory");
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!((backup.value(0), backup.value(2)), (Value::I64(7), Value::I64(9)));
}

/// The connection is faster than the role machine: it joins after maintenance, and everything is here already.
#[test]
fn a_standby_that_has_everything_says_so_each_time_it_is_to_follow() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    backup.said.clear();
    backup.follow(main.rank, epoch(0, 1));
    carry_until(&mut main, &mut backup, "in sync again", |_, backup| {
        backup.said.contains(&Input::Synced { lag_records: 0, config_matches: true })
    });
}

/// What the lost main published last reaches the backup while that becomes active.
#[test]
fn a_stream_leaves_out_what_its_sink_shows_when_the_role_is_reached() {
    let spec =
        Spec { delivery: twinhub_config::Delivery::Stream, config: ",\"mute\":true,\"says\":\"F\"", ..hot() };
    let (mut main, mut backup) = pair(&[spec]);
    for value in [4, 5] {
        main.publish(0, value);
    }
    carry_until(&mut main, &mut backup, "the outputs", |main, backup| {
        main.calls().iter().filter(|call| call.contains("write")).count() == 2 && main.last() == backup.last()
    });
    backup.forget_calls();
    backup.become_active(epoch(1, 2));
    backup.publish(0, 6);
    let written = |bench: &Bench| -> Vec<String> {
        bench.calls().into_iter().filter(|call| call.contains("write")).collect()
    };
    backup.wait("the newer value", |bench| written(bench).contains(&"mqtt write 1=6".to_owned()));
    assert_eq!(written(&backup), ["mqtt write 1=6"], "the sink showed 5");
}

/// A polled count of 5 was published: that the successor reads 5 when it takes over is no news. A warm standby's sink shows
/// it nothing, so the journal has to say it.
#[test]
fn a_stream_without_a_mirror_leaves_out_what_is_read_anew_and_did_not_change() {
    let (mut main, mut backup) = pair(&[stream()]);
    main.publish(0, 5);
    carry_until(&mut main, &mut backup, "the output and what is known of it", is_output_known);
    backup.forget_calls();
    backup.become_active(epoch(1, 2));
    backup.publish(0, 5);
    backup.publish(0, 6);
    backup.wait("the newer value", |bench| written(bench).contains(&"plc write 1=6".to_owned()));
    assert_eq!(written(&backup), ["plc write 1=6"]);
    // Later on, an equal value is one that came back.
    backup.publish(0, 5);
    backup.wait("what came back", |bench| written(bench).contains(&"plc write 1=5".to_owned()));
}

/// The sink never said that it had the 5: it is given where it stood first, and not once more where it was read anew.
#[test]
fn a_stream_gives_what_is_in_doubt_once() {
    let mut main = Bench::new(0, &[Spec { config: ",\"mute\":true", ..stream() }]);
    main.become_active(epoch(0, 1));
    main.publish(0, 5);
    main.wait("the output", |bench| written(bench) == ["plc write 1=5"]);
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    main.forget_calls();
    main.become_active(epoch(0, 2));
    main.publish(0, 5);
    main.publish(0, 6);
    main.wait("the newer value", |bench| written(bench).contains(&"plc write 1=6".to_owned()));
    assert_eq!(written(&main), ["plc write 1=5", "plc write 1=6"]);
}

/// What acted before this process may have had other links: a topic that is new gets what its item shows.
#[test]
fn a_new_process_streams_what_it_reads_first() {
    let mut bench = Bench::new(0, &[stream()]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    bench.wait("the output and what is known of it", |bench| {
        has_cursor(bench) && bench.engine.journal.durable() == bench.last()
    });
    let mut bench = bench.restarted(&[stream()]);
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    bench.publish(0, 5);
    bench.wait("the output", |bench| written(bench) == ["plc write 1=5"]);
}

#[test]
fn a_stream_carries_what_is_read_anew_and_is_new_or_counts_each_time() {
    for (value, flags) in [(6, SampleFlags::default()), (5, SampleFlags::EVENT)] {
        let (mut main, mut backup) = pair(&[stream()]);
        main.publish(0, 5);
        carry_until(&mut main, &mut backup, "the output and what is known of it", is_output_known);
        backup.forget_calls();
        backup.become_active(epoch(1, 2));
        backup.publish_flagged(0, value, flags);
        let written = format!("plc write 1={value}");
        backup.wait("the value", |bench| bench.calls().contains(&written));
    }
}

/// A polled device whose values go into a stream.
fn stream() -> Spec {
    Spec { delivery: twinhub_config::Delivery::Stream, ..Spec::new("plc") }
}

fn written(bench: &Bench) -> Vec<String> {
    bench.calls().into_iter().filter(|call| call.contains("write")).collect()
}

fn is_output_known(main: &Bench, backup: &Bench) -> bool {
    has_cursor(backup) && main.last() == backup.last()
}

/// Whether the journal says that a stream has what was published.
fn has_cursor(bench: &Bench) -> bool {
    let entries = bench.entries();
    let value = entries.iter().rev().find(|(_, record)| matches!(record, Record::Samples(_)));
    value.is_some_and(|(at, _)| {
        let covers =
            |record: &Record| matches!(record, Record::Delivered(delivered) if delivered.through >= *at);
        entries.iter().any(|(_, record)| covers(record))
    })
}
