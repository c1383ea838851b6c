//! The hot ring: what a standby received itself and the active has not yet covered.
//!
//! On an interface that both nodes hear, the standby keeps each telegram until the same one arrives through
//! the journal. At a takeover, what is left was heard by the standby alone and is replayed. The journal may
//! also be faster than the standby's own receiver; such a cover waits for its telegram.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use twinhub_model::{ItemId, Moment, Sample, SampleFlags, Timestamp, Value};

/// Bounds of a [`Ring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLimits {
    /// Most telegrams kept, and most covers waiting.
    pub count_max: usize,
    /// Most bytes of text and byte values kept.
    pub bytes_max: usize,
    /// How long a telegram is kept.
    pub age_max: Duration,
    /// Two times that differ by at most this mean the same telegram: clock offset plus 100 ms.
    pub tolerance: Duration,
}

/// A telegram the standby received.
#[derive(Debug, Clone, PartialEq)]
pub struct RingEntry {
    /// The item.
    pub item: ItemId,
    /// Its value.
    pub value: Value,
    /// The device's time, or the time of receipt if it gives none.
    pub source: Timestamp,
    /// When this node received it.
    pub received: Moment,
    /// Whether every one of its item counts, also an equal one.
    pub is_event: bool,
}

/// A telegram that the journal did not bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Uncovered {
    /// The telegram.
    pub entry: RingEntry,
    /// Whether the journal brought a telegram of the same item that was received after it.
    pub is_overtaken: bool,
}

/// Counters of a [`Ring`] since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingStats {
    /// Telegrams that the journal covered.
    pub covered: u64,
    /// Telegrams that aged out uncovered: the active did not hear them.
    pub orphans: u64,
    /// Uncovered telegrams that were pushed out by a full ring.
    pub overflowed: u64,
    /// Covers that aged out or were pushed out without a telegram: this node did not hear them.
    pub unheard: u64,
}

/// Telegrams of one group's hot interfaces in the order of receipt.
#[derive(Debug)]
pub struct Ring {
    limits: RingLimits,
    /// `None` is covered.
    slots: VecDeque<Option<RingEntry>>,
    /// Number of the front slot.
    front: u64,
    /// Numbers of the uncovered slots of each item.
    uncovered: BTreeMap<ItemId, VecDeque<u64>>,
    uncovered_count: usize,
    /// Number of the newest covered telegram of each item.
    covered: BTreeMap<ItemId, u64>,
    bytes: usize,
    early: VecDeque<Option<RingEntry>>,
    early_front: u64,
    early_by_item: BTreeMap<ItemId, VecDeque<u64>>,
    stats: RingStats,
}

impl Ring {
    /// An empty ring.
    pub const fn new(limits: RingLimits) -> Ring {
        Ring {
            limits,
            slots: VecDeque::new(),
            front: 0,
            uncovered: BTreeMap::new(),
            uncovered_count: 0,
            covered: BTreeMap::new(),
            bytes: 0,
            early: VecDeque::new(),
            early_front: 0,
            early_by_item: BTreeMap::new(),
            stats: RingStats { covered: 0, orphans: 0, overflowed: 0, unheard: 0 },
        }
    }

    /// Sets the tolerance, which follows the measured clock offset.
    pub const fn set_tolerance(&mut self, tolerance: Duration) {
        self.limits.tolerance = tolerance;
    }

    /// Keeps a telegram, unless the journal already brought it.
    pub fn push(&mut self, entry: RingEntry) {
        if self.take_early(&entry) {
            self.stats.covered += 1;
            // It would have had the next number.
            self.note_covered(entry.item, self.front + self.slots.len() as u64);
            return;
        }
        self.bytes += value_bytes(&entry.value);
        self.uncovered.entry(entry.item).or_default().push_back(self.front + self.slots.len() as u64);
        self.uncovered_count += 1;
        self.slots.push_back(Some(entry));
        while self.slots.len() > self.limits.count_max || self.bytes > self.limits.bytes_max {
            if self.pop_front() {
                self.stats.overflowed += 1;
            }
        }
    }

