//! Events as bytes.
//!
//! ```text
//! array of events, each: bytes that hold a map of numbered fields
//! ```
//!
//! Fields that only a newer version knows are left out.

use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};
use twinhub_model::{Event, NodeRank, Severity, Timestamp};

use crate::book::Known;
use crate::entry::{Entry, EventId};

/// Events are written in pieces of about this size, which a journal record takes with room to spare.
pub const BODY_BYTES_WANTED: usize = 200 * 1024;

/// Why bytes are no events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// The bytes are no such list, or end too early.
    #[error("events are not readable: {detail}")]
    Unreadable {
        /// What is wrong.
        detail: String,
    },
}

impl From<minicbor::decode::Error> for BytesError {
    fn from(error: minicbor::decode::Error) -> BytesError {
        BytesError::Unreadable { detail: error.to_string() }
    }
}

/// The events as bodies of about [`BODY_BYTES_WANTED`] at most.
pub fn encode<'a>(events: impl IntoIterator<Item = &'a Known>) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for known in events {
        let line = minicbor::to_vec(Line::of(known))
            .expect("a vector takes every byte and the fields have no fallible encoder");
        if bytes > 0 && bytes + line.len() > BODY_BYTES_WANTED {
            bodies.push(body_of(&std::mem::take(&mut lines)));
            bytes = 0;
        }
        bytes += line.len() + 8;
        lines.push(line);
    }
    if !lines.is_empty() {
        bodies.push(body_of(&lines));
    }
    bodies
}

fn body_of(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written: Result<(), minicbor::encode::Error<_>> = (|| {
        encoder.array(lines.len() as u64)?;
        for line in lines {
            encoder.bytes(line)?;
        }
        Ok(())
    })();
    written.expect("a vector takes every byte");
    encoder.into_writer()
}

/// Reads one body.
///
/// # Errors
/// [`BytesError`] if the bytes are no list of events.
pub fn decode(bytes: &[u8]) -> Result<Vec<Known>, BytesError> {
    let unreadable = |detail: &str| BytesError::Unreadable { detail: detail.to_owned() };
    let mut decoder = Decoder::new(bytes);
    let count = decoder.array()?.ok_or_else(|| unreadable("a list without a length"))?;
    // An event takes more than three bytes, whatever the head says.
    let mut events = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len() / 3));
    for _ in 0..count {
        let line: Line<'_> = minicbor::decode(decoder.bytes()?)?;
        events.push(line.known());
    }
    if decoder.position() != bytes.len() {
        return Err(unreadable("bytes behind the last event"));
    }
    Ok(events)
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Line<'b> {
    #[n(0)]
    stamp: i64,
    #[n(1)]
    node: NodeRank,
    #[b(2)]
    group: &'b str,
    #[n(3)]
    severity: u8,
    #[b(4)]
    source: &'b str,
    #[b(5)]
    code: &'b str,
    #[b(6)]
    text: &'b str,
    #[n(7)]
    at: i64,
    #[b(8)]
    alarm: Option<&'b str>,
    #[n(9)]
    number: Option<u64>,
    #[n(10)]
    is_pending: Option<bool>,
}

impl<'b> Line<'b> {
    fn of(known: &'b Known) -> Line<'b> {
        let Entry { id, event, alarm } = &known.entry;
        Line {
            stamp: id.stamp.0,
            node: id.node,
            group: &id.group,
            severity: match event.severity {
                Severity::Info => 0,
                Severity::Warning => 1,
                Severity::Error => 2,
            },
            source: &event.source,
            code: &event.code,
            text: &event.text,
            at: event.at.0,
            alarm: (!alarm.is_empty()).then_some(&**alarm),
            number: (known.number > 0).then_some(known.number),
            is_pending: known.is_pending.then_some(true),
        }
    }

    fn known(self) -> Known {
        let id = EventId { stamp: Timestamp(self.stamp), node: self.node, group: self.group.into() };
        let severity = match self.severity {
            0 => Severity::Info,
            1 => Severity::Warning,
            _ => Severity::Error,
        };
        let event = Event {
            severity,
            source: self.source.into(),
            code: self.code.into(),
            text: self.text.into(),
            at: Timestamp(self.at),
        };
        let alarm: Arc<str> = self.alarm.unwrap_or_default().into();
        let entry = Entry::new(id, event, alarm);
        Known { entry, number: self.number.unwrap_or(0), is_pending: self.is_pending.unwrap_or(false) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known() -> impl Strategy<Value = Known> {
        let id = (any::<i64>(), any::<u8>(), "[a-z]{1,9}").prop_map(|(stamp, node, group)| EventId {
            stamp: Timestamp(stamp),
            node: NodeRank(node),
            group: group.into(),
        });
        let event = (0..3_u8, ".{0,20}", ".{0,20}", ".{0,200}", any::<i64>()).prop_map(
            |(severity, source, code, text, at)| Event {
                severity: [Severity::Info, Severity::Warning, Severity::Error][usize::from(severity)],
                source: source.into(),
                code: code.into(),
                text: text.into(),
                at: Timestamp(at),
            },
        );
        (id, event, ".{0,20}", any::<u64>(), any::<bool>()).prop_map(
            |(id, event, alarm, number, is_pending)| Known {
                entry: Entry { id, event, alarm: alarm.into() },
                number,
                is_pending,
            },
        )
    }

    proptest! {
        #[test]
        fn events_come_back_from_their_bytes(events in proptest::collection::vec(known(), 0..20)) {
            let read: Vec<Known> =
                encode(&events).iter().flat_map(|body| decode(body).unwrap()).collect();
            prop_assert_eq!(read, events);
        }

        #[test]
        fn any_bytes_are_events_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes));
        }

        #[test]
        fn damaged_bytes_are_events_or_refused(
            events in proptest::collection::vec(known(), 1..5),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&events).remove(0);
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(cut.index(bytes.len() + 1));
            drop(decode(&bytes));
        }
    }

    #[test]
    fn many_events_take_several_bodies_of_the_wanted_size() {
        let id = EventId { stamp: Timestamp(1), node: NodeRank(0), group: "site".into() };
        let event = Event {
            severity: Severity::Info,
            source: "plc1".into(),
            code: "TH-A-001".into(),
            text: "x".repeat(4000).into(),
            at: Timestamp(1),
        };
        let known = Known { entry: Entry { id, event, alarm: "".into() }, number: 1, is_pending: true };
        let bodies = encode(&vec![known; 200]);
        assert!(bodies.len() > 3 && bodies.iter().all(|body| body.len() < BODY_BYTES_WANTED + 1024));
    }

    /// If this fails, journals and stored states of the version before are not readable any more.
    #[test]
    fn the_bytes_of_an_event_stay_the_same() {
        let id = EventId { stamp: Timestamp(5), node: NodeRank(1), group: "site".into() };
        let event = Event {
            severity: Severity::Warning,
            source: "p".into(),
            code: "C".into(),
            text: "t".into(),
            at: Timestamp(4),
        };
        let known = Known { entry: Entry { id, event, alarm: "a@1".into() }, number: 0, is_pending: false };
        let shown = twinhub_model::Value::Bytes(encode([&known]).remove(0).into()).to_string();
        assert_eq!(shown, "81581da900050101026473697465030104617005614306617407040863614031");
    }
}
