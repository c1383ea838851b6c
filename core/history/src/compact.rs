//! Joining small files into larger ones, a little at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use twinhub_model::{Position, Timestamp};
use twinhub_store::Medium;

use crate::block::BLOCK_ROWS_MAX;
use crate::file::{BlockFile, Entry, FileWriter, Finished, Head, ItemRecord};
use crate::merge::{Merge, Part};
use crate::store::{Damage, Shared};
use crate::{HistoryError, Row, RowId};

/// So many neighbors of one size are joined into one of the next.
const JOINED: usize = 8;
/// Files below this are all of the smallest size.
const SMALL_BYTES: u64 = 64 * 1024;
/// A block with so many rows is not opened to make it fuller.
const FULL_ROWS: u64 = BLOCK_ROWS_MAX as u64 * 3 / 4;

/// The neighbors to join next; none if there are few.
pub(crate) fn choose(files: &[Arc<BlockFile>], bytes_max: u64) -> Vec<Arc<BlockFile>> {
    let size = |file: &Arc<BlockFile>| (file.bytes / SMALL_BYTES).checked_ilog(JOINED as u64).unwrap_or(0);
    let mut start = 0;
    while start < files.len() {
        let class = size(&files[start]);
        let same = files[start..].iter().take_while(|file| size(file) <= class).count();
        let run = &files[start..start + same.min(JOINED)];
        let total: u64 = run.iter().map(|file| file.bytes).sum();
        let of_class = run.iter().filter(|file| size(file) == class).count();
        if run.len() == JOINED && of_class * 4 > JOINED && total <= bytes_max {
            return run.to_vec();
        }
        start += 1;
    }
    Vec::new()
}

/// A join that is under way.
#[derive(Debug)]
pub(crate) struct Compaction {
    inputs: Vec<Input>,
    writer: FileWriter,
    shared: Arc<Shared>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    More,
    All,
}

#[derive(Debug)]
struct Input {
    file: Arc<BlockFile>,
    next: u64,
    item: Option<ItemRecord>,
}

impl Compaction {
    pub(crate) fn begin(
        medium: &Arc<dyn Medium>,
        dir: &Path,
        files: Vec<Arc<BlockFile>>,
        shared: Arc<Shared>,
    ) -> Result<Compaction, HistoryError> {
        let first = files.iter().map(|file| file.head.first).min().unwrap_or(0);
        let last = files.iter().map(|file| file.head.last).max().unwrap_or(0);
        let newest = files.last().map(|file| &file.head);
        let cursors = newest.map(|head| head.cursors.clone()).unwrap_or_default();
        let gaps = newest.map(|head| head.gaps.clone()).unwrap_or_default();
        let lives = newest.map(|head| head.lives.clone()).unwrap_or_default();
        let lows = lowest(&files);
        let writer = FileWriter::create(medium, dir, Head { first, last, cursors, gaps, lows, lives })?;
        let inputs = files.into_iter().map(|file| Input { file, next: 0, item: None }).collect();
        Ok(Compaction { inputs, writer, shared })
    }

