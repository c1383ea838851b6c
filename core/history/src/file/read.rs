//! Reading a sealed file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use twinhub_model::{Position, Timestamp};

use super::{
    DIRECTORY_ENTRY_BYTES, FORMAT, FORMAT_PLAIN, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, HEAD_BYTES_MAX, Head,
    MAGIC, MARK, Range, Summary, TRAILER_BYTES, hash_of, read_exact_at,
};
use crate::bytes::{Broken, Reader};
use crate::error::io_error;
use crate::{HistoryError, Row, Stats, block};

/// A sealed file, open for reading.
#[derive(Debug)]
pub(crate) struct BlockFile {
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    pub(crate) summary: Summary,
    pub(crate) bytes: u64,
    file: File,
    directory_at: u64,
    directory_crc: u32,
    is_checked: AtomicBool,
    /// A part of it could not be read; it is kept aside when it is replaced.
    pub(crate) is_damaged: AtomicBool,
    /// What it may have lost for that is known to be missing.
    pub(crate) is_missed: AtomicBool,
}

/// One block in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) bytes: usize,
    pub(crate) stats: Stats,
}

/// What a file has of an item.
#[derive(Debug)]
pub(crate) struct ItemRecord {
    pub(crate) hash: u64,
    pub(crate) key: String,
    pub(crate) entries: Vec<Entry>,
}

