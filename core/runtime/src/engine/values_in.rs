//! Values of items to the plugins of other interfaces that take them: modules. As for a stream, the journal is their store,
//! and a journaled cursor says how far a plugin has come.
//!
//! ```text
//! instance is active:  missed (after the cursor, REPLAY) -> picture (all items, SNAPSHOT) -> what comes
//! one batch at a time: given -> completed -> cursor -> journaled, behind what the plugin made of it
//! ```
//! What a plugin publishes and puts before it completes a batch comes to the engine before the completion does. A node that
//! dies in between leaves values that come again, in other batches, but each at its place: a record is never cut in two.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use twinhub_contract::{code, role};
use twinhub_loader::{Instance, Status, UpdateRef, ValueIn};
use twinhub_model::{Delivered, Epoch, ItemId, Moment, Position, Record, Sample, SampleFlags, Severity};

use super::effect::to_contract;
use super::{Engine, Phase};
use crate::clock;
use crate::instance::VALUES_BIT;

/// Values given at once.
const BATCH_VALUES_MAX: usize = 4_096;
/// Bytes read from the journal at once.
const READ_BYTES: usize = 256 * 1024;
/// How often in a row the journal is read without anything for the plugin: then others have a turn.
const READS_MAX: usize = 16;
/// A plugin that refused is asked again after this time.
const RETRY: Duration = Duration::from_millis(250);
/// A plugin that has not completed a batch by then is taken for faulted.
pub(crate) const COMPLETE_MAX: Duration = Duration::from_secs(60);
/// Cursors are journaled at most this often …
const CURSOR_INTERVAL: Duration = Duration::from_millis(20);
/// … and this often where nothing came, so that the journal need not keep what nobody reads.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);
/// Between two looks for more.
const LOOK: Duration = Duration::from_millis(5);
/// Numbers of consumers in the journal: those below are streams.
pub(crate) const CONSUMER_BIT: u32 = 1 << 31;

/// What one interface is given of others.
#[derive(Debug)]
pub(crate) struct ValuesIn {
    /// Its number in the journal.
    consumer: u32,
    /// By handle.
    items: Box<[ItemId]>,
    handles: HashMap<ItemId, u32>,
    /// The instance that is told, and in which epoch.
    told: Option<(Weak<Instance>, Epoch)>,
    /// Completed through here.
    through: Position,
    /// Whether something was completed that the journaled cursor does not cover.
    is_ahead: bool,
    /// Where the journal ended when the instance became active.
    missed: Position,
    /// The next handle of the picture; none if it was given.
    picture: Option<u32>,
    given: Option<Given>,
    /// There may be more for it than was looked at.
    is_behind: bool,
    /// Where the journal lacked something, and where it goes on.
    gap: Option<(Position, Position)>,
    retry_at: Moment,
    next_op: u64,
    journaled: Position,
    journaled_at: Moment,
}

/// A batch that is not completed.
#[derive(Debug, Clone, Copy)]
struct Given {
    op: u64,
    since: Moment,
    count: u64,
    /// How far it leads.
    through: Position,
    picture: Option<u32>,
}

impl Given {
    fn at(through: Position, picture: Option<u32>) -> Given {
        Given { op: 0, since: clock::now(), count: 0, through, picture }
    }
}

/// What a look into the journal brought.
enum Read {
    Found(Vec<(Position, Record)>),
    /// Nothing for this plugin so far.
    Nothing,
    /// There is no more.
    End,
}

impl ValuesIn {
    pub(crate) fn new(interface: &str, items: &[ItemId]) -> ValuesIn {
        ValuesIn {
            consumer: consumer(interface),
            items: items.into(),
            handles: items.iter().copied().zip(0..).collect(),
            told: None,
            through: Position::START,
            is_ahead: false,
            missed: Position::START,
            picture: None,
            given: None,
            is_behind: false,
            gap: None,
            retry_at: Moment::ZERO,
            next_op: 0,
            journaled: Position::START,
            journaled_at: Moment::ZERO,
        }
    }

