//! The hot ring: what a standby received itself and the active has not yet covered.
//!
//! On an interface that both nodes hear, the standby keeps each telegram until the same one arrives through
//! the journal. At a takeover, what is left was heard by the standby alone and is replayed. The journal may
//! also be faster than the standby's own receiver; such a cover waits for its telegram. Telegrams of an item come in the
//! order of the journal, so a telegram that is found there ends the waiting of the covers before its own: theirs were heard
//! before this node restarted, or never will be.
//!
//! A sender that gives again what it has no receipt for makes a telegram *doubtful*: it may be one that the journal
//! had before this node began to listen, for which no cover comes any more. Telegrams of an item come in the order of
//! the journal. So the first of an item that is found there ends the doubt: those before it are older, those behind it
//! have their covers still to come, and without one are news. Until then the value that the journal shows last tells.
//! After a time as the active node the doubt is back: what this node journaled itself has no cover either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// Whether its sender gives again what it has no receipt for.
    pub may_repeat: bool,
}

/// A place of the ring.
#[derive(Debug)]
struct Slot {
    entry: RingEntry,
    /// Whether the journal may have had it before the covers that this ring has seen.
    is_doubtful: bool,
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
    /// Doubtful telegrams that turned out to be repeats, or aged out in doubt.
    pub repeats: u64,
}

