//! What the threads of a node show each other and the outside: views, logs, operations.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;
use twinhub_alarms::Rule;
use twinhub_config::Site;
use twinhub_model::{Epoch, Event, Moment, NodeRank, Position, Sample};
use twinhub_redundancy::{Health, Members, NodeState, VoterId};
use twinhub_trust::{Code, LibraryCode};
use twinhub_wire::Measured;

use crate::clock;
use crate::engine::upgrade::Trial;
use crate::error::CommandError;
use crate::event_log::EventLog;
use crate::operations::Operations;
use crate::peer::{Loss, LossCause, PeerInfo};
use crate::role_history::RoleHistory;
use crate::view::{AlarmCounts, FloatingView, MergeProgress, OperationView};
use crate::vouching::Vouched;
use crate::words;

/// Upper bounds of the latency histogram, in microseconds.
pub(crate) const LATENCY_BOUNDS: [i64; 8] = [50, 100, 250, 500, 1_000, 5_000, 20_000, 100_000];

/// Counters that only the engine changes; copied into the shared ones.
#[derive(Debug, Default, Clone)]
pub(crate) struct EngineCounters {
    pub(crate) superseded: u64,
    pub(crate) dropped_commands: u64,
    pub(crate) dropped_stream_values: u64,
    pub(crate) stream_gaps: u64,
    pub(crate) unjournaled: u64,
    pub(crate) covered: u64,
    pub(crate) orphans: u64,
    pub(crate) records_sent: u64,
    pub(crate) records_received: u64,
    pub(crate) merged_records: u64,
    pub(crate) outcomes: HashMap<(String, &'static str), u64>,
    pub(crate) latency: [u64; LATENCY_BOUNDS.len() + 1],
}

/// Frames a slow live reader may be behind before it reads from the journal again.
const STREAM_QUEUE: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) site: Arc<Site>,
    pub(crate) node: String,
    pub(crate) rank: NodeRank,
    /// The newest protocol this process speaks.
    pub(crate) protocol: u16,
    /// The code of plugins that this process runs.
    code: RwLock<Arc<Code>>,
    pub(crate) ready: AtomicBool,
    pub(crate) stopping: AtomicBool,
    pub(crate) panics: AtomicU64,
    pub(crate) lateness_ns: AtomicU64,
    state: Mutex<State>,
    /// What happened.
    pub(crate) events: EventLog,
    /// Requests that other nodes vouch for.
    pub(crate) vouched: Vouched,
    live: broadcast::Sender<LiveFrame>,
    /// Role changes.
    pub(crate) roles: RoleHistory,
    /// Of the configuration that this node runs.
    config_hash: Arc<AtomicU64>,
    changeable: Mutex<Changeable>,
}

/// What of a configuration takes effect without a restart, as it is in effect.
#[derive(Debug, Clone)]
struct Changeable {
    session: Duration,
    alarms: Arc<[Rule]>,
}

/// New values, as the journal took them.
#[derive(Debug, Clone)]
pub(crate) struct LiveFrame {
    pub(crate) group: Arc<str>,
    pub(crate) position: Position,
    pub(crate) samples: Arc<[Sample]>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<String, GroupStatus>,
    peers: BTreeMap<(VoterId, u8), PathStatus>,
    infos: BTreeMap<VoterId, PeerInfo>,
    dropped: BTreeMap<(VoterId, DropCause), u64>,
    operations: Operations,
}

/// Why a message of a peer was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DropCause {
    /// Only the peer's newer version knows it.
    Unknown,
    /// It cannot be read.
    Unreadable,
    /// Too many wait.
    Full,
}

impl DropCause {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            DropCause::Unknown => "unknown",
            DropCause::Unreadable => "unreadable",
            DropCause::Full => "full",
        }
    }
}

/// What the control thread last said of a group, and its engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupStatus {
    pub(crate) state: Option<NodeState>,
    pub(crate) epoch: Epoch,
    pub(crate) active: Option<NodeRank>,
    pub(crate) protected: bool,
    pub(crate) split_possible: bool,
    pub(crate) voters: Voters,
    pub(crate) paused: bool,
    pub(crate) reason: String,
    /// Why this node was given the role that it holds.
    pub(crate) won_by: String,
    pub(crate) since: String,
    pub(crate) lease_end: Option<Moment>,
    pub(crate) peers: BTreeMap<NodeRank, PeerStatus>,
    /// Versions of plugins that may still be taken back.
    pub(crate) trials: Vec<Trial>,
    /// This node's health.
    pub(crate) health: Option<Health>,
    pub(crate) position: Position,
    pub(crate) counters: EngineCounters,
    pub(crate) lags: BTreeMap<NodeRank, (u64, bool)>,
    pub(crate) takeovers: BTreeMap<String, u64>,
    pub(crate) activating_since: Option<Moment>,
    pub(crate) takeover_seconds: Option<f64>,
    pub(crate) detection_seconds: Option<f64>,
    /// When the node that is or was active was last heard, unless it is this one.
    pub(crate) active_heard: Option<Moment>,
    pub(crate) alarms: AlarmCounts,
    /// What is being joined after a split.
    pub(crate) merge: Option<MergeProgress>,
    /// The address that moves with the role.
    pub(crate) floating: Option<FloatingView>,
}

