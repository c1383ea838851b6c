//! What must not be, and for how long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{ItemKey, Quality, Value};

/// Priorities are those of OPC UA (OPC 10000-5, 6.4.2): 1 is the least, this the most urgent.
pub const PRIORITY_MAX: u16 = 1000;

/// One alarm, as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, the same on every node and over restarts.
    pub id: Arc<str>,
    /// The item that is watched.
    pub item: ItemKey,
    /// What must not be.
    pub condition: Condition,
    /// It must be so for this long before the alarm is raised.
    pub delay_on: Duration,
    /// It must be over for this long before the alarm is cleared.
    pub delay_off: Duration,
    /// 1 to [`PRIORITY_MAX`].
    pub priority: u16,
    /// What an operator reads; `{value}`, `{limit}` and `{item}` are filled in. Empty for the usual words.
    pub text: Arc<str>,
    /// Part of the plant.
    pub area: Arc<str>,
    /// Stays active until it is acknowledged.
    pub latching: bool,
    /// Whether somebody has to acknowledge it.
    pub needs_ack: bool,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A number on the wrong side of a limit.
    Limit {
        /// Which side is wrong.
        side: Side,
        /// The limit itself is still right.
        limit: f64,
        /// Once beyond the limit, the value has to come back by this much more.
        deadband: f64,
    },
    /// Equal to this.
    Equals(Value),
    /// Anything but this.
    NotEquals(Value),
    /// The value cannot be trusted.
    BadQuality,
    /// Nothing was received for this long.
    Stale(Duration),
    /// The value has been the same for this long.
    Unchanged(Duration),
}

/// The wrong side of a limit, and how far beyond it that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Far above.
    HighHigh,
    /// Above.
    High,
    /// Below.
    Low,
    /// Far below.
    LowLow,
}

/// What a value says of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing: it is not valid, or no number.
    Nothing,
    /// It is as it should be.
    Right,
    /// It is as it must not be.
    Wrong,
}

impl Rule {
    /// What an operator reads of an occurrence.
    pub(crate) fn message(&self, value: &Value, quality: Quality) -> String {
        let shown = if quality.is_bad() { quality.to_string() } else { value.to_string() };
        let limit = self.condition.limit_text();
        if self.text.is_empty() {
            let limit = if limit.is_empty() { limit } else { format!(" (limit {limit})") };
            return cut(&format!("`{}` is {}: {shown}{limit}", self.item, self.condition.predicate()));
        }
        let text = self.text.replace("{limit}", &limit).replace("{item}", self.item.as_str());
        cut(&text.replace("{value}", &shown))
    }

    /// Feeds everything that evaluation depends on into a hash.
    pub(crate) fn hash(&self, hash: &mut u64) {
        let text = format!(
            "{}\0{}\0{:?}\0{:?}\0{:?}\0{}\n",
            self.id, self.item, self.condition, self.delay_on, self.delay_off, self.latching
        );
        for byte in text.bytes() {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

impl Condition {
    /// The kind's name in configuration and interfaces.
    pub const fn kind(&self) -> &'static str {
        match self {
            Condition::Limit { side, .. } => side.word(),
            Condition::Equals(_) => "equals",
            Condition::NotEquals(_) => "not_equals",
            Condition::BadQuality => "bad_quality",
            Condition::Stale(_) => "stale",
            Condition::Unchanged(_) => "unchanged",
        }
    }

    /// What the value is compared with; empty if with nothing.
    pub fn limit_text(&self) -> String {
        match self {
            Condition::Limit { limit, .. } => limit.to_string(),
            Condition::Equals(value) | Condition::NotEquals(value) => value.to_string(),
            Condition::Stale(span) | Condition::Unchanged(span) => format!("{span:?}"),
            Condition::BadQuality => String::new(),
        }
    }

    const fn predicate(&self) -> &'static str {
        match self {
            Condition::Limit { side: Side::HighHigh, .. } => "far too high",
            Condition::Limit { side: Side::High, .. } => "too high",
            Condition::Limit { side: Side::Low, .. } => "too low",
            Condition::Limit { side: Side::LowLow, .. } => "far too low",
            Condition::Equals(_) | Condition::NotEquals(_) => "as it must not be",
            Condition::BadQuality => "not trusted",
            Condition::Stale(_) => "not received any more",
            Condition::Unchanged(_) => "not changing any more",
        }
    }

    /// How long it may be silent, if that is what the condition is about.
    pub(crate) const fn silence(&self) -> Option<Duration> {
        match self {
            Condition::Stale(span) | Condition::Unchanged(span) => Some(*span),
            Condition::Limit { .. }
            | Condition::Equals(_)
            | Condition::NotEquals(_)
            | Condition::BadQuality => None,
        }
    }

    /// What this value says. The deadband counts while it was wrong before.
    pub(crate) fn look(&self, value: &Value, quality: Quality, was_wrong: bool) -> Finding {
        let wrong = |is_wrong| if is_wrong { Finding::Wrong } else { Finding::Right };
        if let Condition::BadQuality = self {
            return wrong(quality.is_bad());
        }
        if !is_valid(quality) || *value == Value::Null {
            return Finding::Nothing;
        }
        match self {
            Condition::Limit { side, limit, deadband } => {
                let Some(number) = value.as_f64().filter(|number| !number.is_nan()) else {
                    return Finding::Nothing;
                };
                let band = if was_wrong { *deadband } else { 0.0 };
                wrong(match side {
                    Side::HighHigh | Side::High => number > limit - band,
                    Side::Low | Side::LowLow => number < limit + band,
                })
            }
            Condition::Equals(wanted) => wrong(value.is_equivalent(wanted)),
            Condition::NotEquals(wanted) => wrong(!value.is_equivalent(wanted)),
            Condition::Stale(_) | Condition::Unchanged(_) => Finding::Right,
            Condition::BadQuality => Finding::Nothing,
        }
    }
}

impl Side {
    /// `high_high`, `high`, `low` or `low_low`.
    pub const fn word(self) -> &'static str {
        match self {
            Side::HighHigh => "high_high",
            Side::High => "high",
            Side::Low => "low",
            Side::LowLow => "low_low",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit_text();
        if limit.is_empty() { f.write_str(self.kind()) } else { write!(f, "{} {limit}", self.kind()) }
    }
}

/// Whether a value of this quality says how things are: good, or uncertain by the device's own word, but not one
/// that was right once (`UncertainNoCommunicationLastUsableValue`, `UncertainLastUsableValue`,
/// `UncertainInitialValue`).
pub(crate) fn is_valid(quality: Quality) -> bool {
    !quality.is_bad() && !matches!(quality.0 & 0xFFFF_0000, 0x408F_0000 | 0x4090_0000 | 0x4092_0000)
}

/// Text for people is kept up to this many bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 500;

/// The text, or as much of it as is kept.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES_MAX - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// FNV-1a, 64 bit.
pub(crate) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    fn high(deadband: f64) -> Condition {
        Condition::Limit { side: Side::High, limit: 90.0, deadband }
    }

