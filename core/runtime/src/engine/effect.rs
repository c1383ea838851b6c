//! What leaves by a plugin, and what its answer means.

use twinhub_contract::code;
use twinhub_loader::ValueOut;
use twinhub_model::{Outcome, Sample, SampleFlags, Value};

/// Whether links carry this sample: a value that is not bad, not only a new quality of the one before, and not older
/// than what was carried, unless every one counts.
pub(crate) fn is_carried(sample: &Sample) -> bool {
    !sample.quality.is_bad()
        && sample.value != Value::Null
        && !sample.flags.contains(SampleFlags::QUALITY_ONLY)
        && (!sample.flags.contains(SampleFlags::OLD) || sample.flags.contains(SampleFlags::EVENT))
}

/// Whether what was read anew shows what was there before. Of what counts each time, and of what was heard while nobody
/// acted, an equal one is another one.
pub(crate) fn is_same_image(sample: &Sample, shown: &Value) -> bool {
    !sample.flags.contains(SampleFlags::EVENT)
        && !sample.flags.contains(SampleFlags::REPLAY)
        && sample.value.is_equivalent(shown)
}

pub(crate) fn to_contract(value: &Value) -> ValueOut<'_> {
    match value {
        Value::Null => ValueOut::Null,
        Value::Bool(value) => ValueOut::Bool(*value),
        Value::I64(value) => ValueOut::I64(*value),
        Value::U64(value) => ValueOut::U64(*value),
        Value::F64(value) => ValueOut::F64(*value),
        Value::Str(value) => ValueOut::Str(value),
        Value::Bytes(value) => ValueOut::Bytes(value),
        Value::Time(value) => ValueOut::Time(*value),
        Value::Json(value) => ValueOut::Json(value),
    }
}

pub(crate) fn outcome_of(result: i32) -> Outcome {
    match result {
        code::OK => Outcome::Done,
        // Who panicked does not know how far it had come.
        code::TIMEOUT | code::PANIC => Outcome::InDoubt,
        code::NOT_ACTIVE | code::STALE_EPOCH => Outcome::Fenced,
        other => Outcome::Refused(other),
    }
}
