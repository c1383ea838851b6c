//! What the hub had no room for.

use std::collections::{HashMap, VecDeque};

use crate::shared::Shared;
use crate::time::boottime_ns;
use crate::value::{Flags, Item, Update};

/// Values that wait for room: events in order, of all others the latest per item.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) updates: VecDeque<Update>,
    /// Position of the latest value of an item, counted from the first value ever kept.
    latest: HashMap<Item, u64>,
    popped: u64,
    pub(crate) since_ns: Option<i64>,
    /// Whether the first of them came while the instance was active.
    pub(crate) is_of_active: bool,
}

impl Backlog {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    /// Keeps an update and says how many were lost for it.
    pub(crate) fn push(&mut self, update: Update) -> u64 {
        let is_event = update.flags.contains(Flags::EVENT);
        self.put(update, is_event)
    }

    /// Keeps an update behind all others, as if it were an event.
    pub(crate) fn push_behind(&mut self, update: Update) -> u64 {
        self.put(update, true)
    }

    fn put(&mut self, update: Update, is_event: bool) -> u64 {
        if is_event {
            // A later value must not move in front of the event.
            self.latest.remove(&update.item);
        } else if let Some(position) = self.latest.get(&update.item) {
            let index = usize::try_from(position - self.popped).unwrap_or(usize::MAX);
            if let Some(slot) = self.updates.get_mut(index) {
                if update.flags.contains(Flags::QUALITY_ONLY) {
                    slot.quality = update.quality;
                } else {
                    *slot = update;
                }
                return 0;
            }
        }
        if self.updates.len() >= BACKLOG_MAX {
            return 1;
        }
        if !is_event {
            self.latest.insert(update.item, self.popped + self.updates.len() as u64);
        }
        self.updates.push_back(update);
        0
    }

    pub(crate) fn pop(&mut self, count: usize) {
        for update in self.updates.drain(..count) {
            if let Some(position) = self.latest.get(&update.item)
                && *position < self.popped + count as u64
            {
                self.latest.remove(&update.item);
            }
        }
        self.popped += count as u64;
        if self.updates.is_empty() {
            *self = Self::default();
        }
    }

    /// A batch that was refused as stale may wait for a role call that is under way, but not for ever. Says how many
    /// were dropped.
    pub(crate) fn drop_if_fenced(&mut self, shared: &Shared) -> u64 {
        let now = boottime_ns();
        let since = *self.since_ns.get_or_insert(now);
        if !shared.is_running() || now - since > BACKLOG_AGE_MAX_NS {
            let dropped = self.forget();
            shared.host.count("publish.expired", dropped);
            return dropped;
        }
        0
    }

    /// Says how many there were.
    pub(crate) fn forget(&mut self) -> u64 {
        let dropped = self.updates.len() as u64;
        *self = Self::default();
        dropped
    }
}

/// Values that wait for room in the hub.
const BACKLOG_MAX: usize = 262_144;
/// How long values wait for room before they are dropped and counted. Longer than any role change.
const BACKLOG_AGE_MAX_NS: i64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Quality, Value};

    #[test]
    fn the_latest_value_of_an_item_takes_the_place_of_the_one_before() {
        let mut backlog = Backlog::default();
        for (item, value) in [(1, 10), (2, 20), (1, 11), (1, 12)] {
            assert_eq!(backlog.push(update(item, value)), 0);
        }
        assert_eq!(kept(&backlog), [(1, 12), (2, 20)]);
    }

    #[test]
    fn an_event_is_never_replaced_and_no_value_moves_in_front_of_it() {
        let mut backlog = Backlog::default();
        backlog.push(update(1, 10));
        backlog.push(update(1, 11).flags(Flags::EVENT));
        backlog.push(update(1, 12).flags(Flags::EVENT));
        backlog.push(update(1, 13));
        backlog.push(update(1, 14));
        assert_eq!(kept(&backlog), [(1, 10), (1, 11), (1, 12), (1, 14)]);
    }

    #[test]
    fn a_new_quality_keeps_the_value_that_waits() {
        let mut backlog = Backlog::default();
        backlog.push(update(1, 10));
        backlog.push(Update::requalify(Item(1), Quality::UNCERTAIN_LAST_USABLE));
        assert_eq!(kept(&backlog), [(1, 10)]);
        assert_eq!(backlog.updates[0].quality, Quality::UNCERTAIN_LAST_USABLE);
        backlog.push(update(1, 11));
        assert_eq!(kept(&backlog), [(1, 11)]);
        assert_eq!(backlog.updates[0].quality, Quality::GOOD);
    }

    #[test]
    fn what_was_sent_is_not_replaced_any_more() {
        let mut backlog = Backlog::default();
        for (item, value) in [(1, 10), (2, 20), (3, 30)] {
            backlog.push(update(item, value));
        }
        backlog.pop(2);
        for (item, value) in [(1, 11), (3, 31), (2, 21)] {
            backlog.push(update(item, value));
        }
        assert_eq!(kept(&backlog), [(3, 31), (1, 11), (2, 21)]);
        backlog.pop(3);
        assert!(backlog.is_empty() && backlog.latest.is_empty());
    }

    #[test]
    fn beyond_the_bound_values_are_refused_and_counted() {
        let mut backlog = Backlog::default();
        let event = || update(1, 0).flags(Flags::EVENT);
        assert_eq!((0..BACKLOG_MAX).map(|_| backlog.push(event())).sum::<u64>(), 0);
        assert_eq!(backlog.push(event()), 1);
        assert_eq!(backlog.push(update(2, 0)), 1);
        assert_eq!(backlog.len(), BACKLOG_MAX);
    }

    fn update(item: u32, value: i64) -> Update {
        Update::new(Item(item), value)
    }

    fn kept(backlog: &Backlog) -> Vec<(u32, i64)> {
        let pair = |update: &Update| {
            let Value::I64(value) = update.value else { panic!("{update:?} was never pushed") };
            (update.item.0, value)
        };
        backlog.updates.iter().map(pair).collect()
    }
}
