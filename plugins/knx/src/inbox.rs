//! What the calls of the hub and the driver share, on one thread.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;
use twinhub_plugin::{Epoch, Publisher, Role};

use crate::image::Image;
use crate::monitor::Monitor;
use crate::queue::Queue;

#[derive(Debug)]
pub(crate) struct Inbox {
    /// Role and epoch to be in.
    pub role: Cell<(Role, Epoch)>,
    /// Grows with each role call.
    pub role_version: Cell<u64>,
    /// The role version that the driver has carried out.
    pub role_reached: Cell<u64>,
    /// Grows when items come or go.
    pub items_version: Cell<u64>,
    pub image: RefCell<Image>,
    pub queue: RefCell<Queue>,
    pub monitor: RefCell<Monitor>,
    /// What is in flight is given up.
    pub is_cut: Cell<bool>,
    /// There is something new for the driver.
    pub changed: Notify,
    /// `role_reached` has grown.
    pub reached: Notify,
}

impl Inbox {
    pub(crate) fn new(publisher: Publisher, queue_max: usize) -> Self {
        Self {
            role: Cell::new((Role::Cold, Epoch(0))),
            role_version: Cell::new(0),
            role_reached: Cell::new(0),
            items_version: Cell::new(0),
            image: RefCell::new(Image::new(publisher)),
            queue: RefCell::new(Queue::new(queue_max)),
            monitor: RefCell::default(),
            is_cut: Cell::new(false),
            changed: Notify::new(),
            reached: Notify::new(),
        }
    }

    /// Whether the driver has yet to reach the role of the last role call.
    pub(crate) fn role_pending(&self) -> bool {
        self.role_reached.get() < self.role_version.get()
    }

    /// Waits until it has.
    pub(crate) async fn role_reached(&self) {
        while self.role_pending() {
            self.reached.notified().await;
        }
    }
}
