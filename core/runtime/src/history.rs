//! What values were, for items with `historize`: a follower of the journals with its own cursor, on its own thread.
//!
//! ```text
//! engine -- a part of the journal behind the cursor --> follower -> store -> files
//!    ^------- how far the files have it: a pin ------------'          `-> readers (REST, command line)
//! ```
//! Every node follows its own copy of the journal, so that a standby has the history that the active node has.

mod follower;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use twinhub_config::Site;
use twinhub_history::{Reader, Store, StoreOptions, Totals};
use twinhub_model::{ItemId, ItemKey, Position, Severity};
use twinhub_store::Entry;

use crate::error::StartError;
use crate::inbox::Inbox;
use crate::shared::Shared;
use crate::view::HistoryView;

/// A follower's question to an engine.
#[derive(Debug)]
pub(crate) struct JournalAsk {
    /// What it has.
    pub(crate) after: Position,
    /// What its files have: the journal needs to keep nothing before.
    pub(crate) sealed: Position,
    /// Hash of the dictionary it knows.
    pub(crate) dictionary: u64,
    pub(crate) reply: SyncSender<JournalPart>,
}

/// A part of the journal, as it stands there.
#[derive(Debug)]
pub(crate) struct JournalPart {
    pub(crate) entries: Vec<Entry>,
    /// Hash of the dictionary that explains them.
    pub(crate) dictionary: u64,
    /// That dictionary, if the follower does not know it.
    pub(crate) keys: Option<Arc<[(ItemId, ItemKey)]>>,
    pub(crate) end: PartEnd,
    /// Where the journal ends.
    pub(crate) last: Position,
}

/// How a part ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartEnd {
    /// There is more.
    More,
    /// There is no more, or the follower is ahead, as after a crash.
    CaughtUp,
    /// What follows is not there: deleted, damaged, or it came as a copy.
    Missing { resume: Position },
    /// What the follower has behind `resume` was set aside; nothing is missing.
    SetAside { resume: Position },
}

/// What other threads see of the history.
#[derive(Debug)]
pub(crate) struct Shelf {
    reader: Option<Reader>,
    historized: HashSet<Box<str>>,
    status: Mutex<Status>,
}

#[derive(Debug, Default, Clone)]
struct Status {
    /// Rows taken since start.
    taken: u64,
    /// Journal records that were gone before they could be read, since start.
    lost_records: u64,
    lag_records: u64,
    /// Why rows wait in memory and journal.
    error: Option<String>,
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(crate) struct HistoryThread {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl HistoryThread {
    /// Seals what is gathered and waits for the end.
    pub(crate) fn stop(self) {
        // A thread that ended hears nothing.
        self.stop.send(()).ok();
        // A panic was reported when it happened.
        drop(self.thread.join());
    }
}

/// A history that is open and not followed yet.
#[derive(Debug)]
pub(crate) struct OpenHistory {
    store: Store,
    groups: Vec<String>,
}

impl Shelf {
    /// For queries; why there are none otherwise.
    pub(crate) fn reader(&self) -> Result<&Reader, Option<String>> {
        self.reader.as_ref().ok_or_else(|| self.status().error.clone())
    }

    /// Whether the values of this item are kept.
    pub(crate) fn is_historized(&self, key: &str) -> bool {
        self.historized.contains(key)
    }

    /// What status and metrics show; `None` if nothing is kept and nothing was.
    pub(crate) fn view(&self) -> Option<HistoryView> {
        let status = self.status().clone();
        if self.reader.is_none() && status.error.is_none() {
            return None;
        }
        let totals = self.reader.as_ref().map_or_else(Totals::default, Reader::totals);
        Some(HistoryView {
            items: self.historized.len() as u64,
            rows: totals.sealed_rows + totals.pending_rows,
            pending_rows: totals.pending_rows,
            bytes: totals.bytes,
            files: totals.files,
            oldest: totals.oldest.map(|time| time.to_string()),
            rows_taken: status.taken,
            lag_records: status.lag_records,
            lost_records: status.lost_records,
            error: status.error,
        })
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Items whose values are kept, and the groups they are in.
#[derive(Debug)]
pub(crate) struct Wanted {
    keys: HashSet<Box<str>>,
    groups: Vec<String>,
}

impl Wanted {
    pub(crate) fn of(site: &Site) -> Wanted {
        let mut wanted = Wanted { keys: HashSet::new(), groups: Vec::new() };
        for interface in &site.interfaces {
            let before = wanted.keys.len();
            let items = interface.items.iter().filter(|item| item.historize);
            wanted.keys.extend(items.map(|item| Box::from(item.key.as_str())));
            if wanted.keys.len() > before && !wanted.groups.contains(&interface.group) {
                wanted.groups.push(interface.group.clone());
            }
        }
        wanted
    }

    /// Opens the history if an item is to be kept or there is one. A history that cannot be opened keeps no node from
    /// running: it is said, and queries are answered with the reason.
    pub(crate) fn open(self, dir: PathBuf, shared: &Shared) -> (Shelf, Option<OpenHistory>) {
        let mut shelf = Shelf { reader: None, historized: self.keys, status: Mutex::default() };
        if shelf.historized.is_empty() && !dir.exists() {
            return (shelf, None);
        }
        let history = &shared.site.history;
        let options = StoreOptions {
            retain: Some(history.retain),
            max_bytes: history.max_bytes,
            ..StoreOptions::new(dir)
        };
        let (mut store, recovery) = match Store::open(options) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "the history cannot be opened: no values are kept");
                follower::remember(shared, Severity::Error, "TH-HISTORY-001", &error.to_string());
                shelf.status().error = Some(error.to_string());
                return (shelf, None);
            }
        };
        for damage in &recovery.damage {
            tracing::error!(what = damage.text, "damage found in the history");
            follower::remember(shared, Severity::Error, "TH-HISTORY-002", &damage.text);
        }
        for key in &shelf.historized {
            store.slot(key);
        }
        shelf.reader = Some(store.reader());
        (shelf, Some(OpenHistory { store, groups: self.groups }))
    }
}

impl OpenHistory {
    /// What a group's journal has to keep; `None` if it is not followed.
    pub(crate) fn pin(&self, group: &str) -> Option<Position> {
        self.groups.iter().any(|followed| followed == group).then(|| self.store.sealed(group))
    }

    /// Begins to follow.
    ///
    /// # Errors
    /// [`StartError::Thread`].
    pub(crate) fn start(
        self,
        inboxes: impl Iterator<Item = (String, Arc<Inbox>)>,
        journal_bytes: u64,
        shelf: &Arc<Shelf>,
        shared: &Arc<Shared>,
    ) -> Result<HistoryThread, StartError> {
        let (stop, stopped) = channel();
        let feeds = inboxes.filter(|(group, _)| self.groups.contains(group)).collect();
        let follower = follower::Follower::new(
            self.store,
            feeds,
            journal_bytes,
            Arc::clone(shelf),
            Arc::clone(shared),
            stopped,
        );
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || follower.run())
            .map_err(|source| StartError::Thread { what: "the history", source })?;
        Ok(HistoryThread { stop, thread })
    }
}
