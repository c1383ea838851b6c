//! Device and server simulators, and start and stop of independent peers.
//!
//! Everything a test puts around the product lives here: a Modbus device, an MQTT broker and a KNX gateway of our own, the
//! independent ones (pymodbus, bacpypes3, mosquitto, knxd, xknx, `PostgreSQL`), a relay that stands between two sockets and can be cut, taps that write
//! down what each node sends, and a subscriber that writes down what arrives. All listen on 127.0.0.1 and on ports
//! chosen at run time. Every child process dies with its guard, and with the test should that be killed.

mod bacpypes;
mod broker;
mod clock;
mod error;
mod kit;
mod knx;
mod knxd;
mod modbus;
mod mosquitto;
mod mqtt_client;
mod mqtt_frames;
mod mqtt_plain;
mod port;
mod postgres;
mod process;
mod pymodbus;
mod relay;
mod tap;
mod udp_relay;
mod wait;
mod xknx;
mod xknx_secure;

pub use bacpypes::{BacnetRequest, Bacpypes, BacpypesOptions};
pub use broker::{Broker, run_broker};
pub use clock::monotonic_ns;
pub use error::{Error, Result};
pub use kit::run_kit_device;
pub use knx::bus::{BusTelegram, Slot as KnxSlot};
pub use knx::gateway::{KnxGateway, KnxGatewayOptions};
pub use knxd::{Knxd, KnxdOptions};
pub use modbus::device::{Device, DeviceOptions, Quirks, Together};
pub use modbus::frames::{Frames, Request, Response, WRITE_FUNCTIONS};
pub use modbus::log::{DeviceLog, DeviceRequest};
pub use mosquitto::Mosquitto;
pub use mqtt_client::{Commander, Message, Observer};
pub use mqtt_frames::{MqttFrames, Packet};
pub use mqtt_plain::{Flood, PlainPublisher, Tally};
pub use port::{Port, UdpPort};
pub use postgres::Postgres;
pub use process::{Process, end_with_parent, signal_group, signal_process, tree, wait_gone};
pub use pymodbus::{Pymodbus, PymodbusOptions, peers_dir};
pub use relay::{Cut, Direction, Relay};
/// Signals as [`Process::signal`] takes them.
pub use rustix::process::Signal;
pub use tap::{Event, Sent, Tap};
pub use udp_relay::{Datagram, UdpRelay};
pub use wait::{wait_for, wait_until};
pub use xknx::{Heard, Xknx, XknxTypes};
pub use xknx_secure::SecureXknx;
