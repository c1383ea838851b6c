//! A column of values of any kind.
//!
//! ```text
//! kind u8, or MIXED and a column of kinds; then, for each kind that is there, the column of its values
//! null: nothing; bool, i64, u64, time: integers; f64: floats; string, bytes, json: each text once, and which one
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use twinhub_model::Value;

use super::{floats, integers};
use crate::bytes::{Broken, Reader, put_sized, put_u64};

const NULL: u8 = 0;
const BOOL: u8 = 1;
const I64: u8 = 2;
const U64: u8 = 3;
const F64: u8 = 4;
const STR: u8 = 5;
const BYTES: u8 = 6;
const TIME: u8 = 7;
const JSON: u8 = 8;
const KINDS: u8 = 9;
const MIXED: u8 = 15;
const WHAT: &str = "a column of values";

const fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::I64(_) => I64,
        Value::U64(_) => U64,
        Value::F64(_) => F64,
        Value::Str(_) => STR,
        Value::Bytes(_) => BYTES,
        Value::Time(_) => TIME,
        Value::Json(_) => JSON,
    }
}

pub(crate) fn put<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a Value> + Clone) {
    let Some(first) = values.clone().next().map(kind_of) else { return };
    if values.clone().all(|value| kind_of(value) == first) {
        out.push(first);
        put_kind(out, first, values);
        return;
    }
    out.push(MIXED);
    let kinds: Vec<i64> = values.clone().map(|value| i64::from(kind_of(value))).collect();
    integers::put(out, &kinds);
    for kind in 0..KINDS {
        let those = values.clone().filter(move |value| kind_of(value) == kind);
        if those.clone().next().is_some() {
            put_kind(out, kind, those);
        }
    }
}

/// Reads `count` values in place of what is in `out`.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<Value>,
    scratch: &mut Vec<i64>,
) -> Result<(), Broken> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let kind = reader.u8(WHAT)?;
    if kind != MIXED {
        return read_kind(reader, kind, count, out, scratch);
    }
    let mut kinds = Vec::new();
    integers::read(reader, count, &mut kinds)?;
    let mut columns = Vec::new();
    for kind in 0..KINDS {
        let there = kinds.iter().filter(|found| **found == i64::from(kind)).count();
        let mut column = Vec::new();
        if there > 0 {
            read_kind(reader, kind, there, &mut column, scratch)?;
        }
        columns.push(column.into_iter());
    }
    for kind in kinds {
        let column = usize::try_from(kind).ok().and_then(|kind| columns.get_mut(kind));
        out.push(column.and_then(Iterator::next).ok_or(Broken { what: WHAT })?);
    }
    Ok(())
}

fn put_kind<'a>(out: &mut Vec<u8>, kind: u8, values: impl Iterator<Item = &'a Value> + Clone) {
    match kind {
        NULL => {}
        F64 => {
            let numbers: Vec<f64> = values.filter_map(Value::as_f64).collect();
            floats::put(out, &numbers);
        }
        BOOL | I64 | U64 | TIME => {
            let numbers: Vec<i64> = values.map(integer_of).collect();
            integers::put(out, &numbers);
        }
        _ => put_texts(out, values),
    }
}

fn integer_of(value: &Value) -> i64 {
    match value {
        Value::Bool(value) => i64::from(*value),
        Value::I64(value) | Value::Time(value) => *value,
        Value::U64(value) => value.cast_signed(),
        Value::Null | Value::F64(_) | Value::Str(_) | Value::Bytes(_) | Value::Json(_) => 0,
    }
}

fn bytes_of(value: &Value) -> &[u8] {
    match value {
        Value::Str(text) | Value::Json(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Time(_) => &[],
    }
}

fn put_texts<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a Value>) {
    let mut places: HashMap<&[u8], i64> = HashMap::new();
    let mut texts: Vec<&[u8]> = Vec::new();
    let mut column = Vec::new();
    for value in values {
        let bytes = bytes_of(value);
        let next = i64::try_from(texts.len()).unwrap_or(i64::MAX);
        let place = *places.entry(bytes).or_insert(next);
        if place == next {
            texts.push(bytes);
        }
        column.push(place);
    }
    put_u64(out, texts.len() as u64);
    for text in texts {
        put_sized(out, text);
    }
    integers::put(out, &column);
}

fn read_kind(
    reader: &mut Reader<'_>,
    kind: u8,
    count: usize,
    out: &mut Vec<Value>,
    scratch: &mut Vec<i64>,
) -> Result<(), Broken> {
    match kind {
        NULL => out.resize(count, Value::Null),
        F64 => {
            let mut numbers = Vec::new();
            floats::read(reader, count, &mut numbers, scratch)?;
            out.extend(numbers.into_iter().map(Value::F64));
        }
        BOOL | I64 | U64 | TIME => {
            integers::read(reader, count, scratch)?;
            out.extend(scratch.iter().map(|number| match kind {
                BOOL => Value::Bool(*number != 0),
                I64 => Value::I64(*number),
                U64 => Value::U64(number.cast_unsigned()),
                _ => Value::Time(*number),
            }));
        }
        STR | BYTES | JSON => {
            let texts = reader.size(WHAT)?;
            if texts > count {
                return Err(Broken { what: WHAT });
            }
            let mut known = Vec::with_capacity(texts);
            for _ in 0..texts {
                known.push(match kind {
                    STR => Value::Str(reader.text(WHAT)?.into()),
                    JSON => Value::Json(reader.text(WHAT)?.into()),
                    _ => Value::Bytes(Arc::from(reader.sized(WHAT)?)),
                });
            }
            integers::read(reader, count, scratch)?;
            for place in scratch.iter() {
                let text = usize::try_from(*place).ok().and_then(|place| known.get(place));
                out.push(text.ok_or(Broken { what: WHAT })?.clone());
            }
        }
        _ => return Err(Broken { what: WHAT }),
    }
    Ok(())
}
