//! Another version takes the place of one that runs, as a hub does it: by `--before`, or by itself.

use std::time::{Duration, Instant};

use twinhub_contract::code;
use twinhub_contract::manifest::State;
use twinhub_loader::Role;

use super::{Group, Outcome, Stop, Test, failed, hold};
use crate::bench::{Bench, Unit, said};

pub(super) const TESTS: &[Test] = &[
    test("beside", "an instance that is made beside one that acts says nothing and disturbs nothing", beside),
    test(
        "swapped",
        "it takes over from an instance of the version before, and gives back, 10 times",
        swapped,
    ),
    test("refused", "the one before goes on after another one took its state and was thrown away", refused),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Upgrade, name, about, run)
}

fn beside(bench: &Bench) -> Outcome {
    let before = bench.before()?;
    let old = before.active()?;
    super::abi::works(&old)?;
    for _ in 0..BESIDE {
        let new = bench.started()?;
        super::abi::works(&old)?;
        new.let_run(Duration::from_millis(20));
        let said = new.host.record().taken_count;
        hold(said == 0, || format!("it published {said} values before it had a role"))?;
        new.destroy();
        super::abi::works(&old)?;
    }
    calm(&[&before, bench])
}

fn swapped(bench: &Bench) -> Outcome {
    let before = bench.before()?;
    let (old, new) = (before.active()?, bench.started()?);
    let mut times = Vec::new();
    for _ in 0..SWAPS {
        for (from, to) in [(&old, &new), (&new, &old)] {
            super::abi::works(from)?;
            let begun = Instant::now();
            let epoch = from.epoch().max(to.epoch()) + 1;
            let state = snapshot(from)?;
            from.role_in(Role::Cold, epoch)?;
            // The version before goes on with what it knows where it cannot read what a newer one wrote.
            if let Some((version, bytes)) = state {
                match to.instance.apply(version, &bytes) {
                    Ok(()) => {}
                    Err(error) if error.code == code::STATE_VERSION && std::ptr::eq(to, &raw const old) => {}
                    Err(error) => {
                        return failed(format!("apply of the state of the version before: {}", said(&error)));
                    }
                }
            }
            to.role_in(Role::Active, epoch)?;
            times.push(begun.elapsed());
            super::abi::works(to)?;
        }
    }
    times.sort_unstable();
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    calm(&[&before, bench])?;
    let from = &before.manifest().version;
    let (half, longest) = (times[times.len() / 2], times[times.len() - 1]);
    Ok(format!("from {from}: nothing acts for p50 {} ms, longest {} ms", ms(half), ms(longest)))
}

fn refused(bench: &Bench) -> Outcome {
    let before = bench.before()?;
    let old = before.active()?;
    super::abi::works(&old)?;
    for _ in 0..BESIDE {
        let epoch = old.epoch() + 1;
        let new = bench.started()?;
        if let Some((version, bytes)) = snapshot(&old)? {
            new.instance.apply(version, &bytes).or_else(|error| {
                failed(format!("apply of the state of the version before: {}", said(&error)))
            })?;
        }
        old.role_in(Role::Cold, epoch)?;
        new.role_in(Role::Active, epoch)?;
        new.role_in(Role::Cold, epoch + 1)?;
        new.destroy();
        old.role_in(Role::Active, epoch + 1)?;
        super::abi::works(&old)?;
    }
    calm(&[&before, bench])
}

fn snapshot(unit: &Unit<'_>) -> Result<Option<(u32, Vec<u8>)>, Stop> {
    if unit.keeps() == State::None {
        return Ok(None);
    }
    unit.instance.snapshot().map(Some).or_else(|error| failed(format!("snapshot: {}", said(&error))))
}

fn calm(benches: &[&Bench]) -> Outcome {
    for bench in benches {
        let (faults, offenses) = bench.faults_and_violations();
        hold(faults.is_empty(), || format!("it faulted: {}", faults.join("; ")))?;
        hold(offenses.is_empty(), || offenses.join("; "))?;
    }
    Ok(String::new())
}

/// Instances that are made beside one that acts.
const BESIDE: usize = 5;
/// Changes there, and as many back.
const SWAPS: usize = 10;
