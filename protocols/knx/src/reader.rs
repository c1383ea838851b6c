//! A position in bytes from outside.

use crate::Error;

/// Takes bytes from the front, and says what was being read when they end.
#[derive(Debug, Clone)]
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

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(Error::Truncated {
            what,
            needed: count,
            got: self.bytes.len(),
        })?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// The part of a structure whose first byte is its whole length, without that byte.
    pub(crate) fn structure(&mut self, what: &'static str) -> Result<Reader<'a>, Error> {
        let length = usize::from(self.u8(what)?);
        let body = length.checked_sub(1).ok_or(Error::Invalid { what, got: 0 })?;
        Ok(Reader::new(self.take(body, what)?))
    }

    pub(crate) fn finish(&self, what: &'static str) -> Result<(), Error> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Error::Trailing { what, bytes: self.bytes.len() }) }
    }
}