    /// Marks the oldest uncovered telegram that this replicated sample stands for; remembers the sample if
    /// the telegram has not come yet. Returns whether one was covered.
    pub fn cover(&mut self, sample: &Sample, now: Moment) -> bool {
        if sample.flags.contains(SampleFlags::QUALITY_ONLY) {
            // No telegram brought it.
            return false;
        }
        let source = sample.source.or(sample.server);
        let wanted = RingEntry {
            item: sample.item,
            value: sample.value.clone(),
            source,
            received: now,
            is_event: false,
        };
        if let Some(number) = self.find(&wanted) {
            self.note_covered(sample.item, number);
            self.clear_slot(number);
            self.stats.covered += 1;
            return true;
        }
        self.early_by_item
            .entry(wanted.item)
            .or_default()
            .push_back(self.early_front + self.early.len() as u64);
        self.early.push_back(Some(wanted));
        while self.early.len() > self.limits.count_max {
            if self.pop_early() {
                self.stats.unheard += 1;
            }
        }
        false
    }

    /// Drops what is older than the age limit; returns how many telegrams aged out uncovered.
    pub fn expire(&mut self, now: Moment) -> u64 {
        let before = self.stats.orphans;
        let limit = now.before(self.limits.age_max);
        while self.slots.front().is_some_and(|slot| slot.as_ref().is_none_or(|entry| entry.received < limit))
        {
            if self.pop_front() {
                self.stats.orphans += 1;
            }
        }
        while self.early.front().is_some_and(|slot| slot.as_ref().is_none_or(|entry| entry.received < limit))
        {
            if self.pop_early() {
                self.stats.unheard += 1;
            }
        }
        self.stats.orphans - before
    }

    /// Takes all uncovered telegrams in the order of receipt, for replay at a takeover. Empties the ring.
    pub fn drain_uncovered(&mut self) -> Vec<Uncovered> {
        let covered = &self.covered;
        let numbered = (self.front..).zip(self.slots.drain(..));
        let left = numbered.filter_map(|(number, slot)| {
            let entry = slot?;
            let is_overtaken = covered.get(&entry.item).is_some_and(|newest| *newest > number);
            Some(Uncovered { entry, is_overtaken })
        });
        let left = left.collect();
        self.clear();
        left
    }

    /// Settles a telegram that the journal already brought, without keeping it if it did not; returns whether
    /// it did.
    pub fn hear(&mut self, entry: &RingEntry) -> bool {
        let heard = self.take_early(entry);
        self.stats.covered += u64::from(heard);
        heard
    }

    /// What the journal brought and this node has not heard yet, in journal order. After a takeover these
    /// telegrams may still arrive: they were dealt with already.
    pub fn unheard(&self) -> Vec<RingEntry> {
        self.early.iter().flatten().cloned().collect()
    }

    /// Forgets everything, for example when the interface stops being hot.
    pub fn clear(&mut self) {
        self.front += self.slots.len() as u64;
        self.slots.clear();
        self.uncovered.clear();
        self.covered.clear();
        self.uncovered_count = 0;
        self.bytes = 0;
        self.early_front += self.early.len() as u64;
        self.early.clear();
        self.early_by_item.clear();
    }

    /// Telegrams that are not covered yet.
    pub const fn uncovered(&self) -> usize {
        self.uncovered_count
    }

    /// Counters.
    pub const fn stats(&self) -> RingStats {
        self.stats
    }

    fn note_covered(&mut self, item: ItemId, number: u64) {
        let newest = self.covered.entry(item).or_insert(number);
        *newest = number.max(*newest);
    }

    fn find(&self, wanted: &RingEntry) -> Option<u64> {
        let numbers = self.uncovered.get(&wanted.item)?;
        numbers.iter().copied().find(|number| {
            self.slot(*number).is_some_and(|entry| is_same(entry, wanted, self.limits.tolerance))
        })
    }

    fn slot(&self, number: u64) -> Option<&RingEntry> {
        let index = usize::try_from(number.checked_sub(self.front)?).ok()?;
        self.slots.get(index)?.as_ref()
    }

