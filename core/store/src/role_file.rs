//! One small payload that is the old or the new one after any crash.
//!
//! ```text
//! slot 0 (4096 bytes) | slot 1 (4096 bytes)
//! slot: magic 8 | format u16 | zero u16 | length u32 | generation u64 | crc32 u32 | payload    (little endian)
//! ```
//! A store writes the slot that does not hold the newest generation and syncs it. The file gets its name
//! only when its first slot is complete, so a file without a readable slot was damaged later.
//!
//! The format says which versions may read the payload: one that meets a slot of a later format refuses the
//! file. So a payload is stored in the oldest format whose readers understand it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::io_error;
use crate::medium::{read_at, sync_dir, write_all_at};
use crate::{Disk, Medium, StoreError};

/// The longest payload.
pub const ROLE_PAYLOAD_BYTES_MAX: usize = SLOT_BYTES - SLOT_HEADER_BYTES;

/// What a [`RoleFile`] held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The payload stored last; `None` if the file was just created.
    pub payload: Option<Vec<u8>>,
    /// What an operator should know: one slot was unreadable and the other was used.
    pub note: Option<String>,
}

/// The file with a node's promises. Open it once; a second process is refused.
#[derive(Debug)]
pub struct RoleFile {
    path: PathBuf,
    file: File,
    medium: Arc<dyn Medium>,
    generation: u64,
    /// The slot that holds the newest generation.
    newest: usize,
    /// The format of each slot; 0 if it holds nothing.
    formats: [u16; 2],
}

impl RoleFile {
    /// Opens the file, or creates it with its folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::Damaged`] if neither slot can be
    /// read, [`StoreError::Io`] otherwise.
    pub fn open(path: impl Into<PathBuf>) -> Result<(RoleFile, Loaded), StoreError> {
        RoleFile::open_on(path, Arc::new(Disk))
    }

    /// As [`RoleFile::open`], on another medium.
    ///
    /// # Errors
    /// As [`RoleFile::open`].
    pub fn open_on(
        path: impl Into<PathBuf>,
        medium: Arc<dyn Medium>,
    ) -> Result<(RoleFile, Loaded), StoreError> {
        let path = path.into();
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path, &*medium)?,
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
            Err(fs::TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
        }
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            match read_at(&file, &mut bytes[length..], length as u64).map_err(io_error("read", &path))? {
                0 => break,
                count => length += count,
            }
        }
        bytes.truncate(length);
        let Choice { newest, slot, note, formats } = choose(&path, &bytes)?;
        let payload = (slot.generation > 0).then_some(slot.payload);
        let role_file = RoleFile { path, file, medium, generation: slot.generation, newest, formats };
        Ok((role_file, Loaded { payload, note }))
    }

    /// Stores `payload` for readers of every version; when this returns, it survives a power failure.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], or [`StoreError::Io`]; the payload stored before is then still there.
    pub fn store(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        self.store_in(payload, FORMAT_MIN)
    }

    /// As [`RoleFile::store`], for readers that know this format.
    ///
    /// # Errors
    /// As [`RoleFile::store`].
    pub fn store_in(&mut self, payload: &[u8], format: u16) -> Result<(), StoreError> {
        self.store_once(payload, format)?;
        if self.formats[1 - self.newest] > format {
            // The slot before would still keep out who may read this one.
            self.store_once(payload, format)?;
        }
        Ok(())
    }

    fn store_once(&mut self, payload: &[u8], format: u16) -> Result<(), StoreError> {
        if payload.len() > ROLE_PAYLOAD_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: payload.len(), max: ROLE_PAYLOAD_BYTES_MAX });
        }
        let generation = self.generation + 1;
        let target = 1 - self.newest;
        let bytes = encode_slot(generation, payload, format);
        let (_, result) = write_all_at(&*self.medium, &self.file, &bytes, (target * SLOT_BYTES) as u64);
        result.map_err(io_error("write", &self.path))?;
        self.medium.sync(&self.file).map_err(io_error("sync", &self.path))?;
        (self.generation, self.newest) = (generation, target);
        self.formats[target] = format;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    format: u16,
    payload: Vec<u8>,
}

/// The slot that counts.
struct Choice {
    newest: usize,
    slot: Slot,
    note: Option<String>,
    formats: [u16; 2],
}

