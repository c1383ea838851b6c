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

/// What nothing that runs was built from takes effect on both nodes without a restart: no role moves, no process ends, and
/// what else differs is named and takes one.
#[test]
fn alarms_and_the_length_of_logins_are_taken_in_without_a_restart() {
    let pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    let (epoch, hubs) = (pair.counter("main"), [pair.hub("main"), pair.hub("backup")]);
    let before = running(&pair, "main");
    let high = "[[alarm]]\nid = \"echo-high\"\nitem = \"sim1/echo\"\nwhen = \"high\"\nvalue = 90\n";
    let wanted = written(&pair, "alarms", &high.replace("[[alarm]]", "session = \"1h\"\n[[alarm]]"));
    let toml = text(&wanted.join("twinhub.toml")).replace("session = \"1h\"\n", "");
    let toml = toml.replace("token_file = \"token\"\n", "token_file = \"token\"\nsession = \"1h\"\n");
    std::fs::write(wanted.join("twinhub.toml"), &toml).unwrap();
    assert!(pair.ask("main", &["items", "set", "sim1/echo", "100"]).status.success());
    let applied = pair.json("main", &["config", "apply", wanted.to_str().unwrap()]);
    assert_eq!(applied["revision"], 2, "{applied}");
    pair.wait("what differs, on both", |pair| {
        ["main", "backup"].iter().all(|node| {
            let status = pair.table(node, &["status"]);
            ["main", "backup"].iter().all(|other| {
                status.contains(&format!("{other} runs revision 1; what differs: alarms, web: session"))
            })
        })
    });
    assert_eq!(pair.json("main", &["alarms", "ls"])["alarms"].as_array().map_or(0, Vec::len), 0);

    let done = pair.json("backup", &["config", "activate"]);
    assert_eq!(
        (&done["restarted"], done["reloaded"].as_array().map(Vec::len)),
        (&serde_json::json!([]), Some(2)),
        "{done}"
    );
    for node in ["main", "backup"] {
        assert_ne!(running(&pair, node), before, "{node}");
        pair.wait("the alarm", |pair| pair.json(node, &["status"])["groups"][0]["alarms"]["active"] == 1);
        // What the other node runs comes with its next heartbeat.
        pair.wait("no difference", |pair| !pair.table(node, &["status"]).contains("what differs"));
    }
    assert_eq!(
        (pair.counter("main"), [pair.hub("main"), pair.hub("backup")]),
        (epoch, hubs),
        "nobody was restarted"
    );
    let hashes = pair.json("main", &["status"]);
    let of =
        |at: usize| hashes["groups"][0]["nodes"][at]["config_hash"].as_str().unwrap_or_default().to_owned();
    assert_eq!(of(0), of(1), "both run the same: {hashes}");

    // What people read of an item; nobody was built from it.
    let items = text(&wanted.join("sim1.csv"));
    std::fs::write(
        wanted.join("sim1.csv"),
        items.replace("\necho,echo,int64,rw,,", "\necho,echo,int64,rw,K,Echo of the test"),
    )
    .unwrap();
    assert!(pair.ask("main", &["config", "apply", wanted.to_str().unwrap()]).status.success());
    let done = pair.json("main", &["config", "activate"]);
    assert_eq!(done["restarted"], serde_json::json!([]), "{done}");
    for node in ["main", "backup"] {
        let item = &pair.json(node, &["items", "get", "sim1/echo"])[0];
        assert_eq!(
            (&item["unit"], &item["description"]),
            (&"K".into(), &"Echo of the test".into()),
            "{item}"
        );
    }

    // Another limit ends it; the occurrence is the same, not raised twice. The way back is live as well.
    std::fs::write(wanted.join("twinhub.toml"), toml.replace("value = 90", "value = 200")).unwrap();
    assert!(pair.ask("main", &["config", "apply", wanted.to_str().unwrap()]).status.success());
    assert!(pair.ask("main", &["config", "activate"]).status.success());
    pair.wait("no alarm", |pair| pair.json("main", &["status"])["groups"][0]["alarms"]["active"] == 0);

    // What plugins are made from is not live: it is named, and nothing is taken in halfway.
    let own = "[nodes.backup.override]\ninterface.sim1.settings.interval_ms = 70\n[web]";
    let mixed = toml.replace("value = 90", "value = 80").replace("[web]", own);
    let mixed = mixed.replace("interval_ms = 50", "interval_ms = 60");
    std::fs::write(wanted.join("twinhub.toml"), mixed).unwrap();
    assert!(pair.ask("main", &["config", "apply", wanted.to_str().unwrap()]).status.success());
    let (status, answer) = pair.http("main", "POST", "/api/v1/nodes/main/reload", "Host: localhost\r\n", "");
    assert!(status == 200 && answer.contains("\"loaded\":false"), "{answer}");
    let named = "\"restart\":[\"node backup: override of sim1\",\"interface sim1: settings\"]";
    assert!(answer.contains(named), "{answer}");
    assert_eq!(pair.json("main", &["status"])["groups"][0]["alarms"]["active"], 0);
    let done = pair.json("main", &["config", "activate"]);
    assert_eq!(done["restarted"].as_array().map(Vec::len), Some(2), "{done}\n{}", pair.logs());
    pair.wait("the alarm again", |pair| {
        pair.ask("main", &["items", "set", "sim1/echo", "100", "--forward"]).status.success()
            && pair.json("main", &["status"])["groups"][0]["alarms"]["active"] == 1
    });
    // An override is part of what all nodes have, and counts on its node.
    let hashes = pair.json("main", &["status"]);
    assert_eq!(
        hashes["groups"][0]["nodes"][0]["config_hash"],
        hashes["groups"][0]["nodes"][1]["config_hash"]
    );
    for (node, interval) in [("main", 60), ("backup", 70)] {
        let shown = pair.json("main", &["config", "show", "--remote", "--node", node]);
        assert_eq!(shown["interfaces"][0]["settings"]["interval_ms"], interval, "{shown}");
    }
    let audit = pair.table("main", &["audit"]);
    assert!(audit.contains("node `main` took in alarms, web: session without a restart"), "{audit}");
    let events = pair.json("main", &["events"]).to_string();
    assert!(events.contains("node `backup` took in alarms, web: session without a restart"), "{events}");
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
