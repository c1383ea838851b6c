//! The client of a secure session: an encrypted, authenticated connection that a tunnel runs in.
//!
//! ```text
//!           Start                SESSION_RESPONSE, genuine          status: authenticated
//!   Idle ──────────► Requesting ───────────────────────► Authenticating ───────────────► Open
//!    ▲                   │ no session, no answer,            │ wrong user or password,     │ closed by either side,
//!    └───────────────────┘ not the device it should be      ◄┘ no answer                  ◄┘ transport lost
//! ```
//! Both sides make a key by X25519. The server proves with the key of the device that it is the right one; who has no
//! authentication code of the device cannot tell it from an impostor. Then the client proves who its user is, and from
//! there on all is inside of wrappers.
//!
//! Each side counts its wrappers from 0. One that does not count up is dropped, as is one whose code is wrong: neither
//! ends the session, since anybody who reaches the socket could end it that way.
//!
//! Standard: `03_08_09` KNX IP Secure v01.01.02, §2.2.3 (sessions), §2.4.1 (only the response is taken in plain).

mod event;
mod server;

pub use event::{Action, Counters, Input, Output, Reason, SessionConfig};
pub use server::{Server, ServerAction, ServerConfig};

use std::collections::{BTreeMap, VecDeque};

use subtle::ConstantTimeEq;

use super::wrapper::{self, Nonce, SEQUENCE_MAX, sequence_number};
use super::{Key, PrivateKey};
use crate::Moment;
use crate::ip::secure::{
    SESSION_STATUS_AUTHENTICATED, SESSION_STATUS_CLOSE, SESSION_STATUS_FAILED, SESSION_STATUS_KEEPALIVE,
    SESSION_STATUS_TIMEOUT, SESSION_STATUS_UNAUTHENTICATED,
};
use crate::ip::{Frame, SecureFrame};
use crate::tunnel::{Endpoint, millis};

/// A session.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    state: State,
    timers: BTreeMap<Timer, Moment>,
    actions: VecDeque<Action>,
    counters: Counters,
}

#[derive(Debug)]
enum State {
    Idle,
    Requesting { private_key: PrivateKey, since: Moment },
    Authenticating { channel: Channel, since: Moment },
    Open(Channel),
}

/// What the machine waits for. Each has at most one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The answer to the session request.
    Response,
    /// The answer to the authentication.
    Status,
    /// When to show that the session is still wanted.
    KeepAlive,
}

/// The two directions of wrappers, as either side has them.
#[derive(Debug)]
struct Channel {
    session: u16,
    key: Key,
    serial: [u8; 6],
    /// The next own sequence number.
    next: u64,
    /// The last one of the other side.
    last: Option<u64>,
}

/// What a wrapper turned out to be.
enum Opened {
    Frame(Vec<u8>),
    OtherSession,
    Replayed,
    Forged,
}

impl Channel {
    /// `None` once the numbers are used up, or if the frame is too long.
    fn wrap(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if self.next > SEQUENCE_MAX {
            return None;
        }
        let nonce = Nonce { sequence: self.next, serial: self.serial, tag: TAG };
        let wrapped = wrapper::wrap(&self.key, self.session, nonce, frame).ok()?;
        self.next += 1;
        Some(wrapped)
    }

    fn open(&mut self, wrapped: SecureFrame) -> Opened {
        let SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code } = wrapped else {
            return Opened::OtherSession;
        };
        if session != self.session {
            return Opened::OtherSession;
        }
        let sequence = sequence_number(sequence);
        if self.last.is_some_and(|last| sequence <= last) {
            return Opened::Replayed;
        }
        match wrapper::unwrap(&self.key, session, Nonce { sequence, serial, tag }, encrypted, code) {
            Some(frame) => {
                self.last = Some(sequence);
                Opened::Frame(frame)
            }
            None => Opened::Forged,
        }
    }
}

