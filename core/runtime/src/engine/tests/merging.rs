//! What each side of a split wrote alone comes to all of them, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use twinhub_documents::{Action, Body, Change, Entry, Kind, PasswordHash, Role, User};
use twinhub_history::{Row as HistoryRow, Store, StoreOptions};
use twinhub_model::{Delivered, ItemId, Outcome, Part, Position, Record, Value};
use twinhub_redundancy::Input;
use twinhub_replica::Report;

use crate::engine::merging::MergeState;
use crate::engine::merging::twins::place_of;
use crate::history::lines::Lines;
use crate::history::twins::find_twins;
use crate::history::{Twins, TwinsAsk, Word};
use crate::inbox::Job;

use super::bench::{Bench, PATIENCE, Spec, carry, carry_until, epoch, follow, hot, pair};

/// Values by where they stood first, the same on every node that has them all.
pub(super) type Rows = BTreeSet<(Position, u32, String)>;

pub(super) fn rows(bench: &Bench) -> Rows {
    let mut rows = Rows::new();
    for (at, record) in bench.entries() {
        let (origin, record) =
            if let Record::Merged(merged) = record { (merged.origin, *merged.record) } else { (at, record) };
        if let Record::Samples(samples) = record {
            for sample in samples.iter() {
                let is_new = rows.insert((origin, sample.item.0, sample.value.to_string()));
                assert!(is_new, "{origin} came twice");
            }
        }
    }
    rows
}

pub(super) fn reports(bench: &Bench) -> Vec<Report> {
    let state = bench.engine.parts.get::<MergeState>().unwrap();
    state.merges().reports().cloned().collect()
}

pub(super) fn is_merged(bench: &Bench, node: &str) -> bool {
    reports(bench).iter().any(|report| report.id.node == node && report.ended.is_some())
}

/// Nodes with the same past, which were each active alone after it for some values.
pub(super) fn isolated(count: u8) -> Vec<Bench> {
    isolated_for(count, 20)
}

fn isolated_for(count: u8, values: u16) -> Vec<Bench> {
    let specs = [Spec { has_alarms: true, ..hot() }];
    let mut nodes: Vec<Bench> = (0..count).map(|rank| Bench::new(rank, &specs)).collect();
    let (main, others) = nodes.split_first_mut().unwrap();
    main.become_active(epoch(0, 1));
    for other in others.iter_mut() {
        follow(main, other, epoch(0, 1));
        main.disconnect(other.rank);
        other.disconnect(main.rank);
    }
    for (number, node) in (1..).zip(&mut nodes) {
        if number > 1 {
            node.become_active(epoch(node.rank.0, number));
        }
        for value in 0..values {
            node.publish(0, i64::from(node.rank.0) * 10_000 + i64::from(value));
        }
        let last = Value::I64(i64::from(node.rank.0) * 10_000 + i64::from(values) - 1);
        node.wait("its own values", |bench| {
            bench.value(0) == last && rows(bench).len() >= usize::from(values)
        });
    }
    nodes
}

/// The first one acts again, with everybody else behind it, one after the other.
pub(super) fn heal(nodes: &mut [Bench]) {
    let count = nodes.len() as u64;
    for node in nodes.iter_mut() {
        let epoch = node.engine.acting_epoch().unwrap();
        node.lose(epoch);
        node.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    }
    let (main, others) = nodes.split_first_mut().unwrap();
    main.become_active(epoch(0, count + 1));
    for other in others.iter_mut() {
        follow(main, other, epoch(0, count + 1));
        let name = other.engine.shared.node.clone();
        carry_until(main, other, "everything is taken in", |main, _| is_merged(main, &name));
        main.disconnect(other.rank);
        other.disconnect(main.rank);
    }
    // Each hears what came from those behind it.
    for other in others.iter_mut() {
        follow(main, other, epoch(0, count + 1));
        main.disconnect(other.rank);
        other.disconnect(main.rank);
    }
}

