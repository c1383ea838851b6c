//! What the calls of the hub leave for the driver, which runs as a task beside them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use tokio::sync::Notify;
use twinhub_plugin::{Epoch, Role};

use crate::point::Point;
use crate::writes::Job;

/// Shared by the plugin's calls and its driver, on one thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Role and epoch to be in.
    pub(crate) role: Cell<(Role, Epoch)>,
    /// Grows with each role call.
    pub(crate) role_version: Cell<u64>,
    /// The role version that the driver has carried out.
    pub(crate) role_reached: Cell<u64>,
    /// Items by handle.
    pub(crate) points: RefCell<BTreeMap<u32, Point>>,
    /// Grows when items come or go.
    pub(crate) points_version: Cell<u64>,
    /// Writes that wait.
    pub(crate) writes: RefCell<VecDeque<Job>>,
    /// The driver is making a connection: nothing is in flight that a role change would have to wait for.
    pub(crate) is_connecting: Cell<bool>,
    /// There is something new.
    pub(crate) changed: Notify,
    /// Give up the request in flight.
    pub(crate) abort: Notify,
    /// `role_reached` has grown.
    pub(crate) reached: Notify,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            role: Cell::new((Role::Cold, Epoch(0))),
            role_version: Cell::new(0),
            role_reached: Cell::new(0),
            points: RefCell::default(),
            points_version: Cell::new(0),
            writes: RefCell::default(),
            is_connecting: Cell::new(false),
            changed: Notify::new(),
            abort: Notify::new(),
            reached: Notify::new(),
        }
    }

    /// Waits until the driver is in the role of the last role call.
    pub(crate) async fn role_reached(&self) {
        while self.role_reached.get() < self.role_version.get() {
            self.reached.notified().await;
        }
    }

    /// Whether the role changes: no further request is to be begun.
    pub(crate) fn role_pending(&self) -> bool {
        self.role_reached.get() < self.role_version.get()
    }
}
