//! Timers that the check accepts are safe, also where they are no profile's.

use std::time::Duration;

use twinhub_redundancy::{Profile, Timers};
use twinhub_simulation::{Finding, Plan, Random, check};

/// Timers somewhere between half and twice those of a profile that keep the rules.
fn timers(seed: u64) -> Timers {
    let mut random = Random::new(seed);
    loop {
        let profile = if random.percent(50) { Profile::Normal } else { Profile::Fast };
        let mut timers = Timers::of(profile);
        for timer in [
            &mut timers.heartbeat,
            &mut timers.lease,
            &mut timers.renew,
            &mut timers.margin,
            &mut timers.guard,
            &mut timers.stagger,
            &mut timers.start,
        ] {
            *timer = *timer / 2 + random.up_to(*timer * 3 / 2);
        }
        if timers.check(Duration::from_millis(1)).is_ok() {
            return timers;
        }
    }
}

#[test]
fn what_the_check_accepts_lets_no_two_nodes_act() {
    let plan = |seed| Plan { timers: Some(timers(seed)), ..Plan::pair() };
    let forbidden = [
        Finding::TwoHolders,
        Finding::StaleWrite,
        Finding::EpochReused,
        Finding::PromiseBroken,
        Finding::NoConvergence,
    ];
    check("timers", 60, plan, &forbidden);
}
