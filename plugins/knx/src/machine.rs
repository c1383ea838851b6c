//! The two state machines of the protocol behind one face.

use std::time::Duration;

use tokio::time::Instant;
use twinhub_knx_protocol::ip::{Hpai, Status};
use twinhub_knx_protocol::routing::{self, Routing, RoutingConfig};
use twinhub_knx_protocol::tunnel::{self, Endpoint, Reason, Tunnel, TunnelConfig};
use twinhub_knx_protocol::{GroupAddress, IndividualAddress, LData, Moment, Payload};

use crate::config::{Settings, Transport};

/// One of them.
#[derive(Debug)]
pub(crate) enum Machine {
    Tunnel(Box<Tunnel>, Clock),
    Routing(Box<Routing>, Clock),
}

/// Moments of the machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

/// What a machine wants or tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame is to be sent.
    Transmit { is_data: bool, frame: Vec<u8> },
    /// A predecessor's channel was closed, or not.
    Reclaimed { channel: u8, status: Option<Status> },
    /// Telegrams can be sent.
    Connected { channel: Option<u8>, address: IndividualAddress, data: Option<Hpai> },
    /// They cannot, or no longer.
    Disconnected { reason: Reason },
    /// Somebody else's telegram.
    Received(LData),
    /// What became of a telegram.
    Sent { id: u64, outcome: Outcome },
    /// What became of a read.
    Read { id: u64, answer: Answer },
    /// A router asks for a pause.
    Paused { wait_ms: u64 },
    /// A router lost telegrams.
    Lost { telegrams: u16 },
}

/// What became of a telegram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The bus has it; with routing, the network.
    Done,
    /// The bus refused it.
    Refused(String),
    /// It left, and nobody says what became of it.
    Unknown(String),
    /// It did not leave.
    NotSent(String),
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Somebody answered.
    Answered { source: IndividualAddress, payload: Payload },
    /// Nobody did.
    Nobody { waited_ms: u64 },
    /// It was not asked.
    NotAsked(Outcome),
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    fn moment(self, at: Instant) -> Moment {
        Moment(u64::try_from(at.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX))
    }

    fn instant(self, moment: Moment) -> Option<Instant> {
        self.0.checked_add(Duration::from_nanos(moment.0)).filter(|_| moment != Moment::NEVER)
    }
}

impl Machine {
    /// A tunnel from this endpoint; the telegrams' pace is the caller's.
    pub(crate) fn tunnel(settings: &Settings, endpoint: Hpai, reclaim: Option<u8>) -> Self {
        let config = &settings.config;
        let base = match config.transport {
            Transport::Udp => TunnelConfig::udp(endpoint),
            Transport::Tcp => TunnelConfig::tcp(),
        };
        let config = TunnelConfig {
            address: settings.address,
            is_address_required: config.require_address,
            reclaim,
            connect_timeout: config.connect_timeout.0,
            heartbeat_interval: config.heartbeat.0,
            heartbeat_timeout: config.heartbeat_timeout.0,
            confirmation_timeout: config.confirmation_timeout.0,
            read_timeout: config.read_timeout.0,
            telegrams_per_second: 0,
            queue_max: QUEUE_MAX,
            ..base
        };
        Self::Tunnel(Box::new(Tunnel::new(config)), Clock::new())
    }

    /// Routing as this address.
    pub(crate) fn routing(settings: &Settings, address: IndividualAddress, seed: u64) -> Self {
        let config = RoutingConfig {
            telegrams_per_second: 0,
            queue_max: QUEUE_MAX,
            read_timeout: settings.config.read_timeout.0,
            ..RoutingConfig::new(address, seed)
        };
        Self::Routing(Box::new(Routing::new(config)), Clock::new())
    }

