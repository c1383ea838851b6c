//! MQTT packets without their version: one set of types for the session, coded by rumqttc for v3.1.1 or v5.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes as m3;
use rumqttc::mqttbytes::v4 as v3;
use rumqttc::v5::mqttbytes as m5;
use rumqttc::v5::mqttbytes::v5;

use crate::config::{Settings, Version};

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// 0: at most once.
    AtMostOnce,
    /// 1: at least once.
    AtLeastOnce,
    /// 2: exactly once.
    ExactlyOnce,
}

impl Qos {
    /// From 0, 1 or 2.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            _ => return None,
        })
    }

    fn v3(self) -> m3::QoS {
        match self {
            Self::AtMostOnce => m3::QoS::AtMostOnce,
            Self::AtLeastOnce => m3::QoS::AtLeastOnce,
            Self::ExactlyOnce => m3::QoS::ExactlyOnce,
        }
    }

    fn v5(self) -> m5::QoS {
        match self {
            Self::AtMostOnce => m5::QoS::AtMostOnce,
            Self::AtLeastOnce => m5::QoS::AtLeastOnce,
            Self::ExactlyOnce => m5::QoS::ExactlyOnce,
        }
    }

    fn from_v3(qos: m3::QoS) -> Self {
        match qos {
            m3::QoS::AtMostOnce => Self::AtMostOnce,
            m3::QoS::AtLeastOnce => Self::AtLeastOnce,
            m3::QoS::ExactlyOnce => Self::ExactlyOnce,
        }
    }

    fn from_v5(qos: m5::QoS) -> Self {
        match qos {
            m5::QoS::AtMostOnce => Self::AtMostOnce,
            m5::QoS::AtLeastOnce => Self::AtLeastOnce,
            m5::QoS::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}

/// A message in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: Qos,
    /// Retained (out: keep it; in: it was kept).
    pub retain: bool,
    /// Sent before.
    pub dup: bool,
    /// Packet id, 0 for `QoS` 0.
    pub id: u16,
    /// Epoch for the user property of v5.
    pub epoch: Option<u64>,
}

/// One filter of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Filter text.
    pub filter: String,
    /// Highest `QoS` wanted.
    pub qos: Qos,
    /// v5: do not send me what I published.
    pub no_local: bool,
}

/// Packets that the client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// First packet; `clean` asks the broker to forget the session.
    Connect {
        /// Forget the session.
        clean: bool,
    },
    /// A message.
    Publish(Publish),
    /// `QoS` 1 receipt.
    PubAck(u16),
    /// `QoS` 2 receipt, first half.
    PubRec(u16),
    /// `QoS` 2 release.
    PubRel(u16),
    /// `QoS` 2 receipt, second half.
    PubComp(u16),
    /// Subscription.
    Subscribe(u16, Vec<Filter>),
    /// End of subscriptions.
    Unsubscribe(u16, Vec<String>),
    /// Sign of life.
    Ping,
    /// Good-bye without last will.
    Disconnect,
}

/// Packets that the client receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Answer to the first packet.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish),
    /// `QoS` 1 receipt; the refusal's name if v5 refused.
    PubAck(u16, Option<String>),
    /// `QoS` 2 receipt, first half; the refusal's name if v5 refused.
    PubRec(u16, Option<String>),
    /// `QoS` 2 release.
    PubRel(u16),
    /// `QoS` 2 receipt, second half.
    PubComp(u16),
    /// Per filter, whether it was accepted.
    SubAck(u16, Vec<bool>),
    /// Subscriptions ended.
    UnsubAck(u16),
    /// Answer to a sign of life.
    Pong,
    /// v5: the broker ends the connection.
    Disconnect(String),
}

/// What the broker says about the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnAck {
    /// Refusal's name, if any.
    pub refused: Option<String>,
    /// Whether the broker kept the session.
    pub session_present: bool,
    /// v5: how many unacknowledged messages the broker takes.
    pub receive_max: Option<u16>,
    /// v5: keep-alive that the broker wants, in seconds.
    pub keep_alive_s: Option<u16>,
    /// v5: largest packet that the broker takes.
    pub packet_size_max: Option<u32>,
    /// v5: highest `QoS` that the broker takes.
    pub qos_max: Option<u8>,
}

