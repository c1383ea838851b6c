//! An etcd cluster as the third vote.
//!
//! Every node runs an adapter that answers its own machine as a witness would. The ballot of a group (promise,
//! grant) is one key, `/twinhub/CLUSTER/GROUP`, and an adapter is a voter whose disk is that key: what it
//! grants it writes first, and only if the key is still as it was last seen (compare-and-swap on revision and
//! value). A renewal is such a write too. To its machine the adapter looks like a connection to a witness.
//!
//! # Why two nodes never hold the grant at once
//!
//! 1. *A grant is spoken after its write.* A holder counts its lease from when it asked, which is before the
//!    write was carried out. A write whose answer is lost is not spoken; the view is given up and read again.
//! 2. *A rival waits for a whole lease of its own clock from when a read that showed the key had come back.*
//!    That read was carried out before it came back, so every write at or below the revision it shows was asked
//!    for earlier still: each such lease ends before the rival's wait does (the margin covers the clocks).
//! 3. *A later renewal changes the revision*, so the rival's write is refused and its wait begins anew.
//! 4. *A late write does no harm.* It carries the revision it was meant for; if it still fits, it only makes
//!    others wait longer, and its asker's lease has run from when it asked.
//! 5. *A restarted adapter* has seen nothing, and so takes the key as renewed when it first sees it.
//! 6. *A token* of the holder, or a supervisor's word that the holder's process is dead, ends the wait, by the
//!    rules of every voter; the write is still compared, so a renewal that overtakes it wins.
//! 7. *A key that is missing or has a smaller promise than was seen* (a restored backup) may hide a grant:
//!    nothing is answered for a lease. The value differs with every write, so that a revision that comes again
//!    after a restore is not taken for the old one.
//!
//! No clock of etcd is involved: neither its leases, which count whole seconds and go on across elections, nor
//! a leader's pause. The lease may be as short as the profile says. An epoch is promised by a write at some
//! revision, and promises only grow from revision to revision: a greater epoch is a later revision.
//!
//! An etcd that does not answer is a silent witness: no answer, no vote. Each renewal leaves a revision
//! behind, so etcd must compact (`--auto-compaction-retention=1h`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use twinhub_config::Etcd;
use twinhub_model::{Incarnation, NodeRank};
use twinhub_redundancy::{Message, VoterId};
use twinhub_wire::{FRAME_CONTROL_MAX, FrameReader, Kind, Measured, PROTOCOL};

use crate::clock;
use crate::peer::{Link, LinkEvent, Loss, LossCause, PeerInfo};
use crate::roles::GroupMessage;
use crate::witness::{GROUP_BYTES_MAX, GROUPS_MAX, LEASE_MAX, LEASE_MIN};

mod arbiter;
mod client;
mod gateway;
mod trial;

use arbiter::{Arbiter, Step};
pub(crate) use client::{Client, EtcdError};
use gateway::{Outcome, entries, outcome, prefix, put_if, range};

/// Messages of the own machine that may wait; more mean that etcd is slower than the machine asks.
const QUEUE: usize = 64;
/// Less would take a busy disk for a dead etcd.
const LIMIT_MIN: Duration = Duration::from_millis(100);
/// Between two attempts to reach a member.
const BACKOFF: Duration = Duration::from_millis(100);
/// What fails again after a shorter time is not told again.
const CALM: Duration = Duration::from_secs(10);
/// Different errors that are told; members have few.
const TOLD_MAX: usize = 64;
/// Between two measurements that are shown.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// What an adapter needs.
#[derive(Debug, Clone)]
pub(crate) struct Attendance {
    pub(crate) etcd: Etcd,
    pub(crate) config_dir: PathBuf,
    pub(crate) cluster: u64,
    pub(crate) me: NodeRank,
    pub(crate) incarnation: Incarnation,
    /// How often grants are renewed: how often the key is looked at.
    pub(crate) renew: Duration,
}

impl Attendance {
    /// A line to the cluster.
    pub(crate) fn client(&self) -> Result<Client, EtcdError> {
        Client::new(&self.etcd, &self.config_dir, self.renew.max(LIMIT_MIN))
    }

    /// Reads what an adapter reads: this shows whether the member knows the user, and has a majority of its own.
    async fn read(&self, client: &mut Client) -> Result<(), EtcdError> {
        let answer = client.post("/v3/kv/range", &range(&prefix(self.cluster), 1)).await?;
        entries(&answer).map(drop).ok_or_else(|| EtcdError::Strange { endpoint: client.endpoint() })
    }
}

