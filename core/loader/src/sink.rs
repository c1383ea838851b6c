//! Where the calls of an instance arrive.

use std::os::fd::BorrowedFd;

use twinhub_contract::{EventRef, WriteResult, code};

use crate::batch::RawBatch;
use crate::store::StateStore;

/// What an instance calls. Called from any thread of the plugin, also from inside a call to the instance, so no lock may
/// be held across a call that an implementation needs here. Nothing here blocks.
///
/// A panic in an implementation is caught, logged, and answered with an error to the plugin.
pub trait HostSink: Send + Sync {
    /// Values. All or nothing: what is not [`PublishOutcome::Taken`] was not taken at all.
    fn publish(&self, epoch: u64, updates: RawBatch<'_>) -> PublishOutcome;

    /// Answers to writes. A plugin that breaks the contract may answer twice, or what nobody asked.
    fn write_done(&self, results: &[WriteResult]);

    /// A control call that had returned [`crate::Status::Pending`] is done. Comes exactly once per such call.
    fn op_done(&self, op: u64, code: i32, detail: &str);

    /// What a call of [`crate::Instance::browse`], `diagnose` or `inquire` is answered with, unchecked. Comes right
    /// before the call is done, and only if it ended well.
    fn answer(&self, op: u64, bytes: Vec<u8>) {
        _ = (op, bytes);
    }

    /// The instance is unusable and to be destroyed, from another thread than the one of this call.
    fn fault(&self, code: i32, detail: &str);

    /// A line for the log. `level` is one of [`twinhub_contract::level`], `fields_json` a JSON object or empty, unchecked.
    fn log(&self, level: u32, target: &str, message: &str, fields_json: &str);

    /// The state of the interface, one of [`twinhub_contract::state`], and its cause.
    fn state(&self, state: u32, cause: &str);

    /// `CLOCK_BOOTTIME` nanoseconds until which effects of `epoch` are permitted; 0 or less if they are not.
    fn lease_end(&self, epoch: u64) -> i64;

    /// Where a process that hosts the instance reads what [`HostSink::lease_end`] says.
    fn lease(&self) -> Lease<'_> {
        Lease::None
    }

    /// Adds to a counter of the instance.
    fn count(&self, name: &str, add: u64);

    /// The instance wants to know when its batches are accepted, before the first of them; whether it will be told.
    fn use_acceptance(&self) -> bool {
        false
    }

    /// How many batches were taken. Called after [`HostSink::publish`] has returned, it counts that batch.
    fn taken(&self) -> u64 {
        0
    }

    /// How many of them are accepted, counted from the first.
    fn accepted(&self) -> u64 {
        0
    }

    /// What the instance keeps by key, if it may.
    fn store(&self) -> Option<&StateStore> {
        None
    }

    /// Keeps a value under a key in [`HostSink::store`], or forgets the key, in the order of what is published. Gives a
    /// code of the contract.
    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        _ = (epoch, key, value);
        code::UNSUPPORTED
    }

    /// Whether the instance may give events, and take them.
    fn has_events(&self) -> bool {
        false
    }

    /// An event of the instance, in the order of what is published. Gives a code of the contract; after `PENDING`
    /// [`crate::Instance::taken`] follows.
    fn give(&self, event: &EventRef<'_>) -> i32 {
        _ = event;
        code::UNSUPPORTED
    }

    /// What became of an event whose [`crate::Instance::deliver`] said `PENDING`. A plugin that breaks the contract may
    /// answer twice, or what nobody asked. Gives a code of the contract.
    fn acknowledge(&self, number: u64, code: i32) -> i32 {
        _ = (number, code);
        code::UNSUPPORTED
    }
}

/// Where the end of the lease stands for other processes.
#[derive(Clone, Copy, Debug)]
pub enum Lease<'a> {
    /// Nowhere: an instance elsewhere is never permitted an effect.
    None,
    /// The instance needs no lease.
    Free,
    /// In shared memory.
    Words(BorrowedFd<'a>),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Taken.
    Taken,
    /// No room; the plugin conflates and tries again.
    Again,
    /// The epoch is not the one the instance was given.
    StaleEpoch,
    /// An update breaks the contract.
    Invalid,
    /// The instance is stopped.
    Stopped,
}

impl PublishOutcome {
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Taken => code::OK,
            Self::Again => code::AGAIN,
            Self::StaleEpoch => code::STALE_EPOCH,
            Self::Invalid => code::INVALID,
            Self::Stopped => code::STOPPED,
        }
    }
}
