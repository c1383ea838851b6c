//! What a start finds in the folder.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhub_model::Position;
use twinhub_store::Medium;

use super::Damage;
use crate::HistoryError;
use crate::error::io_error;
use crate::file::{BlockFile, DRAFT, aside, parse_name, salvage};

/// What was found when a history was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// What is damaged, and what became of it.
    pub damage: Vec<Damage>,
}

/// What a start has to go on with.
pub(super) struct Found {
    pub(super) files: Vec<Arc<BlockFile>>,
    pub(super) recovery: Recovery,
    /// What damaged files may have held beside what was saved of them.
    pub(super) missing: Vec<Missing>,
}

/// Records of a group behind the first position up to the second.
pub(super) type Missing = (String, Position, Position);

pub(super) fn lock(dir: &Path) -> Result<File, HistoryError> {
    let path = dir.join("history.lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(HistoryError::Locked { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Opens all files, in the order of their seals. What a file that was joined from others holds is not read twice.
pub(super) fn recover(dir: &Path, medium: &Arc<dyn Medium>) -> Result<Found, HistoryError> {
    let mut recovery = Recovery::default();
    let mut found: Vec<(u64, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("read folder", dir))? {
        let path = entry.map_err(io_error("read folder", dir))?.path();
        if path.extension().is_some_and(|extension| extension == DRAFT) {
            fs::remove_file(&path).map_err(io_error("delete", &path))?;
        } else if let Some((first, last)) = parse_name(&path) {
            found.push((first, last, path));
        }
    }
    // The one that holds most comes first.
    found.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut files: Vec<Arc<BlockFile>> = Vec::new();
    // Of each damaged one, how many files are before it, and whether something of it is the next.
    let mut saved_of: Vec<(usize, bool)> = Vec::new();
    for (number, (first, last, path)) in found.iter().enumerate() {
        if files.last().is_some_and(|file| file.head.last >= *last) {
            fs::remove_file(path).map_err(io_error("delete", path))?;
            continue;
        }
        let error = match BlockFile::open(path) {
            Ok(file) if (file.head.first, file.head.last) == (*first, *last) => {
                files.push(Arc::new(file));
                continue;
            }
            Ok(_) => {
                HistoryError::Damaged { path: path.clone(), what: "it has another file's name".to_owned() }
            }
            Err(error @ HistoryError::Damaged { .. }) => error,
            Err(error) => return Err(error),
        };
        let has_parts = found[number + 1..].iter().any(|(other, end, _)| other >= first && end <= last);
        if first < last && has_parts {
            let to = aside(path);
            fs::rename(path, &to).map_err(io_error("set aside", path))?;
            let text = format!("{error}; it was set aside as {}, its parts are still there", to.display());
            recovery.damage.push(Damage { text });
            continue;
        }
        let saved = salvage(medium, path)?;
        let text =
            format!("{error}; {} rows of it were saved, it is kept as {}", saved.rows, saved.aside.display());
        recovery.damage.push(Damage { text });
        saved_of.push((files.len(), saved.finished.is_some()));
        if let Some(finished) = saved.finished {
            files.push(Arc::new(BlockFile::open(&finished.path)?));
        }
    }
    recovery.files = files.len() as u64;
    recovery.rows = files.iter().map(|file| file.summary.rows).sum();
    let missing = saved_of.into_iter().flat_map(|(place, is_saved)| missing_at(&files, place, is_saved));
    let missing = missing.collect();
    Ok(Found { files, recovery, missing })
}

/// What a damaged file at this place may have held. If its head does not say it, its neighbors do: what came between them,
/// and what the one before lacked. Behind the last that says anything the journal is read again, and finds its own gaps.
fn missing_at(files: &[Arc<BlockFile>], place: usize, is_saved: bool) -> Vec<Missing> {
    if is_saved && let Some(file) = files.get(place).filter(|file| file.head.lows.is_some()) {
        let ranges = file.head.ranges().into_iter();
        return ranges.map(|(group, after, through)| (group.to_owned(), after, through)).collect();
    }
    let says = |file: &&Arc<BlockFile>| !file.head.cursors.is_empty();
    let before = files[..place].iter().rfind(says).map(|file| &file.head);
    let behind =
        place + usize::from(is_saved && files.get(place).is_some_and(|file| file.head.cursors.is_empty()));
    let Some(next) = files.get(behind..).unwrap_or_default().iter().find(says).map(|file| &file.head) else {
        return Vec::new();
    };
    let cursor_before = |group: &str| {
        let cursors = before.map(|head| &head.cursors[..]).unwrap_or_default();
        cursors.iter().find(|(known, _)| known == group).map_or(Position::START, |(_, cursor)| *cursor)
    };
    let between = next.cursors.iter().map(|(group, cursor)| (group.clone(), cursor_before(group), *cursor));
    let filled = before.into_iter().flat_map(|head| &head.gaps);
    let filled = filled.map(|gap| (gap.group.clone(), gap.after, gap.through));
    between.chain(filled).filter(|(_, after, through)| after < through).collect()
}
