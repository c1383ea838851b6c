//! A table of timers.

use std::collections::{BTreeMap, BTreeSet};

use crate::moment::Moment;

/// What is waited for, each with its time.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    times: BTreeMap<T, Moment>,
    order: BTreeSet<(Moment, T)>,
}

impl<T: Copy + Ord> Timers<T> {
    pub(crate) const fn new() -> Timers<T> {
        Timers { times: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets a timer, in the place of the one of the same name.
    pub(crate) fn set(&mut self, timer: T, at: Moment) {
        self.stop(timer);
        self.times.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Stops a timer.
    pub(crate) fn stop(&mut self, timer: T) {
        if let Some(at) = self.times.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Takes one that is due.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<T> {
        let (_, timer) = self.order.first().copied().filter(|(at, _)| *at <= now)?;
        self.stop(timer);
        Some(timer)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Moment {
        self.order.first().map_or(Moment::NEVER, |(at, _)| *at)
    }
}
