//! A connection: a state machine and what carries its frames.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use twinhub_knx_protocol::IndividualAddress;
use twinhub_knx_protocol::ip::Hpai;
use twinhub_plugin::Permit;

use crate::carrier::Carrier;
use crate::config::{Mode, Settings};
use crate::machine::{Event, Machine};

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    carrier: Carrier,
    pub machine: Machine,
    /// Where the gateway sends control frames to.
    pub endpoint: Option<Hpai>,
    /// Which of the gateways it leads to.
    pub gateway: usize,
    /// Telegrams can be sent and heard.
    pub is_up: bool,
    pub address: IndividualAddress,
    /// What permits the telegram that is under way.
    pub pass: Option<Permit>,
    wakes_at: Option<Instant>,
    /// The last telegram did not leave.
    pub is_held_back: bool,
    /// The gateway was told that it is over.
    pub is_stopping: bool,
}

/// Why a frame did not leave.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// It would have acted on the bus without a permit.
    Suppressed,
    Io(io::Error),
}

impl Link {
    /// Opens the socket; nothing is sent yet.
    pub(crate) async fn open(settings: &Settings, gateway: usize, reclaim: Option<u8>) -> io::Result<Self> {
        let limit = settings.config.connect_timeout.0;
        let opening = async {
            match settings.config.mode {
                Mode::Tunnel => {
                    let name = settings.gateways.get(gateway).map_or("", String::as_str);
                    let (carrier, endpoint) = Carrier::to_gateway(settings, name).await?;
                    let machine = Machine::tunnel(settings, endpoint, reclaim);
                    Ok::<_, io::Error>((carrier, machine, Some(endpoint)))
                }
                Mode::Routing => {
                    let address = settings.address.unwrap_or_default();
                    let carrier = Carrier::multicast(settings)?;
                    Ok((carrier, Machine::routing(settings, address, seed()), None))
                }
            }
        };
        let (carrier, machine, endpoint) = timeout(limit, opening).await.map_err(|_| late(limit))??;
        timeout(limit, carrier.writable()).await.map_err(|_| late(limit))??;
        Ok(Self {
            carrier,
            machine,
            endpoint,
            gateway,
            is_up: false,
            address: IndividualAddress::NONE,
            pass: None,
            wakes_at: None,
            is_held_back: false,
            is_stopping: false,
        })
    }

    /// The next event of the machine.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        match self.machine.poll() {
            Ok(event) => Some(event),
            Err(wakes_at) => {
                self.wakes_at = wakes_at;
                None
            }
        }
    }

    /// When the machine wants to be woken.
    pub(crate) const fn wakes_at(&self) -> Option<Instant> {
        self.wakes_at
    }

    /// The next frame from outside.
    pub(crate) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.carrier.receive().await
    }

    /// Sends a frame of the machine. One that acts on the bus needs a permit that holds at this moment, also if it is
    /// sent a second time.
    pub(crate) fn send(&mut self, frame: &[u8], is_data: bool) -> Result<(), Unsent> {
        if acts(frame) && !self.pass.as_ref().is_some_and(Permit::is_valid) {
            self.is_held_back = true;
            return Err(Unsent::Suppressed);
        }
        self.carrier.send(frame, is_data).map_err(|error| {
            self.is_held_back = true;
            Unsent::Io(error)
        })
    }

    pub(crate) fn connected(&mut self, address: IndividualAddress, data: Option<Hpai>, is_nat: bool) {
        self.is_up = true;
        self.address = address;
        if let Some(data) = data {
            self.carrier.set_data(data, is_nat);
        }
    }

    /// Whether frames follow each other in a stream, so that one that did not leave is its end.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.carrier, Carrier::Tcp { .. })
    }

    pub(crate) const fn foreign(&self) -> u64 {
        self.carrier.foreign()
    }
}

/// Whether a frame brings a telegram to the bus: a tunnelling request or a routing indication. Acknowledgments,
/// heartbeats and what opens and closes a tunnel do not.
fn acts(frame: &[u8]) -> bool {
    matches!(frame.get(2..4), Some([0x04, 0x20] | [0x05, 0x30]))
}

fn late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("not open within {} ms", limit.as_millis()))
}

/// Differs from start to start, which is all that is asked of it.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
