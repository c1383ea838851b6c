//! What is missing is known, also after a crash, until it is there.

use std::path::Path;

use twinhub_model::{Epoch, NodeRank, Position, Timestamp};

use super::{plain, same};
use crate::{Filled, Gap, Place, Query, Row, RowId, Store, StoreOptions};

fn options(dir: &Path) -> StoreOptions {
    StoreOptions { retain: None, ..StoreOptions::new(dir) }
}

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(1, NodeRank(0)), seq)
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir)).unwrap().0
}

fn take(store: &mut Store, seconds: std::ops::Range<u64>) {
    let slot = store.slot("plc/a");
    store.append("site", at(seconds.end - 1), seconds.map(|second| (slot, plain(second))));
}

fn ranges(store: &Store) -> Vec<(Position, Position)> {
    store.gaps().into_iter().map(|gap| (gap.after, gap.through)).collect()
}

fn all(store: &Store) -> Vec<Row> {
    store.reader().rows(&Query::all("plc/a")).unwrap().collect()
}

#[test]
fn a_gap_outlives_a_crash_and_ends_when_it_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    take(&mut store, 1..11);
    store.skip("site", at(10), at(50));
    take(&mut store, 51..61);
    assert_eq!(ranges(&store), [(at(10), at(50))]);
    store.seal().unwrap();
    drop(store);

    let mut store = open(dir.path());
    assert_eq!((ranges(&store), store.cursor("site")), (vec![(at(10), at(50))], at(60)));
    let slot = store.slot("plc/a");
    let rows = (11..31).map(|second| (slot, plain(second)));
    store.fill("site", at(50), rows, Filled::Through(at(30)));
    assert_eq!(ranges(&store), [(at(30), at(50))]);
    drop(store);

    // What was not sealed is missing as before; what comes twice is there once.
    let mut store = open(dir.path());
    assert_eq!(ranges(&store), [(at(10), at(50))]);
    let slot = store.slot("plc/a");
    for _ in 0..2 {
        store.fill("site", at(50), (11..51).map(|second| (slot, plain(second))), Filled::Through(at(10)));
    }
    store.fill("site", at(50), [], Filled::CopiedBut(Vec::new()));
    assert!(store.seal().unwrap());
    assert!(!store.seal().unwrap(), "nothing is left to be written");
    drop(store);
    let store = open(dir.path());
    assert_eq!((ranges(&store), store.cursor("site")), (Vec::new(), at(60)));
    assert!(same(&all(&store), &(1..61).map(plain).collect::<Vec<_>>()));
}

#[test]
fn what_nobody_has_of_a_gap_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.skip("site", at(0), at(100));
    let place = Place { item: "plc/a".to_owned(), row: RowId::at(Timestamp(7)) };
    store.fill("site", at(100), [], Filled::Copied(place.clone(), Vec::new()));
    store.seal().unwrap();
    drop(store);
    let mut store = open(dir.path());
    let whole = Gap {
        group: "site".to_owned(),
        after: at(0),
        through: at(100),
        copied: Some(place),
        lacking: Vec::new(),
        remains_of: Vec::new(),
    };
    assert_eq!(store.gaps(), [whole]);
    let rest = vec![(at(90), at(200)), (Position::START, at(20)), (at(30), at(30))];
    store.fill("site", at(100), [], Filled::CopiedBut(rest));
    assert_eq!(ranges(&store), [(at(0), at(20)), (at(90), at(100))]);
    assert!(store.gaps().iter().all(|gap| gap.copied.is_none()));
    store.fill("site", at(77), [], Filled::Through(at(77)));
    assert_eq!(ranges(&store).len(), 2, "a gap that nobody knows");
}

/// An older version reads the files of who never needed it, and says of others that they are of a newer one.
#[test]
fn what_remains_were_taken_of_a_gap_outlives_crashes_and_joins_until_the_gap_grows() {
    let dir = tempfile::tempdir().unwrap();
    let formats = || {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "history"));
        files.map(|path| std::fs::read(path).unwrap()[8]).collect::<Vec<_>>()
    };
    let mut store = open(dir.path());
    store.skip("site", Position::START, at(100));
    store.seal().unwrap();
    assert_eq!(formats(), [1]);
    let place = |item: &str| Some(Place { item: item.to_owned(), row: RowId::at(Timestamp(7)) });
    for (node, place) in [(2, place("plc/a")), (1, place("plc/b")), (2, None)] {
        store.fill("site", at(100), [], Filled::Remains(NodeRank(node), place));
    }
    for part in 0..16_u64 {
        take(&mut store, part * 10 + 101..part * 10 + 111);
        store.seal().unwrap();
    }
    while store.compact(u64::MAX / 2).unwrap() {}
    drop(store);
    assert!(formats().contains(&2));
    let mut store = open(dir.path());
    let expected = [(NodeRank(1), place("plc/b")), (NodeRank(2), None)];
    assert_eq!(store.gaps()[0].remains_of, expected);
    // The journal has a part of it by now: of what is missing still the same was taken.
    store.fill("site", at(100), [], Filled::ReadBut(vec![(at(3), at(5)), (at(9), at(100))]));
    assert!(store.gaps().iter().all(|gap| gap.remains_of == expected) && store.gaps().len() == 2);
    store.skip("site", at(4), at(6));
    assert_eq!(store.gaps()[0].remains_of, []);
}

#[test]
fn a_group_that_is_followed_no_more_has_neither_a_place_nor_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    take(&mut store, 1..11);
    store.skip("site", at(10), at(50));
    store.seal().unwrap();
    store.forget("site");
    assert!(store.seal().unwrap());
    drop(store);
    let mut store = open(dir.path());
    assert_eq!((store.cursor("site"), ranges(&store)), (Position::START, Vec::new()));
    assert_eq!(store.groups(), ["site"]);
    // Values that are read again are there once.
    take(&mut store, 5..21);
    assert!(same(&all(&store), &(1..21).map(plain).collect::<Vec<_>>()));
}

#[test]
fn joined_files_know_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for part in 0..16_u64 {
        take(&mut store, part * 10 + 1..part * 10 + 11);
        if part == 12 {
            store.skip("site", at(130), at(130_000));
        }
        store.seal().unwrap();
    }
    while store.compact(u64::MAX / 2).unwrap() {}
    assert!(store.reader().totals().files < 16);
    drop(store);
    assert_eq!(ranges(&open(dir.path())), [(at(130), at(130_000))]);
}

/// Nothing else changes: no record came, and the gap is what it was.
#[test]
fn rows_of_a_gap_that_stays_as_it_is_are_sealed_and_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreOptions { pending_bytes: 100, ..options(dir.path()) };
    let mut store = Store::open(small).unwrap().0;
    take(&mut store, 1..3);
    store.skip("site", at(2), at(500));
    store.seal().unwrap();
    let slot = store.slot("plc/a");
    let rows = (3..203).map(|second| (slot, plain(second)));
    store.fill("site", at(500), rows, Filled::Through(at(2)));
    assert!(store.is_full() && store.seal().unwrap() && !store.is_full());
    assert!(!store.seal().unwrap(), "there is nothing more");
    drop(store);
    assert_eq!(all(&open(dir.path())).len(), 202);
}
