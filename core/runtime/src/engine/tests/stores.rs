//! What interfaces keep by key: in order with their values, on the successor, and gone with a role that was lost.

use tokio::sync::oneshot;
use twinhub_contract::code;
use twinhub_loader::StateStore;
use twinhub_model::{ItemId, Part, PartRecord, Position, Record, Value};

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};
use crate::inbox::{Command, Job};

fn specs() -> [Spec; 1] {
    [Spec { config: ",\"keeps\":true", ..Spec::new("plc") }]
}

fn store(bench: &Bench) -> &StateStore {
    &bench.engine.interfaces[0].port.store
}

fn kept(bench: &Bench, key: &str) -> Option<String> {
    store(bench).get(key).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// As the instance would.
fn put(bench: &Bench, epoch: twinhub_model::Epoch, key: &str, value: &str) -> i32 {
    bench.engine.interfaces[0].port.put(epoch.0, key, Some(value.as_bytes()))
}

/// The plugin keeps what it is told to write, and publishes it then.
fn command(bench: &mut Bench, value: i64) {
    let (reply, _answer) = oneshot::channel();
    let origin = "test".to_owned();
    bench.job(Job::Command(Command { item: ItemId(1), value: Value::I64(value), origin, reply }));
    bench.wait("it is published", |bench| bench.journaled(0).contains(&Value::I64(value)));
}

#[test]
fn what_is_put_stands_in_the_journal_before_what_is_published_after_it() {
    let (mut main, mut backup) = pair(&specs());
    for value in 1..=20 {
        command(&mut main, value);
    }
    carry_until(&mut main, &mut backup, "all of it", |main, backup| main.last() == backup.last());
    // Whatever part of the journal a node has: with a value it has what was put before.
    for bench in [&main, &backup] {
        let mut puts = 0;
        for record in bench.records() {
            match record {
                Record::Part(PartRecord { part: Part::STORES, .. }) => puts += 1,
                Record::Samples(samples) => {
                    for sample in samples.iter().filter(|sample| sample.item == ItemId(0)) {
                        assert_eq!(sample.value, Value::I64(puts));
                    }
                }
                Record::Dictionary(_)
                | Record::Intent(_)
                | Record::Result(_)
                | Record::Delivered(_)
                | Record::Event(_)
                | Record::Part(_)
                | Record::Merged(_)
                | Record::Role(_) => {}
            }
        }
        assert_eq!(puts, 20);
    }
    assert_eq!(kept(&backup, "last").as_deref(), Some("20"));
    backup.become_active(epoch(1, 2));
    backup.await_call("plc kept 20");
}

#[test]
fn what_is_put_is_there_after_a_restart_and_after_a_full_copy_which_takes_away_the_rest() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    command(&mut main, 5);
    let mut backup = Bench::new(1, &specs());
    store(&backup).keep("stray", Some(b"1"[..].into())).unwrap();
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!((kept(&backup, "last").as_deref(), kept(&backup, "stray")), (Some("5"), None));
    main.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut main = main.restarted(&specs());
    assert_eq!(kept(&main, "last").as_deref(), Some("5"));
    main.become_active(epoch(0, 3));
    main.await_call("plc kept 5");
}

#[test]
fn only_the_instance_that_acts_changes_its_store() {
    let mut bench = Bench::new(0, &specs());
    assert_eq!(put(&bench, epoch(0, 1), "k", "1"), code::STALE_EPOCH);
    bench.become_active(epoch(0, 1));
    assert_eq!(put(&bench, epoch(0, 2), "k", "1"), code::STALE_EPOCH);
    assert_eq!(put(&bench, epoch(0, 1), "k", "1"), code::OK);
    assert_eq!(kept(&bench, "k").as_deref(), Some("1"), "it is seen at once");
    bench.gate.close();
    assert_eq!(put(&bench, epoch(0, 1), "k", "2"), code::STALE_EPOCH, "the lease is over");
    bench.turn();
    assert_eq!(store(&bench).kept().len(), 1);
}

#[test]
fn what_was_on_its_way_when_the_role_was_lost_is_gone() {
    let mut bench = Bench::new(0, &specs());
    bench.become_active(epoch(0, 1));
    assert_eq!(put(&bench, epoch(0, 1), "a", "1"), code::OK);
    bench.turn();
    assert_eq!(put(&bench, epoch(0, 1), "a", "2"), code::OK);
    assert_eq!(put(&bench, epoch(0, 1), "b", "2"), code::OK);
    bench.lose(epoch(0, 1));
    assert_eq!(put(&bench, epoch(0, 1), "b", "3"), code::STALE_EPOCH);
    bench.turn();
    assert_eq!((kept(&bench, "a").as_deref(), kept(&bench, "b")), (Some("1"), None));
}

#[test]
fn what_another_node_keeps_is_seen_on_the_standby() {
    let (mut main, mut backup) = pair(&specs());
    assert_eq!(put(&main, epoch(0, 1), "k", "1"), code::OK);
    main.turn();
    carry_until(&mut main, &mut backup, "the change", |main, backup| main.last() == backup.last());
    assert_eq!(kept(&backup, "k").as_deref(), Some("1"));
    assert_eq!(main.engine.interfaces[0].port.put(epoch(0, 1).0, "k", None), code::OK);
    main.turn();
    carry_until(&mut main, &mut backup, "the change", |main, backup| main.last() == backup.last());
    assert_eq!(kept(&backup, "k"), None);
}

#[test]
fn a_change_that_the_journal_does_not_take_holds_up_the_values_behind_it() {
    let mut bench = Bench::new(0, &specs());
    bench.become_active(epoch(0, 1));
    // A record of another node ends what this one may append.
    let other = PartRecord { part: Part(998), body: b"x".as_slice().into() };
    let mut body = Vec::new();
    twinhub_wire::record::encode(&Record::Part(other), &mut body);
    let stranger = Position::new(epoch(1, 9), 1);
    bench.engine.journal.append_encoded(stranger, &body).unwrap();
    assert_eq!(put(&bench, epoch(0, 1), "k", "1"), code::OK);
    bench.turn();
    bench.publish(0, 7);
    assert_eq!((bench.last(), bench.engine.owed.len()), (stranger, 1));
    bench.engine.journal.begin_epoch(epoch(0, 10)).unwrap();
    bench.publish(0, 8);
    assert_eq!((bench.engine.owed.len(), bench.journaled(0)), (0, vec![Value::I64(8)]));
    let records = bench.records();
    let is_put = |record: &Record| matches!(record, Record::Part(PartRecord { part: Part::STORES, .. }));
    let is_value = |record: &Record| matches!(record, Record::Samples(_));
    assert!(records.iter().position(is_put) < records.iter().position(is_value), "{records:?}");
    assert_eq!(store(&bench).kept().len(), 1);
}
