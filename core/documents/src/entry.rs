//! One body of a journal record, or of a copy.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use twinhub_model::Position;

use crate::audit::AuditEntry;
use crate::body::Digest;
use crate::change::Change;
use crate::document::{Conflict, Document};
use crate::error::Error;
use crate::limits::PIECE_BYTES_MAX;

/// One body of a journal record (the first two and the last), or of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Entry {
    /// Somebody did something.
    #[n(0)]
    Change(#[n(0)] Change),
    /// A piece of a file of the configuration, sent ahead of the revision that names it.
    #[n(1)]
    Piece(#[n(0)] Digest, #[n(1)] ByteVec),
    /// A document as it is.
    #[n(2)]
    Document(#[n(0)] Document),
    /// An older revision of the configuration.
    #[n(3)]
    Revision(#[n(0)] Document),
    /// A conflict.
    #[n(4)]
    Conflict(#[n(0)] Conflict),
    /// Entries of the audit list, oldest first.
    #[n(5)]
    Audit(#[n(0)] Vec<AuditEntry>),
    /// The copy is complete: it holds everything up to this record.
    #[n(6)]
    Through(#[n(0)] Position),
    /// Entries of the audit list of a node that wrote alone during a split, in the journal.
    #[n(12)]
    AuditOf(#[n(0)] Vec<AuditEntry>),
}

impl Entry {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes every byte and no field has a fallible encoder")
    }

    /// Reads one; `bytes` must hold nothing else.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Entry, Error> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let entry: Entry =
            decoder.decode().map_err(|error| Error::Unreadable { detail: error.to_string() })?;
        if decoder.position() != bytes.len() {
            return Err(Error::Unreadable { detail: "more bytes than one entry".to_owned() });
        }
        match &entry {
            Entry::Piece(_, bytes) if bytes.len() > PIECE_BYTES_MAX => {
                Err(Error::TooLarge { what: "a piece of a file", limit: PIECE_BYTES_MAX as u64 })
            }
            Entry::Change(_)
            | Entry::Piece(..)
            | Entry::Document(_)
            | Entry::Revision(_)
            | Entry::Conflict(_)
            | Entry::Audit(_)
            | Entry::Through(_)
            | Entry::AuditOf(_) => Ok(entry),
        }
    }
}