    /// Joins items until about so many bytes are written.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<Done, HistoryError> {
        let until = self.writer.bytes() + bytes;
        while self.writer.bytes() < until {
            let Some((key, parts)) = self.next_item()? else { return Ok(Done::All) };
            self.join(&key, parts)?;
        }
        Ok(Done::More)
    }

    pub(crate) fn finish(self) -> Result<(Vec<Arc<BlockFile>>, Finished), HistoryError> {
        let finished = self.writer.finish()?;
        Ok((self.inputs.into_iter().map(|input| input.file).collect(), finished))
    }

    pub(crate) fn discard(self) {
        self.writer.discard();
    }

    /// The next item in the order of the hashes, with its blocks from all files.
    #[expect(clippy::type_complexity, reason = "a key and where its blocks are")]
    fn next_item(&mut self) -> Result<Option<(Arc<str>, Vec<(Arc<BlockFile>, Entry)>)>, HistoryError> {
        for input in &mut self.inputs {
            while input.item.is_none() && input.next < input.file.summary.items {
                let number = input.next;
                input.next += 1;
                match input.file.record(number) {
                    Ok(record) => input.item = Some(record),
                    Err(error @ HistoryError::Damaged { .. }) => self.shared.report(Damage::of(&error)),
                    Err(error) => return Err(error),
                }
            }
        }
        let order = |input: &Input| input.item.as_ref().map(|item| (item.hash, item.key.clone()));
        let Some(first) = self.inputs.iter().filter_map(order).min() else { return Ok(None) };
        let mut blocks = Vec::new();
        for input in &mut self.inputs {
            if input.item.as_ref().is_some_and(|item| (item.hash, item.key.as_str()) == (first.0, &first.1)) {
                let entries = input.item.take().map(|item| item.entries).unwrap_or_default();
                blocks.extend(entries.into_iter().map(|entry| (Arc::clone(&input.file), entry)));
            }
        }
        Ok(Some((Arc::from(first.1), blocks)))
    }

    /// Writes an item's blocks: full ones as they are, others as full ones.
    fn join(&mut self, key: &Arc<str>, mut blocks: Vec<(Arc<BlockFile>, Entry)>) -> Result<(), HistoryError> {
        blocks.sort_by_key(|(_, entry)| entry.stats.first);
        let mut gathered: Vec<Row> = Vec::new();
        let mut at = 0;
        while at < blocks.len() {
            let end = overlap_end(&blocks, at);
            if end == at + 1 && blocks[at].1.stats.rows >= FULL_ROWS {
                let (file, entry) = &blocks[at];
                match file.frame(entry) {
                    Ok(frame) => {
                        self.writer.rows(key, &gathered)?;
                        gathered.clear();
                        self.writer.copy(key, &frame, &entry.stats, file.summary.server)?;
                    }
                    Err(error @ HistoryError::Damaged { .. }) => self.shared.report(Damage::of(&error)),
                    Err(error) => return Err(error),
                }
            } else {
                let parts = blocks[at..end]
                    .iter()
                    .map(|(file, entry)| Part::Block(Arc::clone(file), *entry))
                    .collect();
                let mut merge = Merge::new(parts, RowId::at(Timestamp(i64::MIN)), Timestamp(i64::MAX));
                for row in &mut merge {
                    gathered.push(row);
                    if gathered.len() == BLOCK_ROWS_MAX {
                        self.writer.rows(key, &gathered)?;
                        gathered.clear();
                    }
                }
                for error in merge.take_failures() {
                    if !matches!(error, HistoryError::Damaged { .. }) {
                        return Err(error);
                    }
                    self.shared.report(Damage::of(&error));
                }
            }
            at = end;
        }
        self.writer.rows(key, &gathered)
    }
}

/// The lowest record of each group in any of the files; `None` if one does not say.
fn lowest(files: &[Arc<BlockFile>]) -> Option<Vec<(String, Position)>> {
    let mut lows: BTreeMap<&str, Position> = BTreeMap::new();
    for file in files {
        for (group, low) in file.head.lows.as_ref()? {
            let known = lows.entry(group).or_insert(*low);
            *known = (*known).min(*low);
        }
    }
    Some(lows.into_iter().map(|(group, low)| (group.to_owned(), low)).collect())
}

/// Where the blocks end that overlap with the one at `at`, directly or through others.
fn overlap_end(blocks: &[(Arc<BlockFile>, Entry)], at: usize) -> usize {
    let mut last = blocks[at].1.stats.last;
    let mut end = at + 1;
    while let Some((_, entry)) = blocks.get(end).filter(|(_, entry)| entry.stats.first <= last) {
        last = last.max(entry.stats.last);
        end += 1;
    }
    end
}
