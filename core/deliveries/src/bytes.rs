//! Entries, and the pieces of a copy, as bytes.

use minicbor::{Decode, Encode};

use crate::entry::Entry;

/// Why bytes are no entries.
#[derive(Debug, thiserror::Error)]
#[error("an entry about events cannot be read: {source}")]
pub struct BytesError {
    /// What and where.
    #[from]
    source: minicbor::decode::Error,
}

/// Entries as the body of a record.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    to_bytes(&entries)
}

/// Reads [`encode`].
///
/// # Errors
/// [`BytesError`] if the bytes are something else.
pub fn decode(body: &[u8]) -> Result<Vec<Entry>, BytesError> {
    from_bytes(body)
}

pub(crate) fn to_bytes<T: Encode<()>>(what: &T) -> Vec<u8> {
    // Into memory: it has no way to fail.
    minicbor::to_vec(what).unwrap_or_default()
}

pub(crate) fn from_bytes<'b, T: Decode<'b, ()>>(body: &'b [u8]) -> Result<T, BytesError> {
    Ok(minicbor::decode(body)?)
}

/// A payload, shared.
pub(crate) mod payload {
    use std::sync::Arc;

    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        bytes: &Arc<[u8]>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(bytes)?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, Error> {
        Ok(decoder.bytes()?.into())
    }
}