    fn clear_slot(&mut self, number: u64) {
        let index = usize::try_from(number - self.front).expect("the slot was just found");
        if let Some(entry) = self.slots[index].take() {
            self.forget(&entry, number);
        }
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.front += 1;
        }
    }

    /// Removes the oldest slot; true if it was uncovered.
    fn pop_front(&mut self) -> bool {
        let number = self.front;
        let Some(slot) = self.slots.pop_front() else { return false };
        self.front += 1;
        let Some(entry) = slot else { return false };
        self.forget(&entry, number);
        true
    }

    fn forget(&mut self, entry: &RingEntry, number: u64) {
        self.bytes -= value_bytes(&entry.value);
        self.uncovered_count -= 1;
        remove_number(&mut self.uncovered, entry.item, number);
    }

    fn take_early(&mut self, entry: &RingEntry) -> bool {
        let Some(numbers) = self.early_by_item.get(&entry.item) else { return false };
        let found = numbers.iter().copied().find_map(|number| {
            let index = usize::try_from(number - self.early_front).ok()?;
            let early = self.early.get(index)?.as_ref()?;
            is_same(early, entry, self.limits.tolerance).then_some((number, index))
        });
        let Some((number, index)) = found else { return false };
        self.early[index] = None;
        remove_number(&mut self.early_by_item, entry.item, number);
        true
    }

    fn pop_early(&mut self) -> bool {
        let number = self.early_front;
        let Some(slot) = self.early.pop_front() else { return false };
        self.early_front += 1;
        let Some(entry) = slot else { return false };
        remove_number(&mut self.early_by_item, entry.item, number);
        true
    }
}

fn remove_number(map: &mut BTreeMap<ItemId, VecDeque<u64>>, item: ItemId, number: u64) {
    let Some(numbers) = map.get_mut(&item) else { return };
    if let Some(index) = numbers.iter().position(|candidate| *candidate == number) {
        numbers.remove(index);
    }
    if numbers.is_empty() {
        map.remove(&item);
    }
}

