//! The network layer: clause 6.
//!
//! An NPDU says from which network a message comes, to which it goes and how many routers it may pass, and has
//! either an APDU in it or a message of the routers among themselves ([`NetworkMessage`]).
//!
//! ```text
//! version | control | DNET DLEN DADR | SNET SLEN SADR | hop count | type (vendor) or APDU
//!                     if bit 5         if bit 3         if bit 5    if bit 7
//! ```

use std::fmt;

use crate::Error;
use crate::tag::Reader;

/// The network number of all networks.
pub const ALL_NETWORKS: u16 = 0xffff;
/// How many routers a message may pass, unless told otherwise.
pub const HOP_COUNT_MAX: u8 = 255;
/// The longest address within a network. The longest of the standard is that of a virtual address over IPv6
/// with 18 bytes.
pub const MAC_BYTES_MAX: usize = 18;
/// The most networks that one message names.
pub const NETWORKS_MAX: usize = 512;

const VERSION: u8 = 1;

/// An address within a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac {
    length: u8,
    bytes: [u8; MAC_BYTES_MAX],
}

impl Mac {
    /// Everyone in the network.
    pub const BROADCAST: Mac = Mac { length: 0, bytes: [0; MAC_BYTES_MAX] };

    /// None if there are more bytes than an address has.
    pub fn new(address: &[u8]) -> Option<Mac> {
        let mut bytes = [0; MAC_BYTES_MAX];
        bytes.get_mut(..address.len())?.copy_from_slice(address);
        Some(Mac { length: u8::try_from(address.len()).ok()?, bytes })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether it is everyone.
    pub fn is_broadcast(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_broadcast() {
            return formatter.write_str("*");
        }
        self.bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A network and an address within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkAddress {
    /// The network, 1 to 65534, or [`ALL_NETWORKS`].
    pub network: u16,
    /// The address within it.
    pub mac: Mac,
}

/// How urgent a message is: clause 6.2.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// As usual.
    #[default]
    Normal,
    /// Before what is normal.
    Urgent,
    /// Equipment may be damaged.
    CriticalEquipment,
    /// Somebody's life is in danger.
    LifeSafety,
}

/// One message of the network layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Npdu<'a> {
    /// To where, if not to the local network.
    pub destination: Option<NetworkAddress>,
    /// From where, if a router passed it on.
    pub source: Option<NetworkAddress>,
    /// How many routers it may pass; on the wire only with a destination.
    pub hop_count: u8,
    /// Whether its sender waits for an answer.
    pub expects_reply: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// What it brings.
    pub content: Content<'a>,
}

/// What an NPDU brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// A message of the application layer.
    Apdu(&'a [u8]),
    /// A message of the network layer.
    Network(NetworkMessage<'a>),
}

/// What routers tell each other: clause 6.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMessage<'a> {
    /// Who leads to a network, or to any.
    WhoIsRouter(Option<u16>),
    /// The sender leads to these networks.
    IAmRouter(Vec<u16>),
    /// The sender could lead to a network over a line that is to be established.
    ICouldBeRouter {
        /// The network.
        network: u16,
        /// How well.
        performance: u8,
    },
    /// A message was not passed on.
    Reject {
        /// Why.
        reason: RejectedRoute,
        /// To which network.
        network: u16,
    },
    /// Nothing should be sent to these networks for the moment; none named: to any of the router's.
    RouterBusy(Vec<u16>),
    /// These networks can be reached again.
    RouterAvailable(Vec<u16>),
    /// Sets or asks for the routing table.
    InitializeRoutingTable(Vec<Route<'a>>),
    /// The routing table, or that it was set.
    RoutingTable(Vec<Route<'a>>),
    /// Establishes a line.
    EstablishConnection {
        /// To which network.
        network: u16,
        /// For how many seconds; 0 for ever.
        seconds: u8,
    },
    /// Ends a line.
    Disconnect {
        /// To which network.
        network: u16,
    },
    /// Asks for the number of the local network.
    WhatIsNetworkNumber,
    /// The number of the local network.
    NetworkNumberIs {
        /// The number.
        network: u16,
        /// Whether it was configured, not learned.
        is_configured: bool,
    },
    /// A message that is not known here.
    Unknown {
        /// Its type.
        kind: u8,
        /// Whose it is, for types from 0x80 on.
        vendor: Option<u16>,
        /// What follows.
        bytes: &'a [u8],
    },
}

/// Why a router did not pass a message on: clause 6.4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedRoute {
    /// Something else.
    Other,
    /// It does not lead there, and nobody is known who does.
    NoRoute,
    /// It is busy.
    Busy,
    /// It does not know the message.
    UnknownMessage,
    /// The message is too long for that network.
    TooLong,
    /// A security error.
    Security,
    /// The address is wrong.
    Address,
    /// A code that is not known here.
    Unknown(u8),
}

/// An entry of a routing table: clause 6.4.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The network.
    pub network: u16,
    /// The router's port.
    pub port: u8,
    /// What the port needs.
    pub info: &'a [u8],
}

impl RejectedRoute {
    /// From its code.
    pub const fn from_code(code: u8) -> RejectedRoute {
        match code {
            0 => RejectedRoute::Other,
            1 => RejectedRoute::NoRoute,
            2 => RejectedRoute::Busy,
            3 => RejectedRoute::UnknownMessage,
            4 => RejectedRoute::TooLong,
            5 => RejectedRoute::Security,
            6 => RejectedRoute::Address,
            other => RejectedRoute::Unknown(other),
        }
    }

