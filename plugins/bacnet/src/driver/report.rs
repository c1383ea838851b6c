//! How the interface is doing: its state, its counters, its diagnosis.

use serde_json::{Value as Json, json};
use twinhub_plugin::{InterfaceState, Role};

use super::Driver;
use crate::device::Standing;

impl Driver {
    /// Tells the hub, as far as something has changed.
    pub(super) fn report(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        for (name, count) in [
            ("bacnet.sent", counts.sent),
            ("bacnet.received", counts.received),
            ("bacnet.notifications", counts.notifications),
            ("bacnet.notifications_unasked", counts.notifications_unasked),
            ("bacnet.unreadable", counts.unreadable),
            ("bacnet.not_sent", counts.not_sent),
            ("bacnet.suppressed", counts.suppressed),
            ("bacnet.polls_missed", counts.polls_missed),
        ] {
            if count > 0 {
                self.cx.count(name, count);
            }
        }
        if self.role == Role::Cold || self.socket.is_none() {
            return;
        }
        let all = self.devices.len();
        let (mut sought, mut silent) = (Vec::new(), Vec::new());
        for (instance, device) in &self.devices {
            match device.standing {
                Standing::Sought | Standing::Met => sought.push(*instance),
                Standing::Silent(_) => silent.push(*instance),
                Standing::Present => {}
            }
        }
        let prefix = if self.role == Role::Active { "" } else { "standby: " };
        let (state, cause) = match (sought.first(), silent.first()) {
            (_, Some(first)) if silent.len() == all => {
                (InterfaceState::Fault, format!("no device answers, device {first} for one"))
            }
            (_, Some(first)) => {
                let count = silent.len();
                (InterfaceState::Degraded, format!("{count} of {all} devices silent, device {first} for one"))
            }
            (Some(first), None) if sought.len() == all => {
                (InterfaceState::Connecting, format!("looking for devices, device {first} for one"))
            }
            (Some(first), None) => {
                let count = sought.len();
                (
                    InterfaceState::Degraded,
                    format!("{count} of {all} devices not found, device {first} for one"),
                )
            }
            (None, None) => (InterfaceState::Ok, format!("{all} devices")),
        };
        self.cx.status(state, format!("{prefix}{cause}"));
    }

    /// What helps to find a fault.
    pub(crate) fn diagnosis(&self) -> Json {
        let (cov, engine, bindings) = (self.cov.counts(), self.engine.counters(), self.bindings.counters());
        let devices: serde_json::Map<String, Json> = self
            .devices
            .iter()
            .take(DEVICES_SHOWN)
            .map(|(instance, device)| {
                let document = json!({
                    "peer": device.peer.map(|peer| peer.to_string()),
                    "standing": match &device.standing {
                        Standing::Sought => "sought",
                        Standing::Met => "met",
                        Standing::Present => "present",
                        Standing::Silent(_) => "silent",
                    },
                    "cause": match &device.standing {
                        Standing::Silent(cause) => Some(cause),
                        Standing::Sought | Standing::Met | Standing::Present => None,
                    },
                    "max_apdu": device.limits.map(|limits| limits.max_apdu),
                    "segmentation": device.limits.map(|limits| limits.segmentation.to_string()),
                    "read_property_multiple": device.ability.takes_multiple,
                    "reads_together": device.ability.reads_max,
                    "answers": device.answers,
                    "failures": device.failures,
                    "last_failure": device.last_failure,
                    "writes_waiting": device.writes.len(),
                });
                (instance.to_string(), document)
            })
            .collect();
        json!({
            "role": format!("{:?}", self.role).to_lowercase(),
            "bind": self.settings.bind.to_string(),
            "is_open": self.socket.is_some(),
            "bbmd": self.foreign.as_ref().map(|foreign| format!("{:?}", foreign.standing()).to_lowercase()),
            "devices_not_found": self.bindings.missing(),
            "device_conflicts": bindings.conflicts,
            "subscriptions": {
                "waiting": cov.waiting,
                "subscribed": cov.subscribed,
                "polled": cov.polled,
                "refusals": self.watches.refusals(),
                "made_after_takeover_ms": self.takeover_ms,
            },
            "transactions": {
                "malformed": engine.malformed,
                "unexpected": engine.unexpected,
                "duplicates": engine.duplicates,
                "retries": engine.retries,
                "windows_again": engine.windows_again,
                "refused": engine.refused_requests,
            },
            "commands": self.commands.texts(),
            "devices": devices,
        })
    }
}

const DEVICES_SHOWN: usize = 200;
