//! Each rule is needed: without it, the model finds the way to break a promise.

use stateright::{Checker, HasDiscoveries, Model};
use twinhub_lease_model::{Flight, LEASE, NO_STALE_WRITE, ONE_HOLDER, Restart, Rules};

#[test]
fn without_margin_there_are_two_holders() {
    assert_breaks(Rules { hold: LEASE, ..Rules::PRODUCT }, ONE_HOLDER);
}

#[test]
fn a_voter_that_grants_at_once_after_its_restart_makes_two_holders() {
    assert_breaks(Rules { restart: Restart::GrantsAtOnce, ..Rules::PRODUCT }, ONE_HOLDER);
}

#[test]
fn a_voter_that_forgets_makes_two_holders() {
    assert_breaks(Rules { restart: Restart::Forgets, ..Rules::PRODUCT }, ONE_HOLDER);
}

#[test]
fn without_guard_an_old_write_arrives_after_a_new_one() {
    assert_breaks(Rules { guard: 0, ..Rules::PRODUCT }, NO_STALE_WRITE);
}

#[test]
fn a_guard_that_is_shorter_than_the_way_of_a_write_is_none() {
    assert_breaks(Rules { flight: Flight::AtMost(2), ..Rules::PRODUCT }, NO_STALE_WRITE);
}

#[test]
fn an_unbounded_pause_between_check_and_send_defeats_the_guard() {
    assert_breaks(Rules { flight: Flight::Unbounded, ..Rules::PRODUCT }, NO_STALE_WRITE);
}

#[test]
fn self_promotion_without_a_witness_makes_two_holders() {
    assert_breaks(Rules { witness: false, votes_needed: 1, ..Rules::PRODUCT }, ONE_HOLDER);
}

/// The shortest way to break `promise` must exist, and be longer than nothing.
fn assert_breaks(rules: Rules, promise: &'static str) {
    let checker = rules.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("{promise} was not broken by {rules:?}"));
    let steps = path.into_actions();
    assert!(steps.len() > 3, "a promise that breaks by itself says nothing about the rule: {steps:?}");
}