/// Answers the machine as a witness for as long as the event receiver lives.
pub(crate) async fn attend(attendance: Attendance, mut client: Client, events: mpsc::Sender<LinkEvent>) {
    let mut adapter = Adapter { arbiters: BTreeMap::new(), attendance };
    // What was said since etcd was last there for a while: members that take turns in failing are not told again.
    let mut told: BTreeSet<String> = BTreeSet::new();
    while !events.is_closed() {
        let (error, was_up) = match adapter.enter(&mut client).await {
            Ok(version) => {
                let version = format!("etcd {version} at {}", client.endpoint());
                let (sender, incoming) = mpsc::channel(QUEUE);
                let up = LinkEvent::Up {
                    link: Link { peer: VoterId::Witness, path: 0, protocol: PROTOCOL, sender },
                    info: PeerInfo {
                        name: "etcd".to_owned(),
                        version,
                        config_hash: 0,
                        protocol: PROTOCOL,
                        is_newer: false,
                        plugins: None,
                    },
                };
                if events.send(up).await.is_err() {
                    return;
                }
                let begun = Instant::now();
                let Some(error) = adapter.serve(&mut client, incoming, &events).await else { return };
                if begun.elapsed() >= CALM {
                    told.clear();
                }
                (error, true)
            }
            Err(error) => (error, false),
        };
        for arbiter in adapter.arbiters.values_mut() {
            arbiter.lost();
        }
        let text = error.to_string();
        let is_news = told.len() < TOLD_MAX && told.insert(text.clone());
        if is_news {
            tracing::warn!(error = text, "etcd gives no vote");
        }
        if was_up || is_news {
            let cause =
                if matches!(error, EtcdError::Silent { .. }) { LossCause::Silent } else { LossCause::Other };
            let loss = Loss { cause, error: text };
            if events.send(LinkEvent::Down { peer: VoterId::Witness, path: 0, loss }).await.is_err() {
                return;
            }
        }
        sleep(BACKOFF).await;
    }
}

struct Adapter {
    arbiters: BTreeMap<String, Arbiter>,
    attendance: Attendance,
}

impl Adapter {
    /// Whether the member can be asked at all; gives its version.
    async fn enter(&self, client: &mut Client) -> Result<String, EtcdError> {
        let version = client.version().await?;
        self.attendance.read(client).await?;
        Ok(version)
    }

