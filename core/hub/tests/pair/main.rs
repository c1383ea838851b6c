//! Main, backup and witness as a user runs them: processes, ports, signals and exit codes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod accounts;
mod backup;
mod configuration;
mod deliveries;
mod etcd;
mod etcd_process;
mod etcd_secure;
mod etcd_service;
mod historian;
mod history;
mod isolation;
mod join;
mod log;
mod lost_state;
mod pins;
mod plugin_state;
mod plugin_upgrade;
mod questions;
mod site;
mod upgrade;
mod values_in;
mod voters;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use site::Pair;

/// One story, since starting three processes costs more than what is checked.
#[test]
fn a_pair_is_run_asked_switched_crashed_and_stopped() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });

    // A standby refuses a write, says where to go, or carries it over.
    let refused = pair.ask("backup", &["items", "set", "sim1/echo", "41"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("TH-NODE-001"), "{refused:?}");
    let carried = pair.ask("backup", &["items", "set", "sim1/echo", "42", "--forward"]);
    assert_eq!(carried.status.code(), Some(0), "{carried:?}");
    pair.wait("the echo on both", |pair| {
        ["main", "backup"]
            .iter()
            .all(|node| pair.json(node, &["items", "get", "sim1/echo"])[0]["value"] == 42)
    });

    // Every path answers with version, clock and configuration; the standing ones are measured.
    let tested = pair.ask("main", &["peer", "test"]);
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");
    pair.wait("measured paths", |pair| {
        let tests = pair.json("main", &["peer", "test"]);
        let [backup, witness] = [&tests[0]["paths"][0], &tests[1]["paths"][0]];
        tests[0]["config_hash"] == backup["config_hash"]
            && [backup, witness].iter().all(|path| path["protocol"] == 2)
            && backup["clock_offset_us"].as_i64().is_some_and(|offset| offset.abs() < 1_000_000)
            && witness["rtt_us"].is_u64()
    });

    // A planned switchover waits until it is done and says how long it took.
    let moved = pair.json("main", &["switchover", "--to", "backup"]);
    assert_eq!(moved["active"][0]["node"], "backup", "{moved}");
    assert!(moved["took_ms"].is_u64(), "{moved}");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    // A drained node gives its role away and stays without one, whichever node is asked, until that ends.
    let drained = pair.json("main", &["drain", "backup"]);
    assert_eq!(
        (&drained["state"], &drained["active"][0]["node"]),
        (&"done".into(), &"main".into()),
        "{drained}"
    );
    assert_eq!(pair.state("backup"), "maintenance");
    let refused = pair.ask("main", &["switchover", "--to-next"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(pair.json("backup", &["drain", "backup", "--end"])["state"], "done");
    pair.wait("backup standby again", |pair| pair.state("backup") == "standby");
    let moved = pair.json("backup", &["switchover", "--to-next"]);
    assert_eq!(moved["active"][0]["node"], "backup", "{moved}");
    let moved = pair.json("backup", &["switchover", "--to-primary"]);
    assert_eq!(moved["active"][0]["node"], "main", "{moved}");
    pair.wait("backup standby for the way back", |pair| pair.state("backup") == "standby");
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    pair.wait("main standby once more", |pair| pair.state("main") == "standby");
    let wrong = pair.ask("main", &["switchover", "--to", "nobody"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("no node is called `nobody`: the nodes are main, backup"), "{said}");

    // A full copy comes from the active node, which has nowhere to fetch one.
    let refused = pair.ask("backup", &["resync"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(pair.json("main", &["resync"])["state"], "done");
    pair.wait("main standby with a full copy", |pair| pair.state("main") == "standby");

    // A killed hub process is started again by its supervisor and rejoins. Who acts then depends on whether it is
    // back before its lease ends; that one acts and the other follows does not.
    let old = pair.hub("backup");
    kill_process(old, Signal::KILL).unwrap();
    pair.wait("one active, one standby, in a new epoch", |pair| {
        let mut states = [pair.state("main"), pair.state("backup")];
        states.sort();
        states == ["active", "standby"] && pair.counter("backup") > 2
    });
    assert_ne!(pair.hub("backup"), old);

    // A hub process does not outlive its supervisor.
    let orphan = pair.hub("backup");
    let supervisor = &mut pair.nodes[1].child;
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    pair.wait("the hub process to end with its supervisor", |_| !is_running(orphan));
    pair.wait("main to know that the process ended, not the network", |pair| {
        let lost = &pair.json("main", &["status"])["groups"][0]["nodes"][1]["unreachable"];
        lost.as_str().is_some_and(|lost| lost.contains("the process has ended"))
    });
    let tested = pair.ask("main", &["peer", "test", "backup"]);
    assert_eq!(tested.status.code(), Some(1), "{tested:?}");

    // SIGTERM stops in order, with exit code 0, the witness too.
    for name in ["main", "witness"] {
        assert_eq!(pair.stop(name), 0, "{name}");
    }
}

/// Three nodes are a majority of two: they go on without one, and the last one alone acts not.
#[test]
fn three_nodes_survive_one_loss_and_the_last_one_alone_does_not_act() {
    let mut site = Pair::start_nodes(&["main", "backup", "spare"], "");
    let states = |site: &Pair| ["main", "backup", "spare"].map(|node| site.state(node));
    site.wait("main active, the others standby", |site| states(site) == ["active", "standby", "standby"]);

    site.kill("main");
    site.wait("backup active, protected by the spare", |site| {
        let group = &site.json("backup", &["status"])["groups"][0];
        group["active"] == "backup" && group["state"] == "active" && group["protected"] == true
    });

    site.kill("backup");
    site.wait("the spare to know that it is alone", |site| {
        let group = &site.json("spare", &["status"])["groups"][0];
        group["active"].is_null() && group["nodes"][1]["state"] == "unreachable"
    });
    let refused = site.ask("spare", &["items", "set", "sim1/echo", "1"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");

    site.restart("main");
    site.wait("one of two active again", |site| {
        let mut states = [site.state("main"), site.state("spare")];
        states.sort();
        states == ["active", "standby"]
    });
}

/// Backup and witness are serviced on the same day: the main goes on alone, also over a crash, and takes them in again
/// when both are back.
#[test]
fn a_main_goes_on_alone_while_backup_and_witness_are_serviced() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    let voters = |pair: &Pair| pair.json("main", &["status"])["groups"][0]["voters"].clone();
    let counts = |pair: &Pair| {
        let voters = voters(pair);
        (voters["voting"].as_u64(), voters["configured"].as_u64(), voters["changing"].as_bool())
    };
    assert_eq!(counts(&pair), (Some(3), Some(3), Some(false)));

    // What is in use is not taken out, and a vote that does not exist is none.
    let refused = pair.ask("main", &["shrink", "backup"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let detail = pair.json("main", &["shrink", "backup"])["detail"].clone();
    assert_eq!(detail, "backup is standby: `twinhub drain` it first, or stop it");
    assert_eq!(pair.ask("main", &["shrink", "nobody"]).status.code(), Some(1));

    // Drained, and shrunk by an order at the other node.
    assert_eq!(pair.json("main", &["drain", "backup"])["state"], "done");
    let shrunk = pair.json("backup", &["shrink", "backup"]);
    assert_eq!(shrunk["state"], "done", "{shrunk}");
    assert_eq!(counts(&pair), (Some(2), Some(3), Some(false)));
    assert_eq!(pair.stop("backup"), 0);

    // The witness stops in order: it is let go, since nobody could act without it.
    assert_eq!(pair.stop("witness"), 0);
    pair.wait("one voter", |pair| counts(pair) == (Some(1), Some(3), Some(false)));
    let alone = voters(&pair);
    let grounds =
        [&alone["shrunk"][0], &alone["shrunk"][1]].map(|shrunk| (&shrunk["name"], &shrunk["ground"]));
    assert_eq!(grounds, [(&"backup".into(), &"drained".into()), (&"witness".into(), &"stopped".into())]);
    let epoch = pair.counter("main");
    let leases_later = Instant::now() + Duration::from_secs(4);
    pair.wait("the main to act alone over several leases", |pair| {
        assert_eq!((pair.state("main").as_str(), pair.counter("main")), ("active", epoch), "{}", pair.logs());
        Instant::now() > leases_later
    });
    let status = pair.json("main", &["status"]);
    assert_eq!(status["groups"][0]["protected"], false, "{status}");
    assert_eq!(pair.ask("main", &["items", "set", "sim1/echo", "7"]).status.code(), Some(0));
    let table = pair.table("main", &["status"]);
    assert!(table.contains("voters: 1 of 3, shrunk: backup (drained), witness (stopped)"), "{table}");
    let metrics = pair.metrics("main");
    assert!(metrics.contains("twinhub_voters{node=\"main\",group=\"site\"} 1\n"), "{metrics}");

    // It recovers from a crash by itself.
    pair.kill("main");
    pair.restart("main");
    pair.wait("the main active again by itself", |pair| pair.state("main") == "active");
    assert!(pair.counter("main") > epoch);

    // The backup alone is not taken in; with the witness both are, one after the other.
    pair.restart("backup");
    pair.wait("the backup in maintenance, as before", |pair| pair.state("backup") == "maintenance");
    assert_eq!(pair.json("backup", &["drain", "backup", "--end"])["state"], "done");
    pair.wait("the backup ready", |pair| {
        let waits = voters(pair)["shrunk"][0]["waits_for"].as_str().unwrap_or_default().to_owned();
        waits.contains("is ready and waits for one more")
    });
    assert_eq!(pair.json("main", &["status"])["groups"][0]["protected"], false);
    pair.restart_witness();
    pair.wait("all three vote", |pair| counts(pair) == (Some(3), Some(3), Some(false)));
    pair.wait("protected again", |pair| {
        pair.json("main", &["status"])["groups"][0]["protected"] == true && pair.state("backup") == "standby"
    });
    let history = pair.table("main", &["history"]);
    for said in [
        "shrunk backup, drained: 2 of 3 voters, revision 2, in ",
        "shrunk the witness, stopped: 1 of 3 voters, revision 4, in ",
        "backup votes again: 2 of 3 voters, revision 6, in ",
        "the witness votes again: 3 of 3 voters, revision 8, in ",
    ] {
        assert!(history.contains(said), "{said}\n{history}");
    }

    // And the backup takes over as ever.
    pair.kill("main");
    pair.wait("the backup active", |pair| pair.state("backup") == "active");
}

/// Reaped by its parent or by init, or a zombie until then.
fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    test_kill_process(pid).is_ok() && state.is_some_and(|state| state != 'Z')
}
