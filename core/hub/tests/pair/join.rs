//! A new machine becomes a node of a site that runs.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::history::{each_number_once, epochs, is_complete, trend_of};
use crate::site::Pair;

/// One story, since starting processes costs more than what is checked.
#[test]
fn a_new_machine_takes_the_place_of_a_dead_one_with_a_code() {
    let mut pair = Pair::start_nodes(&["main", "backup"], "without_witness = \"manual\"");
    pair.wait("a pair", |pair| {
        ["main", "backup"].iter().all(|node| ["active", "standby"].contains(&pair.state(node).as_str()))
    });
    if pair.state("main") != "active" {
        assert!(pair.ask("backup", &["switchover", "--to", "main"]).status.success());
        pair.wait("main active", |pair| pair.state("main") == "active");
    }
    pair.wait("backup standby", |pair| pair.state("backup") == "standby");
    assert!(pair.ask("main", &["tokens", "create", "grafana", "--role", "viewer"]).status.success());
    pair.kill("backup");

    // Codes are for nodes of the site, and only this one of it.
    for (node, said) in [("nobody", "TH-NODE-002"), ("main", "TH-ITEM-003")] {
        let refused = pair.ask("main", &["init", "--code", node]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
    }
    let code =
        pair.json("main", &["init", "--code", "backup"])["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!(code.len(), 39, "{code}");

    // What is wrong is said, and costs nothing.
    let machine = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = machine.path();
    std::fs::create_dir(root.join("bin")).unwrap();
    std::fs::hard_link(env!("CARGO_BIN_EXE_twinhub"), root.join("bin/twinhub")).unwrap();
    let address = format!("127.0.0.1:{}", pair.web("main"));
    let wrong = format!("{}{}", &code[..35], if code.ends_with("0000") { "1111" } else { "0000" });
    for (address, code, exit, said) in [
        (address.as_str(), "12345", 1, "no join code"),
        (address.as_str(), wrong.as_str(), 1, "TH-JOIN-001"),
        ("127.0.0.1:1", code.as_str(), 4, "no hub answers"),
    ] {
        let refused = join(root, address, code);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(exit) && text.contains(said), "{refused:?}");
    }
    assert!(!root.join("etc").exists(), "nothing was written");

    // The code lets it in, once; the machine then has all that it needs, and a second site is refused.
    let joined = join(root, &address, &code);
    assert!(joined.status.success(), "{joined:?}\n{}", pair.logs());
    let text = String::from_utf8_lossy(&joined.stdout);
    assert!(
        text.contains("this machine is `backup` of pair") && text.contains("fetched plugins sim"),
        "{text}"
    );
    for name in ["twinhub.toml", "sim1.csv", "token", "pki/ca.pem", "pki/backup.pem", "pki/backup.key"] {
        assert!(root.join("etc/twinhub").join(name).is_file(), "{name}");
    }
    assert!(!root.join("etc/twinhub/pki/ca.key").exists(), "the key of the authority stays where it is");
    let again = join(root, &address, &code);
    assert_eq!(again.status.code(), Some(64), "{again:?}");
    let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::create_dir(other.path().join("bin")).unwrap();
    std::fs::hard_link(env!("CARGO_BIN_EXE_twinhub"), other.path().join("bin/twinhub")).unwrap();
    let used = join(other.path(), &address, &code);
    assert!(String::from_utf8_lossy(&used.stderr).contains("TH-JOIN-001"), "{used:?}");

    // It runs, follows, and knows what the site knows.
    let log = std::fs::File::create(pair.dir.path().join("joined.log")).unwrap();
    let node =
        command(root).args(["run", "--node", "backup"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _node = Running(node);
    pair.wait("the new backup", |pair| {
        let status = pair.json("main", &["status"]);
        let nodes = status["groups"][0]["nodes"].as_array().cloned().unwrap_or_default();
        nodes
            .iter()
            .any(|node| node["name"] == "backup" && node["state"] == "standby" && node["in_sync"] == true)
    });
    let path = format!("http://127.0.0.1:{}", pair.web("backup"));
    pair.wait("what the site knows", |_| {
        let known = command(root).args(["tokens", "ls", "--url", &path]).output().unwrap();
        String::from_utf8_lossy(&known.stdout).contains("grafana")
    });
    let audit = pair.table("main", &["audit"]);
    assert!(
        audit.contains("made a join code for node `backup`") && audit.contains("joined as node `backup`"),
        "{audit}"
    );
}

/// 1,000 values a second go on while a third machine joins: each has each of them once, and the one that joined takes
/// over when the main dies.
#[test]
fn a_third_node_joins_under_load_and_takes_over() {
    let mut pair = Pair::start_loaded(&["main", "backup", "spare"], 50);
    let states = |pair: &Pair| ["main", "backup", "spare"].map(|node| pair.state(node));
    pair.wait("all three", |pair| states(pair) == ["active", "standby", "standby"]);
    pair.kill("spare");
    pair.wait("values", |pair| trend_of(pair, "backup", "sim1/c49").len() > 20);
    assert!(pair.ask("main", &["tokens", "create", "grafana", "--role", "viewer"]).status.success());
    let code =
        pair.json("main", &["init", "--code", "spare"])["code"].as_str().unwrap_or_default().to_owned();

    let machine = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = machine.path();
    std::fs::create_dir(root.join("bin")).unwrap();
    std::fs::hard_link(env!("CARGO_BIN_EXE_twinhub"), root.join("bin/twinhub")).unwrap();
    let joined = join(root, &format!("127.0.0.1:{}", pair.web("main")), &code);
    assert!(joined.status.success(), "{joined:?}");
    let log = std::fs::File::create(pair.dir.path().join("joined.log")).unwrap();
    let node =
        command(root).args(["run", "--node", "spare"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _node = Running(node);
    pair.wait("the spare in sync", |pair| states(pair) == ["active", "standby", "standby"]);
    pair.wait("values on the spare", |pair| trend_of(pair, "spare", "sim1/c49").len() > 40);

    // The backup is on its way to a service, so that the machine that joined is the one to take over.
    assert_eq!(pair.json("main", &["drain", "backup"])["state"], "done");
    pair.kill("main");
    pair.wait("the spare active", |pair| pair.state("spare") == "active");
    let taken_over = trend_of(&pair, "spare", "sim1/c49").len();
    pair.wait("values of the spare", |pair| trend_of(pair, "spare", "sim1/c49").len() > taken_over + 40);
    assert!(pair.ask("spare", &["items", "set", "sim1/echo", "7"]).status.success());
    assert!(pair.table("spare", &["tokens", "ls"]).contains("grafana"));
    // Meanwhile it did not follow; now it gets what it missed.
    assert_eq!(pair.json("spare", &["drain", "backup", "--end"])["state"], "done");
    for item in ["sim1/count", "sim1/c0", "sim1/c24", "sim1/c49"] {
        // A part that the dead main did not answer for any more comes from the backup.
        pair.wait("all values on the spare", |pair| is_complete(&trend_of(pair, "spare", item)));
        let told = trend_of(&pair, "spare", item);
        assert!(epochs(&told).len() >= 2, "{item}: {told:?}");
        each_number_once("spare", &told);
        // Whatever the one that joined has the other one gets, too, from before it joined on.
        pair.wait("the backup to have them", |pair| {
            let other = trend_of(pair, "backup", item);
            told.iter().all(|row| other.contains(row))
        });
        each_number_once("backup", &trend_of(&pair, "backup", item));
    }
}

/// A code counts also after its node was started again, and a machine that was cut off while it joined goes on with the
/// same code: what it got lies on its own disk.
#[test]
fn a_code_outlives_its_node_and_a_join_that_is_killed_goes_on() {
    let mut pair = Pair::start_nodes(&["main", "backup"], "without_witness = \"availability\"");
    pair.wait("a pair", |pair| {
        ["main", "backup"].iter().all(|node| ["active", "standby"].contains(&pair.state(node).as_str()))
    });
    pair.kill("backup");
    let code =
        pair.json("main", &["init", "--code", "backup"])["code"].as_str().unwrap_or_default().to_owned();
    let kept = std::fs::read_to_string(pair.dir.path().join("var/lib/twinhub/main/join-codes")).unwrap();
    assert!(!kept.contains(&code) && kept.contains("backup"), "{kept}");
    pair.kill("main");
    pair.restart("main");
    pair.wait("main back", |pair| pair.state("main") == "active");

    let machine = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = machine.path();
    std::fs::create_dir(root.join("bin")).unwrap();
    std::fs::hard_link(env!("CARGO_BIN_EXE_twinhub"), root.join("bin/twinhub")).unwrap();
    let address = format!("127.0.0.1:{}", pair.web("main"));
    // What stands in the way keeps it from ending before it is killed.
    std::fs::create_dir_all(root.join("etc/twinhub/sim1.csv/in-the-way")).unwrap();
    let begun = root.join("var/lib/twinhub/joining");
    let mut child = command(root)
        .args(["join", &address, &code])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    pair.wait("the welcome", |_| begun.is_file());
    child.kill().ok();
    child.wait().unwrap();
    assert!(
        begun.is_file() && !root.join("etc/twinhub/twinhub.toml").exists(),
        "it was killed in the middle"
    );

    // What stands in the way is said, and does not use the code up either.
    let refused = join(root, &address, &code);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot write"), "{refused:?}");
    std::fs::remove_dir_all(root.join("etc/twinhub/sim1.csv")).unwrap();
    let joined = join(root, &address, &code);
    assert!(joined.status.success(), "{joined:?}");
    assert!(root.join("etc/twinhub/twinhub.toml").is_file() && !begun.exists(), "nothing with keys is left");
    let again = join(root, &address, &code);
    assert_eq!(again.status.code(), Some(64), "{again:?}");
}

fn join(root: &Path, address: &str, code: &str) -> Output {
    command(root).args(["join", address, code]).output().unwrap()
}

fn command(root: &Path) -> Command {
    let mut command = Command::new(root.join("bin/twinhub"));
    command.arg("--root").arg(root).arg("--plugins").arg(root.join("plugins"));
    for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL", "TWINHUB_LOG"] {
        command.env_remove(variable);
    }
    command
}

struct Running(Child);

impl Drop for Running {
    /// A hub process ends with its supervisor.
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
