//! Free ports that two test processes do not choose both.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::{Error, Result};

/// A TCP port on 127.0.0.1 that nobody listens on, reserved while this value lives.
///
/// TCP and UDP ports are separate name spaces, so the reservation is a UDP socket on the same number: another test
/// process sees it and goes on, while the program under test can listen on TCP.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: UdpSocket,
}

impl Port {
    /// Reserves the next free port below the range from which the system serves outgoing connections.
    pub fn reserve() -> Result<Self> {
        for _ in LOWEST..HIGHEST {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let start = u16::try_from(std::process::id() % u32::from(HIGHEST - LOWEST)).unwrap_or(0);
            let number = LOWEST + (start.wrapping_mul(7).wrapping_add(step)) % (HIGHEST - LOWEST);
            let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _reservation: reservation });
            }
        }
        Err(Error::invalid("free port", format!("none from {LOWEST} to {HIGHEST}")))
    }

    /// The numbers of free ports, all of them reserved until this process ends: for a test, which has its own.
    pub fn hold<const N: usize>() -> [u16; N] {
        std::array::from_fn(|_| {
            let port = Self::reserve().unwrap_or_else(|error| panic!("{error}"));
            let number = port.number;
            std::mem::forget(port);
            number
        })
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// A UDP port that nobody listens on, reserved while this value lives: as [`Port`], the other way round.
#[derive(Debug)]
pub struct UdpPort {
    number: u16,
    _reservation: TcpListener,
}

impl UdpPort {
    /// Reserves the next free port.
    pub fn reserve() -> Result<Self> {
        for _ in LOWEST..HIGHEST {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let start = u16::try_from(std::process::id() % u32::from(HIGHEST - LOWEST)).unwrap_or(0);
            let number = LOWEST + (start.wrapping_mul(7).wrapping_add(step)) % (HIGHEST - LOWEST);
            let Ok(reservation) = TcpListener::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            // Servers of multicast listen on all addresses.
            if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok() {
                return Ok(Self { number, _reservation: reservation });
            }
        }
        Err(Error::invalid("free UDP port", format!("none from {LOWEST} to {HIGHEST}")))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

static NEXT: AtomicU16 = AtomicU16::new(0);
const LOWEST: u16 = 15_000;
/// Linux serves outgoing connections from 32768 by default.
const HIGHEST: u16 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_never_share_a_port_and_tcp_can_listen_on_it() {
        let first = Port::reserve().unwrap();
        let second = Port::reserve().unwrap();
        assert_ne!(first.number(), second.number());
        assert!(TcpListener::bind(first.address()).is_ok());
    }
}
