//! Devices found and lost, and reads: of items in their periods, of what a device can take, and of its objects.

use std::time::Duration;

use tokio::time::Instant;
use twinhub_bacnet_protocol::binding::Binding;
use twinhub_bacnet_protocol::engine::{Failure, Input, PeerLimits, Reply};
use twinhub_bacnet_protocol::names::{ConfirmedService, ErrorCode, PropertyIdentifier, Segmentation};
use twinhub_bacnet_protocol::planner::{AskId, ReadFailure, ReadPlan};
use twinhub_bacnet_protocol::services::{PropertyReference, ReadProperty};
use twinhub_bacnet_protocol::shapes::StatusFlags;
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::{ObjectId, Value as Wire};
use twinhub_plugin::{Item, Quality, Role, Update};

use super::{Driver, Purpose, limits_of};
use crate::device::{Device, Standing};
use crate::values::{decode, quality};

pub(super) type Read = Result<Vec<Wire>, ReadFailure>;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlanKind {
    /// Items of a period.
    Poll(Duration),
    /// What the device can take.
    Limits,
    /// A question.
    Question(u64),
}

/// Reads of one device that are under way.
#[derive(Debug)]
pub(super) struct Plan {
    device: u32,
    kind: PlanKind,
    reads: ReadPlan,
    /// For each read: the item, if it is its value, not its flags.
    items: Vec<u32>,
    outcomes: Vec<Option<Read>>,
    open: usize,
}

impl Driver {
    /// Takes new items: looks for their devices, puts them into periods, subscribes.
    pub(super) fn plan(&mut self) {
        let (now, moment) = (Instant::now(), self.now());
        let points = std::rc::Rc::clone(&self.points);
        for device in self.devices.values_mut() {
            device.classes.clear();
        }
        for point in points.values() {
            let instance = point.place.device;
            if !self.devices.contains_key(&instance) {
                let peer = self.settings.devices.get(&instance).and_then(|known| known.peer);
                self.devices.insert(instance, Device::new(peer));
                if peer.is_none() {
                    self.bindings.want(instance, None, moment);
                }
                self.meet(instance);
            }
            if let (Some(device), Some(period)) = (self.devices.get_mut(&instance), point.period) {
                device.add(point.item, period, now);
            }
        }
        let is_used = |instance: &u32| points.values().any(|point| point.place.device == *instance);
        let unused: Vec<u32> = self.devices.keys().copied().filter(|instance| !is_used(instance)).collect();
        for instance in unused {
            self.bindings.forget(instance);
            if let Some(peer) = self.devices.remove(&instance).and_then(|device| device.peer) {
                self.peers.remove(&peer);
            }
        }
        self.plan_watches();
    }

    /// A device was found, or is elsewhere.
    pub(super) fn bound(&mut self, instance: u32, binding: Binding) {
        let Some(device) = self.devices.get_mut(&instance) else { return };
        let has_moved = device.peer.is_some_and(|peer| peer != binding.peer);
        if let Some(peer) = device.peer.replace(binding.peer) {
            self.peers.remove(&peer);
        }
        if device.standing == Standing::Sought {
            device.standing = Standing::Met;
        }
        tracing::info!(instance, peer = %binding.peer, has_moved, "device found");
        self.meet(instance);
        if has_moved && self.role == Role::Active {
            self.rewatch(instance);
        }
    }

    /// It is known where a device is: what it can take comes from its I-Am, or is asked.
    pub(super) fn meet(&mut self, instance: u32) {
        let now = self.now();
        let Some(device) = self.devices.get_mut(&instance) else { return };
        let Some(peer) = device.peer else { return };
        device.probe_at = Some(Instant::now());
        self.peers.insert(peer, instance);
        if let Some(count) = self.settings.devices.get(&instance).and_then(|known| known.parallel) {
            self.engine.handle_input(Input::Parallel { peer, count }, now);
        }
        let said = self.bindings.get(instance).map(|binding| binding.limits);
        if let Some(limits) = said.or(device.limits) {
            return self.learned(instance, limits);
        }
        device.standing = Standing::Met;
        if self.role == Role::Active {
            let known =
                [PropertyIdentifier::MAX_APDU_LENGTH_ACCEPTED, PropertyIdentifier::SEGMENTATION_SUPPORTED];
            let reads = known.map(|property| read(ObjectId::device(instance), property)).to_vec();
            self.start_plan(instance, PlanKind::Limits, reads, Vec::new());
        }
    }

