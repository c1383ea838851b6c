//! Requests of others: clause 5.4.5.

use std::ops::Range;

use super::peer::Peer;
use super::segments::{Ack, Acked, SegmentReceiver, SegmentSender, Taken};
use super::{Action, Answer, Engine, Timer, Token};
use crate::apdu::{APDU_BYTES_MIN, Apdu, MaxSegments, SEGMENTED_ACK_HEADER_BYTES, Segment};
use crate::moment::Moment;
use crate::names::{AbortReason, ConfirmedService};
use crate::tag::Message;

/// Bytes of the header of an answer in one piece.
const ACK_HEADER_BYTES: usize = 3;

/// How the one who asks takes an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether in segments.
    pub(super) takes_segments: bool,
    /// How many.
    pub(super) max_segments: MaxSegments,
    /// How long one may be.
    pub(super) max_apdu: u16,
}

/// An open request of someone else.
#[derive(Debug)]
pub(super) struct Served {
    service: u8,
    terms: Terms,
    token: Token,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It comes in segments.
    SegmentedRequest(SegmentReceiver),
    /// It is being carried out.
    AwaitResponse,
    /// Its answer is being sent in segments.
    SegmentedResponse(SegmentSender),
}

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "the fields of a confirmed request, and who sent it when")]
    pub(super) fn on_served_request(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: u8,
        terms: Terms,
        segment: Option<Segment>,
        payload: &[u8],
        now: Moment,
    ) {
        let key = (peer, invoke_id);
        match (self.served.get_mut(&key).map(|served| &mut served.state), segment) {
            (Some(State::SegmentedRequest(receiver)), Some(segment)) => {
                let taken = receiver.on_segment(segment, payload);
                self.on_taken(peer, invoke_id, taken, now);
            }
            (Some(State::AwaitResponse), Some(segment)) => {
                self.counters.duplicates += 1;
                let window = segment.window.clamp(1, self.settings.window);
                let ack = Ack { is_negative: false, sequence: segment.sequence, window };
                self.acknowledge_request(peer, invoke_id, ack);
            }
            (Some(State::AwaitResponse), None) | (Some(State::SegmentedResponse(_)), _) => {
                self.counters.duplicates += 1;
            }
            // The one who asks gave up its segments, and begins something else.
            (Some(State::SegmentedRequest(_)), None) => {
                self.forget(key);
                self.begin(peer, invoke_id, service, terms, None, payload, now);
            }
            (None, segment) => self.begin(peer, invoke_id, service, terms, segment, payload, now),
        }
    }

    /// Answers a request.
    pub(super) fn on_answer(&mut self, token: Token, answer: Answer, now: Moment) {
        let Some((peer, invoke_id)) = self.tokens.remove(&token) else {
            self.counters.late_answers += 1;
            return;
        };
        let Some(served) = self.served.get(&(peer, invoke_id)) else { return };
        let (service, terms) = (served.service, served.terms);
        match answer {
            Answer::Simple => self.transmit(peer, &Apdu::SimpleAck { invoke_id, service }),
            Answer::Complex(payload) => {
                if self.answer_at_length(peer, invoke_id, service, terms, payload, now) {
                    return;
                }
            }
            Answer::Error(detail) => {
                self.transmit(peer, &Apdu::Error { invoke_id, service, payload: &detail.encode() });
            }
            Answer::Reject(reason) => self.transmit(peer, &Apdu::Reject { invoke_id, reason }),
            Answer::Abort(reason) => self.abort_served(peer, invoke_id, reason),
        }
        self.forget((peer, invoke_id));
    }

    /// A SegmentACK of the client.
    pub(super) fn on_response_segment_ack(&mut self, peer: Peer, invoke_id: u8, ack: Ack, now: Moment) {
        let key = (peer, invoke_id);
        let acked = match self.served.get_mut(&key).map(|served| &mut served.state) {
            Some(State::SegmentedResponse(sender)) => sender.on_ack(ack),
            Some(State::SegmentedRequest(_) | State::AwaitResponse) | None => Acked::Ignored,
        };
        match acked {
            Acked::Ignored => self.counters.unexpected += 1,
            Acked::Send(range) => self.send_answer_segments(peer, invoke_id, range, now),
            Acked::Complete => self.forget(key),
        }
    }

    /// The one who asks gives up.
    pub(super) fn on_client_abort(&mut self, peer: Peer, invoke_id: u8) {
        if self.served.contains_key(&(peer, invoke_id)) {
            self.forget((peer, invoke_id));
        } else {
            self.counters.unexpected += 1;
        }
    }

    /// What a request of someone else waited for did not come.
    pub(super) fn on_server_timeout(&mut self, peer: Peer, invoke_id: u8, now: Moment) {
        let key = (peer, invoke_id);
        let retries = self.settings.retries;
        match self.served.get_mut(&key).map(|served| &mut served.state) {
            Some(State::SegmentedRequest(_)) => self.forget(key),
            Some(State::AwaitResponse) => {
                self.abort_served(peer, invoke_id, AbortReason::APPLICATION_EXCEEDED_REPLY_TIME);
                self.forget(key);
            }
            Some(State::SegmentedResponse(sender)) => match sender.on_timeout(retries) {
                Some(range) => {
                    self.counters.windows_again += 1;
                    self.send_answer_segments(peer, invoke_id, range, now);
                }
                None => self.forget(key),
            },
            None => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a confirmed request, and who sent it when")]
    fn begin(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: u8,
        terms: Terms,
        segment: Option<Segment>,
        payload: &[u8],
        now: Moment,
    ) {
        if segment.is_some_and(|segment| segment.sequence != 0) {
            self.counters.unexpected += 1;
            self.abort_served(peer, invoke_id, AbortReason::INVALID_APDU_IN_THIS_STATE);
            return;
        }
        if self.served.len() >= self.settings.served_max {
            self.counters.refused_served += 1;
            self.abort_served(peer, invoke_id, AbortReason::OUT_OF_RESOURCES);
            return;
        }
        let token = Token(self.token_next);
        self.token_next += 1;
        let Some(segment) = segment else {
            let state = State::AwaitResponse;
            self.served.insert((peer, invoke_id), Served { service, terms, token, state });
            self.ask(peer, invoke_id, payload.to_vec(), now);
            return;
        };
        let (window, segments_max) = (self.settings.window, self.settings.segments_max);
        let (receiver, ack) = SegmentReceiver::new(payload, segment.window, window, segments_max);
        let state = State::SegmentedRequest(receiver);
        self.served.insert((peer, invoke_id), Served { service, terms, token, state });
        let taken = if segment.is_followed { Taken::Acked(ack) } else { Taken::Complete(ack) };
        self.on_taken(peer, invoke_id, taken, now);
    }

    fn on_taken(&mut self, peer: Peer, invoke_id: u8, taken: Taken, now: Moment) {
        let next_segment = now + self.settings.segment_timeout * 4;
        match taken {
            Taken::Silently => self.timers.set(Timer::Server(peer, invoke_id), next_segment),
            Taken::Acked(ack) => {
                self.timers.set(Timer::Server(peer, invoke_id), next_segment);
                self.acknowledge_request(peer, invoke_id, ack);
            }
            Taken::Again(ack) => {
                self.counters.duplicates += 1;
                if let Some(ack) = ack {
                    self.acknowledge_request(peer, invoke_id, ack);
                }
            }
            Taken::Complete(ack) => {
                self.acknowledge_request(peer, invoke_id, ack);
                let Some(served) = self.served.get_mut(&(peer, invoke_id)) else { return };
                let state = std::mem::replace(&mut served.state, State::AwaitResponse);
                if let State::SegmentedRequest(receiver) = state {
                    self.ask(peer, invoke_id, receiver.into_bytes(), now);
                }
            }
            Taken::TooMany => {
                self.abort_served(peer, invoke_id, AbortReason::BUFFER_OVERFLOW);
                self.forget((peer, invoke_id));
            }
        }
    }

    fn ask(&mut self, peer: Peer, invoke_id: u8, payload: Vec<u8>, now: Moment) {
        let Some(served) = self.served.get(&(peer, invoke_id)) else { return };
        let (token, service) = (served.token, ConfirmedService::new(u32::from(served.service)));
        self.tokens.insert(token, (peer, invoke_id));
        self.timers.set(Timer::Server(peer, invoke_id), now + self.settings.answer_timeout);
        self.actions.push_back(Action::Asked { token, peer, service, payload });
    }

    /// Sends an answer, and says whether segments of it are to be acknowledged.
    fn answer_at_length(
        &mut self,
        peer: Peer,
        invoke_id: u8,
        service: u8,
        terms: Terms,
        payload: Vec<u8>,
        now: Moment,
    ) -> bool {
        let apdu_bytes = usize::from(terms.max_apdu.clamp(APDU_BYTES_MIN, self.settings.max_apdu));
        if payload.len() + ACK_HEADER_BYTES <= apdu_bytes {
            self.transmit(peer, &Apdu::ComplexAck { segment: None, invoke_id, service, payload: &payload });
            return false;
        }
        if !terms.takes_segments {
            self.abort_served(peer, invoke_id, AbortReason::SEGMENTATION_NOT_SUPPORTED);
            return false;
        }
        let segment_bytes = apdu_bytes - SEGMENTED_ACK_HEADER_BYTES;
        let segments_max = self.settings.segments_max;
        let count_max = terms.max_segments.count(segments_max).min(segments_max);
        if SegmentSender::count_of(&payload, segment_bytes) > count_max {
            self.abort_served(peer, invoke_id, AbortReason::BUFFER_OVERFLOW);
            return false;
        }
        let sender = SegmentSender::new(payload, segment_bytes, self.settings.window);
        let range = sender.outstanding();
        if let Some(served) = self.served.get_mut(&(peer, invoke_id)) {
            served.state = State::SegmentedResponse(sender);
        }
        self.send_answer_segments(peer, invoke_id, range, now);
        true
    }

    fn send_answer_segments(&mut self, peer: Peer, invoke_id: u8, range: Range<usize>, now: Moment) {
        let Some(served) = self.served.get(&(peer, invoke_id)) else { return };
        let State::SegmentedResponse(sender) = &served.state else { return };
        for place in range {
            let (segment, payload) = sender.segment(place);
            let apdu =
                Apdu::ComplexAck { segment: Some(segment), invoke_id, service: served.service, payload };
            let expects_reply = apdu.expects_reply();
            self.actions.push_back(Action::Transmit { peer, apdu: apdu.encode(), expects_reply });
        }
        self.timers.set(Timer::Server(peer, invoke_id), now + self.settings.segment_timeout);
    }

    fn acknowledge_request(&mut self, peer: Peer, invoke_id: u8, ack: Ack) {
        let Ack { is_negative, sequence, window } = ack;
        self.transmit(
            peer,
            &Apdu::SegmentAck { is_negative, from_server: true, invoke_id, sequence, window },
        );
    }

    fn abort_served(&mut self, peer: Peer, invoke_id: u8, reason: AbortReason) {
        self.transmit(peer, &Apdu::Abort { from_server: true, invoke_id, reason });
    }

    fn forget(&mut self, key: (Peer, u8)) {
        if let Some(served) = self.served.remove(&key) {
            self.tokens.remove(&served.token);
        }
        self.timers.stop(Timer::Server(key.0, key.1));
    }
}
