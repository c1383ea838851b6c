//! The `settings` of an MQTT interface, parsed once into values that cannot be wrong.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::placement::Placement;
use crate::span::{self, Span};
use crate::topic::{self, Placeholders};

/// Settings of one MQTT interface as the site writes them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own that the site writes")]
pub struct Config {
    /// Broker, `mqtt://host[:1883]` or `mqtts://host[:8883]`.
    pub broker: String,
    /// Protocol version. Default `"3.1.1"`.
    #[serde(default)]
    pub version: Version,
    /// Client id; `{node}` keeps the two nodes apart. Default `"twinhub-{interface}-{node}"`.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// User name, when the broker wants one.
    #[serde(default)]
    pub user: Option<String>,
    /// Password; write it as `{ file = "…" }` or `{ env = "…" }`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// PEM file of the authority that signed the broker's certificate. Default: the system's bundle.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate chain.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Name expected in the broker's certificate. Default: the host of `broker`.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Topic of items whose `address` cell is empty. Default `"{site}/{interface}/{path}"`.
    #[serde(default = "default_topic")]
    pub topic: String,
    /// `QoS` of items without a `qos` cell. Default 1.
    #[serde(default = "default_qos")]
    pub qos: u8,
    /// Whether items without a `retain` cell are published retained. Default false.
    #[serde(default)]
    pub retain: bool,
    /// Whether the broker keeps the session, and queues for it, while the node is away. Default true.
    #[serde(default = "default_true")]
    pub persistent: bool,
    /// Whether all nodes have one client id and thereby one session: only the active node connects, and the broker gives
    /// its successor what it had not acknowledged. Default false: each node has a session of its own.
    #[serde(default)]
    pub shared_session: bool,
    /// How long a v5 broker keeps the session. Default `"1h"`.
    #[serde(default = "default_session_expiry")]
    pub session_expiry: Span,
    /// When a received message is acknowledged. Default: `manual` with a persistent session, else `auto`.
    #[serde(default)]
    pub ack: Option<Ack>,
    /// Whether a standby also receives what the active node publishes, as read-back image. Default true.
    #[serde(default = "default_true")]
    pub mirror: bool,
    /// Retained `online`/`offline` of this node; empty for none. Default `"twinhub/{site}/{interface}/{node}"`.
    #[serde(default = "default_status_topic")]
    pub status_topic: String,
    /// Retained `{"node":…,"epoch":…}` of the active node; empty for none. Default none.
    #[serde(default)]
    pub active_topic: String,
    /// How long a v5 broker waits with `offline` after a lost connection. Default `"0s"`.
    #[serde(default = "default_will_delay")]
    pub will_delay: Span,
    /// Adds `"ts"` (milliseconds since 1970 UTC) to JSON object messages. Default false.
    #[serde(default)]
    pub include_timestamp: bool,
    /// Adds the epoch as user property `twinhub-epoch` to v5 messages. Default false.
    #[serde(default)]
    pub epoch_property: bool,
    /// Longest silence on the connection. Default `"10s"`.
    #[serde(default = "default_keep_alive")]
    pub keep_alive: Span,
    /// Limit for connecting, TLS and CONNACK together. Default `"5s"`.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long sent bytes may stay unacknowledged by the broker's host before the connection is dropped. Default `"2s"`.
    #[serde(default = "default_send_timeout")]
    pub send_timeout: Span,
    /// First pause before a reconnect; doubles, with jitter. Default `"200ms"`.
    #[serde(default = "default_reconnect_min")]
    pub reconnect_min: Span,
    /// Longest pause before a reconnect. Default `"10s"`.
    #[serde(default = "default_reconnect_max")]
    pub reconnect_max: Span,
    /// Largest accepted message in bytes. Default 4 MiB.
    #[serde(default = "default_packet_max")]
    pub packet_size_bytes_max: u32,
    /// Messages waiting to be sent. Default 4096.
    #[serde(default = "default_outbox")]
    pub outbox_messages_max: usize,
    /// Sent messages waiting for the broker's acknowledgement. Default 256.
    #[serde(default = "default_in_flight")]
    pub in_flight_max: u16,
    /// Given by the host: where this instance runs.
    #[serde(default)]
    pub twinhub: Option<Placement>,
}

