//! The role moves for better health at most so many times within the window; then it stays until an operator resumes.

use twinhub_redundancy::{Order, Profile, Timers};
use twinhub_simulation::{Faults, Finding, Plan, Sabotage, Seen, World, check, find};

fn timers() -> Timers {
    let lease = Timers::of(Profile::Normal).lease;
    Timers {
        score_hold: lease * 2,
        hold_back: lease * 4,
        flap_window: lease * 400,
        ..Timers::of(Profile::Normal)
    }
}

/// Nothing but trouble of the field side, which is often.
fn restless(plan: &Plan) -> Plan {
    Plan {
        faults: Faults { health: true, ..Faults::NONE },
        timers: Some(timers()),
        storm_leases: 1200,
        ..*plan
    }
}

#[test]
fn no_window_has_more_moves_than_the_limit() {
    let findings = [Finding::MovesTooMany, Finding::MoveTooSoon, Finding::MoveForbidden];
    for plan in [Plan::pair(), Plan::three(), Plan { nodes: 5, ..Plan::three() }] {
        let worlds = check("flapping", 10, |_| restless(&plan), &findings);
        let reached = worlds.iter().filter(|world| world.alarms.contains_key("flap_limit")).count();
        assert!(reached > 0, "no seed came to the limit: the check says nothing");
    }
}

#[test]
fn deaths_and_cuts_do_not_make_a_pair_forget_what_it_counted() {
    let plan = |_| {
        let faults = Faults { crashes: true, cuts: true, freezes: true, ..restless(&Plan::pair()).faults };
        Plan { faults, ..restless(&Plan::pair()) }
    };
    check("flapping", 10, plan, &[Finding::MovesTooMany]);
}

/// The trouble follows the role; the fourth move waits for an operator, who may resume on either node.
#[test]
fn after_the_last_move_the_role_stays_until_an_operator_resumes_anywhere() {
    let limit = u64::from(timers().flap_moves);
    for seed in 0..6 {
        let mut world =
            World::settled(Plan { timers: Some(timers()), hands_back: false, ..Plan::pair() }, seed);
        let pause = timers().hold_back + timers().score_hold + timers().lease * 3;
        let chase = |world: &mut World| {
            let active = world.active()[0].0;
            world.see(active, 0, Seen::FAILED);
            world.see(1 - active, 0, Seen::GOOD);
            world.pass(pause);
        };
        for _ in 0..limit + 3 {
            chase(&mut world);
        }
        assert_eq!(world.moves.begun, limit, "seed {seed}: {}", world.story(30));
        assert!(world.alarms.contains_key("flap_limit"), "seed {seed}: the operator is told");
        let by = u8::try_from(seed % 2).unwrap();
        world.order(by, Order::Resume);
        chase(&mut world);
        assert_eq!(world.moves.begun, limit + 1, "seed {seed}, resumed on node {by}: {}", world.story(30));
        assert_eq!(world.field.findings, [], "seed {seed}");
    }
}

/// The check can fail.
#[test]
fn moves_that_are_not_counted_are_noticed() {
    find(60, |_| Plan { sabotage: Sabotage::Restless, ..restless(&Plan::pair()) }, Finding::MovesTooMany);
}
