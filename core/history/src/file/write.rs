//! Writing a sealed file.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use twinhub_model::Timestamp;
use twinhub_store::Medium;

use super::{DRAFT, FRAME_HEAD_BYTES, Head, MAGIC, MARK, Range, Summary, hash_of, name, sync_dir};
use crate::bytes::{put_sized, put_u64};
use crate::error::io_error;
use crate::{HistoryError, Row, Stats, block};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes items in the order of the hashes of their keys.
#[derive(Debug)]
pub(crate) struct FileWriter {
    medium: Arc<dyn Medium>,
    dir: PathBuf,
    draft: PathBuf,
    head: Head,
    file: File,
    buffer: Vec<u8>,
    /// Where the buffer's first byte belongs.
    offset: u64,
    records: Vec<u8>,
    directory: Vec<u8>,
    open: Option<OpenItem>,
    summary: Summary,
}

#[derive(Debug)]
struct OpenItem {
    key: Arc<str>,
    entries: Vec<u8>,
    blocks: u64,
}

/// A file that is on the disk under its name.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) path: PathBuf,
}

impl FileWriter {
    pub(crate) fn create(
        medium: &Arc<dyn Medium>,
        dir: &std::path::Path,
        head: Head,
    ) -> Result<FileWriter, HistoryError> {
        let draft = dir.join(name(head.first, head.last)).with_extension(DRAFT);
        // Left over from a try that failed halfway.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("replace", &draft)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = medium.create(&draft).map_err(io_error("create", &draft))?;
        Ok(FileWriter {
            medium: Arc::clone(medium),
            dir: dir.to_owned(),
            draft,
            file,
            buffer: head.encode(),
            head,
            offset: 0,
            records: Vec::new(),
            directory: Vec::new(),
            open: None,
            summary: Summary { items: 0, rows: 0, source: Range::EMPTY, server: Range::EMPTY },
        })
    }

    /// Adds rows of an item, which stand in order and behind those added before.
    pub(crate) fn rows(&mut self, key: &Arc<str>, rows: &[Row]) -> Result<(), HistoryError> {
        let mut rows = rows;
        while !rows.is_empty() {
            let (now, rest) = rows.split_at(block::fitting(rows));
            self.block(key, now)?;
            rows = rest;
        }
        Ok(())
    }

    fn block(&mut self, key: &Arc<str>, rows: &[Row]) -> Result<(), HistoryError> {
        for row in rows {
            self.summary.server.add(Range { min: row.server, max: row.server });
        }
        let start = self.buffer.len();
        let Some(stats) = put_frame(key, rows, &mut self.buffer) else { return Ok(()) };
        let bytes = self.buffer.len() - start;
        self.note(key, self.offset + start as u64, bytes, &stats);
        self.flush_above(BUFFER_BYTES)
    }

    /// Adds a block as it stands in another file.
    pub(crate) fn copy(
        &mut self,
        key: &Arc<str>,
        frame: &[u8],
        stats: &Stats,
        server: Range,
    ) -> Result<(), HistoryError> {
        self.summary.server.add(server);
        let at = self.offset + self.buffer.len() as u64;
        self.buffer.extend_from_slice(frame);
        self.note(key, at, frame.len(), stats);
        self.flush_above(BUFFER_BYTES)
    }

