//! What becomes of rows in Debian's `PostgreSQL`, whatever happens to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use twinhub_historian::{Database, DatabaseError, ItemText, Progress, Target, Written};
use twinhub_history::{Mark, Row};
use twinhub_model::{Epoch, Position, Quality, SampleFlags, Timestamp, Value};
use twinhub_peers::Postgres;

const BEGIN_NS: i64 = 1_763_000_000_123_456_789;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn target(server: &Postgres) -> Target {
    Target {
        host: "127.0.0.1".to_owned(),
        port: server.address().port(),
        database: "twinhub".to_owned(),
        user: "twinhub".to_owned(),
        password: Some(Postgres::PASSWORD.to_owned()),
        authority: None,
        schema: "twinhub".to_owned(),
        program: "twinhub a".to_owned(),
        patience: Duration::from_secs(30),
    }
}

async fn connect(target: &Target) -> Result<Database, DatabaseError> {
    let text = ItemText { unit: "°C".to_owned(), description: "boiler".to_owned() };
    let texts = HashMap::from([(Box::from("plc1/boiler"), text)]);
    Database::connect(target, "tower", "a", Arc::new(texts)).await
}

fn at(seq: u64) -> Position {
    Position::new(Epoch(0x201), seq)
}

fn mark(group: &str, at: Position) -> Mark {
    Mark { group: group.to_owned(), life: "one".to_owned(), at }
}

fn row(seq: u64, value: Value) -> Row {
    let source = Timestamp(BEGIN_NS + i64::try_from(seq).unwrap());
    Row {
        source,
        server: source,
        value,
        quality: Quality::GOOD,
        flags: SampleFlags::default(),
        position: at(seq),
        place: 0,
    }
}

fn rows(key: &str, seqs: std::ops::Range<u64>) -> Vec<(Arc<str>, Row)> {
    let key: Arc<str> = key.into();
    seqs.map(|seq| (Arc::clone(&key), row(seq, Value::I64(seq.cast_signed())))).collect()
}

fn count(server: &Postgres) -> String {
    server.ask("SELECT count(*) FROM twinhub.history").unwrap().concat()
}

#[test]
fn rows_of_each_kind_are_there_once_however_often_they_are_written() {
    let server = Postgres::start().unwrap();
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::I64(i64::MIN),
        Value::U64(u64::MAX),
        Value::F64(f64::NAN),
        Value::F64(f64::NEG_INFINITY),
        Value::Str("a\0b".into()),
        Value::Bytes([0xca, 0xfe].as_slice().into()),
        Value::Time(BEGIN_NS),
        Value::Json("{\"a\":\"\\u0000\"}".into()),
    ];
    let key: Arc<str> = "plc1/boiler".into();
    let mut batch: Vec<(Arc<str>, Row)> =
        (0..).zip(values).map(|(seq, value)| (Arc::clone(&key), row(seq, value))).collect();
    // Times that a device may say.
    for time in [i64::MIN, i64::MAX, -1] {
        let source = Timestamp(time);
        batch.push((Arc::clone(&key), Row { source, server: source, ..row(99, Value::Null) }));
    }
    let length = batch.len() as u64;
    let marks = [mark("site", at(99)), mark("energy", Position::new(Epoch(u64::MAX), u64::MAX))];
    run(async {
        let mut database = connect(&target(&server)).await.unwrap();
        assert_eq!(database.progress().await.unwrap(), Progress::default());
        let written = database.write(&batch, &marks).await.unwrap();
        assert_eq!(written, Written { new: length, ..Written::default() });
        let again = database.write(&batch, &marks).await.unwrap();
        assert_eq!(again, Written { known: length, ..Written::default() });
        // An earlier mark takes nothing back.
        database.write(&[], &[mark("site", at(7))]).await.unwrap();
        let mut expected = Progress::default();
        for mark in &marks {
            expected.note(mark);
        }
        assert_eq!(connect(&target(&server)).await.unwrap().progress().await.unwrap(), expected);
    });
    let query = "SELECT type, number, integer, text FROM twinhub.readings WHERE key = 'plc1/boiler' AND unit = '°C' \
        AND site = 'tower' AND extract(year from source_time) = 2025 ORDER BY source_time, type";
    let mut found = server.ask(query).unwrap();
    found.sort();
    let expected = [
        "bool|1|1|",
        "bytes|||cafe",
        "f64|-Infinity||",
        "f64|NaN||",
        "i64|-9.223372036854776e+18|-9223372036854775808|",
        "json|||{\"a\":\"\\u0000\"}",
        "null|||",
        "string|||a\u{fffd}b",
        "time|1.7630000001234568e+18|1763000000123456789|",
        "u64|1.8446744073709552e+19||18446744073709551615",
    ];
    assert_eq!(found, expected);
    let exact = "SELECT to_char(source_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), nanos FROM \
        twinhub.history WHERE type = 'bool' OR extract(year from source_time) <> 2025 ORDER BY source_time";
    let expected = [
        "1677-09-21 00:12:43.145224|192",
        "1969-12-31 23:59:59.999999|999",
        "2025-11-13 02:13:20.123456|790",
        "2262-04-11 23:47:16.854775|807",
    ];
    assert_eq!(server.ask(exact).unwrap(), expected);
}

