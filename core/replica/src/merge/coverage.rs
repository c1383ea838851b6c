//! A set of records by where they stood.

use std::collections::BTreeMap;

use twinhub_model::Position;

/// Ranges that are kept; of more the oldest are forgotten, one by one.
const RANGES_MAX: usize = 4_096;

/// A set of places, as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Coverage {
    /// By epoch: first and last numbers, in order, with gaps between.
    ranges: BTreeMap<u64, Vec<(u64, u64)>>,
    count: usize,
}

impl Coverage {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether this place is in it.
    pub(super) fn has(&self, place: Position) -> bool {
        let Some(ranges) = self.ranges.get(&place.epoch.0) else { return false };
        let behind = ranges.partition_point(|(first, _)| *first <= place.seq);
        behind.checked_sub(1).is_some_and(|at| place.seq <= ranges[at].1)
    }

    /// Puts a place in.
    pub(super) fn insert(&mut self, place: Position) {
        self.insert_range(place.epoch.0, place.seq, place.seq);
    }

    /// Puts a range of an epoch in.
    pub(super) fn insert_range(&mut self, epoch: u64, first: u64, last: u64) {
        if first > last {
            return;
        }
        let ranges = self.ranges.entry(epoch).or_default();
        // Those that overlap or touch become one.
        let from = ranges.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = ranges.partition_point(|(begin, _)| *begin <= last.saturating_add(1));
        let joined = ranges[from..to]
            .iter()
            .fold((first, last), |(one, two), (begin, end)| (one.min(*begin), two.max(*end)));
        self.count = self.count + 1 - (to - from);
        ranges.splice(from..to, [joined]);
        while self.count > RANGES_MAX
            && let Some(mut oldest) = self.ranges.first_entry()
        {
            oldest.get_mut().remove(0);
            self.count -= 1;
            if oldest.get().is_empty() {
                oldest.remove();
            }
        }
    }

    /// All ranges: epoch, first and last number.
    pub(super) fn ranges(&self) -> Vec<(u64, u64, u64)> {
        let of = |(epoch, ranges): (&u64, &Vec<(u64, u64)>)| {
            let epoch = *epoch;
            ranges.iter().map(move |(first, last)| (epoch, *first, *last)).collect::<Vec<_>>()
        };
        self.ranges.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use twinhub_model::Epoch;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_nothing_else(
            puts in prop::collection::vec((0_u64..3, 0_u64..40, 0_u64..6), 0..60),
        ) {
            let (mut coverage, mut set) = (Coverage::default(), BTreeSet::new());
            for (epoch, first, length) in puts {
                coverage.insert_range(epoch, first, first + length);
                set.extend((first..=first + length).map(|seq| (epoch, seq)));
            }
            for epoch in 0..3 {
                for seq in 0..50 {
                    prop_assert_eq!(coverage.has(Position::new(Epoch(epoch), seq)), set.contains(&(epoch, seq)));
                }
            }
            let ranges = coverage.ranges();
            prop_assert_eq!(coverage.count, ranges.len());
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0 || pair[0].2 + 1 < pair[1].1, "ranges touch: {:?}", pair);
            }
        }
    }

    #[test]
    fn it_forgets_the_oldest_ranges_one_by_one_before_it_grows_without_end() {
        let mut coverage = Coverage::default();
        for number in 0..RANGES_MAX as u64 {
            coverage.insert_range(number % 8, number * 10, number * 10);
        }
        assert_eq!(coverage.count, RANGES_MAX);
        coverage.insert_range(9, u64::MAX, u64::MAX);
        assert_eq!(coverage.count, RANGES_MAX);
        assert!(coverage.has(Position::new(Epoch(9), u64::MAX)));
        assert!(!coverage.has(Position::new(Epoch(0), 0)) && coverage.has(Position::new(Epoch(0), 80)));
    }

    #[test]
    fn an_epoch_with_more_gaps_than_fit_is_not_forgotten_as_a_whole() {
        let mut coverage = Coverage::default();
        for number in 0..3 * RANGES_MAX as u64 {
            coverage.insert(Position::new(Epoch(5), number * 2));
        }
        let kept = 2 * 2 * RANGES_MAX as u64;
        assert!((kept..kept * 3 / 2).step_by(2).all(|number| coverage.has(Position::new(Epoch(5), number))));
        assert!(!coverage.has(Position::new(Epoch(5), kept - 2)));
    }
}
