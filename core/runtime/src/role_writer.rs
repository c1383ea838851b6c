//! The thread that puts role states on the disk, so that a slow disk stops no heartbeat and no vote.
//!
//! A role file holds the states of all groups, so of several that wait only the newest is written, and every ticket up
//! to then is answered by that one write. What waits is therefore never more than one state and one ticket per group.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use twinhub_store::RoleFile;

use crate::error::StartError;

/// What became of the newest order of each group when a write ended.
#[derive(Debug)]
pub(crate) struct Written {
    /// The newest ticket of each group that asked; all before it count, too.
    pub(crate) tickets: BTreeMap<String, u64>,
    /// Why nothing was stored. What was stored before is still there.
    pub(crate) result: Result<(), String>,
}

/// Orders writes; when it is dropped, the thread ends after what was ordered.
#[derive(Debug)]
pub(crate) struct RoleWriter {
    desk: Arc<Desk>,
}

impl RoleWriter {
    /// Starts the thread, which calls `tell` after each write.
    pub(crate) fn start(
        file: RoleFile,
        tell: impl FnMut(Written) + Send + 'static,
    ) -> Result<RoleWriter, StartError> {
        let desk = Arc::new(Desk::default());
        let taken = desk.clone();
        std::thread::Builder::new()
            .name("role-file".to_owned())
            .spawn(move || write_orders(file, &taken, tell))
            .map_err(|source| StartError::Thread { what: "the role file's thread", source })?;
        Ok(RoleWriter { desk })
    }

    /// Orders `payload`, the states of all groups, to be stored for readers of `format`, for a ticket of `group`.
    pub(crate) fn order(&self, payload: Vec<u8>, format: u16, group: &str, ticket: u64) {
        let mut orders = self.desk.orders();
        orders.state = Some(State { payload, format });
        orders.tickets.insert(group.to_owned(), ticket);
        self.desk.changed.notify_one();
    }
}

impl Drop for RoleWriter {
    fn drop(&mut self) {
        self.desk.orders().is_closed = true;
        self.desk.changed.notify_one();
    }
}

/// Where orders lie until the thread takes them.
#[derive(Debug, Default)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    payload: Vec<u8>,
    format: u16,
}

#[derive(Debug, Default)]
struct Orders {
    state: Option<State>,
    tickets: BTreeMap<String, u64>,
    is_closed: bool,
}

impl Desk {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        // Each change is a plain assignment: a panic elsewhere leaves nothing half done.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest state and whom it answers; `None` when nobody will order any more.
    fn take(&self) -> Option<(State, BTreeMap<String, u64>)> {
        let waits = |orders: &mut Orders| orders.state.is_none() && !orders.is_closed;
        let mut orders =
            self.changed.wait_while(self.orders(), waits).unwrap_or_else(PoisonError::into_inner);
        let state = orders.state.take()?;
        Some((state, std::mem::take(&mut orders.tickets)))
    }
}

fn write_orders(mut file: RoleFile, desk: &Desk, mut tell: impl FnMut(Written)) {
    while let Some((State { payload, format }, tickets)) = desk.take() {
        let result = file.store_in(&payload, format).map_err(|error| error.to_string());
        tell(Written { tickets, result });
    }
    // Before `tell` goes: who hears that the thread has ended may open the file again.
    drop(file);
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::mpsc;

    use twinhub_store::{Disk, Medium};

    use super::*;

    /// A disk that stops at each sync until it is told how that ends; with nobody to tell it, every sync succeeds.
    #[derive(Debug)]
    pub(crate) struct SlowDisk {
        begun: mpsc::Sender<()>,
        ends: Mutex<mpsc::Receiver<io::Result<()>>>,
    }

    /// Who leads a [`SlowDisk`].
    pub(crate) struct Hand {
        pub(crate) begun: mpsc::Receiver<()>,
        pub(crate) ends: mpsc::Sender<io::Result<()>>,
    }

    impl SlowDisk {
        pub(crate) fn new() -> (SlowDisk, Hand) {
            let ((begin, begun), (ends, ended)) = (mpsc::channel(), mpsc::channel());
            (SlowDisk { begun: begin, ends: Mutex::new(ended) }, Hand { begun, ends })
        }
    }

    impl Medium for SlowDisk {
        fn create(&self, path: &Path) -> io::Result<File> {
            Disk.create(path)
        }

        fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
            Disk.write_at(file, bytes, offset)
        }

        fn sync(&self, file: &File) -> io::Result<()> {
            self.begun.send(()).ok();
            self.ends.lock().unwrap().recv().unwrap_or(Ok(()))?;
            Disk.sync(file)
        }
    }

    /// A role file that was made on a healthy disk and is then opened on this one.
    pub(crate) fn role_file_on(path: &Path, medium: impl Medium + 'static) -> RoleFile {
        drop(RoleFile::open(path).unwrap());
        RoleFile::open_on(path, Arc::new(medium)).unwrap().0
    }

    fn writer_on(path: &Path) -> (RoleWriter, mpsc::Receiver<Written>, Hand) {
        let (disk, hand) = SlowDisk::new();
        let (tell, told) = mpsc::channel();
        let writer = RoleWriter::start(role_file_on(path, disk), move |written| tell.send(written).unwrap());
        (writer.unwrap(), told, hand)
    }

    #[test]
    fn what_waits_for_a_slow_disk_is_written_at_once_and_the_newest_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (writer, told, hand) = writer_on(&path);
        writer.order(b"one".to_vec(), 1, "site", 1);
        hand.begun.recv().unwrap();
        for (state, group, ticket) in [("two", "site", 2), ("three", "east", 1), ("four", "site", 3)] {
            writer.order(state.as_bytes().to_vec(), 1, group, ticket);
        }
        hand.ends.send(Ok(())).unwrap();
        let first = told.recv().unwrap();
        assert_eq!(first.tickets, BTreeMap::from([("site".to_owned(), 1)]));
        hand.begun.recv().unwrap();
        hand.ends.send(Ok(())).unwrap();
        let rest = told.recv().unwrap();
        assert_eq!(rest.tickets, BTreeMap::from([("east".to_owned(), 1), ("site".to_owned(), 3)]));
        drop(writer);
        assert!(told.recv().is_err(), "the thread ends with who orders");
        assert_eq!(RoleFile::open(&path).unwrap().1.payload.unwrap(), b"four");
    }

    #[test]
    fn a_failing_disk_is_told_and_the_next_order_tries_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (writer, told, hand) = writer_on(&path);
        hand.ends.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        writer.order(b"one".to_vec(), 1, "site", 1);
        let refused = told.recv().unwrap();
        assert!(refused.result.unwrap_err().contains("role"), "the text names the file");
        hand.ends.send(Ok(())).unwrap();
        writer.order(b"one".to_vec(), 1, "site", 1);
        assert!(told.recv().unwrap().result.is_ok());
    }
}