    /// Its code.
    pub const fn code(self) -> u8 {
        match self {
            RejectedRoute::Other => 0,
            RejectedRoute::NoRoute => 1,
            RejectedRoute::Busy => 2,
            RejectedRoute::UnknownMessage => 3,
            RejectedRoute::TooLong => 4,
            RejectedRoute::Security => 5,
            RejectedRoute::Address => 6,
            RejectedRoute::Unknown(code) => code,
        }
    }
}

impl<'a> Npdu<'a> {
    /// An APDU within the local network.
    pub const fn local(apdu: &'a [u8], expects_reply: bool) -> Npdu<'a> {
        Npdu {
            destination: None,
            source: None,
            hop_count: HOP_COUNT_MAX,
            expects_reply,
            priority: Priority::Normal,
            content: Content::Apdu(apdu),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Npdu<'a>, Error> {
        let mut reader = Reader::new(bytes);
        let version = reader.octet()?;
        if version != VERSION {
            return Err(Error::Invalid {
                what: "the version of the network layer",
                value: u64::from(version),
            });
        }
        let control = reader.octet()?;
        let destination = if control & 0x20 != 0 { Some(read_address(&mut reader)?) } else { None };
        let source = if control & 0x08 != 0 { Some(read_source(&mut reader)?) } else { None };
        let hop_count = if destination.is_some() { reader.octet()? } else { HOP_COUNT_MAX };
        let content = if control & 0x80 != 0 {
            let message = NetworkMessage::read(&mut reader)?;
            reader.finish()?;
            Content::Network(message)
        } else {
            Content::Apdu(reader.rest())
        };
        let priority = match control & 0x03 {
            0 => Priority::Normal,
            1 => Priority::Urgent,
            2 => Priority::CriticalEquipment,
            _ => Priority::LifeSafety,
        };
        Ok(Npdu { destination, source, hop_count, expects_reply: control & 0x04 != 0, priority, content })
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let priority = match self.priority {
            Priority::Normal => 0,
            Priority::Urgent => 1,
            Priority::CriticalEquipment => 2,
            Priority::LifeSafety => 3,
        };
        let is_network = matches!(self.content, Content::Network(_));
        let control = u8::from(is_network) << 7
            | u8::from(self.destination.is_some()) << 5
            | u8::from(self.source.is_some()) << 3
            | u8::from(self.expects_reply) << 2
            | priority;
        let mut bytes = vec![VERSION, control];
        for address in [self.destination, self.source].into_iter().flatten() {
            bytes.extend(address.network.to_be_bytes());
            bytes.push(address.mac.length);
            bytes.extend_from_slice(address.mac.bytes());
        }
        if self.destination.is_some() {
            bytes.push(self.hop_count);
        }
        match &self.content {
            Content::Apdu(apdu) => bytes.extend_from_slice(apdu),
            Content::Network(message) => message.write(&mut bytes),
        }
        bytes
    }
}

impl<'a> NetworkMessage<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<NetworkMessage<'a>, Error> {
        Ok(match reader.octet()? {
            0x00 if reader.is_empty() => NetworkMessage::WhoIsRouter(None),
            0x00 => NetworkMessage::WhoIsRouter(Some(reader.octets2()?)),
            0x01 => NetworkMessage::IAmRouter(networks(reader)?),
            0x02 => {
                NetworkMessage::ICouldBeRouter { network: reader.octets2()?, performance: reader.octet()? }
            }
            0x03 => {
                let reason = RejectedRoute::from_code(reader.octet()?);
                NetworkMessage::Reject { reason, network: reader.octets2()? }
            }
            0x04 => NetworkMessage::RouterBusy(networks(reader)?),
            0x05 => NetworkMessage::RouterAvailable(networks(reader)?),
            0x06 => NetworkMessage::InitializeRoutingTable(routes(reader)?),
            0x07 => NetworkMessage::RoutingTable(routes(reader)?),
            0x08 => {
                NetworkMessage::EstablishConnection { network: reader.octets2()?, seconds: reader.octet()? }
            }
            0x09 => NetworkMessage::Disconnect { network: reader.octets2()? },
            0x12 => NetworkMessage::WhatIsNetworkNumber,
            0x13 => {
                let network = reader.octets2()?;
                NetworkMessage::NetworkNumberIs { network, is_configured: reader.octet()? == 1 }
            }
            kind => {
                let vendor = if kind >= 0x80 { Some(reader.octets2()?) } else { None };
                NetworkMessage::Unknown { kind, vendor, bytes: reader.take(reader.rest().len())? }
            }
        })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            NetworkMessage::WhoIsRouter(network) => {
                bytes.push(0x00);
                bytes.extend(network.iter().flat_map(|network| network.to_be_bytes()));
            }
            NetworkMessage::IAmRouter(networks) => put_networks(bytes, 0x01, networks),
            NetworkMessage::ICouldBeRouter { network, performance } => {
                bytes.push(0x02);
                bytes.extend(network.to_be_bytes());
                bytes.push(*performance);
            }
            NetworkMessage::Reject { reason, network } => {
                bytes.extend([0x03, reason.code()]);
                bytes.extend(network.to_be_bytes());
            }
            NetworkMessage::RouterBusy(networks) => put_networks(bytes, 0x04, networks),
            NetworkMessage::RouterAvailable(networks) => put_networks(bytes, 0x05, networks),
            NetworkMessage::InitializeRoutingTable(routes) => put_routes(bytes, 0x06, routes),
            NetworkMessage::RoutingTable(routes) => put_routes(bytes, 0x07, routes),
            NetworkMessage::EstablishConnection { network, seconds } => {
                bytes.push(0x08);
                bytes.extend(network.to_be_bytes());
                bytes.push(*seconds);
            }
            NetworkMessage::Disconnect { network } => put_networks(bytes, 0x09, &[*network]),
            NetworkMessage::WhatIsNetworkNumber => bytes.push(0x12),
            NetworkMessage::NetworkNumberIs { network, is_configured } => {
                put_networks(bytes, 0x13, &[*network]);
                bytes.push(u8::from(*is_configured));
            }
            NetworkMessage::Unknown { kind, vendor, bytes: rest } => {
                bytes.push(*kind);
                bytes.extend(vendor.iter().flat_map(|vendor| vendor.to_be_bytes()));
                bytes.extend_from_slice(rest);
            }
        }
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<NetworkAddress, Error> {
    let network = reader.octets2()?;
    if network == 0 {
        return Err(Error::Invalid { what: "a network", value: 0 });
    }
    let length = usize::from(reader.octet()?);
    let mac = Mac::new(reader.take(length)?).ok_or(Error::Length { what: "an address", length })?;
    Ok(NetworkAddress { network, mac })
}

/// Nobody sends from everywhere: clause 6.2.2.
fn read_source(reader: &mut Reader<'_>) -> Result<NetworkAddress, Error> {
    let address = read_address(reader)?;
    if address.network == ALL_NETWORKS || address.mac.is_broadcast() {
        return Err(Error::Invalid { what: "the network of a source", value: u64::from(address.network) });
    }
    Ok(address)
}

fn networks(reader: &mut Reader<'_>) -> Result<Vec<u16>, Error> {
    let mut networks = Vec::new();
    while !reader.is_empty() {
        if networks.len() == NETWORKS_MAX {
            return Err(Error::TooMany { what: "networks", max: NETWORKS_MAX });
        }
        networks.push(reader.octets2()?);
    }
    Ok(networks)
}

fn put_networks(bytes: &mut Vec<u8>, kind: u8, networks: &[u16]) {
    bytes.push(kind);
    bytes.extend(networks.iter().flat_map(|network| network.to_be_bytes()));
}

fn routes<'a>(reader: &mut Reader<'a>) -> Result<Vec<Route<'a>>, Error> {
    let count = reader.octet()?;
    let mut routes = Vec::new();
    for _ in 0..count {
        let (network, port) = (reader.octets2()?, reader.octet()?);
        let length = usize::from(reader.octet()?);
        routes.push(Route { network, port, info: reader.take(length)? });
    }
    Ok(routes)
}

/// What would not fit in the octets of its length is left out; nobody can have received it either.
fn put_routes(bytes: &mut Vec<u8>, kind: u8, routes: &[Route<'_>]) {
    let routes = &routes[..routes.len().min(255)];
    bytes.extend([kind, u8::try_from(routes.len()).expect("at most 255")]);
    for route in routes {
        let info = &route.info[..route.info.len().min(255)];
        bytes.extend(route.network.to_be_bytes());
        bytes.extend([route.port, u8::try_from(info.len()).expect("at most 255")]);
        bytes.extend_from_slice(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let messages = [
            NetworkMessage::WhoIsRouter(None),
            NetworkMessage::WhoIsRouter(Some(5)),
            NetworkMessage::IAmRouter(vec![1, 2, 3]),
            NetworkMessage::ICouldBeRouter { network: 4, performance: 200 },
            NetworkMessage::Reject { reason: RejectedRoute::TooLong, network: 9 },
            NetworkMessage::RouterBusy(vec![]),
            NetworkMessage::RouterAvailable(vec![7]),
            NetworkMessage::InitializeRoutingTable(vec![Route { network: 1, port: 2, info: &[3, 4] }]),
            NetworkMessage::RoutingTable(vec![]),
            NetworkMessage::EstablishConnection { network: 6, seconds: 30 },
            NetworkMessage::Disconnect { network: 6 },
            NetworkMessage::WhatIsNetworkNumber,
            NetworkMessage::NetworkNumberIs { network: 8, is_configured: true },
            NetworkMessage::Unknown { kind: 0x20, vendor: None, bytes: &[1] },
            NetworkMessage::Unknown { kind: 0x80, vendor: Some(999), bytes: &[] },
        ];
        for message in messages {
            let npdu = Npdu { content: Content::Network(message), ..Npdu::local(&[], false) };
            assert_eq!(Npdu::decode(&npdu.encode()), Ok(npdu));
        }
        for code in 0..=255 {
            assert_eq!(RejectedRoute::from_code(code).code(), code);
        }
    }

    #[test]
    fn addresses_priorities_and_the_hop_count_survive() {
        let source = NetworkAddress { network: 7, mac: Mac::new(&[192, 0, 2, 1, 0xba, 0xc0]).unwrap() };
        let everyone = NetworkAddress { network: ALL_NETWORKS, mac: Mac::BROADCAST };
        let all = [Priority::Normal, Priority::Urgent, Priority::CriticalEquipment, Priority::LifeSafety];
        for priority in all {
            let npdu = Npdu {
                destination: Some(everyone),
                source: Some(source),
                hop_count: 3,
                expects_reply: true,
                priority,
                content: Content::Apdu(&[0x10, 8]),
            };
            assert_eq!(Npdu::decode(&npdu.encode()), Ok(npdu));
        }
        let global = Npdu { destination: Some(everyone), ..Npdu::local(&[0x10, 8], false) };
        assert_eq!(global.encode(), [1, 0x20, 0xff, 0xff, 0, 0xff, 0x10, 8]);
        assert_eq!(source.mac.to_string(), "c0000201bac0");
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        assert!(Npdu::decode(&[2, 0]).is_err());
        assert!(Npdu::decode(&[1, 0x20, 0, 0, 0, 255]).is_err());
        assert!(Npdu::decode(&[1, 0x08, 0xff, 0xff, 1, 1]).is_err());
        assert!(Npdu::decode(&[1, 0x08, 0, 1, 0]).is_err());
        let long = [[1, 0x20, 0, 1, 19].as_slice(), &[0; 30]].concat();
        assert!(Npdu::decode(&long).is_err());
    }
}
