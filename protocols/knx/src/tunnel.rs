//! The client of a tunnelling connection.
//!
//! ```text
//!            Start, nothing to reclaim                CONNECT_RESPONSE
//!   Idle ────────────────────────────► Connecting ─────────────────────► Connected
//!    ▲ │                                   ▲   │ refused, no answer        │  │
//!    │ │ Start  ┌────────────┐  answer or  │   ▼                           │  │
//!    │ └───────►│ Reclaiming │─────────────┘  Idle                         │  │
//!    │          └────────────┘  time-out                                   │  │
//!    │   closed by the gateway, heartbeat lost, transport lost             │  │
//!    ├─────────────────────────────────────────────────────────────────────┘  │
//!    │  answer or time-out                       Stop, acknowledgment missing  │
//!    └───────────────────────── Disconnecting ◄────────────────────────────────┘
//! ```
//! From `Idle` nothing but `Start` leads on: when to try again, and how long to wait before it, is the owner's to decide.
//!
//! # Sending
//! One request is under way at a time. Over UDP it is acknowledged within a second, or sent once more, or the connection
//! ends (`03_08_04` Tunnelling v01.07.01, §2.6). It is *sent* when the gateway confirms it from the bus: an
//! acknowledgment says only that the gateway has it. Over TCP there are no acknowledgments. What waits is ordered by
//! priority, bounded, and paced.
//!
//! # Receiving
//! Over UDP the counter of a request is the expected one, or one less: a repetition, which is acknowledged and dropped.
//! Anything else is dropped without acknowledgment (§2.6.1). Over TCP counters are not looked at.
//!
//! # Reading
//! A read is answered by a `GroupValueResponse` to its group from somebody else; a gateway that echoes what this client
//! sent does not answer it.
//!
//! # Slots
//! A gateway has few. A connection that was given after this client stopped waiting for it is closed at once, and
//! [`TunnelConfig::reclaim`] closes that of a predecessor that died.

mod config;
mod event;
pub(crate) mod queue;
mod sending;

pub use config::TunnelConfig;
pub use event::{Action, Counters, Endpoint, Input, Output, ReadOutcome, Reason, SendOutcome};
pub use sending::READS_MAX;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cemi::{LData, Message};
use crate::ip::{ConnectionInfo, ConnectionRequest, Feature, Frame, Hpai, Sequenced, Status};
use crate::{Apdu, Cemi, IndividualAddress, Moment, Priority};
use queue::Queue;
use sending::{Job, PendingRead, UnderWay};

/// A tunnel.
#[derive(Debug)]
pub struct Tunnel {
    config: TunnelConfig,
    state: State,
    queue: Queue<Job>,
    reads: Vec<PendingRead>,
    timers: BTreeMap<Timer, Moment>,
    actions: VecDeque<Action>,
    counters: Counters,
    next_send: Moment,
}

/// Where the machine is.
#[derive(Debug)]
enum State {
    Idle,
    Reclaiming { channel: u8 },
    Connecting { since: Moment, is_extended: bool },
    Connected(Connection),
    Disconnecting { channel: u8, reason: Reason },
}

/// What the machine waits for. Each has at most one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The answer for the predecessor's channel.
    Reclaim,
    /// The answer to the connect request.
    Connect,
    /// The answer to the disconnect request.
    Disconnect,
    /// When to ask whether the connection is there.
    Heartbeat,
    /// The answer to that.
    HeartbeatAnswer,
    /// The acknowledgment of the request under way.
    Ack,
    /// Its confirmation.
    Confirmation,
    /// When the next telegram may be sent.
    Pace,
    /// The next read that nobody answered.
    Read,
}

#[derive(Debug)]
struct Connection {
    channel: u8,
    address: IndividualAddress,
    send_sequence: u8,
    receive_sequence: u8,
    heartbeats_failed: u8,
    heartbeat_status: Option<Status>,
    heard: Moment,
    under_way: Option<UnderWay>,
}

