//! Dictionaries beside the segments: each is written once and named after its hash.
//!
//! ```text
//! magic 8 | format u16 | zero 6 | length u64 | crc32 u32 | zero u32 | encoded record
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhub_model::{ItemId, ItemKey, Record};
use twinhub_wire::record;

use crate::error::io_error;
use crate::medium::{sync_dir, write_all_at};
use crate::{Medium, StoreError};

pub(crate) type Dictionary = Arc<[(ItemId, ItemKey)]>;

/// FNV-1a (Fowler, Noll, Vo), 64 bits: tells dictionaries apart, protects against nothing.
pub(crate) fn hash(record: &[u8]) -> u64 {
    record
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn path(dir: &Path, hash: u64) -> PathBuf {
    dir.join(format!("{hash:016x}.dictionary"))
}

/// Writes the dictionary unless it is there.
pub(crate) fn save(dir: &Path, medium: &dyn Medium, hash: u64, record: &[u8]) -> Result<(), StoreError> {
    let path = path(dir, hash);
    if read(&path).is_ok_and(|found| found.as_deref() == Some(record)) {
        return Ok(());
    }
    let draft = path.with_extension("dictionary.new");
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("replace", &draft)(error)),
    }
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&(record.len() as u64).to_le_bytes());
    bytes[24..28].copy_from_slice(&crc32fast::hash(record).to_le_bytes());
    bytes.extend_from_slice(record);
    let file = medium.create(&draft).map_err(io_error("create", &draft))?;
    write_all_at(medium, &file, &bytes, 0).1.map_err(io_error("write", &draft))?;
    medium.sync(&file).map_err(io_error("sync", &draft))?;
    fs::rename(&draft, &path).map_err(io_error("name", &path))?;
    sync_dir(dir).map_err(io_error("sync folder", dir))
}

/// The record, which fits its checksum.
pub(crate) fn load_record(dir: &Path, hash: u64) -> Result<Vec<u8>, StoreError> {
    let path = path(dir, hash);
    match read(&path) {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(damaged(&path, "it does not fit its checksum".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::NoDictionary { dir: dir.to_owned(), hash })
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

pub(crate) fn load(dir: &Path, hash: u64) -> Result<Dictionary, StoreError> {
    let record = load_record(dir, hash)?;
    let damaged = |what| damaged(&path(dir, hash), what);
    match record::decode(&record) {
        Ok(Record::Dictionary(entries)) => Ok(entries),
        Ok(
            Record::Samples(_)
            | Record::Intent(_)
            | Record::Result(_)
            | Record::Delivered(_)
            | Record::Role(_)
            | Record::Event(_)
            | Record::Part(_)
            | Record::Merged(_),
        ) => Err(damaged("it holds another record".to_owned())),
        Err(error) => Err(damaged(error.to_string())),
    }
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what,
        advice: "copy the file from the other node or from a backup; until then, records show handles",
    }
}

/// The record in the file; `None` if the file is damaged.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = fs::read(path)?;
    if bytes.len() < HEADER_BYTES || &bytes[0..8] != MAGIC {
        return Ok(None);
    }
    let record = bytes.split_off(HEADER_BYTES);
    let length = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let crc = u32::from_le_bytes(bytes[24..28].try_into().expect("four bytes"));
    Ok((length == record.len() as u64 && crc == crc32fast::hash(&record)).then_some(record))
}

const MAGIC: &[u8; 8] = b"TWHDICT\n";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 32;
