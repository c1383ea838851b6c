//! Subscriptions against a device that takes, refuses or forgets them.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use twinhub_bacnet_protocol::cov::{CovAction, CovId, CovKeeper, CovMode, CovOutput, CovSettings, CovTarget};
use twinhub_bacnet_protocol::engine::{Failure, Peer};
use twinhub_bacnet_protocol::moment::Moment;
use twinhub_bacnet_protocol::names::{
    ConfirmedService, ErrorClass, ErrorCode, ObjectType, PropertyIdentifier,
};
use twinhub_bacnet_protocol::services::{
    PropertyReference, ServiceError, SubscribeCov, SubscribeCovProperty, SubscriptionTerms,
};
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::ObjectId;

#[test]
fn many_subscriptions_are_paced_and_never_more_than_two_are_open() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    for id in 0..100 {
        assert!(keeper.on_add(CovId(id), target(id), Moment::START));
    }
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(10));
    assert_eq!((keeper.counts().subscribed, device.open_max), (100, 2));
    assert!(device.first_ms.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{:?}", device.first_ms);
    assert_eq!(device.first_ms.len(), 100);
}

#[test]
fn a_subscription_is_renewed_before_its_lifetime_ends_and_not_all_at_once() {
    let mut keeper = CovKeeper::new(CovSettings { lifetime_seconds: 60, ..CovSettings::default() });
    for id in 0..20 {
        keeper.on_add(CovId(id), target(id), Moment::START);
    }
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(600));
    assert!((400..=500).contains(&device.asked), "twenty of them every 26 to 30 s: {}", device.asked);
    assert_eq!(device.became.len(), 20, "they never ended");
    let seconds: std::collections::BTreeSet<u64> =
        device.first_ms.iter().skip(20).take(20).map(|ms| ms / 1000).collect();
    assert!(seconds.len() > 2, "{seconds:?}");
}

#[test]
fn what_is_refused_is_polled_and_tried_again_later() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    keeper.on_add(CovId(1), target(1), Moment::START);
    let full = ServiceError::new(ErrorClass::RESOURCES, ErrorCode::NO_SPACE_TO_ADD_LIST_ELEMENT);
    let mut device = Device { refusal: Some(Failure::Error(full.into())), ..Device::default() };
    device.run(&mut keeper, Duration::from_secs(599));
    assert_eq!((device.asked, keeper.counts().polled), (1, 1));
    device.refusal = None;
    device.run(&mut keeper, Duration::from_secs(610));
    assert_eq!((device.asked, keeper.counts().subscribed), (2, 1));
    assert!(matches!(device.became[..], [(_, CovMode::Polled(_)), (_, CovMode::Subscribed)]));
}

#[test]
fn a_device_that_falls_silent_is_polled_when_the_subscription_has_ended() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    keeper.on_add(CovId(1), target(1), Moment::START);
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(1));
    let waited = Duration::from_secs(12);
    device.refusal = Some(Failure::Silent { attempts: 4, waited });
    device.run(&mut keeper, Duration::from_secs(299));
    assert_eq!(keeper.counts().subscribed, 1);
    device.run(&mut keeper, Duration::from_secs(301));
    assert_eq!(keeper.counts().polled, 1);
    device.refusal = None;
    device.run(&mut keeper, Duration::from_secs(320));
    assert_eq!(keeper.counts().subscribed, 1);
}

#[test]
fn a_device_that_restarted_is_asked_again_at_once() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    keeper.on_add(CovId(1), target(1), Moment::START);
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(5));
    keeper.on_restarted(peer(), device.now);
    device.run(&mut keeper, Duration::from_secs(6));
    assert_eq!(device.asked, 2);
}

#[test]
fn the_end_of_a_subscription_is_told_to_the_device() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    keeper.on_add(CovId(1), target(1), Moment::START);
    keeper.on_add(CovId(2), target(2), Moment::START);
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(1));
    keeper.on_remove(CovId(1));
    device.run(&mut keeper, Duration::from_secs(2));
    assert_eq!(device.ended, [1]);
    assert_eq!(keeper.matches(peer(), 1, object(1)), []);
    assert_eq!(keeper.matches(peer(), 1, object(2)), [CovId(2)]);
    assert_eq!(keeper.matches(peer(), 2, object(2)), [], "another process");
    keeper.on_stop();
    device.run(&mut keeper, Duration::from_secs(1000));
    assert_eq!((device.ended.clone(), keeper.poll_output()), (vec![1, 2], CovOutput::Timeout(Moment::NEVER)));
}

