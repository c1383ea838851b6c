//! How transactions are carried out.

use std::time::Duration;

use crate::apdu::{APDU_BYTES_MAX, APDU_BYTES_MIN, WINDOW_MAX};

/// How transactions are carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest APDU that is sent and taken. 1476 by default, that of BACnet/IP.
    pub max_apdu: u16,
    /// How many segments a message may have, in both directions. 256 by default.
    pub segments_max: usize,
    /// How many segments are sent and taken without an acknowledgment, 1 to 127. 16 by default.
    pub window: u8,
    /// How long an answer is waited for. 3 s by default.
    pub apdu_timeout: Duration,
    /// How long the acknowledgment of segments is waited for; four times as long the next segment. 2 s by
    /// default.
    pub segment_timeout: Duration,
    /// How often a request or a window of segments is sent again. 3 by default.
    pub retries: u8,
    /// How long the answer to a request of someone else may take. 10 s by default.
    pub answer_timeout: Duration,
    /// How many requests are open at one peer. 4 by default.
    pub parallel_per_peer: usize,
    /// How many requests wait for one peer. 1024 by default.
    pub queue_per_peer_max: usize,
    /// How many requests of others are open. 256 by default.
    pub served_max: usize,
    /// How many peers are known. 16384 by default.
    pub peers_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_apdu: APDU_BYTES_MAX,
            segments_max: 256,
            window: 16,
            apdu_timeout: Duration::from_secs(3),
            segment_timeout: Duration::from_secs(2),
            retries: 3,
            answer_timeout: Duration::from_secs(10),
            parallel_per_peer: 4,
            queue_per_peer_max: 1024,
            served_max: 256,
            peers_max: 16_384,
        }
    }
}

impl Settings {
    /// The most segments: more would be a megabyte and a half, which no answer has.
    pub const SEGMENTS_MAX: usize = 1024;
    /// The most open requests at one peer: half of all invoke ids, so that the others can rest.
    pub const PARALLEL_MAX: usize = 128;

    /// With every setting where it works.
    pub(super) fn bounded(self) -> Settings {
        Settings {
            max_apdu: self.max_apdu.clamp(APDU_BYTES_MIN, APDU_BYTES_MAX),
            segments_max: self.segments_max.clamp(2, Settings::SEGMENTS_MAX),
            window: self.window.clamp(1, WINDOW_MAX),
            parallel_per_peer: self.parallel_per_peer.clamp(1, Settings::PARALLEL_MAX),
            ..self
        }
    }
}
