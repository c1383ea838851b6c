//! The way out: commands with an intent, streams with a cursor.
//!
//! A **command** is journaled before it is written and its result after. At most one per item is under way;
//! of those that set a state only the newest waits. With a standby in sync an intent waits for the standby's
//! disk, at most [`PEER_WAIT_MAX`].
//!
//! A **stream** (values published to a broker, say) has no intent per value: the journal is its store, the
//! cursor `Delivered` is journaled as confirmations come in, and a stream that cannot keep up, or a
//! successor, reads on from the cursor. What the sink already shows (the mirror) is not delivered again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_contract::code;
use twinhub_loader::{ValueOut, WriteReq};
use twinhub_model::{
    Delivered, Intent, IntentId, IntentKind, ItemId, Moment, Outcome, Position, Record, Sample, Value,
    WriteResult,
};

use super::{Engine, Phase};
use crate::clock;
use crate::error::CommandError;
use crate::inbox::Command;
use crate::instance::{Guard, explain};
use crate::view::WriteView;

/// How long an intent waits for a standby's disk before it is written all the same.
pub(crate) const PEER_WAIT_MAX: Duration = Duration::from_millis(100);
/// Values of one stream under way; above, the stream falls behind and reads on from the journal.
const STREAM_VALUES_MAX: usize = 32_768;
/// Bytes read from the journal at once for a stream that is behind.
const STREAM_READ_BYTES: usize = 256 * 1024;
/// A stream whose sink refused waits this long.
const STREAM_RETRY: Duration = Duration::from_millis(250);
/// Cursors are journaled at most this often.
const CURSOR_INTERVAL: Duration = Duration::from_millis(20);
/// Steps for one item that may wait.
const STEPS_MAX: usize = 256;
/// A plugin that answers this much after the write's own deadline has lost it.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

const STREAM_BIT: u64 = 1 << 63;

type Reply = oneshot::Sender<Result<WriteView, CommandError>>;

/// Commands of a group.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    next_id: u64,
    /// Per item: what is under way.
    busy: HashMap<ItemId, IntentId>,
    /// Per item: what comes next.
    waiting: HashMap<ItemId, VecDeque<Wanted>>,
    /// Intents that wait for a standby's disk, in journal order.
    unconfirmed: VecDeque<(Ready, Moment)>,
    /// Intents that wait for the guard or for their interface.
    held: VecDeque<Ready>,
    /// Under way in a plugin, by write number.
    pub(crate) sent: HashMap<u64, Sent>,
}

#[derive(Debug)]
struct Wanted {
    value: Value,
    kind: IntentKind,
    cause: Position,
    origin: Arc<str>,
    reply: Option<Reply>,
}

#[derive(Debug)]
struct Ready {
    intent: IntentId,
    item: ItemId,
    value: Value,
    reply: Option<Reply>,
}

#[derive(Debug)]
pub(crate) struct Sent {
    intent: IntentId,
    item: ItemId,
    reply: Option<Reply>,
    lost_at: Moment,
}

/// One stream: all values that links carry to one interface.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) cursor: Position,
    behind: bool,
    retry_at: Moment,
    next_batch: u64,
    batches: VecDeque<Batch>,
    values: usize,
    journaled: Position,
    journaled_at: Moment,
    /// What the sink showed at the takeover, until the first delivery of each item.
    cover: HashMap<u32, Value>,
    /// Values that the sink already showed.
    pub(crate) covered: u64,
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
            cover: HashMap::new(),
            covered: 0,
        }
    }

    /// Starts over at what was delivered for sure.
    pub(crate) fn resume(&mut self, cursor: Position, cover: HashMap<u32, Value>) {
        *self =
            Stream { cursor, behind: true, journaled: cursor, cover, covered: self.covered, ..Stream::new() };
    }

    fn through(&self) -> Position {
        self.batches.front().map_or(self.cursor, |batch| batch.before)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }
}

