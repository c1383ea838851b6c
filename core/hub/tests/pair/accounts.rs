//! Users, sessions and tokens of a pair: the same on both nodes, and after one of them died.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::site::Pair;

/// Another machine as the `Host` says: this one is let in without a name.
const FOREIGN: &str = "Host: hub.example\r\n";

/// One story, since starting three processes costs more than what is checked.
#[test]
fn a_login_counts_on_both_nodes_and_after_the_death_of_the_one_that_gave_it() {
    let mut pair = Pair::start();
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    assert_eq!(me(&pair, "main", ""), 401, "nobody is let in without a name");

    // Users are made on either node and are the same on both.
    assert_done(&with_password(&pair, "main", &["users", "add", "ada", "--role", "admin"], "correct horse"));
    assert_done(&with_password(
        &pair,
        "backup",
        &["users", "add", "vic", "--role", "viewer"],
        "battery staple",
    ));
    for (node, args, said) in [
        ("main", ["users", "add", "ada", "--role", "admin"], "TH-DOC-002"),
        ("main", ["users", "add", "a b", "--role", "admin"], "TH-DOC-003"),
    ] {
        let refused = with_password(&pair, node, &args, "correct horse");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
    }
    let short = with_password(&pair, "main", &["users", "add", "bob", "--role", "viewer"], "short");
    assert!(String::from_utf8_lossy(&short.stderr).contains("at least 8"), "{short:?}");
    pair.wait("both users on both nodes", |pair| {
        ["main", "backup"].iter().all(|node| names(&pair.json(node, &["users", "ls"])) == ["ada", "vic"])
    });

    // A login on the main counts on the backup, as a cookie and as a bearer; one over the backup counts, too.
    let (status, answer) = login(&pair, "main", "ada", "correct horse");
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("HttpOnly; SameSite=Strict"), "{answer}");
    let session = session_of(&answer);
    let cookie = format!("Cookie: twinhub_session={session}\r\n");
    let bearer = format!("Authorization: Bearer {session}\r\n");
    for node in ["main", "backup"] {
        pair.wait("the session", |pair| me(pair, node, &cookie) == 200 && me(pair, node, &bearer) == 200);
    }
    let (status, answer) = login(&pair, "backup", "vic", "battery staple");
    assert_eq!(status, 200, "{answer}");
    let viewer = format!("Cookie: twinhub_session={}\r\n", session_of(&answer));
    assert_eq!(me(&pair, "main", &viewer), 200);

    // A page of another origin cannot log its visitor in.
    let body = "{\"user\": \"vic\", \"password\": \"battery staple\"}";
    let foreign = format!("{FOREIGN}Origin: https://evil.example\r\n");
    let (status, answer) = pair.http("main", "POST", "/api/v1/login", &foreign, body);
    assert!(status == 401 && !answer.to_lowercase().contains("set-cookie"), "{answer}");
    let metrics = pair.metrics("main");
    for line in [
        "twinhub_logins_total{node=\"main\",result=\"ok\"} 2",
        "twinhub_users{node=\"main\"} 2",
        "twinhub_sessions{node=\"main\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }

    // A viewer looks and does not touch, also not over the node that would carry it on.
    let put = |pair: &Pair, node: &str, who: &str| {
        let path = "/api/v1/items/sim1/echo/value?forward=1";
        pair.http(node, "PUT", path, &format!("{FOREIGN}{who}"), "7").0
    };
    pair.wait("the viewer on the backup", |pair| me(pair, "backup", &viewer) == 200);
    assert_eq!((put(&pair, "main", &viewer), put(&pair, "backup", &viewer)), (403, 403));
    assert_eq!((put(&pair, "main", &cookie), put(&pair, "backup", &cookie)), (200, 200));
    assert_eq!(pair.http("main", "GET", "/api/v1/users", &format!("{FOREIGN}{viewer}"), "").0, 403);

    // A token is known on both nodes, and on neither once revoked.
    let made = pair.json("backup", &["tokens", "create", "grafana", "--role", "viewer", "--lasts", "400d"]);
    let token = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap_or_default());
    pair.wait("the token on both", |pair| {
        ["main", "backup"].iter().all(|node| me(pair, node, &token) == 200)
    });
    assert_done(&pair.ask("main", &["tokens", "revoke", "grafana"]));
    pair.wait("no token on both", |pair| ["main", "backup"].iter().all(|node| me(pair, node, &token) == 401));

    // The list says who did it.
    let audit = pair.json("main", &["audit"]);
    let said: Vec<&str> = audit.as_array().unwrap().iter().filter_map(|row| row["text"].as_str()).collect();
    let expected = [
        "made user `ada`, admin",
        "made user `vic`, viewer",
        "logged in as `ada`",
        "logged in as `vic`",
        "made token `grafana`, viewer",
        "revoked token `grafana`",
    ];
    assert_eq!(said, expected);

    // The main dies; who was logged in still is, and what was revoked still is. Without a majority of the nodes nothing
    // is granted unless ordered, but anybody may log in and out.
    pair.kill("main");
    pair.wait("the backup takes over", |pair| pair.state("backup") == "active");
    assert_eq!((me(&pair, "backup", &cookie), me(&pair, "backup", &token)), (200, 401));
    pair.wait("a login without the main", |pair| login(pair, "backup", "ada", "correct horse").0 == 200);
    let add = ["users", "add", "eve", "--role", "viewer"];
    let refused = with_password(&pair, "backup", &add, "a password");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("TH-DOC-004"), "{refused:?}");
    assert_done(&with_password(&pair, "backup", &[&add[..], &["--alone"]].concat(), "a password"));
    let (status, _) = pair.http("backup", "POST", "/api/v1/logout", &format!("{FOREIGN}{viewer}"), "");
    assert_eq!((status, me(&pair, "backup", &viewer)), (200, 401));

    // The main comes back and knows it all; both nodes do after a restart.
    pair.restart("main");
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    pair.wait("the main knows", |pair| {
        me(pair, "main", &cookie) == 200
            && me(pair, "main", &viewer) == 401
            && me(pair, "main", &token) == 401
    });
    assert_eq!(names(&pair.json("main", &["users", "ls"])), ["ada", "eve", "vic"]);
    for node in ["backup", "main"] {
        assert_eq!(pair.stop(node), 0);
    }
    pair.restart("main");
    pair.wait("main active again", |pair| pair.state("main") == "active");
    assert_eq!(me(&pair, "main", &cookie), 200);
    pair.wait("removal ends the session", |pair| {
        pair.ask("main", &["users", "rm", "ada"]).status.success() || me(pair, "main", &cookie) == 401
    });
    assert_eq!(me(&pair, "main", &cookie), 401);
}

