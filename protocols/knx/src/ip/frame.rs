//! Header and body of a frame.

use super::{ConnectionInfo, ConnectionRequest, Dib, Hpai, SearchParameter, SecureFrame, Status};
use crate::Error;
use crate::cemi::CEMI_BYTES_MAX;
use crate::reader::Reader;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 6;
/// The longest frame that is read or written. The longest ones that gateways send are descriptions of a few hundred
/// bytes; the length field could say 65535, which nobody is to make a client keep.
pub const FRAME_BYTES_MAX: usize = 4096;

/// The part that frames of a connection begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequenced {
    /// The channel of the connection.
    pub channel: u8,
    /// Counts the frames of one direction.
    pub sequence: u8,
}

/// A feature of a tunnel of version 2, as it is asked for, answered, set and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Which one, for example 0x03 the state of the bus, 0x06 the own address, 0x07 the longest APDU.
    pub id: u8,
    /// In a response, 0 if it went well; else reserved.
    pub return_code: u8,
    /// Its value; none when it is asked for.
    pub value: Vec<u8>,
}

/// A KNXnet/IP frame. What carries a cEMI frame keeps its bytes: it is acknowledged whether they can be read or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Who is there?
    SearchRequest {
        /// Where it is to be answered.
        discovery: Hpai,
    },
    /// I am.
    SearchResponse {
        /// Where it can be reached.
        control: Hpai,
        /// What it is.
        description: Vec<Dib>,
    },
    /// Who of these is there?
    SearchRequestExtended {
        /// Where it is to be answered.
        discovery: Hpai,
        /// Whom it is meant for.
        parameters: Vec<SearchParameter>,
    },
    /// I am, with the blocks asked for.
    SearchResponseExtended {
        /// Where it can be reached.
        control: Hpai,
        /// What it is.
        description: Vec<Dib>,
    },
    /// What are you?
    DescriptionRequest {
        /// Where it is to be answered.
        control: Hpai,
    },
    /// This.
    DescriptionResponse {
        /// What it is.
        description: Vec<Dib>,
    },
    /// A connection is asked for.
    ConnectRequest {
        /// Where its control frames go.
        control: Hpai,
        /// Where its data go.
        data: Hpai,
        /// What kind of connection.
        request: ConnectionRequest,
    },
    /// A connection is given, or refused.
    ConnectResponse {
        /// Its channel.
        channel: u8,
        /// Endpoint for data and kind of connection, or why there is none.
        result: Result<(Hpai, ConnectionInfo), Status>,
    },
    /// Is the connection there?
    ConnectionStateRequest {
        /// Its channel.
        channel: u8,
        /// Where it is to be answered.
        control: Hpai,
    },
    /// It is, or not.
    ConnectionStateResponse {
        /// Its channel.
        channel: u8,
        /// How it is.
        status: Status,
    },
    /// The connection ends.
    DisconnectRequest {
        /// Its channel.
        channel: u8,
        /// Where it is to be answered.
        control: Hpai,
    },
    /// It has ended.
    DisconnectResponse {
        /// Its channel.
        channel: u8,
        /// What the other side found.
        status: Status,
    },
    /// A cEMI frame of the management of a gateway.
    DeviceConfigurationRequest {
        /// Channel and counter.
        header: Sequenced,
        /// The bytes.
        cemi: Vec<u8>,
    },
    /// It came.
    DeviceConfigurationAck {
        /// Channel and counter.
        header: Sequenced,
        /// How it was taken.
        status: Status,
    },
    /// A cEMI frame of a tunnel.
    TunnellingRequest {
        /// Channel and counter.
        header: Sequenced,
        /// The bytes.
        cemi: Vec<u8>,
    },
    /// It came.
    TunnellingAck {
        /// Channel and counter.
        header: Sequenced,
        /// How it was taken.
        status: Status,
    },
    /// A feature is asked for.
    FeatureGet(Sequenced, Feature),
    /// A feature is answered.
    FeatureResponse(Sequenced, Feature),
    /// A feature is set.
    FeatureSet(Sequenced, Feature),
    /// A feature is told unasked.
    FeatureInfo(Sequenced, Feature),
    /// A cEMI frame over multicast.
    RoutingIndication {
        /// The bytes.
        cemi: Vec<u8>,
    },
    /// A router lost telegrams.
    RoutingLost {
        /// Bit 0: the bus has a fault.
        device_state: u8,
        /// How many.
        lost: u16,
    },
    /// A router asks for a pause.
    RoutingBusy {
        /// Bit 0: the bus has a fault.
        device_state: u8,
        /// How long.
        wait_ms: u16,
        /// 0: all are meant.
        control: u16,
    },
    /// A cEMI frame over multicast to every domain.
    RoutingSystemBroadcast {
        /// The bytes.
        cemi: Vec<u8>,
    },
    /// A frame of KNX IP Secure.
    Secure(SecureFrame),
    /// Any other service, kept as it is.
    Unknown {
        /// The service.
        service: u16,
        /// The body.
        body: Vec<u8>,
    },
}

