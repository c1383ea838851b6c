//! Load: a device whose registers all change together, and a site that carries them to a broker.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use twinhub_peers::{Port, Process};

use crate::artifacts::Artifacts;
use crate::error::Result;

/// How much, how often, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Holding registers, all changing.
    pub(crate) registers: u16,
    /// How often they change; 0 for at every read.
    pub(crate) change_ms: u64,
    /// How often they are polled.
    pub(crate) poll_ms: u64,
    /// Modbus requests under way together.
    pub(crate) pipeline: u8,
    /// How they are published.
    pub(crate) form: Form,
    /// Registers behind those that commands write, `plc1/s/0` and so on.
    pub(crate) setpoints: u16,
    /// Mode of the standby, if not the one that the plugins prefer.
    pub(crate) standby: Option<&'static str>,
}

/// How values are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A JSON object for each [`BLOCK`] of registers.
    Blocks,
    /// A topic for each register.
    Topics,
}

impl Load {
    /// Values per second if every one is delivered.
    pub(crate) fn asked(&self) -> f64 {
        f64::from(self.registers) / Duration::from_millis(self.poll_ms).as_secs_f64()
    }

    /// The device, as a program of its own.
    pub(crate) fn start_device(&self, artifacts: &Artifacts, folder: &Path) -> Result<(SocketAddr, Process)> {
        let port = Port::reserve()?;
        let mut command = Command::new(artifacts.device());
        let all = self.registers + self.setpoints;
        command.args(["--no-log", "--port", &port.number().to_string(), "--registers", &all.to_string()]);
        command.args(["--changing", &format!("0:{}:{}", self.registers, self.change_ms)]);
        let mut process = Process::spawn("modbus-device", command, &folder.join("device.log"))?;
        let address = port.address();
        process.ready("listens", READY_LIMIT, || TcpStream::connect(address).ok())?;
        Ok((address, process))
    }

    /// Sections of the configuration.
    pub(crate) fn interfaces(&self, device: SocketAddr, broker: SocketAddr) -> String {
        let pipeline = match self.pipeline {
            // The default, which an older hub to compare with knows too.
            1 => String::new(),
            several => format!(", pipeline = {several}"),
        };
        let standby = self.standby.map(|mode| format!("standby = \"{mode}\"\n")).unwrap_or_default();
        format!(
            r#"[[interface]]
id = "plc1"
plugin = "modbus"
items = "items/plc1.csv"
settings = {{ address = "{device}", unit = 1, poll = "{}ms", timeout = "500ms"{pipeline} }}
{standby}
[[interface]]
id = "mqtt1"
plugin = "mqtt"
items = "items/mqtt1.csv"
settings = {{ broker = "mqtt://{broker}", status_topic = "", qos = 0 }}
{standby}
[[link]]
from = "plc1/r/*"
to = "mqtt1/r/*"
"#,
            self.poll_ms
        )
    }

    /// Items files.
    pub(crate) fn items(&self) -> Vec<(String, String)> {
        let mut plc = "path,address,type,access,unit,description,poll\n".to_owned();
        let mut mqtt = "path,address,type,access,unit,description,json\n".to_owned();
        for register in 0..self.registers {
            let topic = match self.form {
                Form::Blocks => format!("bench/b{},u16,w,,,r{register}", register / BLOCK),
                Form::Topics => format!("{},u16,w,,,", topic(register)),
            };
            let written = writeln!(plc, "r/{register},hr:{register},u16,r,,,")
                .and_then(|()| writeln!(mqtt, "r/{register},{topic}"));
            written.expect("a String takes any text");
        }
        for setpoint in 0..self.setpoints {
            let register = self.registers + setpoint;
            writeln!(plc, "s/{setpoint},hr:{register},u16,w,,,off").expect("a String takes any text");
        }
        vec![("plc1.csv".to_owned(), plc), ("mqtt1.csv".to_owned(), mqtt)]
    }
}

/// Where a register is published if each has a topic.
pub(crate) fn topic(register: u16) -> String {
    format!("bench/r{register}")
}

/// Registers in one request, and values in one message.
pub(crate) const BLOCK: u16 = 125;
/// Longest start of anything.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(30);