    /// Bytes of blocks so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Brings the file to the disk and gives it its name.
    pub(crate) fn finish(mut self) -> Result<Finished, HistoryError> {
        self.close_item();
        let records_at = self.bytes();
        let records = std::mem::take(&mut self.records);
        self.buffer.extend_from_slice(&records);
        let mut directory = std::mem::take(&mut self.directory);
        for entry in directory.chunks_exact_mut(super::DIRECTORY_ENTRY_BYTES) {
            // Places were counted from the first record.
            let place: [u8; 8] = entry[8..16].try_into().unwrap_or_default();
            entry[8..16].copy_from_slice(&(u64::from_le_bytes(place) + records_at).to_le_bytes());
        }
        let directory_at = self.bytes();
        let mut trailer = Vec::with_capacity(super::TRAILER_BYTES);
        let Summary { items, rows, source, server } = self.summary;
        for number in [directory_at, items, rows, self.head.last] {
            trailer.extend_from_slice(&number.to_le_bytes());
        }
        for Timestamp(time) in [source.min, source.max, server.min, server.max] {
            trailer.extend_from_slice(&time.to_le_bytes());
        }
        trailer.extend_from_slice(&crc32fast::hash(&directory).to_le_bytes());
        let crc = crc32fast::hash(&trailer);
        trailer.extend_from_slice(&crc.to_le_bytes());
        trailer.extend_from_slice(&MAGIC);
        self.buffer.extend_from_slice(&directory);
        self.buffer.extend_from_slice(&trailer);
        self.flush_above(0)?;
        self.medium.sync(&self.file).map_err(io_error("sync", &self.draft))?;
        let path = self.dir.join(name(self.head.first, self.head.last));
        fs::rename(&self.draft, &path).map_err(io_error("rename", &self.draft))?;
        sync_dir(&self.dir).map_err(io_error("sync folder", &self.dir))?;
        Ok(Finished { path })
    }

    /// Removes what was written.
    pub(crate) fn discard(self) {
        if let Err(error) = fs::remove_file(&self.draft) {
            tracing::debug!(file = %self.draft.display(), %error, "a draft could not be removed");
        }
    }

    fn note(&mut self, key: &Arc<str>, at: u64, bytes: usize, stats: &Stats) {
        if self.open.as_ref().is_none_or(|open| *open.key != **key) {
            self.close_item();
            self.open = Some(OpenItem { key: Arc::clone(key), entries: Vec::new(), blocks: 0 });
        }
        self.summary.rows += stats.rows;
        self.summary.source.add(Range { min: stats.first, max: stats.last });
        if let Some(open) = &mut self.open {
            put_u64(&mut open.entries, at);
            put_u64(&mut open.entries, bytes as u64);
            stats.put(&mut open.entries);
            open.blocks += 1;
        }
    }

    fn close_item(&mut self) {
        let Some(open) = self.open.take() else { return };
        let start = self.records.len();
        put_sized(&mut self.records, open.key.as_bytes());
        put_u64(&mut self.records, open.blocks);
        self.records.extend_from_slice(&open.entries);
        let crc = crc32fast::hash(&self.records[start..]);
        self.records.extend_from_slice(&crc.to_le_bytes());
        let length = u32::try_from(self.records.len() - start).unwrap_or(u32::MAX);
        self.directory.extend_from_slice(&hash_of(&open.key).to_le_bytes());
        self.directory.extend_from_slice(&(start as u64).to_le_bytes());
        self.directory.extend_from_slice(&length.to_le_bytes());
        self.summary.items += 1;
    }

    fn flush_above(&mut self, limit: usize) -> Result<(), HistoryError> {
        if self.buffer.len() <= limit {
            return Ok(());
        }
        let mut done = 0;
        while done < self.buffer.len() {
            match self.medium.write_at(&self.file, &self.buffer[done..], self.offset + done as u64) {
                Ok(0) => return Err(io_error("write", &self.draft)(io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("write", &self.draft)(error)),
            }
        }
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Appends a block with its frame: rows of one item in order, at most as many as a block takes.
pub(crate) fn put_frame(key: &str, rows: &[Row], out: &mut Vec<u8>) -> Option<Stats> {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    put_sized(out, key.as_bytes());
    let Some(stats) = block::encode(rows, out) else {
        out.truncate(start);
        return None;
    };
    let length = out.len() - start - FRAME_HEAD_BYTES;
    let length_bytes = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length_bytes);
    crc.update(&out[start + FRAME_HEAD_BYTES..]);
    let frame = &mut out[start..];
    frame[..4].copy_from_slice(&MARK);
    frame[4..8].copy_from_slice(&length_bytes);
    frame[8..12].copy_from_slice(&crc.finalize().to_le_bytes());
    Some(stats)
}
