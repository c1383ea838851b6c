//! Cutting messages into segments and joining them: clauses 5.2 and 5.3.

use std::ops::Range;

use crate::apdu::{Segment, WINDOW_MAX};

/// An acknowledgment of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// Whether a segment is missing.
    pub(super) is_negative: bool,
    /// The last segment that was taken in order.
    pub(super) sequence: u8,
    /// How many may follow.
    pub(super) window: u8,
}

/// A message that is sent in segments.
#[derive(Debug)]
pub(super) struct SegmentSender {
    payload: Vec<u8>,
    segment_bytes: usize,
    proposed: u8,
    window: usize,
    /// The first segment that is not acknowledged.
    first: usize,
    /// The first segment that was not sent.
    next: usize,
    windows_again: u8,
    is_refilled: bool,
}

/// What an acknowledgment leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// Nothing; it is old.
    Ignored,
    /// These are to be sent.
    Send(Range<usize>),
    /// Everything has arrived.
    Complete,
}

impl SegmentSender {
    /// Begins with the first segment, which [`SegmentSender::outstanding`] names.
    pub(super) fn new(payload: Vec<u8>, segment_bytes: usize, proposed: u8) -> SegmentSender {
        assert!(segment_bytes > 0, "a segment has room for something");
        SegmentSender {
            payload,
            segment_bytes,
            proposed,
            window: 1,
            first: 0,
            next: 1,
            windows_again: 0,
            is_refilled: false,
        }
    }

    /// How many segments a message has.
    pub(super) fn count_of(payload: &[u8], segment_bytes: usize) -> usize {
        payload.len().div_ceil(segment_bytes).max(1)
    }

    /// Whether the last segment was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.next == self.count()
    }

    /// What was sent and not acknowledged.
    pub(super) fn outstanding(&self) -> Range<usize> {
        self.first..self.next
    }

    /// A segment of this place, and its bytes.
    pub(super) fn segment(&self, place: usize) -> (Segment, &[u8]) {
        let start = place * self.segment_bytes;
        let end = self.payload.len().min(start + self.segment_bytes);
        let segment =
            Segment { is_followed: place + 1 < self.count(), sequence: low(place), window: self.proposed };
        (segment, &self.payload[start..end])
    }

    /// Takes an acknowledgment.
    pub(super) fn on_ack(&mut self, ack: Ack) -> Acked {
        let offset = usize::from(ack.sequence.wrapping_sub(low(self.first)));
        if offset < self.next - self.first {
            self.first += offset + 1;
            self.window = usize::from(ack.window.clamp(1, WINDOW_MAX));
            (self.windows_again, self.is_refilled) = (0, false);
            if self.first == self.count() {
                return Acked::Complete;
            }
            self.next = self.count().min(self.first + self.window);
            return Acked::Send(self.outstanding());
        }
        // The first of the window is the missing one. Told again, it is not sent again: each copy of a segment
        // could make the receiver tell it once more.
        let is_gap_at_start = ack.is_negative && ack.sequence == low(self.first).wrapping_sub(1);
        if is_gap_at_start && self.first > 0 && !self.is_refilled {
            self.is_refilled = true;
            return Acked::Send(self.outstanding());
        }
        Acked::Ignored
    }

    /// The window to send again, or none if that was done often enough.
    pub(super) fn on_timeout(&mut self, retries: u8) -> Option<Range<usize>> {
        if self.windows_again >= retries {
            return None;
        }
        self.windows_again += 1;
        self.is_refilled = false;
        Some(self.outstanding())
    }

    fn count(&self) -> usize {
        SegmentSender::count_of(&self.payload, self.segment_bytes)
    }
}

/// A message that comes in segments.
#[derive(Debug)]
pub(super) struct SegmentReceiver {
    bytes: Vec<u8>,
    /// The last segment in order.
    last: usize,
    /// The last segment that was acknowledged.
    acked: usize,
    window: u8,
    segments_max: usize,
    is_gap_told: bool,
}

/// What a segment leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken, and is acknowledged later.
    Silently,
    /// It was taken, and is acknowledged.
    Acked(Ack),
    /// It brings nothing new.
    Again(Option<Ack>),
    /// It was the last one.
    Complete(Ack),
    /// There are more than are taken.
    TooMany,
}

impl SegmentReceiver {
    /// Begins with the first segment, and acknowledges it.
    pub(super) fn new(
        payload: &[u8],
        proposed: u8,
        window: u8,
        segments_max: usize,
    ) -> (SegmentReceiver, Ack) {
        let window = proposed.clamp(1, WINDOW_MAX).min(window);
        let receiver = SegmentReceiver {
            bytes: payload.to_vec(),
            last: 0,
            acked: 0,
            window,
            segments_max,
            is_gap_told: false,
        };
        let ack = receiver.ack(false);
        (receiver, ack)
    }

