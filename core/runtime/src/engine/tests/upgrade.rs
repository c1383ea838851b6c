//! Another version of a plugin, on one node.

use std::time::{Duration, Instant};

use super::bench::{Bench, Spec, epoch};
use crate::engine::upgrade::{UpgradeOrder, UpgradeWhat};
use crate::inbox::Job;

const TRIAL: Duration = Duration::from_secs(3600);

/// An order, and its operation.
fn order(bench: &mut Bench, what: UpgradeWhat) -> u64 {
    let group = bench.engine.group.clone();
    let operation = bench.engine.shared.begin_operation("upgrade".to_owned(), &[group]);
    bench.job(Job::Upgrade(Box::new(UpgradeOrder { plugin: "recorder".to_owned(), operation, what })));
    operation
}

/// Another version of both interfaces, with more of a configuration each.
fn change(bench: &Bench, configs: [&str; 2], trial: Duration) -> UpgradeWhat {
    let hosted = ["one", "two"].into_iter().zip(configs);
    let hosted = hosted.map(|(id, more)| (id.to_owned(), bench.hosted(&format!(",\"as\":\"{id}'\"{more}"))));
    UpgradeWhat::Change { hosted: hosted.collect(), trial, records: bench.versions() }
}

/// Waits for a call of an instance.
fn call(bench: &mut Bench, call: &str) {
    bench.wait(call, |bench| bench.calls().iter().any(|other| other == call));
}

fn wait_for(bench: &mut Bench, operation: u64) -> (String, String) {
    bench.wait("the operation ends", |bench| bench.operation(operation).0 != "running");
    bench.operation(operation)
}

fn active() -> Bench {
    let mut bench = Bench::new(0, &[Spec::new("one"), Spec::new("two")]);
    bench.become_active(epoch(0, 1));
    bench.forget_calls();
    bench
}

/// The roles that instances were given, in order.
fn roles(bench: &Bench) -> Vec<String> {
    let is_role = |call: &String| !call.contains("write");
    bench.calls().into_iter().filter(is_role).collect()
}

fn write(bench: &mut Bench, value: i64) {
    bench.publish(0, value);
    bench.publish(2, value);
}

#[test]
fn one_interface_after_the_other_changes_and_no_two_versions_hold_a_link() {
    let mut bench = active();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    let (state, text) = wait_for(&mut bench, operation);
    assert_eq!(state, "done", "{text}");
    assert_eq!(roles(&bench), ["one cold", "one' active", "two cold", "two' active"]);
    write(&mut bench, 7);
    call(&mut bench, "one' write 1=7");
    call(&mut bench, "two' write 1=7");
    assert!(!bench.calls().contains(&"one write 1=7".to_owned()), "only the one in charge");
    assert_eq!(bench.engine.upgrades_on_trial(), 1);
}

#[test]
fn commands_wait_for_the_change_and_none_is_lost_or_doubled() {
    let mut bench = active();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    let mut value = 0;
    bench.wait("the operation ends", |bench| {
        value += 1;
        bench.publish(0, value);
        bench.operation(operation).0 != "running"
    });
    bench.publish(0, value + 1);
    call(&mut bench, &format!("one' write 1={}", value + 1));
    let mut seen: Vec<i64> = Vec::new();
    for call in bench.calls() {
        if let Some((_, number)) = call.split_once("write 1=") {
            seen.push(number.parse().unwrap());
        }
    }
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(seen, once, "a command twice");
    assert!(seen.is_sorted(), "{seen:?}");
}

/// As after a run that was out of time.
#[test]
fn an_instance_that_is_ready_too_late_does_not_pass_for_the_next_one() {
    let bench = active();
    for (name, is_late) in [("late", true), ("next", false)] {
        let hosted = bench.hosted(&format!(",\"as\":\"{name}\",\"says\":\"7\",\"tells\":true"));
        bench.engine.interfaces[0].prepare(hosted);
        if is_late {
            bench.engine.interfaces[0].discard();
        }
    }
    // The engine does not hear of it here: it would end what no run of its own wants.
    let (mut prepared, begun) = (0, Instant::now());
    let is_made = |bench: &Bench, name: &str| bench.calls().iter().any(|call| call.starts_with(name));
    while prepared == 0 || !is_made(&bench, "late gone") || !is_made(&bench, "next ") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{prepared}, {:?}", bench.calls());
        let mut jobs = Vec::new();
        bench.inbox.take(&mut jobs, Duration::from_millis(1), Duration::ZERO);
        prepared += jobs.iter().filter(|job| matches!(job, Job::Prepared { .. })).count();
    }
    assert_eq!(prepared, 1);
}

