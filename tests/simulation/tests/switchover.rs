//! A planned switchover waits for no lease and no guard time, and the main gets its role back by one.

use twinhub_model::NodeRank;
use twinhub_redundancy::{NodeState, Order, Profile};
use twinhub_simulation::{Plan, World};

#[test]
fn a_planned_switchover_is_as_fast_as_its_drain() {
    for profile in [Profile::Lan, Profile::Normal] {
        for seed in 0..20 {
            let mut world = World::settled(Plan { profile, ..Plan::pair() }, seed);
            let (from, to) = (world.active()[0], NodeRank(1 - world.active()[0].0));
            let before = world.now;
            world.order(from.0, Order::Switchover { to: Some(to) });
            while world.state(to.0) != Some(NodeState::Active) {
                world.advance(100_000);
                assert!(world.now < before + world.lease() * 3, "{}", world.story(20));
            }
            // The drain of the simulated hub takes up to the guard time; votes, disks and activation the rest.
            let votes_and_activation = 32_000_000;
            let drain = u64::try_from(world.timers.guard.as_nanos()).unwrap();
            let took = world.now - before;
            assert!(
                took <= drain + votes_and_activation,
                "{profile:?} seed {seed}: {took} ns {}",
                world.story(20)
            );
            assert!(world.field.findings.is_empty(), "{:?}", world.field.findings);
            assert_eq!(world.won.get("operator_switchover"), Some(&1));
        }
    }
}

#[test]
fn an_order_to_the_standby_reaches_the_active_node() {
    let mut world = World::settled(Plan::pair(), 2);
    world.order(1, Order::Switchover { to: None });
    world.advance(world.lease() * 2);
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    world.advance(world.lease() * 30);
    assert_eq!(world.state(1), Some(NodeState::Active), "what an operator chose stays: {}", world.story(20));
}

#[test]
fn the_main_comes_back_as_standby_and_gets_the_role_after_the_hold_off() {
    let mut world = World::settled(Plan::pair(), 7);
    world.remove(0);
    world.advance(world.lease() * 3);
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    world.bring_back(0);
    world.advance(world.lease() * 5);
    assert_eq!(world.state(0), Some(NodeState::Standby), "{}", world.story(20));
    assert_eq!(world.state(1), Some(NodeState::Active));
    world.advance(world.lease() * 12);
    assert_eq!(world.state(0), Some(NodeState::Active), "{}", world.story(20));
    assert_eq!(world.won.get("failback"), Some(&1));
}

#[test]
fn a_takeover_after_host_death_keeps_its_promise_of_time() {
    for seed in 0..20 {
        let mut world = World::settled(Plan::pair(), seed);
        let (dead, heir) = (world.active()[0], NodeRank(1 - world.active()[0].0));
        world.remove(dead.0);
        let timers = world.timers;
        let bound = timers.lease * 102 / 100 + timers.stagger * 2 + timers.guard;
        world.advance(u64::try_from(bound.as_nanos()).unwrap());
        assert_eq!(world.state(heir.0), Some(NodeState::Active), "seed {seed}: {}", world.story(20));
    }
}

#[test]
fn both_started_together_elect_the_main_without_waiting() {
    for seed in 0..20 {
        let world = World::settled(Plan::pair(), seed);
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}: {}", world.story(20));
        assert_eq!(world.machine(0).unwrap().epoch().counter(), 1);
    }
}

#[test]
fn the_backup_alone_takes_the_role_after_looking_for_the_main() {
    let mut world = World::without(Plan::pair(), 1, 0);
    world.advance(world.lease() * 3);
    assert_eq!(world.state(1), Some(NodeState::Joining), "{}", world.story(20));
    let start = u64::try_from(world.timers.start.as_nanos()).unwrap();
    world.advance(start);
    assert_eq!(world.state(1), Some(NodeState::Active), "{}", world.story(20));
    world.bring_back(0);
    world.advance(world.lease() * 3);
    assert_eq!(world.state(0), Some(NodeState::Standby), "{}", world.story(20));
}
