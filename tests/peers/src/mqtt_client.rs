//! What an outsider sends to and sees at a broker.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rumqttc::{Client, Event, MqttOptions, Packet, Publish, QoS};

use crate::error::{Error, Result};
use crate::wait::wait_until;

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    /// When.
    pub at: Instant,
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Kept by the broker from before.
    pub retain: bool,
    /// Sent again by the broker.
    pub dup: bool,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A subscriber with quality of service 1 and a persistent session, on a thread of its own.
pub struct Observer {
    client: Client,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    count: AtomicU64,
    bytes: AtomicU64,
    fields: AtomicU64,
    subscribed: AtomicBool,
    stopped: AtomicBool,
    reconnects: AtomicU64,
    acknowledged: AtomicU64,
}

impl Observer {
    /// Subscribes; returns when the broker has confirmed it.
    pub fn start(broker: SocketAddr, name: &str, filter: &str) -> Result<Self> {
        Self::start_with(broker, name, filter, true)
    }

    /// As [`Observer::start`], but only counts messages: for load.
    pub fn counting(broker: SocketAddr, name: &str, filter: &str) -> Result<Self> {
        Self::start_with(broker, name, filter, false)
    }

    fn start_with(broker: SocketAddr, name: &str, filter: &str, keep: bool) -> Result<Self> {
        let (client, mut connection) = Client::new(options(broker, name), QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let (shared, client, filter) = (Arc::clone(&shared), client.clone(), filter.to_owned());
                move || {
                    for event in connection.iter() {
                        let at = Instant::now();
                        if shared.stopped.load(Ordering::SeqCst) {
                            break;
                        }
                        match event {
                            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                                drop(client.try_subscribe(filter.as_str(), QoS::AtLeastOnce));
                            }
                            Ok(Event::Incoming(Packet::SubAck(_))) => {
                                shared.subscribed.store(true, Ordering::SeqCst);
                            }
                            Ok(Event::Incoming(Packet::Publish(publish))) => {
                                shared.arrived(at, publish, keep);
                            }
                            Ok(_) => {}
                            Err(_) => shared.lost(),
                        }
                    }
                }
            })
            .map_err(Error::io("start the subscriber"))?;
        let observer = Self { client, shared, thread: Some(thread) };
        wait_until(&format!("{name} is subscribed at {broker}"), READY_LIMIT, || {
            observer.shared.subscribed.load(Ordering::SeqCst)
        })?;
        Ok(observer)
    }

    /// All messages so far.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.shared.messages).clone()
    }

    /// The messages from the given index on.
    pub fn messages_from(&self, index: usize) -> Vec<Message> {
        lock(&self.shared.messages).get(index..).unwrap_or_default().to_vec()
    }

    /// How many arrived.
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Bytes of their payloads.
    pub fn payload_bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How many members the JSON objects had that arrived.
    pub fn json_fields(&self) -> u64 {
        self.shared.fields.load(Ordering::Relaxed)
    }

    /// How often the connection was lost.
    pub fn reconnects(&self) -> u64 {
        self.shared.reconnects.load(Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(self.client.try_disconnect());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Publishes with quality of service 1 and knows what the broker has acknowledged.
pub struct Commander {
    client: Client,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Commander {
    /// Connects.
    pub fn start(broker: SocketAddr, name: &str) -> Result<Self> {
        let (client, mut connection) = Client::new(options(broker, name), QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    for event in connection.iter() {
                        if shared.stopped.load(Ordering::SeqCst) {
                            break;
                        }
                        match event {
                            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                                shared.subscribed.store(true, Ordering::SeqCst);
                            }
                            Ok(Event::Incoming(Packet::PubAck(_))) => {
                                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                            }
                            Ok(_) => {}
                            Err(_) => shared.lost(),
                        }
                    }
                }
            })
            .map_err(Error::io("start the publisher"))?;
        let commander = Self { client, shared, thread: Some(thread) };
        wait_until(&format!("{name} is connected to {broker}"), READY_LIMIT, || {
            commander.shared.subscribed.load(Ordering::SeqCst)
        })?;
        Ok(commander)
    }

    /// Hands a message over to be published with quality of service 1.
    pub fn publish(&self, topic: &str, payload: &str) -> Result<()> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .map_err(|error| Error::invalid(format!("publish to {topic}"), error))
    }

    /// How many the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }
}

impl Drop for Commander {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(self.client.try_disconnect());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn arrived(&self, at: Instant, publish: Publish, keep: bool) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(publish.payload.len() as u64, Ordering::Relaxed);
        if !keep {
            // Numbers only, so that each colon stands between a name and its value.
            let colons = publish.payload.split(|byte| *byte == b':').count() - 1;
            self.fields.fetch_add(colons as u64, Ordering::Relaxed);
        }
        if keep {
            lock(&self.messages).push(Message {
                at,
                topic: publish.topic,
                payload: publish.payload.to_vec(),
                retain: publish.retain,
                dup: publish.dup,
            });
        }
    }

    /// Waits a little before the next attempt: without a broker the client would spin.
    fn lost(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
        thread::sleep(RECONNECT_PAUSE);
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Observer({} messages)", self.count())
    }
}

impl std::fmt::Debug for Commander {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commander({} acknowledged)", self.acknowledged())
    }
}

fn options(broker: SocketAddr, name: &str) -> MqttOptions {
    let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    options.set_clean_session(false);
    options.set_max_packet_size(16 << 20, 16 << 20);
    options.set_inflight(1000);
    options
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const QUEUE_MAX: usize = 10_000;
const READY_LIMIT: Duration = Duration::from_secs(10);
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
