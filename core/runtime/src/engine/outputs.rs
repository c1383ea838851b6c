//! The way out: commands with an intent, streams with a cursor.
//!
//! A **command** is journaled before it is written and its result after. At most one per item is under way;
//! of those that set a state only the newest waits. With a standby in sync an intent waits for the standby's
//! disk, at most [`PEER_WAIT_MAX`].
//!
//! A **stream** (values published to a broker, say) has no intent per value: the journal is its store, the
//! cursor `Delivered` is journaled as confirmations come in, and a stream that cannot keep up, or a
//! successor, reads on from the cursor. What the sink already shows (the mirror) is not delivered again, nor what a
//! polling interface reads after a takeover as the journal had it before.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use twinhub_contract::code;
use twinhub_loader::{EventRef, Instance, WriteReq};
use twinhub_model::{Epoch, IntentKind, ItemId, Moment, Outcome, Position, SampleFlags, Value};

use super::commands::{Sent, Wanted};
use super::effect::{is_carried, is_same_image, outcome_of};
use super::journaling::Samples;
use super::streams::Stream;
use super::values_in::ValuesIn;
use super::{Engine, Phase, SCRATCH_SAMPLES_MAX};
use crate::clock;
use crate::inbox::{Written, is_stream};
use crate::instance::Guard;

/// What links carry to each stream. Few interfaces are streams, and runs of samples go to the same one.
pub(crate) type Carried = Vec<(usize, Vec<(ItemId, Value)>)>;

