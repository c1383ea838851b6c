//! A process that cannot close its gates in time ends itself, and one that was stopped is ended by its supervisor: seen
//! from outside, with a plugin that writes down its calls.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use twinhub_peers::Port;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);
/// Of profile `normal`, and a little.
const LEASE: Duration = Duration::from_millis(1_700);

#[test]
fn a_plugin_that_does_not_let_go_ends_the_process_and_nothing_else_does() {
    // `cold` is role 0: the order to cut the link is never answered.
    let mut stuck = Node::start(",stuck = 0");
    let (before, ended_after) = stuck.lose_lease();
    assert!(ended_after.is_some_and(|took| took < Duration::from_secs(5)), "it did not end\n{}", stuck.log());
    assert!(stuck.log().contains("gates cannot be closed: ending the process"), "{}", stuck.log());
    stuck
        .wait("another process acts", |node| node.hub().is_some_and(|hub| hub != before) && node.is_active());
    assert!(stuck.calls().contains("plug1 cold"), "{}", stuck.calls());

    let mut well = Node::start("");
    let (before, ended_after) = well.lose_lease();
    assert_eq!((well.hub(), ended_after), (Some(before), None), "{}", well.log());
    well.wait("it acts again in a new epoch", |node| node.is_active() && node.epoch() > 1);
    assert!(well.log().contains("links cut"), "{}", well.log());
}

#[test]
fn a_hub_process_that_was_stopped_is_killed_at_once_and_another_acts() {
    let node = Node::start("");
    let before = node.hub().unwrap();
    kill_process(before, Signal::STOP).unwrap();
    node.wait("another process acts", |node| node.hub().is_some_and(|hub| hub != before) && node.is_active());
    assert!(node.log().contains("the hub process was stopped and is killed"), "{}", node.log());
    assert!(node.log().contains("signal: 9"), "{}", node.log());
}

#[test]
fn a_stopped_hub_process_is_left_alone_if_its_owner_says_so() {
    let node = Node::start_with("", &["--keep-stopped"]);
    let before = node.hub().unwrap();
    kill_process(before, Signal::STOP).unwrap();
    let until = Instant::now() + LEASE;
    node.wait("the lease to end", |_| Instant::now() > until);
    kill_process(before, Signal::CONT).unwrap();
    node.wait("it acts again in a new epoch", |node| node.is_active() && node.epoch() > 1);
    assert_eq!(node.hub(), Some(before), "{}", node.log());
}

