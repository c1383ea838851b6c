//! The witness: a vote and nothing else.
//!
//! It knows no configuration, no items and no interfaces. Per group it keeps one promise, on disk before it
//! is spoken. It may run on any third machine and serve any number of groups of one cluster.
//!
//! The length of a lease comes with every message of a node. A voter is made at a group's first message, with
//! its stored grant taken as given at that moment, and made again if a longer lease is asked for: both only
//! lengthen what was promised.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use twinhub_model::NodeRank;
use twinhub_redundancy::{Failback, NodeInfo, Policy, Profile, Setup, Timers, Voter, VoterId, VoterOutput};
use twinhub_store::RoleFile;
use twinhub_wire::{Channel, Kind};

use crate::clock;
use crate::error::StartError;
use crate::peer::{self, Endpoint, Link, LinkEvent, Manner};
use crate::pki;
use crate::protocol;
use crate::role_writer::{RoleWriter, Written};
use crate::roles::{GroupMessage, RoleState};
use crate::scheduling;

/// Groups one witness votes for; a stranger with a certificate cannot make it keep more.
pub(crate) const GROUPS_MAX: usize = 256;
/// The longest group name a witness keeps.
pub(crate) const GROUP_BYTES_MAX: usize = 128;
/// Ranks a witness grants to.
const RANKS_MAX: u8 = 64;
/// Leases outside these bounds are no sensible configuration.
pub(crate) const LEASE_MIN: Duration = Duration::from_millis(20);
/// See [`LEASE_MIN`].
pub(crate) const LEASE_MAX: Duration = Duration::from_secs(120);
/// A witness that stops waits no longer than this for groups to let it go.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Connections without a frame are given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How to run a witness.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// `host:port` to listen on.
    pub listen: String,
    /// Where its promises are kept.
    pub state_dir: PathBuf,
    /// Where its certificate is.
    pub pki_dir: PathBuf,
}

/// Runs a witness until `shutdown` ends, on the thread that polls it: it asks for real-time priority there, since a vote
/// that is late may cost a takeover.
///
/// # Errors
/// [`StartError`] if certificates, role file or address are not usable.
pub async fn run_witness(
    options: WitnessOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    scheduling::prefer_this_thread();
    let credentials = pki::load(&options.pki_dir, "witness")?;
    std::fs::create_dir_all(&options.state_dir).map_err(|source| StartError::File {
        action: "create",
        path: options.state_dir.clone(),
        source,
    })?;
    let (mut file, loaded) = RoleFile::open(options.state_dir.join("role"))?;
    if let Some(note) = &loaded.note {
        tracing::warn!(note, "role file");
    }
    let mut state = match &loaded.payload {
        Some(bytes) => minicbor::decode::<RoleState>(bytes)
            .map_err(|error| StartError::Config(format!("the role file holds no witness state: {error}")))?,
        None => RoleState::default(),
    };
    "witness".clone_into(&mut state.node);
    state.cluster = credentials.cluster;
    state.begin_process(loaded.payload.is_some());
    store(&mut file, &state)?;
    let listener = tokio::net::TcpListener::bind(&options.listen)
        .await
        .map_err(|source| StartError::Listen { address: options.listen.clone(), source })?;
    let bound = listener.local_addr().map_or_else(|_| options.listen.clone(), |address| address.to_string());
    tracing::info!(listen = bound, cluster = format!("{:016x}", credentials.cluster), "witness is listening");
    let members = BTreeMap::from([("witness".to_owned(), VoterId::Witness)]);
    let cluster = credentials.cluster;
    let endpoint = Endpoint {
        name: "witness".to_owned(),
        incarnation: state.incarnation,
        protocol: protocol::newest()?,
        plugins: None,
        config_hash: Arc::default(),
        credentials,
        members: Arc::new(members),
        accept_any_node: true,
    };
    let manner = Manner {
        channel: Channel::Control,
        silence_max: SILENCE_MAX,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(500),
    };
    let (events, mut happened) = mpsc::channel(1024);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(peer::accept(endpoint, listener, manner, events, None));
    let (tell, mut written) = mpsc::unbounded_channel();
    // Whoever listens may have stopped.
    let role_writer = RoleWriter::start(file, move |end| drop(tell.send(end)))?;
    let mut witness = Witness::new(cluster, role_writer, state);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            end = written.recv() => match end {
                Some(end) => witness.on_written(&end),
                None => break,
            },
            event = happened.recv() => match event {
                Some(event) => witness.on_link(event),
                None => break,
            },
        }
    }
    witness.leave(&mut happened, &mut written).await;
    tasks.shutdown().await;
    Ok(())
}

