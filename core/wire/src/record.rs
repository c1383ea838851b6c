//! One journal record as bytes: kind, layout version, body.

use std::borrow::Borrow;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use twinhub_model::{
    Delivered, Epoch, Event, Intent, IntentKind, ItemId, ItemKey, Merged, NamedStream, NodeRank, Outcome,
    Part, PartRecord, Position, Record, RoleChange, Sample, Severity, Timestamp, WriteResult,
};

use crate::varint::{Reader, put_i64, put_u64};
use crate::{WireError, samples, value};

/// The longest encoded record that the journal and the link take; leaves room for its frame.
/// Publishers split larger batches.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024 - 4096;

/// What a record is, without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// [`Record::Dictionary`].
    Dictionary,
    /// [`Record::Samples`].
    Samples,
    /// [`Record::Intent`].
    Intent,
    /// [`Record::Result`].
    Result,
    /// [`Record::Delivered`].
    Delivered,
    /// [`Record::Role`].
    Role,
    /// [`Record::Event`].
    Event,
    /// [`Record::Part`].
    Part,
    /// [`Record::Merged`].
    Merged,
}

impl RecordKind {
    /// The kind of an encoded record.
    ///
    /// # Errors
    /// [`WireError::UnknownRecord`] if this version does not know it, [`WireError::Truncated`] if there is
    /// nothing.
    pub fn of(bytes: &[u8]) -> Result<RecordKind, WireError> {
        match bytes.first().copied() {
            None => Err(WireError::Truncated { what: "a record" }),
            Some(DICTIONARY) => Ok(RecordKind::Dictionary),
            Some(SAMPLES) => Ok(RecordKind::Samples),
            Some(INTENT) => Ok(RecordKind::Intent),
            Some(RESULT) => Ok(RecordKind::Result),
            Some(DELIVERED) => Ok(RecordKind::Delivered),
            Some(ROLE) => Ok(RecordKind::Role),
            Some(EVENT) => Ok(RecordKind::Event),
            Some(PART) => Ok(RecordKind::Part),
            Some(MERGED) => Ok(RecordKind::Merged),
            Some(kind) => Err(WireError::UnknownRecord { kind }),
        }
    }
}

/// Appends the record's bytes to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Dictionary(entries) => encode_dictionary(entries, out),
        Record::Samples(samples) => encode_samples(&**samples, out),
        Record::Intent(intent) => put(out, INTENT, &IntentBody::from(intent)),
        Record::Result(result) => put(out, RESULT, &ResultBody::from(result)),
        Record::Delivered(delivered) => {
            put(out, DELIVERED, &DeliveredBody::from(delivered));
        }
        Record::Role(change) => put(out, ROLE, &RoleBody::from(change)),
        Record::Event(event) => put(out, EVENT, &EventBody::from(event)),
        Record::Part(record) => {
            out.extend_from_slice(&[PART, LAYOUT]);
            put_u64(out, u64::from(record.part.0));
            put_u64(out, record.body.len() as u64);
            out.extend_from_slice(&record.body);
        }
        Record::Merged(merged) => {
            put_merged(merged.origin, out);
            encode(&merged.record, out);
        }
    }
}

/// Appends [`Record::Merged`] around the bytes of a record.
pub fn encode_merged(origin: Position, record: &[u8], out: &mut Vec<u8>) {
    put_merged(origin, out);
    out.extend_from_slice(record);
}

/// The place and the bytes of a record that was merged.
///
/// # Errors
/// [`WireError`] if the record is of another kind or cannot be read; what it carries is not looked at.
pub fn split_merged(bytes: &[u8]) -> Result<(Position, &[u8]), WireError> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8("a merged record")?;
    if kind != MERGED {
        return Err(WireError::Invalid { what: "the kind of a merged record", got: u64::from(kind) });
    }
    let layout = reader.u8("a merged record")?;
    if layout != LAYOUT {
        return Err(WireError::UnknownLayout { what: "a record", got: layout, known: LAYOUT });
    }
    let epoch = Epoch(reader.u64("the place of a merged record")?);
    let seq = reader.u64("the place of a merged record")?;
    Ok((Position::new(epoch, seq), reader.rest()))
}

fn put_merged(origin: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MERGED, LAYOUT]);
    put_u64(out, origin.epoch.0);
    put_u64(out, origin.seq);
}

