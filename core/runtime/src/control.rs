//! The control thread: heartbeats, leases, votes, roles.
//!
//! It runs on a thread and a runtime of its own, so that it never waits behind data. It owns the role
//! machines of all groups, feeds them with what happens, and carries out what they order: frames to peers,
//! the state to the role file (on a thread of its own, since a disk may be slow), the gate, and jobs for the
//! engines. The machines decide; this file only translates.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener as StdListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use twinhub_floating::Keeper;
use twinhub_model::{Moment, Position};
use twinhub_redundancy::{Action, Input, Machine, Message, NodeState, Order, Output, PathId, VoterId};
use twinhub_trust::Agreement;
use twinhub_wire::{Channel, Kind};

use crate::clock;
use crate::documents::DocumentStore;
use crate::error::StartError;
use crate::etcd::{self, Attendance, Client};
use crate::gate::Gate;
use crate::inbox::{Inbox, Job};
use crate::peer::{self, Endpoint, Link, LinkEvent, Manner, Target};
use crate::role_writer::{RoleWriter, Written};
use crate::roles::{GroupMessage, RoleState};
use crate::scheduling;
use crate::shared::{DropCause, Shared};
use crate::trust::nodes::ToldCode;
use neighbors::Neighbors;

mod neighbors;
mod show;

/// Events that may wait for the control thread.
const EVENTS_MAX: usize = 4_096;
/// An order that has not ended after this long is reported as failed.
const ORDER_MAX: Duration = Duration::from_secs(60);
/// The last words of a process that stops may take this long to leave.
const END_WORDS_MAX: Duration = Duration::from_millis(100);

/// What other threads tell the control thread.
#[derive(Debug)]
pub(crate) enum Told {
    Engine {
        group: String,
        input: Input,
    },
    Order {
        group: String,
        order: Order,
        by: String,
        operation: u64,
    },
    Persisted(Written),
    /// This node runs or trusts other plugins now.
    Plugins,
    Shutdown,
}

/// The door to the control thread.
#[derive(Debug, Clone)]
pub(crate) struct ControlSender {
    sender: mpsc::UnboundedSender<Told>,
    /// Where the journals of groups ended last, until the control thread looks.
    positions: Arc<Mutex<BTreeMap<String, Position>>>,
}

impl ControlSender {
    /// A door, and what comes through it.
    pub(crate) fn new() -> (ControlSender, mpsc::UnboundedReceiver<Told>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (ControlSender { sender, positions: Arc::default() }, receiver)
    }

    /// Where a group's journal ends. It wakes nobody: whatever turns the machine next finds it.
    pub(crate) fn position(&self, group: &str, mine: Position) {
        let mut positions = self.positions();
        match positions.get_mut(group) {
            Some(position) => *position = mine,
            None => drop(positions.insert(group.to_owned(), mine)),
        }
    }

    fn take_position(&self, group: &str) -> Option<Position> {
        self.positions().remove(group)
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<String, Position>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An engine reports.
    pub(crate) fn engine(&self, group: &str, input: Input) {
        self.tell(Told::Engine { group: group.to_owned(), input });
    }

    /// Whether the control thread has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn tell(&self, told: Told) {
        // After shutdown nobody listens.
        drop(self.sender.send(told));
    }
}

/// One group on this node.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) machine: Machine,
    pub(crate) gate: Arc<Gate>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) wake: Moment,
    pub(crate) running_order: Option<(u64, Order, Moment)>,
    /// Holds the address that moves with the role.
    pub(crate) floating: Option<Keeper>,
}

/// What the control thread is made of.
#[derive(Debug)]
pub(crate) struct ControlSetup {
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) endpoint: Endpoint,
    pub(crate) listeners: Vec<StdListener>,
    pub(crate) targets: Vec<Target>,
    /// What stands in for a witness, if that is an etcd cluster.
    pub(crate) etcd: Option<(Attendance, Client)>,
    pub(crate) silence_max: Duration,
    pub(crate) shared: Arc<Shared>,
    pub(crate) documents: DocumentStore,
    pub(crate) role_writer: RoleWriter,
    pub(crate) role_state: RoleState,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    pub(crate) sender: ControlSender,
    pub(crate) data: mpsc::Sender<(std::net::TcpStream, u8)>,
}

