//! What a running node shows of itself: plain values, ready to be serialized. The REST API, the command
//! line and the metrics page all read these, so that they cannot disagree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod accounts;
mod alarms;
mod configuration;
mod deliveries;
mod events;
mod floating;
mod historian;
mod history;
mod merges;
mod questions;
mod voters;

pub use accounts::{AuditView, ChangeView, DocumentCounts, LoginView, TokenMadeView, TokenView, UserView};
pub use alarms::{AlarmAnswer, AlarmCounts, AlarmView, AlarmsPage};
pub use configuration::{AppliedView, BackupView, ConfigurationView, FileView, ReloadView, RevisionView};
pub use deliveries::{DeliveryView, EventCounts};
pub use events::{EventView, EventsFrame, EventsPage};
pub use floating::FloatingView;
pub use historian::HistorianView;
pub use history::{
    BUCKET_COLUMNS, BucketColumn, BucketView, BucketsView, HistoryCopyView, HistoryView, TrendRowView,
    TrendView,
};
pub use merges::{MergeCountsView, MergeProgress, MergeView};
pub(crate) use questions::Heard;
pub use questions::{
    BrowseNode, BrowseView, DiagView, DiscoverView, FoundView, MessageView, MonitorView, StepOutcome,
    TestStepView, TestView,
};
pub use voters::{ShrunkView, VotersView};

/// The whole cluster as this node sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The site's name.
    pub site: String,
    /// The node that answers.
    pub node: String,
    /// Version of the product on this node.
    pub version: String,
    /// The newest protocol between nodes that this node speaks.
    #[serde(default)]
    pub protocol: u16,
    /// Timing profile in force.
    pub profile: String,
    /// Hash of the effective configuration, hexadecimal.
    pub config_hash: String,
    /// What an operator has to do about the configuration, or about plugins that differ.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Every group.
    pub groups: Vec<GroupView>,
    /// The witness, if one is configured.
    pub witness: Option<WitnessView>,
    /// What the answering node keeps of values; absent if no item is kept.
    #[serde(default)]
    pub history: Option<HistoryView>,
    /// The way of values to the central database, from the answering node; absent if none is configured.
    #[serde(default)]
    pub historian: Option<HistorianView>,
}

/// One group: interfaces that switch together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// The group's id.
    pub id: String,
    /// Fencing number, `counter.rank`.
    pub epoch: String,
    /// The node that acts, if one is known to.
    pub active: Option<String>,
    /// State of this node for the group.
    pub state: String,
    /// Whether the active node has a majority behind it and a standby in sync that could take over at once.
    pub protected: bool,
    /// Whether two nodes could be active at once (only without a witness).
    pub split_possible: bool,
    /// Whether role changes are paused.
    pub paused: bool,
    /// Who votes.
    #[serde(default)]
    pub voters: VotersView,
    /// Why the last role change happened, with its numbers.
    pub reason: String,
    /// When it happened, RFC 3339.
    pub since: String,
    /// Milliseconds of lease left on this node; absent when it is not active.
    pub lease_remaining_ms: Option<u64>,
    /// Last journal position on this node, `epoch:seq`.
    pub position: String,
    /// How many alarms of the group stand how.
    #[serde(default)]
    pub alarms: AlarmCounts,
    /// Every node of the group, in rank order.
    pub nodes: Vec<NodeView>,
    /// The address that moves with the role, as this node sees it.
    #[serde(default)]
    pub floating: Option<FloatingView>,
    /// What is being joined after a split.
    #[serde(default)]
    pub merge: Option<MergeProgress>,
    /// Records of nodes that wrote alone which this node took into its journal since start.
    #[serde(default)]
    pub merged_records: u64,
}

