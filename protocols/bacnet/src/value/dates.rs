//! Dates and times: clauses 20.2.12 and 20.2.13.
//!
//! Each field may be [`ANY`], which makes a pattern: "every Monday", "at any second". Special numbers of
//! patterns (month 13 is every odd month, 14 every even one; day 32 is the last of the month, 33 every odd one,
//! 34 every even one) are kept as they are, and so is what no calendar has: a device may send it, and it is not
//! the codec's to judge.

/// A field that may have any value.
pub const ANY: u8 = 255;

/// A date, or a pattern of dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Years since 1900.
    pub year: u8,
    /// 1 to 12, 13 for odd and 14 for even months.
    pub month: u8,
    /// 1 to 31, 32 for the last, 33 for odd and 34 for even days.
    pub day: u8,
    /// 1 for Monday to 7 for Sunday.
    pub weekday: u8,
}

impl Date {
    /// Any date.
    pub const ANY: Date = Date { year: ANY, month: ANY, day: ANY, weekday: ANY };

    /// A day of the calendar; the weekday follows from it. None if the calendar of 1900 to 2154 has no such day.
    pub fn of_day(year: u16, month: u8, day: u8) -> Option<Date> {
        let since_1900 = year.checked_sub(1900).filter(|years| *years < 255)?;
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days_of_month = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u8::from(is_leap),
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        if !(1..=days_of_month).contains(&day) {
            return None;
        }
        Some(Date { year: u8::try_from(since_1900).ok()?, month, day, weekday: weekday(year, month, day) })
    }

    /// The year, if it is told.
    pub fn calendar_year(self) -> Option<u16> {
        (self.year != ANY).then(|| 1900 + u16::from(self.year))
    }

    /// Whether it names one day, and that exists.
    pub fn is_specific(self) -> bool {
        self.calendar_year().and_then(|year| Date::of_day(year, self.month, self.day)).is_some()
    }

    /// From its four bytes.
    pub const fn from_bytes([year, month, day, weekday]: [u8; 4]) -> Date {
        Date { year, month, day, weekday }
    }

    /// Its four bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        [self.year, self.month, self.day, self.weekday]
    }
}

/// A time of day, or a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 99.
    pub hundredths: u8,
}

impl Time {
    /// Any time.
    pub const ANY: Time = Time { hour: ANY, minute: ANY, second: ANY, hundredths: ANY };

    /// Whether it names one moment of the day; hundredths may be any.
    pub fn is_specific(self) -> bool {
        self.hour < 24
            && self.minute < 60
            && self.second < 60
            && (self.hundredths < 100 || self.hundredths == ANY)
    }

    /// From its four bytes.
    pub const fn from_bytes([hour, minute, second, hundredths]: [u8; 4]) -> Time {
        Time { hour, minute, second, hundredths }
    }

    /// Its four bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        [self.hour, self.minute, self.second, self.hundredths]
    }
}

/// A date and a time of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// The time.
    pub time: Time,
}

/// Sakamoto's method; 1 is Monday.
fn weekday(year: u16, month: u8, day: u8) -> u8 {
    const OFFSETS: [u16; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = if month < 3 { year - 1 } else { year };
    let offset = OFFSETS[usize::from(month - 1)];
    let from_sunday = (year + year / 4 - year / 100 + year / 400 + offset + u16::from(day)) % 7;
    u8::try_from((from_sunday + 6) % 7 + 1).expect("one of seven")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_the_calendar_has_its_weekday() {
        let first_example = Date { year: 91, month: 1, day: 24, weekday: 4 };
        assert_eq!(Date::of_day(1991, 1, 24), Some(first_example));
        assert_eq!(Date::of_day(2024, 2, 29).map(|date| date.weekday), Some(4));
        assert_eq!(Date::of_day(2000, 1, 1).map(|date| date.weekday), Some(6));
        assert_eq!(Date::of_day(2023, 2, 29), None);
        assert_eq!(Date::of_day(1900, 2, 29), None);
        assert_eq!(Date::of_day(2155, 1, 1), None);
        assert_eq!(Date::of_day(2024, 13, 1), None);
    }

    #[test]
    fn a_pattern_is_not_specific() {
        assert!(first_of_may().is_specific());
        assert!(!Date { day: 32, ..first_of_may() }.is_specific());
        assert!(!Date { year: ANY, ..first_of_may() }.is_specific());
        assert!(!Date::ANY.is_specific());
        assert!(Time { hour: 23, minute: 59, second: 59, hundredths: ANY }.is_specific());
        assert!(!Time::ANY.is_specific());
    }

    fn first_of_may() -> Date {
        Date::of_day(2026, 5, 1).unwrap()
    }
}
