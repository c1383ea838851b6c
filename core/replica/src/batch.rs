//! Journal records in one piece of memory.

use twinhub_model::{Epoch, Position};

use crate::ReplicaError;

/// Consecutive journal records with their positions. One allocation whatever their number.
///
/// ```text
/// each: epoch u64 | seq u64 | length u32 | body        (little endian)
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryBatch {
    bytes: Vec<u8>,
    count: u32,
    first: Position,
    last: Position,
}

impl EntryBatch {
    /// Without records.
    pub const fn new() -> EntryBatch {
        EntryBatch { bytes: Vec::new(), count: 0, first: Position::START, last: Position::START }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If the body is 4 GiB or longer, which no journal takes.
    pub fn push(&mut self, position: Position, body: &[u8]) {
        if self.count == 0 {
            self.first = position;
        }
        self.last = position;
        self.count += 1;
        let length = u32::try_from(body.len()).expect("no journal takes a record of 4 GiB");
        self.bytes.reserve(HEADER_BYTES + body.len());
        self.bytes.extend_from_slice(&position.epoch.0.to_le_bytes());
        self.bytes.extend_from_slice(&position.seq.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(body);
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = (Position, &[u8])> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (position, body, after) = split(rest)?;
            rest = after;
            Some((position, body))
        })
    }

    /// How many records.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it takes on the wire.
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Position of the first record; [`Position::START`] if there is none.
    pub const fn first(&self) -> Position {
        self.first
    }

    /// Position of the last record; [`Position::START`] if there is none.
    pub const fn last(&self) -> Position {
        self.last
    }

    /// Removes all records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        *self = EntryBatch { bytes: std::mem::take(&mut self.bytes), ..EntryBatch::new() };
    }

    /// Drops the records up to and including `position`.
    pub(crate) fn skip_through(&mut self, position: Position) {
        let mut rest = &self.bytes[..];
        let mut dropped = 0;
        while let Some((at, _, after)) = split(rest) {
            if at > position {
                self.first = at;
                break;
            }
            rest = after;
            dropped += 1;
        }
        let cut = self.bytes.len() - rest.len();
        self.bytes.drain(..cut);
        self.count -= dropped;
        if self.count == 0 {
            self.clear();
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that the bytes are records without a gap.
    pub(crate) fn parse(bytes: &[u8]) -> Result<EntryBatch, ReplicaError> {
        let mut batch = EntryBatch::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((position, _, after)) = split(rest) else {
                return Err(ReplicaError::Unreadable { detail: "the bytes end within a record".to_owned() });
            };
            if batch.count == 0 {
                batch.first = position;
            } else if !follows(batch.last, position) {
                return Err(ReplicaError::Unreadable {
                    detail: format!("record {position} stands behind record {}", batch.last),
                });
            }
            batch.last = position;
            batch.count += 1;
            rest = after;
        }
        batch.bytes = bytes.to_vec();
        Ok(batch)
    }
}

/// Whether a record at `next` may stand directly behind one at `last`.
pub(crate) const fn follows(last: Position, next: Position) -> bool {
    if next.epoch.0 == last.epoch.0 {
        last.seq < u64::MAX && next.seq == last.seq + 1
    } else {
        next.epoch.0 > last.epoch.0 && next.seq == 1
    }
}

fn split(bytes: &[u8]) -> Option<(Position, &[u8], &[u8])> {
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let position = Position::new(Epoch(u64::from_le_bytes(*epoch)), u64::from_le_bytes(*seq));
    Some((position, body, rest))
}

/// Bytes before each body.
const HEADER_BYTES: usize = 20;
