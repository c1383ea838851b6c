//! What is checked does happen: every state is entered and every way to the role is taken by some seed.

use std::collections::BTreeMap;

use twinhub_redundancy::{NodeState, Policy};
use twinhub_simulation::{Faults, Plan, World};

#[test]
fn the_storms_reach_every_state_and_every_way_to_the_role() {
    let plans = [
        Plan::pair(),
        Plan::three(),
        Plan { faults: Faults { force: true, ..Faults::ALL }, ..Plan::pair() },
        Plan::lonely_pair(Policy::Evidence),
    ];
    let mut entered: BTreeMap<NodeState, u64> = BTreeMap::new();
    let mut won: BTreeMap<&str, u64> = BTreeMap::new();
    for plan in plans {
        for seed in 0..30 {
            let world = World::run(plan, seed);
            for (state, times) in world.entered {
                *entered.entry(state).or_default() += times;
            }
            for (reason, times) in world.won {
                *won.entry(reason).or_default() += times;
            }
        }
    }
    for state in NodeState::ALL {
        assert!(state == NodeState::Starting || entered.contains_key(&state), "no seed entered {state}");
    }
    let ways = [
        "failback",
        "first_start",
        "forced_failover",
        "operator_switchover",
        "peer_silent",
        "rejoined",
        "resigned",
        "transfer_received",
        "unquorate",
    ];
    for way in ways {
        assert!(won.contains_key(way), "no seed won the role by {way}: {won:?}");
    }
}
