//! Settings of one Modbus interface.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::address::{Address, AddressError};
use crate::codec::Order;

/// Settings as they are written in `twinhub.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Device or gateway, `host:port`; without a port 502.
    pub address: String,
    /// Unit identifier of items that name none. Default 1.
    #[serde(default = "one")]
    pub unit: u8,
    /// How often items are read whose row says nothing: a duration or the name of a poll class. Default `1s`.
    #[serde(default = "poll_default")]
    pub poll: String,
    /// Named poll classes: name = duration.
    #[serde(default)]
    pub poll_classes: BTreeMap<String, Interval>,
    /// Register and byte order of values of two and four registers whose row says nothing. Default `ABCD`.
    #[serde(default)]
    pub order: Order,
    /// Longest wait for an answer; then the connection is dropped. Default `1s`.
    #[serde(default = "seconds::<1>")]
    pub timeout: Interval,
    /// Longest wait for a connection. Default `3s`.
    #[serde(default = "seconds::<3>")]
    pub connect_timeout: Interval,
    /// First pause after a failure; doubles, with jitter. Default `200ms`.
    #[serde(default = "millis::<200>")]
    pub backoff_min: Interval,
    /// Longest pause after failures. Default `10s`.
    #[serde(default = "seconds::<10>")]
    pub backoff_max: Interval,
    /// How often a read is repeated that the device answered with "busy" (6) or the gateway with "target does not
    /// respond" (11). Default 1.
    #[serde(default = "one")]
    pub retries: u8,
    /// How many reads are sent before the first is answered, 1 to 16. More cost less and reach a distant device
    /// faster, but not every device keeps requests that come while it answers, and a write waits for all of them.
    /// With a `request_delay` it is 1. Default 1.
    #[serde(default = "one")]
    pub pipeline: u8,
    /// Pause between two requests, for slow devices and gateways. Default `0ms`.
    #[serde(default = "millis::<0>")]
    pub request_delay: Interval,
    /// Idle time after which TCP asks the device whether it is still there. Default `4s`: with the answer awaited for
    /// three more, a standby knows that its way is gone before the role moves to it for its health.
    #[serde(default = "seconds::<4>")]
    pub keepalive: Interval,
    /// Longest time in which the device has to confirm on TCP level that it took a request; then the connection is
    /// given up, and the kernel delivers nothing later, also if this process has died. Default `250ms`.
    #[serde(default = "millis::<250>")]
    pub send_timeout: Interval,
    /// Most registers in one read, 1 to 125. Default 125.
    #[serde(default = "read_registers")]
    pub max_registers: u16,
    /// Most coils or discrete inputs in one read, 1 to 2000. Default 2000.
    #[serde(default = "read_bits")]
    pub max_bits: u16,
    /// Most registers in one write, 1 to 123. Default 123.
    #[serde(default = "write_registers")]
    pub max_write_registers: u16,
    /// Most coils in one write, 1 to 1968. Default 1968.
    #[serde(default = "write_bits")]
    pub max_write_bits: u16,
    /// Registers without an item that a read may bridge. Default 8.
    #[serde(default = "gap")]
    pub max_gap: u16,
    /// Coils or discrete inputs without an item that a read may bridge. Default 64.
    #[serde(default = "gap_bits")]
    pub max_gap_bits: u16,
    /// How a single bit of a register is written. Default `native`.
    #[serde(default)]
    pub mask_write: MaskWrite,
    /// Which values are handed to the hub after a read. Default `all`.
    #[serde(default)]
    pub publish: Publish,
    /// Whether what was written is read back at once. Default true.
    #[serde(default = "yes")]
    pub readback: bool,
    /// Whether registers are written and read back in one request (function code 23). Default false.
    #[serde(default)]
    pub use_fc23: bool,
    /// How often refused registers are tried again. Default `60s`.
    #[serde(default = "seconds::<60>")]
    pub retry_refused: Interval,
    /// How often a warm standby reads one register to check the path; without it a warm standby sends no request.
    #[serde(default)]
    pub standby_probe: Option<Interval>,
    /// What `standby_probe` reads. Default `hr:0`.
    #[serde(default = "probe")]
    pub standby_probe_register: String,
}

