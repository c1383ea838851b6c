//! Instances that come, fault, and come again.

use twinhub_contract::role;
use twinhub_model::Severity;
use twinhub_redundancy::Input;

use super::Engine;
use crate::clock;
use crate::instance::ROLE_MAX;

impl Engine {
    /// An operator wants another instance. Commands that are under way end as the plugin ends them, the others wait for the
    /// new one; it is given what the one before knew.
    pub(super) fn on_renew(&mut self, interface: usize, operation: u64, by: &str) {
        let id = self.interfaces[interface].port.setup.id.clone();
        let refusal = if self.renewing.contains_key(&interface) || self.starting.contains(&interface) {
            Some("it is being started already")
        } else if self.is_upgrading(interface) {
            Some("another version of its plugin is being brought in")
        } else {
            None
        };
        if let Some(why) = refusal {
            return self.shared.end_operation(
                operation,
                &self.group,
                false,
                &format!("interface `{id}`: {why}"),
            );
        }
        self.renewing.insert(interface, operation);
        let text = format!("interface `{id}` is restarted by {by}");
        self.event(Severity::Info, &id, "TH-INTERFACE-105", &text);
        // The thread of the interface takes one after the other.
        self.ask_state_of(interface);
        self.down.insert(interface);
        self.on_left(interface, role::COLD);
        self.interfaces[interface].renew();
        self.report_health(clock::now());
    }

    pub(super) fn on_ready(&mut self, interface: usize, result: Result<(), String>) {
        let id = self.interfaces[interface].port.setup.id.clone();
        if let Some(operation) = self.renewing.remove(&interface) {
            self.forget_state(interface);
            let said = match &result {
                Ok(()) => format!("interface `{id}` has another instance"),
                Err(cause) => format!("interface `{id}` cannot run: {cause}"),
            };
            self.shared.end_operation(operation, &self.group, result.is_ok(), &said);
        }
        match result {
            Ok(()) => {
                self.down.remove(&interface);
                tracing::info!(interface = %id, "interface is loaded");
                self.give_role(interface);
            }
            Err(cause) => {
                self.down.insert(interface);
                tracing::error!(interface = %id, cause, "interface cannot run");
                let text = format!("interface `{id}` cannot run: {cause}");
                self.event(Severity::Error, &id, "TH-PLUGIN-001", &text);
                if self.interfaces[interface].port.setup.required && self.is_acting() {
                    self.tell(Input::StepFailed { step: format!("interface {id}: {cause}") });
                }
            }
        }
        if self.starting.remove(&interface) && self.starting.is_empty() {
            self.tell(Input::Loaded);
        }
        self.report_health(clock::now());
    }

    pub(super) fn on_faulted(&mut self, interface: usize, cause: &str) {
        let id = self.interfaces[interface].port.setup.id.clone();
        tracing::error!(interface = %id, cause, "plugin faulted, a new instance takes its place");
        self.shared.count_panic();
        self.down.insert(interface);
        let text = format!("the plugin of interface `{id}` faulted: {cause}");
        self.event(Severity::Error, &id, "TH-PLUGIN-002", &text);
        self.on_left(interface, role::COLD);
        self.forget_state(interface);
        self.blame_events(interface);
        self.interfaces[interface].restart(Some(cause));
        self.report_health(clock::now());
    }

    pub(super) fn on_quarantined(&mut self, interface: usize, cause: &str) {
        let id = self.interfaces[interface].port.setup.id.clone();
        let text = format!(
            "the plugin of interface `{id}` {cause}: on this node it runs in a process of its own from now on"
        );
        tracing::warn!(interface = %id, "{text}");
        self.event(Severity::Warning, &id, "TH-PLUGIN-003", &text);
    }

    /// Orders the role that an instance should have in the present phase.
    pub(super) fn give_role(&self, interface: usize) {
        let target = &self.interfaces[interface];
        if !target.port.setup.relevant {
            return;
        }
        match self.acting_epoch() {
            Some(epoch) if !self.is_off(interface) => {
                self.give_state(interface);
                target.set_role(role::ACTIVE, epoch, clock::now() + ROLE_MAX);
            }
            Some(_) | None => {
                target.set_role(target.port.setup.standby_role, self.last_epoch(), clock::now() + ROLE_MAX);
            }
        }
    }
}
