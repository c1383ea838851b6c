//! Our own Modbus TCP device, with the quirks that real ones have.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::modbus::frames::{Frames, Request, word};
use crate::modbus::log::{DeviceLog, DeviceRequest};

/// How a device is built.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Address to listen on; 127.0.0.1 unless the device is in a network of its own.
    pub address: Ipv4Addr,
    /// Port to listen on; 0 for a free one.
    pub port: u16,
    /// Number of holding registers, coils alike.
    pub registers: u16,
    /// A register that counts up by one per interval, from the start of the device.
    pub counter: Option<(u16, Duration)>,
    /// First register, number of registers and interval of a block whose registers all change together.
    pub changing: Option<(u16, u16, Duration)>,
    /// Unit identifier that answers; others get exception 11.
    pub unit: u8,
    /// Whether requests are kept for [`Device::log`]. A device under load does without.
    pub keep_log: bool,
    /// File for the requests, as JSON lines.
    pub log_file: Option<PathBuf>,
    /// Misbehaviour from the start.
    pub quirks: Quirks,
}

/// Misbehaviour that can be changed while the device runs.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// Pause before each answer.
    pub delay: Duration,
    /// Requests are served but not answered.
    pub mute: bool,
    /// Exception code for every request to a function code.
    pub exceptions: BTreeMap<u8, u8>,
    /// Connections beyond this number are closed at once.
    pub connections_max: Option<usize>,
    /// What becomes of requests that come together.
    pub together: Together,
    /// A register, and the exception code for every request to it.
    pub failing: Option<(u16, u8)>,
}

/// What becomes of requests that come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Together {
    /// All are answered in their order.
    #[default]
    InOrder,
    /// All are answered, the last one first.
    Backwards,
    /// The first is answered; what comes together with it is lost.
    FirstOnly,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST,
            port: 0,
            registers: 1000,
            counter: None,
            changing: None,
            unit: 1,
            keep_log: true,
            log_file: None,
            quirks: Quirks::default(),
        }
    }
}

/// A device that serves until dropped.
pub struct Device {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Device {
    /// Listens, and serves from threads of its own.
    pub fn start(options: DeviceOptions) -> Result<Self> {
        let listener = TcpListener::bind((options.address, options.port))
            .map_err(Error::io(format!("listen on {}:{}", options.address, options.port)))?;
        let address = listener.local_addr().map_err(Error::io("address of the device"))?;
        let log = match &options.log_file {
            Some(path) => DeviceLog::to_file(path)?,
            None => DeviceLog::default(),
        };
        let size = usize::from(options.registers);
        let shared = Arc::new(Shared {
            bank: Mutex::new(Bank { registers: vec![0; size], coils: vec![false; size] }),
            quirks: Mutex::new(options.quirks.clone()),
            started: Instant::now(),
            log,
            sockets: Mutex::new(BTreeMap::new()),
            sessions_max: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            options,
        });
        let acceptor = thread::Builder::new()
            .name("device".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared)
            })
            .map_err(Error::io("start the device"))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked.
    pub fn log(&self) -> &DeviceLog {
        &self.shared.log
    }

    /// A register as it is.
    pub fn register(&self, address: u16) -> Option<u16> {
        self.shared.registers().registers.get(usize::from(address)).copied()
    }

    /// Changes a register from the device's side.
    pub fn set_register(&self, address: u16, value: u16) {
        if let Some(register) = lock(&self.shared.bank).registers.get_mut(usize::from(address)) {
            *register = value;
        }
    }

    /// Changes a coil from the device's side.
    pub fn set_coil(&self, address: u16, value: bool) {
        if let Some(coil) = lock(&self.shared.bank).coils.get_mut(usize::from(address)) {
            *coil = value;
        }
    }

    /// Changes how it misbehaves.
    pub fn set_quirks(&self, quirks: Quirks) {
        *lock(&self.shared.quirks) = quirks;
    }

    /// Open connections.
    pub fn sessions(&self) -> usize {
        lock(&self.shared.sockets).len()
    }

    /// Most connections that were open at once.
    pub fn sessions_max(&self) -> usize {
        self.shared.sessions_max.load(Ordering::Relaxed)
    }

    /// Closes every connection, as a device does that restarts.
    pub fn close_sessions(&self) {
        self.shared.close_all();
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}, {} sessions)", self.address, self.sessions())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.close_all();
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

struct Shared {
    bank: Mutex<Bank>,
    quirks: Mutex<Quirks>,
    started: Instant,
    log: DeviceLog,
    sockets: Mutex<BTreeMap<u64, TcpStream>>,
    sessions_max: AtomicUsize,
    stopped: AtomicBool,
    options: DeviceOptions,
}

struct Bank {
    registers: Vec<u16>,
    coils: Vec<bool>,
}

