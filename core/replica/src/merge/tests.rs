//! Folding what was taken in.

use std::sync::Arc;

use proptest::prelude::*;
use twinhub_model::{
    Epoch, Event, Intent, IntentKind, ItemId, NodeRank, Outcome, Quality, Sample, SampleFlags, Severity,
    Timestamp, Value, WriteResult,
};

use super::*;

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(3, NodeRank(1)), seq)
}

fn id() -> MergeId {
    MergeId { node: "backup".into(), common: Position::new(Epoch::new(1, NodeRank(0)), 9) }
}

fn begin() -> MergeEntry {
    let kept = Position::new(Epoch::new(4, NodeRank(0)), 77);
    let files = vec!["fork-1.0-9.journal".into()];
    MergeEntry::Begin(Report { files, bytes: 1000, ..Report::new(id(), "main".into(), kept, 5) })
}

fn take(merges: &mut Merges, seq: u64, record: Record) {
    merges.take(&Merged { origin: at(seq), record: Box::new(record) }, 0, &|_| "plc1/x = 5".to_owned());
}

fn samples(count: u32) -> Record {
    let sample = |item| Sample {
        item: ItemId(item),
        value: Value::U64(1),
        quality: Quality::GOOD,
        source: Timestamp(1),
        server: Timestamp(1),
        flags: SampleFlags::default(),
    };
    Record::Samples((0..count).map(sample).collect::<Vec<_>>().into())
}

fn intent() -> Record {
    Record::Intent(Intent {
        item: ItemId(1),
        value: Value::U64(5),
        kind: IntentKind::Set,
        cause: Position::START,
        origin: "api".into(),
        deadline: Timestamp::NONE,
    })
}

fn result(seq: u64, outcome: Outcome) -> Record {
    Record::Result(WriteResult { intent: at(seq), outcome })
}

/// Everything that a merge may meet.
fn full() -> Merges {
    let mut merges = Merges::default();
    merges.apply(begin());
    take(&mut merges, 1, samples(3));
    take(&mut merges, 2, intent());
    take(&mut merges, 3, intent());
    take(&mut merges, 4, intent());
    take(&mut merges, 5, result(2, Outcome::Done));
    take(&mut merges, 6, result(3, Outcome::Refused(4)));
    let event = Event {
        severity: Severity::Info,
        source: Arc::from("s"),
        code: Arc::from("c"),
        text: Arc::from("t"),
        at: Timestamp(1),
    };
    take(&mut merges, 8, Record::Event(event));
    let counts = Counts { known: 2, conflicts: 1, ..Counts::default() };
    merges.apply(MergeEntry::Note {
        counts,
        lines: vec!["user `ada`: kept as a conflict".into()],
        through: at(9),
        covered: vec![(at(9).epoch.0, 9, 9)],
    });
    merges.apply(MergeEntry::Parts);
    merges
}

#[test]
fn a_report_counts_what_came_and_names_commands_without_a_result() {
    let mut merges = full();
    let report = merges.open().expect("it is under way");
    assert_eq!((report.through, report.ended, report.has_parts), (at(9), None, true));
    let expected = Counts {
        values: 3,
        events: 1,
        commands: 3,
        done: 1,
        in_doubt: 1,
        known: 2,
        conflicts: 1,
        ..Counts::default()
    };
    assert_eq!(report.counts, expected);
    assert!(merges.has(at(8)) && merges.has(at(9)) && !merges.has(at(7)) && !merges.is_done(&id()));
    merges.apply(MergeEntry::End { time: 99 });
    assert_eq!(merges.open(), None);
    assert!(merges.is_done(&id()));
    let report = merges.report(&id()).unwrap();
    assert_eq!(report.ended, Some(99));
    let lines = [
        "user `ada`: kept as a conflict".to_owned(),
        format!("command {}, plc1/x = 5: no result is known, it is not repeated", at(4)),
    ];
    assert_eq!(report.lines, lines);
}

#[test]
fn a_successor_goes_on_with_the_same_report() {
    let mut merges = full();
    let MergeEntry::Begin(again) = begin() else { panic!("it begins") };
    merges.apply(MergeEntry::Begin(Report { active: "spare".into(), ..again }));
    let report = merges.open().unwrap();
    assert_eq!((report.active.as_str(), report.through, report.counts.values), ("spare", at(9), 3));
    assert_eq!(merges.reports().len(), 1);
}

