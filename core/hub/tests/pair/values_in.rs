//! A module that works on what another interface reads.

use crate::site::Pair;

/// Each count of a value that was written, in the hub's process and in one of its own.
const MODULES: &str = "[[interface]]\nid = \"here\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\n\
                       hosting = \"inproc\"\nvalues_in = [\"sim1/memo\"]\n\
                       [[interface]]\nid = \"apart\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\n\
                       hosting = \"isolated\"\nvalues_in = [\"sim1/memo\"]\n";

#[test]
fn a_module_hears_each_value_once_over_kills_and_planned_moves() {
    let mut pair = Pair::start_with_items("memo,echo,int64,rw,,\nheard,heard,int64,r,,\n", MODULES);
    pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
    let mut wanted = 0;
    wanted += say(&pair, "main", 5);
    heard(&pair, "main", wanted);

    // The module may or may not have come to the last ones.
    wanted += say(&pair, "main", 5);
    pair.wait("the other node has them", |pair| memo(pair, "backup") == memo(pair, "main"));
    pair.kill("main");
    pair.wait("the backup acts", |pair| pair.state("backup") == "active");
    heard(&pair, "backup", wanted);
    wanted += say(&pair, "backup", 5);
    heard(&pair, "backup", wanted);

    pair.restart("main");
    pair.wait("the main stands by", |pair| pair.state("main") == "standby");
    wanted += say(&pair, "backup", 5);
    assert_eq!(pair.json("backup", &["switchover", "--to", "main"])["active"][0]["node"], "main");
    wanted += say(&pair, "main", 5);
    heard(&pair, "main", wanted);
}

#[test]
fn a_plugin_that_takes_no_values_says_so_and_the_others_run() {
    let module = "[[interface]]\nid = \"deaf\"\nplugin = \"mqtt\"\nrequired = false\nsettings = { broker = \"mqtt://127.0.0.1:1\" }\nvalues_in = [\"sim1/*\"]\n";
    let pair = Pair::start_with_items("memo,echo,int64,rw,,\n", module);
    pair.wait("it is down", |pair| {
        let list = pair.json("main", &["interfaces", "ls"]);
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().any(|one| one["id"] == "deaf" && one["state"] != "ok")
    });
    pair.wait("it is told", |pair| {
        let events = pair.json("main", &["events", "ls", "--code", "TH-PLUGIN-001"]).to_string();
        events.contains("takes no values of other interfaces")
    });
    assert_eq!(say(&pair, "main", 1), 1);
}

/// Writes so many values, each another one.
fn say(pair: &Pair, node: &str, count: i64) -> i64 {
    for _ in 0..count {
        let next = (memo(pair, node) + 1).to_string();
        pair.wait("it is written", |pair| {
            pair.json(node, &["items", "set", "sim1/memo", &next])["ok"] == true
        });
        pair.wait("it is read back", |pair| memo(pair, node).to_string() == next);
    }
    count
}

fn memo(pair: &Pair, node: &str) -> i64 {
    number(pair, node, "sim1/memo")
}

fn number(pair: &Pair, node: &str, item: &str) -> i64 {
    pair.json(node, &["items", "get", item])[0]["value"].as_i64().unwrap_or(0)
}

fn heard(pair: &Pair, node: &str, wanted: i64) {
    for module in ["here/heard", "apart/heard"] {
        pair.wait(&format!("{module} is {wanted}"), |pair| number(pair, node, module) >= wanted);
        assert_eq!(number(pair, node, module), wanted, "{module}");
    }
}
