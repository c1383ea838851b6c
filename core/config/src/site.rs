//! A checked configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use twinhub_model::{Convert, IntentKind, ItemKey, Value};

use crate::diagnostic::nearest;
pub use crate::file::{
    AckAfter, Delivery, Failback, Hosting, Mode, OnUnprotected, OnUnquorate, Policy, Profile, Writers,
};
use crate::tree::Place;

/// Everything a node has to know, checked.
#[derive(Debug, Clone)]
pub struct Site {
    /// Format of the file.
    pub version: u32,
    /// Name of the site.
    pub site: String,
    /// How the nodes work together.
    pub cluster: Cluster,
    /// The nodes in the order of their rank.
    pub nodes: Vec<Node>,
    /// The groups; at least one.
    pub groups: Vec<Group>,
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The links, two-way ones as two.
    pub links: Vec<Link>,
    /// The links for events.
    pub event_links: Vec<EventLink>,
    /// The alarms of all groups, those of the file before those of items files.
    pub alarms: Vec<twinhub_alarms::Rule>,
    /// Occurrences of alarms that are kept, of each group.
    pub alarms_kept: usize,
    /// What is kept of events.
    pub events: Events,
    /// The web server.
    pub web: Web,
    /// The journal.
    pub journal: Journal,
    /// The history.
    pub history: History,
    /// The central database, if there is one.
    pub historian: Option<Historian>,
    /// The same on every node that has the same configuration and items, whatever their form; overrides of nodes
    /// are part of it, so that all nodes agree on all of it.
    pub hash: u64,
}

/// A name that is none of the nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no node is called `{name}`: the nodes are {}{}", known.join(", "), meant(name, known))]
pub struct UnknownNode {
    /// The name.
    pub name: String,
    /// The nodes.
    pub known: Vec<String>,
}

fn meant(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map(|found| format!("; did you mean `{found}`?"))
        .unwrap_or_default()
}

impl Site {
    /// The configuration as it applies to one node, with the node's overrides.
    ///
    /// # Errors
    /// [`UnknownNode`].
    pub fn for_node(&self, name: &str) -> Result<Site, UnknownNode> {
        let mut site = self.clone();
        site.apply_node(name)?;
        Ok(site)
    }

    /// That no node has this name, with those that there are.
    pub fn unknown_node(&self, name: &str) -> UnknownNode {
        UnknownNode {
            name: name.to_owned(),
            known: self.nodes.iter().map(|node| node.name.clone()).collect(),
        }
    }

    /// As [`Site::for_node`], in place: item lists are long.
    ///
    /// # Errors
    /// [`UnknownNode`].
    pub fn apply_node(&mut self, name: &str) -> Result<(), UnknownNode> {
        let node = self.node(name).ok_or_else(|| self.unknown_node(name))?;
        let overrides = node.overrides.clone();
        for interface in &mut self.interfaces {
            if let Some(change) = overrides.get(&interface.id) {
                merge(&mut interface.settings, &change.settings);
                interface.standby = change.standby.or(interface.standby);
                interface.probe = change.probe.clone().or_else(|| interface.probe.take());
            }
        }
        Ok(())
    }

    /// Lets go of items, once whoever needs them has taken them.
    pub fn forget_items(&mut self) {
        for interface in &mut self.interfaces {
            interface.items = Vec::new();
        }
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The interface with that id.
    pub fn interface(&self, id: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.id == id)
    }

    /// The group with that id.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }
}

/// Lays `change` over `base`: tables key by key, all else whole.
fn merge(base: &mut Json, change: &Json) {
    match (base, change) {
        (Json::Object(base), Json::Object(change)) => {
            for (key, value) in change {
                merge(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, change) => *base = change.clone(),
    }
}

/// How the nodes work together.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The set of timers.
    pub profile: Profile,
    /// Timers that differ from the profile.
    pub timers: TimerOverrides,
    /// The third vote.
    pub witness: Option<Witness>,
    /// What a lonely node may do if there is no witness.
    pub without_witness: Policy,
    /// What shows a node that it is not the one that is cut off.
    pub evidence: Evidence,
    /// How the role comes back to the main.
    pub failback: Failback,
    /// How long the main must be well before the role comes back.
    pub hold_back: Duration,
}

/// Timers that differ from the profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimerOverrides {
    /// Between two heartbeats on each path.
    pub heartbeat: Option<Duration>,
    /// How long a voter keeps a grant.
    pub lease: Option<Duration>,
    /// Between two renewals.
    pub renew: Option<Duration>,
    /// How much shorter the holder counts its lease.
    pub margin: Option<Duration>,
    /// How long unfenced outputs wait after the old lease ended.
    pub guard: Option<Duration>,
    /// Between two candidates.
    pub stagger: Option<Duration>,
    /// How long a starting node looks for an active one.
    pub start: Option<Duration>,
    /// What the receive ring of a hot interface covers.
    pub ring: Option<Duration>,
    /// How long a planned deactivation may take.
    pub drain: Option<Duration>,
}