impl Tunnel {
    /// A tunnel that is not open.
    pub fn new(config: TunnelConfig) -> Tunnel {
        Tunnel {
            queue: Queue::new(config.queue_max),
            config,
            state: State::Idle,
            reads: Vec::new(),
            timers: BTreeMap::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            next_send: Moment::ZERO,
        }
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Telegrams that wait, without the one under way.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether telegrams can be sent.
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether there is no connection, and none is being opened or closed.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether a telegram given now would be sent at once: nothing is under way, nothing waits, and the pace allows it. For
    /// an owner that decides at the last moment whether a telegram may be sent.
    pub fn is_free(&self, now: Moment) -> bool {
        match &self.state {
            State::Connected(connection) => {
                connection.under_way.is_none() && self.queue.len() == 0 && now >= self.next_send
            }
            State::Idle
            | State::Reclaiming { .. }
            | State::Connecting { .. }
            | State::Disconnecting { .. } => false,
        }
    }

    /// From now on a predecessor's channel is closed first, or none.
    pub const fn set_reclaim(&mut self, channel: Option<u8>) {
        self.config.reclaim = channel;
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        self.check();
        match input {
            Input::Start => self.on_start(now),
            Input::Stop => self.on_stop(now),
            Input::Frame(bytes) => self.on_frame(&bytes, now),
            Input::Send { id, telegram } => self.on_send(Job { id, telegram, read: None }),
            Input::Read { id, group } => {
                let telegram = LData::group_request(group, Priority::Low, Apdu::GroupValueRead);
                self.on_send(Job { id, telegram, read: Some(group) });
            }
            Input::TransportLost => self.on_transport_lost(),
            Input::Wakeup => self.on_wakeup(now),
        }
        self.send_next(now);
        self.check();
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        match self.actions.pop_front() {
            Some(action) => Output::Action(action),
            None => Output::Timeout(self.timers.values().min().copied().unwrap_or(Moment::NEVER)),
        }
    }

    fn on_start(&mut self, now: Moment) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        match self.config.reclaim {
            Some(channel) => {
                self.control(&Frame::DisconnectRequest { channel, control: self.config.control });
                self.timers.insert(Timer::Reclaim, now + self.config.reclaim_timeout);
                self.state = State::Reclaiming { channel };
            }
            None => self.connect(self.config.address.is_some(), now),
        }
    }

    fn connect(&mut self, is_extended: bool, now: Moment) {
        let address = self.config.address.filter(|_| is_extended);
        self.control(&Frame::ConnectRequest {
            control: self.config.control,
            data: self.config.data,
            request: ConnectionRequest::Tunnel { layer: self.config.layer, address },
        });
        self.timers.insert(Timer::Connect, now + self.config.connect_timeout);
        self.state = State::Connecting { since: now, is_extended };
    }

    fn on_stop(&mut self, now: Moment) {
        match &self.state {
            State::Idle | State::Disconnecting { .. } => {}
            State::Reclaiming { .. } | State::Connecting { .. } => self.become_idle(Reason::Stopped),
            State::Connected(_) => self.disconnect(Reason::Stopped, now),
        }
    }

    fn on_transport_lost(&mut self) {
        match self.state {
            State::Idle => {}
            State::Disconnecting { reason, .. } => self.become_idle(reason),
            State::Reclaiming { .. } | State::Connecting { .. } | State::Connected(_) => {
                self.become_idle(Reason::TransportLost);
            }
        }
    }

