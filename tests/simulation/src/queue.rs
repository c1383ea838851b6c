//! What happens next: a ring of short lists, one for each slice of the time ahead.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that are due at a time; of two at the same time, the one that was planned first.
///
/// Nearly all that a world plans is due within a few heartbeats, so that a slice holds one thing or a few, in their
/// order, and neither to plan nor to take one depends on how many wait. What is due later than the ring reaches lies in
/// a heap.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: Vec<Entry<T>>,
    /// The first of the entries that are free.
    free: u32,
    /// The first entry of each slice.
    slices: [u32; SLICES],
    /// Which slices have an entry: one bit for each.
    filled: [u64; SLICES / 64],
    /// The slice of the thing that was taken last. Slices are numbered on for ever.
    current: u64,
    /// The length of a slice in bits of nanoseconds.
    slice_bits: u32,
    /// What is due later, with its time, how many were planned so before, and its entry.
    late: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// When the first of these is due.
    late_at: u64,
    late_planned: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: u64,
    /// The next entry of the same slice, or the next free one.
    next: u32,
    thing: Option<T>,
}

impl<T: Copy> Queue<T> {
    /// Nothing is planned. Most of what will be is due within a few times `usual`, in nanoseconds.
    pub(crate) fn new(usual: u64) -> Queue<T> {
        Queue {
            entries: Vec::new(),
            free: NONE,
            slices: [NONE; SLICES],
            filled: [0; SLICES / 64],
            current: 0,
            slice_bits: (usual / SLICES_OF_USUAL).max(1).ilog2(),
            late: BinaryHeap::new(),
            late_at: NEVER,
            late_planned: 0,
        }
    }

    /// Plans a thing.
    #[inline]
    pub(crate) fn push(&mut self, at: u64, thing: T) {
        // What is overdue comes first of all in the slice that is looked at first.
        let slice = (at >> self.slice_bits).max(self.current);
        let place = self.keep(at, thing);
        if slice - self.current >= SLICES as u64 {
            self.late_planned += 1;
            self.late.push(Reverse((at, self.late_planned, place)));
            self.late_at = self.late_at.min(at);
            return;
        }
        let ring = ring(slice);
        let mut next = self.slices[ring];
        let mut before = NONE;
        // What is due at the same time was planned before.
        while let Some(entry) = self.entries.get(next as usize).filter(|entry| entry.at <= at) {
            (before, next) = (next, entry.next);
        }
        self.entries[place as usize].next = next;
        if let Some(before) = self.entries.get_mut(before as usize) {
            before.next = place;
        } else {
            self.slices[ring] = place;
            self.filled[ring / 64] |= 1 << (ring % 64);
        }
    }

    /// The next thing that is due by `end`, and when.
    #[inline]
    pub(crate) fn pop_until(&mut self, end: u64) -> Option<(u64, T)> {
        loop {
            let ring = self.first_filled();
            let place = ring.map_or(NONE, |ring| self.slices[ring]);
            let at = self.entries.get(place as usize).map_or(NEVER, |entry| entry.at);
            // Of two at the same time, the one that lies in the heap was planned when that time was farther away.
            let place = if at < self.late_at {
                if at > end {
                    return None;
                }
                place
            } else {
                if self.late_at > end {
                    return None;
                }
                self.pop_late()?
            };
            let entry = &mut self.entries[place as usize];
            let (at, thing) = (entry.at, entry.thing.take());
            let next = std::mem::replace(&mut entry.next, self.free);
            if let Some(ring) = ring
                && self.slices[ring] == place
            {
                self.slices[ring] = next;
                if next == NONE {
                    self.filled[ring / 64] &= !(1 << (ring % 64));
                }
            }
            self.free = place;
            self.current = self.current.max(at >> self.slice_bits);
            if let Some(thing) = thing {
                return Some((at, thing));
            }
        }
    }

