//! A sealed file: written once, renamed into place when it is on the disk, never changed.
//!
//! ```text
//! head      magic | format u16 | length u32 | first and last seal, cursors, gaps, lowest records | crc32
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

use twinhub_model::{Position, Timestamp};

use crate::bytes::{Broken, Reader, put_sized, put_u64};
use crate::gap::{self, Gap};

pub(crate) use self::read::{BlockFile, Entry, ItemRecord, check_frame, parts_of};
pub(crate) use self::salvage::salvage;
pub(crate) use self::write::{FileWriter, Finished, put_frame};

const MAGIC: [u8; 8] = *b"TWINHIST";
const FORMAT: u16 = 2;
/// Of files whose gaps do not say what remains of them were taken, and that name no life of a journal.
const FORMAT_PLAIN: u16 = 1;
const MARK: [u8; 4] = [0xb1, b'O', b'C', b'K'];
/// Mark, length, checksum.
const FRAME_HEAD_BYTES: usize = 12;
/// No block is longer; the longest text of a journal's record fits with room.
const FRAME_BYTES_MAX: usize = 16 << 20;
const HEAD_BYTES_MAX: usize = 1 << 20;
const DIRECTORY_ENTRY_BYTES: usize = 20;
/// In place of a number: what would follow is not known.
const UNKNOWN: u64 = u64::MAX;
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
    /// What is missing in it and all files before.
    pub(crate) gaps: Vec<Gap>,
    /// The lowest record of each group's journal that a row of it came with; `None` if that is not known.
    pub(crate) lows: Option<Vec<(String, Position)>>,
    /// The names of the journals that the cursors are of, as far as they have one.
    pub(crate) lives: Vec<(String, String)>,
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
            gap::put_position(&mut payload, *position);
        }
        // What an older version can read, it may read.
        let is_plain = self.lives.is_empty() && self.gaps.iter().all(|gap| gap.remains_of.is_empty());
        let format = if is_plain { FORMAT_PLAIN } else { FORMAT };
        put_u64(&mut payload, self.gaps.len() as u64);
        for gap in &self.gaps {
            gap.put(&mut payload, !is_plain);
        }
        match &self.lows {
            Some(lows) => {
                put_u64(&mut payload, lows.len() as u64);
                for (group, position) in lows {
                    put_sized(&mut payload, group.as_bytes());
                    gap::put_position(&mut payload, *position);
                }
            }
            None if self.lives.is_empty() => {}
            None => put_u64(&mut payload, UNKNOWN),
        }
        if !self.lives.is_empty() {
            put_u64(&mut payload, self.lives.len() as u64);
            for (group, life) in &self.lives {
                put_sized(&mut payload, group.as_bytes());
                put_sized(&mut payload, life.as_bytes());
            }
        }
        let mut out = Vec::from(MAGIC);
        out.extend_from_slice(&format.to_le_bytes());
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&payload);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(payload: &[u8], format: u16) -> Result<Head, Broken> {
        const WHAT: &str = "the head of the file";
        let mut reader = Reader::new(payload);
        let first = reader.u64(WHAT)?;
        let last = reader.u64(WHAT)?;
        let count = reader.u64(WHAT)?;
        let cursors = read_positions(&mut reader, count)?;
        let mut gaps = Vec::new();
        if !reader.is_empty() {
            for _ in 0..reader.size(WHAT)? {
                gaps.push(Gap::read(&mut reader, format > FORMAT_PLAIN)?);
            }
        }
        let lows = match if reader.is_empty() { UNKNOWN } else { reader.u64(WHAT)? } {
            UNKNOWN => None,
            count => Some(read_positions(&mut reader, count)?),
        };
        let mut lives = Vec::new();
        if !reader.is_empty() {
            for _ in 0..reader.u64(WHAT)? {
                lives.push((reader.text(WHAT)?.to_owned(), reader.text(WHAT)?.to_owned()));
            }
        }
        reader.finish(WHAT)?;
        Ok(Head { first, last, cursors, gaps, lows, lives })
    }

    /// Between which records of each group its rows came, as far as it says; without those of a restored history.
    pub(crate) fn ranges(&self) -> Vec<(&str, Position, Position)> {
        let lows = self.lows.iter().flatten().filter(|(_, low)| *low > Position::START);
        let ranges = lows.filter_map(|(group, low)| {
            let (_, cursor) = self.cursors.iter().find(|(known, _)| known == group)?;
            let before = Position::new(low.epoch, low.seq.saturating_sub(1));
            (before < *cursor).then_some((group.as_str(), before, *cursor))
        });
        ranges.collect()
    }

    /// Whether a row may be in the file that came with a record behind `after` and up to `through`.
    pub(crate) fn may_have(&self, group: &str, after: Position, through: Position) -> bool {
        let of = |list: &[(String, Position)]| {
            list.iter().find(|(known, _)| known == group).map(|(_, position)| *position)
        };
        let is_low_enough = match &self.lows {
            Some(lows) => of(lows).is_some_and(|low| low <= through),
            None => true,
        };
        is_low_enough && of(&self.cursors).is_none_or(|cursor| cursor > after || cursor == Position::START)
    }
}

fn read_positions(reader: &mut Reader<'_>, count: u64) -> Result<Vec<(String, Position)>, Broken> {
    const WHAT: &str = "the head of the file";
    let mut found = Vec::new();
    for _ in 0..count {
        let group = reader.text(WHAT)?.to_owned();
        found.push((group, gap::read_position(reader)?));
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_an_older_version_cannot_read_has_another_format() {
        let (cursors, gaps, lives) = (Vec::new(), Vec::new(), Vec::new());
        let plain = Head { first: 1, last: 2, cursors, gaps, lows: None, lives };
        let named = Head { lives: vec![("site".to_owned(), "1f".to_owned())], ..plain.clone() };
        for (head, format) in [(plain, FORMAT_PLAIN), (named, FORMAT)] {
            let bytes = head.encode();
            assert_eq!(bytes[8..10], format.to_le_bytes());
            let payload = &bytes[14..bytes.len() - 4];
            assert_eq!(Head::decode(payload, format).unwrap(), head);
        }
    }
}
