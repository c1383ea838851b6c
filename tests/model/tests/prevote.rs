//! Pre-votes: a node that cannot win leaves a healthy holder alone.

use twinhub_lease_model::{
    ANOTHER_WINS, NOT_DISTURBED, ONE_HOLDER, PreVotes, Restart, Rules, assert_breaks, assert_holds,
};

#[test]
fn nobody_disturbs_a_healthy_holder() {
    assert_holds(Rules::PRE_VOTE, &[ANOTHER_WINS], 372_825);
}

#[test]
fn a_race_of_candidates_disturbs_nobody_either() {
    assert_holds(
        Rules { epochs: 4, in_flight: 3, crashes: 0, ..Rules::PRE_VOTE },
        &[ANOTHER_WINS],
        2_068_757,
    );
}

#[test]
fn nobody_disturbs_a_healthy_holder_of_three_nodes() {
    let rules = Rules { pre_votes: PreVotes::OfMajority, epochs: 3, in_flight: 2, ..Rules::THREE_NODES };
    assert_holds(rules, &[ANOTHER_WINS], 266_794);
}

#[test]
fn a_node_that_campaigns_without_asking_disturbs_the_holder() {
    assert_breaks(Rules { pre_votes: PreVotes::Skipped, ..Rules::PRE_VOTE }, NOT_DISTURBED);
}

#[test]
fn a_node_that_needs_any_vote_disturbs_the_holder() {
    assert_breaks(Rules { pre_votes: PreVotes::OfAnyone, ..Rules::PRE_VOTE }, NOT_DISTURBED);
}

#[test]
fn voters_that_look_at_the_epoch_only_let_the_holder_be_disturbed() {
    assert_breaks(Rules { pre_votes: PreVotes::IgnoreGrants, ..Rules::PRE_VOTE }, NOT_DISTURBED);
}

/// Pre-votes promise nothing: what keeps two nodes from acting are the votes.
#[test]
fn pre_votes_are_no_votes() {
    assert_breaks(Rules { restart: Restart::Forgets, ..Rules::PRE_VOTE }, ONE_HOLDER);
}
