//! `cargo xtask bench flat-out`: as many values as go through, in blocks beside a plain loop, and one topic each beside
//! what the broker carries at all. Optionally Node-RED at its best in the same run.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use twinhub_peers::{Flood, Mosquitto, PlainPublisher, Tally, wait_until};

use super::{load_average, words::numbers};
use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::gateway::{per_second, wait_node_red};
use crate::load::{BLOCK, Form, Load, READY_LIMIT, topic};
use crate::node_red;
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::table;
use crate::usage::{Machine, Usage};

/// What is measured.
#[derive(Clone, Debug)]
pub struct FlatOutOptions {
    registers: u16,
    seconds: u64,
    rounds: u64,
    node_red: Option<PathBuf>,
}

impl FlatOutOptions {
    /// Reads `--registers N --seconds N --rounds N --node-red FOLDER`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let (mut registers, mut seconds, mut rounds) = (10_000, 10, 3);
        let mut words = words.to_vec();
        let mut node_red = None;
        if let Some(place) = words.iter().position(|word| word == "--node-red") {
            node_red = words.get(place + 1).map(PathBuf::from);
            words.drain(place..(place + 2).min(words.len()));
        }
        let known =
            &mut [("--registers", &mut registers), ("--seconds", &mut seconds), ("--rounds", &mut rounds)];
        numbers(&words, known)?;
        let registers = u16::try_from(registers)
            .map_err(|_| Error::Usage(format!("--registers {registers}: a device has at most 65535")))?;
        Ok(Self { registers, seconds, rounds, node_red })
    }

    fn load(&self, form: Form) -> Load {
        Load {
            registers: self.registers,
            change_ms: 0,
            // Shorter than a cycle: the next begins as soon as one is over.
            poll_ms: 1,
            pipeline: PIPELINE,
            form,
            setpoints: 0,
            standby: None,
        }
    }
}

/// Runs it; false when a goal is missed.
pub fn bench_flat_out(options: &FlatOutOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (device, _device) = options.load(Form::Blocks).start_device(&artifacts, folder.path())?;
    let busy = Machine::now();
    let mut bench = Bench { options, artifacts: &artifacts, device, say, lines: Vec::new() };
    let (mut blocks, mut topics) = (Vec::new(), Vec::new());
    // A, B, A, B: what else the machine does hits both.
    for round in 1..=options.rounds {
        let anchor = bench.anchor()?;
        let hub = bench.hub(Form::Blocks)?;
        blocks.push([hub, anchor]);
        let broker = bench.broker_alone()?;
        let hub = bench.hub(Form::Topics)?;
        topics.push([hub, broker]);
        (bench.say)(&format!("flat-out: round {round}/{} is over", options.rounds));
    }
    let node_red = options.node_red.as_deref().map(|installed| bench.node_red(installed)).transpose()?;
    let head = ["what", "values/s delivered", "values/s read", "CPU % of a core", "backup"];
    let lines = std::mem::take(&mut bench.lines);
    say(&format!(
        "\n{} registers, all changed at every read, {PIPELINE} requests under way, {} s each; mosquitto {}, quality of \
         service 0; load average {}, the whole machine took {:.0} % of a core\n{}",
        options.registers,
        options.seconds,
        Mosquitto::version()?,
        load_average(),
        busy.percent_since(),
        table(&head, &lines)
    ));
    let [blocks_median, blocks_share] = medians(&blocks);
    let [topics_median, topics_share] = medians(&topics);
    say(&format!(
        "blocks: {blocks_median:.0} values/s, {:.0} % of the plain loop (goals {BLOCKS_GOAL:.0} and {:.0} %)\n\
         topics: {topics_median:.0} values/s, {:.0} % of what the broker carries alone (goal {:.0} %)",
        blocks_share * 100.0,
        ANCHOR_SHARE * 100.0,
        topics_share * 100.0,
        BROKER_SHARE * 100.0,
    ));
    if let Some(other) = node_red {
        say(&format!(
            "Node-RED: {other:.0} values/s; blocks are {:.0} times that",
            blocks_median / other.max(1.0)
        ));
    }
    say("repeat: cargo xtask bench flat-out");
    Ok(blocks_median >= BLOCKS_GOAL && blocks_share >= ANCHOR_SHARE && topics_share >= BROKER_SHARE)
}

struct Bench<'a> {
    options: &'a FlatOutOptions,
    artifacts: &'a Artifacts,
    device: SocketAddr,
    say: &'a mut dyn FnMut(&str),
    lines: Vec<Vec<String>>,
}

