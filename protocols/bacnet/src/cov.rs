//! Keeps subscriptions to changes of values: clauses 13.14 and 13.15.
//!
//! ```text
//!   added --paced--> asking --done--> subscribed --half of the lifetime over--> asking again, values go on
//!                     ^  |                                                         |
//!                     |  | refused, or silent                                      | not renewed before it ends
//!                     |  v                                                         v
//!                     +-- polled <-------------------------------------------------+
//!                  after `refused_pause`, or after a silence `silent_pause`
//! ```
//!
//! What cannot be subscribed to is to be polled, and tried again later. The caller sends the requests and brings their
//! results; what is notified it takes itself, and asks [`CovKeeper::matches`] whose it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::engine::{Failure, Peer};
use crate::moment::Moment;
use crate::names::ConfirmedService;
use crate::services::{PropertyReference, SubscribeCov, SubscribeCovProperty, SubscriptionTerms};
use crate::tag::Message;
use crate::timers::Timers;
use crate::value::ObjectId;

/// The most subscriptions.
pub const SUBSCRIPTIONS_MAX: usize = 65_536;

/// How subscriptions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CovSettings {
    /// Which of the subscriber's processes gets the notifications. 1 by default.
    pub process: u32,
    /// For how long it subscribes. 300 s by default, at least 30 s.
    pub lifetime_seconds: u32,
    /// Whether notifications are to be confirmed. No by default.
    pub is_confirmed: bool,
    /// How many requests are open at one device. 2 by default.
    pub parallel_per_peer: usize,
    /// Time between two requests to one device. 10 ms by default.
    pub pace: Duration,
    /// After which time a refused subscription is tried again. 10 min by default.
    pub refused_pause: Duration,
    /// After which time a silent device is asked again. 10 s by default.
    pub silent_pause: Duration,
}

impl Default for CovSettings {
    fn default() -> CovSettings {
        CovSettings {
            process: 1,
            lifetime_seconds: 300,
            is_confirmed: false,
            parallel_per_peer: 2,
            pace: Duration::from_millis(10),
            refused_pause: Duration::from_secs(600),
            silent_pause: Duration::from_secs(10),
        }
    }
}

/// What a subscription is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CovId(pub u32);

/// What is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CovTarget {
    /// The device.
    pub peer: Peer,
    /// The object.
    pub object: ObjectId,
    /// One property of it, and from which change on; without it what the object's type says.
    pub property: Option<(PropertyReference, Option<f32>)>,
}

/// How values come.
#[derive(Debug, Clone, PartialEq)]
pub enum CovMode {
    /// By notifications.
    Subscribed,
    /// They are to be polled.
    Polled(Failure),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum CovAction {
    /// Send a request; its result is wanted if it has an id.
    Ask {
        /// The subscription, unless it ends.
        id: Option<CovId>,
        /// The device.
        peer: Peer,
        /// Which service.
        service: ConfirmedService,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// How the values of a subscription come has changed.
    Became {
        /// The subscription.
        id: CovId,
        /// How.
        mode: CovMode,
    },
}

/// What is wanted of the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum CovOutput {
    /// Something is to be done.
    Action(CovAction),
    /// Nothing before this time, unless there is another input.
    Timeout(Moment),
}

/// How many subscriptions are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CovCounts {
    /// Not answered yet.
    pub waiting: usize,
    /// Subscribed.
    pub subscribed: usize,
    /// To be polled.
    pub polled: usize,
}

#[derive(Debug)]
struct Subscription {
    target: CovTarget,
    /// None before the first answer.
    mode: Option<CovMode>,
    /// When the device forgets it.
    until: Moment,
    asked_at: Option<Moment>,
    is_queued: bool,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<CovId>,
    open: usize,
    next_at: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A subscription is to be asked for.
    Ask(CovId),
    /// A subscription ends at the device.
    End(CovId),
    /// The next request to a device may be sent.
    Lane(Peer),
}

/// All subscriptions of a client.
#[derive(Debug)]
pub struct CovKeeper {
    settings: CovSettings,
    subscriptions: BTreeMap<CovId, Subscription>,
    by_object: BTreeMap<(Peer, ObjectId), Vec<CovId>>,
    lanes: BTreeMap<Peer, Lane>,
    timers: Timers<Timer>,
    actions: VecDeque<CovAction>,
}

