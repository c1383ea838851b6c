//! A column of floating point numbers; what comes back has the same bits.
//!
//! ```text
//! 0-6: that many decimals; the numbers times 10^n as integers
//! 7: length and a stream of bits: each number against the one before (T. Pelkonen et al., "Gorilla", VLDB 2015, 4.1.2)
//! 8: the bits as integers
//! ```

use super::bits::{BitReader, BitWriter};
use super::integers;
use crate::bytes::{Broken, Reader, put_sized};

const DECIMALS_MAX: usize = 6;
const POWERS: [f64; DECIMALS_MAX + 1] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
const XOR: u8 = 7;
const RAW: u8 = 8;
/// Below this, doubles hold every integer.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

pub(crate) fn put(out: &mut Vec<u8>, values: &[f64]) {
    let start = out.len();
    let is_decimal = put_decimal(out, values);
    // Where values change at all, the other form rarely takes less than two bytes for each.
    if is_decimal && out.len() - start <= values.len() * 2 {
        return;
    }
    let stream = xor(values);
    if is_decimal && out.len() - start <= stream.len() + 3 {
        return;
    }
    out.truncate(start);
    if stream.len() <= values.len() * 6 {
        out.push(XOR);
        put_sized(out, &stream);
        return;
    }
    out.push(RAW);
    let bits: Vec<i64> = values.iter().map(|value| value.to_bits().cast_signed()).collect();
    integers::put(out, &bits);
    if out.len() - start > stream.len() + 3 {
        out.truncate(start);
        out.push(XOR);
        put_sized(out, &stream);
    }
}

/// Reads `count` numbers in place of what is in `out`.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
    scratch: &mut Vec<i64>,
) -> Result<(), Broken> {
    const WHAT: &str = "a column of numbers";
    out.clear();
    let tag = reader.u8(WHAT)?;
    match tag {
        XOR => read_xor(reader.sized(WHAT)?, count, out),
        RAW => {
            integers::read(reader, count, scratch)?;
            out.extend(scratch.iter().map(|bits| f64::from_bits(bits.cast_unsigned())));
            Ok(())
        }
        decimals => {
            let power = *POWERS.get(usize::from(decimals)).ok_or(Broken { what: WHAT })?;
            integers::read(reader, count, scratch)?;
            out.extend(scratch.iter().map(|scaled| as_f64(*scaled) / power));
            Ok(())
        }
    }
}

fn put_decimal(out: &mut Vec<u8>, values: &[f64]) -> bool {
    let mut decimals = 0;
    for value in values {
        while scaled(*value, POWERS[decimals]).is_none() {
            if decimals == DECIMALS_MAX {
                return false;
            }
            decimals += 1;
        }
    }
    let Some(all) = values.iter().map(|value| scaled(*value, POWERS[decimals])).collect::<Option<Vec<i64>>>()
    else {
        return false;
    };
    out.push(u8::try_from(decimals).unwrap_or(RAW));
    integers::put(out, &all);
    true
}

/// `value` times `power` as an integer that gives back the same bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "whether it loses anything is checked")]
fn scaled(value: f64, power: f64) -> Option<i64> {
    let product = (value * power).round();
    let whole = product as i64;
    (product.abs() < WHOLE_MAX && (as_f64(whole) / power).to_bits() == value.to_bits()).then_some(whole)
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "writers stay below 2^53; a hostile number only rounds")]
fn as_f64(value: i64) -> f64 {
    value as f64
}

fn xor(values: &[f64]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let (mut before, mut leading, mut length) = (0_u64, u32::MAX, 0);
    for value in values {
        let word = value.to_bits();
        let changed = word ^ before;
        before = word;
        if changed == 0 {
            bits.put(0, 1);
            continue;
        }
        let (head, tail) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        let window_tail = 64_u32.saturating_sub(leading.saturating_add(length));
        if leading != u32::MAX && head >= leading && tail >= window_tail {
            bits.put(0b01, 2);
            bits.put(changed >> window_tail, length);
        } else {
            (leading, length) = (head, 64 - head - tail);
            bits.put(0b11, 2);
            bits.put(u64::from(leading), 5);
            bits.put(u64::from(length - 1), 6);
            bits.put(changed >> tail, length);
        }
    }
    bits.finish()
}

fn read_xor(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Broken> {
    const WHAT: &str = "a stream of numbers";
    if count > bytes.len().saturating_mul(8) {
        return Err(Broken { what: WHAT });
    }
    out.reserve(count);
    let mut bits = BitReader::new(bytes);
    let (mut before, mut leading, mut length) = (0_u64, 0_u64, 0_u64);
    for _ in 0..count {
        if bits.take(1)? == 1 {
            if bits.take(1)? == 1 {
                leading = bits.take(5)?;
                length = bits.take(6)? + 1;
            }
            let tail = 64_u64.checked_sub(leading + length).filter(|tail| *tail < 64);
            let tail = tail.ok_or(Broken { what: WHAT })?;
            let width = u32::try_from(length).map_err(|_| Broken { what: WHAT })?;
            before ^= bits.take(width)? << tail;
        }
        out.push(f64::from_bits(before));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trip(values: &[f64]) -> usize {
        let mut out = Vec::new();
        put(&mut out, values);
        let mut reader = Reader::new(&out);
        let mut back = Vec::new();
        read(&mut reader, values.len(), &mut back, &mut Vec::new()).unwrap();
        let bits = |all: &[f64]| all.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        reader.finish("column").unwrap();
        out.len()
    }

    #[test]
    fn a_sensor_with_one_decimal_takes_about_half_a_byte() {
        let values: Vec<f64> = (0..4096).map(|i| f64::from(200 + (i * 7 % 11) - 5) / 10.0).collect();
        assert!(trip(&values) < 2600, "{}", trip(&values));
    }

    #[test]
    fn what_is_no_decimal_comes_back_bit_by_bit() {
        trip(&[f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE, std::f64::consts::PI, 1e300, 0.1 + 0.2]);
        trip(&[]);
        trip(&[f64::from_bits(1), f64::from_bits(u64::MAX), 0.0]);
        let single: Vec<f64> = (0..1000_u16).map(|i| f64::from(f32::from(i).sqrt())).collect();
        assert!(trip(&single) < 6000, "{}", trip(&single));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(values in prop::collection::vec(prop_oneof![any::<u64>().prop_map(f64::from_bits), (-5000_i32..5000).prop_map(|x| f64::from(x) / 100.0)], 1..300)) {
            trip(&values);
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_usize..9000) {
            let mut out = Vec::new();
            if read(&mut Reader::new(&bytes), count, &mut out, &mut Vec::new()).is_ok() {
                prop_assert_eq!(out.len(), count);
            }
        }
    }
}
