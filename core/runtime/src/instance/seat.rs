//! Where one instance of an interface calls back to.
//!
//! While another version of its plugin takes its place an interface has two instances. Each has a seat, and only what the
//! one in charge says is heard as the interface's word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinhub_contract::{code, role};
use twinhub_loader::{EventRef, HostSink, Lease, PublishOutcome, RawBatch, StateStore, WriteResult};
use twinhub_model::Epoch;

use super::{ANSWERS_MAX, Asking, Port, VALUES_BIT, explain};
use crate::clock;
use crate::inbox::{Job, Written, is_stream};

/// See the module.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) port: Arc<Port>,
    /// Tells its instance from all others that the interface ever had.
    pub(super) life: u64,
    in_charge: AtomicBool,
    /// The state of the interface that it told while it was not in charge.
    state: Mutex<Option<(u32, String)>>,
    /// Why the instance is unusable, if it said so while it was not in charge.
    fault: Mutex<Option<String>>,
}

impl Seat {
    pub(super) fn new(port: &Arc<Port>, in_charge: bool) -> Arc<Seat> {
        let life = port.begin_life(in_charge);
        Arc::new(Seat::of(port, life, in_charge))
    }

    pub(super) fn of(port: &Arc<Port>, life: u64, in_charge: bool) -> Seat {
        Seat {
            port: Arc::clone(port),
            life,
            in_charge: AtomicBool::new(in_charge),
            state: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// From here on its instance is the interface.
    pub(super) fn open(&self) {
        let mut told = self.told();
        self.set(true);
        if let Some((state, cause)) = told.take() {
            self.port.set_state(state, &cause);
        }
    }

    /// From here on its instance is not heard; what it is just publishing is taken before.
    pub(super) fn close(&self) {
        self.set(false);
    }

    fn set(&self, in_charge: bool) {
        let alone = self.port.flow.write().unwrap_or_else(PoisonError::into_inner);
        if in_charge {
            self.port.take_life(self.life);
        }
        self.in_charge.store(in_charge, Ordering::Release);
        drop(alone);
    }

    /// Why the instance is unusable, if it said so while it was not in charge.
    pub(super) fn why_faulted(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn told(&self) -> MutexGuard<'_, Option<(u32, String)>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_in_charge(&self) -> bool {
        self.in_charge.load(Ordering::Acquire)
    }
}

impl HostSink for Seat {
    fn publish(&self, epoch: u64, batch: RawBatch<'_>) -> PublishOutcome {
        let port = &self.port;
        let count = batch.len();
        let _flow = port.flow.read().unwrap_or_else(PoisonError::into_inner);
        if !self.is_in_charge() {
            return PublishOutcome::Stopped;
        }
        if epoch != port.epoch.load(Ordering::Acquire) {
            port.counters.fenced.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::StaleEpoch;
        }
        let server = clock::utc();
        let active = port.role() == role::ACTIVE;
        if active && port.setup.relevant && port.gate.permit(Epoch(epoch), clock::now()).is_none() {
            port.counters.fenced.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::StaleEpoch;
        }
        if port.setup.relevant && port.role() < role::HOT && epoch > 0 {
            // Nothing is heard in these roles: it would pass for what the successor of the node that acts has to replay.
            port.counters.fenced.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::StaleEpoch;
        }
        // Before the table takes the values: an equal one that is tried again would count as no change.
        let is_held = || active && port.is_turning();
        if port.is_full(|| is_held() || port.accepting.is_stalled() || !port.inbox.reserve(count)) {
            port.counters.throttled.fetch_add(count as u64, Ordering::Relaxed);
            return PublishOutcome::Again;
        }
        port.counters.values.fetch_add(count as u64, Ordering::Relaxed);
        let samples = port.samples(batch, server, active);
        if samples.is_empty() {
            port.inbox.push_reserved(count, None);
            return PublishOutcome::Taken;
        }
        let fresh = samples.len();
        let from = port.accepting.take().then_some(port.number);
        let job = if active {
            Job::Published { samples, from }
        } else {
            port.heard.store(true, Ordering::Release);
            Job::Received { samples, from }
        };
        port.inbox.push_reserved(count, Some((job, fresh)));
        PublishOutcome::Taken
    }

    fn use_acceptance(&self) -> bool {
        self.port.accepting.begin();
        true
    }

    fn taken(&self) -> u64 {
        self.port.accepting.taken()
    }

    fn accepted(&self) -> u64 {
        self.port.accepting.accepted()
    }

    fn store(&self) -> Option<&StateStore> {
        // One that is active on all nodes at once would have as many stores.
        self.port.setup.relevant.then_some(&*self.port.store)
    }

    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        let port = &self.port;
        let _flow = port.flow.read().unwrap_or_else(PoisonError::into_inner);
        if !self.is_in_charge() {
            return code::STOPPED;
        }
        let is_active = epoch == port.epoch.load(Ordering::Acquire) && port.role() == role::ACTIVE;
        if !port.setup.relevant || !is_active || port.gate.permit(Epoch(epoch), clock::now()).is_none() {
            port.counters.fenced.fetch_add(1, Ordering::Relaxed);
            return code::STALE_EPOCH;
        }
        // Into the lane of values: in the journal it stands before what is published after it.
        let change = || {
            port.store.change(key, value, |change| {
                port.inbox.push_later(Job::Put { interface: port.number, change });
                code::OK
            })
        };
        let answer = std::cell::Cell::new(code::OK);
        port.is_full(|| {
            answer.set(change());
            answer.get() == code::AGAIN
        });
        answer.get()
    }

    fn has_events(&self) -> bool {
        self.port.setup.relevant
    }

    fn give(&self, event: &EventRef<'_>) -> i32 {
        self.give_event(event)
    }

    fn acknowledge(&self, number: u64, code: i32) -> i32 {
        self.acknowledge_event(number, code)
    }

    fn write_done(&self, results: &[WriteResult]) {
        let results = Written::gather(results.iter().map(|result| (result.write_id, result.code)));
        if results.iter().all(|written| is_stream(written.id)) {
            self.port.inbox.push_later(Job::Written { results });
        } else {
            self.port.inbox.push(Job::Written { results });
        }
    }

    fn answer(&self, op: u64, bytes: Vec<u8>) {
        self.port.asking.fill(op, bytes);
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        if Asking::is_question(op) {
            return self.port.asking.done(op, code, detail);
        }
        if op & VALUES_BIT != 0 {
            return self.port.complete_values(op, code);
        }
        let mut state = self.port.lock();
        if state.answers.len() >= ANSWERS_MAX {
            state.answers.clear();
        }
        state.answers.insert(op, (code, detail.to_owned()));
        drop(state);
        self.port.answered.notify_all();
    }

    fn fault(&self, code: i32, detail: &str) {
        let port = &self.port;
        let cause = explain(code, detail);
        if !self.in_charge.swap(false, Ordering::AcqRel) {
            tracing::warn!(interface = %port.setup.id, cause, "an instance that is not in charge faulted");
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
            return;
        }
        port.counters.faults.fetch_add(1, Ordering::Relaxed);
        port.set_state(twinhub_contract::state::FAULT, &cause);
        port.inbox.push(Job::Faulted { interface: port.number, cause });
    }

    fn log(&self, level: u32, target: &str, message: &str, fields: &str) {
        let interface = self.port.setup.id.as_str();
        match level {
            0 | 1 => tracing::error!(interface, target, fields, "{message}"),
            2 => tracing::warn!(interface, target, fields, "{message}"),
            3 => tracing::info!(interface, target, fields, "{message}"),
            4 => tracing::debug!(interface, target, fields, "{message}"),
            _ => tracing::trace!(interface, target, fields, "{message}"),
        }
    }

    fn state(&self, state: u32, cause: &str) {
        let mut told = self.told();
        if self.is_in_charge() {
            self.port.set_state(state, cause);
        } else {
            *told = Some((state, cause.to_owned()));
        }
    }

    fn lease_end(&self, epoch: u64) -> i64 {
        let port = &self.port;
        let is_told = epoch == port.epoch.load(Ordering::Acquire) && port.role() == role::ACTIVE;
        if !is_told || !self.is_in_charge() {
            return 0;
        }
        if !port.setup.relevant {
            return i64::MAX;
        }
        port.gate.lease_end(Epoch(epoch)).map_or(0, clock::contract_deadline)
    }

    fn lease(&self) -> Lease<'_> {
        if !self.port.setup.relevant {
            return Lease::Free;
        }
        self.port.gate.file().map_or(Lease::None, Lease::Words)
    }

    fn count(&self, name: &str, add: u64) {
        // The name goes on with the reason.
        if name.split('.').next() == Some("suppressed") {
            self.port.counters.suppressed.fetch_add(add, Ordering::Relaxed);
        }
        self.port.tallies.add(name, add);
    }
}

#[cfg(test)]
impl Port {
    /// What its instance in charge would be answered.
    pub(crate) fn put(self: &Arc<Self>, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        HostSink::put(&*Seat::new(self, true), epoch, key, value)
    }
}
