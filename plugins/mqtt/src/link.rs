//! What the plugin's calls and the connection task share. Everything lives on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::{Settings, Version};
use crate::diag::Notes;
use crate::ids::Ids;
use crate::input::{Inputs, Update};
use crate::item::Spec;
use crate::items::Items;
use crate::output::{Batch, Outputs};
use crate::packet::{OFFLINE, ONLINE, Qos};
use crate::payload::Value;
use crate::receipts::Accepted;
use crate::session::{Limits, Message, Outcome, Session};
use crate::succession::{Beginning, Kept, Standing};

/// Roles in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Not connected.
    Cold,
    /// Connected, nothing subscribed.
    Warm,
    /// Subscribed, outputs silent.
    Hot,
    /// Everything.
    Active,
}

/// How the interface is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not running.
    Stopped,
    /// Building up the connection.
    Connecting,
    /// Working.
    Ok,
    /// Working, but some filters were refused.
    Degraded,
    /// Refused by the broker, or files are missing.
    Fault,
    /// Connected and silent, because the node is not active.
    Suppressed,
}

/// The hub, as far as the connection needs it.
pub trait Host {
    /// Hands values over.
    fn publish(&self, updates: &mut Vec<Update>);
    /// Says of items that read whether what they show is what the broker last had for them.
    fn requalify(&self, items: &[u32], is_good: bool);
    /// A mark behind everything handed over so far.
    fn mark(&self) -> u64;
    /// What became of everything before a mark.
    fn look(&self, mark: u64) -> Accepted;
    /// Waits until the hub has accepted more.
    fn accepted_more(&self) -> impl Future<Output = ()>;
    /// The name of the node that acted last, as far as this one knows; see [`crate::succession`].
    fn acted(&self) -> Option<Vec<u8>>;
    /// Keeps the name of this node, which acts, before what it hands over from here on.
    fn keep_acted(&self, name: &[u8]) -> Kept;
    /// Whether an output of `epoch` may leave at this moment. Asked right before every write.
    fn may_send(&self, epoch: u64) -> bool;
    /// Reports how the interface is doing.
    fn state(&self, state: State, cause: &str);
    /// Adds to a counter.
    fn count(&self, name: &'static str, add: u64);
    /// `CLOCK_BOOTTIME` in nanoseconds.
    fn boottime_ns(&self) -> i64;
}

/// Shared state.
#[derive(Debug)]
pub struct Link {
    pub(crate) settings: Settings,
    pub(crate) session: RefCell<Session>,
    inputs: RefCell<Inputs>,
    outputs: RefCell<Outputs>,
    items: RefCell<Items>,
    is_stale: Cell<bool>,
    is_subscription_stale: Cell<bool>,
    role: Cell<Role>,
    /// The role before the node acted.
    stood_by: Cell<Role>,
    /// Whether the session has been heard since the node acts.
    is_current: Cell<bool>,
    pub(crate) notes: RefCell<Notes>,
    epoch: Cell<u64>,
    is_started: Cell<bool>,
    is_stopping: Cell<bool>,
    is_connected: Cell<bool>,
    is_cut_wanted: Cell<bool>,
    has_active_announcement: Cell<bool>,
    barrier: Cell<Barrier>,
    /// Something for the connection task to do.
    pub(crate) wake: Notify,
    /// Something changed that a call may wait for.
    pub(crate) changed: Notify,
}

/// Progress of the proof that the broker has read everything sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    None,
    Wanted,
    Sent,
    Passed,
}

