//! The way in: what an active instance publishes.

use twinhub_model::{Record, Sample, SampleFlags};

use super::Engine;
use super::acceptance::Placed;
use super::journaling::split;
use crate::clock;
use crate::shared::LATENCY_BOUNDS;

impl Engine {
    /// Changed values of an active instance: journal first, then along the links.
    pub(crate) fn on_published(&mut self, samples: Vec<Sample>) -> Placed {
        let carries = self.is_acting();
        if !carries && !self.takes_last_inputs() {
            return Placed::Lost;
        }
        let now = clock::now();
        let mut samples = samples;
        if self.replication.expects_late(now) {
            samples.retain(|sample| {
                sample.flags.contains(SampleFlags::REPLAY) || !self.replication.is_late(sample, now)
            });
        }
        if samples.is_empty() {
            // The node before had them in its journal, and thereby in this one.
            return Placed::At(self.journal.last());
        }
        self.measure_latency(&samples);
        self.health.hear(&samples, now);
        for part in split(samples) {
            let record = Record::Samples(part.into());
            let Some(position) = self.append(&record) else { return Placed::Lost };
            if let Record::Samples(samples) = &record {
                // While a role is handed over, the next node carries them along the links.
                if carries {
                    self.route(position, samples);
                }
                self.shared.stream(&self.group, position, samples);
            }
        }
        Placed::At(self.journal.last())
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
