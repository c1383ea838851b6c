//! The numbers, and what the broker has confirmed of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use twinhub_peers::{Commander, wait_until};

use super::{ITEMS, MARK_EVERY, SYNC_LIMIT, TICK};
use crate::error::{Error, Result};

/// Publishes 1, 2, 3, … over all items until dropped.
pub(super) struct Stream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Numbers that were sent.
    sent: AtomicU64,
    /// Messages that were sent, with the marks.
    messages: AtomicU64,
    confirmed: AtomicU64,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Stream {
    pub(super) fn start(broker: SocketAddr, rate: u32) -> Result<Self> {
        let commander = Commander::start(broker, "numbers")?;
        let shared = Arc::new(Shared { is_paused: AtomicBool::new(true), ..Shared::default() });
        let thread = thread::Builder::new()
            .name("numbers".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || publish(&commander, &shared, rate)
            })
            .map_err(Error::file("thread for numbers"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::SeqCst);
    }

    /// Stops sending, waits until the broker has everything, and gives the last number.
    pub(super) fn pause(&self) -> Result<u64> {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        // A burst that is under way ends first.
        thread::sleep(TICK * 5);
        wait_until("the broker has all numbers", SYNC_LIMIT, || {
            self.shared.confirmed.load(Ordering::SeqCst) == self.shared.messages.load(Ordering::SeqCst)
        })?;
        match &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(Error::State(failure.clone())),
            None => Ok(self.shared.sent.load(Ordering::SeqCst)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn publish(commander: &Commander, shared: &Shared, rate: u32) {
    let mut number = 0;
    let mut since = (Instant::now(), 0_u64);
    while !shared.is_stopped.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        shared.confirmed.store(commander.acknowledged(), Ordering::SeqCst);
        if shared.is_paused.load(Ordering::SeqCst) {
            since = (Instant::now(), number);
            continue;
        }
        let due =
            since.1 + u64::try_from(since.0.elapsed().as_micros()).unwrap_or(0) * u64::from(rate) / 1_000_000;
        while number < due {
            number += 1;
            let topic = format!("numbers/{}", number % ITEMS);
            let mark = mark_of(number).map(|mark| ("numbers/mark", mark));
            for (topic, value) in [(topic.as_str(), number.to_string())].into_iter().chain(mark) {
                if let Err(error) = commander.publish(topic, &value) {
                    *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                    return;
                }
                shared.messages.fetch_add(1, Ordering::SeqCst);
            }
            shared.sent.store(number, Ordering::SeqCst);
        }
    }
}

/// What is told of the mark with this number: negative, so that it is no number of its own.
fn mark_of(number: u64) -> Option<String> {
    match number % MARK_EVERY {
        0 => Some(format!("-{number}")),
        over if over == MARK_EVERY / 2 => Some("0".to_owned()),
        _ => None,
    }
}
