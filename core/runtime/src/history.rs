//! What values were, for items with `historize`: a follower of the journals with its own cursor, on its own thread.
//!
//! ```text
//! engine -- a part of the journal behind the cursor --> follower -> store -> files
//!    ^------- how far the files have it: a pin ------------'          `-> readers (REST, command line)
//! ```
//! Every node follows its own copy of the journal, so that a standby has the history that the active node has.

mod backfill;
mod follower;
pub(crate) mod lines;
mod supply;
pub(crate) mod twins;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use twinhub_config::Site;
use twinhub_history::{Fork, Reader, Store, StoreOptions, Telegram, Totals};
use twinhub_model::{ItemId, ItemKey, Position, Severity};
use twinhub_store::Entry;

use crate::error::StartError;
use crate::historian::Board;
use crate::inbox::Inbox;
use crate::shared::Shared;
use crate::view::{HistorianView, HistoryCopyView, HistoryView};

use self::backfill::Progress;
use self::lines::Lines;

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
    /// The journal's name, which no other has.
    pub(crate) life: Option<Arc<str>>,
    /// How often damage was mended since start: records that were missing may be there.
    pub(crate) mended: u64,
}

impl JournalPart {
    /// The place before its first record, if what was asked for begins before every journal: other nodes may know what was
    /// then, as one that a backup was restored on.
    pub(crate) fn begins_behind(&self, after: Position) -> Option<Position> {
        let first = self.entries.first().filter(|_| after == Position::START)?.position;
        Some(Position::new(first.epoch, first.seq.saturating_sub(1)))
    }
}

/// How a part ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartEnd {
    /// There is more.
    More,
    /// There is no more, or the follower is ahead, as after a crash.
    CaughtUp,
    /// What follows what was asked for is not there: deleted, damaged, or it came as a copy. Values are missing whose rows
    /// are behind `after`, which is earlier where records of other nodes were taken in.
    Missing { after: Position, resume: Position },
    /// What the follower has behind `common` was set aside; what took its place follows there.
    SetAside { common: Position },
}

/// What other threads see of the history.
#[derive(Debug)]
pub(crate) struct Shelf {
    reader: Option<Reader>,
    historized: HashSet<Box<str>>,
    status: Mutex<Status>,
    /// To other nodes, and to the thread.
    pub(crate) lines: Arc<Lines>,
    /// The way to the central database.
    pub(crate) historian: Board,
}

#[derive(Debug, Default, Clone)]
struct Status {
    /// Rows taken since start.
    taken: u64,
    /// Journal records that no node has any more, since start.
    lost_records: u64,
    /// Journal records whose values may be missing, and are looked for.
    gap_records: u64,
    lag_records: u64,
    /// Rows that came from other nodes, since start.
    copied: u64,
    /// How they come on.
    progress: Option<Progress>,
    /// Why rows wait in memory and journal.
    error: Option<String>,
}

/// An engine takes in what another node journaled alone: which of its telegrams this node's history has, too.
#[derive(Debug)]
pub(crate) struct TwinsAsk {
    pub(crate) group: String,
    /// The history is to be as far as this first.
    pub(crate) after: Position,
    pub(crate) fork: Fork,
    pub(crate) tolerance: Duration,
    /// By item.
    pub(crate) telegrams: BTreeMap<Box<str>, Vec<Telegram>>,
    /// Goes with the answer.
    pub(crate) number: u32,
}

/// The telegrams of an item that are twins, by their places in the question.
pub(crate) type Twins = BTreeMap<Box<str>, BTreeSet<usize>>;

/// What the follower is told.
#[derive(Debug)]
pub(crate) enum Word {
    /// Another node answered.
    Answered,
    /// Write what is in memory to a file, and say whether it is in one.
    Seal(SyncSender<bool>),
    /// Say which telegrams are here, too. A later question takes the place of an earlier one of its group.
    Twins(TwinsAsk),
    Stop,
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(crate) struct HistoryThread {
    words: Sender<Word>,
    thread: Option<JoinHandle<()>>,
    lines: Arc<Lines>,
    supply: JoinHandle<()>,
}

impl HistoryThread {
    /// Seals what is gathered and waits for the end.
    pub(crate) fn stop(self) {
        // A thread that ended hears nothing.
        self.words.send(Word::Stop).ok();
        self.lines.close();
        // A panic was reported when it happened.
        drop(self.thread.map(JoinHandle::join));
        drop(self.supply.join());
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
    pub(crate) fn view(&self, shared: &Shared) -> Option<HistoryView> {
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
            gap_records: status.gap_records,
            copied_rows: status.copied,
            copy: status.progress.as_ref().map(|progress| HistoryCopyView {
                from: shared.name_of(progress.peer),
                group: progress.group.clone(),
                rows: progress.rows,
                rows_per_second: progress.rows_per_second(),
                done_percent: f64::from(progress.permille) / 10.0,
                remaining_rows: progress.remaining_rows(),
                eta_seconds: progress.eta_seconds(),
            }),
            error: status.error,
        })
    }

    /// The way of values to the central database; `None` if none is configured.
    pub(crate) fn historian_view(&self) -> Option<HistorianView> {
        self.historian.view(self.reader.as_ref().map_or(0, Reader::tail_rows))
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
        let mut shelf = Shelf {
            reader: None,
            historized: self.keys,
            status: Mutex::default(),
            lines: Arc::default(),
            historian: Board::default(),
        };
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
        // What happens while nothing of a group is kept is not missing later.
        for group in store.groups().iter().filter(|group| !self.groups.contains(group)) {
            store.forget(group);
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
}

/// Begins to follow, if there is a history, and to answer other nodes in any case.
///
/// # Errors
/// [`StartError::Thread`].
pub(crate) fn start(
    history: Option<OpenHistory>,
    inboxes: impl Iterator<Item = (String, Arc<Inbox>)>,
    shelf: &Arc<Shelf>,
    shared: &Arc<Shared>,
) -> Result<HistoryThread, StartError> {
    let lines = Arc::clone(&shelf.lines);
    let (words, told) = channel();
    lines.tell(words.clone());
    let supply = supply::spawn(Arc::clone(&lines), shelf.reader.clone(), Arc::clone(shared))?;
    let thread = history
        .map(|history| {
            let feeds = inboxes.filter(|(group, _)| history.groups.contains(group)).collect();
            let follower = follower::Follower::new(
                history.store,
                feeds,
                shared.site.journal.retain_bytes,
                Arc::clone(shelf),
                Arc::clone(shared),
                told,
                Arc::clone(&lines),
            );
            std::thread::Builder::new()
                .name("history".to_owned())
                .spawn(move || follower.run())
                .map_err(|source| StartError::Thread { what: "the history", source })
        })
        .transpose()?;
    Ok(HistoryThread { words, thread, lines, supply })
}
