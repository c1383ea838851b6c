//! Requests that we make: clause 5.4.4.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::peer::{Peer, PeerLimits};
use super::segments::{Ack, Acked, SegmentReceiver, SegmentSender, Taken};
use super::{Action, Engine, Failure, Reply, RequestId, Settings, Timer};
use crate::apdu::{Apdu, SEGMENTED_REQUEST_HEADER_BYTES, Segment};
use crate::moment::Moment;
use crate::names::{AbortReason, ConfirmedService};

/// Bytes of the header of a confirmed request in one piece.
const REQUEST_HEADER_BYTES: usize = 4;

/// What is known of a peer, and what it is asked.
#[derive(Debug)]
pub(super) struct PeerState {
    limits: Option<PeerLimits>,
    /// How many requests are open here, if not as many as elsewhere.
    parallel: Option<usize>,
    open: BTreeMap<u8, Open>,
    waiting: VecDeque<Waiting>,
    invoke_id_next: u8,
    /// Invoke ids of requests whose answers may still come, and until when.
    resting: BTreeMap<u8, Moment>,
}

#[derive(Debug)]
struct Waiting {
    id: RequestId,
    service: u8,
    payload: Vec<u8>,
}

/// An open request.
#[derive(Debug)]
struct Open {
    id: RequestId,
    service: u8,
    payload: Vec<u8>,
    attempts: u8,
    began: Moment,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its segments are being sent.
    SegmentedRequest(SegmentSender),
    /// It was sent.
    AwaitConfirmation,
    /// Its answer comes in segments.
    SegmentedConfirmation(SegmentReceiver),
}

impl PeerState {
    fn new(invoke_id_next: u8) -> PeerState {
        PeerState {
            limits: None,
            parallel: None,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            invoke_id_next,
            resting: BTreeMap::new(),
        }
    }

    /// The open requests.
    pub(super) fn open(&self) -> Vec<(u8, RequestId)> {
        self.open.iter().map(|(invoke_id, open)| (*invoke_id, open.id)).collect()
    }

    /// The waiting requests.
    pub(super) fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.waiting.iter().map(|waiting| waiting.id)
    }

    /// What is left when all requests are gone.
    pub(super) fn limits_only(self) -> Option<PeerState> {
        let (limits, parallel) = (Some(self.limits?), self.parallel);
        Some(PeerState { limits, parallel, ..PeerState::new(self.invoke_id_next) })
    }

    /// An invoke id that neither is open nor rests; they go round, so that each rests as long as it can.
    fn take_invoke_id(&mut self, now: Moment) -> Option<u8> {
        self.resting.retain(|_, until| *until > now);
        let is_free = |id: &u8| !self.open.contains_key(id) && !self.resting.contains_key(id);
        let id = (0..=255).map(|step| self.invoke_id_next.wrapping_add(step)).find(is_free)?;
        self.invoke_id_next = id.wrapping_add(1);
        Some(id)
    }
}

impl Engine {
    pub(super) fn on_learned(&mut self, peer: Peer, limits: PeerLimits) {
        if let Some(state) = self.peer_state(peer) {
            state.limits = Some(limits);
        }
    }

    pub(super) fn on_parallel(&mut self, peer: Peer, count: usize) {
        if let Some(state) = self.peer_state(peer) {
            state.parallel = Some(count.clamp(1, Settings::PARALLEL_MAX));
        }
    }

    pub(super) fn on_request(
        &mut self,
        id: RequestId,
        peer: Peer,
        service: ConfirmedService,
        payload: Vec<u8>,
        now: Moment,
    ) {
        let (max, peers_max) = (self.settings.queue_per_peer_max, self.settings.peers_max);
        let Some(state) = self.peer_state(peer) else {
            self.done(id, Err(Failure::TooManyPeers { max: peers_max }));
            return;
        };
        if state.waiting.len() >= max {
            self.counters.refused_requests += 1;
            self.done(id, Err(Failure::QueueFull { max }));
            return;
        }
        let service = u8::try_from(service.number()).unwrap_or(u8::MAX);
        state.waiting.push_back(Waiting { id, service, payload });
        self.start_waiting(peer, now);
    }

