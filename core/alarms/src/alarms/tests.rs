use proptest::prelude::*;
use twinhub_model::{ItemKey, NodeRank};

use super::*;
use crate::occurrence::State;
use crate::rule::Side;

mod waiting;

const ITEM: ItemId = ItemId(3);
const START_S: i64 = 1_000;

fn rule(condition: Condition, delay_on_s: u64, delay_off_s: u64) -> Rule {
    Rule {
        id: "boiler".into(),
        item: ItemKey::parse("plc1/boiler").unwrap(),
        condition,
        delay_on: Duration::from_secs(delay_on_s),
        delay_off: Duration::from_secs(delay_off_s),
        priority: 700,
        text: "".into(),
        area: "cellar".into(),
        latching: false,
        needs_ack: true,
    }
}

fn high(deadband: f64) -> Condition {
    Condition::Limit { side: Side::High, limit: 90.0, deadband }
}

fn node(rule: Rule) -> Alarms {
    Alarms::new([(rule, Some(ITEM))], 1000)
}

fn at(second: i64) -> Now {
    Now { moment: Moment::from_millis(second.cast_unsigned() * 1000), utc: time(second) }
}

fn time(second: i64) -> Timestamp {
    Timestamp((START_S + second) * 1_000_000_000)
}

fn sample(second: i64, value: f64) -> Sample {
    Sample {
        item: ITEM,
        value: Value::F64(value),
        quality: Quality::GOOD,
        source: time(second),
        server: time(second),
        flags: SampleFlags::default(),
    }
}

fn bad(second: i64) -> Sample {
    Sample { quality: Quality::BAD_NOT_CONNECTED, ..sample(second, 0.0) }
}

fn begin(alarms: &mut Alarms, second: i64, counter: u64) -> Vec<Change> {
    alarms.begin(Epoch::new(counter, NodeRank(0)), at(second), &|_| None)
}

fn tick(alarms: &mut Alarms, second: i64) -> Vec<Change> {
    alarms.tick(at(second), &|_| Timestamp::NONE)
}

/// The book in few words: `onset raised cleared state`, in seconds.
fn told(alarms: &Alarms) -> Vec<String> {
    let second = |time: Timestamp| time.0 / 1_000_000_000 - START_S;
    let occurrences = alarms.book().occurrences();
    occurrences
        .map(|(id, known)| {
            let raised = known.raise.as_ref().map_or(-1, |raise| second(raise.at));
            let cleared = known.clear.as_ref().map_or("-".to_owned(), |clear| second(clear.at).to_string());
            format!("{} {raised} {cleared} {}", second(id.onset), known.state().word())
        })
        .collect()
}

#[test]
fn a_delay_must_be_over_before_an_alarm_is_raised_and_before_it_is_cleared() {
    let mut alarms = node(rule(high(5.0), 10, 5));
    begin(&mut alarms, 0, 1);
    for (second, value) in [(1, 95.0), (4, 85.0), (5, 91.0), (9, 99.0)] {
        assert_eq!(alarms.observe(&[sample(second, value)], at(second)), []);
    }
    assert_eq!(tick(&mut alarms, 14), []);
    assert_eq!(alarms.due(), Some(at(15).moment));
    assert_eq!(tick(&mut alarms, 15).len(), 1);
    alarms.observe(&[sample(20, 86.0)], at(20));
    assert_eq!(alarms.due(), None, "within the deadband");
    alarms.observe(&[sample(21, 85.0)], at(21));
    assert_eq!(tick(&mut alarms, 30).len(), 1);
    assert_eq!(told(&alarms), ["5 15 26 returned"], "dated as they were due, not as they were noticed");
}

#[test]
fn what_came_and_went_unseen_is_there_with_its_own_times() {
    let mut alarms = node(rule(high(0.0), 2, 0));
    begin(&mut alarms, 60, 1);
    let replayed = [sample(10, 95.0), sample(11, 80.0), sample(20, 95.0), sample(30, 80.0)]
        .map(|sample| Sample { flags: SampleFlags::REPLAY, server: time(60), ..sample });
    alarms.observe(&replayed, at(60));
    assert_eq!(told(&alarms), ["20 22 30 returned"]);
}

