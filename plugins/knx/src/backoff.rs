//! Pauses between attempts: doubling, capped, with jitter so that two nodes do not knock in step.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Pauses after failures.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    until: Option<Instant>,
    jitter: RandomState,
    count: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min, until: None, jitter: RandomState::new(), count: 0 }
    }

    /// A failure: the next attempt is due after half to all of the pause.
    pub(crate) fn fail(&mut self) {
        self.count += 1;
        // 1,024 steps are fine enough for a jitter.
        let share = u32::try_from(self.jitter.hash_one(self.count) % 1_024).unwrap_or(0);
        let pause = self.next / 2 + self.next / 2 * share / 1_024;
        self.until = Some(Instant::now() + pause);
        self.next = (self.next * 2).min(self.max);
    }

    /// A success: the next failure begins with the shortest pause.
    pub(crate) fn succeed(&mut self) {
        self.until = None;
        self.next = self.min;
    }

    /// When the next attempt is due, if that lies in the future.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        self.until.filter(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_cap_and_begin_again_after_a_success() {
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(10));
        let mut backoff = Backoff::new(min, max);
        let mut full = min;
        for _ in 0..20 {
            backoff.fail();
            let pause = backoff.waits_until().unwrap() - Instant::now();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
            full = (full * 2).min(max);
        }
        backoff.succeed();
        assert_eq!(backoff.waits_until(), None);
        backoff.fail();
        assert!(backoff.waits_until().unwrap() - Instant::now() <= min);
    }
}
