//! Acting without a majority: another node may act too, and each interface does what its `on_unquorate` says.
//!
//! `run` goes on. `read_only` keeps its inputs; its commands are refused and counted, its streams wait in the
//! journal. `off` goes to its inactive role and its values become uncertain. When a majority is back, both are
//! restored, and a driving item that changed in between drives once.

use std::sync::atomic::Ordering;

use twinhub_config::OnUnquorate;
use twinhub_contract::role;
use twinhub_model::{Epoch, ItemId, Quality, Severity};
use twinhub_redundancy::Reason;

use super::Engine;
use crate::clock;
use crate::error::CommandError;
use crate::instance::ROLE_MAX;

/// What the journal calls acting without a majority.
pub(crate) const ALONE: &str = "active without a majority";

/// Whether a majority stands behind a node that acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Majority {
    Behind,
    Missing,
}

impl Majority {
    const fn of(quorate: bool) -> Majority {
        if quorate { Majority::Behind } else { Majority::Missing }
    }
}

impl Engine {
    /// The majority behind this node's epoch was lost, or is back.
    pub(crate) fn on_quorum(&mut self, epoch: Epoch, quorate: bool, reason: &Reason) {
        if self.acting_epoch() != Some(epoch) || self.majority == Majority::of(quorate) {
            return;
        }
        let (from, to) = if quorate { (ALONE, "active") } else { ("active", ALONE) };
        self.role_record(epoch, from, to, reason);
        self.set_quorate(quorate);
        let now = clock::now();
        for number in self.restricted() {
            let interface = &self.interfaces[number];
            match interface.port.setup.on_unquorate {
                OnUnquorate::Off if quorate => interface.set_role(role::ACTIVE, epoch, now + ROLE_MAX),
                OnUnquorate::Off => {
                    interface.close();
                    interface.set_role(interface.port.setup.standby_role, epoch, now + ROLE_MAX);
                }
                OnUnquorate::ReadOnly | OnUnquorate::Run => {}
            }
        }
        if quorate {
            self.drive_again(now);
        } else {
            self.doubt_inputs_that_are_off();
        }
        self.tell_restrictions();
    }

    /// Sets what interfaces may do, without ordering roles.
    pub(crate) fn set_quorate(&mut self, quorate: bool) {
        self.majority = Majority::of(quorate);
        for number in self.restricted() {
            self.interfaces[number].port.alone.store(!quorate, Ordering::Release);
        }
    }

    /// Says which interfaces are held back, or no longer.
    pub(crate) fn tell_restrictions(&mut self) {
        for number in self.restricted() {
            let port = &self.interfaces[number].port;
            let id = port.setup.id.clone();
            let (severity, text) = match port.restriction() {
                Some(restriction) => (Severity::Warning, format!("interface `{id}` is {restriction}")),
                None => (Severity::Info, format!("interface `{id}` runs again: a majority is back")),
            };
            self.event(severity, &id, "TH-ROLE-002", &text);
        }
    }

    /// Values of interfaces that are off are not received here.
    pub(crate) fn doubt_inputs_that_are_off(&self) {
        for number in self.restricted().into_iter().filter(|number| self.is_off(*number)) {
            let items = self.interfaces[number].port.item_range().map(ItemId);
            for item in items.filter(|item| self.table.quality(*item).is_good()) {
                self.table.requalify(item, Quality::UNCERTAIN_LAST_USABLE);
            }
        }
    }

    /// Whether an interface is off for want of a majority.
    pub(crate) fn is_off(&self, number: usize) -> bool {
        let port = &self.interfaces[number].port;
        port.is_alone() && port.setup.on_unquorate == OnUnquorate::Off
    }

    /// Why outputs of an interface are refused at present; counts `refused` of them.
    pub(crate) fn refusal(&self, number: usize, refused: u64) -> Option<CommandError> {
        let port = &self.interfaces[number].port;
        let restriction = port.restriction()?;
        port.counters.withheld.fetch_add(refused, Ordering::Relaxed);
        let why = format!(
            "interface `{}` is {restriction}; bring the other node or the witness back, or write on the node \
             that has the majority",
            port.setup.id
        );
        Some(CommandError::Refused { why })
    }

    /// Interfaces that do not simply go on without a majority.
    pub(crate) fn restricted(&self) -> Vec<usize> {
        self.relevant()
            .filter(|number| self.interfaces[*number].port.setup.on_unquorate != OnUnquorate::Run)
            .collect()
    }
}
