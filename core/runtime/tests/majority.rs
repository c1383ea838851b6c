//! A node that acts without a majority holds interfaces back as they say, and lets them go when one is back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use twinhub_runtime::view::InterfaceView;
use twinhub_runtime::{Handle, NodeOptions, pki, start};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

const INTERFACES: &str = r#"
[[interface]]
id = "free"
plugin = "sim"
items = "items.csv"
settings = { interval_ms = 20, batch = 1 }
[[interface]]
id = "reader"
plugin = "sim"
items = "items.csv"
on_unquorate = "read_only"
settings = { interval_ms = 20, batch = 1 }
[[interface]]
id = "silent"
plugin = "sim"
items = "items.csv"
on_unquorate = "off"
settings = { interval_ms = 20, batch = 1 }
[[link]]
from = "free/count"
to = "reader/echo"
delivery = "command"
"#;

#[test]
fn without_a_majority_interfaces_read_only_or_are_off_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    write_site(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = |node: &Handle, key: &str| runtime.block_on(node.set(key, 7.into(), "test"));

    let main = start_node(dir.path(), "main");
    wait(|| main.is_active(), "main acts alone");
    assert!(!main.cluster().groups[0].protected, "nobody stands behind it");
    let count = |key: &str| main.item(key).and_then(|item| item.value.as_u64()).unwrap_or(0);
    let before = count("reader/count");
    wait(|| count("reader/count") > before + 2, "inputs of a read-only interface");
    set(&main, "free/echo").unwrap();
    for (id, restriction) in [("reader", "read-only: no majority"), ("silent", "off: no majority")] {
        let refused = set(&main, &format!("{id}/echo")).unwrap_err();
        assert!(refused.to_string().contains(restriction), "{refused}");
        let view = interface(&main, id);
        assert_eq!(view.restriction.as_deref(), Some(restriction));
        assert!(view.withheld > 0 && view.writes == 0, "{view:?}");
        assert!(main.events(0, 100).iter().any(|event| event.text.contains(restriction)));
    }
    assert!(interface(&main, "silent").role != "active");
    assert_eq!(count("silent/count"), 0, "an interface that is off gives no values");
    assert_eq!(count("reader/echo"), 0, "a link drove a read-only interface");
    assert_eq!(interface(&main, "free").restriction, None);

    let backup = start_node(dir.path(), "backup");
    wait(|| interface(&main, "reader").restriction.is_none(), "a majority is back");
    wait(|| count("reader/echo") > 0, "the link drives again");
    wait(|| count("silent/count") > 0 && interface(&main, "silent").role == "active", "the interface is on");
    wait(|| set(&main, "silent/echo").is_ok(), "a command to the interface that was off");

    runtime.block_on(backup.shutdown());
    runtime.block_on(main.shutdown());
}

fn interface(node: &Handle, id: &str) -> InterfaceView {
    node.interfaces().into_iter().find(|interface| interface.id == id).unwrap()
}

fn write_site(dir: &Path) {
    let listeners: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |number: usize| listeners[number].local_addr().unwrap().port();
    let config = format!(
        r#"
version = 1
site = "Test"
[cluster]
nodes = ["main", "backup"]
profile = "fast"
without_witness = "availability"
failback = "manual"
[nodes.main]
links = ["127.0.0.1:{}"]
web = "127.0.0.1:{}"
[nodes.backup]
links = ["127.0.0.1:{}"]
web = "127.0.0.1:{}"
{INTERFACES}"#,
        port(0),
        port(1),
        port(2),
        port(3),
    );
    std::fs::write(dir.join("twinhub.toml"), config).unwrap();
    let items = "path,address,type,access,unit,description\ncount,counter,uint64,r,,Counts\necho,echo,uint64,rw,,Echoes\n";
    std::fs::write(dir.join("items.csv"), items).unwrap();
    pki::ensure(&dir.join("pki"), &["main", "backup"]).unwrap();
}

fn start_node(dir: &Path, node: &str) -> Handle {
    let site = twinhub_config::load(&dir.join("twinhub.toml")).unwrap().site;
    start(NodeOptions {
        site,
        node: node.to_owned(),
        state_dir: dir.join("state").join(node),
        plugin_dirs: vec![plugins()],
        pki_dir: dir.join("pki"),
        config_dir: dir.to_owned(),
    })
    .unwrap()
}

/// Builds the simulated interface and says where it is.
fn plugins() -> PathBuf {
    let status =
        Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "twinhub-sim"]).status().unwrap();
    assert!(status.success(), "the simulated interface does not build");
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    dir.pop();
    dir
}

fn wait(done: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "did not happen within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
