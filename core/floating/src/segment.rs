//! The sockets to the neighbors on the wire.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::frames::{self, Mac};
use crate::kernel::Device;

/// One device's neighbors. Without a hardware address (a tunnel, the loopback) there are none to speak to.
#[derive(Debug)]
pub(crate) struct Segment {
    device: Device,
    /// For ARP; only for IPv4.
    arp: Option<Socket>,
}

impl Segment {
    pub(crate) fn open(device: Device, ip: IpAddr) -> Result<Self, Error> {
        let wants_arp = ip.is_ipv4() && device.mac.is_some();
        let arp = wants_arp.then(|| arp_socket(&device)).transpose();
        Ok(Self { arp: arp.map_err(Error::system("open a packet socket"))?, device })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Asks who has an IPv4 address; answers come by [`Segment::claims`]. Not for IPv6, where the kernel asks.
    pub(crate) fn probe(&self, ip: IpAddr) -> Result<(), Error> {
        if let (Some(socket), IpAddr::V4(ip), Some(mac)) = (&self.arp, ip, self.device.mac) {
            socket.send(&frames::probe(mac, ip)).map_err(Error::system("send an ARP probe"))?;
        }
        Ok(())
    }

    /// What others have said since the last call about who has which address.
    pub(crate) fn claims(&self) -> Result<Vec<(IpAddr, Mac)>, Error> {
        let Some(socket) = &self.arp else { return Ok(Vec::new()) };
        let mut claims = Vec::new();
        // As many as the kernel queues; a flood is not to keep this thread.
        for _ in 0..CLAIMS_MAX {
            let mut frame = [0; 64];
            match (&mut &*socket).read(&mut frame) {
                Ok(length) => {
                    let claim = frames::claim(frame.get(..length).unwrap_or(&frame));
                    claims.extend(claim.map(|(ip, mac)| (IpAddr::V4(ip), mac)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::system("receive ARP packets")(error)),
            }
        }
        claims.retain(|(_, mac)| Some(*mac) != self.device.mac);
        Ok(claims)
    }

    /// Tells everybody that the address is here.
    pub(crate) fn announce(&self, ip: IpAddr) -> Result<(), Error> {
        let Some(mac) = self.device.mac else { return Ok(()) };
        match (ip, &self.arp) {
            (IpAddr::V4(ip), Some(socket)) => {
                let frames = [frames::announcement_request(mac, ip), frames::announcement_reply(mac, ip)];
                for frame in frames {
                    socket.send(&frame).map_err(Error::system("send a gratuitous ARP"))?;
                }
                Ok(())
            }
            (IpAddr::V4(_), None) => Ok(()),
            (IpAddr::V6(ip), _) => {
                advertise(&self.device, mac, ip).map_err(Error::system("send a neighbor advertisement"))
            }
        }
    }
}

fn arp_socket(device: &Device) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
    // The entry that the system gave for the device serves as its socket address.
    nix::sys::socket::bind(socket.as_raw_fd(), &device.link)?;
    Ok(socket)
}

/// From the address itself, to all nodes of the link (RFC 4861, section 7.2.6).
fn advertise(device: &Device, mac: Mac, ip: Ipv6Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_multicast_if_v6(device.index)?;
    socket.set_multicast_hops_v6(255)?;
    socket.bind(&SocketAddrV6::new(ip, 0, 0, device.index).into())?;
    let all = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, device.index);
    socket.send_to(&frames::advertisement(mac, ip), &all.into()).map(drop)
}

/// Ethernet's number for ARP.
const ARP: u16 = 0x0806;
const CLAIMS_MAX: usize = 1_024;
