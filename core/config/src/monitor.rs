//! Checks what is watched of an interface: its monitored items and its probe; and what it cannot promise.

use std::time::Duration;

use twinhub_model::ItemKey;

use crate::assembly::{Assembly, span};
use crate::diagnostic::with_nearest;
use crate::file::{self, AckAfter, MonitorWhen, OnUnprotected};
use crate::link::scalar_value;
use crate::site::{Item, Monitor, Trigger};
use crate::tree::Step;

impl Assembly<'_> {
    pub(crate) fn monitors(&mut self, index: usize, form: &file::Interface, items: &[Item]) -> Vec<Monitor> {
        let mut monitors = Vec::new();
        for (at, monitor) in form.monitor.iter().enumerate() {
            let place = |key| ["interface".into(), index.into(), "monitor".into(), at.into(), Step::Key(key)];
            let found = ItemKey::new(&form.id, &monitor.item)
                .ok()
                .and_then(|key| items.iter().find(|item| item.key == key));
            let Some(item) = found else {
                let paths = items.iter().map(|item| item.key.path());
                let help = with_nearest(&monitor.item, paths, |names| format!("the items are: {names}"));
                let message =
                    format!("interface `{}` has no item `{}`", form.id, monitor.item.escape_debug());
                self.error(&place("item"), message, "unknown item", help);
                continue;
            };
            if !item.access.is_readable() {
                let message = format!("item `{}` is never read, so it cannot be watched", item.key);
                self.error(&place("item"), message, "written only", "watch an item with access `r` or `rw`");
            }
            let trigger = self.trigger(&place("when"), &place("value"), monitor);
            let duration = span(monitor.duration.as_ref(), Duration::from_secs(1));
            if !(FOR_MIN..=FOR_MAX).contains(&duration) {
                let help = "write \"100ms\" to \"30d\"";
                self.error(&place("for"), "`for` is out of range".to_owned(), "here", help);
            }
            // The schema has refused what is out of range.
            let failures = monitor.failures.unwrap_or(1).max(1);
            if let Some(trigger) = trigger {
                monitors.push(Monitor { item: item.key.clone(), trigger, duration, failures });
            }
        }
        monitors
    }

    fn trigger(&mut self, when: &[Step<'_>], value: &[Step<'_>], monitor: &file::Monitor) -> Option<Trigger> {
        let number = monitor.value.as_ref().and_then(|value| match value {
            file::Scalar::Integer(_) | file::Scalar::Number(_) => {
                scalar_value(value).as_f64().filter(|number| number.is_finite())
            }
            file::Scalar::Bool(_) | file::Scalar::Text(_) => None,
        });
        let (trigger, help) = match monitor.when {
            MonitorWhen::Unchanged if monitor.duration.is_none() => {
                let help = "write `for`, such as `for = \"120s\"`: as long as it may stay the same";
                self.error(when, "`unchanged` needs a time".to_owned(), "for how long?", help);
                return None;
            }
            MonitorWhen::Unchanged | MonitorWhen::Bad if monitor.value.is_some() => {
                let help = "leave it out, or write `when = \"equals\"`, `\"above\"` or `\"below\"`";
                self.error(value, "this trigger compares with no value".to_owned(), "not used", help);
                return None;
            }
            MonitorWhen::Unchanged => (Some(Trigger::Unchanged), ""),
            MonitorWhen::Bad => (Some(Trigger::Bad), ""),
            MonitorWhen::Equals => {
                let help = "write the value that must not be, such as `value = 0`";
                (monitor.value.as_ref().map(|value| Trigger::Equals(scalar_value(value))), help)
            }
            MonitorWhen::Above => (number.map(Trigger::Above), "write a number, such as `value = 90`"),
            MonitorWhen::Below => (number.map(Trigger::Below), "write a number, such as `value = 5`"),
        };
        if trigger.is_none() {
            let place = if monitor.value.is_some() { value } else { when };
            self.error(place, "this trigger needs a value to compare with".to_owned(), "here", help);
        }
        trigger
    }

    /// The probes of an interface, for all nodes and for those where it differs.
    pub(crate) fn probes(&mut self, file: &file::File) {
        for (index, form) in file.interface.iter().enumerate() {
            if let Some(probe) = &form.probe {
                self.address(&["interface".into(), index.into(), "probe".into()], probe);
            }
            if file.cluster.nodes.len() < 2 {
                self.peers_wanted(index, form);
            }
        }
        for (name, node) in &file.nodes {
            for (id, change) in &node.overrides.interface {
                if let Some(probe) = &change.probe {
                    let place = [
                        "nodes".into(),
                        name.as_str().into(),
                        "override".into(),
                        "interface".into(),
                        id.as_str().into(),
                        "probe".into(),
                    ];
                    self.address(&place, probe);
                }
            }
        }
    }

    /// What an interface of the only node wants of another one.
    fn peers_wanted(&mut self, index: usize, form: &file::Interface) {
        let place = |key: &'static str| ["interface".into(), index.into(), key.into()];
        if form.on_unprotected == Some(OnUnprotected::Refuse) {
            let message = format!("every command to `{}` would be refused: there is no other node", form.id);
            let help = "name a second node in `cluster.nodes`, or leave it out";
            self.warn(&place("on_unprotected"), message, "waits for a standby", help);
        }
        if form.ack_after == Some(AckAfter::Peer) {
            let message = format!("no other node stores inputs of `{}`", form.id);
            let help = "name a second node in `cluster.nodes`, or write `ack_after = \"local\"`";
            self.warn(&place("ack_after"), message, "needs a standby", help);
        }
    }
}

/// Looking more often finds nothing more.
const FOR_MIN: Duration = Duration::from_millis(100);
const FOR_MAX: Duration = Duration::from_secs(30 * 86_400);
