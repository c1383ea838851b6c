//! What a gateway answers (`03_08_02` Core v01.06.02, §7.3.4).

use std::fmt;

/// An error code, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status(pub u8);

impl Status {
    /// All is well.
    pub const NO_ERROR: Status = Status(0x00);
    /// The host protocol is not supported.
    pub const HOST_PROTOCOL_TYPE: Status = Status(0x01);
    /// The version of the protocol is not supported.
    pub const VERSION_NOT_SUPPORTED: Status = Status(0x02);
    /// The sequence counter is out of order.
    pub const SEQUENCE_NUMBER: Status = Status(0x04);
    /// Any other error.
    pub const ERROR: Status = Status(0x0f);
    /// There is no connection of this channel.
    pub const CONNECTION_ID: Status = Status(0x21);
    /// This type of connection is not supported.
    pub const CONNECTION_TYPE: Status = Status(0x22);
    /// An option of the connection is not supported.
    pub const CONNECTION_OPTION: Status = Status(0x23);
    /// All slots are taken.
    pub const NO_MORE_CONNECTIONS: Status = Status(0x24);
    /// The individual address of the connection is used more than once.
    pub const NO_MORE_UNIQUE_CONNECTIONS: Status = Status(0x25);
    /// The data connection has an error.
    pub const DATA_CONNECTION: Status = Status(0x26);
    /// The connection of the gateway to the bus has an error.
    pub const KNX_CONNECTION: Status = Status(0x27);
    /// The client may not use the address it asked for.
    pub const AUTHORISATION_ERROR: Status = Status(0x28);
    /// This layer of tunnelling is not supported.
    pub const TUNNELLING_LAYER: Status = Status(0x29);
    /// The address asked for is not one of tunnelling.
    pub const NO_TUNNELLING_ADDRESS: Status = Status(0x2d);
    /// The address asked for is in use.
    pub const CONNECTION_IN_USE: Status = Status(0x2e);

    /// Whether all is well.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    const fn words(self) -> &'static str {
        match self {
            Status::NO_ERROR => "no error",
            Status::HOST_PROTOCOL_TYPE => "host protocol not supported",
            Status::VERSION_NOT_SUPPORTED => "protocol version not supported",
            Status::SEQUENCE_NUMBER => "sequence counter out of order",
            Status::ERROR => "unspecified error",
            Status::CONNECTION_ID => "no connection of this channel",
            Status::CONNECTION_TYPE => "connection type not supported",
            Status::CONNECTION_OPTION => "connection option not supported",
            Status::NO_MORE_CONNECTIONS => "no more connections, all slots are taken",
            Status::NO_MORE_UNIQUE_CONNECTIONS => "no more connections with an address of their own",
            Status::DATA_CONNECTION => "error of the data connection",
            Status::KNX_CONNECTION => "error of the bus connection",
            Status::AUTHORISATION_ERROR => "not allowed to use the requested address",
            Status::TUNNELLING_LAYER => "tunnelling layer not supported",
            Status::NO_TUNNELLING_ADDRESS => "the requested address is none of a tunnel",
            Status::CONNECTION_IN_USE => "the requested address is in use",
            Status(_) => "unknown code",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.words(), self.0)
    }
}