impl Frame {
    /// Reads the frame that `bytes` begin with: a datagram, or what [`StreamReader`](super::StreamReader) cut off.
    ///
    /// Bytes behind the length of the header are not looked at: gateways are known to send refusals in datagrams that
    /// are longer than their header says.
    ///
    /// # Errors
    /// If it is no frame, or a part of it has another length than its content needs.
    pub fn decode(bytes: &[u8]) -> Result<Frame, Error> {
        let (service, length) = read_header(bytes)?;
        let bytes = bytes.get(HEADER_BYTES..length).ok_or(Error::Truncated {
            what: "a KNXnet/IP frame",
            needed: length,
            got: bytes.len(),
        })?;
        let mut body = Reader::new(bytes);
        let frame = decode_body(service, &mut body)?;
        body.finish("the body of a KNXnet/IP frame")?;
        Ok(frame)
    }

    /// The bytes of this frame.
    ///
    /// # Errors
    /// If a part is longer than its length field can say, or the whole than [`FRAME_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![0x06, VERSION, 0, 0, 0, 0];
        let service = encode_body(self, &mut out)?;
        if out.len() > FRAME_BYTES_MAX {
            return Err(Error::TooLong { what: "a KNXnet/IP frame", bytes: out.len(), max: FRAME_BYTES_MAX });
        }
        let length = u16::try_from(out.len()).expect("the limit is below 64 KiB");
        out[2..4].copy_from_slice(&service.to_be_bytes());
        out[4..6].copy_from_slice(&length.to_be_bytes());
        Ok(out)
    }
}

/// Service and total length.
pub(super) fn read_header(bytes: &[u8]) -> Result<(u16, usize), Error> {
    let mut reader = Reader::new(bytes);
    let size = reader.u8("the header of a KNXnet/IP frame")?;
    if usize::from(size) != HEADER_BYTES {
        return Err(Error::Invalid { what: "the header size of a KNXnet/IP frame", got: u32::from(size) });
    }
    let version = reader.u8("the header of a KNXnet/IP frame")?;
    if version != VERSION {
        return Err(Error::Invalid { what: "the version of a KNXnet/IP frame", got: u32::from(version) });
    }
    let service = reader.u16("the header of a KNXnet/IP frame")?;
    let length = usize::from(reader.u16("the header of a KNXnet/IP frame")?);
    if length < HEADER_BYTES {
        return Err(Error::Truncated { what: "a KNXnet/IP frame", needed: HEADER_BYTES, got: length });
    }
    if length > FRAME_BYTES_MAX {
        return Err(Error::TooLong { what: "a KNXnet/IP frame", bytes: length, max: FRAME_BYTES_MAX });
    }
    Ok((service, length))
}