    /// Takes a segment.
    pub(super) fn on_segment(&mut self, segment: Segment, payload: &[u8]) -> Taken {
        let offset = segment.sequence.wrapping_sub(low(self.last));
        if offset == 1 {
            if self.last + 1 >= self.segments_max {
                return Taken::TooMany;
            }
            self.last += 1;
            self.is_gap_told = false;
            self.bytes.extend_from_slice(payload);
            if !segment.is_followed {
                return Taken::Complete(self.ack(false));
            }
            if self.last - self.acked < usize::from(self.window) {
                return Taken::Silently;
            }
            self.acked = self.last;
            return Taken::Acked(self.ack(false));
        }
        let is_ahead = (2..=WINDOW_MAX).contains(&offset);
        if is_ahead && !self.is_gap_told {
            self.is_gap_told = true;
            self.acked = self.last;
            return Taken::Again(Some(self.ack(true)));
        }
        // The last one that was acknowledged comes again: the acknowledgment was lost.
        let is_ack_lost = offset == 0 && self.acked == self.last;
        Taken::Again(is_ack_lost.then(|| self.ack(false)))
    }

    /// The joined message.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn ack(&self, is_negative: bool) -> Ack {
        Ack { is_negative, sequence: low(self.last), window: self.window }
    }
}

/// Numbers of segments begin anew after 255.
fn low(place: usize) -> u8 {
    place.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_is_sent_alone_and_then_a_window_of_the_agreed_size() {
        let mut sender = SegmentSender::new(vec![7; 95], 10, 16);
        assert_eq!(sender.outstanding(), 0..1);
        assert_eq!(sender.segment(0).0, Segment { is_followed: true, sequence: 0, window: 16 });
        assert_eq!(sender.on_ack(ack(0, 4)), Acked::Send(1..5));
        assert_eq!(sender.on_ack(ack(4, 4)), Acked::Send(5..9));
        assert!(!sender.is_sent());
        assert_eq!(sender.on_ack(ack(8, 4)), Acked::Send(9..10));
        assert!(sender.is_sent());
        assert_eq!(sender.segment(9), (Segment { is_followed: false, sequence: 9, window: 16 }, &[7; 5][..]));
        assert_eq!(sender.on_ack(ack(9, 4)), Acked::Complete);
    }

    #[test]
    fn a_gap_is_sent_again_from_where_it_begins() {
        let mut sender = SegmentSender::new(vec![7; 100], 10, 16);
        sender.on_ack(ack(0, 4));
        let negative = |sequence| Ack { is_negative: true, ..ack(sequence, 4) };
        assert_eq!(sender.on_ack(negative(2)), Acked::Send(3..7));
        assert_eq!(sender.on_ack(negative(2)), Acked::Send(3..7), "the first of the window is missing");
        assert_eq!(sender.on_ack(negative(2)), Acked::Ignored, "once is enough");
        assert_eq!(sender.on_ack(ack(1, 4)), Acked::Ignored, "an old one");
        assert_eq!(sender.on_timeout(1), Some(3..7));
        assert_eq!(sender.on_timeout(1), None);
    }

    #[test]
    fn a_receiver_acknowledges_once_per_window_and_tells_a_gap_once() {
        let (mut receiver, first) = SegmentReceiver::new(&[0], 3, 16, 100);
        assert_eq!(first, ack(0, 3));
        assert_eq!(receiver.on_segment(segment(1), &[1]), Taken::Silently);
        assert_eq!(receiver.on_segment(segment(2), &[2]), Taken::Silently);
        assert_eq!(receiver.on_segment(segment(3), &[3]), Taken::Acked(ack(3, 3)));
        assert_eq!(receiver.on_segment(segment(2), &[9]), Taken::Again(None));
        assert_eq!(receiver.on_segment(segment(3), &[9]), Taken::Again(Some(ack(3, 3))));
        let gap = Ack { is_negative: true, ..ack(3, 3) };
        assert_eq!(receiver.on_segment(segment(5), &[9]), Taken::Again(Some(gap)));
        assert_eq!(receiver.on_segment(segment(6), &[9]), Taken::Again(None));
        assert_eq!(receiver.on_segment(segment(4), &[4]), Taken::Silently);
        let last = Segment { is_followed: false, ..segment(5) };
        assert_eq!(receiver.on_segment(last, &[5]), Taken::Complete(ack(5, 3)));
        assert_eq!(receiver.into_bytes(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn more_segments_than_are_taken_end_it() {
        let (mut receiver, _) = SegmentReceiver::new(&[0], 1, 1, 2);
        assert!(matches!(receiver.on_segment(segment(1), &[]), Taken::Acked(_)));
        assert_eq!(receiver.on_segment(segment(2), &[]), Taken::TooMany);
    }

    fn ack(sequence: u8, window: u8) -> Ack {
        Ack { is_negative: false, sequence, window }
    }

    fn segment(sequence: u8) -> Segment {
        Segment { is_followed: true, sequence, window: 16 }
    }
}
