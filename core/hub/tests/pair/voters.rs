//! Who votes, as a user changes it.

use std::time::{Duration, Instant};

use crate::site::Pair;

/// Without the witness each of two votes is needed: whichever node stops in order, also the active one, the other goes
/// on.
#[test]
fn of_two_voters_either_may_stop_in_order() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    assert_eq!(pair.json("main", &["shrink", "witness", "--hold"])["state"], "done");
    assert_eq!(pair.stop("witness"), 0);

    // A standby that was not drained.
    assert_eq!(pair.stop("backup"), 0);
    pair.wait("the main alone", |pair| counts(pair, "main") == (Some(1), Some(false)));
    acts_on(&pair, "main");

    // It waits with the witness until an operator takes it in.
    pair.restart("backup");
    pair.wait("backup standby", |pair| pair.state("backup") == "standby");
    assert_eq!(pair.json("main", &["switchover"])["state"], "failed", "who does not vote takes no role");
    pair.wait("the backup taken in", |pair| pair.json("backup", &["grow", "backup"])["state"] == "done");
    assert_eq!(counts(&pair, "main"), (Some(2), Some(false)));

    // The active one hands over, is let go, and ends.
    assert_eq!(pair.stop("main"), 0);
    pair.wait("the backup alone", |pair| {
        pair.state("backup") == "active" && counts(pair, "backup") == (Some(1), Some(false))
    });
    acts_on(&pair, "backup");
}

/// Nobody waits for it, since its vote is not missed; its last words still arrive.
#[test]
fn a_standby_that_stopped_in_order_may_be_shrunk_without_being_vouched_for() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    assert_eq!(pair.stop("backup"), 0);
    let answer = pair.json("main", &["shrink", "backup"]);
    assert_eq!(answer["state"], "done", "{answer}\n{}", pair.logs());
}

fn counts(pair: &Pair, node: &str) -> (Option<u64>, Option<bool>) {
    let status = pair.json(node, &["status"]);
    let voters = &status["groups"][0]["voters"];
    (voters["voting"].as_u64(), voters["changing"].as_bool())
}

/// The node stays active in its epoch, over several leases.
pub(crate) fn acts_on(pair: &Pair, node: &str) {
    let epoch = pair.counter(node);
    let leases_later = Instant::now() + Duration::from_secs(3);
    pair.wait("several leases", |pair| {
        assert_eq!((pair.state(node).as_str(), pair.counter(node)), ("active", epoch), "{}", pair.logs());
        Instant::now() > leases_later
    });
}
