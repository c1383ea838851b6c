//! Alarms over takeovers, replays, copies and restarts.

use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_alarms::{
    Answer, Change, OccurrenceId, Order, Query, Row, Shelf, Stamp, Suppression, Target, Which,
};
use twinhub_contract::role;
use twinhub_events::Filter;
use twinhub_model::{Part, Timestamp};
use twinhub_redundancy::Input;

use crate::engine::alarms::{AlarmJob, AlarmState};
use crate::error::CommandError;
use crate::inbox::Job;

use super::bench::{ALARM_LIMIT, Bench, Spec, carry, carry_until, epoch, follow, pair};

const HIGH: i64 = ALARM_LIMIT + 5;

fn specs(standby: u32) -> [Spec; 1] {
    [Spec { standby, has_alarms: true, resyncs: standby != role::HOT, ..Spec::new("plc") }]
}

/// All that is kept, the oldest first, in few words.
fn told(bench: &mut Bench) -> Vec<String> {
    let mut rows = rows(bench);
    rows.reverse();
    rows.iter()
        .map(|row| {
            let by = row.occurrence.acknowledgment.as_ref().map_or("", |known| &*known.by);
            format!("{} {} {by}", row.rule, row.occurrence.state().word()).trim_end().to_owned()
        })
        .collect()
}

fn rows(bench: &mut Bench) -> Vec<Row> {
    let (reply, mut answer) = oneshot::channel();
    let query = Query { which: Which::All, limit: 100, ..Query::default() };
    bench.job(Job::Alarms(Box::new(AlarmJob::Page { query, reply })));
    answer.try_recv().unwrap().rows
}

fn order(bench: &mut Bench, rule: &str) -> oneshot::Receiver<Result<Answer, CommandError>> {
    let (reply, answer) = oneshot::channel();
    let order = Order::Acknowledge { target: Target::Rule(rule.to_owned()), comment: String::new() };
    bench.job(Job::Alarms(Box::new(AlarmJob::Order { order, by: "ann".to_owned(), reply })));
    answer
}

fn is_raised(bench: &Bench, rule: &str) -> bool {
    bench.engine.parts.get::<AlarmState>().unwrap().alarms().book().raised(rule).is_some()
}

#[test]
fn a_raised_alarm_goes_over_to_the_next_node_and_is_not_raised_again() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, HIGH);
    carry_until(&mut main, &mut backup, "the alarm", |_, backup| is_raised(backup, "plc-high"));
    let first = rows(&mut main);
    assert_eq!(told(&mut backup), ["plc-high unacknowledged"]);
    backup.become_active(epoch(1, 2));
    backup.publish(0, HIGH + 1);
    assert_eq!(rows(&mut backup)[0].id, first[0].id, "the same occurrence");
    let mut answer = order(&mut backup, "plc-high");
    backup.wait("the order is on disk", |_| answer.try_recv().is_ok_and(|answer| answer.unwrap().is_change));
    backup.publish(0, 5);
    assert_eq!(told(&mut backup), ["plc-high normal ann"]);
    backup.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut again = backup.restarted(&specs(role::WARM));
    again.become_active(epoch(1, 3));
    again.publish(0, 6);
    assert_eq!(told(&mut again), ["plc-high normal ann"]);
}

#[test]
fn a_delay_that_began_on_one_node_ends_on_the_other() {
    let (mut main, mut backup) = pair(&specs(role::HOT));
    main.publish(0, HIGH);
    let began = rows(&mut main)[0].id.clone().unwrap().onset;
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    assert!(!is_raised(&backup, "plc-late"), "its delay is not over");
    backup.become_active(epoch(1, 2));
    backup.wait("the delay is over", |bench| is_raised(bench, "plc-late"));
    let late = rows(&mut backup).into_iter().find(|row| &*row.rule == "plc-late").unwrap();
    assert_eq!(late.id.unwrap().onset, began, "it did not begin anew");
    assert_eq!(told(&mut backup).len(), 2);
}

#[test]
fn what_came_and_went_while_nobody_acted_is_there_once() {
    let (mut main, mut backup) = pair(&specs(role::HOT));
    main.publish(0, 5);
    backup.receive(0, 5);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    // The main is dead from here on; what the backup hears stays in its ring.
    backup.receive(0, HIGH);
    backup.receive(0, 6);
    backup.become_active(epoch(1, 2));
    assert_eq!(told(&mut backup), ["plc-high returned"]);
    let row = rows(&mut backup).remove(0);
    assert_eq!(row.occurrence.clear.as_ref().unwrap().value.as_ref(), "6");
    assert!(row.id.unwrap().onset < row.occurrence.clear.unwrap().at);
}

