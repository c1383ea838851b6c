//! Parts of the hub that keep their state in the journal: users, alarms.
//!
//! ```text
//! active:  part decides -> record -> journal -> apply
//! standby:                 journal of the active -> apply      a full copy: clear, restore piece by piece
//! restart: state file -> records behind it -> apply
//! ```
//! A part is built from its records alone, in the same way on every node, so that a successor goes on where the
//! node before stood. The journal forgets; so the state as of its last change is kept in a file as well, written
//! on a thread of its own once the journal has that change on disk.

pub(crate) mod deliveries;
pub(crate) mod life;
pub(crate) mod plugins;
pub(crate) mod stores;

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use twinhub_model::{Moment, Part, PartRecord, Position, Record, Severity};
use twinhub_store::{Journal, Relation, StateFile, StoreError, StoredState};
use twinhub_wire::record::PLACEHOLDER;

use super::Engine;

/// A piece of a state is at most about this long, so that it fits a message.
pub(crate) const PIECE_BYTES_MAX: usize = 256 * 1024;
/// A state that keeps changing is written at most this often.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Begins the names under which pieces travel with a full copy.
const STATE: &str = "part/";

/// One part's state.
pub(crate) trait PartState: Any + fmt::Debug + Send {
    /// Which part it is.
    fn part(&self) -> Part;
    /// Takes a record. The same one may come twice, and after a copy of the state some come that are in it.
    ///
    /// # Errors
    /// What is wrong with it; it is left out.
    fn apply(&mut self, at: Position, body: &[u8]) -> Result<(), String>;
    /// The whole state in pieces of at most [`PIECE_BYTES_MAX`], each readable by itself.
    fn pieces(&self) -> Vec<Vec<u8>>;
    /// Forgets everything, before the pieces of a copy.
    fn clear(&mut self);
    /// Takes a piece of a copy.
    ///
    /// # Errors
    /// What is wrong with it; the rest of the copy is taken all the same.
    fn restore(&mut self, piece: &[u8]) -> Result<(), String>;
    /// Takes a piece that this node stored.
    ///
    /// # Errors
    /// As [`PartState::restore`].
    fn load(&mut self, piece: &[u8]) -> Result<(), String> {
        self.restore(piece)
    }
    /// Another number after each change that no record made, so that it is stored, too.
    fn revision(&self) -> u64 {
        0
    }
    /// What else a node needs that starts from a copy; on this one it is in files of its own. It is taken by
    /// [`PartState::restore`] after the state.
    fn files(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
    /// The journal has records of this node alone after `common`; a copy of what holds instead is coming. What the part
    /// has of them that does not follow from the records by themselves, in pieces.
    fn fork(&self, _common: Position) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Parts {
    kept: Vec<Kept>,
    writer: Writer,
}

#[derive(Debug)]
struct Kept {
    state: Box<dyn PartState>,
    file: StateFile,
    /// The last record, or copy, that changed it.
    changed: Position,
    stored: Position,
    stored_at: Moment,
    /// Of the state when it was handed to the writer.
    revision: u64,
    /// Handed to the writer and not answered.
    storing: bool,
}

/// What to say about a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Parts {
    /// The parts with what their files in `dir` hold, and which of those files were unreadable: then a copy
    /// from the active node is wanted.
    pub(crate) fn open(dir: &Path, states: Vec<Box<dyn PartState>>) -> (Parts, Vec<Trouble>) {
        let mut troubles = Vec::new();
        let mut kept = Vec::new();
        for mut state in states {
            let file = StateFile::new(dir.join(format!("{}.state", state.part().name())));
            let changed = load(&mut *state, &file, &mut troubles);
            kept.push(Kept {
                state,
                file,
                changed,
                stored: changed,
                stored_at: Moment::ZERO,
                revision: 0,
                storing: false,
            });
        }
        (Parts { kept, writer: Writer::default() }, troubles)
    }

    /// Whether there is any.
    pub(crate) const fn are_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// A part by its type.
    pub(crate) fn get<T: PartState>(&self) -> Option<&T> {
        self.kept.iter().find_map(|kept| {
            let state: &dyn Any = &*kept.state;
            state.downcast_ref()
        })
    }

    /// A part by its type, to be changed.
    pub(crate) fn get_mut<T: PartState>(&mut self) -> Option<&mut T> {
        self.kept.iter_mut().find_map(|kept| {
            let state: &mut dyn Any = &mut *kept.state;
            state.downcast_mut()
        })
    }

    fn find(&mut self, part: Part) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|kept| kept.state.part() == part)
    }

    /// Records of this node alone after `common` are set aside: what parts have of them.
    pub(crate) fn fork(&self, common: Position) -> Vec<(Part, Vec<Vec<u8>>)> {
        let pieces = self.kept.iter().map(|kept| (kept.state.part(), kept.state.fork(common)));
        pieces.filter(|(_, pieces)| !pieces.is_empty()).collect()
    }

    /// Whether the record at this place is one that a part has not seen, which then has.
    pub(crate) fn is_news(&mut self, part: Part, at: Position) -> bool {
        let Some(kept) = self.find(part).filter(|kept| at > kept.changed) else { return false };
        kept.changed = at;
        true
    }

    /// Whether a state has records that are not in the journal: they were set aside, and the process ended before what
    /// a copy said instead was stored.
    pub(crate) fn are_of_another(&self, journal: &Journal) -> bool {
        let is_of_another =
            |at: Position| at > journal.last() || matches!(journal.relation(at), Relation::Diverged { .. });
        self.kept.iter().any(|kept| is_of_another(kept.changed))
    }

    /// A record of the journal. One of a part that this version does not have stays in the journal, unread.
    pub(crate) fn apply(&mut self, at: Position, record: &PartRecord) -> Result<(), String> {
        if !self.is_news(record.part, at) {
            return Ok(());
        }
        let Some(kept) = self.find(record.part) else { return Ok(()) };
        kept.state.apply(at, &record.body)
    }

    /// Everything in pieces, for a node that starts from a copy. A part without content has one piece, too: it
    /// says that there is none.
    pub(crate) fn copy(&self) -> Vec<(String, Vec<u8>)> {
        let mut named = Vec::new();
        for kept in &self.kept {
            let Part(number) = kept.state.part();
            let mut pieces = kept.state.pieces();
            pieces.append(&mut kept.state.files());
            debug_assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX), "{kept:?}");
            named.push((format!("{STATE}{number}/begin"), Vec::new()));
            named.extend(pieces.into_iter().map(|piece| (format!("{STATE}{number}"), piece)));
        }
        named
    }

    /// Whether the name is one of [`Parts::copy`].
    pub(crate) fn owns(name: &str) -> bool {
        name.starts_with(STATE)
    }

    /// A piece of a copy that is at least as new as `at`.
    pub(crate) fn take_piece(&mut self, name: &str, piece: &[u8], at: Position) -> Result<(), String> {
        let name = name.strip_prefix(STATE).unwrap_or(name);
        let (number, begins) = match name.split_once('/') {
            Some((number, _)) => (number, true),
            None => (name, false),
        };
        let number = number.parse().map_err(|_| format!("`{name}` is no part"))?;
        let Some(kept) = self.find(Part(number)) else { return Ok(()) };
        // Records that follow the copy are applied, also where the journal had come further before a fork.
        kept.changed = at;
        kept.stored = Position::START;
        if begins {
            kept.state.clear();
            return Ok(());
        }
        kept.state.restore(piece)
    }

    /// Hands states that changed to the writer, as far as the journal has the change on disk.
    pub(crate) fn store(&mut self, now: Moment, durable: Position) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for Stored { part, at, result } in self.writer.answers() {
            let Some(kept) = self.kept.iter_mut().find(|kept| kept.state.part() == part) else { continue };
            kept.storing = false;
            match result {
                Ok(()) => kept.stored = at,
                Err(error) => troubles.push(Trouble {
                    severity: Severity::Error,
                    code: "TH-STATE-001",
                    text: format!("the state of {} was not stored: {error}", part.name()),
                }),
            }
        }
        for kept in &mut self.kept {
            let revision = kept.state.revision();
            let has_changed = kept.stored != kept.changed || kept.revision != revision;
            let is_due = !kept.storing && has_changed && now >= kept.stored_at + STORE_INTERVAL;
            if is_due && kept.changed <= durable {
                let state = StoredState { at: kept.changed, pieces: kept.state.pieces() };
                kept.storing = self.writer.write(kept.state.part(), &kept.file, state);
                kept.stored_at = now;
                kept.revision = revision;
            }
        }
        troubles
    }

    /// Writes what is not stored yet, before the end.
    pub(crate) fn finish(&mut self, durable: Position) {
        self.writer = Writer::default();
        let has_changed =
            |kept: &&Kept| kept.stored != kept.changed || kept.revision != kept.state.revision();
        for kept in self.kept.iter().filter(has_changed).filter(|kept| kept.changed <= durable) {
            let state = StoredState { at: kept.changed, pieces: kept.state.pieces() };
            if let Err(error) = kept.file.store(&state) {
                tracing::error!(part = %kept.state.part().name(), %error, "the state was not stored");
            }
        }
    }
}

