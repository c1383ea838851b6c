//! What the calls of the hub leave for the driver, which runs as a task beside them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;
use twinhub_plugin::{Browse, Code, Deadline, Epoch, Role, WriteBatch, WriteId};

use crate::item::Point;
use twinhub_bacnet_protocol::value::Value as Wire;

/// One write that waits for its turn.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Rc<WriteBatch>,
    pub(crate) id: WriteId,
    pub(crate) epoch: Epoch,
    pub(crate) deadline: Deadline,
    pub(crate) point: Point,
    pub(crate) value: Wire,
}

impl Job {
    /// Answers the write.
    pub(crate) fn done(&self, code: Code) {
        self.batch.done(self.id, code);
    }
}

/// Items by their handles.
pub(crate) type Points = BTreeMap<u32, Point>;

/// Shared by the plugin's calls and its driver, on one thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Role and epoch to be in.
    pub(crate) role: Cell<(Role, Epoch)>,
    /// Grows with each role call.
    pub(crate) role_version: Cell<u64>,
    /// The role version that the driver has carried out.
    pub(crate) role_reached: Cell<u64>,
    /// What is under way is given up: the time for the change of role is over.
    pub(crate) is_hurried: Cell<bool>,
    /// The items; the driver shares them while they stay as they are.
    pub(crate) points: RefCell<Rc<Points>>,
    /// Grows when items come or go.
    pub(crate) points_version: Cell<u64>,
    /// Writes that wait.
    pub(crate) writes: RefCell<VecDeque<Job>>,
    /// Questions that wait.
    pub(crate) questions: RefCell<VecDeque<Browse>>,
    /// There is something new.
    pub(crate) changed: Notify,
    /// `role_reached` has grown.
    pub(crate) reached: Notify,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            role: Cell::new((Role::Cold, Epoch(0))),
            role_version: Cell::new(0),
            role_reached: Cell::new(0),
            is_hurried: Cell::new(false),
            points: RefCell::default(),
            points_version: Cell::new(0),
            writes: RefCell::default(),
            questions: RefCell::default(),
            changed: Notify::new(),
            reached: Notify::new(),
        }
    }

    /// Waits until the driver is in the role of the last role call.
    pub(crate) async fn role_reached(&self) {
        while self.role_pending() {
            self.reached.notified().await;
        }
    }

    /// Whether the role changes: nothing further is to be begun.
    pub(crate) fn role_pending(&self) -> bool {
        self.role_reached.get() < self.role_version.get()
    }
}

/// The most writes that wait.
pub(crate) const WRITES_MAX: usize = 10_000;
/// The most questions that wait.
pub(crate) const QUESTIONS_MAX: usize = 4;
