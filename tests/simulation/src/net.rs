//! A network that does what networks do.

use std::time::Duration;

use twinhub_redundancy::VoterId;

use crate::random::Random;

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
    pub quality: Quality,
    /// Of each sender, to whom nothing arrives: one bit for each.
    cut: [u32; SITES_MAX],
}

impl Default for Net {
    fn default() -> Self {
        Net { quality: Quality::GOOD, cut: [0; SITES_MAX] }
    }
}

impl Net {
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

    /// After which times a message arrives: never, once or twice.
    pub fn deliveries(&mut self, from: VoterId, to: VoterId, random: &mut Random) -> [Option<Duration>; 2] {
        if !self.is_open(from, to) || random.percent(self.quality.loss_percent) {
            return [None, None];
        }
        let spread = self.quality.delay_max.saturating_sub(self.quality.delay_min);
        let is_doubled = random.percent(self.quality.duplicate_percent);
        let first = self.quality.delay_min + random.up_to(spread);
        [Some(first), is_doubled.then(|| self.quality.delay_min + random.up_to(spread))]
    }
}

fn place(id: VoterId) -> usize {
    match id {
        VoterId::Node(node) => usize::from(node.0),
        VoterId::Witness => SITES_MAX - 1,
    }
}

/// More than a group has voters.
const SITES_MAX: usize = 32;
