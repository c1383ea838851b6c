//! A pair without a witness: on what it acts alone.

use super::*;

#[test]
fn a_standby_acts_alone_only_when_who_was_cut_off_has_seen_its_own_loss() {
    let mut bench = standby_of_a_pair();
    let (heard, timers) = (bench.now, bench.machine.setup().timers);
    let limit = timers.silence_alone(crate::Policy::Evidence);
    assert!(limit > timers.evidence_age && limit > timers.lease + timers.confirm);
    while bench.now + Duration::from_millis(100) < heard + limit {
        bench.wait(50);
        see(&mut bench);
        assert_eq!(bench.machine.state(), NodeState::Standby, "{:?} of silence", bench.now.since(heard));
    }
    // The other one is asked once more, and nobody answers.
    for _ in 0..13 {
        bench.wait(50);
        see(&mut bench);
    }
    assert_eq!(bench.machine.state(), NodeState::Activating);
    assert!(bench.machine.is_unquorate() && bench.machine.split_possible());
    assert!(
        bench
            .machine
            .last_reason()
            .to_string()
            .contains("limit 5400 ms: acts without majority by policy evidence"),
        "{}",
        bench.machine.last_reason()
    );
}

#[test]
fn evidence_that_comes_back_must_last_before_a_node_acts_on_it() {
    let mut bench = standby_of_a_pair();
    let lasts = bench.machine.setup().timers.evidence_lasts();
    for _ in 0..100 {
        bench.wait(100);
        bench.input(Input::Evidence { reference_ok: false, field_ok_percent: 100 });
    }
    assert_eq!(bench.machine.state(), NodeState::Standby);
    let back = bench.now;
    while bench.now < back + lasts {
        see(&mut bench);
        assert_eq!(bench.machine.state(), NodeState::Standby, "{:?} of evidence", bench.now.since(back));
        bench.wait(100);
    }
    for _ in 0..7 {
        see(&mut bench);
        bench.wait(100);
    }
    assert_eq!(bench.machine.state(), NodeState::Activating);
}

#[test]
fn a_holder_that_is_alone_acts_no_longer_than_its_evidence_counts_also_if_it_sleeps() {
    for sleeps in [false, true] {
        let mut bench = holder_of_a_pair();
        let timers = bench.machine.setup().timers;
        for _ in 0..100 {
            bench.wait(100);
            see(&mut bench);
        }
        assert_eq!((bench.machine.state(), bench.machine.is_unquorate()), (NodeState::Active, true));
        let seen = bench.now;
        let looks = if sleeps { 1 } else { 50 };
        for _ in 0..looks {
            bench.wait(u64::try_from(timers.evidence_age.as_millis()).unwrap() / looks - 1);
            let end = bench.machine.lease_end().unwrap();
            assert!(end <= seen + timers.evidence_age, "{:?}", end.since(seen));
        }
        bench.wait(60);
        assert_eq!(bench.machine.state(), NodeState::Isolated);
        let reason = bench.machine.last_reason().to_string();
        assert!(
            reason.starts_with("alone without evidence") && reason.ends_with("seen 5000 ms ago"),
            "{reason}"
        );
    }
}

/// What a majority granted does not depend on evidence.
#[test]
fn a_holder_with_a_majority_needs_no_evidence() {
    let mut bench = holder_of_a_pair();
    bench.wait_in_company(20_000, B, NodeState::Standby);
    assert_eq!((bench.machine.state(), bench.machine.is_unquorate()), (NodeState::Active, false));
}

fn see(bench: &mut Bench) {
    bench.input(Input::Evidence { reference_ok: true, field_ok_percent: 100 });
}

/// Node B, standby of node A, which it hears for the last time.
fn standby_of_a_pair() -> Bench {
    let mut bench = Bench::with(crate::setup::tests::group(NODE_B, 2, false), StoredState::default());
    bench.input(Input::Loaded);
    see(&mut bench);
    bench.beat(A, NodeState::Active, epoch_of(A, 1));
    bench.input(Input::Synced { lag_records: 0, config_matches: true });
    assert_eq!(bench.machine.state(), NodeState::Standby);
    bench
}

/// Node A, active alone, as nobody else is there.
fn holder_of_a_pair() -> Bench {
    let mut bench = Bench::with(crate::setup::tests::group(NODE_A, 2, false), StoredState::default());
    bench.input(Input::Loaded);
    for _ in 0..70 {
        see(&mut bench);
        bench.wait(100);
    }
    bench.input(Input::GatesOpen);
    assert_eq!(bench.machine.state(), NodeState::Active);
    bench
}
