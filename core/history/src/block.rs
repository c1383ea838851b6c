//! Rows of one item as columns.
//!
//! ```text
//! count varint | source times | server - source | qualities | flags | epochs | numbers in the epoch | places | values
//! ```

use twinhub_model::{Epoch, Position, Quality, SampleFlags, Timestamp, Value};

use crate::bytes::{Broken, Reader, put_u64};
use crate::columns::{integers, values};
use crate::{Row, Stats};

/// Rows of one block at most.
pub const BLOCK_ROWS_MAX: usize = 4096;
/// A block is closed above so many bytes of text.
pub(crate) const BLOCK_TEXT_BYTES: usize = 1 << 20;

/// Appends rows, which stand in order; returns what the index says of them.
pub(crate) fn encode(rows: &[Row], out: &mut Vec<u8>) -> Option<Stats> {
    let stats = Stats::of(rows)?;
    put_u64(out, rows.len() as u64);
    let mut column = Vec::with_capacity(rows.len());
    let columns: [fn(&Row) -> i64; 7] = [
        |row| row.source.0,
        |row| row.server.0.wrapping_sub(row.source.0),
        |row| i64::from(row.quality.0),
        |row| i64::from(row.flags.0),
        |row| row.position.epoch.0.cast_signed(),
        |row| row.position.seq.cast_signed(),
        |row| i64::from(row.place),
    ];
    for pick in columns {
        column.clear();
        column.extend(rows.iter().map(pick));
        integers::put(out, &column);
    }
    values::put(out, rows.iter().map(|row| &row.value));
    Some(stats)
}

/// Reads a block's rows and adds them to `out`.
///
/// # Errors
/// [`Broken`] if the bytes are not what [`encode`] wrote; `out` may hold a part then.
pub(crate) fn decode(bytes: &[u8], out: &mut Vec<Row>) -> Result<(), Broken> {
    const WHAT: &str = "a block";
    let mut reader = Reader::new(bytes);
    let count = reader.size(WHAT)?;
    if count > BLOCK_ROWS_MAX {
        return Err(Broken { what: WHAT });
    }
    let start = out.len();
    let mut column = Vec::new();
    integers::read(&mut reader, count, &mut column)?;
    out.reserve(count);
    out.extend(column.iter().map(|source| Row {
        source: Timestamp(*source),
        server: Timestamp(*source),
        value: Value::Null,
        quality: Quality::GOOD,
        flags: SampleFlags::default(),
        position: Position::START,
        place: 0,
    }));
    let rows = &mut out[start..];
    let word = |number: i64| u32::try_from(number).map_err(|_| Broken { what: WHAT });
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.server = Timestamp(row.source.0.wrapping_add(*number));
    }
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.quality = Quality(word(*number)?);
    }
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.flags = SampleFlags(word(*number)?);
    }
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.position.epoch = Epoch(number.cast_unsigned());
    }
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.position.seq = number.cast_unsigned();
    }
    integers::read(&mut reader, count, &mut column)?;
    for (row, number) in rows.iter_mut().zip(&column) {
        row.place = word(*number)?;
    }
    let mut found = Vec::new();
    values::read(&mut reader, count, &mut found, &mut column)?;
    for (row, value) in rows.iter_mut().zip(found) {
        row.value = value;
    }
    reader.finish(WHAT)
}

/// How many of these rows the next block takes.
pub(crate) fn fitting(rows: &[Row]) -> usize {
    let mut text = 0;
    rows.iter()
        .take(BLOCK_ROWS_MAX)
        .take_while(|row| {
            let fits = text < BLOCK_TEXT_BYTES;
            text += row.value.text_bytes();
            fits
        })
        .count()
        .max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::rows;

    proptest! {
        #[test]
        fn every_block_comes_back(rows in rows(0..200)) {
            let mut bytes = Vec::new();
            let stats = encode(&rows, &mut bytes);
            prop_assert_eq!(stats.is_none(), rows.is_empty());
            if let Some(stats) = stats {
                let mut back = Vec::new();
                decode(&bytes, &mut back).unwrap();
                prop_assert!(crate::tests::same(&back, &rows));
                let mut out = Vec::new();
                stats.put(&mut out);
                let again = Stats::read(&mut Reader::new(&out)).unwrap();
                prop_assert_eq!(format!("{again:?}"), format!("{stats:?}"));
            }
        }

        #[test]
        fn a_flipped_or_missing_byte_never_panics(rows in rows(1..60), at in any::<prop::sample::Index>(), mask in 1_u8.., cut in any::<bool>()) {
            let mut bytes = Vec::new();
            encode(&rows, &mut bytes);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= mask }
            let mut out = Vec::new();
            if decode(&bytes, &mut out).is_ok() {
                prop_assert!(out.len() <= BLOCK_ROWS_MAX);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            decode(&bytes, &mut Vec::new()).ok();
            Stats::read(&mut Reader::new(&bytes)).ok();
        }
    }
}
