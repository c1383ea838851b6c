//! `twinhub import`, as an engineer runs it beside a configuration.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const GROUPS: &str = "\"Main\",\"Middle\",\"Sub\",\"Address\",\"Central\",\"Unfiltered\",\"Description\",\"DatapointType\",\"Security\"\n\
    \"Ground floor\",,,\"1/-/-\",,,,,\"Auto\"\n\
    ,\"Light\",,\"1/0/-\",,,,,\"Auto\"\n\
    ,,\"Lobby\",\"1/0/1\",,,\"\",\"DPST-1-1\",\"Auto\"\n\
    ,,\"Bar\",\"1/0/2\",,,\"\",\"DPST-5-1\",\"Auto\"\n";

/// A directory with a configuration of one interface.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        site.write(
            "twinhub.toml",
            "version = 1\nsite = \"Hotel\"\n[cluster]\nnodes = [\"main\"]\n[nodes.main]\nlinks = [\"127.0.0.1:7620\"]\n\
             [[interface]]\nid = \"knx1\"\nplugin = \"knx\"\nitems = \"items/knx1.csv\"\n",
        );
        site.write("groups.csv", GROUPS);
        site
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinhub"));
        command.current_dir(self.path()).env_clear().args(["--root", "."]).arg("import").args(args);
        command.output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--output", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_second_import_keeps_what_was_edited_and_changes_what_the_source_changed() {
    let site = Site::new();
    let into = ["ets-csv", "groups.csv", "--interface", "knx1"];
    let dry = site.run(&[&into[..], &["--dry-run"]].concat());
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(said.contains("2 added") && said.contains("nothing was written"), "{said}");
    assert!(!site.path().join("items").exists());

    assert_eq!(site.json(&into)["list"]["rows"], 2);
    let list = site.text("items/knx1.csv");
    assert!(list.contains("Ground floor/Light/Lobby,1/0/1"), "{list}");
    assert_eq!(site.text("items/knx1.import.csv"), list);
    assert_eq!(site.json(&into)["list"]["changes"], Value::Array(Vec::new()));

    // Somebody gives a lamp another path; then the source gets a group, and another type for the bar.
    site.write("items/knx1.csv", &list.replace("Ground floor/Light/Lobby", "lobby"));
    let more =
        GROUPS.replace("DPST-5-1", "DPST-5-3") + ",,\"Stairs\",\"1/0/3\",,,\"\",\"DPST-1-1\",\"Auto\"\n";
    site.write("groups.csv", &more);
    let report = site.json(&into);
    let kinds: Vec<_> =
        report["list"]["changes"].as_array().unwrap().iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["changed", "changed", "added"], "{report:#}");
    let list = site.text("items/knx1.csv");
    assert!(list.contains("\nlobby,1/0/1") && list.contains("5.003") && list.contains("1/0/3"), "{list}");
}

#[test]
fn another_part_of_the_list_takes_nothing_away_unless_it_is_asked_for() {
    let site = Site::new();
    site.json(&["ets-csv", "groups.csv", "--interface", "knx1"]);
    let other = GROUPS.replace("1/0/1", "1/0/7").replace("1/0/2", "1/0/8");
    site.write("other.csv", &other);
    let into = ["ets-csv", "other.csv", "--interface", "knx1"];
    let report = site.json(&into);
    assert_eq!(report["list"]["rows"], 4, "{report:#}");
    let list = site.text("items/knx1.csv");
    assert!(["1/0/1", "1/0/2", "1/0/7", "1/0/8"].into_iter().all(|group| list.contains(group)), "{list}");
    assert_eq!(site.json(&[&into[..], &["--remove"]].concat())["list"]["rows"], 2);
    assert!(!site.text("items/knx1.csv").contains("1/0/1"));
}

#[test]
fn rows_without_a_target_are_an_items_file() {
    let site = Site::new();
    let output = site.run(&["ets-csv", "groups.csv"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("path,address,type,access,unit,description"), "{text}");
    assert!(text.contains("Ground floor/Light/Bar,1/0/2"), "{text}");
}

#[test]
fn what_cannot_be_imported_says_why_and_changes_nothing() {
    let site = Site::new();
    site.write("empty.csv", &GROUPS.lines().take(3).collect::<Vec<_>>().join("\n"));
    site.write("points.csv", "Name,Address,Type\n");
    site.write("broken.knxproj", "PK\u{3}\u{4}nothing");
    site.write("list.csv", "path,address,type,access\na,1/0/1,,rw\na,1/0/2,,rw\n");
    for (args, code, expected) in [
        (&["ets-csv", "groups.csv", "--interface", "knx9"][..], 64, "there is no interface `knx9`"),
        (&["ets-csv", "empty.csv", "--interface", "knx1"], 1, "no column has group addresses"),
        (&["modbus-csv", "points.csv", "--interface", "knx1"], 1, "no row"),
        (&["ets-csv", "missing.csv"], 1, "cannot read missing.csv"),
        (&["knxproj", "broken.knxproj"], 1, "broken.knxproj"),
        (&["ets-xls", "groups.csv"], 2, "ets-csv"),
    ] {
        let output = site.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    // A list that the hub would refuse stays as it is.
    std::fs::create_dir(site.path().join("items")).unwrap();
    site.write("items/knx1.csv", &site.text("list.csv"));
    let output = site.run(&["ets-csv", "groups.csv", "--interface", "knx1"]);
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.text("items/knx1.csv"), site.text("list.csv"));
    assert!(!site.path().join("items/knx1.import.csv").exists());
}