#[test]
fn a_delay_that_runs_at_a_takeover_goes_on() {
    let mut main = node(rule(high(0.0), 10, 0));
    let mut backup = main.clone();
    for change in begin(&mut main, 0, 1) {
        backup.apply(&change);
    }
    for alarms in [&mut main, &mut backup] {
        assert_eq!(alarms.observe(&[sample(1, 95.0)], at(1)), []);
    }
    // The main dies at second 4; the backup acts from second 6 on, and reads the device at second 7.
    begin(&mut backup, 6, 2);
    assert_eq!(backup.due(), None, "nothing valid is known");
    assert_eq!(backup.observe(&[sample(7, 95.0)], at(7)), []);
    assert_eq!(backup.due(), Some(at(11).moment));
    tick(&mut backup, 11);
    assert_eq!(told(&backup), ["1 11 - unacknowledged"]);
}

#[test]
fn what_is_not_read_yet_is_neither_raised_nor_cleared() {
    let mut alarms = node(rule(high(0.0), 2, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 95.0)], at(1));
    alarms.end();
    begin(&mut alarms, 10, 2);
    assert_eq!(tick(&mut alarms, 20), []);
    assert_eq!(alarms.observe(&[sample(21, 80.0)], at(21)), [], "nobody saw that it lasted");
    alarms.observe(&[sample(22, 95.0)], at(22));
    alarms.observe(&[bad(23)], at(23));
    assert_eq!(tick(&mut alarms, 30), [], "a bad value says nothing");
    alarms.observe(&[sample(31, 96.0)], at(31));
    assert_eq!(told(&alarms), ["22 24 - unacknowledged"]);
    alarms.observe(&[bad(32)], at(32));
    assert_eq!(tick(&mut alarms, 90), []);
    assert_eq!(told(&alarms), ["22 24 - unacknowledged"]);
}

#[test]
fn an_alarm_of_quality_comes_with_the_bad_value_and_goes_with_the_good_one() {
    let mut alarms = node(rule(Condition::BadQuality, 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 5.0), bad(2), bad(3), sample(4, 5.0)], at(4));
    assert_eq!(told(&alarms), ["2 2 4 returned"]);
}

#[test]
fn an_item_that_is_not_received_any_more_is_stale_until_it_is() {
    let mut alarms = node(rule(Condition::Stale(Duration::from_secs(10)), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 5.0)], at(1));
    // Received, and the same: no sample says so.
    assert_eq!(alarms.tick(at(11), &|_| time(9)), []);
    assert_eq!(alarms.due(), Some(at(19).moment));
    assert_eq!(alarms.tick(at(19), &|_| time(9)).len(), 1);
    assert_eq!(alarms.tick(at(25), &|_| time(9)), []);
    alarms.tick(at(26), &|_| time(26));
    alarms.tick(at(27), &|_| time(26));
    assert_eq!(told(&alarms), ["19 19 26 returned"]);
}

#[test]
fn an_item_that_stays_the_same_is_told_from_one_that_changes() {
    let mut alarms = node(rule(Condition::Unchanged(Duration::from_secs(10)), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 5.0), sample(6, 5.0), sample(8, 6.0)], at(8));
    assert_eq!(tick(&mut alarms, 17), []);
    tick(&mut alarms, 18);
    alarms.observe(&[sample(20, 6.0)], at(20));
    alarms.observe(&[sample(21, 7.0)], at(21));
    assert_eq!(told(&alarms), ["18 18 21 returned"]);
}

#[test]
fn a_latching_alarm_stays_until_somebody_took_note() {
    let mut alarms = node(Rule { latching: true, ..rule(high(0.0), 0, 0) });
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 95.0), sample(2, 80.0)], at(2));
    assert_eq!(told(&alarms), ["1 1 - unacknowledged"]);
    let order = Order::Acknowledge { target: Target::Rule("boiler".into()), comment: "seen".into() };
    let answer = alarms.order(&order, "ann", at(9), &mut Vec::new()).unwrap();
    assert_eq!(answer.acknowledged.len(), 1);
    assert_eq!(told(&alarms), ["1 1 9 normal"]);
    assert!(!alarms.order(&order, "ann", at(9), &mut Vec::new()).unwrap().is_change);
}

#[test]
fn a_shelf_empties_itself_and_a_suppression_does_not() {
    let mut alarms = node(rule(high(0.0), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 95.0)], at(1));
    let mut out = Vec::new();
    let span = Duration::from_secs(60);
    let shelve = Order::Shelve { rule: "boiler".into(), span, comment: "service".into() };
    alarms.order(&shelve, "ann", at(2), &mut out).unwrap();
    assert_eq!((alarms.book().counts().active, alarms.book().counts().shelved), (0, 1));
    assert_eq!(tick(&mut alarms, 61), []);
    assert_eq!(tick(&mut alarms, 62).len(), 1);
    assert_eq!((alarms.book().counts().active, alarms.book().counts().shelved), (1, 0));
    let suppress = Order::Suppress { rule: "boiler".into(), comment: "rebuilt".into() };
    alarms.order(&suppress, "ann", at(70), &mut out).unwrap();
    tick(&mut alarms, 700_000);
    assert_eq!((alarms.book().counts().active, alarms.book().counts().suppressed), (0, 1));
    assert!(
        alarms
            .order(&Order::Unsuppress { rule: "boiler".into() }, "ann", at(71), &mut out)
            .unwrap()
            .is_change
    );
    assert_eq!(alarms.book().counts().active, 1);
}