    #[test]
    fn a_limit_itself_is_right_and_the_deadband_counts_on_the_way_back() {
        let look = |value, was_wrong| high(5.0).look(&Value::F64(value), Quality::GOOD, was_wrong);
        assert_eq!([look(90.0, false), look(90.1, false)], [Finding::Right, Finding::Wrong]);
        assert_eq!([look(85.1, true), look(85.0, true)], [Finding::Wrong, Finding::Right]);
        let low = Condition::Limit { side: Side::LowLow, limit: 5.0, deadband: 1.0 };
        let look = |value: i64, was_wrong| low.look(&Value::I64(value), Quality::GOOD, was_wrong);
        assert_eq!([look(4, false), look(5, false)], [Finding::Wrong, Finding::Right]);
        assert_eq!([look(5, true), look(6, true)], [Finding::Wrong, Finding::Right]);
    }

    #[test]
    fn what_is_not_valid_says_nothing_but_of_its_quality() {
        for quality in
            [Quality::BAD_NOT_CONNECTED, Quality::UNCERTAIN_LAST_USABLE, Quality::UNCERTAIN_INITIAL]
        {
            assert_eq!(high(0.0).look(&Value::F64(99.0), quality, false), Finding::Nothing);
        }
        let inaccurate = Quality(0x4093_0000);
        assert_eq!(high(0.0).look(&Value::F64(99.0), inaccurate, false), Finding::Wrong);
        assert_eq!(high(0.0).look(&Value::F64(f64::NAN), Quality::GOOD, false), Finding::Nothing);
        assert_eq!(high(0.0).look(&Value::Str("99".into()), Quality::GOOD, false), Finding::Nothing);
        let bad = Condition::BadQuality;
        assert_eq!(bad.look(&Value::Null, Quality::BAD_NOT_CONNECTED, false), Finding::Wrong);
        assert_eq!(bad.look(&Value::F64(1.0), Quality::UNCERTAIN_LAST_USABLE, false), Finding::Right);
    }

    #[test]
    fn the_text_is_filled_in_and_cut_between_letters() {
        let mut rule = Rule {
            id: "a".into(),
            item: ItemKey::parse("plc1/boiler").unwrap(),
            condition: high(0.0),
            delay_on: Duration::ZERO,
            delay_off: Duration::ZERO,
            priority: 500,
            text: "".into(),
            area: "".into(),
            latching: false,
            needs_ack: true,
        };
        let message = rule.message(&Value::F64(95.5), Quality::GOOD);
        assert_eq!(message, "`plc1/boiler` is too high: 95.5 (limit 90)");
        rule.text = "{item}: {value} of {limit}".into();
        assert_eq!(rule.message(&Value::F64(95.0), Quality::GOOD), "plc1/boiler: 95 of 90");
        rule.text = "ß".repeat(TEXT_BYTES_MAX).into();
        assert!(rule.message(&Value::Null, Quality::GOOD).len() <= TEXT_BYTES_MAX);
    }
}
