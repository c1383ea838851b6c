//! What the successor is to have, and is not in the store yet.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use twinhub_knx_protocol::GroupAddress;
use twinhub_plugin::Role;

use super::Driver;
use crate::succession::{Readings, Slot};

/// Owed to the store.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub slot: bool,
    pub reads: Option<Readings>,
    pub values: BTreeSet<GroupAddress>,
}

impl Owed {
    pub(super) fn is_open(&self) -> bool {
        self.slot || self.reads.is_some() || !self.values.is_empty()
    }
}

impl Driver {
    pub(super) fn owe_slot(&mut self) {
        self.owed.slot = true;
        self.owe();
    }

    /// Says how far the first reads are.
    pub(super) fn owe_reads(&mut self) {
        let known = self.owed.reads.or_else(|| self.legacy.reads());
        let number = known.map_or(0, |reads| reads.number.wrapping_add(1));
        self.owed.reads = Some(Readings { is_open: self.reads.is_first_open(), number });
        self.beat_at = Instant::now() + BEAT;
        self.owe();
    }

    /// Says again that the node acts and is connected.
    pub(super) fn beat(&mut self) {
        if self.beats() && self.beat_at <= Instant::now() {
            self.owe_reads();
        }
    }

    pub(super) fn beats(&self) -> bool {
        let is_up = self.link.as_ref().is_some_and(|link| link.is_up);
        is_up && self.role == Role::Active && self.inbox.image.borrow().has_first_reads()
    }

    /// Whether the node before was connected and had read everything while this one was connected, too.
    pub(super) fn knows_all(&self) -> bool {
        let reads = self.legacy.reads();
        reads != self.reads_at_connect && reads.is_some_and(|reads| !reads.is_open)
    }

    pub(super) fn owe_value(&mut self, group: GroupAddress) {
        if self.role == Role::Active {
            self.owed.values.insert(group);
            self.owe();
        }
    }

    /// Puts what is owed into the store, as far as it has room.
    pub(super) fn owe(&mut self) {
        if !self.owed.is_open() {
            return;
        }
        // Only the node that acts leaves something.
        if self.role != Role::Active || self.inbox.role_pending() {
            self.owed = Owed::default();
            return;
        }
        if self.owed.slot && self.slot().is_none_or(|slot| self.legacy.keep_slot(&slot)) {
            self.owed.slot = false;
        }
        if self.owed.reads.is_some_and(|reads| self.legacy.keep_reads(reads)) {
            self.owed.reads = None;
        }
        let image = self.inbox.image.borrow();
        let legacy = &self.legacy;
        self.owed.values.retain(|group| {
            image.answer(*group).is_some_and(|(_, payload)| !legacy.keep_value(*group, payload))
        });
    }

    /// The tunnel of this node.
    fn slot(&self) -> Option<Slot> {
        let link = self.link.as_ref().filter(|link| link.is_up)?;
        let connection = &self.inbox.monitor.borrow().connection;
        let control = link.endpoint.map(|hpai| format!("{}:{}", hpai.address, hpai.port));
        Some(Slot {
            gateway: self.settings.way(link.gateway),
            channel: connection.channel?,
            control: control.unwrap_or_default(),
            address: link.address.to_string(),
        })
    }
}

/// How often the node that acts says so.
const BEAT: Duration = Duration::from_secs(10);
