//! What must survive a restart.

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Incarnation, NodeRank, Position};

use crate::members::SharedMembers;

/// What the role file holds for one group. The default is a first start. How long a lease still runs is
/// never stored: a restarted voter counts a stored grant as given at its start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct StoredState {
    /// The greatest epoch this voter promised; it never goes back.
    #[n(0)]
    pub promised: Epoch,
    /// Who was granted it.
    #[n(1)]
    pub grant: Option<Grant>,
    /// The last epoch in which this node was active.
    #[n(2)]
    pub last_active: Epoch,
    /// What operators decided.
    #[n(3)]
    pub pins: Pins,
    /// The node stopped in order.
    #[n(4)]
    pub clean_shutdown: bool,
    /// The journal's end when this was stored; the journal itself knows better.
    #[n(5)]
    pub position: Position,
    /// The configuration's hash when this was stored.
    #[n(6)]
    pub config_hash: u64,
    /// Unplanned moves counted against the flap limit when this was stored.
    #[n(7)]
    pub flap_moves: u8,
    /// Who votes, if that ever changed.
    #[n(8)]
    pub members: Option<SharedMembers>,
}

/// To whom a voter granted its promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Grant {
    /// The node.
    #[n(0)]
    pub node: NodeRank,
    /// Its process.
    #[n(1)]
    pub incarnation: Incarnation,
}

/// What operators decided and a restart may not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Pins {
    /// The node is in maintenance.
    #[n(0)]
    pub maintenance: bool,
    /// Nothing moves by itself, in the whole group.
    #[n(1)]
    pub hold: Hold,
    /// An operator moved the role here, and this is the last epoch since in which nobody else was active; no failback
    /// undoes it.
    #[n(2)]
    pub chosen: Option<Epoch>,
}

/// Pause and resume, spread by heartbeats; the greater version is the later order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct Hold {
    /// Counts the orders.
    #[n(0)]
    pub version: u64,
    /// Whether moves are held.
    #[n(1)]
    pub on: bool,
}
