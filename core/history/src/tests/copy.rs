//! One store fills its gap from another, whatever happens on the way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use twinhub_model::{Epoch, NodeRank, Position, Timestamp, Value};

use super::{plain, rows, same};
use crate::{
    Exchange, Filled, Lack, Place, Portion, Query, Range, Row, RowId, Store, StoreOptions, read_blocks,
};

fn open(dir: &Path) -> Store {
    Store::open(StoreOptions { retain: None, ..StoreOptions::new(dir) }).unwrap().0
}

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(1, NodeRank(0)), seq)
}

fn range(after: u64, through: u64) -> Range {
    Range { group: "site".to_owned(), after: at(after), through: at(through) }
}

fn all(store: &Store, item: &str) -> Vec<Row> {
    store.reader().rows(&Query::all(item)).unwrap().collect()
}

const ITEMS: [&str; 4] = ["plc/a", "plc/b", "knx/3/0/7", "gone/x"];

/// Records of four items, sealed every now and then, some in memory.
fn filled(dir: &Path, records: u64, every: u64) -> Store {
    let mut store = open(dir);
    let slots = ITEMS.map(|item| store.slot(item));
    for record in 1..=records {
        store.append("site", at(record), slots.map(|slot| (slot, plain(record))));
        if record % every == 0 {
            store.seal().unwrap();
        }
    }
    while store.compact(u64::MAX / 2).unwrap() {}
    store
}

/// Asks for a part of the first gap; returns whether there was one.
fn ask(from: &Store, store: &mut Store, bytes: usize, wanted: &dyn Fn(&str) -> bool) -> bool {
    let Some(gap) = store.gaps().first().cloned() else { return false };
    let range = Range { group: gap.group.clone(), after: gap.after, through: gap.through };
    let (portion, lack) = from.reader().portion(&range, gap.copied.as_ref(), wanted, bytes).unwrap();
    let answer = Exchange::Answer { number: 7, portion, lack };
    let Ok(Exchange::Answer { portion, lack, .. }) = Exchange::decode(&answer.encode()) else {
        panic!("an answer comes back");
    };
    read_blocks(&portion.blocks, &mut |key, rows| {
        let slot = store.slot(key);
        let rows: Vec<_> = rows.into_iter().map(|row| (slot, row)).collect();
        store.fill(&gap.group, gap.through, rows, Filled::Through(gap.after));
    })
    .unwrap();
    let filled = match portion.next {
        Some(place) => Filled::Copied(place, lack.ranges),
        None => Filled::CopiedBut(gap.rest(&lack.ranges)),
    };
    store.fill(&gap.group, gap.through, [], filled);
    true
}

/// Asks until the end; opens the asking store anew after each portion if `crashes`, sealed or not.
fn fetch(from: &Store, dir: &Path, bytes: usize, crashes: bool) -> (Store, usize) {
    let (mut store, mut portions) = (open(dir), 0);
    while ask(from, &mut store, bytes, &|_| true) {
        portions += 1;
        assert!(portions < 10_000);
        if crashes {
            if portions % 3 != 0 {
                store.seal().unwrap();
            }
            drop(store);
            store = open(dir);
        }
    }
    (store, portions)
}

