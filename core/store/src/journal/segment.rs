//! One file of the journal.
//!
//! ```text
//! header (64 bytes): magic 8 | format u16 | flags u16 | zero u32 | first epoch u64, seq u64
//!                    | previous epoch u64, seq u64 | dictionary hash u64 | crc32 u32 | zero u32
//! entry:             length and mark u32 | crc32 u32 | epoch u64 | seq u64 | body        (little endian)
//! ```
//! `previous` is the position before the first; it shows a missing file. The mark in the length's upper
//! byte lets a reader find the next entry behind damage.

use std::path::{Path, PathBuf};

use twinhub_model::{Epoch, Position};
use twinhub_wire::RECORD_BYTES_MAX;

use crate::StoreError;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const ENTRY_HEADER_BYTES: usize = 24;

/// What is known of a file without reading it again.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// Its last record; `header.previous` if it has none.
    pub(crate) last: Position,
    /// Its length with everything that was appended, written or not.
    pub(crate) bytes: u64,
    /// Some records and where they stand.
    pub(crate) index: Vec<(Position, u64)>,
    /// Whether the file is there.
    pub(crate) is_created: bool,
}

impl Segment {
    pub(crate) fn new(dir: &Path, header: Header) -> Segment {
        Segment {
            path: dir.join(file_name(header.first)),
            header,
            last: header.previous,
            bytes: HEADER_BYTES as u64,
            index: Vec::new(),
            is_created: false,
        }
    }

    /// Notes an entry that stands at `offset` and takes `bytes`.
    pub(crate) fn note(&mut self, position: Position, offset: u64, bytes: u64) {
        if self.index.last().is_none_or(|(_, last)| offset - last >= INDEX_DISTANCE_BYTES) {
            self.index.push((position, offset));
        }
        self.last = position;
        self.bytes = offset + bytes;
    }

    /// Where to begin reading for what follows `after`.
    pub(crate) fn seek(&self, after: Position) -> u64 {
        let behind = self.index.partition_point(|(position, _)| *position <= after);
        match behind.checked_sub(1) {
            Some(at) => self.index[at].1,
            None => HEADER_BYTES as u64,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: Position,
    pub(crate) previous: Position,
    pub(crate) dictionary: u64,
    /// The records between the file before and this one came as a snapshot and are not in the journal. In a file that was set
    /// aside: what stood between `previous` and this was not there any more.
    pub(crate) is_restart: bool,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[10..12].copy_from_slice(&u16::from(self.is_restart).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.epoch.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.epoch.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous.seq.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.dictionary.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; the outer error is a newer format, the inner one damage.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Result<Header, &'static str>, StoreError> {
        let Some((bytes, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Err("the file is shorter than its header"));
        };
        if &bytes[0..8] != MAGIC {
            return Ok(Err("the header does not begin with its mark"));
        }
        let crc = u32::from_le_bytes([bytes[56], bytes[57], bytes[58], bytes[59]]);
        if crc != crc32fast::hash(&bytes[..56]) {
            return Ok(Err("the header does not fit its checksum"));
        }
        let got = u16::from_le_bytes([bytes[8], bytes[9]]);
        if got > FORMAT {
            return Err(StoreError::NewerFormat { path: path.to_owned(), got, known: FORMAT });
        }
        Ok(Ok(Header {
            first: Position::new(Epoch(number(bytes, 16)), number(bytes, 24)),
            previous: Position::new(Epoch(number(bytes, 32)), number(bytes, 40)),
            dictionary: number(bytes, 48),
            is_restart: bytes[10] & 1 != 0,
        }))
    }
}

/// Fills in the header of an entry whose body stands behind it.
pub(crate) fn finish_entry(entry: &mut [u8], position: Position) {
    let length = u32::try_from(entry.len() - ENTRY_HEADER_BYTES).expect("records are shorter than 1 MiB");
    entry[0..4].copy_from_slice(&(length | ENTRY_MARK).to_le_bytes());
    entry[8..16].copy_from_slice(&position.epoch.0.to_le_bytes());
    entry[16..24].copy_from_slice(&position.seq.to_le_bytes());
    let crc = entry_checksum(entry);
    entry[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Position and body length of an entry's header, if it looks like one.
pub(crate) fn parse_entry(header: &[u8; ENTRY_HEADER_BYTES]) -> Option<(Position, usize)> {
    let marked = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let length = (marked & !ENTRY_MARK_MASK) as usize;
    if marked & ENTRY_MARK_MASK != ENTRY_MARK || length > RECORD_BYTES_MAX {
        return None;
    }
    Some((Position::new(Epoch(number(header, 8)), number(header, 16)), length))
}

/// Whether header and body fit the checksum.
pub(crate) fn is_intact(entry: &[u8]) -> bool {
    let crc = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
    crc == entry_checksum(entry)
}

fn entry_checksum(entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&entry[..4]);
    hasher.update(&entry[8..]);
    hasher.finalize()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The file's name sorts by position.
pub(crate) fn file_name(first: Position) -> String {
    format!("{:016x}-{:016x}.{EXTENSION}", first.epoch.0, first.seq)
}

/// The first position a file of this name holds.
pub(crate) fn parse_file_name(name: &str) -> Option<Position> {
    let (epoch, seq) = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.split_once('-')?;
    if epoch.len() != 16 || seq.len() != 16 {
        return None;
    }
    Some(Position::new(Epoch(u64::from_str_radix(epoch, 16).ok()?), u64::from_str_radix(seq, 16).ok()?))
}

/// Whether a record at `next` may stand directly behind one at `last`.
pub(crate) const fn follows(last: Position, next: Position) -> bool {
    if next.epoch.0 == last.epoch.0 {
        last.seq < u64::MAX && next.seq == last.seq + 1
    } else {
        next.epoch.0 > last.epoch.0 && next.seq == 1
    }
}

/// The place directly before a record, whether something stands there or not.
pub(crate) const fn before(position: Position) -> Position {
    Position::new(position.epoch, position.seq.saturating_sub(1))
}

const MAGIC: &[u8; 8] = b"TWHJRNL\n";
const FORMAT: u16 = 1;
const EXTENSION: &str = "journal";
const ENTRY_MARK: u32 = 0xe7 << 24;
const ENTRY_MARK_MASK: u32 = 0xff << 24;
/// A reader that starts in the middle passes over at most this much.
const INDEX_DISTANCE_BYTES: u64 = 64 * 1024;
