//! The standby's side: what becomes of each message.

use twinhub_model::Position;

use crate::batch::follows;
use crate::{EntryBatch, Message, ReplicaError};

/// What the standby has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverAction {
    /// Nothing: a duplicate, or something from before the last want.
    Nothing,
    /// Send this to the active.
    Send(Message),
    /// An image follows. Values that do not come with it are gone on the active.
    BeginSnapshot {
        /// The position the image is at least as new as.
        at: Position,
        /// How many values will come.
        items: u64,
    },
    /// Take this dictionary (an encoded record) for what follows.
    UseDictionary {
        /// Its hash.
        hash: u64,
        /// The encoded record.
        record: Vec<u8>,
    },
    /// Put these values (an encoded record of samples) into the table.
    ApplySamples {
        /// The encoded record.
        body: Vec<u8>,
    },
    /// Take over this state.
    ApplyState {
        /// What it is.
        key: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// The image is complete: let the journal continue behind `at`.
    EndSnapshot {
        /// Where the journal continues.
        at: Position,
        /// The image is consistent once the journal is applied up to here.
        consistent: Position,
    },
    /// Append these records to the journal and apply them; they follow without a gap.
    AppendEntries {
        /// The records.
        batch: EntryBatch,
    },
    /// The active lacks records that this node has. Set aside everything behind `common` (the journal's
    /// `truncate_after`), report it, then call [`Receiver::restart`].
    Diverged {
        /// The last position that both have.
        common: Position,
    },
}

/// What a receiver is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverState {
    /// It has asked and waits.
    Asked,
    /// An image is coming.
    Snapshot {
        /// Values announced.
        items: u64,
    },
    /// The journal is being followed.
    Tail,
    /// Its own tail must be set aside.
    Diverged,
}

/// What the active node does not know of a receiver yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unacked {
    /// It knows all.
    Nothing,
    /// Records came; nobody waits for that, unless many bytes are on their way.
    Received,
    /// Records reached the disk, which commands may wait for, or this is the first word of a stream.
    Durable,
}

/// Follows the active node. See the crate's documentation for the exchange.
#[derive(Debug)]
pub struct Receiver {
    stream: u32,
    state: ReceiverState,
    received: Position,
    journal_first: Position,
    config_hash: u64,
    dictionary: u64,
    dictionary_bytes: Vec<u8>,
    dictionary_bytes_max: usize,
    /// The image is consistent from here on.
    consistent: Position,
    acked: Option<(Position, Position)>,
    /// What it holds beside its journal is not what the active node has.
    wants_image: bool,
    duplicates: u64,
    gaps: u64,
    stale: u64,
}

impl Receiver {
    /// A receiver whose journal ends at `my_last` and begins at `journal_first`.
    pub const fn new(my_last: Position, journal_first: Position, config_hash: u64) -> Receiver {
        Receiver {
            stream: 0,
            state: ReceiverState::Asked,
            received: my_last,
            journal_first,
            config_hash,
            dictionary: 0,
            dictionary_bytes: Vec::new(),
            dictionary_bytes_max: DICTIONARY_BYTES_MAX,
            consistent: Position::START,
            acked: None,
            wants_image: false,
            duplicates: 0,
            gaps: 0,
            stale: 0,
        }
    }

    /// Numbers its questions behind `stream`, the last number of a receiver that this one takes the place of: what is
    /// still on its way to that one is then no answer to this one.
    #[must_use]
    pub const fn numbered_after(mut self, stream: u32) -> Receiver {
        self.stream = stream;
        self
    }

    /// From the next question on it asks for an image, until it has one. Its journal goes on where it is.
    pub const fn want_image(&mut self) {
        self.wants_image = true;
    }

    /// The number of the last question.
    pub const fn stream(&self) -> u32 {
        self.stream
    }

    /// Asks the active, at first and on every new connection.
    pub fn want(&mut self) -> Message {
        self.stream = self.stream.wrapping_add(1);
        self.state = ReceiverState::Asked;
        self.acked = None;
        self.dictionary_bytes = Vec::new();
        Message::Want {
            stream: self.stream,
            from: self.received,
            journal_first: self.journal_first,
            config_hash: self.config_hash,
            dictionary: self.dictionary,
            image: self.wants_image.then_some(true),
        }
    }

    /// Asks again after the journal was changed: its tail was set aside, or it could not be written.
    pub fn restart(&mut self, my_last: Position, journal_first: Position) -> Message {
        self.received = my_last;
        self.journal_first = journal_first;
        self.want()
    }

    /// Takes a message of the active and says what to do.
    ///
    /// # Errors
    /// [`ReplicaError`] if the active says what it cannot; the connection should be closed.
    pub fn handle(&mut self, message: Message) -> Result<ReceiverAction, ReplicaError> {
        if message.stream() != self.stream || self.state == ReceiverState::Diverged {
            self.stale += 1;
            return Ok(ReceiverAction::Nothing);
        }
        match message {
            Message::SnapshotStart { at, items, .. } => {
                self.state = ReceiverState::Snapshot { items };
                Ok(ReceiverAction::BeginSnapshot { at, items })
            }
            Message::Dictionary { hash, offset, total, bytes, .. } => {
                self.on_dictionary(hash, offset, total, &bytes)
            }
            Message::SnapshotSamples { body, .. } => {
                self.expect_snapshot("snapshot values")?;
                Ok(ReceiverAction::ApplySamples { body })
            }
            Message::SnapshotState { key, bytes, .. } => {
                self.expect_snapshot("snapshot state")?;
                Ok(ReceiverAction::ApplyState { key, bytes })
            }
            Message::SnapshotEnd { at, consistent, .. } => {
                self.expect_snapshot("snapshot end")?;
                self.state = ReceiverState::Tail;
                self.received = at;
                self.wants_image = false;
                self.consistent = consistent;
                Ok(ReceiverAction::EndSnapshot { at, consistent })
            }
            Message::Entries { after, batch, .. } => self.on_entries(after, batch),
            Message::Diverged { common, .. } => {
                self.state = ReceiverState::Diverged;
                Ok(ReceiverAction::Diverged { common })
            }
            Message::Want { .. }
            | Message::Ack { .. }
            | Message::Fetch { .. }
            | Message::Fetched { .. }
            | Message::Events { .. }
            | Message::Vouch { .. }
            | Message::Offer { .. }
            | Message::Take { .. }
            | Message::Given { .. }
            | Message::TakePiece { .. }
            | Message::GivenPiece { .. }
            | Message::Throttle { .. } => Err(ReplicaError::WrongSide { message: message.name() }),
        }
    }

