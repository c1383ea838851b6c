//! A node that loses its voters stops to act before they could choose another.

use twinhub_redundancy::{NodeState, VoterId};
use twinhub_simulation::{Plan, World};

#[test]
fn an_active_node_that_is_cut_off_closes_its_gates_within_its_lease() {
    for seed in 0..20 {
        let mut world = World::settled(Plan::pair(), seed);
        let node = world.active()[0];
        world.cut_off(node.0);
        let hold = world.timers.hold() * 102 / 100;
        world.advance(u64::try_from(hold.as_nanos()).unwrap());
        let site = &world.sites[&VoterId::Node(node)];
        assert!(!site.holds_lease(world.now), "seed {seed}: {}", world.story(20));
        assert_eq!(world.state(node.0), Some(NodeState::Isolated), "seed {seed}");
        let stopped = site.acted_until;
        world.advance(world.lease() * 10);
        assert_eq!(world.sites[&VoterId::Node(node)].acted_until, stopped, "it wrote nothing more");
        assert_eq!(world.active().len(), 1, "the other one took over");
        world.heal();
        world.converge();
        assert!(world.field.findings.is_empty(), "seed {seed}: {:?}", world.field.findings);
    }
}

#[test]
fn losing_the_witness_changes_nothing_while_the_pair_sees_itself() {
    let mut world = World::settled(Plan::pair(), 3);
    let epoch = world.machine(0).unwrap().epoch();
    world.remove_witness();
    world.advance(world.lease() * 30);
    assert_eq!(world.machine(0).unwrap().epoch(), epoch, "{}", world.story(20));
    assert!(world.machine(0).unwrap().is_protected());
}

#[test]
fn losing_the_backup_leaves_the_active_node_active_and_unprotected() {
    let mut world = World::settled(Plan::pair(), 4);
    let epoch = world.machine(0).unwrap().epoch();
    world.remove(1);
    world.advance(world.lease() * 30);
    let machine = world.machine(0).unwrap();
    assert_eq!((machine.state(), machine.epoch()), (NodeState::Active, epoch));
    assert!(!machine.is_protected() && !machine.split_possible());
}

#[test]
fn a_standby_that_is_cut_off_raises_no_epoch_and_disturbs_nobody() {
    let mut world = World::settled(Plan::pair(), 5);
    let epoch = world.machine(0).unwrap().epoch();
    world.cut_off(1);
    world.advance(world.lease() * 30);
    assert_eq!(world.state(1), Some(NodeState::Standby));
    world.net.heal();
    world.advance(world.lease() * 5);
    assert_eq!(world.machine(0).unwrap().epoch(), epoch, "{}", world.story(20));
    assert!(world.is_settled());
}

#[test]
fn a_cut_between_the_nodes_alone_moves_nothing() {
    let mut world = World::settled(Plan::pair(), 6);
    let epoch = world.machine(0).unwrap().epoch();
    let (one, other) = (VoterId::Node(world.active()[0]), VoterId::Node(twinhub_model::NodeRank(1)));
    world.net.cut(one, other);
    world.net.cut(other, one);
    world.advance(world.lease() * 30);
    assert_eq!(world.machine(0).unwrap().epoch(), epoch, "the witness keeps the peace: {}", world.story(20));
    assert_eq!(world.active().len(), 1);
}
