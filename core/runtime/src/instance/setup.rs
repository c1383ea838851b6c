//! What is fixed about an interface once the node runs.

use std::collections::BTreeSet;
use std::time::Duration;

use twinhub_config::{AckAfter, OnUnprotected, OnUnquorate};
use twinhub_model::ItemId;

use super::Rows;

/// What an interface's outputs wait for after an unclean takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing: the sink fences.
    None,
    /// As long as an output of the node before may be under way.
    For(Duration),
    /// The whole guard time of the group.
    Whole,
}

/// What of an instance moves to the other node beside its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// Nothing.
    Nothing,
    /// What the plugin gives as its state.
    State,
}

/// Its place when roles change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sequence {
    /// Whether it claims what only one node can hold.
    pub(crate) exclusive: bool,
    /// Its order class: lower ones open first.
    pub(crate) order: u8,
    /// Whether its link is cut when the lease is lost: its sink compares no epoch.
    pub(crate) cut_on_loss: bool,
}

/// What reaches an interface on a node that does not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Every telegram that reaches the active node: it is hot, and its plugin receives the same on each node.
    TheSame,
    /// Nothing, or what nobody else hears.
    Alone,
}

impl Hears {
    pub(crate) fn of(standby_role: u32, parallel_input: bool) -> Hears {
        if standby_role == twinhub_contract::role::HOT && parallel_input {
            Hears::TheSame
        } else {
            Hears::Alone
        }
    }
}

/// What is fixed about an interface once the node runs.
#[derive(Debug, Clone)]
pub(crate) struct InterfaceSetup {
    pub(crate) id: String,
    pub(crate) plugin: String,
    /// Handle of its first item; the others follow.
    pub(crate) base: u32,
    pub(crate) items: Rows,
    /// Items of other interfaces whose values it takes.
    pub(crate) values_in: Box<[ItemId]>,
    /// Role code while inactive.
    pub(crate) standby_role: u32,
    pub(crate) hears: Hears,
    /// Whether it switches with the group; if not it is always active.
    pub(crate) relevant: bool,
    /// Whether and how long outputs wait after an unclean takeover.
    pub(crate) guard: Guard,
    pub(crate) required: bool,
    /// Items of which every value counts, also an equal one, by their place in the interface.
    pub(crate) edges: BTreeSet<u32>,
    pub(crate) sequence: Sequence,
    /// Whether it reads everything anew when its role becomes active, so that the first it says is an image.
    pub(crate) resyncs: bool,
    /// What moves to the other node beside items.
    pub(crate) moves: Moves,
    /// What it does without a majority.
    pub(crate) on_unquorate: OnUnquorate,
    /// When its inputs are acknowledged, if they are.
    pub(crate) ack_after: AckAfter,
    /// What becomes of what no standby has stored in time.
    pub(crate) on_unprotected: OnUnprotected,
    pub(crate) write_timeout: Duration,
    /// `host:port` that accepts a connection where the field side is well.
    pub(crate) probe: Option<String>,
}
