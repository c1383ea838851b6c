use proptest::prelude::*;

use super::*;
use crate::{DEAD_MAX, WAITING_MAX, decode, encode};

fn name(id: &str) -> Name {
    Name::new("pms", "guest", id)
}

fn given(id: &str, key: &str, to: &[&str]) -> Given {
    let to = to.iter().map(|to| (*to).to_owned()).collect();
    Given { name: name(id), key: key.to_owned(), payload: b"check-in".as_slice().into(), at_ns: 7, to }
}

fn give(book: &mut Book, id: &str, key: &str, to: &[&str]) -> Change {
    book.apply(1, Entry::Given(given(id, key, to)))
}

fn done(id: &str, to: &str) -> Entry {
    Entry::Done { name: name(id), to: to.to_owned() }
}

fn dead(id: &str, to: &str) -> Entry {
    Entry::Dead { name: name(id), to: to.to_owned(), code: -10, at_ns: 9 }
}

fn again(id: &str, to: &str) -> Entry {
    Entry::Again { name: name(id), to: to.to_owned() }
}

/// Ids that wait for an interface, in their order.
fn waiting(book: &Book, to: &str) -> Vec<String> {
    book.waiting(to).map(|(_, waiting)| waiting.given.name.id.clone()).collect()
}

fn dead_of(book: &Book, to: &str) -> Vec<String> {
    book.dead(to).map(|(_, dead)| dead.given.name.id.clone()).collect()
}

/// Ids that may be brought.
fn firsts(book: &Book, to: &str) -> Vec<String> {
    let of = |number| book.find(to, number).map(|waiting| waiting.given.name.id.clone());
    book.firsts(to).into_iter().filter_map(of).collect()
}

fn copied(book: &Book, bytes_max: usize) -> Book {
    let mut copy = Book::default();
    for piece in book.pieces(bytes_max) {
        copy.restore(&piece).unwrap();
    }
    copy
}

#[test]
fn an_event_waits_for_each_interface_that_it_is_for_until_that_one_has_done_it() {
    let mut book = Book::default();
    assert_eq!(give(&mut book, "1", "", &["locks", "tv"]), Change::Taken);
    assert_eq!(book.apply(1, done("1", "locks")), Change::Over);
    assert_eq!((waiting(&book, "locks").len(), waiting(&book, "tv").len()), (0, 1));
    assert_eq!(book.apply(1, done("1", "locks")), Change::None, "it is done already");
    assert_eq!(book.apply(1, done("2", "tv")), Change::None, "nobody gave it");
    assert_eq!(book.apply(1, done("1", "tv")), Change::Over);
    assert_eq!(book.interfaces().count(), 0);
}

#[test]
fn what_is_given_twice_is_one_event_also_when_it_is_done_already() {
    let mut book = Book::default();
    give(&mut book, "1", "", &["locks"]);
    assert_eq!(give(&mut book, "1", "", &["locks"]), Change::Doubled);
    book.apply(1, done("1", "locks"));
    assert_eq!(give(&mut book, "1", "", &["locks"]), Change::Doubled);
    assert_eq!(waiting(&book, "locks"), Vec::<String>::new());
    let other = Given { name: Name::new("pms", "bill", "1"), ..given("1", "", &["locks"]) };
    assert_eq!(book.apply(1, Entry::Given(other)), Change::Taken, "another stream has ids of its own");
}

#[test]
fn of_one_giver_and_key_only_the_first_may_be_brought() {
    let mut book = Book::default();
    for (id, key) in [("1", "room 1"), ("2", "room 2"), ("3", "room 1"), ("4", ""), ("5", "")] {
        give(&mut book, id, key, &["locks"]);
    }
    let other = Given { name: Name::new("bar", "guest", "6"), ..given("6", "room 1", &["locks"]) };
    book.apply(1, Entry::Given(other));
    assert_eq!(firsts(&book, "locks"), ["1", "2", "4", "6"]);
    book.apply(1, done("1", "locks"));
    book.apply(1, dead("4", "locks"));
    assert_eq!(firsts(&book, "locks"), ["2", "3", "5", "6"]);
}

