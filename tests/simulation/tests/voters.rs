//! Who votes changes one voter at a time and safely: a record never goes back, nobody wins with voters that were
//! replaced, no two nodes hold a lease, and after the storm everyone votes again.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_model::NodeRank;
use twinhub_redundancy::{Machine, MembersChange, NodeState, Order, VoterId};
use twinhub_simulation::{Faults, Finding, Plan, Sabotage, World, check, find};

const FORBIDDEN: [Finding; 7] = [
    Finding::VotersBroken,
    Finding::TwoHolders,
    Finding::UnmarkedSplit,
    Finding::EpochReused,
    Finding::StaleWrite,
    Finding::PromiseBroken,
    Finding::NoConvergence,
];

/// Mostly changes of the voters, with everything that can come between them.
fn busy(plan: &Plan) -> Plan {
    let faults = Faults {
        noise: false,
        slow_disks: false,
        blindness: false,
        orders: false,
        health: false,
        ..Faults::ALL
    };
    Plan { faults, storm_leases: 400, ..*plan }
}

#[test]
fn voters_change_safely_in_any_storm() {
    for plan in
        [Plan::pair(), Plan::three(), Plan { nodes: 4, ..Plan::pair() }, Plan { nodes: 5, ..Plan::three() }]
    {
        check("voters", 6, |_| plan, &FORBIDDEN);
        check("voters", 6, |_| busy(&plan), &FORBIDDEN);
    }
}

#[test]
fn the_storms_shrink_and_grow_voters() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    // A change that is taken back needs a voter that dies while it comes in: rare, and tried by the unit tests.
    for world in check("voters", 10, |_| busy(&Plan::pair()), &FORBIDDEN) {
        for (reason, times) in world.field.members {
            *seen.entry(reason).or_default() += times;
        }
    }
    for reason in ["shrunk", "grown", "members_learned"] {
        assert!(seen.contains_key(reason), "no seed had {reason}: {seen:?}");
    }
}

/// The use the feature is made for: both others are off at once, and the main dies and comes back alone.
#[test]
fn a_main_alone_acts_on_and_acts_again() {
    for seed in 0..10 {
        let mut world = World::settled(Plan::pair(), seed);
        let shrink = |voter| Order::Members(MembersChange::Shrink { voter, fenced: false, hold: false });
        let lease = world.lease();
        world.order(1, Order::Maintenance(true));
        world.advance(lease);
        world.order(0, shrink(VoterId::Node(NodeRank(1))));
        world.advance(lease);
        world.order(0, shrink(VoterId::Witness));
        world.advance(lease);
        world.remove(1);
        world.remove_witness();
        world.advance(lease * 20);
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}\n{}", world.story(30));
        world.remove(0);
        world.bring_back(0);
        world.advance(lease * 20);
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}\n{}", world.story(30));
        world.heal();
        world.converge();
        assert!(!world.field.has(Finding::NoConvergence), "seed {seed}\n{}", world.story(30));
    }
}

/// A group that was shrunk to its main, and the main is lost: another node acts by an operator's word only, says so for
/// as long as nobody who votes agrees, and has a majority again when a machine with the main's name is back.
#[test]
fn who_acts_for_a_lost_last_voter_says_so_until_that_is_back() {
    for seed in 0..10 {
        let mut world = World::settled(Plan { hands_back: false, ..Plan::pair() }, seed);
        let lease = world.lease();
        let backup = VoterId::Node(NodeRank(1));
        for voter in [backup, VoterId::Witness] {
            world.order(1, Order::Maintenance(true));
            world.advance(lease);
            world.order(0, Order::Members(MembersChange::Shrink { voter, fenced: false, hold: true }));
            world.advance(lease);
        }
        world.order(1, Order::Maintenance(false));
        world.advance(lease * 2);
        world.remove(0);
        world.advance(lease * 4);
        assert_eq!(world.state(1), Some(NodeState::Standby), "seed {seed}\n{}", world.story(30));
        world.order(1, Order::Failover { force: true });
        world.advance(lease * 20);
        let machine = world.machine(1).unwrap();
        assert_eq!((machine.state(), machine.is_unquorate()), (NodeState::Active, true), "seed {seed}");
        let story = world.story(10);
        assert!(story.contains("forced a failover with 0 votes of 1 needed"), "seed {seed}\n{story}");
        world.bring_back(0);
        world.advance(lease * 8);
        let machine = world.machine(1).unwrap();
        assert_eq!((machine.state(), machine.is_unquorate()), (NodeState::Active, false), "seed {seed}");
        assert!(!world.field.has(Finding::TwoHolders), "seed {seed}");
    }
}

/// A change is done when those who would carry on know of it. A main that dies before leaves them with voters among whom
/// its own is needed: nobody acts, which is safe, until it is back.
#[test]
fn a_group_that_grew_goes_on_without_its_main_as_soon_as_the_change_is_done() {
    for seed in 0..20 {
        for waits in [true, false] {
            let mut world = World::settled(Plan { hands_back: false, ..Plan::pair() }, seed);
            let (lease, backup) = (world.lease(), VoterId::Node(NodeRank(1)));
            world.order(1, Order::Maintenance(true));
            world.advance(lease);
            world
                .order(0, Order::Members(MembersChange::Shrink { voter: backup, fenced: false, hold: true }));
            world.advance(lease);
            world.order(1, Order::Maintenance(false));
            world.advance(lease * 2);
            world.order(0, Order::Members(MembersChange::Grow { voter: backup }));
            let is_done = |machine: &Machine| {
                let counts = machine.counts() == (3, 3) && machine.members().before.is_none();
                counts && (!waits || machine.is_record_known())
            };
            let begun = world.now;
            while !world.machine(0).is_some_and(is_done) {
                assert!(world.now < begun + lease, "seed {seed}\n{}", world.story(30));
                world.pass(Duration::from_micros(50));
            }
            let main = world.machine(0).unwrap();
            assert_eq!((main.is_record_known(), main.is_protected()), (waits, waits), "seed {seed}");
            world.remove(0);
            world.advance(lease * 4);
            let expected = if waits { NodeState::Active } else { NodeState::Standby };
            assert_eq!(world.state(1), Some(expected), "seed {seed}\n{}", world.story(30));
            world.bring_back(0);
            world.advance(lease * 10);
            assert_eq!(world.active().len(), 1, "seed {seed}\n{}", world.story(30));
            assert_eq!(world.field.findings, [], "seed {seed}\n{}", world.story(30));
        }
    }
}

/// The checks can fail: a voter that forgets who votes is noticed.
#[test]
fn a_voter_that_forgets_who_votes_lets_the_wrong_ones_win() {
    let plan = |_| Plan { sabotage: Sabotage::ForgettingVoters, ..busy(&Plan::pair()) };
    find(400, plan, Finding::VotersBroken);
}
