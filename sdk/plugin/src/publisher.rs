//! Values on their way to the hub: batched, stamped with the epoch, conflated when the hub has no room.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use twinhub_contract::constants::{flag, quality};
use twinhub_contract::{Payload, abi, code, kind};

use crate::acceptance::{Accepted, Ledger};
use crate::backlog::Backlog;
use crate::shared::Shared;
use crate::time::boottime_ns;
use crate::value::{Epoch, Flags, Item, Quality, Role, Update, Value};

/// Sends values to the hub. Cheap to clone; stays on the instance's thread.
///
/// Pushed values leave when the batch is full, on [`Publisher::flush`], or by themselves as soon as the code that
/// pushed them waits for something, or [`Publisher::set_linger`] later. If the hub has no room, the latest value of each item is kept and sent later;
/// values flagged [`Flags::EVENT`] are all kept, in order, up to a bound. What is lost is counted for the hub under
/// `publish.<cause>`.
#[derive(Clone, Debug)]
pub struct Publisher {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    buffer: RefCell<Buffer>,
    wake: Notify,
    /// Nothing waits for room any more.
    drained: Notify,
    is_woken: Cell<bool>,
    linger: Cell<Duration>,
}

#[derive(Debug, Default)]
struct Buffer {
    /// Updates in the form of the contract. Their pointers lead into `kept`.
    raw: Vec<abi::Update>,
    /// Values that own memory. Moving a `String` or `Vec` does not move what it points to.
    kept: Vec<Value>,
    backlog: Backlog,
    /// Whether the instance was active when the first of `raw` was pushed, and in which epoch.
    is_of_active: bool,
    epoch: Epoch,
    seq: u32,
    /// What the hub has accepted, for a plugin that wants to know; then nothing is conflated.
    ledger: Option<Ledger>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let buffer = RefCell::new(Buffer::default());
        let (wake, is_woken, linger) = (Notify::new(), Cell::new(false), Cell::new(Duration::ZERO));
        let drained = Notify::new();
        Self { inner: Rc::new(Inner { shared, buffer, wake, drained, is_woken, linger }) }
    }

    /// Adds a value to the batch.
    #[inline]
    pub fn push(&self, update: Update) {
        let (kind, bits) = match update.value {
            Value::F64(value) => (kind::F64, value.to_bits()),
            Value::I64(value) => (kind::I64, value.cast_unsigned()),
            Value::U64(value) => (kind::U64, value),
            Value::Bool(value) => (kind::BOOL, u64::from(value)),
            Value::Time(value) => (kind::TIME, value.cast_unsigned()),
            Value::Null | Value::Str(_) | Value::Bytes(_) | Value::Json(_) | Value::Array(_) => {
                return self.push_any(update);
            }
        };
        self.push_number(update.item, kind, bits, update.quality, update.source_ns, update.flags);
    }

    /// Numbers come one by one in registers: a whole update is written and read in pieces that do not fit each other,
    /// and the processor waits for that.
    fn push_number(&self, item: Item, kind: u8, bits: u64, quality: Quality, source_ns: i64, flags: Flags) {
        let mut buffer = self.inner.buffer.borrow_mut();
        if !buffer.backlog.is_empty() {
            drop(buffer);
            let value = number(kind, bits);
            return self.push_any(Update { item, value, quality, source_ns, flags });
        }
        if let Some(ledger) = &mut buffer.ledger {
            ledger.push();
        }
        let payload = if kind == kind::BOOL { Payload { u: bits.to_le() } } else { Payload { u: bits } };
        buffer.begin(&self.inner.shared);
        buffer.push_raw(item, scalar(kind, payload), quality.0, source_ns, flags);
        if buffer.raw.len() >= BATCH_MAX {
            buffer.flush(&self.inner.shared);
        }
        drop(buffer);
        self.wake();
    }

    #[inline(never)]
    fn push_any(&self, update: Update) {
        let mut buffer = self.inner.buffer.borrow_mut();
        if let Some(ledger) = &mut buffer.ledger {
            ledger.push();
        }
        if buffer.backlog.is_empty() {
            buffer.begin(&self.inner.shared);
            buffer.push_update(update);
            if buffer.raw.len() >= BATCH_MAX {
                buffer.flush(&self.inner.shared);
            }
        } else {
            drop(buffer);
            self.inner.push_later(update);
        }
        self.wake();
    }

    /// Lets the next `count` values travel in one batch: what was pushed before is sent if they do not fit behind it.
    pub fn keep_together(&self, count: usize) {
        let mut buffer = self.inner.buffer.borrow_mut();
        if buffer.raw.len() + count > BATCH_MAX {
            buffer.flush(&self.inner.shared);
        }
    }

    /// Lets pushed values wait so long for more of them before they leave by themselves; at first they do not wait.
    /// Fewer and larger batches cost the hub, and every interface behind it, fewer wake-ups. It holds for all clones.
    pub fn set_linger(&self, linger: Duration) {
        self.inner.linger.set(linger);
    }

    /// Sends the batch. What the hub has no room for is sent later.
    #[inline]
    pub fn flush(&self) {
        self.inner.buffer.borrow_mut().flush(&self.inner.shared);
    }

    /// Keeps a ledger of what the hub accepts from here on.
    pub(crate) fn keep_ledger(&self) {
        self.inner.buffer.borrow_mut().ledger.get_or_insert_default();
    }

    /// Sends the batch and gives the place behind everything pushed so far.
    pub(crate) fn mark(&self) -> u64 {
        let mut buffer = self.inner.buffer.borrow_mut();
        buffer.flush(&self.inner.shared);
        buffer.ledger.as_ref().map_or(0, Ledger::pushed)
    }

    /// What became of everything before a place.
    pub(crate) fn look(&self, mark: u64) -> Accepted {
        let mut buffer = self.inner.buffer.borrow_mut();
        let Some(ledger) = &mut buffer.ledger else { return Accepted::NotYet };
        ledger.look(mark, self.inner.shared.host.accepted())
    }

    /// Waits until the hub has accepted more.
    pub(crate) async fn accepted(&self) {
        self.inner.shared.accepted.notified().await;
    }

    /// Number of values that the hub had no room for and that wait.
    pub fn waiting(&self) -> usize {
        self.inner.buffer.borrow().backlog.len()
    }

    #[inline]
    fn wake(&self) {
        if !self.inner.is_woken.replace(true) {
            self.inner.wake.notify_one();
        }
    }

    /// Sends what nobody flushed, and what the hub had no room for. Runs as long as the instance.
    pub(crate) async fn run(self) {
        loop {
            self.inner.wake.notified().await;
            let linger = self.inner.linger.get();
            if !linger.is_zero() {
                tokio::time::sleep(linger).await;
            }
            self.inner.is_woken.set(false);
            self.flush();
            let mut wait = RETRY_FIRST;
            while self.waiting() > 0 {
                // A hub that tells of room is looked at for other reasons only: an epoch that is to come, an end.
                let tells = self.inner.shared.tells_room.load(Ordering::Relaxed);
                let most = if tells { LOOK_MAX } else { RETRY_MAX };
                tokio::select! {
                    () = self.inner.shared.room.notified() => wait = RETRY_FIRST,
                    () = tokio::time::sleep(wait.min(most)) => wait = (wait * 2).min(most),
                }
                self.flush();
            }
            self.inner.drained.notify_waiters();
        }
    }

    /// Waits until the hub has taken all that waited for room: who has more to give than the hub has room for need not
    /// look again and again.
    pub async fn drained(&self) {
        while self.waiting() > 0 {
            let drained = self.inner.drained.notified();
            // `run` may have ended, or be at work without a wait in between.
            tokio::select! {
                () = drained => {}
                () = tokio::time::sleep(LOOK_MAX) => {}
            }
        }
    }
}

