//! The active node's side: what one standby gets next.
//!
//! ```text
//! Idle --Want--> Dictionary --> Tail --gap--> Snapshot --end--> Tail
//!           |--> Snapshot           --diverged--> Idle
//!           `--> Diverged -> Idle
//! ```

use std::collections::VecDeque;

use twinhub_model::Position;

use crate::{EntryBatch, Message, ReplicaError};

/// Where a position stands against the active's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is in the journal, or directly before its first record: the tail continues it.
    Present,
    /// It is older than what the journal still holds, or before everything.
    TooOld,
    /// It is not of this history; up to `common` both are the same.
    Diverged {
        /// The last position that both have.
        common: Position,
    },
}

/// How a read from the journal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailEnd {
    /// There is more.
    More,
    /// The last record was read.
    CaughtUp,
    /// The next record is not there any more, or damaged.
    Gap,
}

/// What a read from the journal gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailRead {
    /// How it ended.
    pub end: TailEnd,
    /// Hash of the dictionary that explains the handles in the records read.
    pub dictionary: u64,
}

/// The beginning of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The journal's last record; the image is at least as new.
    pub at: Position,
    /// How many values the image has.
    pub items: u64,
    /// Hash of the dictionary of its handles.
    pub dictionary: u64,
}

/// What the sender reads from: the journal and the item table.
pub trait TailSource {
    /// Where `position` stands against the journal.
    fn relation(&mut self, position: Position) -> Relation;
    /// Adds records behind `after` to `out`, about `max_bytes` of them and at least one if there is one;
    /// stops where the dictionary changes.
    fn read_after(&mut self, after: Position, max_bytes: usize, out: &mut EntryBatch) -> TailRead;
    /// Appends the encoded dictionary with this hash to `out`; false if there is none.
    fn dictionary(&mut self, hash: u64, out: &mut Vec<u8>) -> bool;
    /// Begins an image.
    fn snapshot_begin(&mut self) -> SnapshotHead;
    /// Appends one encoded record of samples from slot `cursor` on, about `max_bytes` long, to `out` and
    /// returns the next cursor, or `None` at the end.
    fn snapshot_chunk(&mut self, cursor: u32, max_bytes: usize, out: &mut Vec<u8>) -> Option<u32>;
    /// The state with this number, or `None` behind the last.
    fn snapshot_state(&mut self, number: u32) -> Option<(String, Vec<u8>)>;
    /// The journal's last record.
    fn last(&mut self) -> Position;
}

/// Sizes of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderOptions {
    /// Bytes that may be on their way without an acknowledgement.
    pub window_bytes: usize,
    /// About the size of one message; at most half of what a frame takes.
    pub message_bytes: usize,
}

impl Default for SenderOptions {
    fn default() -> Self {
        SenderOptions { window_bytes: 4 * 1024 * 1024, message_bytes: 256 * 1024 }
    }
}

