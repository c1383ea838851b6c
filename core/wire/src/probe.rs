//! Measures a path: how long a frame takes there and back, and how far the clocks are apart.
//!
//! One side asks with its own times in the frame, the other sends the frame back with its civil time in it.
//! The offset is computed as in RFC 5905, section 8, with one reading on the far side in place of two: the
//! answer leaves right after the question came.

use std::time::Duration;

use minicbor::{Decode, Encode};
use twinhub_model::{Moment, Timestamp};

use crate::WireError;

/// A question, or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Probe {
    /// When it was asked, on the asking side's monotonic clock, in nanoseconds.
    #[n(0)]
    asked: u64,
    /// The same in civil time, in nanoseconds since 1970.
    #[n(1)]
    asked_utc: i64,
    /// Civil time of the answering side, in nanoseconds since 1970; absent in a question.
    #[n(2)]
    answered_utc: Option<i64>,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// There and back.
    pub round_trip: Duration,
    /// How far the peer's civil clock is ahead of the own one, in nanoseconds; at most half of the round trip
    /// off.
    pub clock_offset_ns: i64,
}

impl Probe {
    /// A question.
    pub const fn ask(now: Moment, utc: Timestamp) -> Probe {
        Probe { asked: now.0, asked_utc: utc.0, answered_utc: None }
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`WireError::Message`] if it is no probe.
    pub fn decode(body: &[u8]) -> Result<Probe, WireError> {
        minicbor::decode(body)
            .map_err(|error| WireError::Message { what: "a probe", detail: error.to_string() })
    }

    /// The body of a frame.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes every byte and the fields have no fallible encoder")
    }

    /// The answer to a question; none to an answer.
    #[must_use]
    pub fn answer(self, utc: Timestamp) -> Option<Probe> {
        self.answered_utc.is_none().then_some(Probe { answered_utc: Some(utc.0), ..self })
    }

    /// What an answer says, if it is one and can be true.
    pub fn measure(self, now: Moment) -> Option<Measured> {
        let answered = self.answered_utc?;
        let nanos = now.0.checked_sub(self.asked)?;
        let half = i64::try_from(nanos / 2).ok()?;
        let middle = self.asked_utc.checked_add(half)?;
        Some(Measured {
            round_trip: Duration::from_nanos(nanos),
            clock_offset_ns: answered.checked_sub(middle)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_clock_of_a_peer_is_compared_with_the_middle_of_the_way() {
        let question = Probe::ask(Moment(1_000), Timestamp(50_000));
        let asked = Probe::decode(&question.encode()).unwrap();
        // The peer is 7,000 ahead; 400 there, 400 back.
        let answer = asked.answer(Timestamp(50_400 + 7_000)).unwrap();
        let measured = Probe::decode(&answer.encode()).unwrap().measure(Moment(1_800)).unwrap();
        assert_eq!(measured.round_trip, Duration::from_nanos(800));
        assert_eq!(measured.clock_offset_ns, 7_000);
    }

    #[test]
    fn an_answer_is_not_answered_and_a_question_measures_nothing() {
        let question = Probe::ask(Moment(1), Timestamp(1));
        assert_eq!(question.measure(Moment(2)), None);
        assert_eq!(question.answer(Timestamp(1)).unwrap().answer(Timestamp(2)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_probe_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64), now: u64) {
            if let Ok(probe) = Probe::decode(&bytes) {
                probe.measure(Moment(now));
            }
        }

        #[test]
        fn a_lying_peer_gives_no_panic(asked: u64, asked_utc: i64, answered: i64, now: u64) {
            let question = Probe::ask(Moment(asked), Timestamp(asked_utc));
            if let Some(answer) = question.answer(Timestamp(answered)) {
                answer.measure(Moment(now));
            }
        }
    }
}
