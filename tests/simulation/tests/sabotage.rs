//! The checks can fail: each rule that is taken away is noticed. The names say which rule; the number is how
//! many seeds may be tried.

use twinhub_redundancy::Policy;
use twinhub_simulation::{Faults, Finding, Plan, Sabotage, find};

fn without(sabotage: Sabotage) -> impl Fn(u64) -> Plan {
    // The kinds of trouble that these rules are about, and no others between them.
    let faults = Faults { voters: false, health: false, full_disks: false, ..Faults::ALL };
    move |_| Plan { sabotage, faults, ..Plan::pair() }
}

#[test]
fn without_margin_two_nodes_hold_the_lease() {
    find(400, without(Sabotage::NoMargin), Finding::TwoHolders);
}

#[test]
fn without_guard_an_old_write_arrives_late() {
    find(400, without(Sabotage::NoGuard), Finding::StaleWrite);
}

#[test]
fn a_forgetting_voter_breaks_its_promise() {
    find(400, without(Sabotage::ForgettingVoter), Finding::PromiseBroken);
}

#[test]
fn a_forgetting_voter_makes_two_holders() {
    find(4000, without(Sabotage::ForgettingVoter), Finding::TwoHolders);
}

#[test]
fn a_voter_that_grants_at_once_after_its_restart_makes_two_holders() {
    find(4000, without(Sabotage::GrantAtOnce), Finding::TwoHolders);
}

#[test]
fn a_lying_disk_breaks_a_promise() {
    find(400, without(Sabotage::LyingDisk), Finding::PromiseBroken);
}

#[test]
fn a_freeze_between_check_and_send_lets_an_old_write_through() {
    find(400, without(Sabotage::FreezeBeforeSend), Finding::StaleWrite);
}

#[test]
fn promotion_on_silence_can_split() {
    let plan =
        |_| Plan { faults: Faults { cuts: true, ..Faults::NONE }, ..Plan::lonely_pair(Policy::Availability) };
    let split = (0..50).any(|seed| {
        let world = twinhub_simulation::World::run(plan(seed), seed);
        world.field.has(Finding::StaleWrite)
    });
    assert!(split, "two nodes of a pair without witness wrote at the same time");
}
