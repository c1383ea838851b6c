//! The states of a node in one group.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What a node is in one group. The diagram is in the documentation of [`crate::Machine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Plugins are loaded and the journal is recovered.
    #[n(0)]
    Starting,
    /// Looks for an active node.
    #[n(1)]
    Joining,
    /// Receives what it lacks from the active node.
    #[n(2)]
    Syncing,
    /// Caught up, ready to take over.
    #[n(3)]
    Standby,
    /// Asks for votes with an epoch of its own.
    #[n(4)]
    Candidate,
    /// Holds the lease and opens its outputs, interface by interface.
    #[n(5)]
    Activating,
    /// Holds the lease and acts.
    #[n(6)]
    Active,
    /// Holds the lease and stops acting, to hand over.
    #[n(7)]
    Draining,
    /// Lost the lease.
    #[n(8)]
    Isolated,
    /// Its journal forked from the active node's; the difference is merged.
    #[n(9)]
    Reconciling,
    /// An operator took it out.
    #[n(10)]
    Maintenance,
    /// Fenced itself.
    #[n(11)]
    Faulted,
}

impl NodeState {
    /// All of them.
    pub const ALL: [NodeState; 12] = [
        NodeState::Starting,
        NodeState::Joining,
        NodeState::Syncing,
        NodeState::Standby,
        NodeState::Candidate,
        NodeState::Activating,
        NodeState::Active,
        NodeState::Draining,
        NodeState::Isolated,
        NodeState::Reconciling,
        NodeState::Maintenance,
        NodeState::Faulted,
    ];

    /// The state's name as status, metrics and the API show it.
    pub const fn name(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Joining => "joining",
            NodeState::Syncing => "syncing",
            NodeState::Standby => "standby",
            NodeState::Candidate => "candidate",
            NodeState::Activating => "activating",
            NodeState::Active => "active",
            NodeState::Draining => "draining",
            NodeState::Isolated => "isolated",
            NodeState::Reconciling => "reconciling",
            NodeState::Maintenance => "maintenance",
            NodeState::Faulted => "faulted",
        }
    }

    /// Whether a node in this state holds a lease.
    pub const fn holds_lease(self) -> bool {
        match self {
            NodeState::Activating | NodeState::Active | NodeState::Draining => true,
            NodeState::Starting
            | NodeState::Joining
            | NodeState::Syncing
            | NodeState::Standby
            | NodeState::Candidate
            | NodeState::Isolated
            | NodeState::Reconciling
            | NodeState::Maintenance
            | NodeState::Faulted => false,
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
