//! What an instance is given.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::acceptance::Acceptance;
use crate::error::{Code, Result};
use crate::events::Events;
use crate::gate::OutputGate;
use crate::guard::guarded;
use crate::publisher::Publisher;
use crate::shared::Shared;
use crate::store::Store;
use crate::value::{Epoch, InterfaceState, Role};
use crate::write::Outstanding;

/// The instance's way to the hub. Cheap to clone; stays on the instance's thread.
#[derive(Clone, Debug)]
pub struct Ctx {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    publisher: Publisher,
    outstanding: Rc<Outstanding>,
    tasks: RefCell<Vec<AbortHandle>>,
    state: RefCell<Option<(InterfaceState, String)>>,
}

impl Ctx {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let publisher = Publisher::new(Arc::clone(&shared));
        let inner = Inner {
            shared,
            publisher,
            outstanding: Rc::default(),
            tasks: RefCell::default(),
            state: RefCell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Name of the instance in the configuration.
    pub fn instance(&self) -> &str {
        &self.inner.shared.instance
    }

    /// Sends values to the hub.
    pub fn publisher(&self) -> Publisher {
        self.inner.publisher.clone()
    }

    /// Says when pushed values may be acknowledged to whoever sent them; `None` if the hub does not. To be asked for
    /// before the first value is pushed, and only by a plugin that acknowledges inputs: from then on the hub brings what
    /// this instance publishes to the disk at once, and no value that waits for room is replaced by a later one.
    pub fn acceptance(&self) -> Option<Acceptance> {
        self.inner.shared.host.has_acceptance().then(|| Acceptance::new(self.publisher()))
    }

    /// What this interface keeps by key, and the instance of another node has when it acts; `None` if the hub keeps nothing
    /// for it.
    pub fn store(&self) -> Option<Store> {
        Store::new(&self.inner.shared)
    }

    /// Gives events to other interfaces; `None` if the hub takes none from this one, which does not switch with its group.
    pub fn events(&self) -> Option<Events> {
        Events::new(&self.inner.shared)
    }

    /// Gives permits for effects.
    pub fn gate(&self) -> OutputGate {
        OutputGate::new(Arc::clone(&self.inner.shared))
    }

    /// The role, as last set by the hub; it may be ahead of the last [`crate::Plugin::role`] call.
    pub fn role(&self) -> Role {
        self.inner.shared.role()
    }

    /// The epoch, as last set by the hub.
    pub fn epoch(&self) -> Epoch {
        self.inner.shared.epoch()
    }

    /// Runs a task on the instance's thread until it ends, is aborted, or the instance stops. A panic or an error
    /// faults the instance.
    pub fn spawn<F>(&self, future: F) -> Task
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let shared = Arc::clone(&self.inner.shared);
        let handle = tokio::task::spawn_local(async move {
            match guarded(future).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.poison(error.code(), error.detail()),
                Err(panic) => shared.poison(Code::Panic, &panic),
            }
        })
        .abort_handle();
        let mut tasks = self.inner.tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle.clone());
        Task { handle }
    }

    /// Tells the hub how the interface is doing, and why. The same report again is not sent.
    pub fn status(&self, state: InterfaceState, cause: impl Into<String>) {
        let report = (state, cause.into());
        let mut last = self.inner.state.borrow_mut();
        if last.as_ref() != Some(&report) {
            self.inner.shared.host.state(state.raw(), &report.1);
            *last = Some(report);
        }
    }

    /// Adds to a counter of this instance, shown by the hub. The name is lower case with dots.
    pub fn count(&self, name: &str, add: u64) {
        self.inner.shared.host.count(name, add);
    }

    /// Declares the instance unusable; the hub replaces it.
    pub fn fault(&self, error: &crate::Error) {
        self.inner.shared.poison(error.code(), error.detail());
    }

    pub(crate) fn outstanding(&self) -> &Rc<Outstanding> {
        &self.inner.outstanding
    }

    pub(crate) fn abort_tasks(&self) {
        for task in self.inner.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }
}

/// A spawned task. It goes on when this is dropped, and ends with the instance at the latest.
#[derive(Clone, Debug)]
pub struct Task {
    handle: AbortHandle,
}

impl Task {
    /// Cancels the task at its next wait.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}
