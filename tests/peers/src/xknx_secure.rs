//! The independent KNX client that speaks KNX Secure: xknx in a virtual environment, driven by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::pymodbus::peers_dir;

/// An xknx client that takes orders and tells what it hears, line by line; `python/knx_secure_client.py` tells which.
#[derive(Debug)]
pub struct SecureXknx {
    process: Process,
    input: ChildStdin,
    lines: Receiver<String>,
    /// What came while something else was waited for.
    seen: Vec<String>,
    _folder: TempDir,
}

impl SecureXknx {
    /// Starts it with these options of the script. Its first line says whether it is connected.
    pub fn start(options: &[&str]) -> Result<Self> {
        let mut command = Command::new(Self::python()?);
        command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/knx_secure_client.py"));
        command.args(options);
        let folder = tempfile::tempdir().map_err(Error::io("folder of xknx"))?;
        let log = folder.path().join("xknx.log");
        let errors = std::fs::File::create(&log).map_err(Error::io("log of xknx"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Process::spawn_piped("xknx", command, &log)?;
        let child = process.child();
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::invalid("pipes of xknx", "not captured"));
        };
        let (send, lines) = mpsc::channel();
        // Ends with the child, whose end closes the pipe.
        let reader = thread::Builder::new().name("xknx".to_owned()).spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        drop(reader.map_err(Error::io("read from xknx"))?);
        Ok(Self { process, input, lines, seen: Vec::new(), _folder: folder })
    }

    /// Starts it and waits until it is connected.
    pub fn connect(options: &[&str]) -> Result<Self> {
        let mut client = Self::start(options)?;
        let line = client.wait_for(|line| line.starts_with("READY") || line.starts_with("FAILED"))?;
        if line.starts_with("READY") {
            Ok(client)
        } else {
            Err(Error::invalid("xknx", format!("{line}\n{}", client.process.log_tail())))
        }
    }

    /// The Python with xknx in it.
    pub fn python() -> Result<std::path::PathBuf> {
        let python = peers_dir().join("venv/bin/python");
        if python.exists() { Ok(python) } else { Err(Error::Missing { program: "xknx", path: python }) }
    }

    /// Gives an order.
    pub fn order(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(Error::io("order to xknx"))
    }

    /// Gives an order and waits until it is carried out.
    pub fn done(&mut self, line: &str) -> Result<()> {
        self.order(line)?;
        let answer = self.wait_for(|line| line.starts_with("done") || line.starts_with("failed"))?;
        if answer.starts_with("done") { Ok(()) } else { Err(Error::invalid(format!("`{line}`"), answer)) }
    }

    /// The first line it ever printed, or prints in time, that is like this. Each line is given once.
    pub fn wait_for(&mut self, is_like: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            if let Some(at) = self.seen.iter().position(|line| is_like(line)) {
                return Ok(self.seen.remove(at));
            }
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                let (seen, log) = (&self.seen, self.process.log_tail());
                let what = format!("a line of xknx; it said {seen:?}, and logged:\n{log}");
                return Err(Error::Timeout { what, limit: LIMIT });
            };
            self.seen.push(line);
        }
    }

    /// A line like this, if there is one already. Each line is given once.
    pub fn try_line(&mut self, is_like: impl Fn(&str) -> bool) -> Option<String> {
        self.seen.extend(self.lines.try_iter());
        let at = self.seen.iter().position(|line| is_like(line))?;
        Some(self.seen.remove(at))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }
}

const LIMIT: Duration = Duration::from_secs(30);
