//! Following the active node, and feeding those who follow this one.
//!
//! `core/replica` decides what is sent and what becomes of it; this file gives it the journal and the item
//! table to read from, a connection to write to, and does what its receiver says. Handles of another node
//! are translated by its dictionary; where both nodes number alike, records are appended byte for byte.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Epoch, ItemId, Moment, NodeRank, Part, Position, Record, Value};
use twinhub_redundancy::Input;
use twinhub_replica::{
    Message, Receiver, ReceiverAction, ReceiverState, Ring, RingLimits, Sender, SenderOptions, Unacked,
};
use twinhub_wire::PROTOCOL_MIN;

use super::parts::Parts;
use super::source::{PartsCopy, SOURCES_STATE, Source, TRACKER_STATE, unpack_records};
use super::translation::Translation;
use super::{Engine, Phase};
use crate::peer::Link;
use crate::setup::LAG_LIMIT_RECORDS;

mod appending;
mod feeding;
mod fork;
mod ring;

/// Telegrams that a ring keeps.
const RING_COUNT_MAX: usize = 100_000;
/// Bytes of text that a ring keeps.
const RING_BYTES_MAX: usize = 16 << 20;
/// Telegrams are told apart by value and order, not by time: a broker delivers what it kept for a restarted
/// node long after the active one had it.
const RING_TOLERANCE: Duration = Duration::from_secs(86_400);
/// After a takeover a telegram that the node before had journaled is recognized for this long.
const EXPECTED_MAX: Duration = Duration::from_secs(10);
/// A follower says where it is at least so often, which also keeps the connection alive.
const ACK_INTERVAL: Duration = Duration::from_secs(1);

/// Records that came and are not on the disk yet are acknowledged at most so often while more of them come: nobody
/// waits for that, and each word wakes two threads here and two there.
const ACK_GATHER: Duration = Duration::from_millis(20);
/// They are at once above so many bytes, long before the active node waits for it.
const ACK_BYTES: usize = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Replication {
    me: NodeRank,
    links: BTreeMap<NodeRank, BTreeMap<u8, Link>>,
    senders: BTreeMap<NodeRank, Sender>,
    blocked: BTreeMap<NodeRank, Vec<u8>>,
    /// What each follower's present copy still lacks of the parts.
    copies: BTreeMap<NodeRank, PartsCopy>,
    following: Option<NodeRank>,
    receiver: Option<Receiver>,
    /// Hash of the dictionary of what the active node sends; 0 while it numbers as this node does.
    incoming: u64,
    translations: RefCell<BTreeMap<u64, Arc<Translation>>>,
    ring: Ring,
    /// What each item of a hot interface was last heard to be.
    heard: HashMap<ItemId, Value>,
    /// After a takeover: journaled by the node before, not heard here yet.
    expected: HashMap<ItemId, VecDeque<Value>>,
    expected_until: Moment,
    acked_at: Moment,
    /// Bytes that came since then.
    unacked_bytes: usize,
    /// An acknowledgement waits for more to come.
    holds_ack: bool,
    last_ack: Option<Message>,
    reported_lag: Option<u64>,
    hearing: Hearing,
    active_role: ActiveRole,
    /// The role machine is to hear of the lag though it did not change.
    tell_lag_again: bool,
    /// The journal goes on behind a full copy, or behind what was deleted: it alone does not give the values.
    pub(crate) lacks_copy: bool,
    /// Records of this node alone that were set aside since it was in sync last.
    set_aside: Option<u64>,
    sent: u64,
    received: u64,
    /// Where the full copy that is coming stands in the active node's journal.
    copy_at: Position,
    /// Number of the last question of the receiver before this one.
    streams: u32,
}

/// What becomes of what a hot interface of a standby hears and the journal did not bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// It only settles what the journal brings: this node does not have the journal of the node that is followed. What a
    /// sender gives again until it has a receipt is kept all the same, in doubt (`replica::Ring`).
    Settles,
    /// It is kept for a takeover: this node has the journal of the node that it follows, or followed last. Nobody to
    /// follow changes nothing in that.
    Keeps,
}

