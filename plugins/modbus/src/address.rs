//! Item addresses: `hr:100`, `3/hr:100`, `hr:100.3`, `40101`, `400101`.
//!
//! The data model is that of "MODBUS Application Protocol Specification V1.1b3", section 4.3 (four tables) and 4.4
//! (a table entry numbered `n` is addressed as `n-1` in the frame).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One of the four tables of a Modbus device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Area {
    /// Coils: single bits, readable and writable (function codes 1, 5, 15).
    Coil,
    /// Discrete inputs: single bits, read only (function code 2).
    Discrete,
    /// Input registers: 16-bit words, read only (function code 4).
    Input,
    /// Holding registers: 16-bit words, readable and writable (function codes 3, 6, 16, 22, 23).
    Holding,
}

/// A stretch of a table that one request reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) area: Area,
    pub(crate) start: u16,
    pub(crate) count: u16,
}

impl Area {
    /// Whether an entry of this table is one bit.
    pub(crate) fn is_bits(self) -> bool {
        match self {
            Self::Coil | Self::Discrete => true,
            Self::Input | Self::Holding => false,
        }
    }

    /// Whether the protocol has a function to write this table.
    pub(crate) fn is_writable(self) -> bool {
        match self {
            Self::Coil | Self::Holding => true,
            Self::Discrete | Self::Input => false,
        }
    }

    /// The prefix used in item addresses.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Coil => "co",
            Self::Discrete => "di",
            Self::Input => "ir",
            Self::Holding => "hr",
        }
    }
}

/// Where a value lives in a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Unit identifier, if the address names one.
    pub unit: Option<u8>,
    /// Table.
    pub area: Area,
    /// 0-based number of the first entry, as it is put into the frame.
    pub start: u16,
    /// Bit inside a register, 0 is the least significant.
    pub bit: Option<u8>,
}

/// Why an item address was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing before or after a separator.
    #[error("address is empty; write for example `hr:100`")]
    Empty,
    /// The text before `/` is not a unit identifier.
    #[error("`{0}` is not a unit identifier; write a number from 0 to 255")]
    Unit(String),
    /// The text before `:` names no table.
    #[error(
        "`{0}` is not a table; write co (coils), di (discrete inputs), ir (input registers) or hr (holding registers)"
    )]
    Area(String),
    /// The number is missing or beyond the table.
    #[error("`{0}` is not a 0-based entry number; write a number from 0 to 65535")]
    Number(String),
    /// A number without a table that is not in the 5 or 6 digit notation.
    #[error(
        "`{0}` names no table; write `hr:{0}` (0-based) or five or six digits such as 40001 (1-based: 0xxxx coils, 1xxxx discrete inputs, 3xxxx input registers, 4xxxx holding registers)"
    )]
    Notation(String),
    /// The text after `.` is not a bit number.
    #[error("`{0}` is not a bit of a register; write a number from 0 to 15")]
    Bit(String),
    /// A bit of something that is a bit already.
    #[error("{0} are single bits, so `.bit` has no meaning there")]
    BitOfBit(&'static str),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (unit, rest) = match text.split_once('/') {
            Some((unit, rest)) => (Some(parse_unit(unit.trim())?), rest.trim()),
            None => (None, text),
        };
        if rest.is_empty() {
            return Err(AddressError::Empty);
        }
        let (place, bit) = match rest.split_once('.') {
            Some((place, bit)) => (place.trim(), Some(parse_bit(bit.trim())?)),
            None => (rest, None),
        };
        let (area, start) = match place.split_once(':') {
            Some((area, number)) => (parse_area(area.trim())?, parse_number(number.trim())?),
            None => parse_modicon(place)?,
        };
        if bit.is_some() && area.is_bits() {
            return Err(AddressError::BitOfBit(match area {
                Area::Coil => "coils",
                Area::Discrete | Area::Input | Area::Holding => "discrete inputs",
            }));
        }
        Ok(Self { unit, area, start, bit })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unit) = self.unit {
            write!(f, "{unit}/")?;
        }
        write!(f, "{}:{}", self.area.prefix(), self.start)?;
        match self.bit {
            Some(bit) => write!(f, ".{bit}"),
            None => Ok(()),
        }
    }
}

fn parse_unit(text: &str) -> Result<u8, AddressError> {
    digits(text).and_then(|text| text.parse().ok()).ok_or_else(|| AddressError::Unit(text.to_owned()))
}