/// The consumer of a [`Record::Delivered`] that stands where a peer of an older protocol knows no such record.
/// No link has this number.
pub const PLACEHOLDER: u32 = u32::MAX;

/// What a peer with this protocol is sent in place of these bytes of a record: the numbering of the journal
/// leaves no gaps, so a record that it does not know becomes one that says nothing. `None`: the bytes
/// themselves.
pub fn placeholder(bytes: &[u8], protocol: u16) -> Option<Vec<u8>> {
    (matches!(bytes.first(), Some(&(PART | MERGED))) && protocol < PROTOCOL_WITH_PARTS).then(|| {
        let mut out = Vec::new();
        encode(&Record::Delivered(Delivered::by_number(PLACEHOLDER, Position::START)), &mut out);
        out
    })
}

/// Appends [`Record::Samples`] without needing a shared slice.
#[inline]
pub fn encode_samples(
    samples: impl IntoIterator<Item: Borrow<Sample>, IntoIter: ExactSizeIterator>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&[SAMPLES, LAYOUT]);
    samples::put(out, samples);
}

/// Appends [`Record::Dictionary`] without needing a shared slice.
pub fn encode_dictionary(entries: &[(ItemId, ItemKey)], out: &mut Vec<u8>) {
    out.extend_from_slice(&[DICTIONARY, LAYOUT]);
    put_u64(out, entries.len() as u64);
    let mut last = 0;
    for (item, key) in entries {
        put_i64(out, i64::from(item.0) - last);
        last = i64::from(item.0);
        put_u64(out, key.as_str().len() as u64);
        out.extend_from_slice(key.as_str().as_bytes());
    }
}

