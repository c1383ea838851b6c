//! Where devices are: Who-Is and I-Am, clause 16.10, with a memory.
//!
//! ```text
//!   wanted --Who-Is, again after 1 s, 2 s ... ask_max--> I-Am --> bound --silent--> asked for, binding kept
//!                                                                   ^                        |
//!                                                                   +------- I-Am -----------+
//! ```
//!
//! Only devices that are wanted are remembered. While a device answers where it is bound, an I-Am from elsewhere changes
//! nothing and is counted: two devices of one instance would otherwise take turns.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::engine::{Peer, PeerLimits};
use crate::moment::Moment;
use crate::services::{IAm, WhoIs};

/// The most devices that are wanted.
pub const DEVICES_MAX: usize = 4096;

/// How devices are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingSettings {
    /// Pause after the first Who-Is; it doubles. 1 s by default.
    pub ask_min: Duration,
    /// The longest pause. 60 s by default.
    pub ask_max: Duration,
    /// Time between two Who-Is. 20 ms by default.
    pub pace: Duration,
}

impl Default for BindingSettings {
    fn default() -> BindingSettings {
        BindingSettings {
            ask_min: Duration::from_secs(1),
            ask_max: Duration::from_secs(60),
            pace: Duration::from_millis(20),
        }
    }
}

/// Where a device is, and what it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub peer: Peer,
    /// What it can take.
    pub limits: PeerLimits,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingAction {
    /// Send this to everyone.
    WhoIs(WhoIs),
    /// A device was found, again or elsewhere.
    Bound {
        /// Its instance.
        instance: u32,
        /// Where it is.
        binding: Binding,
        /// Whether it is where it was.
        is_same: bool,
    },
}

/// What is wanted of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingOutput {
    /// Something is to be done.
    Action(BindingAction),
    /// Nothing before this time, unless there is another input.
    Timeout(Moment),
}

/// What was not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingCounters {
    /// I-Am of a bound device from elsewhere.
    pub conflicts: u64,
    /// Devices that are not looked for because too many are.
    pub refused: u64,
}

#[derive(Debug)]
struct Device {
    binding: Option<Binding>,
    /// When it is asked for next, and the pause after that; none while it is bound and answers.
    asks: Option<(Moment, Duration)>,
}

/// The devices that are wanted.
#[derive(Debug)]
pub struct Bindings {
    settings: BindingSettings,
    devices: BTreeMap<u32, Device>,
    actions: VecDeque<BindingAction>,
    ask_at: Moment,
    counters: BindingCounters,
}

impl Bindings {
    /// With no device.
    pub fn new(settings: BindingSettings) -> Bindings {
        Bindings {
            settings,
            devices: BTreeMap::new(),
            actions: VecDeque::new(),
            ask_at: Moment::START,
            counters: BindingCounters::default(),
        }
    }

    /// What was not taken.
    pub fn counters(&self) -> BindingCounters {
        self.counters
    }

    /// Where a device is.
    pub fn get(&self, instance: u32) -> Option<Binding> {
        self.devices.get(&instance)?.binding
    }

    /// How many devices are wanted and not found.
    pub fn missing(&self) -> usize {
        self.devices.values().filter(|device| device.binding.is_none()).count()
    }

    /// A device is wanted; what is known of it from before is taken for true until it is silent.
    pub fn want(&mut self, instance: u32, known: Option<Binding>, now: Moment) {
        if self.devices.contains_key(&instance) {
            return;
        }
        if self.devices.len() >= DEVICES_MAX {
            self.counters.refused += 1;
            return;
        }
        let asks = known.is_none().then_some((now, self.settings.ask_min));
        self.devices.insert(instance, Device { binding: known, asks });
    }

    /// A device is not wanted any more.
    pub fn forget(&mut self, instance: u32) {
        self.devices.remove(&instance);
    }

    /// A device does not answer where it is bound: it may be elsewhere.
    pub fn on_silent(&mut self, instance: u32, now: Moment) {
        if let Some(device) = self.devices.get_mut(&instance) {
            device.asks.get_or_insert((now, self.settings.ask_min));
        }
    }

    /// Who-Is reaches more than before: what is missing is asked for at once.
    pub fn on_reach(&mut self, now: Moment) {
        for device in self.devices.values_mut().filter(|device| device.binding.is_none()) {
            device.asks = Some((now, self.settings.ask_min));
        }
    }

    /// A device answers where it is bound.
    pub fn on_answered(&mut self, instance: u32) {
        if let Some(device) = self.devices.get_mut(&instance)
            && device.binding.is_some()
        {
            device.asks = None;
        }
    }

    /// A device says where it is.
    pub fn on_i_am(&mut self, peer: Peer, i_am: &IAm) {
        let instance = i_am.device.instance();
        let Some(device) = self.devices.get_mut(&instance) else { return };
        let is_same = device.binding.is_some_and(|binding| binding.peer == peer);
        if device.binding.is_some() && !is_same && device.asks.is_none() {
            self.counters.conflicts += 1;
            return;
        }
        let max_apdu = u16::try_from(i_am.max_apdu).unwrap_or(u16::MAX);
        let limits = PeerLimits { max_apdu, segmentation: i_am.segmentation, segments_max: None };
        let binding = Binding { peer, limits };
        let is_news = device.binding != Some(binding) || device.asks.is_some();
        (device.binding, device.asks) = (Some(binding), None);
        if is_news {
            self.actions.push_back(BindingAction::Bound { instance, binding, is_same });
        }
    }

