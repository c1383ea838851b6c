//! What the device says happened.

use std::net::Ipv4Addr;
use std::time::Duration;

use twinhub_peers::{DeviceRequest, WRITE_FUNCTIONS};

use crate::lab::{Machine, Net};

/// The log of the device, read as a judge does.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Time in nanoseconds, source, value.
    writes: Vec<(u64, Machine, u16)>,
    /// Time in nanoseconds, source.
    requests: Vec<(u64, Machine)>,
}

impl Verdict {
    /// Reads the log.
    pub fn of(log: &[DeviceRequest]) -> Self {
        let mut verdict = Self { writes: Vec::new(), requests: Vec::new() };
        for request in log {
            let Some(machine) = source(&request.peer) else { continue };
            verdict.requests.push((request.t, machine));
            if WRITE_FUNCTIONS.contains(&request.function) {
                let value = request.values.first().copied().unwrap_or_default();
                verdict.writes.push((request.t, machine, value));
            }
        }
        verdict
    }

    /// How often the writes changed from one machine to another.
    pub fn changes_of_writer(&self) -> usize {
        self.writes.windows(2).filter(|pair| pair[0].1 != pair[1].1).count()
    }

    /// Whether a value was written after a later one.
    pub fn has_old_after_new(&self) -> bool {
        self.writes.windows(2).any(|pair| pair[1].2 < pair[0].2)
    }

    /// Values written twice in a row.
    pub fn doubled(&self) -> usize {
        self.writes.windows(2).filter(|pair| pair[0].2 == pair[1].2).count()
    }

    /// Requests of any kind from a machine in a span of time.
    pub fn requests_of(&self, machine: Machine, from: u64, until: u64) -> usize {
        let within = |at: u64| at >= from && at < until;
        self.requests.iter().filter(|(at, source)| *source == machine && within(*at)).count()
    }

    /// Writes from a machine after a moment.
    pub fn writes_of(&self, machine: Machine, from: u64) -> usize {
        self.writes.iter().filter(|(at, source, _)| *source == machine && *at >= from).count()
    }

    /// From the last write before a moment to the first after it by another machine.
    pub fn outage_of_outputs(&self, fault: u64, new: Machine) -> Option<Duration> {
        let first = self.writes.iter().find(|(at, source, _)| *at >= fault && *source == new)?.0;
        let last = self.writes.iter().rfind(|(at, source, _)| *at < first && *source != new)?.0;
        Some(Duration::from_nanos(first - last))
    }

    /// From the last request before a moment to the first after it by another machine.
    pub fn outage_of_inputs(&self, fault: u64, new: Machine) -> Option<Duration> {
        let first = self.requests.iter().find(|(at, source)| *at >= fault && *source == new)?.0;
        let last = self.requests.iter().rfind(|(at, source)| *at < first && *source != new)?.0;
        Some(Duration::from_nanos(first - last))
    }
}

fn source(peer: &str) -> Option<Machine> {
    let address: Ipv4Addr = peer.rsplit_once(':')?.0.parse().ok()?;
    Machine::ALL.into_iter().find(|machine| machine.address(Net::Field) == address)
}
