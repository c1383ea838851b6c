//! The way in: what an active instance publishes.

use twinhub_model::{Sample, SampleFlags};

use super::acceptance::Placed;
use super::journaling::pieces;
use super::{Engine, SCRATCH_SAMPLES_MAX};
use crate::bundle::Bundle;
use crate::clock;
use crate::shared::LATENCY_BOUNDS;

impl Engine {
    /// Changed values of an active instance: journal first, then along the links.
    pub(crate) fn on_published(&mut self, samples: &mut Vec<Sample>) -> Placed {
        let carries = self.is_acting();
        if !carries && !self.takes_last_inputs() {
            return Placed::Lost;
        }
        let now = clock::now();
        if self.replication.expects_late(now) {
            samples.retain(|sample| {
                sample.flags.contains(SampleFlags::REPLAY) || !self.replication.is_late(sample, now)
            });
        }
        if samples.is_empty() {
            // The node before had them in its journal, and thereby in this one.
            return Placed::At(self.journal.last());
        }
        self.measure_latency(samples);
        self.health.hear(samples, now);
        for piece in pieces(samples) {
            let Some(position) = self.append_samples(piece) else { return Placed::Lost };
            // While a role is handed over, the next node carries them along the links.
            if carries {
                self.route(position, piece);
            }
            self.shared.stream(&self.group, position, piece);
            self.observe_alarms(piece);
        }
        Placed::At(self.journal.last())
    }

    /// The samples of a bundle, in room that [`Engine::unpacked`] gets back.
    pub(crate) fn unpack(&mut self, bundle: Bundle) -> Vec<Sample> {
        let mut samples = std::mem::take(&mut self.unpacked);
        // A flood may have needed more than what comes as a rule.
        samples.clear();
        samples.shrink_to(SCRATCH_SAMPLES_MAX);
        bundle.unpack(&mut samples);
        samples
    }

    fn measure_latency(&mut self, samples: &[Sample]) {
        if let Some(first) = samples.first() {
            let age_ns = clock::utc().0.saturating_sub(first.server.0).max(0);
            let bucket = LATENCY_BOUNDS
                .iter()
                .position(|bound_us| age_ns <= bound_us * 1000)
                .unwrap_or(LATENCY_BOUNDS.len());
            self.counters.latency[bucket] += samples.len() as u64;
        }
    }
}
