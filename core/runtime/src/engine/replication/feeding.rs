//! What the active node sends to those who follow it.

use twinhub_model::{NodeRank, Position};
use twinhub_replica::{Message, Sender};

use crate::data;
use crate::engine::Engine;
use crate::engine::source::Source;

impl Engine {
    pub(super) fn feed(&mut self) {
        let peers: Vec<NodeRank> = self.replication.senders.keys().copied().collect();
        for peer in peers {
            if let Some(frame) = self.replication.blocked.remove(&peer)
                && !self.push_frame(peer, frame)
            {
                continue;
            }
            loop {
                let protocol = self.replication.protocol_of(peer);
                let mut source = Source {
                    journal: &self.journal,
                    table: &self.table,
                    tracker: &self.tracker,
                    parts: &self.parts,
                    own_dictionary: self.own_dictionary,
                    copy: self.replication.copies.entry(peer).or_default(),
                    protocol,
                };
                let Some(sender) = self.replication.senders.get_mut(&peer) else { break };
                let Some(message) = sender.poll(&mut source) else { break };
                if let Message::Entries { batch, .. } = &message {
                    self.replication.sent += batch.len() as u64;
                }
                let frame = data::pack(&self.group, &message);
                if !self.push_frame(peer, frame) {
                    break;
                }
            }
        }
        self.counters.records_sent = self.replication.sent;
    }

    /// Hands a frame to the peer's connection; keeps it if the connection is busy.
    fn push_frame(&mut self, peer: NodeRank, frame: Vec<u8>) -> bool {
        let Some(link) = self.replication.link(peer) else { return false };
        match link.sender.try_send(frame) {
            Ok(()) => true,
            Err(tokio::sync::mpsc::error::TrySendError::Full(frame)) => {
                self.replication.blocked.insert(peer, frame);
                false
            }
            Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Whether a connection took it. A follower's messages are repeated; a full queue loses none for good.
    pub(crate) fn send(&mut self, peer: NodeRank, message: &Message) -> bool {
        let frame = data::pack(&self.group, message);
        self.replication.link(peer).is_some_and(|link| link.sender.try_send(frame).is_ok())
    }

    /// The node that this one follows, while it can be told anything.
    pub(crate) fn followed(&self) -> Option<NodeRank> {
        self.replication.following.filter(|peer| self.replication.link(*peer).is_some())
    }

    /// Whether at least one follower holds everything.
    pub(crate) fn has_standby_in_sync(&self) -> bool {
        self.replication.senders.iter().any(|(peer, sender)| {
            sender.state() == twinhub_replica::SenderState::Tail && self.replication.link(*peer).is_some()
        })
    }

    /// What this follower has on its disk.
    pub(crate) fn durable_on(&self, node: NodeRank) -> Position {
        self.replication.senders.get(&node).map_or(Position::START, Sender::durable)
    }

    /// What at least one follower has on its disk.
    pub(crate) fn durable_on_standby(&self) -> Position {
        self.replication.senders.values().map(Sender::durable).max().unwrap_or(Position::START)
    }
}
