//! What goes into a tunnel, and what comes out.

use crate::cemi::{AdditionalInfo, LData};
use crate::ip::{Feature, Hpai, Status};
use crate::secure::session;
use crate::{Error, GroupAddress, IndividualAddress, Moment, Payload};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A connection is wanted. Over TCP the stream is open. Nothing happens if there is one, or one is being opened or
    /// closed.
    Start,
    /// The connection is no longer wanted.
    Stop,
    /// A whole frame came: a datagram of the gateway, or what was cut from the stream.
    Frame(Vec<u8>),
    /// A telegram is to be sent.
    Send {
        /// What the outcome is told with.
        id: u64,
        /// The telegram; its message is made a request.
        telegram: LData,
    },
    /// A group is to be read.
    Read {
        /// What the outcome is told with.
        id: u64,
        /// The group.
        group: GroupAddress,
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

/// Where a frame goes; over TCP it is all one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The control endpoint of the gateway.
    Control,
    /// Its data endpoint, which [`Action::Connected`] told.
    Data,
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
    /// The channel of a predecessor was closed, or not.
    Reclaimed {
        /// The channel.
        channel: u8,
        /// What the gateway answered, if it did in time.
        status: Option<Status>,
    },
    /// The tunnel is open.
    Connected {
        /// Its channel. A successor can close it with [`TunnelConfig::reclaim`](super::TunnelConfig::reclaim).
        channel: u8,
        /// The address of this client on the bus.
        address: IndividualAddress,
        /// Where data go; where control frames go if it is a route back ([`Hpai::is_route_back`]).
        data: Hpai,
    },
    /// There is no tunnel, or no longer one. What waited was told before.
    Disconnected {
        /// Why.
        reason: Reason,
    },
    /// A telegram was heard on the bus.
    Received(LData),
    /// The bus monitor saw a frame.
    Monitored {
        /// Status and time stamp.
        additional: Vec<AdditionalInfo>,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The gateway told a feature.
    Feature(Feature),
    /// What became of [`Input::Send`].
    Sent {
        /// As it was given.
        id: u64,
        /// What became of it.
        outcome: SendOutcome,
    },
    /// What became of [`Input::Read`].
    ReadDone {
        /// As it was given.
        id: u64,
        /// What became of it.
        outcome: ReadOutcome,
    },
}

/// What became of a telegram.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendOutcome {
    /// It is on the bus.
    #[error("sent after {after_ms} ms")]
    Confirmed {
        /// From the first request on.
        after_ms: u64,
    },
    /// The gateway says that it could not be sent, or nobody on the bus acknowledged it.
    #[error("refused by the bus after {after_ms} ms")]
    Negative {
        /// From the first request on.
        after_ms: u64,
    },
    /// The gateway took it and never said what became of it.
    #[error("not confirmed within {waited_ms} ms")]
    NotConfirmed {
        /// From the acknowledgment on.
        waited_ms: u64,
    },
    /// The connection ended while it was under way; it may have been sent.
    #[error("the connection ended while it was under way")]
    InDoubt,
    /// The connection ended while it waited; it was not sent.
    #[error("the connection ended before it was sent")]
    NotSent,
    /// There is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// Too many wait.
    #[error("{waiting} telegrams wait already, at most {max} may")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// How many may.
        max: usize,
    },
    /// A tunnel of this layer sends nothing.
    #[error("a tunnel of this layer does not send telegrams")]
    WrongLayer,
    /// The telegram cannot be written.
    #[error("the telegram cannot be written")]
    Unwritable(#[source] Error),
}

/// What became of a read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadOutcome {
    /// Somebody answered.
    Answered {
        /// Who.
        source: IndividualAddress,
        /// The value.
        payload: Payload,
    },
    /// Nobody did.
    NoAnswer {
        /// From the confirmation on.
        waited_ms: u64,
    },
    /// The question was not asked.
    NotAsked(SendOutcome),
}

/// Why there is no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// The gateway closed it.
    #[error("the gateway closed channel {channel}")]
    ClosedByGateway {
        /// The channel.
        channel: u8,
    },
    /// The gateway gives none.
    #[error("the gateway refuses a connection: {status}")]
    Refused {
        /// Its answer.
        status: Status,
    },
    /// The gateway gave something that is no tunnel.
    #[error("the gateway answered with a connection that is no tunnel, on channel {channel}")]
    NoTunnel {
        /// The channel.
        channel: u8,
    },
    /// The gateway does not answer.
    #[error("no answer to the connect request within {waited_ms} ms")]
    NoAnswer {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// A request was not acknowledged.
    #[error("request {sequence} was sent {sent} times and not acknowledged within {waited_ms} ms")]
    AckMissing {
        /// Its sequence counter.
        sequence: u8,
        /// How often it was sent.
        sent: u8,
        /// Since it was sent first.
        waited_ms: u64,
        /// What the gateway acknowledged with instead, if it did.
        status: Option<Status>,
    },
    /// Questions whether the connection is there failed.
    #[error("{failed} heartbeats failed, the gateway was last heard {silent_ms} ms ago")]
    HeartbeatLost {
        /// How many.
        failed: u8,
        /// Since the gateway was last heard.
        silent_ms: u64,
        /// What it answered last, if it did.
        status: Option<Status>,
    },
    /// The gateway does not know the connection: it was restarted, or has given up.
    #[error("the gateway knows no channel {channel}")]
    ChannelUnknown {
        /// The channel.
        channel: u8,
    },
    /// The stream ended, or the socket failed.
    #[error("the transport was lost")]
    TransportLost,
    /// There is no secure session that it could be in; see [`SecureTunnel`](crate::secure::SecureTunnel).
    #[error("no secure session: {0}")]
    Session(session::Reason),
}

/// What was counted since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Telegrams heard.
    pub received: u64,
    /// Telegrams confirmed.
    pub confirmed: u64,
    /// Telegrams refused, not confirmed or in doubt.
    pub failed: u64,
    /// Requests sent a second time.
    pub resent: u64,
    /// Telegrams refused since too many waited.
    pub overflowed: u64,
    /// Frames of the gateway that came twice.
    pub duplicates: u64,
    /// Frames of the gateway out of order.
    pub out_of_order: u64,
    /// Frames of other channels.
    pub other_channels: u64,
    /// Frames that could not be read.
    pub malformed: u64,
    /// Confirmations and acknowledgments that nothing waited for.
    pub unexpected: u64,
    /// Frames that mean nothing to a tunnel client.
    pub ignored: u64,
}
