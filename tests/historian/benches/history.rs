//! Keeping and reading values: the journal with the history behind it, fjall, and a plain log, on the same values.
//!
//! `cargo xtask bench history -- --values 20000000 --read-values 100000000`: round robin over 10,000 items, each 10
//! seconds of data time one value with one decimal that moves slowly; every batch of 10,000 is on the disk before the
//! next. Nothing is asserted: compare the ratios, not the figures of a shared machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where something fails")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use twinhub_history::{ParquetRow, ParquetWriter, Query, Row, Slot, Store, StoreOptions};
use twinhub_model::{Epoch, ItemId, NodeRank, Position, Quality, Sample, SampleFlags, Timestamp, Value};
use twinhub_store::{Journal, JournalOptions};
use twinhub_wire::record;

const ITEMS: u32 = 10_000;
const BATCH: usize = 10_000;
const STEP_NS: i64 = 10_000_000_000;
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const DAY_ROWS: i64 = 8_640;

fn main() {
    let option = |name: &str, default: u64| {
        let mut words = std::env::args().skip_while(|word| word != name);
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let values = option("--values", 20_000_000);
    let read_values = option("--read-values", 100_000_000);
    let rounds = option("--rounds", 1);
    println!("{values} values over {ITEMS} items, synced every {BATCH}; load average {}", load());
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let raw = raw_log(values);
        raw.print("plain log of 24 bytes");
        let own = own(values, None);
        own.print("journal and history");
        let fjall = fjall(values);
        fjall.print("fjall 3, SyncData");
        ratios.push((
            own.rate() / fjall.rate(),
            own.rate() / raw.rate(),
            fjall.bytes_per_value() / own.bytes_per_value(),
        ));
    }
    for (fjall, raw, size) in ratios {
        println!(
            "own / fjall {fjall:.1}x, own / plain log {:.0} %, {size:.1}x smaller than fjall",
            raw * 100.0
        );
    }
    if read_values > 0 {
        let dir = tempfile::tempdir().unwrap();
        let filled = own(read_values, Some(dir.path()));
        filled.print("filled for reading");
        read_days(dir.path());
        write_parquet(dir.path());
    }
    println!("load average {}", load());
}

/// What writing cost.
struct Written {
    values: u64,
    seconds: f64,
    /// Of the part that has to be there before the next batch.
    commits: Vec<Duration>,
    bytes: u64,
    note: String,
}

impl Written {
    fn rate(&self) -> f64 {
        self.values as f64 / self.seconds
    }

    fn bytes_per_value(&self) -> f64 {
        self.bytes as f64 / self.values as f64
    }

    fn print(&self, name: &str) {
        let mut commits = self.commits.clone();
        commits.sort();
        let at = |permille: usize| {
            let time = commits.get((commits.len().max(1) - 1) * permille / 1000);
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        println!(
            "{name:>24}: {:>6.2} M values/s, {:>5.2} bytes/value, commit p50 {:.2} p99 {:.2} max {:.1} ms{}",
            self.rate() / 1e6,
            self.bytes_per_value(),
            at(500),
            at(990),
            at(1000),
            self.note
        );
    }
}

/// Values that move slowly, the same in every run.
struct Generator {
    values: Vec<i32>,
    state: u64,
    round: i64,
}

impl Generator {
    fn new() -> Generator {
        Generator { values: vec![215; ITEMS as usize], state: 0x9e37_79b9_7f4a_7c15, round: 0 }
    }

    /// One value of each item.
    fn fill(&mut self, out: &mut Vec<Sample>) {
        out.clear();
        let time = Timestamp(BEGIN_NS + self.round * STEP_NS);
        self.round += 1;
        for (item, value) in (0..ITEMS).zip(&mut self.values) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *value += match self.state & 7 {
                0 => 1,
                1 => -1,
                _ => 0,
            };
            out.push(Sample {
                item: ItemId(item),
                value: Value::F64(f64::from(*value) / 10.0),
                quality: Quality::GOOD,
                source: time,
                server: time,
                flags: SampleFlags::default(),
            });
        }
    }
}

fn raw_log(values: u64) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = File::create(&path).unwrap();
    let mut generator = Generator::new();
    let (mut batch, mut bytes, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    let begun = Instant::now();
    for _ in 0..values / BATCH as u64 {
        generator.fill(&mut batch);
        bytes.clear();
        for sample in &batch {
            bytes.extend_from_slice(&sample.item.0.to_le_bytes());
            bytes.extend_from_slice(&sample.source.0.to_le_bytes());
            bytes.extend_from_slice(&sample.value.as_f64().unwrap().to_le_bytes());
            bytes.extend_from_slice(&sample.quality.0.to_le_bytes());
        }
        let commit = Instant::now();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        commits.push(commit.elapsed());
    }
    let seconds = begun.elapsed().as_secs_f64();
    Written { values, seconds, commits, bytes: fs::metadata(&path).unwrap().len(), note: String::new() }
}