/// Reads one record; `bytes` must hold nothing else.
///
/// # Errors
/// [`WireError`] says what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    let kind = RecordKind::of(bytes)?;
    let mut reader = Reader::new(bytes);
    reader.u8("a record")?;
    let layout = reader.u8("a record")?;
    if layout != LAYOUT {
        return Err(WireError::UnknownLayout { what: "a record", got: layout, known: LAYOUT });
    }
    Ok(match kind {
        RecordKind::Dictionary => Record::Dictionary(read_dictionary(reader)?.into()),
        RecordKind::Samples => {
            let mut list = Vec::new();
            samples::read(&mut reader, &mut list)?;
            reader.finish("samples")?;
            Record::Samples(list.into())
        }
        RecordKind::Intent => {
            Record::Intent(message::<IntentBody<'_>>(reader.rest(), "an intent")?.try_into()?)
        }
        RecordKind::Result => Record::Result(message::<ResultBody>(reader.rest(), "a result")?.try_into()?),
        RecordKind::Delivered => {
            Record::Delivered(message::<DeliveredBody<'_>>(reader.rest(), "a delivery mark")?.into())
        }
        RecordKind::Role => Record::Role(message::<RoleBody<'_>>(reader.rest(), "a role change")?.into()),
        RecordKind::Event => Record::Event(message::<EventBody<'_>>(reader.rest(), "an event")?.try_into()?),
        RecordKind::Part => {
            let number = reader.u64("a part")?;
            let part = u16::try_from(number)
                .map(Part)
                .map_err(|_| WireError::Invalid { what: "the number of a part", got: number })?;
            let body = reader.sized("the body of a part's record")?.into();
            reader.finish("the body of a part's record")?;
            Record::Part(PartRecord { part, body })
        }
        RecordKind::Merged => {
            let (origin, inner) = split_merged(bytes)?;
            match RecordKind::of(inner)? {
                RecordKind::Merged => return Err(invalid("the kind of a record that was merged", MERGED)),
                RecordKind::Dictionary => {
                    return Err(invalid("the kind of a record that was merged", DICTIONARY));
                }
                RecordKind::Samples
                | RecordKind::Intent
                | RecordKind::Result
                | RecordKind::Delivered
                | RecordKind::Role
                | RecordKind::Event
                | RecordKind::Part => {}
            }
            Record::Merged(Merged { origin, record: Box::new(decode(inner)?) })
        }
    })
}

/// Reads [`Record::Samples`] into `out`, whose space is used again and again.
///
/// # Errors
/// [`WireError`] if the record is of another kind or cannot be read; `out` may then hold some samples.
pub fn decode_samples(bytes: &[u8], out: &mut Vec<Sample>) -> Result<(), WireError> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8("samples")?;
    if kind != SAMPLES {
        return Err(WireError::Invalid { what: "the kind of a record of samples", got: u64::from(kind) });
    }
    let layout = reader.u8("samples")?;
    if layout != LAYOUT {
        return Err(WireError::UnknownLayout { what: "a record", got: layout, known: LAYOUT });
    }
    samples::read(&mut reader, out)?;
    reader.finish("samples")
}

fn read_dictionary(mut reader: Reader<'_>) -> Result<Vec<(ItemId, ItemKey)>, WireError> {
    let count = reader.u64("a dictionary")?;
    let places = usize::try_from(count).unwrap_or(usize::MAX);
    if places > reader.remaining() / DICTIONARY_ENTRY_BYTES_MIN {
        return Err(WireError::Truncated { what: "a dictionary" });
    }
    let mut entries = Vec::with_capacity(places);
    let mut item = 0_i64;
    for _ in 0..places {
        item = item.wrapping_add(reader.i64("an item")?);
        let handle = u32::try_from(item)
            .map_err(|_| WireError::Invalid { what: "an item", got: item.cast_unsigned() })?;
        let key = ItemKey::parse(reader.text("an item key")?).map_err(WireError::Key)?;
        entries.push((ItemId(handle), key));
    }
    reader.finish("a dictionary")?;
    Ok(entries)
}

fn put<T: Encode<()>>(out: &mut Vec<u8>, kind: u8, body: &T) {
    out.extend_from_slice(&[kind, LAYOUT]);
    minicbor::encode(body, out).expect("a vector takes every byte and the bodies have no fallible encoder");
}

fn message<'b, T: Decode<'b, ()>>(bytes: &'b [u8], what: &'static str) -> Result<T, WireError> {
    minicbor::decode(bytes).map_err(|error| WireError::Message { what, detail: error.to_string() })
}

const fn invalid(what: &'static str, got: u8) -> WireError {
    WireError::Invalid { what, got: got as u64 }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct IntentBody<'b> {
    #[n(0)]
    item: u32,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: Vec<u8>,
    #[n(2)]
    kind: u8,
    #[n(3)]
    cause: Position,
    #[b(4)]
    origin: &'b str,
    #[n(5)]
    deadline: i64,
}

impl<'b> From<&'b Intent> for IntentBody<'b> {
    fn from(intent: &'b Intent) -> IntentBody<'b> {
        IntentBody {
            item: intent.item.0,
            value: value::to_bytes(&intent.value),
            kind: match intent.kind {
                IntentKind::Set => 0,
                IntentKind::Step => 1,
            },
            cause: intent.cause,
            origin: &intent.origin,
            deadline: intent.deadline.0,
        }
    }
}

impl TryFrom<IntentBody<'_>> for Intent {
    type Error = WireError;

    fn try_from(body: IntentBody<'_>) -> Result<Intent, WireError> {
        Ok(Intent {
            item: ItemId(body.item),
            value: value::from_bytes(&body.value)?,
            kind: match body.kind {
                0 => IntentKind::Set,
                1 => IntentKind::Step,
                other => return Err(invalid("the kind of an intent", other)),
            },
            cause: body.cause,
            origin: Arc::from(body.origin),
            deadline: Timestamp(body.deadline),
        })
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ResultBody {
    #[n(0)]
    intent: Position,
    #[n(1)]
    outcome: u8,
    #[n(2)]
    code: Option<i32>,
}

impl From<&WriteResult> for ResultBody {
    fn from(result: &WriteResult) -> ResultBody {
        let (outcome, code) = match result.outcome {
            Outcome::Done => (0, None),
            Outcome::Refused(code) => (1, Some(code)),
            Outcome::InDoubt => (2, None),
            Outcome::Fenced => (3, None),
            Outcome::Superseded => (4, None),
            Outcome::Confirmed => (5, None),
        };
        ResultBody { intent: result.intent, outcome, code }
    }
}

impl TryFrom<ResultBody> for WriteResult {
    type Error = WireError;

    fn try_from(body: ResultBody) -> Result<WriteResult, WireError> {
        let outcome = match body.outcome {
            0 => Outcome::Done,
            1 => Outcome::Refused(body.code.unwrap_or(0)),
            2 => Outcome::InDoubt,
            3 => Outcome::Fenced,
            4 => Outcome::Superseded,
            5 => Outcome::Confirmed,
            other => return Err(invalid("an outcome", other)),
        };
        Ok(WriteResult { intent: body.intent, outcome })
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct DeliveredBody<'b> {
    #[n(0)]
    consumer: u32,
    #[n(1)]
    through: Position,
    /// An older reader skips this and what follows.
    #[b(2)]
    stream: Option<&'b str>,
    #[n(3)]
    wants_picture: Option<bool>,
}

impl<'b> From<&'b Delivered> for DeliveredBody<'b> {
    fn from(delivered: &'b Delivered) -> DeliveredBody<'b> {
        DeliveredBody {
            consumer: delivered.consumer,
            through: delivered.through,
            stream: delivered.stream.as_ref().map(|stream| &*stream.interface),
            wants_picture: delivered.stream.as_ref().and_then(|stream| stream.wants_picture.then_some(true)),
        }
    }
}

impl From<DeliveredBody<'_>> for Delivered {
    fn from(body: DeliveredBody<'_>) -> Delivered {
        let wants_picture = body.wants_picture.unwrap_or(false);
        let stream = body.stream.map(|interface| NamedStream { interface: interface.into(), wants_picture });
        Delivered { consumer: body.consumer, through: body.through, stream }
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct RoleBody<'b> {
    #[n(0)]
    node: NodeRank,
    #[n(1)]
    epoch: Epoch,
    #[b(2)]
    from: &'b str,
    #[b(3)]
    to: &'b str,
    #[b(4)]
    reason: &'b str,
    #[n(5)]
    at: i64,
}

impl<'b> From<&'b RoleChange> for RoleBody<'b> {
    fn from(change: &'b RoleChange) -> RoleBody<'b> {
        RoleBody {
            node: change.node,
            epoch: change.epoch,
            from: &change.from,
            to: &change.to,
            reason: &change.reason,
            at: change.at.0,
        }
    }
}

impl From<RoleBody<'_>> for RoleChange {
    fn from(body: RoleBody<'_>) -> RoleChange {
        RoleChange {
            node: body.node,
            epoch: body.epoch,
            from: Arc::from(body.from),
            to: Arc::from(body.to),
            reason: Arc::from(body.reason),
            at: Timestamp(body.at),
        }
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct EventBody<'b> {
    #[n(0)]
    severity: u8,
    #[b(1)]
    source: &'b str,
    #[b(2)]
    code: &'b str,
    #[b(3)]
    text: &'b str,
    #[n(4)]
    at: i64,
}

impl<'b> From<&'b Event> for EventBody<'b> {
    fn from(event: &'b Event) -> EventBody<'b> {
        EventBody {
            severity: match event.severity {
                Severity::Info => 0,
                Severity::Warning => 1,
                Severity::Error => 2,
            },
            source: &event.source,
            code: &event.code,
            text: &event.text,
            at: event.at.0,
        }
    }
}

impl TryFrom<EventBody<'_>> for Event {
    type Error = WireError;

    fn try_from(body: EventBody<'_>) -> Result<Event, WireError> {
        let severity = match body.severity {
            0 => Severity::Info,
            1 => Severity::Warning,
            2 => Severity::Error,
            other => return Err(invalid("a severity", other)),
        };
        Ok(Event {
            severity,
            source: Arc::from(body.source),
            code: Arc::from(body.code),
            text: Arc::from(body.text),
            at: Timestamp(body.at),
        })
    }
}

const DICTIONARY: u8 = 1;
const SAMPLES: u8 = 2;
const INTENT: u8 = 3;
const RESULT: u8 = 4;
const DELIVERED: u8 = 5;
const ROLE: u8 = 6;
const EVENT: u8 = 7;
const PART: u8 = 8;
const MERGED: u8 = 9;
/// The first protocol whose nodes know [`Record::Part`] and [`Record::Merged`].
const PROTOCOL_WITH_PARTS: u16 = 2;
/// Layout version of all record bodies.
const LAYOUT: u8 = 1;
/// Handle, length, and the shortest key `a/b`.
const DICTIONARY_ENTRY_BYTES_MIN: usize = 5;

#[cfg(test)]
mod tests;
