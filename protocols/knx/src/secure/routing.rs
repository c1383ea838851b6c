//! Secure multicast: routing whose frames are encrypted with the key of the backbone.
//!
//! ```text
//!          Start                        answer, or none in time
//!   Closed ──────► Synchronizing ─────────────────────────────────► Open
//!    ▲               │ Stop                                          │ Stop
//!    └───────────────┴───────────────────────────────────────────────┘
//! ```
//! There is no session. What makes a frame fresh is a timer that all members have in common: milliseconds that only go
//! forward. A frame that is older than the latency tolerance is refused, one that was heard before, too. A node that joins
//! asks for the timer, and neither sends nor believes anything before it has it; what is to be sent meanwhile waits. If
//! nobody answers it is alone, and its own timer counts.
//!
//! # Timer
//! Each member is *timekeeper* or follower. A timekeeper tells its timer every ten seconds, a follower only if it did not
//! hear one for somewhat longer, and becomes timekeeper by that. Who hears a timekeeper whose timer is not behind its own
//! becomes follower. A timer ahead of the own one is taken over. One far behind is answered, after a random time so that one
//! answer is enough.
//!
//! Serial number, timer and tag make each frame unique under its key, so each node needs a serial number of its own, and
//! begins after a restart above what it had before: [`GroupConfig::timer_ms`].
//!
//! # Use
//! [`SecureRouting`] takes and gives what [`Routing`] does.
//! ```
//! use twinhub_knx_protocol::routing::{Input, Output};
//! use twinhub_knx_protocol::secure::routing::{GroupConfig, SecureRouting};
//! use twinhub_knx_protocol::secure::Key;
//! use twinhub_knx_protocol::{IndividualAddress, Moment, RoutingConfig};
//!
//! let config = RoutingConfig::new(IndividualAddress(0x11f0), 42);
//! let group = GroupConfig::new(Key::new([7; 16]), [0, 0xfa, 1, 2, 3, 4], 263_520_000_000, 42);
//! let mut routing = SecureRouting::new(config).with_group(group);
//! routing.handle_input(Input::Start, Moment::ZERO);
//! while let Output::Action(action) = routing.poll_output() {
//!     // Send frames, take telegrams: as with routing that is not secure.
//! #   drop(action);
//! }
//! ```
//! Standard: `03_08_09` KNX IP Secure v01.01.02, §2.2.2.3 (synchronization; its events E1 to E12 are named where they are
//! handled), §2.4.1 (plain frames are not taken).

mod group;
mod recent;

pub use group::{GroupConfig, GroupCounters};

use std::collections::VecDeque;

use super::DataSecure;
use crate::routing::{Action, Counters, Input, Output, ReadOutcome, SendOutcome};
use crate::{IndividualAddress, Moment, Routing, RoutingConfig};
use group::{Group, Heard};

/// The most telegrams that wait for the timer.
pub const HELD_MAX: usize = 256;

/// Routing with what protects it.
#[derive(Debug)]
pub struct SecureRouting {
    routing: Routing,
    address: IndividualAddress,
    group: Option<Group>,
    data: Option<DataSecure>,
    /// What is to be sent once the timer is known.
    held: VecDeque<Input>,
    actions: VecDeque<Action>,
}

