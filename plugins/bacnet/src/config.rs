//! Settings of one BACnet interface.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use twinhub_bacnet_protocol::bvlc::PORT;
use twinhub_bacnet_protocol::engine::{Peer, PeerLimits};
use twinhub_bacnet_protocol::names::Segmentation;
use twinhub_bacnet_protocol::npdu::{Mac, NetworkAddress};
use twinhub_bacnet_protocol::value::INSTANCE_MAX;

/// Settings as they are written in `twinhub.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Own address and port, IPv4. A socket of one address hears no broadcasts. Default `0.0.0.0:47808`.
    #[serde(default = "bind")]
    pub bind: String,
    /// Where broadcasts go. Default `255.255.255.255:47808`.
    #[serde(default = "broadcast")]
    pub broadcast: String,
    /// BBMD at which this node registers as a foreign device; broadcasts then go through it.
    #[serde(default)]
    pub bbmd: Option<String>,
    /// For how long it registers. Default `300s`.
    #[serde(default = "seconds::<300>")]
    pub bbmd_ttl: Interval,
    /// What is known of devices, by their instance; others are looked for by Who-Is.
    #[serde(default)]
    pub devices: BTreeMap<String, DeviceConfig>,
    /// How values come of items whose row says nothing. Default `cov`.
    #[serde(default)]
    pub mode: Mode,
    /// How often items are read whose row says nothing: a duration or the name of a poll class. Items with `cov` are read
    /// so often where the device takes no subscription. Default `10s`.
    #[serde(default = "poll")]
    pub poll: String,
    /// Named poll classes: name = duration.
    #[serde(default)]
    pub poll_classes: BTreeMap<String, Interval>,
    /// Priority of writes to commandable properties whose row says nothing, 1 to 16. Default: none is sent, which devices
    /// take for 16.
    #[serde(default)]
    pub priority: Option<u8>,
    /// For how long is subscribed to changes; renewed at half of it. Default `300s`.
    #[serde(default = "seconds::<300>")]
    pub cov_lifetime: Interval,
    /// Whether devices are to have their notifications confirmed. Default false.
    #[serde(default)]
    pub cov_confirmed: bool,
    /// Longest wait for an answer, before the request is repeated. Default `3s`.
    #[serde(default = "seconds::<3>")]
    pub timeout: Interval,
    /// Longest wait for an acknowledgment of segments. Default `2s`.
    #[serde(default = "seconds::<2>")]
    pub segment_timeout: Interval,
    /// How often a request is repeated. Default 3.
    #[serde(default = "retries")]
    pub retries: u8,
    /// Requests that are open at one device at a time, 1 to 64. Default 4.
    #[serde(default = "parallel")]
    pub parallel: u8,
    /// Whether `Status_Flags` are read together with a polled `Present_Value`. Default true.
    #[serde(default = "yes")]
    pub status_flags: bool,
    /// How often a silent device is asked again. Default `10s`.
    #[serde(default = "seconds::<10>")]
    pub retry_silent: Interval,
    /// How often a warm standby reads `System_Status` of a device to check the way to it; `0s`: never. Default `60s`.
    #[serde(default = "seconds::<60>")]
    pub standby_probe: Interval,
}

/// What is known of a device.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Its address, or that of its router: `host:port` with an IPv4 address; without a port 47808. Without it the device is
    /// looked for by Who-Is.
    #[serde(default)]
    pub address: Option<String>,
    /// Number of its network, if it is behind the router at `address`.
    #[serde(default)]
    pub network: Option<u16>,
    /// Its address in that network, hexadecimal.
    #[serde(default)]
    pub mac: Option<String>,
    /// Longest APDU that is sent to it. Default: what the device says.
    #[serde(default)]
    pub max_apdu: Option<u16>,
    /// What it can do with segments. Default: what the device says.
    #[serde(default)]
    pub segmentation: Option<SegmentationConfig>,
    /// Requests that are open at it at a time, 1 to 64. Default: the setting `parallel`.
    #[serde(default)]
    pub parallel: Option<u8>,
}

/// How values come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The device notifies changes; read where it does not.
    #[default]
    Cov,
    /// Read in intervals.
    Poll,
}

/// What a device can do with segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentationConfig {
    /// Send and take them.
    Both,
    /// Send them.
    Transmit,
    /// Take them.
    Receive,
    /// Neither.
    None,
}

/// A duration, written as text: `"100ms"`, `"1s"`, `"5m"`, `"1h"`.
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
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(factor_ms).filter(|ms| *ms <= SPAN_MS_MAX).ok_or_else(wrong)?;
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
            "pattern": "^\\s*[0-9]+\\s*(ms|s|m|h)\\s*$",
            "description": "A duration: \"100ms\", \"1s\", \"5m\", \"1h\"; a day at most.",
        })
    }
}