    fn learned(&mut self, instance: u32, said: PeerLimits) {
        let now = self.now();
        let limits = limits_of(&self.settings, instance, said);
        let Some(device) = self.devices.get_mut(&instance) else { return };
        device.limits = Some(said);
        if let Some(peer) = device.peer {
            self.engine.handle_input(Input::Learned { peer, limits }, now);
        }
        if self.role == Role::Active {
            device.standing = Standing::Present;
            let due = Instant::now();
            device.classes.iter_mut().for_each(|class| class.next_due = due);
            self.watch(instance);
        }
    }

    /// A device answers.
    pub(super) fn answered(&mut self, instance: u32) {
        let now = self.now();
        self.bindings.on_answered(instance);
        let Some(device) = self.devices.get_mut(&instance) else { return };
        device.answers += 1;
        if !matches!(device.standing, Standing::Silent(_)) {
            return;
        }
        tracing::info!(instance, "device is back");
        if device.limits.is_none() && self.role == Role::Active {
            device.standing = Standing::Met;
            return self.meet(instance);
        }
        device.standing = Standing::Present;
        let due = Instant::now();
        device.classes.iter_mut().for_each(|class| class.next_due = due);
        if let Some(peer) = device.peer.filter(|_| self.role == Role::Active) {
            self.watch(instance);
            self.cov.on_restarted(peer, now);
        }
    }

    /// A device does not answer.
    pub(super) fn fell_silent(&mut self, instance: u32, cause: &str) {
        let now = self.now();
        let retry_silent = self.settings.config.retry_silent.0;
        let Some(device) = self.devices.get_mut(&instance) else { return };
        device.failures += 1;
        device.last_failure = Some(cause.to_owned());
        device.probe_at = Some(Instant::now() + retry_silent);
        if matches!(device.standing, Standing::Silent(_)) {
            return;
        }
        tracing::info!(instance, cause, "device does not answer");
        device.standing = Standing::Silent(cause.to_owned());
        self.bindings.on_silent(instance, now);
        self.refuse_writes(instance);
        if self.role == Role::Active {
            self.requalify(instance);
        }
    }

    fn requalify(&self, instance: u32) {
        let Some(device) = self.devices.get(&instance) else { return };
        let absence = device.absence();
        for point in self.points.values().filter(|point| point.place.device == instance && point.is_readable)
        {
            self.publisher.push(Update::requalify(Item(point.item), absence));
        }
    }

    /// Begins the reads that are due.
    pub(super) fn start_polls(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (instance, device) in &mut self.devices {
            if !device.is_present() {
                continue;
            }
            for class in device.classes.iter_mut().filter(|class| class.next_due <= now) {
                if class.is_running {
                    self.counts.polls_missed += 1;
                    class.next_due = now + class.period;
                    continue;
                }
                class.next_due = (class.next_due + class.period).max(now);
                let of_item = |item: &u32| self.points.get(item);
                let polled =
                    class.items.iter().filter_map(of_item).filter(|point| self.watches.is_polled(point));
                let places: Vec<(u32, _)> = polled.map(|point| (point.item, point.place)).collect();
                if !places.is_empty() {
                    class.is_running = true;
                    due.push((*instance, class.period, places));
                }
            }
        }
        for (instance, period, places) in due {
            let mut reads = Vec::new();
            for (_, place) in &places {
                reads.push(ReadProperty { object: place.object, reference: place.reference });
            }
            let items = places.iter().map(|(item, _)| *item).collect();
            if self.settings.config.status_flags {
                // Flags stand behind the values, at places that no item has.
                for (_, place) in places.iter().filter(|(_, place)| is_present_value(place.reference)) {
                    let flags = read(place.object, PropertyIdentifier::STATUS_FLAGS);
                    if !reads.contains(&flags) {
                        reads.push(flags);
                    }
                }
                reads.sort_by_key(|read| read.object);
            }
            self.start_plan(instance, PlanKind::Poll(period), reads, items);
        }
    }

    pub(super) fn polls_next(&self) -> Option<Instant> {
        let present = self.devices.values().filter(|device| device.is_present());
        present.flat_map(|device| device.classes.iter().map(|class| class.next_due)).min()
    }

