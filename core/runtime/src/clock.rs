//! The two clocks of this machine. Everything else in the hub is given the time.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use twinhub_model::{Moment, Timestamp};

/// The monotonic clock that leases run on: `CLOCK_BOOTTIME`.
#[expect(clippy::cast_sign_loss, reason = "the clock starts at zero when the machine boots")]
pub fn now() -> Moment {
    let time = read(ClockId::CLOCK_BOOTTIME);
    Moment(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Civil time, for values and logs.
pub fn utc() -> Timestamp {
    let time = read(ClockId::CLOCK_REALTIME);
    Timestamp(time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}

/// Converts a moment to the contract's deadline word.
pub fn contract_deadline(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn read(clock: ClockId) -> TimeSpec {
    clock_gettime(clock).expect("both clocks are as old as Linux 2.6.39")
}