/// What another node last said of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PeerStatus {
    pub(crate) state: Option<NodeState>,
    pub(crate) reachable: bool,
    pub(crate) position: Position,
    pub(crate) score: Option<u8>,
    pub(crate) proven: Option<u8>,
}

/// Who votes in a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Voters {
    pub(crate) voting: usize,
    pub(crate) needed: usize,
    pub(crate) configured: usize,
    pub(crate) members: Members,
    /// What each absent voter waits for, where that is known.
    pub(crate) waits_for: BTreeMap<VoterId, String>,
}

/// One path to a peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathStatus {
    pub(crate) address: String,
    pub(crate) up: bool,
    pub(crate) loss: Option<Loss>,
    pub(crate) rtt_us: Option<u64>,
    pub(crate) clock_offset_us: Option<i64>,
}

impl PathStatus {
    /// Takes a measurement in: the round trip is smoothed as TCP does it (RFC 6298, section 2.3), the offset is
    /// that of the latest probe which was not slower than usual, since a slow one knows it less well.
    pub(crate) fn measured(&mut self, measured: Measured) {
        let took = u64::try_from(measured.round_trip.as_micros()).unwrap_or(u64::MAX);
        let usual = self.rtt_us;
        self.rtt_us = Some(usual.map_or(took, |usual| usual.saturating_mul(7).saturating_add(took) / 8));
        if self.clock_offset_us.is_none() || usual.is_none_or(|usual| took <= usual.saturating_mul(2)) {
            self.clock_offset_us = Some(measured.clock_offset_ns / 1_000);
        }
    }

    /// The path does not stand any more, or still not.
    pub(crate) fn lost(&mut self, loss: Loss) {
        self.up = false;
        self.rtt_us = None;
        self.clock_offset_us = None;
        self.loss = Some(loss);
    }
}

impl Shared {
    pub(crate) fn new(
        site: Arc<Site>,
        node: String,
        rank: NodeRank,
        history_file: PathBuf,
        protocol: u16,
        code: Code,
        events: EventLog,
    ) -> Shared {
        let roles = RoleHistory::open(&node, history_file);
        let config_hash = Arc::new(site.hash.into());
        let changeable =
            Mutex::new(Changeable { session: site.web.session, alarms: site.alarms.clone().into() });
        Shared {
            site,
            node,
            rank,
            protocol,
            code: RwLock::new(Arc::new(code)),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            lateness_ns: AtomicU64::new(0),
            state: Mutex::default(),
            events,
            vouched: Vouched::default(),
            live: broadcast::Sender::new(STREAM_QUEUE),
            roles,
            config_hash,
            changeable,
        }
    }

    /// The hash of the configuration that this node runs.
    pub(crate) fn config_hash(&self) -> u64 {
        self.config_hash.load(Ordering::Acquire)
    }

