//! Three nodes, of which any two are the majority.

use twinhub_lease_model::{
    ANOTHER_WINS, LEASE, NO_STALE_WRITE, ONE_HOLDER, Restart, Rules, assert_breaks, assert_holds,
};

#[test]
fn all_promises_hold_between_three_nodes() {
    assert_holds(Rules::THREE_NODES, &[ANOTHER_WINS], 1_380_145);
}

#[test]
fn two_crashes_of_three_nodes_change_nothing() {
    assert_holds(Rules { epochs: 4, crashes: 2, ..Rules::THREE_NODES }, &[ANOTHER_WINS], 889_652);
}

#[test]
fn no_write_of_three_nodes_is_stale() {
    let rules = Rules { epochs: 4, watches_writes: true, ..Rules::THREE_NODES };
    assert_holds(rules, &[ANOTHER_WINS], 1_928_777);
}

#[test]
fn a_node_that_forgets_its_vote_makes_two_holders() {
    assert_breaks(Rules { restart: Restart::Forgets, ..Rules::THREE_NODES }, ONE_HOLDER);
}

#[test]
fn a_node_that_votes_at_once_after_its_restart_makes_two_holders() {
    assert_breaks(Rules { restart: Restart::GrantsAtOnce, ..Rules::THREE_NODES }, ONE_HOLDER);
}

#[test]
fn without_margin_there_are_two_holders() {
    assert_breaks(Rules { hold: LEASE, ..Rules::THREE_NODES }, ONE_HOLDER);
}

#[test]
fn a_vote_too_few_makes_two_holders() {
    assert_breaks(Rules { votes_needed: 1, ..Rules::THREE_NODES }, ONE_HOLDER);
}

#[test]
fn without_guard_an_old_write_arrives_after_a_new_one() {
    assert_breaks(Rules { guard: 0, watches_writes: true, ..Rules::THREE_NODES }, NO_STALE_WRITE);
}
