use proptest::prelude::*;

use super::*;

fn id(rule: &str, onset: i64) -> OccurrenceId {
    OccurrenceId { onset: Timestamp(onset), rule: rule.into() }
}

fn raise(at: i64, epoch: u64) -> Raise {
    Raise {
        at: Timestamp(at),
        item: "plc1/a".into(),
        kind: "high".into(),
        limit: "90".into(),
        value: "95".into(),
        text: "too high".into(),
        area: "".into(),
        priority: 500,
        needs_ack: true,
        latching: false,
        epoch: Epoch(epoch),
    }
}

fn cleared(rule: &str, onset: i64, at: i64) -> Change {
    Change::Cleared(id(rule, onset), Clear { at: Timestamp(at), value: "80".into(), cause: "".into() })
}

fn acknowledged(rule: &str, onset: i64, at: i64, by: &str) -> Change {
    let acknowledgment = Acknowledgment { at: Timestamp(at), by: by.into(), comment: "".into() };
    Change::Acknowledged(id(rule, onset), acknowledgment)
}

fn folded<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Book {
    let mut book = Book::new(KEEP_MIN);
    for change in changes {
        book.apply(change);
    }
    book
}

#[test]
fn an_occurrence_goes_through_the_states_of_the_standard() {
    let mut book = Book::new(KEEP_MIN);
    let mut story = Vec::new();
    for change in [
        Change::Raised(id("a", 10), raise(10, 1)),
        acknowledged("a", 10, 20, "ann"),
        cleared("a", 10, 30),
        Change::Raised(id("a", 40), raise(40, 1)),
        cleared("a", 40, 50),
        acknowledged("a", 40, 60, "ann"),
    ] {
        book.apply(&change);
        let newest = book.occurrences().next_back().unwrap().1;
        story.push((newest.state().word(), book.counts().active, book.counts().unacknowledged));
    }
    let expected = [
        ("unacknowledged", 1, 1),
        ("acknowledged", 1, 0),
        ("normal", 0, 0),
        ("unacknowledged", 1, 1),
        ("returned", 0, 1),
        ("normal", 0, 0),
    ];
    assert_eq!(story, expected);
    assert_eq!(book.raised("a"), None);
}

#[test]
fn the_oldest_that_is_over_is_forgotten_and_what_is_open_never() {
    let mut book = Book::new(KEEP_MIN);
    book.apply(&Change::Raised(id("old", 1), raise(1, 1)));
    for onset in 2..300 {
        book.apply(&Change::Raised(id("a", onset), raise(onset, 1)));
        book.apply(&cleared("a", onset, onset));
        book.apply(&acknowledged("a", onset, onset, "ann"));
    }
    assert_eq!(book.occurrences().len(), KEEP_MIN);
    assert_eq!(book.raised("old"), Some(id("old", 1)));
    assert_eq!(book.get(&id("a", 2)), None);
    assert!(book.get(&id("a", 299)).is_some());
}

#[test]
fn a_later_setting_of_a_shelf_holds_whatever_comes_first() {
    let at = |at, epoch| Stamp { at: Timestamp(at), epoch: Epoch(epoch) };
    let shelf = |until| Some(Shelf { until: Timestamp(until), by: "ann".into(), comment: "".into() });
    let on = Change::Shelved { rule: "a".into(), stamp: at(5, 1), shelf: shelf(100) };
    let off = Change::Shelved { rule: "a".into(), stamp: at(6, 1), shelf: None };
    assert!(!folded([&on, &off]).is_hidden("a"));
    assert_eq!(folded([&on, &off]), folded([&off, &on]));
    assert_eq!(folded([&on]).counts().shelved, 1);
    assert!(folded([&off]).next_stamp(Timestamp(2), Epoch(1)) > at(6, 1), "also if the clock was set back");
}

#[test]
fn what_both_sides_of_a_split_raised_becomes_one_and_loses_nothing() {
    let mut book = folded(&[
        Change::Raised(id("a", 10), raise(12, 1)),
        cleared("a", 10, 90),
        Change::Raised(id("a", 11), raise(13, 2)),
        acknowledged("a", 11, 50, "ann"),
        Change::Raised(id("a", 100), raise(100, 2)),
        Change::Raised(id("b", 11), raise(11, 2)),
    ]);
    let changes = book.reconcile();
    assert_eq!(changes.len(), 2, "{changes:?}");
    let first = book.get(&id("a", 10)).unwrap();
    assert_eq!((first.state(), &*first.acknowledgment.as_ref().unwrap().by), (State::Normal, "ann"));
    assert_eq!(book.get(&id("a", 11)).unwrap().state(), State::Normal);
    assert_eq!(book.raised("a"), Some(id("a", 100)), "a later one stands for itself");
    assert_eq!(book.reconcile(), []);
}

fn any_change() -> impl Strategy<Value = Change> {
    let rule = prop_oneof![Just("a"), Just("b")];
    (rule, 0..6_i64, 0..6_i64, 0..3_u64, 0..7_u8).prop_map(|(rule, onset, at, epoch, kind)| match kind {
        0 | 1 => Change::Raised(id(rule, onset), raise(at, epoch)),
        2 => cleared(rule, onset, at),
        3 => acknowledged(rule, onset, at, if epoch == 0 { "ann" } else { "bob" }),
        4 => Change::Joined(id(rule, onset), id(rule, at)),
        5 => Change::Shelved {
            rule: rule.into(),
            stamp: Stamp { at: Timestamp(at), epoch: Epoch(epoch) },
            shelf: (onset > 2).then(|| Shelf {
                until: Timestamp(onset),
                by: "ann".into(),
                comment: "".into(),
            }),
        },
        _ => Change::Suppressed {
            rule: rule.into(),
            stamp: Stamp { at: Timestamp(at), epoch: Epoch(epoch) },
            suppression: (onset > 2)
                .then(|| Suppression { by: "ann".into(), comment: onset.to_string().into() }),
        },
    })
}

proptest! {
    /// The union of two sides does not depend on which came first, nor on what came twice.
    #[test]
    fn changes_fold_in_any_order_and_again(
        changes in proptest::collection::vec(any_change(), 0..40),
        seed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let straight = folded(&changes);
        let mut shuffled = changes.clone();
        for (at, other) in seed.iter().enumerate().filter(|_| !changes.is_empty()) {
            let length = shuffled.len();
            shuffled.swap(at % length, other.index(length));
        }
        let again = shuffled.iter().chain(&changes);
        prop_assert_eq!(&folded(again), &straight);
        prop_assert_eq!(&folded(&straight.changes()), &straight);
        let counts = straight.open_ids().count();
        prop_assert_eq!(counts, straight.occurrences().filter(|(_, known)| known.is_open()).count());
    }
}
