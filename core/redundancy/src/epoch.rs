//! Which epochs a voter believes.

use twinhub_model::{Epoch, NodeRank};

/// Whether an epoch belongs to this node and can be counted on from.
pub(crate) fn is_of(epoch: Epoch, node: NodeRank) -> bool {
    epoch.rank() == node && is_sane(epoch)
}

/// Whether an epoch is one that elections can have reached: a number beyond comes from a fault, and
/// believing it would leave no number to follow it.
pub(crate) fn is_sane(epoch: Epoch) -> bool {
    epoch.counter() <= EPOCH_COUNTER_MAX
}

/// A thousand elections each second for eight thousand years.
pub(crate) const EPOCH_COUNTER_MAX: u64 = 1 << 48;