#[test]
fn five_sites_that_were_each_active_come_to_the_same_history() {
    for count in [3, 5] {
        let mut nodes = isolated(count);
        let mut union = Rows::new();
        for node in &nodes {
            union.extend(rows(node));
        }
        assert_eq!(union.len(), usize::from(count) * 20);
        heal(&mut nodes);
        for node in &nodes {
            assert_eq!(rows(node), union, "on node {}", node.rank);
            assert_eq!(reports(node), reports(&nodes[0]), "on node {}", node.rank);
        }
        let reports = reports(&nodes[0]);
        assert_eq!(reports.len(), usize::from(count) - 1);
        for report in &reports {
            let counts = report.counts;
            assert!(counts.values == 20 && report.ended.is_some(), "{report:?}");
            assert_eq!(
                (counts.unknown, counts.damaged, counts.gaps, counts.known),
                (0, 0, 0, 0),
                "{report:?}"
            );
            assert_eq!(report.files.len(), 1);
        }
        // What the others wrote is of the past: the present is what the active node had.
        for node in &nodes {
            assert_eq!(node.value(0), Value::I64(19));
        }
        // Who was active alone, and when, each of the others knows, in the order of time.
        for node in &nodes {
            let history = node.engine.shared.roles.newest(100);
            let alone: BTreeSet<&String> =
                history.iter().filter(|change| change.to == "active").map(|change| &change.node).collect();
            let others = nodes[1..].iter().filter(|other| other.rank != node.rank);
            let others: BTreeSet<&String> = others.map(|other| &other.engine.shared.node).collect();
            assert_eq!(alone, others, "on node {}: {history:#?}", node.rank);
            assert!(history.iter().is_sorted_by_key(|change| &change.at), "{history:#?}");
        }
    }
}

/// Half an hour apart, each of three nodes with a value of its own every second.
#[test]
fn three_nodes_that_were_alone_for_half_an_hour_come_to_the_same_history() {
    const SECONDS: u16 = 30 * 60;
    let mut nodes = isolated_for(3, SECONDS);
    let union: Rows = nodes.iter().flat_map(rows).collect();
    assert_eq!(union.len(), 3 * usize::from(SECONDS));
    heal(&mut nodes);
    for node in &nodes {
        let found = rows(node);
        let missing: Vec<_> = union.difference(&found).take(3).collect();
        assert!(found == union, "on node {}: {missing:?} missing of {}", node.rank, union.len());
        assert_eq!(reports(node), reports(&nodes[0]), "on node {}", node.rank);
    }
    for report in reports(&nodes[0]) {
        let counts = report.counts;
        assert_eq!(counts.values, u64::from(SECONDS), "{report:?}");
        assert_eq!((counts.unknown, counts.damaged, counts.gaps, counts.known), (0, 0, 0, 0), "{report:?}");
    }
}

/// The history of the node, as its journal has it.
fn history_of(bench: &Bench, dir: &std::path::Path) -> Store {
    let (mut store, _) = Store::open(StoreOptions { retain: None, ..StoreOptions::new(dir) }).unwrap();
    for (at, record) in bench.entries() {
        let (origin, record) = place_of(at, record);
        let Record::Samples(samples) = record else { continue };
        for (place, sample) in (0..).zip(samples.iter()) {
            let slot = store.slot(bench.engine.table.key(sample.item));
            store.append("site", at, [(slot, HistoryRow::of(sample, origin, place))]);
        }
    }
    store
}

/// Answers questions for twins until what the other node wrote alone is taken in; how many there were.
fn answer_until_merged(
    main: &mut Bench,
    other: &mut Bench,
    questions: &Receiver<Word>,
    find: impl Fn(&Bench, &TwinsAsk) -> Twins,
) -> usize {
    let (begun, mut count) = (Instant::now(), 0);
    let name = other.engine.shared.node.clone();
    while !is_merged(main, &name) {
        assert!(begun.elapsed() < PATIENCE, "all is taken");
        for question in questions.try_iter() {
            let Word::Twins(ask) = question else { panic!("{question:?}") };
            let twins = find(main, &ask);
            main.job(Job::Twins { number: ask.number, twins });
            count += 1;
        }
        carry(main, other);
    }
    count
}

