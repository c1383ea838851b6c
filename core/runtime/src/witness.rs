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
use twinhub_model::{Incarnation, NodeRank};
use twinhub_redundancy::{Failback, NodeInfo, Policy, Profile, Setup, Timers, Voter, VoterId, VoterOutput};
use twinhub_store::RoleFile;
use twinhub_wire::{Channel, Kind};

use crate::clock;
use crate::error::StartError;
use crate::peer::{self, Endpoint, Link, LinkEvent, Manner};
use crate::pki;
use crate::protocol;
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
    state.incarnation = Incarnation(state.incarnation.0 + 1);
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
        config_hash: 0,
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
    let (voters, links, names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut witness = Witness { voters, cluster, links, names, file, state };
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            event = happened.recv() => match event {
                Some(event) => witness.on_link(event),
                None => break,
            },
        }
    }
    witness.leave(&mut happened).await;
    tasks.shutdown().await;
    Ok(())
}

struct Witness {
    voters: BTreeMap<String, (Duration, Voter)>,
    cluster: u64,
    links: BTreeMap<(VoterId, u8), Link>,
    /// As the nodes call themselves.
    names: BTreeMap<VoterId, String>,
    file: RoleFile,
    state: RoleState,
}

impl Witness {
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
                && let Some((_, voter)) = self.voters.get_mut(group)
            {
                let freed = voter.resigned(node, epoch, incarnation, clock::now());
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
        let known = self.voters.get(group).map(|(lease, _)| *lease);
        if known.is_none() && (self.voters.len() >= GROUPS_MAX || group.len() > GROUP_BYTES_MAX) {
            tracing::warn!(group, "too many groups: this one gets no vote");
            return;
        }
        if known.is_none_or(|known| lease > known) {
            let stored = self.state.groups.get(group).cloned().unwrap_or_default();
            let voter = Voter::new(&voter_setup(group, self.cluster, lease), stored, clock::now())
                .of_process(self.state.incarnation);
            self.voters.insert(group.to_owned(), (lease, voter));
        }
        let Some((_, voter)) = self.voters.get_mut(group) else { return };
        let mut outputs: std::collections::VecDeque<VoterOutput> =
            voter.handle(peer, message, clock::now()).into();
        while let Some(output) = outputs.pop_front() {
            match output {
                VoterOutput::Persist { ticket, state } => {
                    let to = state.grant.map(|grant| self.name_of(VoterId::Node(grant.node)));
                    tracing::info!(group, promised = %state.promised, to, "promise");
                    self.state.groups.insert(group.to_owned(), state);
                    // A promise that is not on disk is not spoken; the candidate asks again.
                    if let Err(error) = store(&mut self.file, &self.state) {
                        tracing::error!(%error, "the role file cannot be written: no vote");
                        continue;
                    }
                    if let Some((_, voter)) = self.voters.get_mut(group) {
                        outputs.extend(voter.persisted(ticket));
                    }
                }
                VoterOutput::Reply { to, message } => self.send(to, group, message),
            }
        }
    }

    /// Asks to be let go by groups in which nobody could carry on without this vote, and goes on voting until they
    /// do, or for so long that a holder would have answered.
    async fn leave(&mut self, happened: &mut mpsc::Receiver<LinkEvent>) {
        let lease = self.voters.values().map(|(lease, _)| *lease).max().unwrap_or(LEASE_MIN);
        let waits_until = tokio::time::Instant::now() + (lease * 2).min(LEAVE_MAX);
        let mut ask_again = tokio::time::interval(lease.min(LEAVE_MAX) / 6);
        loop {
            let needed: Vec<String> = self
                .voters
                .iter()
                .filter(|(_, (_, voter))| may_be_missed(voter))
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
