//! `cargo xtask bench failover`: the pair and keepalived side by side, under the same faults at the same moments.
//!
//! Both guard an address of their own on the same two machines, and one client asks both every millisecond. A fault
//! hits both at once: the host of the main dies (SIGKILL to supervisor, hub and keepalived, and nobody answers there
//! any more), or its ports on the switch and its cable go down. What the outputs and inputs of the field suffered is
//! read from the device's log.

mod keepalived;
mod options;
mod stability;

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use twinhub_conformance::{Profile, milliseconds, percentile, table};
use twinhub_peers::monotonic_ns;

use crate::error::{Error, Result};
use crate::lab::{Machine, Net};
use crate::pair::Pair;
use crate::ping::{Ping, Responder};
use keepalived::Keepalived;
pub use options::FailoverOptions;
pub use stability::bench_stability;

use Machine::{Backup, Client, Main};

/// What happens to the main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Host,
    Link,
    Hub,
    Planned,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Host, Self::Link, Self::Hub, Self::Planned];

    fn word(self) -> &'static str {
        match self {
            Self::Host => "host killed",
            Self::Link => "links cut",
            Self::Hub => "process killed",
            Self::Planned => "planned",
        }
    }
}

/// Outages of one fault in milliseconds.
#[derive(Debug, Default)]
struct Figures {
    outputs: Vec<f64>,
    inputs: Vec<f64>,
    address: Vec<f64>,
    keepalived: Vec<f64>,
    void: u32,
}

/// Runs it; false when two nodes wrote at once or a round could not be measured.
pub fn bench_failover(options: &FailoverOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut is_clean = true;
    for profile in &options.profiles {
        let mut bench = Bench::start(*profile, options)?;
        say(&format!(
            "profile {profile}, {}; load {}; {} rounds of each fault",
            keepalived::version(),
            load(),
            options.rounds
        ));
        let mut all = Vec::new();
        for fault in Fault::ALL {
            let mut figures = Figures::default();
            for round in 1..=options.rounds {
                // So that faults fall on every phase of heartbeats and announcements.
                thread::sleep(Duration::from_millis(u64::from(round) * 37 % 100));
                bench.round(fault, &mut figures)?;
                let last = |values: &[f64]| milliseconds(values.last().copied());
                say(&format!(
                    "{} {round}: address {} ms, outputs {} ms, keepalived {} ms",
                    fault.word(),
                    last(&figures.address),
                    last(&figures.outputs),
                    last(&figures.keepalived)
                ));
            }
            all.push((fault, figures));
        }
        is_clean &= report(*profile, all, say);
        let verdict = bench.pair.verdict();
        if verdict.has_old_after_new() {
            say("an old value was written after a new one");
            is_clean = false;
        }
    }
    Ok(is_clean)
}

fn report(profile: Profile, all: Vec<(Fault, Figures)>, say: &mut dyn FnMut(&str)) -> bool {
    let mut rows = Vec::new();
    let mut is_clean = true;
    for (fault, figures) in all {
        is_clean &= figures.void == 0;
        let median = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            percentile(&sorted, 0.5)
        };
        let peer = median(&figures.keepalived);
        for (what, values) in [
            ("address", &figures.address),
            ("outputs", &figures.outputs),
            ("inputs", &figures.inputs),
            ("keepalived", &figures.keepalived),
        ] {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            if sorted.is_empty() {
                continue;
            }
            let ratio = percentile(&sorted, 0.5).zip(peer).map(|(own, peer)| own / peer);
            rows.push(vec![
                fault.word().to_owned(),
                what.to_owned(),
                sorted.len().to_string(),
                milliseconds(sorted.first().copied()),
                milliseconds(percentile(&sorted, 0.5)),
                milliseconds(percentile(&sorted, 0.99)),
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
                figures.void.to_string(),
            ]);
        }
    }
    let head = ["fault", "outage of", "rounds", "min ms", "p50 ms", "p99 ms", "p50 / keepalived", "void"];
    say(&format!("profile {profile}, load at the end {}\n{}", load(), table(&head, &rows)));
    is_clean
}

/// The pair, keepalived and a client of both.
struct Bench {
    keepalived: Keepalived,
    own: Ping,
    peer: Ping,
    responders: [Responder; 2],
    pair: Pair,
}

