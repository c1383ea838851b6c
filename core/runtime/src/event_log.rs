//! The events of this node, for all its threads.
//!
//! What is kept and who gets what is decided in `core/events`; here are the clock, the lock, and a file. What happens on
//! this node is written into the file before anybody is shown it: the journal has it a little later, and on a node that
//! does not act not before another one takes it over. So an event that was shown is there again after the process was
//! killed. Two files take turns, since journal and stored state have everything but the newest.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinhub_config::Events;
use twinhub_events::{Book, Entry, EventId, Filter, Following, Known, Newest, Next, Way};
use twinhub_model::{Event, NodeRank, Position, Severity};

use crate::clock;

/// See the module.
#[derive(Debug)]
pub(crate) struct EventLog {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    book: Book,
    file: Option<Lines>,
}

impl EventLog {
    /// With what the file has, if there is one; the rest comes from stored states and journals.
    pub(crate) fn open(me: NodeRank, kept: &Events, path: Option<PathBuf>) -> EventLog {
        let mut book = Book::new(me, kept.keep, kept.retain);
        let now = clock::utc();
        let file = path.map(|path| {
            let (file, events) = Lines::open(path);
            for known in events {
                book.take(known, Way::Log, now);
            }
            file
        });
        EventLog { state: Mutex::new(State { book, file }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened on this node; says whether that is new. What is about an occurrence of an alarm is told once.
    pub(crate) fn note(&self, group: &str, event: Event, alarm: &str) -> bool {
        let mut state = self.lock();
        let Some(known) = state.book.note(group, event, alarm.into(), clock::utc()) else { return false };
        if let Some(file) = &mut state.file {
            file.write(&known);
        }
        true
    }

    /// Takes events of a group in.
    pub(crate) fn take(&self, group: &str, events: Vec<Known>, way: Way) {
        let now = clock::utc();
        let group: Arc<str> = group.into();
        let mut state = self.lock();
        for mut known in events {
            known.entry.id.group = Arc::clone(&group);
            state.book.take(known, way, now);
        }
    }

    /// Takes in what a node without this part wrote into the journal.
    pub(crate) fn take_record(&self, group: &str, at: Position, event: &Event) {
        // One clock may give the same time twice; the place in the journal tells them apart, on every node alike.
        let stamp = event.at.0.saturating_sub(event.at.0.rem_euclid(1000));
        let stamp = stamp.saturating_add(i64::try_from(at.seq % 1000).unwrap_or(0));
        let id =
            EventId { stamp: twinhub_model::Timestamp(stamp), node: at.epoch.rank(), group: group.into() };
        let entry = Entry { id, event: event.clone(), alarm: "".into() };
        let known = Known { entry, number: 0, is_pending: false };
        self.lock().book.take(known, Way::Journal, clock::utc());
    }

    pub(crate) fn begin_copy(&self, group: &str) {
        self.lock().book.begin_copy(group);
    }

    /// What happened here and was not seen in the group's journal.
    pub(crate) fn pending(&self, group: &str, count: usize) -> Vec<Known> {
        self.lock().book.pending(group, count)
    }

    pub(crate) fn is_pending(&self, group: &str) -> bool {
        self.lock().book.is_pending(group)
    }

    pub(crate) fn of_group(&self, group: &str) -> Vec<Known> {
        self.lock().book.of_group(group).collect()
    }

    /// Another number after each change.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().book.revision()
    }

    /// What a reader has not got yet.
    pub(crate) fn following(&self, from: &Following, filter: &Filter) -> Next {
        let mut state = self.lock();
        state.book.expire(clock::utc());
        state.book.following(from, filter)
    }

    /// The newest, page by page.
    pub(crate) fn newest(&self, before: Option<&EventId>, limit: usize, filter: &Filter) -> Newest {
        let mut state = self.lock();
        state.book.expire(clock::utc());
        state.book.newest(before, limit, filter)
    }
}

/// A file of events, each by itself: `length u32 | crc32 u32 | bytes`, little endian.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    is_faulty: bool,
}

impl Lines {
    /// What the two files hold; a torn end is cut.
    fn open(path: PathBuf) -> (Lines, Vec<Known>) {
        let mut events = Vec::new();
        if let Ok(bytes) = read(&before(&path)) {
            split(&bytes, &mut events);
        }
        let bytes = read(&path).unwrap_or_default();
        let sound = split(&bytes, &mut events);
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let opened = opened.and_then(|file| {
            file.set_len(sound as u64)?;
            Ok(file)
        });
        let mut lines = Lines { path, file: None, bytes: sound as u64, is_faulty: false };
        match opened {
            Ok(file) => lines.file = Some(file),
            Err(error) => lines.report(&error),
        }
        (lines, events)
    }

