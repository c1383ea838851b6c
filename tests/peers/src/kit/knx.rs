//! Group objects of a device on a KNX bus, by the addresses of the plugin `knx`.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, Payload};

use super::{Row, Simulated};
use crate::error::{Error, Result};
use crate::knx::gateway::{KnxGateway, KnxGatewayOptions};

/// See the module.
#[derive(Debug)]
pub(crate) struct Knx(KnxGateway);

impl Knx {
    pub(crate) fn start() -> Result<Self> {
        KnxGateway::start(KnxGatewayOptions::default()).map(Self)
    }

    /// The device says a value, and has it from now on.
    fn say(&self, group: GroupAddress, payload: Payload) {
        self.0.set_value(group, payload.clone());
        self.0.say(DEVICE, group, Apdu::GroupValueWrite(payload));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// A group of a row, and whether it is a bit or the float of two octets.
fn place(row: &Row) -> Result<(GroupAddress, bool)> {
    let cell = |name: &str| row.get(name).map_or("", String::as_str);
    let refused = |what: &str| Error::invalid(format!("item `{}`", cell("path")), what);
    let group =
        cell("address").parse().map_err(|error| Error::invalid(format!("item `{}`", cell("path")), error))?;
    let is_bit = match cell("dpt").split('.').next() {
        Some("1") => true,
        Some("9") => false,
        _ => return Err(refused("this device knows the types 1 and 9")),
    };
    Ok((group, is_bit))
}

impl Simulated for Knx {
    fn settings(&self, address: SocketAddr) -> Json {
        json!({ "gateway": address.to_string(), "transport": "tcp" })
    }

    fn set(&mut self, row: &Row, value: &Json) -> Result<()> {
        let (group, is_bit) = place(row)?;
        if is_bit {
            self.say(group, Payload::Small(u8::from(value == &json!(true))));
        } else {
            self.say(group, Payload::Bytes(float(value.as_f64().unwrap_or_default()).to_vec()));
        }
        Ok(())
    }

    fn outputs(&self, rows: &[Row]) -> Vec<(String, Json)> {
        let telegrams = self.0.telegrams().into_iter().filter(|telegram| telegram.source != DEVICE);
        telegrams
            .filter_map(|telegram| {
                let Apdu::GroupValueWrite(payload) = &telegram.apdu else { return None };
                rows.iter().find_map(|row| {
                    let (group, is_bit) = place(row).ok()?;
                    let value = match payload.as_bytes()[..] {
                        [bit] if is_bit => json!(bit & 1 == 1),
                        [high, low] if !is_bit => json!(number(high, low)),
                        _ => return None,
                    };
                    (group == telegram.group).then(|| Some((row.get("path")?.clone(), value)))?
                })
            })
            .collect()
    }
}

/// Sign, four bits of exponent, eleven of mantissa, in hundredths (`03_07_02`, §3.10).
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is cut by the device")]
fn float(value: f64) -> [u8; 2] {
    let (mut mantissa, mut exponent) = ((value * 100.0).round(), 0u16);
    while !(-2048.0..=2047.0).contains(&mantissa) && exponent < 15 {
        mantissa = (mantissa / 2.0).round();
        exponent += 1;
    }
    let mantissa = (mantissa as i16).cast_unsigned();
    (mantissa & 0x8000 | exponent << 11 | mantissa & 0x07ff).to_be_bytes()
}

fn number(high: u8, low: u8) -> f64 {
    let word = u16::from_be_bytes([high, low]);
    let mantissa = i32::from(word & 0x07ff) - if word & 0x8000 == 0 { 0 } else { 2048 };
    f64::from(mantissa << (word >> 11 & 0x0f)) / 100.0
}

/// The device of the gateway.
const DEVICE: IndividualAddress = IndividualAddress(0x1101);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_their_two_octets() {
        for value in [0.0, 21.0, -30.0, 0.01, 20.48, 670_433.28, -671_088.64] {
            let [high, low] = float(value);
            assert!((number(high, low) - value).abs() < f64::EPSILON, "{value}");
        }
        assert_eq!(float(21.0), [0x0c, 0x1a]);
    }
}
