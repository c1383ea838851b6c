//! Bit strings: clause 20.2.10.

use crate::Error;

/// Bits in order; the first stands in the highest bit of the first byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitString {
    unused: u8,
    bytes: Vec<u8>,
}

impl BitString {
    /// Of these bits.
    pub fn from_bits(bits: &[bool]) -> BitString {
        let mut bytes = vec![0_u8; bits.len().div_ceil(8)];
        for (place, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
            bytes[place / 8] |= 0x80 >> (place % 8);
        }
        let unused = u8::try_from(bytes.len() * 8 - bits.len()).expect("fewer than eight");
        BitString { unused, bytes }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() * 8 - usize::from(self.unused)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bit at this place is set; one that is not there is not.
    pub fn is_set(&self, place: usize) -> bool {
        place < self.len() && self.bytes[place / 8] & (0x80 >> (place % 8)) != 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.len()).map(|place| self.is_set(place))
    }

    /// Reads the number of unused bits and what follows it.
    ///
    /// # Errors
    /// If there are no bytes, or more unused bits than bits.
    pub fn from_bytes(bytes: &[u8]) -> Result<BitString, Error> {
        let (&unused, bytes) =
            bytes.split_first().ok_or(Error::Length { what: "a bit string", length: 0 })?;
        if unused > 7 || (bytes.is_empty() && unused > 0) {
            return Err(Error::Invalid { what: "the number of unused bits", value: u64::from(unused) });
        }
        Ok(BitString { unused, bytes: bytes.to_vec() })
    }

    /// The number of unused bits and the bits.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[self.unused], self.bytes.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_highest() {
        let bits = BitString::from_bytes(&[5, 0b1010_0000]).unwrap();
        assert_eq!(bits.iter().collect::<Vec<bool>>(), [true, false, true]);
        assert_eq!(BitString::from_bits(&[true, false, true]), bits);
        assert!(!bits.is_set(3));
        assert!(BitString::from_bytes(&[0]).unwrap().is_empty());
        assert!(BitString::from_bytes(&[1]).is_err());
        assert!(BitString::from_bytes(&[8, 0]).is_err());
        assert!(BitString::from_bytes(&[]).is_err());
    }
}
