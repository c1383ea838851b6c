//! Time as it comes in.

use std::time::Duration;

/// A point in time, counted from a start that the caller chooses and that never changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The start.
    pub const START: Moment = Moment(Duration::ZERO);
    /// A time that does not come: nothing is waited for.
    pub const NEVER: Moment = Moment(Duration::MAX);

    /// So long after the start.
    pub const fn after_start(time: Duration) -> Moment {
        Moment(time)
    }

    /// How long after the start.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long after another moment; zero if that is later.
    pub const fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}
