//! Role changes as `twinhub history` shows them: the newest in memory, and each as a line of a file.
//!
//! The thread that changes roles must not wait for a disk. So memory has a change first ([`RoleHistory::remember`]), and
//! another thread writes its line ([`RoleHistory::store`]).
//!
//! What this node did stands in the order in which it did it. What another one did alone during a split comes later and stands
//! among that by its time ([`RoleHistory::join`]).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinhub_model::Timestamp;

use crate::view::RoleChangeView;

/// Changes that are shown at most.
const KEEP: usize = 1_000;
/// The file is begun anew when it is longer; the one before is kept beside.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct RoleHistory {
    /// The node's name.
    node: String,
    known: Mutex<VecDeque<RoleChangeView>>,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    /// What is written last may have no end.
    is_torn: bool,
}

impl RoleHistory {
    /// With what the file and the one before it have. A line that was cut off is left out.
    pub(crate) fn open(node: &str, path: PathBuf) -> RoleHistory {
        let mut known = VecDeque::new();
        let mut is_torn = false;
        for path in [&before(&path), &path] {
            let bytes = read(path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "role history is not readable");
                Vec::new()
            });
            is_torn = bytes.last().is_some_and(|last| *last != b'\n');
            for line in bytes.split(|byte| *byte == b'\n') {
                if let Ok(change) = serde_json::from_slice(line) {
                    insert(&mut known, node, change);
                }
            }
        }
        RoleHistory {
            node: node.to_owned(),
            known: Mutex::new(known),
            lines: Mutex::new(Lines { path, is_torn }),
        }
    }

    /// Keeps a change in memory.
    pub(crate) fn remember(&self, change: RoleChangeView) {
        insert(&mut self.known(), &self.node, change);
    }

    /// Keeps a change of another node, also in the file, unless it is known.
    pub(crate) fn join(&self, change: &RoleChangeView) {
        if change.node != self.node && insert(&mut self.known(), &self.node, change.clone()) {
            self.store(change);
        }
    }

    /// Writes a change into the file.
    pub(crate) fn store(&self, change: &RoleChangeView) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = lines.append(change) {
            tracing::warn!(path = %lines.path.display(), %error, "role history is not stored");
        }
    }

    /// So many of the last ones, the oldest first.
    pub(crate) fn newest(&self, limit: usize) -> Vec<RoleChangeView> {
        let known = self.known();
        let skip = known.len().saturating_sub(limit);
        known.iter().skip(skip).cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<RoleChangeView>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is new, and not older than all that is kept.
fn insert(known: &mut VecDeque<RoleChangeView>, own: &str, change: RoleChangeView) -> bool {
    let time = |change: &RoleChangeView| change.at.parse().unwrap_or(Timestamp::NONE);
    let mut place = known.len();
    if change.node != own {
        let at = time(&change);
        place = known.iter().rposition(|known| time(known) <= at).map_or(0, |before| before + 1);
        let is_full = known.len() >= KEEP && place == 0;
        if is_full || known.contains(&change) {
            return false;
        }
    }
    known.insert(place, change);
    if known.len() > KEEP {
        known.pop_front();
    }
    true
}

impl Lines {
    fn append(&mut self, change: &RoleChangeView) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
            std::fs::rename(&self.path, before(&self.path))?;
            self.is_torn = false;
        }
        let mut line = if self.is_torn { b"\n".to_vec() } else { Vec::new() };
        serde_json::to_writer(&mut line, change)?;
        line.push(b'\n');
        self.is_torn = true;
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&line)?;
        self.is_torn = false;
        Ok(())
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

/// What a file holds; one that is not there holds nothing.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(2 * FILE_BYTES_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize) -> RoleChangeView {
        RoleChangeView {
            at: format!("2026-11-22T00:00:00.{number:09}Z"),
            group: "site".to_owned(),
            node: "main".to_owned(),
            epoch: "1.0".to_owned(),
            from: "standby".to_owned(),
            to: "activating".to_owned(),
            reason: format!("reason {number} {}", "ß".repeat(400)),
        }
    }

    fn numbers(history: &RoleHistory) -> Vec<usize> {
        let number = |change: RoleChangeView| change.reason.split(' ').nth(1).unwrap().parse().unwrap();
        history.newest(usize::MAX).into_iter().map(number).collect()
    }

    #[test]
    fn what_another_node_did_stands_among_it_by_its_time_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let history = RoleHistory::open("main", path.clone());
        let own = |number: usize| {
            history.remember(change(number));
            history.store(&change(number));
        };
        // The clock was set back between two.
        [10, 20, 30, 25].into_iter().for_each(own);
        for number in [5, 20, 22, 40, 22, 5] {
            history.join(&RoleChangeView { node: "backup".to_owned(), ..change(number) });
        }
        own(50);
        let expected = [5, 10, 20, 20, 22, 30, 25, 40, 50];
        let again = RoleHistory::open("main", path);
        assert_eq!((numbers(&history), numbers(&again)), (expected.into(), expected.into()));
        (51..51 + KEEP).for_each(own);
        history.join(&RoleChangeView { node: "backup".to_owned(), ..change(7) });
        assert_eq!(numbers(&history)[0], 51, "older than all that is kept");
    }

    #[test]
    fn what_was_stored_is_there_again_also_behind_a_line_that_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let history = RoleHistory::open("main", path.clone());
        for number in 0..3 {
            history.remember(change(number));
            history.store(&change(number));
        }
        assert_eq!(numbers(&history), [0, 1, 2]);
        let bytes = std::fs::read(&path).unwrap();
        // In the middle of a letter.
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let again = RoleHistory::open("main", path.clone());
        assert_eq!(numbers(&again), [0, 1]);
        again.store(&change(3));
        again.store(&change(4));
        assert_eq!(numbers(&RoleHistory::open("main", path)), [0, 1, 3, 4]);
    }

    #[test]
    fn a_file_that_is_begun_anew_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let history = RoleHistory::open("main", path.clone());
        let last = 1_500;
        for number in 0..=last {
            history.remember(change(number));
            history.store(&change(number));
        }
        assert!(std::fs::metadata(&path).unwrap().len() < FILE_BYTES_MAX);
        let kept: Vec<usize> = (last + 1 - KEEP..=last).collect();
        assert_eq!((numbers(&history), numbers(&RoleHistory::open("main", path))), (kept.clone(), kept));
        assert_eq!(history.newest(2).len(), 2);
    }
}
