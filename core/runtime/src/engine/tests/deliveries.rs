//! Events between interfaces: brought once they are safe, once more where it is not known, and over when they are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_config::{AckAfter, OnUnprotected};
use twinhub_contract::{EventRef, code, event_flag, role};
use twinhub_deliveries::{Entry, Name, WAITING_MAX, encode};
use twinhub_model::{Epoch, ItemId, Part, PartRecord, Record, Value};

use super::bench::{Bench, Spec, carry, carry_until, epoch, follow, pair};
use crate::engine::deliveries::DeliveryOrder;
use crate::error::CommandError;
use crate::exchange::{Exchange, Streams};
use crate::inbox::{Command, Job};

/// That of these interfaces.
pub(crate) fn exchange(specs: &[Spec]) -> Arc<Exchange> {
    let streams = specs.iter().map(|spec| {
        let to = |to: &[&str]| to.iter().map(|to| (*to).to_owned()).collect();
        let gives = spec.gives.iter().map(|(stream, ids)| ((*stream).to_owned(), to(ids)));
        (spec.id.to_owned(), gives.collect::<BTreeMap<_, _>>())
    });
    Arc::new(Exchange::new(streams.collect::<Streams>()))
}

/// One that gives to one that answers so.
fn specs(answer: &'static str) -> [Spec; 2] {
    let pms = Spec {
        gives: &[("guest", &["locks"]), ("bill", &[])],
        ack_after: AckAfter::Peer,
        config: ",\"events\":0",
        ..Spec::new("pms")
    };
    [pms, Spec { config: answer, ..Spec::new("locks") }]
}

const DONE: &str = ",\"events\":0";
const LATER: &str = ",\"events\":1";
const NOT_NOW: &str = ",\"events\":-2";
const NEVER: &str = ",\"events\":-10";

fn event(at: Epoch, id: &str) -> EventRef<'_> {
    EventRef { flags: 0, epoch: at.0, number: 0, source: "", stream: "guest", id, key: "", payload: b"x" }
}

/// As the instance would.
fn give(bench: &Bench, event: &EventRef<'_>) -> i32 {
    bench.engine.interfaces[0].port.give(event)
}

fn waiting(bench: &Bench) -> (usize, usize) {
    bench.engine.exchange.read(|book| book.counts("locks"))
}

/// The plugin acknowledges what it was brought first.
fn acknowledge(bench: &mut Bench, code: i32) {
    let (reply, _answer) = oneshot::channel();
    let (item, value, origin) = (ItemId(3), Value::I64(i64::from(code)), "test".to_owned());
    bench.job(Job::Command(Command { item, value, origin, reply }));
}

fn order(bench: &mut Bench, number: u64, again: bool) -> Result<(), CommandError> {
    let (reply, mut answer) = oneshot::channel();
    bench.job(Job::Delivery(DeliveryOrder { number, id: number.to_string(), again, reply }));
    answer.try_recv().unwrap()
}

#[test]
fn an_event_is_journaled_brought_once_and_over() {
    let (mut main, mut backup) = pair(&specs(DONE));
    assert_eq!(give(&main, &event(epoch(0, 1), "1")), code::OK);
    main.turn();
    assert_eq!(waiting(&main), (1, 0), "a standby does not have it yet");
    carry_until(&mut main, &mut backup, "it is done", |main, _| {
        waiting(main) == (0, 0) && main.engine.desks.are_idle()
    });
    main.await_call("locks event 1");
    carry_until(&mut main, &mut backup, "all of it", |main, backup| main.last() == backup.last());
    assert_eq!(waiting(&backup), (0, 0));
    // Repeated by the device: it counts once, and on the node that takes over, too.
    assert_eq!(give(&main, &event(epoch(0, 1), "1")), code::OK);
    main.turn();
    let counters = &main.engine.interfaces[0].port.counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.events_given), count(&counters.events_doubled)), (1, 1));
    backup.become_active(epoch(1, 2));
    assert_eq!(give(&backup, &event(epoch(1, 2), "1")), code::OK);
    backup.turn();
    let brought = |bench: &Bench| bench.calls().iter().filter(|call| call.starts_with("locks event")).count();
    assert_eq!((brought(&main), brought(&backup), waiting(&backup)), (1, 0, (0, 0)));
}

