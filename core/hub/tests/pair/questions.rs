//! What plugins are asked through a running node.

use crate::site::Pair;

/// A second interface whose plugin has a process of its own.
const ALONE: &str =
    "[[interface]]\nid = \"alone\"\nplugin = \"sim\"\nhosting = \"isolated\"\nitems = \"sim1.csv\"\n";

#[test]
fn what_a_plugin_lists_and_how_it_is_comes_through_every_node() {
    let pair = Pair::start_with(ALONE);
    pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
    for interface in ["sim1", "alone"] {
        pair.wait("it runs", |pair| {
            pair.json("backup", &["interfaces", "diag", interface])["diag"]["items"]["count"] == 2
        });
        let top = pair.json("main", &["interfaces", "browse", interface]);
        assert_eq!(top["nodes"][0]["parent"], "values", "{top}");
        // Both as JSON and as the bare text.
        for parent in ["values", "\"values\""] {
            let asked = ["interfaces", "browse", interface, "--parent", parent, "--limit", "2"];
            let page = pair.json("main", &asked);
            assert_eq!(page["nodes"][0]["row"]["address"], "counter", "{page}");
            assert_eq!((page["nodes"].as_array().map(Vec::len), &page["cursor"]), (Some(2), &"2".into()));
        }
        let asked = ["interfaces", "browse", interface, "--parent", "values", "--cursor", "2"];
        assert_eq!(pair.json("main", &asked)["nodes"][0]["name"], "random");
        for (node, role) in [("main", "active"), ("backup", "hot")] {
            let diag = pair.json(node, &["interfaces", "diag", interface]);
            assert_eq!((&diag["node"], &diag["diag"]["role"]), (&node.into(), &role.into()), "{diag}");
        }
    }
    let table = pair.table("main", &["interfaces", "browse", "sim1", "--parent", "writable"]);
    assert!(table.contains("echo") && table.contains("writable/keep"), "{table}");
    let table = pair.table("main", &["interfaces", "diag", "sim1"]);
    assert!(table.contains("items.generators.counter"), "{table}");
    for (asked, expected) in [
        (["browse", "sim1", "--parent", "nothing"], "TH-INTERFACE-006"),
        (["browse", "nobody", "--limit", "1"], "TH-INTERFACE-001"),
        (["browse", "sim1", "--cursor", "x"], "TH-INTERFACE-006"),
    ] {
        let output = pair.ask("main", &[&["interfaces"][..], &asked].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{asked:?}: {said}");
    }
}
