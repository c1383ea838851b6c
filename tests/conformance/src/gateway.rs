//! `cargo xtask bench gateway`: 10,000 registers every 100 ms from Modbus to MQTT, beside Node-RED in the same run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use twinhub_peers::{Mosquitto, Observer, Process, wait_until};

use crate::artifacts::Artifacts;
use crate::bench::load_average;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::load::{Form, Load, READY_LIMIT};
use crate::node_red;
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::table;
use crate::usage::{Machine, Usage};

/// What is measured.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Holding registers, all changing.
    pub registers: u16,
    /// How often they change and are polled.
    pub interval_ms: u64,
    /// How long is measured.
    pub seconds: u64,
    /// Modbus requests under way together.
    pub pipeline: u8,
    /// Where Node-RED is installed.
    pub node_red: Option<PathBuf>,
}

impl GatewayOptions {
    /// Reads `--registers N --interval-ms N --seconds N --pipeline N --node-red FOLDER`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options =
            Self { registers: 10_000, interval_ms: 100, seconds: 20, pipeline: 8, node_red: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
            let wrong = |_| Error::Usage(format!("{word}: `{value}` is no number that fits"));
            match word.as_str() {
                "--registers" => options.registers = value.parse().map_err(wrong)?,
                "--interval-ms" => options.interval_ms = value.parse().map_err(wrong)?,
                "--seconds" => options.seconds = value.parse().map_err(wrong)?,
                "--pipeline" => options.pipeline = value.parse().map_err(wrong)?,
                "--node-red" => options.node_red = Some(value.into()),
                _ => {
                    return Err(Error::unknown_option(
                        word,
                        "--registers N, --interval-ms N, --seconds N, --pipeline N, --node-red FOLDER",
                    ));
                }
            }
        }
        Ok(options)
    }

    fn load(&self) -> Load {
        Load {
            registers: self.registers,
            change_ms: self.interval_ms,
            poll_ms: self.interval_ms,
            pipeline: self.pipeline,
            form: Form::Blocks,
            setpoints: 0,
            standby: None,
        }
    }
}

/// One row of the result.
struct Row {
    what: String,
    values_per_second: f64,
    cpu_percent: f64,
    rss_mib: f64,
}

/// Runs it; false when values were not delivered.
pub fn bench_gateway(options: &GatewayOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (device, _device) = options.load().start_device(&artifacts, folder.path())?;
    let busy = Machine::now();
    let mut rows = measure_hub(options, &artifacts, device, say)?;
    if let Some(installed) = &options.node_red {
        rows.push(measure_node_red(options, installed, device, say)?);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(options)).collect();
    let head = ["what", "values/s", "delivered %", "CPU % of a core", "CPU % per 100,000/s", "RSS MiB"];
    say(&format!(
        "\n{} registers every {} ms as JSON blocks, {} requests under way, {} s; mosquitto {}; profile {}\n\
         load average {}; everything on the machine, device and broker too, took {:.0} % of a core\n{}",
        options.registers,
        options.interval_ms,
        options.pipeline,
        options.seconds,
        Mosquitto::version()?,
        artifacts.profile(),
        load_average(),
        busy.percent_since(),
        table(&head, &cells)
    ));
    for row in rows.iter().skip(2) {
        say(&ratio(&rows[0], row));
    }
    say("repeat: cargo xtask bench gateway");
    Ok(rows.first().is_some_and(|row| row.values_per_second >= options.load().asked() * 0.99))
}

impl Row {
    fn of(what: &str, values_per_second: f64, usage: &Usage) -> Self {
        let (cpu_percent, rss_mib) = (usage.percent(), usage.rss_mib());
        Self { what: what.to_owned(), values_per_second, cpu_percent, rss_mib }
    }

    fn cells(&self, options: &GatewayOptions) -> Vec<String> {
        let per_rate = if self.values_per_second > 1.0 {
            format!("{:.2}", self.cpu_percent * 100_000.0 / self.values_per_second)
        } else {
            "-".to_owned()
        };
        vec![
            self.what.clone(),
            format!("{:.0}", self.values_per_second),
            format!("{:.1}", self.values_per_second * 100.0 / options.load().asked()),
            format!("{:.1}", self.cpu_percent),
            per_rate,
            format!("{:.1}", self.rss_mib),
        ]
    }
}

fn measure_hub(
    options: &GatewayOptions,
    artifacts: &Artifacts,
    device: SocketAddr,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Row>> {
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = options.load().interfaces(device, broker.address());
    plan.items = options.load().items();
    let mut cluster = Cluster::prepare(plan, artifacts)?;
    let observer = Observer::counting(broker.address(), "observer", "bench/#")?;
    say("gateway: the pair starts");
    cluster.start_all()?;
    let active = cluster.wait_in_sync(READY_LIMIT * 2)?;
    let standby = cluster.names().into_iter().find(|name| *name != active).unwrap_or_default();
    wait_until("values at the subscriber", READY_LIMIT, || observer.count() > 0)
        .map_err(|_| Error::State(format!("no value at the subscriber\n{}", cluster.log_tails())))?;
    say(&format!("gateway: measuring {} s", options.seconds));
    thread::sleep(SETTLE);
    let busy = [Usage::of(cluster.pid(&active)?), Usage::of(cluster.pid(&standby)?)];
    let before = observer.json_fields();
    let started = Instant::now();
    thread::sleep(Duration::from_secs(options.seconds));
    let values = per_second(observer.json_fields() - before, started.elapsed());
    let [active_usage, standby_usage] = busy;
    Ok(vec![
        Row::of("Twinhub, active", values, &active_usage),
        Row::of("Twinhub, standby", 0.0, &standby_usage),
    ])
}

fn measure_node_red(
    options: &GatewayOptions,
    installed: &std::path::Path,
    device: SocketAddr,
    say: &mut dyn FnMut(&str),
) -> Result<Row> {
    let broker = Mosquitto::start()?;
    let observer = Observer::counting(broker.address(), "observer", "bench/#")?;
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let flows = node_red::flows(device, broker.address(), options.registers, options.interval_ms);
    say("gateway: Node-RED starts");
    let process = node_red::start(installed, folder.path(), &flows)?;
    wait_node_red(&process, || observer.count() > 0)?;
    say(&format!("gateway: measuring {} s", options.seconds));
    thread::sleep(SETTLE);
    let usage = Usage::of(process.pid());
    let before = observer.json_fields();
    let started = Instant::now();
    thread::sleep(Duration::from_secs(options.seconds));
    let values = per_second(observer.json_fields() - before, started.elapsed());
    Ok(Row::of(&format!("Node-RED {}", node_red::version(installed)), values, &usage))
}

/// How many times as much another gateway takes per value, in the same run.
fn ratio(own: &Row, other: &Row) -> String {
    let per_value = |row: &Row| row.cpu_percent / row.values_per_second.max(1.0);
    format!(
        "{}: {:.1} times the processor time per value, {:.1} times the memory, {:.1} % of the values",
        other.what,
        per_value(other) / per_value(own).max(f64::MIN_POSITIVE),
        other.rss_mib / own.rss_mib.max(f64::MIN_POSITIVE),
        other.values_per_second * 100.0 / own.values_per_second.max(1.0)
    )
}

/// Waits for the first value that Node-RED publishes.
pub(crate) fn wait_node_red(process: &Process, arrived: impl FnMut() -> bool) -> Result<()> {
    wait_until("values of Node-RED", READY_LIMIT * 3, arrived)
        .map_err(|_| Error::State(format!("no value of Node-RED\n{}", process.log_tail())))
}

/// How many per second.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

const SETTLE: Duration = Duration::from_secs(3);
