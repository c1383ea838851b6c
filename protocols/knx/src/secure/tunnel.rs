//! A tunnel inside a secure session, with telegrams of Data Secure, or either of them, or neither.
//!
//! ```text
//!   owner ◄──► Tunnel ◄──► DataSecure ◄──► Session ◄──► socket
//! ```
//! The tunnel in it is the one that runs without security, and knows of nothing around it. Where the session ends, so does
//! the tunnel, and the other way round; one `Disconnected` tells the reason of whichever ended first. Over TCP the stream
//! is done with then: a gateway gives a new session on a new one.

use std::collections::VecDeque;

use super::data::DataSecure;
use super::session::{self, Session, SessionConfig};
use super::{PrivateKey, session::Counters as SessionCounters};
use crate::tunnel::{Action, Counters, Endpoint, Input, Output, Reason};
use crate::{IndividualAddress, Moment, Tunnel, TunnelConfig};

/// A tunnel with what protects it.
#[derive(Debug)]
pub struct SecureTunnel {
    tunnel: Tunnel,
    session: Option<Session>,
    data: Option<DataSecure>,
    private_key: Option<PrivateKey>,
    address: IndividualAddress,
    /// Why the tunnel ended, while its session is being closed.
    ended: Option<Reason>,
    /// Why the session ended, while its tunnel is being told.
    closed: Option<session::Reason>,
    actions: VecDeque<Action>,
}

impl SecureTunnel {
    /// Without protection: as the tunnel itself.
    pub fn new(config: TunnelConfig) -> SecureTunnel {
        SecureTunnel {
            tunnel: Tunnel::new(config),
            session: None,
            data: None,
            private_key: None,
            address: IndividualAddress::NONE,
            ended: None,
            closed: None,
            actions: VecDeque::new(),
        }
    }

    /// Inside a session.
    #[must_use]
    pub fn with_session(self, config: SessionConfig) -> SecureTunnel {
        SecureTunnel { session: Some(Session::new(config)), ..self }
    }

    /// With telegrams of Data Secure. Numbers are to be kept reserved: what has none is not sent, which the tunnel can only
    /// take for the silence of the gateway.
    #[must_use]
    pub fn with_data(self, data: DataSecure) -> SecureTunnel {
        SecureTunnel { data: Some(data), ..self }
    }

    /// What the next session begins with. Each `Start` uses one up; without one it ends with
    /// [`session::Reason::NoPrivateKey`].
    pub fn set_private_key(&mut self, private_key: PrivateKey) {
        self.private_key = Some(private_key);
    }

    /// What the tunnel counted.
    pub const fn counters(&self) -> Counters {
        self.tunnel.counters()
    }

    /// What the session counted; zeros without one.
    pub fn session_counters(&self) -> SessionCounters {
        self.session.as_ref().map(Session::counters).unwrap_or_default()
    }

    /// Data Secure, to save its numbers.
    pub const fn data(&mut self) -> Option<&mut DataSecure> {
        self.data.as_mut()
    }

    /// Telegrams that wait, without the one under way.
    pub fn waiting(&self) -> usize {
        self.tunnel.waiting()
    }

    /// Whether telegrams can be sent.
    pub const fn is_connected(&self) -> bool {
        self.tunnel.is_connected()
    }