#[test]
fn a_copy_brings_the_book_and_a_standby_takes_no_orders() {
    let specs = specs(role::WARM);
    let mut main = Bench::new(0, &specs);
    main.become_active(epoch(0, 1));
    main.publish(0, HIGH);
    let mut backup = Bench::new(1, &specs);
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!(told(&mut backup), ["plc-high unacknowledged"]);
    let mut refused = order(&mut backup, "plc-high");
    assert!(matches!(refused.try_recv(), Ok(Err(CommandError::NotActive { .. }))));
    let mut unknown = order(&mut main, "nobody");
    assert!(matches!(unknown.try_recv(), Ok(Err(CommandError::UnknownAlarm { .. }))));
}

#[test]
fn an_acknowledgment_is_answered_when_the_standby_has_it_on_disk() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, HIGH);
    carry_until(&mut main, &mut backup, "the alarm", |main, backup| main.last() == backup.last());
    let mut answer = order(&mut main, "plc-high");
    assert!(answer.try_recv().is_err(), "nothing is on disk yet");
    let at = main.last();
    main.wait("an answer", |bench| {
        bench.engine.journal.durable() >= at && {
            carry(bench, &mut backup);
            answer.try_recv().is_ok()
        }
    });
    assert_eq!(told(&mut backup), ["plc-high acknowledged ann"]);
    let mut lost = order(&mut main, "plc-high");
    main.lose(epoch(0, 1));
    // Nothing waited for the disk: it had been acknowledged already.
    assert!(matches!(lost.try_recv(), Ok(Err(CommandError::NotActive { .. }) | Ok(_))));
}

/// What alarms told, in the order of the list that is the same everywhere.
fn words(bench: &Bench) -> Vec<String> {
    let filter = Filter { code: "TH-ALARM".into(), ..Filter::default() };
    let mut rows = bench.engine.shared.events.newest(None, 1000, &filter).rows;
    rows.reverse();
    rows.into_iter().map(|row| format!("{} {}", row.entry.event.code, row.entry.event.source)).collect()
}

#[test]
fn each_change_is_told_once_on_both_nodes_over_takeovers_and_restarts() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, HIGH);
    let mut answer = order(&mut main, "plc-high");
    carry_until(&mut main, &mut backup, "both words", |_, backup| words(backup).len() == 2);
    assert_eq!(words(&backup), ["TH-ALARM-101 plc/in", "TH-ALARM-103 plc/in"]);
    assert_eq!(words(&main), words(&backup));
    drop(answer.try_recv());
    backup.become_active(epoch(1, 2));
    backup.publish(0, HIGH + 1);
    backup.publish(0, 5);
    backup.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut again = backup.restarted(&specs(role::WARM));
    again.become_active(epoch(1, 3));
    again.publish(0, 6);
    assert_eq!(words(&again), ["TH-ALARM-101 plc/in", "TH-ALARM-103 plc/in", "TH-ALARM-102 plc/in"]);
}

/// Inputs run until the other node has the journal: what comes and goes until then is an alarm that nobody else would see.
#[test]
fn an_alarm_that_comes_and_goes_while_the_role_is_handed_over_is_raised_and_over() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.drain(epoch(0, 1), Some(backup.rank), Duration::from_secs(600));
    main.publish(0, HIGH);
    main.publish(0, 5);
    carry_until(&mut main, &mut backup, "drained", |main, _| {
        main.said.iter().any(|input| matches!(input, Input::Drained { .. }))
    });
    backup.become_active(epoch(1, 2));
    assert_eq!(told(&mut backup), ["plc-high returned"]);
    assert_eq!(words(&backup), ["TH-ALARM-101 plc/in", "TH-ALARM-102 plc/in"]);
}

