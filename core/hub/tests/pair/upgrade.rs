//! Nodes of two versions side by side.

use crate::site::Pair;

/// The way of the README: one process after the other, with the roles moving between the versions in both directions,
/// planned and by crashes. No value that was confirmed is lost, and what is spoken is what both know.
#[test]
fn a_pair_is_upgraded_one_process_after_the_other_and_takes_over_in_both_directions() {
    let mut pair = Pair::start_old(&["main", "backup", "witness"]);
    settled(&pair, "main", "backup");
    let mut values = Values::default();
    values.set(&pair, "main");

    // The witness first. It speaks what the nodes speak.
    assert_eq!(pair.stop("witness"), 0);
    pair.old.remove("witness");
    pair.restart_witness();
    pair.wait("the witness to be up", |pair| pair.json("main", &["status"])["witness"]["up"] == true);
    settled(&pair, "main", "backup");

    // Then the backup.
    assert_eq!(pair.json("main", &["drain", "backup"])["state"], "done");
    assert_eq!(pair.stop("backup"), 0);
    pair.old.remove("backup");
    pair.restart("backup");
    pair.wait("the backup in maintenance, as it was", |pair| pair.state("backup") == "maintenance");
    assert_eq!(pair.json("backup", &["drain", "backup", "--end"])["state"], "done");
    settled(&pair, "main", "backup");
    assert_eq!(protocols(&pair, "backup"), [Some(1), Some(2), Some(2)], "main, backup, witness");
    let table = pair.table("backup", &["status"]);
    assert!(table.contains("speaks protocol 1, backup 2: update main"), "{table}");
    values.are_at(&pair, "backup");

    // Old to new, and new to old, in order.
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    settled(&pair, "backup", "main");
    values.are_at(&pair, "backup");
    values.set(&pair, "backup");
    assert_eq!(pair.json("main", &["switchover", "--to", "main"])["active"][0]["node"], "main");
    settled(&pair, "main", "backup");
    values.are_at(&pair, "main");
    values.set(&pair, "main");

    // The new one takes over from a dead old one, and the old one from a dead new one.
    pair.kill("main");
    pair.wait("the new backup active", |pair| pair.state("backup") == "active");
    values.are_at(&pair, "backup");
    values.set(&pair, "backup");
    pair.restart("main");
    settled(&pair, "backup", "main");
    values.are_at(&pair, "main");
    pair.kill("backup");
    pair.wait("the old main active", |pair| pair.state("main") == "active");
    values.are_at(&pair, "main");
    values.set(&pair, "main");
    pair.restart("backup");
    settled(&pair, "main", "backup");

    // A hub process that crashes beside a supervisor: its word is understood by the other version.
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    settled(&pair, "backup", "main");
    rustix::process::kill_process(pair.hub("backup"), rustix::process::Signal::KILL).unwrap();
    pair.wait("one active and one standby", |pair| {
        let mut states = [pair.state("main"), pair.state("backup")];
        states.sort();
        states == ["active", "standby"]
    });
    for node in ["main", "backup"] {
        values.are_at(&pair, node);
    }

    // The main at last: everybody speaks the new protocol.
    assert_eq!(pair.json("main", &["drain", "main"])["state"], "done");
    assert_eq!(pair.stop("main"), 0);
    pair.old.remove("main");
    pair.restart("main");
    pair.wait("the main in maintenance, as it was", |pair| pair.state("main") == "maintenance");
    assert_eq!(pair.json("main", &["drain", "main", "--end"])["state"], "done");
    settled(&pair, "backup", "main");
    for node in ["main", "backup"] {
        pair.wait("protocol 2 everywhere", |pair| protocols(pair, node) == [Some(2); 3]);
        values.are_at(&pair, node);
        assert_eq!(pair.json(node, &["switchover", "--to", node])["active"][0]["node"], node);
    }
}

