//! When pushed values may be acknowledged to whoever sent them.

use std::collections::VecDeque;

use crate::publisher::Publisher;

/// Says when pushed values may be acknowledged: when they are on the disk of this node, or of another one, as the
/// interface's configuration wants it. From [`crate::Ctx::acceptance`].
///
/// ```no_run
/// # async fn example(cx: twinhub_plugin::Ctx, update: twinhub_plugin::Update) {
/// use twinhub_plugin::Accepted;
/// let Some(acceptance) = cx.acceptance() else { return };
/// cx.publisher().push(update);
/// let mark = acceptance.mark();
/// loop {
///     match acceptance.look(mark) {
///         Accepted::Yes => break, // send the acknowledgment
///         Accepted::NotYet => acceptance.changed().await,
///         Accepted::Lost => return, // send none, and let the source deliver it again
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Acceptance {
    publisher: Publisher,
}

/// A place behind pushed values: how many there were since the instance began. A plugin may keep it in any form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// What became of the values before a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// They are safe: the source may forget them.
    Yes,
    /// They are on their way.
    NotYet,
    /// Some of them, or some shortly before them, did not reach the hub: the source has to deliver them again.
    Lost,
}

impl Acceptance {
    pub(crate) fn new(publisher: Publisher) -> Self {
        publisher.keep_ledger();
        Self { publisher }
    }

    /// Sends the batch, and marks the place behind everything pushed so far.
    pub fn mark(&self) -> Mark {
        Mark(self.publisher.mark())
    }

    /// What became of everything before the mark.
    pub fn look(&self, mark: Mark) -> Accepted {
        self.publisher.look(mark.0)
    }

    /// Waits until more was accepted than at the last wait. For one task of an instance; what happens between two
    /// waits ends the second at once.
    pub async fn changed(&self) {
        self.publisher.accepted().await;
    }
}

/// Values of an instance in the order they were pushed, by their number: how far they left, and how far the hub
/// accepted them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pushed: u64,
    left: u64,
    accepted: u64,
    /// Places in the order, and the hub's number of the batch that ended there.
    sent: VecDeque<(u64, u64)>,
    /// Places behind which nothing counts as accepted up to the second.
    lost: Option<(u64, u64)>,
}

impl Ledger {
    pub(crate) fn push(&mut self) {
        self.pushed += 1;
    }

    pub(crate) const fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The next `count` values were taken as the hub's batch `number` or before.
    pub(crate) fn leave(&mut self, count: u64, number: u64) {
        self.left += count;
        let is_full = self.sent.len() >= SENT_MAX;
        match self.sent.back_mut() {
            // Coarser where there are too many: what stands there is accepted a little later.
            Some(last) if last.1 == number || is_full => *last = (self.left, number),
            Some(_) | None => self.sent.push_back((self.left, number)),
        }
    }

    /// `count` values are lost: nothing that is not accepted yet will be.
    pub(crate) fn lose(&mut self, count: u64) {
        if count > 0 {
            self.left += count;
            let from = self.lost.map_or(self.accepted, |(from, _)| from);
            self.lost = Some((from, self.pushed));
        }
    }

    /// What became of everything before `mark`, when the hub has accepted the batches up to `number`.
    pub(crate) fn look(&mut self, mark: u64, number: u64) -> Accepted {
        while let Some((place, _)) = self.sent.front().filter(|(_, sent)| *sent <= number) {
            self.accepted = *place;
            self.sent.pop_front();
        }
        if self.sent.is_empty() && self.left == self.pushed {
            self.accepted = self.left;
        }
        match self.lost {
            Some((from, upto)) if mark > from && mark <= upto => Accepted::Lost,
            Some(_) | None if mark <= self.accepted => Accepted::Yes,
            Some(_) | None => Accepted::NotYet,
        }
    }
}

/// Batches that may wait to be accepted and are told apart.
const SENT_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(count: u64) -> Ledger {
        let mut ledger = Ledger::default();
        (0..count).for_each(|_| ledger.push());
        ledger
    }

    #[test]
    fn a_mark_is_accepted_with_the_batch_that_holds_the_last_value_before_it() {
        let mut ledger = pushed(5);
        ledger.leave(3, 7);
        assert_eq!(ledger.look(3, 6), Accepted::NotYet);
        ledger.leave(2, 9);
        assert_eq!((ledger.look(3, 8), ledger.look(4, 8)), (Accepted::Yes, Accepted::NotYet));
        assert_eq!(ledger.look(5, 9), Accepted::Yes);
    }

    #[test]
    fn what_waits_for_room_is_not_accepted() {
        let mut ledger = pushed(2);
        ledger.leave(1, 1);
        assert_eq!((ledger.look(1, 1), ledger.look(2, 1)), (Accepted::Yes, Accepted::NotYet));
    }

    #[test]
    fn what_was_lost_is_never_accepted_and_what_comes_later_is() {
        let mut ledger = pushed(2);
        ledger.leave(1, 1);
        assert_eq!(ledger.look(1, 1), Accepted::Yes);
        ledger.lose(1);
        ledger.push();
        ledger.leave(1, 2);
        assert_eq!(ledger.look(1, 2), Accepted::Yes);
        assert_eq!((ledger.look(2, 2), ledger.look(3, 2)), (Accepted::Lost, Accepted::Yes));
    }

    #[test]
    fn the_number_of_batches_that_are_told_apart_is_bounded() {
        let batches = SENT_MAX as u64 + 10;
        let mut ledger = pushed(batches);
        (1..=batches).for_each(|number| ledger.leave(1, number));
        assert_eq!(ledger.sent.len(), SENT_MAX);
        assert_eq!(ledger.look(batches - 5, batches - 1), Accepted::NotYet);
        assert_eq!(ledger.look(batches, batches), Accepted::Yes);
    }

    proptest! {
        /// Whatever happens in whatever order: if the value right before a mark was not taken, or not accepted, the mark
        /// is not called accepted.
        #[test]
        fn nothing_is_called_accepted_that_is_not(steps in prop::collection::vec((0..4u8, 1..5u64), 1..60)) {
            let mut ledger = Ledger::default();
            let (mut waiting, mut fates, mut number, mut accepted) = (0, Vec::new(), 0, 0);
            for (step, count) in steps {
                let leaving = count.min(waiting);
                match step {
                    0 => {
                        (0..count).for_each(|_| ledger.push());
                        waiting += count;
                    }
                    1 if leaving > 0 => {
                        number += 1;
                        ledger.leave(leaving, number);
                        waiting -= leaving;
                        fates.extend((0..leaving).map(|_| Some(number)));
                    }
                    2 if leaving > 0 => {
                        ledger.lose(leaving);
                        waiting -= leaving;
                        fates.extend((0..leaving).map(|_| None));
                    }
                    _ => accepted = number.min(accepted + count),
                }
                for mark in 1..=ledger.pushed() {
                    let fate = fates.get(usize::try_from(mark - 1).unwrap()).copied().flatten();
                    let is_safe = fate.is_some_and(|number| number <= accepted);
                    let said = ledger.look(mark, accepted);
                    prop_assert!(said != Accepted::Yes || is_safe, "{mark} {fates:?} {accepted}");
                }
            }
        }
    }
}
