//! Durations as text.

use std::time::Duration;

/// Reads `200ms`, `1.5s`, `1h30m`, `400d`: numbers with a unit of `us`, `ms`, `s`, `m`, `h`, `d`; `None` for all else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos: u128 = 0;
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let unit_nanos: u128 = match unit {
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?.min(12));
        if part.len() > 12 {
            return None;
        }
        nanos = nanos
            .checked_add(whole.parse::<u128>().ok()?.checked_mul(unit_nanos)?)?
            .checked_add(part.parse::<u128>().ok()? * unit_nanos / scale)?;
        rest = next;
    }
    let duration = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (duration <= DURATION_MAX).then_some(duration)
}

/// The shortest way to write it that [`parse_duration`] reads.
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, size) in [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000)] {
        if nanos >= size && nanos.is_multiple_of(size) {
            return format!("{}{unit}", nanos / size);
        }
    }
    match nanos {
        n if n.is_multiple_of(1_000_000_000) => format!("{}s", n / 1_000_000_000),
        n if n.is_multiple_of(1_000_000) => format!("{}ms", n / 1_000_000),
        n => format!("{}us", n / 1_000),
    }
}

/// What to write, for help texts.
pub(crate) const DURATION_HELP: &str =
    "write a number with a unit as text, such as \"200ms\", \"5s\", \"1h30m\" or \"400d\"";

const TEXT_BYTES_MAX: usize = 64;
/// A hundred years; more is a typing error.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("400d"), Some(Duration::from_secs(400 * 86_400)));
        assert_eq!(parse_duration("250us"), Some(Duration::from_micros(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "5", "s", "5 s", "-5s", "5x", "1.s", ".5s", "1e3s", "9999999999999999999d", "1..2s", "ä"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["200ms", "90s", "5m", "2h", "400d", "250us", "0s"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }
}
