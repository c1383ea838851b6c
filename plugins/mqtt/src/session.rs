//! The MQTT session without a socket: outbox, packet ids, receipts in both directions, subscriptions.
//!
//! Two kinds of packets leave it. *Control* packets (receipts, subscriptions, signs of life, the node's own status)
//! may leave in any role. *Outputs* (messages of items and the release of a `QoS` 2 message, which makes the broker
//! deliver it) may leave only under a permit, and are therefore handed out one by one, right before the write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;

use crate::packet::{ConnAck, Filter, Incoming, Outgoing, Publish, Qos};

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it (`QoS` 1, 2), or the socket took it (`QoS` 0).
    Done,
    /// It was sent, but no receipt came: it may or may not have arrived.
    InDoubt,
    /// Its deadline passed before it was sent.
    Expired,
    /// The node is not active any more; it was not sent.
    NotActive,
    /// The outbox is full; it was not taken.
    Busy,
    /// It cannot be sent: no such item, no such payload, too large.
    Invalid,
    /// The broker refused it.
    Refused,
}

/// Takes the answers of writes.
pub trait Answers {
    /// The writes `ids` ended with `outcome`.
    fn answer(&self, ids: &crate::ids::Ids, outcome: Outcome);
}

/// The writes that one message carries out.
pub struct Receipt {
    /// Who wants to know.
    pub to: Rc<dyn Answers>,
    /// Which writes.
    pub ids: crate::ids::Ids,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt").field("ids", &self.ids.len()).finish_non_exhaustive()
    }
}

impl Receipt {
    fn answer(self, outcome: Outcome) {
        self.to.answer(&self.ids, outcome);
    }
}

/// A message to be published.
#[derive(Debug)]
pub struct Message {
    /// Topic.
    pub topic: Rc<str>,
    /// Payload.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: Qos,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// Epoch for the user property of v5.
    pub epoch: Option<u64>,
    /// Not to be sent after this `CLOCK_BOOTTIME` time.
    pub deadline_ns: i64,
    /// Who wants to know; `None` for the plugin's own messages.
    pub receipt: Option<Receipt>,
}

impl Message {
    fn answer(self, outcome: Outcome) {
        if let Some(receipt) = self.receipt {
            receipt.answer(outcome);
        }
    }

    fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

    fn packet(&self, id: u16, dup: bool) -> Outgoing {
        Outgoing::Publish(Publish {
            topic: self.topic.as_ref().to_owned(),
            payload: self.payload.clone(),
            qos: self.qos,
            retain: self.retain,
            dup,
            id,
            epoch: self.epoch,
        })
    }
}

#[derive(Debug)]
struct InFlight {
    message: Message,
    sequence: u64,
    is_released: bool,
    is_status: bool,
}

/// Numbers for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes refused because the outbox was full.
    pub overflow: u64,
    /// Messages sent a second time.
    pub resent: u64,
    /// Messages that ended in doubt.
    pub in_doubt: u64,
    /// Receipts that belong to nothing.
    pub unsolicited: u64,
    /// `QoS` 2 messages received a second time and not delivered again.
    pub duplicates: u64,
}

/// Limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Waiting messages.
    pub outbox: usize,
    /// Sent messages without receipt.
    pub in_flight: u16,
}

/// What a received packet means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more to do.
    None,
    /// A message to deliver; call [`Session::acknowledge`] when it is safe.
    Message(Publish),
    /// Filters that the broker refused.
    Refused(Vec<String>),
    /// An answer to a sign of life.
    Pong,
    /// The broker ends the connection.
    Closed(String),
}