    /// Begins waiting requests as far as there is room.
    pub(super) fn start_waiting(&mut self, peer: Peer, now: Moment) {
        let parallel = self.settings.parallel_per_peer;
        while let Some(state) = self.peers.get_mut(&peer) {
            if state.open.len() >= state.parallel.unwrap_or(parallel) || state.waiting.is_empty() {
                break;
            }
            let Some(invoke_id) = state.take_invoke_id(now) else {
                let soonest = state.resting.values().min().copied().unwrap_or(now);
                self.timers.set(Timer::InvokeIds(peer), soonest);
                break;
            };
            let limits = state.limits.unwrap_or(PeerLimits::UNKNOWN);
            let Some(Waiting { id, service, payload }) = state.waiting.pop_front() else { break };
            let max = request_bytes_max(&self.settings, limits);
            if payload.len() > max {
                self.done(id, Err(Failure::TooLong { length: payload.len(), max }));
                continue;
            }
            let open =
                Open { id, service, payload, attempts: 1, began: now, state: State::AwaitConfirmation };
            state.open.insert(invoke_id, open);
            self.send_request(peer, invoke_id, now);
        }
        self.forget_if_idle(peer);
    }

    /// SimpleACK, or a ComplexACK in one piece.
    pub(super) fn on_whole_answer(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: u8,
        reply: Reply,
        now: Moment,
    ) {
        if self.takes_answer(peer, invoke_id, service) {
            self.finish(peer, invoke_id, Ok(reply), now);
        } else {
            self.counters.unexpected += 1;
        }
    }

    /// A ComplexACK in segments.
    pub(super) fn on_answer_segment(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: u8,
        segment: Segment,
        payload: &[u8],
        now: Moment,
    ) {
        let (window, segments_max) = (self.settings.window, self.settings.segments_max);
        let takes_first = segment.sequence == 0 && self.takes_answer(peer, invoke_id, service);
        let Some(open) = self.open_mut(peer, invoke_id).filter(|open| open.service == service) else {
            // Its sender would repeat it until it gives up.
            self.counters.unexpected += 1;
            self.abort(peer, invoke_id, AbortReason::INVALID_APDU_IN_THIS_STATE);
            return;
        };
        let taken = match &mut open.state {
            State::SegmentedConfirmation(receiver) => receiver.on_segment(segment, payload),
            State::SegmentedRequest(_) | State::AwaitConfirmation if takes_first => {
                let (receiver, ack) = SegmentReceiver::new(payload, segment.window, window, segments_max);
                open.state = State::SegmentedConfirmation(receiver);
                if segment.is_followed { Taken::Acked(ack) } else { Taken::Complete(ack) }
            }
            State::SegmentedRequest(_) | State::AwaitConfirmation => {
                self.counters.unexpected += 1;
                return;
            }
        };
        match taken {
            Taken::Silently => self.wait_for_segment(peer, invoke_id, now),
            Taken::Acked(ack) => {
                self.wait_for_segment(peer, invoke_id, now);
                self.acknowledge(peer, invoke_id, ack);
            }
            Taken::Again(ack) => {
                self.counters.duplicates += 1;
                if let Some(ack) = ack {
                    self.acknowledge(peer, invoke_id, ack);
                }
            }
            Taken::Complete(ack) => {
                self.acknowledge(peer, invoke_id, ack);
                self.finish_joined(peer, invoke_id, now);
            }
            Taken::TooMany => self.give_up(peer, invoke_id, AbortReason::BUFFER_OVERFLOW, now),
        }
    }

    /// A SegmentACK of the server.
    pub(super) fn on_request_segment_ack(&mut self, peer: Peer, invoke_id: u8, ack: Ack, now: Moment) {
        let acked = match self.open_mut(peer, invoke_id).map(|open| &mut open.state) {
            Some(State::SegmentedRequest(sender)) => sender.on_ack(ack),
            Some(State::AwaitConfirmation | State::SegmentedConfirmation(_)) | None => Acked::Ignored,
        };
        match acked {
            Acked::Ignored => self.counters.unexpected += 1,
            Acked::Send(range) => {
                self.send_request_segments(peer, invoke_id, range);
                self.timers.set(Timer::Client(peer, invoke_id), now + self.settings.segment_timeout);
            }
            Acked::Complete => {
                if let Some(open) = self.open_mut(peer, invoke_id) {
                    open.state = State::AwaitConfirmation;
                }
                self.timers.set(Timer::Client(peer, invoke_id), now + self.settings.apdu_timeout);
            }
        }
    }