fn load(state: &mut dyn PartState, file: &StateFile, troubles: &mut Vec<Trouble>) -> Position {
    let name = state.part().name();
    let stored = match file.load() {
        Ok(Some(stored)) => stored,
        Ok(None) => return Position::START,
        Err(error) => {
            let kept = match file.set_aside() {
                Ok(aside) => format!("kept as {}", aside.display()),
                Err(error) => error.to_string(),
            };
            troubles.push(Trouble {
                severity: Severity::Error,
                code: "TH-STATE-002",
                text: format!("the stored state of {name} is not readable: {error} ({kept})"),
            });
            return Position::START;
        }
    };
    for piece in &stored.pieces {
        if let Err(why) = state.load(piece) {
            let text =
                format!("{}: a piece of the state of {name} is left out: {why}", file.path().display());
            troubles.push(Trouble { severity: Severity::Error, code: "TH-STATE-002", text });
        }
    }
    stored.at
}

/// The thread that waits for the disk.
#[derive(Debug, Default)]
struct Writer {
    lines: Option<(Sender<Order>, Receiver<Stored>)>,
}

type Order = (Part, StateFile, StoredState);

#[derive(Debug)]
struct Stored {
    part: Part,
    at: Position,
    result: Result<(), StoreError>,
}

impl Writer {
    /// Whether the thread has taken it; it answers later.
    fn write(&mut self, part: Part, file: &StateFile, state: StoredState) -> bool {
        if self.lines.is_none() {
            self.lines = start_writer();
        }
        let Some((orders, _)) = &self.lines else { return false };
        orders.send((part, file.clone(), state)).is_ok()
    }

