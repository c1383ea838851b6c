//! Planned moves: what the token of a holder that stopped may do, and what it may not.

use twinhub_lease_model::{
    Giver, HANDED_OVER, NO_STALE_WRITE, ONE_HOLDER, Rules, Tokens, assert_breaks, assert_holds,
};

#[test]
fn all_promises_hold_while_the_role_is_handed_over() {
    assert_holds(Rules::HANDOVER, &[HANDED_OVER], 3_580_320);
}

#[test]
fn the_role_may_be_handed_over_there_and_back() {
    let rules = Rules { epochs: 6, drift: 0, crashes: 0, watches_writes: false, ..Rules::HANDOVER };
    assert_holds(rules, &[HANDED_OVER], 5_067_762);
}

#[test]
fn a_token_of_any_epoch_makes_two_holders() {
    assert_breaks(Rules { tokens: Tokens::OfAnyEpoch, ..Rules::HANDOVER }, ONE_HOLDER);
}

/// It was used, another epoch began, and a copy of it arrives once more.
#[test]
fn a_token_that_is_taken_twice_makes_two_holders() {
    let rules =
        Rules { tokens: Tokens::Twice, epochs: 6, crashes: 0, watches_writes: false, ..Rules::HANDOVER };
    assert_breaks(rules, ONE_HOLDER);
}

#[test]
fn a_token_that_was_overtaken_lets_its_bearer_write_too_early() {
    let rules = Rules { tokens: Tokens::Overtaken, crashes: 0, ..Rules::HANDOVER };
    assert_breaks(rules, NO_STALE_WRITE);
}

#[test]
fn a_holder_that_acts_on_after_giving_its_token_makes_two_holders() {
    assert_breaks(Rules { giver: Giver::ActsOn, ..Rules::HANDOVER }, ONE_HOLDER);
}

#[test]
fn a_token_that_hides_what_is_on_its_way_lets_its_bearer_write_too_early() {
    assert_breaks(Rules { giver: Giver::SaysDrained, ..Rules::HANDOVER }, NO_STALE_WRITE);
}

/// The guard of who takes over counts from the token, so what is as old as the guard is long would be cut too late.
#[test]
fn a_holder_that_does_not_wait_before_its_token_leaves_too_little_guard() {
    assert_breaks(Rules { giver: Giver::Hurries, ..Rules::HANDOVER }, NO_STALE_WRITE);
}