fn decode_body(service: u16, body: &mut Reader<'_>) -> Result<Frame, Error> {
    Ok(match service {
        SEARCH_REQUEST => Frame::SearchRequest { discovery: Hpai::decode(body)? },
        SEARCH_RESPONSE => {
            Frame::SearchResponse { control: Hpai::decode(body)?, description: Dib::decode_all(body)? }
        }
        SEARCH_REQUEST_EXTENDED => Frame::SearchRequestExtended {
            discovery: Hpai::decode(body)?,
            parameters: SearchParameter::decode_all(body)?,
        },
        SEARCH_RESPONSE_EXTENDED => Frame::SearchResponseExtended {
            control: Hpai::decode(body)?,
            description: Dib::decode_all(body)?,
        },
        DESCRIPTION_REQUEST => Frame::DescriptionRequest { control: Hpai::decode(body)? },
        DESCRIPTION_RESPONSE => Frame::DescriptionResponse { description: Dib::decode_all(body)? },
        CONNECT_REQUEST => Frame::ConnectRequest {
            control: Hpai::decode(body)?,
            data: Hpai::decode(body)?,
            request: ConnectionRequest::decode(body)?,
        },
        CONNECT_RESPONSE => decode_connect_response(body)?,
        CONNECTION_STATE_REQUEST => {
            let channel = decode_channel(body)?;
            Frame::ConnectionStateRequest { channel, control: Hpai::decode(body)? }
        }
        CONNECTION_STATE_RESPONSE => {
            let [channel, status] = body.array("a connection state response")?;
            Frame::ConnectionStateResponse { channel, status: Status(status) }
        }
        DISCONNECT_REQUEST => {
            let channel = decode_channel(body)?;
            Frame::DisconnectRequest { channel, control: Hpai::decode(body)? }
        }
        DISCONNECT_RESPONSE => {
            let [channel, status] = body.array("a disconnect response")?;
            Frame::DisconnectResponse { channel, status: Status(status) }
        }
        DEVICE_CONFIGURATION_REQUEST => {
            Frame::DeviceConfigurationRequest { header: decode_sequenced(body)?.0, cemi: decode_cemi(body)? }
        }
        DEVICE_CONFIGURATION_ACK => {
            let (header, status) = decode_sequenced(body)?;
            Frame::DeviceConfigurationAck { header, status }
        }
        TUNNELLING_REQUEST => {
            Frame::TunnellingRequest { header: decode_sequenced(body)?.0, cemi: decode_cemi(body)? }
        }
        TUNNELLING_ACK => {
            let (header, status) = decode_sequenced(body)?;
            Frame::TunnellingAck { header, status }
        }
        FEATURE_GET => Frame::FeatureGet(decode_sequenced(body)?.0, decode_feature(body)?),
        FEATURE_RESPONSE => Frame::FeatureResponse(decode_sequenced(body)?.0, decode_feature(body)?),
        FEATURE_SET => Frame::FeatureSet(decode_sequenced(body)?.0, decode_feature(body)?),
        FEATURE_INFO => Frame::FeatureInfo(decode_sequenced(body)?.0, decode_feature(body)?),
        ROUTING_INDICATION => Frame::RoutingIndication { cemi: decode_cemi(body)? },
        ROUTING_LOST => {
            let mut body = body.structure("a routing lost message")?;
            let device_state = body.u8("a routing lost message")?;
            let lost = body.u16("a routing lost message")?;
            body.finish("a routing lost message")?;
            Frame::RoutingLost { device_state, lost }
        }
        ROUTING_BUSY => {
            let mut body = body.structure("a routing busy message")?;
            let device_state = body.u8("a routing busy message")?;
            let wait_ms = body.u16("a routing busy message")?;
            let control = body.u16("a routing busy message")?;
            body.finish("a routing busy message")?;
            Frame::RoutingBusy { device_state, wait_ms, control }
        }
        ROUTING_SYSTEM_BROADCAST => Frame::RoutingSystemBroadcast { cemi: decode_cemi(body)? },
        service => match SecureFrame::decode(service, body)? {
            Some(frame) => Frame::Secure(frame),
            None => Frame::Unknown { service, body: body.rest().to_vec() },
        },
    })
}

