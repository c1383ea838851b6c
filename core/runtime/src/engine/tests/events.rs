//! Events over takeovers, copies, restarts and forks: the same on every node, each once.

use std::time::Instant;

use twinhub_contract::role;
use twinhub_events::{Cursor, Filter, Following};
use twinhub_model::{Event, NodeRank, Part, Record, Severity, Timestamp};
use twinhub_replica::Message;
use twinhub_wire::PROTOCOL_MIN;

use super::bench::{Bench, PATIENCE, Spec, carry, carry_until, epoch, follow, pair};

fn specs() -> [Spec; 1] {
    [Spec { standby: role::WARM, ..Spec::new("plc") }]
}

/// As told on any thread of the node.
fn tell(bench: &Bench, text: &str) {
    let event = Event {
        severity: Severity::Info,
        source: "plc".into(),
        code: "TH-A-001".into(),
        text: text.into(),
        at: Timestamp(1),
    };
    bench.engine.shared.note_event(&bench.engine.group, event);
}

/// What the tests told, in the order of the list that is the same everywhere.
fn told(bench: &Bench) -> Vec<String> {
    let filter = Filter { code: "TH-A-".into(), ..Filter::default() };
    let mut rows = bench.engine.shared.events.newest(None, 1000, &filter).rows;
    rows.reverse();
    rows.into_iter().map(|row| format!("{}:{}", row.entry.id.node, row.entry.event.text)).collect()
}

/// Names of everything that a node has.
fn names(bench: &Bench) -> Vec<String> {
    let rows = bench.engine.shared.events.newest(None, 1000, &Filter::default()).rows;
    rows.into_iter().map(|row| row.entry.id.to_string()).collect()
}

/// Whether anything that the tests told is not seen in the journal.
fn is_pending(bench: &Bench) -> bool {
    let pending = bench.engine.shared.events.pending(&bench.engine.group, 1000);
    pending.iter().any(|known| known.entry.event.code.starts_with("TH-A-"))
}

#[test]
fn what_happens_on_either_node_is_told_on_both_and_is_there_after_a_crash() {
    let (mut main, mut backup) = pair(&specs());
    tell(&main, "one");
    tell(&backup, "two");
    carry_until(&mut main, &mut backup, "both events", |main, backup| {
        told(main).len() == 2 && told(backup).len() == 2 && !is_pending(backup)
    });
    assert_eq!(told(&main), told(&backup));
    assert_eq!(told(&main), ["0:one", "1:two"]);

    // Each as a new process: from the journal, the stored state and its own file.
    carry_until(&mut main, &mut backup, "the same on both", |main, backup| names(main) == names(backup));
    let before = names(&main);
    main.wait("the journal is on disk", |bench| bench.engine.journal.durable() == bench.last());
    backup.wait("the journal is on disk", |bench| bench.engine.journal.durable() == bench.last());
    for (bench, specs) in [(main, specs()), (backup, specs())] {
        let again = bench.restarted(&specs);
        assert_eq!(told(&again), ["0:one", "1:two"]);
        assert!(!is_pending(&again), "the journal has them");
        // What came to the backup in a copy, before it had stored that, comes with the next one.
        let own = format!("site.{}.", again.rank);
        let has = |name: &&String| again.rank == NodeRank(0) || name.starts_with(&own);
        let after = names(&again);
        assert!(before.iter().filter(has).all(|name| after.contains(name)), "{before:?} {after:?}");
    }
}

#[test]
fn an_event_of_a_standby_that_nobody_heard_comes_with_its_takeover() {
    let (mut main, mut backup) = pair(&specs());
    tell(&main, "one");
    carry_until(&mut main, &mut backup, "the event", |_, backup| told(backup).len() == 1);
    // The main is dead from here on.
    tell(&backup, "it is silent");
    backup.turn();
    assert!(is_pending(&backup));
    let mut again = backup.restarted(&specs());
    assert_eq!(told(&again), ["0:one", "1:it is silent"], "it was shown, so it is there after a crash");
    assert!(is_pending(&again));
    again.become_active(epoch(1, 2));
    again.wait("the event is in the journal", |bench| !is_pending(bench));
    let in_journal = again.records().into_iter().filter(|record| is_of(record, "it is silent")).count();
    assert_eq!(in_journal, 1);
}

fn is_of(record: &Record, text: &str) -> bool {
    let Record::Part(part) = record else { return false };
    part.part == Part::EVENTS
        && twinhub_events::decode(&part.body).unwrap().iter().any(|known| *known.entry.event.text == *text)
}

#[test]
fn what_was_set_aside_after_a_fork_is_told_all_the_same_and_once() {
    let (mut main, mut backup) = pair(&specs());
    tell(&main, "one");
    carry_until(&mut main, &mut backup, "the event", |_, backup| told(backup).len() == 1);
    // Only the main has these in its journal; then it is dead, and the backup acts without them.
    tell(&main, "two");
    main.turn();
    main.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    assert!(!is_pending(&main));
    backup.become_active(epoch(1, 2));
    tell(&backup, "three");
    backup.turn();
    let mut main = main.restarted(&specs());
    follow(&mut backup, &mut main, epoch(1, 2));
    carry_until(&mut main, &mut backup, "all three on both", |main, backup| {
        told(main).len() == 3 && told(backup).len() == 3 && !is_pending(main)
    });
    assert_eq!(told(&main), told(&backup));
    assert_eq!(told(&main), ["0:one", "0:two", "1:three"]);
    assert!(names(&main).iter().any(|name| names(&backup).contains(name)));
}