/// Why the settings were refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a duration.
    #[error("`{0}` is not a duration of a day at most; write for example \"100ms\", \"1s\" or \"5m\"")]
    Duration(String),
    /// Not an address.
    #[error("`{key}`: `{got}` is not an IPv4 address with a port; write for example \"10.0.2.10:47808\"")]
    Address {
        /// Setting.
        key: String,
        /// Written.
        got: String,
    },
    /// A number beyond its limits.
    #[error("`{key}` is {got}; write a number from {low} to {high}")]
    Range {
        /// Setting.
        key: String,
        /// Written.
        got: u64,
        /// Lowest.
        low: u64,
        /// Highest.
        high: u64,
    },
    /// Not the instance of a device.
    #[error("`devices`: `{0}` is not the instance of a device; write a number from 0 to 4194302")]
    Instance(String),
    /// Half an address behind a router.
    #[error(
        "`devices.{0}`: `network` and `mac` belong together, and to `address`; write all three or none of the two"
    )]
    Remote(u32),
    /// Not an address of a network.
    #[error("`devices.{instance}.mac`: `{got}` is not 1 to 18 bytes; write for example \"0a\"")]
    Mac {
        /// Device.
        instance: u32,
        /// Written.
        got: String,
    },
    /// Neither a duration nor a poll class.
    #[error("`{name}` is neither a duration such as \"1s\" nor a poll class; poll classes are: {known}")]
    Poll {
        /// Written.
        name: String,
        /// What exists.
        known: String,
    },
}

/// A device after checking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownDevice {
    /// Where it is.
    pub(crate) peer: Option<Peer>,
    /// Longest APDU.
    pub(crate) max_apdu: Option<u16>,
    /// What it can do with segments.
    pub(crate) segmentation: Option<Segmentation>,
    /// Requests open at a time.
    pub(crate) parallel: Option<usize>,
}

impl KnownDevice {
    /// What is written counts, else what the device says.
    pub(crate) fn limits(&self, said: PeerLimits) -> PeerLimits {
        PeerLimits {
            max_apdu: self.max_apdu.unwrap_or(said.max_apdu),
            segmentation: self.segmentation.unwrap_or(said.segmentation),
            ..said
        }
    }
}

/// Settings after checking.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What was written.
    pub(crate) config: Config,
    pub(crate) bind: SocketAddrV4,
    pub(crate) broadcast: SocketAddrV4,
    pub(crate) bbmd: Option<SocketAddrV4>,
    pub(crate) devices: BTreeMap<u32, KnownDevice>,
}

impl Settings {
    /// Checks every limit.
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        let bind = address("bind", &config.bind, true)?;
        let broadcast = address("broadcast", &config.broadcast, false)?;
        let bbmd = config.bbmd.as_deref().map(|text| address("bbmd", text, false)).transpose()?;
        range("bbmd_ttl", config.bbmd_ttl.0.as_secs(), 10, 65_535)?;
        range("cov_lifetime", config.cov_lifetime.0.as_secs(), 30, 86_400)?;
        range("parallel", config.parallel.into(), 1, PARALLEL_MAX)?;
        range("retries", config.retries.into(), 0, 10)?;
        range_ms("timeout", config.timeout, 10)?;
        range_ms("segment_timeout", config.segment_timeout, 10)?;
        range_ms("retry_silent", config.retry_silent, 100)?;
        if !config.standby_probe.0.is_zero() {
            range_ms("standby_probe", config.standby_probe, 1_000)?;
        }
        if let Some(priority) = config.priority {
            range("priority", priority.into(), 1, 16)?;
        }
        for (name, period) in &config.poll_classes {
            range_ms(&format!("poll_classes.{name}"), *period, POLL_MS_MIN)?;
        }
        let devices = config.devices.iter().map(|(name, device)| known(name, device));
        let devices = devices.collect::<Result<_, _>>()?;
        let settings = Self { config, bind, broadcast, bbmd, devices };
        settings.period("")?;
        Ok(settings)
    }

    /// The poll period that the `poll` column of an item row names.
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
        range_ms("poll", period, POLL_MS_MIN)?;
        Ok(Some(period.0))
    }
}