#[test]
fn events_of_one_key_that_are_done_at_once_do_not_wait_for_each_other() {
    let mut bench = Bench::new(0, &specs(DONE));
    bench.become_active(epoch(0, 1));
    let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
    for id in &ids {
        assert_eq!(give(&bench, &event(epoch(0, 1), id)), code::OK);
    }
    bench.turn();
    bench.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    bench.turn();
    assert_eq!(waiting(&bench), (0, 0), "in one turn");
    let brought: Vec<String> = bench
        .calls()
        .iter()
        .filter_map(|call| call.strip_prefix("locks event ").map(str::to_owned))
        .collect();
    assert_eq!(brought, ids, "in their order");
}

#[test]
fn what_is_not_acknowledged_comes_again_from_the_successor_and_what_is_does_not() {
    let (mut main, mut backup) = pair(&specs(LATER));
    for id in ["1", "2"] {
        let keyed = EventRef { key: id, ..event(epoch(0, 1), id) };
        assert_eq!(give(&main, &keyed), code::OK);
    }
    carry_until(&mut main, &mut backup, "both are brought", |main, _| {
        main.calls().iter().any(|call| call == "locks event 2")
    });
    acknowledge(&mut main, code::OK);
    carry_until(&mut main, &mut backup, "the first is done", |main, backup| {
        waiting(main) == (1, 0) && waiting(backup) == (1, 0)
    });
    main.lose(epoch(0, 1));
    backup.become_active(epoch(1, 2));
    backup.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event 2 again"));
    assert!(!backup.calls().iter().any(|call| call.starts_with("locks event 1")), "{:?}", backup.calls());
    acknowledge(&mut backup, code::OK);
    backup.wait("it is done", |bench| waiting(bench) == (0, 0));
}

#[test]
fn a_restarted_node_and_a_new_instance_bring_it_again_with_the_same_id() {
    let mut bench = Bench::new(0, &specs(LATER));
    bench.become_active(epoch(0, 1));
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    bench.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event 1"));
    bench.fault(1, "made up");
    bench.wait("again", |bench| bench.calls().iter().any(|call| call == "locks event 1 again"));
    bench.forget_calls();
    let mut bench = bench.restarted(&specs(LATER));
    bench.become_active(epoch(0, 2));
    bench.wait("again", |bench| bench.calls().iter().any(|call| call == "locks event 1 again"));
}

#[test]
fn an_event_with_which_the_plugin_faults_each_time_is_set_aside() {
    let mut bench = Bench::new(0, &specs(LATER));
    bench.become_active(epoch(0, 1));
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    for _ in 0..3 {
        bench.forget_calls();
        bench.wait("it is brought", |bench| {
            bench.calls().iter().any(|call| call.starts_with("locks event 1"))
        });
        bench.fault(1, "made up");
    }
    assert_eq!(waiting(&bench), (0, 1));
    assert!(
        bench
            .events()
            .iter()
            .any(|text| text.contains("cannot be delivered to `locks`: the plugin panicked"))
    );
}

