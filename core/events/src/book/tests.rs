use proptest::prelude::*;
use twinhub_model::Severity;

use super::*;
use crate::query::{Filter, Following};

const MAIN: NodeRank = NodeRank(0);
const BACKUP: NodeRank = NodeRank(1);

fn event(text: &str) -> Event {
    let severity = Severity::Info;
    Event { severity, source: "plc1".into(), code: "TH-A-001".into(), text: text.into(), at: Timestamp(1) }
}

fn of(node: NodeRank, stamp: i64) -> Known {
    let id = EventId { stamp: Timestamp(stamp), node, group: "site".into() };
    let entry = Entry::new(id, event(&format!("{node}:{stamp}")), "".into());
    Known { entry, number: 0, is_pending: false }
}

fn told(node: NodeRank, stamp: i64, alarm: &str) -> Known {
    let mut known = of(node, stamp);
    known.entry.alarm = alarm.into();
    known
}

/// In the order of stamps.
fn texts(book: &Book) -> Vec<String> {
    book.events.values().map(|(entry, _)| entry.event.text.to_string()).collect()
}

fn pending(book: &Book) -> Vec<i64> {
    book.pending("site", 100).into_iter().map(|known| known.entry.id.stamp.0).collect()
}

fn book(keep: usize) -> Book {
    Book::new(MAIN, keep, None)
}

#[test]
fn a_name_is_never_given_twice_and_what_follows_has_the_later_stamp() {
    let mut book = book(10);
    let now = Timestamp(100);
    let stamps: Vec<i64> = ["a", "b", "c"]
        .map(|text| book.note("site", event(text), "".into(), now).unwrap().entry.id.stamp.0)
        .to_vec();
    assert_eq!(stamps, [100, 101, 102]);
    assert!(book.take(of(BACKUP, 200), Way::Journal, now));
    let after = book.note("energy", event("d"), "".into(), Timestamp(50)).unwrap();
    assert_eq!(
        after.entry.id.stamp,
        Timestamp(201),
        "the clock was set back, and the other node's event was seen"
    );
    let wrong = i64::MAX - 5;
    assert!(book.take(of(BACKUP, wrong), Way::Journal, now));
    let after = book.note("site", event("e"), "".into(), Timestamp(300)).unwrap();
    assert_eq!(after.entry.id.stamp, Timestamp(300), "a clock that is centuries ahead is not followed");
}

#[test]
fn a_clock_that_was_ahead_and_is_put_right_gives_no_earlier_stamp_in_the_next_process_either() {
    let hour = Timestamp(3_600_000_000_000);
    let mut before = book(10);
    let ahead = before.note("site", event("a"), "".into(), hour).unwrap();
    for way in [Way::Log, Way::Stored, Way::Journal] {
        let mut after = book(10);
        after.take(ahead.clone(), way, Timestamp(5));
        let next = after.note("site", event("b"), "".into(), Timestamp(5)).unwrap();
        assert_eq!(next.entry.id.stamp.0, hour.0 + 1, "{way:?}");
        // A reader that has the first gets the second.
        let cursor = Cursor::parse(&ahead.entry.id.to_string()).unwrap();
        let from = Following { cursor, limit: 9, ..Following::default() };
        assert_eq!(after.following(&from, &Filter::default()).rows.len(), 1, "{way:?}");
    }
}