    fn on_frame(&mut self, bytes: &[u8], now: Moment) {
        match Frame::decode(bytes) {
            Err(_) => self.counters.malformed += 1,
            Ok(Frame::ConnectResponse { channel, result }) => self.on_connect_response(channel, &result, now),
            Ok(Frame::ConnectionStateResponse { channel, status }) => {
                self.on_connection_state(channel, status, now);
            }
            Ok(Frame::DisconnectRequest { channel, .. }) => self.on_disconnect_request(channel),
            Ok(Frame::DisconnectResponse { channel, status }) => {
                self.on_disconnect_response(channel, status, now);
            }
            Ok(Frame::TunnellingAck { header, status }) => self.on_ack(header, status, now),
            Ok(Frame::TunnellingRequest { header, cemi }) => {
                if self.takes(header, now) {
                    self.on_cemi(&cemi, now);
                }
            }
            Ok(Frame::FeatureInfo(header, feature) | Frame::FeatureResponse(header, feature)) => {
                if self.takes(header, now) {
                    self.on_feature(feature);
                }
            }
            Ok(_) => self.counters.ignored += 1,
        }
    }

    fn on_connect_response(
        &mut self,
        channel: u8,
        result: &Result<(Hpai, ConnectionInfo), Status>,
        now: Moment,
    ) {
        let State::Connecting { is_extended, .. } = self.state else {
            // A connection that nobody waits for would hold a slot until the gateway misses its heartbeat.
            if result.is_ok() && self.channel() != Some(channel) {
                self.control(&Frame::DisconnectRequest { channel, control: self.config.control });
            }
            self.counters.unexpected += 1;
            return;
        };
        self.timers.remove(&Timer::Connect);
        match *result {
            Ok((data, ConnectionInfo::Tunnel { address })) => {
                self.timers.insert(Timer::Heartbeat, now + self.config.heartbeat_interval);
                self.next_send = now;
                self.state = State::Connected(Connection {
                    channel,
                    address,
                    send_sequence: 0,
                    receive_sequence: 0,
                    heartbeats_failed: 0,
                    heartbeat_status: None,
                    heard: now,
                    under_way: None,
                });
                self.actions.push_back(Action::Connected { channel, address, data });
            }
            Ok((_, ConnectionInfo::DeviceManagement | ConnectionInfo::Other { .. })) => {
                self.control(&Frame::DisconnectRequest { channel, control: self.config.control });
                self.become_idle(Reason::NoTunnel { channel });
            }
            // Gateways without tunnelling of version 2 answer an extended CRI with either code.
            Err(Status::CONNECTION_TYPE | Status::CONNECTION_OPTION)
                if is_extended && !self.config.is_address_required =>
            {
                self.connect(false, now);
            }
            Err(status) => self.become_idle(Reason::Refused { status }),
        }
    }

    fn on_connection_state(&mut self, channel: u8, status: Status, now: Moment) {
        let Some(connection) = self.connection(channel) else { return };
        if status == Status::CONNECTION_ID {
            // Asking again cannot help: the gateway has no such connection.
            self.become_idle(Reason::ChannelUnknown { channel });
            return;
        }
        connection.heard = now;
        if self.timers.remove(&Timer::HeartbeatAnswer).is_none() {
            self.counters.unexpected += 1;
            return;
        }
        if status.is_ok() {
            let interval = self.config.heartbeat_interval;
            if let State::Connected(connection) = &mut self.state {
                connection.heartbeats_failed = 0;
                connection.heartbeat_status = None;
            }
            self.timers.insert(Timer::Heartbeat, now + interval);
        } else {
            self.heartbeat_failed(Some(status), now);
        }
    }

    fn heartbeat_failed(&mut self, status: Option<Status>, now: Moment) {
        let State::Connected(connection) = &mut self.state else { return };
        connection.heartbeats_failed += 1;
        connection.heartbeat_status = status.or(connection.heartbeat_status);
        let (channel, failed) = (connection.channel, connection.heartbeats_failed);
        if failed >= self.config.heartbeat_failures_max {
            let reason = Reason::HeartbeatLost {
                failed,
                silent_ms: millis(now.since(connection.heard)),
                status: connection.heartbeat_status,
            };
            // In case that only the way back is broken, the slot is freed. Nobody waits for the answer.
            self.control(&Frame::DisconnectRequest { channel, control: self.config.control });
            self.become_idle(reason);
        } else if status.is_some() {
            // An answer that comes at once is not to be asked for again at once.
            self.timers.insert(Timer::Heartbeat, now + self.config.heartbeat_timeout);
        } else {
            self.heartbeat(now);
        }
    }

