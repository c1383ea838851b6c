//! Files that are cut, changed or cannot be written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use twinhub_model::{Epoch, NodeRank, Position, Timestamp};
use twinhub_store::{Disk, Medium};

use super::{SECOND, plain, same};
use crate::{Query, Row, Store, StoreOptions};

fn options(dir: &Path) -> StoreOptions {
    StoreOptions { retain: None, ..StoreOptions::new(dir) }
}

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(1, NodeRank(0)), seq)
}

/// Two files of three items with `rows` rows each.
fn fill(dir: &Path, rows: u64) {
    let (mut store, _) = Store::open(options(dir)).unwrap();
    for part in 0..2 {
        for item in ["plc/a", "plc/b", "plc/c"] {
            let slot = store.slot(item);
            store.append("site", at(part + 1), (0..rows).map(|i| (slot, plain(part * rows + i))));
        }
        store.seal().unwrap();
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn all(store: &Store, item: &str) -> Vec<Row> {
    store.reader().rows(&Query::all(item)).unwrap().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// One byte is changed, or all from one on are gone: what is read is what was written, the other file is whole,
    /// and what is missing is said.
    #[test]
    fn a_damaged_file_costs_only_what_is_damaged(
        place in any::<prop::sample::Index>(), mask in 1_u8.., cut in any::<bool>(), joins in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 50);
        let victim = files(dir.path(), "history").remove(0);
        let mut bytes = fs::read(&victim).unwrap();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= mask }
        fs::write(&victim, &bytes).unwrap();
        let (mut store, recovery) = Store::open(options(dir.path())).unwrap();
        if joins {
            while store.compact(1 << 20).unwrap() {}
        }
        let mut said = recovery.damage.len();
        let mut missing = 0;
        for item in ["plc/a", "plc/b", "plc/c"] {
            let rows = all(&store, item);
            let expected: Vec<Row> = (0..100).map(plain).collect();
            if !same(&rows, &expected) {
                prop_assert!(same(&rows, &expected[50..]), "{} rows of {item}", rows.len());
                missing += 1;
            }
        }
        said += store.take_damage().len();
        prop_assert!(missing == 0 || said > 0, "{missing} items lack rows and nobody says so");
        // Every file is a whole one again, or still reports.
        drop(store);
        let (_, again) = Store::open(options(dir.path())).unwrap();
        prop_assert!(again.damage.is_empty());
    }

    #[test]
    fn a_file_of_any_bytes_is_set_aside(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("000000000001-000000000001.history"), &bytes).unwrap();
        let (store, recovery) = Store::open(options(dir.path())).unwrap();
        prop_assert_eq!(recovery.damage.len(), 1);
        prop_assert_eq!(store.reader().totals().files, 0);
        prop_assert_eq!(files(dir.path(), "damaged").len(), 1);
    }
}

/// Head, index or trailer: the blocks that are found are saved, and what may have stood beside them is missing, also
/// after a crash right behind the start.
#[test]
fn what_a_damaged_file_may_have_held_is_missing() {
    // The second of three files; what the place of the damage leaves to go by.
    for (what, place, expected) in [
        ("trailer", usize::MAX, (at(10), at(20))),
        ("head", 20, (at(10), at(30))),
        ("all", 0, (at(10), at(30))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(options(dir.path())).unwrap();
        let slot = store.slot("plc/a");
        for seq in 1..=30 {
            store.append("site", at(seq), [(slot, plain(seq))]);
            if seq % 10 == 0 {
                store.seal().unwrap();
            }
        }
        drop(store);
        let victim = files(dir.path(), "history").remove(1);
        let mut bytes = fs::read(&victim).unwrap();
        let end = bytes.len() - 1;
        match what {
            "all" => bytes.fill(0),
            _ => bytes[place.min(end)] ^= 1,
        }
        fs::write(&victim, &bytes).unwrap();
        for start in 0..2 {
            let (store, recovery) = Store::open(options(dir.path())).unwrap();
            assert_eq!(recovery.damage.len(), 1 - start, "{what}");
            let gaps: Vec<_> = store.gaps().iter().map(|gap| (gap.after, gap.through)).collect();
            assert_eq!(gaps, [expected], "{what}, start {start}");
            assert_eq!(store.cursor("site"), at(30), "{what}");
        }
    }
}

/// The journal is read again behind the last file that says how far it came.
#[test]
fn a_damaged_file_at_the_end_is_read_from_the_journal_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(options(dir.path())).unwrap();
    let slot = store.slot("plc/a");
    for seq in [1, 2] {
        store.append("site", at(seq), [(slot, plain(seq))]);
        store.seal().unwrap();
    }
    drop(store);
    let victim = files(dir.path(), "history").remove(1);
    let length = fs::metadata(&victim).unwrap().len();
    fs::write(&victim, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let (store, recovery) = Store::open(options(dir.path())).unwrap();
    assert_eq!((recovery.damage.len(), store.gaps().len(), store.cursor("site")), (1, 0, at(1)));
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(options(dir.path())).unwrap();
    assert!(Store::open(options(dir.path())).unwrap_err().to_string().contains("in use"));
}

/// A crash between the rename of the joined file and the removal of its parts.
#[test]
fn parts_of_a_joined_file_are_not_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(options(dir.path())).unwrap();
    let slot = store.slot("plc/a");
    for part in 0..8 {
        store.append("site", at(part + 1), (0..10).map(|i| (slot, plain(part * 10 + i))));
        store.seal().unwrap();
    }
    let part = files(dir.path(), "history").remove(2);
    let bytes = fs::read(&part).unwrap();
    while store.compact(u64::MAX / 2).unwrap() {}
    drop(store);
    assert_eq!(files(dir.path(), "history").len(), 1);
    fs::write(&part, bytes).unwrap();
    fs::write(part.with_extension("new"), b"half a file").unwrap();
    let (store, recovery) = Store::open(options(dir.path())).unwrap();
    assert_eq!((recovery.rows, recovery.files, recovery.damage.len()), (80, 1, 0));
    assert_eq!(store.cursor("site"), at(8));
    assert_eq!(all(&store, "plc/a").len(), 80);
    assert_eq!(files(dir.path(), "new"), Vec::<PathBuf>::new());
}