/// One node of a group.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its place in the order.
    pub rank: u8,
    /// Whether it only follows: it neither votes nor becomes active.
    #[serde(default)]
    pub observer: bool,
    /// Its state: `starting joining syncing standby candidate activating active draining isolated
    /// reconciling maintenance faulted`, or `unreachable`.
    pub state: String,
    /// Whether it answers on at least one path (this node itself: true).
    pub reachable: bool,
    /// Why not: whether its process ended or nothing is heard of its machine.
    #[serde(default)]
    pub unreachable: Option<String>,
    /// Journal records it lacks against the active node; absent if not known.
    pub lag_records: Option<u64>,
    /// Whether it holds everything the active node holds.
    pub in_sync: bool,
    /// Where its web interface listens, as configured.
    pub web: String,
    /// Its product version, if known.
    pub version: String,
    /// The protocol it and the answering node agreed on; of the answering node, the newest that it speaks.
    #[serde(default)]
    pub protocol: Option<u16>,
    /// Hash of the configuration that it runs, hexadecimal; empty if not known.
    #[serde(default)]
    pub config_hash: String,
    /// SHA-256 over what its `plugins.lock` says, hexadecimal; absent if it has none or is not known.
    #[serde(default)]
    pub plugins_lock: Option<String>,
    /// How the plugins that it trusts and runs compare with those of the answering node: `same`, `skew` for neighboring
    /// versions as in a rolling upgrade, or `differ`; absent if not known.
    #[serde(default)]
    pub plugins: Option<String>,
    /// What differs.
    #[serde(default)]
    pub plugins_differ: Vec<String>,
    /// Every path to it.
    pub paths: Vec<PathView>,
    /// Its health, 0 to 100: 100 less what it knows to be wrong; absent if not known.
    #[serde(default)]
    pub score: Option<u8>,
    /// What of its health it has proven: the score if everything that it cannot see were wrong. The role moves for
    /// better health only to a node that has proven it.
    #[serde(default)]
    pub proven: Option<u8>,
    /// What takes points from its health; only of the node that answers.
    #[serde(default)]
    pub health: Vec<HealthPartView>,
}

/// What takes points from a node's health.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct HealthPartView {
    /// The interface.
    pub interface: String,
    /// How many points are lost.
    pub points: u8,
    /// How many more may be lost, as the node cannot see that.
    pub unproven: u8,
    /// Why.
    pub cause: String,
}

