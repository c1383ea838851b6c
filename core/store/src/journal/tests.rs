//! Crash, damage and full-disk tests.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use twinhub_model::{Epoch, Event, ItemId, ItemKey, NodeRank, Position, Record, Severity, Timestamp};
use twinhub_wire::record;

use super::*;

mod aside;
mod damage;
mod full_disk;
mod heal;

#[test]
fn records_come_back_in_order_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, recovery) = open(small(dir.path()));
    assert_eq!((recovery.last, recovery.segments), (Position::START, 0));
    assert!(matches!(journal.append(&event(1)), Err(StoreError::NotWriter { .. })));
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=200 {
        assert_eq!(journal.append(&event(number)).unwrap(), at(1, number));
    }
    assert_eq!(journal.durable(), Position::START);
    assert_eq!(journal.sync().unwrap(), at(1, 200));
    journal.begin_epoch(epoch(2)).unwrap();
    assert!(matches!(journal.begin_epoch(epoch(1)), Err(StoreError::OldEpoch { .. })));
    journal.append(&event(201)).unwrap();
    let before = all(&journal);
    journal.sync().unwrap();
    drop(journal);
    let (journal, recovery) = open(small(dir.path()));
    assert!(recovery.segments > 3, "{recovery:?}");
    assert_eq!((recovery.last, recovery.truncated_bytes), (at(2, 1), 0));
    assert_eq!(recovery.damaged, []);
    assert_eq!(all(&journal), before);
    assert_eq!(before.len(), 201);
    assert_eq!(record::decode(&before[200].1), Ok(event(201)));
}

#[test]
fn readers_get_every_record_from_memory_and_files_whatever_they_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { tail_bytes: 3000, ..small(dir.path()) };
    let (mut journal, _) = open(options);
    let mut expected = Vec::new();
    for part in 1..=5 {
        journal.begin_epoch(epoch(part)).unwrap();
        for number in 1..=60 {
            expected.push(journal.append(&event(number)).unwrap());
            if number % 7 == 0 {
                journal.sync().unwrap();
            }
        }
    }
    for (number, from) in std::iter::once(&Position::START).chain(&expected).enumerate() {
        for max_bytes in [1, 500, usize::MAX] {
            let mut out = Vec::new();
            let end = journal.read_after(*from, max_bytes, &mut out).unwrap();
            let got: Vec<_> = out.iter().map(|entry| entry.position).collect();
            assert_eq!(got, expected[number..number + got.len()], "after {from}");
            assert_eq!(end == ReadEnd::CaughtUp, number + got.len() == expected.len(), "after {from}");
            assert!(max_bytes > 1 || got.len() <= 1);
            assert!(!got.is_empty() || end == ReadEnd::CaughtUp);
        }
    }
    let ahead = journal.read_after(at(9, 1), 100, &mut Vec::new()).unwrap();
    assert_eq!(ahead, ReadEnd::Gap { resume: journal.last() });
}

#[test]
fn a_second_process_is_told_which_folder_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _) = open(small(dir.path()));
    let error = Journal::open(small(dir.path()), [].into()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_standby_takes_only_the_next_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.append_encoded(at(1, 1), b"x").unwrap();
    for wrong in [at(1, 1), at(1, 3), at(2, 2), Position::START] {
        assert!(matches!(journal.append_encoded(wrong, b"x"), Err(StoreError::NotNext { .. })), "{wrong}");
    }
    journal.append_encoded(at(2, 1), b"y").unwrap();
    assert_eq!(journal.last(), at(2, 1));
    let huge = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(journal.append_encoded(at(2, 2), &huge), Err(StoreError::TooLarge { .. })));
    journal.append_encoded(at(2, 2), &huge[1..]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(open(small(dir.path())).0.last(), at(2, 2));
}

#[test]
fn a_record_too_large_as_the_first_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    let huge = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(journal.append_encoded(at(1, 1), &huge), Err(StoreError::TooLarge { .. })));
    assert_eq!((journal.last(), journal.size_bytes()), (Position::START, 0));
    journal.append_encoded(at(2, 1), b"y").unwrap();
    journal.sync().unwrap();
    assert_eq!(all(&journal), [(at(2, 1), b"y".to_vec())]);
}

