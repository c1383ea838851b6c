//! Pauses between attempts: doubling, capped, with jitter, so that many clients do not return at the same moment.

use std::time::Duration;

/// The pauses of one interface.
#[derive(Debug)]
pub(crate) struct Pauses {
    min: Duration,
    max: Duration,
    current: Duration,
    seed: u64,
}

impl Pauses {
    /// From `min`, doubling up to `max`. The seed only spreads the jitter.
    pub(crate) fn new(min: Duration, max: Duration, seed: i64) -> Self {
        Self { min, max, current: min, seed: seed.unsigned_abs() | 1 }
    }

    /// Begins with the shortest pause again.
    pub(crate) fn reset(&mut self) {
        self.current = self.min;
    }

    /// The next pause: half to all of the current length.
    pub(crate) fn next(&mut self) -> Duration {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003); only the spread matters.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let percent = 50 + u32::try_from(self.seed % 51).unwrap_or(0);
        let wait = self.current * percent / 100;
        self.current = (self.current * 2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_begin_again_after_success() {
        let second = Duration::from_secs(1);
        let mut pauses = Pauses::new(second, second * 10, 7);
        for length in [1, 2, 4, 8, 10, 10] {
            let pause = pauses.next();
            assert!(pause >= second * length / 2 && pause <= second * length, "{pause:?} of {length} s");
        }
        pauses.reset();
        assert!(pauses.next() <= second);
    }
}
