//! Waiting over takeovers and restarts, and clocks that are set.

use super::*;

/// The time of day is this far ahead of where it was.
fn set(second: i64, ahead: i64) -> Now {
    Now { utc: time(second + ahead), ..at(second) }
}

#[test]
fn a_clock_that_is_set_ends_no_delay_and_begins_none_anew() {
    for ahead in [3600, -3600] {
        let mut alarms = node(rule(high(0.0), 60, 20));
        begin(&mut alarms, 0, 1);
        alarms.observe(&[sample(1, 95.0)], at(1));
        let none = |_| Timestamp::NONE;
        alarms.observe(&[sample(10 + ahead, 96.0)], set(10, ahead));
        alarms.tick(set(60, ahead), &none);
        assert_eq!(told(&alarms), [""; 0], "set by {ahead}: not yet");
        alarms.tick(set(61, ahead), &none);
        alarms.observe(&[sample(70 + ahead, 80.0)], set(70, ahead));
        // And back again while it is to be cleared.
        alarms.tick(set(80, 0), &none);
        assert!(told(&alarms)[0].ends_with("- unacknowledged"), "set by {ahead}: {:?}", told(&alarms));
        alarms.tick(set(90, 0), &none);
        assert_eq!(told(&alarms), [format!("{} {} 90 returned", 1 + ahead, 61 + ahead)]);
    }
}

#[test]
fn a_silence_is_over_when_something_is_heard_whatever_the_clock_says_by_then() {
    let mut alarms = node(rule(Condition::Stale(Duration::from_secs(60)), 0, 0));
    begin(&mut alarms, 0, 1);
    alarms.observe(&[sample(1, 20.0)], at(1));
    tick(&mut alarms, 61);
    assert_eq!(told(&alarms), ["61 61 - unacknowledged"]);
    alarms.tick(set(70, -3600), &|_| Timestamp::NONE);
    assert_eq!(told(&alarms), ["61 61 - unacknowledged"], "nothing was heard");
    for second in [80, 81] {
        alarms.tick(set(second, -3600), &|_| time(80 - 3600));
    }
    assert!(told(&alarms)[0].ends_with("returned"), "{:?}", told(&alarms));
}

/// How a rule that was raised before the clock was set ends, on a node that takes over after that: not before something
/// returns, and then at once.
fn ends_after_a_takeover(condition: &Condition, samples: [f64; 3], ahead: i64, has_copy: bool) {
    let what = format!("{} set by {ahead}, copy: {has_copy}", condition.kind());
    let (mut main, mut backup) = (node(rule(condition.clone(), 0, 0)), node(rule(condition.clone(), 0, 0)));
    let mut part = begin(&mut main, 0, 1);
    let none = |_| Timestamp::NONE;
    let [first, wrong, right] = samples;
    let early = [sample(1, first), sample(2, wrong)];
    for sample in early {
        part.extend(main.observe(std::slice::from_ref(&sample), at(2)));
        if !has_copy {
            backup.observe(&[sample], at(2));
        }
    }
    part.extend(part_of(&mut main, &[], 3..70));
    assert!(
        told(&main).len() == 1 && told(&main)[0].ends_with("unacknowledged"),
        "{what}: {:?}",
        told(&main)
    );
    part.extend(main.tick(set(70, ahead), &none));
    let copy = main.snapshot();
    for change in if has_copy { &copy } else { &part } {
        backup.apply(change);
    }
    for second in 80..90 {
        let now = set(second, ahead);
        if second == 80 {
            let known = condition.silence().is_none().then_some((Value::F64(wrong), Quality::GOOD));
            backup.begin(Epoch::new(2, NodeRank(1)), now, &|_| known.clone());
        }
        backup.tick(now, &none);
        assert_eq!(told(&backup), told(&main), "{what}: nothing was heard");
    }
    backup.observe(&[sample(90 + ahead, right)], set(90, ahead));
    for second in [91, 92] {
        backup.tick(set(second, ahead), &|_| time(90 + ahead));
    }
    let after = told(&backup);
    let end = format!(" {} returned", 90 + ahead);
    assert!(after.len() == 1 && after[0].ends_with(&end), "{what}: {after:?}");
}

