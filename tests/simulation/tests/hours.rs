//! Whole hours of faults, then healing, for groups of every size, with every invariant checked at once.
//! `TWINHUB_HOURS` says how many hours each seed lasts.

use std::time::Instant;

use twinhub_redundancy::{NodeState, Profile};
use twinhub_simulation::{Finding, Plan, Sabotage, seeds, survey};

/// What no group with a majority may ever show. A process that ends itself because it froze with open gates
/// is right to do so.
const FORBIDDEN: [Finding; 12] = [
    Finding::TwoHolders,
    Finding::UnmarkedSplit,
    Finding::EpochReused,
    Finding::StaleWrite,
    Finding::PromiseBroken,
    Finding::SelfPromotion,
    Finding::VotersBroken,
    Finding::MoveUnproven,
    Finding::MovesTooMany,
    Finding::MoveTooSoon,
    Finding::MoveForbidden,
    Finding::NoConvergence,
];

/// Most seeds have the leases of sites; one of 128 has the shortest, whose hour costs as much as 16 others.
fn plan(seed: u64) -> Plan {
    let (base, profile) = match seed % 128 {
        127 => (Plan::pair(), Profile::Lan),
        number => match number % 8 {
            0 => (Plan::pair(), Profile::Normal),
            1 => (Plan::three(), Profile::Normal),
            2 => (Plan::pair(), Profile::Fast),
            3 => (Plan::three(), Profile::Fast),
            4 => (Plan::pair(), Profile::Wan),
            5 => (Plan::three(), Profile::Wan),
            6 => (Plan { nodes: 5, ..Plan::three() }, Profile::Wan),
            _ => (Plan { nodes: 4, ..Plan::pair() }, Profile::Wan),
        },
    };
    Plan { profile, ..base }
}

fn hours() -> u32 {
    std::env::var("TWINHUB_HOURS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn no_invariant_fails_in_hours_of_faults() {
    // One of each kind of group but the shortest leases, which unoptimized take too long.
    let seeds = seeds(8);
    let begun = Instant::now();
    let tally = survey(&seeds, |seed| plan(seed).for_hours(hours()), &FORBIDDEN);
    let hours_per_second = tally.hours() / u128::from(begun.elapsed().as_secs().max(1));
    println!(
        "{} hours ({hours_per_second} per second) in {} worlds, {} events, {} writes, digest {:016x}, won {:?}",
        tally.hours(),
        tally.worlds,
        tally.events,
        tally.writes,
        tally.digest,
        tally.won
    );
    if let Some((seed, story)) = tally.failures.first_key_value() {
        panic!(
            "seed {seed}: {story}\nreplay: TWINHUB_SEED={seed} TWINHUB_HOURS={} cargo test --release -p twinhub-simulation --test hours no_invariant",
            hours()
        );
    }
    assert_eq!(tally.worlds, seeds.len() as u64, "every seed was run");
    if seeds.len() >= 32 {
        for state in NodeState::ALL {
            let is_rare = [NodeState::Starting, NodeState::Reconciling].contains(&state);
            assert!(is_rare || tally.entered.contains_key(&state), "no seed entered {state}");
        }
        for way in ["better_score", "failback"] {
            assert!(tally.won.contains_key(way), "no seed won the role by {way}");
        }
    }
}

/// Hours in which something was wrong once: the flap limit over moves that one node did not hear of, and the last node that
/// voted was shrunk (277242).
#[test]
fn hours_that_once_found_something_find_nothing() {
    let tally = survey(&[68_796, 277_242, 514_500, 954_260], |seed| plan(seed).for_hours(1), &FORBIDDEN);
    assert_eq!((tally.worlds, tally.failures.first_key_value()), (4, None));
}

/// The survey can fail: a voter that forgets is found, and the seed is named.
#[test]
fn the_hours_find_a_voter_that_forgets() {
    let plan = |seed| Plan { sabotage: Sabotage::ForgettingVoter, ..plan(seed).for_hours(1) };
    let tally = survey(&[0, 1, 4, 5], plan, &FORBIDDEN);
    assert!(!tally.failures.is_empty(), "{tally:?}");
}
