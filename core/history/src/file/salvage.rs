//! Finding the blocks of a file whose head, index or trailer is damaged.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use twinhub_store::Medium;

use super::read::{check_frame, damaged, parts_of, read_head};
use super::{
    FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FileWriter, Finished, Head, MARK, aside, parse_name, read_exact_at,
};
use crate::error::io_error;
use crate::{HistoryError, block};

/// What became of a damaged file.
#[derive(Debug)]
pub(crate) struct Salvage {
    /// The new file; `None` if no block was found.
    pub(crate) finished: Option<Finished>,
    /// Rows in it.
    pub(crate) rows: u64,
    /// Where the damaged one is.
    pub(crate) aside: std::path::PathBuf,
}

/// Writes every sound block of the file into a new one under the same name and sets the damaged one aside.
///
/// # Errors
/// [`HistoryError::Io`] if it cannot be read or the new one not written; the damaged one then stays.
pub(crate) fn salvage(medium: &Arc<dyn Medium>, path: &Path) -> Result<Salvage, HistoryError> {
    let (first, last) =
        parse_name(path).ok_or_else(|| damaged(path, "its name is not one of a history file"))?;
    let file = File::open(path).map_err(io_error("open", path))?;
    let bytes = file.metadata().map_err(io_error("read", path))?.len();
    let unknown = Head { first, last, cursors: Vec::new(), gaps: Vec::new(), lows: None, lives: Vec::new() };
    let head = read_head(&file, path).unwrap_or(unknown);
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut writer = FileWriter::create(medium, dir, Head { first, last, ..head })?;
    let mut rows = 0;
    let mut found = Vec::new();
    let mut at = 0;
    // Blocks stand in the order of the hashes; one that does not is not taken for one.
    let mut order = 0;
    while let Some(next) = find_mark(&file, at, bytes).map_err(io_error("read", path))? {
        at = next + 1;
        let Some(frame) = read_frame(&file, next, bytes) else { continue };
        let Ok((key, columns)) = parts_of(&frame) else { continue };
        found.clear();
        if block::decode(columns, &mut found).is_err() || super::hash_of(key) < order {
            continue;
        }
        order = super::hash_of(key);
        at = next + frame.len() as u64;
        rows += found.len() as u64;
        writer.rows(&Arc::from(key), &found)?;
    }
    let set_aside = aside(path);
    // A second name, so that a crash in between leaves the file under the first one.
    fs::hard_link(path, &set_aside)
        .or_else(|_| fs::copy(path, &set_aside).map(drop))
        .map_err(io_error("set aside", path))?;
    let finished = if rows > 0 {
        Some(writer.finish()?)
    } else {
        writer.discard();
        fs::remove_file(path).map_err(io_error("remove", path))?;
        None
    };
    Ok(Salvage { finished, rows, aside: set_aside })
}

/// Where the next mark stands at or behind `at`.
fn find_mark(file: &File, mut at: u64, end: u64) -> std::io::Result<Option<u64>> {
    let mut window = vec![0; 256 * 1024];
    while at + MARK.len() as u64 <= end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(window.len());
        read_exact_at(file, &mut window[..length], at)?;
        if let Some(place) = window[..length].windows(MARK.len()).position(|bytes| bytes == MARK) {
            return Ok(Some(at + place as u64));
        }
        if at + length as u64 >= end {
            return Ok(None);
        }
        at += (length - MARK.len() + 1) as u64;
    }
    Ok(None)
}

fn read_frame(file: &File, at: u64, end: u64) -> Option<Vec<u8>> {
    let mut head = [0; FRAME_HEAD_BYTES];
    read_exact_at(file, &mut head, at).ok()?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize + FRAME_HEAD_BYTES;
    if length > FRAME_BYTES_MAX || at + length as u64 > end {
        return None;
    }
    let mut frame = vec![0; length];
    read_exact_at(file, &mut frame, at).ok()?;
    check_frame(&frame)?;
    Some(frame)
}
