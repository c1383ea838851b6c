//! The events of this node, for all its threads.
//!
//! What is kept and who gets what is decided in `core/events`; here are the clock, the lock, and a file. What happens on
//! this node is written into the file before anybody is shown it: the journal has it a little later, and on a node that
//! does not act not before another one takes it over. So an event that was shown is there again after the process was
//! killed. Two files take turns, since journal and stored state have everything but the newest; a third holds the older one
//! while the newest could not be read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
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
///
/// What stands behind a torn event is not found again, so none is written there: what a full disk took of one is cut, or the
/// file is left as it is and another one begun.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    is_faulty: bool,
}

impl Lines {
    /// What the files hold; a torn end is cut.
    fn open(path: PathBuf) -> (Lines, Vec<Known>) {
        let mut events = Vec::new();
        let mut lines = Lines { path, file: None, bytes: 0, is_faulty: false };
        for older in [&lines.kept(), &lines.before()] {
            match read(older) {
                Ok(bytes) => drop(split(&bytes, &mut events)),
                Err(error) => report(older, &error),
            }
        }
        match lines.open_newest(&mut events) {
            Ok(file) => lines.file = Some(file),
            Err(error) => lines.report_own(&error),
        }
        (lines, events)
    }

    /// The file that is written, cut behind what is sound of it. One that cannot be read is put aside, since it may be
    /// readable the next time; if that would push out what was put aside before, nothing is written until it can be read.
    fn open_newest(&mut self, events: &mut Vec<Known>) -> std::io::Result<File> {
        match read(&self.path) {
            Ok(bytes) => {
                let sound = split(&bytes, events) as u64;
                let file = append_to(&self.path)?;
                file.set_len(sound)?;
                self.bytes = sound;
                Ok(file)
            }
            Err(error) => {
                if self.kept().exists() {
                    return Err(error);
                }
                report(&self.path, &error);
                if self.before().exists() {
                    std::fs::rename(self.before(), self.kept())?;
                }
                self.begin_anew()
            }
        }
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
            Err(error) => self.report_own(&error),
        }
    }

    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) if self.bytes <= FILE_BYTES_MAX => file,
            Some(_) => {
                let file = self.begin_anew()?;
                std::fs::remove_file(self.kept()).ok();
                file
            }
            // What it holds was read, or could not be, when it was opened.
            None => self.open_newest(&mut Vec::new())?,
        };
        let written = file.write_all(line);
        match written {
            Ok(()) => self.bytes += line.len() as u64,
            // What was written of it is cut; where that cannot be, the file is not written any more.
            Err(_) => self.bytes = file.set_len(self.bytes).map_or(u64::MAX, |()| self.bytes),
        }
        self.file = Some(file);
        written
    }

    /// The file becomes the one before, and an empty one takes its place.
    fn begin_anew(&mut self) -> std::io::Result<File> {
        match std::fs::rename(&self.path, self.before()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = append_to(&self.path)?;
        self.bytes = 0;
        Ok(file)
    }

    fn before(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    /// What was the one before when the newest could not be read.
    fn kept(&self) -> PathBuf {
        self.path.with_extension("log.2")
    }

    /// Says it once.
    fn report_own(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_faulty, true) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "events are stored later than they are shown");
        }
    }
}

fn report(path: &Path, error: &std::io::Error) {
    tracing::error!(path = %path.display(), %error, "events that were written down cannot be read; the file is kept");
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What a file holds; one that is not there holds nothing.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(bytes),
        Err(error) => return Err(error),
    };
    // Not more than was ever written.
    file.take(2 * FILE_BYTES_MAX).read_to_end(&mut bytes)?;
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

    /// The disk of this one's own process is full behind a few thousand bytes: the kernel writes a part of what does not fit.
    #[test]
    fn what_a_full_disk_took_a_part_of_hides_nothing_that_comes_after_it() {
        const SMALL: &str = "TWINHUB_TEST_SMALL_DISK";
        let long = |number: usize| format!("{number} {}", "x".repeat(3000));
        if let Some(dir) = std::env::var_os(SMALL) {
            let log = log(Path::new(&dir));
            for number in 0..5 {
                log.note("site", event(&long(number)), "");
            }
            assert_eq!(texts(&log).len(), 5, "all are shown");
            log.note("site", event("short"), "");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let name = "event_log::tests::what_a_full_disk_took_a_part_of_hides_nothing_that_comes_after_it";
        let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$1\" --exact";
        let done = std::process::Command::new("sh")
            .args(["-c", limited])
            .arg(program)
            .arg(name)
            .env(SMALL, dir.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let again = log(dir.path());
        let kept = texts(&again);
        assert!(kept.len() > 1 && kept.len() < 6 && kept[0] == long(0), "{} of 6", kept.len());
        assert_eq!(kept.last().unwrap(), "short");
        again.note("site", event("after"), "");
        assert_eq!(texts(&log(dir.path())).len(), kept.len() + 1);
    }

    #[test]
    fn a_file_whose_torn_end_cannot_be_cut_is_written_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let (mut lines, _) = Lines::open(path.clone());
        let book = |text: &str| {
            let mut book = Book::new(NodeRank(1), 10, None);
            book.note("site", event(text), "".into(), Timestamp(1)).unwrap()
        };
        lines.write(&book("a"));
        // It takes neither bytes nor a new length.
        lines.file = Some(File::open(&path).unwrap());
        std::fs::write(&path, [std::fs::read(&path).unwrap(), vec![9; 5]].concat()).unwrap();
        lines.write(&book("b"));
        assert!(lines.is_faulty);
        lines.write(&book("c"));
        assert!(!lines.is_faulty);
        let (_, read) = Lines::open(path);
        let texts: Vec<&str> = read.iter().map(|known| &*known.entry.event.text).collect();
        assert_eq!(texts, ["a", "c"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside_and_pushes_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        log(dir.path()).note("site", event("a"), "");
        std::fs::rename(place("events.log"), place("events.log.1")).unwrap();
        // Reading a folder is an error of its own.
        std::fs::create_dir(place("events.log")).unwrap();
        let second = log(dir.path());
        assert_eq!(texts(&second), ["a"]);
        second.note("site", event("b"), "");
        assert!(place("events.log.1").is_dir(), "as it was");
        assert_eq!(texts(&log(dir.path())), ["a", "b"]);

        // The next one has no place left: it stays, and what is written down already stays, too.
        std::fs::rename(place("events.log"), place("good")).unwrap();
        std::fs::create_dir(place("events.log")).unwrap();
        let third = log(dir.path());
        third.note("site", event("c"), "");
        assert_eq!(texts(&third), ["a", "c"]);
        std::fs::remove_dir(place("events.log")).unwrap();
        std::fs::rename(place("good"), place("events.log")).unwrap();
        third.note("site", event("d"), "");
        assert_eq!(texts(&log(dir.path())), ["a", "b", "d"], "it goes on once it can be read");
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