/// What both sides heard while each was active alone, as every node hears a hot interface.
#[test]
fn a_telegram_that_both_sides_journaled_is_shown_once_on_every_node() {
    let specs = [hot()];
    let mut nodes: Vec<Bench> = (0..2).map(|rank| Bench::new(rank, &specs)).collect();
    let (mut backup, mut main) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    main.become_active(epoch(0, 1));
    follow(&mut main, &mut backup, epoch(0, 1));
    main.disconnect(backup.rank);
    backup.disconnect(main.rank);
    backup.become_active(epoch(1, 2));
    // The second value is one that only the backup heard, the last one that only the main heard.
    for (node, values) in [(&mut main, [10, 30, 40, 50]), (&mut backup, [10, 20, 30, 40])] {
        for value in values {
            node.publish(0, value);
        }
        node.wait("its values", |bench| bench.value(0) == Value::I64(values[3]) && rows(bench).len() >= 4);
    }
    let union: Rows = [&main, &backup].into_iter().flat_map(rows).collect();
    for node in [&mut main, &mut backup] {
        let epoch = node.engine.acting_epoch().unwrap();
        node.lose(epoch);
        node.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    }
    let (lines, (told, questions)) = (Arc::new(Lines::default()), channel());
    lines.tell(told);
    main.engine.lines = Some(lines);
    main.become_active(epoch(0, 3));
    follow(&mut main, &mut backup, epoch(0, 3));
    let answered = answer_until_merged(&mut main, &mut backup, &questions, |main, ask| {
        let dir = tempfile::tempdir().unwrap();
        find_twins(&history_of(main, dir.path()).reader(), ask)
    });
    assert!(answered > 0);
    carry_until(&mut main, &mut backup, "the other one has it, too", |main, backup| {
        main.last() == backup.last()
    });
    let counts = reports(&main)[0].counts;
    assert_eq!((counts.values, counts.twins), (1, 3), "{counts:?}");
    for node in [&main, &backup] {
        assert_eq!(rows(node), union, "no record is left out");
        let dir = tempfile::tempdir().unwrap();
        let mut shown: Vec<String> = history_of(node, dir.path())
            .reader()
            .rows(&twinhub_history::Query::all(node.engine.table.key(ItemId(0))))
            .unwrap()
            .map(|row| row.value.to_string())
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, ["10", "20", "30", "40", "50"], "on node {}", node.rank);
    }
    assert_eq!(reports(&main), reports(&backup));
}

/// A history that does not answer, and one that is asked by a node that acts no more.
#[test]
fn a_history_that_is_not_far_enough_is_asked_again() {
    let mut nodes = isolated(2);
    let union: Rows = nodes.iter().flat_map(rows).collect();
    let (mut backup, mut main) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    for node in [&mut main, &mut backup] {
        let epoch = node.engine.acting_epoch().unwrap();
        node.lose(epoch);
        node.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    }
    let (lines, (told, questions)) = (Arc::new(Lines::default()), channel());
    lines.tell(told);
    main.engine.lines = Some(lines);
    main.become_active(epoch(0, 3));
    follow(&mut main, &mut backup, epoch(0, 3));
    let (begun, mut asked) = (Instant::now(), Vec::new());
    while asked.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        carry(&mut main, &mut backup);
        asked.extend(questions.try_iter());
    }
    let Some(Word::Twins(first)) = asked.pop() else { panic!("{asked:?}") };
    assert!(rows(&main).len() < union.len() && main.engine.is_merging());
    main.job(Job::Twins { number: first.number.wrapping_sub(1), twins: Twins::default() });
    for _ in 0..20 {
        carry(&mut main, &mut backup);
    }
    assert!(rows(&main).len() < union.len(), "an answer to another question is none");
    // The role goes and comes back: the question is asked anew, and what it was about is not lost.
    let epoch_of = main.engine.acting_epoch().unwrap();
    main.lose(epoch_of);
    main.said.clear();
    main.become_active(epoch(0, 4));
    main.job(Job::Twins { number: first.number, twins: Twins::default() });
    follow(&mut main, &mut backup, epoch(0, 4));
    answer_until_merged(&mut main, &mut backup, &questions, |_, _| Twins::default());
    assert_eq!(rows(&main), union);
}

