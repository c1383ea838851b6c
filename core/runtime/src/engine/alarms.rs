//! Alarms of the group: the rules of `core/alarms`, given the journal, the item table and the clock.
//!
//! Every node lets them see each sample and each change that the journal holds. The node that acts also evaluates,
//! from the moment at which its inputs begin: before that it knows nothing that is valid. What it finds goes into the
//! journal behind the samples that it follows from.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_alarms::{Alarms, Answer, Change, Now, Order, OrderError, Page, Query};
use twinhub_contract::role;
use twinhub_model::{Epoch, ItemId, Moment, Part, Position, Sample};

use super::Engine;
use super::parts::{PIECE_BYTES_MAX, PartState};
use crate::clock;
use crate::error::CommandError;
use crate::view::AlarmCounts;

/// Changes that wait for a journal that takes nothing; of more the oldest are not journaled.
const UNKEPT_MAX: usize = 10_000;
/// An operator's order waits so long for the disk of a standby, as a command does …
const STANDBY_MAX: Duration = Duration::from_millis(100);
/// … and so long for this node's own.
const DISK_MAX: Duration = Duration::from_secs(5);

const _: () = assert!(twinhub_alarms::BODY_BYTES_WANTED <= PIECE_BYTES_MAX, "a piece of a copy takes a body");

/// What an engine is asked about alarms.
#[derive(Debug)]
pub(crate) enum AlarmJob {
    /// An operator orders something.
    Order { order: Order, by: String, reply: oneshot::Sender<Result<Answer, CommandError>> },
    /// A reader wants a part of the list.
    Page { query: Query, reply: oneshot::Sender<Page> },
    /// Other rules take the place of those of before.
    Rules { alarms: Box<Alarms>, done: oneshot::Sender<()> },
}

/// The alarms as a part that the journal keeps.
#[derive(Debug)]
pub(crate) struct AlarmState {
    alarms: Alarms,
    /// Changes that are not in the journal yet.
    unkept: Vec<Change>,
    /// Orders that wait for a disk.
    waiting: VecDeque<Waiting>,
    /// The revision of the book that status shows.
    shown: Option<u64>,
    just_joined: Vec<Change>,
}

#[derive(Debug)]
struct Waiting {
    at: Position,
    since: Moment,
    answer: Answer,
    reply: oneshot::Sender<Result<Answer, CommandError>>,
}

impl AlarmState {
    pub(crate) fn new(alarms: Alarms) -> AlarmState {
        let (unkept, waiting, just_joined) = (Vec::new(), VecDeque::new(), Vec::new());
        AlarmState { alarms, unkept, waiting, shown: None, just_joined }
    }

    pub(crate) fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// What the newest record joined. It has no time of its own, and is told before the next record: so of an older one
    /// it is known that it was told.
    pub(crate) fn just_joined(&self) -> &[Change] {
        &self.just_joined
    }

    /// After another side's changes: what both sides raised for one condition becomes one occurrence.
    pub(crate) fn reconcile(&mut self) -> Vec<Change> {
        self.alarms.reconcile(now())
    }

    fn fold(&mut self, bytes: &[u8]) -> Result<Vec<Change>, String> {
        let (changes, unknown) = twinhub_alarms::decode(bytes).map_err(|error| error.to_string())?;
        for change in &changes {
            self.alarms.apply(change);
        }
        if unknown > 0 {
            tracing::warn!(unknown, "changes of alarms that only a newer version knows are left out");
        }
        Ok(changes)
    }
}

impl PartState for AlarmState {
    fn part(&self) -> Part {
        Part::ALARMS
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        self.just_joined = self.fold(body)?;
        self.just_joined.retain(|change| matches!(change, Change::Joined(..)));
        Ok(())
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        twinhub_alarms::encode(&self.alarms.snapshot())
    }

    fn clear(&mut self) {
        self.alarms.clear();
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.fold(piece).map(drop)
    }
}

impl Engine {
    /// This node's inputs begin: it evaluates from here on.
    pub(crate) fn begin_alarms(&mut self, epoch: Epoch) {
        let table = &self.table;
        let hot: Vec<_> = self
            .interfaces
            .iter()
            .filter(|interface| interface.port.setup.standby_role == role::HOT)
            .map(|interface| interface.port.item_range())
            .collect();
        let present = |item: ItemId| {
            let is_fresh = table.quality(item).is_good() || hot.iter().any(|range| range.contains(&item.0));
            is_fresh.then(|| {
                let sample = table.read(item);
                (sample.value, sample.quality)
            })
        };
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        let changes = state.alarms.begin(epoch, now(), &present);
        self.tell_untold_alarms();
        self.keep_changes(&changes);
    }

    /// Whether a rule watches one of these.
    pub(crate) fn has_alarms_of(&self, mut samples: impl Iterator<Item: Borrow<Sample>>) -> bool {
        self.parts.get::<AlarmState>().is_some_and(|state| {
            !state.alarms.rules().is_empty()
                && samples.any(|sample| state.alarms.is_watched(sample.borrow().item))
        })
    }

    /// Takes in samples that the journal has. They give changes while this node evaluates.
    pub(crate) fn observe_alarms(&mut self, samples: &[Sample]) {
        if !self.has_alarms_of(samples.iter()) {
            return;
        }
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        let changes = state.alarms.observe(samples, now());
        self.keep_changes(&changes);
    }