impl Inner {
    #[cold]
    fn push_later(&self, update: Update) {
        let mut buffer = self.buffer.borrow_mut();
        buffer.forget_if_silent(&self.shared);
        let lost = buffer.keep(update);
        drop(buffer);
        if lost > 0 {
            self.shared.host.count("publish.overflow", lost);
        }
    }
}

/// Whether nothing is to be heard of the instance: it was given a role, and that one has no traffic. What is pushed then comes
/// from a task that has not ended yet, and the hub would take it for what the standby has heard.
fn is_silent(shared: &Shared) -> bool {
    shared.role() < Role::Hot && shared.epoch() > Epoch(0)
}

impl Buffer {
    fn push_update(&mut self, update: Update) {
        let Update { item, value, quality, source_ns, flags } = update;
        let mut status = quality.0;
        let value = match value {
            Value::Null => abi::Value::NULL,
            Value::Bool(b) => scalar(kind::BOOL, Payload { u: u64::from(b).to_le() }),
            Value::F64(f) => scalar(kind::F64, Payload { f }),
            Value::I64(i) => scalar(kind::I64, Payload { i }),
            Value::U64(u) => scalar(kind::U64, Payload { u }),
            Value::Time(i) => scalar(kind::TIME, Payload { i }),
            owned @ (Value::Str(_) | Value::Bytes(_) | Value::Json(_) | Value::Array(_)) => {
                self.own(owned).unwrap_or_else(|| {
                    status = quality::BAD_OUT_OF_RANGE;
                    abi::Value::NULL
                })
            }
        };
        self.push_raw(item, value, status, source_ns, flags);
    }