fn decode_connect_response(body: &mut Reader<'_>) -> Result<Frame, Error> {
    let [channel, status] = body.array("a connect response")?;
    let status = Status(status);
    let result = if status.is_ok() {
        Ok((Hpai::decode(body)?, ConnectionInfo::decode(body)?))
    } else {
        // Gateways send a refusal with endpoint and CRD, with zeros in their place, or without them.
        body.rest();
        Err(status)
    };
    Ok(Frame::ConnectResponse { channel, result })
}

fn decode_channel(body: &mut Reader<'_>) -> Result<u8, Error> {
    // The second octet is reserved.
    Ok(body.array::<2>("the channel of a connection")?[0])
}

fn decode_sequenced(body: &mut Reader<'_>) -> Result<(Sequenced, Status), Error> {
    let mut header = body.structure("a connection header")?;
    let [channel, sequence, status] = header.array("a connection header")?;
    header.finish("a connection header")?;
    Ok((Sequenced { channel, sequence }, Status(status)))
}

fn decode_cemi(body: &mut Reader<'_>) -> Result<Vec<u8>, Error> {
    if body.left() > CEMI_BYTES_MAX {
        return Err(Error::TooLong { what: "a cEMI frame", bytes: body.left(), max: CEMI_BYTES_MAX });
    }
    Ok(body.rest().to_vec())
}

fn decode_feature(body: &mut Reader<'_>) -> Result<Feature, Error> {
    let [id, return_code] = body.array("a feature of a tunnel")?;
    Ok(Feature { id, return_code, value: body.rest().to_vec() })
}

fn encode_body(frame: &Frame, out: &mut Vec<u8>) -> Result<u16, Error> {
    let blocks = |description: &[Dib], out: &mut Vec<u8>| -> Result<(), Error> {
        description.iter().try_for_each(|block| block.encode(out))
    };
    Ok(match frame {
        Frame::SearchRequest { discovery } => {
            discovery.encode(out);
            SEARCH_REQUEST
        }
        Frame::SearchResponse { control, description } => {
            control.encode(out);
            blocks(description, out)?;
            SEARCH_RESPONSE
        }
        Frame::SearchRequestExtended { discovery, parameters } => {
            discovery.encode(out);
            parameters.iter().try_for_each(|parameter| parameter.encode(out))?;
            SEARCH_REQUEST_EXTENDED
        }
        Frame::SearchResponseExtended { control, description } => {
            control.encode(out);
            blocks(description, out)?;
            SEARCH_RESPONSE_EXTENDED
        }
        Frame::DescriptionRequest { control } => {
            control.encode(out);
            DESCRIPTION_REQUEST
        }
        Frame::DescriptionResponse { description } => {
            blocks(description, out)?;
            DESCRIPTION_RESPONSE
        }
        Frame::ConnectRequest { control, data, request } => {
            control.encode(out);
            data.encode(out);
            request.encode(out)?;
            CONNECT_REQUEST
        }
        Frame::ConnectResponse { channel, result } => {
            out.extend_from_slice(&[*channel, result.as_ref().err().map_or(0, |status| status.0)]);
            if let Ok((data, info)) = result {
                data.encode(out);
                info.encode(out)?;
            }
            CONNECT_RESPONSE
        }
        Frame::ConnectionStateRequest { channel, control } => {
            out.extend_from_slice(&[*channel, 0]);
            control.encode(out);
            CONNECTION_STATE_REQUEST
        }
        Frame::ConnectionStateResponse { channel, status } => {
            out.extend_from_slice(&[*channel, status.0]);
            CONNECTION_STATE_RESPONSE
        }
        Frame::DisconnectRequest { channel, control } => {
            out.extend_from_slice(&[*channel, 0]);
            control.encode(out);
            DISCONNECT_REQUEST
        }
        Frame::DisconnectResponse { channel, status } => {
            out.extend_from_slice(&[*channel, status.0]);
            DISCONNECT_RESPONSE
        }
        Frame::DeviceConfigurationRequest { header, cemi } => {
            encode_sequenced(*header, Status::NO_ERROR, cemi, out);
            DEVICE_CONFIGURATION_REQUEST
        }
        Frame::DeviceConfigurationAck { header, status } => {
            encode_sequenced(*header, *status, &[], out);
            DEVICE_CONFIGURATION_ACK
        }
        Frame::TunnellingRequest { header, cemi } => {
            encode_sequenced(*header, Status::NO_ERROR, cemi, out);
            TUNNELLING_REQUEST
        }
        Frame::TunnellingAck { header, status } => {
            encode_sequenced(*header, *status, &[], out);
            TUNNELLING_ACK
        }
        Frame::FeatureGet(header, feature) => encode_feature(FEATURE_GET, *header, feature, out),
        Frame::FeatureResponse(header, feature) => encode_feature(FEATURE_RESPONSE, *header, feature, out),
        Frame::FeatureSet(header, feature) => encode_feature(FEATURE_SET, *header, feature, out),
        Frame::FeatureInfo(header, feature) => encode_feature(FEATURE_INFO, *header, feature, out),
        Frame::RoutingIndication { cemi } => {
            out.extend_from_slice(cemi);
            ROUTING_INDICATION
        }
        Frame::RoutingLost { device_state, lost } => {
            out.extend_from_slice(&[4, *device_state]);
            out.extend_from_slice(&lost.to_be_bytes());
            ROUTING_LOST
        }
        Frame::RoutingBusy { device_state, wait_ms, control } => {
            out.extend_from_slice(&[6, *device_state]);
            out.extend_from_slice(&wait_ms.to_be_bytes());
            out.extend_from_slice(&control.to_be_bytes());
            ROUTING_BUSY
        }
        Frame::RoutingSystemBroadcast { cemi } => {
            out.extend_from_slice(cemi);
            ROUTING_SYSTEM_BROADCAST
        }
        Frame::Secure(frame) => frame.encode(out),
        Frame::Unknown { service, body } => {
            out.extend_from_slice(body);
            *service
        }
    })
}

