//! Who did what, and when.

use minicbor::{Decode, Encode};
use twinhub_model::Position;

/// An entry of the audit list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditEntry {
    /// The record.
    #[n(0)]
    pub position: Position,
    /// When, in nanoseconds since 1970.
    #[n(1)]
    pub time: i64,
    /// Who.
    #[n(2)]
    pub author: String,
    /// From where.
    #[n(3)]
    pub origin: String,
    /// What.
    #[n(4)]
    pub text: String,
}