/// The node that takes records in ends in the middle; what it took does not come twice, and nothing is missing.
#[test]
fn a_merge_that_ends_in_the_middle_goes_on_behind_what_was_taken() {
    let mut nodes = isolated(3);
    let mut union = Rows::new();
    for node in &nodes {
        union.extend(rows(node));
    }
    for node in &mut nodes {
        let epoch = node.engine.acting_epoch().unwrap();
        node.lose(epoch);
        node.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    }
    let mut spare = nodes.pop().unwrap();
    let mut backup = nodes.pop().unwrap();
    let mut main = nodes.pop().unwrap();
    main.become_active(epoch(0, 4));
    follow(&mut main, &mut backup, epoch(0, 4));
    // It takes a first part, and no more.
    let begun = Instant::now();
    while !rows(&main).iter().any(|(at, ..)| at.epoch == epoch(1, 2)) {
        assert!(begun.elapsed() < PATIENCE);
        carry(&mut main, &mut backup);
    }
    main.wait("its disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut main = main.restarted(&[Spec { has_alarms: true, ..hot() }]);
    main.become_active(epoch(0, 5));
    // The other one has restarted, too.
    let mut backup = backup.restarted(&[Spec { has_alarms: true, ..hot() }]);
    follow(&mut main, &mut backup, epoch(0, 5));
    carry_until(&mut main, &mut backup, "the rest", |main, _| is_merged(main, "backup"));
    main.disconnect(backup.rank);
    follow(&mut main, &mut spare, epoch(0, 5));
    carry_until(&mut main, &mut spare, "the other one's", |main, spare| {
        is_merged(main, "spare") && main.last() == spare.last()
    });
    assert_eq!(rows(&main), union);
    assert_eq!(rows(&spare), union);
    assert_eq!(reports(&main).len(), 2, "{:?}", reports(&main));
}

/// What came from a node that was itself followed by another one during the split is known by where it stood.
#[test]
fn the_same_records_from_two_nodes_come_once() {
    let specs = [Spec::new("plc")];
    let mut backup = Bench::new(1, &specs);
    backup.become_active(epoch(1, 1));
    let mut spare = Bench::new(2, &specs);
    follow(&mut backup, &mut spare, epoch(1, 1));
    // What a stream journals all the time lies between values, and stays on that side.
    let through = backup.last();
    backup.engine.append(&Record::Delivered(Delivered::by_number(0, through))).unwrap();
    backup.publish(0, 5);
    backup.engine.append(&Record::Delivered(Delivered::by_number(0, through))).unwrap();
    backup.publish(1, 8);
    carry_until(&mut backup, &mut spare, "the value", |backup, spare| {
        spare.value(0) == Value::I64(5) && backup.last() == spare.last()
    });
    let theirs: Vec<Position> = backup.entries().into_iter().map(|(at, _)| at).collect();
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 2));
    main.publish(0, 7);
    for other in [&mut backup, &mut spare] {
        if other.engine.acting_epoch().is_some() {
            other.lose(epoch(1, 1));
            other.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
        }
        let name = other.engine.shared.node.clone();
        follow(&mut main, other, epoch(0, 2));
        carry_until(&mut main, other, "it is taken in", |main, _| is_merged(main, &name));
        main.disconnect(other.rank);
    }
    rows(&main);
    let [first, second] = &reports(&main)[..] else { panic!("two nodes") };
    assert!(first.counts.values > 0 && first.counts.commands > 0, "{first:?}");
    assert_eq!((second.counts.values, second.counts.commands), (0, 0), "{second:?}");
    assert!(second.counts.known > 0, "{second:?}");
    assert!(first.counts.left > 0, "{first:?}");
    let state = main.engine.parts.get::<MergeState>().unwrap();
    let unknown: Vec<&Position> = theirs.iter().filter(|at| !state.merges().has(**at)).collect();
    assert!(unknown.is_empty(), "also what was left on purpose is dealt with, not {unknown:?}");
}

