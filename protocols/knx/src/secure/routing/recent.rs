//! Frames that were heard lately.

use std::collections::BTreeSet;

use crate::secure::wrapper::Nonce;

/// What was heard within the latency tolerance. Bounded: if more comes, the oldest is forgotten, and with it all that is
/// as old is refused.
#[derive(Debug, Default)]
pub(super) struct Recent {
    heard: BTreeSet<Nonce>,
    floor: u64,
}

/// Far above what a network of 50 telegrams a second has within seconds.
pub(super) const RECENT_MAX: usize = 4096;

impl Recent {
    /// Whether this is heard for the first time. `oldest` is the timer below which nothing is believed anyway.
    pub(super) fn is_new(&mut self, nonce: Nonce, oldest: u64) -> bool {
        while self.heard.first().is_some_and(|first| first.sequence < oldest) {
            self.heard.pop_first();
        }
        if nonce.sequence < self.floor || !self.heard.insert(nonce) {
            return false;
        }
        if self.heard.len() > RECENT_MAX
            && let Some(first) = self.heard.pop_first()
        {
            self.floor = first.sequence + 1;
        }
        true
    }
}