/// Protocol version spoken to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Version {
    /// MQTT 3.1.1.
    #[default]
    #[serde(rename = "3.1.1")]
    V3,
    /// MQTT 5.0.
    #[serde(rename = "5")]
    V5,
}

/// When a received `QoS` 1 or 2 message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// As soon as it is received.
    Auto,
    /// When the hub has accepted its values.
    Manual,
}

/// Text that never appears in a log.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a duration.
    #[error(transparent)]
    Duration(#[from] span::Error),
    /// Not a broker address.
    #[error("broker `{text}`: {problem}; help: write \"mqtt://host:1883\" or \"mqtts://host:8883\"")]
    Broker {
        /// What was written.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A number or duration outside its limits.
    #[error("{key} = {value} is outside {min} to {max}; help: {help}")]
    Limit {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// Lowest accepted value.
        min: &'static str,
        /// Highest accepted value.
        max: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// Two settings that do not go together.
    #[error("{problem}; help: {help}")]
    Conflict {
        /// What does not fit.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A topic or template.
    #[error("{key}: {source}")]
    Topic {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: topic::Error,
    },
}

/// Settings after validation, with every template of the interface level filled in.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own that the site writes")]
pub struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) persistent: bool,
    pub(crate) session_expiry: Duration,
    pub(crate) ack: Ack,
    /// Whether all nodes have one client id, and thereby one session.
    pub(crate) is_session_shared: bool,
    pub(crate) mirror: bool,
    pub(crate) status_topic: Option<String>,
    pub(crate) active_topic: Option<String>,
    pub(crate) will_delay: Duration,
    pub(crate) include_timestamp: bool,
    pub(crate) epoch_property: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
    pub(crate) packet_size_bytes_max: u32,
    pub(crate) outbox_messages_max: usize,
    pub(crate) in_flight_max: u16,
    pub(crate) placement: Placement,
}

/// Files and name of a TLS connection.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: String,
}

impl Config {
    /// Checks every limit and fills the templates. `instance` stands in where the host gave no placement.
    pub fn validate(self, instance: &str) -> Result<Settings, Error> {
        let mut placement = self.twinhub.clone().unwrap_or_default();
        if placement.interface.is_empty() {
            instance.clone_into(&mut placement.interface);
        }
        let (secure, host, port) = parse_broker(&self.broker)?;
        let tls = self.tls_files(secure, &host)?;
        self.check_limits()?;
        if self.password.is_some() && self.user.is_none() && self.version == Version::V3 {
            return Err(Error::Conflict {
                problem: "password without user, which MQTT 3.1.1 forbids".to_owned(),
                help: "add `user`, or set version = \"5\"",
            });
        }
        let fill = |key, template: &str| {
            topic::expand(template, &Placeholders { placement: &placement, path: None })
                .map_err(|source| Error::Topic { key, source })
        };
        let fill_topic = |key, template: &str| -> Result<Option<String>, Error> {
            if template.is_empty() {
                Ok(None)
            } else {
                let text = fill(key, template)?;
                topic::check_name(&text).map_err(|source| Error::Topic { key, source })?;
                Ok(Some(text))
            }
        };
        let client_id = fill("client_id", &self.client_id)?;
        if client_id.is_empty() || client_id.len() > CLIENT_ID_BYTES_MAX {
            return Err(Error::Limit {
                key: "client_id",
                value: format!("{} bytes", client_id.len()),
                min: "1 byte",
                max: "128 bytes",
                help: "choose a short name and keep {node} in it",
            });
        }
        if self.shared_session && (!self.persistent || self.client_id.contains("{node}")) {
            return Err(Error::Conflict {
                problem: "shared_session with a session that is not one for all nodes".to_owned(),
                help: "write a `client_id` without {node}, and leave `persistent` true",
            });
        }
        let status_topic = fill_topic("status_topic", &self.status_topic)?;
        let active_topic = fill_topic("active_topic", &self.active_topic)?;
        Ok(Settings {
            host,
            port,
            tls,
            version: self.version,
            client_id,
            user: self.user,
            password: self.password,
            topic: self.topic,
            qos: self.qos,
            retain: self.retain,
            persistent: self.persistent,
            is_session_shared: self.shared_session,
            session_expiry: self.session_expiry.0,
            ack: self.ack.unwrap_or(if self.persistent { Ack::Manual } else { Ack::Auto }),
            mirror: self.mirror,
            status_topic,
            active_topic,
            will_delay: self.will_delay.0,
            include_timestamp: self.include_timestamp,
            epoch_property: self.epoch_property,
            keep_alive: self.keep_alive.0,
            connect_timeout: self.connect_timeout.0,
            send_timeout: self.send_timeout.0,
            reconnect_min: self.reconnect_min.0,
            reconnect_max: self.reconnect_max.0,
            packet_size_bytes_max: self.packet_size_bytes_max,
            outbox_messages_max: self.outbox_messages_max,
            in_flight_max: self.in_flight_max,
            placement,
        })
    }