    /// What an acknowledgement would tell the active node that the last one did not.
    pub fn unacked(&self, durable: Position) -> Unacked {
        match (self.state, self.acked) {
            (ReceiverState::Asked | ReceiverState::Snapshot { .. } | ReceiverState::Diverged, _) => {
                Unacked::Nothing
            }
            (ReceiverState::Tail, None) => Unacked::Durable,
            (ReceiverState::Tail, Some((received, stored))) => {
                if durable.min(self.received) > stored {
                    Unacked::Durable
                } else if self.received > received {
                    Unacked::Received
                } else {
                    Unacked::Nothing
                }
            }
        }
    }

    /// The acknowledgement to send if `durable` or what was received has changed since the last one.
    pub fn ack(&mut self, durable: Position) -> Option<Message> {
        match self.state {
            ReceiverState::Tail => {}
            ReceiverState::Asked | ReceiverState::Snapshot { .. } | ReceiverState::Diverged => return None,
        }
        let now = (self.received, durable.min(self.received));
        if self.acked == Some(now) {
            return None;
        }
        self.acked = Some(now);
        Some(Message::Ack { stream: self.stream, received: now.0, durable: now.1 })
    }

    /// The last record taken.
    pub const fn received(&self) -> Position {
        self.received
    }

    /// Whether everything the image needs has been taken, so that this node could act on it.
    pub fn is_consistent(&self) -> bool {
        self.state == ReceiverState::Tail && self.received >= self.consistent
    }

    /// What it is doing.
    pub const fn state(&self) -> ReceiverState {
        self.state
    }

    /// Records that came twice.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Times records were missing, so that it asked again.
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Messages that belonged to an earlier want.
    pub const fn stale(&self) -> u64 {
        self.stale
    }

    fn on_entries(&mut self, after: Position, mut batch: EntryBatch) -> Result<ReceiverAction, ReplicaError> {
        match self.state {
            ReceiverState::Asked if self.wants_image => {
                // An older version knows no such wish: it makes an image for whoever has nothing.
                self.received = Position::START;
                return Ok(ReceiverAction::Send(self.want()));
            }
            ReceiverState::Asked => self.state = ReceiverState::Tail,
            ReceiverState::Tail => {}
            ReceiverState::Snapshot { .. } | ReceiverState::Diverged => {
                return Err(ReplicaError::OutOfPlace { message: "entries", when: "within a snapshot" });
            }
        }
        let before = batch.len();
        batch.skip_through(self.received);
        self.duplicates += (before - batch.len()) as u64;
        if batch.is_empty() {
            return Ok(ReceiverAction::Nothing);
        }
        if after > self.received || !follows(self.received, batch.first()) {
            self.gaps += 1;
            return Ok(ReceiverAction::Send(self.want()));
        }
        self.received = batch.last();
        Ok(ReceiverAction::AppendEntries { batch })
    }

    fn on_dictionary(
        &mut self,
        hash: u64,
        offset: u64,
        total: u64,
        bytes: &[u8],
    ) -> Result<ReceiverAction, ReplicaError> {
        if offset == 0 {
            self.dictionary_bytes = Vec::new();
        }
        let have = self.dictionary_bytes.len();
        let whole = usize::try_from(total).unwrap_or(usize::MAX);
        if whole > self.dictionary_bytes_max {
            return Err(ReplicaError::Unreadable {
                detail: format!("a dictionary of {total} bytes is above {}", self.dictionary_bytes_max),
            });
        }
        if offset != have as u64 || have + bytes.len() > whole || bytes.is_empty() {
            return Err(ReplicaError::OutOfPlace { message: "dictionary", when: "with a piece missing" });
        }
        self.dictionary_bytes.extend_from_slice(bytes);
        if self.dictionary_bytes.len() < whole {
            return Ok(ReceiverAction::Nothing);
        }
        self.dictionary = hash;
        Ok(ReceiverAction::UseDictionary { hash, record: std::mem::take(&mut self.dictionary_bytes) })
    }

    fn expect_snapshot(&self, message: &'static str) -> Result<(), ReplicaError> {
        match self.state {
            ReceiverState::Snapshot { .. } => Ok(()),
            ReceiverState::Asked | ReceiverState::Tail | ReceiverState::Diverged => {
                Err(ReplicaError::OutOfPlace { message, when: "before the start of a snapshot" })
            }
        }
    }
}

/// A dictionary of a million long keys; a peer that announces more is refused.
const DICTIONARY_BYTES_MAX: usize = 256 * 1024 * 1024;
