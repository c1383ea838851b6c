//! How the values of a page stand in it.

use std::collections::HashMap;

use crate::bytes::{put_i64, put_u64};

/// Above so many different texts, or so many bytes of them, a dictionary saves nothing.
const STRINGS_MAX: usize = 32 * 1024;
const STRINGS_BYTES_MAX: usize = 1 << 20;
/// Numbers of a block, and of each of its four groups.
const BLOCK: usize = 128;
const GROUP: usize = 32;

/// Which rows have a value: runs of a bit, behind their length.
pub(super) fn levels(present: impl Iterator<Item = bool>, out: &mut Vec<u8>) {
    let mut runs = Vec::new();
    put_runs(present.map(u32::from), 1, &mut runs);
    out.extend_from_slice(&u32::try_from(runs.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&runs);
}

pub(super) fn plain_page(numbers: impl Iterator<Item = f64>, out: &mut Vec<u8>) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(super) fn bytes_page<'a>(texts: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    for text in texts {
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

/// Differences of neighbors, packed in the bits that the largest of 32 needs.
pub(super) fn delta_page(numbers: &[i64], out: &mut Vec<u8>) {
    put_u64(out, BLOCK as u64);
    put_u64(out, (BLOCK / GROUP) as u64);
    put_u64(out, numbers.len() as u64);
    put_i64(out, numbers.first().copied().unwrap_or(0));
    let deltas: Vec<i64> = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    for block in deltas.chunks(BLOCK) {
        let smallest = block.iter().copied().min().unwrap_or(0);
        put_i64(out, smallest);
        let above: Vec<u64> =
            block.iter().map(|delta| delta.wrapping_sub(smallest).cast_unsigned()).collect();
        let width_of =
            |group: &[u64]| u64::BITS - group.iter().fold(0, |bits, one| bits | one).leading_zeros();
        let widths: Vec<u32> = above.chunks(GROUP).map(width_of).collect();
        for number in 0..BLOCK / GROUP {
            out.push(widths.get(number).map_or(0, |width| width.to_le_bytes()[0]));
        }
        for (group, width) in above.chunks(GROUP).zip(widths) {
            pack(group, width, out);
        }
    }
}

/// The lowest bits first; a group that is not full is filled with zeros.
fn pack(group: &[u64], width: u32, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0_u128, 0);
    for number in group.iter().copied().chain(std::iter::repeat(0)).take(GROUP) {
        bits |= u128::from(number) << held;
        held += width;
        while held >= 8 {
            out.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            held -= 8;
        }
    }
}

/// Texts that are kept once.
pub(super) struct Strings<'a> {
    texts: Vec<&'a str>,
    indices: Vec<u32>,
}

impl<'a> Strings<'a> {
    /// `None` if there are none, or too many that differ.
    pub(super) fn of(texts: impl Iterator<Item = &'a str>) -> Option<Strings<'a>> {
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut strings = Strings { texts: Vec::new(), indices: Vec::new() };
        let mut bytes = 0;
        for text in texts {
            let next = u32::try_from(strings.texts.len()).ok()?;
            let index = *known.entry(text).or_insert(next);
            if index == next {
                strings.texts.push(text);
                bytes += text.len();
                if strings.texts.len() > STRINGS_MAX || bytes > STRINGS_BYTES_MAX {
                    return None;
                }
            }
            strings.indices.push(index);
        }
        (!strings.texts.is_empty()).then_some(strings)
    }

    pub(super) const fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn dictionary(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes_page(self.texts.iter().copied(), &mut out);
        out
    }

    pub(super) fn indices(&self, out: &mut Vec<u8>) {
        let last = u32::try_from(self.texts.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let width = (u32::BITS - last.leading_zeros()).max(1);
        out.push(width.to_le_bytes()[0]);
        put_runs(self.indices.iter().copied(), width, out);
    }
}

/// Runs of equal numbers: twice the length, and the number in whole bytes.
fn put_runs(numbers: impl Iterator<Item = u32>, width: u32, out: &mut Vec<u8>) {
    let bytes = width.div_ceil(8) as usize;
    let mut run: Option<(u32, u64)> = None;
    let put = |run: Option<(u32, u64)>, out: &mut Vec<u8>| {
        let Some((number, length)) = run else { return };
        put_u64(out, length << 1);
        out.extend_from_slice(&number.to_le_bytes()[..bytes]);
    };
    for number in numbers {
        match &mut run {
            Some((same, length)) if *same == number => *length += 1,
            Some(_) | None => {
                put(run.take(), out);
                run = Some((number, 1));
            }
        }
    }
    put(run, out);
}