    fn tls_files(&self, secure: bool, host: &str) -> Result<Option<TlsFiles>, Error> {
        let named = self.ca_file.is_some()
            || self.cert_file.is_some()
            || self.key_file.is_some()
            || self.server_name.is_some();
        if !secure {
            return if named {
                Err(Error::Conflict {
                    problem: format!("certificate settings, but `{}` is not encrypted", self.broker),
                    help: "write broker = \"mqtts://…\", or remove ca_file, cert_file, key_file and server_name",
                })
            } else {
                Ok(None)
            };
        }
        let client = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Error::Conflict {
                    problem: "only one of cert_file and key_file is given".to_owned(),
                    help: "a client certificate needs both",
                });
            }
        };
        Ok(Some(TlsFiles {
            ca: self.ca_file.clone(),
            client,
            server_name: self.server_name.clone().unwrap_or_else(|| host.to_owned()),
        }))
    }

    fn check_limits(&self) -> Result<(), Error> {
        if self.qos > 2 {
            return Err(Error::Limit {
                key: "qos",
                value: self.qos.to_string(),
                min: "0",
                max: "2",
                help: "0 = at most once, 1 = at least once, 2 = exactly once",
            });
        }
        span(
            "keep_alive",
            self.keep_alive,
            ("1s", "18h"),
            "brokers close connections that stay silent for 1.5 times this",
        )?;
        span("connect_timeout", self.connect_timeout, ("100ms", "5m"), "5s suits a local broker")?;
        span(
            "send_timeout",
            self.send_timeout,
            ("100ms", "5m"),
            "it bounds how long an old value may stay in the network",
        )?;
        span("reconnect_min", self.reconnect_min, ("10ms", "1h"), "200ms finds a restarted broker quickly")?;
        span(
            "reconnect_max",
            self.reconnect_max,
            ("10ms", "1h"),
            "10s spares a broker that is away for long",
        )?;
        span(
            "session_expiry",
            self.session_expiry,
            ("1s", "365d"),
            "choose the longest outage that must lose nothing",
        )?;
        span("will_delay", self.will_delay, ("0s", "1d"), "0s announces a lost node at once")?;
        if self.reconnect_max < self.reconnect_min {
            return Err(Error::Conflict {
                problem: "reconnect_max is shorter than reconnect_min".to_owned(),
                help: "reconnect_max is the longest pause between two attempts",
            });
        }
        count(
            "packet_size_bytes_max",
            u64::from(self.packet_size_bytes_max),
            (1024, 268_435_455),
            ("1024", "268435455"),
        )?;
        count("outbox_messages_max", self.outbox_messages_max as u64, (1, 1_000_000), ("1", "1000000"))?;
        count("in_flight_max", u64::from(self.in_flight_max), (1, 16_384), ("1", "16384"))
    }
}

fn span(
    key: &'static str,
    value: Span,
    (min, max): (&'static str, &'static str),
    help: &'static str,
) -> Result<(), Error> {
    if value < Span::parse(min)? || value > Span::parse(max)? {
        return Err(Error::Limit { key, value: format!("{:?}", value.0), min, max, help });
    }
    Ok(())
}

fn count(
    key: &'static str,
    value: u64,
    (low, high): (u64, u64),
    (min, max): (&'static str, &'static str),
) -> Result<(), Error> {
    if value < low || value > high {
        return Err(Error::Limit {
            key,
            value: value.to_string(),
            min,
            max,
            help: "leave it out for the default",
        });
    }
    Ok(())
}

