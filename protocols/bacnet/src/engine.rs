//! Transactions: requests and their answers, in one piece or in segments, clauses 5.3 and 5.4.
//!
//! One [`Engine`] is client and server at once. It is given what was received and what is wanted
//! ([`Input`]), together with the time, and hands back what is to be sent and what came of it ([`Action`]).
//!
//! **Contract.** After each [`Engine::handle_input`] call [`Engine::poll_output`] until it answers
//! [`Output::Timeout`]; then wait for the next input, at most until that time, and give [`Input::Wake`].
//!
//! # Client, clause 5.4.4
//! ```text
//!            fits                                  answer, error, reject, abort
//!   queue ----------------------> await ----------------------------------------> done
//!     |                           ^   | ^ |                                        ^
//!     | too long for one APDU     |   | +-+ no answer: again, up to `retries`      |
//!     v                           |   |                                            |
//!   segmented request ------------+   | first segment of an answer                 |
//!     all segments acknowledged       v                                            |
//!     (an answer may come before)   segmented confirmation ------------------------+
//!                                      last segment, abort, silence of 4 x segment timeout
//! ```
//!
//! # Server, clause 5.4.5
//! ```text
//!   request in one piece ----------------> await response ---> answer in one piece ---> gone
//!   first segment                          ^   |  request again: ignored, or its segments acknowledged
//!     v                                    |   |
//!   segmented request -- last segment -----+   v
//!     | silence: gone                       segmented response --- last one acknowledged, abort,
//!     | too long: abort                       or `retries` windows without an acknowledgment ---> gone
//! ```
//!
//! # Segments, clauses 5.2 and 5.3
//! The first segment is sent alone and acknowledged at once, which also agrees on the window: the smaller of
//! what both sides propose. Many devices send nothing more before that acknowledgment. From then on the receiver
//! acknowledges once per window. A gap is told at once and once, by a negative acknowledgment of the last segment
//! in order. What was already acknowledged and comes again is acknowledged again, since the acknowledgment may be
//! what was lost.
//!
//! Two points go beyond the letter of the standard, which would lose a timeout each: a sender that is told of a
//! gap at the very beginning of its window sends the window again, once; and a server that already has a whole
//! request acknowledges each of its segments that comes again.
//!
//! # Bounds
//! Each peer has at most `parallel_per_peer` open requests and `queue_per_peer_max` waiting ones; what is more is
//! answered with [`Failure::QueueFull`]. Segmented messages have at most `segments_max` segments. At most
//! `served_max` requests of others are open at once; further ones are aborted. Only segments that bring something
//! new put off a timeout, so a peer that repeats itself for ever holds up nothing for ever.

mod client;
mod peer;
mod segments;
mod server;
mod settings;

pub use peer::{Peer, PeerLimits};
pub use settings::Settings;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::apdu::{Apdu, MaxSegments};
use crate::moment::Moment;
use crate::names::{AbortReason, ConfirmedService, RejectReason, UnconfirmedService};
use crate::services::ErrorDetail;
use crate::timers::Timers;
use client::PeerState;
use server::Served;

/// What a request is called by the one who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a request of someone else is called until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// What happens to the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// An APDU came.
    Received {
        /// From whom.
        peer: Peer,
        /// Its bytes.
        apdu: &'a [u8],
    },
    /// Something is to be asked.
    Request {
        /// What the request is called.
        id: RequestId,
        /// Who is asked.
        peer: Peer,
        /// Which service.
        service: ConfirmedService,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// What a peer can take became known, from its I-Am or its properties.
    Learned {
        /// The peer.
        peer: Peer,
        /// What it can take.
        limits: PeerLimits,
    },
    /// A peer is to have another number of open requests than [`Settings::parallel_per_peer`].
    Parallel {
        /// The peer.
        peer: Peer,
        /// How many, 1 to [`Settings::PARALLEL_MAX`].
        count: usize,
    },
    /// A request of someone else is answered.
    Answer {
        /// Which.
        token: Token,
        /// How.
        answer: Answer,
    },
    /// Everything ends: requests are aborted, requests of others are not answered.
    Stop,
    /// Time has passed.
    Wake,
}

/// How a request of someone else is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done, and there is nothing to say.
    Simple,
    /// It was done, and this is the answer.
    Complex(Vec<u8>),
    /// It could not be done.
    Error(ErrorDetail),
    /// It could not be understood.
    Reject(RejectReason),
    /// It is not done.
    Abort(AbortReason),
}