#[test]
fn what_a_store_lacks_comes_from_another_one_also_over_crashes() {
    for (every, bytes, crashes) in
        [(1000, 1 << 16, false), (370, 300, true), (20_000, 1, false), (1000, 2000, true)]
    {
        let (whole_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = filled(whole_dir.path(), 12_000, every);
        {
            let mut store = open(dir.path());
            let slots = ITEMS.map(|item| store.slot(item));
            let live =
                |from: u64, to: u64| (from..=to).flat_map(|second| slots.map(|slot| (slot, plain(second))));
            store.append("site", at(300), live(1, 300));
            store.skip("site", at(300), at(11_000));
            store.append("site", at(12_000), live(11_001, 12_000));
            store.seal().unwrap();
        }
        let (store, portions) = fetch(&whole, dir.path(), bytes, crashes);
        for item in ITEMS {
            assert!(same(&all(&store, item), &all(&whole, item)), "{item} {every} {bytes} {crashes}");
        }
        // Items have more rows than a block.
        assert!(bytes > 10_000 || portions > 4, "{portions}");
        let count =
            |store: &Store| store.reader().totals().sealed_rows + store.reader().totals().pending_rows;
        // What was fetched twice is there twice until files are joined, and is read once.
        assert!(count(&store) == 48_000 || crashes, "{}", count(&store));
    }
}

/// A store that has nothing of the first records.
fn new(dir: &Path, lacks: u64) -> Store {
    let mut store = open(dir);
    store.skip("site", Position::START, at(lacks));
    store
}

fn takes(store: &mut Store, records: std::ops::RangeInclusive<u64>) {
    let slots = ITEMS.map(|item| store.slot(item));
    for record in records {
        store.append("site", at(record), slots.map(|slot| (slot, plain(record))));
    }
}

fn is_whole(store: &Store, records: u64) -> bool {
    let expected: Vec<Row> = (1..=records).map(plain).collect();
    ITEMS.iter().all(|item| same(&all(store, item), &expected))
}

/// The giver is behind when the copy begins, and has everything when its last portion is asked.
#[test]
fn what_a_store_reads_during_a_copy_is_missing_for_the_items_before() {
    for crashes in [false, true] {
        let (from_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut from = filled(from_dir.path(), 100, 30);
        let mut store = new(dir.path(), 200);
        assert!(ask(&from, &mut store, 1, &|_| true));
        takes(&mut from, 101..=200);
        if crashes {
            store.seal().unwrap();
            drop(store);
            store = open(dir.path());
        }
        while store.gaps().first().is_some_and(|gap| gap.after == Position::START) {
            assert!(ask(&from, &mut store, 1 << 20, &|_| true));
        }
        assert_eq!(store.gaps().first().map(|gap| (gap.after, gap.through)), Some((at(100), at(200))));
        while ask(&from, &mut store, 1 << 20, &|_| true) {}
        assert!(is_whole(&store, 200), "crashes: {crashes}");
    }
}

#[test]
fn what_a_store_reads_during_one_portion_is_missing_for_the_items_before() {
    let dir = tempfile::tempdir().unwrap();
    let (from, looked_at) = (RefCell::new(filled(dir.path(), 100, 30)), Cell::new(0));
    let reader = from.borrow().reader();
    let wanted = |_: &str| {
        looked_at.set(looked_at.get() + 1);
        if looked_at.get() == 3 {
            takes(&mut from.borrow_mut(), 101..=200);
        }
        true
    };
    let (portion, lack) = reader.portion(&range(0, 200), None, &wanted, 1 << 20).unwrap();
    assert_eq!((portion.next, lack.ranges), (None, vec![(at(100), at(200))]));
}

/// One node lacks a part in its half, another one nothing in the other half.
#[test]
fn what_one_node_lacked_is_missing_when_another_one_gives_the_end() {
    let (one_dir, two_dir, dir) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = open(one_dir.path());
    takes(&mut one, 1..=40);
    one.skip("site", at(40), at(60));
    takes(&mut one, 61..=100);
    let two = filled(two_dir.path(), 100, 30);
    let mut store = new(dir.path(), 100);
    assert!(ask(&one, &mut store, 1, &|_| true));
    while store.gaps().first().is_some_and(|gap| gap.after == Position::START) {
        assert!(ask(&two, &mut store, 1 << 20, &|_| true));
    }
    assert_eq!(store.gaps().first().map(|gap| (gap.after, gap.through)), Some((at(40), at(60))));
    while ask(&two, &mut store, 1 << 20, &|_| true) {}
    assert!(is_whole(&store, 100));
}

/// A restored node's journal begins with epoch 1; its old values have places before, between and behind the new ones.
#[test]
fn what_was_before_the_journal_goes_to_a_node_that_begins() {
    let (from_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = |second: u64| {
        let position = if second <= 20 { at(second * 4) } else { Position::new(Epoch(u64::MAX / 2), second) };
        Row { position, ..plain(second) }
    };
    let mut from = open(from_dir.path());
    let slots = ITEMS.map(|item| from.slot(item));
    let last = old(50).position;
    from.append("site", last, (1..=50).flat_map(|second| slots.map(|slot| (slot, old(second)))));
    from.seal().unwrap();
    from.forget("site");
    takes(&mut from, 51..=80);
    from.seal().unwrap();
    let mut store = open(dir.path());
    takes(&mut store, 51..=80);
    store.begin("site", at(50));
    assert!(ask(&from, &mut store, 1 << 20, &|_| true));
    assert_eq!(store.gaps(), []);
    let expected: Vec<Row> = (1..=50).map(old).chain((51..=80).map(plain)).collect();
    for item in ITEMS {
        assert!(same(&all(&store, item), &expected), "{item}");
    }
    // A node that has begun already does not want it.
    let (portion, _) = from.reader().portion(&range(81, 90), None, &|_| true, 1 << 20).unwrap();
    assert_eq!(portion, Portion { done_permille: 1000, ..Portion::default() });
}

#[test]
fn only_rows_of_the_range_and_of_wanted_items_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 100, 10);
    let (portion, _) = store.reader().portion(&range(20, 25), None, &|key| key != "gone/x", 1 << 20).unwrap();
    assert_eq!((portion.next, portion.done_permille), (None, 1000));
    let mut found = BTreeSet::new();
    let count = read_blocks(&portion.blocks, &mut |key, rows| {
        found.extend(rows.iter().map(|row| (key.to_owned(), row.position)));
    });
    let expected = ITEMS.iter().filter(|item| **item != "gone/x");
    let expected = expected.flat_map(|item| (21..=25).map(|seq| ((*item).to_owned(), at(seq))));
    assert_eq!((count.unwrap(), found), (15, expected.collect()));
}

#[test]
fn a_store_says_what_it_lacks_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    assert_eq!(
        store.reader().lack(&range(5, 50)),
        Lack { ranges: vec![(at(5), at(50))], is_behind: false },
        "it does not follow that group"
    );
    store.append("site", at(10), []);
    store.skip("site", at(10), at(20));
    store.append("site", at(40), []);
    let lack = store.reader().lack(&range(15, 50));
    assert_eq!(lack, Lack { ranges: vec![(at(15), at(20)), (at(40), at(50))], is_behind: true });
    assert_eq!(store.reader().lack(&range(20, 40)), Lack::default());
}

