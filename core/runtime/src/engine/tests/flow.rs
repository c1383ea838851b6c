//! Who was refused for want of room hears when it is worth to try again.

use twinhub_contract::code;

use super::bench::{Bench, Spec, epoch};
use crate::inbox::PENDING_VALUES_MAX;

fn specs() -> [Spec; 1] {
    [Spec { config: ",\"keeps\":true", ..Spec::new("plc") }]
}

fn heard(bench: &Bench) -> usize {
    bench.calls().iter().filter(|call| *call == "plc room").count()
}

#[test]
fn an_instance_that_was_refused_hears_of_room_once_and_only_then() {
    let mut bench = Bench::new(0, &specs());
    bench.become_active(epoch(0, 1));
    bench.turn();
    assert_eq!(heard(&bench), 0, "it was never refused");
    // The lane is full, so its own value finds no room.
    assert!(bench.inbox.reserve(PENDING_VALUES_MAX));
    let port = std::sync::Arc::clone(&bench.engine.interfaces[0].port);
    assert!(port.is_full(|| !bench.inbox.reserve(1)));
    bench.inbox.push_reserved(PENDING_VALUES_MAX, None);
    bench.turn();
    bench.turn();
    assert_eq!(heard(&bench), 1, "{:?}", bench.calls());
    // Room that came between two looks is no refusal.
    let looks = std::cell::Cell::new(0);
    let is_full = || {
        looks.set(looks.get() + 1);
        looks.get() == 1
    };
    assert!(!port.is_full(is_full));
}

#[test]
fn a_change_that_waits_for_the_journal_is_told_when_it_works_again() {
    let mut bench = Bench::new(0, &specs());
    bench.become_active(epoch(0, 1));
    let port = std::sync::Arc::clone(&bench.engine.interfaces[0].port);
    port.store.stall(true);
    assert_eq!(port.put(epoch(0, 1).0, "k", Some(b"1")), code::AGAIN);
    port.store.stall(false);
    bench.wait("it hears of it", |bench| heard(bench) == 1);
    assert_eq!(port.put(epoch(0, 1).0, "k", Some(b"1")), code::OK);
}
