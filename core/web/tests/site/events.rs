//! Events as they are read on.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use super::{PATIENCE, Site};

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
