//! Questions to an instance that are answered later: what can be addressed on its device, and how it is.
//!
//! One question of each kind is under way at a time. One that nobody waits for any more stays open until the plugin has
//! answered it, or another instance takes its place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use twinhub_contract::code;
use twinhub_loader::{Instance, PluginError, Status};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Browse,
    Diagnose,
    Test,
    Discover,
    Monitor,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Contract code.
    pub(crate) code: i32,
    pub(crate) detail: String,
    /// The answer, if it ended well.
    pub(crate) bytes: Vec<u8>,
}

/// Why nothing was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// There is no instance at present.
    NotRunning,
    /// The question before is not answered yet.
    Busy,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    instance: Mutex<Weak<Instance>>,
    open: Mutex<BTreeMap<u64, Open>>,
    count: AtomicU64,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    bytes: Vec<u8>,
    done: oneshot::Sender<Answered>,
}

impl Asking {
    /// Whether an operation is a question.
    pub(crate) const fn is_question(op: u64) -> bool {
        op & QUESTION_BIT != 0
    }

    /// There is another instance: what the one before was asked is not answered any more.
    pub(crate) fn turn_to(&self, instance: &Arc<Instance>) {
        let mut asked = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = Arc::downgrade(instance);
        self.end_all();
    }

    fn end_all(&self) {
        let open: Vec<u64> = self.lock().keys().copied().collect();
        for op in open {
            self.done(
                op,
                code::STOPPED,
                "another instance has taken the place of the one that was asked: ask again",
            );
        }
    }

    /// Asks; the answer comes to the receiver.
    pub(crate) fn ask(
        &self,
        kind: Kind,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) -> Result<oneshot::Receiver<Answered>, Unasked> {
        let asked = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = asked.upgrade().ok_or(Unasked::NotRunning)?;
        let (op, answer) = self.begin(kind).ok_or(Unasked::Busy)?;
        drop(asked);
        // The answer may be there before the call returns.
        match call(&instance, op) {
            Ok(Status::Pending) => {}
            Ok(Status::Done) => self.done(op, code::OK, ""),
            Err(error) => self.done(op, error.code, &error.detail),
        }
        Ok(answer)
    }

    fn begin(&self, kind: Kind) -> Option<(u64, oneshot::Receiver<Answered>)> {
        let mut open = self.lock();
        if open.values().any(|other| other.kind == kind) {
            return None;
        }
        let (done, answer) = oneshot::channel();
        let op = QUESTION_BIT | self.count.fetch_add(1, Ordering::Relaxed);
        open.insert(op, Open { kind, bytes: Vec::new(), done });
        Some((op, answer))
    }

    /// What a question is answered with; its end follows.
    pub(crate) fn fill(&self, op: u64, bytes: Vec<u8>) {
        if let Some(open) = self.lock().get_mut(&op) {
            open.bytes = bytes;
        }
    }

    /// A question has ended.
    pub(crate) fn done(&self, op: u64, code: i32, detail: &str) {
        let Some(Open { bytes, done, .. }) = self.lock().remove(&op) else { return };
        // Who asked may have given up.
        drop(done.send(Answered { code, detail: detail.to_owned(), bytes }));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells questions from control calls.
const QUESTION_BIT: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_of_each_kind_is_under_way_and_each_is_answered_once() {
        let asking = Asking::default();
        let (op, mut answer) = asking.begin(Kind::Browse).unwrap();
        assert!(Asking::is_question(op) && !Asking::is_question(7));
        assert!(asking.begin(Kind::Browse).is_none());
        let (other, gone) = asking.begin(Kind::Diagnose).unwrap();
        asking.fill(op, b"{}".to_vec());
        asking.done(op, code::OK, "");
        asking.done(op, code::DEVICE, "again");
        let expected = Answered { code: code::OK, detail: String::new(), bytes: b"{}".to_vec() };
        assert_eq!(answer.try_recv(), Ok(expected));
        drop(gone);
        assert!(asking.begin(Kind::Diagnose).is_none(), "the plugin still works at it");
        asking.done(other, code::OK, "");
        let (_, mut answer) = asking.begin(Kind::Diagnose).unwrap();
        asking.end_all();
        assert_eq!(answer.try_recv().map(|answer| answer.code), Ok(code::STOPPED));
        assert!(asking.begin(Kind::Diagnose).is_some());
        assert_eq!(asking.ask(Kind::Browse, |_, _| Ok(Status::Pending)).unwrap_err(), Unasked::NotRunning);
    }
}