/// Starts the thread. It ends after [`Told::Shutdown`], when every machine has stopped.
pub(crate) fn spawn(setup: ControlSetup) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| StartError::Thread { what: "the control runtime", source })?;
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            scheduling::prefer_this_thread();
            runtime.block_on(Control::run(setup));
        })
        .map_err(|source| StartError::Thread { what: "the control thread", source })
}

struct Control {
    groups: BTreeMap<String, Group>,
    links: BTreeMap<(VoterId, u8), Link>,
    neighbors: Neighbors,
    /// How the plugins of other nodes compare with those of this one.
    agreements: BTreeMap<VoterId, Agreement>,
    shared: Arc<Shared>,
    /// What others are told of this node's plugins.
    code: Option<ToldCode>,
    documents: DocumentStore,
    role_writer: RoleWriter,
    sender: ControlSender,
    state: RoleState,
    stopped_groups: BTreeSet<String>,
}

impl Control {
    async fn run(setup: ControlSetup) {
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let manner = Manner {
            channel: Channel::Control,
            silence_max: setup.silence_max,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
        };
        let mut tasks = tokio::task::JoinSet::new();
        for listener in setup.listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let data = Some(setup.data.clone());
                    tasks.spawn(peer::accept(setup.endpoint.clone(), listener, manner, events.clone(), data));
                }
                Err(error) => tracing::error!(%error, "a peer listener is not usable"),
            }
        }
        for target in setup.targets {
            setup.shared.set_path(target.voter, target.path, |path| path.address.clone_from(&target.address));
            tasks.spawn(peer::keep_dialed(setup.endpoint.clone(), target, manner, events.clone()));
        }
        if let Some((attendance, client)) = setup.etcd {
            let addresses = attendance.etcd.endpoints.join(", ");
            setup.shared.set_path(VoterId::Witness, 0, |path| path.address = addresses);
            tasks.spawn(etcd::attend(attendance, client, events.clone()));
        }
        drop(events);
        let mut control = Control {
            groups: setup.groups,
            links: BTreeMap::new(),
            neighbors: Neighbors::new(),
            agreements: BTreeMap::new(),
            shared: setup.shared,
            code: setup.endpoint.plugins,
            documents: setup.documents,
            role_writer: setup.role_writer,
            sender: setup.sender,
            state: setup.role_state,
            stopped_groups: BTreeSet::new(),
        };
        let mut told = setup.told;
        control.turn_all();
        while control.stopped_groups.len() < control.groups.len() {
            let wake = control.groups.values().map(|group| group.wake).min().unwrap_or(Moment::NEVER);
            let wait = wake.since(clock::now()).min(Duration::from_secs(1));
            tokio::select! {
                biased;
                event = happened.recv() => match event {
                    Some(event) => control.on_link(event),
                    None => break,
                },
                said = told.recv() => match said {
                    Some(said) => control.on_told(said),
                    None => break,
                },
                () = tokio::time::sleep(wait) => control.on_timer(wake),
            }
        }
        control.end_words().await;
        tasks.shutdown().await;
    }

    /// What was said last leaves before the links are cut: who hears that a process stopped in order need not take
    /// it for silent. A peer that takes nothing is not waited for.
    async fn end_words(&self) {
        let until = tokio::time::Instant::now() + END_WORDS_MAX;
        let is_waiting =
            |link: &Link| !link.sender.is_closed() && link.sender.capacity() < link.sender.max_capacity();
        while self.links.values().any(is_waiting) && tokio::time::Instant::now() < until {
            // The links write on this thread, too.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn on_timer(&mut self, wake: Moment) {
        let now = clock::now();
        if wake != Moment::NEVER && now > wake {
            let late = u64::try_from(now.since(wake).as_nanos()).unwrap_or(u64::MAX);
            self.shared.lateness_ns.store(late, Ordering::Relaxed);
        }
        self.turn_all();
    }

    fn turn_all(&mut self) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            self.turn(&name, Some(Input::Tick));
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { link, info } => {
                let (peer, path) = (link.peer, link.path);
                tracing::info!(
                    peer = info.name,
                    path,
                    version = info.version,
                    protocol = info.protocol,
                    "peer link up"
                );
                let own = self.shared.site.nodes.get(usize::from(self.shared.rank.0));
                let accepted_on = own.and_then(|node| node.links.get(usize::from(path))).cloned();
                self.shared.set_path(peer, path, |status| {
                    if status.address.is_empty() {
                        // The peer dialed: the path is named by where it was accepted.
                        status.address = accepted_on.unwrap_or_default();
                    }
                    status.up = true;
                    status.loss = None;
                });
                self.compare_plugins(peer, &info);
                self.shared.set_info(peer, info);
                self.links.insert((peer, path), link);
                self.tell_all(&Input::PathUp { peer, path: PathId(path) });
                // A part of the network is back that may have heard another node.
                for floating in self.groups.values().filter_map(|group| group.floating.as_ref()) {
                    floating.announce();
                }
            }
            LinkEvent::Measured { peer, path, measured } => {
                self.shared.set_path(peer, path, |status| status.measured(measured));
            }
            LinkEvent::Down { peer, path, loss } => {
                let closed = self.links.get(&(peer, path)).is_none_or(|link| link.sender.is_closed());
                if !closed {
                    return;
                }
                self.links.remove(&(peer, path));
                self.shared.set_path(peer, path, |status| status.lost(loss));
                self.tell_all(&Input::PathDown { peer, path: PathId(path) });
            }
            LinkEvent::Frame { peer, path, kind, body } => {
                if kind == Kind::Plugins {
                    return self.hear_plugins(peer, &body);
                }
                if kind != Kind::Control {
                    return;
                }
                match minicbor::decode::<GroupMessage>(&body) {
                    Ok(GroupMessage { group, message, .. }) if path == peer::WORD_PATH => {
                        self.on_word(peer, &group, &message);
                    }
                    Ok(GroupMessage { group, message, .. }) => {
                        if let Message::Heartbeat(heartbeat) = &message {
                            self.shared.hear_config(peer, heartbeat.config_hash);
                        }
                        let message = self.fitted(message);
                        self.turn(&group, Some(Input::Message { from: peer, path: PathId(path), message }));
                    }
                    Err(error) => {
                        self.shared.count_unreadable(peer);
                        let peer = self.shared.say(&peer);
                        tracing::debug!(peer, %error, "unreadable control message");
                    }
                }
            }
            LinkEvent::Skipped { peer, frames } => {
                if self.shared.count_dropped(peer, DropCause::Unknown, frames) == frames {
                    let peer = self.shared.say(&peer);
                    tracing::info!(
                        peer,
                        "it says things that only its newer version knows: left out and counted"
                    );
                }
            }
        }
    }

    /// While a new revision of the configuration is taken into service node by node, nodes with either of them fit each
    /// other: the machine hears of them as of the same.
    fn fitted(&self, mut message: Message) -> Message {
        if let Message::Heartbeat(heartbeat) = &mut message {
            let mine = self.shared.config_hash();
            let fits = || self.documents.knows(mine) && self.documents.knows(heartbeat.config_hash);
            if heartbeat.config_hash != mine && fits() {
                heartbeat.config_hash = mine;
            }
        }
        message
    }

    /// A supervisor speaks for its own dead process and for nothing else.
    fn on_word(&mut self, peer: VoterId, group: &str, message: &Message) {
        if let Message::Resigned { node, epoch, incarnation } = *message
            && peer == VoterId::Node(node)
        {
            let name = self.shared.name_of(node);
            tracing::info!(
                peer = name,
                incarnation = incarnation.0,
                "its supervisor says that the process is dead"
            );
            self.turn(group, Some(Input::Resigned { node, epoch, incarnation }));
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Engine { group, input } => {
                if matches!(input, Input::Drained { .. }) {
                    self.release_floating(&group);
                }
                self.turn(&group, Some(input));
            }
            Told::Order { group, order, by, operation } => {
                tracing::info!(group, order = self.shared.say(&order), by, "operator order");
                if let Some(state) = self.groups.get_mut(&group) {
                    state.running_order = Some((operation, order, clock::now()));
                }
                self.turn(&group, Some(Input::Operator(order)));
            }
            Told::Persisted(Written { tickets, result }) => self.on_written(tickets, &result),
            Told::Plugins => self.tell_plugins(),
            Told::Shutdown => {
                self.tell_all(&Input::Shutdown);
            }
        }
    }

    fn on_written(&mut self, tickets: BTreeMap<String, u64>, result: &Result<(), String>) {
        if let Err(what) = result {
            tracing::error!(what, "the role file cannot be written: this node can promise nothing");
        }
        for (group, ticket) in tickets {
            let input = match result {
                Ok(()) => Input::Persisted { ticket },
                Err(what) => Input::SelfCheckFailed { what: what.clone() },
            };
            self.turn(&group, Some(input));
        }
    }

    /// Before the token goes to the next node.
    fn release_floating(&self, name: &str) {
        if let Some(floating) = self.groups.get(name).and_then(|group| group.floating.as_ref()) {
            floating.release();
        }
    }

    fn tell_all(&mut self, input: &Input) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            self.turn(&name, Some(input.clone()));
        }
    }

    /// Feeds one machine and does everything it orders.
    fn turn(&mut self, name: &str, input: Option<Input>) {
        let now = clock::now();
        if let Some(mine) = self.sender.take_position(name) {
            self.give(name, Input::LogPosition { mine }, now);
        }
        if let Some(input) = input {
            self.give(name, input, now);
        }
        self.show(name, now);
        self.tell_neighbors(name, now);
    }

    fn give(&mut self, name: &str, input: Input, now: Moment) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.machine.handle_input(input, now);
        loop {
            let Some(group) = self.groups.get_mut(name) else { return };
            match group.machine.poll_output(now) {
                Output::Action(action) => self.act(name, action),
                Output::Timeout(wake) => {
                    group.wake = wake;
                    return;
                }
            }
        }
    }

    /// Sends a message of a group's machine on all paths.
    fn send(&self, name: &str, recipients: &[VoterId], message: Message) {
        let Some(group) = self.groups.get(name) else { return };
        let lease = group.machine.setup().timers.lease;
        let lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
        let body = GroupMessage { group: name.to_owned(), message, lease_ms };
        for to in recipients {
            for (_, link) in self.links.range((*to, 0)..=(*to, u8::MAX)) {
                if let Some(frame) = body.frame(link.protocol) {
                    // A full queue is a dead path; the machine expects loss.
                    drop(link.sender.try_send(frame));
                }
            }
        }
    }

    fn act(&mut self, name: &str, action: Action) {
        let Some(group) = self.groups.get_mut(name) else { return };
        match action {
            Action::Send { to, message } => self.send(name, &[to], message),
            Action::SendOthers { message } => {
                let others: Vec<VoterId> = group.machine.peers().keys().copied().collect();
                self.send(name, &others, message);
            }
            Action::Persist { ticket, state } => {
                self.state.groups.insert(name.to_owned(), state);
                match minicbor::to_vec(&self.state) {
                    Ok(payload) => {
                        self.role_writer.order(payload, self.state.file_format(), name, ticket);
                    }
                    Err(error) => tracing::error!(%error, "role state cannot be encoded"),
                }
            }
            Action::Lease { epoch, until } => {
                if until > clock::now() {
                    group.gate.extend(epoch, until);
                } else if group.gate.epoch() == epoch {
                    group.gate.close();
                }
            }
            Action::Activate { epoch, transfer, guard_until, unquorate, reason, .. } => {
                let kind = reason.kind().to_owned();
                self.shared.update_group(name, |status| {
                    *status.takeovers.entry(kind).or_default() += 1;
                    status.activating_since = Some(clock::now());
                    if !transfer {
                        status.detection_seconds = status.active_heard.map(Shared::seconds_since);
                    }
                });
                group.inbox.push(Job::Activate { epoch, transfer, guard_until, unquorate, reason });
            }
            Action::Drain { epoch, to, deadline, reason } => {
                group.inbox.push(Job::Drain { epoch, to, deadline, reason });
            }
            Action::CloseGates { epoch, reason, abort_links } => {
                group.gate.close();
                if let Some(floating) = &group.floating {
                    floating.release();
                }
                group.inbox.push(Job::Close { epoch, reason, abort_links });
            }
            Action::Standby { active, epoch } => group.inbox.push(Job::Follow { active, epoch }),
            Action::Reconcile { active, epoch } => {
                group.inbox.push(Job::Follow { active: Some(active), epoch });
            }
            Action::Quorum { epoch, quorate, split_possible, reason } => {
                tracing::warn!(
                    group = name,
                    quorate,
                    split_possible,
                    reason = self.shared.say(&reason),
                    "quorum"
                );
                group.inbox.push(Job::Quorum { epoch, quorate, reason });
            }
            Action::Members { reason, .. } => self.members_changed(name, &reason),
            Action::Announce { epoch, reason } => {
                tracing::info!(group = name, %epoch, reason = self.shared.say(&reason), "announcing again");
                group.inbox.push(Job::Announce { epoch });
            }
            Action::State { from, to, reason } => {
                match (&group.floating, to) {
                    (Some(floating), NodeState::Active) => floating.hold(),
                    // Until the outputs are idle.
                    (None, _) | (Some(_), NodeState::Draining) => {}
                    (Some(floating), _) => floating.release(),
                }
                self.state_changed(name, from.name(), to.name(), &reason);
            }
            Action::Alarm { reason } => {
                let text = self.shared.say(&reason);
                tracing::error!(group = name, reason = text, "an operator should look");
                let event = twinhub_model::Event {
                    severity: twinhub_model::Severity::Error,
                    source: name.into(),
                    code: "TH-ROLE-001".into(),
                    text: text.into(),
                    at: clock::utc(),
                };
                group.inbox.push(event.into());
            }
            Action::Refused { order, why } => {
                let (order, why) = (self.shared.say(&order), self.shared.say(&why));
                tracing::warn!(group = name, order, why, "order refused");
                if let Some((operation, _, _)) = group.running_order.take() {
                    self.shared.end_operation(operation, name, false, &why);
                }
            }
            Action::Abort { reason } => {
                group.gate.close();
                let reason = self.shared.say(&reason);
                tracing::error!(group = name, reason, "gates cannot be closed: ending the process");
                std::process::abort();
            }
            Action::Stopped => {
                self.stopped_groups.insert(name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use twinhub_model::{Epoch, NodeRank};

    use super::*;

    #[test]
    fn the_end_of_a_journal_wakes_nobody_and_its_newest_is_found() {
        let (sender, mut told) = ControlSender::new();
        let at = |seq| Position::new(Epoch::new(1, NodeRank(0)), seq);
        for seq in [7, 8] {
            sender.position("site", at(seq));
        }
        sender.position("other", at(3));
        assert!(told.try_recv().is_err());
        assert_eq!(sender.take_position("site"), Some(at(8)));
        assert_eq!(sender.take_position("site"), None);
        assert_eq!(sender.take_position("other"), Some(at(3)));
    }
}
