//! What a library is, read from its file. None of its code runs.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use ring::digest;
use twinhub_contract::constants::{MANIFEST_SECTION_MACHO, MANIFEST_SECTION_PE};
use twinhub_contract::{ENTRY_SYMBOL, MAGIC, MANIFEST_SECTION, Manifest, build};

use crate::error::{LoadError, Refused};

/// SHA-256 of a file as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hex(String);

impl Sha256Hex {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(64);
        for byte in digest::digest(&digest::SHA256, bytes).as_ref() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        Self(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a library says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Hash of the file.
    pub sha256: Sha256Hex,
    /// Size of the file.
    pub bytes: u64,
    /// The declaration.
    pub manifest: Manifest,
    /// The entry's numbers, `None` if the entry is not exported or not in the file's data.
    pub entry: Option<EntryNumbers>,
}

/// The part of an entry that needs no relocation, and so can be read from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryNumbers {
    /// Must be [`MAGIC`].
    pub magic: u64,
    /// Size of the entry.
    pub size: u32,
    /// Contract version.
    pub abi: u32,
    /// Bits of [`build`].
    pub build_flags: u32,
}

impl Inspection {
    /// Whether this process could load it, as far as can be said without running code of it.
    ///
    /// # Errors
    /// If it is made for another version of the contract, or would end the process with its first panic.
    pub fn check(&self) -> Result<(), LoadError> {
        self.entry.map_or(Ok(()), |numbers| refuse_entry(&self.path, numbers))
    }
}

impl EntryNumbers {
    /// Contract version as `(major, minor)`.
    pub fn version(&self) -> (u32, u32) {
        (self.abi >> 16, self.abi & 0xFFFF)
    }

    /// Whether a panic is caught inside the library.
    pub fn unwinds(&self) -> bool {
        self.build_flags & build::UNWIND != 0
    }
}

/// The manifest of a library and the hash of its file, without running code of it.
///
/// # Errors
/// If the file cannot be read, is not a library, or its manifest is missing or wrong.
pub fn read_manifest(path: impl AsRef<Path>) -> Result<(Manifest, Sha256Hex), LoadError> {
    let inspection = inspect(path)?;
    Ok((inspection.manifest, inspection.sha256))
}

/// As [`read_manifest`], with the numbers of the entry. A library of another contract version is not an error here.
///
/// # Errors
/// As [`read_manifest`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, LoadError> {
    let path = path.as_ref();
    inspect_bytes(path, &read(path)?)
}

/// As [`inspect`], with what `check` says of it, which is given the bytes that were hashed, too.
///
/// # Errors
/// As [`inspect`]; [`LoadError::Refused`] with what `check` says.
pub fn inspect_checked<T>(
    path: impl AsRef<Path>,
    check: impl FnOnce(&Inspection, &[u8]) -> Result<T, Refused>,
) -> Result<(Inspection, T), LoadError> {
    let path = path.as_ref();
    let bytes = read(path)?;
    let inspection = inspect_bytes(path, &bytes)?;
    let checked = check(&inspection, &bytes).map_err(LoadError::Refused)?;
    Ok((inspection, checked))
}

/// The whole file, once: what is hashed, checked and copied is the same.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let refused = |source| LoadError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(refused(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let too_large = |bytes| LoadError::TooLarge { path: path.to_path_buf(), bytes, limit: FILE_BYTES_MAX };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    let length = bytes.len() as u64;
    if length > FILE_BYTES_MAX { Err(too_large(length)) } else { Ok(bytes) }
}

pub(crate) fn inspect_bytes(path: &Path, bytes: &[u8]) -> Result<Inspection, LoadError> {
    let damaged = |source| LoadError::NotALibrary { path: path.to_path_buf(), source };
    let file = object::File::parse(bytes).map_err(damaged)?;
    let section = [MANIFEST_SECTION, MANIFEST_SECTION_MACHO, MANIFEST_SECTION_PE]
        .iter()
        .find_map(|name| file.section_by_name(name))
        .ok_or_else(|| LoadError::NoManifest { path: path.to_path_buf() })?;
    let text = section.data().map_err(damaged)?;
    // A C compiler ends a string with NUL, a linker may align a section.
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let manifest = Manifest::parse(&text[..end])
        .map_err(|source| LoadError::Manifest { path: path.to_path_buf(), source })?;
    Ok(Inspection {
        path: path.to_path_buf(),
        sha256: Sha256Hex::of(bytes),
        bytes: bytes.len() as u64,
        manifest,
        entry: entry_numbers(&file),
    })
}

/// Names a library exports, as its dynamic symbol table says.
///
/// # Errors
/// If the file cannot be read or is not a library.
pub fn exported_symbols(path: impl AsRef<Path>) -> Result<Vec<String>, LoadError> {
    let path = path.as_ref();
    let bytes = read(path)?;
    let damaged = |source| LoadError::NotALibrary { path: path.to_path_buf(), source };
    let file = object::File::parse(&*bytes).map_err(damaged)?;
    let exports = file.exports().map_err(damaged)?;
    Ok(exports.iter().map(|export| String::from_utf8_lossy(export.name()).into_owned()).collect())
}

fn entry_numbers(file: &object::File<'_>) -> Option<EntryNumbers> {
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.is_definition() && symbol.name_bytes() == Ok(ENTRY_SYMBOL.as_bytes()))?;
    let address = symbol.address();
    let data = file.sections().find_map(|section| {
        let offset = address.checked_sub(section.address()).filter(|offset| *offset < section.size())?;
        section.data().ok()?.get(usize::try_from(offset).ok()?..)
    })?;
    let word = |at: usize| data.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    Some(EntryNumbers {
        magic: data.get(..8)?.try_into().ok().map(u64::from_ne_bytes)?,
        size: word(8)?,
        abi: word(12)?,
        build_flags: word(16)?,
    })
}

/// What of an entry's numbers makes a library unfit for this process.
pub(crate) fn refuse_entry(path: &Path, numbers: EntryNumbers) -> Result<(), LoadError> {
    let path = path.to_path_buf();
    if numbers.magic != MAGIC {
        let what = format!("magic is {:#018x}, expected {MAGIC:#018x}", numbers.magic);
        return Err(LoadError::BadEntry { path, what });
    }
    let (major, minor) = numbers.version();
    if !(twinhub_contract::ABI_MAJOR_OLDEST..=twinhub_contract::ABI_MAJOR).contains(&major) {
        return Err(LoadError::OtherAbi { path, major, minor });
    }
    let expected = size_of::<twinhub_contract::Entry>();
    if (numbers.size as usize) < expected {
        let what = format!("its size is {}, expected at least {expected}", numbers.size);
        return Err(LoadError::BadEntry { path, what });
    }
    if !numbers.unwinds() {
        return Err(LoadError::AbortsOnPanic { path });
    }
    Ok(())
}

/// Largest file taken for a plugin; the largest known ones have 4 MB.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
