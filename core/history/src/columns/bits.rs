//! Numbers of a fixed width side by side, and a stream of single bits.

use crate::bytes::{Broken, Reader};

/// Numbers packed together.
pub(super) const GROUP: usize = 64;

/// Bits that hold `value`.
pub(super) const fn width_of(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Bytes of `count` numbers of `width` bits.
pub(super) const fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends numbers below `2^width`.
pub(super) fn pack(out: &mut Vec<u8>, values: &[u64], width: u32) {
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0_u64, 0_u32);
    for value in values {
        word |= value << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= u64::BITS;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Reads what [`pack`] wrote into `out`; at most [`GROUP`] numbers.
#[inline]
pub(super) fn unpack(reader: &mut Reader<'_>, width: u32, out: &mut [u64]) -> Result<(), Broken> {
    let bytes = reader.take(packed_bytes(out.len(), width), "packed numbers")?;
    let mut padded = [0_u8; GROUP * 8 + 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    let mask = if width == u64::BITS { u64::MAX } else { (1 << width) - 1 };
    let mut bit = 0;
    for slot in out {
        let at = bit / 8;
        let low = word_at(&padded, at);
        let shift = bit % 8;
        let mut value = low >> shift;
        if shift != 0 {
            value |= u64::from(padded[at + 8]) << (64 - shift);
        }
        *slot = value & mask;
        bit += width as usize;
    }
    Ok(())
}

#[inline]
fn word_at(bytes: &[u8; GROUP * 8 + 16], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Writes single bits, lowest first.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits; at most 64.
    #[inline]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        if count == 0 {
            return;
        }
        let value = if count == u64::BITS { value } else { value & ((1 << count) - 1) };
        self.word |= value << self.filled;
        self.filled += count;
        if self.filled >= u64::BITS {
            self.bytes.extend_from_slice(&self.word.to_le_bytes());
            self.filled -= u64::BITS;
            self.word = if self.filled == 0 { 0 } else { value >> (count - self.filled) };
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let rest = self.filled.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.word.to_le_bytes()[..rest]);
        self.bytes
    }
}

/// Reads what a [`BitWriter`] wrote.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// The next `count` bits; at most 64.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u64, Broken> {
        let end = self.at + count as usize;
        if end > self.bytes.len() * 8 {
            return Err(Broken { what: "a stream of bits" });
        }
        let (mut value, mut have) = (0_u64, 0_u32);
        while have < count {
            let shift = self.at % 8;
            let room = 8 - u32::from(shift.to_le_bytes()[0]);
            let wanted = room.min(count - have);
            let part = u64::from(self.bytes[self.at / 8] >> shift) & ((1 << wanted) - 1);
            value |= part << have;
            have += wanted;
            self.at += wanted as usize;
        }
        Ok(value)
    }
}