/// What the active node's journal says of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ActiveRole {
    /// It keeps it.
    Kept,
    /// It hands it over, and waits for every record that is still to come to be on this disk.
    HandedOver,
}

impl Replication {
    pub(crate) fn new(me: NodeRank, window: Duration) -> Replication {
        let limits = RingLimits {
            count_max: RING_COUNT_MAX,
            bytes_max: RING_BYTES_MAX,
            age_max: window,
            tolerance: RING_TOLERANCE,
        };
        Replication {
            me,
            links: BTreeMap::new(),
            senders: BTreeMap::new(),
            blocked: BTreeMap::new(),
            copies: BTreeMap::new(),
            following: None,
            receiver: None,
            incoming: 0,
            translations: RefCell::new(BTreeMap::new()),
            ring: Ring::new(limits),
            heard: HashMap::new(),
            expected: HashMap::new(),
            expected_until: Moment::ZERO,
            acked_at: Moment::ZERO,
            unacked_bytes: 0,
            holds_ack: false,
            last_ack: None,
            reported_lag: None,
            hearing: Hearing::Settles,
            active_role: ActiveRole::Kept,
            tell_lag_again: false,
            lacks_copy: false,
            set_aside: None,
            sent: 0,
            received: 0,
            copy_at: Position::START,
            streams: 0,
        }
    }

    pub(crate) fn orphans(&self) -> u64 {
        self.ring.stats().orphans
    }

    /// Records each follower lacks, and whether it is caught up.
    pub(crate) fn peer_view(&self) -> BTreeMap<NodeRank, (u64, bool)> {
        self.senders
            .iter()
            .map(|(peer, sender)| (*peer, (u64::from(!sender.is_caught_up()), sender.is_caught_up())))
            .collect()
    }

    /// How far the feeding of this follower is, over a connection that stands.
    pub(crate) fn sender_state(&self, peer: NodeRank) -> Option<twinhub_replica::SenderState> {
        self.link(peer)?;
        self.senders.get(&peer).map(Sender::state)
    }

    /// The node that is followed, if this one has everything that it has.
    pub(crate) fn in_sync_with(&self) -> Option<NodeRank> {
        let receiver = self.receiver.as_ref()?;
        self.following.filter(|_| receiver.is_consistent() && !self.lacks_copy && self.set_aside.is_none())
    }

    /// Hash of the dictionary of what the active node sends; 0 while it numbers as this node does.
    pub(crate) const fn incoming(&self) -> u64 {
        self.incoming
    }

    /// Bytes on their way to the follower that has most of them.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.senders.values().map(Sender::in_flight_bytes).max().unwrap_or(0)
    }

    /// What is on its way to this receiver is no answer to the next one.
    fn forget_receiver(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            self.streams = receiver.stream();
        }
    }

    /// This node is active from now on: nobody is followed.
    pub(crate) fn become_sender(&mut self) {
        self.active_role = ActiveRole::Kept;
        self.following = None;
        self.forget_receiver();
        self.senders.clear();
        self.blocked.clear();
        self.copies.clear();
        self.reported_lag = None;
    }

    /// When replication needs the engine next.
    pub(crate) fn due(&self, now: Moment) -> Option<Moment> {
        let patience = if self.holds_ack { ACK_GATHER } else { ACK_INTERVAL };
        let ack = self.receiver.as_ref().map(|_| self.acked_at + patience);
        let blocked = (!self.blocked.is_empty()).then(|| now + Duration::from_millis(1));
        [ack, blocked].into_iter().flatten().min()
    }

    /// What this peer understands; without a connection nothing is sent that matters.
    pub(crate) fn protocol_of(&self, peer: NodeRank) -> u16 {
        self.link(peer).map_or(PROTOCOL_MIN, |link| link.protocol)
    }

    /// Nodes with a connection.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeRank> {
        self.links.keys().copied().filter(|peer| self.link(*peer).is_some())
    }

    fn link(&self, peer: NodeRank) -> Option<&Link> {
        self.links.get(&peer)?.values().find(|link| !link.sender.is_closed())
    }
}