/// The way back, after a voter had been shrunk and grown: a node of the version before keeps no record of that.
#[test]
fn a_node_goes_back_to_the_version_before_unless_a_voter_is_shrunk() {
    let mut pair = Pair::start();
    settled(&pair, "main", "backup");
    assert_eq!(pair.json("main", &["drain", "backup"])["state"], "done");
    assert_eq!(pair.json("main", &["shrink", "backup"])["state"], "done");
    assert_eq!(pair.stop("main"), 0);
    let role = pair.dir.path().join("var/lib/twinhub/main/role");
    let format = |at: usize| std::fs::read(&role).unwrap()[at + 8];
    assert!(format(0) == 2 || format(4096) == 2, "the version before refuses it");

    pair.restart("main");
    pair.wait("the main active", |pair| pair.state("main") == "active");
    assert_eq!(pair.json("backup", &["drain", "backup", "--end"])["state"], "done");
    pair.wait("three voters", |pair| {
        let voters = pair.json("main", &["status"])["groups"][0]["voters"].clone();
        voters["voting"] == 3 && voters["changing"] == false
    });
    settled(&pair, "main", "backup");

    let mut values = Values::default();
    values.set(&pair, "main");
    assert_eq!(pair.json("main", &["switchover", "--to", "backup"])["active"][0]["node"], "backup");
    settled(&pair, "backup", "main");
    assert_eq!(pair.stop("main"), 0);
    assert_eq!((format(0), format(4096)), (1, 1), "the version before reads it");
    pair.old.insert("main");
    pair.restart("main");
    settled(&pair, "backup", "main");
    values.are_at(&pair, "main");
    pair.kill("backup");
    pair.wait("the old main active, with the witness's vote", |pair| pair.state("main") == "active");
    values.are_at(&pair, "main");
}

/// A role file of a version that is not there yet: the node says so and does not start, the file stays as it is, and the
/// other node is not harmed.
#[test]
fn a_role_file_of_a_later_version_is_refused_with_what_to_do_and_kept() {
    let mut pair = Pair::start();
    settled(&pair, "main", "backup");
    assert_eq!(pair.stop("backup"), 0);
    let path = pair.dir.path().join("var/lib/twinhub/backup/role");
    let mut bytes = std::fs::read(&path).unwrap();
    for slot in bytes.chunks_mut(4096).filter(|slot| slot.starts_with(b"TWHROLE\n")) {
        slot[8] = 3;
        let length = u32::from_le_bytes(slot[12..16].try_into().unwrap()) as usize;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&slot[..24]);
        checksum.update(&slot[32..32 + length]);
        slot[24..28].copy_from_slice(&checksum.finalize().to_le_bytes());
    }
    std::fs::write(&path, &bytes).unwrap();

    let before = pair.log("backup").len();
    pair.restart("backup");
    assert_eq!(pair.ended("backup"), 64, "final: started again it would be refused again");
    let log = pair.log("backup")[before..].to_owned();
    let said = format!(
        "error: {} has format 3, this version reads up to 2; install the newer version again",
        path.display()
    );
    assert_eq!(log.matches(&said).count(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file is as it was");
    let epoch = pair.json("main", &["status"])["groups"][0]["epoch"].clone();
    let mut values = Values::default();
    values.set(&pair, "main");
    assert_eq!(pair.json("main", &["status"])["groups"][0]["epoch"], epoch);
}

fn settled(pair: &Pair, active: &str, standby: &str) {
    pair.wait(&format!("{active} active, {standby} standby, in sync"), |pair| {
        let group = &pair.json(active, &["status"])["groups"][0];
        let nodes = group["nodes"].as_array().cloned().unwrap_or_default();
        pair.state(active) == "active"
            && pair.state(standby) == "standby"
            && nodes.iter().any(|node| node["name"] == standby && node["in_sync"] == true)
    });
}

/// What a node and the others speak: main, backup, witness.
fn protocols(pair: &Pair, node: &str) -> [Option<u64>; 3] {
    let status = pair.json(node, &["status"]);
    let nodes = &status["groups"][0]["nodes"];
    [&nodes[0], &nodes[1], &status["witness"]].map(|peer| peer["protocol"].as_u64())
}

/// Values that were confirmed: each is there after whatever happens.
#[derive(Default)]
struct Values(u64);

impl Values {
    fn set(&mut self, pair: &Pair, node: &str) {
        self.0 += 1;
        let done = pair.ask(node, &["items", "set", "sim1/echo", &self.0.to_string()]);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        self.are_at(pair, node);
    }

    fn are_at(&self, pair: &Pair, node: &str) {
        pair.wait(&format!("echo {} on {node}", self.0), |pair| {
            pair.json(node, &["items", "get", "sim1/echo"])[0]["value"] == self.0
        });
    }
}
