//! A broker with a client beside it, by the topics of the plugin `mqtt`.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Row, Simulated};
use crate::broker::run_broker;
use crate::error::{Error, Result};
use crate::mqtt_client::{Commander, Observer};
use crate::port::Port;
use crate::wait::wait_for;

/// See the module.
#[derive(Debug)]
pub(crate) struct Mqtt {
    port: Port,
    observer: Observer,
    commander: Commander,
    /// What this side published: topic and payload.
    own: Vec<(String, String)>,
}

impl Mqtt {
    pub(crate) fn start() -> Result<Self> {
        let port = Port::reserve()?;
        let number = port.number();
        // It ends with the process.
        let broker = thread::Builder::new().name("broker".to_owned()).spawn(move || run_broker(number));
        broker.map_err(Error::io("start the broker"))?;
        let address = port.address();
        wait_for("the broker listens", READY_LIMIT, || TcpStream::connect(address).ok())?;
        let observer = Observer::start(address, "kit-sees", "#")?;
        let commander = Commander::start(address, "kit-says")?;
        Ok(Self { port, observer, commander, own: Vec::new() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

fn topic(row: &Row) -> String {
    let column = |name: &str| row.get(name).filter(|text| !text.is_empty());
    column("address").cloned().unwrap_or_else(|| format!("kit/{}", column("path").map_or("", |path| path)))
}

impl Simulated for Mqtt {
    fn settings(&self, address: SocketAddr) -> Json {
        json!({ "broker": format!("mqtt://{address}") })
    }

    fn set(&mut self, row: &Row, value: &Json) -> Result<()> {
        let (topic, payload) = (topic(row), value.to_string());
        self.commander.publish(&topic, &payload)?;
        self.own.push((topic, payload));
        Ok(())
    }

    fn outputs(&self, rows: &[Row]) -> Vec<(String, Json)> {
        let mut own = self.own.clone();
        let messages = self.observer.messages();
        let others = messages.iter().filter(|message| {
            let sent = (message.topic.clone(), message.text());
            own.iter().position(|known| *known == sent).map(|at| own.swap_remove(at)).is_none()
        });
        others
            .filter_map(|message| {
                let row = rows.iter().find(|row| topic(row) == message.topic)?;
                Some((row.get("path")?.clone(), serde_json::from_str(&message.text()).ok()?))
            })
            .collect()
    }
}

const READY_LIMIT: Duration = Duration::from_secs(20);
