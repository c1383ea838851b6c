//! A network that does what networks do.

use std::time::Duration;

use twinhub_redundancy::VoterId;

use crate::random::Random;
use crate::sites::place;
use crate::world::nanos;

/// How good the network is.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Messages lost, of a hundred.
    pub loss_percent: u64,
    /// Messages that arrive twice, of a hundred.
    pub duplicate_percent: u64,
    /// The shortest way; between it and the longest every message has its own, so they overtake each other.
    pub delay_min: Duration,
    /// The longest way.
    pub delay_max: Duration,
}

impl Quality {
    /// A quiet switch.
    pub const GOOD: Quality = Quality {
        loss_percent: 0,
        duplicate_percent: 0,
        delay_min: Duration::from_micros(100),
        delay_max: Duration::from_micros(400),
    };
}

/// Who reaches whom, and how well.
#[derive(Debug)]
pub struct Net {
    /// Applies to every message.
    quality: Quality,
    /// Its ways in nanoseconds: the shortest, and how much longer the longest is.
    ways: (u64, u64),
    /// Of each sender, to whom nothing arrives: one bit for each.
    cut: [u32; SITES_MAX],
}

impl Default for Net {
    fn default() -> Self {
        let quality = Quality::GOOD;
        Net { quality, ways: quality.ways(), cut: [0; SITES_MAX] }
    }
}

impl Quality {
    fn ways(&self) -> (u64, u64) {
        (nanos(self.delay_min), nanos(self.delay_max.saturating_sub(self.delay_min)))
    }
}

impl Net {
    /// How good it is.
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// From here on it is this good.
    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
        self.ways = quality.ways();
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: VoterId, to: VoterId) {
        self.cut[place(from)] |= 1 << place(to);
    }

    /// Heals one direction.
    pub fn join(&mut self, from: VoterId, to: VoterId) {
        self.cut[place(from)] &= !(1 << place(to));
    }

    /// Heals everything.
    pub fn heal(&mut self) {
        self.cut = [0; SITES_MAX];
    }

    /// Whether this direction works.
    pub fn is_open(&self, from: VoterId, to: VoterId) -> bool {
        self.cut[place(from)] & 1 << place(to) == 0
    }

    /// After how many nanoseconds a message arrives: never, once or twice.
    #[inline]
    pub fn deliveries(&mut self, from: VoterId, to: VoterId, random: &mut Random) -> [Option<u64>; 2] {
        if !self.is_open(from, to) || random.percent(self.quality.loss_percent) {
            return [None, None];
        }
        let (least, spread) = self.ways;
        let is_doubled = random.percent(self.quality.duplicate_percent);
        let first = least + random.below(spread);
        [Some(first), is_doubled.then(|| least + random.below(spread))]
    }
}

/// More than a group has voters.
const SITES_MAX: usize = 32;
