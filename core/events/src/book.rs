//! The events that a node keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Event, NodeRank, Timestamp};

use crate::cursor::Cursor;
use crate::entry::{Entry, EventId};

/// What alarms tell takes at most this part of the room, so that it does not push everything else out.
const ALARMS_PART: usize = 2;
/// A stamp so far in the future comes from a clock that is wrong: this node's own do not follow that of another node.
const AHEAD_MAX_NS: i64 = 60_000_000_000;

/// An event and what this node knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The event.
    pub entry: Entry,
    /// The how manieth that came to this node; 0 if it has not yet.
    pub number: u64,
    /// It happened here and was not seen in the journal yet.
    pub is_pending: bool,
}

/// Which way an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It stands in the journal, or in the state that somebody else built from it.
    Journal,
    /// This node stored it, with its number and whether it was pending.
    Stored,
    /// This node wrote it down outside of the journal.
    Log,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Book {
    me: NodeRank,
    keep: usize,
    retain: Option<Duration>,
    pub(crate) events: BTreeMap<EventId, (Entry, u64)>,
    pub(crate) arrivals: BTreeMap<u64, EventId>,
    /// What alarms told, by code and occurrence.
    subjects: BTreeMap<(Arc<str>, Arc<str>), EventId>,
    alarms: BTreeSet<EventId>,
    pending: BTreeSet<EventId>,
    /// Up to where events were forgotten, since this book was begun.
    pub(crate) gone: Cursor,
    /// The greatest number of those.
    pub(crate) gone_number: u64,
    last_number: u64,
    last_stamp: Timestamp,
    revision: u64,
}

impl Book {
    /// An empty book of the node with this rank, which keeps so many events and none for longer.
    pub fn new(me: NodeRank, keep: usize, retain: Option<Duration>) -> Book {
        Book {
            me,
            keep: keep.max(1),
            retain,
            events: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            subjects: BTreeMap::new(),
            alarms: BTreeSet::new(),
            pending: BTreeSet::new(),
            gone: Cursor::default(),
            gone_number: 0,
            last_number: 0,
            last_stamp: Timestamp::NONE,
            revision: 0,
        }
    }

    /// Another number after each change of what is to be stored.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of the event that came last.
    pub const fn last_number(&self) -> u64 {
        self.last_number
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Something happened on this node. It is pending; `None` if it was told already.
    pub fn note(&mut self, group: &str, event: Event, alarm: Arc<str>, now: Timestamp) -> Option<Known> {
        let stamp = now.max(Timestamp(self.last_stamp.0.saturating_add(1)));
        let id = EventId { stamp, node: self.me, group: group.into() };
        let entry = Entry::new(id.clone(), event, alarm);
        if entry.subject().is_some_and(|subject| self.subjects.contains_key(&subject)) {
            return None;
        }
        self.last_stamp = stamp;
        if !self.insert(entry.clone(), 0, now) {
            return None;
        }
        self.pending.insert(id.clone());
        let number = self.events.get(&id).map_or(0, |(_, number)| *number);
        Some(Known { entry, number, is_pending: true })
    }

    /// Whether something was told of this occurrence under this code.
    pub fn has_told(&self, code: &str, alarm: &str) -> bool {
        self.subjects.contains_key(&(code.into(), alarm.into()))
    }

    /// Takes an event in; says whether it is new here.
    pub fn take(&mut self, known: Known, way: Way, now: Timestamp) -> bool {
        let Known { entry, number, is_pending } = known;
        let id = entry.id.clone();
        let number = match way {
            Way::Stored | Way::Log => number,
            Way::Journal => 0,
        };
        let is_pending = id.node == self.me
            && match way {
                Way::Journal => false,
                Way::Stored => is_pending,
                Way::Log => !self.events.contains_key(&id),
            };
        let is_new = self.insert(entry, number, now);
        let has_changed = match (self.events.contains_key(&id), is_pending) {
            (true, true) => self.pending.insert(id),
            (true, false) if way == Way::Log => false,
            (true | false, _) => self.pending.remove(&id),
        };
        self.revision += u64::from(has_changed);
        is_new
    }

    /// A copy of the group's state begins: what happened here is pending unless the copy has it.
    pub fn begin_copy(&mut self, group: &str) {
        let own = self.events.keys().filter(|id| id.node == self.me && *id.group == *group);
        self.pending.extend(own.cloned().collect::<Vec<_>>());
        self.revision += 1;
    }

    /// What happened here in a group and was not seen in its journal, oldest first, so many at most.
    pub fn pending(&self, group: &str, count: usize) -> Vec<Known> {
        let ids = self.pending.iter().filter(|id| *id.group == *group);
        ids.filter_map(|id| self.known(id)).take(count).collect()
    }

    /// Whether anything is.
    pub fn is_pending(&self, group: &str) -> bool {
        self.pending.iter().any(|id| *id.group == *group)
    }

    /// Everything of a group, in the order in which it came.
    pub fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = Known> + 'a {
        self.arrivals.values().filter(move |id| *id.group == *group).filter_map(|id| self.known(id))
    }

