//! What an item's address says, and the values that come of it.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use twinhub_plugin::Value;

/// Source of the values of one item.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// Counts up by `step` with every value.
    Counter {
        /// The value last given.
        value: i64,
        /// What is added.
        step: i64,
    },
    /// A sine over the wall clock, so that both nodes give the same.
    Sine {
        /// Nanoseconds of one period.
        period_ns: i64,
        /// Highest distance from `offset`.
        amplitude: f64,
        /// Middle.
        offset: f64,
    },
    /// Even distribution from `min` to `max`.
    Random {
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
    },
    /// Changes between false and true with every value.
    Toggle {
        /// The value last given.
        value: bool,
    },
    /// Always the same.
    Const(Value),
    /// Gives back what was written.
    Echo,
    /// Gives back what was written, also on the node that takes over.
    Keep,
    /// How many values of other interfaces it was given, over all nodes.
    Heard,
    /// Gives what was written as an event.
    Give,
    /// Shows the event that was taken last.
    Took,
    /// Answers an event that is held.
    Answer,
    /// A write panics; for drills of supervision.
    Panic,
    /// A write is never answered; for drills of takeover with a stuck device.
    Stall,
}

impl Generator {
    /// Reads `name` or `name:key=value,key=value`.
    ///
    /// # Errors
    /// What is wrong, and what could be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        if name == "const" {
            return constant(rest);
        }
        let mut keys = Keys::parse(rest)?;
        let generator = match name {
            "counter" => Self::Counter { value: keys.take("start", 0)?, step: keys.take("step", 1)? },
            "sine" => Self::Sine {
                period_ns: keys.take_duration("period", 10_000_000_000)?,
                amplitude: keys.take_finite("amplitude", 1.0)?,
                offset: keys.take_finite("offset", 0.0)?,
            },
            "random" => {
                let (min, max) = (keys.take_finite("min", 0.0)?, keys.take_finite("max", 1.0)?);
                if min > max {
                    return Err(format!("min {min} is above max {max}"));
                }
                Self::Random { min, max }
            }
            "toggle" => Self::Toggle { value: false },
            "echo" => Self::Echo,
            "keep" => Self::Keep,
            "heard" => Self::Heard,
            "give" => Self::Give,
            "took" => Self::Took,
            "answer" => Self::Answer,
            "panic" => Self::Panic,
            "stall" => Self::Stall,
            other => {
                return Err(format!(
                    "`{other}` is no generator: write counter, sine, random, toggle, const, echo, keep, heard, give, took, answer, \
                     panic or stall"
                ));
            }
        };
        keys.end(name)?;
        Ok(generator)
    }

    /// How it is written, without its keys.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Counter { .. } => "counter",
            Self::Sine { .. } => "sine",
            Self::Random { .. } => "random",
            Self::Toggle { .. } => "toggle",
            Self::Const(_) => "const",
            Self::Echo => "echo",
            Self::Keep => "keep",
            Self::Heard => "heard",
            Self::Give => "give",
            Self::Took => "took",
            Self::Answer => "answer",
            Self::Panic => "panic",
            Self::Stall => "stall",
        }
    }

    /// The next value, `None` if it has none of its own.
    #[inline]
    pub fn next(&mut self, unix_ns: i64, random: &mut Random) -> Option<Value> {
        match self {
            Self::Counter { value, step } => {
                *value = value.wrapping_add(*step);
                Some(Value::I64(*value))
            }
            Self::Sine { period_ns, amplitude, offset } => {
                let phase = fraction(unix_ns.rem_euclid(*period_ns), *period_ns);
                Some(Value::F64(*offset + *amplitude * (phase * TAU).sin()))
            }
            Self::Random { min, max } => Some(Value::F64(*min + (*max - *min) * random.unit())),
            Self::Toggle { value } => {
                *value = !*value;
                Some(Value::Bool(*value))
            }
            Self::Const(value) => Some(value.clone()),
            Self::Echo
            | Self::Keep
            | Self::Heard
            | Self::Give
            | Self::Took
            | Self::Answer
            | Self::Panic
            | Self::Stall => None,
        }
    }
}

fn constant(text: &str) -> Result<Generator, String> {
    if text.is_empty() {
        return Err("const needs a value: write const:5, const:2.5, const:true or const:text".to_owned());
    }
    let value = match (text.parse::<bool>(), text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(value), _, _) => Value::Bool(value),
        (_, Ok(value), _) => Value::I64(value),
        (_, _, Ok(value)) => Value::F64(value),
        _ => Value::Str(text.to_owned()),
    };
    Ok(Generator::Const(value))
}

