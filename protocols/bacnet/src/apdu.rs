//! Headers of the application layer: clause 20.1.
//!
//! Eight kinds of PDU, told apart by the upper half of the first octet. Four of them carry a service, whose
//! bytes `services` reads; three of the flags and two of the numbers exist for messages that are sent
//! in segments.

use crate::Error;
use crate::names::{AbortReason, RejectReason};
use crate::tag::Reader;

/// The lengths of an APDU that a request can say its sender takes: clause 20.1.2.5.
pub const APDU_BYTES: [u16; 6] = [50, 128, 206, 480, 1024, 1476];
/// The shortest length that every device takes.
pub const APDU_BYTES_MIN: u16 = APDU_BYTES[0];
/// The longest APDU of BACnet/IP.
pub const APDU_BYTES_MAX: u16 = APDU_BYTES[5];
/// Bytes of the header of a confirmed request that is sent in segments.
pub const SEGMENTED_REQUEST_HEADER_BYTES: usize = 6;
/// Bytes of the header of an answer that is sent in segments.
pub const SEGMENTED_ACK_HEADER_BYTES: usize = 5;
/// The largest window of segments.
pub const WINDOW_MAX: u8 = 127;

/// How many segments the answer to a request may have: clause 20.1.2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaxSegments {
    /// Not said; everyone takes two.
    Unspecified,
    /// This many: 2, 4, 8, 16, 32 or 64.
    Count(u8),
    /// More than 64.
    Many,
}

impl MaxSegments {
    /// The largest that says no more than this.
    pub fn at_most(count: usize) -> MaxSegments {
        match count {
            0 | 1 => MaxSegments::Unspecified,
            65.. => MaxSegments::Many,
            _ => MaxSegments::Count(1 << count.ilog2()),
        }
    }

    /// How many segments may be sent; `many` where the peer says only that it is more than 64.
    pub fn count(self, many: usize) -> usize {
        match self {
            MaxSegments::Unspecified => 2,
            MaxSegments::Count(count) => usize::from(count),
            MaxSegments::Many => many,
        }
    }

    const fn code(self) -> u8 {
        match self {
            MaxSegments::Unspecified | MaxSegments::Count(0 | 1) => 0,
            MaxSegments::Count(2..=3) => 1,
            MaxSegments::Count(4..=7) => 2,
            MaxSegments::Count(8..=15) => 3,
            MaxSegments::Count(16..=31) => 4,
            MaxSegments::Count(32..=63) => 5,
            MaxSegments::Count(_) => 6,
            MaxSegments::Many => 7,
        }
    }

    const fn from_code(code: u8) -> MaxSegments {
        match code & 7 {
            0 => MaxSegments::Unspecified,
            7 => MaxSegments::Many,
            code => MaxSegments::Count(1 << code),
        }
    }
}

/// Where a segment stands in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Whether more follow.
    pub is_followed: bool,
    /// Its number, which begins anew after 255.
    pub sequence: u8,
    /// How many segments its sender would send without an acknowledgment.
    pub window: u8,
}

/// One PDU of the application layer, borrowing the bytes of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apdu<'a> {
    /// Clause 20.1.2.
    ConfirmedRequest {
        /// Where it stands, if the request is sent in segments.
        segment: Option<Segment>,
        /// Whether the answer may be sent in segments.
        takes_segments: bool,
        /// How many of them.
        max_segments: MaxSegments,
        /// The longest answer, or segment of one, that its sender takes.
        max_apdu: u16,
        /// Which request of its sender it is.
        invoke_id: u8,
        /// The service's number.
        service: u8,
        /// Its parameters.
        payload: &'a [u8],
    },
    /// Clause 20.1.3.
    UnconfirmedRequest {
        /// The service's number.
        service: u8,
        /// Its parameters.
        payload: &'a [u8],
    },
    /// Clause 20.1.4.
    SimpleAck {
        /// Of which request.
        invoke_id: u8,
        /// The service's number.
        service: u8,
    },
    /// Clause 20.1.5.
    ComplexAck {
        /// Where it stands, if the answer is sent in segments.
        segment: Option<Segment>,
        /// Of which request.
        invoke_id: u8,
        /// The service's number.
        service: u8,
        /// The answer.
        payload: &'a [u8],
    },
    /// Clause 20.1.6.
    SegmentAck {
        /// Whether a segment is missing.
        is_negative: bool,
        /// Whether the one who answers requests sends it.
        from_server: bool,
        /// Of which request.
        invoke_id: u8,
        /// The last segment that was taken.
        sequence: u8,
        /// How many segments may follow without an acknowledgment.
        window: u8,
    },
    /// Clause 20.1.7.
    Error {
        /// Of which request.
        invoke_id: u8,
        /// The service's number.
        service: u8,
        /// What is wrong, in the form of that service.
        payload: &'a [u8],
    },
    /// Clause 20.1.8.
    Reject {
        /// Of which request.
        invoke_id: u8,
        /// Why.
        reason: RejectReason,
    },
    /// Clause 20.1.9.
    Abort {
        /// Whether the one who answers requests sends it.
        from_server: bool,
        /// Of which request.
        invoke_id: u8,
        /// Why.
        reason: AbortReason,
    },
}

