//! Device and broker, and each node's tapped way to them.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use twinhub_peers::{Broker, Device, DeviceOptions, Mosquitto, Pymodbus, PymodbusOptions, Tap};

use crate::artifacts::Artifacts;
use crate::error::{Error, Result};

/// Which device and broker stand around the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Ours, part of this program, and the embedded broker: nothing needs to be installed.
    Embedded,
    /// pymodbus and mosquitto.
    Independent,
}

/// A Modbus device with a counter and a setpoint, an MQTT broker, and a tap per node before each.
#[derive(Debug)]
pub struct Field {
    device: AnyDevice,
    broker: AnyBroker,
    taps: Vec<NodeTaps>,
    _logs: TempDir,
}

/// One node's ways.
#[derive(Debug)]
pub struct NodeTaps {
    /// The node.
    pub node: String,
    /// To the device.
    pub modbus: Tap,
    /// To the broker.
    pub mqtt: Tap,
}

#[derive(Debug)]
enum AnyDevice {
    Embedded(Device),
    Independent(Pymodbus),
}

#[derive(Debug)]
enum AnyBroker {
    Embedded(Broker),
    Independent(Mosquitto),
}

impl Field {
    /// Starts device and broker.
    pub fn start(kind: DeviceKind, artifacts: &Artifacts, nodes: &[String]) -> Result<Self> {
        let logs = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
        let counter = Some((COUNTER_REGISTER, COUNTER_INTERVAL));
        let (device, broker) = match kind {
            DeviceKind::Embedded => (
                AnyDevice::Embedded(Device::start(DeviceOptions { counter, ..DeviceOptions::default() })?),
                AnyBroker::Embedded(Broker::start(&artifacts.broker(), &logs.path().join("broker.log"))?),
            ),
            DeviceKind::Independent => (
                AnyDevice::Independent(Pymodbus::start(&PymodbusOptions {
                    counter,
                    log_reads: false,
                    ..PymodbusOptions::default()
                })?),
                AnyBroker::Independent(Mosquitto::start()?),
            ),
        };
        let mut field = Self { device, broker, taps: Vec::new(), _logs: logs };
        for node in nodes {
            field.taps.push(NodeTaps {
                node: node.clone(),
                modbus: Tap::modbus(field.device_address())?,
                mqtt: Tap::mqtt(field.broker_address())?,
            });
        }
        Ok(field)
    }

    /// Where the device listens.
    pub fn device_address(&self) -> SocketAddr {
        match &self.device {
            AnyDevice::Embedded(device) => device.address(),
            AnyDevice::Independent(device) => device.address(),
        }
    }

    /// Where the broker listens.
    pub fn broker_address(&self) -> SocketAddr {
        match &self.broker {
            AnyBroker::Embedded(broker) => broker.address(),
            AnyBroker::Independent(broker) => broker.address(),
        }
    }

    /// The ways of the nodes.
    pub fn taps(&self) -> &[NodeTaps] {
        &self.taps
    }

    /// Values written to the setpoint, in the order in which the device served them.
    pub fn written_setpoints(&self) -> Result<Vec<u16>> {
        let requests = match &self.device {
            AnyDevice::Embedded(device) => device.log().requests(),
            AnyDevice::Independent(device) => device.requests()?,
        };
        let mut values = Vec::new();
        for request in requests.iter().filter(|request| matches!(request.function, 6 | 16)) {
            let offset = usize::from(SETPOINT_REGISTER.wrapping_sub(request.address));
            values.extend(request.values.get(offset));
        }
        Ok(values)
    }

    /// Names and versions for the record: Modbus device, MQTT broker.
    pub fn versions(&self) -> Result<[(String, String); 2]> {
        let own = env!("CARGO_PKG_VERSION").to_owned();
        let device = match &self.device {
            AnyDevice::Embedded(_) => ("modbus-device".to_owned(), own.clone()),
            AnyDevice::Independent(device) => ("pymodbus".to_owned(), device.version().to_owned()),
        };
        let broker = match &self.broker {
            AnyBroker::Embedded(_) => ("rumqttd".to_owned(), "0.20".to_owned()),
            AnyBroker::Independent(_) => ("mosquitto".to_owned(), Mosquitto::version()?),
        };
        Ok([device, broker])
    }
}

/// Counts up by itself.
pub(crate) const COUNTER_REGISTER: u16 = 0;
/// Slow enough that every count is polled, fast enough to see a short gap.
pub(crate) const COUNTER_INTERVAL: Duration = Duration::from_millis(100);
/// Takes the numbered commands.
pub(crate) const SETPOINT_REGISTER: u16 = 20;
