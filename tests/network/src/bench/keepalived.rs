//! keepalived on both machines, with the shortest interval it takes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use twinhub_peers::{Process, Signal, signal_process, tree};

use crate::error::{Error, Result};
use crate::lab::{Machine, Net};
use crate::pair::Pair;

use Machine::{Backup, Main};

/// The two of them.
#[derive(Debug)]
pub(super) struct Keepalived {
    running: BTreeMap<&'static str, Process>,
}

impl Keepalived {
    pub(super) fn start(pair: &Pair) -> Result<Self> {
        let mut keepalived = Self { running: BTreeMap::new() };
        for machine in [Main, Backup] {
            keepalived.run(pair, machine)?;
        }
        Ok(keepalived)
    }

    pub(super) fn run(&mut self, pair: &Pair, machine: Machine) -> Result<()> {
        let place = |what: &str| pair.root().join(format!("keepalived-{}.{what}", machine.word()));
        let file = place("conf");
        fs::write(&file, configuration(machine)).map_err(Error::io(file.display().to_string()))?;
        // A killed one left them, and the next one takes them for a running one's. At first there are none.
        drop(fs::remove_file(place("pid")));
        drop(fs::remove_file(place("vrrp.pid")));
        // What a killed one left: keepalived does not remove it, and a machine that died has none.
        drop(pair.lab().call(machine, &["ip", "address", "del", "10.77.0.60/24", "dev", Net::Lan.device()]));
        let mut command = pair.lab().command(machine, "keepalived");
        command.args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--use-file"]).arg(&file);
        command.arg("--pid").arg(place("pid")).arg("--vrrp_pid").arg(place("vrrp.pid"));
        let process = Process::spawn("keepalived", command, &place("log"))?;
        self.running.insert(machine.word(), process);
        Ok(())
    }

    /// The last lines of both logs.
    pub(super) fn logs(&self) -> String {
        let logs = self.running.iter().map(|(name, process)| format!("{name}: {}", process.log_tail()));
        logs.collect::<Vec<_>>().join("\n")
    }

    /// SIGKILL to all of it on a machine, without waiting for the end.
    pub(super) fn strike(&self, machine: Machine) {
        for pid in self.running.get(machine.word()).map(|process| tree(process.pid())).unwrap_or_default() {
            // What ended together with its parent is gone already.
            drop(signal_process(pid, Signal::KILL));
        }
    }

    /// Waits for the end of what was struck.
    pub(super) fn bury(&mut self, machine: Machine) -> Result<()> {
        let Some(mut process) = self.running.remove(machine.word()) else { return Ok(()) };
        process.kill().or_else(|error| if process.is_running() { Err(error.into()) } else { Ok(()) })
    }
}

/// As it names itself.
pub(super) fn version() -> String {
    let output = Command::new("keepalived").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("keepalived of an unknown version").to_owned()
}

fn configuration(machine: Machine) -> String {
    let (state, priority) = if machine == Main { ("MASTER", 200) } else { ("BACKUP", 100) };
    format!(
        "global_defs {{\n  vrrp_version 3\n}}\nvrrp_instance peer {{\n  state {state}\n  interface {}\n  \
         virtual_router_id 77\n  priority {priority}\n  advert_int 0.01\n  virtual_ipaddress {{\n    {ADDRESS}/24\n  \
         }}\n}}\n",
        Net::Lan.device()
    )
}

pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 60));
