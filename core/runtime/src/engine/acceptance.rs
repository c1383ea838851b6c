//! Inputs whose sender waits for an acknowledgment.
//!
//! A plugin that acknowledges inputs (MQTT `QoS` 1, say) does so when the hub has accepted them: when they are on
//! this node's disk (`ack_after = "local"`), or on a standby's (`"peer"`), so that whatever dies, one node has
//! what the sender forgets. A standby that does not answer within [`PEER_WAIT_MAX`] makes the input unprotected:
//! it is accepted when this node's disk has it, and counted, or it waits, as `on_unprotected` says. Batches are
//! accepted in the order they were taken. What was taken and not journaled because the role ended is not accepted
//! before the instance has left the role; without an acknowledgment its sender gives it to the successor.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use twinhub_config::{AckAfter, OnUnprotected};
use twinhub_model::{Moment, Position, Sample, Severity};

use super::commands::PEER_WAIT_MAX;
use super::{Engine, Phase};
use crate::clock;
use crate::instance::Interface;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// In the journal, at this position or before.
    At(Position),
    /// Only heard: the active node journals what this one hears.
    Heard,
    /// It did not get into the journal.
    Lost,
}

/// What is known of all interfaces that want to know when their inputs are accepted.
#[derive(Debug)]
pub(crate) struct Acceptance {
    lines: BTreeMap<usize, Line>,
    /// Whether any interface wants its inputs on a standby's disk.
    wants_peer: bool,
}

impl Acceptance {
    pub(crate) fn new(interfaces: &[Interface]) -> Acceptance {
        let is_peer = |interface: &Interface| interface.port.setup.ack_after == AckAfter::Peer;
        Acceptance { lines: BTreeMap::new(), wants_peer: interfaces.iter().any(is_peer) }
    }
}

/// Batches of one interface, in the order they were taken.
#[derive(Debug, Default)]
struct Line {
    seen: u64,
    accepted: u64,
    waiting: VecDeque<Waiting>,
    /// Whether its inputs go on unprotected; said once.
    is_unprotected: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// All batches up to this one.
    pub(super) through: u64,
    pub(super) placed: Placed,
    pub(super) since: Moment,
}

/// What a look at the front of the line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Unprotected,
    Waits,
}

/// Where records have to be, and where they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disks {
    pub(super) local: Position,
    pub(super) peer: Position,
    has_standby: bool,
    /// Whether a standby answers in time at present.
    answers: bool,
    /// Whether the role is left: no instance is active here.
    pub(super) is_left: bool,
}

impl Line {
    fn push(&mut self, placed: Placed, since: Moment) {
        self.seen += 1;
        let next = Waiting { through: self.seen, placed, since };
        let is_full = self.waiting.len() >= WAITING_MAX;
        match self.waiting.back_mut() {
            Some(last) if last.placed == placed => last.through = self.seen,
            // Coarser: those before are accepted a little later, or are lost, too.
            Some(last) if is_full && last.placed == Placed::Lost => last.through = self.seen,
            Some(last) if is_full => *last = next,
            Some(_) | None => self.waiting.push_back(next),
        }
    }
}

impl Disks {
    pub(super) fn verdict(
        &self,
        wanted: AckAfter,
        otherwise: OnUnprotected,
        waiting: Waiting,
        now: Moment,
    ) -> Verdict {
        let position = match waiting.placed {
            // Nobody acts here: who acts has it journaled or heard it, or the sender gives it to who does.
            Placed::At(_) | Placed::Heard | Placed::Lost if self.is_left => return Verdict::Accepted,
            Placed::Heard => return Verdict::Accepted,
            Placed::Lost => return Verdict::Waits,
            Placed::At(position) => position,
        };
        match wanted {
            AckAfter::None | AckAfter::Local if position <= self.local => Verdict::Accepted,
            AckAfter::None | AckAfter::Local => Verdict::Waits,
            AckAfter::Peer if position <= self.peer => Verdict::Accepted,
            AckAfter::Peer => {
                let is_late = !self.has_standby || !self.answers || now >= waiting.since + PEER_WAIT_MAX;
                match otherwise {
                    OnUnprotected::Proceed if is_late && position <= self.local => Verdict::Unprotected,
                    OnUnprotected::Proceed | OnUnprotected::Refuse => Verdict::Waits,
                }
            }
        }
    }
}

impl Engine {
    /// A batch of an interface that wants to know was handled.
    pub(crate) fn note_batch(&mut self, from: Option<usize>, placed: Placed) {
        let Some(number) = from else { return };
        self.acceptance.lines.entry(number).or_default().push(placed, clock::now());
        // A standby in sync brings it to its own disk; without one, this node's is what counts.
        if matches!(placed, Placed::At(_)) && (self.wants_local(number) || !self.is_answered()) {
            self.sync_wanted = true;
        }
    }

    /// Accepts what is where it has to be, and tells the plugins.
    pub(crate) fn accept(&mut self, now: Moment) {
        if self.acceptance.lines.values().all(|line| line.waiting.is_empty()) {
            return;
        }
        let disks = self.disks();
        let mut lines = std::mem::take(&mut self.acceptance.lines);
        for (number, line) in &mut lines {
            self.accept_of(*number, line, disks, now);
        }
        self.acceptance.lines = lines;
    }

