//! The form of `twinhub.toml`: what may be written, and the source of its schema and reference.
//!
//! These types describe; they decide nothing. What they hold has correct types and words, not more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

mod alarm;
mod event_link;
mod historian;
mod hosting;
mod link;

pub use alarm::{Alarm, AlarmWhen, Alarms, Events};
pub use event_link::EventLink;
pub use historian::{Historian, SecretPlace, Tls, Writers};
pub use hosting::Hosting;
pub use link::{Convert, Delivery, Kind, Link, Scalar};

/// A duration as text: `200ms`, `5s`, `1h30m`, `400d`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "time-span"))]
pub struct Span(pub String);

/// A size as text: `64KiB`, `16MiB`, `2GiB`, `10GB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "size"))]
pub struct Size(pub String);

/// Configuration of a site, the same file on every node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Format of this file: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the site, for people and for topics.
    #[schemars(length(min = 1, max = 200))]
    pub site: String,
    /// How the nodes work together.
    pub cluster: Cluster,
    /// The nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Groups of interfaces that switch together. Without any there is one, `site`, with all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<Group>,
    /// The interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interface: Vec<Interface>,
    /// Links: one item drives another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<Link>,
    /// Links for events: those of one interface go to another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_link: Vec<EventLink>,
    /// Alarms: what must not be of an item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarm: Vec<Alarm>,
    /// What is kept of alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Alarms>,
    /// What is kept of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
    /// The web server and REST.
    #[serde(default)]
    pub web: Web,
    /// The journal on disk.
    #[serde(default)]
    pub journal: Journal,
    /// What values were: items with `historize`.
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
    /// A central database of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub historian: Option<Historian>,
}

/// How the nodes work together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// Names of the nodes in the order of their rank: the first is the main, the others are backups.
    #[schemars(length(min = 1, max = 16))]
    pub nodes: Vec<String>,
    /// The set of timers for the kind of network. Default `normal`.
    #[serde(default)]
    pub profile: Profile,
    /// Timers that differ from the profile.
    #[serde(default)]
    pub timers: Timers,
    /// The third vote: `host:port` of a `twinhub witness` on any third machine. Without it, `without_witness` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// What a node may do that sees no other and has no witness. Default `evidence`.
    #[serde(default)]
    pub without_witness: Policy,
    /// What shows a node that it is not the one that is cut off.
    #[serde(default)]
    pub evidence: Evidence,
    /// How the role comes back to the main. Default `auto`.
    #[serde(default)]
    pub failback: Failback,
    /// How long the main must be well before the role comes back to it. Default `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_back: Option<Span>,
    /// An address that moves with the role of the group `site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating: Option<Floating>,
}

/// The set of timers for a kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Profile {
    /// Two machines on one wired switch.
    Lan,
    /// A good network with other traffic.
    Fast,
    /// An ordinary building network.
    #[default]
    Normal,
    /// Sites joined by a line.
    Wan,
}

impl Profile {
    /// As written in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Fast => "fast",
            Profile::Normal => "normal",
            Profile::Wan => "wan",
        }
    }
}

/// What a node may do that sees no other and has no witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Policy {
    /// Nothing until an operator says so.
    Manual,
    /// Act if the network can be seen to work from here.
    #[default]
    Evidence,
    /// Act, and accept that both may.
    Availability,
}

/// How the role comes back to the main.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Failback {
    /// By itself, after `hold_back`.
    #[default]
    Auto,
    /// When an operator says so.
    Manual,
}

/// The third vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Witness {
    /// `host:port` of a `twinhub witness`.
    Address(String),
    /// An etcd cluster.
    Etcd(Etcd),
}

/// An etcd cluster that keeps the third vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// URLs of its members.
    #[schemars(length(min = 1))]
    pub etcd: Vec<String>,
    /// PEM file of the authority that signed the members' certificates; `https` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// PEM file of this node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PEM file of that certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

/// What shows a node that it is not the one that is cut off.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Hosts that answer if the network works, `host` or `host:port`; the gateway, a switch.
    #[serde(default)]
    pub reference_hosts: Vec<String>,
}

/// An address that moves with the role.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Floating {
    /// Address with prefix length, `10.0.0.50/24`.
    pub address: String,
    /// Network device, `eth0`. Default: on each node the one whose network the address is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How often a move is announced to the neighbors. Default 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub announcements: Option<u32>,
    /// Between two announcements. Default `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// Timers that differ from the profile; all are checked against each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Timers {
    /// Between two heartbeats on each path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Span>,
    /// How long a voter keeps a grant after a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// Between two renewals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<Span>,
    /// How much shorter the holder counts its lease than the voters do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Span>,
    /// How long unfenced outputs wait after the old lease ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Span>,
    /// Between two candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stagger: Option<Span>,
    /// How long a starting node looks for an active one before it wants to be it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Span>,
    /// What the receive ring of a hot interface covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<Span>,
    /// How long a planned deactivation may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// `host:port` under which the other nodes reach it, one for each path: LAN, direct cable.
    #[schemars(length(min = 1, max = 8))]
    pub links: Vec<String>,
    /// `host:port` it listens on, if not the same as `links`: behind a relay or address translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub listen: Option<Vec<String>>,
    /// `host:port` of its web server. Default `127.0.0.1:8620`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// What differs on this node.
    #[serde(default, rename = "override")]
    pub overrides: Override,
}

