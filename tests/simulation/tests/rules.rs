//! Every safety rule of `core/redundancy`, taken away one at a time, is missed by some seed: `cargo xtask sim --sabotage`.
//! The rules are in the code that ships; the switch is not (see `redundancy::rule`).
#![cfg(twinhub_sabotage)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use twinhub_redundancy::{Policy, Rule};
use twinhub_simulation::{Faults, Finding, Plan, Script, World};

/// How many seeds may be tried for each rule.
const SEEDS: u64 = 6_000;
/// How many are tried for a rule that another one makes up for.
const SEEDS_COVERED: u64 = 600;

/// Rules that lead to harm only together with another one, which is there for more.
const SECOND_LINES: [(Rule, Rule); 2] =
    [(Rule::TokenOfTheGrant, Rule::OvertakenToken), (Rule::RenewalOfTheHolder, Rule::LivingAsker)];

/// What the loss of each rule must lead to.
fn harm(rule: Rule) -> &'static [Finding] {
    match rule {
        Rule::DiskBeforeWord => &[Finding::PromiseBroken],
        Rule::Guard | Rule::OvertakenToken => &[Finding::StaleWrite],
        Rule::NoSelfPromotion => &[Finding::SelfPromotion],
        Rule::RenewalOfTheHolder | Rule::LivingAsker => &[Finding::TakeoverLate],
        Rule::HigherEpoch => &[Finding::NoConvergence],
        Rule::OneGrant
        | Rule::FreshAfterRestart
        | Rule::Margin
        | Rule::CountFromQuestion
        | Rule::WordOfThisProcess
        | Rule::TokenOfTheGrant
        | Rule::VotersOfToday
        | Rule::Majority => &[Finding::TwoHolders],
    }
}

/// A pair with a witness and every fault, or what the rule is about.
fn world(rule: Rule, seed: u64) -> World {
    match rule {
        Rule::Majority => {
            let plan = Plan { nodes: 4, witness: false, policy: Policy::Manual, ..Plan::pair() };
            World::run(plan, seed)
        }
        // Without a majority in between, two nodes act until one hears of the other.
        Rule::HigherEpoch => {
            let faults = Faults { cuts: true, ..Faults::NONE };
            World::run(Plan { faults, ..Plan::lonely_pair(Policy::Availability) }, seed)
        }
        Rule::OvertakenToken | Rule::TokenOfTheGrant => World::play(Script::OvertakenToken, seed),
        Rule::VotersOfToday => World::play(Script::OlderVoters, seed),
        Rule::RenewalOfTheHolder => World::play(Script::LateRenewal, seed),
        Rule::LivingAsker => World::play(Script::LateCampaign, seed),
        Rule::DiskBeforeWord
        | Rule::OneGrant
        | Rule::FreshAfterRestart
        | Rule::Margin
        | Rule::CountFromQuestion
        | Rule::Guard
        | Rule::WordOfThisProcess
        | Rule::NoSelfPromotion => {
            let faults = Faults { voters: false, health: false, full_disks: false, ..Faults::ALL };
            World::run(Plan { faults, ..Plan::pair() }, seed)
        }
    }
}

/// The first seed in whose world the loss of these rules does the harm of the first.
fn missed(rules: &[Rule], seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        Rule::take_away(rules);
        // A rule may also be missed by an assertion of the machine itself.
        let world = catch_unwind(AssertUnwindSafe(|| world(rules[0], seed)));
        Rule::take_away(&[]);
        match world {
            Ok(world) => {
                let finding = harm(rules[0]).iter().copied().find(|finding| world.field.has(*finding))?;
                Some((seed, format!("{finding:?}")))
            }
            Err(_) => Some((seed, "an assertion".to_owned())),
        }
    })
}

#[test]
fn every_rule_that_is_taken_away_is_missed() {
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        if SECOND_LINES.iter().any(|(second, _)| *second == rule) {
            continue;
        }
        match missed(&[rule], SEEDS) {
            Some((seed, how)) => println!("{rule:?}: {how} at seed {seed}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed in {SEEDS} seeds each: {unnoticed:?}");
}

/// A rule of which another one covers the loss, and without both there is harm.
#[test]
fn a_second_line_of_defense_is_missed_together_with_the_first() {
    for (second, first) in SECOND_LINES {
        assert_eq!(
            missed(&[second], SEEDS_COVERED),
            None,
            "{second:?} matters by itself: it is no second line"
        );
        let (seed, how) = missed(&[second, first], SEEDS_COVERED)
            .unwrap_or_else(|| panic!("{second:?} and {first:?} are not missed together"));
        println!("{second:?} with {first:?}: {how} at seed {seed}");
    }
}

#[test]
fn with_every_rule_in_force_the_same_worlds_are_whole() {
    for rule in Rule::ALL {
        for seed in 0..20 {
            let world = world(rule, seed);
            let found = harm(rule).iter().find(|finding| world.field.has(**finding));
            assert_eq!(found, None, "{rule:?}, seed {seed}:\n{}", world.story(40));
        }
    }
}