    fn known(&self, id: &EventId) -> Option<Known> {
        let (entry, number) = self.events.get(id)?;
        Some(Known { entry: entry.clone(), number: *number, is_pending: self.pending.contains(id) })
    }

    /// Forgets what is too old; says whether anything was.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.events.len();
        while let Some((id, (entry, _))) = self.events.first_key_value()
            && self.is_old(entry, now)
        {
            let id = id.clone();
            self.forget(&id);
        }
        before != self.events.len()
    }

    fn is_old(&self, entry: &Entry, now: Timestamp) -> bool {
        let retain = self.retain.map(|retain| i64::try_from(retain.as_nanos()).unwrap_or(i64::MAX));
        retain.is_some_and(|retain| now.0.saturating_sub(entry.id.stamp.0) > retain)
    }

    /// Whether it is kept and was not.
    fn insert(&mut self, entry: Entry, number: u64, now: Timestamp) -> bool {
        // What this node said itself is never said anew with an earlier stamp, whatever its clock was then: readers have
        // that stamp.
        let is_own = entry.id.node == self.me;
        if is_own || entry.id.stamp.0 <= now.0.saturating_add(AHEAD_MAX_NS) {
            self.last_stamp = self.last_stamp.max(entry.id.stamp);
        }
        if self.events.contains_key(&entry.id) || self.is_old(&entry, now) {
            return false;
        }
        if let Some(subject) = entry.subject() {
            match self.subjects.get(&subject).cloned() {
                // Of two that tell the same the later one stays, on every node, whatever else is forgotten.
                Some(told) if told >= entry.id => return false,
                Some(told) => drop(self.remove(&told)),
                None => {}
            }
            self.subjects.insert(subject, entry.id.clone());
            self.alarms.insert(entry.id.clone());
        }
        let is_free = number > 0 && number < u64::MAX / 2 && !self.arrivals.contains_key(&number);
        let number = if is_free { number } else { self.last_number + 1 };
        self.last_number = self.last_number.max(number);
        let id = entry.id.clone();
        self.arrivals.insert(number, id.clone());
        self.events.insert(id.clone(), (entry, number));
        self.revision += 1;
        if self.alarms.len() > (self.keep / ALARMS_PART).max(1)
            && let Some(first) = self.alarms.first().cloned()
        {
            self.forget(&first);
        }
        while self.events.len() > self.keep
            && let Some(first) = self.events.keys().next().cloned()
        {
            self.forget(&first);
        }
        self.expire(now);
        self.events.contains_key(&id)
    }

    fn forget(&mut self, id: &EventId) {
        if let Some(number) = self.remove(id)
            && !self.gone.has(id)
        {
            self.gone.take(id);
            self.gone_number = self.gone_number.max(number);
        }
    }

    fn remove(&mut self, id: &EventId) -> Option<u64> {
        let (entry, number) = self.events.remove(id)?;
        self.arrivals.remove(&number);
        self.pending.remove(id);
        self.alarms.remove(id);
        if let Some(subject) = entry.subject() {
            self.subjects.remove(&subject);
        }
        self.revision += 1;
        Some(number)
    }
}

#[cfg(test)]
mod tests;