/// What the engine wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Something is to be done.
    Action(Action),
    /// Nothing before this time, unless there is another input.
    Timeout(Moment),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an APDU.
    Transmit {
        /// To whom.
        peer: Peer,
        /// Its bytes.
        apdu: Vec<u8>,
        /// Whether an answer is waited for, which the NPDU says.
        expects_reply: bool,
    },
    /// A request has come to its end.
    Done {
        /// Which.
        id: RequestId,
        /// How.
        result: Result<Reply, Failure>,
    },
    /// Someone asks something; answer with [`Input::Answer`].
    Asked {
        /// What the request is called.
        token: Token,
        /// Who asks.
        peer: Peer,
        /// Which service.
        service: ConfirmedService,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Someone tells something.
    Told {
        /// Who.
        peer: Peer,
        /// Which service.
        service: UnconfirmedService,
        /// Its bytes.
        payload: Vec<u8>,
    },
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Simple,
    /// It was done; these are the bytes of the service's answer.
    Complex(Vec<u8>),
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer says that it could not be done.
    #[error("{}", .0.error)]
    Error(ErrorDetail),
    /// The peer answers with an error that cannot be read.
    #[error("the peer answers with an unreadable error")]
    UnreadableError,
    /// The peer did not understand it.
    #[error("the peer rejects the request: {0}")]
    Rejected(RejectReason),
    /// The peer gave it up.
    #[error("the peer aborts the request: {0}")]
    Aborted(AbortReason),
    /// The answer could not be taken.
    #[error("the answer is given up: {0}")]
    GivenUp(AbortReason),
    /// The peer did not answer.
    #[error("no answer to {attempts} attempts in {} ms", waited.as_millis())]
    Silent {
        /// How often it was asked.
        attempts: u8,
        /// How long was waited, all attempts together.
        waited: Duration,
    },
    /// Too many requests wait for this peer.
    #[error("{max} requests wait for this peer")]
    QueueFull {
        /// How many may wait.
        max: usize,
    },
    /// The peer cannot take a request of this length.
    #[error("the request has {length} bytes, the peer takes {max}")]
    TooLong {
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// There are too many peers.
    #[error("{max} peers are known already")]
    TooManyPeers {
        /// How many there may be.
        max: usize,
    },
    /// The engine was stopped.
    #[error("the interface was stopped")]
    Stopped,
}

/// What was left out or done again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// APDUs that could not be read.
    pub malformed: u64,
    /// APDUs that belong to no transaction, or not to its state.
    pub unexpected: u64,
    /// Requests and segments that came again.
    pub duplicates: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Windows of segments that were sent again.
    pub windows_again: u64,
    /// Requests that were not taken because too many wait, or there are too many peers.
    pub refused_requests: u64,
    /// Requests of others that were aborted because too many are open.
    pub refused_served: u64,
    /// Answers to requests that were gone.
    pub late_answers: u64,
}

/// What is waited for. A transaction waits for one thing at a time, which its state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An open request: its answer, the acknowledgment of its segments, or the next segment of its answer.
    Client(Peer, u8),
    /// A request of someone else: its next segment, what we answer, or the acknowledgment of our segments.
    Server(Peer, u8),
    /// An invoke id that may be used again, while requests wait for one.
    InvokeIds(Peer),
}

/// Client and server of confirmed services.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    seed: u64,
    peers: BTreeMap<Peer, PeerState>,
    served: BTreeMap<(Peer, u8), Served>,
    tokens: BTreeMap<Token, (Peer, u8)>,
    token_next: u64,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
    counters: Counters,
}

