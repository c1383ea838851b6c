//! `cargo xtask bench standby`: what a standby costs whose interfaces are cold or warm, and what it sends to the field.
//!
//! The backup's ways to device and broker lead through relays of its own, so that each byte it sends there is seen. The
//! processor time of its interfaces is that of their threads; the rest of the process is the copy of the active node's
//! values, which is told beside it.

use std::thread;
use std::time::Duration;

use twinhub_peers::{Direction, Mosquitto, Tap, wait_until};

use super::{load_average, words::numbers};
use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::evidence::Effect;
use crate::load::{Form, Load, READY_LIMIT};
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::table;
use crate::usage::{Machine, Usage};

/// What is measured.
#[derive(Clone, Debug)]
pub struct StandbyOptions {
    registers: u16,
    seconds: u64,
}

impl StandbyOptions {
    /// Reads `--registers N --seconds N`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let (mut registers, mut seconds) = (10_000, 20);
        numbers(words, &mut [("--registers", &mut registers), ("--seconds", &mut seconds)])?;
        let registers = u16::try_from(registers)
            .map_err(|_| Error::Usage(format!("--registers {registers}: a device has at most 65535")))?;
        Ok(Self { registers, seconds })
    }
}

/// What was seen of one standby.
struct Seen {
    mode: &'static str,
    poll_ms: u64,
    interfaces_percent: f64,
    process_percent: f64,
    connections: [u64; 2],
    requests: u64,
    published: u64,
    bytes: [u64; 2],
}

/// Runs it; false when a standby sent something to the field, or its interfaces took too much.
pub fn bench_standby(options: &StandbyOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let busy = Machine::now();
    let mut seen = Vec::new();
    for mode in ["cold", "warm"] {
        for poll_ms in [1000, 100] {
            seen.push(measure(options, mode, poll_ms, &artifacts, say)?);
        }
    }
    let head = [
        "standby",
        "values/s of the active node",
        "interfaces: CPU % of a core",
        "whole process: CPU %",
        "to the device: connections",
        "requests",
        "bytes",
        "to the broker: connections",
        "messages",
        "bytes",
    ];
    let rows: Vec<Vec<String>> = seen.iter().map(|seen| seen.cells(options)).collect();
    say(&format!(
        "\n{} registers to MQTT, {} s; mosquitto {}; load average {}, the whole machine took {:.0} % of a core\n{}",
        options.registers,
        options.seconds,
        Mosquitto::version()?,
        load_average(),
        busy.percent_since(),
        table(&head, &rows)
    ));
    let mut is_well = true;
    for seen in &seen {
        for problem in seen.problems() {
            is_well = false;
            say(&format!("{} at {} ms: {problem}", seen.mode, seen.poll_ms));
        }
    }
    say("repeat: cargo xtask bench standby");
    Ok(is_well)
}

fn measure(
    options: &StandbyOptions,
    mode: &'static str,
    poll_ms: u64,
    artifacts: &Artifacts,
    say: &mut dyn FnMut(&str),
) -> Result<Seen> {
    say(&format!("standby: {mode}, {} registers every {poll_ms} ms", options.registers));
    let load = Load {
        registers: options.registers,
        change_ms: poll_ms,
        poll_ms,
        pipeline: 8,
        form: Form::Blocks,
        setpoints: 0,
        standby: Some(mode),
    };
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (device, _device) = load.start_device(artifacts, folder.path())?;
    let broker = Mosquitto::start()?;
    let (to_device, to_broker) = (Tap::modbus(device)?, Tap::mqtt(broker.address())?);
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = format!(
        "[nodes.backup.override]\ninterface.plc1.settings.address = \"{}\"\n\
         interface.mqtt1.settings.broker = \"mqtt://{}\"\n\n{}",
        to_device.address(),
        to_broker.address(),
        load.interfaces(device, broker.address())
    );
    plan.items = load.items();
    let cluster = Cluster::start_pair(plan, artifacts, READY_LIMIT * 2)?;
    if mode == "warm" {
        let stand = || to_device.relay().connections() > 0 && to_broker.relay().connections() > 0;
        wait_until("the links of the warm standby", READY_LIMIT, stand)?;
    }
    thread::sleep(SETTLE);
    let usage = Usage::of(cluster.pid("backup")?);
    thread::sleep(Duration::from_secs(options.seconds));
    let (interfaces_percent, process_percent) = (usage.percent_of_threads(&INTERFACES), usage.percent());
    if cluster.state("backup").as_deref() != Some("standby") {
        return Err(Error::State(format!("the backup became active\n{}", cluster.log_tails())));
    }
    let effects = |tap: &Tap| tap.events().iter().filter_map(|event| Effect::of(&event.sent)).count() as u64;
    Ok(Seen {
        mode,
        poll_ms,
        interfaces_percent,
        process_percent,
        connections: [to_device.relay().connections(), to_broker.relay().connections()],
        requests: effects(&to_device),
        published: effects(&to_broker),
        bytes: [&to_device, &to_broker].map(|tap| tap.relay().carried_bytes(Direction::Forward)),
    })
}

impl Seen {
    fn cells(&self, options: &StandbyOptions) -> Vec<String> {
        let rate = u64::from(options.registers) * 1000 / self.poll_ms;
        vec![
            self.mode.to_owned(),
            rate.to_string(),
            format!("{:.2}", self.interfaces_percent),
            format!("{:.2}", self.process_percent),
            self.connections[0].to_string(),
            self.requests.to_string(),
            self.bytes[0].to_string(),
            self.connections[1].to_string(),
            self.published.to_string(),
            self.bytes[1].to_string(),
        ]
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.interfaces_percent > INTERFACES_PERCENT_MAX {
            found.push(format!(
                "the interfaces of the standby took {:.2} % of a core, goal {INTERFACES_PERCENT_MAX} %",
                self.interfaces_percent
            ));
        }
        if self.bytes[0] > 0 || self.requests > 0 {
            found.push(format!("{} requests, {} bytes to the device", self.requests, self.bytes[0]));
        }
        if self.published > 0 {
            found.push(format!("{} messages to the broker", self.published));
        }
        if self.mode == "cold" && self.connections != [0, 0] {
            let [device, broker] = self.connections;
            found.push(format!(
                "{device} connections to the device and {broker} to the broker, although cold"
            ));
        }
        found
    }
}

/// Threads of plugin instances and of those that lead them.
const INTERFACES: [&str; 2] = ["tw-", "if-"];
const INTERFACES_PERCENT_MAX: f64 = 1.0;
/// What a full copy and the first connections cost is over.
const SETTLE: Duration = Duration::from_secs(3);