    pub(super) fn disks(&self) -> Disks {
        Disks {
            local: self.journal.durable(),
            peer: self.durable_on_standby(),
            has_standby: self.has_standby_in_sync(),
            answers: self.unanswered_since.is_none(),
            is_left: matches!(self.phase, Phase::Standby),
        }
    }

    fn accept_of(&mut self, number: usize, line: &mut Line, disks: Disks, now: Moment) {
        let port = Arc::clone(&self.interfaces[number].port);
        let before = line.accepted;
        while let Some(front) = line.waiting.front().copied() {
            let verdict = disks.verdict(port.setup.ack_after, port.setup.on_unprotected, front, now);
            match verdict {
                Verdict::Waits => break,
                Verdict::Accepted => {
                    if !disks.is_left && std::mem::take(&mut line.is_unprotected) {
                        let text = format!("a standby stores the inputs of `{}` again", port.setup.id);
                        self.event(Severity::Info, &port.setup.id, "TH-ACK-002", &text);
                    }
                }
                Verdict::Unprotected => {
                    let batches = front.through - line.accepted;
                    port.counters.unprotected_inputs.fetch_add(batches, Ordering::Relaxed);
                    if disks.has_standby {
                        // Inputs and commands after this one do not wait until the standby answers again.
                        self.unanswered_since.get_or_insert(disks.peer);
                    }
                    if !std::mem::replace(&mut line.is_unprotected, true) {
                        let text = format!(
                            "inputs of `{}` are acknowledged though no standby has stored them",
                            port.setup.id
                        );
                        self.event(Severity::Warning, &port.setup.id, "TH-ACK-001", &text);
                    }
                }
            }
            line.accepted = front.through;
            line.waiting.pop_front();
        }
        if self.must_sync_for(line, disks, now) {
            self.sync_wanted = true;
        }
        if line.accepted > before {
            port.accepting.accept(line.accepted);
            if let Some(instance) = self.interfaces[number].instance() {
                instance.accepted(line.accepted);
            }
        }
    }

    /// Whether the front of the line waits for this node's disk because no standby answers.
    fn must_sync_for(&self, line: &Line, disks: Disks, now: Moment) -> bool {
        line.waiting.front().is_some_and(|front| match front.placed {
            Placed::At(position) => {
                position > disks.local && (!self.is_answered() || now >= front.since + PEER_WAIT_MAX)
            }
            Placed::Heard | Placed::Lost => false,
        })
    }

    /// When acceptance needs the engine next, whatever happens.
    pub(crate) fn acceptance_due(&self) -> Option<Moment> {
        let now = clock::now();
        let is_peer = |number: &usize| self.interfaces[*number].port.setup.ack_after == AckAfter::Peer;
        self.acceptance
            .lines
            .iter()
            .filter(|(number, _)| is_peer(number))
            .filter_map(|(_, line)| line.waiting.front())
            .map(|front| front.since + PEER_WAIT_MAX)
            .filter(|due| *due > now)
            .min()
    }

    /// Whether a standby is there that answers in time.
    pub(crate) fn is_answered(&self) -> bool {
        self.has_standby_in_sync() && self.unanswered_since.is_none()
    }

    pub(super) fn wants_local(&self, number: usize) -> bool {
        match self.interfaces[number].port.setup.ack_after {
            AckAfter::None | AckAfter::Local => true,
            AckAfter::Peer => false,
        }
    }

    /// Whether the active node waits for this one to store these values.
    pub(crate) fn is_peer_acknowledged(&self, samples: &[Sample]) -> bool {
        self.acceptance.wants_peer
            && samples.iter().any(|sample| {
                self.interface_of(sample.item)
                    .is_some_and(|number| self.interfaces[number].port.setup.ack_after == AckAfter::Peer)
            })
    }

    /// The journal takes nothing, or takes records again.
    pub(crate) fn stall_inputs(&mut self, is_stalled: bool) {
        for interface in &self.interfaces {
            interface.port.accepting.stall(is_stalled);
            interface.port.store.stall(is_stalled);
        }
        self.exchange.stall(is_stalled);
        if is_stalled || !self.is_writer() {
            return;
        }
        for (number, line) in &mut self.acceptance.lines {
            if line.waiting.iter().any(|waiting| waiting.placed == Placed::Lost) {
                // Its source gives a new instance again what it has no acknowledgment for.
                line.waiting.retain(|waiting| waiting.placed != Placed::Lost);
                self.interfaces[*number].restart(None);
            }
        }
    }
}

/// Batches that may wait and are told apart.
const WAITING_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use twinhub_model::Epoch;

    use super::*;

    #[test]
    fn many_batches_that_wait_take_bounded_room_and_none_is_accepted_early() {
        let mut line = Line::default();
        let count = WAITING_MAX as u64 + 100;
        for seq in 1..=count {
            line.push(Placed::At(Position::new(Epoch(256), seq)), Moment::ZERO);
        }
        assert_eq!(line.waiting.len(), WAITING_MAX);
        let last = line.waiting.back().unwrap();
        assert_eq!((last.through, last.placed), (count, Placed::At(Position::new(Epoch(256), count))));
    }
}
