//! Which groups are to be read, and when: once after a connection began, and in cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use twinhub_knx_protocol::GroupAddress;
use twinhub_knx_protocol::tunnel::READS_MAX;

use crate::image::Image;

/// Planned and asked reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// To be read once.
    once: BTreeSet<GroupAddress>,
    /// First reads were planned, and their end was not told.
    is_first_open: bool,
    /// When the first reads began.
    begun: Option<Instant>,
    /// When a group is read next, and how often.
    cycles: BTreeMap<GroupAddress, (Instant, Duration)>,
    /// Waiting for an answer, by number.
    asked: BTreeMap<u64, GroupAddress>,
    next: Option<Instant>,
}

impl Reads {
    /// Plans the first reads: all, or those of which nothing was heard.
    pub(crate) fn begin(&mut self, image: &Image, is_all: bool) {
        self.once.extend(image.first_reads(is_all));
        self.is_first_open = !self.once.is_empty();
        self.begun = Some(Instant::now());
    }

    /// Whether first reads were planned and none is left; says so once.
    pub(crate) fn first_ended(&mut self) -> bool {
        let ended = self.is_first_open && self.once.is_empty() && self.asked.is_empty();
        if ended {
            self.is_first_open = false;
        }
        ended
    }

    /// Whether first reads are not answered yet.
    pub(crate) const fn is_first_open(&self) -> bool {
        self.is_first_open
    }

    /// Plans the cycles, spread over their periods so that they do not come together.
    pub(crate) fn plan_cycles(&mut self, image: &Image, now: Instant) {
        let polled = image.polled();
        let count = u32::try_from(polled.len()).unwrap_or(u32::MAX).max(1);
        let old = std::mem::take(&mut self.cycles);
        for (place, (group, period)) in (1..).zip(polled) {
            let due = match old.get(&group) {
                Some((due, known)) if *known == period => *due,
                _ => now + period / count * place,
            };
            self.cycles.insert(group, (due, period));
        }
    }

    /// Nothing is read any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The connection ended: what was asked is open again in the next one.
    pub(crate) fn disconnected(&mut self) {
        self.asked.clear();
        self.once.clear();
        self.is_first_open = false;
    }

    /// When there is something to read.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.asked.len() >= READS_MAX {
            return None;
        }
        let begun = self.begun.filter(|_| !self.once.is_empty());
        let planned = self.cycles.values().map(|(due, _)| *due).chain(begun).min()?;
        Some(self.next.map_or(planned, |next| next.max(planned)))
    }

    /// What is to be read now.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<GroupAddress> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        if let Some(group) = self.once.pop_first() {
            return Some(group);
        }
        let group = self.cycles.iter().filter(|(_, (due, _))| *due <= now).min_by_key(|(_, (due, _))| *due);
        let group = group.map(|(group, _)| *group)?;
        if let Some((due, period)) = self.cycles.get_mut(&group) {
            *due = now + *period;
        }
        Some(group)
    }

    /// A read was sent.
    pub(crate) fn asked(&mut self, id: u64, group: GroupAddress, pause: Duration) {
        self.asked.insert(id, group);
        self.next = Some(Instant::now() + pause);
    }

    /// A read has ended.
    pub(crate) fn ended(&mut self, id: u64) -> Option<GroupAddress> {
        self.asked.remove(&id)
    }

    /// Planned and waiting for answers.
    pub(crate) fn depths(&self) -> (usize, usize, usize) {
        (self.once.len(), self.cycles.len(), self.asked.len())
    }
}
