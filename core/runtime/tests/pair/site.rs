//! A site in a directory, and its nodes as handles of this process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinhub_peers::Port;
use twinhub_runtime::{Handle, HostProgram, NodeOptions, WitnessOptions, pki, run_witness, start};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

const SIM: &str = r#"
[[interface]]
id = "sim1"
plugin = "sim"
items = "items.csv"
settings = { interval_ms = 20, batch = 1 }
"#;

/// Two nodes and their witness.
pub(crate) struct Pair {
    pub(crate) dir: TempDir,
    pub(crate) main: Handle,
    pub(crate) backup: Handle,
    stop_witness: tokio::sync::oneshot::Sender<()>,
    witness: std::thread::JoinHandle<()>,
}

impl Pair {
    pub(crate) fn start() -> Pair {
        Pair::start_with("")
    }

    pub(crate) fn start_with(more: &str) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let [witness] = Port::hold();
        let listen = format!("127.0.0.1:{witness}");
        write_site(dir.path(), &format!("witness = \"{listen}\""), &format!("{SIM}{more}"));
        let (stop_witness, stopped) = tokio::sync::oneshot::channel::<()>();
        let options =
            WitnessOptions { listen, state_dir: dir.path().join("witness"), pki_dir: dir.path().join("pki") };
        let witness = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run_witness(options, async { drop(stopped.await) })).unwrap();
        });
        let main = start_node(dir.path(), "main");
        let backup = start_node(dir.path(), "backup");
        Pair { dir, main, backup, stop_witness, witness }
    }

    pub(crate) fn stop(self) {
        shutdown(&self.main);
        shutdown(&self.backup);
        self.stop_witness.send(()).ok();
        self.witness.join().unwrap();
    }
}

pub(crate) fn start_node(dir: &Path, node: &str) -> Handle {
    let site = twinhub_config::load(&dir.join("twinhub.toml")).unwrap().site;
    start(NodeOptions {
        site,
        node: node.to_owned(),
        state_dir: dir.join("state").join(node),
        plugin_dirs: vec![plugins()],
        plugin_host: HostProgram::default(),
        pki_dir: dir.join("pki"),
        config_dir: dir.to_owned(),
        config_file: dir.join("twinhub.toml"),
    })
    .unwrap()
}

/// Configuration, items and certificates of two nodes, which take the first four ports; `third` says who votes beside them.
pub(crate) fn write_site(dir: &Path, third: &str, interfaces: &str) {
    let [main, main_web, backup, backup_web] = Port::hold();
    let config = format!(
        r#"
version = 1
site = "Test"
[cluster]
nodes = ["main", "backup"]
profile = "fast"
{third}
failback = "manual"
[nodes.main]
links = ["127.0.0.1:{main}"]
web = "127.0.0.1:{main_web}"
[nodes.backup]
links = ["127.0.0.1:{backup}"]
web = "127.0.0.1:{backup_web}"
{interfaces}"#
    );
    std::fs::write(dir.join("twinhub.toml"), config).unwrap();
    let items = "path,address,type,access,unit,description\ncount,counter,uint64,r,,Counts\necho,echo,uint64,rw,,Echoes\n";
    std::fs::write(dir.join("items.csv"), items).unwrap();
    pki::ensure(&dir.join("pki"), &["main", "backup", "witness"]).unwrap();
}

pub(crate) fn shutdown(node: &Handle) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(node.shutdown());
}

/// Builds the simulated interface once and says where it is.
fn plugins() -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "twinhub-sim"])
            .status()
            .unwrap();
        assert!(status.success(), "the simulated interface does not build");
        let mut dir = std::env::current_exe().unwrap();
        dir.pop();
        dir.pop();
        dir
    })
    .clone()
}

pub(crate) fn wait(done: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "did not happen within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