    fn write(&mut self, known: &Known) {
        let [body] = twinhub_events::encode([known]).try_into().unwrap_or_else(|_| [Vec::new()]);
        let length = u32::try_from(body.len()).unwrap_or(0);
        let mut line = Vec::with_capacity(HEADER_BYTES + body.len());
        line.extend_from_slice(&length.to_le_bytes());
        line.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        line.extend_from_slice(&body);
        match self.append(&line) {
            Ok(()) => self.is_faulty = false,
            Err(error) => self.report(&error),
        }
    }

    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.bytes > FILE_BYTES_MAX {
            std::fs::rename(&self.path, before(&self.path))?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                self.bytes = 0;
                none.insert(OpenOptions::new().create(true).append(true).open(&self.path)?)
            }
        };
        file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Says it once.
    fn report(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_faulty, true) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "events are stored later than they are shown");
        }
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not more than was ever written.
    File::open(path)?.take(2 * FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The events of a file, and how many of its bytes are sound.
fn split(bytes: &[u8], events: &mut Vec<Known>) -> usize {
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let Some((body, behind)) = behind.split_at_checked(number(0) as usize) else { break };
        if crc32fast::hash(body) != number(4) {
            break;
        }
        match twinhub_events::decode(body) {
            Ok(read) => events.extend(read),
            Err(error) => tracing::warn!(%error, "an event that was written down is left out"),
        }
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// The severity with this word.
pub(crate) fn severity(word: &str) -> Option<Severity> {
    [Severity::Info, Severity::Warning, Severity::Error].into_iter().find(|known| known.word() == word)
}

const HEADER_BYTES: usize = 8;
/// A file starts over at this size.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_model::Timestamp;

    use super::*;

    fn log(dir: &Path) -> EventLog {
        let kept = Events { keep: 1000, retain: None };
        EventLog::open(NodeRank(1), &kept, Some(dir.join("events.log")))
    }

    fn event(text: &str) -> Event {
        Event {
            severity: Severity::Info,
            source: "plc1".into(),
            code: "TH-A-001".into(),
            text: text.into(),
            at: Timestamp(1),
        }
    }

    fn texts(log: &EventLog) -> Vec<String> {
        let from = Following { limit: 10_000, ..Following::default() };
        let rows = log.following(&from, &Filter::default()).rows;
        rows.into_iter().map(|row| row.entry.event.text.to_string()).collect()
    }

    #[test]
    fn what_was_shown_is_there_again_in_a_new_process_and_still_pending() {
        let dir = tempfile::tempdir().unwrap();
        let before = log(dir.path());
        for text in ["a", "b"] {
            before.note("site", event(text), "");
        }
        assert!(before.note("site", event("c"), "hot@1"));
        let after = log(dir.path());
        assert_eq!(texts(&after), ["a", "b", "c"]);
        assert_eq!(after.of_group("site"), before.of_group("site"));
        assert_eq!(after.pending("site", 9).len(), 3);
        assert!(!after.note("site", event("again"), "hot@1"), "told already");
    }

    #[test]
    fn a_torn_end_is_cut_and_what_follows_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        let first = log(dir.path());
        for text in ["a", "b"] {
            first.note("site", event(text), "");
        }
        let path = dir.path().join("events.log");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let second = log(dir.path());
        assert_eq!(texts(&second), ["a"]);
        second.note("site", event("c"), "");
        assert_eq!(texts(&log(dir.path())), ["a", "c"]);
    }

    #[test]
    fn two_files_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let first = log(dir.path());
        let long = "x".repeat(4000);
        for number in 0..600 {
            first.note("site", event(&format!("{number} {long}")), "");
        }
        let length = std::fs::metadata(dir.path().join("events.log")).unwrap().len();
        assert!(length < FILE_BYTES_MAX, "{length}");
        let again = texts(&log(dir.path()));
        assert!(again.len() > 256 && again.last().unwrap().starts_with("599 "), "{}", again.len());
    }

    #[test]
    fn without_a_place_for_the_file_events_are_kept_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir.path().join("missing"));
        assert!(log.note("site", event("a"), ""));
        assert_eq!(texts(&log), ["a"]);
    }

    proptest! {
        #[test]
        fn any_bytes_in_the_file_are_events_or_left_out(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("events.log"), bytes).unwrap();
            let log = log(dir.path());
            assert!(log.note("site", event("a"), ""));
            assert_eq!(texts(&log).last().unwrap(), "a");
        }
    }
}
