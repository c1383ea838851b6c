//! The word that a process is dead: what it may free, and what it may not.

use stateright::Model;
use twinhub_lease_model::{
    ANOTHER_WINS, Flight, Move, NO_STALE_WRITE, ONE_HOLDER, Packet, Rules, Words, assert_breaks, assert_holds,
};

#[test]
fn all_promises_hold_when_a_dead_process_frees_its_grants() {
    assert_holds(Rules::RESIGNED, &[ANOTHER_WINS], 2_891_121);
}

#[test]
fn a_second_death_changes_nothing() {
    let rules = Rules { crashes: 2, guard: 0, watches_writes: false, ..Rules::RESIGNED };
    assert_holds(rules, &[ANOTHER_WINS], 1_209_849);
}

/// No tick of time goes by between the two.
#[test]
fn the_other_node_wins_at_once_after_the_word() {
    let rules = Rules::RESIGNED;
    let ask =
        |node, voter, epoch| Move::Deliver(Packet::Ask { node, voter, epoch, age: 0, token: 0, process: 0 });
    let grant = |voter, node, epoch| Move::Deliver(Packet::Grant { voter, node, epoch, age: 0 });
    let hear = |voter| Move::Hear { voter, node: 0 };
    let steps = [
        [Move::Ask(0), ask(0, 1, 2), grant(1, 0, 2), ask(0, 2, 2)],
        [grant(2, 0, 2), Move::Crash(0), hear(1), hear(2)],
        [Move::Ask(1), ask(1, 0, 5), ask(1, 2, 5), grant(2, 1, 5)],
    ];
    let mut state = rules.init_states()[0];
    for step in steps.into_iter().flatten() {
        let mut possible = Vec::new();
        rules.actions(&state, &mut possible);
        assert!(possible.contains(&step), "{step:?} is not among {possible:?}");
        state = rules.next_state(&state, step).unwrap();
    }
    assert!(state.has_changed_hands());
}

#[test]
fn a_word_that_frees_the_grant_of_the_next_process_makes_two_holders() {
    assert_breaks(Rules { words: Words::OfAnyProcess, ..Rules::RESIGNED }, ONE_HOLDER);
}

#[test]
fn a_word_about_a_process_that_lives_makes_two_holders() {
    assert_breaks(Rules { words: Words::BeforeDeath, ..Rules::RESIGNED }, ONE_HOLDER);
}

#[test]
fn a_word_that_frees_what_the_process_won_after_it_makes_two_holders() {
    assert_breaks(Rules { words: Words::OfAnyEpoch, ..Rules::RESIGNED }, ONE_HOLDER);
}

#[test]
fn a_guard_as_long_as_the_way_of_a_write_is_too_short() {
    assert_breaks(Rules { flight: Flight::AtMost(2), ..Rules::RESIGNED }, NO_STALE_WRITE);
}

#[test]
fn without_guard_what_the_dead_process_sent_arrives_after_a_new_write() {
    assert_breaks(Rules { guard: 0, ..Rules::RESIGNED }, NO_STALE_WRITE);
}