    fn heartbeat(&mut self, now: Moment) {
        if let Some(channel) = self.channel() {
            self.control(&Frame::ConnectionStateRequest { channel, control: self.config.control });
            self.timers.insert(Timer::HeartbeatAnswer, now + self.config.heartbeat_timeout);
        }
    }

    fn on_disconnect_request(&mut self, channel: u8) {
        if self.channel() != Some(channel) {
            self.counters.other_channels += 1;
            return;
        }
        self.control(&Frame::DisconnectResponse { channel, status: Status::NO_ERROR });
        let reason = match self.state {
            State::Disconnecting { reason, .. } => reason,
            State::Idle | State::Reclaiming { .. } | State::Connecting { .. } | State::Connected(_) => {
                Reason::ClosedByGateway { channel }
            }
        };
        self.become_idle(reason);
    }

    fn on_disconnect_response(&mut self, channel: u8, status: Status, now: Moment) {
        match self.state {
            State::Reclaiming { channel: own } if own == channel => {
                self.reclaimed(Some(status), now);
            }
            State::Disconnecting { channel: own, reason } if own == channel => self.become_idle(reason),
            State::Idle
            | State::Reclaiming { .. }
            | State::Connecting { .. }
            | State::Connected(_)
            | State::Disconnecting { .. } => self.counters.unexpected += 1,
        }
    }

    fn reclaimed(&mut self, status: Option<Status>, now: Moment) {
        let State::Reclaiming { channel } = self.state else { return };
        self.timers.remove(&Timer::Reclaim);
        // Only once: by the next start the channel may be somebody else's.
        self.config.reclaim = None;
        self.actions.push_back(Action::Reclaimed { channel, status });
        self.connect(self.config.address.is_some(), now);
    }

    /// Acknowledges a request of the gateway, and says whether it is to be looked at.
    fn takes(&mut self, header: Sequenced, now: Moment) -> bool {
        let is_tcp = self.config.is_tcp();
        let Some(connection) = self.connection(header.channel) else { return false };
        connection.heard = now;
        if is_tcp {
            return true;
        }
        let expected = connection.receive_sequence;
        let is_new = header.sequence == expected;
        if !is_new && header.sequence != expected.wrapping_sub(1) {
            self.counters.out_of_order += 1;
            return false;
        }
        if is_new {
            connection.receive_sequence = expected.wrapping_add(1);
        } else {
            self.counters.duplicates += 1;
        }
        self.transmit(Endpoint::Data, &Frame::TunnellingAck { header, status: Status::NO_ERROR });
        is_new
    }

    fn on_cemi(&mut self, bytes: &[u8], now: Moment) {
        match Cemi::decode(bytes) {
            Ok(Cemi::Data(telegram)) => match telegram.message {
                Message::Indication => self.on_indication(telegram),
                Message::Confirmation => self.on_confirmation(&telegram, now),
                Message::Request => self.counters.ignored += 1,
            },
            Ok(Cemi::Busmon { additional, frame }) => {
                self.counters.received += 1;
                self.actions.push_back(Action::Monitored { additional, frame });
            }
            Ok(Cemi::Raw { .. } | Cemi::Other { .. }) => self.counters.ignored += 1,
            Err(_) => self.counters.malformed += 1,
        }
    }

    fn on_indication(&mut self, telegram: LData) {
        self.counters.received += 1;
        let own = match &self.state {
            State::Connected(connection) => connection.address,
            State::Idle
            | State::Reclaiming { .. }
            | State::Connecting { .. }
            | State::Disconnecting { .. } => {
                return;
            }
        };
        if let Some((group, Apdu::GroupValueResponse(payload))) = telegram.group_apdu()
            && telegram.source != own
        {
            let answered = self.reads.extract_if(.., |read| read.group == group);
            let source = telegram.source;
            self.actions.extend(answered.map(|read| Action::ReadDone {
                id: read.id,
                outcome: ReadOutcome::Answered { source, payload: payload.clone() },
            }));
            self.time_reads();
        }
        self.actions.push_back(Action::Received(telegram));
    }

