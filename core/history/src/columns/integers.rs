//! A column of integers.
//!
//! ```text
//! tag: low nibble 0 all equal, 1-3 differences of order 0-2; high nibble: all are multiples of 1, 10^3, 10^6, 10^9
//! all equal: the number
//! else: as many first numbers as the order; then groups of up to 64: smallest | width u8 | numbers above the smallest
//! ```
//! The order that takes the fewest bytes is taken: regular times are order 2 with a width of nothing.

use super::bits::{GROUP, pack, packed_bytes, unpack, width_of};
use crate::bytes::{Broken, Reader, put_i64};

const EQUAL: u8 = 0;
const ORDERS: u8 = 3;
const UNITS: [i64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// Appends the column; its length is known to the reader.
pub(crate) fn put(out: &mut Vec<u8>, values: &[i64]) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value == first) {
        out.push(EQUAL);
        put_i64(out, *first);
        return;
    }
    if put_regular(out, values) {
        return;
    }
    let unit = unit_of(values);
    let zero: Vec<i64> = match unit {
        0 => values.to_vec(),
        _ => values.iter().map(|value| value / UNITS[unit]).collect(),
    };
    let one = differences(&zero);
    let two = differences(&one);
    let costs = [cost(&zero), cost(&one) + 8, cost(&two) + 12];
    let order = (0..costs.len()).min_by_key(|order| costs[*order]).unwrap_or(0);
    let tag = u8::try_from(unit << 4 | (order + 1)).unwrap_or(EQUAL);
    out.push(tag);
    let deltas = match order {
        0 => &zero,
        1 => {
            put_i64(out, zero[0]);
            &one
        }
        _ => {
            put_i64(out, zero[0]);
            if let Some(second) = one.first() {
                put_i64(out, *second);
            }
            &two
        }
    };
    let mut above = [0_u64; GROUP];
    for group in deltas.chunks(GROUP) {
        let (smallest, width) = frame(group);
        put_i64(out, smallest);
        out.push(u8::try_from(width).unwrap_or(u8::MAX));
        for (slot, value) in above.iter_mut().zip(group) {
            *slot = value.wrapping_sub(smallest).cast_unsigned();
        }
        pack(out, &above[..group.len()], width);
    }
}

/// Numbers that all lie equally far apart need not be looked at in every order; says whether they do.
fn put_regular(out: &mut Vec<u8>, values: &[i64]) -> bool {
    let [first, second, third, ..] = values else { return false };
    let Some(step) = second.checked_sub(*first) else { return false };
    let is_regular = third.checked_sub(*second) == Some(step)
        && values.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(step));
    if !is_regular {
        return false;
    }
    let unit = unit_of(&[*first, step]);
    out.push(u8::try_from(unit << 4 | 3).unwrap_or(EQUAL));
    put_i64(out, first / UNITS[unit]);
    put_i64(out, step / UNITS[unit]);
    for _ in 0..(values.len() - 2).div_ceil(GROUP) {
        // All differences of the differences are zero, in no bits.
        out.extend_from_slice(&[0, 0]);
    }
    true
}

