//! Two kinds of time that must not be mixed.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
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

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a time as 2026-11-21T09:30:00Z or 2026-11-21T10:30:00+01:00, or a date as 2026-11-21")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// RFC 3339, seconds and fractions may be left out; a date alone is its midnight in UTC.
    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        read_time(text).ok_or(TimestampError)
    }
}

fn read_time(text: &str) -> Option<Timestamp> {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let two = |text: &str, most: i64| number(text).filter(|value| text.len() == 2 && *value <= most);
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00Z"));
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?).filter(|year| (1678..=2261).contains(year))?;
    let (month, day) = (two(parts.next()?, 12)?, two(parts.next()?, 31)?);
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let end = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(end);
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let seconds = two(hours, 23)? * 3600 + two(minutes, 59)? * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (two(parts.next()?, 23)?, two(parts.next()?, 59)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (second, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let digits = fraction.get(..fraction.len().min(9)).filter(|digits| !digits.is_empty())?;
            number(fraction)?;
            (two(second, 59)?, number(&format!("{digits:0<9}"))?)
        }
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction).map(Timestamp)
}

/// Day number since 1970-01-01 of a date in the proleptic Gregorian calendar (H. Hinnant, `days_from_civil`).
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let month_shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
    fn times_are_read_as_they_are_written() {
        for ns in [0, -1_000_000, 1_709_164_800_123_000_000, 253_402_300_799_000_000, 951_782_400_000_000_000]
        {
            assert_eq!(Timestamp(ns).to_string().parse(), Ok(Timestamp(ns)));
        }
        let noon = Timestamp(1_763_722_800_000_000_000);
        for text in ["2025-11-21T11:00:00Z", "2025-11-21T12:00+01:00", "2025-11-21 11:00:00.000000000z"] {
            assert_eq!(text.parse(), Ok(noon), "{text}");
        }
        assert_eq!("2025-11-21".parse(), Ok(Timestamp(noon.0 - 11 * 3_600_000_000_000)));
        for text in [
            "",
            "now",
            "2025",
            "2025-02-29",
            "2025-11-21T11:00",
            "2025-11-21T25:00Z",
            "2025-1-1",
            "9999-01-01",
            "2025-11-21T11:00:00.Z",
            "2025-11-21T11:00:00.xZ",
            "2025-11-21T11:00+1",
            "2025-11-21Tä",
            "+025-11-21",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_709_164_800_123_000_000).to_string(), "2024-02-29T00:00:00.123Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::NONE.to_string(), "-");
    }
}
