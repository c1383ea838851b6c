//! A running node as the web interface and the command line see it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use twinhub_config::{Site, Witness};
use twinhub_model::{ItemId, NodeRank};
use twinhub_redundancy::{NodeState, VoterId};

use crate::clock;
use crate::control::{ControlSender, Told};
use crate::data::DataThread;
use crate::documents::DocumentStore;
use crate::error::CommandError;
use crate::historian::HistorianThread;
use crate::history::{HistoryThread, Shelf};
use crate::inbox::{Command, Inbox, Job};
use crate::instance::Port;
use crate::json::{from_json, to_json};
use crate::node::Staging;
use crate::path_test::PathTests;
use crate::shared::{GroupStatus, LATENCY_BOUNDS, Shared};
use crate::stream::{Cursor, Feed, Stream, StreamFilter};
use crate::table::ItemTable;
use crate::view::{InterfaceView, ItemView, ItemsPage, MetricsView, PathTestView, RoleChangeView, WriteView};
use crate::words;

/// The most items of one page.
const PAGE_MAX: usize = 10_000;
/// An API command is answered within its interface's time-out plus this.
const COMMAND_GRACE: Duration = Duration::from_secs(4);
/// Files of a configuration are written in this time, unless the disk takes nothing.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// A graceful stop may take this long.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);

mod accounts;
mod alarms;
mod backup;
mod cluster;
mod configuration;
mod deliveries;
mod events;
mod join;
mod merges;
mod orders;
mod plugins;
mod questions;
mod reload;
mod trend;

pub use accounts::{Author, Identity, UserChange};
pub use configuration::Draft;
pub use events::{EventsNewest, EventsNext};
pub(crate) use join::Places;
pub use orders::Order;
pub use plugins::{TRIAL, TRIAL_MAX, TrialEnd};
pub use trend::{TrendCursor, TrendError, TrendFile, TrendQuery};

/// What must be waited for at the end.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) data: DataThread,
    pub(crate) control: std::thread::JoinHandle<()>,
    pub(crate) engines: Vec<std::thread::JoinHandle<()>>,
    pub(crate) history: HistoryThread,
    pub(crate) historian: Option<HistorianThread>,
}

/// A running node. Clones are the same node.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    table: Arc<ItemTable>,
    ports: Vec<(String, Arc<Port>)>,
    inboxes: BTreeMap<String, Arc<Inbox>>,
    documents: DocumentStore,
    places: Places,
    restart: Notify,
    control: ControlSender,
    staging: Staging,
    path_tests: PathTests,
    shelf: Arc<Shelf>,
    threads: Mutex<Option<Threads>>,
}

impl Handle {
    #[expect(clippy::too_many_arguments, reason = "each part is made by the start of the node, once")]
    pub(crate) fn new(
        shared: Arc<Shared>,
        table: Arc<ItemTable>,
        ports: Vec<(String, Arc<Port>)>,
        inboxes: BTreeMap<String, Arc<Inbox>>,
        documents: DocumentStore,
        places: Places,
        control: ControlSender,
        staging: Staging,
        path_tests: PathTests,
        shelf: Arc<Shelf>,
        threads: Threads,
    ) -> Handle {
        let threads = Mutex::new(Some(threads));
        Handle(Arc::new(Inner {
            shared,
            table,
            ports,
            inboxes,
            documents,
            places,
            restart: Notify::new(),
            control,
            staging,
            path_tests,
            shelf,
            threads,
        }))
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        &self.0.shared.node
    }

    /// The configuration in force.
    pub fn site(&self) -> &Site {
        &self.0.shared.site
    }

    /// Whether the node takes part: plugins and journal are loaded and it knows who is active.
    pub fn is_ready(&self) -> bool {
        self.0.shared.ready.load(Ordering::Acquire)
            && self.group_states().all(|status| {
                !matches!(
                    status.state,
                    None | Some(NodeState::Starting | NodeState::Joining | NodeState::Faulted)
                )
            })
    }

    /// Whether this node acts for at least one group.
    pub fn is_active(&self) -> bool {
        self.group_states().any(|status| status.state == Some(NodeState::Active))
    }

    /// Whether this node could take over every group it does not act for.
    pub fn is_standby(&self) -> bool {
        !self.is_active() && self.group_states().all(|status| status.state == Some(NodeState::Standby))
    }