/// Why bytes are not packets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not MQTT.
    #[error("broker sent bytes that are not MQTT: {0}")]
    Malformed(String),
    /// The packet is larger than configured.
    #[error("broker sent a packet of {bytes} bytes, packet_size_bytes_max is {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: u32,
    },
    /// A packet that only clients send, or that does not fit here.
    #[error("broker sent a packet that does not fit: {0}")]
    Unexpected(&'static str),
    /// A packet that cannot be encoded.
    #[error("packet cannot be encoded: {0}")]
    Encode(String),
}

/// Codes packets of one connection.
#[derive(Debug)]
pub struct Codec {
    version: Version,
    incoming_max: u32,
    aliases: std::collections::BTreeMap<u16, String>,
}

impl Codec {
    /// A codec for a new connection.
    pub fn new(version: Version, incoming_max: u32) -> Self {
        Self { version, incoming_max, aliases: std::collections::BTreeMap::new() }
    }

    /// Takes the next packet from `input`, if it is complete.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Error> {
        // The library's decoders slice network bytes; a panic there is the broker's fault, not ours.
        let (version, max) = (self.version, self.incoming_max);
        let decoded = catch_unwind(AssertUnwindSafe(|| match version {
            Version::V3 => decode_v3(input, max),
            Version::V5 => decode_v5(input, max),
        }));
        let (packet, alias) = match decoded {
            Ok(result) => result?,
            Err(_) => return Err(Error::Malformed("a length inside the packet is wrong".to_owned())),
        };
        let Some(Incoming::Publish(mut publish)) = packet else { return Ok(packet) };
        if let Some(alias) = alias {
            if publish.topic.is_empty() {
                let topic = self.aliases.get(&alias).ok_or(Error::Unexpected("an unknown topic alias"))?;
                publish.topic.clone_from(topic);
            } else {
                self.aliases.insert(alias, publish.topic.clone());
            }
        }
        if publish.topic.is_empty() || crate::topic::is_wildcard(&publish.topic) {
            return Err(Error::Unexpected("a message without a valid topic"));
        }
        Ok(Some(Incoming::Publish(publish)))
    }

    /// Appends a packet to `out`.
    pub fn encode(&self, packet: Outgoing, settings: &Settings, out: &mut BytesMut) -> Result<(), Error> {
        match self.version {
            Version::V3 => v3_packet(packet, settings)
                .write(out, usize::MAX)
                .map(drop)
                .map_err(|e| Error::Encode(e.to_string())),
            Version::V5 => v5_packet(packet, settings)
                .write(out, None)
                .map(drop)
                .map_err(|e| Error::Encode(e.to_string())),
        }
    }
}

type Decoded = (Option<Incoming>, Option<u16>);

fn decode_v3(input: &mut BytesMut, max: u32) -> Result<Decoded, Error> {
    let packet = match v3::Packet::read(input, max as usize) {
        Ok(packet) => packet,
        Err(m3::Error::InsufficientBytes(more)) => {
            input.reserve(more);
            return Ok((None, None));
        }
        Err(m3::Error::PayloadSizeLimitExceeded(bytes)) => return Err(Error::TooLarge { bytes, max }),
        Err(error) => return Err(Error::Malformed(error.to_string())),
    };
    let incoming = match packet {
        v3::Packet::ConnAck(ack) => Incoming::ConnAck(ConnAck {
            refused: (ack.code != v3::ConnectReturnCode::Success).then(|| format!("{:?}", ack.code)),
            session_present: ack.session_present,
            ..ConnAck::default()
        }),
        v3::Packet::Publish(publish) => Incoming::Publish(Publish {
            topic: publish.topic,
            payload: publish.payload,
            qos: Qos::from_v3(publish.qos),
            retain: publish.retain,
            dup: publish.dup,
            id: publish.pkid,
            epoch: None,
        }),
        v3::Packet::PubAck(ack) => Incoming::PubAck(ack.pkid, None),
        v3::Packet::PubRec(ack) => Incoming::PubRec(ack.pkid, None),
        v3::Packet::PubRel(rel) => Incoming::PubRel(rel.pkid),
        v3::Packet::PubComp(ack) => Incoming::PubComp(ack.pkid),
        v3::Packet::SubAck(ack) => {
            let accepted =
                |code: &v3::SubscribeReasonCode| matches!(code, v3::SubscribeReasonCode::Success(_));
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(accepted).collect())
        }
        v3::Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        v3::Packet::PingResp => Incoming::Pong,
        v3::Packet::Connect(_)
        | v3::Packet::Subscribe(_)
        | v3::Packet::Unsubscribe(_)
        | v3::Packet::PingReq
        | v3::Packet::Disconnect => {
            return Err(Error::Unexpected("one that only clients send"));
        }
    };
    Ok((Some(incoming), None))
}

