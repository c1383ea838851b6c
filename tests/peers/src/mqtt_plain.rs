//! MQTT without a library between: a publisher and a subscriber that cost next to nothing beside the broker.
//!
//! MQTT Version 3.1.1, sections 3.1 (CONNECT), 3.3 (PUBLISH), 3.8 (SUBSCRIBE); quality of service 0.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};

/// Publishes the same round of messages again and again, as fast as the broker takes them, until dropped.
pub struct Flood {
    socket: TcpStream,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts with one message for each topic.
    pub fn start(broker: SocketAddr, topics: &[String], payload: &[u8]) -> Result<Self> {
        let socket = connect(broker, "flood")?;
        let stopped = Arc::new(AtomicBool::new(false));
        let round: Vec<u8> = topics.iter().flat_map(|topic| publish(topic, payload)).collect();
        if round.is_empty() {
            return Err(Error::invalid("topics of the flood", "none"));
        }
        let thread = thread::Builder::new().name("flood".to_owned()).spawn({
            let stopped = Arc::clone(&stopped);
            let mut socket = socket.try_clone().map_err(Error::io("socket of the flood"))?;
            move || while !stopped.load(Ordering::SeqCst) && socket.write_all(&round).is_ok() {}
        });
        Ok(Self { socket, stopped, thread: Some(thread.map_err(Error::io("start the flood"))?) })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(self.socket.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flood({:?})", self.socket)
    }
}

/// A connection that publishes what it is given.
#[derive(Debug)]
pub struct PlainPublisher(TcpStream);

impl PlainPublisher {
    /// Connects.
    pub fn connect(broker: SocketAddr, name: &str) -> Result<Self> {
        connect(broker, name).map(Self)
    }

    /// Sends one message.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.0.write_all(&publish(topic, payload)).map_err(Error::io(format!("publish to {topic}")))
    }
}

/// Counts what arrives for a subscription until dropped.
pub struct Tally {
    socket: TcpStream,
    shared: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    messages: AtomicU64,
    fields: AtomicU64,
}

impl Tally {
    /// Subscribes; returns when the broker has confirmed it.
    pub fn start(broker: SocketAddr, filter: &str) -> Result<Self> {
        let mut socket = connect(broker, "tally")?;
        let mut body = vec![0, 1];
        body.extend(text(filter));
        body.push(0);
        socket.write_all(&packet(0x82, &body)).map_err(Error::io("subscribe"))?;
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).map_err(Error::io("answer to a subscription"))?;
        if answer != [0x90, 3, 0, 1, 0] {
            return Err(Error::invalid("answer to a subscription", format!("{answer:?}")));
        }
        socket.set_read_timeout(None).map_err(Error::io("socket of the tally"))?;
        let shared = Arc::new(Counts::default());
        let thread = thread::Builder::new().name("tally".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            let mut socket = socket.try_clone().map_err(Error::io("socket of the tally"))?;
            move || {
                let mut counter = Counter::default();
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(count @ 1..) = socket.read(&mut buffer) {
                    let (messages, fields) = counter.count(&buffer[..count]);
                    shared.messages.fetch_add(messages, Ordering::Relaxed);
                    shared.fields.fetch_add(fields, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { socket, shared, thread: Some(thread.map_err(Error::io("start the tally"))?) })
    }

    /// How many messages arrived.
    pub fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Relaxed)
    }