/// What a sender is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderState {
    /// The standby has not asked.
    Idle,
    /// An image is on its way.
    Snapshot {
        /// Values sent.
        sent_items_estimate: u64,
        /// All values.
        items: u64,
    },
    /// The journal is being followed.
    Tail,
    /// The standby has records the active lacks; it must set them aside.
    Diverged {
        /// The last position that both have.
        common: Position,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Idle,
    Start,
    Samples { head: SnapshotHead, cursor: u32 },
    States { head: SnapshotHead, number: u32 },
    Tail,
    Diverged { common: Position, told: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piecewise {
    hash: u64,
    bytes: Vec<u8>,
    offset: usize,
}

/// Follows one standby. See the crate's documentation for the exchange.
#[derive(Debug)]
pub struct Sender {
    options: SenderOptions,
    stream: u32,
    stage: Stage,
    /// Where the tail continues behind an image, if the standby's journal goes on there.
    resume: Option<Position>,
    /// Where the tail continues.
    sent: Position,
    received: Position,
    durable: Position,
    /// Sent records that are not acknowledged: last position and bytes of each message.
    flying: VecDeque<(Position, usize)>,
    flying_bytes: usize,
    /// The dictionary the standby knows.
    known_dictionary: u64,
    /// A dictionary being sent; goes before everything else.
    pieces: Option<Piecewise>,
    /// Read, but its dictionary has to go first.
    held: Option<EntryBatch>,
    bulk_allowance: Option<u64>,
    peer_limit: u64,
    peer_config_hash: u64,
    caught_up: bool,
    /// The standby waits for a word even if it lacks nothing.
    must_answer: bool,
    sent_bytes: u64,
    snapshot_bytes: u64,
    snapshots: u64,
    items_sent: u64,
}

impl Sender {
    /// A sender that waits for the standby's want.
    pub const fn new(options: SenderOptions) -> Sender {
        Sender {
            options,
            stream: 0,
            stage: Stage::Idle,
            resume: None,
            sent: Position::START,
            received: Position::START,
            durable: Position::START,
            flying: VecDeque::new(),
            flying_bytes: 0,
            known_dictionary: 0,
            pieces: None,
            held: None,
            bulk_allowance: None,
            peer_limit: 0,
            peer_config_hash: 0,
            caught_up: false,
            must_answer: false,
            sent_bytes: 0,
            snapshot_bytes: 0,
            snapshots: 0,
            items_sent: 0,
        }
    }

    /// Takes a message of the standby; then [`Sender::poll`].
    ///
    /// # Errors
    /// [`ReplicaError`] if the standby says what it cannot; the connection should be closed.
    #[expect(clippy::needless_pass_by_value, reason = "a message is used once, as on the receiver's side")]
    pub fn handle(&mut self, message: Message, source: &mut dyn TailSource) -> Result<(), ReplicaError> {
        match message {
            Message::Want { stream, from, config_hash, dictionary, journal_first: _, image } => {
                self.peer_config_hash = config_hash;
                self.on_want(stream, from, dictionary, image == Some(true), source);
                Ok(())
            }
            Message::Ack { stream, received, durable } => {
                if stream == self.stream {
                    self.on_ack(received, durable)
                } else {
                    Ok(())
                }
            }
            Message::Throttle { stream: _, bytes_per_second } => {
                self.peer_limit = bytes_per_second;
                Ok(())
            }
            Message::SnapshotStart { .. }
            | Message::Dictionary { .. }
            | Message::SnapshotSamples { .. }
            | Message::SnapshotState { .. }
            | Message::SnapshotEnd { .. }
            | Message::Entries { .. }
            | Message::Fetch { .. }
            | Message::Fetched { .. }
            | Message::Events { .. }
            | Message::Vouch { .. }
            | Message::Offer { .. }
            | Message::Take { .. }
            | Message::Given { .. }
            | Message::TakePiece { .. }
            | Message::GivenPiece { .. }
            | Message::Diverged { .. } => Err(ReplicaError::WrongSide { message: message.name() }),
        }
    }

    /// The next message to send, or `None` until something changes: a record was appended, an
    /// acknowledgement came, more bulk is allowed.
    pub fn poll(&mut self, source: &mut dyn TailSource) -> Option<Message> {
        let message = self.next_message(source)?;
        self.sent_bytes += content_bytes(&message);
        Some(message)
    }

    /// Bytes of snapshot that may be sent until the next call; `None` lifts the limit. The caller grants
    /// less than the line carries, so that live traffic goes first.
    pub const fn allow_bulk(&mut self, bytes: Option<u64>) {
        self.bulk_allowance = bytes;
    }

    /// The limit the standby asked for in bytes per second; 0 if none.
    pub const fn peer_limit(&self) -> u64 {
        self.peer_limit
    }

    /// What it is doing.
    pub const fn state(&self) -> SenderState {
        match &self.stage {
            Stage::Idle => SenderState::Idle,
            Stage::Start => SenderState::Snapshot { sent_items_estimate: 0, items: 0 },
            Stage::Samples { head, .. } | Stage::States { head, .. } => {
                SenderState::Snapshot { sent_items_estimate: self.items_sent, items: head.items }
            }
            Stage::Tail => SenderState::Tail,
            Stage::Diverged { common, .. } => SenderState::Diverged { common: *common },
        }
    }

    /// The standby's last acknowledged record.
    pub const fn acked(&self) -> Position {
        self.received
    }

    /// The standby's last record that survives its power failure.
    pub const fn durable(&self) -> Position {
        self.durable
    }

    /// Records the standby lacks against `last`; `None` if it follows an older epoch or no journal yet, so
    /// that the number is not known.
    pub fn lag(&self, last: Position) -> Option<u64> {
        match self.stage {
            Stage::Tail if last.epoch == self.received.epoch => {
                Some(last.seq.saturating_sub(self.received.seq))
            }
            Stage::Tail if last == self.received => Some(0),
            Stage::Tail
            | Stage::Idle
            | Stage::Start
            | Stage::Samples { .. }
            | Stage::States { .. }
            | Stage::Diverged { .. } => None,
        }
    }

    /// Whether the standby has acknowledged everything that was in the journal at the last poll.
    pub fn is_caught_up(&self) -> bool {
        self.stage == Stage::Tail && self.caught_up && self.flying.is_empty()
    }

    /// Bytes on their way.
    pub const fn in_flight_bytes(&self) -> usize {
        self.flying_bytes
    }

    /// Content bytes sent since the beginning; the caller divides by its clock for a rate.
    pub const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Bytes of the present or last snapshot that were sent.
    pub const fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Snapshots begun.
    pub const fn snapshots(&self) -> u64 {
        self.snapshots
    }

    /// Hash of the standby's configuration, as it said.
    pub const fn peer_config_hash(&self) -> u64 {
        self.peer_config_hash
    }

    fn on_want(
        &mut self,
        stream: u32,
        from: Position,
        dictionary: u64,
        wants_image: bool,
        source: &mut dyn TailSource,
    ) {
        self.stream = stream;
        self.flying.clear();
        self.flying_bytes = 0;
        self.pieces = None;
        self.held = None;
        self.caught_up = false;
        self.must_answer = true;
        self.known_dictionary = dictionary;
        (self.sent, self.received, self.durable) = (from, from, Position::START);
        let is_empty = from == Position::START && source.last() != Position::START;
        self.resume = None;
        self.stage = match source.relation(from) {
            Relation::Present if !is_empty && wants_image => {
                self.resume = Some(from);
                Stage::Start
            }
            Relation::Present if !is_empty => Stage::Tail,
            Relation::Present | Relation::TooOld => Stage::Start,
            Relation::Diverged { common } => Stage::Diverged { common, told: false },
        };
    }

    fn on_ack(&mut self, received: Position, durable: Position) -> Result<(), ReplicaError> {
        if received > self.sent {
            return Err(ReplicaError::AckBeyondSent { got: received, sent: self.sent });
        }
        if durable > received {
            return Err(ReplicaError::AckBeyondSent { got: durable, sent: received });
        }
        self.received = self.received.max(received);
        self.durable = self.durable.max(durable);
        while let Some((last, bytes)) = self.flying.front().copied()
            && last <= received
        {
            self.flying.pop_front();
            self.flying_bytes -= bytes;
        }
        Ok(())
    }

    fn next_message(&mut self, source: &mut dyn TailSource) -> Option<Message> {
        if let Some(message) = self.next_piece() {
            return Some(message);
        }
        let stream = self.stream;
        match self.stage.clone() {
            Stage::Idle => None,
            Stage::Diverged { common, told } => {
                self.stage = Stage::Diverged { common, told: true };
                (!told).then_some(Message::Diverged { stream, common })
            }
            Stage::Start => {
                let head = source.snapshot_begin();
                self.snapshots += 1;
                self.snapshot_bytes = 0;
                self.items_sent = 0;
                self.stage = Stage::Samples { head, cursor: 0 };
                self.prepare_dictionary(head.dictionary, source);
                Some(Message::SnapshotStart { stream, at: head.at, items: head.items })
            }
            Stage::Samples { head, cursor } => {
                if self.bulk_allowance == Some(0) {
                    return None;
                }
                let mut body = Vec::new();
                let next = source.snapshot_chunk(cursor, self.options.message_bytes, &mut body);
                self.items_sent = next.map_or(head.items, |next| u64::from(next).min(head.items));
                self.stage = match next {
                    Some(cursor) => Stage::Samples { head, cursor },
                    None => Stage::States { head, number: 0 },
                };
                if body.is_empty() {
                    return self.next_message(source);
                }
                self.count_bulk(body.len());
                Some(Message::SnapshotSamples { stream, body })
            }
            Stage::States { head, number } => {
                if let Some((key, bytes)) = source.snapshot_state(number) {
                    self.stage = Stage::States { head, number: number + 1 };
                    self.count_bulk(bytes.len());
                    return Some(Message::SnapshotState { stream, key, bytes });
                }
                self.stage = Stage::Tail;
                let at = self.resume.take().unwrap_or(head.at);
                (self.sent, self.received) = (at, at);
                Some(Message::SnapshotEnd { stream, at, consistent: source.last() })
            }
            Stage::Tail => self.next_entries(source),
        }
    }

    fn next_entries(&mut self, source: &mut dyn TailSource) -> Option<Message> {
        let batch = if let Some(held) = self.held.take() {
            held
        } else {
            if self.flying_bytes >= self.options.window_bytes {
                return None;
            }
            let mut batch = EntryBatch::new();
            let read = source.read_after(self.sent, self.options.message_bytes, &mut batch);
            if batch.is_empty() {
                self.caught_up = read.end == TailEnd::CaughtUp;
                if read.end == TailEnd::Gap {
                    self.stage = Stage::Start;
                    return self.next_message(source);
                }
                let (stream, after) = (self.stream, self.sent);
                return std::mem::take(&mut self.must_answer).then_some(Message::Entries {
                    stream,
                    after,
                    batch,
                });
            }
            self.caught_up = read.end == TailEnd::CaughtUp;
            if self.prepare_dictionary(read.dictionary, source) {
                self.held = Some(batch);
                return self.next_piece();
            }
            batch
        };
        self.must_answer = false;
        let after = std::mem::replace(&mut self.sent, batch.last());
        self.flying.push_back((batch.last(), batch.size_bytes()));
        self.flying_bytes += batch.size_bytes();
        Some(Message::Entries { stream: self.stream, after, batch })
    }

    /// Whether a dictionary has to be sent first.
    fn prepare_dictionary(&mut self, hash: u64, source: &mut dyn TailSource) -> bool {
        if hash == self.known_dictionary {
            return false;
        }
        let mut bytes = Vec::new();
        if !source.dictionary(hash, &mut bytes) || bytes.is_empty() {
            return false;
        }
        self.pieces = Some(Piecewise { hash, bytes, offset: 0 });
        true
    }

    fn next_piece(&mut self) -> Option<Message> {
        let pieces = self.pieces.as_mut()?;
        let end = (pieces.offset + self.options.message_bytes.max(1)).min(pieces.bytes.len());
        let message = Message::Dictionary {
            stream: self.stream,
            hash: pieces.hash,
            offset: pieces.offset as u64,
            total: pieces.bytes.len() as u64,
            bytes: pieces.bytes[pieces.offset..end].to_vec(),
        };
        pieces.offset = end;
        if end == pieces.bytes.len() {
            self.known_dictionary = pieces.hash;
            self.pieces = None;
        }
        Some(message)
    }

    fn count_bulk(&mut self, bytes: usize) {
        self.snapshot_bytes += bytes as u64;
        if let Some(left) = &mut self.bulk_allowance {
            *left = left.saturating_sub(bytes as u64);
        }
    }
}

fn content_bytes(message: &Message) -> u64 {
    let bytes = match message {
        Message::Entries { batch, .. } | Message::Fetched { batch, .. } | Message::Given { batch, .. } => {
            batch.size_bytes()
        }
        Message::SnapshotSamples { body: bytes, .. }
        | Message::Dictionary { bytes, .. }
        | Message::GivenPiece { bytes, .. }
        | Message::SnapshotState { bytes, .. }
        | Message::Events { events: bytes, .. } => bytes.len(),
        Message::Want { .. }
        | Message::SnapshotStart { .. }
        | Message::SnapshotEnd { .. }
        | Message::Ack { .. }
        | Message::Diverged { .. }
        | Message::Fetch { .. }
        | Message::Vouch { .. }
        | Message::Offer { .. }
        | Message::Take { .. }
        | Message::TakePiece { .. }
        | Message::Throttle { .. } => 0,
    };
    bytes as u64
}