    /// Whether no batch is under way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.given.is_none()
    }

    fn is_told(&self, instance: &Arc<Instance>, epoch: Epoch) -> bool {
        // A weak one keeps the place, so that no other instance can have the same.
        self.told.as_ref().is_some_and(|(told, at)| *at == epoch && told.as_ptr() == Arc::as_ptr(instance))
    }

    /// Another instance, or another epoch: it goes on at the cursor, or here if there is none.
    fn begin(&mut self, instance: &Arc<Instance>, epoch: Epoch, cursor: Position, last: Position) {
        let goes_on = self.told.take().is_some_and(|(_, at)| at == epoch);
        self.told = Some((Arc::downgrade(instance), epoch));
        if !goes_on {
            self.through = if cursor == Position::START { last } else { cursor };
            self.journaled = self.through;
            // From now on there is one.
            self.is_ahead = cursor == Position::START;
        }
        self.missed = last;
        self.picture = Some(0);
        self.given = None;
        self.retry_at = Moment::ZERO;
    }

    /// What of these entries is given next, up to where something else begins, and how far that leads.
    fn first_of<'a>(&self, entries: &'a [(Position, Record)]) -> (Vec<ValueIn<'a>>, Position) {
        let (mut values, mut through) = (Vec::new(), self.through);
        for (position, record) in entries {
            // The picture comes between what was missed and what comes.
            let is_other = through <= self.missed && *position > self.missed;
            let is_full = values.len() >= BATCH_VALUES_MAX;
            if is_full || is_other && (self.picture.is_some() || !values.is_empty()) {
                break;
            }
            through = *position;
            if let Record::Samples(samples) = record {
                values.extend(self.part(*position, samples));
            }
        }
        (values, through)
    }

    /// The values of a record for this interface.
    fn part<'a>(&self, position: Position, samples: &'a [Sample]) -> impl Iterator<Item = ValueIn<'a>> {
        let missed = position <= self.missed;
        samples.iter().filter_map(move |sample| {
            let is_shown =
                !sample.flags.contains(SampleFlags::MIRROR) && !sample.flags.contains(SampleFlags::TWIN);
            let item = *self.handles.get(&sample.item).filter(|_| is_shown)?;
            let is_old = missed || sample.flags.contains(SampleFlags::OLD);
            let mut flags = sample.flags.only(KEPT);
            if is_old {
                flags = flags.with(SampleFlags::REPLAY);
            }
            Some(value_in(position, item, sample, flags))
        })
    }
}

/// What a plugin is told of how a value came about.
const KEPT: SampleFlags = SampleFlags::SUBSTITUTE
    .with(SampleFlags::FORCED)
    .with(SampleFlags::LOCAL_TIME)
    .with(SampleFlags::EVENT)
    .with(SampleFlags::QUALITY_ONLY);

fn value_in(position: Position, item: u32, sample: &Sample, flags: SampleFlags) -> ValueIn<'_> {
    let update = UpdateRef {
        item,
        status: sample.quality.0,
        source_ns: sample.source.0,
        value: to_contract(&sample.value),
        wire: 0,
        flags: flags.0,
        seq: 0,
    };
    ValueIn { update, place: (position.epoch.0, position.seq) }
}

impl Engine {
    /// Gives each plugin what is next for it.
    pub(crate) fn give_values_in(&mut self, now: Moment) {
        let targets: Vec<usize> = self.values_in.keys().copied().collect();
        for target in targets {
            if let Some(mut values_in) = self.values_in.remove(&target) {
                self.give_next(target, &mut values_in, now);
                self.values_in.insert(target, values_in);
            }
        }
    }

