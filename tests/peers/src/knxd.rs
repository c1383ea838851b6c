//! The independent KNX gateway: knxd with a bus that has no devices.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::port::UdpPort;
use crate::process::Process;

/// A knxd on a port of its own. Clients hear each other, as on a bus; it delivers about 50 telegrams a second.
#[derive(Debug)]
pub struct Knxd {
    port: UdpPort,
    options: KnxdOptions,
    folder: TempDir,
    process: Option<Process>,
}

/// How the gateway is.
#[derive(Clone, Debug)]
pub struct KnxdOptions {
    /// Tunnels that it gives.
    pub slots: u8,
    /// Whether it is a router too.
    pub is_router: bool,
    /// The third part of its own address `1.1.x`; tunnels have those that follow.
    pub device: u8,
}

impl Default for KnxdOptions {
    fn default() -> Self {
        Self { slots: 4, is_router: false, device: 240 }
    }
}

impl Knxd {
    /// Starts the installed gateway on a free port.
    pub fn start(options: &KnxdOptions) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::io("folder of knxd"))?;
        let mut gateway = Self { port: UdpPort::reserve()?, options: options.clone(), folder, process: None };
        gateway.restart()?;
        Ok(gateway)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// SIGKILL: its clients hear nothing of it.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Starts it, after killing it if it runs: it knows nothing of its tunnels then.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let KnxdOptions { slots, is_router, device } = self.options;
        let mut command = Command::new(installed()?);
        command.args(["-e", &format!("1.1.{device}"), "-E", &format!("1.1.{}:{slots}", device + 1)]);
        command.args(["-n", "peer", "-D", "-T"]);
        if is_router {
            command.arg("-R");
        }
        command.args(["-S", &format!("{GROUP}:{}", self.port.number()), "-b", "dummy:"]);
        let mut process = Process::spawn("knxd", command, &self.folder.path().join("knxd.log"))?;
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("socket to ask knxd"))?;
        probe
            .set_read_timeout(Some(ANSWER_LIMIT))
            .and_then(|()| probe.connect(self.address()))
            .map_err(Error::io("socket to ask knxd"))?;
        process.ready("answers", READY_LIMIT, || {
            // Refused while it does not listen yet.
            probe.send(&DESCRIPTION_REQUEST).ok()?;
            probe.recv(&mut [0; 512]).ok()
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// What the installed gateway calls itself, `0.14.54` for example.
    pub fn version() -> Result<String> {
        let output = Command::new(installed()?)
            .arg("--version")
            .output()
            .map_err(Error::io("ask knxd for its version"))?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let version = version.map(|word| word.split([':', '-', '+']).next().unwrap_or(word).to_owned());
        version.ok_or_else(|| Error::invalid("version of knxd", text.trim()))
    }
}

fn installed() -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .map(|folder| folder.join("knxd"))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Missing { program: "knxd", path: "PATH".into() })
}

/// The multicast group of KNX.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 23, 12);
/// `DESCRIPTION_REQUEST`, to be answered to where it came from.
const DESCRIPTION_REQUEST: [u8; 14] = [6, 0x10, 2, 3, 0, 14, 8, 1, 0, 0, 0, 0, 0, 0];
const ANSWER_LIMIT: Duration = Duration::from_millis(50);
const READY_LIMIT: Duration = Duration::from_secs(10);
