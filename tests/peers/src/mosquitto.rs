//! The independent MQTT broker.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::port::Port;
use crate::process::Process;

/// A mosquitto with persistence in a folder of its own.
#[derive(Debug)]
pub struct Mosquitto {
    port: Port,
    program: PathBuf,
    folder: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts the installed broker on a free port.
    pub fn start() -> Result<Self> {
        let program = installed()?;
        let port = Port::reserve()?;
        let folder = tempfile::tempdir().map_err(Error::io("folder of the broker"))?;
        fs::write(folder.path().join("mosquitto.conf"), configuration(folder.path(), port.number()))
            .map_err(Error::io("configuration of the broker"))?;
        let mut broker = Self { port, program, folder, process: None };
        broker.restart()?;
        Ok(broker)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// SIGKILL: what it has not saved is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Ends it in order, so that sessions and queues are saved.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate(READY_LIMIT).map(drop))
    }

    /// Starts it, after ending it if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        let mut process = Process::spawn("mosquitto", command, &self.folder.path().join("mosquitto.log"))?;
        let address = self.address();
        process.ready("listens", READY_LIMIT, || TcpStream::connect(address).ok())?;
        self.process = Some(process);
        Ok(())
    }

    /// What the installed broker calls itself, `2.0.11` for example.
    pub fn version() -> Result<String> {
        let output = Command::new(installed()?)
            .arg("-h")
            .output()
            .map_err(Error::io("ask mosquitto for its version"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
        version.map(str::to_owned).ok_or_else(|| Error::invalid("version of mosquitto", text.trim()))
    }
}

fn configuration(folder: &Path, port: u16) -> String {
    let mut text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         max_queued_messages 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\nlog_type error\nlog_type warning\n",
        folder.display()
    );
    if rustix::process::geteuid().is_root() {
        // Otherwise it changes to the user `mosquitto`, cannot save its database and loses queued messages.
        text.write_str("user root\n").expect("a String takes any text");
    }
    text
}

fn installed() -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    // Where Debian puts it, which an ordinary user's PATH leaves out.
    candidates.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    candidates
        .iter()
        .map(|folder| folder.join("mosquitto"))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Missing { program: "mosquitto", path: "PATH or /usr/sbin".into() })
}

const READY_LIMIT: Duration = Duration::from_secs(10);
