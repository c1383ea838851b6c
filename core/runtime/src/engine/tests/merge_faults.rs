//! What cannot be read of records that were set aside, and nodes that do not give what they offer.

use std::fs;
use std::path::PathBuf;

use twinhub_documents::{Action, Kind};
use twinhub_events::{Filter, Following};
use twinhub_model::{
    Delivered, Epoch, ItemId, NodeRank, Part, PartRecord, Position, Quality, Record, Sample, SampleFlags,
    Severity, Value,
};
use twinhub_redundancy::Input;
use twinhub_replica::{EntryBatch, MergeEntry, MergeId, Message, Page};
use twinhub_store::{StateFile, StoredState};

use super::bench::{Bench, Spec, carry, carry_until, epoch, follow, pair};
use super::merging::{Rows, change, heal, is_merged, isolated, put, reports, rows};
use crate::bundle::Bundle;
use crate::clock;
use crate::engine::merging::MergeState;
use crate::inbox::Job;

/// Who began to take records in, by the node that wrote them.
fn begins(bench: &Bench) -> Vec<String> {
    let node = |record| {
        let Record::Part(PartRecord { part: Part::MERGES, body }) = record else { return None };
        let MergeEntry::Begin(report) = MergeEntry::decode(&body).unwrap() else { return None };
        Some(report.id.node)
    };
    bench.records().into_iter().filter_map(node).collect()
}

fn failures(bench: &Bench) -> usize {
    bench.events().iter().filter(|text| text.contains("cannot be read there")).count()
}

fn step_down(bench: &mut Bench) {
    let epoch = bench.engine.acting_epoch().unwrap();
    bench.lose(epoch);
    bench.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    bench.said.clear();
}

/// Files that a node set aside.
fn files_of(bench: &Bench) -> Vec<PathBuf> {
    let (asides, damaged) = bench.engine.journal.asides().unwrap();
    assert_eq!(damaged, []);
    asides.iter().flat_map(|aside| aside.files().map(ToOwned::to_owned)).collect()
}

/// Three nodes that were each active alone; the main set its records aside and acts again.
fn main_with_records_of_its_own(damage: impl Fn(&Bench)) -> (Bench, Bench, Rows) {
    let mut nodes = isolated(3);
    let mut union = Rows::new();
    for node in &mut nodes {
        union.extend(rows(node));
        step_down(node);
    }
    let (mut spare, mut backup, mut main) =
        (nodes.pop().unwrap(), nodes.pop().unwrap(), nodes.pop().unwrap());
    backup.become_active(epoch(1, 4));
    follow(&mut backup, &mut main, epoch(1, 4));
    main.disconnect(backup.rank);
    damage(&main);
    main.become_active(epoch(0, 5));
    spare.forget_calls();
    (main, spare, union)
}

#[test]
fn own_records_that_cannot_be_read_hold_nobody_up_and_are_taken_in_when_they_can() {
    // A file that gives an error when it is read.
    let break_file = |main: &Bench| {
        for path in files_of(main) {
            fs::rename(&path, path.with_extension("away")).unwrap();
            fs::create_dir(&path).unwrap();
        }
    };
    let (mut main, mut spare, union) = main_with_records_of_its_own(break_file);
    main.wait("it says so", |bench| failures(bench) == 1);
    follow(&mut main, &mut spare, epoch(0, 5));
    carry_until(&mut main, &mut spare, "the other one's are taken in", |main, _| is_merged(main, "spare"));
    for _ in 0..200 {
        main.turn();
    }
    assert_eq!((begins(&main), failures(&main)), (vec!["spare".to_owned()], 1), "no try is journaled");

    let away = main.engine.journal.dir().to_owned();
    for entry in fs::read_dir(away).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "away") {
            let place = path.with_extension("journal");
            fs::remove_dir(&place).unwrap();
            fs::rename(&path, &place).unwrap();
        }
    }
    main.wait("its own are taken in", |bench| is_merged(bench, "main"));
    assert_eq!((rows(&main), failures(&main)), (union, 1));
}

#[test]
fn own_records_that_an_operator_removed_are_let_go() {
    let remove = |main: &Bench| files_of(main).iter().for_each(|path| fs::remove_file(path).unwrap());
    let (mut main, mut spare, _) = main_with_records_of_its_own(remove);
    follow(&mut main, &mut spare, epoch(0, 5));
    carry_until(&mut main, &mut spare, "the other one's are taken in", |main, _| is_merged(main, "spare"));
    assert_eq!((begins(&main), failures(&main)), (vec!["spare".to_owned()], 1));
    assert_eq!(main.engine.merge_due(), None);
}

