//! `twinhub.answer/1`: what calls are asked for, put together until they are completed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinhub_contract::constants::ANSWER_BYTES_MAX;
use twinhub_contract::extension::Answer;
use twinhub_contract::{Host, code};

use super::{HostCell, cell, size};

/// The table.
pub(super) static ANSWER: Answer =
    Answer { size: size(size_of::<Answer>()), reserved: 0, append: Some(append) };

/// Answers of calls that are under way, by operation.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    open: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn append(&self, op: u64, bytes: &[u8]) -> i32 {
        let mut open = self.lock();
        let Some(answer) = open.get_mut(&op) else { return code::INVALID };
        if answer.len() + bytes.len() > ANSWER_BYTES_MAX {
            return code::FULL;
        }
        answer.extend_from_slice(bytes);
        code::OK
    }
}

impl HostCell {
    /// A call begins that is asked for a text.
    pub(crate) fn begin_answer(&self, op: u64) {
        self.answers.lock().insert(op, Vec::new());
    }

    /// The call has ended: the sink gets what it said, if it ended well.
    pub(crate) fn end_answer(&self, op: u64, code: i32) {
        let answer = self.answers.lock().remove(&op);
        if let Some(answer) = answer.filter(|_| code == code::OK) {
            self.with_sink("answer", (), |sink| sink.answer(op, answer));
        }
    }
}

unsafe extern "C" fn append(host: *const Host, op: u64, ptr: *const u8, len: usize) -> i32 {
    // SAFETY: the plugin passes its table.
    let Some(cell) = (unsafe { cell(host) }) else { return code::INVALID };
    if len > 0 && ptr.is_null() {
        return code::INVALID;
    }
    if len > ANSWER_BYTES_MAX {
        return code::FULL;
    }
    // SAFETY: bounded, not NULL, and readable for the call by the contract.
    let bytes = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(ptr, len) } };
    let code = cell.answers.append(op, bytes);
    if code == code::INVALID {
        cell.count("answer.unexpected", 1);
    }
    code
}