fn is_same(one: &RingEntry, two: &RingEntry, tolerance: Duration) -> bool {
    let apart = one.source.0.abs_diff(two.source.0);
    let near = !one.source.is_some() || !two.source.is_some() || u128::from(apart) <= tolerance.as_nanos();
    near && one.value.is_same(&two.value)
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Str(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Time(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_model::Quality;

    use super::*;

    const LIMITS: RingLimits = RingLimits {
        count_max: 100,
        bytes_max: 1000,
        age_max: Duration::from_secs(10),
        tolerance: Duration::from_millis(100),
    };

    fn heard(item: u32, value: u64, ms: u64) -> RingEntry {
        let source = Timestamp(i64::try_from(ms).unwrap() * 1_000_000);
        let received = Moment::from_millis(ms);
        RingEntry { item: ItemId(item), value: Value::U64(value), source, received, is_event: false }
    }

    fn replicated(item: u32, value: u64, ms: i64) -> Sample {
        Sample {
            item: ItemId(item),
            value: Value::U64(value),
            quality: Quality::GOOD,
            source: Timestamp(ms * 1_000_000),
            server: Timestamp::NONE,
            flags: SampleFlags::default(),
        }
    }

    #[test]
    fn a_new_quality_covers_no_telegram_and_is_not_waited_for() {
        let mut ring = Ring::new(LIMITS);
        let mut sample = replicated(1, 5, 1000);
        sample.flags = SampleFlags::QUALITY_ONLY;
        assert!(!ring.cover(&sample, Moment::from_millis(1000)));
        assert_eq!(ring.unheard().len(), 0);
    }

    #[test]
    fn equal_telegrams_are_covered_one_by_one_and_the_rest_is_replayed_in_order() {
        let mut ring = Ring::new(LIMITS);
        for (item, value, ms) in [(1, 7, 10), (2, 7, 11), (1, 7, 12), (1, 8, 13), (1, 7, 14)] {
            ring.push(heard(item, value, ms));
        }
        let now = Moment::from_millis(50);
        assert!(ring.cover(&replicated(1, 7, 10), now));
        assert!(ring.cover(&replicated(1, 7, 12), now));
        assert!(!ring.cover(&replicated(3, 7, 12), now));
        assert_eq!(ring.uncovered(), 3);
        let left: Vec<_> = ring.drain_uncovered().into_iter().map(|left| left.entry).collect();
        assert_eq!(left, [heard(2, 7, 11), heard(1, 8, 13), heard(1, 7, 14)]);
        assert_eq!((ring.uncovered(), ring.stats().covered), (0, 2));
    }

    #[test]
    fn a_telegram_before_one_that_the_journal_has_is_overtaken() {
        let mut ring = Ring::new(LIMITS);
        let overtaken = |ring: &mut Ring| {
            ring.drain_uncovered().into_iter().map(|left| left.is_overtaken).collect::<Vec<_>>()
        };
        let now = Moment::from_millis(50);
        for (item, value, ms) in [(1, 5, 10), (2, 5, 10), (1, 6, 11), (1, 7, 12)] {
            ring.push(heard(item, value, ms));
        }
        ring.cover(&replicated(1, 6, 11), now);
        assert_eq!(overtaken(&mut ring), [true, false, false]);
        // The journal was faster than the own receiver.
        ring.push(heard(1, 5, 10));
        ring.cover(&replicated(1, 6, 11), now);
        ring.push(heard(1, 6, 12));
        ring.push(heard(1, 7, 13));
        assert_eq!(overtaken(&mut ring), [true, false]);
    }

    #[test]
    fn a_telegram_outside_the_tolerance_is_another_one() {
        let mut ring = Ring::new(LIMITS);
        ring.push(heard(1, 7, 1000));
        assert!(!ring.cover(&replicated(1, 7, 1101), Moment::from_millis(1101)));
        assert!(ring.cover(&replicated(1, 7, 1100), Moment::from_millis(1101)));
    }

    #[test]
    fn a_journal_faster_than_the_own_receiver_leaves_nothing_to_replay() {
        let mut ring = Ring::new(LIMITS);
        assert!(!ring.cover(&replicated(1, 7, 1000), Moment::from_millis(1000)));
        ring.push(heard(1, 7, 1001));
        ring.push(heard(1, 7, 1002));
        let left: Vec<_> = ring.drain_uncovered().into_iter().map(|left| left.entry).collect();
        assert_eq!(left, [heard(1, 7, 1002)]);
        assert_eq!(ring.stats().covered, 1);
    }

    #[test]
    fn what_the_active_never_covers_is_counted_as_an_orphan() {
        let mut ring = Ring::new(LIMITS);
        ring.push(heard(1, 7, 1000));
        ring.push(heard(1, 8, 2000));
        ring.cover(&replicated(2, 9, 1500), Moment::from_millis(1500));
        assert_eq!(ring.expire(Moment::from_millis(11_000)), 0);
        assert_eq!(ring.expire(Moment::from_millis(11_001)), 1);
        assert_eq!(ring.expire(Moment::from_millis(60_000)), 1);
        assert_eq!(ring.stats(), RingStats { orphans: 2, unheard: 1, ..RingStats::default() });
    }

    #[test]
    fn a_full_ring_pushes_out_the_oldest_and_counts_it() {
        let mut ring = Ring::new(RingLimits { count_max: 3, ..LIMITS });
        for ms in 1..=5 {
            ring.push(heard(1, ms, ms));
            ring.cover(&replicated(9, ms, 0), Moment::from_millis(ms));
        }
        assert_eq!((ring.stats().overflowed, ring.stats().unheard), (2, 2));
        let mut ring = Ring::new(LIMITS);
        for ms in 1..=5 {
            ring.push(RingEntry { value: Value::Bytes(vec![0; 400].into()), ..heard(1, 0, ms) });
        }
        assert_eq!((ring.stats().overflowed, ring.uncovered()), (3, 2));
    }

    proptest! {
        /// Whatever the order of telegrams and covers, each telegram is covered, replayed, orphaned or
        /// pushed out: exactly one of them.
        #[test]
        fn no_telegram_is_lost_or_counted_twice(
            steps in prop::collection::vec((0_u8..3, 0_u32..3, 0_u64..3, 0_u64..40), 0..200),
            count_max in 1_usize..20,
        ) {
            let mut ring = Ring::new(RingLimits { count_max, age_max: Duration::from_millis(500), ..LIMITS });
            let (mut pushed, mut covers, mut now) = (0, 0, 0);
            for (kind, item, value, ms) in steps {
                now += ms;
                match kind {
                    0 => { pushed += 1; ring.push(heard(item, value, now)); }
                    1 => {
                        covers += 1;
                        let sample = replicated(item, value, i64::try_from(now).unwrap());
                        ring.cover(&sample, Moment::from_millis(now));
                    }
                    _ => { ring.expire(Moment::from_millis(now)); }
                }
                prop_assert!(ring.slots.len() <= count_max && ring.early.len() <= count_max);
            }
            let stats = ring.stats();
            let waiting = ring.early.iter().flatten().count() as u64;
            prop_assert_eq!(stats.covered + stats.unheard + waiting, covers);
            let left = ring.drain_uncovered().len() as u64;
            prop_assert_eq!(stats.covered + stats.orphans + stats.overflowed + left, pushed);
            prop_assert!(ring.uncovered.is_empty() && ring.bytes == 0);
        }
    }
}