/// The account says the same everywhere, also where a revision with fewer items, in another order, is in service.
#[test]
fn nodes_that_number_items_differently_keep_the_same_account_also_after_a_restart() {
    let specs = ["one", "two", "three"].map(Spec::new);
    let fewer = [specs[2].clone(), specs[0].clone()];
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 1));
    let mut spare = Bench::new(2, &specs);
    spare.become_active(epoch(2, 2));
    for item in [0, 2, 4] {
        spare.publish(item, 5);
    }
    let theirs: Vec<Position> = spare.entries().into_iter().map(|(at, _)| at).collect();
    spare.lose(epoch(2, 2));
    spare.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    main.become_active(epoch(0, 3));
    let mut backup = Bench::new(1, &fewer);
    follow(&mut main, &mut backup, epoch(0, 3));
    main.disconnect(backup.rank);
    backup.disconnect(main.rank);
    follow(&mut main, &mut spare, epoch(0, 3));
    carry_until(&mut main, &mut spare, "it is taken in", |main, _| is_merged(main, "spare"));
    main.disconnect(spare.rank);
    follow(&mut main, &mut backup, epoch(0, 3));

    let account = |bench: &Bench| bench.engine.parts.get::<MergeState>().unwrap().merges().clone();
    assert!(theirs.iter().all(|at| account(&main).has(*at)));
    assert!(reports(&main)[0].counts.commands >= 3, "{:?}", reports(&main));
    assert_eq!(account(&backup), account(&main));
    backup.wait("its disk", |bench| bench.engine.journal.durable() == bench.last());
    let path = backup.engine.merging.dir().join("merges.state");
    let mut backup = {
        backup.engine.parts.finish(Position::START);
        std::fs::remove_file(path).ok();
        backup.restarted(&fewer)
    };
    assert_eq!(account(&backup), account(&main));
    backup.turn();
}

/// A command of the lost side is in the ledger of all, and of nobody's work.
#[test]
fn commands_of_the_other_side_are_known_and_never_run_again() {
    let (mut main, mut backup) = pair(&[Spec { config: ",\"mute\":true", ..Spec::new("plc") }]);
    main.publish(1, 5);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    // It commands alone, and the device never answers.
    main.publish(0, 66);
    main.wait("its command", |bench| bench.calls().contains(&"plc write 1=66".to_owned()));
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    backup.become_active(epoch(1, 2));
    backup.forget_calls();
    main.forget_calls();
    follow(&mut backup, &mut main, epoch(1, 2));
    carry_until(&mut backup, &mut main, "it is taken in", |backup, main| {
        is_merged(backup, "main") && backup.last() == main.last()
    });
    let commands = |bench: &Bench| {
        let merged = |record: &Record| matches!(record, Record::Merged(merged) if matches!(*merged.record, Record::Intent(_)));
        bench.records().iter().filter(|record| merged(record)).count()
    };
    assert_eq!((commands(&backup), commands(&main)), (1, 1), "in the ledger of both");
    for _ in 0..20 {
        carry(&mut backup, &mut main);
    }
    for bench in [&backup, &main] {
        assert_eq!(bench.engine.tracker.open().count(), 0);
        assert!(!bench.calls().iter().any(|call| call.contains("=66")), "{:?}", bench.calls());
    }
    let report = &reports(&main)[0];
    let is_named = |line: &String| line.contains("`plc/out` = 66") && line.contains("not repeated");
    let in_doubt = report.counts.in_doubt;
    // Either the lost side had said that it is in doubt, or nobody knows.
    assert_eq!((report.counts.commands, in_doubt), (1, 1), "{report:?}");
    let is_in_doubt =
        |record: &Record| matches!(record, Record::Result(result) if result.outcome == Outcome::InDoubt);
    let has_result = main
        .records()
        .iter()
        .any(|record| matches!(record, Record::Merged(merged) if is_in_doubt(&merged.record)));
    assert!(has_result || report.lines.iter().any(is_named), "{report:?}");
}

