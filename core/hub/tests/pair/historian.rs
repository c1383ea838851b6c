//! Values in a central database, over its absence and the death of the main.

use std::collections::{BTreeMap, BTreeSet};

use twinhub_peers::Postgres;

use crate::backup::{PASSPHRASE, With};
use crate::history::{Row, trend};
use crate::site::Pair;

/// The database stops, the main dies without a word to it, the backup goes on, the database comes back, and the main
/// with what only it had: at the end the database has what the nodes have, each value once.
#[test]
fn the_database_has_every_value_once_after_it_was_away_and_the_main_died() {
    let mut database = Postgres::start().unwrap();
    let mut pair = Pair::start_with_history_and(&section(&database));
    std::fs::write(pair.dir.path().join("secret"), Postgres::PASSWORD).unwrap();
    pair.wait("values in the database, from the main", |pair| {
        let [main, backup] = ["main", "backup"].map(|node| historian(pair, node));
        main["writes"] == true
            && main["rows_written"].as_u64() > Some(40)
            && backup["connected"] == true
            && (&backup["writes"], &backup["rows_written"]) == (&false.into(), &0.into())
    });
    pair.wait("protected", |pair| pair.json("main", &["status"])["groups"][0]["protected"] == true);

    database.stop().unwrap();
    pair.wait("values that wait", |pair| {
        let main = historian(pair, "main");
        main["connected"] == false && main["lag_rows"].as_u64() > Some(40)
    });
    let table = pair.table("main", &["status"]);
    assert!(
        table.contains("/twinhub not connected, ") && table.contains("\nhistorian: no connection"),
        "{table}"
    );
    pair.kill("main");
    pair.wait("backup active", |pair| pair.state("backup") == "active");
    let known = trend(&pair, "backup").len();
    pair.wait("values of the new epoch", |pair| trend(pair, "backup").len() > known + 40);
    database.restart().unwrap();
    pair.wait("nothing waits at the backup", |pair| {
        let backup = historian(pair, "backup");
        backup["connected"] == true
            && backup["rows_written"].as_u64() > Some(40)
            && backup["lag_seconds"] == 0
    });

    // Killed under way: whoever waits for an answer does not know what became of it.
    database.kill().unwrap();
    database.restart().unwrap();
    pair.restart("main");
    pair.wait("the main follows", |pair| {
        pair.state("main") == "standby" && historian(pair, "main")["connected"] == true
    });
    let moved = pair.json("backup", &["switchover", "--to", "main"]);
    assert_eq!(moved["active"][0]["node"], "main", "{moved}");
    let known = trend(&pair, "main").len();
    pair.wait("values of the third epoch on both", |pair| {
        ["main", "backup"].iter().all(|node| trend(pair, node).len() > known + 20)
    });
    let end = trend(&pair, "main").last().unwrap().clone();
    pair.wait("all of them in the database", |pair| {
        let rows = trend(pair, "main").into_iter().take_while(|row| *row != end);
        let stored = stored(&database);
        rows.map(|row| key(&row)).all(|key| stored.contains_key(&key))
    });
    // What the main wrote just before it died came with its records, joined or not.
    let stored = stored(&database);
    for node in ["main", "backup"] {
        for row in trend(&pair, node).into_iter().take_while(|row| *row != end) {
            assert_eq!(stored.get(&key(&row)), Some(&(row.value, 1)), "{node}: {row:?}");
        }
    }
    let events = pair.json("backup", &["events", "--limit", "1000"]).to_string();
    assert!(events.contains("TH-HISTORIAN-001") && events.contains("TH-HISTORIAN-002"), "{events}");
    let metrics = pair.metrics("main");
    assert!(metrics.contains("twinhub_historian_connected{node=\"main\"} 1\n"), "{metrics}");
    assert!(metrics.contains("twinhub_historian_rows_lost_total{node=\"main\"} 0\n"), "{metrics}");
}

