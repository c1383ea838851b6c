//! Backup files: a site in one file, sealed under a passphrase.
//!
//! ```text
//! magic 8 | length u32 | header (JSON) | sealed | SHA-256 of all before
//! sealed = ChaCha20-Poly1305(key, entries), header as associated data;    key = Argon2id(passphrase, salt of the header)
//! entry  = length u16 | name | length u64 | bytes                         (little endian)
//! ```
//! The header can be read without the passphrase, and is proven with it. The sum tells damage from a wrong passphrase.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use twinhub_documents::Entry;
use twinhub_history::StoreOptions;
use twinhub_model::{Part, Position};
use twinhub_store::{StateFile, StoredState};

use crate::documents::secret;
use crate::engine::parts::states_dir;
use crate::whole_file::write_whole;

/// The format that this version writes, and the newest that it reads.
const FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"THBACK1\n";
/// Begins the names of the history's files.
pub(crate) const HISTORY: &str = "history/";
/// It is there while a restore is under way.
const RESTORING: &str = "restoring";
const SUM_BYTES: usize = 32;
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Argon2id for a secret that may be tried at leisure: more than for logins.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 20;
/// The shortest passphrase.
pub const PASSPHRASE_LETTERS_MIN: usize = 12;

/// Why a backup is not made or not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It is no backup.
    #[error("this is no backup of a Twinhub site")]
    NoBackup,
    /// Bytes of it changed.
    #[error("the backup is damaged: {what}; take another copy of it, or an older backup")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// A newer version made it.
    #[error("the backup is of a newer version ({version}): restore it with that one")]
    Newer {
        /// The version that made it.
        version: String,
    },
    /// The passphrase is another one.
    #[error("the passphrase is not the one of this backup")]
    WrongPassphrase,
    /// The passphrase is too short.
    #[error(
        "a passphrase has at least {PASSPHRASE_LETTERS_MIN} letters: whoever has the file can try for years"
    )]
    ShortPassphrase,
    /// Something inside failed.
    #[error("{what}")]
    Internal {
        /// What.
        what: String,
    },
    /// A file.
    #[error("cannot write {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a backup says of itself without the passphrase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format of the file.
    pub format: u16,
    /// Version of the product that made it.
    pub version: String,
    /// The site's name.
    pub site: String,
    /// The node that made it.
    pub node: String,
    /// The first group, whose journal has the documents.
    pub group: String,
    /// When, RFC 3339.
    pub at: String,
    /// How its key is made: KiB of memory.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// Values of the past in it.
    #[serde(default)]
    pub history_rows: u64,
    /// Whether older values were left out for their size.
    #[serde(default)]
    pub history_is_cut: bool,
    /// Whether the newest values were left out, since they could not be brought into files.
    #[serde(default)]
    pub history_is_behind: bool,
}

/// What is in a backup, by name: `config/…`, `secrets/…`, `pki/…`, `documents/…`.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// Seals a site.
///
/// # Errors
/// [`BackupError`].
pub fn seal(header: Header, entries: &Entries, passphrase: &str) -> Result<Vec<u8>, BackupError> {
    if passphrase.chars().count() < PASSPHRASE_LETTERS_MIN {
        return Err(BackupError::ShortPassphrase);
    }
    let internal = |what: &str| BackupError::Internal { what: what.to_owned() };
    let mut salt = vec![0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| internal("the system gives no random numbers"))?;
    let header = Header { format: FORMAT, memory_kib: MEMORY_KIB, passes: PASSES, salt, ..header };
    let shown = serde_json::to_vec(&header).map_err(|error| internal(&error.to_string()))?;
    let mut sealed = Vec::new();
    for (name, bytes) in entries {
        let length = u16::try_from(name.len()).map_err(|_| internal("a name is too long"))?;
        sealed.extend_from_slice(&length.to_le_bytes());
        sealed.extend_from_slice(name.as_bytes());
        sealed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        sealed.extend_from_slice(bytes);
    }
    let key = key_of(&header, passphrase).ok_or_else(|| internal("the passphrase cannot be used"))?;
    key.seal_in_place_append_tag(nonce(), Aad::from(&shown), &mut sealed)
        .map_err(|_| internal("the site is too large for a backup"))?;
    let mut file = MAGIC.to_vec();
    let length = u32::try_from(shown.len()).map_err(|_| internal("the header is too long"))?;
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&shown);
    file.extend_from_slice(&sealed);
    let sum = secret::digest(&file);
    file.extend_from_slice(sum.bytes());
    Ok(file)
}

/// What a backup says of itself.
///
/// # Errors
/// [`BackupError`] if it is none, is damaged, or is of a newer version.
pub fn look(file: &[u8]) -> Result<Header, BackupError> {
    split(file).map(|(header, _, _)| header)
}

