//! Waiting: when to look again; and waiting that outlives a node: the part knows since when, and a clock that is set ends no delay.
//!
//! What a rule waits for follows from samples, which the journal forgets; so of a longer wait the acting node journals
//! how the item stands, once, when a part of the time has passed. A successor goes on from there, also with a silence,
//! of which no sample tells.
//!
//! Waiting counts on the clock that nobody sets. When the time of day jumps against it, everything that was dated before
//! is dated anew, by as much; so a delay lasts as long as it would have.

use std::time::Duration;

use twinhub_model::{ItemId, Moment, Timestamp};

use super::{Alarms, Now, Step, after};
use crate::change::Change;
use crate::rule::Condition;

/// While nothing is received of an item, whether that is over is looked at so often.
const STALE_LOOK: Duration = Duration::from_millis(500);
/// A wait that is shorter is over before anything is forgotten.
const KEEP_FROM: Duration = Duration::from_secs(30);
/// The part knows after this, or after a quarter of a shorter wait.
const KEEP_AFTER_MAX: Duration = Duration::from_secs(60);
/// The part of its time for which a successor has to hear a silence itself.
const OWN_PART: u32 = 4;
/// A clock that is only steered never moves so far between two looks.
const JUMP_NS: i64 = 2_000_000_000;

impl Alarms {
    /// Takes note of what was received without a change.
    pub(super) fn hear(&mut self, number: usize, received: &dyn Fn(ItemId) -> Timestamp) {
        if let (Condition::Stale(_), Some(item)) = (&self.rules[number].condition, self.items[number]) {
            let heard = received(item);
            let watch = &mut self.watches[number];
            if heard.is_some() && !watch.quality.is_bad() {
                watch.heard = watch.heard.max(heard);
            }
        }
    }

    /// Plans the next look at a rule. Waiting counts on the clock that nobody sets, and is never longer than
    /// the rule's own times, whatever the time of day says.
    pub(super) fn schedule(&mut self, number: usize, now: Now) {
        let next = self.next_step(number);
        let rule = &self.rules[number];
        let longest = rule.condition.silence().unwrap_or_default() + rule.delay_on.max(rule.delay_off);
        let due = next.map(|step| {
            let left = u64::try_from(step.at().0.saturating_sub(now.utc.0)).unwrap_or(0);
            (now.moment + Duration::from_nanos(left).min(longest), Some(step.at()))
        });
        let is_stale = matches!(rule.condition, Condition::Stale(_)) && self.watches[number].raised.is_some();
        match due {
            Some((due, at)) => self.put_on_agenda(number, due, at),
            None if is_stale => self.put_on_agenda(number, now.moment + STALE_LOOK, Some(Timestamp::NONE)),
            None => self.put_on_agenda(number, Moment::NEVER, None),
        }
        self.plan_keeping(number, next, now);
    }

    pub(super) fn put_on_agenda(&mut self, number: usize, due: Moment, at: Option<Timestamp>) {
        let planned = at.map(|at| (due, at));
        let watch = &mut self.watches[number];
        if watch.due == planned {
            return;
        }
        if let Some((before, _)) = watch.due {
            self.agenda.remove(&(before, number));
        }
        watch.due = planned;
        if let Some((due, _)) = planned {
            self.agenda.insert((due, number));
        }
    }

    /// When a silence is long enough. A node that was not listening has not heard it, unless the one before did.
    pub(super) fn silence(&self, number: usize, span: Duration) -> Step {
        let (rule, watch) = (&self.rules[number], &self.watches[number]);
        let is_known = watch.heard.is_some() && watch.kept == Some(watch.standing());
        if !is_known {
            let onset = after(watch.heard.max(self.listening), span);
            return Step::Raise { onset, at: after(onset, rule.delay_on) };
        }
        let onset = after(watch.heard, span);
        let own = after(self.listening, (span + rule.delay_on) / OWN_PART);
        Step::Raise { onset, at: after(onset, rule.delay_on).max(own) }
    }

