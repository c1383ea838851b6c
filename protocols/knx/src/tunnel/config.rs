//! How a tunnel is to be.

use std::time::Duration;

use crate::IndividualAddress;
use crate::ip::{HostProtocol, Hpai, TunnelLayer};

/// How a tunnel is to be. [`TunnelConfig::udp`] and [`TunnelConfig::tcp`] fill in the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelConfig {
    /// Where this client receives control frames. Its protocol says whether the tunnel is over UDP or TCP.
    pub control: Hpai,
    /// Where this client receives data.
    pub data: Hpai,
    /// What the tunnel carries.
    pub layer: TunnelLayer,
    /// The address that is asked for, which needs a gateway with tunnelling of version 2.
    pub address: Option<IndividualAddress>,
    /// No other address will do. Else a gateway that does not know the request is asked again without it.
    pub is_address_required: bool,
    /// The channel of a predecessor that died, which is closed first so that its slot is free. Some gateways compare
    /// endpoints and refuse that.
    pub reclaim: Option<u8>,
    /// How long to wait for the answer to that; default 1 s.
    pub reclaim_timeout: Duration,
    /// How long to wait for a connection; default 10 s, the time-out of the standard.
    pub connect_timeout: Duration,
    /// How long to wait for the end of a connection; default 1 s.
    pub disconnect_timeout: Duration,
    /// How often the gateway is asked whether the connection is there; default 10 s. The standard has 60 s, after which
    /// a gateway that was restarted would be missed for as long.
    pub heartbeat_interval: Duration,
    /// How long to wait for the answer; default 3 s. The standard has 10 s.
    pub heartbeat_timeout: Duration,
    /// How many questions in a row may fail; default 3, over TCP 1: there nothing is lost but the connection.
    pub heartbeat_failures_max: u8,
    /// How long to wait for the acknowledgment of a request over UDP; default 1 s (`03_08_04`, §2.6).
    pub ack_timeout: Duration,
    /// How long to wait for the confirmation from the bus; default 3 s.
    pub confirmation_timeout: Duration,
    /// How long to wait for the answer to a read; default 3 s.
    pub read_timeout: Duration,
    /// The most telegrams a second; default 20, less than half of what a TP line carries. 0 is no limit.
    pub telegrams_per_second: u32,
    /// The most telegrams that wait; default 256.
    pub queue_max: usize,
}

impl TunnelConfig {
    /// Over UDP, with the endpoint of this client; [`Hpai::NAT`] if the gateway is to find it out.
    pub const fn udp(endpoint: Hpai) -> TunnelConfig {
        TunnelConfig {
            control: endpoint,
            data: endpoint,
            layer: TunnelLayer::Link,
            address: None,
            is_address_required: false,
            reclaim: None,
            reclaim_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            disconnect_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(3),
            heartbeat_failures_max: 3,
            ack_timeout: Duration::from_secs(1),
            confirmation_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(3),
            telegrams_per_second: 20,
            queue_max: 256,
        }
    }

    /// Over TCP.
    pub const fn tcp() -> TunnelConfig {
        TunnelConfig { heartbeat_failures_max: 1, ..TunnelConfig::udp(Hpai::TCP) }
    }

    pub(super) const fn is_tcp(&self) -> bool {
        matches!(self.control.protocol, HostProtocol::Tcp)
    }
}