    /// An error, a reject, or an abort of the server.
    pub(super) fn on_refusal(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: Option<u8>,
        failure: Failure,
        now: Moment,
    ) {
        let is_ours = self
            .open_mut(peer, invoke_id)
            .is_some_and(|open| service.is_none_or(|service| service == open.service));
        if is_ours {
            self.finish(peer, invoke_id, Err(failure), now);
        } else {
            self.counters.unexpected += 1;
        }
    }

    /// What an open request waited for did not come.
    pub(super) fn on_client_timeout(&mut self, peer: Peer, invoke_id: u8, now: Moment) {
        let retries = self.settings.retries;
        let Some(open) = self.open_mut(peer, invoke_id) else { return };
        let waited = now.since(open.began);
        match &mut open.state {
            State::AwaitConfirmation if open.attempts <= retries => {
                open.attempts += 1;
                self.counters.retries += 1;
                self.send_request(peer, invoke_id, now);
            }
            State::AwaitConfirmation => {
                let failure = Failure::Silent { attempts: open.attempts, waited };
                self.finish(peer, invoke_id, Err(failure), now);
            }
            State::SegmentedRequest(sender) => {
                if let Some(range) = sender.on_timeout(retries) {
                    self.counters.windows_again += 1;
                    self.send_request_segments(peer, invoke_id, range);
                    self.timers.set(Timer::Client(peer, invoke_id), now + self.settings.segment_timeout);
                } else {
                    let failure = Failure::Silent { attempts: open.attempts, waited };
                    self.finish(peer, invoke_id, Err(failure), now);
                }
            }
            State::SegmentedConfirmation(_) => {
                self.give_up(peer, invoke_id, AbortReason::TSM_TIMEOUT, now);
            }
        }
    }

    /// Sends a request from its beginning.
    fn send_request(&mut self, peer: Peer, invoke_id: u8, now: Moment) {
        let limits = self.peers.get(&peer).and_then(|state| state.limits).unwrap_or(PeerLimits::UNKNOWN);
        let apdu_bytes = apdu_bytes_max(&self.settings, limits);
        let window = self.settings.window;
        let (max_segments, max_apdu) = (self.segments_accepted(), self.settings.max_apdu);
        let Some(open) = self.open_mut(peer, invoke_id) else { return };
        let timeout = if open.payload.len() + REQUEST_HEADER_BYTES <= apdu_bytes {
            open.state = State::AwaitConfirmation;
            let apdu = Apdu::ConfirmedRequest {
                segment: None,
                takes_segments: true,
                max_segments,
                max_apdu,
                invoke_id,
                service: open.service,
                payload: &open.payload,
            }
            .encode();
            self.actions.push_back(Action::Transmit { peer, apdu, expects_reply: true });
            self.settings.apdu_timeout
        } else {
            let segment_bytes = apdu_bytes - SEGMENTED_REQUEST_HEADER_BYTES;
            let sender = SegmentSender::new(open.payload.clone(), segment_bytes, window);
            let range = sender.outstanding();
            open.state = State::SegmentedRequest(sender);
            self.send_request_segments(peer, invoke_id, range);
            self.settings.segment_timeout
        };
        self.timers.set(Timer::Client(peer, invoke_id), now + timeout);
    }

    fn send_request_segments(&mut self, peer: Peer, invoke_id: u8, range: Range<usize>) {
        let (max_segments, max_apdu) = (self.segments_accepted(), self.settings.max_apdu);
        let Some(open) = self.peers.get(&peer).and_then(|state| state.open.get(&invoke_id)) else { return };
        let State::SegmentedRequest(sender) = &open.state else { return };
        for place in range {
            let (segment, payload) = sender.segment(place);
            let apdu = Apdu::ConfirmedRequest {
                segment: Some(segment),
                takes_segments: true,
                max_segments,
                max_apdu,
                invoke_id,
                service: open.service,
                payload,
            };
            self.actions.push_back(Action::Transmit { peer, apdu: apdu.encode(), expects_reply: true });
        }
    }

    /// Whether an open request can be answered in its state: all of it was sent, and no answer has begun.
    fn takes_answer(&mut self, peer: Peer, invoke_id: u8, service: u8) -> bool {
        self.open_mut(peer, invoke_id).is_some_and(|open| {
            open.service == service
                && match &open.state {
                    State::AwaitConfirmation => true,
                    State::SegmentedRequest(sender) => sender.is_sent(),
                    State::SegmentedConfirmation(_) => false,
                }
        })
    }