/// A debugger attaches by a stop, too, which the kernel shows only to the debugger.
#[test]
fn a_hub_process_that_a_debugger_holds_is_left_alone() {
    let node = Node::start("");
    let before = node.hub().unwrap();
    let tracer = node.dir.path().join("tracer");
    compile("hub/tests/fixtures/tracer.c", &tracer, &[]);
    let mut debugger = Command::new(&tracer)
        .arg(before.as_raw_pid().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(debugger.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said.trim() == "not permitted" {
        debugger.wait().unwrap();
        skip("this machine permits no debugger here");
        return;
    }
    assert_eq!(said.trim(), "holds");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", before.as_raw_pid())).unwrap();
    assert!(state.contains(") t "), "the debugger does not hold it: {state}");
    let until = Instant::now() + Duration::from_millis(500);
    node.wait("the supervisor to be told, if it is", |_| Instant::now() > until);
    drop(debugger.stdin.take());
    assert!(debugger.wait().unwrap().success());
    node.wait("it acts", Node::is_active);
    assert_eq!(node.hub(), Some(before), "{}", node.log());
    assert!(!node.log().contains("was stopped"), "{}", node.log());
}

#[test]
fn a_terminal_suspends_neither_process() {
    let node = Node::start("");
    let before = node.hub().unwrap();
    let supervisor = node.supervisor();
    for process in [supervisor, before] {
        kill_process(process, Signal::TSTP).unwrap();
    }
    let until = Instant::now() + LEASE;
    node.wait("the lease to end if it were not renewed", |_| Instant::now() > until);
    assert_eq!((node.hub(), node.is_active(), node.epoch()), (Some(before), true, 1), "{}", node.log());
}

/// A site of one node, whose own vote is the majority.
struct Node {
    dir: TempDir,
    web: u16,
    child: Child,
}

impl Node {
    fn start(setting: &str) -> Node {
        Node::start_with(setting, &[])
    }

    fn start_with(setting: &str, options: &[&str]) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let [link, web] = Port::hold();
        build_recorder(dir.path());
        let calls = dir.path().join("calls");
        let config = format!(
            "version = 1\nsite = \"one\"\n[cluster]\nnodes = [\"main\"]\n\
             [nodes.main]\nlinks = [\"127.0.0.1:{link}\"]\nweb = \"127.0.0.1:{web}\"\n\
             [[interface]]\nid = \"plug1\"\nplugin = \"recorder\"\nhosting = \"inproc\"\nsettings = {{ log = \"{}\"{setting} }}\n",
            calls.display()
        );
        std::fs::write(dir.path().join("twinhub.toml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_twinhub"))
            .arg("--root")
            .arg(dir.path())
            .arg("--plugins")
            .arg(dir.path())
            .args(["run", "--node", "main"])
            .args(options)
            .env_remove("TWINHUB_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Node { dir, web, child };
        node.wait("the node is active", Node::is_active);
        node
    }

    /// Freezes supervisor and hub process, as a machine that stands still, for longer than the lease; says which hub
    /// process it was and how long after it ended, if it did.
    fn lose_lease(&mut self) -> (Pid, Option<Duration>) {
        let (supervisor, hub) = (self.supervisor(), self.hub().unwrap());
        kill_process(supervisor, Signal::STOP).unwrap();
        kill_process(hub, Signal::STOP).unwrap();
        let until = Instant::now() + LEASE;
        self.wait("the lease to end", |_| Instant::now() > until);
        // The hub first: a supervisor that finds it stopped would kill it.
        kill_process(hub, Signal::CONT).unwrap();
        kill_process(supervisor, Signal::CONT).unwrap();
        let woken = Instant::now();
        let mut ended = None;
        self.wait("the end of the process, or of the matter", |node| {
            if node.hub() != Some(hub) {
                return true;
            }
            node.log().contains("nothing acts here any more")
        });
        if self.hub() != Some(hub) {
            ended = Some(woken.elapsed());
        }
        (hub, ended)
    }

    fn status(&self) -> Value {
        let url = format!("http://127.0.0.1:{}", self.web);
        let output = Command::new(env!("CARGO_BIN_EXE_twinhub"))
            .arg("--root")
            .arg(self.dir.path())
            .args(["status", "--output", "json", "--url", &url])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn is_active(&self) -> bool {
        self.status()["groups"][0]["state"] == "active"
    }

    fn epoch(&self) -> u64 {
        let status = self.status();
        let epoch = status["groups"][0]["epoch"].as_str().unwrap_or_default().to_owned();
        epoch.split('.').next().and_then(|counter| counter.parse().ok()).unwrap_or(0)
    }

    fn supervisor(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn hub(&self) -> Option<Pid> {
        let supervisor = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Node) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    /// A hub process ends with its supervisor.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The plugin that writes down its calls, and answers none of the role that its settings call `stuck`.
fn build_recorder(dir: &Path) {
    let library = ["-shared", "-fPIC", "-fvisibility=hidden"];
    compile("runtime/tests/fixtures/recorder.c", &dir.join("libtwinhub_recorder.so"), &library);
}

/// A source below `core`.
fn compile(source: &str, output: &Path, options: &[&str]) {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O1"])
        .args(options)
        .arg("-I")
        .arg(core.join("../sdk/contract/include"))
        .arg("-o")
        .arg(output)
        .arg(core.join(source))
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[expect(clippy::print_stderr, reason = "the reason of a skip is for who reads the test's output")]
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
