//! Devices as `twinhub plugin test --device` wants them: orders as lines of JSON, answers likewise.
//!
//! The kit's README tells the orders. What is the same for every device of ours stands here: it is behind a relay, which
//! is away, slow or garbles what passes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::relay::{Cut, Relay};

pub(crate) mod knx;
pub(crate) mod modbus;
pub(crate) mod mqtt;

/// A row of the items file, a text for each column.
pub(crate) type Row = BTreeMap<String, String>;

/// A device with items.
pub(crate) trait Simulated {
    /// What of the settings leads to `address`, where the relay listens.
    fn settings(&self, address: SocketAddr) -> Json;
    /// From now on the item has this value, or sends it.
    fn set(&mut self, row: &Row, value: &Json) -> Result<()>;
    /// All that was written to these items, by path, in order.
    fn outputs(&self, rows: &[Row]) -> Vec<(String, Json)>;
}

/// What the program `kit-device` does: serves the kit on standard input and output until its end.
pub fn run_kit_device(kind: &str) -> Result<()> {
    match kind {
        "knx" => {
            let device = knx::Knx::start()?;
            serve(device.address(), device)
        }
        "modbus" => {
            let device = modbus::Modbus::start()?;
            serve(device.address(), device)
        }
        "mqtt" => {
            let broker = mqtt::Mqtt::start()?;
            serve(broker.address(), broker)
        }
        _ => Err(Error::invalid(format!("device `{kind}`"), "there are `knx`, `modbus` and `mqtt`")),
    }
}

fn serve(target: SocketAddr, mut device: impl Simulated) -> Result<()> {
    let relay = Relay::start(target)?;
    let mut rows = Vec::new();
    let mut output = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line.map_err(Error::io("read an order"))?;
        let answer = serde_json::from_str(&line)
            .map_err(|error| Error::invalid(format!("order `{line}`"), error))
            .and_then(|order| obey(&order, &relay, &mut rows, &mut device))
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(Error::io("answer an order"))?;
    }
    Ok(())
}

fn obey(order: &Json, relay: &Relay, rows: &mut Vec<Row>, device: &mut impl Simulated) -> Result<Json> {
    let word = |name: &str| order.get(name).and_then(Json::as_str).unwrap_or_default();
    match word("do") {
        "items" => {
            let items = order.get("items").cloned().unwrap_or_default();
            *rows = serde_json::from_value(items).map_err(|error| Error::invalid("items", error))?;
            Ok(json!({ "settings": device.settings(relay.address()) }))
        }
        "set" => {
            let row = rows.iter().find(|row| row.get("path").is_some_and(|path| path == word("item")));
            let row =
                row.ok_or_else(|| Error::invalid(format!("item `{}`", word("item")), "there is none"))?;
            device.set(row, order.get("value").unwrap_or(&Json::Null))?;
            Ok(json!({}))
        }
        "outputs" => {
            let outputs = device.outputs(rows).into_iter();
            let list: Vec<Json> =
                outputs.map(|(item, value)| json!({ "item": item, "value": value })).collect();
            Ok(json!({ "outputs": list }))
        }
        "sessions" => Ok(json!({ "sessions": relay.open_connections() })),
        "drop" => {
            relay.close_connections();
            Ok(json!({}))
        }
        "be" => {
            relay.heal();
            relay.garble(word("state") == "garbage");
            relay.delay(if word("state") == "slow" { SLOW } else { Duration::ZERO });
            match word("state") {
                "absent" => relay.cut(Cut::Reset),
                "slow" | "garbage" | "well" => {}
                _ => return Ok(json!({ "unsupported": true })),
            }
            Ok(json!({}))
        }
        _ => Ok(json!({ "unsupported": true })),
    }
}

/// Each way: longer than most devices are waited for.
const SLOW: Duration = Duration::from_millis(600);
