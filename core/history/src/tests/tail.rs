//! Who follows the history gets every row, by files and by what comes after them.

use std::path::Path;
use std::sync::Arc;

use twinhub_model::{Epoch, NodeRank, Position};

use super::{plain, same};
use crate::{Filled, Mark, Row, SealedFile, Store, StoreOptions, restore};

fn open(dir: &Path) -> Store {
    Store::open(StoreOptions { retain: None, ..StoreOptions::new(dir) }).unwrap().0
}

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(1, NodeRank(0)), seq)
}

fn take(store: &mut Store, item: &str, seconds: std::ops::Range<u64>) {
    let slot = store.slot(item);
    store.append("site", at(seconds.end - 1), seconds.map(|second| (slot, plain(second))));
}

fn mark(group: &str, at: Position) -> Mark {
    Mark { group: group.to_owned(), life: String::new(), at }
}

fn all(_: &str) -> bool {
    true
}

fn read(file: &SealedFile) -> Vec<(Arc<str>, Row)> {
    let (mut rows, mut found) = (file.rows(), Vec::new());
    while let Some((key, block)) = rows.next_block().unwrap() {
        found.extend(block.into_iter().map(|row| (Arc::clone(&key), row)));
    }
    found
}

fn seconds(rows: &[(Arc<str>, Row)]) -> Vec<u64> {
    rows.iter().map(|(_, row)| row.position.seq).collect()
}

#[test]
fn what_is_sealed_and_what_comes_then_is_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    take(&mut store, "plc/a", 1..11);
    let reader = store.reader();
    assert_eq!(reader.take_tail(&all), None, "nobody follows");
    let begun = reader.begin_tail(1 << 20);
    assert!(!reader.is_sealed(begun));
    take(&mut store, "plc/b", 11..21);
    store.seal().unwrap();
    assert!(reader.is_sealed(begun));
    take(&mut store, "plc/a", 21..31);
    let files = reader.sealed();
    assert_eq!((files.len(), files[0].last_seal(), files[0].row_count()), (1, 1, 20));
    assert_eq!(
        (files[0].cursor("site"), files[0].reached("other")),
        (Some(mark("site", at(20))), Some(mark("other", Position::START)))
    );
    let mut read = seconds(&read(&files[0]));
    read.sort_unstable();
    assert_eq!(read, (1..21).collect::<Vec<_>>());
    // What is in a file may be in the tail, too.
    let taken = reader.take_tail(&all).unwrap();
    assert_eq!(seconds(&taken.rows), (11..31).collect::<Vec<_>>());
    assert_eq!((&*taken.rows[0].0, &*taken.rows[10].0), ("plc/b", "plc/a"));
    assert!(same(&[taken.rows[19].1.clone()], &[plain(30)]));
    assert_eq!(taken.reached, [mark("site", at(30))]);
    assert!(reader.take_tail(&all).unwrap().rows.is_empty());
    reader.end_tail();
    assert_eq!(reader.take_tail(&all), None);
    let begun = reader.begin_tail(1 << 20);
    store.seal().unwrap();
    assert!(reader.is_sealed(begun) && reader.is_sealed(reader.begin_tail(1)));
}

#[test]
fn nothing_is_reached_that_is_missing_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let reader = store.reader();
    reader.begin_tail(1 << 20);
    take(&mut store, "plc/a", 1..11);
    store.skip("site", at(10), at(50));
    take(&mut store, "plc/a", 51..61);
    assert_eq!(reader.take_tail(&all).unwrap().reached, [mark("site", at(10))]);
    store.seal().unwrap();
    let file = reader.sealed().pop().unwrap();
    assert_eq!(
        (file.cursor("site"), file.reached("site")),
        (Some(mark("site", at(60))), Some(mark("site", at(10))))
    );
    let slot = store.slot("plc/a");
    let rows = (11..51).map(|second| (slot, plain(second)));
    store.fill("site", at(50), rows, Filled::Through(at(50)));
    let taken = reader.take_tail(&all).unwrap();
    assert_eq!((taken.rows.len(), taken.reached), (40, vec![mark("site", at(60))]));
}

#[test]
fn a_tail_that_nobody_takes_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let reader = store.reader();
    reader.begin_tail(10 * size_of::<Row>());
    take(&mut store, "plc/a", 1..5);
    assert_eq!((reader.tail_rows(), reader.take_tail(&all).unwrap().rows.len()), (4, 4));
    take(&mut store, "plc/a", 5..100);
    take(&mut store, "plc/a", 100..101);
    assert_eq!((reader.tail_rows(), reader.take_tail(&all)), (0, None));
}

