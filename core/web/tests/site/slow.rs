//! Clients that are slow on purpose: each is bounded in time and memory, counted, and harms nobody else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket as Raw, Type};
use twinhub_web::limits;

use super::{PATIENCE, Site};

/// On top of a limit, for a busy machine.
const SLACK: Duration = Duration::from_secs(20);

#[test]
fn a_header_that_comes_byte_by_byte_for_ever_is_cut() {
    let site = Site::start();
    let mut client = TcpStream::connect(site.address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let begun = Instant::now();
    let header =
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in header {
        if client.write_all(&[*byte]).is_err() || is_ended(&mut client) {
            break;
        }
        assert!(begun.elapsed() < limits::HEADER_TIME_MAX + SLACK, "still open");
    }
    site.wait("the cut to be counted", || metric(&site, "twinhub_web_dropped_total", "idle") == 1);
    site.wait("its seat to be free", || connections(&site) == 1);
}

#[test]
fn a_client_that_never_takes_its_answer_is_cut() {
    let site = narrow_site();
    let mut client = narrow(&site, Ipv4Addr::LOCALHOST);
    client.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    is_given_up(&site, &client);
}

#[test]
fn a_follower_of_events_that_never_takes_them_is_cut() {
    let site = narrow_site();
    // Some hundred kilobytes of events.
    for _ in 0..400 {
        for order in ["pause", "resume"] {
            assert_eq!(site.send("POST", &format!("/api/v1/cluster/{order}"), "{}").status / 100, 2);
        }
    }
    let mut client = narrow(&site, Ipv4Addr::LOCALHOST);
    client.write_all(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    is_given_up(&site, &client);
}

#[test]
fn a_thousand_connections_are_bounded_and_others_get_in() {
    let site = Site::start();
    let most = limits::CONNECTIONS_MAX - limits::CONNECTIONS_RESERVED;
    let begun = Instant::now();
    let (mut held, mut refused) = (Vec::new(), 0);
    for number in 0..1000 {
        let mut client = TcpStream::connect(site.address).unwrap();
        if number < most {
            held.push(client);
            continue;
        }
        client.set_read_timeout(Some(limits::HEADER_TIME_MAX + SLACK)).unwrap();
        let mut answer = Vec::new();
        // A refusal may be followed by a reset.
        client.read_to_end(&mut answer).ok();
        refused += usize::from(answer.starts_with(b"HTTP/1.1 503"));
    }
    let in_time = begun.elapsed() < limits::HEADER_TIME_MAX;
    assert!(refused == 1000 - most || !in_time, "{refused}");

    // While they are held, another machine asks.
    let mut other = narrow(&site, Ipv4Addr::new(127, 0, 0, 2));
    other.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // They end by themselves.
    for client in &mut held {
        client.set_read_timeout(Some(limits::HEADER_TIME_MAX + SLACK)).unwrap();
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)), "a connection without a request");
    }
    assert!(begun.elapsed() < limits::HEADER_TIME_MAX + 2 * SLACK);
    site.wait("their seats to be free", || connections(&site) == 1);
    assert!(metric(&site, "twinhub_web_dropped_total", "full") >= refused);
}

#[test]
fn an_open_websocket_is_a_connection_until_it_ends() {
    let site = Site::start();
    let streams: Vec<_> = (0..3).map(|_| site.stream("")).collect();
    site.wait("three sockets and the question", || connections(&site) == 4);
    drop(streams);
    site.wait("their seats to be free", || connections(&site) == 1);
}

/// Waits until the server gives up a client that reads nothing.
fn is_given_up(site: &Site, client: &TcpStream) {
    let begun = Instant::now();
    while metric(site, "twinhub_web_dropped_total", "reader") == 0 {
        assert!(begun.elapsed() < limits::BLOCKED_WRITE_MAX + SLACK, "still open");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > limits::BLOCKED_WRITE_MAX / 2, "a client that is a little slow is not cut");
    site.wait("its seat to be free", || connections(site) == 1);
    drop(client.shutdown(std::net::Shutdown::Both));
}

/// A site whose kernel keeps little for a client, as for one that is far away.
fn narrow_site() -> Site {
    let socket = Raw::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Each connection inherits it.
    socket.set_send_buffer_size(8192).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(64).unwrap();
    Site::start_at(socket.into())
}

/// A client with buffers so small that the server notices at once that nothing is taken.
fn narrow(site: &Site, from: Ipv4Addr) -> TcpStream {
    let socket = Raw::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::V4(from), 0)).into()).unwrap();
    socket.connect(&site.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the server has closed it, or answers at last.
fn is_ended(client: &mut TcpStream) -> bool {
    match client.peek(&mut [0; 64]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn connections(site: &Site) -> usize {
    metric(site, "twinhub_web_connections", "")
}

fn metric(site: &Site, name: &str, cause: &str) -> usize {
    let page = site.get("/metrics").body;
    let is_it =
        |line: &&str| line.starts_with(name) && (cause.is_empty() || line.contains(&format!("\"{cause}\"")));
    let line = page.lines().find(is_it).unwrap_or_else(|| panic!("{name} {cause} is not in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
