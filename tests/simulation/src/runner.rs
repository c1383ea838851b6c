//! Runs seeds and says how to run one again.

use crate::field::Finding;
use crate::world::{Plan, World};

/// The seeds to run: `TWINHUB_SEED` alone, or as many as `TWINHUB_SEEDS` says, or `default`, from `TWINHUB_FIRST_SEED`
/// on.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TWINHUB_SEED") {
        return vec![seed];
    }
    let first = number("TWINHUB_FIRST_SEED").unwrap_or(0);
    (first..first.saturating_add(number("TWINHUB_SEEDS").unwrap_or(default))).collect()
}

/// Runs `plan` with each seed and panics at the first one with one of the findings.
pub fn check(test: &str, default: u64, plan: impl Fn(u64) -> Plan, findings: &[Finding]) -> Vec<World> {
    let mut worlds = Vec::new();
    for seed in seeds(default) {
        let world = World::run(plan(seed), seed);
        let found: Vec<_> = world.field.findings.iter().filter(|(kind, _)| findings.contains(kind)).collect();
        assert!(
            found.is_empty(),
            "seed {seed}: {found:#?}\n{}\nreplay: TWINHUB_SEED={seed} cargo test -p twinhub-simulation --test {test}",
            world.story_of(findings)
        );
        worlds.push(world);
    }
    worlds
}

/// Runs `plan` with seed after seed until one has the finding; panics if none of `most` has.
pub fn find(most: u64, plan: impl Fn(u64) -> Plan, finding: Finding) -> u64 {
    (0..most)
        .find(|seed| World::run(plan(*seed), *seed).field.has(finding))
        .unwrap_or_else(|| panic!("{finding:?} was not found in {most} seeds: the check cannot fail"))
}