/// Opens a backup.
///
/// # Errors
/// [`BackupError`].
pub fn open(file: &[u8], passphrase: &str) -> Result<(Header, Entries), BackupError> {
    let (header, shown, sealed) = split(file)?;
    let damaged = BackupError::Damaged { what: "its key cannot be made" };
    let key = key_of(&header, passphrase).ok_or(damaged)?;
    let mut bytes = sealed.to_vec();
    let opened =
        key.open_in_place(nonce(), Aad::from(shown), &mut bytes).map_err(|_| BackupError::WrongPassphrase)?;
    let entries = unpack(opened).ok_or(BackupError::Damaged { what: "an entry is cut off" })?;
    Ok((header, entries))
}

fn split(file: &[u8]) -> Result<(Header, &[u8], &[u8]), BackupError> {
    let rest = file.strip_prefix(MAGIC).ok_or(BackupError::NoBackup)?;
    let cut = || BackupError::Damaged { what: "it is cut off" };
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(BackupError::Damaged { what: "its header is too long" });
    }
    let (shown, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let (sealed, sum) = rest.split_last_chunk::<SUM_BYTES>().ok_or_else(cut)?;
    if secret::digest(&file[..file.len() - SUM_BYTES]).bytes() != sum {
        return Err(BackupError::Damaged { what: "its bytes are not those that were written" });
    }
    let header: Header = serde_json::from_slice(shown)
        .map_err(|_| BackupError::Damaged { what: "its header is not readable" })?;
    if header.format > FORMAT || is_newer(&header.version) {
        return Err(BackupError::Newer { version: header.version });
    }
    Ok((header, shown, sealed))
}

/// Whether a version is newer than this one.
fn is_newer(version: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let plain = version.split(['-', '+']).next().unwrap_or_default();
        plain.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(version) > numbers(env!("CARGO_PKG_VERSION"))
}

fn key_of(header: &Header, passphrase: &str) -> Option<LessSafeKey> {
    if header.memory_kib > MEMORY_KIB_MAX || header.passes > PASSES_MAX {
        return None;
    }
    let params = Params::new(header.memory_kib, header.passes, 1, Some(32)).ok()?;
    let mut bytes = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &header.salt, &mut bytes)
        .ok()?;
    UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok().map(LessSafeKey::new)
}

/// Each key seals one backup.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn unpack(mut bytes: &[u8]) -> Option<Entries> {
    let mut entries = Entries::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (content, rest) = rest.split_at_checked(length)?;
        entries.insert(String::from_utf8(name.to_vec()).ok()?, content.to_vec());
        bytes = rest;
    }
    Some(entries)
}

/// Puts users, tokens and revisions where a node that has no state yet finds them at its first start. The journal begins
/// anew, so where they stood in the old one does not count.
///
/// # Errors
/// [`BackupError`].
pub fn restore_documents(state_dir: &Path, header: &Header, entries: &Entries) -> Result<(), BackupError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    let pieces_dir = state_dir.join("documents").join("pieces");
    fs::create_dir_all(&pieces_dir).map_err(error(&pieces_dir))?;
    let mut pieces = Vec::new();
    for (_, body) in entries.iter().filter(|(name, _)| name.starts_with("documents/")) {
        let damaged = |_| BackupError::Damaged { what: "a document is not readable" };
        match Entry::decode(body).map_err(damaged)? {
            Entry::Piece(digest, bytes) => {
                let path = pieces_dir.join(digest.to_string());
                write_whole(&path, bytes.as_slice(), None).map_err(error(&path))?;
            }
            Entry::Through(_) => {}
            Entry::Change(_)
            | Entry::Document(_)
            | Entry::Revision(_)
            | Entry::Conflict(_)
            | Entry::Audit(_)
            | Entry::AuditOf(_) => pieces.push(body.clone()),
        }
    }
    let dir = states_dir(state_dir, &header.group);
    fs::create_dir_all(&dir).map_err(error(&dir))?;
    let path = dir.join(format!("{}.state", Part::DOCUMENTS.name()));
    let stored = StateFile::new(&path).store(&StoredState { at: Position::START, pieces });
    stored.map_err(|error| BackupError::Internal { what: error.to_string() })
}

/// Puts the values of the past where a node that has not run yet finds them; returns how many there are. Their files say how
/// far journals were read that are no more, which is forgotten.
///
/// # Errors
/// [`BackupError`], also if there is a history already.
pub fn restore_history(state_dir: &Path, entries: &Entries) -> Result<u64, BackupError> {
    let files: Vec<(&str, &[u8])> = history_files(entries).collect();
    if files.is_empty() {
        return Ok(0);
    }
    twinhub_history::restore(&StoreOptions::new(state_dir.join("history")), &files)
        .map_err(|error| BackupError::Internal { what: error.to_string() })
}

/// Begins a restore: what one that was cut off has put there goes away, and until [`end_restore`] so does what this one puts
/// there. Nothing is written if it cannot be.
///
/// # Errors
/// [`BackupError`], also if there is a history that no restore put there.
pub fn begin_restore(state_dir: &Path, entries: &Entries) -> Result<(), BackupError> {
    if history_files(entries).any(|(name, _)| !twinhub_history::is_file_name(name)) {
        return Err(BackupError::Damaged { what: "a file of the history has no such name" });
    }
    let dir = state_dir.join("history");
    let has_history = fs::read_dir(&dir).is_ok_and(|mut found| found.next().is_some());
    if has_history && !is_restoring(state_dir) {
        let what = format!("{} has a history already: move it away first", dir.display());
        return Err(BackupError::Internal { what });
    }
    let mark = state_dir.join(RESTORING);
    write_whole(&mark, b"", None).map_err(|source| BackupError::File { path: mark, source })?;
    if has_history {
        fs::remove_dir_all(&dir).map_err(|source| BackupError::File { path: dir, source })?;
    }
    Ok(())
}