/// All that the instance had when it faulted goes alone from then on, so that only the one that does it is set aside.
#[test]
fn who_was_only_there_when_the_plugin_faulted_is_not_set_aside() {
    let mut bench = Bench::new(0, &specs(LATER));
    bench.become_active(epoch(0, 1));
    for id in ["good", "bad", "late"] {
        assert_eq!(give(&bench, &EventRef { key: id, ..event(epoch(0, 1), id) }), code::OK);
    }
    let has = |bench: &Bench, call: &str| bench.calls().iter().any(|other| other == call);
    bench.wait("all are brought", |bench| has(bench, "locks event late"));
    bench.forget_calls();
    bench.fault(1, "made up");
    bench.wait("one is brought", |bench| has(bench, "locks event good again"));
    bench.turn();
    assert!(!has(&bench, "locks event bad again"), "{:?}", bench.calls());
    acknowledge(&mut bench, code::OK);
    for _ in 0..2 {
        bench.forget_calls();
        bench.wait("it is brought", |bench| {
            has(bench, "locks event bad again") || has(bench, "locks event late again")
        });
        if has(&bench, "locks event late again") {
            acknowledge(&mut bench, code::OK);
            bench.wait("it is brought", |bench| has(bench, "locks event bad again"));
        }
        bench.fault(1, "made up");
    }
    bench.wait("the other one is brought", |bench| waiting(bench).1 == 1);
    let dead = bench.engine.exchange.read(|book| book.dead("locks").next().unwrap().1.given.name.id.clone());
    assert_eq!(dead, "bad");
}

#[test]
fn what_cannot_be_done_is_told_and_repeated_or_dropped_by_an_operator() {
    let mut bench = Bench::new(0, &specs(NEVER));
    bench.become_active(epoch(0, 1));
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    bench.wait("it is set aside", |bench| waiting(bench) == (0, 1));
    let told = "event `1` of stream `guest` from `pms` cannot be delivered to `locks`";
    assert!(bench.events().iter().any(|text| text.starts_with(told)), "{:?}", bench.events());
    let dead = |bench: &Bench| bench.engine.exchange.read(|book| book.dead("locks").next().unwrap().0);
    let first = dead(&bench);
    assert!(matches!(order(&mut bench, first + 7, true), Err(CommandError::UnknownDelivery { .. })));
    order(&mut bench, first, true).unwrap();
    bench.wait("it was tried again", |bench| {
        waiting(bench) == (0, 1) && bench.calls().iter().any(|call| call == "locks event 1 again")
    });
    let second = dead(&bench);
    order(&mut bench, second, false).unwrap();
    assert_eq!(waiting(&bench), (0, 0));
    bench.lose(epoch(0, 1));
    assert!(matches!(order(&mut bench, second, true), Err(CommandError::NotActive { .. })));
}

#[test]
fn what_cannot_be_done_now_is_tried_again_ever_more_slowly_and_holds_up_its_key_only() {
    let mut bench = Bench::new(0, &specs(NOT_NOW));
    bench.become_active(epoch(0, 1));
    for (id, key) in [("1", "a"), ("2", "a"), ("3", "b")] {
        assert_eq!(give(&bench, &EventRef { key, ..event(epoch(0, 1), id) }), code::OK);
    }
    let tries = |bench: &Bench, id: &str| {
        bench.calls().iter().filter(|call| call.starts_with(&format!("locks event {id}"))).count()
    };
    bench.wait("it was tried", |bench| tries(bench, "1") == 3 && tries(bench, "3") >= 2);
    assert_eq!((tries(&bench, "2"), waiting(&bench)), (0, (3, 0)));
    assert!(!bench.calls().iter().any(|call| call.contains("again")), "nothing was done so far");
}

#[test]
fn a_giver_that_waits_hears_when_the_event_is_where_it_has_to_be() {
    let (mut main, mut backup) = pair(&specs(DONE));
    let needs_ack = EventRef { flags: event_flag::NEED_ACK, number: 7, ..event(epoch(0, 1), "1") };
    assert_eq!(give(&main, &needs_ack), code::PENDING);
    main.turn();
    assert!(!main.calls().iter().any(|call| call.starts_with("pms gave")), "no standby has it");
    carry_until(&mut main, &mut backup, "it is told", |main, _| {
        main.calls().iter().any(|call| call == "pms gave 7 0")
    });
    // Once more: it is safe already.
    assert_eq!(give(&main, &EventRef { number: 8, ..needs_ack }), code::PENDING);
    carry_until(&mut main, &mut backup, "it is told", |main, _| {
        main.calls().iter().any(|call| call == "pms gave 8 0")
    });
    // The role ends before a standby has it: its source gives it to the successor.
    let lost = EventRef { number: 9, id: "2", ..needs_ack };
    assert_eq!(give(&main, &lost), code::PENDING);
    main.lose(epoch(0, 1));
    main.wait("it is told", |bench| bench.calls().contains(&format!("pms gave 9 {}", code::NOT_ACTIVE)));
    assert!(matches!(give(&main, &lost), code::STALE_EPOCH | code::NOT_ACTIVE));
}

