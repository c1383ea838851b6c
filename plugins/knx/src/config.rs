//! Settings of one KNX interface.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use twinhub_knx_protocol::{GroupAddress, GroupStyle, IndividualAddress};

/// Settings as they are written in `twinhub.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How the bus is reached. Default `tunnel`.
    #[serde(default)]
    pub mode: Mode,
    /// Gateway of a tunnel, `host:port`; without a port 3671.
    #[serde(default)]
    pub gateway: Option<String>,
    /// Further gateways, asked in this order when those before give no tunnel. Default none.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// What carries a tunnel. Default `udp`.
    #[serde(default)]
    pub transport: Transport,
    /// Whether the gateway is behind a translation of addresses: it answers to where a frame came from. Default false.
    #[serde(default)]
    pub nat: bool,
    /// Individual address of this node on the bus, such as `1.1.251`; each node needs one of its own. Routing sends with
    /// it and cannot do without. A tunnel asks the gateway for it; without it the gateway chooses.
    #[serde(default)]
    pub local_address: Option<String>,
    /// Whether a tunnel with another address than `local_address` is of no use. Default false: a gateway that does not
    /// know the request is asked again without it.
    #[serde(default)]
    pub require_address: bool,
    /// IPv4 address of the network device to use. Default: as the system routes.
    #[serde(default)]
    pub interface: Option<Ipv4Addr>,
    /// Multicast group of routing, `address:port`. Default `224.0.23.12:3671`.
    #[serde(default = "multicast_default")]
    pub multicast: String,
    /// Whether a node that begins to act first closes the tunnel of the node that acted before, for gateways without a
    /// free slot. The gateway is told the channel that the other node left in the store. Default false.
    #[serde(default)]
    pub reclaim_slot: bool,
    /// Most telegrams sent in a second, 1 to 1000; routing never sends more than 50. Default 40.
    #[serde(default = "rate_default")]
    pub rate: u32,
    /// Most reads sent in a second, 1 to 100; they count for `rate` too. Default 10.
    #[serde(default = "read_rate_default")]
    pub read_rate: u32,
    /// Most telegrams that wait to be sent, 1 to 100000. Default 500, which take twelve seconds with the default `rate`.
    #[serde(default = "queue_default")]
    pub queue: usize,
    /// How long a write may wait for a connection. Default `5s`.
    #[serde(default = "seconds::<5>")]
    pub write_wait: Interval,
    /// Longest wait for the answer to a read. Default `3s`.
    #[serde(default = "seconds::<3>")]
    pub read_timeout: Interval,
    /// Longest wait for the confirmation of a telegram from the bus. Default `3s`.
    #[serde(default = "seconds::<3>")]
    pub confirmation_timeout: Interval,
    /// Longest wait for a tunnel. Default `3s`.
    #[serde(default = "seconds::<3>")]
    pub connect_timeout: Interval,
    /// How often the gateway is asked whether the tunnel is there. Default `10s`.
    #[serde(default = "seconds::<10>")]
    pub heartbeat: Interval,
    /// Longest wait for the answer to that; over UDP three in a row may be missed. Default `2s`.
    #[serde(default = "seconds::<2>")]
    pub heartbeat_timeout: Interval,
    /// How long sent bytes may stay unacknowledged by the gateway's host before a TCP connection is given up; then the
    /// kernel delivers nothing later, also if this process has died. Default `250ms`.
    #[serde(default = "millis::<250>")]
    pub send_timeout: Interval,
    /// First pause after all gateways failed; doubles, with jitter. Default `200ms`.
    #[serde(default = "millis::<200>")]
    pub backoff_min: Interval,
    /// Longest pause after failures. Default `5s`.
    #[serde(default = "seconds::<5>")]
    pub backoff_max: Interval,
    /// Group addresses that concern this interface, single ones and ranges such as `1/0/0-5/7/255`; telegrams to others
    /// are not looked at, and items cannot have them. Default: all.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How group addresses are shown. Default `three`.
    #[serde(default)]
    pub group_style: Style,
}

/// How the bus is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A tunnel of a gateway: each telegram is confirmed from the bus.
    #[default]
    Tunnel,
    /// Multicast to routers: nothing is confirmed.
    Routing,
}

/// What carries a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP, which every gateway has.
    #[default]
    Udp,
    /// TCP, for gateways with tunnelling of version 2.
    Tcp,
}

