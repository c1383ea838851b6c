//! Rows as columns of the table `history`.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use twinhub_history::Row;
use twinhub_model::{Timestamp, Value};

/// One list for each column.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) items: Vec<i64>,
    pub(crate) source_times: Vec<Instant>,
    pub(crate) nanos: Vec<i16>,
    pub(crate) epochs: Vec<i64>,
    pub(crate) sequences: Vec<i64>,
    pub(crate) places: Vec<i32>,
    pub(crate) server_times: Vec<Instant>,
    pub(crate) qualities: Vec<i64>,
    pub(crate) flags: Vec<i32>,
    pub(crate) types: Vec<&'static str>,
    pub(crate) numbers: Vec<Option<f64>>,
    pub(crate) integers: Vec<Option<i64>>,
    pub(crate) texts: Vec<Option<String>>,
}

impl Columns {
    pub(crate) fn push(&mut self, item: i64, row: &Row) {
        let (source, nanos) = split(row.source);
        self.items.push(item);
        self.source_times.push(source);
        self.nanos.push(nanos);
        // The same 64 or 32 bits: no two become one.
        self.epochs.push(row.position.epoch.0.cast_signed());
        self.sequences.push(row.position.seq.cast_signed());
        self.places.push(row.place.cast_signed());
        self.server_times.push(split(row.server).0);
        self.qualities.push(i64::from(row.quality.0));
        self.flags.push(row.flags.0.cast_signed());
        self.types.push(row.value.kind());
        self.numbers.push(row.value.as_f64());
        self.integers.push(integer(&row.value));
        self.texts.push(text(&row.value));
    }

    /// What names a row, in the order of the table.
    pub(crate) fn key_parameters(&self) -> [&(dyn ToSql + Sync); 6] {
        [&self.items, &self.source_times, &self.nanos, &self.epochs, &self.sequences, &self.places]
    }

    /// In the order of the table.
    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 13] {
        [
            &self.items,
            &self.source_times,
            &self.nanos,
            &self.epochs,
            &self.sequences,
            &self.places,
            &self.server_times,
            &self.qualities,
            &self.flags,
            &self.types,
            &self.numbers,
            &self.integers,
            &self.texts,
        ]
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::I64(value) | Value::Time(value) => Some(*value),
        Value::U64(value) => i64::try_from(*value).ok(),
        Value::Null | Value::F64(_) | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) | Value::Json(text) => Some(without_nul(text)),
        Value::Bytes(_) => Some(value.to_string()),
        Value::U64(number) if i64::try_from(*number).is_err() => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Time(_) => None,
    }
}

/// `PostgreSQL` has no character NUL.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Microseconds, and the nanoseconds behind them.
fn split(time: Timestamp) -> (Instant, i16) {
    let nanos = i16::try_from(time.0.rem_euclid(1_000)).unwrap_or(0);
    (Instant(time.0.div_euclid(1_000) - EPOCH_MICROS), nanos)
}

/// Microseconds from 1970, as nodes count, to 2000, as `PostgreSQL` does.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Microseconds since 2000 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(i64);

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_model::{Epoch, Position, Quality, SampleFlags};

    use super::*;

    fn row(source: i64, value: Value) -> Row {
        Row {
            source: Timestamp(source),
            server: Timestamp(source),
            value,
            quality: Quality::GOOD,
            flags: SampleFlags::default(),
            position: Position::new(Epoch(u64::MAX), u64::MAX),
            place: u32::MAX,
        }
    }

    #[test]
    fn each_kind_of_value_has_its_columns() {
        let values = [
            (Value::Null, None, None, None),
            (Value::Bool(true), Some(1.0), Some(1), None),
            (Value::I64(-7), Some(-7.0), Some(-7), None),
            (Value::U64(7), Some(7.0), Some(7), None),
            (Value::U64(u64::MAX), Some(18_446_744_073_709_552_000.0), None, Some("18446744073709551615")),
            (Value::F64(f64::INFINITY), Some(f64::INFINITY), None, None),
            (Value::Str("a\0b".into()), None, None, Some("a\u{fffd}b")),
            (Value::Json("{}".into()), None, None, Some("{}")),
            (Value::Bytes([0xca, 0xfe].as_slice().into()), None, None, Some("cafe")),
            (Value::Time(5), Some(5.0), Some(5), None),
        ];
        for (value, number, integer, text) in values {
            let mut columns = Columns::default();
            columns.push(1, &row(0, value.clone()));
            let found = (columns.numbers[0], columns.integers[0], columns.texts[0].as_deref());
            assert_eq!(found, (number, integer, text), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_one_of_postgresql_and_no_two_are_one(one: i64, two: i64) {
            for time in [one, two, i64::MIN, i64::MAX] {
                let (micros, nanos) = split(Timestamp(time));
                prop_assert_eq!(i128::from(micros.0 + EPOCH_MICROS) * 1_000 + i128::from(nanos), i128::from(time));
                // From 4713 BC to 294276 AD.
                prop_assert!((-211_813_488_000_000_000..9_223_371_331_200_000_000).contains(&micros.0));
            }
            prop_assert_eq!(split(Timestamp(one)) == split(Timestamp(two)), one == two);
        }
    }
}
