//! A pair whose third vote is kept by a real etcd: processes, crashes, and an etcd that goes and comes back.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);

/// One story, since starting the processes costs more than what is checked.
#[test]
fn a_pair_with_etcd_takes_over_only_while_two_of_three_votes_are_there() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby, etcd up", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby" && pair.witness_up("backup")
    });
    let status = pair.ask("main", &["status"]);
    assert!(status["witness"]["address"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{status}");

    // The machine of the main is gone, supervisor first: nobody says so, the lease must end.
    let epoch = pair.epoch("backup");
    pair.kill("main");
    pair.wait("the backup takes over", |pair| pair.state("backup") == "active");
    assert_ne!(pair.epoch("backup"), epoch);

    // Without etcd the two nodes are the majority: the role stays where it is.
    pair.run("main");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    // The vote of a node that was started again is bound to what it granted before, for one lease.
    let until = Instant::now() + 2 * LEASE;
    pair.wait("its old grant to end", |_| Instant::now() > until);
    let epoch = pair.epoch("backup");
    pair.kill("etcd");
    pair.wait("etcd is missed on both", |pair| !pair.witness_up("main") && !pair.witness_up("backup"));
    let until = Instant::now() + 3 * LEASE;
    pair.wait("several leases go by", |_| Instant::now() > until);
    assert_eq!((pair.state("backup").as_str(), pair.epoch("backup")), ("active", epoch.clone()));

    // Without etcd and without the other node there is no majority: no takeover.
    pair.kill("backup");
    let until = Instant::now() + 4 * LEASE;
    pair.wait("several leases go by", |_| Instant::now() > until);
    assert_eq!(pair.state("main"), "standby");
    let status = pair.ask("main", &["status"]);
    assert!(status["witness"]["error"].as_str().is_some_and(|error| error.contains("127.0.0.1")), "{status}");

    // With etcd again there is one.
    pair.run_etcd();
    pair.wait("main takes over", |pair| pair.state("main") == "active");
    assert_ne!(pair.epoch("main"), epoch);
}

/// Of profile `fast`.
const LEASE: Duration = Duration::from_millis(600);

struct Pair {
    dir: TempDir,
    ports: [u16; 6],
    children: Vec<(&'static str, Child)>,
}

impl Pair {
    fn start() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let [main, backup, main_web, backup_web, etcd, _] = ports;
        let config = format!(
            "version = 1\nsite = \"pair\"\n[cluster]\nnodes = [\"main\", \"backup\"]\nprofile = \"fast\"\n\
             failback = \"manual\"\nwitness = {{ etcd = [\"http://127.0.0.1:{etcd}\"] }}\n\
             [nodes.main]\nlinks = [\"127.0.0.1:{main}\"]\nweb = \"127.0.0.1:{main_web}\"\n\
             [nodes.backup]\nlinks = [\"127.0.0.1:{backup}\"]\nweb = \"127.0.0.1:{backup_web}\"\n\
             [web]\ntoken_file = \"token\"\n\
             [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\nsettings = {{ interval_ms = 50 }}\n"
        );
        std::fs::write(dir.path().join("twinhub.toml"), config).unwrap();
        std::fs::write(dir.path().join("token"), "0123456789abcdef0123456789abcdef").unwrap();
        let items = "path,address,type,access,unit,description\ncount,counter,int64,r,,\n";
        std::fs::write(dir.path().join("sim1.csv"), items).unwrap();
        let mut pair = Pair { dir, ports, children: Vec::new() };
        pair.run_etcd();
        pair.run("main");
        pair.run("backup");
        pair
    }

    fn run_etcd(&mut self) {
        let [.., client, peer] = self.ports;
        let (client_url, peer_url) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.dir.path().join("etcd"));
        for (name, value) in [
            ("--listen-client-urls", client_url.as_str()),
            ("--advertise-client-urls", client_url.as_str()),
            ("--listen-peer-urls", peer_url.as_str()),
            ("--initial-advertise-peer-urls", peer_url.as_str()),
            ("--initial-cluster", &format!("default={peer_url}")),
        ] {
            command.arg(name).arg(value);
        }
        self.spawn("etcd", command);
        self.wait("etcd to listen", |_| TcpStream::connect(("127.0.0.1", client)).is_ok());
    }

    fn run(&mut self, node: &'static str) {
        let mut command = self.twinhub();
        command.args(["run", "--node", node]);
        self.spawn(node, command);
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) {
        let path = self.dir.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(path).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name}: {error}; help: run `cargo xtask setup`"));
        self.children.push((name, child));
    }

    /// A hub process ends with its supervisor.
    fn kill(&mut self, name: &str) {
        let at = self.children.iter().position(|(found, _)| *found == name).unwrap();
        let (_, mut child) = self.children.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn twinhub(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinhub"));
        command.arg("--root").arg(self.dir.path()).arg("--plugins").arg(plugins());
        for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL", "TWINHUB_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    fn ask(&self, node: &str, args: &[&str]) -> Value {
        let web = self.ports[if node == "main" { 2 } else { 3 }];
        let url = format!("http://127.0.0.1:{web}");
        let output = self
            .twinhub()
            .args(args)
            .args(["--output", "json", "--url", &url])
            .stderr(Stdio::null())
            .output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap_or_default()
    }

    fn state(&self, node: &str) -> String {
        self.ask(node, &["status"])["groups"][0]["state"].as_str().unwrap_or_default().to_owned()
    }

    fn epoch(&self, node: &str) -> String {
        self.ask(node, &["status"])["groups"][0]["epoch"].as_str().unwrap_or_default().to_owned()
    }

    fn witness_up(&self, node: &str) -> bool {
        self.ask(node, &["status"])["witness"]["up"] == true
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Pair) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn logs(&self) -> String {
        let log = |name: &str| {
            let text = std::fs::read_to_string(self.dir.path().join(format!("{name}.log")));
            format!("--- {name}\n{}", text.unwrap_or_default())
        };
        ["main", "backup"].map(log).concat()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|index| held[index].local_addr().unwrap().port())
}

/// The directory of the built plugin.
fn plugins() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "twinhub-sim"])
            .status()
            .unwrap();
        assert!(built.success());
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug")
    })
}
