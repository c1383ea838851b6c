//! Rows as a Parquet file, which pandas, `DuckDB` and spreadsheets open.
//!
//! ```text
//! PAR1 | row group: dictionary and data page of each column | ... | footer (thrift, compact) | its length u32 | PAR1
//! ```
//! Times, epochs and numbers of records are differences packed in bits (`DELTA_BINARY_PACKED`), words are kept once
//! (`RLE_DICTIONARY`), other values stand as they are. There is one column for each kind of value, null where a row has
//! another; `number` has every number, also those that `integer` has exactly. Not compressed: equal columns take next to
//! nothing already. A writer of the Apache project has forty times the code and its own runtime types.

mod encoding;
mod thrift;

use twinhub_model::{Timestamp, Value};

use self::encoding::{Strings, bytes_page, delta_page, levels, plain_page};
use self::thrift::{Compact, FIELD_STOP};
use crate::Row;

/// Rows of one row group, and bytes of text in their values: what is held in memory.
const GROUP_ROWS: usize = 64 * 1024;
const GROUP_TEXT_BYTES: usize = 8 << 20;
const MAGIC: &[u8; 4] = b"PAR1";

/// Writes rows into a file, group by group.
#[derive(Debug)]
pub struct ParquetWriter {
    out: Vec<u8>,
    /// Bytes that were taken out already.
    taken: u64,
    rows: Vec<ParquetRow>,
    text_bytes: usize,
    groups: Vec<Group>,
    total: u64,
}

/// A row with the words that only the caller knows.
#[derive(Debug, Clone, PartialEq)]
pub struct ParquetRow {
    /// The item's key.
    pub item: String,
    /// What is kept.
    pub row: Row,
    /// `good`, `uncertain` or `bad`.
    pub quality: String,
    /// Why it is not good.
    pub cause: String,
    /// The node that was active then.
    pub origin: String,
    /// Whether it was replayed.
    pub replayed: bool,
}

#[derive(Debug)]
struct Group {
    chunks: Vec<Chunk>,
    rows: u64,
}

#[derive(Debug)]
struct Chunk {
    dictionary_at: Option<u64>,
    data_at: u64,
    bytes: u64,
    values: u64,
    encoding: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Int64,
    /// Nanoseconds since 1970, UTC.
    Time,
    Double,
    Text,
}

/// Name, kind, whether it may be null.
const COLUMNS: [(&str, Kind, bool); 13] = [
    ("item", Kind::Text, false),
    ("source_time", Kind::Time, false),
    ("server_time", Kind::Time, false),
    ("number", Kind::Double, true),
    ("integer", Kind::Int64, true),
    ("text", Kind::Text, true),
    ("quality", Kind::Text, false),
    ("cause", Kind::Text, false),
    ("origin", Kind::Text, false),
    ("epoch", Kind::Int64, false),
    ("sequence", Kind::Int64, false),
    ("place", Kind::Int64, false),
    ("replayed", Kind::Boolean, false),
];

impl Default for ParquetWriter {
    fn default() -> ParquetWriter {
        ParquetWriter::new()
    }
}