/// How a project writes its group addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// `main/middle/sub`.
    #[default]
    Three,
    /// `main/sub`.
    Two,
    /// One number.
    Free,
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
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write for example \"100ms\", \"1s\" or \"5m\"")]
    Duration(String),
    /// A tunnel without a gateway.
    #[error("`gateway` is missing; write for example gateway = \"10.0.1.5:3671\", or mode = \"routing\"")]
    NoGateway,
    /// A setting that the other mode has.
    #[error("`{key}` means nothing with mode = \"{mode}\"; leave it out")]
    OtherMode {
        /// Setting.
        key: &'static str,
        /// The mode.
        mode: &'static str,
    },
    /// Not a host and port.
    #[error("`{key}`: `{text}` is not a host and port; write for example \"10.0.1.5:3671\"")]
    Endpoint {
        /// Setting.
        key: &'static str,
        /// Written.
        text: String,
    },
    /// Not a multicast group.
    #[error("`multicast`: `{0}` is not a multicast group and port; write for example \"224.0.23.12:3671\"")]
    Multicast(String),
    /// Routing without an address.
    #[error(
        "`local_address` is missing; routing sends with it: write a free individual address such as \"1.1.251\", \
         another one for each node"
    )]
    NoAddress,
    /// Not an address.
    #[error("`{key}`: {source}")]
    Address {
        /// Setting.
        key: &'static str,
        /// What is wrong with it.
        source: twinhub_knx_protocol::Error,
    },
    /// A range that ends before it begins.
    #[error(
        "`groups`: `{0}` ends before it begins; write the smaller address first, such as \"1/0/0-5/7/255\""
    )]
    Backwards(String),
    /// A number beyond what makes sense.
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
}

/// Settings after checking.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What was written.
    pub config: Config,
    /// Gateways in their order, `host:port`; none with routing.
    pub gateways: Vec<String>,
    /// Where routing sends to.
    pub multicast: SocketAddrV4,
    /// The address of this node, if it is given.
    pub address: Option<IndividualAddress>,
    /// First and last address of each range; empty for all.
    pub groups: Vec<(GroupAddress, GroupAddress)>,
}

impl Settings {
    /// Checks everything.
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        let gateways = gateways(&config)?;
        let multicast = config.multicast.trim().parse::<SocketAddrV4>().ok();
        let multicast = multicast
            .filter(|group| group.ip().is_multicast() && group.port() != 0)
            .ok_or_else(|| ConfigError::Multicast(config.multicast.clone()))?;
        let address = match &config.local_address {
            Some(text) => Some(address("local_address", text)?),
            None if config.mode == Mode::Routing => return Err(ConfigError::NoAddress),
            None => None,
        };
        if config.require_address && address.is_none() {
            return Err(ConfigError::NoAddress);
        }
        let groups = config.groups.iter().map(|text| group_range(text)).collect::<Result<_, _>>()?;
        range("rate", config.rate.into(), 1, RATE_MAX)?;
        range("read_rate", config.read_rate.into(), 1, READ_RATE_MAX)?;
        range("queue", config.queue as u64, 1, QUEUE_MAX)?;
        for (key, interval, low_ms) in [
            ("write_wait", config.write_wait, 0),
            ("read_timeout", config.read_timeout, 100),
            ("confirmation_timeout", config.confirmation_timeout, 100),
            ("connect_timeout", config.connect_timeout, 100),
            ("heartbeat", config.heartbeat, 1_000),
            ("heartbeat_timeout", config.heartbeat_timeout, 100),
            ("send_timeout", config.send_timeout, 10),
            ("backoff_min", config.backoff_min, 1),
            ("backoff_max", config.backoff_max, millis_of(config.backoff_min.0)),
        ] {
            span(key, interval, low_ms)?;
        }
        Ok(Self { config, gateways, multicast, address, groups })
    }

    /// Whether telegrams to a group concern this interface.
    pub(crate) fn takes(&self, group: GroupAddress) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|(first, last)| (*first..=*last).contains(&group))
    }

    /// A group address as the site writes it.
    pub(crate) fn show(&self, group: GroupAddress) -> String {
        let style = match self.config.group_style {
            Style::Three => GroupStyle::ThreeLevel,
            Style::Two => GroupStyle::TwoLevel,
            Style::Free => GroupStyle::Free,
        };
        group.display(style).to_string()
    }

    /// What telegrams go through, for texts.
    pub(crate) fn way(&self, gateway: usize) -> String {
        match self.config.mode {
            Mode::Tunnel => self.gateways.get(gateway).cloned().unwrap_or_default(),
            Mode::Routing => self.multicast.to_string(),
        }
    }
}

fn gateways(config: &Config) -> Result<Vec<String>, ConfigError> {
    if config.mode == Mode::Routing {
        let unused = [
            ("gateway", config.gateway.is_some()),
            ("fallback", !config.fallback.is_empty()),
            ("nat", config.nat),
            ("require_address", config.require_address),
            ("reclaim_slot", config.reclaim_slot),
        ];
        return match unused.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(ConfigError::OtherMode { key, mode: "routing" }),
            None => Ok(Vec::new()),
        };
    }
    let first = config.gateway.as_deref().ok_or(ConfigError::NoGateway)?;
    let mut gateways = vec![endpoint("gateway", first)?];
    for text in &config.fallback {
        gateways.push(endpoint("fallback", text)?);
    }
    Ok(gateways)
}