#[test]
fn what_a_dead_node_did_not_come_to_tell_its_successor_tells_once() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, HIGH);
    let mut raised = rows(&mut main).remove(0);
    // As if it died between a change and the word of it.
    let id =
        OccurrenceId { onset: Timestamp(raised.id.take().unwrap().onset.0 + 1), rule: "plc-late".into() };
    let body = twinhub_alarms::encode(&[Change::Raised(id, raised.raise)]).remove(0);
    main.engine.append_part(Part::ALARMS, &body).expect("the journal takes it");
    carry_until(&mut main, &mut backup, "the change", |main, backup| main.last() == backup.last());
    assert_eq!(words(&backup), ["TH-ALARM-101 plc/in"]);
    backup.become_active(epoch(1, 2));
    let told = words(&backup);
    assert_eq!(told.iter().filter(|word| word.starts_with("TH-ALARM-101")).count(), 2, "{told:?}");
    backup.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut again = backup.restarted(&specs(role::WARM));
    again.become_active(epoch(1, 3));
    assert_eq!(words(&again), told, "and not again");
}

#[test]
fn what_a_dead_node_did_not_come_to_tell_of_shelves_and_joins_its_successor_tells_once() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, HIGH);
    let raised = rows(&mut main).remove(0);
    let first = raised.id.unwrap();
    let second = OccurrenceId { onset: Timestamp(first.onset.0 + 1), ..first.clone() };
    let raise = raised.raise;
    let stamp = Stamp { at: raise.at, epoch: epoch(0, 1) };
    let shelf = Shelf { until: Timestamp(i64::MAX), by: "ann".into(), comment: "".into() };
    let suppression = Suppression { by: "ann".into(), comment: "".into() };
    let rule = |name: &str| name.into();
    let changes = [
        Change::Raised(second.clone(), raise),
        Change::Shelved { rule: rule("plc-high"), stamp, shelf: Some(shelf) },
        Change::Shelved { rule: rule("plc-late"), stamp, shelf: None },
        Change::Suppressed { rule: rule("plc-high"), stamp, suppression: Some(suppression) },
        Change::Suppressed { rule: rule("plc-late"), stamp, suppression: None },
        Change::Joined(second, first),
    ];
    let body = twinhub_alarms::encode(&changes).remove(0);
    main.engine.append_part(Part::ALARMS, &body).expect("the journal takes it");
    carry_until(&mut main, &mut backup, "the changes", |main, backup| main.last() == backup.last());
    assert_eq!(words(&backup), ["TH-ALARM-101 plc/in"]);
    backup.become_active(epoch(1, 2));
    let told = words(&backup);
    let of = |number: u32| told.iter().filter(|word| word.contains(&format!("TH-ALARM-{number}"))).count();
    assert_eq!([104, 105, 106, 107, 108].map(of), [1; 5], "{told:?}");
    backup.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let mut again = backup.restarted(&specs(role::WARM));
    again.become_active(epoch(1, 3));
    assert_eq!(words(&again), told, "and not again");
}

/// What the lost side raised and an operator acknowledged there counts on all nodes; what does not hold any more ends.
#[test]
fn what_both_sides_of_a_split_raised_becomes_one_with_the_acknowledgment_of_either() {
    let (mut main, mut backup) = pair(&specs(role::WARM));
    main.publish(0, 5);
    carry_until(&mut main, &mut backup, "the value", |main, backup| main.last() == backup.last());
    main.publish(0, HIGH);
    main.wait("raised there", |bench| is_raised(bench, "plc-high") && is_raised(bench, "plc-late"));
    let mut answer = order(&mut main, "plc-high");
    main.wait("the order is on disk", |_| answer.try_recv().is_ok_and(|answer| answer.unwrap().is_change));
    main.lose(epoch(0, 1));
    backup.become_active(epoch(1, 2));
    backup.publish(0, HIGH);
    backup.wait("raised here", |bench| is_raised(bench, "plc-high"));
    backup.publish(0, HIGH + 1);
    follow(&mut backup, &mut main, epoch(1, 2));
    let is_known = |bench: &Bench, rule: &str| {
        let book = bench.engine.parts.get::<AlarmState>().unwrap().alarms().book();
        book.raised(rule).and_then(|id| book.get(&id).cloned())
    };
    carry_until(&mut backup, &mut main, "one on both", |backup, main| {
        let one = is_known(backup, "plc-high");
        one.as_ref().is_some_and(|known| known.acknowledgment.as_ref().is_some_and(|ack| &*ack.by == "ann"))
            && one == is_known(main, "plc-high")
    });
    backup.publish(0, 7);
    carry_until(&mut backup, &mut main, "all over", |backup, main| {
        ["plc-high", "plc-late"].iter().all(|rule| !is_raised(backup, rule) && !is_raised(main, rule))
    });
    assert_eq!(rows(&mut backup), rows(&mut main));
}