#[test]
fn a_version_that_cannot_start_changes_nothing() {
    let mut bench = active();
    // The second interface has a configuration that makes its instance refuse to become active.
    let what = change(&bench, ["", ",\"refuses\":3"], TRIAL);
    let operation = order(&mut bench, what);
    let (state, text) = wait_for(&mut bench, operation);
    assert_eq!(state, "failed");
    assert!(text.contains("interface `two`") && text.contains("what ran runs on"), "{text}");
    assert_eq!(
        roles(&bench),
        [
            "one cold",
            "one' active",
            "two cold",
            "two' active",
            "two' cold",
            "two active",
            "one' cold",
            "one active"
        ]
    );
    write(&mut bench, 7);
    call(&mut bench, "one write 1=7");
    call(&mut bench, "two write 1=7");
    assert_eq!(bench.engine.upgrades_on_trial(), 0);
    assert!(bench.events().iter().any(|text| text.contains("was not upgraded")), "{:?}", bench.events());
}

#[test]
fn a_version_that_does_not_let_go_stays() {
    let one = Spec { config: ",\"refuses\":0", ..Spec::new("one") };
    let mut bench = Bench::new(0, &[one, Spec::new("two")]);
    bench.become_active(epoch(0, 1));
    bench.forget_calls();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    let (state, text) = wait_for(&mut bench, operation);
    assert!(state == "failed" && text.contains("does not let go"), "{state}: {text}");
    assert_eq!(roles(&bench), ["one cold", "one active"]);
}

#[test]
fn an_operator_takes_it_back_or_keeps_it() {
    let mut bench = active();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    wait_for(&mut bench, operation);
    bench.forget_calls();
    let operation = order(&mut bench, UpgradeWhat::Back);
    assert_eq!(wait_for(&mut bench, operation).0, "done");
    assert_eq!(roles(&bench), ["one' cold", "one active", "two' cold", "two active"]);
    let operation = order(&mut bench, UpgradeWhat::Keep);
    assert_eq!(wait_for(&mut bench, operation).0, "failed", "nothing is on trial");
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    assert_eq!(wait_for(&mut bench, operation).0, "done");
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    let (state, text) = wait_for(&mut bench, operation);
    assert!(state == "failed" && text.contains("on trial"), "{text}");
    let operation = order(&mut bench, UpgradeWhat::Keep);
    assert_eq!(wait_for(&mut bench, operation).0, "done");
    let operation = order(&mut bench, UpgradeWhat::Back);
    assert_eq!(wait_for(&mut bench, operation).0, "failed", "it is kept");
}

#[test]
fn a_trial_ends_by_itself() {
    let mut bench = active();
    let what = change(&bench, ["", ""], Duration::from_millis(1));
    let operation = order(&mut bench, what);
    wait_for(&mut bench, operation);
    bench.wait("it is kept", |bench| bench.engine.upgrades_on_trial() == 0);
    assert!(bench.events().iter().any(|text| text.contains("is kept")), "{:?}", bench.events());
}

#[test]
fn a_fault_within_the_trial_brings_the_version_before_back_everywhere() {
    let mut bench = active();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    wait_for(&mut bench, operation);
    bench.forget_calls();
    bench.fault(1, "made up");
    bench.wait("all are back", |bench| {
        bench.events().iter().any(|text| text.contains("was taken back: it faulted at interface `two`"))
    });
    call(&mut bench, "two active");
    call(&mut bench, "one active");
    write(&mut bench, 8);
    call(&mut bench, "one write 1=8");
    call(&mut bench, "two write 1=8");
    assert_eq!(bench.engine.upgrades_on_trial(), 0);
}

#[test]
fn a_version_that_faults_when_it_becomes_active_is_taken_back() {
    let mut bench = active();
    let what = change(&bench, [",\"faults\":true", ""], TRIAL);
    let operation = order(&mut bench, what);
    bench.wait("the one before acts", |bench| {
        roles(bench).iter().filter(|role| *role == "one active").count() > 0
    });
    bench.wait("the operation ends", |bench| bench.operation(operation).0 != "running");
    bench.wait("all are back", |bench| bench.engine.upgrades_on_trial() == 0);
    write(&mut bench, 9);
    call(&mut bench, "one write 1=9");
    call(&mut bench, "two write 1=9");
}

#[test]
fn a_standby_changes_too_and_a_role_that_comes_finds_the_new_version() {
    let mut bench = Bench::new(0, &[Spec::new("one"), Spec::new("two")]);
    bench.wait("it is loaded", |bench| bench.said.contains(&twinhub_redundancy::Input::Loaded));
    bench.forget_calls();
    let what = change(&bench, ["", ""], TRIAL);
    let operation = order(&mut bench, what);
    assert_eq!(wait_for(&mut bench, operation).0, "done");
    // What was ordered when they were loaded may stand before it.
    let roles = roles(&bench);
    assert!(
        roles.ends_with(&["one cold", "one' warm", "two cold", "two' warm"].map(str::to_owned)),
        "{roles:?}"
    );
    bench.become_active(epoch(0, 1));
    call(&mut bench, "one' active");
    call(&mut bench, "two' active");
}
