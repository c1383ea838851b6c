//! A KNXnet/IP gateway with secure tunnelling over TCP and UDP, and plain tunnelling if it is asked for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twinhub_knx_protocol::ip::{Frame, SecureFrame, StreamReader};
use twinhub_knx_protocol::secure::session::{Server, ServerAction, ServerConfig};
use twinhub_knx_protocol::secure::{Key, PrivateKey, Secret};
use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, Moment, Payload};

use super::bus::{Bus, BusTelegram, Slot};
use super::link::{Link, lock};
use crate::error::{Error, Result};

/// How the gateway is.
#[derive(Clone, Debug)]
pub struct KnxGatewayOptions {
    /// The port for TCP and UDP; 0 is any.
    pub port: u16,
    /// Its tunnels.
    pub slots: Vec<Slot>,
    /// Authentication code of the device and passwords of the users; without it there are no sessions.
    pub secure: Option<(Secret, BTreeMap<u8, Secret>)>,
    /// Tunnels are given outside of sessions, too.
    pub takes_plain: bool,
    /// It listens on UDP beside TCP.
    pub has_udp: bool,
    /// It knows the extended request of tunnelling of version 2.
    pub takes_extended: bool,
    /// How long a session may be silent.
    pub silence_max: Duration,
}

impl Default for KnxGatewayOptions {
    /// Four plain tunnels 1.1.241 to 1.1.244.
    fn default() -> Self {
        let slot = |device: u16| Slot { address: IndividualAddress(0x1100 | device), user: None };
        Self {
            port: 0,
            slots: (241..=244).map(slot).collect(),
            secure: None,
            takes_plain: true,
            has_udp: true,
            takes_extended: true,
            silence_max: Duration::from_secs(60),
        }
    }
}

/// A running gateway on 127.0.0.1. Its device is 1.1.1.
#[derive(Debug)]
pub struct KnxGateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bus: Mutex<Bus>,
    secure: Option<ServerConfig>,
    takes_plain: bool,
    ends: AtomicBool,
    next_session: AtomicU16,
    started: Instant,
    streams: Mutex<Vec<(SocketAddr, Arc<TcpStream>)>>,
}

/// The sessions of one connection.
type Sessions = BTreeMap<u16, Link>;

