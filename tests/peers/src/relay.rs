//! A TCP relay that stands between two sockets and can be cut, without any privilege.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Which way bytes go: from the side that connected to the side that listens, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    Forward,
    /// From the server to the client.
    Backward,
}

/// How a path is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A pulled cable: sockets stay open, bytes do not arrive until healed, like TCP behind a dead switch.
    Silent,
    /// A pulled cable in one direction only.
    OneWay(Direction),
    /// A stopped host: connections are closed and new ones too.
    Reset,
}

/// What sees each piece of data the relay has read: connection, direction, bytes, when.
pub(crate) type Sight = Box<dyn FnMut(u64, Direction, &[u8], Instant) + Send>;

/// Relays 127.0.0.1 to one target until dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on a free port and connects every client to `target`.
    pub fn start(target: SocketAddr) -> Result<Self> {
        Self::start_with(target, None)
    }

    pub(crate) fn start_with(target: SocketAddr, sight: Option<Sight>) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listen for the relay"))?;
        let address = listener.local_addr().map_err(Error::io("address of the relay"))?;
        let shared = Arc::new(Shared {
            target,
            switch: Mutex::new(Switch {
                held: [false; 2],
                refuse: false,
                is_garbled: false,
                delay: Duration::ZERO,
            }),
            changed: Condvar::new(),
            sockets: Mutex::new(BTreeMap::new()),
            accepted: AtomicU64::new(0),
            carried: [AtomicU64::new(0), AtomicU64::new(0)],
            stopped: AtomicBool::new(false),
            sight: sight.map(Mutex::new),
        });
        let acceptor = thread::Builder::new()
            .name("relay".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared)
            })
            .map_err(Error::io("start the relay"))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the path for open and new connections.
    pub fn cut(&self, how: Cut) {
        {
            let mut switch = lock(&self.shared.switch);
            match how {
                Cut::Silent => switch.held = [true, true],
                Cut::OneWay(direction) => switch.held[index(direction)] = true,
                Cut::Reset => switch.refuse = true,
            }
        }
        if how == Cut::Reset {
            self.shared.close_all();
        }
    }

    /// Undoes every cut; what was held back is delivered.
    pub fn heal(&self) {
        let mut switch = lock(&self.shared.switch);
        switch.held = [false, false];
        switch.refuse = false;
        self.shared.changed.notify_all();
    }

    /// Delays each piece of data in both directions.
    pub fn delay(&self, delay: Duration) {
        lock(&self.shared.switch).delay = delay;
    }

    /// Whether what comes back from the target is nonsense.
    pub fn garble(&self, is_garbled: bool) {
        lock(&self.shared.switch).is_garbled = is_garbled;
    }

    /// Closes what is open; new connections are let through.
    pub fn close_connections(&self) {
        self.shared.close_all();
    }

    /// How many clients have connected so far.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many are connected.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.sockets).len()
    }

    /// How many bytes went one way.
    pub fn carried_bytes(&self, direction: Direction) -> u64 {
        self.shared.carried[index(direction)].load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({} -> {}, {} connections)", self.address, self.shared.target, self.connections())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.heal();
        self.shared.close_all();
        // Wakes the accept call.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

struct Shared {
    target: SocketAddr,
    switch: Mutex<Switch>,
    changed: Condvar,
    sockets: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    accepted: AtomicU64,
    carried: [AtomicU64; 2],
    stopped: AtomicBool,
    sight: Option<Mutex<Sight>>,
}

struct Switch {
    held: [bool; 2],
    refuse: bool,
    is_garbled: bool,
    delay: Duration,
}

impl Shared {
    fn close_all(&self) {
        for pair in lock(&self.sockets).values() {
            for socket in pair {
                drop(socket.shutdown(Shutdown::Both));
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Blocks while the direction is cut.
    fn pass(&self, direction: Direction) {
        let mut switch = lock(&self.switch);
        while switch.held[index(direction)] && !self.is_stopped() {
            switch = self.changed.wait(switch).unwrap_or_else(PoisonError::into_inner);
        }
        let delay = switch.delay;
        drop(switch);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.is_stopped() {
            return;
        }
        let Ok(client) = client else { continue };
        if lock(&shared.switch).refuse {
            continue;
        }
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        // Ends with its two sockets, which `close_all` shuts down.
        let spawned = thread::Builder::new().name(format!("relay {number}")).spawn(move || {
            connect(client, number, &shared);
        });
        drop(spawned);
    }
}

fn connect(client: TcpStream, number: u64, shared: &Arc<Shared>) {
    shared.pass(Direction::Forward);
    let Ok(server) = TcpStream::connect_timeout(&shared.target, CONNECT_LIMIT) else { return };
    let copies = (client.try_clone(), client.try_clone(), server.try_clone(), server.try_clone());
    let (Ok(client_kept), Ok(client_in), Ok(server_kept), Ok(server_in)) = copies else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    lock(&shared.sockets).insert(number, [client_kept, server_kept]);
    // `close_all` may have run between the connect and the insert.
    if shared.is_stopped() || lock(&shared.switch).refuse {
        shared.close_all();
    }
    let back = thread::Builder::new().name(format!("relay {number} back")).spawn({
        let shared = Arc::clone(shared);
        move || pump(server_in, client, number, Direction::Backward, &shared)
    });
    pump(client_in, server, number, Direction::Forward, shared);
    if let Ok(back) = back {
        drop(back.join());
    }
    lock(&shared.sockets).remove(&number);
}

fn pump(mut from: TcpStream, mut to: TcpStream, number: u64, direction: Direction, shared: &Shared) {
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Some(sight) = &shared.sight {
            lock(sight)(number, direction, &buffer[..count], Instant::now());
        }
        shared.pass(direction);
        if direction == Direction::Backward && lock(&shared.switch).is_garbled {
            buffer[..count].iter_mut().for_each(|byte| *byte ^= 0x5A);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        shared.carried[index(direction)].fetch_add(count as u64, Ordering::Relaxed);
    }
    shared.pass(direction);
    // An end of data goes on as an end of data; a reset ends both ways.
    drop(to.shutdown(Shutdown::Write));
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Forward => 0,
        Direction::Backward => 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::wait_until;

    const SOON: Duration = Duration::from_secs(5);

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    drop(std::io::copy(&mut reader, &mut stream));
                });
            }
        });
        address
    }

    fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_silent_cut_holds_bytes_back_and_heal_delivers_them() {
        let relay = Relay::start(echo()).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        assert_eq!(exchange(&mut client, b"one").unwrap(), b"one");
        relay.cut(Cut::Silent);
        client.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        assert!(exchange(&mut client, b"two").is_err());
        relay.heal();
        client.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"two");
        assert_eq!(relay.connections(), 1);
    }

    #[test]
    fn a_one_way_cut_lets_the_other_way_through() {
        let relay = Relay::start(echo()).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        assert_eq!(exchange(&mut client, b"one").unwrap(), b"one");
        relay.cut(Cut::OneWay(Direction::Backward));
        client.write_all(b"two").unwrap();
        wait_until("two arrives at the server", SOON, || relay.carried_bytes(Direction::Forward) == 6)
            .unwrap();
        assert_eq!(relay.carried_bytes(Direction::Backward), 3);
    }

    #[test]
    fn a_reset_closes_open_connections_and_refuses_new_ones_until_healed() {
        let relay = Relay::start(echo()).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        assert_eq!(exchange(&mut client, b"one").unwrap(), b"one");
        relay.cut(Cut::Reset);
        client.set_read_timeout(Some(SOON)).unwrap();
        assert!(exchange(&mut client, b"two").is_err());
        wait_until("the connection is gone", SOON, || relay.open_connections() == 0).unwrap();
        relay.heal();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        assert_eq!(exchange(&mut client, b"three").unwrap(), b"three");
    }
}
