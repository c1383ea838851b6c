//! `plugin test` through the real binary: plugins that do what they should are green, each fault is red and named.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod author;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

#[test]
fn the_example_in_c_is_green() {
    let dir = tempfile::tempdir().unwrap();
    let example = root().join("examples/c-plugin");
    let library = compiled(dir.path(), &example.join("hello.c"), None);
    // For whoever reads sources only, the manifest lies beside it, too.
    let beside = std::fs::read(example.join("plugin.json")).unwrap();
    let (manifest, _) = twinhub_loader::read_manifest(&library).unwrap();
    assert_eq!(twinhub_loader::Manifest::parse(&beside).unwrap(), manifest);
    let items = example.join("kit/items.csv");
    is_green(&[library.to_str().unwrap(), "--items", items.to_str().unwrap()]);
}

/// It is never built anew: plugins of authors out there are not, either.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_library_of_contract_1_0_is_loaded_by_this_hub_and_green() {
    let library = root().join("tests/versions/golden/plugins/contract-1.0-x86_64-linux.so");
    let sum = Command::new("sha256sum").arg(&library).output().unwrap().stdout;
    let kept = "b8a494d25985f760985dfac65463e9ccb418db37ff464a634ba0c2978ae7cff0";
    assert!(String::from_utf8(sum).unwrap().starts_with(kept), "this is another file than was kept");
    is_green(&[library.to_str().unwrap()]);
}

#[test]
fn the_example_in_rust_is_green() {
    let items = root().join("examples/hello-plugin/kit/items.csv");
    is_green(&[&library("hello"), "--items", items.to_str().unwrap()]);
}

#[test]
fn the_simulation_is_green() {
    plugin_is_green("sim");
}

#[test]
fn modbus_is_green() {
    plugin_is_green("modbus");
}

#[test]
fn mqtt_is_green() {
    plugin_is_green("mqtt");
}

#[test]
fn with_its_device_a_plugin_is_green_in_what_only_a_device_sees() {
    for name in ["modbus", "mqtt"] {
        for test in ["robustness.device", "failover.device"] {
            let (found, code) = with_device(name, "", "", test);
            assert_eq!((code, &found["verdict"]), (Some(0), &"passed".into()), "{name}, {test}: {found:#}");
        }
    }
}

#[test]
fn what_a_device_has_seen_wrong_is_red() {
    for (before, after, test, said) in [
        // It has not seen what was answered as carried out, or has seen it twice.
        ("", "s/{\"outputs\":.*/{\"outputs\":[]}/", "failover.device", "0 times, and it was answered once"),
        ("", r"s/\[\({.*}\)\]/[\1,\1]/", "failover.device", "2 times, and it was answered once"),
        ("s/\"do\":\"set\"/\"do\":\"nothing\"/", "", "robustness.device", "no way to `set`"),
        ("", "s/^{}$/{\"error\":\"out of paper\"}/", "robustness.device", "out of paper"),
        ("", "s/.*settings.*/ready/", "abi.symbols", "`ready`, which is no JSON"),
    ] {
        let (found, code) = with_device("modbus", before, after, test);
        assert_eq!((code, &found["verdict"]), (Some(1), &"failed".into()), "{said}");
        let note = found["note"].as_str().unwrap();
        assert!(note.contains(said), "{said}: {note}");
    }
}

