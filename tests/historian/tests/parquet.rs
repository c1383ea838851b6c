//! A Parquet file of ours is read by the implementation of the Apache project.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use serde_json::{Value as Json, json};
use twinhub_history::{ParquetRow, ParquetWriter, Row};
use twinhub_model::{Epoch, NodeRank, Position, Quality, SampleFlags, Timestamp, Value};
use twinhub_peers::peers_dir;

const BEGIN_NS: i64 = 1_763_000_000_123_456_789;
const COLUMNS: [&str; 13] = [
    "item",
    "source_time",
    "server_time",
    "number",
    "integer",
    "text",
    "quality",
    "cause",
    "origin",
    "epoch",
    "sequence",
    "place",
    "replayed",
];
/// Each column as a list; times as nanoseconds, numbers by their bits.
const READ: &str = "import json, struct, sys\n\
    import pyarrow as pa, pyarrow.parquet as pq\n\
    table = pq.read_table(sys.argv[1])\n\
    assert table.schema.field('source_time').type == pa.timestamp('ns', 'UTC'), table.schema\n\
    for name in ('source_time', 'server_time'):\n    \
        at = table.schema.get_field_index(name)\n    \
        table = table.set_column(at, name, table.column(name).cast(pa.int64()))\n\
    bits = lambda one: one if not isinstance(one, float) else struct.pack('>d', one).hex()\n\
    columns = [[bits(one) for one in table.column(name).to_pylist()] for name in table.column_names]\n\
    print(json.dumps({'names': table.column_names, 'groups': pq.ParquetFile(sys.argv[1]).num_row_groups, 'columns': columns}))\n";

fn rows(count: i64) -> Vec<ParquetRow> {
    let values = [
        Value::F64(21.5),
        Value::I64(-7),
        Value::U64(u64::MAX),
        Value::Bool(true),
        Value::Null,
        Value::Str("grün, \"x\"".into()),
        Value::Json("{\"a\":1}".into()),
        Value::Bytes([0xca, 0xfe].as_slice().into()),
        Value::Time(BEGIN_NS),
        Value::F64(f64::MAX),
        Value::I64(i64::MIN),
    ];
    let mut rows = Vec::new();
    for number in 0..count {
        let index = usize::try_from(number).unwrap();
        // Regular times with a jump, back and forth now and then.
        let source =
            BEGIN_NS + number * 1_000_000_000 + (number % 97) * 1_234 - (number / 500) * 86_400_000_000_000;
        rows.push(ParquetRow {
            item: "plc1/boiler".into(),
            row: Row {
                source: Timestamp(source),
                server: Timestamp(source + number % 3),
                value: values[index % values.len()].clone(),
                quality: Quality::GOOD,
                flags: SampleFlags::default(),
                position: Position::new(Epoch::new(9, NodeRank(1)), u64::try_from(number).unwrap()),
                place: u32::try_from(number % 2).unwrap(),
            },
            quality: ["good", "bad"][usize::from(number % 7 == 0)].into(),
            cause: if number % 7 == 0 { format!("cause {}", number % 300) } else { String::new() },
            origin: "main".into(),
            replayed: number % 5 == 0,
        });
    }
    rows
}

fn expected(rows: &[ParquetRow]) -> Vec<Json> {
    let integer = |value: &Value| match value {
        Value::I64(value) | Value::Time(value) => json!(value),
        Value::Bool(value) => json!(i64::from(*value)),
        Value::Null | Value::U64(_) | Value::F64(_) | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => {
            Json::Null
        }
    };
    let text = |value: &Value| match value {
        Value::Str(text) | Value::Json(text) => json!(&**text),
        Value::Bytes(_) | Value::U64(_) => json!(value.to_string()),
        Value::Time(time) => json!(Timestamp(*time).to_string()),
        Value::Null | Value::Bool(_) | Value::I64(_) | Value::F64(_) => Json::Null,
    };
    let column = |pick: &dyn Fn(&ParquetRow) -> Json| Json::Array(rows.iter().map(pick).collect());
    vec![
        column(&|row| json!(row.item)),
        column(&|row| json!(row.row.source.0)),
        column(&|row| json!(row.row.server.0)),
        column(&|row| json!(row.row.value.as_f64().map(|number| format!("{:016x}", number.to_bits())))),
        column(&|row| integer(&row.row.value)),
        column(&|row| text(&row.row.value)),
        column(&|row| json!(row.quality)),
        column(&|row| json!(row.cause)),
        column(&|row| json!(row.origin)),
        column(&|row| json!(row.row.position.epoch.0)),
        column(&|row| json!(row.row.position.seq)),
        column(&|row| json!(row.row.place)),
        column(&|row| json!(row.replayed)),
    ]
}

#[test]
fn every_row_comes_back_from_pyarrow() {
    let dir = tempfile::tempdir().unwrap();
    let python = peers_dir().join("venv/bin/python");
    for (count, groups) in [(0, 0), (1, 1), (2, 1), (129, 1), (1000, 1), (70_000, 2)] {
        let rows = rows(count);
        let mut writer = ParquetWriter::new();
        let mut bytes = Vec::new();
        for row in &rows {
            writer.push(row.clone());
            bytes.extend(writer.take());
        }
        bytes.extend(writer.finish());
        let path = dir.path().join(format!("{count}.parquet"));
        std::fs::write(&path, &bytes).unwrap();
        let output = Command::new(&python).args(["-c", READ]).arg(&path).output();
        let output = output.expect("`cargo xtask setup` installed Python with pyarrow");
        assert!(output.status.success(), "{count}: {}", String::from_utf8_lossy(&output.stderr));
        let read: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&read["names"], &read["groups"]), (&json!(COLUMNS), &json!(groups)), "{count}");
        for ((name, expected), found) in
            COLUMNS.iter().zip(expected(&rows)).zip(read["columns"].as_array().unwrap())
        {
            assert!(*found == expected, "{count} rows: column {name} is another");
        }
    }
}
