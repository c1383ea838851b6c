//! What both sides of a split heard is one telegram with two places: the one that is taken in is marked, and not shown.
//!
//! That happens on hot interfaces, which every node hears: what the lost side had journaled last and the other one replayed
//! from its ring, and all of what both heard while each was active alone. The history of the active node says which have a
//! twin there ([`Reader::twins`](twinhub_history::Reader::twins)); it also knows of what the journal has dropped since. With
//! the mark in the record, every node's history comes to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use twinhub_history::{Fork, Telegram};
use twinhub_model::{Epoch, Merged, Position, Record, Sample, SampleFlags};
use twinhub_replica::{EntryBatch, Page};

use super::taking::{ANSWER_MAX, Stage, Wait};
use crate::clock;
use crate::engine::Engine;
use crate::history::{Twins, TwinsAsk};
use crate::instance::Hears;

/// What two nodes hear at once they journal within this time of each other, also while one is busy; the difference of their
/// clocks is added.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A sample: the place that its record was given with, and its number in it.
pub(super) type Marks = BTreeSet<(Position, usize)>;

/// What was given, until the history has answered.
#[derive(Debug)]
pub(super) struct Looking {
    pub(super) page: Page,
    pub(super) batch: EntryBatch,
    /// Where the telegrams of the question are from.
    places: BTreeMap<Box<str>, Vec<(Position, usize)>>,
}

impl Engine {
    /// Asks the history for twins; gives back what needs no question.
    pub(super) fn look_for_twins(&mut self, page: Page, batch: EntryBatch) -> Option<(Page, EntryBatch)> {
        let mut telegrams: BTreeMap<Box<str>, Vec<Telegram>> = BTreeMap::new();
        let mut places: BTreeMap<Box<str>, Vec<(Position, usize)>> = BTreeMap::new();
        let mut epochs: BTreeSet<Epoch> = BTreeSet::new();
        for (at, body) in batch.iter() {
            let Ok(record) = twinhub_wire::record::decode(body) else { continue };
            let (position, record) = place_of(at, record);
            epochs.insert(position.epoch);
            let Record::Samples(samples) = &record else { continue };
            if self.is_taken(position) {
                continue;
            }
            for (number, sample) in
                samples.iter().enumerate().filter(|(_, sample)| self.may_have_twin(sample))
            {
                let key = self.table.key(sample.item);
                let source = sample.source.or(sample.server);
                let telegram = Telegram { source, value: sample.value.clone(), position };
                telegrams.entry(key.into()).or_default().push(telegram);
                places.entry(key.into()).or_default().push((at, number));
            }
        }
        let Some(current) = &mut self.merging.current else { return Some((page, batch)) };
        if telegrams.is_empty() {
            return Some((page, batch));
        }
        let ask = TwinsAsk {
            group: self.group.clone(),
            after: self.journal.last(),
            fork: Fork { common: current.id.common, epochs: epochs.into_iter().collect() },
            tolerance: TOLERANCE + self.shared.clock_difference(),
            telegrams,
            number: current.number,
        };
        let lines = self.lines.as_ref();
        if !lines.is_some_and(|lines| lines.find_twins(ask)) {
            // No values are kept here.
            return Some((page, batch));
        }
        current.stage = Stage::Twins;
        current.wait = Wait::Answer(clock::now() + ANSWER_MAX);
        current.looking = Some(Looking { page, batch, places });
        None
    }

    /// The history has answered.
    pub(crate) fn on_twins(&mut self, number: u32, twins: &Twins) {
        let Some(current) = self.expected(None, number, Stage::Twins) else { return };
        let Some(Looking { page, batch, places }) = current.looking.take() else { return };
        current.stage = Stage::Records;
        let marks = twins.iter().flat_map(|(item, numbers)| {
            let places = places.get(item);
            numbers.iter().filter_map(move |number| places?.get(*number).copied())
        });
        let marks = marks.collect();
        self.take_given(clock::now(), &page, &batch, &marks);
    }

    /// Whether every node hears its telegrams.
    fn may_have_twin(&self, sample: &Sample) -> bool {
        let is_telegram = sample.quality.is_good()
            && !sample.flags.contains(SampleFlags::QUALITY_ONLY)
            && !sample.flags.contains(SampleFlags::TWIN);
        let interface = self.interface_of(sample.item).filter(|_| is_telegram);
        interface.is_some_and(|number| self.interfaces[number].port.setup.hears == Hears::TheSame)
    }
}

/// The record without what says that it came from a third node, and where it stood first.
pub(crate) fn place_of(at: Position, record: Record) -> (Position, Record) {
    match record {
        Record::Merged(Merged { origin, record }) => (origin, *record),
        Record::Dictionary(_)
        | Record::Samples(_)
        | Record::Intent(_)
        | Record::Result(_)
        | Record::Delivered(_)
        | Record::Role(_)
        | Record::Event(_)
        | Record::Part(_) => (at, record),
    }
}

/// The record with twins marked.
pub(super) fn marked(at: Position, record: Record, marks: &Marks) -> Record {
    let mut of_record = marks.range((at, 0)..=(at, usize::MAX)).peekable();
    match record {
        Record::Samples(samples) if of_record.peek().is_some() => {
            let mut samples = samples.to_vec();
            for (_, number) in of_record {
                if let Some(sample) = samples.get_mut(*number) {
                    sample.flags = sample.flags.with(SampleFlags::TWIN);
                }
            }
            Record::Samples(samples.into())
        }
        Record::Samples(_)
        | Record::Dictionary(_)
        | Record::Intent(_)
        | Record::Result(_)
        | Record::Delivered(_)
        | Record::Role(_)
        | Record::Event(_)
        | Record::Part(_)
        | Record::Merged(_) => record,
    }
}
