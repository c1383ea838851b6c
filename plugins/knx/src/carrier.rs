//! What carries `KNXnet/IP` frames: a UDP socket, a TCP stream, or multicast.
//!
//! One whole frame goes in, one whole frame comes out, each with its header. Whatever changes frames between the state
//! machine and the wire, as KNX IP Secure does, belongs between [`Carrier::send`] and its caller, and between
//! [`Carrier::receive`] and its caller: in the two functions of [`crate::link`] that call them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket, lookup_host};
use twinhub_knx_protocol::ip::{FRAME_BYTES_MAX, HostProtocol, Hpai, StreamReader};

use crate::config::{Settings, Transport};

/// A socket.
#[derive(Debug)]
pub(crate) enum Carrier {
    Udp {
        socket: UdpSocket,
        /// The gateway's control endpoint.
        control: SocketAddrV4,
        /// Where the gateway wants data.
        data: SocketAddrV4,
        /// Datagrams of others.
        foreign: u64,
    },
    Tcp {
        stream: TcpStream,
        reader: StreamReader,
    },
    Multicast {
        socket: UdpSocket,
        group: SocketAddrV4,
    },
}

impl Carrier {
    /// Opens what leads to a gateway, and says what it is told as the endpoint of this client.
    pub(crate) async fn to_gateway(settings: &Settings, gateway: &str) -> io::Result<(Self, Hpai)> {
        let control = resolve(gateway).await?;
        match settings.config.transport {
            Transport::Udp => {
                let local = settings.config.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
                let socket = UdpSocket::bind((local, 0)).await?;
                let endpoint = if settings.config.nat {
                    Hpai::NAT
                } else {
                    let address = if local.is_unspecified() { local_address_to(control)? } else { local };
                    Hpai { protocol: HostProtocol::Udp, address, port: socket.local_addr()?.port() }
                };
                Ok((Self::Udp { socket, control, data: control, foreign: 0 }, endpoint))
            }
            Transport::Tcp => {
                let socket = TcpSocket::new_v4()?;
                if let Some(local) = settings.config.interface {
                    socket.bind((local, 0).into())?;
                }
                let stream = socket.connect(control.into()).await?;
                stream.set_nodelay(true)?;
                // Bounds how long the kernel may still deliver a telegram, also after this process has died.
                #[cfg(target_os = "linux")]
                socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(settings.config.send_timeout.0))?;
                Ok((Self::Tcp { stream, reader: StreamReader::new() }, Hpai::TCP))
            }
        }
    }

    /// Joins the multicast group.
    pub(crate) fn multicast(settings: &Settings) -> io::Result<Self> {
        let group = settings.multicast;
        let device = settings.config.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Other programs of this host listen to the group, too.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from(bind_address(group)).into())?;
        socket.join_multicast_v4(group.ip(), &device)?;
        if !device.is_unspecified() {
            socket.set_multicast_if_v4(&device)?;
        }
        socket.set_multicast_ttl_v4(MULTICAST_HOPS)?;
        socket.set_multicast_loop_v4(true)?;
        Ok(Self::Multicast { socket: UdpSocket::from_std(socket.into())?, group })
    }

    /// Where data go from here on; a route back means where control frames go.
    pub(crate) fn set_data(&mut self, endpoint: Hpai, is_nat: bool) {
        if let Self::Udp { control, data, .. } = self {
            *data = if endpoint.is_route_back() || is_nat {
                *control
            } else {
                SocketAddrV4::new(endpoint.address, endpoint.port)
            };
        }
    }

    /// Sends a frame, at once or not at all.
    ///
    /// # Errors
    /// The frame did not leave; a stream is lost then.
    pub(crate) fn send(&self, frame: &[u8], is_data: bool) -> io::Result<()> {
        let sent = match self {
            Self::Udp { socket, control, data, .. } => {
                socket.try_send_to(frame, if is_data { *data } else { *control }.into())?
            }
            Self::Multicast { socket, group } => socket.try_send_to(frame, (*group).into())?,
            // One telegram is under way at a time, so a stream that has no room leads to nobody.
            Self::Tcp { stream, .. } => stream.try_write(frame)?,
        };
        if sent == frame.len() {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("{sent} of {} bytes were sent", frame.len()),
            ))
        }
    }

    /// Until frames can be sent.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Udp { socket, .. } | Self::Multicast { socket, .. } => socket.writable().await,
            Self::Tcp { stream, .. } => stream.writable().await,
        }
    }

    /// The next frame. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// The socket failed, or the stream ended or is out of step.
    pub(crate) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp { socket, control, foreign, .. } => {
                let mut buffer = [0; FRAME_BYTES_MAX];
                loop {
                    let (count, from) = socket.recv_from(&mut buffer).await?;
                    if from.ip() == IpAddr::V4(*control.ip()) {
                        return Ok(buffer[..count].to_vec());
                    }
                    *foreign += 1;
                }
            }
            Self::Multicast { socket, .. } => {
                let mut buffer = [0; FRAME_BYTES_MAX];
                let (count, _) = socket.recv_from(&mut buffer).await?;
                Ok(buffer[..count].to_vec())
            }
            Self::Tcp { stream, reader } => loop {
                if let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
                    return Ok(frame.to_vec());
                }
                stream.readable().await?;
                let mut buffer = [0; FRAME_BYTES_MAX];
                match stream.try_read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => reader.push(&buffer[..count]).map_err(io::Error::other)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// Datagrams that came from somebody else than the gateway.
    pub(crate) const fn foreign(&self) -> u64 {
        match self {
            Self::Udp { foreign, .. } => *foreign,
            Self::Tcp { .. } | Self::Multicast { .. } => 0,
        }
    }
}

pub(crate) async fn resolve(gateway: &str) -> io::Result<SocketAddrV4> {
    for address in lookup_host(gateway).await? {
        if let SocketAddr::V4(address) = address {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{gateway} has no IPv4 address")))
}

/// Which of this host's addresses the gateway sees. Nothing is sent for it.
pub(crate) fn local_address_to(gateway: SocketAddrV4) -> io::Result<Ipv4Addr> {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    probe.connect(gateway)?;
    match probe.local_addr()?.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(io::Error::other(format!("{address} is no IPv4 address"))),
    }
}

/// On Unix a socket bound to the group hears nothing else.
const fn bind_address(group: SocketAddrV4) -> SocketAddrV4 {
    if cfg!(unix) { group } else { SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, group.port()) }
}

/// Of KNX routing (`03_08_05`): 16 by default.
const MULTICAST_HOPS: u32 = 16;