    fn group_states(&self) -> impl Iterator<Item = GroupStatus> + '_ {
        self.0.inboxes.keys().map(|group| self.0.shared.group(group))
    }

    /// Every interface on this node.
    pub fn interfaces(&self) -> Vec<InterfaceView> {
        self.0
            .ports
            .iter()
            .map(|(group, port)| {
                let (state, cause, last_ok) = port.status();
                let counters = &port.counters;
                let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
                InterfaceView {
                    id: port.setup.id.clone(),
                    plugin: port.setup.plugin.clone(),
                    plugin_version: port
                        .code()
                        .map(|code| code.library.manifest().version.clone())
                        .unwrap_or_default(),
                    group: group.clone(),
                    state: words::interface_state(state).to_owned(),
                    fault_cause: cause,
                    last_ok: last_ok.to_string(),
                    role: words::role_name(port.role()).to_owned(),
                    standby: words::role_name(port.setup.standby_role).to_owned(),
                    items: port.setup.items.len() as u64,
                    values: count(&counters.values),
                    writes: count(&counters.writes),
                    writes_failed: count(&counters.writes_failed),
                    suppressed: count(&counters.suppressed),
                    fenced: count(&counters.fenced),
                    throttled: count(&counters.throttled),
                    faults: count(&counters.faults),
                    withheld: count(&counters.withheld),
                    unprotected: count(&counters.unprotected),
                    unprotected_inputs: count(&counters.unprotected_inputs),
                    unprotected_refused: count(&counters.unprotected_refused),
                    unaccepted: port.accepting.waiting(),
                    restriction: port.restriction().map(str::to_owned),
                    hosting: port.hosting().to_owned(),
                    events: deliveries::counts(port),
                    counts: port.tallies.all(),
                }
            })
            .collect()
    }

    /// One item.
    pub fn item(&self, key: &str) -> Option<ItemView> {
        self.0.table.find(key).map(|item| self.item_view(item))
    }

    fn item_view(&self, item: ItemId) -> ItemView {
        let table = &self.0.table;
        let sample = table.read(item);
        let meta = table.meta(item);
        ItemView {
            key: table.key(item).to_owned(),
            value: to_json(&sample.value),
            kind: sample.value.kind().to_owned(),
            quality: sample.quality.word().to_owned(),
            cause: sample.quality.cause(),
            source_time: sample.source.to_string(),
            server_time: sample.server.to_string(),
            access: meta.access.to_owned(),
            type_name: meta.type_name,
            unit: meta.unit,
            description: meta.description,
        }
    }

    /// Items whose key begins with `prefix` and contains `query`, after the item `after`.
    pub fn items(&self, prefix: &str, query: &str, after: Option<&str>, limit: usize) -> ItemsPage {
        let table = &self.0.table;
        let query = query.to_lowercase();
        let start = after.and_then(|key| table.find(key)).map_or(0, |item| item.0 + 1);
        let limit = limit.clamp(1, PAGE_MAX);
        let mut page = ItemsPage::default();
        for item in table.ids() {
            let key = table.key(item);
            if !key.starts_with(prefix) || !(query.is_empty() || key.to_lowercase().contains(&query)) {
                continue;
            }
            page.total += 1;
            if item.0 < start {
                continue;
            }
            if page.items.len() < limit {
                page.items.push(self.item_view(item));
            } else if page.next.is_none() {
                page.next = page.items.last().map(|item| item.key.clone());
            }
        }
        page
    }

    /// Writes an item through its interface and waits for the device's answer.
    ///
    /// # Errors
    /// [`CommandError`] if it was not written, or if it is not known whether it was.
    pub async fn set(
        &self,
        key: &str,
        value: serde_json::Value,
        origin: &str,
    ) -> Result<WriteView, CommandError> {
        let table = &self.0.table;
        let item = table.find(key).ok_or_else(|| CommandError::UnknownItem { key: key.to_owned() })?;
        let meta = table.meta(item);
        if !meta.access.contains('w') {
            return Err(CommandError::ReadOnly { key: key.to_owned() });
        }
        let value = from_json(&value, &meta.type_name)?;
        let (group, port) = self
            .0
            .ports
            .iter()
            .find(|(_, port)| port.item_range().contains(&item.0))
            .ok_or_else(|| CommandError::UnknownItem { key: key.to_owned() })?;
        let inbox = self.0.inboxes.get(group).ok_or(CommandError::Stopping)?;
        if self.0.shared.group(group).active != Some(self.0.shared.rank) {
            return Err(self.0.shared.not_active(group));
        }
        let (reply, answer) = oneshot::channel();
        inbox
            .push_command(Command { item, value, origin: origin.to_owned(), reply })
            .map_err(|_| CommandError::Busy)?;
        let patience = port.setup.write_timeout + COMMAND_GRACE;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CommandError::Stopping),
            Err(_) => Err(CommandError::Timeout { seconds: patience.as_secs() }),
        }
    }

    /// Tries every path to another node, or to `witness`, on connections of their own.
    pub async fn test_paths(&self, name: &str) -> Vec<PathTestView> {
        let mut tests = self.0.path_tests.run(name).await;
        let shared = &self.0.shared;
        let voter = shared.site.nodes.iter().find(|node| node.name == name);
        let voter = voter.map_or(VoterId::Witness, |node| VoterId::Node(NodeRank(node.rank)));
        if voter == VoterId::Witness && matches!(shared.site.cluster.witness, Some(Witness::Etcd(_))) {
            // One line stands, to one of the members.
            return tests;
        }
        for (test, standing) in tests.iter_mut().zip(shared.paths(voter)) {
            test.rtt_us = standing.rtt_us;
            test.clock_offset_us = standing.clock_offset_us;
        }
        tests
    }

    /// The last role changes of this node, and of others while they were alone during a split, oldest first.
    pub fn history(&self, limit: usize) -> Vec<RoleChangeView> {
        self.0.shared.roles.newest(limit)
    }

    /// Everything for the metrics page.
    pub fn metrics(&self) -> MetricsView {
        let mut view =
            MetricsView { cluster: self.cluster(), interfaces: self.interfaces(), ..MetricsView::default() };
        for item in self.0.table.ids() {
            *view.items_by_quality.entry(self.0.table.quality(item).word()).or_default() += 1;
        }
        let mut latency = vec![0_u64; LATENCY_BOUNDS.len() + 1];
        for status in self.group_states() {
            for (reason, count) in &status.takeovers {
                *view.takeovers.entry(reason.clone()).or_default() += count;
            }
            view.takeover_duration_seconds = status.takeover_seconds.or(view.takeover_duration_seconds);
            view.detection_duration_seconds = status.detection_seconds.or(view.detection_duration_seconds);
            let counters = &status.counters;
            *view.sync_records.entry("sent").or_default() += counters.records_sent;
            *view.sync_records.entry("received").or_default() += counters.records_received;
            view.ring_orphans += counters.orphans;
            for ((interface, result), count) in &counters.outcomes {
                *view.writes.entry((interface.clone(), result)).or_default() += count;
            }
            for (cause, count) in [
                ("command_superseded", counters.superseded),
                ("command_overflow", counters.dropped_commands),
                ("stream_refused", counters.dropped_stream_values),
                ("stream_gap", counters.stream_gaps),
                ("not_journaled", counters.unjournaled),
                ("already_shown", counters.covered),
            ] {
                *view.dropped.entry(cause).or_default() += count;
            }
            for (bucket, count) in latency.iter_mut().zip(counters.latency) {
                *bucket += count;
            }
        }
        let mut total = 0;
        #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
        for (bound_us, count) in LATENCY_BOUNDS.iter().zip(&latency) {
            total += count;
            view.value_latency.push((*bound_us as f64 / 1e6, total));
        }
        total += latency.last().copied().unwrap_or(0);
        view.value_latency.push((f64::INFINITY, total));
        view.fenced_writes = view.interfaces.iter().map(|interface| interface.fenced).sum();
        let withheld = view.interfaces.iter().map(|interface| interface.withheld).sum();
        view.dropped.insert("no_majority", withheld);
        view.peer_messages_dropped = self.0.shared.dropped_messages();
        view.plugin_panics = self.0.shared.panics.load(Ordering::Relaxed);
        view.documents = self.document_counts();
        view.control_lateness_seconds =
            Duration::from_nanos(self.0.shared.lateness_ns.load(Ordering::Relaxed)).as_secs_f64();
        view
    }

    /// Follows values, from a cursor of this or another node, or from now with a snapshot first.
    pub fn subscribe(&self, filter: StreamFilter, from: Option<Cursor>) -> Stream {
        let groups = self.0.inboxes.iter().map(|(group, inbox)| {
            let ports = self.0.ports.iter().filter(|(of, _)| of == group);
            let items = ports.map(|(_, port)| port.item_range()).collect();
            (group.clone(), Feed { inbox: Arc::clone(inbox), items })
        });
        let (shared, table) = (Arc::clone(&self.0.shared), Arc::clone(&self.0.table));
        Stream::new(shared, table, groups.collect(), filter, from)
    }

    /// Reads a cursor that a frame of this or another node showed; none if it is none.
    pub fn cursor(&self, text: &str) -> Option<Cursor> {
        let groups: Vec<&str> = self.0.inboxes.keys().map(String::as_str).collect();
        Cursor::parse(text, &groups)
    }

    /// Asks whoever runs this node to start it again, once the files of the configuration in force are written.
    pub async fn restart(&self, by: &str) {
        let begun = clock::now();
        while !self.0.documents.is_written() && clock::now().since(begun) < WRITE_TIME_MAX {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tracing::info!(by, "a restart of this node is ordered");
        self.0.restart.notify_one();
    }

    /// Ends when a restart is ordered.
    pub async fn restart_ordered(&self) {
        self.0.restart.notified().await;
    }

    /// Stops in order: hands the role over if another node can take it, then ends every thread.
    pub async fn shutdown(&self) {
        if self.0.shared.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.0);
        inner.control.tell(Told::Shutdown);
        let ended = tokio::task::spawn_blocking(move || {
            let threads = inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(threads) = threads else { return };
            let begun = clock::now();
            while !threads.control.is_finished() && clock::now().since(begun) < SHUTDOWN_MAX {
                std::thread::sleep(Duration::from_millis(5));
            }
            if let Some(historian) = threads.historian {
                historian.stop();
            }
            threads.history.stop();
            for inbox in inner.inboxes.values() {
                let (done, ended) = std::sync::mpsc::sync_channel(1);
                inbox.push(Job::Stop { done });
                // An engine that hangs in a plugin is left to the process's end.
                ended.recv_timeout(SHUTDOWN_MAX).ok();
            }
            for engine in threads.engines {
                if engine.is_finished() {
                    // A panic was reported when it happened.
                    drop(engine.join());
                }
            }
            drop(threads.data);
        });
        // The task itself cannot be canceled.
        drop(ended.await);
    }
}
