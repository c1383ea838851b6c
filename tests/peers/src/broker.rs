//! The embedded MQTT broker of the demo: rumqttd in a child process, so that nothing needs to be installed.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::error::{Error, Result};
use crate::port::Port;
use crate::process::Process;

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    port: Port,
    process: Process,
}

impl Broker {
    /// Starts the program `mqtt-broker` of this crate on a free port.
    pub fn start(program: &Path, log: &Path) -> Result<Self> {
        let port = Port::reserve()?;
        let mut command = Command::new(program);
        command.arg(port.number().to_string());
        let mut process = Process::spawn("mqtt-broker", command, log)?;
        let address = port.address();
        process.ready("listens", READY_LIMIT, || TcpStream::connect(address).ok())?;
        Ok(Self { port, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// What the program `mqtt-broker` does; returns only when it cannot go on.
pub fn run_broker(port: u16) -> Result<()> {
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: 4 << 20,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let settings = ServerSettings {
        name: "demo".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 10 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config {
        id: 0,
        router,
        v4: Some(HashMap::from([("demo".to_owned(), settings)])),
        ..Config::default()
    };
    rumqttd::Broker::new(config)
        .start()
        .map_err(|error| Error::invalid(format!("broker on {address}"), error))
}

const READY_LIMIT: Duration = Duration::from_secs(20);