/// What differs on a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// By id of the interface.
    #[serde(default)]
    pub interface: BTreeMap<String, InterfaceOverride>,
}

/// What differs on a node for one interface.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceOverride {
    /// Settings laid over those of the interface, key by key.
    #[serde(default)]
    pub settings: BTreeMap<String, Json>,
    /// Standby mode on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Mode>,
    /// Probe from this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// Interfaces that switch together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Names of nodes in their order for this group. Default: all, as in `cluster.nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub nodes: Option<Vec<String>>,
    /// An address that moves with the role of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating: Option<Floating>,
}

/// A configured plugin instance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// Its id, the first part of the keys of its items.
    pub id: String,
    /// Short name of the plugin: `modbus` for `libtwinhub_modbus.so`.
    pub plugin: String,
    /// Its group. Default: `site`, or the first group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it is while standby. Default: what the plugin declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Mode>,
    /// Items file (CSV), relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Items of other interfaces of its group whose values its plugin takes: `interface/path`, or `interface/part/*` for all
    /// below. For modules, such as metering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_in: Vec<String>,
    /// Settings of the plugin; `twinhub plugin info NAME` lists them. Secrets are `{ file = … }` or `{ env = … }`; a key that
    /// ends with `_file` names a file for the plugin, relative to this one.
    #[serde(default)]
    pub settings: BTreeMap<String, Json>,
    /// Items that are watched: what must not be takes from the health of the node that sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitor: Vec<Monitor>,
    /// `host:port` that accepts a TCP connection where the field side is well, tried every two seconds. It shows a node
    /// whose interface is `cold` whether it could do better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Where its plugin runs. Default `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosting: Option<Hosting>,
    /// What it does on a node that became active without a majority. Default: what the plugin declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unquorate: Option<OnUnquorate>,
    /// Whether a fault of it counts against the node. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// When inputs are acknowledged to their sender: stored on this node, or on another one. Default: what the plugin
    /// declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_after: Option<AckAfter>,
    /// What becomes of a command, or of an input with `ack_after = "peer"`, that no standby has stored within 100 ms.
    /// Default `proceed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unprotected: Option<OnUnprotected>,
    /// How long a write may take. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_timeout: Option<Span>,
}

/// What an interface is while standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Mode {
    /// Not connected.
    Cold,
    /// Connected, no traffic.
    Warm,
    /// Receives without acting.
    Hot,
}

impl Mode {
    /// As written in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Cold => "cold",
            Mode::Warm => "warm",
            Mode::Hot => "hot",
        }
    }
}

/// What an interface does without a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnUnquorate {
    /// Everything.
    Run,
    /// It reads and does not act.
    ReadOnly,
    /// Nothing.
    Off,
}

/// What becomes of what no standby has stored in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnUnprotected {
    /// It goes on and is counted as unprotected.
    #[default]
    Proceed,
    /// A command is refused, a command of a link waits, an input is not acknowledged.
    Refuse,
}

/// When an input is acknowledged to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AckAfter {
    /// The protocol has no acknowledgment.
    None,
    /// When it is stored on this node.
    Local,
    /// When it is stored on the peer.
    Peer,
}

/// An item that is watched.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Monitor {
    /// Path of the item within the interface.
    pub item: String,
    /// What must not be.
    pub when: MonitorWhen,
    /// What the value is compared with: `equals`, `above` and `below` need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Scalar>,
    /// For how long it must be so. Default `1s`; `unchanged` needs it.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How many times in a row, each for as long as `for`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: Option<u32>,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum MonitorWhen {
    /// The value does not change.
    Unchanged,
    /// The quality is bad.
    Bad,
    /// The value is this one.
    Equals,
    /// The value is greater than this.
    Above,
    /// The value is less than this.
    Below,
}

/// The web server and REST.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Web {
    /// File with the token that requests must carry, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// Whether requests from the same machine need no token. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_loopback: Option<bool>,
    /// Largest body of a request. Default `1MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<Size>,
    /// How long a login counts. Default `12h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Span>,
}

/// The journal on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Journal {
    /// Size of one file. Default `16MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Size>,
    /// Size of all files; the oldest are removed. Default `256MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Size>,
    /// Longest time between two syncs to disk of values; commands are synced before they are written. Default `200ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Span>,
    /// How long records that a node wrote alone during a split are kept beside the journal after they came to all nodes.
    /// Default `30d`, at least `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_aside: Option<Span>,
}

/// What values were: items with `historize` in their items file.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// How long values are kept. Default `400d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Span>,
    /// Size of all files; the oldest are removed. Default `10GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// So much per second is fetched from another node of what this one lacks; live values come first. Default `16MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_rate: Option<Size>,
}

impl History {
    /// Nothing is set: left out, so that such a file has the hash it always had.
    fn is_empty(&self) -> bool {
        self.retain.is_none() && self.max_size.is_none() && self.sync_rate.is_none()
    }
}
