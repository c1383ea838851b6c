//! What a sender of replication reads: the journal, the item table, open commands and stream cursors.

use std::sync::Arc;

use twinhub_model::{Epoch, ItemId, Position, Record};
use twinhub_replica::{EntryBatch, Relation, SnapshotHead, TailEnd, TailRead, TailSource};
use twinhub_store::{Journal, ReadEnd};
use twinhub_wire::record::placeholder;

use super::parts::Parts;
use super::tracker::Tracker;
use crate::table::ItemTable;

/// Name of the state that carries open commands and stream cursors.
pub(crate) const TRACKER_STATE: &str = "tracker";

/// Name of the state that carries where driving items stand.
pub(crate) const SOURCES_STATE: &str = "sources";

/// The state of parts as it was when a peer's copy began, so that its pieces fit each other.
pub(crate) type PartsCopy = Vec<(String, Vec<u8>)>;

/// What a sender reads from.
pub(crate) struct Source<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) table: &'a Arc<ItemTable>,
    pub(crate) tracker: &'a Tracker,
    pub(crate) parts: &'a Parts,
    pub(crate) own_dictionary: u64,
    /// What the peer's present copy has of the parts.
    pub(crate) copy: &'a mut PartsCopy,
    /// The protocol that the peer speaks.
    pub(crate) protocol: u16,
}

impl TailSource for Source<'_> {
    fn relation(&mut self, position: Position) -> Relation {
        match self.journal.relation(position) {
            twinhub_store::Relation::Present => Relation::Present,
            twinhub_store::Relation::TooOld => Relation::TooOld,
            twinhub_store::Relation::Diverged { common } => Relation::Diverged { common },
        }
    }

    fn read_after(&mut self, after: Position, max_bytes: usize, out: &mut EntryBatch) -> TailRead {
        let dictionary = self.journal.dictionary_after(after);
        let end = self.journal.visit_after(after, max_bytes, &mut |position, body| match placeholder(
            body,
            self.protocol,
        ) {
            Some(other) => out.push(position, &other),
            None => out.push(position, body),
        });
        let end = match end {
            Ok(ReadEnd::More) => TailEnd::More,
            Ok(ReadEnd::CaughtUp) => TailEnd::CaughtUp,
            Ok(ReadEnd::Gap { .. }) | Err(_) => TailEnd::Gap,
        };
        TailRead { end, dictionary }
    }

    fn dictionary(&mut self, hash: u64, out: &mut Vec<u8>) -> bool {
        match self.journal.dictionary_record(hash) {
            Ok(record) => {
                out.extend_from_slice(&record);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a dictionary cannot be sent");
                false
            }
        }
    }

    fn snapshot_begin(&mut self) -> SnapshotHead {
        *self.copy = self.parts.copy();
        SnapshotHead {
            at: self.journal.last(),
            items: self.table.len() as u64,
            dictionary: self.own_dictionary,
        }
    }

    fn snapshot_chunk(&mut self, cursor: u32, max_bytes: usize, out: &mut Vec<u8>) -> Option<u32> {
        let mut samples = Vec::new();
        let mut bytes = 0;
        let mut next = cursor;
        let end = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        while next < end && bytes < max_bytes {
            let sample = self.table.read(ItemId(next));
            bytes += 24 + sample.value.text_bytes();
            samples.push(sample);
            next += 1;
        }
        if !samples.is_empty() {
            twinhub_wire::record::encode(&Record::Samples(samples.into()), out);
        }
        (next < end).then_some(next)
    }

    fn snapshot_state(&mut self, number: u32) -> Option<(String, Vec<u8>)> {
        match number {
            0 => Some((TRACKER_STATE.to_owned(), pack_records(self.tracker.records()))),
            1 => {
                let records = self.tracker.sources().map(|(item, position)| {
                    (position, Record::Samples(Arc::from(vec![self.table.read(item)])))
                });
                Some((SOURCES_STATE.to_owned(), pack_records(records)))
            }
            _ => {
                // A node that does not know these names passes over them.
                let piece = self.copy.get_mut(number as usize - 2).map(std::mem::take);
                if piece.is_none() {
                    *self.copy = PartsCopy::new();
                }
                piece
            }
        }
    }

    fn last(&mut self) -> Position {
        self.journal.last()
    }
}

/// Records with their positions: epoch u64, seq u64, length u32, body (little endian).
fn pack_records(records: impl IntoIterator<Item = (Position, Record)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut body = Vec::new();
    for (position, record) in records {
        body.clear();
        twinhub_wire::record::encode(&record, &mut body);
        bytes.extend_from_slice(&position.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&position.seq.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&body);
    }
    bytes
}

pub(crate) fn unpack_records(mut bytes: &[u8]) -> Option<Vec<(Position, Record)>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (epoch, rest) = bytes.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let position = Position::new(Epoch(u64::from_le_bytes(*epoch)), u64::from_le_bytes(*seq));
        records.push((position, twinhub_wire::record::decode(body).ok()?));
        bytes = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_records_come_back_and_cut_ones_are_refused() {
        let delivered = twinhub_model::Delivered::by_number(3, Position::new(Epoch(256), 7));
        let records = vec![(Position::new(Epoch(256), 9), Record::Delivered(delivered))];
        let bytes = pack_records(records.clone());
        assert_eq!(unpack_records(&bytes), Some(records));
        for end in 1..bytes.len() {
            assert_eq!(unpack_records(&bytes[..end]), None);
        }
    }
}