#[test]
fn retention_deletes_only_the_oldest_files() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { retain_bytes: 5000, tail_bytes: 0, ..small(dir.path()) };
    let (mut journal, _) = open(options.clone());
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=300 {
        journal.append(&event(number)).unwrap();
        journal.sync().unwrap();
    }
    assert!(journal.size_bytes() <= 5000 + 1100);
    let first = journal.first();
    assert!(first > at(1, 100));
    let end = journal.read_after(Position::START, 100, &mut Vec::new()).unwrap();
    assert_eq!(end, ReadEnd::Gap { resume: at(1, first.seq - 1) });
    assert_eq!(journal.relation(at(1, first.seq - 1)), Relation::Present);
    assert_eq!(journal.relation(at(1, first.seq - 2)), Relation::TooOld);
    let mut left = Vec::new();
    assert_eq!(journal.read_after(at(1, first.seq - 1), usize::MAX, &mut left).unwrap(), ReadEnd::CaughtUp);
    assert_eq!(left.len() as u64, 300 - first.seq + 1);
    drop(journal);
    let (journal, recovery) = open(options);
    assert_eq!((journal.first(), recovery.damaged), (first, vec![]));
}

#[test]
fn what_a_follower_needs_stays_up_to_twice_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { retain_bytes: 5000, tail_bytes: 0, ..small(dir.path()) };
    let (mut journal, _) = open(options);
    journal.begin_epoch(epoch(1)).unwrap();
    journal.pin(Position::START);
    let append = |journal: &mut Journal, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            journal.append(&event(number)).unwrap();
            journal.sync().unwrap();
        }
    };
    append(&mut journal, 1..=130);
    assert!(journal.size_bytes() > 5000 + 1100, "{}", journal.size_bytes());
    assert_eq!(journal.first(), at(1, 1));
    append(&mut journal, 131..=400);
    assert!((5000 + 1100..=10_000 + 1100).contains(&journal.size_bytes()), "{}", journal.size_bytes());
    assert_eq!(journal.relation(at(1, 1)), Relation::TooOld);
    journal.pin(at(1, 400));
    append(&mut journal, 401..=430);
    assert!(journal.size_bytes() <= 5000 + 1100, "{}", journal.size_bytes());
}

#[test]
fn a_fork_is_set_aside_and_can_be_read() {
    for position in [at(1, 10), at(2, 1), at(2, 33), at(3, 5), at(1, 40)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(small(dir.path()));
        for part in 1..=3 {
            journal.begin_epoch(epoch(part)).unwrap();
            for number in 1..=40 {
                journal.append(&event(number)).unwrap();
            }
        }
        let before = all(&journal);
        let fork = journal.truncate_after(position).unwrap().expect("records follow");
        let kept: Vec<_> = before.iter().filter(|(at, _)| *at <= position).cloned().collect();
        assert_eq!(all(&journal), kept);
        assert_eq!((journal.last(), journal.durable()), (position, position));
        assert_eq!(journal.truncate_after(position).unwrap(), None);
        let aside: Vec<_> = fork.files.iter().flat_map(|file| entries_of(file)).collect();
        let cut: Vec<_> = before.iter().filter(|(at, _)| *at > position).cloned().collect();
        assert_eq!((aside.len() as u64, &aside), (fork.records, &cut));
        assert_eq!((fork.first, fork.last), (cut[0].0, at(3, 40)));
        assert!(
            fork.files[0].to_str().unwrap().contains(&format!("fork-{}-{}", position.epoch, position.seq))
        );
        journal.append_encoded(at(7, 1), b"new history").unwrap();
        journal.sync().unwrap();
        let after = all(&journal);
        drop(journal);
        let (journal, recovery) = open(small(dir.path()));
        assert_eq!((all(&journal), recovery.damaged), (after, vec![]));
        assert_eq!(journal.last(), at(7, 1));
    }
}

