//! What is found in a journal's folder when it is opened.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use twinhub_model::{Epoch, Position};

use super::damage::{Damage, Hole};
use super::scan::{Scanner, Step};
use super::segment::{HEADER_BYTES, Header, Segment, before, follows, parse_file_name};
use crate::StoreError;
use crate::error::io_error;
use crate::medium::sync_dir;

/// What [`Journal::open`](super::Journal::open) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The last record.
    pub last: Position,
    /// Bytes cut from the end because a write was interrupted; a copy is in a `*.damaged` file.
    pub truncated_bytes: u64,
    /// Files of the journal.
    pub segments: usize,
    /// What was damaged. The records in it are lost on this node; everything around it can be read.
    pub damaged: Vec<Damage>,
}

#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) epochs: BTreeMap<Epoch, u64>,
    pub(crate) recovery: Recovery,
    pub(crate) holes: Vec<Hole>,
    /// The file before ends in damage that was reported.
    is_end_damaged: bool,
}

/// Reads every file. Changes only the last one: an unfinished end is set aside.
pub(crate) fn recover(dir: &Path) -> Result<Found, StoreError> {
    let mut found = Found {
        segments: VecDeque::new(),
        epochs: BTreeMap::new(),
        recovery: Recovery { last: Position::START, truncated_bytes: 0, segments: 0, damaged: Vec::new() },
        holes: Vec::new(),
        is_end_damaged: false,
    };
    let names = segment_names(dir)?;
    for (number, (first, path)) in names.iter().enumerate() {
        read_segment(&mut found, path, *first, number + 1 == names.len())?;
    }
    found.recovery.segments = found.segments.len();
    Ok(found)
}

fn segment_names(dir: &Path) -> Result<Vec<(Position, PathBuf)>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let entry = entry.map_err(io_error("list", dir))?;
        if let Some(first) = entry.file_name().to_str().and_then(parse_file_name) {
            names.push((first, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

fn read_segment(found: &mut Found, path: &Path, first: Position, is_last: bool) -> Result<(), StoreError> {
    let file = OpenOptions::new().read(true).write(is_last).open(path).map_err(io_error("open", path))?;
    let length = file.metadata().map_err(io_error("read", path))?.len();
    let mut start = Vec::new();
    (&file).take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(io_error("read", path))?;
    let before_it = found.recovery.last;
    let is_explained = std::mem::take(&mut found.is_end_damaged);
    let mut is_whole_file = false;
    let header = match Header::decode(path, &start)? {
        Ok(header) => {
            if header.previous != before_it && !header.is_restart {
                // Of the end of the file before, or of files in between.
                let file = found.segments.back().filter(|_| is_explained).map(|segment| segment.path.clone());
                if !found.segments.is_empty() {
                    found.hole(before_it, header.first, file, false);
                }
            }
            if header.previous != before_it
                && !found.segments.is_empty()
                && !header.is_restart
                && !is_explained
            {
                found.damage(
                    path,
                    0,
                    format!("records after {before_it} up to {} are missing", header.previous),
                );
            }
            header
        }
        Err(_) if is_last && length <= HEADER_BYTES as u64 => {
            set_aside(&file, path, 0, length)?;
            fs::remove_file(path).map_err(io_error("remove", path))?;
            found.recovery.truncated_bytes += length;
            return Ok(());
        }
        Err(what) => {
            found.damage(path, 0, what.to_owned());
            is_whole_file = true;
            let previous = if follows(before_it, first) { before_it } else { before(first) };
            Header { first, previous, dictionary: 0, is_restart: false }
        }
    };
    let mut segment =
        Segment { path: path.to_owned(), is_created: true, ..Segment::new(Path::new(""), header) };
    note_epoch(&mut found.epochs, header.previous);
    let mut last = header.previous;
    let mut scanner =
        Scanner::new(&file, HEADER_BYTES as u64, length, before(header.first), SCAN_BLOCK_BYTES);
    let mut is_behind_damage = false;
    loop {
        match scanner.step().map_err(io_error("read", path))? {
            Step::Entry { position, offset, body } => {
                if !follows(last, position) && !is_behind_damage {
                    found.damage(path, offset, format!("records after {last} are missing before {position}"));
                }
                if (!follows(last, position) || is_behind_damage) && !is_whole_file {
                    found.hole(last, position, Some(path.to_owned()), false);
                }
                is_behind_damage = false;
                last = position;
                segment.note(position, offset, (super::segment::ENTRY_HEADER_BYTES + body.len()) as u64);
                note_epoch(&mut found.epochs, position);
            }
            Step::Damage { offset, resume: None, .. } if is_last => {
                set_aside(&file, path, offset, length)?;
                file.set_len(offset).map_err(io_error("cut", path))?;
                found.recovery.truncated_bytes += length - offset;
                segment.bytes = offset;
                break;
            }
            Step::Damage { offset, what, resume } => {
                let end = resume.unwrap_or(length);
                found.damage(path, offset, format!("{what}; {} bytes cannot be read", end - offset));
                is_behind_damage = true;
                segment.bytes = end;
                if resume.is_none() {
                    found.is_end_damaged = true;
                    break;
                }
            }
            Step::End => break,
        }
    }
    if is_last {
        file.sync_all().map_err(io_error("sync", path))?;
    }
    if segment.index.is_empty() && is_last {
        fs::remove_file(path).map_err(io_error("remove", path))?;
        return Ok(());
    }
    if is_whole_file {
        let behind = Position::new(last.epoch, last.seq.saturating_add(1));
        found.hole(header.previous, behind, Some(path.to_owned()), true);
    }
    segment.last = last;
    found.recovery.last = found.recovery.last.max(last);
    found.segments.push_back(segment);
    Ok(())
}

/// Copies the bytes from `offset` on to a file beside, before they are cut.
fn set_aside(file: &File, path: &Path, offset: u64, length: u64) -> Result<(), StoreError> {
    if length == offset {
        return Ok(());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{offset}.damaged"));
    let aside = PathBuf::from(name);
    let copy = || -> io::Result<()> {
        let mut source = file;
        source.seek(SeekFrom::Start(offset))?;
        let mut target = File::create(&aside)?;
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    if let Err(error) = copy() {
        // A full disk must not keep the node from starting: these bytes were never acknowledged.
        tracing::warn!(file = %aside.display(), %error, "the unfinished end of the journal was not kept");
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    sync_dir(dir).map_err(io_error("sync folder", dir))
}

/// Notes the greatest number seen in an epoch.
pub(crate) fn note_epoch(epochs: &mut BTreeMap<Epoch, u64>, position: Position) {
    if position != Position::START {
        let seq = epochs.entry(position.epoch).or_default();
        *seq = position.seq.max(*seq);
    }
}

impl Found {
    fn hole(&mut self, after: Position, before: Position, file: Option<PathBuf>, is_whole_file: bool) {
        self.holes.push(Hole { after, before, file, is_whole_file });
    }

    fn damage(&mut self, path: &Path, offset: u64, what: String) {
        self.recovery.damaged.push(Damage { file: path.to_owned(), offset, what });
    }
}

const SCAN_BLOCK_BYTES: usize = 1024 * 1024;