    #[inline]
    fn push_raw(&mut self, item: Item, value: abi::Value, status: u32, source_ns: i64, flags: Flags) {
        self.seq = self.seq.wrapping_add(1);
        let flags = flags.0 & !flag::STANDBY;
        self.raw.push(abi::Update { item: item.0, status, source_ns, value, flags, seq: self.seq });
    }

    /// Keeps a value that owns memory until the batch is sent; `None` if it is too long for the contract.
    #[inline(never)]
    fn own(&mut self, value: Value) -> Option<abi::Value> {
        let raw = abi::Value::describe(value.as_ref(), 0)?;
        self.kept.push(value);
        Some(raw)
    }

    /// A value is pushed: if it is the first of a batch, it says what that is.
    #[inline]
    fn begin(&mut self, shared: &Shared) {
        if self.raw.is_empty() {
            self.is_of_active = shared.role() == Role::Active;
            self.epoch = shared.epoch();
        }
    }

    #[inline(never)]
    fn flush(&mut self, shared: &Shared) {
        if !self.backlog.is_empty() {
            self.forget_if_silent(shared);
            self.flush_backlog(shared);
        }
        if self.raw.is_empty() {
            return;
        }
        // The role may have fallen since, and may fall while the hub is asked.
        let is_of_active = self.is_of_active;
        let is_late = !is_of_active || self.epoch != shared.epoch();
        if is_late && is_silent(shared) {
            return self.drop_unsaid(shared);
        }
        if self.backlog.is_empty() {
            let sent = send(shared, &mut self.raw);
            match sent {
                Sent::Taken | Sent::Lost => {
                    let count = self.raw.len();
                    self.note(shared, count, sent);
                }
                Sent::Later => self.keep_for_later(shared, is_of_active),
            }
        } else {
            self.keep_for_later(shared, is_of_active);
        }
        self.raw.clear();
        self.kept.clear();
    }

    /// Moves the batch into the backlog.
    fn keep_for_later(&mut self, shared: &Shared, is_of_active: bool) {
        let mut lost = 0;
        for raw in &self.raw {
            // SAFETY: made by `push_raw`, and `kept` still owns what the pointer leads to.
            let value = unsafe { raw.value.read() }.map_or(Value::Null, Value::from_ref);
            let update = Update {
                item: Item(raw.item),
                value,
                quality: Quality(raw.status),
                source_ns: raw.source_ns,
                flags: Flags(raw.flags),
            };
            lost += match &self.ledger {
                Some(_) => self.backlog.push_behind(update),
                None => self.backlog.push(update),
            };
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.lose(lost);
        }
        if lost > 0 {
            shared.host.count("publish.overflow", lost);
        }
        self.backlog.since_ns.get_or_insert_with(boottime_ns);
        self.backlog.is_of_active |= is_of_active;
    }

    /// Keeps an update and says how many were lost for it.
    fn keep(&mut self, update: Update) -> u64 {
        let Some(ledger) = &mut self.ledger else { return self.backlog.push(update) };
        let lost = self.backlog.push_behind(update);
        ledger.lose(lost);
        lost
    }

    /// Writes into the ledger what became of a batch.
    fn note(&mut self, shared: &Shared, count: usize, sent: Sent) {
        let Some(ledger) = &mut self.ledger else { return };
        match sent {
            Sent::Taken => ledger.leave(count as u64, shared.host.taken()),
            Sent::Lost => ledger.lose(count as u64),
            Sent::Later => {}
        }
    }