#[test]
fn an_alarm_that_outlives_a_set_clock_and_a_takeover_ends_when_its_cause_does() {
    let span = Duration::from_secs(60);
    for ahead in [3600, -3600] {
        for has_copy in [false, true] {
            ends_after_a_takeover(&Condition::Stale(span), [20.0, 20.0, 20.0], ahead, has_copy);
            ends_after_a_takeover(&Condition::Unchanged(span), [20.0, 20.0, 21.0], ahead, has_copy);
            ends_after_a_takeover(&high(0.0), [20.0, 95.0, 20.0], ahead, has_copy);
        }
    }
}

/// What goes into the journal as records of the part, while samples come and time passes.
fn part_of(alarms: &mut Alarms, samples: &[Sample], seconds: std::ops::Range<i64>) -> Vec<Change> {
    let mut changes = Vec::new();
    for second in seconds {
        let due = samples.iter().filter(|sample| sample.source == time(second));
        changes.extend(alarms.observe(&due.cloned().collect::<Vec<_>>(), at(second)));
        changes.extend(tick(alarms, second));
    }
    changes
}

#[test]
fn a_long_delay_outlives_the_samples_that_it_follows_from() {
    let mut main = node(rule(high(0.0), 3600, 0));
    let mut part = begin(&mut main, 0, 1);
    part.extend(part_of(&mut main, &[sample(1, 95.0)], 1..200));
    assert_eq!(part.iter().filter(|change| matches!(change, Change::Watched(_))).count(), 1, "once");
    // Both nodes restart; the journal has forgotten the sample.
    let mut again = node(rule(high(0.0), 3600, 0));
    for change in &part {
        again.apply(change);
    }
    begin(&mut again, 300, 2);
    assert_eq!(again.observe(&[sample(301, 96.0)], at(301)), []);
    tick(&mut again, 3600);
    assert_eq!(told(&again), [""; 0]);
    tick(&mut again, 3601);
    assert_eq!(told(&again), ["1 3601 - unacknowledged"], "an hour after the value came");
}

#[test]
fn a_silence_goes_on_over_a_takeover_if_the_successor_hears_some_of_it() {
    let silent = || node(rule(Condition::Stale(Duration::from_secs(600)), 0, 0));
    let (mut main, mut backup) = (silent(), silent());
    let mut part = begin(&mut main, 0, 1);
    backup.observe(&[sample(5, 20.0)], at(5));
    part.extend(part_of(&mut main, &[sample(5, 20.0)], 1..200));
    for change in &part {
        backup.apply(change);
    }
    begin(&mut backup, 210, 2);
    tick(&mut backup, 604);
    assert_eq!(told(&backup), [""; 0]);
    tick(&mut backup, 605);
    assert_eq!(told(&backup), ["605 605 - unacknowledged"]);

    // One that comes so late hears a quarter of it itself; one that nobody told begins anew.
    let mut late = silent();
    late.observe(&[sample(5, 20.0)], at(5));
    for change in &part {
        late.apply(change);
    }
    begin(&mut late, 1000, 3);
    tick(&mut late, 1149);
    assert_eq!(told(&late), [""; 0]);
    tick(&mut late, 1150);
    assert_eq!(told(&late), ["605 1150 - unacknowledged"]);
    let mut alone = silent();
    alone.observe(&[sample(5, 20.0)], at(5));
    begin(&mut alone, 210, 2);
    tick(&mut alone, 809);
    assert_eq!(told(&alone), [""; 0]);
    tick(&mut alone, 810);
    assert_eq!(told(&alone), ["810 810 - unacknowledged"]);
}

#[test]
fn who_is_heard_again_and_again_is_not_waited_for_in_the_part() {
    let mut main = node(rule(Condition::Stale(Duration::from_secs(600)), 0, 0));
    begin(&mut main, 0, 1);
    let mut part = Vec::new();
    for second in 1..2000 {
        part.extend(main.tick(at(second), &|_| time(second - second % 60)));
    }
    assert_eq!(part, []);
}
