//! ZIP archives in memory, with bounds on what is unpacked.
//!
//! Read is what ETS and spreadsheets write: entries that are stored or deflated, in the clear or protected by the old
//! cipher or by AES (the latter as WINZIP published it, AE-1 and AE-2). The directory at the end of the
//! file counts; ZIP64 is refused, since such a file would be beyond the limits anyway.
//!
//! Specification: APPNOTE.TXT of PKWARE, 6.3.x (4.3.7 local header, 4.3.12 directory, 4.3.16 end of it, 6.1 cipher).

mod cipher;

use std::collections::BTreeMap;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::error::Error;
use crate::format::Limits;
use crate::imported::Place;

/// An archive.
pub(crate) struct Archive<'a> {
    name: String,
    bytes: &'a [u8],
    entries: BTreeMap<String, Entry>,
}

/// How much may still be unpacked.
#[derive(Debug)]
pub(crate) struct Budget {
    file_max: u64,
    left: u64,
    limits: Limits,
}

/// What the directory says of a file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    method: u16,
    flags: u16,
    time: u16,
    crc: u32,
    packed: u32,
    unpacked: u32,
    header: u32,
    /// AE version, strength and the method behind the cipher.
    aes: Option<(u16, u8, u16)>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Budget {
        Budget { file_max: limits.unpacked_file_bytes_max, left: limits.unpacked_bytes_max, limits: *limits }
    }

    /// The limits that it was made of.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive called `name` in messages.
    pub(crate) fn open(name: &str, bytes: &'a [u8]) -> Result<Archive<'a>, Error> {
        let wrong = |what: &str| {
            Error::malformed(
                Place::file(name),
                what,
                "copy the file again; it has to be the file as exported",
            )
        };
        let end = find_end(bytes).ok_or_else(|| wrong("this is no ZIP archive, or its end is missing"))?;
        let count = u16_at(bytes, end + 10).unwrap_or(0);
        let mut at = u32_at(bytes, end + 16).map_or(usize::MAX, |at| at as usize);
        if at == u32::MAX as usize || count == u16::MAX {
            return Err(wrong("the archive has the format ZIP64"));
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (path, entry, next) =
                entry_at(bytes, at).ok_or_else(|| wrong("the directory of the archive is damaged"))?;
            if !path.ends_with('/') {
                entries.entry(path).or_insert(entry);
            }
            at = next;
        }
        Ok(Archive { name: name.to_owned(), bytes, entries })
    }

    /// The paths of all files, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Unpacks a file. An entry that is protected needs the password.
    pub(crate) fn unpack(
        &self,
        path: &str,
        password: Option<&[u8]>,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, Error> {
        let name = self.place(path);
        let damaged =
            |what: &str| Error::malformed(Place::file(&name), what, "copy or export the file again");
        let Some(entry) = self.entries.get(path) else {
            return Err(damaged("the archive does not have this file"));
        };
        let packed = self.packed(entry).ok_or_else(|| damaged("the file reaches beyond the archive"))?;
        let (max, limit) = (u64::from(entry.unpacked), budget.file_max.min(budget.left));
        if max > limit {
            return Err(Error::TooMuch {
                place: Place::file(&name),
                what: "the size of what is unpacked, in bytes,",
                limit,
                remedy: "check that it is the right file",
            });
        }
        let (clear, method, has_crc) = if entry.flags & ENCRYPTED == 0 {
            (packed.to_vec(), entry.method, true)
        } else {
            let file = self.name.clone();
            let Some(password) = password else { return Err(Error::PasswordNeeded { file }) };
            let opened = entry.open(packed, password);
            opened.ok_or(Error::PasswordWrong { file })?
        };
        let size = usize::try_from(max).unwrap_or(usize::MAX);
        let unpacked = match method {
            STORED => clear,
            DEFLATED => decompress_to_vec_with_limit(&clear, size).map_err(|_| {
                self.broken(entry, &name, "what is packed is damaged, or longer than it says")
            })?,
            other => return Err(damaged(&format!("the packing method {other} is not known"))),
        };
        let is_whole = unpacked.len() == size && (!has_crc || crc32fast::hash(&unpacked) == entry.crc);
        if !is_whole {
            return Err(self.broken(entry, &name, "length or checksum is not what the archive says"));
        }
        budget.left = budget.left.saturating_sub(max);
        Ok(unpacked)
    }

    /// A file of this archive, as messages show it.
    pub(crate) fn place(&self, path: &str) -> String {
        format!("{}!{path}", self.name)
    }

    /// With the old cipher one wrong password of 256 is found out only by what it makes of the file.
    fn broken(&self, entry: &Entry, name: &str, what: &str) -> Error {
        if entry.flags & ENCRYPTED != 0 && entry.method != AES {
            return Error::PasswordWrong { file: self.name.clone() };
        }
        Error::malformed(Place::file(name), what, "copy or export the file again")
    }

    fn packed(&self, entry: &Entry) -> Option<&'a [u8]> {
        let header = entry.header as usize;
        if u32_at(self.bytes, header)? != LOCAL_HEADER {
            return None;
        }
        let (name, extra) = (u16_at(self.bytes, header + 26)?, u16_at(self.bytes, header + 28)?);
        let start = header.checked_add(30 + usize::from(name) + usize::from(extra))?;
        self.bytes.get(start..start.checked_add(entry.packed as usize)?)
    }
}