/// Someone who reads along, with a cursor and a page at each turn.
#[derive(Default)]
struct Reader {
    cursor: Cursor,
    read: Vec<String>,
}

impl Reader {
    fn read(&mut self, bench: &Bench) {
        let from = Following { after: 0, cursor: std::mem::take(&mut self.cursor), limit: 100 };
        let next = bench.engine.shared.events.following(&from, &Filter::default());
        self.read.extend(next.rows.into_iter().map(|row| row.entry.event.text.to_string()));
        self.cursor = next.cursor;
    }
}

#[test]
fn who_reads_along_gets_what_a_lone_node_told_before_what_it_tells_of_the_fork() {
    let (mut main, mut backup) = pair(&specs());
    tell(&main, "one");
    carry_until(&mut main, &mut backup, "the event", |_, backup| told(backup).len() == 1);
    tell(&main, "two");
    main.turn();
    main.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    backup.become_active(epoch(1, 2));
    let mut reader = Reader::default();
    reader.read(&backup);
    // It tells of its return before it knows of the fork, and of the fork before it has the copy.
    let mut main = main.restarted(&specs());
    tell(&main, "back");
    backup.connect(main.rank);
    main.connect(backup.rank);
    main.follow(backup.rank, epoch(1, 2));
    let begun = Instant::now();
    while is_pending(&main) || told(&backup).len() < 3 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", reader.read);
        carry(&mut main, &mut backup);
        reader.read(&backup);
    }
    let place = |text: &str| reader.read.iter().position(|read| read.contains(text));
    let places = ["one", "two", "back", "were written on this node only"].map(place);
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?} {:?}", reader.read);
}

#[test]
fn a_full_copy_brings_what_the_journal_has_forgotten_and_takes_nothing_away() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    tell(&main, "one");
    main.turn();
    let mut backup = Bench::new(1, &specs());
    tell(&backup, "alone");
    follow(&mut main, &mut backup, epoch(0, 1));
    carry_until(&mut main, &mut backup, "both on both", |main, backup| {
        told(main).len() == 2 && told(backup).len() == 2
    });
    assert_eq!(told(&main), told(&backup));
}

#[test]
fn a_node_of_the_version_before_is_not_told_and_loses_nothing_of_its_own() {
    let mut main = Bench::new(0, &specs());
    main.connect_in(NodeRank(1), PROTOCOL_MIN);
    main.follow(NodeRank(1), epoch(1, 1));
    tell(&main, "one");
    for _ in 0..5 {
        main.turn();
    }
    assert!(main.sent().iter().all(|message| !matches!(message, Message::Events { .. })));
    assert!(is_pending(&main));
    assert_eq!(told(&main), ["0:one"]);
}

#[test]
fn what_a_version_before_wrote_into_the_journal_is_kept_too_and_once() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    let event = Event {
        severity: Severity::Warning,
        source: "plc".into(),
        code: "TH-A-001".into(),
        text: "old".into(),
        at: Timestamp(5_000),
    };
    for _ in 0..2 {
        main.engine.append(&Record::Event(event.clone())).expect("the journal takes it");
    }
    main.turn();
    main.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let again = main.restarted(&specs()).restarted(&specs());
    assert_eq!(told(&again), ["0:old", "0:old"], "two, of the same time");
}

#[test]
fn another_node_speaks_only_for_itself_and_hostile_bytes_are_refused() {
    let (mut main, mut backup) = pair(&specs());
    carry_until(&mut main, &mut backup, "what the backup had to tell before", |_, backup| {
        backup.engine.shared.events.pending(&backup.engine.group, 1).is_empty()
    });
    backup.sent();
    tell(&backup, "two");
    backup.turn();
    let offered: Vec<Message> =
        backup.sent().into_iter().filter(|message| matches!(message, Message::Events { .. })).collect();
    assert_eq!(offered.len(), 1);
    let last = main.last();
    for events in [vec![], vec![0xff; 40], vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        main.engine.on_peer_message(NodeRank(1), Message::Events { stream: 0, events });
    }
    // Not from a third node in the name of the backup.
    main.engine.on_peer_message(NodeRank(2), offered[0].clone());
    main.turn();
    assert_eq!((main.last(), told(&main).len()), (last, 0));
    main.engine.on_peer_message(NodeRank(1), offered[0].clone());
    assert_eq!(told(&main), ["1:two"]);
    carry(&mut main, &mut backup);
}

#[test]
fn who_follows_goes_on_at_the_other_node_without_a_gap() {
    let (mut main, mut backup) = pair(&specs());
    let read = |bench: &Bench, cursor| {
        let from = Following { after: 0, cursor, limit: 100 };
        bench.engine.shared.events.following(&from, &Filter::default())
    };
    tell(&main, "one");
    tell(&backup, "two");
    carry_until(&mut main, &mut backup, "both", |main, backup| told(main).len() + told(backup).len() == 4);
    let first = read(&main, Cursor::default());
    tell(&main, "three");
    carry_until(&mut main, &mut backup, "the third", |_, backup| told(backup).len() == 3);
    let second = read(&backup, first.cursor);
    let texts: Vec<&str> = second.rows.iter().map(|row| &*row.entry.event.text).collect();
    assert_eq!(texts, ["three"]);
}
