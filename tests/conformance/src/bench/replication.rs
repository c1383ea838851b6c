//! `cargo xtask bench replication`: two journals and the replication between them over loopback TCP, with TLS and
//! plain, beside a Redis primary and its replica in the same run.

mod pair;
mod redis;

use std::time::Duration;

use crate::bench::load_average;
use crate::error::{Error, Result};
use crate::table::{milliseconds, percentile, table};

pub(crate) use pair::Transport;

/// What is measured.
#[derive(Clone, Debug)]
pub struct ReplicationOptions {
    /// Values sent as fast as they are taken.
    pub values: u64,
    /// Items of the first synchronization.
    pub items: u32,
    /// Values per second of the steady run.
    pub rate: u64,
    /// How long that is.
    pub seconds: u64,
}

impl ReplicationOptions {
    /// Reads `--values N --items N --rate N --seconds N`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { values: 10_000_000, items: 1_000_000, rate: 160_000, seconds: 5 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
            let wrong = |_| Error::Usage(format!("{word}: `{value}` is no number that fits"));
            match word.as_str() {
                "--values" => options.values = value.parse().map_err(wrong)?,
                "--items" => options.items = value.parse().map_err(wrong)?,
                "--rate" => options.rate = value.parse().map_err(wrong)?,
                "--seconds" => options.seconds = value.parse().map_err(wrong)?,
                _ => return Err(Error::unknown_option(word, "--values N, --items N, --rate N, --seconds N")),
            }
        }
        Ok(options)
    }
}

/// What one pair did.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Values per second that the other side had acknowledged.
    pub(crate) values_per_second: f64,
    pub(crate) bytes_per_value: f64,
    /// The first synchronization of an empty backup.
    pub(crate) first_sync: Duration,
    /// From the value to the word that the other side has applied it, in the steady run, in milliseconds, sorted.
    pub(crate) lags_ms: Vec<f64>,
    /// The same to the word that it is on the other side's disk; empty if it keeps nothing there.
    pub(crate) stored_ms: Vec<f64>,
}

/// Runs it; false if not every value was acknowledged.
pub fn bench_replication(options: &ReplicationOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut rows = Vec::new();
    for transport in [Transport::Tls, Transport::Plain] {
        say(&format!("replication: {}", transport.name()));
        rows.push(pair::measure(options, transport)?);
    }
    match redis::measure(options) {
        Ok(measured) => rows.push(measured),
        Err(error) => say(&format!("replication: without Redis: {}", error.chain())),
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                format!("{:.0}", row.values_per_second),
                format!("{:.1}", row.bytes_per_value),
                milliseconds(Some(row.first_sync.as_secs_f64() * 1e3)),
                milliseconds(percentile(&row.lags_ms, 0.5)),
                milliseconds(percentile(&row.lags_ms, 0.99)),
                milliseconds(percentile(&row.stored_ms, 0.5)),
                milliseconds(percentile(&row.stored_ms, 0.99)),
            ]
        })
        .collect();
    let head = [
        "what",
        "values/s acknowledged",
        "bytes/value",
        "first sync ms",
        "applied p50 ms",
        "applied p99 ms",
        "on disk p50 ms",
        "on disk p99 ms",
    ];
    say(&format!(
        "\n{} values as fast as they are taken; an empty backup of {} items; {} values/s for {} s; load average {}\n{}",
        options.values,
        options.items,
        options.rate,
        options.seconds,
        load_average(),
        table(&head, &cells)
    ));
    if let [tls, .., redis] = &rows[..]
        && redis.name.starts_with("Redis")
    {
        say(&format!(
            "with TLS {:.1} times as many values as Redis, {:.2} times its first sync, {:.2} times its lag p99 until applied",
            tls.values_per_second / redis.values_per_second.max(1.0),
            tls.first_sync.as_secs_f64() / redis.first_sync.as_secs_f64().max(f64::MIN_POSITIVE),
            percentile(&tls.lags_ms, 0.99).unwrap_or(0.0) / percentile(&redis.lags_ms, 0.99).unwrap_or(1.0)
        ));
    }
    say("values/s of Twinhub are those on the standby's disk, of Redis those in its replica's memory");
    say("repeat: cargo xtask bench replication");
    Ok(rows.iter().all(|row| row.values_per_second > 0.0))
}
