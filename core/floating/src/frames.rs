//! The few frames that are sent and read: ARP (RFC 826, RFC 5227) and neighbor advertisements (RFC 4861).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, byte)| {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")
        })
    }
}

/// Says that `ip` is at `mac`, as a request for itself.
pub(crate) fn announcement_request(mac: Mac, ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    arp(mac, REQUEST, (mac, ip), (Mac([0; 6]), ip))
}

/// Says the same as an answer, which some hosts take where they ignore the request.
pub(crate) fn announcement_reply(mac: Mac, ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    arp(mac, REPLY, (mac, ip), (BROADCAST, ip))
}

/// Asks who has `ip` without naming an address of the asker, so that nobody learns a wrong one.
pub(crate) fn probe(mac: Mac, ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    arp(mac, REQUEST, (mac, Ipv4Addr::UNSPECIFIED), (Mac([0; 6]), ip))
}

/// Who says that it has an address: any ARP packet whose sender names one.
pub(crate) fn claim(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let body = frame.get(14..ARP_FRAME)?;
    let is_arp = frame.get(12..14)? == ARP && body[..6] == ETHERNET_IPV4;
    let mac = Mac(body.get(8..14)?.try_into().ok()?);
    let ip: [u8; 4] = body.get(14..18)?.try_into().ok()?;
    let ip = Ipv4Addr::from(ip);
    (is_arp && !ip.is_unspecified()).then_some((ip, mac))
}

/// An unsolicited neighbor advertisement with the override flag. The kernel fills in the checksum.
pub(crate) fn advertisement(mac: Mac, ip: Ipv6Addr) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 136;
    bytes[4] = OVERRIDE;
    bytes[8..24].copy_from_slice(&ip.octets());
    // Option: target link-layer address, one unit of eight octets.
    bytes[24] = 2;
    bytes[25] = 1;
    bytes[26..].copy_from_slice(&mac.0);
    bytes
}

fn arp(from: Mac, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; ARP_FRAME] {
    let mut bytes = [0; ARP_FRAME];
    bytes[..6].copy_from_slice(&BROADCAST.0);
    bytes[6..12].copy_from_slice(&from.0);
    bytes[12..14].copy_from_slice(&ARP);
    bytes[14..20].copy_from_slice(&ETHERNET_IPV4);
    bytes[20..22].copy_from_slice(&operation.to_be_bytes());
    bytes[22..28].copy_from_slice(&sender.0.0);
    bytes[28..32].copy_from_slice(&sender.1.octets());
    bytes[32..38].copy_from_slice(&target.0.0);
    bytes[38..42].copy_from_slice(&target.1.octets());
    bytes
}

/// Ethernet header and ARP packet; the card pads it.
pub(crate) const ARP_FRAME: usize = 42;
const ARP: [u8; 2] = [0x08, 0x06];
/// Hardware type 1, protocol IPv4, lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const OVERRIDE: u8 = 0x20;
const BROADCAST: Mac = Mac([0xff; 6]);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CARD: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

    #[test]
    fn both_forms_of_an_announcement_name_the_address_as_sender_and_target() {
        for frame in [announcement_request(CARD, IP), announcement_reply(CARD, IP)] {
            assert_eq!(claim(&frame), Some((IP, CARD)));
            assert_eq!(&frame[..6], &[0xff; 6]);
            assert_eq!(&frame[38..42], &IP.octets());
        }
        assert_eq!(announcement_request(CARD, IP)[20..22], [0, 1]);
        assert_eq!(announcement_reply(CARD, IP)[20..22], [0, 2]);
    }

    #[test]
    fn a_probe_claims_nothing() {
        assert_eq!(claim(&probe(CARD, IP)), None);
        assert_eq!(&probe(CARD, IP)[38..42], &IP.octets());
    }

    #[test]
    fn an_advertisement_overrides_what_neighbors_know() {
        let ip: Ipv6Addr = "fd00::50".parse().unwrap();
        let bytes = advertisement(CARD, ip);
        assert_eq!((bytes[0], bytes[1], bytes[4]), (136, 0, 0x20));
        assert_eq!(&bytes[8..24], &ip.octets());
        assert_eq!(&bytes[24..], &[2, 1, 2, 0, 0, 0, 0, 7]);
    }

    proptest! {
        #[test]
        fn hostile_frames_are_read_without_panic(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            claim(&frame);
        }

        #[test]
        fn a_frame_with_one_wrong_byte_in_its_types_claims_nothing(at in 12_usize..20, change in 1_u8..) {
            let mut frame = announcement_request(CARD, IP);
            frame[at] ^= change;
            prop_assert_eq!(claim(&frame), None);
        }
    }
}