    /// Until etcd fails, or nobody listens any more.
    async fn serve(
        &mut self,
        client: &mut Client,
        mut incoming: mpsc::Receiver<Vec<u8>>,
        events: &mpsc::Sender<LinkEvent>,
    ) -> Option<EtcdError> {
        let mut look_at = Instant::now();
        let mut measured_at: Option<Instant> = None;
        loop {
            let first = tokio::select! {
                bytes = incoming.recv() => Some(bytes?),
                () = sleep_until(look_at) => None,
            };
            if let Some(bytes) = first {
                let mut questions = BTreeMap::new();
                self.take(&bytes, &mut questions);
                while let Ok(bytes) = incoming.try_recv() {
                    self.take(&bytes, &mut questions);
                }
                for (group, messages) in questions {
                    for message in messages.in_order() {
                        if let Err(error) = self.answer(client, &group, &message, events).await {
                            self.ask_the_others(client, &group, &message, events).await;
                            return Some(error);
                        }
                    }
                }
            } else {
                let begun = Instant::now();
                if let Err(error) = self.look(client).await {
                    return Some(error);
                }
                look_at = Instant::now() + self.attendance.renew;
                if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
                    measured_at = Some(Instant::now());
                    let measured = Measured { round_trip: begun.elapsed(), clock_offset_ns: 0 };
                    let event = LinkEvent::Measured { peer: VoterId::Witness, path: 0, measured };
                    if events.send(event).await.is_err() {
                        return None;
                    }
                }
            }
        }
    }

    /// The member that was asked failed: another one may still give the vote that the machine waits for. The question is
    /// the same, so that a lease counts from when it was first asked.
    async fn ask_the_others(
        &mut self,
        client: &mut Client,
        group: &str,
        message: &Message,
        events: &mpsc::Sender<LinkEvent>,
    ) {
        for _ in 1..client.count() {
            // What the first one carried out is not known.
            self.arbiters.values_mut().for_each(Arbiter::lost);
            if self.answer(client, group, message, events).await.is_ok() {
                return;
            }
        }
    }

    /// Of several questions that wait only the newest is worth an answer.
    fn take(&mut self, bytes: &[u8], questions: &mut BTreeMap<String, Waiting>) {
        let mut reader = FrameReader::new(FRAME_CONTROL_MAX);
        reader.push(bytes);
        while let Ok(Some(frame)) = reader.next_frame() {
            if frame.kind != Kind::Control {
                continue;
            }
            let Ok(GroupMessage { group, message, lease_ms }) = minicbor::decode(frame.body) else {
                continue;
            };
            if !self.arbiters.contains_key(&group) {
                if self.arbiters.len() >= GROUPS_MAX || group.len() > GROUP_BYTES_MAX {
                    tracing::warn!(group, "too many groups: this one gets no vote");
                    continue;
                }
                let Attendance { cluster, me, incarnation, .. } = self.attendance;
                let lease = Duration::from_millis(u64::from(lease_ms)).clamp(LEASE_MIN, LEASE_MAX);
                let arbiter = Arbiter::new(&group, cluster, me, incarnation, lease);
                self.arbiters.insert(group.clone(), arbiter);
            }
            let waiting = questions.entry(group).or_default();
            match message {
                Message::Heartbeat(_) => waiting.heartbeat = Some(message),
                Message::Resigned { .. } => waiting.resigned.push(message),
                Message::PreVote { .. } | Message::Campaign { .. } | Message::Renew { .. } => {
                    waiting.question = Some(message);
                }
                Message::VoterStatus { .. }
                | Message::PreVoteReply { .. }
                | Message::Grant { .. }
                | Message::Refuse { .. }
                | Message::Transfer { .. }
                | Message::RequestSwitchover { .. }
                | Message::SwitchoverRefused { .. }
                | Message::Bye { .. }
                | Message::Leave { .. }
                | Message::RequestMembers { .. }
                | Message::MembersRefused { .. } => {}
            }
        }
    }

    /// Reads the keys of all groups at once.
    async fn look(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        if self.arbiters.is_empty() {
            return Ok(());
        }
        let prefix = prefix(self.attendance.cluster);
        let answer = client.post("/v3/kv/range", &range(&prefix, GROUPS_MAX)).await?;
        // The moment counts from which a lease is waited for: after the answer came.
        let now = clock::now();
        let listed = entries(&answer).ok_or_else(|| EtcdError::Strange { endpoint: client.endpoint() })?;
        for (group, arbiter) in &mut self.arbiters {
            let key = format!("{prefix}{group}");
            let entry = listed.iter().find(|entry| entry.key == key.as_bytes());
            if let Err(error) =
                arbiter.observed(entry.map(|entry| (entry.revision, entry.value.clone())), now)
            {
                tracing::error!(%error, "etcd gives no vote");
            }
        }
        Ok(())
    }

    async fn answer(
        &mut self,
        client: &mut Client,
        group: &str,
        message: &Message,
        events: &mpsc::Sender<LinkEvent>,
    ) -> Result<(), EtcdError> {
        if self.arbiters.get(group).is_some_and(Arbiter::is_unknown) {
            self.look(client).await?;
        }
        let Some(arbiter) = self.arbiters.get_mut(group) else { return Ok(()) };
        let step = if let Message::Resigned { node, epoch, incarnation } = *message {
            arbiter.resigned(node, epoch, incarnation, clock::now())
        } else {
            arbiter.ask(message, clock::now())
        };
        let says = match step {
            Step::Silent => Vec::new(),
            Step::Say(message) => vec![message],
            Step::Write { compare, value } => {
                let key = format!("{}{group}", prefix(self.attendance.cluster));
                let answer = client.post("/v3/kv/txn", &put_if(&key, &compare, &value)).await?;
                match outcome(&answer) {
                    Some(Outcome::Written { revision }) => arbiter.written(revision),
                    Some(Outcome::Refused) => {
                        arbiter.lost();
                        Vec::new()
                    }
                    None => return Err(EtcdError::Strange { endpoint: client.endpoint() }),
                }
            }
        };
        for message in says {
            let Ok(body) = minicbor::to_vec(GroupMessage { group: group.to_owned(), message, lease_ms: 0 })
            else {
                continue;
            };
            let frame = LinkEvent::Frame { peer: VoterId::Witness, path: 0, kind: Kind::Control, body };
            // A closed receiver is noticed by who waits for the next question.
            drop(events.send(frame).await);
        }
        Ok(())
    }
}

/// What waits for an answer in one group.
#[derive(Default)]
struct Waiting {
    resigned: Vec<Message>,
    question: Option<Message>,
    heartbeat: Option<Message>,
}

impl Waiting {
    fn in_order(self) -> impl Iterator<Item = Message> {
        self.resigned.into_iter().chain(self.question).chain(self.heartbeat)
    }
}
