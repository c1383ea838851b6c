//! Who is spoken with.

use std::fmt;
use std::net::SocketAddrV4;

use crate::apdu::{APDU_BYTES_MAX, APDU_BYTES_MIN};
use crate::names::Segmentation;
use crate::npdu::NetworkAddress;

/// A device: its own address, or that of a router and its address behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The device, or the router that leads to it.
    pub link: SocketAddrV4,
    /// Where it is behind the router.
    pub remote: Option<NetworkAddress>,
}

impl Peer {
    /// A device of the local network.
    pub const fn local(link: SocketAddrV4) -> Peer {
        Peer { link, remote: None }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(remote) => write!(formatter, "{}:{} by {}", remote.network, remote.mac, self.link),
            None => write!(formatter, "{}", self.link),
        }
    }
}

/// What a peer can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// The longest APDU.
    pub max_apdu: u16,
    /// What it can do with segments.
    pub segmentation: Segmentation,
    /// How many segments a request may have, if that is known.
    pub segments_max: Option<usize>,
}

impl PeerLimits {
    /// Of a peer that has not said anything: what passes through routers to other media, and segments.
    pub const UNKNOWN: PeerLimits =
        PeerLimits { max_apdu: 480, segmentation: Segmentation::BOTH, segments_max: None };

    /// Whether it takes requests in segments.
    pub fn takes_segments(&self) -> bool {
        matches!(self.segmentation, Segmentation::BOTH | Segmentation::RECEIVE)
    }

    /// Whether it answers in segments.
    pub fn sends_segments(&self) -> bool {
        matches!(self.segmentation, Segmentation::BOTH | Segmentation::TRANSMIT)
    }

    /// The longest APDU, within the lengths that there are.
    pub fn apdu_bytes(&self) -> usize {
        usize::from(self.max_apdu.clamp(APDU_BYTES_MIN, APDU_BYTES_MAX))
    }
}