/// Whoever is logged in changes the own password only with the one before, and only the own.
#[test]
fn the_own_password_is_changed_with_the_one_before() {
    let pair = Pair::start_nodes(&["main"], "");
    pair.wait("main active", |pair| pair.state("main") == "active");
    for name in ["ada", "password"] {
        assert_done(&with_password(
            &pair,
            "main",
            &["users", "add", name, "--role", "viewer"],
            "correct horse",
        ));
    }
    let login = logged_in_at_a_shell(&pair, "correct horse");
    let login: Value = serde_json::from_slice(&login.stdout).unwrap_or_else(|_| panic!("{login:?}"));
    let session = login["session"].as_str().unwrap();
    let as_ada = |args: &[&str], lines: &str| {
        let mut command = pair.command_at("main");
        with_lines(command.env("TWINHUB_TOKEN", session).args(args), lines)
    };
    for (args, lines, said) in [
        (&["users", "passwd"][..], "wrong guess\nanother horse\n", "TH-AUTH-006"),
        (&["users", "passwd"], "correct horse\nshort\n", "at least 8"),
        (&["users", "passwd", "password"], "another horse\n", "TH-AUTH-007"),
        (&["users", "rm", "password"], "", "TH-AUTH-007"),
    ] {
        let refused = as_ada(args, lines);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{args:?}: {refused:?}");
    }
    assert_done(&as_ada(&["users", "passwd"], "correct horse\nanother horse\n"));
    let ended = as_ada(&["users", "passwd"], "another horse\nthird horse\n");
    assert!(
        String::from_utf8_lossy(&ended.stderr).contains("TH-AUTH-002"),
        "its sessions have ended: {ended:?}"
    );
    let refused = logged_in_at_a_shell(&pair, "correct horse");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("TH-AUTH-006"), "{refused:?}");
    assert_done(&logged_in_at_a_shell(&pair, "another horse"));
    // From this machine nobody is logged in, so that it has to be said whose password it is.
    let whose = with_lines(pair.command_at("main").args(["users", "passwd"]), "");
    assert_eq!(whose.status.code(), Some(2), "{whose:?}");
}

fn logged_in_at_a_shell(pair: &Pair, password: &str) -> Output {
    with_lines(pair.command_at("main").args(["users", "login", "ada"]), &format!("{password}\n"))
}

#[test]
fn who_guesses_passwords_has_to_wait() {
    let pair = Pair::start_nodes(&["main"], "");
    pair.wait("main active", |pair| pair.state("main") == "active");
    assert_done(&with_password(&pair, "main", &["users", "add", "ada", "--role", "admin"], "correct horse"));
    let mut last = 0;
    for number in 0..20 {
        let (status, answer) = login(&pair, "main", "ada", &format!("guess {number}"));
        last = status;
        if status == 429 {
            assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
            break;
        }
        assert_eq!(status, 401, "{answer}");
    }
    assert_eq!(last, 429);
    pair.wait("an event of it", |pair| {
        pair.json("main", &["events"]).to_string().contains("too many wrong passwords from 127.0.0.1")
    });
    assert_eq!(login(&pair, "main", "ada", "correct horse").0, 429, "also with the right one");
    pair.wait("the end of the wait", |pair| login(pair, "main", "ada", "correct horse").0 == 200);
    for body in ["", "{", "{\"user\": 1}", "{\"user\": \"ada\"}", "[]"] {
        assert_eq!(pair.http("main", "POST", "/api/v1/login", FOREIGN, body).0, 400, "{body}");
    }
}

fn login(pair: &Pair, node: &str, user: &str, password: &str) -> (u16, String) {
    let body = serde_json::json!({ "user": user, "password": password }).to_string();
    pair.http(node, "POST", "/api/v1/login", FOREIGN, &body)
}

/// The status of the question who one is.
fn me(pair: &Pair, node: &str, who: &str) -> u16 {
    pair.http(node, "GET", "/api/v1/me", &format!("{FOREIGN}{who}"), "").0
}

fn session_of(answer: &str) -> String {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let login: Value = serde_json::from_str(body).unwrap_or_default();
    login["session"].as_str().unwrap_or_default().to_owned()
}

fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
    names.map(str::to_owned).collect()
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn with_password(pair: &Pair, node: &str, args: &[&str], password: &str) -> Output {
    with_lines(pair.command_at(node).args(args), &format!("{password}\n"))
}

fn with_lines(command: &mut Command, lines: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without asking.
    child.stdin.take().unwrap().write_all(lines.as_bytes()).ok();
    child.wait_with_output().unwrap()
}