impl Session {
    /// A session that is not open.
    pub fn new(config: SessionConfig) -> Session {
        Session {
            config,
            state: State::Idle,
            timers: BTreeMap::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether frames can be sent.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether there is no session, and none is being opened.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        match input {
            Input::Start { private_key } => self.on_start(private_key, now),
            Input::Stop => self.on_stop(),
            Input::Frame(bytes) => self.on_frame(&bytes, now),
            Input::Send { to, frame } => self.on_send(to, &frame, now),
            Input::TransportLost => {
                if !matches!(self.state, State::Idle) {
                    self.become_idle(Reason::TransportLost);
                }
            }
            Input::Wakeup => self.on_wakeup(now),
        }
        let is_idle = matches!(self.state, State::Idle);
        assert!(is_idle == self.timers.is_empty(), "only an idle machine waits for nothing");
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        match self.actions.pop_front() {
            Some(action) => Output::Action(action),
            None => Output::Timeout(self.timers.values().min().copied().unwrap_or(Moment::NEVER)),
        }
    }

    fn on_start(&mut self, private_key: PrivateKey, now: Moment) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let control = self.config.control;
        let frame = SecureFrame::SessionRequest { control, public_key: private_key.public() };
        let frame = Frame::Secure(frame).encode().expect("a session request has a fixed length");
        self.actions.push_back(Action::Transmit { to: Endpoint::Control, frame });
        self.timers.insert(Timer::Response, now + self.config.response_timeout);
        self.state = State::Requesting { private_key, since: now };
    }

    fn on_stop(&mut self) {
        match self.state {
            State::Idle => {}
            State::Requesting { .. } => self.become_idle(Reason::Stopped),
            State::Authenticating { .. } | State::Open(_) => self.close(Reason::Stopped),
        }
    }

    fn on_frame(&mut self, bytes: &[u8], now: Moment) {
        match Frame::decode(bytes) {
            Err(_) => self.counters.malformed += 1,
            Ok(Frame::Secure(SecureFrame::SessionResponse { session, public_key, code })) => {
                self.on_response(session, public_key, code, now);
            }
            Ok(Frame::Secure(wrapped @ SecureFrame::Wrapper { .. })) => self.on_wrapper(wrapped, now),
            Ok(_) => self.counters.plain += 1,
        }
    }

    fn on_response(&mut self, session: u16, server: [u8; 32], code: [u8; 16], now: Moment) {
        let State::Requesting { private_key, .. } = &self.state else {
            self.counters.plain += 1;
            return;
        };
        if session == 0 {
            self.become_idle(Reason::NoFreeSession);
            return;
        }
        let client = private_key.public();
        if let Some(device) = &self.config.device_key {
            let expected = wrapper::response_code(device, session, &client, &server);
            if !bool::from(expected.ct_eq(&code)) {
                self.become_idle(Reason::WrongDevice);
                return;
            }
        }
        let Some(key) = private_key.agree(server) else {
            self.become_idle(Reason::WeakKey);
            return;
        };
        self.timers.remove(&Timer::Response);
        self.timers.insert(Timer::Status, now + self.config.authenticate_timeout);
        let channel = Channel { session, key, serial: self.config.serial, next: 0, last: None };
        let user = self.config.user;
        let code = wrapper::authenticate_code(&self.config.user_key, user, &client, &server);
        self.state = State::Authenticating { channel, since: now };
        self.transmit(Endpoint::Control, SecureFrame::SessionAuthenticate { user, code });
    }

    fn on_wrapper(&mut self, wrapped: SecureFrame, now: Moment) {
        let (State::Authenticating { channel, .. } | State::Open(channel)) = &mut self.state else {
            self.counters.other_sessions += 1;
            return;
        };
        let bytes = match channel.open(wrapped) {
            Opened::Frame(bytes) => bytes,
            Opened::OtherSession => {
                self.counters.other_sessions += 1;
                return;
            }
            Opened::Replayed => {
                self.counters.replayed += 1;
                return;
            }
            Opened::Forged => {
                self.counters.forged += 1;
                return;
            }
        };
        match Frame::decode(&bytes) {
            Ok(Frame::Secure(SecureFrame::SessionStatus { status })) => self.on_status(status, now),
            // Neither sessions nor wrappers are inside of wrappers (§2.2.1.2.2.2).
            Ok(Frame::Secure(_)) | Err(_) => self.counters.malformed += 1,
            Ok(_) if self.is_open() => self.actions.push_back(Action::Received(bytes)),
            Ok(_) => self.counters.plain += 1,
        }
    }