fn parse_bit(text: &str) -> Result<u8, AddressError> {
    digits(text)
        .and_then(|text| text.parse().ok())
        .filter(|bit| *bit < 16)
        .ok_or_else(|| AddressError::Bit(text.to_owned()))
}

fn parse_area(text: &str) -> Result<Area, AddressError> {
    match text.to_ascii_lowercase().as_str() {
        "co" | "coil" => Ok(Area::Coil),
        "di" | "discrete" => Ok(Area::Discrete),
        "ir" | "input" => Ok(Area::Input),
        "hr" | "holding" => Ok(Area::Holding),
        _ => Err(AddressError::Area(text.to_owned())),
    }
}

fn parse_number(text: &str) -> Result<u16, AddressError> {
    digits(text).and_then(|text| text.parse().ok()).ok_or_else(|| AddressError::Number(text.to_owned()))
}

/// Five digits reach entry 9999 of a table, six digits all 65536.
fn parse_modicon(text: &str) -> Result<(Area, u16), AddressError> {
    let wrong = || AddressError::Notation(text.to_owned());
    let all = digits(text).filter(|text| text.len() == 5 || text.len() == 6).ok_or_else(wrong)?;
    let (table, number) = all.split_at(1);
    let area = match table {
        "0" => Area::Coil,
        "1" => Area::Discrete,
        "3" => Area::Input,
        "4" => Area::Holding,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let start = number.checked_sub(1).and_then(|start| u16::try_from(start).ok()).ok_or_else(wrong)?;
    Ok((area, start))
}

/// `str::parse` would accept a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    fn plain(area: Area, start: u16) -> Address {
        Address { unit: None, area, start, bit: None }
    }

    #[test]
    fn every_notation_names_the_same_register() {
        for text in ["hr:100", " hr:100 ", "HR:100", "holding:100", "40101", "400101"] {
            assert_eq!(address(text), Ok(plain(Area::Holding, 100)), "{text}");
        }
        assert_eq!(address("co:1"), Ok(plain(Area::Coil, 1)));
        assert_eq!(address("00002"), Ok(plain(Area::Coil, 1)));
        assert_eq!(address("di:7"), address("10008"));
        assert_eq!(address("ir:5"), address("300006"));
        assert_eq!(address("465536"), Ok(plain(Area::Holding, 65535)));
        assert_eq!(
            address("3/hr:100.15"),
            Ok(Address { unit: Some(3), bit: Some(15), ..plain(Area::Holding, 100) })
        );
        assert_eq!(
            address("3/40001.0"),
            Ok(Address { unit: Some(3), bit: Some(0), ..plain(Area::Holding, 0) })
        );
    }

    #[test]
    fn a_wrong_address_says_what_to_write() {
        let cases = [
            ("", "address is empty"),
            ("3/", "address is empty"),
            ("256/hr:1", "unit identifier"),
            ("x/hr:1", "unit identifier"),
            ("xr:1", "not a table"),
            ("hr:", "0-based entry number"),
            ("hr:65536", "0-based entry number"),
            ("hr:-1", "0-based entry number"),
            ("hr:+1", "0-based entry number"),
            ("100", "write `hr:100`"),
            ("40000", "names no table"),
            ("20001", "names no table"),
            ("465537", "names no table"),
            ("hr:1.16", "bit of a register"),
            ("hr:1.", "bit of a register"),
            ("co:1.0", "single bits"),
            ("di:1.0", "single bits"),
        ];
        for (text, part) in cases {
            let message = address(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(
            unit in proptest::option::of(any::<u8>()),
            area in prop_oneof![Just(Area::Coil), Just(Area::Discrete), Just(Area::Input), Just(Area::Holding)],
            start: u16,
            bit in proptest::option::of(0u8..16),
        ) {
            let bit = bit.filter(|_| !area.is_bits());
            let one = Address { unit, area, start, bit };
            prop_assert_eq!(address(&one.to_string()), Ok(one));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,40}") {
            prop_assert!(address(&text).is_ok_and(|one| address(&one.to_string()) == Ok(one)) || address(&text).is_err());
        }

        #[test]
        fn six_digits_are_one_based(start: u16) {
            let text = format!("4{:05}", u32::from(start) + 1);
            prop_assert_eq!(address(&text), Ok(plain(Area::Holding, start)));
        }
    }
}
