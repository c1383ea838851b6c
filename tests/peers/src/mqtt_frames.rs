//! Cuts one direction of an MQTT connection into packets.
//!
//! MQTT Version 3.1.1, sections 2.2 (fixed header), 3.1 (CONNECT), 3.3 (PUBLISH); MQTT Version 5.0, section 2.2.2
//! (properties).

/// Collects bytes until packets are complete.
#[derive(Debug, Default)]
pub struct MqttFrames {
    buffer: Vec<u8>,
    is_v5: bool,
    broken: bool,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client introduces itself.
    Connect {
        /// Its client id.
        client_id: String,
    },
    /// A message.
    Publish {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Vec<u8>,
        /// Quality of service.
        qos: u8,
        /// Sent before and not acknowledged.
        dup: bool,
        /// To be kept by the broker.
        retain: bool,
        /// Packet id; 0 when nothing is acknowledged.
        id: u16,
    },
    /// Any other packet, by its type number.
    Other(u8),
}

impl MqttFrames {
    /// A direction whose protocol version is known; the client's own direction learns it from CONNECT.
    pub fn for_version(is_v5: bool) -> Self {
        Self { is_v5, ..Self::default() }
    }

    /// Adds captured bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether the bytes were not MQTT; nothing more is taken from the stream then.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The next complete packet.
    pub fn next_packet(&mut self) -> Option<Packet> {
        let (length, header) = match remaining_length(self.buffer.get(1..)?) {
            Length::Known { value, bytes } => (value, 1 + bytes),
            Length::Incomplete => return None,
            Length::Wrong => {
                self.broken = true;
                self.buffer.clear();
                return None;
            }
        };
        let body = self.buffer.get(header..header + length)?;
        let packet = self.parse(self.buffer[0], body);
        if let Packet::Connect { .. } = packet {
            // Protocol name `MQTT` (6 bytes with its length), then the level.
            self.is_v5 = body.get(6) == Some(&5);
        }
        self.buffer.drain(..header + length);
        Some(packet)
    }

    fn parse(&self, first: u8, body: &[u8]) -> Packet {
        match first >> 4 {
            1 => Packet::Connect { client_id: client_id(body).unwrap_or_default() },
            3 => self.publish(first, body).unwrap_or(Packet::Other(3)),
            other => Packet::Other(other),
        }
    }

    fn publish(&self, first: u8, body: &[u8]) -> Option<Packet> {
        let qos = first >> 1 & 3;
        let (topic, mut at) = string(body, 0)?;
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
            at += 2;
        }
        if self.is_v5 {
            at += skip_properties(body.get(at..)?)?;
        }
        let payload = body.get(at..)?.to_vec();
        Some(Packet::Publish { topic, payload, qos, dup: first & 8 != 0, retain: first & 1 != 0, id })
    }
}

fn client_id(body: &[u8]) -> Option<String> {
    // Name, level, flags, keep alive.
    let mut at = 2 + string_length(body, 0)? + 1 + 1 + 2;
    if body.get(6) == Some(&5) {
        at += skip_properties(body.get(at..)?)?;
    }
    string(body, at).map(|(text, _)| text)
}

enum Length {
    Known { value: usize, bytes: usize },
    Incomplete,
    Wrong,
}

fn remaining_length(bytes: &[u8]) -> Length {
    let mut value = 0;
    for index in 0..4 {
        let Some(byte) = bytes.get(index) else { return Length::Incomplete };
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Length::Known { value, bytes: index + 1 };
        }
    }
    Length::Wrong
}

fn skip_properties(bytes: &[u8]) -> Option<usize> {
    match remaining_length(bytes) {
        Length::Known { value, bytes } => Some(value + bytes),
        Length::Incomplete | Length::Wrong => None,
    }
}

fn string_length(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

fn string(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let end = at + 2 + string_length(bytes, at)?;
    Some((String::from_utf8_lossy(bytes.get(at + 2..end)?).into_owned(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_cut_anywhere_gives_the_same_packets() {
        let mut bytes = vec![0x10, 14, 0, 4];
        bytes.extend(b"MQTT");
        bytes.extend([4, 2, 0, 60, 0, 2]);
        bytes.extend(b"me");
        bytes.extend([0x3b, 9, 0, 3]);
        bytes.extend(b"a/b");
        bytes.extend([0, 5]);
        bytes.extend(b"17");
        bytes.extend([0xc0, 0]);
        for cut in 0..bytes.len() {
            let mut frames = MqttFrames::default();
            let mut found = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.push(part);
                found.extend(std::iter::from_fn(|| frames.next_packet()));
            }
            let publish = Packet::Publish {
                topic: "a/b".to_owned(),
                payload: b"17".to_vec(),
                qos: 1,
                dup: true,
                retain: true,
                id: 5,
            };
            assert_eq!(found, [Packet::Connect { client_id: "me".to_owned() }, publish, Packet::Other(12)]);
        }
    }

    #[test]
    fn properties_of_version_5_are_skipped() {
        let mut frames = MqttFrames::for_version(true);
        frames.push(&[0x30, 9, 0, 1, b't', 3, 0x23, 0, 1, b'4', b'2']);
        let Some(Packet::Publish { topic, payload, .. }) = frames.next_packet() else { panic!("a message") };
        assert_eq!((topic.as_str(), payload.as_slice()), ("t", b"42".as_slice()));
    }

    #[test]
    fn an_endless_length_ends_the_capture() {
        let mut frames = MqttFrames::default();
        frames.push(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(frames.next_packet(), None);
        assert!(frames.is_broken());
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_give_packets_or_nothing(bytes: Vec<u8>, is_v5: bool, kind in 1_u8..16) {
            let mut frames = MqttFrames::for_version(is_v5);
            let body = &bytes[..bytes.len().min(100)];
            frames.push(&[&[kind << 4 | 2, u8::try_from(body.len()).unwrap()], body, &bytes].concat());
            while frames.next_packet().is_some() {}
        }
    }
}
