//! Events as they are read on.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, Site, Socket};

/// More than a node keeps, if nothing else is configured.
const MANY: usize = 10_050;

/// Something happens on the node.
fn tell(site: &Site) {
    site.handle.tell_of_guessing(IpAddr::V4(Ipv4Addr::LOCALHOST), "passwords");
}

/// What a stream of events says until it has said this.
fn streamed_until(site: &Site, query: &str, wanted: &str) -> String {
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/events/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut bytes = [0; 8192];
    while !text.contains(wanted) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

#[test]
fn a_reader_who_comes_back_too_late_is_told_that_events_are_gone() {
    let site = Site::start();
    tell(&site);
    let first = site.get("/api/v1/events").json();
    assert!(first.get("missed").is_none(), "{first}");
    let cursor = first["cursor"].as_str().unwrap().to_owned();
    let newest =
        |site: &Site| site.get("/api/v1/events?order=newest&limit=1").json()["rows"][0]["key"].clone();
    for _ in 0..MANY {
        tell(&site);
    }
    let late = site.get(&format!("/api/v1/events?cursor={cursor}&limit=1")).json();
    assert_eq!(late["missed"], true, "{late}");
    let by_number = site.get("/api/v1/events?after=1&limit=1").json();
    assert_eq!(by_number["missed"], true, "{by_number}");
    let csv = site.raw(
        format!(
            "GET /api/v1/events?limit=1&cursor={cursor} HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\n\
             Connection: close\r\n\r\n"
        )
        .as_bytes(),
    );
    assert!(csv.head.contains("twinhub-missed: true"), "{}", csv.head);
    let text = streamed_until(&site, &format!("from={cursor}"), "\nevent: event");
    let (missed, event) = (text.find("event: missed\ndata: {}\n\n"), text.find("event: event"));
    assert!(missed.is_some() && missed < event, "{text}");

    let last = newest(&site);
    let last = last.as_str().unwrap();
    let on_time = site.get(&format!("/api/v1/events?cursor={last}")).json();
    assert!(on_time.get("missed").is_none(), "{on_time}");
    // Who begins has missed nothing.
    assert!(site.get("/api/v1/events?limit=1").json().get("missed").is_none());
}

/// The next message of a stream that has this, whatever comes between.
fn message_with(socket: &mut Socket, field: &str) -> Value {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "no message with `{field}`");
        if let Message::Text(text) = socket.0.read().unwrap() {
            let message: Value = serde_json::from_str(&text).unwrap();
            if message.get(field).is_some() {
                return message;
            }
        }
    }
}

fn say(socket: &mut Socket, message: &Value) {
    socket.0.send(Message::Text(message.to_string().into())).unwrap();
}

