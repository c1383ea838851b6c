//! What a start finds in the folder.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
pub(super) fn recover(
    dir: &Path,
    medium: &Arc<dyn Medium>,
) -> Result<(Vec<Arc<BlockFile>>, Recovery), HistoryError> {
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
        if let Some(finished) = saved.finished {
            files.push(Arc::new(BlockFile::open(&finished.path)?));
        }
    }
    recovery.files = files.len() as u64;
    recovery.rows = files.iter().map(|file| file.summary.rows).sum();
    Ok((files, recovery))
}
