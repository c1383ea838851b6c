//! The writer's side: taking rows, sealing them, and keeping files few and the disk free.

mod recover;
mod retention;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use twinhub_model::Position;
use twinhub_store::{Disk, Medium};

use crate::compact::{Compaction, Done};
use crate::error::io_error;
use crate::file::{BlockFile, DAMAGED, FileWriter, Head, aside, hash_of, sync_dir};
use crate::gap::{self, Filled, Gap};
use crate::merge::put_in_order;
use crate::pending::Pending;
use crate::tail::Tail;
use crate::{HistoryError, Reader, Row};

pub use self::recover::Recovery;
pub use self::retention::Deleted;

/// Where a history is and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Its folder; created if missing.
    pub dir: PathBuf,
    /// So many bytes of rows are gathered in memory before they are sealed.
    pub pending_bytes: usize,
    /// What the hub received longer ago is deleted, file by file.
    pub retain: Option<Duration>,
    /// The oldest files are deleted above this total.
    pub max_bytes: u64,
    /// No file becomes larger by joining.
    pub file_bytes_max: u64,
}

impl StoreOptions {
    /// The defaults in this folder: 8 MiB in memory, 400 days, 10 GB, files up to 256 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            dir: dir.into(),
            pending_bytes: 8 << 20,
            retain: Some(Duration::from_secs(400 * 86_400)),
            max_bytes: 10_000_000_000,
            file_bytes_max: 256 << 20,
        }
    }
}

/// A number for an item's key, valid as long as the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// A history that is open for writing. One owner; the folder is locked against other processes.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    medium: Arc<dyn Medium>,
    _lock: File,
    shared: Arc<Shared>,
    /// How far each group's journal is in files.
    sealed: BTreeMap<String, Position>,
    /// The lowest record of each group that a row in memory came with.
    lows: BTreeMap<String, Position>,
    /// What the files say is missing.
    sealed_gaps: Vec<Gap>,
    next_seal: u64,
    /// Slots by the hash of their keys.
    order: Vec<(u64, Arc<str>, u32)>,
    pending_bytes: usize,
    compaction: Option<Compaction>,
}

/// Sealed files, in the order of their seals.
pub(crate) type Files = Arc<Vec<Arc<BlockFile>>>;

/// What writer and readers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) slots: HashMap<Arc<str>, u32>,
    /// Keys by slot.
    pub(crate) keys: Vec<Arc<str>>,
    pub(crate) pending: Vec<Pending>,
    /// Rows on their way to a file.
    pub(crate) frozen: Option<Arc<Frozen>>,
    pub(crate) files: Files,
    /// What is missing.
    pub(crate) gaps: Vec<Gap>,
    /// How far each group's journal was taken.
    pub(crate) cursors: BTreeMap<String, Position>,
    /// Rows up to here were deleted though they were not too old, since start, by group.
    pub(crate) dropped: BTreeMap<String, Position>,
    /// The names of these journals.
    pub(crate) lives: BTreeMap<String, String>,
    damage: VecDeque<Damage>,
    /// For who follows.
    pub(crate) tail: Tail,
    /// How often what was gathered was put aside for a file, and how often that file was written.
    pub(crate) freezes: u64,
    pub(crate) freezes_sealed: u64,
}

#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) slots: Vec<Pending>,
    cursors: BTreeMap<String, Position>,
    gaps: Vec<Gap>,
    lows: BTreeMap<String, Position>,
    lives: BTreeMap<String, String>,
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What and where, for an operator.
    pub text: String,
}

