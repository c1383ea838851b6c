//! The journal's newest bytes in memory: what is not on disk yet, and what readers ask for most.
//!
//! Bytes lie here exactly as they will in the file, in chunks of one epoch and one file each.

use std::collections::VecDeque;

use twinhub_model::{Epoch, Position};

use super::segment::ENTRY_HEADER_BYTES;

#[derive(Debug)]
pub(crate) struct Chunk {
    /// First position of the file it belongs to.
    pub(crate) segment: Position,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// The record before its first.
    pub(crate) previous: Position,
    pub(crate) dictionary: u64,
    pub(crate) bytes: Vec<u8>,
    /// Bytes handed to the system.
    pub(crate) written: usize,
    /// Bytes that survive a power failure.
    durable: usize,
    epoch: Epoch,
    first_seq: u64,
    /// Where each entry begins.
    starts: Vec<u32>,
}

impl Chunk {
    /// Position of the entry with this number.
    pub(crate) fn position(&self, number: usize) -> Position {
        Position::new(self.epoch, self.first_seq + number as u64)
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn last(&self) -> Position {
        self.position(self.len() - 1)
    }

    /// The number of the first entry behind `after`; the length if there is none.
    pub(crate) fn number_after(&self, after: Position) -> usize {
        if after.epoch < self.epoch {
            return 0;
        }
        if after.epoch > self.epoch {
            return self.len();
        }
        let number = (after.seq + 1).saturating_sub(self.first_seq);
        usize::try_from(number).map_or(self.len(), |number| number.min(self.len()))
    }

    pub(crate) fn body(&self, number: usize) -> &[u8] {
        let start = self.starts[number] as usize + ENTRY_HEADER_BYTES;
        &self.bytes[start..self.end_of(number)]
    }

    fn end_of(&self, number: usize) -> usize {
        self.starts.get(number + 1).map_or(self.bytes.len(), |next| *next as usize)
    }

    /// The last entry of which all bytes are written.
    fn last_written(&self) -> Position {
        let whole = (0..self.len()).rev().find(|number| self.end_of(*number) <= self.written);
        whole.map_or(self.previous, |number| self.position(number))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) chunks: VecDeque<Chunk>,
    bytes: usize,
    unwritten: usize,
    /// Memory of dropped chunks.
    spare: Vec<Vec<u8>>,
    starts_spare: Vec<Vec<u32>>,
}

impl Tail {
    pub(crate) const fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// Bytes that are written and would not survive a power failure.
    pub(crate) fn unsynced(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.written - chunk.durable).sum()
    }

    /// Begins a chunk for `first`; it must get at least one entry.
    pub(crate) fn begin(
        &mut self,
        first: Position,
        previous: Position,
        segment: Position,
        offset: u64,
        dictionary: u64,
    ) {
        let bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_CAPACITY_BYTES));
        self.chunks.push_back(Chunk {
            segment,
            offset,
            previous,
            dictionary,
            bytes,
            written: 0,
            durable: 0,
            epoch: first.epoch,
            first_seq: first.seq,
            starts: self.starts_spare.pop().unwrap_or_default(),
        });
    }

    /// Whether the last chunk can take the next entry.
    pub(crate) fn is_open_for(&self, position: Position, segment: Position) -> bool {
        self.chunks.back().is_some_and(|chunk| {
            chunk.segment == segment
                && chunk.epoch == position.epoch
                && chunk.first_seq + chunk.len() as u64 == position.seq
                && chunk.bytes.len() < CHUNK_BYTES
        })
    }

    /// Room for one entry at the end of the last chunk; give it to [`Tail::commit`] or [`Tail::cancel`].
    pub(crate) fn room(&mut self) -> (&mut Vec<u8>, usize) {
        let chunk = self.chunks.back_mut().expect("begin() was called");
        let start = chunk.bytes.len();
        (&mut chunk.bytes, start)
    }

    pub(crate) fn commit(&mut self, start: usize) -> u64 {
        let chunk = self.chunks.back_mut().expect("room() was called");
        chunk.starts.push(u32::try_from(start).expect("chunks are far below 4 GiB"));
        let added = chunk.bytes.len() - start;
        self.bytes += added;
        self.unwritten += added;
        added as u64
    }

    /// Takes back what was put behind `start`, and the chunk if nothing else is in it.
    pub(crate) fn cancel(&mut self, start: usize) {
        let chunk = self.chunks.back_mut().expect("room() was called");
        chunk.bytes.truncate(start);
        if chunk.starts.is_empty() {
            self.chunks.pop_back();
        }
    }

    /// The first chunk that is not written whole.
    pub(crate) fn first_unwritten(&self) -> Option<usize> {
        self.chunks.iter().position(|chunk| chunk.written < chunk.bytes.len())
    }

    pub(crate) fn wrote(&mut self, chunk: usize, bytes: usize) {
        self.chunks[chunk].written += bytes;
        self.unwritten -= bytes;
    }

    /// Everything up to `through` survives a power failure.
    pub(crate) fn mark_durable(&mut self, through: Position) {
        for chunk in &mut self.chunks {
            let whole = chunk.number_after(through);
            let bytes = if whole == chunk.len() { chunk.bytes.len() } else { chunk.starts[whole] as usize };
            chunk.durable = chunk.durable.max(bytes.min(chunk.written));
        }
    }

    /// After a failed sync nothing is known of what was written since the last one: writes it again.
    pub(crate) fn forget_unsynced(&mut self) {
        for chunk in &mut self.chunks {
            self.unwritten += chunk.written - chunk.durable;
            chunk.written = chunk.durable;
        }
    }

    /// The last record of which all bytes are written, `none` if that is before this tail.
    pub(crate) fn last_written(&self, none: Position) -> Position {
        self.chunks.iter().rev().find(|chunk| chunk.written > 0).map_or(none, Chunk::last_written)
    }

    /// Drops chunks that are safe on disk until at most `max` bytes are left.
    pub(crate) fn shrink(&mut self, max: usize) {
        while self.bytes > max && self.chunks.len() > 1 {
            let Some(front) = self.chunks.front() else { return };
            if front.durable < front.bytes.len() {
                return;
            }
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.bytes -= chunk.bytes.len();
            self.keep(chunk);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        (self.bytes, self.unwritten) = (0, 0);
    }

    fn keep(&mut self, chunk: Chunk) {
        let (mut bytes, mut starts) = (chunk.bytes, chunk.starts);
        if self.spare.len() < SPARE_MAX && bytes.capacity() <= 2 * CHUNK_CAPACITY_BYTES {
            bytes.clear();
            starts.clear();
            self.spare.push(bytes);
            self.starts_spare.push(starts);
        }
    }
}

/// A chunk with this much takes no further entry.
const CHUNK_BYTES: usize = 192 * 1024;
/// Memory of a chunk, so that the last entry usually fits without a move.
const CHUNK_CAPACITY_BYTES: usize = 256 * 1024;
/// Dropped chunks whose memory is kept.
const SPARE_MAX: usize = 4;
