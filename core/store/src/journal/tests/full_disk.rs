//! Disks that are full, or that fail to sync.

use super::*;
use crate::RoleFile;

/// A disk with so many bytes left, and a sync that can be made to fail.
#[derive(Debug, Default)]
struct Budget {
    bytes: AtomicU64,
    is_sync_broken: AtomicBool,
}

impl Budget {
    fn of(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget { bytes: AtomicU64::new(bytes), is_sync_broken: AtomicBool::new(false) })
    }

    fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Medium for Budget {
    fn create(&self, path: &Path) -> io::Result<File> {
        if self.bytes.load(Ordering::Relaxed) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Disk.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = Disk.write_at(file, &bytes[..bytes.len().min(left)], offset)?;
        self.bytes.fetch_sub(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.is_sync_broken.load(Ordering::Relaxed) {
            // What Linux does: the pages count as clean although they are not on disk.
            return Err(io::Error::other("injected"));
        }
        Disk.sync(file)
    }
}

/// More waits than memory keeps for readers, and it goes on in another file: what is safe is dropped while the rest is
/// written.
#[test]
fn what_gathered_while_the_disk_was_full_is_written_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Budget::of(u64::MAX);
    let options = JournalOptions {
        segment_bytes: 1_000_000,
        tail_bytes: 1000,
        retain_bytes: u64::MAX,
        buffer_bytes_max: 1 << 24,
        ..small(dir.path())
    };
    let (mut journal, _) = Journal::open_on(options.clone(), [].into(), Arc::clone(&disk) as _).unwrap();
    disk.set(0);
    let body = "x".repeat(10_000);
    for number in 1..=500 {
        journal.append_encoded(at(1, number), body.as_bytes()).unwrap();
    }
    journal.write().expect_err("the disk is full");
    disk.set(u64::MAX);
    journal.write().unwrap();
    assert_eq!(journal.unwritten_bytes(), 0);
    assert_eq!(journal.sync().unwrap(), at(1, 500));
    drop(journal);
    let (journal, recovery) = Journal::open(options, [].into()).unwrap();
    assert_eq!((recovery.damaged.len(), journal.last()), (0, at(1, 500)));
    assert_eq!(all(&journal).len(), 500);
}

#[test]
fn a_full_disk_at_any_byte_delays_records_and_loses_none() {
    for budget in (90..2600).step_by(29) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Budget::of(u64::MAX);
        let (mut journal, _) =
            Journal::open_on(small(dir.path()), [].into(), Arc::clone(&disk) as _).unwrap();
        disk.set(budget);
        journal.begin_epoch(epoch(1)).unwrap();
        let mut acknowledged = Position::START;
        let mut failures = 0;
        for number in 1..=60 {
            journal.append(&event(number)).unwrap();
            match journal.sync() {
                Ok(durable) => acknowledged = durable,
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    assert!(error.to_string().contains("free disk space"), "{error}");
                    failures += 1;
                }
            }
            assert!(journal.durable() <= journal.last());
            assert_eq!(journal.durable(), acknowledged);
        }
        assert!(failures > 0, "a budget of {budget} is meant to run out");
        let memory = all(&journal);
        assert_eq!(memory.len(), 60, "readers see what waits to be written");
        disk.set(u64::MAX);
        assert_eq!(journal.sync().unwrap(), at(1, 60));
        assert_eq!(journal.unwritten_bytes(), 0);
        drop(journal);
        let (journal, recovery) = open(small(dir.path()));
        assert_eq!(all(&journal), memory, "budget {budget}");
        assert_eq!((recovery.damaged, recovery.truncated_bytes), (vec![], 0));
    }
}

#[test]
fn a_crash_on_a_full_disk_keeps_everything_acknowledged() {
    for budget in (90..2600).step_by(61) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Budget::of(u64::MAX);
        let (mut journal, _) =
            Journal::open_on(small(dir.path()), [].into(), Arc::clone(&disk) as _).unwrap();
        disk.set(budget);
        journal.begin_epoch(epoch(1)).unwrap();
        let mut acknowledged = Position::START;
        for number in 1..=60 {
            journal.append(&event(number)).unwrap();
            acknowledged = journal.sync().unwrap_or(acknowledged);
        }
        drop(journal);
        let (journal, recovery) = open(small(dir.path()));
        assert!(journal.last() >= acknowledged, "budget {budget}");
        assert_eq!(all(&journal).len() as u64, journal.last().seq);
        assert_eq!(recovery.damaged, []);
    }
}

