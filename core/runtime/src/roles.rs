//! What the role machines of a process keep and say: the content of the role file, and the message of one group.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use twinhub_model::{Incarnation, Timestamp};
use twinhub_redundancy::{Message, StoredState};
use twinhub_wire::{FRAME_HEADER_BYTES, Kind, write_frame};

use crate::clock;

/// What the role file holds.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub struct RoleState {
    /// Layout of this state.
    #[n(0)]
    pub format: u16,
    /// The cluster's id.
    #[n(1)]
    pub cluster: u64,
    /// The node's name.
    #[n(2)]
    pub node: String,
    /// The number of the process: one more with each start.
    #[n(3)]
    pub incarnation: Incarnation,
    /// Per group.
    #[n(4)]
    pub groups: BTreeMap<String, StoredState>,
}

impl RoleState {
    /// Counts the process that starts now. `is_known` is whether the role file said what the last one was. Without it the
    /// time of day in milliseconds is a number above all that the lost life of this node may have had: what a lower one says
    /// others take for late words of the dead.
    pub(crate) fn begin_process(&mut self, is_known: bool) {
        let last = if is_known { self.incarnation.0 } else { millis_of(clock::utc()) };
        self.incarnation = Incarnation(last.saturating_add(1));
    }

    /// The oldest format of a role file whose readers understand this state: one that does not know the record of
    /// the voters would let a voter that is absent vote, and count majorities by the configuration.
    pub fn file_format(&self) -> u16 {
        let records = self.groups.values().filter_map(|group| group.members.as_ref());
        let mut changed = records.filter(|members| !members.absent.is_empty() || members.before.is_some());
        if changed.next().is_some() { 2 } else { 1 }
    }
}

fn millis_of(now: Timestamp) -> u64 {
    u64::try_from(now.0 / 1_000_000).unwrap_or(0)
}

/// A message of one group, as a control frame carries it.
#[derive(Debug, Clone, Encode, Decode)]
pub struct GroupMessage {
    /// The group.
    #[n(0)]
    pub group: String,
    /// What is said.
    #[n(1)]
    pub message: Message,
    /// How long a grant of this group lasts, for a witness without configuration; 0 from a witness.
    #[n(2)]
    pub lease_ms: u32,
}

impl GroupMessage {
    /// The control frame of a connection that speaks this protocol; `None` if that has no such message.
    pub fn frame(&self, protocol: u16) -> Option<Vec<u8>> {
        let message = self.message.clone().in_protocol(protocol)?;
        let body = GroupMessage { group: self.group.clone(), message, lease_ms: self.lease_ms };
        let encoded = minicbor::to_vec(&body).expect("a vector takes every byte and no field can fail");
        let mut frame = Vec::with_capacity(encoded.len() + FRAME_HEADER_BYTES);
        write_frame(Kind::Control, &encoded, &mut frame);
        Some(frame)
    }
}
