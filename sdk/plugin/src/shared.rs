//! What all threads of an instance see.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::error::Code;
use crate::events::Givings;
use crate::host::HostRef;
use crate::mailbox::Mailbox;
use crate::value::{Epoch, Role};

/// One instance, as seen by the hub's threads, the instance's thread and its blocking threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: HostRef,
    pub(crate) instance: String,
    pub(crate) mailbox: Mailbox,
    pub(crate) givings: Givings,
    /// The hub accepted more.
    pub(crate) accepted: Notify,
    /// The hub has room again.
    pub(crate) room: Notify,
    /// Whether it ever said so.
    pub(crate) tells_room: AtomicBool,
    /// Whether values of a hot standby are part of what the plugin declares.
    pub(crate) publishes_as_standby: bool,
    role: AtomicU32,
    epoch: AtomicU64,
    stopped: AtomicBool,
    poisoned: AtomicBool,
}

impl Shared {
    pub(crate) fn new(host: HostRef, instance: String, publishes_as_standby: bool) -> Self {
        Self {
            host,
            instance,
            mailbox: Mailbox::default(),
            givings: Givings::default(),
            accepted: Notify::new(),
            room: Notify::new(),
            tells_room: AtomicBool::new(false),
            publishes_as_standby,
            role: AtomicU32::new(Role::Cold.raw()),
            epoch: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
        }
    }

    pub(crate) fn role(&self) -> Role {
        Role::from_raw(self.role.load(Ordering::SeqCst)).unwrap_or(Role::Cold)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Enters a role. A reader that asks for the epoch first and the role second never sees "active" together with
    /// an epoch in which the instance is not active: the role falls before the epoch changes and rises after it.
    pub(crate) fn enter_role(&self, to: Role, epoch: Epoch) {
        if to < self.role() {
            self.role.store(to.raw(), Ordering::SeqCst);
        }
        self.epoch.store(epoch.0, Ordering::SeqCst);
        self.role.store(to.raw(), Ordering::SeqCst);
    }

    /// After a refused role change: the lower one of the two roles, unless another change came in between.
    pub(crate) fn fall_back(&self, from: Role, to: Role, epoch: Epoch) {
        if self.epoch() == epoch && from < to {
            // Whoever lost this race has entered a newer role, and then nothing is to be done.
            let is_undone =
                self.role.compare_exchange(to.raw(), from.raw(), Ordering::SeqCst, Ordering::SeqCst);
            tracing::debug!(is_undone = is_undone.is_ok(), "role change was refused");
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst) && !self.is_poisoned()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    pub(crate) fn set_stopped(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Makes the instance unusable and tells the hub, once.
    pub(crate) fn poison(&self, code: Code, detail: &str) {
        if !self.poisoned.swap(true, Ordering::SeqCst) {
            self.host.fault(code.raw(), detail);
            self.mailbox.wake();
        }
    }
}
