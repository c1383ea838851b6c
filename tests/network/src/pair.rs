//! Witness, main and backup as processes on their machines, and the device they work with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use twinhub_conformance::{Artifacts, GroupStatus, Profile, Rest};
use twinhub_peers::{
    Device, DeviceOptions, Process, Signal, monotonic_ns, signal_process, tree, wait_for, wait_until,
};

use crate::error::{Error, Result};
use crate::lab::{Lab, Machine, Net};
use crate::verdict::Verdict;

/// A running pair.
#[derive(Debug)]
pub struct Pair {
    // In the order in which they are ended.
    processes: BTreeMap<&'static str, Process>,
    device: Option<Device>,
    artifacts: Artifacts,
    folder: TempDir,
    lab: Lab,
}

impl Pair {
    /// Builds the plant and the site; starts the device and no node yet.
    pub fn prepare(profile: Profile) -> Result<Self> {
        Self::prepare_with(profile, "")
    }

    /// The same with more lines in the section `[cluster]`.
    pub fn prepare_with(profile: Profile, cluster: &str) -> Result<Self> {
        let lab = Lab::build()?;
        let artifacts = Artifacts::built_for_tests()?;
        let folder = tempfile::Builder::new().prefix("twinhub-").tempdir().map_err(Error::io("folder"))?;
        let etc = folder.path().join("etc/twinhub");
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap_or(&etc))
                .and_then(|()| fs::write(&path, text))
                .map_err(Error::io(path.display().to_string()))
        };
        write(etc.join("twinhub.toml"), &configuration(profile, cluster))?;
        write(etc.join("items/plc1.csv"), ITEMS)?;
        fs::create_dir(folder.path().join("plugins")).map_err(Error::io("folder of plugins"))?;
        let options = DeviceOptions {
            address: Machine::Field.address(Net::Field),
            port: DEVICE_PORT,
            counter: Some((0, COUNT_INTERVAL)),
            ..DeviceOptions::default()
        };
        let device = lab.inside(Machine::Field, || Device::start(options))??;
        Ok(Self { processes: BTreeMap::new(), device: Some(device), artifacts, folder, lab })
    }

    /// A site of three nodes that vote, without a witness; nothing is started yet.
    pub fn prepare_three(profile: Profile) -> Result<Self> {
        let site = Self::prepare(profile)?;
        site.configure(|text| {
            let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("witness = ")).collect();
            let third =
                "[nodes.third]\nlinks = [\"10.77.0.6:7620\"]\nweb = \"0.0.0.0:8080\"\n\n[[interface]]";
            let text = text.join("\n").replacen("[[interface]]", third, 1);
            text.replace("[\"main\", \"backup\"]", "[\"main\", \"backup\", \"third\"]")
        })?;
        Ok(site)
    }

    /// Starts witness, main and backup and waits until the pair is whole and outputs flow.
    pub fn start(profile: Profile) -> Result<Self> {
        Self::start_with(profile, "")
    }

    /// The same with more lines in the section `[cluster]`.
    pub fn start_with(profile: Profile, cluster: &str) -> Result<Self> {
        let mut pair = Self::prepare_with(profile, cluster)?;
        for machine in [Machine::Witness, Machine::Main, Machine::Backup] {
            pair.run(machine)?;
        }
        pair.wait_in_sync(Machine::Main)?;
        Ok(pair)
    }

    /// Starts the process of a machine.
    pub fn run(&mut self, machine: Machine) -> Result<()> {
        self.run_with(machine, &[], &[])
    }

    /// The same with variables in its environment and more options of `run`.
    pub fn run_with(
        &mut self,
        machine: Machine,
        variables: &[(&str, &Path)],
        options: &[&str],
    ) -> Result<()> {
        let mut command = self.lab.command(machine, self.artifacts.hub());
        command.current_dir(self.folder.path()).arg("--root").arg(self.folder.path());
        command.arg("--plugins").arg(self.artifacts.plugin_folder()).arg("--plugins").arg(self.plugins());
        for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL"] {
            command.env_remove(variable);
        }
        if machine == Machine::Witness {
            command.args(["witness", "--listen", &format!("{}:{WITNESS_PORT}", machine.address(Net::Lan))]);
        } else {
            command.args(["run", "--node", machine.word()]).args(options);
        }
        command.envs(variables.iter().copied());
        let process = Process::spawn(machine.word(), command, &self.log(machine))?;
        self.processes.insert(machine.word(), process);
        Ok(())
    }

    /// SIGKILL to supervisor and hub. Gives the time of it, as the device's log counts.
    pub fn kill(&mut self, machine: Machine) -> Result<u64> {
        let mut process = self
            .processes
            .remove(machine.word())
            .ok_or_else(|| Error::State(format!("{} does not run", machine.word())))?;
        let family = tree(process.pid());
        let at = monotonic_ns();
        // The supervisor first, so that it cannot report the death of its child.
        for pid in family {
            // What ended together with its parent is gone already.
            drop(signal_process(pid, Signal::KILL));
        }
        process.kill().or_else(|error| if process.is_running() { Err(error) } else { Ok(()) })?;
        Ok(at)
    }

    /// Ends a machine's process in order.
    pub fn stop(&mut self, machine: Machine) -> Result<()> {
        let process = self.processes.remove(machine.word());
        let mut process = process.ok_or_else(|| Error::State(format!("{} does not run", machine.word())))?;
        process.terminate(WHOLE_LIMIT)?;
        Ok(())
    }

    /// Gives an order on the command line of a machine and takes its answer.
    pub fn order(&self, machine: Machine, words: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.lab.command(machine, self.artifacts.hub());
        command.arg("--root").arg(self.folder.path()).args(words);
        command.args(["--output", "json", "--url", &format!("http://127.0.0.1:{WEB_PORT}")]);
        let output = command.output().map_err(Error::io("run the command line"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| Error::Command {
            command: format!("twinhub {}", words.join(" ")),
            detail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// SIGKILL to the hub process only; its supervisor sees it.
    pub fn kill_hub(&mut self, machine: Machine) -> Result<u64> {
        let family = tree(self.pid(machine)?);
        let hub = family.get(1).ok_or_else(|| Error::State("no hub below its supervisor".to_owned()))?;
        let at = monotonic_ns();
        signal_process(*hub, Signal::KILL)?;
        Ok(at)
    }

    /// SIGSTOP to supervisor and hub, as if the machine stood still.
    pub fn freeze(&self, machine: Machine) -> Result<u64> {
        let at = monotonic_ns();
        for pid in tree(self.pid(machine)?) {
            signal_process(pid, Signal::STOP)?;
        }
        Ok(at)
    }

    /// SIGCONT, the hub first: a supervisor that finds it stopped would kill it.
    pub fn thaw(&self, machine: Machine) -> Result<u64> {
        let at = monotonic_ns();
        for pid in tree(self.pid(machine)?).into_iter().rev() {
            signal_process(pid, Signal::CONT)?;
        }
        Ok(at)
    }

    /// The plant.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What the device has seen so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.device.as_ref().map(|device| device.log().requests()).unwrap_or_default())
    }

    /// What a node says about the group, asked on its own machine, whatever is cut.
    pub fn status(&self, machine: Machine) -> Result<GroupStatus> {
        let status = self.ask(machine, Rest::cluster)?;
        status.groups.into_iter().next().ok_or_else(|| Error::State("no group".to_owned()))
    }

    /// Any resource of a node's REST interface.
    pub fn resource(&self, machine: Machine, path: &str) -> Result<serde_json::Value> {
        self.ask(machine, |rest| rest.resource(path))
    }

    /// Orders a planned switchover.
    pub fn switchover(&self, from: Machine, to: Machine) -> Result<u64> {
        let at = monotonic_ns();
        self.ask(from, |rest| rest.switchover(to.word()))?;
        Ok(at)
    }

    /// What a node says of itself.
    pub fn state(&self, machine: Machine) -> Option<String> {
        self.status(machine).ok()?.node(machine.word()).map(|node| node.state.clone())
    }

    /// Waits until a node is in this state.
    pub fn wait_state(&self, machine: Machine, state: &str, limit: Duration) -> Result<()> {
        let mut seen = None;
        let found = wait_until("state", limit, || {
            seen = self.state(machine);
            seen.as_deref() == Some(state)
        });
        found.map_err(|_| {
            let seen = seen.unwrap_or_else(|| "silent".to_owned());
            Error::State(format!(
                "{} is {seen}, not {state}, after {limit:?}\n{}",
                machine.word(),
                self.logs()
            ))
        })
    }

    /// Waits until this node says that the other one is not heard. A takeover may be done before: the lease of who died
    /// began to end a heartbeat or more before the death.
    pub fn wait_unheard(&self, by: Machine, other: Machine, limit: Duration) -> Result<()> {
        let mut seen = None;
        let found = wait_until("silence", limit, || {
            seen = self.status(by).ok();
            let node = seen.as_ref().and_then(|status| status.node(other.word()));
            seen.is_some() && !node.is_some_and(|node| node.reachable)
        });
        found.map_err(|_| {
            let (by, other) = (by.word(), other.word());
            Error::State(format!("{by} takes {other} for alive after {limit:?}: {seen:#?}\n{}", self.logs()))
        })
    }

    /// Waits until this node is active, the other a standby that has everything, and outputs flow to the device.
    pub fn wait_in_sync(&self, active: Machine) -> Result<()> {
        self.wait_whole(active)?;
        self.wait_writes(active, monotonic_ns(), WHOLE_LIMIT)
    }

    /// Waits until this node is active and the other a standby that has everything.
    pub fn wait_whole(&self, active: Machine) -> Result<()> {
        let other = if active == Machine::Main { Machine::Backup } else { Machine::Main };
        let whole = wait_until("a whole pair", WHOLE_LIMIT, || {
            let Ok(status) = self.status(active) else { return false };
            let is_active = status.node(active.word()).is_some_and(|node| node.state == "active");
            let is_synced =
                status.node(other.word()).is_some_and(|node| node.state == "standby" && node.in_sync);
            is_active && is_synced && self.state(other).as_deref() == Some("standby")
        });
        whole.map_err(|_| {
            Error::State(format!("{} is not active with a synced standby\n{}", active.word(), self.logs()))
        })
    }

    /// Waits until the device has taken some writes from a machine since a moment.
    pub fn wait_writes(&self, machine: Machine, since: u64, limit: Duration) -> Result<()> {
        let enough = || (self.verdict().writes_of(machine, since) >= WRITES_ENOUGH).then_some(());
        wait_for("writes", limit, enough).map_err(|_| {
            Error::State(format!("no writes of {} within {limit:?}\n{}", machine.word(), self.logs()))
        })
    }

    /// The whole log of a machine's process.
    pub fn log_text(&self, machine: Machine) -> String {
        fs::read_to_string(self.log(machine)).unwrap_or_default()
    }

    /// What the kernel of a machine says of its addresses on a network.
    pub fn addresses(&self, machine: Machine, net: Net) -> String {
        let list =
            || std::process::Command::new("ip").args(["-o", "address", "show", "dev", net.device()]).output();
        let output = self.lab.inside(machine, list).ok().and_then(std::result::Result::ok);
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Where plugins of a test are found beside the product's.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// Changes the configuration before the nodes are started.
    pub fn configure(&self, change: impl FnOnce(&str) -> String) -> Result<()> {
        let path = self.folder.path().join("etc/twinhub/twinhub.toml");
        let text = fs::read_to_string(&path).map_err(Error::io("the configuration"))?;
        fs::write(&path, change(&text)).map_err(Error::io("the configuration"))
    }

    /// Folder of the site.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines of every log.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for machine in [Machine::Main, Machine::Backup, Machine::Witness, Machine::Third] {
            let log = self.log_text(machine);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
            text = format!("{text}  log of {}:\n    {tail}\n", machine.word());
        }
        text
    }

    fn ask<T: Send>(
        &self,
        machine: Machine,
        question: impl FnOnce(&Rest) -> twinhub_conformance::Result<T> + Send,
    ) -> Result<T> {
        let answer = self.lab.inside(machine, || {
            let rest = Rest::new(([127, 0, 0, 1], WEB_PORT).into());
            question(&rest)
        })?;
        Ok(answer?)
    }

    fn pid(&self, machine: Machine) -> Result<u32> {
        let process = self.processes.get(machine.word());
        process.map(Process::pid).ok_or_else(|| Error::State(format!("{} does not run", machine.word())))
    }

    fn log(&self, machine: Machine) -> PathBuf {
        self.folder.path().join(format!("{}.log", machine.word()))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.processes.clear();
        let device = self.device.take();
        // The device ends by a connection to itself, which only its own machine can make.
        drop(self.lab.inside(Machine::Field, move || drop(device)));
    }
}

fn configuration(profile: Profile, cluster: &str) -> String {
    let node = |machine: Machine| {
        format!(
            "[nodes.{}]\nlinks = [\"{}:{LINK_PORT}\", \"{}:{LINK_PORT}\"]\nweb = \"0.0.0.0:{WEB_PORT}\"\n",
            machine.word(),
            machine.address(Net::Lan),
            machine.address(Net::Cable)
        )
    };
    format!(
        r#"version = 1
site = "plant"

[cluster]
nodes = ["main", "backup"]
profile = "{profile}"
failback = "manual"
witness = "{witness}:{WITNESS_PORT}"
{cluster}

{main}
{backup}
[[interface]]
id = "plc1"
plugin = "modbus"
items = "items/plc1.csv"
settings = {{ address = "{device}:{DEVICE_PORT}", unit = 1, poll = "20ms", timeout = "500ms" }}

[[link]]
from = "plc1/counter"
to = "plc1/echo"
delivery = "command"
"#,
        witness = Machine::Witness.address(Net::Lan),
        main = node(Machine::Main),
        backup = node(Machine::Backup),
        device = Machine::Field.address(Net::Field),
    )
}

const ITEMS: &str = "path,address,type,access,unit,description,poll\n\
                     counter,hr:0,u16,r,,Counts up by itself,\n\
                     echo,hr:20,u16,w,,Takes what was read,off\n";
// Each machine has its own addresses, so that fixed ports collide with nothing.
const DEVICE_PORT: u16 = 5020;
const LINK_PORT: u16 = 7620;
const WITNESS_PORT: u16 = 7630;
const WEB_PORT: u16 = 8080;
const COUNT_INTERVAL: Duration = Duration::from_millis(50);
const WRITES_ENOUGH: usize = 5;
const WHOLE_LIMIT: Duration = Duration::from_secs(30);
const LOG_LINES: usize = 15;