impl BlockFile {
    /// Opens a file and checks head and trailer.
    pub(crate) fn open(path: &Path) -> Result<BlockFile, HistoryError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let bytes = file.metadata().map_err(io_error("read", path))?.len();
        let head = read_head(&file, path)?;
        let trailer_at = bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged(path, "it is cut"))?;
        let mut trailer = [0; TRAILER_BYTES];
        read_exact_at(&file, &mut trailer, trailer_at).map_err(io_error("read", path))?;
        let (content, check) = trailer.split_at(TRAILER_BYTES - 12);
        let mut crc = check.to_vec();
        crc.truncate(4);
        if check[4..] != MAGIC || crc != crc32fast::hash(content).to_le_bytes() {
            return Err(damaged(path, "its trailer is not what was written"));
        }
        let mut reader = Reader::new(content);
        let mut word = || reader.array::<8>("the trailer").map(u64::from_le_bytes);
        let mut words = [0_u64; 8];
        for slot in &mut words {
            *slot = word().map_err(|broken| damaged(path, &broken.to_string()))?;
        }
        let crc = reader.array::<4>("the trailer").map_err(|broken| damaged(path, &broken.to_string()))?;
        let [directory_at, items, rows, _, times @ ..] = words;
        let times = times.map(|time| Timestamp(time.cast_signed()));
        let fits = items
            .checked_mul(DIRECTORY_ENTRY_BYTES as u64)
            .and_then(|length| length.checked_add(directory_at))
            .is_some_and(|end| end == trailer_at);
        if !fits {
            return Err(damaged(path, "its directory is not where the trailer says"));
        }
        Ok(BlockFile {
            path: path.to_owned(),
            head,
            summary: Summary {
                items,
                rows,
                source: Range { min: times[0], max: times[1] },
                server: Range { min: times[2], max: times[3] },
            },
            bytes,
            file,
            directory_at,
            directory_crc: u32::from_le_bytes(crc),
            is_checked: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
            is_missed: AtomicBool::new(false),
        })
    }

    /// Records whose rows may be in what is damaged of it: a block that cannot be read does not say which ones it had.
    pub(crate) fn damaged_ranges(&self) -> Vec<(&str, Position, Position)> {
        if self.is_damaged.load(Ordering::Acquire) { self.head.ranges() } else { Vec::new() }
    }

    /// The blocks of an item, by time; empty if it has none.
    pub(crate) fn entries(&self, key: &str) -> Result<Vec<Entry>, HistoryError> {
        self.check_directory()?;
        let hash = hash_of(key);
        let mut low = self.lower_bound(hash)?;
        while low < self.summary.items {
            let (found, at, length) = self.directory_entry(low)?;
            if found != hash {
                break;
            }
            let record = self.record_at(found, at, length)?;
            if record.key == key {
                return Ok(record.entries);
            }
            low += 1;
        }
        Ok(Vec::new())
    }

    /// The first item behind this one in the order of the hashes, then of the keys; `None` for the first of all.
    pub(crate) fn item_after(
        &self,
        item: Option<(u64, &str)>,
    ) -> Result<Option<(u64, String)>, HistoryError> {
        self.check_directory()?;
        let Some((hash, key)) = item else {
            return self.items_from(0, |_, _| true);
        };
        self.items_from(self.lower_bound(hash)?, |found, name| found > hash || name > key)
    }

    /// The least item from this place of the directory on that is wanted. Items of one hash stand in any order.
    fn items_from(
        &self,
        place: u64,
        wanted: impl Fn(u64, &str) -> bool,
    ) -> Result<Option<(u64, String)>, HistoryError> {
        let mut best: Option<(u64, String)> = None;
        for number in place..self.summary.items {
            let (hash, at, length) = self.directory_entry(number)?;
            if best.as_ref().is_some_and(|(best, _)| *best != hash) {
                break;
            }
            let key = self.record_at(hash, at, length)?.key;
            if wanted(hash, &key) && best.as_ref().is_none_or(|(_, best)| key < *best) {
                best = Some((hash, key));
            }
        }
        Ok(best)
    }

    /// The first place of the directory whose hash is not below this one.
    fn lower_bound(&self, hash: u64) -> Result<u64, HistoryError> {
        let (mut low, mut high) = (0, self.summary.items);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.directory_entry(middle)?.0 < hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The item at this place of the directory.
    pub(crate) fn record(&self, number: u64) -> Result<ItemRecord, HistoryError> {
        self.check_directory()?;
        let (hash, at, length) = self.directory_entry(number)?;
        self.record_at(hash, at, length)
    }

    /// All of it, also if it was deleted meanwhile.
    pub(crate) fn content(&self) -> Result<Vec<u8>, HistoryError> {
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        read_exact_at(&self.file, &mut bytes, 0).map_err(io_error("read", &self.path))?;
        Ok(bytes)
    }

    /// The bytes of a block with its frame, checked.
    pub(crate) fn frame(&self, entry: &Entry) -> Result<Vec<u8>, HistoryError> {
        if entry.bytes > FRAME_BYTES_MAX || entry.at.saturating_add(entry.bytes as u64) > self.bytes {
            return Err(self.broken("its index names a block outside"));
        }
        let mut frame = vec![0; entry.bytes];
        read_exact_at(&self.file, &mut frame, entry.at).map_err(io_error("read", &self.path))?;
        match check_frame(&frame) {
            Some(length) if length == frame.len() => Ok(frame),
            Some(_) | None => {
                Err(self.broken(&format!("the block at byte {} is not what was written", entry.at)))
            }
        }
    }

    /// Adds a block's rows to `out`; nothing of a damaged one.
    pub(crate) fn read(&self, entry: &Entry, out: &mut Vec<Row>) -> Result<(), HistoryError> {
        let frame = self.frame(entry)?;
        let start = out.len();
        let (_, columns) = parts_of(&frame).map_err(|broken| self.broken(&broken.to_string()))?;
        block::decode(columns, out).map_err(|broken| {
            out.truncate(start);
            self.broken(&broken.to_string())
        })
    }

    fn check_directory(&self) -> Result<(), HistoryError> {
        if self.is_checked.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut crc = crc32fast::Hasher::new();
        let mut at = self.directory_at;
        let end = self.bytes - TRAILER_BYTES as u64;
        let mut piece = vec![0; 64 * 1024];
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
            read_exact_at(&self.file, &mut piece[..length], at).map_err(io_error("read", &self.path))?;
            crc.update(&piece[..length]);
            at += length as u64;
        }
        if crc.finalize() != self.directory_crc {
            return Err(self.broken("its directory is not what was written"));
        }
        self.is_checked.store(true, Ordering::Release);
        Ok(())
    }

    fn directory_entry(&self, number: u64) -> Result<(u64, u64, u32), HistoryError> {
        let mut entry = [0; DIRECTORY_ENTRY_BYTES];
        let at = self.directory_at + number * DIRECTORY_ENTRY_BYTES as u64;
        read_exact_at(&self.file, &mut entry, at).map_err(io_error("read", &self.path))?;
        let mut reader = Reader::new(&entry);
        let mut parts = || -> Result<(u64, u64, u32), Broken> {
            const WHAT: &str = "the directory";
            let hash = u64::from_le_bytes(reader.array(WHAT)?);
            let at = u64::from_le_bytes(reader.array(WHAT)?);
            Ok((hash, at, u32::from_le_bytes(reader.array(WHAT)?)))
        };
        parts().map_err(|broken| self.broken(&broken.to_string()))
    }

    fn record_at(&self, hash: u64, at: u64, length: u32) -> Result<ItemRecord, HistoryError> {
        const WHAT: &str = "the index of an item";
        if at.saturating_add(u64::from(length)) > self.directory_at || length < 4 {
            return Err(self.broken("its directory names a place outside"));
        }
        let mut bytes = vec![0; length as usize];
        read_exact_at(&self.file, &mut bytes, at).map_err(io_error("read", &self.path))?;
        let (content, crc) = bytes.split_at(bytes.len() - 4);
        if crc != crc32fast::hash(content).to_le_bytes() {
            return Err(self.broken("the index of an item is not what was written"));
        }
        let read = || -> Result<ItemRecord, Broken> {
            let mut reader = Reader::new(content);
            let key = reader.text(WHAT)?.to_owned();
            let count = reader.size(WHAT)?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let at = reader.u64(WHAT)?;
                let bytes = reader.size(WHAT)?;
                entries.push(Entry { at, bytes, stats: Stats::read(&mut reader)? });
            }
            reader.finish(WHAT)?;
            Ok(ItemRecord { hash, key, entries })
        };
        read().map_err(|broken| self.broken(&broken.to_string()))
    }

    fn broken(&self, what: &str) -> HistoryError {
        self.is_damaged.store(true, Ordering::Release);
        damaged(&self.path, what)
    }
}