impl SecureRouting {
    /// Without protection: as routing itself.
    pub fn new(config: RoutingConfig) -> SecureRouting {
        SecureRouting {
            address: config.address,
            routing: Routing::new(config),
            group: None,
            data: None,
            held: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// With the key of the backbone.
    #[must_use]
    pub fn with_group(self, config: GroupConfig) -> SecureRouting {
        SecureRouting { group: Some(Group::new(config)), ..self }
    }

    /// With telegrams of Data Secure.
    #[must_use]
    pub fn with_data(self, data: DataSecure) -> SecureRouting {
        SecureRouting { data: Some(data), ..self }
    }

    /// What routing counted.
    pub const fn counters(&self) -> Counters {
        self.routing.counters()
    }

    /// What was counted of secure frames; zeros without a group.
    pub fn group_counters(&self) -> GroupCounters {
        self.group.as_ref().map(Group::counters).unwrap_or_default()
    }

    /// Data Secure, to save its numbers.
    pub const fn data(&mut self) -> Option<&mut DataSecure> {
        self.data.as_mut()
    }

    /// Telegrams that wait.
    pub fn waiting(&self) -> usize {
        self.routing.waiting() + self.held.len()
    }

    /// Whether the timer is known; true without a group.
    pub fn is_synchronized(&self) -> bool {
        self.group.as_ref().is_none_or(Group::is_open)
    }

    /// Whether this node tells the timer to the others.
    pub fn is_timekeeper(&self) -> bool {
        self.group.as_ref().is_some_and(Group::is_timekeeper)
    }

    /// The timer in milliseconds, to be saved: after a restart a node begins above it.
    pub fn timer_ms(&self, now: Moment) -> Option<u64> {
        self.group.as_ref().map(|group| group.timer(now))
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        match input {
            Input::Start => {
                if let Some(group) = &mut self.group {
                    group.start(now);
                }
                self.routing.handle_input(Input::Start, now);
            }
            Input::Stop => self.on_stop(now),
            Input::Frame(bytes) => self.on_frame(bytes, now),
            Input::Send { .. } | Input::Read { .. } if self.waits() => self.hold(input),
            Input::Send { .. } | Input::Read { .. } => self.routing.handle_input(input, now),
            Input::Wakeup => {
                if let Some(group) = &mut self.group {
                    group.wakeup(now);
                }
                self.routing.handle_input(Input::Wakeup, now);
            }
        }
        self.pump(now);
        assert!(self.held.len() <= HELD_MAX, "what is held is bounded");
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        if let Some(action) = self.actions.pop_front() {
            return Output::Action(action);
        }
        let group = self.group.as_ref().map_or(Moment::NEVER, Group::timeout);
        match self.routing.poll_output() {
            Output::Timeout(moment) => Output::Timeout(moment.min(group)),
            action @ Output::Action(_) => action,
        }
    }

    /// Whether the timer is being asked for.
    fn waits(&self) -> bool {
        self.group.as_ref().is_some_and(Group::is_synchronizing)
    }

    fn hold(&mut self, input: Input) {
        if self.held.len() < HELD_MAX {
            self.held.push_back(input);
        } else {
            self.refuse(&input, SendOutcome::QueueFull { waiting: HELD_MAX, max: HELD_MAX });
        }
    }

    fn refuse(&mut self, input: &Input, outcome: SendOutcome) {
        match input {
            Input::Send { id, .. } => self.actions.push_back(Action::Sent { id: *id, outcome }),
            Input::Read { id, .. } => {
                self.actions.push_back(Action::ReadDone { id: *id, outcome: ReadOutcome::NotAsked(outcome) });
            }
            Input::Start | Input::Stop | Input::Frame(_) | Input::Wakeup => {}
        }
    }

    fn on_stop(&mut self, now: Moment) {
        if let Some(group) = &mut self.group {
            group.stop();
        }
        for input in std::mem::take(&mut self.held) {
            self.refuse(&input, SendOutcome::NotSent);
        }
        self.routing.handle_input(Input::Stop, now);
    }

    fn on_frame(&mut self, bytes: Vec<u8>, now: Moment) {
        let bytes = match self.group.as_mut().map(|group| group.hear(&bytes, now)) {
            None => bytes,
            Some(Heard::Frame(bytes)) => bytes,
            Some(Heard::Nothing) => return,
        };
        let bytes = match &mut self.data {
            Some(data) => data.incoming(bytes, self.address),
            None => bytes,
        };
        self.routing.handle_input(Input::Frame(bytes), now);
    }

    fn pump(&mut self, now: Moment) {
        if !self.waits() {
            for input in std::mem::take(&mut self.held) {
                self.routing.handle_input(input, now);
            }
        }
        while let Output::Action(action) = self.routing.poll_output() {
            let Action::Transmit { frame } = action else {
                self.actions.push_back(action);
                continue;
            };
            let frame = match &mut self.data {
                Some(data) => data.outgoing(frame, self.address),
                None => Some(frame),
            };
            let frame = match (&mut self.group, frame) {
                (Some(group), Some(frame)) => group.wrap(&frame, now),
                (None, frame) => frame,
                (Some(_), None) => None,
            };
            self.actions.extend(frame.map(|frame| Action::Transmit { frame }));
        }
        if let Some(group) = &mut self.group {
            self.actions.extend(group.take_frames().map(|frame| Action::Transmit { frame }));
        }
    }
}

#[cfg(test)]
mod tests;