#[test]
fn without_a_standby_an_event_is_safe_when_this_node_has_it_or_not_at_all() {
    for (on_unprotected, is_told) in [(OnUnprotected::Proceed, true), (OnUnprotected::Refuse, false)] {
        let [pms, locks] = specs(DONE);
        let mut bench = Bench::new(0, &[Spec { on_unprotected, ..pms }, locks]);
        bench.become_active(epoch(0, 1));
        let needs_ack = EventRef { flags: event_flag::NEED_ACK, number: 7, ..event(epoch(0, 1), "1") };
        assert_eq!(give(&bench, &needs_ack), code::PENDING);
        bench.wait("it is done", |bench| waiting(bench) == (0, 0) && bench.engine.desks.are_idle());
        let gave = |bench: &Bench| bench.calls().iter().any(|call| call == "pms gave 7 0");
        if is_told {
            bench.wait("it is told", |bench| gave(bench));
        } else {
            let begun = crate::clock::now();
            bench.wait("time passes", |_| crate::clock::now().since(begun) > Duration::from_millis(300));
            assert!(!gave(&bench));
        }
    }
}

#[test]
fn what_only_the_hot_standby_heard_is_given_by_it_after_a_takeover() {
    let [pms, locks] = specs(DONE);
    let specs = [Spec { standby: role::HOT, ..pms }, locks];
    let (mut main, mut backup) = pair(&specs);
    let standby_epoch = backup.engine.interfaces[0].port.epoch();
    for id in ["both", "backup"] {
        assert_eq!(give(&backup, &event(standby_epoch, id)), code::OK);
    }
    assert_eq!(give(&main, &event(epoch(0, 1), "both")), code::OK);
    carry_until(&mut main, &mut backup, "the standby has it", |main, backup| {
        main.calls().iter().any(|call| call == "locks event both") && main.last() == backup.last()
    });
    main.lose(epoch(0, 1));
    backup.become_active(epoch(1, 2));
    backup.wait("it is done", |bench| bench.calls().iter().any(|call| call == "locks event backup"));
    assert!(!backup.calls().iter().any(|call| call.starts_with("locks event both")));
}

#[test]
fn only_an_active_instance_gives_and_what_was_on_its_way_with_a_lost_role_is_gone() {
    let mut bench = Bench::new(0, &specs(DONE));
    assert_eq!(give(&bench, &event(Epoch(0), "1")), code::NOT_ACTIVE);
    bench.become_active(epoch(0, 1));
    assert_eq!(give(&bench, &event(epoch(0, 2), "1")), code::STALE_EPOCH);
    assert_eq!(give(&bench, &EventRef { stream: "other", ..event(epoch(0, 1), "1") }), code::INVALID);
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    bench.lose(epoch(0, 1));
    bench.turn();
    assert_eq!(waiting(&bench), (0, 0));
    let room = bench.engine.exchange.offer(0, "pms", &event(epoch(0, 1), "1"), crate::clock::utc());
    assert!(room.is_ok(), "and it takes no room");
}

#[test]
fn a_stream_without_a_link_is_kept_for_nobody_and_shown() {
    let (mut main, mut backup) = pair(&specs(DONE));
    assert_eq!(give(&main, &EventRef { stream: "bill", id: "", ..event(epoch(0, 1), "") }), code::OK);
    assert_eq!(give(&main, &EventRef { stream: "bill", id: "", ..event(epoch(0, 1), "") }), code::OK);
    main.turn();
    carry_until(&mut main, &mut backup, "all of it", |main, backup| main.last() == backup.last());
    let shown =
        |bench: &Bench| bench.engine.exchange.read(|book| book.unlinked().cloned().collect::<Vec<_>>());
    assert_eq!(shown(&backup).len(), 2, "without an id of the device they are two");
    assert_eq!(shown(&main), shown(&backup));
}

