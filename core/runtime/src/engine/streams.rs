//! Streams: the journal is their store, a journaled cursor says how far they were delivered.
//!
//! ```text
//! no cursor: the journal's end is one -> picture (each item once, SNAPSHOT) -> what comes
//! cursor:    what comes behind it
//! ```
//! A cursor is known by the name of the stream's interface, whatever place that has in the configuration; an interface with
//! another name is another stream. Beside the name stands the number, the place, for nodes of a version that knows no names
//! and in whose journals there are none ([`super::tracker`]).
//!
//! A stream without a cursor **begins**: what the journal has is history and no news. Its end is journaled as the cursor
//! before anything else follows, so that a successor goes on there, with the note that a picture is wanted, until the sink
//! has that. A successor that finds the note makes a picture of its own, which comes behind what the journal has since the
//! cursor, without the items that came there. On a new site nothing has a value when streams begin: there is no picture,
//! and all that comes is news.
//!
//! A cursor whose interface is not configured is kept for a while ([`cursors::ABSENT_KEPT`], [`cursors::ABSENT_MAX`]), then
//! forgotten by a record that says so; an interface of that name then begins anew. One that the journal no longer has,
//! because old records were deleted, is journaled again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use twinhub_contract::code;
use twinhub_loader::WriteReq;
use twinhub_model::{ItemId, Moment, Position, Record, Sample, SampleFlags, Value};

use super::Engine;
use super::effect::{is_carried, to_contract};
use crate::clock;
use crate::inbox::STREAM_BIT;
use cursors::Noted;
use picture::Picture;

pub(crate) mod cursors;
mod picture;

/// Values of one stream under way; above, the stream falls behind and reads on from the journal.
const STREAM_VALUES_MAX: usize = 32_768;

/// Bytes read from the journal at once for a stream that is behind.
const STREAM_READ_BYTES: usize = 256 * 1024;

/// A stream whose sink refused waits this long.
const STREAM_RETRY: Duration = Duration::from_millis(250);

/// One stream: all values that links carry to one interface.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) cursor: Position,
    pub(crate) behind: bool,
    pub(crate) retry_at: Moment,
    next_batch: u64,
    batches: VecDeque<Batch>,
    values: usize,
    noted: Noted,
    /// Until the sink has it.
    picture: Option<Picture>,
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
    /// Of the picture, from this value on.
    picture: Option<usize>,
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
            noted: Noted::default(),
            picture: None,
            wants_cover: false,
            cover: HashMap::new(),
            covered: 0,
            has_gap: false,
        }
    }

    /// Starts over at what was delivered for sure.
    fn resume(&mut self, cursor: Position, picture: Option<Picture>) {
        *self = Stream {
            cursor,
            behind: true,
            wants_cover: true,
            covered: self.covered,
            // A late answer is about none of the batches that follow.
            next_batch: self.next_batch,
            picture,
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
            return self.hand_over(target, before, values, None, now);
        }
        let is_news = |(item, value): &&(ItemId, Value)| {
            let is_shown = stream.cover.remove(&item.0).is_some_and(|shown| shown.is_equivalent(value));
            stream.covered += u64::from(is_shown);
            !is_shown
        };
        let news: Vec<_> = values.iter().filter(is_news).cloned().collect();
        self.hand_over(target, before, &news, None, now);
    }

    /// Hands values to a stream's plugin; `before` is where the cursor goes back to if it does not take them, `picture`
    /// which value of the picture is the first.
    fn hand_over(
        &mut self,
        target: usize,
        before: Position,
        values: &[(ItemId, Value)],
        picture: Option<usize>,
        now: Moment,
    ) {
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if values.is_empty() {
            return;
        }
        let id = stream.next_batch & 0xffff_ffff;
        stream.next_batch += 1;
        stream.batches.push_back(Batch { id, before, left: values.len(), picture });
        stream.values += values.len();
        let flags = if picture.is_some() { SampleFlags::SNAPSHOT } else { SampleFlags::default() };
        let setup = &self.interfaces[target].port.setup;
        let deadline_ns = clock::contract_deadline(now + setup.write_timeout);
        let batch_bits = STREAM_BIT | (target as u64) << 48 | id << 16;
        let requests = values.iter().enumerate().map(|(place, (item, value))| WriteReq {
            write_id: batch_bits | place as u64 & 0xffff,
            item: item.0 - setup.base,
            deadline_ns,
            flags: flags.0,
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
            stream.end_picture();
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
            if let (Some(first), Some(picture)) = (batch.picture, &mut stream.picture) {
                picture.given = picture.given.min(first);
            }
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
        if !self.has_begun_inputs() || !self.may_write(target, now) {
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
        if !self.show_picture(target, now) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let cursor = stream.cursor;
        // The picture comes between what the stream missed and what comes.
        let until = stream.picture.as_ref().map(|picture| picture.at).filter(|at| cursor < *at);
        let is_wanted = |position: Position| until.is_none_or(|until| position <= until);
        let (entries, end) = self.read_journal(cursor, STREAM_READ_BYTES);
        let mut per_record: Vec<(Position, Vec<(ItemId, Value)>)> = Vec::new();
        for (position, record) in entries.iter().take_while(|(position, _)| is_wanted(*position)) {
            if let Record::Samples(samples) = record {
                let values = self.stream_part(target, *position, samples, now);
                per_record.push((*position, values));
            }
        }
        if until.is_some()
            && let Some(stream) = self.streams.get_mut(&target)
        {
            stream.leave_out_of_picture(&per_record);
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
        let Some(stream) = self.streams.get_mut(&target) else { return };
        if now < stream.retry_at {
            return;
        }
        // Also past what is no value: there may be more of that than is read at once.
        stream.cursor = stream.cursor.max(until.map_or(end.through, |until| end.through.min(until)));
        if let Some(resume) = end.resume.filter(|resume| *resume > stream.cursor) {
            self.counters.stream_gaps += 1;
            stream.cursor = resume;
            stream.has_gap = true;
        }
        stream.behind = !end.caught_up || until.is_some();
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
}

/// Whether a stream's sink will never take this value.
fn is_final(result: i32) -> bool {
    matches!(result, code::INVALID | code::UNSUPPORTED)
}
