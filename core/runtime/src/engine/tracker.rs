//! What the journal says about commands and streams. Built from records alone, in the same way on the active
//! node and on every standby, so that a successor knows what was asked, what was done and what is in doubt.
//!
//! A stream is known by the name of its interface. A node of a version that knows no names says its number, the place in
//! the configuration: that is the name which had the number last, if one had it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use twinhub_model::{
    Delivered, Intent, IntentId, ItemId, NamedStream, Outcome, Position, Record, Sample, Value, WriteResult,
};

use super::parts::is_placeholder;

/// Commands without a result that are kept; older ones are in doubt for good.
const OPEN_INTENTS_MAX: usize = 65_536;

/// The last command for an item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LastCommand {
    pub(crate) intent: IntentId,
    pub(crate) cause: Position,
    pub(crate) value: Value,
    pub(crate) outcome: Option<Outcome>,
}

/// How far a stream was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// By which it was known last; none if another one has it.
    number: Option<u32>,
    pub(crate) through: Position,
    pub(crate) wants_picture: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    open: BTreeMap<IntentId, Intent>,
    last: BTreeMap<ItemId, LastCommand>,
    /// Of modules, and of streams that have no name yet.
    delivered: BTreeMap<u32, Position>,
    streams: BTreeMap<Arc<str>, Cursor>,
    sources: BTreeMap<ItemId, Position>,
    /// Items whose last record matters: sources of command links.
    watched: std::collections::BTreeSet<ItemId>,
}

impl Tracker {
    /// A tracker that remembers where the last sample of each of these items stands.
    pub(crate) fn new(watched: impl IntoIterator<Item = ItemId>) -> Tracker {
        Tracker { watched: watched.into_iter().collect(), ..Tracker::default() }
    }

