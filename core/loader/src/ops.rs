//! Control calls that are under way, so that each is completed exactly once, whatever the plugin does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinhub_contract::code;

/// Control operations by their number.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    open: Mutex<BTreeMap<u64, Op>>,
}

#[derive(Debug)]
struct Op {
    /// Answers still to come: one per call, either its return or its `op_done`.
    answers_left: u32,
    /// The host is still inside the calls; the outcome goes to it as a return value.
    is_calling: bool,
    outcome: Outcome,
}

/// The joint outcome of the calls of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) detail: String,
}

/// An answer that nobody waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unexpected;

impl Ops {
    /// Begins an operation of `calls` calls; `false` if the number is in use.
    pub(crate) fn begin(&self, op: u64, calls: u32) -> bool {
        let outcome = Outcome { code: code::OK, detail: String::new() };
        let mut open = self.lock();
        if open.contains_key(&op) {
            return false;
        }
        open.insert(op, Op { answers_left: calls, is_calling: true, outcome });
        true
    }

    /// One answer. Gives the outcome if it was the last one and the host waits for a completion.
    pub(crate) fn answer(&self, op: u64, code: i32, detail: &str) -> Result<Option<Outcome>, Unexpected> {
        let mut open = self.lock();
        let entry = open.get_mut(&op).filter(|entry| entry.answers_left > 0).ok_or(Unexpected)?;
        if entry.outcome.code == code::OK && code != code::OK {
            entry.outcome = Outcome { code, detail: detail.to_owned() };
        }
        entry.answers_left -= 1;
        if entry.answers_left > 0 || entry.is_calling {
            return Ok(None);
        }
        Ok(open.remove(&op).map(|entry| entry.outcome))
    }

    /// The calls have returned. Gives the outcome if all answers are there, `None` if a completion will follow.
    pub(crate) fn returned(&self, op: u64) -> Option<Outcome> {
        let mut open = self.lock();
        let entry = open.get_mut(&op)?;
        entry.is_calling = false;
        if entry.answers_left > 0 {
            return None;
        }
        open.remove(&op).map(|entry| entry.outcome)
    }

    /// Ends everything that is under way and gives the numbers.
    pub(crate) fn end_all(&self) -> Vec<u64> {
        std::mem::take(&mut *self.lock()).into_keys().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Op>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_inside_the_call_becomes_its_return_value() {
        let ops = Ops::default();
        assert!(ops.begin(7, 1));
        assert_eq!(ops.answer(7, code::OK, ""), Ok(None));
        assert_eq!(ops.returned(7).unwrap().code, code::OK);
    }

    #[test]
    fn two_calls_of_one_operation_complete_once_with_the_first_error() {
        let ops = Ops::default();
        assert!(ops.begin(7, 2));
        assert_eq!(ops.returned(7), None);
        assert_eq!(ops.answer(7, code::DEVICE, "gone"), Ok(None));
        let outcome = ops.answer(7, code::INVALID, "later").unwrap().unwrap();
        assert_eq!((outcome.code, outcome.detail.as_str()), (code::DEVICE, "gone"));
    }

    #[test]
    fn answers_that_nobody_waits_for_are_told_apart() {
        let ops = Ops::default();
        assert_eq!(ops.answer(1, code::OK, ""), Err(Unexpected));
        assert!(ops.begin(1, 1));
        assert!(!ops.begin(1, 1), "the number is in use");
        assert_eq!(ops.answer(1, code::OK, ""), Ok(None));
        assert_eq!(ops.answer(1, code::OK, ""), Err(Unexpected));
        assert!(ops.returned(1).is_some());
    }
}