    /// The same, for who tells others.
    pub(crate) fn hash_cell(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.config_hash)
    }

    /// A configuration was taken in without a restart.
    pub(crate) fn set_live(&self, hash: u64, session: Duration, alarms: Vec<Rule>) {
        *self.changeable.lock().unwrap_or_else(PoisonError::into_inner) =
            Changeable { session, alarms: alarms.into() };
        self.config_hash.store(hash, Ordering::Release);
    }

    /// How long a login counts.
    pub(crate) fn session_time(&self) -> Duration {
        self.changeable.lock().unwrap_or_else(PoisonError::into_inner).session
    }

    /// The rules of all groups.
    pub(crate) fn alarm_rules(&self) -> Arc<[Rule]> {
        Arc::clone(&self.changeable.lock().unwrap_or_else(PoisonError::into_inner).alarms)
    }

    /// The code of plugins that this process runs.
    pub(crate) fn code(&self) -> Arc<Code> {
        Arc::clone(&self.code.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Interfaces have another version of a plugin.
    pub(crate) fn change_code(&self, from: &LibraryCode, to: &LibraryCode) {
        self.edit_code(|code| {
            for library in code.libraries.iter_mut().filter(|library| *library == from) {
                library.clone_from(to);
            }
        });
    }

    /// The site trusts other plugins.
    pub(crate) fn change_lock(&self, hash: Option<String>) {
        self.edit_code(|code| code.lock = hash);
    }

    fn edit_code(&self, edit: impl FnOnce(&mut Code)) {
        let mut code = self.code.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut code));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a node.
    pub(crate) fn name_of(&self, node: NodeRank) -> String {
        self.site.nodes.get(usize::from(node.0)).map_or_else(|| node.to_string(), |node| node.name.clone())
    }

    pub(crate) fn name_of_voter(&self, voter: VoterId) -> String {
        voter.node().map_or_else(|| "witness".to_owned(), |node| self.name_of(node))
    }

    /// A reason or an order in the words of this site.
    pub(crate) fn say(&self, what: &dyn std::fmt::Display) -> String {
        let name_of = |rank| self.site.nodes.get(usize::from(rank)).map(|node| node.name.clone());
        words::with_names(&what.to_string(), name_of)
    }

    pub(crate) fn update_group(&self, group: &str, update: impl FnOnce(&mut GroupStatus)) {
        let mut state = self.lock();
        if let Some(status) = state.groups.get_mut(group) {
            update(status);
        } else {
            update(state.groups.entry(group.to_owned()).or_default());
        }
    }

    pub(crate) fn group(&self, group: &str) -> GroupStatus {
        self.lock().groups.get(group).cloned().unwrap_or_default()
    }

    /// Where this node's journal ends.
    pub(crate) fn position(&self, group: &str) -> Position {
        self.lock().groups.get(group).map(|status| status.position).unwrap_or_default()
    }

    /// Where a peer's journal ends, as its last heartbeat said.
    pub(crate) fn group_position(&self, group: &str, peer: NodeRank) -> Position {
        let state = self.lock();
        let position =
            state.groups.get(group).and_then(|status| status.peers.get(&peer)).map(|peer| peer.position);
        position.unwrap_or_default()
    }

    pub(crate) fn update_engine(
        &self,
        group: &str,
        position: Position,
        counters: &EngineCounters,
        lags: BTreeMap<NodeRank, (u64, bool)>,
    ) {
        self.update_group(group, |status| {
            status.position = position;
            status.counters.clone_from(counters);
            status.lags = lags;
        });
    }

    pub(crate) fn set_path(&self, peer: VoterId, path: u8, update: impl FnOnce(&mut PathStatus)) {
        update(self.lock().peers.entry((peer, path)).or_default());
    }

    /// How far the clocks of other nodes are from this one's, the furthest of those that are known.
    pub(crate) fn clock_difference(&self) -> Duration {
        let ranks = (0..self.site.nodes.len()).filter_map(|rank| u8::try_from(rank).ok()).map(NodeRank);
        let offsets = ranks.flat_map(|rank| self.paths(VoterId::Node(rank)));
        let furthest = offsets.filter_map(|path| path.clock_offset_us).map(i64::unsigned_abs).max();
        Duration::from_micros(furthest.unwrap_or(0))
    }

    pub(crate) fn paths(&self, peer: VoterId) -> Vec<PathStatus> {
        let state = self.lock();
        state.peers.range((peer, 0)..=(peer, u8::MAX)).map(|(_, status)| status.clone()).collect()
    }

    /// What the ends of its connections say of a peer that is not heard.
    pub(crate) fn why_unreachable(&self, peer: VoterId) -> String {
        let paths = self.paths(peer);
        let all = |cause| {
            let mut causes = paths.iter().map(|path| path.loss.as_ref().map(|loss| loss.cause));
            !paths.is_empty() && causes.all(|found| found == Some(cause))
        };
        if all(LossCause::ProcessEnded) {
            return "its machine answers, its process does not: the process has ended".to_owned();
        }
        if all(LossCause::Silent) {
            return "nothing is heard on any path: its machine is down, or the network to it".to_owned();
        }
        let mut texts: Vec<String> =
            paths.into_iter().filter_map(|path| path.loss.map(|loss| loss.error)).collect();
        texts.dedup();
        if texts.is_empty() { "no path to it stood so far".to_owned() } else { texts.join("; ") }
    }

    pub(crate) fn set_info(&self, peer: VoterId, info: PeerInfo) {
        self.lock().infos.insert(peer, info);
    }

    /// A peer says what it runs, which may change while it is connected.
    pub(crate) fn hear_config(&self, peer: VoterId, hash: u64) {
        if let Some(info) = self.lock().infos.get_mut(&peer) {
            info.config_hash = hash;
        }
    }

    /// A peer runs other plugins now.
    pub(crate) fn hear_plugins(&self, peer: VoterId, code: Code) {
        if let Some(info) = self.lock().infos.get_mut(&peer) {
            info.plugins = Some(code);
        }
    }

    /// What a peer said of itself when it was last connected.
    pub(crate) fn info(&self, peer: VoterId) -> Option<PeerInfo> {
        self.lock().infos.get(&peer).cloned()
    }

    /// Counts messages of a peer that were left out; returns how many those are by now.
    pub(crate) fn count_dropped(&self, peer: VoterId, cause: DropCause, messages: u64) -> u64 {
        let mut state = self.lock();
        let count = state.dropped.entry((peer, cause)).or_default();
        *count += messages;
        *count
    }

    /// Counts a message that cannot be read: a newer peer may say what is unknown here.
    pub(crate) fn count_unreadable(&self, peer: VoterId) {
        let is_newer = self.info(peer).is_some_and(|info| info.is_newer);
        self.count_dropped(peer, if is_newer { DropCause::Unknown } else { DropCause::Unreadable }, 1);
    }

    /// Messages of peers that were left out, by the peer's name and cause.
    pub(crate) fn dropped_messages(&self) -> BTreeMap<(String, &'static str), u64> {
        let dropped = self.lock().dropped.clone();
        let named = dropped.into_iter().map(|((peer, cause), count)| {
            let name = peer.node().map_or_else(|| "witness".to_owned(), |node| self.name_of(node));
            ((name, cause.word()), count)
        });
        named.collect()
    }

    /// Something happened on this node, in the group if it is about one, and is known from here on.
    pub(crate) fn note_event(&self, group: &str, event: Event) {
        self.events.note(group, event, "");
    }

    /// The group in whose journal stands what is about none: the one that has the documents, too.
    pub(crate) fn first_group(&self) -> &str {
        self.site.groups.first().map_or("", |group| group.id.as_str())
    }

    pub(crate) fn begin_operation(&self, order: String, groups: &[String]) -> u64 {
        self.lock().operations.begin(order, groups)
    }

    pub(crate) fn end_operation(&self, id: u64, group: &str, done: bool, detail: &str) {
        self.lock().operations.end(id, group, done, detail);
    }

    pub(crate) fn operation(&self, id: u64) -> Option<OperationView> {
        self.lock().operations.view(id)
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether anyone reads values as they come.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.live.receiver_count() > 0
    }

    /// Hands new values to live readers; costs nothing when there are none.
    pub(crate) fn stream(&self, group: &str, position: Position, samples: &[Sample]) {
        if self.is_listened_to() {
            // All readers may have gone in between.
            drop(self.live.send(LiveFrame { group: group.into(), position, samples: samples.into() }));
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<LiveFrame> {
        self.live.subscribe()
    }

    /// Says that this node does not act, and who does.
    pub(crate) fn not_active(&self, group: &str) -> CommandError {
        let active = self.group(group).active.filter(|node| *node != self.rank);
        let url = active
            .and_then(|node| self.site.nodes.get(usize::from(node.0)))
            .map(|node| web_url(&node.web, node.links.first().map(String::as_str)));
        CommandError::NotActive { active: active.map(|node| self.name_of(node)), url }
    }

    /// What lies between a moment of this process and now, in seconds.
    pub(crate) fn seconds_since(moment: Moment) -> f64 {
        clock::now().since(moment).as_secs_f64()
    }
}

/// The address of a node's web interface for others: an unspecified listen address is reached at the host
/// of the node's first link.
pub(crate) fn web_url(web: &str, link: Option<&str>) -> String {
    let (host, port) = web.rsplit_once(':').unwrap_or((web, "8620"));
    let host = if matches!(host, "0.0.0.0" | "[::]" | "") {
        link.and_then(|link| link.rsplit_once(':')).map_or(host, |(host, _)| host)
    } else {
        host
    };
    format!("http://{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_probe_moves_neither_round_trip_nor_clock_by_much() {
        let mut path = PathStatus::default();
        let probe = |ms, offset_us: i64| Measured {
            round_trip: std::time::Duration::from_millis(ms),
            clock_offset_ns: offset_us * 1_000,
        };
        path.measured(probe(1, 50));
        path.measured(probe(1, 52));
        path.measured(probe(81, 40_000));
        assert_eq!((path.rtt_us, path.clock_offset_us), (Some(11_000), Some(52)));
    }

    #[test]
    fn a_web_address_for_all_interfaces_is_reached_at_the_link() {
        assert_eq!(web_url("0.0.0.0:8620", Some("10.0.0.11:7620")), "http://10.0.0.11:8620");
        assert_eq!(web_url("127.0.0.1:8621", Some("10.0.0.11:7620")), "http://127.0.0.1:8621");
    }
}
