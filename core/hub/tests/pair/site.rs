//! A pair with its witness on one machine: every process with the product's own executable.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use twinhub_peers::Port;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);
/// The role moves when a test says so.
const MANUAL: &str = "failback = \"manual\"";
const ITEMS: &str =
    "path,address,type,access,unit,description\ncount,counter,int64,r,,\necho,echo,int64,rw,,\n";
/// A comment that begins the configuration of a pair with plugins of its own.
const OWN_PLUGINS: &str = "# plugins of its own\n";
const HISTORIZED: &str = "path,address,type,access,unit,description,historize\ncount,counter,int64,r,,,yes\n\
                          echo,echo,int64,rw,,,no\nnote,echo,string,rw,,,yes\n";

pub(crate) struct Node {
    pub(crate) name: &'static str,
    web: u16,
    pub(crate) child: Child,
}

pub(crate) struct Pair {
    pub(crate) dir: TempDir,
    pub(crate) nodes: Vec<Node>,
    /// Who is run as a process of the version before.
    pub(crate) old: BTreeSet<&'static str>,
    /// Where plugins are.
    plugins: PathBuf,
}

impl Pair {
    pub(crate) fn start() -> Pair {
        Pair::start_old(&[])
    }

    /// A pair with more in its configuration.
    pub(crate) fn start_with(more: &str) -> Pair {
        Pair::start_pair(MANUAL, ITEMS, &[], more)
    }

    /// A pair with more items and more in its configuration.
    pub(crate) fn start_with_items(items: &str, more: &str) -> Pair {
        Pair::start_pair(MANUAL, &format!("{ITEMS}{items}"), &[], more)
    }

    /// A pair that looks for plugins in a folder of its own, where their files can be replaced.
    pub(crate) fn start_with_own_plugins(items: &str, more: &str) -> Pair {
        Pair::start_pair(MANUAL, &format!("{ITEMS}{items}"), &[], &format!("{OWN_PLUGINS}{more}"))
    }

    /// A node alone with an item that makes its plugin panic when it is written.
    pub(crate) fn start_panicking() -> Pair {
        Pair::start_site(&["main"], MANUAL, &format!("{ITEMS}bang,panic,int64,rw,,\n"), &[], "")
    }

    /// A pair with an interface `kept` that keeps what is written to its item `memo`, and whose plugin is hosted like this.
    pub(crate) fn start_keeping(hosting: &str) -> Pair {
        let more = format!(
            "[[interface]]\nid = \"kept\"\nplugin = \"sim\"\nhosting = \"{hosting}\"\nitems = \"sim1.csv\"\n"
        );
        Pair::start_pair(MANUAL, &format!("{ITEMS}memo,keep,int64,rw,,\n"), &[], &more)
    }

    /// A pair whose interface `pms` gives events to `locks`, which holds them until it is told what became of them; their
    /// plugin is hosted like this.
    pub(crate) fn start_giving(hosting: &str) -> Pair {
        let mut more = "[[event_link]]\nfrom = \"pms\"\nstream = \"note\"\nto = \"locks\"\n".to_owned();
        for (id, settings) in [("pms", ""), ("locks", "holds_events = true")] {
            writeln!(
                more,
                "[[interface]]\nid = \"{id}\"\nplugin = \"sim\"\nhosting = \"{hosting}\"\nitems = \"sim1.csv\"\n\
                 settings = {{ {settings} }}"
            )
            .unwrap();
        }
        let items = "give,give,string,rw,,\ntook,took,string,r,,\nanswer,answer,string,rw,,\n";
        Pair::start_pair(MANUAL, &format!("{ITEMS}{items}"), &[], &more)
    }

    /// A pair whose role goes back to the main by itself, soon.
    pub(crate) fn start_with_failback() -> Pair {
        Pair::start_pair("failback = \"auto\"\nhold_back = \"1s\"", ITEMS, &[], "")
    }

