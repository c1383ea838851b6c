//! Deleting what is too old, or too much.

use std::fs;
use std::sync::Arc;

use twinhub_model::Timestamp;

use super::Store;
use crate::HistoryError;
use crate::error::io_error;

/// What [`Store::retain`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deleted {
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Whether that was for lack of room: they were younger than [`StoreOptions::retain`](crate::StoreOptions::retain).
    pub for_room: bool,
}

impl Store {
    /// Deletes files that are too old, or too much.
    ///
    /// # Errors
    /// [`HistoryError::Io`] if a file cannot be deleted.
    pub fn retain(&mut self, now: Timestamp) -> Result<Deleted, HistoryError> {
        let mut deleted = Deleted::default();
        let files = Arc::clone(&self.shared.state().files);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        let oldest = self.options.retain.map(|retain| {
            Timestamp(now.0.saturating_sub(i64::try_from(retain.as_nanos()).unwrap_or(i64::MAX)))
        });
        let last = files.len().saturating_sub(1);
        for (number, file) in files.iter().enumerate() {
            let is_old = oldest.is_some_and(|oldest| file.summary.server.max < oldest);
            let is_too_much = total > self.options.max_bytes;
            // The newest says how far the journals are in.
            if number == last || !(is_old || is_too_much) {
                kept.push(Arc::clone(file));
                continue;
            }
            total -= file.bytes;
            deleted.files += 1;
            deleted.rows += file.summary.rows;
            deleted.for_room |= !is_old;
            if !is_old {
                dropped.extend(file.head.cursors.iter().cloned());
            }
        }
        if deleted.files == 0 {
            return Ok(deleted);
        }
        // A work that reads deleted files would bring them back.
        if let Some(work) = self.compaction.take() {
            work.discard();
        }
        let mut state = self.shared.state();
        state.files = Arc::new(kept.clone());
        for (group, through) in dropped {
            let known = state.dropped.entry(group).or_insert(through);
            *known = (*known).max(through);
        }
        drop(state);
        for file in files.iter().filter(|file| !kept.iter().any(|kept| Arc::ptr_eq(kept, file))) {
            fs::remove_file(&file.path).map_err(io_error("delete", &file.path))?;
        }
        Ok(deleted)
    }
}