/// How a single bit of a register is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskWrite {
    /// Function code 22; a device that does not know it refuses the write.
    #[default]
    Native,
    /// Function code 22; if the device does not know it, as `read_modify_write`.
    Fallback,
    /// Read the register, change the bit, write the register: a change by somebody else in between is lost.
    ReadModifyWrite,
}

/// Which values are handed to the hub after a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Each value of each read, so that its time stamp shows the last read.
    #[default]
    All,
    /// Values whose registers or quality changed.
    Changed,
}

/// A duration, written as text: `"100ms"`, `"1s"`, `"5m"`, `"1h"`, `"400d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ConfigError::Duration(text.to_owned());
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor_ms: u64 = match unit.trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(factor_ms).filter(|ms| *ms <= INTERVAL_MS_MAX).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*[0-9]+\\s*(ms|s|m|h|d)\\s*$",
            "description": "A duration: \"100ms\", \"1s\", \"5m\", \"1h\", \"400d\".",
        })
    }
}

/// Why the settings were refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write for example \"100ms\", \"1s\" or \"5m\"")]
    Duration(String),
    /// Not a host and port.
    #[error("`address`: `{0}` is not a host and port; write for example \"10.0.2.10:502\"")]
    Endpoint(String),
    /// A number beyond what the protocol or good sense allows.
    #[error("`{key}` is {got}; write a number from {low} to {high}")]
    Range {
        /// Setting.
        key: &'static str,
        /// Written.
        got: u64,
        /// Lowest.
        low: u64,
        /// Highest.
        high: u64,
    },
    /// A duration that is too short or too long.
    #[error("`{key}` is {got:?}; write {low:?} or more, {high:?} at most")]
    Span {
        /// Setting.
        key: &'static str,
        /// Written.
        got: Duration,
        /// Shortest.
        low: Duration,
        /// Longest.
        high: Duration,
    },
    /// Neither a duration nor a poll class.
    #[error("`{name}` is neither a duration such as \"100ms\" nor a poll class; poll classes are: {known}")]
    Poll {
        /// Written.
        name: String,
        /// What exists.
        known: String,
    },
    /// The probe register is not an address.
    #[error("`standby_probe_register`: {0}")]
    Probe(#[source] AddressError),
}

/// What a block may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most registers.
    pub registers: u16,
    /// Most bits.
    pub bits: u16,
    /// Registers without an item that may lie between two items.
    pub gap: u16,
    /// Bits without an item that may lie between two items.
    pub gap_bits: u16,
}

/// Settings after checking.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What was written.
    pub config: Config,
    /// Host and port.
    pub endpoint: String,
    /// Limits of the block planner.
    pub limits: Limits,
    /// Probe register.
    pub probe: Address,
}

impl Settings {
    /// Checks every limit.
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        let endpoint = endpoint(&config.address)?;
        range("pipeline", config.pipeline.into(), PIPELINE_MAX)?;
        range("max_registers", config.max_registers, READ_REGISTERS_MAX)?;
        range("max_bits", config.max_bits, READ_BITS_MAX)?;
        range("max_write_registers", config.max_write_registers, WRITE_REGISTERS_MAX)?;
        range("max_write_bits", config.max_write_bits, WRITE_BITS_MAX)?;
        span("timeout", config.timeout, 1)?;
        span("connect_timeout", config.connect_timeout, 1)?;
        span("backoff_min", config.backoff_min, 1)?;
        span("backoff_max", config.backoff_max, duration_ms(config.backoff_min.0))?;
        span("request_delay", config.request_delay, 0)?;
        span("keepalive", config.keepalive, 1_000)?;
        span("send_timeout", config.send_timeout, 10)?;
        span("retry_refused", config.retry_refused, 1_000)?;
        if let Some(probe) = config.standby_probe {
            span("standby_probe", probe, 1_000)?;
        }
        for period in config.poll_classes.values() {
            span("poll_classes", *period, POLL_MS_MIN)?;
        }
        let probe = config.standby_probe_register.parse().map_err(ConfigError::Probe)?;
        let limits = Limits {
            registers: config.max_registers,
            bits: config.max_bits,
            gap: config.max_gap,
            gap_bits: config.max_gap_bits,
        };
        let settings = Self { config, endpoint, limits, probe };
        settings.period("")?;
        Ok(settings)
    }

    /// Reads that are under way together.
    pub(crate) fn pipeline(&self) -> usize {
        if self.config.request_delay.0.is_zero() { self.config.pipeline.into() } else { 1 }
    }

    /// The poll period that the `poll` column of an item row names; `None` if the item is not to be polled.
    pub(crate) fn period(&self, poll: &str) -> Result<Option<Duration>, ConfigError> {
        let poll = if poll.is_empty() { self.config.poll.trim() } else { poll };
        if poll == "off" {
            return Ok(None);
        }
        if let Some(period) = self.config.poll_classes.get(poll) {
            return Ok(Some(period.0));
        }
        let known = || {
            let names: Vec<&str> =
                self.config.poll_classes.keys().map(String::as_str).chain(["off"]).collect();
            names.join(", ")
        };
        let period: Interval =
            poll.parse().map_err(|_| ConfigError::Poll { name: poll.to_owned(), known: known() })?;
        span("poll", period, POLL_MS_MIN)?;
        Ok(Some(period.0))
    }
}

