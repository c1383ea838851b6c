//! What the role machines of a process keep and say: the content of the role file, and the message of one group.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use twinhub_model::Incarnation;
use twinhub_redundancy::{Message, StoredState};

/// What the role file holds.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct RoleState {
    /// Layout of this state.
    #[n(0)]
    pub(crate) format: u16,
    /// The cluster's id.
    #[n(1)]
    pub(crate) cluster: u64,
    /// The node's name.
    #[n(2)]
    pub(crate) node: String,
    /// Process starts so far.
    #[n(3)]
    pub(crate) incarnation: Incarnation,
    /// Per group.
    #[n(4)]
    pub(crate) groups: BTreeMap<String, StoredState>,
}

/// A message of one group, as a control frame carries it.
#[derive(Debug, Encode, Decode)]
pub(crate) struct GroupMessage {
    #[n(0)]
    pub(crate) group: String,
    #[n(1)]
    pub(crate) message: Message,
    /// How long a grant of this group lasts, for a witness without configuration; 0 from a witness.
    #[n(2)]
    pub(crate) lease_ms: u32,
}
