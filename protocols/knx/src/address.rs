//! Individual and group addresses.
//!
//! Both are 16 bits. An individual address is area (4 bits), line (4 bits), device (8 bits). How a group address is
//! written is a matter of the ETS project only: three levels (5/3/8 bits), two levels (5/11 bits) or one number; the
//! telegram shows none of it. The main group has five bits since it reaches 31 with extended group addresses.
//!
//! Standard: `03_03_02` Data Link Layer General (addresses); the notation of group addresses is that of the ETS.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The address of one device, or of one tunnelling connection: `area.line.device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IndividualAddress(pub u16);

impl IndividualAddress {
    /// `0.0.0`: in a request it lets the gateway fill in the address of the connection.
    pub const NONE: IndividualAddress = IndividualAddress(0);

    /// An address from its parts, if `area` and `line` are below 16.
    pub const fn from_parts(area: u8, line: u8, device: u8) -> Option<IndividualAddress> {
        if area > 15 || line > 15 {
            return None;
        }
        Some(IndividualAddress(u16::from_be_bytes([area << 4 | line, device])))
    }

    /// The area, 0 to 15.
    pub const fn area(self) -> u8 {
        self.0.to_be_bytes()[0] >> 4
    }

    /// The line, 0 to 15.
    pub const fn line(self) -> u8 {
        self.0.to_be_bytes()[0] & 0x0f
    }

    /// The device on its line.
    pub const fn device(self) -> u8 {
        self.0.to_be_bytes()[1]
    }
}

impl fmt::Display for IndividualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.area(), self.line(), self.device())
    }
}

impl FromStr for IndividualAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<IndividualAddress, Error> {
        let wrong = |part: String| Error::Address {
            text: text.to_owned(),
            kind: "individual",
            part,
            example: "area.line.device, for example 1.1.250 (area and line 0 to 15, device 0 to 255)",
        };
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [area, line, device] = parts[..] else {
            return Err(wrong(format!("it has {} parts, not 3", parts.len())));
        };
        let area = number(area, "area", 15).map_err(wrong)?;
        let line = number(line, "line", 15).map_err(wrong)?;
        let device = number(device, "device", 255).map_err(wrong)?;
        Ok(IndividualAddress(area << 12 | line << 8 | device))
    }
}

/// How a project writes its group addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum GroupStyle {
    /// `main/middle/sub`, for example `1/2/3`.
    #[default]
    ThreeLevel,
    /// `main/sub`, for example `1/515`.
    TwoLevel,
    /// One number, for example `2563`.
    Free,
}

/// The address of a group of communication objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupAddress(pub u16);

impl GroupAddress {
    /// `0/0/0`, which addresses every device and carries no group values.
    pub const BROADCAST: GroupAddress = GroupAddress(0);

    /// The address as a project of this style writes it.
    pub const fn display(self, style: GroupStyle) -> DisplayGroup {
        DisplayGroup { address: self, style }
    }

    /// The main group, 0 to 31.
    pub const fn main(self) -> u16 {
        self.0 >> 11
    }

    /// The middle group of three levels, 0 to 7.
    pub const fn middle(self) -> u16 {
        self.0 >> 8 & 0x07
    }

    /// The subgroup of three levels, 0 to 255.
    pub const fn sub(self) -> u16 {
        self.0 & 0xff
    }

    /// The subgroup of two levels, 0 to 2047.
    pub const fn sub_of_two_levels(self) -> u16 {
        self.0 & 0x7ff
    }
}

impl fmt::Display for GroupAddress {
    /// Three levels, whatever the project uses; see [`GroupAddress::display`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.display(GroupStyle::ThreeLevel).fmt(f)
    }
}

impl FromStr for GroupAddress {
    type Err = Error;

