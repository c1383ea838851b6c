//! Clocks and deadlines.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use twinhub_contract::constants::TIME_NONE;

/// Nanoseconds on `CLOCK_BOOTTIME`, the clock of all deadlines and leases. It goes on while the machine sleeps.
pub fn boottime_ns() -> i64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970 UTC, for `source_ns`.
pub fn unix_ns() -> i64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("both clocks are as old as Linux 2.6.39");
    time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec())
}

/// A point on `CLOCK_BOOTTIME`, or no limit.
///
/// ```
/// use std::time::Duration;
/// use twinhub_plugin::Deadline;
/// assert!(Deadline::after(Duration::ZERO).has_passed());
/// assert!(!Deadline::NONE.has_passed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(i64);

impl Deadline {
    /// No limit.
    pub const NONE: Self = Self(i64::MAX);

    /// From the contract: `CLOCK_BOOTTIME` nanoseconds, `TIME_NONE` for no limit.
    pub const fn from_boottime_ns(ns: i64) -> Self {
        if ns == TIME_NONE { Self::NONE } else { Self(ns) }
    }

    /// A point in the future.
    pub fn after(duration: Duration) -> Self {
        let ns = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(boottime_ns().saturating_add(ns))
    }

    /// Whether the point lies in the past.
    pub fn has_passed(self) -> bool {
        self != Self::NONE && boottime_ns() >= self.0
    }

    /// Time left, zero if passed, `None` without a limit.
    pub fn remaining(self) -> Option<Duration> {
        if self == Self::NONE {
            return None;
        }
        Some(Duration::from_nanos(u64::try_from(self.0.saturating_sub(boottime_ns())).unwrap_or(0)))
    }

    /// Time left, at most `limit`.
    pub fn remaining_up_to(self, limit: Duration) -> Duration {
        self.remaining().map_or(limit, |left| left.min(limit))
    }

    /// `CLOCK_BOOTTIME` nanoseconds, `None` without a limit.
    pub fn boottime_ns(self) -> Option<i64> {
        (self != Self::NONE).then_some(self.0)
    }
}