fn encode_sequenced(header: Sequenced, status: Status, rest: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[4, header.channel, header.sequence, status.0]);
    out.extend_from_slice(rest);
}

fn encode_feature(service: u16, header: Sequenced, feature: &Feature, out: &mut Vec<u8>) -> u16 {
    encode_sequenced(header, Status::NO_ERROR, &[feature.id, feature.return_code], out);
    out.extend_from_slice(&feature.value);
    service
}

const VERSION: u8 = 0x10;
const SEARCH_REQUEST: u16 = 0x0201;
const SEARCH_RESPONSE: u16 = 0x0202;
const DESCRIPTION_REQUEST: u16 = 0x0203;
const DESCRIPTION_RESPONSE: u16 = 0x0204;
const CONNECT_REQUEST: u16 = 0x0205;
const CONNECT_RESPONSE: u16 = 0x0206;
const CONNECTION_STATE_REQUEST: u16 = 0x0207;
const CONNECTION_STATE_RESPONSE: u16 = 0x0208;
const DISCONNECT_REQUEST: u16 = 0x0209;
const DISCONNECT_RESPONSE: u16 = 0x020a;
const SEARCH_REQUEST_EXTENDED: u16 = 0x020b;
const SEARCH_RESPONSE_EXTENDED: u16 = 0x020c;
const DEVICE_CONFIGURATION_REQUEST: u16 = 0x0310;
const DEVICE_CONFIGURATION_ACK: u16 = 0x0311;
const TUNNELLING_REQUEST: u16 = 0x0420;
const TUNNELLING_ACK: u16 = 0x0421;
const FEATURE_GET: u16 = 0x0422;
const FEATURE_RESPONSE: u16 = 0x0423;
const FEATURE_SET: u16 = 0x0424;
const FEATURE_INFO: u16 = 0x0425;
const ROUTING_INDICATION: u16 = 0x0530;
const ROUTING_LOST: u16 = 0x0531;
const ROUTING_BUSY: u16 = 0x0532;
const ROUTING_SYSTEM_BROADCAST: u16 = 0x0533;

#[cfg(test)]
mod tests;
