//! A history is put away and brought back.

use twinhub_model::{Epoch, NodeRank, Position};

use super::{plain, same};
use crate::{Query, Row, Store, StoreOptions, is_file_name, restore};

fn options(dir: &std::path::Path) -> StoreOptions {
    StoreOptions { retain: None, ..StoreOptions::new(dir) }
}

#[test]
fn what_was_put_away_is_there_again_and_goes_on_with_a_new_journal() {
    let (dir, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = parent.path().join("history");
    let at = |seq| Position::new(Epoch::new(9, NodeRank(0)), seq);
    let (mut store, _) = Store::open(options(dir.path())).unwrap();
    let slot = store.slot("plc/a");
    for part in 0..3 {
        store.append("site", at(part * 10 + 10), (0..10).map(|i| (slot, plain(part * 10 + i))));
        store.seal().unwrap();
    }
    store.skip("site", at(30), at(50));
    let whole = store.reader().snapshot(u64::MAX).unwrap();
    assert_eq!((whole.files.len(), whole.rows, whole.is_cut), (3, 30, false));
    let newest = store.reader().snapshot(whole.files[2].1.len() as u64 + 1).unwrap();
    assert_eq!((&newest.files[..], newest.rows, newest.is_cut), (&whole.files[2..], 10, true));

    let files: Vec<(&str, &[u8])> = whole.files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    // What a restore left that was cut off hinders none, and is not taken for a part of it.
    let draft = parent.path().join("history.new");
    std::fs::create_dir(&draft).unwrap();
    std::fs::write(draft.join("000000000001-000000000009.history"), &files[0].1[..9]).unwrap();
    std::fs::create_dir(&other).unwrap();
    assert_eq!(restore(&options(&other), &files).unwrap(), 30);
    assert!(!draft.exists());
    let before = names(&other);
    assert!(restore(&options(&other), &files[..1]).unwrap_err().to_string().contains("restore into"));
    assert_eq!((names(&other), draft.exists()), (before, false), "nothing is written");
    let (mut store, recovery) = Store::open(options(&other)).unwrap();
    assert_eq!(recovery.damage, []);
    assert_eq!((store.cursor("site"), store.gaps()), (Position::START, Vec::new()));
    // The new journal begins with epoch 1.
    let slot = store.slot("plc/a");
    store.append("site", Position::new(Epoch::new(1, NodeRank(0)), 1), (30..40).map(|i| (slot, plain(i))));
    let rows: Vec<Row> = store.reader().rows(&Query::all("plc/a")).unwrap().collect();
    assert!(same(&rows, &(0..40).map(plain).collect::<Vec<_>>()));
}

fn names(dir: &std::path::Path) -> std::collections::BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn only_names_of_history_files_are_written() {
    assert!(is_file_name("000000000001-000000000009.history"));
    for name in ["", "history.lock", "../1-2.history", "1-2.history.damaged", "a/1-2.history", "2-1.history"]
    {
        assert!(!is_file_name(name), "{name}");
    }
}
