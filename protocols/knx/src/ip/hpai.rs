//! Where a frame is to be answered: host protocol address information (`03_08_02`).

use std::net::Ipv4Addr;

use crate::Error;
use crate::reader::Reader;

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostProtocol {
    /// UDP over IPv4.
    Udp,
    /// TCP over IPv4.
    Tcp,
}

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hpai {
    /// How it is reached.
    pub protocol: HostProtocol,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

impl Hpai {
    /// `0.0.0.0:0` over UDP: answer to where the frame came from. For clients behind a translation of addresses (NAT),
    /// and for those that do not know which of their addresses the gateway sees.
    pub const NAT: Hpai = Hpai { protocol: HostProtocol::Udp, address: Ipv4Addr::UNSPECIFIED, port: 0 };
    /// `0.0.0.0:0` over TCP, the only one there: answers come over the connection.
    pub const TCP: Hpai = Hpai { protocol: HostProtocol::Tcp, address: Ipv4Addr::UNSPECIFIED, port: 0 };

    /// Whether answers go to where the frame came from. Either part alone is enough: a gateway that leaves out one of
    /// them has nothing that could be sent to.
    pub const fn is_route_back(&self) -> bool {
        self.address.is_unspecified() || self.port == 0
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Hpai, Error> {
        let mut body = reader.structure("an HPAI")?;
        let protocol = match body.u8("the host protocol")? {
            UDP => HostProtocol::Udp,
            TCP => HostProtocol::Tcp,
            got => return Err(Error::Invalid { what: "the host protocol", got: u32::from(got) }),
        };
        let address = Ipv4Addr::from(body.array::<4>("an IP address")?);
        let port = body.u16("a port")?;
        body.finish("an HPAI")?;
        Ok(Hpai { protocol, address, port })
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(HPAI_BYTES);
        out.push(match self.protocol {
            HostProtocol::Udp => UDP,
            HostProtocol::Tcp => TCP,
        });
        out.extend_from_slice(&self.address.octets());
        out.extend_from_slice(&self.port.to_be_bytes());
    }
}

const HPAI_BYTES: u8 = 8;
const UDP: u8 = 0x01;
const TCP: u8 = 0x02;
