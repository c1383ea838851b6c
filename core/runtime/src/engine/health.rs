//! How well this node's field side is: looked at all the time, told to the role machine when it changes.
//!
//! An active node knows its interfaces by working with them; a standby knows those that keep a link (`warm`,
//! `hot`). Of a `cold` one it knows nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_contract::{role, state};
use twinhub_model::Moment;
use twinhub_redundancy::{Health, Input, InterfaceSight, Sight};

use super::Engine;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// An interface may build up its connection this long before that counts as trouble.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Characters of a cause that are kept.
const CAUSE_CHARS: usize = 160;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct HealthLook {
    looked: Option<Moment>,
    told: Option<Health>,
    /// Since when an interface builds up its connection.
    connecting: BTreeMap<usize, Moment>,
}

impl Engine {
    /// Looks again if it is time.
    pub(crate) fn look_at_health(&mut self, now: Moment) {
        if self.health.looked.is_none_or(|looked| now >= looked + LOOK_INTERVAL) {
            self.report_health(now);
        }
    }

    /// Tells role machine and views how well this node is, if that changed.
    pub(crate) fn report_health(&mut self, now: Moment) {
        self.health.looked = Some(now);
        let seen: Vec<InterfaceSight> =
            (0..self.interfaces.len()).filter_map(|number| self.sight_of(number, now)).collect();
        let health = Health::of(seen);
        if self.health.told.as_ref() == Some(&health) {
            return;
        }
        self.shared.update_group(&self.group, |status| status.health = Some(health.clone()));
        self.health.told = Some(health.clone());
        self.tell(Input::Health(health));
    }

    /// What this node sees of one interface; nothing is expected of one that is off.
    fn sight_of(&mut self, number: usize, now: Moment) -> Option<InterfaceSight> {
        if self.is_off(number) {
            return None;
        }
        let port = &self.interfaces[number].port;
        let (code, cause, _) = port.status();
        let (is_down, is_starting) = (self.down.contains(&number), self.starting.contains(&number));
        let mut is_connecting = false;
        let sight = if is_down {
            Sight::Failed
        } else if is_starting {
            Sight::Unknown
        } else {
            match (code, port.role()) {
                (_, role::COLD) => Sight::Unknown,
                (state::OK | state::SUPPRESSED, _) => Sight::Good,
                (state::DEGRADED, _) => Sight::Degraded,
                (state::CONNECTING, _) => {
                    is_connecting = true;
                    let since = self.health.connecting.get(&number).copied().unwrap_or(now);
                    if now.since(since) < CONNECT_MAX { Sight::Unknown } else { Sight::Failed }
                }
                (_, _) => Sight::Failed,
            }
        };
        let (interface, required) = (port.setup.id.clone(), port.setup.required);
        let word = if is_down { "cannot run" } else { crate::words::interface_state(code) };
        let cause = match (sight, cause.is_empty()) {
            (Sight::Unknown, _) if port.role() == role::COLD => "cold: not seen from here".to_owned(),
            (_, true) => word.to_owned(),
            (_, false) => format!("{word}: {}", cause.chars().take(CAUSE_CHARS).collect::<String>()),
        };
        if is_connecting {
            self.health.connecting.entry(number).or_insert(now);
        } else {
            self.health.connecting.remove(&number);
        }
        Some(InterfaceSight { interface, required, sight, cause })
    }
}