impl<'a> Apdu<'a> {
    /// Whether its sender waits for an answer, which the network layer tells routers.
    pub fn expects_reply(&self) -> bool {
        match self {
            Apdu::ConfirmedRequest { .. } => true,
            Apdu::ComplexAck { segment, .. } => segment.is_some(),
            Apdu::UnconfirmedRequest { .. }
            | Apdu::SimpleAck { .. }
            | Apdu::SegmentAck { .. }
            | Apdu::Error { .. }
            | Apdu::Reject { .. }
            | Apdu::Abort { .. } => false,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Apdu<'a>, Error> {
        let mut reader = Reader::new(bytes);
        let first = reader.octet()?;
        let apdu = match first >> 4 {
            0 => {
                let sizes = reader.octet()?;
                let invoke_id = reader.octet()?;
                Apdu::ConfirmedRequest {
                    segment: segment(&mut reader, first)?,
                    takes_segments: first & 0x02 != 0,
                    max_segments: MaxSegments::from_code(sizes >> 4),
                    max_apdu: max_apdu(sizes),
                    invoke_id,
                    service: reader.octet()?,
                    payload: rest(&mut reader),
                }
            }
            1 => Apdu::UnconfirmedRequest { service: reader.octet()?, payload: rest(&mut reader) },
            2 => Apdu::SimpleAck { invoke_id: reader.octet()?, service: reader.octet()? },
            3 => {
                let invoke_id = reader.octet()?;
                let segment = segment(&mut reader, first)?;
                Apdu::ComplexAck { segment, invoke_id, service: reader.octet()?, payload: rest(&mut reader) }
            }
            4 => Apdu::SegmentAck {
                is_negative: first & 0x02 != 0,
                from_server: first & 0x01 != 0,
                invoke_id: reader.octet()?,
                sequence: reader.octet()?,
                window: reader.octet()?,
            },
            5 => {
                let (invoke_id, service) = (reader.octet()?, reader.octet()?);
                Apdu::Error { invoke_id, service, payload: rest(&mut reader) }
            }
            6 => Apdu::Reject {
                invoke_id: reader.octet()?,
                reason: RejectReason::new(u32::from(reader.octet()?)),
            },
            7 => Apdu::Abort {
                from_server: first & 0x01 != 0,
                invoke_id: reader.octet()?,
                reason: AbortReason::new(u32::from(reader.octet()?)),
            },
            _ => return Err(Error::Tag { expected: "a kind of PDU", got: first }),
        };
        reader.finish()?;
        Ok(apdu)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Apdu::ConfirmedRequest {
                segment,
                takes_segments,
                max_segments,
                max_apdu,
                invoke_id,
                service,
                payload,
            } => {
                let first = segment_flags(segment) | u8::from(takes_segments) << 1;
                let sizes = max_segments.code() << 4 | max_apdu_code(max_apdu);
                let mut bytes = vec![first, sizes, invoke_id];
                put_segment(&mut bytes, segment);
                bytes.push(service);
                bytes.extend_from_slice(payload);
                bytes
            }
            Apdu::UnconfirmedRequest { service, payload } => [&[0x10, service], payload].concat(),
            Apdu::SimpleAck { invoke_id, service } => vec![0x20, invoke_id, service],
            Apdu::ComplexAck { segment, invoke_id, service, payload } => {
                let mut bytes = vec![0x30 | segment_flags(segment), invoke_id];
                put_segment(&mut bytes, segment);
                bytes.push(service);
                bytes.extend_from_slice(payload);
                bytes
            }
            Apdu::SegmentAck { is_negative, from_server, invoke_id, sequence, window } => {
                vec![0x40 | u8::from(is_negative) << 1 | u8::from(from_server), invoke_id, sequence, window]
            }
            Apdu::Error { invoke_id, service, payload } => [&[0x50, invoke_id, service], payload].concat(),
            Apdu::Reject { invoke_id, reason } => vec![0x60, invoke_id, octet(reason.number())],
            Apdu::Abort { from_server, invoke_id, reason } => {
                vec![0x70 | u8::from(from_server), invoke_id, octet(reason.number())]
            }
        }
    }
}