    fn wait_for_segment(&mut self, peer: Peer, invoke_id: u8, now: Moment) {
        self.timers.set(Timer::Client(peer, invoke_id), now + self.settings.segment_timeout * 4);
    }

    fn acknowledge(&mut self, peer: Peer, invoke_id: u8, ack: Ack) {
        let Ack { is_negative, sequence, window } = ack;
        self.transmit(
            peer,
            &Apdu::SegmentAck { is_negative, from_server: false, invoke_id, sequence, window },
        );
    }

    fn abort(&mut self, peer: Peer, invoke_id: u8, reason: AbortReason) {
        self.transmit(peer, &Apdu::Abort { from_server: false, invoke_id, reason });
    }

    fn give_up(&mut self, peer: Peer, invoke_id: u8, reason: AbortReason, now: Moment) {
        self.abort(peer, invoke_id, reason);
        self.finish(peer, invoke_id, Err(Failure::GivenUp(reason)), now);
    }

    fn finish_joined(&mut self, peer: Peer, invoke_id: u8, now: Moment) {
        let Some(open) = self.open_mut(peer, invoke_id) else { return };
        let state = std::mem::replace(&mut open.state, State::AwaitConfirmation);
        if let State::SegmentedConfirmation(receiver) = state {
            self.finish(peer, invoke_id, Ok(Reply::Complex(receiver.into_bytes())), now);
        }
    }

    fn finish(&mut self, peer: Peer, invoke_id: u8, result: Result<Reply, Failure>, now: Moment) {
        let rest = now + self.settings.apdu_timeout * (u32::from(self.settings.retries) + 1);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(open) = state.open.remove(&invoke_id) else { return };
        // A request that was sent twice may be answered twice, and the second answer must not meet another one.
        let is_settled =
            open.attempts == 1 && !matches!(result, Err(Failure::Silent { .. } | Failure::GivenUp(_)));
        if !is_settled {
            state.resting.insert(invoke_id, rest);
        }
        self.timers.stop(Timer::Client(peer, invoke_id));
        self.done(open.id, result);
        self.start_waiting(peer, now);
    }

    fn open_mut(&mut self, peer: Peer, invoke_id: u8) -> Option<&mut Open> {
        self.peers.get_mut(&peer)?.open.get_mut(&invoke_id)
    }

    /// What is known of a peer, unless there are too many.
    fn peer_state(&mut self, peer: Peer) -> Option<&mut PeerState> {
        if !self.peers.contains_key(&peer) {
            if self.peers.len() >= self.settings.peers_max {
                self.counters.refused_requests += 1;
                return None;
            }
            // A step of the sequence of Weyl spreads the peers over the invoke ids.
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.peers.insert(peer, PeerState::new(self.seed.to_be_bytes()[0]));
        }
        self.peers.get_mut(&peer)
    }

    /// A peer of which nothing is known and that is asked nothing takes no place.
    fn forget_if_idle(&mut self, peer: Peer) {
        let is_idle = |state: &PeerState| {
            state.limits.is_none()
                && state.open.is_empty()
                && state.waiting.is_empty()
                && state.resting.is_empty()
        };
        // Its next invoke id would be forgotten with it, so that only a full table is worth it.
        if self.peers.len() >= self.settings.peers_max && self.peers.get(&peer).is_some_and(is_idle) {
            self.peers.remove(&peer);
        }
    }
}

/// How long a request may be, all segments together.
fn request_bytes_max(settings: &Settings, limits: PeerLimits) -> usize {
    let apdu_bytes = apdu_bytes_max(settings, limits);
    let whole = apdu_bytes - REQUEST_HEADER_BYTES;
    if !limits.takes_segments() {
        return whole;
    }
    let segments = limits.segments_max.unwrap_or(settings.segments_max).clamp(2, settings.segments_max);
    whole.max(segments * (apdu_bytes - SEGMENTED_REQUEST_HEADER_BYTES))
}

fn apdu_bytes_max(settings: &Settings, limits: PeerLimits) -> usize {
    limits.apdu_bytes().min(usize::from(settings.max_apdu))
}
