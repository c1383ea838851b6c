//! Values on their way from a plugin's thread to the engine.
//!
//! Both threads touch every byte of it, mostly on different processors, and fetching a line of memory from another
//! processor costs more than all else that is done with a value there. Hence sixteen bytes per value instead of the
//! fifty-six of a [`Sample`], and what the values of one answer have in common stands there once.

use twinhub_model::{ItemId, Quality, Sample, SampleFlags, Timestamp, Value};

/// Samples of one call of a plugin, in their order.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    rows: Vec<Row>,
    runs: Vec<Run>,
    /// Text and bytes, in the order of the rows that have them.
    texts: Vec<Value>,
}

/// One value.
#[derive(Debug, Clone, Copy)]
struct Row {
    item: ItemId,
    form: Form,
    payload: u64,
}

/// How a payload is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Bool,
    I64,
    U64,
    F64,
    Time,
    Text,
}

/// Values that have all else in common.
#[derive(Debug)]
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
        Bundle { rows: Vec::with_capacity(count), ..Bundle::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a value behind the others.
    #[inline]
    pub(crate) fn push(&mut self, sample: Sample) {
        let Sample { item, value, quality, source, server, flags } = sample;
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
        let (form, payload) = match value {
            Value::Null => (Form::Null, 0),
            Value::Bool(value) => (Form::Bool, u64::from(value)),
            Value::I64(value) => (Form::I64, value.cast_unsigned()),
            Value::U64(value) => (Form::U64, value),
            Value::F64(value) => (Form::F64, value.to_bits()),
            Value::Time(value) => (Form::Time, value.cast_unsigned()),
            text @ (Value::Str(_) | Value::Bytes(_) | Value::Json(_)) => {
                self.texts.push(text);
                (Form::Text, 0)
            }
        };
        self.rows.push(Row { item, form, payload });
    }

    /// Puts the samples into `out`, whose room is used again and again.
    pub(crate) fn unpack(self, out: &mut Vec<Sample>) {
        out.clear();
        out.reserve(self.rows.len());
        let mut texts = self.texts.into_iter();
        let mut rows = self.rows.iter();
        for Run { quality, source, server, flags, count } in self.runs {
            for Row { item, form, payload } in rows.by_ref().take(count) {
                let value = match form {
                    Form::Null => Value::Null,
                    Form::Bool => Value::Bool(*payload != 0),
                    Form::I64 => Value::I64(payload.cast_signed()),
                    Form::U64 => Value::U64(*payload),
                    Form::F64 => Value::F64(f64::from_bits(*payload)),
                    Form::Time => Value::Time(payload.cast_signed()),
                    Form::Text => texts.next().unwrap_or_default(),
                };
                out.push(Sample { item: *item, value, quality, source, server, flags });
            }
        }
    }
}

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
    }

    #[test]
    fn a_value_takes_sixteen_bytes() {
        assert_eq!(size_of::<Row>(), 16);
        let one = |place| Sample {
            item: ItemId(place),
            value: Value::U64(u64::from(place)),
            quality: Quality::GOOD,
            source: Timestamp(1),
            server: Timestamp(2),
            flags: SampleFlags::default(),
        };
        assert_eq!((0..500).map(one).collect::<Bundle>().runs.len(), 1);
    }
}
