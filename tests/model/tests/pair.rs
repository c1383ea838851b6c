//! A pair without a witness: what each policy promises, and what it costs.

use twinhub_lease_model::{
    ACTS_ALONE, Evidence, LEASE, MARKED, ONE_HOLDER, ONE_REMAINS, Pair, QUORATE_AGAIN, SPLIT, assert_breaks,
    assert_holds,
};

#[test]
fn in_manual_there_is_never_a_second_holder() {
    assert_holds(Pair::MANUAL, &[ACTS_ALONE], 79_615);
}

#[test]
fn an_operator_who_forces_a_role_may_make_two_holders() {
    assert_breaks(Pair { is_forced: true, ..Pair::MANUAL }, ONE_HOLDER);
}

#[test]
fn a_forced_split_is_marked_and_one_holder_remains() {
    let rules = Pair { is_forced: true, forbids_split: false, ..Pair::MANUAL };
    assert_holds(rules, &[SPLIT, QUORATE_AGAIN], 539_013);
}

#[test]
fn right_evidence_makes_no_second_holder() {
    assert_holds(Pair::EVIDENCE, &[ACTS_ALONE], 1_031_908);
}

#[test]
fn evidence_on_both_sides_makes_two_holders() {
    assert_breaks(Pair { evidence: Evidence::OnBothSides, ..Pair::EVIDENCE }, ONE_HOLDER);
}

/// Who had it until just now still holds its lease.
#[test]
fn evidence_that_changes_sides_and_counts_at_once_makes_two_holders() {
    assert_breaks(Pair { evidence: Evidence::Moves, evidence_lasts: 0, ..Pair::EVIDENCE }, ONE_HOLDER);
}

#[test]
fn evidence_that_changes_sides_and_must_last_makes_no_second_holder() {
    assert_holds(Pair { evidence: Evidence::Moves, ..Pair::EVIDENCE }, &[ACTS_ALONE], 3_388_584);
}

#[test]
fn a_holder_that_needs_no_evidence_makes_two_holders() {
    assert_breaks(Pair { holder_needs_evidence: false, ..Pair::EVIDENCE }, ONE_HOLDER);
}

#[test]
fn a_holder_that_slept_for_longer_than_silence_is_confirmed_makes_two_holders() {
    assert_breaks(Pair { confirm: 1, patience: LEASE, ..Pair::EVIDENCE }, ONE_HOLDER);
}

#[test]
fn a_short_silence_is_enough_where_a_holder_sleeps_no_longer() {
    assert_holds(Pair { confirm: 1, patience: 1, ..Pair::EVIDENCE }, &[ACTS_ALONE], 853_049);
}

#[test]
fn a_split_by_wrong_evidence_is_marked_and_one_holder_remains() {
    let rules = Pair { evidence: Evidence::OnBothSides, forbids_split: false, ..Pair::EVIDENCE };
    assert_holds(rules, &[SPLIT, QUORATE_AGAIN], 976_431);
}

#[test]
fn availability_may_split_says_so_and_one_holder_remains() {
    assert_holds(Pair::AVAILABILITY, &[SPLIT, QUORATE_AGAIN], 755_639);
}

#[test]
fn who_does_not_mark_what_it_holds_alone_hides_a_split() {
    assert_breaks(Pair { marks: false, ..Pair::AVAILABILITY }, MARKED);
}

#[test]
fn who_does_not_heed_a_higher_epoch_leaves_two_holders() {
    assert_breaks(Pair { heeds_epochs: false, ..Pair::AVAILABILITY }, ONE_REMAINS);
}
