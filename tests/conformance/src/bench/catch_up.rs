//! `cargo xtask bench catch-up`: a new backup copies a long history while live commands go through the active node.
//!
//! The active node's journal has dropped nearly all that is copied, so it comes from its history. Once with the default
//! `sync_rate`, once without a limit.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twinhub_peers::{Commander, Mosquitto, Observer, wait_until};

use super::{load_average, words::numbers};
use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::load::READY_LIMIT;
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::{milliseconds, percentile, table};

/// What is measured.
#[derive(Clone, Debug)]
pub struct CatchUpOptions {
    values: u64,
    items: u64,
    rate: u64,
    seconds: u64,
}

impl CatchUpOptions {
    /// Reads `--values N --items N --rate N --seconds N`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { values: 20_000_000, items: 1_000, rate: 200, seconds: 10 };
        let known = &mut [
            ("--values", &mut options.values),
            ("--items", &mut options.items),
            ("--rate", &mut options.rate),
            ("--seconds", &mut options.seconds),
        ];
        numbers(words, known)?;
        Ok(options)
    }

    fn interfaces(broker: SocketAddr, limit: Option<&str>) -> String {
        let limit = limit.map(|limit| format!("sync_rate = \"{limit}\"\n")).unwrap_or_default();
        format!(
            r#"[journal]
segment = "4MiB"
retain = "32MiB"
[history]
{limit}max_size = "20GB"
[[interface]]
id = "past"
plugin = "sim"
items = "items/past.csv"
settings = {{ {FAST} }}
[[interface]]
id = "live"
plugin = "mqtt"
items = "items/live.csv"
settings = {{ broker = "mqtt://{broker}", status_topic = "" }}
[[link]]
from = "live/in"
to = "live/out"
"#
        )
    }

    fn items(&self) -> Vec<(String, String)> {
        let head = "path,address,type,access,unit,description";
        let rows = (0..self.items).map(|item| {
            format!("s{item},\"sine:period={}s,amplitude=5,offset=20\",f64,r,°C,,true\n", 60 + item % 600)
        });
        let past = std::iter::once(format!("{head},historize\n")).chain(rows).collect();
        let live = format!("{head},edge\nin,live/in,i64,r,,,true\nout,live/out,i64,w,,,\n");
        vec![("past.csv".to_owned(), past), ("live.csv".to_owned(), live)]
    }
}

/// Runs it; false when a goal is missed.
pub fn bench_catch_up(options: &CatchUpOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let mut lines = Vec::new();
    let mut is_reached = true;
    for (name, limit) in [("16MiB (default)", None), ("no limit", Some("10GB"))] {
        let seen = measure(options, limit, &artifacts, say)?;
        let p99 = [&seen.during_ms, &seen.after_ms].map(|times| percentile(times, 0.99));
        let calm = matches!(p99, [Some(during), Some(after)] if during <= after * 2.0);
        is_reached &= calm && (limit.is_none() || seen.rate() >= RATE_GOAL);
        lines.push(vec![
            name.to_owned(),
            seen.rows.to_string(),
            format!("{:.1}", seen.time.as_secs_f64()),
            format!("{:.0}", seen.rate()),
            milliseconds(percentile(&seen.during_ms, 0.5)),
            milliseconds(percentile(&seen.during_ms, 0.99)),
            milliseconds(percentile(&seen.after_ms, 0.5)),
            milliseconds(percentile(&seen.after_ms, 0.99)),
        ]);
    }
    let head = [
        "sync_rate",
        "values",
        "seconds",
        "values/s",
        "live p50 ms",
        "live p99 ms",
        "afterwards p50",
        "afterwards p99",
    ];
    say(&format!(
        "\nhistory of {} items to a new backup, beside {} commands/s from topic to topic, each on the backup's disk before \
         it is written; goals {RATE_GOAL:.0} values/s without a limit, live p99 at most doubled; load \
         average {}\n{}",
        options.items,
        options.rate,
        load_average(),
        table(&head, &lines)
    ));
    say("repeat: cargo xtask bench catch-up");
    Ok(is_reached)
}

