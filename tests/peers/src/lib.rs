//! Device and server simulators, and start and stop of independent peers.
//!
//! Everything a test puts around the product lives here: a Modbus device and an MQTT broker of our own, the
//! independent ones (pymodbus, mosquitto, `PostgreSQL`), a relay that stands between two sockets and can be cut, taps that write
//! down what each node sends, and a subscriber that writes down what arrives. All listen on 127.0.0.1 and on ports
//! chosen at run time. Every child process dies with its guard, and with the test should that be killed.

mod broker;
mod clock;
mod error;
mod kit;
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
mod wait;

pub use broker::{Broker, run_broker};
pub use clock::monotonic_ns;
pub use error::{Error, Result};
pub use kit::run_kit_device;
pub use modbus::device::{Device, DeviceOptions, Quirks, Together};
pub use modbus::frames::{Frames, Request, Response, WRITE_FUNCTIONS};
pub use modbus::log::{DeviceLog, DeviceRequest};
pub use mosquitto::Mosquitto;
pub use mqtt_client::{Commander, Message, Observer};
pub use mqtt_frames::{MqttFrames, Packet};
pub use mqtt_plain::{Flood, PlainPublisher, Tally};
pub use port::Port;
pub use postgres::Postgres;
pub use process::{Process, end_with_parent, signal_group, signal_process, tree};
pub use pymodbus::{Pymodbus, PymodbusOptions, peers_dir};
pub use relay::{Cut, Direction, Relay};
/// Signals as [`Process::signal`] takes them.
pub use rustix::process::Signal;
pub use tap::{Event, Sent, Tap};
pub use wait::{wait_for, wait_until};
