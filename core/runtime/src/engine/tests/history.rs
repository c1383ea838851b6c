//! What the history is told of a journal that lacks something.

use std::sync::mpsc::sync_channel;

use twinhub_model::Position;

use crate::history::{JournalAsk, JournalPart, PartEnd};
use crate::inbox::Job;

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};
use super::merging::{heal, isolated, reports};

#[test]
fn what_took_the_place_of_records_that_were_set_aside_is_read_from_where_both_part() {
    let specs = [Spec::new("plc")];
    let (mut main, mut backup) = pair(&specs);
    main.publish(0, 1);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    let common = main.last();
    // Both act without the other.
    main.publish(0, 2);
    let followed = main.last();
    assert!(followed > common);
    backup.become_active(epoch(1, 2));
    backup.publish(0, 3);
    backup.publish(0, 4);
    main.lose(epoch(0, 1));
    follow(&mut backup, &mut main, epoch(1, 2));
    backup.publish(0, 5);
    carry_until(&mut backup, &mut main, "the newest value", |backup, main| backup.last() == main.last());

    let part = ask(&mut main, followed, 0);
    assert_eq!((part.end, part.entries.len()), (PartEnd::SetAside { common }, 0));
    let behind = ask(&mut main, common, 0);
    let theirs = ask(&mut backup, common, 0);
    assert_eq!(behind.end, PartEnd::CaughtUp);
    assert_eq!(behind.entries, theirs.entries, "the journal goes on without a gap");
    assert_eq!(behind.entries.last().map(|entry| entry.position), Some(main.last()));
}

#[test]
fn records_whose_dictionary_is_damaged_are_missing_and_not_left_out() {
    let mut main = Bench::new(0, &[Spec::new("plc")]);
    main.become_active(epoch(0, 1));
    main.publish(0, 1);
    let whole = ask(&mut main, Position::START, 0);
    assert!(whole.keys.is_some() && !whole.entries.is_empty());
    lose_dictionaries(&main);
    let part = ask(&mut main, Position::START, 0);
    assert_eq!(part.entries, []);
    let end = PartEnd::Missing { after: Position::START, resume: whole.entries.last().unwrap().position };
    assert_eq!(part.end, end);
    // Who knows the dictionary needs no file.
    assert_eq!(ask(&mut main, Position::START, whole.dictionary).entries, whole.entries);
}

/// The values of the other side keep their places, which are before those of the records that brought them here.
#[test]
fn what_was_taken_in_after_a_split_is_missing_from_where_both_sides_part() {
    let mut nodes = isolated(2);
    heal(&mut nodes);
    let main = &mut nodes[0];
    let report = reports(main).remove(0);
    let ended = report.ended_at.unwrap();
    assert!(report.id.common < report.kept && report.kept < ended, "{report:?}");
    main.publish(0, 77);
    let resume = ask(main, ended, 0).entries.last().unwrap().position;
    lose_dictionaries(main);
    // Before it, in the middle of it, and behind it.
    let middle = Position::new(ended.epoch, ended.seq - 1);
    for (place, after) in [(report.kept, report.id.common), (middle, report.id.common), (ended, ended)] {
        assert_eq!(ask(main, place, 0).end, PartEnd::Missing { after, resume }, "{place}");
    }
}

fn lose_dictionaries(bench: &Bench) {
    let dir = bench.engine.journal.dir().to_owned();
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|end| end == "dictionary")) {
        std::fs::write(file, b"no dictionary").unwrap();
    }
}

fn ask(bench: &mut Bench, after: Position, dictionary: u64) -> JournalPart {
    let (reply, answer) = sync_channel(1);
    bench.job(Job::Journal(JournalAsk { after, sealed: Position::START, dictionary, reply }));
    answer.try_recv().unwrap()
}
