//! The way in: what an active instance publishes.

use std::borrow::Borrow;

use twinhub_model::{Moment, Position, Sample, SampleFlags};

use super::acceptance::Placed;
use super::journaling::{RECORD_BYTES_WANTED, SAMPLE_BYTES_ABOUT, Samples, pieces};
use super::{Engine, SCRATCH_SAMPLES_MAX};
use crate::bundle::Bundle;
use crate::clock;
use crate::shared::LATENCY_BOUNDS;

impl Engine {
    /// Changed values of an active instance: journal first, then along the links.
    pub(crate) fn on_published(&mut self, bundle: &Bundle) -> Placed {
        let carries = self.is_acting();
        if !carries && !self.takes_last_inputs() {
            // The role was lost meanwhile. A plugin that waits for acceptance is not told of it.
            self.counters.unjournaled += bundle.len() as u64;
            return Placed::Lost;
        }
        let now = clock::now();
        if self.only_pass(bundle, now) {
            self.measure_latency(bundle.iter());
            let taken = self.take_in(bundle.iter(), carries);
            return taken.map_or(Placed::Lost, |_| Placed::At(self.journal.last()));
        }
        let mut samples = self.unpack(bundle);
        let placed = self.on_published_samples(&mut samples, carries, now);
        self.unpacked = samples;
        placed
    }

    /// Whether nobody looks at these values on their way: mostly so, and then they are not unpacked into memory.
    fn only_pass(&mut self, bundle: &Bundle, now: Moment) -> bool {
        let bytes = bundle.len() * SAMPLE_BYTES_ABOUT + bundle.text_bytes();
        !bundle.is_empty()
            && bytes <= RECORD_BYTES_WANTED
            && !self.replication.expects_late(now)
            && !self.replication.has_just_replayed(now)
            && !self.health.watches_items()
            && !self.shared.is_listened_to()
            && !self.has_alarms_of(bundle.iter())
    }

    fn on_published_samples(&mut self, samples: &mut Vec<Sample>, carries: bool, now: Moment) -> Placed {
        if self.replication.expects_late(now) {
            samples.retain(|sample| {
                sample.flags.contains(SampleFlags::REPLAY) || !self.replication.is_late(sample, now)
            });
        }
        if samples.is_empty() {
            // The node before had them in its journal, and thereby in this one.
            return Placed::At(self.journal.last());
        }
        self.measure_latency(samples.iter());
        self.health.hear(samples, now);
        for piece in pieces(samples) {
            let Some(position) = self.take_in(piece, carries) else { return Placed::Lost };
            self.shared.stream(&self.group, position, piece);
            self.observe_alarms(piece);
        }
        Placed::At(self.journal.last())
    }

    /// One record: into the journal and along the links. While a role is handed over, the next node carries them.
    fn take_in(&mut self, samples: impl Samples, carries: bool) -> Option<Position> {
        if !self.pay_owed() {
            // What was put before them has to be in the journal first.
            self.counters.unjournaled += 1;
            return None;
        }
        let position = self.append_samples(samples.clone())?;
        if carries {
            self.route(position, samples);
        }
        Some(position)
    }

    /// The samples of a bundle, in room that [`Engine::unpacked`] gets back.
    pub(crate) fn unpack(&mut self, bundle: &Bundle) -> Vec<Sample> {
        let mut samples = std::mem::take(&mut self.unpacked);
        // A flood may have needed more than what comes as a rule.
        samples.clear();
        samples.shrink_to(SCRATCH_SAMPLES_MAX);
        bundle.unpack(&mut samples);
        samples
    }

    fn measure_latency(&mut self, mut samples: impl ExactSizeIterator<Item: Borrow<Sample>>) {
        let count = samples.len() as u64;
        if let Some(first) = samples.next() {
            let age_ns = clock::utc().0.saturating_sub(first.borrow().server.0).max(0);
            let bucket = LATENCY_BOUNDS
                .iter()
                .position(|bound_us| age_ns <= bound_us * 1000)
                .unwrap_or(LATENCY_BOUNDS.len());
            self.counters.latency[bucket] += count;
        }
    }
}