/// What was changed with documents on the lost side, by an operator who said that it is to be done all the same.
#[test]
fn documents_changed_alone_join_or_are_kept_as_conflicts_on_all_nodes_also_after_a_restart() {
    let specs = [Spec { has_documents: true, ..Spec::new("plc") }];
    let (mut main, mut backup) = pair(&specs);
    change(&mut main, put("ada", 1));
    change(&mut main, put("bob", 1));
    carry_until(&mut main, &mut backup, "the users", |main, backup| main.last() == backup.last());
    change(&mut main, put("eve", 2));
    change(&mut main, Action::Remove { kind: Kind::User, name: "bob".into() });
    main.wait("its disk", |bench| bench.engine.journal.durable() == bench.last());
    main.lose(epoch(0, 1));
    main.wait("gates closed", |bench| bench.said.contains(&Input::GatesClosed));
    backup.become_active(epoch(1, 2));
    change(&mut backup, put("carl", 3));
    // It finds out that its journal is another one, and its process ends before anything was joined.
    follow(&mut backup, &mut main, epoch(1, 2));
    backup.disconnect(main.rank);
    let mut main = main.restarted(&specs);
    follow(&mut backup, &mut main, epoch(1, 2));
    carry_until(&mut backup, &mut main, "it is taken in", |backup, main| {
        is_merged(backup, "main") && backup.last() == main.last()
    });
    for bench in [&backup, &main] {
        bench.engine.proposals.documents().read(|documents| {
            let users: Vec<&str> = documents.list(Kind::User).map(|user| user.name.as_str()).collect();
            assert_eq!(users, ["ada", "carl"], "a removal wins, what was made alone is not in force");
            let kept: Vec<&str> =
                documents.conflicts().map(|conflict| conflict.document.name.as_str()).collect();
            assert_eq!(kept, ["eve"]);
            let said: Vec<&str> = documents.audit().map(|entry| entry.text.as_str()).collect();
            assert_eq!(said.iter().filter(|text| text.contains("user `eve`, viewer")).count(), 1, "{said:?}");
        });
    }
    let report = &reports(&main)[0];
    assert_eq!(
        (report.counts.conflicts, report.counts.documents, report.counts.audit),
        (1, 1, 2),
        "{report:?}"
    );
    assert!(
        report.lines.iter().any(|line| line == "user `eve`, revision 1: kept as a conflict"),
        "{report:?}"
    );
}

pub(super) fn put(name: &str, hash: u8) -> Action {
    let (salt, hash) = (vec![hash; 16].into(), vec![hash; 32].into());
    let password = PasswordHash { memory_kib: 8, passes: 1, lanes: 1, salt, hash };
    let body = Body::User(User { role: Role::Viewer, password });
    Action::Put { name: name.to_owned(), body, base: None }
}

pub(super) fn change(bench: &mut Bench, action: Action) {
    let change = Change { author: "ada".into(), origin: "here".into(), time: 1, action, alone: true };
    bench.engine.append_part(Part::DOCUMENTS, &Entry::Change(change).encode()).unwrap();
    bench.turn();
}
