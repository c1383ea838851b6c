//! The items by group, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use twinhub_knx_protocol::dpt::Value as Datum;
use twinhub_knx_protocol::{Error, GroupAddress, Payload};
use twinhub_plugin::{Flags, Item, Publisher, Quality, Update, unix_ns};

use crate::point::Point;
use crate::value::to_hub;

/// The items.
#[derive(Debug)]
pub(crate) struct Image {
    publisher: Publisher,
    points: BTreeMap<u32, Rc<Point>>,
    /// Items by the groups that tell their state.
    by_status: BTreeMap<GroupAddress, Vec<Rc<Point>>>,
    /// Items whose value is given to who reads the group.
    by_answer: BTreeMap<GroupAddress, Rc<Point>>,
    /// The last value of groups that are answered.
    known: BTreeMap<GroupAddress, Payload>,
    /// Items with a value heard on this connection.
    heard: BTreeSet<u32>,
    /// Items whose read nobody answered.
    silent: BTreeMap<u32, GroupAddress>,
    /// Items whose last telegram does not fit their type.
    misfits: BTreeMap<u32, String>,
}

impl Image {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            points: BTreeMap::new(),
            by_status: BTreeMap::new(),
            by_answer: BTreeMap::new(),
            known: BTreeMap::new(),
            heard: BTreeSet::new(),
            silent: BTreeMap::new(),
            misfits: BTreeMap::new(),
        }
    }

    /// Items come and go.
    pub(crate) fn change(&mut self, add: impl IntoIterator<Item = Point>, remove: &[u32]) {
        for item in remove {
            self.points.remove(item);
            self.heard.remove(item);
            self.silent.remove(item);
            self.misfits.remove(item);
        }
        for point in add {
            self.points.insert(point.item, Rc::new(point));
        }
        self.by_status.clear();
        self.by_answer.clear();
        for point in self.points.values() {
            if point.is_readable {
                for group in &point.status {
                    self.by_status.entry(*group).or_default().push(Rc::clone(point));
                }
            }
            if point.answer_reads {
                self.by_answer.insert(point.command, Rc::clone(point));
            }
        }
        self.known.retain(|group, _| self.by_answer.contains_key(group));
    }

    pub(crate) fn get(&self, item: u32) -> Option<&Rc<Point>> {
        self.points.get(&item)
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    /// An item of a group, for its name and its type.
    pub(crate) fn of_group(&self, group: GroupAddress) -> Option<&Rc<Point>> {
        let by_status = self.by_status.get(&group).and_then(|points| points.first());
        by_status.or_else(|| self.points.values().find(|point| point.command == group))
    }

    /// A value on the bus. Says whether a group that is answered has another value now.
    pub(crate) fn value(&mut self, group: GroupAddress, payload: &Payload) -> bool {
        let now = unix_ns();
        for point in self.by_status.get(&group).into_iter().flatten() {
            let update = match point.dpt.decode(payload.as_bytes()) {
                Ok(Datum::Float(value)) if !value.is_finite() => {
                    Update::bad(Item(point.item), Quality::BAD_SENSOR_FAILURE)
                }
                Ok(value) => {
                    self.misfits.remove(&point.item);
                    let flags = if point.is_event { Flags::EVENT } else { Flags::NONE };
                    Update::new(Item(point.item), to_hub(value)).flags(flags)
                }
                Err(error) => {
                    let quality = quality_of(&error);
                    if self.misfits.insert(point.item, error.to_string()).is_none() {
                        tracing::info!(item = &*point.path, %group, error = %error, "a telegram does not fit its item");
                    }
                    Update::bad(Item(point.item), quality)
                }
            };
            self.heard.insert(point.item);
            self.silent.remove(&point.item);
            self.publisher.push(update.source_ns(now));
        }
        if self.by_answer.contains_key(&group) && self.known.get(&group) != Some(payload) {
            self.known.insert(group, payload.clone());
            return true;
        }
        false
    }

    /// Nobody answered a read.
    pub(crate) fn unanswered(&mut self, group: GroupAddress) {
        let now = unix_ns();
        for point in self.by_status.get(&group).into_iter().flatten() {
            if point.status.first() == Some(&group) {
                self.silent.insert(point.item, group);
                self.publisher.push(Update::bad(Item(point.item), Quality::BAD_TIMEOUT).source_ns(now));
            }
        }
    }

    /// The connection is gone: what is known is the last that was.
    pub(crate) fn lost(&mut self) {
        let now = unix_ns();
        for item in std::mem::take(&mut self.heard) {
            let update = Update::requalify(Item(item), Quality::UNCERTAIN_LAST_USABLE);
            self.publisher.push(update.source_ns(now));
        }
    }

    /// The connection of a standby becomes that of the active node: what it heard holds, whatever the node before made of
    /// its own connection.
    pub(crate) fn confirm(&self) {
        let now = unix_ns();
        for item in self.heard.iter().filter(|item| !self.misfits.contains_key(item)) {
            self.publisher.push(Update::requalify(Item(*item), Quality::GOOD).source_ns(now));
        }
    }

    /// Groups to read when a connection begins; without those of which all was heard, unless all are asked for.
    pub(crate) fn first_reads(&self, is_all: bool) -> impl Iterator<Item = GroupAddress> {
        self.points
            .values()
            .filter(move |point| point.read_on_init && (is_all || !self.heard.contains(&point.item)))
            .filter_map(|point| point.status.first().copied())
    }

    pub(crate) fn has_first_reads(&self) -> bool {
        self.points.values().any(|point| point.read_on_init)
    }

    /// Groups to read in cycles; of several items the shortest period counts.
    pub(crate) fn polled(&self) -> BTreeMap<GroupAddress, Duration> {
        let mut polled: BTreeMap<GroupAddress, Duration> = BTreeMap::new();
        for point in self.points.values() {
            if let (Some(period), Some(group)) = (point.poll, point.status.first()) {
                polled.entry(*group).and_modify(|known| *known = period.min(*known)).or_insert(period);
            }
        }
        polled
    }

    /// What to say to who reads a group.
    pub(crate) fn answer(&self, group: GroupAddress) -> Option<(&Rc<Point>, &Payload)> {
        Some((self.by_answer.get(&group)?, self.known.get(&group)?))
    }

    /// Groups that are answered and whose value is not known.
    pub(crate) fn unknown_answers(&self) -> Vec<GroupAddress> {
        self.by_answer.keys().filter(|group| !self.known.contains_key(group)).copied().collect()
    }

    /// The value of a group as the node before left it.
    pub(crate) fn recall(&mut self, group: GroupAddress, payload: Payload) {
        self.known.entry(group).or_insert(payload);
    }

    /// Items whose read nobody answered: how many, and one of them.
    pub(crate) fn silent(&self) -> Option<(usize, &str, GroupAddress)> {
        let (item, group) = self.silent.first_key_value()?;
        let path = self.points.get(item).map_or("?", |point| &*point.path);
        Some((self.silent.len(), path, *group))
    }

    /// Items with trouble, by path, with what it is.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (&str, String)> {
        let path = |item: &u32| self.points.get(item).map_or("?", |point| &*point.path);
        let silent = self
            .silent
            .iter()
            .map(move |(item, group)| (path(item), format!("nobody answered the read of {group}")));
        silent.chain(self.misfits.iter().map(move |(item, error)| (path(item), error.clone())))
    }
}

fn quality_of(error: &Error) -> Quality {
    if matches!(error, Error::DptNoValue { .. }) {
        Quality::BAD_SENSOR_FAILURE
    } else {
        Quality::BAD_DECODING
    }
}
