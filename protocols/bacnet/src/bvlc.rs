//! The virtual link layer of BACnet/IP: Annex J.2.
//!
//! Each datagram begins with `0x81`, a function, and its whole length. [`Bvlc`] borrows the NPDU within it.
//! IPv6 (Annex U) and BACnet/SC (Annex AB) have link layers of their own, which are not spoken here.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::Error;
use crate::tag::Reader;

/// The UDP port of BACnet/IP, 0xBAC0: clause J.1.2.
pub const PORT: u16 = 47_808;
/// The most entries of a table that fit in a datagram.
pub const ENTRIES_MAX: usize = 6_553;
/// The longest datagram that is written.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The first octet of BACnet/IP.
const TYPE: u8 = 0x81;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bvlc<'a> {
    /// How a request to a BBMD went, J.2.1.
    Result(BvlcResult),
    /// Replaces the broadcast distribution table, J.2.2.
    WriteBroadcastTable(Vec<BroadcastEntry>),
    /// Asks for the broadcast distribution table, J.2.3.
    ReadBroadcastTable,
    /// The broadcast distribution table, J.2.4.
    BroadcastTable(Vec<BroadcastEntry>),
    /// A broadcast that a BBMD passes on for its origin, J.2.5.
    Forwarded {
        /// Who sent it.
        origin: SocketAddrV4,
        /// What.
        npdu: &'a [u8],
    },
    /// Asks a BBMD for its broadcasts, J.2.6.
    RegisterForeignDevice {
        /// For how long.
        seconds: u16,
    },
    /// Asks for the table of foreign devices, J.2.7.
    ReadForeignTable,
    /// The table of foreign devices, J.2.8.
    ForeignTable(Vec<ForeignEntry>),
    /// Removes an entry from the table of foreign devices, J.2.9.
    DeleteForeignEntry(SocketAddrV4),
    /// Asks a BBMD to broadcast something, J.2.10.
    DistributeBroadcast(&'a [u8]),
    /// To one device, J.2.11.
    OriginalUnicast(&'a [u8]),
    /// To all devices of the subnet, J.2.12.
    OriginalBroadcast(&'a [u8]),
    /// A function that is not known here.
    Unknown {
        /// Its number.
        function: u8,
        /// What follows.
        bytes: &'a [u8],
    },
}

/// How a request to a BBMD went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BvlcResult {
    /// It was done.
    Success,
    /// The broadcast distribution table was not written.
    WriteBroadcastTableRefused,
    /// The broadcast distribution table is not told.
    ReadBroadcastTableRefused,
    /// The foreign device was not registered: the table is full, or this is no BBMD.
    RegisterForeignDeviceRefused,
    /// The table of foreign devices is not told.
    ReadForeignTableRefused,
    /// The entry was not removed.
    DeleteForeignEntryRefused,
    /// The broadcast was not distributed, because the sender is not registered.
    DistributeBroadcastRefused,
    /// A code that is not known here.
    Unknown(u16),
}

/// A BBMD and how broadcasts reach its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastEntry {
    /// The BBMD.
    pub address: SocketAddrV4,
    /// All ones if the BBMD broadcasts itself, else the mask of its subnet.
    pub mask: Ipv4Addr,
}

/// A foreign device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignEntry {
    /// The device.
    pub address: SocketAddrV4,
    /// For how long it registered.
    pub seconds: u16,
    /// How long until it is removed.
    pub seconds_left: u16,
}

impl BvlcResult {
    /// From its code.
    pub const fn from_code(code: u16) -> BvlcResult {
        match code {
            0x0000 => BvlcResult::Success,
            0x0010 => BvlcResult::WriteBroadcastTableRefused,
            0x0020 => BvlcResult::ReadBroadcastTableRefused,
            0x0030 => BvlcResult::RegisterForeignDeviceRefused,
            0x0040 => BvlcResult::ReadForeignTableRefused,
            0x0050 => BvlcResult::DeleteForeignEntryRefused,
            0x0060 => BvlcResult::DistributeBroadcastRefused,
            other => BvlcResult::Unknown(other),
        }
    }

