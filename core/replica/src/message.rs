//! What sender and receiver say to each other.
//!
//! ```text
//! tag u8 | layout u8 | body
//! ```
//! Bulk content stands raw behind its numbers; everything else is a map of numbered fields.

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Position};

use crate::{EntryBatch, ReplicaError};

mod page;

pub use page::{OFFERED_FILES_MAX, Page};

/// The longest encoded message a sender makes if its source keeps to the sizes it is asked for.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// One message; `stream` is the number of the [`Message::Want`] it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Standby: send me what follows `from`.
    Want {
        /// A number greater than that of every earlier want of this receiver.
        stream: u32,
        /// The standby's last record.
        from: Position,
        /// The standby's first record.
        journal_first: Position,
        /// Hash of the standby's configuration.
        config_hash: u64,
        /// Hash of the active's dictionary that the standby still knows; 0 if none.
        dictionary: u64,
        /// Whether an image is wanted though `from` may be in the active's journal, which then goes on behind `from`.
        image: Option<bool>,
    },
    /// Active: a complete image follows; the journal continues behind `at`.
    SnapshotStart {
        /// The stream.
        stream: u32,
        /// The position the image is at least as new as.
        at: Position,
        /// How many values will come.
        items: u64,
    },
    /// Active: a piece of an encoded dictionary; the pieces in order are one record.
    Dictionary {
        /// The stream.
        stream: u32,
        /// Hash of the whole.
        hash: u64,
        /// Where this piece begins.
        offset: u64,
        /// Length of the whole.
        total: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// Active: values of the image, as one encoded record of samples.
    SnapshotSamples {
        /// The stream.
        stream: u32,
        /// The record.
        body: Vec<u8>,
    },
    /// Active: state that is no value, such as a cursor, a plugin's state, a command in doubt.
    SnapshotState {
        /// The stream.
        stream: u32,
        /// What it is.
        key: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Active: the image is complete. It is consistent once the journal is applied up to `consistent`.
    SnapshotEnd {
        /// The stream.
        stream: u32,
        /// Where the journal continues: as in the start, or where the standby asked for if its journal goes on there.
        at: Position,
        /// The active's last record when the image was complete.
        consistent: Position,
    },
    /// Active: the next records; none if the standby asked and lacks nothing.
    Entries {
        /// The stream.
        stream: u32,
        /// The record before the first one; without it, the loss of an epoch's last records could not be
        /// told from an epoch that ended there.
        after: Position,
        /// The records.
        batch: EntryBatch,
    },
    /// Standby: what it has.
    Ack {
        /// The stream.
        stream: u32,
        /// The last record it took.
        received: Position,
        /// The last record that survives its power failure.
        durable: Position,
    },
    /// Active: the standby's `from` is not in the active's history.
    Diverged {
        /// The stream.
        stream: u32,
        /// The last position that both have.
        common: Position,
    },
    /// Any node: send me the records behind `after` and before `before`; damage took mine.
    Fetch {
        /// A number of the asking node.
        stream: u32,
        /// The record before the first.
        after: Position,
        /// The record behind the last.
        before: Position,
    },
    /// Whoever was asked: those records, or the first of them; none if this node lacks them, too.
    Fetched {
        /// The number of the question.
        stream: u32,
        /// Hash of the dictionary that explains them.
        dictionary: u64,
        /// Whether nothing is between the last of them and the end of the range.
        is_complete: bool,
        /// The records.
        batch: EntryBatch,
    },
    /// Standby: what happened there; the active node's journal has room for it.
    Events {
        /// No stream of records: 0.
        stream: u32,
        /// Events in the encoding of their part.
        events: Vec<u8>,
    },
    /// Any node: a request comes to the other one's web interface that this node lets in.
    Vouch {
        /// No stream of records: 0.
        stream: u32,
        /// Who asks, and what they show.
        word: Vec<u8>,
    },
    /// Any node: records that only this node has are set aside behind `common`.
    Offer {
        /// A number of the offering node.
        stream: u32,
        /// The last record that it had in common with a node that was active.
        common: Position,
        /// Bytes of all files.
        bytes: u64,
        /// Names of the files.
        files: Vec<String>,
    },
    /// Active: send me what you set aside at `common` behind `after`.
    Take {
        /// A number of the asking node.
        stream: u32,
        /// Which one.
        common: Position,
        /// The record before the first.
        after: Position,
    },
    /// Whoever was asked: those records, numbered as the active node numbers its items.
    Given {
        /// The number of the question.
        stream: u32,
        /// Hash of the dictionary that explains them.
        dictionary: u64,
        /// What is known of them.
        page: Page,
        /// The records.
        batch: EntryBatch,
    },
    /// Active: send me this piece of what a part of the hub kept when records were set aside at `common`.
    TakePiece {
        /// A number of the asking node.
        stream: u32,
        /// Which one.
        common: Position,
        /// Number of the part.
        part: u16,
        /// Number of the piece, from 0.
        number: u32,
    },
    /// Whoever was asked: that piece.
    GivenPiece {
        /// The number of the question.
        stream: u32,
        /// How many pieces there are; with none of them, there is nothing in `bytes`.
        total: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// Standby: send at most this many bytes per second of snapshot; 0 lifts the limit.
    Throttle {
        /// The stream.
        stream: u32,
        /// The limit.
        bytes_per_second: u64,
    },
}

impl Message {
    /// The want that this message belongs to.
    pub const fn stream(&self) -> u32 {
        match self {
            Message::Want { stream, .. }
            | Message::SnapshotStart { stream, .. }
            | Message::Dictionary { stream, .. }
            | Message::SnapshotSamples { stream, .. }
            | Message::SnapshotState { stream, .. }
            | Message::SnapshotEnd { stream, .. }
            | Message::Entries { stream, .. }
            | Message::Ack { stream, .. }
            | Message::Diverged { stream, .. }
            | Message::Fetch { stream, .. }
            | Message::Fetched { stream, .. }
            | Message::Events { stream, .. }
            | Message::Vouch { stream, .. }
            | Message::Offer { stream, .. }
            | Message::Take { stream, .. }
            | Message::Given { stream, .. }
            | Message::TakePiece { stream, .. }
            | Message::GivenPiece { stream, .. }
            | Message::Throttle { stream, .. } => *stream,
        }
    }

    /// The message's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Message::Want { .. } => "want",
            Message::SnapshotStart { .. } => "snapshot start",
            Message::Dictionary { .. } => "dictionary",
            Message::SnapshotSamples { .. } => "snapshot values",
            Message::SnapshotState { .. } => "snapshot state",
            Message::SnapshotEnd { .. } => "snapshot end",
            Message::Entries { .. } => "entries",
            Message::Ack { .. } => "acknowledgement",
            Message::Diverged { .. } => "diverged",
            Message::Fetch { .. } => "fetch",
            Message::Fetched { .. } => "fetched",
            Message::Events { .. } => "events",
            Message::Vouch { .. } => "vouch",
            Message::Offer { .. } => "offer",
            Message::Take { .. } => "take",
            Message::Given { .. } => "given",
            Message::TakePiece { .. } => "take piece",
            Message::GivenPiece { .. } => "given piece",
            Message::Throttle { .. } => "throttle",
        }
    }

    /// Appends the message's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Want { stream, from, journal_first, config_hash, dictionary, image } => {
                let (stream, from, first) = (*stream, *from, *journal_first);
                let (config_hash, dictionary, image) = (*config_hash, *dictionary, *image);
                put(out, WANT, &WantBody { stream, from, first, config_hash, dictionary, image });
            }
            Message::SnapshotStart { stream, at, items } => {
                put(out, SNAPSHOT_START, &StartBody { stream: *stream, at: *at, items: *items });
            }
            Message::Dictionary { stream, hash, offset, total, bytes } => {
                out.extend_from_slice(&[DICTIONARY, LAYOUT]);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&hash.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&total.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Message::SnapshotSamples { stream, body } => put_raw(out, SNAPSHOT_SAMPLES, *stream, body),
            Message::SnapshotState { stream, key, bytes } => {
                put(out, SNAPSHOT_STATE, &StateBody { stream: *stream, key, bytes });
            }
            Message::SnapshotEnd { stream, at, consistent } => {
                put(out, SNAPSHOT_END, &PairBody { stream: *stream, one: *at, two: *consistent });
            }
            Message::Entries { stream, after, batch } => {
                out.reserve(22 + batch.size_bytes());
                out.extend_from_slice(&[ENTRIES, LAYOUT]);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&after.epoch.0.to_le_bytes());
                out.extend_from_slice(&after.seq.to_le_bytes());
                out.extend_from_slice(batch.as_bytes());
            }
            Message::Ack { stream, received, durable } => {
                put(out, ACK, &PairBody { stream: *stream, one: *received, two: *durable });
            }
            Message::Diverged { stream, common } => {
                put(out, DIVERGED, &DivergedBody { stream: *stream, common: *common });
            }
            Message::Fetch { stream, after, before } => {
                put(out, FETCH, &PairBody { stream: *stream, one: *after, two: *before });
            }
            Message::Fetched { stream, dictionary, is_complete, batch } => {
                out.reserve(15 + batch.size_bytes());
                out.extend_from_slice(&[FETCHED, LAYOUT]);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&dictionary.to_le_bytes());
                out.push(u8::from(*is_complete));
                out.extend_from_slice(batch.as_bytes());
            }
            Message::Events { stream, events } => put_raw(out, EVENTS, *stream, events),
            Message::Vouch { stream, word } => put_raw(out, VOUCH, *stream, word),
            Message::Offer { stream, common, bytes, files } => {
                let (stream, common, bytes) = (*stream, *common, *bytes);
                put(out, OFFER, &OfferBody { stream, common, bytes, files: files.clone() });
            }
            Message::Take { stream, common, after } => {
                put(out, TAKE, &PairBody { stream: *stream, one: *common, two: *after });
            }
            Message::Given { stream, dictionary, page, batch } => {
                out.reserve(39 + batch.size_bytes());
                out.extend_from_slice(&[GIVEN, LAYOUT]);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&dictionary.to_le_bytes());
                page.put(out);
                out.extend_from_slice(batch.as_bytes());
            }
            Message::TakePiece { stream, common, part, number } => {
                let (stream, common, part, number) = (*stream, *common, *part, *number);
                put(out, TAKE_PIECE, &PieceBody { stream, common, part, number });
            }
            Message::GivenPiece { stream, total, bytes } => {
                out.reserve(10 + bytes.len());
                out.extend_from_slice(&[GIVEN_PIECE, LAYOUT]);
                out.extend_from_slice(&stream.to_le_bytes());
                out.extend_from_slice(&total.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Message::Throttle { stream, bytes_per_second } => {
                put(out, THROTTLE, &ThrottleBody { stream: *stream, bytes_per_second: *bytes_per_second });
            }
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`ReplicaError::Unreadable`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Message, ReplicaError> {
        let [tag, layout, body @ ..] = bytes else {
            return Err(unreadable("it is shorter than its header"));
        };
        if *layout != LAYOUT {
            return Err(unreadable(&format!("its layout is {layout}, this version reads {LAYOUT}")));
        }
        Ok(match *tag {
            WANT => {
                let WantBody { stream, from, first, config_hash, dictionary, image } = fields(body)?;
                Message::Want { stream, from, journal_first: first, config_hash, dictionary, image }
            }
            SNAPSHOT_START => {
                let StartBody { stream, at, items } = fields(body)?;
                Message::SnapshotStart { stream, at, items }
            }
            DICTIONARY => {
                let (stream, rest) = raw_u32(body)?;
                let (hash, rest) = raw_u64(rest)?;
                let (offset, rest) = raw_u64(rest)?;
                let (total, rest) = raw_u64(rest)?;
                Message::Dictionary { stream, hash, offset, total, bytes: rest.to_vec() }
            }
            SNAPSHOT_SAMPLES => {
                let (stream, rest) = raw_u32(body)?;
                Message::SnapshotSamples { stream, body: rest.to_vec() }
            }
            SNAPSHOT_STATE => {
                let StateBody { stream, key, bytes } = fields(body)?;
                Message::SnapshotState { stream, key: key.to_owned(), bytes: bytes.to_vec() }
            }
            SNAPSHOT_END => {
                let PairBody { stream, one: at, two: consistent } = fields(body)?;
                Message::SnapshotEnd { stream, at, consistent }
            }
            ENTRIES => {
                let (stream, rest) = raw_u32(body)?;
                let (epoch, rest) = raw_u64(rest)?;
                let (seq, rest) = raw_u64(rest)?;
                let after = Position::new(Epoch(epoch), seq);
                Message::Entries { stream, after, batch: EntryBatch::parse(rest)? }
            }
            ACK => {
                let PairBody { stream, one: received, two: durable } = fields(body)?;
                Message::Ack { stream, received, durable }
            }
            DIVERGED => {
                let DivergedBody { stream, common } = fields(body)?;
                Message::Diverged { stream, common }
            }
            FETCH => {
                let PairBody { stream, one: after, two: before } = fields(body)?;
                Message::Fetch { stream, after, before }
            }
            FETCHED => {
                let (stream, rest) = raw_u32(body)?;
                let (dictionary, rest) = raw_u64(rest)?;
                let [is_complete @ 0..=1, rest @ ..] = rest else {
                    return Err(unreadable("it does not say whether it is complete"));
                };
                let batch = EntryBatch::parse(rest)?;
                Message::Fetched { stream, dictionary, is_complete: *is_complete == 1, batch }
            }
            EVENTS => {
                let (stream, rest) = raw_u32(body)?;
                Message::Events { stream, events: rest.to_vec() }
            }
            VOUCH => {
                let (stream, rest) = raw_u32(body)?;
                Message::Vouch { stream, word: rest.to_vec() }
            }
            OFFER => {
                let OfferBody { stream, common, bytes, files } = fields(body)?;
                if files.len() > OFFERED_FILES_MAX {
                    return Err(unreadable("it names too many files"));
                }
                Message::Offer { stream, common, bytes, files }
            }
            TAKE => {
                let PairBody { stream, one: common, two: after } = fields(body)?;
                Message::Take { stream, common, after }
            }
            GIVEN => {
                let (stream, rest) = raw_u32(body)?;
                let (dictionary, rest) = raw_u64(rest)?;
                let (page, rest) = Page::read(rest)?;
                Message::Given { stream, dictionary, page, batch: EntryBatch::parse(rest)? }
            }
            TAKE_PIECE => {
                let PieceBody { stream, common, part, number } = fields(body)?;
                Message::TakePiece { stream, common, part, number }
            }
            GIVEN_PIECE => {
                let (stream, rest) = raw_u32(body)?;
                let (total, rest) = raw_u32(rest)?;
                Message::GivenPiece { stream, total, bytes: rest.to_vec() }
            }
            THROTTLE => {
                let ThrottleBody { stream, bytes_per_second } = fields(body)?;
                Message::Throttle { stream, bytes_per_second }
            }
            other => return Err(unreadable(&format!("its kind {other} is unknown to this version"))),
        })
    }
}

fn put<T: Encode<()>>(out: &mut Vec<u8>, tag: u8, body: &T) {
    out.extend_from_slice(&[tag, LAYOUT]);
    minicbor::encode(body, out).expect("a vector takes every byte and the bodies have no fallible encoder");
}

fn put_raw(out: &mut Vec<u8>, tag: u8, stream: u32, bytes: &[u8]) {
    out.reserve(6 + bytes.len());
    out.extend_from_slice(&[tag, LAYOUT]);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn fields<'b, T: Decode<'b, ()>>(body: &'b [u8]) -> Result<T, ReplicaError> {
    minicbor::decode(body).map_err(|error| unreadable(&error.to_string()))
}

fn raw_u32(bytes: &[u8]) -> Result<(u32, &[u8]), ReplicaError> {
    let (raw, rest) = bytes.split_first_chunk().ok_or_else(|| unreadable("it ends within a number"))?;
    Ok((u32::from_le_bytes(*raw), rest))
}

fn raw_u64(bytes: &[u8]) -> Result<(u64, &[u8]), ReplicaError> {
    let (raw, rest) = bytes.split_first_chunk().ok_or_else(|| unreadable("it ends within a number"))?;
    Ok((u64::from_le_bytes(*raw), rest))
}

fn unreadable(detail: &str) -> ReplicaError {
    ReplicaError::Unreadable { detail: detail.to_owned() }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WantBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    from: Position,
    #[n(2)]
    first: Position,
    #[n(3)]
    config_hash: u64,
    #[n(4)]
    dictionary: u64,
    #[n(5)]
    image: Option<bool>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StartBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    at: Position,
    #[n(2)]
    items: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StateBody<'b> {
    #[n(0)]
    stream: u32,
    #[b(1)]
    key: &'b str,
    #[cbor(b(2), with = "minicbor::bytes")]
    bytes: &'b [u8],
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PairBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    one: Position,
    #[n(2)]
    two: Position,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct DivergedBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    common: Position,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ThrottleBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    bytes_per_second: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct OfferBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    common: Position,
    #[n(2)]
    bytes: u64,
    #[n(3)]
    files: Vec<String>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PieceBody {
    #[n(0)]
    stream: u32,
    #[n(1)]
    common: Position,
    #[n(2)]
    part: u16,
    #[n(3)]
    number: u32,
}

const WANT: u8 = 1;
const SNAPSHOT_START: u8 = 2;
const DICTIONARY: u8 = 3;
const SNAPSHOT_SAMPLES: u8 = 4;
const SNAPSHOT_STATE: u8 = 5;
const SNAPSHOT_END: u8 = 6;
const ENTRIES: u8 = 7;
const ACK: u8 = 8;
const DIVERGED: u8 = 9;
const THROTTLE: u8 = 10;
const FETCH: u8 = 11;
const FETCHED: u8 = 12;
const EVENTS: u8 = 20;
const VOUCH: u8 = 21;
const OFFER: u8 = 30;
const TAKE: u8 = 31;
const GIVEN: u8 = 32;
const TAKE_PIECE: u8 = 33;
const GIVEN_PIECE: u8 = 34;
/// Layout version of all bodies.
const LAYOUT: u8 = 1;

#[cfg(test)]
mod tests;
