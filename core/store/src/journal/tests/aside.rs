//! What was set aside can be read again.

use super::*;

/// Everything in pieces of this size, and how often reading stopped before a gap.
fn read_all(journal: &Journal, bytes_max: usize) -> (Vec<(Position, Vec<u8>)>, usize) {
    let (mut asides, damaged) = journal.asides().unwrap();
    assert_eq!(damaged, []);
    let (mut out, mut gaps) = (Vec::new(), 0);
    for aside in &mut asides {
        let mut after = aside.common();
        loop {
            let before = out.len();
            let read =
                aside.read_after(after, bytes_max, &mut |at, body| out.push((at, body.to_vec()))).unwrap();
            gaps += usize::from(read.is_behind_gap);
            assert_eq!(out.len() == before, read.is_complete);
            assert!(read.remaining_bytes <= aside.bytes());
            match out.last() {
                Some((last, _)) if !read.is_complete => after = *last,
                Some(_) | None => break,
            }
        }
    }
    (out, gaps)
}

fn forked(dir: &Path, position: Position) -> (Journal, Vec<(Position, Vec<u8>)>) {
    let (mut journal, _) = open(small(dir));
    for part in 1..=3 {
        journal.begin_epoch(epoch(part)).unwrap();
        for number in 1..=40 {
            journal.append(&event(number)).unwrap();
        }
    }
    let cut: Vec<_> = all(&journal).into_iter().filter(|(at, _)| *at > position).collect();
    journal.truncate_after(position).unwrap().expect("records follow");
    (journal, cut)
}

#[test]
fn what_was_set_aside_is_handed_out_whatever_the_size_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, cut) = forked(dir.path(), at(1, 10));
    for bytes_max in [1, 300, 5000, usize::MAX] {
        assert_eq!(read_all(&journal, bytes_max), (cut.clone(), 0), "{bytes_max}");
    }
    let (mut asides, _) = journal.asides().unwrap();
    let [aside] = &mut asides[..] else { panic!("one place") };
    assert_eq!(aside.common(), at(1, 10));
    // From any place, as somebody asks who has a part of it already.
    for (number, (from, _)) in cut.iter().enumerate().step_by(7).rev() {
        let mut got = Vec::new();
        aside.read_after(*from, 1, &mut |at, _| got.push(at)).unwrap();
        let next: Vec<_> = cut.get(number + 1).map(|(at, _)| *at).into_iter().collect();
        assert_eq!(got, next);
    }
    drop(journal);
    let (journal, _) = open(small(dir.path()));
    assert_eq!(read_all(&journal, 700).0, cut, "it outlives a restart");
}

/// Files that were read before are not read again for somebody who has what stands in them.
#[test]
fn reading_begins_in_the_file_that_holds_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, cut) = forked(dir.path(), at(1, 10));
    let (mut asides, _) = journal.asides().unwrap();
    let files: Vec<PathBuf> = asides[0].files().map(Path::to_owned).collect();
    assert!(files.len() > 3);
    let (last, before) = (cut[cut.len() - 1].0, cut[cut.len() - 2].0);
    for file in &files[..files.len() - 2] {
        fs::remove_file(file).unwrap();
    }
    let mut got = Vec::new();
    asides[0].read_after(before, 1, &mut |at, _| got.push(at)).unwrap();
    assert_eq!(got, [last]);
}

/// It is tried again every second for as long as the disk is full.
#[test]
fn records_that_cannot_be_set_aside_leave_no_copies_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    for part in 1..=3 {
        journal.begin_epoch(epoch(part)).unwrap();
        for number in 1..=40 {
            journal.append(&event(number)).unwrap();
        }
    }
    let before = all(&journal);
    let obstacle = dir.path().join("fork-1.0-10.3.journal.new");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..3 {
        journal.truncate_after(at(1, 10)).expect_err("the third file cannot be made");
        assert_eq!(journal.asides().unwrap().0.len(), 0);
        assert_eq!(all(&journal), before, "nothing is cut");
    }
    fs::remove_dir(&obstacle).unwrap();
    journal.truncate_after(at(1, 10)).unwrap().expect("records follow");
    let cut: Vec<_> = before.into_iter().filter(|(at, _)| *at > self::at(1, 10)).collect();
    assert_eq!(read_all(&journal, 700), (cut, 0));
}

#[test]
fn what_a_crash_left_twice_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, cut) = forked(dir.path(), at(2, 5));
    let (asides, _) = journal.asides().unwrap();
    let files: Vec<PathBuf> = asides[0].files().map(Path::to_owned).collect();
    for (number, file) in files.iter().enumerate() {
        let copy = dir.path().join(format!("fork-2.0-5.{}.journal", 50 + number));
        fs::copy(file, copy).unwrap();
    }
    assert_eq!(read_all(&journal, 400), (cut, 0));
}

