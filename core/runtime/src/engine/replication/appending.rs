//! Records of the active node on their way into journal, tracker and table of a standby.

use twinhub_model::{Moment, Position, Record, Sample, SampleFlags};
use twinhub_replica::EntryBatch;
use twinhub_wire::record::RecordKind;

use super::ActiveRole;
use crate::clock;
use crate::engine::deactivation::DRAINING;
use crate::engine::translation::Translation;
use crate::engine::{Engine, SCRATCH_SAMPLES_MAX};

impl Engine {
    pub(super) fn append_entries(&mut self, batch: &EntryBatch) {
        let now = clock::now();
        let mut wants_sync = false;
        self.replication.unacked_bytes += batch.size_bytes();
        let plain = matches!(*self.translation(self.replication.incoming), Translation::Same);
        for (position, body) in batch.iter() {
            if plain && RecordKind::of(body) == Ok(RecordKind::Samples) {
                if !self.append_sent_samples(position, body, now) {
                    return;
                }
                continue;
            }
            let record = match twinhub_wire::record::decode(body) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%position, %error, "the active node sent an unreadable record");
                    continue;
                }
            };
            let stored = self.journal.append_encoded(position, body);
            if let Err(error) = stored {
                self.journal_failed(&error);
                return;
            }
            self.replication.received += 1;
            if let Record::Merged(merged) = &record {
                self.note_merged(position, self.replication.incoming, merged);
            }
            let Some(record) = self.translate(record) else { continue };
            if let Record::Role(change) = &record {
                let is_handed_over = change.to.as_ref() == DRAINING;
                self.replication.active_role =
                    if is_handed_over { ActiveRole::HandedOver } else { ActiveRole::Kept };
            }
            wants_sync |= match &record {
                Record::Intent(_) | Record::Result(_) | Record::Role(_) | Record::Part(_) => true,
                Record::Samples(samples) => self.is_peer_acknowledged(samples),
                Record::Dictionary(_) | Record::Delivered(_) | Record::Event(_) | Record::Merged(_) => false,
            };
            self.apply(position, &record);
            if let Record::Samples(samples) = &record {
                self.cover(samples, now);
                self.shared.stream(&self.group, position, samples);
            }
        }
        self.counters.records_received = self.replication.received;
        self.sync_wanted |= wants_sync || self.replication.active_role == ActiveRole::HandedOver;
    }

    /// Samples that the active node sent, numbered as here; false if the journal takes nothing.
    fn append_sent_samples(&mut self, position: Position, body: &[u8], now: Moment) -> bool {
        let mut samples = std::mem::take(&mut self.unpacked);
        samples.clear();
        samples.shrink_to(SCRATCH_SAMPLES_MAX);
        let decoded = twinhub_wire::record::decode_samples(body, &mut samples);
        let is_stored = match decoded {
            Ok(()) => self.journal.append_encoded(position, body),
            Err(error) => {
                tracing::error!(%position, %error, "the active node sent an unreadable record");
                return true;
            }
        };
        if let Err(error) = is_stored {
            self.journal_failed(&error);
            return false;
        }
        self.replication.received += 1;
        self.sync_wanted |= self.is_peer_acknowledged(&samples);
        self.tracker.apply_samples(position, &samples);
        self.store_samples(&samples);
        self.observe_alarms(&samples);
        self.cover(&samples, now);
        self.shared.stream(&self.group, position, &samples);
        self.unpacked = samples;
        true
    }

    pub(crate) fn store_samples(&self, samples: &[Sample]) {
        let is_present = |sample: &&Sample| {
            sample.item.index() < self.table.len() && !sample.flags.contains(SampleFlags::OLD)
        };
        for sample in samples.iter().filter(is_present) {
            self.table.store(
                sample.item,
                &sample.value,
                sample.quality,
                sample.source,
                sample.server,
                sample.flags,
            );
        }
    }
}