    fn on_status(&mut self, status: u8, now: Moment) {
        let user = self.config.user;
        match status {
            SESSION_STATUS_AUTHENTICATED => self.on_authenticated(now),
            SESSION_STATUS_FAILED => self.become_idle(Reason::WrongUser { user }),
            SESSION_STATUS_UNAUTHENTICATED => self.become_idle(Reason::Unauthenticated { user }),
            SESSION_STATUS_TIMEOUT => self.become_idle(Reason::TimedOut),
            SESSION_STATUS_KEEPALIVE => {}
            SESSION_STATUS_CLOSE => self.become_idle(Reason::ClosedByGateway),
            _ => self.counters.malformed += 1,
        }
    }

    fn on_authenticated(&mut self, now: Moment) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Authenticating { channel, .. } => {
                self.timers.remove(&Timer::Status);
                self.timers.insert(Timer::KeepAlive, now + self.config.keep_alive_interval);
                self.actions.push_back(Action::Opened { session: channel.session });
                self.state = State::Open(channel);
            }
            state @ (State::Idle | State::Requesting { .. } | State::Open(_)) => self.state = state,
        }
    }

    fn on_send(&mut self, to: Endpoint, frame: &[u8], now: Moment) {
        let State::Open(channel) = &mut self.state else {
            self.counters.unsent += 1;
            return;
        };
        match channel.wrap(frame) {
            Some(frame) => {
                self.actions.push_back(Action::Transmit { to, frame });
                self.timers.insert(Timer::KeepAlive, now + self.config.keep_alive_interval);
            }
            None if channel.next > SEQUENCE_MAX => self.become_idle(Reason::SequenceExhausted),
            None => self.counters.unsent += 1,
        }
    }

    fn on_wakeup(&mut self, now: Moment) {
        let due: Vec<Timer> =
            self.timers.iter().filter(|(_, moment)| **moment <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            match (timer, &self.state) {
                (Timer::Response, State::Requesting { since, .. }) => {
                    let waited_ms = millis(now.since(*since));
                    self.become_idle(Reason::NoResponse { waited_ms });
                }
                (Timer::Status, State::Authenticating { since, .. }) => {
                    let waited_ms = millis(now.since(*since));
                    self.close(Reason::NoStatus { waited_ms });
                }
                (Timer::KeepAlive, State::Open(_)) => {
                    self.timers.insert(Timer::KeepAlive, now + self.config.keep_alive_interval);
                    let status = SESSION_STATUS_KEEPALIVE;
                    self.transmit(Endpoint::Control, SecureFrame::SessionStatus { status });
                }
                (Timer::Response | Timer::Status | Timer::KeepAlive, _) => drop(self.timers.remove(&timer)),
            }
        }
    }

    /// Tells the other side that the session ends; it does not answer.
    fn close(&mut self, reason: Reason) {
        self.transmit(Endpoint::Control, SecureFrame::SessionStatus { status: SESSION_STATUS_CLOSE });
        self.become_idle(reason);
    }

    fn become_idle(&mut self, reason: Reason) {
        self.state = State::Idle;
        self.timers.clear();
        self.actions.push_back(Action::Closed { reason });
    }

    /// Sends a frame of the session itself, wrapped.
    fn transmit(&mut self, to: Endpoint, frame: SecureFrame) {
        let (State::Authenticating { channel, .. } | State::Open(channel)) = &mut self.state else { return };
        let frame = Frame::Secure(frame).encode().expect("frames of a session have fixed lengths");
        if let Some(frame) = channel.wrap(&frame) {
            self.actions.push_back(Action::Transmit { to, frame });
        }
    }
}

/// Unicast has no use for it.
const TAG: u16 = 0;

#[cfg(test)]
mod tests;