impl Bench<'_> {
    /// Values per second of the pair.
    fn hub(&mut self, form: Form) -> Result<f64> {
        let what = match form {
            Form::Blocks => "Twinhub, blocks",
            Form::Topics => "Twinhub, topics",
        };
        let broker = Mosquitto::start()?;
        let load = self.options.load(form);
        let mut plan = SitePlan::new(Profile::Normal, 2)?;
        plan.interfaces = load.interfaces(self.device, broker.address());
        plan.items = load.items();
        let mut cluster = Cluster::prepare(plan, self.artifacts)?;
        let tally = Tally::start(broker.address(), "bench/#")?;
        cluster.start_witness()?;
        cluster.start("main")?;
        cluster.wait_state("main", "active", READY_LIMIT)?;
        cluster.start("backup")?;
        // Whether it keeps up with such a load is told, not required.
        cluster.wait_state("main", "active", READY_LIMIT)?;
        wait_until("the backup to follow", READY_LIMIT, || {
            cluster.state("backup").is_some_and(|state| state == "standby" || state == "syncing")
        })?;
        let arrived = || match form {
            Form::Blocks => tally.json_fields(),
            Form::Topics => tally.messages(),
        };
        wait_until("values at the subscriber", READY_LIMIT, || arrived() > 0)
            .map_err(|_| Error::State(format!("no value at the subscriber\n{}", cluster.log_tails())))?;
        thread::sleep(SETTLE);
        let read = || -> Result<u64> {
            let view = cluster.rest("main")?.resource("/interfaces/plc1")?;
            view["values"].as_u64().ok_or_else(|| Error::State(format!("no number of values: {view}")))
        };
        let usage = Usage::of(cluster.pid("main")?);
        let (before, read_before, begin) = (arrived(), read()?, Instant::now());
        thread::sleep(Duration::from_secs(self.options.seconds));
        let delivered = per_second(arrived() - before, begin.elapsed());
        let read = per_second(read()? - read_before, begin.elapsed());
        let status = cluster.status("main")?;
        let backup = status.node("backup").map(|node| match (node.in_sync, node.lag_records) {
            (true, _) => "in sync".to_owned(),
            (false, Some(lag)) => format!("{lag} records behind"),
            (false, None) => node.state.clone(),
        });
        self.line(what, delivered, Some(read), Some(usage.percent()), backup);
        Ok(delivered)
    }

    /// Values per second of a loop that reads and publishes, and does nothing else.
    fn anchor(&mut self) -> Result<f64> {
        let broker = Mosquitto::start()?;
        let tally = Tally::start(broker.address(), "bench/#")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (device, registers) = (self.device, self.options.registers);
        let publisher = PlainPublisher::connect(broker.address(), "plain")?;
        let plain = thread::Builder::new().name("plain".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || plain_loop(device, publisher, registers, &stop)
        });
        let plain = plain.map_err(Error::file("thread of the plain loop"))?;
        let arrives = wait_until("values of the plain loop", READY_LIMIT, || tally.messages() > 0);
        thread::sleep(SETTLE);
        let (before, begin) = (tally.json_fields(), Instant::now());
        thread::sleep(Duration::from_secs(self.options.seconds));
        let delivered = per_second(tally.json_fields() - before, begin.elapsed());
        stop.store(true, Ordering::SeqCst);
        let ended = plain.join().map_err(|_| Error::State("the plain loop panicked".to_owned()))?;
        arrives?;
        ended?;
        self.line("plain loop, blocks", delivered, None, None, None);
        Ok(delivered)
    }

    /// Messages per second of the broker between a publisher and a subscriber that do nothing else.
    fn broker_alone(&mut self) -> Result<f64> {
        let broker = Mosquitto::start()?;
        let tally = Tally::start(broker.address(), "bench/#")?;
        let topics: Vec<String> = (0..self.options.registers).map(topic).collect();
        let flood = Flood::start(broker.address(), &topics, b"12345")?;
        wait_until("the flood", READY_LIMIT, || tally.messages() > 0)?;
        thread::sleep(SETTLE);
        let (before, begin) = (tally.messages(), Instant::now());
        thread::sleep(Duration::from_secs(self.options.seconds));
        let delivered = per_second(tally.messages() - before, begin.elapsed());
        drop(flood);
        self.line("the broker alone, topics", delivered, None, None, None);
        Ok(delivered)
    }

    /// Values per second of Node-RED, asked for ten times what it reaches.
    fn node_red(&mut self, installed: &Path) -> Result<f64> {
        let broker = Mosquitto::start()?;
        let tally = Tally::start(broker.address(), "bench/#")?;
        let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
        let flows = node_red::flows(self.device, broker.address(), self.options.registers, NODE_RED_MS);
        let process = node_red::start(installed, folder.path(), &flows)?;
        wait_node_red(&process, || tally.messages() > 0)?;
        thread::sleep(SETTLE);
        let usage = Usage::of(process.pid());
        let (before, begin) = (tally.json_fields(), Instant::now());
        thread::sleep(Duration::from_secs(self.options.seconds));
        let delivered = per_second(tally.json_fields() - before, begin.elapsed());
        let what = format!("Node-RED {}, blocks", node_red::version(installed));
        self.line(&what, delivered, None, Some(usage.percent()), None);
        Ok(delivered)
    }

    fn line(
        &mut self,
        what: &str,
        delivered: f64,
        read: Option<f64>,
        percent: Option<f64>,
        backup: Option<String>,
    ) {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        (self.say)(&format!("flat-out: {what}: {delivered:.0} values/s"));
        let backup = backup.unwrap_or_else(|| "-".to_owned());
        self.lines.push(vec![
            what.to_owned(),
            number(Some(delivered)),
            number(read),
            number(percent),
            backup,
        ]);
    }
}

