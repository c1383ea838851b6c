//! One item: a property of an object of a device, from its row in the items file.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value as Json;
use thiserror::Error;
use twinhub_bacnet_protocol::names::{ObjectType, PropertyIdentifier};
use twinhub_bacnet_protocol::services::PropertyReference;
use twinhub_bacnet_protocol::value::{INSTANCE_MAX, ObjectId};

use crate::config::{ConfigError, Mode, Settings};
use crate::values::Kind;

/// A property of an object of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Instance of the device.
    pub(crate) device: u32,
    /// The object.
    pub(crate) object: ObjectId,
    /// The property.
    pub(crate) reference: PropertyReference,
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// Handle given by the hub.
    pub(crate) item: u32,
    pub(crate) place: Place,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// Whether changes are subscribed to.
    pub(crate) is_cov: bool,
    /// From which change on, if the device is not to choose.
    pub(crate) increment: Option<f32>,
    /// How often it is read where it is not notified; none: never.
    pub(crate) period: Option<Duration>,
    /// Priority of writes.
    pub(crate) priority: Option<u8>,
    /// What is written.
    pub(crate) kind: Option<Kind>,
}

/// Why an item row was refused.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub(crate) enum PointError {
    /// No address.
    #[error("column `address` is missing")]
    NoAddress,
    /// Not an address.
    #[error(
        "column `address`: `{0}` is not device/object or device/object/property; write for example `1002/analog-value:1`"
    )]
    Address(String),
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
    /// Nobody knows what is to be written.
    #[error("column `type` is needed to write this property; write {allowed}", allowed = Kind::WORDS)]
    Kind,
}

impl FromStr for Place {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.trim().splitn(3, '/');
            let device = parts.next()?.trim().parse().ok().filter(|device| *device < INSTANCE_MAX)?;
            let object = object(parts.next()?.trim())?;
            let reference = match parts.next() {
                None => PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE),
                Some(property) => reference(property.trim())?,
            };
            Some(Self { device, object, reference })
        };
        parse().ok_or_else(|| PointError::Address(text.to_owned()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}:{}", self.device, self.object.kind(), self.object.instance())?;
        if self.reference != PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE) {
            write!(formatter, "/{}", self.reference.property)?;
        }
        match self.reference.index {
            Some(index) => write!(formatter, "[{index}]"),
            None => Ok(()),
        }
    }
}

fn object(text: &str) -> Option<ObjectId> {
    let (kind, instance) = text.split_once([':', ','])?;
    let short = SHORT_TYPES.iter().find(|(short, _)| kind.eq_ignore_ascii_case(short));
    let kind = short.map_or(kind, |(_, kind)| kind);
    ObjectId::parse(&format!("{kind},{instance}"))
}

fn reference(text: &str) -> Option<PropertyReference> {
    let (name, index) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(']')?.trim().parse().ok()?)),
    };
    Some(PropertyReference { property: PropertyIdentifier::parse(name.trim())?, index })
}

impl Point {
    /// Reads an item row.
    pub(crate) fn parse(item: u32, row: &Json, settings: &Settings) -> Result<Self, PointError> {
        let place: Place = column(row, "address").ok_or(PointError::NoAddress)?.parse()?;
        let (is_readable, is_writable) = match column(row, "access") {
            None | Some("r") => (true, false),
            Some("w") => (false, true),
            Some("rw") => (true, true),
            Some(got) => return Err(cell("access", got, "r, w or rw")),
        };
        let is_present = place.reference == PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE);
        let has_cov = is_present && has_cov(place.object.kind());
        let is_cov = match column(row, "mode") {
            None => has_cov && settings.config.mode == Mode::Cov,
            Some("cov") => true,
            Some("poll") => false,
            Some(got) => return Err(cell("mode", got, "cov or poll")),
        };
        let increment = match column(row, "cov_increment") {
            None => None,
            Some(text) => {
                let number = text.parse().ok().filter(|number: &f32| number.is_finite() && *number >= 0.0);
                let allowed = "a number from 0 on, for example 0.5";
                Some(number.ok_or_else(|| cell("cov_increment", text, allowed))?)
            }
        };
        let priority = match column(row, "priority") {
            None => settings.config.priority,
            Some(text) => {
                let number = text.parse().ok().filter(|number| (1..=16).contains(number));
                Some(number.ok_or_else(|| cell("priority", text, "a number from 1 to 16"))?)
            }
        };
        let kind = match column(row, "type") {
            None => Kind::of(place.object.kind(), place.reference),
            Some(text) => {
                Some(Kind::parse(text, place.object.kind()).ok_or_else(|| cell("type", text, Kind::WORDS))?)
            }
        };
        if is_writable && kind.is_none() {
            return Err(PointError::Kind);
        }
        let period = settings.period(column(row, "poll").unwrap_or_default())?.filter(|_| is_readable);
        let is_cov = is_cov && is_readable;
        Ok(Self { item, place, is_readable, is_writable, is_cov, increment, period, priority, kind })
    }

    /// What is subscribed to: one property only if a change is named, or the property is not the usual one.
    pub(crate) fn cov_property(&self) -> Option<(PropertyReference, Option<f32>)> {
        let is_present = self.place.reference == PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE);
        (!is_present || self.increment.is_some()).then_some((self.place.reference, self.increment))
    }
}