#[test]
fn an_order_that_names_nothing_known_is_refused() {
    let mut alarms = node(rule(high(0.0), 0, 0));
    let order = |alarms: &mut Alarms, order: Order| alarms.order(&order, "ann", at(1), &mut Vec::new());
    let unshelve = |rule: &str| Order::Unshelve { rule: rule.into() };
    assert_eq!(order(&mut alarms, unshelve("boiler")), Err(OrderError::NotActing));
    begin(&mut alarms, 0, 1);
    assert_eq!(order(&mut alarms, unshelve("boiler")), Ok(Answer::default()));
    assert!(matches!(order(&mut alarms, unshelve("nobody")), Err(OrderError::UnknownRule { .. })));
    let ack = |target| Order::Acknowledge { target, comment: String::new() };
    let unknown = order(&mut alarms, ack(Target::parse("boiler@7")));
    assert!(matches!(unknown, Err(OrderError::UnknownOccurrence { .. })));
    for seconds in [0, SHELVE_MAX.as_secs() + 1] {
        let span = Duration::from_secs(seconds);
        let shelve = Order::Shelve { rule: "boiler".into(), span, comment: String::new() };
        assert_eq!(order(&mut alarms, shelve), Err(OrderError::Span { span }));
    }
}

#[test]
fn a_rule_that_was_removed_ends_its_alarms_and_a_changed_one_starts_anew() {
    let mut alarms = node(rule(high(0.0), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 95.0)], at(1));
    let mut other = node(Rule { id: "other".into(), ..rule(high(0.0), 0, 0) });
    let mut lower = node(rule(Condition::Limit { side: Side::High, limit: 50.0, deadband: 0.0 }, 100, 0));
    for alarms in [&mut other, &mut lower] {
        alarms.observe(&[sample(1, 60.0)], at(1));
    }
    for change in alarms.snapshot() {
        other.apply(&change);
    }
    begin(&mut other, 50, 2);
    assert_eq!(told(&other), ["1 1 50 returned"]);
    begin(&mut lower, 50, 2);
    lower.observe(&[sample(51, 60.0)], at(51));
    tick(&mut lower, 151);
    assert_eq!(told(&lower), ["51 151 - unacknowledged"], "not since the time under the old rule");
}

/// One limit was changed while the node acts: what other rules wait for goes on.
#[test]
fn a_rule_that_stays_as_it_is_goes_on_waiting_when_others_change() {
    let slow = || rule(high(0.0), 10, 0);
    let silent = || Rule { id: "silent".into(), ..rule(Condition::Stale(Duration::from_secs(20)), 0, 0) };
    let other = |limit| Rule {
        id: "other".into(),
        ..rule(Condition::Limit { side: Side::High, limit, deadband: 0.0 }, 10, 0)
    };
    let rules = |limit| [slow(), silent(), other(limit)].map(|rule| (rule, Some(ITEM)));
    let mut main = Alarms::new(rules(80.0), 1000);
    let mut backup = main.clone();
    for change in begin(&mut main, 0, 1) {
        backup.apply(&change);
    }
    for alarms in [&mut main, &mut backup] {
        assert_eq!(alarms.observe(&[sample(1, 95.0)], at(1)), []);
    }
    let mut lower = Alarms::new(rules(70.0), 1000);
    lower.go_on_from(&main);
    let changes = begin(&mut lower, 6, 1);
    for change in &changes {
        backup.apply(change);
    }
    lower.observe(&[sample(7, 96.0)], at(7));
    tick(&mut lower, 11);
    tick(&mut lower, 17);
    tick(&mut lower, 27);
    assert_eq!(
        told(&lower),
        ["1 11 - unacknowledged", "7 17 - unacknowledged", "27 27 - unacknowledged"],
        "the first since second 1, the changed one since second 7, silence since second 7"
    );
    // A standby that has the new rules in force later than the active node goes on as well.
    let mut late = Alarms::new(rules(70.0), 1000);
    late.go_on_from(&backup);
    begin(&mut late, 8, 2);
    late.observe(&[sample(8, 95.0)], at(8));
    tick(&mut late, 11);
    assert_eq!(told(&late), ["1 11 - unacknowledged"]);
}