/// The session.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    window: usize,
    packet_size_max: usize,
    qos_max: Qos,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    in_flight: BTreeMap<u16, InFlight>,
    resend: VecDeque<u16>,
    releases: VecDeque<u16>,
    control: VecDeque<Outgoing>,
    written: Vec<Receipt>,
    /// What the broker confirmed and is not answered yet, all of one batch.
    confirmed: Option<Receipt>,
    sequence: u64,
    next_id: u16,
    /// Ids of `QoS` 2 messages given up after a role loss: the broker may still hold half of the exchange.
    abandoned: BTreeSet<u16>,
    received: BTreeSet<u16>,
    subscribing: BTreeMap<u16, Vec<Filter>>,
    unsubscribing: BTreeSet<u16>,
    /// What the broker has; `None` if it may have the filter, left by an earlier process.
    pub(crate) subscribed: BTreeMap<String, Option<(Qos, bool)>>,
    counts: Counts,
}

impl Session {
    /// A session that knows nothing of the broker, which may know ids of an earlier process: they begin after `last_id`.
    pub fn new(limits: Limits, last_id: u16) -> Self {
        Self {
            limits,
            window: limits.in_flight.into(),
            packet_size_max: usize::MAX,
            qos_max: Qos::ExactlyOnce,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: BTreeMap::new(),
            resend: VecDeque::new(),
            releases: VecDeque::new(),
            control: VecDeque::new(),
            written: Vec::new(),
            confirmed: None,
            sequence: 0,
            next_id: last_id,
            abandoned: BTreeSet::new(),
            received: BTreeSet::new(),
            subscribing: BTreeMap::new(),
            unsubscribing: BTreeSet::new(),
            subscribed: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Puts a message into the outbox, or answers it with [`Outcome::Busy`] if that is full.
    pub fn enqueue(&mut self, message: Message) {
        if self.waiting.len() >= self.limits.outbox || self.waiting_bytes + message.size() > OUTBOX_BYTES_MAX
        {
            self.counts.overflow += message.receipt.as_ref().map_or(1, |receipt| receipt.ids.len() as u64);
            message.answer(Outcome::Busy);
            return;
        }
        self.waiting_bytes += message.size();
        self.waiting.push_back(message);
    }

    /// Queues the node's own status, which may leave in any role.
    pub fn enqueue_status(&mut self, mut message: Message) {
        message.qos = message.qos.min(self.qos_max);
        if message.qos == Qos::AtMostOnce {
            self.control.push_back(message.packet(0, false));
            return;
        }
        let id = self.take_id();
        self.control.push_back(message.packet(id, false));
        let in_flight = InFlight { message, sequence: self.sequence, is_released: false, is_status: true };
        self.in_flight.insert(id, in_flight);
    }

    /// Queues a sign of life.
    pub fn ping(&mut self) {
        self.control.push_back(Outgoing::Ping);
    }

    /// Queues the good-bye.
    pub fn disconnect(&mut self) {
        self.control.push_back(Outgoing::Disconnect);
    }

    /// The broker accepted the connection. `is_first`: this process does not know what an existing session holds.
    pub fn connected(&mut self, ack: &ConnAck, is_first: bool) {
        self.window = usize::from(self.limits.in_flight.min(ack.receive_max.unwrap_or(u16::MAX)).max(1));
        self.packet_size_max = ack.packet_size_max.map_or(usize::MAX, |max| max as usize);
        self.qos_max = ack.qos_max.and_then(Qos::from_number).unwrap_or(Qos::ExactlyOnce);
        if is_first || !ack.session_present {
            self.subscribed.clear();
        }
        let mut order: Vec<_> = self.in_flight.iter().map(|(id, entry)| (entry.sequence, *id)).collect();
        order.sort_unstable();
        if ack.session_present {
            // MQTT 5.0, 4.4: the client must send again what has no receipt, with the same packet id.
            for (_, id) in order {
                match &self.in_flight[&id] {
                    InFlight { is_released: true, .. } => self.releases.push_back(id),
                    InFlight { .. } => self.resend.push_back(id),
                }
            }
        } else {
            self.received.clear();
            self.abandoned.clear();
            for (_, id) in order.into_iter().rev() {
                let Some(entry) = self.in_flight.remove(&id) else { continue };
                if entry.message.qos == Qos::AtLeastOnce {
                    self.counts.resent += 1;
                    self.waiting_bytes += entry.message.size();
                    self.waiting.push_front(entry.message);
                } else {
                    // "Exactly once" was asked for, and the broker forgot whether it had the message.
                    self.counts.in_doubt += 1;
                    entry.message.answer(Outcome::InDoubt);
                }
            }
        }
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.control.clear();
        self.resend.clear();
        self.releases.clear();
        for filter in std::mem::take(&mut self.subscribing).into_values().flatten() {
            self.subscribed.remove(&filter.filter);
        }
        self.unsubscribing.clear();
        for receipt in self.written.drain(..) {
            self.counts.in_doubt += 1;
            receipt.answer(Outcome::InDoubt);
        }
        self.in_flight.retain(|_, entry| !entry.is_status);
    }

    /// The next control packet.
    pub fn next_control(&mut self) -> Option<Outgoing> {
        self.control.pop_front()
    }

    /// Whether an output could leave.
    pub fn has_output(&self) -> bool {
        !self.releases.is_empty()
            || !self.resend.is_empty()
            || (!self.waiting.is_empty() && self.in_flight.len() < self.window)
    }

    /// The next output. The caller holds a permit and writes it at once.
    pub fn next_output(&mut self, now_ns: i64) -> Option<Outgoing> {
        if let Some(id) = self.releases.pop_front() {
            return Some(Outgoing::PubRel(id));
        }
        while let Some(id) = self.resend.pop_front() {
            if let Some(entry) = self.in_flight.get(&id) {
                self.counts.resent += 1;
                return Some(entry.message.packet(id, true));
            }
        }
        while self.in_flight.len() < self.window {
            let mut message = self.waiting.pop_front()?;
            self.waiting_bytes -= message.size();
            if message.deadline_ns <= now_ns {
                message.answer(Outcome::Expired);
                continue;
            }
            if message.size() + PACKET_OVERHEAD_BYTES > self.packet_size_max {
                message.answer(Outcome::Invalid);
                continue;
            }
            message.qos = message.qos.min(self.qos_max);
            if message.qos == Qos::AtMostOnce {
                let packet = message.packet(0, false);
                self.written.extend(message.receipt.take());
                return Some(packet);
            }
            let id = self.take_id();
            let packet = message.packet(id, false);
            let sequence = self.sequence;
            self.in_flight.insert(id, InFlight { message, sequence, is_released: false, is_status: false });
            return Some(packet);
        }
        None
    }

    /// The socket has taken everything handed out. Writes of one batch are answered together.
    pub fn flushed(&mut self) {
        for receipt in std::mem::take(&mut self.written) {
            self.confirm(receipt);
        }
        self.answer_confirmed();
    }

    /// Answers what waited too long.
    pub fn expire(&mut self, now_ns: i64) {
        if self.waiting.iter().all(|message| message.deadline_ns > now_ns) {
            return;
        }
        for message in std::mem::take(&mut self.waiting) {
            if message.deadline_ns > now_ns {
                self.waiting.push_back(message);
            } else {
                self.waiting_bytes -= message.size();
                message.answer(Outcome::Expired);
            }
        }
    }

    /// The role is lost: what was not sent is never sent.
    pub fn refuse_waiting(&mut self) {
        self.waiting_bytes = 0;
        self.resend.clear();
        for message in self.waiting.drain(..) {
            message.answer(Outcome::NotActive);
        }
    }

    /// Gives up waiting for receipts after a role loss.
    pub fn abandon(&mut self) {
        self.releases.clear();
        for (id, entry) in std::mem::take(&mut self.in_flight) {
            if entry.is_status {
                self.in_flight.insert(id, entry);
                continue;
            }
            if entry.message.qos == Qos::ExactlyOnce {
                self.abandoned.insert(id);
            }
            self.counts.in_doubt += 1;
            entry.message.answer(Outcome::InDoubt);
        }
        for receipt in self.written.drain(..) {
            self.counts.in_doubt += 1;
            receipt.answer(Outcome::InDoubt);
        }
    }

    /// Whether an output has no receipt yet.
    pub fn is_output_open(&self) -> bool {
        !self.written.is_empty() || self.in_flight.values().any(|entry| !entry.is_status)
    }

    /// Whether the node's own status has no receipt yet.
    pub fn is_status_open(&self) -> bool {
        self.in_flight.values().any(|entry| entry.is_status)
    }

    /// Messages waiting and messages without receipt.
    pub fn depth(&self) -> (usize, usize) {
        (self.waiting.len(), self.in_flight.len())
    }

    /// Whether so many ids are lost to given-up exchanges that the session should be started afresh.
    pub fn wants_clean_start(&self) -> bool {
        self.abandoned.len() >= ABANDONED_MAX
    }

    /// Numbers since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Makes the subscriptions what `wanted` says. A filter is sent only if it differs from what the broker has.
    pub fn subscribe(&mut self, wanted: &BTreeMap<String, (Qos, bool)>) {
        let gone: Vec<String> =
            self.subscribed.keys().filter(|filter| !wanted.contains_key(*filter)).cloned().collect();
        for chunk in gone.chunks(FILTERS_PER_PACKET) {
            let id = self.take_id();
            self.unsubscribing.insert(id);
            self.control.push_back(Outgoing::Unsubscribe(id, chunk.to_vec()));
            for filter in chunk {
                self.subscribed.remove(filter);
            }
        }
        let new: Vec<Filter> = wanted
            .iter()
            .filter(|(filter, how)| self.subscribed.get(*filter) != Some(&Some(**how)))
            .map(|(filter, (qos, no_local))| Filter {
                filter: filter.clone(),
                qos: *qos,
                no_local: *no_local,
            })
            .collect();
        for chunk in new.chunks(FILTERS_PER_PACKET) {
            let id = self.take_id();
            self.control.push_back(Outgoing::Subscribe(id, chunk.to_vec()));
            for filter in chunk {
                self.subscribed.insert(filter.filter.clone(), Some((filter.qos, filter.no_local)));
            }
            self.subscribing.insert(id, chunk.to_vec());
        }
    }

    /// The broker may have this filter, left by an earlier process: the next [`Session::subscribe`] ends it unless it is
    /// wanted. False if the session knows the filter.
    pub fn assume_subscribed(&mut self, filter: &str) -> bool {
        let is_new = !self.subscribed.contains_key(filter);
        if is_new {
            self.subscribed.insert(filter.to_owned(), None);
        }
        is_new
    }

    /// Whether the broker has answered all subscriptions.
    pub fn is_subscribed(&self) -> bool {
        self.subscribing.is_empty() && self.unsubscribing.is_empty()
    }

    /// A packet came in.
    pub fn receive(&mut self, packet: Incoming) -> Event {
        let event = self.receive_more(packet);
        self.answer_confirmed();
        event
    }

    /// Answers the writes of the packets taken by [`Session::receive_more`].
    pub fn answer_confirmed(&mut self) {
        if let Some(receipt) = self.confirmed.take() {
            receipt.answer(Outcome::Done);
        }
    }

    fn confirm(&mut self, receipt: Receipt) {
        match &mut self.confirmed {
            Some(waiting) if Rc::ptr_eq(&waiting.to, &receipt.to) => waiting.ids.append(receipt.ids),
            Some(_) | None => {
                self.answer_confirmed();
                self.confirmed = Some(receipt);
            }
        }
    }

    /// As [`Session::receive`] for packets that came together: confirmed writes of one batch are answered together, at
    /// the latest by [`Session::answer_confirmed`], which the caller must call before it waits.
    pub fn receive_more(&mut self, packet: Incoming) -> Event {
        match packet {
            Incoming::Publish(publish) => {
                if publish.qos == Qos::ExactlyOnce && self.received.contains(&publish.id) {
                    self.counts.duplicates += 1;
                    self.control.push_back(Outgoing::PubRec(publish.id));
                    return Event::None;
                }
                return Event::Message(publish);
            }
            Incoming::PubAck(id, refusal) => self.settle(id, Qos::AtLeastOnce, refusal.is_some()),
            Incoming::PubRec(id, Some(_)) => self.settle(id, Qos::ExactlyOnce, true),
            Incoming::PubRec(id, None) => {
                if let Some(entry) = self.in_flight.get_mut(&id) {
                    entry.is_released = true;
                    entry.message.payload = Bytes::new();
                    if !self.releases.contains(&id) {
                        self.releases.push_back(id);
                    }
                } else {
                    self.counts.unsolicited += 1;
                }
            }
            Incoming::PubComp(id) => self.settle(id, Qos::ExactlyOnce, false),
            Incoming::PubRel(id) => {
                self.received.remove(&id);
                self.control.push_back(Outgoing::PubComp(id));
            }
            Incoming::SubAck(id, accepted) => {
                let Some(filters) = self.subscribing.remove(&id) else {
                    self.counts.unsolicited += 1;
                    return Event::None;
                };
                let results = accepted.into_iter().chain(std::iter::repeat(false));
                let refused: Vec<String> = filters
                    .into_iter()
                    .zip(results)
                    .filter(|(_, is_fine)| !is_fine)
                    .map(|(filter, _)| filter.filter)
                    .collect();
                if !refused.is_empty() {
                    return Event::Refused(refused);
                }
            }
            Incoming::UnsubAck(id) => {
                self.unsubscribing.remove(&id);
            }
            Incoming::Pong => return Event::Pong,
            Incoming::Disconnect(reason) => {
                return Event::Closed(format!("broker ended the connection: {reason}"));
            }
            Incoming::ConnAck(_) => return Event::Closed("broker accepted the connection twice".to_owned()),
        }
        Event::None
    }

    /// The hub has accepted the message with this id; the broker may forget it.
    pub fn acknowledge(&mut self, qos: Qos, id: u16) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.control.push_back(Outgoing::PubAck(id)),
            Qos::ExactlyOnce => {
                self.received.insert(id);
                self.control.push_back(Outgoing::PubRec(id));
            }
        }
    }

