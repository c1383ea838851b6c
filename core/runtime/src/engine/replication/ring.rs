//! What a hot interface of a standby hears itself: kept until the active node's journal has it too, replayed at a
//! takeover if it has not.

use twinhub_model::{Moment, Quality, Sample, SampleFlags};
use twinhub_replica::{RingEntry, Uncovered};

use super::{EXPECTED_MAX, Hearing, Replication};
use crate::clock;
use crate::engine::acceptance::Placed;
use crate::engine::{Engine, Phase};
use crate::instance::Hears;
use crate::table::ItemTable;

impl Replication {
    /// What the ring holds uncovered. What the journal had before this node heard it may still arrive.
    pub(crate) fn drain_ring(&mut self, table: &ItemTable) -> Vec<Sample> {
        self.heard.clear();
        self.expected.clear();
        self.expected_until = clock::now() + EXPECTED_MAX;
        for entry in self.ring.unheard() {
            self.expected.entry(entry.item).or_default().push_back(entry.value);
        }
        let server = clock::utc();
        self.ring
            .drain_uncovered(|item, value| table.read(item).value.is_same(value))
            .into_iter()
            .map(|Uncovered { entry, is_overtaken }| Sample {
                item: entry.item,
                value: entry.value,
                quality: Quality::GOOD,
                source: entry.source,
                server,
                flags: flags_if(entry.is_event, SampleFlags::EVENT)
                    .with(flags_if(is_overtaken, SampleFlags::OLD.with(SampleFlags::OVERTAKEN))),
            })
            .collect()
    }

    /// Whether a takeover has replayed the ring so lately that what was said before may still be on its way.
    pub(crate) fn has_just_replayed(&self, now: Moment) -> bool {
        now <= self.expected_until
    }

    /// Whether anything may still come that the node before had journaled.
    pub(crate) fn expects_late(&mut self, now: Moment) -> bool {
        if now > self.expected_until {
            self.expected.clear();
        }
        !self.expected.is_empty()
    }

    /// Whether this was journaled by the node before. Telegrams of an item come in order: one that is not
    /// expected ends the waiting for those before it.
    pub(crate) fn is_late(&mut self, sample: &Sample, now: Moment) -> bool {
        if !self.expects_late(now) {
            return false;
        }
        let Some(values) = self.expected.get_mut(&sample.item) else { return false };
        if let Some(place) = values.iter().position(|value| value.is_same(&sample.value)) {
            values.drain(..=place);
            return true;
        }
        self.expected.remove(&sample.item);
        false
    }
}

impl Engine {
    /// Marks what the ring heard too.
    pub(super) fn cover(&mut self, samples: &[Sample], now: Moment) {
        // Neighbors are of one interface nearly always.
        let mut interface = (0..0, false);
        for sample in samples {
            if !interface.0.contains(&sample.item.0) {
                interface = self.interface_of(sample.item).map_or((0..0, false), |number| {
                    let port = &self.interfaces[number].port;
                    (port.item_range(), port.setup.hears == Hears::TheSame)
                });
            }
            let heard = &self.replication.heard;
            if interface.1 || !heard.is_empty() && heard.contains_key(&sample.item) {
                self.replication.ring.cover(sample, now);
            }
        }
    }

    /// Values that a standby instance received itself.
    pub(crate) fn on_received(&mut self, samples: &[Sample]) -> Placed {
        let now = clock::now();
        if self.has_begun_inputs() {
            // Its turn to be active had not come when it heard them: they are inputs all the same, also where the word
            // that it is active overtook them.
            let mut news = samples.to_vec();
            news.retain(|sample| {
                let is_off = self.interface_of(sample.item).is_some_and(|number| self.is_off(number));
                !is_off && !self.replication.is_late(sample, now)
            });
            self.replay(news);
            return Placed::At(self.journal.last());
        }
        if matches!(self.phase, Phase::Draining(_)) {
            return Placed::At(self.journal.last());
        }
        self.health.hear(samples, now);
        for sample in samples {
            let same =
                self.replication.heard.get(&sample.item).is_some_and(|value| value.is_same(&sample.value));
            if same && !sample.flags.contains(SampleFlags::EVENT) {
                continue;
            }
            self.replication.heard.insert(sample.item, sample.value.clone());
            if !sample.quality.is_good() {
                continue;
            }
            let is_event = sample.flags.contains(SampleFlags::EVENT);
            let may_repeat = self.interface_of(sample.item).is_some_and(|number| {
                // Whoever waits for receipts gives again what got none.
                self.interfaces[number].port.accepting.is_used()
            });
            let entry = RingEntry {
                item: sample.item,
                value: sample.value.clone(),
                source: sample.source.or(sample.server),
                received: now,
                is_event,
                may_repeat,
            };
            let ring = &mut self.replication.ring;
            if !is_event && self.table.read(sample.item).value.is_same(&sample.value) {
                ring.hear_shown(entry);
            } else if may_repeat || self.replication.hearing == Hearing::Keeps {
                ring.push(entry);
            } else {
                ring.hear(&entry);
            }
        }
        Placed::Heard
    }
}

fn flags_if(is_so: bool, flags: SampleFlags) -> SampleFlags {
    if is_so { flags } else { SampleFlags::default() }
}
