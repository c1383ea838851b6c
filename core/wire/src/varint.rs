//! Integers in as few bytes as they need (LEB128, sign in the lowest bit), and a bounds-checked reader.

use crate::WireError;

/// Appends `value` in seven-bit groups, lowest first.
#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    let [b0, b1, b2] = [value, value >> 7, value >> 14].map(low_byte);
    // Most are handles, counts and registers, and looking for room costs more than the bytes.
    match value {
        0..0x80 => out.push(b0),
        0x80..0x4000 => out.extend_from_slice(&[b0 | 0x80, b1]),
        0x4000..0x20_0000 => out.extend_from_slice(&[b0 | 0x80, b1 | 0x80, b2]),
        0x20_0000.. => put_long(out, value),
    }
}

#[inline(never)]
fn put_long(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends a signed value; small magnitudes are short.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

#[inline]
fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Reads from the front of a slice; every read checks that the bytes are there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        let Some((first, rest)) = self.bytes.split_first() else {
            return Err(WireError::Truncated { what });
        };
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(WireError::Truncated { what });
        };
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(WireError::Truncated { what });
        };
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        let first = self.u8(what)?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.u64_long(first, what) }
    }

    fn u64_long(&mut self, first: u8, what: &'static str) -> Result<u64, WireError> {
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8(what)?;
            if shift == 63 && byte > 1 {
                return Err(WireError::Invalid { what, got: u64::MAX });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    #[inline]
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, WireError> {
        let raw = self.u64(what)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    #[inline]
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        let raw = self.u64(what)?;
        u32::try_from(raw).map_err(|_| WireError::Invalid { what, got: raw })
    }

    /// A length, checked against what is left before anything is allocated for it.
    pub(crate) fn sized(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let length = self.u64(what)?;
        let length = usize::try_from(length).map_err(|_| WireError::Truncated { what })?;
        self.take(length, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.sized(what)?).map_err(|_| WireError::NotText { what })
    }

    pub(crate) fn finish(self, what: &'static str) -> Result<(), WireError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing { what, bytes: self.bytes.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_integer_takes_a_byte_too_many() {
        for bits in 1..=64_u32 {
            let greatest = u64::MAX >> (64 - bits);
            for value in [greatest, greatest / 2 + 1] {
                let mut out = Vec::new();
                put_u64(&mut out, value);
                assert_eq!(out.len(), bits.div_ceil(7) as usize, "{value:x}");
                let mut reader = Reader::new(&out);
                assert_eq!((reader.u64("a"), reader.remaining()), (Ok(value), 0));
            }
        }
    }

    #[test]
    fn integers_survive_the_trip() {
        for value in [0, 1, 63, 64, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_u64(&mut out, value);
            put_i64(&mut out, value.cast_signed());
            let mut reader = Reader::new(&out);
            assert_eq!(reader.u64("a"), Ok(value));
            assert_eq!(reader.i64("b"), Ok(value.cast_signed()));
            assert_eq!(reader.finish("c"), Ok(()));
        }
    }

    #[test]
    fn more_than_sixty_four_bits_are_refused() {
        assert!(Reader::new(&[0xff; 12]).u64("a").is_err());
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]).u64("a").is_err());
        assert!(Reader::new(&[0x80; 3]).u64("a").is_err());
    }
}
