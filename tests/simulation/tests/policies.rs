//! A pair without a witness does what its policy says, and says so when it may have split.

use std::time::Duration;

use twinhub_model::NodeRank;
use twinhub_redundancy::{Machine, NodeState, Order, Policy, VoterId};
use twinhub_simulation::{Faults, Finding, Plan, World, check};

const SAFE: [Finding; 4] =
    [Finding::TwoHolders, Finding::UnmarkedSplit, Finding::EpochReused, Finding::SelfPromotion];

#[test]
fn manual_never_promotes_itself_and_never_writes_twice() {
    let findings = [SAFE.as_slice(), &[Finding::StaleWrite]].concat();
    check("policies", 60, |_| Plan::lonely_pair(Policy::Manual), &findings);
}

#[test]
fn evidence_and_availability_mark_every_split() {
    check("policies", 40, |_| Plan::lonely_pair(Policy::Evidence), &SAFE);
    check("policies", 40, |_| Plan::lonely_pair(Policy::Availability), &SAFE);
}

#[test]
fn a_forced_failover_is_marked_also_with_a_witness() {
    let plan = |_| Plan { faults: Faults { force: true, ..Faults::ALL }, ..Plan::pair() };
    check("policies", 40, plan, &[Finding::TwoHolders, Finding::UnmarkedSplit, Finding::EpochReused]);
}

#[test]
fn with_manual_a_dead_main_waits_for_the_operator() {
    let mut world = settled(Policy::Manual);
    world.remove(0);
    world.advance(world.lease() * 20);
    assert_eq!(world.state(1), Some(NodeState::Standby), "{}", world.story(20));
    world.order(1, Order::Failover { force: true });
    world.advance(world.lease() * 2);
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    assert!(world.machine(1).is_some_and(Machine::split_possible));
}

#[test]
fn with_manual_a_dead_backup_changes_nothing() {
    let mut world = settled(Policy::Manual);
    world.remove(1);
    world.advance(world.lease() * 20);
    let machine = world.machine(0).unwrap();
    assert_eq!(machine.state(), NodeState::Active, "{}", world.story(20));
    assert!(!machine.is_protected() && !machine.split_possible());
}

#[test]
fn with_evidence_a_dead_main_is_replaced_and_the_split_is_marked() {
    let mut world = settled(Policy::Evidence);
    world.remove(0);
    let silence = world.timers.silence_alone(Policy::Evidence);
    // On a clock that is slow; the other node is asked before.
    let limit = silence * 102 / 100 + world.timers.renew + world.timers.guard + Duration::from_secs(1);
    world.advance(u64::try_from(limit.as_nanos()).unwrap());
    let machine = world.machine(1).unwrap();
    assert_eq!(machine.state(), NodeState::Active, "{}", world.story(20));
    assert!(machine.is_unquorate() && machine.split_possible());
    world.bring_back(0);
    world.advance(world.lease() * 10);
    let machine = world.machine(1).unwrap();
    assert!(!machine.is_unquorate() && machine.is_protected(), "healed: {}", world.story(30));
}

#[test]
fn with_evidence_the_side_that_sees_nothing_closes_its_gates() {
    let mut world = settled(Policy::Evidence);
    world.blind(0);
    world.cut_off(0);
    world.advance(world.lease() * 8);
    assert_eq!(world.state(0), Some(NodeState::Isolated), "{}", world.story(20));
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    assert!(!world.field.has(Finding::StaleWrite), "the two never wrote at the same time");
}

/// Its last sight of the world still counts when it is cut off, and in half of the worlds it sleeps after that.
#[test]
fn with_evidence_who_was_cut_off_from_everything_has_stopped_before_the_other_acts() {
    for seed in 0..20 {
        let mut world = World::settled(Plan::lonely_pair(Policy::Evidence), seed);
        let node = world.active()[0].0;
        let (other, silence) = (1 - node, world.timers.silence_alone(Policy::Evidence));
        world.cut_off(node);
        world.hide_evidence(node);
        if seed % 2 == 0 {
            world.freeze(node, silence * 2);
        }
        let mut acted = false;
        for _ in 0..1000 {
            world.pass(silence / 500);
            let holds = |rank: u8| world.sites[&VoterId::Node(NodeRank(rank))].holds_lease(world.now);
            assert!(!(holds(node) && holds(other)), "seed {seed}: {}", world.story(20));
            acted |= world.state(other) == Some(NodeState::Active);
        }
        assert!(acted, "seed {seed}: {}", world.story(20));
    }
}

#[test]
fn with_evidence_a_split_heals_to_the_higher_epoch_and_a_merge() {
    let mut world = settled(Policy::Evidence);
    world.cut_off(0);
    world.advance(world.lease() * 8);
    assert_eq!(world.active().len(), 2, "both see the world: {}", world.story(20));
    for rank in 0..2 {
        assert!(world.machine(rank).is_some_and(Machine::split_possible));
    }
    world.net.heal();
    world.advance(world.lease() * 8);
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    assert_eq!(world.entered.get(&NodeState::Reconciling), Some(&1), "{}", world.story(20));
    assert_eq!(world.state(0), Some(NodeState::Standby));
}

#[test]
fn with_manual_both_together_elect_the_main() {
    let world = settled(Policy::Manual);
    assert_eq!(world.state(0), Some(NodeState::Active));
    assert!(world.sites.get(VoterId::Node(NodeRank(0))).is_some());
}

fn settled(policy: Policy) -> World {
    World::settled(Plan::lonely_pair(policy), 1)
}