    /// Its code.
    pub const fn code(self) -> u16 {
        match self {
            BvlcResult::Success => 0x0000,
            BvlcResult::WriteBroadcastTableRefused => 0x0010,
            BvlcResult::ReadBroadcastTableRefused => 0x0020,
            BvlcResult::RegisterForeignDeviceRefused => 0x0030,
            BvlcResult::ReadForeignTableRefused => 0x0040,
            BvlcResult::DeleteForeignEntryRefused => 0x0050,
            BvlcResult::DistributeBroadcastRefused => 0x0060,
            BvlcResult::Unknown(code) => code,
        }
    }
}

impl<'a> Bvlc<'a> {
    /// The NPDU within it.
    pub fn npdu(&self) -> Option<&'a [u8]> {
        match self {
            Bvlc::Forwarded { npdu, .. }
            | Bvlc::DistributeBroadcast(npdu)
            | Bvlc::OriginalUnicast(npdu)
            | Bvlc::OriginalBroadcast(npdu) => Some(npdu),
            Bvlc::Result(_)
            | Bvlc::WriteBroadcastTable(_)
            | Bvlc::ReadBroadcastTable
            | Bvlc::BroadcastTable(_)
            | Bvlc::RegisterForeignDevice { .. }
            | Bvlc::ReadForeignTable
            | Bvlc::ForeignTable(_)
            | Bvlc::DeleteForeignEntry(_)
            | Bvlc::Unknown { .. } => None,
        }
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// If it is not BACnet/IP, or not as long as it says.
    pub fn decode(datagram: &'a [u8]) -> Result<Bvlc<'a>, Error> {
        let mut reader = Reader::new(datagram);
        let kind = reader.octet()?;
        if kind != TYPE {
            return Err(Error::Tag { expected: "BACnet/IP", got: kind });
        }
        let function = reader.octet()?;
        let length = usize::from(reader.octets2()?);
        if length != datagram.len() {
            return Err(Error::Length { what: "a datagram that says another length", length });
        }
        let message = match function {
            0x00 => Bvlc::Result(BvlcResult::from_code(reader.octets2()?)),
            0x01 => Bvlc::WriteBroadcastTable(broadcast_entries(&mut reader)?),
            0x02 => Bvlc::ReadBroadcastTable,
            0x03 => Bvlc::BroadcastTable(broadcast_entries(&mut reader)?),
            0x04 => Bvlc::Forwarded { origin: address(&mut reader)?, npdu: rest(&mut reader)? },
            0x05 => Bvlc::RegisterForeignDevice { seconds: reader.octets2()? },
            0x06 => Bvlc::ReadForeignTable,
            0x07 => Bvlc::ForeignTable(foreign_entries(&mut reader)?),
            0x08 => Bvlc::DeleteForeignEntry(address(&mut reader)?),
            0x09 => Bvlc::DistributeBroadcast(rest(&mut reader)?),
            0x0a => Bvlc::OriginalUnicast(rest(&mut reader)?),
            0x0b => Bvlc::OriginalBroadcast(rest(&mut reader)?),
            function => Bvlc::Unknown { function, bytes: rest(&mut reader)? },
        };
        reader.finish()?;
        Ok(message)
    }

    /// Its datagram.
    ///
    /// # Errors
    /// [`Error::Length`] if it is too long for one.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let function = match self {
            Bvlc::Result(result) => {
                body.extend(result.code().to_be_bytes());
                0x00
            }
            Bvlc::WriteBroadcastTable(entries) => {
                put_broadcast_entries(&mut body, entries);
                0x01
            }
            Bvlc::ReadBroadcastTable => 0x02,
            Bvlc::BroadcastTable(entries) => {
                put_broadcast_entries(&mut body, entries);
                0x03
            }
            Bvlc::Forwarded { origin, npdu } => {
                put_address(&mut body, *origin);
                body.extend_from_slice(npdu);
                0x04
            }
            Bvlc::RegisterForeignDevice { seconds } => {
                body.extend(seconds.to_be_bytes());
                0x05
            }
            Bvlc::ReadForeignTable => 0x06,
            Bvlc::ForeignTable(entries) => {
                for entry in entries {
                    put_address(&mut body, entry.address);
                    body.extend(entry.seconds.to_be_bytes());
                    body.extend(entry.seconds_left.to_be_bytes());
                }
                0x07
            }
            Bvlc::DeleteForeignEntry(address) => {
                put_address(&mut body, *address);
                0x08
            }
            Bvlc::DistributeBroadcast(npdu) => {
                body.extend_from_slice(npdu);
                0x09
            }
            Bvlc::OriginalUnicast(npdu) => {
                body.extend_from_slice(npdu);
                0x0a
            }
            Bvlc::OriginalBroadcast(npdu) => {
                body.extend_from_slice(npdu);
                0x0b
            }
            Bvlc::Unknown { function, bytes } => {
                body.extend_from_slice(bytes);
                *function
            }
        };
        let whole = body.len() + 4;
        let length = u16::try_from(whole).ok().filter(|_| whole <= DATAGRAM_BYTES_MAX);
        let length = length.ok_or(Error::Length { what: "a datagram", length: whole })?.to_be_bytes();
        Ok([&[TYPE, function, length[0], length[1]], body.as_slice()].concat())
    }
}

