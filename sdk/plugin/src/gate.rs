//! Permission to act on the outside world.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Suppressed;
use crate::shared::Shared;
use crate::time::{Deadline, boottime_ns};
use crate::value::{Epoch, Role};

/// Gives permits for effects. Every request that a plugin puts on the wire while active, a poll as well as a write,
/// takes a permit right before the send, so that a process that was frozen and woken sends nothing.
///
/// Refusals are counted for the hub under `suppressed.<cause>`.
#[derive(Clone, Debug)]
pub struct OutputGate {
    shared: Arc<Shared>,
}

impl OutputGate {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Permission to send on behalf of `epoch`, the one of the write batch or of the last role call.
    ///
    /// # Errors
    /// Why nothing may be sent.
    pub fn permit(&self, epoch: Epoch) -> Result<Permit, Suppressed> {
        match check(&self.shared, epoch) {
            Ok(until_ns) => Ok(Permit { shared: Arc::clone(&self.shared), epoch, until_ns }),
            Err(suppressed) => {
                self.shared.host.count(suppressed.counter(), 1);
                Err(suppressed)
            }
        }
    }

    /// Permission for something that belongs to no write, such as a poll: for the current epoch.
    ///
    /// # Errors
    /// Why nothing may be sent.
    pub fn permit_current(&self) -> Result<Permit, Suppressed> {
        self.permit(self.shared.epoch())
    }

    /// Whether a permit would be given for the current epoch; nothing is counted.
    pub fn is_open(&self) -> bool {
        check(&self.shared, self.shared.epoch()).is_ok()
    }
}

/// Permission to send, until the lease ends.
#[derive(Clone, Debug)]
#[must_use = "a permit permits nothing unless it is checked right before the send"]
pub struct Permit {
    shared: Arc<Shared>,
    epoch: Epoch,
    until_ns: i64,
}

impl Permit {
    /// Whether the permission still holds. Asked right before the send, after every wait; a refusal is counted.
    pub fn is_valid(&self) -> bool {
        self.recheck().is_ok()
    }

    /// As [`Permit::is_valid`], with the reason.
    ///
    /// # Errors
    /// Why nothing may be sent any more.
    pub fn recheck(&self) -> Result<(), Suppressed> {
        check(&self.shared, self.epoch).map(drop).inspect_err(|suppressed| {
            self.shared.host.count(suppressed.counter(), 1);
        })
    }

    /// The epoch it was given for.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the lease ended as known at the time of the permit; renewals move it on.
    pub fn lease_end(&self) -> Deadline {
        Deadline::from_boottime_ns(self.until_ns)
    }

    /// Time left of the lease as known at the time of the permit.
    pub fn remaining(&self) -> Duration {
        self.lease_end().remaining().unwrap_or(Duration::ZERO)
    }
}

fn check(shared: &Shared, asked: Epoch) -> Result<i64, Suppressed> {
    if !shared.is_running() {
        return Err(Suppressed::Stopped);
    }
    let current = shared.epoch();
    if asked != current {
        return Err(Suppressed::StaleEpoch { asked, current });
    }
    let role = shared.role();
    if role != Role::Active {
        return Err(Suppressed::NotActive { role });
    }
    let until_ns = shared.host.lease_end(asked.0);
    if until_ns <= boottime_ns() {
        return Err(Suppressed::NoLease);
    }
    Ok(until_ns)
}