impl Engine {
    /// Takes a command from the API.
    pub(crate) fn on_command(&mut self, command: Command) {
        let Command { item, value, origin, reply } = command;
        if !self.is_acting() {
            let refusal = self.not_active();
            drop(reply.send(Err(refusal)));
            return;
        }
        self.command(
            item,
            Wanted {
                value,
                kind: IntentKind::Set,
                cause: Position::START,
                origin: origin.into(),
                reply: Some(reply),
            },
        );
    }

    fn command(&mut self, item: ItemId, wanted: Wanted) {
        if self.commands.busy.contains_key(&item) {
            let queue = self.commands.waiting.entry(item).or_default();
            if wanted.kind == IntentKind::Set {
                let (superseded, steps) = std::mem::take(queue)
                    .into_iter()
                    .partition(|other: &Wanted| other.kind == IntentKind::Set);
                *queue = steps;
                let superseded: VecDeque<Wanted> = superseded;
                for old in superseded {
                    self.counters.superseded += 1;
                    answer(
                        old.reply,
                        Err(CommandError::Refused { why: "a newer command took its place".into() }),
                    );
                }
            } else if queue.len() >= STEPS_MAX {
                self.counters.dropped_commands += 1;
                answer(wanted.reply, Err(CommandError::Busy));
                return;
            }
            queue.push_back(wanted);
            return;
        }
        let Wanted { value, kind, cause, origin, reply } = wanted;
        let deadline = clock::utc();
        let intent = Intent { item, value: value.clone(), kind, cause, origin, deadline };
        let Some(position) = self.append(&Record::Intent(intent)) else {
            let why = "the journal takes nothing: see the event log".to_owned();
            answer(reply, Err(CommandError::Refused { why }));
            return;
        };
        self.commands.busy.insert(item, position);
        let ready = Ready { intent: position, item, value, reply };
        if self.has_standby_in_sync() && self.unanswered_since.is_none() {
            self.commands.unconfirmed.push_back((ready, clock::now() + PEER_WAIT_MAX));
        } else {
            self.counters.unprotected_commands += 1;
            self.commands.held.push_back(ready);
        }
    }

    /// Releases intents that a standby has on disk, or that waited long enough.
    pub(crate) fn release_intents(&mut self, now: Moment) {
        let durable = self.durable_on_standby();
        if self.unanswered_since.is_some_and(|then| durable > then) {
            self.unanswered_since = None;
        }
        while let Some((ready, deadline)) = self.commands.unconfirmed.front() {
            let confirmed = ready.intent <= durable;
            if !confirmed && now < *deadline && self.has_standby_in_sync() {
                break;
            }
            if !confirmed {
                // Commands after this one do not wait until the standby answers again.
                self.unanswered_since = Some(durable);
                self.counters.unprotected_commands += 1;
            }
            if let Some((ready, _)) = self.commands.unconfirmed.pop_front() {
                self.commands.held.push_back(ready);
            }
        }
        if self.commands.held.is_empty() || !self.is_acting() {
            return;
        }
        let held = std::mem::take(&mut self.commands.held);
        let mut batches: HashMap<usize, Vec<(u64, Ready)>> = HashMap::new();
        for ready in held {
            match self.interface_of(ready.item) {
                Some(target) if self.may_write(target, now) => {
                    self.commands.next_id += 1;
                    batches.entry(target).or_default().push((self.commands.next_id, ready));
                }
                Some(_) => self.commands.held.push_back(ready),
                None => self.finish(ready.intent, ready.item, ready.reply, Outcome::Refused(code::INVALID)),
            }
        }
        for (target, batch) in batches {
            self.write_commands(target, batch, now);
        }
    }

    fn write_commands(&mut self, target: usize, batch: Vec<(u64, Ready)>, now: Moment) {
        let port = Arc::clone(&self.interfaces[target].port);
        let deadline = now + port.setup.write_timeout;
        let deadline_ns = clock::contract_deadline(deadline);
        let requests: Vec<WriteReq<'_>> = batch
            .iter()
            .map(|(id, ready)| WriteReq {
                write_id: *id,
                item: ready.item.0 - port.setup.base,
                deadline_ns,
                flags: 0,
                value: to_contract(&ready.value),
            })
            .collect();
        let result = self.write_gated(target, &requests);
        drop(requests);
        for (id, ready) in batch {
            match result {
                Ok(()) => {
                    let Ready { intent, item, reply, .. } = ready;
                    self.commands
                        .sent
                        .insert(id, Sent { intent, item, reply, lost_at: deadline + ANSWER_GRACE });
                }
                Err(refusal) => self.finish(ready.intent, ready.item, ready.reply, outcome_of(refusal)),
            }
        }
    }