struct Witness {
    seats: BTreeMap<String, Seat>,
    cluster: u64,
    links: BTreeMap<(VoterId, u8), Link>,
    /// As the nodes call themselves.
    names: BTreeMap<VoterId, String>,
    role_writer: RoleWriter,
    disk_refuses: bool,
    state: RoleState,
}

/// The vote of one group.
struct Seat {
    lease: Duration,
    voter: Voter,
    /// The newest ticket that the voter wants on disk and what became of it.
    ticket: u64,
    disk: OnDisk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDisk {
    Stored,
    Ordered,
    Refused,
}

impl Witness {
    fn new(cluster: u64, role_writer: RoleWriter, state: RoleState) -> Witness {
        let (seats, links, names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Witness { seats, cluster, links, names, role_writer, disk_refuses: false, state }
    }

    fn name_of(&self, peer: VoterId) -> String {
        self.names.get(&peer).cloned().unwrap_or_else(|| peer.to_string())
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { link, info } => {
                tracing::info!(
                    peer = info.name,
                    path = link.path,
                    version = info.version,
                    protocol = info.protocol,
                    "peer link up"
                );
                self.names.insert(link.peer, info.name);
                self.links.insert((link.peer, link.path), link);
            }
            LinkEvent::Down { peer, path, .. } => {
                if self.links.get(&(peer, path)).is_some_and(|link| link.sender.is_closed()) {
                    self.links.remove(&(peer, path));
                }
            }
            LinkEvent::Frame { peer, kind: Kind::Control, body, .. } => {
                match minicbor::decode::<GroupMessage>(&body) {
                    Ok(GroupMessage { group, message, lease_ms }) => {
                        let lease = Duration::from_millis(u64::from(lease_ms)).clamp(LEASE_MIN, LEASE_MAX);
                        self.on_message(peer, &group, &message, lease);
                    }
                    Err(error) => tracing::debug!(%peer, %error, "unreadable control message"),
                }
            }
            LinkEvent::Frame { .. } | LinkEvent::Measured { .. } | LinkEvent::Skipped { .. } => {}
        }
    }

    fn on_message(
        &mut self,
        peer: VoterId,
        group: &str,
        message: &twinhub_redundancy::Message,
        lease: Duration,
    ) {
        if let twinhub_redundancy::Message::Resigned { node, epoch, incarnation } = *message {
            if peer == VoterId::Node(node)
                && let Some(seat) = self.seats.get_mut(group)
            {
                let freed = seat.voter.resigned(node, epoch, incarnation, clock::now());
                let peer = self.name_of(peer);
                tracing::info!(
                    peer,
                    incarnation = incarnation.0,
                    freed,
                    "its supervisor says that the process is dead"
                );
            }
            return;
        }
        let Some(outputs) =
            self.seat(group, lease).map(|seat| seat.voter.handle(peer, message, clock::now()))
        else {
            return;
        };
        self.carry_out(group, outputs);
        if self.seats.get(group).is_some_and(|seat| seat.disk == OnDisk::Refused) {
            // Whoever still wants the vote has just asked.
            self.order(group);
        }
    }

    /// The seat of a group; `None` if it gets none, or none now.
    fn seat(&mut self, group: &str, lease: Duration) -> Option<&mut Seat> {
        match self.seats.get(group) {
            None if self.seats.len() >= GROUPS_MAX || group.len() > GROUP_BYTES_MAX => {
                tracing::warn!(group, "too many groups: this one gets no vote");
                return None;
            }
            Some(seat) if lease > seat.lease && seat.disk != OnDisk::Stored => {
                // A voter is made of what is on disk. Until it is, whoever asks for longer asks again.
                if seat.disk == OnDisk::Refused {
                    self.order(group);
                }
                return None;
            }
            Some(seat) if lease <= seat.lease => {}
            None | Some(_) => {
                let stored = self.state.groups.get(group).cloned().unwrap_or_default();
                let voter = Voter::new(&voter_setup(group, self.cluster, lease), stored, clock::now())
                    .of_process(self.state.incarnation);
                let seat = Seat { lease, voter, ticket: 0, disk: OnDisk::Stored };
                self.seats.insert(group.to_owned(), seat);
            }
        }
        self.seats.get_mut(group)
    }

    fn carry_out(&mut self, group: &str, outputs: Vec<VoterOutput>) {
        for output in outputs {
            match output {
                VoterOutput::Persist { ticket, state } => {
                    let to = state.grant.map(|grant| self.name_of(VoterId::Node(grant.node)));
                    tracing::info!(group, promised = %state.promised, to, "promise");
                    self.state.groups.insert(group.to_owned(), state);
                    if let Some(seat) = self.seats.get_mut(group) {
                        seat.ticket = ticket;
                    }
                    self.order(group);
                }
                VoterOutput::Reply { to, message } => self.send(to, group, message),
            }
        }
    }

