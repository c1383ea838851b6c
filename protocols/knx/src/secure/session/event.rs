//! What goes into a session, and what comes out.

use std::time::Duration;

use crate::Moment;
use crate::ip::Hpai;
use crate::secure::{Key, PrivateKey};
use crate::tunnel::Endpoint;

/// How a session is to be. [`SessionConfig::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionConfig {
    /// The user; each tunnel of a gateway has one of its own, 1 is the management.
    pub user: u8,
    /// The key of the user's password, [`Key::of_user`].
    pub user_key: Key,
    /// The key of the device's authentication code, [`Key::of_device`]. Without it the gateway is not verified.
    pub device_key: Option<Key>,
    /// The serial number that this client shows; it need not be that of a device.
    pub serial: [u8; 6],
    /// Where this client is to be answered: [`Hpai::TCP`], or its endpoint over UDP.
    pub control: Hpai,
    /// How long to wait for a session; default 10 s.
    pub response_timeout: Duration,
    /// How long to wait for what becomes of the authentication; default 10 s.
    pub authenticate_timeout: Duration,
    /// How long the session may be silent before it is told that it is still wanted; default 50 s. A server ends a
    /// session that was silent for 60 s.
    pub keep_alive_interval: Duration,
}

impl SessionConfig {
    /// Over TCP, with the defaults.
    pub const fn new(user: u8, user_key: Key, device_key: Option<Key>, serial: [u8; 6]) -> SessionConfig {
        SessionConfig {
            user,
            user_key,
            device_key,
            serial,
            control: Hpai::TCP,
            response_timeout: Duration::from_secs(10),
            authenticate_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(50),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A session is wanted. Over TCP the stream is open. Nothing happens if there is one or one is being opened.
    Start {
        /// New for each session.
        private_key: PrivateKey,
    },
    /// The session is no longer wanted.
    Stop,
    /// A whole frame came.
    Frame(Vec<u8>),
    /// A frame is to be sent inside the session. It is counted and dropped while the session is not open.
    Send {
        /// Where to.
        to: Endpoint,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The TCP stream ended, or the socket failed.
    TransportLost,
    /// The moment of the last `Timeout` has come.
    Wakeup,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Do this, then ask again.
    Action(Action),
    /// Nothing, until the next input or this moment.
    Timeout(Moment),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this frame.
    Transmit {
        /// Where to.
        to: Endpoint,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The session is open.
    Opened {
        /// Its number.
        session: u16,
    },
    /// A frame came inside the session.
    Received(Vec<u8>),
    /// There is no session, or no longer one.
    Closed {
        /// Why.
        reason: Reason,
    },
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// There was no private key to begin with.
    #[error("no private key was given for a new session")]
    NoPrivateKey,
    /// All sessions of the gateway are taken.
    #[error("the gateway has no free secure session; end one, or wait a minute until a dead one is dropped")]
    NoFreeSession,
    /// The gateway could not prove that it is the device.
    #[error(
        "the gateway does not have the expected device authentication code; check the address of the gateway and the \
         code, and if both are right another device pretends to be it"
    )]
    WrongDevice,
    /// The gateway's half of the key leads to a known key, whatever ours is.
    #[error("the gateway sent a public key that protects nothing")]
    WeakKey,
    /// The gateway refuses the user or the password. It does not say which.
    #[error(
        "the gateway refuses user {user}: no such user, or a wrong password; check both against the keyring"
    )]
    WrongUser {
        /// The user.
        user: u8,
    },
    /// The gateway says that nobody authenticated.
    #[error("the gateway does not know that user {user} is authenticated")]
    Unauthenticated {
        /// The user.
        user: u8,
    },
    /// The gateway does not answer the request.
    #[error(
        "no answer to the session request within {waited_ms} ms; check that the gateway has secure tunnelling"
    )]
    NoResponse {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The gateway does not answer the authentication.
    #[error("no answer to the authentication within {waited_ms} ms")]
    NoStatus {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The gateway gave up on a silent session.
    #[error("the gateway ended the session since it was silent for too long")]
    TimedOut,
    /// The gateway closed it.
    #[error("the gateway closed the session")]
    ClosedByGateway,
    /// 2^48 frames were sent.
    #[error("all sequence numbers of the session are used")]
    SequenceExhausted,
    /// The stream ended, or the socket failed.
    #[error("the transport was lost")]
    TransportLost,
}

/// What was counted since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Wrappers that did not count up: sent again by somebody, or out of order.
    pub replayed: u64,
    /// Wrappers with a wrong code.
    pub forged: u64,
    /// Frames that came in plain, or too early.
    pub plain: u64,
    /// Wrappers of other sessions.
    pub other_sessions: u64,
    /// Frames that could not be read, or that cannot be inside a wrapper.
    pub malformed: u64,
    /// Frames that were to be sent without a session.
    pub unsent: u64,
}
