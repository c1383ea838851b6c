//! What kind of connection is asked for (CRI) and given (CRD): `03_08_02`; tunnelling: `03_08_04`.

use crate::reader::Reader;
use crate::{Error, IndividualAddress};

/// What a tunnel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TunnelLayer {
    /// Telegrams.
    #[default]
    Link,
    /// Frames as the medium has them.
    Raw,
    /// Everything that is heard, and nothing can be sent.
    Busmonitor,
}

/// Connection request information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionRequest {
    /// Management of the gateway.
    DeviceManagement,
    /// A tunnel.
    Tunnel {
        /// What it carries.
        layer: TunnelLayer,
        /// The address that is asked for: an extended CRI, which only gateways with tunnelling of version 2 know.
        address: Option<IndividualAddress>,
    },
    /// Any other type, kept as it is.
    Other {
        /// The type.
        kind: u8,
        /// What follows.
        data: Vec<u8>,
    },
}

/// Connection response data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionInfo {
    /// Management of the gateway.
    DeviceManagement,
    /// A tunnel.
    Tunnel {
        /// The address of the client on the bus.
        address: IndividualAddress,
    },
    /// Any other type, kept as it is.
    Other {
        /// The type.
        kind: u8,
        /// What follows.
        data: Vec<u8>,
    },
}

impl ConnectionRequest {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<ConnectionRequest, Error> {
        let mut body = reader.structure("a CRI")?;
        match body.u8("the connection type of a CRI")? {
            DEVICE_MANAGEMENT => {
                body.finish("a CRI of device management")?;
                Ok(ConnectionRequest::DeviceManagement)
            }
            TUNNEL => {
                let layer = match body.u8("the layer of a tunnel")? {
                    LINK_LAYER => TunnelLayer::Link,
                    RAW_LAYER => TunnelLayer::Raw,
                    BUSMONITOR_LAYER => TunnelLayer::Busmonitor,
                    got => {
                        return Err(Error::Invalid { what: "the layer of a tunnel", got: u32::from(got) });
                    }
                };
                body.u8("the reserved octet of a CRI")?;
                let address = if body.is_empty() {
                    None
                } else {
                    Some(IndividualAddress(body.u16("the address of a CRI")?))
                };
                body.finish("a CRI of a tunnel")?;
                Ok(ConnectionRequest::Tunnel { layer, address })
            }
            kind => Ok(ConnectionRequest::Other { kind, data: body.rest().to_vec() }),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            ConnectionRequest::DeviceManagement => out.extend_from_slice(&[2, DEVICE_MANAGEMENT]),
            ConnectionRequest::Tunnel { layer, address } => {
                let layer = match layer {
                    TunnelLayer::Link => LINK_LAYER,
                    TunnelLayer::Raw => RAW_LAYER,
                    TunnelLayer::Busmonitor => BUSMONITOR_LAYER,
                };
                out.extend_from_slice(&[if address.is_some() { 6 } else { 4 }, TUNNEL, layer, 0]);
                if let Some(address) = address {
                    out.extend_from_slice(&address.0.to_be_bytes());
                }
            }
            ConnectionRequest::Other { kind, data } => encode_structure("a CRI", *kind, data, out)?,
        }
        Ok(())
    }
}

impl ConnectionInfo {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<ConnectionInfo, Error> {
        let mut body = reader.structure("a CRD")?;
        match body.u8("the connection type of a CRD")? {
            DEVICE_MANAGEMENT => {
                body.finish("a CRD of device management")?;
                Ok(ConnectionInfo::DeviceManagement)
            }
            TUNNEL => {
                let address = IndividualAddress(body.u16("the address of a CRD")?);
                body.finish("a CRD of a tunnel")?;
                Ok(ConnectionInfo::Tunnel { address })
            }
            kind => Ok(ConnectionInfo::Other { kind, data: body.rest().to_vec() }),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            ConnectionInfo::DeviceManagement => out.extend_from_slice(&[2, DEVICE_MANAGEMENT]),
            ConnectionInfo::Tunnel { address } => {
                out.extend_from_slice(&[4, TUNNEL]);
                out.extend_from_slice(&address.0.to_be_bytes());
            }
            ConnectionInfo::Other { kind, data } => encode_structure("a CRD", *kind, data, out)?,
        }
        Ok(())
    }
}

/// Length, type, data.
pub(super) fn encode_structure(
    what: &'static str,
    kind: u8,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let bytes = data.len() + 2;
    let length = u8::try_from(bytes).map_err(|_| Error::TooLong { what, bytes, max: 255 })?;
    out.extend_from_slice(&[length, kind]);
    out.extend_from_slice(data);
    Ok(())
}

const DEVICE_MANAGEMENT: u8 = 0x03;
const TUNNEL: u8 = 0x04;
const LINK_LAYER: u8 = 0x02;
const RAW_LAYER: u8 = 0x04;
const BUSMONITOR_LAYER: u8 = 0x80;