#[test]
fn nothing_is_sent_for_what_is_abandoned() {
    let mut keeper = CovKeeper::new(CovSettings::default());
    keeper.on_add(CovId(1), target(1), Moment::START);
    keeper.on_abandon();
    keeper.on_result(CovId(1), Ok(()), Moment::START);
    assert_eq!(keeper.poll_output(), CovOutput::Timeout(Moment::NEVER));
}

#[test]
fn a_property_with_an_increment_has_a_service_of_its_own() {
    let mut keeper = CovKeeper::new(CovSettings { is_confirmed: true, ..CovSettings::default() });
    let reference = PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE);
    let property = Some((reference, Some(0.5)));
    keeper.on_add(CovId(1), CovTarget { property, ..target(1) }, Moment::START);
    let CovOutput::Action(CovAction::Ask { service, payload, .. }) = keeper.poll_output() else { panic!() };
    assert_eq!(service, ConfirmedService::SUBSCRIBE_COV_PROPERTY);
    let terms = Some(SubscriptionTerms { is_confirmed: true, lifetime_seconds: 300 });
    let expected =
        SubscribeCovProperty { process: 1, object: object(1), terms, reference, increment: Some(0.5) };
    assert_eq!(SubscribeCovProperty::decode(&payload), Ok(expected));
}

#[test]
fn what_waits_behind_a_removed_subscription_is_asked_for() {
    let mut keeper = CovKeeper::new(CovSettings { parallel_per_peer: 1, ..CovSettings::default() });
    keeper.on_add(CovId(1), target(1), Moment::START);
    keeper.on_add(CovId(2), target(2), Moment::START);
    keeper.on_remove(CovId(1));
    let mut device = Device::default();
    device.run(&mut keeper, Duration::from_secs(1));
    assert_eq!(keeper.counts().subscribed, 1);
}

/// A device that answers after 15 ms.
#[derive(Default)]
struct Device {
    now: Moment,
    refusal: Option<Failure>,
    under_way: BTreeMap<(Moment, u32), CovId>,
    open_max: usize,
    asked: usize,
    first_ms: Vec<u64>,
    became: Vec<(CovId, CovMode)>,
    ended: Vec<u32>,
}

impl Device {
    fn run(&mut self, keeper: &mut CovKeeper, until: Duration) {
        let until = Moment::after_start(until);
        loop {
            let wake = match keeper.poll_output() {
                CovOutput::Timeout(at) => at,
                CovOutput::Action(CovAction::Became { id, mode }) => {
                    self.became.push((id, mode));
                    continue;
                }
                CovOutput::Action(CovAction::Ask { id: None, payload, .. }) => {
                    let request = SubscribeCov::decode(&payload).unwrap();
                    assert_eq!(request.terms, None);
                    self.ended.push(request.object.instance());
                    continue;
                }
                CovOutput::Action(CovAction::Ask { id: Some(id), .. }) => {
                    self.asked += 1;
                    self.first_ms.push(u64::try_from(self.now.since_start().as_millis()).unwrap());
                    self.under_way.insert((self.now + Duration::from_millis(15), id.0), id);
                    self.open_max = self.open_max.max(self.under_way.len());
                    continue;
                }
            };
            let answer = self.under_way.keys().next().map_or(Moment::NEVER, |(at, _)| *at);
            let next = wake.min(answer);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if answer <= wake {
                let (_, id) = self.under_way.pop_first().unwrap();
                keeper.on_result(id, self.refusal.clone().map_or(Ok(()), Err), next);
            } else {
                keeper.on_wake(next);
            }
        }
    }
}

fn peer() -> Peer {
    Peer::local(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 47_808))
}

fn object(instance: u32) -> ObjectId {
    ObjectId::new(ObjectType::ANALOG_VALUE, instance)
}

fn target(instance: u32) -> CovTarget {
    CovTarget { peer: peer(), object: object(instance), property: None }
}
