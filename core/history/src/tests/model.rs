//! Whatever is done to a store, it answers as a sorted list would.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use twinhub_model::{Epoch, NodeRank, Position, SampleFlags, Timestamp};

use super::{rows, same};
use crate::{Query, Row, RowId, Stats, Store, StoreOptions};

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    /// Some of what is there turns out to be there twice: every so manieth comes again, marked.
    Mark(usize),
    Seal,
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => rows(0..40).prop_map(Step::Append),
        1 => (1_usize..9).prop_map(Step::Mark),
        3 => Just(Step::Seal),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn options(dir: &std::path::Path) -> StoreOptions {
    StoreOptions { pending_bytes: 4096, retain: None, ..StoreOptions::new(dir) }
}

const ITEMS: [&str; 3] = ["plc/a", "plc/b", "knx/3/0/7"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Rows are unique by what they are; the journal position of each step is new. What is marked is not shown.
    #[test]
    fn a_store_answers_as_a_sorted_list(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(options(dir.path())).unwrap();
        // The journal: what a crash lets read again.
        let mut journal: Vec<(Position, Vec<(usize, Row)>)> = Vec::new();
        let mut model: [BTreeMap<RowId, Row>; 3] = Default::default();
        let mut seq = 0;
        for step in steps {
            match step {
                Step::Append(rows) => {
                    seq += 1;
                    let position = Position::new(Epoch::new(9, NodeRank(1)), seq);
                    let rows: Vec<(usize, Row)> = rows
                        .into_iter()
                        .enumerate()
                        .map(|(at, row)| (at % 3, Row { position, place: u32::try_from(at).unwrap(), ..row }))
                        .collect();
                    for (item, row) in &rows {
                        model[*item].insert(row.id(), row.clone());
                    }
                    take(&mut store, position, &rows);
                    journal.push((position, rows));
                }
                Step::Mark(every) => {
                    seq += 1;
                    let position = Position::new(Epoch::new(9, NodeRank(1)), seq);
                    let mut rows = Vec::new();
                    for (item, model) in model.iter_mut().enumerate() {
                        for row in model.values_mut().step_by(every) {
                            row.flags = row.flags.with(SampleFlags::TWIN);
                            rows.push((item, row.clone()));
                        }
                    }
                    take(&mut store, position, &rows);
                    journal.push((position, rows));
                }
                Step::Seal => {
                    store.seal().unwrap();
                    prop_assert_eq!(store.sealed("site"), store.cursor("site"));
                }
                Step::Compact => while store.compact(200).unwrap() {},
                Step::Reopen => {
                    drop(store);
                    let (opened, recovery) = Store::open(options(dir.path())).unwrap();
                    prop_assert!(recovery.damage.is_empty());
                    store = opened;
                    let from = store.cursor("site");
                    for (position, rows) in journal.iter().filter(|(position, _)| *position > from) {
                        take(&mut store, *position, rows);
                    }
                }
            }
        }
        for (item, model) in ITEMS.iter().zip(&model) {
            check(&store, item, model)?;
        }
    }
}

fn take(store: &mut Store, position: Position, rows: &[(usize, Row)]) {
    let slots = ITEMS.map(|item| store.slot(item));
    store.append("site", position, rows.iter().map(|(item, row)| (slots[*item], row.clone())));
}