    /// From now on a predecessor's channel is closed first, or none.
    pub const fn set_reclaim(&mut self, channel: Option<u8>) {
        self.tunnel.set_reclaim(channel);
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        let Some(session) = &mut self.session else {
            if let Input::Frame(bytes) = input {
                self.on_frame(bytes, now);
            } else {
                self.tunnel.handle_input(input, now);
            }
            return self.pump(now);
        };
        match input {
            Input::Start if !self.tunnel.is_idle() || !session.is_idle() => {}
            Input::Start => match self.private_key.take() {
                Some(private_key) => session.handle_input(session::Input::Start { private_key }, now),
                None => self.end(Reason::Session(session::Reason::NoPrivateKey)),
            },
            Input::Stop if self.tunnel.is_idle() => session.handle_input(session::Input::Stop, now),
            Input::Frame(bytes) => session.handle_input(session::Input::Frame(bytes), now),
            Input::TransportLost => session.handle_input(session::Input::TransportLost, now),
            Input::Wakeup => {
                session.handle_input(session::Input::Wakeup, now);
                self.tunnel.handle_input(Input::Wakeup, now);
            }
            other @ (Input::Stop | Input::Send { .. } | Input::Read { .. }) => {
                self.tunnel.handle_input(other, now);
            }
        }
        self.pump(now);
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        if let Some(action) = self.actions.pop_front() {
            return Output::Action(action);
        }
        // Both have nothing else to say: what they said was taken behind the input.
        let tunnel = match self.tunnel.poll_output() {
            Output::Action(action) => return Output::Action(action),
            Output::Timeout(moment) => moment,
        };
        match self.session.as_mut().map(Session::poll_output) {
            Some(session::Output::Timeout(moment)) => Output::Timeout(tunnel.min(moment)),
            Some(session::Output::Action(_)) | None => Output::Timeout(tunnel),
        }
    }

    /// Hands on what one part has for the other until both are silent.
    fn pump(&mut self, now: Moment) {
        loop {
            if let Some(session::Output::Action(action)) = self.session.as_mut().map(Session::poll_output) {
                self.on_session(action, now);
            } else if let Output::Action(action) = self.tunnel.poll_output() {
                self.on_tunnel(action, now);
            } else {
                return;
            }
        }
    }

    fn on_session(&mut self, action: session::Action, now: Moment) {
        match action {
            session::Action::Transmit { to, frame } => {
                self.actions.push_back(Action::Transmit { to, frame });
            }
            session::Action::Opened { .. } => self.tunnel.handle_input(Input::Start, now),
            session::Action::Received(frame) => self.on_frame(frame, now),
            session::Action::Closed { reason } => match self.ended.take() {
                Some(ended) => self.end(ended),
                None if self.tunnel.is_idle() => self.end(reason_of(reason)),
                None => {
                    self.closed = Some(reason);
                    self.tunnel.handle_input(Input::TransportLost, now);
                }
            },
        }
    }

    fn on_tunnel(&mut self, action: Action, now: Moment) {
        match action {
            Action::Transmit { to, frame } => self.transmit(to, frame, now),
            Action::Disconnected { reason } => match (self.closed.take(), &mut self.session) {
                (Some(closed), _) => self.end(reason_of(closed)),
                (None, Some(session)) => {
                    self.ended = Some(reason);
                    session.handle_input(session::Input::Stop, now);
                }
                (None, None) => self.end(reason),
            },
            Action::Connected { address, .. } => {
                self.address = address;
                self.actions.push_back(action);
            }
            Action::Reclaimed { .. }
            | Action::Received(_)
            | Action::Monitored { .. }
            | Action::Feature(_)
            | Action::Sent { .. }
            | Action::ReadDone { .. } => self.actions.push_back(action),
        }
    }

    fn on_frame(&mut self, frame: Vec<u8>, now: Moment) {
        let frame = match &mut self.data {
            Some(data) => data.incoming(frame, self.address),
            None => frame,
        };
        self.tunnel.handle_input(Input::Frame(frame), now);
    }

    fn transmit(&mut self, to: Endpoint, frame: Vec<u8>, now: Moment) {
        let frame = match &mut self.data {
            Some(data) => data.outgoing(frame, self.address),
            None => Some(frame),
        };
        // What cannot be protected is not sent; the tunnel finds that it is not confirmed.
        let Some(frame) = frame else { return };
        match &mut self.session {
            Some(session) => session.handle_input(session::Input::Send { to, frame }, now),
            None => self.actions.push_back(Action::Transmit { to, frame }),
        }
    }

    fn end(&mut self, reason: Reason) {
        self.actions.push_back(Action::Disconnected { reason });
    }
}

/// What both parts have a word for is said with that of the tunnel.
const fn reason_of(reason: session::Reason) -> Reason {
    if matches!(reason, session::Reason::Stopped) {
        Reason::Stopped
    } else if matches!(reason, session::Reason::TransportLost) {
        Reason::TransportLost
    } else {
        Reason::Session(reason)
    }
}

#[cfg(test)]
mod tests;