impl Link {
    /// A link without items, cold.
    pub fn new(settings: Settings, first_id: u16) -> Rc<Self> {
        let limits = Limits { outbox: settings.outbox_messages_max, in_flight: settings.in_flight_max };
        Rc::new(Self {
            session: RefCell::new(Session::new(limits, first_id)),
            inputs: RefCell::default(),
            outputs: RefCell::new(Outputs::build(std::iter::empty::<(u32, Spec)>(), &settings)),
            settings,
            items: RefCell::default(),
            is_stale: Cell::new(false),
            is_subscription_stale: Cell::new(true),
            role: Cell::new(Role::Cold),
            // Who never stood by does not share its session's work with another node.
            stood_by: Cell::new(Role::Hot),
            is_current: Cell::new(false),
            notes: RefCell::default(),
            epoch: Cell::new(0),
            is_started: Cell::new(false),
            is_stopping: Cell::new(false),
            is_connected: Cell::new(false),
            is_cut_wanted: Cell::new(false),
            has_active_announcement: Cell::new(false),
            barrier: Cell::new(Barrier::None),
            wake: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Lets the connection task connect, if the role wants it.
    pub fn start(&self) {
        self.is_started.set(true);
        self.wake.notify_one();
    }

    /// Adds or replaces items.
    pub fn add_items(&self, items: impl IntoIterator<Item = (u32, Spec)>) {
        self.items.borrow_mut().add(items);
        self.is_stale.set(true);
        self.is_subscription_stale.set(true);
        self.wake.notify_one();
    }

    /// Removes items.
    pub fn remove_items(&self, items: impl IntoIterator<Item = u32>) {
        self.items.borrow_mut().remove(&items.into_iter().collect());
        self.is_stale.set(true);
        self.is_subscription_stale.set(true);
        self.wake.notify_one();
    }

    /// Takes the writes of a batch.
    pub fn write(&self, batch: &Batch, writes: impl IntoIterator<Item = (u64, u32, Value, i64)>) {
        if self.role.get() != Role::Active || self.is_stopping.get() {
            let ids: Ids = writes.into_iter().map(|(id, ..)| id).collect();
            batch.to.answer(&ids, Outcome::NotActive);
            return;
        }
        self.refresh();
        let mut session = self.session.borrow_mut();
        let mut outputs = self.outputs.borrow_mut();
        let mut send = |message| session.enqueue(message);
        for (id, item, value, deadline_ns) in writes {
            outputs.write(batch, id, item, &value, deadline_ns, &mut send);
        }
        outputs.finish(batch, &mut send);
        self.wake.notify_one();
    }

    /// Changes the role and returns when the way down is clean: nothing waits, and every message sent has its receipt
    /// or is reported in doubt and its connection cut. `limit` bounds the wait.
    pub async fn change_role(&self, to: Role, epoch: u64, limit: Duration) {
        let until = Instant::now() + limit;
        let from = self.role.replace(to);
        self.epoch.set(epoch);
        if to != Role::Active {
            self.stood_by.set(to);
            self.is_current.set(false);
        }
        self.has_active_announcement.set(false);
        self.is_subscription_stale.set(true);
        if self.is_connected.get() && self.wants_connection() {
            self.subscribe(false);
        }
        // What the node before published last may be under way to this one. With v3.1.1 the end of the mirror's
        // subscription is answered behind it; v5 keeps that subscription.
        let asks_for_mirror = from == Role::Hot
            && to == Role::Active
            && self.is_connected.get()
            && self.settings.version == Version::V5
            && !self.inputs.borrow().mirror_filters().is_empty();
        if asks_for_mirror {
            self.barrier.set(Barrier::Wanted);
        }
        if from == Role::Active && to != Role::Active {
            self.session.borrow_mut().refuse_waiting();
            if self.is_connected.get() {
                self.barrier.set(Barrier::Wanted);
            }
        }
        self.wake.notify_one();
        if from == Role::Active && to != Role::Active {
            self.wait_until(until, || !self.is_connected.get() || self.is_quiet()).await;
            self.session.borrow_mut().abandon();
            // An answer behind the last output proves that no output is in the network any more.
            let is_proven = self.barrier.replace(Barrier::None) == Barrier::Passed;
            if self.is_connected.get() && !is_proven {
                self.is_cut_wanted.set(true);
                self.wake.notify_one();
                self.wait_until(until + CUT_GRACE, || !self.is_connected.get()).await;
            }
        }
        match to {
            Role::Warm | Role::Hot if self.settings.is_session_shared => {
                self.wait_until(until, || !self.is_connected.get()).await;
            }
            Role::Cold => self.wait_until(until, || !self.is_connected.get()).await,
            Role::Warm | Role::Hot | Role::Active => {
                let has_mirror = || !asks_for_mirror || self.barrier.get() == Barrier::Passed;
                self.wait_until(until, || !self.is_connected.get() || self.is_subscribed() && has_mirror())
                    .await;
            }
        }
        if asks_for_mirror {
            self.barrier.set(Barrier::None);
        }
    }

    /// Ends the connection with a good-bye, within `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.is_stopping.set(true);
        self.session.borrow_mut().refuse_waiting();
        self.wake.notify_one();
        self.wait_until(Instant::now() + limit, || !self.is_connected.get()).await;
        self.session.borrow_mut().abandon();
    }

    /// Whether the broker has answered all subscriptions.
    pub fn is_settled(&self) -> bool {
        !self.is_subscription_stale.get() && self.is_subscribed()
    }

    fn is_quiet(&self) -> bool {
        self.barrier.get() == Barrier::Passed && !self.session.borrow().is_output_open()
    }

    /// Whether the role changed to active and the broker has not said yet that the mirror is complete. No output leaves
    /// before that.
    fn is_mirror_coming(&self) -> bool {
        self.barrier.get() != Barrier::None || !self.is_subscribed()
    }

    fn is_subscribed(&self) -> bool {
        self.session.borrow().is_subscribed()
    }

    async fn wait_until(&self, until: Instant, condition: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    // For the connection task.

    pub(crate) fn role(&self) -> Role {
        self.role.get()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(crate) fn wants_connection(&self) -> bool {
        // With one client id for all nodes the broker throws out whoever has it: it is for the active node.
        let least = if self.settings.is_session_shared { Role::Active } else { Role::Warm };
        self.is_started.get() && !self.is_stopping.get() && self.role.get() >= least
    }

    /// How the next connection begins.
    pub(crate) fn beginning(&self, acted_last: bool) -> Beginning {
        let (role, stood_by, is_current) = (self.role.get(), self.stood_by.get(), self.is_current.get());
        let beginning = Beginning::of(&self.settings, Standing { role, stood_by, is_current, acted_last });
        if beginning == Beginning::Resumed && self.session.borrow().wants_clean_start() {
            return Beginning::Fresh;
        }
        beginning
    }

    /// Whether the node stood by hot.
    pub(crate) fn heard_all_along(&self) -> bool {
        self.stood_by.get() == Role::Hot
    }

    /// The node acts, and from here on the session has what it has to hear.
    pub(crate) fn set_current(&self) {
        self.is_current.set(true);
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.set(is_connected);
        self.is_subscription_stale.set(true);
        self.is_cut_wanted.set(false);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_cut_wanted(&self) -> bool {
        self.is_cut_wanted.get()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub(crate) fn barrier(&self) -> &Cell<Barrier> {
        &self.barrier
    }

    /// Rebuilds the tables after item changes.
    fn refresh(&self) {
        if self.is_stale.replace(false) {
            let items = self.items.borrow();
            *self.inputs.borrow_mut() = Inputs::build(items.iter(), self.settings.mirror);
            *self.outputs.borrow_mut() = Outputs::build(items.iter(), &self.settings);
        }
    }

    /// Makes the subscriptions fit role and items.
    pub(crate) fn subscribe(&self, is_leaving: bool) {
        if self.settings.is_session_shared && self.role.get() < Role::Active {
            // What the session has is for the successor.
            return;
        }
        if !self.is_subscription_stale.replace(false) && !is_leaving {
            return;
        }
        self.refresh();
        let inputs = self.inputs.borrow();
        let mut wanted = BTreeMap::new();
        if self.role.get() >= Role::Hot && !is_leaving {
            wanted.clone_from(inputs.filters());
            // v3.1.1 cannot leave out a client's own messages, so the active node would hear all it says.
            if self.role.get() == Role::Hot || self.settings.version == Version::V5 {
                wanted.extend(inputs.mirror_filters().iter().map(|(topic, how)| (topic.clone(), *how)));
            }
        }
        self.session.borrow_mut().subscribe(&wanted);
    }

    /// Reads a message.
    pub(crate) fn read(&self, topic: &str, payload: &[u8], retain: bool, updates: &mut Vec<Update>) {
        self.refresh();
        if self.role.get() < Role::Hot {
            return;
        }
        let with_mirror = self.role.get() == Role::Hot || self.is_mirror_coming();
        let is_known = self.inputs.borrow_mut().read(topic, payload, retain, with_mirror, updates);
        // An earlier process had an item with this topic; the session of the broker still has its filter.
        if !is_known && self.session.borrow_mut().assume_subscribed(topic) {
            self.is_subscription_stale.set(true);
            self.wake.notify_one();
        }
    }

    /// The broker kept a session of an earlier process: ends the subscriptions that the role does not want.
    pub(crate) fn assume_subscribed(&self) {
        self.refresh();
        let inputs = self.inputs.borrow();
        let mut session = self.session.borrow_mut();
        for filter in inputs.filters().keys().chain(inputs.mirror_filters().keys()) {
            session.assume_subscribed(filter);
        }
    }

    /// Items that read, without those of refused filters.
    pub(crate) fn reading_items(&self, refused: &[String]) -> Vec<u32> {
        let items = self.items.borrow();
        let is_read = |filter: &str| !refused.iter().any(|refused| refused == filter);
        items.filters().filter(|(_, filter)| is_read(filter)).map(|(item, _)| item).collect()
    }

    /// Numbers of the input side since the tables were built.
    pub(crate) fn input_counts(&self) -> crate::input::Counts {
        self.inputs.borrow().counts()
    }

    /// Queues `online` or `offline`.
    pub(crate) fn announce_status(&self, is_online: bool) {
        if let Some(topic) = &self.settings.status_topic {
            let payload = if is_online { ONLINE } else { OFFLINE };
            self.session.borrow_mut().enqueue_status(own_message(topic, payload.to_owned()));
        }
    }

    /// Queues the announcement of the active node, once per epoch.
    pub(crate) fn announce_active(&self) {
        let Some(topic) = &self.settings.active_topic else { return };
        if self.role.get() == Role::Active && !self.has_active_announcement.replace(true) {
            let node = serde_json::Value::from(self.settings.placement.node.as_str());
            let payload = format!("{{\"node\":{node},\"epoch\":{}}}", self.epoch.get());
            self.session.borrow_mut().enqueue(own_message(topic, payload));
        }
    }
}

fn own_message(topic: &str, payload: String) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.into(),
        qos: Qos::AtLeastOnce,
        retain: true,
        epoch: None,
        deadline_ns: i64::MAX,
        receipt: None,
    }
}

/// The cut itself needs no network; this is for the task to get its turn.
const CUT_GRACE: Duration = Duration::from_millis(100);
