//! Streams: the journal is their store, a journaled cursor says how far they were delivered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use twinhub_contract::code;
use twinhub_loader::WriteReq;
use twinhub_model::{Delivered, ItemId, Moment, Position, Record, Sample, Value};

use super::Engine;
use super::effect::{is_carried, to_contract};
use crate::clock;
use crate::inbox::STREAM_BIT;

/// Values of one stream under way; above, the stream falls behind and reads on from the journal.
const STREAM_VALUES_MAX: usize = 32_768;

/// Bytes read from the journal at once for a stream that is behind.
const STREAM_READ_BYTES: usize = 256 * 1024;

/// A stream whose sink refused waits this long.
const STREAM_RETRY: Duration = Duration::from_millis(250);

/// Cursors are journaled at most this often.
pub(crate) const CURSOR_INTERVAL: Duration = Duration::from_millis(20);

/// One stream: all values that links carry to one interface.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) cursor: Position,
    pub(crate) behind: bool,
    pub(crate) retry_at: Moment,
    next_batch: u64,
    batches: VecDeque<Batch>,
    values: usize,
    pub(crate) journaled: Position,
    pub(crate) journaled_at: Moment,
    /// Whether the sink still has to be asked what it shows.
    wants_cover: bool,
    /// What the sink showed at the takeover, until the first delivery of each item.
    cover: HashMap<u32, Value>,
    /// Values that the sink already showed.
    pub(crate) covered: u64,
    /// Whether the journal lacked something of this epoch's: then nothing says that the sink had it.
    has_gap: bool,
}

#[derive(Debug)]
struct Batch {
    id: u64,
    before: Position,
    left: usize,
}

impl Stream {
    pub(crate) fn new() -> Stream {
        Stream {
            cursor: Position::START,
            behind: false,
            retry_at: Moment::ZERO,
            next_batch: 0,
            batches: VecDeque::new(),
            values: 0,
            journaled: Position::START,
            journaled_at: Moment::ZERO,
            wants_cover: false,
            cover: HashMap::new(),
            covered: 0,
            has_gap: false,
        }
    }

    /// Starts over at what was delivered for sure.
    pub(crate) fn resume(&mut self, cursor: Position) {
        *self = Stream {
            cursor,
            behind: true,
            journaled: cursor,
            wants_cover: true,
            covered: self.covered,
            ..Stream::new()
        };
    }

    pub(crate) fn through(&self) -> Position {
        self.batches.front().map_or(self.cursor, |batch| batch.before)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }
}

impl Engine {
    pub(crate) fn stream_values(
        &mut self,
        target: usize,
        position: Position,
        values: &[(ItemId, Value)],
        now: Moment,
    ) {
        let may_write = self.may_write(target, now);
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if stream.behind {
            return;
        }
        if !may_write || stream.values + values.len() > STREAM_VALUES_MAX {
            stream.behind = true;
            return;
        }
        self.dispatch_stream(target, position, values, now);
    }

    /// Hands values of one journal record to a stream's plugin and moves the cursor past the record.
    fn dispatch_stream(
        &mut self,
        target: usize,
        position: Position,
        values: &[(ItemId, Value)],
        now: Moment,
    ) {
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let before = stream.cursor;
        stream.cursor = stream.cursor.max(position);
        if stream.cover.is_empty() {
            return self.hand_over(target, before, values, now);
        }
        let is_news = |(item, value): &&(ItemId, Value)| {
            let is_shown = stream.cover.remove(&item.0).is_some_and(|shown| shown.is_equivalent(value));
            stream.covered += u64::from(is_shown);
            !is_shown
        };
        let news: Vec<_> = values.iter().filter(is_news).cloned().collect();
        self.hand_over(target, before, &news, now);
    }

    /// Hands values to a stream's plugin; `before` is where the cursor goes back to if it does not take them.
    fn hand_over(&mut self, target: usize, before: Position, values: &[(ItemId, Value)], now: Moment) {
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if values.is_empty() {
            return;
        }
        let id = stream.next_batch & 0xffff_ffff;
        stream.next_batch += 1;
        stream.batches.push_back(Batch { id, before, left: values.len() });
        stream.values += values.len();
        let setup = &self.interfaces[target].port.setup;
        let deadline_ns = clock::contract_deadline(now + setup.write_timeout);
        let batch_bits = STREAM_BIT | (target as u64) << 48 | id << 16;
        let requests = values.iter().enumerate().map(|(place, (item, value))| WriteReq {
            write_id: batch_bits | place as u64 & 0xffff,
            item: item.0 - setup.base,
            deadline_ns,
            flags: 0,
            value: to_contract(value),
        });
        if let Err(refusal) = self.write_gated(target, requests) {
            self.rewind_stream(target, id, refusal);
        }
    }

    /// Takes `count` equal answers to writes of one batch.
    pub(crate) fn on_stream_written(&mut self, id: u64, result: i32, count: usize) {
        let target = usize::try_from(id >> 48 & 0x7fff).unwrap_or(usize::MAX);
        let batch_id = id >> 16 & 0xffff_ffff;
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let Some(place) = stream.batches.iter().position(|batch| batch.id == batch_id) else { return };
        if result == code::OK || is_final(result) {
            if result != code::OK {
                self.counters.dropped_stream_values += count as u64;
            }
            stream.values = stream.values.saturating_sub(count);
            // A plugin that answers a write twice must not make the count wrap.
            stream.batches[place].left = stream.batches[place].left.saturating_sub(count);
            while stream.batches.front().is_some_and(|batch| batch.left == 0) {
                stream.batches.pop_front();
            }
        } else {
            self.rewind_stream(target, batch_id, result);
        }
    }