/// The third vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// `host:port` of a `twinhub witness`.
    Address(String),
    /// An etcd cluster.
    Etcd(Etcd),
}

/// An etcd cluster that keeps the third vote. Files are relative to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// URLs of its members.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that signed the members' certificates.
    pub ca: Option<String>,
    /// PEM file of this node's certificate.
    pub certificate: Option<String>,
    /// PEM file of that certificate's key.
    pub key: Option<String>,
    /// User name.
    pub user: Option<String>,
    /// File with the user's password.
    pub password_file: Option<String>,
}

/// What shows a node that it is not the one that is cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Hosts that answer if the network works, `host` or `host:port`.
    pub reference_hosts: Vec<String>,
}

/// An address that moves with the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floating {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
    /// Network device; without one each node takes the device whose network the address is in.
    pub device: Option<String>,
    /// How often a move is announced to the neighbors.
    pub announcements: u32,
    /// Between two announcements.
    pub interval: Duration,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its place in the order; 0 is the main.
    pub rank: u8,
    /// `host:port` that the others dial, one for each path.
    pub links: Vec<String>,
    /// `host:port` it listens on.
    pub listen: Vec<String>,
    /// `host:port` of its web server.
    pub web: String,
    /// What differs on it, by interface.
    pub overrides: BTreeMap<String, InterfaceOverride>,
}

/// What differs on a node for one interface.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfaceOverride {
    /// Settings laid over those of the interface.
    pub settings: Json,
    /// Standby mode.
    pub standby: Option<Mode>,
    /// Probe.
    pub probe: Option<String>,
}

/// Interfaces that switch together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Names of the nodes in their order for this group.
    pub nodes: Vec<String>,
    /// An address that moves with its role.
    pub floating: Option<Floating>,
}

/// A configured plugin instance.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Its id, the first part of the keys of its items.
    pub id: String,
    /// Short name of the plugin.
    pub plugin: String,
    /// Its group.
    pub group: String,
    /// What it is while standby, if not as the plugin declares.
    pub standby: Option<Mode>,
    /// Its items.
    pub items: Vec<Item>,
    /// Items of other interfaces whose values it takes.
    pub values_in: Vec<LinkEnd>,
    /// Settings of the plugin; secrets are still references.
    pub settings: Json,
    /// What is watched.
    pub monitor: Vec<Monitor>,
    /// `host:port` that accepts a connection where the field side is well.
    pub probe: Option<String>,
    /// Where its plugin runs.
    pub hosting: Hosting,
    /// What it does without a majority, if not as the plugin declares.
    pub on_unquorate: Option<OnUnquorate>,
    /// Whether a fault of it counts against the node.
    pub required: bool,
    /// When inputs are acknowledged, if not as the plugin declares.
    pub ack_after: Option<AckAfter>,
    /// What becomes of what no standby has stored in time.
    pub on_unprotected: OnUnprotected,
    /// How long a write may take.
    pub write_timeout: Duration,
    /// Where it is written.
    pub origin: Origin,
}

/// Where something is written.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Line in the configuration file, 0 if unknown.
    pub line: u32,
    /// Name of the items file.
    pub items_file: Option<Arc<str>>,
    pub(crate) settings: Option<Place>,
}

/// What is kept of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// So many.
    pub keep: usize,
    /// For so long.
    pub retain: Option<Duration>,
}

/// A watched item.
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// The item.
    pub item: ItemKey,
    /// What must not be.
    pub trigger: Trigger,
    /// For how long …
    pub duration: Duration,
    /// … and how many times in a row.
    pub failures: u32,
}

/// What must not be of a watched item.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// The value does not change.
    Unchanged,
    /// The quality is bad.
    Bad,
    /// The value is this one.
    Equals(Value),
    /// The value is greater than this.
    Above(f64),
    /// The value is less than this.
    Below(f64),
}

