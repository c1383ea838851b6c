//! Changes as bytes.
//!
//! ```text
//! array of changes, each: array of 2 = kind u8, body (bytes that hold a map of numbered fields)
//! ```
//!
//! A kind that only a newer version knows is left out, and so are fields of a known one: an older node goes on
//! with what it understands.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::change::{Acknowledgment, Change, Clear, Raise, Shelf, Stamp, Suppression, Watched};
use crate::field::text;
use crate::id::OccurrenceId;

/// Changes are written in pieces of about this size, which a journal record takes with room to spare.
pub const BODY_BYTES_WANTED: usize = 200 * 1024;

/// Why bytes are no changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// The bytes are no such list, or end too early.
    #[error("changes of alarms are not readable: {detail}")]
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

/// The changes as bodies of about [`BODY_BYTES_WANTED`] at most.
pub fn encode(changes: &[Change]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut rest = changes;
    while !rest.is_empty() {
        let mut parts = Vec::new();
        let mut bytes = 0;
        for change in rest {
            let (kind, body) = encode_one(change);
            if bytes > 0 && bytes + body.len() > BODY_BYTES_WANTED {
                break;
            }
            bytes += body.len() + 8;
            parts.push((kind, body));
        }
        rest = &rest[parts.len()..];
        let mut encoder = Encoder::new(Vec::with_capacity(bytes + 8));
        let written: Result<(), minicbor::encode::Error<_>> = (|| {
            encoder.array(parts.len() as u64)?;
            for (kind, body) in &parts {
                encoder.array(2)?.u8(*kind)?.bytes(body)?;
            }
            Ok(())
        })();
        written.expect("a vector takes every byte");
        bodies.push(encoder.into_writer());
    }
    bodies
}

/// Reads one body; returns what it holds and how many changes of kinds it holds that are not known here.
///
/// # Errors
/// [`BytesError`] if the bytes are no list of changes, or a change of a known kind cannot be read.
pub fn decode(bytes: &[u8]) -> Result<(Vec<Change>, usize), BytesError> {
    let mut decoder = Decoder::new(bytes);
    let count = length(decoder.array()?)?;
    // A change takes at least three bytes, whatever the head says.
    let mut changes = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len() / 3));
    let mut unknown = 0;
    for _ in 0..count {
        let parts = length(decoder.array()?)?;
        if parts < 2 {
            return Err(BytesError::Unreadable { detail: "a change without kind or body".to_owned() });
        }
        let kind = decoder.u8()?;
        let body = decoder.bytes()?;
        for _ in 2..parts {
            decoder.skip()?;
        }
        match decode_one(kind, body)? {
            Some(change) => changes.push(change),
            None => unknown += 1,
        }
    }
    if decoder.position() != bytes.len() {
        return Err(BytesError::Unreadable { detail: "bytes behind the last change".to_owned() });
    }
    Ok((changes, unknown))
}

fn length(given: Option<u64>) -> Result<u64, BytesError> {
    given.ok_or_else(|| BytesError::Unreadable { detail: "a list without a length".to_owned() })
}

const RAISED: u8 = 1;
const CLEARED: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const JOINED: u8 = 4;
const SHELVED: u8 = 5;
const SUPPRESSED: u8 = 6;
const RULES: u8 = 7;
const WATCHED: u8 = 8;

#[derive(Encode, Decode)]
#[cbor(map)]
struct About<T> {
    #[n(0)]
    id: OccurrenceId,
    #[n(1)]
    what: T,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Setting<T> {
    #[cbor(n(0), with = "text")]
    rule: std::sync::Arc<str>,
    #[n(1)]
    stamp: Stamp,
    #[n(2)]
    what: Option<T>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Hash {
    #[n(0)]
    hash: u64,
}

fn encode_one(change: &Change) -> (u8, Vec<u8>) {
    match change {
        Change::Raised(id, what) => (RAISED, put(&About { id: id.clone(), what: what.clone() })),
        Change::Cleared(id, what) => (CLEARED, put(&About { id: id.clone(), what: what.clone() })),
        Change::Acknowledged(id, what) => (ACKNOWLEDGED, put(&About { id: id.clone(), what: what.clone() })),
        Change::Joined(id, what) => (JOINED, put(&About { id: id.clone(), what: what.clone() })),
        Change::Shelved { rule, stamp, shelf } => {
            (SHELVED, put(&Setting { rule: rule.clone(), stamp: *stamp, what: shelf.clone() }))
        }
        Change::Suppressed { rule, stamp, suppression } => {
            (SUPPRESSED, put(&Setting { rule: rule.clone(), stamp: *stamp, what: suppression.clone() }))
        }
        Change::Rules { hash } => (RULES, put(&Hash { hash: *hash })),
        Change::Watched(watched) => (WATCHED, put(watched)),
    }
}

fn put<T: Encode<()>>(body: &T) -> Vec<u8> {
    minicbor::to_vec(body).expect("a vector takes every byte and the bodies have no fallible encoder")
}

fn decode_one(kind: u8, body: &[u8]) -> Result<Option<Change>, BytesError> {
    Ok(Some(match kind {
        RAISED => {
            let About { id, what } = minicbor::decode::<About<Raise>>(body)?;
            Change::Raised(id, what)
        }
        CLEARED => {
            let About { id, what } = minicbor::decode::<About<Clear>>(body)?;
            Change::Cleared(id, what)
        }
        ACKNOWLEDGED => {
            let About { id, what } = minicbor::decode::<About<Acknowledgment>>(body)?;
            Change::Acknowledged(id, what)
        }
        JOINED => {
            let About { id, what } = minicbor::decode::<About<OccurrenceId>>(body)?;
            Change::Joined(id, what)
        }
        SHELVED => {
            let Setting { rule, stamp, what } = minicbor::decode::<Setting<Shelf>>(body)?;
            Change::Shelved { rule, stamp, shelf: what }
        }
        SUPPRESSED => {
            let Setting { rule, stamp, what } = minicbor::decode::<Setting<Suppression>>(body)?;
            Change::Suppressed { rule, stamp, suppression: what }
        }
        RULES => Change::Rules { hash: minicbor::decode::<Hash>(body)?.hash },
        WATCHED => Change::Watched(minicbor::decode::<Watched>(body)?),
        _ => return Ok(None),
    }))
}
