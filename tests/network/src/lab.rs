//! Machines, switches and cables as network namespaces.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Result};

/// A machine of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// First in the order.
    Main,
    /// Second in the order.
    Backup,
    /// The third vote.
    Witness,
    /// Holds the Modbus device.
    Field,
    /// Asks the nodes, as an operator does.
    Client,
    /// Another node, where a site has three.
    Third,
}

/// A network of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// The switch that everybody but the device is on.
    Lan,
    /// The direct cable between main and backup.
    Cable,
    /// The switch with the device.
    Field,
}

/// The plant. Its namespaces are removed when it is dropped.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    made: Vec<String>,
}

impl Lab {
    /// Builds it; [`Error::NotPermitted`] says why this machine cannot.
    pub fn build() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        remove_leftovers();
        let mut lab = Self { prefix: format!("{PREFIX}{}-{number}", std::process::id()), made: Vec::new() };
        for place in [&Machine::ALL.map(Machine::word)[..], &[SWITCH]].concat() {
            let name = lab.namespace_of(place);
            ip(&["netns", "add", &name]).map_err(|error| {
                Error::NotPermitted(format!(
                    "network namespaces are needed, and this machine refuses: {error}"
                ))
            })?;
            lab.made.push(name);
            lab.run(place, &["ip", "link", "set", "lo", "up"])?;
        }
        for net in [Net::Lan, Net::Field] {
            lab.run(SWITCH, &["ip", "link", "add", net.device(), "type", "bridge"])?;
            lab.run(SWITCH, &["ip", "link", "set", net.device(), "up"])?;
            for machine in Machine::ALL.into_iter().filter(|machine| machine.is_on(net)) {
                lab.plug_in(machine, net)?;
            }
        }
        let (main, backup) = (lab.namespace(Machine::Main), lab.namespace(Machine::Backup));
        let device = Net::Cable.device();
        ip(&[
            "link", "add", device, "netns", &main, "type", "veth", "peer", "name", device, "netns", &backup,
        ])?;
        for machine in [Machine::Main, Machine::Backup] {
            lab.configure(machine, Net::Cable)?;
        }
        for machine in Machine::ALL {
            let rules = format!(
                "add table inet {TABLE}; add chain inet {TABLE} {CHAIN} {{ type filter hook input priority 0 ; }}"
            );
            lab.run(machine.word(), &["nft", &rules]).map_err(|error| {
                Error::NotPermitted(format!("packet filters are needed, and this machine refuses: {error}"))
            })?;
        }
        Ok(lab)
    }

    /// The name of a machine's namespace, for `ip netns exec`.
    pub fn namespace(&self, machine: Machine) -> String {
        self.namespace_of(machine.word())
    }

    /// A command that will run on a machine.
    pub fn command(&self, machine: Machine, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(machine)]).arg(program);
        command
    }

    /// Does something with sockets on a machine: threads and sockets made inside stay there.
    pub fn inside<T: Send>(&self, machine: Machine, act: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.namespace(machine));
        let namespace = File::open(&path).map_err(Error::io(path.clone()))?;
        let entered = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|errno| Error::io(path)(errno.into()))?;
                Ok(act())
            });
            worker.join()
        });
        entered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Nothing that `from` sends on `net` reaches `to` any more; nobody is told.
    pub fn cut_one_way(&self, from: Machine, to: Machine, net: Net) -> Result<()> {
        let rule = format!("add rule inet {TABLE} {CHAIN} ip saddr {} counter drop", from.address(net));
        self.run(to.word(), &["nft", &rule])
    }

    /// Nothing passes between two machines on `net`; nobody is told.
    pub fn cut(&self, one: Machine, other: Machine, net: Net) -> Result<()> {
        self.cut_one_way(one, other, net)?;
        self.cut_one_way(other, one, net)
    }

    /// Parts the LAN into these machines and the others: the switch passes nothing between the two sides, no ARP
    /// either.
    pub fn part(&self, side: &[Machine]) -> Result<()> {
        let ports = |inside: bool| -> Vec<String> {
            let there = Machine::ALL.into_iter().filter(|machine| machine.is_on(Net::Lan));
            there
                .filter(|machine| side.contains(machine) == inside)
                .map(|machine| port(machine, Net::Lan))
                .collect()
        };
        let (these, those) = (ports(true).join(", "), ports(false).join(", "));
        let rules = format!(
            "add table bridge {TABLE}; add chain bridge {TABLE} {CHAIN} {{ type filter hook forward priority 0 ; }}; \
             add rule bridge {TABLE} {CHAIN} iifname {{ {these} }} oifname {{ {those} }} drop; \
             add rule bridge {TABLE} {CHAIN} iifname {{ {those} }} oifname {{ {these} }} drop"
        );
        self.run(SWITCH, &["nft", &rules])
    }

    /// Joins what was parted.
    pub fn join(&self) -> Result<()> {
        self.run(SWITCH, &["nft", &format!("delete table bridge {TABLE}")])
    }

    /// Takes a port of the switch down, as a pulled plug does at the switch's end.
    pub fn unplug(&self, machine: Machine, net: Net) -> Result<()> {
        self.run(SWITCH, &["ip", "link", "set", &port(machine, net), "down"])
    }

    /// The port is up again.
    pub fn plug(&self, machine: Machine, net: Net) -> Result<()> {
        self.run(SWITCH, &["ip", "link", "set", &port(machine, net), "up"])
    }

    /// A program on a machine, to its end.
    pub fn call(&self, machine: Machine, words: &[&str]) -> Result<()> {
        self.run(machine.word(), words)
    }

    /// Undoes every cut at a machine's and the others' filters.
    pub fn heal(&self) -> Result<()> {
        for machine in Machine::ALL {
            self.run(machine.word(), &["nft", &format!("flush chain inet {TABLE} {CHAIN}")])?;
        }
        Ok(())
    }

    fn plug_in(&self, machine: Machine, net: Net) -> Result<()> {
        let port = port(machine, net);
        let (inside, switch) = (self.namespace(machine), self.namespace_of(SWITCH));
        ip(&[
            "link",
            "add",
            net.device(),
            "netns",
            &inside,
            "type",
            "veth",
            "peer",
            "name",
            &port,
            "netns",
            &switch,
        ])?;
        self.run(SWITCH, &["ip", "link", "set", &port, "master", net.device(), "up"])?;
        self.configure(machine, net)
    }

    fn configure(&self, machine: Machine, net: Net) -> Result<()> {
        let address = format!("{}/24", machine.address(net));
        self.run(machine.word(), &["ip", "address", "add", &address, "dev", net.device()])?;
        self.run(machine.word(), &["ip", "link", "set", net.device(), "up"])
    }

    fn namespace_of(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    fn run(&self, place: &str, words: &[&str]) -> Result<()> {
        let namespace = self.namespace_of(place);
        ip(&[&["netns", "exec", &namespace], words].concat())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.made {
            // What could not be removed has been removed by somebody else.
            drop(ip(&["netns", "delete", name]));
        }
    }
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Main, Self::Backup, Self::Witness, Self::Field, Self::Client, Self::Third];

    /// Its name in the configuration and in namespaces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Backup => "backup",
            Self::Witness => "witness",
            Self::Field => "field",
            Self::Client => "client",
            Self::Third => "third",
        }
    }

    /// Its address on a network.
    pub fn address(self, net: Net) -> Ipv4Addr {
        let host = match self {
            Self::Main => 1,
            Self::Backup => 2,
            Self::Witness => 3,
            Self::Field => 4,
            Self::Client => 5,
            Self::Third => 6,
        };
        Ipv4Addr::new(10, 77, net.number(), host)
    }

    fn is_on(self, net: Net) -> bool {
        match net {
            Net::Lan => self != Self::Field,
            Net::Cable => matches!(self, Self::Main | Self::Backup),
            Net::Field => matches!(self, Self::Main | Self::Backup | Self::Field | Self::Third),
        }
    }
}

impl Net {
    /// The network device that leads there, the same on every machine.
    pub fn device(self) -> &'static str {
        match self {
            Self::Lan => "lan0",
            Self::Cable => "cable0",
            Self::Field => "field0",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Lan => 0,
            Self::Cable => 1,
            Self::Field => 2,
        }
    }
}

/// Where a machine is plugged into a switch.
fn port(machine: Machine, net: Net) -> String {
    format!("{}-{}", net.device(), machine.word())
}

fn ip(words: &[&str]) -> Result<()> {
    let command = || format!("ip {}", words.join(" "));
    let output = Command::new("ip").args(words).output().map_err(|source| Error::Io {
        what: format!("{}; help: run `cargo xtask setup`", command()),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: command(), detail })
}

/// Removes what tests left that were killed: namespaces whose maker no longer runs.
fn remove_leftovers() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if maker.is_some_and(|maker| !std::path::Path::new(&format!("/proc/{maker}")).exists()) {
            // Another test may be removing it at the same time.
            drop(ip(&["netns", "delete", &name]));
        }
    }
}

/// The maker's process id follows.
const PREFIX: &str = "twinlab";
const SWITCH: &str = "switch";
const TABLE: &str = "twinlab";
const CHAIN: &str = "incoming";
