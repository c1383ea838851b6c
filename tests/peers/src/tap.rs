//! A relay that writes down what one node sends to a device or a broker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::error::Result;
use crate::modbus::frames::{Frames, Request};
use crate::mqtt_frames::{MqttFrames, Packet};
use crate::relay::{Direction, Relay};

/// Something a node sent, or was told in return, and when it passed.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was read from the node's socket, or from the peer's for an answer.
    pub at: Instant,
    /// Which connection of this tap.
    pub connection: u64,
    /// What.
    pub sent: Sent,
}

/// What passed a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A Modbus request of the node.
    Request(Request),
    /// The device's answer to a read: first register and what they hold.
    Registers {
        /// First register.
        address: u16,
        /// Their values.
        values: Vec<u16>,
    },
    /// The device's exception.
    Exception {
        /// Function code.
        function: u8,
        /// Exception code.
        code: u8,
    },
    /// An MQTT packet of the node.
    Packet(Packet),
    /// A message the broker delivered to the node.
    Delivered(Packet),
}

/// One node's way to one peer. The node is configured with the tap's address, so what passes is the node's.
#[derive(Debug)]
pub struct Tap {
    relay: Relay,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Tap {
    /// Stands before a Modbus TCP device.
    pub fn modbus(target: SocketAddr) -> Result<Self> {
        let mut lines: BTreeMap<u64, ModbusLine> = BTreeMap::new();
        Self::start(target, move |connection, direction, bytes, keep| {
            let line = lines.entry(connection).or_default();
            match direction {
                Direction::Forward => line.forward(bytes, keep),
                Direction::Backward => line.backward(bytes, keep),
            }
        })
    }

    /// Stands before an MQTT broker.
    pub fn mqtt(target: SocketAddr) -> Result<Self> {
        let mut lines: BTreeMap<(u64, Direction), MqttFrames> = BTreeMap::new();
        Self::start(target, move |connection, direction, bytes, keep| {
            let frames = lines.entry((connection, direction)).or_default();
            frames.push(bytes);
            while let Some(packet) = frames.next_packet() {
                match direction {
                    Direction::Forward => keep(Sent::Packet(packet)),
                    Direction::Backward => {
                        if matches!(packet, Packet::Publish { .. }) {
                            keep(Sent::Delivered(packet));
                        }
                    }
                }
            }
        })
    }

    fn start(
        target: SocketAddr,
        mut decode: impl FnMut(u64, Direction, &[u8], &mut dyn FnMut(Sent)) + Send + 'static,
    ) -> Result<Self> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&events);
        let relay = Relay::start_with(
            target,
            Some(Box::new(move |connection, direction, bytes, at| {
                decode(connection, direction, bytes, &mut |sent| {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(Event { at, connection, sent });
                });
            })),
        )?;
        Ok(Self { relay, events })
    }

    /// Where the node connects.
    pub fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// The path, to cut it.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events from the given index on.
    pub fn events_from(&self, index: usize) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).get(index..).unwrap_or_default().to_vec()
    }

    /// How many events there are.
    pub fn count(&self) -> usize {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[derive(Default)]
struct ModbusLine {
    requests: Frames,
    responses: Frames,
    /// First register of reads that are under way, by transaction.
    reads: BTreeMap<u16, u16>,
}

impl ModbusLine {
    fn forward(&mut self, bytes: &[u8], keep: &mut dyn FnMut(Sent)) {
        self.requests.push(bytes);
        while let Some(request) = self.requests.next_request() {
            if matches!(request.function, 3 | 4) {
                self.reads.insert(request.transaction, request.address);
            }
            keep(Sent::Request(request));
        }
    }

    fn backward(&mut self, bytes: &[u8], keep: &mut dyn FnMut(Sent)) {
        self.responses.push(bytes);
        while let Some(response) = self.responses.next_response() {
            let address = self.reads.remove(&response.transaction);
            if let Some(code) = response.exception {
                keep(Sent::Exception { function: response.function, code });
            } else if let Some(address) = address {
                keep(Sent::Registers { address, values: response.registers });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::modbus::device::{Device, DeviceOptions};

    #[test]
    fn a_read_through_the_tap_is_seen_with_its_answer() {
        let device = Device::start(DeviceOptions::default()).unwrap();
        device.set_register(7, 1234);
        let tap = Tap::modbus(device.address()).unwrap();
        let mut client = TcpStream::connect(tap.address()).unwrap();
        client.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 7, 0, 1]).unwrap();
        client.read_exact(&mut [0; 11]).unwrap();
        let sent: Vec<Sent> = tap.events().into_iter().map(|event| event.sent).collect();
        assert!(matches!(&sent[0], Sent::Request(request) if request.function == 3 && request.address == 7));
        assert_eq!(sent[1], Sent::Registers { address: 7, values: vec![1234] });
        assert_eq!(sent.len(), 2);
    }
}