fn endpoint(key: &'static str, text: &str) -> Result<String, ConfigError> {
    let text = text.trim();
    let wrong = || ConfigError::Endpoint { key, text: text.to_owned() };
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "3671"));
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    // KNXnet/IP knows IPv4 only, so a colon in the host is a mistake.
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || matches!(c, '/' | '@' | ':' | '[' | ']'))
    {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn address(key: &'static str, text: &str) -> Result<IndividualAddress, ConfigError> {
    text.parse().map_err(|source| ConfigError::Address { key, source })
}

fn group_range(text: &str) -> Result<(GroupAddress, GroupAddress), ConfigError> {
    let group = |text: &str| text.parse().map_err(|source| ConfigError::Address { key: "groups", source });
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (GroupAddress, GroupAddress) = (group(first)?, group(last)?);
    if first > last {
        return Err(ConfigError::Backwards(text.to_owned()));
    }
    Ok((first, last))
}

fn range(key: &'static str, got: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&got) { Ok(()) } else { Err(ConfigError::Range { key, got, low, high }) }
}

fn span(key: &'static str, got: Interval, low_ms: u64) -> Result<(), ConfigError> {
    let (low, high) = (Duration::from_millis(low_ms), Duration::from_millis(SPAN_MS_MAX));
    if (low..=high).contains(&got.0) { Ok(()) } else { Err(ConfigError::Span { key, got: got.0, low, high }) }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
fn multicast_default() -> String {
    "224.0.23.12:3671".to_owned()
}
fn rate_default() -> u32 {
    40
}
fn read_rate_default() -> u32 {
    10
}
fn queue_default() -> usize {
    500
}
fn seconds<const N: u64>() -> Interval {
    Interval(Duration::from_secs(N))
}
fn millis<const N: u64>() -> Interval {
    Interval(Duration::from_millis(N))
}

const RATE_MAX: u64 = 1_000;
const READ_RATE_MAX: u64 = 100;
const QUEUE_MAX: u64 = 100_000;
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
    fn a_gateway_is_enough_for_a_tunnel_and_an_address_for_routing() {
        let settings = check(json!({"gateway": "10.0.1.5", "fallback": ["knx2:3672"]})).unwrap();
        assert_eq!(settings.gateways, ["10.0.1.5:3671", "knx2:3672"]);
        assert!(settings.takes(GroupAddress(0xffff)));
        let settings = check(json!({"mode": "routing", "local_address": "1.1.251"})).unwrap();
        assert_eq!(settings.multicast.to_string(), "224.0.23.12:3671");
        assert_eq!(settings.address, Some(IndividualAddress(0x11fb)));
    }

    #[test]
    fn ranges_of_groups_include_their_ends() {
        let settings =
            check(json!({"gateway": "a", "groups": ["1/0/0-1/7/255", "9/0/1"], "group_style": "two"}))
                .unwrap();
        let takes = |text: &str| settings.takes(text.parse().unwrap());
        assert!(takes("1/0/0") && takes("1/7/255") && takes("9/0/1"));
        assert!(!takes("0/7/255") && !takes("2/0/0") && !takes("9/0/2"));
        assert_eq!(settings.show("1/2/3".parse().unwrap()), "1/515");
    }

    #[test]
    fn a_wrong_setting_says_what_to_write() {
        let cases = [
            (json!({}), "`gateway` is missing"),
            (json!({"gatewy": "a"}), "unknown field `gatewy`, expected one of"),
            (json!({"gateway": ""}), "not a host and port"),
            (json!({"gateway": "a:0"}), "not a host and port"),
            (json!({"gateway": "::1"}), "not a host and port"),
            (json!({"gateway": "knx://a"}), "not a host and port"),
            (json!({"gateway": "a", "fallback": ["b:x"]}), "`fallback`: `b:x`"),
            (json!({"gateway": "a", "local_address": "1.1"}), "it has 2 parts"),
            (json!({"gateway": "a", "require_address": true}), "`local_address` is missing"),
            (json!({"gateway": "a", "rate": 0}), "1 to 1000"),
            (json!({"gateway": "a", "read_rate": 101}), "1 to 100"),
            (json!({"gateway": "a", "queue": 0}), "1 to 100000"),
            (json!({"gateway": "a", "heartbeat": "10"}), "not a duration"),
            (json!({"gateway": "a", "heartbeat": "1ms"}), "`heartbeat`"),
            (json!({"gateway": "a", "backoff_min": "9s", "backoff_max": "1s"}), "`backoff_max`"),
            (json!({"gateway": "a", "groups": ["2/0/0-1/0/0"]}), "ends before it begins"),
            (json!({"gateway": "a", "groups": ["1/8/0"]}), "the middle group is 8"),
            (json!({"gateway": "a", "mode": "router"}), "expected `tunnel` or `routing`"),
            (json!({"mode": "routing"}), "`local_address` is missing"),
            (json!({"mode": "routing", "local_address": "1.1.2", "gateway": "a"}), "`gateway` means nothing"),
            (json!({"mode": "routing", "local_address": "1.1.2", "multicast": "10.0.0.1:1"}), "`multicast`"),
        ];
        for (json, part) in cases {
            let message = check(json.clone()).expect_err(part);
            assert!(message.contains(part), "{json}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_setting_or_refused(text in ".{0,30}") {
            drop(text.parse::<Interval>());
            drop(check(json!({"gateway": text, "groups": [text]})));
            drop(check(json!({"mode": "routing", "local_address": text, "multicast": text})));
        }
    }
}
