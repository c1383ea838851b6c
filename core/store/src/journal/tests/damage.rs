//! What was written is not what is found.

use super::*;

#[test]
fn a_file_cut_anywhere_in_its_last_records_gives_all_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let written = fill(dir.path(), 8, 1 << 20);
    let file = journal_files(dir.path()).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let ends = entry_ends(&file);
    for cut in 0..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let (mut journal, recovery) = open(small(dir.path()));
        let left = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(all(&journal), written[..left], "cut at {cut}");
        assert_eq!(recovery.damaged, [], "a torn end is no damage");
        let end = if left == 0 && cut <= 64 { 0 } else { ends[..left].last().copied().unwrap_or(64) };
        assert_eq!(
            recovery.truncated_bytes,
            (cut - end.min(cut)) as u64 * u64::from(cut != 64),
            "cut at {cut}"
        );
        let last = journal.last();
        journal.append_encoded(if left == 0 { at(1, 1) } else { last.next() }, b"goes on").unwrap();
        journal.sync().unwrap();
        drop(journal);
        let (_, recovery) = open(small(dir.path()));
        assert_eq!(
            (recovery.damaged, recovery.truncated_bytes),
            (vec![], 0),
            "nothing of the torn end is left"
        );
        for leftover in fs::read_dir(dir.path()).unwrap() {
            let leftover = leftover.unwrap().path();
            if leftover.extension().is_some_and(|ending| ending == "damaged" || ending == "journal") {
                fs::remove_file(leftover).unwrap();
            }
        }
    }
}

#[test]
fn a_torn_end_is_kept_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 8, 1 << 20);
    let file = journal_files(dir.path()).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    let (_, recovery) = open(small(dir.path()));
    let start = whole.len() - 3 - usize::try_from(recovery.truncated_bytes).unwrap();
    let aside = PathBuf::from(format!("{}.{start}.damaged", file.display()));
    assert_eq!(fs::read(aside).unwrap(), whole[start..whole.len() - 3]);
}

#[test]
fn every_flipped_bit_costs_one_record_and_is_reported_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let written = fill(dir.path(), 6, 1 << 20);
    let file = journal_files(dir.path()).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let ends = entry_ends(&file);
    for bit in 64 * 8..ends[4] * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &flipped).unwrap();
        let (journal, recovery) = open(small(dir.path()));
        let hit = ends.iter().filter(|end| **end <= bit / 8).count();
        let mut expected = written.clone();
        expected.remove(hit);
        assert_eq!(all(&journal), expected, "bit {bit}");
        assert_eq!(recovery.damaged.len(), 1, "bit {bit}: {recovery:?}");
        let start = if hit == 0 { 64 } else { ends[hit - 1] };
        assert_eq!((&recovery.damaged[0].file, recovery.damaged[0].offset), (&file, start as u64));
        let end = journal.read_after(before_hit(&written, hit), 1 << 20, &mut Vec::new()).unwrap();
        assert!(matches!(end, ReadEnd::Gap { .. }), "a reader must learn that a record is missing");
    }
}

#[test]
fn a_lost_last_record_of_an_epoch_is_a_gap_although_the_next_epoch_begins_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(JournalOptions::new(dir.path()));
    for (counter, seq) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)] {
        journal.append_encoded(at(counter, seq), b"body").unwrap();
    }
    journal.sync().unwrap();
    drop(journal);
    let file = journal_files(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[64 + 3 * 28 - 1] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (journal, recovery) = open(JournalOptions::new(dir.path()));
    assert_eq!(recovery.damaged.len(), 1);
    let mut out = Vec::new();
    assert_eq!(journal.read_after(Position::START, 1000, &mut out).unwrap(), ReadEnd::More);
    assert_eq!(out.last().map(|entry| entry.position), Some(at(1, 2)));
    let end = journal.read_after(at(1, 2), 1000, &mut out).unwrap();
    assert_eq!((end, out.len()), (ReadEnd::Gap { resume: at(2, 0) }, 2));
    assert_eq!(journal.read_after(at(2, 0), 1000, &mut out).unwrap(), ReadEnd::CaughtUp);
    assert_eq!(out.len(), 4);
}