/// Writes the whole file under another name first, so that the real name never shows a half-made file.
fn create(path: &Path, medium: &dyn Medium) -> Result<File, StoreError> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(io_error("create folder", dir))?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("replace", &draft)(error)),
    }
    let file = medium.create(&draft).map_err(io_error("create", &draft))?;
    let mut bytes = encode_slot(0, &[], FORMAT_MIN);
    bytes.resize(2 * SLOT_BYTES, 0);
    write_all_at(medium, &file, &bytes, 0).1.map_err(io_error("write", &draft))?;
    medium.sync(&file).map_err(io_error("sync", &draft))?;
    fs::rename(&draft, path).map_err(io_error("name", path))?;
    sync_dir(dir).map_err(io_error("sync folder", dir))?;
    Ok(file)
}

fn choose(path: &Path, bytes: &[u8]) -> Result<Choice, StoreError> {
    let read = |index: usize| {
        let start = (index * SLOT_BYTES).min(bytes.len());
        let end = (start + SLOT_BYTES).min(bytes.len());
        decode_slot(path, &bytes[start..end])
    };
    let slots = [read(0)?, read(1)?];
    let formats = slots.each_ref().map(|slot| slot.as_ref().map_or(0, |slot| slot.format));
    let choice = |newest, slot, note| Ok(Choice { newest, slot, note, formats });
    match slots.into() {
        (Ok(first), Ok(second)) if second.generation > first.generation => choice(1, second, None),
        (Ok(first), Ok(_)) => choice(0, first, None),
        (Ok(first), Err(why)) => choice(0, first, note(path, 1, &why)),
        (Err(why), Ok(second)) => choice(1, second, note(path, 0, &why)),
        (Err(first), Err(second)) => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: format!("slot 0 {}, slot 1 {}", first.words(), second.words()),
            advice: "this node's promises are lost: stop it, make sure that no other node waits for its \
                     vote, keep the other node active for longer than the lease, then move the file away \
                     and start this node again",
        }),
    }
}

fn note(path: &Path, slot: usize, why: &Unreadable) -> Option<String> {
    match why {
        Unreadable::Blank => None,
        Unreadable::Bad(what) => Some(format!(
            "{}: slot {slot} {what}, the other slot was used; a write was cut short or the disk lost data",
            path.display()
        )),
    }
}

#[derive(Debug)]
enum Unreadable {
    /// Never written.
    Blank,
    Bad(&'static str),
}

impl Unreadable {
    const fn words(&self) -> &'static str {
        match self {
            Unreadable::Blank => "is empty",
            Unreadable::Bad(what) => what,
        }
    }
}

fn encode_slot(generation: u64, payload: &[u8], format: u16) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("payloads are shorter than a slot");
    let mut bytes = vec![0; SLOT_HEADER_BYTES + payload.len()];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&format.to_le_bytes());
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    bytes[16..24].copy_from_slice(&generation.to_le_bytes());
    bytes[SLOT_HEADER_BYTES..].copy_from_slice(payload);
    let crc = slot_checksum(&bytes);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn slot_checksum(slot: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[..24]);
    hasher.update(&slot[SLOT_HEADER_BYTES..]);
    hasher.finalize()
}

fn decode_slot(path: &Path, slot: &[u8]) -> Result<Result<Slot, Unreadable>, StoreError> {
    if slot.iter().all(|byte| *byte == 0) {
        let is_whole = slot.len() == SLOT_BYTES;
        return Ok(Err(if is_whole { Unreadable::Blank } else { Unreadable::Bad("is cut off") }));
    }
    let Some((header, rest)) = slot.split_first_chunk::<SLOT_HEADER_BYTES>() else {
        return Ok(Err(Unreadable::Bad("is cut off")));
    };
    if &header[0..8] != MAGIC {
        return Ok(Err(Unreadable::Bad("does not begin with its mark")));
    }
    let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    let Some(payload) = rest.get(..length) else {
        return Ok(Err(Unreadable::Bad("has an impossible length")));
    };
    let crc = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    if crc != slot_checksum(&slot[..SLOT_HEADER_BYTES + length]) {
        return Ok(Err(Unreadable::Bad("does not fit its checksum")));
    }
    let got = u16::from_le_bytes([header[8], header[9]]);
    if got > FORMAT {
        return Err(StoreError::NewerFormat { path: path.to_owned(), got, known: FORMAT });
    }
    let generation = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    Ok(Ok(Slot { generation, format: got, payload: payload.to_vec() }))
}

