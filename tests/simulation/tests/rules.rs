//! Every safety rule of `core/redundancy`, taken away one at a time, is missed by some seed: `cargo xtask sim --sabotage`.
//! The rules are in the code that ships; the switch is not (see `redundancy::rule`).
#![cfg(twinhub_sabotage)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use twinhub_redundancy::{Policy, Rule};
use twinhub_simulation::{Faults, Finding, Plan, World};

/// How many seeds may be tried for each rule.
const SEEDS: u64 = 6_000;

/// What the loss of each rule must lead to.
fn harm(rule: Rule) -> &'static [Finding] {
    match rule {
        Rule::DiskBeforeWord => &[Finding::PromiseBroken],
        Rule::Guard => &[Finding::StaleWrite],
        Rule::NoSelfPromotion => &[Finding::SelfPromotion],
        Rule::OneGrant
        | Rule::FreshAfterRestart
        | Rule::Margin
        | Rule::CountFromQuestion
        | Rule::WordOfThisProcess
        | Rule::Majority => &[Finding::TwoHolders],
    }
}

/// A pair with a witness and every fault, or what the rule is about.
fn plan(rule: Rule) -> Plan {
    match rule {
        Rule::Majority => Plan { nodes: 4, witness: false, policy: Policy::Manual, ..Plan::pair() },
        Rule::DiskBeforeWord
        | Rule::OneGrant
        | Rule::FreshAfterRestart
        | Rule::Margin
        | Rule::CountFromQuestion
        | Rule::Guard
        | Rule::WordOfThisProcess
        | Rule::NoSelfPromotion => {
            Plan { faults: Faults { voters: false, health: false, ..Faults::ALL }, ..Plan::pair() }
        }
    }
}

#[test]
fn every_rule_that_is_taken_away_is_missed() {
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        let found = (0..SEEDS).find_map(|seed| {
            Rule::take_away(Some(rule));
            // A rule may also be missed by an assertion of the machine itself.
            let world = catch_unwind(AssertUnwindSafe(|| World::run(plan(rule), seed)));
            Rule::take_away(None);
            match world {
                Ok(world) => {
                    let finding = harm(rule).iter().copied().find(|finding| world.field.has(*finding))?;
                    Some((seed, format!("{finding:?}")))
                }
                Err(_) => Some((seed, "an assertion".to_owned())),
            }
        });
        match found {
            Some((seed, how)) => println!("{rule:?}: {how} at seed {seed}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed in {SEEDS} seeds each: {unnoticed:?}");
}

#[test]
fn with_every_rule_in_force_the_same_worlds_are_whole() {
    for rule in Rule::ALL {
        for seed in 0..20 {
            let world = World::run(plan(rule), seed);
            let found = harm(rule).iter().find(|finding| world.field.has(**finding));
            assert_eq!(found, None, "{rule:?}, seed {seed}:\n{}", world.story(40));
        }
    }
}
