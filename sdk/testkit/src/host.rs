//! The hub's side of an instance under test: notes what it does, and whether that is allowed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant as Clock};

use serde_json::Value as Json;
use twinhub_contract::manifest::Publish;
use twinhub_contract::{ValueRef, code, event_flag, flag};
use twinhub_isolation::GateWords;
use twinhub_loader::{
    EventRef, HostSink, Instance, Lease, PublishOutcome, RawBatch, Role, StateStore, WriteResult,
};

/// What an instance did.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Completed operations.
    pub(crate) ops: BTreeMap<u64, (i32, String)>,
    /// What questions were answered with, by operation.
    pub(crate) answers: BTreeMap<u64, Vec<u8>>,
    /// Answered writes.
    pub(crate) writes: BTreeMap<u64, WriteResult>,
    /// Writes that wait for their answer.
    pub(crate) asked: BTreeSet<u64>,
    /// The latest values taken.
    pub(crate) taken: VecDeque<Seen>,
    /// Values taken in all.
    pub(crate) taken_count: u64,
    /// Calls of `publish`, taken or not.
    pub(crate) publish_calls: u64,
    /// Items of batches for which there was no room.
    pub(crate) refused_items: BTreeSet<u32>,
    /// What it declared itself to be, at the end.
    pub(crate) faults: Vec<String>,
    /// What breaks the contract or the declaration, each kind once.
    pub(crate) violations: BTreeSet<String>,
    /// Answers to events that it was brought, by number.
    pub(crate) events: BTreeMap<u64, i32>,
    /// Events that wait for an answer.
    pub(crate) brought: BTreeSet<u64>,
    /// Items it has.
    items: BTreeSet<u32>,
    /// Role of each epoch it was given, and since when.
    roles: BTreeMap<u64, (Role, Clock)>,
    /// When it was told last to act no more.
    ended_acting: Option<Clock>,
}

/// A value that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) item: u32,
    /// Null where JSON has no such value, and with a quality alone.
    pub(crate) value: Json,
    /// Of the epoch that it came in.
    role: Role,
    flags: u32,
    is_bad: bool,
}

/// What the plugin declares of values while it is not active.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub(crate) publish: Publish,
    /// That holds for roles up to this one, its standby unless configured otherwise; more may come in a higher one.
    pub(crate) standby: Role,
}

/// The hub's side of one instance.
#[derive(Debug)]
pub(crate) struct Recorder {
    record: Mutex<Record>,
    changed: Condvar,
    declared: Declared,
    /// What `publish` answers without looking at what comes: 0, or a code.
    refusal: AtomicI64,
    lease_end: AtomicI64,
    epoch: AtomicU64,
    /// The same, for an instance in a process of its own, once there is one.
    gate: OnceLock<GateWords>,
    /// Whether each callback calls the instance back.
    calls_back: AtomicBool,
    instance: Mutex<Weak<Instance>>,
    /// What the interface keeps by key, on whichever node it acts.
    kept: Arc<StateStore>,
    /// Streams of events that it declares to give.
    gives: BTreeSet<String>,
}

