//! What damage took comes back from another node.

use super::damage::fill;
use super::*;

/// What is done to the files of one of two equal journals.
type Harm = fn(&[PathBuf]);

#[test]
fn whatever_damage_took_comes_back_from_an_intact_journal() {
    let harms: [(&str, Harm); 7] = [
        ("a flipped byte", |files| flip(&files[1], 200)),
        ("a flipped byte in the newest file", |files| flip(files.last().unwrap(), 70)),
        ("two flipped bytes far from each other", |files| {
            flip(&files[1], 100);
            flip(&files[1], 800);
        }),
        ("an old file that ends early", |files| cut(&files[2], 300)),
        ("an old file with nothing but its header", |files| cut(&files[2], 64)),
        ("a file that is gone", |files| fs::remove_file(&files[1]).unwrap()),
        ("a header that is not readable", |files| flip(&files[1], 20)),
    ];
    for (what, harm) in harms {
        let (dir, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let written = fill(dir.path(), 100, 1000);
        assert_eq!(fill(whole.path(), 100, 1000), written);
        harm(&journal_files(dir.path()));
        let (mut journal, recovery) = open(small(dir.path()));
        let (other, _) = open(small(whole.path()));
        assert!(!recovery.damaged.is_empty(), "{what}");
        assert!(!journal.holes().is_empty(), "{what}");
        heal(&mut journal, &other, what);
        assert_eq!(all(&journal), written, "{what}");
        let last = journal.last();
        journal.append_encoded(last.next(), b"goes on").unwrap();
        journal.sync().unwrap();
        assert_eq!(all(&journal).len(), written.len() + 1, "{what}");
        drop(journal);
        let (journal, recovery) = open(small(dir.path()));
        assert_eq!(recovery.damaged, [], "{what}");
        assert_eq!(all(&journal)[..written.len()], written, "{what}");
    }
}

#[test]
fn damage_in_closed_files_is_found_while_the_journal_is_open() {
    let harms: [(&str, Harm); 4] = [
        ("a flipped byte", |files| flip(&files[1], 200)),
        ("a file that ends early", |files| cut(&files[2], 300)),
        ("a file that is gone", |files| fs::remove_file(&files[1]).unwrap()),
        ("a header that is not readable", |files| flip(&files[1], 20)),
    ];
    for (what, harm) in harms {
        let (dir, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let written = fill(dir.path(), 100, 1000);
        fill(whole.path(), 100, 1000);
        let (mut journal, _) = open(small(dir.path()));
        let (other, _) = open(small(whole.path()));
        assert_eq!(scrub_all(&mut journal), 0, "{what}");
        harm(&journal_files(dir.path()));
        assert!(scrub_all(&mut journal) > 0, "{what}");
        heal(&mut journal, &other, what);
        assert_eq!(scrub_all(&mut journal), 0, "{what}");
        assert_eq!(all(&journal), written, "{what}");
    }
}

#[test]
fn what_does_not_fill_the_hole_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let written = fill(dir.path(), 100, 1000);
    let file = journal_files(dir.path())[1].clone();
    flip(&file, 200);
    let damaged = fs::read(&file).unwrap();
    let (mut journal, _) = open(small(dir.path()));
    let hole = journal.holes()[0].clone();
    let dictionary = journal.dictionary_after(hole.after);
    let missing: Vec<_> =
        written.iter().filter(|(at, _)| *at > hole.after && *at < hole.before).cloned().collect();
    let behind: Vec<_> = written.iter().filter(|(at, _)| *at >= hole.before).take(1).cloned().collect();
    for wrong in [&[][..], &missing[1..], &behind, &[missing.clone(), behind.clone()].concat()] {
        assert!(
            matches!(journal.mend(&hole, dictionary, wrong), Err(StoreError::NotNext { .. })),
            "{wrong:?}"
        );
    }
    assert!(matches!(journal.mend(&hole, 7, &missing), Err(StoreError::NoDictionary { .. })));
    assert_eq!(fs::read(&file).unwrap(), damaged);
    journal.mend(&hole, dictionary, &missing).unwrap();
    assert_eq!(all(&journal), written);
    let aside = PathBuf::from(format!("{}.damaged", file.display()));
    assert_eq!(fs::read(aside).unwrap(), damaged, "what was damaged is kept");
}

#[test]
fn a_node_that_lacks_the_records_too_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100, 1000);
    flip(&journal_files(dir.path())[1], 200);
    let (journal, _) = open(small(dir.path()));
    let hole = journal.holes()[0].clone();
    let mut none = |position, _: &[u8]| panic!("{position} was given");
    assert_eq!(journal.read_range(hole.after, hole.before, 1 << 20, &mut none).unwrap(), None);
    assert_eq!(journal.read_range(at(7, 1), at(7, 3), 1 << 20, &mut none).unwrap(), None);
}

/// Fills every hole with what the other journal has, in small pieces.
fn heal(journal: &mut Journal, other: &Journal, what: &str) {
    while let Some(hole) = journal.holes().first().cloned() {
        let mut records: Vec<(Position, Vec<u8>)> = Vec::new();
        let dictionary = loop {
            let after = records.last().map_or(hole.after, |(position, _)| *position);
            let mut visit = |position, body: &[u8]| records.push((position, body.to_vec()));
            let read = other.read_range(after, hole.before, 100, &mut visit).unwrap();
            let read = read.unwrap_or_else(|| panic!("{what}: nothing of {hole:?}"));
            if read.is_complete {
                break read.dictionary;
            }
        };
        journal.mend(&hole, dictionary, &records).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// How many places are damaged.
fn scrub_all(journal: &mut Journal) -> usize {
    let (mut found, mut after) = (0, Position::START);
    for _ in 0..=journal_files(journal.dir()).len() {
        let Some(scrub) = journal.scrub_after(after) else { return found };
        let scrubbed = scrub.run();
        after = scrubbed.first();
        found += journal.note_scrubbed(scrubbed).len();
    }
    found
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

fn cut(file: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}