fn parse_broker(text: &str) -> Result<(bool, String, u16), Error> {
    let wrong = |problem| Error::Broker { text: text.to_owned(), problem };
    let (secure, rest) = match text.split_once("://") {
        Some(("mqtt" | "tcp", rest)) => (false, rest),
        Some(("mqtts" | "ssl", rest)) => (true, rest),
        Some(("ws" | "wss", _)) => return Err(wrong("WebSocket is not supported")),
        Some(_) => return Err(wrong("the scheme is neither mqtt nor mqtts")),
        None => (false, text),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
        let (host, tail) = inner.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
        (host, tail.strip_prefix(':'))
    } else {
        match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c)) {
        return Err(wrong("the host name is missing or contains characters no host name has"));
    }
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("the port is not 1 to 65535"))?
        }
        None if secure => 8883,
        None => 1883,
    };
    Ok((secure, host.to_owned(), port))
}

fn default_client_id() -> String {
    "twinhub-{interface}-{node}".to_owned()
}
fn default_topic() -> String {
    "{site}/{interface}/{path}".to_owned()
}
fn default_status_topic() -> String {
    "twinhub/{site}/{interface}/{node}".to_owned()
}
fn default_qos() -> u8 {
    1
}
fn default_true() -> bool {
    true
}
fn seconds(count: u64) -> Span {
    Span(Duration::from_secs(count))
}
fn default_session_expiry() -> Span {
    seconds(3600)
}
fn default_will_delay() -> Span {
    seconds(0)
}
fn default_keep_alive() -> Span {
    seconds(10)
}
fn default_connect_timeout() -> Span {
    seconds(5)
}
fn default_send_timeout() -> Span {
    seconds(2)
}
fn default_reconnect_min() -> Span {
    Span(Duration::from_millis(200))
}
fn default_reconnect_max() -> Span {
    seconds(10)
}
fn default_packet_max() -> u32 {
    4 * 1024 * 1024
}
fn default_outbox() -> usize {
    4096
}
fn default_in_flight() -> u16 {
    256
}

/// v3.1.1 brokers must accept 23 bytes, all known ones accept far more.
const CLIENT_ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let config: Config = serde_json::from_str(text).map_err(|error| error.to_string())?;
        config.validate("mqtt1").map_err(|error| error.to_string())
    }

    #[test]
    fn minimal_settings_get_documented_defaults() {
        let settings = read(
            r#"{"broker":"mqtt://b","twinhub":{"node":"main","site":"s","interface":"m1","cluster":"c"}}"#,
        )
        .unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("b", 1883));
        assert_eq!(settings.client_id, "twinhub-m1-main");
        assert_eq!(settings.status_topic.as_deref(), Some("twinhub/s/m1/main"));
        assert_eq!(settings.ack, Ack::Manual);
        assert_eq!(settings.active_topic, None);
    }

    #[test]
    fn broker_addresses_are_read_or_refused_with_help() {
        assert!(read(r#"{"broker":"mqtts://[::1]:9000"}"#).is_ok_and(|s| s.port == 9000 && s.host == "::1"));
        assert!(read(r#"{"broker":"mqtts://h"}"#).is_ok_and(|s| s.port == 8883 && s.tls.is_some()));
        for bad in ["", "mqtt://", "ws://h", "http://h", "h:0", "h:70000", "mqtt://a b", "[::1"] {
            let error = read(&format!(r#"{{"broker":"{bad}"}}"#)).unwrap_err();
            assert!(error.contains("help:"), "{bad}: {error}");
        }
    }

    #[test]
    fn wrong_settings_say_what_to_write() {
        for (extra, want) in [
            (r#""qos":3"#, "0 to 2"),
            (r#""keep_alive":"10""#, "200ms"),
            (r#""keep_alive":"0s""#, "1s to 18h"),
            (r#""reconnect_min":"1m""#, "reconnect_max"),
            (r#""in_flight_max":0"#, "1 to 16384"),
            (r#""cert_file":"x""#, "mqtts"),
            (r#""password":"x""#, "user"),
            (r#""status_topic":"a/#""#, "status_topic"),
            (r#""client_id":"{nope}""#, "{nope}"),
            (r#""client_id":"""#, "client_id"),
            (r#""nope":1"#, "unknown field"),
        ] {
            let error = read(&format!(r#"{{"broker":"h",{extra}}}"#)).unwrap_err();
            assert!(error.contains(want), "{extra}: {error}");
        }
    }

    #[test]
    fn password_is_never_printed() {
        let settings = read(r#"{"broker":"h","user":"u","password":"hunter2"}"#).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
