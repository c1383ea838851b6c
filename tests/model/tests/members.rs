//! Voters change safely, in every state; and each rule about it is needed.

use stateright::{Checker, HasDiscoveries, Model};
use twinhub_lease_model::{ACTS_ALONE, Changes, ONE_HOLDER};

#[test]
fn no_two_nodes_hold_a_lease_while_voters_change() {
    let checker =
        Changes::PRODUCT.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    if let Some(path) = checker.discovery(ONE_HOLDER) {
        panic!("{ONE_HOLDER}: {:#?}", path.into_actions());
    }
    assert!(checker.discovery(ACTS_ALONE).is_some(), "a main is its own majority at last");
    // Exact: another number means that the model says something else than before.
    assert!(checker.is_done());
    assert_eq!(checker.unique_state_count(), 3_705_793);
}

#[test]
fn a_voter_that_takes_older_records_makes_two_holders() {
    assert_breaks(Changes { refuses_outdated: false, ..Changes::PRODUCT });
}

#[test]
fn a_change_that_counts_at_once_makes_two_holders() {
    assert_breaks(Changes { waits_for_disks: false, ..Changes::PRODUCT });
}

#[test]
fn a_change_that_needs_the_new_voters_only_makes_two_holders() {
    assert_breaks(Changes { needs_both: false, ..Changes::PRODUCT });
}

fn assert_breaks(rules: Changes) {
    let checker = rules.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = checker.discovery(ONE_HOLDER).unwrap_or_else(|| {
        panic!("{ONE_HOLDER} was not broken by {rules:?} in {} states", checker.unique_state_count())
    });
    let steps = path.into_actions();
    assert!(steps.len() > 3, "a promise that breaks by itself says nothing about the rule: {steps:?}");
}
