//! Telegrams and covers in every order.

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
    RingEntry {
        item: ItemId(item),
        value: Value::U64(value),
        source,
        received,
        is_event: false,
        may_repeat: false,
    }
}

/// As [`heard`], from a sender that gives again what it has no receipt for.
fn given(item: u32, value: u64, ms: u64) -> RingEntry {
    RingEntry { may_repeat: true, ..heard(item, value, ms) }
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
    let left: Vec<_> = ring.drain_uncovered(|_, _| false).into_iter().map(|left| left.entry).collect();
    assert_eq!(left, [heard(2, 7, 11), heard(1, 8, 13), heard(1, 7, 14)]);
    assert_eq!((ring.uncovered(), ring.stats().covered), (0, 2));
}

#[test]
fn a_telegram_before_one_that_the_journal_has_is_overtaken() {
    let mut ring = Ring::new(LIMITS);
    let overtaken = |ring: &mut Ring| {
        ring.drain_uncovered(|_, _| false).into_iter().map(|left| left.is_overtaken).collect::<Vec<_>>()
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
    let left: Vec<_> = ring.drain_uncovered(|_, _| false).into_iter().map(|left| left.entry).collect();
    assert_eq!(left, [heard(1, 7, 1002)]);
    assert_eq!(ring.stats().covered, 1);
}

/// What a takeover would replay, where the journal shows these values last.
fn left(ring: &mut Ring, shown: &[(u32, u64)]) -> Vec<Value> {
    let is_shown = |item: ItemId, value: &Value| {
        shown.iter().any(|(shown, last)| item == ItemId(*shown) && Value::U64(*last).is_same(value))
    };
    ring.drain_uncovered(is_shown).into_iter().map(|left| left.entry.value).collect()
}

#[test]
fn what_was_given_again_before_the_first_that_the_journal_brings_is_no_news() {
    let now = Moment::from_millis(50);
    // In sync before the sender gives what it kept: 3 and 4 came as covers, 1 and 2 were there before.
    let mut ring = Ring::new(LIMITS);
    ring.cover(&replicated(1, 3, 9), now);
    ring.cover(&replicated(1, 4, 9), now);
    for value in 1..=5 {
        ring.push(given(1, value, 10));
    }
    assert_eq!((ring.stats().covered, ring.stats().repeats), (2, 2));
    assert_eq!(left(&mut ring, &[(1, 4)]), [Value::U64(5)]);
    // The other order.
    let mut ring = Ring::new(LIMITS);
    for value in 1..=5 {
        ring.push(given(1, value, 10));
    }
    ring.cover(&replicated(1, 3, 11), now);
    ring.cover(&replicated(1, 4, 11), now);
    assert_eq!((ring.stats().covered, ring.stats().repeats), (2, 2));
    assert_eq!(left(&mut ring, &[(1, 4)]), [Value::U64(5)]);
}

#[test]
fn without_a_cover_the_value_that_the_journal_has_last_ends_what_was_given_again() {
    let mut ring = Ring::new(LIMITS);
    for (item, value) in [(1, 1), (2, 7), (1, 2), (1, 3), (3, 8)] {
        ring.push(given(item, value, 10));
    }
    ring.cover(&replicated(3, 9, 11), Moment::from_millis(50));
    // 2 is what the journal has of item 1; of item 2 it has something else; of item 3 something newer.
    assert_eq!(left(&mut ring, &[(1, 2), (2, 6), (3, 9)]), [Value::U64(7), Value::U64(3)]);

    for value in 1..=3 {
        ring.push(given(1, value, 10));
    }
    ring.hear_shown(given(1, 3, 11));
    ring.push(given(1, 4, 12));
    assert_eq!(left(&mut ring, &[(1, 3)]), [Value::U64(4)]);
}

#[test]
fn covers_that_are_gone_without_their_telegrams_leave_a_doubt_and_no_orphans() {
    let mut ring = Ring::new(RingLimits { tolerance: Duration::from_secs(3600), ..LIMITS });
    ring.push(given(1, 1, 0));
    ring.cover(&replicated(1, 1, 0), Moment::ZERO);
    for value in 2..=4 {
        ring.cover(&replicated(1, value, 0), Moment::from_millis(value * 1000));
    }
    // The sender was out of reach for longer than covers are kept.
    ring.expire(Moment::from_millis(13_500));
    for value in 2..=4 {
        ring.push(given(1, value, 13_500));
    }
    assert_eq!(ring.uncovered(), 0);
    ring.doubt();
    ring.push(given(1, 5, 14_000));
    assert_eq!(ring.expire(Moment::from_millis(60_000)), 0, "it may be one that the journal has");
    assert_eq!(ring.stats().repeats, 3);
}

#[test]
fn what_was_given_again_after_a_time_as_the_active_node_is_no_news_and_what_follows_it_is() {
    let mut ring = Ring::new(LIMITS);
    ring.cover(&replicated(1, 1, 10), Moment::from_millis(10));
    ring.push(given(1, 1, 10));
    // It acted, and journaled 2 and 3, of which its sender got no receipt.
    assert_eq!(left(&mut ring, &[(1, 1)]), []);
    ring.push(given(1, 2, 1000));
    ring.hear_shown(given(1, 3, 1000));
    ring.push(given(1, 4, 1000));
    assert_eq!(left(&mut ring, &[(1, 3)]), [Value::U64(4)]);
    // Nothing that it was given again, and nobody else heard 5.
    ring.push(given(1, 5, 2000));
    assert_eq!(left(&mut ring, &[(1, 4)]), [Value::U64(5)]);
}

#[test]
fn a_value_that_went_and_came_back_is_replayed_both_ways() {
    let mut ring = Ring::new(LIMITS);
    // The journal has 0. Nobody else hears 1, and 0 again.
    ring.push(heard(1, 1, 1000));
    ring.hear_shown(heard(1, 0, 1010));
    assert_eq!(left(&mut ring, &[(1, 0)]), [Value::U64(1), Value::U64(0)]);

    // The same where a sender gives again what it has no receipt for, once it is known what the journal has.
    ring.cover(&replicated(1, 0, 10), Moment::from_millis(10));
    ring.push(given(1, 0, 10));
    ring.push(given(1, 1, 1000));
    ring.hear_shown(given(1, 0, 1010));
    assert_eq!(left(&mut ring, &[(1, 0)]), [Value::U64(1), Value::U64(0)]);

    // Both nodes heard it, and the journal comes later: no cover is left over.
    ring.push(heard(1, 1, 1000));
    ring.hear_shown(heard(1, 0, 1010));
    for (value, ms) in [(1, 1000), (0, 1010)] {
        ring.cover(&replicated(1, value, ms), Moment::from_millis(1050));
    }
    assert_eq!((ring.uncovered(), ring.unheard().len()), (0, 0));
}

/// A node that restarted hears no more what it had received before. The other one journaled that, too: equal values that come
/// later are not taken for it.
#[test]
fn a_cover_whose_telegram_was_heard_before_a_restart_hides_no_later_one() {
    let later = Moment::from_millis(2000);
    let limits = RingLimits { tolerance: Duration::from_secs(86_400), ..LIMITS };
    // What comes first, the telegram or its cover.
    for is_heard_first in [true, false] {
        let mut ring = Ring::new(limits);
        // Off, before the restart.
        assert!(!ring.cover(&replicated(1, 0, 900), Moment::from_millis(1000)));
        for (value, ms) in [(1, 1010), (0, 1020), (1, 1030)] {
            if is_heard_first {
                ring.push(given(1, value, ms));
            }
            ring.cover(&replicated(1, value, ms.try_into().unwrap()), Moment::from_millis(ms));
            if !is_heard_first {
                ring.push(given(1, value, ms));
            }
        }
        // The other node has died: on again, and off.
        for (value, ms) in [(0, 1040), (1, 1050), (0, 1060)] {
            ring.push(given(1, value, ms));
        }
        assert_eq!(ring.unheard(), []);
        assert_eq!(ring.stats().unheard, 1);
        ring.expire(later);
        assert_eq!(left(&mut ring, &[(1, 1)]), [0_u64, 1, 0].map(Value::U64));
    }
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
        steps in prop::collection::vec((0_u8..8, 0_u32..3, 0_u64..3, 0_u64..40), 0..200),
        count_max in 1_usize..20,
    ) {
        let mut ring = Ring::new(RingLimits { count_max, age_max: Duration::from_millis(500), ..LIMITS });
        let (mut pushed, mut covers, mut now) = (0, 0, 0);
        let (mut replayed, mut dropped) = (0, 0);
        for (kind, item, value, ms) in steps {
            now += ms;
            match kind {
                0 => { pushed += 1; ring.push(heard(item, value, now)); }
                1 => {
                    covers += 1;
                    let sample = replicated(item, value, i64::try_from(now).unwrap());
                    ring.cover(&sample, Moment::from_millis(now));
                }
                2 => { ring.expire(Moment::from_millis(now)); }
                3 | 4 => { pushed += 1; ring.push(given(item, value, now)); }
                5 => ring.doubt(),
                6 => {
                    let known = |ring: &Ring| {
                        let stats = ring.stats();
                        stats.covered + stats.orphans + stats.overflowed + stats.repeats + ring.uncovered() as u64
                    };
                    let before = known(&ring);
                    ring.hear_shown(given(item, value, now));
                    let kept = known(&ring) - before;
                    prop_assert!(kept <= 1);
                    pushed += kept;
                }
                _ => {
                    dropped += ring.early.iter().flatten().count() as u64;
                    replayed += ring.drain_uncovered(|_, value| value.is_same(&Value::U64(1))).len() as u64;
                }
            }
            prop_assert!(ring.slots.len() <= count_max && ring.early.len() <= count_max);
        }
        let stats = ring.stats();
        let waiting = ring.early.iter().flatten().count() as u64;
        prop_assert_eq!(stats.covered + stats.unheard + waiting + dropped, covers);
        let left = ring.drain_uncovered(|_, value| value.is_same(&Value::U64(1))).len() as u64;
        let repeats = ring.stats().repeats;
        prop_assert_eq!(stats.covered + stats.orphans + stats.overflowed + repeats + replayed + left, pushed);
        prop_assert!(ring.uncovered.is_empty() && ring.bytes == 0);
    }
}
