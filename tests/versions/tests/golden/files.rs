//! What a process stores: a later version reads it, an earlier one says what to do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use twinhub_model::{
    Epoch, Event, Incarnation, ItemId, ItemKey, NodeRank, Position, Record, Severity, Timestamp,
};
use twinhub_redundancy::{Absence, Grant, Ground, Hold, Members, Pins, Stamp, StoredState, VoterId};
use twinhub_runtime::roles::RoleState;
use twinhub_store::{Journal, JournalOptions, RoleFile, StoreError};
use twinhub_versions::{Golden, Goldens};
use twinhub_wire::record;

/// Formats that are in the field: their files never change again.
const FROZEN: &[(u16, u32)] = &[(1, 0xdacf_0c3e)];
/// The newest format of role files and of journals.
const ROLE_FORMAT: u16 = 2;

fn goldens() -> Goldens {
    Goldens::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/files"), FROZEN)
}

fn check(format: u16, name: &str, bytes: Vec<u8>, read: &dyn Debug) {
    goldens().check(format, name, &Golden::new(bytes, read)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_role_file_of_each_format_is_written_and_read_as_ever() {
    for format in 1..=ROLE_FORMAT {
        let state = state(format);
        assert_eq!(state.file_format(), format);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (mut file, _) = RoleFile::open(&path).unwrap();
        for _ in 0..3 {
            file.store_in(&minicbor::to_vec(&state).unwrap(), state.file_format()).unwrap();
        }
        drop(file);
        let bytes = fs::read(&path).unwrap();
        let (_file, loaded) = RoleFile::open(&path).unwrap();
        assert_eq!(loaded.note, None);
        let read: RoleState = minicbor::decode(&loaded.payload.unwrap()).unwrap();
        check(format, "role-file", bytes, &read);
    }
}

/// A process that does not know the record of the voters would vote by the configuration, as if a voter that
/// was shrunk still voted: it must not read the file, and it says what to do. Once nobody is absent, it may again.
#[test]
fn an_earlier_version_reads_a_role_file_unless_a_voter_is_absent() {
    let format_of_slots = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        [&bytes[8..10], &bytes[4096 + 8..4096 + 10]].map(|raw| u16::from_le_bytes(raw.try_into().unwrap()))
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("role");
    let (mut file, _) = RoleFile::open(&path).unwrap();
    for format in [1, 1, 2] {
        file.store_in(&minicbor::to_vec(state(format)).unwrap(), format).unwrap();
    }
    assert!(format_of_slots(&path).contains(&2), "an earlier version refuses the file for either slot");
    file.store_in(&minicbor::to_vec(state(1)).unwrap(), 1).unwrap();
    assert_eq!(format_of_slots(&path), [1, 1], "nothing is left that an earlier version would refuse");
    drop(file);
    let (_file, loaded) = RoleFile::open(&path).unwrap();
    assert_eq!((loaded.payload, loaded.note), (Some(minicbor::to_vec(state(1)).unwrap()), None));
}

#[test]
fn a_file_of_a_later_version_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("role");
    let (mut file, _) = RoleFile::open(&path).unwrap();
    file.store_in(b"later", ROLE_FORMAT + 1).unwrap();
    drop(file);
    let error = RoleFile::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { got: 3, known: ROLE_FORMAT, .. }), "{error}");
    assert!(error.to_string().contains("install the newer version again"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    drop(journal(dir.path()));
    let segment = segment(dir.path());
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] += 1;
    let crc = crc32fast::hash(&bytes[..56]);
    bytes[56..60].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, bytes).unwrap();
    let error = Journal::open(JournalOptions::new(dir.path()), dictionary()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { got: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("install the newer version again"), "{error}");
}

#[test]
fn a_journal_is_written_and_read_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal(dir.path()));
    let path = segment(dir.path());
    check(1, "journal", fs::read(&path).unwrap(), &entries(dir.path()));

    // The golden file itself in the place of the one just written.
    fs::write(&path, goldens().bytes(1, "journal").unwrap()).unwrap();
    check(1, "journal", fs::read(&path).unwrap(), &entries(dir.path()));
}

#[test]
fn files_of_formats_in_the_field_have_not_changed() {
    for format in 1..ROLE_FORMAT {
        goldens().frozen(format).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn entries(dir: &Path) -> Vec<(Position, Record)> {
    let (journal, recovery) = Journal::open(JournalOptions::new(dir), dictionary()).unwrap();
    assert_eq!((recovery.truncated_bytes, recovery.damaged), (0, Vec::new()));
    let mut entries = Vec::new();
    journal.read_after(Position::START, usize::MAX, &mut entries).unwrap();
    entries.iter().map(|entry| (entry.position, record::decode(&entry.body).unwrap())).collect()
}

fn journal(dir: &Path) -> Journal {
    let (mut journal, _) = Journal::open(JournalOptions::new(dir), dictionary()).unwrap();
    for counter in [12, 13] {
        journal.begin_epoch(Epoch::new(counter, NodeRank(0))).unwrap();
        for number in 0..3 {
            let event = Event {
                severity: Severity::Warning,
                source: "plc1".into(),
                code: "TH-TEST-001".into(),
                text: format!("event {number}").into(),
                at: Timestamp(1_700_000_000_000_000_000),
            };
            journal.append(&Record::Event(event)).unwrap();
        }
    }
    journal.sync().unwrap();
    journal
}

fn dictionary() -> std::sync::Arc<[(ItemId, ItemKey)]> {
    [(ItemId(0), ItemKey::parse("plc1/a").unwrap())].into()
}

fn segment(dir: &Path) -> std::path::PathBuf {
    let mut found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.extension().is_some_and(|extension| extension == "journal")).unwrap()
}

/// What a process of this format stores, with every field set.
fn state(format: u16) -> RoleState {
    let absence = Absence {
        voter: VoterId::Node(NodeRank(1)),
        ground: Ground::Drained,
        hold: false,
        process: Some(Incarnation(4)),
    };
    let members = Members {
        stamp: Stamp { epoch: Epoch::new(12, NodeRank(0)), revision: 5 },
        absent: vec![absence],
        before: None,
    };
    let stored = StoredState {
        promised: Epoch::new(13, NodeRank(1)),
        grant: Some(Grant { node: NodeRank(1), incarnation: Incarnation(7) }),
        last_active: Epoch::new(12, NodeRank(0)),
        pins: Pins {
            maintenance: true,
            hold: Hold { version: 3, on: true },
            chosen: Some(Epoch::new(12, NodeRank(0))),
        },
        clean_shutdown: true,
        position: Position::new(Epoch::new(12, NodeRank(0)), 4_711),
        config_hash: 0xfeed_beef,
        flap_moves: 2,
        members: (format > 1).then(|| members.into()),
    };
    RoleState {
        format: 1,
        cluster: 0x0123_4567_89ab_cdef,
        node: "main".to_owned(),
        incarnation: Incarnation(7),
        groups: BTreeMap::from([("site".to_owned(), stored)]),
    }
}
