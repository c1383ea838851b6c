//! Values on their way from one thread to another, in few bytes.
//!
//! Both threads touch every byte of it, mostly on different processors, and fetching a line of memory from another
//! processor costs more than all else that is done with a value there. Hence a register of sixteen bits takes two bytes:
//! what neighbors have in common stands once, in a *stretch* of items that follow each other and hold the same kind of
//! value. Values of items in no order take no more than twenty bytes each.

use std::slice;

/// A value that eight bytes hold, or one that is kept elsewhere. Two plain numbers, so that it travels in registers: an
/// `enum` of fields of several sizes is written and read in pieces that do not fit each other, and waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// How to read the bits.
    pub form: Form,
    /// 0 or 1 of a boolean, the number itself, or the bits of a floating point number.
    pub bits: u64,
}

/// What a [`Scalar`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// No value.
    Null,
    /// Boolean.
    Bool,
    /// Signed number.
    I64,
    /// Unsigned number.
    U64,
    /// Floating point number.
    F64,
    /// Nanoseconds since 1970 UTC.
    Time,
    /// The next of the values that whoever packs keeps beside this, in the same order.
    Kept,
}

impl Scalar {
    /// No value.
    pub const NULL: Self = Self { form: Form::Null, bits: 0 };
    /// See [`Form::Kept`].
    pub const KEPT: Self = Self { form: Form::Kept, bits: 0 };

    /// A boolean.
    pub const fn bool(value: bool) -> Self {
        Self { form: Form::Bool, bits: value as u64 }
    }

    /// A signed number.
    pub const fn i64(value: i64) -> Self {
        Self { form: Form::I64, bits: value.cast_unsigned() }
    }

    /// An unsigned number.
    pub const fn u64(value: u64) -> Self {
        Self { form: Form::U64, bits: value }
    }

    /// A floating point number.
    pub const fn f64(value: f64) -> Self {
        Self { form: Form::F64, bits: value.to_bits() }
    }

    /// Nanoseconds since 1970 UTC.
    pub const fn time(value: i64) -> Self {
        Self { form: Form::Time, bits: value.cast_unsigned() }
    }
}

/// Items and their values, in the order in which they were pushed.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    stretches: Vec<Stretch>,
    bytes: Vec<u8>,
    len: usize,
}

/// Items that follow each other, and how their values stand in the bytes.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    item: u32,
    count: u32,
    form: Form,
    width: Width,
}

/// Bytes of each value of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    None,
    Two,
    Four,
    Eight,
}

impl Packed {
    /// Room for `count` values of two bytes.
    pub fn with_capacity(count: usize) -> Self {
        Self { stretches: Vec::new(), bytes: Vec::with_capacity(2 * count), len: 0 }
    }

    /// Puts a value behind the others.
    #[inline]
    pub fn push(&mut self, item: u32, value: Scalar) {
        let Scalar { form, .. } = value;
        let (payload, least) = fit(value);
        let width = match self.stretches.last_mut() {
            Some(last)
                if last.form == form
                    && last.width >= least
                    && last.item.checked_add(last.count) == Some(item) =>
            {
                last.count += 1;
                last.width
            }
            Some(_) | None => {
                self.stretches.push(Stretch { item, count: 1, form, width: least });
                least
            }
        };
        let [b0, b1, b2, b3, ..] = payload.to_le_bytes();
        match width {
            Width::None => {}
            Width::Two => self.bytes.extend_from_slice(&[b0, b1]),
            Width::Four if form == Form::F64 => {
                self.bytes.extend_from_slice(&single(f64::from_bits(payload)).to_le_bytes());
            }
            Width::Four => self.bytes.extend_from_slice(&[b0, b1, b2, b3]),
            Width::Eight => self.bytes.extend_from_slice(&payload.to_le_bytes()),
        }
        self.len += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        let stretch = Stretch { item: 0, count: 0, form: Form::Null, width: Width::None };
        Iter { stretches: self.stretches.iter(), bytes: &self.bytes, stretch, left: self.len }
    }
}

impl<'a> IntoIterator for &'a Packed {
    type Item = (u32, Scalar);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Packed::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    stretches: slice::Iter<'a, Stretch>,
    bytes: &'a [u8],
    /// What is left of the present one.
    stretch: Stretch,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = (u32, Scalar);

