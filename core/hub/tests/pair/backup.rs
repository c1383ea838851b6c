//! A site is put away in a file and brought back on another machine.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use twinhub_runtime::backup::{Entries, Header};

use crate::site::{Pair, plugins};

pub(crate) const PASSPHRASE: &str = "a long passphrase";

#[test]
fn a_site_is_restored_from_one_file_with_its_users() {
    let mut pair = Pair::start_loaded(&["main"], 0);
    pair.wait("main active", |pair| pair.state("main") == "active");
    pair.wait("values of the past", |pair| past(pair).len() > 10);
    let known = past(&pair);
    let add = pair.command_at("main").args(["users", "add", "ada", "--role", "admin"]).with("correct horse");
    assert!(add.status.success(), "{add:?}");
    let file = pair.dir.path().join("site.backup");
    let short = pair.command_at("main").args(["backup", "create"]).with("short");
    assert!(String::from_utf8_lossy(&short.stderr).contains("at least 12"), "{short:?}");
    let made = pair.command_at("main").args(["backup", "create", "--to"]).arg(&file).with(PASSPHRASE);
    assert!(made.status.success(), "{made:?}\n{}", pair.logs());
    assert_eq!(pair.json("main", &["backup", "ls"])[0]["site"], "pair");
    let url = format!("http://127.0.0.1:{}", pair.web("main"));
    pair.kill("main");

    // What does not fit is refused with the reason, before anything is written.
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path();
    let restore = |file: &Path, passphrase: &str| {
        machine_command(root).args(["backup", "restore"]).arg(file).with(passphrase)
    };
    let damaged = pair.dir.path().join("damaged.backup");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    let whole = std::fs::read(&file).unwrap();
    let named = |name: &str, bytes: &[u8]| {
        let path = pair.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let header = Header { site: "pair".into(), version: "99.0.0".into(), ..Header::default() };
    let newer = twinhub_runtime::backup::seal(header, &Entries::new(), PASSPHRASE).unwrap();
    let no_node =
        machine_command(root).args(["backup", "restore", "--node", "nobody"]).arg(&file).with(PASSPHRASE);
    for (output, said) in [
        (restore(&damaged, PASSPHRASE), "damaged"),
        (restore(&named("cut.backup", &whole[..whole.len() - 100]), PASSPHRASE), "damaged"),
        (restore(&named("head.backup", &whole[..10]), PASSPHRASE), "cut off"),
        (restore(&named("empty.backup", b""), PASSPHRASE), "no backup"),
        (restore(&named("newer.backup", &newer), PASSPHRASE), "of a newer version (99.0.0)"),
        (restore(&pair.dir.path().join("none"), PASSPHRASE), "cannot read"),
        (no_node, "no node is called `nobody`: the nodes are main"),
        (restore(&pair.dir.path().join("twinhub.toml"), PASSPHRASE), "no backup"),
        (restore(&file, "another passphrase"), "passphrase is not the one"),
    ] {
        assert!(
            !output.status.success() && String::from_utf8_lossy(&output.stderr).contains(said),
            "{output:?}"
        );
    }
    assert!(!root.join("etc").exists());
    std::fs::create_dir_all(root.join("etc/twinhub")).unwrap();
    let other = std::fs::read_to_string(pair.dir.path().join("twinhub.toml")).unwrap();
    let other = other.replace("site = \"pair\"", "site = \"another\"");
    std::fs::write(root.join("etc/twinhub/twinhub.toml"), other).unwrap();
    let mixed = restore(&file, PASSPHRASE);
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("of the site `pair`"), "{mixed:?}");
    std::fs::copy(pair.dir.path().join("twinhub.toml"), root.join("etc/twinhub/twinhub.toml")).unwrap();
    let same = restore(&file, PASSPHRASE);
    assert!(String::from_utf8_lossy(&same.stderr).contains("is here already: say --force"), "{same:?}");
    std::fs::remove_file(root.join("etc/twinhub/twinhub.toml")).unwrap();
    assert!(!root.join("var").exists() && !root.join("etc/twinhub/pki").exists(), "nothing was written");

    // A history that no restore put there stays, and what one left that was cut off is replaced.
    let state = root.join("var/lib/twinhub/main");
    std::fs::create_dir_all(state.join("history")).unwrap();
    std::fs::write(state.join("history/000000000001-000000000001.history"), "of another one").unwrap();
    let kept = restore(&file, PASSPHRASE);
    assert!(String::from_utf8_lossy(&kept.stderr).contains("has a history already"), "{kept:?}");
    assert!(!root.join("etc/twinhub/pki").exists() && std::fs::read_dir(&state).unwrap().count() == 1);
    std::fs::write(state.join("restoring"), "").unwrap();

    // Brought back, it runs and knows its users; a second restore does not overwrite what has run.
    let restored = restore(&file, PASSPHRASE);
    assert!(restored.status.success(), "{restored:?}");
    // As if it had been cut off before its end.
    std::fs::write(state.join("restoring"), "").unwrap();
    let half = machine_command(root).args(["run", "--node", "main"]).output().unwrap();
    assert!(String::from_utf8_lossy(&half.stderr).contains("was cut off"), "{half:?}");
    assert_eq!(half.status.code(), Some(64), "{half:?}");
    std::fs::remove_file(state.join("restoring")).unwrap();
    let log = std::fs::File::create(pair.dir.path().join("restored.log")).unwrap();
    let node =
        machine_command(root).args(["run", "--node", "main"]).stdout(Stdio::null()).stderr(log).spawn();
    let _node = Running(node.unwrap());
    pair.wait("the restored node", |pair| pair.state("main") == "active");
    // The values of the past are there, and new ones come behind them.
    pair.wait("old and new values", |pair| {
        let now = past(pair);
        now.starts_with(&known) && now.len() > known.len() + 10
    });
    let users = machine_command(root).args(["users", "ls", "--url", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&users.stdout).contains("ada"), "{users:?}");
    let body = "{\"user\": \"ada\", \"password\": \"correct horse\"}";
    assert_eq!(pair.http("main", "POST", "/api/v1/login", "Host: hub.example\r\n", body).0, 200);
    let again = restore(&file, PASSPHRASE);
    assert!(String::from_utf8_lossy(&again.stderr).contains("has run here"), "{again:?}");
}

