//! The independent BACnet device: bacpypes3 in a virtual environment.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::pymodbus::peers_dir;

/// A bacpypes3 device that logs every request.
#[derive(Debug)]
pub struct Bacpypes {
    address: SocketAddrV4,
    version: String,
    options: BacpypesOptions,
    folder: TempDir,
    process: Process,
}

/// How the device is built.
#[derive(Clone, Debug)]
pub struct BacpypesOptions {
    /// Its instance.
    pub instance: u32,
    /// Analog values from 100 on.
    pub objects: u32,
    /// How often analog-input 1 counts up.
    pub tick: Option<Duration>,
    /// The longest APDU that it takes.
    pub max_apdu: u16,
    /// Whether it takes subscriptions.
    pub takes_cov: bool,
    /// Its address and the length of its subnet's prefix, at port 47808; else a free port of the loopback interface, where
    /// there are no broadcasts.
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// Whether it is a BBMD, too.
    pub is_bbmd: bool,
}

impl Default for BacpypesOptions {
    fn default() -> Self {
        Self {
            instance: 1002,
            objects: 0,
            tick: None,
            max_apdu: 1024,
            takes_cov: true,
            subnet: None,
            is_bbmd: false,
        }
    }
}

/// A request as the device saw it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BacnetRequest {
    /// When, in milliseconds since 1970.
    #[serde(rename = "at_ms")]
    pub at_ms: u64,
    /// From whom.
    pub from: String,
    /// Name of the service, `WritePropertyRequest` for example.
    pub service: String,
    /// The object, `analog-value,1` for example.
    #[serde(default)]
    pub object_identifier: Option<String>,
    /// The property.
    #[serde(default)]
    pub property_identifier: Option<String>,
    /// The priority.
    #[serde(default)]
    pub priority: Option<String>,
    /// The object that is subscribed to.
    #[serde(default)]
    pub monitored_object_identifier: Option<String>,
    /// For how long.
    #[serde(default)]
    pub lifetime: Option<String>,
}

impl Bacpypes {
    /// Starts it.
    pub fn start(options: &BacpypesOptions) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::io("folder of bacpypes3"))?;
        let address = match options.subnet {
            Some((address, _)) => SocketAddrV4::new(address, 47_808),
            None => free_address()?,
        };
        let (process, version) = spawn(options, address, folder.path())?;
        Ok(Self { address, version, options: options.clone(), folder, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// What bacpypes3 calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it was asked.
    pub fn requests(&self) -> Result<Vec<BacnetRequest>> {
        let path = self.folder.path().join("requests.jsonl");
        let text = std::fs::read_to_string(&path).map_err(Error::io("log of bacpypes3"))?;
        // The last line may be half written.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Ends it.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again at the same address, with all values as at first and without subscriptions.
    pub fn restart(&mut self) -> Result<()> {
        (self.process, self.version) = spawn(&self.options, self.address, self.folder.path())?;
        Ok(())
    }
}

fn spawn(options: &BacpypesOptions, address: SocketAddrV4, folder: &Path) -> Result<(Process, String)> {
    let python = peers_dir().join("venv/bin/python");
    if !python.exists() {
        return Err(Error::Missing { program: "bacpypes3", path: python });
    }
    let mut command = Command::new(&python);
    command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/bacnet_device.py"));
    let place = match options.subnet {
        Some((address, prefix)) => format!("{address}/{prefix}"),
        None => address.to_string(),
    };
    command.args(["--address", &place, "--name", "device"]);
    if options.is_bbmd {
        command.args(["--bbmd", &address.ip().to_string()]);
    }
    command.args(["--instance", &options.instance.to_string()]);
    command.args(["--objects", &options.objects.to_string()]);
    command.args(["--max-apdu", &options.max_apdu.to_string()]);
    command.arg("--log").arg(folder.join("requests.jsonl"));
    if let Some(tick) = options.tick {
        command.args(["--tick-ms", &tick.as_millis().to_string()]);
    }
    if !options.takes_cov {
        command.arg("--no-cov");
    }
    let log = folder.join("bacpypes3.log");
    let errors = std::fs::File::create(&log).map_err(Error::io("log of bacpypes3"))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut process = Process::spawn_piped("bacpypes3", command, &log)?;
    let version = announced(&mut process)?;
    Ok((process, version))
}

/// bacpypes3 does not say which port it got; nobody else takes this one in the moment between.
fn free_address() -> Result<SocketAddrV4> {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("find a free port"))?;
    let port = free.local_addr().map_err(Error::io("find a free port"))?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Reads `READY <version>` from the child's output.
fn announced(process: &mut Process) -> Result<String> {
    let output =
        process.child().stdout.take().ok_or_else(|| Error::invalid("output of bacpypes3", "not captured"))?;
    let (send, received) = mpsc::channel();
    // Ends with the child, whose end closes the pipe.
    let reader = thread::Builder::new().name("bacpypes3".to_owned()).spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            // The receiver is gone once the child is ready.
            drop(send.send(line));
        }
    });
    drop(reader.map_err(Error::io("read from bacpypes3"))?);
    let line = process.ready("listens", READY_LIMIT, || received.try_recv().ok())?;
    match line.split_once(' ') {
        Some(("READY", version)) => Ok(version.to_owned()),
        _ => Err(Error::invalid("first line of bacpypes3", line)),
    }
}

const READY_LIMIT: Duration = Duration::from_secs(30);
