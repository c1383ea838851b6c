//! What sender and receiver say to each other.
//!
//! ```text
//! tag u8 | layout u8 | body
//! ```
//! Bulk content stands raw behind its numbers; everything else is a map of numbered fields.

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Position};

use crate::{EntryBatch, ReplicaError};

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
        /// As in the start.
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
            Message::Throttle { .. } => "throttle",
        }
    }

    /// Appends the message's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Want { stream, from, journal_first, config_hash, dictionary } => {
                let (stream, from, first) = (*stream, *from, *journal_first);
                let body =
                    WantBody { stream, from, first, config_hash: *config_hash, dictionary: *dictionary };
                put(out, WANT, &body);
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
                let WantBody { stream, from, first: journal_first, config_hash, dictionary } = fields(body)?;
                Message::Want { stream, from, journal_first, config_hash, dictionary }
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
/// Layout version of all bodies.
const LAYOUT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Position::new(Epoch(epoch), seq))
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..60)
    }

    fn batch() -> impl Strategy<Value = EntryBatch> {
        let first = (0..u64::MAX / 2, 0..u64::MAX / 2);
        (first, prop::collection::vec((bytes(), any::<bool>()), 0..8)).prop_map(|((epoch, seq), bodies)| {
            let mut batch = EntryBatch::new();
            let mut at = Position::new(Epoch(epoch), seq);
            for (body, is_new_epoch) in bodies {
                batch.push(at, &body);
                at = if is_new_epoch { Position::new(Epoch(at.epoch.0 + 256), 1) } else { at.next() };
            }
            batch
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let stream = any::<u32>();
        prop_oneof![
            (stream, position(), position(), any::<u64>(), any::<u64>()).prop_map(
                |(stream, from, journal_first, config_hash, dictionary)| Message::Want {
                    stream,
                    from,
                    journal_first,
                    config_hash,
                    dictionary
                }
            ),
            (stream, position(), any::<u64>()).prop_map(|(stream, at, items)| Message::SnapshotStart {
                stream,
                at,
                items
            }),
            (stream, any::<u64>(), any::<u64>(), any::<u64>(), bytes()).prop_map(
                |(stream, hash, offset, total, bytes)| Message::Dictionary {
                    stream,
                    hash,
                    offset,
                    total,
                    bytes
                }
            ),
            (stream, bytes()).prop_map(|(stream, body)| Message::SnapshotSamples { stream, body }),
            (stream, ".{0,20}", bytes()).prop_map(|(stream, key, bytes)| Message::SnapshotState {
                stream,
                key,
                bytes
            }),
            (stream, position(), position()).prop_map(|(stream, at, consistent)| Message::SnapshotEnd {
                stream,
                at,
                consistent
            }),
            (stream, position(), batch()).prop_map(|(stream, after, batch)| Message::Entries {
                stream,
                after,
                batch
            }),
            (stream, position(), position()).prop_map(|(stream, received, durable)| Message::Ack {
                stream,
                received,
                durable
            }),
            (stream, position()).prop_map(|(stream, common)| Message::Diverged { stream, common }),
            (stream, position(), position()).prop_map(|(stream, after, before)| Message::Fetch {
                stream,
                after,
                before
            }),
            (stream, any::<u64>(), any::<bool>(), batch()).prop_map(
                |(stream, dictionary, is_complete, batch)| Message::Fetched {
                    stream,
                    dictionary,
                    is_complete,
                    batch
                }
            ),
            (stream, bytes()).prop_map(|(stream, events)| Message::Events { stream, events }),
            (stream, any::<u64>())
                .prop_map(|(stream, bytes_per_second)| Message::Throttle { stream, bytes_per_second }),
        ]
    }

    fn bytes_of(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn every_message_comes_back(message in message()) {
            prop_assert_eq!(Message::decode(&bytes_of(&message)), Ok(message));
        }

        #[test]
        fn damaged_messages_never_panic(
            message in message(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = bytes_of(&message);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() + 1));
            drop(Message::decode(&bytes));
        }

        #[test]
        fn hostile_bytes_never_panic(tag in 0_u8..22, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![tag, LAYOUT];
            bytes.extend(&body);
            if let Ok(Message::Entries { batch, .. }) = Message::decode(&bytes) {
                prop_assert!(batch.size_bytes() <= body.len());
            }
            drop(Message::decode(&body));
        }
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let at = |seq| Position::new(Epoch(0x100), seq);
        for wrong in [at(1), at(3), Position::new(Epoch(0x200), 2), Position::new(Epoch(1), 1)] {
            let mut batch = EntryBatch::new();
            batch.push(at(1), b"x");
            batch.push(wrong, b"y");
            let bytes = bytes_of(&Message::Entries { stream: 1, after: at(0), batch });
            assert!(matches!(Message::decode(&bytes), Err(ReplicaError::Unreadable { .. })), "{wrong}");
        }
    }

    /// If this fails, a node of the version before cannot follow any more: raise the layout instead.
    #[test]
    fn the_bytes_of_messages_stay_the_same() {
        let at = Position::new(Epoch(0x200), 5);
        let mut batch = EntryBatch::new();
        batch.push(at, b"x");
        let cases = [
            (
                Message::Want { stream: 1, from: at, journal_first: at, config_hash: 2, dictionary: 3 },
                "0101a500010182190200050282190200050302 0403",
            ),
            (Message::SnapshotStart { stream: 1, at, items: 9 }, "0201a3000101821902000502 09"),
            (Message::SnapshotSamples { stream: 1, body: vec![7] }, "04010100000007"),
            (
                Message::SnapshotState { stream: 1, key: "k".to_owned(), bytes: vec![7] },
                "0501a300010161 6b024107",
            ),
            (
                Message::Entries { stream: 1, after: at, batch },
                "070101000000 0002000000000000 0500000000000000 0002000000000000 0500000000000000 01000000 78",
            ),
            (Message::Ack { stream: 1, received: at, durable: at }, "0801a3000101821902000502 8219020005"),
            (Message::Diverged { stream: 1, common: at }, "0901a2000101 8219020005"),
            (Message::Events { stream: 0, events: vec![7] }, "14010000000007"),
        ];
        for (message, expected) in cases {
            let bytes: std::sync::Arc<[u8]> = bytes_of(&message).into();
            assert_eq!(
                twinhub_model::Value::Bytes(bytes).to_string(),
                expected.replace(' ', ""),
                "{message:?}"
            );
        }
    }
}