#[test]
fn a_copy_gives_the_same_state_in_pieces_that_fit() {
    for ends in [false, true] {
        let mut merges = full();
        if ends {
            merges.apply(MergeEntry::End { time: 99 });
        }
        let mut copy = Merges::default();
        for entry in merges.snapshot() {
            let bytes = entry.encode();
            assert!(bytes.len() < 256 * 1024);
            copy.apply(MergeEntry::decode(&bytes).unwrap());
        }
        assert_eq!(copy, merges);
    }
}

/// The longest report and the longest list of ranges fit a piece of a copy.
#[test]
fn nothing_grows_without_end() {
    let mut merges = Merges::default();
    for number in 0..REPORTS_MAX as u64 + 20 {
        let id = MergeId { node: "backup".into(), common: at(number) };
        merges.apply(MergeEntry::Begin(Report::new(id, "main".into(), at(1), 5)));
        merges.apply(MergeEntry::End { time: 1 });
    }
    assert_eq!(merges.reports().len(), REPORTS_MAX);
    merges.apply(begin());
    let long = "ä".repeat(10_000);
    for number in 0..1_000_u64 {
        let lines = vec![long.clone()];
        let (counts, through, covered) = (Counts::default(), at(0), Vec::new());
        merges.apply(MergeEntry::Note { counts, lines, through, covered });
        take(&mut merges, number * 2 + 1, intent());
    }
    let report = merges.open().unwrap();
    assert_eq!((report.lines.len(), report.more_lines, report.unanswered.len()), (500, 500, 200));
    assert_eq!((report.counts.commands, report.counts.in_doubt), (1_000, 1_000));
    assert!(merges.snapshot().iter().all(|entry| entry.encode().len() <= 256 * 1024));
}

/// A journal with more records that stay where they are than ranges are kept.
#[test]
fn what_is_left_on_purpose_makes_no_gap_in_what_is_known() {
    let mut merges = Merges::default();
    merges.apply(begin());
    for page in 0..100_u64 {
        let (first, last) = (page * 200 + 1, page * 200 + 200);
        (first..=last).step_by(2).for_each(|number| take(&mut merges, number, samples(1)));
        let counts = Counts { left: 100, ..Counts::default() };
        let covered = vec![(at(1).epoch.0, first, last)];
        merges.apply(MergeEntry::Note { counts, lines: Vec::new(), through: at(last), covered });
    }
    assert!((1..=20_000).all(|number| merges.has(at(number))));
    assert!(!merges.has(at(0)) && !merges.has(at(20_001)));
}

/// Nodes of the version before say nothing of ranges.
#[test]
fn a_note_without_ranges_is_understood() {
    #[derive(Encode)]
    enum Before {
        #[n(1)]
        Note(#[n(0)] Counts, #[n(1)] Vec<String>, #[n(2)] Position),
    }
    let counts = Counts { left: 3, ..Counts::default() };
    let bytes = minicbor::to_vec(Before::Note(counts, vec!["said".into()], at(4))).unwrap();
    let (lines, through, covered) = (vec!["said".to_owned()], at(4), Vec::new());
    assert_eq!(MergeEntry::decode(&bytes).unwrap(), MergeEntry::Note { counts, lines, through, covered });
}

#[test]
fn names_that_another_node_gave_are_cut() {
    let mut merges = Merges::default();
    let MergeEntry::Begin(report) = begin() else { panic!("it begins") };
    merges.apply(MergeEntry::Begin(Report { files: vec!["x".repeat(10_000); 5_000], ..report }));
    let files = &merges.open().unwrap().files;
    assert!(files.len() < 5_000 && files.iter().all(|file| file.len() < 400));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(kind in 0_u8..10, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut merges = Merges::default();
        let mut framed = vec![0x82, kind];
        framed.extend(&bytes);
        for bytes in [&bytes, &framed] {
            if let Ok(entry) = MergeEntry::decode(bytes) {
                merges.apply(entry);
            }
        }
    }

    #[test]
    fn damaged_bodies_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut merges = full();
        for entry in merges.snapshot() {
            let mut bytes = entry.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(entry) = MergeEntry::decode(&bytes) {
                merges.apply(entry);
            }
        }
    }
}
