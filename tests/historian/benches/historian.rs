//! Values on their way to a central database, and plain `COPY` of the same rows into the same server.
//!
//! `cargo xtask bench historian -- --rows 500000 --rounds 3`: rows of 1,000 items in batches of 5,000, each with a mark, as a
//! node sends them; the same again, of which each is known; then the rows as text from a file on the server's own disk, in one
//! statement, into a table of the same form. `COPY` leaves out what is there by failing, so it is no way for the product; it
//! is what the server can take. The server's `fsync` is off for all. Nothing is asserted: compare the ratios, not the figures
//! of a shared machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where something fails")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twinhub_historian::{Database, Target, Written};
use twinhub_history::{Mark, Row};
use twinhub_model::{Epoch, Position, Quality, SampleFlags, Timestamp, Value};
use twinhub_peers::Postgres;

const ITEMS: u64 = 1_000;
/// As `[historian] batch` is by default.
const BATCH: usize = 5_000;
const BEGIN_NS: i64 = 1_763_000_000_000_000_000;

fn main() {
    let option = |name: &str, default: u64| {
        let mut words = std::env::args().skip_while(|word| word != name);
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let (count, rounds) = (option("--rows", 500_000), option("--rounds", 3));
    println!("{count} rows of {ITEMS} items, PostgreSQL {}", Postgres::version().unwrap());
    let rows = rows(count);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let server = Postgres::start().unwrap();
        let (first, written) = send(&server, &rows);
        assert_eq!(written.new, count, "{written:?}");
        let (again, written) = send(&server, &rows);
        assert_eq!(written.known, count, "{written:?}");
        let copy = copy(&server, count);
        let rate = |took: Duration| count as f64 / took.as_secs_f64() / 1e3;
        println!(
            "historian {:.0}, all known {:.0}, COPY {:.0} thousand rows/s",
            rate(first),
            rate(again),
            rate(copy)
        );
        ratios.push((copy.as_secs_f64() / first.as_secs_f64(), copy.as_secs_f64() / again.as_secs_f64()));
    }
    for (first, again) in ratios {
        println!("historian / COPY {:.0} %, all known / COPY {:.0} %", first * 100.0, again * 100.0);
    }
}

fn rows(count: u64) -> Vec<(Arc<str>, Row)> {
    let keys: Vec<Arc<str>> = (0..ITEMS).map(|item| format!("plc1/item{item}").into()).collect();
    let row = |number: u64| {
        let source = Timestamp(BEGIN_NS + i64::try_from(number).unwrap() * 1_234_567);
        let value = Value::F64(200.0 + (number % 97) as f64 / 10.0);
        let position = Position::new(Epoch(256), number + 1);
        let (quality, flags) = (Quality::GOOD, SampleFlags::default());
        let key = &keys[usize::try_from(number % ITEMS).unwrap()];
        (Arc::clone(key), Row { source, server: source, value, quality, flags, position, place: 0 })
    };
    (0..count).map(row).collect()
}

/// Over a connection of its own, as after a takeover.
fn send(server: &Postgres, rows: &[(Arc<str>, Row)]) -> (Duration, Written) {
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: server.address().port(),
        database: "twinhub".to_owned(),
        user: "twinhub".to_owned(),
        password: Some(Postgres::PASSWORD.to_owned()),
        authority: None,
        schema: "twinhub".to_owned(),
        program: "bench".to_owned(),
        patience: Duration::from_secs(60),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let texts = Arc::new(HashMap::new());
        let mut database = Database::connect(&target, "tower", "a", texts).await.unwrap();
        let mut sum = Written::default();
        let begun = Instant::now();
        for batch in rows.chunks(BATCH) {
            let at = batch.last().map_or(Position::START, |(_, row)| row.position);
            let mark = Mark { group: "site".to_owned(), life: "one".to_owned(), at };
            let written = database.write(batch, &[mark]).await.unwrap();
            sum.new += written.new;
            sum.known += written.known;
            sum.refused += written.refused;
        }
        (begun.elapsed(), sum)
    })
}

fn copy(server: &Postgres, count: u64) -> Duration {
    let ask = |statement: &str| server.ask(statement).unwrap().concat();
    let file = format!("{}/rows", ask("SHOW data_directory"));
    // In the order in which they came.
    ask(&format!("COPY (SELECT * FROM twinhub.history ORDER BY sequence) TO '{file}'"));
    ask("CREATE TABLE copied (LIKE twinhub.history INCLUDING ALL)");
    let begun = Instant::now();
    ask(&format!("COPY copied FROM '{file}'"));
    let took = begun.elapsed();
    assert_eq!(ask("SELECT count(*) FROM copied"), count.to_string());
    took
}