    /// The one place where the host hands effects to a plugin: the gate is asked right before.
    fn write_gated(&mut self, target: usize, requests: &[WriteReq<'_>]) -> Result<(), i32> {
        let Some(epoch) = self.acting_epoch() else { return Err(code::NOT_ACTIVE) };
        let interface = &self.interfaces[target];
        let Some(instance) = interface.instance() else { return Err(code::STOPPED) };
        if interface.port.setup.relevant && self.gate.permit(epoch, clock::now()).is_none() {
            interface
                .port
                .counters
                .fenced
                .fetch_add(requests.len() as u64, std::sync::atomic::Ordering::Relaxed);
            return Err(code::STALE_EPOCH);
        }
        match instance.write(epoch.0, requests) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.code),
        }
    }

    /// Takes a plugin's answers.
    pub(crate) fn on_written(&mut self, results: &[(u64, i32)]) {
        for (id, result) in results {
            if is_stream(*id) {
                self.on_stream_written(*id, *result);
            } else if let Some(Sent { intent, item, reply, .. }) = self.commands.sent.remove(id) {
                self.finish(intent, item, reply, outcome_of(*result));
            }
        }
    }

    /// Gives up writes that a plugin never answered.
    pub(crate) fn expire_writes(&mut self, now: Moment) {
        let lost: Vec<u64> =
            self.commands.sent.iter().filter(|(_, sent)| now >= sent.lost_at).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(Sent { intent, item, reply, .. }) = self.commands.sent.remove(&id) {
                self.finish(intent, item, reply, Outcome::InDoubt);
            }
        }
    }

    fn finish(&mut self, intent: IntentId, item: ItemId, reply: Option<Reply>, outcome: Outcome) {
        if self.is_writer() && self.tracker.is_open(intent) {
            self.append(&Record::Result(WriteResult { intent, outcome }));
        }
        self.count_outcome(item, outcome);
        let key = self.table.key(item).to_owned();
        let view = WriteView {
            key,
            intent: intent.to_string(),
            outcome: outcome.to_string(),
            ok: matches!(outcome, Outcome::Done | Outcome::Confirmed),
        };
        let result = match outcome {
            Outcome::Done | Outcome::Confirmed => Ok(view),
            Outcome::Refused(code) => Err(CommandError::Refused { why: explain(code, "") }),
            Outcome::InDoubt => Err(CommandError::Timeout { seconds: self.write_timeout_of(item).as_secs() }),
            Outcome::Fenced => Err(self.not_active()),
            Outcome::Superseded => {
                Err(CommandError::Refused { why: "a newer command took its place".into() })
            }
        };
        answer(reply, result);
        self.commands.busy.remove(&item);
        if !self.is_acting() {
            return;
        }
        if let Some(queue) = self.commands.waiting.get_mut(&item) {
            let next = queue.pop_front();
            if queue.is_empty() {
                self.commands.waiting.remove(&item);
            }
            if let Some(next) = next {
                self.command(item, next);
            }
        }
    }

    /// Whether no command is on its way to a device.
    pub(crate) fn outputs_idle(&self) -> bool {
        self.commands.sent.is_empty() && self.streams.values().all(Stream::is_idle)
    }

    /// Drops what was not handed to a plugin; what was is in doubt until the successor looks.
    pub(crate) fn abandon_commands(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        self.commands.next_id = commands.next_id;
        let refusal = self.not_active();
        let replies = commands
            .waiting
            .into_values()
            .flatten()
            .filter_map(|wanted| wanted.reply)
            .chain(commands.unconfirmed.into_iter().filter_map(|(ready, _)| ready.reply))
            .chain(commands.held.into_iter().filter_map(|ready| ready.reply))
            .chain(commands.sent.into_values().filter_map(|sent| sent.reply));
        for reply in replies {
            answer(Some(reply), Err(refusal.clone()));
        }
    }

    /// Carries new samples along all links.
    pub(crate) fn route(&mut self, position: Position, samples: &[Sample]) {
        let now = clock::now();
        let mut streams: HashMap<usize, Vec<(ItemId, Value)>> = HashMap::new();
        for sample in samples {
            if sample.quality.is_bad() || sample.value == Value::Null {
                continue;
            }
            let mut next = self.routes.first(sample.item);
            while let Some(number) = next {
                next = self.routes.next(number);
                let Some(value) = self.routes.pass(number, &sample.value, position, now) else { continue };
                let route = self.routes.get(number);
                if route.both && self.table.read(route.to).value.is_equivalent(&value) {
                    continue;
                }
                if route.stream {
                    streams.entry(route.target).or_default().push((route.to, value));
                } else {
                    let (to, kind, origin) = (route.to, route.kind, Arc::clone(&route.origin));
                    self.command(to, Wanted { value, kind, cause: position, origin, reply: None });
                }
            }
        }
        for (target, values) in streams {
            self.stream_values(target, position, &values, now);
        }
    }

    /// Sends what a link held back for its smallest interval.
    pub(crate) fn route_due(&mut self, now: Moment) {
        for (number, value, position) in self.routes.due(now) {
            let route = self.routes.get(number);
            if route.stream {
                let (target, to) = (route.target, route.to);
                let cursor = self.streams.get(&target).map_or(position, |stream| stream.cursor);
                self.stream_values(target, cursor, &[(to, value)], now);
            } else {
                let (to, kind, origin) = (route.to, route.kind, Arc::clone(&route.origin));
                self.command(to, Wanted { value, kind, cause: position, origin, reply: None });
            }
        }
    }

    fn stream_values(&mut self, target: usize, position: Position, values: &[(ItemId, Value)], now: Moment) {
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
        let port = Arc::clone(&self.interfaces[target].port);
        let deadline_ns = clock::contract_deadline(now + port.setup.write_timeout);
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let mut fresh: Vec<&(ItemId, Value)> = Vec::with_capacity(values.len());
        for value in values {
            match stream.cover.remove(&value.0.0) {
                Some(shown) if shown.is_equivalent(&value.1) => stream.covered += 1,
                Some(_) | None => fresh.push(value),
            }
        }
        let before = stream.cursor;
        if fresh.is_empty() {
            stream.cursor = stream.cursor.max(position);
            return;
        }
        let id = stream.next_batch;
        stream.next_batch += 1;
        let batch_bits = STREAM_BIT | (target as u64) << 48 | (id & 0xffff_ffff) << 16;
        let requests: Vec<WriteReq<'_>> = fresh
            .iter()
            .zip(0_u64..)
            .map(|((item, value), index)| WriteReq {
                write_id: batch_bits | index & 0xffff,
                item: item.0 - port.setup.base,
                deadline_ns,
                flags: 0,
                value: to_contract(value),
            })
            .collect();
        stream.batches.push_back(Batch { id: id & 0xffff_ffff, before, left: requests.len() });
        stream.values += requests.len();
        stream.cursor = stream.cursor.max(position);
        if let Err(refusal) = self.write_gated(target, &requests) {
            self.rewind_stream(target, id & 0xffff_ffff, refusal);
        }
    }

    fn on_stream_written(&mut self, id: u64, result: i32) {
        let target = usize::try_from(id >> 48 & 0x7fff).unwrap_or(usize::MAX);
        let batch_id = id >> 16 & 0xffff_ffff;
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let Some(place) = stream.batches.iter().position(|batch| batch.id == batch_id) else { return };
        if result == code::OK || is_final(result) {
            if result != code::OK {
                self.counters.dropped_stream_values += 1;
            }
            stream.values = stream.values.saturating_sub(1);
            stream.batches[place].left -= 1;
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
        let Some(stream) = self.streams.get(&target) else { return };
        if now < stream.retry_at || stream.values > STREAM_VALUES_MAX / 2 {
            return;
        }
        let (entries, end) = self.read_journal(stream.cursor, STREAM_READ_BYTES);
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
        for sample in samples.iter().filter(|sample| !sample.quality.is_bad() && sample.value != Value::Null)
        {
            let mut next = self.routes.first(sample.item);
            while let Some(number) = next {
                next = self.routes.next(number);
                let route = self.routes.get(number);
                if !route.stream || route.target != target {
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

    /// When outputs need the engine next.
    pub(crate) fn outputs_due(&self) -> Option<Moment> {
        let intents = self.commands.unconfirmed.front().map(|(_, deadline)| *deadline);
        let lost = self.commands.sent.values().map(|sent| sent.lost_at).min();
        let held = (!self.commands.held.is_empty()).then(|| clock::now() + Duration::from_millis(5));
        let cursors = self
            .streams
            .values()
            .filter(|stream| stream.through() > stream.journaled)
            .map(|stream| stream.journaled_at + CURSOR_INTERVAL)
            .min();
        let behind = self
            .streams
            .values()
            .filter(|stream| stream.behind)
            .map(|stream| stream.retry_at.max(clock::now() + Duration::from_millis(5)))
            .min();
        [intents, lost, held, cursors, behind, self.routes.next_due()].into_iter().flatten().min()
    }

    /// Whether outputs to this interface may leave now.
    pub(crate) fn may_write(&self, target: usize, now: Moment) -> bool {
        let interface = &self.interfaces[target];
        let open = match &self.phase {
            Phase::Activating(activation) => {
                activation.reached.contains(&target) && self.guard_is_over(target, now)
            }
            Phase::Active { .. } => !self.down.contains(&target) && self.guard_is_over(target, now),
            Phase::Standby | Phase::Draining(_) | Phase::Closing { .. } => false,
        };
        open && interface.port.role() == twinhub_contract::role::ACTIVE
    }

    fn guard_is_over(&self, target: usize, now: Moment) -> bool {
        match self.interfaces[target].port.setup.guard {
            Guard::None => true,
            Guard::For(in_flight) => now >= self.guard_until.before(self.guard.saturating_sub(in_flight)),
            Guard::Whole => now >= self.guard_until,
        }
    }

    /// Re-issues a command of the node before, under a new intent.
    pub(crate) fn reissue(&mut self, item: ItemId, value: Value, cause: Position, origin: Arc<str>) {
        self.command(item, Wanted { value, kind: IntentKind::Set, cause, origin, reply: None });
    }
}

/// Whether this write number belongs to a stream.
pub(crate) const fn is_stream(id: u64) -> bool {
    id & STREAM_BIT != 0
}

/// Whether a stream's sink will never take this value.
fn is_final(result: i32) -> bool {
    matches!(result, code::INVALID | code::UNSUPPORTED)
}

fn outcome_of(result: i32) -> Outcome {
    match result {
        code::OK => Outcome::Done,
        code::TIMEOUT => Outcome::InDoubt,
        code::NOT_ACTIVE | code::STALE_EPOCH => Outcome::Fenced,
        other => Outcome::Refused(other),
    }
}

fn answer(reply: Option<Reply>, result: Result<WriteView, CommandError>) {
    if let Some(reply) = reply {
        // Whoever asked may have gone.
        drop(reply.send(result));
    }
}

fn to_contract(value: &Value) -> ValueOut<'_> {
    match value {
        Value::Null => ValueOut::Null,
        Value::Bool(value) => ValueOut::Bool(*value),
        Value::I64(value) => ValueOut::I64(*value),
        Value::U64(value) => ValueOut::U64(*value),
        Value::F64(value) => ValueOut::F64(*value),
        Value::Str(value) => ValueOut::Str(value),
        Value::Bytes(value) => ValueOut::Bytes(value),
        Value::Time(value) => ValueOut::Time(*value),
        Value::Json(value) => ValueOut::Json(value),
    }
}
