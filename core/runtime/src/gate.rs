//! The output gate: nothing leaves a node that does not hold the lease.
//!
//! One gate per group. The control thread alone moves it; every thread that is about to cause an effect
//! asks it right before. A closed gate has epoch zero. Invariant: a permit for epoch `e` is given only while
//! `now < lease_end` and the gate's epoch is `e`; both words are read after each other and the epoch is read
//! again, so a gate that moved in between gives no permit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use twinhub_model::{Epoch, Moment};

/// The gate of one group.
#[derive(Debug, Default)]
pub struct Gate {
    epoch: AtomicU64,
    lease_end: AtomicU64,
}

impl Gate {
    /// Opens the gate for `epoch`, or extends it, until `until`.
    pub(crate) fn extend(&self, epoch: Epoch, until: Moment) {
        if self.epoch.load(Ordering::Acquire) != epoch.0 {
            self.lease_end.store(0, Ordering::Release);
            self.epoch.store(epoch.0, Ordering::Release);
        }
        self.lease_end.store(until.0, Ordering::Release);
    }

    /// Closes the gate at once.
    pub(crate) fn close(&self) {
        self.lease_end.store(0, Ordering::Release);
        self.epoch.store(0, Ordering::Release);
    }

    /// The end of the lease if `epoch` holds it, whether or not it has passed; `None` otherwise.
    pub fn lease_end(&self, epoch: Epoch) -> Option<Moment> {
        let end = self.lease_end.load(Ordering::Acquire);
        (epoch != Epoch::NONE && self.epoch.load(Ordering::Acquire) == epoch.0 && end != 0)
            .then_some(Moment(end))
    }

    /// The end of the lease if `epoch` may cause effects at `now`.
    pub fn permit(&self, epoch: Epoch, now: Moment) -> Option<Moment> {
        self.lease_end(epoch).filter(|end| now < *end)
    }

    /// How long the gate stays open if its lease is not renewed; `None` when it is closed.
    pub fn remaining(&self, now: Moment) -> Option<Duration> {
        self.permit(self.epoch(), now).map(|end| end.since(now))
    }

    /// The epoch the gate is open for; [`Epoch::NONE`] when closed.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinhub_model::NodeRank;

    #[test]
    fn a_gate_permits_one_epoch_until_its_lease_ends() {
        let gate = Gate::default();
        let epoch = Epoch::new(3, NodeRank(0));
        assert_eq!(gate.permit(epoch, Moment(1)), None);
        gate.extend(epoch, Moment(10));
        assert_eq!(gate.permit(epoch, Moment(9)), Some(Moment(10)));
        assert_eq!(gate.permit(epoch, Moment(10)), None);
        assert_eq!(gate.permit(epoch.next_for(NodeRank(1)), Moment(1)), None);
        assert_eq!(gate.permit(Epoch::NONE, Moment(1)), None);
        assert_eq!(gate.remaining(Moment(7)), Some(Duration::from_nanos(3)));
        gate.close();
        assert_eq!(gate.permit(epoch, Moment(1)), None);
        assert_eq!(gate.remaining(Moment(1)), None);
    }

    #[test]
    fn a_newer_epoch_takes_the_permit_from_the_older() {
        let gate = Gate::default();
        let old = Epoch::new(3, NodeRank(0));
        let new = old.next_for(NodeRank(1));
        gate.extend(old, Moment(100));
        gate.extend(new, Moment(50));
        assert_eq!(gate.permit(old, Moment(1)), None);
        assert_eq!(gate.permit(new, Moment(1)), Some(Moment(50)));
    }
}