/// Telegrams of one group's hot interfaces in the order of receipt.
#[derive(Debug)]
pub struct Ring {
    limits: RingLimits,
    /// `None` is covered.
    slots: VecDeque<Option<Slot>>,
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
    /// Items of which a telegram was found in the journal: what comes behind it is in no doubt.
    placed: BTreeSet<ItemId>,
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
            placed: BTreeSet::new(),
            stats: RingStats { covered: 0, orphans: 0, overflowed: 0, unheard: 0, repeats: 0 },
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
            let number = self.front + self.slots.len() as u64;
            self.note_covered(entry.item, number);
            self.place(entry.item, number);
            return;
        }
        let is_doubtful = entry.may_repeat && !self.placed.contains(&entry.item);
        self.keep(entry, is_doubtful);
    }

    fn keep(&mut self, entry: RingEntry, is_doubtful: bool) {
        self.bytes += value_bytes(&entry.value);
        self.uncovered.entry(entry.item).or_default().push_back(self.front + self.slots.len() as u64);
        self.uncovered_count += 1;
        self.slots.push_back(Some(Slot { entry, is_doubtful }));
        while self.slots.len() > self.limits.count_max || self.bytes > self.limits.bytes_max {
            if self.pop_front() {
                self.stats.overflowed += 1;
            }
        }
    }

    /// Marks the oldest uncovered telegram that this replicated sample stands for; remembers the sample if
    /// the telegram has not come yet. Returns whether one was covered.
    pub fn cover(&mut self, sample: &Sample, now: Moment) -> bool {
        if sample.flags.contains(SampleFlags::QUALITY_ONLY) || !sample.quality.is_good() {
            // No telegram brought it, or none that the ring keeps.
            return false;
        }
        let source = sample.source.or(sample.server);
        let wanted = RingEntry {
            item: sample.item,
            value: sample.value.clone(),
            source,
            received: now,
            is_event: false,
            may_repeat: false,
        };
        if let Some(number) = self.find(&wanted) {
            self.note_covered(sample.item, number);
            self.clear_slot(number);
            self.stats.covered += 1;
            // What the journal had of the item before this one is not heard any more.
            self.drop_early(sample.item, self.early_front + self.early.len() as u64);
            self.place(sample.item, number);
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
        while let Some(slot) = self.slots.front() {
            match slot {
                Some(slot) if slot.entry.received >= limit => break,
                Some(slot) if slot.is_doubtful => self.stats.repeats += 1,
                Some(_) => self.stats.orphans += 1,
                None => {}
            }
            self.pop_front();
        }
        while self.early.front().is_some_and(|slot| slot.as_ref().is_none_or(|entry| entry.received < limit))
        {
            if self.pop_early() {
                self.stats.unheard += 1;
            }
        }
        self.stats.orphans - before
    }

    /// Takes all uncovered telegrams in the order of receipt, for replay at a takeover. Empties the ring. What is in
    /// doubt is a repeat if the journal brought something of its item that was not heard yet, or if it, or a later one
    /// of its item, is what `is_shown` says that the journal has last.
    pub fn drain_uncovered(&mut self, is_shown: impl Fn(ItemId, &Value) -> bool) -> Vec<Uncovered> {
        self.settle_doubts(is_shown);
        let covered = &self.covered;
        let numbered = (self.front..).zip(self.slots.drain(..));
        let left = numbered.filter_map(|(number, slot)| {
            let Slot { entry, .. } = slot?;
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
        if heard {
            self.place(entry.item, self.front + self.slots.len() as u64);
        }
        heard
    }

    /// The value that the journal has last of an item was heard: what was heard of it before and is in doubt is older.
    /// What is left of it and in no doubt is news, which this one ends: it is kept behind them.
    pub fn hear_shown(&mut self, entry: RingEntry) {
        if self.hear(&entry) {
            return;
        }
        self.settle_before(entry.item, self.front + self.slots.len() as u64);
        if self.uncovered.contains_key(&entry.item) {
            self.keep(entry, false);
        }
    }

    /// Covers were missed: a copy came in their place. What came before it has no cover to wait for.
    pub fn doubt(&mut self) {
        self.placed.clear();
        for slot in self.slots.iter_mut().flatten() {
            slot.is_doubtful = slot.entry.may_repeat;
        }
    }

    /// What the journal brought and this node has not heard yet, in journal order. After a takeover these
    /// telegrams may still arrive: they were dealt with already.
    pub fn unheard(&self) -> Vec<RingEntry> {
        self.early.iter().flatten().cloned().collect()
    }

    /// Forgets everything, also what is in no doubt: covers are missed until this node listens again.
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
        self.placed.clear();
    }

    /// Telegrams that are not covered yet.
    pub const fn uncovered(&self) -> usize {
        self.uncovered_count
    }

    /// Counters.
    pub const fn stats(&self) -> RingStats {
        self.stats
    }

    /// A telegram of the item was found in the journal, at this place of the ring.
    fn place(&mut self, item: ItemId, number: u64) {
        if !self.placed.insert(item) {
            return;
        }
        self.settle_before(item, number);
        for number in self.uncovered.get(&item).into_iter().flatten() {
            let index = usize::try_from(*number - self.front).expect("uncovered slots are in the ring");
            if let Some(slot) = &mut self.slots[index] {
                slot.is_doubtful = false;
            }
        }
    }

    /// Doubtful telegrams of the item before this place are repeats.
    fn settle_before(&mut self, item: ItemId, end: u64) {
        let Some(numbers) = self.uncovered.get(&item) else { return };
        let is_doubtful = |number: &u64| {
            let index = usize::try_from(*number - self.front).ok();
            index.and_then(|index| self.slots.get(index)?.as_ref()).is_some_and(|slot| slot.is_doubtful)
        };
        let repeats: Vec<u64> =
            numbers.iter().copied().take_while(|number| *number < end).filter(is_doubtful).collect();
        self.stats.repeats += repeats.len() as u64;
        for number in repeats {
            self.clear_slot(number);
        }
    }

    fn settle_doubts(&mut self, is_shown: impl Fn(ItemId, &Value) -> bool) {
        let mut ends: BTreeMap<ItemId, u64> = BTreeMap::new();
        for (number, slot) in (self.front..).zip(&self.slots) {
            let Some(Slot { entry, is_doubtful: true }) = slot else { continue };
            if self.early_by_item.contains_key(&entry.item) || is_shown(entry.item, &entry.value) {
                ends.insert(entry.item, number + 1);
            }
        }
        for (item, end) in ends {
            self.settle_before(item, end);
        }
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
        self.slots.get(index)?.as_ref().map(|slot| &slot.entry)
    }

    fn clear_slot(&mut self, number: u64) {
        let index = usize::try_from(number - self.front).expect("the slot was just found");
        if let Some(Slot { entry, .. }) = self.slots[index].take() {
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
        let Some(Slot { entry, .. }) = slot else { return false };
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
        self.drop_early(entry.item, number);
        true
    }

    /// Covers of the item before this one have no telegram to wait for: it would have come in the order of the journal, and
    /// an equal one that comes later is another.
    fn drop_early(&mut self, item: ItemId, end: u64) {
        let Some(numbers) = self.early_by_item.get_mut(&item) else { return };
        while let Some(number) = numbers.front().copied().filter(|number| *number < end) {
            numbers.pop_front();
            if let Some(index) =
                number.checked_sub(self.early_front).and_then(|index| usize::try_from(index).ok())
            {
                self.early[index] = None;
                self.stats.unheard += 1;
            }
        }
        if numbers.is_empty() {
            self.early_by_item.remove(&item);
        }
    }

    fn pop_early(&mut self) -> bool {
        let number = self.early_front;
        let Some(slot) = self.early.pop_front() else { return false };
        self.early_front += 1;
        let Some(entry) = slot else { return false };
        remove_number(&mut self.early_by_item, entry.item, number);
        // Its telegram may still come, long after.
        self.placed.remove(&entry.item);
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
mod tests;