impl KnxGateway {
    /// Starts it.
    pub fn start(options: KnxGatewayOptions) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .map_err(Error::io("listen for KNX over TCP"))?;
        let address = listener.local_addr().map_err(Error::io("port of the gateway"))?;
        let socket = UdpSocket::bind(address).map_err(Error::io(format!("UDP port {}", address.port())))?;
        for (name, result) in
            [("TCP", listener.set_nonblocking(true)), ("UDP", socket.set_read_timeout(Some(TICK)))]
        {
            result.map_err(Error::io(format!("time-out of {name}")))?;
        }
        let secure = options.secure.map(|(code, users)| -> Result<ServerConfig> {
            let invalid = |error| Error::invalid("a secret of the gateway", error);
            let mut keys = BTreeMap::new();
            for (user, password) in users {
                keys.insert(user, Key::of_user(&password).map_err(invalid)?);
            }
            Ok(ServerConfig {
                device_key: Key::of_device(&code).map_err(invalid)?,
                users: keys,
                serial: SERIAL,
                authenticate_timeout: Duration::from_secs(10),
                silence_max: options.silence_max,
            })
        });
        let shared = Arc::new(Shared {
            bus: Mutex::new(Bus::new(options.slots, options.takes_extended, DEVICE)),
            secure: secure.transpose()?,
            takes_plain: options.takes_plain,
            ends: AtomicBool::new(false),
            next_session: AtomicU16::new(1),
            started: Instant::now(),
            streams: Mutex::new(Vec::new()),
        });
        let mut threads = vec![spawn("knx-tcp", &shared, move |shared| accept(&listener, shared))?];
        if options.has_udp {
            let socket = Arc::new(socket);
            threads.push(spawn("knx-udp", &shared, move |shared| serve_udp(&socket, shared))?);
        }
        Ok(Self { address, shared, threads })
    }

    /// Where it listens, for TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was said on the bus.
    pub fn telegrams(&self) -> Vec<BusTelegram> {
        lock(&self.shared.bus).log().to_vec()
    }

    /// The addresses of the connected clients.
    pub fn clients(&self) -> Vec<IndividualAddress> {
        lock(&self.shared.bus).clients()
    }

    /// The device has this value from now on, and answers reads of the group.
    pub fn set_value(&self, group: GroupAddress, payload: Payload) {
        lock(&self.shared.bus).set_value(group, payload);
    }

    /// What the device has.
    pub fn value(&self, group: GroupAddress) -> Option<Payload> {
        lock(&self.shared.bus).value(group).cloned()
    }

    /// A device says something to a group.
    pub fn say(&self, source: IndividualAddress, group: GroupAddress, apdu: Apdu) {
        lock(&self.shared.bus).say(source, group, apdu);
    }

    /// While it is mute, telegrams are taken and never confirmed.
    pub fn set_mute(&self, is_mute: bool) {
        lock(&self.shared.bus).set_mute(is_mute);
    }

    /// Ends all tunnels with a request.
    pub fn disconnect_all(&self) {
        lock(&self.shared.bus).disconnect_all();
    }

    /// Cuts all streams, as if the network was gone.
    pub fn cut(&self) {
        for (_, stream) in lock(&self.shared.streams).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for KnxGateway {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.cut();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// A frame as it came from the network.
    fn on_frame(&self, bytes: &[u8], link: &Link, sessions: &mut Sessions) {
        match Frame::decode(bytes) {
            Ok(Frame::Secure(SecureFrame::SessionRequest { public_key, .. })) => {
                self.on_session_request(public_key, link, sessions);
            }
            Ok(Frame::Secure(SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code })) => {
                let Some(inside) = sessions.get(&session).cloned() else { return };
                let wrapped = SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code };
                let Some(server) = inside.session() else { return };
                let actions = lock(server).handle_frame(wrapped, self.now());
                self.act(session, actions, &inside, sessions);
            }
            Ok(Frame::Secure(_)) | Err(_) => {}
            Ok(frame) if self.takes_plain => lock(&self.bus).handle(frame, link),
            // What a gateway does that has secure tunnelling only.
            Ok(_) => {}
        }
    }

    fn on_session_request(&self, public_key: [u8; 32], link: &Link, sessions: &mut Sessions) {
        let (Some(config), Some(random)) = (&self.secure, random()) else { return };
        let number = self.next_session.fetch_add(1, Ordering::Relaxed).max(1);
        let private_key = PrivateKey::new(random);
        let accepted = Server::accept(config.clone(), number, public_key, &private_key, self.now());
        if let Some((server, response)) = accepted {
            sessions.insert(number, link.inside(Arc::new(Mutex::new(server))));
            link.send_bytes(&response);
        }
    }

    fn act(&self, session: u16, actions: Vec<ServerAction>, inside: &Link, sessions: &mut Sessions) {
        for action in actions {
            match action {
                ServerAction::Transmit(bytes) => inside.send_bytes(&bytes),
                ServerAction::Authenticated { .. } => {}
                ServerAction::Received(bytes) => {
                    if let Ok(frame) = Frame::decode(&bytes) {
                        lock(&self.bus).handle(frame, inside);
                    }
                }
                ServerAction::Closed => {
                    lock(&self.bus).forget_session(inside);
                    sessions.remove(&session);
                }
            }
        }
    }

    /// Ends sessions whose time is over.
    fn on_tick(&self, sessions: &mut Sessions) {
        for (session, inside) in sessions.clone() {
            let Some(server) = inside.session() else { continue };
            let actions = lock(server).handle_wakeup(self.now());
            self.act(session, actions, &inside, sessions);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while !shared.ends() {
        let Ok((stream, peer)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let is_set = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(TICK)));
        if is_set.and_then(|()| stream.set_nodelay(true)).is_err() {
            continue;
        }
        let stream = Arc::new(stream);
        lock(&shared.streams).push((peer, Arc::clone(&stream)));
        threads.extend(spawn("knx-client", shared, move |shared| serve_tcp(&stream, peer, shared)));
    }
    for thread in threads {
        drop(thread.join());
    }
}

fn serve_tcp(stream: &Arc<TcpStream>, peer: SocketAddr, shared: &Shared) {
    let link = Link::tcp(Arc::clone(stream), peer);
    let mut sessions = Sessions::new();
    let mut reader = StreamReader::new();
    let mut buffer = [0; 4096];
    'connection: while !shared.ends() {
        match (&**stream).read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if reader.push(&buffer[..count]).is_err() {
                    break;
                }
                loop {
                    match reader.next_frame() {
                        Ok(Some(frame)) => {
                            let frame = frame.to_vec();
                            shared.on_frame(&frame, &link, &mut sessions);
                        }
                        Ok(None) => break,
                        Err(_) => break 'connection,
                    }
                }
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => break,
        }
        shared.on_tick(&mut sessions);
    }
    lock(&shared.bus).forget(&link);
    lock(&shared.streams).retain(|(other, _)| *other != peer);
    drop(stream.shutdown(Shutdown::Both));
}

fn serve_udp(socket: &Arc<UdpSocket>, shared: &Shared) {
    let mut sessions = Sessions::new();
    let mut buffer = [0; 4096];
    while !shared.ends() {
        match socket.recv_from(&mut buffer) {
            Ok((count, peer)) => {
                let link = Link::udp(Arc::clone(socket), peer);
                shared.on_frame(&buffer[..count], &link, &mut sessions);
            }
            Err(error) if is_timeout(&error) => {}
            // The answer of the system to a client that is gone.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
        shared.on_tick(&mut sessions);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&shared))
        .map_err(Error::io(format!("thread {name}")))
}

fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).ok()?;
    Some(bytes)
}

const TICK: Duration = Duration::from_millis(100);
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const SERIAL: [u8; 6] = [0x00, 0xfa, 0x00, 0x00, 0x00, 0x01];
const DEVICE: IndividualAddress = IndividualAddress(0x1101);