fn rest<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    reader.take(reader.rest().len())
}

fn address(reader: &mut Reader<'_>) -> Result<SocketAddrV4, Error> {
    Ok(SocketAddrV4::new(Ipv4Addr::from(reader.octets4()?), reader.octets2()?))
}

fn put_address(body: &mut Vec<u8>, address: SocketAddrV4) {
    body.extend(address.ip().octets());
    body.extend(address.port().to_be_bytes());
}

fn put_broadcast_entries(body: &mut Vec<u8>, entries: &[BroadcastEntry]) {
    for entry in entries {
        put_address(body, entry.address);
        body.extend(entry.mask.octets());
    }
}

fn broadcast_entries(reader: &mut Reader<'_>) -> Result<Vec<BroadcastEntry>, Error> {
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let address = address(reader)?;
        entries.push(BroadcastEntry { address, mask: Ipv4Addr::from(reader.octets4()?) });
    }
    Ok(entries)
}

fn foreign_entries(reader: &mut Reader<'_>) -> Result<Vec<ForeignEntry>, Error> {
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let address = address(reader)?;
        entries.push(ForeignEntry { address, seconds: reader.octets2()?, seconds_left: reader.octets2()? });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_read_as_it_was_written() {
        let address = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), PORT);
        let broadcast = vec![BroadcastEntry { address, mask: Ipv4Addr::BROADCAST }; 3];
        let foreign = vec![ForeignEntry { address, seconds: 60, seconds_left: 90 }; 2];
        let npdu = [1, 0, 0x10, 8];
        let cases = [
            Bvlc::Result(BvlcResult::RegisterForeignDeviceRefused),
            Bvlc::Result(BvlcResult::Unknown(7)),
            Bvlc::WriteBroadcastTable(broadcast.clone()),
            Bvlc::ReadBroadcastTable,
            Bvlc::BroadcastTable(broadcast),
            Bvlc::Forwarded { origin: address, npdu: &npdu },
            Bvlc::RegisterForeignDevice { seconds: 300 },
            Bvlc::ReadForeignTable,
            Bvlc::ForeignTable(foreign),
            Bvlc::DeleteForeignEntry(address),
            Bvlc::DistributeBroadcast(&npdu),
            Bvlc::OriginalUnicast(&npdu),
            Bvlc::OriginalBroadcast(&npdu),
            Bvlc::Unknown { function: 0x0c, bytes: &[1, 2] },
        ];
        for message in cases {
            let datagram = message.encode().unwrap();
            assert_eq!(usize::from(u16::from_be_bytes([datagram[2], datagram[3]])), datagram.len());
            assert_eq!(Bvlc::decode(&datagram), Ok(message));
        }
    }

    #[test]
    fn results_keep_their_codes() {
        for code in (0..=0x60).step_by(0x10).chain([0xffff]) {
            assert_eq!(BvlcResult::from_code(code).code(), code);
        }
    }

    #[test]
    fn what_is_not_as_long_as_it_says_is_refused() {
        assert!(Bvlc::decode(&[0x81, 0x0a, 0, 5]).is_err());
        assert!(Bvlc::decode(&[0x81, 0x0a, 0, 3]).is_err());
        assert!(Bvlc::decode(&[0x82, 0x0a, 0, 4]).is_err());
        assert!(Bvlc::decode(&[0x81, 0x02, 0, 5, 0]).is_err());
        assert!(Bvlc::decode(&[0x81, 0x03, 0, 6, 0, 0]).is_err());
        let long = vec![0; DATAGRAM_BYTES_MAX];
        assert!(Bvlc::OriginalUnicast(&long).encode().is_err());
    }
}