impl Damage {
    pub(crate) fn of(error: &HistoryError) -> Damage {
        Damage { text: error.to_string() }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files, and an item's rows in memory, as of one moment.
    pub(crate) fn look(&self, item: &str) -> (Files, Vec<Row>) {
        let state = self.state();
        let files = Arc::clone(&state.files);
        let Some(slot) = state.slots.get(item).map(|slot| *slot as usize) else {
            return (files, Vec::new());
        };
        let frozen = state.frozen.clone();
        let pending = state.pending.get(slot).cloned();
        drop(state);
        let mut rows = Vec::new();
        let frozen = frozen.as_ref().and_then(|frozen| frozen.slots.get(slot));
        for part in frozen.into_iter().chain(&pending) {
            // What this process wrote into its own memory reads back.
            part.read(&mut rows).ok();
        }
        (files, rows)
    }

    /// The files, and the items with rows in memory in the order of files, as of one moment.
    pub(crate) fn all(&self) -> (Files, Vec<(u64, Arc<str>)>) {
        let state = self.state();
        let frozen = state.frozen.as_ref();
        let has_rows = |slot: usize| {
            let frozen = frozen.and_then(|frozen| frozen.slots.get(slot));
            state.pending.get(slot).into_iter().chain(frozen).any(|pending| pending.rows() > 0)
        };
        let there = state.slots.iter().filter(|(_, slot)| has_rows(**slot as usize));
        let mut keys: Vec<(u64, Arc<str>)> = there.map(|(key, _)| (hash_of(key), Arc::clone(key))).collect();
        keys.sort_unstable();
        (Arc::clone(&state.files), keys)
    }

    /// What a damaged file may have lost is missing from now on.
    pub(crate) fn miss(&self, file: &BlockFile) {
        miss_damaged(&mut self.state(), file);
    }

    pub(crate) fn report(&self, damage: Damage) {
        let mut state = self.state();
        if state.damage.len() < DAMAGE_MAX && !state.damage.contains(&damage) {
            state.damage.push_back(damage);
        }
    }
}

impl Store {
    /// Opens a history, or creates it.
    ///
    /// # Errors
    /// [`HistoryError::Locked`], [`HistoryError::NewerFormat`], or [`HistoryError::Io`]. Damage is no error; it is
    /// reported in [`Recovery`].
    pub fn open(options: StoreOptions) -> Result<(Store, Recovery), HistoryError> {
        Store::open_on(options, Arc::new(Disk))
    }

    /// As [`Store::open`], on another medium.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        options: StoreOptions,
        medium: Arc<dyn Medium>,
    ) -> Result<(Store, Recovery), HistoryError> {
        fs::create_dir_all(&options.dir).map_err(io_error("create folder", &options.dir))?;
        let lock = recover::lock(&options.dir)?;
        let recover::Found { files, recovery, missing } = recover::recover(&options.dir, &medium)?;
        // The newest says it all; a head that was damaged says nothing.
        let newest = files.iter().rfind(|file| !file.head.cursors.is_empty()).map(|file| &file.head);
        let sealed: BTreeMap<String, Position> =
            newest.into_iter().flat_map(|head| head.cursors.clone()).collect();
        let sealed_gaps = newest.map(|head| head.gaps.clone()).unwrap_or_default();
        let lives = newest.into_iter().flat_map(|head| head.lives.clone()).collect();
        let next_seal = files.iter().map(|file| file.head.last + 1).max().unwrap_or(1);
        let shared = Shared::default();
        {
            let mut state = shared.state();
            state.files = Arc::new(files);
            state.cursors.clone_from(&sealed);
            state.gaps.clone_from(&sealed_gaps);
            for (group, after, through) in &missing {
                gap::add(&mut state.gaps, group, *after, *through);
            }
            state.lives = lives;
        }
        let mut store = Store {
            options,
            medium,
            _lock: lock,
            shared: Arc::new(shared),
            sealed,
            lows: BTreeMap::new(),
            sealed_gaps,
            next_seal,
            order: Vec::new(),
            pending_bytes: 0,
            compaction: None,
        };
        if !missing.is_empty()
            && let Err(error) = store.seal()
        {
            // The next seal says it.
            tracing::warn!(%error, "what damaged files of the history may have held is not written down");
        }
        Ok((store, recovery))
    }

    /// For other threads.
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// The number of an item's key.
    pub fn slot(&mut self, key: &str) -> Slot {
        let mut state = self.shared.state();
        if let Some(slot) = state.slots.get(key) {
            return Slot(*slot);
        }
        let slot = u32::try_from(state.pending.len()).unwrap_or(u32::MAX);
        let key: Arc<str> = Arc::from(key);
        state.slots.insert(Arc::clone(&key), slot);
        state.pending.push(Pending::default());
        state.keys.push(Arc::clone(&key));
        self.order.push((hash_of(&key), key, slot));
        Slot(slot)
    }

    /// The number of an item's key, if it was given one.
    pub fn find(&self, key: &str) -> Option<Slot> {
        self.shared.state().slots.get(key).copied().map(Slot)
    }

    /// Takes what a group's journal holds up to `through`. Records must come in the order of the journal, each once: the
    /// caller reads on behind [`Store::cursor`].
    pub fn append(&mut self, group: &str, through: Position, rows: impl IntoIterator<Item = (Slot, Row)>) {
        advance(&mut self.push(group, rows), group, through);
    }

    /// Goes on behind `to`, which comes before what was taken: there are other records behind it now. What was taken stays.
    pub fn rewind(&mut self, group: &str, to: Position) {
        if let Some(cursor) = self.shared.state().cursors.get_mut(group) {
            *cursor = (*cursor).min(to);
        }
    }

    /// Goes on behind `resume`: what is between it and `after` is not in the journal, and is missing.
    pub fn skip(&mut self, group: &str, after: Position, resume: Position) {
        let mut state = self.shared.state();
        advance(&mut state, group, resume);
        gap::add(&mut state.gaps, group, after, resume);
    }

