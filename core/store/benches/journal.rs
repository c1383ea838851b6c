//! What it costs to journal values: encode, append, write; beside a raw append of the same bytes.
//!
//! `cargo bench -p twinhub-store` prints nanoseconds per value and the ratio. Nothing is asserted: figures
//! of a shared machine are not a test.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use twinhub_model::{Epoch, ItemId, NodeRank, Position, Quality, Sample, SampleFlags, Timestamp, Value};
use twinhub_store::{Journal, JournalOptions};
use twinhub_wire::record;

const VALUES: u64 = 4_000_000;

fn main() {
    println!("values journaled {VALUES} per row; ns per value, median of 5 (min-max)");
    for batch in [125, 1000] {
        let samples = samples(batch);
        let rounds = VALUES / batch as u64;
        let (mut encode, mut decode, mut journal, mut raw) = (vec![], vec![], vec![], vec![]);
        let mut bytes = 0;
        for _ in 0..5 {
            encode.push(per_value(|| encode_only(&samples, rounds)));
            decode.push(per_value(|| decode_only(&samples, rounds)));
            journal.push(per_value(|| bytes = append_and_write(&samples, rounds)));
            raw.push(per_value(|| raw_append(rounds, bytes)));
        }
        let (journal_ns, raw_ns) = (median(&mut journal), median(&mut raw));
        println!("batch {batch}: {:.1} bytes per value on disk", count(bytes) / count(VALUES));
        println!("  encode               {}", row(&mut encode));
        println!("  decode               {}", row(&mut decode));
        println!("  encode+append+write  {}", row(&mut journal));
        println!("  raw append           {}", row(&mut raw));
        println!(
            "  journal / raw        {:.1}; {:.1} million values/s",
            journal_ns / raw_ns,
            1000.0 / journal_ns
        );
    }
}

/// A sensor's image: most values have one or two decimals, some are counters, a few are not good.
fn samples(count: usize) -> Vec<Sample> {
    (0_u32..)
        .take(count)
        .map(|number| Sample {
            item: ItemId(number * 3),
            value: match number % 4 {
                0 => Value::U64(u64::from(number) * 977),
                1 => Value::F64(f64::from(number) / 10.0),
                2 => Value::F64(f64::from(number).sqrt()),
                _ => Value::Bool(number % 8 == 3),
            },
            quality: if number % 50 == 0 { Quality::BAD_NOT_CONNECTED } else { Quality::GOOD },
            source: Timestamp(1_700_000_000_000_000_000 + i64::from(number / 16) * 1_000_000),
            server: Timestamp(1_700_000_000_005_000_000),
            flags: SampleFlags::default(),
        })
        .collect()
}

fn encode_only(samples: &[Sample], rounds: u64) {
    let mut out = Vec::new();
    for _ in 0..rounds {
        out.clear();
        record::encode_samples(std::hint::black_box(samples), &mut out);
        std::hint::black_box(&out);
    }
}

fn decode_only(samples: &[Sample], rounds: u64) {
    let mut bytes = Vec::new();
    record::encode_samples(samples, &mut bytes);
    let mut out = Vec::new();
    for _ in 0..rounds {
        out.clear();
        record::decode_samples(std::hint::black_box(&bytes), &mut out).expect("just encoded");
        std::hint::black_box(&out);
    }
}

fn append_and_write(samples: &[Sample], rounds: u64) -> u64 {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = JournalOptions { segment_bytes: 1 << 30, ..JournalOptions::new(dir.path()) };
    let (mut journal, _) = Journal::open(options, [].into()).expect("an empty folder");
    journal.begin_epoch(Epoch::new(1, NodeRank(0))).expect("the first epoch");
    for _ in 0..rounds {
        journal.append_samples(samples).expect("room");
        journal.write().expect("disk space");
    }
    assert!(journal.last() > Position::START);
    journal.size_bytes()
}

fn raw_append(rounds: u64, total: u64) {
    let mut file: File = tempfile::tempfile().expect("a temporary file");
    let block = vec![7; usize::try_from(total / rounds).expect("a small block")];
    for _ in 0..rounds {
        file.write_all(&block).expect("disk space");
    }
}

fn per_value(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / count(VALUES)
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn row(figures: &mut [f64]) -> String {
    let median = median(figures);
    format!("{median:6.1} ({:.1}-{:.1})", figures[0], figures[figures.len() - 1])
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}
