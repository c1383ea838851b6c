//! The server of one session, for gateways that tests put up.

use std::collections::BTreeMap;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::{Channel, Opened};
use crate::Moment;
use crate::ip::secure::{
    SESSION_STATUS_AUTHENTICATED, SESSION_STATUS_CLOSE, SESSION_STATUS_FAILED, SESSION_STATUS_KEEPALIVE,
    SESSION_STATUS_TIMEOUT, SESSION_STATUS_UNAUTHENTICATED,
};
use crate::ip::{Frame, SecureFrame};
use crate::secure::{Key, PrivateKey, wrapper};

/// What all sessions of a gateway have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// The key of the device.
    pub device_key: Key,
    /// The keys of the users.
    pub users: BTreeMap<u8, Key>,
    /// The serial number of the device.
    pub serial: [u8; 6],
    /// How long a client may take to authenticate; 10 s in the standard.
    pub authenticate_timeout: Duration,
    /// How long a session may be silent; 60 s in the standard.
    pub silence_max: Duration,
}

/// What the owner of a server is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAction {
    /// Send this frame to the client.
    Transmit(Vec<u8>),
    /// The client is this user.
    Authenticated {
        /// The user.
        user: u8,
    },
    /// A frame of the authenticated client.
    Received(Vec<u8>),
    /// The session is over; nothing comes from it any more.
    Closed,
}

/// One session.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    channel: Channel,
    keys: [[u8; 32]; 2],
    user: Option<u8>,
    deadline: Moment,
}

impl Server {
    /// Answers a session request with a session of this number, which is not 0. `None` if the client's key protects
    /// nothing.
    pub fn accept(
        config: ServerConfig,
        session: u16,
        client: [u8; 32],
        private_key: &PrivateKey,
        now: Moment,
    ) -> Option<(Server, Vec<u8>)> {
        let key = private_key.agree(client)?;
        let public_key = private_key.public();
        let code = wrapper::response_code(&config.device_key, session, &client, &public_key);
        let response = SecureFrame::SessionResponse { session, public_key, code };
        let response = Frame::Secure(response).encode().expect("a session response has a fixed length");
        let server = Server {
            channel: Channel { session, key, serial: config.serial, next: 0, last: None },
            keys: [client, public_key],
            user: None,
            deadline: now + config.authenticate_timeout,
            config,
        };
        Some((server, response))
    }

    /// The number of the session.
    pub const fn session(&self) -> u16 {
        self.channel.session
    }

    /// The user, once it is authenticated.
    pub const fn user(&self) -> Option<u8> {
        self.user
    }

    /// When [`Server::handle_wakeup`] is due.
    pub const fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Wraps a frame for the client.
    pub fn send(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.channel.wrap(frame)
    }

    /// Takes a wrapper of the client.
    pub fn handle_frame(&mut self, wrapped: SecureFrame, now: Moment) -> Vec<ServerAction> {
        let Opened::Frame(bytes) = self.channel.open(wrapped) else { return Vec::new() };
        match (Frame::decode(&bytes), self.user) {
            (Ok(Frame::Secure(SecureFrame::SessionAuthenticate { user, code })), None) => {
                self.on_authenticate(user, code, now)
            }
            (Ok(Frame::Secure(SecureFrame::SessionStatus { status: SESSION_STATUS_CLOSE })), _) => {
                self.end(SESSION_STATUS_CLOSE)
            }
            (_, None) => self.end(SESSION_STATUS_UNAUTHENTICATED),
            (Ok(Frame::Secure(SecureFrame::SessionStatus { status: SESSION_STATUS_KEEPALIVE })), _) => {
                self.deadline = now + self.config.silence_max;
                Vec::new()
            }
            (Ok(Frame::Secure(_)) | Err(_), _) => Vec::new(),
            (Ok(_), _) => {
                self.deadline = now + self.config.silence_max;
                vec![ServerAction::Received(bytes)]
            }
        }
    }

    /// Ends a session whose time is over.
    pub fn handle_wakeup(&mut self, now: Moment) -> Vec<ServerAction> {
        if now < self.deadline { Vec::new() } else { self.end(SESSION_STATUS_TIMEOUT) }
    }

    fn on_authenticate(&mut self, user: u8, code: [u8; 16], now: Moment) -> Vec<ServerAction> {
        let [client, server] = &self.keys;
        let is_genuine = self.config.users.get(&user).is_some_and(|key| {
            bool::from(wrapper::authenticate_code(key, user, client, server).ct_eq(&code))
        });
        if !is_genuine {
            return self.end(SESSION_STATUS_FAILED);
        }
        self.user = Some(user);
        self.deadline = now + self.config.silence_max;
        let mut actions = vec![ServerAction::Authenticated { user }];
        actions.extend(self.status(SESSION_STATUS_AUTHENTICATED));
        actions
    }

    fn end(&mut self, status: u8) -> Vec<ServerAction> {
        self.deadline = Moment::NEVER;
        self.status(status).into_iter().chain([ServerAction::Closed]).collect()
    }

    fn status(&mut self, status: u8) -> Option<ServerAction> {
        let frame = Frame::Secure(SecureFrame::SessionStatus { status });
        let frame = frame.encode().expect("a session status has a fixed length");
        self.channel.wrap(&frame).map(ServerAction::Transmit)
    }
}
