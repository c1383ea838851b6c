//! What a telegram says: transport and application layer.
//!
//! The first octet begins with the transport control information (TPCI); the ten bits after it are the application
//! control information (APCI). Group services need four of them. A value of up to six bits stands in the remaining six,
//! a longer one follows in octets of its own.
//!
//! Standard: `03_03_04` Transport Layer (TPCI); `03_03_07` Application Layer v02.01.01, §3.1 (group services);
//! `03_02_02`, §2.2.5.1 (lengths).

use crate::Error;
use crate::reader::Reader;

/// The most bytes a group value can have: an extended frame has 254 octets behind the first, one of which is control.
pub const PAYLOAD_BYTES_MAX: usize = 253;

/// The value in a group telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Up to six bits, inside the control octet.
    Small(u8),
    /// Whole octets behind it, 1 to [`PAYLOAD_BYTES_MAX`].
    Bytes(Vec<u8>),
}

impl Payload {
    /// The octets; a small value is one.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Small(value) => std::slice::from_ref(value),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

/// Transport control of a telegram with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tpci {
    /// Without a connection: everything that goes to groups, and broadcasts.
    Unnumbered,
    /// To a group, extended with a tag.
    TagGroup,
    /// Within a connection to a device.
    Numbered {
        /// 0 to 15.
        sequence: u8,
    },
}

/// Transport layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tpdu {
    /// Something is said.
    Data {
        /// How it is transported.
        tpci: Tpci,
        /// What is said.
        apdu: Apdu,
    },
    /// Connections to a device are opened, closed, acknowledged. The octet as it is, which has its highest bit set.
    Control(u8),
}

/// Application layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apdu {
    /// Who has the value of this group is to send it.
    GroupValueRead,
    /// The value, since somebody asked.
    GroupValueResponse(Payload),
    /// The value, which is to be taken.
    GroupValueWrite(Payload),
    /// Any other service, kept as it is.
    Other {
        /// Ten bits.
        apci: u16,
        /// The octets behind them.
        data: Vec<u8>,
    },
}

impl Tpdu {
    /// Reads a TPDU of 1 to 255 bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Tpdu, Error> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8("a TPDU")?;
        if first & CONTROL != 0 {
            reader.finish("a transport control PDU")?;
            return Ok(Tpdu::Control(first));
        }
        let tpci = match first >> 2 {
            0b00_0000 => Tpci::Unnumbered,
            0b00_0001 => Tpci::TagGroup,
            bits if bits & 0b01_0000 != 0 => Tpci::Numbered { sequence: bits & 0x0f },
            bits => return Err(Error::Invalid { what: "transport control", got: u32::from(bits) }),
        };
        let second = reader.u8("the second octet of a TPDU")?;
        let apci = u16::from(first & 0b11) << 8 | u16::from(second);
        Ok(Tpdu::Data { tpci, apdu: Apdu::from_parts(apci, reader.rest()) })
    }

    /// 1 to 255 bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let (tpci, apdu) = match self {
            Tpdu::Control(octet) if octet & CONTROL == 0 => {
                return Err(Error::Invalid { what: "a transport control PDU", got: u32::from(*octet) });
            }
            Tpdu::Control(octet) => return Ok(vec![*octet]),
            Tpdu::Data { tpci, apdu } => (tpci, apdu),
        };
        let tpci = match *tpci {
            Tpci::Unnumbered => 0,
            Tpci::TagGroup => 0b00_0001 << 2,
            Tpci::Numbered { sequence } if sequence > 0x0f => {
                return Err(Error::Invalid { what: "a sequence number", got: u32::from(sequence) });
            }
            Tpci::Numbered { sequence } => (0b01_0000 | sequence) << 2,
        };
        let (apci, data) = apdu.parts()?;
        let [high, low] = apci.to_be_bytes();
        let mut out = Vec::with_capacity(2 + data.len());
        out.extend_from_slice(&[tpci | high, low]);
        out.extend_from_slice(data);
        Ok(out)
    }
}

impl Apdu {
    pub(crate) fn from_parts(apci: u16, data: &[u8]) -> Apdu {
        // With octets behind them the six bits carry nothing; they are not looked at, since devices leave rubbish there.
        let payload = || match data {
            [] => Payload::Small((apci & 0x3f) as u8),
            data => Payload::Bytes(data.to_vec()),
        };
        match apci & SERVICE {
            // A read has no value. One that brings some is none that this crate knows.
            GROUP_VALUE_READ if apci == 0 && data.is_empty() => Apdu::GroupValueRead,
            GROUP_VALUE_RESPONSE => Apdu::GroupValueResponse(payload()),
            GROUP_VALUE_WRITE => Apdu::GroupValueWrite(payload()),
            _ => Apdu::Other { apci, data: data.to_vec() },
        }
    }

    pub(crate) fn parts(&self) -> Result<(u16, &[u8]), Error> {
        let (apci, data): (u16, &[u8]) = match self {
            Apdu::GroupValueRead => (GROUP_VALUE_READ, &[]),
            Apdu::GroupValueResponse(payload) => with_payload(GROUP_VALUE_RESPONSE, payload)?,
            Apdu::GroupValueWrite(payload) => with_payload(GROUP_VALUE_WRITE, payload)?,
            Apdu::Other { apci, .. } if *apci > 0x3ff => {
                return Err(Error::Invalid { what: "application control", got: u32::from(*apci) });
            }
            Apdu::Other { apci, data } => (*apci, data),
        };
        if data.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLong {
                what: "the data of a telegram",
                bytes: data.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        Ok((apci, data))
    }
}

fn with_payload(service: u16, payload: &Payload) -> Result<(u16, &[u8]), Error> {
    match payload {
        Payload::Small(value) if *value > 0x3f => {
            Err(Error::Invalid { what: "a value of six bits", got: u32::from(*value) })
        }
        Payload::Small(value) => Ok((service | u16::from(*value), &[])),
        // Without octets it would be read as a small value.
        Payload::Bytes(bytes) if bytes.is_empty() => {
            Err(Error::Truncated { what: "a group value", needed: 1, got: 0 })
        }
        Payload::Bytes(bytes) => Ok((service, bytes)),
    }
}

const CONTROL: u8 = 0x80;
/// The four bits that tell group services apart.
const SERVICE: u16 = 0x3c0;
const GROUP_VALUE_READ: u16 = 0x000;
const GROUP_VALUE_RESPONSE: u16 = 0x040;
const GROUP_VALUE_WRITE: u16 = 0x080;