fn endpoint(text: &str) -> Result<String, ConfigError> {
    let text = text.trim();
    let wrong = || ConfigError::Endpoint(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without brackets has more than one colon.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        Some(_) if text.starts_with('[') && text.ends_with(']') => (text, "502"),
        Some(_) => return Err(wrong()),
        None => (text, "502"),
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c == '/' || c == '@') {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn range(key: &'static str, got: u16, high: u16) -> Result<(), ConfigError> {
    let (got, high) = (u64::from(got), u64::from(high));
    if (1..=high).contains(&got) { Ok(()) } else { Err(ConfigError::Range { key, got, low: 1, high }) }
}

fn span(key: &'static str, got: Interval, low_ms: u64) -> Result<(), ConfigError> {
    let (low, high) = (Duration::from_millis(low_ms), Duration::from_millis(SPAN_MS_MAX));
    if (low..=high).contains(&got.0) { Ok(()) } else { Err(ConfigError::Span { key, got: got.0, low, high }) }
}

fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn one() -> u8 {
    1
}
fn yes() -> bool {
    true
}
fn poll_default() -> String {
    "1s".to_owned()
}
fn probe() -> String {
    "hr:0".to_owned()
}
fn seconds<const N: u64>() -> Interval {
    Interval(Duration::from_secs(N))
}
fn millis<const N: u64>() -> Interval {
    Interval(Duration::from_millis(N))
}
fn read_registers() -> u16 {
    READ_REGISTERS_MAX
}
fn read_bits() -> u16 {
    READ_BITS_MAX
}
fn write_registers() -> u16 {
    WRITE_REGISTERS_MAX
}
fn write_bits() -> u16 {
    WRITE_BITS_MAX
}
fn gap() -> u16 {
    8
}
fn gap_bits() -> u16 {
    64
}

// "MODBUS Application Protocol Specification V1.1b3": 6.1 and 6.2 (0x7D0), 6.3 and 6.4 (0x7D), 6.11 (0x7B0),
// 6.12 (0x7B), 6.17 (0x79 written).
/// Most coils or discrete inputs in one read.
pub(crate) const READ_BITS_MAX: u16 = 2000;
/// Most registers in one read.
pub(crate) const READ_REGISTERS_MAX: u16 = 125;
/// Most coils in one write.
pub(crate) const WRITE_BITS_MAX: u16 = 1968;
/// Most registers in one write.
pub(crate) const WRITE_REGISTERS_MAX: u16 = 123;
/// Most registers written by function code 23.
pub(crate) const EXCHANGE_REGISTERS_MAX: u16 = 121;

// "MODBUS Messaging on TCP/IP Implementation Guide V1.0b", 4.4.1.2, lets a server take 1 to 16 transactions.
/// Most reads under way together.
const PIPELINE_MAX: u16 = 16;
/// A timer of the runtime is not finer.
const POLL_MS_MIN: u64 = 1;
/// 24 hours.
const SPAN_MS_MAX: u64 = 86_400_000;
/// 100 years.
const INTERVAL_MS_MAX: u64 = 36_500 * 86_400_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(json: serde_json::Value) -> Result<Settings, String> {
        let config: Config = serde_json::from_value(json).map_err(|error| error.to_string())?;
        Settings::new(config).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_enough() {
        let settings = check(json!({"address": "10.0.2.10"})).unwrap();
        assert_eq!(settings.endpoint, "10.0.2.10:502");
        assert_eq!(settings.period(""), Ok(Some(Duration::from_secs(1))));
        assert_eq!(check(json!({"address": "[::1]:1502"})).unwrap().endpoint, "[::1]:1502");
        assert_eq!(check(json!({"address": "[::1]"})).unwrap().endpoint, "[::1]:502");
    }

    #[test]
    fn a_poll_column_is_a_class_a_duration_or_off() {
        let settings =
            check(json!({"address": "plc", "poll": "fast", "poll_classes": {"fast": "100ms", "slow": "1m"}}))
                .unwrap();
        assert_eq!(settings.period(""), Ok(Some(Duration::from_millis(100))));
        assert_eq!(settings.period("slow"), Ok(Some(Duration::from_secs(60))));
        assert_eq!(settings.period("2s"), Ok(Some(Duration::from_secs(2))));
        assert_eq!(settings.period("off"), Ok(None));
        let message = settings.period("quick").unwrap_err().to_string();
        assert!(message.contains("poll classes are: fast, slow, off"), "{message}");
    }

    #[test]
    fn a_wrong_setting_says_what_to_write() {
        let cases = [
            (json!({}), "missing field `address`"),
            (json!({"address": "plc", "adress": 1}), "unknown field `adress`, expected one of `address`"),
            (json!({"address": ""}), "not a host and port"),
            (json!({"address": "plc:0"}), "not a host and port"),
            (json!({"address": "::1"}), "not a host and port"),
            (json!({"address": "http://plc"}), "not a host and port"),
            (json!({"address": "plc", "unit": 256}), "256"),
            (json!({"address": "plc", "poll": 1000}), "invalid type"),
            (json!({"address": "plc", "poll": "1000"}), "neither a duration"),
            (json!({"address": "plc", "poll": "0s"}), "`poll`"),
            (json!({"address": "plc", "timeout": "1"}), "not a duration"),
            (json!({"address": "plc", "timeout": "0ms"}), "`timeout`"),
            (json!({"address": "plc", "pipeline": 0}), "1 to 16"),
            (json!({"address": "plc", "pipeline": 17}), "1 to 16"),
            (json!({"address": "plc", "max_registers": 126}), "1 to 125"),
            (json!({"address": "plc", "max_bits": 0}), "1 to 2000"),
            (json!({"address": "plc", "max_write_registers": 124}), "1 to 123"),
            (json!({"address": "plc", "max_write_bits": 1969}), "1 to 1968"),
            (json!({"address": "plc", "backoff_min": "2s", "backoff_max": "1s"}), "`backoff_max`"),
            (json!({"address": "plc", "mask_write": "rmw"}), "read_modify_write"),
            (json!({"address": "plc", "order": "abc"}), "ABCD"),
            (json!({"address": "plc", "standby_probe_register": "100"}), "standby_probe_register"),
        ];
        for (json, part) in cases {
            let message = check(json.clone()).expect_err(part);
            assert!(message.contains(part), "{json}: {message}");
        }
    }

    proptest! {
        #[test]
        fn durations_are_read_as_written(number in 0u64..10_000) {
            for (unit, ms) in [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)] {
                prop_assert_eq!(
                    format!("{number}{unit}").parse(),
                    Ok(Interval(Duration::from_millis(number * ms)))
                );
            }
        }

        #[test]
        fn any_text_is_a_duration_or_refused(text in ".{0,30}") {
            let parsed: Result<Interval, ConfigError> = text.parse();
            prop_assert!(parsed.is_err() || text.trim().starts_with(|c: char| c.is_ascii_digit()));
        }
    }
}