#[test]
fn two_nodes_that_write_the_same_rows_at_once_write_each_once() {
    let server = Postgres::start().unwrap();
    let batch = rows("plc1/a", 0..2_000);
    run(async {
        let target = target(&server);
        // They come at once to an empty database, too.
        let (one, two) = tokio::join!(connect(&target), connect(&target));
        let (mut one, mut two) = (one.unwrap(), two.unwrap());
        let reversed: Vec<_> = batch.iter().rev().cloned().collect();
        let (one, two) = tokio::join!(one.write(&batch, &[]), two.write(&reversed, &[]));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.new + two.new, one.known + two.known), (2_000, 2_000));
    });
    assert_eq!(count(&server), "2000");
}

/// A telegram that two nodes journaled: whichever row comes first, also in one batch, and whoever writes it again.
#[test]
fn a_row_that_turns_out_to_be_a_twin_is_not_among_the_readings() {
    let server = Postgres::start().unwrap();
    let all = rows("plc1/a", 0..12);
    let mark = |numbers: std::ops::Range<usize>| -> Vec<(Arc<str>, Row)> {
        let marked = |(key, row): &(Arc<str>, Row)| {
            let row = Row { flags: row.flags.with(SampleFlags::TWIN), ..row.clone() };
            (Arc::clone(key), row)
        };
        all[numbers].iter().map(marked).collect()
    };
    run(async {
        let mut database = connect(&target(&server)).await.unwrap();
        database.write(&all[..4], &[]).await.unwrap();
        assert_eq!(database.write(&mark(0..2), &[]).await.unwrap().new, 2, "what it changes is news");
        database.write(&mark(4..6), &[]).await.unwrap();
        database.write(&all[4..8], &[]).await.unwrap();
        let both = [&all[8..], &mark(8..10), &mark(8..10)].concat();
        database.write(&both, &[]).await.unwrap();
        for rows in [mark(0..2), all.clone()] {
            assert_eq!(database.write(&rows, &[]).await.unwrap().new, 0);
        }
    });
    assert_eq!(count(&server), "12");
    let shown = server.ask("SELECT integer FROM twinhub.readings ORDER BY integer").unwrap();
    assert_eq!(shown, ["2", "3", "6", "7", "10", "11"]);
}

#[test]
fn a_row_that_is_refused_is_counted_and_the_others_go_on() {
    let server = Postgres::start().unwrap();
    let long: String = (0..4_000_u32).map(|number| char::from_u32(0x4e00 + number).unwrap()).collect();
    run(async {
        let mut database = connect(&target(&server)).await.unwrap();
        server.ask("ALTER TABLE twinhub.history ADD CHECK (integer <> 41)").unwrap();
        let mut batch = rows("plc1/a", 0..1_000);
        // No index takes this key.
        batch.push((long.into(), row(5_000, Value::Null)));
        let written = database.write(&batch, &[mark("site", at(999))]).await.unwrap();
        assert_eq!((written.new, written.refused), (999, 2));
        assert!(written.refusal.unwrap().contains("check constraint"), "the last one is named");
        assert!(database.progress().await.unwrap().covers(&mark("site", at(999))));
    });
    assert_eq!(count(&server), "999");
}