impl Recorder {
    pub(crate) fn new(declared: Declared, gives: &[String], kept: Arc<StateStore>) -> Self {
        Self {
            record: Mutex::default(),
            changed: Condvar::new(),
            declared,
            refusal: AtomicI64::new(0),
            lease_end: AtomicI64::new(i64::MAX),
            epoch: AtomicU64::new(0),
            gate: OnceLock::new(),
            calls_back: AtomicBool::new(false),
            instance: Mutex::default(),
            kept,
            gives: gives.iter().cloned().collect(),
        }
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` gives something, so long at most.
    pub(crate) fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&Record) -> Option<T>) -> Option<T> {
        let begun = Clock::now();
        let mut record = self.record();
        loop {
            if let Some(found) = found(&record) {
                return Some(found);
            }
            let left = limit.checked_sub(begun.elapsed())?;
            record = self
                .changed
                .wait_timeout(record, left)
                .map_or_else(|broken| broken.into_inner().0, |it| it.0);
        }
    }

    /// From now on the instance has this role, as far as its values go.
    pub(crate) fn expect_role(&self, role: Role, epoch: u64) {
        let mut record = self.record();
        let now = Clock::now();
        let before = record.roles.last_key_value().map(|(_, (role, _))| *role);
        if before == Some(Role::Active) && role != Role::Active {
            record.ended_acting = Some(now);
        }
        record.roles.insert(epoch, (role, now));
        drop(record);
        self.epoch.store(epoch, Ordering::SeqCst);
        self.move_gate();
    }

    pub(crate) fn expect_items(&self, handles: impl IntoIterator<Item = u32>) {
        self.record().items.extend(handles);
    }

    pub(crate) fn expect_write(&self, write_id: u64) {
        self.record().asked.insert(write_id);
    }

    /// The write was refused as a whole: nobody will answer it.
    pub(crate) fn forget_write(&self, write_id: u64) {
        self.record().asked.remove(&write_id);
    }

    /// `publish` answers with this code from now on; OK for what is right.
    pub(crate) fn refuse(&self, code: i32) {
        self.refusal.store(i64::from(code), Ordering::SeqCst);
    }

    pub(crate) fn set_lease_end(&self, end: i64) {
        self.lease_end.store(end, Ordering::SeqCst);
        self.move_gate();
    }

    fn move_gate(&self) {
        let Some(gate) = self.gate.get() else { return };
        let end = u64::try_from(self.lease_end.load(Ordering::SeqCst)).unwrap_or(0);
        gate.extend(self.epoch.load(Ordering::SeqCst), end);
    }

    /// Each callback calls the instance back from inside.
    pub(crate) fn call_back(&self, instance: Weak<Instance>) {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = instance;
        self.calls_back.store(true, Ordering::SeqCst);
    }

    fn note(&self, note: impl FnOnce(&mut Record)) {
        note(&mut self.record());
        self.changed.notify_all();
        if self.calls_back.load(Ordering::SeqCst) {
            let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
            if let Some(instance) = instance {
                instance.has_extension(c"twinhub.kit-calls-back/1");
                // The last one to let go would destroy it from inside the callback.
                std::mem::forget(instance);
            }
        }
    }
}

impl HostSink for Recorder {
    fn publish(&self, epoch: u64, updates: RawBatch<'_>) -> PublishOutcome {
        let mut outcome = PublishOutcome::Taken;
        let (current, refusal) = (self.epoch.load(Ordering::SeqCst), self.refusal.load(Ordering::SeqCst));
        self.note(|record| {
            record.publish_calls += 1;
            let role = record.roles.get(&epoch).map_or(Role::Cold, |(role, _)| *role);
            let mut updates_seen = Vec::new();
            for update in updates {
                match update {
                    Ok(update) if record.items.contains(&update.item) => {
                        updates_seen.push(Seen {
                            item: update.item,
                            value: json_of(update.value),
                            role,
                            flags: update.flags,
                            is_bad: update.status & BAD == BAD,
                        });
                    }
                    Ok(update) => {
                        record.violations.insert(format!("published item {}, which it has not", update.item));
                        outcome = PublishOutcome::Invalid;
                    }
                    Err(error) => {
                        record.violations.insert(format!("published what breaks the contract: {error}"));
                        outcome = PublishOutcome::Invalid;
                    }
                }
            }
            if outcome == PublishOutcome::Invalid {
                return;
            }
            if epoch != current {
                outcome = PublishOutcome::StaleEpoch;
            } else if refusal == i64::from(code::AGAIN) {
                record.refused_items.extend(updates_seen.iter().map(|update| update.item));
                outcome = PublishOutcome::Again;
            } else if refusal == i64::from(code::STALE_EPOCH) {
                outcome = PublishOutcome::StaleEpoch;
            } else {
                record.take(updates_seen, self.declared);
            }
        });
        outcome
    }

    fn write_done(&self, results: &[WriteResult]) {
        self.note(|record| {
            for result in results {
                let id = result.write_id;
                if record.writes.insert(id, *result).is_some() {
                    record.violations.insert(format!("answered write {id} twice"));
                } else if !record.asked.remove(&id) {
                    record.violations.insert(format!("answered write {id}, which nobody gave it"));
                }
            }
        });
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        self.note(|record| {
            record.ops.insert(op, (code, detail.to_owned()));
        });
    }

    fn answer(&self, op: u64, bytes: Vec<u8>) {
        self.note(|record| {
            record.answers.insert(op, bytes);
        });
    }

    fn store(&self) -> Option<&StateStore> {
        Some(&self.kept)
    }

    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        let role = self.record().roles.get(&epoch).map_or(Role::Cold, |(role, _)| *role);
        if epoch != self.epoch.load(Ordering::SeqCst) || role != Role::Active {
            return code::STALE_EPOCH;
        }
        let mut ticket = None;
        let answer = self.kept.change(key, value, |change| {
            ticket = Some(change.ticket);
            code::OK
        });
        if let Some(ticket) = ticket {
            self.kept.settle(&ticket);
        }
        answer
    }

    fn has_events(&self) -> bool {
        true
    }

    fn give(&self, event: &EventRef<'_>) -> i32 {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let refusal = self.refusal.load(Ordering::SeqCst);
        let mut answer = code::OK;
        self.note(|record| {
            let role = record.roles.get(&event.epoch).map_or(Role::Cold, |(role, _)| *role);
            let may_be_held =
                role == Role::Hot && !event.id.is_empty() && event.flags & event_flag::NEED_ACK == 0;
            answer = if event.epoch != epoch {
                code::STALE_EPOCH
            } else if role != Role::Active && !may_be_held {
                code::NOT_ACTIVE
            } else if refusal != 0 {
                code::AGAIN
            } else if !self.gives.contains(event.stream) {
                record.violations.insert(format!(
                    "gave an event to stream `{}`, which its manifest does not declare in `events.gives`",
                    event.stream.escape_debug()
                ));
                code::INVALID
            } else {
                code::OK
            };
        });
        answer
    }

    fn acknowledge(&self, number: u64, code: i32) -> i32 {
        let mut answer = code::OK;
        self.note(|record| {
            if record.brought.remove(&number) {
                record.events.insert(number, code);
            } else {
                // The loader counts it.
                answer = code::NOT_FOUND;
            }
        });
        answer
    }

    fn fault(&self, code: i32, detail: &str) {
        self.note(|record| {
            if record.faults.len() < FAULTS_MAX {
                record.faults.push(format!("{detail} (code {code})"));
            }
        });
    }

    fn log(&self, _level: u32, _target: &str, _message: &str, _fields_json: &str) {
        self.note(|_| {});
    }

    fn state(&self, _state: u32, _cause: &str) {
        self.note(|_| {});
    }

    fn lease_end(&self, epoch: u64) -> i64 {
        if epoch == self.epoch.load(Ordering::SeqCst) { self.lease_end.load(Ordering::SeqCst) } else { 0 }
    }

    fn lease(&self) -> Lease<'_> {
        let gate = self.gate.get_or_init(GateWords::new);
        self.move_gate();
        gate.file().map_or(Lease::None, Lease::Words)
    }

    fn count(&self, name: &str, add: u64) {
        let broken = match name {
            "answer.unexpected" => "answered a question that nobody asked",
            "events.unexpected" => "answered an event that does not wait for an answer",
            "events.refused" => "gave an event that breaks the contract",
            "op_done.unexpected" => "completed an operation that was not open",
            "publish.malformed" => "published a batch that makes no sense",
            "write_done.malformed" => "answered writes with a list that makes no sense",
            _ => return,
        };
        self.note(|record| {
            record.violations.insert(format!("{broken} ({add} times)"));
        });
    }
}

impl Record {
    fn take(&mut self, updates: Vec<Seen>, declared: Declared) {
        let is_settled = self.ended_acting.is_none_or(|ended| ended.elapsed() > SETTLE);
        for &Seen { item, role, flags, is_bad, .. } in &updates {
            if role == Role::Active {
                continue;
            }
            let name = crate::bench::name(role);
            if flags & flag::STANDBY == 0 {
                self.violations.insert(format!("published item {item} while {name} without FLAG_STANDBY"));
            } else if declared.publish == Publish::Drop
                && role.raw() <= declared.standby.raw()
                && is_settled
                // How an item is may always be told.
                && !is_bad
                && flags & flag::QUALITY_ONLY == 0
            {
                self.violations.insert(format!(
                    "published a value of item {item} while {name}, and declares `mb.inactive.publish` `drop`"
                ));
            }
        }
        self.taken_count += updates.len() as u64;
        self.taken.extend(updates);
        let excess = self.taken.len().saturating_sub(TAKEN_MAX);
        self.taken.drain(..excess);
    }
}

fn json_of(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Bool(value) => value.into(),
        ValueRef::I64(value) => value.into(),
        ValueRef::U64(value) => value.into(),
        ValueRef::F64(value) => value.into(),
        // No longer than what the kit sets.
        ValueRef::Str(value) if value.len() <= TEXT_KEPT => value.into(),
        ValueRef::Null
        | ValueRef::Str(_)
        | ValueRef::Bytes(_)
        | ValueRef::Time(_)
        | ValueRef::Array { .. }
        | ValueRef::Json(_) => Json::Null,
    }
}

/// What was read while it acted may come for so long after.
const SETTLE: Duration = Duration::from_millis(250);
/// Quality that says that there is no value.
const BAD: u32 = 0x8000_0000;
const FAULTS_MAX: usize = 100;
const TAKEN_MAX: usize = 10_000;
const TEXT_KEPT: usize = 64;
