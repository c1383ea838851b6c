//! The store against a list of rows, and against bytes that are not what was written.

mod copy;
mod damage;
mod gaps;
mod model;
mod snapshot;
mod tail;
mod twins;

use proptest::prelude::*;
use twinhub_model::{Epoch, NodeRank, Position, Quality, SampleFlags, Timestamp, Value};

use crate::Row;

/// Rows in any order, of all kinds.
pub(crate) fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), count)
}

fn row() -> impl Strategy<Value = Row> {
    let time =
        prop_oneof![4 => (0_i64..100).prop_map(|s| s * 1_000_000_000), 1 => any::<i64>().prop_map(|t| t / 4)];
    let quality = prop_oneof![4 => Just(0_u32), 1 => any::<u32>()];
    let flags = prop_oneof![4 => Just(0_u32), 1 => any::<u32>()];
    (time, 0_i64..5, value(), quality, flags, 1_u64..4, 0_u64..50, 0_u32..2).prop_map(
        |(source, late, value, quality, flags, epoch, seq, place)| Row {
            source: Timestamp(source),
            server: Timestamp(source + late * 1_000_000),
            value,
            quality: Quality(quality),
            flags: SampleFlags(flags),
            position: Position::new(Epoch::new(epoch, NodeRank(0)), seq),
            place,
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (-2000_i32..2000).prop_map(|x| Value::F64(f64::from(x) / 10.0)),
        1 => any::<f64>().prop_map(Value::F64),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::I64),
        1 => any::<u64>().prop_map(Value::U64),
        1 => any::<i64>().prop_map(Value::Time),
        1 => "[a-zä]{0,9}".prop_map(|text| Value::Str(text.into())),
        1 => "[0-9]{0,4}".prop_map(|text| Value::Json(text.into())),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

/// Equal, with not-a-number equal to itself.
pub(crate) fn same(one: &[Row], two: &[Row]) -> bool {
    let is_same = |(one, two): (&Row, &Row)| {
        one.id() == two.id()
            && one.server == two.server
            && one.quality == two.quality
            && one.flags == two.flags
            && one.value.is_same(&two.value)
    };
    one.len() == two.len() && one.iter().zip(two).all(is_same)
}

const SECOND: i64 = 1_000_000_000;

/// The value of a sensor in this second.
pub(crate) fn plain(second: u64) -> Row {
    let small = u32::try_from(second % 97).unwrap();
    Row {
        source: Timestamp(second.cast_signed() * SECOND),
        server: Timestamp(second.cast_signed() * SECOND + 3_000_000),
        value: Value::F64(f64::from(small) / 10.0),
        quality: Quality::GOOD,
        flags: SampleFlags::default(),
        position: Position::new(Epoch::new(1, NodeRank(0)), second),
        place: 0,
    }
}