/// One heartbeat path to a peer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct PathView {
    /// Address, `host:port`.
    pub address: String,
    /// Whether it is connected.
    pub up: bool,
    /// Smoothed round trip in microseconds; absent if not measured.
    pub rtt_us: Option<u64>,
    /// How far the peer's civil clock is ahead of this node's, in microseconds; absent if not measured.
    #[serde(default)]
    pub clock_offset_us: Option<i64>,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// What a test of one path found, on a connection of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct PathTestView {
    /// Address, `host:port`, or that of an etcd member, `http://host:port`.
    pub address: String,
    /// Whether a TCP connection is accepted there.
    pub reachable: bool,
    /// How long that took, in microseconds.
    pub connect_us: Option<u64>,
    /// Whether the other side proved to be that node, by mutual TLS; of an etcd member, whether it did by TLS.
    pub tls: bool,
    /// How long TCP, TLS and the exchange of versions took, in microseconds.
    pub handshake_us: Option<u64>,
    /// The other side's product version.
    pub version: String,
    /// The protocol both sides agreed on.
    #[serde(default)]
    pub protocol: Option<u16>,
    /// Hash of the other side's configuration.
    pub config_hash: String,
    /// Smoothed round trip on the connection that stands, in microseconds; of an etcd member, that of a read.
    pub rtt_us: Option<u64>,
    /// How far the other side's civil clock is ahead, in microseconds.
    pub clock_offset_us: Option<i64>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The witness.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct WitnessView {
    /// Address, `host:port`.
    pub address: String,
    /// `witness` or `etcd`.
    #[serde(default)]
    pub kind: String,
    /// Its version, if known.
    #[serde(default)]
    pub version: String,
    /// The protocol it and this node agreed on; absent for etcd and while not known.
    #[serde(default)]
    pub protocol: Option<u16>,
    /// Whether it is connected.
    pub up: bool,
    /// Smoothed round trip in microseconds; absent if not measured.
    #[serde(default)]
    pub rtt_us: Option<u64>,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// One configured interface on this node.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct InterfaceView {
    /// Its id.
    pub id: String,
    /// Its plugin.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// Its group.
    pub group: String,
    /// `stopped connecting ok degraded fault suppressed`.
    pub state: String,
    /// Why it is not `ok`.
    pub fault_cause: String,
    /// When it was last `ok`, RFC 3339, or `-`.
    pub last_ok: String,
    /// Its role on this node: `cold warm hot active`.
    pub role: String,
    /// The role it has while inactive.
    pub standby: String,
    /// How many items it has.
    pub items: u64,
    /// Values it published since start.
    pub values: u64,
    /// Writes it confirmed since start.
    pub writes: u64,
    /// Writes it refused or could not finish.
    pub writes_failed: u64,
    /// Outputs suppressed while inactive.
    pub suppressed: u64,
    /// Writes and publications stopped because they belonged to an older epoch or an ended lease.
    pub fenced: u64,
    /// Publications refused because the hub was busy; the plugin keeps the newest of each item.
    pub throttled: u64,
    /// How often the plugin faulted.
    pub faults: u64,
    /// Outputs refused because no majority stood behind this node.
    #[serde(default)]
    pub withheld: u64,
    /// Commands that went on though no standby had stored them.
    #[serde(default)]
    pub unprotected: u64,
    /// Batches of inputs that were acknowledged though no standby had stored them.
    #[serde(default)]
    pub unprotected_inputs: u64,
    /// Commands refused because no standby had stored them.
    #[serde(default)]
    pub unprotected_refused: u64,
    /// Batches of inputs that wait to be stored before their sender gets its acknowledgment.
    #[serde(default)]
    pub unaccepted: u64,
    /// What it is held back to while this node acts without a majority: `read-only: no majority` or
    /// `off: no majority`.
    #[serde(default)]
    pub restriction: Option<String>,
    /// In whose process its plugin runs: `inproc` or `isolated`.
    #[serde(default)]
    pub hosting: String,
    /// Events that it gives and takes.
    #[serde(default)]
    pub events: EventCounts,
    /// What its plugin counts, by the plugin's names.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
}

/// One item with its present value.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ItemView {
    /// `interface/path`.
    pub key: String,
    /// The value in its own type; bytes in hexadecimal.
    #[schema(value_type = Object)]
    pub value: serde_json::Value,
    /// The value's kind: `null bool i64 u64 f64 string bytes time json`.
    pub kind: String,
    /// `good`, `uncertain` or `bad`.
    pub quality: String,
    /// Why it is not good.
    pub cause: String,
    /// The device's time, RFC 3339, or `-`.
    pub source_time: String,
    /// The hub's time, RFC 3339, or `-`.
    pub server_time: String,
    /// `r`, `w` or `rw`.
    pub access: String,
    /// The type in the item list.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Engineering unit.
    pub unit: String,
    /// Description from the item list.
    pub description: String,
}

/// A part of the item list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ItemsPage {
    /// The items, in key order of configuration.
    pub items: Vec<ItemView>,
    /// How many match in all.
    pub total: u64,
    /// Pass this as `after` to get the next part; absent at the end.
    pub next: Option<String>,
}

/// What became of a command.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WriteView {
    /// The item.
    pub key: String,
    /// The command's number, `epoch:seq`.
    pub intent: String,
    /// `done`, or why not.
    pub outcome: String,
    /// Whether the device confirmed it.
    pub ok: bool,
}

/// A role change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleChangeView {
    /// When, RFC 3339.
    pub at: String,
    /// The group.
    pub group: String,
    /// The node.
    pub node: String,
    /// Fencing number, `counter.rank`.
    pub epoch: String,
    /// The state it left.
    pub from: String,
    /// The state it entered.
    pub to: String,
    /// Why, with numbers.
    pub reason: String,
}

