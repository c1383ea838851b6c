//! A document, and one that lost.

use minicbor::{Decode, Encode};
use twinhub_model::Position;

use crate::body::Body;
use crate::kind::Kind;

/// A document as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Document {
    /// What it is.
    #[n(0)]
    pub kind: Kind,
    /// Which one.
    #[n(1)]
    pub name: String,
    /// Counts its changes.
    #[n(2)]
    pub revision: u64,
    /// The record that made it, or made it again after it had been removed: two of the same name are told apart by it.
    #[n(3)]
    pub born: Position,
    /// The record that changed it last.
    #[n(4)]
    pub changed: Position,
    /// Who changed it last.
    #[n(5)]
    pub author: String,
    /// When, in nanoseconds since 1970.
    #[n(6)]
    pub time: i64,
    /// What it holds; nothing once removed.
    #[n(7)]
    pub body: Option<Body>,
    /// Changed while no majority of the nodes had it on disk, by somebody who said that this is intended.
    #[n(8)]
    #[cbor(default)]
    pub alone: bool,
}

/// What a node changed alone and the writer did not have when they met again: kept, not in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Conflict {
    /// What it would be.
    #[n(0)]
    pub document: Document,
    /// The node that had it.
    #[n(1)]
    pub node: String,
    /// When it was found, in nanoseconds since 1970.
    #[n(2)]
    pub time: i64,
}
