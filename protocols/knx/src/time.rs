//! The time that comes in.

use std::ops::Add;
use std::time::Duration;

/// A point on a clock that only goes forward, in nanoseconds since any start the owner likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The clock's start.
    pub const ZERO: Moment = Moment(0);
    /// Later than any moment that a clock can show.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// A moment `ms` milliseconds after the clock's start.
    pub const fn from_millis(ms: u64) -> Moment {
        Moment(ms.saturating_mul(1_000_000))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