impl Engine {
    pub(crate) fn on_peer_up(&mut self, peer: NodeRank, link: Link) {
        let had_link = self.replication.link(peer).is_some();
        self.replication.links.entry(peer).or_default().insert(link.path, link);
        if !had_link && self.replication.following == Some(peer) {
            self.ask();
        }
    }

    pub(crate) fn on_peer_down(&mut self, peer: NodeRank, path: u8) {
        if let Some(links) = self.replication.links.get_mut(&peer) {
            links.retain(|other, link| *other != path || !link.sender.is_closed());
        }
        self.replication.blocked.remove(&peer);
        self.replication.senders.remove(&peer);
        self.replication.copies.remove(&peer);
        if self.replication.following == Some(peer) && self.replication.link(peer).is_some() {
            self.ask();
        }
    }

    pub(crate) fn on_follow(&mut self, active: Option<NodeRank>, epoch: Epoch) {
        if matches!(self.phase, Phase::Draining(_)) {
            self.phase = Phase::Standby;
        }
        let active = active.filter(|node| *node != self.replication.me);
        // Data may have come before the role machine asked for it, which then did not hear that it is complete.
        self.replication.tell_lag_again = true;
        if self.replication.following == active && self.replication.receiver.is_some() {
            return;
        }
        let active_name = active.map(|node| self.shared.name_of(node));
        tracing::debug!(group = %self.group, active = active_name, %epoch, "following");
        self.replication.following = active;
        self.replication.senders.clear();
        self.replication.forget_receiver();
        self.replication.reported_lag = None;
        if active.is_some() {
            self.replication.hearing = Hearing::Settles;
        }
        if active.is_some_and(|peer| self.replication.link(peer).is_some()) {
            self.ask();
        }
    }

    /// Table, tracker and parts are not to be trusted: a copy says what holds instead. The journal goes on where it is, if
    /// it is that of the active node; if it is not, that shows first.
    pub(crate) fn on_resync(&mut self) {
        if self.replication.following.is_some() {
            self.replication.lacks_copy = true;
            self.replication.forget_receiver();
            self.ask();
        }
    }

    /// Asks the active node for what this one lacks.
    fn ask(&mut self) {
        let Some(peer) = self.replication.following else { return };
        let (last, first) = (self.journal.last(), self.journal.first());
        let (hash, streams) = (self.shared.config_hash(), self.replication.streams);
        let lacks_copy = self.replication.lacks_copy;
        let new = || Receiver::new(last, first, hash).numbered_after(streams);
        let receiver = self.replication.receiver.get_or_insert_with(new);
        if lacks_copy {
            receiver.want_image();
        }
        let want = receiver.restart(last, first);
        self.send(peer, &want);
    }

    pub(crate) fn on_peer_message(&mut self, peer: NodeRank, message: Message) {
        match message {
            Message::Want { .. } | Message::Ack { .. } | Message::Throttle { .. } => {
                if !self.is_writer() {
                    return;
                }
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
                let sender = self
                    .replication
                    .senders
                    .entry(peer)
                    .or_insert_with(|| Sender::new(SenderOptions::default()));
                if let Err(error) = sender.handle(message, &mut source) {
                    tracing::warn!(peer = self.shared.name_of(peer), %error, "replication");
                    self.replication.senders.remove(&peer);
                }
            }
            Message::SnapshotStart { .. }
            | Message::Dictionary { .. }
            | Message::SnapshotSamples { .. }
            | Message::SnapshotState { .. }
            | Message::SnapshotEnd { .. }
            | Message::Entries { .. }
            | Message::Diverged { .. } => self.on_active_message(peer, message),
            Message::Vouch { word, .. } => self.on_vouched(peer, &word),
            Message::Events { events, .. } => self.on_offered_events(peer, &events),
            Message::Fetch { stream, after, before } => self.on_fetch(peer, stream, after, before),
            Message::Fetched { stream, dictionary, is_complete, batch } => {
                self.on_fetched(peer, stream, dictionary, is_complete, &batch);
            }
            Message::Offer { stream: _, common, bytes, files } => self.on_offer(peer, common, bytes, files),
            Message::Take { stream, common, after } => self.on_take(peer, stream, common, after),
            Message::Given { stream, dictionary, page, batch } => {
                self.on_given(peer, stream, dictionary, page, batch);
            }
            Message::TakePiece { stream, common, part, number } => {
                self.on_take_piece(peer, stream, common, Part(part), number);
            }
            Message::GivenPiece { stream, total, bytes } => self.on_given_piece(peer, stream, total, bytes),
        }
    }