/// A check on all rows, and on all items: nothing is left out for it, and nothing is said to be there.
#[test]
fn a_database_that_refuses_every_row_gets_all_of_them_when_it_takes_them_again() {
    let server = Postgres::start().unwrap();
    let marks = [mark("site", at(19))];
    run(async {
        let mut database = connect(&target(&server)).await.unwrap();
        for (table, key) in [("items", "plc1/a"), ("history", "plc1/b")] {
            let batch = rows(key, 0..20);
            let change = |what: &str| server.ask(&format!("ALTER TABLE twinhub.{table} {what}")).unwrap();
            change("ADD CONSTRAINT nothing CHECK (false) NOT VALID");
            for marks in [&marks[..], &[]] {
                let error = database.write(&batch, marks).await.unwrap_err().to_string();
                assert!(error.contains("refuses every value") && error.contains("nothing"), "{error}");
            }
            assert_eq!(database.progress().await.unwrap(), Progress::default(), "{table}");
            change("DROP CONSTRAINT nothing");
        }
        // Those that others like them are not refused for are left out, also where there is no other in the batch.
        server.ask("ALTER TABLE twinhub.history ADD CONSTRAINT low CHECK (integer < 100)").unwrap();
        let written = database.write(&rows("plc1/a", 100..103), &[]).await.unwrap();
        assert_eq!((written.new, written.refused), (0, 3));
        let written = database.write(&rows("plc1/a", 0..20), &marks).await.unwrap();
        assert_eq!((written.new, written.refused), (20, 0));
        assert!(database.progress().await.unwrap().covers(&mark("site", at(19))));
    });
    assert_eq!(count(&server), "20");
    assert_eq!(server.ask("SELECT key FROM twinhub.items ORDER BY key").unwrap(), ["plc1/a", "plc1/b"]);
}

/// All nodes lost their state: epochs begin anew, and a device without a clock says the same time again.
#[test]
fn rows_of_a_journal_that_begins_anew_are_none_of_the_one_before() {
    let server = Postgres::start().unwrap();
    run(async {
        let mut database = connect(&target(&server)).await.unwrap();
        database.write(&rows("plc1/a", 0..1_000), &[mark("site", at(999))]).await.unwrap();
        let anew = Mark { life: "two".to_owned(), ..mark("site", at(9)) };
        assert!(!database.progress().await.unwrap().covers(&anew));
        let mut again = rows("plc1/a", 0..10);
        for (_, row) in &mut again {
            row.server = Timestamp(row.server.0 + 1_000_000_000);
        }
        let written = database.write(&again, std::slice::from_ref(&anew)).await.unwrap();
        assert_eq!((written.new, written.known), (10, 0));
        let progress = database.progress().await.unwrap();
        assert!(progress.covers(&anew) && !progress.covers(&Mark { at: at(10), ..anew }));
        assert!(progress.covers(&mark("site", at(999))));
    });
}

#[test]
fn tables_of_the_format_before_are_brought_to_this_one_by_their_owner() {
    let server = Postgres::start().unwrap();
    let ours = target(&server);
    run(async { connect(&ours).await.unwrap().write(&rows("plc1/a", 0..10), &[]).await.unwrap() });
    server
        .ask(
            "ALTER TABLE twinhub.progress DROP COLUMN life CASCADE; \
             ALTER TABLE twinhub.progress ADD PRIMARY KEY (site, journal, epoch); \
             INSERT INTO twinhub.progress VALUES ('tower', 'site', 513, 9, 'a', now()); \
             UPDATE twinhub.format SET version = 1; \
             CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA twinhub TO guest; \
             GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA twinhub TO guest",
        )
        .unwrap();
    server.ask(&format!("ALTER ROLE guest PASSWORD '{}'", Postgres::PASSWORD)).unwrap();
    run(async {
        let guest = Target { user: "guest".to_owned(), ..ours.clone() };
        let error = connect(&guest).await.unwrap_err().to_string();
        assert!(
            error.contains("format 2, which their owner may") && error.contains("must be owner"),
            "{error}"
        );
        let (one, two) = tokio::join!(connect(&ours), connect(&ours));
        let (mut database, _) = (one.unwrap(), two.unwrap());
        let before = Mark { life: String::new(), ..mark("site", at(9)) };
        let progress = database.progress().await.unwrap();
        assert!(progress.covers(&before) && !progress.covers(&mark("site", at(9))));
        database.write(&rows("plc1/a", 0..20), &[mark("site", at(19))]).await.unwrap();
        connect(&guest).await.unwrap();
    });
    assert_eq!(count(&server), "20");
}

#[test]
fn what_was_under_way_when_the_server_died_is_there_once_when_it_is_written_again() {
    let mut server = Postgres::start().unwrap();
    let target = target(&server);
    let marks = [mark("site", at(1_999))];
    run(async {
        let mut database = connect(&target).await.unwrap();
        database.write(&rows("plc1/a", 0..1_000), &[mark("site", at(999))]).await.unwrap();
        server.kill().unwrap();
        let error = database.write(&rows("plc1/a", 1_000..2_000), &marks).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Connection { .. }), "{error}");
        let error = connect(&target).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        server.restart().unwrap();
        let mut database = connect(&target).await.unwrap();
        let progress = database.progress().await.unwrap();
        assert!(progress.covers(&mark("site", at(999))) && !progress.covers(&mark("site", at(1_000))));
        database.write(&rows("plc1/a", 500..2_000), &marks).await.unwrap();
        // One that is restarted in order says so to the connection that is open.
        server.restart().unwrap();
        database.ping().await.unwrap_err();
    });
    assert_eq!(count(&server), "2000");
}

