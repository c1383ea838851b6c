//! `cargo xtask bench write`: one request that writes many points of a device, while the pair carries its full load.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use twinhub_peers::Mosquitto;

use super::{load_average, words::numbers};
use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::load::{Form, Load, READY_LIMIT};
use crate::profile::Profile;
use crate::site::SitePlan;
use crate::table::{milliseconds, percentile, table};
use crate::usage::Machine;

/// What is measured.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    rounds: u64,
    points: u16,
    registers: u16,
}

impl WriteOptions {
    /// Reads `--rounds N --points N --registers N`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let (mut rounds, mut points, mut registers) = (200, 100, 10_000);
        let known =
            &mut [("--rounds", &mut rounds), ("--points", &mut points), ("--registers", &mut registers)];
        numbers(words, known)?;
        let narrow = |number: u64, most: u16, what: &str| {
            u16::try_from(number)
                .ok()
                .filter(|number| *number <= most)
                .ok_or_else(|| Error::Usage(format!("--{what} {number}: at most {most}")))
        };
        // As many as one request reads, to see that they are there.
        let points = narrow(points, 125, "points")?;
        Ok(Self { rounds, points, registers: narrow(registers, u16::MAX - 125, "registers")? })
    }
}

/// Runs it; false when a value was not at the device with the answer, or the mean is above the goal.
pub fn bench_write(options: &WriteOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let load = Load {
        registers: options.registers,
        change_ms: 100,
        poll_ms: 100,
        pipeline: 8,
        form: Form::Blocks,
        setpoints: options.points,
        standby: None,
    };
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (device, _device) = load.start_device(&artifacts, folder.path())?;
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(Profile::Normal, 2)?;
    plan.interfaces = load.interfaces(device, broker.address());
    plan.items = load.items();
    let mut cluster = Cluster::prepare(plan, &artifacts)?;
    cluster.start_all()?;
    let active = cluster.wait_in_sync(READY_LIMIT * 2)?;
    thread::sleep(SETTLE);
    let busy = Machine::now();
    let mut own = TcpStream::connect(device).map_err(Error::file("the device"))?;
    own.set_read_timeout(Some(READY_LIMIT)).map_err(Error::file("the device"))?;
    let (mut times, mut missing) = (Vec::new(), 0_u64);
    for round in 1..=options.rounds {
        // Another value each time; 0 is what the device starts with.
        let value = u16::try_from(round % 60_000).unwrap_or(0) + 1;
        let writes: Vec<_> = (0..options.points)
            .map(|point| json!({ "key": format!("plc1/s/{point}"), "value": value }))
            .collect();
        let begin = Instant::now();
        let answer = cluster.rest(&active)?.write_bulk(&json!(writes))?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        let done = answer.as_array().map_or(0, |results| {
            results.iter().filter(|result| result["ok"] == true && result["outcome"] == "done").count()
        });
        if done != usize::from(options.points) {
            return Err(Error::State(format!("{done} of {} writes were done: {answer}", options.points)));
        }
        let held = read(&mut own, device, options.registers, options.points)?;
        missing += held.iter().filter(|held| **held != value).count() as u64;
        thread::sleep(PAUSE);
    }
    let mean = times.iter().sum::<f64>() / f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX));
    times.sort_by(f64::total_cmp);
    let row = |what: &str, figures: [Option<f64>; 5]| {
        let mut cells = vec![what.to_owned()];
        cells.extend(figures.map(milliseconds));
        cells
    };
    let own = [
        times.first().copied(),
        Some(mean),
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        times.last().copied(),
    ];
    let rows = [
        row("Twinhub, measured", own),
        row("NG Gateway, published", [Some(14.6), Some(75.6), None, None, Some(536.5)]),
        row("Neuron 3.2.1, published", [Some(85.0), Some(523.0), None, None, Some(778.0)]),
    ];
    say(&format!(
        "\n{} points in one request, {} rounds, while {:.0} values/s are polled and published; each is journaled and on \
         the standby's disk before it leaves; load average {}, the whole machine took {:.0} % of a core\n{}\n\
         published figures are of their makers' machines; not at the device when the answer came: {missing} values",
        options.points,
        options.rounds,
        load.asked(),
        load_average(),
        busy.percent_since(),
        table(&["what", "min", "mean", "p50", "p99", "max ms"], &rows)
    ));
    say("repeat: cargo xtask bench write");
    Ok(missing == 0 && mean <= GOAL_MS)
}

/// What the device holds, asked past the product.
fn read(stream: &mut TcpStream, device: SocketAddr, from: u16, count: u16) -> Result<Vec<u16>> {
    let mut request = vec![0, 1, 0, 0, 0, 6, 1, 3];
    request.extend(from.to_be_bytes());
    request.extend(count.to_be_bytes());
    let mut answer = vec![0; 9 + 2 * usize::from(count)];
    stream
        .write_all(&request)
        .and_then(|()| stream.read_exact(&mut answer))
        .map_err(Error::file(format!("device {device}")))?;
    Ok(answer[9..].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

/// The goal for the mean.
const GOAL_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(3);
/// So that the requests meet every phase of the polls.
const PAUSE: Duration = Duration::from_millis(37);