    fn give_next(&mut self, target: usize, values_in: &mut ValuesIn, now: Moment) {
        if self.interfaces[target].port.role() != role::ACTIVE {
            values_in.told = None;
        }
        let Some((instance, epoch)) = self.taker(target) else { return };
        if !values_in.is_told(&instance, epoch) {
            let is_kept = self.interfaces[target].port.setup.relevant;
            let cursor = if is_kept { self.tracker.delivered(values_in.consumer) } else { Position::START };
            values_in.begin(&instance, epoch, cursor, self.journal.last());
        }
        if let Some(given) = values_in.given {
            if now >= given.since + COMPLETE_MAX {
                values_in.given = None;
                let (count, limit_s) = (given.count, COMPLETE_MAX.as_secs());
                let cause =
                    format!("it has not completed the {count} values that it was given {limit_s} s ago");
                self.on_faulted(target, &cause);
            }
            return;
        }
        if now < values_in.retry_at {
            return;
        }
        self.look_further(target, values_in);
        if let Some((from, to)) = values_in.gap.take() {
            let port = &self.interfaces[target].port;
            port.tallies.add("values_in.gap", 1);
            let id = port.setup.id.clone();
            let text = format!(
                "interface `{id}` was not given values of others between {from} and {to}: the journal no longer has them"
            );
            tracing::warn!(interface = %id, "{text}");
            self.event(Severity::Warning, &id, "TH-INTERFACE-106", &text);
        }
    }

    fn look_further(&self, target: usize, values_in: &mut ValuesIn) {
        values_in.is_behind = true;
        for _ in 0..READS_MAX {
            match self.read_on(values_in) {
                Read::Found(entries) => {
                    let (values, through) = values_in.first_of(&entries);
                    let picture = values_in.picture;
                    return self.give_values(target, values_in, &values, Given::at(through, picture));
                }
                Read::Nothing => {}
                Read::End => {
                    values_in.is_behind = false;
                    break;
                }
            }
        }
        if let Some(first) = values_in.picture.filter(|_| !values_in.is_behind) {
            self.give_picture(target, values_in, first);
        }
    }

    /// The next piece of the journal with something for the plugin.
    fn read_on(&self, values_in: &mut ValuesIn) -> Read {
        if values_in.through >= self.journal.last() {
            return Read::End;
        }
        let (entries, end) = self.read_journal(values_in.through, READ_BYTES);
        let (values, through) = values_in.first_of(&entries);
        if !values.is_empty() {
            drop(values);
            return Read::Found(entries);
        }
        let before = std::mem::replace(&mut values_in.through, through);
        if let Some(resume) = end.resume.filter(|resume| *resume > through) {
            values_in.gap = Some((values_in.gap.map_or(through, |(from, _)| from), resume));
            values_in.through = resume;
        }
        if values_in.through == before { Read::End } else { Read::Nothing }
    }

    /// Its items as they are, or a part of them.
    fn give_picture(&self, target: usize, values_in: &mut ValuesIn, first: u32) {
        let rest = values_in.items.get(first as usize..).unwrap_or_default();
        let samples: Vec<Sample> =
            rest.iter().take(BATCH_VALUES_MAX).map(|item| self.table.read(*item)).collect();
        let numbered = (first..).zip(&samples);
        let values: Vec<ValueIn<'_>> = numbered
            .map(|(item, sample)| value_in(values_in.through, item, sample, SampleFlags::SNAPSHOT))
            .collect();
        let next = first.saturating_add(u32::try_from(samples.len()).unwrap_or(u32::MAX));
        let picture = Some(next).filter(|next| (*next as usize) < values_in.items.len());
        self.give_values(target, values_in, &values, Given::at(values_in.through, picture));
    }

