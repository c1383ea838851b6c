//! Many seeds on all cores, of which only sums are kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use twinhub_redundancy::NodeState;

use crate::field::Finding;
use crate::world::{Plan, World};

/// What many worlds had in sum.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many worlds.
    pub worlds: u64,
    /// How long they lasted, in true nanoseconds.
    pub nanos: u128,
    /// How many events were served.
    pub events: u64,
    /// How many writes reached the plant.
    pub writes: u64,
    /// All that all sites of all worlds did, and how they ended, in one number: what only makes the runs faster keeps it.
    pub digest: u64,
    /// How often each state was entered.
    pub entered: BTreeMap<NodeState, u64>,
    /// How often the role was won, by kind of reason.
    pub won: BTreeMap<&'static str, u64>,
    /// The seeds with one of the findings asked for, and the story of each.
    pub failures: BTreeMap<u64, String>,
}

impl Tally {
    /// Whole hours of all worlds together.
    pub fn hours(&self) -> u128 {
        self.nanos / 3_600_000_000_000
    }

    fn add_world(&mut self, seed: u64, world: World, findings: &[Finding]) {
        let found: Vec<_> = world.field.findings.iter().filter(|(kind, _)| findings.contains(kind)).collect();
        if !found.is_empty() {
            self.failures.insert(seed, format!("{found:#?}\n{}", world.story_of(findings)));
        }
        self.add(Tally {
            worlds: 1,
            nanos: u128::from(world.now),
            events: world.events,
            writes: world.field.writes,
            digest: world.outcome(),
            entered: world.entered,
            won: world.won,
            failures: BTreeMap::new(),
        });
    }

    fn add(&mut self, other: Tally) {
        self.worlds += other.worlds;
        self.nanos += other.nanos;
        self.events += other.events;
        self.writes += other.writes;
        // A sum, since on several cores the worlds end in any order.
        self.digest = self.digest.wrapping_add(other.digest);
        for (state, times) in other.entered {
            *self.entered.entry(state).or_default() += times;
        }
        for (reason, times) in other.won {
            *self.won.entry(reason).or_default() += times;
        }
        self.failures.extend(other.failures);
    }
}

/// Runs `plan` with each seed on all cores; after the first failure no further seed is begun.
pub fn survey(seeds: &[u64], plan: impl Fn(u64) -> Plan + Sync, findings: &[Finding]) -> Tally {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut tally = Tally::default();
        while !is_over.load(Ordering::Relaxed)
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
        {
            tally.add_world(*seed, World::run(plan(*seed), *seed), findings);
            if !tally.failures.is_empty() {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        tally
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores.min(seeds.len())).map(|_| scope.spawn(work)).collect();
        let mut sum = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(tally) => sum.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        sum
    })
}