struct Seen {
    rows: u64,
    time: Duration,
    during_ms: Vec<f64>,
    after_ms: Vec<f64>,
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn rate(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn measure(
    options: &CatchUpOptions,
    limit: Option<&str>,
    artifacts: &Artifacts,
    say: &mut dyn FnMut(&str),
) -> Result<Seen> {
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = CatchUpOptions::interfaces(broker.address(), limit);
    plan.items = options.items();
    let mut cluster = Cluster::prepare(plan, artifacts)?;
    cluster.start_witness()?;
    cluster.start("main")?;
    cluster.wait_state("main", "active", READY_LIMIT)?;
    say(&format!("catch-up: main fills its history with {} values", options.values));
    wait_until("the history of main", FILL_LIMIT, || {
        history(&cluster, "main", "rows").is_ok_and(|rows| rows >= options.values)
    })?;
    // From here on the generator is as good as silent.
    cluster.stop("main", READY_LIMIT)?;
    let file = cluster.config();
    let text = fs::read_to_string(&file).map_err(Error::file(&file))?;
    fs::write(&file, text.replace(FAST, SLOW)).map_err(Error::file(&file))?;
    cluster.start("main")?;
    cluster.wait_state("main", "active", READY_LIMIT)?;

    let live = Live::start(broker.address(), options.rate)?;
    cluster.start("backup")?;
    cluster.wait_in_sync(READY_LIMIT)?;
    say("catch-up: the backup is in sync and copies");
    wait_until("the first values", READY_LIMIT, || {
        history(&cluster, "backup", "copied_rows").is_ok_and(|rows| rows > 0)
    })?;
    let (begun, first) = (Instant::now(), history(&cluster, "backup", "copied_rows")?);
    let from = live.arrived();
    wait_until("the whole history", FILL_LIMIT, || {
        history(&cluster, "backup", "gap_records").is_ok_and(|records| records == 0)
    })?;
    let (time, rows) = (begun.elapsed(), history(&cluster, "backup", "copied_rows")? - first);
    let during_ms = live.latencies_ms(from);
    thread::sleep(SETTLE);
    let from = live.arrived();
    thread::sleep(Duration::from_secs(options.seconds));
    let after_ms = live.latencies_ms(from);
    Ok(Seen { rows, time, during_ms, after_ms })
}

/// A number of a node's history.
fn history(cluster: &Cluster, node: &str, what: &str) -> Result<u64> {
    let view = cluster.rest(node)?.resource("/cluster")?;
    let number = view["history"][what].as_u64();
    number.ok_or_else(|| Error::State(format!("{node} tells no `{what}`: {}", view["history"])))
}

/// Commands from one topic to another, each with a number.
struct Live {
    observer: Observer,
    sent: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    fn start(broker: SocketAddr, rate: u64) -> Result<Self> {
        let observer = Observer::start(broker, "out", "live/out")?;
        let commander = Commander::start(broker, "in")?;
        let sent = Arc::<Mutex<Vec<Instant>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let run = {
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            move || {
                let pause = Duration::from_nanos(1_000_000_000 / rate.max(1));
                while !stop.load(Ordering::SeqCst) {
                    let number = {
                        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                        sent.push(Instant::now());
                        sent.len()
                    };
                    // A broker that is gone shows at once: nothing arrives.
                    drop(commander.publish("live/in", &number.to_string()));
                    thread::sleep(pause);
                }
            }
        };
        let thread =
            thread::Builder::new().name("live".to_owned()).spawn(run).map_err(Error::file("thread"))?;
        Ok(Self { observer, sent, stop, thread: Some(thread) })
    }

    fn arrived(&self) -> usize {
        self.observer.messages().len()
    }

    /// From sending to arrival, of what arrived from the given one on, sorted.
    fn latencies_ms(&self, from: usize) -> Vec<f64> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latencies: Vec<f64> = self
            .observer
            .messages_from(from)
            .iter()
            .filter_map(|message| {
                let number: usize = message.text().parse().ok()?;
                let at = sent.get(number.checked_sub(1)?)?;
                Some(message.at.saturating_duration_since(*at).as_secs_f64() * 1e3)
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

const FAST: &str = "interval_ms = 1, batch = 1000";
const SLOW: &str = "interval_ms = 3600000, batch = 1000";
const RATE_GOAL: f64 = 1_600_000.0;
const FILL_LIMIT: Duration = Duration::from_secs(600);
const SETTLE: Duration = Duration::from_secs(1);