    fn give_values(&self, target: usize, values_in: &mut ValuesIn, values: &[ValueIn<'_>], given: Given) {
        let Some((instance, epoch)) = values_in.told.as_ref() else { return };
        let Some(instance) = instance.upgrade() else { return };
        values_in.next_op += 1;
        let op = VALUES_BIT | values_in.next_op;
        values_in.given = Some(Given { op, count: values.len() as u64, ..given });
        match instance.values(op, epoch.0, values) {
            Ok(Status::Pending) => {}
            // Behind what it published in the call.
            Ok(Status::Done) => self.interfaces[target].port.complete_values(op, code::OK),
            Err(error) => self.interfaces[target].port.complete_values(op, error.code),
        }
    }

    /// A plugin has completed a batch.
    pub(crate) fn on_values_done(&mut self, target: usize, op: u64, answer: i32) {
        let Some(values_in) = self.values_in.get_mut(&target) else { return };
        let Some(given) = values_in.given.filter(|given| given.op == op) else { return };
        values_in.given = None;
        let tallies = &self.interfaces[target].port.tallies;
        match answer {
            code::OK => tallies.add("values_in.taken", given.count),
            code::INVALID | code::UNSUPPORTED => tallies.add("values_in.refused", given.count),
            _ => {
                tallies.add("values_in.again", 1);
                values_in.retry_at = clock::now() + RETRY;
                return;
            }
        }
        values_in.is_ahead |= given.through > values_in.through;
        values_in.through = given.through;
        values_in.picture = given.picture;
    }

    /// The instance that is to be given values, and the epoch in which it is active.
    fn taker(&self, target: usize) -> Option<(Arc<Instance>, Epoch)> {
        let interface = &self.interfaces[target];
        let is_there = !self.down.contains(&target) && !self.is_changing(target);
        if !is_there {
            return None;
        }
        if !interface.port.setup.relevant {
            return Some((interface.instance()?, Epoch(1)));
        }
        if let Phase::Activating(activation) = &self.phase
            && !activation.reached.contains(&target)
        {
            return None;
        }
        let epoch = self.acting_epoch().filter(|_| self.has_begun_inputs())?;
        // A node that has lost its lease lets nobody begin anything.
        self.gate.permit(epoch, clock::now())?;
        Some((interface.instance()?, epoch))
    }

    /// Journals how far plugins have come.
    pub(crate) fn journal_taken(&mut self, now: Moment, at_once: bool) {
        if !at_once && !self.is_acting() {
            return;
        }
        let mut moved = Vec::new();
        for (target, values_in) in &mut self.values_in {
            let is_kept = self.interfaces[*target].port.setup.relevant && values_in.told.is_some();
            let interval = if values_in.is_ahead { CURSOR_INTERVAL } else { IDLE_INTERVAL };
            let is_due = now >= values_in.journaled_at + interval || (at_once && values_in.is_ahead);
            if is_kept && is_due && (values_in.is_ahead || values_in.through > values_in.journaled) {
                values_in.is_ahead = false;
                values_in.journaled = values_in.through;
                values_in.journaled_at = now;
                moved.push(Delivered::by_number(values_in.consumer, values_in.through));
            }
        }
        for delivered in moved {
            self.append(&Record::Delivered(delivered));
        }
    }

    /// When there is something to do for them without a job.
    pub(crate) fn values_in_due(&self) -> Option<Moment> {
        let due = |values_in: &ValuesIn| match values_in.given {
            Some(given) => Some(given.since + COMPLETE_MAX),
            None if values_in.is_ahead => Some(values_in.journaled_at + CURSOR_INTERVAL),
            None if values_in.is_behind => Some(values_in.retry_at.max(clock::now() + LOOK)),
            None => Some(values_in.retry_at).filter(|at| *at > clock::now()),
        };
        self.values_in.values().filter_map(due).min()
    }
}

/// By its id: the place of an interface in the configuration changes. FNV-1a, whose 31 bits few modules share by chance.
fn consumer(interface: &str) -> u32 {
    let hash = interface
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The last number stands for what an older node does not know.
    (CONSUMER_BIT | hash).min(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_numbers_of_their_own_and_none_that_says_something_else() {
        let numbers: Vec<u32> = (0..200).map(|number| consumer(&format!("meter{number}"))).collect();
        let different: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
        assert_eq!(different.len(), numbers.len());
        assert!(numbers.iter().all(|number| number & CONSUMER_BIT != 0 && *number != u32::MAX));
    }
}