    /// A journal begins behind this record; other nodes may know what was before it.
    pub fn begin(&mut self, group: &str, before: Position) {
        gap::add(&mut self.shared.state().gaps, group, Position::START, before);
    }

    /// Takes rows of a gap, in any order, and how far it is filled with them. `through` is the gap's end; nothing happens
    /// to gaps that are not known.
    pub fn fill(
        &mut self,
        group: &str,
        through: Position,
        rows: impl IntoIterator<Item = (Slot, Row)>,
        filled: Filled,
    ) {
        let mut state = self.push(group, rows);
        gap::fill(&mut state.gaps, group, through, filled);
    }

    /// The group's journal is the one of this name: a position in it is none of another.
    pub fn name_journal(&mut self, group: &str, life: &str) {
        let mut state = self.shared.state();
        if state.lives.get(group).is_none_or(|known| known != life) {
            state.lives.insert(group.to_owned(), life.to_owned());
        }
    }

    /// Forgets how far a group's journal was taken: it is followed no more, and nothing of it is missing.
    pub fn forget(&mut self, group: &str) {
        let mut state = self.shared.state();
        if let Some(cursor) = state.cursors.get_mut(group) {
            *cursor = Position::START;
        }
        state.lives.remove(group);
        state.gaps.retain(|gap| gap.group != group);
    }

    /// What is missing.
    pub fn gaps(&self) -> Vec<Gap> {
        self.shared.state().gaps.clone()
    }

    /// Groups whose journals are, or were, followed.
    pub fn groups(&self) -> Vec<String> {
        self.shared.state().cursors.keys().cloned().collect()
    }