    /// Everything about alarms that follows from the time and from this node's role.
    pub(crate) fn advance_alarms(&mut self) {
        // What is journaled while the role is given away is evaluated, too: the next node sees only what it leads to.
        let evaluates = self.is_acting() || self.takes_last_inputs();
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        if state.alarms.is_acting() {
            if evaluates {
                let table = &self.table;
                let changes = state.alarms.tick(now(), &|item| table.received(item));
                self.keep_changes(&changes);
            } else {
                state.alarms.end();
            }
        }
        self.journal_changes();
        self.answer_orders();
        self.show_alarms();
    }

    /// When alarms need the engine next.
    pub(crate) fn alarms_due(&self) -> Option<Moment> {
        let state = self.parts.get::<AlarmState>()?;
        let waiting = state.waiting.front().map(|waiting| waiting.since + STANDBY_MAX);
        [state.alarms.due(), waiting].into_iter().flatten().min()
    }

    pub(crate) fn keep_changes(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        state.unkept.extend(changes.iter().cloned());
        let too_many = state.unkept.len().saturating_sub(UNKEPT_MAX);
        state.unkept.drain(..too_many);
        self.counters.unjournaled += too_many as u64;
        self.journal_changes();
        self.tell_alarms(changes);
    }

    /// Journals what is not in the journal yet.
    fn journal_changes(&mut self) {
        let is_writer = self.is_writer();
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        if state.unkept.is_empty() || (is_writer && !self.journal_ok) {
            return;
        }
        let changes = std::mem::take(&mut state.unkept);
        if !is_writer {
            // The book of this node knows what no journal holds: that of the node that acts counts.
            self.replication.lacks_copy = true;
            return;
        }
        for body in twinhub_alarms::encode(&changes) {
            if self.append_part(Part::ALARMS, &body).is_none()
                && let Some(state) = self.parts.get_mut::<AlarmState>()
            {
                // The book folds a change once, however often it comes.
                state.unkept = changes;
                return;
            }
        }
    }

    pub(crate) fn on_alarm_job(&mut self, job: AlarmJob) {
        match job {
            AlarmJob::Page { query, reply } => {
                let page = self.parts.get::<AlarmState>().map(|state| state.alarms.page(&query));
                // A reader that went away needs no answer.
                drop(reply.send(page.unwrap_or_default()));
            }
            AlarmJob::Order { order, by, reply } => self.on_alarm_order(&order, &by, reply),
            AlarmJob::Rules { alarms, done } => {
                self.change_rules(*alarms);
                // Whoever ordered it may have gone.
                done.send(()).ok();
            }
        }
    }

    /// What is known of occurrences stays, and a rule that is as it was goes on. All others begin as after a takeover.
    fn change_rules(&mut self, mut alarms: Alarms) {
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        alarms.go_on_from(&state.alarms);
        let acting = state.alarms.acting();
        (state.alarms, state.shown) = (alarms, None);
        if let Some(epoch) = acting {
            self.begin_alarms(epoch);
        }
    }

    fn on_alarm_order(
        &mut self,
        order: &Order,
        by: &str,
        reply: oneshot::Sender<Result<Answer, CommandError>>,
    ) {
        if !self.is_acting() {
            drop(reply.send(Err(self.not_active())));
            return;
        }
        let mut changes = Vec::new();
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        let done = state.alarms.order(order, by, now(), &mut changes);
        self.keep_changes(&changes);
        let answer = match done {
            Ok(answer) => answer,
            Err(error) => {
                drop(reply.send(Err(refusal(&error))));
                return;
            }
        };
        tracing::info!(group = %self.group, by, order = ?order, changed = answer.is_change, "alarm order");
        let (at, since) = (self.journal.last(), clock::now());
        if let Some(state) = self.parts.get_mut::<AlarmState>() {
            state.waiting.push_back(Waiting { at, since, answer, reply });
        }
    }

    /// Answers orders that are on disk, here and on a standby if there is one that answers.
    fn answer_orders(&mut self) {
        let (now, is_acting) = (clock::now(), self.is_acting());
        let (own, other) = (self.journal.durable(), self.durable_on_standby());
        let has_standby = self.has_standby_in_sync();
        let not_active = self.not_active();
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        while let Some(first) = state.waiting.front() {
            let waited = now.since(first.since);
            let is_stored = first.at <= own && (first.at <= other || !has_standby || waited >= STANDBY_MAX);
            if !is_stored && is_acting && waited < DISK_MAX {
                return;
            }
            let Some(Waiting { answer, reply, .. }) = state.waiting.pop_front() else { return };
            let said = if is_stored {
                Ok(answer)
            } else if is_acting {
                Err(CommandError::Timeout { seconds: DISK_MAX.as_secs() })
            } else {
                Err(not_active.clone())
            };
            drop(reply.send(said));
        }
    }

    fn show_alarms(&mut self) {
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return };
        let revision = state.alarms.revision();
        if state.shown == Some(revision) {
            return;
        }
        state.shown = Some(revision);
        let counts = state.alarms.book().counts();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let counts = AlarmCounts {
            active: count(counts.active),
            unacknowledged: count(counts.unacknowledged),
            shelved: count(counts.shelved),
            suppressed: count(counts.suppressed),
        };
        self.shared.update_group(&self.group, |status| status.alarms = counts);
    }
}

fn refusal(error: &OrderError) -> CommandError {
    let what = error.to_string();
    match error {
        OrderError::UnknownRule { .. } | OrderError::UnknownOccurrence { .. } => {
            CommandError::UnknownAlarm { what }
        }
        // The role is there, inputs are not.
        OrderError::NotActing => CommandError::Busy,
        OrderError::Span { .. } | _ => CommandError::BadAlarmOrder { what },
    }
}

fn now() -> Now {
    Now { moment: clock::now(), utc: clock::utc() }
}