/// A node that offers what nobody can give holds nobody up, however often it does.
#[test]
fn who_offers_and_does_not_give_is_left_behind() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    carry_until(&mut main, &mut backup, "in sync", |main, backup| main.last() == backup.last());
    let common = Position::new(Epoch(77), 3);
    let id = MergeId { node: "backup".into(), common };
    for tries in 1..=3 {
        let mut asked = 0;
        main.wait("it asks once more", |main| {
            let files = vec!["x".repeat(10_000); 5];
            let offer = Message::Offer { stream: 0, common, bytes: u64::MAX, files };
            main.job(Job::Peer { peer: backup.rank, message: offer });
            let sent = main.sent();
            asked += sent.iter().filter(|message| matches!(message, Message::Take { .. })).count();
            for message in sent {
                backup.job(Job::Peer { peer: main.rank, message });
            }
            asked > 0
        });
        assert_eq!(asked, 1);
        carry_until(&mut main, &mut backup, "it gives up", |main, _| !main.engine.is_merging());
        assert_eq!((failures(&main), begins(&main)), (1, Vec::<String>::new()), "after {tries} tries");
    }
    assert!(reports(&main).iter().all(|report| report.id != id), "there is nothing to report");
    // Records that nobody asked for change nothing.
    for _ in 0..5 {
        carry(&mut main, &mut backup);
    }
    let before = main.last();
    let batch = EntryBatch::new();
    let page = Page { is_complete: true, ..Default::default() };
    let message = Message::Given { stream: 1, dictionary: 0, page, batch };
    main.job(Job::Peer { peer: backup.rank, message });
    assert_eq!(main.last(), before);
}

/// An engine that is asked to come back at once for as long as it must wait would do nothing else.
#[test]
fn a_merge_that_waits_for_a_follower_or_the_disk_does_not_keep_the_engine_busy() {
    let (mut main, mut backup) = pair(&[Spec::new("plc")]);
    carry_until(&mut main, &mut backup, "in sync", |main, backup| main.last() == backup.last());
    let publish = |main: &mut Bench| {
        let now = clock::utc();
        let value = Value::Str("x".repeat(100_000).into());
        let (quality, flags) = (Quality::GOOD, SampleFlags::default());
        let sample = Sample { item: ItemId(1), value, quality, source: now, server: now, flags };
        main.job(Job::Published { samples: Bundle::from_iter([sample]), from: None });
    };
    main.wait("more is under way than a merge waits for", |main| {
        publish(main);
        main.engine.replication.in_flight_bytes() > 1024 * 1024
    });
    let common = Position::new(Epoch(77), 3);
    let offer = Message::Offer { stream: 0, common, bytes: 1, files: Vec::new() };
    main.job(Job::Peer { peer: backup.rank, message: offer });
    assert!(main.engine.is_merging());
    assert_eq!(main.engine.merge_due(), None, "the follower's word wakes it");
    carry_until(&mut main, &mut backup, "it asks", |main, _| main.engine.merge_due().is_some());
    main.engine.journal_ok = false;
    assert_eq!(main.engine.merge_due(), None, "the journal wakes it");
}

/// Nobody else knows what was revoked there: an operator must hear of it.
#[test]
fn what_documents_kept_and_cannot_be_read_is_in_the_report_and_makes_it_a_warning() {
    let specs = [Spec { has_documents: true, ..Spec::new("plc") }];
    let (mut main, mut backup) = pair(&specs);
    change(&mut main, put("bob", 1));
    carry_until(&mut main, &mut backup, "the users", |main, backup| main.last() == backup.last());
    change(&mut main, Action::Remove { kind: Kind::User, name: "bob".into() });
    step_down(&mut main);
    backup.become_active(epoch(1, 2));
    follow(&mut backup, &mut main, epoch(1, 2));
    backup.disconnect(main.rank);
    main.disconnect(backup.rank);
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "documents");
    let paths = fs::read_dir(main.engine.merging.dir()).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<PathBuf> = paths.filter(is_kept).collect();
    assert_eq!(kept.len(), 1);
    fs::write(&kept[0], b"not what was written").unwrap();

    follow(&mut backup, &mut main, epoch(1, 2));
    carry_until(&mut backup, &mut main, "it is taken in", |backup, main| {
        is_merged(backup, "main") && backup.last() == main.last()
    });
    let report = &reports(&main)[0];
    assert_eq!((report.counts.damaged, report.counts.documents), (1, 0), "{report:?}");
    let name = kept[0].file_name().unwrap().to_str().unwrap();
    assert!(report.lines.iter().any(|line| line.contains(name)), "{report:?}");
    let filter = Filter { code: "TH-MERGE-002".into(), ..Filter::default() };
    let told =
        backup.engine.shared.events.following(&Following { limit: 10, ..Following::default() }, &filter);
    let severities: Vec<Severity> = told.rows.iter().map(|row| row.entry.event.severity).collect();
    assert_eq!(severities, [Severity::Warning]);
}

