//! The independent KNX client: xknx in a virtual environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::pymodbus::peers_dir;
use crate::wait::wait_until;

/// A device on the bus that says what it is told and writes down what it hears.
#[derive(Debug)]
pub struct Xknx {
    version: String,
    address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    process: Process,
    _folder: TempDir,
}

/// A group telegram of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Heard {
    /// Individual address of the sender.
    pub source: String,
    /// Group with three levels.
    pub group: String,
    /// `read`, `response` or `write`.
    pub service: String,
    /// A number of up to six bits, or a list of octets.
    pub value: Json,
}

impl Xknx {
    /// Connects through a tunnel of a gateway.
    pub fn tunnel(gateway: SocketAddr) -> Result<Self> {
        let (ip, port) = (gateway.ip().to_string(), gateway.port().to_string());
        Self::start(&["--gateway", &ip, "--port", &port])
    }

    /// Joins a multicast group as `address`.
    pub fn routing(group: SocketAddr, local: &str, address: &str) -> Result<Self> {
        let (ip, port) = (group.ip().to_string(), group.port().to_string());
        Self::start(&["--routing", &ip, "--port", &port, "--local", local, "--address", address])
    }

    fn start(words: &[&str]) -> Result<Self> {
        let (mut process, lines, folder) = python("knx_client.py", words)?;
        let line = process.ready("is connected", READY_LIMIT, || lines.try_recv().ok())?;
        let mut said = line.split_whitespace();
        let (Some("READY"), Some(version), Some(address)) = (said.next(), said.next(), said.next()) else {
            return Err(Error::invalid("first line of xknx", line));
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let reader = thread::Builder::new().name("xknx-hears".to_owned()).spawn(move || {
            for line in lines {
                if let Ok(telegram) = serde_json::from_str(&line) {
                    ears.lock().unwrap_or_else(PoisonError::into_inner).push(telegram);
                }
            }
        });
        drop(reader.map_err(Error::io("read from xknx"))?);
        Ok(Self { version: version.to_owned(), address: address.to_owned(), heard, process, _folder: folder })
    }

    /// What xknx calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its individual address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it heard of a group, by service.
    pub fn values(&self, group: &str, service: &str) -> Vec<Json> {
        let heard = self.heard().into_iter();
        let of_group = heard.filter(|heard| heard.group == group && heard.service == service);
        of_group.map(|heard| heard.value).collect()
    }

    /// Waits until it heard so many telegrams of a group.
    pub fn hears(&self, group: &str, service: &str, count: usize) -> Result<()> {
        let what = format!("xknx hears {count} times {service} of {group}");
        wait_until(&what, HEAR_LIMIT, || self.values(group, service).len() >= count)
    }

    /// Writes to a group: a number of up to six bits, or a list of octets.
    pub fn write(&mut self, group: &str, value: &Json) -> Result<()> {
        self.order(&json!({ "write": group, "value": value }))
    }

    /// Reads a group.
    pub fn read(&mut self, group: &str) -> Result<()> {
        self.order(&json!({ "read": group }))
    }

    /// From now on answers reads of a group.
    pub fn answer(&mut self, group: &str, value: &Json) -> Result<()> {
        self.order(&json!({ "answer": group, "value": value }))
    }

    /// Writes the numbers from 0 to a group, two octets each.
    pub fn burst(&mut self, group: &str, count: usize) -> Result<()> {
        self.order(&json!({ "burst": group, "count": count }))
    }

    /// The same with a pause behind each. Other orders wait for its end.
    pub fn stream(&mut self, group: &str, count: usize, pause: Duration) -> Result<()> {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.order(&json!({ "burst": group, "count": count, "pause_ms": pause_ms }))
    }

    fn order(&mut self, order: &Json) -> Result<()> {
        let input = self.process.child().stdin.as_mut();
        let input = input.ok_or_else(|| Error::invalid("input of xknx", "not captured"))?;
        writeln!(input, "{order}").and_then(|()| input.flush()).map_err(Error::io("tell xknx"))
    }
}

/// Datapoint types as xknx understands them.
#[derive(Debug)]
pub struct XknxTypes {
    version: String,
    process: Process,
    lines: Receiver<String>,
    _folder: TempDir,
}

impl XknxTypes {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let (mut process, lines, folder) = python("knx_types.py", &[])?;
        let line = process.ready("answers", READY_LIMIT, || lines.try_recv().ok())?;
        let version = line.strip_prefix("READY ").ok_or_else(|| Error::invalid("first line", &line))?;
        Ok(Self { version: version.to_owned(), process, lines, _folder: folder })
    }

    /// What xknx calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks many questions at once; the answers come in their order.
    pub fn ask(&mut self, questions: &[Json]) -> Result<Vec<Json>> {
        let mut answers = Vec::with_capacity(questions.len());
        for some in questions.chunks(QUESTIONS_MAX) {
            let input = self.process.child().stdin.as_mut();
            let input = input.ok_or_else(|| Error::invalid("input of xknx", "not captured"))?;
            writeln!(input, "{}", Json::from(some))
                .and_then(|()| input.flush())
                .map_err(Error::io("ask xknx"))?;
            let line = self.lines.recv_timeout(HEAR_LIMIT);
            let line = line.map_err(|_| Error::invalid("answers of xknx", self.process.log_tail()))?;
            let some: Vec<Json> = serde_json::from_str(&line).map_err(|error| Error::invalid(line, error))?;
            answers.extend(some);
        }
        Ok(answers)
    }
}

/// A script in the virtual environment, with its input and the lines of its output.
fn python(script: &str, words: &[&str]) -> Result<(Process, Receiver<String>, TempDir)> {
    let python = peers_dir().join("venv/bin/python");
    if !python.exists() {
        return Err(Error::Missing { program: "xknx", path: python });
    }
    let folder = tempfile::tempdir().map_err(Error::io("folder of xknx"))?;
    let mut command = Command::new(&python);
    command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script)).args(words);
    let log = folder.path().join("xknx.log");
    let errors = std::fs::File::create(&log).map_err(Error::io("log of xknx"))?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    let mut process = Process::spawn_piped("xknx", command, &log)?;
    let output = process.child().stdout.take();
    let output = output.ok_or_else(|| Error::invalid("output of xknx", "not captured"))?;
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
    Ok((process, lines, folder))
}

const QUESTIONS_MAX: usize = 5_000;
const HEAR_LIMIT: Duration = Duration::from_secs(20);
const READY_LIMIT: Duration = Duration::from_secs(30);