    /// What was refused while acting is of no use to a node that has lost its role, unless the plugin declares that it
    /// publishes while hot: given later, it would pass for what the standby has heard.
    fn forget_if_silent(&mut self, shared: &Shared) {
        let role = shared.role();
        let may_say = role == Role::Active || role == Role::Hot && shared.publishes_as_standby;
        if may_say || !self.backlog.is_of_active {
            return;
        }
        let dropped = self.backlog.forget();
        if let Some(ledger) = &mut self.ledger {
            ledger.lose(dropped);
        }
        shared.host.count("publish.not_active", dropped);
    }

    /// What was pushed by an instance that is silent in its role.
    #[cold]
    fn drop_unsaid(&mut self, shared: &Shared) {
        let dropped = self.raw.len();
        self.note(shared, dropped, Sent::Lost);
        shared.host.count("publish.not_active", dropped as u64);
        self.raw.clear();
        self.kept.clear();
    }

    fn flush_backlog(&mut self, shared: &Shared) {
        let mut chunk = Vec::new();
        while !self.backlog.is_empty() {
            chunk.clear();
            for update in self.backlog.updates.iter().take(BATCH_MAX) {
                self.seq = self.seq.wrapping_add(1);
                chunk.push(abi::Update {
                    item: update.item.0,
                    status: update.quality.0,
                    source_ns: update.source_ns,
                    value: abi::Value::describe(update.value.as_ref(), 0).unwrap_or(abi::Value::NULL),
                    flags: update.flags.0 & !flag::STANDBY,
                    seq: self.seq,
                });
            }
            let sent = send(shared, &mut chunk);
            match sent {
                Sent::Taken | Sent::Lost => {
                    self.backlog.pop(chunk.len());
                    self.note(shared, chunk.len(), sent);
                }
                Sent::Later => {
                    let dropped = self.backlog.drop_if_fenced(shared);
                    if let Some(ledger) = &mut self.ledger {
                        ledger.lose(dropped);
                    }
                    return;
                }
            }
        }
    }
}

/// The value of a number's bits.
fn number(kind: u8, bits: u64) -> Value {
    match kind {
        kind::F64 => Value::F64(f64::from_bits(bits)),
        kind::I64 => Value::I64(bits.cast_signed()),
        kind::BOOL => Value::Bool(bits != 0),
        kind::TIME => Value::Time(bits.cast_signed()),
        _ => Value::U64(bits),
    }
}

#[inline]
fn scalar(kind: u8, p: Payload) -> abi::Value {
    abi::Value { kind, wire: 0, elem: 0, len: 0, p }
}

#[derive(Clone, Copy)]
enum Sent {
    Taken,
    /// Refused for good, and counted.
    Lost,
    /// The hub has no room, or it is about to tell the instance its new epoch.
    Later,
}

fn send(shared: &Shared, updates: &mut [abi::Update]) -> Sent {
    if !shared.is_running() {
        shared.host.count("publish.stopped", updates.len() as u64);
        return Sent::Lost;
    }
    let mut flagged = 0;
    loop {
        let epoch = shared.epoch();
        let standby = if shared.role() == Role::Active { 0 } else { flag::STANDBY };
        // A batch comes without the flag, so that nothing is to be done while active.
        if standby != flagged {
            for update in &mut *updates {
                update.flags = update.flags & !flag::STANDBY | standby;
            }
            flagged = standby;
        }
        match shared.host.publish(epoch.0, updates) {
            code::OK => return Sent::Taken,
            code::STALE_EPOCH if shared.epoch() != epoch => {}
            code::AGAIN | code::STALE_EPOCH => return Sent::Later,
            code::STOPPED => {
                shared.host.count("publish.stopped", updates.len() as u64);
                return Sent::Lost;
            }
            other => {
                tracing::warn!(code = code::name(other), values = updates.len(), "hub refused a batch");
                shared.host.count("publish.refused", updates.len() as u64);
                return Sent::Lost;
            }
        }
    }
}

/// Values per batch: section 9 of the contract's measurements shows no gain beyond.
const BATCH_MAX: usize = 1_024;
/// First wait for room.
const RETRY_FIRST: Duration = Duration::from_millis(1);
/// Longest wait where the hub tells of room.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Longest wait for room.
const RETRY_MAX: Duration = Duration::from_millis(50);
