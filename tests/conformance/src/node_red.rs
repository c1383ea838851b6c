//! Node-RED with its Modbus nodes, doing what the hub does.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use twinhub_peers::{Port, Process};

use crate::error::{Error, Result};
use crate::load::BLOCK;

/// One read and one message per block of registers.
pub(crate) fn flows(device: SocketAddr, broker: SocketAddr, registers: u16, interval_ms: u64) -> Value {
    let mut nodes = vec![
        json!({ "id": "tab", "type": "tab", "label": "bench" }),
        json!({
            "id": "client", "type": "modbus-client", "name": "device", "clienttype": "tcp", "bufferCommands": true,
            "stateLogEnabled": false, "queueLogEnabled": false, "failureLogEnabled": false,
            "tcpHost": device.ip().to_string(), "tcpPort": device.port().to_string(), "tcpType": "DEFAULT",
            "unit_id": "1", "commandDelay": "1", "clientTimeout": "2000", "reconnectOnTimeout": true,
            "reconnectTimeout": "2000", "parallelUnitIdsAllowed": true,
        }),
        json!({
            "id": "broker", "type": "mqtt-broker", "broker": broker.ip().to_string(),
            "port": broker.port().to_string(), "clientid": "node-red", "protocolVersion": "4", "keepalive": "60",
            "cleansession": true, "autoConnect": true,
        }),
    ];
    for (block, first) in (0..registers).step_by(usize::from(BLOCK)).enumerate() {
        let count = BLOCK.min(registers - first);
        let code = format!(
            "const values = {{}}; msg.payload.forEach((v, i) => {{ values['r' + ({first} + i)] = v; }}); \
             return {{ topic: 'bench/b{block}', payload: values }};"
        );
        nodes.push(json!({
            "id": format!("read{block}"), "type": "modbus-read", "z": "tab", "unitid": "1",
            "dataType": "HoldingRegister", "adr": first.to_string(), "quantity": count.to_string(),
            "rate": interval_ms.to_string(), "rateUnit": "ms", "delayOnStart": false, "startDelayTime": "",
            "server": "client", "useIOFile": false, "emptyMsgOnFail": false, "showStatusActivities": false,
            "wires": [[format!("pack{block}")], []],
        }));
        nodes.push(json!({
            "id": format!("pack{block}"), "type": "function", "z": "tab", "func": code, "outputs": 1,
            "wires": [[format!("out{block}")]],
        }));
        nodes.push(json!({
            "id": format!("out{block}"), "type": "mqtt out", "z": "tab", "topic": "", "qos": "0", "retain": "false",
            "broker": "broker", "wires": [],
        }));
    }
    Value::Array(nodes)
}

/// Starts it with the flows, listening on a free port.
pub(crate) fn start(installed: &Path, folder: &Path, flows: &Value) -> Result<Process> {
    let file = folder.join("flows.json");
    fs::write(&file, flows.to_string()).map_err(Error::file(&file))?;
    // Node-RED looks for further nodes below its user folder.
    let modules = folder.join("node_modules");
    std::os::unix::fs::symlink(installed.join("node_modules"), &modules).map_err(Error::file(&modules))?;
    let port = Port::reserve()?;
    let mut command = Command::new("node");
    command.current_dir(folder).arg(installed.join("node_modules/node-red/red.js"));
    command.arg("--userDir").arg(folder).args(["--port", &port.number().to_string()]).arg("flows.json");
    Ok(Process::spawn("node-red", command, &folder.join("node-red.log"))?)
}

/// What its package says.
pub(crate) fn version(installed: &Path) -> String {
    let read = |package: &str| {
        let text =
            fs::read_to_string(installed.join("node_modules").join(package).join("package.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["version"].as_str().map(str::to_owned)
    };
    read("node-red").unwrap_or_else(|| "unknown".to_owned())
}
