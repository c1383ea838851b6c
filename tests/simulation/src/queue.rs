//! What happens next: small keys in a heap, and what they stand for beside it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that are due at a time; of two at the same time, the one that was planned first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// The time in the upper half, so that comparing two is one subtraction.
    keys: BinaryHeap<Reverse<u128>>,
    things: Vec<Option<T>>,
    free: Vec<usize>,
    planned: u64,
}

/// Low bits of a key: the place of the thing. Between them and the time stands how many were planned before.
const PLACE_BITS: u32 = 24;

impl<T> Queue<T> {
    /// Nothing is planned.
    pub(crate) fn new() -> Queue<T> {
        Queue { keys: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), planned: 0 }
    }

    /// Plans a thing.
    pub(crate) fn push(&mut self, at: u64, thing: T) {
        let place = if let Some(place) = self.free.pop() {
            self.things[place] = Some(thing);
            place
        } else {
            self.things.push(Some(thing));
            self.things.len() - 1
        };
        assert!(place < 1 << PLACE_BITS, "millions of things wait: the simulation is stuck");
        self.planned += 1;
        let order = self.planned << PLACE_BITS | place as u64;
        self.keys.push(Reverse(u128::from(at) << 64 | u128::from(order)));
    }

    /// The next thing that is due by `end`, and when.
    pub(crate) fn pop_until(&mut self, end: u64) -> Option<(u64, T)> {
        while let Some(Reverse(key)) = self.keys.peek().copied() {
            let at = (key >> 64) as u64;
            if at > end {
                return None;
            }
            self.keys.pop();
            let place = (key & ((1 << PLACE_BITS) - 1)) as usize;
            self.free.push(place);
            if let Some(thing) = self.things.get_mut(place).and_then(Option::take) {
                return Some((at, thing));
            }
        }
        None
    }

    /// Forgets what does not fit.
    pub(crate) fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        for thing in &mut self.things {
            if thing.as_ref().is_some_and(|thing| !fits(thing)) {
                *thing = None;
            }
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_time_and_then_in_the_order_of_their_plan() {
        let mut queue = Queue::new();
        for (at, thing) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'x')] {
            queue.push(at, thing);
        }
        let all =
            |queue: &mut Queue<char>, end| std::iter::from_fn(|| queue.pop_until(end)).collect::<Vec<_>>();
        assert_eq!(all(&mut queue, 4), [(3, 'a'), (3, 'b')]);
        queue.push(5, 'e');
        queue.retain(|thing| *thing != 'd');
        assert_eq!(all(&mut queue, 8), [(5, 'c'), (5, 'e')]);
        assert_eq!(all(&mut queue, 9), [(9, 'x')]);
        assert_eq!(queue.pop_until(u64::MAX), None);
    }
}