/// As the hub does it: one thread journals and syncs, another brings records into the history.
fn own(values: u64, keep: Option<&Path>) -> Written {
    let journal_dir = tempfile::tempdir().unwrap();
    let history_dir = tempfile::tempdir().unwrap();
    let dir = keep.unwrap_or(history_dir.path()).to_owned();
    let (mut journal, _) = Journal::open(JournalOptions::new(journal_dir.path()), [].into()).unwrap();
    journal.begin_epoch(Epoch::new(1, NodeRank(0))).unwrap();
    let (sender, receiver) = sync_channel::<(Position, Vec<u8>)>(8);
    let begun = Instant::now();
    let follower = std::thread::spawn(move || {
        let options = StoreOptions { retain: None, max_bytes: u64::MAX, ..StoreOptions::new(dir) };
        let (mut store, _) = Store::open(options).unwrap();
        let slots: Vec<Slot> = (0..ITEMS).map(|item| store.slot(&format!("plc/{item}"))).collect();
        let mut samples = Vec::new();
        let mut longest = Duration::ZERO;
        for (position, body) in receiver {
            samples.clear();
            record::decode_samples(&body, &mut samples).unwrap();
            let rows =
                samples.iter().map(|sample| (slots[sample.item.index()], Row::of(sample, position, 0)));
            store.append("site", position, rows);
            if store.wants_seal() {
                let seal = Instant::now();
                store.seal().unwrap();
                longest = longest.max(seal.elapsed());
            }
        }
        store.seal().unwrap();
        let sealed = Instant::now();
        // The hub does this now and then between two reads of the journal; it is no part of keeping up.
        while store.compact(8 << 20).unwrap() {}
        (sealed, longest, sealed.elapsed(), store.reader().totals())
    });
    let mut generator = Generator::new();
    let (mut batch, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..values / BATCH as u64 {
        generator.fill(&mut batch);
        let commit = Instant::now();
        let mut body = Vec::new();
        record::encode_samples(&batch, &mut body);
        let position = journal.append_samples(&batch).unwrap();
        journal.sync().unwrap();
        commits.push(commit.elapsed());
        sender.send((position, body)).unwrap();
    }
    drop(sender);
    let (sealed, longest, joining, totals) = follower.join().unwrap();
    assert_eq!(totals.sealed_rows, values / BATCH as u64 * BATCH as u64);
    let note = format!(
        "; longest seal {:.0} ms, joined afterwards in {:.1} s to {} files",
        longest.as_secs_f64() * 1e3,
        joining.as_secs_f64(),
        totals.files
    );
    Written { values, seconds: (sealed - begun).as_secs_f64(), commits, bytes: totals.bytes, note }
}

fn fjall(values: u64) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let database = fjall::Database::builder(dir.path()).open().unwrap();
    let keyspace = database.keyspace("values", fjall::KeyspaceCreateOptions::default).unwrap();
    let mut generator = Generator::new();
    let (mut batch, mut commits) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for _ in 0..values / BATCH as u64 {
        generator.fill(&mut batch);
        let commit = Instant::now();
        let mut transaction = database.batch();
        for sample in &batch {
            let mut key = [0; 12];
            key[..4].copy_from_slice(&sample.item.0.to_be_bytes());
            key[4..].copy_from_slice(&sample.source.0.to_be_bytes());
            let mut value = [0; 9];
            value[..8].copy_from_slice(&sample.value.as_f64().unwrap().to_le_bytes());
            transaction.insert(&keyspace, key, value);
        }
        transaction.commit().unwrap();
        database.persist(fjall::PersistMode::SyncData).unwrap();
        commits.push(commit.elapsed());
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop((keyspace, database));
    Written { values, seconds, commits, bytes: size_of(dir.path()), note: String::new() }
}

/// One item for a day, many times, and what a day comes to by the hour.
fn read_days(dir: &Path) {
    let (store, _) =
        Store::open(StoreOptions { retain: None, max_bytes: u64::MAX, ..StoreOptions::new(dir) }).unwrap();
    let reader = store.reader();
    let totals = reader.totals();
    let day = (Timestamp(BEGIN_NS), Timestamp(BEGIN_NS + DAY_ROWS * STEP_NS));
    let (mut times, mut aggregates, mut rows) = (Vec::new(), Vec::new(), 0);
    for item in (0..ITEMS).step_by(661) {
        let query = Query::between(format!("plc/{item}"), day.0, day.1);
        let begun = Instant::now();
        rows = reader.rows(&query).unwrap().count();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let buckets = reader.aggregates(&query, 3_600_000_000_000, day.1).unwrap().count();
        aggregates.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_eq!(buckets, 24);
    }
    times.sort_by(f64::total_cmp);
    aggregates.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{:>24}: {rows} rows of one item and day out of {} M values in {median:.2} ms (max {:.2}), {:.0} M rows/s; \
         24 means {:.2} ms",
        "reading",
        totals.sealed_rows / 1_000_000,
        times[times.len() - 1],
        rows as f64 / median / 1e3,
        aggregates[aggregates.len() / 2]
    );
}

/// All values of some items as Parquet files, and their blocks in the own form.
fn write_parquet(dir: &Path) {
    let (store, _) =
        Store::open(StoreOptions { retain: None, max_bytes: u64::MAX, ..StoreOptions::new(dir) }).unwrap();
    let reader = store.reader();
    let own = reader.totals();
    let own = own.bytes as f64 / own.sealed_rows as f64;
    let (mut rows, mut bytes, mut seconds) = (0_u64, 0, 0.0);
    for item in (0..ITEMS).step_by(661) {
        let key = format!("plc/{item}");
        let begun = Instant::now();
        let mut writer = ParquetWriter::new();
        for row in reader.rows(&Query::all(key.clone())).unwrap() {
            rows += 1;
            writer.push(ParquetRow {
                item: key.clone(),
                row,
                quality: "good".into(),
                cause: String::new(),
                origin: "main".into(),
                replayed: false,
            });
        }
        bytes += writer.finish().len();
        seconds += begun.elapsed().as_secs_f64();
    }
    let parquet = bytes as f64 / rows as f64;
    println!(
        "{:>24}: {parquet:.2} bytes/value, own blocks {own:.2} ({:.1}x smaller); read and written at {:.2} M values/s",
        "Parquet",
        parquet / own,
        rows as f64 / seconds / 1e6
    );
}

fn size_of(path: &Path) -> u64 {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| size_of(&entry.unwrap().path())).sum();
    }
    fs::metadata(path).unwrap().len()
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