    /// A pair of which these are processes of the version before.
    pub(crate) fn start_old(old: &[&'static str]) -> Pair {
        Pair::start_pair(MANUAL, ITEMS, old, "")
    }

    /// A pair that keeps the values of the counter.
    pub(crate) fn start_with_history() -> Pair {
        Pair::start_with_history_and("")
    }

    /// The same, with more in its configuration.
    pub(crate) fn start_with_history_and(more: &str) -> Pair {
        Pair::start_pair(MANUAL, HISTORIZED, &[], more)
    }

    /// A node alone that keeps the values of the counter, with more in its configuration.
    pub(crate) fn start_alone_with_history_and(more: &str) -> Pair {
        Pair::start_site(&["main"], MANUAL, HISTORIZED, &[], more)
    }

    /// `more` are sections of the configuration.
    fn start_pair(failback: &str, items: &str, old: &[&'static str], more: &str) -> Pair {
        let [witness] = Port::hold();
        let lines = format!("{failback}\nwitness = \"127.0.0.1:{witness}\"");
        let (mut pair, webs) = Pair::prepare_site(&["main", "backup"], &lines, items, old, more);
        let [main, backup] = webs[..] else { unreachable!("two are asked for") };
        pair.spawn("main", main, &["run", "--node", "main"]);
        // It listens where the configuration says that it is; the version before had to be told.
        let listen = format!("127.0.0.1:{witness}");
        let told: &[&str] = if old.contains(&"witness") { &["--listen", &listen] } else { &[] };
        pair.spawn("witness", witness, &[&["witness"], told].concat());
        // On a busy machine the backup may be there first, and would be active.
        pair.wait("main active", |pair| pair.state("main") == "active");
        pair.spawn("backup", backup, &["run", "--node", "backup"]);
        pair.nodes.swap(1, 2);
        pair
    }

    /// Nodes with so many counters that are kept, each with twenty values a second.
    pub(crate) fn start_loaded(names: &[&'static str], counters: usize) -> Pair {
        let mut items = HISTORIZED.to_owned();
        for number in 0..counters {
            writeln!(items, "c{number},counter,int64,r,,,yes").unwrap();
        }
        Pair::start_site(names, MANUAL, &items, &[], "")
    }

    pub(crate) fn start_nodes(names: &[&'static str], witness: &str) -> Pair {
        Pair::start_site(names, &format!("{MANUAL}\n{witness}"), ITEMS, &[], "")
    }

    /// `cluster` is what else the section of that name says.
    fn start_site(
        names: &[&'static str],
        cluster: &str,
        items: &str,
        old: &[&'static str],
        more: &str,
    ) -> Pair {
        let (mut pair, webs) = Pair::prepare_site(names, cluster, items, old, more);
        for (name, web) in names.iter().zip(webs) {
            pair.spawn(name, web, &["run", "--node", name]);
        }
        pair
    }

    /// The files, and the port of each node.
    fn prepare_site(
        names: &[&'static str],
        cluster: &str,
        items: &str,
        old: &[&'static str],
        more: &str,
    ) -> (Pair, Vec<u16>) {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = String::new();
        let mut webs = Vec::new();
        for name in names {
            let [link, web] = Port::hold();
            writeln!(nodes, "[nodes.{name}]\nlinks = [\"127.0.0.1:{link}\"]\nweb = \"127.0.0.1:{web}\"")
                .unwrap();
            webs.push(web);
        }
        let config = format!(
            "version = 1\nsite = \"pair\"\n[cluster]\nnodes = {names:?}\nprofile = \"normal\"\n\
             {cluster}\n{nodes}\
             [web]\ntoken_file = \"token\"\n{more}\
             [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\nsettings = {{ interval_ms = 50 }}\n"
        );
        std::fs::write(dir.path().join("twinhub.toml"), config).unwrap();
        std::fs::write(dir.path().join("token"), "0123456789abcdef0123456789abcdef").unwrap();
        std::fs::write(dir.path().join("sim1.csv"), items).unwrap();
        let own = dir.path().join("plugins");
        let mut pair = Pair { dir, nodes: Vec::new(), old: old.iter().copied().collect(), plugins: own };
        if more.starts_with(OWN_PLUGINS) {
            pair.install("0.1.0");
        } else {
            plugins().clone_into(&mut pair.plugins);
        }
        (pair, webs)
    }

    /// Puts a version of the simulation where plugins are, as an installer does.
    pub(crate) fn install(&self, version: &str) {
        let file = "libtwinhub_sim.so";
        let bytes = std::fs::read(plugins().join(file)).unwrap();
        let written = format!("\"version\": \"{version}\"");
        let declared = b"\"version\": \"0.1.0\"";
        assert_eq!(written.len(), declared.len());
        let mut patched = bytes.clone();
        for at in 0..bytes.len() - declared.len() {
            if bytes[at..].starts_with(declared) {
                patched[at..at + declared.len()].copy_from_slice(written.as_bytes());
            }
        }
        std::fs::create_dir_all(&self.plugins).unwrap();
        let aside = self.plugins.join("aside");
        std::fs::write(&aside, patched).unwrap();
        std::fs::rename(aside, self.plugins.join(file)).unwrap();
    }

    /// Kills a node's supervisor and hub process together, as if its machine died.
    pub(crate) fn kill(&mut self, name: &str) {
        // The witness has no hub process.
        let hub = (name != "witness").then(|| self.hub(name));
        let child = &mut self.nodes.iter_mut().find(|found| found.name == name).unwrap().child;
        child.kill().unwrap();
        // The kernel may have ended it with its supervisor.
        if let Some(hub) = hub {
            kill_process(hub, Signal::KILL).ok();
        }
        child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self, name: &'static str) {
        let at = self.nodes.iter().position(|found| found.name == name).unwrap();
        let web = self.nodes.remove(at).web;
        self.spawn(name, web, &["run", "--node", name]);
    }

    pub(crate) fn restart_witness(&mut self) {
        let at = self.nodes.iter().position(|found| found.name == "witness").unwrap();
        let port = self.nodes.remove(at).web;
        self.spawn("witness", port, &["witness", "--listen", &format!("127.0.0.1:{port}")]);
    }

    fn spawn(&mut self, name: &'static str, web: u16, args: &[&str]) {
        let log = self.dir.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = if self.old.contains(name) { self.old_command() } else { self.command() };
        let child = command.args(args).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.nodes.push(Node { name, web, child });
    }

    /// A process that speaks the protocol of the version before: this executable, or the one that
    /// `TWINHUB_OLD_EXECUTABLE` names, to try a release for real.
    fn old_command(&self) -> Command {
        let Some(executable) = std::env::var_os("TWINHUB_OLD_EXECUTABLE") else {
            let mut command = self.command();
            command.env("TWINHUB_PROTOCOL_MAX", "1");
            return command;
        };
        self.command_of(Path::new(&executable))
    }

    pub(crate) fn command(&self) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_twinhub")))
    }

    fn command_of(&self, executable: &Path) -> Command {
        let mut command = Command::new(executable);
        command.arg("--root").arg(self.dir.path()).arg("--plugins").arg(&self.plugins);
        for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL", "TWINHUB_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn ask(&self, node: &str, args: &[&str]) -> Output {
        self.command_at(node).args(args).output().unwrap()
    }

    /// A command that asks this node, and answers for programs.
    pub(crate) fn command_at(&self, node: &str) -> Command {
        let web = self.nodes.iter().find(|found| found.name == node).unwrap().web;
        let mut command = self.command();
        command.args(["--output", "json", "--url", &format!("http://127.0.0.1:{web}")]);
        command
    }

    pub(crate) fn json(&self, node: &str, args: &[&str]) -> Value {
        serde_json::from_slice(&self.ask(node, args).stdout).unwrap_or_default()
    }

    /// What a person reads.
    pub(crate) fn table(&self, node: &str, args: &[&str]) -> String {
        let web = self.nodes.iter().find(|found| found.name == node).unwrap().web;
        let url = format!("http://127.0.0.1:{web}");
        let output = self.command().args(args).args(["--url", &url]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The port of its web interface.
    pub(crate) fn web(&self, node: &str) -> u16 {
        self.nodes.iter().find(|found| found.name == node).unwrap().web
    }

    /// A request and its answer: status and all that follows it.
    pub(crate) fn http(&self, node: &str, method: &str, path: &str, head: &str, body: &str) -> (u16, String) {
        let web = self.nodes.iter().find(|found| found.name == node).unwrap().web;
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", web)) else { return (0, String::new()) };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n{head}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        // A node that dies in between answers nothing.
        stream.read_to_string(&mut text).ok();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }

    pub(crate) fn metrics(&self, node: &str) -> String {
        let web = self.nodes.iter().find(|found| found.name == node).unwrap().web;
        let mut stream = TcpStream::connect(("127.0.0.1", web)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn state(&self, node: &str) -> String {
        let status = self.json(node, &["status"]);
        status["groups"][0]["state"].as_str().unwrap_or_default().to_owned()
    }

    /// First part of the epoch `counter.rank`.
    pub(crate) fn counter(&self, node: &str) -> u64 {
        let status = self.json(node, &["status"]);
        let epoch = status["groups"][0]["epoch"].as_str().unwrap_or_default().to_owned();
        epoch.split('.').next().and_then(|counter| counter.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn hub(&self, node: &str) -> Pid {
        let supervisor = self.nodes.iter().find(|found| found.name == node).unwrap().child.id();
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(children).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
    }

    /// Its supervisor, or the witness.
    pub(crate) fn pid(&self, name: &str) -> Pid {
        let child = &self.nodes.iter().find(|found| found.name == name).unwrap().child;
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    pub(crate) fn stop(&mut self, name: &str) -> i32 {
        let child = &mut self.nodes.iter_mut().find(|found| found.name == name).unwrap().child;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap_or_default())
    }

    /// The exit code of a process that ends by itself.
    pub(crate) fn ended(&mut self, name: &str) -> i32 {
        let begun = Instant::now();
        loop {
            let child = &mut self.nodes.iter_mut().find(|found| found.name == name).unwrap().child;
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not end\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Pair) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn logs(&self) -> String {
        let log = |node: &Node| {
            let text = std::fs::read_to_string(self.dir.path().join(format!("{}.log", node.name)));
            format!("--- {}\n{}", node.name, text.unwrap_or_default())
        };
        self.nodes.iter().map(log).collect()
    }
}

impl Drop for Pair {
    /// A hub process ends with its supervisor.
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.child.kill().ok();
            node.child.wait().ok();
        }
    }
}

/// The directory of the built plugin.
pub(crate) fn plugins() -> &'static Path {
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