#[test]
fn a_server_that_stands_still_is_not_waited_for_longer_than_said() {
    let server = Postgres::start().unwrap();
    let target = Target { patience: Duration::from_secs(1), ..target(&server) };
    run(async {
        let mut database = connect(&target).await.unwrap();
        server.freeze().unwrap();
        let begun = Instant::now();
        let error = database.write(&rows("plc1/a", 0..10), &[]).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Silent { .. }), "{error}");
        let error = connect(&target).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Silent { .. }), "{error}");
        // Twice a second, and what a busy machine takes.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        server.thaw().unwrap();
        let target = Target { patience: Duration::from_secs(30), ..target };
        connect(&target).await.unwrap().write(&rows("plc1/a", 0..10), &[]).await.unwrap();
    });
    assert_eq!(count(&server), "10");
}

#[test]
fn what_an_operator_has_to_do_is_said() {
    let server = Postgres::start().unwrap();
    let ours = target(&server);
    let words = |target: Target| run(async { connect(&target).await.unwrap_err().to_string() });
    let text = words(Target { password: Some("wrong".to_owned()), ..ours.clone() });
    assert!(text.contains("check `user` and `password`") && !text.contains("wrong"), "{text}");
    let text = words(Target { database: "absent".to_owned(), ..ours.clone() });
    assert!(text.ends_with("; create the database"), "{text}");
    server.ask(&format!("CREATE ROLE guest LOGIN PASSWORD '{}'", Postgres::PASSWORD)).unwrap();
    let guest = Target { user: "guest".to_owned(), ..ours.clone() };
    let text = words(guest.clone());
    assert!(text.contains("permission denied") && text.contains("; grant"), "{text}");
    // With tables that are there, a user who may read and write them is enough.
    run(async { connect(&ours).await.unwrap() });
    server
        .ask(
            "GRANT USAGE ON SCHEMA twinhub TO guest; \
             GRANT SELECT ON twinhub.format TO guest; \
             GRANT SELECT, INSERT, UPDATE ON twinhub.items, twinhub.progress TO guest; \
             GRANT SELECT, INSERT ON twinhub.history TO guest",
        )
        .unwrap();
    run(async {
        let mut database = connect(&guest).await.unwrap();
        database.write(&rows("plc1/a", 0..10), &[mark("site", at(9))]).await.unwrap();
        // Somebody tidied up: rows do not go to numbers that name nothing.
        server.ask("DELETE FROM twinhub.items").unwrap();
        let error = database.write(&rows("plc1/a", 10..20), &[]).await.unwrap_err();
        assert!(error.to_string().contains("items were removed"), "{error}");
        database.write(&rows("plc1/a", 10..20), &[]).await.unwrap();
        server.ask("ALTER TABLE twinhub.history DROP COLUMN text CASCADE").unwrap();
        let error = database.write(&rows("plc1/a", 20..30), &[]).await.unwrap_err();
        assert!(error.to_string().contains("somebody changed the tables"), "{error}");
    });
    server.ask("UPDATE twinhub.format SET version = 3").unwrap();
    let text = words(guest);
    assert!(text.contains("have format 3, this version writes format 2"), "{text}");
}

#[test]
fn a_server_is_believed_if_the_named_authority_signed_its_certificate() {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let server = Postgres::start_with_tls(&certificate.pem(), &key.serialize_pem()).unwrap();
    let plain = target(&server);
    let trusting = |pem: String| Target { authority: Some(pem.into_bytes()), ..plain.clone() };
    run(async {
        let mut database = connect(&trusting(ours.pem())).await.unwrap();
        database.write(&rows("plc1/a", 0..10), &[]).await.unwrap();
        let error = connect(&trusting(other.pem())).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
        let error = connect(&trusting("nothing".to_owned())).await.unwrap_err().to_string();
        assert!(error.contains("no certificate is in it"), "{error}");
        // The certificate is for an address, not for this name of it.
        let named = Target { host: "localhost".to_owned(), ..trusting(ours.pem()) };
        let error = connect(&named).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
        let error = connect(&plain).await.unwrap_err().to_string();
        assert!(error.contains("no encryption") || error.contains("pg_hba"), "{error}");
    });
    assert_eq!(server.ask("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL").unwrap(), ["t"]);
}
