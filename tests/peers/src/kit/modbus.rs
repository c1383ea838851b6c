//! Holding registers and coils of the Modbus device, by the addresses of the plugin `modbus`.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::{Row, Simulated};
use crate::error::{Error, Result};
use crate::modbus::device::{Device, DeviceOptions};
use crate::modbus::frames::WRITE_FUNCTIONS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Modbus(Device);

impl Modbus {
    pub(crate) fn start() -> Result<Self> {
        Device::start(DeviceOptions::default()).map(Self)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// A single register or coil, and what a register counts.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Register { address: u16, scale: f64 },
    Coil(u16),
}

impl Place {
    fn of(row: &Row) -> Result<Self> {
        let text = row.get("address").map_or("", String::as_str);
        let refused = || Error::invalid(format!("address `{text}`"), "this device knows `hr:N` and `co:N`");
        let (table, number) = text.split_once(':').ok_or_else(refused)?;
        let address = number.parse().map_err(|_| refused())?;
        let scale = row.get("scale").and_then(|scale| scale.parse().ok()).unwrap_or(1.0);
        match table {
            "hr" => Ok(Place::Register { address, scale }),
            "co" => Ok(Place::Coil(address)),
            _ => Err(refused()),
        }
    }
}

impl Simulated for Modbus {
    fn settings(&self, address: SocketAddr) -> Json {
        json!({ "address": address.to_string() })
    }

    fn set(&mut self, row: &Row, value: &Json) -> Result<()> {
        match Place::of(row)? {
            Place::Register { address, scale } => {
                let raw = (value.as_f64().unwrap_or_default() / scale).round();
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "what does not fit a register is cut by the device"
                )]
                self.0.set_register(address, (raw as i16).cast_unsigned());
            }
            Place::Coil(address) => self.0.set_coil(address, value == &json!(true)),
        }
        Ok(())
    }

    fn outputs(&self, rows: &[Row]) -> Vec<(String, Json)> {
        let requests = self.0.log().requests();
        let writes = requests.iter().filter(|request| WRITE_FUNCTIONS.contains(&request.function));
        let each = writes.flat_map(|request| {
            (request.address..).zip(request.values.iter().map(move |value| (request, *value)))
        });
        each.filter_map(|(at, (request, value))| {
            rows.iter().find_map(|row| {
                let place = Place::of(row).ok()?;
                let seen = match place {
                    Place::Register { address, scale } if address == at && !is_coil(request.function) => {
                        json!(f64::from(value.cast_signed()) * scale)
                    }
                    Place::Coil(address) if address == at && is_coil(request.function) => json!(value != 0),
                    Place::Register { .. } | Place::Coil(_) => return None,
                };
                Some((row.get("path")?.clone(), seen))
            })
        })
        .collect()
    }
}

/// Write Single Coil and Write Multiple Coils.
const fn is_coil(function: u8) -> bool {
    matches!(function, 5 | 15)
}