    pub(crate) fn start(&mut self) -> Option<Event> {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::Start, clock.moment(now));
                None
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Start, clock.moment(now));
                Some(Event::Connected { channel: None, address: routing.address(), data: None })
            }
        }
    }

    /// Ends it. A tunnel says when it is done.
    pub(crate) fn stop(&mut self) -> Option<Event> {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::Stop, clock.moment(now));
                None
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Stop, clock.moment(now));
                Some(Event::Disconnected { reason: Reason::Stopped })
            }
        }
    }

    pub(crate) fn frame(&mut self, bytes: Vec<u8>) {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::Frame(bytes), clock.moment(now));
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Frame(bytes), clock.moment(now));
            }
        }
    }

    pub(crate) fn send(&mut self, id: u64, telegram: LData) {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::Send { id, telegram }, clock.moment(now));
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Send { id, telegram }, clock.moment(now));
            }
        }
    }

    pub(crate) fn read(&mut self, id: u64, group: GroupAddress) {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::Read { id, group }, clock.moment(now));
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Read { id, group }, clock.moment(now));
            }
        }
    }

    pub(crate) fn lost(&mut self) -> Option<Event> {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => {
                tunnel.handle_input(tunnel::Input::TransportLost, clock.moment(now));
                None
            }
            Self::Routing(routing, clock) => {
                routing.handle_input(routing::Input::Stop, clock.moment(now));
                Some(Event::Disconnected { reason: Reason::TransportLost })
            }
        }
    }

    /// The moment of [`Machine::wakes_at`] has come.
    pub(crate) fn wake(&mut self) {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => tunnel.handle_input(tunnel::Input::Wakeup, clock.moment(now)),
            Self::Routing(routing, clock) => routing.handle_input(routing::Input::Wakeup, clock.moment(now)),
        }
    }

    /// Whether a telegram would leave at once.
    pub(crate) fn is_free(&self) -> bool {
        let now = Instant::now();
        match self {
            Self::Tunnel(tunnel, clock) => tunnel.is_free(clock.moment(now)),
            Self::Routing(routing, clock) => routing.is_free(clock.moment(now)),
        }
    }

    /// The next event, or until when there is none.
    pub(crate) fn poll(&mut self) -> Result<Event, Option<Instant>> {
        match self {
            Self::Tunnel(tunnel, clock) => loop {
                match tunnel.poll_output() {
                    tunnel::Output::Timeout(moment) => return Err(clock.instant(moment)),
                    tunnel::Output::Action(action) => {
                        if let Some(event) = of_tunnel(action) {
                            return Ok(event);
                        }
                    }
                }
            },
            Self::Routing(routing, clock) => match routing.poll_output() {
                routing::Output::Timeout(moment) => Err(clock.instant(moment)),
                routing::Output::Action(action) => Ok(of_routing(action)),
            },
        }
    }

    /// What the machine counted, by name.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Tunnel(tunnel, _) => {
                let counted = tunnel.counters();
                vec![
                    ("resent", counted.resent),
                    ("duplicates", counted.duplicates),
                    ("out_of_order", counted.out_of_order),
                    ("other_channels", counted.other_channels),
                    ("malformed", counted.malformed),
                    ("unexpected", counted.unexpected),
                    ("ignored", counted.ignored),
                ]
            }
            Self::Routing(routing, _) => {
                let counted = routing.counters();
                vec![
                    ("echoes", counted.echoes),
                    ("busy", counted.busy),
                    ("lost_by_routers", counted.lost),
                    ("malformed", counted.malformed),
                    ("ignored", counted.ignored),
                ]
            }
        }
    }
}

fn of_tunnel(action: tunnel::Action) -> Option<Event> {
    Some(match action {
        tunnel::Action::Transmit { to, frame } => Event::Transmit { is_data: to == Endpoint::Data, frame },
        tunnel::Action::Reclaimed { channel, status } => Event::Reclaimed { channel, status },
        tunnel::Action::Connected { channel, address, data } => {
            Event::Connected { channel: Some(channel), address, data: Some(data) }
        }
        tunnel::Action::Disconnected { reason } => Event::Disconnected { reason },
        tunnel::Action::Received(telegram) => Event::Received(telegram),
        tunnel::Action::Sent { id, outcome } => Event::Sent { id, outcome: outcome_of(&outcome) },
        tunnel::Action::ReadDone { id, outcome } => Event::Read {
            id,
            answer: match outcome {
                tunnel::ReadOutcome::Answered { source, payload } => Answer::Answered { source, payload },
                tunnel::ReadOutcome::NoAnswer { waited_ms } => Answer::Nobody { waited_ms },
                tunnel::ReadOutcome::NotAsked(outcome) => Answer::NotAsked(outcome_of(&outcome)),
            },
        },
        // A tunnel of the link layer is asked for, and no features are.
        tunnel::Action::Monitored { .. } | tunnel::Action::Feature(_) => return None,
    })
}

fn outcome_of(outcome: &tunnel::SendOutcome) -> Outcome {
    use tunnel::SendOutcome as From;
    match outcome {
        From::Confirmed { .. } => Outcome::Done,
        From::Negative { .. } => Outcome::Refused(outcome.to_string()),
        From::NotSent
        | From::NotConnected
        | From::QueueFull { .. }
        | From::WrongLayer
        | From::Unwritable(_) => Outcome::NotSent(outcome.to_string()),
        // Not confirmed or in doubt; so are outcomes of a later version, of which nobody says that nothing left.
        From::NotConfirmed { .. } | From::InDoubt | _ => Outcome::Unknown(outcome.to_string()),
    }
}

fn of_routing(action: routing::Action) -> Event {
    let outcome_of = |outcome: &routing::SendOutcome| match outcome {
        routing::SendOutcome::Transmitted => Outcome::Done,
        routing::SendOutcome::NotSent
        | routing::SendOutcome::NotOpen
        | routing::SendOutcome::QueueFull { .. }
        | routing::SendOutcome::Unwritable(_) => Outcome::NotSent(outcome.to_string()),
        _ => Outcome::Unknown(outcome.to_string()),
    };
    match action {
        routing::Action::Transmit { frame } => Event::Transmit { is_data: true, frame },
        routing::Action::Received(telegram) => Event::Received(telegram),
        routing::Action::Sent { id, outcome } => Event::Sent { id, outcome: outcome_of(&outcome) },
        routing::Action::ReadDone { id, outcome } => Event::Read {
            id,
            answer: match outcome {
                routing::ReadOutcome::Answered { source, payload } => Answer::Answered { source, payload },
                routing::ReadOutcome::NoAnswer { waited_ms } => Answer::Nobody { waited_ms },
                routing::ReadOutcome::NotAsked(outcome) => Answer::NotAsked(outcome_of(&outcome)),
            },
        },
        routing::Action::Paused { wait_ms, .. } => Event::Paused { wait_ms },
        routing::Action::Lost { telegrams, .. } => Event::Lost { telegrams },
    }
}

/// A telegram is given when it leaves at once; this is for what the machine cannot take then.
const QUEUE_MAX: usize = 4;
