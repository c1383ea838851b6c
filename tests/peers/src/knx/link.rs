//! The way back to a client: a stream or an address, in a session or in plain.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use twinhub_knx_protocol::ip::{Frame, HostProtocol, Hpai};
use twinhub_knx_protocol::secure::session::Server;

/// How a client is reached.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    transport: Transport,
    session: Option<Arc<Mutex<Server>>>,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(Arc<TcpStream>, SocketAddr),
    Udp(Arc<UdpSocket>, SocketAddr),
}

impl Link {
    pub(crate) fn tcp(stream: Arc<TcpStream>, peer: SocketAddr) -> Self {
        Self { transport: Transport::Tcp(stream, peer), session: None }
    }

    pub(crate) fn udp(socket: Arc<UdpSocket>, peer: SocketAddr) -> Self {
        Self { transport: Transport::Udp(socket, peer), session: None }
    }

    /// The same way, inside a session.
    pub(crate) fn inside(&self, session: Arc<Mutex<Server>>) -> Self {
        Self { transport: self.transport.clone(), session: Some(session) }
    }

    pub(crate) fn session(&self) -> Option<&Arc<Mutex<Server>>> {
        self.session.as_ref()
    }

    /// The authenticated user.
    pub(crate) fn user(&self) -> Option<u8> {
        self.session.as_ref().and_then(|session| lock(session).user())
    }

    pub(crate) const fn is_udp(&self) -> bool {
        matches!(self.transport, Transport::Udp(..))
    }

    /// What tells connections apart.
    pub(crate) fn connection(&self) -> (bool, SocketAddr) {
        match &self.transport {
            Transport::Tcp(_, peer) => (false, *peer),
            Transport::Udp(_, peer) => (true, *peer),
        }
    }

    /// The endpoint of the gateway that the client sees.
    pub(crate) fn endpoint(&self) -> Hpai {
        let Transport::Udp(socket, _) = &self.transport else { return Hpai::TCP };
        match socket.local_addr() {
            Ok(own) => match own.ip() {
                IpAddr::V4(address) => Hpai { protocol: HostProtocol::Udp, address, port: own.port() },
                IpAddr::V6(_) => Hpai::NAT,
            },
            Err(_) => Hpai { protocol: HostProtocol::Udp, address: Ipv4Addr::LOCALHOST, port: 0 },
        }
    }

    /// Sends a frame, wrapped if there is a session. A client that is gone is found by its reader.
    pub(crate) fn send(&self, frame: &Frame) {
        let Ok(bytes) = frame.encode() else { return };
        match &self.session {
            Some(session) => {
                // Held until it is written: frames go out in the order of their numbers.
                let mut session = lock(session);
                if let Some(wrapped) = session.send(&bytes) {
                    self.send_bytes(&wrapped);
                }
            }
            None => self.send_bytes(&bytes),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        match &self.transport {
            Transport::Tcp(stream, _) => drop((&**stream).write_all(bytes)),
            Transport::Udp(socket, peer) => drop(socket.send_to(bytes, peer)),
        }
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        let session = |link: &Self| link.session.as_ref().map(Arc::as_ptr);
        self.connection() == other.connection() && session(self) == session(other)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
