//! A pair whose third vote is kept by a real etcd: processes, crashes, and an etcd that goes and comes back.

use std::time::{Duration, Instant};

use crate::etcd_process::Etcd;
use crate::site::Pair;

/// One story, since starting the processes costs more than what is checked.
#[test]
fn a_pair_with_etcd_takes_over_only_while_two_of_three_votes_are_there() {
    let mut etcd = Etcd::new();
    etcd.run();
    let mut pair = Pair::start_nodes(&["main", "backup"], &etcd.witness_line());
    pair.wait("main active, backup standby, etcd up", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby" && is_up(pair, "backup")
    });
    let status = pair.json("main", &["status"]);
    assert!(status["witness"]["address"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{status}");

    // The machine of the main is gone, supervisor first: nobody says so, the lease must end.
    let epoch = pair.counter("backup");
    pair.kill("main");
    pair.wait("the backup takes over", |pair| pair.state("backup") == "active");
    assert_ne!(pair.counter("backup"), epoch);

    // Without etcd the two nodes are the majority: the role stays where it is.
    pair.restart("main");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    // The vote of a node that was started again is bound to what it granted before, for one lease.
    let until = Instant::now() + 2 * LEASE;
    pair.wait("its old grant to end", |_| Instant::now() > until);
    let epoch = pair.counter("backup");
    etcd.kill();
    pair.wait("etcd is missed on both", |pair| !is_up(pair, "main") && !is_up(pair, "backup"));
    let until = Instant::now() + 3 * LEASE;
    pair.wait("several leases go by", |_| Instant::now() > until);
    assert_eq!((pair.state("backup").as_str(), pair.counter("backup")), ("active", epoch));

    // Without etcd and without the other node there is no majority: no takeover.
    pair.kill("backup");
    let until = Instant::now() + 4 * LEASE;
    pair.wait("several leases go by", |_| Instant::now() > until);
    assert_eq!(pair.state("main"), "standby");
    let status = pair.json("main", &["status"]);
    assert!(status["witness"]["error"].as_str().is_some_and(|error| error.contains("127.0.0.1")), "{status}");

    // With etcd again there is one.
    etcd.run();
    pair.wait("main takes over", |pair| pair.state("main") == "active");
    assert_ne!(pair.counter("main"), epoch);
}

/// Of profile `normal`.
const LEASE: Duration = Duration::from_millis(1500);

fn is_up(pair: &Pair, node: &str) -> bool {
    pair.json(node, &["status"])["witness"]["up"] == true
}