    /// Has the newest promise of a group written. What is not on disk is not spoken.
    fn order(&mut self, group: &str) {
        let Some(seat) = self.seats.get_mut(group) else { return };
        match minicbor::to_vec(&self.state) {
            Ok(payload) => {
                self.role_writer.order(payload, self.state.file_format(), group, seat.ticket);
                seat.disk = OnDisk::Ordered;
            }
            Err(error) => {
                tracing::error!(%error, "the role state cannot be encoded: no vote");
                seat.disk = OnDisk::Refused;
            }
        }
    }

    fn on_written(&mut self, Written { tickets, result }: &Written) {
        match result {
            // It is tried again at every question.
            Err(error) if !self.disk_refuses => {
                tracing::error!(error, "the role file cannot be written: no new vote until it can");
            }
            Ok(()) if self.disk_refuses => tracing::info!("the role file can be written again"),
            Ok(()) | Err(_) => {}
        }
        self.disk_refuses = result.is_err();
        for (group, ticket) in tickets {
            let Some(seat) = self.seats.get_mut(group) else { continue };
            if *ticket == seat.ticket {
                seat.disk = if result.is_ok() { OnDisk::Stored } else { OnDisk::Refused };
            }
            if result.is_ok() {
                let answers = seat.voter.persisted(*ticket);
                self.carry_out(group, answers);
            }
        }
    }

    /// Asks to be let go by groups in which nobody could carry on without this vote, and goes on voting until they
    /// do, or for so long that a holder would have answered.
    async fn leave(
        &mut self,
        happened: &mut mpsc::Receiver<LinkEvent>,
        written: &mut mpsc::UnboundedReceiver<Written>,
    ) {
        let lease = self.seats.values().map(|seat| seat.lease).max().unwrap_or(LEASE_MIN);
        let waits_until = tokio::time::Instant::now() + (lease * 2).min(LEAVE_MAX);
        let mut ask_again = tokio::time::interval(lease.min(LEAVE_MAX) / 6);
        loop {
            let needed: Vec<String> = self
                .seats
                .iter()
                .filter(|(_, seat)| may_be_missed(&seat.voter))
                .map(|(group, _)| group.clone())
                .collect();
            if needed.is_empty() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep_until(waits_until) => {
                    tracing::warn!(?needed, "nobody lets this vote go: these groups may stop without it");
                    break;
                }
                _ = ask_again.tick() => for group in &needed {
                    self.say_leave(group);
                },
                end = written.recv() => match end {
                    Some(end) => self.on_written(&end),
                    None => break,
                },
                event = happened.recv() => match event {
                    Some(event) => self.on_link(event),
                    None => break,
                },
            }
        }
    }

    fn say_leave(&self, group: &str) {
        let peers: std::collections::BTreeSet<VoterId> = self.links.keys().map(|(peer, _)| *peer).collect();
        for peer in peers {
            let incarnation = self.state.incarnation;
            self.send(peer, group, twinhub_redundancy::Message::Leave { incarnation });
        }
    }

    fn send(&self, to: VoterId, group: &str, message: twinhub_redundancy::Message) {
        let body = GroupMessage { group: group.to_owned(), message, lease_ms: 0 };
        for (_, link) in self.links.range((to, 0)..=(to, u8::MAX)) {
            if let Some(frame) = body.frame(link.protocol) {
                // A full queue is a dead path; whoever asks, asks again.
                drop(link.sender.try_send(frame));
            }
        }
    }
}

/// Whether a group may depend on this vote: others are shrunk, and this one is not.
fn may_be_missed(voter: &Voter) -> bool {
    let members = voter.members();
    let is_let_go = members.is_absent(VoterId::Witness) && members.before.is_none();
    !members.absent.is_empty() && !is_let_go
}

fn store(file: &mut RoleFile, state: &RoleState) -> Result<(), StartError> {
    let payload = minicbor::to_vec(state)
        .map_err(|error| StartError::Config(format!("the role state cannot be encoded: {error}")))?;
    file.store_in(&payload, state.file_format())?;
    Ok(())
}

/// A group as one who only votes sees it.
pub(crate) fn voter_setup(group: &str, cluster: u64, lease: Duration) -> Setup {
    let nodes =
        (0..RANKS_MAX).map(|rank| NodeInfo { node: NodeRank(rank), name: rank.to_string(), votes: true });
    Setup {
        group: group.to_owned(),
        cluster,
        me: VoterId::Witness,
        nodes: nodes.collect(),
        witness: true,
        without_witness: Policy::Manual,
        timers: Timers { lease, ..Timers::of(Profile::Normal) },
        failback: Failback::Manual,
        lag_limit_records: 0,
        config_hash: 0,
    }
}

#[cfg(test)]
mod tests;