#[test]
fn each_fault_makes_its_test_red_and_says_what_it_was() {
    for (fault, test, said) in [
        ("BLOCKS", "roles.again", "nothing came back within 3 s, in: set_role(COLD)"),
        ("CRASHES", "robustness.siblings", "the process was killed by SIGSEGV (signal 11), in: write"),
        ("DOUBLES", "robustness.siblings", "answered write 1 twice"),
        ("EXHAUSTS_MEMORY", "roles.again", "MiB of memory, in: set_role(COLD)"),
        ("EXHAUSTS_STACK", "roles.again", "has overflowed its stack"),
        ("EXITS", "roles.again", "the process ended, exit status: 3, in: set_role(COLD)"),
        ("FLOODS", "robustness.flood", "is a flood"),
        ("FORGETS", "robustness.siblings", "nothing came back within 3 s, in: waiting for write_done"),
        ("GARBAGE", "robustness.siblings", "value kind 99 is unknown"),
        ("HAMMERS", "robustness.no_room", "although the hub had no room"),
        ("IGNORES_LEASE", "robustness.ended_lease", "it wrote although the lease had ended"),
        (
            "IGNORES_LEASE",
            "roles.other_epochs",
            "it carried out a write of epoch 99 while it is ACTIVE in 100",
        ),
        ("IGNORES_LEASE", "roles.writes_inactive", "a write while COLD succeeded"),
        ("IGNORES_LEASE", "failover.frozen", "read after its lease had ended, was carried out"),
        ("IGNORES_LEASE", "failover.planned", "a write was carried out while the other instance is ACTIVE"),
        ("CRASHES", "failover.isolated", "SIGSEGV"),
        ("ONE_ONLY", "upgrade.beside", "STOPPED"),
        ("ONE_ONLY", "upgrade.swapped", "STOPPED"),
        ("IGNORES_STRIDE", "abi.newer_elements", "which nobody gave it"),
        ("LEAKS", "threading.nothing_left", "KiB of memory behind"),
        ("LIES", "roles.again", "published a value of item 0 while COLD, and declares"),
        ("UNFLAGGED", "roles.again", "published item 0 while COLD without FLAG_STANDBY"),
        ("LINGERS", "threading.destroy", "calls after destroy() had returned"),
        ("EVENTS_UNOFFERED", "robustness.strange_answers", "does not offer twinhub.events/1"),
        (
            "EVENTS_INACTIVE",
            "robustness.inactive_events",
            "brought while COLD has to be answered with E_NOT_ACTIVE",
        ),
        ("EVENTS_INACTIVE", "robustness.events", "calls an event done of a stream that it does not take"),
        ("EVENTS_TWICE", "robustness.events", "answered an event that does not wait for an answer"),
        ("EVENTS_STRANGE", "robustness.events", "gave an event to stream `mine`"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let library = compiled(dir.path(), &root().join("core/hub/tests/fixtures/drill.c"), Some(fault));
        let limit = if ["BLOCKS", "FORGETS"].contains(&fault) { "3" } else { "60" };
        let (report, code) = tried(&[library.to_str().unwrap(), "--only", test, "--limit", limit]);
        assert_eq!(code, Some(1), "{fault}: {report:#}");
        let found = &report["tests"][0];
        assert_eq!((&report["verdict"], &found["verdict"]), (&"failed".into(), &"failed".into()), "{fault}");
        let note = found["note"].as_str().unwrap();
        assert!(note.contains(said), "{fault}, {test}: {note}");
    }
}

#[test]
fn a_symbol_too_many_is_red() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("more.c");
    let text = "int more(void);\nint more(void) { return 1; }\n#include \"hello.c\"\n";
    std::fs::write(&source, text).unwrap();
    let library = dir.path().join("libmore.so");
    compile(&source, &library, &["-fvisibility=default"]);
    let (report, code) = tried(&[library.to_str().unwrap(), "--only", "abi.symbols"]);
    assert_eq!(code, Some(1));
    assert!(report["tests"][0]["note"].as_str().unwrap().contains("it also exports more"), "{report:#}");
}

