//! After the last fault, exactly one node becomes active and all others follow it.

use std::time::Duration;

use twinhub_redundancy::{NodeState, Policy, Profile};
use twinhub_simulation::{Finding, Plan, World, check};

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

/// The disk of the candidate and those of its voters are slower than a lease is long.
#[test]
fn slow_disks_delay_a_takeover_and_do_not_prevent_it() {
    for profile in [Profile::Lan, Profile::Normal] {
        for seed in 0..20 {
            let mut world = World::settled(Plan { profile, ..Plan::pair() }, seed);
            world.slow_disks(Duration::from_secs(2));
            world.remove(0);
            world.advance(8_000_000_000);
            assert_eq!(
                world.state(1),
                Some(NodeState::Active),
                "{profile:?} seed {seed}: {}",
                world.story(30)
            );
        }
    }
}
