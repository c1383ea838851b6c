//! Reading records that were set aside, for a node that takes them in.
//!
//! What [`Journal::truncate_after`] set aside at one place is one [`Aside`], in as many files as the journal had it in.
//! A crash while records were set aside may have left them twice; they come once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use twinhub_model::Position;

use super::scan::{Scanner, Step};
use super::segment::{HEADER_BYTES, Header, before, follows};
use super::{Damage, Journal};
use crate::StoreError;
use crate::error::io_error;
use crate::medium::sync_dir;

/// Records that were set aside behind one place of the journal.
#[derive(Debug)]
pub struct Aside {
    common: Position,
    files: Vec<AsideFile>,
    cursor: Cursor,
}

#[derive(Debug)]
struct AsideFile {
    path: PathBuf,
    header: Header,
    bytes: u64,
}

/// Where reading goes on.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// The last record that was handed out, or what was asked for.
    at: Position,
    file: usize,
    offset: u64,
    /// The last record before `offset`, whether it was handed out or not.
    prior: Position,
}

/// How a read of records that were set aside ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsideRead {
    /// Hash of the dictionary that explains what was handed out.
    pub dictionary: u64,
    /// Nothing follows.
    pub is_complete: bool,
    /// Bytes that follow, about.
    pub remaining_bytes: u64,
    /// Places that are damaged; what stood there is left out.
    pub damaged: u64,
    /// The record before the first one that was handed out is not there, and neither are others before it.
    pub is_behind_gap: bool,
}

impl Journal {
    /// What was set aside and is still there, in the order of its places; and files of it that cannot be read.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn asides(&self) -> Result<(Vec<Aside>, Vec<Damage>), StoreError> {
        list(&self.options.dir)
    }
}

