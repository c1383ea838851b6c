//! After the last fault, exactly one node becomes active and all others follow it.

use twinhub_redundancy::Policy;
use twinhub_simulation::{Finding, Plan, check};

#[test]
fn a_pair_with_witness_settles_after_any_storm() {
    check("liveness", 40, |_| Plan::pair(), &[Finding::NoConvergence]);
}

#[test]
fn three_nodes_settle_after_any_storm() {
    check("liveness", 30, |_| Plan::three(), &[Finding::NoConvergence]);
}

#[test]
fn a_pair_without_witness_settles_after_any_storm() {
    for policy in [Policy::Manual, Policy::Evidence, Policy::Availability] {
        check("liveness", 15, |_| Plan::lonely_pair(policy), &[Finding::NoConvergence]);
    }
}