/// A split may last longer than the journal keeps.
#[test]
fn a_position_of_another_history_is_recognized_when_its_neighbors_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(JournalOptions { retain_bytes: 3000, ..small(dir.path()) });
    for (part, count) in [(2, 50), (4, 400)] {
        journal.begin_epoch(epoch(part)).unwrap();
        for number in 1..=count {
            journal.append(&event(number)).unwrap();
            journal.sync().unwrap();
        }
    }
    assert!(journal.first() > at(4, 1), "the oldest files are gone");
    assert_eq!(journal.relation(at(2, 50)), Relation::TooOld);
    assert_eq!(journal.relation(at(2, 51)), Relation::Diverged { common: at(2, 50) });
    assert_eq!(journal.relation(at(3, 7)), Relation::Diverged { common: at(2, 50) });
    assert_eq!(journal.relation(at(1, 7)), Relation::TooOld, "of that epoch nothing is known");
}

#[test]
fn a_position_of_another_history_is_recognized() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    assert_eq!(journal.relation(Position::START), Relation::Present);
    for (part, count) in [(2, 50), (4, 30)] {
        journal.begin_epoch(epoch(part)).unwrap();
        for number in 1..=count {
            journal.append(&event(number)).unwrap();
        }
    }
    let check = |journal: &Journal| {
        assert_eq!(journal.relation(at(2, 50)), Relation::Present);
        assert_eq!(journal.relation(at(4, 30)), Relation::Present);
        assert_eq!(journal.relation(at(2, 51)), Relation::Diverged { common: at(2, 50) });
        assert_eq!(journal.relation(at(3, 1)), Relation::Diverged { common: at(2, 50) });
        assert_eq!(journal.relation(at(4, 31)), Relation::Diverged { common: at(4, 30) });
        assert_eq!(journal.relation(at(5, 1)), Relation::Diverged { common: at(4, 30) });
        assert_eq!(journal.relation(at(1, 1)), Relation::Diverged { common: Position::START });
    };
    check(&journal);
    journal.sync().unwrap();
    drop(journal);
    check(&open(small(dir.path())).0);
}

#[test]
fn a_snapshot_lets_the_journal_continue_behind_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    for seq in 1..=5 {
        journal.append_encoded(at(1, seq), b"old").unwrap();
    }
    assert!(matches!(journal.restart_at(at(1, 4)), Err(StoreError::NotNext { .. })));
    journal.restart_at(at(3, 100)).unwrap();
    let end = journal.read_after(at(1, 5), 100, &mut Vec::new()).unwrap();
    assert_eq!(end, ReadEnd::Gap { resume: at(3, 100) });
    journal.append_encoded(at(3, 101), b"new").unwrap();
    let check = |journal: &Journal| {
        let mut out = Vec::new();
        assert_eq!(journal.read_after(at(1, 3), 1000, &mut out).unwrap(), ReadEnd::More);
        assert_eq!(out.len(), 2);
        let end = journal.read_after(at(1, 5), 1000, &mut out).unwrap();
        assert_eq!(end, ReadEnd::Gap { resume: at(3, 100) });
        assert_eq!(journal.read_after(at(3, 100), 1000, &mut out).unwrap(), ReadEnd::CaughtUp);
        assert_eq!(out[2].position, at(3, 101));
    };
    check(&journal);
    journal.sync().unwrap();
    drop(journal);
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.damaged, []);
    check(&journal);
}