#[test]
fn long_texts_go_in_portions_that_fit_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = open(dir.path());
    let slot = whole.slot("plc/text");
    // The longest that is legal comes behind some that fill a block nearly, and behind short ones.
    for seq in 1..=40 {
        let length = match seq {
            20 | 39 => 1_000_000,
            19 => 60_000,
            21..39 => 10,
            _ => usize::try_from(seq).unwrap() * 10_000,
        };
        let text = "x".repeat(length);
        whole.append("site", at(seq), [(slot, Row { value: Value::Str(text.into()), ..plain(seq) })]);
    }
    let reader = whole.reader();
    let (mut from, mut rows) = (None, 0);
    loop {
        let (portion, _) = reader.portion(&range(0, 40), from.as_ref(), &|_| true, 64 * 1024).unwrap();
        assert!(portion.blocks.len() <= 1000 * 1024);
        rows += read_blocks(&portion.blocks, &mut |_, _| {}).unwrap();
        let Some(next) = portion.next else { break };
        assert_ne!(Some(&next), from.as_ref(), "it goes on");
        from = Some(next);
    }
    assert_eq!(rows, 40);
}

/// Flips a byte in the middle of the first block of a file.
fn damage_first_block(dir: &Path, number: usize) {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "history")).collect();
    files.sort();
    let mut bytes = std::fs::read(&files[number]).unwrap();
    let block = bytes.windows(4).position(|bytes| bytes == [0xb1, b'O', b'C', b'K']).unwrap();
    bytes[block + 20] ^= 1;
    std::fs::write(&files[number], bytes).unwrap();
}

/// The file with the records 31 to 60 has a damaged block; nobody looked at it so far.
#[test]
fn what_is_damaged_where_a_copy_comes_from_is_missing_and_comes_from_a_third_store() {
    for (bytes, joins) in [(1 << 20, false), (1, false), (1, true)] {
        let (one_dir, two_dir, dir) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let two = filled(two_dir.path(), 100, 30);
        filled(one_dir.path(), 100, 30).seal().unwrap();
        damage_first_block(one_dir.path(), 1);
        let mut one = open(one_dir.path());
        let mut store = new(dir.path(), 100);
        let damaged = (at(30), at(60));
        let first = |store: &Store| store.gaps().first().map(|gap| (gap.after, gap.through));
        while first(&store).is_some_and(|gap| gap != damaged) {
            assert!(ask(&one, &mut store, bytes, &|_| true));
        }
        assert_eq!(first(&store), Some(damaged), "{bytes}");
        assert!(!is_whole(&store, 100));
        // That one does not have it however often it is asked.
        assert!(one.reader().lack(&range(30, 60)).covers(at(30), at(60)));
        assert_eq!(first(&one), None);
        if joins {
            takes(&mut one, 101..=110);
            for part in 11..20 {
                one.seal().unwrap();
                takes(&mut one, part * 10 + 1..=part * 10 + 10);
            }
            assert!(one.reader().totals().files > 8);
            while one.compact(1 << 20).unwrap() {}
        }
        assert_eq!(one.take_damage().len(), 1);
        // It looks for that, too, also when the file was joined with others and the damage is gone.
        assert_eq!(first(&one), Some(damaged));
        for store in [&mut store, &mut one] {
            while ask(&two, store, 1 << 20, &|_| true) {}
        }
        assert!(is_whole(&store, 100) && is_whole(&one, if joins { 200 } else { 100 }), "{bytes} {joins}");
    }
}