/// A loaded plugin library.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct PluginView {
    /// Short name, as in `plugin = "modbus"`.
    pub name: String,
    /// Global id from the manifest.
    pub id: String,
    /// Version from the manifest.
    pub version: String,
    /// Vendor from the manifest.
    pub vendor: String,
    /// Contract version, `major.minor`.
    pub abi: String,
    /// SHA-256 of the library file.
    pub sha256: String,
    /// Why it was loaded: `trusted` by its publisher's signature, `allowed` unsigned by its hash, or `unlocked`, as there
    /// is no `plugins.lock` and nothing was checked.
    #[serde(default)]
    pub trust: String,
    /// Who signed it, if that was checked.
    #[serde(default)]
    pub publisher: Option<String>,
    /// Interfaces that use it.
    pub interfaces: Vec<String>,
    /// The whole manifest.
    #[schema(value_type = Object)]
    pub manifest: serde_json::Value,
    /// Set while the version before can come back.
    #[serde(default)]
    pub trial: Option<TrialView>,
}

/// A version of a plugin that is on trial.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct TrialView {
    /// The version before.
    pub from: String,
    /// SHA-256 of its library.
    pub from_sha256: String,
    /// Seconds until the new one is kept by itself.
    pub ends_in_s: u64,
}

/// What an upgrade of a plugin would bring.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct UpgradeView {
    /// The version that runs.
    pub from: String,
    /// The version that is where plugins are.
    pub to: String,
    /// Interfaces that would change.
    pub interfaces: Vec<String>,
}

/// A running or finished order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OperationView {
    /// Its id.
    pub id: u64,
    /// What was ordered.
    pub order: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// What came of it.
    pub detail: String,
}

/// Everything the metrics page shows; names follow `interfaces.md`.
#[derive(Debug, Clone, Default)]
pub struct MetricsView {
    /// Cluster view at the same moment.
    pub cluster: ClusterView,
    /// Interfaces at the same moment.
    pub interfaces: Vec<InterfaceView>,
    /// Items by `good`, `uncertain`, `bad`.
    pub items_by_quality: BTreeMap<&'static str, u64>,
    /// Takeovers of this node by reason kind.
    pub takeovers: BTreeMap<String, u64>,
    /// Duration of this node's last takeover from detection to open gates, in seconds.
    pub takeover_duration_seconds: Option<f64>,
    /// How long the node before was silent when this one was elected in its place, in seconds.
    pub detection_duration_seconds: Option<f64>,
    /// Records sent and received by replication, by direction `sent` / `received`.
    pub sync_records: BTreeMap<&'static str, u64>,
    /// Ring entries that the active node never covered.
    pub ring_orphans: u64,
    /// Commands by result `done refused in_doubt fenced superseded confirmed`, per interface.
    pub writes: BTreeMap<(String, &'static str), u64>,
    /// Writes fenced since start.
    pub fenced_writes: u64,
    /// Plugin panics and faults since start.
    pub plugin_panics: u64,
    /// Values dropped, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Messages of peers that were left out, by peer and cause: `unknown` to this version, or `unreadable`.
    pub peer_messages_dropped: BTreeMap<(String, &'static str), u64>,
    /// Age of values when the journal takes them: upper bound in seconds and how many were at most so old.
    pub value_latency: Vec<(f64, u64)>,
    /// Latest lateness of the control timer, seconds.
    pub control_lateness_seconds: f64,
    /// What the nodes have in common beside values.
    pub documents: DocumentCounts,
}

/// One frame of the value stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamFrame {
    /// Fencing number of the writer.
    pub epoch: String,
    /// Where to resume, on this node or on another.
    pub cursor: String,
    /// Values.
    pub items: Vec<StreamItem>,
}

/// One value in the stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamItem {
    /// `interface/path`.
    pub key: String,
    /// The value.
    #[schema(value_type = Object)]
    pub value: serde_json::Value,
    /// `good`, `uncertain` or `bad`.
    pub quality: String,
    /// The device's time, RFC 3339, or `-`.
    pub source_time: String,
}