    fn answers(&self) -> Vec<Stored> {
        self.lines.as_ref().map_or_else(Vec::new, |(_, answers)| answers.try_iter().collect())
    }
}

fn start_writer() -> Option<(Sender<Order>, Receiver<Stored>)> {
    let (orders, todo) = channel::<Order>();
    let (done, answers) = channel();
    let spawned = std::thread::Builder::new().name("states".to_owned()).spawn(move || {
        while let Ok((part, file, state)) = todo.recv() {
            let result = file.store(&state);
            if done.send(Stored { part, at: state.at, result }).is_err() {
                return;
            }
        }
    });
    match spawned {
        Ok(_) => Some((orders, answers)),
        Err(error) => {
            tracing::error!(%error, "the thread that stores states does not start");
            None
        }
    }
}

/// Whether a record stands for one that this node did not understand when it was sent.
pub(crate) const fn is_placeholder(record: &Record) -> bool {
    matches!(record, Record::Delivered(delivered) if delivered.consumer == PLACEHOLDER)
}

/// Where the states of a group's parts are kept.
pub(crate) fn states_dir(state_dir: &Path, group: &str) -> PathBuf {
    state_dir.join("states").join(group)
}

impl Engine {
    pub(crate) fn apply_part(&mut self, at: Position, record: &PartRecord) {
        if let Err(why) = self.parts.apply(at, record) {
            tracing::error!(part = %record.part.name(), position = %at, why, "a record is left out");
        }
    }

    /// Appends a record of a part and applies it. `None` if the journal takes nothing.
    pub(crate) fn append_part(&mut self, part: Part, body: &[u8]) -> Option<Position> {
        let record = PartRecord { part, body: body.into() };
        let position = self.append(&Record::Part(record.clone()))?;
        self.apply_part(position, &record);
        Some(position)
    }

    pub(crate) fn store_parts(&mut self, now: Moment) {
        self.name_journal();
        let troubles = self.parts.store(now, self.journal.durable());
        self.report(troubles);
    }

    pub(crate) fn report(&mut self, troubles: Vec<Trouble>) {
        for Trouble { severity, code, text } in troubles {
            tracing::error!(group = %self.group, code, text);
            self.event(severity, "states", code, &text);
        }
    }
}