fn check(store: &Store, item: &str, model: &BTreeMap<RowId, Row>) -> Result<(), TestCaseError> {
    let reader = store.reader();
    let all: Vec<Row> = model.values().filter(|row| row.is_shown()).cloned().collect();
    let found: Vec<Row> = reader.rows(&Query::all(item)).unwrap().collect();
    prop_assert!(same(&found, &all), "{item}: {} rows, {} expected", found.len(), all.len());
    let seconds = |s: i64| Timestamp(s * 1_000_000_000);
    let query = Query::between(item, seconds(20), seconds(70));
    let inside: Vec<Row> =
        all.iter().filter(|row| row.source >= query.from && row.source < query.to).cloned().collect();
    let found: Vec<Row> = reader.rows(&query).unwrap().collect();
    prop_assert!(same(&found, &inside));
    // In pages of three.
    let mut paged: Vec<Row> = Vec::new();
    loop {
        let after = paged.last().map(Row::id);
        let page: Vec<Row> = reader.rows(&Query { after, ..query.clone() }).unwrap().take(3).collect();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    prop_assert!(same(&paged, &inside));
    let before = all.iter().rfind(|row| row.source < query.from);
    let found = reader.last_before(item, query.from).unwrap();
    prop_assert_eq!(found.as_ref().map(Row::id), before.map(Row::id));
    check_buckets(store, &query, &all, before)
}

fn check_buckets(
    store: &Store,
    query: &Query,
    all: &[Row],
    before: Option<&Row>,
) -> Result<(), TestCaseError> {
    let step = 7_000_000_000;
    let until = Timestamp(60_000_000_000);
    let mut held = before.and_then(Row::number);
    let mut start = query.from;
    for bucket in store.reader().aggregates(query, step, until).unwrap() {
        let end = Timestamp(start.0 + step.cast_signed()).min(query.to);
        prop_assert_eq!((bucket.start, bucket.end), (start, end));
        let rows: Vec<Row> =
            all.iter().filter(|row| row.source >= start && row.source < end).cloned().collect();
        let numbers: Vec<f64> = rows.iter().filter_map(Row::number).collect();
        prop_assert_eq!(bucket.rows, rows.len() as u64);
        prop_assert_eq!(bucket.numbers.map_or(0, |found| found.count), numbers.len() as u64);
        if let Some(found) = bucket.numbers {
            let near = |one: f64, two: f64| (one - two).abs() <= 1e-6 * (1.0 + one.abs().max(two.abs()));
            let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ends = [min, max, numbers[0], numbers[numbers.len() - 1]].map(f64::to_bits);
            let got = [found.min, found.max, found.first.1, found.last.1].map(f64::to_bits);
            prop_assert_eq!(got.map(abs_zero), ends.map(abs_zero));
            let sum: f64 = numbers.iter().sum();
            prop_assert!(near(found.sum, sum) || !sum.is_finite());
        }
        let mut area = 0.0;
        let mut covered = 0.0;
        let mut at = start;
        for row in &rows {
            if let Some(value) = held {
                area += value * seconds(at, row.source);
                covered += seconds(at, row.source);
            }
            (held, at) = (row.number(), row.source);
        }
        if let Some(value) = held {
            area += value * seconds(at, end.min(until));
            covered += seconds(at, end.min(until));
        }
        prop_assert!((bucket.covered_seconds - covered).abs() < 1e-6);
        if let Some(mean) = bucket.time_weighted_mean {
            let expected = area / covered;
            let scale = 1.0 + all.iter().filter_map(Row::number).map(f64::abs).fold(0.0, f64::max);
            prop_assert!((mean - expected).abs() <= 1e-6 * scale || !expected.is_finite());
        }
        start = end;
    }
    prop_assert_eq!(start, query.to);
    Ok(())
}

/// Which of two zeros is the smaller one is nobody's business.
const fn abs_zero(bits: u64) -> u64 {
    if bits == 1 << 63 { 0 } else { bits }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    Duration::from_nanos(u64::try_from(to.0 - from.0).unwrap_or(0)).as_secs_f64()
}

#[test]
fn what_an_index_says_is_what_the_rows_say() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(options(dir.path())).unwrap();
    let slot = store.slot("plc/a");
    for part in 0..16_u64 {
        let rows = (0..1000_u64).map(|i| (slot, super::plain(part * 1000 + i)));
        store.append("site", Position::new(Epoch::new(1, NodeRank(0)), part + 1), rows);
        store.seal().unwrap();
    }
    let before = store.reader().totals();
    while store.compact(1 << 20).unwrap() {}
    let after = store.reader().totals();
    assert_eq!((before.sealed_rows, after.sealed_rows), (16_000, 16_000));
    assert!(after.files < before.files && after.bytes < before.bytes, "{before:?} {after:?}");
    let query = Query::between("plc/a", Timestamp(0), Timestamp(16_000 * super::SECOND));
    let bucket = store.reader().aggregates(&query, u64::MAX, query.to).unwrap().next().unwrap();
    let rows: Vec<Row> = store.reader().rows(&query).unwrap().collect();
    let stats = Stats::of(&rows).unwrap();
    assert_eq!(bucket.rows, 16_000);
    let (one, two) = (bucket.numbers.unwrap(), stats.numbers.unwrap());
    assert_eq!(
        (one.count, one.min.to_bits(), one.max.to_bits()),
        (two.count, two.min.to_bits(), two.max.to_bits())
    );
    assert!((one.sum - two.sum).abs() < 1e-3 && (bucket.covered_seconds - 16_000.0).abs() < 1e-6);
}
