//! What a plugin publishes, checked and taken into the item table.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use twinhub_contract::packed::Scalar;
use twinhub_loader::{RawBatch, ValueRef};
use twinhub_model::{ItemId, Quality, Sample, SampleFlags, Timestamp, Value};

use super::Port;
use crate::bundle::Bundle;

/// The longest text or byte value that fits a journal record.
const TEXT_BYTES_MAX: usize = 1_000_000;

impl Port {
    /// The values that are news, or all of them if nothing is stored; those that are not valid are counted.
    pub(super) fn samples(&self, batch: RawBatch<'_>, server: Timestamp, store: bool) -> Bundle {
        let mut samples = Bundle::with_capacity(batch.len());
        let count = self.setup.items.len();
        let mut invalid = 0;
        for update in batch {
            let Ok(update) = update else {
                invalid += 1;
                continue;
            };
            if update.item as usize >= count {
                invalid += 1;
                continue;
            }
            let item = ItemId(self.setup.base + update.item);
            let mut flags = SampleFlags(update.flags).only(SampleFlags::OF_PLUGINS);
            if self.setup.edges.contains(&update.item) {
                flags = flags.with(SampleFlags::EVENT);
            }
            let (quality, source) = (Quality(update.status), Timestamp(update.source_ns));
            if let Some(value) = to_scalar(update.value)
                && !flags.contains(SampleFlags::QUALITY_ONLY)
                && !flags.contains(SampleFlags::MIRROR)
            {
                // What most values are.
                let changed = !store || self.table.store_scalar(item, value, quality, source, server, flags);
                if changed || flags.contains(SampleFlags::EVENT) {
                    samples.push_scalar(item, value, quality, source, server, flags);
                }
                continue;
            }
            let mut value = to_value(&update.value);
            if flags.contains(SampleFlags::QUALITY_ONLY) {
                value = self.table.read(item).value;
                // A standby's items are those of the active node, and without a value there is nothing to keep.
                if !store || value == Value::Null {
                    continue;
                }
            }
            if value.text_bytes() > TEXT_BYTES_MAX {
                invalid += 1;
                continue;
            }
            if flags.contains(SampleFlags::MIRROR) {
                self.mirror.lock().unwrap_or_else(PoisonError::into_inner).insert(item.0, value);
                continue;
            }
            let changed = !store || self.table.store(item, &value, quality, source, server, flags);
            if changed || flags.contains(SampleFlags::EVENT) {
                samples.push(Sample { item, value, quality, source, server, flags });
            }
        }
        if invalid > 0 && self.counters.invalid.fetch_add(invalid, Ordering::Relaxed) == 0 {
            tracing::warn!(interface = %self.setup.id, invalid, "plugin published values that are not valid");
        }
        samples
    }
}

/// The value, if eight bytes hold it.
#[inline]
fn to_scalar(value: ValueRef<'_>) -> Option<Scalar> {
    match value {
        ValueRef::Null => Some(Scalar::NULL),
        ValueRef::Bool(value) => Some(Scalar::bool(value)),
        ValueRef::I64(value) => Some(Scalar::i64(value)),
        ValueRef::U64(value) => Some(Scalar::u64(value)),
        ValueRef::F64(value) => Some(Scalar::f64(value)),
        ValueRef::Time(value) => Some(Scalar::time(value)),
        ValueRef::Str(_) | ValueRef::Bytes(_) | ValueRef::Json(_) | ValueRef::Array { .. } => None,
    }
}

fn to_value(value: &ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Bool(value) => Value::Bool(*value),
        ValueRef::I64(value) => Value::I64(*value),
        ValueRef::U64(value) => Value::U64(*value),
        ValueRef::F64(value) => Value::F64(*value),
        ValueRef::Str(value) => Value::Str((*value).into()),
        ValueRef::Bytes(value) => Value::Bytes((*value).into()),
        ValueRef::Time(value) => Value::Time(*value),
        ValueRef::Json(value) => Value::Json((*value).into()),
        ValueRef::Array { bytes, .. } => Value::Bytes((*bytes).into()),
    }
}