#[test]
fn what_cannot_be_done_is_kept_tried_again_or_dropped() {
    let mut book = Book::default();
    for id in ["1", "2", "3"] {
        give(&mut book, id, "", &["locks"]);
    }
    assert_eq!(book.apply(1, dead("1", "locks")), Change::Died(Vec::new()));
    assert_eq!(book.apply(1, dead("1", "locks")), Change::None);
    assert_eq!((book.counts("locks"), dead_of(&book, "locks")), ((2, 1), vec!["1".to_owned()]));
    assert_eq!(book.apply(1, again("2", "locks")), Change::None, "it is not dead");
    assert_eq!(book.apply(1, again("1", "locks")), Change::Revived);
    assert_eq!(waiting(&book, "locks"), ["2", "3", "1"]);
    assert_eq!(book.waiting("locks").last().unwrap().1.epoch, 0, "it was brought before");
    book.apply(1, dead("1", "locks"));
    let drop = Entry::Dropped { name: name("1"), to: "locks".to_owned() };
    assert_eq!(book.apply(1, drop.clone()), Change::Over);
    assert_eq!(book.apply(1, drop), Change::None);
    // What one side of a split could not do and the other one did is done.
    book.apply(1, dead("2", "locks"));
    assert_eq!(book.apply(1, done("2", "locks")), Change::Over);
    assert_eq!(book.counts("locks"), (1, 0));
}

#[test]
fn the_dead_are_bounded_and_the_oldest_makes_room() {
    let mut book = Book::default();
    for number in 0..=DEAD_MAX {
        give(&mut book, &number.to_string(), "", &["locks"]);
    }
    for number in 0..DEAD_MAX {
        assert_eq!(book.apply(1, dead(&number.to_string(), "locks")), Change::Died(Vec::new()));
    }
    let Change::Died(pushed_out) = book.apply(1, dead(&DEAD_MAX.to_string(), "locks")) else { panic!() };
    assert_eq!(pushed_out[0].given.name.id, "0");
    assert_eq!((pushed_out.len(), book.counts("locks")), (1, (0, DEAD_MAX)));
    assert_eq!(book.apply(1, done("0", "locks")), Change::None, "it is gone");
}

#[test]
fn room_is_counted_in_events_and_in_bytes() {
    let mut book = Book::default();
    let long = Given { payload: vec![0; 65_536].into(), ..given("long", "", &["locks"]) };
    let bytes = Book::bytes_of(&long);
    let mut count = 0;
    while book.has_room("locks", 1, bytes) {
        let name = name(&count.to_string());
        book.apply(1, Entry::Given(Given { name, ..long.clone() }));
        count += 1;
    }
    assert_eq!(count, 63, "of 64 KiB in 4 MiB, with their names");
    assert!(book.has_room("tv", WAITING_MAX, 1_000) && !book.has_room("tv", WAITING_MAX + 1, 1_000));
}

