//! What is known of all occurrences, shelves and suppressions: a fold of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twinhub_model::{Epoch, Timestamp};

use crate::change::{Acknowledgment, Change, Clear, Raise, Shelf, Stamp, Suppression};
use crate::id::OccurrenceId;
use crate::occurrence::{Occurrence, State};

/// A book keeps at least so many occurrences.
pub const KEEP_MIN: usize = 100;
/// Occurrences that are open at the same time; of more the oldest are taken for history, and counted.
const OPEN_MAX: usize = 100_000;
/// Rules that a book remembers settings of.
const SETTINGS_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    keep: usize,
    occurrences: BTreeMap<OccurrenceId, Occurrence>,
    /// Onsets of what is active or needs somebody to take note, by rule.
    open: BTreeMap<Arc<str>, BTreeSet<Timestamp>>,
    open_count: usize,
    /// What is over and done with, oldest first.
    closed: BTreeSet<OccurrenceId>,
    shelves: BTreeMap<Arc<str>, (Stamp, Option<Shelf>)>,
    suppressions: BTreeMap<Arc<str>, (Stamp, Option<Suppression>)>,
    stamp: Stamp,
    overflowed: u64,
}

/// How many alarms stand how. Those on the shelf or suppressed count only as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Raised, acknowledged or not.
    pub active: usize,
    /// Raised or returned, and nobody took note.
    pub unacknowledged: usize,
    /// Rules on the shelf.
    pub shelved: usize,
    /// Rules suppressed.
    pub suppressed: usize,
}

