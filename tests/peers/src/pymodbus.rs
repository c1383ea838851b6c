//! The independent Modbus device: pymodbus in a virtual environment.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::modbus::device::Together;
use crate::modbus::log::{DeviceRequest, read_lines};
use crate::process::Process;

/// A pymodbus server that logs every request.
#[derive(Debug)]
pub struct Pymodbus {
    address: SocketAddr,
    version: String,
    folder: TempDir,
    process: Process,
}

/// How the device is built.
#[derive(Clone, Debug)]
pub struct PymodbusOptions {
    /// Number of holding registers.
    pub registers: u16,
    /// A register that counts up by one per interval, from the start of the device.
    pub counter: Option<(u16, Duration)>,
    /// Every register holds its own address plus the number of these intervals since the start of the device.
    pub changing: Option<Duration>,
    /// A register whose reads are answered with exception 4.
    pub failing: Option<u16>,
    /// What becomes of several requests in one segment. Left to itself, pymodbus answers the first, and keeps the others
    /// until more bytes come.
    pub together: Together,
    /// Whether reads are logged too, not only writes.
    pub log_reads: bool,
}

impl Default for PymodbusOptions {
    fn default() -> Self {
        Self {
            registers: 200,
            counter: None,
            changing: None,
            failing: None,
            together: Together::FirstOnly,
            log_reads: true,
        }
    }
}

impl Pymodbus {
    /// Starts it on a free port.
    pub fn start(options: &PymodbusOptions) -> Result<Self> {
        let python = peers_dir().join("venv/bin/python");
        if !python.exists() {
            return Err(Error::Missing { program: "pymodbus", path: python });
        }
        let folder = tempfile::tempdir().map_err(Error::io("folder of pymodbus"))?;
        let mut command = Command::new(&python);
        command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/modbus_device.py"));
        command.arg("--registers").arg(options.registers.to_string());
        command.arg("--log").arg(folder.path().join("requests.jsonl"));
        if let Some((register, interval)) = options.counter {
            command.arg("--counter").arg(format!("{register}:{}", interval.as_millis()));
        }
        if let Some(interval) = options.changing {
            command.arg("--changing").arg(interval.as_millis().to_string());
        }
        if let Some(register) = options.failing {
            command.arg("--failing").arg(register.to_string());
        }
        match options.together {
            Together::FirstOnly => {}
            Together::InOrder => drop(command.args(["--together", "in-order"])),
            Together::Backwards => drop(command.args(["--together", "backwards"])),
        }
        if options.log_reads {
            command.arg("--log-reads");
        }
        let log = folder.path().join("pymodbus.log");
        let errors = std::fs::File::create(&log).map_err(Error::io("log of pymodbus"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Process::spawn_piped("pymodbus", command, &log)?;
        let (port, version) = announced(&mut process)?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), version, folder, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What pymodbus calls itself, `3.16.1` for example.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it was asked.
    pub fn requests(&self) -> Result<Vec<DeviceRequest>> {
        read_lines(&self.folder.path().join("requests.jsonl"))
    }

    /// Ends it.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// Where `cargo xtask setup` puts the Python peers: `$TWINHUB_PEERS`, or `.peers` at the root of the repository.
pub fn peers_dir() -> PathBuf {
    match std::env::var_os("TWINHUB_PEERS") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers"),
    }
}

/// Reads `READY <port> <version>` from the child's output.
fn announced(process: &mut Process) -> Result<(u16, String)> {
    let output =
        process.child().stdout.take().ok_or_else(|| Error::invalid("output of pymodbus", "not captured"))?;
    let (send, received) = mpsc::channel();
    // Ends with the child, whose end closes the pipe.
    let reader = thread::Builder::new().name("pymodbus".to_owned()).spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            // The receiver is gone once the child is ready.
            drop(send.send(line));
        }
    });
    drop(reader.map_err(Error::io("read from pymodbus"))?);
    let line = process.ready("listens", READY_LIMIT, || received.try_recv().ok())?;
    let mut words = line.split_whitespace();
    match (words.next(), words.next().and_then(|port| port.parse().ok()), words.next()) {
        (Some("READY"), Some(port), Some(version)) => Ok((port, version.to_owned())),
        _ => Err(Error::invalid("first line of pymodbus", line)),
    }
}

const READY_LIMIT: Duration = Duration::from_secs(30);