/// Reads block after block with several requests under way, and publishes each as a JSON object.
fn plain_loop(
    device: SocketAddr,
    mut publisher: PlainPublisher,
    registers: u16,
    stop: &AtomicBool,
) -> Result<()> {
    let io = |error| Error::File { path: "the device".into(), source: error };
    let mut socket = TcpStream::connect(device).map_err(io)?;
    socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(READY_LIMIT))).map_err(io)?;
    let mut answers = BufReader::new(socket.try_clone().map_err(io)?);
    let blocks: Vec<u16> = (0..registers / BLOCK).collect();
    let mut payload = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for burst in blocks.chunks(usize::from(PIPELINE)) {
            let mut requests = Vec::new();
            for block in burst {
                requests.extend(block.to_be_bytes());
                requests.extend([0, 0, 0, 6, 1, 3]);
                requests.extend((block * BLOCK).to_be_bytes());
                requests.extend(BLOCK.to_be_bytes());
            }
            socket.write_all(&requests).map_err(io)?;
            for block in burst {
                let mut answer = [0; 9 + 2 * BLOCK as usize];
                answers.read_exact(&mut answer).map_err(io)?;
                payload.clear();
                for (register, pair) in answer[9..].chunks_exact(2).enumerate() {
                    let value = u16::from_be_bytes([pair[0], pair[1]]);
                    let head = if register == 0 { '{' } else { ',' };
                    // Into memory: nothing to fail.
                    drop(write!(payload, "{head}\"r{}\":{value}", usize::from(block * BLOCK) + register));
                }
                payload.push(b'}');
                publisher.publish(&format!("bench/b{block}"), &payload)?;
            }
        }
    }
    Ok(())
}

/// Median of the first of each pair, and of its share of the second.
fn medians(pairs: &[[f64; 2]]) -> [f64; 2] {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        crate::table::percentile(&values, 0.5).unwrap_or(0.0)
    };
    [
        median(pairs.iter().map(|[own, _]| *own).collect()),
        median(pairs.iter().map(|[own, other]| own / other.max(1.0)).collect()),
    ]
}

const PIPELINE: u8 = 8;
const BLOCKS_GOAL: f64 = 2_000_000.0;
/// Of the plain loop.
const ANCHOR_SHARE: f64 = 0.23;
/// Of the broker alone.
const BROKER_SHARE: f64 = 0.95;
const NODE_RED_MS: u64 = 100;
const SETTLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_each_pair_and_not_of_the_medians() {
        let [own, share] = medians(&[[10.0, 100.0], [20.0, 40.0], [30.0, 90.0]]);
        assert!((own - 20.0).abs() < 1e-9 && (share - 1.0 / 3.0).abs() < 1e-9, "{own} {share}");
    }

    #[test]
    fn the_folder_of_node_red_may_stand_anywhere_among_the_numbers() {
        let words = ["--seconds", "2", "--node-red", "/opt/red", "--rounds", "1"].map(str::to_owned);
        let options = FlatOutOptions::parse(&words).unwrap();
        assert_eq!((options.seconds, options.rounds, options.registers), (2, 1, 10_000));
        assert_eq!(options.node_red.as_deref(), Some(Path::new("/opt/red")));
    }
}
