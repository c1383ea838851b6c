//! What the hub is told of the connection: counters, the state of the interface, and whether its items are fresh.

use super::Driver;
use crate::link::{Host, Role, State};
use crate::session::Counts;

#[derive(Default)]
pub(super) struct Reported {
    session: Counts,
    input: crate::input::Counts,
    pub(super) state: Option<(Role, usize)>,
    /// What the hub was told about the items that read, and in which epoch.
    inputs: Option<(u64, bool)>,
}

impl<H: Host> Driver<H> {
    pub(super) fn report_counts(&mut self) {
        let counts = self.link.session.borrow().counts();
        let before = std::mem::replace(&mut self.reported.session, counts);
        let input = self.link.input_counts();
        let input_before = std::mem::replace(&mut self.reported.input, input);
        for (name, after, before) in [
            ("outbox.overflow", counts.overflow, before.overflow),
            ("outbox.resent", counts.resent, before.resent),
            ("outbox.in_doubt", counts.in_doubt, before.in_doubt),
            ("session.unsolicited", counts.unsolicited, before.unsolicited),
            ("session.duplicates", counts.duplicates, before.duplicates),
            ("input.unmatched", input.unmatched, input_before.unmatched),
            ("input.undecodable", input.undecodable, input_before.undecodable),
        ] {
            // The input tables, and their numbers, begin afresh when items change.
            let add = after.checked_sub(before).unwrap_or(after);
            if add > 0 {
                self.host.count(name, add);
            }
        }
    }

    /// Tells once per epoch and connection whether items show what the broker has. The values stay: an item whose
    /// broker is away shows its last one as uncertain. Only the active node tells; a lost connection that is back
    /// before anybody was told needs no word.
    pub(super) fn report_inputs(&mut self, is_subscribed: bool, refused: &[String]) {
        let report = (self.link.epoch(), is_subscribed);
        if self.link.role() != Role::Active || self.reported.inputs == Some(report) {
            return;
        }
        self.reported.inputs = Some(report);
        let items = self.link.reading_items(refused);
        if !items.is_empty() {
            self.host.requalify(&items, is_subscribed);
        }
    }

    pub(super) fn report_state(&mut self, refused: &[String]) {
        let role = self.link.role();
        if self.reported.state.replace((role, refused.len())) == Some((role, refused.len())) {
            return;
        }
        match role {
            Role::Active if refused.is_empty() => self.host.state(State::Ok, ""),
            Role::Hot | Role::Active if !refused.is_empty() => {
                self.host.state(
                    State::Degraded,
                    &format!("broker refused the subscription of {}", refused.join(", ")),
                );
            }
            Role::Cold | Role::Warm | Role::Hot | Role::Active => {
                self.host.state(State::Suppressed, "connected, not active");
            }
        }
    }
}
