//! One item: its place in the device and its rules, from its row in the items file.

use std::time::Duration;

use serde_json::Value as Json;
use thiserror::Error;

use crate::address::{Address, AddressError, Area};
use crate::codec::{Codec, CodecError, CodecSpec};
use crate::config::{ConfigError, Settings};

/// One item of the device.
#[expect(clippy::struct_excessive_bools, reason = "independent facts from independent columns")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// Handle given by the host.
    pub item: u32,
    /// Unit identifier.
    pub unit: u8,
    /// Table.
    pub area: Area,
    /// First entry, 0-based.
    pub start: u16,
    /// Entries: registers or bits.
    pub count: u16,
    /// Whether the item is one bit of a register.
    pub is_register_bit: bool,
    /// Registers to value and back.
    pub codec: Codec,
    /// Whether the item is read.
    pub is_readable: bool,
    /// Whether the item may be written.
    pub is_writable: bool,
    /// Poll period; `None` if it is not polled.
    pub period: Option<Duration>,
    /// Which function codes write it.
    pub write: WriteMode,
    /// A write has an effect each time, for example a pulse or a toggle: it travels alone.
    pub is_non_idempotent: bool,
}

/// Which function codes write an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// 5 and 6 for a single entry, 15 and 16 for neighbors.
    #[default]
    Auto,
    /// 5 and 6 only.
    Single,
    /// 15 and 16 only.
    Multiple,
}

