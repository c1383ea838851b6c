//! The rules of the product, every state of them.

use stateright::{Checker, HasDiscoveries, Model};
use twinhub_lease_model::{FAILOVER, Flight, NO_STALE_WRITE, ONE_HOLDER, ONE_OWNER, Rules, Sink};

#[test]
fn all_promises_hold_in_every_state() {
    assert_holds(Rules::PRODUCT, 545_315);
}

#[test]
fn a_second_crash_changes_nothing() {
    assert_holds(Rules { crashes: 2, ..Rules::PRODUCT }, 1_072_098);
}

#[test]
fn a_plant_that_compares_epochs_needs_no_bound_on_the_way_of_a_write() {
    let rules = Rules { flight: Flight::Unbounded, sink: Sink::ComparesEpochs, ..Rules::PRODUCT };
    assert_holds(rules, 615_222);
}

#[test]
fn without_a_witness_both_votes_are_safe() {
    assert_holds(Rules { witness: false, ..Rules::PRODUCT }, 14_337);
}

/// Safety alone is easy: a system in which nothing happens has it.
#[test]
fn the_role_does_move() {
    let rules = Rules { watches_failover: true, ..Rules::PRODUCT };
    let wanted = HasDiscoveries::AllOf([FAILOVER].into());
    let checker = rules.checker().threads(2).finish_when(wanted).spawn_bfs().join();
    assert!(checker.discovery(FAILOVER).is_some());
}

/// Visits every state. Their number is exact: another one means that the model says something else than before, which is
/// to be looked at, not only counted anew.
fn assert_holds(rules: Rules, states: usize) {
    let checker = rules.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    for promise in [ONE_HOLDER, ONE_OWNER, NO_STALE_WRITE] {
        if let Some(path) = checker.discovery(promise) {
            panic!("{promise}: {:#?}", path.into_actions());
        }
    }
    let visited = checker.unique_state_count();
    assert!(checker.is_done(), "{visited} states visited and not all");
    assert_eq!(visited, states);
}
