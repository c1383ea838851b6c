//! What the kernel is asked: devices, addresses, permissions.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;
use rustix::thread::CapabilitySet;
use socket2::SockRef;

use crate::address::Address;
use crate::error::Error;
use crate::frames::Mac;

/// A network device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name.
    pub name: String,
    pub(crate) index: u32,
    pub(crate) link: LinkAddr,
    /// Its hardware address, if neighbors find it by one.
    pub(crate) mac: Option<Mac>,
}

/// The device with this name, or the one whose network the address is in.
pub fn find_device(address: &Address, name: Option<&str>) -> Result<Device, Error> {
    let found: Vec<_> =
        getifaddrs().map_err(|errno| Error::system("list network devices")(errno.into()))?.collect();
    let devices: Vec<Device> = found
        .iter()
        .filter_map(|entry| {
            let link = *entry.address.as_ref()?.as_link_addr()?;
            let has_neighbors =
                !entry.flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP);
            let mac = link.addr().filter(|mac| has_neighbors && link.halen() == 6 && *mac != [0; 6]);
            let index = u32::try_from(link.ifindex()).ok()?;
            Some(Device { name: entry.interface_name.clone(), index, link, mac: mac.map(Mac) })
        })
        .collect();
    let name = match name {
        Some(name) => name.to_owned(),
        None => found
            .iter()
            .find(|entry| {
                let own = entry.address.as_ref().and_then(|own| {
                    let v4 = own.as_sockaddr_in().map(|own| IpAddr::V4(own.ip()));
                    v4.or_else(|| own.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip())))
                });
                own.is_some_and(|own| own != address.ip && address.has_neighbor(own))
            })
            .map(|entry| entry.interface_name.clone())
            .ok_or_else(|| Error::NoNetwork { address: address.to_string() })?,
    };
    devices.iter().find(|device| device.name == name).cloned().ok_or_else(|| Error::NoDevice {
        device: name,
        known: devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Which capabilities this process lacks to hold an address; empty if none.
pub fn missing_capabilities() -> Vec<&'static str> {
    let Ok(sets) = rustix::thread::capabilities(None) else { return Vec::new() };
    [("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN), ("CAP_NET_RAW", CapabilitySet::NET_RAW)]
        .into_iter()
        .filter(|(_, needed)| !sets.effective.contains(*needed))
        .map(|(name, _)| name)
        .collect()
}

/// Takes the address off whatever device it is on; gives the number of devices that had it.
pub fn remove(address: &Address) -> Result<usize, Error> {
    let kernel = Kernel::open()?;
    let places = kernel.places(address)?;
    for place in &places {
        kernel.remove(address, place.index)?;
    }
    Ok(places.len())
}

/// Where an address is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: u32,
    /// The kernel still asks whether somebody else has it.
    pub(crate) is_tentative: bool,
    /// Somebody else has it.
    pub(crate) is_duplicate: bool,
}

/// A conversation with the kernel about addresses.
#[derive(Debug)]
pub(crate) struct Kernel(Socket);

impl Kernel {
    pub(crate) fn open() -> Result<Self, Error> {
        let connect = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            SockRef::from(&socket).set_read_timeout(Some(ANSWER_MAX))?;
            Ok(socket)
        };
        connect().map(Self).map_err(Error::system("open a netlink socket"))
    }

    /// Adds the address, or renews it: unless it is renewed it expires in the kernel by itself.
    pub(crate) fn keep(&self, address: &Address, index: u32) -> Result<(), Error> {
        let mut message = message(address, index);
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = LIFETIME_S;
        // Connections of this machine to others are to keep its own address. For IPv4 only the order counts.
        lifetime.ifa_preferred = if address.ip.is_ipv6() { 0 } else { LIFETIME_S };
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        if let IpAddr::V4(ip) = address.ip
            && address.prefix < 31
        {
            let host_bits = u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
            message
                .attributes
                .push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(ip.to_bits() | host_bits)));
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(RouteNetlinkMessage::NewAddress(message), flags, |_| {})
            .map_err(Error::system("add the address"))
    }

    /// Takes the address off a device; that it was not there is no error.
    pub(crate) fn remove(&self, address: &Address, index: u32) -> Result<(), Error> {
        let asked = RouteNetlinkMessage::DelAddress(message(address, index));
        match self.ask(asked, NLM_F_REQUEST | NLM_F_ACK, |_| {}) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
            answer => answer.map_err(Error::system("remove the address")),
        }
    }

    /// The devices that have the address.
    pub(crate) fn places(&self, address: &Address) -> Result<Vec<Place>, Error> {
        let mut asked = AddressMessage::default();
        asked.header.family = family(address);
        let mut places = Vec::new();
        let take = |found: &AddressMessage| {
            let mut local = None;
            let mut flags = AddressFlags::from_bits_retain(u32::from(found.header.flags.bits()));
            for attribute in &found.attributes {
                if let AddressAttribute::Local(ip) = attribute {
                    local = Some(*ip);
                } else if let AddressAttribute::Address(ip) = attribute {
                    local = local.or(Some(*ip));
                } else if let AddressAttribute::Flags(all) = attribute {
                    flags = *all;
                }
            }
            if local == Some(address.ip) {
                places.push(Place {
                    index: found.header.index,
                    is_tentative: flags.contains(AddressFlags::Tentative),
                    is_duplicate: flags.contains(AddressFlags::Dadfailed),
                });
            }
        };
        self.ask(RouteNetlinkMessage::GetAddress(asked), NLM_F_REQUEST | NLM_F_DUMP, take)
            .map_err(Error::system("list addresses"))?;
        Ok(places)
    }

    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut take: impl FnMut(&AddressMessage),
    ) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        loop {
            let mut answer = Vec::with_capacity(ANSWER_BYTES);
            self.0.recv(&mut answer, 0)?;
            let mut rest = answer.as_slice();
            while !rest.is_empty() {
                let part = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                match part.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(found)) => take(&found),
                    NetlinkPayload::Noop
                    | NetlinkPayload::Overrun(_)
                    | NetlinkPayload::InnerMessage(_)
                    | _ => {}
                }
                // Messages start at multiples of four bytes.
                let length = usize::try_from(part.header.length).unwrap_or(usize::MAX).max(1);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn family(address: &Address) -> AddressFamily {
    if address.ip.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

fn message(address: &Address, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address.ip), AddressAttribute::Address(address.ip)];
    message
}

/// What stays of an address when nobody renews it. Whole seconds are all the kernel knows.
const LIFETIME_S: u32 = 3;
/// The same.
pub(crate) const LIFETIME: Duration = Duration::from_secs(LIFETIME_S as u64);
const ANSWER_MAX: Duration = Duration::from_secs(2);
const ANSWER_BYTES: usize = 64 << 10;