    /// Goes back to before a batch that the sink did not take.
    fn rewind_stream(&mut self, target: usize, batch_id: u64, refusal: i32) {
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let Some(place) = stream.batches.iter().position(|batch| batch.id == batch_id) else { return };
        stream.cursor = stream.batches[place].before;
        for batch in stream.batches.drain(place..) {
            stream.values = stream.values.saturating_sub(batch.left);
        }
        stream.behind = true;
        stream.retry_at = clock::now() + STREAM_RETRY;
        tracing::debug!(
            interface = %self.interfaces[target].port.setup.id,
            cause = crate::words::contract_code(refusal),
            "stream waits for its sink"
        );
    }

    /// Lets streams that are behind read on from the journal.
    pub(crate) fn catch_up_streams(&mut self, now: Moment) {
        let targets: Vec<usize> =
            self.streams.iter().filter(|(_, stream)| stream.behind).map(|(target, _)| *target).collect();
        for target in targets {
            self.catch_up_stream(target, now);
        }
    }

    fn catch_up_stream(&mut self, target: usize, now: Moment) {
        if !self.is_acting() || !self.may_write(target, now) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if now < stream.retry_at || stream.values > STREAM_VALUES_MAX / 2 {
            return;
        }
        if std::mem::take(&mut stream.wants_cover) {
            // Not before: until its role was reached, the sink may have had more to show of the node before.
            stream.cover = self.interfaces[target].port.take_mirror();
        }
        let cursor = stream.cursor;
        let (entries, end) = self.read_journal(cursor, STREAM_READ_BYTES);
        let mut per_record: Vec<(Position, Vec<(ItemId, Value)>)> = Vec::new();
        for (position, record) in &entries {
            if let Record::Samples(samples) = record {
                let values = self.stream_part(target, *position, samples, now);
                per_record.push((*position, values));
            }
        }
        self.skip_covered(target, &mut per_record);
        for (position, values) in per_record {
            let Some(stream) = self.streams.get_mut(&target) else { return };
            if now < stream.retry_at {
                return;
            }
            if values.is_empty() {
                stream.cursor = stream.cursor.max(position);
            } else {
                self.dispatch_stream(target, position, &values, now);
            }
        }
        if let Some(resume) = end.resume
            && let Some(stream) = self.streams.get_mut(&target)
            && resume > stream.cursor
        {
            self.counters.stream_gaps += 1;
            stream.cursor = resume;
            stream.has_gap = true;
        }
        if end.caught_up
            && let Some(stream) = self.streams.get_mut(&target)
            && now >= stream.retry_at
        {
            stream.behind = false;
        }
    }

    /// Values of one record that go to one stream.
    fn stream_part(
        &mut self,
        target: usize,
        position: Position,
        samples: &[Sample],
        now: Moment,
    ) -> Vec<(ItemId, Value)> {
        let mut values = Vec::new();
        for (place, sample) in samples.iter().enumerate().filter(|(_, sample)| is_carried(sample)) {
            let mut next = self.routes.first(sample.item);
            while let Some(number) = next {
                next = self.routes.next(number);
                let route = self.routes.get(number);
                if !route.way.stream || route.way.target != target || self.leaves_out(number, position, place)
                {
                    continue;
                }
                let to = route.to;
                if let Some(value) = self.routes.pass(number, &sample.value, position, now) {
                    values.push((to, value));
                }
            }
        }
        values
    }

    /// Whether a stream leaves out what was read anew after a takeover and shows nothing new: the stream had it, or reads
    /// it where it stood first. A sink without a mirror says neither.
    pub(crate) fn leaves_out(&self, route: u32, position: Position, place: usize) -> bool {
        let way = &self.routes.get(route).way;
        way.stream
            && self.routes.is_repeat(route, position, place)
            && self.streams.get(&way.target).is_some_and(|stream| !stream.has_gap)
    }

    /// Leaves out what the sink showed at the takeover: of each item everything up to the last value that
    /// equals the mirror.
    fn skip_covered(&mut self, target: usize, records: &mut [(Position, Vec<(ItemId, Value)>)]) {
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if stream.cover.is_empty() {
            return;
        }
        let mut last_shown: HashMap<u32, (usize, usize)> = HashMap::new();
        for (record, (_, values)) in records.iter().enumerate() {
            for (place, (item, value)) in values.iter().enumerate() {
                if stream.cover.get(&item.0).is_some_and(|shown| shown.is_equivalent(value)) {
                    last_shown.insert(item.0, (record, place));
                }
            }
        }
        for (record, (_, values)) in records.iter_mut().enumerate() {
            let mut place = 0;
            values.retain(|(item, _)| {
                let shown = last_shown.get(&item.0).is_some_and(|last| (record, place) <= *last);
                place += 1;
                stream.covered += u64::from(shown);
                !shown
            });
        }
        for item in last_shown.keys() {
            stream.cover.remove(item);
        }
    }

    /// Journals how far streams were delivered.
    pub(crate) fn journal_cursors(&mut self, now: Moment, at_once: bool) {
        let mut moved = Vec::new();
        for (target, stream) in &mut self.streams {
            let through = stream.through();
            if through > stream.journaled && (at_once || now >= stream.journaled_at + CURSOR_INTERVAL) {
                stream.journaled = through;
                stream.journaled_at = now;
                moved.push(Delivered { consumer: u32::try_from(*target).unwrap_or(u32::MAX), through });
            }
        }
        for delivered in moved {
            self.append(&Record::Delivered(delivered));
        }
    }
}

/// Whether a stream's sink will never take this value.
fn is_final(result: i32) -> bool {
    matches!(result, code::INVALID | code::UNSUPPORTED)
}