    /// How many members their JSON objects had. Topics and texts must be without colons.
    pub fn json_fields(&self) -> u64 {
        self.shared.fields.load(Ordering::Relaxed)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        drop(self.socket.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({} messages)", self.messages())
    }
}

/// Cuts the stream into packets without keeping them.
#[derive(Default)]
struct Counter {
    /// The begin of a header that is not complete.
    header: Vec<u8>,
    /// Bytes of the packet at hand that are still to come.
    open: usize,
    is_publish: bool,
}

impl Counter {
    /// Messages that end in these bytes, and colons of messages.
    fn count(&mut self, mut bytes: &[u8]) -> (u64, u64) {
        let (mut messages, mut colons) = (0, 0);
        while !bytes.is_empty() {
            if self.open == 0 {
                let (first, rest) = bytes.split_at(1);
                self.header.extend_from_slice(first);
                bytes = rest;
                let Some(length) = remaining_length(&self.header) else { continue };
                self.is_publish = self.header[0] >> 4 == 3;
                self.header.clear();
                self.open = length;
                continue;
            }
            let (part, rest) = bytes.split_at(self.open.min(bytes.len()));
            self.open -= part.len();
            bytes = rest;
            if self.is_publish {
                colons += part.iter().map(|byte| u64::from(*byte == b':')).sum::<u64>();
                messages += u64::from(self.open == 0);
            }
        }
        (messages, colons)
    }
}

/// MQTT 3.1.1, 2.2.3: seven bits in each byte, the lowest first; the broker sends no more than four.
fn remaining_length(header: &[u8]) -> Option<usize> {
    let bytes = header.get(1..)?;
    let is_complete = bytes.last().is_some_and(|last| last & 0x80 == 0) || bytes.len() >= 4;
    is_complete.then(|| bytes.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)))
}

fn connect(broker: SocketAddr, name: &str) -> Result<TcpStream> {
    let mut socket =
        TcpStream::connect(broker).map_err(Error::io(format!("connect to the broker {broker}")))?;
    let mut body = text("MQTT");
    // Level 4, a clean session, no keep-alive.
    body.extend([4, 2, 0, 0]);
    body.extend(text(name));
    let mut answer = [0; 4];
    socket
        .set_nodelay(true)
        .and_then(|()| socket.set_read_timeout(Some(ANSWER_LIMIT)))
        .and_then(|()| socket.write_all(&packet(0x10, &body)))
        .and_then(|()| socket.read_exact(&mut answer))
        .map_err(Error::io(format!("introduce {name} to the broker")))?;
    if answer != [0x20, 2, 0, 0] {
        return Err(Error::invalid(format!("answer of the broker to {name}"), format!("{answer:?}")));
    }
    Ok(socket)
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend_from_slice(payload);
    packet(0x30, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap_or(0);
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
    bytes
}

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mosquitto::Mosquitto;
    use crate::wait::wait_until;

    #[test]
    fn what_is_published_plainly_is_counted_by_an_independent_broker() {
        let broker = Mosquitto::start().unwrap();
        let tally = Tally::start(broker.address(), "a/#").unwrap();
        let mut publisher = PlainPublisher::connect(broker.address(), "one").unwrap();
        publisher.publish("a/b", br#"{"x":1,"y":2}"#).unwrap();
        publisher.publish("elsewhere", b"1").unwrap();
        publisher.publish("a/c", "9".repeat(300).as_bytes()).unwrap();
        wait_until("both messages", Duration::from_secs(10), || tally.messages() == 2).unwrap();
        assert_eq!(tally.json_fields(), 2);
        let flood = Flood::start(broker.address(), &["a/d".to_owned(), "a/e".to_owned()], b"7").unwrap();
        wait_until("the flood", Duration::from_secs(10), || tally.messages() > 1000).unwrap();
        drop(flood);
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_the_stream_is_cut(
            sizes in prop::collection::vec(0_usize..400, 1..20), piece in 1_usize..50,
        ) {
            let mut stream = packet(0x90, &[0, 1, b':']);
            for size in &sizes {
                stream.extend(publish("t", &vec![b':'; *size]));
            }
            let mut counter = Counter::default();
            let (mut messages, mut colons) = (0, 0);
            for bytes in stream.chunks(piece) {
                let (m, c) = counter.count(bytes);
                messages += m;
                colons += c;
            }
            prop_assert_eq!(messages, sizes.len() as u64);
            prop_assert_eq!(colons, sizes.iter().sum::<usize>() as u64);
        }

        #[test]
        fn hostile_bytes_are_counted_without_keeping_them(pieces: Vec<Vec<u8>>) {
            let mut counter = Counter::default();
            for bytes in &pieces {
                counter.count(bytes);
                prop_assert!(counter.header.len() < 5);
            }
        }
    }
}