    /// Forgets everything, before a snapshot.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.last.clear();
        self.delivered.clear();
        self.streams.clear();
        self.sources.clear();
    }

    /// Takes note of a record at its place in the journal.
    pub(crate) fn apply(&mut self, position: Position, record: &Record) {
        match record {
            Record::Samples(samples) => self.apply_samples(position, &**samples),
            Record::Intent(intent) => {
                self.last.insert(
                    intent.item,
                    LastCommand {
                        intent: position,
                        cause: intent.cause,
                        value: intent.value.clone(),
                        outcome: None,
                    },
                );
                self.open.insert(position, intent.clone());
                if self.open.len() > OPEN_INTENTS_MAX {
                    self.open.pop_first();
                }
            }
            Record::Result(WriteResult { intent, outcome }) => {
                if let Some(opened) = self.open.remove(intent)
                    && let Some(last) = self.last.get_mut(&opened.item)
                    && last.intent == *intent
                {
                    last.outcome = Some(*outcome);
                }
            }
            Record::Delivered(_) if is_placeholder(record) => {}
            Record::Delivered(delivered) => self.apply_delivered(delivered),
            Record::Dictionary(_)
            | Record::Role(_)
            | Record::Event(_)
            | Record::Part(_)
            | Record::Merged(_) => {}
        }
    }

    fn apply_delivered(&mut self, delivered: &Delivered) {
        let Delivered { consumer, through, stream } = delivered;
        let number = Some(*consumer).filter(|number| *number != Delivered::NOBODY);
        let holder = self.streams.iter_mut().find(|(_, cursor)| number.is_some() && cursor.number == number);
        match (stream, holder) {
            (Some(stream), _) if *through == Position::START => {
                self.streams.remove(&stream.interface);
            }
            (Some(NamedStream { interface, wants_picture }), holder) => {
                if let Some((_, cursor)) = holder {
                    cursor.number = None;
                }
                self.delivered.remove(consumer);
                let cursor = Cursor { number, through: *through, wants_picture: *wants_picture };
                self.streams.insert(Arc::clone(interface), cursor);
            }
            (None, Some((_, cursor))) => cursor.through = *through,
            (None, None) if *through == Position::START => {
                self.delivered.remove(consumer);
            }
            (None, None) => {
                self.delivered.insert(*consumer, *through);
            }
        }
    }

    /// Takes note of samples at their place in the journal.
    pub(crate) fn apply_samples(
        &mut self,
        position: Position,
        samples: impl IntoIterator<Item: Borrow<Sample>>,
    ) {
        if self.watched.is_empty() {
            return;
        }
        for sample in samples {
            let sample = sample.borrow();
            if self.watched.contains(&sample.item) {
                self.sources.insert(sample.item, position);
            }
        }
    }

    /// Commands without a result, in journal order.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&IntentId, &Intent)> {
        self.open.iter()
    }

    /// Whether this command has no result.
    pub(crate) fn is_open(&self, intent: IntentId) -> bool {
        self.open.contains_key(&intent)
    }

    /// The last command for an item.
    pub(crate) fn last(&self, item: ItemId) -> Option<&LastCommand> {
        self.last.get(&item)
    }

    /// Where the last sample of a watched item stands.
    pub(crate) fn source(&self, item: ItemId) -> Option<Position> {
        self.sources.get(&item).copied()
    }

    /// How far a stream was delivered, by its interface, or else by its number if no name has that; none if it never began.
    pub(crate) fn stream(&self, interface: &str, number: u32) -> Option<Cursor> {
        let by_number = || self.delivered.get(&number).copied();
        self.streams.get(interface).copied().or_else(|| {
            by_number().map(|through| Cursor { number: Some(number), through, wants_picture: false })
        })
    }

    /// Streams whose interface is none of these, the one that is the least far first.
    pub(crate) fn other_streams(&self, is_here: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let others = self.streams.iter().filter(|(interface, _)| !is_here(interface));
        let mut others: Vec<(Position, Arc<str>)> =
            others.map(|(interface, cursor)| (cursor.through, Arc::clone(interface))).collect();
        others.sort();
        others.into_iter().map(|(_, interface)| interface).collect()
    }

    /// Numbers below this one that are known and no name has.
    pub(crate) fn nameless(&self, end: u32) -> Vec<u32> {
        self.delivered.range(..end).map(|(number, _)| *number).collect()
    }

    /// How far a module was given values.
    pub(crate) fn delivered(&self, consumer: u32) -> Position {
        self.delivered.get(&consumer).copied().unwrap_or(Position::START)
    }

    /// The tracker as records, for a node that starts from a snapshot.
    pub(crate) fn records(&self) -> Vec<(Position, Record)> {
        let mut records = Vec::new();
        for (item, last) in &self.last {
            if !self.open.contains_key(&last.intent) {
                let intent = Intent {
                    item: *item,
                    value: last.value.clone(),
                    kind: twinhub_model::IntentKind::Set,
                    cause: last.cause,
                    origin: "snapshot".into(),
                    deadline: twinhub_model::Timestamp::NONE,
                };
                records.push((last.intent, Record::Intent(intent)));
                let outcome = last.outcome.unwrap_or(Outcome::InDoubt);
                records.push((last.intent, Record::Result(WriteResult { intent: last.intent, outcome })));
            }
        }
        records
            .extend(self.open.iter().map(|(position, intent)| (*position, Record::Intent(intent.clone()))));
        let by_number = self.delivered.iter();
        let by_number = by_number.map(|(consumer, through)| Delivered::by_number(*consumer, *through));
        let by_name = self.streams.iter().map(|(interface, cursor)| Delivered {
            consumer: cursor.number.unwrap_or(Delivered::NOBODY),
            through: cursor.through,
            stream: Some(NamedStream {
                interface: Arc::clone(interface),
                wants_picture: cursor.wants_picture,
            }),
        });
        let cursors = by_number.chain(by_name);
        records.extend(cursors.map(|delivered| (delivered.through, Record::Delivered(delivered))));
        records
    }

    /// Where watched items stand, for a node that starts from a snapshot.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (ItemId, Position)> + '_ {
        self.sources.iter().map(|(item, position)| (*item, *position))
    }

    /// Takes note of where a watched item stands.
    pub(crate) fn set_source(&mut self, item: ItemId, position: Position) {
        if self.watched.contains(&item) {
            self.sources.insert(item, position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinhub_model::{Epoch, IntentKind, NodeRank, Quality, SampleFlags, Timestamp};

    fn at(seq: u64) -> Position {
        Position::new(Epoch::new(1, NodeRank(0)), seq)
    }

    fn intent(item: u32, value: u64, cause: Position) -> Record {
        Record::Intent(Intent {
            item: ItemId(item),
            value: Value::U64(value),
            kind: IntentKind::Set,
            cause,
            origin: "link:0".into(),
            deadline: Timestamp::NONE,
        })
    }

    fn result(seq: u64, outcome: Outcome) -> Record {
        Record::Result(WriteResult { intent: at(seq), outcome })
    }

    #[test]
    fn a_command_without_result_is_open_for_the_successor() {
        let mut tracker = Tracker::default();
        tracker.apply(at(1), &intent(7, 41, Position::START));
        tracker.apply(at(2), &result(1, Outcome::Done));
        tracker.apply(at(3), &intent(7, 42, Position::START));
        assert_eq!(tracker.open().map(|(at, _)| *at).collect::<Vec<_>>(), [at(3)]);
        assert_eq!(tracker.last(ItemId(7)).unwrap().outcome, None);
    }

    #[test]
    fn a_snapshot_of_a_tracker_gives_the_same_tracker() {
        let mut tracker = Tracker::new([ItemId(3)]);
        let sample = Sample {
            item: ItemId(3),
            value: Value::U64(1),
            quality: Quality::GOOD,
            source: Timestamp::NONE,
            server: Timestamp::NONE,
            flags: SampleFlags::default(),
        };
        tracker.apply(at(1), &Record::Samples(vec![sample].into()));
        tracker.apply(at(2), &intent(7, 41, at(1)));
        tracker.apply(at(3), &intent(8, 5, at(1)));
        tracker.apply(at(4), &result(2, Outcome::Done));
        tracker.apply(at(5), &Record::Delivered(Delivered::by_number(1, at(1))));
        tracker.apply(at(6), &stream(4, "mqtt", at(5), true));
        tracker.apply(at(7), &stream(4, "log", at(6), false));
        let mut copy = Tracker::new([ItemId(3)]);
        for (position, record) in tracker.records() {
            copy.apply(position, &record);
        }
        for (item, position) in tracker.sources() {
            copy.set_source(item, position);
        }
        assert_eq!(copy.last(ItemId(7)), tracker.last(ItemId(7)));
        assert_eq!(copy.open().collect::<Vec<_>>(), tracker.open().collect::<Vec<_>>());
        assert_eq!((copy.delivered(1), copy.source(ItemId(3))), (at(1), Some(at(1))));
        assert_eq!(copy.streams, tracker.streams);
    }

    #[test]
    fn a_stream_keeps_its_cursor_when_another_one_has_its_number() {
        let mut tracker = Tracker::default();
        tracker.apply(at(1), &stream(0, "mqtt", at(1), false));
        tracker.apply(at(2), &stream(0, "log", at(2), false));
        assert_eq!(through(&tracker, "mqtt", 1), Some(at(1)));
        assert_eq!(through(&tracker, "log", 0), Some(at(2)));
        assert_eq!(through(&tracker, "other", 0), None, "the number has a name");
    }

    #[test]
    fn what_a_node_says_that_knows_no_names_is_of_the_stream_that_had_the_number_last() {
        let mut tracker = Tracker::default();
        tracker.apply(at(1), &Record::Delivered(Delivered::by_number(0, at(1))));
        assert_eq!(through(&tracker, "mqtt", 0), Some(at(1)), "a journal of that version");
        tracker.apply(at(2), &stream(0, "mqtt", at(2), true));
        tracker.apply(at(3), &Record::Delivered(Delivered::by_number(0, at(3))));
        assert_eq!(through(&tracker, "mqtt", 5), Some(at(3)));
        assert!(tracker.stream("mqtt", 5).unwrap().wants_picture, "that node gave none");
    }

    #[test]
    fn a_cursor_at_the_start_forgets_a_stream() {
        let mut tracker = Tracker::default();
        tracker.apply(at(1), &stream(0, "mqtt", at(1), false));
        tracker.apply(at(2), &Record::Delivered(Delivered::by_number(3, at(2))));
        tracker.apply(at(3), &stream(Delivered::NOBODY, "mqtt", Position::START, false));
        tracker.apply(at(4), &Record::Delivered(Delivered::by_number(3, Position::START)));
        assert_eq!((through(&tracker, "mqtt", 0), through(&tracker, "log", 3)), (None, None));
        assert_eq!(tracker.records(), []);
    }

    fn stream(consumer: u32, interface: &str, through: Position, wants_picture: bool) -> Record {
        let stream = Some(NamedStream { interface: interface.into(), wants_picture });
        Record::Delivered(Delivered { consumer, through, stream })
    }

    fn through(tracker: &Tracker, interface: &str, number: u32) -> Option<Position> {
        tracker.stream(interface, number).map(|cursor| cursor.through)
    }
}