/// The active node asks for one piece after the other; the whole is not read anew for each of them.
#[test]
fn what_documents_kept_is_read_once_for_all_pieces() {
    let mut bench = Bench::new(0, &[Spec::new("plc")]);
    let (common, dir) = (Position::new(epoch(0, 3), 9), bench.engine.merging.dir().to_owned());
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("fork-3.0-9.documents");
    let pieces: Vec<Vec<u8>> = (1..=3).map(|number| vec![number; 5]).collect();
    StateFile::new(&path).store(&StoredState { at: common, pieces: pieces.clone() }).unwrap();
    let mut give = |number| bench.engine.give_piece(common, Part::DOCUMENTS, number);
    assert_eq!(give(0), (3, pieces[0].clone()));
    fs::remove_file(&path).unwrap();
    assert_eq!((give(1), give(2)), ((3, pieces[1].clone()), (3, pieces[2].clone())));
    assert_eq!(give(0), (0, Vec::new()), "it is not kept in memory behind the last one");
}

/// The disk is slower than what comes: of a page the journal takes only a part, and the rest comes again.
#[test]
fn what_is_left_on_purpose_is_counted_once_though_the_journal_refuses_the_rest_of_its_page() {
    // The other node has a connection, and follows nobody.
    let backup = NodeRank(1);
    let mut main = Bench::new(0, &[Spec::new("plc")]);
    main.become_active(epoch(0, 1));
    main.connect(backup);
    let now = clock::utc();
    let (quality, flags) = (Quality::GOOD, SampleFlags::default());
    let value = Value::Str("x".repeat(900_000).into());
    let sample = Sample { item: ItemId(0), value, quality, source: now, server: now, flags };
    let record = |number: u64| {
        if number.is_multiple_of(2) {
            Record::Delivered(Delivered::by_number(0, Position::START))
        } else {
            Record::Samples([sample.clone()].into())
        }
    };
    let common = Position::new(epoch(1, 0), 7);
    let offer = Message::Offer { stream: 0, common, bytes: 1, files: Vec::new() };
    main.job(Job::Peer { peer: backup, message: offer });
    let mut refused = 0;
    main.wait("it is taken in", |main| {
        let asked = main.sent().into_iter().find_map(|message| {
            let Message::Take { stream, after, .. } = message else { return None };
            Some((stream, after))
        });
        if let Some((stream, after)) = asked {
            let mut batch = EntryBatch::new();
            for number in after.seq + 1..=47 {
                let mut body = Vec::new();
                twinhub_wire::record::encode(&record(number), &mut body);
                batch.push(Position::new(common.epoch, number), &body);
            }
            let page = Page { is_complete: true, ..Page::default() };
            let dictionary = main.engine.own_dictionary;
            let message = Message::Given { stream, dictionary, page, batch };
            main.job(Job::Peer { peer: backup, message });
            refused += u32::from(!is_merged(main, "backup"));
        }
        is_merged(main, "backup")
    });
    assert!(refused > 0);
    let counts = reports(&main)[0].counts;
    assert_eq!((counts.values, counts.left, counts.known), (20, 20, 0));
}

/// People find the files for a month; what is not on all nodes yet is kept for as long as that takes.
#[test]
fn what_came_to_all_nodes_long_ago_is_deleted() {
    const DAY_NS: i64 = 86_400_000_000_000;
    let mut nodes = isolated(2);
    heal(&mut nodes);
    let mut backup = nodes.pop().unwrap();
    let look = |bench: &mut Bench| {
        bench.engine.merging.look_for_old();
        bench.turn();
    };
    look(&mut backup);
    assert_eq!(files_of(&backup).len(), 1, "it is young");
    let report = reports(&backup).remove(0);
    let ended = |bench: &mut Bench, days: i64| {
        let merges = bench.engine.parts.get_mut::<MergeState>().unwrap().merges_mut();
        merges.apply(MergeEntry::Begin(report.clone()));
        merges.apply(MergeEntry::End { time: clock::utc().0 - days * DAY_NS });
    };
    ended(&mut backup, 29);
    look(&mut backup);
    assert_eq!(files_of(&backup).len(), 1);
    ended(&mut backup, 31);
    look(&mut backup);
    assert!(files_of(&backup).is_empty());
    backup.wait("it says so", |bench| bench.events().iter().any(|text| text.contains("keep_aside")));
    assert_eq!(reports(&backup).len(), 1, "the report stays");
}
