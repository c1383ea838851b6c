//! The role moves for better health only to a node that has proven to be better, for as long as it must be.

use twinhub_redundancy::{Profile, Sight, Timers};
use twinhub_simulation::{Faults, Finding, INTERFACES, Plan, Sabotage, Seen, World, check, find};

/// Times in which a storm has room for some moves.
fn timers() -> Timers {
    let lease = Timers::of(Profile::Normal).lease;
    Timers {
        score_hold: lease * 8,
        hold_back: lease * 16,
        flap_window: lease * 200,
        ..Timers::of(Profile::Normal)
    }
}

/// Mostly trouble of the field side, with deaths and cuts between it.
fn busy(plan: &Plan) -> Plan {
    let faults = Faults { health: true, crashes: true, cuts: true, noise: true, ..Faults::NONE };
    Plan { faults, timers: Some(timers()), storm_leases: 1200, ..*plan }
}

#[test]
fn the_role_moves_only_to_a_node_that_was_seen_to_be_better_all_the_time() {
    let findings = [Finding::MoveUnproven, Finding::MoveTooSoon, Finding::TwoHolders, Finding::NoConvergence];
    for plan in [Plan::pair(), Plan::three(), Plan { nodes: 5, ..Plan::three() }] {
        check("health", 8, |_| busy(&plan), &findings);
    }
}

#[test]
fn the_storms_move_the_role_for_its_health() {
    let worlds = check("health", 8, |_| busy(&Plan::pair()), &[Finding::MoveUnproven]);
    let won = |world: &World| world.won.get("better_score").copied().unwrap_or(0);
    assert!(worlds.iter().any(|world| won(world) > 0), "no seed won the role by better health");
    assert!(worlds.iter().any(|world| world.won.contains_key("failback")), "none got it back");
}

/// One interface, as main and backup see it, and whether the role moves for it.
#[test]
fn trouble_moves_the_role_if_it_is_of_one_side_and_the_other_has_proven_to_have_none() {
    let disputed = Seen { disputed: true, ..Seen::FAILED };
    let degraded = Seen { sight: Sight::Degraded, disputed: false };
    let cases = [
        ("down on one side", 0, Seen::FAILED, Seen::GOOD, true),
        ("a watched item that trips where it is heard", 3, Seen::FAILED, Seen::GOOD, true),
        ("half down on one side", 0, degraded, Seen::GOOD, true),
        ("an optional one on one side", 2, Seen::FAILED, Seen::GOOD, false),
        ("down on both", 0, Seen::FAILED, Seen::FAILED, false),
        ("not seen by the other", 0, Seen::FAILED, Seen::UNKNOWN, false),
        ("a watched item that only the active node hears", 3, Seen::FAILED, Seen::UNKNOWN, false),
        ("disputed", 0, disputed, Seen::GOOD, false),
        ("not seen here", 0, Seen::UNKNOWN, Seen::GOOD, false),
        ("down on the other side", 0, Seen::GOOD, Seen::FAILED, false),
    ];
    assert!(cases.iter().all(|(_, interface, ..)| *interface < INTERFACES.len()));
    for (words, interface, main, backup, moves) in cases {
        for seed in 0..5 {
            let mut world = World::settled(Plan { timers: Some(timers()), ..Plan::pair() }, seed);
            world.see(0, interface, main);
            world.see(1, interface, backup);
            world.pass(timers().score_hold * 98 / 100);
            assert_eq!(world.moves.begun, 0, "{words}, seed {seed}: not before its time");
            world.pass(timers().lease * 4);
            assert_eq!(world.moves.begun, u64::from(moves), "{words}, seed {seed}: {}", world.story(20));
            assert_eq!(world.active().len(), 1);
            assert_eq!(world.active()[0].0, u8::from(moves), "{words}, seed {seed}");
            assert_eq!(world.field.findings, [], "{words}, seed {seed}");
        }
    }
}

#[test]
fn trouble_that_comes_and_goes_within_the_hold_moves_nothing() {
    for seed in 0..5 {
        let mut world = World::settled(Plan { timers: Some(timers()), ..Plan::pair() }, seed);
        for _ in 0..40 {
            world.see(0, 0, Seen::FAILED);
            world.pass(timers().score_hold * 9 / 10);
            world.see(0, 0, Seen::GOOD);
            world.pass(timers().heartbeat * 3);
        }
        assert_eq!((world.moves.begun, world.active()[0].0), (0, 0), "seed {seed}: {}", world.story(20));
    }
}

/// The checks can fail.
#[test]
fn a_node_that_boasts_of_its_health_and_a_role_that_does_not_wait_are_noticed() {
    let without = |sabotage| move |_| Plan { sabotage, ..busy(&Plan::pair()) };
    find(60, without(Sabotage::Boasting), Finding::MoveUnproven);
    find(60, without(Sabotage::Restless), Finding::MoveTooSoon);
}
