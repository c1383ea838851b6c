//! Bytes in words and back.

/// Appends bytes, the last word filled up with 0.
pub(crate) fn push_bytes(words: &mut Vec<u64>, bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    words.extend(whole.iter().map(|chunk| u64::from_ne_bytes(*chunk)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u64::from_ne_bytes(last));
    }
}

/// The memory of these words.
pub(crate) fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: bytes have no alignment, every bit pattern is one, and the length is that of the words.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Two halves of a word.
pub(crate) const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The first half of [`pair`].
#[expect(clippy::cast_possible_truncation, reason = "that half is asked for")]
pub(crate) const fn low(word: u64) -> u32 {
    word as u32
}

/// The second half of [`pair`].
pub(crate) const fn high(word: u64) -> u32 {
    low(word >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut words = vec![9];
            push_bytes(&mut words, &bytes);
            assert_eq!(&as_bytes(&words[1..])[..bytes.len()], bytes);
        }
        assert_eq!((low(pair(3, 9)), high(pair(3, 9))), (3, 9));
    }
}