#[test]
fn the_oldest_are_forgotten_and_numbers_go_on() {
    let mut book = book(3);
    for stamp in 1..=5 {
        assert!(book.take(of(BACKUP, stamp), Way::Journal, Timestamp(9)));
    }
    assert_eq!(texts(&book), ["1:3", "1:4", "1:5"]);
    assert_eq!(book.arrivals.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
    assert!(!book.take(of(BACKUP, 1), Way::Journal, Timestamp(9)), "older than all that is kept");
    assert_eq!(book.len(), 3);
}

#[test]
fn what_is_too_old_is_forgotten() {
    let mut book = Book::new(MAIN, 10, Some(Duration::from_nanos(5)));
    for stamp in [1, 2, 10] {
        book.take(of(BACKUP, stamp), Way::Journal, Timestamp(stamp));
    }
    assert_eq!(texts(&book), ["1:10"]);
    assert!(!book.expire(Timestamp(15)));
    assert!(book.expire(Timestamp(16)));
    assert!(book.is_empty());
}

#[test]
fn alarms_do_not_push_the_others_out() {
    let mut book = book(10);
    for stamp in 1..=4 {
        book.take(of(BACKUP, stamp), Way::Journal, Timestamp(9));
    }
    for stamp in 5..50 {
        book.take(told(BACKUP, stamp, &format!("hot@{stamp}")), Way::Journal, Timestamp(9));
    }
    assert_eq!(texts(&book)[..5], ["1:1", "1:2", "1:3", "1:4", "1:45"]);
    assert_eq!(book.len(), 9);
}

#[test]
fn an_occurrence_is_told_once_and_the_later_word_stays() {
    let (mut one, mut other) = (book(10), book(10));
    for (book, stamps) in [(&mut one, [7, 3]), (&mut other, [3, 7])] {
        for stamp in stamps {
            book.take(told(BACKUP, stamp, "hot@1"), Way::Journal, Timestamp(9));
        }
    }
    assert_eq!(texts(&one), ["1:7"]);
    assert_eq!(texts(&other), ["1:7"]);
    assert!(one.has_told("TH-A-001", "hot@1") && !one.has_told("TH-A-001", "hot@2"));
    assert_eq!(one.note("site", event("again"), "hot@1".into(), Timestamp(9)), None);
}

#[test]
fn what_happened_here_is_pending_until_the_journal_has_it() {
    let mut book = book(10);
    let first = book.note("site", event("a"), "".into(), Timestamp(1)).unwrap();
    book.note("site", event("b"), "".into(), Timestamp(2)).unwrap();
    book.note("energy", event("c"), "".into(), Timestamp(3)).unwrap();
    book.take(of(BACKUP, 2), Way::Journal, Timestamp(4));
    assert_eq!(pending(&book), [1, 2]);
    assert!(!book.take(first.clone(), Way::Journal, Timestamp(4)), "known already");
    assert_eq!(pending(&book), [2]);
    assert!(!book.take(first.clone(), Way::Log, Timestamp(4)));
    assert_eq!(pending(&book), [2], "the journal has it, whatever else has it");

    // A copy has neither.
    book.begin_copy("site");
    assert_eq!(pending(&book), [1, 2]);
    book.take(first, Way::Journal, Timestamp(4));
    assert_eq!(pending(&book), [2]);
    assert_eq!(book.len(), 4, "nothing was taken away");
}

#[test]
fn a_stored_book_comes_back_with_its_numbers() {
    let mut before = book(10);
    for stamp in [4, 2, 3] {
        before.take(of(BACKUP, stamp), Way::Journal, Timestamp(9));
    }
    before.note("site", event("own"), "".into(), Timestamp(9)).unwrap();
    let mut after = book(10);
    // The log came first.
    after.take(before.pending("site", 9).remove(0), Way::Log, Timestamp(9));
    for known in before.of_group("site").collect::<Vec<_>>() {
        after.take(known, Way::Stored, Timestamp(9));
    }
    assert_eq!(after.of_group("site").collect::<Vec<_>>(), before.of_group("site").collect::<Vec<_>>());
    assert_eq!(after.last_number(), 4);
}

#[test]
fn a_number_that_leaves_no_room_for_others_is_none() {
    let mut book = book(10);
    for (stamp, number) in [(1, u64::MAX), (2, 1), (3, 1)] {
        book.take(Known { number, ..of(BACKUP, stamp) }, Way::Stored, Timestamp(9));
    }
    book.take(of(BACKUP, 4), Way::Journal, Timestamp(9));
    assert_eq!(book.arrivals.len(), 4);
    assert_eq!(book.last_number(), 4);
}

#[test]
fn a_reader_learns_that_events_were_forgotten_before_it_got_them_and_only_then() {
    let mut book = book(3);
    let take = |book: &mut Book, stamps: std::ops::RangeInclusive<i64>| {
        for stamp in stamps {
            book.take(of(BACKUP, stamp), Way::Journal, Timestamp(99));
        }
    };
    let read = |book: &Book, cursor: &str, after, limit| {
        let from = Following { after, cursor: Cursor::parse(cursor).unwrap(), limit };
        let next = book.following(&from, &Filter::default());
        (next.missed, next.rows.len(), next.after, next.cursor.to_string())
    };
    take(&mut book, 1..=5);
    let all = |missed, rows| (missed, rows, 5, "site.1.5".to_owned());
    assert_eq!(read(&book, "", 0, 9), all(false, 3), "who begins misses nothing");
    assert_eq!(read(&book, "site.1.2", 0, 9), all(false, 3), "it has what is gone");
    assert_eq!(read(&book, "site.1.1", 0, 9), all(true, 3), "the second is gone");
    assert_eq!(read(&book, "", 2, 9), all(false, 3), "by numbers, too");
    assert_eq!(read(&book, "", 1, 9), all(true, 3));
    assert!(!read(&book, "site.0.1", 0, 9).0, "nothing of that node is gone");
    // Page by page it is said until the end, and then no more.
    let (missed, rows, after, cursor) = read(&book, "site.1.1", 0, 2);
    assert_eq!((missed, rows, cursor.as_str()), (true, 2, "site.1.4"));
    assert_eq!(read(&book, &cursor, after, 2), all(false, 1));

    // An alarm is forgotten before older events are: none of those is skipped for it.
    let mut book = Book::new(MAIN, 4, None);
    take(&mut book, 1..=2);
    for (stamp, alarm) in [(3, "a@1"), (4, "a@2"), (5, "a@3")] {
        book.take(told(BACKUP, stamp, alarm), Way::Journal, Timestamp(99));
    }
    assert_eq!(texts(&book), ["1:1", "1:2", "1:4", "1:5"]);
    let (missed, rows, _, cursor) = read(&book, "site.1.0", 0, 1);
    assert_eq!((missed, rows, cursor.as_str()), (true, 1, "site.1.1"));
    assert_eq!(read(&book, &cursor, 0, 9), (true, 3, 5, "site.1.5".to_owned()));
    assert!(!read(&book, "site.1.5", 0, 9).0);
    // Of two that tell the same, one is no loss.
    book.take(told(BACKUP, 6, "a@3"), Way::Journal, Timestamp(99));
    assert!(!read(&book, "site.1.4", 0, 9).0);
}

/// Events of two nodes, some of which tell of an alarm.
fn some() -> impl Strategy<Value = Vec<Known>> {
    let one = (0..2_u8, 0..40_i64).prop_map(|(node, stamp)| {
        let alarm = if stamp % 3 == 0 { format!("hot@{}", stamp / 8) } else { String::new() };
        told(NodeRank(node), stamp, &alarm)
    });
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn nodes_that_got_the_same_in_any_order_keep_the_same(events in some(), seed in any::<u64>(), keep in 4..60_usize) {
        let mut shuffled = events.clone();
        // What both sides of a split kept comes twice and in another order.
        let length = shuffled.len().max(1);
        shuffled.rotate_left(usize::try_from(seed % 41).unwrap() % length);
        shuffled.extend(events.clone());
        let (mut one, mut other) = (book(keep), Book::new(BACKUP, keep, None));
        for known in events {
            one.take(known, Way::Journal, Timestamp(50));
        }
        for known in shuffled {
            other.take(known, Way::Journal, Timestamp(50));
        }
        prop_assert_eq!(texts(&one), texts(&other));
        prop_assert!(one.len() <= keep);
    }

    #[test]
    fn a_reader_that_moves_between_nodes_gets_everything_once(
        events in some(),
        moves in proptest::collection::vec((any::<bool>(), 1..5_usize, 1..9_usize), 1..30),
    ) {
        // Each node gets the events of one node in their order, but not those of different nodes.
        let lane = |node: u8| {
            let mut lane: Vec<Known> = events.iter().filter(|known| known.entry.id.node.0 == node).cloned().collect();
            lane.sort_by(|a, b| a.entry.id.cmp(&b.entry.id));
            lane.dedup_by(|a, b| a.entry.id == b.entry.id);
            for known in &mut lane {
                known.entry.alarm = "".into();
            }
            lane
        };
        let all = lane(0).len() + lane(1).len();
        let mut nodes = [(book(100), lane(0), lane(1)), (book(100), lane(1), lane(0))];
        let mut cursor = Cursor::default();
        let mut got = BTreeSet::new();
        let last = [(false, 100, 100), (true, 100, 100)];
        for (other, limit, arriving) in moves.into_iter().chain(last) {
            let (book, first, second) = &mut nodes[usize::from(other)];
            for _ in 0..arriving {
                let from = if first.is_empty() { &mut *second } else { &mut *first };
                if !from.is_empty() {
                    book.take(from.remove(0), Way::Journal, Timestamp(50));
                }
            }
            let text = cursor.to_string();
            let from = Following { after: 0, cursor: Cursor::parse(&text).unwrap(), limit };
            let page = book.following(&from, &Filter::default());
            for row in &page.rows {
                prop_assert!(got.insert(row.entry.id.clone()), "twice: {row:?}");
            }
            cursor = page.cursor;
        }
        prop_assert_eq!(got.len(), all);
    }
}
