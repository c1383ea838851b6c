//! What an administrator does to an etcd, or what befalls it, while a pair rests on it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::etcd_process::Etcd;
use crate::site::Pair;
use crate::voters::acts_on;

#[test]
fn a_pair_goes_on_with_the_next_member_of_etcd_when_one_dies() {
    let mut members = Etcd::cluster(3);
    members.iter_mut().for_each(Etcd::start);
    members.iter().for_each(Etcd::wait);
    // Whoever asks the first asks a follower: the death of a leader also costs an election.
    let leader = Etcd::leader(&members);
    members.swap(leader, 2);
    let urls: Vec<String> = members.iter().map(Etcd::url).collect();
    let mut pair = Pair::start_nodes(&["main", "backup"], &format!("witness = {{ etcd = {urls:?} }}"));
    pair.wait("main active, backup standby, etcd up", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby" && asked(pair, "main").is_some()
    });
    let tested = pair.ask("main", &["peer", "test", "witness"]);
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");

    // Without the backup each renewal needs etcd.
    pair.wait("the first member to be asked", |pair| asked(pair, "main").as_ref() == Some(&urls[0]));
    // An etcd whose keys are empty may have lost a grant: it says nothing for a lease.
    acts_on(&pair, "main");
    pair.kill("backup");
    acts_on(&pair, "main");
    let (place, dead) = (0, urls[0].clone());
    members[place].kill();
    acts_on(&pair, "main");
    pair.wait("the main asks another member", |pair| {
        asked(pair, "main").is_some_and(|url| url != dead) && pair.state("main") == "active"
    });
    assert_eq!(pair.ask("main", &["items", "set", "sim1/echo", "5"]).status.code(), Some(0));

    // Each member is told by itself.
    let tested = pair.ask("main", &["peer", "test", "witness"]);
    assert_eq!(tested.status.code(), Some(1), "{tested:?}");
    let test = pair.json("main", &["peer", "test", "witness"]);
    for (at, url) in urls.iter().enumerate() {
        let path = &test[0]["paths"][at];
        assert_eq!((&path["address"], &path["reachable"]), (&json!(url), &json!(at != place)), "{test}");
        assert_eq!(path["error"].is_null(), at != place, "{test}");
    }

    // Two of three members are an etcd as any other.
    pair.restart("backup");
    pair.wait("backup standby, with etcd", |pair| {
        pair.state("backup") == "standby" && asked(pair, "backup").is_some_and(|url| url != dead)
    });
    pair.kill("main");
    pair.wait("the backup takes over", |pair| pair.state("backup") == "active");

    // One of three answers its version, and can neither read nor write: no vote.
    pair.restart("main");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    let second = members.iter().position(|member| member.url() != dead).unwrap();
    members[second].kill();
    pair.wait("etcd without a majority is missed on both", |pair| {
        asked(pair, "main").is_none() && asked(pair, "backup").is_none()
    });
    assert_eq!(pair.state("backup"), "active", "the two nodes are the majority");
    let test = pair.json("main", &["peer", "test", "witness"]);
    let alive = (0..3).find(|at| ![place, second].contains(at)).unwrap();
    let path = &test[0]["paths"][alive];
    assert!(path["reachable"] == true && path["error"].is_string(), "{test}");
}

#[test]
fn compaction_disturbs_nobody_and_etcd_is_shrunk_for_its_service_and_grown_again() {
    let mut etcd = Etcd::new();
    etcd.run();
    let mut pair = Pair::start_nodes(&["main", "backup"], &etcd.witness_line());
    pair.wait("main active, backup standby, etcd up", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby" && asked(pair, "main").is_some()
    });

    // Each renewal is a revision: all but the last are thrown away, several times.
    let epoch = pair.counter("main");
    let first = revision(&etcd);
    for _ in 0..5 {
        let before = revision(&etcd);
        pair.wait("further renewals", |_| revision(&etcd) > before + 3);
        let newest = revision(&etcd);
        let answer =
            etcd.admin("/v3/kv/compaction", &json!({ "revision": newest.to_string(), "physical": true }));
        assert!(answer.get("error").is_none(), "{answer}");
        let answer = etcd.admin("/v3/maintenance/defragment", &json!({}));
        assert!(answer.get("error").is_none(), "{answer}");
    }
    let key = STANDARD.encode("/twinhub/");
    let gone = etcd.admin("/v3/kv/range", &json!({ "key": key, "revision": first.to_string() }));
    assert!(gone["error"].as_str().is_some_and(|error| error.contains("compacted")), "{gone}");
    acts_on(&pair, "main");
    assert_eq!(pair.counter("main"), epoch);

    // Its service: two of two nodes vote, and nobody asks it.
    let shrunk = pair.json("main", &["shrink", "witness", "--hold"]);
    assert_eq!(shrunk["state"], "done", "{shrunk}");
    assert_eq!(voting(&pair, "main"), Some(2));
    etcd.kill();
    pair.wait("etcd missed", |pair| asked(pair, "main").is_none());
    acts_on(&pair, "main");
    let moved = pair.json("main", &["switchover", "--to", "backup"]);
    assert_eq!(moved["active"][0]["node"], "backup", "{moved}");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    assert_eq!(voting(&pair, "backup"), Some(2), "the record went along");

    // Back, and taken in again by an order.
    etcd.run();
    pair.wait("etcd up", |pair| asked(pair, "backup").is_some());
    pair.wait("etcd taken in", |pair| pair.json("backup", &["grow", "witness"])["state"] == "done");
    pair.wait("three voters", |pair| voting(pair, "backup") == Some(3) && voting(pair, "main") == Some(3));

    // Its vote counts again.
    pair.kill("backup");
    pair.wait("the main takes over", |pair| pair.state("main") == "active");
}

/// The member that a node asks, if one answers.
fn asked(pair: &Pair, node: &str) -> Option<String> {
    let witness = pair.json(node, &["status"])["witness"].clone();
    let version = witness["version"].as_str().filter(|_| witness["up"] == true)?;
    version.split(" at ").nth(1).map(str::to_owned)
}

fn voting(pair: &Pair, node: &str) -> Option<u64> {
    pair.json(node, &["status"])["groups"][0]["voters"]["voting"].as_u64()
}

fn revision(etcd: &Etcd) -> u64 {
    let answer = etcd.admin("/v3/kv/range", &json!({ "key": STANDARD.encode("/twinhub/") }));
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
