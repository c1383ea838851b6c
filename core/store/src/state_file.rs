//! A state as of one place in the journal: the old or the new one after any crash.
//!
//! ```text
//! magic 8 | format u16 | zero u16 | pieces u32 | epoch u64 | seq u64 | crc32 u32 | (length u32, bytes) ...
//! ```
//! (little endian). A journal is not kept forever; what was built from records that are gone lives on here.
//! The file is written anew under another name, synced, and takes the name of the one before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhub_model::{Epoch, Position};

use crate::error::io_error;
use crate::medium::{sync_dir, write_all_at};
use crate::{Disk, Medium, StoreError};

/// What a [`StateFile`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// Every record up to here is in it.
    pub at: Position,
    /// The state, in the pieces that it was given in.
    pub pieces: Vec<Vec<u8>>,
}

/// One state of one owner.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    medium: Arc<dyn Medium>,
}

impl StateFile {
    /// The file with this name; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> StateFile {
        StateFile::new_on(path, Arc::new(Disk))
    }

    /// As [`StateFile::new`], on another medium.
    pub fn new_on(path: impl Into<PathBuf>, medium: Arc<dyn Medium>) -> StateFile {
        StateFile { path: path.into(), medium }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state stored last; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::NewerFormat`], or [`StoreError::Io`].
    pub fn load(&self) -> Result<Option<StoredState>, StoreError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &self.path)(error)),
        };
        let damaged = |what: &str| StoreError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
            advice: "move it away: a copy comes from the active node",
        };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(|| damaged("it is cut off"))?;
        if &header[0..8] != MAGIC {
            return Err(damaged("it does not begin with its mark"));
        }
        let got = u16::from_le_bytes([header[8], header[9]]);
        if got > FORMAT {
            return Err(StoreError::NewerFormat { path: self.path.clone(), got, known: FORMAT });
        }
        if number(header, 32) != checksum(&bytes) {
            return Err(damaged("it does not fit its checksum"));
        }
        let mut rest = &bytes[HEADER_BYTES..];
        let mut pieces = Vec::new();
        for _ in 0..number(header, 12) {
            let piece = split_piece(&mut rest).ok_or_else(|| damaged("a piece of it is cut off"))?;
            pieces.push(piece.to_vec());
        }
        let at = Position::new(Epoch(long(header, 16)), long(header, 24));
        Ok(Some(StoredState { at, pieces }))
    }

    /// Deletes it, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("delete", &self.path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Replaces the state; when this returns, it survives a power failure.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] or [`StoreError::Io`]; the state stored before is then still there.
    pub fn store(&self, state: &StoredState) -> Result<(), StoreError> {
        let bytes = encode(state)?;
        let dir = match self.path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            Some(_) | None => Path::new("."),
        };
        fs::create_dir_all(dir).map_err(io_error("create folder", dir))?;
        let mut draft = self.path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        match fs::remove_file(&draft) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("replace", &draft)(error)),
        }
        let file = self.medium.create(&draft).map_err(io_error("create", &draft))?;
        write_all_at(&*self.medium, &file, &bytes, 0).1.map_err(io_error("write", &draft))?;
        self.medium.sync(&file).map_err(io_error("sync", &draft))?;
        fs::rename(&draft, &self.path).map_err(io_error("name", &self.path))?;
        sync_dir(dir).map_err(io_error("sync folder", dir))
    }

    /// Moves an unreadable file out of the way and says where it is now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(".damaged");
        let aside = PathBuf::from(aside);
        fs::rename(&self.path, &aside).map_err(io_error("name", &aside))?;
        Ok(aside)
    }
}

fn encode(state: &StoredState) -> Result<Vec<u8>, StoreError> {
    let length = |count: usize| {
        u32::try_from(count).map_err(|_| StoreError::TooLarge { bytes: count, max: u32::MAX as usize })
    };
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&length(state.pieces.len())?.to_le_bytes());
    bytes[16..24].copy_from_slice(&state.at.epoch.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&state.at.seq.to_le_bytes());
    for piece in &state.pieces {
        bytes.extend_from_slice(&length(piece.len())?.to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    let crc = checksum(&bytes);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn split_piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (piece, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = behind;
    Some(piece)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..32]);
    hasher.update(&bytes[HEADER_BYTES..]);
    hasher.finalize()
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn long(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(number(header, at)) | u64::from(number(header, at + 4)) << 32
}

const MAGIC: &[u8; 8] = b"TWINSTAT";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(seq: u64, pieces: &[&[u8]]) -> StoredState {
        StoredState {
            at: Position::new(Epoch(256), seq),
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
        }
    }

    #[test]
    fn the_newest_state_comes_back_and_no_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path().join("parts/users.state"));
        assert_eq!(file.load().unwrap(), None);
        file.store(&state(1, &[b"one", b""])).unwrap();
        file.store(&state(2, &[b"two"])).unwrap();
        assert_eq!(file.load().unwrap(), Some(state(2, &[b"two"])));
    }

    #[test]
    fn a_damaged_file_is_named_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path().join("users.state"));
        file.store(&state(1, &[b"one"])).unwrap();
        let mut bytes = fs::read(file.path()).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(file.path(), &bytes).unwrap();
            // The unused bytes of the header are under the checksum as well.
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains("users.state"), "{error}");
            bytes[at] ^= 1;
            fs::write(file.path(), &bytes[..at]).unwrap();
            assert!(matches!(file.load(), Err(StoreError::Damaged { .. })), "cut at {at}");
        }
        file.set_aside().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    proptest! {
        #[test]
        fn hostile_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), marked in any::<bool>()) {
            let dir = tempfile::tempdir().unwrap();
            let file = StateFile::new(dir.path().join("users.state"));
            let mut content = if marked { MAGIC.to_vec() } else { Vec::new() };
            content.extend(bytes);
            fs::write(file.path(), content).unwrap();
            prop_assert!(file.load().is_err());
        }
    }
}