impl Bench {
    fn start(profile: Profile, options: &FailoverOptions) -> Result<Self> {
        let timers = options.timers.as_ref().map(|timers| format!("\ntimers = {{ {timers} }}"));
        let pair = Pair::start_with(profile, &format!("{FLOATING}{}", timers.unwrap_or_default()))?;
        let keepalived = Keepalived::start(&pair)?;
        let responders = [Responder::start(pair.lab(), Main)?, Responder::start(pair.lab(), Backup)?];
        let own = Ping::start(pair.lab(), Client, OWN)?;
        let peer = Ping::start(pair.lab(), Client, keepalived::ADDRESS)?;
        let bench = Self { keepalived, own, peer, responders, pair };
        bench.wait_home()?;
        Ok(bench)
    }

    /// One fault at the main and back.
    fn round(&mut self, fault: Fault, figures: &mut Figures) -> Result<()> {
        let at = match fault {
            Fault::Host => {
                self.responders[0].silence();
                self.keepalived.strike(Main);
                let at = self.pair.kill(Main)?;
                self.keepalived.bury(Main)?;
                at
            }
            Fault::Link => {
                let at = monotonic_ns();
                self.pair.lab().unplug(Main, Net::Lan)?;
                self.pair.lab().cut(Main, Backup, Net::Cable)?;
                at
            }
            Fault::Hub => self.pair.kill_hub(Main)?,
            Fault::Planned => self.pair.switchover(Main, Backup)?,
        };
        self.own.wait_answer(Backup, at, LIMIT)?;
        self.pair.wait_writes(Backup, at, LIMIT)?;
        let verdict = self.pair.verdict();
        let ms = |outage: Option<Duration>| outage.map(|outage| outage.as_secs_f64() * 1000.0);
        let address = ms(self.own.outage(at, Backup));
        let (outputs, inputs) =
            (ms(verdict.outage_of_outputs(at, Backup)), ms(verdict.outage_of_inputs(at, Backup)));
        figures.void += u32::from(address.is_none() || outputs.is_none());
        figures.address.extend(address);
        figures.outputs.extend(outputs);
        figures.inputs.extend(inputs);
        if matches!(fault, Fault::Host | Fault::Link) {
            self.peer.wait_answer(Backup, at, LIMIT)?;
            figures.keepalived.extend(ms(self.peer.outage(at, Backup)));
        }
        self.restore(fault)
    }

    fn restore(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Host => {
                self.keepalived.run(&self.pair, Main)?;
                self.responders[0].speak();
                self.pair.run(Main)?;
            }
            Fault::Link => {
                self.pair.lab().plug(Main, Net::Lan)?;
                self.pair.lab().heal()?;
            }
            Fault::Hub | Fault::Planned => {}
        }
        self.pair.wait_in_sync(Backup)?;
        self.pair.switchover(Backup, Main)?;
        self.pair.wait_in_sync(Main)?;
        self.wait_home()
    }

    /// Both addresses are at the main, and the client has seen it.
    fn wait_home(&self) -> Result<()> {
        let now = monotonic_ns();
        let explain = |what: &str, error: Error| {
            let logs = (self.pair.logs(), self.keepalived.logs(), self.pair.addresses(Main, Net::Lan));
            Error::State(format!("{what}: {error}\n{}\n{}\n{}", logs.0, logs.1, logs.2))
        };
        self.own.wait_answer(Main, now, LIMIT).map_err(|error| explain("the pair", error))?;
        self.peer.wait_answer(Main, now, LIMIT).map_err(|error| explain("keepalived", error))?;
        // A moment of quiet: what is measured is a fault of a steady pair.
        thread::sleep(QUIET);
        let from = monotonic_ns() - 100_000_000;
        if self.own.answers_of(Backup, from) + self.peer.answers_of(Backup, from) > 0 {
            return Err(Error::State(format!(
                "the addresses are not both at the main\n{}",
                self.pair.logs()
            )));
        }
        Ok(())
    }
}

/// How many processes want a processor: one, five, fifteen minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

const FLOATING: &str = "floating = { address = \"10.77.0.50/24\" }";
const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 50));
const LIMIT: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(300);