#[test]
fn an_interface_without_room_is_told_once_and_who_was_refused_hears_when_there_is_some() {
    let mut bench = Bench::new(0, &specs(NOT_NOW));
    bench.become_active(epoch(0, 1));
    let ids: Vec<String> = (0..WAITING_MAX).map(|id| id.to_string()).collect();
    for id in &ids {
        assert_eq!(give(&bench, &event(epoch(0, 1), id)), code::OK);
    }
    assert_eq!(give(&bench, &event(epoch(0, 1), "more")), code::AGAIN, "what is on its way counts");
    bench.turn();
    assert_eq!((waiting(&bench), give(&bench, &event(epoch(0, 1), "more"))), ((WAITING_MAX, 0), code::AGAIN));
    // What is there already is no new one.
    assert_eq!(give(&bench, &event(epoch(0, 1), "7")), code::OK);
    bench.turn();
    let told = |bench: &Bench, what: &str| bench.events().iter().filter(|text| text.contains(what)).count();
    assert_eq!(told(&bench, "too many events wait for interface `locks`"), 1);
    let done = |id: &String| {
        let (name, to) = (Name::new("pms", "guest", id), "locks".to_owned());
        Entry::Done { name, to }
    };
    let done: Vec<Entry> = ids[1..WAITING_MAX / 2].iter().map(done).collect();
    bench.engine.append_part(Part::DELIVERIES, &encode(&done)).unwrap();
    bench.turn();
    assert_eq!(told(&bench, "interface `locks` has room for events again"), 1);
    bench.await_call("pms room");
    assert_eq!(give(&bench, &event(epoch(0, 1), "more")), code::OK);
    let refused = &bench.engine.interfaces[0].port.counters.events_refused;
    assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn events_for_an_interface_that_is_gone_are_set_aside() {
    let mut bench = Bench::new(0, &specs(LATER));
    bench.become_active(epoch(0, 1));
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    bench.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event 1"));
    bench.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let [pms, _] = specs(DONE);
    let mut bench = bench.restarted(&[pms, Spec::new("doors")]);
    bench.become_active(epoch(0, 2));
    assert_eq!(waiting(&bench), (0, 1));
}

#[test]
fn a_planned_move_waits_for_what_an_instance_has_and_leaves_the_rest_to_the_successor() {
    let (mut main, mut backup) = pair(&specs(LATER));
    assert_eq!(give(&main, &event(epoch(0, 1), "1")), code::OK);
    carry_until(&mut main, &mut backup, "it is brought", |main, _| {
        main.calls().iter().any(|call| call == "locks event 1")
    });
    main.drain(epoch(0, 1), Some(backup.rank), Duration::from_secs(5));
    carry(&mut main, &mut backup);
    assert!(!main.said.iter().any(|input| matches!(input, twinhub_redundancy::Input::Drained { .. })));
    carry_until(&mut main, &mut backup, "it is drained", |main, _| {
        main.said.iter().any(|input| matches!(input, twinhub_redundancy::Input::Drained { .. }))
    });
    assert_eq!(waiting(&backup), (1, 0));
}

#[test]
fn a_full_copy_brings_what_waits() {
    let mut main = Bench::new(0, &specs(LATER));
    main.become_active(epoch(0, 1));
    assert_eq!(give(&main, &event(epoch(0, 1), "1")), code::OK);
    main.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event 1"));
    let mut backup = Bench::new(1, &specs(LATER));
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!(waiting(&backup), (1, 0));
}

#[test]
fn an_event_that_the_journal_does_not_take_holds_up_the_values_behind_it() {
    let mut bench = Bench::new(0, &specs(DONE));
    bench.become_active(epoch(0, 1));
    // A record of another node ends what this one may append.
    let other = PartRecord { part: Part(998), body: b"x".as_slice().into() };
    let mut body = Vec::new();
    twinhub_wire::record::encode(&Record::Part(other), &mut body);
    let stranger = twinhub_model::Position::new(epoch(1, 9), 1);
    bench.engine.journal.append_encoded(stranger, &body).unwrap();
    assert_eq!(give(&bench, &event(epoch(0, 1), "1")), code::OK);
    bench.turn();
    bench.publish(0, 7);
    assert_eq!((bench.last(), bench.engine.owed.len()), (stranger, 1));
    bench.engine.journal.begin_epoch(epoch(0, 10)).unwrap();
    bench.publish(0, 8);
    assert_eq!((bench.engine.owed.len(), bench.journaled(0)), (0, vec![Value::I64(8)]));
    bench.wait("it is done", |bench| bench.calls().iter().any(|call| call == "locks event 1"));
}

/// Both sides act alone for a while. What either of them has done is done, also if the other one has yet to hear of it; all the
/// rest waits once, with what was given on the side that gave way marked as one that may have been brought before.
#[test]
fn after_a_split_the_union_waits_and_what_one_side_has_done_is_not_brought_again() {
    let (mut main, mut backup) = pair(&specs(LATER));
    let give = |bench: &Bench, at: Epoch, id: &'static str| {
        assert_eq!(give(bench, &EventRef { key: id, ..event(at, id) }), code::OK);
    };
    give(&main, epoch(0, 1), "common");
    carry_until(&mut main, &mut backup, "both have it", |main, backup| {
        waiting(backup) == (1, 0) && main.calls().iter().any(|call| call == "locks event common")
    });
    main.disconnect(backup.rank);
    backup.disconnect(main.rank);
    give(&main, epoch(0, 1), "main");
    give(&main, epoch(0, 1), "both");
    main.wait("it has them", |bench| waiting(bench) == (3, 0));

    backup.become_active(epoch(1, 2));
    backup.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event common again"));
    acknowledge(&mut backup, code::OK);
    backup.wait("it is done", |bench| waiting(bench) == (0, 0));
    give(&backup, epoch(1, 2), "done");
    backup.wait("it is brought", |bench| bench.calls().iter().any(|call| call == "locks event done"));
    acknowledge(&mut backup, code::OK);
    backup.wait("it is done", |bench| waiting(bench) == (0, 0));
    give(&backup, epoch(1, 2), "both");
    give(&backup, epoch(1, 2), "backup");
    backup.wait("it has them", |bench| waiting(bench) == (2, 0));

    for (bench, at) in [(&mut main, epoch(0, 1)), (&mut backup, epoch(1, 2))] {
        bench.lose(at);
        bench.wait("gates closed", |bench| bench.said.contains(&twinhub_redundancy::Input::GatesClosed));
    }
    main.forget_calls();
    main.become_active(epoch(0, 3));
    follow(&mut main, &mut backup, epoch(0, 3));
    carry_until(&mut main, &mut backup, "all of it is here and brought", |main, backup| {
        let brought = main.calls().iter().any(|call| call == "locks event backup again");
        super::merging::is_merged(main, "backup") && brought && main.last() == backup.last()
    });
    let ids = |bench: &Bench| {
        let ids = |book: &twinhub_deliveries::Book| {
            book.waiting("locks").map(|(_, kept)| kept.given.name.id.clone()).collect::<Vec<_>>()
        };
        bench.engine.exchange.read(ids)
    };
    assert_eq!((ids(&main), ids(&backup)), (ids(&main), vec!["main".into(), "both".into(), "backup".into()]));
    assert_eq!(ids(&main), ids(&backup));
    let calls = main.calls();
    assert!(!calls.iter().any(|call| call.starts_with("locks event done")), "{calls:?}");
}