/// The oldest files go between two portions: of age that is as it should be, for room another store may have it.
#[test]
fn what_is_deleted_for_room_during_a_copy_comes_from_a_third_store() {
    for (is_for_room, after) in [(true, 20), (false, 20), (true, 0)] {
        let (one_dir, two_dir, dir) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let two = filled(two_dir.path(), 100, 30);
        filled(one_dir.path(), 100, 30).seal().unwrap();
        let bytes = std::fs::read(one_dir.path().join("000000000004-000000000004.history")).unwrap().len();
        let retain = (!is_for_room).then(|| std::time::Duration::from_secs(40));
        let max_bytes = if is_for_room { bytes as u64 } else { u64::MAX };
        let options = StoreOptions { retain, max_bytes, ..StoreOptions::new(one_dir.path()) };
        let mut one = Store::open(options).unwrap().0;
        let mut store = open(dir.path());
        let from = if after == 0 { Position::START } else { at(after) };
        takes(&mut store, 1..=after);
        store.skip("site", from, at(100));
        assert!(ask(&one, &mut store, 1, &|_| true));
        let deleted = one.retain(Timestamp(100 * super::SECOND)).unwrap();
        assert_eq!(deleted.for_room, is_for_room);
        let first = |store: &Store| store.gaps().first().map(|gap| (gap.after, gap.through));
        while first(&store).is_some_and(|gap| gap == (from, at(100))) {
            assert!(ask(&one, &mut store, 1, &|_| true));
        }
        let is_told = is_for_room && after > 0;
        assert_eq!(first(&store), is_told.then_some((at(20), at(90))), "{is_for_room} {after}");
        while ask(&two, &mut store, 1 << 20, &|_| true) {}
        assert_eq!(is_whole(&store, 100), is_told);
    }
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Position::new(Epoch(epoch), seq))
}

fn place() -> impl Strategy<Value = Option<Place>> {
    let row = (any::<i64>(), position(), any::<u32>());
    prop::option::of((".{0,9}", row).prop_map(|(item, (source, position, place))| Place {
        item,
        row: RowId { source: Timestamp(source), position, place },
    }))
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let range = (".{0,9}", position(), position());
    let range = range.prop_map(|(group, after, through)| Range { group, after, through });
    let ranges = prop::collection::vec((position(), position()), 0..4);
    prop_oneof![
        (any::<u32>(), range, place(), any::<u32>()).prop_map(|(number, range, from, bytes)| Exchange::Ask {
            number,
            range,
            from,
            bytes
        }),
        (any::<u32>(), bytes(), place(), 0_u16..=1000, ranges, any::<bool>()).prop_map(
            |(number, blocks, next, done_permille, ranges, is_behind)| Exchange::Answer {
                number,
                portion: Portion { blocks, next, done_permille },
                lack: Lack { ranges, is_behind },
            }
        ),
        (any::<u32>(), ".{0,20}").prop_map(|(number, text)| Exchange::Refusal { number, text }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back(message in exchange()) {
        prop_assert_eq!(Exchange::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn hostile_messages_never_panic(
        message in exchange(), at in any::<prop::sample::Index>(), byte in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut damaged = message.encode();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        Exchange::decode(&damaged).ok();
        Exchange::decode(&damaged[..at]).ok();
        Exchange::decode(&bytes).ok();
        read_blocks(&bytes, &mut |_, _| {}).ok();
    }

    /// What is handed out of changed bytes is what was written, or nothing.
    #[test]
    fn a_flipped_or_missing_byte_of_a_portion_is_noticed(
        rows in rows(1..60), at in any::<prop::sample::Index>(), mask in 1_u8.., cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let slot = store.slot("plc/a");
        let everything = Position::new(Epoch(u64::MAX), u64::MAX);
        store.append("site", everything, rows.into_iter().map(|row| (slot, row)));
        let range = Range { group: "site".to_owned(), after: Position::START, through: everything };
        let mut blocks = store.reader().portion(&range, None, &|_| true, 1 << 20).unwrap().0.blocks;
        prop_assert!(!blocks.is_empty());
        let at = at.index(blocks.len());
        if cut { blocks.truncate(at) } else { blocks[at] ^= mask }
        let read = read_blocks(&blocks, &mut |_, _| {});
        prop_assert!(read.is_err() || (cut && at == 0));
    }
}

/// A few bytes that say that there are thousands of rows, again and again, do not fill the memory.
#[test]
fn a_portion_that_claims_too_many_rows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let slot = store.slot("plc/a");
    let equal = |place: u32| Row { place, value: Value::Null, ..plain(1) };
    store.append("site", at(1), (0..4096).map(|place| (slot, equal(place))));
    let block = store.reader().portion(&range(0, 1), None, &|_| true, 1 << 20).unwrap().0.blocks;
    let many: Vec<u8> = block.iter().copied().cycle().take(block.len() * 1000).collect();
    let mut rows = 0;
    assert!(read_blocks(&many, &mut |_, some| rows += some.len()).is_err());
    assert!(rows <= 300_000, "{rows}");
}