#[test]
fn the_ids_that_were_seen_are_bounded_and_those_that_wait_are_remembered() {
    let mut book = Book::default();
    give(&mut book, "waits", "", &["locks"]);
    for number in 0..2 * SEEN_MAX {
        give(&mut book, &number.to_string(), "", &[]);
    }
    let seen = &book.seen[&("pms".to_owned(), "guest".to_owned())];
    assert_eq!((seen.ids.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
    assert!(book.has_seen(&name("waits")) && !book.has_seen(&name("0")));
    assert_eq!(book.unlinked().count(), UNLINKED_MAX);
    assert_eq!(book.unlinked().last().unwrap().name.id, (2 * SEEN_MAX - 1).to_string());
}

#[test]
fn a_damaged_copy_makes_no_two_of_one() {
    let mut book = Book::default();
    give(&mut book, "1", "", &["locks"]);
    let pieces = book.pieces(1 << 18);
    let mut copy = copied(&book, 1 << 18);
    for piece in &pieces {
        copy.restore(piece).unwrap();
    }
    assert_eq!(copy.counts("locks"), (1, 0));
    let late =
        vec![Kept::Waiting { number: u64::MAX, to: "tv".to_owned(), epoch: 1, given: given("2", "", &[]) }];
    copy.restore(&to_bytes(&late)).unwrap();
    assert_eq!(copy.counts("tv"), (0, 0));
    assert_eq!(give(&mut copy, "3", "", &["tv"]), Change::Taken);
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (0..6_u8, 0..8_u8, 0..3_u8, 0..2_u8).prop_map(|(kind, id, key, to)| {
        let (id, to) = (id.to_string(), if to == 0 { "locks" } else { "tv" });
        match kind {
            0 | 1 => Entry::Given(given(
                &id,
                &format!("k{key}"),
                if key == 2 { &["locks", "tv"] } else { &["locks"] },
            )),
            2 => done(&id, to),
            3 => dead(&id, to),
            4 => again(&id, to),
            _ => Entry::Dropped { name: name(&id), to: to.to_owned() },
        }
    });
    prop::collection::vec(entry, 0..60)
}

proptest! {
    #[test]
    fn a_copy_goes_on_as_the_book_does(before in entries(), after in entries(), bytes_max in 0..4_000_usize) {
        let mut book = Book::default();
        for entry in before {
            book.apply(3, entry);
        }
        let mut copy = copied(&book, bytes_max);
        for entry in after {
            prop_assert_eq!(book.apply(4, entry.clone()), copy.apply(4, entry));
        }
        prop_assert_eq!(book.pieces(1 << 18), copy.pieces(1 << 18));
    }

    #[test]
    fn pieces_are_as_short_as_they_are_wanted(entries in entries()) {
        let mut book = Book::default();
        for entry in entries {
            book.apply(3, entry);
        }
        for piece in book.pieces(1_000) {
            prop_assert!(piece.len() <= 1_000, "{}", piece.len());
        }
    }

    /// Both sides of a split begin with the same; whichever side's journal goes on and takes in the other one's entries, what
    /// either side has done is done, and everything else waits or is dead.
    #[test]
    fn after_a_split_all_is_there_and_what_either_side_has_done_is_done(
        common in 0..4_u8,
        sides in prop::array::uniform2(prop::collection::vec((any::<bool>(), 0..8_u8), 0..20)),
    ) {
        let shared: Vec<Entry> = (0..common).map(|id| Entry::Given(given(&id.to_string(), "", &["locks"]))).collect();
        let (mut expected, mut finished, mut written) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for side in &sides {
            let mut here: BTreeSet<u8> = (0..common).collect();
            let mut entries = Vec::new();
            for (is_done, number) in side {
                let id = number.to_string();
                if !is_done {
                    here.insert(*number);
                    entries.push(Entry::Given(given(&id, "", &["locks"])));
                } else if here.contains(number) {
                    // Nobody has done what was not given there.
                    entries.push(done(&id, "locks"));
                    finished.insert(id);
                }
            }
            expected.extend(here.into_iter().map(|number| number.to_string()));
            written.push(entries);
        }
        let expected: BTreeSet<String> = expected.difference(&finished).cloned().collect();
        for order in [[0, 1], [1, 0]] {
            let mut book = Book::default();
            for entry in shared.iter().chain(order.into_iter().flat_map(|side| &written[side])) {
                book.apply(1, entry.clone());
            }
            prop_assert_eq!(waiting(&book, "locks").into_iter().collect::<BTreeSet<_>>(), expected.clone());
        }
    }

    #[test]
    fn entries_come_back_from_bytes(entries in entries()) {
        prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries);
    }

    #[test]
    fn hostile_bytes_are_refused_or_read(bytes: Vec<u8>) {
        let mut book = Book::default();
        for entry in decode(&bytes).unwrap_or_default() {
            book.apply(1, entry);
        }
        drop(book.restore(&bytes));
        prop_assert!(book.pieces(1_000).iter().map(Vec::len).sum::<usize>() <= bytes.len() + 2 * KEPT_BYTES_ABOUT);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read(entries in entries(), place: usize, byte: u8) {
        let mut book = Book::default();
        for entry in entries.clone() {
            book.apply(1, entry);
        }
        for mut bytes in book.pieces(1 << 18).into_iter().chain([encode(&entries)]) {
            let place = place % bytes.len();
            bytes[place] = byte;
            let mut copy = Book::default();
            drop(copy.restore(&bytes));
            for entry in decode(&bytes).unwrap_or_default() {
                copy.apply(1, entry);
            }
            give(&mut copy, "one more", "", &["locks"]);
            prop_assert!(waiting(&copy, "locks").contains(&"one more".to_owned()));
        }
    }
}
