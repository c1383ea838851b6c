//! Data connections between nodes: replication, on the data runtime.
//!
//! Each path has a data connection beside its control connection. Frames carry the group's name and a
//! replication message; they go to the group's engine, which also owns the sending side.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use twinhub_model::NodeRank;
use twinhub_redundancy::VoterId;
use twinhub_replica::Message;
use twinhub_wire::{Kind, write_frame};

use crate::error::StartError;
use crate::history::lines::Lines;
use crate::inbox::{Inbox, Job};
use crate::peer::{self, Endpoint, LinkEvent, Manner, Target};
use crate::shared::{DropCause, Shared};

/// Events that may wait between the connections and the engines.
const EVENTS_MAX: usize = 256;

/// The runtime of the data connections: one thread, which needs no scheduler for several.
///
/// Dropping it cancels what runs on it, and does not wait for the thread.
#[derive(Debug)]
pub(crate) struct DataThread {
    handle: tokio::runtime::Handle,
    /// The thread ends when this is gone.
    _stop: oneshot::Sender<()>,
}

impl DataThread {
    pub(crate) fn start() -> Result<DataThread, StartError> {
        let failed = |source| StartError::Thread { what: "the data runtime", source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name("data".to_owned())
            // Nothing is ever sent: it answers with an error when the other end is gone.
            .spawn(move || runtime.block_on(stopped).ok())
            .map_err(failed)?;
        Ok(DataThread { handle, _stop: stop })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // It ends with the runtime.
        drop(self.handle.spawn(task));
    }
}

/// What the data side of a node knows.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) endpoint: Endpoint,
    pub(crate) inboxes: BTreeMap<String, Arc<Inbox>>,
    /// What nodes say about values of the past.
    pub(crate) history: Arc<Lines>,
    pub(crate) rank: NodeRank,
    pub(crate) shared: Arc<Shared>,
}

/// Keeps data connections until the control thread is gone.
pub(crate) async fn run(
    data: Data,
    targets: Vec<Target>,
    mut accepted: mpsc::Receiver<(std::net::TcpStream, u8)>,
    manner: Manner,
) {
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let mut tasks = tokio::task::JoinSet::new();
    for target in targets {
        tasks.spawn(peer::keep_dialed(data.endpoint.clone(), target, manner, events.clone()));
    }
    loop {
        tokio::select! {
            stream = accepted.recv() => match stream {
                Some((stream, path)) => {
                    tasks.spawn(peer::adopt(data.endpoint.clone(), stream, path, manner, events.clone()));
                }
                None => break,
            },
            event = happened.recv() => {
                if let Some(event) = event {
                    data.on_link(event);
                }
            }
            // Ended connections are collected so that their tasks do not pile up.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    tasks.shutdown().await;
}

impl Data {
    fn on_link(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { link, .. } => {
                if let Some(peer) = link.peer.node().filter(|peer| *peer != self.rank) {
                    self.history.on_up(peer, link.clone());
                    for inbox in self.inboxes.values() {
                        inbox.push(Job::PeerUp { peer, link: link.clone() });
                    }
                }
            }
            LinkEvent::Down { peer, path, .. } => {
                if let Some(peer) = peer.node() {
                    self.history.on_down(peer, path);
                    for inbox in self.inboxes.values() {
                        inbox.push(Job::PeerDown { peer, path });
                    }
                }
            }
            LinkEvent::Frame { peer, kind: Kind::Replica, body, .. } => {
                let Some(peer) = peer.node() else { return };
                match unpack(&body) {
                    Ok((group, message)) => {
                        if let Some(inbox) = self.inboxes.get(group) {
                            inbox.push(Job::Peer { peer, message });
                        }
                    }
                    Err(error) => {
                        self.shared.count_unreadable(VoterId::Node(peer));
                        let peer = self.shared.name_of(peer);
                        tracing::warn!(peer, error, "unreadable replication message");
                    }
                }
            }
            LinkEvent::Frame { peer, kind: Kind::History, body, .. } => {
                if let Some(peer) = peer.node() {
                    self.history.on_frame(peer, &body, &self.shared);
                }
            }
            LinkEvent::Skipped { peer, frames } => {
                self.shared.count_dropped(peer, DropCause::Unknown, frames);
            }
            LinkEvent::Frame { .. } | LinkEvent::Measured { .. } => {}
        }
    }
}

/// A frame with a replication message of a group.
pub(crate) fn pack(group: &str, message: &Message) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    let length = u8::try_from(group.len()).unwrap_or(u8::MAX);
    body.push(length);
    body.extend_from_slice(&group.as_bytes()[..usize::from(length)]);
    message.encode(&mut body);
    let mut frame = Vec::with_capacity(body.len() + 16);
    write_frame(Kind::Replica, &body, &mut frame);
    frame
}

pub(crate) fn unpack(body: &[u8]) -> Result<(&str, Message), String> {
    let (length, rest) = body.split_first().ok_or("empty frame")?;
    let (group, message) = rest.split_at_checked(usize::from(*length)).ok_or("cut group name")?;
    let group = std::str::from_utf8(group).map_err(|error| error.to_string())?;
    let message = Message::decode(message).map_err(|error| error.to_string())?;
    Ok((group, message))
}
