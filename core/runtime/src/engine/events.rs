//! Events and role changes: in the journal if this node writes it.

use twinhub_model::{Epoch, Event, Record, RoleChange, Severity};
use twinhub_redundancy::Reason;

use super::Engine;
use crate::clock;

impl Engine {
    /// Keeps an event for operators; in the journal if this node writes it.
    pub(crate) fn event(&mut self, severity: Severity, source: &str, code: &str, text: &str) {
        self.note(Event {
            severity,
            source: source.into(),
            code: code.into(),
            text: text.into(),
            at: clock::utc(),
        });
    }

    pub(crate) fn note(&mut self, event: Event) {
        self.shared.remember_event(&event);
        if self.is_writer() && self.journal_ok {
            self.append(&Record::Event(event));
        }
    }

    pub(crate) fn role_record(&mut self, epoch: Epoch, from: &str, to: &str, reason: &Reason) {
        let change = RoleChange {
            node: self.me,
            epoch,
            from: from.into(),
            to: to.into(),
            reason: reason.to_string().into(),
            at: clock::utc(),
        };
        self.append(&Record::Role(change));
    }
}