    /// All three styles; the number of slashes tells which one it is.
    fn from_str(text: &str) -> Result<GroupAddress, Error> {
        let wrong = |part: String| Error::Address {
            text: text.to_owned(),
            kind: "group",
            part,
            example: "main/middle/sub such as 1/2/3 (0 to 31, 0 to 7, 0 to 255), main/sub such as 1/515 (0 to 31, \
                      0 to 2047), or one number up to 65535",
        };
        let parts: Vec<&str> = text.trim().split('/').collect();
        let raw = match parts[..] {
            [main, middle, sub] => {
                number(main, "main group", 31).map_err(wrong)? << 11
                    | number(middle, "middle group", 7).map_err(wrong)? << 8
                    | number(sub, "subgroup", 255).map_err(wrong)?
            }
            [main, sub] => {
                number(main, "main group", 31).map_err(wrong)? << 11
                    | number(sub, "subgroup", 2047).map_err(wrong)?
            }
            [raw] => number(raw, "number", u16::MAX).map_err(wrong)?,
            _ => return Err(wrong(format!("it has {} parts, not 1 to 3", parts.len()))),
        };
        Ok(GroupAddress(raw))
    }
}

/// A group address in the notation of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayGroup {
    address: GroupAddress,
    style: GroupStyle,
}

impl fmt::Display for DisplayGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.style {
            GroupStyle::ThreeLevel => {
                write!(f, "{}/{}/{}", address.main(), address.middle(), address.sub())
            }
            GroupStyle::TwoLevel => write!(f, "{}/{}", address.main(), address.sub_of_two_levels()),
            GroupStyle::Free => write!(f, "{}", address.0),
        }
    }
}

/// A decimal number of one part. Digits only: `u16::from_str` alone would take `+1`.
fn number(text: &str, part: &str, max: u16) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse::<u32>().ok() } else { None };
    let number = number.ok_or_else(|| format!("the {part} `{}` is no number", text.escape_debug()))?;
    u16::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("the {part} is {number}, at most {max} is possible"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_addresses_have_the_bits_of_the_standard() {
        assert_eq!("1.1.250".parse(), Ok(IndividualAddress(0x11fa)));
        assert_eq!("15.15.255".parse(), Ok(IndividualAddress(0xffff)));
        assert_eq!("9/0/8".parse(), Ok(GroupAddress(0x4808)));
        assert_eq!("1/515".parse(), Ok(GroupAddress(0x0a03)));
        assert_eq!("1/2/3".parse(), Ok(GroupAddress(0x0a03)));
        assert_eq!("2563".parse(), Ok(GroupAddress(0x0a03)));
        assert_eq!(IndividualAddress::from_parts(1, 1, 250), Some(IndividualAddress(0x11fa)));
        assert_eq!(IndividualAddress::from_parts(16, 1, 1), None);
    }

    #[test]
    fn a_wrong_address_says_which_part_is_wrong_and_how_to_write_it() {
        let say = |text: &str| text.parse::<GroupAddress>().unwrap_err().to_string();
        assert!(say("1/8/3").contains("the middle group is 8, at most 7 is possible"), "{}", say("1/8/3"));
        assert!(say("32/1").contains("the main group is 32"), "{}", say("32/1"));
        assert!(say("1/2/3/4").contains("it has 4 parts"), "{}", say("1/2/3/4"));
        assert!(say("65536").contains("at most 65535"), "{}", say("65536"));
        for text in ["", "/", "+1", "-1", "1/ 2/3", "1//3", "0x10", "99999999999", "1/2/३"] {
            assert!(text.parse::<GroupAddress>().is_err(), "{text}");
        }
        let error = "1.16.3".parse::<IndividualAddress>().unwrap_err().to_string();
        assert!(error.contains("the line is 16") && error.contains("1.1.250"), "{error}");
        assert!("1.1".parse::<IndividualAddress>().is_err());
    }

    proptest! {
        #[test]
        fn every_group_address_survives_each_style(raw: u16) {
            let address = GroupAddress(raw);
            for style in [GroupStyle::ThreeLevel, GroupStyle::TwoLevel, GroupStyle::Free] {
                prop_assert_eq!(address.display(style).to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn every_individual_address_survives_its_text(raw: u16) {
            let address = IndividualAddress(raw);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert_eq!(
                IndividualAddress::from_parts(address.area(), address.line(), address.device()),
                Some(address)
            );
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,24}") {
            drop(text.parse::<GroupAddress>());
            drop(text.parse::<IndividualAddress>());
        }
    }
}
