//! A sealed file: written once, renamed into place when it is on the disk, never changed.
//!
//! ```text
//! head      magic | format u16 | length u32 | first and last seal, how far each journal is in it | crc32
//! blocks    mark | length u32 | crc32 | item key | columns         by hash of the key, then by time
//! records   for each item: key | its blocks: place, length, statistics | crc32
//! directory for each item: hash u64 | place u64 | length u32
//! trailer   place of the directory, counts, times, checksums | magic
//! ```
//! A reader needs the trailer, a binary search in the directory, one record, and the blocks it wants. Each part has
//! its checksum; each block also names its item, so that blocks can be found again without the rest.

mod read;
mod salvage;
mod write;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use twinhub_model::{Epoch, Position, Timestamp};

use crate::bytes::{Broken, Reader, put_sized, put_u64};

pub(crate) use self::read::{BlockFile, Entry, ItemRecord};
pub(crate) use self::salvage::salvage;
pub(crate) use self::write::{FileWriter, Finished};

const MAGIC: [u8; 8] = *b"TWINHIST";
const FORMAT: u16 = 1;
const MARK: [u8; 4] = [0xb1, b'O', b'C', b'K'];
/// Mark, length, checksum.
const FRAME_HEAD_BYTES: usize = 12;
/// No block is longer; the longest text of a journal's record fits with room.
const FRAME_BYTES_MAX: usize = 16 << 20;
const HEAD_BYTES_MAX: usize = 1 << 20;
const DIRECTORY_ENTRY_BYTES: usize = 20;
const TRAILER_BYTES: usize = 8 + 8 + 8 + 8 + 4 * 8 + 4 + 4 + 8;
/// Name extension of sealed files.
pub(crate) const EXTENSION: &str = "history";
/// Of files that are being written.
pub(crate) const DRAFT: &str = "new";
/// Of files that are set aside.
pub(crate) const DAMAGED: &str = "damaged";

/// What a file is made of, known before its first block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of the first seal in it.
    pub(crate) first: u64,
    /// Number of the last.
    pub(crate) last: u64,
    /// How far each group's journal is in it and all files before.
    pub(crate) cursors: Vec<(String, Position)>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) items: u64,
    pub(crate) rows: u64,
    pub(crate) source: Range,
    pub(crate) server: Range,
}

/// From the earliest to the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: Timestamp,
    pub(crate) max: Timestamp,
}

impl Range {
    pub(crate) const EMPTY: Range = Range { min: Timestamp(i64::MAX), max: Timestamp(i64::MIN) };

    pub(crate) fn add(&mut self, other: Range) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        put_u64(&mut payload, self.first);
        put_u64(&mut payload, self.last);
        put_u64(&mut payload, self.cursors.len() as u64);
        for (group, position) in &self.cursors {
            put_sized(&mut payload, group.as_bytes());
            put_u64(&mut payload, position.epoch.0);
            put_u64(&mut payload, position.seq);
        }
        let mut out = Vec::from(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&payload);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(payload: &[u8]) -> Result<Head, Broken> {
        const WHAT: &str = "the head of the file";
        let mut reader = Reader::new(payload);
        let first = reader.u64(WHAT)?;
        let last = reader.u64(WHAT)?;
        let count = reader.size(WHAT)?;
        let mut cursors = Vec::new();
        for _ in 0..count {
            let group = reader.text(WHAT)?.to_owned();
            let epoch = Epoch(reader.u64(WHAT)?);
            cursors.push((group, Position::new(epoch, reader.u64(WHAT)?)));
        }
        reader.finish(WHAT)?;
        Ok(Head { first, last, cursors })
    }
}

/// The name of the file that holds these seals.
pub(crate) fn name(first: u64, last: u64) -> String {
    format!("{first:012}-{last:012}.{EXTENSION}")
}

/// The seals that a file's name says it holds.
pub(crate) fn parse_name(path: &Path) -> Option<(u64, u64)> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let (first, last) = path.file_stem()?.to_str()?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// A key's place in the order of a file (FNV-1a, 64 bits).
pub(crate) fn hash_of(key: &str) -> u64 {
    key.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A name for what is set aside that is not taken.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = if number == 1 { DAMAGED.to_owned() } else { format!("{number}.{DAMAGED}") };
        let path = path.with_extension(name);
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match read_at(file, &mut bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// Makes created, renamed and removed names in `dir` survive a power failure.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