impl Aside {
    /// The last record that this journal and that of the active node had in common.
    pub const fn common(&self) -> Position {
        self.common
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// When the last of its files was written; `None` if the disk does not say.
    pub fn written(&self) -> Option<SystemTime> {
        let times = self.files.iter().map(|file| fs::metadata(&file.path).and_then(|found| found.modified()));
        times.collect::<Result<Vec<_>, _>>().ok()?.into_iter().max()
    }

    /// Deletes the files.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the files that are left are there still.
    pub fn delete(self) -> Result<(), StoreError> {
        for AsideFile { path, .. } in &self.files {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error("delete", path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let dirs = self.files.first().and_then(|file| file.path.parent());
        dirs.map_or(Ok(()), |dir| sync_dir(dir).map_err(io_error("sync folder", dir)))
    }

    /// Forgets files that somebody removed. What stood in them is a gap.
    pub fn forget_removed(&mut self) {
        self.files.retain(|file| !matches!(file.path.try_exists(), Ok(false)));
        self.cursor =
            Cursor { at: self.common, file: 0, offset: HEADER_BYTES as u64, prior: Position::START };
    }

    /// Hands out records behind `after` in order: about `bytes_max`, and at least one if there is one. It stops where the
    /// dictionary changes and before a gap. Cheap where it goes on behind what it handed out last.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a file cannot be read.
    pub fn read_after(
        &mut self,
        after: Position,
        bytes_max: usize,
        visit: &mut dyn FnMut(Position, &[u8]),
    ) -> Result<AsideRead, StoreError> {
        if self.cursor.at != after {
            let file = self.first_with(after);
            self.cursor = Cursor { at: after, file, offset: HEADER_BYTES as u64, prior: Position::START };
        }
        let mut read = AsideRead::default();
        while self.cursor.file < self.files.len() {
            if self.read_file(bytes_max, &mut read, visit)? {
                read.remaining_bytes = self.remaining();
                return Ok(read);
            }
            self.cursor.file += 1;
            self.cursor.offset = HEADER_BYTES as u64;
        }
        read.is_complete = true;
        Ok(read)
    }

    /// The first file that may hold something behind this place: one that begins later and not behind it has what stands
    /// before, too. Copies of one file begin alike; of them none is passed over.
    fn first_with(&self, after: Position) -> usize {
        let begins_before = self.files.partition_point(|file| file.header.first <= after);
        let last = begins_before.checked_sub(1).map(|number| self.files[number].header.first);
        self.files.partition_point(|file| last.is_some_and(|last| file.header.first < last))
    }

    fn remaining(&self) -> u64 {
        let all: u64 = self.files.iter().skip(self.cursor.file).map(|file| file.bytes).sum();
        all.saturating_sub(self.cursor.offset)
    }

    /// Reads on in one file; whether anything was handed out.
    fn read_file(
        &mut self,
        bytes_max: usize,
        read: &mut AsideRead,
        visit: &mut dyn FnMut(Position, &[u8]),
    ) -> Result<bool, StoreError> {
        let AsideFile { path, header, bytes } = &self.files[self.cursor.file];
        let file = File::open(path).map_err(io_error("open", path))?;
        let is_begin = self.cursor.offset == HEADER_BYTES as u64;
        let base = if is_begin { before(header.first) } else { self.cursor.prior };
        let mut scanner = Scanner::new(&file, self.cursor.offset, *bytes, base, SCAN_BLOCK_BYTES);
        let mut handed = 0;
        loop {
            match scanner.step().map_err(io_error("read", path))? {
                Step::Entry { position, offset, body } => {
                    let end = offset + (super::ENTRY_HEADER_BYTES + body.len()) as u64;
                    if position > self.cursor.at {
                        let is_next = follows(self.cursor.at, position);
                        if handed > 0 && (!is_next || handed + body.len() > bytes_max) {
                            self.cursor.offset = offset;
                            return Ok(true);
                        }
                        let is_cut_off = header.is_restart && self.cursor.at == header.previous;
                        read.is_behind_gap |= !is_next || is_cut_off;
                        handed += body.len().max(1);
                        read.dictionary = header.dictionary;
                        self.cursor.at = position;
                        visit(position, body);
                    }
                    self.cursor.offset = end;
                    self.cursor.prior = position;
                }
                Step::Damage { .. } => read.damaged += 1,
                Step::End => return Ok(handed > 0),
            }
        }
    }
}

fn list(dir: &Path) -> Result<(Vec<Aside>, Vec<Damage>), StoreError> {
    let mut found: BTreeMap<String, Vec<AsideFile>> = BTreeMap::new();
    let mut damaged = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(stem_of) else { continue };
        let mut start = Vec::new();
        let file = File::open(&path).map_err(io_error("open", &path))?;
        let bytes = file.metadata().map_err(io_error("read", &path))?.len();
        file.take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(io_error("read", &path))?;
        match Header::decode(&path, &start)? {
            Ok(header) => {
                let stem = stem.to_owned();
                found.entry(stem).or_default().push(AsideFile { path, header, bytes });
            }
            Err(what) => damaged.push(Damage { file: path, offset: 0, what: what.to_owned() }),
        }
    }
    let mut asides: Vec<Aside> = found.into_values().map(aside_of).collect();
    asides.sort_by_key(|aside| aside.common);
    Ok((asides, damaged))
}

/// Whether records that were set aside are explained by the dictionary with this hash. It is kept in doubt.
pub(super) fn needs(dir: &Path, hash: u64) -> bool {
    list(dir).map_or(true, |(asides, damaged)| {
        let mut files = asides.iter().flat_map(|aside| &aside.files);
        !damaged.is_empty() || files.any(|file| file.header.dictionary == hash)
    })
}

fn aside_of(mut files: Vec<AsideFile>) -> Aside {
    files.sort_by(|one, other| (one.header.first, &one.path).cmp(&(other.header.first, &other.path)));
    let common = files.iter().map(|file| file.header.previous).min().unwrap_or_default();
    // No record stands at this place: the first read begins at the beginning.
    let cursor = Cursor { at: common, file: 0, offset: HEADER_BYTES as u64, prior: Position::START };
    Aside { common, files, cursor }
}

/// What the names of the files of one place have in common: `fork-3.0-17` of `fork-3.0-17.2.journal`.
fn stem_of(name: &str) -> Option<&str> {
    let rest = name.strip_suffix(".journal")?;
    if !rest.starts_with("fork-") {
        return None;
    }
    // The epoch has a point of its own; a number behind the place stands behind the last hyphen.
    let place = rest.rfind('-')?;
    let end = rest[place..].find('.').map_or(rest.len(), |point| place + point);
    Some(&rest[..end])
}

const SCAN_BLOCK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_place_are_known_by_their_names() {
        assert_eq!(stem_of("fork-3.0-17.journal"), Some("fork-3.0-17"));
        assert_eq!(stem_of("fork-3.0-17.2.journal"), Some("fork-3.0-17"));
        assert_eq!(stem_of("fork-3.0-17.12.journal"), Some("fork-3.0-17"));
        for other in ["0000000000000300-0000000000000001.journal", "fork-3.0-17.journal.new", "journal.lock"]
        {
            assert_eq!(stem_of(other), None, "{other}");
        }
    }
}