#[test]
fn what_is_no_plugin_or_no_test_is_refused_with_what_to_do() {
    let refused = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let library = library("hello");
    assert!(refused(&["/bin/sh"]).contains("manifest"), "{}", refused(&["/bin/sh"]));
    let said = refused(&[&library, "--only", "everything"]);
    assert!(said.contains("there is no test `everything`; the groups are abi, schema, threading"), "{said}");
    let said = refused(&[&library, "--settings", "/nowhere.toml"]);
    assert!(said.contains("cannot read /nowhere.toml"), "{said}");
    let said = refused(&[&library, "--report", "/nowhere/report.json"]);
    assert!(said.contains("there is no folder /nowhere for the report"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let items = dir.path().join("items.csv");
    std::fs::write(&items, "path,address\n").unwrap();
    let said = refused(&[&library, "--items", items.to_str().unwrap()]);
    assert!(said.contains("no items: the kit needs at least one"), "{said}");
}

#[test]
fn items_and_configuration_that_are_missing_are_asked_for() {
    let (report, code) =
        tried(&[&library("modbus"), "--only", "schema.right_config", "--only", "roles.again"]);
    assert_eq!(code, Some(1));
    let [config, again] = report["tests"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert!(config["note"].as_str().unwrap().contains("give one with --settings"), "{config:#}");
    // What could not be tried is not green.
    assert_eq!(again["verdict"], "failed");
    assert!(again["note"].as_str().unwrap().contains("give it one with --settings"), "{again:#}");
    let (report, _) = tried(&[&library("hello"), "--only", "schema.right_items"]);
    let note = report["tests"][0]["note"].as_str().unwrap();
    assert!(note.contains("give the kit some with --items"), "{note}");
}

fn plugin_is_green(name: &str) {
    let kit = root().join("plugins").join(name).join("kit");
    let (items, config) = (kit.join("items.csv"), kit.join("settings.toml"));
    is_green(&[&library(name), "--items", items.to_str().unwrap(), "--settings", config.to_str().unwrap()]);
}

/// One test of a plugin of ours with its device, whose orders and answers go through `sed` with these commands.
fn with_device(name: &str, before: &str, after: &str, test: &str) -> (Value, Option<i32>) {
    let library = library(name);
    let kit = root().join("plugins").join(name).join("kit");
    let (items, settings) = (kit.join("items.csv"), kit.join("settings.toml"));
    let program = Path::new(&library).with_file_name("kit-device");
    let device = format!("sed -u '{before}' | '{}' {name} | sed -u '{after}'", program.display());
    let (items, settings) = (items.to_str().unwrap(), settings.to_str().unwrap());
    let arguments = ["--items", items, "--settings", settings, "--device", &device, "--only", test];
    let (report, code) = tried(&[&[library.as_str()][..], &arguments].concat());
    (report["tests"][0].clone(), code)
}

fn is_green(arguments: &[&str]) {
    let (report, code) = tried(arguments);
    let tests = report["tests"].as_array().unwrap();
    let red: Vec<&Value> = tests.iter().filter(|test| test["verdict"] == "failed").collect();
    assert!(red.is_empty(), "{red:#?}");
    assert_eq!((code, &report["verdict"]), (Some(0), &"passed".into()));
    let passed = tests.iter().filter(|test| test["verdict"] == "passed").count();
    assert!(passed > 35, "only {passed} tests concern it: {report:#}");
    assert_eq!(report["sha256"].as_str().unwrap().len(), 64);
}

/// The report of `plugin test`, and its exit code.
fn tried(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = run(&[arguments, &["--output", "json"]].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (report, output.status.code())
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinhub")).args(["plugin", "test"]).args(arguments).output().unwrap()
}

/// A library of this workspace, built once.
fn library(name: &str) -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let packages =
            ["hello", "modbus", "mqtt", "peers", "sim"].map(|name| format!("--package=twinhub-{name}"));
        let built = Command::new(env!("CARGO")).args(["build", "--quiet"]).args(packages).status().unwrap();
        assert!(built.success());
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug")
    });
    dir.join(format!("libtwinhub_{name}.so")).to_str().unwrap().to_owned()
}

/// A library made of C, with one fault or none.
fn compiled(dir: &Path, source: &Path, fault: Option<&str>) -> PathBuf {
    let (library, exports) = (dir.join("libdrill.so"), dir.join("exports"));
    // The example's own entry is not to be seen.
    std::fs::write(&exports, "{ global: twinhub_plugin_entry; local: *; };\n").unwrap();
    let exports = format!("-Wl,--version-script={}", exports.display());
    let fault = fault.unwrap_or("NOTHING");
    if fault.starts_with("EVENTS") {
        // The example takes no events.
        let hello = std::fs::read_to_string(root().join("examples/c-plugin/hello.c")).unwrap();
        let (declared, taking) =
            ("\\\"capabilities\\\"", "\\\"events\\\":{\\\"takes\\\":[\\\"note\\\"]},\\\"capabilities\\\"");
        assert!(hello.contains(declared));
        std::fs::write(dir.join("hello.c"), hello.replace(declared, taking)).unwrap();
    }
    let fault = format!("-DFAULT={fault}");
    // Where it stands first it is found first.
    compile(source, &library, &["-fvisibility=hidden", &exports, &fault, "-I", dir.to_str().unwrap()]);
    library
}

fn compile(source: &Path, library: &Path, more: &[&str]) {
    let built = Command::new("cc")
        .args(["-std=c11", "-O1", "-w", "-shared", "-fPIC", "-pthread"])
        .args(more)
        .arg("-I")
        .arg(root().join("sdk/contract/include"))
        .arg("-I")
        .arg(root().join("examples/c-plugin"))
        .arg("-o")
        .args([library, source])
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
