//! Numbered commands at a steady pace.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twinhub_peers::{Commander, wait_until};

use crate::error::{Error, Result};

/// Publishes 1, 2, 3, …, each to every command topic, until dropped.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: Mutex<Vec<(Instant, u16)>>,
    /// Messages, of which a number has one for each topic.
    published: AtomicU64,
    acknowledged: Mutex<u64>,
    paused: AtomicBool,
    stopped: AtomicBool,
}

impl Traffic {
    /// Starts paused.
    pub fn start(broker: SocketAddr, topics: Vec<String>, interval: Duration) -> Result<Self> {
        let commander = Commander::start(broker, "commander")?;
        let shared = Arc::new(Shared { paused: AtomicBool::new(true), ..Shared::default() });
        let thread = thread::Builder::new()
            .name("commands".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || publish(&commander, &shared, &topics, interval)
            })
            .map_err(Error::file("thread for commands"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Goes on.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// Stops sending and waits until the broker has acknowledged everything.
    pub fn pause(&self) -> Result<()> {
        self.shared.paused.store(true, Ordering::SeqCst);
        Ok(wait_until("the broker has all commands", SETTLE_LIMIT, || {
            *lock(&self.shared.acknowledged) == self.shared.published.load(Ordering::SeqCst)
        })?)
    }

    /// Number and time of every command so far.
    pub fn commands(&self) -> Vec<(Instant, u16)> {
        lock(&self.shared.sent).clone()
    }

    /// How many were sent.
    pub fn count(&self) -> usize {
        lock(&self.shared.sent).len()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn publish(commander: &Commander, shared: &Shared, topics: &[String], interval: Duration) {
    let mut number: u16 = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        if !shared.paused.load(Ordering::SeqCst) {
            // 0 is what the register holds at the start.
            number = number.checked_add(1).unwrap_or(1);
            let payload = number.to_string();
            let taken = topics.iter().filter(|topic| commander.publish(topic, &payload).is_ok()).count();
            shared.published.fetch_add(taken as u64, Ordering::SeqCst);
            if taken == topics.len() {
                lock(&shared.sent).push((Instant::now(), number));
            }
        }
        thread::sleep(interval);
        *lock(&shared.acknowledged) = commander.acknowledged();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SETTLE_LIMIT: Duration = Duration::from_secs(10);