impl Engine {
    /// The one place where the host hands effects to a plugin: the gate is asked right before.
    pub(crate) fn write_gated<'a>(
        &self,
        target: usize,
        requests: impl ExactSizeIterator<Item = WriteReq<'a>>,
    ) -> Result<(), i32> {
        let (epoch, instance) = self.pass_gate(target, requests.len() as u64)?;
        match instance.write(epoch.0, requests) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.code),
        }
    }

    /// The same for an event; gives what the plugin answers.
    pub(crate) fn deliver_gated(&self, target: usize, event: &EventRef<'_>) -> i32 {
        match self.pass_gate(target, 1) {
            Ok((epoch, instance)) => instance.deliver(&EventRef { epoch: epoch.0, ..*event }),
            Err(code) => code,
        }
    }

    fn pass_gate(&self, target: usize, effects: u64) -> Result<(Epoch, Arc<Instance>), i32> {
        let Some(epoch) = self.acting_epoch() else { return Err(code::NOT_ACTIVE) };
        let interface = &self.interfaces[target];
        if self.refusal(target, effects).is_some() {
            return Err(code::NOT_ACTIVE);
        }
        let Some(instance) = interface.instance() else { return Err(code::STOPPED) };
        if interface.port.setup.relevant && self.gate.permit(epoch, clock::now()).is_none() {
            interface.port.counters.fenced.fetch_add(effects, std::sync::atomic::Ordering::Relaxed);
            return Err(code::STALE_EPOCH);
        }
        Ok((epoch, instance))
    }

    /// Takes a plugin's answers.
    pub(crate) fn on_written(&mut self, results: &[Written]) {
        for Written { id, code, count } in results {
            if is_stream(*id) {
                self.on_stream_written(*id, *code, *count as usize);
            } else if let Some(Sent { intent, item, reply, .. }) = self.commands.sent.remove(id) {
                self.finish(intent, item, reply, outcome_of(*code));
            }
        }
    }

    /// Whether no command is on its way to a device, and no module at work on values.
    pub(crate) fn outputs_idle(&self) -> bool {
        self.commands.sent.is_empty()
            && self.streams.values().all(Stream::is_idle)
            && self.values_in.values().all(ValuesIn::is_idle)
    }

    /// Carries new samples along all links.
    pub(crate) fn route(&mut self, position: Position, samples: impl Samples) {
        let now = clock::now();
        let mut streams = std::mem::take(&mut self.carried);
        for (place, sample) in samples.into_iter().enumerate() {
            let sample = sample.borrow();
            if !is_carried(sample) {
                continue;
            }
            let mut next = self.routes.first(sample.item);
            if next.is_none() {
                continue;
            }
            // After a takeover the image that a plugin reads may repeat what was commanded, or streamed, before.
            let first_word = self.routes.first_word(sample.item);
            let may_repeat = first_word.is_some();
            let shows_nothing_new = first_word.is_some_and(|shown| is_same_image(sample, &shown));
            if shows_nothing_new {
                self.routes.note_repeat(sample.item, position, place);
            }
            let is_old = sample.flags.contains(SampleFlags::OLD);
            while let Some(number) = next {
                next = self.routes.next(number);
                if shows_nothing_new && self.leaves_out(number, position, place) {
                    continue;
                }
                let Some(value) = self.routes.pass(number, &sample.value, position, now) else { continue };
                let route = self.routes.get(number);
                // What sets a state is not set back; a stream and what moves a step take every one.
                if is_old && !route.way.stream && route.way.kind == IntentKind::Set {
                    continue;
                }
                if may_repeat && !route.way.stream && self.was_commanded(route.to, &value) {
                    continue;
                }
                if route.way.both && self.table.read(route.to).value.is_equivalent(&value) {
                    continue;
                }
                if route.way.stream {
                    let (target, to) = (route.way.target, route.to);
                    if let Some((_, values)) = streams.iter_mut().find(|(known, _)| *known == target) {
                        values.push((to, value));
                    } else {
                        streams.push((target, vec![(to, value)]));
                    }
                } else {
                    let (to, kind, origin) = (route.to, route.way.kind, Arc::clone(&route.way.origin));
                    self.command(to, Wanted { value, kind, cause: position, origin, reply: None });
                }
            }
        }
        for (target, values) in &mut streams {
            if !values.is_empty() {
                self.stream_values(*target, position, values, now);
            }
            values.clear();
            values.shrink_to(SCRATCH_SAMPLES_MAX);
        }
        self.carried = streams;
    }

    /// Whether the last command for an item had this value, and was carried out or is still to be settled.
    fn was_commanded(&self, item: ItemId, value: &Value) -> bool {
        self.tracker.last(item).is_some_and(|last| {
            let is_settled_so = match last.outcome {
                None | Some(Outcome::Done | Outcome::Confirmed) => true,
                Some(Outcome::Refused(_) | Outcome::InDoubt | Outcome::Fenced | Outcome::Superseded) => false,
            };
            is_settled_so && last.value.is_equivalent(value)
        })
    }

    /// Sends what a link held back for its smallest interval.
    pub(crate) fn route_due(&mut self, now: Moment) {
        for (number, value, position) in self.routes.due(now) {
            let route = self.routes.get(number);
            if route.way.stream {
                let (target, to) = (route.way.target, route.to);
                let cursor = self.streams.get(&target).map_or(position, |stream| stream.cursor);
                self.stream_values(target, cursor, &[(to, value)], now);
            } else {
                let (to, kind, origin) = (route.to, route.way.kind, Arc::clone(&route.way.origin));
                self.command(to, Wanted { value, kind, cause: position, origin, reply: None });
            }
        }
    }

    /// When outputs need the engine next.
    pub(crate) fn outputs_due(&self) -> Option<Moment> {
        let intents = self.commands.unconfirmed.front().map(|(_, deadline)| *deadline);
        let withheld = self.commands.withheld.iter().filter(|(ready, _)| ready.reply.is_some());
        let withheld = withheld.map(|(_, deadline)| *deadline).next();
        let lost = self.commands.sent.values().map(|sent| sent.lost_at).min();
        let held = (!self.commands.held.is_empty()).then(|| clock::now() + Duration::from_millis(5));
        let cursors = self.cursors_due();
        let behind = self
            .streams
            .values()
            .filter(|stream| stream.behind)
            .map(|stream| stream.retry_at.max(clock::now() + Duration::from_millis(5)))
            .min();
        [intents, withheld, lost, held, cursors, behind, self.routes.next_due()].into_iter().flatten().min()
    }

    /// Whether outputs to this interface may leave now.
    pub(crate) fn may_write(&self, target: usize, now: Moment) -> bool {
        let interface = &self.interfaces[target];
        let open = match &self.phase {
            Phase::Activating(activation) => {
                activation.reached.contains(&target)
                    && self.is_turn_of(target, activation)
                    && self.guard_is_over(target, now)
            }
            Phase::Active { .. } => {
                !self.down.contains(&target) && !self.is_changing(target) && self.guard_is_over(target, now)
            }
            Phase::Standby | Phase::Draining(_) | Phase::Closing(_) => false,
        };
        open && interface.port.restriction().is_none()
            && interface.port.role() == twinhub_contract::role::ACTIVE
    }

    /// Whether no output waits for the guard any more.
    pub(crate) fn is_guard_over(&self, now: Moment) -> bool {
        self.relevant().all(|target| self.guard_is_over(target, now))
    }

    fn guard_is_over(&self, target: usize, now: Moment) -> bool {
        match self.interfaces[target].port.setup.guard {
            Guard::None => true,
            Guard::For(in_flight) => now >= self.guard_until.before(self.guard.saturating_sub(in_flight)),
            Guard::Whole => now >= self.guard_until,
        }
    }
}
