//! Streams over revisions of the configuration, takeovers and versions: where they go on, and where they begin.

use std::ops::RangeInclusive;
use std::sync::Arc;

use twinhub_config::{AckAfter, Delivery};
use twinhub_contract::{code, role};
use twinhub_model::{Delivered, ItemId, NamedStream, Part, Position, Record};
use twinhub_store::{Journal, JournalOptions};

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};
use crate::clock;
use crate::engine::routes::{Route, Routes};
use crate::engine::streams::cursors::{ABSENT_KEPT, ABSENT_MAX};
use crate::inbox::{Job, STREAM_BIT, Written};

fn stream(id: &'static str) -> Spec {
    Spec { delivery: Delivery::Stream, standby: role::COLD, resyncs: false, ..Spec::new(id) }
}

/// It never says that it has what is written.
fn mute(id: &'static str) -> Spec {
    Spec { config: ",\"mute\":true", ..stream(id) }
}

/// The same items on the same site before they drive a stream.
fn command(id: &'static str) -> Spec {
    Spec { delivery: Delivery::Command, ..stream(id) }
}

fn written(bench: &Bench) -> Vec<String> {
    bench.calls().into_iter().filter(|call| call.contains(" write ")).collect()
}

fn await_written(bench: &mut Bench, last: &str) {
    bench.wait(last, |bench| written(bench).iter().any(|call| call == last));
}

/// What the plugin of the first interface says of a batch.
fn answer(bench: &mut Bench, batch: u64, code: i32, count: u32) {
    let id = STREAM_BIT | batch << 16;
    bench.job(Job::Written { results: [Written { id, code, count }].into() });
}

/// The cursor of a stream as the journal says it last.
fn cursor(bench: &Bench, interface: &str) -> Option<(Position, bool)> {
    let named = bench.records().into_iter().filter_map(|record| match record {
        Record::Delivered(Delivered { through, stream: Some(stream), .. })
            if *stream.interface == *interface =>
        {
            Some((through, stream.wants_picture))
        }
        Record::Delivered(_)
        | Record::Dictionary(_)
        | Record::Samples(_)
        | Record::Intent(_)
        | Record::Result(_)
        | Record::Event(_)
        | Record::Part(_)
        | Record::Merged(_)
        | Record::Role(_) => None,
    });
    named.last()
}

/// Waits until the journal says that a stream has what stands at a place, and that is on disk.
fn await_cursor(bench: &mut Bench, interface: &str, at: Position) {
    bench.wait("the cursor", |bench| {
        cursor(bench, interface).is_some_and(|(through, _)| through >= at)
            && bench.engine.journal.durable() == bench.last()
    });
}

/// Where the value stands that was published last.
fn last_value(bench: &Bench) -> Position {
    let entries = bench.entries();
    let is_value = |(_, record): &&(Position, Record)| matches!(record, Record::Samples(_));
    entries.iter().rev().find(is_value).expect("a value").0
}

