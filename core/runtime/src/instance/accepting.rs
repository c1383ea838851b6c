//! How many batches of an instance were taken, and how many are accepted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module. The numbers go on when a new instance takes the place of one that faulted.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    is_used: AtomicBool,
    is_stalled: AtomicBool,
    taken: AtomicU64,
    accepted: AtomicU64,
}

impl Accepting {
    /// The instance wants to know.
    pub(crate) fn begin(&self) {
        self.is_used.store(true, Ordering::SeqCst);
    }

    /// Whether the instance wants to know, since what it takes is given again until it is accepted.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Counts a batch, if anyone wants to know, before it goes into the engine's lane: whoever asks for the number
    /// after its batch went there is then given one that covers all batches in the lane before it.
    pub(crate) fn take(&self) -> bool {
        let is_used = self.is_used.load(Ordering::Acquire);
        if is_used {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        is_used
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    pub(crate) fn accept(&self, through: u64) {
        self.accepted.store(through, Ordering::SeqCst);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Batches that are taken and not accepted.
    pub(crate) fn waiting(&self) -> u64 {
        self.taken().saturating_sub(self.accepted())
    }

    /// The journal takes nothing, so an instance whose inputs are acknowledged keeps them.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Release);
    }

    /// Whether nothing is to be taken.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Acquire) && self.is_used.load(Ordering::Acquire)
    }
}
