//! Durations as settings write them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a duration; help: write a whole number and a unit, for example \"200ms\", \"5s\" or \"1h\""
)]
pub struct Error {
    text: String,
}

/// A duration written as text: `"200ms"`, `"5s"`, `"10m"`, `"1h"`, `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Reads a whole number followed by `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error { text: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration: whole number followed by ms, s, m, h or d.",
            "pattern": "^[0-9]+(ms|s|m|h|d)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        assert_eq!(Span::parse("200ms"), Ok(Span(Duration::from_millis(200))));
        assert_eq!(Span::parse("400d"), Ok(Span(Duration::from_secs(400 * 86_400))));
        for bad in
            ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999s", "18446744073709551615d", "5S"]
        {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,30}") {
            let _unused = Span::parse(&text);
        }
    }
}
