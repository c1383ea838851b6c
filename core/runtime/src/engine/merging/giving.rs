//! What a node gives of the records that it set aside, numbered as the active node numbers its items.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{ItemId, ItemKey, Moment, NodeRank, Part, Position, Record};
use twinhub_replica::{EntryBatch, MergeId, Message, OFFERED_FILES_MAX, Page};
use twinhub_store::{Aside, StateFile, StoreError, StoredState};

use super::PROTOCOL_WITH_MERGES;
use crate::clock;
use crate::engine::Engine;
use crate::engine::translation::Translation;

/// An offer that is not taken up is made again.
const OFFER_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that are given at once: small, so that neither side's engine is busy with it for long.
const GIVEN_BYTES: usize = 64 * 1024;

/// Pieces that a part kept are read once for all questions after them: so long after the last one.
const READ_MAX: Duration = Duration::from_secs(10);

/// What a part kept, as its file has it.
#[derive(Debug)]
pub(super) struct ReadPieces {
    common: Position,
    part: Part,
    pieces: Vec<Vec<u8>>,
    until: Moment,
}

impl Engine {
    /// Stores what parts say of records that are about to be set aside: the copy that follows replaces it.
    pub(crate) fn store_parts_of_fork(&mut self, common: Position) -> Result<(), StoreError> {
        for (part, mut pieces) in self.parts.fork(common) {
            let file = self.pieces_file(common, part);
            if let Ok(Some(before)) = file.load() {
                // It was tried before, or the journal went its own way at this place twice.
                pieces.retain(|piece| !before.pieces.contains(piece));
                pieces.splice(0..0, before.pieces);
            }
            file.store(&StoredState { at: common, pieces })?;
        }
        Ok(())
    }

    pub(super) fn pieces_file(&self, common: Position, part: Part) -> StateFile {
        StateFile::new(self.merging.dir.join(pieces_name(common, part)))
    }

    /// Offers the oldest of what was set aside to the active node, once this one has everything from it.
    pub(super) fn offer_aside(&mut self, now: Moment) {
        if now < self.merging.offered_at + OFFER_INTERVAL {
            return;
        }
        let Some(peer) = self.replication.in_sync_with() else { return };
        if self.replication.protocol_of(peer) < PROTOCOL_WITH_MERGES {
            return;
        }
        let Some((number, _)) = self.own_aside(now) else { return };
        self.merging.offered_at = now;
        let aside = &self.merging.asides[number];
        let (common, bytes, files) = (aside.common(), aside.bytes(), names_of(aside));
        self.send(peer, &Message::Offer { stream: 0, common, bytes, files });
    }

    /// The active node wants some of it.
    pub(crate) fn on_take(&mut self, peer: NodeRank, stream: u32, common: Position, after: Position) {
        let incoming = self.replication.incoming();
        let theirs = if incoming == 0 { self.own_dictionary } else { incoming };
        let (dictionary, page, batch) = self.give(common, after, theirs);
        self.send(peer, &Message::Given { stream, dictionary, page, batch });
    }

    /// The active node wants a piece of what a part kept.
    pub(crate) fn on_take_piece(
        &mut self,
        peer: NodeRank,
        stream: u32,
        common: Position,
        part: Part,
        number: u32,
    ) {
        let (total, bytes) = self.give_piece(common, part, number);
        self.send(peer, &Message::GivenPiece { stream, total, bytes });
    }

    /// How many pieces of a part there are, and one of them: nothing if it cannot be read.
    pub(crate) fn give_piece(&mut self, common: Position, part: Part, number: u32) -> (u32, Vec<u8>) {
        let is_read =
            self.merging.read.as_ref().is_some_and(|read| (read.common, read.part) == (common, part));
        if !is_read {
            let pieces = match self.pieces_file(common, part).load() {
                Ok(stored) => stored.map(|stored| stored.pieces).unwrap_or_default(),
                Err(error) => {
                    tracing::error!(%error, "what was kept of records that were set aside cannot be read");
                    // There are some, and this one is not given.
                    return (number.saturating_add(1), Vec::new());
                }
            };
            self.merging.read = Some(ReadPieces { common, part, pieces, until: clock::now() });
        }
        let Some(read) = &mut self.merging.read else { return (0, Vec::new()) };
        read.until = clock::now() + READ_MAX;
        let total = u32::try_from(read.pieces.len()).unwrap_or(u32::MAX);
        let piece = read.pieces.get(number as usize).cloned().unwrap_or_default();
        if number.saturating_add(1) >= total {
            self.merging.read = None;
        }
        (total, piece)
    }

