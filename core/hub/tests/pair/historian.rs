//! Values in a central database, over its absence and the death of the main.

use std::collections::{BTreeMap, BTreeSet};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
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

/// The database is away while the backup begins anew and copies what was, and while each node acts without the other one.
/// What came to a node by a copy or a merge is sent like what it wrote itself.
#[test]
fn copied_and_merged_values_are_sent_once() {
    let mut database = Postgres::start().unwrap();
    database.stop().unwrap();
    let mut pair = Pair::start_with_history_and(&section(&database));
    std::fs::write(pair.dir.path().join("secret"), Postgres::PASSWORD).unwrap();
    pair.wait("values", |pair| pair.state("main") == "active" && trend(pair, "main").len() > 40);
    pair.kill("backup");
    std::fs::remove_dir_all(pair.dir.path().join("var/lib/twinhub/backup")).unwrap();
    let known = trend(&pair, "main");
    pair.restart("backup");
    pair.wait("the values of before on the backup", |pair| {
        let rows: BTreeSet<Row> = trend(pair, "backup").into_iter().collect();
        known.iter().all(|row| rows.contains(row))
    });
    pair.wait("protected", |pair| pair.json("main", &["status"])["groups"][0]["protected"] == true);

    pair.kill("main");
    pair.kill("witness");
    acts_alone(&pair, "backup");
    let mut rows: BTreeSet<Row> = trend(&pair, "backup").into_iter().collect();
    pair.kill("backup");
    pair.restart("main");
    acts_alone(&pair, "main");
    rows.extend(trend(&pair, "main"));
    assert!(rows.iter().map(|row| &row.epoch).collect::<BTreeSet<_>>().len() >= 3, "{rows:?}");

    pair.restart_witness();
    pair.restart("backup");
    pair.wait("what both wrote on both", |pair| {
        ["main", "backup"].iter().all(|node| {
            let found: BTreeSet<Row> = trend(pair, node).into_iter().collect();
            rows.is_subset(&found)
        })
    });
    database.restart().unwrap();
    pair.wait("the database", |pair| {
        ["main", "backup"].iter().all(|node| historian(pair, node)["connected"] == true)
    });
    let rows: Vec<Row> = rows.into_iter().collect();
    pair.wait("all of them in the database", |_| are_there_once(&database, &rows));
}

/// An operator vouches for the others; then it has written for a while.
fn acts_alone(pair: &Pair, node: &str) {
    pair.wait("a forced failover", |pair| {
        pair.json(node, &["failover", "--force"])["active"][0]["node"] == node && pair.state(node) == "active"
    });
    let known = trend(pair, node).len();
    pair.wait("values of its own", |pair| trend(pair, node).len() > known + 20);
}

#[test]
fn two_nodes_that_both_write_write_each_value_once() {
    let database = Postgres::start().unwrap();
    let mut pair = Pair::start_with_history_and(&format!("{}write = \"all\"\n", section(&database)));
    std::fs::write(pair.dir.path().join("secret"), Postgres::PASSWORD).unwrap();
    let has_sent = |pair: &Pair, node: &str, least: u64| {
        let view = historian(pair, node);
        let sent = ["rows_written", "rows_known"].iter().filter_map(|name| view[*name].as_u64()).sum::<u64>();
        view["writes"] == true && sent > least
    };
    pair.wait("values from both", |pair| has_sent(pair, "main", 60) && has_sent(pair, "backup", 60));
    assert_eq!(historian(&pair, "backup")["lag_seconds"], 0);
    pair.kill("main");
    pair.wait("values of the new epoch", |pair| {
        pair.state("backup") == "active" && trend(pair, "backup").iter().any(|row| row.epoch == "2.1")
    });
    let known = trend(&pair, "backup");
    pair.wait("all of them in the database", |_| are_there_once(&database, &known));
}

/// The certificate is for this address, and the authority that the configuration names signed it.
#[test]
fn values_go_to_a_server_whose_certificate_the_named_authority_signed() {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let mut database = Postgres::start_with_tls(&certificate.pem(), &key.serialize_pem()).unwrap();
    let more = section(&database).replace("tls = \"off\"", "ca = \"db.pem\"");
    let pair = Pair::start_alone_with_history_and(&more);
    let check = || {
        let output = pair.command().args(["config", "check"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = check();
    assert!(
        code == Some(64) && said.contains("`historian.ca`") && said.contains("`historian.password`"),
        "{said}"
    );
    let write = |name: &str, text: &str| std::fs::write(pair.dir.path().join(name), text).unwrap();
    write("secret", Postgres::PASSWORD);
    write("db.pem", &other.pem());
    let said = |pair: &Pair| historian(pair, "main")["error"].as_str().unwrap_or_default().to_owned();
    pair.wait("a refusal", |pair| said(pair).contains("certificate"));
    assert_eq!(historian(&pair, "main")["rows_written"], 0, "{}", said(&pair));
    assert_eq!(check().0, Some(0), "{}", check().1);
    write("db.pem", &ours.pem());
    pair.wait("values", |pair| historian(pair, "main")["rows_written"].as_u64() > Some(20));
    database.restart().unwrap();
    let known = trend(&pair, "main");
    pair.wait("all of them in the database", |_| are_there_once(&database, &known));
    let query = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'twinhub main'";
    assert_eq!(database.ask(query).unwrap(), ["t"]);
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