impl CovKeeper {
    /// With no subscription.
    pub fn new(settings: CovSettings) -> CovKeeper {
        let settings = CovSettings {
            lifetime_seconds: settings.lifetime_seconds.clamp(LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX),
            parallel_per_peer: settings.parallel_per_peer.max(1),
            ..settings
        };
        CovKeeper {
            settings,
            subscriptions: BTreeMap::new(),
            by_object: BTreeMap::new(),
            lanes: BTreeMap::new(),
            timers: Timers::new(),
            actions: VecDeque::new(),
        }
    }

    /// How many are in which state.
    pub fn counts(&self) -> CovCounts {
        let mut counts = CovCounts::default();
        for subscription in self.subscriptions.values() {
            match subscription.mode {
                None => counts.waiting += 1,
                Some(CovMode::Subscribed) => counts.subscribed += 1,
                Some(CovMode::Polled(_)) => counts.polled += 1,
            }
        }
        counts
    }

    /// Subscribes; false if there are too many, and it is to be polled.
    pub fn on_add(&mut self, id: CovId, target: CovTarget, now: Moment) -> bool {
        self.on_remove(id);
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        let subscription =
            Subscription { target, mode: None, until: Moment::START, asked_at: None, is_queued: false };
        self.subscriptions.insert(id, subscription);
        self.by_object.entry((target.peer, target.object)).or_default().push(id);
        self.enqueue(id, now);
        true
    }

