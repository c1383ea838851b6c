//! Revisions of the configuration of a running pair.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::site::Pair;

/// One story, since starting three processes costs more than what is checked.
#[test]
fn a_configuration_is_applied_taken_into_service_and_rolled_back() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    let before = running(&pair, "main");

    // What is wrong is refused here and by the node, and nothing is tried by a look.
    let wanted = written(&pair, "wanted", SIM2);
    let wrong =
        written(&pair, "wrong", "[[interface]]\nid = \"x\"\nplugin = \"sim\"\nitems = \"none.csv\"\n");
    let refused = pair.ask("main", &["config", "apply", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    let body = "{\"files\": {\"twinhub.toml\": \"version = 1\\n\"}}";
    let (status, answer) = pair.http("main", "POST", "/api/v1/config", "Host: localhost\r\n", body);
    assert!(status == 422 && answer.contains("TH-CONFIG-001"), "{answer}");
    // Nothing gets into the folder of the configuration that is none of its files: there are keys and secrets, too.
    let toml = text(&pair.dir.path().join("twinhub.toml"));
    let strange = |name: &str, toml: &str, content: &str| {
        let mut files = serde_json::json!({ "twinhub.toml": toml });
        if toml.contains("sim1.csv") {
            files["sim1.csv"] = ITEMS.into();
        }
        files[name] = content.into();
        let body = serde_json::json!({ "files": files }).to_string();
        pair.http("main", "POST", "/api/v1/config", "Host: localhost\r\n", &body)
    };
    let chosen = toml.replace("items = \"sim1.csv\"", "items = \"token\"");
    for ((status, answer), said) in [
        (strange("pki/main.key", &toml, "mine"), "is no file of this configuration"),
        (strange("token", &toml, "0123456789abcdef"), "is no file of this configuration"),
        (strange("token", &chosen, ITEMS), "is an items file, too"),
    ] {
        assert!(status == 422 && answer.contains(said), "{answer}");
    }
    let tried = pair.json("main", &["config", "apply", wanted.to_str().unwrap(), "--dry-run"]);
    assert_eq!((&tried["changed"], &tried["revision"]), (&true.into(), &Value::Null), "{tried}");
    assert_eq!(pair.json("main", &["config", "history"])["revisions"], Value::Array(Vec::new()));

    // It is applied over either node; what ran before is a revision, too. Nodes run it when they are restarted.
    let args = ["config", "apply", wanted.to_str().unwrap(), "--message", "a second generator"];
    let applied = pair.json("backup", &args);
    assert_eq!((&applied["revision"], &applied["confirmed"]), (&2.into(), &true.into()), "{applied}");
    assert_eq!(pair.json("main", &args)["changed"], false);
    for node in ["main", "backup"] {
        pair.wait("both revisions", |pair| {
            let view = pair.json(node, &["config", "history"]);
            let why: Vec<&str> = view["revisions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["message"].as_str())
                .collect();
            view["revision"] == 2 && why == ["what ran before the first revision", "a second generator"]
        });
        assert_eq!(running(&pair, node), before, "nothing changes by itself");
    }
    assert!(
        pair.table("main", &["status"])
            .contains("revision 2 of the configuration waits for a restart of: main, backup")
    );
    let stale = pair.ask("main", &["config", "apply", wanted.to_str().unwrap(), "--base", "1"]);
    assert!(stale.status.success(), "the same files are no change: {stale:?}");
    for (args, has) in [(&["--revision", "1"][..], false), (&["--revision", "2"], true), (&[], true)] {
        let shown = pair.table("backup", &[&["config", "show", "--remote"], args].concat());
        assert_eq!(shown.contains("sim2"), has, "{args:?}: {shown}");
    }
    let text_of = pair.table("backup", &["config", "show", "--remote", "--revision", "1", "--text"]);
    assert_eq!(text_of.trim_end(), toml.trim_end());
    let diff = pair.table("main", &["config", "diff", "1", "2"]);
    assert!(diff.contains("+id = \"sim2\"") && diff.contains("+++ sim2.csv"), "{diff}");
    pair.wait("the files", |pair| text(&pair.dir.path().join("twinhub.toml")).contains("sim2"));
    assert_eq!(pair.table("main", &["config", "diff"]).trim(), "nothing differs");

    // One node after the other takes it into service: the role moves in order, and never stands still for long.
    let done = pair.ask("main", &["config", "activate"]);
    assert!(done.status.success(), "{done:?}\n{}", pair.logs());
    let restarted: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(restarted["restarted"].as_array().map(Vec::len), Some(2), "{restarted}");
    for node in ["main", "backup"] {
        pair.wait("the new item", |pair| {
            pair.json(node, &["items", "get", "sim2/count"])[0]["quality"] == "good"
        });
        assert_ne!(running(&pair, node), before);
    }
    assert!(!pair.table("main", &["status"]).contains("waits for a restart"));

    // The way back is a revision as well.
    let back = pair.json("main", &["config", "rollback", "1", "--message", "not yet"]);
    assert_eq!(back["revision"], 3, "{back}");
    let done = pair.ask("backup", &["config", "activate"]);
    assert!(done.status.success(), "{done:?}\n{}", pair.logs());
    assert_eq!((running(&pair, "main"), running(&pair, "backup")), (before.clone(), before));
    let audit = pair.json("main", &["audit"]);
    let said: Vec<&str> =
        audit.as_array().into_iter().flatten().filter_map(|row| row["text"].as_str()).collect();
    assert_eq!(said.last(), Some(&"rolled the configuration back to revision 1"), "{said:?}");

    // Without a majority of the nodes it is refused, unless it is ordered all the same.
    pair.kill("backup");
    pair.wait("main active", |pair| pair.state("main") == "active");
    pair.wait("the loss of the backup", |pair| {
        let refused = pair.ask("main", &["config", "apply", wanted.to_str().unwrap()]);
        String::from_utf8_lossy(&refused.stderr).contains("TH-DOC-004")
    });
    let alone = pair.json("main", &["config", "apply", wanted.to_str().unwrap(), "--alone"]);
    assert_eq!((&alone["revision"], &alone["confirmed"]), (&4.into(), &false.into()), "{alone}");
}

const SIM2: &str =
    "[[interface]]\nid = \"sim2\"\nplugin = \"sim\"\nitems = \"sim2.csv\"\nsettings = { interval_ms = 50 }\n";

const ITEMS: &str = "path,address,type,access,unit,description\ncount,counter,int64,r,,\n";

/// The pair's configuration with more at its end, in a folder of its own.
fn written(pair: &Pair, name: &str, more: &str) -> PathBuf {
    let dir = pair.dir.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    let config = text(&pair.dir.path().join("twinhub.toml"));
    std::fs::write(dir.join("twinhub.toml"), config + more).unwrap();
    std::fs::copy(pair.dir.path().join("sim1.csv"), dir.join("sim1.csv")).unwrap();
    std::fs::write(dir.join("sim2.csv"), ITEMS).unwrap();
    dir
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn running(pair: &Pair, node: &str) -> String {
    pair.json(node, &["status"])["config_hash"].as_str().unwrap_or_default().to_owned()
}