#[test]
fn an_alarm_that_flaps_keeps_only_so_many_waiting() {
    let mut alarms = node(rule(high(0.0), 0, 0));
    begin(&mut alarms, 0, 1);
    for second in 0..40 {
        alarms.observe(&[sample(2 * second, 95.0), sample(2 * second + 1, 80.0)], at(2 * second + 1));
    }
    let book = alarms.book();
    assert_eq!(book.counts().unacknowledged, OPEN_PER_RULE_MAX);
    assert_eq!(book.occurrences().len(), 40);
    let first = book.occurrences().next().unwrap().1;
    assert_eq!(&*first.acknowledgment.as_ref().unwrap().by, "twinhub");
}

#[test]
fn two_rises_within_one_tick_of_a_coarse_clock_are_two() {
    let mut alarms = node(rule(high(0.0), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 95.0), sample(1, 80.0), sample(1, 95.0)], at(1));
    assert_eq!(told(&alarms), ["1 1 1 returned", "1 1 - unacknowledged"]);
    assert_eq!(alarms.book().raised("boiler").unwrap().onset.0, time(1).0 + 1);
    // Each ends, too, before the next one begins.
    alarms.observe(&[sample(1, 80.0), sample(1, 95.0), sample(1, 80.0)], at(1));
    assert_eq!(told(&alarms), ["1 1 1 returned"; 3]);
}

/// What happens to a pair whose journal both nodes have: samples, and every change of the one that acts.
#[derive(Debug, Clone)]
enum Deed {
    Hear { value: f64, gap_ms: i64 },
    Tick { gap_ms: i64 },
    TakeOver,
    Acknowledge,
    Copy,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (prop_oneof![Just(80.0), Just(88.0), Just(95.0)], 0..3_000_i64)
            .prop_map(|(value, gap_ms)| Deed::Hear { value, gap_ms }),
        3 => (0..3_000_i64).prop_map(|gap_ms| Deed::Tick { gap_ms }),
        2 => Just(Deed::TakeOver),
        1 => Just(Deed::Acknowledge),
        1 => Just(Deed::Copy),
    ]
}

fn now_ms(ms: i64) -> Now {
    let ms_since = START_S * 1_000 + ms;
    Now { moment: Moment::from_millis(ms.cast_unsigned()), utc: Timestamp(ms_since * 1_000_000) }
}

/// Plays the deeds on a pair whose items are always valid; without takeovers if those are left out.
fn play(deeds: &[Deed], with_takeovers: bool, latching: bool) -> (Vec<Alarms>, i64) {
    let rule = Rule { latching, ..rule(high(5.0), 2, 1) };
    let mut nodes = vec![node(rule.clone()), node(rule.clone())];
    let (mut active, mut counter, mut ms) = (0, 1, 0);
    let mut last = 80.0;
    let mut journal = nodes[0].begin(Epoch(1), now_ms(0), &|_| Some((Value::F64(80.0), Quality::GOOD)));
    for change in journal.drain(..) {
        nodes[1].apply(&change);
    }
    for deed in deeds {
        let changes = match deed {
            Deed::Hear { value, gap_ms } => {
                ms += gap_ms;
                last = *value;
                let source = now_ms(ms).utc;
                let heard = [Sample { source, server: source, ..sample(0, *value) }];
                nodes[1 - active].observe(&heard, now_ms(ms));
                nodes[active].observe(&heard, now_ms(ms))
            }
            Deed::Tick { gap_ms } => {
                ms += gap_ms;
                nodes[active].tick(now_ms(ms), &|_| Timestamp::NONE)
            }
            Deed::TakeOver if with_takeovers => {
                nodes[active].end();
                active = 1 - active;
                counter += 1;
                nodes[active].begin(Epoch(counter), now_ms(ms), &|_| Some((Value::F64(last), Quality::GOOD)))
            }
            Deed::Acknowledge => {
                // What is due by now is done first, as the engine does it.
                let mut changes = nodes[active].tick(now_ms(ms), &|_| Timestamp::NONE);
                let order = Order::Acknowledge { target: Target::All, comment: String::new() };
                nodes[active].order(&order, "ann", now_ms(ms), &mut changes).unwrap();
                changes
            }
            Deed::Copy if with_takeovers => {
                let copy = nodes[active].snapshot();
                let mut fresh = node(rule.clone());
                for body in crate::encode(&copy) {
                    let (changes, unknown) = crate::decode(&body).unwrap();
                    assert_eq!(unknown, 0);
                    fold(&mut fresh, &changes);
                }
                nodes[1 - active] = fresh;
                Vec::new()
            }
            Deed::TakeOver | Deed::Copy => Vec::new(),
        };
        for change in &changes {
            nodes[1 - active].apply(change);
        }
    }
    ms += 10_000;
    let changes = nodes[active].tick(now_ms(ms), &|_| Timestamp::NONE);
    for change in &changes {
        nodes[1 - active].apply(change);
    }
    (nodes, ms)
}

