//! Writes on their way to the device.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::Notify;
use twinhub_contract::constants::quality;
use twinhub_contract::{WriteResult, code};

use crate::error::Code;
use crate::parcel::{Hint, WriteRef, Writes};
use crate::request::{WriteEntry, WriteId};
use crate::shared::Shared;
use crate::value::Epoch;

/// Writes that the hub handed over together. Owned: it may be moved into a task and answered from there.
#[derive(Debug)]
pub struct WriteBatch {
    inner: Rc<BatchInner>,
}

#[derive(Debug)]
pub(crate) struct BatchInner {
    shared: Arc<Shared>,
    outstanding: Rc<Outstanding>,
    writes: Writes,
    /// Made when they are asked for.
    entries: OnceCell<Vec<WriteEntry>>,
    /// By place; made when some are answered before the others.
    answered: OnceCell<Box<[Cell<bool>]>>,
    left: Cell<usize>,
    hint: Cell<Hint>,
    /// The plugin's `write` is running: its result may still answer what the batch left open.
    is_in_call: Cell<bool>,
    is_dropped: Cell<bool>,
}

impl WriteBatch {
    pub(crate) fn new(shared: Arc<Shared>, outstanding: &Rc<Outstanding>, writes: Writes) -> Self {
        let inner = Rc::new(BatchInner {
            shared,
            left: Cell::new(writes.len()),
            writes,
            entries: OnceCell::new(),
            answered: OnceCell::new(),
            hint: Cell::default(),
            is_in_call: Cell::new(true),
            is_dropped: Cell::new(false),
            outstanding: Rc::clone(outstanding),
        });
        outstanding.add(&inner);
        Self { inner }
    }

    pub(crate) fn handle(&self) -> Rc<BatchInner> {
        Rc::clone(&self.inner)
    }

    /// The epoch the writes were permitted in; pass it to [`crate::OutputGate::permit`].
    pub fn epoch(&self) -> Epoch {
        self.inner.writes.epoch
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.inner.writes.len()
    }

    /// Whether there is no write.
    pub fn is_empty(&self) -> bool {
        self.inner.writes.is_empty()
    }

    /// The writes, in the order of the hub.
    pub fn iter(&self) -> std::slice::Iter<'_, WriteEntry> {
        let entries = || self.inner.writes.iter().map(|write| write.to_entry()).collect();
        self.inner.entries.get_or_init(entries).iter()
    }

    /// As [`WriteBatch::iter`], for a plugin that looks at each write once: a batch of a thousand numbers is a few
    /// thousand bytes long, its entries are sixty thousand.
    pub fn refs(&self) -> impl ExactSizeIterator<Item = WriteRef<'_>> {
        self.inner.writes.iter()
    }

    /// Answers one write, at once. A second answer is ignored, as is an id that is not in the batch.
    pub fn done(&self, id: WriteId, code: impl Into<Code>) {
        self.inner.done(id, code.into());
    }

    /// Answers several writes in one call to the hub; otherwise as [`WriteBatch::done`].
    pub fn done_many(&self, ids: impl IntoIterator<Item = WriteId>, code: impl Into<Code>) {
        self.inner.done_many(ids, code.into());
    }

    /// Answers all writes not yet answered, in one call.
    pub fn done_all(&self, code: impl Into<Code>) {
        self.inner.done_all(code.into());
    }

    /// Number of writes not yet answered.
    pub fn unanswered(&self) -> usize {
        self.inner.left.get()
    }
}

impl<'a> IntoIterator for &'a WriteBatch {
    type Item = &'a WriteEntry;
    type IntoIter = std::slice::Iter<'a, WriteEntry>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Drop for WriteBatch {
    fn drop(&mut self) {
        self.inner.is_dropped.set(true);
        if !self.inner.is_in_call.get() {
            self.inner.done_all(Code::Device);
        }
    }
}

impl BatchInner {
    fn done(&self, id: WriteId, code: Code) {
        if self.mark(id) {
            self.shared.host.write_done(&[result(id, code)]);
            self.finish(1);
        }
    }

    fn done_many(&self, ids: impl IntoIterator<Item = WriteId>, code: Code) {
        let ids = ids.into_iter();
        let mut results = Vec::with_capacity(ids.size_hint().0.min(self.left.get()));
        results.extend(ids.filter(|id| self.mark(*id)).map(|id| result(id, code)));
        if !results.is_empty() {
            self.shared.host.write_done(&results);
            self.finish(results.len());
        }
    }

    /// Marks a write as answered; false if there is none with this number that is not.
    fn mark(&self, id: WriteId) -> bool {
        if self.left.get() == 0 {
            return false;
        }
        let answered = self.answered.get_or_init(|| vec![Cell::new(false); self.writes.len()].into());
        for (place, hint) in self.writes.places(id, self.hint.get()) {
            if !answered[place].replace(true) {
                self.hint.set(hint);
                return true;
            }
        }
        false
    }

    /// Answers what is left.
    pub(crate) fn done_all(&self, code: Code) {
        let left = self.left.get();
        if left == 0 {
            return;
        }
        let mut results = Vec::with_capacity(left);
        match self.answered.get() {
            None => results.extend(self.writes.ids().map(|id| result(id, code))),
            Some(answered) => {
                let open = self.writes.ids().zip(answered).filter(|(_, answered)| !answered.get());
                results.extend(open.map(|(id, _)| result(id, code)));
            }
        }
        self.left.set(0);
        self.shared.host.write_done(&results);
        self.outstanding.changed.notify_one();
    }

    /// The plugin's `write` has returned `answer`.
    pub(crate) fn returned(&self, answer: Result<(), Code>) {
        self.is_in_call.set(false);
        match answer {
            Err(code) => self.done_all(code),
            Ok(()) if self.is_dropped.get() => self.done_all(Code::Device),
            Ok(()) => {}
        }
    }

    fn finish(&self, count: usize) {
        let left = self.left.get().saturating_sub(count);
        self.left.set(left);
        if left == 0 {
            self.outstanding.changed.notify_one();
        }
    }
}

/// Batches that are not fully answered.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    batches: RefCell<Vec<Weak<BatchInner>>>,
    changed: Notify,
}

impl Outstanding {
    fn add(&self, batch: &Rc<BatchInner>) {
        let mut batches = self.batches.borrow_mut();
        if batches.len() >= PRUNE_AT && batches.len() == batches.capacity() {
            batches.retain(|batch| batch.upgrade().is_some_and(|batch| batch.left.get() > 0));
        }
        batches.push(Rc::downgrade(batch));
    }

    fn open(&self) -> Vec<Rc<BatchInner>> {
        let mut batches = self.batches.borrow_mut();
        batches.retain(|batch| batch.upgrade().is_some_and(|batch| batch.left.get() > 0));
        batches.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until everything is answered.
    pub(crate) async fn drained(&self) {
        while !self.open().is_empty() {
            self.changed.notified().await;
        }
    }

    /// Answers everything that is left.
    pub(crate) fn give_up(&self, code: Code) {
        for batch in self.open() {
            batch.done_all(code);
        }
    }
}

/// Answers writes that never reached the plugin.
pub(crate) fn refuse(shared: &Shared, writes: &Writes, code: Code) {
    let results: Vec<_> = writes.ids().map(|id| result(id, code)).collect();
    shared.host.write_done(&results);
}

fn result(id: WriteId, code: Code) -> WriteResult {
    let code = code.raw();
    let status = if code == code::OK { quality::GOOD } else { quality::BAD };
    WriteResult { write_id: id.0, code, status }
}

const PRUNE_AT: usize = 64;