    fn on_active_message(&mut self, peer: NodeRank, message: Message) {
        if self.is_writer() || self.replication.following != Some(peer) {
            return;
        }
        let Some(receiver) = self.replication.receiver.as_mut() else { return };
        match receiver.handle(message) {
            Ok(action) => self.do_receiver(peer, action),
            Err(error) => {
                tracing::warn!(peer = self.shared.name_of(peer), %error, "replication: asking again");
                self.ask();
            }
        }
    }

    fn do_receiver(&mut self, peer: NodeRank, action: ReceiverAction) {
        match action {
            ReceiverAction::Nothing => {}
            ReceiverAction::Send(message) => {
                self.send(peer, &message);
            }
            ReceiverAction::BeginSnapshot { at, items } => {
                tracing::info!(group = %self.group, %at, items, "a full copy is coming");
                self.tracker.clear();
                self.replication.copy_at = at;
            }
            ReceiverAction::UseDictionary { record, .. } => self.use_dictionary(&record),
            ReceiverAction::ApplySamples { body } => self.apply_copy(&body),
            ReceiverAction::ApplyState { key, bytes } => self.apply_state(&key, &bytes),
            ReceiverAction::EndSnapshot { at, .. } => {
                if let Err(error) = self.journal.restart_at(at) {
                    self.journal_failed(&error);
                }
                self.replication.lacks_copy = false;
                self.replication.ring.doubt();
                tracing::info!(group = %self.group, %at, "the full copy is complete");
            }
            ReceiverAction::AppendEntries { batch } => self.append_entries(&batch),
            ReceiverAction::Diverged { common } => self.set_aside(common),
        }
    }

    /// Records from here on are numbered as the active node numbers its items; they are kept so, with its
    /// dictionary, and translated where they are used.
    fn use_dictionary(&mut self, record: &[u8]) {
        match self.journal.set_dictionary_record(record) {
            Ok(hash) => self.replication.incoming = hash,
            Err(error) => self.journal_failed(&error),
        }
    }

    /// From the handles of the dictionary with this hash to handles here.
    pub(crate) fn translation(&self, hash: u64) -> Arc<Translation> {
        if hash == self.own_dictionary || hash == 0 {
            return Arc::new(Translation::Same);
        }
        let known = self.replication.translations.borrow().get(&hash).cloned();
        if let Some(known) = known {
            return known;
        }
        let translation = match self.journal.dictionary(hash) {
            Ok(entries) => Arc::new(Translation::of(&entries, &self.table)),
            Err(error) => {
                tracing::warn!(hash = format!("{hash:016x}"), %error, "a dictionary is not readable");
                Arc::new(Translation::Map(Vec::new()))
            }
        };
        self.replication.translations.borrow_mut().insert(hash, Arc::clone(&translation));
        translation
    }

