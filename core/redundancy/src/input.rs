//! What can happen to a machine.

use std::fmt;

use serde::Serialize;
use twinhub_model::{Epoch, Incarnation, NodeRank, Position};

use crate::health::Health;
use crate::members::MembersChange;
use crate::message::{Message, PathId};
use crate::setup::VoterId;

/// What can happen to a [`crate::Machine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A timer may be due.
    Tick,
    /// A message came in.
    Message {
        /// From whom.
        from: VoterId,
        /// On which path.
        path: PathId,
        /// What it says.
        message: Message,
    },
    /// A connection was made: evidence, never proof.
    PathUp {
        /// To whom.
        peer: VoterId,
        /// On which path.
        path: PathId,
    },
    /// A connection was lost: evidence, never proof.
    PathDown {
        /// To whom.
        peer: VoterId,
        /// On which path.
        path: PathId,
    },
    /// The state of [`crate::Action::Persist`] is on disk; messages that waited for it go out.
    Persisted {
        /// Which one; it covers all before it.
        ticket: u64,
    },
    /// Plugins are loaded, the journal is recovered.
    Loaded,
    /// The end of this node's journal.
    LogPosition {
        /// Where it is.
        mine: Position,
    },
    /// The configuration that is loaded.
    Config {
        /// Its hash.
        hash: u64,
    },
    /// How well this node follows the active one. While it reconciles, a copy within the limit counts as
    /// merged: a driver that has something to upload says so after that.
    Synced {
        /// How many records it lacks.
        lag_records: u64,
        /// Whether the configurations are the same.
        config_matches: bool,
    },
    /// This node's journal holds records that the active one's does not.
    Diverged {
        /// The last position that both have.
        common: Position,
    },
    /// The active node acknowledged the merge.
    MergeDone {
        /// How many records of this node alone were set aside.
        set_aside: u64,
    },
    /// [`crate::Action::Activate`] is done.
    GatesOpen,
    /// A step of [`crate::Action::Activate`] failed for a required interface.
    StepFailed {
        /// Which one, and why.
        step: String,
    },
    /// [`crate::Action::CloseGates`] is done.
    GatesClosed,
    /// [`crate::Action::Drain`] is done, nothing is in flight, the standby has everything.
    Drained {
        /// The epoch that ends: what comes too late is about an earlier one, and says nothing of this.
        epoch: Epoch,
        /// The end of the journal.
        position: Position,
    },
    /// This node's health.
    Health(Health),
    /// What this node can see of the world; repeat it more often than `evidence_age`.
    Evidence {
        /// The reference hosts answer.
        reference_ok: bool,
        /// How many of the field probes answer.
        field_ok_percent: u8,
    },
    /// An operator's order.
    Operator(Order),
    /// This node cannot work: disk full, clock fault, plugin crash loop.
    SelfCheckFailed {
        /// What is wrong.
        what: String,
    },
    /// A supervisor's word that a process is dead and reaped.
    Resigned {
        /// The node.
        node: NodeRank,
        /// Its last epoch, if known.
        epoch: Epoch,
        /// The dead process.
        incarnation: Incarnation,
    },
    /// This process shall stop: hand over if possible, then [`crate::Action::Stopped`].
    Shutdown,
}

/// What an operator can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Move the role, planned and without loss.
    Switchover {
        /// To this node, or to the best one.
        to: Option<NodeRank>,
    },
    /// Make this node active now.
    Failover {
        /// Also without a majority: the operator vouches that no other node acts.
        force: bool,
    },
    /// Nothing moves by itself any more.
    Pause,
    /// Moves are allowed again; also leaves `faulted` and clears the flap limit.
    Resume,
    /// Into or out of maintenance.
    Maintenance(bool),
    /// Change who votes.
    Members(MembersChange),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Switchover { to: Some(to) } => write!(f, "switchover to node {to}"),
            Order::Switchover { to: None } => f.write_str("switchover"),
            Order::Failover { force: true } => f.write_str("forced failover"),
            Order::Failover { force: false } => f.write_str("failover"),
            Order::Pause => f.write_str("pause"),
            Order::Resume => f.write_str("resume"),
            Order::Maintenance(true) => f.write_str("maintenance on"),
            Order::Maintenance(false) => f.write_str("maintenance off"),
            Order::Members(change) => write!(f, "{change}"),
        }
    }
}