#[test]
fn rows_of_the_tail_are_of_the_group_whose_journal_they_came_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let reader = store.reader();
    let slot = store.slot("plc/a");
    reader.begin_tail(1 << 20);
    let mut both = || {
        store.append("site", at(1), [(slot, plain(1))]);
        store.append("energy", at(2), [(slot, plain(2))]);
    };
    both();
    let taken = reader.take_tail(&|group| group == "energy").unwrap();
    assert_eq!((seconds(&taken.rows), taken.reached), (vec![2], vec![mark("energy", at(2))]));
    both();
    assert_eq!(seconds(&reader.take_tail(&all).unwrap().rows), [1, 2]);
}

/// A file says of which journal its cursor is, also when it was joined with others, opened again, or restored from a backup.
#[test]
fn a_cursor_is_of_the_journal_that_was_there_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let named = |life: &str, seq| Mark { life: life.to_owned(), ..mark("site", at(seq)) };
    store.name_journal("site", "one");
    for begin in (1..41).step_by(10) {
        take(&mut store, "plc/a", begin..begin + 10);
        store.seal().unwrap();
    }
    drop(store);
    let mut store = open(dir.path());
    take(&mut store, "plc/a", 41..51);
    store.seal().unwrap();
    let files = store.reader().snapshot(u64::MAX).unwrap().files;
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let restored = dir.path().join("restored");
    assert_eq!(restore(&StoreOptions::new(&restored), &files).unwrap(), 50);
    let mut store = open(&restored);
    let reader = store.reader();
    reader.begin_tail(1 << 20);
    store.name_journal("site", "two");
    take(&mut store, "plc/a", 1..4);
    assert_eq!(reader.take_tail(&all).unwrap().reached, [named("two", 3)]);
    for _ in 0..3 {
        store.seal().unwrap();
        take(&mut store, "plc/a", 4..5);
    }
    let marks = |store: &Store| -> Vec<Mark> {
        store.reader().sealed().iter().filter_map(|file| file.reached("site")).collect()
    };
    let found = marks(&store);
    assert_eq!(found[..5], [10, 20, 30, 40, 50].map(|seq| named("one", seq)));
    assert_eq!((&found[5], found.last()), (&mark("site", Position::START), Some(&named("two", 4))));
    while store.compact(1 << 20).unwrap() {}
    let found = marks(&store);
    assert!(found.len() < 5 && found.last() == Some(&named("two", 4)), "{found:?}");
}

/// A block of the file cannot be read: it is missing, and nothing behind it is reached, in the files after it neither, until
/// another node's rows are there, or nobody has them.
#[test]
fn nothing_is_reached_behind_what_is_damaged() {
    for is_joined in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        for begin in (1..81).step_by(10) {
            take(&mut store, "plc/a", begin..begin + 10);
            take(&mut store, "plc/b", begin..begin + 10);
            store.seal().unwrap();
        }
        drop(store);
        let path = dir.path().join(crate::file::name(4, 4));
        let mut bytes = std::fs::read(&path).unwrap();
        let block = bytes.windows(4).position(|bytes| bytes == [0xb1, b'O', b'C', b'K']).unwrap();
        bytes[block + 40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let mut store = open(dir.path());
        let reader = store.reader();
        let reached =
            || reader.sealed().iter().map(|file| file.reached("site").unwrap().at.seq).collect::<Vec<_>>();
        if is_joined {
            while store.compact(1 << 20).unwrap() {}
            assert_eq!(reached(), [30]);
        } else {
            assert_eq!(reached(), [10, 20, 30, 40, 50, 60, 70, 80]);
            let mut rows = reader.sealed()[3].rows();
            let mut count = 0;
            while let Some((_, block)) = rows.next_block().unwrap() {
                count += block.len();
            }
            assert_eq!((count, rows.damaged()), (10, 1));
            assert_eq!(reached(), [10, 20, 30, 30, 30, 30, 30, 30]);
            rows = reader.sealed()[3].rows();
            while rows.next_block().unwrap().is_some() {}
        }
        let gaps = store.gaps();
        assert_eq!((gaps.len(), gaps[0].after, gaps[0].through), (1, at(30), at(40)));
        assert_eq!(store.take_damage().len(), 1);
        // It is not forgotten.
        store.seal().unwrap();
        drop((store, reader));
        let mut store = open(dir.path());
        assert_eq!(store.gaps(), gaps);
        let slot = store.slot("plc/a");
        let rows = (31..41).map(|second| (slot, plain(second)));
        store.fill("site", at(40), rows, Filled::Through(at(40)));
        store.seal().unwrap();
        assert_eq!(store.reader().sealed().last().unwrap().reached("site"), Some(mark("site", at(80))));
    }
}