    fn apply_copy(&mut self, body: &[u8]) {
        match twinhub_wire::record::decode(body) {
            Ok(record) => {
                if let Some(record) = self.translate(record) {
                    let at = self.journal.last();
                    if let Record::Samples(samples) = &record {
                        self.store_samples(samples);
                        self.shared.stream(&self.group, at, samples);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "part of the full copy is not readable"),
        }
    }

    fn apply_state(&mut self, key: &str, bytes: &[u8]) {
        if Parts::owns(key) {
            if let Err(why) = self.parts.take_piece(key, bytes, self.replication.copy_at) {
                tracing::error!(key, why, "part of the full copy is left out");
            }
            return;
        }
        let Some(entries) = unpack_records(bytes) else {
            tracing::warn!(key, "state of the full copy is not readable");
            return;
        };
        for (position, record) in entries {
            let Some(record) = self.translate(record) else { continue };
            match key {
                TRACKER_STATE => self.tracker.apply(position, &record),
                SOURCES_STATE => {
                    if let Record::Samples(samples) = &record {
                        for sample in samples.iter() {
                            self.tracker.set_source(sample.item, position);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A record that the active node sent, in this node's handles.
    fn translate(&self, record: Record) -> Option<Record> {
        self.translation(self.replication.incoming).apply(record)
    }

    /// Feeds followers, acknowledges to the active node, reports how well this node follows.
    pub(crate) fn replicate(&mut self, now: Moment) {
        if self.is_writer() {
            self.feed();
            return;
        }
        if self.replication.following.is_some() {
            // With nobody to follow it may be that nobody else has it.
            self.replication.ring.expire(now);
        }
        let durable = self.journal.durable();
        let due = now >= self.replication.acked_at + ACK_INTERVAL;
        let (Some(peer), Some(receiver)) = (self.replication.following, self.replication.receiver.as_mut())
        else {
            return;
        };
        let durable = durable.min(receiver.received());
        let is_time = now >= self.replication.acked_at + ACK_GATHER;
        let is_much = self.replication.unacked_bytes >= ACK_BYTES;
        self.replication.holds_ack = receiver.unacked(durable) == Unacked::Received && !is_time && !is_much;
        let ack = if self.replication.holds_ack { None } else { receiver.ack(durable) };
        let in_sync = receiver.is_consistent();
        // What could not be set aside, for a full disk say, is tried again.
        let asked = matches!(receiver.state(), ReceiverState::Asked | ReceiverState::Diverged);
        if ack.is_some() {
            self.replication.last_ack.clone_from(&ack);
        }
        let message = match ack {
            Some(ack) => Some(ack),
            None if due && asked => Some(receiver.want()),
            None if due => self.replication.last_ack.clone(),
            None => None,
        };
        if let Some(message) = message {
            self.replication.acked_at = now;
            self.replication.unacked_bytes = 0;
            self.send(peer, &message);
        }
        self.report_sync(in_sync);
    }

    /// Tells the role machine how well this node follows, when that changed.
    fn report_sync(&mut self, in_sync: bool) {
        self.replication.hearing = if in_sync { Hearing::Keeps } else { Hearing::Settles };
        if !in_sync {
            self.replication.reported_lag = None;
            return;
        }
        let Some(peer) = self.replication.following else { return };
        let theirs = self.shared.group_position(&self.group, peer);
        let mine = self.journal.last();
        let lag = if theirs.epoch == mine.epoch { theirs.seq.saturating_sub(mine.seq) } else { 0 };
        let is_behind = lag > LAG_LIMIT_RECORDS;
        let is_known =
            self.replication.reported_lag.is_some_and(|last| (last > LAG_LIMIT_RECORDS) == is_behind);
        if is_known && !self.replication.tell_lag_again {
            return;
        }
        self.replication.tell_lag_again = false;
        self.replication.reported_lag = Some(lag);
        self.tell_agreed();
        let info = self.shared.info(twinhub_redundancy::VoterId::Node(peer));
        let mine = self.shared.config_hash();
        self.routes.inherit(info.as_ref().is_none_or(|info| info.config_hash == mine));
        let config_matches = info.is_none_or(|info| self.fits(info.config_hash));
        self.tell(Input::Synced { lag_records: lag, config_matches });
    }

    /// Whether this node may follow one with that configuration: with the same one, or while a new revision is taken
    /// into service node by node, when both are revisions of the site.
    fn fits(&self, theirs: u64) -> bool {
        let mine = self.shared.config_hash();
        theirs == mine || self.proposals.know(mine) && self.proposals.know(theirs)
    }
}
