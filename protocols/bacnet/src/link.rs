//! Datagrams to and from peers: the link layer and the network layer together, as a device without routing of its own
//! needs them.
//!
//! A device behind a router is named by the router's address and its own within its network (SNET and SADR of what comes,
//! DNET and DADR of what goes). A broadcast that a BBMD passed on comes from its origin, not from the BBMD.

use std::net::SocketAddrV4;

use crate::Error;
use crate::bvlc::{Bvlc, BvlcResult};
use crate::engine::Peer;
use crate::npdu::{ALL_NETWORKS, Content, Mac, NetworkAddress, NetworkMessage, Npdu, RejectedRoute};

/// What a datagram brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A message of the application layer.
    Apdu {
        /// From whom.
        peer: Peer,
        /// Whether it was sent to everyone.
        is_broadcast: bool,
        /// Its bytes.
        apdu: &'a [u8],
    },
    /// What a BBMD says to a request.
    Result(BvlcResult),
    /// A router leads to these networks.
    Routes(Vec<u16>),
    /// A router did not pass a message on.
    RouteRejected {
        /// To which network.
        network: u16,
        /// Why.
        reason: RejectedRoute,
    },
    /// Something for routers and BBMDs, or for another network.
    NotForUs,
}

/// To whom a broadcast goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The local network.
    Local,
    /// Every network.
    AllNetworks,
    /// One network.
    Network(u16),
}

/// Reads a datagram.
///
/// # Errors
/// If it is not BACnet/IP.
pub fn heard(from: SocketAddrV4, datagram: &[u8]) -> Result<Heard<'_>, Error> {
    let (link, is_broadcast, npdu) = match Bvlc::decode(datagram)? {
        Bvlc::OriginalUnicast(npdu) => (from, false, npdu),
        Bvlc::OriginalBroadcast(npdu) => (from, true, npdu),
        Bvlc::Forwarded { origin, npdu } => (origin, true, npdu),
        Bvlc::Result(result) => return Ok(Heard::Result(result)),
        Bvlc::WriteBroadcastTable(_)
        | Bvlc::ReadBroadcastTable
        | Bvlc::BroadcastTable(_)
        | Bvlc::RegisterForeignDevice { .. }
        | Bvlc::ReadForeignTable
        | Bvlc::ForeignTable(_)
        | Bvlc::DeleteForeignEntry(_)
        | Bvlc::DistributeBroadcast(_)
        | Bvlc::Unknown { .. } => return Ok(Heard::NotForUs),
    };
    let npdu = Npdu::decode(npdu)?;
    if npdu.destination.is_some_and(|to| to.network != ALL_NETWORKS) {
        return Ok(Heard::NotForUs);
    }
    Ok(match npdu.content {
        Content::Apdu(apdu) => Heard::Apdu { peer: Peer { link, remote: npdu.source }, is_broadcast, apdu },
        Content::Network(NetworkMessage::IAmRouter(networks)) => Heard::Routes(networks),
        Content::Network(NetworkMessage::Reject { reason, network }) => {
            Heard::RouteRejected { network, reason }
        }
        Content::Network(_) => Heard::NotForUs,
    })
}

/// The datagram that brings an APDU to a peer; it goes to the peer's link.
///
/// # Errors
/// If it is too long for a datagram.
pub fn to_peer(peer: Peer, apdu: &[u8], expects_reply: bool) -> Result<Vec<u8>, Error> {
    let npdu = Npdu { destination: peer.remote, ..Npdu::local(apdu, expects_reply) };
    Bvlc::OriginalUnicast(&npdu.encode()).encode()
}

/// The datagram that brings an APDU to everyone. It goes to the broadcast address of the subnet, or from a foreign device to
/// its BBMD.
///
/// # Errors
/// If it is too long for a datagram.
pub fn to_everyone(reach: Reach, apdu: &[u8], is_foreign: bool) -> Result<Vec<u8>, Error> {
    let network = match reach {
        Reach::Local => None,
        Reach::AllNetworks => Some(ALL_NETWORKS),
        Reach::Network(network) => Some(network),
    };
    let destination = network.map(|network| NetworkAddress { network, mac: Mac::BROADCAST });
    let npdu = Npdu { destination, ..Npdu::local(apdu, false) }.encode();
    if is_foreign {
        Bvlc::DistributeBroadcast(&npdu).encode()
    } else {
        Bvlc::OriginalBroadcast(&npdu).encode()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const FROM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 47_808);

    #[test]
    fn what_comes_from_behind_a_router_is_answered_there() {
        let remote = NetworkAddress { network: 20, mac: Mac::new(&[7]).unwrap() };
        let apdu = [0x10, 8];
        let npdu = Npdu { source: Some(remote), ..Npdu::local(&apdu, false) }.encode();
        let datagram = Bvlc::OriginalUnicast(&npdu).encode().unwrap();
        let peer = Peer { link: FROM, remote: Some(remote) };
        assert_eq!(heard(FROM, &datagram), Ok(Heard::Apdu { peer, is_broadcast: false, apdu: &apdu }));
        let answer = to_peer(peer, &apdu, false).unwrap();
        let Ok(Bvlc::OriginalUnicast(npdu)) = Bvlc::decode(&answer) else { panic!("{answer:?}") };
        assert_eq!(Npdu::decode(npdu).unwrap().destination, Some(remote));
    }

    #[test]
    fn what_a_bbmd_passes_on_comes_from_its_origin() {
        let origin = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 47_809);
        let npdu = Npdu::local(&[0x10, 8], false).encode();
        let datagram = Bvlc::Forwarded { origin, npdu: &npdu }.encode().unwrap();
        let peer = Peer::local(origin);
        assert_eq!(heard(FROM, &datagram), Ok(Heard::Apdu { peer, is_broadcast: true, apdu: &[0x10, 8] }));
    }

    #[test]
    fn a_foreign_device_lets_its_bbmd_broadcast() {
        let datagram = to_everyone(Reach::AllNetworks, &[0x10, 8], true).unwrap();
        let Ok(Bvlc::DistributeBroadcast(npdu)) = Bvlc::decode(&datagram) else { panic!("{datagram:?}") };
        let to = Npdu::decode(npdu).unwrap().destination.unwrap();
        assert!(to.network == ALL_NETWORKS && to.mac.is_broadcast());
        let datagram = to_everyone(Reach::Local, &[0x10, 8], false).unwrap();
        assert!(matches!(heard(FROM, &datagram), Ok(Heard::Apdu { is_broadcast: true, .. })));
    }

    #[test]
    fn what_is_for_another_network_is_not_taken() {
        let to = NetworkAddress { network: 5, mac: Mac::BROADCAST };
        let npdu = Npdu { destination: Some(to), ..Npdu::local(&[0x10, 8], false) }.encode();
        let datagram = Bvlc::OriginalBroadcast(&npdu).encode().unwrap();
        assert_eq!(heard(FROM, &datagram), Ok(Heard::NotForUs));
    }
}