impl Item {
    /// The text of a column of the plugin; empty if there is none.
    pub fn column(&self, name: &str) -> &str {
        self.columns.iter().find(|(column, _)| **column == *name).map_or("", |(_, text)| text.as_str())
    }
}

/// A data point.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name.
    pub key: ItemKey,
    /// Where it is in the device, as the plugin writes it.
    pub address: String,
    /// Type, as in the file.
    pub type_name: String,
    /// What can be done with it.
    pub access: Access,
    /// Unit of measurement.
    pub unit: String,
    /// For people.
    pub description: String,
    /// The plugin's own columns that are not empty, by name; there are few, and many items.
    pub columns: Vec<(Arc<str>, String)>,
    /// Line in the items file.
    pub line: u32,
    /// Every value counts as an event, also an equal one.
    pub edge: bool,
    /// A write moves a state and is never repeated.
    pub non_idempotent: bool,
    /// Its values are kept in the history.
    pub historize: bool,
}

/// What can be done with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Read,
    /// Written.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// `r`, `w` or `rw`.
    pub const fn word(self) -> &'static str {
        match self {
            Access::Read => "r",
            Access::Write => "w",
            Access::ReadWrite => "rw",
        }
    }

    /// Whether it can be read.
    pub const fn is_readable(self) -> bool {
        matches!(self, Access::Read | Access::ReadWrite)
    }

    /// Whether it can be written.
    pub const fn is_writable(self) -> bool {
        matches!(self, Access::Write | Access::ReadWrite)
    }
}

/// One item, or all of a part of an interface, drives another.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its number, counted over all links with both ways of a two-way link.
    pub index: u32,
    /// What drives.
    pub from: LinkEnd,
    /// What is driven.
    pub to: LinkEnd,
    /// What is done to the value on its way.
    pub convert: Convert,
    /// One way of a two-way link.
    pub both: bool,
    /// Whether every value counts, or the newest.
    pub delivery: Option<Delivery>,
    /// What a repetition would do.
    pub kind: IntentKind,
    /// Line in the configuration file.
    pub line: u32,
}

/// Events of one interface go to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLink {
    /// The interface that gives them.
    pub from: String,
    /// Its stream.
    pub stream: String,
    /// The interface that takes them.
    pub to: String,
    /// Line in the configuration file.
    pub line: u32,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// An item.
    Item(ItemKey),
    /// `interface/prefix/*`: all items under `prefix`; all of the interface if it is empty.
    Prefix {
        /// The interface.
        interface: String,
        /// The first parts of the path, without `/` at the end.
        prefix: String,
    },
}

impl LinkEnd {
    /// The interface.
    pub fn interface(&self) -> &str {
        match self {
            LinkEnd::Item(key) => key.interface(),
            LinkEnd::Prefix { interface, .. } => interface,
        }
    }
}

impl std::fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkEnd::Item(key) => write!(f, "{key}"),
            LinkEnd::Prefix { interface, prefix } if prefix.is_empty() => write!(f, "{interface}/*"),
            LinkEnd::Prefix { interface, prefix } => write!(f, "{interface}/{prefix}/*"),
        }
    }
}

/// The web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// File with the token that requests must carry.
    pub token: Option<PathBuf>,
    /// Whether requests from this machine need no token.
    pub trust_loopback: bool,
    /// Largest request body in bytes.
    pub max_body: u64,
    /// How long a login counts.
    pub session: Duration,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Size of one file.
    pub segment_bytes: u64,
    /// Size of all files.
    pub retain_bytes: u64,
    /// Longest time between two syncs to disk.
    pub sync_interval: Duration,
    /// How long what was set aside is kept after it came to all nodes.
    pub keep_aside: Duration,
}

/// What values were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// How long values are kept.
    pub retain: Duration,
    /// Size of all files.
    pub max_bytes: u64,
    /// Bytes per second that are fetched from another node of what this one lacks.
    pub sync_rate: u64,
}

/// A central database of values. Files are relative to the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Historian {
    /// Host name, address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// User.
    pub user: String,
    /// Where the user's password stands, for [`crate::resolve_secrets`].
    pub password: Option<Json>,
    /// PEM file of the authority that signed the server's certificate; without one the connection is in clear text.
    pub ca: Option<String>,
    /// Schema of the tables.
    pub schema: String,
    /// Which nodes write.
    pub write: Writers,
    /// How long values are gathered.
    pub interval: Duration,
    /// Values written at once.
    pub batch: u32,
    /// How long an answer is waited for.
    pub timeout: Duration,
}
