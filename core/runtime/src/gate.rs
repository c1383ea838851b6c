//! The output gate: nothing leaves a node that does not hold the lease.
//!
//! One gate per group. The control thread alone moves it; every thread that is about to cause an effect
//! asks it right before, also a thread of a process that hosts a plugin: the words lie in shared memory. A closed
//! gate has epoch zero. Invariant: a permit for epoch `e` is given only while `now < lease_end` and the gate's epoch is
//! `e`; the end is read first and the epoch after it, so a gate that moved in between gives no permit.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use twinhub_isolation::GateWords;
use twinhub_model::{Epoch, Moment};

/// The gate of one group.
#[derive(Debug, Default)]
pub struct Gate {
    words: GateWords,
}

impl Gate {
    /// Opens the gate for `epoch`, or extends it, until `until`.
    pub(crate) fn extend(&self, epoch: Epoch, until: Moment) {
        self.words.extend(epoch.0, until.0);
    }

    /// Closes the gate at once.
    pub(crate) fn close(&self) {
        self.words.close();
    }

    /// The end of the lease if `epoch` holds it, whether or not it has passed; `None` otherwise.
    pub fn lease_end(&self, epoch: Epoch) -> Option<Moment> {
        self.words.lease_end(epoch.0).map(Moment)
    }

    /// Where a process that hosts a plugin reads it.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.words.file()
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
        Epoch(self.words.epoch())
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
