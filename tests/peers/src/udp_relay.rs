//! A relay of datagrams that writes down what passes, and can let it drop.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::monotonic_ns;
use crate::error::{Error, Result};

/// Stands between clients and a server. A client has to let the server answer to where its datagrams come from.
#[derive(Debug)]
pub struct UdpRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A datagram that came to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The client's address.
    pub client: SocketAddr,
    /// Whether the client sent it.
    pub is_from_client: bool,
    /// Whether it was passed on.
    pub was_passed: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    is_cut: AtomicBool,
    is_over: AtomicBool,
    log: Mutex<Vec<Datagram>>,
    drops: Mutex<Vec<Drops>>,
}

/// Which datagrams are dropped.
struct Drops(Box<dyn FnMut(&Datagram) -> bool + Send>);

impl std::fmt::Debug for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Drops")
    }
}

impl UdpRelay {
    /// Listens on 127.0.0.1 and a port that the system chooses.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("socket of the relay"))?;
        let address = front.local_addr().map_err(Error::io("address of the relay"))?;
        front.set_nonblocking(true).map_err(Error::io("socket of the relay"))?;
        let shared = Arc::new(Shared {
            is_cut: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            log: Mutex::default(),
            drops: Mutex::default(),
        });
        let inner = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("udp-relay".to_owned())
            .spawn(move || carry(&front, target, &inner))
            .map_err(Error::io("start the relay"))?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets everything drop, or pass again.
    pub fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Lets what the rule says yes to drop.
    pub fn drop_if(&self, rule: impl FnMut(&Datagram) -> bool + Send + 'static) {
        self.shared.drops.lock().unwrap_or_else(PoisonError::into_inner).push(Drops(Box::new(rule)));
    }

    /// What came so far.
    pub fn log(&self) -> Vec<Datagram> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn carry(front: &UdpSocket, target: SocketAddr, shared: &Shared) {
    let mut backs: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    while !shared.is_over.load(Ordering::SeqCst) {
        let mut was_idle = true;
        while let Ok((count, client)) = front.recv_from(&mut buffer) {
            was_idle = false;
            if backs.len() >= CLIENTS_MAX && !backs.contains_key(&client) {
                continue;
            }
            let back = match backs.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => match back_socket(target) {
                    Ok(back) => place.insert(back),
                    Err(_) => continue,
                },
            };
            if pass(shared, client, true, &buffer[..count]) {
                // A server that is away refuses, which is as if it were lost.
                drop(back.send(&buffer[..count]));
            }
        }
        for (client, back) in &backs {
            while let Ok(count) = back.recv(&mut buffer) {
                was_idle = false;
                if pass(shared, *client, false, &buffer[..count]) {
                    drop(front.send_to(&buffer[..count], client));
                }
            }
        }
        if was_idle {
            thread::sleep(IDLE);
        }
    }
}

fn back_socket(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    back.connect(target)?;
    back.set_nonblocking(true)?;
    Ok(back)
}

fn pass(shared: &Shared, client: SocketAddr, is_from_client: bool, bytes: &[u8]) -> bool {
    let mut datagram =
        Datagram { at_ns: monotonic_ns(), client, is_from_client, was_passed: true, bytes: bytes.to_vec() };
    let mut drops = shared.drops.lock().unwrap_or_else(PoisonError::into_inner);
    let is_dropped = drops.iter_mut().any(|Drops(rule)| rule(&datagram));
    datagram.was_passed = !is_dropped && !shared.is_cut.load(Ordering::SeqCst);
    let was_passed = datagram.was_passed;
    shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(datagram);
    was_passed
}

const CLIENTS_MAX: usize = 64;
/// Far below what a test of the bus looks at.
const IDLE: Duration = Duration::from_micros(200);
