//! A history's files, to be put away and brought back.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::io_error;
use crate::file::{EXTENSION, name, parse_name, sync_dir};
use crate::{HistoryError, Reader, Store, StoreOptions};

/// The newest files of a history, each as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Names and contents, oldest first.
    pub files: Vec<(String, Vec<u8>)>,
    /// Rows in them.
    pub rows: u64,
    /// Whether older files were left out for their size.
    pub is_cut: bool,
}

impl Reader {
    /// The newest files, of so many bytes at most. Rows in memory are in none.
    ///
    /// # Errors
    /// [`HistoryError::Io`] if a file cannot be read.
    pub fn snapshot(&self, bytes_max: u64) -> Result<Snapshot, HistoryError> {
        let files = std::sync::Arc::clone(&self.shared.state().files);
        let mut snapshot = Snapshot::default();
        let mut bytes = 0;
        for file in files.iter().rev() {
            bytes += file.bytes;
            if bytes > bytes_max {
                snapshot.is_cut = true;
                break;
            }
            snapshot.files.push((name(file.head.first, file.head.last), file.content()?));
            snapshot.rows += file.summary.rows;
        }
        snapshot.files.reverse();
        Ok(snapshot)
    }
}

/// Whether a file of a snapshot may have this name.
pub fn is_file_name(text: &str) -> bool {
    let stem = text.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.'));
    let is_plain = |stem: &str| stem.chars().all(|letter| letter.is_ascii_digit() || letter == '-');
    stem.is_some_and(is_plain) && parse_name(Path::new(text)).is_some()
}

/// Makes the files of a snapshot the history in a folder, for a node whose journals begin anew; returns how many rows are in
/// them. The folder appears as a whole: what a restore that was cut off left beside it is no history, and is deleted.
///
/// # Errors
/// [`HistoryError::Io`], also if a history is there, and as [`Store::open`].
pub fn restore(options: &StoreOptions, files: &[(&str, &[u8])]) -> Result<u64, HistoryError> {
    let dir = options.dir.clone();
    if fs::read_dir(&dir).is_ok_and(|mut found| found.next().is_some()) {
        return Err(io_error("restore into", &dir)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut draft = dir.clone().into_os_string();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("delete", &draft)(error));
        }
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(&draft).map_err(io_error("create folder", &draft))?;
    for (name, content) in files.iter().filter(|(name, _)| is_file_name(name)) {
        let path = draft.join(name);
        let mut file = fs::File::create_new(&path).map_err(io_error("create", &path))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(io_error("write", &path))?;
    }
    let (mut store, recovery) = Store::open(StoreOptions { dir: draft.clone(), ..options.clone() })?;
    for group in store.groups() {
        store.forget(&group);
    }
    store.seal()?;
    drop(store);
    sync_dir(&draft).map_err(io_error("sync folder", &draft))?;
    fs::rename(&draft, &dir).map_err(io_error("create folder", &dir))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(parent).map_err(io_error("sync folder", parent))?;
    Ok(recovery.rows)
}
