//! A ring of records in shared memory: one side writes, one reads.
//!
//! A record is a head (kind, whether more of the same message follows, number of words) and its words. The writing side
//! publishes the end of what it wrote, the reading side the end of what it copied out. Whoever finds nothing to do says
//! so and sleeps on a bell, a futex; the other one rings it. Nothing that the other side wrote is believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

use crate::region::Region;

/// The other side broke the format: no more can be said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its shared memory holds what no hub writes")]
pub(crate) struct Broken;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u16,
    /// The message goes on in the next record.
    pub(crate) more: bool,
}

/// Words of memory for a ring that holds `capacity` words, a power of two.
pub(crate) const fn memory_of(capacity: usize) -> usize {
    FRONT + capacity
}

/// Longest record, without its head.
pub(crate) const fn record_max(capacity: usize) -> usize {
    capacity / 4 - 1
}

#[derive(Debug, Clone)]
struct Shared {
    region: Arc<Region>,
    capacity: u64,
}

impl Shared {
    fn new(region: Arc<Region>) -> Self {
        let capacity = (region.words().len() - FRONT) as u64;
        assert!(capacity.is_power_of_two(), "a ring of {capacity} words");
        Self { region, capacity }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.region.words()[at]
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the capacity, which is an index")]
    fn data(&self, at: u64) -> &AtomicU64 {
        &self.region.words()[FRONT + (at & (self.capacity - 1)) as usize]
    }

    /// So many words from this place on: up to the end of the memory, and from its begin.
    #[expect(clippy::cast_possible_truncation, reason = "less than the capacity, which is an index")]
    fn stretch(&self, at: u64, count: usize) -> (&[AtomicU64], &[AtomicU64]) {
        let data = &self.region.words()[FRONT..];
        let begin = (at & (self.capacity - 1)) as usize;
        let before = count.min(data.len() - begin);
        (&data[begin..begin + before], &data[..(count - before).min(begin)])
    }

    /// Rings a bell if somebody sleeps there who waits for no more than there is.
    fn ring(&self, bell: usize, there_is: impl Fn() -> u64) {
        // What was published before is seen by whoever says after this that it will sleep.
        fence(Ordering::SeqCst);
        let wanted = self.word(bell + 1).load(Ordering::Relaxed);
        if wanted != 0 && there_is() >= wanted {
            self.word(bell + 1).store(0, Ordering::Relaxed);
            self.wake(bell);
        }
    }

    fn wake(&self, bell: usize) {
        let bell = self.region.half(bell);
        bell.fetch_add(1, Ordering::SeqCst);
        _ = futex::wake(bell, futex::Flags::empty(), u32::MAX);
    }

    /// Sleeps at a bell until so much is there that it rings, the time is over, or `is_due`; may wake for nothing. Of
    /// several the one who wants least is heard.
    fn sleep(&self, bell: usize, wanted: u64, patience: Duration, is_due: impl Fn() -> bool) {
        let heard = self.region.half(bell).load(Ordering::SeqCst);
        // From here on 0 is more than anything.
        let less = |known: u64| (known.wrapping_sub(1) > wanted.wrapping_sub(1)).then_some(wanted);
        self.word(bell + 1).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        fence(Ordering::SeqCst);
        if is_due() {
            return;
        }
        let limit = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // Whatever it says, the caller looks again.
        _ = futex::wait(self.region.half(bell), futex::Flags::empty(), heard, Some(&limit));
    }
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Producer {
    shared: Shared,
    head: u64,
    /// How far the other side was when that was looked at last, which costs a line of its cache.
    tail: u64,
}

impl Producer {
    pub(crate) fn new(region: Arc<Region>) -> Self {
        Self { shared: Shared::new(region), head: 0, tail: 0 }
    }

    pub(crate) fn record_max(&self) -> usize {
        record_max(usize::try_from(self.shared.capacity).unwrap_or(usize::MAX))
    }

    fn has_room(&mut self, words: u64) -> Result<bool, Broken> {
        let room = |tail| self.shared.capacity.checked_sub(self.head.wrapping_sub(tail)).ok_or(Broken);
        if room(self.tail)? >= words {
            return Ok(true);
        }
        let tail = self.shared.word(TAIL).load(Ordering::Acquire);
        let has_room = room(tail)? >= words;
        self.tail = tail;
        Ok(has_room)
    }

    /// Writes a record of at most [`Producer::record_max`] words, in parts; whether there was room.
    pub(crate) fn push(&mut self, head: Head, parts: &[&[u64]]) -> Result<bool, Broken> {
        let length = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        if !self.has_room(length + 1)? {
            return Ok(false);
        }
        let first = length | u64::from(head.kind) << 32 | u64::from(head.more) << 48;
        self.shared.data(self.head).store(first, Ordering::Relaxed);
        let mut at = self.head.wrapping_add(1);
        for part in parts {
            let (before, behind) = self.shared.stretch(at, part.len());
            let (first, rest) = part.split_at(before.len());
            write(before, first);
            write(behind, rest);
            at = at.wrapping_add(part.len() as u64);
        }
        self.head = at;
        self.shared.word(HEAD).store(self.head, Ordering::Release);
        self.shared.ring(DATA_BELL, || 1);
        Ok(true)
    }

    /// Where to wait for room while the ring itself is used by others.
    pub(crate) fn room_bell(&self) -> RoomBell {
        RoomBell { shared: self.shared.clone(), head: self.head }
    }
}

/// In two simple loops rather than one over a chain, which takes three times as long.
#[inline]
fn write(places: &[AtomicU64], words: &[u64]) {
    for (place, word) in places.iter().zip(words) {
        place.store(*word, Ordering::Relaxed);
    }
}

/// Waits for room in a ring.
#[derive(Debug)]
pub(crate) struct RoomBell {
    shared: Shared,
    head: u64,
}

impl RoomBell {
    /// Until there is room for `words` words and their head, or the time is over; whether there is.
    pub(crate) fn wait(&self, words: usize, patience: Duration) -> bool {
        let wanted = words as u64 + 1;
        let has_room = || {
            let used = self.head.wrapping_sub(self.shared.word(TAIL).load(Ordering::Acquire));
            self.shared.capacity.saturating_sub(used) >= wanted
        };
        self.shared.sleep(ROOM_BELL, wanted, patience, has_room);
        has_room()
    }
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct Consumer {
    shared: Shared,
    tail: u64,
    /// How far the other side was when that was looked at last, which costs a line of its cache.
    head: u64,
}

impl Consumer {
    pub(crate) fn new(region: Arc<Region>) -> Self {
        Self { shared: Shared::new(region), tail: 0, head: 0 }
    }

    /// Appends the words of the next record, if there is one.
    pub(crate) fn pop(&mut self, into: &mut Vec<u64>) -> Result<Option<Head>, Broken> {
        if self.head == self.tail {
            self.head = self.shared.word(HEAD).load(Ordering::Acquire);
        }
        let written = self.head.wrapping_sub(self.tail);
        if written == 0 {
            return Ok(None);
        }
        let head = self.shared.data(self.tail).load(Ordering::Relaxed);
        let length = head & 0xFFFF_FFFF;
        if written > self.shared.capacity || length >= written || length >= self.shared.capacity / 4 {
            return Err(Broken);
        }
        let begin = self.tail.wrapping_add(1);
        let count = usize::try_from(length).map_err(|_| Broken)?;
        let (before, behind) = self.shared.stretch(begin, count);
        into.extend(before.iter().map(|word| word.load(Ordering::Relaxed)));
        into.extend(behind.iter().map(|word| word.load(Ordering::Relaxed)));
        self.tail = begin.wrapping_add(length);
        self.shared.word(TAIL).store(self.tail, Ordering::Release);
        // A reader that wakes the other side for each record that it has read hardly reads.
        let room = || {
            let used = self.shared.word(HEAD).load(Ordering::Acquire).wrapping_sub(self.tail);
            self.shared.capacity.saturating_sub(used)
        };
        self.shared.ring(ROOM_BELL, room);
        let kind = u16::try_from(head >> 32 & 0xFFFF).unwrap_or(0);
        Ok(Some(Head { kind, more: head >> 48 & 1 == 1 }))
    }

    /// Sleeps until something is there or the time is over; may wake for nothing.
    pub(crate) fn wait(&self, patience: Duration) {
        self.shared
            .sleep(DATA_BELL, 1, patience, || self.shared.word(HEAD).load(Ordering::Acquire) != self.tail);
    }

    /// What wakes the reading side from another thread.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm { shared: self.shared.clone() }
    }
}

/// Wakes the reading side of a ring.
#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    shared: Shared,
}

impl Alarm {
    pub(crate) fn ring(&self) {
        self.shared.wake(DATA_BELL);
    }
}

/// Where the words of the ring are; those of the two sides lie in different lines of the cache.
const HEAD: usize = 0;
const TAIL: usize = 8;
/// A bell is the futex and, behind it, how much somebody waits for who sleeps there; 0 for nobody.
const DATA_BELL: usize = 16;
const ROOM_BELL: usize = 24;
const FRONT: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(capacity: usize) -> (Producer, Consumer, Arc<Region>) {
        let region = Arc::new(Region::create("ring", memory_of(capacity), false).unwrap());
        (Producer::new(Arc::clone(&region)), Consumer::new(Arc::clone(&region)), region)
    }