/// Object types whose `Present_Value` devices usually notify; of others it is read unless the row says `cov`.
fn has_cov(kind: ObjectType) -> bool {
    matches!(kind.number(), 0..=5 | 12..=14 | 19 | 21..=24 | 28 | 30 | 36 | 37 | 39..=50 | 54 | 55)
}

fn cell(column: &'static str, got: &str, allowed: &'static str) -> PointError {
    PointError::Cell { column, got: got.to_owned(), allowed }
}

fn column<'a>(row: &'a Json, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty())
}

const SHORT_TYPES: [(&str, &str); 9] = [
    ("ai", "analog-input"),
    ("ao", "analog-output"),
    ("av", "analog-value"),
    ("bi", "binary-input"),
    ("bo", "binary-output"),
    ("bv", "binary-value"),
    ("mi", "multi-state-input"),
    ("mo", "multi-state-output"),
    ("mv", "multi-state-value"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(row: &Json) -> Result<Point, String> {
        let settings = Settings::new(serde_json::from_value(json!({"priority": 12})).unwrap()).unwrap();
        Point::parse(1, row, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("1002/analog-value:1", "1002/analog-value:1"),
            ("1002/av,1/present-value", "1002/analog-value:1"),
            ("7 / BI:3 / status-flags", "7/binary-input:3/status-flags"),
            ("7/ao:2/priority-array[8]", "7/analog-output:2/priority-array[8]"),
            ("7/300:2/600", "7/300:2/600"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(shown.parse(), Ok(place));
        }
        for wrong in ["", "7", "7/av", "x/av:1", "7/av:1/colour", "7/av:1/priority-array[x]", "4194303/av:1"]
        {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn present_values_are_notified_and_other_properties_read() {
        assert!(check(&json!({"address": "7/av:1"})).unwrap().is_cov);
        assert!(!check(&json!({"address": "7/av:1/units"})).unwrap().is_cov);
        assert!(!check(&json!({"address": "7/av:1", "mode": "poll"})).unwrap().is_cov);
        let point = check(&json!({"address": "7/av:1", "cov_increment": "0.5"})).unwrap();
        assert_eq!(point.cov_property(), Some((point.place.reference, Some(0.5))));
        let point = check(&json!({"address": "7/mi:1", "access": "rw"})).unwrap();
        assert_eq!((point.cov_property(), point.priority, point.is_cov), (None, Some(12), true));
    }

    #[test]
    fn cells_that_make_no_sense_are_told() {
        for (row, words) in [
            (json!({}), "`address` is missing"),
            (json!({"address": "7/av:1", "access": "x"}), "r, w or rw"),
            (json!({"address": "7/av:1", "priority": "0"}), "1 to 16"),
            (json!({"address": "7/av:1", "mode": "guess"}), "cov or poll"),
            (json!({"address": "7/av:1", "cov_increment": "NaN"}), "from 0 on"),
            (json!({"address": "7/av:1", "type": "blob"}), "real"),
            (json!({"address": "7/schedule:1/weekly-schedule", "access": "rw"}), "`type` is needed"),
            (json!({"address": "7/av:1", "poll": "soon"}), "`poll`"),
        ] {
            let error = check(&row).unwrap_err();
            assert!(error.contains(words), "{row}: {error}");
        }
    }
}