/// What waited while an interface was moved to another group is sent, though its rows came with a journal that is followed
/// no more, or whose group is configured no more.
#[test]
fn values_of_an_interface_that_moved_to_another_group_are_sent() {
    let mut database = Postgres::start().unwrap();
    database.stop().unwrap();
    let mut pair = Pair::start_alone_with_history_and(&section(&database));
    std::fs::write(pair.dir.path().join("secret"), Postgres::PASSWORD).unwrap();
    let values = |pair: &Pair| trend(pair, "main").len();
    pair.wait("values", |pair| values(pair) > 10);
    let path = pair.dir.path().join("twinhub.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    // Once beside an interface that stays, once alone.
    for items in ["items = \"sim2.csv\"\ngroup = \"site\"\n", ""] {
        let known = values(&pair);
        assert_eq!(pair.stop("main"), 0);
        let group = if items.is_empty() { "plant" } else { "energy" };
        let moved = config.replace("id = \"sim1\"\n", &format!("id = \"sim1\"\ngroup = \"{group}\"\n"));
        let other = format!("[[interface]]\nid = \"sim2\"\nplugin = \"sim\"\n{items}");
        let other = if items.is_empty() { "" } else { &other };
        std::fs::write(&path, format!("{moved}{other}[[group]]\nid = \"{group}\"\n")).unwrap();
        std::fs::copy(pair.dir.path().join("sim1.csv"), pair.dir.path().join("sim2.csv")).unwrap();
        pair.restart("main");
        pair.wait("values of the new group", |pair| values(pair) > known + 10);
    }
    let known = trend(&pair, "main");
    database.restart().unwrap();
    pair.wait("the database", |pair| historian(pair, "main")["connected"] == true);
    pair.wait("all of them in the database", |_| are_there_once(&database, &known));
}

/// All state is lost, or comes from a backup: epochs begin anew, and what is in the database from before covers none of it.
#[test]
fn values_of_a_site_that_begins_anew_are_sent() {
    let mut database = Postgres::start().unwrap();
    let mut pair = Pair::start_alone_with_history_and(&section(&database));
    std::fs::write(pair.dir.path().join("secret"), Postgres::PASSWORD).unwrap();
    let file = pair.dir.path().join("site.backup");
    for is_restored in [false, true] {
        pair.wait("values in the database", |pair| {
            historian(pair, "main")["rows_written"].as_u64() > Some(60)
        });
        let made = pair.command_at("main").args(["backup", "create", "--to"]).arg(&file).with(PASSPHRASE);
        assert!(made.status.success(), "{made:?}");
        let old = trend(&pair, "main");
        pair.kill("main");
        database.stop().unwrap();
        std::fs::remove_dir_all(pair.dir.path().join("var")).unwrap();
        if is_restored {
            let mut restore = pair.command_at("main");
            let restored = restore.args(["backup", "restore", "--force"]).arg(&file).with(PASSPHRASE);
            assert!(restored.status.success(), "{restored:?}");
        }
        pair.restart("main");
        let is_new = |row: &Row| row.epoch == "1.0" && !old.contains(row);
        pair.wait("new values", |pair| trend(pair, "main").iter().filter(|row| is_new(row)).count() > 10);
        assert_eq!(pair.stop("main"), 0);
        database.restart().unwrap();
        pair.restart("main");
        pair.wait("the database", |pair| historian(pair, "main")["connected"] == true);
        let known = trend(&pair, "main");
        assert!(known.iter().filter(|row| is_new(row)).count() > 10);
        assert_eq!(known.iter().any(|row| old.contains(row)), is_restored);
        pair.wait("all of them in the database", |_| are_there_once(&database, &known));
        std::fs::remove_file(&file).unwrap();
    }
}

fn are_there_once(database: &Postgres, rows: &[Row]) -> bool {
    let texts = rows.iter().map(|row| format!("{}|{}|{}", key(row), row.value, row.time));
    let known: BTreeSet<String> = texts.collect();
    let mut found = lines(database);
    found.retain(|line| known.contains(line));
    found.len() == known.len() && found.into_iter().collect::<BTreeSet<_>>() == known
}

fn section(database: &Postgres) -> String {
    format!(
        "[historian]\nhost = \"127.0.0.1\"\nport = {}\npassword = {{ file = \"secret\" }}\ntls = \"off\"\n\
         interval = \"100ms\"\ntimeout = \"10s\"\n",
        database.address().port()
    )
}

fn historian(pair: &Pair, node: &str) -> serde_json::Value {
    pair.json(node, &["status"])["historian"].clone()
}

fn key(row: &Row) -> String {
    format!("{}:{}", row.epoch, row.seq)
}

/// The values of the counter by their record, and how often each is there: a record has one value of it.
fn stored(database: &Postgres) -> BTreeMap<String, (i64, usize)> {
    let mut found = BTreeMap::new();
    for line in lines(database) {
        let (key, rest) = line.split_once('|').unwrap();
        let (value, _) = rest.split_once('|').unwrap();
        found.entry(key.to_owned()).or_insert((value.parse().unwrap(), 0)).1 += 1;
    }
    found
}

/// The values of the counter, each behind its record and before its time.
fn lines(database: &Postgres) -> Vec<String> {
    let query = "SELECT format('%s.%s:%s|%s|%s', epoch >> 8, epoch & 255, sequence, integer, \
        to_char(source_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') \
        || lpad(nanos::text, 3, '0') || 'Z') FROM twinhub.history \
        JOIN twinhub.items ON id = item WHERE key = 'sim1/count' AND site = 'pair'";
    database.ask(query).unwrap()
}