/// Both machines and the witness are new: the values of then are on both nodes, whichever was restored.
#[test]
fn what_was_restored_on_one_node_comes_to_the_other_one() {
    let mut pair = Pair::start_with_history();
    pair.wait("main active, backup in sync", |pair| {
        pair.state("main") == "active" && pair.json("main", &["status"])["groups"][0]["protected"] == true
    });
    pair.wait("values of the past", |pair| past(pair).len() > 10);
    let known = past(&pair);
    let file = pair.dir.path().join("site.backup");
    let made = pair.command_at("main").args(["backup", "create", "--to"]).arg(&file).with(PASSPHRASE);
    assert!(made.status.success(), "{made:?}\n{}", pair.logs());
    for name in ["backup", "main", "witness"] {
        pair.kill(name);
    }
    std::fs::remove_dir_all(pair.dir.path().join("var")).unwrap();
    let restored = pair.command_at("main").args(["backup", "restore", "--force"]).arg(&file).with(PASSPHRASE);
    assert!(restored.status.success(), "{restored:?}");
    pair.restart_witness();
    pair.restart("main");
    pair.wait("main active", |pair| pair.state("main") == "active");
    pair.restart("backup");
    pair.wait("the values of then on the backup", |pair| past_on(pair, "backup").starts_with(&known));
    let events = pair.json("backup", &["events", "--limit", "1000"]).to_string();
    assert!(events.contains("came into the history from main"), "{events}");
}

/// Times and values of the counter.
fn past(pair: &Pair) -> Vec<(String, i64)> {
    past_on(pair, "main")
}

fn past_on(pair: &Pair, node: &str) -> Vec<(String, i64)> {
    let answer = pair.json(node, &["trend", "sim1/count", "--limit", "100000"]);
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|row| (row["source_time"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap()))
        .collect()
}

fn machine_command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinhub"));
    command.arg("--root").arg(root).arg("--plugins").arg(plugins());
    for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL", "TWINHUB_LOG"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) trait With {
    /// Runs it with a line on its standard input.
    fn with(&mut self, line: &str) -> Output;
}

impl With for Command {
    fn with(&mut self, line: &str) -> Output {
        let mut child =
            self.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without asking.
        writeln!(child.stdin.take().unwrap(), "{line}").ok();
        child.wait_with_output().unwrap()
    }
}

struct Running(Child);

impl Drop for Running {
    /// A hub process ends with its supervisor.
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