    /// Forgets what does not fit.
    pub(crate) fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        for entry in &mut self.entries {
            entry.thing = entry.thing.take().filter(&fits);
        }
    }

    #[cold]
    fn pop_late(&mut self) -> Option<u32> {
        let Reverse((_, _, place)) = self.late.pop()?;
        self.late_at = self.late.peek().map_or(NEVER, |Reverse((at, ..))| *at);
        Some(place)
    }

    #[inline]
    fn keep(&mut self, at: u64, thing: T) -> u32 {
        let entry = Entry { at, next: NONE, thing: Some(thing) };
        let place = self.free;
        if let Some(free) = self.entries.get_mut(place as usize) {
            self.free = free.next;
            *free = entry;
            return place;
        }
        assert!(self.entries.len() < ENTRIES_MAX, "millions of things wait: the simulation is stuck");
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("fewer than were asserted")
    }

    /// The place in the ring of the first slice with an entry, from the current one on.
    #[inline]
    fn first_filled(&self) -> Option<usize> {
        let (word, bit) = (ring(self.current) / 64, ring(self.current) % 64);
        let ahead = self.filled[word] & u64::MAX << bit;
        if ahead != 0 {
            return Some(word * 64 + ahead.trailing_zeros() as usize);
        }
        // The last look is at the slices of the same word that come a whole ring later.
        (1..=self.filled.len()).find_map(|step| {
            let word = (word + step) % self.filled.len();
            (self.filled[word] != 0).then(|| word * 64 + self.filled[word].trailing_zeros() as usize)
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits say where in the ring it is")]
fn ring(slice: u64) -> usize {
    slice as usize % SLICES
}

/// No entry.
const NONE: u32 = u32::MAX;
/// No time that comes.
const NEVER: u64 = u64::MAX;
/// A world with more has lost its way.
const ENTRIES_MAX: usize = 1 << 24;
/// How far ahead the ring reaches, in slices.
const SLICES: usize = 512;
/// Into how many slices the usual time is cut at least: short enough that few things share one.
const SLICES_OF_USUAL: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn all(queue: &mut Queue<char>, end: u64) -> Vec<(u64, char)> {
        std::iter::from_fn(|| queue.pop_until(end)).collect()
    }

    #[test]
    fn things_come_in_time_and_then_in_the_order_of_their_plan() {
        for usual in [0, 64, 1 << 40] {
            let mut queue = Queue::new(usual);
            for (at, thing) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9_000_000, 'x')] {
                queue.push(at, thing);
            }
            assert_eq!(all(&mut queue, 4), [(3, 'a'), (3, 'b')]);
            queue.push(5, 'e');
            queue.retain(|thing| *thing != 'd');
            assert_eq!(all(&mut queue, 8), [(5, 'c'), (5, 'e')]);
            assert_eq!(all(&mut queue, 9_000_000), [(9_000_000, 'x')]);
            assert_eq!(queue.pop_until(u64::MAX), None);
            queue.push(7, 'y');
            assert_eq!(queue.pop_until(7), Some((7, 'y')), "what is overdue is due");
        }
    }

    /// Near, far, at the same time, and after pauses in which nothing was due: as a sorted list would have it.
    #[test]
    fn it_is_a_sorted_list() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut queue = Queue::new(1 << random.below(20));
            let (mut sorted, mut now, mut planned) = (std::collections::BTreeMap::new(), 0, 0_u64);
            for _ in 0..400 {
                for _ in 0..random.below(4) {
                    let ahead = 1 << random.below(30);
                    let at = now + random.below(ahead);
                    planned += 1;
                    queue.push(at, planned);
                    sorted.insert((at, planned), planned);
                }
                let ahead = 1 << random.below(24);
                let end = now + random.below(ahead);
                while let Some((at, thing)) = queue.pop_until(end) {
                    assert_eq!(sorted.pop_first(), Some(((at, thing), thing)), "seed {seed}");
                }
                now = end;
                assert!(sorted.keys().all(|(at, _)| *at > end), "seed {seed}");
            }
        }
    }
}
