//! Subscriptions to changes: which items are behind which, and what a notification means for them.

use std::collections::BTreeMap;

use twinhub_bacnet_protocol::cov::{CovId, CovTarget};
use twinhub_bacnet_protocol::engine::Failure;
use twinhub_bacnet_protocol::names::PropertyIdentifier;
use twinhub_bacnet_protocol::services::{CovNotification, PropertyReference};
use twinhub_bacnet_protocol::shapes::StatusFlags;
use twinhub_bacnet_protocol::value::ObjectId;
use twinhub_plugin::{Item, Role, Update};

use super::Driver;
use crate::item::Point;
use crate::values::{decode, quality};

/// What is subscribed to; the bits of the increment, since numbers with a point have no order.
type Target = (u32, ObjectId, Option<(PropertyReference, Option<u32>)>);

#[derive(Debug)]
struct Watch {
    target: Target,
    items: Vec<u32>,
    /// The device takes no subscription, and why.
    refusal: Option<String>,
    is_asked: bool,
}

/// All subscriptions that are wanted.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_id: BTreeMap<CovId, Watch>,
    by_target: BTreeMap<Target, CovId>,
    by_item: BTreeMap<u32, CovId>,
    next: u32,
}

impl Watches {
    /// Takes the items that want one; says which subscriptions are to end.
    fn plan<'a>(&mut self, points: impl Iterator<Item = &'a Point>) -> Vec<CovId> {
        for watch in self.by_id.values_mut() {
            watch.items.clear();
        }
        self.by_item.clear();
        for point in points.filter(|point| point.is_cov) {
            let property =
                point.cov_property().map(|(reference, increment)| (reference, increment.map(f32::to_bits)));
            let target = (point.place.device, point.place.object, property);
            let id = *self.by_target.entry(target).or_insert_with(|| {
                self.next += 1;
                let id = CovId(self.next);
                let watch = Watch { target, items: Vec::new(), refusal: None, is_asked: false };
                self.by_id.insert(id, watch);
                id
            });
            if let Some(watch) = self.by_id.get_mut(&id) {
                watch.items.push(point.item);
            }
            self.by_item.insert(point.item, id);
        }
        let unused: Vec<CovId> =
            self.by_id.iter().filter(|(_, watch)| watch.items.is_empty()).map(|(id, _)| *id).collect();
        for id in &unused {
            if let Some(watch) = self.by_id.remove(id) {
                self.by_target.remove(&watch.target);
            }
        }
        unused
    }

    /// Nothing is subscribed to any more.
    pub(super) fn forget(&mut self) {
        for watch in self.by_id.values_mut() {
            (watch.refusal, watch.is_asked) = (None, false);
        }
    }

    pub(super) fn device(&self, id: CovId) -> Option<u32> {
        self.by_id.get(&id).map(|watch| watch.target.0)
    }

    pub(super) fn polled(&mut self, id: CovId, failure: &Failure) {
        if let Some(watch) = self.by_id.get_mut(&id) {
            watch.refusal = Some(failure.to_string());
        }
    }

    pub(super) fn subscribed(&mut self, id: CovId) {
        if let Some(watch) = self.by_id.get_mut(&id) {
            watch.refusal = None;
        }
    }

    /// Whether an item is to be read, because its device does not notify it.
    pub(super) fn is_polled(&self, point: &Point) -> bool {
        !point.is_cov
            || self
                .by_item
                .get(&point.item)
                .and_then(|id| self.by_id.get(id))
                .is_none_or(|watch| watch.refusal.is_some())
    }

    /// Why devices take no subscription, a few examples.
    pub(super) fn refusals(&self) -> Vec<String> {
        let refused = self.by_id.values().filter_map(|watch| {
            let refusal = watch.refusal.as_ref()?;
            Some(format!("{}/{}: {refusal}", watch.target.0, watch.target.1))
        });
        refused.take(REFUSALS_SHOWN).collect()
    }
}

impl Driver {
    /// Ends the subscriptions that no item wants any more, and begins new ones at devices that are there.
    pub(super) fn plan_watches(&mut self) {
        for id in self.watches.plan(self.points.values()) {
            self.cov.on_remove(id);
        }
        let present: Vec<u32> = self
            .devices
            .iter()
            .filter(|(_, device)| device.is_present())
            .map(|(instance, _)| *instance)
            .collect();
        for instance in present {
            self.watch(instance);
        }
    }

    /// Subscribes at a device to what is not subscribed to yet; a standby does not.
    pub(super) fn watch(&mut self, instance: u32) {
        if self.role != Role::Active {
            return;
        }
        let Some(peer) = self.devices.get(&instance).and_then(|device| device.peer) else { return };
        let now = self.now();
        for (id, watch) in &mut self.watches.by_id {
            let (device, object, property) = watch.target;
            if device != instance || watch.is_asked {
                continue;
            }
            watch.is_asked = true;
            let property = property.map(|(reference, increment)| (reference, increment.map(f32::from_bits)));
            if !self.cov.on_add(*id, CovTarget { peer, object, property }, now) {
                watch.refusal = Some("too many subscriptions".to_owned());
            }
        }
    }

    /// A device is elsewhere: its subscriptions are made anew.
    pub(super) fn rewatch(&mut self, instance: u32) {
        for watch in self.watches.by_id.values_mut().filter(|watch| watch.target.0 == instance) {
            watch.is_asked = false;
        }
        self.watch(instance);
    }

    /// Publishes what a device notified.
    pub(super) fn notified(&mut self, id: CovId, notification: &CovNotification) {
        let Some(watch) = self.watches.by_id.get(&id) else { return };
        let flags = notification
            .properties
            .iter()
            .find(|property| property.reference.property == PropertyIdentifier::STATUS_FLAGS)
            .and_then(|property| StatusFlags::from_value(property.values.first()?));
        for item in &watch.items {
            let Some(point) = self.points.get(item) else { continue };
            let Some(property) =
                notification.properties.iter().find(|property| property.reference == point.place.reference)
            else {
                continue;
            };
            let (value, mut good) =
                decode(point.place.object.kind(), point.place.reference, &property.values);
            if let Some(flags) = flags.filter(|_| good.is_good()) {
                good = quality(flags);
            }
            self.publisher.push(Update::new(Item(*item), value).quality(good));
        }
        self.answered(notification.device.instance());
    }
}

const REFUSALS_SHOWN: usize = 10;
