//! Frames of KNX IP Secure as they are on the wire: `03_08_09` KNX IP Secure v01.01.02 (first published as AN159).
//!
//! Nothing here is secret, verified or fresh: keys, codes and counters are handed on for who has the keys, in
//! [`secure`](crate::secure).

use super::Hpai;
use crate::Error;
use crate::reader::Reader;

/// A frame of KNX IP Secure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecureFrame {
    /// Another frame, encrypted.
    Wrapper {
        /// The session; 0 is multicast.
        session: u16,
        /// Counter of the session, or the time of multicast.
        sequence: [u8; 6],
        /// Serial number of the sender.
        serial: [u8; 6],
        /// Chosen by the sender.
        tag: u16,
        /// The encrypted frame with its header.
        encrypted: Vec<u8>,
        /// Message authentication code.
        code: [u8; 16],
    },
    /// A client begins a session.
    SessionRequest {
        /// Where it is to be answered.
        control: Hpai,
        /// The client's key of the exchange.
        public_key: [u8; 32],
    },
    /// The server's part.
    SessionResponse {
        /// The new session; 0 says that there is none.
        session: u16,
        /// The server's key of the exchange.
        public_key: [u8; 32],
        /// Message authentication code.
        code: [u8; 16],
    },
    /// The client says who it is, inside a wrapper.
    SessionAuthenticate {
        /// The user; 1 is the management.
        user: u8,
        /// Message authentication code.
        code: [u8; 16],
    },
    /// What became of the session, inside a wrapper.
    SessionStatus {
        /// One of `SESSION_STATUS_…`.
        status: u8,
    },
    /// Keeps the timers of secure multicast together.
    TimerNotify {
        /// The sender's timer.
        timer: [u8; 6],
        /// Serial number of the sender.
        serial: [u8; 6],
        /// Chosen by the sender.
        tag: u16,
        /// Message authentication code.
        code: [u8; 16],
    },
}

/// The user is authenticated.
pub const SESSION_STATUS_AUTHENTICATED: u8 = 0x00;
/// The user or its password is wrong.
pub const SESSION_STATUS_FAILED: u8 = 0x01;
/// The session is not authenticated.
pub const SESSION_STATUS_UNAUTHENTICATED: u8 = 0x02;
/// The session took too long.
pub const SESSION_STATUS_TIMEOUT: u8 = 0x03;
/// Keeps an idle session alive.
pub const SESSION_STATUS_KEEPALIVE: u8 = 0x04;
/// The session is closed.
pub const SESSION_STATUS_CLOSE: u8 = 0x05;

impl SecureFrame {
    /// Reads the body of a service of this family, `None` if it is not known.
    pub(crate) fn decode(service: u16, body: &mut Reader<'_>) -> Result<Option<SecureFrame>, Error> {
        Ok(Some(match service {
            WRAPPER => {
                const WHAT: &str = "a secure wrapper";
                let session = body.u16(WHAT)?;
                let sequence = body.array(WHAT)?;
                let serial = body.array(WHAT)?;
                let tag = body.u16(WHAT)?;
                let encrypted =
                    body.left().checked_sub(CODE_BYTES + INNER_BYTES_MIN).ok_or(Error::Truncated {
                        what: WHAT,
                        needed: CODE_BYTES + INNER_BYTES_MIN,
                        got: body.left(),
                    })?;
                let encrypted = body.take(encrypted + INNER_BYTES_MIN, WHAT)?.to_vec();
                SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code: body.array(WHAT)? }
            }
            SESSION_REQUEST => SecureFrame::SessionRequest {
                control: Hpai::decode(body)?,
                public_key: body.array("the key of a session request")?,
            },
            SESSION_RESPONSE => SecureFrame::SessionResponse {
                session: body.u16("a session response")?,
                public_key: body.array("the key of a session response")?,
                code: body.array("the code of a session response")?,
            },
            SESSION_AUTHENTICATE => {
                body.u8("the reserved octet of a session authentication")?;
                SecureFrame::SessionAuthenticate {
                    user: body.u8("the user of a session")?,
                    code: body.array("the code of a session authentication")?,
                }
            }
            SESSION_STATUS => {
                let status = body.u8("a session status")?;
                body.u8("the reserved octet of a session status")?;
                SecureFrame::SessionStatus { status }
            }
            TIMER_NOTIFY => SecureFrame::TimerNotify {
                timer: body.array("a timer")?,
                serial: body.array("the serial number of a timer")?,
                tag: body.u16("the tag of a timer")?,
                code: body.array("the code of a timer")?,
            },
            _ => return Ok(None),
        }))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> u16 {
        match self {
            SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code } => {
                out.extend_from_slice(&session.to_be_bytes());
                out.extend_from_slice(sequence);
                out.extend_from_slice(serial);
                out.extend_from_slice(&tag.to_be_bytes());
                out.extend_from_slice(encrypted);
                out.extend_from_slice(code);
                WRAPPER
            }
            SecureFrame::SessionRequest { control, public_key } => {
                control.encode(out);
                out.extend_from_slice(public_key);
                SESSION_REQUEST
            }
            SecureFrame::SessionResponse { session, public_key, code } => {
                out.extend_from_slice(&session.to_be_bytes());
                out.extend_from_slice(public_key);
                out.extend_from_slice(code);
                SESSION_RESPONSE
            }
            SecureFrame::SessionAuthenticate { user, code } => {
                out.extend_from_slice(&[0, *user]);
                out.extend_from_slice(code);
                SESSION_AUTHENTICATE
            }
            SecureFrame::SessionStatus { status } => {
                out.extend_from_slice(&[*status, 0]);
                SESSION_STATUS
            }
            SecureFrame::TimerNotify { timer, serial, tag, code } => {
                out.extend_from_slice(timer);
                out.extend_from_slice(serial);
                out.extend_from_slice(&tag.to_be_bytes());
                out.extend_from_slice(code);
                TIMER_NOTIFY
            }
        }
    }
}

const WRAPPER: u16 = 0x0950;
const SESSION_REQUEST: u16 = 0x0951;
const SESSION_RESPONSE: u16 = 0x0952;
const SESSION_AUTHENTICATE: u16 = 0x0953;
const SESSION_STATUS: u16 = 0x0954;
const TIMER_NOTIFY: u16 = 0x0955;
const CODE_BYTES: usize = 16;
/// A frame inside has at least its header.
const INNER_BYTES_MIN: usize = 6;