#[expect(clippy::cast_precision_loss, reason = "a phase needs fewer digits than a float has")]
fn fraction(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

struct Keys<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Keys<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| format!("`{pair}` is not written key=value"))?;
            if keys.insert(key.trim(), value.trim()).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        Ok(Self(keys))
    }

    fn take<T: std::str::FromStr>(&mut self, key: &str, default: T) -> Result<T, String> {
        match self.0.remove(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("`{key}={text}` is not a number")),
        }
    }

    fn take_finite(&mut self, key: &str, default: f64) -> Result<f64, String> {
        let value: f64 = self.take(key, default)?;
        if value.is_finite() { Ok(value) } else { Err(format!("`{key}` is not a finite number")) }
    }

    fn take_duration(&mut self, key: &str, default_ns: i64) -> Result<i64, String> {
        let Some(text) = self.0.remove(key) else { return Ok(default_ns) };
        let refused = || format!("`{key}={text}` is not a duration above 0, such as 10s, 500ms or 2m");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_ns = match &text[digits.len()..] {
            "ms" => 1_000_000_i64,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(refused()),
        };
        let count: i64 = digits.parse().map_err(|_| refused())?;
        count.checked_mul(unit_ns).filter(|ns| *ns > 0).ok_or_else(refused)
    }

    fn end(self, name: &str) -> Result<(), String> {
        self.0.keys().next().map_or(Ok(()), |key| Err(format!("`{name}` has no key `{key}`")))
    }
}

/// Pseudo-random numbers (xorshift64*), the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generator_gives_its_values() {
        assert_eq!(values("counter", 3), [Value::I64(1), Value::I64(2), Value::I64(3)]);
        assert_eq!(values("counter:start=10,step=-5", 2), [Value::I64(5), Value::I64(0)]);
        assert_eq!(values("toggle", 2), [Value::Bool(true), Value::Bool(false)]);
        assert_eq!(values("const:5", 1), [Value::I64(5)]);
        assert_eq!(values("const:2.5", 1), [Value::F64(2.5)]);
        assert_eq!(values("const:true", 1), [Value::Bool(true)]);
        assert_eq!(values("const:open:now", 1), [Value::Str("open:now".into())]);
        assert_eq!(values("echo", 1), []);
        for value in values("random:min=2,max=3", 100) {
            assert!(value.as_f64().is_some_and(|value| (2.0..3.0).contains(&value)), "{value:?}");
        }
    }

    #[test]
    fn a_sine_reaches_its_top_after_a_quarter_of_its_period() {
        let mut sine = Generator::parse("sine:period=10s,amplitude=5,offset=1").unwrap();
        let value = sine.next(2_500_000_000, &mut Random::new(1)).unwrap().as_f64().unwrap();
        assert!((value - 6.0).abs() < 1e-9, "{value}");
    }

    #[test]
    fn the_same_seed_gives_the_same_values() {
        assert_eq!(values("random", 10), values("random", 10));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "`` is no generator"),
            ("sin", "`sin` is no generator"),
            ("const", "const needs a value"),
            ("counter:step", "`step` is not written key=value"),
            ("counter:step=x", "`step=x` is not a number"),
            ("counter:pace=1", "`counter` has no key `pace`"),
            ("counter:step=1,step=2", "`step` is there twice"),
            ("sine:period=0s", "`period=0s` is not a duration"),
            ("sine:period=9223372036854775807h", "is not a duration"),
            ("sine:amplitude=inf", "`amplitude` is not a finite number"),
            ("random:min=2,max=1", "min 2 is above max 1"),
        ];
        for (text, expected) in cases {
            let error = Generator::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_addresses_never_panic(text in "\\PC*", tail in "[a-z:=,.0-9smh-]{0,40}") {
            for text in [text.clone(), tail.clone(), format!("sine:{tail}"), format!("counter:{tail}")] {
                if let Ok(mut generator) = Generator::parse(&text) {
                    drop(generator.next(i64::MAX, &mut Random::new(0)));
                    drop(generator.next(i64::MIN, &mut Random::new(0)));
                }
            }
        }
    }

    fn values(text: &str, count: usize) -> Vec<Value> {
        let mut generator = Generator::parse(text).unwrap();
        let mut random = Random::new(7);
        (0..count).filter_map(|_| generator.next(0, &mut random)).collect()
    }
}
