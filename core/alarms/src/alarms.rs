//! Rules, what they watch, and the book: what a node knows of the alarms of a group.
//!
//! Every node takes in what the journal holds: samples through [`Alarms::observe`], changes through
//! [`Alarms::apply`]. The one that acts is told so with [`Alarms::begin`]; from then on samples, [`Alarms::tick`]
//! and [`Alarms::order`] give changes. They are folded into the book already and have to be journaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Epoch, ItemId, Moment, Quality, Sample, SampleFlags, Timestamp, Value};

use crate::book::Book;
use crate::change::{Acknowledgment, Change, Clear, Raise, Shelf, Suppression};
use crate::id::OccurrenceId;
use crate::occurrence::Occurrence;
use crate::order::{Answer, Order, OrderError, SHELVE_MAX, Target};
use crate::rule::{Condition, FNV_START, Rule, cut, is_valid};
use crate::watch::{Watch, time_of};

/// What waits longest to be acknowledged of a rule gives way to the next one beyond so many.
const OPEN_PER_RULE_MAX: usize = 16;
const SHELVE_MIN: Duration = Duration::from_secs(1);

/// The time: on the clock that nobody sets, for waiting, and of the day, for dating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub moment: Moment,
    /// For dating.
    pub utc: Timestamp,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Alarms {
    rules: Vec<Rule>,
    items: Vec<Option<ItemId>>,
    numbers: BTreeMap<Arc<str>, usize>,
    /// By item: place in `lists`, counted from 1.
    by_item: Vec<u32>,
    /// Rules of one item.
    lists: Vec<Vec<usize>>,
    watches: Vec<Watch>,
    book: Book,
    /// Over the rules of this node.
    hash: u64,
    /// Over the rules under which the journal was evaluated last.
    evaluated: u64,
    /// Rules that are as they were then, though others changed.
    unchanged: BTreeSet<usize>,
    /// In whose name this node evaluates; `None` while it follows.
    acting: Option<Epoch>,
    /// Since when this node listens itself.
    listening: Timestamp,
    agenda: BTreeSet<(Moment, usize)>,
    /// When the part is to know since when a rule waits.
    keeping: BTreeSet<(Moment, usize)>,
    /// How far the time of day was ahead of the clock that nobody sets, when this node last evaluated.
    ahead: Option<i64>,
    revision: u64,
}

/// What is to be done with a rule, and the time for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Raise { onset: Timestamp, at: Timestamp },
    Clear { at: Timestamp },
}

impl Step {
    const fn at(self) -> Timestamp {
        match self {
            Step::Raise { at, .. } | Step::Clear { at } => at,
        }
    }
}