fn decode_v5(input: &mut BytesMut, max: u32) -> Result<Decoded, Error> {
    // A DISCONNECT without reason has an empty body (MQTT 5.0, 3.14.2.1), which the library refuses.
    if input.starts_with(&[0xe0, 0]) {
        return Ok((Some(Incoming::Disconnect("no reason given".to_owned())), None));
    }
    let packet = match v5::Packet::read(input, Some(max)) {
        Ok(packet) => packet,
        Err(m5::Error::InsufficientBytes(more)) => {
            input.reserve(more);
            return Ok((None, None));
        }
        Err(m5::Error::PayloadSizeLimitExceeded { pkt_size, .. }) => {
            return Err(Error::TooLarge { bytes: pkt_size, max });
        }
        Err(error) => return Err(Error::Malformed(error.to_string())),
    };
    let mut alias = None;
    let incoming = match packet {
        v5::Packet::ConnAck(ack) => {
            let properties = ack.properties;
            let properties = properties.as_ref();
            Incoming::ConnAck(ConnAck {
                refused: (ack.code != v5::ConnectReturnCode::Success).then(|| format!("{:?}", ack.code)),
                session_present: ack.session_present,
                receive_max: properties.and_then(|p| p.receive_max),
                keep_alive_s: properties.and_then(|p| p.server_keep_alive),
                packet_size_max: properties.and_then(|p| p.max_packet_size),
                qos_max: properties.and_then(|p| p.max_qos),
            })
        }
        v5::Packet::Publish(publish) => {
            alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
            let topic = String::from_utf8(publish.topic.into())
                .map_err(|_| Error::Unexpected("a topic that is not UTF-8"))?;
            Incoming::Publish(Publish {
                topic,
                payload: publish.payload,
                qos: Qos::from_v5(publish.qos),
                retain: publish.retain,
                dup: publish.dup,
                id: publish.pkid,
                epoch: None,
            })
        }
        v5::Packet::PubAck(ack) => {
            let fine =
                matches!(ack.reason, v5::PubAckReason::Success | v5::PubAckReason::NoMatchingSubscribers);
            Incoming::PubAck(ack.pkid, (!fine).then(|| format!("{:?}", ack.reason)))
        }
        v5::Packet::PubRec(ack) => {
            let fine =
                matches!(ack.reason, v5::PubRecReason::Success | v5::PubRecReason::NoMatchingSubscribers);
            Incoming::PubRec(ack.pkid, (!fine).then(|| format!("{:?}", ack.reason)))
        }
        v5::Packet::PubRel(rel) => Incoming::PubRel(rel.pkid),
        v5::Packet::PubComp(ack) => Incoming::PubComp(ack.pkid),
        v5::Packet::SubAck(ack) => {
            let accepted =
                |code: &v5::SubscribeReasonCode| matches!(code, v5::SubscribeReasonCode::Success(_));
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(accepted).collect())
        }
        v5::Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        v5::Packet::PingResp(_) => Incoming::Pong,
        v5::Packet::Disconnect(disconnect) => Incoming::Disconnect(format!("{:?}", disconnect.reason_code)),
        v5::Packet::Auth(_)
        | v5::Packet::Connect(..)
        | v5::Packet::Subscribe(_)
        | v5::Packet::Unsubscribe(_)
        | v5::Packet::PingReq(_) => {
            return Err(Error::Unexpected("one that only clients send"));
        }
    };
    Ok((Some(incoming), alias))
}