#[test]
fn old_files_are_deleted_and_the_cursor_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { retain: Some(Duration::from_secs(100)), ..StoreOptions::new(dir.path()) };
    let (mut store, _) = Store::open(options.clone()).unwrap();
    let slot = store.slot("plc/a");
    for part in 0..4 {
        store.append("site", at(part + 1), (0..100).map(|i| (slot, plain(part * 100 + i))));
        store.seal().unwrap();
    }
    let deleted = store.retain(Timestamp(400 * SECOND)).unwrap();
    assert_eq!((deleted.files, deleted.rows, deleted.for_room), (3, 300, false));
    assert_eq!(all(&store, "plc/a").len(), 100);
    store.retain(Timestamp(9_000 * SECOND)).unwrap();
    drop(store);
    let (mut store, _) = Store::open(StoreOptions { max_bytes: 10, retain: None, ..options }).unwrap();
    assert_eq!(store.cursor("site"), at(4));
    assert_eq!(store.retain(Timestamp(0)).unwrap().files, 0);
}

#[test]
fn too_much_is_deleted_from_the_oldest_on() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 50);
    let bytes: u64 = files(dir.path(), "history").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let (mut store, _) = Store::open(StoreOptions { max_bytes: bytes - 1, ..options(dir.path()) }).unwrap();
    let deleted = store.retain(Timestamp(0)).unwrap();
    assert_eq!((deleted.files, deleted.for_room), (1, true));
    assert_eq!(all(&store, "plc/a").first().unwrap().source, Timestamp(50 * SECOND));
}

/// A disk that is full when told so.
#[derive(Debug, Default)]
struct Full(AtomicBool);

impl Medium for Full {
    fn create(&self, path: &Path) -> io::Result<File> {
        Disk.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        Disk.sync(file)
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Full::default());
    let (mut store, _) =
        Store::open_on(StoreOptions { pending_bytes: 200, ..options(dir.path()) }, disk.clone()).unwrap();
    let slot = store.slot("plc/a");
    disk.0.store(true, Ordering::Relaxed);
    store.append("site", at(1), (0..100).map(|i| (slot, plain(i))));
    assert!(store.seal().unwrap_err().is_full());
    assert_eq!(store.sealed("site"), Position::START);
    store.append("site", at(2), (100..200).map(|i| (slot, plain(i))));
    assert!(store.is_full() && store.wants_seal());
    assert_eq!(all(&store, "plc/a").len(), 200, "what waits is there for readers");
    disk.0.store(false, Ordering::Relaxed);
    assert!(store.seal().unwrap());
    assert_eq!(store.sealed("site"), at(1));
    assert!(store.seal().unwrap());
    assert!(!store.seal().unwrap());
    assert_eq!(store.sealed("site"), at(2));
    drop(store);
    let (store, _) = Store::open(options(dir.path())).unwrap();
    assert!(same(&all(&store, "plc/a"), &(0..200).map(plain).collect::<Vec<_>>()));
}