/// Whether a restore was cut off here.
pub fn is_restoring(state_dir: &Path) -> bool {
    state_dir.join(RESTORING).exists()
}

/// Ends a restore, after its last file.
///
/// # Errors
/// [`BackupError::File`].
pub fn end_restore(state_dir: &Path) -> Result<(), BackupError> {
    let path = state_dir.join(RESTORING);
    let removed = fs::remove_file(&path).and_then(|()| fs::File::open(state_dir)?.sync_all());
    removed.map_err(|source| BackupError::File { path, source })
}

fn history_files(entries: &Entries) -> impl Iterator<Item = (&str, &[u8])> {
    entries.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(HISTORY)?, bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use twinhub_history::{Row, Store};
    use twinhub_model::{Epoch, Quality, SampleFlags, Timestamp, Value};

    use super::*;

    const PASSPHRASE: &str = "a long passphrase";

    fn made() -> Vec<u8> {
        let entries = Entries::from([
            ("config/twinhub.toml".to_owned(), b"version = 1\n".to_vec()),
            ("pki/ca.key".to_owned(), b"very secret".to_vec()),
        ]);
        let header = Header { site: "Hotel".into(), version: "0.1.0".into(), ..Header::default() };
        seal(header, &entries, PASSPHRASE).unwrap()
    }

    /// After each step the machine dies; the same restore goes through then, and history and documents are those of one that
    /// went through at once.
    #[test]
    fn a_restore_that_was_cut_off_after_any_step_is_repeated() {
        let past = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(StoreOptions::new(past.path())).unwrap();
        let at = Position::new(Epoch(9), 5);
        let slot = store.slot("plc/a");
        let (time, value, quality) = (Timestamp(7), Value::I64(3), Quality::GOOD);
        let flags = SampleFlags::default();
        let row = Row { source: time, server: time, value, quality, flags, position: at, place: 0 };
        store.append("site", at, [(slot, row)]);
        store.seal().unwrap();
        let files = store.reader().snapshot(u64::MAX).unwrap().files;
        let entries: Entries =
            files.into_iter().map(|(name, bytes)| (format!("{HISTORY}{name}"), bytes)).collect();
        let header = Header { group: "site".into(), ..Header::default() };
        for steps in 0..=4 {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("main");
            let run = |steps: u32| {
                let result: [&dyn Fn() -> Result<(), BackupError>; 4] = [
                    &|| begin_restore(&state, &entries),
                    &|| restore_history(&state, &entries).map(|rows| assert_eq!(rows, 1)),
                    &|| restore_documents(&state, &header, &entries),
                    &|| end_restore(&state),
                ];
                result.into_iter().take(steps as usize).try_for_each(|step| step())
            };
            run(steps).unwrap();
            assert_eq!(is_restoring(&state), (1..4).contains(&steps));
            if steps == 4 {
                let said = run(4).unwrap_err().to_string();
                assert!(said.contains("has a history already"), "{said}");
                assert!(!is_restoring(&state), "nothing was written");
            } else {
                run(4).unwrap();
            }
            let (store, recovery) = Store::open(StoreOptions::new(state.join("history"))).unwrap();
            assert_eq!((recovery.rows, store.cursor("site")), (1, Position::START));
        }
    }

    #[test]
    fn only_the_passphrase_opens_a_backup_and_nothing_shows() {
        let file = made();
        assert_eq!(look(&file).unwrap().site, "Hotel");
        assert!(!file.windows(6).any(|bytes| bytes == b"secret"));
        let (_, entries) = open(&file, PASSPHRASE).unwrap();
        assert_eq!(entries["pki/ca.key"], b"very secret");
        assert!(matches!(open(&file, "another passphrase"), Err(BackupError::WrongPassphrase)));
        assert!(matches!(
            seal(Header::default(), &Entries::new(), "short"),
            Err(BackupError::ShortPassphrase)
        ));
    }

    #[test]
    fn every_damage_is_found_before_the_passphrase_is_asked() {
        let file = made();
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 1;
            assert!(
                matches!(look(&damaged), Err(BackupError::NoBackup | BackupError::Damaged { .. })),
                "{place}"
            );
        }
        for length in 0..file.len() {
            assert!(look(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_backup_of_a_newer_version_is_refused() {
        let header = Header { version: "99.0.0".into(), ..Header::default() };
        let file = seal(header, &Entries::new(), PASSPHRASE).unwrap();
        assert!(matches!(look(&file), Err(BackupError::Newer { version }) if version == "99.0.0"));
        assert!(!is_newer(env!("CARGO_PKG_VERSION")) && !is_newer("0.0.9") && is_newer("99.0"));
    }
}
