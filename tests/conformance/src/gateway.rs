//! `cargo xtask bench gateway`: 10,000 registers every 100 ms from Modbus to MQTT, beside Node-RED in the same run.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinhub_peers::{Mosquitto, Observer, Port, Process, tree, wait_until};

use crate::artifacts::Artifacts;
use crate::bench::load_average;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::node_red;
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::table;

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
                _ => return Err(Error::Usage(format!("unknown option {word}"))),
            }
        }
        Ok(options)
    }

    /// Values per second if every one is delivered.
    fn asked(&self) -> f64 {
        f64::from(self.registers) * 1000.0 / Duration::from_millis(self.interval_ms).as_secs_f64() / 1000.0
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
    let (device, _device) = start_device(options, &artifacts, &folder)?;
    let busy = Machine::now();
    let mut rows = measure_hub(options, &artifacts, device, say)?;
    if let Some(installed) = &options.node_red {
        rows.push(measure_node_red(options, installed, device, say)?);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(options)).collect();
    let head = ["what", "values/s", "delivered %", "CPU % of a core", "CPU % per 100,000/s", "RSS MiB"];
    say(&format!(
        "\n{} registers every {} ms as JSON blocks, {} requests under way, {} s; mosquitto {}\n\
         load average {}; everything on the machine, device and broker too, took {:.0} % of a core\n{}",
        options.registers,
        options.interval_ms,
        options.pipeline,
        options.seconds,
        Mosquitto::version()?,
        load_average(),
        busy.percent_since(),
        table(&head, &cells)
    ));
    for row in rows.iter().skip(2) {
        say(&ratio(&rows[0], row));
    }
    say("repeat: cargo xtask bench gateway");
    Ok(rows.first().is_some_and(|row| row.values_per_second >= options.asked() * 0.99))
}

impl Row {
    fn cells(&self, options: &GatewayOptions) -> Vec<String> {
        let per_rate = if self.values_per_second > 1.0 {
            format!("{:.2}", self.cpu_percent * 100_000.0 / self.values_per_second)
        } else {
            "-".to_owned()
        };
        vec![
            self.what.clone(),
            format!("{:.0}", self.values_per_second),
            format!("{:.1}", self.values_per_second * 100.0 / options.asked()),
            format!("{:.1}", self.cpu_percent),
            per_rate,
            format!("{:.1}", self.rss_mib),
        ]
    }
}

fn start_device(
    options: &GatewayOptions,
    artifacts: &Artifacts,
    folder: &TempDir,
) -> Result<(SocketAddr, Process)> {
    let port = Port::reserve()?;
    let registers = options.registers;
    let mut command = Command::new(artifacts.device());
    command.args(["--no-log", "--port", &port.number().to_string(), "--registers", &registers.to_string()]);
    command.args(["--changing", &format!("0:{registers}:{}", options.interval_ms)]);
    let mut process = Process::spawn("modbus-device", command, &folder.path().join("device.log"))?;
    let address = port.address();
    process.ready("listens", READY_LIMIT, || std::net::TcpStream::connect(address).ok())?;
    Ok((address, process))
}

