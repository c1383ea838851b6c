//! How well this node's field side is: looked at all the time, told to the role machine when it changes.
//!
//! An active node knows its interfaces by working with them; a standby knows those that keep a link (`warm`,
//! `hot`), and of a `cold` one what a probe finds. Watched items are a part of their own: they are known where
//! the node hears them itself, which a standby does with a hot interface only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use twinhub_contract::{role, state};
use twinhub_model::{Moment, Sample, SampleFlags, Severity, Value};
use twinhub_redundancy::{Health, Input, InterfaceSight, Sight};

use super::Engine;
use super::watch::{Finding, Watch};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// An interface may build up its connection this long before that counts as trouble.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Characters of a cause that are kept.
const CAUSE_CHARS: usize = 160;

/// What is remembered between two looks.
#[derive(Debug)]
pub(crate) struct HealthLook {
    looked: Option<Moment>,
    told: Option<Health>,
    /// Since when an interface builds up its connection.
    connecting: BTreeMap<usize, Moment>,
    watches: Vec<Watch>,
    /// Which watches were as they must not be at the last look.
    tripped: BTreeSet<usize>,
    /// Which were told to hold something that is compared with nothing.
    incomparable: BTreeSet<usize>,
    /// Whether the node acted at the last look.
    acted: bool,
}

impl HealthLook {
    pub(crate) fn new(watches: Vec<Watch>, now: Moment) -> HealthLook {
        let mut watches = watches;
        for watch in &mut watches {
            watch.begin(None, now);
        }
        HealthLook {
            looked: None,
            told: None,
            connecting: BTreeMap::new(),
            watches,
            tripped: BTreeSet::new(),
            incomparable: BTreeSet::new(),
            acted: false,
        }
    }

    /// Whether any item is watched.
    pub(crate) fn watches_items(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Values that this node received itself.
    pub(crate) fn hear(&mut self, samples: &[Sample], now: Moment) {
        for watch in &mut self.watches {
            let item = watch.item;
            for sample in samples
                .iter()
                .filter(|sample| sample.item == item && !sample.flags.contains(SampleFlags::OLD))
            {
                watch.hear(&sample.value, sample.quality, now);
            }
        }
    }
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
        self.look_at_connections(now);
        self.begin_watches(now);
        let mut seen: Vec<InterfaceSight> =
            (0..self.interfaces.len()).filter_map(|number| self.sight_of(number, now)).collect();
        seen.extend(self.look_at_watches(now));
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
        let is_cold = port.role() == role::COLD;
        let is_down = self.down.contains(&number);
        let is_connecting = code == state::CONNECTING && !is_cold && !is_down;
        let word = if is_down { "cannot run" } else { crate::words::interface_state(code) };
        let mut cause = match (is_cold && !is_down, cause.is_empty()) {
            (true, _) => "cold: not seen from here".to_owned(),
            (false, true) => word.to_owned(),
            (false, false) => format!("{word}: {}", cause.chars().take(CAUSE_CHARS).collect::<String>()),
        };
        let probed = port.probed.found();
        let sight = if is_down {
            Sight::Failed
        } else if self.starting.contains(&number) {
            Sight::Unknown
        } else if is_cold {
            match &probed {
                None => Sight::Unknown,
                Some(Ok(())) => Sight::Good,
                Some(Err(why)) => {
                    cause.clone_from(why);
                    Sight::Failed
                }
            }
        } else if port.role() == role::WARM
            && let Some(Err(why)) = &probed
        {
            // A link that nothing passes says that it stands for a while after the way has gone.
            cause.clone_from(why);
            Sight::Failed
        } else if is_connecting {
            let since = *self.health.connecting.entry(number).or_insert(now);
            if now.since(since) < CONNECT_MAX { Sight::Unknown } else { Sight::Failed }
        } else {
            match code {
                state::OK | state::SUPPRESSED => Sight::Good,
                state::DEGRADED => Sight::Degraded,
                _ => Sight::Failed,
            }
        };
        if !is_connecting {
            self.health.connecting.remove(&number);
        }
        let setup = &port.setup;
        // A standby whose interface is cold can show no more than its probe: what this node's probe does not find
        // wrong, that one cannot prove to be better.
        let disputed = setup.standby_role == role::COLD && probed == Some(Ok(())) && !is_down;
        Some(InterfaceSight { interface: setup.id.clone(), required: setup.required, sight, disputed, cause })
    }

    /// A change of role changes what this node hears itself.
    fn begin_watches(&mut self, now: Moment) {
        let acts = self.is_acting();
        if self.health.acted == acts {
            return;
        }
        self.health.acted = acts;
        for watch in &mut self.health.watches {
            let known = self.table.read(watch.item);
            let known = (known.value != Value::Null || acts).then_some((known.value, known.quality));
            watch.begin(known, now);
        }
    }

    /// One part for each interface with watched items: what is wrong first, then what is not known.
    fn look_at_watches(&mut self, now: Moment) -> Vec<InterfaceSight> {
        let acts = self.is_acting();
        let mut parts: BTreeMap<usize, (Sight, String)> = BTreeMap::new();
        let mut told = Vec::new();
        let mut incomparable = Vec::new();
        for (place, watch) in self.health.watches.iter().enumerate() {
            if self.is_off(watch.interface) {
                continue;
            }
            let key = self.table.key(watch.item);
            if let Some(text) = watch.incomparable()
                && self.health.incomparable.insert(place)
            {
                incomparable.push((key.to_owned(), format!("watched item `{key}`: {text}")));
            }
            let hears = acts || self.interfaces[watch.interface].port.setup.standby_role == role::HOT;
            let finding = if hears { watch.look(now) } else { Finding::Nothing };
            let was_tripped = self.health.tripped.contains(&place);
            let part = match &finding {
                Finding::Tripped(_) => Some((Sight::Failed, format!("{key} is {watch}"))),
                Finding::Nothing => Some((Sight::Unknown, format!("{key} is not heard here"))),
                Finding::Fine => None,
            };
            match (&finding, was_tripped) {
                (Finding::Tripped(what), false) => {
                    told.push((place, true, key.to_owned(), format!("watched item `{key}` is {what}")));
                }
                (Finding::Nothing | Finding::Fine, true) => {
                    told.push((place, false, key.to_owned(), format!("watched item `{key}` is well again")));
                }
                (Finding::Tripped(_), true) | (Finding::Nothing | Finding::Fine, false) => {}
            }
            if let Some(part) = part {
                let known = parts.entry(watch.interface).or_insert_with(|| part.clone());
                if known.0 == Sight::Unknown && part.0 == Sight::Failed {
                    *known = part;
                }
            }
        }
        for (key, text) in incomparable {
            self.event(Severity::Error, &key, "TH-HEALTH-003", &text);
        }
        for (place, is_tripped, key, text) in told {
            let (severity, code) = if is_tripped {
                self.health.tripped.insert(place);
                (Severity::Warning, "TH-HEALTH-001")
            } else {
                self.health.tripped.remove(&place);
                (Severity::Info, "TH-HEALTH-002")
            };
            self.event(severity, &key, code, &text);
        }
        let parts = parts.into_iter().map(|(number, (sight, cause))| {
            let setup = &self.interfaces[number].port.setup;
            let (interface, required) = (setup.id.clone(), setup.required);
            InterfaceSight { interface, required, sight, disputed: false, cause }
        });
        parts.collect()
    }
}