fn v3_packet(packet: Outgoing, settings: &Settings) -> v3::Packet {
    match packet {
        Outgoing::Connect { clean } => {
            let mut connect = v3::Connect::new(&settings.client_id);
            connect.keep_alive = keep_alive_s(settings);
            connect.clean_session = clean;
            connect.last_will = settings
                .status_topic
                .as_ref()
                .map(|topic| v3::LastWill::new(topic, OFFLINE, m3::QoS::AtLeastOnce, true));
            connect.login = settings.user.as_ref().map(|user| v3::Login::new(user, password(settings)));
            v3::Packet::Connect(connect)
        }
        Outgoing::Publish(publish) => v3::Packet::Publish(v3::Publish {
            dup: publish.dup,
            qos: publish.qos.v3(),
            retain: publish.retain,
            topic: publish.topic,
            pkid: publish.id,
            payload: publish.payload,
        }),
        Outgoing::PubAck(id) => v3::Packet::PubAck(v3::PubAck::new(id)),
        Outgoing::PubRec(id) => v3::Packet::PubRec(v3::PubRec::new(id)),
        Outgoing::PubRel(id) => v3::Packet::PubRel(v3::PubRel::new(id)),
        Outgoing::PubComp(id) => v3::Packet::PubComp(v3::PubComp::new(id)),
        Outgoing::Subscribe(pkid, filters) => {
            let filters = filters
                .into_iter()
                .map(|f| v3::SubscribeFilter { path: f.filter, qos: f.qos.v3() })
                .collect();
            v3::Packet::Subscribe(v3::Subscribe { pkid, filters })
        }
        Outgoing::Unsubscribe(pkid, topics) => v3::Packet::Unsubscribe(v3::Unsubscribe { pkid, topics }),
        Outgoing::Ping => v3::Packet::PingReq,
        Outgoing::Disconnect => v3::Packet::Disconnect,
    }
}

fn v5_packet(packet: Outgoing, settings: &Settings) -> v5::Packet {
    match packet {
        Outgoing::Connect { clean } => {
            let mut properties = v5::ConnectProperties::new();
            let expiry = u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
            properties.session_expiry_interval = settings.persistent.then_some(expiry);
            properties.max_packet_size = Some(settings.packet_size_bytes_max);
            properties.receive_maximum = Some(RECEIVE_MAX);
            let delay = u32::try_from(settings.will_delay.as_secs()).unwrap_or(u32::MAX);
            let will = settings.status_topic.as_ref().map(|topic| {
                let properties = v5::LastWillProperties {
                    delay_interval: Some(delay),
                    payload_format_indicator: None,
                    message_expiry_interval: None,
                    content_type: None,
                    response_topic: None,
                    correlation_data: None,
                    user_properties: Vec::new(),
                };
                v5::LastWill::new(
                    topic,
                    OFFLINE,
                    m5::QoS::AtLeastOnce,
                    true,
                    (delay > 0).then_some(properties),
                )
            });
            let login = (settings.user.is_some() || settings.password.is_some())
                .then(|| v5::Login::new(settings.user.clone().unwrap_or_default(), password(settings)));
            let connect = v5::Connect {
                keep_alive: keep_alive_s(settings),
                client_id: settings.client_id.clone(),
                clean_start: clean,
                properties: Some(properties),
            };
            v5::Packet::Connect(connect, will, login)
        }
        Outgoing::Publish(publish) => {
            let properties = publish.epoch.map(|epoch| v5::PublishProperties {
                user_properties: vec![("twinhub-epoch".to_owned(), epoch.to_string())],
                ..v5::PublishProperties::default()
            });
            v5::Packet::Publish(v5::Publish {
                dup: publish.dup,
                qos: publish.qos.v5(),
                retain: publish.retain,
                topic: publish.topic.into(),
                pkid: publish.id,
                payload: publish.payload,
                properties,
            })
        }
        Outgoing::PubAck(id) => v5::Packet::PubAck(v5::PubAck::new(id, None)),
        Outgoing::PubRec(id) => v5::Packet::PubRec(v5::PubRec::new(id, None)),
        Outgoing::PubRel(id) => v5::Packet::PubRel(v5::PubRel::new(id, None)),
        Outgoing::PubComp(id) => v5::Packet::PubComp(v5::PubComp::new(id, None)),
        Outgoing::Subscribe(pkid, filters) => {
            let filters = filters
                .into_iter()
                .map(|f| v5::Filter {
                    nolocal: f.no_local,
                    preserve_retain: true,
                    ..v5::Filter::new(f.filter, f.qos.v5())
                })
                .collect();
            v5::Packet::Subscribe(v5::Subscribe { pkid, filters, properties: None })
        }
        Outgoing::Unsubscribe(pkid, filters) => {
            v5::Packet::Unsubscribe(v5::Unsubscribe { pkid, filters, properties: None })
        }
        Outgoing::Ping => v5::Packet::PingReq(v5::PingReq),
        Outgoing::Disconnect => {
            v5::Packet::Disconnect(v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection))
        }
    }
}

