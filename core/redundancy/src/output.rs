//! What a machine wants done.

use twinhub_model::{Epoch, Moment, NodeRank, Position};

use crate::input::Order;
use crate::members::Members;
use crate::message::Message;
use crate::reason::Reason;
use crate::setup::VoterId;
use crate::state::NodeState;
use crate::stored::StoredState;

/// One answer of [`crate::Machine::poll_output`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Do this, then ask again.
    Action(Action),
    /// Nothing more to do until this moment or the next input.
    Timeout(Moment),
}

/// What a [`crate::Machine`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send on all live paths.
    Send {
        /// To whom.
        to: VoterId,
        /// What.
        message: Message,
    },
    /// Send to every peer on all live paths.
    SendOthers {
        /// What.
        message: Message,
    },
    /// Put this on disk, then answer [`crate::Input::Persisted`].
    Persist {
        /// To answer with.
        ticket: u64,
        /// What to store.
        state: StoredState,
    },
    /// Gates that are open in this epoch may stay open until then. A moment that is not in the future
    /// ends the lease.
    Lease {
        /// The epoch.
        epoch: Epoch,
        /// Until when.
        until: Moment,
    },
    /// Start to act: activation steps 2 to 9, then answer [`crate::Input::GatesOpen`].
    Activate {
        /// The epoch won.
        epoch: Epoch,
        /// Whether the previous holder handed over in order.
        transfer: bool,
        /// Outputs without a fence of their own wait until then.
        guard_until: Moment,
        /// Whether it was won without a majority.
        unquorate: bool,
        /// Why.
        reason: Reason,
        /// The end of the previous holder's journal, if it told.
        continues_from: Option<Position>,
    },
    /// Stop acting in order: deactivation steps 1 to 5, then answer [`crate::Input::Drained`].
    Drain {
        /// The epoch that ends.
        epoch: Epoch,
        /// Who takes over, if anyone.
        to: Option<NodeRank>,
        /// What is not done then is in doubt.
        deadline: Moment,
        /// Why.
        reason: Reason,
    },
    /// Stop acting at once, then answer [`crate::Input::GatesClosed`].
    CloseGates {
        /// The epoch that ended.
        epoch: Epoch,
        /// Why.
        reason: Reason,
        /// Whether links of interfaces without a fence are cut.
        abort_links: bool,
    },
    /// Follow this active node: replicate from it.
    Standby {
        /// Whom; none while no active node is known.
        active: Option<NodeRank>,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Merge what this node's journal has beyond the active one's, then answer
    /// [`crate::Input::MergeDone`].
    Reconcile {
        /// The active node.
        active: NodeRank,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The active node's hold on its epoch changed: interfaces apply `on_unquorate`.
    Quorum {
        /// The epoch.
        epoch: Epoch,
        /// Whether a majority grants it.
        quorate: bool,
        /// Whether another node may act at the same time.
        split_possible: bool,
        /// Why.
        reason: Reason,
    },
    /// Tell everyone again who acts: this node kept the role while another one could not hear it.
    Announce {
        /// The epoch.
        epoch: Epoch,
        /// Why.
        reason: Reason,
    },
    /// The state changed: for log, status, history, metrics.
    State {
        /// Before.
        from: NodeState,
        /// After.
        to: NodeState,
        /// Why.
        reason: Reason,
    },
    /// Who votes has changed, or was learned: for log, status, history.
    Members {
        /// The record.
        members: Members,
        /// Why.
        reason: Reason,
    },
    /// An operator should know.
    Alarm {
        /// What.
        reason: Reason,
    },
    /// An operator's order that cannot be done.
    Refused {
        /// Which.
        order: Order,
        /// Why, in one sentence.
        why: String,
    },
    /// The gates are not closed and must be: end the process at once.
    Abort {
        /// Why.
        reason: Reason,
    },
    /// [`crate::Input::Shutdown`] is done: end the process.
    Stopped,
}