    /// Sees to it that the part learns since when a rule waits, if that is long.
    pub(super) fn plan_keeping(&mut self, number: usize, next: Option<Step>, now: Now) {
        let due = next.and_then(|step| self.keeps_at(number, step)).map(|at| {
            let left = u64::try_from(at.0.saturating_sub(now.utc.0)).unwrap_or(0);
            now.moment + Duration::from_nanos(left).min(KEEP_AFTER_MAX)
        });
        let watch = &mut self.watches[number];
        if watch.keep_due == due {
            return;
        }
        if let Some(before) = watch.keep_due {
            self.keeping.remove(&(before, number));
        }
        watch.keep_due = due;
        if let Some(due) = due {
            self.keeping.insert((due, number));
        }
    }

    /// When the part is to know of this wait; `None` if it does, or need not.
    fn keeps_at(&self, number: usize, step: Step) -> Option<Timestamp> {
        let watch = &self.watches[number];
        let start = match self.rules[number].condition {
            Condition::Stale(_) => watch.heard.max(self.listening),
            Condition::Unchanged(_) => watch.heard,
            Condition::Limit { .. }
            | Condition::Equals(_)
            | Condition::NotEquals(_)
            | Condition::BadQuality => watch.since,
        };
        let span = u64::try_from(step.at().0.saturating_sub(start.0)).map(Duration::from_nanos);
        let span = span.ok().filter(|span| start.is_some() && *span >= KEEP_FROM)?;
        let is_kept = watch.kept == Some(watch.standing());
        (!is_kept).then(|| after(start, (span / 4).min(KEEP_AFTER_MAX)))
    }

    /// Lets the part know of what has waited for long enough.
    pub(super) fn keep_waiting(
        &mut self,
        now: Now,
        received: &dyn Fn(ItemId) -> Timestamp,
        out: &mut Vec<Change>,
    ) {
        while let Some((due, number)) = self.keeping.first().copied().filter(|(due, _)| *due <= now.moment) {
            self.keeping.remove(&(due, number));
            self.watches[number].keep_due = None;
            self.hear(number, received);
            let next = self.next_step(number);
            let is_time = next.and_then(|step| self.keeps_at(number, step)).is_some_and(|at| at <= now.utc);
            if is_time {
                self.keep(number, out);
            }
            self.schedule(number, now);
            // What the clocks do not agree on is looked at again with the next tick.
            if self.watches[number].keep_due.is_some_and(|due| due <= now.moment) {
                self.put_off_keeping(number, now.moment + Duration::from_millis(100));
            }
        }
    }

    fn put_off_keeping(&mut self, number: usize, due: Moment) {
        if let Some(before) = self.watches[number].keep_due.replace(due) {
            self.keeping.remove(&(before, number));
        }
        self.keeping.insert((due, number));
    }

    fn keep(&mut self, number: usize, out: &mut Vec<Change>) {
        let watch = &mut self.watches[number];
        if let Condition::Stale(_) = self.rules[number].condition
            && watch.kept != Some(watch.standing())
        {
            // This node speaks for the silence that it heard itself.
            watch.heard = watch.heard.max(self.listening);
        }
        watch.kept = Some(watch.standing());
        if let Some(watched) = watch.to_watched(&self.rules[number]) {
            self.emit(Change::Watched(watched), out);
        }
    }

    /// Notices that somebody set the clock.
    pub(super) fn look_at_clock(&mut self, now: Now, out: &mut Vec<Change>) {
        if self.acting.is_none() {
            return;
        }
        let ahead = now.utc.0.saturating_sub(i64::try_from(now.moment.0).unwrap_or(i64::MAX));
        let Some(before) = self.ahead.replace(ahead) else { return };
        let shift = ahead.saturating_sub(before);
        if shift.abs() < JUMP_NS {
            return;
        }
        if self.listening.is_some() {
            self.listening.0 = self.listening.0.saturating_add(shift);
        }
        for number in 0..self.watches.len() {
            let was_kept = self.watches[number].kept == Some(self.watches[number].standing());
            self.watches[number].set_clock(shift);
            // What was known before is to be known as it is dated now; and how a raised one is dated, so that a successor
            // neither ends it for that nor waits for a time that is over.
            if was_kept {
                self.watches[number].kept = Some(self.watches[number].standing());
                self.keep(number, out);
            } else if self.watches[number].raised.is_some()
                && let Some(watched) = self.watches[number].to_watched(&self.rules[number])
            {
                self.emit(Change::Watched(watched), out);
            }
            self.schedule(number, now);
        }
    }
}
