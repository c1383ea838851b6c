//! Who answers at an address, asked every millisecond.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twinhub_peers::{monotonic_ns, wait_until};

use crate::error::{Error, Result};
use crate::lab::{Lab, Machine};

/// Answers every datagram with the machine it is on.
#[derive(Debug)]
pub struct Responder {
    is_silent: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts it on a machine, at all its addresses.
    pub fn start(lab: &Lab, machine: Machine) -> Result<Self> {
        let socket = lab.inside(machine, || socket(PORT))??;
        let (is_silent, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (silent, end) = (Arc::clone(&is_silent), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut question = [0; 16];
            while !end.load(Ordering::Acquire) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                if !silent.load(Ordering::Acquire) && length == 4 {
                    // An asker that has gone is none of its business.
                    drop(socket.send_to(&[machine as u8], from));
                }
            }
        });
        Ok(Self { is_silent, ends, thread: Some(thread) })
    }

    /// From now on it answers nothing, as on a machine without power.
    pub fn silence(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    /// It answers again.
    pub fn speak(&self) {
        self.is_silent.store(false, Ordering::Release);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            drop(thread.join());
        }
    }
}

/// Asks an address every millisecond and keeps the answers.
#[derive(Debug)]
pub struct Ping {
    answers: Arc<Mutex<Vec<(u64, Machine)>>>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Ping {
    /// Starts to ask from a machine.
    pub fn start(lab: &Lab, from: Machine, target: IpAddr) -> Result<Self> {
        let socket = lab.inside(from, || socket(0))??;
        let sender = socket.try_clone().map_err(Error::io("socket of the asker"))?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (log, end) = (Arc::clone(&answers), Arc::clone(&ends));
        let listening = thread::spawn(move || {
            let mut answer = [0; 16];
            while !end.load(Ordering::Acquire) {
                let Ok((1, _)) = socket.recv_from(&mut answer) else { continue };
                let who = Machine::ALL.into_iter().find(|machine| *machine as u8 == answer[0]);
                if let Some(who) = who {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push((monotonic_ns(), who));
                }
            }
        });
        let end = Arc::clone(&ends);
        let target = SocketAddr::new(mapped(target).into(), PORT);
        let asking = thread::spawn(move || {
            let mut number = 0_u32;
            let mut next = std::time::Instant::now();
            while !end.load(Ordering::Acquire) {
                number = number.wrapping_add(1);
                // Nobody there is what is measured.
                drop(sender.send_to(&number.to_be_bytes(), target));
                next = (next + INTERVAL).max(std::time::Instant::now());
                thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
            }
        });
        Ok(Self { answers, ends, threads: vec![listening, asking] })
    }

    /// Every answer so far: when, and from which machine.
    pub fn answers(&self) -> Vec<(u64, Machine)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an answer of a machine after a moment; gives when it came.
    pub fn wait_answer(&self, of: Machine, since: u64, limit: Duration) -> Result<u64> {
        let mut found = None;
        wait_until(&format!("an answer of {}", of.word()), limit, || {
            found = self.answers().into_iter().find(|(at, who)| *at >= since && *who == of);
            found.is_some()
        })?;
        found.map(|(at, _)| at).ok_or_else(|| Error::State("no answer".to_owned()))
    }

    /// From the last answer of another machine to the first one of the new machine after a moment.
    pub fn outage(&self, fault: u64, new: Machine) -> Option<Duration> {
        let answers = self.answers();
        let first = answers.iter().find(|(at, who)| *at >= fault && *who == new)?.0;
        let last = answers.iter().rfind(|(at, who)| *at < first && *who != new)?.0;
        Some(Duration::from_nanos(first - last))
    }

    /// How many answers a machine gave after a moment.
    pub fn answers_of(&self, machine: Machine, since: u64) -> usize {
        self.answers().iter().filter(|(at, who)| *at >= since && *who == machine).count()
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A panic there has been reported.
            drop(thread.join());
        }
    }
}

/// For both families; waits so short for a datagram that its thread sees the end.
fn socket(port: u16) -> Result<UdpSocket> {
    let bind = || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(socket)
    };
    bind().map_err(Error::io("a datagram socket"))
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Each machine has its own addresses, so that a fixed port collides with nothing.
const PORT: u16 = 7007;
const INTERVAL: Duration = Duration::from_millis(1);
