//! Values on their way from a plugin's thread to the engine.
//!
//! Mostly two bytes per value ([`Packed`]) instead of the fifty-six of a [`Sample`], and what the values of one answer
//! have in common stands there once.

use twinhub_contract::packed::{self, Form, Packed, Scalar};
use twinhub_model::{ItemId, Quality, Sample, SampleFlags, Timestamp, Value};

/// Samples of one call of a plugin, in their order.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    values: Packed,
    runs: Vec<Run>,
    /// Text and bytes, in the order of the values that have them.
    texts: Vec<Value>,
}

/// Values that have all else in common.
#[derive(Debug, Clone, Copy)]
struct Run {
    quality: Quality,
    source: Timestamp,
    server: Timestamp,
    flags: SampleFlags,
    count: usize,
}

impl Bundle {
    /// Room for `count` values.
    pub(crate) fn with_capacity(count: usize) -> Bundle {
        Bundle { values: Packed::with_capacity(count), ..Bundle::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Puts a value behind the others.
    pub(crate) fn push(&mut self, sample: Sample) {
        let Sample { item, value, quality, source, server, flags } = sample;
        let scalar = match value {
            Value::Null => Scalar::NULL,
            Value::Bool(value) => Scalar::bool(value),
            Value::I64(value) => Scalar::i64(value),
            Value::U64(value) => Scalar::u64(value),
            Value::F64(value) => Scalar::f64(value),
            Value::Time(value) => Scalar::time(value),
            text @ (Value::Str(_) | Value::Bytes(_) | Value::Json(_)) => {
                self.texts.push(text);
                Scalar::KEPT
            }
        };
        self.push_scalar(item, scalar, quality, source, server, flags);
    }

    /// As [`Bundle::push`] for a value that is not kept elsewhere.
    #[inline]
    pub(crate) fn push_scalar(
        &mut self,
        item: ItemId,
        value: Scalar,
        quality: Quality,
        source: Timestamp,
        server: Timestamp,
        flags: SampleFlags,
    ) {
        match self.runs.last_mut() {
            Some(run)
                if run.source == source
                    && run.server == server
                    && run.quality == quality
                    && run.flags == flags =>
            {
                run.count += 1;
            }
            Some(_) | None => self.runs.push(Run { quality, source, server, flags, count: 1 }),
        }
        self.values.push(item.0, value);
    }

    /// Bytes of text among the values.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts.iter().map(Value::text_bytes).sum()
    }

    /// The samples, one after the other.
    #[inline]
    pub(crate) fn iter(&self) -> Samples<'_> {
        let none = Run {
            quality: Quality::GOOD,
            source: Timestamp::NONE,
            server: Timestamp::NONE,
            flags: SampleFlags::default(),
            count: 0,
        };
        Samples { values: self.values.iter(), runs: self.runs.iter(), run: none, texts: self.texts.iter() }
    }

    /// Puts the samples into `out`, whose room is used again and again.
    pub(crate) fn unpack(&self, out: &mut Vec<Sample>) {
        out.clear();
        out.extend(self.iter());
    }
}

/// See [`Bundle::iter`].
#[derive(Debug, Clone)]
pub(crate) struct Samples<'a> {
    values: packed::Iter<'a>,
    runs: std::slice::Iter<'a, Run>,
    /// What is left of the present one.
    run: Run,
    texts: std::slice::Iter<'a, Value>,
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    #[inline]
    fn next(&mut self) -> Option<Sample> {
        let (item, scalar) = self.values.next()?;
        if self.run.count == 0 {
            self.run = *self.runs.next()?;
        }
        self.run.count -= 1;
        let Scalar { form, bits } = scalar;
        let value = match form {
            Form::Null => Value::Null,
            Form::Bool => Value::Bool(bits != 0),
            Form::I64 => Value::I64(bits.cast_signed()),
            Form::U64 => Value::U64(bits),
            Form::F64 => Value::F64(f64::from_bits(bits)),
            Form::Time => Value::Time(bits.cast_signed()),
            Form::Kept => self.texts.next().cloned().unwrap_or_default(),
        };
        let Run { quality, source, server, flags, .. } = self.run;
        Some(Sample { item: ItemId(item), value, quality, source, server, flags })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.values.size_hint()
    }
}

impl ExactSizeIterator for Samples<'_> {}

impl FromIterator<Sample> for Bundle {
    fn from_iter<T: IntoIterator<Item = Sample>>(samples: T) -> Bundle {
        let mut bundle = Bundle::default();
        for sample in samples {
            bundle.push(sample);
        }
        bundle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_as_they_went_in() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::I64(i64::MIN),
            Value::Str("on".into()),
            Value::U64(u64::MAX),
            Value::F64(-0.5),
            Value::Bytes(vec![1, 2].into()),
            Value::Time(-7),
            Value::Json("{}".into()),
            Value::Bool(false),
        ];
        let samples: Vec<Sample> = (0_u32..)
            .zip(values)
            .map(|(place, value)| Sample {
                item: ItemId(place / 2),
                value,
                quality: if place == 4 { Quality::UNCERTAIN_LAST_USABLE } else { Quality::GOOD },
                source: Timestamp(i64::from(place / 3)),
                server: Timestamp(if place < 8 { 5 } else { 6 }),
                flags: if place == 6 { SampleFlags::EVENT } else { SampleFlags::default() },
            })
            .collect();
        let bundle: Bundle = samples.iter().cloned().collect();
        assert_eq!((bundle.len(), bundle.is_empty()), (samples.len(), false));
        let mut out = vec![samples[0].clone()];
        bundle.unpack(&mut out);
        assert_eq!(out, samples);
        assert_eq!(bundle.text_bytes(), 6);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        twinhub_wire::record::encode_samples(bundle.iter(), &mut one);
        twinhub_wire::record::encode_samples(&samples, &mut other);
        assert_eq!(one, other, "in the journal they are the same");
    }

    #[test]
    fn the_values_of_one_answer_are_one_run() {
        let one = |place| Sample {
            item: ItemId(place),
            value: Value::U64(u64::from(place)),
            quality: Quality::GOOD,
            source: Timestamp(1),
            server: Timestamp(2),
            flags: SampleFlags::default(),
        };
        let bundle = (0..500).map(one).collect::<Bundle>();
        assert_eq!((bundle.runs.len(), bundle.text_bytes()), (1, 0));
    }
}
