//! Nodes tell each other what they trust and run.

use serde_json::Value;
use twinhub_peers::Port;

use crate::signer::Signer;
use crate::site::{Node, Site, compiled};

/// Two machines, each with its own folder: a rolling upgrade is shown as that, and what no upgrade explains is told.
#[test]
fn nodes_show_the_skew_of_an_upgrade_and_tell_what_none_explains() {
    let [link_a, web_a] = Port::hold();
    let [link_b, web_b] = Port::hold();
    let ports = [("main", link_a, web_a), ("backup", link_b, web_b)];
    let [here, there] = ["0.1.0", "0.1.0"].map(|version| Site::with_nodes(version, &ports));
    let signer = Signer::new(1);
    locked(&here, &signer, "0.1.0");
    locked(&there, &signer, "0.1.0");

    let main = here.start_node("main", 0);
    main.wait("certificates", |_| here.path("pki/backup.key").exists());
    main.wait("an answer", |main| main.status()["node"] == "main");
    std::fs::create_dir(there.path("pki")).unwrap();
    for file in std::fs::read_dir(here.path("pki")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), there.path("pki").join(file.file_name())).unwrap();
    }
    {
        let _backup = there.start_node("backup", 1);
        main.wait("the same", |main| seen(main)["plugins"] == "same");
        assert_eq!(seen(&main)["plugins_lock"], own(&main)["plugins_lock"]);
        assert!(own(&main)["plugins_lock"].as_str().is_some_and(|hash| hash.len() == 64));
        assert!(told(&main).is_empty(), "{:?}", told(&main));
    }

    // The next version, and its lock, on the backup first.
    there.install(&compiled("0.2.0", "hello from C"));
    locked(&there, &signer, "0.2.0");
    {
        let backup = there.start_node("backup", 1);
        main.wait("skew", |main| seen(main)["plugins"] == "skew");
        let what = "plugin org.twinhub.hello-c is 0.2.0 there, 0.1.0 here";
        assert_eq!(seen(&main)["plugins_differ"][0], what);
        assert_ne!(seen(&main)["plugins_lock"], own(&main)["plugins_lock"]);
        main.wait("an event", |main| told(main) == ["TH-TRUST-003"]);
        let table = main.table(&["status"]);
        assert!(table.contains(&format!("backup is being upgraded, or to be: {what}")), "{table}");
        backup.wait("the other side", |backup| {
            let nodes = backup.status()["groups"][0]["nodes"].clone();
            nodes[0]["plugins"] == "skew"
        });
    }

    // One version with two contents, each trusted where it is.
    there.install(&compiled("0.1.0", "hullo from C"));
    locked(&there, &signer, "0.1.0");
    {
        let _backup = there.start_node("backup", 1);
        main.wait("differ", |main| seen(main)["plugins"] == "differ");
        let differ = seen(&main)["plugins_differ"].to_string();
        assert!(differ.contains("0.1.0 has another content there"), "{differ}");
        main.wait("an event", |main| told(main) == ["TH-TRUST-002", "TH-TRUST-003"]);
        assert_eq!(main.events().iter().find(|event| is_trust(event)).unwrap()["severity"], "error");
    }

    // The same library, and nothing that is checked.
    there.install(&here.library());
    std::fs::remove_file(there.path("plugins.lock")).unwrap();
    {
        let _backup = there.start_node("backup", 1);
        main.wait("no lock", |main| {
            seen(main)["plugins_differ"][0] == "there is no plugins.lock there: nothing is checked"
        });
    }
    locked(&there, &signer, "0.1.0");
    let _backup = there.start_node("backup", 1);
    main.wait("the same again", |main| seen(main)["plugins"] == "same");
    main.wait("an event", |main| told(main).first().is_some_and(|code| code == "TH-TRUST-004"));
}

/// A machine that joins checks its plugins from its first start on, by the lock and the signatures of the site.
#[test]
fn a_new_machine_gets_lock_and_signatures_with_the_plugins() {
    let [link_a, web_a] = Port::hold();
    let [link_b, web_b] = Port::hold();
    let site = Site::with_nodes("0.1.0", &[("main", link_a, web_a), ("backup", link_b, web_b)]);
    locked(&site, &Signer::new(1), "0.1.0");
    let main = site.start_node("main", 0);
    main.wait("active", |main| main.status()["groups"][0]["state"] == "active");
    let answer = main.table(&["--output", "json", "init", "--code", "backup"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let code = answer["code"].as_str().unwrap();

    let machine = tempfile::tempdir().unwrap();
    let (status, said) = site.said_at(machine.path(), &["join", &main.url(), code]);
    assert_eq!((status, said.contains("fetched plugins hello_c")), (Some(0), true), "{said}");
    let (status, said) = site.said_at(machine.path(), &["plugin", "verify"]);
    assert_eq!((status, said.contains("ok    hello_c 0.1.0: trusted")), (Some(0), true), "{said}");
    let lock = std::fs::read_to_string(machine.path().join("etc/twinhub/plugins.lock")).unwrap();
    assert_eq!(lock, std::fs::read_to_string(site.path("plugins.lock")).unwrap());
}

/// With a lock that trusts what is installed.
fn locked(site: &Site, signer: &Signer, version: &str) {
    site.sign(&signer.prehashed(&site.library()));
    site.lock(&site.entry(signer, "publisher = \"acme\"").replace("\"0.1.0\"", &format!("\"{version}\"")));
}

/// The backup as the main sees it.
fn seen(main: &Node<'_>) -> Value {
    main.status()["groups"][0]["nodes"][1].clone()
}

fn own(main: &Node<'_>) -> Value {
    main.status()["groups"][0]["nodes"][0].clone()
}

fn is_trust(event: &Value) -> bool {
    let code = event["code"].as_str().unwrap_or_default();
    code.starts_with("TH-TRUST") && code != "TH-TRUST-001" && event["source"] == "backup"
}

/// Codes of events about the plugins of the backup, the newest first.
fn told(main: &Node<'_>) -> Vec<String> {
    let events = main.events();
    let codes = events.iter().filter(|event| is_trust(event)).filter_map(|event| event["code"].as_str());
    codes.map(str::to_owned).collect()
}