    #[inline]
    fn next(&mut self) -> Option<(u32, Scalar)> {
        if self.stretch.count == 0 {
            self.stretch = *self.stretches.next()?;
        }
        let Stretch { item, form, width, .. } = self.stretch;
        self.stretch.count -= 1;
        self.stretch.item = item.wrapping_add(1);
        self.left -= 1;
        let payload = match width {
            Width::None => 0,
            Width::Two => u64::from(u16::from_le_bytes(self.take()?)),
            Width::Four if form == Form::F64 => f64::from(f32::from_le_bytes(self.take()?)).to_bits(),
            Width::Four => u64::from(u32::from_le_bytes(self.take()?)),
            Width::Eight => u64::from_le_bytes(self.take()?),
        };
        let bits = match form {
            Form::I64 | Form::Time => unfold(payload).cast_unsigned(),
            Form::Null | Form::Bool | Form::U64 | Form::F64 | Form::Kept => payload,
        };
        Some((item, Scalar { form, bits }))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Iter<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*bytes)
    }
}

/// What is to be written, and the bytes that it takes at least.
#[inline]
fn fit(value: Scalar) -> (u64, Width) {
    match value.form {
        Form::Null | Form::Kept => (0, Width::None),
        Form::I64 | Form::Time => {
            let payload = fold(value.bits.cast_signed());
            (payload, width(payload))
        }
        Form::Bool | Form::U64 => (value.bits, width(value.bits)),
        Form::F64 => {
            let is_single = f64::from(single(f64::from_bits(value.bits))).to_bits() == value.bits;
            (value.bits, if is_single { Width::Four } else { Width::Eight })
        }
    }
}

#[inline]
fn width(payload: u64) -> Width {
    if u16::try_from(payload).is_ok() {
        Width::Two
    } else if u32::try_from(payload).is_ok() {
        Width::Four
    } else {
        Width::Eight
    }
}

/// Small numbers of either sign become small ones without.
#[inline]
fn fold(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

#[inline]
fn unfold(payload: u64) -> i64 {
    (payload >> 1).cast_signed() ^ -(payload & 1).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "whoever calls it compares with what was there before")]
#[inline]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(values: &[(u32, Scalar)]) -> Packed {
        let mut packed = Packed::with_capacity(values.len());
        for (item, value) in values {
            packed.push(*item, *value);
        }
        packed
    }

    #[test]
    fn a_register_takes_two_bytes_and_an_item_in_no_order_twenty() {
        let registers: Vec<_> = (7..1_007).map(|item| (item, Scalar::u64(u64::from(item) * 60))).collect();
        let all = packed(&registers);
        assert_eq!((all.stretches.len(), all.bytes.len(), all.len()), (1, 2_000, 1_000));
        let scattered: Vec<_> = (0..100).map(|place| (place * 2, Scalar::f64(0.1))).collect();
        let all = packed(&scattered);
        assert_eq!(all.stretches.len() * size_of::<Stretch>() + all.bytes.len(), 2_000);
    }

    #[test]
    fn a_wide_value_among_small_ones_makes_one_more_stretch() {
        let value = |item: u32| if item == 3 { u64::MAX } else { 1 };
        let values: Vec<_> = (0..10).map(|item| (item, Scalar::u64(value(item)))).collect();
        let all = packed(&values);
        assert_eq!(all.stretches.len(), 2);
        assert_eq!(all.iter().collect::<Vec<_>>(), values);
    }

    #[test]
    fn the_last_handle_of_all_is_followed_by_a_stretch_of_its_own() {
        let values = [(u32::MAX, Scalar::bool(true)), (0, Scalar::bool(false))];
        let all = packed(&values);
        assert_eq!((all.stretches.len(), all.is_empty()), (2, false));
        assert_eq!(all.iter().collect::<Vec<_>>(), values);
    }

    fn scalar() -> impl Strategy<Value = Scalar> {
        prop_oneof![
            Just(Scalar::NULL),
            any::<bool>().prop_map(Scalar::bool),
            any::<i64>().prop_map(Scalar::i64),
            (-70_000_i64..70_000).prop_map(Scalar::i64),
            any::<u64>().prop_map(Scalar::u64),
            (0_u64..70_000).prop_map(Scalar::u64),
            any::<u64>().prop_map(|bits| Scalar { form: Form::F64, bits }),
            any::<f32>().prop_map(|value| Scalar::f64(value.into())),
            any::<i64>().prop_map(Scalar::time),
            Just(Scalar::KEPT),
        ]
    }

    proptest! {
        #[test]
        fn values_come_out_as_they_went_in(
            values in prop::collection::vec((0_u32..6, scalar()), 0..60),
            step in 0_u32..2,
        ) {
            // Items in any order, or nearly always in theirs.
            let item = |(place, (item, value)): (u32, (u32, Scalar))| (item % 2 + place * step, value);
            let values: Vec<_> = (0..).zip(values).map(item).collect();
            let all = packed(&values);
            prop_assert_eq!(all.iter().len(), values.len());
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), values);
        }
    }
}