impl Entry {
    /// Takes the cipher off; with the method of what is under it, and whether its checksum counts.
    fn open(&self, packed: &[u8], password: &[u8]) -> Option<(Vec<u8>, u16, bool)> {
        if self.method == AES {
            let (version, strength, method) = self.aes?;
            // AE-2 leaves the checksum out, which would tell something of short files.
            return Some((cipher::open_aes(packed, password, strength)?, method, version == 1));
        }
        let check = if self.flags & SIZES_BEHIND == 0 { self.crc >> 24 } else { u32::from(self.time >> 8) };
        Some((cipher::open_old(packed, password, u8::try_from(check).ok()?)?, self.method, true))
    }
}

/// The place of the last end record whose comment ends with the file.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(22)?;
    (last.saturating_sub(usize::from(u16::MAX))..=last).rev().find(|at| {
        u32_at(bytes, *at) == Some(END_RECORD)
            && u16_at(bytes, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) <= bytes.len())
    })
}

/// An entry of the directory, and where the next one is.
fn entry_at(bytes: &[u8], at: usize) -> Option<(String, Entry, usize)> {
    if u32_at(bytes, at)? != DIRECTORY_ENTRY {
        return None;
    }
    let lengths = [28, 30, 32].map(|offset| u16_at(bytes, at + offset).map(usize::from));
    let [name, extra, comment] = lengths;
    let (name_end, extra_len) = (at + 46 + name?, extra?);
    let path = String::from_utf8_lossy(bytes.get(at + 46..name_end)?).replace('\\', "/");
    let extra = bytes.get(name_end..name_end + extra_len)?;
    let entry = Entry {
        flags: u16_at(bytes, at + 8)?,
        method: u16_at(bytes, at + 10)?,
        time: u16_at(bytes, at + 12)?,
        crc: u32_at(bytes, at + 16)?,
        packed: u32_at(bytes, at + 20)?,
        unpacked: u32_at(bytes, at + 24)?,
        header: u32_at(bytes, at + 42)?,
        aes: aes_of(extra),
    };
    Some((path, entry, name_end + extra_len + comment?))
}

/// What the extra field of AES says.
fn aes_of(mut extra: &[u8]) -> Option<(u16, u8, u16)> {
    loop {
        let (id, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let field = extra.get(4..4 + length)?;
        if id == AES_FIELD {
            return Some((u16_at(field, 0)?, *field.get(4)?, u16_at(field, 5)?));
        }
        extra = extra.get(4 + length..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const END_RECORD: u32 = 0x0605_4b50;
/// Bits of the flags.
const ENCRYPTED: u16 = 1;
const SIZES_BEHIND: u16 = 8;
/// Methods.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const AES: u16 = 99;
const AES_FIELD: u16 = 0x9901;
