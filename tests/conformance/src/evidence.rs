//! What each node was seen to do, and what arrived.

use std::time::Instant;

use twinhub_peers::{Message, Packet, Sent};

use crate::error::Result;
use crate::field::{COUNTER_REGISTER, Field, SETPOINT_REGISTER};
use crate::figures::Window;

/// Something a node did at a device or broker.
#[derive(Clone, Debug)]
pub struct Act {
    /// When it passed the node's tap.
    pub at: Instant,
    /// Which node: the tap is its own.
    pub node: String,
    /// What.
    pub effect: Effect,
}

/// What a node can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Asked the device for registers.
    Poll,
    /// Was told the counter.
    Told(u16),
    /// Wrote the setpoint.
    Write(u16),
    /// Wrote something else.
    OtherWrite,
    /// Published the counter.
    Publish(u16),
    /// Published something else.
    OtherPublish,
}

/// Everything known about a run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the nodes did, in order of time.
    pub acts: Vec<Act>,
    /// Counts that reached the subscriber.
    pub arrivals: Vec<(Instant, u16)>,
    /// Numbered commands that were published.
    pub commands: Vec<(Instant, u16)>,
    /// Setpoints in the order in which the device took them.
    pub written: Vec<u16>,
}

impl Evidence {
    /// Collects what taps, subscriber, publisher and device have seen so far.
    pub fn collect(field: &Field, messages: &[Message], commands: Vec<(Instant, u16)>) -> Result<Self> {
        let mut acts = Vec::new();
        for taps in field.taps() {
            for event in taps.modbus.events().into_iter().chain(taps.mqtt.events()) {
                if let Some(effect) = Effect::of(&event.sent) {
                    acts.push(Act { at: event.at, node: taps.node.clone(), effect });
                }
            }
        }
        acts.sort_by_key(|act| act.at);
        let arrivals = messages
            .iter()
            .filter(|message| message.topic == COUNTER_TOPIC)
            .filter_map(|message| Some((message.at, number(&message.payload)?)))
            .collect();
        Ok(Self { acts, arrivals, commands, written: field.written_setpoints()? })
    }
}

impl Evidence {
    /// Leaves out what says nothing where a standby polls as the active node does: polls, of which both make the same, and
    /// what a node was told while it did not act. Of that, links carry the newest after a takeover.
    pub(crate) fn leave_out_standby_polls(&mut self, window: &Window) {
        let is_begin = |act: &&Act| {
            act.effect.is_output() && act.at >= window.fault && window.new.as_ref() == Some(&act.node)
        };
        let begin = self.acts.iter().find(is_begin).map(|act| act.at);
        let is_told_to_active = |act: &Act| match begin {
            Some(begin) if act.at >= begin => Some(&act.node) == window.new.as_ref(),
            Some(_) | None => act.node == window.old,
        };
        self.acts.retain(|act| match act.effect {
            Effect::Poll => false,
            Effect::Told(_) => is_told_to_active(act),
            Effect::Write(_) | Effect::OtherWrite | Effect::Publish(_) | Effect::OtherPublish => true,
        });
    }
}

impl Effect {
    /// What a tap has seen, if it counts.
    pub fn of(sent: &Sent) -> Option<Self> {
        match sent {
            Sent::Request(request) if request.is_write() => {
                let offset = usize::from(SETPOINT_REGISTER.wrapping_sub(request.address));
                Some(request.values.get(offset).map_or(Effect::OtherWrite, |value| Effect::Write(*value)))
            }
            Sent::Request(_) => Some(Effect::Poll),
            Sent::Registers { address, values } => {
                let offset = usize::from(COUNTER_REGISTER.wrapping_sub(*address));
                values.get(offset).map(|value| Effect::Told(*value))
            }
            Sent::Packet(Packet::Publish { topic, payload, .. }) => match number(payload) {
                Some(count) if topic == COUNTER_TOPIC => Some(Effect::Publish(count)),
                _ => Some(Effect::OtherPublish),
            },
            Sent::Packet(Packet::Connect { .. } | Packet::Other(_))
            | Sent::Exception { .. }
            | Sent::Delivered(_) => None,
        }
    }

    /// Whether it is traffic with the Modbus device; else it is with the broker.
    pub fn is_modbus(self) -> bool {
        match self {
            Self::Poll | Self::Told(_) | Self::Write(_) | Self::OtherWrite => true,
            Self::Publish(_) | Self::OtherPublish => false,
        }
    }

    /// Whether the node did it, rather than being told.
    pub fn is_sent(self) -> bool {
        !matches!(self, Self::Told(_))
    }

    /// Whether it changes something outside.
    pub fn is_output(self) -> bool {
        match self {
            Self::Write(_) | Self::OtherWrite | Self::Publish(_) | Self::OtherPublish => true,
            Self::Poll | Self::Told(_) => false,
        }
    }
}

fn number(payload: &[u8]) -> Option<u16> {
    std::str::from_utf8(payload).ok()?.trim().parse().ok()
}

/// Where the counter is published.
pub(crate) const COUNTER_TOPIC: &str = "demo/counter";
/// Where commands are taken from.
pub(crate) const SETPOINT_TOPIC: &str = "demo/setpoint";