/// Why an item row was refused.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub(crate) enum PointError {
    /// The row has no address.
    #[error("column `address` is missing")]
    NoAddress,
    /// Column `address`.
    #[error("column `address`: {0}")]
    Address(#[from] AddressError),
    /// Column `type` or one that shapes the value.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// Column `poll`.
    #[error("column `poll`: {0}")]
    Poll(#[from] ConfigError),
    /// A cell that is none of the allowed words or numbers.
    #[error("column `{column}`: `{got}` is not allowed; write {allowed}")]
    Cell {
        /// Column.
        column: &'static str,
        /// Cell.
        got: String,
        /// What can be written.
        allowed: &'static str,
    },
    /// The item reaches beyond entry 65535.
    #[error("{count} entries from {start} reach beyond entry 65535")]
    End {
        /// First.
        start: u16,
        /// How many.
        count: u16,
    },
    /// The item does not fit one request.
    #[error("the value takes {count} registers, `{setting}` allows {limit}")]
    Size {
        /// Needed.
        count: u16,
        /// Setting that limits it.
        setting: &'static str,
        /// Allowed.
        limit: u16,
    },
    /// The table cannot be written.
    #[error("column `access`: {0} cannot be written; write r")]
    ReadOnly(&'static str),
}

impl Point {
    /// Reads an item row.
    pub(crate) fn parse(item: u32, row: &Json, settings: &Settings) -> Result<Self, PointError> {
        let address: Address = column(row, "address").ok_or(PointError::NoAddress)?.parse()?;
        let unit = match column(row, "unit_id") {
            None => address.unit.unwrap_or(settings.config.unit),
            Some(text) => {
                let wrong = |allowed| PointError::Cell { column: "unit_id", got: text.clone(), allowed };
                let unit = text.parse().map_err(|_| wrong("a number from 0 to 255"))?;
                if address.unit.is_some_and(|other| other != unit) {
                    return Err(wrong("the unit that the address names, or leave one of the two empty"));
                }
                unit
            }
        };
        let spec = CodecSpec {
            kind: column(row, "type").map(|text| text.parse()).transpose()?,
            order: column(row, "order").map(|text| text.parse()).transpose()?,
            order_default: settings.config.order,
            bit: address.bit,
            scale: number(row, "scale")?,
            offset: number(row, "offset")?,
            min: number(row, "min")?,
            max: number(row, "max")?,
        };
        let codec = Codec::new(address.area, &spec)?;
        let count = if address.area.is_bits() { 1 } else { codec.kind().registers() };
        if u32::from(address.start) + u32::from(count) > 1 << 16 {
            return Err(PointError::End { start: address.start, count });
        }
        let (is_readable, is_writable) = access(row)?;
        if is_writable && !address.area.is_writable() {
            return Err(PointError::ReadOnly(match address.area {
                Area::Input => "input registers",
                Area::Coil | Area::Discrete | Area::Holding => "discrete inputs",
            }));
        }
        let limit = settings.config.max_registers;
        if is_readable && !address.area.is_bits() && count > limit {
            return Err(PointError::Size { count, setting: "max_registers", limit });
        }
        let limit = settings.config.max_write_registers;
        if is_writable && !address.area.is_bits() && count > limit {
            return Err(PointError::Size { count, setting: "max_write_registers", limit });
        }
        let write = write_mode(row, count)?;
        let period = settings.period(&column(row, "poll").unwrap_or_default())?.filter(|_| is_readable);
        Ok(Self {
            item,
            unit,
            area: address.area,
            start: address.start,
            count,
            is_register_bit: address.bit.is_some(),
            codec,
            is_readable,
            is_writable,
            period,
            write,
            is_non_idempotent: flag(row, "non_idempotent")?,
        })
    }

    /// Entry after the last one.
    pub(crate) fn end(&self) -> u32 {
        u32::from(self.start) + u32::from(self.count)
    }
}

fn access(row: &Json) -> Result<(bool, bool), PointError> {
    match column(row, "access").as_deref() {
        None | Some("r") => Ok((true, false)),
        Some("w") => Ok((false, true)),
        Some("rw") => Ok((true, true)),
        Some(got) => Err(PointError::Cell { column: "access", got: got.to_owned(), allowed: "r, w or rw" }),
    }
}

fn write_mode(row: &Json, count: u16) -> Result<WriteMode, PointError> {
    let allowed = if count == 1 {
        "auto, single or multiple"
    } else {
        "auto or multiple, the value has more than one register"
    };
    match column(row, "write").as_deref() {
        None | Some("auto") => Ok(WriteMode::Auto),
        Some("multiple") => Ok(WriteMode::Multiple),
        Some("single") if count == 1 => Ok(WriteMode::Single),
        Some(got) => Err(PointError::Cell { column: "write", got: got.to_owned(), allowed }),
    }
}

fn flag(row: &Json, name: &'static str) -> Result<bool, PointError> {
    match column(row, name).map(|text| text.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "no" | "0") => Ok(false),
        Some("true" | "yes" | "1") => Ok(true),
        Some(got) => Err(PointError::Cell { column: name, got: got.to_owned(), allowed: "true or false" }),
    }
}

fn number(row: &Json, name: &'static str) -> Result<Option<f64>, PointError> {
    let Some(text) = column(row, name) else { return Ok(None) };
    let wrong = || PointError::Cell { column: name, got: text.clone(), allowed: "a number such as 0.1" };
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or_else(wrong)
}

/// A cell; `None` if it is missing or blank.
fn column(row: &Json, name: &str) -> Option<String> {
    let text = match row.get(name)? {
        Json::String(text) => text.trim().to_owned(),
        Json::Number(number) => number.to_string(),
        Json::Bool(flag) => flag.to_string(),
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec::Datum;

    fn settings() -> Settings {
        let config =
            json!({"address": "plc", "unit": 7, "poll_classes": {"fast": "100ms"}, "max_registers": 60});
        Settings::new(serde_json::from_value(config).unwrap()).unwrap()
    }

    fn check(row: &Json) -> Result<Point, String> {
        Point::parse(0, row, &settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_row_becomes_a_point() {
        let point = check(&json!({
            "path": "boiler/setpoint", "address": "hr:10", "type": "int16", "access": "rw", "unit": "°C", "unit_id": "3",
            "scale": "0.1", "min": "5", "max": "30", "poll": "fast", "write": "single", "non_idempotent": "true",
        }))
        .unwrap();
        assert_eq!((point.unit, point.area, point.start, point.count), (3, Area::Holding, 10, 1));
        assert_eq!((point.period, point.write), (Some(Duration::from_millis(100)), WriteMode::Single));
        assert!(point.is_readable && point.is_writable && point.is_non_idempotent);
        assert_eq!(point.codec.decode(&[215]), Ok(Datum::F64(21.5)));
    }

    #[test]
    fn empty_cells_take_the_defaults() {
        let point =
            check(&json!({"address": "40011", "type": "", "access": "", "poll": " ", "unit_id": null}))
                .unwrap();
        assert_eq!((point.unit, point.start, point.period), (7, 10, Some(Duration::from_secs(1))));
        assert!(point.is_readable && !point.is_writable && !point.is_non_idempotent);
        assert_eq!(check(&json!({"address": "hr:1", "access": "w"})).unwrap().period, None);
        assert_eq!(check(&json!({"address": "9/hr:1", "unit_id": "9"})).unwrap().unit, 9);
    }

    #[test]
    fn a_wrong_cell_names_its_column_and_what_to_write() {
        let cases = [
            (json!({}), "`address` is missing"),
            (json!({"address": "100"}), "column `address`: `100` names no table"),
            (json!({"address": "hr:1", "type": "int8"}), "not a type"),
            (json!({"address": "hr:1", "scale": "0,1"}), "column `scale`: `0,1`"),
            (json!({"address": "hr:1", "scale": "nan"}), "column `scale`"),
            (json!({"address": "hr:1", "poll": "fst"}), "poll classes are: fast, off"),
            (json!({"address": "hr:1", "access": "x"}), "r, w or rw"),
            (json!({"address": "ir:1", "access": "rw"}), "input registers cannot be written"),
            (json!({"address": "di:1", "access": "w"}), "discrete inputs cannot be written"),
            (json!({"address": "hr:1", "write": "FC16"}), "auto, single or multiple"),
            (json!({"address": "hr:1", "type": "float32", "write": "single"}), "auto or multiple"),
            (json!({"address": "hr:65535", "type": "uint32"}), "beyond entry 65535"),
            (
                json!({"address": "hr:1", "type": "string(122)"}),
                "takes 61 registers, `max_registers` allows 60",
            ),
            (
                json!({"address": "hr:1", "access": "w", "type": "string(250)"}),
                "`max_write_registers` allows 123",
            ),
            (json!({"address": "2/hr:1", "unit_id": "3"}), "column `unit_id`"),
            (json!({"address": "hr:1", "non_idempotent": "maybe"}), "true or false"),
        ];
        for (row, part) in cases {
            let message = check(&row).expect_err(part);
            assert!(message.contains(part), "{row}: {message}");
        }
    }
}