#[test]
fn damage_is_counted_and_what_stands_around_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, cut) = forked(dir.path(), at(1, 10));
    let (mut asides, _) = journal.asides().unwrap();
    let file = asides[0].files().next().unwrap().to_owned();
    let mut bytes = fs::read(&file).unwrap();
    bytes[64 + 24 + 3] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut got = Vec::new();
    let read = asides[0].read_after(at(1, 10), 1, &mut |at, _| got.push(at)).unwrap();
    assert_eq!((got, read.damaged, read.is_behind_gap), (vec![cut[1].0], 1, true));
    // A file that begins with something else is named.
    bytes[0] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (_, damaged) = journal.asides().unwrap();
    assert_eq!(damaged.iter().map(|damage| &damage.file).collect::<Vec<_>>(), [&file]);
}

/// The journal forgets its oldest files with the dictionaries that only they need. What was set aside is not among them.
#[test]
fn a_dictionary_is_kept_as_long_as_something_set_aside_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { retain_bytes: 3000, retain_segments_min: 1, ..small(dir.path()) };
    let (mut journal, _) = open(options);
    journal.set_dictionary(&[(ItemId(0), ItemKey::parse("plc1/a").unwrap())]).unwrap();
    let old = journal.dictionary_after(journal.last());
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=20 {
        journal.append(&event(number)).unwrap();
    }
    journal.truncate_after(at(1, 10)).unwrap().expect("records follow");
    journal.set_dictionary(&[(ItemId(0), ItemKey::parse("plc1/b").unwrap())]).unwrap();
    journal.begin_epoch(epoch(2)).unwrap();
    for number in 1..=200 {
        journal.append(&event(number)).unwrap();
        journal.sync().unwrap();
    }
    assert!(journal.first() > at(1, 10), "the oldest files are gone");
    journal.dictionary(old).expect("it explains what was set aside");
}

/// The oldest files behind the cut were deleted for their age, up to where an epoch begins: nothing in the numbers shows it.
#[test]
fn whole_epochs_that_are_gone_behind_the_cut_are_a_gap() {
    for is_gone in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let retain_bytes = if is_gone { 3000 } else { u64::MAX };
        let options = JournalOptions { retain_bytes, retain_segments_min: 1, ..small(dir.path()) };
        let (mut journal, _) = open(options);
        for (part, count) in [(1, 10), (2, 34), (3, 1)] {
            // Other items begin another file.
            let key = ItemKey::parse(&format!("plc1/part{part}")).unwrap();
            journal.set_dictionary(&[(ItemId(0), key)]).unwrap();
            journal.begin_epoch(epoch(part)).unwrap();
            for number in 1..=count {
                journal.append(&event(number)).unwrap();
            }
        }
        while is_gone && journal.first() < at(3, 1) {
            journal.append(&event(1)).unwrap();
            journal.sync().unwrap();
        }
        assert_eq!(journal.first() == at(3, 1), is_gone, "{}", journal.first());
        // Memory has more than the files.
        let from = journal.first().max(at(1, 11));
        let left: Vec<_> = all(&journal).into_iter().filter(|(place, _)| *place >= from).collect();
        journal.truncate_after(at(1, 10)).unwrap().expect("records follow");
        assert_eq!(journal.asides().unwrap().0[0].common(), at(1, 10));
        for bytes_max in [1, 400, usize::MAX] {
            assert_eq!(read_all(&journal, bytes_max), (left.clone(), usize::from(is_gone)), "{bytes_max}");
        }
    }
}

/// A node that began with a copy and then wrote alone: the active node wrote on in the epoch of the copy, which this one
/// did not see.
#[test]
fn a_journal_without_anything_before_the_cut_does_not_claim_what_it_never_had() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.restart_at(at(1, 2)).unwrap();
    journal.begin_epoch(epoch(2)).unwrap();
    for number in 1..=3 {
        journal.append(&event(number)).unwrap();
    }
    journal.truncate_after(at(1, 23)).unwrap().expect("records follow");
    assert_eq!((journal.last(), journal.durable()), (at(1, 2), at(1, 2)));
    journal.append_encoded(at(1, 3), b"what it had not").unwrap();
    assert_eq!(read_all(&journal, 400).0.len(), 3);
}

proptest! {
    #[test]
    fn files_of_any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), with_header: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(small(dir.path()));
        let mut content = Vec::new();
        if with_header {
            let header = segment::Header { first: at(1, 1), previous: at(0, 0), dictionary: 0, is_restart: false };
            content.extend_from_slice(&header.encode());
        }
        content.extend_from_slice(&bytes);
        fs::write(dir.path().join("fork-0.0-0.journal"), content).unwrap();
        if let Ok((mut asides, _)) = journal.asides() {
            for aside in &mut asides {
                let common = aside.common();
                aside.read_after(common, 100, &mut |_, _| {}).unwrap();
            }
        }
    }
}