    /// Begins reads of a device.
    pub(super) fn start_plan(
        &mut self,
        instance: u32,
        kind: PlanKind,
        reads: Vec<ReadProperty>,
        items: Vec<u32>,
    ) {
        let Some(device) = self.devices.get(&instance) else { return };
        let said = device.limits.unwrap_or(PeerLimits::UNKNOWN);
        let limits = limits_of(&self.settings, instance, said);
        let outcomes = vec![None; reads.len()];
        let reads = ReadPlan::new(reads, limits, device.ability);
        let id = self.number();
        self.plans.insert(id, Plan { device: instance, kind, reads, items, outcomes, open: 0 });
        self.go_on_plan(id);
    }

    /// Sends the next requests of a plan. Not all at once: what is learned from the first answers counts for the next.
    fn go_on_plan(&mut self, id: u64) {
        loop {
            let Some(plan) = self.plans.get_mut(&id) else { return };
            let Some(peer) = self.devices.get(&plan.device).and_then(|device| device.peer) else { return };
            if plan.open >= ASKS_PER_PLAN_MAX {
                return;
            }
            let Some(ask) = plan.reads.next_ask() else { return };
            plan.open += 1;
            self.request(peer, ask.service, ask.payload, Purpose::Plan { plan: id, ask: ask.id });
        }
    }

    pub(super) fn on_plan_result(&mut self, id: u64, ask: AskId, result: Result<Reply, Failure>) {
        let Some(plan) = self.plans.get_mut(&id) else { return };
        let instance = plan.device;
        plan.open -= 1;
        if let Err(failure @ Failure::Silent { .. }) = &result {
            let cause = failure.to_string();
            let kind = plan.kind;
            self.plans.remove(&id);
            self.fell_silent(instance, &cause);
            return self.end_plan(instance, kind, &[], &[]);
        }
        plan.reads.on_result(ask, result);
        while let Some(outcome) = plan.reads.next_outcome() {
            if let Some(slot) = plan.outcomes.get_mut(outcome.place) {
                *slot = Some(outcome.values);
            }
        }
        self.answered(instance);
        self.go_on_plan(id);
        if self.plans.get(&id).is_some_and(|plan| plan.open == 0 && plan.reads.is_done())
            && let Some(plan) = self.plans.remove(&id)
        {
            if let Some(device) = self.devices.get_mut(&instance) {
                device.ability = plan.reads.ability();
            }
            let reads: Vec<ReadProperty> = plan.reads.reads().to_vec();
            let outcomes: Vec<_> = reads.into_iter().zip(plan.outcomes).collect();
            self.end_plan(instance, plan.kind, &plan.items, &outcomes);
        }
    }

    fn end_plan(
        &mut self,
        instance: u32,
        kind: PlanKind,
        items: &[u32],
        outcomes: &[(ReadProperty, Option<Read>)],
    ) {
        match kind {
            PlanKind::Poll(period) => {
                self.publish(items, outcomes);
                if let Some(device) = self.devices.get_mut(&instance)
                    && let Some(class) = device.classes.iter_mut().find(|class| class.period == period)
                {
                    class.is_running = false;
                }
            }
            PlanKind::Limits if outcomes.is_empty() => {}
            PlanKind::Limits => {
                let number = |place: usize| match outcomes.get(place) {
                    Some((_, Some(Ok(values)))) => values.first().and_then(Wire::as_unsigned),
                    _ => None,
                };
                let max_apdu = number(0).and_then(|number| u16::try_from(number).ok());
                let segmentation = number(1).and_then(|number| u32::try_from(number).ok());
                let unknown = PeerLimits::UNKNOWN;
                self.learned(
                    instance,
                    PeerLimits {
                        max_apdu: max_apdu.unwrap_or(unknown.max_apdu),
                        segmentation: segmentation.map_or(unknown.segmentation, Segmentation::new),
                        segments_max: None,
                    },
                );
            }
            PlanKind::Question(number) => self.on_question_read(number, outcomes),
        }
    }