fn known(name: &str, device: &DeviceConfig) -> Result<(u32, KnownDevice), ConfigError> {
    let instance = name.parse().ok().filter(|instance| *instance < INSTANCE_MAX);
    let instance: u32 = instance.ok_or_else(|| ConfigError::Instance(name.to_owned()))?;
    let key = |field: &str| format!("devices.{instance}.{field}");
    let link = match &device.address {
        Some(text) => Some(address(&key("address"), text, false)?),
        None => None,
    };
    let peer = match (link, device.network, &device.mac) {
        (link, None, None) => link.map(Peer::local),
        (Some(link), Some(network), Some(text)) => {
            range(&key("network"), network.into(), 1, 65_534)?;
            let mac = mac(text).ok_or_else(|| ConfigError::Mac { instance, got: text.clone() })?;
            Some(Peer { link, remote: Some(NetworkAddress { network, mac }) })
        }
        _ => return Err(ConfigError::Remote(instance)),
    };
    if let Some(max_apdu) = device.max_apdu {
        range(&key("max_apdu"), max_apdu.into(), 50, 1476)?;
    }
    if let Some(parallel) = device.parallel {
        range(&key("parallel"), parallel.into(), 1, PARALLEL_MAX)?;
    }
    let segmentation = device.segmentation.map(|segmentation| match segmentation {
        SegmentationConfig::Both => Segmentation::BOTH,
        SegmentationConfig::Transmit => Segmentation::TRANSMIT,
        SegmentationConfig::Receive => Segmentation::RECEIVE,
        SegmentationConfig::None => Segmentation::NONE,
    });
    let parallel = device.parallel.map(usize::from);
    Ok((instance, KnownDevice { peer, max_apdu: device.max_apdu, segmentation, parallel }))
}

fn mac(text: &str) -> Option<Mac> {
    let digits = text.trim().as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Mac::new(&bytes)
}

fn address(key: &str, text: &str, may_be_free: bool) -> Result<SocketAddrV4, ConfigError> {
    let text = text.trim();
    let parsed = match text.parse() {
        Ok(address) => Some(address),
        Err(_) => text.parse::<Ipv4Addr>().ok().map(|ip| SocketAddrV4::new(ip, PORT)),
    };
    let address = parsed.filter(|address| may_be_free || address.port() != 0);
    address.ok_or_else(|| ConfigError::Address { key: key.to_owned(), got: text.to_owned() })
}

fn range(key: &str, got: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&got) {
        Ok(())
    } else {
        Err(ConfigError::Range { key: key.to_owned(), got, low, high })
    }
}

fn range_ms(key: &str, got: Interval, low: u64) -> Result<(), ConfigError> {
    let got = u64::try_from(got.0.as_millis()).unwrap_or(u64::MAX);
    range(&format!("{key} in ms"), got, low, SPAN_MS_MAX)
}

fn bind() -> String {
    format!("0.0.0.0:{PORT}")
}
fn broadcast() -> String {
    format!("255.255.255.255:{PORT}")
}
fn poll() -> String {
    "10s".to_owned()
}
fn retries() -> u8 {
    3
}
fn parallel() -> u8 {
    4
}
fn yes() -> bool {
    true
}
fn seconds<const N: u64>() -> Interval {
    Interval(Duration::from_secs(N))
}

const PARALLEL_MAX: u64 = 64;
/// Devices have other clients, too.
const POLL_MS_MIN: u64 = 50;
/// 24 hours.
const SPAN_MS_MAX: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(json: serde_json::Value) -> Result<Settings, String> {
        let config = serde_json::from_value(json).map_err(|error| error.to_string())?;
        Settings::new(config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_are_no_settings() {
        let settings = check(json!({})).unwrap();
        assert_eq!(settings.bind.port(), 47_808);
        assert_eq!(settings.period(""), Ok(Some(Duration::from_secs(10))));
        assert_eq!(settings.period("off"), Ok(None));
    }

    #[test]
    fn devices_are_local_or_behind_a_router() {
        let settings = check(json!({"devices": {
            "7": {"address": "10.0.0.7"},
            "8": {"address": "10.0.0.1:47809", "network": 20, "mac": "0a", "segmentation": "none"},
            "9": {"parallel": 1},
        }}))
        .unwrap();
        assert_eq!(settings.devices[&7].peer.unwrap().to_string(), "10.0.0.7:47808");
        assert_eq!(settings.devices[&8].peer.unwrap().to_string(), "20:0a by 10.0.0.1:47809");
        assert_eq!(settings.devices[&8].limits(PeerLimits::UNKNOWN).segmentation, Segmentation::NONE);
        assert_eq!((settings.devices[&9].peer, settings.devices[&9].parallel), (None, Some(1)));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (json, words) in [
            (json!({"bind": "house"}), "`bind`"),
            (json!({"bbmd": "10.0.0.1:0"}), "`bbmd`"),
            (json!({"priority": 17}), "`priority`"),
            (json!({"poll": "often"}), "poll classes are: off"),
            (json!({"poll": "1ms"}), "poll in ms"),
            (json!({"cov_lifetime": "5s"}), "`cov_lifetime`"),
            (json!({"devices": {"hall": {}}}), "`hall`"),
            (json!({"devices": {"4194303": {}}}), "4194302"),
            (json!({"devices": {"7": {"network": 5}}}), "belong together"),
            (json!({"devices": {"7": {"address": "10.0.0.7", "network": 5, "mac": "xyz"}}}), "18 bytes"),
            (json!({"devices": {"7": {"max_apdu": 20}}}), "devices.7.max_apdu"),
            (json!({"colour": "red"}), "colour"),
        ] {
            let error = check(json.clone()).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