#[test]
fn every_record_can_be_read_with_the_names_of_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let names = |text: &str| [(ItemId(1), ItemKey::parse(text).unwrap())];
    let (mut journal, _) = Journal::open(small(dir.path()), names("plc/a").into()).unwrap();
    journal.begin_epoch(epoch(1)).unwrap();
    journal.append(&event(1)).unwrap();
    journal.set_dictionary(&names("plc/b")).unwrap();
    journal.append(&event(2)).unwrap();
    journal.append(&event(3)).unwrap();
    let check = |journal: &Journal| {
        for (after, name) in [(Position::START, "plc/a"), (at(1, 1), "plc/b"), (at(1, 2), "plc/b")] {
            let dictionary = journal.dictionary(journal.dictionary_after(after)).unwrap();
            assert_eq!(*dictionary, names(name));
        }
        let mut out = Vec::new();
        let end = journal.read_after(Position::START, 1000, &mut out).unwrap();
        assert_eq!((end, out.len()), (ReadEnd::More, 1), "a read stops where the names change");
    };
    check(&journal);
    journal.sync().unwrap();
    drop(journal);
    let (journal, _) = Journal::open(small(dir.path()), names("plc/c").into()).unwrap();
    check(&journal);
    let hash = journal.dictionary_after(Position::START);
    // Another node gets it as it is, and gives it the same name.
    let record = journal.dictionary_record(hash).unwrap();
    let entries = journal.dictionary(hash).unwrap();
    assert_eq!((dictionary::hash(&record), record::decode(&record)), (hash, Ok(Record::Dictionary(entries))));
    let file = dir.path().join(format!("{hash:016x}.dictionary"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[40] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(journal.dictionary(hash), Err(StoreError::Damaged { .. })));
    assert!(matches!(journal.dictionary_record(hash), Err(StoreError::Damaged { .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(journal.dictionary(hash), Err(StoreError::NoDictionary { .. })));
    assert!(matches!(journal.dictionary_record(hash), Err(StoreError::NoDictionary { .. })));
}

#[test]
fn a_file_keeps_its_bytes_from_version_to_version() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.append_encoded(Position::new(Epoch(0x0102), 1), b"body").unwrap();
    journal.sync().unwrap();
    let bytes = fs::read(dir.path().join("0000000000000102-0000000000000001.journal")).unwrap();
    let mut expected = b"TWHJRNL\n\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    expected.extend_from_slice(&[0; 16]);
    expected.extend_from_slice(&super::dictionary::hash(b"\x01\x01\x00").to_le_bytes());
    expected.extend_from_slice(&crc32fast::hash(&expected).to_le_bytes());
    expected.extend_from_slice(&[0; 4]);
    let crc = crc32fast::hash(b"\x04\0\0\xe7\x02\x01\0\0\0\0\0\0\x01\0\0\0\0\0\0\0body");
    expected.extend_from_slice(b"\x04\0\0\xe7");
    expected.extend_from_slice(&crc.to_le_bytes());
    expected.extend_from_slice(b"\x02\x01\0\0\0\0\0\0\x01\0\0\0\0\0\0\0body");
    assert_eq!(bytes, expected);
}

fn small(dir: &Path) -> JournalOptions {
    JournalOptions { segment_bytes: 1000, ..JournalOptions::new(dir) }
}

fn open(options: JournalOptions) -> (Journal, Recovery) {
    Journal::open(options, [].into()).unwrap()
}

const fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, NodeRank(0))
}

const fn at(counter: u64, seq: u64) -> Position {
    Position::new(epoch(counter), seq)
}

fn event(number: u64) -> Record {
    Record::Event(Event {
        severity: Severity::Info,
        source: "test".into(),
        code: "TH-TEST".into(),
        text: format!("number {number}").into(),
        at: Timestamp(7),
    })
}

/// Everything that can be read, over gaps.
fn all(journal: &Journal) -> Vec<(Position, Vec<u8>)> {
    let mut out = Vec::new();
    let mut after = Position::START;
    loop {
        let end = journal.visit_after(after, 700, &mut |at, body| out.push((at, body.to_vec()))).unwrap();
        after = out.last().map_or(after, |(at, _)| after.max(*at));
        match end {
            ReadEnd::More => {}
            ReadEnd::CaughtUp => return out,
            ReadEnd::Gap { resume } => {
                assert!(resume > after, "a gap must lead on: {resume} after {after}");
                after = resume;
            }
        }
    }
}

fn entries_of(path: &Path) -> Vec<(Position, Vec<u8>)> {
    let file = File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut scanner = scan::Scanner::new(&file, 64, length, Position::START, 4096);
    let mut out = Vec::new();
    while let scan::Step::Entry { position, body, .. } = scanner.step().unwrap() {
        out.push((position, body.to_vec()));
    }
    out
}

fn journal_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| segment::parse_file_name(path.file_name().unwrap().to_str().unwrap()).is_some())
        .collect();
    files.sort();
    files
}