    /// The next thing to do, or until when there is nothing.
    pub fn poll_output(&mut self, now: Moment) -> BindingOutput {
        if let Some(action) = self.actions.pop_front() {
            return BindingOutput::Action(action);
        }
        let next = self
            .devices
            .values()
            .filter_map(|device| device.asks)
            .map(|(at, _)| at)
            .min()
            .unwrap_or(Moment::NEVER);
        let next = if next == Moment::NEVER { next } else { next.max(self.ask_at) };
        if next > now {
            return BindingOutput::Timeout(next);
        }
        self.ask_at = now + self.settings.pace;
        BindingOutput::Action(BindingAction::WhoIs(WhoIs { range: Some(self.take_due(now)) }))
    }

    /// Takes devices that are due and whose instances follow each other, so that nobody else answers.
    fn take_due(&mut self, now: Moment) -> (u32, u32) {
        let ask_max = self.settings.ask_max;
        let due = self.devices.iter_mut().filter(|(_, device)| device.asks.is_some_and(|(at, _)| at <= now));
        let mut range: Option<(u32, u32)> = None;
        for (instance, device) in due {
            match &mut range {
                None => range = Some((*instance, *instance)),
                Some((_, last)) if *last + 1 == *instance => *last = *instance,
                Some(_) => break,
            }
            device.asks = device.asks.map(|(_, pause)| (now + pause, (pause * 2).min(ask_max)));
        }
        range.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;
    use crate::names::Segmentation;
    use crate::value::ObjectId;

    #[test]
    fn a_wanted_device_is_asked_for_until_it_is_found_with_growing_pauses() {
        let mut bindings = Bindings::new(BindingSettings::default());
        bindings.want(7, None, Moment::START);
        let mut asked = Vec::new();
        let mut now = Moment::START;
        while asked.len() < 9 {
            match bindings.poll_output(now) {
                BindingOutput::Action(BindingAction::WhoIs(who)) => {
                    assert_eq!(who.range, Some((7, 7)));
                    asked.push(now.since_start().as_secs());
                }
                BindingOutput::Action(other) => panic!("{other:?}"),
                BindingOutput::Timeout(at) => now = at,
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        bindings.on_i_am(peer(1), &i_am(7));
        assert!(matches!(bindings.poll_output(now), BindingOutput::Action(BindingAction::Bound { .. })));
        assert_eq!(bindings.poll_output(now), BindingOutput::Timeout(Moment::NEVER));
        assert_eq!(bindings.get(7).unwrap().limits.max_apdu, 480);
    }

    #[test]
    fn neighbors_are_asked_for_together_and_others_after_a_pause() {
        let mut bindings = Bindings::new(BindingSettings::default());
        for instance in [1, 2, 3, 10] {
            bindings.want(instance, None, Moment::START);
        }
        let who = |range| BindingOutput::Action(BindingAction::WhoIs(WhoIs { range: Some(range) }));
        assert_eq!(bindings.poll_output(Moment::START), who((1, 3)));
        let later = Moment::START + Duration::from_millis(20);
        assert_eq!(bindings.poll_output(Moment::START), BindingOutput::Timeout(later));
        assert_eq!(bindings.poll_output(later), who((10, 10)));
        assert_eq!(bindings.missing(), 4);
    }

    #[test]
    fn a_device_moves_only_when_it_is_silent() {
        let mut bindings = Bindings::new(BindingSettings::default());
        bindings.want(7, None, Moment::START);
        bindings.on_i_am(peer(1), &i_am(7));
        bindings.on_i_am(peer(2), &i_am(7));
        assert_eq!(bindings.counters().conflicts, 1);
        assert_eq!(bindings.get(7).unwrap().peer, peer(1));
        bindings.on_silent(7, Moment::START);
        bindings.on_i_am(peer(2), &i_am(7));
        assert_eq!(bindings.get(7).unwrap().peer, peer(2));
        bindings.on_i_am(peer(3), &i_am(8));
        assert_eq!(bindings.get(8), None, "nobody wants it");
    }

    #[test]
    fn what_is_missing_is_asked_for_at_once_when_more_can_be_reached() {
        let mut bindings = Bindings::new(BindingSettings::default());
        bindings.want(7, None, Moment::START);
        let now = Moment::after_start(Duration::from_millis(100));
        assert!(matches!(bindings.poll_output(Moment::START), BindingOutput::Action(_)));
        assert!(matches!(bindings.poll_output(now), BindingOutput::Timeout(_)));
        bindings.on_reach(now);
        assert!(matches!(bindings.poll_output(now), BindingOutput::Action(BindingAction::WhoIs(_))));
    }

    #[test]
    fn there_is_a_limit() {
        let mut bindings = Bindings::new(BindingSettings::default());
        for instance in 0..=u32::try_from(DEVICES_MAX).unwrap() {
            bindings.want(instance, None, Moment::START);
        }
        assert_eq!((bindings.missing(), bindings.counters().refused), (DEVICES_MAX, 1));
    }

    fn peer(host: u8) -> Peer {
        Peer::local(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 47_808))
    }

    fn i_am(instance: u32) -> IAm {
        IAm { device: ObjectId::device(instance), max_apdu: 480, segmentation: Segmentation::BOTH, vendor: 1 }
    }
}