/// Keys of events, in order, until there are so many.
fn keys(socket: &mut Socket, topic: &str, count: usize) -> (Vec<String>, String) {
    let mut keys = Vec::new();
    loop {
        let frame = message_with(socket, "events");
        assert_eq!(frame["topic"], topic, "{frame}");
        let rows = frame["events"].as_array().unwrap();
        keys.extend(rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()));
        if keys.len() >= count {
            return (keys, frame["cursor"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn who_subscribes_in_the_stream_of_values_gets_events_as_they_are_listed_and_goes_on_from_a_cursor() {
    let site = Site::start();
    (0..250).for_each(|_| tell(&site));
    let listed: Vec<String> = {
        let page = site.get("/api/v1/events?limit=1000&code=TH-AUTH").json();
        page["rows"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    let mut socket = site.stream("prefix=sim1/count");
    let filter = json!({ "code": "TH-AUTH" });
    say(&mut socket, &json!({ "subscribe": { "to": "events", "filter": filter } }));
    let (first, cursor) = keys(&mut socket, "events", listed.len());
    assert_eq!(first, listed, "in more than one message, in order, each once");
    // Values come as before, and what happens from here on comes, too.
    let mut counts = Vec::new();
    assert!(message_with(&mut socket, "items")["items"].is_array());
    tell(&site);
    let (second, _) = keys(&mut socket, "events", 1);
    assert!(!first.contains(&second[0]));

    // On a new connection from the cursor, and only what fits.
    let mut again = site.stream("prefix=none");
    say(&mut again, &json!({ "subscribe": { "to": "events", "from": cursor, "filter": filter } }));
    assert_eq!(keys(&mut again, "events", 1).0[0], second[0]);
    say(&mut again, &json!({ "unsubscribe": "events" }));
    // The next answer shows that it was heard.
    say(&mut again, &json!({ "subscribe": "nothing" }));
    let refused = message_with(&mut again, "problem");
    assert_eq!(refused["problem"]["code"], "TH-WEB-400", "{refused}");
    tell(&site);
    while counts.len() < 5 {
        socket.frame(&mut counts);
    }
    for (filter, said) in [
        (json!({ "severty": "error" }), "`severty` filters nothing"),
        (json!({ "severity": 3 }), "`filter` is not understood"),
        (json!({ "severity": "bad" }), "`bad` is no severity"),
        (
            json!({ "node": "main", "group": "site", "q": "x", "item": "x", "since": "yesterday" }),
            "`since=yesterday`",
        ),
    ] {
        say(&mut again, &json!({ "subscribe": { "to": "events", "filter": filter } }));
        let refused = message_with(&mut again, "problem")["problem"]["detail"].clone();
        assert!(refused.as_str().unwrap().contains(said), "{refused}");
    }
    say(&mut again, &json!({ "subscribe": { "to": "events", "from": "nonsense" } }));
    assert!(message_with(&mut again, "problem")["problem"]["detail"].as_str().unwrap().contains("no cursor"));
}

#[test]
fn who_subscribes_to_alarms_gets_what_alarms_tell_with_their_occurrences() {
    let alarm = "[[alarm]]\nid = \"echo-high\"\nitem = \"sim1/echo\"\nwhen = \"high\"\nvalue = 90\n";
    let site = Site::start_with(TcpListener::bind("127.0.0.1:0").unwrap(), alarm);
    let mut socket = site.stream("prefix=none");
    say(&mut socket, &json!({ "subscribe": { "to": "alarms", "filter": { "code": "TH-ROLE" } } }));
    let refused = message_with(&mut socket, "problem");
    assert!(refused["problem"]["detail"].as_str().unwrap().contains("no code of alarms"), "{refused}");
    say(&mut socket, &json!({ "subscribe": { "to": "alarms" } }));
    tell(&site);
    site.send("PUT", "/api/v1/items/sim1/echo/value", "99");
    let raised = message_with(&mut socket, "events");
    assert_eq!(raised["topic"], "alarms");
    let row = &raised["events"][0];
    assert_eq!((row["code"].as_str(), row["source"].as_str()), (Some("TH-ALARM-101"), Some("sim1/echo")));
    let occurrence = row["alarm"].as_str().unwrap();
    assert!(occurrence.starts_with("echo-high@"), "{row}");
    site.send("PUT", "/api/v1/items/sim1/echo/value", "1");
    let over = message_with(&mut socket, "events");
    assert_eq!(over["events"][0]["code"], "TH-ALARM-102");
    assert_eq!(over["events"][0]["alarm"], occurrence);
}

#[test]
fn who_subscribes_too_late_is_told_that_events_are_gone() {
    let site = Site::start();
    tell(&site);
    let cursor = site.get("/api/v1/events").json()["cursor"].as_str().unwrap().to_owned();
    (0..MANY).for_each(|_| tell(&site));
    let mut socket = site.stream("prefix=none");
    say(&mut socket, &json!({ "subscribe": { "to": "events", "from": cursor } }));
    let first = message_with(&mut socket, "events");
    assert_eq!(first["missed"], true);
    assert!(first["events"].as_array().is_some_and(|rows| rows.len() <= 100));
    assert!(message_with(&mut socket, "events").get("missed").is_none(), "once");
}

/// Streams were let in when they began; who is thrown out reads on with none of them.
#[test]
fn streams_end_with_the_session_or_token_that_opened_them() {
    let site = Site::start();
    let made =
        site.send("POST", "/api/v1/users", r#"{"name":"ada","role":"viewer","password":"long enough"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let session =
        site.send("POST", "/api/v1/login", r#"{"user":"ada","password":"long enough"}"#).json()["session"]
            .clone();
    let token =
        site.send("POST", "/api/v1/tokens", r#"{"name":"grafana","role":"viewer"}"#).json()["token"].clone();
    for (secret, ending) in [(session, "/api/v1/users/ada"), (token, "/api/v1/tokens/grafana")] {
        let secret = secret.as_str().unwrap_or_else(|| panic!("no secret for {ending}"));
        let mut other = site.stream("prefix=none");
        let mut socket = site.stream_as("prefix=sim1/count", secret);
        let mut counts = Vec::new();
        while counts.len() < 3 {
            socket.frame(&mut counts);
        }
        let mut events = TcpStream::connect(site.address).unwrap();
        events.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            events,
            "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer \
             {secret}\r\n\r\n"
        )
        .unwrap();
        assert!(events.read(&mut [0; 8192]).unwrap() > 0);
        assert_eq!(site.send("DELETE", ending, "").status, 200);
        let begun = Instant::now();
        let code = loop {
            assert!(begun.elapsed() < PATIENCE, "it goes on");
            if let Message::Close(frame) = socket.0.read().unwrap() {
                break frame.unwrap().code;
            }
        };
        assert_eq!(u16::from(code), 1008, "{ending}");
        let mut rest = Vec::new();
        events.read_to_end(&mut rest).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{ending}");
        // Who came by itself goes on.
        say(&mut other, &json!({ "subscribe": { "to": "events" } }));
        assert!(message_with(&mut other, "events")["events"].is_array());
    }
}

#[test]
fn hostile_messages_of_a_stream_are_answered_and_harm_nothing() {
    let site = Site::start();
    let mut socket = site.stream("prefix=sim1/count");
    let deep = "[".repeat(20_000);
    for text in ["", "{}", "null", &deep, r#"{"subscribe":{"to":"events","more":1}}"#, r#"{"unsubscribe":7}"#]
    {
        socket.0.send(Message::Text(text.to_owned().into())).unwrap();
        let answer = message_with(&mut socket, "problem");
        assert!(answer.to_string().len() < 2_000, "{answer}");
    }
    let mut counts = Vec::new();
    while counts.len() < 5 {
        socket.frame(&mut counts);
    }
}
