//! Events that an instance gives, and its answers to those that it was brought.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use twinhub_contract::{code, role};
use twinhub_loader::EventRef;
use twinhub_model::Epoch;

use super::Port;
use super::seat::Seat;
use crate::clock;
use crate::engine::deliveries::Gifted;
use crate::inbox::Job;

impl Port {
    /// A number for a new instance, which may be in charge at once.
    pub(super) fn begin_life(&self, in_charge: bool) -> u64 {
        let life = self.lives.fetch_add(1, Ordering::AcqRel) + 1;
        if in_charge {
            self.take_life(life);
        }
        life
    }

    pub(super) fn take_life(&self, life: u64) {
        self.life.store(life, Ordering::Release);
    }

    /// The instance in charge.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }
}

impl Seat {
    pub(super) fn give_event(&self, event: &EventRef<'_>) -> i32 {
        let port = &self.port;
        let _flow = port.flow.read().unwrap_or_else(PoisonError::into_inner);
        if !self.is_in_charge() {
            return code::STOPPED;
        }
        if !port.setup.relevant {
            return code::UNSUPPORTED;
        }
        let epoch = port.epoch.load(Ordering::Acquire);
        if event.epoch != epoch {
            port.counters.fenced.fetch_add(1, Ordering::Relaxed);
            return code::STALE_EPOCH;
        }
        let now = (clock::now(), clock::utc());
        match port.role() {
            role::ACTIVE => {}
            role::HOT => {
                port.heard.store(true, Ordering::Release);
                return port.exchange.hear(&port.setup.id, event, now);
            }
            _ => return code::NOT_ACTIVE,
        }
        if port.gate.permit(Epoch(epoch), now.0).is_none() {
            port.counters.fenced.fetch_add(1, Ordering::Relaxed);
            return code::STALE_EPOCH;
        }
        if port.is_full(|| port.is_turning() || port.exchange.is_busy()) {
            return code::AGAIN;
        }
        match port.exchange.offer(port.number, &port.setup.id, event, now.1) {
            Ok(gift) => {
                let answer = if gift.number.is_some() { code::PENDING } else { code::OK };
                let gifted = Gifted { interface: port.number, gift, life: Some(self.life) };
                // Into the lane of values: in the journal it stands before what is published after it.
                port.inbox.push_later(Job::Given(Box::new(gifted)));
                answer
            }
            Err(code) => {
                if code == code::AGAIN {
                    port.counters.events_refused.fetch_add(1, Ordering::Relaxed);
                }
                code
            }
        }
    }

    pub(super) fn acknowledge_event(&self, number: u64, code: i32) -> i32 {
        let port = &self.port;
        if !self.is_in_charge() {
            return code::STOPPED;
        }
        if !port.exchange.end(number, port.number) {
            return code::NOT_FOUND;
        }
        // Behind what it published before.
        port.inbox.push_later(Job::Acknowledged { interface: port.number, number, code, life: self.life });
        code::OK
    }
}

#[cfg(test)]
impl Port {
    /// The epoch that it was told last.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// What its instance in charge would be answered.
    pub(crate) fn give(self: &std::sync::Arc<Self>, event: &EventRef<'_>) -> i32 {
        Seat::of(self, self.life(), true).give_event(event)
    }
}