    fn settle(&mut self, id: u16, qos: Qos, is_refused: bool) {
        if self.in_flight.get(&id).is_none_or(|entry| entry.message.qos != qos) {
            self.counts.unsolicited += 1;
            self.abandoned.remove(&id);
            return;
        }
        if let Some(entry) = self.in_flight.remove(&id) {
            match entry.message.receipt {
                Some(receipt) if is_refused => receipt.answer(Outcome::Refused),
                Some(receipt) => self.confirm(receipt),
                None => {}
            }
        }
    }

    /// A packet id that nothing uses. The limits keep far fewer than 65,535 in use.
    fn take_id(&mut self) -> u16 {
        self.sequence += 1;
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            let id = self.next_id;
            let is_used = self.in_flight.contains_key(&id)
                || self.abandoned.contains(&id)
                || self.subscribing.contains_key(&id)
                || self.unsubscribing.contains(&id);
            if !is_used {
                return id;
            }
        }
    }
}

/// Bounds the memory of the outbox beside the number of its messages.
pub const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Keeps a SUBSCRIBE below the packet limits that brokers set.
const FILTERS_PER_PACKET: usize = 64;
/// Fixed header, packet id, lengths and the epoch property.
const PACKET_OVERHEAD_BYTES: usize = 64;
/// A sixteenth of the ids.
const ABANDONED_MAX: usize = 4096;

#[cfg(test)]
mod tests;