#[test]
fn damage_in_an_older_file_leaves_the_others_readable() {
    let dir = tempfile::tempdir().unwrap();
    let written = fill(dir.path(), 100, 1000);
    let files = journal_files(dir.path());
    assert!(files.len() >= 4);
    let whole = fs::read(&files[1]).unwrap();
    let lost = entries_of(&files[1]);
    for keep in [0, 20, 64, 200, whole.len() - 5] {
        let mut damaged = whole[..keep].to_vec();
        damaged.extend(std::iter::repeat_n(0xff, whole.len() - keep));
        fs::write(&files[1], &damaged).unwrap();
        let (journal, recovery) = open(small(dir.path()));
        assert!(recovery.damaged.iter().all(|damage| damage.file == files[1]), "{recovery:?}");
        assert!(!recovery.damaged.is_empty());
        let got = all(&journal);
        let (head, tail) = (lost[0].0, lost.last().unwrap().0);
        let around: Vec<_> = written.iter().filter(|(at, _)| *at < head || *at > tail).cloned().collect();
        assert!(around.iter().all(|entry| got.contains(entry)), "kept {keep}");
        assert_eq!(journal.last(), written.last().unwrap().0);
    }
    fs::write(&files[1], &whole).unwrap();
    assert_eq!(all(&open(small(dir.path())).0), written);
}

#[test]
fn a_missing_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100, 1000);
    let files = journal_files(dir.path());
    fs::remove_file(&files[2]).unwrap();
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.damaged.len(), 1);
    assert_eq!(recovery.damaged[0].file, files[3]);
    assert!(recovery.damaged[0].what.contains("missing"));
    assert!(!all(&journal).is_empty());
}

#[test]
fn a_file_of_a_newer_version_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3, 1000);
    let file = journal_files(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..56]);
    bytes[56..60].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let error = Journal::open(small(dir.path()), [].into()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { got: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_kill_between_write_and_sync_loses_no_durable_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=5 {
        journal.append(&event(number)).unwrap();
    }
    let durable = journal.sync().unwrap();
    let file = journal_files(dir.path()).pop().unwrap();
    let synced_bytes = fs::metadata(&file).unwrap().len();
    for number in 6..=8 {
        journal.append(&event(number)).unwrap();
    }
    journal.write().unwrap();
    drop(journal);
    let whole = fs::read(&file).unwrap();
    for cut in usize::try_from(synced_bytes).unwrap()..=whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let (journal, _) = open(small(dir.path()));
        assert!(journal.last() >= durable);
        let got = all(&journal);
        assert!(got.len() >= 5 && got.iter().map(|(at, _)| at.seq).eq(1..=got.len() as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_files_never_panic_and_leave_a_usable_journal(
        content in prop::collection::vec(any::<u8>(), 0..400),
        keep in 0_usize..120,
        is_last in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 30, 1000);
        let files = journal_files(dir.path());
        let file = if is_last { files.last().unwrap() } else { &files[0] };
        let mut bytes = fs::read(file).unwrap();
        bytes.truncate(keep);
        bytes.extend(content);
        fs::write(file, bytes).unwrap();
        let (mut journal, _) = open(small(dir.path()));
        all(&journal);
        journal.begin_epoch(epoch(1 << 40)).unwrap();
        journal.append(&event(1)).unwrap();
        journal.sync().unwrap();
        prop_assert_eq!(all(&journal).last().unwrap().0, at(1 << 40, 1));
    }
}

pub(super) fn fill(dir: &Path, count: u64, segment_bytes: u64) -> Vec<(Position, Vec<u8>)> {
    let (mut journal, _) = open(JournalOptions { segment_bytes, ..JournalOptions::new(dir) });
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=count {
        journal.append(&event(number)).unwrap();
    }
    journal.sync().unwrap();
    all(&journal)
}

fn entry_ends(path: &Path) -> Vec<usize> {
    let mut end = 64;
    entries_of(path)
        .iter()
        .map(|(_, body)| {
            end += 24 + body.len();
            end
        })
        .collect()
}

fn before_hit(written: &[(Position, Vec<u8>)], hit: usize) -> Position {
    hit.checked_sub(1).map_or(Position::START, |before| written[before].0)
}