    fn publish(&self, items: &[u32], outcomes: &[(ReadProperty, Option<Read>)]) {
        let found: std::collections::BTreeMap<ReadProperty, &Read> =
            outcomes.iter().filter_map(|(read, outcome)| Some((*read, outcome.as_ref()?))).collect();
        for item in items {
            let Some(point) = self.points.get(item) else { continue };
            let place = point.place;
            let update = match found.get(&ReadProperty { object: place.object, reference: place.reference }) {
                None => continue,
                Some(Err(failure)) => Update::bad(Item(*item), failure_quality(failure)),
                Some(Ok(values)) => {
                    let (value, mut good) = decode(place.object.kind(), place.reference, values);
                    let flags = found.get(&read(place.object, PropertyIdentifier::STATUS_FLAGS));
                    if let Some(Ok(flags)) = flags.filter(|_| is_present_value(place.reference))
                        && let Some(flags) = flags.first().and_then(StatusFlags::from_value)
                        && good.is_good()
                    {
                        good = quality(flags);
                    }
                    Update::new(Item(*item), value).quality(good)
                }
            };
            self.publisher.push(update);
        }
    }

    /// Asks silent devices, and as a standby all of them now and then, how they are.
    pub(super) fn start_probes(&mut self) {
        let now = Instant::now();
        let (retry, probe) = (self.settings.config.retry_silent.0, self.settings.config.standby_probe.0);
        let is_active = self.role == Role::Active;
        let mut due = Vec::new();
        for (instance, device) in &mut self.devices {
            let is_due = device.probe_at.is_some_and(|at| at <= now) && !device.is_probed;
            let is_wanted =
                if is_active { matches!(device.standing, Standing::Silent(_)) } else { !probe.is_zero() };
            if let (true, true, Some(peer)) = (is_due, is_wanted, device.peer) {
                device.is_probed = true;
                due.push((*instance, peer));
            }
            if is_due {
                device.probe_at =
                    if is_active { is_wanted.then(|| now + retry) } else { is_wanted.then(|| now + probe) };
            }
        }
        for (instance, peer) in due {
            let payload = read(ObjectId::device(instance), PropertyIdentifier::SYSTEM_STATUS).encode();
            self.request(peer, ConfirmedService::READ_PROPERTY, payload, Purpose::Probe(instance));
        }
    }

    pub(super) fn probes_next(&self) -> Option<Instant> {
        self.devices.values().filter(|device| !device.is_probed).filter_map(|device| device.probe_at).min()
    }

    pub(super) fn on_probed(&mut self, instance: u32, result: &Result<Reply, Failure>) {
        let Some(device) = self.devices.get_mut(&instance) else { return };
        device.is_probed = false;
        match result {
            Err(
                failure @ (Failure::Silent { .. } | Failure::QueueFull { .. } | Failure::TooManyPeers { .. }),
            ) => {
                let cause = failure.to_string();
                self.fell_silent(instance, &cause);
            }
            Err(Failure::Stopped) => {}
            // An error is an answer, too.
            Ok(_) | Err(_) => {
                let was_met = device.standing == Standing::Met;
                self.answered(instance);
                if let Some(device) = self.devices.get_mut(&instance).filter(|_| was_met)
                    && self.role != Role::Active
                {
                    device.standing = Standing::Present;
                }
            }
        }
    }
}

pub(super) fn read(object: ObjectId, property: PropertyIdentifier) -> ReadProperty {
    ReadProperty { object, reference: PropertyReference::whole(property) }
}

fn is_present_value(reference: PropertyReference) -> bool {
    reference == PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE)
}

fn failure_quality(failure: &ReadFailure) -> Quality {
    match failure {
        ReadFailure::Refused(error) => match error.code {
            ErrorCode::UNKNOWN_OBJECT | ErrorCode::UNKNOWN_PROPERTY | ErrorCode::INVALID_ARRAY_INDEX => {
                Quality::BAD_ADDRESS_UNKNOWN
            }
            _ => Quality::BAD_DEVICE_FAILURE,
        },
        ReadFailure::Unreadable(_) | ReadFailure::Missing => Quality::BAD_DECODING,
        ReadFailure::TooManyElements { .. } => Quality::BAD_OUT_OF_RANGE,
        ReadFailure::Request(Failure::Silent { .. }) => Quality::BAD_TIMEOUT,
        ReadFailure::Request(_) | _ => Quality::BAD_COMMUNICATION,
    }
}

/// Requests of one plan that are with the engine.
const ASKS_PER_PLAN_MAX: usize = 8;