impl ParquetWriter {
    /// An empty file.
    pub fn new() -> ParquetWriter {
        ParquetWriter {
            out: MAGIC.to_vec(),
            taken: 0,
            rows: Vec::new(),
            text_bytes: 0,
            groups: Vec::new(),
            total: 0,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: ParquetRow) {
        self.text_bytes += row.row.value.text_bytes();
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS || self.text_bytes >= GROUP_TEXT_BYTES {
            self.close_group();
        }
    }

    /// What is ready of the file; the rest follows.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// The rest of the file.
    pub fn finish(mut self) -> Vec<u8> {
        self.close_group();
        let start = self.out.len();
        self.footer();
        let length = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(MAGIC);
        self.out
    }

    fn at(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    fn close_group(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.text_bytes = 0;
        if rows.is_empty() {
            return;
        }
        self.total += rows.len() as u64;
        let mut chunks = Vec::with_capacity(COLUMNS.len());
        for number in 0..COLUMNS.len() {
            chunks.push(self.column(number, &rows));
        }
        self.groups.push(Group { chunks, rows: rows.len() as u64 });
    }

    fn column(&mut self, number: usize, rows: &[ParquetRow]) -> Chunk {
        let (_, kind, is_optional) = COLUMNS[number];
        let begun = self.at();
        let mut dictionary_at = None;
        let mut page = Vec::new();
        let encoding = match kind {
            Kind::Text => {
                let texts: Vec<Option<String>> = rows.iter().map(|row| text_of(number, row)).collect();
                if is_optional {
                    levels(texts.iter().map(Option::is_some), &mut page);
                }
                let present = texts.iter().flatten().map(String::as_str);
                if let Some(strings) = Strings::of(present.clone()) {
                    dictionary_at = Some(begun);
                    let dictionary = strings.dictionary();
                    self.page(&dictionary, strings.len(), None);
                    strings.indices(&mut page);
                    RLE_DICTIONARY
                } else {
                    bytes_page(present, &mut page);
                    PLAIN
                }
            }
            Kind::Int64 | Kind::Time => {
                let numbers: Vec<Option<i64>> = rows.iter().map(|row| integer_of(number, row)).collect();
                if is_optional {
                    levels(numbers.iter().map(Option::is_some), &mut page);
                }
                let present: Vec<i64> = numbers.into_iter().flatten().collect();
                delta_page(&present, &mut page);
                DELTA_BINARY_PACKED
            }
            Kind::Double => {
                let numbers: Vec<Option<f64>> = rows.iter().map(|row| row.row.value.as_f64()).collect();
                levels(numbers.iter().map(Option::is_some), &mut page);
                plain_page(numbers.into_iter().flatten(), &mut page);
                PLAIN
            }
            Kind::Boolean => {
                let mut bits = vec![0_u8; rows.len().div_ceil(8)];
                for (at, _) in rows.iter().enumerate().filter(|(_, row)| row.replayed) {
                    bits[at / 8] |= 1 << (at % 8);
                }
                page.extend_from_slice(&bits);
                PLAIN
            }
        };
        let data_at = self.at();
        self.page(&page, rows.len(), Some(encoding));
        Chunk { dictionary_at, data_at, bytes: self.at() - begun, values: rows.len() as u64, encoding }
    }

    /// A page with its header; without an encoding it is a dictionary.
    fn page(&mut self, content: &[u8], values: usize, encoding: Option<i32>) {
        let length = i64::try_from(content.len()).unwrap_or(i64::MAX);
        let values = i64::try_from(values).unwrap_or(i64::MAX);
        let mut header = Compact::new(&mut self.out);
        header.int(1, if encoding.is_some() { DATA_PAGE } else { DICTIONARY_PAGE });
        header.int(2, length);
        header.int(3, length);
        if let Some(encoding) = encoding {
            header.begin(5);
            header.int(1, values);
            header.int(2, i64::from(encoding));
            header.int(3, i64::from(RLE));
            header.int(4, i64::from(RLE));
        } else {
            header.begin(7);
            header.int(1, values);
            header.int(2, i64::from(PLAIN));
        }
        header.end();
        header.end();
        self.out.extend_from_slice(content);
    }

    fn footer(&mut self) {
        let mut footer = Compact::new(&mut self.out);
        footer.int(1, 2);
        footer.list(2, FIELD_STRUCT, COLUMNS.len() + 1);
        footer.element();
        footer.text(4, "history");
        footer.int(5, i64::try_from(COLUMNS.len()).unwrap_or(0));
        footer.end();
        for (name, kind, is_optional) in COLUMNS {
            footer.element();
            schema(&mut footer, name, kind, is_optional);
            footer.end();
        }
        footer.long(3, self.total);
        footer.list(4, FIELD_STRUCT, self.groups.len());
        for group in &self.groups {
            footer.element();
            footer.list(1, FIELD_STRUCT, group.chunks.len());
            for (chunk, (name, kind, _)) in group.chunks.iter().zip(COLUMNS) {
                footer.element();
                let begins = chunk.dictionary_at.unwrap_or(chunk.data_at);
                footer.long(2, begins);
                footer.begin(3);
                footer.int(1, kind.physical());
                let encodings = [RLE, PLAIN, chunk.encoding];
                let encodings = if chunk.encoding == PLAIN { &encodings[..2] } else { &encodings[..] };
                footer.list(2, FIELD_INT, encodings.len());
                for encoding in encodings {
                    footer.bare_int(i64::from(*encoding));
                }
                footer.list(3, FIELD_BINARY, 1);
                footer.bare_text(name);
                footer.int(4, 0);
                footer.long(5, chunk.values);
                footer.long(6, chunk.bytes);
                footer.long(7, chunk.bytes);
                footer.long(9, chunk.data_at);
                if let Some(at) = chunk.dictionary_at {
                    footer.long(11, at);
                }
                footer.end();
                footer.end();
            }
            footer.long(2, group.chunks.iter().map(|chunk| chunk.bytes).sum());
            footer.long(3, group.rows);
            footer.end();
        }
        footer.text(6, concat!("twinhub version ", env!("CARGO_PKG_VERSION")));
        footer.end();
    }
}

fn schema(footer: &mut Compact<'_>, name: &str, kind: Kind, is_optional: bool) {
    footer.int(1, kind.physical());
    footer.int(3, i64::from(is_optional));
    footer.text(4, name);
    match kind {
        Kind::Text => {
            footer.int(6, UTF8);
            footer.begin(10);
            footer.begin(LOGICAL_STRING);
            footer.end();
            footer.end();
        }
        Kind::Time => {
            footer.begin(10);
            footer.begin(LOGICAL_TIMESTAMP);
            footer.truth(1);
            footer.begin(2);
            footer.begin(UNIT_NANOS);
            footer.end();
            footer.end();
            footer.end();
            footer.end();
        }
        Kind::Boolean | Kind::Int64 | Kind::Double => {}
    }
}

impl Kind {
    const fn physical(self) -> i64 {
        match self {
            Kind::Boolean => 0,
            Kind::Int64 | Kind::Time => 2,
            Kind::Double => 5,
            Kind::Text => 6,
        }
    }
}

fn integer_of(column: usize, row: &ParquetRow) -> Option<i64> {
    let row = &row.row;
    match COLUMNS[column].0 {
        "source_time" => Some(row.source.0),
        "server_time" => Some(row.server.0),
        "integer" => match &row.value {
            Value::I64(value) | Value::Time(value) => Some(*value),
            Value::U64(value) => i64::try_from(*value).ok(),
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Null | Value::F64(_) | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => None,
        },
        "epoch" => Some(row.position.epoch.0.cast_signed()),
        "sequence" => Some(row.position.seq.cast_signed()),
        _ => Some(i64::from(row.place)),
    }
}

fn text_of(column: usize, row: &ParquetRow) -> Option<String> {
    match COLUMNS[column].0 {
        "item" => Some(row.item.clone()),
        "quality" => Some(row.quality.clone()),
        "cause" => Some(row.cause.clone()),
        "origin" => Some(row.origin.clone()),
        _ => match &row.row.value {
            Value::Str(text) | Value::Json(text) => Some(text.to_string()),
            Value::Bytes(_) => Some(row.row.value.to_string()),
            Value::Time(time) => Some(Timestamp(*time).to_string()),
            Value::U64(value) if i64::try_from(*value).is_err() => Some(value.to_string()),
            Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => None,
        },
    }
}

const PLAIN: i32 = 0;
const RLE: i32 = 3;
const DELTA_BINARY_PACKED: i32 = 5;
const RLE_DICTIONARY: i32 = 8;
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const UTF8: i64 = 0;
const LOGICAL_STRING: i16 = 1;
const LOGICAL_TIMESTAMP: i16 = 8;
const UNIT_NANOS: i16 = 3;
const FIELD_INT: u8 = 5;
const FIELD_BINARY: u8 = 8;
const FIELD_STRUCT: u8 = 12;
const _: () = assert!(FIELD_STOP == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_close_a_group_before_they_fill_the_memory() {
        let mut writer = ParquetWriter::new();
        for seq in 0..20 {
            let row = crate::tests::plain(seq);
            writer.push(ParquetRow {
                item: "plc/text".to_owned(),
                row: Row { value: Value::Str("x".repeat(1_000_000).into()), ..row },
                quality: "good".to_owned(),
                cause: String::new(),
                origin: "main".to_owned(),
                replayed: false,
            });
        }
        assert_eq!((writer.groups.len(), writer.rows.len()), (2, 2));
    }
}
