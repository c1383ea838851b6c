//! The role goes back to the preferred node by itself if it may, and never if it may not.

use twinhub_redundancy::{NodeState, Order, Profile, Timers};
use twinhub_simulation::{Faults, Finding, Plan, Seen, World, check};

fn timers() -> Timers {
    let lease = Timers::of(Profile::Normal).lease;
    Timers {
        score_hold: lease * 2,
        hold_back: lease * 30,
        flap_window: lease * 400,
        ..Timers::of(Profile::Normal)
    }
}

fn stormy(hands_back: bool) -> Plan {
    let faults = Faults { health: true, crashes: true, cuts: true, orders: true, ..Faults::NONE };
    Plan { faults, hands_back, timers: Some(timers()), storm_leases: 400, ..Plan::pair() }
}

#[test]
fn no_storm_makes_the_role_go_back_where_only_an_operator_may_move_it() {
    for world in check("failback", 15, |_| stormy(false), &[Finding::MoveForbidden, Finding::MoveUnproven]) {
        assert_eq!(world.won.get("failback"), None);
    }
}

#[test]
fn the_role_goes_back_by_itself_after_deaths_and_never_while_moves_are_paused() {
    let findings = [Finding::MoveForbidden, Finding::MoveUnproven, Finding::MoveTooSoon];
    let worlds = check("failback", 15, |_| stormy(true), &findings);
    assert!(worlds.iter().any(|world| world.won.contains_key("failback")), "no seed went back");
}

/// The hold-off of the simulated pair is ten leases, which is over long before the hold-back.
#[test]
fn after_a_move_for_health_the_role_goes_back_when_it_is_held_back_no_longer_and_the_main_is_well() {
    for seed in 0..5 {
        let mut world = World::settled(Plan { timers: Some(timers()), ..Plan::pair() }, seed);
        world.see(0, 0, Seen::FAILED);
        world.pass(timers().score_hold + timers().lease * 3);
        assert_eq!(world.state(1), Some(NodeState::Active), "seed {seed}: {}", world.story(20));
        world.see(0, 0, Seen::UNKNOWN);
        world.pass(timers().hold_back * 2);
        assert_eq!(
            world.state(1),
            Some(NodeState::Active),
            "seed {seed}: nobody has seen the main's field side"
        );
        world.see(0, 0, Seen::GOOD);
        world.pass(timers().lease * 14);
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}: {}", world.story(20));
        assert_eq!(world.won.get("failback"), Some(&1));
        assert_eq!(world.field.findings, [], "seed {seed}");
    }
}

#[test]
fn a_pause_holds_every_move_and_resuming_lets_it_go() {
    for seed in 0..5 {
        let mut world = World::settled(Plan { timers: Some(timers()), ..Plan::pair() }, seed);
        world.order(1, Order::Pause);
        world.advance(world.lease());
        world.see(0, 0, Seen::FAILED);
        world.pass(timers().score_hold * 20);
        assert_eq!(world.active()[0].0, 0, "seed {seed}: {}", world.story(20));
        world.order(1, Order::Resume);
        world.pass(timers().score_hold + timers().lease * 3);
        assert_eq!(world.active()[0].0, 1, "seed {seed}: {}", world.story(20));
        assert_eq!(world.field.findings, [], "seed {seed}");
    }
}