impl Alarms {
    /// Whether there is nothing to evaluate and nothing known.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.book.occurrences().len() == 0
    }

    /// Whether any rule watches this item.
    #[inline]
    pub fn is_watched(&self, item: ItemId) -> bool {
        self.by_item.get(item.index()).is_some_and(|place| *place != 0)
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of this name.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.numbers.get(id).map(|number| &self.rules[*number])
    }

    /// What is known of all occurrences.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Another number after each change of the book.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// When [`Alarms::tick`] has something to do, as far as waiting decides that.
    pub fn due(&self) -> Option<Moment> {
        let keep = self.keeping.first().map(|(due, _)| *due);
        self.agenda.first().map(|(due, _)| *due).into_iter().chain(keep).min()
    }

    /// This node acts from here on. `present` gives what is known of an item if that is valid now; a rule whose
    /// item is not stands still until a value comes.
    pub fn begin(
        &mut self,
        epoch: Epoch,
        now: Now,
        present: &dyn Fn(ItemId) -> Option<(Value, Quality)>,
    ) -> Vec<Change> {
        let mut out = Vec::new();
        if self.acting != Some(epoch) {
            self.listening = now.utc;
            self.ahead = None;
        }
        self.acting = Some(epoch);
        self.look_at_clock(now, &mut out);
        let unchanged = std::mem::take(&mut self.unchanged);
        if self.evaluated != self.hash {
            let stands = |number: &usize| self.watches[*number].to_watched(&self.rules[*number]);
            let unchanged: Vec<_> = unchanged.iter().filter_map(stands).collect();
            self.emit(Change::Rules { hash: self.hash }, &mut out);
            for watched in unchanged {
                self.emit(Change::Watched(watched), &mut out);
            }
        }
        for number in 0..self.rules.len() {
            let known = self.items[number].and_then(present).filter(|(_, quality)| is_valid(*quality));
            match known {
                Some((value, quality)) if self.watches[number].is_wrong.is_none() => {
                    let item = self.items[number].unwrap_or(ItemId(u32::MAX));
                    let (source, flags) = (now.utc, SampleFlags::default());
                    let sample = Sample { item, value, quality, source, server: now.utc, flags };
                    self.watches[number].see(&self.rules[number].condition, &sample, now.utc);
                }
                Some(_) => self.watches[number].is_held = false,
                None => self.watches[number].is_held = true,
            }
            self.schedule(number, now);
        }
        let removed: Vec<OccurrenceId> = self
            .book
            .open_ids()
            .filter(|id| !self.numbers.contains_key(&id.rule))
            .filter(|id| self.book.get(id).is_some_and(Occurrence::is_active))
            .collect();
        for id in removed {
            let clear = Clear { at: now.utc, value: "".into(), cause: "the rule was removed".into() };
            self.emit(Change::Cleared(id, clear), &mut out);
        }
        out
    }

    /// This node follows from here on.
    pub fn end(&mut self) {
        self.acting = None;
        self.agenda.clear();
        self.keeping.clear();
        for watch in &mut self.watches {
            (watch.due, watch.keep_due) = (None, None);
        }
    }

    /// In whose name this node evaluates, if it does.
    pub const fn acting(&self) -> Option<Epoch> {
        self.acting
    }

    /// Whether this node evaluates.
    pub const fn is_acting(&self) -> bool {
        self.acting.is_some()
    }

    /// Takes in samples as the journal has them. Gives changes while this node acts.
    pub fn observe(&mut self, samples: &[Sample], now: Now) -> Vec<Change> {
        let mut out = Vec::new();
        self.look_at_clock(now, &mut out);
        for sample in samples {
            let Some(place) = self.by_item.get(sample.item.index()).filter(|place| **place != 0) else {
                continue;
            };
            // What the journal has a newer value for was evaluated when that came.
            if sample.flags.contains(SampleFlags::OVERTAKEN) {
                continue;
            }
            let list = *place as usize - 1;
            for at in 0..self.lists[list].len() {
                self.see(self.lists[list][at], sample, now, &mut out);
            }
        }
        out
    }

    fn see(&mut self, number: usize, sample: &Sample, now: Now, out: &mut Vec<Change>) {
        let at = time_of(sample);
        if self.acting.is_some() {
            self.catch_up(number, at, out);
        }
        self.watches[number].see(&self.rules[number].condition, sample, at);
        if self.acting.is_some() {
            self.catch_up(number, at, out);
            self.schedule(number, now);
        }
    }

    /// Does what the time has come for. `received` gives when anything was received of an item last.
    pub fn tick(&mut self, now: Now, received: &dyn Fn(ItemId) -> Timestamp) -> Vec<Change> {
        let mut out = Vec::new();
        if self.acting.is_none() {
            return out;
        }
        self.look_at_clock(now, &mut out);
        self.empty_shelves(now, &mut out);
        self.keep_waiting(now, received, &mut out);
        while let Some((_, number)) = self.agenda.first().copied().filter(|(due, _)| *due <= now.moment) {
            let due_for = self.watches[number].due.map(|(_, due_for)| due_for);
            self.hear(number, received);
            if let Some(step) = self.next_step(number)
                && Some(step.at()) == due_for
            {
                self.do_step(number, step, &mut out);
            }
            self.schedule(number, now);
            // What is due at once was done for its own time or is looked at again with the next tick.
            if self.watches[number].due.is_some_and(|(due, _)| due <= now.moment) {
                let again = now.moment + Duration::from_millis(1);
                self.put_on_agenda(number, again, self.watches[number].due.map(|(_, at)| at));
            }
        }
        out
    }

    fn empty_shelves(&mut self, now: Now, out: &mut Vec<Change>) {
        let over: Vec<Arc<str>> = self
            .book
            .shelved()
            .filter(|(_, shelf)| shelf.until <= now.utc)
            .map(|(rule, _)| Arc::clone(rule))
            .collect();
        for rule in over {
            self.emit_shelf(rule, None, now, out);
        }
    }

    /// What is to be done with a rule next, if nothing changes until then.
    fn next_step(&self, number: usize) -> Option<Step> {
        let (rule, watch) = (&self.rules[number], &self.watches[number]);
        let is_stale_rule = matches!(rule.condition, Condition::Stale(_));
        if watch.is_held && !is_stale_rule {
            return None;
        }
        let Some((raised, acknowledged)) = &watch.raised else {
            let onset = match rule.condition.silence() {
                Some(span) if is_stale_rule => return Some(self.silence(number, span)),
                Some(span) => watch.heard.is_some().then(|| after(watch.heard, span))?,
                None => (watch.is_wrong == Some(true)).then_some(watch.since)?,
            };
            return Some(Step::Raise { onset, at: after(onset, rule.delay_on) });
        };
        let is_latched = rule.latching && acknowledged.is_none();
        let returned = if rule.condition.silence().is_some() {
            (watch.heard.0.saturating_sub(watch.shift) > raised.onset.0).then_some(watch.heard)?
        } else {
            // Another side of a split may have raised it later. What a clock that was set has to do with it is in the
            // shift.
            let onset = Timestamp(raised.onset.0.saturating_add(watch.shift));
            // Of several within one tick of a clock the name is a little later than the onset.
            let is_named_later = (1..TICK_NS_MAX).contains(&onset.0.saturating_sub(watch.since.0));
            let since = if is_named_later { watch.since } else { watch.since.max(onset) };
            (watch.is_wrong == Some(false)).then_some(since)?
        };
        let at = after(returned, rule.delay_off);
        let at = if rule.latching { at.max(acknowledged.unwrap_or(at)) } else { at };
        (!is_latched).then_some(Step::Clear { at })
    }

    /// Does everything that was to be done up to this time.
    fn catch_up(&mut self, number: usize, until: Timestamp, out: &mut Vec<Change>) {
        for _ in 0..STEPS_MAX {
            match self.next_step(number) {
                Some(step) if step.at() <= until => self.do_step(number, step, out),
                Some(_) | None => return,
            }
        }
    }

    fn do_step(&mut self, number: usize, step: Step, out: &mut Vec<Change>) {
        match step {
            Step::Raise { onset, at } => self.raise(number, onset, at, out),
            Step::Clear { at } => {
                let watch = &self.watches[number];
                let value = cut(&watch.value.to_string()).into();
                if let Some((id, _)) = watch.raised.clone() {
                    self.emit(Change::Cleared(id, Clear { at, value, cause: "".into() }), out);
                }
            }
        }
    }

    fn raise(&mut self, number: usize, onset: Timestamp, at: Timestamp, out: &mut Vec<Change>) {
        let (rule, watch) = (&self.rules[number], &self.watches[number]);
        let mut id = OccurrenceId { onset, rule: Arc::clone(&rule.id) };
        // A clock that ticks coarsely gives the same time twice.
        while self.book.get(&id).is_some() {
            id.onset.0 = id.onset.0.saturating_add(1);
            if id.onset.0 == i64::MAX {
                break;
            }
        }
        let raise = Raise {
            at,
            item: rule.item.as_str().into(),
            kind: rule.condition.kind().into(),
            limit: cut(&rule.condition.limit_text()).into(),
            value: cut(&watch.value.to_string()).into(),
            text: rule.message(&watch.value, watch.quality).into(),
            area: Arc::clone(&rule.area),
            priority: rule.priority,
            needs_ack: rule.needs_ack || rule.latching,
            latching: rule.latching,
            epoch: self.acting.unwrap_or(Epoch::NONE),
        };
        let open = self.book.open_of(&rule.id);
        self.emit(Change::Raised(id, raise), out);
        if open.len() >= OPEN_PER_RULE_MAX
            && let Some(oldest) = open.into_iter().next()
        {
            let comment = format!("more than {OPEN_PER_RULE_MAX} occurrences waited to be acknowledged");
            let acknowledgment = Acknowledgment { at, by: "twinhub".into(), comment: comment.into() };
            self.emit(Change::Acknowledged(oldest, acknowledgment), out);
        }
    }

    /// Does what an operator orders.
    ///
    /// # Errors
    /// [`OrderError`] if it names nothing that is known here, or this node does not act.
    pub fn order(
        &mut self,
        order: &Order,
        by: &str,
        now: Now,
        out: &mut Vec<Change>,
    ) -> Result<Answer, OrderError> {
        if self.acting.is_none() {
            return Err(OrderError::NotActing);
        }
        self.look_at_clock(now, out);
        match order {
            Order::Acknowledge { target, comment } => {
                let waiting = self.waiting(target)?;
                let acknowledgment =
                    Acknowledgment { at: now.utc, by: cut(by).into(), comment: cut(comment).into() };
                for id in &waiting {
                    self.emit(Change::Acknowledged(id.clone(), acknowledgment.clone()), out);
                    if let Some(number) = self.numbers.get(&id.rule).copied() {
                        self.catch_up(number, now.utc, out);
                        self.schedule(number, now);
                    }
                }
                Ok(Answer { is_change: !waiting.is_empty(), acknowledged: waiting })
            }
            Order::Shelve { rule, span, comment } => {
                let rule = self.known(rule)?;
                if !(SHELVE_MIN..=SHELVE_MAX).contains(span) {
                    return Err(OrderError::Span { span: *span });
                }
                let shelf =
                    Shelf { until: after(now.utc, *span), by: cut(by).into(), comment: cut(comment).into() };
                self.emit_shelf(rule, Some(shelf), now, out);
                Ok(Answer { is_change: true, ..Answer::default() })
            }
            Order::Unshelve { rule } => {
                let rule = self.known(rule)?;
                let is_change = self.book.shelf(&rule).is_some();
                if is_change {
                    self.emit_shelf(rule, None, now, out);
                }
                Ok(Answer { is_change, ..Answer::default() })
            }
            Order::Suppress { rule, comment } => {
                let suppression = Suppression { by: cut(by).into(), comment: cut(comment).into() };
                self.suppress(rule, Some(suppression), now, out)
            }
            Order::Unsuppress { rule } => self.suppress(rule, None, now, out),
        }
    }

    /// What an acknowledgment is about: what of it waits for one.
    fn waiting(&self, target: &Target) -> Result<Vec<OccurrenceId>, OrderError> {
        let mut ids = match target {
            Target::Rule(rule) => {
                let rule = self.known(rule)?;
                self.book.open_of(&rule)
            }
            Target::Occurrence(id) if self.book.get(id).is_some() => vec![id.clone()],
            // A name with an `@` in it.
            Target::Occurrence(id) if self.known(&id.to_string()).is_ok() => {
                self.book.open_of(&id.to_string())
            }
            Target::Occurrence(id) => return Err(OrderError::UnknownOccurrence { id: id.clone() }),
            Target::All => self.book.open_ids().filter(|id| !self.book.is_hidden(&id.rule)).collect(),
        };
        ids.retain(|id| self.book.get(id).is_some_and(Occurrence::needs_ack));
        Ok(ids)
    }

    fn known(&self, rule: &str) -> Result<Arc<str>, OrderError> {
        let name: Arc<str> = cut(rule).into();
        if let Some((name, _)) = self.numbers.get_key_value(rule) {
            return Ok(Arc::clone(name));
        }
        if self.book.knows(rule) { Ok(name) } else { Err(OrderError::UnknownRule { rule: name }) }
    }

    fn suppress(
        &mut self,
        rule: &str,
        suppression: Option<Suppression>,
        now: Now,
        out: &mut Vec<Change>,
    ) -> Result<Answer, OrderError> {
        let rule = self.known(rule)?;
        let is_change = suppression.is_some() || self.book.suppression(&rule).is_some();
        if is_change {
            let stamp = self.book.next_stamp(now.utc, self.acting.unwrap_or_default());
            self.emit(Change::Suppressed { rule, stamp, suppression }, out);
        }
        Ok(Answer { is_change, ..Answer::default() })
    }

    fn emit_shelf(&mut self, rule: Arc<str>, shelf: Option<Shelf>, now: Now, out: &mut Vec<Change>) {
        let stamp = self.book.next_stamp(now.utc, self.acting.unwrap_or_default());
        self.emit(Change::Shelved { rule, stamp, shelf }, out);
    }

    fn emit(&mut self, change: Change, out: &mut Vec<Change>) {
        self.apply(&change);
        out.push(change);
    }

    /// Folds in a change that the journal holds.
    pub fn apply(&mut self, change: &Change) {
        if self.book.apply(change) {
            self.revision += 1;
        }
        let rule = match change {
            Change::Raised(id, _)
            | Change::Cleared(id, _)
            | Change::Acknowledged(id, _)
            | Change::Joined(id, _) => Some(&id.rule),
            Change::Rules { hash } => {
                if self.evaluated != *hash {
                    self.evaluated = *hash;
                    self.watches.iter_mut().for_each(Watch::forget);
                }
                None
            }
            Change::Watched(watched) => {
                if let Some(number) = self.numbers.get(&watched.rule) {
                    self.watches[*number].take_watched(watched);
                }
                None
            }
            Change::Shelved { .. } | Change::Suppressed { .. } => None,
        };
        if let Some(number) = rule.and_then(|rule| self.numbers.get(rule)) {
            let raised = self.book.raised(&self.rules[*number].id).map(|id| {
                let known = self.book.get(&id).and_then(|known| known.acknowledgment.as_ref());
                let acknowledged = known.map(|acknowledgment| acknowledgment.at);
                (id, acknowledged)
            });
            let watch = &mut self.watches[*number];
            if watch.raised.as_ref().map(|(id, _)| id) != raised.as_ref().map(|(id, _)| id) {
                watch.shift = 0;
            }
            watch.raised = raised;
        }
    }

    /// After the changes of another side of a split were folded in: see [`Book::reconcile`]. What that side raised and
    /// does not hold here ends as anything else does.
    pub fn reconcile(&mut self, now: Now) -> Vec<Change> {
        let changes = self.book.reconcile();
        for change in &changes {
            self.apply(change);
        }
        if self.acting.is_some() {
            for number in 0..self.rules.len() {
                self.schedule(number, now);
            }
        }
        changes
    }

    /// Everything as changes: folded into an empty one they give the same.
    pub fn snapshot(&self) -> Vec<Change> {
        let mut changes = vec![Change::Rules { hash: self.evaluated }];
        changes.extend(self.book.changes());
        let watched = self.watches.iter().zip(&self.rules).filter_map(|(watch, rule)| watch.to_watched(rule));
        changes.extend(watched.map(Change::Watched));
        changes
    }

    /// Forgets everything, before a snapshot.
    pub fn clear(&mut self) {
        self.book.clear();
        self.evaluated = 0;
        self.agenda.clear();
        self.keeping.clear();
        self.watches.fill(Watch::default());
        self.revision += 1;
    }
}

/// So far, in nanoseconds, the names of occurrences that begin in one tick of a clock are from the tick, at most.
const TICK_NS_MAX: i64 = 10_000;
/// A rule steps at most this often between two samples: back to normal, and beyond the limit again.
const STEPS_MAX: usize = 4;

fn after(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
}

mod rules;
#[cfg(test)]
mod tests;
mod waiting;