    fn on_feature(&mut self, feature: Feature) {
        self.actions.push_back(Action::Feature(feature));
    }

    fn on_wakeup(&mut self, now: Moment) {
        let due: Vec<Timer> =
            self.timers.iter().filter(|(_, moment)| **moment <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            // One that is due may have ended another, with the connection.
            if self.timers.get(&timer).is_none_or(|moment| *moment > now) {
                continue;
            }
            self.timers.remove(&timer);
            self.on_timer(timer, now);
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Moment) {
        match timer {
            Timer::Reclaim => self.reclaimed(None, now),
            Timer::Connect => {
                if let State::Connecting { since, .. } = self.state {
                    self.become_idle(Reason::NoAnswer { waited_ms: millis(now.since(since)) });
                }
            }
            Timer::Disconnect => {
                if let State::Disconnecting { reason, .. } = self.state {
                    self.become_idle(reason);
                }
            }
            Timer::Heartbeat => self.heartbeat(now),
            Timer::HeartbeatAnswer => self.heartbeat_failed(None, now),
            Timer::Ack => self.on_ack_missing(now),
            Timer::Confirmation => self.on_confirmation_missing(now),
            // What waits is sent behind every input.
            Timer::Pace => {}
            Timer::Read => self.end_reads(now),
        }
    }

    /// Asks the gateway to end the connection, and waits for its answer so that the slot is known to be free.
    fn disconnect(&mut self, reason: Reason, now: Moment) {
        let Some(channel) = self.channel() else { return };
        self.end_jobs();
        self.timers.clear();
        self.control(&Frame::DisconnectRequest { channel, control: self.config.control });
        self.timers.insert(Timer::Disconnect, now + self.config.disconnect_timeout);
        self.state = State::Disconnecting { channel, reason };
    }

    fn become_idle(&mut self, reason: Reason) {
        self.end_jobs();
        self.timers.clear();
        self.state = State::Idle;
        self.actions.push_back(Action::Disconnected { reason });
    }

    fn control(&mut self, frame: &Frame) {
        self.transmit(Endpoint::Control, frame);
    }

    fn transmit(&mut self, to: Endpoint, frame: &Frame) {
        let frame = frame.encode().expect("control frames have parts of fixed lengths");
        self.actions.push_back(Action::Transmit { to, frame });
    }

    /// The open connection, if it is this channel's; else the frame is counted.
    fn connection(&mut self, channel: u8) -> Option<&mut Connection> {
        match &mut self.state {
            State::Connected(connection) if connection.channel == channel => Some(connection),
            State::Connected(_)
            | State::Idle
            | State::Reclaiming { .. }
            | State::Connecting { .. }
            | State::Disconnecting { .. } => {
                self.counters.other_channels += 1;
                None
            }
        }
    }

    const fn channel(&self) -> Option<u8> {
        match &self.state {
            State::Connected(connection) => Some(connection.channel),
            State::Disconnecting { channel, .. } => Some(*channel),
            State::Idle | State::Reclaiming { .. } | State::Connecting { .. } => None,
        }
    }

    /// What holds before and after each input.
    fn check(&self) {
        assert!(self.queue.len() <= self.config.queue_max, "the queue is bounded");
        assert!(self.reads.len() <= READS_MAX, "reads are bounded");
        if !self.is_connected() {
            assert!(self.queue.len() == 0 && self.reads.is_empty(), "nothing waits without a connection");
        }
        let is_idle = matches!(self.state, State::Idle);
        assert!(is_idle == self.timers.is_empty(), "only an idle machine waits for nothing");
    }
}

/// Between two telegrams.
pub(crate) fn pause(telegrams_per_second: u32) -> Duration {
    if telegrams_per_second == 0 { Duration::ZERO } else { Duration::from_secs(1) / telegrams_per_second }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