/// Reads `count` numbers that [`put`] wrote, in place of what is in `out`.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), Broken> {
    const WHAT: &str = "a column of integers";
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let tag = reader.u8(WHAT)?;
    if tag == EQUAL {
        let value = reader.i64(WHAT)?;
        out.resize(count, value);
        return Ok(());
    }
    let unit = *UNITS.get(usize::from(tag >> 4)).ok_or(Broken { what: WHAT })?;
    let order = usize::from((tag & 0x0f).wrapping_sub(1));
    if order >= usize::from(ORDERS) {
        return Err(Broken { what: WHAT });
    }
    out.reserve(count);
    let mut heads = [0_i64; 2];
    for head in heads.iter_mut().take(order.min(count)) {
        *head = reader.i64(WHAT)?;
    }
    let (mut last, mut step) = (heads[0], heads[1]);
    if order >= 1 {
        out.push(last);
    }
    if order == 2 && count >= 2 {
        last = last.wrapping_add(step);
        out.push(last);
    }
    let mut above = [0_u64; GROUP];
    while out.len() < count {
        let length = GROUP.min(count - out.len());
        let smallest = reader.i64(WHAT)?;
        let width = u32::from(reader.u8(WHAT)?);
        if width > u64::BITS {
            return Err(Broken { what: WHAT });
        }
        let group = &mut above[..length];
        unpack(reader, width, group)?;
        let deltas = group.iter().map(|value| value.cast_signed().wrapping_add(smallest));
        match order {
            0 => out.extend(deltas),
            1 => out.extend(deltas.map(|delta| {
                last = last.wrapping_add(delta);
                last
            })),
            _ => out.extend(deltas.map(|delta| {
                step = step.wrapping_add(delta);
                last = last.wrapping_add(step);
                last
            })),
        }
    }
    if unit != 1 {
        for value in out {
            *value = value.wrapping_mul(unit);
        }
    }
    Ok(())
}

fn differences(values: &[i64]) -> Vec<i64> {
    values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
}

/// The largest unit that all are multiples of.
fn unit_of(values: &[i64]) -> usize {
    let mut unit = UNITS.len() - 1;
    for value in values {
        while value % UNITS[unit] != 0 {
            unit -= 1;
            if unit == 0 {
                return 0;
            }
        }
    }
    unit
}

/// The smallest number, and the bits of the greatest distance from it.
fn frame(group: &[i64]) -> (i64, u32) {
    let smallest = group.iter().copied().min().unwrap_or(0);
    let greatest = group.iter().copied().max().unwrap_or(0);
    (smallest, width_of(greatest.wrapping_sub(smallest).cast_unsigned()))
}

/// About the bytes that the groups take.
fn cost(deltas: &[i64]) -> usize {
    deltas
        .chunks(GROUP)
        .map(|group| {
            let (smallest, width) = frame(group);
            let head = 2 + width_of(smallest.unsigned_abs()) as usize / 7;
            head + packed_bytes(group.len(), width)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trip(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put(&mut out, values);
        let mut reader = Reader::new(&out);
        let mut back = Vec::new();
        read(&mut reader, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        reader.finish("column").unwrap();
        out.len()
    }

    #[test]
    fn regular_times_take_next_to_nothing() {
        let times: Vec<i64> = (0..4096).map(|i| 1_700_000_000_000_000_000 + i * 10_000_000_000).collect();
        assert!(trip(&times) < 160, "{}", trip(&times));
    }

    #[test]
    fn one_gap_costs_one_group() {
        let mut times: Vec<i64> = (0..4096).map(|i| i * 1000).collect();
        for time in &mut times[2000..] {
            *time += 86_400_000;
        }
        assert!(trip(&times) < 800, "{}", trip(&times));
    }

    #[test]
    fn extremes_survive() {
        trip(&[i64::MIN, i64::MAX, 0, -1, i64::MIN, i64::MIN + 1]);
        trip(&[]);
        trip(&[7]);
        trip(&[7, 8]);
        trip(&[0, 0, 5]);
    }

    proptest! {
        #[test]
        fn regular_columns_come_back(first in any::<i64>(), step in -2_000_000_000_i64..2_000_000_000, count in 0_i64..300) {
            let values: Vec<i64> = (0..count).map(|at| first.wrapping_add(at * step)).collect();
            prop_assert!(trip(&values) <= 40 + values.len() / 4 || values.iter().any(|value| value.checked_add(step).is_none()));
        }

        #[test]
        fn every_column_comes_back(values in prop::collection::vec(prop_oneof![any::<i64>(), -50_i64..50, (0_i64..9).prop_map(|x| x * 1_000_000)], 0..300)) {
            trip(&values);
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_usize..9000) {
            let mut out = Vec::new();
            if read(&mut Reader::new(&bytes), count, &mut out).is_ok() {
                prop_assert_eq!(out.len(), count);
            }
        }
    }
}