impl Shared {
    /// The registers with counter and changing block brought up to date.
    fn registers(&self) -> MutexGuard<'_, Bank> {
        let mut bank = lock(&self.bank);
        if let Some((address, interval)) = self.options.counter
            && let Some(register) = bank.registers.get_mut(usize::from(address))
        {
            *register = ticks(self.started, interval);
        }
        if let Some((first, count, interval)) = self.options.changing {
            let value = ticks(self.started, interval);
            let first = usize::from(first);
            let end = (first + usize::from(count)).min(bank.registers.len());
            if bank.registers.get(first).is_some_and(|current| *current != value) {
                bank.registers[first..end].fill(value);
            }
        }
        bank
    }

    fn close_all(&self) {
        for socket in lock(&self.sockets).values() {
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    fn answer(&self, request: &Request) -> std::result::Result<Vec<u8>, u8> {
        if request.unit != self.options.unit {
            return Err(GATEWAY_TARGET_SILENT);
        }
        let (from, count) = (usize::from(request.address), usize::from(request.count));
        let mut bank = self.registers();
        match request.function {
            1 | 2 => {
                let coils = bank.coils.get(from..from + count).filter(|_| (1..=2000).contains(&count));
                let mut bytes = vec![0_u8; count.div_ceil(8)];
                for (index, coil) in coils.ok_or(ILLEGAL_ADDRESS)?.iter().enumerate() {
                    bytes[index / 8] |= u8::from(*coil) << (index % 8);
                }
                Ok(with_length(bytes))
            }
            3 | 4 => read(&bank, from, count),
            5 | 15 => {
                let coils = bank.coils.get_mut(from..from + count).ok_or(ILLEGAL_ADDRESS)?;
                for (coil, value) in coils.iter_mut().zip(&request.values) {
                    *coil = *value != 0;
                }
                Ok(request.body.get(..4).ok_or(ILLEGAL_VALUE)?.to_vec())
            }
            6 | 16 => {
                write(&mut bank, from, &request.values)?;
                Ok(request.body.get(..4).ok_or(ILLEGAL_VALUE)?.to_vec())
            }
            22 => {
                let [and, or] = request.values[..] else { return Err(ILLEGAL_VALUE) };
                let register = bank.registers.get_mut(from).ok_or(ILLEGAL_ADDRESS)?;
                *register = (*register & and) | (or & !and);
                Ok(request.body.clone())
            }
            23 => {
                write(&mut bank, from, &request.values)?;
                read(&bank, usize::from(word(&request.body, 0)), usize::from(word(&request.body, 2)))
            }
            _ => Err(ILLEGAL_FUNCTION),
        }
    }
}

fn read(bank: &Bank, from: usize, count: usize) -> std::result::Result<Vec<u8>, u8> {
    if !(1..=125).contains(&count) {
        return Err(ILLEGAL_VALUE);
    }
    let registers = bank.registers.get(from..from + count).ok_or(ILLEGAL_ADDRESS)?;
    Ok(with_length(registers.iter().flat_map(|register| register.to_be_bytes()).collect()))
}

fn write(bank: &mut Bank, from: usize, values: &[u16]) -> std::result::Result<(), u8> {
    let registers = bank.registers.get_mut(from..from + values.len()).ok_or(ILLEGAL_ADDRESS)?;
    registers.copy_from_slice(values);
    Ok(())
}

fn with_length(bytes: Vec<u8>) -> Vec<u8> {
    let mut body = vec![u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    body.extend(bytes);
    body
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in (0_u64..).zip(listener.incoming()) {
        if shared.is_stopped() {
            return;
        }
        let Ok(client) = client else { continue };
        let limit = lock(&shared.quirks).connections_max.unwrap_or(usize::MAX);
        let Ok(kept) = client.try_clone() else { continue };
        {
            let mut sockets = lock(&shared.sockets);
            if sockets.len() >= limit {
                continue;
            }
            sockets.insert(number, kept);
            shared.sessions_max.fetch_max(sockets.len(), Ordering::Relaxed);
        }
        let shared = Arc::clone(shared);
        // Ends with its socket, which `close_all` shuts down.
        let spawned = thread::Builder::new().name(format!("device {number}")).spawn(move || {
            serve(client, &shared);
            lock(&shared.sockets).remove(&number);
        });
        drop(spawned);
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, shared: &Shared) {
    drop(client.set_nodelay(true));
    let peer = client.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let mut frames = Frames::default();
    let mut buffer = vec![0_u8; 4096];
    let mut answers = Vec::new();
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        frames.push(&buffer[..count]);
        answers.clear();
        while let Some(request) = frames.next_request() {
            if shared.options.keep_log {
                shared.log.add(entry(&request, &peer));
            }
            let quirks = lock(&shared.quirks).clone();
            if !quirks.delay.is_zero() {
                thread::sleep(quirks.delay);
            }
            let failing =
                quirks.failing.filter(|(register, _)| request.covers(*register)).map(|(_, code)| code);
            let answer = match quirks.exceptions.get(&request.function).copied().or(failing) {
                Some(code) => Err(code),
                None => shared.answer(&request),
            };
            if quirks.mute {
                continue;
            }
            match quirks.together {
                Together::InOrder => encode(&request, answer, &mut answers),
                Together::Backwards => {
                    let mut before = Vec::new();
                    encode(&request, answer, &mut before);
                    before.append(&mut answers);
                    answers = before;
                }
                Together::FirstOnly => {
                    encode(&request, answer, &mut answers);
                    // What came meanwhile is lost.
                    frames = Frames::default();
                }
            }
        }
        if frames.is_broken() || client.write_all(&answers).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
}

fn encode(request: &Request, answer: std::result::Result<Vec<u8>, u8>, out: &mut Vec<u8>) {
    let (function, body) = match answer {
        Ok(body) => (request.function, body),
        Err(code) => (request.function | 0x80, vec![code]),
    };
    let length = u16::try_from(body.len() + 2).unwrap_or(u16::MAX);
    out.extend(request.transaction.to_be_bytes());
    out.extend([0, 0]);
    out.extend(length.to_be_bytes());
    out.extend([request.unit, function]);
    out.extend(body);
}

fn entry(request: &Request, peer: &str) -> DeviceRequest {
    DeviceRequest {
        t: monotonic_ns(),
        peer: peer.to_owned(),
        unit: request.unit,
        function: request.function,
        address: request.address,
        count: request.count,
        values: request.values.clone(),
    }
}

/// Whole intervals since the start, as a register holds them.
#[expect(clippy::cast_possible_truncation, reason = "a 16-bit register wraps around")]
fn ticks(started: Instant, interval: Duration) -> u16 {
    (started.elapsed().as_nanos() / interval.as_nanos().max(1)) as u16
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// MODBUS Application Protocol V1.1b3, section 7.
const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
const GATEWAY_TARGET_SILENT: u8 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(stream: &mut TcpStream, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let length = u16::try_from(pdu.len() + 1).unwrap();
        let mut frame = vec![0, 1, 0, 0];
        frame.extend(length.to_be_bytes());
        frame.push(unit);
        frame.extend(pdu);
        stream.write_all(&frame).unwrap();
        let mut header = [0; 7];
        stream.read_exact(&mut header).unwrap();
        let mut pdu = vec![0; usize::from(word(&header, 4)) - 1];
        stream.read_exact(&mut pdu).unwrap();
        pdu
    }

    fn device(quirks: Quirks) -> (Device, TcpStream) {
        let device =
            Device::start(DeviceOptions { registers: 50, quirks, ..DeviceOptions::default() }).unwrap();
        let stream = TcpStream::connect(device.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (device, stream)
    }

    #[test]
    fn what_is_written_with_each_function_is_read_back() {
        let (device, mut stream) = device(Quirks::default());
        assert_eq!(ask(&mut stream, 1, &[6, 0, 3, 0, 42]), [6, 0, 3, 0, 42]);
        assert_eq!(ask(&mut stream, 1, &[16, 0, 4, 0, 2, 4, 0, 1, 0, 2]), [16, 0, 4, 0, 2]);
        assert_eq!(ask(&mut stream, 1, &[22, 0, 3, 0xff, 0xf0, 0, 1]), [22, 0, 3, 0xff, 0xf0, 0, 1]);
        assert_eq!(ask(&mut stream, 1, &[3, 0, 3, 0, 3]), [3, 6, 0, 33, 0, 1, 0, 2]);
        assert_eq!(ask(&mut stream, 1, &[23, 0, 4, 0, 1, 0, 4, 0, 1, 2, 0, 9]), [23, 2, 0, 9]);
        assert_eq!(ask(&mut stream, 1, &[5, 0, 1, 0xff, 0]), [5, 0, 1, 0xff, 0]);
        assert_eq!(ask(&mut stream, 1, &[15, 0, 2, 0, 2, 1, 3]), [15, 0, 2, 0, 2]);
        assert_eq!(ask(&mut stream, 1, &[1, 0, 0, 0, 8]), [1, 1, 0b0000_1110]);
        assert_eq!(device.register(4), Some(9));
        let written: Vec<(u8, u16)> =
            device.log().requests().iter().map(|r| (r.function, r.address)).collect();
        assert_eq!(written, [(6, 3), (16, 4), (22, 3), (3, 3), (23, 4), (5, 1), (15, 2), (1, 0)]);
    }

    #[test]
    fn what_does_not_exist_is_answered_with_an_exception() {
        let (_device, mut stream) = device(Quirks::default());
        assert_eq!(ask(&mut stream, 1, &[3, 0, 49, 0, 2]), [0x83, ILLEGAL_ADDRESS]);
        assert_eq!(ask(&mut stream, 1, &[99]), [0xe3, ILLEGAL_FUNCTION]);
        assert_eq!(ask(&mut stream, 2, &[3, 0, 0, 0, 1]), [0x83, GATEWAY_TARGET_SILENT]);
        assert_eq!(ask(&mut stream, 1, &[3, 0, 0, 0, 126]), [0x83, ILLEGAL_VALUE]);
    }

    #[test]
    fn a_device_with_one_slot_closes_the_second_connection() {
        let (device, mut first) = device(Quirks { connections_max: Some(1), ..Quirks::default() });
        assert_eq!(ask(&mut first, 1, &[6, 0, 0, 0, 1]), [6, 0, 0, 0, 1]);
        let mut second = TcpStream::connect(device.address()).unwrap();
        assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(device.sessions_max(), 1);
    }
}
