//! Telegrams that two nodes heard and each journaled alone.

use std::time::Duration;

use proptest::prelude::*;
use twinhub_model::{Epoch, NodeRank, Position, Quality, SampleFlags, Timestamp, Value};

use crate::{Fork, Query, Row, Store, StoreOptions, Telegram};

const MILLI: i64 = 1_000_000;
const TOLERANCE: Duration = Duration::from_millis(100);

const fn theirs(seq: u64) -> Position {
    Position::new(Epoch::new(1, NodeRank(0)), seq)
}

const fn ours(seq: u64) -> Position {
    Position::new(Epoch::new(2, NodeRank(1)), seq)
}

fn fork() -> Fork {
    Fork { common: theirs(10), epochs: vec![theirs(10).epoch] }
}

fn row(millis: i64, value: i64, position: Position) -> Row {
    let time = Timestamp(millis * MILLI);
    Row {
        source: time,
        server: time,
        value: Value::I64(value),
        quality: Quality::GOOD,
        flags: SampleFlags::default(),
        position,
        place: 0,
    }
}

fn telegram(millis: i64, value: i64, seq: u64) -> Telegram {
    Telegram { source: Timestamp(millis * MILLI), value: Value::I64(value), position: theirs(seq) }
}

fn store(dir: &std::path::Path, rows: &[Row]) -> Store {
    let (mut store, _) = Store::open(StoreOptions { retain: None, ..StoreOptions::new(dir) }).unwrap();
    let slot = store.slot("knx/switch");
    for (number, row) in (1..).zip(rows) {
        store.append("site", ours(number), [(slot, row.clone())]);
        if number % 3 == 0 {
            store.seal().unwrap();
        }
    }
    store
}

fn twins(store: &Store, heard: &[Telegram]) -> Vec<bool> {
    store.reader().twins("knx/switch", heard, &fork(), TOLERANCE).unwrap()
}

#[test]
fn a_row_is_the_twin_of_one_telegram_that_is_near_and_equal() {
    let dir = tempfile::tempdir().unwrap();
    let uncertain = Row { quality: Quality::UNCERTAIN_LAST_USABLE, ..row(700, 9, ours(6)) };
    let store = store(
        dir.path(),
        &[
            row(990, 5, theirs(9)),
            row(1005, 1, ours(2)),
            row(1010, 1, ours(3)),
            row(1020, 2, ours(4)),
            row(90_000, 1, ours(5)),
            uncertain,
        ],
    );
    let heard = [
        telegram(1000, 5, 11),
        telegram(1000, 1, 12),
        telegram(1001, 1, 13),
        telegram(1002, 1, 14),
        telegram(1003, 2, 15),
        telegram(2000, 2, 16),
        telegram(89_950, 1, 17),
        telegram(700, 9, 18),
    ];
    let expected = [
        false, // both sides have the row
        true, true, false, // two rows stand for two
        true, false, // too long after
        true, false, // a value that is not good came with no telegram
    ];
    assert_eq!(twins(&store, &heard), expected);
    let reader = store.reader();
    assert_eq!(reader.twins("knx/other", &heard, &fork(), TOLERANCE).unwrap(), [false; 8]);
}

/// The active node is lost in the middle: the next one asks of what is left.
#[test]
fn twins_of_telegrams_that_were_taken_in_before_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), &[row(1005, 1, ours(2)), row(1010, 1, ours(3))]);
    let heard = [telegram(1000, 1, 12), telegram(1001, 1, 13), telegram(1002, 1, 14)];
    assert_eq!(twins(&store, &heard), [true, true, false]);
    let slot = store.slot("knx/switch");
    let taken = Row { flags: SampleFlags::TWIN, ..row(1000, 1, theirs(12)) };
    store.append("site", ours(4), [(slot, taken)]);
    assert_eq!(twins(&store, &heard[1..]), [true, false]);
    // A record that was taken in and is asked for again is its own.
    assert_eq!(twins(&store, &heard), [true, true, false]);
}

/// On the node that had it in a file before it learns of its twin, and on one that hears of it first.
#[test]
fn what_turns_out_to_be_a_twin_is_not_shown_whichever_came_first() {
    let marked = |row: &Row| Row { flags: SampleFlags::TWIN, ..row.clone() };
    let (one, twin) = (row(1000, 1, theirs(12)), row(1005, 1, ours(2)));
    for order in [[one.clone(), twin.clone(), marked(&one)], [marked(&one), one.clone(), twin.clone()]] {
        for seal in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut store = store(dir.path(), &[]);
            let slot = store.slot("knx/switch");
            for (number, row) in (1..).zip(&order) {
                store.append("site", ours(number), [(slot, row.clone())]);
                if seal {
                    store.seal().unwrap();
                }
            }
            let reader = store.reader();
            let query = Query::all("knx/switch");
            let shown: Vec<Row> = reader.rows(&query).unwrap().collect();
            assert_eq!(shown, std::slice::from_ref(&twin));
            let query = Query::between("knx/switch", Timestamp(0), Timestamp(2_000 * MILLI));
            let bucket = reader.aggregates(&query, u64::MAX, query.to).unwrap().next().unwrap();
            assert_eq!((bucket.rows, bucket.numbers.unwrap().count), (1, 1));
            assert_eq!(
                reader.last_before("knx/switch", Timestamp(1_006 * MILLI)).unwrap(),
                Some(twin.clone())
            );
            assert_eq!(reader.last_before("knx/switch", Timestamp(1_005 * MILLI)).unwrap(), None);
        }
    }
}

proptest! {
    /// However many there are: a value is as often a twin as both sides have it nearby, at most.
    #[test]
    fn no_more_are_twins_than_there_are_rows(
        have in prop::collection::vec((0_i64..600, 0_i64..3), 0..30),
        heard in prop::collection::vec((0_i64..600, 0_i64..3), 0..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<Row> =
            (1..).zip(&have).map(|(seq, (millis, value))| row(*millis, *value, ours(seq))).collect();
        let store = store(dir.path(), &rows);
        let heard: Vec<Telegram> =
            (11..).zip(&heard).map(|(seq, (millis, value))| telegram(*millis, *value, seq)).collect();
        let found = twins(&store, &heard);
        for value in 0..3 {
            let count = heard.iter().zip(&found).filter(|(one, is)| **is && one.value == Value::I64(value)).count();
            prop_assert!(count <= have.iter().filter(|(_, other)| *other == value).count());
        }
        for (telegram, is_twin) in heard.iter().zip(&found) {
            let is_near = |row: &&Row| row.source.0.abs_diff(telegram.source.0) <= 100 * MILLI.unsigned_abs();
            let near = rows.iter().filter(is_near).any(|row| row.value == telegram.value);
            prop_assert!(near || !is_twin);
        }
    }
}