    /// Ends a subscription, at the device, too.
    pub fn on_remove(&mut self, id: CovId) {
        let Some(subscription) = self.subscriptions.remove(&id) else { return };
        self.timers.stop(Timer::Ask(id));
        self.timers.stop(Timer::End(id));
        let target = subscription.target;
        let key = (target.peer, target.object);
        if let Some(ids) = self.by_object.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_object.remove(&key);
            }
        }
        if let Some(lane) = self.lanes.get_mut(&target.peer) {
            lane.queue.retain(|other| *other != id);
            // Its answer will find nothing.
            lane.open = lane.open.saturating_sub(usize::from(subscription.asked_at.is_some()));
            // What waits for its place goes on with the next wake.
            self.timers.set(Timer::Lane(target.peer), Moment::START);
        }
        if subscription.asked_at.is_some() || subscription.mode == Some(CovMode::Subscribed) {
            let (service, payload) = self.request(target, None);
            self.actions.push_back(CovAction::Ask { id: None, peer: target.peer, service, payload });
        }
    }

    /// Ends all subscriptions.
    pub fn on_stop(&mut self) {
        let ids: Vec<CovId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            self.on_remove(id);
        }
        self.lanes.clear();
        self.timers = Timers::new();
    }

    /// Forgets all subscriptions without a word to the devices, which forget them by themselves.
    pub fn on_abandon(&mut self) {
        *self = CovKeeper::new(self.settings);
    }

    /// A device has restarted, and has forgotten what was subscribed to.
    pub fn on_restarted(&mut self, peer: Peer, now: Moment) {
        let ids: Vec<CovId> =
            self.subscriptions.iter().filter(|(_, s)| s.target.peer == peer).map(|(id, _)| *id).collect();
        for id in ids {
            self.enqueue(id, now);
        }
    }

    /// What became of a request.
    pub fn on_result(&mut self, id: CovId, result: Result<(), Failure>, now: Moment) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let Some(asked_at) = subscription.asked_at.take() else { return };
        let peer = subscription.target.peer;
        match result {
            Ok(()) => {
                let lifetime = Duration::from_secs(u64::from(self.settings.lifetime_seconds));
                subscription.until = asked_at + lifetime;
                self.timers.set(Timer::End(id), subscription.until);
                // Renewals are spread over a sixteenth of the lifetime, so that they do not come all at once.
                let spread = lifetime / 16 * (id.0.wrapping_mul(0x9e37_79b9) >> 28) / 16;
                self.timers.set(Timer::Ask(id), asked_at + (lifetime / 2).saturating_sub(spread));
                self.become_(id, CovMode::Subscribed);
            }
            Err(failure) => {
                let is_refusal = is_refusal(&failure);
                let pause = if is_refusal { self.settings.refused_pause } else { self.settings.silent_pause };
                self.timers.set(Timer::Ask(id), now + pause);
                if is_refusal || subscription.mode != Some(CovMode::Subscribed) {
                    self.timers.stop(Timer::End(id));
                    self.become_(id, CovMode::Polled(failure));
                }
            }
        }
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.open = lane.open.saturating_sub(1);
        }
        self.go_on(peer, now);
    }

    /// Whose a notification is: by device, object and process, as only those are in it.
    pub fn matches(&self, peer: Peer, process: u32, object: ObjectId) -> &[CovId] {
        if process != self.settings.process {
            return &[];
        }
        self.by_object.get(&(peer, object)).map_or(&[], Vec::as_slice)
    }

    /// Time has passed.
    pub fn on_wake(&mut self, now: Moment) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Ask(id) => self.enqueue(id, now),
                Timer::End(id) => {
                    let attempts = 0;
                    let waited = Duration::from_secs(u64::from(self.settings.lifetime_seconds));
                    self.become_(id, CovMode::Polled(Failure::Silent { attempts, waited }));
                }
                Timer::Lane(peer) => self.go_on(peer, now),
            }
        }
    }

    /// The next thing to do, or until when there is nothing.
    pub fn poll_output(&mut self) -> CovOutput {
        match self.actions.pop_front() {
            Some(action) => CovOutput::Action(action),
            None => CovOutput::Timeout(self.timers.next()),
        }
    }

    fn enqueue(&mut self, id: CovId, now: Moment) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.is_queued || subscription.asked_at.is_some() {
            return;
        }
        subscription.is_queued = true;
        let peer = subscription.target.peer;
        self.timers.stop(Timer::Ask(id));
        self.lanes.entry(peer).or_default().queue.push_back(id);
        self.go_on(peer, now);
    }

    /// Sends what may be sent to a device.
    fn go_on(&mut self, peer: Peer, now: Moment) {
        let (parallel, pace) = (self.settings.parallel_per_peer, self.settings.pace);
        loop {
            let Some(lane) = self.lanes.get_mut(&peer) else { return };
            if lane.queue.is_empty() || lane.open >= parallel {
                break;
            }
            if let Some(at) = lane.next_at.filter(|at| *at > now) {
                self.timers.set(Timer::Lane(peer), at);
                break;
            }
            let Some(id) = lane.queue.pop_front() else { break };
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            (subscription.is_queued, subscription.asked_at) = (false, Some(now));
            lane.open += 1;
            lane.next_at = Some(now + pace);
            let target = subscription.target;
            let (is_confirmed, lifetime_seconds) =
                (self.settings.is_confirmed, self.settings.lifetime_seconds);
            let terms = SubscriptionTerms { is_confirmed, lifetime_seconds };
            let (service, payload) = self.request(target, Some(terms));
            self.actions.push_back(CovAction::Ask { id: Some(id), peer, service, payload });
        }
        if self.lanes.get(&peer).is_some_and(|lane| lane.queue.is_empty() && lane.open == 0) {
            self.lanes.remove(&peer);
        }
    }

    fn request(&self, target: CovTarget, terms: Option<SubscriptionTerms>) -> (ConfirmedService, Vec<u8>) {
        let (process, object) = (self.settings.process, target.object);
        match target.property {
            None => (ConfirmedService::SUBSCRIBE_COV, SubscribeCov { process, object, terms }.encode()),
            Some((reference, increment)) => {
                let request = SubscribeCovProperty { process, object, terms, reference, increment };
                (ConfirmedService::SUBSCRIBE_COV_PROPERTY, request.encode())
            }
        }
    }

    fn become_(&mut self, id: CovId, mode: CovMode) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.mode.as_ref() != Some(&mode) {
            subscription.mode = Some(mode.clone());
            self.actions.push_back(CovAction::Became { id, mode });
        }
    }
}

/// Whether the device said no, so that asking again soon would not help.
fn is_refusal(failure: &Failure) -> bool {
    match failure {
        Failure::Error(_)
        | Failure::UnreadableError
        | Failure::Rejected(_)
        | Failure::Aborted(_)
        | Failure::TooLong { .. } => true,
        Failure::GivenUp(_)
        | Failure::Silent { .. }
        | Failure::QueueFull { .. }
        | Failure::TooManyPeers { .. }
        | Failure::Stopped => false,
    }
}

const LIFETIME_SECONDS_MIN: u32 = 30;
const LIFETIME_SECONDS_MAX: u32 = 86_400;