fn rest<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    reader.take(reader.rest().len()).unwrap_or_default()
}

fn segment(reader: &mut Reader<'_>, first: u8) -> Result<Option<Segment>, Error> {
    if first & 0x08 == 0 {
        return Ok(None);
    }
    let (sequence, window) = (reader.octet()?, reader.octet()?);
    Ok(Some(Segment { is_followed: first & 0x04 != 0, sequence, window }))
}

fn segment_flags(segment: Option<Segment>) -> u8 {
    segment.map_or(0, |segment| 0x08 | u8::from(segment.is_followed) << 2)
}

fn put_segment(bytes: &mut Vec<u8>, segment: Option<Segment>) {
    bytes.extend(segment.iter().flat_map(|segment| [segment.sequence, segment.window]));
}

/// Reserved codes stand for lengths of later editions, which are longer.
fn max_apdu(sizes: u8) -> u16 {
    APDU_BYTES.get(usize::from(sizes & 0x0f)).copied().unwrap_or(APDU_BYTES_MAX)
}

/// The code of the longest length that is not longer than this.
fn max_apdu_code(max_apdu: u16) -> u8 {
    let count = APDU_BYTES.iter().filter(|length| **length <= max_apdu).count();
    u8::try_from(count.saturating_sub(1)).expect("one of six")
}

/// A reason that has no octet is "other".
fn octet(reason: u32) -> u8 {
    u8::try_from(reason).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let segment = Some(Segment { is_followed: true, sequence: 255, window: 127 });
        let request = |segment, max_segments, max_apdu| Apdu::ConfirmedRequest {
            segment,
            takes_segments: true,
            max_segments,
            max_apdu,
            invoke_id: 1,
            service: 12,
            payload: &[1, 2, 3],
        };
        let cases = [
            request(None, MaxSegments::Unspecified, 50),
            request(segment, MaxSegments::Count(64), 1476),
            request(segment, MaxSegments::Many, 480),
            Apdu::UnconfirmedRequest { service: 8, payload: &[] },
            Apdu::SimpleAck { invoke_id: 2, service: 15 },
            Apdu::ComplexAck { segment: None, invoke_id: 3, service: 12, payload: &[9] },
            Apdu::ComplexAck { segment, invoke_id: 3, service: 12, payload: &[] },
            Apdu::SegmentAck { is_negative: true, from_server: false, invoke_id: 4, sequence: 5, window: 6 },
            Apdu::SegmentAck { is_negative: false, from_server: true, invoke_id: 4, sequence: 5, window: 6 },
            Apdu::Error { invoke_id: 7, service: 12, payload: &[0x91, 1, 0x91, 31] },
            Apdu::Reject { invoke_id: 8, reason: RejectReason::INVALID_TAG },
            Apdu::Abort { from_server: true, invoke_id: 9, reason: AbortReason::BUFFER_OVERFLOW },
        ];
        for apdu in cases {
            assert_eq!(Apdu::decode(&apdu.encode()), Ok(apdu));
        }
        assert!(Apdu::decode(&[0x80, 1]).is_err());
        assert!(Apdu::decode(&[]).is_err());
    }

    #[test]
    fn lengths_that_have_no_code_become_the_next_shorter_one() {
        let codes = [0, 50, 51, 128, 500, 1475, 1476, u16::MAX].map(max_apdu_code);
        assert_eq!(codes, [0, 0, 0, 1, 3, 4, 5, 5]);
        assert_eq!(max_apdu(0x0f), 1476);
    }

    #[test]
    fn counts_of_segments_become_the_next_smaller_power_of_two() {
        let counts = [0, 2, 3, 4, 63, 64, 65].map(|count| MaxSegments::at_most(count).count(1000));
        assert_eq!(counts, [2, 2, 2, 4, 32, 64, 1000]);
        for code in 0..8 {
            assert_eq!(MaxSegments::from_code(code).code(), code);
        }
    }
}
