//! Events between interfaces, on a pair whose main dies before they are done.

use crate::site::Pair;

/// One event is done before the main dies, one is not: its successor brings that one again, with the same id, and the other one
/// never. What cannot be done is shown, tried again and dropped.
#[test]
fn an_event_that_was_not_acknowledged_comes_again_after_a_kill_and_one_that_was_does_not() {
    for hosting in ["inproc", "isolated"] {
        let mut pair = Pair::start_giving(hosting);
        pair.wait("both act and stand by", |pair| pair.state("backup") == "standby");
        for id in ["4711", "4712"] {
            give(&pair, "main", id);
        }
        pair.wait("the first is brought", |pair| took(pair, "main") == "4711");
        pair.wait("the standby has both", |pair| waiting(pair, "backup") == ["4711", "4712"]);
        set(&pair, "main", "locks/answer", "done");
        pair.wait("the second is brought", |pair| took(pair, "main") == "4712");
        pair.wait("the standby knows", |pair| waiting(pair, "backup") == ["4712"]);

        pair.kill("main");
        pair.wait("the backup acts", |pair| pair.state("backup") == "active");
        pair.wait("it is brought again", |pair| took(pair, "backup") == "4712 again");
        // What the device repeats is one event, also on the successor.
        give(&pair, "backup", "4711");
        give(&pair, "backup", "4712");
        assert_eq!(waiting(&pair, "backup"), ["4712"]);
        set(&pair, "backup", "locks/answer", "refuse");
        pair.wait("it is set aside", |pair| ids(pair, "backup", "dead") == ["4712"]);
        let dead = pair.json("backup", &["deliveries", "ls", "dead"]);
        let id = dead[0]["id"].as_str().unwrap();
        assert_eq!((&dead[0]["to"], &dead[0]["from"]), (&"locks".into(), &"pms".into()));
        assert!(dead[0]["cause"].as_str().unwrap().contains("device"), "{dead}");
        let events = pair.json("backup", &["events", "ls"]).to_string();
        assert!(events.contains("TH-DELIVERY-001"), "{events}");
        assert_eq!(pair.json("backup", &["deliveries", "retry", id])["done"], "retry");
        pair.wait("it is brought again", |pair| waiting(pair, "backup") == ["4712"]);
        set(&pair, "backup", "locks/answer", "refuse");
        pair.wait("it is set aside", |pair| ids(pair, "backup", "dead") == ["4712"]);

        pair.restart("main");
        pair.wait("the main stands by", |pair| pair.state("main") == "standby");
        assert_eq!(ids(&pair, "main", "dead"), ["4712"]);
        let dead = pair.json("main", &["deliveries", "ls", "dead"]);
        let id = dead[0]["id"].as_str().unwrap();
        let refused = pair.ask("main", &["deliveries", "drop", id]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert_eq!(pair.json("main", &["deliveries", "drop", id, "--forward"])["done"], "drop");
        pair.wait("it is gone on both", |pair| {
            ["main", "backup"].iter().all(|node| ids(pair, node, "dead").is_empty())
        });
        let metrics = pair.metrics("backup");
        let counted = "interface=\"pms\",plugin=\"sim\",result=\"doubled\"} 2";
        assert!(metrics.contains(counted), "{metrics}");
    }
}

fn give(pair: &Pair, node: &str, id: &str) {
    set(pair, node, "pms/give", id);
}

fn set(pair: &Pair, node: &str, item: &str, value: &str) {
    pair.wait(item, |pair| pair.json(node, &["items", "set", item, value])["ok"] == true);
}

/// The event that was taken last.
fn took(pair: &Pair, node: &str) -> String {
    let item = &pair.json(node, &["items", "get", "locks/took"])[0];
    item["value"].as_str().unwrap_or_default().to_owned()
}

fn waiting(pair: &Pair, node: &str) -> Vec<String> {
    ids(pair, node, "waiting")
}

fn ids(pair: &Pair, node: &str, state: &str) -> Vec<String> {
    let rows = pair.json(node, &["deliveries", "ls", state]);
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["event"].as_str().unwrap_or_default().to_owned()).collect()
}
