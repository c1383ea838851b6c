//! A seed is a whole run: the same one again does the same things at the same times, so that a failure can be replayed.

use std::collections::BTreeSet;

use twinhub_redundancy::{Policy, Profile};
use twinhub_simulation::{Faults, Plan, World, seeds};

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let plans = [
        Plan::pair(),
        Plan::three(),
        Plan { nodes: 4, profile: Profile::Wan, ..Plan::pair() },
        Plan { profile: Profile::Lan, ..Plan::pair() },
        Plan { faults: Faults { force: true, ..Faults::ALL }, ..Plan::pair() },
        Plan::lonely_pair(Policy::Availability),
    ];
    for plan in plans {
        let seeds = seeds(8);
        let mut seen = BTreeSet::new();
        for seed in &seeds {
            let (first, again) = (World::run(plan, *seed), World::run(plan, *seed));
            assert_eq!((first.digest, first.events), (again.digest, again.events), "seed {seed} of {plan:?}");
            assert_eq!(first.story(40), again.story(40));
            seen.insert(first.digest);
        }
        assert_eq!(seen.len(), seeds.len(), "{plan:?}");
    }
}