impl Book {
    /// An empty book that keeps so many occurrences.
    pub fn new(keep: usize) -> Book {
        Book {
            keep: keep.max(KEEP_MIN),
            occurrences: BTreeMap::new(),
            open: BTreeMap::new(),
            open_count: 0,
            closed: BTreeSet::new(),
            shelves: BTreeMap::new(),
            suppressions: BTreeMap::new(),
            stamp: Stamp::default(),
            overflowed: 0,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Book::new(self.keep);
    }

    /// Folds a change in; says whether it changed anything.
    pub fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Raised(id, raise) => self.update(id, |occurrence| {
                if occurrence.raise.as_ref().is_none_or(|known| raise < known) {
                    occurrence.raise = Some(raise.clone());
                }
            }),
            Change::Cleared(id, clear) => self.update(id, |occurrence| {
                if occurrence.clear.as_ref().is_none_or(|known| clear < known) {
                    occurrence.clear = Some(clear.clone());
                }
            }),
            Change::Acknowledged(id, acknowledgment) => self.update(id, |occurrence| {
                if occurrence.acknowledgment.as_ref().is_none_or(|known| acknowledgment < known) {
                    occurrence.acknowledgment = Some(acknowledgment.clone());
                }
            }),
            Change::Joined(id, into) => self.update(id, |occurrence| {
                if occurrence.joined.as_ref().is_none_or(|known| into < known) {
                    occurrence.joined = Some(into.clone());
                }
            }),
            Change::Shelved { rule, stamp, shelf } => {
                self.stamp = self.stamp.max(*stamp);
                set(&mut self.shelves, rule, *stamp, shelf.as_ref())
            }
            Change::Suppressed { rule, stamp, suppression } => {
                self.stamp = self.stamp.max(*stamp);
                set(&mut self.suppressions, rule, *stamp, suppression.as_ref())
            }
            Change::Rules { .. } | Change::Watched(_) => false,
        }
    }

    fn update(&mut self, id: &OccurrenceId, change: impl FnOnce(&mut Occurrence)) -> bool {
        let occurrence = self.occurrences.entry(id.clone()).or_default();
        let before = occurrence.clone();
        change(occurrence);
        let (is_changed, is_open) = (before != *occurrence, occurrence.is_open());
        self.file(id, is_open);
        is_changed
    }

    /// Puts an occurrence where it belongs, and forgets the oldest ones if there are too many.
    fn file(&mut self, id: &OccurrenceId, is_open: bool) {
        if is_open {
            self.closed.remove(id);
            if self.open.entry(Arc::clone(&id.rule)).or_default().insert(id.onset) {
                self.open_count += 1;
            }
        } else {
            self.take_from_open(id);
            self.closed.insert(id.clone());
        }
        let oldest = if self.open_count > OPEN_MAX { self.open_ids().next() } else { None };
        if let Some(oldest) = oldest {
            self.overflowed += 1;
            self.take_from_open(&oldest);
            self.closed.insert(oldest);
        }
        while self.occurrences.len() > self.keep
            && let Some(oldest) = self.closed.pop_first()
        {
            self.occurrences.remove(&oldest);
        }
    }

    fn take_from_open(&mut self, id: &OccurrenceId) {
        if let Some(onsets) = self.open.get_mut(&id.rule) {
            if onsets.remove(&id.onset) {
                self.open_count -= 1;
            }
            if onsets.is_empty() {
                self.open.remove(&id.rule);
            }
        }
    }

    /// The occurrence with this name.
    pub fn get(&self, id: &OccurrenceId) -> Option<&Occurrence> {
        self.occurrences.get(id)
    }

    /// All occurrences that are kept, oldest first.
    pub fn occurrences(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&OccurrenceId, &Occurrence)> + ExactSizeIterator {
        self.occurrences.iter()
    }

    /// Those before this one, oldest first.
    pub fn before(&self, id: &OccurrenceId) -> impl DoubleEndedIterator<Item = (&OccurrenceId, &Occurrence)> {
        self.occurrences.range(..id.clone())
    }

    /// What is open, rule by rule, the oldest of each first.
    pub fn open_ids(&self) -> impl Iterator<Item = OccurrenceId> + '_ {
        self.open.iter().flat_map(|(rule, onsets)| {
            onsets.iter().map(|onset| OccurrenceId { onset: *onset, rule: Arc::clone(rule) })
        })
    }

    /// What is open of a rule, oldest first.
    pub fn open_of(&self, rule: &str) -> Vec<OccurrenceId> {
        self.open.get_key_value(rule).map_or_else(Vec::new, |(rule, onsets)| {
            onsets.iter().map(|onset| OccurrenceId { onset: *onset, rule: Arc::clone(rule) }).collect()
        })
    }

    /// The occurrence in which a rule is raised; the newest, should two sides of a split have raised it.
    pub fn raised(&self, rule: &str) -> Option<OccurrenceId> {
        let is_active = |id: &OccurrenceId| self.occurrences.get(id).is_some_and(Occurrence::is_active);
        self.open_of(rule).into_iter().rev().find(is_active)
    }

    /// The shelf on which a rule is.
    pub fn shelf(&self, rule: &str) -> Option<&Shelf> {
        self.shelves.get(rule).and_then(|(_, shelf)| shelf.as_ref())
    }

    /// Why a rule is suppressed.
    pub fn suppression(&self, rule: &str) -> Option<&Suppression> {
        self.suppressions.get(rule).and_then(|(_, suppression)| suppression.as_ref())
    }

    /// Rules on the shelf.
    pub fn shelved(&self) -> impl Iterator<Item = (&Arc<str>, &Shelf)> {
        self.shelves.iter().filter_map(|(rule, (_, shelf))| Some((rule, shelf.as_ref()?)))
    }

    /// Rules that are suppressed.
    pub fn suppressed(&self) -> impl Iterator<Item = (&Arc<str>, &Suppression)> {
        self.suppressions.iter().filter_map(|(rule, (_, suppression))| Some((rule, suppression.as_ref()?)))
    }

    /// Whether a rule is out of sight.
    pub fn is_hidden(&self, rule: &str) -> bool {
        self.shelf(rule).is_some() || self.suppression(rule).is_some()
    }

    /// Whether anything is known of a rule.
    pub fn knows(&self, rule: &str) -> bool {
        self.open.contains_key(rule)
            || self.shelves.contains_key(rule)
            || self.suppressions.contains_key(rule)
            || self.occurrences.keys().any(|id| &*id.rule == rule)
    }

    /// Occurrences taken for history while they were open, since too many were.
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// A stamp later than every one before.
    pub(crate) fn next_stamp(&self, utc: Timestamp, epoch: Epoch) -> Stamp {
        Stamp { at: utc.max(Timestamp(self.stamp.at.0.saturating_add(1))), epoch }
    }

    /// How many alarms stand how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            shelved: self.shelved().count(),
            suppressed: self.suppressed().count(),
            ..Counts::default()
        };
        for (rule, onsets) in &self.open {
            if self.is_hidden(rule) {
                continue;
            }
            for onset in onsets {
                let id = OccurrenceId { onset: *onset, rule: Arc::clone(rule) };
                match self.occurrences.get(&id).map_or(State::Normal, Occurrence::state) {
                    State::Unacknowledged => {
                        counts.active += 1;
                        counts.unacknowledged += 1;
                    }
                    State::Acknowledged => counts.active += 1,
                    State::Returned => counts.unacknowledged += 1,
                    State::Normal => {}
                }
            }
        }
        counts
    }

    /// The book as changes: folded into an empty one they give the same.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.occurrences.len() * 2);
        for (id, occurrence) in &self.occurrences {
            let Occurrence { raise, clear, acknowledgment, joined } = occurrence;
            changes.extend(raise.iter().map(|raise| Change::Raised(id.clone(), raise.clone())));
            changes.extend(clear.iter().map(|clear| Change::Cleared(id.clone(), clear.clone())));
            changes.extend(
                acknowledgment
                    .iter()
                    .map(|acknowledgment| Change::Acknowledged(id.clone(), acknowledgment.clone())),
            );
            changes.extend(joined.iter().map(|into| Change::Joined(id.clone(), into.clone())));
        }
        changes.extend(self.shelves.iter().map(|(rule, (stamp, shelf))| Change::Shelved {
            rule: Arc::clone(rule),
            stamp: *stamp,
            shelf: shelf.clone(),
        }));
        changes.extend(self.suppressions.iter().map(|(rule, (stamp, suppression))| Change::Suppressed {
            rule: Arc::clone(rule),
            stamp: *stamp,
            suppression: suppression.clone(),
        }));
        changes
    }

    /// After a split, with the changes of both sides folded in: what both raised for one condition becomes one
    /// occurrence, the earlier one, which takes over clear and acknowledgment of the other. Folds in what it
    /// returns; two nodes that hold the same book return the same.
    pub fn reconcile(&mut self) -> Vec<Change> {
        let mut by_rule: BTreeMap<Arc<str>, Vec<(OccurrenceId, Raise)>> = BTreeMap::new();
        for (id, occurrence) in &self.occurrences {
            if let (Some(raise), None) = (&occurrence.raise, &occurrence.joined) {
                by_rule.entry(Arc::clone(&id.rule)).or_default().push((id.clone(), raise.clone()));
            }
        }
        let mut changes = Vec::new();
        for raised in by_rule.into_values() {
            let mut raised = raised.into_iter();
            let Some((mut first, mut raise)) = raised.next() else { continue };
            for (next, next_raise) in raised {
                let is_over = self
                    .get(&first)
                    .and_then(|known| known.clear.as_ref())
                    .is_some_and(|clear| clear.at <= next.onset);
                // One evaluator never raises what is raised.
                if is_over || next_raise.epoch == raise.epoch {
                    (first, raise) = (next, next_raise);
                    continue;
                }
                let other = self.get(&next).cloned().unwrap_or_default();
                let mut joining = vec![Change::Joined(next, first.clone())];
                joining.extend(other.clear.map(|clear: Clear| Change::Cleared(first.clone(), clear)));
                joining.extend(
                    other
                        .acknowledgment
                        .map(|known: Acknowledgment| Change::Acknowledged(first.clone(), known)),
                );
                for change in joining {
                    if self.apply(&change) {
                        changes.push(change);
                    }
                }
            }
        }
        changes
    }
}

/// Keeps the setting with the later stamp; of two with the same stamp the greater one, on every node.
fn set<T: Clone + Ord>(
    settings: &mut BTreeMap<Arc<str>, (Stamp, Option<T>)>,
    rule: &Arc<str>,
    stamp: Stamp,
    setting: Option<&T>,
) -> bool {
    let known = settings.get(rule);
    if known.is_some_and(|(known, what)| (*known, what.as_ref()) >= (stamp, setting)) {
        return false;
    }
    if known.is_none() && settings.len() >= SETTINGS_MAX {
        return false;
    }
    settings.insert(Arc::clone(rule), (stamp, setting.cloned()));
    true
}

#[cfg(test)]
mod tests;