fn measure_hub(
    options: &GatewayOptions,
    artifacts: &Artifacts,
    device: SocketAddr,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Row>> {
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = interfaces(options, device, broker.address());
    plan.items = items(options);
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
    let took = started.elapsed().as_secs_f64();
    let values = rate(observer.json_fields() - before, took);
    let [active_usage, standby_usage] = busy;
    Ok(vec![
        active_usage.row("Twinhub, active", values, took),
        standby_usage.row("Twinhub, standby", 0.0, took),
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
    wait_until("values of Node-RED", READY_LIMIT * 3, || observer.count() > 0)
        .map_err(|_| Error::State(format!("no value of Node-RED\n{}", process.log_tail())))?;
    say(&format!("gateway: measuring {} s", options.seconds));
    thread::sleep(SETTLE);
    let usage = Usage::of(process.pid());
    let before = observer.json_fields();
    let started = Instant::now();
    thread::sleep(Duration::from_secs(options.seconds));
    let took = started.elapsed().as_secs_f64();
    Ok(usage.row(
        &format!("Node-RED {}", node_red::version(installed)),
        rate(observer.json_fields() - before, took),
        took,
    ))
}

/// Processor time of a process and all below it at one moment.
struct Usage {
    root: u32,
    ticks: u64,
}

impl Usage {
    fn of(root: u32) -> Self {
        Self { root, ticks: ticks(root) }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn row(&self, what: &str, values_per_second: f64, seconds: f64) -> Row {
        let used = ticks(self.root).saturating_sub(self.ticks);
        let cpu_percent = used as f64 * 100.0 / TICKS_PER_SECOND / seconds;
        // A supervisor and its child share the pages of their program: they are there once.
        let memory = tree(self.root).into_iter().map(resident_kib);
        let (anonymous, file) = memory.fold((0, 0), |(a, f), (own, shared)| (a + own, f.max(shared)));
        let rss_kib = anonymous + file;
        Row { what: what.to_owned(), values_per_second, cpu_percent, rss_mib: rss_kib as f64 / 1024.0 }
    }
}

/// Processor time of the whole machine since a moment.
struct Machine {
    ticks: f64,
    at: Instant,
}

impl Machine {
    fn now() -> Self {
        Self { ticks: busy_ticks(), at: Instant::now() }
    }

    fn percent_since(&self) -> f64 {
        (busy_ticks() - self.ticks) * 100.0 / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64()
    }
}

/// proc(5), `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn busy_ticks() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields = numbers.filter_map(|number| number.parse::<f64>().ok());
    fields.enumerate().filter(|(place, _)| [0, 1, 2, 5, 6, 7].contains(place)).map(|(_, ticks)| ticks).sum()
}

/// proc(5), `/proc/pid/stat`: fields 14 and 15 are user and system time; the name in field 2 may hold anything.
fn ticks(root: u32) -> u64 {
    let of = |pid: u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    tree(root).into_iter().filter_map(of).sum()
}

/// proc(5), `/proc/pid/status`: memory of its own, and pages of files.
fn resident_kib(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("RssAnon:") + field("RssShmem:"), field("RssFile:"))
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

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn interfaces(options: &GatewayOptions, device: SocketAddr, broker: SocketAddr) -> String {
    let pipeline = match options.pipeline {
        // The default, which an older hub to compare with knows too.
        1 => String::new(),
        several => format!(", pipeline = {several}"),
    };
    format!(
        r#"[[interface]]
id = "plc1"
plugin = "modbus"
items = "items/plc1.csv"
settings = {{ address = "{device}", unit = 1, poll = "{}ms", timeout = "500ms"{pipeline} }}

[[interface]]
id = "mqtt1"
plugin = "mqtt"
items = "items/mqtt1.csv"
settings = {{ broker = "mqtt://{broker}", status_topic = "", qos = 0 }}

[[link]]
from = "plc1/r/*"
to = "mqtt1/r/*"
"#,
        options.interval_ms
    )
}

fn items(options: &GatewayOptions) -> Vec<(String, String)> {
    let mut plc = "path,address,type,access,unit,description\n".to_owned();
    let mut mqtt = "path,address,type,access,unit,description,json\n".to_owned();
    for register in 0..options.registers {
        let block = register / BLOCK;
        let written = writeln!(plc, "r/{register},hr:{register},u16,r,,")
            .and_then(|()| writeln!(mqtt, "r/{register},bench/b{block},u16,w,,,r{register}"));
        written.expect("a String takes any text");
    }
    vec![("plc1.csv".to_owned(), plc), ("mqtt1.csv".to_owned(), mqtt)]
}

/// Registers in one request, and values in one message.
pub(crate) const BLOCK: u16 = 125;
const READY_LIMIT: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(3);
/// `getconf CLK_TCK` on every Linux in use.
const TICKS_PER_SECOND: f64 = 100.0;
