//! A real etcd: members as processes, with data that outlive them.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use twinhub_peers::Port;

pub(crate) struct Etcd {
    dir: TempDir,
    name: String,
    client: u16,
    peer: u16,
    /// All members with their peers' addresses.
    together: String,
    /// Listens with TLS on another port and asks for certificates there.
    secure: Option<(u16, PathBuf)>,
    child: Option<Child>,
}

impl Etcd {
    /// One member.
    pub(crate) fn new() -> Etcd {
        let mut members = Etcd::cluster(1);
        members.remove(0)
    }

    /// Members that know each other.
    pub(crate) fn cluster(count: usize) -> Vec<Etcd> {
        let mut members: Vec<Etcd> = (0..count)
            .map(|place| {
                let [client, peer] = Port::hold();
                let (dir, name) = (tempfile::tempdir().unwrap(), format!("member{place}"));
                Etcd { dir, name, client, peer, together: String::new(), secure: None, child: None }
            })
            .collect();
        let names: Vec<String> = members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer))
            .collect();
        for member in &mut members {
            member.together = names.join(",");
        }
        members
    }

    /// One member that asks its clients for a certificate: `ca.pem`, `server.pem` and `server.key` are in the folder.
    pub(crate) fn secure(files: &Path) -> Etcd {
        let [port] = Port::hold();
        let mut etcd = Etcd::new();
        etcd.secure = Some((port, files.to_owned()));
        etcd
    }

    /// Where clients ask.
    pub(crate) fn url(&self) -> String {
        match &self.secure {
            Some((port, _)) => format!("https://127.0.0.1:{port}"),
            None => self.plain_url(),
        }
    }

    fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    pub(crate) fn witness_line(&self) -> String {
        format!("witness = {{ etcd = [\"{}\"] }}", self.url())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("etcd.log")).unwrap_or_default()
    }

    /// Starts it with the data of the process before.
    pub(crate) fn start(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let mut clients = self.plain_url();
        let log = self.dir.path().join("etcd.log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("etcd");
        command.args(["--name", &self.name]).arg("--data-dir").arg(self.dir.path().join("data"));
        if let Some((_, files)) = &self.secure {
            clients = format!("{},{clients}", self.url());
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(files.join("ca.pem"));
            command.arg("--cert-file").arg(files.join("server.pem"));
            command.arg("--key-file").arg(files.join("server.key"));
        }
        for (name, value) in [
            ("--listen-client-urls", clients.as_str()),
            ("--advertise-client-urls", clients.as_str()),
            ("--listen-peer-urls", peer.as_str()),
            ("--initial-advertise-peer-urls", peer.as_str()),
            ("--initial-cluster", self.together.as_str()),
            // A new leader within a lease of profile `normal`.
            ("--heartbeat-interval", "50"),
            ("--election-timeout", "500"),
        ] {
            command.arg(name).arg(value);
        }
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("etcd: {error}; help: run `cargo xtask setup`")));
    }

    /// Until it listens.
    pub(crate) fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.client)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "etcd does not listen\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn run(&mut self) {
        self.start();
        self.wait();
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Which of them leads.
    pub(crate) fn leader(members: &[Etcd]) -> usize {
        let begun = Instant::now();
        loop {
            let status = |member: &Etcd| member.admin("/v3/maintenance/status", &serde_json::json!({}));
            let leads = |status: &Value| {
                status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
            };
            if let Some(place) = members.iter().position(|member| leads(&status(member))) {
                return place;
            }
            assert!(begun.elapsed() < PATIENCE, "no leader\n{}", members[0].log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As an administrator, past the product; the answer or the refusal.
    pub(crate) fn admin(&self, path: &str, body: &Value) -> Value {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let agent: ureq::Agent = config.into();
        let mut answer = agent.post(&format!("{}{path}", self.plain_url())).send_json(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);
