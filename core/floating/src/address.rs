//! An address with the length of its network.

use std::fmt;
use std::net::IpAddr;

/// An address with the length of its network, `10.0.0.50/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
}

impl Address {
    /// Whether another address is in the same network.
    pub fn has_neighbor(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host_bits = 32_u32.saturating_sub(self.prefix.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host_bits = 128_u32.saturating_sub(self.prefix.into());
                (own.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_share_the_bits_of_the_network() {
        let own = |ip: &str, prefix| Address { ip: ip.parse().unwrap(), prefix };
        let has = |own: Address, other: &str| own.has_neighbor(other.parse().unwrap());
        assert!(has(own("10.0.0.50", 24), "10.0.0.1"));
        assert!(!has(own("10.0.0.50", 24), "10.0.1.1"));
        assert!(!has(own("10.0.0.50", 32), "10.0.0.51"));
        assert!(has(own("10.0.0.50", 0), "192.0.2.1"));
        assert!(has(own("fd00::50", 64), "fd00::1"));
        assert!(!has(own("fd00::50", 128), "fd00::1"));
        assert!(!has(own("fd00::50", 0), "10.0.0.1"));
    }
}
