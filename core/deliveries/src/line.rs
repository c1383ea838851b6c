//! What waits for one interface, and what is dead there.

use std::collections::{BTreeMap, BTreeSet};

use crate::book::{Dead, Waiting};
use crate::entry::Given;
use crate::{DEAD_BYTES_MAX, DEAD_MAX, WAITING_BYTES_MAX, WAITING_MAX};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    dead: BTreeMap<u64, Dead>,
    dead_bytes: usize,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dead.is_empty()
    }

    pub(crate) const fn waiting(&self) -> &BTreeMap<u64, Waiting> {
        &self.waiting
    }

    pub(crate) const fn dead(&self) -> &BTreeMap<u64, Dead> {
        &self.dead
    }

    pub(crate) fn has_room(&self, count: usize, bytes: usize) -> bool {
        self.waiting.len() + count <= WAITING_MAX && self.waiting_bytes + bytes <= WAITING_BYTES_MAX
    }

    pub(crate) fn wait(&mut self, number: u64, waiting: Waiting) {
        self.waiting_bytes += size(&waiting.given);
        self.waiting.insert(number, waiting);
    }

    pub(crate) fn end_wait(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.waiting_bytes -= size(&waiting.given);
        Some(waiting)
    }

    /// Keeps what cannot be done; gives the oldest of them that it has no more room for.
    pub(crate) fn bury(&mut self, number: u64, dead: Dead) -> Vec<Dead> {
        self.dead_bytes += size(&dead.given);
        self.dead.insert(number, dead);
        let mut pushed_out = Vec::new();
        while self.dead.len() > DEAD_MAX || self.dead_bytes > DEAD_BYTES_MAX {
            let Some((_, oldest)) = self.dead.pop_first() else { break };
            self.dead_bytes -= size(&oldest.given);
            pushed_out.push(oldest);
        }
        pushed_out
    }

    pub(crate) fn exhume(&mut self, number: u64) -> Option<Dead> {
        let dead = self.dead.remove(&number)?;
        self.dead_bytes -= size(&dead.given);
        Some(dead)
    }

    /// Those that may be brought: the first of each giver and key, in the order of their numbers.
    pub(crate) fn firsts(&self) -> Vec<u64> {
        let mut begun: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut numbers = Vec::new();
        for (number, waiting) in &self.waiting {
            let given = &waiting.given;
            if begun.insert((given.name.source.as_str(), given.key.as_str())) {
                numbers.push(*number);
            }
        }
        numbers
    }
}

/// What an event counts for.
pub(crate) fn size(given: &Given) -> usize {
    given.name.bytes() + given.key.len() + given.payload.len()
}