fn keep_alive_s(settings: &Settings) -> u16 {
    u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX)
}

fn password(settings: &Settings) -> &str {
    settings.password.as_ref().map_or("", |secret| secret.0.as_str())
}

/// Retained state of a node whose connection works.
pub const ONLINE: &str = "online";
/// Retained state, and last will, of a node that is gone.
pub const OFFLINE: &str = "offline";
/// How many unacknowledged messages this client takes from a v5 broker.
pub const RECEIVE_MAX: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> Settings {
        let config: crate::config::Config =
            serde_json::from_str(r#"{"broker":"b","user":"u","password":"p"}"#).unwrap();
        config.validate("m").unwrap()
    }

    #[test]
    fn incomplete_packets_wait_for_the_rest() {
        for (version, bytes) in
            [(Version::V3, &b"\x30\x06\x00\x03a/b1"[..]), (Version::V5, &b"\x30\x07\x00\x03a/b\x001"[..])]
        {
            let mut codec = Codec::new(version, 1000);
            for cut in 0..bytes.len() {
                let mut input = BytesMut::from(&bytes[..cut]);
                assert_eq!(codec.decode(&mut input).unwrap(), None);
            }
            let mut input = BytesMut::from(bytes);
            let Some(Incoming::Publish(publish)) = codec.decode(&mut input).unwrap() else { panic!() };
            assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a/b", &b"1"[..]));
        }
    }

    #[test]
    fn oversized_packets_are_refused_before_they_are_read() {
        for version in [Version::V3, Version::V5] {
            let mut input = BytesMut::from(&b"\x30\xff\xff\x7f"[..]);
            let error = Codec::new(version, 1000).decode(&mut input).unwrap_err();
            assert!(matches!(error, Error::TooLarge { max: 1000, .. }), "{error}");
        }
    }

    #[test]
    fn topic_aliases_of_the_broker_are_followed() {
        let mut codec = Codec::new(Version::V5, 1000);
        let mut input =
            BytesMut::from(&b"\x30\x08\x00\x01a\x03\x23\x00\x071\x30\x07\x00\x00\x03\x23\x00\x072"[..]);
        for want in [b"1", b"2"] {
            let Some(Incoming::Publish(publish)) = codec.decode(&mut input).unwrap() else { panic!() };
            assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a", &want[..]));
        }
        let mut input = BytesMut::from(&b"\x30\x07\x00\x00\x03\x23\x00\x091"[..]);
        assert!(codec.decode(&mut input).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_never_loop(
            first in any::<u8>(),
            tail in prop::collection::vec(any::<u8>(), 0..120),
            is_v5 in any::<bool>(),
        ) {
            let version = if is_v5 { Version::V5 } else { Version::V3 };
            let mut input = BytesMut::new();
            input.extend_from_slice(&[first, u8::try_from(tail.len()).unwrap()]);
            input.extend_from_slice(&tail);
            let mut codec = Codec::new(version, 1000);
            for _ in 0..200 {
                let before = input.len();
                match codec.decode(&mut input) {
                    Ok(Some(Incoming::Disconnect(_)) | None) | Err(_) => break,
                    Ok(Some(_)) => prop_assert!(input.len() < before),
                }
            }
        }

        #[test]
        fn messages_survive_the_round_trip(
            topic in "[^\u{0}+#]{1,30}",
            payload in prop::collection::vec(any::<u8>(), 0..300),
            qos in 0_u8..3,
            id in 1_u16..,
            retain in any::<bool>(),
        ) {
            let qos = Qos::from_number(qos).unwrap();
            let id = if qos == Qos::AtMostOnce { 0 } else { id };
            let publish = Publish { topic, payload: payload.into(), qos, retain, dup: false, id, epoch: None };
            for version in [Version::V3, Version::V5] {
                let mut codec = Codec::new(version, 10_000);
                let mut bytes = BytesMut::new();
                codec.encode(Outgoing::Publish(publish.clone()), &settings(), &mut bytes).unwrap();
                prop_assert_eq!(codec.decode(&mut bytes).unwrap(), Some(Incoming::Publish(publish.clone())));
                prop_assert!(bytes.is_empty());
            }
        }
    }
}