impl Engine {
    /// With nothing to do. The seed spreads the first invoke ids, so that a restarted node does not begin with
    /// those that its peers have just answered.
    pub fn new(settings: Settings, seed: u64) -> Engine {
        Engine {
            settings: settings.bounded(),
            seed,
            peers: BTreeMap::new(),
            served: BTreeMap::new(),
            tokens: BTreeMap::new(),
            token_next: 0,
            timers: Timers::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What was left out or done again.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Its settings, within their bounds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes an input.
    pub fn handle_input(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Received { peer, apdu } => self.on_received(peer, apdu, now),
            Input::Request { id, peer, service, payload } => {
                self.on_request(id, peer, service, payload, now);
            }
            Input::Learned { peer, limits } => self.on_learned(peer, limits),
            Input::Parallel { peer, count } => self.on_parallel(peer, count),
            Input::Answer { token, answer } => self.on_answer(token, answer, now),
            Input::Stop => self.on_stop(),
            Input::Wake => {}
        }
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Client(peer, invoke_id) => self.on_client_timeout(peer, invoke_id, now),
                Timer::Server(peer, invoke_id) => self.on_server_timeout(peer, invoke_id, now),
                Timer::InvokeIds(peer) => self.start_waiting(peer, now),
            }
        }
    }

    /// The next thing to do, or until when there is nothing.
    pub fn poll_output(&mut self) -> Output {
        match self.actions.pop_front() {
            Some(action) => Output::Action(action),
            None => Output::Timeout(self.timers.next()),
        }
    }

    fn on_received(&mut self, peer: Peer, bytes: &[u8], now: Moment) {
        let Ok(apdu) = Apdu::decode(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        match apdu {
            Apdu::ConfirmedRequest {
                segment,
                takes_segments,
                max_segments,
                max_apdu,
                invoke_id,
                service,
                payload,
            } => {
                let terms = server::Terms { takes_segments, max_segments, max_apdu };
                self.on_served_request(peer, invoke_id, service, terms, segment, payload, now);
            }
            Apdu::UnconfirmedRequest { service, payload } => {
                let service = UnconfirmedService::new(u32::from(service));
                self.actions.push_back(Action::Told { peer, service, payload: payload.to_vec() });
            }
            Apdu::SimpleAck { invoke_id, service } => {
                self.on_whole_answer(peer, invoke_id, service, Reply::Simple, now);
            }
            Apdu::ComplexAck { segment: None, invoke_id, service, payload } => {
                self.on_whole_answer(peer, invoke_id, service, Reply::Complex(payload.to_vec()), now);
            }
            Apdu::ComplexAck { segment: Some(segment), invoke_id, service, payload } => {
                self.on_answer_segment(peer, invoke_id, service, segment, payload, now);
            }
            Apdu::SegmentAck { is_negative, from_server, invoke_id, sequence, window } => {
                let ack = segments::Ack { is_negative, sequence, window };
                if from_server {
                    self.on_request_segment_ack(peer, invoke_id, ack, now);
                } else {
                    self.on_response_segment_ack(peer, invoke_id, ack, now);
                }
            }
            Apdu::Error { invoke_id, service, payload } => {
                let failure = match crate::tag::Message::decode(payload) {
                    Ok(detail) => Failure::Error(detail),
                    Err(_) => Failure::UnreadableError,
                };
                self.on_refusal(peer, invoke_id, Some(service), failure, now);
            }
            Apdu::Reject { invoke_id, reason } => {
                self.on_refusal(peer, invoke_id, None, Failure::Rejected(reason), now);
            }
            Apdu::Abort { from_server: true, invoke_id, reason } => {
                self.on_refusal(peer, invoke_id, None, Failure::Aborted(reason), now);
            }
            Apdu::Abort { from_server: false, invoke_id, .. } => self.on_client_abort(peer, invoke_id),
        }
    }

    fn on_stop(&mut self) {
        for (peer, state) in std::mem::take(&mut self.peers) {
            for (invoke_id, id) in state.open() {
                self.transmit(
                    peer,
                    &Apdu::Abort { from_server: false, invoke_id, reason: AbortReason::OTHER },
                );
                self.done(id, Err(Failure::Stopped));
            }
            for id in state.waiting() {
                self.done(id, Err(Failure::Stopped));
            }
            self.peers.extend(state.limits_only().map(|state| (peer, state)));
        }
        for (peer, invoke_id) in std::mem::take(&mut self.served).into_keys() {
            self.transmit(peer, &Apdu::Abort { from_server: true, invoke_id, reason: AbortReason::OTHER });
        }
        self.tokens.clear();
        self.timers = Timers::new();
    }

    fn transmit(&mut self, peer: Peer, apdu: &Apdu<'_>) {
        let expects_reply = apdu.expects_reply();
        self.actions.push_back(Action::Transmit { peer, apdu: apdu.encode(), expects_reply });
    }

    fn done(&mut self, id: RequestId, result: Result<Reply, Failure>) {
        self.actions.push_back(Action::Done { id, result });
    }

    fn segments_accepted(&self) -> MaxSegments {
        MaxSegments::at_most(self.settings.segments_max)
    }
}