    /// Nobody wants the rest of it.
    pub(super) fn forget_pieces(&mut self, now: Moment) {
        self.merging.read.take_if(|read| now >= read.until);
    }

    /// Records that were set aside at `common` behind `after`, in the handles of the dictionary `theirs`. Nothing, and not
    /// complete, if they cannot be given.
    pub(super) fn give(&mut self, common: Position, after: Position, theirs: u64) -> (u64, Page, EntryBatch) {
        let nothing = (0, Page::default(), EntryBatch::new());
        let mut asides = std::mem::take(&mut self.merging.asides);
        let given = asides.iter_mut().find(|aside| aside.common() == common).map(|aside| {
            self.give_of(aside, after, theirs).inspect_err(|error| {
                tracing::error!(%error, "records that were set aside cannot be read");
                // Who removed a file does not want it to be taken in.
                aside.forget_removed();
            })
        });
        asides.retain(|aside| aside.files().next().is_some());
        self.merging.asides = asides;
        match given {
            Some(Ok(given)) => given,
            Some(Err(_)) => {
                let id = MergeId { node: self.shared.node.clone(), common };
                self.merging.fail(&id, clock::now());
                nothing
            }
            None => nothing,
        }
    }

    fn give_of(
        &mut self,
        aside: &mut Aside,
        after: Position,
        theirs: u64,
    ) -> Result<(u64, Page, EntryBatch), StoreError> {
        let mut batch = EntryBatch::new();
        let read = aside.read_after(after, GIVEN_BYTES, &mut |at, body| batch.push(at, body))?;
        let mut page = Page {
            is_complete: read.is_complete,
            is_behind_gap: read.is_behind_gap,
            remaining_bytes: read.remaining_bytes,
            damaged: read.damaged,
            unknown: 0,
        };
        if !batch.is_empty() && read.dictionary != theirs {
            let translation = self.translation_between(read.dictionary, theirs)?;
            (batch, page.unknown) = translate(&batch, &translation);
        }
        Ok((theirs, page, batch))
    }

    fn translation_between(&mut self, from: u64, to: u64) -> Result<Arc<Translation>, StoreError> {
        if let Some(known) = self.merging.translations.get(&(from, to)) {
            return Ok(Arc::clone(known));
        }
        let (ours, theirs) = (self.journal.dictionary(from)?, self.journal.dictionary(to)?);
        let mut by_key: Vec<(&ItemKey, ItemId)> = theirs.iter().map(|(item, key)| (key, *item)).collect();
        by_key.sort_unstable();
        let find = |key: &ItemKey| {
            let place = by_key.binary_search_by(|(known, _)| (*known).cmp(key)).ok()?;
            Some(by_key[place].1)
        };
        let translation = Arc::new(Translation::by(&ours, &find));
        self.merging.translations.insert((from, to), Arc::clone(&translation));
        Ok(translation)
    }
}

/// The records in other handles, and how many values and commands have no item there. A record of which nothing is left
/// stays as one that says nothing, so that the numbers have no gap.
fn translate(batch: &EntryBatch, translation: &Translation) -> (EntryBatch, u64) {
    let (mut out, mut unknown, mut body) = (EntryBatch::new(), 0, Vec::new());
    for (at, bytes) in batch.iter() {
        let Ok(record) = twinhub_wire::record::decode(bytes) else {
            out.push(at, bytes);
            continue;
        };
        let before = items_in(&record);
        let here = translation.apply(record);
        unknown += before - here.as_ref().map_or(0, items_in);
        body.clear();
        twinhub_wire::record::encode(&here.unwrap_or_else(|| Record::Samples([].into())), &mut body);
        out.push(at, &body);
    }
    (out, unknown)
}

fn items_in(record: &Record) -> u64 {
    match record {
        Record::Samples(samples) => samples.len() as u64,
        Record::Intent(_) => 1,
        Record::Merged(merged) => items_in(&merged.record),
        Record::Dictionary(_)
        | Record::Result(_)
        | Record::Delivered(_)
        | Record::Role(_)
        | Record::Event(_)
        | Record::Part(_) => 0,
    }
}

/// The name of the file in which a part keeps what it had.
pub(super) fn pieces_name(common: Position, part: Part) -> String {
    format!("fork-{}-{}.{}", common.epoch, common.seq, part.name())
}

pub(super) fn names_of(aside: &Aside) -> Vec<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    aside.files().filter_map(name).take(OFFERED_FILES_MAX).collect()
}