fn fold(alarms: &mut Alarms, changes: &[Change]) {
    for change in changes {
        alarms.apply(change);
    }
}

/// The book without whose epoch evaluated.
fn without_epochs(alarms: &Alarms) -> Vec<Change> {
    let mut changes = alarms.book().changes();
    for change in &mut changes {
        if let Change::Raised(_, raise) = change {
            raise.epoch = Epoch::NONE;
        }
    }
    changes
}

proptest! {
    /// The idea of this crate: takeovers and full copies at any point leave the very book that one node, which
    /// never stopped, would have written.
    #[test]
    fn takeovers_and_copies_at_any_point_change_nothing(
        deeds in proptest::collection::vec(any_deed(), 0..60),
        latching in any::<bool>(),
    ) {
        let (pair, _) = play(&deeds, true, latching);
        let (alone, _) = play(&deeds, false, latching);
        prop_assert_eq!(without_epochs(&pair[0]), without_epochs(&alone[0]));
        prop_assert_eq!(pair[0].book(), pair[1].book());
        let open = pair[0].book().occurrences().filter(|(_, known)| known.is_active()).count();
        prop_assert!(open <= 1, "raised twice: {:?}", told(&pair[0]));
        for (_, known) in pair[0].book().occurrences() {
            prop_assert!(known.state() != State::Normal || known.acknowledgment.is_some());
        }
    }

    #[test]
    fn bytes_that_are_no_changes_are_refused_and_harm_nothing(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Ok((changes, _)) = crate::decode(&bytes) {
            let mut alarms = node(rule(high(0.0), 0, 0));
            fold(&mut alarms, &changes);
            alarms.begin(Epoch(1), at(1), &|_| None);
        }
    }

    /// A copy of the book with some bytes changed, cut or doubled.
    #[test]
    fn damaged_changes_are_refused_or_harm_nothing(
        deeds in proptest::collection::vec(any_deed(), 0..20),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        end in any::<proptest::sample::Index>(),
    ) {
        let (pair, ms) = play(&deeds, false, false);
        let mut body = crate::encode(&pair[0].snapshot()).remove(0);
        for (place, byte) in damage {
            let length = body.len();
            body[place.index(length)] = byte;
        }
        let whole = body.len();
        if let Ok((changes, _)) = crate::decode(&body) {
            let mut alarms = node(rule(high(0.0), 1, 1));
            fold(&mut alarms, &changes);
            alarms.begin(Epoch(9), now_ms(ms), &|_| Some((Value::F64(95.0), Quality::GOOD)));
            alarms.observe(&[sample(1, 80.0), sample(2, 95.0)], now_ms(ms));
            alarms.tick(now_ms(ms + 10_000), &|_| Timestamp(i64::MAX));
            alarms.reconcile(now_ms(ms + 10_000));
        }
        let cut = end.index(whole);
        prop_assert!(crate::decode(&crate::encode(&pair[0].snapshot())[0][..cut]).is_err());
    }
}

#[test]
fn a_kind_of_a_newer_version_is_left_out() {
    let mut body = vec![0x82, 0x82, 0x18, 99, 0x42, 1, 2];
    let known = crate::encode(&[Change::Rules { hash: 7 }]).remove(0);
    body.extend_from_slice(&known[1..]);
    assert_eq!(crate::decode(&body), Ok((vec![Change::Rules { hash: 7 }], 1)));
}

#[test]
fn many_changes_are_written_in_pieces_that_a_journal_record_takes() {
    let text: Arc<str> = "x".repeat(400).into();
    let changes: Vec<Change> = (0..2_000)
        .map(|onset| {
            let id = OccurrenceId { onset: Timestamp(onset), rule: "a".into() };
            Change::Cleared(
                id,
                Clear { at: Timestamp(1), value: Arc::clone(&text), cause: Arc::clone(&text) },
            )
        })
        .collect();
    let bodies = crate::encode(&changes);
    assert!(bodies.len() > 5 && bodies.iter().all(|body| body.len() < 2 * crate::BODY_BYTES_WANTED));
    let back: Vec<Change> = bodies.iter().flat_map(|body| crate::decode(body).unwrap().0).collect();
    assert_eq!(back, changes);
}
