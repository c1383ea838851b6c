//! Two kinds of time that must not be mixed.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on this machine's monotonic clock that also counts while the machine sleeps
/// (`CLOCK_BOOTTIME`), in nanoseconds. Leases, deadlines and timers use it. It means nothing on another
/// machine and is never stored or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The clock's zero.
    pub const ZERO: Moment = Moment(0);
    /// Later than any moment that a clock can show.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// A moment `ms` milliseconds after the clock's zero.
    pub const fn from_millis(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved back by `duration`, not before the clock's zero.
    #[must_use]
    pub fn before(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(duration)))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.since(earlier)
    }
}

/// A point of civil time in nanoseconds since 1970-01-01T00:00:00 UTC, as devices and operators see it.
/// It may jump; no decision about roles depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// No time known.
    pub const NONE: Timestamp = Timestamp(i64::MIN);

    /// Whether a time is known.
    pub const fn is_some(self) -> bool {
        self.0 != i64::MIN
    }

    /// This time, or `other` if none is known.
    #[must_use]
    pub const fn or(self, other: Timestamp) -> Timestamp {
        if self.is_some() { self } else { other }
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Timestamp::NONE
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, or `-` if no time is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_some() {
            return f.write_str("-");
        }
        let seconds = self.0.div_euclid(1_000_000_000);
        let millis = self.0.rem_euclid(1_000_000_000) / 1_000_000;
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Date of a day number since 1970-01-01 in the proleptic Gregorian calendar
/// (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_at_both_ends() {
        assert_eq!(Moment::NEVER + Duration::from_secs(1), Moment::NEVER);
        assert_eq!(Moment::ZERO.before(Duration::from_secs(1)), Moment::ZERO);
        assert_eq!(Moment::ZERO - Moment::from_millis(5), Duration::ZERO);
    }

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_709_164_800_123_000_000).to_string(), "2024-02-29T00:00:00.123Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::NONE.to_string(), "-");
    }
}
