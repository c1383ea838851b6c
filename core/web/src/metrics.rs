//! The metrics page, `OpenMetrics` text. Labels are `node group interface plugin peer link` and closed word lists, never
//! item names, so that the number of series does not grow with the site.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use twinhub_runtime::view::MetricsView;

use crate::web::Doors;

mod clients;
mod deliveries;
mod historian;
mod history;
mod merges;

/// Type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page for one moment.
pub(crate) fn render(view: MetricsView, doors: &Doors) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { view, doors: doors.clone() }));
    let mut page = String::new();
    // Writing to a string cannot fail.
    text::encode(&mut page, &registry).ok();
    page
}

struct Page {
    view: MetricsView,
    doors: Doors,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

type Labels = Vec<(&'static str, String)>;

/// One family under construction.
struct Family<'a, V> {
    name: &'static str,
    help: &'static str,
    rows: Vec<(Labels, V)>,
    node: &'a str,
}

impl<'a, V> Family<'a, V> {
    fn new(node: &'a str, name: &'static str, help: &'static str) -> Family<'a, V> {
        Family { name, help, rows: Vec::new(), node }
    }

    fn row(&mut self, labels: &[(&'static str, &str)], value: V) {
        let node = std::iter::once(("node", self.node));
        let labels =
            node.chain(labels.iter().copied()).map(|(name, value)| (name, value.to_owned())).collect();
        self.rows.push((labels, value));
    }
}

impl<V: EncodeGaugeValue> Family<'_, V> {
    fn gauge(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (labels, value) in &self.rows {
            metric.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }
}

impl Family<'_, u64> {
    /// `_total` is added to the name.
    fn counter(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        for (labels, value) in &self.rows {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(value, None)?;
        }
        Ok(())
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.build(encoder)?;
        self.roles(encoder)?;
        self.floating(encoder)?;
        self.alarms(encoder)?;
        self.merge(encoder)?;
        self.peers(encoder)?;
        self.sync(encoder)?;
        self.history(encoder)?;
        self.historian(encoder)?;
        self.interfaces(encoder)?;
        self.deliveries(encoder)?;
        self.values(encoder)?;
        self.documents(encoder)?;
        self.clients(encoder)
    }
}

impl Page {
    fn node(&self) -> &str {
        &self.view.cluster.node
    }

    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut build = Family::new(self.node(), "twinhub_build_info", "Version of the product, always 1");
        let hash = &self.view.cluster.config_hash;
        build.row(&[("version", &self.view.cluster.version), ("config_hash", hash)], 1_i64);
        build.gauge(encoder)
    }

    fn floating(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut held = Family::new(
            node,
            "twinhub_floating_held",
            "Whether this node holds the group's floating address",
        );
        let mut conflicts = Family::new(
            node,
            "twinhub_floating_conflicts",
            "How often another host claimed the group's floating address",
        );
        for group in &self.view.cluster.groups {
            if let Some(floating) = &group.floating {
                let label = [("group", group.id.as_str())];
                held.row(&label, i64::from(floating.state == "held"));
                conflicts.row(&label, floating.conflicts);
            }
        }
        held.gauge(encoder)?;
        conflicts.counter(encoder)
    }

    fn alarms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Alarms by state; shelved and suppressed ones count only as that";
        let mut alarms = Family::new(self.node(), "twinhub_alarms", help);
        for group in &self.view.cluster.groups {
            for (state, count) in group.alarms.by_state() {
                let labels = [("group", group.id.as_str()), ("state", state)];
                alarms.row(&labels, i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        alarms.gauge(encoder)
    }

    fn roles(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut state =
            Family::new(node, "twinhub_node_state", "State of this node for a group: 1 for the one it is in");
        let mut epoch = Family::new(node, "twinhub_epoch", "Counter of the fencing number in force");
        let mut paused = Family::new(node, "twinhub_paused", "Whether role changes are paused");
        let mut protected = Family::new(
            node,
            "twinhub_protected",
            "Whether the active node has a majority and a standby in sync that could take over",
        );
        let mut score = Family::new(
            node,
            "twinhub_health_score",
            "Health of this node, 0 to 100: 100 less what is wrong",
        );
        let mut proven = Family::new(
            node,
            "twinhub_health_proven",
            "Health of this node that is proven: less what it cannot see, too",
        );
        let mut points =
            Family::new(node, "twinhub_health_lost_points", "What an interface takes from the health");
        let mut split =
            Family::new(node, "twinhub_split_possible", "Whether two nodes could be active at once");
        let mut voters = Family::new(node, "twinhub_voters", "How many voters count");
        let mut configured =
            Family::new(node, "twinhub_voters_configured", "How many voters the configuration names");
        let mut revision = Family::new(node, "twinhub_voters_revision", "Counts the changes of the voters");
        for group in &self.view.cluster.groups {
            let label = ("group", group.id.as_str());
            for (family, number) in [
                (&mut voters, group.voters.voting),
                (&mut configured, group.voters.configured),
                (&mut revision, group.voters.revision),
            ] {
                family.row(&[label], i64::try_from(number).unwrap_or(i64::MAX));
            }
            for word in NODE_STATES {
                state.row(&[label, ("state", word)], i64::from(group.state == word));
            }
            let counter = group.epoch.split('.').next().and_then(|counter| counter.parse().ok()).unwrap_or(0);
            epoch.row(&[label], counter);
            paused.row(&[label], i64::from(group.paused));
            protected.row(&[label], i64::from(group.protected));
            split.row(&[label], i64::from(group.split_possible));
            let Some(own) = group.nodes.iter().find(|other| other.name == node) else { continue };
            if let (Some(known), Some(least)) = (own.score, own.proven) {
                score.row(&[label], i64::from(known));
                proven.row(&[label], i64::from(least));
            }
            for part in &own.health {
                points.row(&[label, ("interface", &part.interface)], i64::from(part.points));
            }
        }
        state.gauge(encoder)?;
        Family::<i64>::gauge(epoch, encoder)?;
        paused.gauge(encoder)?;
        protected.gauge(encoder)?;
        score.gauge(encoder)?;
        proven.gauge(encoder)?;
        points.gauge(encoder)?;
        split.gauge(encoder)?;
        voters.gauge(encoder)?;
        configured.gauge(encoder)?;
        revision.gauge(encoder)?;
        let mut takeovers = Family::new(node, "twinhub_takeovers", "How often this node became active");
        for (reason, count) in &self.view.takeovers {
            takeovers.row(&[("reason", reason)], *count);
        }
        takeovers.counter(encoder)?;
        let mut duration = Family::new(
            node,
            "twinhub_takeover_duration_seconds",
            "The last takeover of this node, from detection to open gates",
        );
        if let Some(seconds) = self.view.takeover_duration_seconds {
            duration.row(&[], seconds);
        }
        duration.gauge(encoder)?;
        let mut detection = Family::new(
            node,
            "twinhub_detection_duration_seconds",
            "How long the node before was silent at this node's last takeover that was not handed over",
        );
        if let Some(seconds) = self.view.detection_duration_seconds {
            detection.row(&[], seconds);
        }
        detection.gauge(encoder)?;
        let mut lateness = Family::new(
            node,
            "twinhub_control_lateness_seconds",
            "How late the control timer was the last time",
        );
        lateness.row(&[], self.view.control_lateness_seconds);
        lateness.gauge(encoder)
    }

    fn peers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut up = Family::new(node, "twinhub_peer_up", "Whether a path to another node is connected");
        let mut rtt = Family::new(node, "twinhub_peer_rtt_seconds", "Smoothed round trip of a path");
        let mut offset = Family::new(
            node,
            "twinhub_clock_offset_seconds",
            "How far a peer's civil clock is ahead of this node's, as seen on a path",
        );
        let mut seen = std::collections::BTreeSet::new();
        for peer in self.view.cluster.groups.iter().flat_map(|group| &group.nodes) {
            if !seen.insert(&peer.name) {
                continue;
            }
            for path in &peer.paths {
                let labels = [("peer", peer.name.as_str()), ("link", path.address.as_str())];
                up.row(&labels, i64::from(path.up));
                if let Some(micros) = path.rtt_us {
                    rtt.row(&labels, seconds(micros));
                }
                if let Some(micros) = path.clock_offset_us {
                    offset.row(&labels, signed_seconds(micros));
                }
            }
        }
        if let Some(witness) = &self.view.cluster.witness {
            let labels = [("peer", "witness"), ("link", witness.address.as_str())];
            up.row(&labels, i64::from(witness.up));
            if let Some(micros) = witness.rtt_us {
                rtt.row(&labels, seconds(micros));
            }
        }
        up.gauge(encoder)?;
        rtt.gauge(encoder)?;
        offset.gauge(encoder)?;
        let mut dropped = Family::new(
            node,
            "twinhub_peer_messages_dropped",
            "Messages of a peer that were left out: unknown to this version, or unreadable",
        );
        for ((peer, cause), count) in &self.view.peer_messages_dropped {
            dropped.row(&[("peer", peer), ("cause", cause)], *count);
        }
        dropped.counter(encoder)
    }

    fn sync(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut lag = Family::new(
            node,
            "twinhub_sync_lag_records",
            "Journal records a node lacks against the active one",
        );
        for group in &self.view.cluster.groups {
            for peer in &group.nodes {
                if let Some(records) = peer.lag_records {
                    let records = i64::try_from(records).unwrap_or(i64::MAX);
                    lag.row(&[("group", &group.id), ("peer", &peer.name), ("part", "journal")], records);
                }
            }
        }
        if let Some(history) = &self.view.cluster.history {
            let records = i64::try_from(history.lag_records).unwrap_or(i64::MAX);
            lag.row(&[("peer", node), ("part", "history")], records);
            let records = i64::try_from(history.gap_records).unwrap_or(i64::MAX);
            lag.row(&[("peer", node), ("part", "history_gaps")], records);
        }
        lag.gauge(encoder)?;
        let mut records = Family::new(node, "twinhub_sync_records", "Records replicated");
        for (direction, count) in &self.view.sync_records {
            records.row(&[("part", "journal"), ("direction", direction)], *count);
        }
        if let Some(history) = &self.view.cluster.history {
            records.row(&[("part", "history"), ("direction", "received")], history.copied_rows);
        }
        records.counter(encoder)?;
        let mut orphans = Family::new(
            node,
            "twinhub_ring_orphans",
            "Values in the receive ring that the active node never covered",
        );
        orphans.row(&[], self.view.ring_orphans);
        orphans.counter(encoder)
    }

    fn interfaces(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut state =
            Family::new(node, "twinhub_interface_state", "State of an interface: 1 for the one it is in");
        let mut suppressed =
            Family::new(node, "twinhub_interface_suppressed", "Outputs suppressed while inactive");
        let mut throttled =
            Family::new(node, "twinhub_interface_throttled", "Publications refused because the hub was busy");
        let mut faults = Family::new(node, "twinhub_interface_faults", "How often a plugin instance faulted");
        let mut unprotected = Family::new(
            node,
            "twinhub_interface_unprotected",
            "Commands and batches of acknowledged inputs that no standby had stored in time, by what became of them",
        );
        let mut unaccepted = Family::new(
            node,
            "twinhub_interface_unaccepted_batches",
            "Batches of inputs that wait to be stored before they are acknowledged",
        );
        for interface in &self.view.interfaces {
            let labels = [
                ("group", interface.group.as_str()),
                ("interface", interface.id.as_str()),
                ("plugin", interface.plugin.as_str()),
            ];
            for word in INTERFACE_STATES {
                let [group, id, plugin] = labels;
                state.row(&[group, id, plugin, ("state", word)], i64::from(interface.state == word));
            }
            suppressed.row(&labels, interface.suppressed);
            throttled.row(&labels, interface.throttled);
            faults.row(&labels, interface.faults);
            let [group, id, plugin] = labels;
            for (kind, outcome, count) in [
                ("command", "proceeded", interface.unprotected),
                ("command", "refused", interface.unprotected_refused),
                ("input", "proceeded", interface.unprotected_inputs),
            ] {
                unprotected.row(&[group, id, plugin, ("kind", kind), ("outcome", outcome)], count);
            }
            unaccepted.row(&labels, i64::try_from(interface.unaccepted).unwrap_or(i64::MAX));
        }
        state.gauge(encoder)?;
        suppressed.counter(encoder)?;
        throttled.counter(encoder)?;
        faults.counter(encoder)?;
        unprotected.counter(encoder)?;
        unaccepted.gauge(encoder)?;
        let mut counts =
            Family::new(node, "twinhub_plugin_counts", "What plugins count, by the names they chose");
        for interface in &self.view.interfaces {
            for (name, count) in &interface.counts {
                counts.row(&[("interface", &interface.id), ("name", name)], *count);
            }
        }
        counts.counter(encoder)?;
        let mut writes = Family::new(node, "twinhub_interface_writes", "Commands by their result");
        for ((interface, result), count) in &self.view.writes {
            writes.row(&[("interface", interface), ("result", result)], *count);
        }
        writes.counter(encoder)?;
        let mut fenced = Family::new(
            node,
            "twinhub_fenced_writes",
            "Writes stopped because their epoch or lease was over",
        );
        fenced.row(&[], self.view.fenced_writes);
        fenced.counter(encoder)?;
        let mut panics = Family::new(node, "twinhub_plugin_panics", "Panics and faults of plugins");
        panics.row(&[], self.view.plugin_panics);
        panics.counter(encoder)
    }

    fn values(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut items = Family::new(node, "twinhub_items", "Items by quality");
        for quality in ["good", "uncertain", "bad"] {
            let count = self.view.items_by_quality.get(quality).copied().unwrap_or(0);
            items.row(&[("quality", quality)], i64::try_from(count).unwrap_or(i64::MAX));
        }
        items.gauge(encoder)?;
        let mut dropped = Family::new(node, "twinhub_values_dropped", "Values dropped, by cause");
        for (cause, count) in &self.view.dropped {
            dropped.row(&[("cause", cause)], *count);
        }
        dropped.counter(encoder)?;
        self.latency(encoder)
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some((_, count)) = self.view.value_latency.last() else { return Ok(()) };
        let mut before = 0;
        let mut sum = 0.0;
        let mut highest = 0.0;
        let mut buckets = Vec::new();
        for (bound, cumulative) in &self.view.value_latency {
            let own = cumulative.saturating_sub(before);
            before = *cumulative;
            if bound.is_finite() {
                highest = *bound;
            }
            sum += highest * as_float(own);
            buckets.push((*bound, own));
        }
        let mut metric = encoder.encode_descriptor(
            "twinhub_value_latency_seconds",
            "Age of values when the journal takes them; the sum counts each value with its bucket's upper bound",
            None,
            MetricType::Histogram,
        )?;
        let labels: Labels = vec![("node", self.node().to_owned())];
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, *count, &buckets, None)
    }
}

fn seconds(micros: u64) -> f64 {
    as_float(micros) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
fn signed_seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts and microseconds far below 2^52")]
fn as_float(number: u64) -> f64 {
    number as f64
}

const NODE_STATES: [&str; 12] = [
    "starting",
    "joining",
    "syncing",
    "standby",
    "candidate",
    "activating",
    "active",
    "draining",
    "isolated",
    "reconciling",
    "maintenance",
    "faulted",
];
const INTERFACE_STATES: [&str; 6] = ["stopped", "connecting", "ok", "degraded", "fault", "suppressed"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use twinhub_runtime::view::{
        ClusterView, DocumentCounts, FloatingView, GroupView, HistoryView, InterfaceView, NodeView, PathView,
    };

    use super::*;

    fn view() -> MetricsView {
        let path = PathView {
            address: "10.0.0.12:7620".into(),
            up: true,
            rtt_us: Some(250),
            clock_offset_us: Some(-1_500),
            error: None,
        };
        let peer = NodeView {
            name: "backup".into(),
            paths: vec![path],
            lag_records: Some(3),
            ..NodeView::default()
        };
        let group = GroupView {
            id: "site".into(),
            epoch: "17.0".into(),
            state: "active".into(),
            nodes: vec![peer],
            floating: Some(FloatingView { state: "held".into(), conflicts: 2, ..FloatingView::default() }),
            ..GroupView::default()
        };
        let interface = InterfaceView {
            id: "plc1".into(),
            plugin: "modbus".into(),
            group: "site".into(),
            state: "ok".into(),
            suppressed: 4,
            counts: [("outbox.fenced".to_owned(), 3)].into(),
            ..InterfaceView::default()
        };
        MetricsView {
            cluster: ClusterView {
                node: "main".into(),
                version: "1.2.3".into(),
                groups: vec![group],
                history: Some(HistoryView { rows_taken: 12, lag_records: 6, ..HistoryView::default() }),
                ..ClusterView::default()
            },
            interfaces: vec![interface],
            items_by_quality: BTreeMap::from([("good", 9)]),
            takeovers: BTreeMap::from([("peer_silent".to_owned(), 2)]),
            takeover_duration_seconds: Some(0.31),
            detection_duration_seconds: Some(1.25),
            writes: BTreeMap::from([(("plc1".to_owned(), "done"), 5)]),
            peer_messages_dropped: BTreeMap::from([(("backup".to_owned(), "unknown"), 7)]),
            documents: DocumentCounts { sessions: 3, ..DocumentCounts::default() },
            value_latency: vec![(0.001, 3), (0.01, 5), (f64::INFINITY, 6)],
            ..MetricsView::default()
        }
    }

    #[test]
    fn every_promised_name_is_on_the_page() {
        let page = render(view(), &Doors::default());
        for line in [
            "twinhub_node_state{node=\"main\",group=\"site\",state=\"active\"} 1",
            "twinhub_node_state{node=\"main\",group=\"site\",state=\"standby\"} 0",
            "twinhub_epoch{node=\"main\",group=\"site\"} 17",
            "twinhub_floating_held{node=\"main\",group=\"site\"} 1",
            "twinhub_floating_conflicts_total{node=\"main\",group=\"site\"} 2",
            "twinhub_takeovers_total{node=\"main\",reason=\"peer_silent\"} 2",
            "twinhub_takeover_duration_seconds{node=\"main\"} 0.31",
            "twinhub_detection_duration_seconds{node=\"main\"} 1.25",
            "twinhub_clock_offset_seconds{node=\"main\",peer=\"backup\",link=\"10.0.0.12:7620\"} -0.0015",
            "twinhub_peer_up{node=\"main\",peer=\"backup\",link=\"10.0.0.12:7620\"} 1",
            "twinhub_peer_messages_dropped_total{node=\"main\",peer=\"backup\",cause=\"unknown\"} 7",
            "twinhub_peer_rtt_seconds{node=\"main\",peer=\"backup\",link=\"10.0.0.12:7620\"} 0.00025",
            "twinhub_sync_lag_records{node=\"main\",group=\"site\",peer=\"backup\",part=\"journal\"} 3",
            "twinhub_sync_lag_records{node=\"main\",peer=\"main\",part=\"history\"} 6",
            "twinhub_sync_lag_records{node=\"main\",peer=\"main\",part=\"history_gaps\"} 0",
            "twinhub_sync_records_total{node=\"main\",part=\"history\",direction=\"received\"} 0",
            "twinhub_history_rows_total{node=\"main\"} 12",
            "twinhub_history_lost_records_total{node=\"main\"} 0",
            "twinhub_interface_state{node=\"main\",group=\"site\",interface=\"plc1\",plugin=\"modbus\",state=\"ok\"} 1",
            "twinhub_plugin_counts_total{node=\"main\",interface=\"plc1\",name=\"outbox.fenced\"} 3",
            "twinhub_interface_suppressed_total{node=\"main\",group=\"site\",interface=\"plc1\",plugin=\"modbus\"} 4",
            "twinhub_interface_events_total{node=\"main\",group=\"site\",interface=\"plc1\",plugin=\"modbus\",result=\"given\"} 0",
            "twinhub_interface_writes_total{node=\"main\",interface=\"plc1\",result=\"done\"} 5",
            "twinhub_items{node=\"main\",quality=\"good\"} 9",
            "twinhub_value_latency_seconds_bucket{le=\"0.01\",node=\"main\"} 5",
            "twinhub_value_latency_seconds_bucket{le=\"+Inf\",node=\"main\"} 6",
            "twinhub_value_latency_seconds_count{node=\"main\"} 6",
            "twinhub_plugin_panics_total{node=\"main\"} 0",
            "twinhub_fenced_writes_total{node=\"main\"} 0",
            "twinhub_ring_orphans_total{node=\"main\"} 0",
            "twinhub_web_connections{node=\"main\"} 0",
            "twinhub_logins_total{node=\"main\",result=\"limited\"} 0",
            "twinhub_sessions{node=\"main\"} 3",
            "twinhub_web_dropped_total{node=\"main\",cause=\"reader\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let mut view = view();
        view.cluster.node = "a\"} 1\nb\\".to_owned();
        let page = render(view, &Doors::default());
        assert!(page.contains("node=\"a\\\"} 1\\nb\\\\\""), "{page}");
    }
}