    const ONE: Head = Head { kind: 1, more: false };

    #[test]
    fn what_is_written_is_read_in_order_around_the_end() {
        let (mut producer, mut consumer, _) = ring(64);
        let mut words = Vec::new();
        for round in 0..100_u64 {
            let head = Head { kind: u16::try_from(round).unwrap(), more: round % 2 == 0 };
            let record: Vec<u64> = (0..round % 15).map(|at| round * 100 + at).collect();
            assert!(producer.push(head, &[&record]).unwrap());
            words.clear();
            assert_eq!(consumer.pop(&mut words).unwrap(), Some(head));
            assert_eq!(words, record);
        }
        assert_eq!(consumer.pop(&mut words).unwrap(), None);
    }

    #[test]
    fn a_full_ring_takes_no_record_and_loses_none() {
        let (mut producer, mut consumer, _) = ring(64);
        let mut count = 0;
        while producer.push(ONE, &[&[count; 7]]).unwrap() {
            count += 1;
        }
        assert_eq!(count, 8);
        for expected in 0..count {
            let mut words = Vec::new();
            assert_eq!(consumer.pop(&mut words).unwrap(), Some(ONE));
            assert_eq!(words, [expected; 7]);
            assert!(producer.push(ONE, &[&[expected; 3], &[expected; 4]]).unwrap());
        }
    }