    fn push(&mut self, group: &str, rows: impl IntoIterator<Item = (Slot, Row)>) -> MutexGuard<'_, State> {
        let mut state = self.shared.state();
        let mut low = None;
        for (slot, row) in rows {
            if let Some(pending) = state.pending.get_mut(slot.0 as usize) {
                let before = pending.bytes();
                pending.push(&row);
                self.pending_bytes += pending.bytes() - before;
                low = Some(low.map_or(row.position, |low: Position| low.min(row.position)));
                state.tail.push(group, slot.0, row);
            }
        }
        if let Some(low) = low {
            match self.lows.get_mut(group) {
                Some(known) => *known = (*known).min(low),
                None => {
                    self.lows.insert(group.to_owned(), low);
                }
            }
        }
        state
    }

    /// How far a group's journal was taken.
    pub fn cursor(&self, group: &str) -> Position {
        self.shared.state().cursors.get(group).copied().unwrap_or(Position::START)
    }

    /// How far a group's journal is in files: nothing before is needed any more.
    pub fn sealed(&self, group: &str) -> Position {
        self.sealed.get(group).copied().unwrap_or(Position::START)
    }

    /// Bytes of rows in memory that no seal has begun to write.
    pub const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether enough is gathered for a seal.
    pub fn wants_seal(&self) -> bool {
        self.pending_bytes >= self.options.pending_bytes || self.shared.state().frozen.is_some()
    }

    /// Whether the caller has to wait with more until a seal succeeds.
    pub const fn is_full(&self) -> bool {
        self.pending_bytes >= self.options.pending_bytes.saturating_mul(2)
    }

    /// Writes what is gathered into a file; returns whether there was anything. A crash before it returns leaves the
    /// rows to be read from the journal again.
    ///
    /// # Errors
    /// [`HistoryError::Io`]; the rows stay in memory, and the next call tries again.
    pub fn seal(&mut self) -> Result<bool, HistoryError> {
        let Some(frozen) = self.freeze() else { return Ok(false) };
        let seal = self.next_seal;
        let list = |map: &BTreeMap<String, Position>| map.clone().into_iter().collect();
        let head = Head {
            first: seal,
            last: seal,
            cursors: list(&frozen.cursors),
            gaps: frozen.gaps.clone(),
            lows: Some(list(&frozen.lows)),
            lives: frozen.lives.clone().into_iter().collect(),
        };
        let mut writer = FileWriter::create(&self.medium, &self.options.dir, head)?;
        if let Err(error) = write_slots(&mut writer, &self.order, &frozen.slots) {
            writer.discard();
            return Err(error);
        }
        let finished = writer.finish()?;
        let file = Arc::new(BlockFile::open(&finished.path)?);
        self.next_seal = seal + 1;
        self.sealed.clone_from(&frozen.cursors);
        self.sealed_gaps.clone_from(&frozen.gaps);
        let mut state = self.shared.state();
        let mut files = Vec::clone(&state.files);
        files.push(file);
        state.files = Arc::new(files);
        state.frozen = None;
        state.freezes_sealed = state.freezes;
        Ok(true)
    }

    /// Does a part of the work of joining small files, about this many bytes of it; returns whether there is more.
    ///
    /// # Errors
    /// [`HistoryError::Io`]; the small files stay, and the next call begins again.
    pub fn compact(&mut self, bytes: u64) -> Result<bool, HistoryError> {
        let mut work = if let Some(work) = self.compaction.take() {
            work
        } else {
            let files = Arc::clone(&self.shared.state().files);
            let inputs = crate::compact::choose(&files, self.options.file_bytes_max);
            if inputs.is_empty() {
                return Ok(false);
            }
            Compaction::begin(&self.medium, &self.options.dir, inputs, Arc::clone(&self.shared))?
        };
        match work.step(bytes) {
            Ok(Done::More) => {
                self.compaction = Some(work);
                Ok(true)
            }
            Ok(Done::All) => {
                self.install(work)?;
                Ok(true)
            }
            Err(error) => {
                work.discard();
                Err(error)
            }
        }
    }

    /// What was found damaged since the last call. What it may have held is missing from then on.
    pub fn take_damage(&self) -> Vec<Damage> {
        let mut state = self.shared.state();
        for file in state.files.clone().iter() {
            miss_damaged(&mut state, file);
        }
        state.damage.drain(..).collect()
    }

    fn freeze(&mut self) -> Option<Arc<Frozen>> {
        let mut state = self.shared.state();
        if state.frozen.is_none() {
            // Rows of a gap move no cursor, and may leave the gap as it is.
            let has_news =
                self.pending_bytes > 0 || state.cursors != self.sealed || state.gaps != self.sealed_gaps;
            if !has_news {
                return None;
            }
            // The next rows will take about as much.
            let empty = state.pending.iter().map(Pending::like).collect();
            let slots = std::mem::replace(&mut state.pending, empty);
            self.pending_bytes = 0;
            self.order.sort_unstable();
            let lows = std::mem::take(&mut self.lows);
            let (cursors, gaps, lives) = (state.cursors.clone(), state.gaps.clone(), state.lives.clone());
            state.freezes += 1;
            state.frozen = Some(Arc::new(Frozen { slots, cursors, gaps, lows, lives }));
        }
        state.frozen.clone()
    }

    fn install(&mut self, work: Compaction) -> Result<(), HistoryError> {
        let (inputs, finished) = work.finish()?;
        let file = Arc::new(BlockFile::open(&finished.path)?);
        let mut state = self.shared.state();
        for input in &inputs {
            miss_damaged(&mut state, input);
        }
        let mut files = Vec::clone(&state.files);
        files.retain(|file| !inputs.iter().any(|input| Arc::ptr_eq(input, file)));
        files.push(file);
        files.sort_by_key(|file| file.head.first);
        state.files = Arc::new(files);
        drop(state);
        for input in inputs {
            let is_damaged = input.is_damaged.load(Ordering::Acquire);
            if is_damaged {
                let path = aside(&input.path);
                fs::rename(&input.path, &path).map_err(io_error("set aside", &input.path))?;
                tracing::warn!(file = %path.display(), extension = DAMAGED, "a damaged history file was set aside");
            } else {
                fs::remove_file(&input.path).map_err(io_error("delete", &input.path))?;
            }
        }
        sync_dir(&self.options.dir).map_err(io_error("sync folder", &self.options.dir))
    }
}

/// What a damaged file may have lost is a gap, which the journal or another node fills.
fn miss_damaged(state: &mut State, file: &BlockFile) {
    let ranges = file.damaged_ranges();
    if ranges.is_empty() || file.is_missed.swap(true, Ordering::AcqRel) {
        return;
    }
    for (group, after, through) in ranges {
        gap::add(&mut state.gaps, group, after, through);
    }
}

fn write_slots(
    writer: &mut FileWriter,
    order: &[(u64, Arc<str>, u32)],
    slots: &[Pending],
) -> Result<(), HistoryError> {
    let mut rows = Vec::new();
    for (_, key, slot) in order {
        let Some(pending) = slots.get(*slot as usize).filter(|pending| pending.rows() > 0) else { continue };
        rows.clear();
        // What this process wrote into its own memory reads back.
        pending.read(&mut rows).ok();
        put_in_order(&mut rows);
        writer.rows(key, &rows)?;
    }
    Ok(())
}

fn advance(state: &mut State, group: &str, through: Position) {
    match state.cursors.get_mut(group) {
        Some(cursor) => *cursor = (*cursor).max(through),
        None => {
            state.cursors.insert(group.to_owned(), through);
        }
    }
}

/// Damage kept until it is asked for.
const DAMAGE_MAX: usize = 64;
