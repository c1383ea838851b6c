//! Integers in seven-bit groups (LEB128, sign in the lowest bit), and a reader that checks every step.

/// Why bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is damaged")]
pub struct Broken {
    /// What could not be read.
    pub what: &'static str,
}

#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Small magnitudes are short.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
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

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Broken> {
        let (first, rest) = self.bytes.split_first().ok_or(Broken { what })?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Broken { what })?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Broken { what })?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Broken> {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.u8(what)?;
            if shift == 63 && byte > 1 {
                return Err(Broken { what });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    #[inline]
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, Broken> {
        let raw = self.u64(what)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Broken> {
        u32::try_from(self.u64(what)?).map_err(|_| Broken { what })
    }

    pub(crate) fn size(&mut self, what: &'static str) -> Result<usize, Broken> {
        usize::try_from(self.u64(what)?).map_err(|_| Broken { what })
    }

    pub(crate) fn f64(&mut self, what: &'static str) -> Result<f64, Broken> {
        Ok(f64::from_le_bytes(self.array(what)?))
    }

    /// A length, checked against what is left, and so many bytes.
    pub(crate) fn sized(&mut self, what: &'static str) -> Result<&'a [u8], Broken> {
        let length = self.size(what)?;
        self.take(length, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.sized(what)?).map_err(|_| Broken { what })
    }

    pub(crate) fn finish(self, what: &'static str) -> Result<(), Broken> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Broken { what }) }
    }
}
