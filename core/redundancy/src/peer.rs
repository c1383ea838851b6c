//! What a machine knows of the others.

use std::collections::BTreeMap;

use twinhub_model::{Epoch, Incarnation, Moment};

use crate::message::{Heartbeat, PathId};

/// What a machine knows of one node or of the witness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerView {
    /// The last heartbeat, if it is a node and one came.
    pub heartbeat: Option<Heartbeat>,
    /// When the last message came, over all paths.
    pub heard: Option<Moment>,
    /// When the last message came, by path.
    pub paths: BTreeMap<PathId, PathView>,
    /// The last of its processes that a supervisor reported dead, or that left in order.
    pub dead: Option<Incarnation>,
    /// What its voter promised, as last told.
    pub promised: Epoch,
    /// Its process, as last told.
    pub process: Option<Incarnation>,
}

/// One path to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathView {
    /// Whether a connection stands.
    pub connected: bool,
    /// When the last message came.
    pub heard: Option<Moment>,
}