#[test]
fn a_buffer_that_cannot_be_written_refuses_more_and_names_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Budget::of(u64::MAX);
    let options = JournalOptions { buffer_bytes_max: 500, ..small(dir.path()) };
    let (mut journal, _) = Journal::open_on(options, [].into(), Arc::clone(&disk) as _).unwrap();
    disk.set(0);
    journal.begin_epoch(epoch(1)).unwrap();
    let error = (1..100).find_map(|number| journal.append(&event(number)).err()).expect("it fills up");
    assert!(matches!(error, StoreError::Full { .. }) && error.is_full());
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    let accepted = journal.last();
    assert!(journal.unwritten_bytes() < 700);
    disk.set(u64::MAX);
    assert_eq!(journal.sync().unwrap(), accepted);
    journal.append(&event(1)).unwrap();
}

#[test]
fn a_failed_sync_writes_again_what_the_disk_may_have_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Budget::of(u64::MAX);
    let (mut journal, _) = Journal::open_on(small(dir.path()), [].into(), Arc::clone(&disk) as _).unwrap();
    journal.begin_epoch(epoch(1)).unwrap();
    journal.append(&event(1)).unwrap();
    journal.sync().unwrap();
    let file = journal_files(dir.path()).pop().unwrap();
    let durable_bytes = fs::metadata(&file).unwrap().len();
    journal.append(&event(2)).unwrap();
    disk.is_sync_broken.store(true, Ordering::Relaxed);
    let error = journal.sync().unwrap_err();
    assert!(error.to_string().contains("sync") && !error.is_full(), "{error}");
    assert_eq!(journal.durable(), at(1, 1));
    // The disk lost the pages that it reported clean.
    File::options().write(true).open(&file).unwrap().set_len(durable_bytes).unwrap();
    disk.is_sync_broken.store(false, Ordering::Relaxed);
    assert_eq!(journal.sync().unwrap(), at(1, 2));
    drop(journal);
    assert_eq!(open(small(dir.path())).0.last(), at(1, 2));
}

#[test]
fn a_sync_on_another_thread_covers_what_was_written_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=3 {
        journal.append(&event(number)).unwrap();
    }
    let ticket = journal.begin_sync().unwrap().expect("something to sync");
    let worker = std::thread::spawn(|| ticket.run());
    journal.append(&event(4)).unwrap();
    journal.write().unwrap();
    assert_eq!(journal.finish_sync(worker.join().unwrap()).unwrap(), at(1, 3));
    assert_eq!(journal.sync().unwrap(), at(1, 4));
    let ticket = journal.begin_sync().unwrap();
    assert!(ticket.is_none());
}

#[test]
fn a_failed_sync_is_not_hidden_by_another_that_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Budget::of(u64::MAX);
    let (mut journal, _) = Journal::open_on(small(dir.path()), [].into(), Arc::clone(&disk) as _).unwrap();
    journal.begin_epoch(epoch(1)).unwrap();
    journal.append(&event(1)).unwrap();
    let ticket = journal.begin_sync().unwrap().expect("something to sync");
    assert!(journal.begin_sync().unwrap().is_none(), "one runs already");
    disk.is_sync_broken.store(true, Ordering::Relaxed);
    let failed = ticket.run();
    disk.is_sync_broken.store(false, Ordering::Relaxed);
    let succeeded = journal.begin_sync().unwrap().expect("the first one is over").run();
    journal.finish_sync(failed).unwrap_err();
    assert_eq!(journal.finish_sync(succeeded).unwrap(), Position::START);
    assert!(journal.unwritten_bytes() > 0);
    assert_eq!(journal.sync().unwrap(), at(1, 1));
}

#[test]
fn a_sync_from_before_a_cut_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(small(dir.path()));
    journal.begin_epoch(epoch(1)).unwrap();
    for number in 1..=3 {
        journal.append(&event(number)).unwrap();
    }
    let ticket = journal.begin_sync().unwrap().expect("something to sync");
    journal.truncate_after(at(1, 1)).unwrap();
    assert_eq!(journal.finish_sync(ticket.run()).unwrap(), at(1, 1));
}

#[test]
fn a_full_disk_leaves_the_role_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("role");
    let disk = Budget::of(u64::MAX);
    let (mut file, _) = RoleFile::open_on(&path, Arc::clone(&disk) as _).unwrap();
    file.store(b"one").unwrap();
    for budget in 0..36 {
        disk.set(budget);
        let result = file.store(b"more");
        if budget < 36 {
            let error = result.unwrap_err();
            assert!(error.is_full() && error.to_string().contains("role"), "{error}");
        }
        disk.set(u64::MAX);
    }
    drop(file);
    let (mut file, loaded) = RoleFile::open_on(&path, Arc::clone(&disk) as _).unwrap();
    assert_eq!(loaded.payload.as_deref(), Some(&b"one"[..]));
    file.store(b"two").unwrap();
    drop(file);
    assert_eq!(RoleFile::open(&path).unwrap().1.payload.as_deref(), Some(&b"two"[..]));
}