    #[test]
    fn who_sleeps_is_woken() {
        let (mut producer, mut consumer, _) = ring(64);
        let reader = std::thread::spawn(move || {
            let mut words = Vec::new();
            while words.len() < 5_000 {
                if consumer.pop(&mut words).unwrap().is_none() {
                    consumer.wait(Duration::from_secs(60));
                }
            }
            words
        });
        for number in 0..5_000 {
            while !producer.push(ONE, &[&[number]]).unwrap() {
                producer.room_bell().wait(1, Duration::from_secs(60));
            }
        }
        assert_eq!(reader.join().unwrap(), (0..5_000).collect::<Vec<u64>>());
    }

    #[test]
    fn who_waits_for_room_is_woken_when_there_is_enough() {
        let (mut producer, mut consumer, _) = ring(64);
        while producer.push(ONE, &[&[7; 7]]).unwrap() {}
        let bell = producer.room_bell();
        let waiting = std::thread::spawn(move || while !bell.wait(31, Duration::from_secs(60)) {});
        let mut words = Vec::new();
        for _ in 0..4 {
            assert!(!waiting.is_finished());
            consumer.pop(&mut words).unwrap().unwrap();
        }
        waiting.join().unwrap();
    }

    proptest! {
        #[test]
        fn whatever_the_other_side_writes_is_read_or_refused(
            words in proptest::collection::vec(any::<u64>(), 96),
            head in prop_oneof![any::<u64>(), 0..200_u64],
        ) {
            let (mut producer, mut consumer, region) = ring(64);
            for (at, word) in words.iter().enumerate() {
                region.words()[at].store(*word, Ordering::Relaxed);
            }
            region.words()[HEAD].store(head, Ordering::Relaxed);
            let mut read = Vec::new();
            for _ in 0..100 {
                match consumer.pop(&mut read) {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(Broken) => break,
                }
            }
            prop_assert!(read.len() <= 64);
            prop_assert!(matches!(producer.push(ONE, &[&[1, 2, 3]]), Ok(_) | Err(Broken)));
        }
    }
}