/// The length of a sound frame at the front of these bytes.
pub(crate) fn check_frame(bytes: &[u8]) -> Option<usize> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD_BYTES)?;
    if head[..4] != MARK {
        return None;
    }
    let length_bytes: [u8; 4] = head[4..8].try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length_bytes)).ok()?;
    let body = rest.get(..length)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length_bytes);
    crc.update(body);
    (head[8..12] == crc.finalize().to_le_bytes()).then_some(FRAME_HEAD_BYTES + length)
}

/// Item key and columns of a sound frame.
pub(crate) fn parts_of(frame: &[u8]) -> Result<(&str, &[u8]), Broken> {
    const WHAT: &str = "a block";
    let mut reader = Reader::new(frame);
    reader.take(FRAME_HEAD_BYTES, WHAT)?;
    let key = reader.text(WHAT)?;
    Ok((key, reader.rest()))
}

pub(super) fn read_head(file: &File, path: &Path) -> Result<Head, HistoryError> {
    let mut start = [0; 14];
    read_exact_at(file, &mut start, 0).map_err(|error| cut_or_io(path, error))?;
    if start[..8] != MAGIC {
        return Err(damaged(path, "it does not begin as a history file"));
    }
    let format = u16::from_le_bytes([start[8], start[9]]);
    let length = u32::from_le_bytes([start[10], start[11], start[12], start[13]]) as usize;
    if length > HEAD_BYTES_MAX {
        return Err(damaged(path, "its head is not what was written"));
    }
    let mut whole = vec![0; start.len() + length + 4];
    read_exact_at(file, &mut whole, 0).map_err(|error| cut_or_io(path, error))?;
    let (content, crc) = whole.split_at(start.len() + length);
    if crc != crc32fast::hash(content).to_le_bytes() {
        return Err(damaged(path, "its head is not what was written"));
    }
    if !(FORMAT_PLAIN..=FORMAT).contains(&format) {
        return Err(HistoryError::NewerFormat { path: path.to_owned(), got: format, known: FORMAT });
    }
    Head::decode(&content[start.len()..], format).map_err(|broken| damaged(path, &broken.to_string()))
}

fn cut_or_io(path: &Path, error: std::io::Error) -> HistoryError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        damaged(path, "it is cut")
    } else {
        io_error("read", path)(error)
    }
}

pub(super) fn damaged(path: &Path, what: &str) -> HistoryError {
    HistoryError::Damaged { path: path.to_owned(), what: what.to_owned() }
}