/// Its sink has not confirmed the 5, another one has the 7. A revision puts an interface before both.
#[test]
fn a_stream_keeps_its_cursor_when_a_revision_moves_its_interface() {
    let mut bench = Bench::new(0, &[mute("mqtt"), stream("log")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    bench.publish(2, 7);
    let at = last_value(&bench);
    await_cursor(&mut bench, "log", at);
    let mut bench = bench.restarted(&[stream("new"), stream("mqtt"), stream("log")]);
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    bench.publish(0, 1);
    bench.publish(2, 6);
    bench.publish(4, 8);
    for last in ["new write 1=1", "mqtt write 1=6", "log write 1=8"] {
        await_written(&mut bench, last);
    }
    let mut written = written(&bench);
    written.sort();
    assert_eq!(written, ["log write 1=8", "mqtt write 1=5", "mqtt write 1=6", "new write 1=1"]);
}

#[test]
fn a_new_site_streams_every_value_from_the_first_one() {
    let (ack_after, config) = (AckAfter::Local, ",\"acknowledges\":true");
    let keeping = Spec { standby: role::HOT, ack_after, config, ..stream("mqtt") };
    let mut bench = Bench::new(0, &[keeping]);
    // Heard before anybody acted.
    bench.receive(0, 4);
    bench.become_active(epoch(0, 1));
    for value in 5..=7 {
        bench.publish(0, value);
    }
    await_written(&mut bench, "mqtt write 1=7");
    assert_eq!(written(&bench), [4, 5, 6, 7].map(|value| format!("mqtt write 1={value}")));
}

#[test]
fn a_stream_that_is_new_on_a_running_site_gets_a_picture_and_then_what_comes() {
    let mut bench = old_site(&[stream("mqtt")]);
    bench.become_active(epoch(0, 2));
    bench.publish(0, 7);
    await_written(&mut bench, "mqtt write 1=7");
    assert_eq!(written(&bench), ["mqtt write 1=6 snapshot", "mqtt write 1=7"]);
    let at = last_value(&bench);
    await_cursor(&mut bench, "mqtt", at);
    assert_eq!(cursor(&bench, "mqtt").map(|(_, wants_picture)| wants_picture), Some(false));
    // It has begun.
    let mut bench = bench.restarted(&[stream("mqtt")]);
    bench.forget_calls();
    bench.become_active(epoch(0, 3));
    bench.publish(0, 8);
    await_written(&mut bench, "mqtt write 1=8");
    assert_eq!(written(&bench), ["mqtt write 1=8"]);
}

#[test]
fn a_stream_under_another_name_is_a_new_one() {
    let mut bench = Bench::new(0, &[stream("mqtt")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    let at = last_value(&bench);
    await_cursor(&mut bench, "mqtt", at);
    let mut bench = bench.restarted(&[stream("broker")]);
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    bench.publish(0, 6);
    await_written(&mut bench, "broker write 1=6");
    assert_eq!(written(&bench), ["broker write 1=6"], "nothing of it has had a value");
    assert!(cursor(&bench, "broker") > cursor(&bench, "mqtt"));
}

/// The sink has answered nothing when the other node takes over: what came since goes on, and the picture shows the rest.
#[test]
fn a_successor_gives_what_came_since_a_stream_began_and_the_rest_of_the_picture() {
    for news in [None, Some(7)] {
        let (main, backup) = old_pair();
        let mut main = main.restarted(&[mute("mqtt")]);
        let mut backup = backup.restarted(&[stream("mqtt")]);
        main.become_active(epoch(0, 2));
        await_written(&mut main, "mqtt write 1=6 snapshot");
        follow(&mut main, &mut backup, epoch(0, 2));
        if let Some(news) = news {
            main.publish(0, news);
            carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
        }
        backup.forget_calls();
        backup.become_active(epoch(1, 3));
        let expected =
            news.map_or("mqtt write 1=6 snapshot".to_owned(), |news| format!("mqtt write 1={news}"));
        await_written(&mut backup, &expected);
        backup.publish(0, 9);
        await_written(&mut backup, "mqtt write 1=9");
        assert_eq!(written(&backup), [expected.as_str(), "mqtt write 1=9"]);
    }
}

/// A node that gets a full copy has no records of it.
#[test]
fn a_node_that_started_from_a_copy_knows_where_streams_are() {
    let mut main = old_site(&[mute("mqtt")]);
    main.become_active(epoch(0, 2));
    await_written(&mut main, "mqtt write 1=6 snapshot");
    let mut backup = Bench::new(1, &[stream("mqtt")]);
    backup.engine.replication.lacks_copy = true;
    follow(&mut main, &mut backup, epoch(0, 2));
    backup.forget_calls();
    backup.become_active(epoch(1, 3));
    backup.publish(0, 9);
    await_written(&mut backup, "mqtt write 1=9");
    assert_eq!(written(&backup), ["mqtt write 1=6 snapshot", "mqtt write 1=9"]);
}

#[test]
fn a_picture_that_the_sink_refuses_is_given_again_before_what_comes() {
    let mut bench = old_site(&[mute("mqtt")]);
    bench.become_active(epoch(0, 2));
    await_written(&mut bench, "mqtt write 1=6 snapshot");
    bench.publish(0, 7);
    await_written(&mut bench, "mqtt write 1=7");
    bench.forget_calls();
    answer(&mut bench, 0, code::AGAIN, 1);
    await_written(&mut bench, "mqtt write 1=7");
    assert_eq!(written(&bench), ["mqtt write 1=6 snapshot", "mqtt write 1=7"]);
}

/// The second of three parts is refused: that one and the third are given again, and then it is over.
#[test]
fn a_large_picture_is_given_in_parts() {
    let mut bench = old_site(&[mute("mqtt")]);
    let way = Arc::clone(&bench.engine.routes.get(0).way);
    let route = |to| Route::new(ItemId(0), ItemId(to), Arc::clone(&way));
    bench.engine.routes = Routes::new(bench.engine.table.len(), (1..=10_000).map(route).collect());
    bench.become_active(epoch(0, 2));
    await_written(&mut bench, "mqtt write 10000=6 snapshot");
    let picture = |items: RangeInclusive<u32>| -> Vec<String> {
        items.map(|item| format!("mqtt write {item}=6 snapshot")).collect()
    };
    assert_eq!(written(&bench), picture(1..=10_000));
    bench.forget_calls();
    answer(&mut bench, 1, code::AGAIN, 1);
    await_written(&mut bench, "mqtt write 10000=6 snapshot");
    assert_eq!(written(&bench), picture(4_097..=10_000));
    let is_wanted = |bench: &Bench| cursor(bench, "mqtt").is_some_and(|(_, wants_picture)| wants_picture);
    for (batch, count) in [(0, 4_096), (3, 4_096), (4, 1_808)] {
        assert!(is_wanted(&bench));
        answer(&mut bench, batch, code::OK, count);
    }
    bench.wait("the end of the picture", |bench| !is_wanted(bench));
}

#[test]
fn a_picture_leaves_out_what_the_sink_shows() {
    let hot = |id| Spec { standby: role::HOT, ..command(id) };
    let mut bench = Bench::new(0, &[hot("mqtt")]);
    run_for_a_while(&mut bench);
    let shows = Spec { config: ",\"says\":\"G\"", delivery: Delivery::Stream, ..hot("mqtt") };
    let mut bench = bench.restarted(&[shows]);
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    bench.publish(0, 7);
    await_written(&mut bench, "mqtt write 1=7");
    assert_eq!(written(&bench), ["mqtt write 1=7"], "the sink showed 6");
}

/// The journal of a node of a version that knows streams by their number: 5 was delivered, 6 was not.
#[test]
fn a_stream_goes_on_at_the_cursor_of_a_version_that_knows_no_names() {
    let mut bench = Bench::new(0, &[command("mqtt")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    let through = last_value(&bench);
    bench.engine.append(&Record::Delivered(Delivered::by_number(0, through))).unwrap();
    bench.publish(0, 6);
    let at = last_value(&bench);
    bench.wait("the disk", |bench| bench.engine.journal.durable() >= at);
    let mut bench = bench.restarted(&[stream("mqtt")]);
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    await_written(&mut bench, "mqtt write 1=6");
    await_cursor(&mut bench, "mqtt", at);
    // From now on the place does not matter.
    let mut bench = bench.restarted(&[stream("new"), stream("mqtt")]);
    bench.become_active(epoch(0, 3));
    bench.publish(2, 7);
    await_written(&mut bench, "mqtt write 1=7");
    assert_eq!(written(&bench), ["mqtt write 1=6", "mqtt write 1=7"]);
}

/// A node of that version reads the number beside the name, and what it says counts here.
#[test]
fn a_stream_goes_on_behind_a_node_that_knows_no_names() {
    let mut bench = Bench::new(0, &[mute("mqtt")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    let through = last_value(&bench);
    let is_named =
        |record: &Record| matches!(record, Record::Delivered(Delivered { consumer: 0, stream: Some(_), .. }));
    assert!(bench.records().iter().any(is_named));
    bench.engine.append(&Record::Delivered(Delivered::by_number(0, through))).unwrap();
    bench.forget_calls();
    bench.lose(epoch(0, 1));
    bench.become_active(epoch(0, 2));
    bench.publish(0, 6);
    await_written(&mut bench, "mqtt write 1=6");
    assert_eq!(written(&bench), ["mqtt write 1=6"]);
}

#[test]
fn the_cursor_of_an_interface_that_is_not_configured_is_kept_for_a_while_and_forgotten() {
    let mut bench = Bench::new(0, &[stream("mqtt"), stream("log")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    let at = last_value(&bench);
    await_cursor(&mut bench, "mqtt", at);
    let mut bench = bench.restarted(&[stream("log")]);
    bench.become_active(epoch(0, 2));
    bench.engine.append(&Record::Delivered(Delivered::by_number(7, at))).unwrap();
    let known = |bench: &Bench| bench.engine.tracker.stream("mqtt", 9).map(|cursor| cursor.through);
    assert!(known(&bench) >= Some(at), "a revision may be taken back");
    bench.engine.journal_cursors(clock::now() + ABSENT_KEPT, false);
    assert_eq!(known(&bench), None);
    assert!(bench.engine.tracker.stream("log", 9).is_some());
    assert!(bench.engine.tracker.nameless(9).is_empty());
    bench.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let bench = bench.restarted(&[stream("log")]);
    assert_eq!(known(&bench), None, "as the journal says");
}

#[test]
fn no_more_than_so_many_cursors_of_interfaces_that_are_not_configured_are_kept() {
    let mut bench = Bench::new(0, &[stream("mqtt")]);
    bench.become_active(epoch(0, 1));
    for number in 0..=ABSENT_MAX {
        let stream = Some(NamedStream { interface: format!("old{number}").into(), wants_picture: false });
        let through = bench.last();
        let delivered = Delivered { consumer: Delivered::NOBODY, through, stream };
        bench.engine.append(&Record::Delivered(delivered)).unwrap();
    }
    bench.lose(epoch(0, 1));
    bench.become_active(epoch(0, 2));
    let is_kept = |interface| bench.engine.tracker.stream(interface, 9).is_some();
    assert!(!is_kept("old0") && is_kept("old1") && is_kept("mqtt"));
    assert_eq!(bench.engine.tracker.other_streams(|interface| interface == "mqtt").len(), ABSENT_MAX);
}

/// A stream to which nothing comes for long: the node that starts later finds where it is.
#[test]
fn a_cursor_that_is_deleted_with_old_records_is_journaled_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(0, &[stream("mqtt"), command("plc")]);
    let (segment_bytes, retain_bytes, tail_bytes) = (4096, 8192, 1024);
    let options = JournalOptions::new(dir.path());
    let small = JournalOptions { segment_bytes, retain_bytes, tail_bytes, ..options };
    let dictionary = bench.engine.table.dictionary().into();
    bench.engine.journal = Journal::open(small, dictionary).unwrap().0;
    bench.become_active(epoch(0, 1));
    let begun = bench.last();
    bench.wait("all is read", |bench| cursor(bench, "mqtt").is_some_and(|(through, _)| through >= begun));
    let noted = bench.last();
    for value in 0.. {
        if bench.engine.journal.first() > noted {
            break;
        }
        bench.publish(2, value);
    }
    bench.wait("the cursor", |bench| cursor(bench, "mqtt").is_some());
}

/// More of what is no value than is read at once stands between two values.
#[test]
fn a_stream_that_is_behind_reads_past_what_is_no_value() {
    let mut bench = Bench::new(0, &[mute("mqtt")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    for letter in ["a", "b", "c"] {
        bench.engine.append_part(Part(999), letter.repeat(200_000).as_bytes()).unwrap();
    }
    bench.publish(0, 6);
    bench.lose(epoch(0, 1));
    bench.forget_calls();
    bench.become_active(epoch(0, 2));
    await_written(&mut bench, "mqtt write 1=6");
    assert_eq!(written(&bench), ["mqtt write 1=5", "mqtt write 1=6"]);
}

/// Its first item had 5 and then 6 while no stream took it.
fn run_for_a_while(bench: &mut Bench) {
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    bench.publish(0, 6);
    await_written(bench, "mqtt write 1=6");
    let at = last_value(bench);
    bench.wait("the disk", |bench| bench.engine.journal.durable() >= at);
}

/// A node that ran for a while, with another configuration.
fn old_site(specs: &[Spec]) -> Bench {
    let mut bench = Bench::new(0, &[command("mqtt")]);
    run_for_a_while(&mut bench);
    let mut bench = bench.restarted(specs);
    bench.forget_calls();
    bench
}

/// The same with a backup.
fn old_pair() -> (Bench, Bench) {
    let (mut main, mut backup) = pair(&[command("mqtt")]);
    main.publish(0, 5);
    main.publish(0, 6);
    await_written(&mut main, "mqtt write 1=6");
    carry_until(&mut main, &mut backup, "all of it on disk", |main, backup| {
        main.last() == backup.last() && backup.engine.journal.durable() == backup.last()
    });
    main.forget_calls();
    backup.forget_calls();
    (main, backup)
}
