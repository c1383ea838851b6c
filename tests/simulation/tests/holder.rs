//! At most one node holds a majority's lease at any true time.

use twinhub_redundancy::Profile;
use twinhub_simulation::{Finding, Plan, check};

#[test]
fn at_most_one_node_of_a_pair_with_witness_holds_the_lease() {
    check("holder", 40, |_| Plan::pair(), &[Finding::TwoHolders, Finding::UnmarkedSplit]);
}

#[test]
fn at_most_one_of_three_nodes_holds_the_lease() {
    check("holder", 30, |_| Plan::three(), &[Finding::TwoHolders, Finding::UnmarkedSplit]);
}

#[test]
fn short_leases_are_as_safe_as_long_ones() {
    let plan = |_| Plan { profile: Profile::Lan, ..Plan::pair() };
    check("holder", 40, plan, &[Finding::TwoHolders, Finding::UnmarkedSplit]);
}

/// Any number of nodes: five of them, and four with a witness.
#[test]
fn larger_groups_are_as_safe_and_settle() {
    let findings = [
        Finding::TwoHolders,
        Finding::UnmarkedSplit,
        Finding::EpochReused,
        Finding::StaleWrite,
        Finding::NoConvergence,
    ];
    check("holder", 10, |_| Plan { nodes: 5, ..Plan::three() }, &findings);
    check("holder", 10, |_| Plan { nodes: 4, ..Plan::pair() }, &findings);
}

#[test]
fn a_node_alone_is_its_own_majority() {
    let findings =
        [Finding::TwoHolders, Finding::EpochReused, Finding::SelfPromotion, Finding::NoConvergence];
    check("holder", 10, |_| Plan { nodes: 1, ..Plan::three() }, &findings);
}