const SLOT_BYTES: usize = 4096;
const SLOT_HEADER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"TWHROLE\n";
/// The newest format that can be read.
const FORMAT: u16 = 2;
/// The oldest one, which every version reads.
const FORMAT_MIN: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (RoleFile, Loaded) {
        RoleFile::open(path).unwrap()
    }

    #[test]
    fn what_was_stored_last_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/role");
        let (mut file, loaded) = open(&path);
        assert_eq!(loaded, Loaded { payload: None, note: None });
        for text in ["one", "two", "three", ""] {
            file.store(text.as_bytes()).unwrap();
            drop(file);
            let loaded;
            (file, loaded) = open(&path);
            assert_eq!(loaded, Loaded { payload: Some(text.as_bytes().to_vec()), note: None });
        }
        file.store(&vec![7; ROLE_PAYLOAD_BYTES_MAX]).unwrap();
        assert!(matches!(file.store(&vec![7; ROLE_PAYLOAD_BYTES_MAX + 1]), Err(StoreError::TooLarge { .. })));
    }

    #[test]
    fn every_prefix_of_a_write_leaves_the_old_or_the_new_payload() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (mut file, _) = open(&path);
        for stored in 0_u8..3 {
            let old = (stored > 0).then(|| vec![stored; 100]);
            let before = fs::read(&path).unwrap();
            file.store(&[stored + 1; 100]).unwrap();
            let after = fs::read(&path).unwrap();
            drop(file);
            let changed = usize::from(before[..SLOT_BYTES] == after[..SLOT_BYTES]) * SLOT_BYTES;
            for cut in 0..=132 {
                let mut torn = before.clone();
                torn[changed..changed + cut].copy_from_slice(&after[changed..changed + cut]);
                fs::write(&path, &torn).unwrap();
                let (file, loaded) = open(&path);
                drop(file);
                let is_new = loaded.payload.as_deref() == Some(&[stored + 1; 100]);
                assert!(is_new || loaded.payload == old, "cut at {cut}");
                assert_eq!(is_new, cut == 132 || torn == after, "cut at {cut}");
                assert_eq!(loaded.note.is_some(), !is_new && torn != before, "cut at {cut}");
            }
            fs::write(&path, &after).unwrap();
            file = open(&path).0;
        }
    }

    #[test]
    fn a_damaged_slot_is_named_and_the_other_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (mut file, _) = open(&path);
        file.store(b"old").unwrap();
        file.store(b"new").unwrap();
        drop(file);
        let whole = fs::read(&path).unwrap();
        for (slot, left) in [(0, "old"), (1, "new")] {
            for at in [0, 9, 14, 20, 25, 33] {
                let mut damaged = whole.clone();
                damaged[slot * SLOT_BYTES + at] ^= 0x10;
                fs::write(&path, &damaged).unwrap();
                let (mut file, loaded) = open(&path);
                assert_eq!(loaded.payload.as_deref(), Some(left.as_bytes()));
                assert!(loaded.note.unwrap().contains(&format!("slot {slot}")));
                file.store(b"next").unwrap();
                drop(file);
                assert_eq!(open(&path).1, Loaded { payload: Some(b"next".to_vec()), note: None });
            }
        }
    }

    #[test]
    fn two_damaged_slots_are_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        open(&path).0.store(b"x").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[30 + 2] ^= 1;
        bytes[20] ^= 1;
        bytes[SLOT_BYTES + 33] ^= 1;
        bytes[SLOT_BYTES + 20] ^= 1;
        for damaged in [bytes, vec![], vec![0; 2 * SLOT_BYTES], vec![0xff; 17]] {
            fs::write(&path, &damaged).unwrap();
            let error = RoleFile::open(&path).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }));
            let text = error.to_string();
            assert!(text.contains("role") && text.contains("move the file away"), "{text}");
        }
    }

    #[test]
    fn a_second_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role");
        let (_file, _) = open(&path);
        let error = RoleFile::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    }

    #[test]
    fn a_half_made_draft_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("role.new"), b"half").unwrap();
        assert_eq!(open(&dir.path().join("role")).1.payload, None);
    }
}
